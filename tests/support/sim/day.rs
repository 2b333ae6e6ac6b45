//! A day on a node, played from its plan: who acts when, and what fails.

use super::agent::{self, Agent};
use super::clock::SimClock;
use super::judge::Judge;
use super::node::Machine;
use super::plan::{DAY_MS, Event, Plan, What};
use super::prometheus::Prometheus;
use super::random::Random;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use weir::app::{Cut, Run, Verdict};
use weir::clock::Clock;
use weir::config::Config;
use weir::disk::{Fault, SimDisk};
use weir::metrics::Shown;

/// Nothing happens for longer than this only between sessions; then time is skipped, but for the minute before the
/// next event. Longer than every hold and two scrapes.
const QUIET_MS: u64 = 300_000;
/// After so long without scrapes the agent takes nobody for a slow scraper.
const SKIPPED_MS: u64 = 700_000;
/// A scraper waits so long for its answer; the agent gives the cut before after half of that, at most 3 s.
const PATIENCE_MS: u64 = 3_000;
/// The last cut waits so long for its scrapers.
const FINAL_WAIT_MS: u64 = 20_000;

/// What went wrong, and when.
#[derive(Clone, Debug)]
pub struct Failure {
    pub at_ms: u64,
    pub what: String,
}

impl Failure {
    /// What kind of failure it is: the first words.
    pub fn kind(&self) -> String {
        let words = self.what.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() > 3);
        words.rev().take(3).collect::<Vec<_>>().join(" ")
    }
}

pub struct Day<'p> {
    plan: &'p Plan,
    config: Config,
    clock: Arc<SimClock>,
    machine: Machine,
    disk: SimDisk,
    agent: Option<Agent>,
    /// When the agent comes back.
    up_at_ms: u64,
    /// The agent has made its last cut and waits for scrapers until then.
    ending: Option<Ending>,
    /// What scrapers are shown.
    shown: Option<Arc<Cut>>,
    /// A cut on its way to a slow disk.
    pending: Option<Pending>,
    slow_until_ms: u64,
    state_fails_until_ms: u64,
    logs_full_until_ms: u64,
    identity: u32,
    boots: u32,
    scrapers: [Scraper; 2],
    due: Timers,
    judge: Judge,
    /// Tells what happens.
    trace: bool,
}

struct Pending {
    cut: Arc<Cut>,
    done_ms: u64,
    /// Already on the disk; otherwise it gets there at the end.
    verdict: Option<Verdict>,
}

struct Ending {
    since: std::time::Duration,
    until_ms: u64,
    down_ms: u64,
}

struct Scraper {
    prometheus: Prometheus,
    peer: SocketAddr,
    down_until_ms: u64,
    requests_lost: u64,
    answers_lost: u64,
    /// When a scrape last came to nothing.
    missed_ms: u64,
}

/// When what comes by itself comes next.
struct Timers {
    look: u64,
    cut: u64,
    monitor: u64,
    sync: u64,
    scrapes: [u64; 2],
}

impl<'p> Day<'p> {
    /// Plays a day to its end. The judge says how it went.
    pub fn play(plan: &'p Plan) -> Result<Judge, Failure> {
        let mut day = Day::new(plan);
        if day.trace {
            // What the agent itself says; once for all days.
            let _ = tracing_subscriber::fmt().with_ansi(false).without_time().try_init();
        }
        let outcome = day.run();
        let at_ms = day.clock.elapsed_ms();
        outcome.map(|()| day.judge).map_err(|what| Failure { at_ms, what })
    }

