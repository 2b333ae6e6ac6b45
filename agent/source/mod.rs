//! Where lines come from.
//!
//! A source is one container's log, or one file's: what was ever written to one path, whatever the files are called
//! by now. It owns its generations (the files), hands out their lines oldest first, and knows how far it got.
//! Nothing right of this module may assume a file: standard input is a source as well, and more will come.
//!
//! Everything is a state machine over [`FileSystem`], a given time and [`Wakes`]; a simulator can stand in for each.

mod file_source;
mod filesystem;
mod generation;
mod gz;
mod line_buffer;
mod mem_fs;
mod real_fs;
mod rotation;
mod set;
mod siblings;
mod stdin;
mod wake;

pub use file_source::{FileSource, Notice, Progress, Start};
pub use filesystem::{File, FileKind, FileSystem, Metadata, OpenError, Refusal};
pub use generation::{Cursor, Fingerprint, Hash, Identity};
pub use line_buffer::{LINE_BYTES_MAX, LineBuffer, RawLine};
pub use mem_fs::MemFs;
pub use real_fs::RealFs;
pub use rotation::{Shape, Sibling, current_name, older_generations};
pub use set::{Budget, SourceId, Sources, Turn};
pub use stdin::StdinSource;
pub use wake::{InotifyWakes, ManualWakes, Waker, Wakes, Woken};

/// One line of a source. It borrows the buffer it was read into, so it is gone when the sink returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'b> {
    /// Without its newline; a carriage return stays.
    pub bytes: &'b [u8],
    /// Of the first byte, in the decompressed generation.
    pub offset: u64,
    /// Which of the source's files it stood in. Numbers are never used again within a source, and say no order.
    pub generation: u32,
    /// It was longer than the limit, and this is its front.
    pub cut: bool,
    /// It ended with a newline (or was cut); otherwise nothing more can follow it.
    pub complete: bool,
}
