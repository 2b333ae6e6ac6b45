//! A tree that stands still: one look serves all jobs.
//!
//! A file is read once for every job that wants it. Were each job to look for itself, a pod that appears in between
//! would be found by the later ones only, its lines read for them, and missed by the earlier ones for good.

use super::tree::{Entry, Kind, Tree};
use crate::clock::UnixNanos;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

/// What another tree answered the first time that it was asked.
pub struct StillTree<'t> {
    tree: &'t dyn Tree,
    entries: Answers<Vec<Entry>>,
    kinds: Answers<Kind>,
    resolved: Answers<PathBuf>,
}

/// A directory that changed a moment before it was read may have changed again in the same tick of its clock.
const SETTLED_NANOS: UnixNanos = 2_000_000_000;

type Answers<T> = RefCell<HashMap<PathBuf, Result<T, io::ErrorKind>>>;

impl<'t> StillTree<'t> {
    pub fn new(tree: &'t dyn Tree) -> Self {
        StillTree { tree, entries: RefCell::default(), kinds: RefCell::default(), resolved: RefCell::default() }
    }
}

impl StillTree<'_> {
    /// What was seen, to be asked later whether it is still so. The look began at `began`, or later.
    pub fn seen(&self, began: UnixNanos) -> Seen {
        let changed = |(directory, names): (&PathBuf, &Result<_, _>)| {
            let changed = names.as_ref().ok().and_then(|_| self.tree.changed(directory))?;
            let settled = began.saturating_sub(changed) >= SETTLED_NANOS;
            settled.then(|| (directory.as_path().into(), changed))
        };
        Seen(self.entries.borrow().iter().map(changed).collect())
    }
}

/// The directories of one look, and when each changed last; nothing where that is not known for certain.
#[derive(Debug, Default)]
pub struct Seen(Option<Vec<(Box<Path>, UnixNanos)>>);

impl Seen {
    /// Whether another look would see the same names.
    pub fn is_still_so(&self, tree: &dyn Tree) -> bool {
        let same = |(directory, changed): &(Box<Path>, UnixNanos)| tree.changed(directory) == Some(*changed);
        self.0.as_ref().is_some_and(|directories| directories.iter().all(same))
    }
}

impl Tree for StillTree<'_> {
    fn entries(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        remember(&self.entries, directory, |path| self.tree.entries(path))
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        remember(&self.kinds, path, |path| self.tree.kind(path))
    }

    fn resolved(&self, path: &Path) -> io::Result<PathBuf> {
        remember(&self.resolved, path, |path| self.tree.resolved(path))
    }
}

fn remember<T: Clone>(answers: &Answers<T>, path: &Path, ask: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if let Some(answer) = answers.borrow().get(path) {
        return answer.clone().map_err(io::Error::from);
    }
    let answer = ask(path).map_err(|error| error.kind());
    answers.borrow_mut().insert(path.to_path_buf(), answer.clone());
    answer.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::super::tree::HostTree;
    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[test]
    fn a_look_is_still_so_until_a_name_comes_or_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("below");
        std::fs::create_dir(&below).expect("a folder");
        let look = || {
            let still = StillTree::new(&HostTree);
            let _ = (still.entries(folder.path()), still.entries(&below));
            still.seen(SystemClock.now())
        };
        let settle = |directory: &Path| {
            let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
            std::fs::File::open(directory).and_then(|file| file.set_modified(long_ago)).expect("dated");
        };
        assert!(!look().is_still_so(&HostTree), "it changed a moment ago");
        settle(folder.path());
        settle(&below);
        let seen = look();
        assert!(seen.is_still_so(&HostTree));
        std::fs::write(below.join("0.log"), "a\n").expect("a log");
        assert!(!seen.is_still_so(&HostTree));
        settle(&below);
        let seen = look();
        std::fs::write(below.join("0.log"), "a\nb\n").expect("a longer log");
        assert!(seen.is_still_so(&HostTree), "a line is no name");
        std::fs::remove_dir_all(&below).expect("removed");
        assert!(!seen.is_still_so(&HostTree));
    }

    #[test]
    fn what_appears_between_two_looks_is_seen_by_neither() {
        let folder = tempfile::tempdir().expect("a folder");
        let late = folder.path().join("late");
        let still = StillTree::new(&HostTree);
        assert_eq!(still.entries(folder.path()).expect("readable"), []);
        assert_eq!(still.kind(&late).map_err(|e| e.kind()), Err(io::ErrorKind::NotFound));
        std::fs::create_dir(&late).expect("a folder");
        assert_eq!(still.entries(folder.path()).expect("readable"), []);
        assert_eq!(still.kind(&late).map_err(|e| e.kind()), Err(io::ErrorKind::NotFound));
        assert_eq!(StillTree::new(&HostTree).entries(folder.path()).expect("readable").len(), 1);
    }
}
