//! Reads one generation: its image, and what its log adds to it up to the last whole batch.

use super::Limits;
use super::batch::BatchReader;
use super::sector::{
    CLOSED, FOLLOWED, Head, Header, LAST, MARKED, NUMBER_MAX, NoHeader, SECTOR_BYTES, SETTLED, SYNCED, Sector, look,
};
use crate::disk::DiskFile;
use crate::keep::{Entries, Slot};
use std::collections::BTreeMap;
use std::io;

/// Batches that a generation begins with: what there was at the last marked batch, and what changed since.
pub const IMAGE_BATCHES: u64 = 2;
/// Sectors that are read at once.
const PIECE_SECTORS: u64 = 128;

/// What slots held once; nothing: the slot was not there. Ascending.
pub type Held = Vec<(Slot, Option<Box<[u8]>>)>;

/// A generation whose image is sound.
pub struct Generation {
    pub header: Header,
    pub entries: Entries,
    /// Slots that differ from what they held at the last marked batch, and what that was.
    pub before: Held,
    /// The last whole batch.
    pub batch: u64,
    /// That one was durable before it was acknowledged.
    pub synced: bool,
    pub end: End,
    /// The agent ended cleanly after the last batch.
    pub closed: bool,
    /// There was a newer generation.
    pub followed: bool,
}

/// How the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After a whole batch, or within one that nobody was told of: it was never finished.
    Whole,
    /// Within a batch that was acknowledged without a sync: so many are missing.
    Unsynced(u64),
    /// At a place that no unfinished write leaves behind: so many batches are missing, or were not finished.
    Damaged(u64),
}

/// Why a generation is of no use.
pub enum Unsound {
    Version(u32),
    /// With the highest number of a batch that was seen in it.
    Corrupt(String, u64),
    /// The machine lacks something now, or the agent may not: another time it may be read.
    Passing(io::Error),
}

impl From<io::Error> for Unsound {
    fn from(error: io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR | Errno::ACCESS | Errno::PERM) => {
                Unsound::Passing(error)
            }
            _ => Unsound::Corrupt(error.to_string(), 0),
        }
    }
}

pub fn read(file: &mut dyn DiskFile, generation: u64, limits: &Limits) -> Result<Generation, Unsound> {
    let size = file.size()?;
    let mut sectors = Sectors::new(file);
    let corrupt = |why: &str, sectors: &mut Sectors<'_>| {
        let seen = sectors.highest_batch(size.min(limits.state_bytes_max) / SECTOR_BYTES as u64);
        Unsound::Corrupt(why.into(), seen)
    };
    let header = match Header::read(sectors.get(0)) {
        Ok(header) => header,
        Err(NoHeader::Version(version)) => return Err(Unsound::Version(version)),
        Err(NoHeader::Bad) => return Err(corrupt("its first sector is damaged", &mut sectors)),
    };
    if header.generation != generation {
        return Err(corrupt("it is another generation than its name says", &mut sectors));
    }
    let fits = header.sectors.checked_mul(SECTOR_BYTES as u64).is_some_and(|bytes| bytes <= limits.state_bytes_max);
    if !fits || header.sectors < 4 || header.batch >= NUMBER_MAX {
        return Err(corrupt("its size is beyond all limits", &mut sectors));
    }
    let mut replay = Replay::new(header, limits);
    let mut index = 1;
    let foot = header.sectors - 1;
    while index < foot {
        match replay.sector(look(sectors.get(index), index)) {
            Step::On => index += 1,
            Step::Stop => break,
            Step::Unsound(why) => return Err(corrupt(why, &mut sectors)),
        }
    }
    if !replay.has_image() {
        return Err(corrupt("its image is not whole", &mut sectors));
    }
    let end = end(&mut sectors, index, &header, replay.next);
    let batch = replay.next - 1;
    let (closed, followed) = match look(sectors.get(foot), foot) {
        Sector::Whole(head, _) if head.life == header.life => {
            (head.flags & CLOSED != 0 && head.batch == batch && end == End::Whole, head.flags & FOLLOWED != 0)
        }
        _ => (false, false),
    };
    let synced = replay.synced;
    let (entries, before) = replay.image.finish();
    Ok(Generation { header, entries, before, batch, synced, end, closed, followed })
}

