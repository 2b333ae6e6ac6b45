//! A directory of the machine.

use super::{Disk, DiskFile};
use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, fdatasync, flock, fstat, fstatfs, fstatvfs, fsync, open, openat,
    renameat, unlinkat,
};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A directory of the machine, locked for as long as this lives.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    /// Holds the lock. The directory itself is locked, not a file in it: whoever empties it does not break the lock,
    /// and it works where nothing can be written.
    directory: OwnedFd,
}

impl RealDisk {
    /// Opens and locks a directory, which is made when it is missing. [`io::ErrorKind::WouldBlock`]: another agent
    /// counts there; ask again later.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
            // A directory that a power loss takes away keeps nothing.
            for above in path.ancestors().skip(1) {
                let _ = File::open(if above.as_os_str().is_empty() { Path::new(".") } else { above })
                    .and_then(|above| above.sync_all());
            }
        }
        let directory = open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
        let disk = RealDisk { path, directory };
        // It may have been removed, and made again by another agent, between the two calls.
        if disk.is_there()? { Ok(disk) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn is_there(&self) -> io::Result<bool> {
        let own = fstat(&self.directory)?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (own.st_dev, own.st_ino)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<Box<dyn DiskFile>> {
        // A link that someone planted is not followed; NONBLOCK: nor is a pipe waited for.
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file"));
        }
        Ok(Box::new(file))
    }
}

impl Disk for RealDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            // What is no text is not ours.
            names.extend(entry?.file_name().to_str().ok().map(str::to_string));
        }
        Ok(names)
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        match self.open_with(name, OFlags::RDWR) {
            // What cannot be written can still be recovered.
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::ROFS | Errno::ACCESS | Errno::PERM)) => {
                self.open_with(name, OFlags::RDONLY)
            }
            opened => opened,
        }
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open_with(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.directory, from, &self.directory, to)?)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.directory, name, AtFlags::empty())?)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(fsync(&self.directory)?)
    }

    fn restore(&mut self) -> io::Result<bool> {
        if self.is_there()? {
            return Ok(false);
        }
        *self = RealDisk::open(self.path.clone())?;
        Ok(true)
    }

    fn free_bytes(&mut self) -> io::Result<Option<(u64, u64)>> {
        let stat = fstatvfs(&self.directory)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        // Some file systems have no size.
        Ok((stat.f_blocks > 0).then(|| (bytes(stat.f_bavail), bytes(stat.f_blocks))))
    }

    fn is_volatile(&self) -> bool {
        const TMPFS: u32 = 0x0102_1994;
        const RAMFS: u32 = 0x8584_58f6;
        fstatfs(&self.directory).is_ok_and(|stat| [TMPFS, RAMFS].contains(&(stat.f_type as u32)))
    }

    fn random(&mut self) -> u64 {
        // The system's randomness, by way of the hash maps' seeds.
        RandomState::new().build_hasher().finish()
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn names(&self) -> io::Result<u64> {
        Ok(self.metadata()?.nlink())
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match FileExt::read_at(self, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(fdatasync(&*self)?)
    }
}
