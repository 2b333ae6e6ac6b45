//! Who gets a row: limits on the label sets of a group and on the values of a label.
//!
//! ```text
//! a new value of a label that has its maximum ─► __other__ in this label
//! a new label set ─┬─ less than series_max ───────────────────────────► a row
//!                  ├─ proves heavy, and the reserve has room ─────────► a row: promoted
//!                  └─ __other__ in the labels that give way ─► in all ─► the row without labels
//! ```

use super::family::LabelName;
use super::group::{Group, Row};
use super::key::{LabelKey, entries, is_own};
use super::sketch::Sketch;
use super::terms::Terms;
use super::value::{LabelSet, row_hash};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::hash::BuildHasher;

/// The value of a label whose own value found no room.
pub const OTHER: &str = "__other__";

/// Label sets of `__other__` only, past all other limits: they differ by their label names, which come from the
/// configuration.
const OTHER_ROWS_MAX: usize = 64;
/// Lines by which a label set without room proves heavy, while half of the reserve is free. The less is free, the more it
/// takes: the last place goes to one that is very heavy.
const HEAVY: usize = 128;
const RESERVE_MIN: usize = 16;

/// How many label sets a group may hold, and what becomes of the others.
///
/// A new label set past `series_max` gets `__other__` in its `overflow` labels, and its lines are counted there. A bounded
/// sketch watches such label sets: one that comes at least 128 times, and often enough to stand out, is promoted to a
/// row of its own, in a reserve of `series_max / 8` (16 at least) that nobody else gets; with less than half of it
/// free it takes more. From there on it is counted for itself; what was counted before stays under `__other__`.
///
/// The sets of `__other__` may be `series_max`, too; past them every label becomes `__other__`, and past 64 further ones
/// the line is counted in the series without labels. So a group never holds more than
/// `2 × series_max + reserve + 65` rows, no living series is pushed out, and the sum over all series is always the true
/// one. What was living before a reload or a restart with a smaller cap stays until it is idle.
#[derive(Clone, Debug, Default)]
pub struct Limit {
    pub series_max: usize,
    /// The labels that give way; all of them when the list is empty.
    pub overflow: Vec<LabelName>,
    /// Distinct values that a label may have in living series, `__other__` not counted. A new one past it becomes
    /// `__other__`. For up to [`CAPPED_LABELS_MAX`] labels; further ones have no limit.
    pub values_max: Vec<(LabelName, usize)>,
}

/// Labels of a group whose values are limited.
pub const CAPPED_LABELS_MAX: usize = 16;

/// Who lives in a group, as far as limits need to know.
#[derive(Debug)]
pub(super) struct Admission {
    limit: Limit,
    /// Rows whose labels have nothing left to give way.
    others: usize,
    /// Of each limited label.
    values: Vec<Values>,
    /// From the first label set without room on.
    sketch: Option<Sketch>,
}

/// The values of one label in living rows: their hashes, and in how many rows each is. Two values of one hash count once.
#[derive(Debug, Default)]
struct Values(HashTable<(u64, u32)>);

impl Admission {
    pub fn new(limit: Limit) -> Admission {
        let values = limit.values_max.iter().take(CAPPED_LABELS_MAX).map(|_| Values::default()).collect();
        Admission { limit, others: 0, values, sketch: None }
    }

    /// The labels whose values are limited, as the bits of [`Row::capped`] have them.
    pub fn capped(&self) -> impl Iterator<Item = LabelName> {
        self.limit.values_max.iter().take(CAPPED_LABELS_MAX).map(|(name, _)| *name)
    }

    /// A row was made for a key.
    pub fn inserted(&mut self, hasher: &RandomState, key: &[u8]) {
        self.others += usize::from(!self.gives_way(key));
        self.each_value(hasher, key, |values, hash| match values.0.entry(hash, |(h, _)| *h == hash, |(h, _)| *h) {
            Entry::Occupied(mut known) => known.get_mut().1 += 1,
            Entry::Vacant(new) => drop(new.insert((hash, 1))),
        });
    }

    /// The row of a key was given up.
    pub fn removed(&mut self, hasher: &RandomState, key: &[u8]) {
        self.others -= usize::from(!self.gives_way(key));
        self.each_value(hasher, key, |values, hash| {
            if let Ok(mut known) = values.0.find_entry(hash, |(h, _)| *h == hash) {
                known.get_mut().1 -= 1;
                if known.get().1 == 0 {
                    known.remove();
                }
            }
        });
    }

    fn each_value(&mut self, hasher: &RandomState, key: &[u8], mut each: impl FnMut(&mut Values, u64)) {
        for (values, (capped, _)) in self.values.iter_mut().zip(&self.limit.values_max) {
            for (_, value) in entries(key).filter(|(name, value)| name == capped && is_own(value)) {
                each(values, hasher.hash_one(value));
            }
        }
    }

