//! The labels of a line, each made ready once for all series that have it.
//!
//! A label's value is known by its number (`terms`), with the hash that it has as the entry of a key. A series is looked up
//! by the sum of these hashes and recognized by the numbers: its key is put together only when it is born. Each label
//! remembers numbers of values that came before, so that for most values one comparison is all.

use super::family::LabelName;
use super::key::{self, LabelKey};
use super::terms::{Four, NONE, TermId, Terms, UNKNOWN};
use crate::words;

/// Values of a label that are remembered, by a few bits of their bytes.
const RECENT: usize = 256;

/// One label of the line at hand.
#[derive(Clone, Debug)]
pub struct LabelValue {
    /// 0 where the label has no value.
    hash: u64,
    /// Its number, [`NONE`] or [`UNKNOWN`].
    term: TermId,
    name: LabelName,
    /// The label is there, with or without a value.
    is_present: bool,
    memory: Box<Memory>,
}

/// What a label keeps from line to line.
#[derive(Clone, Debug)]
struct Memory {
    /// The numbers of values that came before.
    recent: [TermId; RECENT],
    /// As in a key, of a value that has no number.
    entry: Vec<u8>,
}

impl Default for LabelValue {
    fn default() -> Self {
        LabelValue {
            hash: 0,
            term: NONE,
            name: LabelName::default(),
            is_present: false,
            memory: Box::new(Memory { recent: [UNKNOWN; RECENT], entry: Vec::new() }),
        }
    }
}

impl LabelValue {
    /// Takes the value of a line, which may be any bytes (see [`LabelKey::push`]); `None`: the line lacks the label.
    // Into the loop over the labels of a line.
    #[inline(always)]
    pub(super) fn set(&mut self, name: LabelName, value: Option<&[u8]>, terms: &Terms) {
        self.name = name;
        self.is_present = value.is_some();
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            (self.hash, self.term) = (0, NONE);
            return;
        };
        let ends = words::ends(value);
        let place = mark(ends);
        // A number that was given up is nobody's by now, or another value's.
        let known = self.memory.recent[place];
        let term = terms.get(known);
        if term.is(name, value, ends) {
            (self.hash, self.term) = (term.hash, known);
        } else {
            self.look_up(value, place, terms);
        }
    }

    #[inline(never)]
    fn look_up(&mut self, value: &[u8], place: usize, terms: &Terms) {
        let Memory { recent, entry } = &mut *self.memory;
        entry.clear();
        key::push_value(entry, self.name, value);
        self.hash = terms.hash(entry);
        self.term = terms.find(self.hash, entry);
        if self.term != UNKNOWN {
            recent[place] = self.term;
        }
    }

    /// Adds the label to a key, if it is there.
    fn write(&self, key: &mut LabelKey, terms: &Terms) {
        match self.term {
            NONE if !self.is_present => {}
            NONE => key.push(self.name, &[]),
            UNKNOWN => key.push(self.name, &self.memory.entry[key::HEAD..]),
            term => terms.get(term).with_value(|value| key.push(self.name, value)),
        }
    }
}

