//! The spool: where batches that Loki has not taken wait on disk, bounded. docs/state.md draws the format.
//!
//! A directory of **segments**, files of bounded size to which records are added: batches, and notes that batches came to
//! their end. A segment goes when none of its batches is wanted any more, and the oldest goes first. Each run begins a
//! segment of its own, so that nothing is ever written behind an unfinished record. Opening changes nothing.

mod chain;
mod notice;
mod ranges;
mod recovery;
mod saving;
mod segment;

pub use notice::Notice;

use crate::disk::Disk;
use bytes::Bytes;
use chain::{Chain, Place};
use ranges::Ranges;
use segment::{Head, Kind, check_of};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// Ranges of settled ids that are remembered; the lowest are forgotten first.
const SETTLED_RANGES_MAX: usize = segment::NOTE_RANGES_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Bytes of all files in the directory. 0: nothing is stored. Passed by no more than notes of settled ids take.
    pub bytes_max: u64,
    /// Percent of the file system that stay free.
    pub free_percent: u8,
    /// Batches, for the sake of memory: about 100 bytes each. When the spool is opened twice as many are read.
    pub batches_max: usize,
    /// The newest so many bytes of wanted batches are looked at when the spool is opened, the others when they are read.
    pub checked_bytes_max: u64,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        // Batches: three days of one each second.
        SpoolLimits { bytes_max: 512 << 20, free_percent: 10, batches_max: 1 << 18, checked_bytes_max: 64 << 20 }
    }
}

impl SpoolLimits {
    /// Where a segment is closed.
    fn segment_bytes(&self) -> u64 {
        (self.bytes_max / 16).clamp(64 << 10, 4 << 20)
    }
}

/// A batch of the spool, without its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    pub id: u64,
    pub tenant: Arc<str>,
    /// Entries, and the bytes of their lines, as [`Batch`](super::Batch) counts them.
    pub lines: u64,
    pub bytes: u64,
}

/// What the directory held.
#[derive(Debug, Default)]
pub struct Found {
    /// Batches that are stored and not settled, ascending.
    pub batches: Vec<StoredBatch>,
    /// The same, but their blocks are damaged: they cannot be loaded. They are named again with each start until
    /// [`Spool::forget`] is told of them.
    pub damaged: Vec<StoredBatch>,
    /// Above every id that was ever seen here.
    pub next_id: u64,
    pub notices: Vec<Notice>,
}

/// What came of saving.
#[derive(Debug)]
#[must_use]
pub struct Saved {
    /// Batches that had to make room, the oldest first; also such as were to be saved now. They are not stored any more,
    /// whatever `result` says.
    pub evicted: Vec<StoredBatch>,
    /// Batches whose files someone took away, or that were only said to be on disk.
    pub lost: Vec<StoredBatch>,
    /// All others are stored, and durable if that was asked for. An error: of the batches that were to be saved now none
    /// counts as stored.
    pub result: io::Result<()>,
}

/// One open spool.
pub struct Spool {
    limits: SpoolLimits,
    chain: Chain,
    /// Batches that are stored and wanted.
    index: BTreeMap<u64, Stored>,
    /// All that is known to be settled.
    settled: Ranges,
    next_id: u64,
    /// To be noted with the next write, and whether that is urgent: a restart would find these batches.
    notes: Notes,
    /// Given up and noted, by the run before or since the last sync.
    gone_unsynced: Ranges,
    /// Not stored as far as anyone was told, but a restart may find them: their save failed.
    doubtful: BTreeSet<u64>,
    /// Found damaged: each restart names them again.
    damaged: BTreeSet<u64>,
    /// Records that wait in the buffer of the active segment.
    staged: Vec<(u64, Stored)>,
}

#[derive(Default)]
struct Notes {
    settled: Ranges,
    gone: Ranges,
    urgent: bool,
}

/// Where a batch is.
#[derive(Clone, Debug)]
struct Stored {
    place: Place,
    /// Bytes of the whole record.
    stored_bytes: u64,
    tenant: Arc<str>,
    lines: u64,
    bytes: u64,
}

impl Stored {
    fn described(&self, id: u64) -> StoredBatch {
        StoredBatch { id, tenant: self.tenant.clone(), lines: self.lines, bytes: self.bytes }
    }
}

