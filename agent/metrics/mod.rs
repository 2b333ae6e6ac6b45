//! Series: the store of what the logs say, the agent's own metrics, and the one encoder for both.
//!
//! A [`Store`] belongs to one worker thread: plain loads and stores, no lock, no atomic. A cut of it is a [`Snapshot`],
//! which is kept and encoded elsewhere.
//!
//! ```text
//! line → LabelValue, LabelSet → Store::cells_of (a hash lookup) → Cells (all metrics with these labels, side by side)
//!                                                            │ Store::cut ── Snapshot::changes_since → slots
//!                                    Own (prometheus crate) ─┴─ encode → text 0.0.4 | OpenMetrics      │
//!                                                                          Store::restore ◄────────────┘
//! ```
//!
//! Prometheus does not count the first value that it sees of a series, and counts all of a value that went down. So a
//! newborn series is shown as 0 until every scraper saw that (`exposure`), no series is forgotten before every scraper
//! saw its last value, and none moves to another (`carry`, `restore`). `exact_tests` is the proof.

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
mod terms;
mod value;

pub use admission::{CAPPED_LABELS_MAX, Limit, OTHER};
pub use cell::{Refused, Update};
pub use encode::{EncodeError, encode};
pub use family::{Conflict, DEFAULT_BUCKETS, Family, FamilyId, Kind, LabelName};
pub use format::Format;
pub use group::{Cells, GroupId, Row, Seconds};
pub use key::{LABEL_VALUE_BYTES_MAX, LabelKey};
pub use number::Number;
pub use own::{Declared, Own, raise_to};
pub use restore::{Restore, Restored};
pub use scrapers::Scrapers;
pub use snapshot::{FamilyStats, Sample, Shown, Snapshot};
pub use store::Store;
pub use value::{LabelSet, LabelValue, Numbers};

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
