//! From a glob to the files that are there.

use super::{Glob, Place};
use crate::discovery::tree::{Kind, Tree};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Names that one expansion looks at.
const NAMES_MAX: usize = 200_000;
/// Directories inside one another.
const DEPTH_MAX: usize = 64;

/// The files that match a glob, and what stood in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// Sorted name by name, each once. Symlinks to files are among them; directories are not.
    pub files: Vec<PathBuf>,
    /// Directories that could not be read, and why. One that does not exist is not among them.
    pub unreadable: Vec<(PathBuf, io::ErrorKind)>,
    /// Whether a bound was met (200,000 names, 64 levels), so that files may be missing.
    pub truncated: bool,
}

/// A directory still to be walked.
struct Pending {
    path: PathBuf,
    places: Vec<Place>,
    depth: usize,
    /// The symlinked directories on the way here, resolved: none is entered twice.
    links: Vec<PathBuf>,
}

pub(super) fn expand(glob: &Glob, tree: &dyn Tree) -> Expansion {
    let literal = glob.literal();
    if tree.kind(&literal).is_ok_and(|kind| kind == Kind::File) {
        return Expansion { files: vec![literal], ..Expansion::default() };
    }
    let mut walk = Walk { glob, tree, found: Expansion::default(), pending: Vec::new(), names: 0 };
    walk.pending.push(Pending { path: "/".into(), places: glob.start(), depth: 0, links: Vec::new() });
    while let Some(directory) = walk.pending.pop() {
        walk.directory(&directory);
    }
    walk.found.files.sort();
    walk.found
}

