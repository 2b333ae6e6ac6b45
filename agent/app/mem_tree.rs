//! A file system in memory as discovery sees it: a whole engine can run in one.

use crate::discovery::Tree;
use crate::discovery::tree::{Entry, Kind};
use crate::source::{FileKind, FileSystem, MemFs, MemPath};
use std::io;
use std::path::{Path, PathBuf};

impl Tree for MemFs {
    fn entries(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let kind = |is| match is {
            MemPath::File => Kind::File,
            MemPath::Link => Kind::Symlink,
            MemPath::Directory => Kind::Directory,
        };
        let entries = MemFs::entries(self, directory)?;
        Ok(entries.into_iter().map(|(name, is)| Entry { name, kind: kind(is) }).collect())
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        Ok(if self.metadata(path)?.kind == FileKind::Directory { Kind::Directory } else { Kind::File })
    }

    fn resolved(&self, path: &Path) -> io::Result<PathBuf> {
        self.resolve(path)
    }
}
