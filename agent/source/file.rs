//! A log: the file that is written now, and the older generations of it that are still to be read.
//!
//! Generations are finished in their order. An older one is kept open for as long as it has a name: the runtime may
//! append to it after the new file exists. It ends when it is unlinked (compressed or deleted) and read to its end, or
//! when a newer one has been rotated away too.

use super::generation::{Generation, Plain};
use super::line_buffer::{Line, LineBuffer};
use super::open::{FileId, Opener, Refusal};
use super::rotation::{self, Rotated};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which of the files that exist already belong to a source that was just found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The current file, and older ones with a kubelet's name (docs/adr/0007).
    Current,
    /// Every older generation too.
    Everything,
}

/// What a look at a source gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub bytes: u64,
    pub lines: u64,
    pub cut: u64,
    /// There is more to read at once.
    pub more: bool,
    /// Files that were truncated or rewritten while they were read.
    pub restarted: u64,
    /// Compressed files whose rest could not be read.
    pub broken: u64,
}

pub struct FileSource {
    path: PathBuf,
    /// The real place of the file; docker's logs are reached by a link.
    real: PathBuf,
    opener: Opener,
    start: Start,
    /// Oldest first; the last one may be the current file.
    generations: VecDeque<Generation>,
    /// Whether the last generation is the file that the path names.
    has_current: bool,
    /// Rotated names that were taken up or that were there before, without `.gz`.
    seen: BTreeSet<String>,
    /// Older generations that are still to be opened, oldest first.
    waiting: VecDeque<PathBuf>,
    begun: bool,
    refusal: Option<Refusal>,
}

