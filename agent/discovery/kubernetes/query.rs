//! A query at work: a watch for each of its namespaces, one for the node where its labels are wanted, and one list of all.

use super::access::own_namespace;
use super::config::PodQuery;
use super::drive::drive;
use super::lists::{PodFacts, PodList, PodLists};
use super::object::{Bare, Pod};
use super::report::Notice;
use super::watcher::{Object, Watcher, escape};
use crate::clock::Clock;
use crate::labels::Labels;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// How often the file with our own namespace is looked for, while there is none.
const OWN_NAMESPACE_EVERY: Duration = Duration::from_secs(30);

/// What the watches of all queries work with.
#[derive(Clone)]
pub struct Surroundings {
    /// Whose pods are asked for.
    pub node_name: String,
    pub lists: PodLists,
    pub clock: Arc<dyn Clock>,
    /// Called when a list has changed.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    /// Who tells people.
    pub tell: fn(&PodEvent<'_>),
}

/// What people should know.
pub enum PodEvent<'e> {
    /// Of what is asked for under this path.
    Watch { path: &'e str, notice: &'e Notice },
    /// There was a first list, and nothing was in it.
    NoPods { node_name: &'e str },
    /// The namespace that we are in cannot be read.
    NoNamespace { why: &'e str },
}

/// Watches the pods of a query, for ever. It ends when it is dropped.
pub async fn watch(query: Arc<PodQuery>, around: Surroundings) {
    let paths = paths(&query, &around).await;
    let gathered = Arc::new(Mutex::new(Gathered::new(&query, &around, paths.len())));
    lock(&gathered).publish_facts();
    let mut tasks = JoinSet::new();
    for (at, path) in paths.into_iter().enumerate() {
        let gathered = Arc::clone(&gathered);
        let field = query.field_selector_on(&around.node_name);
        let around = around.clone();
        tasks.spawn(of_pods(at, path, field, Arc::clone(&query), around, gathered));
    }
    if query.attach_node {
        tasks.spawn(of_node(query, around, gathered));
    }
    while tasks.join_next().await.is_some() {}
}

/// Where the pods of each namespace are, or of all together.
async fn paths(query: &PodQuery, around: &Surroundings) -> Vec<String> {
    let mut namespaces = query.namespaces.clone();
    if query.own_namespace {
        namespaces.push(wait_for_own_namespace(around).await);
        namespaces.sort();
        namespaces.dedup();
    }
    if namespaces.is_empty() {
        return vec!["/api/v1/pods".to_string()];
    }
    namespaces.iter().map(|name| format!("/api/v1/namespaces/{}/pods", escape(name))).collect()
}

async fn wait_for_own_namespace(around: &Surroundings) -> String {
    let mut told = false;
    loop {
        match own_namespace() {
            Ok(own) => return own,
            Err(why) if !told => {
                told = true;
                (around.tell)(&PodEvent::NoNamespace { why: &why });
            }
            Err(_) => {}
        }
        tokio::time::sleep(OWN_NAMESPACE_EVERY).await;
    }
}

async fn of_pods(
    at: usize,
    path: String,
    field_selector: String,
    query: Arc<PodQuery>,
    around: Surroundings,
    gathered: Arc<Mutex<Gathered>>,
) {
    let mut watcher = Watcher::<Pod>::new(&path, &query.label_selector, &field_selector, seed());
    drive(&query.access, &mut watcher, &around.clock, |watcher, changed, _| {
        report(&path, watcher, &around);
        let mut gathered = lock(&gathered);
        let part = &mut gathered.parts[at];
        part.pods = watcher.known().living() as u64;
        part.heard = watcher.heard().unwrap_or(part.heard);
        if changed {
            // A node always has some, if it is looked for by its name.
            if !part.listed && part.pods == 0 && query.takes_all() {
                (around.tell)(&PodEvent::NoPods { node_name: &around.node_name });
            }
            part.listed = true;
            part.truncated = watcher.known().is_truncated();
            part.targets = watcher.known().iter().flatten().cloned().collect();
            gathered.publish();
        }
        gathered.publish_facts();
    })
    .await;
}

async fn of_node(query: Arc<PodQuery>, around: Surroundings, gathered: Arc<Mutex<Gathered>>) {
    let (path, selector) = ("/api/v1/nodes", format!("metadata.name={}", around.node_name));
    let mut watcher = Watcher::<Bare>::new(path, "", &selector, seed());
    drive(&query.access, &mut watcher, &around.clock, |watcher, changed, _| {
        report(path, watcher, &around);
        let mut gathered = lock(&gathered);
        gathered.node_heard = watcher.heard().or(gathered.node_heard);
        // Without the right to see the node, pods are read without its labels rather than not at all.
        let gives_up = watcher.is_failing() && gathered.node == Node::Unknown;
        if changed || gives_up {
            gathered.node = Node::Known(watcher.known().iter().next().cloned().unwrap_or_default());
            gathered.publish();
        }
        gathered.publish_facts();
    })
    .await;
}

fn report<O: Object>(path: &str, watcher: &mut Watcher<O>, around: &Surroundings) {
    for notice in watcher.take_notices() {
        (around.tell)(&PodEvent::Watch { path, notice: &notice });
    }
    around.lists.restarted(watcher.take_restarts());
}

/// Another one for each watch of each agent.
fn seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// What the watches of a query have found.
struct Gathered {
    query: Arc<PodQuery>,
    lists: PodLists,
    wake: Arc<dyn Fn() + Send + Sync>,
    parts: Vec<Part>,
    node: Node,
    /// When the server was heard last, of the node.
    node_heard: Option<Duration>,
}

/// A namespace, or all of them.
#[derive(Clone)]
struct Part {
    targets: Vec<Arc<Labels>>,
    listed: bool,
    truncated: bool,
    pods: u64,
    heard: Duration,
}

#[derive(PartialEq)]
enum Node {
    NotAsked,
    Unknown,
    /// None where it cannot be known.
    Known(Labels),
}

impl Gathered {
    fn new(query: &Arc<PodQuery>, around: &Surroundings, parts: usize) -> Gathered {
        let heard = around.clock.monotonic();
        let part = Part { targets: Vec::new(), listed: false, truncated: false, pods: 0, heard };
        Gathered {
            query: Arc::clone(query),
            lists: around.lists.clone(),
            wake: Arc::clone(&around.wake),
            parts: vec![part; parts],
            node: if query.attach_node { Node::Unknown } else { Node::NotAsked },
            node_heard: query.attach_node.then_some(heard),
        }
    }

    fn publish(&self) {
        let targets = self.parts.iter().flat_map(|part| &part.targets);
        let targets = match &self.node {
            // Labels of streams are to be the same from the first line on.
            Node::Unknown => Vec::new(),
            Node::Known(node) => targets.map(|target| with(target, node)).collect(),
            Node::NotAsked => targets.cloned().collect(),
        };
        let complete = self.parts.iter().all(|part| part.listed) && self.node != Node::Unknown;
        let truncated = self.parts.iter().any(|part| part.truncated);
        self.lists.set(&self.query, PodList { targets, complete, truncated });
        (self.wake)();
    }

    fn publish_facts(&self) {
        let heard = self.parts.iter().map(|part| part.heard).chain(self.node_heard).min();
        let pods = self.parts.iter().map(|part| part.pods).sum();
        self.lists.set_facts(&self.query, PodFacts { pods, heard: heard.unwrap_or_default() });
    }
}

fn with(target: &Arc<Labels>, node: &Labels) -> Arc<Labels> {
    let mut labels = Labels::clone(target);
    node.iter().for_each(|(name, value)| labels.set(name, value));
    Arc::new(labels)
}

/// A panic of another task leaves nothing half-done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
