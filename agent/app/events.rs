//! What the agent says in its log: each event once, in one place.

use super::committer::Verdict;
use crate::discovery::kubernetes::{Notice as PodNotice, PodEvent};
use crate::geoip::Event;
use crate::sink::SenderEvent;
use crate::sink::lane::Trouble;
use crate::source::Notice;
use std::net::SocketAddr;
use std::path::Path;
use tracing::{error, info, warn};

pub fn listening(address: SocketAddr) {
    info!(%address, "server listening");
}

pub fn no_signals() {
    error!("signals cannot be handled; the agent ends when its process does");
}

pub fn reloaded() {
    info!("configuration reloaded");
}

pub fn reload_failed(why: &str) {
    error!(reason = why, "configuration not reloaded; the old one stays");
}

pub fn read_at_start_only(key: &str) {
    warn!(key, "a change that counts from the next start on");
}

pub fn geoip(path: &Path, event: &Event) {
    let db = path.display();
    match event {
        Event::Loaded { type_name, replaced: false, .. } => info!(%db, database = type_name, "GeoIP database loaded"),
        Event::Loaded { type_name, .. } => info!(%db, database = type_name, "GeoIP database replaced"),
        Event::Missing { kept: false } => warn!(%db, "no GeoIP database: lines are counted without its labels"),
        Event::Missing { kept: true } => warn!(%db, "the GeoIP database is gone: the one in memory stays in use"),
        Event::Failed { reason, kept } => {
            warn!(%db, %reason, kept, "GeoIP database refused");
        }
    }
}

pub fn pods(event: &PodEvent<'_>) {
    match event {
        PodEvent::Watch { path, notice: PodNotice::Failing { reason, text } } => {
            let reason = reason.as_str();
            warn!(
                path,
                reason, text, "the Kubernetes API does not tell of pods: what is known stays, it is asked again"
            );
        }
        PodEvent::Watch { path, notice: PodNotice::Recovered { after } } => {
            info!(path, seconds = after.as_secs(), "the Kubernetes API tells of pods again");
        }
        PodEvent::NoPods { node_name } => {
            warn!(
                node = node_name,
                "the Kubernetes API knows no pod here: is that the node's name? (NODE_NAME, HOSTNAME)"
            );
        }
        PodEvent::NoNamespace { why } => warn!(reason = why, "the namespace of this pod cannot be read"),
    }
}

/// What is worth saying of a commit.
pub fn committed(verdict: &Verdict) {
    if let Some(trouble) = &verdict.trouble {
        error!(reason = %trouble, "the state cannot be written: scrapers see what they saw before");
    }
    if verdict.broken.is_some() {
        error!("the state could not be written for a minute: from now on scrapers see values that a crash would lose");
    }
    if let Some(trouble) = &verdict.spool_trouble {
        error!(reason = %trouble, "batches cannot be stored: those that Loki has not taken are only in memory");
    }
    for notice in &verdict.notices {
        state_notice(&notice.to_string());
    }
    if verdict.recovered {
        info!("the state is written again");
    }
}

pub fn no_state() {
    warn!("no state directory: after a restart files are read again and counters begin at 0 (`state.directory`)");
}

pub fn state_opened(directory: &Path, slots: usize) {
    info!(directory = %directory.display(), slots, "state directory opened");
}

pub fn state_waits(directory: &Path) {
    warn!(directory = %directory.display(), "another agent holds the state directory: waiting for it to end");
}

pub fn state_refused(directory: &Path, why: &str) {
    error!(directory = %directory.display(), reason = why, "the state directory cannot be used; it is tried again");
}

pub fn state_is_volatile(directory: &Path) {
    warn!(directory = %directory.display(), "the state directory lies in memory: nothing outlives the machine");
}

pub fn state_notice(what: &str) {
    warn!(what, "the state was not as the last run left it");
}

pub fn sender(client: &str, event: &SenderEvent<'_>) {
    match event {
        SenderEvent::Trouble { tenant, trouble, code, text } => {
            let code = code.map_or(-1, i32::from);
            let help = match code {
                _ if *trouble == Trouble::StreamLimit => {
                    "only new streams wait; max_global_streams_per_user of Loki, or labels with fewer values"
                }
                200..=259 | 261..=299 => "Loki answers 204; if this server is no Loki: delivery.accept_200",
                _ => "",
            };
            warn!(client, tenant, reason = trouble.name(), code, text, help, "batches are not taken; they are kept");
        }
        SenderEvent::Recovered { tenant, after } => {
            info!(client, tenant, seconds = after.as_secs(), "batches are taken again");
        }
        SenderEvent::DeadLetter { tenant, letter } => {
            let (labels, line) = (&letter.labels, letter.line.escape_ascii().to_string());
            warn!(
                client,
                tenant,
                code = letter.code,
                text = letter.answer,
                labels,
                line,
                "an entry is refused for good"
            );
        }
    }
}

pub fn spool_refused(client: &str, why: &str) {
    error!(client, reason = why, "the spool cannot be used: batches that Loki has not taken are only in memory");
}

pub fn spool_notice(client: &str, what: &str) {
    warn!(client, what, "the spool was not as the last run left it");
}

pub fn rebased(identity: &str) {
    info!(identity, "counters begin at 0 for their scrapers");
}

pub fn positions_taken(file: &Path, positions: usize) {
    info!(file = %file.display(), positions, "Promtail's positions taken over");
}

pub fn no_thread(why: &str) {
    error!(reason = why, "a thread cannot be started");
}

pub fn not_encoded(why: &str) {
    error!(reason = why, "a scrape could not be answered");
}

pub fn source_added(path: &Path, jobs: &str) {
    info!(path = %path.display(), jobs, "source added");
}

pub fn source_left(path: &Path) {
    info!(path = %path.display(), "source left");
}

pub fn file_refused(path: &Path, reason: &str) {
    warn!(path = %path.display(), reason, "file not read");
}

/// What happened to the files of a source.
pub fn source_notice(notice: &Notice) {
    match notice {
        Notice::NotOpened { path, refusal } => file_refused(path, &refusal.to_string()),
        Notice::NotRead { path, error } => warn!(path = %path.display(), %error, "cannot be read; tried again"),
        Notice::Rewritten { path, offset } => {
            info!(path = %path.display(), offset, "file truncated or rewritten: begun again");
        }
        Notice::Truncated { path, offset } => {
            warn!(path = %path.display(), offset, "file truncated before all of it was read: lines are lost");
        }
        Notice::BrokenArchive { path, offset, error } => {
            warn!(path = %path.display(), offset, %error, "compressed file damaged: its rest is lost");
        }
        Notice::Unreadable { path, offset, end } => {
            error!(path = %path.display(), offset, end, "given up after many failures: these bytes are not counted");
        }
        Notice::Vanished { path, offset } => {
            warn!(path = %path.display(), offset, "file gone before it was read to its end");
        }
        Notice::Shortened { path, offset, end } => {
            warn!(path = %path.display(), offset, end, "file shorter than before the power loss: read on from its end");
        }
        Notice::PowerLoss { path, offset } => {
            warn!(path = %path.display(), offset, "file changed by a power loss: read on behind what was read");
        }
    }
}

pub fn watching_stopped(why: &str) {
    warn!(reason = why, "no notifications of file changes: files are polled");
}