struct Walk<'w> {
    glob: &'w Glob,
    tree: &'w dyn Tree,
    found: Expansion,
    pending: Vec<Pending>,
    names: usize,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Pending) {
        if let Some(names) = self.glob.literal_names(&directory.places) {
            for name in names {
                self.name(directory, name, None);
            }
            return;
        }
        match self.tree.entries(&directory.path) {
            Ok(entries) => {
                for entry in entries {
                    self.name(directory, entry.name.as_bytes(), Some(entry.kind));
                }
            }
            Err(error) => self.unreadable(&directory.path, error.kind()),
        }
    }

    /// Looks at one name of a directory; its kind is not known yet if it was not listed.
    fn name(&mut self, directory: &Pending, name: &[u8], kind: Option<Kind>) {
        self.names += 1;
        if self.names > NAMES_MAX {
            self.found.truncated = true;
            return;
        }
        let places = self.glob.step(&directory.places, name);
        if places.is_empty() {
            return;
        }
        let path = directory.path.join(OsStr::from_bytes(name));
        let listed = kind.filter(|kind| *kind != Kind::Symlink);
        let kind = match listed.map_or_else(|| self.tree.kind(&path), Ok) {
            Ok(kind) => kind,
            Err(error) => return self.unreadable(&path, error.kind()),
        };
        if kind != Kind::Directory {
            if self.glob.accepts(&places) {
                self.found.files.push(path);
            }
            return;
        }
        let links = if listed.is_some() { Some(directory.links.clone()) } else { self.links(directory, &path) };
        match links {
            Some(_) if directory.depth >= DEPTH_MAX => self.found.truncated = true,
            Some(links) => self.pending.push(Pending { path, places, depth: directory.depth + 1, links }),
            None => {}
        }
    }

    /// The symlinks on the way to a directory that may be one; nothing if they form a loop.
    fn links(&self, directory: &Pending, path: &Path) -> Option<Vec<PathBuf>> {
        let resolved = self.tree.resolved(path).ok()?;
        let parent = self.tree.resolved(&directory.path).ok()?;
        if parent.starts_with(&resolved) || directory.links.contains(&resolved) {
            return None;
        }
        let mut links = directory.links.clone();
        if resolved.parent() != Some(&parent) {
            links.push(resolved);
        }
        Some(links)
    }

    fn unreadable(&mut self, path: &Path, kind: io::ErrorKind) {
        if !matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            self.found.unreadable.push((path.to_path_buf(), kind));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::tree::{HostTree, PaperTree};
    use proptest::prelude::*;
    use std::cell::RefCell;

    fn expand(glob: &str, tree: &dyn Tree) -> Vec<String> {
        let found = Glob::compile(glob).unwrap().expand(tree);
        assert!(found.unreadable.is_empty() && !found.truncated, "{glob}: {found:?}");
        found.files.iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn files_are_found_sorted_and_once() {
        let tree = PaperTree::of(&["/l/b.log", "/l/a.log", "/l/a/c.log", "/l/a/d.txt", "/x/[1].log", "/x/1.log"]);
        assert_eq!(expand("/l/*.log", &tree), ["/l/a.log", "/l/b.log"]);
        assert_eq!(expand("/l/{*,a}.log", &tree), ["/l/a.log", "/l/b.log"]);
        assert_eq!(expand("/{l/**,x}/*.log", &tree), ["/l/a/c.log", "/l/a.log", "/l/b.log", "/x/1.log", "/x/[1].log"]);
        assert_eq!(expand("/x/[1].log", &tree), ["/x/[1].log"], "an existing file of that name is no glob");
        assert_eq!(expand("/l/a", &tree), [""; 0], "a directory is no file");
        assert_eq!(expand("/no/such/*.log", &tree), [""; 0]);
    }

    #[test]
    fn symlinks_are_followed_and_loops_end() {
        let mut tree = PaperTree::of(&["/pods/p/0.log", "/logs/x.txt"]);
        for (link, target) in [
            ("/logs/a.log", "/pods/p/0.log"),
            ("/logs/dangling.log", "/nowhere"),
            ("/logs/dir", "/pods"),
            ("/logs/up", "/logs"),
            ("/pods/p/back", "/logs"),
        ] {
            tree.symlinks.insert(link.into(), target.into());
        }
        assert_eq!(expand("/logs/*.log", &tree), ["/logs/a.log"]);
        assert_eq!(expand("/logs/dir/*/*.log", &tree), ["/logs/dir/p/0.log"]);
        let all = expand("/logs/**/*.log", &tree);
        assert!(all.contains(&"/logs/dir/p/0.log".to_string()) && all.len() < 10, "{all:?}");
    }

    #[test]
    fn an_unreadable_directory_is_reported_and_the_rest_is_found() {
        let mut tree = PaperTree::of(&["/l/a/x.log", "/l/b/x.log"]);
        tree.forbidden.insert("/l/a".into());
        let found = Glob::compile("/l/*/*.log").unwrap().expand(&tree);
        assert_eq!(found.files, [PathBuf::from("/l/b/x.log")]);
        assert_eq!(found.unreadable, [(PathBuf::from("/l/a"), io::ErrorKind::PermissionDenied)]);
    }

    #[test]
    fn only_directories_that_can_match_are_listed() {
        struct Listed<'t>(&'t PaperTree, RefCell<Vec<PathBuf>>);
        impl Tree for Listed<'_> {
            fn entries(&self, directory: &Path) -> io::Result<Vec<crate::discovery::tree::Entry>> {
                self.1.borrow_mut().push(directory.to_path_buf());
                self.0.entries(directory)
            }
            fn kind(&self, path: &Path) -> io::Result<Kind> {
                self.0.kind(path)
            }
            fn resolved(&self, path: &Path) -> io::Result<PathBuf> {
                self.0.resolved(path)
            }
        }
        let tree = PaperTree::of(&["/var/log/pods/a/0.log", "/var/log/other/0.log", "/var/x", "/var/log/pods/a/b/c"]);
        let listed = Listed(&tree, RefCell::default());
        assert_eq!(expand("/var/log/pods/*/*.log", &listed), ["/var/log/pods/a/0.log"]);
        assert_eq!(*listed.1.borrow(), [PathBuf::from("/var/log/pods"), PathBuf::from("/var/log/pods/a")]);
    }

    #[test]
    fn the_host_tree_is_walked_the_same_way() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        for file in ["a/1.log", "a/b/2.log", "a/b/3.txt"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink(&root, root.join("a/b/loop")).unwrap();
        std::os::unix::fs::symlink(root.join("a/b/2.log"), root.join("a/link.log")).unwrap();
        let glob = format!("{}/**/*.log", Glob::escape(&root.display().to_string()));
        let names: Vec<_> = expand(&glob, &HostTree).iter().map(|f| f[root.as_os_str().len()..].to_string()).collect();
        assert_eq!(names, ["/a/1.log", "/a/b/2.log", "/a/link.log"]);
    }

    /// The same glob as a regular expression over whole paths: a second opinion.
    fn opinion(glob: &str) -> regex::Regex {
        let mut out = String::from("^");
        let mut rest = glob;
        while let Some(c) = rest.chars().next() {
            if let Some(behind) = rest.strip_prefix("/**").filter(|b| b.is_empty() || b.starts_with('/')) {
                out.push_str(if behind.is_empty() { "/.+" } else { "(/[^/]+)*" });
                rest = behind;
                continue;
            }
            rest = &rest[c.len_utf8()..];
            match c {
                '*' => out.push_str("[^/]*"),
                '?' => out.push_str("[^/]"),
                '{' => out.push_str("(?:"),
                ',' => out.push('|'),
                '}' => out.push(')'),
                c => out.push_str(&regex::escape(&c.to_string())),
            }
        }
        regex::Regex::new(&(out + "$")).unwrap()
    }

    proptest! {
        #[test]
        fn expanding_finds_what_matches_in_a_full_walk(
            files in prop::collection::btree_set("(/[ab]{1,2}){1,4}\\.l", 0..12),
            glob in "(/([ab*?]{1,2}|\\*\\*|\\{a,b\\*\\})){1,4}(\\.l)?",
        ) {
            let tree = PaperTree { files: files.iter().map(PathBuf::from).collect(), ..PaperTree::default() };
            let compiled = Glob::compile(&glob).unwrap();
            let found = expand(&glob, &tree);
            let filter = |matches: &dyn Fn(&str) -> bool| -> Vec<String> {
                tree.files.iter().map(|file| file.display().to_string()).filter(|file| matches(file)).collect()
            };
            prop_assert_eq!(&found, &filter(&|file| compiled.matches(Path::new(file))));
            let opinion = opinion(&glob);
            let second = filter(&|file| opinion.is_match(file));
            prop_assert_eq!(&found, &second, "{}", glob);
        }
    }
}
