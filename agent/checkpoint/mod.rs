//! The state directory: slots that hold bytes, changed in batches of which each is there whole or not at all, whatever
//! happens to the process, the machine or the disk. docs/state.md draws the format.
//!
//! A **generation** is one file: an image of all slots, and behind it a log of batches with room that is written once
//! and then only overwritten. When the room is used up the next generation begins with a new image; the one before it
//! is kept for the case that the newer is damaged, and the file before that becomes the next.
//!
//! Opening changes nothing. Each run begins a generation of its own with its first snapshot, so that nothing of an
//! unfinished batch is ever in the way of another, and what was found broken is said again and again until something
//! better is on the disk.

mod batch;
mod generations;
mod machine;
mod notice;
pub mod positions;
mod recovery;
mod sector;

pub use machine::{boot_id, machine_id};
pub use notice::{CheckpointError, ErrorKind, Notice};

use crate::disk::{Disk, DiskFile};
use crate::keep::{Entries, Keep, Slot};
use batch::{BatchWriter, Place, Written};
use generations::{NEXT, file_name};
use recovery::{End, IMAGE_BATCHES, Unsound};
use sector::{CLOSED, Header, MARKED, SECTOR_BYTES, SETTLED, SYNCED, foot};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Log behind an image before a snapshot is wanted, where half the image is not more.
    pub log_bytes_min: u64,
    /// Bytes of one generation; a larger one is neither written nor read.
    pub state_bytes_max: u64,
    /// Slots of one image; more are neither written nor read.
    pub slots_max: u64,
    /// Files that are set aside, each at most `state_bytes_max` large; the oldest goes first.
    pub asides_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { log_bytes_min: 4 << 20, state_bytes_max: 1 << 30, slots_max: 4_000_000, asides_max: 4 }
    }
}

/// One open state directory.
pub struct Checkpoint {
    disk: Box<dyn Disk>,
    limits: Limits,
    /// The random number of the directory.
    directory: u64,
    /// The newest generation that was read or written.
    newest: Option<u64>,
    /// The number of the last batch that was begun or recovered.
    batch: u64,
    /// None: the next that is written must be a snapshot.
    log: Option<Log>,
    /// Files to set aside once a generation of this run is durable.
    broken: Vec<String>,
    /// Bytes of the newest image.
    image_bytes: u64,
    /// Bytes given to the disk since the opening.
    written_bytes: u64,
}

/// The newest generation, to which batches are added.
struct Log {
    file: Box<dyn DiskFile>,
    life: u64,
    /// Where the log began, where the next batch goes, and where the file's foot is.
    start: u64,
    next: u64,
    foot: u64,
    /// All batches are durable.
    settled: bool,
}

/// What a state directory held.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// After the last whole batch. Tables that the caller does not know are a newer program's: it puts them into its
    /// images as they are.
    pub entries: Entries,
    /// Slots that differ from what they held at the last marked batch, and what that was; ascending. If there never was
    /// a marked batch, all slots held nothing.
    pub before: Vec<(Slot, Option<Box<[u8]>>)>,
    /// Batches that were ever written to this directory; 0: this is the first run.
    pub batches: u64,
    /// The last batch was durable before it was acknowledged: a power loss took nothing but what came after it.
    pub synced: bool,
    /// The run before ended by [`Checkpoint::close`].
    pub clean: bool,
    /// A random number that is the directory's for ever; copies have it too. 0: this is the first run.
    pub directory: u64,
}

pub struct Opened {
    pub checkpoint: Checkpoint,
    pub recovered: Recovered,
    /// To be counted. They come again with each opening until the first snapshot after it.
    pub notices: Vec<Notice>,
}

impl Checkpoint {
    /// Reads what is there, and changes nothing. Whatever is in the files, this gives a state: the newest, or an
    /// earlier one or none, with a notice. An error is the directory's (it cannot be listed) or the machine's (no file
    /// descriptors): another time it may be read, so nothing should be counted from zero before.
    pub fn open(mut disk: Box<dyn Disk>, limits: Limits) -> Result<Opened, CheckpointError> {
        let generations = generations::listed(&mut *disk)?;
        let (mut recovered, mut notices, mut broken) = (Recovered::default(), Vec::new(), Vec::new());
        let mut newest = None;
        for generation in generations {
            let file = file_name(generation);
            let read = match disk.open(&file) {
                Ok(mut opened) => recovery::read(&mut *opened, generation, &limits),
                Err(error) => Err(Unsound::from(error)),
            };
            match read {
                Ok(found) => {
                    newest = Some(generation);
                    notices.extend(notice_of(&found, &file, broken.is_empty()));
                    recovered = Recovered {
                        entries: found.entries,
                        before: found.before,
                        batches: found.batch,
                        synced: found.synced,
                        clean: found.closed && notices.is_empty(),
                        directory: found.header.directory,
                    };
                    break;
                }
                Err(Unsound::Passing(error)) => return Err(CheckpointError::io("the state cannot be read now", error)),
                Err(Unsound::Version(version)) => notices.push(Notice::Version { file: file.clone(), version }),
                Err(Unsound::Corrupt(why, batches)) => {
                    notices.push(Notice::Corrupt { file: file.clone(), why, batches });
                }
            }
            broken.push(file);
        }
        let batch = recovered.batches;
        for notice in &mut notices {
            // So far this was the highest number in the file.
            if let Notice::Corrupt { batches, .. } = notice {
                *batches = batches.saturating_sub(batch);
            }
        }
        let directory = if recovered.directory != 0 { recovered.directory } else { disk.random() | 1 };
        let checkpoint =
            Checkpoint { disk, limits, directory, newest, batch, log: None, broken, image_bytes: 0, written_bytes: 0 };
        Ok(Opened { checkpoint, recovered, notices })
    }

