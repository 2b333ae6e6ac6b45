//! Streams that Loki has no room for: past `max_global_streams_per_user` it takes what belongs to the streams that it has,
//! and refuses new ones.
//!
//! Their entries are set aside; whatever else the tenant writes goes on. From time to time all that is set aside is tried
//! again, in its order and before anything newer, so that the order within a stream stays. Of a push Loki tells what became of
//! the last stream only. So for some time from the first refusal on, a stream goes by itself until it is known on which side
//! it is; those that Loki has go together.

use std::collections::HashMap;
use std::time::Duration;

/// Streams whose standing is remembered; further ones are asked for by themselves in each batch.
const STREAMS_MAX: usize = 4096;
/// From the last refusal on streams are looked at one by one for so long; and one that was taken is taken for there. Loki
/// forgets a stream that was idle for half an hour, and may have no room when it comes back.
const MEMORY: Duration = Duration::from_secs(600);
/// Between two rounds lies at least so many times as long as one takes: what is aside may be much.
const REST: u32 = 9;

#[derive(Default)]
pub struct Crowded {
    /// By their labels, as Loki reads them.
    streams: HashMap<Box<str>, Standing>,
    /// When the next round begins; nothing while nothing is set aside.
    again_at: Option<Duration>,
    round: Option<Round>,
    refused_at: Option<Duration>,
}

enum Standing {
    /// All of it that is not taken is set aside.
    Refused,
    /// Loki had room for it at this time.
    Taken(Duration),
}

/// Once through all that is set aside.
struct Round {
    began: Duration,
    /// Batches to come.
    left: usize,
    /// Something was set aside again.
    in_vain: bool,
}

/// What is to be done with a stream of a batch that was not pushed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Together,
    Alone,
    Aside,
}

impl Crowded {
    /// Whether streams are to be looked at one by one.
    pub fn is_on(&mut self, now: Duration) -> bool {
        let is_on = self.lacks_room() || self.refused_at.is_some_and(|at| now < at + MEMORY);
        if !is_on {
            *self = Crowded::default();
        }
        is_on
    }

    /// Whether something is set aside, as far as is known.
    pub fn lacks_room(&self) -> bool {
        self.again_at.is_some()
    }

    pub fn way_of(&self, labels: &str, now: Duration) -> Way {
        match self.streams.get(labels) {
            Some(Standing::Refused) => Way::Aside,
            Some(Standing::Taken(at)) if now < *at + MEMORY => Way::Together,
            Some(Standing::Taken(_)) | None => Way::Alone,
        }
    }

    pub fn refused(&mut self, labels: &str, now: Duration) {
        self.refused_at = Some(now);
        self.note(labels, Standing::Refused);
    }

    pub fn taken(&mut self, labels: &str, now: Duration) {
        self.note(labels, Standing::Taken(now));
    }

    fn note(&mut self, labels: &str, standing: Standing) {
        if let Some(known) = self.streams.get_mut(labels) {
            *known = standing;
        } else if self.streams.len() < STREAMS_MAX {
            self.streams.insert(labels.into(), standing);
        }
    }

    /// When it is time for the next round.
    pub fn again_at(&self) -> Option<Duration> {
        self.again_at
    }

    /// Whether the next batch is one that is set aside, of which there are so many.
    pub fn is_round(&mut self, now: Duration, aside: usize) -> bool {
        if self.round.is_none() && self.again_at.is_some_and(|at| at <= now) {
            self.round = Some(Round { began: now, left: aside, in_vain: false });
            self.forget_refused();
        }
        match &mut self.round {
            None => false,
            Some(round) if aside == 0 || round.left == 0 => {
                // What there was has been given up.
                self.end_round(now, Duration::ZERO);
                false
            }
            Some(_) => true,
        }
    }

    /// A batch ended, and some of it is set aside or nothing. True: Loki has room again for all there is.
    pub fn ended(&mut self, is_aside: bool, now: Duration, pause: Duration) -> bool {
        let Some(round) = &mut self.round else {
            if is_aside {
                // It does not put off the time that those before it are waiting for.
                self.again_at.get_or_insert(now + pause);
            }
            return false;
        };
        round.left = round.left.saturating_sub(1);
        round.in_vain |= is_aside;
        round.left == 0 && self.end_round(now, pause)
    }

    fn end_round(&mut self, now: Duration, pause: Duration) -> bool {
        let Some(round) = self.round.take() else { return false };
        let rest = (now.saturating_sub(round.began)).saturating_mul(REST);
        self.again_at = round.in_vain.then(|| now + pause.max(rest));
        if !round.in_vain {
            self.forget_refused();
        }
        !round.in_vain
    }

    fn forget_refused(&mut self) {
        self.streams.retain(|_, standing| matches!(standing, Standing::Taken(_)));
    }
}
