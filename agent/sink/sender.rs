//! The sender of one client: takes batches out of the outbox, pushes them, and settles them.
//!
//! Each tenant has a task of its own, which sends one batch after another: the order within a stream stays, and a tenant
//! that is refused holds no other one up. What is judged, and when it is tried again, is the lane's matter.

use super::answer::{Lot, Settled};
use super::batch::Batch;
use super::lane::{DeadLetter, DeadLetters, Lane, LaneConfig, Outcome, Push, Report, Step, Trouble};
use super::outbox::{Outbox, SPOOL_DAMAGED};
use super::sender_metrics::{Pushed, SenderMetrics};
use super::transport::Transport;
use crate::clock::Clock;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// What is worth saying of a client, beside what it counts.
#[derive(Debug)]
pub enum SenderEvent<'e> {
    /// Batches of a tenant do not get through; once until they do.
    Trouble { tenant: &'e str, trouble: Trouble, code: Option<u16>, text: &'e str },
    /// They get through again.
    Recovered { tenant: &'e str, after: Duration },
    /// An entry was refused for good.
    DeadLetter { tenant: &'e str, letter: &'e DeadLetter },
}

/// Who is told of the events of the client with this name.
pub type Tell = fn(client: &str, event: &SenderEvent<'_>);

/// A client at work.
pub struct Sender {
    outbox: Arc<Outbox>,
    transport: Transport,
    lane: LaneConfig,
    metrics: SenderMetrics,
    clock: Arc<dyn Clock>,
    tell: Tell,
    /// Tenants whose last push failed.
    failing: AtomicUsize,
    dead_letters: Mutex<DeadLetters>,
}

impl Sender {
    pub fn new(
        outbox: Arc<Outbox>,
        transport: Transport,
        lane: LaneConfig,
        metrics: SenderMetrics,
        clock: Arc<dyn Clock>,
        tell: Tell,
    ) -> Self {
        let dead_letters = Mutex::default();
        Sender { outbox, transport, lane, metrics, clock, tell, failing: AtomicUsize::new(0), dead_letters }
    }

    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    pub fn host(&self) -> &str {
        self.transport.host()
    }

    pub fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Tenants whose last push failed.
    pub fn failing(&self) -> usize {
        self.failing.load(Relaxed)
    }

    /// Whether waiting for it is of no use: all is taken, or what is left will outlive the process and is not taken now.
    pub fn is_done(&self) -> bool {
        self.outbox.is_empty() || (self.outbox.is_stored() && self.failing() >= self.outbox.tenants_unsettled())
    }

    /// Sends for ever. Dropping it ends it; what was under way is given back.
    pub async fn run(self: Arc<Self>) {
        let (mut lanes, mut known) = (JoinSet::new(), BTreeSet::new());
        self.metrics.client_began(self.host());
        loop {
            let mut changed = pin!(self.outbox.changed());
            changed.as_mut().enable();
            for tenant in self.outbox.tenants() {
                if known.insert(Arc::clone(&tenant)) {
                    self.metrics.tenant_began(self.host(), &tenant);
                    lanes.spawn(Arc::clone(&self).send_tenant(tenant));
                }
            }
            changed.await;
        }
    }

    /// Refused entries that are kept.
    pub fn dead_letters(&self) -> usize {
        self.letters().iter().count()
    }

    /// Sends the batches of a tenant, one after another, for ever.
    async fn send_tenant(self: Arc<Self>, tenant: Arc<str>) {
        let mut lane = Lane::new(self.lane.clone(), RandomState::new().build_hasher().finish());
        let mut flight: Option<Flight> = None;
        let mut health = Health { failing: &self.failing, fails: false };
        loop {
            match lane.next(self.now()) {
                Step::Idle => {
                    let mut changed = pin!(self.outbox.changed());
                    changed.as_mut().enable();
                    let Some(batch) = self.next_batch(&tenant, &mut lane) else {
                        let until = lane.again_at().map_or(Duration::MAX, |at| at.saturating_sub(self.now()));
                        let _ = tokio::time::timeout(until, changed).await;
                        continue;
                    };
                    let under_way = Flight { outbox: Arc::clone(&self.outbox), batch };
                    let Batch { id, lines, bytes, .. } = *under_way.batch;
                    let ended = match self.packed(&under_way.batch).await {
                        None => Some(damaged(&under_way.batch)),
                        Some(packed) => lane.take(packed, Lot { entries: lines, bytes }, self.now()),
                    };
                    match ended {
                        Some(settled) => {
                            self.outbox.settle(id, &settled);
                            // There may be many such, one after another.
                            tokio::task::yield_now().await;
                        }
                        None => flight = Some(under_way),
                    }
                }
                Step::Wait(until) => tokio::time::sleep(until.saturating_sub(self.now())).await,
                Step::Push(push) => {
                    let began = self.now();
                    let answer = self.transport.push(&tenant, push.body.clone()).await;
                    let now = self.now();
                    let mut told = Told { sender: &self, tenant: &tenant, push: &push, took: now - began };
                    let settled = lane.answered(answer, now, &mut told);
                    health.set(lane.trouble().is_some());
                    if let (Some(settled), Some(flight)) = (settled, flight.take_if(|_| lane.is_idle())) {
                        self.outbox.settle(flight.batch.id, &settled);
                    }
                }
            }
        }
    }

    /// The batch that comes next.
    fn next_batch(&self, tenant: &str, lane: &mut Lane) -> Option<Arc<Batch>> {
        match lane.wants_aside(self.now(), self.outbox.aside(tenant)) {
            true => self.outbox.take_aside(tenant),
            false => self.outbox.take(tenant),
        }
    }

    /// What is pushed of a batch; `None`: it cannot be read any more.
    async fn packed(&self, batch: &Arc<Batch>) -> Option<Bytes> {
        if !batch.is_away() {
            return self.outbox.packed(batch);
        }
        // The disk may be slow, and other tenants have batches in memory.
        let (outbox, batch) = (Arc::clone(&self.outbox), Arc::clone(batch));
        tokio::task::spawn_blocking(move || outbox.packed(&batch)).await.ok().flatten()
    }

    /// A panic of another thread leaves nothing half-done behind this lock.
    fn letters(&self) -> MutexGuard<'_, DeadLetters> {
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch that is being sent. Wherever sending is broken off, it goes back.
struct Flight {
    outbox: Arc<Outbox>,
    batch: Arc<Batch>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.outbox.give_back(self.batch.id);
    }
}

/// Whether a tenant is among those that fail.
struct Health<'s> {
    failing: &'s AtomicUsize,
    fails: bool,
}

