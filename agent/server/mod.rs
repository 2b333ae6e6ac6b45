//! The HTTP server: metrics for scrapers, probes for the kubelet, pages for people.
//!
//! It knows nothing of logs or series; it asks an [`Agent`]. Its port is open to the network, so every resource that a
//! client can hold is bounded: the head of a request by [`HEAD_BYTES_MAX`], the number of connections by
//! `connections_max`, each phase of a connection by a time limit (see `connection`). When all places are taken, the
//! connection that has waited longest for its client makes room for a new one, so a flood of silent connections does
//! not keep a scraper out. Bodies of requests are never read, and bodies of answers are made as the client takes them.
//!
//! It runs on whatever tokio runtime it is started on; the program gives it one on a thread of its own.

mod body;
mod chunks;
mod config;
mod connection;
mod pages;
mod routes;
#[cfg(test)]
mod tests;

pub use chunks::{CHUNK_BYTES, ChunkWriter, Chunks, chunks};
pub use config::{CONNECTIONS_MAX, LogFormat, LogLevel, ServerConfig};
pub use connection::HEAD_BYTES_MAX;
pub use pages::{
    ActiveTarget, DROPPED_SHOWN_MAX, DiscoveryPage, DroppedTarget, FileRow, JobDiscovery, JobTargets, ROWS_SHOWN_MAX,
    TargetRow, TargetsPage,
};

use connection::Seat;
use hyper::service::service_fn;
use routes::Routes;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Promtail's reason for not being ready, for an agent that follows no file.
pub const NO_LOGS: &str = "Unable to find any logs to tail. Please verify permissions, volumes, scrape_config, etc.";

/// How long to rest when the system refuses a connection (no file handles left): it will refuse the next one too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server asks. A future may be dropped at any point, when its client goes away or a limit is reached.
/// The other methods run on the server's thread and must not wait.
pub trait Agent: Send + Sync + 'static {
    /// The metrics; the error says why there are none, and is answered by 503. The future gets no more time than the
    /// client will wait, nor more than the write timeout.
    fn scrape(&self, ask: Ask<'_>) -> impl Future<Output = Result<Scrape, String>> + Send;
    /// Whether lines can be read; else the reason, such as [`NO_LOGS`].
    fn ready(&self) -> Result<(), String>;
    fn targets(&self) -> impl Future<Output = TargetsPage> + Send;
    fn service_discovery(&self) -> impl Future<Output = DiscoveryPage> + Send;
    /// The configuration that runs, as YAML, its secrets hidden.
    fn config(&self) -> String;
    /// Applies the configuration file again; the error says why the old one stays.
    fn reload(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// Who asks for the metrics, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'r> {
    /// The `Accept` header.
    pub accept: Option<&'r str>,
    /// How long the client will wait, which only real scrapers say.
    pub timeout: Option<Duration>,
    /// The other end of the connection, as far as the system knows it.
    pub peer: Option<SocketAddr>,
}

/// An answer to a scrape.
pub struct Scrape {
    pub content_type: &'static str,
    pub chunks: Chunks,
}

/// What became of the connections: each limit of the server has a counter here. They only grow.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections that got a place.
    pub connections_served: AtomicU64,
    /// Connections that were answered 503 at once, as every place was busy answering.
    pub connections_refused: AtomicU64,
    /// Connections that were closed while they waited for their client, to make room.
    pub connections_displaced: AtomicU64,
    /// Connections that were closed by a time limit.
    pub connections_timed_out: AtomicU64,
}

/// A running server. Dropping it closes everything at once; [`Server::shutdown`] lets requests end.
pub struct Server {
    address: SocketAddr,
    end: watch::Sender<bool>,
    listener: JoinHandle<()>,
    grace: Duration,
}

