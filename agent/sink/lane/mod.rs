//! A lane: brings the batches of one tenant to one client's Loki, one after another.
//!
//! It judges every answer and says what is to be done next; it does no I/O and reads no clock. A batch leaves it when each
//! of its entries is either acknowledged or counted as dropped by a reason. What the answers mean stands in [`judge`] and
//! [`refusal`]; this is what follows from them:
//!
//! - What failed for the moment is sent again for ever, or as often as the configuration says.
//! - What no line can be the cause of is kept whatever the configuration says, and tried slowly.
//! - What is too big goes in halves.
//! - What belongs to streams that Loki has no room for is set aside, and the rest goes on ([`crowded`]).
//! - Where Loki tells how many entries it refused, the rest is acknowledged. Where it doesn't, the part is cut in two,
//!   again and again, until each half is either taken or one entry. Entries that arrive twice that way are one in Loki,
//!   because their bytes are equal.
//!
//! Loki's word is taken where it speaks of its ingester, though it speaks of one stream of a push only, the last one.

mod backoff;
mod crowded;
mod dead_letters;
mod follow;
mod judge;
mod parts;
mod rate;
mod refusal;
mod report;

pub use backoff::Backoff;
pub use dead_letters::{DeadLetter, DeadLetters, Kept};
pub use report::{Outcome, Report, Trouble};

use super::{Answer, ClientConfig, Lot, Settled};
use bytes::Bytes;
use crowded::Crowded;
use judge::Verdict;
use parts::Parts;
use rate::{Rate, Size};
use report::TroubleLog;
use std::time::Duration;

/// Reasons under which whole parts are dropped; the first two as Promtail names them.
const INGESTER_ERROR: &str = "ingester_error";
const RATE_LIMITED: &str = "rate_limited";
/// An entry that is refused alone, without a reason that is known.
const REJECTED: &str = "rejected";
/// An entry that is too large for a request of its own.
const TOO_LARGE: &str = "too_large";

/// A search for the entries that Loki won't have costs many requests: one begins a minute at most.
const SEARCH_PERIOD: Duration = Duration::from_secs(60);
/// So many refusals without a reason, and nothing taken between them: it is hardly the entries.
const REFUSALS_BELIEVED: u32 = 64;
/// A part that came too fast so often in a row may be more than the server takes at once.
const REFUSALS_UNTIL_HALVED: u32 = 2;

/// How a lane treats failures.
#[derive(Clone, Debug)]
pub struct LaneConfig {
    pub min_period: Duration,
    pub max_period: Duration,
    /// Attempts in all, as Promtail counts them. `None` and 0: without end.
    pub max_retries: Option<u64>,
    /// 429 drops at once.
    pub drop_rate_limited: bool,
    /// Any 2xx acknowledges but 260 and one with a page of HTML: for servers that take Loki's pushes and answer otherwise.
    pub accept_200: bool,
}

impl LaneConfig {
    pub fn of(client: &ClientConfig, accept_200: bool) -> Self {
        LaneConfig {
            min_period: client.backoff.min_period,
            max_period: client.backoff.max_period,
            max_retries: client.backoff.max_retries,
            drop_rate_limited: client.drop_rate_limited_batches,
            accept_200,
        }
    }
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This is to be pushed; then [`Lane::answered`]. Asked again before that, it is the same.
    Push(Push),
    /// Nothing before this time.
    Wait(Duration),
    /// [`Lane::take`] is next.
    Idle,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// One snappy block.
    pub body: Bytes,
    /// Entries in it, and the bytes of their lines and structured metadata.
    pub lot: Lot,
}

/// Batches of one tenant go through it, never two at a time.
pub struct Lane {
    config: LaneConfig,
    /// The batch that is under way.
    parts: Option<Parts>,
    /// Nothing is pushed before.
    wait_until: Duration,
    /// When the push that is under way began.
    begun: Option<Duration>,
    backoff: Backoff,
    rate: Rate,
    size: Size,
    trouble: TroubleLog,
    search: Search,
    crowded: Crowded,
    /// With this batch it shows which streams Loki has room for.
    sorting: bool,
    /// Something is set aside, or will be with this batch.
    lacks_room: bool,
}

/// For the entries that Loki refuses without saying which and why.
#[derive(Default)]
struct Search {
    /// The batch that is under way is being searched.
    on: bool,
    last_began: Option<Duration>,
    /// Refusals in a row with nothing taken between.
    refusals: u32,
}

