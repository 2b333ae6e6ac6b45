//! The file system as log reading needs it: so little of it that a simulator can stand in.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::clock::UnixNanos;

/// Opens and looks at files. Paths are absolute; symbolic links are followed as far as the implementation allows.
pub trait FileSystem: Send + Sync {
    /// Opens a regular file for reading; everything else is refused with its reason.
    fn open(&self, path: &Path) -> Result<Box<dyn File>, OpenError>;
    /// What stands at `path` now, links followed.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Names in a directory, in no order, without `.` and `..`.
    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>>;
    /// `path` with every link resolved: where the rotated siblings of a linked log stand.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;
}

/// An open file. It stays readable when its name is gone.
pub trait File: Send {
    /// Reads up to `buffer.len()` bytes at `offset`; less only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn metadata(&self) -> io::Result<Metadata>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    pub kind: FileKind,
    /// Changes when a volume is mounted anew: a hint, never a key that is stored.
    pub device: u64,
    /// Is used again at once by ext4: names a file only while somebody holds it open.
    pub inode: u64,
    pub size_bytes: u64,
    pub modified: UnixNanos,
    /// Not every file system knows it.
    pub born: Option<UnixNanos>,
    /// 0 once the last name is gone.
    pub links: u32,
    /// User id.
    pub owner: u32,
}

impl Metadata {
    /// Whether both are the same file, provided that one of them is held open.
    pub fn same_file(&self, device: u64, inode: u64) -> bool {
        self.device == device && self.inode == inode
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Regular,
    Directory,
    Pipe,
    Device,
    Socket,
    Other,
}

/// Why a file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It could be, and must not be.
    #[error("refused: {0}")]
    Refused(Refusal),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Things planted where logs should be (reliability.md §5, rows 1 to 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The path, or a link in it, leads out of every log root.
    OutsideRoot,
    /// Not a regular file: opening or reading it could block, or never end.
    NotRegular(FileKind),
    /// It has a second name, which may be a secret's.
    HardLink,
}

impl Refusal {
    /// The value of the `reason` label.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::OutsideRoot => "outside_root",
            Refusal::NotRegular(_) => "not_regular",
            Refusal::HardLink => "hard_link",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::OutsideRoot => f.write_str("it leads out of the log root"),
            Refusal::NotRegular(kind) => {
                let kind = match kind {
                    FileKind::Regular => "regular file",
                    FileKind::Directory => "directory",
                    FileKind::Pipe => "pipe",
                    FileKind::Device => "device",
                    FileKind::Socket => "socket",
                    FileKind::Other => "special file",
                };
                write!(f, "it is a {kind}")
            }
            Refusal::HardLink => f.write_str("it has more than one name (hard link)"),
        }
    }
}
