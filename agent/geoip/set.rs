//! All databases of a configuration, by their paths: a file is read once, however many stages ask it.

use super::{Event, Facts, GeoIp};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Default)]
pub struct GeoIpSet {
    handles: Arc<Mutex<BTreeMap<PathBuf, Arc<GeoIp>>>>,
}

impl GeoIpSet {
    /// The handle of a file, which need not exist yet.
    pub fn handle(&self, path: impl Into<PathBuf>) -> Arc<GeoIp> {
        let path = path.into();
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(handles.entry(path.clone()).or_insert_with(|| GeoIp::new(path)))
    }

    /// Looks at every file; what happened to which. Reads files: not for an async thread.
    pub fn check(&self) -> Vec<(PathBuf, Event)> {
        let events = self.all().into_iter().filter_map(|handle| Some((handle.path().to_path_buf(), handle.check()?)));
        events.collect()
    }

    /// The state of every database.
    pub fn facts(&self) -> Vec<(PathBuf, Facts)> {
        self.all().into_iter().map(|handle| (handle.path().to_path_buf(), handle.facts())).collect()
    }

    fn all(&self) -> Vec<Arc<GeoIp>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
