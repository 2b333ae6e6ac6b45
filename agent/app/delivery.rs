//! Delivery: the outboxes of the configured clients, their spools, and the thread that sends.

use super::engine::Engine;
use super::events;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, DeliveryConfig};
use crate::disk::RealDisk;
use crate::keep::Entries;
use crate::metrics::Own;
use crate::pipeline::Output;
use crate::sink::{
    ClientConfig, Collector, EntryLimits, Forwarder, LaneConfig, Outbox, Outboxes, Sender, SenderMetrics, Spool,
    SpoolLimits, Transport, WhenFull,
};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The spools of all clients, below the state directory.
const SPOOL_DIRECTORY: &str = "spool";
/// Nobody waits so long.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// How often the end looks whether everything was taken.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct Deliveries {
    outboxes: Outboxes,
    senders: watch::Sender<Vec<Arc<Sender>>>,
    metrics: SenderMetrics,
    clock: Arc<dyn Clock>,
    /// Where spools are; known once the state directory is open.
    spools: Mutex<Option<PathBuf>>,
    pressure: OnceLock<Arc<dyn Fn() + Send + Sync>>,
    /// When sending ends, by the clock; set at the end.
    deadline: watch::Sender<Option<Duration>>,
    ended: watch::Sender<bool>,
}

impl Deliveries {
    pub fn new(metrics: SenderMetrics, clock: Arc<dyn Clock>) -> Self {
        Deliveries {
            outboxes: Outboxes::default(),
            senders: watch::Sender::default(),
            metrics,
            clock,
            spools: Mutex::default(),
            pressure: OnceLock::new(),
            deadline: watch::Sender::default(),
            ended: watch::Sender::default(),
        }
    }

    /// Delivery of a run that ends, all in memory: reading waits for the clients.
    pub fn of_a_run(config: &Config, engine: &mut Engine) -> Result<Sending, String> {
        let own = Own::new(env!("CARGO_PKG_VERSION"));
        let deliveries = Arc::new(Deliveries::new(SenderMetrics::of(&own), Arc::new(SystemClock)));
        let outboxes = deliveries.outboxes.clone();
        deliveries.on_pressure(move || outboxes.relieve());
        engine.set_output(deliveries.configure(config, WhenFull::Wait)?);
        let thread = deliveries.start().map_err(|error| error.to_string())?;
        Ok(Sending { deliveries, thread })
    }

    pub fn outboxes(&self) -> &Outboxes {
        &self.outboxes
    }

    /// What senders are at work, for their metrics.
    pub fn senders(&self) -> Vec<Arc<Sender>> {
        self.senders.borrow().clone()
    }

    /// Who makes room when memory runs short.
    pub fn on_pressure(&self, pressure: impl Fn() + Send + Sync + 'static) {
        let _ = self.pressure.set(Arc::new(pressure));
        self.outboxes.all().iter().for_each(|outbox| self.watch_memory(outbox));
    }

    /// Goes over to the clients of a configuration; those of the same name keep their outboxes. Returns where entries go
    /// from now on.
    pub fn configure(&self, config: &Config, when_full: WhenFull) -> Result<Box<dyn Output>, String> {
        let limits = EntryLimits {
            line_bytes_max: config.limits.max_line_size.unwrap_or(0),
            truncate: config.limits.max_line_size_truncate,
            batch_streams_max: config.limits.max_streams.unwrap_or(0),
        };
        let (mut names, mut parts, mut senders) = (HashSet::new(), Vec::new(), Vec::new());
        for client in config.active_clients() {
            let transport = Transport::new(client)?;
            let name = unique_name(client, transport.host(), &mut names);
            let outbox =
                self.outboxes.named(&name).unwrap_or_else(|| self.open_outbox(&name, &config.delivery, when_full));
            parts.push((Collector::new(client, &limits), Arc::clone(&outbox)));
            let (metrics, clock) = (self.metrics.clone(), Arc::clone(&self.clock));
            senders.push(Arc::new(Sender::new(
                outbox,
                transport,
                LaneConfig::of(client, config.delivery.accept_200),
                metrics,
                clock,
                events::sender,
            )));
        }
        self.outboxes.set(parts.iter().map(|(_, outbox)| Arc::clone(outbox)).collect());
        self.senders.send_replace(senders);
        Ok(Box::new(Forwarder::new(parts, self.clock.monotonic())))
    }

    fn open_outbox(&self, name: &str, config: &DeliveryConfig, when_full: WhenFull) -> Arc<Outbox> {
        let memory_bytes_max = usize::try_from(config.memory_bytes_max).unwrap_or(usize::MAX);
        let outbox = Arc::new(Outbox::new(name, memory_bytes_max, config.spool_bytes_max, when_full));
        self.watch_memory(&outbox);
        let spools = self.spools.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(error) = spools.and_then(|spools| open_spool(&outbox, &spools).err()) {
            events::spool_refused(name, &error.to_string());
        }
        outbox
    }

