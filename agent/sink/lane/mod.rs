//! A lane: brings the batches of one tenant to one client's Loki, one after another.
//!
//! It judges every answer and says what is to be done next; it does no I/O and reads no clock. A batch leaves it when each
//! of its entries is either acknowledged or counted as dropped by a reason. What the answers mean stands in [`judge`] and
//! [`refusal`]; this is what follows from them:
//!
//! - What failed for the moment is sent again for ever, or as often as the configuration says.
//! - What no line can be the cause of is kept whatever the configuration says, and tried slowly.
//! - What is too big goes in halves.
//! - Where Loki tells how many entries it refused, the rest is acknowledged. Where it doesn't, the part is cut in two,
//!   again and again, until each half is either taken or one entry. Entries that arrive twice that way are one in Loki,
//!   because their bytes are equal.
//!
//! Loki's word is taken where it speaks of its ingester, though it speaks of one stream of a push only, the last one.

mod backoff;
mod dead_letters;
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
use judge::Verdict;
use parts::Parts;
use rate::{Rate, Size};
use refusal::Refusal;
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
    /// batch would be forgotten.
    pub fn take(&mut self, packed: Bytes, lines: u64, bytes: u64) {
        debug_assert!(self.is_idle());
        self.search.on = false;
        self.begun = None;
        // A batch without entries has nothing to be refused, and is pushed all the same: whoever made it wants an end.
        self.parts = Some(Parts::new(packed, lines, bytes));
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
            self.trouble.succeeded(now, report);
        }
        let outcome = match verdict {
            Verdict::Accepted => self.accepted(),
            Verdict::Refused(refusal) => self.refused(&refusal),
            Verdict::Hopeless(reason) => self.hopeless(reason),
            Verdict::Unexplained => self.unexplained(&answer, now, report),
            Verdict::TooLarge => self.too_large(&answer, now, report),
            Verdict::Later(trouble) => self.later(trouble, &answer, now, report),
            Verdict::Stuck(trouble) => self.stuck(trouble, &answer, now, report),
        };
        report.request(answer.code(), outcome);
        self.parts.take_if(|parts| parts.next().is_none()).map(|parts| parts.settled)
    }

    /// Gives the batch up, wherever it stands: what is left of it counts as dropped for this reason. Nothing when idle.
    pub fn abandon(&mut self, reason: &'static str) -> Option<Settled> {
        self.begun = None;
        let mut parts = self.parts.take()?;
        while parts.next().is_some() {
            parts.drop_next(reason);
        }
        Some(parts.settled)
    }
}

/// What follows from each verdict, for the next part.
impl Lane {
    fn accepted(&mut self) -> Outcome {
        if let Some(parts) = &mut self.parts {
            parts.acknowledge(&[]);
        }
        Outcome::Accepted
    }

    fn refused(&mut self, refusal: &Refusal) -> Outcome {
        let Some(parts) = &mut self.parts else { return Outcome::Refused };
        let Some(part) = parts.next() else { return Outcome::Refused };
        let (entries, stored) = (part.lot.entries, part.stored);
        // What Loki stored before, and has become too old for by what it stored after it, is there.
        let counted = |reason: &str| !(stored && [refusal::TOO_FAR_BEHIND, refusal::OUT_OF_ORDER].contains(&reason));
        let one_stream = refusal.of_stream && parts.streams() == Some(1);
        let all_streams = refusal.certain && refusal.counts.is_empty() && parts.streams() == Some(refusal.streams);
        if entries <= 1 || one_stream || all_streams {
            if counted(refusal.first) {
                parts.drop_next(refusal.first);
            } else {
                parts.acknowledge(&[]);
            }
            return Outcome::Refused;
        }
        let possible = (1..=entries).contains(&refusal.sum());
        if !(refusal.certain && refusal.streams == 0 && possible) {
            if let Some(part) = parts.next_mut() {
                part.stored |= refusal.rest_stored;
            }
            if parts.halve_by_streams() {
                return Outcome::Split;
            }
        }
        let counts: Vec<_> = refusal.counts.iter().copied().filter(|(reason, _)| counted(reason)).collect();
        match possible {
            true => parts.acknowledge(&counts),
            // It can't be split either: nobody will know how much of it there is.
            false => parts.drop_next(refusal.first),
        }
        Outcome::Refused
    }

    fn hopeless(&mut self, reason: &'static str) -> Outcome {
        if let Some(parts) = &mut self.parts {
            parts.drop_next(reason);
        }
        Outcome::Refused
    }

