//! A consistent image of one or several stores, to be read on another thread.

use super::cell::{self, Refused, Stamp};
use super::family::{Conflict, Family, Kind};
use super::group::Column;
use super::key::{entries, identity};
use super::keys::Keys;
use super::number::Number;
use crate::labels::Labels;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a scrape shows of the log-derived series. Families come in the order of their names, series in that of their
/// labels; equal label sets of a family (two jobs, two workers) are one series: counters and histograms are added,
/// of a gauge the value that was touched last stands.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(super) images: Vec<Image>,
}

/// To whom the series are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A held series is 0: Prometheus does not count the first value that it sees of a series.
    ToScraper,
    /// Every series has its true value.
    ToPerson,
}

/// One line of an exposition, for tests and one-shot runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// With the suffix: `…_bucket`, `…_sum`, `…_count` of a histogram.
    pub name: String,
    /// With `le`, where it is a bucket.
    pub labels: Labels,
    pub value: Number,
}

/// The books of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyStats {
    pub name: String,
    /// Living series; one that two groups or workers hold counts twice.
    pub series: usize,
    /// Updates counted under `__other__`, since the program started.
    pub limited: u64,
    /// Label sets that proved heavy past the maximum and got a series, since the program started.
    pub promoted: u64,
    /// Updates whose value of a label became `__other__` for the label had its maximum, by label, since the program
    /// started.
    pub capped: BTreeMap<String, u64>,
    /// Updates refused, in the order of [`Refused::ALL`].
    pub refused: [u64; Refused::ALL.len()],
}

impl FamilyStats {
    fn of(name: &str) -> FamilyStats {
        let capped = BTreeMap::new();
        FamilyStats { name: name.to_string(), series: 0, limited: 0, promoted: 0, capped, refused: [0; _] }
    }
}

/// One store.
#[derive(Debug)]
pub(super) struct Image {
    /// The number of the cut that the image is of; of a look in between, that of the latest cut.
    pub cut: u32,
    pub families: Vec<Family>,
    pub names: Vec<Arc<str>>,
    pub parts: Vec<Part>,
}

/// One group of a store.
#[derive(Debug)]
pub(super) struct Part {
    pub columns: Vec<Column>,
    pub stride: usize,
    pub words: Vec<u64>,
    pub keys: Keys,
}

impl Snapshot {
    pub(super) fn of(image: Image) -> Snapshot {
        Snapshot { images: vec![image] }
    }

    /// The number of the cut: what [`Store::served`](super::Store::served) wants. 0 for an empty snapshot.
    pub fn number(&self) -> u64 {
        self.images.iter().map(|image| u64::from(image.cut)).max().unwrap_or(0)
    }

    /// No series lives in it any more; rows keep their labels.
    pub(super) fn forget_values(&mut self) {
        self.images.iter_mut().flat_map(|image| &mut image.parts).for_each(|part| part.words.fill(0));
    }

    pub(super) fn cell_mut(&mut self, group: usize, row: u32, metric: usize) -> &mut [u64] {
        let part = &mut self.images[0].parts[group];
        let start = row as usize * part.stride;
        part.columns[metric].cell_mut(&mut part.words[start..start + part.stride])
    }

    /// The union of several workers' series. Fails when they disagree about a metric, which happens only if they run
    /// different configurations.
    pub fn merge(snapshots: Vec<Snapshot>) -> Result<Snapshot, Conflict> {
        let images: Vec<Image> = snapshots.into_iter().flat_map(|snapshot| snapshot.images).collect();
        let mut known: Vec<&Family> = Vec::new();
        for family in images.iter().flat_map(|image| &image.families) {
            if known.iter().any(|k| k.name == family.name && k.kind == family.kind) {
                continue;
            }
            known.iter().try_for_each(|k| k.agrees(family))?;
            known.push(family);
        }
        Ok(Snapshot { images })
    }

    /// The books of each metric, in the order of the names.
    pub fn stats(&self) -> Vec<FamilyStats> {
        let mut all: BTreeMap<&str, FamilyStats> = BTreeMap::new();
        for image in &self.images {
            for column in image.parts.iter().flat_map(|part| &part.columns) {
                let name = &image.families[column.family.0 as usize].name;
                let stats = all.entry(name).or_insert_with(|| FamilyStats::of(name));
                stats.series += column.series;
                stats.limited += column.limited;
                stats.promoted += column.promoted;
                for (label, count) in &column.capped {
                    let label = image.names[usize::from(label.0)].to_string();
                    *stats.capped.entry(label).or_default() += count;
                }
                stats.refused.iter_mut().zip(&column.refused).for_each(|(sum, n)| *sum += n);
            }
        }
        all.into_values().collect()
    }

    /// All samples, in the order of the exposition.
    pub fn samples(&self, shown: Shown) -> impl Iterator<Item = Sample> {
        let view = View::of(self);
        let mut samples = Vec::new();
        for family in view.families() {
            family.for_each_series(shown, |labels, cell| {
                let labels: Labels = labels
                    .iter()
                    .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value).into_owned()))
                    .collect();
                family.push_samples(&mut samples, labels, cell);
            });
        }
        samples.into_iter()
    }
}

/// A snapshot made ready for reading: label names ranked over all images, families put together by name.
pub(super) struct View<'a> {
    /// Per image: the rank of each label name among all names of the snapshot.
    ranks: Vec<Vec<u32>>,
    images: &'a [Image],
    /// What a histogram's own label `le` is shown as; the name belongs to the buckets.
    le_shown_as: String,
}

