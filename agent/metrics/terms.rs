//! The terms of living series: each label with its value has a number here, so that series are told apart by numbers.
//!
//! A line's label is looked up once, by its bytes; then each group of metrics compares numbers where it would compare
//! texts that lie scattered in memory. A label that no living series has is known to be in no row at all.

use super::family::LabelName;
use super::key::{self, HEAD};
use crate::words::{self, is_same};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

/// The number of a term.
pub(super) type TermId = u32;

/// No living series has the term.
pub(super) const UNKNOWN: TermId = 0;

#[derive(Debug)]
pub(super) struct Terms {
    /// Seeded per process: label values come from strangers.
    hasher: RandomState,
    table: HashTable<TermId>,
    /// By number; the first one is nobody's.
    list: Vec<Term>,
    free: Vec<TermId>,
    /// `__other__` by the number of the label's name.
    others: Vec<TermId>,
}

/// A label and its value.
#[derive(Debug, Default)]
pub(super) struct Term {
    entry: Entry,
    pub hash: u64,
    rows: u32,
}

/// What a term stands for, the value as it is in a key. Values are short, and short ones are compared at once.
#[derive(Debug, Default)]
enum Entry {
    /// As [`words::double_word`] has it.
    Short {
        name: [u8; 2],
        length: u8,
        word: [u8; 16],
    },
    Long {
        name: [u8; 2],
        value: Box<[u8]>,
    },
    /// The number is free.
    #[default]
    None,
}

impl Default for Terms {
    fn default() -> Self {
        Terms {
            hasher: RandomState::default(),
            table: HashTable::new(),
            list: vec![Term::default()],
            free: Vec::new(),
            others: Vec::new(),
        }
    }
}

impl Terms {
    pub fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// The hash of an entry; never 0, which stands for none.
    #[inline]
    pub fn hash(&self, entry: &[u8]) -> u64 {
        let mut state = self.hasher.build_hasher();
        state.write(entry);
        state.finish().max(1)
    }

    /// The number of an entry with this hash, or [`UNKNOWN`].
    #[inline]
    pub fn find(&self, hash: u64, entry: &[u8]) -> TermId {
        let Some((name, value)) = entry_parts(entry) else { return UNKNOWN };
        let word = words::double_word(value);
        self.table.find(hash, |id| self.list[*id as usize].is(name, value, word)).copied().unwrap_or(UNKNOWN)
    }

    #[inline]
    pub fn get(&self, id: TermId) -> &Term {
        &self.list[id as usize]
    }

    /// The number of `__other__` for a label name.
    #[inline]
    pub fn other(&self, name: LabelName) -> TermId {
        self.others.get(usize::from(name.0)).copied().unwrap_or(UNKNOWN)
    }

    /// To be told of each label name; they are numbered one after another.
    pub fn name_was_made(&mut self, name: LabelName) {
        if usize::from(name.0) == self.others.len() {
            let id = self.acquire(&key::other_entry(name));
            self.others.push(id);
        }
    }

    /// One row more has the entry.
    pub fn acquire(&mut self, entry: &[u8]) -> TermId {
        let hash = self.hash(entry);
        let mut id = self.find(hash, entry);
        if id == UNKNOWN {
            id = self.free.pop().unwrap_or_else(|| {
                make_room(&mut self.list, 1);
                self.list.push(Term::default());
                // As many as rows times labels, at most: memory ends before numbers do.
                (self.list.len() - 1) as TermId
            });
            self.list[id as usize] = Term { entry: Entry::new(entry), hash, rows: 0 };
            self.table.insert_unique(hash, id, |id| self.list[*id as usize].hash);
        }
        self.list[id as usize].rows += 1;
        id
    }

    /// One row less has it.
    pub fn release(&mut self, id: TermId) {
        let term = &mut self.list[id as usize];
        term.rows -= 1;
        if term.rows > 0 {
            return;
        }
        if let Ok(known) = self.table.find_entry(term.hash, |known| *known == id) {
            known.remove();
        }
        *term = Term::default();
        self.free.push(id);
    }
}

impl Term {
    /// Whether it is a label with this name and value; `word`: that of the value.
    #[inline]
    pub fn is(&self, name: LabelName, value: &[u8], word: Option<u128>) -> bool {
        match (&self.entry, word) {
            (Entry::Short { name: own, length, word: known }, Some(word)) => {
                u128::from_le_bytes(*known) == word
                    && usize::from(*length) == value.len()
                    && u16::from_le_bytes(*own) == name.0
            }
            (Entry::Long { name: own, value: known }, None) => {
                u16::from_le_bytes(*own) == name.0 && is_same(known, value)
            }
            _ => false,
        }
    }

    pub fn value(&self) -> &[u8] {
        match &self.entry {
            Entry::Short { length, word, .. } => &word[..usize::from(*length)],
            Entry::Long { value, .. } => value,
            Entry::None => &[],
        }
    }
}

impl Entry {
    fn new(entry: &[u8]) -> Entry {
        let Some((LabelName(name), value)) = entry_parts(entry) else { return Entry::None };
        let name = name.to_le_bytes();
        match words::double_word(value) {
            Some(word) => Entry::Short { name, length: value.len() as u8, word: word.to_le_bytes() },
            None => Entry::Long { name, value: value.into() },
        }
    }
}

/// The name and the value of an entry of a key.
#[inline]
fn entry_parts(entry: &[u8]) -> Option<(LabelName, &[u8])> {
    let (head, value) = entry.split_first_chunk::<HEAD>()?;
    Some((LabelName(u16::from_le_bytes([head[0], head[1]])), value))
}

/// Makes room for some more in a list that may become long: an eighth more than there is, where a vector would take as much
/// again.
pub(super) fn make_room<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more.max(list.len() / 8).max(64));
    }
}

/// The terms of the rows of a group, side by side. A row's are those of its labels with a value, in their order, and
/// then [`UNKNOWN`].
#[derive(Debug, Default)]
pub(super) struct RowTerms {
    /// As many as the longest label set has.
    width: usize,
    rows: usize,
    ids: Vec<TermId>,
}

impl RowTerms {
    #[inline]
    pub fn get(&self, row: u32) -> &[TermId] {
        &self.ids[row as usize * self.width..][..self.width]
    }

    /// A new row takes the terms of a key.
    pub fn set(&mut self, row: u32, terms: &mut Terms, identity: &[u8]) {
        self.rows = self.rows.max(row as usize + 1);
        let labels = key::raw_entries(identity).count();
        if labels > self.width {
            self.widen(labels);
        }
        let more = (self.rows * self.width).saturating_sub(self.ids.len());
        make_room(&mut self.ids, more);
        self.ids.resize(self.rows * self.width, UNKNOWN);
        let ids = &mut self.ids[row as usize * self.width..][..self.width];
        ids.iter_mut().zip(key::raw_entries(identity)).for_each(|(id, entry)| *id = terms.acquire(entry));
    }

    pub fn free(&mut self, row: u32, terms: &mut Terms) {
        let ids = &mut self.ids[row as usize * self.width..][..self.width];
        for id in ids.iter_mut().filter(|id| **id != UNKNOWN) {
            terms.release(std::mem::replace(id, UNKNOWN));
        }
    }

    /// Label sets of a pipeline mostly have the same names: this happens once or twice.
    fn widen(&mut self, width: usize) {
        let mut ids = Vec::with_capacity(self.rows * width);
        if self.width > 0 {
            for row in self.ids.chunks_exact(self.width) {
                ids.extend_from_slice(row);
                ids.resize(ids.len() + width - self.width, UNKNOWN);
            }
        }
        (self.ids, self.width) = (ids, width);
    }
}
