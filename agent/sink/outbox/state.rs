//! What an outbox knows, behind its lock.

use super::ByTenant;
use crate::sink::{Batch, ClientBooks, Lot};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct State {
    pub(super) next_id: u64,
    pub(super) unsettled: BTreeMap<u64, Unsettled>,
    /// Those that nobody is sending, by tenant, oldest first.
    pub(super) waiting: BTreeMap<Arc<str>, VecDeque<u64>>,
    /// Those that Loki has no room for at present, in the same way: in no other list.
    pub(super) aside: BTreeMap<Arc<str>, VecDeque<u64>>,
    /// Those that take memory.
    pub(super) resident: BTreeSet<u64>,
    /// Settled since the spool was written last.
    pub(super) settled: Vec<u64>,
    /// Settled with entries that were dropped or set aside, since the last cut, and since the one before. The spool learns of them only
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
        for list in [&mut self.waiting, &mut self.aside] {
            if let Some(ids) = list.get_mut(tenant) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    list.remove(&**tenant);
                }
            }
        }
        Some(unsettled)
    }

    /// A batch under way is set aside, behind those that are.
    pub(super) fn set_aside(&mut self, id: u64) {
        if let Some(unsettled) = self.unsettled.get_mut(&id) {
            unsettled.flying = false;
            self.aside.entry(Arc::clone(&unsettled.batch.tenant)).or_default().push_back(id);
        }
    }

    /// A part of a batch becomes one of its own, which is set aside.
    pub(super) fn set_part_aside(&mut self, from: &Batch, packed: Bytes, lot: Lot) {
        let id = self.next_id;
        self.next_id += 1;
        let batch = Batch::part_of(from, id, packed, lot);
        self.unsettled.insert(id, Unsettled { batch: Arc::new(batch), stored: false, flying: true });
        self.resident.insert(id);
        self.set_aside(id);
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
