//! The worker thread: turns of the engine, and answers between them.

use super::committer::Verdict;
use super::cut::Cut;
use super::engine::Engine;
use super::events;
use super::pages::Pages;
use super::rim::Shared;
use crate::config::Config;
use crate::geoip::LookupCounts;
use crate::ledger::JobBooks;
use crate::metrics::Snapshot;
use crate::pipeline::Output;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;
use tokio::sync::oneshot;

/// A cut is made at least so often, scraped or not: it bounds what a crash makes the agent read again, and what is
/// lost if files vanish meanwhile.
pub const CUT_EVERY: Duration = Duration::from_secs(10);
/// The same while entries wait for one to be sent.
const CUT_EVERY_SENDING: Duration = Duration::from_secs(1);
/// Scrapers that ask again within this time after a cut was made get that one.
const CUT_SHARED: Duration = Duration::from_millis(900);

/// A turn of the loop takes a second or two. After a longer one the process was stopped or the machine slept, and
/// scrapers came in vain.
const STOOD_STILL: Duration = Duration::from_secs(10);

/// What the worker is asked; each answer goes back by its own channel.
pub enum Command {
    /// Something may have been written: look now.
    Wake,
    /// A scraper or a person wants to see a cut; it comes by way of the committer.
    Cut {
        for_scrape: bool,
    },
    /// The committer is done with the last cut that it got.
    Committed(Verdict),
    /// A scraper gets this cut at this time; births are hidden for `hold`.
    Served {
        number: u64,
        at: Duration,
        hold: Duration,
    },
    Report(oneshot::Sender<Report>),
    Pages(oneshot::Sender<Pages>),
    /// Goes over to a new configuration; series that are defined as before go on.
    /// With where entries go from then on, if not to where they went before.
    Reconfigure(Box<Config>, Option<Box<dyn Output>>, oneshot::Sender<()>),
    /// Answers when everything that is there now was read.
    Drain(oneshot::Sender<()>),
    /// Makes the last cut; answers when it is committed.
    Stop(oneshot::Sender<()>),
}

/// What the committer is to do.
pub enum Commit {
    /// Makes a cut durable; after one with `end` no other one follows.
    Cut { cut: Arc<Cut>, end: bool },
    /// Makes room in the memory of outboxes.
    Relieve,
}

/// The state of the worker at one moment.
pub struct Report {
    pub snapshot: Snapshot,
    pub books: Vec<JobBooks>,
    pub facts: Facts,
}

/// Facts of the worker for the agent's own metrics.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub files: u64,
    /// Sources that are read, by job.
    pub sources: Vec<(String, u64)>,
    pub targets: u64,
    /// Targets that discovery left out since the start, by reason.
    pub targets_dropped: Vec<(String, u64)>,
    pub pod_directories_malformed: u64,
    pub directories_unreadable: u64,
    pub discovery_truncated: bool,
    /// Files that are not read, by reason.
    pub files_refused: Vec<(String, u64)>,
    /// Files that exist and cannot be read now.
    pub files_unreadable: u64,
    /// Files that were truncated or rewritten while they were read.
    pub files_restarted: u64,
    /// Files whose rest could not be read.
    pub files_broken: u64,
    /// Breaks of promises since the state began, by reason.
    pub breaks: Vec<(String, u64)>,
    /// NUL bytes in front of lines.
    pub nul_bytes: u64,
    /// Files that are read, closed and looked at by their path only.
    pub files_asleep: u64,
    /// Files that may be open at once.
    pub files_open_max: u64,
    pub lag_bytes: u64,
    pub lag_bytes_max: u64,
    pub lag_seconds_max: f64,
    pub geoip: LookupCounts,
    /// Lines that were dropped by a label's name and value.
    pub dropped_by_label: BTreeMap<(String, String), u64>,
}

/// The engine at work, and what it has promised.
pub struct Worker {
    engine: Engine,
    commits: Sender<Commit>,
    /// A cut is with the committer.
    committing: bool,
    /// Somebody waits for a cut; whether it is a scraper.
    wanted: Option<bool>,
    /// When the last cut was made, and when the last one for a scraper.
    cut_at: Duration,
    scrape_cut_at: Option<Duration>,
    /// Whether cuts are of use to anybody but those who ask.
    keeps_state: bool,
    /// There is no cut yet that the next run could go on from.
    anew: bool,
    draining: Vec<oneshot::Sender<()>>,
    stopping: Option<oneshot::Sender<()>>,
}

impl Worker {
    /// With `keeps_state` a cut is made now and then, asked for or not; with `anew` the first one before anything is read,
    /// or a run that is killed before its first cut would leave batches of which nobody knows whose lines they are.
    pub fn new(engine: Engine, commits: Sender<Commit>, keeps_state: bool, anew: bool) -> Self {
        Worker {
            cut_at: engine.monotonic(),
            engine,
            commits,
            committing: false,
            wanted: None,
            scrape_cut_at: None,
            keeps_state,
            anew,
            draining: Vec::new(),
            stopping: None,
        }
    }