impl Health<'_> {
    fn set(&mut self, fails: bool) {
        match (self.fails, fails) {
            (false, true) => drop(self.failing.fetch_add(1, Relaxed)),
            (true, false) => drop(self.failing.fetch_sub(1, Relaxed)),
            _ => {}
        }
        self.fails = fails;
    }
}

impl Drop for Health<'_> {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// Where a lane reports to during one answer.
struct Told<'s> {
    sender: &'s Sender,
    tenant: &'s Arc<str>,
    push: &'s Push,
    took: Duration,
}

impl Report for Told<'_> {
    fn request(&mut self, code: Option<u16>, outcome: Outcome) {
        let Sender { metrics, outbox, .. } = self.sender;
        let (client, host) = (outbox.name(), self.sender.host());
        metrics.pushed(&Pushed {
            client,
            host,
            code,
            took: self.took,
            body_bytes: self.push.body.len(),
            lot: self.push.lot,
            accepted: outcome == Outcome::Accepted,
        });
        if matches!(outcome, Outcome::Retried | Outcome::Split | Outcome::Aside) {
            metrics.retried(client, host, self.tenant, code);
        }
    }

    fn server_clock(&mut self, unix_seconds: i64) {
        let own = self.sender.clock.now() as f64 / NANOS_PER_SECOND as f64;
        self.sender.metrics.server_clock(self.sender.outbox.name(), unix_seconds as f64 - own);
    }

    fn dead_letter(&mut self, letter: DeadLetter) {
        (self.sender.tell)(
            self.sender.outbox.name(),
            &SenderEvent::DeadLetter { tenant: self.tenant, letter: &letter },
        );
        let unix_seconds = self.sender.clock.now() / NANOS_PER_SECOND;
        self.sender.letters().put(unix_seconds, self.tenant, letter);
    }

    fn trouble(&mut self, trouble: Trouble, code: Option<u16>, text: &str) {
        let event = SenderEvent::Trouble { tenant: self.tenant, trouble, code, text };
        (self.sender.tell)(self.sender.outbox.name(), &event);
    }

    fn recovered(&mut self, after: Duration) {
        (self.sender.tell)(self.sender.outbox.name(), &SenderEvent::Recovered { tenant: self.tenant, after });
    }
}

/// How a batch ends that cannot be read any more.
fn damaged(batch: &Batch) -> Settled {
    let lot = Lot { entries: batch.lines, bytes: batch.bytes };
    Settled { dropped: vec![(SPOOL_DAMAGED, lot)], ..Settled::default() }
}
