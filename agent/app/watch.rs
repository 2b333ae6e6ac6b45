//! A hint that a directory of pods changed, so that a new pod is read at once.
//!
//! Only directories of directories are watched: a watch over a directory of log files would wake the agent for every
//! line. Polling is the truth; without any notification new pods are found a second later (DESIGN: decision 5).

use super::events;
use super::worker::Wake;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Watch {
    /// One notification instance for the whole process; that it cannot be had is told once.
    pub fn new(wake: Wake) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let matters = event.is_ok_and(|e| matches!(e.kind, EventKind::Create(_) | EventKind::Other));
            if matters {
                wake();
            }
        });
        let watcher = match watcher {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                events::watching_stopped(&error.to_string());
                None
            }
        };
        Watch { watcher, watched: BTreeSet::new() }
    }

    /// Watches the roots and the pods' directories below them, and no longer those that are gone.
    pub fn follow<'p>(&mut self, roots: impl Iterator<Item = &'p PathBuf>, files: impl Iterator<Item = &'p PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut wanted: BTreeSet<PathBuf> = roots.filter(|root| root.is_dir()).cloned().collect();
        let pods: BTreeSet<PathBuf> = files
            .filter_map(|file| file.parent().and_then(Path::parent))
            .filter(|pod| pod.parent().is_some_and(|root| wanted.contains(root)))
            .map(Path::to_path_buf)
            .collect();
        wanted.extend(pods);
        for gone in self.watched.difference(&wanted) {
            // A directory that was removed took its watch with it.
            let _ = watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.watched) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                events::watching_stopped(&error.to_string());
                self.watcher = None;
                return;
            }
        }
        self.watched = wanted;
    }
}