/// What lies behind the last whole batch, which ends before `start`: `next` is the batch that is not whole.
fn end(sectors: &mut Sectors<'_>, start: u64, header: &Header, next: u64) -> End {
    // What is whole here and of this life, but not where it belongs, was never written so.
    let mut damaged = match look(sectors.get(start), start) {
        Sector::Bad => true,
        Sector::Whole(head, _) => head.life == header.life && start < header.sectors - 1,
        Sector::Zero => false,
    };
    let (mut highest, mut settled) = (None, false);
    let mut bad = false;
    for index in start..header.sectors - 1 {
        match look(sectors.get(index), index) {
            Sector::Whole(head, _) if head.life == header.life => {
                // A bad sector between two of one batch belonged to it.
                damaged |= bad;
                highest = highest.max(Some(head.batch));
                settled |= head.batch > next && head.flags & SETTLED != 0;
            }
            Sector::Whole(..) | Sector::Zero => {}
            Sector::Bad => bad = true,
        }
    }
    let missing = highest.map_or(0, |highest| highest.saturating_sub(next).saturating_add(1));
    match highest {
        _ if damaged || settled => End::Damaged(missing.max(1)),
        Some(highest) if highest > next => End::Unsynced(missing),
        _ => End::Whole,
    }
}

/// Sectors of a file, read in pieces. What cannot be read, or is not there, is a sector that is not whole.
struct Sectors<'f> {
    file: &'f mut dyn DiskFile,
    piece: Vec<u8>,
    /// Of the piece.
    start: Option<u64>,
}

impl<'f> Sectors<'f> {
    fn new(file: &'f mut dyn DiskFile) -> Self {
        Sectors { file, piece: vec![0; PIECE_SECTORS as usize * SECTOR_BYTES], start: None }
    }

    fn get(&mut self, index: u64) -> &[u8] {
        let start = index / PIECE_SECTORS * PIECE_SECTORS;
        if self.start != Some(start) {
            self.fill(start);
        }
        let at = (index - start) as usize * SECTOR_BYTES;
        &self.piece[at..at + SECTOR_BYTES]
    }

    fn fill(&mut self, start: u64) {
        const NOTHING: u8 = 0xff;
        let offset = start * SECTOR_BYTES as u64;
        match self.file.read_at(offset, &mut self.piece) {
            Ok(read) => self.piece[read..].fill(NOTHING),
            // A bad place of the disk takes no more with it than it must.
            Err(_) => {
                for (at, sector) in self.piece.chunks_mut(SECTOR_BYTES).enumerate() {
                    let read = self.file.read_at(offset + (at * SECTOR_BYTES) as u64, sector).unwrap_or(0);
                    sector[read..].fill(NOTHING);
                }
            }
        }
        self.start = Some(start);
    }

    /// Of any life: what a file without a header still tells.
    fn highest_batch(&mut self, sectors: u64) -> u64 {
        let batch = |index| match look(self.get(index), index) {
            Sector::Whole(head, _) if head.batch < NUMBER_MAX => head.batch,
            _ => 0,
        };
        (1..sectors).map(batch).max().unwrap_or(0)
    }
}

enum Step {
    On,
    Stop,
    Unsound(&'static str),
}

/// Applies batches as their sectors come.
struct Replay<'l> {
    header: Header,
    limits: &'l Limits,
    image: Image,
    /// The batch that comes, or has begun.
    next: u64,
    /// Of the batches of the image, which are applied as they come: the whole file counts or nothing.
    reader: BatchReader,
    /// The payload of a batch of the log, until it is whole.
    staged: Vec<u8>,
    slots: u64,
    synced: bool,
}

impl<'l> Replay<'l> {
    fn new(header: Header, limits: &'l Limits) -> Self {
        Replay {
            header,
            limits,
            image: Image::default(),
            next: header.batch,
            reader: BatchReader::default(),
            staged: Vec::new(),
            slots: 0,
            synced: false,
        }
    }

    fn has_image(&self) -> bool {
        self.next >= self.header.batch + IMAGE_BATCHES
    }

    fn sector(&mut self, sector: Sector<'_>) -> Step {
        let Sector::Whole(head, payload) = sector else { return Step::Stop };
        if head.life != self.header.life || head.batch != self.next {
            return Step::Stop;
        }
        if self.has_image() { self.log_sector(head, payload) } else { self.image_sector(head, payload) }
    }

