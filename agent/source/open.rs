//! Opening log files that strangers may have named.
//!
//! Below a log root any tenant may plant what it likes: a link to a secret, a pipe that never answers. So a file is
//! opened without blocking and without following any link on its way, after it was made sure that its real place lies
//! below one of the roots; and only a regular file is read that has one name and belongs to whom logs belong. On nodes
//! with docker the kubelet's names are links to docker's own files, wherever its data lies: those are known by the shape
//! of their real path.

use super::filesystem::{File, FileKind, FileSystem, Links, Metadata};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("its real place {0} is outside the log root")]
    Outside(PathBuf),
    #[error("it is no regular file")]
    NotAFile,
    #[error("it has another name elsewhere (a hard link)")]
    HardLink,
    #[error("it belongs to user {0}, who has no business below the log root")]
    ForeignOwner(u32),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Refusal {
    /// For metrics: a few words that never change.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Outside(_) => "outside_root",
            Refusal::NotAFile => "not_a_file",
            Refusal::HardLink => "hard_link",
            Refusal::ForeignOwner(_) => "foreign_owner",
            Refusal::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => "permission_denied",
            Refusal::Io(error) if error.kind() == io::ErrorKind::NotFound => "not_found",
            Refusal::Io(_) => "io_error",
        }
    }

    /// The file is just not there; nothing to complain about.
    pub fn is_absence(&self) -> bool {
        matches!(self, Refusal::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// It is the machine that lacks something now (file descriptors, memory): the file may be opened later.
    pub fn is_passing(&self) -> bool {
        let errno = |error: &io::Error| error.raw_os_error().map(Errno::from_raw_os_error);
        matches!(self, Refusal::Io(e) if matches!(errno(e), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM)))
    }
}

/// How files are opened: below roots, or anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opener {
    /// Directories below which files must really lie, as the configuration names them; empty: anywhere. Shared by all
    /// files of a job.
    roots: Arc<[PathBuf]>,
}

impl Opener {
    /// Files may lie anywhere: paths that the configuration names itself.
    pub fn anywhere() -> Self {
        Opener::default()
    }

    /// Files must lie below one of these. A root may itself be reached by a link.
    pub fn below(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        Opener { roots: roots.into_iter().collect() }
    }

    pub fn is_anywhere(&self) -> bool {
        self.roots.is_empty()
    }

    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// The real place of a path.
    pub fn resolve(&self, fs: &dyn FileSystem, path: &Path) -> Result<PathBuf, Refusal> {
        let real = fs.resolve(path)?;
        let inside = self.roots.is_empty() || self.root_of(fs, &real).is_some();
        if inside || is_dockers(&real) { Ok(real) } else { Err(Refusal::Outside(real)) }
    }

    /// Opens a real path, as [`resolve`](Self::resolve) gives it.
    pub fn open(&self, fs: &dyn FileSystem, real: &Path) -> Result<(Box<dyn File>, Metadata), Refusal> {
        let links = if self.roots.is_empty() { Links::Follow } else { Links::Refuse };
        let file = fs.open(real, links).map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            // What a socket, or a device without a driver, answers.
            Some(Errno::NXIO) => Refusal::NotAFile,
            _ => Refusal::Io(error),
        })?;
        let metadata = file.metadata()?;
        if metadata.kind != FileKind::Regular {
            return Err(Refusal::NotAFile);
        }
        if !self.roots.is_empty() {
            if metadata.links > 1 {
                return Err(Refusal::HardLink);
            }
            if !self.may_own(fs, metadata.owner, real) {
                return Err(Refusal::ForeignOwner(metadata.owner));
            }
        }
        Ok((file, metadata))
    }

    /// The root that a real path lies below, by its real place.
    fn root_of(&self, fs: &dyn FileSystem, real: &Path) -> Option<PathBuf> {
        let named = self.roots.iter().find(|root| real.starts_with(root)).cloned();
        named.or_else(|| self.roots.iter().filter_map(|root| fs.resolve(root).ok()).find(|root| real.starts_with(root)))
    }

    /// Logs are written by the runtime: as root, as us, or as whoever owns the log root.
    fn may_own(&self, fs: &dyn FileSystem, owner: u32, real: &Path) -> bool {
        let owns_root = || {
            let root = self.root_of(fs, real).and_then(|root| fs.metadata(&root).ok());
            root.is_some_and(|root| root.owner == owner)
        };
        owner == 0 || owner == fs.user() || owns_root()
    }
}

