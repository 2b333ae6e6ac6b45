//! Series that come back after a restart, from what was kept of them.

use super::carry::Place;
use super::cell::{self, Stamp};
use super::exposure::CUT_MAX;
use super::family::{Kind, LabelName};
use super::group::Seconds;
use super::kept::{CUT, read_cell, read_family};
use super::key::{LabelKey, entries};
use super::store::Store;
use crate::keep::{Entries, Reader, Slot, Table};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// How series come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restore {
    /// With their values, held as they were.
    Continue,
    /// With what no scraper was shown yet, since scrapers know this target by other labels from now on, or do not know
    /// how far they saw it. All is held anew. Gauges keep their values.
    Rebase,
}

/// What became of the kept series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Came back. One that several groups held counts for each.
    pub series: u64,
    /// Of a metric that has another kind or other buckets now: starts at 0.
    pub changed: u64,
    /// Of a metric that the configuration no longer has.
    pub dropped: u64,
    /// Slots that could not be read.
    pub damaged: u64,
}

impl Store {
    /// Takes kept series back, into a store that is compiled and empty. To be called after [`Store::set_hold`], which
    /// decides whether rebased series are held. Rows do not keep their places: the first image afterwards is kept as a
    /// whole (`changes_since(None)`).
    ///
    /// `before` tells, for each slot that changed since, what it held when scrapers were last sent a cut; `None` where it
    /// did not exist. Only a rebase looks at it. `now` is the same clock as for [`Store::cut`]: idle times begin there.
    ///
    /// What lives comes back also past a smaller cap; a rebase, where all series are new to scrapers, keeps to the caps.
    pub fn restore(
        &mut self,
        entries: &Entries,
        before: &[(Slot, Option<Box<[u8]>>)],
        how: Restore,
        now: Duration,
    ) -> Restored {
        self.now = self.now.max(Seconds::try_from(now.as_secs()).unwrap_or(Seconds::MAX));
        let mut restored = Restored::default();
        let latest = Kept { entries, before: BTreeMap::new() };
        if let Some(bytes) = latest.get(CUT) {
            match Reader::new(bytes).number().and_then(|cut| u32::try_from(cut).ok()).filter(|cut| *cut <= CUT_MAX) {
                Some(cut) => self.exposure.cut = cut,
                None => restored.damaged += 1,
            }
        }
        match how {
            Restore::Continue => latest.each_cell(self, &mut restored, |store, place, key, cell| {
                store.absorb(place, key, cell);
            }),
            Restore::Rebase => {
                let before = before.iter().map(|(slot, value)| (*slot, value.as_deref())).collect();
                self.rebase(&latest, &Kept { entries, before }, &mut restored);
            }
        }
        restored
    }

    /// What each label set grew by since it was last shown. A cell that is held was shown as 0. One that is not was
    /// shown before, and so its label set with all that was shown of it; where that is more than is there now, it has
    /// begun anew since.
    fn rebase(&mut self, latest: &Kept<'_>, before: &Kept<'_>, restored: &mut Restored) {
        let mut sums: BTreeMap<(Place, Arc<[u8]>), Sum> = BTreeMap::new();
        let mut unheard = Restored::default();
        before.each_cell(self, &mut unheard, |store, place, key, cell| {
            if cell::stamp(cell).batch().is_none() && *store.kind(place) != Kind::Gauge {
                let sum = sums.entry((place, key.to_stored())).or_insert_with(|| Sum::of(store.kind(place)));
                cell::merge(store.kind(place), &mut sum.before, cell);
            }
        });
        latest.each_cell(self, restored, |store, place, key, cell| {
            let held = Stamp::held(store.now, 0);
            match sums.get_mut(&(place, key.to_stored())) {
                Some(sum) if cell::stamp(cell).batch().is_none() => {
                    cell::merge(store.kind(place), &mut sum.now, cell);
                    sum.now[0] = held.0;
                }
                _ => store.absorb_anew(place, key, cell),
            }
        });
        let mut key = LabelKey::new();
        for ((place, labels), mut sum) in sums {
            if sum.now[0] != 0 {
                key.clear();
                entries(&labels).for_each(|(name, value)| key.push(name, value));
                let mut grown = cell::growth(self.kind(place), &sum.now, &sum.before);
                self.absorb_anew(place, &mut key, grown.as_mut().unwrap_or(&mut sum.now));
            }
        }
    }

    /// Adds a cell to the series of a key, within the limits of its group, as if born now.
    fn absorb_anew(&mut self, place: Place, key: &mut LabelKey, cell: &mut [u64]) {
        let row = self.row(place.group, key, self.now);
        let group = &mut self.groups[place.group.0 as usize];
        cell[0] = group.columns[place.metric].first_stamp(self.now, self.exposure.holds()).0;
        group.absorb(row.index, place.metric, cell, self.now);
    }

    fn fate(&self, name: &str, kind: &Kind) -> Fate {
        match self.place_of(name, kind) {
            Some(place) => Fate::Here(place),
            None if self.families.iter().any(|family| family.name == name && family.kind != *kind) => Fate::Changed,
            None => Fate::Dropped,
        }
    }

