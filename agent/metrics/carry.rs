//! Series that go over from the store before a reload.

use super::cell::Stamp;
use super::family::{Kind, LabelName};
use super::group::{Column, GroupId, Seconds};
use super::key::{LabelKey, entries};
use super::store::Store;

/// Where series of a metric go: the position of the metric in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub group: GroupId,
    pub metric: usize,
}

impl Store {
    /// Takes over series when the configuration is loaded again: those of each family that is defined the same way in
    /// both stores go to the first group here that holds it, held or shown as they were. A changed family starts at 0.
    /// What lives stays, also past a smaller cap: a count that went to another series would be counted again.
    ///
    /// The hold is the old store's where this one has none yet.
    pub fn adopt(&mut self, old: &Store) {
        self.now = self.now.max(old.now);
        let hold = self.exposure.hold.or(old.exposure.hold);
        self.exposure = old.exposure.clone();
        self.exposure.hold = hold;
        let names: Vec<LabelName> = old.names.list.iter().map(|name| self.label_name(name)).collect();
        let mut key = LabelKey::new();
        for from in &old.groups {
            let name = |column: &Column| old.families[column.family.0 as usize].name.as_str();
            let places: Vec<_> = from.columns.iter().map(|column| self.place_of(name(column), &column.kind)).collect();
            for (column, place) in from.columns.iter().zip(&places) {
                let Some(Place { group, metric }) = *place else { continue };
                self.groups[group.0 as usize].columns[metric].take_books(column, &names);
            }
            for (row, metric, _) in from.living() {
                let Some(place) = places[metric] else { continue };
                key.clear();
                for (name, value) in entries(from.keys.get(row)) {
                    key.push(names[usize::from(name.0)], value);
                }
                self.absorb(place, &mut key, from.cell(row, metric));
            }
        }
    }

    /// Adds a cell of another store to the series of a key, whatever the limits of the group.
    pub(super) fn absorb(&mut self, place: Place, key: &mut LabelKey, from: &[u64]) {
        key.sort_by_name(|name| &self.names.list[usize::from(name.0)]);
        let group = &mut self.groups[place.group.0 as usize];
        let row = group.find(&self.terms, key).unwrap_or_else(|| group.insert(&mut self.terms, key));
        group.absorb(row, place.metric, from, self.now);
    }

    /// The first group and position of a family that is defined in the same way.
    pub(super) fn place_of(&self, name: &str, kind: &Kind) -> Option<Place> {
        let id = self.families.iter().position(|own| own.name == name && own.kind == *kind)?;
        self.groups.iter().enumerate().find_map(|(group, g)| {
            let metric = g.columns.iter().position(|column| column.family.0 as usize == id)?;
            Some(Place { group: GroupId(group as u32), metric })
        })
    }
}

impl Column {
    /// Adds what an old column counted; `names` are its label names here.
    fn take_books(&mut self, old: &Column, names: &[LabelName]) {
        self.limited += old.limited;
        self.promoted += old.promoted;
        for (label, count) in old.capped.iter().map(|(label, count)| (names[usize::from(label.0)], *count)) {
            match self.capped.iter_mut().find(|(known, _)| *known == label) {
                Some((_, sum)) => *sum += count,
                None => self.capped.push((label, count)),
            }
        }
        self.refused.iter_mut().zip(&old.refused).for_each(|(sum, n)| *sum += n);
    }
}

/// The stamp of two cells that become one. Held only if both are: a part that is held may be added to one that
/// scrapers know, it is an increment for them, which they see from `now` on.
pub(super) fn stamp_of_both(a: Stamp, b: Stamp, now: Seconds) -> Stamp {
    let second = a.second().max(b.second());
    match (a, b, a.batch(), b.batch()) {
        (Stamp::NEVER, only, ..) | (only, Stamp::NEVER, ..) => only,
        // 0 is the youngest.
        (_, _, Some(a), Some(b)) => Stamp::held(second, if a.min(b) == 0 { 0 } else { a.max(b) }),
        (_, _, None, None) => Stamp::shown(second),
        _ => Stamp::shown(now),
    }
}
