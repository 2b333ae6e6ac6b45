//! What an outbox knows, behind its lock.

use super::ByTenant;
use crate::sink::{Batch, ClientBooks, Lot};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct State {
    pub(super) next_id: u64,
    pub(super) unsettled: BTreeMap<u64, Unsettled>,
    /// Those that nobody is sending, by tenant, oldest first.
    pub(super) waiting: BTreeMap<Arc<str>, VecDeque<u64>>,
    /// Those that take memory.
    pub(super) resident: BTreeSet<u64>,
    /// Settled since the spool was written last.
    pub(super) settled: Vec<u64>,
    /// Settled with entries that were dropped, since the last cut, and since the one before. The spool learns of them only
    /// when a cut that counts their entries is durable: until then they would be sent and refused again.
    pub(super) lossy: [Vec<u64>; 2],
    pub(super) books: ClientBooks,
    /// What the last cut of the run before says was not settled: batch and entries.
    pub(super) expected: Option<BTreeMap<u64, u64>>,
    /// Batches from this one on may not be sent if their lines would make other entries: no durable cut knows of them. Only
    /// where cuts are durable at all.
    pub(super) held_from: Option<u64>,
    /// The first batch that the last cut does not know of.
    pub(super) cut_at: u64,
    /// Somebody was asked to make room.
    pub(super) pressed: bool,
    pub(super) spare: Vec<Vec<u8>>,
    pub(super) store_failures: u64,
    /// Bytes of the spool's files; none without a spool.
    pub(super) spool_bytes: Option<u64>,
    /// Since the process started, by tenant and reason.
    pub(super) dropped: ByTenant,
    pub(super) mutated: ByTenant,
}

pub(super) struct Unsettled {
    pub(super) batch: Arc<Batch>,
    pub(super) stored: bool,
    /// Somebody is sending it.
    pub(super) flying: bool,
}

impl State {
    pub(super) fn add(&mut self, batch: Arc<Batch>, stored: bool) {
        let id = batch.id;
        self.waiting.entry(Arc::clone(&batch.tenant)).or_default().push_back(id);
        if !stored {
            self.resident.insert(id);
        }
        self.unsettled.insert(id, Unsettled { batch, stored, flying: false });
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Unsettled> {
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
    pub(super) fn give_up(&mut self, id: u64, reason: &str) {
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

    pub(super) fn drop(&mut self, tenant: &Arc<str>, reason: &str, lot: Lot) {
        self.books.drop(reason, lot);
        *self.dropped.entry((Arc::clone(tenant), reason.to_string())).or_default() += lot;
    }

    /// Bytes in memory that nobody is sending.
    pub(super) fn idle_bytes(&self) -> usize {
        let resident = self.resident.iter().filter_map(|id| self.unsettled.get(id));
        resident.filter(|unsettled| !unsettled.flying).map(|unsettled| unsettled.batch.held_bytes()).sum()
    }

    /// Whether a batch must not be sent yet.
    pub(super) fn is_held(&self, batch: &Batch) -> bool {
        !batch.repeatable && self.held_from.is_some_and(|held_from| batch.id >= held_from)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.resident.iter().filter_map(|id| self.unsettled.get(id)).map(|u| u.batch.held_bytes()).sum()
    }
}
