//! The worker thread: turns of the engine, and answers between them.

use super::engine::Engine;
use super::rim::Shared;
use crate::config::Config;
use crate::geoip::LookupCounts;
use crate::ledger::JobBooks;
use crate::metrics::Snapshot;
use crate::sink::Printer;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use tokio::sync::oneshot;

/// What the worker is asked; each answer goes back by its own channel.
pub enum Command {
    /// Something may have been written: look now.
    Wake,
    Report(oneshot::Sender<Report>),
    /// Goes over to a new configuration; series that are defined as before go on.
    Reconfigure(Box<Config>, oneshot::Sender<()>),
    /// Answers when everything that is there now was read.
    Drain(oneshot::Sender<()>),
    Stop,
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
}

/// Runs the engine until it is told to stop, or nobody is left to tell it.
pub fn run(mut engine: Engine, dry_run: bool, shared: &Shared, wake: Wake, commands: &Receiver<Command>) {
    if dry_run {
        engine.set_output(Box::new(Printer::new(std::io::stdout())));
    }
    // Before the first line, or it would be counted without its country.
    engine.check_geoip();
    engine.watch(wake);
    let mut draining: Vec<oneshot::Sender<()>> = Vec::new();
    loop {
        loop {
            match commands.try_recv() {
                Ok(command) => {
                    if !answer(&mut engine, command, &mut draining) {
                        return;
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        if engine.refresh_if_due() {
            shared.leave(engine.pages());
        }
        if engine.turn().more {
            continue;
        }
        for done in draining.drain(..) {
            let _ = done.send(());
        }
        match commands.recv_timeout(engine.pause()) {
            Ok(command) => {
                if !answer(&mut engine, command, &mut draining) {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Wakes the worker when a directory changed.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// Carries a command out; whether to go on. Who asked for a drain is answered by the loop, which knows when all is read.
fn answer(engine: &mut Engine, command: Command, draining: &mut Vec<oneshot::Sender<()>>) -> bool {
    match command {
        Command::Wake => engine.hint(),
        // Whoever asked may have gone; that is no concern of the worker's.
        Command::Report(reply) => drop(reply.send(engine.report())),
        Command::Reconfigure(config, reply) => {
            engine.reconfigure(&config);
            let _ = reply.send(());
        }
        Command::Drain(done) => {
            // Files that appeared a moment ago count as being there, and so do their lines.
            engine.look_at_everything();
            draining.push(done);
        }
        Command::Stop => return false,
    }
    true
}
