//! The labels of a line, each made ready once for all series that have it.
//!
//! A label's value is known by its number (`terms`), with the hash that it has as the entry of a key. A series is looked up
//! by these hashes, mixed, and recognized by the numbers: its key is put together only when it is born. Each label
//! remembers numbers of values that came before, so that for most values one comparison is all.

use super::family::LabelName;
use super::key::{self, LabelKey};
use super::terms::{TermId, Terms, UNKNOWN};
use crate::words;

/// Values of a label that are remembered, by a few bits of their bytes.
const RECENT: usize = 256;

/// One label of the line at hand.
#[derive(Clone, Debug)]
pub struct LabelValue {
    /// 0 where the label has no value.
    hash: u64,
    /// Its number, or [`UNKNOWN`].
    term: TermId,
    name: LabelName,
    /// The label is there, with or without a value.
    is_present: bool,
    /// As in a key, of a value that has no number.
    entry: Vec<u8>,
    /// The numbers of values that came before.
    recent: Box<[TermId; RECENT]>,
}

impl Default for LabelValue {
    fn default() -> Self {
        LabelValue {
            hash: 0,
            term: UNKNOWN,
            name: LabelName::default(),
            is_present: false,
            entry: Vec::new(),
            recent: Box::new([UNKNOWN; RECENT]),
        }
    }
}

impl LabelValue {
    /// Takes the value of a line, which may be any bytes (see [`LabelKey::push`]); `None`: the line lacks the label.
    #[inline]
    pub(super) fn set(&mut self, name: LabelName, value: Option<&[u8]>, terms: &Terms) {
        self.name = name;
        self.is_present = value.is_some();
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            (self.hash, self.term) = (0, UNKNOWN);
            return;
        };
        let word = words::double_word(value);
        let place = mark(value, word);
        // A number that was given up is nobody's by now, or another value's.
        let known = self.recent[place];
        let term = terms.get(known);
        if term.is(name, value, word) {
            (self.hash, self.term) = (term.hash, known);
        } else {
            self.look_up(value, place, terms);
        }
    }

    #[inline(never)]
    fn look_up(&mut self, value: &[u8], place: usize, terms: &Terms) {
        self.entry.clear();
        key::push_value(&mut self.entry, self.name, value);
        self.hash = terms.hash(&self.entry);
        self.term = terms.find(self.hash, &self.entry);
        if self.term != UNKNOWN {
            self.recent[place] = self.term;
        }
    }

    /// As it stands in keys.
    fn value<'v>(&'v self, terms: &'v Terms) -> &'v [u8] {
        match (self.hash, self.term) {
            (0, _) => &[],
            (_, UNKNOWN) => &self.entry[key::HEAD..],
            (_, term) => terms.get(term).value(),
        }
    }

    #[inline]
    fn has_value(&self) -> bool {
        self.hash != 0
    }
}

/// Where a value is remembered: by its bytes, of a long one by the first and the last ones.
#[inline]
fn mark(value: &[u8], word: Option<u128>) -> usize {
    let bits = match (word, value.first_chunk::<8>(), value.last_chunk::<8>()) {
        (Some(word), ..) => word as u64 ^ ((word >> 64) as u64).rotate_left(29),
        (None, Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29),
        _ => 0,
    };
    (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
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
        self.which.iter().map(move |at| &self.values[usize::from(*at)]).filter(|value| value.has_value())
    }

    /// What [`row_hash`] gives for the key, and whether all terms have a number: else there is no such series.
    #[inline]
    pub(super) fn hash(self) -> (u64, bool) {
        let (mut hash, mut is_known) = (0, true);
        for value in self.valued() {
            hash = mixed(hash, value.hash);
            is_known &= value.term != UNKNOWN;
        }
        (finished(hash), is_known)
    }

    /// Whether the terms of a row are these, all of which have a number.
    #[inline]
    pub(super) fn is(self, row: &[TermId]) -> bool {
        let mut row = row.iter();
        self.valued().all(|value| row.next() == Some(&value.term)) && has_ended(row)
    }

    /// The hash of the label set in which `__other__` stands for the values that give way; `None` if none does, or if one of
    /// its terms has no number.
    pub(super) fn hash_of_other(self, terms: &Terms, gives_way: impl Fn(LabelName) -> bool) -> Option<u64> {
        let mut some = false;
        let mut hash = 0;
        for value in self.valued() {
            let (mut entry, mut term) = (value.hash, value.term);
            if gives_way(value.name) {
                term = terms.other(value.name);
                entry = terms.get(term).hash;
                some |= term != value.term;
            }
            if term == UNKNOWN {
                return None;
            }
            hash = mixed(hash, entry);
        }
        some.then(|| finished(hash))
    }

    /// Whether the terms of a row are those of that label set, all of which have a number.
    pub(super) fn is_other(self, row: &[TermId], terms: &Terms, gives_way: impl Fn(LabelName) -> bool) -> bool {
        let mut row = row.iter();
        let term = |value: &LabelValue| match gives_way(value.name) {
            true => terms.other(value.name),
            false => value.term,
        };
        self.valued().all(|value| row.next() == Some(&term(value))) && has_ended(row)
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
    pub(super) fn write(self, key: &mut LabelKey, terms: &Terms) {
        key.clear();
        for at in self.which {
            let value = &self.values[usize::from(*at)];
            if value.is_present {
                key.push(value.name, value.value(terms));
            }
        }
    }
}

/// Whether nothing but [`UNKNOWN`] follows.
#[inline]
fn has_ended(mut rest: std::slice::Iter<'_, TermId>) -> bool {
    rest.next().is_none_or(|term| *term == UNKNOWN)
}

/// The hash of a label set, from its terms.
pub(super) fn hash_of_terms(terms: &Terms, row: &[TermId]) -> u64 {
    let known = row.iter().take_while(|term| **term != UNKNOWN);
    finished(known.fold(0, |hash, term| mixed(hash, terms.get(*term).hash)))
}

/// The same, from the part of a stored key that makes the series.
pub(super) fn row_hash(terms: &Terms, identity: &[u8]) -> u64 {
    finished(key::raw_entries(identity).fold(0, |hash, entry| mixed(hash, terms.hash(entry))))
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

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
