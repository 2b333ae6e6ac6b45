//! Reading the files of a source on, oldest first, and what may go wrong with that.

use super::file::{FileSource, Moment, is_absence};
use super::filesystem::Metadata;
use super::generation::{End, Generation, Phase, Reader, state};
use super::identity::{Cursor, Fingerprint, Identity};
use super::line_buffer::{Line, LineBuffer};
use super::notice::{Notice, Progress};
use super::open::Refusal;
use std::io;
use std::path::PathBuf;

/// A file that is rewritten faster than it is read ends the poll.
const REWRITES_MAX: usize = 8;
/// After so many failures in a row the rest of a file is given up.
const TRIES_MAX: u32 = 10;

/// What a poll reads with.
pub(super) struct Reading<'r> {
    pub moment: Moment<'r>,
    pub buffer: &'r mut LineBuffer,
    pub budget_bytes: u64,
    pub last: bool,
    /// The current generation's, taken before anything was read.
    pub at_path: Option<Metadata>,
    pub take: &'r mut dyn FnMut(Line<'_>),
}

/// How to go on after one file.
enum Next {
    File,
    /// It was rewritten, or its name is gone: all has to be looked at again.
    Look,
    /// No file can be opened now.
    Stop,
}

impl FileSource {
    /// Reads all followed files on, oldest first.
    pub(super) fn read(&mut self, reading: &mut Reading<'_>, progress: &mut Progress) {
        for _ in 0..REWRITES_MAX {
            progress.more = false;
            if !self.read_all(reading, progress) {
                return;
            }
            progress.more = true;
            // A copy of what stood there before may hold lines that were not read (logrotate's copytruncate).
            self.find_older(reading.moment, progress);
        }
    }

    /// True: names have to be looked at, and then all has to be read again.
    fn read_all(&mut self, reading: &mut Reading<'_>, progress: &mut Progress) -> bool {
        for at in 0..self.generations.len() {
            let generation = &mut self.generations[at];
            if !generation.is_followed() || !generation.trouble.is_due(reading.moment.now) {
                continue;
            }
            match self.read_one(at, reading, progress) {
                Ok(Next::File) => self.generations[at].trouble = Default::default(),
                Ok(Next::Look) => return true,
                Ok(Next::Stop) => return false,
                Err(error) => self.failed(at, error, reading, progress),
            }
        }
        false
    }

    fn read_one(&mut self, at: usize, reading: &mut Reading<'_>, progress: &mut Progress) -> io::Result<Next> {
        let Some(metadata) = self.metadata_of(at, reading)? else { return Ok(self.lost(at)) };
        let generation = &mut self.generations[at];
        generation.size_bytes = metadata.size_bytes;
        if generation.phase == Phase::Rotated && metadata.links == 0 {
            generation.phase = Phase::Ending;
        }
        let last = reading.last || generation.phase == Phase::Ending;
        let unchanged = generation.read_to == Some(state(&metadata));
        if (unchanged && !last) || generation.identity.done {
            generation.identity.settled |= generation.phase == Phase::Rotated;
            return Ok(Next::File);
        }
        if reading.budget_bytes == 0 {
            progress.more = true;
            return Ok(Next::File);
        }
        if !generation.is_held() {
            match self.wake(at, &metadata, reading) {
                Ok(true) => {}
                Ok(false) => return Ok(self.lost(at)),
                Err(refusal) if refusal.is_passing() => {
                    (progress.starved, progress.more) = (true, false);
                    return Ok(Next::Stop);
                }
                Err(Refusal::Io(error)) => return Err(error),
                Err(refusal) => return Err(io::Error::new(io::ErrorKind::PermissionDenied, refusal)),
            }
        }
        self.read_on(at, &metadata, last, reading, progress)
    }

    fn read_on(
        &mut self,
        at: usize,
        metadata: &Metadata,
        last: bool,
        reading: &mut Reading<'_>,
        progress: &mut Progress,
    ) -> io::Result<Next> {
        let generation = &mut self.generations[at];
        let before = generation.identity.cursor.offset;
        let given = generation.read(reading.buffer, &mut reading.budget_bytes, last, reading.take);
        let offset = generation.identity.cursor.offset;
        progress.bytes += offset.saturating_sub(before);
        progress.lines += given.lines;
        progress.cut += given.cut;
        progress.nul_bytes += given.nul_bytes;
        let read_to = generation.read_to.take();
        generation.identity.settled = false;
        let notice = match given.end {
            End::OfFile => {
                generation.read_to = Some(state(metadata));
                generation.identity.settled = generation.phase != Phase::Current;
                match generation.phase {
                    Phase::Ending => generation.close(Phase::Done),
                    // Complete, so never to be read again, though it has the log's own name.
                    Phase::Current if generation.is_gz() => generation.identity.done = true,
                    _ => {}
                }
                None
            }
            End::OfBudget => {
                progress.more = true;
                None
            }
            End::Rewritten => {
                generation.read_to = read_to;
                self.rewritten(at, reading.moment, progress);
                return Ok(Next::Look);
            }
            End::Shortened => {
                let end = metadata.size_bytes;
                match generation.is_gz() {
                    true => generation.close(Phase::Done),
                    false => {
                        generation.identity.cursor = Cursor::at(end, false);
                        generation.mend(true);
                    }
                }
                progress.more = true;
                Some(Notice::Shortened { path: self.place(at, reading)?, offset, end })
            }
            // What a disk or a network says has a number; the rest is said of what is in the file.
            End::Failed(error) if generation.is_gz() && error.raw_os_error().is_none() => {
                generation.read_to = Some(state(metadata));
                generation.identity.mending = false;
                match generation.phase {
                    Phase::Current => generation.identity.done = true,
                    _ => generation.close(Phase::Done),
                }
                Some(Notice::BrokenArchive { path: self.place(at, reading)?, offset, error })
            }
            End::Failed(error) => return Err(error),
        };
        if given.mended {
            progress.notices.push(Notice::PowerLoss { path: self.place(at, reading)?, offset: before });
        }
        progress.notices.extend(notice);
        Ok(Next::File)
    }