    fn watch_memory(&self, outbox: &Outbox) {
        if let Some(pressure) = self.pressure.get().cloned() {
            outbox.on_pressure(Box::new(move || pressure()));
        }
    }

    /// Gives each outbox its spool in an open state directory. `entries`: the cut from which the engine goes on.
    /// [`io::ErrorKind::WouldBlock`]: another agent is still sending from there. Entries that the spools have lost.
    pub fn open_spools(&self, state: &Path, entries: &Entries) -> io::Result<u64> {
        let spools = state.join(SPOOL_DIRECTORY);
        let mut lost = 0;
        for outbox in self.outboxes.all().iter().filter(|outbox| !outbox.has_spool()) {
            outbox.restore(entries);
            match open_spool(outbox, &spools) {
                Ok(gone) => lost += gone,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    events::spool_refused(outbox.name(), &error.to_string());
                    lost += outbox.forgo_spool();
                }
            }
        }
        *self.spools.lock().unwrap_or_else(PoisonError::into_inner) = Some(spools);
        Ok(lost)
    }

    /// Starts the thread that sends.
    pub fn start(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let deliveries = Arc::clone(self);
        thread::Builder::new().name("sender".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(deliveries.send());
                    // A push that hangs must not keep the process.
                    runtime.shutdown_background();
                }
                Err(error) => events::no_thread(&error.to_string()),
            }
            // What was taken meanwhile is not sent again by the next run.
            let _ = deliveries.outboxes.save(true);
            deliveries.ended.send_replace(true);
        })
    }

    /// Sends until `grace` has passed, or nothing more can be done.
    pub fn end(&self, grace: Duration) {
        self.deadline.send_replace(Some(self.clock.monotonic() + grace));
    }

    /// Sends no longer, if nobody has said for how long.
    pub fn end_unless_told(&self) {
        let now = self.clock.monotonic();
        self.deadline.send_if_modified(|deadline| deadline.is_none().then(|| *deadline = Some(now)).is_some());
    }

    /// Waits until sending has ended.
    pub async fn ended(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    async fn send(&self) {
        let (mut senders, mut deadline) = (self.senders.subscribe(), self.deadline.subscribe());
        loop {
            let at_work = senders.borrow_and_update().clone();
            let mut tasks = JoinSet::new();
            for sender in &at_work {
                tasks.spawn(Arc::clone(sender).run());
            }
            tokio::select! {
                // Dropping the tasks gives back what they were sending; it is sent again, byte for byte.
                changed = senders.changed() => if changed.is_err() { return },
                _ = deadline.wait_for(Option::is_some) => return self.drain(&at_work).await,
            }
        }
    }

    async fn drain(&self, senders: &[Arc<Sender>]) {
        loop {
            let deadline = self.deadline.borrow().unwrap_or_default();
            if self.clock.monotonic() >= deadline || senders.iter().all(|sender| sender.is_done()) {
                return;
            }
            tokio::time::sleep(DRAIN_LOOK_EVERY).await;
        }
    }
}

/// Delivery that was started for a run that ends.
pub struct Sending {
    deliveries: Arc<Deliveries>,
    thread: JoinHandle<()>,
}

impl Sending {
    /// Waits until the clients have taken everything, however long they take.
    pub fn wait(self) {
        self.deliveries.end(FOR_EVER);
        // A panic there was told already.
        let _ = self.thread.join();
    }
}

/// Opens and attaches the spool of an outbox. Entries that it has lost.
fn open_spool(outbox: &Outbox, spools: &Path) -> io::Result<u64> {
    let bytes_max = outbox.spool_bytes_max();
    if bytes_max == 0 {
        return Ok(outbox.forgo_spool());
    }
    let disk = RealDisk::open(spools.join(directory_name(outbox.name())))?;
    let (spool, found) = Spool::open(Box::new(disk), SpoolLimits { bytes_max, ..SpoolLimits::default() })?;
    for notice in &found.notices {
        events::spool_notice(outbox.name(), &notice.to_string());
    }
    Ok(outbox.attach(spool, &found))
}

/// By which a client is known over restarts, and in metrics: its name, else where it is.
fn unique_name(client: &ClientConfig, host: &str, names: &mut HashSet<String>) -> String {
    let base = match &client.name {
        Some(name) => name.clone(),
        None if client.tenant_id.is_empty() => host.to_string(),
        None => format!("{host} {}", client.tenant_id),
    };
    let mut name = base.clone();
    let mut count = 1;
    while !names.insert(name.clone()) {
        count += 1;
        name = format!("{base} {count}");
    }
    name
}

/// A client's name as that of a directory: two clients never share one.
fn directory_name(client: &str) -> String {
    let mut name = String::new();
    for byte in client.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte as char),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}
