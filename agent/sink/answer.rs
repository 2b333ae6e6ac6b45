//! What came of a push, before anyone has judged it.

use bytes::Bytes;
use std::ops::AddAssign;
use std::time::Duration;

/// Bytes of a body that a transport keeps at most. A body of this length may go on: what it lists is not all.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Somebody answered.
    Status {
        code: u16,
        /// What `Retry-After` asks for.
        retry_after: Option<Duration>,
        /// The body, up to [`BODY_BYTES_MAX`]: it names reasons.
        body: String,
        /// What `Date` says, in seconds since 1970.
        date: Option<i64>,
    },
    /// Nobody did, or not in time: why. What was sent may have arrived all the same.
    None(String),
}

impl Answer {
    pub fn code(&self) -> Option<u16> {
        match self {
            Answer::Status { code, .. } => Some(*code),
            Answer::None(_) => None,
        }
    }

    /// How long the server asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Answer::Status { retry_after, .. } => *retry_after,
            Answer::None(_) => None,
        }
    }

    /// What it says, or why there is none.
    pub fn text(&self) -> &str {
        match self {
            Answer::Status { body, .. } => body,
            Answer::None(why) => why,
        }
    }
}

/// How a whole batch ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Entries that Loki has.
    pub acknowledged: u64,
    /// Entries that it will never have, by reason: how many, and the bytes of their lines.
    pub dropped: Vec<(&'static str, Lot)>,
    /// Entries that it has no room for at present.
    pub aside: Option<Aside>,
}

/// Entries that are to be tried again later, while others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aside {
    /// The whole batch, as it is.
    Whole,
    /// Some of it, as one snappy block.
    Part { packed: Bytes, lot: Lot },
}

impl Settled {
    pub fn drop_lot(&mut self, reason: &'static str, lot: Lot) {
        if lot.entries == 0 {
            return;
        }
        match self.dropped.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => {
                sum.entries += lot.entries;
                sum.bytes += lot.bytes;
            }
            None => self.dropped.push((reason, lot)),
        }
    }

    /// Entries that have found their end, one way or the other.
    pub fn entries(&self) -> u64 {
        self.acknowledged + self.dropped.iter().map(|(_, lot)| lot.entries).sum::<u64>()
    }
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
