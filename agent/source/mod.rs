//! Where lines come from.
//!
//! A source is one log: what was ever written to one path, whatever the files are called by now. It owns its
//! generations (the files), hands out their lines oldest first, and knows how far it got; whoever takes the lines need
//! not know that they come from files. All of it is a state machine over a [`FileSystem`] and a given time: a simulator
//! can stand in for both.

mod backoff;
mod descriptors;
mod file;
mod filesystem;
mod generation;
mod gz;
mod identity;
mod line_buffer;
mod mem_fs;
mod notice;
mod open;
mod position;
mod reading;
mod real_fs;
mod rotation;
mod siblings;

pub use descriptors::raise_open_files;
pub use file::{FileSource, Moment, Resume, Start};
pub use filesystem::{File, FileKind, FileSystem, Links, Metadata};
pub use gz::gzipped;
pub use identity::{Cursor, Fingerprint, Hash, Identity};
pub use line_buffer::{LINE_BYTES_MAX, Line, LineBuffer};
pub use mem_fs::{MemFs, MemPath};
pub use notice::{Notice, Progress, break_reason};
pub use open::{Opener, Refusal};
pub use real_fs::RealFs;
pub use rotation::base_of;

#[cfg(test)]
#[path = "source_fault_tests.rs"]
mod fault_tests;
