//! What follows from an answer, for the part of the batch that was pushed.

use super::crowded::Way;
use super::parts::Parts;
use super::refusal::{self, Refusal};
use super::{
    DeadLetter, INGESTER_ERROR, Lane, Outcome, RATE_LIMITED, REFUSALS_BELIEVED, REFUSALS_UNTIL_HALVED, REJECTED,
    Report, SEARCH_PERIOD, TOO_LARGE, Trouble,
};
use crate::sink::Answer;
use std::time::Duration;

impl Lane {
    pub(super) fn accepted(&mut self, now: Duration) -> Outcome {
        if let Some(parts) = &mut self.parts {
            if self.sorting {
                parts.labels().for_each(|labels| self.crowded.taken(labels, now));
            }
            parts.acknowledge(&[]);
        }
        Outcome::Accepted
    }

    pub(super) fn refused(&mut self, refusal: &Refusal) -> Outcome {
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

    pub(super) fn hopeless(&mut self, reason: &'static str) -> Outcome {
        if let Some(parts) = &mut self.parts {
            parts.drop_next(reason);
        }
        Outcome::Refused
    }

    pub(super) fn unexplained(&mut self, answer: &Answer, now: Duration, report: &mut dyn Report) -> Outcome {
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

    pub(super) fn too_large(&mut self, answer: &Answer, now: Duration, report: &mut dyn Report) -> Outcome {
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
            let (code, text) = (answer.code().unwrap_or_default(), answer.text());
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
            let told = (answer.code(), answer.text());
            self.trouble.failed(Trouble::RefusesAll, true, told, now, report);
            self.wait_until = self.wait_until.max(now + self.backoff.slow_pause(answer.retry_after()));
        }
    }

    pub(super) fn later(
        &mut self,
        trouble: Trouble,
        answer: &Answer,
        now: Duration,
        report: &mut dyn Report,
    ) -> Outcome {
        let attempts_max = self.config.max_retries.filter(|attempts| *attempts > 0);
        let waits_aside = trouble == Trouble::StreamLimit && attempts_max.is_none() && !self.config.drop_rate_limited;
        self.trouble.failed(trouble, waits_aside, (answer.code(), answer.text()), now, report);
        if waits_aside {
            return self.no_room(now);
        }
        let Some(parts) = &mut self.parts else { return Outcome::Dropped };
        let Some(part) = parts.next_mut() else { return Outcome::Dropped };
        part.failures += 1;
        let limited = answer.code() == Some(429);
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
        self.wait_until = now.saturating_add(self.backoff.pause(answer.retry_after()));
        outcome
    }

    /// Loki has no room for the last of the next part's streams, and tells nothing of the others: each is asked for.
    fn no_room(&mut self, now: Duration) -> Outcome {
        (self.sorting, self.lacks_room) = (true, true);
        let Some(parts) = &mut self.parts else { return Outcome::Aside };
        if parts.cut_into_streams() {
            return Outcome::Split;
        }
        parts.labels().for_each(|labels| self.crowded.refused(labels, now));
        parts.set_next_aside();
        // What is left of the stream, where it was too large for one part, must not overtake it.
        while parts.labels().next().is_some_and(|labels| self.crowded.way_of(labels, now) == Way::Aside) {
            parts.set_next_aside();
        }
        Outcome::Aside
    }

    pub(super) fn stuck(
        &mut self,
        trouble: Trouble,
        answer: &Answer,
        now: Duration,
        report: &mut dyn Report,
    ) -> Outcome {
        self.trouble.failed(trouble, true, (answer.code(), answer.text()), now, report);
        self.wait_until = now.saturating_add(self.backoff.slow_pause(answer.retry_after()));
        Outcome::Retried
    }
}