/// `…/containers/ID/ID-json.log`, where ID is the 64 hexadecimal digits of a container: what the json-file driver
/// writes. Another tenant's log is the most that a planted link could reach so.
fn is_dockers(real: &Path) -> bool {
    let part = |path: Option<&Path>| path.and_then(Path::file_name).and_then(|name| name.to_str()).map(str::to_string);
    let folder = real.parent();
    let (Some(name), Some(id), Some(above)) = (part(Some(real)), part(folder), part(folder.and_then(Path::parent)))
    else {
        return false;
    };
    id.len() == 64
        && id.bytes().all(|b| b.is_ascii_hexdigit())
        && above == "containers"
        && name.strip_prefix(&id) == Some("-json.log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{MemFs, RealFs};
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_below_the_root_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let (root, outside) = (folder.path().join("pods"), folder.path().join("secret"));
        fs::create_dir(&root).expect("a root");
        fs::write(&outside, "secret").expect("a secret");
        fs::write(root.join("0.log"), "fine").expect("a log");
        symlink(root.join("0.log"), root.join("inside")).expect("a link");
        symlink(&outside, root.join("link")).expect("a link");
        symlink(folder.path(), root.join("dir")).expect("a link");
        fs::hard_link(&outside, root.join("hard")).expect("a hard link");
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).expect("a socket");
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), rustix::fs::Mode::RUSR).expect("a pipe");
        let opener = Opener::below([root.clone()]);
        let reason = |name: &str| {
            let opened = opener.resolve(&RealFs, &root.join(name)).and_then(|real| opener.open(&RealFs, &real));
            opened.err().map(|refusal| refusal.reason())
        };
        assert_eq!(reason("0.log"), None);
        assert_eq!(reason("inside"), None);
        assert_eq!(reason("link"), Some("outside_root"));
        assert_eq!(reason("dir/secret"), Some("outside_root"));
        assert_eq!(reason("hard"), Some("hard_link"));
        assert_eq!(reason("pipe"), Some("not_a_file"));
        assert_eq!(reason("socket"), Some("not_a_file"));
        assert_eq!(reason("missing"), Some("not_found"));
        // A link that appears after the path was resolved.
        assert_eq!(opener.open(&RealFs, &root.join("link")).err().map(|r| r.reason()), Some("io_error"));
        let id = "0123456789abcdef".repeat(4);
        let container = folder.path().join("data/containers").join(&id);
        fs::create_dir_all(&container).expect("docker's folder");
        for (name, reason_given) in [(format!("{id}-json.log"), None), ("other".to_string(), Some("outside_root"))] {
            fs::write(container.join(&name), "{}").expect("a log of docker's");
            symlink(container.join(&name), root.join(&name)).expect("a link");
            assert_eq!(reason(&name), reason_given, "{name}");
        }
        // The configuration's own paths may be links.
        let anywhere = Opener::anywhere();
        assert!(anywhere.resolve(&RealFs, &root.join("link")).and_then(|real| anywhere.open(&RealFs, &real)).is_ok());
    }

    #[test]
    fn below_a_root_only_root_oneself_and_the_owner_of_the_root_write_logs() {
        let fs = MemFs::default();
        fs.set_owner("/pods", 7);
        fs.append("/pods/0.log", "x");
        fs.append("/elsewhere/0.log", "x");
        let below = Opener::below(["/pods".into()]);
        let reason = |opener: &Opener, path: &str, owner: u32| {
            fs.set_owner(path, owner);
            opener.open(&fs, path.as_ref()).err().map(|refusal| refusal.reason())
        };
        for (owner, wanted) in [(0, None), (MemFs::USER, None), (7, None), (8, Some("foreign_owner"))] {
            assert_eq!(reason(&below, "/pods/0.log", owner), wanted, "{owner}");
        }
        assert_eq!(reason(&Opener::anywhere(), "/elsewhere/0.log", 8), None);
    }
}
