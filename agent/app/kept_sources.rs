//! Sources over restarts: what is stored of each, and how they come back before discovery has looked once.
//!
//! Of a source one slot says where it lies and whom it feeds, and one of the same index how far each of its files was
//! read. Both begin with the version of their notation. What cannot be read is left out and counted: its files are read
//! from the front, as if they had just been found.

use super::engine::Turning;
use super::followed::{Feed, Followed};
use super::reader::Reader;
use crate::keep::{self, Entries, Slot, Table, Writer};
use crate::labels::Labels;
use crate::pipeline::BindingId;
use crate::source::{FileSource, Identity, Opener, Resume, Start};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VERSION: u8 = 1;

/// What came of taking sources back.
#[derive(Debug, Default)]
pub struct Rebound {
    /// The new binding of each job and each number of a binding in the former run.
    bindings: BTreeMap<(usize, u32), BindingId>,
    /// Slots that could not be read.
    pub damaged: u64,
}

impl Rebound {
    /// The binding that now stands for what was number `old` in the job.
    pub fn binding(&self, job: usize, old: u32) -> Option<BindingId> {
        self.bindings.get(&(job, old)).copied()
    }
}

/// Where a source lies and whom it feeds.
struct Place<'b> {
    path: &'b Path,
    real: Option<Arc<Path>>,
    start: Start,
    roots: Vec<PathBuf>,
    /// Job, labels, number of the binding.
    feeds: Vec<(&'b str, Labels, u32)>,
}

impl Reader {
    /// Enters what has to be known of each source to go on after a restart. Call it between two turns.
    pub fn keep(&self, entries: &mut Entries) {
        let mut sources: Vec<&Followed> = self.sources.values().collect();
        sources.sort_unstable_by_key(|followed| followed.slot);
        for followed in &sources {
            let slot = Slot { table: Table::SOURCES, index: followed.slot };
            entries.put(slot, |writer| write_place(followed, &self.job_names, writer));
        }
        for followed in sources {
            let slot = Slot { table: Table::CURSORS, index: followed.slot };
            entries.put(slot, |writer| {
                writer.byte(VERSION);
                let identities = followed.source.identities();
                writer.number(identities.len() as u64);
                identities.for_each(|identity| identity.write(writer));
            });
        }
    }

    /// Takes the sources of a former run back, and binds them to the jobs that are still there. They are polled from now
    /// on, whether discovery finds them or not. `rebooted`: the machine went down since.
    pub fn restore(&mut self, entries: &Entries, rebooted: bool, turning: &mut Turning<'_>) -> Rebound {
        let mut rebound = Rebound::default();
        self.know_jobs(turning.jobs);
        for (index, bytes) in entries.table(Table::SOURCES) {
            let place = read_place(bytes).filter(|place| !self.sources.contains_key(place.path));
            let Some(place) = place else {
                rebound.damaged += 1;
                continue;
            };
            let cursors = entries.get(Slot { table: Table::CURSORS, index });
            let known = cursors.and_then(read_cursors).unwrap_or_else(|| {
                rebound.damaged += 1;
                Vec::new()
            });
            let opener = if place.roots.is_empty() { Opener::anywhere() } else { Opener::below(place.roots) };
            let resume = Resume { rebooted };
            let source = FileSource::resume(place.path, opener, place.start, place.real, known, resume);
            let feeds = place.feeds.into_iter().filter_map(|(job, labels, old)| {
                // Nobody wants the lines of a job that is gone.
                let job = turning.jobs.iter().position(|known| known.name == job)?;
                let binding = turning.bind(job, &labels);
                rebound.bindings.entry((job, old)).or_insert(binding);
                Some(Feed { job, labels, binding })
            });
            let feeds = feeds.collect();
            self.follow(source, feeds);
        }
        // Cursors that nobody knows the source of.
        let lost = |index: &u64| entries.get(Slot { table: Table::SOURCES, index: *index }).is_none();
        rebound.damaged += entries.table(Table::CURSORS).filter(|(index, _)| lost(index)).count() as u64;
        rebound
    }
}

fn write_place(followed: &Followed, jobs: &[String], to: &mut Writer<'_>) {
    let source = &followed.source;
    to.byte(VERSION);
    to.bytes(source.path().as_os_str().as_bytes());
    match source.real() {
        None => to.byte(0),
        Some(real) if real == source.path() => to.byte(1),
        Some(real) => {
            to.byte(2);
            to.bytes(real.as_os_str().as_bytes());
        }
    }
    to.byte(match source.start() {
        Start::Current => 0,
        Start::Everything => 1,
    });
    to.number(source.opener().roots().len() as u64);
    source.opener().roots().iter().for_each(|root| to.bytes(root.as_os_str().as_bytes()));
    to.number(followed.feeds.len() as u64);
    for feed in &followed.feeds {
        to.bytes(jobs[feed.job].as_bytes());
        to.number(feed.labels.len() as u64);
        for (name, value) in feed.labels.iter() {
            to.bytes(name.as_bytes());
            to.bytes(value.as_bytes());
        }
        to.number(feed.binding.number().into());
    }
}

fn read_place(bytes: &[u8]) -> Option<Place<'_>> {
    let from = &mut versioned(bytes)?;
    let path = read_path(from)?;
    let real = match from.byte()? {
        0 => None,
        1 => Some(Arc::from(path)),
        2 => Some(Arc::from(read_path(from)?)),
        _ => return None,
    };
    let start = match from.byte()? {
        0 => Start::Current,
        1 => Start::Everything,
        _ => return None,
    };
    let roots = times(from, |from| read_path(from).map(Path::to_path_buf))?;
    let feeds = times(from, |from| {
        let job = from.text()?;
        let mut labels = Labels::new();
        for (name, value) in times(from, |from| Some((from.text()?, from.text()?)))? {
            labels.set(name, value);
        }
        Some((job, labels, u32::try_from(from.number()?).ok()?))
    })?;
    from.is_empty().then_some(Place { path, real, start, roots, feeds })
}

fn read_cursors(bytes: &[u8]) -> Option<Vec<Identity>> {
    let from = &mut versioned(bytes)?;
    let known = times(from, Identity::read)?;
    from.is_empty().then_some(known)
}

fn versioned(bytes: &[u8]) -> Option<keep::Reader<'_>> {
    let mut from = keep::Reader::new(bytes);
    (from.byte()? == VERSION).then_some(from)
}

/// A number, and so many of something. A number that is too high fails with the first one that is not there.
fn times<'b, T>(
    from: &mut keep::Reader<'b>,
    mut read: impl FnMut(&mut keep::Reader<'b>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut all = Vec::new();
    for _ in 0..from.number()? {
        all.push(read(from)?);
    }
    Some(all)
}

fn read_path<'b>(from: &mut keep::Reader<'b>) -> Option<&'b Path> {
    let path = Path::new(OsStr::from_bytes(from.bytes()?));
    path.is_absolute().then_some(path)
}

#[cfg(test)]
#[path = "kept_sources_tests.rs"]
mod tests;
