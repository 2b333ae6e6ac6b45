//! A log: the file that is written now, and the older generations of it that are still to be read.
//!
//! Generations are read in their order. An older one stays open for as long as it has a name: the runtime may append
//! to it after the new file exists. It ends when it is unlinked (compressed or deleted) or when a newer one was
//! rotated away too, and then gives out its last line, be it with a newline or without.

use super::generation::{Generation, Turn};
use super::line_buffer::{Line, LineBuffer};
use super::open::{FileId, Opener, Refusal};
use super::rotation::{self, Kind, Rotated};
use std::collections::{BTreeSet, VecDeque};
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
    /// Lines that were longer than the limit.
    pub cut: u64,
    /// There is more to read at once.
    pub more: bool,
    /// Files that were truncated or rewritten while they were read.
    pub restarted: u64,
    /// Files whose rest could not be read: damaged, or an error of the disk.
    pub broken: u64,
}

pub struct FileSource {
    path: PathBuf,
    /// The real place of the file; docker's logs are reached by a link.
    real: PathBuf,
    opener: Opener,
    start: Start,
    /// Oldest first.
    generations: VecDeque<Generation>,
    /// The file that the path named at the last look; it is the last generation, unless that one is read already.
    current: Option<FileId>,
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
            current: None,
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
            Some(Generation::Plain(plain)) if self.current == Some(plain.id) => plain.offset(),
            _ => 0,
        }
    }

    /// Whether nothing is left of the log: no file by its name, and all that was open is read.
    pub fn is_gone(&self) -> bool {
        self.begun && self.current.is_none() && self.generations.is_empty() && self.waiting.is_empty()
    }

    /// Looks for changes and reads whole lines, up to about `budget` bytes.
    pub fn poll(&mut self, buffer: &mut LineBuffer, budget: u64, mut take: impl FnMut(Line<'_>)) -> Progress {
        self.look();
        let mut progress = Progress::default();
        loop {
            self.open_next();
            // The current file waits until all older ones are open: lines come in their order.
            let last_pass = self.waiting.is_empty();
            let readable = if last_pass { self.generations.len() } else { self.older() };
            for generation in self.generations.iter_mut().take(readable) {
                let room = budget.saturating_sub(progress.bytes);
                progress.add(generation.read(buffer, room, false, &mut take));
                if progress.more {
                    return progress;
                }
            }
            self.retire(buffer, &mut progress, &mut take);
            if last_pass {
                return progress;
            }
        }
    }

    /// The end: reads what is there, a last line without a newline included.
    pub fn finish(&mut self, buffer: &mut LineBuffer, mut take: impl FnMut(Line<'_>)) -> Progress {
        let mut progress = self.poll(buffer, u64::MAX, &mut take);
        for generation in &mut self.generations {
            progress.add(generation.read(buffer, u64::MAX, true, &mut take));
        }
        progress
    }

    /// Open generations that are older than the current file.
    fn older(&self) -> usize {
        let last_is_current = match self.generations.back() {
            Some(Generation::Plain(plain)) => self.current == Some(plain.id),
            _ => false,
        };
        self.generations.len() - usize::from(last_is_current)
    }

    /// Ends the oldest generations to which nothing more can come.
    fn retire(&mut self, buffer: &mut LineBuffer, progress: &mut Progress, take: &mut impl FnMut(Line<'_>)) {
        while self.older() > 0 {
            let newer_rotated = self.older() > 1;
            let Some(front) = self.generations.front_mut() else { return };
            let over = match front {
                Generation::Packed(packed) => {
                    progress.broken += u64::from(packed.broken);
                    true
                }
                Generation::Plain(plain) => newer_rotated || plain.is_unlinked(),
            };
            if !over {
                return;
            }
            progress.add(front.read(buffer, u64::MAX, true, &mut *take));
            self.generations.pop_front();
        }
    }

    /// Opens the next generation that waits, in front of the current file.
    fn open_next(&mut self) {
        while let Some(path) = self.waiting.pop_front() {
            if let Ok(generation) = Generation::open(&self.opener, &path) {
                self.generations.insert(self.older(), generation);
                return;
            }
        }
    }

    /// Looks which file the path names now.
    fn look(&mut self) {
        let found = self.opener.resolve(&self.path).and_then(|real| {
            let metadata = std::fs::metadata(&real)?;
            Ok((real, (metadata.dev(), metadata.ino())))
        });
        let (real, id) = match found {
            Ok(found) => found,
            Err(refusal) => {
                // Between the renaming and the new file there is none; what is open goes on being read.
                self.current = None;
                self.begun = true;
                self.refusal = Some(refusal);
                return;
            }
        };
        if self.current == Some(id) {
            return;
        }
        if self.seen.is_empty() && self.generations.is_empty() {
            self.begin(&real);
        }
        self.take_up_missed(id);
        self.open_current(real, id);
    }

    /// The first look: what there is beside the file.
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

    fn open_current(&mut self, real: PathBuf, id: FileId) {
        // A file that was renamed away and back is open already.
        let known = self.generations.iter().position(|g| matches!(g, Generation::Plain(plain) if plain.id == id));
        let generation = match known.and_then(|at| self.generations.remove(at)) {
            Some(known) => known,
            None => match Generation::open(&self.opener, &real) {
                Ok(opened) => opened,
                Err(refusal) => {
                    self.refusal = Some(refusal);
                    return;
                }
            },
        };
        // What was opened may be newer than what was looked at; the next look finds out.
        self.current = Some(if let Generation::Plain(plain) = &generation { plain.id } else { id });
        self.generations.push_back(generation);
        self.real = real;
        self.refusal = None;
    }

    /// Files that came and went between two looks: rotated names that were not there before, but for the one that the
    /// file which was current has now. Numbers (`.1`) move from file to file and say nothing.
    fn take_up_missed(&mut self, current: FileId) {
        let is_open =
            |id: FileId| self.generations.iter().any(|g| matches!(g, Generation::Plain(plain) if plain.id == id));
        let fresh = self.siblings().into_iter().filter(|rotated| {
            !matches!(rotated.kind, Kind::Numbered(_)) && !self.seen.contains(logical(&rotated.name))
        });
        let (mut missed, mut names, mut ours_found) = (Vec::new(), Vec::new(), self.generations.is_empty());
        for rotated in fresh {
            let path = self.real.with_file_name(&rotated.name);
            match std::fs::metadata(&path).map(|m| (m.dev(), m.ino())) {
                Ok(id) if id == current || is_open(id) => ours_found = true,
                _ => missed.push(path),
            }
            names.push(logical(&rotated.name).to_string());
        }
        // The oldest new name is then that of the file which is open, compressed meanwhile.
        if !ours_found && !missed.is_empty() {
            missed.remove(0);
        }
        self.seen.extend(names);
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

impl Progress {
    fn add(&mut self, turn: std::io::Result<Turn>) {
        match turn {
            Ok(turn) => {
                self.bytes += turn.bytes;
                self.lines += turn.lines;
                self.cut += turn.cut;
                self.more |= turn.more;
                self.restarted += u64::from(turn.restarted);
            }
            Err(_) => self.broken += 1,
        }
    }
}

/// A rotated name without the ending of its compressed form.
fn logical(name: &str) -> &str {
    name.strip_suffix(".gz").unwrap_or(name)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
