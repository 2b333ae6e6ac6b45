//! Where an address lives: MaxMind databases, read into memory, reloaded when their file changes, asked through a cache.
//!
//! Nothing here knows of pipelines or YAML. A [`GeoIp`] holds one database file, each worker asks it through a
//! [`Cache`] of its own, and what the cache keeps for an address is the caller's to choose (rendered label texts).

pub mod address;
mod answers;
mod cache;
mod database;
mod handle;
mod record;
mod set;

pub use cache::{Cache, Client, Counts as LookupCounts, Lookup};
pub use database::{Database, FILE_BYTES_MAX, Kind, LoadError};
pub use handle::{Event, Facts, GeoIp, Reader};
pub use record::{Field, Record};
pub use set::GeoIpSet;

#[cfg(test)]
#[path = "../../tests/support/mmdb.rs"]
mod mmdb;
