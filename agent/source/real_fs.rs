//! The machine's file system.

use super::filesystem::{File, FileKind, FileSystem, Links, Metadata};
use crate::clock::UnixNanos;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, StatxTimestamp};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// NONBLOCK: a pipe would wait for its writer, and it is refused only once it is open.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl FileSystem for RealFs {
    fn open(&self, path: &Path, links: Links) -> io::Result<Box<dyn File>> {
        let file = match links {
            Links::Follow => rustix::fs::open(path, READ, Mode::empty()),
            Links::Refuse => match rustix::fs::openat2(CWD, path, READ, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
                // An old kernel, or a seccomp profile.
                Err(Errno::NOSYS | Errno::PERM) => rustix::fs::open(path, READ | OFlags::NOFOLLOW, Mode::empty()),
                opened => opened,
            },
        };
        Ok(Box::new(RealFile(file?.into())))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        Ok(metadata(&rustix::fs::statx(CWD, path, AtFlags::empty(), WANTED)?))
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::canonicalize(path)
    }

    fn user(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }
}

struct RealFile(std::fs::File);

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn metadata(&self) -> io::Result<Metadata> {
        Ok(metadata(&rustix::fs::statx(&self.0, c"", AtFlags::EMPTY_PATH, WANTED)?))
    }
}

fn metadata(stat: &Statx) -> Metadata {
    let kind = match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        _ => FileKind::Other,
    };
    let knows_birth = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    Metadata {
        kind,
        device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        size_bytes: stat.stx_size,
        modified: nanos(stat.stx_mtime),
        born: knows_birth.then(|| nanos(stat.stx_btime)),
        links: stat.stx_nlink,
        owner: stat.stx_uid,
    }
}

fn nanos(time: StatxTimestamp) -> UnixNanos {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec.into())
}
