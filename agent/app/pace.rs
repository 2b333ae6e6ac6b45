//! Sources that have to wait because their lines came faster than a rate allows.
//!
//! A job that makes its sources wait has them read in small pieces, and each has its turn before one has a second:
//! whatever the rate, no source keeps the others of its job from being read. Other jobs' sources do not wait.

use super::engine::Turning;
use super::followed::Followed;
use std::time::Duration;

/// Bytes that a source of such a job has read at once, so that little is owed. More where a line is longer.
pub const PIECE_BYTES: usize = 4 << 10;

/// Who had a turn, by job.
#[derive(Default)]
pub struct Pace {
    rounds: Vec<Round>,
}

#[derive(Clone, Copy, Default)]
struct Round {
    number: u64,
    /// Some that are due could not be read in it yet.
    open: bool,
    /// Some had their turn and have more.
    wanted: bool,
}

/// Whether a source may be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// As much as there is.
    Free,
    /// A small piece.
    Piece,
    /// Not now.
    None,
}

impl Pace {
    /// Asks for a source that is due; to be asked again later if it may not be read.
    pub fn ask(&mut self, followed: &mut Followed, turning: &Turning<'_>, now: Duration) -> Leave {
        followed.waits_until = Duration::ZERO;
        let jobs = &turning.jobs;
        let mut until = turning.rate.paused_until();
        // A rate over all jobs makes one group of all sources.
        let mut group = until.map(|_| jobs.len());
        for feed in &followed.feeds {
            let job_until = jobs[feed.job].pipeline.paused_until();
            until = until.max(job_until);
            group = group.or(job_until.map(|_| feed.job));
        }
        let (Some(until), Some(group)) = (until, group) else { return Leave::Free };
        if self.rounds.len() <= group {
            self.rounds.resize(group + 1, Round::default());
        }
        let round = &mut self.rounds[group];
        followed.waits_until = until;
        if followed.paced_round > round.number {
            round.wanted = true;
            return Leave::None;
        }
        if until > now {
            round.open = true;
            return Leave::None;
        }
        followed.paced_round = round.number + 1;
        Leave::Piece
    }

    /// All sources that are due have asked. Whether some may be read at once that might not before.
    pub fn finish(&mut self) -> bool {
        let mut more = false;
        for round in &mut self.rounds {
            if !round.open {
                round.number += 1;
                more |= round.wanted;
            }
            (round.open, round.wanted) = (false, false);
        }
        more
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
