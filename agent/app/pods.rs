//! The watches over pods that configurations ask for.

use super::events;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::discovery::kubernetes::{PodQuery, Surroundings, watch};
use crate::discovery::{PodLists, SourceConfig, node_name};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

pub struct PodWatches {
    around: Surroundings,
    running: Mutex<Vec<(Arc<PodQuery>, AbortHandle)>>,
}

impl PodWatches {
    /// `wake` is called when there is news in the lists.
    pub fn new(lists: PodLists, clock: Arc<dyn Clock>, wake: impl Fn() + Send + Sync + 'static) -> Self {
        let around = Surroundings { node_name: node_name(), lists, clock, wake: Arc::new(wake), tell: events::pods };
        PodWatches { around, running: Mutex::default() }
    }

    pub fn lists(&self) -> &PodLists {
        &self.around.lists
    }

    /// Goes over to these queries: those that are watched already go on, others begin and end. To be
    /// called on a runtime.
    pub fn follow(&self, queries: Vec<Arc<PodQuery>>) {
        self.around.lists.watch(&queries);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|(query, task)| {
            let stays = queries.contains(query);
            if !stays {
                task.abort();
            }
            stays
        });
        for query in queries {
            if !running.iter().any(|(known, _)| *known == query) {
                let task = tokio::spawn(watch(Arc::clone(&query), self.around.clone()));
                running.push((query, task.abort_handle()));
            }
        }
    }
}

/// The queries of all jobs, each once.
pub fn queries(config: &Config) -> Vec<Arc<PodQuery>> {
    let mut queries: Vec<Arc<PodQuery>> = Vec::new();
    for source in config.scrape_configs.iter().flat_map(|job| &job.sources) {
        if let SourceConfig::Kubernetes(config) = source
            && !queries.contains(&config.query)
        {
            queries.push(Arc::clone(&config.query));
        }
    }
    queries
}

/// The pods of a configuration, asked once: for a run that ends. Without such a source there is nothing to wait for.
///
/// # Errors
///
/// After `patience` the API has not told; why, is in the log.
pub fn list_pods(config: &Config, patience: Duration) -> io::Result<PodLists> {
    let lists = PodLists::default();
    let queries = queries(config);
    if queries.is_empty() {
        return Ok(lists);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let news = Arc::new(Notify::new());
    let wake = Arc::clone(&news);
    let watches = PodWatches::new(lists.clone(), Arc::new(SystemClock), move || wake.notify_one());
    let listed = runtime.block_on(async {
        watches.follow(queries);
        let all = async {
            while !lists.are_complete() {
                news.notified().await;
            }
        };
        tokio::time::timeout(patience, all).await
    });
    match listed {
        Ok(()) => Ok(lists),
        Err(_) => Err(io::Error::other(format!("the Kubernetes API has not told of pods within {patience:?}"))),
    }
}
