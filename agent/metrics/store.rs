//! The store of one worker: families, label names, and groups of rows.

use super::cell::{self, Stamp};
use super::family::{Conflict, Family, FamilyId, LabelName};
use super::group::{Cells, Column, Group, GroupId, Limit, Row, Seconds};
use super::key::{LabelKey, entries};
use super::snapshot::{Image, Part, Snapshot};
use crate::labels::{is_label_name, sanitize_label_name};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::sync::Arc;

/// All series that one worker counts. Not shared: a scrape gets a [`Snapshot`].
#[derive(Debug, Default)]
pub struct Store {
    families: Vec<Family>,
    names: Names,
    groups: Vec<Group>,
    /// Seeded per process: label values come from strangers.
    hasher: RandomState,
    /// The latest second a caller told.
    now: Seconds,
    /// Snapshots taken so far: a cell with an older stamp was shown.
    epoch: u32,
}

impl Store {
    pub fn new() -> Self {
        Store::default()
    }

    /// Declares a metric. The same name with the same kind and buckets is the same family: the first help and the
    /// longer idle time stay.
    pub fn define(&mut self, family: Family) -> Result<FamilyId, Conflict> {
        family.check()?;
        for known in &self.families {
            known.agrees(&family)?;
        }
        let known = self.families.iter().position(|known| known.name == family.name);
        let index = known.unwrap_or(self.families.len());
        match self.families.get_mut(index) {
            Some(known) => known.max_idle = known.max_idle.zip(family.max_idle).map(|(a, b)| a.max(b)),
            None => self.families.push(family),
        }
        Ok(FamilyId(index as u32))
    }

    /// Metrics that always carry the same labels and are updated together; in the updates they go by their position
    /// here. A family may be in several groups.
    pub fn group(&mut self, families: &[FamilyId], limit: Limit) -> GroupId {
        let mut at = 0;
        let column = |family: &FamilyId| {
            let kind = self.families[family.0 as usize].kind.clone();
            let column = Column { family: *family, kind, at, series: 0, limited: 0, refused: [0; _] };
            at += cell::width(&column.kind);
            column
        };
        let columns = families.iter().map(column).collect();
        self.groups.push(Group::new(columns, at.max(1), limit));
        GroupId(self.groups.len() as u32 - 1)
    }

    /// The id of a label name; a name that Prometheus would not take is made fit for it.
    pub fn label_name(&mut self, name: &str) -> LabelName {
        self.names.intern(name)
    }

    pub fn name(&self, id: LabelName) -> &str {
        &self.names.list[usize::from(id.0)]
    }

    /// The row of a label set: one lookup; only a new set allocates. Where the group is full the key is changed to
    /// the label set that takes its place.
    ///
    /// The labels of the key stand in the order of their names. Another order, or a repeated name, costs a sort per
    /// call and never makes a second series.
    #[inline]
    pub fn row(&mut self, group: GroupId, key: &mut LabelKey, now: Seconds) -> Row {
        self.now = self.now.max(now);
        match self.groups[group.0 as usize].find(&self.hasher, key) {
            Some(index) => Row { index, limited: false },
            None => self.new_row(group, key),
        }
    }

    #[cold]
    fn new_row(&mut self, group: GroupId, key: &mut LabelKey) -> Row {
        let group = &mut self.groups[group.0 as usize];
        if key.sort_by_name(|name| &self.names.list[usize::from(name.0)])
            && let Some(index) = group.find(&self.hasher, key)
        {
            return Row { index, limited: false };
        }
        group.admit(&self.hasher, key)
    }