    fn image_sector(&mut self, head: Head, payload: &[u8]) -> Step {
        let (image, slots) = (&mut self.image, &mut self.slots);
        let fed = self.reader.feed(payload, &mut |slot, value| {
            *slots += 1;
            image.change(slot, value);
        });
        if fed.is_err() {
            return Step::Unsound("its image makes no sense");
        }
        if self.slots > self.limits.slots_max {
            return Step::Unsound("it has more slots than may be");
        }
        if head.flags & LAST == 0 {
            return Step::On;
        }
        if !self.reader.is_whole() {
            return Step::Unsound("its image makes no sense");
        }
        self.finish_batch(head)
    }

    fn log_sector(&mut self, head: Head, payload: &[u8]) -> Step {
        self.staged.extend_from_slice(payload);
        if head.flags & LAST == 0 {
            return Step::On;
        }
        // Looked at as a whole before anything of it counts.
        let mut check = BatchReader::default();
        if check.feed(&self.staged, &mut |_, _| {}).is_err() || !check.is_whole() {
            return Step::Stop;
        }
        let image = &mut self.image;
        let _ = BatchReader::default().feed(&self.staged, &mut |slot, value| image.change(slot, value));
        self.staged.clear();
        self.finish_batch(head)
    }

    fn finish_batch(&mut self, head: Head) -> Step {
        if head.flags & MARKED != 0 {
            self.image.before.clear();
        }
        self.image.remembers = true;
        self.synced = head.flags & SYNCED != 0;
        self.reader = BatchReader::default();
        self.next += 1;
        Step::On
    }
}

/// All slots while batches are applied to them.
#[derive(Default)]
struct Image {
    /// What came in order: nearly all of it.
    base: Entries,
    base_last: Option<Slot>,
    /// What was changed out of order, or is no more.
    changed: BTreeMap<Slot, Option<Box<[u8]>>>,
    /// Past the first batch, which is what there was at the last marked one.
    remembers: bool,
    /// What slots held at the last marked batch, if they were touched since.
    before: BTreeMap<Slot, Option<Box<[u8]>>>,
}

impl Image {
    fn change(&mut self, slot: Slot, value: Option<&[u8]>) {
        if self.remembers && !self.before.contains_key(&slot) {
            let held = self.get(slot).map(Box::from);
            self.before.insert(slot, held);
        }
        let is_newest = |last: Option<Slot>| last.is_none_or(|last| last < slot);
        let appends = is_newest(self.base_last) && is_newest(self.changed.last_key_value().map(|(slot, _)| *slot));
        match value {
            Some(value) if appends => {
                self.base.put(slot, |writer| writer.raw(value));
                self.base_last = Some(slot);
            }
            value => {
                self.changed.insert(slot, value.map(Box::from));
            }
        }
    }

    fn get(&self, slot: Slot) -> Option<&[u8]> {
        match self.changed.get(&slot) {
            Some(changed) => changed.as_deref(),
            None if self.base_last.is_none_or(|last| last < slot) => None,
            None => self.base.get(slot),
        }
    }

    fn finish(self) -> (Entries, Held) {
        let Image { base, changed, before, .. } = self;
        let entries = if changed.is_empty() { base } else { merge(&base, &changed) };
        let differs = |(slot, held): &(Slot, Option<Box<[u8]>>)| entries.get(*slot) != held.as_deref();
        let before = before.into_iter().filter(differs).collect();
        (entries, before)
    }
}

fn merge(base: &Entries, changed: &BTreeMap<Slot, Option<Box<[u8]>>>) -> Entries {
    let mut merged = Entries::default();
    let (mut old, mut new) = (base.iter().peekable(), changed.iter().peekable());
    loop {
        let new_slot = new.peek().map(|(slot, _)| **slot);
        match old.peek() {
            Some((slot, value)) if new_slot.is_none_or(|new| *slot < new) => {
                merged.put(*slot, |writer| writer.raw(value));
                old.next();
            }
            _ => {
                let Some((slot, value)) = new.next() else { return merged };
                old.next_if(|(old, _)| old == slot);
                if let Some(value) = value {
                    merged.put(*slot, |writer| writer.raw(value));
                }
            }
        }
    }
}
