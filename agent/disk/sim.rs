//! A directory in memory that forgets as disks do.
//!
//! Of what was not synced, a loss of power may leave anything: each sector of 512 bytes as it was, as it was written, or
//! zeros; a file short; a name made, changed or removed or not, each for itself. What was synced stays. A process that
//! dies loses nothing that it wrote. Faults come at the operation that one chooses, and everything that is left to
//! chance follows from one seed.

use super::world::{Change, Contents, World, error_of};
use super::{Disk, DiskFile};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What happens at an operation instead of its work. Of a write some part may be done all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    NoSpace,
    Io,
    ReadOnly,
    /// The process is killed: nothing works any more before [`SimDisk::crash`] or [`SimDisk::power_loss`].
    Death,
}

/// The disk, as a test or the simulator holds it. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<World>>);

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        SimDisk(Arc::new(Mutex::new(World { random: seed, ..World::default() })))
    }

    /// The disk as a process sees it that starts now.
    pub fn mount(&self) -> Box<dyn Disk> {
        let process = self.world().process;
        Box::new(Mount { disk: self.clone(), process })
    }

    /// The process is gone, what it wrote is there.
    pub fn crash(&self) {
        self.world().restart();
    }

    /// The machine is gone, and with it some of what was not synced.
    pub fn power_loss(&self) {
        self.world().power_loss();
    }

    /// Operations that change something since the beginning: writes, syncs, names.
    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    /// A fault at an operation, the next being 1.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        let mut world = self.world();
        let at = world.operations + operation;
        world.faults.insert(at, fault);
    }

    /// A fault at each operation, until it is taken back.
    pub fn fail(&self, fault: Option<Fault>) {
        self.world().lasting = fault;
    }

    /// Bytes that all files together may have.
    pub fn set_capacity_bytes(&self, capacity: Option<u64>) {
        self.world().capacity_bytes = capacity;
    }

    pub fn set_volatile(&self, is_volatile: bool) {
        self.world().is_volatile = is_volatile;
    }

    /// From now on a sector of a file cannot be read.
    pub fn set_unreadable(&self, name: &str, sector: usize) {
        let mut world = self.world();
        if let Some(file) = world.names.get(name).copied() {
            world.unreadable.insert((file, sector));
        }
    }

    /// As `rm -rf`.
    pub fn remove_directory(&self) {
        let mut world = self.world();
        let names = std::mem::take(&mut world.names);
        world.changes.extend(names.into_keys().map(Change::Removed));
        world.is_gone = true;
    }

    /// All files, as a process sees them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let world = self.world();
        world.names.iter().map(|(name, file)| (name.clone(), world.files[*file].bytes.clone())).collect()
    }

    /// Puts a file there, durable; nothing: takes it away.
    pub fn set_file(&self, name: &str, bytes: Option<Vec<u8>>) {
        let mut world = self.world();
        world.names.remove(name);
        if let Some(bytes) = bytes {
            let file = world.files.len();
            world.files.push(Contents { durable: bytes.clone(), bytes, ..Contents::default() });
            world.names.insert(name.to_string(), file);
        }
        world.durable_names = world.names.clone();
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Mount {
    disk: SimDisk,
    process: u64,
}

struct OpenFile {
    disk: SimDisk,
    process: u64,
    file: usize,
}

impl Mount {
    fn opened(&self, file: usize) -> Box<dyn DiskFile> {
        Box::new(OpenFile { disk: self.disk.clone(), process: self.process, file })
    }
}

impl Disk for Mount {
    fn list(&mut self) -> io::Result<Vec<String>> {
        let world = self.disk.world();
        world.alive(self.process)?;
        Ok(world.names.keys().cloned().collect())
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let world = self.disk.world();
        world.alive(self.process)?;
        Ok(self.opened(world.file(name)?))
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.disk.world();
        world.operate_on_names(self.process)?;
        if world.names.contains_key(name) {
            return Err(Errno::EXIST.into());
        }
        let file = world.files.len();
        world.files.push(Contents::default());
        world.names.insert(name.to_string(), file);
        world.changes.push(Change::Made(name.to_string(), file));
        Ok(self.opened(file))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.disk.world();
        world.operate_on_names(self.process)?;
        let file = world.file(from)?;
        world.names.remove(from);
        world.names.insert(to.to_string(), file);
        world.changes.push(Change::Renamed(from.to_string(), to.to_string(), file));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut world = self.disk.world();
        world.operate_on_names(self.process)?;
        world.file(name)?;
        world.names.remove(name);
        world.changes.push(Change::Removed(name.to_string()));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.disk.world();
        if let Some(fault) = world.operate(self.process)? {
            return Err(error_of(fault));
        }
        world.durable_names = world.names.clone();
        world.changes.clear();
        world.forget_unnamed();
        Ok(())
    }

    fn restore(&mut self) -> io::Result<bool> {
        let mut world = self.disk.world();
        world.alive(self.process)?;
        Ok(std::mem::take(&mut world.is_gone))
    }

    fn free_bytes(&mut self) -> io::Result<Option<(u64, u64)>> {
        let world = self.disk.world();
        world.alive(self.process)?;
        Ok(world.capacity_bytes.map(|capacity| (capacity.saturating_sub(world.used_bytes()), capacity)))
    }

    fn is_volatile(&self) -> bool {
        self.disk.world().is_volatile
    }

    fn random(&mut self) -> u64 {
        self.disk.world().random()
    }
}

impl DiskFile for OpenFile {
    fn size(&self) -> io::Result<u64> {
        let world = self.disk.world();
        world.alive(self.process)?;
        Ok(world.files[self.file].bytes.len() as u64)
    }

    fn names(&self) -> io::Result<u64> {
        let world = self.disk.world();
        world.alive(self.process)?;
        Ok(world.names.values().filter(|file| **file == self.file).count() as u64)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.world().read(self.process, self.file, offset as usize, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.world().write(self.process, self.file, offset as usize, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.world().sync_file(self.process, self.file)
    }
}
