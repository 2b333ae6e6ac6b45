//! When to try again what failed.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(60);

/// Failures in a row: after each one the pause is twice as long, up to a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    pub failures: u32,
    due: Duration,
}

impl Backoff {
    /// `now` is a time that never goes back.
    pub fn failed(&mut self, now: Duration) {
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.due = now + pause;
    }

    pub fn is_due(&self, now: Duration) -> bool {
        now >= self.due
    }

    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let mut backoff = Backoff::default();
        let mut now = Duration::from_secs(5);
        assert!(backoff.is_due(now) && !backoff.is_failing());
        for pause in [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            backoff.failed(now);
            now += Duration::from_millis(pause - 1);
            assert!(!backoff.is_due(now), "{pause}");
            now += Duration::from_millis(1);
            assert!(backoff.is_due(now), "{pause}");
        }
        assert!(backoff.is_failing());
    }
}
