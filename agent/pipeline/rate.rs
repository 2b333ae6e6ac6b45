//! So many lines per second: token buckets, as Go's `rate.Limiter` fills and empties them.

use super::{ReasonId, Scope};
use std::time::Duration;

/// Why lines are dropped that are too many for [`LineRate`]; Promtail's name.
pub const LINE_RATE_DROP: &str = "global_rate_limiter_drop";

/// Who empties it faster than it fills has to wait or goes without.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Per second; above 0.
    rate: f64,
    burst: f64,
    /// What is in it, or owed.
    tokens: f64,
    /// When that was so; nothing before the first line.
    at: Option<Duration>,
}

impl Bucket {
    /// A full bucket. `rate` is above 0 and finite, `burst` at least 1.
    pub fn new(rate: f64, burst: u64) -> Self {
        let burst = burst as f64;
        Bucket { rate, burst, tokens: burst, at: None }
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Duration) -> bool {
        self.fill(now);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// Takes a token that may not be there yet. When all that was taken will be.
    pub fn owe(&mut self, now: Duration) -> Duration {
        self.fill(now);
        self.tokens -= 1.0;
        let owed_seconds = (-self.tokens / self.rate).max(0.0);
        now.saturating_add(Duration::try_from_secs_f64(owed_seconds).unwrap_or(Duration::MAX))
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at.unwrap_or(now));
        self.tokens = (self.tokens + passed.as_secs_f64() * self.rate).min(self.burst);
        self.at = Some(now);
    }
}

/// `limits_config.readline_rate`: the rate of all lines that reach the end of a pipeline, whichever; by default there is
/// none.
#[derive(Debug, Default)]
pub struct LineRate {
    limit: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    bucket: Bucket,
    drop: bool,
    paused_until: Duration,
}

impl LineRate {
    /// With `drop` lines past the rate are dropped; without it all pass, and nothing is read for a while.
    pub fn new(rate: f64, burst: u64, drop: bool) -> Self {
        LineRate { limit: Some(Limit { bucket: Bucket::new(rate, burst), drop, paused_until: Duration::ZERO }) }
    }

    /// Whether a line may go on.
    #[inline]
    pub(super) fn lets_pass(&mut self, now: Duration) -> bool {
        let Some(limit) = &mut self.limit else { return true };
        if limit.drop {
            return limit.bucket.take(now);
        }
        limit.paused_until = limit.bucket.owe(now);
        true
    }

    /// Until when nothing is to be read; `None`: this rate never makes anything wait.
    pub fn paused_until(&self) -> Option<Duration> {
        self.limit.as_ref().filter(|limit| !limit.drop).map(|limit| limit.paused_until)
    }

    /// The reason under which each pipeline enters what is dropped.
    pub(super) fn reason(scope: &mut Scope<'_>) -> ReasonId {
        scope.reason(LINE_RATE_DROP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However lines come, of those that pass there are never more than burst and rate allow, and never fewer than
        /// came where they came slowly enough.
        #[test]
        fn no_span_has_more_than_burst_and_rate_allow(
            rate in 0.1..1_000.0f64, burst in 1u64..50, pauses in proptest::collection::vec(0u64..200, 1..200),
        ) {
            let mut bucket = Bucket::new(rate, burst);
            let (mut now, mut passed) = (Duration::from_secs(7), Vec::new());
            for pause in pauses {
                now += Duration::from_millis(pause);
                if bucket.take(now) {
                    passed.push(now);
                }
            }
            for (i, start) in passed.iter().enumerate() {
                for (j, end) in passed.iter().enumerate().skip(i) {
                    let most = burst as f64 + (*end - *start).as_secs_f64() * rate + 1e-6;
                    prop_assert!((j - i + 1) as f64 <= most, "{} from {start:?} to {end:?}", j - i + 1);
                }
            }
        }

        /// Who waits until all is paid has the rate in the long run, to the line.
        #[test]
        fn debts_are_paid_at_the_rate(rate in 0.1..1_000.0f64, burst in 1u64..50, lines in 1u64..500) {
            let mut bucket = Bucket::new(rate, burst);
            let mut until = Duration::ZERO;
            for _ in 0..lines {
                until = bucket.owe(Duration::ZERO);
            }
            let wanted = lines.saturating_sub(burst) as f64 / rate;
            prop_assert!((until.as_secs_f64() - wanted).abs() < 1e-6 * (1.0 + wanted), "{until:?} for {wanted}");
            prop_assert!(lines <= burst || !bucket.take(until.saturating_sub(Duration::from_millis(1))));
        }
    }
}
