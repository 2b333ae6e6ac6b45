//! The committer: each cut goes to the log of the state directory, and is shown only then.
//!
//! A plain state machine, so that a simulator can drive it; the agent gives it a thread of its own, for a disk may take
//! its time. While the disk fails, scrapers see what they saw before. After a minute of that they get the present
//! values all the same: from then on a crash can cost exactness, which is counted, and shown with the first such values.

use super::cut::Cut;
use crate::checkpoint::{Checkpoint, CheckpointError, ErrorKind, Notice};
use crate::config::Fsync;
use crate::keep::Keep;
use crate::metrics::Snapshot;
use crate::sink::Outboxes;
use std::sync::Arc;
use std::time::Duration;

/// For so long a failing disk keeps new cuts back.
pub const VOLATILE_AFTER: Duration = Duration::from_secs(60);
/// How often a state directory that cannot be used is tried again.
const REOPEN_EVERY: Duration = Duration::from_secs(5);

/// Opens the state directory once more, for a new log from the state in memory. Errors: it still cannot be used.
pub type Reopen = Box<dyn FnMut() -> Result<Checkpoint, String> + Send>;

pub struct Committer {
    storage: Storage,
    fsync: Fsync,
    /// What the log holds; without it the next cut is written whole.
    last: Option<Arc<Cut>>,
    /// What scrapers have seen, row by row as in the cuts of this run.
    shown: Option<ShownSeries>,
    synced: Option<Duration>,
    failing: Option<Failing>,
    outboxes: Outboxes,
    spool_failing: bool,
    notices: Vec<Notice>,
    facts: CommitFacts,
}

enum Storage {
    /// The configuration names no directory.
    None,
    Open(Box<Checkpoint>),
    /// It cannot be used; tried again after the given time.
    Closed {
        reopen: Reopen,
        due: Duration,
        why: String,
    },
}

/// The last cut that was made for a scraper; after a start, what the former run had shown.
enum ShownSeries {
    Cut(Arc<Cut>),
    Before(Box<Snapshot>),
}

struct Failing {
    since: Duration,
    /// Values are shown although they are not durable.
    volatile: bool,
}

/// What came of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The cut may be shown.
    pub publish: bool,
    /// A promise broke with this one.
    pub broken: Option<&'static str>,
    /// Told once for each trouble.
    pub trouble: Option<String>,
    /// The trouble has passed.
    pub recovered: bool,
    /// Batches could not be stored; told once for each trouble.
    pub spool_trouble: Option<String>,
    /// What was found beside: the directory was emptied, for example.
    pub notices: Vec<Notice>,
}

/// The committer in numbers, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitFacts {
    /// Whether what is shown would survive a crash.
    pub durable: bool,
    pub commits: u64,
    pub failures: u64,
    pub took: Duration,
    /// Bytes given to the disk.
    pub written_bytes: u64,
    /// New logs that were begun.
    pub snapshots: u64,
}

impl Committer {
    /// For an agent that keeps nothing.
    pub fn without_state() -> Self {
        Committer::new(Storage::None, Fsync::Never)
    }

    /// On an open state directory. `shown` is what scrapers saw of the series that were restored, if any were.
    pub fn on(checkpoint: Checkpoint, fsync: Fsync, shown: Option<Snapshot>) -> Self {
        let storage = Storage::Open(Box::new(checkpoint));
        let shown = shown.map(|series| ShownSeries::Before(Box::new(series)));
        Committer { shown, ..Committer::new(storage, fsync) }
    }

    /// On a state directory that cannot be used for now.
    pub fn waiting(reopen: Reopen, fsync: Fsync, why: String) -> Self {
        Committer::new(Storage::Closed { reopen, due: Duration::ZERO, why }, fsync)
    }

    fn new(storage: Storage, fsync: Fsync) -> Self {
        let facts = CommitFacts::default();
        let (last, shown, synced, failing, notices) = (None, None, None, None, Vec::new());
        let outboxes = Outboxes::default();
        Committer { storage, fsync, last, shown, synced, failing, outboxes, spool_failing: false, notices, facts }
    }

    /// Before a cut is durable, so are the batches of these that are not settled: its cursors are past their lines.
    pub fn deliver(self, outboxes: Outboxes) -> Self {
        Committer { outboxes, ..self }
    }

    pub fn facts(&self) -> &CommitFacts {
        &self.facts
    }

    /// Whether there is a state directory to write to at all.
    pub fn keeps_state(&self) -> bool {
        !matches!(self.storage, Storage::None)
    }

    /// A commit took so long; told by who has the clock.
    pub fn took(&mut self, time: Duration) {
        self.facts.took += time;
    }

    /// Makes a cut durable, as far as it can be, and lets go of what waited for it. With `end` it is the last one: it is synced, and the log closed in order.
    pub fn commit(&mut self, cut: &Arc<Cut>, now: Duration, end: bool) -> Verdict {
        let verdict = self.try_commit(cut, now, end);
        if verdict.publish {
            self.outboxes.cut_is_durable();
        }
        verdict
    }