    /// The log has no room, is not trusted, or is not begun: [`append`](Self::append) fails before the next
    /// [`snapshot`](Self::snapshot).
    #[cfg(test)]
    fn needs_snapshot(&self) -> bool {
        self.log.is_none()
    }

    /// It is time for a snapshot, or needed.
    pub fn wants_snapshot(&self) -> bool {
        let full = |log: &Log| (log.next - log.start) * SECTOR_BYTES as u64 >= self.log_bytes(self.image_bytes);
        self.log.as_ref().is_none_or(full)
    }

    /// Bytes given to the disk since the opening, the zeroes of a fresh file not counted.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// The state lives in memory: nothing outlives the machine.
    pub fn is_volatile(&self) -> bool {
        self.disk.is_volatile()
    }

    /// Adds one batch. `marked`: it is made for a scrape. `sync`: it is durable when this returns; else it is when a
    /// later one is, and outlives the process but not the machine.
    ///
    /// After an error nothing can be added before the next snapshot. [`ErrorKind::Full`] is no fault: the log has no
    /// room, or needs a snapshot anyway.
    pub fn append(
        &mut self,
        fill: &mut dyn FnMut(&mut dyn Keep),
        marked: bool,
        sync: bool,
    ) -> Result<(), CheckpointError> {
        // Taken, so that whatever fails leaves none behind.
        let Some(mut log) = self.log.take() else {
            return Err(CheckpointError::new(ErrorKind::Full, "a snapshot must come first"));
        };
        self.batch += 1;
        let next = log.next;
        log.append(self.batch, fill, marked, sync)?;
        self.written_bytes += (log.next - next) * SECTOR_BYTES as u64;
        self.log = Some(log);
        Ok(())
    }

    /// Begins a generation: an image of all slots as of the last marked batch, and what changed since. Both may come in
    /// any order of slots; ascending is the cheapest to read. It is always durable when this returns.
    ///
    /// An error that comes before the new file has its name leaves the log as it was, to which batches may still be
    /// added. Any other leaves none.
    pub fn snapshot(
        &mut self,
        fill_marked: &mut dyn FnMut(&mut dyn Keep),
        fill_since: &mut dyn FnMut(&mut dyn Keep),
    ) -> Result<Vec<Notice>, CheckpointError> {
        let mut notices = Vec::new();
        let restored = self.disk.restore().map_err(|error| CheckpointError::io("the directory is gone", error))?;
        let generations = generations::listed(&mut *self.disk)?;
        let generation = generations::after(&generations, self.newest);
        if restored || self.newest.is_some_and(|newest| !generations.contains(&newest)) {
            notices.push(Notice::Cleared);
            (self.log, self.newest) = (None, None);
            // Whatever is there now, this run did not write it.
            self.broken = generations.into_iter().map(file_name).collect();
        }
        let log = self.write_next(generation, fill_marked, fill_since).inspect_err(|_| {
            // Room for whoever needs it; the next attempt makes it anew.
            let _ = self.disk.remove(NEXT);
        })?;
        // From here on the new file may be what is recovered: nothing is added to the one before.
        self.log = None;
        self.batch += IMAGE_BATCHES;
        let named = self.disk.rename(NEXT, &file_name(generation)).and_then(|()| self.disk.sync());
        named.map_err(|error| CheckpointError::io("the new state could not be named", error))?;
        let previous = self.newest.replace(generation);
        self.image_bytes = log.start * SECTOR_BYTES as u64;
        self.written_bytes += self.image_bytes;
        self.log = Some(log);
        self.tidy(previous);
        Ok(notices)
    }

    /// Says that the run ended here: a batch for everything came before. The directory's lock is given back.
    pub fn close(mut self) -> Result<(), CheckpointError> {
        let Some(mut log) = self.log.take() else {
            return Err(CheckpointError::new(ErrorKind::Full, "the last state was not kept"));
        };
        let foot = foot(log.foot, CLOSED, log.life, self.batch);
        let written = log.file.write_at(log.foot * SECTOR_BYTES as u64, &foot).and_then(|()| log.file.sync());
        written.map_err(|error| CheckpointError::io("the end of the run could not be written", error))
    }

