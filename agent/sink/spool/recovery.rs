//! What a directory holds: every record that is whole, of every segment that is there, in the order in which they were
//! written. Changes nothing.

use super::SpoolLimits;
use super::chain::{Aside, Chain, Place, Segment, aside_of, file_name, sequence_of};
use super::notice::Notice;
use super::ranges::Ranges;
use super::segment::{
    ALIGN_BYTES, HEAD_BYTES, HEADER_BYTES, Head, Header, Kind, NOTE_BYTES_MAX, NUMBER_MAX, NoHeader, Owner,
    SECTOR_BYTES, SEGMENT_BYTES_MAX, check_of, life_of, ranges_of, tenant_bytes_of,
};
use super::{Stored, StoredBatch};
use crate::disk::{Disk, DiskFile};
use flate2::Crc;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// Copies of one batch that are remembered besides the newest.
const COPIES_MAX: usize = 4;
/// Bytes that are read at once: from head to head, and where all of it is looked at.
const STEP_BYTES: usize = 4 << 10;
const PIECE_BYTES: usize = 64 << 10;

/// What was found, before anything is done about it.
pub struct Recovered {
    pub chain: Chain,
    /// Batches that are wanted, and whole as far as was looked.
    pub index: BTreeMap<u64, Stored>,
    pub settled: Ranges,
    /// Batches that were noted as given up.
    pub gone: Ranges,
    pub next_id: u64,
    /// Batches that are wanted and damaged.
    pub damaged: Vec<StoredBatch>,
    pub notices: Vec<Notice>,
}

pub fn recover(mut disk: Box<dyn Disk>, limits: &SpoolLimits) -> io::Result<Recovered> {
    let names = disk.list()?;
    let mut sequences: Vec<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
    sequences.sort_unstable();
    let next_sequence = sequences.last().map_or(0, |last| *last) + 1;
    let mut found = Recovery::new(disk, next_sequence, limits);
    for name in &names {
        if let Some(number) = aside_of(name) {
            let size = found.chain.disk().open(name).and_then(|file| file.size()).unwrap_or(0);
            found.chain.asides.push(Aside { number, name: name.clone(), size });
        }
    }
    found.chain.asides.sort_unstable();
    for sequence in sequences {
        found.segment(sequence, sequence + 1 == next_sequence);
    }
    Ok(found.finish())
}

/// Why nothing is taken of a file.
enum Unsound {
    Version(u32),
    Corrupt(String),
    /// It was made, and never written.
    Empty,
    /// Neither its header nor its first record is whole.
    Headless,
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
            _ => Unsound::Corrupt(error.to_string()),
        }
    }
}

struct Recovery<'l> {
    limits: &'l SpoolLimits,
    chain: Chain,
    index: BTreeMap<u64, Stored>,
    /// Where the same batch was written before, the newest last: a sync or a write failed.
    earlier: BTreeMap<u64, Vec<Stored>>,
    settled: Ranges,
    gone: Ranges,
    next_id: u64,
    notices: Vec<Notice>,
    /// Each text once.
    tenants: BTreeSet<Arc<str>>,
    /// Batches for which there was no room in the index.
    surplus: Notice,
}

impl<'l> Recovery<'l> {
    fn new(disk: Box<dyn Disk>, next_sequence: u64, limits: &'l SpoolLimits) -> Self {
        Recovery {
            limits,
            chain: Chain::new(disk, next_sequence),
            index: BTreeMap::new(),
            earlier: BTreeMap::new(),
            settled: Ranges::default(),
            gone: Ranges::default(),
            next_id: 0,
            notices: Vec::new(),
            tenants: BTreeSet::new(),
            surplus: Notice::Surplus { batches: 0, lines: 0, bytes: 0 },
        }
    }

