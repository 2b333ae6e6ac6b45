//! A day on a node, played from its plan: who acts when, and what fails.

use super::agent::{self, Agent};
use super::clock::SimClock;
use super::incidents::Ending;
use super::judge::Judge;
use super::node::Machine;
use super::plan::{DAY_MS, Plan};
use super::prometheus::Prometheus;
use super::random::Random;
use super::serving::{Pending, Scraper};
use std::net::SocketAddr;
use std::sync::Arc;
use weir::app::{Cut, Run};
use weir::config::Config;
use weir::disk::SimDisk;
use weir::metrics::Shown;

/// Nothing happens for longer than this only between sessions; then time is skipped, but for the minute before the
/// next event. Longer than every hold and two scrapes.
const QUIET_MS: u64 = 300_000;
/// After so long without scrapes the agent takes nobody for a slow scraper.
const SKIPPED_MS: u64 = 700_000;

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
    pub(super) plan: &'p Plan,
    pub(super) config: Config,
    pub(super) clock: Arc<SimClock>,
    pub(super) machine: Machine,
    pub(super) disk: SimDisk,
    pub(super) agent: Option<Agent>,
    /// When the agent comes back.
    pub(super) up_at_ms: u64,
    /// The agent has made its last cut and waits for scrapers until then.
    pub(super) ending: Option<Ending>,
    /// What scrapers are shown.
    pub(super) shown: Option<Arc<Cut>>,
    /// A cut on its way to a slow disk.
    pub(super) pending: Option<Pending>,
    pub(super) slow_until_ms: u64,
    pub(super) state_fails_until_ms: u64,
    pub(super) logs_full_until_ms: u64,
    pub(super) identity: u32,
    pub(super) boots: u32,
    pub(super) scrapers: [Scraper; 2],
    due: Timers,
    pub(super) judge: Judge,
    /// Tells what happens.
    pub(super) trace: bool,
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

    /// The kubelet does its steps; the agent may look between any two, or die.
    pub(super) fn rotate(&mut self, random: &mut Random) -> Result<(), String> {
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

    pub(super) fn look(&mut self) -> Result<(), String> {
        let Some(agent) = self.agent.as_mut().filter(|_| self.ending.is_none()) else { return Ok(()) };
        agent.look();
        let started_ms = agent.started_ms;
        self.judge.looked(&mut self.machine, started_ms)
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
        let prometheis: Vec<&Prometheus> = self.scrapers.iter().map(|scraper| &scraper.prometheus).collect();
        self.judge.finish(&values, &cut.report.facts.breaks, &mut self.machine, &prometheis)
    }
}