    fn new(plan: &'p Plan) -> Day<'p> {
        let clock = Arc::new(SimClock::default());
        let scraper = |n: u8| Scraper {
            prometheus: Prometheus::default(),
            peer: SocketAddr::from(([10, 0, 0, n], 1000)),
            down_until_ms: 0,
            requests_lost: 0,
            answers_lost: 0,
            missed_ms: 0,
        };
        Day {
            plan,
            config: agent::config(),
            machine: Machine::new(clock.clone()),
            clock,
            disk: SimDisk::new(plan.seed),
            agent: None,
            up_at_ms: 0,
            ending: None,
            shown: None,
            pending: None,
            slow_until_ms: 0,
            state_fails_until_ms: 0,
            logs_full_until_ms: 0,
            identity: 0,
            boots: 0,
            scrapers: [scraper(1), scraper(2)],
            due: Timers { look: 0, cut: 0, monitor: 10_000, sync: 30_000, scrapes: [500, 7_500] },
            judge: Judge::new(plan.shape.plain),
            trace: std::env::var_os("WEIR_SIM_TRACE").is_some(),
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let plan = self.plan;
        let last = plan.events.last().map_or(0, |event| event.at_ms);
        for event in &plan.events {
            self.wait_for(event.at_ms)?;
            self.clock.advance_to_ms(event.at_ms);
            self.happen(event)?;
        }
        self.heal();
        self.wait_for((last + 2 * QUIET_MS).max(DAY_MS))?;
        self.finish()
    }

    /// Lets pass what comes by itself.
    fn wait_for(&mut self, until_ms: u64) -> Result<(), String> {
        let start = self.clock.elapsed_ms().max(self.well_from_ms());
        let mut skip_from = start + QUIET_MS;
        if until_ms < skip_from + SKIPPED_MS {
            skip_from = u64::MAX;
        }
        loop {
            let now = self.next_due();
            if now >= until_ms {
                return Ok(());
            }
            if now >= skip_from {
                self.skip_to(until_ms - 61_000);
                skip_from = u64::MAX;
                continue;
            }
            self.clock.advance_to_ms(now);
            self.tick(now)?;
        }
    }

    /// When all that is known to fail now is over.
    fn well_from_ms(&self) -> u64 {
        let faults = [self.up_at_ms, self.slow_until_ms, self.state_fails_until_ms, self.logs_full_until_ms];
        let scrapers = self.scrapers.iter().map(|scraper| scraper.down_until_ms);
        faults.into_iter().chain(scrapers).max().unwrap_or(0)
    }

    fn next_due(&self) -> u64 {
        let due = &self.due;
        let up = if self.agent.is_none() { self.up_at_ms } else { u64::MAX };
        let pending = self.pending.as_ref().map_or(u64::MAX, |pending| pending.done_ms);
        let ending = self.ending.as_ref().map_or(u64::MAX, |ending| ending.until_ms);
        let own = [due.look, due.cut, due.monitor, due.sync, up, pending, ending];
        own.into_iter().chain(due.scrapes).min().unwrap_or(u64::MAX).max(self.clock.elapsed_ms())
    }

    fn skip_to(&mut self, ms: u64) {
        let due = &mut self.due;
        for time in [&mut due.look, &mut due.cut, &mut due.monitor, &mut due.sync].into_iter().chain(&mut due.scrapes) {
            *time = (*time).max(ms);
        }
        self.clock.advance_to_ms(ms);
    }

    /// Does all that is due now.
    fn tick(&mut self, now: u64) -> Result<(), String> {
        if self.agent.is_none() && now >= self.up_at_ms {
            self.start()?;
        }
        if self.pending.as_ref().is_some_and(|pending| now >= pending.done_ms) {
            self.committed()?;
        }
        if self.ending.as_ref().is_some_and(|ending| now >= ending.until_ms) {
            self.end_process();
        }
        if now >= self.due.sync {
            self.due.sync = now + 30_000;
            self.machine.fs.sync();
        }
        if now >= self.due.monitor {
            self.due.monitor = now + 10_000;
            self.machine.monitor();
            self.rotate(&mut Random::new(self.plan.seed ^ now))?;
        }
        if now >= self.due.look {
            self.due.look = now + 1_000 + (self.plan.seed ^ now) % 1_500;
            self.look()?;
        }
        if now >= self.due.cut {
            self.due.cut = now + 10_000;
            self.cut(false)?;
        }
        for at in 0..2 {
            if now >= self.due.scrapes[at] {
                let jitter = Random::new(self.plan.seed ^ now).below(2_000);
                self.due.scrapes[at] = now + self.plan.shape.scrape_ms[at] - 1_000 + jitter;
                self.scrape(at)?;
            }
        }
        if now >= self.state_fails_until_ms {
            self.disk.fail(None);
            self.disk.set_capacity_bytes(None);
        }
        self.machine.full = now < self.logs_full_until_ms;
        Ok(())
    }

    fn happen(&mut self, event: &Event) -> Result<(), String> {
        if self.trace {
            println!("{event}");
        }
        let (now, mut random) = (event.at_ms, Random::new(event.salt));
        let containers = self.machine.containers.len() as u64;
        let pick = |which: u64| (containers > 0).then(|| (which % containers) as usize);
        *self.judge.stats.events.entry(event.what.name()).or_default() += 1;
        match event.what {
            What::StartPod if containers < 12 => self.machine.start_pod(&mut random),
            What::StartPod => {}
            What::DeletePod(which) => {
                if let Some(at) = pick(which) {
                    self.machine.delete_pod(at);
                }
            }
            What::Restart(which) => {
                if let Some(at) = pick(which) {
                    self.machine.restart(at);
                }
            }
            What::Write { container, lines } => {
                if let Some(at) = pick(container) {
                    self.machine.write(at, lines, &mut random);
                }
            }
            What::Rotate(which) => {
                if let Some(at) = pick(which) {
                    self.machine.rotate(at, 1);
                    self.rotate(&mut random)?;
                }
            }
            What::KubeletDies(steps) => self.machine.kubelet.ends_before = Some(steps),
            What::ReopenFails => self.machine.kubelet.reopen_fails = true,
            What::ClockStep(seconds) => self.clock.step_seconds(seconds),
            What::LocalTime(seconds) => self.machine.kubelet.local_seconds = seconds,
            What::LogsFull(seconds) => self.logs_full_until_ms = now + seconds * 1000,
            What::Kill(down) => self.kill(down * 1000, &mut random)?,
            What::Stop(down) => self.stop(down * 1000, 0)?,
            What::Rollout { down, killed } => {
                if killed {
                    self.kill(down * 1000, &mut random)?;
                } else {
                    self.stop(down * 1000, FINAL_WAIT_MS)?;
                }
                self.identity += 1;
            }
            What::Reboot { down, power } => self.reboot(down * 1000, power, &mut random)?,
            What::StateFull(seconds) => {
                let used: usize = self.disk.files().values().map(Vec::len).sum();
                self.disk.set_capacity_bytes(Some(used as u64));
                self.state_fails_until_ms = now + seconds * 1000;
            }
            What::StateFails(seconds) => {
                self.disk.fail(Some(Fault::ReadOnly));
                self.state_fails_until_ms = now + seconds * 1000;
            }
            What::StateSlow(seconds) => self.slow_until_ms = now + seconds * 1000,
            What::StateRemoved => {
                self.disk.remove_directory();
                self.judge.state_was_emptied();
            }
            What::StateDamaged => {
                self.damage(&mut random);
                self.judge.state_was_harmed();
            }
            What::Reload => {
                let running = self.ending.is_none();
                if let Some(agent) = self.agent.as_mut().filter(|_| running) {
                    agent.engine.reconfigure(&self.config);
                }
            }
            What::ScrapesLost(at, count) => self.scrapers[at].requests_lost = count,
            What::AnswersLost(at, count) => self.scrapers[at].answers_lost = count,
            What::PrometheusDown(at, seconds) => self.scrapers[at].down_until_ms = now + seconds * 1000,
            What::PrometheusMoves(at) => {
                let peer = &mut self.scrapers[at].peer;
                *peer = SocketAddr::from(([10, 0, 1, random.below(250) as u8], 1000));
            }
        }
        self.judge.find_lost(&mut self.machine);
        Ok(())
    }

    fn damage(&mut self, random: &mut Random) {
        for (name, mut bytes) in self.disk.files() {
            if random.percent(60) && !bytes.is_empty() {
                let at = random.below(bytes.len() as u64) as usize;
                match random.below(3) {
                    0 => bytes.truncate(at),
                    1 => bytes[at] ^= 1 << random.below(8),
                    _ => bytes[at..].iter_mut().take(2_000).for_each(|byte| *byte = 0),
                }
                self.disk.set_file(&name, Some(bytes));
            }
        }
    }

    /// All is well from here on.
    fn heal(&mut self) {
        let now = self.clock.elapsed_ms();
        (self.slow_until_ms, self.state_fails_until_ms, self.logs_full_until_ms) = (0, 0, 0);
        self.up_at_ms = self.up_at_ms.min(now);
        for scraper in &mut self.scrapers {
            (scraper.down_until_ms, scraper.requests_lost, scraper.answers_lost) = (0, 0, 0);
        }
    }

    /// The kubelet does its steps; the agent may look between any two, or die.
    fn rotate(&mut self, random: &mut Random) -> Result<(), String> {
        while self.machine.step(random) {
            if random.percent(15) {
                self.look()?;
            }
            if random.percent(5) {
                self.cut(false)?;
            }
            self.judge.find_lost(&mut self.machine);
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), String> {
        if self.trace {
            println!("{} start\n{}", self.clock.elapsed_ms(), self.machine.listing());
        }
        let run =
            Run { identity: format!("node {}", self.identity), boot_id: format!("boot {}", self.boots), synced: true };
        let (mut agent, found) =
            Agent::start(&self.config, &self.plan.shape, &self.machine.fs, &self.disk, &self.clock, run);
        let now = agent::values(&agent.engine.snapshot(), Shown::ToPerson, &mut self.machine.oracle);
        let mut prometheis: Vec<&mut Prometheus> =
            self.scrapers.iter_mut().map(|scraper| &mut scraper.prometheus).collect();
        if self.trace {
            println!("{} lines counted", now.values().sum::<u64>());
        }
        self.judge.started(found.as_ref(), &now, self.identity, &mut self.machine, &mut prometheis)?;
        agent.look();
        if self.trace {
            let books = agent.engine.books();
            println!(
                "after the first look: {} lines read\n{}",
                books.iter().map(|books| books.read).sum::<u64>(),
                self.machine.listing()
            );
        }
        self.agent = Some(agent);
        self.shown = None;
        self.judge.looked(&mut self.machine, self.agent.as_ref().map_or(0, |agent| agent.started_ms))
    }

    fn look(&mut self) -> Result<(), String> {
        let Some(agent) = self.agent.as_mut().filter(|_| self.ending.is_none()) else { return Ok(()) };
        agent.look();
        let started_ms = agent.started_ms;
        self.judge.looked(&mut self.machine, started_ms)
    }

    /// Makes a cut and gives it to the committer, unless one is with it already.
    fn cut(&mut self, for_scrape: bool) -> Result<(), String> {
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

    fn committed(&mut self) -> Result<(), String> {
        let (Some(pending), Some(agent)) = (self.pending.take(), &mut self.agent) else { return Ok(()) };
        let verdict = pending.verdict.unwrap_or_else(|| agent.commit(&pending.cut, false));
        self.publish(pending.cut, &verdict);
        Ok(())
    }

    fn publish(&mut self, cut: Arc<Cut>, verdict: &Verdict) {
        self.judge.committed(&cut, verdict);
        if verdict.publish && self.pending.is_none() {
            self.machine.fs.settle();
        }
        if verdict.publish && cut.for_scrape {
            self.shown = Some(cut);
        }
    }

    fn scrape(&mut self, at: usize) -> Result<(), String> {
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

    /// kill -9: perhaps in the middle of writing a cut.
    fn kill(&mut self, down_ms: u64, random: &mut Random) -> Result<(), String> {
        if self.agent.is_some() && self.ending.is_none() && self.pending.is_none() && random.percent(50) {
            self.disk.fail_at(random.between(1, 6), Fault::Death);
            let (for_scrape, Some(agent)) = (random.percent(50), &mut self.agent) else { return Ok(()) };
            let cut = agent.cut(for_scrape);
            let started_ms = agent.started_ms;
            self.judge.looked(&mut self.machine, started_ms)?;
            self.judge.made(&cut, &self.machine)?;
            if let Some(agent) = &mut self.agent {
                // Whatever came of it, nobody was told.
                agent.commit(&cut, false);
            }
        }
        self.up_at_ms = self.clock.elapsed_ms() + down_ms;
        self.lose_process();
        Ok(())
    }

    /// SIGTERM: a last cut, and perhaps a while for the scrapers to get it.
    fn stop(&mut self, down_ms: u64, wait_ms: u64) -> Result<(), String> {
        if self.ending.is_some() {
            return Ok(());
        }
        self.committed()?;
        let Some(agent) = &mut self.agent else {
            self.up_at_ms = self.clock.elapsed_ms() + down_ms;
            return Ok(());
        };
        let cut = Arc::new(agent.engine.cut(true));
        self.judge.made(&cut, &self.machine)?;
        let verdict = agent.commit(&cut, true);
        self.publish(cut, &verdict);
        let now = self.clock.elapsed_ms();
        self.ending = Some(Ending { since: self.clock.monotonic(), until_ms: now + wait_ms, down_ms });
        if wait_ms == 0 {
            self.end_process();
        }
        Ok(())
    }

    fn end_process(&mut self) {
        if let Some(ending) = self.ending.take() {
            self.up_at_ms = self.clock.elapsed_ms() + ending.down_ms;
            self.lose_process();
        }
    }

    /// The process is no more; files and disk are as it left them.
    fn lose_process(&mut self) {
        self.agent = None;
        self.ending = None;
        self.pending = None;
        self.disk.crash();
        self.machine.fs.forget_process();
    }

    fn reboot(&mut self, down_ms: u64, power: bool, random: &mut Random) -> Result<(), String> {
        if !power {
            self.stop(down_ms, 0)?;
        }
        self.lose_process();
        if power {
            self.disk.power_loss();
            self.judge.power_lost();
        }
        self.machine.reboot(power, random);
        self.boots += 1;
        self.up_at_ms = self.clock.elapsed_ms() + down_ms;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        if self.trace {
            println!("end\n{}", self.machine.listing());
        }
        let Some(agent) = &mut self.agent else { return Err("the agent is not there at the end".to_string()) };
        agent.look();
        self.judge.looked(&mut self.machine, agent.started_ms)?;
        let cut = agent.engine.cut(false);
        let values = agent::values(&cut.report.snapshot, Shown::ToPerson, &mut self.machine.oracle);
        let breaks: BTreeMap<String, u64> = cut.report.facts.breaks.iter().cloned().collect();
        let prometheis: Vec<&Prometheus> = self.scrapers.iter().map(|scraper| &scraper.prometheus).collect();
        self.judge.finish(&values, breaks, &mut self.machine, &prometheis)
    }
}