impl Spool {
    /// Opens a directory. Fails only if nobody can say which files it has; all damage is told in [`Found`].
    pub fn open(disk: Box<dyn Disk>, limits: SpoolLimits) -> io::Result<(Spool, Found)> {
        let found = recovery::recover(disk, &limits)?;
        let spool = Spool {
            limits,
            chain: found.chain,
            index: found.index,
            settled: found.settled,
            next_id: found.next_id,
            notes: Notes::default(),
            gone_unsynced: found.gone,
            doubtful: BTreeSet::new(),
            damaged: found.damaged.iter().map(|batch| batch.id).collect(),
            staged: Vec::new(),
        };
        let (damaged, next_id, notices) = (found.damaged, found.next_id, found.notices);
        let found = Found { batches: spool.batches(), damaged, next_id, notices };
        Ok((spool, found))
    }

    /// Stores batches, and notes which ones are settled since: one write where the batches fit into one segment and need
    /// no more than 256 KiB. Batches that are stored already stay where they are. `sync`: all that is stored, and all
    /// that was noted, outlives a loss of power when this has returned.
    pub fn save(&mut self, batches: &[Arc<super::Batch>], settled: &[u64], sync: bool) -> Saved {
        settled.iter().for_each(|id| self.end(*id, Kind::Settled));
        self.store(batches, sync)
    }

    /// Drops batches that nobody wants: those from after the cut, those that are damaged. Not synced: at worst they are
    /// found once more.
    pub fn forget(&mut self, ids: &[u64]) -> Saved {
        ids.iter().for_each(|id| self.end(*id, Kind::Gone));
        self.store(&[], false)
    }

    /// The snappy block of a stored batch. Errors: `NotFound`, it is not stored or its file is gone; `InvalidData`, it is
    /// damaged; what the disk says.
    pub fn load(&mut self, id: u64) -> io::Result<Bytes> {
        let stored = self.index.get(&id).ok_or(io::ErrorKind::NotFound)?;
        let mut record = vec![0; stored.stored_bytes as usize];
        self.chain.read(stored.place, &mut record)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the stored batch is damaged");
        let owner = self.chain.segment(stored.place.sequence).ok_or_else(damaged)?.owner;
        let head = Head::read(&record, owner, stored.place.offset).filter(|head| head.id == id).ok_or_else(damaged)?;
        let (start, check) = (head.body_start() as usize, head.body_check);
        let body = start..start + head.body_bytes;
        if record.get(body.clone()).map(check_of) != Some(check) {
            return Err(damaged());
        }
        Ok(Bytes::from(record).slice(body))
    }

    /// It is noted that a batch is settled: Loki has what it takes of it. Not so for batches that were evicted or
    /// forgotten, and for those that were settled long ago (4,096 ranges are remembered).
    pub fn is_settled(&self, id: u64) -> bool {
        self.settled.contains(id) && !self.index.contains_key(&id)
    }

    pub fn contains(&self, id: u64) -> bool {
        self.index.contains_key(&id)
    }

    /// All batches, ascending.
    pub fn batches(&self) -> Vec<StoredBatch> {
        self.index.iter().map(|(id, stored)| stored.described(*id)).collect()
    }

    pub fn oldest_id(&self) -> Option<u64> {
        self.index.first_key_value().map(|(id, _)| *id)
    }

    /// Batches.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes of all files, as their lengths say.
    pub fn disk_bytes(&self) -> u64 {
        self.chain.bytes()
    }

    /// A batch is not wanted any more.
    fn end(&mut self, id: u64, kind: Kind) {
        let was_stored = self.unlist(id).is_some();
        let was_there = self.doubtful.remove(&id) | self.damaged.remove(&id);
        self.notes.urgent |= was_there || was_stored;
        if kind == Kind::Settled {
            self.settled.insert(id);
            self.notes.settled.insert(id);
            self.settled.keep_highest(SETTLED_RANGES_MAX);
            self.notes.settled.keep_highest(SETTLED_RANGES_MAX);
        } else {
            self.notes.gone.insert(id);
        }
    }

    fn unlist(&mut self, id: u64) -> Option<Stored> {
        let stored = self.index.remove(&id)?;
        if let Some(segment) = self.chain.segment(stored.place.sequence) {
            segment.batches -= 1;
        }
        Some(stored)
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "spool_damage_tests.rs"]
mod damage_tests;

#[cfg(test)]
#[path = "spool_life_tests.rs"]
mod life_tests;
