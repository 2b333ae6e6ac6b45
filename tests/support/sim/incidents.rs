//! What happens to the node, the agent's process and its disk.

use super::day::Day;
use super::plan::{Event, What};
use super::random::Random;
use std::net::SocketAddr;
use std::sync::Arc;
use weir::clock::Clock;
use weir::disk::Fault;

/// The last cut waits so long for its scrapers.
const FINAL_WAIT_MS: u64 = 20_000;

pub(super) struct Ending {
    pub(super) since: std::time::Duration,
    pub(super) until_ms: u64,
    pub(super) down_ms: u64,
}

impl Day<'_> {
    pub(super) fn happen(&mut self, event: &Event) -> Result<(), String> {
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
    pub(super) fn heal(&mut self) {
        let now = self.clock.elapsed_ms();
        (self.slow_until_ms, self.state_fails_until_ms, self.logs_full_until_ms) = (0, 0, 0);
        self.up_at_ms = self.up_at_ms.min(now);
        for scraper in &mut self.scrapers {
            (scraper.down_until_ms, scraper.requests_lost, scraper.answers_lost) = (0, 0, 0);
        }
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

    pub(super) fn end_process(&mut self) {
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
}
