//! Rows: all cells of the metrics that share a label set, behind one hash lookup.

use super::admission::{Admission, CAPPED_LABELS_MAX, Limit};
use super::carry::stamp_of_both;
use super::cell::{self, Refused, Stamp, Update};
use super::exposure::Exposure;
use super::family::{FamilyId, Kind, LabelName};
use super::key::{LabelKey, identity, raw_entries};
use super::keys::Keys;
use super::terms::{Four, RowTerms, Terms, make_room};
use super::value::{LabelSet, hash_of_terms, row_hash};
use hashbrown::HashTable;

/// Whole seconds of a clock that never goes back.
pub type Seconds = u32;

/// A group of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub(super) u32);

/// The place of a label set in its group. Good until the next `Store::expire`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub(super) index: u32,
    /// The line's own label set found no room, this row stands for it.
    pub(super) limited: bool,
    /// Limited labels of the group whose value found no room, a bit for each.
    pub(super) capped: u16,
}

impl Row {
    /// Of a label set that has it for itself.
    pub(super) fn own(index: u32) -> Row {
        Row { index, limited: false, capped: 0 }
    }

    /// Whether the label set was replaced because the group is full.
    pub fn is_limited(self) -> bool {
        self.limited
    }
}

/// One metric of a group.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub family: FamilyId,
    pub kind: Kind,
    /// First word of the metric's cell in a row, and the one behind its last.
    pub at: usize,
    pub end: usize,
    /// Cells that hold a series.
    pub series: usize,
    /// Cells that are held and in no batch of births yet.
    pub newborn: usize,
    /// Updates that went to a row of `__other__`, since the program started.
    pub limited: u64,
    /// Label sets that proved heavy and got a row, since the program started.
    pub promoted: u64,
    /// Updates whose value of a limited label became `__other__`, since the program started: the labels in the order of
    /// the group's limits, then such as had a limit before a reload.
    pub capped: Vec<(LabelName, u64)>,
    /// Updates refused, by [`Refused`] in the order of [`Refused::ALL`].
    pub refused: [u64; Refused::ALL.len()],
}

impl Column {
    pub fn new(family: FamilyId, kind: Kind, at: usize, limit: &Limit) -> Column {
        let capped = limit.values_max.iter().take(CAPPED_LABELS_MAX).map(|(label, _)| (*label, 0)).collect();
        let end = at + cell::width(&kind);
        Column { family, kind, at, end, series: 0, newborn: 0, limited: 0, promoted: 0, capped, refused: [0; _] }
    }

    pub fn cell<'a>(&self, row: &'a [u64]) -> &'a [u64] {
        &row[self.at..self.end]
    }

    pub fn cell_mut<'a>(&self, row: &'a mut [u64]) -> &'a mut [u64] {
        &mut row[self.at..self.end]
    }

    /// Gives a cell of this metric another stamp (its first word), and keeps the books of the cells.
    pub fn set_stamp(&mut self, word: &mut u64, stamp: Stamp) {
        let old = Stamp(*word);
        self.series = self.series + usize::from(stamp != Stamp::NEVER) - usize::from(old != Stamp::NEVER);
        self.newborn = self.newborn + usize::from(stamp.is_newborn()) - usize::from(old.is_newborn());
        *word = stamp.0;
    }

    /// An update went to a row that stands for others.
    fn count_replaced(&mut self, limited: bool, capped: u16) {
        self.limited += u64::from(limited);
        if capped == 0 {
            return;
        }
        let counts = self.capped.iter_mut().enumerate().take_while(|(at, _)| *at < CAPPED_LABELS_MAX);
        counts.for_each(|(at, (_, count))| *count += u64::from(capped >> at & 1));
    }

    /// A cell becomes a series.
    #[cold]
    fn begin(&mut self, word: &mut u64, now: Seconds, holds: bool) {
        self.set_stamp(word, self.first_stamp(now, holds));
    }

    /// The stamp of a cell's first touch. A gauge has nothing that could be added up: it is shown at once.
    pub fn first_stamp(&self, now: Seconds, holds: bool) -> Stamp {
        if holds && self.kind != Kind::Gauge { Stamp::held(now, 0) } else { Stamp::shown(now) }
    }
}

/// The cells of one row, to be updated by the position of the metric in its group.
pub struct Cells<'a> {
    pub(super) columns: &'a mut [Column],
    pub(super) row: &'a mut [u64],
    pub(super) now: Seconds,
    pub(super) exposure: &'a Exposure,
    pub(super) limited: bool,
    pub(super) capped: u16,
}