    fn kind(&self, place: Place) -> &Kind {
        &self.groups[place.group.0 as usize].columns[place.metric].kind
    }
}

/// What a label set showed, and what there is of it now that was shown before.
struct Sum {
    before: Vec<u64>,
    now: Vec<u64>,
}

impl Sum {
    fn of(kind: &Kind) -> Sum {
        let zero = vec![0; cell::width(kind)];
        Sum { before: zero.clone(), now: zero }
    }
}

/// Kept slots, at the end or at a moment before.
pub(super) struct Kept<'e> {
    pub entries: &'e Entries,
    /// Slots that were otherwise at that moment.
    pub before: BTreeMap<Slot, Option<&'e [u8]>>,
}

/// A metric of a kept group.
struct KeptMetric {
    kind: Kind,
    fate: Fate,
}

#[derive(Clone, Copy)]
enum Fate {
    Here(Place),
    Changed,
    Dropped,
}

impl<'e> Kept<'e> {
    /// Calls for each cell of a metric that the store has, with its labels.
    pub fn each_cell(
        &self,
        store: &mut Store,
        restored: &mut Restored,
        mut each: impl FnMut(&mut Store, Place, &mut LabelKey, &mut [u64]),
    ) {
        let groups = self.groups(store, restored);
        let names: HashMap<u64, LabelName> = (self.table(Table::LABEL_NAMES).into_iter())
            .map(|(id, name)| (id, store.label_name(&String::from_utf8_lossy(name))))
            .collect();
        let mut cells: Vec<Vec<u64>> = Vec::new();
        let mut key = LabelKey::new();
        for (index, values) in self.table(Table::VALUES) {
            let metrics = groups.get(&(index >> 32));
            let labels = self.get(Slot { table: Table::SERIES, index });
            let read = metrics.zip(labels).and_then(|(metrics, labels)| {
                read_key(labels, &names, &mut key)?;
                read_row(values, metrics, store.now, &mut cells)?;
                Some(metrics)
            });
            let Some(metrics) = read else {
                restored.damaged += 1;
                continue;
            };
            for (metric, cell) in metrics.iter().zip(&mut cells).filter(|(_, cell)| cell[0] != 0) {
                match metric.fate {
                    Fate::Here(place) => {
                        restored.series += 1;
                        each(store, place, &mut key.clone(), cell);
                    }
                    Fate::Changed => restored.changed += 1,
                    Fate::Dropped => restored.dropped += 1,
                }
            }
        }
    }

    fn groups(&self, store: &Store, restored: &mut Restored) -> HashMap<u64, Vec<KeptMetric>> {
        let mut groups = HashMap::new();
        for (group, bytes) in self.table(Table::GROUPS) {
            let (mut reader, mut metrics) = (Reader::new(bytes), Some(Vec::new()));
            while let Some(known) = metrics.as_mut().filter(|_| !reader.is_empty()) {
                match read_family(&mut reader) {
                    Some((name, kind)) => known.push(KeptMetric { fate: store.fate(name, &kind), kind }),
                    None => metrics = None,
                }
            }
            restored.damaged += u64::from(metrics.is_none());
            groups.extend(metrics.map(|metrics| (group, metrics)));
        }
        groups
    }

    fn get(&self, slot: Slot) -> Option<&'e [u8]> {
        self.before.get(&slot).copied().unwrap_or_else(|| self.entries.get(slot))
    }

    fn table(&self, table: Table) -> Vec<(u64, &'e [u8])> {
        let known = |index: u64| self.before.contains_key(&Slot { table, index });
        let mut slots: Vec<_> = self.entries.table(table).filter(|(index, _)| !known(*index)).collect();
        let all = Slot { table, index: 0 }..=Slot { table, index: u64::MAX };
        slots.extend(self.before.range(all).filter_map(|(slot, value)| Some((slot.index, (*value)?))));
        slots.sort_unstable_by_key(|(index, _)| *index);
        slots
    }
}

fn read_key(bytes: &[u8], names: &HashMap<u64, LabelName>, key: &mut LabelKey) -> Option<()> {
    let mut reader = Reader::new(bytes);
    let short = |reader: &mut Reader<'_>| Some(u16::from_le_bytes([reader.byte()?, reader.byte()?]));
    key.clear();
    while !reader.is_empty() {
        let (name, length) = (short(&mut reader)?, short(&mut reader)?);
        key.push(*names.get(&name.into())?, reader.raw(length.into())?);
    }
    Some(())
}

fn read_row(bytes: &[u8], metrics: &[KeptMetric], now: Seconds, cells: &mut Vec<Vec<u64>>) -> Option<()> {
    let mut reader = Reader::new(bytes);
    cells.resize_with(metrics.len(), Vec::new);
    for (metric, cell) in metrics.iter().zip(cells) {
        read_cell(&mut reader, &metric.kind, now, cell)?;
    }
    reader.is_empty().then_some(())
}
