//! The segment files of a directory, the oldest first. Knows nothing of which batch is wanted.
//!
//! | name | |
//! |---|---|
//! | `segment.N` | segment N; only the newest is written to |
//! | `aside.K.segment.N` | what could not be read, for someone to look at |

use super::segment::{HEADER_BYTES, Header, NUMBER_MAX, Owner, Record, SECTOR_BYTES};
use crate::disk::{Disk, DiskFile};
use std::collections::VecDeque;
use std::io;
use std::mem;

const SEGMENT: &str = "segment.";
const ASIDE: &str = "aside.";
/// Files that are set aside; the oldest goes first.
const ASIDES_MAX: usize = 4;
/// Bytes that wait for a write before one is made.
pub const BUFFER_BYTES: usize = 256 << 10;

pub fn file_name(sequence: u64) -> String {
    format!("{SEGMENT}{sequence}")
}

/// The sequence number that a file's name says. Numbers that no run of ours ever reached are somebody's joke.
pub fn sequence_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix(SEGMENT)?.parse().ok()?;
    // `segment.+1` and `segment.01` are not ours.
    (number < NUMBER_MAX && file_name(number) == name).then_some(number)
}

/// The number that a file was set aside under.
pub fn aside_of(name: &str) -> Option<u64> {
    let (number, rest) = name.strip_prefix(ASIDE)?.split_once('.')?;
    sequence_of(rest).and(number.parse().ok())
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub sequence: u64,
    pub offset: u64,
}

/// One file of the chain.
#[derive(Debug)]
pub struct Segment {
    pub owner: Owner,
    /// Where the next record goes, what waits in memory included.
    pub end: u64,
    /// What the file takes on the disk; more than `end` when a write failed.
    pub size: u64,
    /// All bytes before it were synced.
    pub durable: u64,
    /// A sync failed: what was not durable then never will be, whatever a later sync says.
    pub failed: bool,
    /// Batches in it that are still wanted.
    pub batches: usize,
    /// This run began it: what was not synced then, nobody was promised.
    pub is_own: bool,
}

/// A file that is of no use but to someone who looks at it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Aside {
    pub number: u64,
    pub name: String,
    pub size: u64,
}

pub struct Chain {
    disk: Box<dyn Disk>,
    pub segments: VecDeque<Segment>,
    /// Of the last segment, if this run writes to it.
    active: Option<Active>,
    /// The file that was read last.
    reader: Option<(u64, Box<dyn DiskFile>)>,
    next_sequence: u64,
    /// No name was made or removed since the directory was synced.
    names_durable: bool,
    /// Ascending.
    pub asides: Vec<Aside>,
    /// To be set aside, and to be removed, before the first segment of this run.
    pub broken: Vec<Aside>,
    pub rests: Vec<Aside>,
}

struct Active {
    file: Box<dyn DiskFile>,
    /// Bytes in the file; those of the buffer come behind.
    written: u64,
    buffer: Vec<u8>,
}

impl Chain {
    pub fn new(disk: Box<dyn Disk>, next_sequence: u64) -> Self {
        Chain {
            disk,
            segments: VecDeque::new(),
            active: None,
            reader: None,
            next_sequence,
            // What the run before left is as durable as it left it.
            names_durable: false,
            asides: Vec::new(),
            broken: Vec::new(),
            rests: Vec::new(),
        }
    }

    pub fn disk(&mut self) -> &mut dyn Disk {
        &mut *self.disk
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        let others = self.asides.iter().chain(&self.broken).chain(&self.rests).map(|file| file.size);
        self.segments.iter().map(|segment| segment.size).chain(others).fold(0, u64::saturating_add)
    }

    pub fn segment(&mut self, sequence: u64) -> Option<&mut Segment> {
        let at = self.segments.binary_search_by_key(&sequence, |segment| segment.owner.sequence).ok()?;
        self.segments.get_mut(at)
    }

    /// The segment that is written to.
    pub fn active(&self) -> Option<&Segment> {
        self.active.as_ref().and(self.segments.back())
    }

    /// Bytes that wait for a write.
    pub fn buffered(&self) -> usize {
        self.active.as_ref().map_or(0, |active| active.buffer.len())
    }

