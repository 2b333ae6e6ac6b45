//! What the simulated disk holds, and how it forgets.

use super::Fault;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// What a disk writes at once or not at all.
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
pub struct World {
    pub random: u64,
    pub files: Vec<Contents>,
    pub names: BTreeMap<String, usize>,
    pub durable_names: BTreeMap<String, usize>,
    /// Changes of names since the last sync of the directory.
    pub changes: Vec<Change>,
    /// Which process this is; the files of those before are dead.
    pub process: u64,
    pub dead: bool,
    /// The directory was removed.
    pub is_gone: bool,
    pub is_volatile: bool,
    /// Operations that change something, so far.
    pub operations: u64,
    pub faults: BTreeMap<u64, Fault>,
    pub lasting: Option<Fault>,
    pub capacity_bytes: Option<u64>,
    /// Sectors of files that cannot be read.
    pub unreadable: BTreeSet<(usize, usize)>,
}

#[derive(Debug, Default)]
pub struct Contents {
    pub bytes: Vec<u8>,
    pub durable: Vec<u8>,
    /// Sectors that were written since the last sync.
    pub dirty: BTreeSet<usize>,
    /// Sectors whose sync failed: no later one makes them durable.
    pub forgotten: BTreeSet<usize>,
}

#[derive(Debug)]
pub enum Change {
    Made(String, usize),
    Renamed(String, String, usize),
    Removed(String),
}

impl World {
    /// SplitMix64.
    pub fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `below` - 1.
    fn draw(&mut self, below: usize) -> usize {
        (self.random() % below.max(1) as u64) as usize
    }

    pub fn alive(&self, process: u64) -> io::Result<()> {
        if self.dead || self.process != process { Err(io::Error::other("the process was killed")) } else { Ok(()) }
    }

    /// Counts an operation that changes something, and says what fails of it.
    pub fn operate(&mut self, process: u64) -> io::Result<Option<Fault>> {
        self.alive(process)?;
        self.operations += 1;
        let fault = self.faults.remove(&self.operations).or(self.lasting);
        self.dead |= fault == Some(Fault::Death);
        Ok(fault)
    }

    /// An operation on names, of which nothing is done when it fails.
    pub fn operate_on_names(&mut self, process: u64) -> io::Result<()> {
        match self.operate(process)? {
            None if self.is_gone => Err(Errno::NOENT.into()),
            None => Ok(()),
            Some(fault) => Err(error_of(fault)),
        }
    }

