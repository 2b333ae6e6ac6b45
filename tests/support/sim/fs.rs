//! The node's file system: names, files that live on while somebody holds them, inode numbers that are used again at
//! once as on ext4, and bytes that lost power may take back.
//!
//! Files carry the oracle's marks: which part of which line ends where. So it is known of every line where it can
//! still be read, through renames, copies and compression. And the files note how far the agent has read them, which
//! is all that the harness knows of the agent's inner life.

use super::clock::SimClock;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use weir::clock::{Clock, UnixNanos};

/// A part of a line, known to the oracle by this number.
pub type PartId = usize;

#[derive(Clone)]
pub struct SimFs {
    tree: Arc<Mutex<Tree>>,
    clock: Arc<SimClock>,
}

#[derive(Default)]
struct Tree {
    /// By their paths, as plain text: comparing paths name by name would take most of a day.
    directories: HashMap<OsString, BTreeMap<OsString, Child>>,
    /// By inode number; a dead one is free.
    inodes: Vec<Weak<Mutex<Node>>>,
    /// What the agent has closed since its last look; the oracle has not seen yet how far it was read.
    closed: Vec<FileRef>,
    /// Files that the agent knew and that went while it did not hold them: it cannot know whether there was more in them.
    vanished: u64,
    /// Files that it knew and that went while it held them.
    went: Vec<Went>,
    /// Files that were made.
    made: u64,
}

/// A file that lost its name while the agent held it.
struct Went {
    file: Weak<Mutex<Node>>,
    /// In which look the agent's state came to know it, and after which it had let go of it: a state of a look in
    /// between knows a file that is gone for who goes on from there.
    known: u64,
    closed: Option<u64>,
}

#[derive(Clone)]
enum Child {
    Directory,
    File(FileRef),
}

/// What a path names.
pub enum Found {
    Directory,
    File(FileRef),
}

/// A file, by whatever name or by none.
#[derive(Clone)]
pub struct FileRef(Arc<Mutex<Node>>);

pub struct Node {
    pub inode: u64,
    pub born: UnixNanos,
    pub modified: UnixNanos,
    pub links: u32,
    pub bytes: Vec<u8>,
    /// Which parts of lines end where, ascending; in a compressed file the places mean nothing.
    pub parts: Vec<(u64, PartId)>,
    pub packed: bool,
    /// Of a compressed file: what is behind this can say nothing.
    pub readable: u64,
    /// So much would survive lost power.
    pub synced: usize,
    /// How far the agent's process has read.
    pub read_to: u64,
    /// Handles of the agent's process.
    pub opened: u32,
    /// In which look the agent's present state came to know it.
    pub known: Option<u64>,
}

impl SimFs {
    pub fn new(clock: Arc<SimClock>) -> SimFs {
        let fs = SimFs { tree: Arc::default(), clock };
        fs.tree().directories.insert(OsString::from("/"), BTreeMap::new());
        fs
    }

    pub fn make_directory(&self, path: &Path) {
        let mut tree = self.tree();
        for path in path.ancestors().collect::<Vec<_>>().into_iter().rev().skip(1) {
            if !tree.directories.contains_key(path.as_os_str()) {
                tree.directories.insert(path.into(), BTreeMap::new());
                tree.put(path, Child::Directory);
            }
        }
    }

    /// Takes a directory away with all that is in it.
    pub fn remove_directory(&self, path: &Path) {
        for name in self.list(path) {
            let path = path.join(name);
            if self.tree().directories.contains_key(path.as_os_str()) {
                self.remove_directory(&path);
            } else {
                self.unlink(&path);
            }
        }
        let mut tree = self.tree();
        tree.directories.remove(path.as_os_str());
        tree.take(path);
    }

    /// A new file in the place of any other.
    pub fn create(&self, path: &Path) -> FileRef {
        let mut tree = self.tree();
        tree.unlink(path);
        let file = tree.make(self.clock.now());
        tree.put(path, Child::File(file.clone()));
        file
    }

