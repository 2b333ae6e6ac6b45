//! The machine's file system, opened with distrust.
//!
//! A pod with a hostPath, or a bug in a runtime, can plant links, pipes and devices where logs are expected
//! (reliability.md §5). Nothing here blocks on open, and only regular files are read.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::filesystem::{File, FileKind, FileSystem, Metadata, OpenError, Refusal};
use crate::clock::UnixNanos;

const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

#[derive(Debug, Default, Clone)]
pub struct RealFs {
    /// Directories that logs may stand below. None: anywhere, links included (a person's own machine).
    roots: Vec<PathBuf>,
    /// Refuse files with more than one name.
    strict: bool,
}

impl RealFs {
    /// Without `roots` every readable regular file may be opened. A link may lead from one root into another
    /// (docker: from /var/log/pods into /var/lib/docker/containers).
    pub fn new(roots: Vec<PathBuf>, strict: bool) -> Self {
        RealFs { roots, strict }
    }

    fn open_below_roots(&self, path: &Path) -> Result<OwnedFd, OpenError> {
        let Some((root, below)) = self.roots.iter().find_map(|r| Some((r, path.strip_prefix(r).ok()?))) else {
            return self.open_resolved(path);
        };
        if below.as_os_str().is_empty() {
            return Err(OpenError::Refused(Refusal::NotRegular(FileKind::Directory)));
        }
        let directory = open_root(root)?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&directory, below, READ, Mode::empty(), resolve) {
            Ok(file) => Ok(file),
            // XDEV: an absolute link, or one that leaves this root. NOSYS, PERM: an old kernel or seccomp profile.
            Err(Errno::XDEV | Errno::NOSYS | Errno::PERM) => self.open_resolved(path),
            Err(Errno::LOOP) => Err(OpenError::Refused(Refusal::OutsideRoot)),
            Err(error) => Err(OpenError::Io(error.into())),
        }
    }

    /// Resolves the links first, and then walks to the result without following any, so that a link that is swapped
    /// in between is refused.
    fn open_resolved(&self, path: &Path) -> Result<OwnedFd, OpenError> {
        let outside = || OpenError::Refused(Refusal::OutsideRoot);
        let target = std::fs::canonicalize(path)?;
        let (root, below) = self
            .roots
            .iter()
            .filter_map(|root| std::fs::canonicalize(root).ok())
            .find_map(|root| {
                let below = target.strip_prefix(&root).ok()?.to_owned();
                Some((root, below))
            })
            .ok_or_else(outside)?;
        let mut directory = open_root(&root)?;
        let mut steps = below.components().peekable();
        while let Some(step) = steps.next() {
            let Component::Normal(name) = step else { return Err(outside()) };
            let flags = if steps.peek().is_some() { STEP } else { READ | OFlags::NOFOLLOW };
            match rustix::fs::openat(&directory, name, flags, Mode::empty()) {
                Ok(next) => directory = next,
                Err(Errno::LOOP) => return Err(outside()),
                Err(error) => return Err(OpenError::Io(error.into())),
            }
        }
        Ok(directory)
    }
}

