//! The terms of living series: each label with its value has a number here, so that series are told apart by numbers.
//!
//! A line's label is looked up once, by its bytes; then each group of metrics compares numbers where it would compare
//! texts that lie scattered in memory. A label that no living series has is known to be in no row at all.

use super::family::LabelName;
use super::key::{self, HEAD};
use crate::words::is_same;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};
use std::ops::Deref;

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
    /// In the notation of a key; nothing where the number is free.
    entry: Entry,
    pub hash: u64,
    rows: u32,
}

/// Bytes, of which few stand where they are and many elsewhere.
#[derive(Debug)]
enum Entry {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

/// Room for an IPv4 address, and as much as the box and its tag take anyhow.
const SHORT: usize = 22;

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
        let is_it = |id: &TermId| is_same(&self.list[*id as usize].entry, entry);
        self.table.find(hash, is_it).copied().unwrap_or(UNKNOWN)
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
    /// Whether it is a label with this name and value.
    #[inline]
    pub fn is(&self, LabelName(name): LabelName, value: &[u8]) -> bool {
        match self.entry.split_first_chunk::<HEAD>() {
            Some(([a, b, ..], known)) => u16::from_le_bytes([*a, *b]) == name && is_same(known, value),
            None => false,
        }
    }

    pub fn value(&self) -> &[u8] {
        self.entry.get(HEAD..).unwrap_or_default()
    }
}

impl Entry {
    fn new(bytes: &[u8]) -> Entry {
        let mut short = [0; SHORT];
        match short.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                Entry::Short(bytes.len() as u8, short)
            }
            None => Entry::Long(bytes.into()),
        }
    }
}

impl Default for Entry {
    fn default() -> Self {
        Entry::Short(0, [0; SHORT])
    }
}

impl Deref for Entry {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Entry::Short(length, bytes) => &bytes[..usize::from(*length)],
            Entry::Long(bytes) => bytes,
        }
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
