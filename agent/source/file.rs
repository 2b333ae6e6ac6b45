//! The life of one log: followed by its path through appending, rotation, truncation and deletion.
//!
//! Polling is the whole truth: each [`poll`](FileSource::poll) looks at what stands at the path, finds older files when
//! that changed, and reads on, oldest file first. What a file is called matters little: while it is open, device and
//! inode name it for certain, and later its first bytes and the bytes before the cursor do.
//!
//! An old file stays open after its rotation, because its writer may not have noticed yet; it is closed when it lost its
//! name or was compressed, and was read to its end after that was seen. Never by a timer.

use super::backoff::Backoff;
use super::filesystem::{FileSystem, Metadata};
use super::generation::{Generation, Phase, state};
use super::identity::{FINGERPRINT_BYTES, Identity};
use super::line_buffer::{Line, LineBuffer};
use super::notice::Progress;
use super::open::{Opener, Refusal};
use super::position::Position;
use super::reading::Reading;
use super::rotation;
use super::siblings::Missed;
use crate::clock::UnixNanos;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The older files of a busy log are looked for after so many polls that found it changed, even if nothing tells of a
/// rotation: a copy may have been made of what was not read yet, or an old file may have grown late.
const LOOK_AFTER_POLLS: u8 = 40;

/// Which of the files that exist already belong to a source that was just found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The current file, and older ones with a kubelet's name (docs/adr/0007).
    Current,
    /// Every older generation too.
    Everything,
}

/// The file system, and when it is looked at: a time that never goes back.
#[derive(Clone, Copy)]
pub struct Moment<'f> {
    pub fs: &'f dyn FileSystem,
    pub now: Duration,
}

/// What is known of the time between the run that stored a source and this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// The machine went down: what was read may never have reached the disk.
    pub rebooted: bool,
}

pub struct FileSource {
    path: Arc<Path>,
    /// Where the path leads: older files lie there. Nothing until a file stood there once.
    pub(super) real: Option<Arc<Path>>,
    pub(super) opener: Opener,
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
    /// The path leads elsewhere than before: what is found there is none of ours.
    pub(super) moved: bool,
    /// Files of a former run may still have to be found.
    pub(super) resumed: bool,
    /// Where another program was, which has to be found out.
    pub(super) position: Option<Box<Position>>,
    /// Nothing stands at the path.
    missing: bool,
    /// The older files were looked for once more after all was over.
    looked_last: bool,
    /// Why the current file is not read, which file that is, and when it is tried again.
    refusal: Option<Box<Refused>>,
    /// Failing to look for older files, and those that could not be opened.
    pub(super) looking: Backoff,
    pub(super) missed: Missed,
}

type FileId = (u64, u64, Option<UnixNanos>); // Device, inode and birth: ext4 uses an inode again at once.
struct Refused {
    refusal: Refusal,
    file: Option<FileId>,
    retry: Backoff,
}

impl FileSource {
    /// `path` is absolute.
    pub fn new(path: impl Into<Arc<Path>>, opener: Opener, start: Start) -> Self {
        FileSource {
            path: path.into(),
            real: None,
            opener,
            start,
            generations: Vec::new(),
            next_generation: 0,
            look: true,
            changes: 0,
            looked: false,
            moved: false,
            resumed: false,
            position: None,
            missing: false,
            looked_last: false,
            refusal: None,
            looking: Backoff::default(),
            missed: Missed::default(),
        }
    }

    /// Goes on where another run of the agent stopped: `known` are its [`identities`](Self::identities), oldest first,
    /// `real` its [`real`](Self::real).
    pub fn resume(
        path: impl Into<Arc<Path>>,
        opener: Opener,
        start: Start,
        real: Option<Arc<Path>>,
        known: impl IntoIterator<Item = Identity>,
        resume: Resume,
    ) -> Self {
        let mut source = FileSource::new(path, opener, start);
        for mut identity in known.into_iter().filter(Identity::is_sound) {
            let id = source.next_id();
            identity.mending |= resume.rebooted;
            source.generations.push(Generation { id, ..Generation::closed(identity) });
        }
        source.real = real;
        source.looked = !source.generations.is_empty();
        source.resumed = source.looked;
        source
    }

    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    pub fn opener(&self) -> &Opener {
        &self.opener
    }

    pub fn start(&self) -> Start {
        self.start
    }

    /// Where the path led when something stood there.
    pub fn real(&self) -> Option<&Arc<Path>> {
        self.real.as_ref()
    }

    /// From now on files are opened so.
    pub fn set_opener(&mut self, opener: Opener) {
        self.opener = opener;
    }

    /// The known files, oldest first, with their cursors: what has to be stored to go on after a restart.
    pub fn identities(&self) -> impl ExactSizeIterator<Item = &Identity> {
        self.generations.iter().map(|generation| &generation.identity)
    }

