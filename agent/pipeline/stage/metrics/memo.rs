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

/// A memory begins with so many places, and doubles as long as it proves too small.
const PLACES_MIN: usize = 16;
const PLACES_MAX: usize = 4096;
/// So many times its places must have been taken anew before a memory doubles.
const PRESSURE: usize = 4;
const WORDS: usize = 6;
/// The longest value that gets a number, in bytes. Longer ones are rare: the store is asked each time.
const VALUE_BYTES_MAX: usize = 8 * WORDS;

/// Numbers for the latest values of one source: the same number, the same bytes. A number is never given twice.
#[derive(Default)]
pub struct Numbers {
    places: Vec<Numbered>,
    given: u64,
    taken: usize,
}

/// One value with its number: a cache line. Without a number there is no value.
#[derive(Clone, Default)]
struct Numbered {
    number: u64,
    length: u64,
    words: [u64; WORDS],
}

impl Numbers {
    /// The number of a value, from 1 on; `None` where it is too long for one.
    #[inline]
    pub fn of(&mut self, value: &[u8]) -> Option<u64> {
        if value.len() > VALUE_BYTES_MAX {
            return None;
        }
        let mut new = Numbered { number: 0, length: value.len() as u64, words: [0; WORDS] };
        let hash = new.read(value);
        match self.places.get(place(hash, self.places.len())) {
            Some(known) if known.is(&new) => Some(known.number),
            _ => Some(self.give(new, hash)),
        }
    }

    #[cold]
    fn give(&mut self, mut new: Numbered, hash: u64) -> u64 {
        if let Some(places) = more_places(self.places.len(), &mut self.taken) {
            self.places = vec![Numbered::default(); places];
        }
        self.given += 1;
        new.number = self.given;
        let at = place(hash, self.places.len());
        self.places[at] = new;
        self.given
    }
}

impl Numbered {
    /// Takes the bytes of a value, and returns their hash.
    #[inline]
    fn read(&mut self, value: &[u8]) -> u64 {
        let (chunks, rest) = value.as_chunks::<8>();
        let mut hash = self.length;
        for (word, chunk) in self.words.iter_mut().zip(chunks) {
            *word = u64::from_le_bytes(*chunk);
            hash = mix(hash, *word);
        }
        if !rest.is_empty() {
            let last = short(rest);
            self.words[chunks.len()] = last;
            hash = mix(hash, last);
        }
        hash
    }

    #[inline]
    fn is(&self, other: &Numbered) -> bool {
        // Short values, which most are, need no loop.
        self.number != 0
            && self.length == other.length
            && self.words[0] == other.words[0]
            && self.words[1] == other.words[1]
            && (self.length <= 16 || self.words[2..] == other.words[2..])
    }
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
    /// Targets and rows by hash of the label set.
    rows: Vec<Option<(u64, Row)>>,
    /// The numbers of these label sets, one after another.
    numbers: Vec<u64>,
    /// The group's epoch in which the rows are good.
    epoch: u64,
    taken: usize,
}

impl Rows {
    /// The row that was put for these numbers in this epoch.
    #[inline]
    pub fn get(&self, set: LabelSet<'_>, epoch: u64) -> Option<Row> {
        let at = place(set.hash(), self.rows.len());
        let (target, row) = (*self.rows.get(at)?)?;
        let width = set.places.len();
        let known = &self.numbers[at * width..][..width];
        let is_same = target == set.target && epoch == self.epoch && set.values().zip(known).all(|(a, b)| a == *b);
        is_same.then_some(row)
    }

    /// Remembers a row; all label sets of a group have as many values. One of another epoch voids all rows known so far.
    #[cold]
    pub fn put(&mut self, set: LabelSet<'_>, row: Row, epoch: u64) {
        let width = set.places.len();
        if epoch != self.epoch {
            self.rows.fill(None);
            self.epoch = epoch;
        }
        if let Some(places) = more_places(self.rows.len(), &mut self.taken) {
            self.rows = vec![None; places];
            self.numbers = vec![0; places * width];
        }
        let at = place(set.hash(), self.rows.len());
        self.rows[at] = Some((set.target, row));
        self.numbers[at * width..][..width].iter_mut().zip(set.values()).for_each(|(known, number)| *known = number);
    }
}

/// A place was taken: how many places there are to be from now on, where that changes. They are a power of two.
fn more_places(places: usize, taken: &mut usize) -> Option<usize> {
    *taken += 1;
    if places != 0 && (places >= PLACES_MAX || *taken <= PRESSURE * places) {
        return None;
    }
    *taken = 0;
    Some((2 * places).max(PLACES_MIN))
}

/// Where a hash has its place; `places` is a power of two, or 0.
#[inline]
fn place(hash: u64, places: usize) -> usize {
    (hash >> 32) as usize & places.wrapping_sub(1)
}

/// Odd, its bits without pattern: the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Not for strangers' keys in a table that must stay fast: here a collision costs one question to the store.
#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(29) ^ word).wrapping_mul(MULTIPLIER)
}

/// Up to seven bytes as a number.
#[inline]
fn short(bytes: &[u8]) -> u64 {
    let half = |at: usize| u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    match bytes.len() {
        0 => 0,
        1..=3 => {
            let at = |index: usize| u64::from(bytes[index]);
            at(0) | at(bytes.len() / 2) << 8 * (bytes.len() / 2) | at(bytes.len() - 1) << 8 * (bytes.len() - 1)
        }
        length => half(0) | half(length - 4) << 8 * (length - 4),
    }
}

#[cfg(test)]
#[path = "memo_tests.rs"]
mod tests;
