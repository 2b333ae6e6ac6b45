//! A file system in memory, for tests and the simulator: names point to files, a file lives on while it is open, and
//! inode numbers are used again at once, as on ext4. Directories are there when something lies below them.

use super::filesystem::{File, FileKind, FileSystem, Links, Metadata};
use super::gz::gzipped;
use crate::clock::UnixNanos;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Clones are the same file system.
#[derive(Clone, Default)]
pub struct MemFs(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    files: BTreeMap<PathBuf, Arc<Mutex<Node>>>,
    links: BTreeMap<PathBuf, PathBuf>,
    /// Directories and links to them that must answer in a way of their own: who owns them, who may enter.
    owners: BTreeMap<PathBuf, u32>,
    denied: BTreeSet<PathBuf>,
    /// By inode number; a dead one is free.
    inodes: Vec<Weak<Mutex<Node>>>,
    /// Of files that are made from now on.
    device: u64,
    /// Counts changes, and stands for the time.
    ticks: UnixNanos,
    calls: u64,
    opens: u64,
    reads: u64,
    open: usize,
    open_max: Option<usize>,
}

struct Node {
    metadata: Metadata,
    bytes: Vec<u8>,
    read_error: Option<i32>,
    open_error: Option<i32>,
}

/// What one path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemPath {
    File,
    Link,
    Directory,
}

/// What a node does to its files. These panic where a test's own mistake would make them fail.
impl MemFs {
    /// As whom files are opened.
    pub const USER: u32 = 1000;

    /// Appends, and creates the file when there is none.
    pub fn append(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        self.write(path.as_ref(), |content| content.extend_from_slice(bytes.as_ref()));
    }

    /// A new file in the place of any other.
    pub fn create(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        self.disk().unlink(path.as_ref());
        self.append(path, bytes);
    }

    /// Cuts the file to a length, or fills it up with NULs.
    pub fn resize(&self, path: impl AsRef<Path>, length: usize) {
        self.write(path.as_ref(), |content| content.resize(length, 0));
    }

    /// NULs from an offset to the end: what a power loss leaves of a tail that was not written yet.
    pub fn nul_tail(&self, path: impl AsRef<Path>, from: usize) {
        self.write(path.as_ref(), |content| {
            let from = from.min(content.len());
            content[from..].fill(0);
        });
    }

    pub fn unlink(&self, path: impl AsRef<Path>) {
        assert!(self.disk().unlink(path.as_ref()), "{:?} is not there", path.as_ref());
    }

    /// Removes everything below a directory.
    pub fn remove_all(&self, directory: impl AsRef<Path>) {
        let mut disk = self.disk();
        let below: Vec<PathBuf> = disk.files.keys().filter(|path| path.starts_with(&directory)).cloned().collect();
        below.iter().for_each(|path| assert!(disk.unlink(path)));
        disk.links.retain(|path, _| !path.starts_with(&directory));
    }

