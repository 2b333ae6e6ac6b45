//! The outbox of a client: every batch that is not settled, in memory or in the spool.
//!
//! The worker puts batches in, the sender takes them out and settles them, the committer stores them. What a cut says of
//! the outbox is true when the committer has stored the batches that were not settled by then: so a cut never knows of
//! lines as read that a killed process could not send any more.

mod kept;
mod state;

use super::{Aside, Batch, ClientBooks, Lot, Sealed, Settled, Spool};
use state::State;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Why entries are given up here: there is room for no more.
pub const BUFFER_FULL: &str = "buffer_full";
/// Why entries are given up here: what the spool held of them cannot be read.
pub const SPOOL_DAMAGED: &str = "spool_damaged";

/// Buffers that wait to be filled again.
const SPARE_MAX: usize = 4;
/// What happens when the memory is used up and there is no spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest batches are given up, and counted: reading goes on.
    DropOldest,
    /// Nothing is read before there is room.
    Wait,
}

/// Called when batches should be stored soon, to make room.
pub type Pressure = Box<dyn Fn() + Send + Sync>;

pub struct Outbox {
    /// By which it is known over restarts.
    name: String,
    memory_bytes_max: usize,
    spool_bytes_max: u64,
    when_full: WhenFull,
    state: Mutex<State>,
    /// Locked before the state, never while that is locked.
    spool: Mutex<Option<Spool>>,
    is_full: AtomicBool,
    is_backed_up: AtomicBool,
    changed: Notify,
    pressure: OnceLock<Pressure>,
}

/// Entries by tenant and reason.
pub type ByTenant = BTreeMap<(Arc<str>, String), Lot>;

/// An outbox in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutboxFacts {
    pub books: ClientBooks,
    pub pending_entries: u64,
    /// Of these, what belongs to streams that Loki has no room for.
    pub aside_entries: u64,
    pub pending_bytes: u64,
    pub pending_batches: u64,
    pub memory_bytes: u64,
    pub spool_bytes: u64,
    /// When the first entry of the oldest batch came, by the clock that never goes back.
    pub oldest: Option<Duration>,
    /// Times that the spool could not be written.
    pub store_failures: u64,
    /// Dropped since the process started.
    pub dropped: ByTenant,
    /// Sent as something else than the pipeline gave, since the process started.
    pub mutated: ByTenant,
}

