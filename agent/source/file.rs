//! A log: the file that is written now, and the older generations of it that are still to be read.
//!
//! Generations are read in their order. An older one stays open for as long as it has a name: the runtime may append
//! to it after the new file exists. It ends when it is unlinked (compressed or deleted) or when a newer one was
//! rotated away too, and then gives out its last line, be it with a newline or without.
//!
//! Several files may come and go between two looks. Those that were never seen are told from those that were by what
//! they are, not by their names: a plain file by its inode, a compressed one by how it begins.

use super::generation::{Generation, Turn};
use super::line_buffer::{Line, LineBuffer};
use super::open::{FileId, Opener, Refusal, file_id};
use super::rotation::{Rotated, packed, siblings};
use std::collections::{BTreeSet, VecDeque};
use std::io;
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
    /// Files of which something could not be read: damaged, refused, gone before their turn, or a bad disk.
    pub broken: u64,
}

pub struct FileSource {
    path: PathBuf,
    /// The real place of the file, once there was one; docker's logs are reached by a link.
    real: Option<PathBuf>,
    opener: Opener,
    start: Start,
    /// Those that are read or still to be read, oldest first.
    generations: VecDeque<Generation>,
    /// The file that the path named at the last look; it is the last generation, unless that one is read already.
    current: Option<FileId>,
    /// The file that was current before and has not been found under a rotated name yet.
    departed: Option<Departed>,
    /// Rotated names that are there and were taken up or were there before, without `.gz`. No numbers (`.1`), which
    /// move from file to file.
    seen: BTreeSet<String>,
    looked: bool,
    refusal: Option<Refusal>,
}

struct Departed {
    id: FileId,
    /// Its beginning.
    head: Vec<u8>,
}

