//! The machine's clocks: one that stops for nobody, one that somebody sets, and one that begins again with each boot.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;
use weir::clock::{Clock, UnixNanos};

/// Where days begin: 2026-11-21T00:00:00Z.
const EPOCH: UnixNanos = 1_795_219_200_000_000_000;

#[derive(Default)]
pub struct SimClock {
    /// Nanoseconds of the simulation so far.
    elapsed: AtomicI64,
    /// When the machine was booted last.
    booted: AtomicI64,
    /// How far the wall clock is off.
    step: AtomicI64,
}

impl SimClock {
    /// Milliseconds of the simulation so far: the time of the harness, which no fault touches.
    pub fn elapsed_ms(&self) -> u64 {
        (self.elapsed.load(Relaxed) / 1_000_000) as u64
    }

    pub fn advance_to_ms(&self, ms: u64) {
        self.elapsed.fetch_max(ms as i64 * 1_000_000, Relaxed);
    }

    /// Sets the wall clock forward or back.
    pub fn step_seconds(&self, seconds: i64) {
        self.step.fetch_add(seconds * 1_000_000_000, Relaxed);
    }

    /// The machine starts again; a good minute passed before the agent does.
    pub fn reboot(&self) {
        self.booted.store(self.elapsed.load(Relaxed) - 60_000_000_000, Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> UnixNanos {
        EPOCH + self.elapsed.load(Relaxed) + self.step.load(Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos((self.elapsed.load(Relaxed) - self.booted.load(Relaxed)).max(0) as u64 + 60_000_000_000)
    }
}
