//! The state directory at the start: its lock, what the last run left, and how this one goes on.

use super::committer::{Committer, Reopen};
use super::delivery::Deliveries;
use super::engine::Engine;
use super::events;
use super::run::{self, Run};
use super::worker::Command;
use crate::checkpoint::{self, Checkpoint, CheckpointError, ErrorKind, Limits, Notice, Opened};
use crate::config::{Config, FinalScrapeWait, Fsync};
use crate::discovery::hostname;
use crate::disk::{RealDisk, SimDisk};
use crate::keep::Entries;
use crate::metrics::{Restore, Snapshot};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How often the lock of another agent is tried again.
const LOCK_EVERY: Duration = Duration::from_millis(250);
/// A pod's last cut waits so long for its scrapers; the kubelet gives a pod 30 s to end.
const FINAL_WAIT_IN_POD: Duration = Duration::from_secs(20);

/// How a run keeps what it knows.
pub struct Keeping {
    pub committer: Committer,
    /// There is no cut in the directory, nor anything else that the first one should wait for.
    pub anew: bool,
}

/// How long the last cut waits for the scrapers that came in the last minutes.
pub fn final_scrape_wait(config: &Config) -> Duration {
    match config.metrics.final_scrape_wait {
        FinalScrapeWait::Fixed(wait) => wait,
        FinalScrapeWait::Auto if config.state.identity.is_some() => Duration::ZERO,
        FinalScrapeWait::Auto if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => FINAL_WAIT_IN_POD,
        FinalScrapeWait::Auto => Duration::ZERO,
    }
}

/// Opens the state directory, gives the engine what the last run left there, and the committer what it needs to go on.
/// Waits while another agent holds the directory; `None`: told to stop meanwhile.
pub fn open(
    config: &Config,
    engine: &mut Engine,
    commands: &Receiver<Command>,
    deliveries: &Arc<Deliveries>,
) -> Option<Keeping> {
    let outboxes = deliveries.outboxes().clone();
    let Some(directory) = config.state_directory() else {
        events::no_state();
        return Some(Keeping { committer: Committer::without_state().deliver(outboxes), anew: false });
    };
    let fsync = config.state.fsync;
    engine.set_run(this_run(config));
    let mut told = false;
    let opened = loop {
        match open_directory(&directory) {
            Ok(opened) => break opened,
            Err(error) if error.kind == ErrorKind::Locked => {
                if !std::mem::replace(&mut told, true) {
                    events::state_waits(&directory);
                }
                if is_told_to_stop(commands) {
                    return None;
                }
            }
            Err(error) => {
                let why = error.to_string();
                events::state_refused(&directory, &why);
                engine.broke("state_unavailable");
                let reopen = reopen(directory, Arc::clone(deliveries));
                let committer = Committer::waiting(reopen, fsync, why).deliver(outboxes);
                return Some(Keeping { committer, anew: false });
            }
        }
    };
    if opened.checkpoint.is_volatile() {
        events::state_is_volatile(&directory);
    }
    let shown = take_up(&opened, engine);
    // An agent that has ended may still be sending from its spools.
    let lost = loop {
        match deliveries.open_spools(&directory, &opened.recovered.entries) {
            Ok(lost) => break lost,
            Err(_) if is_told_to_stop(commands) => return None,
            Err(_) => {}
        }
    };
    if lost > 0 {
        engine.broke("spool_damaged");
    }
    // A cut that is made before a file is found does not know of its position.
    let anew = opened.recovered.entries.is_empty() && !take_positions(config, engine);
    events::state_opened(&directory, opened.recovered.entries.len());
    Some(Keeping { committer: Committer::on(opened.checkpoint, fsync, shown).deliver(outboxes), anew })
}