    /// Replaces what stood at `to`.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        let mut disk = self.disk();
        let node = disk.files.remove(from.as_ref()).expect("a test renames what is there");
        disk.unlink(to.as_ref());
        disk.files.insert(to.as_ref().to_owned(), node);
    }

    /// As gzip and the kubelet do: the compressed file is made beside the plain one, which is then unlinked.
    pub fn compress(&self, path: impl AsRef<Path>) {
        let mut name = path.as_ref().as_os_str().to_owned();
        name.push(".gz");
        self.create(name, gzipped(&self.content(path.as_ref())));
        self.unlink(path);
    }

    /// A symbolic link.
    pub fn link(&self, path: impl AsRef<Path>, target: impl AsRef<Path>) {
        self.disk().links.insert(path.as_ref().to_owned(), target.as_ref().to_owned());
    }

    pub fn content(&self, path: impl AsRef<Path>) -> Vec<u8> {
        let node = self.disk().node(path.as_ref()).expect("a test looks at what is there");
        lock(&node).bytes.clone()
    }

    /// All files, by their real paths.
    pub fn files(&self) -> Vec<PathBuf> {
        self.disk().files.keys().cloned().collect()
    }

    /// The names in a directory and what each is.
    pub fn entries(&self, directory: &Path) -> io::Result<Vec<(OsString, MemPath)>> {
        let disk = self.called();
        let directory = disk.resolve(directory);
        if disk.denied.contains(&directory) {
            return Err(Errno::ACCESS.into());
        }
        let mut entries: BTreeMap<OsString, MemPath> = BTreeMap::new();
        for path in below(&disk.files, &directory).chain(below(&disk.links, &directory)) {
            let Some(name) = path.iter().nth(directory.iter().count()) else { continue };
            let child = directory.join(name);
            let is = match (disk.files.contains_key(&child), disk.links.contains_key(&child)) {
                (true, _) => MemPath::File,
                (_, true) => MemPath::Link,
                _ => MemPath::Directory,
            };
            entries.insert(name.to_owned(), is);
        }
        if entries.is_empty() {
            return Err(Errno::NOENT.into());
        }
        Ok(entries.into_iter().collect())
    }

    /// A file belongs to root until then; a directory, too.
    pub fn set_owner(&self, path: impl AsRef<Path>, user: u32) {
        let mut disk = self.disk();
        match disk.node(path.as_ref()) {
            Ok(node) => lock(&node).metadata.owner = user,
            Err(_) => drop(disk.owners.insert(path.as_ref().to_owned(), user)),
        }
    }

    /// How many names the file has, as hard links would make it.
    pub fn set_links(&self, path: impl AsRef<Path>, links: u32) {
        self.with(path.as_ref(), |node| node.metadata.links = links);
    }

    /// Reads of this file fail from now on with an error of the system, or succeed again.
    pub fn fail_reads(&self, path: impl AsRef<Path>, error: Option<Errno>) {
        self.with(path.as_ref(), |node| node.read_error = error.map(Errno::raw_os_error));
    }

    /// And so does opening it.
    pub fn fail_opens(&self, path: impl AsRef<Path>, error: Option<Errno>) {
        self.with(path.as_ref(), |node| node.open_error = error.map(Errno::raw_os_error));
    }

    /// Nobody may list this directory, or may again.
    pub fn deny(&self, directory: impl AsRef<Path>, denied: bool) {
        let mut disk = self.disk();
        match denied {
            true => disk.denied.insert(directory.as_ref().to_owned()),
            false => disk.denied.remove(directory.as_ref()),
        };
    }

    /// Every volume is mounted anew: device numbers change.
    pub fn remount(&self) {
        let mut disk = self.disk();
        disk.device += 1;
        let device = disk.device;
        disk.files.values().for_each(|node| lock(node).metadata.device = device);
    }

    /// The time that the next change comes after, one nanosecond for each.
    pub fn set_time(&self, now: UnixNanos) {
        self.disk().ticks = now;
    }

    /// Sets when a file was born, and when it was changed last.
    pub fn set_times(&self, path: impl AsRef<Path>, born: Option<UnixNanos>, modified: UnixNanos) {
        self.with(path.as_ref(), |node| (node.metadata.born, node.metadata.modified) = (born, modified));
    }

    /// From now on no more files than this can be open at once.
    pub fn set_open_max(&self, open_max: usize) {
        self.disk().open_max = Some(open_max);
    }

    /// Files that are open.
    pub fn open_files(&self) -> usize {
        self.disk().open
    }

    /// Files that are open and have no name any more.
    pub fn open_unlinked(&self) -> usize {
        let disk = self.disk();
        disk.inodes.iter().filter_map(Weak::upgrade).filter(|node| lock(node).metadata.links == 0).count()
    }

    /// Calls of [`FileSystem`] and [`File`] so far: what would be system calls.
    pub fn calls(&self) -> u64 {
        self.disk().calls
    }

    /// How often a file was opened, or that was tried.
    pub fn opens(&self) -> u64 {
        self.disk().opens
    }

    /// And how often read.
    pub fn reads(&self) -> u64 {
        self.disk().reads
    }

    fn write(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        let node = match disk.node(path) {
            Ok(node) => node,
            Err(_) => disk.create(path),
        };
        disk.ticks += 1;
        let mut node = lock(&node);
        change(&mut node.bytes);
        node.metadata.size_bytes = node.bytes.len() as u64;
        node.metadata.modified = disk.ticks;
    }

    fn with(&self, path: &Path, change: impl FnOnce(&mut Node)) {
        let node = self.disk().node(path).expect("a test changes what is there");
        change(&mut lock(&node));
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.0)
    }

    fn called(&self) -> MutexGuard<'_, Disk> {
        let mut disk = self.disk();
        disk.calls += 1;
        disk
    }
}

impl Disk {
    /// The path with each link on its way followed.
    fn resolve(&self, path: &Path) -> PathBuf {
        let mut resolved = PathBuf::from("/");
        for name in path.iter().skip(1) {
            resolved.push(name);
            // A link that leads to itself leads nowhere.
            for _ in 0..40 {
                let Some(target) = self.links.get(&resolved) else { break };
                resolved = target.clone();
            }
        }
        resolved
    }

    fn node(&self, path: &Path) -> io::Result<Arc<Mutex<Node>>> {
        self.files.get(&self.resolve(path)).cloned().ok_or_else(|| Errno::NOENT.into())
    }

    fn is_directory(&self, real: &Path) -> bool {
        let is_named = self.owners.contains_key(real) && !self.files.contains_key(real);
        let mut inside = below(&self.files, real).chain(below(&self.links, real));
        is_named || inside.any(|path| path != real)
    }