/// Each time anew: a volume may be mounted over it at any time.
fn open_root(root: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

impl FileSystem for RealFs {
    fn open(&self, path: &Path) -> Result<Box<dyn File>, OpenError> {
        let opened = match self.roots.is_empty() {
            true => rustix::fs::open(path, READ, Mode::empty()).map_err(|e| OpenError::Io(e.into())),
            false => self.open_below_roots(path),
        };
        let file = match opened {
            // What a socket, or a device without a driver, answers to open(2).
            Err(OpenError::Io(error)) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                return Err(OpenError::Refused(Refusal::NotRegular(FileKind::Socket)));
            }
            other => RealFile(std::fs::File::from(other?)),
        };
        let metadata = file.metadata()?;
        if metadata.kind != FileKind::Regular {
            return Err(OpenError::Refused(Refusal::NotRegular(metadata.kind)));
        }
        if self.strict && metadata.links > 1 {
            return Err(OpenError::Refused(Refusal::HardLink));
        }
        Ok(Box::new(file))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let flags = AtFlags::STATX_SYNC_AS_STAT;
        Ok(metadata(&rustix::fs::statx(rustix::fs::CWD, path, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?))
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::canonicalize(path)
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
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_SYNC_AS_STAT;
        Ok(metadata(&rustix::fs::statx(&self.0, c"", flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?))
    }
}

fn metadata(stat: &rustix::fs::Statx) -> Metadata {
    let kind = match rustix::fs::FileType::from_raw_mode(stat.stx_mode.into()) {
        rustix::fs::FileType::RegularFile => FileKind::Regular,
        rustix::fs::FileType::Directory => FileKind::Directory,
        rustix::fs::FileType::Fifo => FileKind::Pipe,
        rustix::fs::FileType::CharacterDevice | rustix::fs::FileType::BlockDevice => FileKind::Device,
        rustix::fs::FileType::Socket => FileKind::Socket,
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

fn nanos(time: rustix::fs::StatxTimestamp) -> UnixNanos {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn refusal(fs: &RealFs, path: &Path) -> Option<Refusal> {
        match fs.open(path) {
            Err(OpenError::Refused(refusal)) => Some(refusal),
            Err(OpenError::Io(error)) => panic!("{path:?}: {error}"),
            Ok(_) => None,
        }
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_blocks() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("plain"), "x").expect("written");
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
        std::fs::hard_link(at("plain"), at("second")).expect("a link");
        for roots in [vec![], vec![dir.path().to_owned()]] {
            let fs = RealFs::new(roots, false);
            assert_eq!(refusal(&fs, &at("plain")), None);
            assert_eq!(refusal(&fs, &at("pipe")), Some(Refusal::NotRegular(FileKind::Pipe)));
            assert_eq!(refusal(&fs, &at("socket")), Some(Refusal::NotRegular(FileKind::Socket)));
            assert_eq!(refusal(&fs, dir.path()), Some(Refusal::NotRegular(FileKind::Directory)));
        }
        let strict = RealFs::new(vec![dir.path().to_owned()], true);
        assert_eq!(refusal(&strict, &at("plain")), Some(Refusal::HardLink));
        assert_eq!(refusal(&RealFs::default(), Path::new("/dev/zero")), Some(Refusal::NotRegular(FileKind::Device)));
    }

    #[test]
    fn links_may_lead_to_a_root_and_nowhere_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let base = dir.path().canonicalize().expect("a real path");
        for name in ["pods/a", "docker", "other"] {
            std::fs::create_dir_all(base.join(name)).expect("a directory");
        }
        for name in ["pods/a/0.log", "docker/x-json.log", "other/secret"] {
            std::fs::write(base.join(name), name).expect("written");
        }
        let pods = base.join("pods");
        symlink("a/0.log", pods.join("relative")).expect("a link");
        symlink(base.join("pods/a/0.log"), pods.join("absolute")).expect("a link");
        symlink(base.join("docker/x-json.log"), pods.join("docker")).expect("a link");
        symlink(base.join("other/secret"), pods.join("secret")).expect("a link");
        symlink("../other", pods.join("up")).expect("a link");
        let fs = RealFs::new(vec![pods.clone(), base.join("docker")], true);
        for name in ["a/0.log", "relative", "absolute", "docker"] {
            assert_eq!(refusal(&fs, &pods.join(name)), None, "{name}");
        }
        for name in ["secret", "up/secret", "../other/secret"] {
            assert_eq!(refusal(&fs, &pods.join(name)), Some(Refusal::OutsideRoot), "{name}");
        }
        assert_eq!(refusal(&fs, Path::new("/etc/hostname")), Some(Refusal::OutsideRoot));
        let resolved = fs.open_resolved(&pods.join("docker")).map(std::fs::File::from).expect("the fallback opens it");
        assert_eq!(resolved.metadata().expect("metadata").len(), "docker/x-json.log".len() as u64);
    }
}