    /// What a followed generation is now; nothing if its name is gone or another file's.
    fn metadata_of(&self, at: usize, reading: &Reading<'_>) -> io::Result<Option<Metadata>> {
        let generation = &self.generations[at];
        if generation.phase == Phase::Current
            && let Some(metadata) = reading.at_path
        {
            return Ok(Some(metadata));
        }
        if generation.is_held() {
            return generation.metadata().map(Some);
        }
        match reading.moment.fs.metadata(&self.place(at, reading)?) {
            Ok(metadata) => Ok(Some(metadata).filter(|metadata| generation.is_file(metadata))),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a generation that waits or sleeps. False: another file has its name.
    fn wake(&mut self, at: usize, metadata: &Metadata, reading: &Reading<'_>) -> Result<bool, Refusal> {
        let place = match self.generations[at].phase {
            Phase::Current => self.opener.resolve(reading.moment.fs, self.path())?,
            _ => self.place(at, reading)?,
        };
        let (opened, found) = match Generation::open(reading.moment.fs, &self.opener, &place) {
            Err(refusal) if refusal.is_absence() => return Ok(false),
            opened => opened?,
        };
        let generation = &mut self.generations[at];
        if !generation.is_file(&found) || !generation.is_file(metadata) {
            return Ok(false);
        }
        generation.reader = opened.reader;
        Ok(true)
    }

    /// Under its last name this file is no longer found: perhaps under another.
    fn lost(&mut self, at: usize) -> Next {
        self.generations[at].close(Phase::Parked);
        Next::Look
    }

    /// Where a generation lies.
    pub(super) fn place(&self, at: usize, reading: &Reading<'_>) -> io::Result<PathBuf> {
        match &self.generations[at].identity.name {
            None => Ok(self.path().to_path_buf()),
            Some(name) => match self.home(reading.moment.fs) {
                Ok(home) => Ok(home.with_file_name(name)),
                Err(Refusal::Io(error)) => Err(error),
                Err(refusal) => Err(io::Error::other(refusal)),
            },
        }
    }

    /// A file could not be read. In the end its rest is given up.
    fn failed(&mut self, at: usize, error: io::Error, reading: &Reading<'_>, progress: &mut Progress) {
        let path = self.place(at, reading).unwrap_or_else(|_| self.path().to_path_buf());
        let generation = &mut self.generations[at];
        generation.trouble.failed(reading.moment.now);
        if generation.trouble.failures == 1 {
            progress.notices.push(Notice::NotRead { path, error });
            return;
        }
        // Who may not read it now may be allowed to later; what the disk lost is lost.
        if generation.trouble.failures < TRIES_MAX || error.kind() == io::ErrorKind::PermissionDenied {
            return;
        }
        let (offset, end) = (generation.identity.cursor.offset, generation.size_bytes);
        generation.trouble = Default::default();
        // Until it changes.
        generation.read_to = generation.metadata().ok().map(|metadata| state(&metadata));
        match generation.phase {
            Phase::Current if !generation.is_gz() => generation.go_to(end.max(offset)),
            Phase::Current => generation.identity.done = true,
            _ => generation.close(Phase::Done),
        }
        progress.notices.push(Notice::Unreadable { path, offset, end });
    }

    /// The file of one generation is another one now: a new generation takes the handle. The old one is kept as known,
    /// so that a copy of it is recognised.
    pub(super) fn rewritten(&mut self, at: usize, moment: Moment<'_>, progress: &mut Progress) {
        let id = self.next_id();
        let reading_gz = self.generations[at].is_gz();
        let home = self.home(moment.fs).unwrap_or_else(|_| self.path().to_path_buf());
        let old = &mut self.generations[at];
        let path = old.identity.name.as_ref().map_or_else(|| home.clone(), |name| home.with_file_name(name));
        let offset = old.identity.cursor.offset;
        let identity = Identity {
            fingerprint: Fingerprint::EMPTY,
            cursor: Cursor::START,
            settled: false,
            done: false,
            mending: false,
            ..old.identity.clone()
        };
        let reader = std::mem::replace(&mut old.reader, Reader::Closed);
        let new = Generation { id, reader, phase: old.phase, ..Generation::closed(identity) };
        old.close(Phase::Parked);
        // An archive that begins as the file did is just not that file.
        if !reading_gz {
            old.truncated = true;
            // All was read that anyone saw.
            old.identity.settled = old.read_to.is_some();
            progress.notices.push(Notice::Rewritten { path, offset });
        }
        old.identity.inode = 0;
        self.generations.insert(at + 1, new);
    }
}