    fn create(&mut self, path: &Path) -> Arc<Mutex<Node>> {
        let path = self.resolve(path);
        let free = self.inodes.iter().position(|node| node.strong_count() == 0);
        let inode = free.unwrap_or(self.inodes.len());
        self.ticks += 1;
        let metadata = Metadata {
            kind: FileKind::Regular,
            device: self.device,
            inode: inode as u64 + 1,
            size_bytes: 0,
            modified: self.ticks,
            born: Some(self.ticks),
            links: 1,
            owner: 0,
        };
        let node = Arc::new(Mutex::new(Node { metadata, bytes: Vec::new(), read_error: None, open_error: None }));
        match free {
            Some(index) => self.inodes[index] = Arc::downgrade(&node),
            None => self.inodes.push(Arc::downgrade(&node)),
        }
        self.files.insert(path, Arc::clone(&node));
        node
    }

    fn unlink(&mut self, path: &Path) -> bool {
        let node = self.files.remove(path);
        if let Some(node) = &node {
            lock(node).metadata.links -= 1;
        }
        node.is_some() || self.links.remove(path).is_some()
    }
}

impl FileSystem for MemFs {
    fn open(&self, path: &Path, links: Links) -> io::Result<Box<dyn File>> {
        let mut disk = self.called();
        disk.opens += 1;
        if links == Links::Refuse && disk.resolve(path) != path {
            return Err(Errno::LOOP.into());
        }
        if disk.open_max.is_some_and(|max| disk.open >= max) {
            return Err(Errno::MFILE.into());
        }
        let node = disk.node(path)?;
        if let Some(error) = lock(&node).open_error {
            return Err(io::Error::from_raw_os_error(error));
        }
        disk.open += 1;
        Ok(Box::new(MemFile { fs: self.clone(), node }))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let disk = self.called();
        let real = disk.resolve(path);
        if disk.is_directory(&real) {
            let owner = disk.owners.get(&real).copied().unwrap_or(0);
            let (device, kind) = (disk.device, FileKind::Directory);
            return Ok(Metadata { kind, device, inode: 0, size_bytes: 0, modified: 0, born: None, links: 2, owner });
        }
        let node = disk.node(path)?;
        let metadata = lock(&node).metadata;
        Ok(metadata)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        Ok(self.entries(directory)?.into_iter().map(|(name, _)| name).collect())
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let disk = self.called();
        let real = disk.resolve(path);
        let there = disk.files.contains_key(&real) || disk.is_directory(&real);
        if there { Ok(real) } else { Err(Errno::NOENT.into()) }
    }

    fn user(&self) -> u32 {
        MemFs::USER
    }
}

struct MemFile {
    fs: MemFs,
    node: Arc<Mutex<Node>>,
}

impl Drop for MemFile {
    fn drop(&mut self) {
        self.fs.disk().open -= 1;
    }
}

impl File for MemFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fs.called().reads += 1;
        let node = lock(&self.node);
        if let Some(error) = node.read_error {
            return Err(io::Error::from_raw_os_error(error));
        }
        let rest = node.bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn metadata(&self) -> io::Result<Metadata> {
        drop(self.fs.called());
        let metadata = lock(&self.node).metadata;
        Ok(metadata)
    }
}

/// The paths at and below a directory: they stand side by side.
fn below<'m, T>(paths: &'m BTreeMap<PathBuf, T>, directory: &'m Path) -> impl Iterator<Item = &'m PathBuf> {
    paths.range(directory.to_path_buf()..).map(|(path, _)| path).take_while(move |path| path.starts_with(directory))
}

/// A test that panicked elsewhere is not made worse here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lives_while_it_is_open_and_its_inode_is_used_again_after() {
        let fs = MemFs::default();
        fs.append("/a", "one");
        let open = fs.open(Path::new("/a"), Links::Refuse).expect("it is there");
        let first = open.metadata().expect("it is there");
        fs.unlink("/a");
        fs.append("/b", "two");
        let mut space = [0; 8];
        assert_eq!(open.read_at(&mut space, 1).expect("still readable"), 2);
        assert_eq!(open.metadata().expect("still there").links, 0);
        assert_ne!(fs.metadata(Path::new("/b")).expect("there").inode, first.inode);
        drop(open);
        fs.append("/c", "three");
        let again = fs.metadata(Path::new("/c")).expect("there");
        assert_eq!(again.inode, first.inode);
        assert_ne!(again.born, first.born);
        assert_eq!(fs.open_files(), 0);
    }

    #[test]
    fn directories_are_there_while_something_is_in_them_and_links_are_followed() {
        let fs = MemFs::default();
        fs.append("/pods/a/0.log", "x");
        fs.link("/pods/b", "/pods/a");
        let kind = |path: &str| fs.metadata(path.as_ref()).map(|metadata| metadata.kind).ok();
        assert_eq!(kind("/pods"), Some(FileKind::Directory));
        assert_eq!(kind("/pods/b/0.log"), Some(FileKind::Regular));
        assert_eq!(fs.resolve("/pods/b/0.log".as_ref()).ok(), Some("/pods/a/0.log".into()));
        let entries = fs.entries("/pods".as_ref()).expect("there");
        assert_eq!(entries, [("a".into(), MemPath::Directory), ("b".into(), MemPath::Link)]);
        fs.remove_all("/pods/a");
        assert_eq!((kind("/pods/a"), kind("/pods/b")), (None, None));
    }
}
