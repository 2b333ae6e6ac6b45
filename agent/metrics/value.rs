//! The labels of a line, each made ready once for all series that have it.
//!
//! A label's entry stands in the notation of a key (`key`), with its hash. A series is looked up by the hashes of its
//! entries, mixed, and recognized by the entries themselves: its key is put together only when it is born. Where a
//! label has the value that it had in the line before, nothing is to be done at all.

use super::family::LabelName;
use super::key::{self, LabelKey};
use foldhash::fast::RandomState;
use std::hash::{BuildHasher, Hasher};

/// One label of the line at hand.
#[derive(Clone, Debug, Default)]
pub struct LabelValue {
    /// As in a key; empty where the label has no value.
    entry: Vec<u8>,
    hash: u64,
    name: LabelName,
    /// The label is there, with or without a value.
    is_present: bool,
}

impl LabelValue {
    /// Takes the value of a line, which may be any bytes (see [`LabelKey::push`]); `None`: the line lacks the label.
    #[inline]
    pub(super) fn set(&mut self, name: LabelName, value: Option<&[u8]>, hasher: &RandomState) {
        self.is_present = value.is_some();
        let value = value.unwrap_or_default();
        if self.name == name && is_same(self.value(), value) {
            return;
        }
        self.change(name, value, hasher);
    }

    fn change(&mut self, name: LabelName, value: &[u8], hasher: &RandomState) {
        self.name = name;
        self.entry.clear();
        key::push_value(&mut self.entry, name, value);
        self.hash = entry_hash(hasher, &self.entry);
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.entry.get(key::HEAD..).unwrap_or_default()
    }
}

/// The labels of one series: some of a line's. They should stand in the alphabetic order of their names, each name once;
/// otherwise each line costs a sort.
#[derive(Clone, Copy, Debug)]
pub struct LabelSet<'v> {
    values: &'v [LabelValue],
    /// Which of them.
    which: &'v [u16],
    /// Their names are known to ascend.
    is_sorted: bool,
}

impl<'v> LabelSet<'v> {
    pub fn new(values: &'v [LabelValue], which: &'v [u16]) -> Self {
        LabelSet { values, which, is_sorted: false }
    }

    /// As [`new`](Self::new), of labels whose order is sure, so that nobody has to look.
    pub fn in_order(values: &'v [LabelValue], which: &'v [u16]) -> Self {
        LabelSet { values, which, is_sorted: true }
    }

    /// The labels that have a value.
    #[inline]
    fn valued(self) -> impl Iterator<Item = &'v LabelValue> {
        self.which.iter().map(move |at| &self.values[usize::from(*at)]).filter(|value| !value.entry.is_empty())
    }

    /// What [`row_hash`] gives for the key.
    #[inline]
    pub(super) fn hash(self) -> u64 {
        finished(self.valued().fold(0, |hash, value| mixed(hash, value.hash)))
    }

    /// Whether a stored key is of this series.
    #[inline]
    pub(super) fn is(self, mut stored: &[u8]) -> bool {
        for value in self.valued() {
            match stored.split_at_checked(value.entry.len()) {
                Some((entry, rest)) if is_same(entry, &value.entry) => stored = rest,
                _ => return false,
            }
        }
        key::has_no_value(stored)
    }

    /// The hash of the label set in which `__other__` stands for the values that give way; `None` if none does.
    pub(super) fn hash_of_other(self, hasher: &RandomState, gives_way: impl Fn(LabelName) -> bool) -> Option<u64> {
        let mut some = false;
        let hash = self.valued().fold(0, |hash, value| {
            let gives = gives_way(value.name);
            some |= gives && key::is_own(value.value());
            mixed(hash, if gives { entry_hash(hasher, &key::other_entry(value.name)) } else { value.hash })
        });
        some.then(|| finished(hash))
    }

    /// Whether a stored key is of that label set.
    pub(super) fn is_other(self, mut stored: &[u8], gives_way: impl Fn(LabelName) -> bool) -> bool {
        for value in self.valued() {
            let other = key::other_entry(value.name);
            let entry = if gives_way(value.name) { &other } else { &value.entry[..] };
            match stored.strip_prefix(entry) {
                Some(rest) => stored = rest,
                None => return false,
            }
        }
        key::has_no_value(stored)
    }

    /// Whether the names ascend.
    pub(super) fn is_sorted_by_name<'n>(self, name_of: impl Fn(LabelName) -> &'n str) -> bool {
        if self.is_sorted {
            return true;
        }
        let present = self.which.iter().map(|at| &self.values[usize::from(*at)]).filter(|value| value.is_present);
        present.map(|value| name_of(value.name)).is_sorted_by(|a, b| a < b)
    }

    /// Makes a key of them.
    pub(super) fn write(self, key: &mut LabelKey) {
        key.clear();
        for at in self.which {
            let value = &self.values[usize::from(*at)];
            if value.is_present {
                key.push(value.name, value.value());
            }
        }
    }
}

/// The hash of a label set, from the part of a stored key that makes the series.
pub(super) fn row_hash(hasher: &RandomState, identity: &[u8]) -> u64 {
    finished(key::raw_entries(identity).fold(0, |hash, entry| mixed(hash, entry_hash(hasher, entry))))
}

#[inline]
fn entry_hash(hasher: &RandomState, entry: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(entry);
    state.finish()
}

/// The hashes of entries are keyed and well mixed already: what is left is that their order counts.
#[inline]
fn mixed(hash: u64, entry: u64) -> u64 {
    (hash.rotate_left(23) ^ entry).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[inline]
fn finished(hash: u64) -> u64 {
    hash ^ hash >> 32
}

/// Whether two texts are the same, without a call for those of up to 32 bytes: words from both ends, which overlap in the
/// middle.
#[inline]
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let n = a.len();
    if n != b.len() {
        return false;
    }
    let word = |text: &[u8], at: usize| u64::from_le_bytes(text[at..at + 8].try_into().unwrap_or_default());
    let half = |text: &[u8], at: usize| u32::from_le_bytes(text[at..at + 4].try_into().unwrap_or_default());
    match n {
        8..=16 => (word(a, 0) ^ word(b, 0)) | (word(a, n - 8) ^ word(b, n - 8)) == 0,
        17..=32 => {
            let front = (word(a, 0) ^ word(b, 0)) | (word(a, 8) ^ word(b, 8));
            let back = (word(a, n - 16) ^ word(b, n - 16)) | (word(a, n - 8) ^ word(b, n - 8));
            front | back == 0
        }
        4..=7 => (half(a, 0) ^ half(b, 0)) | (half(a, n - 4) ^ half(b, n - 4)) == 0,
        0..=3 => a.iter().zip(b).all(|(a, b)| a == b),
        _ => a == b,
    }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
