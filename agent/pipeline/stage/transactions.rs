//! The denied transactions that were seen last, so that each is counted once, over a restart too.

use crate::decode::modsecurity::Event;
use crate::keep::Reader;
use crate::pipeline::{Keeper, Kept, KeyedHash, Rebound};
use hashbrown::HashTable;
use std::collections::VecDeque;

/// Denied transactions that are remembered: the lines of one stand close together.
const TRANSACTIONS_MAX: usize = 4_096;

/// Transactions in one slot, and slots that they need at most: both ends may fill theirs in part.
const PER_SLOT: usize = 64;
const SLOTS: u64 = (TRANSACTIONS_MAX / PER_SLOT) as u64 + 1;

/// Transactions as hashes.
///
/// The unique id may be the client's own request id, so the connection and the client belong to the key: nobody hides
/// a denial behind an id that another one used. The source is named by its labels, which outlive the process.
pub(super) struct Transactions {
    known: HashTable<u64>,
    /// The oldest first.
    order: VecDeque<u64>,
    /// How many there were before those in `order`.
    gone: u64,
    hash: KeyedHash,
}

impl Default for Transactions {
    fn default() -> Self {
        Transactions {
            known: HashTable::with_capacity(2 * TRANSACTIONS_MAX),
            order: VecDeque::with_capacity(TRANSACTIONS_MAX),
            gone: 0,
            hash: KeyedHash::random(),
        }
    }
}

impl Transactions {
    /// Whether this is the first denial of its transaction. A line cut before its id is one of its own.
    pub fn is_new(&mut self, source: u64, event: &Event<'_>) -> bool {
        if event.unique_id.is_empty() {
            return true;
        }
        let connection = event.connection;
        let parts = [&source.to_le_bytes()[..], event.unique_id, connection.tid, connection.number, event.client];
        self.add(self.hash.of(parts))
    }

    fn add(&mut self, key: u64) -> bool {
        if self.known.find(key, |known| *known == key).is_some() {
            return false;
        }
        if self.order.len() == TRANSACTIONS_MAX
            && let Some(oldest) = self.order.pop_front()
            && let Ok(entry) = self.known.find_entry(oldest, |known| *known == oldest)
        {
            entry.remove();
            self.gone += 1;
        }
        self.order.push_back(key);
        self.known.insert_unique(key, key, |known| *known);
        true
    }

    /// A new transaction changes the slot of the newest ones, and that of the oldest ones as these are forgotten.
    pub fn keep(&self, keeper: &mut Keeper<'_>) {
        keeper.put(0, |writer| self.hash.write(writer));
        let end = self.gone + self.order.len() as u64;
        let mut blocks: Vec<u64> = (self.gone / PER_SLOT as u64..end.div_ceil(PER_SLOT as u64)).collect();
        blocks.sort_unstable_by_key(|block| block % SLOTS);
        for block in blocks {
            let first = (block * PER_SLOT as u64).max(self.gone);
            let until = ((block + 1) * PER_SLOT as u64).min(end);
            keeper.put(1 + (block % SLOTS) as u32, |writer| {
                writer.number(first);
                let keys = self.order.range((first - self.gone) as usize..(until - self.gone) as usize);
                keys.for_each(|key| writer.word(*key));
            });
        }
    }

    pub fn restore(&mut self, kept: Kept<'_>, rebound: &mut Rebound<'_>) {
        // Nothing is known of hashes without their key.
        let Some(hash) = kept.get(0).and_then(|mut reader| KeyedHash::read(&mut reader)) else {
            rebound.damaged += u64::from(kept.iter().next().is_some());
            return;
        };
        self.hash = hash;
        let mut blocks = Vec::new();
        for (_, reader) in kept.iter().filter(|(number, _)| *number > 0) {
            match read_block(reader) {
                Some(block) => blocks.push(block),
                None => rebound.damaged += 1,
            }
        }
        blocks.sort_unstable_by_key(|(first, _)| *first);
        // They are numbered anew, without what may be missing between them.
        blocks.into_iter().flat_map(|(_, keys)| keys).for_each(|key| {
            self.add(key);
        });
    }
}

/// The number of a block's first transaction, and all of them.
fn read_block(mut reader: Reader<'_>) -> Option<(u64, Vec<u64>)> {
    let first = reader.number()?;
    let mut keys = Vec::new();
    while !reader.is_empty() && keys.len() < PER_SLOT {
        keys.push(reader.word()?);
    }
    reader.is_empty().then_some((first, keys))
}