/// Opens the port. Errors: the address cannot be resolved or taken, or the port needs a privilege.
pub async fn bind(config: &ServerConfig) -> io::Result<TcpListener> {
    let port = config.http_listen_port;
    // In Promtail an IPv6 address must stand in brackets.
    match config.http_listen_address.trim_start_matches('[').trim_end_matches(']') {
        // The IPv6 wildcard takes IPv4 as well, where the machine has IPv6 at all.
        "" => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
            }
            bound => bound,
        },
        host => TcpListener::bind((host, port)).await,
    }
}

/// Starts to serve on the current tokio runtime. Errors: the listener has no address any more.
pub fn serve<A: Agent>(
    listener: TcpListener,
    config: &ServerConfig,
    agent: Arc<A>,
    stats: Arc<Stats>,
) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let (end, ends) = watch::channel(false);
    let reception = Reception {
        routes: Arc::new(Routes::new(config, agent)),
        config: config.clone(),
        seats: Vec::new(),
        tasks: JoinSet::new(),
        ends,
        stats,
    };
    let listener = tokio::spawn(reception.run(listener));
    Ok(Server { address, end, listener, grace: config.graceful_shutdown_timeout })
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, closes those that ask nothing, and waits for the others no longer than the graceful
    /// shutdown timeout.
    pub async fn shutdown(mut self) {
        self.end.send_replace(true);
        // On a timeout `self` is dropped, which closes what is left.
        let _ = tokio::time::timeout(self.grace, &mut self.listener).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The tasks of the connections belong to the listener's and end with it.
        self.listener.abort();
    }
}

/// Takes connections in and gives each a place.
struct Reception<A> {
    routes: Arc<Routes<A>>,
    config: ServerConfig,
    /// The places that are taken, and some that were left since the last connection came.
    seats: Vec<Weak<Seat>>,
    tasks: JoinSet<()>,
    ends: watch::Receiver<bool>,
    stats: Arc<Stats>,
}

impl<A: Agent> Reception<A> {
    async fn run(mut self, listener: TcpListener) {
        let mut ends = self.ends.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = ends.wait_for(|end| *end) => break,
                _ = self.tasks.join_next(), if !self.tasks.is_empty() => continue,
            };
            match accepted {
                Ok((stream, _)) => self.take_in(stream),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
            // A burst of new connections must not displace one whose request has arrived and only waits to be read.
            tokio::task::yield_now().await;
        }
        drop(listener);
        while self.tasks.join_next().await.is_some() {}
    }

    fn take_in(&mut self, stream: TcpStream) {
        if !self.has_room() {
            self.stats.connections_refused.fetch_add(1, Relaxed);
            // A socket so new has room for this; if not, closing it says enough.
            let _ =
                stream.try_write(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        self.stats.connections_served.fetch_add(1, Relaxed);
        // The chunks of an answer are large; the last one should not wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        let seat = Seat::new(&self.config);
        self.seats.push(Arc::downgrade(&seat));
        let (routes, guest, peer) = (self.routes.clone(), seat.clone(), stream.peer_addr().ok());
        let service = service_fn(move |request| {
            let (routes, seat) = (routes.clone(), guest.clone());
            async move { routes.answer(request, seat, peer).await }
        });
        self.tasks.spawn(connection::attend(stream, seat, service, self.ends.clone(), self.stats.clone()));
    }

    /// Whether there is a place, if need be that of the connection that has waited longest for its client.
    fn has_room(&mut self) -> bool {
        self.seats.retain(|seat| seat.strong_count() > 0);
        if self.seats.len() < self.config.connections_max {
            return true;
        }
        let seats = self.seats.iter().enumerate();
        let waiting = seats.filter_map(|(i, seat)| seat.upgrade()?.waiting_since().map(|since| (since, i)));
        let Some((_, longest)) = waiting.min() else { return false };
        if let Some(seat) = self.seats.swap_remove(longest).upgrade() {
            self.stats.connections_displaced.fetch_add(1, Relaxed);
            seat.leave();
        }
        true
    }
}
