//! A Kubernetes API server as far as discovery asks it: pods and nodes, listed in pages and watched, over real HTTP on the
//! loopback. It can be down, slow, forgetful, rude and wrong.
#![allow(dead_code)]

mod connection;
pub mod pods;
pub mod tls;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

pub struct KubeApi {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    tls: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// How it answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Mood {
    #[default]
    Well,
    /// Every connection is closed without a word.
    Down,
    /// Every byte of an answer comes for itself.
    Slow,
    /// Every request is refused with this status.
    Refusing(u16),
    /// Status 200, and what is no answer of the API's.
    Garbage,
}

#[derive(Default)]
struct State {
    mood: Mood,
    /// The version of the last change; what changed at which version.
    version: u64,
    pods: BTreeMap<String, Value>,
    nodes: BTreeMap<String, Value>,
    events: Vec<Event>,
    /// Versions before this are forgotten …
    oldest: u64,
    /// … and that is said by a line of the watch, not by the status of the answer.
    gone_in_line: bool,
    /// Who may ask; anybody where it is not set.
    token: Option<String>,
    /// Objects of a page at most, whatever is asked for.
    page_max: Option<usize>,
    /// Watches that began before these were raised are broken off, or ended.
    resets: u64,
    ends: u64,
    /// Each path that was asked for, with its query.
    requests: Vec<String>,
}

#[derive(Clone)]
struct Event {
    version: u64,
    kind: &'static str,
    object: Value,
    of_nodes: bool,
}

impl KubeApi {
    pub fn start() -> KubeApi {
        KubeApi::listen(None)
    }

    /// The same behind TLS.
    pub fn start_tls(tls: Arc<ServerConfig>) -> KubeApi {
        KubeApi::listen(Some(tls))
    }

    fn listen(tls: Option<Arc<ServerConfig>>) -> KubeApi {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        shared.lock().version = 10;
        let (server, is_tls) = (Arc::clone(&shared), tls.is_some());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, tls) = (Arc::clone(&server), tls.clone());
                // A client that goes away in the middle is no failure of the test.
                thread::spawn(move || drop(serve(stream, tls, &shared)));
            }
        });
        KubeApi { address, shared, tls: is_tls }
    }

    pub fn with(pods: impl IntoIterator<Item = Value>) -> KubeApi {
        let api = KubeApi::start();
        pods.into_iter().for_each(|pod| api.put(pod));
        api
    }

    pub fn url(&self) -> String {
        format!("http{}://{}", if self.tls { "s" } else { "" }, self.address)
    }

    /// A pod as it is now.
    pub fn put(&self, mut pod: Value) {
        self.change(|state| {
            pod["metadata"]["resourceVersion"] = json!(state.version.to_string());
            let uid = pod["metadata"]["uid"].as_str().expect("a uid").to_string();
            let kind = if state.pods.insert(uid, pod.clone()).is_some() { "MODIFIED" } else { "ADDED" };
            state.events.push(Event { version: state.version, kind, object: pod, of_nodes: false });
        });
    }

    pub fn put_node(&self, mut node: Value) {
        self.change(|state| {
            node["metadata"]["resourceVersion"] = json!(state.version.to_string());
            let name = node["metadata"]["name"].as_str().expect("a name").to_string();
            let kind = if state.nodes.insert(name, node.clone()).is_some() { "MODIFIED" } else { "ADDED" };
            state.events.push(Event { version: state.version, kind, object: node, of_nodes: true });
        });
    }

    pub fn delete(&self, uid: &str) {
        self.change(|state| {
            let mut pod = state.pods.remove(uid).expect("a pod to delete");
            pod["metadata"]["resourceVersion"] = json!(state.version.to_string());
            state.events.push(Event { version: state.version, kind: "DELETED", object: pod, of_nodes: false });
        });
    }

    /// Nothing changed up to a new version; watches are told by a bookmark.
    pub fn bookmark(&self) {
        self.change(|state| {
            let object = json!({"kind": "Pod", "metadata": {"resourceVersion": state.version.to_string()}});
            state.events.push(Event { version: state.version, kind: "BOOKMARK", object, of_nodes: false });
        });
    }

    /// All versions before now are forgotten, and no watch knows what happened since.
    pub fn forget(&self, gone_in_line: bool) {
        self.change(|state| {
            state.oldest = state.version;
            state.events.clear();
            state.gone_in_line = gone_in_line;
            state.resets += 1;
        });
    }

    pub fn set_mood(&self, mood: Mood) {
        self.change(|state| {
            // What is open goes down with it.
            state.resets += u64::from(mood == Mood::Down);
            state.mood = mood;
        });
    }

    pub fn set_token(&self, token: &str) {
        self.change(|state| state.token = Some(token.to_string()));
    }

    pub fn set_page_max(&self, objects: usize) {
        self.change(|state| state.page_max = Some(objects));
    }

    /// Breaks all watches off, in the middle of a line.
    pub fn reset(&self) {
        self.change(|state| state.resets += 1);
    }

    /// Ends all watches in order.
    pub fn end_watches(&self) {
        self.change(|state| state.ends += 1);
    }

    /// What was asked for so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.lock().requests.clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.shared.lock();
        state.version += 1;
        change(&mut state);
        self.shared.changed.notify_all();
    }
}

fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        Some(tls) => {
            let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
            connection::serve(StreamOwned::new(connection, stream), shared)
        }
        None => connection::serve(stream, shared),
    }
}
