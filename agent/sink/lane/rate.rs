//! How much a lane sends: bytes a second, and bytes at once.

use std::time::Duration;

/// Where a lane that was refused for the first time begins to halve: Loki's own default for a tenant.
const FIRST_BYTES_PER_SEC: u64 = 4 << 20;
const LEAST_BYTES_PER_SEC: u64 = 4 << 10;
/// A rate that has grown past this is no limit any more.
const FREE_BYTES_PER_SEC: u64 = 64 << 20;
/// What a second without refusal adds.
const RAISE_BYTES_PER_SEC: u64 = 64 << 10;
/// No server has a burst or a body limit below this; smaller parts come from other reasons.
const LEAST_BYTES_AT_ONCE: u64 = 16 << 10;
const FREE_BYTES_AT_ONCE: u64 = 64 << 20;

/// Halves with each refusal and grows slowly while pushes are accepted, so that lanes that share a limit come to share it
/// evenly. Without a limit until the first refusal.
#[derive(Default)]
pub struct Rate {
    bytes_per_sec: Option<u64>,
    /// When the limit last changed.
    changed: Duration,
    /// When what was sent before has used up its time.
    free_at: Duration,
}

impl Rate {
    pub fn refused(&mut self, now: Duration) {
        let rate = self.bytes_per_sec.unwrap_or(FIRST_BYTES_PER_SEC) / 2;
        self.bytes_per_sec = Some(rate.max(LEAST_BYTES_PER_SEC));
        self.changed = now;
    }

    /// A push of so many bytes that began at `begun` was accepted.
    pub fn accepted(&mut self, bytes: u64, begun: Duration, now: Duration) {
        let Some(rate) = self.bytes_per_sec else { return };
        let seconds = now.saturating_sub(self.changed).min(Duration::from_secs(1)).as_secs_f64();
        let raised = rate + (RAISE_BYTES_PER_SEC as f64 * seconds) as u64;
        self.changed = now;
        self.bytes_per_sec = (raised < FREE_BYTES_PER_SEC).then_some(raised);
        self.free_at = begun + Duration::from_secs_f64(bytes as f64 / raised as f64);
    }

    pub fn free_at(&self) -> Duration {
        self.free_at
    }
}

/// What goes through in one push. Refusals halve it; each push that fills it and goes through adds an eighth.
pub struct Size {
    bytes: u64,
}

impl Default for Size {
    fn default() -> Self {
        Size { bytes: FREE_BYTES_AT_ONCE }
    }
}

impl Size {
    pub fn fits(&self, bytes: u64) -> bool {
        bytes <= self.bytes
    }

    /// Refused for its size; false: no server is as small as that.
    pub fn refused(&mut self, bytes: u64) -> bool {
        self.bytes = self.bytes.min(bytes / 2).max(LEAST_BYTES_AT_ONCE);
        bytes > LEAST_BYTES_AT_ONCE
    }

    pub fn accepted(&mut self, bytes: u64) {
        if bytes >= self.bytes / 4 {
            self.bytes = (self.bytes + self.bytes / 8).min(FREE_BYTES_AT_ONCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_refusal_nothing_is_held_back() {
        let mut rate = Rate::default();
        rate.accepted(100 << 20, Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!(rate.free_at(), Duration::ZERO);
    }

    #[test]
    fn refusals_halve_and_accepted_pushes_raise_evenly() {
        let mut rate = Rate::default();
        rate.refused(Duration::ZERO);
        assert_eq!(rate.bytes_per_sec, Some(2 << 20));
        let mut now = Duration::ZERO;
        for second in 1..=32 {
            now += Duration::from_secs(1);
            rate.accepted(1000, now, now);
            assert_eq!(rate.bytes_per_sec, Some((2 << 20) + second * (64 << 10)));
        }
        for _ in 0..40 {
            rate.refused(now);
        }
        assert_eq!(rate.bytes_per_sec, Some(LEAST_BYTES_PER_SEC));
    }

    #[test]
    fn many_pushes_in_a_second_raise_no_more_than_one() {
        let mut rate = Rate::default();
        rate.refused(Duration::ZERO);
        for tenth in 1..=10 {
            let now = Duration::from_millis(100 * tenth);
            rate.accepted(1000, now, now);
        }
        let raised = rate.bytes_per_sec.unwrap_or_default() - (2 << 20);
        assert!(raised.abs_diff(64 << 10) < 20, "{raised}");
    }

    #[test]
    fn what_was_sent_takes_its_time() {
        let mut rate = Rate::default();
        rate.refused(Duration::ZERO);
        rate.accepted(4 << 20, Duration::from_secs(10), Duration::from_secs(10));
        let wait = rate.free_at() - Duration::from_secs(10);
        assert!((1.9..2.0).contains(&wait.as_secs_f64()), "4 MiB at 2 MiB/s and a little more: {wait:?}");
    }

    #[test]
    fn a_rate_that_grew_past_everything_is_none() {
        let mut rate = Rate::default();
        rate.refused(Duration::ZERO);
        for second in 1..=1000 {
            rate.accepted(1, Duration::from_secs(second), Duration::from_secs(second));
        }
        assert_eq!(rate.bytes_per_sec, None);
    }

    #[test]
    fn the_size_that_fits_is_learnt_and_given_up_slowly() {
        let mut size = Size::default();
        assert!(size.fits(1 << 20));
        assert!(size.refused(1 << 20));
        assert!(size.fits(512 << 10) && !size.fits((512 << 10) + 1));
        size.accepted(1000);
        assert!(!size.fits((512 << 10) + 1), "a push that fills nothing shows nothing");
        let raises = (0..).take_while(|_| {
            size.accepted(512 << 10);
            !size.fits(1 << 20)
        });
        assert_eq!(raises.count(), 5);
        assert!(!size.refused(LEAST_BYTES_AT_ONCE));
        assert!(size.fits(LEAST_BYTES_AT_ONCE));
    }
}
