//! The streams that a client knows, found by the labels of an entry.

use super::open_batch::Chain;
use super::twins::Twins;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::time::Duration;

/// Streams that are known at once. One more takes the place of one that has no entry in an open batch: what is forgotten
/// with that one is only which of its entries were sent last ([`Twins`]).
pub const STREAMS_MAX: usize = 10_000;

/// Entries of the same labels.
pub(super) struct Stream {
    /// The labels of its entries ([`write_key`](super::stream_labels::write_key)).
    pub(super) key: Box<[u8]>,
    /// As Loki reads them.
    pub(super) labels: Box<str>,
    /// The place of its tenant among the client's.
    pub(super) tenant: u32,
    /// Its entries in the open batch of the tenant.
    pub(super) chain: Chain,
    pub(super) twins: Twins,
    /// When its last entry came; [`Duration::MAX`]: in an earlier run.
    pub(super) used: Duration,
}

/// Streams by number. A number is used again when its stream is forgotten.
#[derive(Default)]
pub(super) struct Streams {
    slots: Vec<Option<Stream>>,
    free: Vec<u32>,
    table: HashTable<u32>,
    /// Seeded per process: label values come from strangers.
    hasher: RandomState,
    /// Where the search for a stream to forget goes on.
    hand: usize,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        let is_it = |number: &u32| self.slots[*number as usize].as_ref().is_some_and(|stream| *stream.key == *key);
        self.table.find(self.hasher.hash_one(key), is_it).copied()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Stream> {
        self.slots.get_mut(number as usize)?.as_mut()
    }

    /// Takes in a stream whose key is not known yet.
    pub(super) fn insert(&mut self, stream: Stream) -> u32 {
        let number = self.free.pop().unwrap_or(self.slots.len() as u32);
        self.insert_at(number, stream);
        number
    }

    fn insert_at(&mut self, number: u32, stream: Stream) {
        let hash = self.hasher.hash_one(&*stream.key);
        if self.slots.len() <= number as usize {
            self.slots.resize_with(number as usize + 1, || None);
        }
        self.slots[number as usize] = Some(stream);
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash_of = |number: &u32| slots[*number as usize].as_ref().map_or(0, |stream| hasher.hash_one(&*stream.key));
        self.table.insert_unique(hash, number, hash_of);
    }

    /// Takes in a stream of an earlier run, with the number that it had. Whether there was room for it.
    pub(super) fn restore(&mut self, number: u32, stream: Stream) -> bool {
        let taken = self.slots.get(number as usize).is_some_and(Option::is_some);
        if taken || number as usize >= STREAMS_MAX || self.find(&stream.key).is_some() {
            return false;
        }
        self.insert_at(number, stream);
        self.free.clear();
        let empty = |(at, slot): (usize, &Option<Stream>)| slot.is_none().then_some(at as u32);
        self.free.extend(self.slots.iter().enumerate().filter_map(empty));
        true
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Stream> {
        let stream = self.slots.get_mut(number as usize)?.take()?;
        if let Ok(entry) = self.table.find_entry(self.hasher.hash_one(&*stream.key), |known| *known == number) {
            entry.remove();
        }
        self.free.push(number);
        Some(stream)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Stream)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| Some((at as u32, slot.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Stream)> {
        self.slots.iter_mut().enumerate().filter_map(|(at, slot)| Some((at as u32, slot.as_mut()?)))
    }

    /// A stream without entries in an open batch, each time the next one.
    pub(super) fn next_closed(&mut self) -> Option<u32> {
        for _ in 0..self.slots.len() {
            let at = self.hand % self.slots.len();
            self.hand = at + 1;
            if self.slots[at].as_ref().is_some_and(|stream| stream.chain.is_empty()) {
                return Some(at as u32);
            }
        }
        None
    }
}
