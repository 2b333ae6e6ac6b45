//! What was looked up before: the rows of label sets, by the numbers of their values.
//!
//! ```text
//! 203.0.113.7 ─► 17 ┐
//! DE          ─►  3 ├─► row 1208
//! ```
//!
//! Each value is hashed once per line, however many metrics have it as a label, and a row is found by a few numbers. It
//! is only a memory of the store's answers: what it forgets is asked again, and it never answers for another label set,
//! as values are compared by all their bytes. Places are taken by hash, a new value in the place of the one before, so its
//! size is bounded and nothing has to be expired.

use crate::metrics::Row;

/// Places of a memory, a power of two. They are made at the first line, of zeros: only those that are used take memory.
const PLACES: usize = 2048;
const WORDS: usize = 6;
/// The longest value that gets a number, in bytes. Longer ones are rare: the store is asked each time.
const VALUE_BYTES_MAX: usize = 8 * WORDS;

/// Numbers for the latest values of one source: the same number, the same bytes. A number is never given twice.
#[derive(Default)]
pub struct Numbers {
    /// Of each place, a cache line: number, length, words. Without a number there is no value.
    places: Vec<u64>,
    given: u64,
}

const STRIDE: usize = 2 + WORDS;

impl Numbers {
    /// The number of a value, from 1 on; `None` where it is too long for one.
    #[inline]
    pub fn of(&mut self, value: &[u8]) -> Option<u64> {
        if value.len() > VALUE_BYTES_MAX {
            return None;
        }
        let (words, hash) = read(value);
        let length = value.len() as u64;
        if let Some(known) = self.places.get(place(hash) * STRIDE..).and_then(|rest| rest.first_chunk::<STRIDE>())
            && known[0] != 0
            && known[1] == length
            // Short values, which most are, need no loop.
            && known[2..4] == words[..2]
            && (length <= 16 || known[4..] == words[2..])
        {
            return Some(known[0]);
        }
        Some(self.give(length, words, hash))
    }

    #[cold]
    fn give(&mut self, length: u64, words: [u64; WORDS], hash: u64) -> u64 {
        self.places.resize(PLACES * STRIDE, 0);
        self.given += 1;
        let known = &mut self.places[place(hash) * STRIDE..][..STRIDE];
        known[..2].copy_from_slice(&[self.given, length]);
        known[2..].copy_from_slice(&words);
        self.given
    }
}

/// The bytes of a value as words, and their hash.
#[inline]
fn read(value: &[u8]) -> ([u64; WORDS], u64) {
    let (chunks, rest) = value.as_chunks::<8>();
    let (mut words, mut hash) = ([0; WORDS], value.len() as u64);
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u64::from_le_bytes(*chunk);
        hash = mix(hash, *word);
    }
    if !rest.is_empty() {
        let last = short(rest);
        words[chunks.len()] = last;
        hash = mix(hash, last);
    }
    (words, hash)
}

/// A label set by the numbers of its values.
#[derive(Clone, Copy)]
pub struct LabelSet<'n> {
    /// The number of the target: what is marked as the target's own means its values.
    pub target: u64,
    /// Numbers of values, by place.
    pub numbers: &'n [u64],
    /// The places of the set's own.
    pub places: &'n [u16],
}

impl LabelSet<'_> {
    #[inline]
    pub fn values(&self) -> impl Iterator<Item = u64> {
        self.places.iter().map(|place| self.numbers[usize::from(*place)])
    }

    #[inline]
    fn hash(&self) -> u64 {
        self.values().fold(self.target, mix)
    }
}

/// Rows for the latest label sets of one group.
#[derive(Default)]
pub struct Rows {
    /// Of each place: the row and 1, the target, the values. Without a row there is no label set.
    places: Vec<u64>,
    /// The group's epoch in which the rows are good.
    epoch: u64,
}

impl Rows {
    /// The row that was put for these numbers in this epoch. All label sets of a group have as many values.
    #[inline]
    pub fn get(&self, set: LabelSet<'_>, epoch: u64) -> Option<Row> {
        let stride = 2 + set.places.len();
        let known = self.places.get(place(set.hash()) * stride..)?.get(..stride)?;
        let (row, rest) = known.split_first()?;
        let (target, values) = rest.split_first()?;
        let is_same = *target == set.target && epoch == self.epoch && set.values().zip(values).all(|(a, b)| a == *b);
        if is_same { row.checked_sub(1).map(|index| Row::of_index(index as u32)) } else { None }
    }

    /// Remembers a row, if it is the label set's own. One of another epoch voids all rows known so far.
    #[cold]
    pub fn put(&mut self, set: LabelSet<'_>, row: Row, epoch: u64) {
        let Some(index) = row.own_index() else { return };
        if epoch != self.epoch {
            self.places.fill(0);
            self.epoch = epoch;
        }
        let stride = 2 + set.places.len();
        self.places.resize(PLACES * stride, 0);
        let known = &mut self.places[place(set.hash()) * stride..][..stride];
        known[..2].copy_from_slice(&[u64::from(index) + 1, set.target]);
        known[2..].iter_mut().zip(set.values()).for_each(|(known, number)| *known = number);
    }
}

/// Where a hash has its place.
#[inline]
fn place(hash: u64) -> usize {
    (hash >> 32) as usize % PLACES
}

/// Odd, its bits without pattern: the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Not for strangers' keys in a table that must stay fast: here a collision costs one question to the store.
#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(29) ^ word).wrapping_mul(MULTIPLIER)
}

/// Up to seven bytes as a number, the first one the lowest.
#[inline]
fn short(bytes: &[u8]) -> u64 {
    let byte = |at: usize| u64::from(bytes[at]) << (8 * at);
    let half = |at: usize| {
        let half = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        u64::from(half) << (8 * at)
    };
    // What is read twice is the same.
    match bytes.len() {
        0 => 0,
        length @ 1..=3 => byte(0) | byte(length / 2) | byte(length - 1),
        length => half(0) | half(length - 4),
    }
}

#[cfg(test)]
#[path = "memo_tests.rs"]
mod tests;