    /// The cells of a row, touched in the second that [`Store::row`] was last told.
    #[inline]
    pub fn cells(&mut self, group: GroupId, row: Row) -> Cells<'_> {
        let group = &mut self.groups[group.0 as usize];
        let start = row.index as usize * group.stride;
        Cells {
            columns: &mut group.columns,
            row: &mut group.words[start..start + group.stride],
            stamp: Stamp::new(self.now, self.epoch),
            limited: row.limited,
        }
    }

    /// Forgets series untouched for their family's `max_idle` or longer, as Promtail does at a scrape, but none whose
    /// last value no snapshot has shown yet. Returns how many; a [`Row`] from before is void.
    pub fn expire(&mut self, now: Seconds) -> usize {
        self.now = self.now.max(now);
        let (now, epoch, families) = (self.now, self.epoch, &self.families);
        let is_over = |family: FamilyId, stamp: Stamp| {
            let idle = u64::from(now.saturating_sub(stamp.second()));
            stamp.epoch() < epoch && families[family.0 as usize].max_idle.is_some_and(|max| idle >= max.as_secs())
        };
        self.groups.iter_mut().map(|group| group.expire(&self.hasher, is_over)).sum()
    }

    /// A consistent image for another thread: the values are copied, the label sets are shared.
    pub fn snapshot(&mut self) -> Snapshot {
        self.epoch += 1;
        let part = |group: &Group| Part {
            columns: group.columns.clone(),
            stride: group.stride,
            words: group.words.clone(),
            keys: group.keys.clone(),
        };
        Snapshot::of(Image {
            families: self.families.clone(),
            names: self.names.list.clone(),
            parts: self.groups.iter().map(part).collect(),
        })
    }

    /// Takes over values when the configuration is loaded again: those of each family that is defined the same way
    /// in both stores go to the first group here that holds it. A changed family starts at 0.
    pub fn adopt(&mut self, old: &Store) {
        self.now = self.now.max(old.now);
        let names: Vec<LabelName> = old.names.list.iter().map(|name| self.names.intern(name)).collect();
        let mut key = LabelKey::new();
        for from in &old.groups {
            for column in &from.columns {
                let Some((group, metric)) = self.place_of(&old.families[column.family.0 as usize]) else { continue };
                let into = &mut self.groups[group.0 as usize].columns[metric];
                into.limited += column.limited;
                into.refused.iter_mut().zip(&column.refused).for_each(|(sum, n)| *sum += n);
                for (row, words) in from.words.chunks_exact(from.stride).enumerate() {
                    let cell = column.cell(words);
                    if cell::stamp(cell) == Stamp::NEVER {
                        continue;
                    }
                    key.clear();
                    for (name, value) in entries(from.keys.get(row as u32)) {
                        key.push(names[usize::from(name.0)], value);
                    }
                    self.absorb(group, metric, &mut key, cell);
                }
            }
        }
    }

    /// Adds a cell of another store to the series of a key.
    fn absorb(&mut self, group: GroupId, metric: usize, key: &mut LabelKey, cell: &[u64]) {
        let row = self.row(group, key, self.now);
        let cells = self.cells(group, row);
        let column = &mut cells.columns[metric];
        let into = column.cell_mut(cells.row);
        column.series += usize::from(cell::stamp(into) == Stamp::NEVER);
        cell::merge(&column.kind, into, cell);
        // Not shown by this store yet, whatever the old one did.
        into[0] = Stamp::new(cell::stamp(into).second(), cells.stamp.epoch()).0;
    }

    /// The first group and position of a family that is defined in the same way.
    fn place_of(&self, family: &Family) -> Option<(GroupId, usize)> {
        let id = self.families.iter().position(|own| own.name == family.name && own.kind == family.kind)?;
        self.groups.iter().enumerate().find_map(|(group, g)| {
            let metric = g.columns.iter().position(|column| column.family.0 as usize == id)?;
            Some((GroupId(group as u32), metric))
        })
    }
}

/// Label names by id.
#[derive(Debug, Default)]
struct Names {
    list: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, LabelName>,
}

impl Names {
    fn intern(&mut self, name: &str) -> LabelName {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        if !is_label_name(name) {
            let name = sanitize_label_name(name);
            let digit_first = !name.starts_with(|c: char| !c.is_ascii_digit());
            return self.intern(&if digit_first { format!("_{name}") } else { name });
        }
        // Names can come from pods (labelmap). Past 65,535 of them, all new ones share the last id.
        let id = LabelName(self.list.len().min(usize::from(u16::MAX)) as u16);
        if id.0 == u16::MAX {
            self.list.resize_with(usize::from(u16::MAX) + 1, || "other_label".into());
            return id;
        }
        let name: Arc<str> = name.into();
        self.list.push(name.clone());
        self.ids.insert(name, id);
        id
    }
}
