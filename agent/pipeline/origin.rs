//! Where an entry is from, for what is remembered from one entry to the next.

use std::sync::atomic::{AtomicU64, Ordering};

/// What an entry is from: a source as it is bound to a pipeline. No other binding of any pipeline ever has the same in this
/// process, so what is remembered by it cannot mean another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin(u64);

impl Origin {
    /// One that was never given before.
    pub fn next() -> Origin {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Origin(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Counts up.
    pub fn number(self) -> u64 {
        self.0
    }
}