    pub fn file(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| Errno::NOENT.into())
    }

    /// Of all files that have a name.
    pub fn used_bytes(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].bytes.len() as u64).sum()
    }

    pub fn write(&mut self, process: u64, file: usize, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let fault = self.operate(process)?;
        let used = self.used_bytes();
        let length = self.files[file].bytes.len();
        let (wanted, free) = (bytes.len(), self.capacity_bytes.map(|capacity| capacity.saturating_sub(used) as usize));
        let fits = free.map_or(wanted, |free| wanted.min((length + free).saturating_sub(offset)));
        let (done, result) = match fault {
            None if fits < wanted => (fits, Err(Errno::NOSPC.into())),
            None => (wanted, Ok(())),
            Some(Fault::ReadOnly) => (0, Err(error_of(Fault::ReadOnly))),
            // The kernel copies a page at a time, and dies between two.
            Some(Fault::Death) => {
                let end = (offset + self.draw(fits + 1)) & !4095;
                (end.saturating_sub(offset).min(fits), Err(error_of(Fault::Death)))
            }
            Some(fault) => (self.draw(fits + 1), Err(error_of(fault))),
        };
        if done > 0 {
            let contents = &mut self.files[file];
            let end = offset + done;
            // A gap that is jumped over is written too.
            let start = offset.min(length);
            contents.bytes.resize(length.max(end), 0);
            contents.bytes[offset..end].copy_from_slice(&bytes[..done]);
            for sector in start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
                contents.dirty.insert(sector);
                contents.forgotten.remove(&sector);
            }
        }
        result
    }

    pub fn read(&self, process: u64, file: usize, offset: usize, buffer: &mut [u8]) -> io::Result<usize> {
        self.alive(process)?;
        let bytes = self.files[file].bytes.get(offset..).unwrap_or_default();
        let read = bytes.len().min(buffer.len());
        let mut sectors = offset / SECTOR_BYTES..(offset + read).div_ceil(SECTOR_BYTES);
        if sectors.any(|sector| self.unreadable.contains(&(file, sector))) {
            return Err(error_of(Fault::Io));
        }
        buffer[..read].copy_from_slice(&bytes[..read]);
        Ok(read)
    }

    pub fn sync_file(&mut self, process: u64, file: usize) -> io::Result<()> {
        let fault = self.operate(process)?;
        let contents = &mut self.files[file];
        let mut dirty = std::mem::take(&mut contents.dirty);
        match fault {
            None => {
                contents.durable.resize(contents.bytes.len(), 0);
                for sector in dirty {
                    let start = sector * SECTOR_BYTES;
                    let end = (start + SECTOR_BYTES).min(contents.bytes.len());
                    contents.durable[start..end].copy_from_slice(&contents.bytes[start..end]);
                }
                Ok(())
            }
            Some(Fault::Io) => {
                contents.forgotten.append(&mut dirty);
                Err(error_of(Fault::Io))
            }
            Some(fault) => {
                contents.dirty = dirty;
                Err(error_of(fault))
            }
        }
    }

    pub fn restart(&mut self) {
        self.process += 1;
        self.dead = false;
        self.faults.clear();
        self.lasting = None;
    }

    pub fn power_loss(&mut self) {
        self.restart();
        for file in 0..self.files.len() {
            let mut contents = std::mem::take(&mut self.files[file]);
            self.lose_bytes(&mut contents);
            self.files[file] = contents;
        }
        let mut names = std::mem::take(&mut self.durable_names);
        let changes = std::mem::take(&mut self.changes);
        let mode = self.draw(3);
        for change in changes {
            let happened = match mode {
                0 => false,
                1 => true,
                _ => self.draw(2) == 0,
            };
            if happened {
                change.apply(&mut names);
            }
        }
        self.names = names.clone();
        self.durable_names = names;
        self.is_gone = false;
    }

    fn lose_bytes(&mut self, contents: &mut Contents) {
        let mut unsure = std::mem::take(&mut contents.dirty);
        unsure.append(&mut contents.forgotten);
        // Nothing of it, all of it, or each sector as it comes.
        let mode = self.draw(4);
        let (old, new) = (contents.durable.len(), contents.bytes.len());
        let length = match mode {
            0 => old,
            1 => new,
            _ => old.min(new) + self.draw(old.abs_diff(new) + 1),
        };
        let mut kept = std::mem::take(&mut contents.durable);
        kept.resize(length, 0);
        for sector in unsure {
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(length).min(new);
            let choice = if mode < 2 { mode } else { self.draw(3) };
            match choice {
                _ if start >= end => {}
                0 => {}
                1 => kept[start..end].copy_from_slice(&contents.bytes[start..end]),
                _ => kept[start..end].fill(0),
            }
        }
        contents.bytes.clone_from(&kept);
        contents.durable = kept;
    }

    /// Frees what no name leads to, and no loss of power brings back.
    pub fn forget_unnamed(&mut self) {
        let named: BTreeSet<usize> = self.names.values().copied().collect();
        for (file, contents) in self.files.iter_mut().enumerate() {
            if !named.contains(&file) {
                *contents = Contents::default();
            }
        }
    }
}

impl Change {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Change::Made(name, file) => {
                names.insert(name, file);
            }
            Change::Renamed(from, to, file) => {
                names.remove(&from);
                names.insert(to, file);
            }
            Change::Removed(name) => {
                names.remove(&name);
            }
        }
    }
}

pub fn error_of(fault: Fault) -> io::Error {
    match fault {
        Fault::NoSpace => Errno::NOSPC.into(),
        Fault::Io => Errno::IO.into(),
        Fault::ReadOnly => Errno::ROFS.into(),
        Fault::Death => io::Error::other("the process was killed"),
    }
}
