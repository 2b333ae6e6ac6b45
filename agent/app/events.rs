//! What the agent says in its log: each event once, in one place.

use crate::geoip::Event;
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
