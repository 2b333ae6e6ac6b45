//! The simulated file system as the agent sees it.

use super::fs::{FileRef, Found, SimFs};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use weir::discovery::{Entry, Kind, Tree};
use weir::source::{File, FileKind, FileSystem, Links, Metadata};

impl FileSystem for SimFs {
    fn open(&self, path: &Path, _links: Links) -> io::Result<Box<dyn File>> {
        match self.look_up(path)? {
            Found::File(file) => {
                file.node().opened += 1;
                Ok(Box::new(Handle { fs: self.clone(), file }))
            }
            Found::Directory => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        match self.look_up(path)? {
            Found::File(file) => Ok(metadata(&file)),
            Found::Directory => Ok(Metadata {
                kind: FileKind::Directory,
                device: 1,
                inode: 0,
                size_bytes: 0,
                modified: 0,
                born: None,
                links: 2,
                owner: 0,
            }),
        }
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        Ok(self.entries(directory)?.into_iter().map(|entry| entry.name).collect())
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.look_up(path).map(|_| path.to_path_buf())
    }

    fn user(&self) -> u32 {
        0
    }
}

impl Tree for SimFs {
    fn entries(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let children = self.children(directory)?;
        let entry =
            |(name, is_directory)| Entry { name, kind: if is_directory { Kind::Directory } else { Kind::File } };
        Ok(children.into_iter().map(entry).collect())
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        Ok(match self.look_up(path)? {
            Found::File(_) => Kind::File,
            Found::Directory => Kind::Directory,
        })
    }

    fn resolved(&self, path: &Path) -> io::Result<PathBuf> {
        self.look_up(path).map(|_| path.to_path_buf())
    }
}

/// A file that the agent has open.
struct Handle {
    fs: SimFs,
    file: FileRef,
}

impl File for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut node = self.file.node();
        let rest = node.bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        // A look at a beginning or an end, to know the file again, reads no line that was left out before, whether it falls
        // behind its beginning or where nothing stands yet.
        if offset <= node.read_to {
            node.read_to = node.read_to.max(offset + count as u64);
        }
        Ok(count)
    }

    fn metadata(&self) -> io::Result<Metadata> {
        Ok(metadata(&self.file))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.fs.closed(&self.file);
    }
}

fn metadata(file: &FileRef) -> Metadata {
    let node = file.node();
    Metadata {
        kind: FileKind::Regular,
        device: 1,
        inode: node.inode,
        size_bytes: node.bytes.len() as u64,
        modified: node.modified,
        born: Some(node.born),
        links: node.links,
        owner: 0,
    }
}