/// Where a value is remembered.
#[inline]
fn mark([first, last]: [u64; 2]) -> usize {
    ((first ^ last.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
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
    numbers: &'v Numbers,
}

impl<'v> LabelSet<'v> {
    /// `numbers` is for its own use.
    pub fn new(values: &'v [LabelValue], which: &'v [u16], numbers: &'v mut Numbers) -> Self {
        numbers.gather(values, which);
        LabelSet { values, which, is_sorted: false, numbers }
    }

    /// As [`new`](Self::new), of labels whose order is sure, so that nobody has to look.
    #[inline(always)]
    pub fn in_order(values: &'v [LabelValue], which: &'v [u16], numbers: &'v mut Numbers) -> Self {
        numbers.gather(values, which);
        LabelSet { values, which, is_sorted: true, numbers }
    }

    #[inline]
    fn values(self) -> impl Iterator<Item = &'v LabelValue> {
        values_of(self.values, self.which)
    }

    /// What [`row_hash`] gives for the key.
    #[inline]
    pub(super) fn hash(self) -> u64 {
        self.numbers.hash
    }

    /// Its numbers side by side.
    #[inline(always)]
    pub(super) fn numbers(self) -> &'v Numbers {
        self.numbers
    }

    /// Whether its numbers are too many to stand side by side.
    pub(super) fn is_wide(self) -> bool {
        self.which.len() > NUMBERS_MAX
    }

    /// Whether the terms of a row are these. A value that has no number is in none.
    #[inline]
    pub(super) fn is(self, row: &[Four]) -> bool {
        is_row(row, self.values().map(|value| value.term))
    }

    /// The numbers of the label set in which `__other__` stands for the values that give way; `None` if none does, or if they
    /// are [too many](Self::is_wide).
    pub(super) fn numbers_of_other(self, terms: &Terms, gives_way: impl Fn(LabelName) -> bool) -> Option<Numbers> {
        let mut some = false;
        let others = self.values().map(|value| match value.term {
            term if term != NONE && gives_way(value.name) => {
                let other = terms.other(value.name);
                some |= other != term;
                (other, terms.get(other).hash)
            }
            term => (term, value.hash),
        });
        let mut numbers = Numbers::default();
        numbers.take(others);
        (some && !self.is_wide()).then_some(numbers)
    }

    /// The numbers of its values; those that have none get one. A row takes them.
    pub(super) fn acquire(self, terms: &mut Terms) -> impl Iterator<Item = TermId> {
        self.values().filter(|value| value.term != NONE).map(|value| match value.term {
            UNKNOWN => terms.acquire(value.hash, &value.memory.entry),
            known => terms.acquire_known(known),
        })
    }

    /// How many of them have a value.
    pub(super) fn count(self) -> usize {
        self.values().filter(|value| value.term != NONE).count()
    }

    /// Whether one of them, with a value of its own, has such a name.
    pub(super) fn any_own(self, terms: &Terms, is_such: impl Fn(LabelName) -> bool) -> bool {
        self.values().any(|value| value.term != NONE && value.term != terms.other(value.name) && is_such(value.name))
    }

    /// Whether the names ascend.
    pub(super) fn is_sorted_by_name<'n>(self, name_of: impl Fn(LabelName) -> &'n str) -> bool {
        if self.is_sorted {
            return true;
        }
        let present = self.values().filter(|value| value.is_present);
        present.map(|value| name_of(value.name)).is_sorted_by(|a, b| a < b)
    }

    /// Makes a key of them.
    pub(super) fn write(self, key: &mut LabelKey, terms: &Terms) {
        key.clear();
        self.values().for_each(|value| value.write(key, terms));
    }
}

/// Labels of a series that are compared all at once.
const NUMBERS_MAX: usize = 16;

/// The numbers of the values of a label set side by side, and the hash of the set.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    pub(super) hash: u64,
    /// And then [`NONE`].
    ids: [TermId; NUMBERS_MAX],
}

impl Numbers {
    #[inline(always)]
    fn gather(&mut self, values: &[LabelValue], which: &[u16]) {
        self.take(values_of(values, which).map(|value| (value.term, value.hash)));
        if which.len() > NUMBERS_MAX {
            self.ids = [UNKNOWN; NUMBERS_MAX];
        }
    }

    /// Takes numbers, as many as there is room for, and the sum of the hashes.
    #[inline(always)]
    fn take(&mut self, terms: impl Iterator<Item = (TermId, u64)>) {
        let (mut at, mut hash) = (0, 0);
        self.ids = [NONE; NUMBERS_MAX];
        for (term, entry) in terms {
            // What has no value is in no row; the next one takes its place.
            self.ids[at % NUMBERS_MAX] = term;
            at += usize::from(term != NONE);
            hash = sum(hash, entry);
        }
        self.hash = hash;
    }

    /// Whether the terms of a row are these: four at a time, as a row is made of them. Never, if they are
    /// [too many](LabelSet::is_wide).
    #[inline(always)]
    pub(super) fn are(&self, row: &[Four]) -> bool {
        let ours = self.ids.as_chunks().0;
        let is_over = |fours: &[Four], at: usize| fours.get(at).is_none_or(|[first, ..]| *first == NONE);
        row.iter().zip(ours).all(|(known, four)| known == four) && is_over(ours, row.len()) && is_over(row, ours.len())
    }
}

#[inline]
fn values_of<'v>(values: &'v [LabelValue], which: &'v [u16]) -> impl Iterator<Item = &'v LabelValue> {
    which.iter().map(move |at| &values[usize::from(*at)])
}

/// Whether a row has these terms, but for those that are [`NONE`], and no others.
#[inline]
fn is_row(row: &[Four], terms: impl Iterator<Item = TermId>) -> bool {
    let mut row = row.as_flattened().iter();
    for term in terms {
        if term != NONE && row.next() != Some(&term) {
            return false;
        }
    }
    row.next().is_none_or(|term| *term == NONE)
}

/// The hash of a label set, from its terms.
pub(super) fn hash_of_terms(terms: &Terms, row: &[Four]) -> u64 {
    row.as_flattened().iter().fold(0, |hash, term| sum(hash, terms.get(*term).hash))
}

/// The same, from the part of a stored key that makes the series.
pub(super) fn row_hash(terms: &Terms, identity: &[u8]) -> u64 {
    key::raw_entries(identity).fold(0, |hash, entry| sum(hash, terms.hash(entry)))
}

/// A set has the sum of the hashes of its entries, each of which is keyed and has the label's name in it. No value is 0.
#[inline]
fn sum(hash: u64, entry: u64) -> u64 {
    hash.wrapping_add(entry)
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