impl<'a> View<'a> {
    pub fn of(snapshot: &'a Snapshot) -> View<'a> {
        let images = snapshot.images.as_slice();
        let mut names: Vec<&str> = images.iter().flat_map(|image| &image.names).map(|name| &**name).collect();
        names.sort_unstable();
        names.dedup();
        let rank = |name: &Arc<str>| names.binary_search(&&**name).map_or(0, |rank| rank as u32);
        let ranks = images.iter().map(|image| image.names.iter().map(rank).collect()).collect();
        // Prometheus' own way out of such a clash, until the name is free.
        let mut le_shown_as = "exported_le".to_string();
        while names.contains(&le_shown_as.as_str()) {
            le_shown_as.insert_str(0, "exported_");
        }
        View { ranks, images, le_shown_as }
    }

    /// The families that have a series, by name.
    pub fn families(&'a self) -> impl Iterator<Item = FamilyView<'a>> {
        let mut all: BTreeMap<&str, FamilyView<'a>> = BTreeMap::new();
        for (image, ranks) in self.images.iter().zip(&self.ranks) {
            for part in &image.parts {
                for column in part.columns.iter().filter(|column| column.series > 0) {
                    let family = &image.families[column.family.0 as usize];
                    let view = || FamilyView { family, le_shown_as: &self.le_shown_as, places: Vec::new() };
                    let place = Place { column, part, ranks, names: &image.names };
                    all.entry(&family.name).or_insert_with(view).places.push(place);
                }
            }
        }
        all.into_values()
    }
}

/// One family of a snapshot.
pub(super) struct FamilyView<'a> {
    pub family: &'a Family,
    le_shown_as: &'a str,
    places: Vec<Place<'a>>,
}

/// Where some of its series are.
struct Place<'a> {
    column: &'a Column,
    part: &'a Part,
    ranks: &'a [u32],
    names: &'a [Arc<str>],
}

impl Place<'_> {
    fn cell(&self, row: u32) -> &[u64] {
        self.column.cell(&self.part.words[row as usize * self.part.stride..])
    }
}

impl FamilyView<'_> {
    /// Calls for each series with its labels in order and its cell, equal label sets already merged. What is held adds
    /// 0 to what a scraper sees.
    pub fn for_each_series(&self, shown: Shown, mut each: impl FnMut(&[(&str, &[u8])], &[u64])) {
        let mut series: Vec<(u32, u32)> = Vec::with_capacity(self.places.iter().map(|p| p.column.series).sum());
        for (index, place) in self.places.iter().enumerate() {
            let rows = place.part.words.len() / place.part.stride;
            let living = (0..rows as u32).filter(|row| cell::stamp(place.cell(*row)) != Stamp::NEVER);
            series.extend(living.map(|row| (index as u32, row)));
        }
        let key = |(place, row): (u32, u32)| {
            let place = &self.places[place as usize];
            (place.part.keys.get(row), place.ranks)
        };
        series.sort_unstable_by(|a, b| compare(key(*a), key(*b)).then(a.cmp(b)));
        let (mut labels, mut merged) = (Vec::new(), Vec::new());
        for equal in series.chunk_by(|a, b| compare(key(*a), key(*b)) == Ordering::Equal) {
            let (place, row) = equal[0];
            let place = &self.places[place as usize];
            self.labels(place, row, &mut labels);
            merged.clear();
            merged.resize(cell::width(&self.family.kind), 0);
            for (place, row) in equal {
                let cell = self.places[*place as usize].cell(*row);
                if shown == Shown::ToPerson || cell::stamp(cell).batch().is_none() {
                    cell::merge(&self.family.kind, &mut merged, cell);
                    merged[0] = merged[0].max(cell[0]);
                }
            }
            each(&labels, &merged);
        }
    }

    fn labels<'l>(&'l self, place: &Place<'l>, row: u32, labels: &mut Vec<(&'l str, &'l [u8])>) {
        let is_histogram = matches!(self.family.kind, Kind::Histogram { .. });
        labels.clear();
        for (name, value) in entries(place.part.keys.get(row)) {
            let name = &*place.names[usize::from(name.0)];
            labels.push((if is_histogram && name == "le" { self.le_shown_as } else { name }, value));
        }
        // In order already, but for labels without a value and a renamed one.
        labels.sort_unstable();
    }

    fn push_samples(&self, samples: &mut Vec<Sample>, labels: Labels, cell: &[u64]) {
        let name = &self.family.name;
        let Kind::Histogram { buckets } = &self.family.kind else {
            return samples.push(Sample { name: name.clone(), labels, value: cell::number(&self.family.kind, cell) });
        };
        let (sum, counts) = cell::histogram(cell);
        let mut total = 0;
        for (count, bound) in counts.zip(buckets.iter().chain([&f64::INFINITY])) {
            let mut labels = labels.clone();
            let mut le = Vec::new();
            super::number::append_float(&mut le, *bound);
            labels.set("le", String::from_utf8_lossy(&le));
            samples.push(Sample { name: format!("{name}_bucket"), labels, value: Number::Whole(count) });
            total = count;
        }
        samples.push(Sample { name: format!("{name}_sum"), labels: labels.clone(), value: Number::Float(sum) });
        samples.push(Sample { name: format!("{name}_count"), labels, value: Number::Whole(total) });
    }
}

/// The order of two label sets: label by label, by name and then by value; labels without a value do not count.
fn compare((a, ranks_a): (&[u8], &[u32]), (b, ranks_b): (&[u8], &[u32])) -> Ordering {
    let a = entries(identity(a)).map(|(name, value)| (ranks_a[usize::from(name.0)], value));
    let b = entries(identity(b)).map(|(name, value)| (ranks_b[usize::from(name.0)], value));
    a.cmp(b)
}