impl Cells<'_> {
    /// One more: counters and gauges.
    #[inline]
    pub fn inc(&mut self, metric: usize) -> Result<(), Refused> {
        self.update(metric, Update::Inc)
    }

    /// One less: gauges.
    pub fn dec(&mut self, metric: usize) -> Result<(), Refused> {
        self.update(metric, Update::Sub(1.0))
    }

    /// Counters (finite, not negative) and gauges (finite).
    #[inline]
    pub fn add(&mut self, metric: usize, by: f64) -> Result<(), Refused> {
        self.update(metric, Update::Add(by))
    }

    /// Gauges, finite.
    pub fn sub(&mut self, metric: usize, by: f64) -> Result<(), Refused> {
        self.update(metric, Update::Sub(by))
    }

    /// Gauges, any value.
    pub fn set(&mut self, metric: usize, to: f64) -> Result<(), Refused> {
        self.update(metric, Update::Set(to))
    }

    /// Histograms, finite.
    #[inline]
    pub fn observe(&mut self, metric: usize, value: f64) -> Result<(), Refused> {
        self.update(metric, Update::Observe(value))
    }

    /// A refusal is counted here; the caller need not look at it.
    #[inline(always)]
    pub fn update(&mut self, metric: usize, update: Update) -> Result<(), Refused> {
        // What nearly every line does: a series lives and takes the update.
        if let Some(column) = self.columns.get_mut(metric)
            && self.capped == 0
            && let Some(cell) = self.row.get_mut(column.at..column.end)
            && cell::is_begun(cell)
            && cell::update(&column.kind, cell, update).is_ok()
        {
            cell::touch(cell, self.now);
            column.limited += u64::from(self.limited);
            return Ok(());
        }
        self.update_any(metric, update)
    }

    #[inline(never)]
    fn update_any(&mut self, metric: usize, update: Update) -> Result<(), Refused> {
        let is_replaced = self.limited || self.capped != 0;
        let column = &mut self.columns[metric];
        let cell = &mut self.row[column.at..column.end];
        let outcome = cell::update(&column.kind, cell, update);
        if let Err(why) = outcome {
            column.refused[why as usize] += 1;
            return outcome;
        }
        if is_replaced {
            column.count_replaced(self.limited, self.capped);
        }
        match cell::stamp(cell) {
            Stamp::NEVER => column.begin(&mut cell[0], self.now, self.exposure.holds()),
            known => cell[0] = known.touched(self.now).0,
        }
        outcome
    }
}

/// One more of a counter that lives. `false`: it does not, or is full, and nothing was changed.
#[inline]
fn count_one(stamp: &mut u64, whole: &mut u64, now: Seconds) -> bool {
    if *stamp == Stamp::NEVER.0 || *whole == u64::MAX {
        return false;
    }
    *whole += 1;
    *stamp = Stamp(*stamp).touched(now).0;
    true
}

#[derive(Debug)]
pub(super) struct Group {
    pub columns: Vec<Column>,
    /// Words of a row.
    pub stride: usize,
    pub admission: Admission,
    /// The rows of all cells, one after another.
    pub words: Vec<u64>,
    pub keys: Keys,
    /// What the keys consist of, by number.
    row_terms: RowTerms,
    /// Living rows by label set.
    table: HashTable<u32>,
    /// Rows to be used again; all their words are 0.
    free: Vec<u32>,
}

impl Group {
    pub fn new(columns: Vec<Column>, stride: usize, limit: Limit) -> Group {
        Group {
            columns,
            stride,
            admission: Admission::new(limit),
            words: Vec::new(),
            keys: Keys::default(),
            row_terms: RowTerms::default(),
            table: HashTable::new(),
            free: Vec::new(),
        }
    }

    pub fn rows(&self) -> usize {
        self.table.len()
    }

    /// The row of a key.
    pub fn find(&self, terms: &Terms, key: &LabelKey) -> Option<u32> {
        let hash = row_hash(terms, key.identity());
        self.table.find(hash, |row| key.is(self.keys.get(*row))).copied()
    }

    /// The row of labels that are made ready.
    #[inline(always)]
    pub fn find_row(&self, labels: LabelSet<'_>) -> Option<u32> {
        let row = self.find_by(labels.hash(), |row| labels.numbers().are(row));
        if row.is_none() && labels.is_wide() { self.find_wide_row(labels) } else { row }
    }

    #[cold]
    fn find_wide_row(&self, labels: LabelSet<'_>) -> Option<u32> {
        self.find_by(labels.hash(), |row| labels.is(row))
    }

    /// One more in the first metric, if it is a counter that lives in the row.
    #[inline]
    pub fn count(&mut self, row: u32, now: Seconds) -> bool {
        match (self.columns.first(), self.words.get_mut(row as usize * self.stride..)) {
            (Some(Column { kind: Kind::Counter, .. }), Some([stamp, whole, ..])) => count_one(stamp, whole, now),
            _ => false,
        }
    }

