//! The sources of one worker: who is polled when, and for how long.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::Line;
use super::file_source::{FileSource, Notice, Progress, Start};
use super::filesystem::FileSystem;
use super::line_buffer::LineBuffer;
use super::rotation::current_name;

/// A file that gave lines is looked at again after this (Promtail's interval).
pub const POLL_ACTIVE_MS: u32 = 250;
/// And one that gives none, in the end, after this.
pub const POLL_IDLE_MS: u32 = 2_000;

/// A source's place in the set. It is used again after the source was reported as finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// How much is read before somebody else has a turn.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Of one source in one round.
    pub source_bytes: u64,
    /// Of all sources in one call.
    pub turn_bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { source_bytes: 1 << 20, turn_bytes: 8 << 20 }
    }
}

/// What came of a turn.
#[derive(Debug, Default)]
pub struct Turn {
    pub bytes: u64,
    pub lines: u64,
    /// When the next source is due; zero when bytes are waiting now.
    pub wait: Duration,
    pub notices: Vec<(SourceId, Notice)>,
    /// These are gone from the set: all their lines were handed out.
    pub finished: Vec<SourceId>,
}

#[derive(Default)]
pub struct Sources {
    by_path: HashMap<Arc<Path>, SourceId, foldhash::fast::RandomState>,
    slots: Vec<Option<Box<Entry>>>,
    free: Vec<SourceId>,
    buffer: LineBuffer,
    budget: Budget,
    /// Where the next turn begins.
    next: usize,
    /// Counts reconciliations.
    round: u32,
}

struct Entry {
    source: FileSource,
    due: Duration,
    interval_ms: u32,
    /// The last reconciliation that wanted it.
    wanted_in: u32,
    lag_bytes: u64,
}

impl Sources {
    pub fn new(budget: Budget, buffer: LineBuffer) -> Self {
        Sources { budget, buffer, ..Sources::default() }
    }

    /// Adds what is wanted and new, and tells its ids. What two reconciliations did not want is read to its end by the
    /// turns that follow, and then reported as finished: one may have looked while a rotation had the path empty.
    /// An older generation of another wanted log (`access.log.1` beside `access.log`) is read as part of that one.
    pub fn reconcile(&mut self, wanted: impl Iterator<Item = (PathBuf, Start)>) -> Vec<SourceId> {
        self.round += 1;
        let mut wanted: HashMap<PathBuf, Start, foldhash::fast::RandomState> = wanted.collect();
        let mut older: Vec<PathBuf> = Vec::new();
        for path in wanted.keys() {
            if current_path(path).is_some_and(|current| wanted.contains_key(&current)) {
                older.push(path.clone());
            }
        }
        for path in older {
            wanted.remove(&path);
            if let Some(start) = current_path(&path).and_then(|current| wanted.get_mut(&current)) {
                *start = Start::Beginning;
            }
        }
        let mut added: Vec<(PathBuf, Start)> = Vec::new();
        for (path, start) in wanted {
            let known = self.by_path.get(&*path).and_then(|id| self.slots[id.0 as usize].as_mut());
            match known {
                Some(entry) => entry.wanted_in = self.round,
                None => added.push((path, start)),
            }
        }
        // In an order that does not depend on hashing: a run can be repeated.
        added.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        added.into_iter().map(|(path, start)| self.add(FileSource::new(path, start))).collect()
    }

