//! What the checkpoint has to say: what was lost, and why something could not be kept.

use rustix::io::Errno;
use std::fmt;
use std::io;

/// Something that the agent must count: the state is older than what was acknowledged, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A generation could not be read as a whole. What came before it was taken, or nothing.
    Corrupt {
        file: String,
        why: String,
        /// Batches that are missing now, as far as the file still tells.
        batches: u64,
    },
    /// A generation was written by a newer program. What came before it was taken, or nothing.
    Version { file: String, version: u32 },
    /// The log is damaged behind the last batch that was taken.
    Damaged {
        file: String,
        /// Batches that are missing, as far as the file still tells; the damaged one may never have been finished.
        batches: u64,
    },
    /// The machine stopped before batches were on the disk that were acknowledged without a sync.
    Unsynced { file: String, batches: u64 },
    /// The newest generation says that there is a newer one, and it is gone.
    Missing { file: String },
    /// The files were removed while the agent ran. Nothing is lost: the state was written again from memory.
    Cleared,
}

impl Notice {
    /// For metrics: a few words that never change.
    pub fn reason(&self) -> &'static str {
        match self {
            Notice::Corrupt { .. } | Notice::Damaged { .. } => "state_corrupt",
            Notice::Version { .. } => "state_version",
            Notice::Unsynced { .. } => "state_unsynced",
            Notice::Missing { .. } => "state_missing",
            Notice::Cleared => "state_cleared",
        }
    }

    /// The state that was recovered may be older than what scrapers saw.
    pub fn is_loss(&self) -> bool {
        !matches!(self, Notice::Cleared)
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Corrupt { file, why, batches } => {
                write!(f, "{file} cannot be read ({why}): the state before it was taken, {batches} batches are lost")
            }
            Notice::Version { file, version } => {
                write!(f, "{file} was written by a newer program (version {version}): the state before it was taken")
            }
            Notice::Damaged { file, batches } => {
                write!(f, "{file} is damaged: the state before the damage was taken, {batches} batches are lost")
            }
            Notice::Unsynced { file, batches } => {
                write!(f, "{file} was not on the disk when the machine stopped: {batches} batches are lost")
            }
            Notice::Missing { file } => write!(f, "{file} is not the newest state, and the newest is gone"),
            Notice::Cleared => write!(f, "the state directory was emptied while the agent ran: written anew"),
        }
    }
}

/// Why something was not kept. The files hold what they held; a batch that failed counts as not written, although a
/// recovery may still find it whole.
#[derive(Debug, thiserror::Error)]
#[error("{what}{}", source.as_ref().map(|error| format!(": {error}")).unwrap_or_default())]
pub struct CheckpointError {
    pub kind: ErrorKind,
    what: &'static str,
    #[source]
    source: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No batch can be added before the next snapshot: the log is full, is not trusted after an error, or was never
    /// begun. Not a fault of the disk.
    Full,
    /// More slots or bytes than [`Limits`](super::Limits) allow.
    Limit,
    /// The disk or a quota is full.
    NoSpace,
    /// The file system cannot be written, or not by this user.
    ReadOnly,
    /// The files or the directory were removed: a snapshot makes them again.
    Removed,
    /// Another agent counts in this directory.
    Locked,
    /// The disk fails.
    Io,
}

impl ErrorKind {
    /// For metrics: a word that never changes.
    pub fn reason(self) -> &'static str {
        match self {
            ErrorKind::Full => "full",
            ErrorKind::Limit => "limit",
            ErrorKind::NoSpace => "no_space",
            ErrorKind::ReadOnly => "read_only",
            ErrorKind::Removed => "removed",
            ErrorKind::Locked => "locked",
            ErrorKind::Io => "io_error",
        }
    }
}

impl CheckpointError {
    pub(super) fn new(kind: ErrorKind, what: &'static str) -> Self {
        CheckpointError { kind, what, source: None }
    }

    pub fn io(what: &'static str, error: io::Error) -> Self {
        let kind = match Errno::from_io_error(&error) {
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => ErrorKind::NoSpace,
            Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => ErrorKind::ReadOnly,
            Some(Errno::NOENT | Errno::STALE) => ErrorKind::Removed,
            _ if error.kind() == io::ErrorKind::WouldBlock => ErrorKind::Locked,
            _ => ErrorKind::Io,
        };
        CheckpointError { kind, what, source: Some(error) }
    }
}
