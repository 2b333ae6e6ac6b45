//! A [`FakeLoki`] behind real HTTP on the loopback, with a thread for each connection.

use super::http_server::{answer, read_request};
use super::script::{Delivery, Manner};
use super::state::{FakeLoki, PATH};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often it looks whether a client has gone that gets no answer.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub struct LokiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Nothing while it is stopped.
    listening: Option<JoinHandle<()>>,
}

struct Shared {
    loki: Mutex<FakeLoki>,
    /// Rings after every request, and when it stops.
    changed: Condvar,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    open: BTreeMap<u64, TcpStream>,
    threads: Vec<JoinHandle<()>>,
    opened: u64,
    stopped: bool,
}

impl LokiServer {
    /// Listens on a free port of the loopback.
    pub fn start(loki: FakeLoki) -> LokiServer {
        let shared = Shared { loki: Mutex::new(loki), changed: Condvar::new(), connections: Mutex::default() };
        let mut server = LokiServer { shared: Arc::new(shared), address: ([127, 0, 0, 1], 0).into(), listening: None };
        server.start_again();
        server
    }

    /// Listens on the same port as before.
    pub fn start_again(&mut self) {
        assert!(self.listening.is_none(), "it is running");
        let listener = TcpListener::bind(self.address).expect("the port is free");
        self.address = listener.local_addr().expect("an address");
        self.shared.connections().stopped = false;
        let shared = Arc::clone(&self.shared);
        self.listening = Some(thread::spawn(move || shared.listen(&listener)));
    }

    /// Refuses connections from now on, and closes those that there are. What it holds stays.
    pub fn stop(&mut self) {
        let Some(listening) = self.listening.take() else { return };
        self.shared.connections().stopped = true;
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
        listening.join().expect("the listener does not panic");
        self.disconnect();
        let threads = std::mem::take(&mut self.shared.connections().threads);
        threads.into_iter().for_each(|thread| thread.join().expect("a connection does not panic"));
    }

    /// Closes the connections that there are.
    pub fn disconnect(&self) {
        let open = std::mem::take(&mut self.shared.connections().open);
        for connection in open.values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Under the lock, so that nobody begins to wait between his look and the bell.
        let _loki = self.shared.loki();
        self.shared.changed.notify_all();
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// How many connections there have been.
    pub fn connections(&self) -> u64 {
        self.shared.connections().opened
    }

    /// Looks at it or changes it while nobody pushes.
    pub fn with<T>(&self, look: impl FnOnce(&mut FakeLoki) -> T) -> T {
        look(&mut self.shared.loki())
    }

    /// Waits until something holds, looking after every request. Whether it came to hold in time.
    pub fn wait(&self, max: Duration, mut holds: impl FnMut(&mut FakeLoki) -> bool) -> bool {
        let deadline = Instant::now() + max;
        let mut loki = self.shared.loki();
        while !holds(&mut loki) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            loki = self.shared.changed.wait_timeout(loki, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The same; panics when it does not come to hold.
    #[track_caller]
    pub fn wait_until(&self, what: &str, max: Duration, holds: impl FnMut(&mut FakeLoki) -> bool) {
        if !self.wait(max, holds) {
            panic!("{what}: not within {max:?}; {}", self.with(|loki| loki.summary()));
        }
    }
}

impl Drop for LokiServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn loki(&self) -> MutexGuard<'_, FakeLoki> {
        // A test that fails in the middle of a look leaves it whole.
        self.loki.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(self: Arc<Shared>, listener: &TcpListener) {
        loop {
            let (stream, _) = listener.accept().expect("a connection");
            let mut connections = self.connections();
            if connections.stopped {
                return;
            }
            connections.opened += 1;
            let id = connections.opened;
            connections.open.insert(id, stream.try_clone().expect("a handle"));
            let shared = Arc::clone(&self);
            connections.threads.push(thread::spawn(move || {
                // The client learns of errors by the end of the connection.
                if let Err(error) = shared.converse(&stream, id) {
                    eprintln!("fake Loki, connection {id}: {error}");
                }
                shared.connections().open.remove(&id);
            }));
        }
    }

    /// Serves requests until one side closes.
    fn converse(&self, stream: &TcpStream, id: u64) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut from = BufReader::new(stream);
        while let Some(request) = read_request(&mut from, stream)? {
            let (reply, delivery, bytes) = {
                let mut loki = self.loki();
                let now = Timestamp::now().as_nanosecond() as i64;
                let (reply, delivery) = loki.serve(request, now);
                let date = http_date(now + loki.clock_ahead);
                self.changed.notify_all();
                let bytes = answer(&reply, &date);
                (reply, delivery, bytes)
            };
            if !self.deliver(stream, id, delivery, &bytes)? || reply.status == 413 {
                break;
            }
        }
        Ok(())
    }

    /// Whether the connection goes on.
    fn deliver(&self, mut stream: &TcpStream, id: u64, delivery: Delivery, bytes: &[u8]) -> io::Result<bool> {
        if !self.pause(id, delivery.late) {
            return Ok(false);
        }
        match delivery.manner {
            Manner::Whole => stream.write_all(bytes)?,
            Manner::Never => {
                while !self.has_gone(id) && self.pause(id, LOOK_EVERY) {}
                return Ok(false);
            }
            Manner::Cut(length) => {
                stream.write_all(&bytes[..length.min(bytes.len())])?;
                return Ok(false);
            }
            Manner::Reset(length) => {
                stream.write_all(&bytes[..length.min(bytes.len())])?;
                reset(stream)?;
                return Ok(false);
            }
            Manner::Drip { bytes: size, pause } => {
                for drop in bytes.chunks(size) {
                    stream.write_all(drop)?;
                    if !self.pause(id, pause) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Waits so long, or until it stops: whether it does not.
    fn pause(&self, id: u64, length: Duration) -> bool {
        let deadline = Instant::now() + length;
        let mut loki = self.loki();
        loop {
            if self.is_ended(id) {
                return false;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            loki = self.changed.wait_timeout(loki, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether this side has closed the connection.
    fn is_ended(&self, id: u64) -> bool {
        let connections = self.connections();
        connections.stopped || !connections.open.contains_key(&id)
    }

    /// Whether the client sends nothing more.
    fn has_gone(&self, id: u64) -> bool {
        let connections = self.connections();
        let Some(stream) = connections.open.get(&id) else { return true };
        let _ = stream.set_nonblocking(true);
        let seen = stream.peek(&mut [0]);
        let _ = stream.set_nonblocking(false);
        match seen {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Lets the end of the connection be a reset: tokio knows how to ask for that.
pub fn reset(stream: &TcpStream) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    stream.set_nonblocking(true)?;
    let stream = tokio::net::TcpStream::from_std(stream.try_clone()?)?;
    stream.set_zero_linger()
}

fn http_date(nanos: i64) -> String {
    let now = Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
    DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap_or_default()
}