impl Outbox {
    /// An empty one, without a spool.
    pub fn new(name: impl Into<String>, memory_bytes_max: usize, spool_bytes_max: u64, when_full: WhenFull) -> Self {
        Outbox {
            name: name.into(),
            memory_bytes_max,
            spool_bytes_max,
            when_full,
            state: Mutex::default(),
            spool: Mutex::default(),
            is_full: AtomicBool::new(false),
            is_backed_up: AtomicBool::new(false),
            changed: Notify::new(),
            pressure: OnceLock::new(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes that the spool's files may take.
    pub fn spool_bytes_max(&self) -> u64 {
        self.spool_bytes_max
    }

    pub fn has_spool(&self) -> bool {
        self.spool().is_some()
    }

    /// Who is to be told that batches should be stored soon. Only the first call counts.
    pub fn on_pressure(&self, pressure: Pressure) {
        let _ = self.pressure.set(pressure);
    }

    /// Takes a batch.
    pub fn put(&self, sealed: Sealed) {
        let press = {
            let mut state = self.lock();
            let id = state.next_id;
            state.next_id += 1;
            state.books.entered += sealed.lines;
            state.add(Arc::new(Batch::of(id, sealed)), false);
            let idle = self.measure(&state);
            // Early enough that reading, as a rule, need not wait for the disk.
            idle > self.memory_bytes_max / 2 && !std::mem::replace(&mut state.pressed, true)
        };
        self.changed.notify_waiters();
        if press && let Some(pressure) = self.pressure.get() {
            pressure();
        }
    }

    /// Entries that never got into a batch.
    pub fn refuse(&self, tenant: &Arc<str>, reason: &str, lot: Lot) {
        let state = &mut *self.lock();
        state.books.entered += lot.entries;
        state.drop(tenant, reason, lot);
    }

    /// Entries whose lines were changed to be sent.
    pub fn mutate(&self, tenant: &Arc<str>, reason: &str, lot: Lot) {
        *self.lock().mutated.entry((Arc::clone(tenant), reason.to_string())).or_default() += lot;
    }

    /// A buffer to be filled again.
    pub fn spare(&self) -> Option<Vec<u8>> {
        self.lock().spare.pop()
    }

    /// Whether nothing should be read before room was made.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Relaxed)
    }

    /// Whether half of what may wait does.
    pub fn is_backed_up(&self) -> bool {
        self.is_backed_up.load(Relaxed)
    }

    /// Wakes when something was put in; to be asked for before one looks.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Tenants that something waits for.
    pub fn tenants(&self) -> Vec<Arc<str>> {
        let state = self.lock();
        state.waiting.iter().filter(|(_, ids)| !ids.is_empty()).map(|(tenant, _)| Arc::clone(tenant)).collect()
    }

    /// How many tenants have something that is not settled.
    pub fn tenants_unsettled(&self) -> usize {
        let state = self.lock();
        let tenants: BTreeSet<&str> = state.unsettled.values().map(|unsettled| &*unsettled.batch.tenant).collect();
        tenants.len()
    }

    /// The oldest batch of a tenant, for whoever sends it. It stays here until it is [settled](Self::settle) or
    /// [given back](Self::give_back).
    pub fn take(&self, tenant: &str) -> Option<Arc<Batch>> {
        let state = &mut *self.lock();
        let next = state.unsettled.get(state.waiting.get(tenant)?.front()?)?;
        if state.is_held(&next.batch) {
            return None;
        }
        let id = state.waiting.get_mut(tenant)?.pop_front()?;
        let unsettled = state.unsettled.get_mut(&id)?;
        unsettled.flying = true;
        let batch = Arc::clone(&unsettled.batch);
        self.measure(state);
        Some(batch)
    }

    /// Batches of a tenant that are set aside.
    pub fn aside(&self, tenant: &str) -> usize {
        self.lock().aside.get(tenant).map_or(0, VecDeque::len)
    }

    /// The oldest of them, as [`take`](Self::take).
    pub fn take_aside(&self, tenant: &str) -> Option<Arc<Batch>> {
        let state = &mut *self.lock();
        let id = state.aside.get_mut(tenant)?.pop_front()?;
        let unsettled = state.unsettled.get_mut(&id)?;
        unsettled.flying = true;
        let batch = Arc::clone(&unsettled.batch);
        self.measure(state);
        Some(batch)
    }

    /// Whether a batch waits for a cut.
    pub fn wants_cut(&self) -> bool {
        let state = self.lock();
        let newer = state.held_from.map(|held_from| state.unsettled.range(held_from..));
        newer.into_iter().flatten().any(|(_, unsettled)| !unsettled.batch.repeatable)
    }

    /// The last cut is durable, or never will be.
    pub fn cut_is_durable(&self) {
        {
            let state = &mut *self.lock();
            state.held_from = state.held_from.map(|_| state.cut_at);
        }
        self.changed.notify_waiters();
    }

    /// A batch that was taken is not sent after all.
    pub fn give_back(&self, id: u64) {
        let state = &mut *self.lock();
        if let Some(unsettled) = state.unsettled.get_mut(&id).filter(|unsettled| unsettled.flying) {
            unsettled.flying = false;
            let waiting = state.waiting.entry(Arc::clone(&unsettled.batch.tenant)).or_default();
            let at = waiting.partition_point(|other| *other < id);
            waiting.insert(at, id);
        }
    }

    /// What is pushed of a batch; read from the spool if it is only there. `None`: it cannot be read any more.
    pub fn packed(&self, batch: &Batch) -> Option<bytes::Bytes> {
        self.pack(batch).or_else(|| self.spool().as_mut()?.load(batch.id).ok())
    }

    /// A batch as it is pushed and stored, unless it is only in the spool. The buffer that it was in is used again: given
    /// back to the allocator by another thread than the one that fills them, buffers would be spread over a growing heap.
    fn pack(&self, batch: &Batch) -> Option<bytes::Bytes> {
        let (packed, buffer) = batch.packed_and_buffer()?;
        if let Some(buffer) = buffer {
            let mut state = self.lock();
            if state.spare.len() < SPARE_MAX {
                state.spare.push(buffer);
            }
            self.measure(&state);
        }
        Some(packed)
    }

    /// A batch ended, or is to be tried again later. What is set aside of one becomes a batch of its own.
    pub fn settle(&self, id: u64, settled: &Settled) {
        {
            let state = &mut *self.lock();
            if settled.aside == Some(Aside::Whole) {
                state.set_aside(id);
                self.measure(state);
                return;
            }
            let Some(unsettled) = state.remove(id) else { return };
            let mut rest = unsettled.batch.lines;
            if let Some(Aside::Part { packed, lot }) = &settled.aside {
                let lot = Lot { entries: lot.entries.min(rest), ..*lot };
                rest -= lot.entries;
                state.set_part_aside(&unsettled.batch, packed.clone(), lot);
            }
            if !settled.dropped.is_empty() || settled.aside.is_some() {
                state.settled.pop();
                state.lossy[0].push(id);
            }
            for (reason, lot) in &settled.dropped {
                let lot = Lot { entries: lot.entries.min(rest), ..*lot };
                rest -= lot.entries;
                state.drop(&unsettled.batch.tenant, reason, lot);
            }
            state.books.acknowledged += rest;
            self.measure(state);
        }
        self.changed.notify_waiters();
    }

    /// Stores what is not settled and not stored yet; `sync`: so that a loss of power leaves it there. An error: what is
    /// not stored stays in memory only.
    pub fn save(&self, sync: bool) -> std::io::Result<()> {
        let mut spool = self.spool();
        let (batches, settled) = {
            let mut state = self.lock();
            let unsaved = state.unsettled.values().filter(|unsettled| !unsettled.stored);
            let batches: Vec<Arc<Batch>> = unsaved.map(|unsettled| Arc::clone(&unsettled.batch)).collect();
            (batches, std::mem::take(&mut state.settled))
        };
        let Some(spool) = spool.as_mut() else { return Ok(()) };
        batches.iter().for_each(|batch| drop(self.pack(batch)));
        let saved = spool.save(&batches, &settled, sync);
        let state = &mut *self.lock();
        state.spool_bytes = Some(spool.disk_bytes());
        match &saved.result {
            Ok(()) => {
                for batch in &batches {
                    if let Some(unsettled) = state.unsettled.get_mut(&batch.id) {
                        unsettled.stored = true;
                    }
                }
            }
            Err(_) => state.store_failures += 1,
        }
        saved.evicted.iter().for_each(|evicted| state.give_up(evicted.id, BUFFER_FULL));
        saved.lost.iter().for_each(|lost| state.give_up(lost.id, SPOOL_DAMAGED));
        self.measure(state);
        saved.result
    }

    /// Makes room in memory: what can be stored is, and what cannot is given up if there is too much of it.
    pub fn relieve(&self) {
        let stored = self.save(false).is_ok() && self.has_spool();
        // Packed it takes a fifth.
        self.forget_stored().iter().for_each(|batch| drop(self.pack(batch)));
        let press = {
            let state = &mut *self.lock();
            if !stored && self.when_full == WhenFull::DropOldest {
                self.give_up_oldest(state);
            }
            // Others came meanwhile. They have their turn after whatever else the disk has to do.
            state.pressed = stored && self.measure(state) > self.memory_bytes_max / 2;
            state.pressed
        };
        if press && let Some(pressure) = self.pressure.get() {
            pressure();
        }
    }

    /// Frees the memory of batches that are stored, but for those under way. Which ones are not stored.
    fn forget_stored(&self) -> Vec<Arc<Batch>> {
        let state = &mut *self.lock();
        let mut unstored = Vec::new();
        for id in std::mem::take(&mut state.resident) {
            let Some(unsettled) = state.unsettled.get(&id) else { continue };
            if unsettled.stored && !unsettled.flying {
                unsettled.batch.forget();
                continue;
            }
            if !unsettled.stored {
                unstored.push(Arc::clone(&unsettled.batch));
            }
            state.resident.insert(id);
        }
        unstored
    }

    fn give_up_oldest(&self, state: &mut State) {
        while self.measure(state) > self.memory_bytes_max {
            let is_idle = |id: &&u64| state.unsettled.get(id).is_some_and(|u| !u.flying && !u.stored);
            let Some(oldest) = state.resident.iter().find(is_idle).copied() else { return };
            state.give_up(oldest, BUFFER_FULL);
        }
    }

    /// Whether each batch that is not settled would outlive the process.
    pub fn is_stored(&self) -> bool {
        self.lock().unsettled.values().all(|unsettled| unsettled.stored)
    }

    pub fn is_empty(&self) -> bool {
        self.lock().unsettled.is_empty()
    }

    pub fn facts(&self) -> OutboxFacts {
        let state = self.lock();
        let batches = || state.unsettled.values().map(|unsettled| &unsettled.batch);
        OutboxFacts {
            books: state.books.clone(),
            pending_entries: batches().map(|batch| batch.lines).sum(),
            aside_entries: state
                .aside
                .values()
                .flatten()
                .filter_map(|id| Some(state.unsettled.get(id)?.batch.lines))
                .sum(),
            pending_bytes: batches().map(|batch| batch.bytes).sum(),
            pending_batches: state.unsettled.len() as u64,
            memory_bytes: state.memory_bytes() as u64,
            spool_bytes: state.spool_bytes.unwrap_or(0),
            oldest: batches().map(|batch| batch.begun).min(),
            store_failures: state.store_failures,
            dropped: state.dropped.clone(),
            mutated: state.mutated.clone(),
        }
    }

    /// Notes how much memory is taken.
    fn measure(&self, state: &State) -> usize {
        // What is under way stays for as long as Loki is away. It is one batch of each tenant, and must hold up nobody.
        let (memory, idle) = (state.memory_bytes(), state.idle_bytes());
        // Storing goes on beside reading: only if it falls behind must that wait.
        let full = match self.when_full {
            WhenFull::DropOldest => idle > self.memory_bytes_max,
            WhenFull::Wait => memory > self.memory_bytes_max,
        };
        self.is_full.store(full, Relaxed);
        let backed_up = match state.spool_bytes {
            Some(spool) => spool > self.spool_bytes_max / 2,
            None => memory > self.memory_bytes_max / 2,
        };
        self.is_backed_up.store(backed_up, Relaxed);
        idle
    }

    /// A panic of another thread leaves nothing half-done behind these locks.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spool(&self) -> MutexGuard<'_, Option<Spool>> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
