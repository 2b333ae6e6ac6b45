//! Cuts on their way to the disk and to the scrapers.

use super::agent::{self, Agent};
use super::day::Day;
use super::prometheus::Prometheus;
use super::random::Random;
use std::net::SocketAddr;
use std::sync::Arc;
use weir::app::{Cut, Verdict};
use weir::clock::Clock;
use weir::metrics::Shown;

/// A scraper waits so long for its answer; the agent gives the cut before after half of that, at most 3 s.
const PATIENCE_MS: u64 = 3_000;

pub(super) struct Pending {
    pub(super) cut: Arc<Cut>,
    pub(super) done_ms: u64,
    /// Already on the disk; otherwise it gets there at the end.
    pub(super) verdict: Option<Verdict>,
}

pub(super) struct Scraper {
    pub(super) prometheus: Prometheus,
    pub(super) peer: SocketAddr,
    pub(super) down_until_ms: u64,
    pub(super) requests_lost: u64,
    pub(super) answers_lost: u64,
    /// When a scrape last came to nothing.
    pub(super) missed_ms: u64,
}

impl Day<'_> {
    /// Makes a cut and gives it to the committer, unless one is with it already.
    pub(super) fn cut(&mut self, for_scrape: bool) -> Result<(), String> {
        if self.pending.is_some() || self.ending.is_some() {
            return Ok(());
        }
        let Some(agent) = &mut self.agent else { return Ok(()) };
        if self.plan.shape.plain && !for_scrape {
            return Ok(());
        }
        let cut = agent.cut(for_scrape);
        let started_ms = agent.started_ms;
        self.judge.looked(&mut self.machine, started_ms)?;
        self.judge.made(&cut, &self.machine)?;
        let now = self.clock.elapsed_ms();
        let mut random = Random::new(self.plan.seed ^ now);
        if now < self.slow_until_ms {
            let verdict =
                random.percent(50).then(|| self.agent.as_mut().map(|agent| agent.commit(&cut, false))).flatten();
            self.pending = Some(Pending { cut, done_ms: now + random.between(500, 9_000), verdict });
            return Ok(());
        }
        let Some(agent) = &mut self.agent else { return Ok(()) };
        let verdict = agent.commit(&cut, false);
        self.publish(cut, &verdict);
        Ok(())
    }

    pub(super) fn committed(&mut self) -> Result<(), String> {
        let (Some(pending), Some(agent)) = (self.pending.take(), &mut self.agent) else { return Ok(()) };
        let verdict = pending.verdict.unwrap_or_else(|| agent.commit(&pending.cut, false));
        self.publish(pending.cut, &verdict);
        Ok(())
    }

    pub(super) fn publish(&mut self, cut: Arc<Cut>, verdict: &Verdict) {
        let durable = self.agent.as_ref().is_some_and(Agent::is_durable);
        self.judge.committed(&cut, verdict, durable);
        if verdict.publish && cut.for_scrape {
            self.shown = Some(cut);
        }
    }

    pub(super) fn scrape(&mut self, at: usize) -> Result<(), String> {
        let now = self.clock.elapsed_ms();
        let scraper = &mut self.scrapers[at];
        if now < scraper.down_until_ms || self.agent.is_none() {
            scraper.missed_ms = now;
            return Ok(());
        }
        if scraper.requests_lost > 0 {
            scraper.requests_lost -= 1;
            scraper.missed_ms = now;
            return Ok(());
        }
        let mono = self.clock.monotonic();
        let is_fresh = |cut: &Arc<Cut>| mono.saturating_sub(cut.made).as_millis() < 1_000;
        if !self.shown.as_ref().is_some_and(is_fresh) {
            // One that is on its way may come in time.
            if let Some(done) = self.pending.as_ref().map(|pending| pending.done_ms)
                && done <= now + PATIENCE_MS
            {
                self.committed()?;
            }
            self.cut(true)?;
        }
        let scraper = &mut self.scrapers[at];
        let (Some(agent), Some(cut)) = (&mut self.agent, self.shown.clone()) else {
            scraper.missed_ms = now;
            return Ok(());
        };
        let page = agent::values(&cut.report.snapshot, Shown::ToScraper, &mut self.machine.oracle);
        if self.trace {
            let (hold, age) = (agent.hold(), self.judge.age());
            println!("{now} page of cut {} for {at} in age {age}, hold {hold:?}: {page:?}", cut.number);
        }
        // The hold is the one that is in force with this request.
        agent.served(cut.number, scraper.peer);
        self.judge.page(&cut, &page, agent.hold(), &self.machine)?;
        if scraper.answers_lost > 0 {
            scraper.answers_lost -= 1;
            scraper.missed_ms = now;
        } else {
            scraper.prometheus.scrape(self.judge.identity, self.judge.age(), &page);
            self.judge.scraped(&cut, &mut scraper.prometheus, scraper.missed_ms, &self.machine)?;
        }
        if let Some(ending) = &self.ending
            && agent.all_scraped_since(ending.since)
        {
            self.end_process();
        }
        Ok(())
    }
}
