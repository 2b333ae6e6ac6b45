//! The books: what became of every line that was read.
//!
//! Two equations hold for each job at every moment: read = counted + joined + refused + held, and what was dropped on
//! purpose is part of what was counted or refused. Nothing is lost silently.

use crate::keep::{Reader, Writer};
use crate::pipeline::{Pipeline, STATE_DISCARDED};
use std::fmt;

/// The notation of kept books.
const VERSION: u8 = 1;
/// What kept books may say: more is damage.
const COUNT_MAX: u64 = 1 << 60;
const NAME_BYTES_MAX: usize = 1_024;
const REASONS_MAX: u64 = 1_024;

/// The books of one job since its state began: as long as the agent knows it, over restarts too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobBooks {
    pub job: String,
    /// Bytes read for the job.
    pub bytes: u64,
    /// Lines read: one for each newline, one for a last line that ends without, and one for each that was found behind a
    /// torn line (so that the torn ones, refused as `torn`, are as many as the lines of the files are fewer).
    pub read: u64,
    /// Lines that went through the pipeline as what they should be.
    pub counted: u64,
    /// Pieces of lines that a later piece completed.
    pub joined: u64,
    /// Lines that wait for the pieces that complete them.
    pub held: u64,
    /// Lines longer than the limit, as read or as joined, which were cut to it and then treated as any other.
    pub cut: u64,
    /// Lines in pieces that left before their last piece came, because too many waited.
    pub unfinished: u64,
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
            cut: cut + counts.cut,
            unfinished: counts.unfinished,
            refused: by_reason(&counts.refused),
            dropped: by_reason(&counts.dropped),
        }
    }

    /// The books of a job that is gone: nobody waits any more for what completes the lines that it held.
    pub fn without_held(mut self) -> Self {
        if self.held > 0 {
            add(&mut self.refused, STATE_DISCARDED, self.held);
            self.held = 0;
        }
        self
    }

    /// Writes the books for [`read`](Self::read).
    pub fn write(&self, writer: &mut Writer<'_>) {
        let JobBooks { job, bytes, read, counted, joined, held, cut, unfinished, refused, dropped } = self;
        writer.byte(VERSION);
        writer.bytes(job.as_bytes());
        for number in [bytes, read, counted, joined, held, cut, unfinished] {
            writer.number(*number);
        }
        for named in [refused, dropped] {
            writer.number(named.len() as u64);
            for (reason, lines) in named {
                writer.bytes(reason.as_bytes());
                writer.number(*lines);
            }
        }
    }

    /// Books that were kept. `None`: damaged, of another notation, or not balanced.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        if reader.byte()? != VERSION {
            return None;
        }
        let job = name(reader)?;
        let mut number = || reader.number().filter(|number| *number <= COUNT_MAX);
        let [bytes, read, counted, joined] = [number()?, number()?, number()?, number()?];
        let [held, cut, unfinished] = [number()?, number()?, number()?];
        let (refused, dropped) = (named(reader)?, named(reader)?);
        let books = JobBooks { job, bytes, read, counted, joined, held, cut, unfinished, refused, dropped };
        books.balanced().then_some(books)
    }

    pub fn refused_total(&self) -> u64 {
        self.refused.iter().map(|(_, n)| n).sum()
    }

    /// Whether every line is accounted for.
    pub fn balanced(&self) -> bool {
        let refused = self.refused.iter().map(|(_, lines)| *lines);
        let mut settled = [self.counted, self.joined, self.held].into_iter().chain(refused);
        settled.try_fold(0u64, u64::checked_add) == Some(self.read)
    }
}

fn add(named: &mut Vec<(String, u64)>, reason: &str, lines: u64) {
    match named.iter_mut().find(|(known, _)| known == reason) {
        Some((_, sum)) => *sum += lines,
        None => named.push((reason.to_string(), lines)),
    }
}

fn name(reader: &mut Reader<'_>) -> Option<String> {
    reader.text().filter(|name| name.len() <= NAME_BYTES_MAX).map(str::to_string)
}

fn named(reader: &mut Reader<'_>) -> Option<Vec<(String, u64)>> {
    let length = reader.number().filter(|length| *length <= REASONS_MAX)?;
    let mut named: Vec<(String, u64)> = Vec::new();
    for _ in 0..length {
        let (reason, lines) = (name(reader)?, reader.number().filter(|lines| *lines <= COUNT_MAX)?);
        if named.iter().any(|(known, _)| *known == reason) {
            return None;
        }
        named.push((reason, lines));
    }
    Some(named)
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
        if self.unfinished > 0 {
            write!(f, " ({} left unfinished)", self.unfinished)?;
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

    #[test]
    fn books_go_on_over_a_restart() {
        let before = JobBooks {
            job: "pods".into(),
            bytes: 1 << 40,
            read: 12,
            counted: 6,
            joined: 1,
            held: 2,
            cut: 1,
            unfinished: 1,
            refused: vec![("malformed_json".into(), 2), ("torn".into(), 1)],
            dropped: vec![("drop_stage".into(), 4)],
        };
        let mut bytes = Vec::new();
        before.write(&mut Writer::new(&mut bytes));
        let mut reader = Reader::new(&bytes);
        let kept = JobBooks::read(&mut reader).expect("as written");
        assert_eq!((&kept, reader.is_empty()), (&before, true));
        // The job is gone.
        let gone = kept.without_held();
        assert!(gone.balanced() && gone.held == 0);
        let refused = [("malformed_json", 2), ("torn", 1), ("state_discarded", 2)].map(|(r, n)| (r.to_string(), n));
        assert_eq!(gone.refused, refused);
    }

    #[test]
    fn damaged_books_are_not_read() {
        let written = |books: &JobBooks| {
            let mut bytes = Vec::new();
            books.write(&mut Writer::new(&mut bytes));
            bytes
        };
        let refused = vec![("torn".to_string(), 3)];
        let good = JobBooks { job: "a".into(), read: 3, refused: refused.clone(), ..JobBooks::default() };
        let bytes = written(&good);
        for end in 0..bytes.len() {
            assert_eq!(JobBooks::read(&mut Reader::new(&bytes[..end])), None);
        }
        for bad in [
            JobBooks { read: 4, ..good.clone() },
            JobBooks { read: u64::MAX, refused: vec![("torn".into(), u64::MAX)], ..good.clone() },
            JobBooks { read: 6, refused: [refused.clone(), refused.clone()].concat(), ..good.clone() },
            JobBooks { job: "a".repeat(2_000), ..good.clone() },
        ] {
            assert_eq!(JobBooks::read(&mut Reader::new(&written(&bad))), None, "{bad:?}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(JobBooks::read(&mut Reader::new(&flipped)).is_none_or(|books| books.balanced()));
            }
        }
    }
}
