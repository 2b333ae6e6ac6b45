//! Connections to one server: opened when needed, used again while they are young, closed when idle.

use super::dial::{Dial, Stream};
use super::reply::Reply;
use super::sentence;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// A connection without a request is closed after this.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// No connection takes a request after this, so that another address of the name gets its share, and a new one is seen.
const AGE_MAX: Duration = Duration::from_secs(5 * 60);
/// An idle connection is ready at once, but for one whose server answered before it had read all and reads no more.
const READY_WAIT_MAX: Duration = Duration::from_millis(100);
/// Idle connections that are kept.
const IDLE_CONNECTIONS_MAX: usize = 8;
/// The head of an answer is not longer.
const HEAD_BYTES_MAX: usize = 64 * 1024;

pub(super) struct Connections {
    dial: Dial,
    idle: Arc<Mutex<Idle>>,
}

/// What waits for the next request.
#[derive(Default)]
struct Idle {
    /// Least lately used first.
    connections: Vec<Connection>,
    /// A task waits for the first of them to be too old.
    watched: bool,
}

struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    opened: Instant,
    used: Instant,
}

impl Connection {
    fn ends(&self) -> Instant {
        (self.used + IDLE_MAX).min(self.opened + AGE_MAX)
    }
}

impl Connections {
    pub fn new(dial: Dial) -> Connections {
        Connections { dial, idle: Arc::default() }
    }

    /// A request and its answer, if it begins to come within the time. What is there of its body by then is kept.
    pub async fn exchange(&self, request: Request<Full<Bytes>>, wait_max: Duration) -> Result<Reply, String> {
        let deadline = Instant::now() + wait_max;
        let (connection, response) = match timeout_at(deadline, self.send(request)).await {
            Ok(sent) => sent,
            Err(_) => Err(format!("no answer within {wait_max:?}")),
        }
        // Whatever befell this connection may have befallen the others too.
        .inspect_err(|_| self.close_idle())?;
        let reply = Reply::read(response, deadline).await?;
        // Whoever was refused comes again on a new connection: the next certificate may be the right one. One whose answer
        // was not read to its end is closed by hyper.
        if !matches!(reply.status(), 401 | 403 | 407) {
            self.keep(connection);
        }
        Ok(reply)
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(Connection, Response<Incoming>), String> {
        if let Some(mut connection) = self.take().await {
            // An answer that does not come in time never gets here; without one, the connection was stale.
            if let Ok(response) = connection.sender.send_request(request.clone()).await {
                return Ok((connection, response));
            }
            self.close_idle();
        }
        let mut connection = open(self.dial.open().await?).await?;
        let response = connection.sender.send_request(request).await.map_err(|error| sentence(&error))?;
        Ok((connection, response))
    }

    /// An idle connection that is good for a request, as far as is known.
    async fn take(&self) -> Option<Connection> {
        loop {
            let mut connection = self.lock().connections.pop()?;
            if connection.ends() <= Instant::now() {
                continue;
            }
            if let Ok(Ok(())) = timeout(READY_WAIT_MAX, connection.sender.ready()).await {
                return Some(connection);
            }
        }
    }

    fn keep(&self, mut connection: Connection) {
        connection.used = Instant::now();
        if connection.ends() <= connection.used {
            return;
        }
        let mut idle = self.lock();
        if idle.connections.len() >= IDLE_CONNECTIONS_MAX {
            idle.connections.remove(0);
        }
        idle.connections.push(connection);
        if !idle.watched {
            idle.watched = true;
            tokio::spawn(close_in_time(Arc::downgrade(&self.idle)));
        }
    }

    fn close_idle(&self) {
        self.lock().connections.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody could use what another may still be reading of an answer; so one connection carries one request at a time.
async fn open(stream: Stream) -> Result<Connection, String> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| sentence(&error))?;
    // Its errors reach whoever waits for an answer. It ends when the sender is gone.
    tokio::spawn(async move { drop(connection.await) });
    let now = Instant::now();
    Ok(Connection { sender, opened: now, used: now })
}

/// Closes idle connections when they are too old, until there is none.
async fn close_in_time(idle: Weak<Mutex<Idle>>) {
    loop {
        let next = {
            let Some(idle) = idle.upgrade() else { return };
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            idle.connections.retain(|connection| connection.ends() > now && !connection.sender.is_closed());
            let Some(next) = idle.connections.iter().map(Connection::ends).min() else {
                idle.watched = false;
                return;
            };
            next
        };
        sleep_until(next).await;
    }
}
