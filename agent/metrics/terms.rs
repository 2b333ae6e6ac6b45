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

/// The label has no value.
pub(super) const NONE: TermId = 0;
/// No living series has the term.
pub(super) const UNKNOWN: TermId = 1;

#[derive(Debug)]
pub(super) struct Terms {
    /// Seeded per process: label values come from strangers.
    hasher: RandomState,
    table: HashTable<TermId>,
    /// By number; the first two are nobody's.
    list: Vec<Term>,
    free: Vec<TermId>,
    /// `__other__` by the number of the label's name.
    others: Vec<TermId>,
}

/// A label and its value.
#[derive(Debug, Default)]
pub(super) struct Term {
    text: Text,
    pub hash: u64,
    label: Label,
    rows: u32,
}

/// The name of a label and how long its value is, in one number. No value is [`u16::MAX`] long (see [`key`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Label(u32);

impl Label {
    #[inline]
    fn new(LabelName(name): LabelName, length: usize) -> Label {
        Label(u32::from(name) << 16 | length.min(usize::from(u16::MAX)) as u32)
    }

    fn length(self) -> usize {
        (self.0 & 0xffff) as usize
    }
}

/// A value as it is in a key. Values are short, and short ones are compared at once.
#[derive(Debug)]
enum Text {
    /// Of up to [`words::ENDS_BYTES_MAX`] bytes, by their [`words::ends`].
    Short([u64; 2]),
    Long(Box<[u8]>),
}

impl Default for Text {
    fn default() -> Self {
        Text::Short([0; 2])
    }
}

impl Default for Terms {
    fn default() -> Self {
        Terms {
            hasher: RandomState::default(),
            table: HashTable::new(),
            list: vec![Term::default(), Term::default()],
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
        let ends = words::ends(value);
        self.table.find(hash, |id| self.list[*id as usize].is(name, value, ends)).copied().unwrap_or(UNKNOWN)
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
            let entry = key::other_entry(name);
            let id = self.acquire(self.hash(&entry), &entry);
            self.others.push(id);
        }
    }

    /// One row more has the term.
    #[inline]
    pub fn acquire_known(&mut self, id: TermId) -> TermId {
        self.list[id as usize].rows += 1;
        id
    }

    /// One row more has the entry with this hash.
    pub fn acquire(&mut self, hash: u64, entry: &[u8]) -> TermId {
        let mut id = self.find(hash, entry);
        if id == UNKNOWN {
            id = self.free.pop().unwrap_or_else(|| {
                make_room(&mut self.list, 1);
                self.list.push(Term::default());
                // As many as rows times labels, at most: memory ends before numbers do.
                (self.list.len() - 1) as TermId
            });
            self.list[id as usize] = Term::new(hash, entry);
            self.table.insert_unique(hash, id, |id| self.list[*id as usize].hash);
        }
        self.acquire_known(id)
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
    fn new(hash: u64, entry: &[u8]) -> Term {
        let Some((name, value)) = entry_parts(entry) else { return Term::default() };
        let text = match value.len() {
            ..=words::ENDS_BYTES_MAX => Text::Short(words::ends(value)),
            _ => Text::Long(value.into()),
        };
        Term { text, hash, label: Label::new(name, value.len()), rows: 0 }
    }

    /// Whether it is a label with this name and value, of which the ends are known.
    #[inline]
    pub fn is(&self, name: LabelName, value: &[u8], ends: [u64; 2]) -> bool {
        self.label == Label::new(name, value.len())
            && match &self.text {
                Text::Short(known) => *known == ends,
                Text::Long(known) => is_same(known, value),
            }
    }

    /// Calls with the value.
    pub fn with_value<T>(&self, call: impl FnOnce(&[u8]) -> T) -> T {
        match &self.text {
            Text::Short(ends) => {
                let length = self.label.length();
                call(&words::text_of_ends(*ends, length)[..length])
            }
            Text::Long(value) => call(value),
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

/// Terms that are compared at once.
pub(super) type Four = [TermId; 4];

/// The terms of the rows of a group, side by side. A row's are those of its labels with a value, in their order, and
/// then [`NONE`].
#[derive(Debug, Default)]
pub(super) struct RowTerms {
    /// Of a row: what the longest label set takes.
    width: usize,
    rows: usize,
    fours: Vec<Four>,
}

impl RowTerms {
    #[inline]
    pub fn get(&self, row: u32) -> &[Four] {
        &self.fours[row as usize * self.width..][..self.width]
    }

    /// A new row takes the terms of a label set, so many of them.
    pub fn set(&mut self, row: u32, count: usize, terms: impl Iterator<Item = TermId>) {
        self.rows = self.rows.max(row as usize + 1);
        if count > self.width * 4 {
            self.widen(count.div_ceil(4));
        }
        let more = (self.rows * self.width).saturating_sub(self.fours.len());
        make_room(&mut self.fours, more);
        self.fours.resize(self.rows * self.width, [NONE; 4]);
        self.ids_mut(row).iter_mut().zip(terms).for_each(|(id, term)| *id = term);
    }

    pub fn free(&mut self, row: u32, terms: &mut Terms) {
        for id in self.ids_mut(row).iter_mut().filter(|id| **id != NONE) {
            terms.release(std::mem::replace(id, NONE));
        }
    }

    fn ids_mut(&mut self, row: u32) -> &mut [TermId] {
        self.fours[row as usize * self.width..][..self.width].as_flattened_mut()
    }

    /// Label sets of a pipeline mostly have the same names: this happens once or twice.
    fn widen(&mut self, width: usize) {
        let mut fours = Vec::with_capacity(self.rows * width);
        if self.width > 0 {
            for row in self.fours.chunks_exact(self.width) {
                fours.extend_from_slice(row);
                fours.resize(fours.len() + width - self.width, [NONE; 4]);
            }
        }
        (self.fours, self.width) = (fours, width);
    }
}
