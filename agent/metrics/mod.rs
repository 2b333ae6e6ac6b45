//! Series: the store of what the logs say, the agent's own metrics, and the one encoder for both.
//!
//! A [`Store`] belongs to one worker thread: plain loads and stores, no lock, no atomic. A scrape asks each worker for
//! a [`Snapshot`], merges them and encodes the result elsewhere.
//!
//! ```text
//! line → LabelKey → Store::row (one hash lookup) → Cells (all metrics with these labels, side by side)
//!                                                          │ Store::snapshot
//!                                  Own (prometheus crate) ─┴─ encode → text 0.0.4 | OpenMetrics
//! ```

mod admission;
mod carry;
mod cell;
mod encode;
mod expose;
mod exposure;
mod family;
mod format;
mod group;
mod kept;
mod key;
mod keys;
mod number;
mod own;
mod process;
mod restore;
mod scrapers;
mod seen;
mod sketch;
mod snapshot;
mod store;

pub use admission::{CAPPED_LABELS_MAX, Limit, OTHER};
pub use cell::Refused;
pub use encode::{EncodeError, encode};
pub use family::{Conflict, DEFAULT_BUCKETS, Family, FamilyId, Kind, LabelName};
pub use format::Format;
pub use group::{Cells, GroupId, Row, Seconds};
pub use key::{LABEL_VALUE_BYTES_MAX, LabelKey};
pub use number::Number;
pub use own::{Declared, Own, raise_to};
pub use restore::{Restore, Restored};
pub use scrapers::{Scrapers, hold};
pub use snapshot::{FamilyStats, Sample, Shown, Snapshot};
pub use store::Store;

#[cfg(test)]
#[path = "../../tests/support/exposition.rs"]
mod strict;

#[cfg(test)]
mod properties;

#[cfg(test)]
mod admission_tests;
#[cfg(test)]
mod exact_tests;
#[cfg(test)]
mod kept_tests;