    /// Works until it is told to stop, or nobody is left to tell it.
    pub fn run(mut self, shared: &Shared, wake: Wake, commands: &Receiver<Command>) {
        // Before the first line, or it would be counted without its country.
        self.engine.check_geoip();
        self.engine.watch(wake);
        if self.anew {
            self.send(false, false);
        }
        let mut turned = self.engine.monotonic();
        loop {
            let now = self.engine.monotonic();
            if now > turned + STOOD_STILL {
                self.engine.stood_still();
            }
            turned = now;
            loop {
                match commands.try_recv() {
                    Ok(command) => self.take(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            if self.stopping.is_some() {
                return self.stop(commands);
            }
            self.engine.refresh_if_due();
            shared.set_ready(self.engine.follows_any());
            self.cut_if_wanted();
            if self.engine.turn().more {
                continue;
            }
            for done in self.draining.drain(..) {
                let _ = done.send(());
            }
            match commands.recv_timeout(self.pause()) {
                Ok(command) => self.take(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Carries a command out. Who asked for a drain is answered by the loop, which knows when all is read.
    fn take(&mut self, command: Command) {
        match command {
            Command::Wake => self.engine.hint(),
            Command::Cut { for_scrape } => {
                let now = self.engine.monotonic();
                let shares = for_scrape && self.scrape_cut_at.is_some_and(|at| now < at + CUT_SHARED);
                if !shares {
                    self.wanted = Some(for_scrape || self.wanted == Some(true));
                }
            }
            Command::Committed(verdict) => self.committed(&verdict),
            Command::Served { number, at, hold } => self.engine.served(number, at, hold),
            // Whoever asked may have gone; that is no concern of the worker's.
            Command::Report(reply) => drop(reply.send(self.engine.report())),
            Command::Pages(reply) => drop(reply.send(self.engine.pages())),
            Command::Reconfigure(config, output, reply) => {
                self.engine.reconfigure(&config);
                if let Some(output) = output {
                    self.engine.replace_output(output);
                }
                self.scrape_cut_at = None;
                let _ = reply.send(());
            }
            Command::Drain(done) => {
                // Files that appeared a moment ago count as being there, and so do their lines.
                self.engine.look_at_everything();
                self.draining.push(done);
            }
            Command::Stop(done) => self.stopping = Some(done),
        }
    }

    fn committed(&mut self, verdict: &Verdict) {
        self.committing = false;
        if let Some(reason) = verdict.broken {
            self.engine.broke(reason);
        }
        for notice in &verdict.notices {
            self.engine.broke(notice.reason());
        }
        events::committed(verdict);
    }

    /// Makes a cut if somebody waits for one, or it is time; never while one is on its way to the disk.
    fn cut_if_wanted(&mut self) {
        let now = self.engine.monotonic();
        let is_time = self.keeps_state && now >= self.cut_at + self.cut_every();
        let wanted = self.wanted.or(is_time.then_some(false));
        let Some(for_scrape) = wanted.filter(|_| !self.committing) else { return };
        self.wanted = None;
        if for_scrape {
            // What was written by now is to be in it, as far as one turn goes.
            self.engine.read_everything_due_or_not();
            self.scrape_cut_at = Some(now);
        }
        self.send(for_scrape, false);
    }

    fn send(&mut self, for_scrape: bool, end: bool) {
        let cut = Arc::new(self.engine.cut(for_scrape));
        self.cut_at = cut.made;
        self.committing = self.commits.send(Commit::Cut { cut, end }).is_ok();
    }

    /// How long to wait for the next turn.
    fn pause(&self) -> Duration {
        let pause = self.engine.pause();
        if !self.keeps_state || self.committing {
            return pause;
        }
        pause.min((self.cut_at + self.cut_every()).saturating_sub(self.engine.monotonic()))
    }

    /// After which time a cut is made though nobody asks for one.
    fn cut_every(&self) -> Duration {
        if self.engine.wants_cut() { CUT_EVERY_SENDING } else { CUT_EVERY }
    }

    /// The end: nothing more is read, and the last cut is what everybody sees from now on.
    fn stop(mut self, commands: &Receiver<Command>) {
        self.wait_for_commit(commands);
        self.send(true, true);
        self.wait_for_commit(commands);
        if let Some(done) = self.stopping.take() {
            let _ = done.send(());
        }
    }

    fn wait_for_commit(&mut self, commands: &Receiver<Command>) {
        while self.committing {
            match commands.recv() {
                Ok(Command::Committed(verdict)) => self.committed(&verdict),
                // Whoever else asks now learns from the closed channel that it is over.
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// Wakes the worker when a directory changed.
pub type Wake = Box<dyn Fn() + Send + Sync>;
