//! The file system as log reading needs it: so little of it that a simulator can stand in.

use crate::clock::UnixNanos;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Opens and looks at files. Paths are absolute. Who may be opened at all is decided by an [`Opener`](super::Opener).
pub trait FileSystem: Send + Sync {
    /// Opens for reading whatever stands there, without ever waiting: a pipe answers at once.
    fn open(&self, path: &Path, links: Links) -> io::Result<Box<dyn File>>;
    /// What stands at `path` now, links followed.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Names in a directory, in no order, without `.` and `..`.
    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>>;
    /// `path` with every link resolved: where the rotated siblings of a linked log stand.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;
    /// As whom files are opened: a user id.
    fn user(&self) -> u32;
}

/// What becomes of symbolic links on the way to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    Follow,
    /// A link anywhere on the way is an error: it was planted since the path was resolved.
    Refuse,
}

/// An open file. It stays readable when its name is gone.
pub trait File: Send + Sync {
    /// Reads up to `buffer.len()` bytes at `offset`; less only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn metadata(&self) -> io::Result<Metadata>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub kind: FileKind,
    /// Changes when a volume is mounted anew: no key.
    pub device: u64,
    /// Is used again at once by ext4: names a file only while somebody holds it open.
    pub inode: u64,
    pub size_bytes: u64,
    pub modified: UnixNanos,
    /// Not every file system knows it.
    pub born: Option<UnixNanos>,
    /// How many names it has; 0 once the last one is gone.
    pub links: u32,
    /// User id.
    pub owner: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Regular,
    Directory,
    /// Pipes, devices, sockets.
    Other,
}
