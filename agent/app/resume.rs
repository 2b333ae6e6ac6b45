//! The engine over restarts: what a cut holds, and how a new engine goes on from the last one.

use super::cut::Cut;
use super::engine::Engine;
use super::events;
use super::run::{self, Resumption};
use super::worker::Report;
use crate::checkpoint::Recovered;
use crate::checkpoint::positions::Positions;
use crate::keep::{Entries, Reader, Slot, Table};
use crate::ledger::JobBooks;
use crate::metrics::{Restore, Snapshot};
use crate::pipeline::IngressHosts;
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
        self.output.keep(&mut kept);
        kept.shrink();
        let report = Report { snapshot, books, facts: self.facts() };
        Cut { number: report.snapshot.number(), for_scrape, made, report, kept }
    }

    /// Goes on where another run was, which may have had another configuration. To be called once, before anything else.
    /// What scrapers had seen of the series, as far as these go on.
    pub fn resume(&mut self, recovered: &Recovered, resumption: &Resumption) -> Option<Snapshot> {
        let entries = &recovered.entries;
        self.restore_breaks(entries);
        if let Some(reason) = resumption.broken {
            self.breaks.add(reason, 1);
        }
        let series = self.series.restore(entries, &recovered.before, resumption.how, self.clock.monotonic());
        let mut damaged = series.damaged;
        let (hosts, unreadable) = IngressHosts::restore(entries);
        self.hosts = hosts;
        damaged += unreadable;
        let (reader, mut turning) = self.parts();
        let rebound = reader.restore(entries, resumption.rebooted, &mut turning);
        damaged += rebound.damaged;
        for (number, bytes) in entries.table(Table::JOBS) {
            let Some(books) = JobBooks::read(&mut Reader::new(bytes)) else {
                damaged += 1;
                continue;
            };
            let Some(at) = self.jobs.iter().position(|job| job.name == books.job) else {
                self.gone.push(books.without_held());
                continue;
            };
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let binding = |old: u32| rebound.binding(at, old);
            let restored = self.jobs[at].go_on(number, books, entries, &binding);
            damaged += restored.damaged;
        }
        damaged += self.output.restore(entries);
        if damaged > 0 {
            events::state_notice(&format!("{damaged} entries of the state cannot be read"));
            self.breaks.add("state_corrupt", damaged);
        }
        // After a rebase all is held, so scrapers have seen nothing but zeroes of it.
        let goes_on = resumption.how != Restore::Rebase;
        goes_on.then(|| self.series.as_seen(entries, &recovered.before))
    }

    fn restore_breaks(&mut self, entries: &Entries) {
        for (_, bytes) in entries.table(Table::BREAKS) {
            let mut reader = Reader::new(bytes);
            if let (Some(reason), Some(times)) = (reader.text(), reader.number()) {
                self.breaks.add(reason, times);
            }
        }
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

    /// The process was stopped, or the machine slept: whatever is held waits its whole time again.
    pub fn stood_still(&mut self) {
        self.series.stood_still();
    }

    /// A first start where Promtail ran before: sources that are found from now on begin at its places.
    pub fn take_positions(&mut self, positions: Positions) {
        self.reader.take_positions(positions.files, positions.modified);
    }

    fn collect_breaks(&mut self) {
        for (reason, times) in std::mem::take(&mut self.reader.breaks) {
            self.breaks.add(reason, times);
        }
    }

    /// A promise broke, outside of what the engine sees itself.
    pub fn broke(&mut self, reason: &str) {
        self.breaks.add(reason, 1);
    }
}

#[cfg(test)]
#[path = "resume_tests.rs"]
mod tests;
