//! A file system in memory, for tests and the simulator: names point to files, a file lives on while it is open, and
//! inode numbers are used again at once, as on ext4.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::filesystem::{File, FileKind, FileSystem, Metadata, OpenError, Refusal};

#[derive(Default, Clone)]
pub struct MemFs(Arc<Mutex<Tree>>);

#[derive(Default)]
struct Tree {
    names: BTreeMap<PathBuf, Arc<Mutex<Node>>>,
    links: BTreeMap<PathBuf, PathBuf>,
    refused: BTreeMap<PathBuf, Refusal>,
    /// By inode number; a dead one is free.
    inodes: Vec<Weak<Mutex<Node>>>,
    /// Counts changes, and stands for the time.
    ticks: i64,
    calls: u64,
}

struct Node {
    metadata: Metadata,
    bytes: Vec<u8>,
    read_error: Option<io::ErrorKind>,
}

/// The methods that change files panic where a test's own mistake would make them fail.
impl MemFs {
    /// Appends, and creates the file when there is none.
    pub fn append(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let mut tree = self.tree();
        let node = match tree.node(path.as_ref()) {
            Ok(node) => node,
            Err(_) => tree.create(path.as_ref()),
        };
        tree.change(&node, |content| content.extend_from_slice(bytes.as_ref()));
    }

    /// A new file in the place of any other.
    pub fn create(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let mut tree = self.tree();
        tree.unlink(path.as_ref());
        let node = tree.create(path.as_ref());
        tree.change(&node, |content| content.extend_from_slice(bytes.as_ref()));
    }

    pub fn truncate(&self, path: impl AsRef<Path>, length: usize) {
        let mut tree = self.tree();
        let node = tree.node(path.as_ref()).expect("a test truncates what exists");
        tree.change(&node, |content| content.truncate(length));
    }

    pub fn unlink(&self, path: impl AsRef<Path>) {
        assert!(self.tree().unlink(path.as_ref()), "a test unlinks what exists");
    }

    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        let mut tree = self.tree();
        let node = tree.names.remove(from.as_ref()).expect("a test renames what exists");
        tree.unlink(to.as_ref());
        tree.names.insert(to.as_ref().to_owned(), node);
    }

    /// As gzip and kubelet do: the compressed file is made beside the plain one, which is then unlinked.
    pub fn compress(&self, path: impl AsRef<Path>) {
        let mut name = path.as_ref().as_os_str().to_owned();
        name.push(".gz");
        self.create(name, super::gz::compressed(&self.content(path.as_ref())));
        self.unlink(path);
    }

    /// A symbolic link.
    pub fn link(&self, path: impl AsRef<Path>, target: impl AsRef<Path>) {
        self.tree().links.insert(path.as_ref().to_owned(), target.as_ref().to_owned());
    }

    pub fn content(&self, path: impl AsRef<Path>) -> Vec<u8> {
        let node = self.tree().node(path.as_ref()).expect("a test looks at what exists");
        lock(&node).bytes.clone()
    }

    /// Opening `path` is refused from now on.
    pub fn refuse(&self, path: impl AsRef<Path>, refusal: Refusal) {
        self.tree().refused.insert(path.as_ref().to_owned(), refusal);
    }

    /// Reads of this file fail from now on, or succeed again.
    pub fn fail_reads(&self, path: impl AsRef<Path>, error: Option<io::ErrorKind>) {
        let node = self.tree().node(path.as_ref()).expect("a test breaks what exists");
        lock(&node).read_error = error;
    }

    /// Files that are open and have no name any more.
    pub fn open_unlinked(&self) -> usize {
        let tree = self.tree();
        tree.inodes.iter().filter_map(Weak::upgrade).filter(|node| lock(node).metadata.links == 0).count()
    }

    /// Calls of [`FileSystem`] and [`File`] so far: what would be system calls.
    pub fn calls(&self) -> u64 {
        self.tree().calls
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        lock(&self.0)
    }

    fn called(&self) -> MutexGuard<'_, Tree> {
        let mut tree = self.tree();
        tree.calls += 1;
        tree
    }
}

impl Tree {
    fn resolve<'p>(&'p self, path: &'p Path) -> &'p Path {
        self.links.get(path).map_or(path, PathBuf::as_path)
    }

    fn node(&self, path: &Path) -> io::Result<Arc<Mutex<Node>>> {
        self.names.get(self.resolve(path)).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&mut self, path: &Path) -> Arc<Mutex<Node>> {
        let free = self.inodes.iter().position(|node| node.strong_count() == 0);
        let inode = free.unwrap_or(self.inodes.len());
        self.ticks += 1;
        let metadata = Metadata {
            kind: FileKind::Regular,
            device: 1,
            inode: inode as u64 + 1,
            size_bytes: 0,
            modified: self.ticks,
            born: Some(self.ticks),
            links: 1,
            owner: 0,
        };
        let node = Arc::new(Mutex::new(Node { metadata, bytes: Vec::new(), read_error: None }));
        match free {
            Some(index) => self.inodes[index] = Arc::downgrade(&node),
            None => self.inodes.push(Arc::downgrade(&node)),
        }
        self.names.insert(path.to_owned(), Arc::clone(&node));
        node
    }

    fn change(&mut self, node: &Mutex<Node>, change: impl FnOnce(&mut Vec<u8>)) {
        self.ticks += 1;
        let mut node = lock(node);
        change(&mut node.bytes);
        node.metadata.size_bytes = node.bytes.len() as u64;
        node.metadata.modified = self.ticks;
    }

    fn unlink(&mut self, path: &Path) -> bool {
        let node = self.names.remove(path);
        if let Some(node) = &node {
            lock(node).metadata.links -= 1;
        }
        node.is_some()
    }
}

impl FileSystem for MemFs {
    fn open(&self, path: &Path) -> Result<Box<dyn File>, OpenError> {
        let tree = self.called();
        if let Some(refusal) = tree.refused.get(path) {
            return Err(OpenError::Refused(*refusal));
        }
        Ok(Box::new(MemFile { fs: self.clone(), node: tree.node(path)? }))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let node = self.called().node(path)?;
        let metadata = lock(&node).metadata;
        Ok(metadata)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let tree = self.called();
        let all = tree.names.keys().chain(tree.links.keys());
        let inside = all.filter(|path| path.parent() == Some(directory));
        Ok(inside.filter_map(|path| path.file_name().map(OsString::from)).collect())
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.called().resolve(path).to_owned())
    }
}

struct MemFile {
    fs: MemFs,
    node: Arc<Mutex<Node>>,
}

impl File for MemFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        drop(self.fs.called());
        let node = lock(&self.node);
        if let Some(error) = node.read_error {
            return Err(error.into());
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
        let open = fs.open(Path::new("/a")).expect("it is there");
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
    }
}