    /// Adds a source that goes on where another run stopped.
    pub fn add(&mut self, source: FileSource) -> SourceId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            SourceId(self.slots.len() as u32 - 1)
        });
        self.by_path.insert(Arc::clone(source.path()), id);
        let (due, interval_ms, wanted_in) = (Duration::ZERO, POLL_ACTIVE_MS, self.round);
        self.slots[id.0 as usize] = Some(Box::new(Entry { source, due, interval_ms, wanted_in, lag_bytes: 0 }));
        id
    }

    /// Something happened at `path`, a log or an older generation of one: its source is due now.
    pub fn hint(&mut self, path: &Path) {
        let own = self.by_path.get(path);
        let id = own.or_else(|| self.by_path.get(&*current_path(path)?));
        if let Some(entry) = id.and_then(|id| self.slots[id.0 as usize].as_mut()) {
            if own.is_none() {
                entry.source.look_again();
            }
            (entry.due, entry.interval_ms) = (Duration::ZERO, POLL_ACTIVE_MS);
        }
    }

    /// Anything may have happened: all are due now.
    pub fn hint_all(&mut self) {
        for entry in self.slots.iter_mut().flatten() {
            entry.due = Duration::ZERO;
        }
    }

    /// Polls the sources that are due at `now`, a time that never goes back, each once and for its budget; what the
    /// turn's budget leaves out comes first in the next turn.
    pub fn poll_all(&mut self, fs: &dyn FileSystem, now: Duration, sink: &mut dyn FnMut(SourceId, Line<'_>)) -> Turn {
        let mut turn = Turn { wait: Duration::from_millis(POLL_IDLE_MS.into()), ..Turn::default() };
        let first = self.next;
        for place in (first..self.slots.len()).chain(0..first.min(self.slots.len())) {
            if turn.bytes >= self.budget.turn_bytes {
                self.next = place;
                turn.wait = Duration::ZERO;
                break;
            }
            let Some(entry) = self.slots[place].as_mut() else { continue };
            if entry.due <= now {
                let id = SourceId(place as u32);
                let retired = self.round.wrapping_sub(entry.wanted_in) >= 2;
                let source_bytes = self.budget.source_bytes;
                let progress = entry.poll(fs, (&mut self.buffer, source_bytes, retired), now, &mut |l| sink(id, l));
                turn.bytes += progress.bytes;
                turn.lines += progress.lines;
                turn.notices.extend(progress.notices.into_iter().map(|notice| (id, notice)));
                if progress.finished {
                    turn.finished.push(id);
                    continue;
                }
            }
            turn.wait = turn.wait.min(entry.due.saturating_sub(now));
        }
        for id in &turn.finished {
            self.remove(*id);
        }
        turn
    }

    /// Reads everything that is there to its end, unterminated last lines too, and empties the set: one-shot counting.
    pub fn finish_all(&mut self, fs: &dyn FileSystem, sink: &mut dyn FnMut(SourceId, Line<'_>)) -> Turn {
        let mut turn = Turn::default();
        for place in 0..self.slots.len() {
            let Some(entry) = self.slots[place].as_mut() else { continue };
            let id = SourceId(place as u32);
            let progress = entry.source.finish(fs, &mut self.buffer, &mut |line| sink(id, line));
            turn.bytes += progress.bytes;
            turn.lines += progress.lines;
            turn.notices.extend(progress.notices.into_iter().map(|notice| (id, notice)));
            turn.finished.push(id);
        }
        for id in &turn.finished {
            self.remove(*id);
        }
        turn
    }

    pub fn get(&self, id: SourceId) -> Option<&FileSource> {
        self.slots.get(id.0 as usize)?.as_ref().map(|entry| &entry.source)
    }

    /// Bytes that were not handed out when the source was last polled.
    pub fn lag_bytes(&self, id: SourceId) -> u64 {
        self.slots.get(id.0 as usize).and_then(Option::as_ref).map_or(0, |entry| entry.lag_bytes)
    }

    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    fn remove(&mut self, id: SourceId) {
        if let Some(entry) = self.slots[id.0 as usize].take() {
            self.by_path.remove(entry.source.path());
            self.free.push(id);
        }
    }
}

impl Entry {
    fn poll(
        &mut self,
        fs: &dyn FileSystem,
        (buffer, budget_bytes, retired): (&mut LineBuffer, u64, bool),
        now: Duration,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> Progress {
        let mut progress = self.source.poll(fs, buffer, budget_bytes, sink);
        if retired && !progress.more && !progress.finished {
            let rest = self.source.finish(fs, buffer, sink);
            progress.bytes += rest.bytes;
            progress.lines += rest.lines;
            progress.notices.extend(rest.notices);
            progress.finished = true;
        }
        self.interval_ms = match progress.bytes {
            0 => (self.interval_ms * 2).min(POLL_IDLE_MS),
            _ => POLL_ACTIVE_MS,
        };
        let interval_ms = if progress.more { 0 } else { self.interval_ms };
        self.due = now + Duration::from_millis(interval_ms.into());
        self.lag_bytes = progress.lag_bytes;
        progress
    }
}

/// The log that `path` is an older generation of, by its name.
fn current_path(path: &Path) -> Option<PathBuf> {
    let current: &OsStr = current_name(path.file_name()?)?;
    Some(path.with_file_name(current))
}

#[cfg(test)]
mod tests;