    /// The limited labels whose value in a key finds no room, a bit for each.
    fn over(&self, hasher: &RandomState, key: &LabelKey) -> u16 {
        let mut over = 0;
        for (at, (values, (capped, max))) in self.values.iter().zip(&self.limit.values_max).enumerate() {
            let mut of_label = entries(key.identity()).filter(|(name, value)| name == capped && is_own(value));
            let is_new = |value: &[u8]| {
                let hash = hasher.hash_one(value);
                values.0.find(hash, |(h, _)| *h == hash).is_none()
            };
            if values.0.len() >= *max && of_label.any(|(_, value)| is_new(value)) {
                over |= 1 << at;
            }
        }
        over
    }

    /// Whether a label set has a value that becomes `__other__` where there is no room.
    fn gives_way(&self, key: &[u8]) -> bool {
        entries(key).any(|(name, value)| is_own(value) && gives_way(&self.limit, name))
    }

    /// Whether a label set without room is heavy enough for what is left of the reserve.
    fn proves_heavy(&mut self, hash: u64, free: usize) -> bool {
        let came = self.sketch.get_or_insert_with(Sketch::new).came(hash) as usize;
        let is_heavy = free > 0 && came >= HEAVY.max((HEAVY / 2).saturating_mul(self.reserve()) / free);
        if is_heavy && let Some(sketch) = &mut self.sketch {
            sketch.forget(hash);
        }
        is_heavy
    }

    fn reserve(&self) -> usize {
        (self.limit.series_max / 8).max(RESERVE_MIN)
    }
}

fn gives_way(limit: &Limit, name: LabelName) -> bool {
    limit.overflow.is_empty() || limit.overflow.contains(&name)
}

impl Group {
    /// As [`admit`](Self::admit) in the cases that recur: no label is limited, and there is room, or a row of `__other__`
    /// stands ready. `None` in any other. The labels stand in the order of their names.
    pub fn admit_ready(&mut self, terms: &mut Terms, labels: LabelSet<'_>, key: &mut LabelKey) -> Option<Row> {
        let limit = &self.admission.limit;
        if !limit.values_max.is_empty() {
            return None;
        }
        let gives = |name| gives_way(limit, name);
        let own = self.rows() - self.admission.others;
        if own < limit.series_max {
            let is_own = labels.any_own(terms, gives);
            return is_own.then(|| Row::own(self.insert_ready(terms, labels, key)));
        }
        let other = labels.numbers_of_other(terms, gives)?;
        let index = self.find_by(other.hash, |row| other.are(row))?;
        let free = limit.series_max.saturating_add(self.admission.reserve()).saturating_sub(own);
        if self.admission.proves_heavy(labels.hash(), free) {
            self.columns.iter_mut().for_each(|column| column.promoted += 1);
            return Some(Row::own(self.insert_ready(terms, labels, key)));
        }
        Some(Row { index, limited: true, capped: 0 })
    }

    /// A row for a label set that has none yet; the key becomes what the row stands for.
    pub fn admit(&mut self, terms: &mut Terms, key: &mut LabelKey) -> Row {
        let capped = self.admission.over(terms.hasher(), key);
        if capped != 0 {
            let over = |name| self.admission.capped().enumerate().any(|(at, n)| n == name && capped >> at & 1 == 1);
            key.replace_values(over, OTHER.as_bytes());
            if let Some(index) = self.find(terms, key) {
                return Row { index, limited: false, capped };
            }
        }
        let max = self.admission.limit.series_max;
        let mut limited = false;
        if self.admission.gives_way(key.identity()) {
            let own = self.rows() - self.admission.others;
            if own < max {
                return Row { index: self.insert(terms, key), limited, capped };
            }
            let free = max.saturating_add(self.admission.reserve()).saturating_sub(own);
            if self.admission.proves_heavy(row_hash(terms, key.identity()), free) {
                self.columns.iter_mut().for_each(|column| column.promoted += 1);
                return Row { index: self.insert(terms, key), limited, capped };
            }
            limited = key.replace_values(|name| gives_way(&self.admission.limit, name), OTHER.as_bytes());
        }
        if let Some(index) = self.other_row(terms, key, max) {
            return Row { index, limited, capped };
        }
        key.replace_values(|_| true, OTHER.as_bytes());
        let index = self.other_row(terms, key, max.saturating_add(OTHER_ROWS_MAX)).unwrap_or_else(|| {
            key.clear();
            self.find(terms, key).unwrap_or_else(|| self.insert(terms, key))
        });
        Row { index, limited: true, capped }
    }

    /// The row of a label set that has nothing to give way; a new one as long as there are less than some number.
    fn other_row(&mut self, terms: &mut Terms, key: &LabelKey, max: usize) -> Option<u32> {
        let has_room = self.admission.others < max;
        self.find(terms, key).or_else(|| has_room.then(|| self.insert(terms, key)))
    }
}
