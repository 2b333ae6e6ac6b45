//! What scrapers were shown, and when: so that no count is shown before everybody saw the 0 before it, and none is
//! forgotten before everybody saw it.
//!
//! ```text
//! newborn ── a cut for a scrape ──► in its batch, shown as 0 ── first sent, then one hold ──► shown as it is
//! shown   ── not touched, sent in a cut, then one hold, and idle for long ──► forgotten
//! ```
//!
//! A hold is longer than the time between two scrapes of any scraper, so whatever is on the page for that long was seen
//! by all. It is one for all scrapers: one that is new or comes back sees what the others see.

use std::collections::VecDeque;
use std::time::Duration;

/// The series that were born before one cut and after the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// The number of the cut, and of the batch. Not 0.
    pub cut: u32,
    /// When a scraper was first sent the batch.
    pub first_served: Option<Duration>,
}

/// A cut of which it is not yet known that all scrapers saw its values.
#[derive(Clone, Copy, Debug)]
struct Pending {
    cut: u32,
    made: Duration,
    first_served: Option<Duration>,
}

/// The numbers of the cuts, the batches of births, and up to when all values are known to all scrapers.
#[derive(Clone, Debug, Default)]
pub(super) struct Exposure {
    /// `None`: nobody has set one, and nothing is held.
    pub hold: Option<Duration>,
    /// The number of the latest cut. One a second makes 68 years of what a batch's number has room for.
    pub cut: u32,
    /// Those that are held, ascending.
    pub batches: VecDeque<Batch>,
    pending: Option<Pending>,
    /// Values not touched since this time were seen by all.
    seen_by_all: Option<Duration>,
}

impl Exposure {
    pub fn holds(&self) -> bool {
        self.hold.is_some_and(|hold| !hold.is_zero())
    }

    /// A cut is being made: its number.
    pub fn next_cut(&mut self) -> u32 {
        self.cut = (self.cut + 1).min(CUT_MAX);
        self.cut
    }

    /// The held series in no batch become part of one of this cut.
    pub fn begin_batch(&mut self) -> u32 {
        if self.is_crowded() {
            self.batches.retain(|batch| batch.first_served.is_some());
        }
        if self.batches.back().is_none_or(|batch| batch.cut < self.cut) {
            self.batches.push_back(Batch { cut: self.cut, first_served: None });
        }
        self.cut
    }

    /// Whether so many batches wait to be sent that they become one.
    pub fn is_crowded(&self) -> bool {
        self.batches.iter().filter(|batch| batch.first_served.is_none()).count() >= UNSENT_MAX
    }

    /// Whether a held series is part of a batch that is known.
    pub fn knows(&self, batch: u32) -> bool {
        self.batches.binary_search_by_key(&batch, |batch| batch.cut).is_ok()
    }

    /// Whether every scraper that comes once per hold has seen the zeros of a batch.
    pub fn is_mature(&self, batch: u32, now: Duration) -> bool {
        let known = self.batches.binary_search_by_key(&batch, |batch| batch.cut);
        known.is_ok_and(|at| self.is_over(self.batches[at].first_served, now))
    }

    /// Whether any batch is ripe.
    pub fn has_mature(&self, now: Duration) -> bool {
        self.batches.iter().any(|batch| self.is_over(batch.first_served, now))
    }

    pub fn drop_mature(&mut self, now: Duration) {
        let hold = self.hold.unwrap_or_default();
        self.batches.retain(|batch| !is_over(batch.first_served, hold, now));
    }

    /// The cut made now goes to a scraper, perhaps.
    pub fn made_for_scrape(&mut self, now: Duration) {
        if self.pending.is_none() {
            self.pending = Some(Pending { cut: self.cut, made: now, first_served: None });
        }
    }

    /// A cut was first sent to a scraper.
    pub fn served(&mut self, cut: u64, at: Duration) {
        let times = self.batches.iter_mut().map(|batch| (batch.cut, &mut batch.first_served));
        let pending = self.pending.iter_mut().map(|shown| (shown.cut, &mut shown.first_served));
        for (_, first_served) in times.chain(pending).filter(|(number, _)| u64::from(*number) <= cut) {
            first_served.get_or_insert(at);
        }
    }

    /// Nobody can tell which scraper came of late: what is held or shown begins to be so when it is next sent.
    pub fn begin_anew(&mut self) {
        self.batches.iter_mut().for_each(|batch| batch.first_served = None);
        self.pending = None;
    }

    /// The time before whose second a value was touched last, if it was seen by all. `None`: nothing is known to be.
    pub fn seen_by_all(&mut self, now: Duration) -> Option<Duration> {
        if let Some(shown) = self.pending
            && self.is_over(shown.first_served, now)
        {
            self.seen_by_all = Some(shown.made);
            self.pending = None;
        }
        self.seen_by_all
    }

    fn is_over(&self, first_served: Option<Duration>, now: Duration) -> bool {
        is_over(first_served, self.hold.unwrap_or_default(), now)
    }
}

fn is_over(first_served: Option<Duration>, hold: Duration, now: Duration) -> bool {
    first_served.is_some_and(|first| first.saturating_add(hold) <= now)
}

/// Batches that no scraper was sent. Scrapes that break off before their first byte make them.
const UNSENT_MAX: usize = 64;

/// A batch's number has 31 bits in a cell.
pub(super) const CUT_MAX: u32 = (1 << 31) - 1;
