//! The part of a file system that discovery sees.

use crate::clock::UnixNanos;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Directory,
    Symlink,
    /// A file, and anything else that is neither of the above: whether it can be read is the source's question.
    File,
}

/// One name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: OsString,
    /// Of the name itself: a symlink is not followed.
    pub kind: Kind,
}

/// A tree of directories. Paths are absolute.
pub trait Tree {
    /// The names of a directory, in no order, without `.` and `..`.
    fn entries(&self, directory: &Path) -> io::Result<Vec<Entry>>;
    /// What a path leads to, symlinks followed; so never [`Kind::Symlink`].
    fn kind(&self, path: &Path) -> io::Result<Kind>;
    /// The path with all symlinks resolved.
    fn resolved(&self, path: &Path) -> io::Result<PathBuf>;
    /// When names of a directory changed last. `None`: not known, so they may have at any time.
    fn changed(&self, _directory: &Path) -> Option<UnixNanos> {
        None
    }
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostTree;

impl Tree for HostTree {
    fn entries(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            entries.push(Entry { name: entry.file_name(), kind: kind_of(entry.file_type()?) });
        }
        Ok(entries)
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        Ok(kind_of(std::fs::metadata(path)?.file_type()))
    }

    fn resolved(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::canonicalize(path)
    }

    fn changed(&self, directory: &Path) -> Option<UnixNanos> {
        let metadata = std::fs::metadata(directory).ok()?;
        metadata.mtime().checked_mul(1_000_000_000)?.checked_add(metadata.mtime_nsec())
    }
}

fn kind_of(file_type: std::fs::FileType) -> Kind {
    if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_symlink() {
        Kind::Symlink
    } else {
        Kind::File
    }
}

/// A tree that a test writes down: the paths of its files, its directories following from them.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(super) struct PaperTree {
    pub files: std::collections::BTreeSet<PathBuf>,
    pub symlinks: std::collections::BTreeMap<PathBuf, PathBuf>,
    pub forbidden: std::collections::BTreeSet<PathBuf>,
}

#[cfg(test)]
impl PaperTree {
    pub fn of(files: &[&str]) -> Self {
        PaperTree { files: files.iter().map(PathBuf::from).collect(), ..PaperTree::default() }
    }
}

#[cfg(test)]
impl Tree for PaperTree {
    fn entries(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let directory = self.resolved(directory)?;
        if self.forbidden.contains(&directory) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut entries: Vec<Entry> = Vec::new();
        for path in self.files.iter().chain(self.symlinks.keys()) {
            let Some(name) = path.strip_prefix(&directory).ok().and_then(|rest| rest.iter().next()) else { continue };
            let kind = match directory.join(name) {
                child if self.symlinks.contains_key(&child) => Kind::Symlink,
                child if self.files.contains(&child) => Kind::File,
                _ => Kind::Directory,
            };
            let entry = Entry { name: name.into(), kind };
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        let path = self.resolved(path)?;
        Ok(if self.files.contains(&path) { Kind::File } else { Kind::Directory })
    }

    fn resolved(&self, path: &Path) -> io::Result<PathBuf> {
        let mut resolved = PathBuf::from("/");
        let mut links = 0;
        for name in path.iter().skip(1) {
            resolved.push(name);
            while let Some(target) = self.symlinks.get(&resolved) {
                links += 1;
                if links > 40 {
                    return Err(io::ErrorKind::TooManyLinks.into());
                }
                resolved = target.clone();
            }
        }
        let exists = resolved == Path::new("/")
            || self.files.iter().chain(self.symlinks.keys()).any(|file| file.starts_with(&resolved));
        if exists { Ok(resolved) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}