impl FileSource {
    pub fn new(path: PathBuf, opener: Opener, start: Start) -> Self {
        FileSource {
            real: None,
            path,
            opener,
            start,
            generations: VecDeque::new(),
            current: None,
            departed: None,
            seen: BTreeSet::new(),
            looked: false,
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
        self.generations.iter().map(Generation::lag_bytes).sum()
    }

    /// The cursor in the current file.
    pub fn offset(&self) -> u64 {
        match self.generations.back() {
            Some(Generation::Plain(plain)) if self.current == Some(plain.id) => plain.offset(),
            _ => 0,
        }
    }

    /// Whether no file has the log's name, and all that was open is read.
    pub fn is_gone(&self) -> bool {
        self.looked && self.current.is_none() && self.generations.is_empty()
    }

    /// Whether older generations lie where the log was.
    pub fn has_rotated(&self) -> bool {
        !self.siblings().is_empty()
    }

    /// Looks for changes and reads whole lines, up to about `budget` bytes.
    pub fn poll(&mut self, buffer: &mut LineBuffer, budget: u64, mut take: impl FnMut(Line<'_>)) -> Progress {
        self.look();
        let progress = self.read(buffer, budget, &mut take);
        if progress.restarted > 0 && self.current.is_some() {
            // What was truncated may have been copied before. Nothing else has a new name, for the look took it up.
            self.seen.extend(self.siblings().iter().map(|rotated| rotated.logical().to_string()));
        }
        progress
    }

    fn read(&mut self, buffer: &mut LineBuffer, budget: u64, take: &mut impl FnMut(Line<'_>)) -> Progress {
        let mut progress = Progress::default();
        loop {
            let opened = self.open_next(&mut progress);
            let waiting = self.waiting();
            // Newer files wait for older ones, so that lines come in their order.
            let readable = waiting.filter(|_| opened).unwrap_or(self.generations.len());
            for generation in self.generations.iter_mut().take(readable) {
                let room = budget.saturating_sub(progress.bytes);
                progress.add(generation.read(buffer, room, false, &mut *take));
                if progress.more {
                    return progress;
                }
            }
            self.retire(buffer, &mut progress, take);
            if !opened || waiting.is_none() {
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

    fn is_open(&self, id: FileId) -> bool {
        self.generations.iter().any(|generation| generation.is(id))
    }

    /// Ends the oldest generations to which nothing more can come.
    fn retire(&mut self, buffer: &mut LineBuffer, progress: &mut Progress, take: &mut impl FnMut(Line<'_>)) {
        while self.older() > 0 {
            let newer_rotated = self.older() > 1;
            let Some(front) = self.generations.front_mut() else { return };
            let over = match front {
                Generation::Waiting(_) => false,
                Generation::Packed(_) => true,
                Generation::Plain(plain) => newer_rotated || plain.is_unlinked(),
            };
            if !over {
                return;
            }
            progress.add(front.read(buffer, u64::MAX, true, &mut *take));
            self.note_head();
            self.generations.pop_front();
        }
    }

    /// The oldest generation that is not open.
    fn waiting(&self) -> Option<usize> {
        self.generations.iter().position(|generation| matches!(generation, Generation::Waiting(_)))
    }

    /// Opens the next generation that waits. `false`: not now.
    fn open_next(&mut self, progress: &mut Progress) -> bool {
        while let Some(at) = self.waiting() {
            let Generation::Waiting(path) = &self.generations[at] else { break };
            // It may have been compressed while it waited.
            let opened = match Generation::open(&self.opener, path) {
                Err(refusal) if refusal.is_absence() => Generation::open(&self.opener, &packed(path)),
                opened => opened,
            };
            match opened {
                // Its name went to another file meanwhile.
                Ok(Generation::Plain(plain)) if self.is_open(plain.id) => {}
                Ok(generation) => {
                    self.generations[at] = generation;
                    return true;
                }
                Err(refusal) if refusal.is_passing() => return false,
                Err(_) => progress.broken += 1,
            }
            self.generations.remove(at);
        }
        true
    }

    /// Looks which file the path names now.
    pub fn look(&mut self) {
        self.looked = true;
        // The usual case, in one system call: the same file, by whatever way the path leads to it.
        if self.current.is_some() && self.current == std::fs::metadata(&self.path).ok().map(|m| file_id(&m)) {
            return;
        }
        let found = self.opener.resolve(&self.path).and_then(|real| {
            let id = file_id(&std::fs::metadata(&real)?);
            Ok((real, id))
        });
        self.depart();
        // Between the renaming and the new file there is none; what is open goes on being read.
        self.refusal = found.and_then(|(real, id)| self.take_up(real, id)).err();
    }

    /// Goes over to another file than before, by way of all that came between. What fails is tried again.
    fn take_up(&mut self, real: PathBuf, id: FileId) -> Result<(), Refusal> {
        match self.real.clone() {
            None => self.begin(&real, id)?,
            Some(before) => {
                self.take_up_missed(&before, id)?;
                if before != real {
                    let names = siblings(&real)?;
                    self.seen = names.iter().map(|rotated| rotated.logical().to_string()).collect();
                }
            }
        }
        self.real = Some(real.clone());
        self.open_current(&real, id)
    }

    /// The path no longer names the file that it did.
    fn depart(&mut self) {
        if let Some(id) = self.current.take() {
            self.departed = Some(Departed { id, head: Vec::new() });
        }
    }

    /// Notes how the file begins that was current before, while it is open.
    fn note_head(&mut self) {
        let Some(departed) = &mut self.departed else { return };
        if let Some(Generation::Plain(plain)) = self.generations.iter().find(|generation| generation.is(departed.id)) {
            departed.head = plain.head();
        }
    }

    /// The first look: what there is beside the file.
    fn begin(&mut self, real: &Path, current: FileId) -> io::Result<()> {
        for rotated in siblings(real)? {
            let path = real.with_file_name(&rotated.name);
            // It was rotated this moment; the file is found under its new name once the current one is open.
            if id_of(&path) == Some(current) {
                continue;
            }
            if self.start == Start::Everything || rotated.is_kubelets() {
                self.enqueue(path, &rotated);
            }
            if !rotated.is_numbered() {
                self.seen.insert(rotated.logical().to_string());
            }
        }
        Ok(())
    }

    fn open_current(&mut self, real: &Path, id: FileId) -> Result<(), Refusal> {
        // A file that was renamed away and back is open already.
        let known = self.generations.iter().position(|generation| generation.is(id));
        let generation = match known.and_then(|at| self.generations.remove(at)) {
            Some(known) => known,
            None => Generation::open(&self.opener, real)?,
        };
        let opened = if let Generation::Plain(plain) = &generation { plain.id } else { id };
        if opened != id {
            // A rotation came between the look and the opening.
            self.take_up_missed(real, opened)?;
        }
        self.current = Some(opened);
        self.generations.push_back(generation);
        Ok(())
    }

    /// Files that came and went between two looks: rotated names that were not there before and belong to no file that
    /// is or was open. `current` is the file that the path names now. Of numbers only those count that are newer than
    /// the file that was current before.
    fn take_up_missed(&mut self, real: &Path, current: FileId) -> io::Result<()> {
        let siblings: Vec<(Rotated, PathBuf)> =
            siblings(real)?.into_iter().map(|rotated| (rotated.clone(), real.with_file_name(rotated.name))).collect();
        let departed = self.take_departed(current, &siblings);
        let mut present = BTreeSet::new();
        for (at, (rotated, path)) in siblings.into_iter().enumerate() {
            let id = id_of(&path);
            if id.is_some() && id == Some(current) {
                continue;
            }
            let known = match rotated.is_numbered() {
                true => departed.is_none_or(|departed| at <= departed),
                false => departed == Some(at) || self.seen.contains(rotated.logical()),
            };
            if !known && !id.is_some_and(|id| self.is_open(id)) {
                self.enqueue(path, &rotated);
            }
            if !rotated.is_numbered() {
                present.insert(rotated.logical().to_string());
            }
        }
        self.seen = present;
        Ok(())
    }

    /// Which of the siblings is the file that was current before, compressed perhaps; none if it is current again.
    fn take_departed(&mut self, current: FileId, siblings: &[(Rotated, PathBuf)]) -> Option<usize> {
        self.note_head();
        let departed = self.departed.take().filter(|departed| departed.id != current || !self.is_open(current))?;
        // An inode is used again only once nobody has the file open.
        let here = self.is_open(departed.id);
        let by_id = siblings.iter().position(|(_, path)| here && id_of(path) == Some(departed.id));
        by_id.or_else(|| {
            siblings.iter().rposition(|(_, path)| {
                // Compressed since the directory was read, if nothing has the plain name.
                let opened = Generation::open(&self.opener, path);
                let opened = opened.or_else(|_| Generation::open(&self.opener, &packed(path)));
                opened.is_ok_and(|generation| generation.was(&departed.head))
            })
        })
    }

    fn siblings(&self) -> Vec<Rotated> {
        self.real.as_deref().map_or(Vec::new(), |real| siblings(real).unwrap_or_default())
    }

    /// Takes up an older generation. A number is another file's with the next rotation, so its file is opened now.
    fn enqueue(&mut self, path: PathBuf, rotated: &Rotated) {
        let opened = if rotated.is_numbered() { Generation::open(&self.opener, &path).ok() } else { None };
        self.generations.push_back(opened.unwrap_or(Generation::Waiting(path)));
    }
}

impl Progress {
    fn add(&mut self, turn: Turn) {
        self.bytes += turn.bytes;
        self.lines += turn.lines;
        self.cut += turn.cut;
        self.more |= turn.more;
        self.restarted += u64::from(turn.restarted);
        self.broken += u64::from(turn.broken);
    }
}

fn id_of(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|metadata| file_id(&metadata))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "file_properties.rs"]
mod properties;
