//! The outbox of a client: every batch that is not settled, in memory or in the spool.
//!
//! The worker puts batches in, the sender takes them out and settles them, the committer stores them. What a cut says of
//! the outbox is true when the committer has stored the batches that were not settled by then: so a cut never knows of
//! lines as read that a killed process could not send any more.

use super::answer::{Lot, Settled};
use super::batch::Batch;
use super::client_books::ClientBooks;
use super::collector::Sealed;
use super::spool::{Found, Spool, StoredBatch};
use crate::keep::{Entries, Reader, Slot, Table};
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
/// A client's number stands above so many bits of a batch's number in the index of a slot.
const ID_BITS: u32 = 48;

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

#[derive(Default)]
struct State {
    next_id: u64,
    unsettled: BTreeMap<u64, Unsettled>,
    /// Those that nobody is sending, by tenant, oldest first.
    waiting: BTreeMap<Arc<str>, VecDeque<u64>>,
    /// Those that take memory.
    resident: BTreeSet<u64>,
    /// Settled since the spool was written last.
    settled: Vec<u64>,
    /// Settled with entries that were dropped, since the last cut, and since the one before. The spool learns of them only
    /// when a cut that counts their entries is durable: until then they would be sent and refused again.
    lossy: [Vec<u64>; 2],
    books: ClientBooks,
    /// What the last cut of the run before says was not settled: batch and entries.
    expected: Option<BTreeMap<u64, u64>>,
    /// Somebody was asked to make room.
    pressed: bool,
    spare: Vec<Vec<u8>>,
    store_failures: u64,
    /// Bytes of the spool's files; none without a spool.
    spool_bytes: Option<u64>,
    /// Since the process started, by tenant and reason.
    dropped: ByTenant,
    mutated: ByTenant,
}

/// Entries by tenant and reason.
pub type ByTenant = BTreeMap<(Arc<str>, String), Lot>;

struct Unsettled {
    batch: Arc<Batch>,
    stored: bool,
    /// Somebody is sending it.
    flying: bool,
}