    /// Why the current file is not read, if it is there and is not.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref().map(|refused| &refused.refusal)
    }

    /// Whether something that should be read cannot be at present.
    pub fn is_unreadable(&self) -> bool {
        let failing = |generation: &Generation| generation.trouble.is_failing();
        self.refusal.is_some() || self.generations.iter().any(failing) || !self.missed.refused.is_empty()
    }

    /// Bytes that were there at the last look and are not read; compressed ones count as they are.
    pub fn lag_bytes(&self) -> u64 {
        self.generations.iter().map(Generation::lag_bytes).sum()
    }

    /// The cursor in the current file.
    pub fn offset(&self) -> u64 {
        self.current().map_or(0, |at| self.generations[at].identity.cursor.offset)
    }

    /// Files that are held open.
    pub fn open_files(&self) -> usize {
        self.generations.iter().filter(|generation| generation.is_held()).count()
    }

    /// Whether it is read to its end, closed, and looked at by its path only.
    pub fn is_asleep(&self) -> bool {
        let followed = |generation: &&Generation| generation.is_followed();
        self.open_files() == 0 && self.generations.iter().any(|generation| followed(&generation))
    }

    /// Closes the files that are read to their ends. They are opened again when they change.
    pub fn sleep(&mut self) {
        self.generations.iter_mut().for_each(Generation::sleep);
    }

    /// Whether no file has the log's name, and all that was found is read.
    pub fn is_gone(&self) -> bool {
        self.is_over() && self.looked_last && !self.look
    }

    /// Whether older generations lie where the log was.
    pub fn has_rotated(&self, fs: &dyn FileSystem) -> bool {
        let Ok(home) = self.home(fs) else { return false };
        let (Some(folder), Some(base)) = (home.parent(), home.file_name()) else { return false };
        let names = fs.names(folder).unwrap_or_default();
        !rotation::generations(base, names.iter().map(OsStr::new)).is_empty()
    }

    /// Something may have happened to older files: the next poll looks for them again.
    pub fn look_again(&mut self) {
        self.look = true;
    }

    /// Looks for changes and reads whole lines. `buffer` is scratch space of the worker; the budget, in bytes, may be
    /// passed by one buffer.
    pub fn poll(
        &mut self,
        moment: Moment<'_>,
        buffer: &mut LineBuffer,
        budget_bytes: u64,
        take: &mut dyn FnMut(Line<'_>),
    ) -> Progress {
        let mut progress = Progress::default();
        let at_path = self.look(moment, &mut progress);
        self.read(&mut Reading { moment, buffer, budget_bytes, last: false, at_path, take }, &mut progress);
        if self.is_over() && !self.looked_last {
            // A file may have come and gone unseen.
            self.find_older(moment, &mut progress);
            self.looked_last = true;
            progress.more |= !self.is_over();
        }
        progress
    }

    /// The end: reads everything to its end, last lines without a newline included, and closes the files.
    pub fn finish(&mut self, moment: Moment<'_>, buffer: &mut LineBuffer, take: &mut dyn FnMut(Line<'_>)) -> Progress {
        let mut progress = Progress::default();
        let at_path = self.look(moment, &mut progress);
        self.read(&mut Reading { moment, buffer, budget_bytes: u64::MAX, last: true, at_path, take }, &mut progress);
        for generation in self.generations.iter_mut().filter(|generation| generation.is_followed()) {
            generation.close(Phase::Parked);
        }
        progress
    }

    /// Looks which files there are, without reading. Gives what stands at the path.
    pub fn look(&mut self, moment: Moment<'_>, progress: &mut Progress) -> Option<Metadata> {
        if let Some(position) = self.position.take()
            && let Err(refusal) = self.take_over(&position, moment, progress)
        {
            self.position = Some(position);
            progress.starved |= refusal.is_passing();
            self.refuse(refusal, None, moment.now);
            return None;
        }
        let at_path = self.look_at_path(moment, progress);
        if self.look && self.looking.is_due(moment.now) {
            self.find_older(moment, progress);
        }
        at_path
    }

    /// Finds out what stands at the path now, and makes it the current generation.
    fn look_at_path(&mut self, moment: Moment<'_>, progress: &mut Progress) -> Option<Metadata> {
        let at_path = match moment.fs.metadata(&self.path) {
            Ok(metadata) => Some(metadata),
            Err(error) if is_absence(&error) => None,
            Err(error) => {
                self.refuse(error.into(), None, moment.now);
                return None;
            }
        };
        let current = self.current();
        if let (Some(metadata), Some(at)) = (&at_path, current)
            && self.generations[at].is_file(metadata)
        {
            let changed = self.generations[at].read_to != Some(state(metadata));
            self.changes += u8::from(changed);
            self.look |= self.changes >= LOOK_AFTER_POLLS;
            return at_path;
        }
        if let Some(at) = current {
            let generation = &mut self.generations[at];
            // Closed, it can only be found again by what is in it.
            generation.phase = if generation.is_held() { Phase::Rotated } else { Phase::Parked };
            self.look = true;
        }
        self.missing = at_path.is_none();
        let Some(metadata) = at_path else {
            self.refusal = None;
            return None;
        };
        self.looked_last = false;
        let file = (metadata.device, metadata.inode, metadata.born);
        let waits = |refused: &Refused| refused.file == Some(file) && !refused.retry.is_due(moment.now);
        if self.refusal.as_deref().is_some_and(waits) {
            return None;
        }
        match self.open_current(moment.fs) {
            Ok(opened) => {
                self.refusal = None;
                Some(opened)
            }
            Err(refusal) if refusal.is_absence() => None,
            Err(refusal) => {
                progress.starved |= refusal.is_passing();
                self.refuse(refusal, Some(file), moment.now);
                None
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal, file: Option<FileId>, now: Duration) {
        let before = self.refusal.take().filter(|before| before.file == file);
        let mut retry = before.map_or(Backoff::default(), |before| before.retry);
        // What the machine lacks now it may have at once.
        if !refusal.is_passing() {
            retry.failed(now);
        }
        self.refusal = Some(Box::new(Refused { refusal, file, retry }));
    }

    fn open_current(&mut self, fs: &dyn FileSystem) -> Result<Metadata, Refusal> {
        let real = self.opener.resolve(fs, &self.path)?;
        let (mut opened, metadata) = Generation::open(fs, &self.opener, &real)?;
        self.leads_to(real);
        // Renamed away and back.
        if let Some(at) = self.generations.iter().position(|g| g.is_followed() && g.is_file(&metadata)) {
            if !self.generations[at].is_held() {
                self.generations[at].reader = opened.reader;
            }
            self.make_current(at);
            return Ok(metadata);
        }
        let mut space = [0; FINGERPRINT_BYTES];
        let head = opened.head(&mut space)?;
        let at = match self.known_as(fs, &opened, &metadata, head) {
            Some(at) => {
                self.generations[at].find_damage(head);
                self.generations[at].reopen(opened, Phase::Current);
                at
            }
            None => {
                opened.id = self.next_id();
                self.generations.reserve_exact(1);
                self.generations.push(opened);
                self.generations.len() - 1
            }
        };
        self.make_current(at);
        self.look = true;
        Ok(metadata)
    }

    /// Notes where the path leads.
    fn leads_to(&mut self, real: PathBuf) {
        if self.real.as_deref() == Some(&*real) {
            return;
        }
        self.moved = self.real.is_some();
        self.real = Some(if real == *self.path { Arc::clone(&self.path) } else { real.into() });
    }

    fn make_current(&mut self, at: usize) {
        let mut generation = self.generations.remove(at);
        generation.phase = Phase::Current;
        generation.identity.name = None;
        generation.identity.settled = false;
        self.generations.push(generation);
    }

    /// The real path of the log, there or not.
    pub(super) fn home(&self, fs: &dyn FileSystem) -> Result<PathBuf, Refusal> {
        if let Some(real) = &self.real {
            return Ok(real.to_path_buf());
        }
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(self.path.to_path_buf());
        };
        Ok(self.opener.resolve(fs, folder)?.join(name))
    }

    /// Nothing stands at the path, and all that was found is read.
    fn is_over(&self) -> bool {
        self.missing && !self.generations.iter().any(Generation::is_followed)
    }

    /// Opens the current generation if it sleeps.
    pub(super) fn wake_current(&mut self, moment: Moment<'_>) -> Result<(), Refusal> {
        let Some(at) = self.current().filter(|at| !self.generations[*at].is_held()) else { return Ok(()) };
        let real = self.opener.resolve(moment.fs, &self.path)?;
        let (opened, metadata) = Generation::open(moment.fs, &self.opener, &real)?;
        if !self.generations[at].is_file(&metadata) {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        self.generations[at].reader = opened.reader;
        Ok(())
    }

    fn current(&self) -> Option<usize> {
        self.generations.iter().position(|generation| generation.phase == Phase::Current)
    }

    pub(super) fn next_id(&mut self) -> u32 {
        self.next_generation += 1;
        self.next_generation - 1
    }
}

/// Nothing stands there.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "file_properties.rs"]
mod properties;

#[cfg(test)]
#[path = "life_tests.rs"]
mod life_tests;

#[cfg(test)]
#[path = "life_properties.rs"]
mod life_properties;

#[cfg(test)]
#[path = "power_loss_tests.rs"]
mod power_loss_tests;

#[cfg(test)]
#[path = "restart_tests.rs"]
mod restart_tests;

#[cfg(test)]
#[path = "trouble_tests.rs"]
mod trouble_tests;
