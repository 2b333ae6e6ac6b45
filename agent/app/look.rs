//! When the engine looks for targets, and what comes of it.

use super::engine::Engine;
use super::reader::{Reader, Wanted};
use crate::config::Config;
use crate::discovery::{SourceConfig, StillTree};
use crate::source::base_of;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Targets are looked for so often even if no directory changed: a link may lead elsewhere.
const WHOLE_EVERY: Duration = Duration::from_secs(60);
/// After a look that took a time, the next one follows after so many times that …
const REST_FACTOR: u32 = 1000;
/// … or after this.
const REST_MAX: Duration = Duration::from_secs(5);
/// How often it is looked where there may be new pods; directories are few and short-lived pods are many.
const PODS_EVERY: Duration = Duration::from_secs(1);

impl Engine {
    /// Looks for targets when it is time; whether it was.
    pub fn refresh_if_due(&mut self) -> bool {
        let now = self.clock.monotonic();
        if self.refreshed.is_some_and(|at| now < at + self.refresh_every.max(self.rest)) {
            return false;
        }
        // Thousands of directories are looked at in a few milliseconds, and worked through in a hundred.
        let lately = self.refreshed_whole.is_some_and(|at| now < at + WHOLE_EVERY);
        if lately && !self.reader.misses_any() && self.seen.is_still_so(&*self.tree) {
            self.refreshed = Some(now);
            self.rest_after(now);
            return false;
        }
        self.refresh();
        self.rest_after(now);
        true
    }

    /// Looking for targets takes no more than its share of the time, however many there are.
    fn rest_after(&mut self, began: Duration) {
        let took = self.clock.monotonic().saturating_sub(began);
        self.rest = (took * REST_FACTOR).min(REST_MAX);
    }

    /// Looks for targets now.
    pub fn refresh(&mut self) {
        self.refreshed = Some(self.clock.monotonic());
        self.refreshed_whole = self.refreshed;
        let began = self.clock.now();
        let mut wanted = BTreeMap::new();
        let host = Arc::clone(&self.tree);
        let tree = StillTree::new(&*host);
        for (at, job) in self.jobs.iter_mut().enumerate() {
            job.refresh(&tree, &self.pods);
            job.want(at, &tree, &mut wanted);
        }
        self.seen = tree.seen(began);
        leave_out_rotated(&mut wanted, &self.reader);
        if let Some(watch) = &mut self.watch {
            watch.follow(self.jobs.iter().flat_map(|job| &job.roots), wanted.keys());
        }
        let (reader, mut context) = self.parts();
        reader.reconcile(wanted, &mut context);
    }

    /// A directory of pods may have changed: the next turn looks for targets.
    pub fn hint(&mut self) {
        (self.refreshed, self.refreshed_whole) = (None, None);
    }

    /// Looks for targets now, and has every source read in the next turns, due or not.
    pub fn look_at_everything(&mut self) {
        self.refresh();
        self.reader.hint();
    }
}

pub(super) fn refresh_period(config: &Config) -> Duration {
    let mut sources = config.scrape_configs.iter().flat_map(|job| &job.sources);
    if sources.any(|source| matches!(source, SourceConfig::PodDirectory(_) | SourceConfig::Kubernetes(_))) {
        config.target_config.sync_period.min(PODS_EVERY)
    } else {
        config.target_config.sync_period
    }
}

/// A glob may match a log and its older generations: these are then read as what they are, and once. The log itself
/// may be missing for a moment, or for good; then they were sources of their own, and are not read again.
fn leave_out_rotated(wanted: &mut BTreeMap<PathBuf, Wanted>, reader: &Reader) {
    let log_of = |path: &PathBuf| {
        let base = path.file_name().and_then(|name| name.to_str()).and_then(base_of);
        let log = base.map(|base| path.with_file_name(base));
        log.filter(|log| wanted.contains_key(log) || reader.follows(log))
    };
    let older: Vec<_> = wanted.keys().filter_map(|path| log_of(path).map(|log| (path.clone(), log))).collect();
    let known: BTreeSet<_> = older.iter().filter(|(path, _)| reader.follows(path)).map(|(_, log)| log).collect();
    for (path, log) in &older {
        wanted.remove(path);
        if let Some(wanted) = wanted.get_mut(log) {
            wanted.older_too = !known.contains(log);
        }
    }
}
