//! The engine over restarts: what a cut holds, and how a new engine goes on from the last one.

use super::cut::Cut;
use super::engine::{Engine, seconds};
use super::events;
use super::run::{self, Resumption, Run};
use super::worker::Report;
use crate::checkpoint::Recovered;
use crate::keep::{Entries, Reader, Slot, Table};
use crate::ledger::JobBooks;
use crate::metrics::{Restore, Snapshot};
use crate::pipeline::BindingId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Breaks of promises by their reason, since the state began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaks(BTreeMap<String, u64>);

impl Breaks {
    pub fn add(&mut self, reason: &str, times: u64) {
        *self.0.entry(reason.to_string()).or_default() += times;
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(reason, times)| (reason.as_str(), *times))
    }
}

impl Engine {
    /// An image of everything, made between two turns. With `for_scrape` a scraper may see it.
    pub fn cut(&mut self, for_scrape: bool) -> Cut {
        self.collect_breaks();
        let made = self.clock.monotonic();
        let snapshot = self.series.cut(for_scrape, made);
        let mut kept = Entries::default();
        kept.put(run::SLOT, |writer| self.run.write(writer));
        self.reader.keep(&mut kept);
        let books = self.books();
        for (at, books) in books.iter().chain(&self.gone).enumerate() {
            kept.put(Slot { table: Table::JOBS, index: at as u64 }, |writer| books.write(writer));
        }
        for (at, job) in self.jobs.iter().enumerate() {
            job.pipeline.keep(at as u32, &mut kept);
        }
        self.hosts.keep(&mut kept);
        for (at, (reason, times)) in self.breaks.iter().enumerate() {
            kept.put(Slot { table: Table::BREAKS, index: at as u64 }, |writer| {
                writer.bytes(reason.as_bytes());
                writer.number(times);
            });
        }
        let report = Report { snapshot, books, facts: self.facts() };
        Cut { number: report.snapshot.number(), for_scrape, made, report, kept }
    }

    /// From now on newborn series are shown to scrapers as 0 for so long after they were first sent to one.
    pub fn set_hold(&mut self, hold: Duration) {
        self.series.set_hold(hold);
    }

    /// A scraper got this cut; births in it are hidden for `hold` from now on.
    pub fn served(&mut self, number: u64, at: Duration, hold: Duration) {
        self.set_hold(hold);
        self.series.served(number, at);
    }

    /// A promise broke, outside of what the engine sees itself.
    pub fn broke(&mut self, reason: &str) {
        self.breaks.add(reason, 1);
    }
}