/// An outbox in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutboxFacts {
    pub books: ClientBooks,
    pub pending_entries: u64,
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
            let memory = self.measure(&state);
            memory > self.memory_bytes_max && !std::mem::replace(&mut state.pressed, true)
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

    /// There is no spool: what an earlier run left in one is given up. How many entries.
    pub fn forgo_spool(&self) -> u64 {
        let state = &mut *self.lock();
        let entries = state.expected.take().iter().flatten().map(|(_, entries)| entries).sum();
        if entries > 0 {
            state.books.drop(SPOOL_DAMAGED, Lot { entries, bytes: 0 });
        }
        entries
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
        let id = state.waiting.get_mut(tenant)?.pop_front()?;
        let unsettled = state.unsettled.get_mut(&id)?;
        unsettled.flying = true;
        Some(Arc::clone(&unsettled.batch))
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
        if let Some((packed, buffer)) = batch.packed_and_buffer() {
            if let Some(buffer) = buffer {
                let mut state = self.lock();
                if state.spare.len() < SPARE_MAX {
                    state.spare.push(buffer);
                }
                self.measure(&state);
            }
            return Some(packed);
        }
        self.spool().as_mut()?.load(batch.id).ok()
    }

    /// A batch ended.
    pub fn settle(&self, id: u64, settled: &Settled) {
        {
            let state = &mut *self.lock();
            let Some(unsettled) = state.remove(id) else { return };
            if !settled.dropped.is_empty() {
                state.settled.pop();
                state.lossy[0].push(id);
            }
            let mut rest = unsettled.batch.lines;
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
        loop {
            let stored = self.save(false).is_ok() && self.has_spool();
            let unstored = self.forget_stored();
            // Packed it takes a fifth.
            unstored.iter().for_each(|batch| drop(batch.packed()));
            let state = &mut *self.lock();
            if self.measure(state) > self.memory_bytes_max {
                // They came while others were being stored, and the spool may well have room for them.
                if stored && !unstored.is_empty() {
                    continue;
                }
                if !stored && self.when_full == WhenFull::DropOldest {
                    self.give_up_oldest(state);
                }
            }
            state.pressed = false;
            return;
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

    /// Gives it its spool. What an earlier run left there is sent first: of batches that the last cut knows of, what is
    /// there; others were begun after that cut, and their lines are read again. Without a cut, everything. Entries that
    /// are lost because the spool is damaged.
    pub fn attach(&self, mut spool: Spool, found: &Found) -> u64 {
        let mut lost = 0;
        {
            let state = &mut *self.lock();
            state.next_id = state.next_id.max(found.next_id);
            let expected = state.expected.take();
            let is_known = |stored: &&StoredBatch| expected.as_ref().is_none_or(|ids| ids.contains_key(&stored.id));
            let (known, unknown): (Vec<&StoredBatch>, Vec<&StoredBatch>) = found.batches.iter().partition(is_known);
            let unknown: Vec<u64> = unknown.iter().map(|stored| stored.id).collect();
            if !unknown.is_empty() {
                let _ = spool.forget(&unknown);
            }
            let there: BTreeSet<u64> = known.iter().map(|stored| stored.id).collect();
            for stored in known {
                if expected.is_none() {
                    state.books.entered += stored.lines;
                }
                let StoredBatch { id, tenant, lines, bytes } = stored;
                state.add(Arc::new(Batch::away(*id, Arc::clone(tenant), *lines, *bytes)), true);
            }
            let (mut given_up, mut damaged) = (Lot::default(), Lot::default());
            for (id, entries) in expected.iter().flatten().filter(|(id, _)| !there.contains(id)) {
                // In a sound spool, one that is neither there nor settled had to make room.
                if spool.is_settled(*id) {
                    state.books.acknowledged += entries;
                } else if found.notices.is_empty() && found.damaged.iter().all(|batch| batch.id != *id) {
                    given_up.entries += entries;
                } else {
                    damaged.entries += entries;
                }
            }
            for (reason, lot) in [(BUFFER_FULL, given_up), (SPOOL_DAMAGED, damaged)] {
                if lot.entries > 0 {
                    state.books.drop(reason, lot);
                }
            }
            lost += damaged.entries;
        }
        let damaged: Vec<u64> = found.damaged.iter().map(|batch| batch.id).collect();
        if !damaged.is_empty() {
            let _ = spool.forget(&damaged);
        }
        self.lock().spool_bytes = Some(spool.disk_bytes());
        *self.spool() = Some(spool);
        self.changed.notify_waiters();
        lost
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

    /// Enters the books into a cut, as those of client `number`.
    pub fn keep_books(&self, number: u64, entries: &mut Entries) {
        let state = &mut *self.lock();
        // A cut is made when the one before is durable.
        let [since, before] = &mut state.lossy;
        state.settled.append(before);
        std::mem::swap(since, before);
        entries.put(Slot { table: Table::CLIENTS, index: number }, |writer| {
            writer.bytes(self.name.as_bytes());
            writer.number(state.next_id);
            state.books.write(writer);
        });
    }

    /// Enters into a cut which batches are not settled.
    pub fn keep_batches(&self, number: u64, entries: &mut Entries) {
        let state = self.lock();
        for (id, unsettled) in &state.unsettled {
            entries.put(Slot { table: Table::OUTBOX, index: number << ID_BITS | id }, |writer| {
                writer.number(unsettled.batch.lines);
            });
        }
    }

    /// Which number the client of this name has in a cut; `None`: the cut does not know it.
    pub fn number_in(&self, entries: &Entries) -> Option<u64> {
        let mut clients = entries.table(Table::CLIENTS);
        clients.find(|(_, bytes)| Reader::new(bytes).text() == Some(&self.name)).map(|(number, _)| number)
    }

    /// Takes up what a cut of an earlier run says of the client of this name, if it knows it; before a spool is
    /// [attached](Self::attach). How many slots cannot be read.
    pub fn restore(&self, entries: &Entries) -> u64 {
        let Some(number) = self.number_in(entries) else { return 0 };
        let slot = Slot { table: Table::CLIENTS, index: number };
        let books = entries.get(slot).and_then(|bytes| {
            let mut reader = Reader::new(bytes);
            reader.text()?;
            Some((reader.number()?, ClientBooks::read(&mut reader)?))
        });
        let Some((next_id, books)) = books else { return 1 };
        let of_this = entries.table(Table::OUTBOX).filter(|(index, _)| index >> ID_BITS == number);
        let expected =
            of_this.filter_map(|(index, bytes)| Some((index & ((1 << ID_BITS) - 1), Reader::new(bytes).number()?)));
        let expected: BTreeMap<u64, u64> = expected.collect();
        let state = &mut *self.lock();
        state.next_id = state.next_id.max(next_id);
        state.books = books;
        // A slot that cannot be read: its batch is not known, its entries are.
        let pending = state.books.pending();
        let known = expected.values().sum();
        if pending > known {
            state.books.drop(SPOOL_DAMAGED, Lot { entries: pending - known, bytes: 0 });
        }
        state.expected = Some(expected);
        u64::from(pending != known)
    }

    /// Notes how much memory is taken.
    fn measure(&self, state: &State) -> usize {
        let memory = state.memory_bytes();
        // Storing goes on beside reading: only if it falls behind must that wait.
        let full = match self.when_full {
            WhenFull::DropOldest => memory > 2 * self.memory_bytes_max,
            WhenFull::Wait => memory > self.memory_bytes_max,
        };
        self.is_full.store(full, Relaxed);
        let backed_up = match state.spool_bytes {
            Some(spool) => spool > self.spool_bytes_max / 2,
            None => memory > self.memory_bytes_max / 2,
        };
        self.is_backed_up.store(backed_up, Relaxed);
        memory
    }

    /// A panic of another thread leaves nothing half-done behind these locks.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spool(&self) -> MutexGuard<'_, Option<Spool>> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, batch: Arc<Batch>, stored: bool) {
        let id = batch.id;
        self.waiting.entry(Arc::clone(&batch.tenant)).or_default().push_back(id);
        if !stored {
            self.resident.insert(id);
        }
        self.unsettled.insert(id, Unsettled { batch, stored, flying: false });
    }

    fn remove(&mut self, id: u64) -> Option<Unsettled> {
        let unsettled = self.unsettled.remove(&id)?;
        self.resident.remove(&id);
        self.settled.push(id);
        let tenant = &unsettled.batch.tenant;
        if let Some(waiting) = self.waiting.get_mut(tenant) {
            waiting.retain(|other| *other != id);
            if waiting.is_empty() {
                self.waiting.remove(&**tenant);
            }
        }
        Some(unsettled)
    }

    /// Gives a batch up; one that is being sent goes on from memory.
    fn give_up(&mut self, id: u64, reason: &str) {
        match self.unsettled.get_mut(&id) {
            Some(unsettled) if unsettled.flying => unsettled.stored = false,
            Some(_) => {
                if let Some(unsettled) = self.remove(id) {
                    let lot = Lot { entries: unsettled.batch.lines, bytes: unsettled.batch.bytes };
                    self.drop(&unsettled.batch.tenant, reason, lot);
                }
            }
            None => {}
        }
    }

    fn drop(&mut self, tenant: &Arc<str>, reason: &str, lot: Lot) {
        self.books.drop(reason, lot);
        *self.dropped.entry((Arc::clone(tenant), reason.to_string())).or_default() += lot;
    }

    fn memory_bytes(&self) -> usize {
        self.resident.iter().filter_map(|id| self.unsettled.get(id)).map(|u| u.batch.held_bytes()).sum()
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
