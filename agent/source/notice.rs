//! What happened to a log that somebody should know of: the one list of what may cost lines.

use super::open::Refusal;
use std::io;
use std::path::PathBuf;

/// Told once, when it begins. Offsets are in unpacked bytes.
#[derive(Debug)]
pub enum Notice {
    /// An older file cannot be opened, or must not be. It is tried again.
    NotOpened { path: PathBuf, refusal: Refusal },
    /// A file or directory cannot be read. It is tried again.
    NotRead { path: PathBuf, error: io::Error },
    /// Truncated or written anew in place, and begun again. `offset` is how far it was read before.
    Rewritten { path: PathBuf, offset: u64 },
    /// What was truncated had bytes from `offset` on that were seen and not read, and no copy holds them.
    Truncated { path: PathBuf, offset: u64 },
    /// A compressed file ends in an error after what was readable.
    BrokenArchive { path: PathBuf, offset: u64, error: io::Error },
    /// The bytes between these offsets could not be read after many tries, and are given up.
    Unreadable { path: PathBuf, offset: u64, end: u64 },
    /// A file that was not read to its end is gone.
    Vanished { path: PathBuf, offset: u64 },
    /// After a power loss the file is shorter than what was read of it: read on from its new end.
    Shortened { path: PathBuf, offset: u64, end: u64 },
    /// After a power loss other bytes stand before `offset` than were read: read on after them.
    PowerLoss { path: PathBuf, offset: u64 },
}

/// Why a count may differ from the lines that were written; none if this notice costs no line.
pub fn break_reason(notice: &Notice) -> Option<&'static str> {
    match notice {
        Notice::NotOpened { .. } | Notice::NotRead { .. } => None,
        Notice::Rewritten { .. } | Notice::Shortened { .. } => None,
        Notice::Truncated { .. } => Some("truncated"),
        Notice::BrokenArchive { .. } => Some("broken_archive"),
        Notice::Unreadable { .. } => Some("unreadable"),
        Notice::Vanished { .. } => Some("vanished"),
        Notice::PowerLoss { .. } => Some("power_loss"),
    }
}

/// What came of a look at a source.
#[derive(Debug, Default)]
pub struct Progress {
    /// By how much the cursors moved, in unpacked bytes.
    pub bytes: u64,
    pub lines: u64,
    /// Lines that were longer than the limit.
    pub cut: u64,
    /// NUL bytes in front of lines, which belong to none.
    pub nul_bytes: u64,
    /// There is more to read at once.
    pub more: bool,
    /// A file could not be opened because there are too many open ones.
    pub starved: bool,
    pub notices: Vec<Notice>,
}