    fn unexplained(&mut self, answer: &Answer, now: Duration, report: &mut dyn Report) -> Outcome {
        if !self.parts.as_mut().is_some_and(Parts::halve) {
            return self.give_up_entry(REJECTED, answer, now, report);
        }
        if !self.search.on {
            let earliest = self.search.last_began.map_or(now, |last| last + SEARCH_PERIOD);
            let begin = earliest.max(now);
            (self.search.on, self.search.last_began) = (true, Some(begin));
            self.wait_until = self.wait_until.max(begin);
        }
        self.doubt(answer, now, report);
        Outcome::Split
    }

    fn too_large(&mut self, answer: &Answer, now: Duration, report: &mut dyn Report) -> Outcome {
        let Some(parts) = &mut self.parts else { return Outcome::Refused };
        let bytes = parts.next().map_or(0, |part| part.lot.bytes);
        if !parts.halve() {
            return self.give_up_entry(TOO_LARGE, answer, now, report);
        }
        self.size.refused(bytes);
        Outcome::Split
    }

    /// The next part is one entry, or can't be read.
    fn give_up_entry(
        &mut self,
        reason: &'static str,
        answer: &Answer,
        now: Duration,
        report: &mut dyn Report,
    ) -> Outcome {
        if let Some(parts) = &mut self.parts {
            let (labels, timestamp, line) =
                parts.entry().map_or(("", (0, 0), &[][..]), |entry| (entry.labels, entry.timestamp, entry.line));
            let (code, text) = (answer.code().unwrap_or_default(), text_of(answer));
            report.dead_letter(DeadLetter::new(labels, timestamp, line, reason, code, text));
            parts.drop_next(reason);
        }
        self.doubt(answer, now, report);
        Outcome::Refused
    }

    /// A server that refuses everything would soon have cost everything: from some point on it is asked slowly.
    fn doubt(&mut self, answer: &Answer, now: Duration, report: &mut dyn Report) {
        self.search.refusals = self.search.refusals.saturating_add(1);
        if self.search.refusals > REFUSALS_BELIEVED {
            let told = (answer.code(), text_of(answer));
            self.trouble.failed(Trouble::RefusesAll, true, told, now, report);
            self.wait_until = self.wait_until.max(now + self.backoff.slow_pause(retry_after(answer)));
        }
    }

    fn later(&mut self, trouble: Trouble, answer: &Answer, now: Duration, report: &mut dyn Report) -> Outcome {
        self.trouble.failed(trouble, false, (answer.code(), text_of(answer)), now, report);
        let Some(parts) = &mut self.parts else { return Outcome::Dropped };
        let Some(part) = parts.next_mut() else { return Outcome::Dropped };
        part.failures += 1;
        let limited = answer.code() == Some(429);
        let attempts_max = self.config.max_retries.filter(|attempts| *attempts > 0);
        if (limited && self.config.drop_rate_limited) || attempts_max.is_some_and(|max| part.failures >= max) {
            parts.drop_next(if limited { RATE_LIMITED } else { INGESTER_ERROR });
            self.backoff.reset();
            return Outcome::Dropped;
        }
        let mut outcome = Outcome::Retried;
        if trouble == Trouble::RateLimited {
            self.rate.refused(now);
            part.refusals += 1;
            let bytes = part.lot.bytes;
            if part.refusals >= REFUSALS_UNTIL_HALVED && self.size.refused(bytes) && parts.halve() {
                self.backoff.reset();
                outcome = Outcome::Split;
            }
        }
        self.wait_until = now.saturating_add(self.backoff.pause(retry_after(answer)));
        outcome
    }

    fn stuck(&mut self, trouble: Trouble, answer: &Answer, now: Duration, report: &mut dyn Report) -> Outcome {
        self.trouble.failed(trouble, true, (answer.code(), text_of(answer)), now, report);
        self.wait_until = now.saturating_add(self.backoff.slow_pause(retry_after(answer)));
        Outcome::Retried
    }
}

fn text_of(answer: &Answer) -> &str {
    match answer {
        Answer::Status { body, .. } => body,
        Answer::None(why) => why,
    }
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    match answer {
        Answer::Status { retry_after, .. } => *retry_after,
        Answer::None(_) => None,
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod rig_tests;
#[cfg(test)]
mod row_tests;
#[cfg(test)]
mod time_tests;