impl Lane {
    /// `seed` spreads the pauses of lanes that fail together: no two agents should have the same.
    pub fn new(config: LaneConfig, seed: u64) -> Self {
        let backoff = Backoff::new(config.min_period, config.max_period, seed);
        Lane {
            config,
            parts: None,
            wait_until: Duration::ZERO,
            begun: None,
            backoff,
            rate: Rate::default(),
            size: Size::default(),
            trouble: TroubleLog::default(),
            search: Search::default(),
            crowded: Crowded::default(),
            sorting: false,
            lacks_room: false,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.parts.is_none()
    }

    /// Why batches do not get through at present.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.now()
    }

    /// Takes the next batch: its message as one snappy block, and its numbers. Only when [idle](Self::is_idle): another
    /// batch would be forgotten. The batch's end, if all of it belongs to streams that Loki has no room for.
    pub fn take(&mut self, packed: Bytes, lot: Lot, now: Duration) -> Option<Settled> {
        debug_assert!(self.is_idle());
        self.begun = None;
        self.search.on = false;
        self.sorting = self.crowded.is_on(now);
        self.lacks_room = self.crowded.lacks_room();
        // A batch without entries has nothing to be refused, and is pushed all the same: whoever made it wants an end.
        let mut parts = Parts::new(packed, lot);
        if self.sorting {
            parts.arrange(|labels| self.crowded.way_of(labels, now));
        }
        if parts.next().is_none() {
            let pause = self.backoff.idle_pause(None);
            self.crowded.ended(true, now, pause);
            return Some(parts.settled());
        }
        self.parts = Some(parts);
        None
    }

    /// When what is set aside is to be tried again; nothing while nothing is.
    pub fn again_at(&self) -> Option<Duration> {
        self.crowded.again_at()
    }

    /// Whether the next batch is the oldest that is set aside, of so many. Otherwise it is the oldest of the others.
    pub fn wants_aside(&mut self, now: Duration, aside: usize) -> bool {
        self.crowded.is_round(now, aside)
    }

    /// `now` counts from wherever it likes, and never goes back.
    pub fn next(&mut self, now: Duration) -> Step {
        let Some(parts) = &mut self.parts else { return Step::Idle };
        if self.begun.is_none() {
            let due = self.wait_until.max(self.rate.free_at());
            if now < due {
                return Step::Wait(due);
            }
            while parts.next().is_some_and(|part| !self.size.fits(part.lot.bytes)) && parts.halve() {}
            self.begun = Some(now);
        }
        let lot = parts.next().map(|part| part.lot).unwrap_or_default();
        Step::Push(Push { body: parts.body(), lot })
    }

    /// What came of the push. The batch's end, when this was its last part.
    pub fn answered(&mut self, answer: Answer, now: Duration, report: &mut dyn Report) -> Option<Settled> {
        let begun = self.begun.take().unwrap_or(now);
        let lot = self.parts.as_ref()?.next()?.lot;
        let verdict = Verdict::of(&answer, self.config.accept_200);
        if let Answer::Status { date: Some(date), .. } = &answer {
            report.server_clock(*date);
        }
        if matches!(verdict, Verdict::Accepted | Verdict::Refused(_)) {
            self.backoff.reset();
            self.rate.accepted(lot.bytes, begun, now);
            self.size.accepted(lot.bytes);
            self.search.refusals = 0;
            if !self.lacks_room {
                self.trouble.succeeded(now, report);
            }
        }
        let outcome = match verdict {
            Verdict::Accepted => self.accepted(now),
            Verdict::Refused(refusal) => self.refused(&refusal),
            Verdict::Hopeless(reason) => self.hopeless(reason),
            Verdict::Unexplained => self.unexplained(&answer, now, report),
            Verdict::TooLarge => self.too_large(&answer, now, report),
            Verdict::Later(trouble) => self.later(trouble, &answer, now, report),
            Verdict::Stuck(trouble) => self.stuck(trouble, &answer, now, report),
        };
        report.request(answer.code(), outcome);
        let settled = self.parts.take_if(|parts| parts.next().is_none())?.settled();
        let pause = self.backoff.idle_pause(answer.retry_after());
        if self.crowded.ended(settled.aside.is_some(), now, pause) {
            self.trouble.succeeded(now, report);
        }
        Some(settled)
    }

    /// Gives the batch up, wherever it stands: what is left of it counts as dropped for this reason. Nothing when idle.
    pub fn abandon(&mut self, reason: &'static str) -> Option<Settled> {
        self.begun = None;
        let mut parts = self.parts.take()?;
        while parts.next().is_some() {
            parts.drop_next(reason);
        }
        parts.drop_aside(reason);
        Some(parts.settled())
    }
}

#[cfg(test)]
mod crowded_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod rig_tests;
#[cfg(test)]
mod row_tests;
#[cfg(test)]
mod time_tests;