    /// Makes a new file the active one. What is buffered must have been flushed.
    pub fn begin(&mut self, settled_below: u64, next_id: u64) -> io::Result<()> {
        self.close_active()?;
        self.tidy_names();
        let sequence = self.next_sequence;
        // Even if that fails: whatever has the name now is not ours.
        self.next_sequence += 1;
        let file = self.disk.create(&file_name(sequence))?;
        self.names_durable = false;
        let owner = Owner { life: self.disk.random(), sequence };
        let header = Header { sequence, life: owner.life, settled_below, next_id };
        self.active = Some(Active { file, written: 0, buffer: header.bytes() });
        let (end, size) = (HEADER_BYTES, HEADER_BYTES);
        self.segments.push_back(Segment { owner, end, size, durable: 0, failed: false, batches: 0, is_own: true });
        Ok(())
    }

    /// Adds a record to what is buffered for the active segment, which must be there.
    pub fn append(&mut self, record: &Record<'_>) -> io::Result<Place> {
        let (Some(active), Some(segment)) = (&mut self.active, self.segments.back_mut()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let place = Place { sequence: segment.owner.sequence, offset: segment.end };
        record.write(&mut active.buffer, segment.owner, segment.end);
        segment.end = active.written + active.buffer.len() as u64;
        segment.size = segment.size.max(segment.end);
        Ok(place)
    }

    /// Writes what is buffered. After an error nothing of it counts as written, although a recovery may find some of it.
    pub fn flush(&mut self) -> io::Result<()> {
        let (Some(active), Some(segment)) = (&mut self.active, self.segments.back_mut()) else { return Ok(()) };
        if active.buffer.is_empty() {
            return Ok(());
        }
        let mut buffer = mem::take(&mut active.buffer);
        buffer.resize(buffer.len().next_multiple_of(SECTOR_BYTES as usize), 0);
        let written = match active.file.names() {
            Ok(0) => Err(io::ErrorKind::NotFound.into()),
            Ok(_) => active.file.write_at(active.written, &buffer),
            Err(error) => Err(error),
        };
        let Err(error) = written else {
            active.written += buffer.len() as u64;
            segment.end = active.written;
            segment.size = segment.size.max(segment.end);
            return Ok(());
        };
        segment.end = active.written;
        segment.size = active.file.size().unwrap_or(segment.size).max(segment.end);
        if active.written == 0 {
            // A file without a header holds nothing.
            let (name, size) = (file_name(segment.owner.sequence), segment.size);
            self.active = None;
            self.segments.pop_back();
            self.rests.push(Aside { number: 0, name, size });
            self.remove_rests();
        } else {
            // Some records may be whole, and what is noted of them must stand behind them.
            let _ = self.close_active();
        }
        Err(error)
    }

    /// Nothing is added to the active segment any more. It is synced before its file is let go: nobody could say later
    /// whether that failed.
    pub fn close_active(&mut self) -> io::Result<()> {
        let (Some(mut active), Some(segment)) = (self.active.take(), self.segments.back_mut()) else { return Ok(()) };
        segment.end = active.written;
        if segment.durable < segment.end {
            return sync_segment(segment, &mut *active.file, active.written);
        }
        Ok(())
    }

    /// Makes all durable that was written: notes count as much as batches. What is buffered must have been flushed.
    /// After an error some segment may be `failed`.
    pub fn sync(&mut self) -> io::Result<()> {
        let failed = self.segments.iter().any(|segment| segment.failed);
        self.sync_others()?;
        if failed { Err(io::Error::other("a sync of the file failed before")) } else { Ok(()) }
    }

    /// The same, but for what can never be.
    pub fn sync_others(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for at in 0..self.segments.len() {
            let segment = &self.segments[at];
            if segment.durable < segment.end && !segment.failed {
                result = result.and(self.sync_at(at));
            }
        }
        result.and(self.sync_names())
    }

    fn sync_at(&mut self, at: usize) -> io::Result<()> {
        let is_last = at + 1 == self.segments.len();
        let segment = &mut self.segments[at];
        match &mut self.active {
            Some(active) if is_last => {
                let synced = sync_segment(segment, &mut *active.file, active.written);
                if synced.is_err() {
                    self.active = None;
                }
                synced
            }
            _ => {
                let end = segment.end;
                sync_segment(segment, &mut *self.disk.open(&file_name(segment.owner.sequence))?, end)
            }
        }
    }

    fn sync_names(&mut self) -> io::Result<()> {
        if !self.names_durable {
            self.disk.sync()?;
            self.names_durable = true;
        }
        Ok(())
    }

    /// Fills a buffer with what is at a place. An error of kind `UnexpectedEof`: the file is shorter.
    pub fn read(&mut self, place: Place, buffer: &mut [u8]) -> io::Result<()> {
        let newest = self.segments.back().map(|segment| segment.owner.sequence);
        let file = match &mut self.active {
            Some(active) if newest == Some(place.sequence) => &mut active.file,
            _ => {
                if self.reader.as_ref().is_none_or(|(sequence, _)| *sequence != place.sequence) {
                    self.reader = None;
                    let file = self.disk.open(&file_name(place.sequence))?;
                    self.reader = Some((place.sequence, file));
                }
                match &mut self.reader {
                    Some((_, file)) => file,
                    None => return Err(io::ErrorKind::NotFound.into()),
                }
            }
        };
        let read = file.read_at(place.offset, buffer)?;
        if read == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Removes the oldest segment. A power loss must not bring it back and take a later one, which says that its batches
    /// are settled: so everything before is durable when its name goes.
    pub fn remove_oldest(&mut self) -> io::Result<Option<Segment>> {
        self.sync_names()?;
        let Some(segment) = self.segments.front() else { return Ok(None) };
        let sequence = segment.owner.sequence;
        match self.disk.remove(&file_name(sequence)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.names_durable = false;
        // An open file keeps its room.
        self.reader.take_if(|(open, _)| *open == sequence);
        if self.segments.len() == 1 {
            self.active = None;
        }
        Ok(self.segments.pop_front())
    }

    /// What a segment holds whose sync failed is written elsewhere now: it is never synced again. If it never was, nothing
    /// in it counts.
    pub fn give_up(&mut self, sequence: u64) {
        let Some(segment) = self.segment(sequence) else { return };
        let is_rest = segment.is_own && segment.durable == 0 && segment.batches == 0;
        (segment.failed, segment.durable) = (false, segment.end);
        let (name, size) = (file_name(sequence), segment.size);
        if is_rest {
            self.drop_removed(&[sequence]);
            self.rests.push(Aside { number: 0, name, size });
            self.remove_rests();
        }
    }

    /// Removes what was set aside first. False: there is nothing.
    pub fn remove_aside(&mut self) -> bool {
        if self.asides.is_empty() {
            return false;
        }
        let _ = self.disk.remove(&self.asides.remove(0).name);
        true
    }

    /// The sequence numbers of segments whose files someone took away. Makes the directory again if it is gone.
    pub fn removed(&mut self) -> io::Result<Vec<u64>> {
        if self.disk.restore()? {
            self.names_durable = false;
        }
        let names = self.disk.list()?;
        let there: std::collections::BTreeSet<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
        let sequences = self.segments.iter().map(|segment| segment.owner.sequence);
        Ok(sequences.filter(|sequence| !there.contains(sequence)).collect())
    }

    /// Drops segments from the list. Their files are gone.
    pub fn drop_removed(&mut self, sequences: &[u64]) {
        let newest = self.segments.back().map(|segment| segment.owner.sequence);
        if newest.is_some_and(|newest| sequences.contains(&newest)) {
            self.active = None;
        }
        self.reader.take_if(|(open, _)| sequences.contains(open));
        self.segments.retain(|segment| !sequences.contains(&segment.owner.sequence));
    }

    /// Renames what was found broken so that nobody takes it for a segment. What fails here is done the next time.
    fn tidy_names(&mut self) {
        self.remove_rests();
        for mut file in mem::take(&mut self.broken) {
            let number = self.asides.last().map_or(1, |aside| aside.number.saturating_add(1));
            let name = format!("{ASIDE}{number}.{}", file.name);
            match self.disk.rename(&file.name, &name) {
                Ok(()) => {
                    (file.number, file.name) = (number, name);
                    self.asides.push(file);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => self.broken.push(file),
            }
            self.names_durable = false;
        }
        while self.asides.len() > ASIDES_MAX {
            self.remove_aside();
        }
    }

    fn remove_rests(&mut self) {
        let disk = &mut self.disk;
        self.rests.retain(|file| match disk.remove(&file.name) {
            Ok(()) => false,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        });
    }
}

/// Of `end` bytes, which were written.
fn sync_segment(segment: &mut Segment, file: &mut dyn DiskFile, end: u64) -> io::Result<()> {
    match file.sync() {
        Ok(()) => {
            segment.durable = end;
            Ok(())
        }
        Err(error) => {
            segment.failed = true;
            Err(error)
        }
    }
}

/// There is no room for more, on the disk or by a quota.
pub fn is_full(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG))
        || error.kind() == io::ErrorKind::StorageFull
}
