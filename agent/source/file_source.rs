//! The life of one log: followed by its path through appending, rotation, truncation and deletion.
//!
//! Polling is the whole truth: each [`poll`](FileSource::poll) looks at what stands at the path, finds older files
//! when that changed, and reads on, oldest file first. What a file is called matters little: while it is open, device
//! and inode name it for certain, and later its first bytes and the bytes before the cursor do.
//!
//! An old file stays open after its rotation, because its writer may not have noticed yet; it is closed when it lost
//! its name or was compressed, and was read to its end after that was seen. Never by a timer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Line;
use super::filesystem::{FileSystem, Metadata, OpenError, Refusal};
use super::generation::{Cursor, End, FINGERPRINT_BYTES, Fingerprint, Generation, Identity, Phase, Reader};
use super::line_buffer::LineBuffer;

/// A file that is rewritten faster than it is read ends the poll.
const REWRITES_MAX: usize = 8;
/// The older files of a busy log are looked for after so many polls that found it changed, even if nothing tells of a
/// rotation: a copy may have been made of what was not read yet, or an old file may have grown late.
const LOOK_AFTER_POLLS: u8 = 40;

/// Which of the files that were rotated before the first poll belong to the source. Files with kubelet's names always
/// do, and so does everything rotated later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// All that are still there.
    Beginning,
    /// None: the current file only, from its first byte, as Promtail does.
    CurrentOnly,
}

/// What came of a poll.
#[derive(Debug, Default)]
pub struct Progress {
    /// By how much the cursors moved, in decompressed bytes.
    pub bytes: u64,
    pub lines: u64,
    /// The budget ended before the files did.
    pub more: bool,
    /// Bytes after the cursors, an unfinished last line among them; compressed ones count as they are.
    pub lag_bytes: u64,
    /// Nothing more can come: every file is read, closed, and without a name at the path.
    pub finished: bool,
    /// What the caller should count and log. The same trouble is told once, not at every poll.
    pub notices: Vec<Notice>,
}

/// Something that may have cost lines, or will if it stays.
#[derive(Debug)]
pub enum Notice {
    NotOpened {
        path: PathBuf,
        error: OpenError,
    },
    /// A file or directory could not be read or looked at; tried again with each poll.
    NotRead {
        path: PathBuf,
        error: io::Error,
    },
    /// The file was truncated or rewritten in place. `offset` is how far it was read before; unread bytes are lost
    /// unless a copy stands beside it.
    Rewritten {
        generation: u32,
        offset: u64,
    },
    /// A compressed file ended in an error after what was readable.
    BrokenGz {
        generation: u32,
        offset: u64,
        error: io::Error,
    },
    /// A file that a former run had not read to its end is gone.
    Vanished {
        identity: Identity,
    },
}

/// What was told last, so that it is told once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Refused(Refusal),
    Io(io::ErrorKind),
}

impl Told {
    pub(super) fn of(error: &OpenError) -> Told {
        match error {
            OpenError::Refused(refusal) => Told::Refused(*refusal),
            OpenError::Io(error) => Told::Io(error.kind()),
        }
    }
}

pub struct FileSource {
    pub(super) path: Arc<Path>,
    /// Where the path's links lead: the older files stand there. `None`: it has none.
    pub(super) linked_to: Option<Box<Path>>,
    pub(super) start: Start,
    /// Oldest first; the one in `Phase::Current`, if any, is at the path.
    pub(super) generations: Vec<Generation>,
    next_generation: u32,
    /// The older files have to be looked for again.
    pub(super) look: bool,
    /// Polls since then that found the current file changed.
    pub(super) changes: u8,
    /// They were looked for at least once: what is unknown now was rotated while we watched.
    pub(super) looked: bool,
    /// Nothing stood at the path; with `looked_missing`, and the older files were looked for after that again.
    missing: bool,
    looked_missing: bool,
    /// The trouble of the last poll, and of this one.
    told: Option<Told>,
    telling: Option<Told>,
}

impl FileSource {
    /// `path` is absolute.
    pub fn new(path: impl Into<Arc<Path>>, start: Start) -> Self {
        FileSource {
            path: path.into(),
            linked_to: None,
            start,
            generations: Vec::new(),
            next_generation: 0,
            look: true,
            changes: 0,
            looked: false,
            missing: false,
            looked_missing: false,
            told: None,
            telling: None,
        }
    }

