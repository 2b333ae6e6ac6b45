//! Time, injected: nothing left of `app` asks the system for it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Wall-clock time in nanoseconds since 1970-01-01T00:00:00Z: log timestamps, and nothing that measures a span.
pub type UnixNanos = i64;

pub trait Clock: Send + Sync {
    /// Wall-clock time; may jump.
    fn now(&self) -> UnixNanos;
    /// Time since some fixed moment, which never goes back: for idle times and intervals.
    fn monotonic(&self) -> std::time::Duration;
}

/// The machine's clocks.
#[derive(Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixNanos {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> std::time::Duration {
        // BOOTTIME goes on while the machine sleeps, so an idle series does not look fresh after a suspend.
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        std::time::Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
    }
}

/// A clock that a test moves.
#[derive(Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn at(now: UnixNanos) -> Self {
        ManualClock(AtomicI64::new(now))
    }

    pub fn advance(&self, by: std::time::Duration) {
        self.0.fetch_add(by.as_nanos() as i64, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixNanos {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0.load(Ordering::Relaxed).max(0) as u64)
    }
}
