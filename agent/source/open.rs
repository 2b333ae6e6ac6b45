//! Opening log files that strangers may have named.
//!
//! Below a log root any tenant may plant what it likes: a link to a secret, a pipe that never answers. So a file is
//! opened without blocking and without following any link on its way, after it was made sure that its real place lies
//! below one of the roots; and only a regular file is read. On nodes with docker the kubelet's names are links to
//! docker's own files, wherever its data lies: those are known by the shape of their real path.

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("its real place {0} is outside the log root")]
    Outside(PathBuf),
    #[error("it is no regular file")]
    NotAFile,
    #[error("it has another name elsewhere (a hard link)")]
    HardLink,
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

/// What tells files apart as long as they exist: device and inode.
pub type FileId = (u64, u64);

pub fn file_id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// An open file and what the system says of it.
#[derive(Debug)]
pub struct Opened {
    pub file: File,
    pub id: FileId,
    pub size: u64,
}

/// How files are opened: below roots, or anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opener {
    /// Real paths below which files may lie; empty: anywhere.
    roots: Vec<PathBuf>,
}

impl Opener {
    /// Files may lie anywhere: paths that the configuration names itself.
    pub fn anywhere() -> Self {
        Opener::default()
    }

    /// Files must lie below one of these. A root may itself be reached by a link.
    pub fn below(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        Opener { roots: roots.into_iter().map(|root| root.canonicalize().unwrap_or(root)).collect() }
    }

    pub fn is_anywhere(&self) -> bool {
        self.roots.is_empty()
    }

    /// The real place of a path.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, Refusal> {
        let real = path.canonicalize()?;
        let inside = self.roots.is_empty() || self.roots.iter().any(|root| real.starts_with(root));
        if inside || is_dockers(&real) { Ok(real) } else { Err(Refusal::Outside(real)) }
    }

    /// Opens a real path, as [`resolve`](Self::resolve) gives it.
    pub fn open(&self, real: &Path) -> Result<Opened, Refusal> {
        // NONBLOCK: a pipe would wait for its writer, and it is refused only once it is open.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = if self.roots.is_empty() {
            open(real, flags, Mode::empty())
        } else {
            // A link that was planted since the path was resolved is not followed.
            match openat2(CWD, real, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
                Err(Errno::NOSYS | Errno::PERM) => open(real, flags | OFlags::NOFOLLOW, Mode::empty()),
                opened => opened,
            }
        };
        let file = opened.map_err(io::Error::from)?;
        let stat = fstat(&file).map_err(io::Error::from)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Refusal::NotAFile);
        }
        if !self.roots.is_empty() && stat.st_nlink > 1 {
            return Err(Refusal::HardLink);
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(Opened { file: File::from(file), id: (stat.st_dev, stat.st_ino), size })
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
        rustix::fs::mkfifoat(CWD, root.join("pipe"), Mode::RUSR | Mode::WUSR).expect("a pipe");
        let opener = Opener::below([root.clone()]);
        let reason = |name: &str| {
            let opened = opener.resolve(&root.join(name)).and_then(|real| opener.open(&real));
            opened.err().map(|refusal| refusal.reason())
        };
        assert_eq!(reason("0.log"), None);
        assert_eq!(reason("inside"), None);
        assert_eq!(reason("link"), Some("outside_root"));
        assert_eq!(reason("dir/secret"), Some("outside_root"));
        assert_eq!(reason("hard"), Some("hard_link"));
        assert_eq!(reason("pipe"), Some("not_a_file"));
        assert_eq!(reason("missing"), Some("not_found"));
        // A link that appears after the path was resolved.
        assert_eq!(opener.open(&root.join("link")).err().map(|r| r.reason()), Some("io_error"));
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
        assert!(anywhere.resolve(&root.join("link")).and_then(|real| anywhere.open(&real)).is_ok());
    }
}
