//! A network that fails: a TCP proxy on the loopback that delays, swallows, cuts and resets what passes, steered while it
//! runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch::{self, Receiver, Sender};
use tokio::time::sleep;

pub struct ChaosProxy {
    address: SocketAddr,
    chaos: Sender<Chaos>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

/// What the network does. Amounts of bytes are counted on each connection from its beginning.
#[derive(Clone, Debug, Default)]
pub struct Chaos {
    /// From the client to the server.
    pub up: Way,
    /// From the server to the client.
    pub down: Way,
    /// New connections end like this at once.
    pub at_once: Option<Ending>,
    /// Counts up: connections that there are end like this.
    now: (u64, Option<Ending>),
    stopped: bool,
}

/// One direction.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// Nothing passes, and nobody learns of it.
    pub blackhole: bool,
    /// Everything takes so long.
    pub delay: Duration,
    /// So many bytes at a time, with a pause after each.
    pub drip: Option<(usize, Duration)>,
    /// After so many bytes it ends like this.
    pub cut_after: Option<(usize, Ending)>,
    /// Of all the times that bytes come from this side, over all connections, each so manieth ends the connection
    /// instead; a small answer comes in one go.
    pub cut_every: Option<(u64, Ending)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides are closed in order.
    Close,
    /// Only this direction is; the other one goes on.
    HalfClose,
    /// Both sides are reset.
    Reset,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    /// How often bytes came, up and down.
    reads: [AtomicU64; 2],
}

impl ChaosProxy {
    /// A proxy in front of this server that lets everything pass for now.
    pub fn start(server: SocketAddr) -> ChaosProxy {
        let (chaos, control) = watch::channel(Chaos::default());
        let counts = Arc::new(Counts::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let of_thread = Arc::clone(&counts);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a socket");
                listen(&listener, server, control, of_thread).await;
            });
        });
        ChaosProxy { address, chaos, counts, thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's address as a client of the proxy writes it.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, super::state::PATH)
    }

    /// Changes what the network does, for connections that there are too.
    pub fn set(&self, change: impl FnOnce(&mut Chaos)) {
        self.chaos.send_modify(change);
    }

    /// The network is whole again. What was ended stays ended.
    pub fn heal(&self) {
        self.set(|chaos| *chaos = Chaos { now: chaos.now, stopped: chaos.stopped, ..Chaos::default() });
    }

    /// Ends the connections that there are.
    pub fn end_all(&self, ending: Ending) {
        self.set(|chaos| chaos.now = (chaos.now.0 + 1, Some(ending)));
    }

    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.set(|chaos| chaos.stopped = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn listen(listener: &TcpListener, server: SocketAddr, mut control: Receiver<Chaos>, counts: Arc<Counts>) {
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => accepted.expect("a connection").0,
            _ = control.wait_for(|chaos| chaos.stopped) => return,
        };
        counts.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(connection(client, server, control.clone(), Arc::clone(&counts)));
    }
}

async fn connection(client: TcpStream, server: SocketAddr, control: Receiver<Chaos>, counts: Arc<Counts>) {
    let (at_once, born) = {
        let chaos = control.borrow();
        (chaos.at_once, chaos.now.0)
    };
    match at_once {
        Some(Ending::Reset) => return drop(client.set_zero_linger()),
        Some(_) => return,
        None => {}
    }
    // A server that is not there is a connection that ends.
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (mut to_client, mut to_server) = (Some(to_client), Some(to_server));
    let ending = {
        let mut up = std::pin::pin!(pump(&from_client, &mut to_server, control.clone(), &counts, 0));
        let mut down = std::pin::pin!(pump(&from_server, &mut to_client, control.clone(), &counts, 1));
        let mut told = control;
        let (mut up_over, mut down_over) = (false, false);
        loop {
            let ending = tokio::select! {
                ending = &mut up, if !up_over => { up_over = true; ending }
                ending = &mut down, if !down_over => { down_over = true; ending }
                Ok(chaos) = told.wait_for(|chaos| chaos.now.0 > born) => chaos.now.1.unwrap_or(Ending::Close),
            };
            if ending != Ending::HalfClose || (up_over && down_over) {
                break ending;
            }
        }
    };
    if ending == Ending::Reset {
        for side in [from_client.as_ref(), from_server.as_ref()] {
            let _ = side.set_zero_linger();
        }
        // Dropped, they would say a proper end first.
        to_client.into_iter().chain(to_server).for_each(OwnedWriteHalf::forget);
    }
}

/// Carries bytes one way until something ends that; way 0 is up.
async fn pump(
    from: &OwnedReadHalf,
    to: &mut Option<OwnedWriteHalf>,
    mut control: Receiver<Chaos>,
    counts: &Counts,
    which: usize,
) -> Ending {
    let way = |chaos: &Chaos| if which == 0 { chaos.up.clone() } else { chaos.down.clone() };
    let mut passed = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if control.wait_for(|chaos| !way(chaos).blackhole).await.is_err() {
            return Ending::Close;
        }
        tokio::select! {
            ready = from.readable() => if ready.is_err() { return Ending::Reset },
            _ = control.changed() => continue,
        }
        let now = way(&control.borrow_and_update());
        if now.blackhole {
            continue;
        }
        let most = now.drip.map_or(buffer.len(), |(bytes, _)| bytes.clamp(1, buffer.len()));
        let read = match from.try_read(&mut buffer[..most]) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return Ending::Reset,
        };
        let reads = counts.reads[which].fetch_add(u64::from(read > 0), Ordering::Relaxed) + 1;
        if let Some((_, ending)) = now.cut_every.filter(|(every, _)| read > 0 && reads.is_multiple_of(*every)) {
            return end(ending, to);
        }
        sleep(now.delay).await;
        let cut = now.cut_after.filter(|(bytes, _)| passed + read >= *bytes);
        let passes = cut.map_or(read, |(bytes, _)| bytes.saturating_sub(passed));
        if !write_all(to, &buffer[..passes]).await {
            return Ending::Reset;
        }
        passed += passes;
        match cut {
            Some((_, ending)) => return end(ending, to),
            None if read == 0 => return end(Ending::HalfClose, to),
            None => {}
        }
        if let Some((_, pause)) = now.drip {
            sleep(pause).await;
        }
    }
}

fn end(ending: Ending, to: &mut Option<OwnedWriteHalf>) -> Ending {
    if ending == Ending::HalfClose {
        // Its drop closes this direction.
        *to = None;
    }
    ending
}

async fn write_all(to: &Option<OwnedWriteHalf>, mut bytes: &[u8]) -> bool {
    let Some(to) = to else { return false };
    while !bytes.is_empty() {
        if to.writable().await.is_err() {
            return false;
        }
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    true
}
