//! One connection: what it is waiting for, and how long it may.
//!
//! ```text
//!         first byte            request              answer ready         body made            all written
//!  Idle ──────────────▶ Head ───────────▶ Working ───────────────▶ Sending ─────────▶ Draining ───────────▶ Idle
//!  (idle_timeout)      (read_timeout)    (bounded by the handler)  (write_timeout, both)
//! ```
//!
//! hyper's own limit on heads also runs between requests and it has none on writes, so the phases are kept here and
//! the socket below hyper enforces them. All are limits on a whole phase, never on one read or write: a client that
//! sends or takes a byte now and then gains nothing.

use super::Stats;
use super::config::ServerConfig;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, Sleep};

/// Bytes of a request's head, from the method to the empty line; more is answered by 431. The smallest that hyper
/// can be held to.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The head of a request is arriving, or a new connection has sent nothing yet.
    Head,
    /// The handler has the request.
    Working,
    /// The answer goes out, and its body is not at its end.
    Sending,
    /// The body is at its end; some of it may not be written yet.
    Draining,
    /// Kept alive between two requests.
    Idle,
}

/// A connection's place among those that are open, shared by its task, its socket, its answers and the listener.
pub(super) struct Seat {
    /// The phase and when it began; a body's end does not restart the time for sending.
    phase: Mutex<(Phase, Instant)>,
    /// Asks the connection to leave for another one.
    leave: Notify,
    limits: Limits,
}

#[derive(Clone, Copy)]
struct Limits {
    read: Duration,
    write: Duration,
    idle: Duration,
}

impl Seat {
    pub(super) fn new(config: &ServerConfig) -> Arc<Self> {
        let limits = Limits { read: config.read_timeout, write: config.write_timeout, idle: config.idle_timeout };
        Arc::new(Seat { phase: Mutex::new((Phase::Head, Instant::now())), leave: Notify::new(), limits })
    }

    /// Since when this connection has been waiting for its client to ask something; `None` while it is answering.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let (phase, since) = *self.lock();
        matches!(phase, Phase::Head | Phase::Idle).then_some(since)
    }

    /// Closes the connection soon.
    pub(super) fn leave(&self) {
        self.leave.notify_one();
    }

    /// A request is with its handler, which has a limit of its own.
    pub(super) fn working(&self) {
        *self.lock() = (Phase::Working, Instant::now());
    }

    /// The answer begins; it ends when the returned guard is dropped and the last byte is written.
    pub(super) fn sending(self: Arc<Self>) -> Sending {
        *self.lock() = (Phase::Sending, Instant::now());
        Sending(self)
    }

    fn lock(&self) -> MutexGuard<'_, (Phase, Instant)> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deadline(&self) -> Option<Instant> {
        let (phase, since) = *self.lock();
        match phase {
            Phase::Head => Some(since + self.limits.read),
            Phase::Working => None,
            Phase::Sending | Phase::Draining => Some(since + self.limits.write),
            Phase::Idle => Some(since + self.limits.idle),
        }
    }

    fn on_bytes_read(&self) {
        let mut phase = self.lock();
        if phase.0 == Phase::Idle {
            *phase = (Phase::Head, Instant::now());
        }
    }

    fn on_all_written(&self) {
        let mut phase = self.lock();
        if phase.0 == Phase::Draining {
            *phase = (Phase::Idle, Instant::now());
        }
    }
}

/// The time in which an answer has bytes to come.
pub(super) struct Sending(Arc<Seat>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.lock().0 = Phase::Draining;
    }
}

/// Serves one connection until its client, a limit, the listener or the end of the server closes it.
pub(super) async fn attend<S, B>(
    stream: TcpStream,
    seat: Arc<Seat>,
    service: S,
    mut end: watch::Receiver<bool>,
    stats: Arc<Stats>,
) where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let alarm = Box::pin(tokio::time::sleep_until(Instant::now()));
    let io = TokioIo::new(Timed { stream, seat: seat.clone(), alarm, expired: false, stats });
    let mut connection = pin!(
        http1::Builder::new().header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX).serve_connection(io, service)
    );
    // What a client does wrong is no concern of ours, so errors are not looked at.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = seat.leave.notified() => return,
        _ = end.wait_for(|end| *end) => {}
    }
    if seat.waiting_since().is_none() {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// A socket that fails when the phase of its seat has lasted too long.
struct Timed {
    stream: TcpStream,
    seat: Arc<Seat>,
    /// Set for the deadline that was last waited for.
    alarm: Pin<Box<Sleep>>,
    /// A limit was reached, which is counted once however often it is met.
    expired: bool,
    stats: Arc<Stats>,
}

impl Timed {
    /// For an operation that must wait: ready with the error once the phase is over its limit.
    fn overdue<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let Some(deadline) = self.seat.deadline() else { return Poll::Pending };
        if self.alarm.deadline() != deadline {
            self.alarm.as_mut().reset(deadline);
        }
        self.alarm.as_mut().poll(cx).map(|()| {
            if !std::mem::replace(&mut self.expired, true) {
                self.stats.connections_timed_out.fetch_add(1, Relaxed);
            }
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

impl AsyncRead for Timed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Pending => self.overdue(cx),
            ready => {
                if buf.filled().len() > before {
                    self.seat.on_bytes_read();
                }
                ready
            }
        }
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Pending => self.overdue(cx),
            ready => ready,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, bytes) {
            Poll::Pending => self.overdue(cx),
            ready => ready,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes the socket only when it has handed it every byte that it holds. It need not read again after
    /// that until something wakes it, so the alarm for an idle connection is set here.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.seat.on_all_written();
        }
        match self.overdue(cx) {
            Poll::Pending => flushed,
            overdue => overdue,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_the_limit_that_fits_it() {
        let seat = Seat::new(&ServerConfig::default());
        let lasts = |seat: &Seat| seat.deadline().map(|deadline| (deadline - seat.lock().1).as_secs());
        assert_eq!(lasts(&seat), Some(30), "a new connection sends its first head in the read timeout");
        seat.working();
        assert_eq!((lasts(&seat), seat.waiting_since()), (None, None));

        let sending = seat.clone().sending();
        let began = seat.lock().1;
        seat.on_all_written();
        seat.on_bytes_read();
        assert_eq!(seat.lock().0, Phase::Sending, "a flush or an early next request amid a body ends nothing");
        drop(sending);
        assert_eq!(*seat.lock(), (Phase::Draining, began), "the time for sending goes on past the body's end");
        assert_eq!((lasts(&seat), seat.waiting_since()), (Some(30), None));

        seat.on_all_written();
        assert_eq!(lasts(&seat), Some(120));
        seat.on_bytes_read();
        let head = *seat.lock();
        seat.on_bytes_read();
        assert_eq!(*seat.lock(), head, "more bytes do not prolong the head");
        assert_eq!((head.0, seat.waiting_since()), (Phase::Head, Some(head.1)));
    }
}