impl FileSource {
    pub fn new(path: PathBuf, opener: Opener, start: Start) -> Self {
        FileSource {
            real: path.clone(),
            path,
            opener,
            start,
            generations: VecDeque::new(),
            has_current: false,
            seen: BTreeSet::new(),
            waiting: VecDeque::new(),
            begun: false,
            refusal: None,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why the current file is not read, if it is there and is not.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref().filter(|refusal| !refusal.is_absence())
    }

    /// Bytes that are there and were not read.
    pub fn lag_bytes(&self) -> u64 {
        let waiting = self.waiting.iter().filter_map(|path| path.metadata().ok()).map(|m| m.len());
        self.generations.iter().map(Generation::lag_bytes).chain(waiting).sum()
    }

    /// The cursor in the current file.
    pub fn offset(&self) -> u64 {
        match self.generations.back() {
            Some(Generation::Plain(plain)) if self.has_current => plain.offset(),
            _ => 0,
        }
    }

    /// Whether nothing is left of the log: no file by its name, and all that was open is read.
    pub fn is_gone(&self) -> bool {
        self.begun && !self.has_current && self.generations.is_empty() && self.waiting.is_empty()
    }

    /// Looks for changes and reads whole lines, up to about `budget` bytes.
    pub fn poll(&mut self, buffer: &mut LineBuffer, budget: u64, mut take: impl FnMut(Line<'_>)) -> Progress {
        self.look();
        let mut progress = Progress::default();
        while progress.bytes < budget {
            if self.generations.is_empty() || !self.reads_on(0) {
                break;
            }
            let more = self.read_front(buffer, budget, &mut progress, &mut take);
            if more {
                progress.more = true;
                return progress;
            }
            if !self.retire_front(buffer, &mut progress, &mut take) {
                break;
            }
        }
        progress.more |= progress.bytes >= budget || !self.waiting.is_empty();
        progress
    }

    /// The end: reads what is there, a last line without a newline included.
    pub fn finish(&mut self, buffer: &mut LineBuffer, mut take: impl FnMut(Line<'_>)) -> Progress {
        let mut progress = self.poll(buffer, u64::MAX, &mut take);
        for generation in &mut self.generations {
            if let Ok(turn) = generation.read(buffer, u64::MAX, true, &mut take) {
                progress.bytes += turn.bytes;
                progress.lines += turn.lines;
                progress.cut += turn.cut;
            }
        }
        progress
    }

    /// Whether there is a generation at `at`, opening the next one that waits if need be.
    fn reads_on(&mut self, at: usize) -> bool {
        at < self.generations.len()
    }

    fn read_front(
        &mut self,
        buffer: &mut LineBuffer,
        budget: u64,
        progress: &mut Progress,
        take: &mut impl FnMut(Line<'_>),
    ) -> bool {
        let mut more = false;
        // An old file that may still grow does not hold up the new one.
        for generation in &mut self.generations {
            let Ok(turn) = generation.read(buffer, budget.saturating_sub(progress.bytes), false, &mut *take) else {
                continue;
            };
            progress.bytes += turn.bytes;
            progress.lines += turn.lines;
            progress.cut += turn.cut;
            progress.restarted += u64::from(turn.restarted);
            if turn.more {
                more = true;
                break;
            }
        }
        more
    }

    /// Ends the oldest generation if nothing more can come to it, and opens what waits. Whether something was opened.
    fn retire_front(
        &mut self,
        buffer: &mut LineBuffer,
        progress: &mut Progress,
        take: &mut impl FnMut(Line<'_>),
    ) -> bool {
        while let Some(front) = self.generations.front_mut() {
            let older = self.generations_left_behind();
            let front_is_current = self.generations.len() == 1 && self.has_current;
            let Some(front) = self.generations.front_mut() else { break };
            let over = match front {
                Generation::Packed(packed) => {
                    progress.broken += u64::from(packed.broken);
                    true
                }
                Generation::Plain(plain) => !front_is_current && (older || plain.is_unlinked()),
            };
            if !over {
                break;
            }
            // Its last line will not be completed any more.
            if let Ok(turn) = front.read(buffer, u64::MAX, true, &mut *take) {
                progress.bytes += turn.bytes;
                progress.lines += turn.lines;
                progress.cut += turn.cut;
            }
            self.generations.pop_front();
        }
        self.open_next()
    }

    /// Whether the oldest open generation is at least two behind the current one.
    fn generations_left_behind(&self) -> bool {
        self.generations.len() + self.waiting.len() > 2
    }

    /// Opens the next generation that waits, in front of the current file. Whether there was one.
    fn open_next(&mut self) -> bool {
        while let Some(path) = self.waiting.pop_front() {
            if let Ok(generation) = Generation::open(&self.opener, path) {
                let at = self.generations.len() - usize::from(self.has_current);
                self.generations.insert(at, generation);
                return true;
            }
        }
        false
    }
}

// Looking: which file the path names now.
impl FileSource {
    fn look(&mut self) {
        let found = self.opener.resolve(&self.path).and_then(|real| {
            let metadata = std::fs::metadata(&real)?;
            Ok((real, (metadata.dev(), metadata.ino())))
        });
        let (real, id) = match found {
            Ok(found) => found,
            Err(refusal) => {
                // Between the renaming and the new file there is none: what is open goes on being read.
                if self.has_current && refusal.is_absence() {
                    self.current_is_rotated();
                }
                self.begun = true;
                self.refusal = Some(refusal);
                return;
            }
        };
        if !self.begun {
            self.begin(&real);
        }
        if self.current().is_some_and(|current| current.id == id) {
            return;
        }
        if self.has_current {
            self.current_is_rotated();
        }
        self.take_up_missed(id);
        self.open_current(real);
    }

    fn current(&self) -> Option<&Plain> {
        match self.generations.back() {
            Some(Generation::Plain(plain)) if self.has_current => Some(plain),
            _ => None,
        }
    }

    fn begin(&mut self, real: &Path) {
        self.begun = true;
        self.real = real.to_path_buf();
        for rotated in self.siblings() {
            if self.start == Start::Everything || rotated.is_kubelets() {
                self.waiting.push_back(real.with_file_name(&rotated.name));
            }
            self.seen.insert(logical(&rotated.name).to_string());
        }
    }

    fn open_current(&mut self, real: PathBuf) {
        // A file that was renamed away and back is the one that is open already.
        match Generation::open(&self.opener, real.clone()) {
            Ok(Generation::Plain(plain)) => {
                self.real = real;
                self.refusal = None;
                let known = self.generations.iter().position(|g| matches!(g, Generation::Plain(p) if p.id == plain.id));
                let generation = match known.and_then(|at| self.generations.remove(at)) {
                    Some(known) => known,
                    None => Generation::Plain(plain),
                };
                self.generations.push_back(generation);
                self.has_current = true;
            }
            // A target that is itself compressed is read once.
            Ok(packed) => {
                self.refusal = None;
                if self.real != real || self.generations.is_empty() {
                    self.generations.push_back(packed);
                }
                self.real = real;
            }
            Err(refusal) => self.refusal = Some(refusal),
        }
    }

    fn current_is_rotated(&mut self) {
        self.has_current = false;
    }

    /// Files that came and went between two looks: rotated names that were not there before, but for the one that
    /// the file which was current has now.
    fn take_up_missed(&mut self, current: FileId) {
        let open: Vec<FileId> = self
            .generations
            .iter()
            .filter_map(|g| match g {
                Generation::Plain(plain) => Some(plain.id),
                Generation::Packed(_) => None,
            })
            .collect();
        let fresh: Vec<Rotated> =
            self.siblings().into_iter().filter(|r| !self.seen.contains(logical(&r.name))).collect();
        let mut ours_found = open.is_empty();
        let mut missed = Vec::new();
        for rotated in &fresh {
            let path = self.real.with_file_name(&rotated.name);
            let id = std::fs::metadata(&path).ok().map(|m| (m.dev(), m.ino()));
            if id.is_some_and(|id| open.contains(&id) || id == current) {
                ours_found = true;
            } else {
                missed.push(path);
            }
            if !matches!(rotated.kind, rotation::Kind::Numbered(_)) {
                self.seen.insert(logical(&rotated.name).to_string());
            }
        }
        // The oldest new name is that of the file which was open, compressed meanwhile.
        if !ours_found && !missed.is_empty() {
            missed.remove(0);
        }
        // Numbers move from file to file, so a number alone says nothing new.
        missed.retain(|path| {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let base = self.real.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            !matches!(rotation::understand(&base, &name), Some(Rotated { kind: rotation::Kind::Numbered(_), .. }))
        });
        self.waiting.extend(missed);
    }

    fn siblings(&self) -> Vec<Rotated> {
        let (Some(folder), Some(base)) = (self.real.parent(), self.real.file_name()) else { return Vec::new() };
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        rotation::generations(&base.to_string_lossy(), names.iter().map(String::as_str))
    }
}

/// A rotated name without the ending of its compressed form.
fn logical(name: &str) -> &str {
    name.strip_suffix(".gz").unwrap_or(name)
}

/// For callers that want an I/O error of a refusal.
impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        io::Error::other(refusal.to_string())
    }
}
