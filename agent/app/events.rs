//! What the agent says in its log: each event once, in one place.

use crate::geoip::Event;
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

pub fn watching_stopped(why: &str) {
    warn!(reason = why, "no notifications of file changes: files are polled");
}