    fn segment(&mut self, sequence: u64, is_newest: bool) {
        let name = file_name(sequence);
        let (mut size, opened) = (0, self.chain.disk().open(&name));
        let read = opened.map_err(Unsound::from).and_then(|mut file| {
            size = file.size()?;
            self.records(&mut *file, size, sequence)
        });
        let file = Aside { number: 0, name: name.clone(), size };
        let notice = match read {
            Ok(owner) => {
                let (durable, failed, batches, is_own) = (0, false, 0, false);
                let segment = Segment { owner, end: size, size, durable, failed, batches, is_own };
                self.chain.segments.push_back(segment);
                return;
            }
            // It may be whole: it stays where it is, and is not ours before the next start.
            Err(Unsound::Passing(error)) => Notice::Unreadable { file: name, why: error.to_string() },
            Err(Unsound::Empty) => return self.chain.rests.push(file),
            Err(unsound) => {
                self.chain.broken.push(file);
                match unsound {
                    Unsound::Version(version) => Notice::Version { file: name, version },
                    // A loss of power in the middle of its first write leaves any part of it.
                    Unsound::Headless if is_newest => Notice::Torn { file: name },
                    Unsound::Headless => Notice::Corrupt { file: name, why: "it has no header".into() },
                    Unsound::Corrupt(why) => Notice::Corrupt { file: name, why },
                    Unsound::Empty | Unsound::Passing(_) => return,
                }
            }
        };
        self.notices.push(notice);
    }

    /// Takes all whole records of one file.
    fn records(&mut self, file: &mut dyn DiskFile, size: u64, sequence: u64) -> Result<Owner, Unsound> {
        if size > SEGMENT_BYTES_MAX {
            return Err(Unsound::Corrupt("it is larger than any segment".into()));
        }
        let mut window = Window::new(file, size);
        let header = Header::read(window.get(0, HEADER_BYTES as usize, 0));
        let life = match header {
            Ok(header) if header.sequence == sequence => header.life,
            Ok(_) => return Err(Unsound::Corrupt("it is another segment than its name says".into())),
            Err(NoHeader::Version(version)) => return Err(Unsound::Version(version)),
            Err(NoHeader::Bad) => {
                // The first record stands in its place, and is none that log lines could have made up.
                let life = life_of(window.get(HEADER_BYTES, HEAD_BYTES, 0)).unwrap_or(0);
                if window.head(HEADER_BYTES, Owner { life, sequence }, 0).is_none() {
                    return Err(if window.is_zero(0, size) { Unsound::Empty } else { Unsound::Headless });
                }
                self.notices.push(Notice::Damaged { file: file_name(sequence), bytes: HEADER_BYTES });
                life
            }
        };
        if let Ok(header) = header {
            self.index = self.index.split_off(&header.settled_below);
            self.earlier = self.earlier.split_off(&header.settled_below);
            self.next_id = self.next_id.max(header.next_id.min(NUMBER_MAX));
        }
        let owner = Owner { life, sequence };
        let mut offset = HEADER_BYTES;
        while offset < size {
            let start = offset;
            let mut ahead = STEP_BYTES;
            while offset < size && window.head(offset, owner, ahead).is_none() {
                (offset, ahead) = (offset + ALIGN_BYTES, PIECE_BYTES);
            }
            if offset > start {
                self.gap(&mut window, sequence, start, offset);
            }
            if let Some(head) = window.head(offset, owner, ahead) {
                let (kind, body_bytes, check) = (head.kind, head.body_bytes, head.body_check);
                let (body, next) = (offset + head.body_start(), offset + head.stored_bytes());
                match kind {
                    Kind::Batch => self.batch(head, Place { sequence, offset }),
                    Kind::Settled | Kind::Gone => {
                        let note = if body_bytes <= NOTE_BYTES_MAX { window.get(body, body_bytes, 0) } else { &[] };
                        if check_of(note) != check || !self.note(kind, note) {
                            let bytes = next - offset;
                            self.notices.push(Notice::Damaged { file: file_name(sequence), bytes });
                        }
                    }
                }
                offset = next;
            }
        }
        Ok(owner)
    }

