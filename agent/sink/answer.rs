//! What came of a push, before anyone has judged it.

use std::ops::AddAssign;
use std::time::Duration;

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Somebody answered.
    Status {
        code: u16,
        /// What `Retry-After` asks for.
        retry_after: Option<Duration>,
        /// The beginning of the body: it names reasons.
        body: String,
        /// What `Date` says, in seconds since 1970.
        date: Option<i64>,
    },
    /// Nobody did, or not in time: why. What was sent may have arrived all the same.
    None(String),
}

/// How a whole batch ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Entries that Loki has.
    pub acknowledged: u64,
    /// Entries that it will never have, by reason: how many, and the bytes of their lines.
    pub dropped: Vec<(&'static str, Lot)>,
}

/// Entries and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lot {
    pub entries: u64,
    pub bytes: u64,
}

impl AddAssign for Lot {
    fn add_assign(&mut self, other: Lot) {
        self.entries += other.entries;
        self.bytes += other.bytes;
    }
}