    /// The row with this hash whose terms are the ones.
    #[inline(always)]
    pub fn find_by(&self, hash: u64, is_it: impl Fn(&[Four]) -> bool) -> Option<u32> {
        self.table.find(hash, |row| is_it(self.row_terms.get(*row))).copied()
    }

    /// The row of a stored identity.
    pub fn find_stored(&self, terms: &Terms, key: &[u8]) -> Option<u32> {
        self.table.find(row_hash(terms, key), |row| identity(self.keys.get(*row)) == key).copied()
    }

    pub fn cell(&self, row: u32, metric: usize) -> &[u64] {
        self.columns[metric].cell(&self.words[row as usize * self.stride..])
    }

    /// Adds a cell of the same kind to one of this group.
    pub fn absorb(&mut self, row: u32, metric: usize, from: &[u64], now: Seconds) {
        let column = &mut self.columns[metric];
        let cell = column.cell_mut(&mut self.words[row as usize * self.stride..]);
        let stamp = stamp_of_both(cell::stamp(cell), cell::stamp(from), now);
        cell::merge(&column.kind, cell, from);
        column.set_stamp(&mut cell[0], stamp);
    }

    /// A row for a key that has none.
    pub fn insert(&mut self, terms: &mut Terms, key: &LabelKey) -> u32 {
        let row = self.begin_row(key);
        let labels = raw_entries(key.identity()).count();
        let acquired = raw_entries(key.identity()).map(|entry| terms.acquire(terms.hash(entry), entry));
        self.row_terms.set(row, labels, acquired);
        self.admission.inserted(terms.hasher(), key.identity());
        self.enter(terms, hash_of_terms(terms, self.row_terms.get(row)), row);
        row
    }

    /// As [`insert`](Self::insert), of labels that are made ready; one of them can give way, and the values of none are
    /// limited.
    pub fn insert_ready(&mut self, terms: &mut Terms, labels: LabelSet<'_>, key: &mut LabelKey) -> u32 {
        labels.write(key, terms);
        let row = self.begin_row(key);
        self.row_terms.set(row, labels.count(), labels.acquire(terms));
        self.enter(terms, labels.hash(), row);
        row
    }

    fn begin_row(&mut self, key: &LabelKey) -> u32 {
        let row = self.free.pop().unwrap_or_else(|| {
            let row = (self.words.len() / self.stride) as u32;
            make_room(&mut self.words, self.stride);
            self.words.resize(self.words.len() + self.stride, 0);
            row
        });
        self.keys.set(row, key.to_stored());
        row
    }

    fn enter(&mut self, terms: &Terms, hash: u64, row: u32) {
        self.table.insert_unique(hash, row, |row| hash_of_terms(terms, self.row_terms.get(*row)));
    }

    /// All living cells: row, metric and stamp.
    pub fn living(&self) -> impl Iterator<Item = (u32, usize, Stamp)> {
        self.words.chunks_exact(self.stride).enumerate().flat_map(|(row, words)| {
            let stamps = self.columns.iter().map(|column| Stamp(words[column.at])).enumerate();
            stamps.filter(|(_, stamp)| *stamp != Stamp::NEVER).map(move |(metric, stamp)| (row as u32, metric, stamp))
        })
    }

    /// Changes the stamps of all cells that are held.
    pub fn change_held(&mut self, change: impl Fn(Stamp) -> Stamp) {
        for words in self.words.chunks_exact_mut(self.stride) {
            for column in &mut self.columns {
                let stamp = Stamp(words[column.at]);
                if stamp.batch().is_some() {
                    column.set_stamp(&mut words[column.at], change(stamp));
                }
            }
        }
    }

    /// Empties a cell.
    pub fn forget(&mut self, row: u32, metric: usize) {
        let column = &mut self.columns[metric];
        let cell = column.cell_mut(&mut self.words[row as usize * self.stride..]);
        column.set_stamp(&mut cell[0], Stamp::NEVER);
        cell.fill(0);
    }

    /// Gives up the rows without a living cell.
    pub fn free_empty(&mut self, terms: &mut Terms) {
        for (row, words) in self.words.chunks_exact(self.stride).enumerate() {
            let row = row as u32;
            let Some(key) = self.keys.of(row) else { continue };
            if self.columns.iter().any(|column| words[column.at] != 0) {
                continue;
            }
            if let Ok(entry) = self.table.find_entry(hash_of_terms(terms, self.row_terms.get(row)), |r| *r == row) {
                entry.remove();
            }
            self.admission.removed(terms.hasher(), identity(key));
            self.row_terms.free(row, terms);
            self.keys.free(row);
            self.free.push(row);
        }
    }
}