    /// Bytes that are no record: the rest of a write's last sector is zeros. Before another record all else is damage, or
    /// what a loss of power left of what was not synced. At the end it is a write that was never finished.
    fn gap(&mut self, window: &mut Window<'_>, sequence: u64, start: u64, end: u64) {
        let file = file_name(sequence);
        let filled = start.next_multiple_of(SECTOR_BYTES);
        if end >= window.size {
            if !window.is_zero(start, end) {
                self.notices.push(Notice::Torn { file });
            }
        } else if end != filled || !window.is_zero(start, end) {
            self.notices.push(Notice::Damaged { file, bytes: end - start });
        }
    }

    fn batch(&mut self, head: Head<'_>, place: Place) {
        let Head { id, lines, bytes, .. } = head;
        self.next_id = self.next_id.max(id + 1);
        // A loss of power brings back what was evicted, until the note of it is reached: so twice as many.
        if self.index.len() / 2 >= self.limits.batches_max && !self.index.contains_key(&id) {
            let Notice::Surplus { batches, lines: all_lines, bytes: all_bytes } = &mut self.surplus else { return };
            *batches += 1;
            *all_lines = all_lines.saturating_add(lines);
            *all_bytes = all_bytes.saturating_add(bytes);
            return;
        }
        let tenant = match self.tenants.get(head.tenant) {
            Some(known) => known.clone(),
            None => Arc::from(head.tenant),
        };
        self.tenants.insert(tenant.clone());
        self.settled.remove(id);
        self.gone.remove(id);
        let stored = Stored { place, stored_bytes: head.stored_bytes(), tenant, lines, bytes };
        if let Some(earlier) = self.index.insert(id, stored) {
            let copies = self.earlier.entry(id).or_default();
            copies.push(earlier);
            copies.drain(..copies.len().saturating_sub(COPIES_MAX));
        }
    }

    fn note(&mut self, kind: Kind, body: &[u8]) -> bool {
        let Some(ranges) = ranges_of(body) else { return false };
        for (start, end) in ranges {
            while let Some(id) = self.index.range(start..end.max(start)).next().map(|(id, _)| *id) {
                self.index.remove(&id);
                self.earlier.remove(&id);
            }
            if kind == Kind::Settled {
                self.settled.insert_range(start, end);
                self.next_id = self.next_id.max(end);
            } else {
                self.gone.insert_range(start, end);
            }
        }
        self.gone.keep_highest(super::SETTLED_RANGES_MAX);
        self.settled.keep_highest(super::SETTLED_RANGES_MAX);
        true
    }

    /// Looks at the blocks of the newest batches: there is what was not finished. Older ones are looked at when they are
    /// read.
    fn finish(mut self) -> Recovered {
        let mut newest: Vec<(Place, u64)> = self.index.iter().map(|(id, stored)| (stored.place, *id)).collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = self.limits.checked_bytes_max;
        let mut damaged = Vec::new();
        let mut open = None;
        for (_, id) in newest {
            let Some(stored) = self.index.get(&id).filter(|stored| stored.stored_bytes <= left).cloned() else { break };
            left -= stored.stored_bytes;
            if self.is_whole(stored.place, &mut open) {
                continue;
            }
            let copies = self.earlier.remove(&id).unwrap_or_default();
            match copies.into_iter().rev().find(|copy| self.is_whole(copy.place, &mut open)) {
                Some(copy) => self.index.insert(id, copy),
                None => {
                    damaged.push(stored.described(id));
                    self.index.remove(&id)
                }
            };
        }
        damaged.sort_unstable_by_key(|batch| batch.id);
        for stored in self.index.values() {
            if let Some(segment) = self.chain.segment(stored.place.sequence) {
                segment.batches += 1;
            }
        }
        if !matches!(self.surplus, Notice::Surplus { batches: 0, .. }) {
            self.notices.push(self.surplus);
        }
        let Recovery { chain, index, settled, gone, next_id, notices, .. } = self;
        Recovered { chain, index, settled, gone, next_id, damaged, notices }
    }

