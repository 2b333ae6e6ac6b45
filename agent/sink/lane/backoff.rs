//! How long to wait before the next attempt.

use std::time::Duration;

/// What a server may ask for by `Retry-After`; whoever asks for more is asked again sooner.
const ASKED_MAX: Duration = Duration::from_secs(300);
/// A configured pause of nothing would be a loop at full speed.
const SHORTEST: Duration = Duration::from_millis(10);
/// Between attempts that only a human or a new secret can help.
const SLOW: Duration = Duration::from_secs(30);

/// Failures in a row: a pause is chosen at random between the shortest and a ceiling that doubles with each of them.
/// So agents that failed together come back one by one.
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    random: Random,
}

impl Backoff {
    pub fn new(min: Duration, max: Duration, seed: u64) -> Self {
        let min = min.max(SHORTEST);
        Backoff { min, max: max.max(min), failures: 0, random: Random(seed) }
    }

    /// The pause after one more failure; never shorter than what the server asked for.
    pub fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let doublings = self.failures.saturating_add(1).min(31);
        self.failures = self.failures.saturating_add(1);
        let ceiling = self.min.saturating_mul(1 << doublings).min(self.max);
        let pause = self.min + (ceiling - self.min).mul_f64(self.random.fraction());
        pause.max(asked.unwrap_or_default().min(ASKED_MAX))
    }

    /// The pause where waiting alone does not help: half a minute, a fifth more or less.
    pub fn slow_pause(&mut self, asked: Option<Duration>) -> Duration {
        let pause = SLOW.mul_f64(0.8 + 0.4 * self.random.fraction());
        pause.max(asked.unwrap_or_default().min(ASKED_MAX))
    }

    /// The same where what waits holds nothing up: no longer than the longest pause that is configured.
    pub fn idle_pause(&mut self, asked: Option<Duration>) -> Duration {
        self.slow_pause(asked).min(self.max.max(asked.unwrap_or_default()))
    }

    /// What is tried next is not what failed.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Good enough to spread pauses (splitmix64).
struct Random(u64);

impl Random {
    /// From 0 up to, not including, 1.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(300);

    #[test]
    fn pauses_lie_between_the_shortest_and_a_doubling_ceiling() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(MIN, MAX, seed);
            for ceiling in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
                let pause = backoff.pause(None);
                assert!(MIN <= pause && pause <= Duration::from_secs(ceiling), "{pause:?} of {ceiling} s");
            }
            backoff.reset();
            assert!(backoff.pause(None) <= Duration::from_secs(1));
        }
    }

    #[test]
    fn agents_do_not_come_back_together() {
        let pauses: Vec<_> = (0..100).map(|seed| Backoff::new(MIN, MAX, seed).pause(None)).collect();
        for tenth in 0..10 {
            let (from, to) = (MIN + MIN * tenth / 10, MIN + MIN * (tenth + 1) / 10);
            let within = pauses.iter().filter(|pause| from <= **pause && **pause < to).count();
            assert!((2..=25).contains(&within), "{within} of 100 agents within {from:?} to {to:?}");
        }
    }

    #[test]
    fn a_server_is_obeyed_up_to_five_minutes() {
        let asked = |seconds| Some(Duration::from_secs(seconds));
        let mut backoff = Backoff::new(MIN, MAX, 1);
        assert_eq!(backoff.pause(asked(70)), Duration::from_secs(70));
        assert_eq!(backoff.slow_pause(asked(100)), Duration::from_secs(100));
        assert_eq!(backoff.slow_pause(asked(86_400)), Duration::from_secs(300));
        let slow = backoff.slow_pause(None);
        assert!(Duration::from_secs(24) <= slow && slow <= Duration::from_secs(36), "{slow:?}");
    }

    #[test]
    fn odd_settings_neither_spin_nor_overflow() {
        let mut none = Backoff::new(Duration::ZERO, Duration::ZERO, 1);
        let mut crossed = Backoff::new(MAX, MIN, 1);
        let mut endless = Backoff::new(Duration::MAX, Duration::MAX, 1);
        for _ in 0..100 {
            assert_eq!(none.pause(None), SHORTEST);
            assert_eq!(crossed.pause(None), MAX);
            assert_eq!(endless.pause(None), Duration::MAX);
        }
    }
}
