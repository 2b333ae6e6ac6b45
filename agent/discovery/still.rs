//! A tree that stands still: one look serves all jobs.
//!
//! A file is read once for every job that wants it. Were each job to look for itself, a pod that appears in between
//! would be found by the later ones only, its lines read for them, and missed by the earlier ones for good.

use super::tree::{Entry, Kind, Tree};
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

type Answers<T> = RefCell<HashMap<PathBuf, Result<T, io::ErrorKind>>>;

impl<'t> StillTree<'t> {
    pub fn new(tree: &'t dyn Tree) -> Self {
        StillTree { tree, entries: RefCell::default(), kinds: RefCell::default(), resolved: RefCell::default() }
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