    /// `open`: the file that was looked at last.
    fn is_whole(&mut self, place: Place, open: &mut OpenFile) -> bool {
        if open.as_ref().is_none_or(|(sequence, _)| *sequence != place.sequence) {
            *open = self.chain.disk().open(&file_name(place.sequence)).ok().map(|file| (place.sequence, file));
        }
        let owner = self.chain.segment(place.sequence).map(|segment| segment.owner);
        open.as_mut().zip(owner).is_some_and(|((_, file), owner)| is_whole(&mut **file, place, owner))
    }
}

type OpenFile = Option<(u64, Box<dyn DiskFile>)>;

/// The block of a record has its checksum.
fn is_whole(file: &mut dyn DiskFile, place: Place, owner: Owner) -> bool {
    let Ok(size) = file.size() else { return false };
    let mut window = Window::new(file, size);
    let Some(head) = window.head(place.offset, owner, PIECE_BYTES) else { return false };
    let (check, start) = (head.body_check, place.offset + head.body_start());
    let end = start + head.body_bytes as u64;
    let mut crc = Crc::new();
    let mut at = start;
    while at < end {
        let piece = window.get(at, PIECE_BYTES.min((end - at) as usize), 0);
        if piece.is_empty() {
            return false;
        }
        crc.update(piece);
        at += piece.len() as u64;
    }
    crc.sum() == check
}

/// Looks at any part of a file, of which it keeps a piece. What cannot be read is filled with ones.
struct Window<'f> {
    file: &'f mut dyn DiskFile,
    size: u64,
    piece: Vec<u8>,
    /// Where the piece begins.
    start: u64,
}

impl<'f> Window<'f> {
    fn new(file: &'f mut dyn DiskFile, size: u64) -> Self {
        Window { file, size, piece: Vec::new(), start: 0 }
    }

    /// So many bytes from `offset`, or what there is up to the end of the file. `ahead`: bytes that will be wanted next.
    fn get(&mut self, offset: u64, length: usize, ahead: usize) -> &[u8] {
        let length = (length as u64).min(self.size.saturating_sub(offset)) as usize;
        let is_there = offset >= self.start && offset + length as u64 <= self.start + self.piece.len() as u64;
        if !is_there {
            self.fill(offset, length.max(ahead));
        }
        let at = (offset - self.start) as usize;
        // Past the end of the file there is nothing.
        self.piece.get(at..at + length).unwrap_or_default()
    }

    fn fill(&mut self, offset: u64, length: usize) {
        const NOTHING: u8 = 0xff;
        self.start = offset / SECTOR_BYTES * SECTOR_BYTES;
        let end = (offset + length as u64).min(self.size).max(self.start);
        self.piece.clear();
        self.piece.resize((end - self.start) as usize, 0);
        match self.file.read_at(self.start, &mut self.piece) {
            Ok(read) => self.piece[read..].fill(NOTHING),
            // A bad place of the disk takes no more with it than it must.
            Err(_) => {
                for (at, sector) in self.piece.chunks_mut(SECTOR_BYTES as usize).enumerate() {
                    let read = self.file.read_at(self.start + at as u64 * SECTOR_BYTES, sector).unwrap_or(0);
                    sector[read..].fill(NOTHING);
                }
            }
        }
    }

    /// The head of a record that begins here, and ends before the file does.
    fn head(&mut self, offset: u64, owner: Owner, ahead: usize) -> Option<Head<'_>> {
        let size = self.size;
        let head = self.get(offset, HEAD_BYTES, ahead);
        if life_of(head) != Some(owner.life) {
            return None;
        }
        let length = HEAD_BYTES + tenant_bytes_of(head);
        let head = Head::read(self.get(offset, length, ahead), owner, offset)?;
        (head.stored_bytes() <= size - offset).then_some(head)
    }

    fn is_zero(&mut self, mut start: u64, end: u64) -> bool {
        while start < end.min(self.size) {
            let piece = self.get(start, PIECE_BYTES.min((end - start) as usize), 0);
            if piece.iter().any(|byte| *byte != 0) {
                return false;
            }
            start += piece.len() as u64;
        }
        true
    }
}
