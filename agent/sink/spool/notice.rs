//! What the spool has to say of what it found.

use std::fmt;

/// Something about the files that someone should know. It comes again with each start for as long as the file is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Bytes within a segment are no record. What is behind them was taken.
    Damaged { file: String, bytes: u64 },
    /// The end of a segment was never finished. Nothing that was stored is missing, but for what a loss of power takes
    /// when nobody asked for a sync.
    Torn { file: String },
    /// Nothing of a file could be taken; it is set aside.
    Corrupt { file: String, why: String },
    /// A segment of a newer program; it is set aside.
    Version { file: String, version: u32 },
    /// A file cannot be read now. It stays, and is looked at again with the next start.
    Unreadable { file: String, why: String },
    /// More batches than the limit: these were not taken.
    Surplus { batches: u64, lines: u64, bytes: u64 },
}

impl Notice {
    /// For metrics: a word that never changes.
    pub fn reason(&self) -> &'static str {
        match self {
            Notice::Damaged { .. } | Notice::Corrupt { .. } => "spool_corrupt",
            Notice::Torn { .. } => "spool_torn",
            Notice::Version { .. } => "spool_version",
            Notice::Unreadable { .. } => "spool_unreadable",
            Notice::Surplus { .. } => "spool_surplus",
        }
    }

    /// Batches that were stored may be missing. Which ones, nobody knows but who remembers their ids.
    pub fn is_loss(&self) -> bool {
        !matches!(self, Notice::Torn { .. })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Damaged { file, bytes } => write!(f, "{file} is damaged: {bytes} bytes of it cannot be read"),
            Notice::Torn { file } => write!(f, "{file} ends in a write that was not finished"),
            Notice::Corrupt { file, why } => write!(f, "{file} cannot be read ({why}): it is set aside"),
            Notice::Version { file, version } => {
                write!(f, "{file} was written by a newer program (version {version}): it is set aside")
            }
            Notice::Unreadable { file, why } => write!(f, "{file} cannot be read now ({why}): it stays as it is"),
            Notice::Surplus { batches, lines, bytes } => {
                write!(f, "more batches than may be: {batches} with {lines} lines of {bytes} bytes are not taken")
            }
        }
    }
}
