//! The books: what became of every line that was read.
//!
//! Two equations hold for each job at every moment: read = counted + joined + refused + held, and what was dropped on
//! purpose is part of what was counted or refused. Nothing is lost silently.

use crate::pipeline::Pipeline;
use std::fmt;

/// The books of one job since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobBooks {
    pub job: String,
    /// Bytes read for the job.
    pub bytes: u64,
    /// Lines read: one for each newline, and one for a last line that ends without.
    pub read: u64,
    /// Lines that went through the pipeline as what they should be.
    pub counted: u64,
    /// Pieces of lines that a later piece completed.
    pub joined: u64,
    /// Lines that wait for the pieces that complete them.
    pub held: u64,
    /// Lines longer than the limit, which were cut to it and then treated as any other.
    pub cut: u64,
    /// Lines that could not be read as what the configuration says they are, by reason.
    pub refused: Vec<(String, u64)>,
    /// Lines that ended in a drop that the configuration wants, by reason.
    pub dropped: Vec<(String, u64)>,
}

impl JobBooks {
    /// The books of a pipeline; the reader of lines adds bytes and cut lines.
    pub fn of(job: &str, pipeline: &Pipeline, bytes: u64, cut: u64) -> Self {
        let counts = pipeline.counts();
        let by_reason = |numbers: &[u64]| {
            let named = pipeline.reasons().zip(numbers);
            named.filter(|(_, n)| **n > 0).map(|(reason, n)| (reason.to_string(), *n)).collect()
        };
        JobBooks {
            job: job.to_string(),
            bytes,
            read: counts.read,
            counted: counts.counted,
            joined: counts.joined,
            held: pipeline.held(),
            cut,
            refused: by_reason(&counts.refused),
            dropped: by_reason(&counts.dropped),
        }
    }

    /// Both taken together: the books of a job over a change of its configuration.
    pub fn plus(mut self, other: &JobBooks) -> Self {
        self.bytes += other.bytes;
        self.read += other.read;
        self.counted += other.counted;
        self.joined += other.joined;
        self.held += other.held;
        self.cut += other.cut;
        for (mine, theirs) in [(&mut self.refused, &other.refused), (&mut self.dropped, &other.dropped)] {
            for (reason, lines) in theirs {
                match mine.iter_mut().find(|(known, _)| known == reason) {
                    Some((_, sum)) => *sum += lines,
                    None => mine.push((reason.clone(), *lines)),
                }
            }
        }
        self
    }

    pub fn refused_total(&self) -> u64 {
        self.refused.iter().map(|(_, n)| n).sum()
    }

    /// Whether every line is accounted for.
    pub fn balanced(&self) -> bool {
        self.read == self.counted + self.joined + self.held + self.refused_total()
    }
}

/// One line for a person: `ingress-nginx: 38166 lines = 18133 counted + …`.
impl fmt::Display for JobBooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} lines = {} counted", self.job, self.read, self.counted)?;
        if self.joined > 0 {
            write!(f, " + {} joined", self.joined)?;
        }
        for (reason, lines) in &self.refused {
            write!(f, " + {lines} {reason}")?;
        }
        if self.held > 0 {
            write!(f, " + {} held", self.held)?;
        }
        if self.cut > 0 {
            write!(f, " ({} cut to the limit)", self.cut)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_read_as_an_equation() {
        let books = JobBooks {
            job: "pods".into(),
            read: 10,
            counted: 6,
            joined: 1,
            held: 1,
            refused: vec![("malformed_json".into(), 2)],
            ..JobBooks::default()
        };
        assert!(books.balanced());
        assert_eq!(books.to_string(), "pods: 10 lines = 6 counted + 1 joined + 2 malformed_json + 1 held");
        assert!(!JobBooks { read: 11, ..books }.balanced());
    }
}
