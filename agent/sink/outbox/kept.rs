//! The outbox over restarts: what a cut says of it, and how it goes on with what its spool holds.

use super::{BUFFER_FULL, Outbox, SPOOL_DAMAGED};
use crate::keep::{Entries, Reader, Slot, Table};
use crate::sink::spool::{Found, StoredBatch};
use crate::sink::{Batch, ClientBooks, Lot, Spool};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A client's number stands above so many bits of a batch's number in the index of a slot.
const ID_BITS: u32 = 48;

impl Outbox {
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
        let state = &mut *self.lock();
        state.cut_at = state.next_id;
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
        {
            let state = &mut *self.lock();
            state.spool_bytes = Some(spool.disk_bytes());
            state.held_from = Some(state.next_id);
        }
        *self.spool() = Some(spool);
        self.changed.notify_waiters();
        lost
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
}