    /// Goes on where another run of the agent stopped: `known` are its [`identities`](Self::identities), oldest
    /// first. Damaged ones are left out, and their files read from the front.
    pub fn resume(path: impl Into<Arc<Path>>, start: Start, known: impl IntoIterator<Item = Identity>) -> Self {
        let mut source = FileSource::new(path, start);
        for identity in known.into_iter().filter(Identity::is_sound) {
            let id = source.next_id();
            source.generations.push(Generation { id, ..Generation::closed(identity) });
        }
        source.looked = !source.generations.is_empty();
        source
    }

    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// The known files, oldest first, with their cursors: what has to be stored to go on after a restart.
    pub fn identities(&self) -> impl Iterator<Item = (u32, &Identity)> {
        self.generations.iter().map(|generation| (generation.id, &generation.identity))
    }

    /// Something happened to an older file: the next poll looks for them again.
    pub fn look_again(&mut self) {
        self.look = true;
    }

    /// Reads on. `buffer` is scratch space of the worker; the budget may be passed by one buffer.
    pub fn poll(
        &mut self,
        fs: &dyn FileSystem,
        buffer: &mut LineBuffer,
        budget_bytes: u64,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> Progress {
        self.run(fs, buffer, budget_bytes, false, sink)
    }

    /// Reads everything to its end, hands out unterminated last lines as they are, and closes the files. For a source
    /// that nobody wants any more, and to count a file once.
    pub fn finish(&mut self, fs: &dyn FileSystem, buffer: &mut LineBuffer, sink: &mut dyn FnMut(Line<'_>)) -> Progress {
        let mut progress = self.run(fs, buffer, u64::MAX, true, sink);
        for generation in self.generations.iter_mut().filter(|generation| generation.is_open()) {
            generation.close(Phase::Parked);
        }
        progress.finished = true;
        progress
    }

    fn run(
        &mut self,
        fs: &dyn FileSystem,
        buffer: &mut LineBuffer,
        budget_bytes: u64,
        last: bool,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> Progress {
        let mut progress = Progress::default();
        self.told = self.telling.take();
        let at_path = self.look_at_path(fs, &mut progress);
        if self.look {
            self.find_older(fs, &mut progress);
        }
        let mut reading = Reading { buffer, budget_bytes, last, at_path, sink };
        for _ in 0..REWRITES_MAX {
            (progress.more, progress.lag_bytes) = (false, 0);
            if !self.read(&mut reading, &mut progress) {
                break;
            }
            progress.more = true;
            // A copy of what stood there before may hold lines that were not read (logrotate's copytruncate).
            self.find_older(fs, &mut progress);
        }
        progress.finished = self.is_finished();
        progress
    }

    /// Finds out what stands at the path now, and makes it the current generation.
    fn look_at_path(&mut self, fs: &dyn FileSystem, progress: &mut Progress) -> Option<Metadata> {
        let at_path = match fs.metadata(&self.path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let path = self.path.to_path_buf();
                self.tell(progress, Told::Io(error.kind()), Notice::NotRead { path, error });
                return None;
            }
        };
        let current = self.generations.iter().position(|generation| generation.phase == Phase::Current);
        if let (Some(metadata), Some(index)) = (&at_path, current)
            && self.generations[index].is_file(metadata)
        {
            let changed = self.generations[index].read_to != Some((metadata.size_bytes, metadata.modified));
            self.changes += u8::from(changed);
            self.look |= self.changes >= LOOK_AFTER_POLLS;
            return at_path;
        }
        if let Some(index) = current {
            self.generations[index].phase = Phase::Rotated;
            self.look = true;
        }
        self.missing = at_path.is_none();
        let metadata = at_path?;
        self.looked_missing = false;
        let renamed_back = self.generations.iter().position(|g| g.is_open() && g.is_file(&metadata));
        if let Some(index) = renamed_back {
            self.make_current(index);
            return Some(metadata);
        }
        match self.open_current(fs) {
            Ok(opened) => Some(opened),
            Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let path = self.path.to_path_buf();
                self.tell(progress, Told::of(&error), Notice::NotOpened { path, error });
                None
            }
        }
    }

    fn open_current(&mut self, fs: &dyn FileSystem) -> Result<Metadata, OpenError> {
        let mut opened = Generation::open(fs, &self.path)?;
        let metadata = opened.metadata()?;
        let mut space = [0; FINGERPRINT_BYTES];
        let head = opened.head(&mut space)?;
        // Only after a restart: files that this run closed are known under a rotated name.
        let known = self.generations.iter().rposition(|g| g.phase == Phase::Parked && g.is_content_of(&opened, head));
        let index = match known {
            Some(index) => {
                self.generations[index].reopen(opened, Phase::Current);
                index
            }
            None => {
                opened.id = self.next_id();
                self.generations.reserve_exact(1);
                self.generations.push(opened);
                self.generations.len() - 1
            }
        };
        self.make_current(index);
        self.look = true;
        self.linked_to = fs.resolve(&self.path).ok().filter(|to| **to != *self.path).map(PathBuf::into_boxed_path);
        Ok(metadata)
    }

    fn make_current(&mut self, index: usize) {
        let mut generation = self.generations.remove(index);
        generation.phase = Phase::Current;
        generation.lasting_name = None;
        self.generations.push(generation);
    }

    /// Reads all open generations on, oldest first. True: one was rewritten in place, and all has to be read again.
    fn read(&mut self, reading: &mut Reading<'_>, progress: &mut Progress) -> bool {
        for index in 0..self.generations.len() {
            if !self.generations[index].is_open() {
                continue;
            }
            match self.read_one(index, reading, progress) {
                Ok(true) => {
                    self.rewritten(index, progress);
                    return true;
                }
                Ok(false) => {}
                Err(error) => {
                    let path = self.path.to_path_buf();
                    self.tell(progress, Told::Io(error.kind()), Notice::NotRead { path, error });
                }
            }
        }
        false
    }

    fn read_one(&mut self, index: usize, reading: &mut Reading<'_>, progress: &mut Progress) -> io::Result<bool> {
        let generation = &mut self.generations[index];
        let metadata = match reading.at_path.filter(|_| generation.phase == Phase::Current) {
            Some(metadata) => metadata,
            None => generation.metadata()?,
        };
        if generation.phase == Phase::Rotated && metadata.links == 0 {
            generation.phase = Phase::Ending;
        }
        let state = (metadata.size_bytes, metadata.modified);
        let last = reading.last || generation.phase == Phase::Ending;
        if last || generation.read_to != Some(state) {
            let before = generation.identity.cursor.offset;
            let (end, lines) = generation.read(reading.buffer, &mut reading.budget_bytes, last, reading.sink);
            progress.bytes += generation.identity.cursor.offset - before;
            progress.lines += lines;
            generation.read_to = None;
            match end {
                End::OfFile => {
                    generation.read_to = Some(state);
                    if generation.phase == Phase::Ending {
                        generation.close(Phase::Done);
                    }
                }
                End::OfBudget => progress.more = true,
                End::Rewritten => return Ok(true),
                End::Failed(error) if generation.is_gz() => {
                    let (id, offset) = (generation.id, generation.identity.cursor.offset);
                    progress.notices.push(Notice::BrokenGz { generation: id, offset, error });
                    generation.close(Phase::Done);
                }
                End::Failed(error) => return Err(error),
            }
        }
        progress.lag_bytes += generation.lag_bytes(metadata.size_bytes);
        Ok(false)
    }

    /// The file of one generation is another one now: a new generation takes the handle. The old one is kept as known,
    /// so that a copy of it is recognised.
    pub(super) fn rewritten(&mut self, index: usize, progress: &mut Progress) {
        let id = self.next_id();
        let old = &mut self.generations[index];
        let (generation, offset) = (old.id, old.identity.cursor.offset);
        progress.notices.push(Notice::Rewritten { generation, offset });
        let identity = Identity { fingerprint: Fingerprint::EMPTY, cursor: Cursor::START, ..old.identity };
        let reader = std::mem::replace(&mut old.reader, Reader::Closed);
        let new = Generation { id, reader, phase: old.phase, ..Generation::closed(identity) };
        old.close(Phase::Parked);
        // What it may have lost was told just now.
        old.read_to = Some((offset, 0));
        self.generations.insert(index + 1, new);
    }

    /// The older files are looked for once more before the end: one may have been rotated away unseen.
    fn is_finished(&mut self) -> bool {
        let ended = self.missing && self.next_generation > 0 && !self.generations.iter().any(Generation::is_open);
        if ended && !self.looked_missing {
            self.looked_missing = true;
            self.look = true;
        }
        ended && !self.look
    }

    pub(super) fn next_id(&mut self) -> u32 {
        self.next_generation += 1;
        self.next_generation - 1
    }

    /// Tells of a trouble unless the last poll had the same.
    pub(super) fn tell(&mut self, progress: &mut Progress, told: Told, notice: Notice) {
        if self.note(told) {
            progress.notices.push(notice);
        }
    }

    /// Whether this trouble is new.
    pub(super) fn note(&mut self, told: Told) -> bool {
        self.telling = Some(told);
        self.told != Some(told)
    }
}

/// What a poll reads with.
struct Reading<'r> {
    buffer: &'r mut LineBuffer,
    budget_bytes: u64,
    last: bool,
    /// The current generation's, taken before anything was read.
    at_path: Option<Metadata>,
    sink: &'r mut dyn FnMut(Line<'_>),
}

#[cfg(test)]
mod tests;