    /// The file of a name, made if there is none.
    pub fn open_or_create(&self, path: &Path) -> FileRef {
        self.get(path).unwrap_or_else(|| self.create(path))
    }

    pub fn append(&self, file: &FileRef, bytes: &[u8], part: Option<PartId>) {
        let mut node = file.node();
        node.bytes.extend_from_slice(bytes);
        node.modified = self.clock.now();
        let end = node.bytes.len() as u64;
        node.parts.extend(part.map(|part| (end, part)));
    }

    /// Shortens a file, or overwrites what is past `length` with zeros.
    pub fn cut(&self, file: &FileRef, length: usize, zeros: bool) {
        let mut node = file.node();
        let size = node.bytes.len();
        node.bytes.truncate(length);
        if zeros {
            node.bytes.resize(size, 0);
        }
        if node.packed {
            // Whether zeros before them were written nobody can tell.
            let written = node.bytes[..length].iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            node.readable = written as u64;
        }
        let readable = if node.packed { unpacked_bytes(&node.bytes[..node.readable as usize]) } else { length as u64 };
        node.parts.retain(|(end, _)| *end <= readable);
        node.synced = node.synced.min(length);
        node.read_to = node.read_to.min(length as u64);
        node.modified = self.clock.now();
    }

    pub fn unlink(&self, path: &Path) {
        self.tree().unlink(path);
    }

    pub fn rename(&self, from: &Path, to: &Path) {
        let mut tree = self.tree();
        tree.unlink(to);
        if let Some(child) = tree.take(from) {
            tree.put(to, child);
        }
    }

    /// A compressed copy under another name; `whole` says whether the writer came to its end.
    pub fn compress(&self, from: &FileRef, to: &Path, whole: bool) {
        let (bytes, parts) = {
            let node = from.node();
            (node.bytes.clone(), node.parts.clone())
        };
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        let mut packed = packed.write_all(&bytes).and_then(|()| packed.finish()).expect("memory takes it");
        if !whole {
            packed.truncate(packed.len() / 2);
        }
        let file = self.create(to);
        let mut node = file.node();
        node.readable = packed.len() as u64;
        node.bytes = packed;
        node.parts = if whole { parts } else { Vec::new() };
        node.packed = true;
    }

    pub fn get(&self, path: &Path) -> Option<FileRef> {
        match self.tree().child(path) {
            Some(Child::File(file)) => Some(file.clone()),
            _ => None,
        }
    }

    /// The names in a directory, in order.
    pub fn list(&self, directory: &Path) -> Vec<String> {
        let tree = self.tree();
        let names = tree.directories.get(directory.as_os_str()).into_iter().flat_map(|children| children.keys());
        names.filter_map(|name| name.to_str().map(str::to_string)).collect()
    }

    /// All files that have a name or are held by somebody.
    pub fn files(&self) -> Vec<FileRef> {
        self.tree().inodes.iter().filter_map(Weak::upgrade).map(FileRef).collect()
    }

    /// The names of a file, for people.
    pub fn names_of(&self, file: &FileRef) -> Vec<PathBuf> {
        let tree = self.tree();
        let mut names = Vec::new();
        for (directory, children) in &tree.directories {
            let same = |child: &Child| matches!(child, Child::File(other) if Arc::ptr_eq(&other.0, &file.0));
            names.extend(
                children.iter().filter(|(_, child)| same(child)).map(|(name, _)| Path::new(directory).join(name)),
            );
        }
        names
    }

    /// Files that went behind the agent's back, which must count that.
    pub fn vanished(&self) -> u64 {
        self.tree().vanished
    }

    /// The agent closes a file.
    pub fn closed(&self, file: &FileRef) {
        file.node().opened -= 1;
        self.tree().closed.push(file.clone());
    }

    /// The agent's look of this number is over, and the oracle has seen what came of it.
    pub fn forget_closed(&self, look: u64) {
        let mut tree = self.tree();
        let closed = std::mem::take(&mut tree.closed);
        for went in tree.went.iter_mut().filter(|went| went.closed.is_none()) {
            let held = went.file.upgrade().is_some_and(|file| lock(&file).opened > 0);
            went.closed = (!held).then_some(look);
        }
        drop(closed);
    }

