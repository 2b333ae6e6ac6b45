//! What is known of the pods, on its way from the watches to discovery.

use super::config::PodQuery;
use super::report::Reason;
use crate::labels::Labels;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The pods of a query as they were at one moment.
#[derive(Debug, Default)]
pub struct PodList {
    /// The label sets of all targets, before relabelling.
    pub targets: Vec<Arc<Labels>>,
    /// Whether each part of it was listed once. Before that, nothing can be said of a pod that is not here.
    pub complete: bool,
    /// Whether there are more pods than the bound.
    pub truncated: bool,
}

/// How the watches of a query fare.
#[derive(Clone, Debug, Default)]
pub struct PodFacts {
    /// Pods that the API has.
    pub pods: u64,
    /// When the API server last said something that could be used, of the watch for which that is longest ago, by the
    /// monotonic clock; the beginning of the watch, where it never did.
    pub heard: Duration,
}

/// The lists of all queries; clones share them.
#[derive(Clone, Debug, Default)]
pub struct PodLists(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    listed: Vec<Listed>,
    /// How often something was begun again, since the start.
    restarts: BTreeMap<Reason, u64>,
}

#[derive(Debug)]
struct Listed {
    query: Arc<PodQuery>,
    list: Arc<PodList>,
    facts: PodFacts,
}

impl PodLists {
    /// What is known for a query; nothing, if nobody watches it.
    pub fn get(&self, query: &PodQuery) -> Option<Arc<PodList>> {
        self.lock().listed.iter().find(|listed| *listed.query == *query).map(|listed| Arc::clone(&listed.list))
    }

    /// From now on that is known.
    pub fn set(&self, query: &PodQuery, list: PodList) {
        if let Some(listed) = self.lock().listed.iter_mut().find(|listed| *listed.query == *query) {
            listed.list = Arc::new(list);
        }
    }

    pub fn set_facts(&self, query: &PodQuery, facts: PodFacts) {
        if let Some(listed) = self.lock().listed.iter_mut().find(|listed| *listed.query == *query) {
            listed.facts = facts;
        }
    }

    /// These queries are watched, and no others; what is known of them stays.
    pub fn watch(&self, queries: &[Arc<PodQuery>]) {
        let all = &mut self.lock().listed;
        all.retain(|listed| queries.contains(&listed.query));
        for query in queries {
            if !all.iter().any(|listed| listed.query == *query) {
                all.push(Listed { query: Arc::clone(query), list: Arc::default(), facts: PodFacts::default() });
            }
        }
    }

    /// Whether all that is watched was listed once.
    pub fn are_complete(&self) -> bool {
        self.lock().listed.iter().all(|listed| listed.list.complete)
    }

    /// Something was begun again, so often.
    pub fn restarted(&self, restarts: BTreeMap<Reason, u64>) {
        let all = &mut self.lock().restarts;
        restarts.into_iter().for_each(|(reason, times)| *all.entry(reason).or_default() += times);
    }

    /// How often something was begun again, by reason.
    pub fn restarts(&self) -> BTreeMap<Reason, u64> {
        self.lock().restarts.clone()
    }

    /// How the watches of each query fare.
    pub fn facts(&self) -> Vec<PodFacts> {
        self.lock().listed.iter().map(|listed| listed.facts.clone()).collect()
    }

    /// A panic of another thread leaves nothing half-done here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
