//! The store of one worker: families, label names, and groups of rows.

use super::admission::Limit;
use super::cell::{self, Stamp};
use super::exposure::Exposure;
use super::family::{Conflict, Family, FamilyId, LabelName};
use super::group::{Cells, Column, Group, GroupId, Row, Seconds};
use super::key::{LabelKey, identity};
use super::snapshot::{Image, Part, Snapshot};
use super::terms::Terms;
use super::value::{LabelSet, LabelValue};
use crate::labels::{is_label_name, sanitize_label_name};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// All series that one worker counts. Not shared: a scrape gets a [`Snapshot`].
#[derive(Debug, Default)]
pub struct Store {
    pub(super) families: Vec<Family>,
    pub(super) names: Names,
    pub(super) groups: Vec<Group>,
    pub(super) terms: Terms,
    /// The latest second a caller told.
    pub(super) now: Seconds,
    pub(super) exposure: Exposure,
    /// Room for the key of a new series.
    key: LabelKey,
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
            let column = Column::new(*family, kind, at, &limit);
            at += cell::width(&column.kind);
            column
        };
        let columns = families.iter().map(column).collect();
        self.groups.push(Group::new(columns, at.max(1), limit));
        GroupId(self.groups.len() as u32 - 1)
    }

    /// The id of a label name; a name that Prometheus would not take is made fit for it.
    pub fn label_name(&mut self, name: &str) -> LabelName {
        let id = self.names.intern(name);
        self.terms.name_was_made(id);
        id
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
        self.set_now(now);
        match self.groups[group.0 as usize].find(&self.terms, key) {
            Some(index) => Row::own(index),
            None => self.new_row(group, key),
        }
    }

    /// Tells the present second, for the updates that follow.
    #[inline]
    pub fn set_now(&mut self, now: Seconds) {
        self.now = self.now.max(now);
    }

    /// Takes the value of one label of a line, for [`cells_of`](Self::cells_of); `None` where the line lacks it.
    #[inline]
    pub fn set_value(&self, label: &mut LabelValue, name: LabelName, value: Option<&[u8]>) {
        label.set(name, value, &self.terms);
    }

    /// The cells of the row of labels that are made ready (see [`row`](Self::row)): no key is put together for a series
    /// that lives.
    #[inline]
    pub fn cells_of(&mut self, group: GroupId, labels: LabelSet<'_>) -> Cells<'_> {
        let row = match self.groups[group.0 as usize].find_row(labels) {
            Some(index) => Row::own(index),
            None => self.new_row_of(group, labels),
        };
        self.cells(group, row)
    }

    /// One more in the first metric of a group, which is a counter: what most groups are asked for.
    #[inline(always)]
    pub fn count(&mut self, group: GroupId, labels: LabelSet<'_>) {
        let known = &mut self.groups[group.0 as usize];
        let row = known.find_row(labels);
        if !row.is_some_and(|row| known.count(row, self.now)) {
            self.count_otherwise(group, labels, row);
        }
    }

    /// The same, where the row or its first series may be new, or stands for others.
    #[inline(never)]
    fn count_otherwise(&mut self, group: GroupId, labels: LabelSet<'_>, row: Option<u32>) {
        let row = row.map_or_else(|| self.new_row_of(group, labels), Row::own);
        // A refusal is counted there.
        let _ = self.cells(group, row).inc(0);
    }

    #[inline(never)]
    fn new_row_of(&mut self, group: GroupId, labels: LabelSet<'_>) -> Row {
        let Store { names, groups, terms, key, .. } = self;
        let is_sorted = labels.is_sorted_by_name(|name| &names.list[usize::from(name.0)]);
        let admitted = if is_sorted { groups[group.0 as usize].admit_ready(terms, labels, key) } else { None };
        admitted.unwrap_or_else(|| self.new_row_of_any(group, labels))
    }

    #[cold]
    fn new_row_of_any(&mut self, group: GroupId, labels: LabelSet<'_>) -> Row {
        let mut key = std::mem::take(&mut self.key);
        labels.write(&mut key, &self.terms);
        let row = self.new_row(group, &mut key);
        self.key = key;
        row
    }

    #[cold]
    fn new_row(&mut self, group: GroupId, key: &mut LabelKey) -> Row {
        let group = &mut self.groups[group.0 as usize];
        if key.sort_by_name(|name| &self.names.list[usize::from(name.0)])
            && let Some(index) = group.find(&self.terms, key)
        {
            return Row::own(index);
        }
        group.admit(&mut self.terms, key)
    }

    /// The cells of a row, touched in the second that [`Store::row`] was last told.
    #[inline]
    pub fn cells(&mut self, group: GroupId, row: Row) -> Cells<'_> {
        let group = &mut self.groups[group.0 as usize];
        let start = row.index as usize * group.stride;
        Cells {
            columns: &mut group.columns,
            row: &mut group.words[start..start + group.stride],
            now: self.now,
            exposure: &self.exposure,
            limited: row.limited,
            capped: row.capped,
        }
    }

    /// For how long a newborn counter or histogram is shown to scrapers as 0 after it was first sent to one. Longer
    /// than the time between two scrapes of any scraper. With zero, as before this is called, none is held.
    pub fn set_hold(&mut self, hold: Duration) {
        self.exposure.hold = Some(hold);
    }

    /// The next cut: an image for another thread, for which the values are copied and the label sets shared. Before,
    /// series that are over are forgotten.
    ///
    /// A cut for a scrape takes the newborn series as a batch, and shows those whose batch was held long enough; any
    /// other changes nothing of that. `now` is a time that never goes back while the machine runs (BOOTTIME).
    pub fn cut(&mut self, for_scrape: bool, now: Duration) -> Snapshot {
        self.expire(now);
        self.exposure.next_cut();
        if for_scrape {
            self.release(now);
            self.begin_batch();
            self.exposure.made_for_scrape(now);
        }
        self.snapshot()
    }

    /// An image of this moment that is no cut: for one look.
    pub fn snapshot(&self) -> Snapshot {
        let part = |group: &Group| Part {
            columns: group.columns.clone(),
            stride: group.stride,
            words: group.words.clone(),
            keys: group.keys.clone(),
        };
        Snapshot::of(Image {
            cut: self.exposure.cut,
            families: self.families.clone(),
            names: self.names.list.clone(),
            parts: self.groups.iter().map(part).collect(),
        })
    }

    /// A cut, by the number of its [`Snapshot`], was first sent to a real scraper.
    pub fn served(&mut self, cut: u64, at: Duration) {
        self.exposure.served(cut, at);
    }

    /// The agent stood still (it was stopped, the machine slept), and scrapers came in vain: what is held waits its whole
    /// time again.
    pub fn stood_still(&mut self) {
        self.exposure.begin_anew();
    }

    /// Newborn series become a batch of births.
    fn begin_batch(&mut self) {
        let has_newborn = |group: &Group| group.columns.iter().any(|column| column.newborn > 0);
        if !self.groups.iter().any(has_newborn) {
            return;
        }
        let all = self.exposure.is_crowded();
        let (batch, exposure) = (self.exposure.begin_batch(), &self.exposure);
        let joins = |stamp: Stamp| stamp.batch().is_some_and(|known| !exposure.knows(known));
        for group in self.groups.iter_mut().filter(|group| all || has_newborn(group)) {
            group.change_held(|stamp| if joins(stamp) { Stamp::held(stamp.second(), batch) } else { stamp });
        }
    }

    /// Shows the series of which all scrapers saw the 0. Their idle time counts from here.
    fn release(&mut self, now: Duration) {
        if !self.exposure.has_mature(now) {
            return;
        }
        let (exposure, second) = (&self.exposure, self.now);
        let is_mature = |stamp: Stamp| stamp.batch().is_some_and(|batch| exposure.is_mature(batch, now));
        for group in &mut self.groups {
            group.change_held(|stamp| if is_mature(stamp) { Stamp::shown(second) } else { stamp });
        }
        self.exposure.drop_mature(now);
    }

    /// Forgets series untouched for their family's `max_idle` or longer whose last value every scraper has seen: it was
    /// sent in a cut a hold ago and has not changed since. So nothing is forgotten while nobody scrapes. Where several
    /// groups hold a series, its parts go together: a sum that became smaller would be counted again. Returns how many
    /// cells were emptied; a [`Row`] from before is void.
    fn expire(&mut self, now: Duration) -> usize {
        self.now = self.now.max(Seconds::try_from(now.as_secs()).unwrap_or(Seconds::MAX));
        let Some(seen) = self.exposure.seen_by_all(now) else { return 0 };
        let is_over = |family: FamilyId, stamp: Stamp| {
            let idle = u64::from(self.now.saturating_sub(stamp.second()));
            stamp.batch().is_none()
                && u64::from(stamp.second()) < seen.as_secs()
                && self.families[family.0 as usize].max_idle.is_some_and(|max| idle >= max.as_secs())
        };
        let mut over = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            for (row, metric, stamp) in group.living() {
                let family = group.columns[metric].family;
                let lives_on = |part| !is_over(family, part);
                if is_over(family, stamp) && !self.other_parts(at, family, group.keys.get(row)).any(lives_on) {
                    over.push((at, row, metric));
                }
            }
        }
        over.iter().for_each(|(group, row, metric)| self.groups[*group].forget(*row, *metric));
        self.groups.iter_mut().for_each(|group| group.free_empty(&mut self.terms));
        over.len()
    }

    /// The stamps of the cells that other groups hold of the same series.
    fn other_parts(&self, group: usize, family: FamilyId, key: &[u8]) -> impl Iterator<Item = Stamp> {
        let others = self.groups.iter().enumerate().filter(move |(at, _)| *at != group).map(|(_, group)| group);
        others.filter_map(move |other| {
            let metric = other.columns.iter().position(|column| column.family == family)?;
            let row = other.find_stored(&self.terms, identity(key))?;
            Some(cell::stamp(other.cell(row, metric))).filter(|stamp| *stamp != Stamp::NEVER)
        })
    }
}

/// Label names by id.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub list: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, LabelName>,
}

impl Names {
    pub fn intern(&mut self, name: &str) -> LabelName {
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
