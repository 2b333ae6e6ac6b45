//! A cut: all that counts at one moment, and the cuts that were published.

use super::committer::CommitFacts;
use super::worker::Report;
use crate::keep::Entries;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// A consistent image, made between two turns of the engine. It never changes.
pub struct Cut {
    /// Counts up, over restarts too.
    pub number: u64,
    /// Whether a scraper may see it. What one has seen is never taken back.
    pub for_scrape: bool,
    /// When, by the clock that never goes back.
    pub made: Duration,
    pub report: Report,
    /// Everything beside the series that a restart needs.
    pub kept: Entries,
}

/// The cuts that may be shown, from the committer to the rim. All scrapers see one sequence of them.
#[derive(Default)]
pub struct Cuts {
    shown: Mutex<Shown>,
    /// Counts publications.
    published: watch::Sender<u64>,
}

#[derive(Default)]
struct Shown {
    /// For people.
    newest: Option<Arc<Cut>>,
    /// For scrapers.
    for_scrape: Option<Arc<Cut>>,
    /// Nothing will be published any more.
    last: bool,
    state: CommitFacts,
}

impl Cuts {
    pub fn publish(&self, cut: Arc<Cut>) {
        {
            let mut shown = self.lock();
            if cut.for_scrape {
                shown.for_scrape = Some(Arc::clone(&cut));
            }
            shown.newest = Some(cut);
        }
        self.published.send_modify(|count| *count += 1);
    }

    /// The last cut was published: it is shown to everybody from now on.
    pub fn end(&self) {
        self.lock().last = true;
        self.published.send_modify(|count| *count += 1);
    }

    pub fn has_ended(&self) -> bool {
        self.lock().last
    }

    /// The newest cut for a scraper or for a person.
    pub fn newest(&self, scraper: bool) -> Option<Arc<Cut>> {
        let shown = self.lock();
        let cut = if scraper { &shown.for_scrape } else { &shown.newest };
        cut.clone()
    }

    /// How the committer does.
    pub fn state(&self) -> CommitFacts {
        self.lock().state.clone()
    }

    pub fn note(&self, state: CommitFacts) {
        self.lock().state = state;
    }

    /// Wakes with each publication.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// A panic of another thread leaves nothing half-done behind this lock.
    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