/// As [`open`], for a dry run: goes on where the last run was, and keeps nothing. Another agent may be at work in the
/// directory.
pub fn look(config: &Config, engine: &mut Engine) -> Committer {
    let Some(directory) = config.state_directory() else { return Committer::without_state() };
    engine.set_run(this_run(config));
    let copy = SimDisk::new(0);
    let files = std::fs::read_dir(&directory).into_iter().flatten().flatten();
    for file in files.filter(|file| file.file_type().is_ok_and(|kind| kind.is_file())) {
        if let (Ok(name), Ok(bytes)) = (file.file_name().into_string(), std::fs::read(file.path())) {
            copy.set_file(&name, Some(bytes));
        }
    }
    match Checkpoint::open(copy.mount(), Limits::default()) {
        Ok(opened) => {
            take_up(&opened, engine);
            if opened.recovered.entries.is_empty() {
                take_positions(config, engine);
            }
        }
        Err(error) => events::state_refused(&directory, &error.to_string()),
    }
    Committer::without_state()
}

fn open_directory(directory: &Path) -> Result<Opened, CheckpointError> {
    let disk = RealDisk::open(directory).map_err(|error| CheckpointError::io("it cannot be opened", error))?;
    Checkpoint::open(Box::new(disk), Limits::default())
}

/// Gives the engine what the checkpoint recovered. Returns what scrapers had seen of the series.
pub fn take_up(opened: &Opened, engine: &mut Engine) -> Option<Snapshot> {
    for notice in &opened.notices {
        events::state_notice(&notice.to_string());
        engine.broke(notice.reason());
    }
    let recovered = &opened.recovered;
    if recovered.entries.is_empty() {
        return None;
    }
    let Some(before) = recovered.entries.get(run::SLOT).and_then(Run::read) else {
        engine.broke("state_corrupt");
        return None;
    };
    // What only people saw may be lost.
    let unseen = |notice: &Notice| before.synced && matches!(notice, Notice::Unsynced { .. });
    let older = opened.notices.iter().any(|notice| notice.is_loss() && !unseen(notice));
    let resumption = engine.run.resume(&before, recovered.clean, older);
    if resumption.how == Restore::Rebase {
        events::rebased(&engine.run.identity);
    }
    engine.resume(recovered, &resumption)
}

/// This run as the next one will know it.
fn this_run(config: &Config) -> Run {
    let identity = config.state.identity.clone().unwrap_or_else(|| {
        let machine = checkpoint::machine_id().unwrap_or_default();
        format!("{} {machine}", hostname())
    });
    let boot_id = checkpoint::boot_id().unwrap_or_default();
    Run { identity, boot_id, synced: config.state.fsync == Fsync::EveryCut }
}

/// The first start where Promtail ran before: its places in the files. Whether there are any.
fn take_positions(config: &Config, engine: &mut Engine) -> bool {
    let Some(file) = config.positions.filename.as_deref().map(Path::new) else { return false };
    let Some(positions) = checkpoint::positions::read(file) else { return false };
    if let Some(notice) = &positions.notice {
        events::state_notice(&format!("{}: {notice}", file.display()));
    }
    let any = !positions.files.is_empty();
    if any {
        events::positions_taken(file, positions.files.len());
        engine.take_positions(positions);
    }
    any
}

/// Tries the directory again. What it holds is older than what this run counted, and is not taken up.
fn reopen(directory: PathBuf, deliveries: Arc<Deliveries>) -> Reopen {
    Box::new(move || {
        let opened = open_directory(&directory).map_err(|error| error.to_string())?;
        // Batches that another run left are sent: their lines may be in no file any more.
        deliveries.open_spools(&directory, &Entries::default()).map_err(|error| error.to_string())?;
        Ok(opened.checkpoint)
    })
}

/// Waits a moment for a command to stop; others have to ask again.
fn is_told_to_stop(commands: &Receiver<Command>) -> bool {
    match commands.recv_timeout(LOCK_EVERY) {
        Ok(Command::Stop(_)) | Err(RecvTimeoutError::Disconnected) => true,
        Ok(_) | Err(RecvTimeoutError::Timeout) => false,
    }
}