    fn log_bytes(&self, image_bytes: u64) -> u64 {
        self.limits.log_bytes_min.max(image_bytes / 2)
    }

    /// Writes a generation as a whole into the file that has no number yet.
    fn write_next(
        &mut self,
        generation: u64,
        fill_marked: &mut dyn FnMut(&mut dyn Keep),
        fill_since: &mut dyn FnMut(&mut dyn Keep),
    ) -> Result<Log, CheckpointError> {
        // What is there is only overwritten when it is not far too large.
        let reused_max = 2 * (self.image_bytes + self.log_bytes(self.image_bytes)) + self.limits.log_bytes_min;
        let (mut file, size) = generations::next_file(&mut *self.disk, reused_max)?;
        let life = self.disk.random();
        let first = self.batch + 1;
        let end = self.limits.state_bytes_max / SECTOR_BYTES as u64;
        let full = |error: CheckpointError| match error.kind {
            ErrorKind::Full => CheckpointError::new(ErrorKind::Limit, "the state is larger than may be"),
            _ => error,
        };
        let mut write = |start, batch, flags, fill: &mut dyn FnMut(&mut dyn Keep)| -> Result<Written, _> {
            let mut writer = BatchWriter::new(&mut *file, Place { start, end, life, batch, flags });
            fill(&mut writer);
            writer.finish().map_err(full)
        };
        let marked = write(1, first, MARKED | SYNCED | SETTLED, fill_marked)?;
        let since = write(marked.end, first + 1, SYNCED | SETTLED, fill_since)?;
        if marked.slots + since.slots > self.limits.slots_max {
            return Err(CheckpointError::new(ErrorKind::Limit, "there are more slots than may be"));
        }
        // A quarter more than what makes a snapshot wanted, and the foot.
        let log_bytes = self.log_bytes(since.end * SECTOR_BYTES as u64);
        let sectors = since.end + (log_bytes + log_bytes / 4).div_ceil(SECTOR_BYTES as u64) + 2;
        let old_end = size / SECTOR_BYTES as u64;
        let sectors = sectors.max(old_end).min(end.max(since.end + 2));
        let header = Header { generation, directory: self.directory, life, sectors, batch: first };
        let whole = generations::make_room(&mut *file, since.end, old_end, sectors)
            .and_then(|()| file.write_at(0, &header.bytes()))
            .and_then(|()| file.sync());
        whole.map_err(|error| CheckpointError::io("the new state could not be written", error))?;
        Ok(Log { file, life, start: since.end, next: since.end, foot: sectors - 1, settled: true })
    }

    /// Once a generation is durable: sets aside what was broken, says in the one before that it is followed, and keeps
    /// the oldest as the next. What fails here is done the next time.
    fn tidy(&mut self, previous: Option<u64>) {
        if let Some(previous) = previous {
            let _ = generations::follow(&mut *self.disk, previous);
        }
        if generations::set_aside(&mut *self.disk, &self.broken, self.limits.asides_max).is_ok() {
            self.broken.clear();
            let _ = generations::retire(&mut *self.disk, [self.newest, previous]);
        }
    }
}

impl Log {
    fn append(
        &mut self,
        batch: u64,
        fill: &mut dyn FnMut(&mut dyn Keep),
        marked: bool,
        sync: bool,
    ) -> Result<(), CheckpointError> {
        let failed = |error| CheckpointError::io("a batch could not be written", error);
        if self.file.names().map_err(failed)? == 0 {
            return Err(CheckpointError::new(ErrorKind::Removed, "the log was removed"));
        }
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        let flags = flag(marked, MARKED) | flag(sync, SYNCED) | flag(self.settled, SETTLED);
        let place = Place { start: self.next, end: self.foot, life: self.life, batch, flags };
        let mut writer = BatchWriter::new(&mut *self.file, place);
        fill(&mut writer);
        self.next = writer.finish()?.end;
        if sync {
            self.file.sync().map_err(failed)?;
        }
        self.settled = sync;
        Ok(())
    }
}

/// What a generation that could be read has to say of what it lacks. `newest`: there is no broken one after it.
fn notice_of(found: &recovery::Generation, file: &str, newest: bool) -> Option<Notice> {
    let file = file.to_string();
    match found.end {
        End::Damaged(batches) => Some(Notice::Damaged { file, batches }),
        End::Unsynced(batches) => Some(Notice::Unsynced { file, batches }),
        End::Whole if newest && found.followed => Some(Notice::Missing { file }),
        End::Whole => None,
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "damage_tests.rs"]
mod damage_tests;

#[cfg(test)]
#[path = "life_tests.rs"]
mod life_tests;