    fn try_commit(&mut self, cut: &Arc<Cut>, now: Duration, end: bool) -> Verdict {
        if !self.keeps_state() {
            return Verdict { publish: true, ..Verdict::default() };
        }
        let spool_trouble = self.store_batches(cut, now, end);
        let written = self.open(now).and_then(|()| self.write(cut, now, end).map_err(|error| error.to_string()));
        let written = written.and_then(|()| if end { self.close() } else { Ok(()) });
        match written {
            Ok(()) => {
                self.facts.commits += 1;
                self.facts.durable = true;
                if cut.for_scrape {
                    self.shown = Some(ShownSeries::Cut(Arc::clone(cut)));
                }
                self.last = Some(Arc::clone(cut));
                let recovered = self.failing.take().is_some();
                let notices = std::mem::take(&mut self.notices);
                Verdict { publish: true, recovered, notices, spool_trouble, ..Verdict::default() }
            }
            Err(error) => {
                self.last = None;
                self.facts.failures += 1;
                Verdict { spool_trouble, ..self.failed(cut, now, error) }
            }
        }
    }

    /// Makes room in the memory of outboxes, between two cuts.
    pub fn relieve(&self) {
        self.outboxes.relieve();
    }

    /// A batch that cannot be stored stays in memory and keeps no cut back: what is counted does not wait for it.
    fn store_batches(&mut self, cut: &Cut, now: Duration, end: bool) -> Option<String> {
        let sync = end || (cut.for_scrape && self.must_sync(now));
        let failed = self.outboxes.save(sync).err();
        let was_failing = std::mem::replace(&mut self.spool_failing, failed.is_some());
        failed.filter(|_| !was_failing).map(|error| error.to_string())
    }

    fn failed(&mut self, cut: &Arc<Cut>, now: Duration, error: String) -> Verdict {
        let mut verdict = Verdict::default();
        let failing = self.failing.get_or_insert_with(|| {
            verdict.trouble = Some(error);
            Failing { since: now, volatile: false }
        });
        // The first cut that could be shown does not tell of this yet, and no disk will. The next one does.
        verdict.publish = failing.volatile;
        if !failing.volatile && now >= failing.since + VOLATILE_AFTER {
            failing.volatile = true;
            verdict.broken = Some("volatile");
        }
        if verdict.publish {
            self.facts.durable = false;
            if cut.for_scrape {
                self.shown = Some(ShownSeries::Cut(Arc::clone(cut)));
            }
        }
        verdict
    }

    fn write(&mut self, cut: &Arc<Cut>, now: Duration, end: bool) -> Result<(), CheckpointError> {
        let sync = end || (cut.for_scrape && self.must_sync(now));
        let Storage::Open(checkpoint) = &mut self.storage else { return Ok(()) };
        let written = checkpoint.written_bytes();
        let series = &cut.report.snapshot;
        let appended = self.last.as_ref().filter(|_| !checkpoint.wants_snapshot()).map(|last| {
            let mut changes = |keep: &mut dyn Keep| {
                cut.kept.changes_since(&last.kept, keep);
                series.changes_since(Some(&last.report.snapshot), keep);
            };
            checkpoint.append(&mut changes, cut.for_scrape, sync)
        });
        let outcome = match appended {
            Some(Err(error)) if error.kind != ErrorKind::Full => Err(error),
            Some(Ok(())) => Ok(()),
            // The log is not begun, or has no room: not a fault.
            Some(Err(_)) | None => {
                self.facts.snapshots += 1;
                let shown = self.shown.as_ref().map(ShownSeries::series).filter(|_| !cut.for_scrape).unwrap_or(series);
                let begun = checkpoint.snapshot(
                    &mut |keep| {
                        cut.kept.iter().for_each(|(slot, value)| keep.put(slot, value));
                        shown.changes_since(None, keep);
                    },
                    &mut |keep| series.changes_since(Some(shown), keep),
                );
                begun.map(|notices| self.notices.extend(notices))
            }
        };
        self.facts.written_bytes += checkpoint.written_bytes() - written;
        outcome?;
        if sync {
            self.synced = Some(now);
        }
        Ok(())
    }

    /// The log is closed in order; nothing is written any more.
    fn close(&mut self) -> Result<(), String> {
        match std::mem::replace(&mut self.storage, Storage::None) {
            Storage::Open(checkpoint) => checkpoint.close().map_err(|error| error.to_string()),
            Storage::Closed { .. } | Storage::None => Ok(()),
        }
    }

    /// Opens the directory again if it was given up.
    fn open(&mut self, now: Duration) -> Result<(), String> {
        let Storage::Closed { reopen, due, why } = &mut self.storage else { return Ok(()) };
        if now < *due {
            return Err(why.clone());
        }
        *due = now + REOPEN_EVERY;
        let checkpoint = reopen().inspect_err(|error| why.clone_from(error))?;
        self.storage = Storage::Open(Box::new(checkpoint));
        Ok(())
    }

    fn must_sync(&self, now: Duration) -> bool {
        match self.fsync {
            Fsync::EveryCut => true,
            Fsync::Every(period) => self.synced.is_none_or(|at| now >= at + period),
            Fsync::Never => false,
        }
    }
}

impl ShownSeries {
    fn series(&self) -> &Snapshot {
        match self {
            ShownSeries::Cut(cut) => &cut.report.snapshot,
            ShownSeries::Before(series) => series,
        }
    }
}

#[cfg(test)]
#[path = "committer_tests.rs"]
mod tests;