    /// The agent goes on from its state of this look.
    pub fn back_to(&self, look: u64) {
        let mut tree = self.tree();
        let is_missed = |went: &&Went| went.known <= look && went.closed.is_none_or(|closed| closed > look);
        tree.vanished += tree.went.iter().filter(is_missed).count() as u64;
    }

    /// What was written until now survives lost power.
    pub fn sync(&self) {
        for file in self.files() {
            let mut node = file.node();
            node.synced = node.bytes.len();
        }
    }

    /// The agent's process is gone, and its handles are with it.
    pub fn forget_process(&self) {
        for file in self.files() {
            file.node().read_to = 0;
        }
    }

    /// For the agent: what a path names.
    pub fn look_up(&self, path: &Path) -> io::Result<Found> {
        let tree = self.tree();
        if tree.directories.contains_key(path.as_os_str()) {
            return Ok(Found::Directory);
        }
        match tree.child(path) {
            Some(Child::File(file)) => Ok(Found::File(file.clone())),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// For the agent: the names in a directory, and which of them are directories.
    pub fn children(&self, directory: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let tree = self.tree();
        let children = tree.directories.get(directory.as_os_str()).ok_or(io::ErrorKind::NotFound)?;
        Ok(children.iter().map(|(name, child)| (name.clone(), matches!(child, Child::Directory))).collect())
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        lock(&self.tree)
    }
}

impl FileRef {
    pub fn node(&self) -> MutexGuard<'_, Node> {
        lock(&self.0)
    }
}

impl Tree {
    fn child(&self, path: &Path) -> Option<&Child> {
        self.directories.get(path.parent()?.as_os_str())?.get(path.file_name()?)
    }

    fn put(&mut self, path: &Path, child: Child) {
        let (parent, name) = parts(path);
        let children =
            self.directories.get_mut(parent.as_os_str()).unwrap_or_else(|| panic!("no directory for {path:?}"));
        children.insert(name.to_os_string(), child);
    }

    fn take(&mut self, path: &Path) -> Option<Child> {
        let (parent, name) = parts(path);
        self.directories.get_mut(parent.as_os_str())?.remove(name)
    }

    fn unlink(&mut self, path: &Path) {
        if let Some(Child::File(file)) = self.take(path) {
            let mut node = file.node();
            node.links -= 1;
            let mut packed = path.as_os_str().to_os_string();
            packed.push(".gz");
            let copied = self.child(Path::new(&packed)).is_some();
            if let Some(known) = node.known.filter(|_| !copied) {
                self.vanished += u64::from(node.opened == 0);
                self.went.push(Went { file: Arc::downgrade(&file.0), known, closed: None });
            }
        }
    }

    fn make(&mut self, now: UnixNanos) -> FileRef {
        let free = self.inodes.iter().position(|node| node.strong_count() == 0);
        let at = free.unwrap_or(self.inodes.len());
        self.made += 1;
        let node = Node {
            inode: at as u64 + 1,
            // A clock of the file system's own: two files made at once still differ.
            born: now + self.made as i64,
            modified: now,
            links: 1,
            bytes: Vec::new(),
            parts: Vec::new(),
            packed: false,
            readable: 0,
            synced: 0,
            read_to: 0,
            opened: 0,
            known: None,
        };
        let node = Arc::new(Mutex::new(node));
        match free {
            Some(at) => self.inodes[at] = Arc::downgrade(&node),
            None => self.inodes.push(Arc::downgrade(&node)),
        }
        FileRef(node)
    }
}

/// How much can be read of a compressed file, be it cut short.
fn unpacked_bytes(packed: &[u8]) -> u64 {
    let mut bytes = Vec::new();
    // It ends with an error where it was cut; what came before is there.
    let _ = flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes);
    bytes.len() as u64
}

fn parts(path: &Path) -> (&Path, &OsStr) {
    (path.parent().expect("not the root"), path.file_name().expect("a name"))
}

/// A simulation that failed elsewhere is not made worse here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
