//! The labels of an entry made ready for series (`metrics::LabelValue`): once a line, however many `metrics` stages count
//! by them, and again only where a stage between has changed one.

use super::scope::LabelId;
use super::text::Text;
use crate::metrics::{LabelName, LabelSet, LabelValue, Numbers, Store};

/// So many labels have a bit of their own.
const OWN_BITS: usize = 63;
/// The last bit stands for all further ones.
const SHARED: u64 = 1 << OWN_BITS;

/// Which labels are set and which have changed, a bit for each, by the rank of their names.
#[derive(Clone, Copy, Default)]
pub(super) struct Marks {
    present: u64,
    changed: u64,
}

impl Marks {
    /// Of a line that begins with the labels of its source.
    #[inline]
    pub fn of_new_line(names: &SeriesNames) -> Self {
        Marks { present: names.initial, changed: u64::MAX }
    }

    #[inline]
    pub fn label_was_set(&mut self, label: LabelId, names: &SeriesNames) {
        let bit = names.bits[usize::from(label.0)];
        self.changed |= bit;
        self.present |= bit;
    }

    /// Takes away all labels but those that are allowed.
    pub fn retain(&mut self, labels: &mut [Option<Text>], allowed: &[LabelId], names: &SeriesNames) {
        if !names.have_own_bits {
            for (label, text) in (0..).map(LabelId).zip(labels) {
                if text.is_some() && !allowed.contains(&label) {
                    *text = None;
                    self.label_was_taken(label, names);
                }
            }
            return;
        }
        let kept = allowed.iter().fold(0, |kept, label| kept | names.bits[usize::from(label.0)]);
        let mut taken = self.present & !kept;
        self.present &= kept;
        while taken != 0 {
            labels[usize::from(names.order[taken.trailing_zeros() as usize].label)] = None;
            taken &= taken - 1;
        }
    }

    /// Its value is of no interest then, until it is set again.
    #[inline]
    pub fn label_was_taken(&mut self, label: LabelId, names: &SeriesNames) {
        self.present &= !names.bits[usize::from(label.0)] | SHARED;
    }
}

/// Lists of the labels that are set, of which so many are remembered: a pipeline has a few, one for each of its `metrics` stages.
const LISTS_MAX: usize = 16;

#[derive(Default)]
pub(super) struct EntryLabels {
    /// By the rank of the labels' names.
    values: Vec<LabelValue>,
    numbers: Numbers,
    lists: Vec<Present>,
    /// Behind the list that was wanted last.
    next: usize,
}

/// The labels that are set, by rank.
#[derive(Default)]
struct Present {
    bits: u64,
    ranks: Vec<u16>,
}

impl EntryLabels {
    /// `labels`: as the record has them. `marks`: of these; what has changed is made ready and marked so no more.
    #[inline]
    pub fn make_ready<'b>(
        &mut self,
        labels: &[Option<Text>],
        marks: &mut Marks,
        names: &SeriesNames,
        bytes: impl Fn(Text) -> &'b [u8],
        series: &Store,
    ) -> LabelSet<'_> {
        let present = marks.present;
        let changed = std::mem::take(&mut marks.changed) & present;
        if self.values.len() < names.order.len() {
            self.values.resize_with(names.order.len(), LabelValue::default);
        }
        let mut own = changed & !SHARED;
        while own != 0 {
            self.set_value(own.trailing_zeros() as usize, labels, names, &bytes, series);
            own &= own - 1;
        }
        if changed & SHARED != 0 {
            self.set_shared(labels, names, bytes, series);
        }
        // Stages want the same lists one after another, line after line.
        let at = match self.lists.get(self.next) {
            Some(list) if list.bits == present && present & SHARED == 0 => self.next,
            _ => self.list(present, labels, names),
        };
        self.next = at + 1;
        let ranks = &self.lists[at].ranks;
        match names.ascend {
            true => LabelSet::in_order(&self.values, ranks, &mut self.numbers),
            false => LabelSet::new(&self.values, ranks, &mut self.numbers),
        }
    }

    #[inline(always)]
    fn set_value<'b>(
        &mut self,
        rank: usize,
        labels: &[Option<Text>],
        names: &SeriesNames,
        bytes: impl Fn(Text) -> &'b [u8],
        series: &Store,
    ) {
        let Ranked { label, name } = names.order[rank];
        if let Some(text) = labels[usize::from(label)] {
            series.set_value(&mut self.values[rank], name, Some(bytes(text)));
        }
    }

    #[cold]
    fn set_shared<'b>(
        &mut self,
        labels: &[Option<Text>],
        names: &SeriesNames,
        bytes: impl Fn(Text) -> &'b [u8],
        series: &Store,
    ) {
        (OWN_BITS..names.order.len()).for_each(|rank| self.set_value(rank, labels, names, &bytes, series));
    }

    /// The list of the labels that are set, among those that are known or made anew. The last one gives way where there are
    /// too many.
    #[inline(never)]
    fn list(&mut self, present: u64, labels: &[Option<Text>], names: &SeriesNames) -> usize {
        let known = self.lists.iter().position(|list| list.bits == present && present & SHARED == 0);
        if let Some(known) = known {
            return known;
        }
        if self.lists.len() < LISTS_MAX {
            self.lists.push(Present::default());
        }
        let at = self.lists.len() - 1;
        let Present { bits, ranks } = &mut self.lists[at];
        *bits = present;
        ranks.clear();
        let all = names.order.iter().enumerate();
        let set = all.filter(|(_, Ranked { label, .. })| labels[usize::from(*label)].is_some());
        ranks.extend(set.map(|(rank, _)| rank as u16));
        at
    }
}

/// A label by its number, and the name that series have for it.
#[derive(Clone, Copy)]
struct Ranked {
    label: u16,
    name: LabelName,
}

/// The names that series have for the labels of a binding.
pub(super) struct SeriesNames {
    /// The labels that series may have (not `__…`), in the order of their names: the place here is the rank.
    order: Vec<Ranked>,
    /// Each stands once, and in their order: names of the entry that Prometheus would not take are changed for it.
    ascend: bool,
    /// By the labels' numbers: the bit of the rank, or none.
    bits: Vec<u64>,
    /// Each label has one that it shares with no other.
    have_own_bits: bool,
    /// The labels that are set from the start.
    initial: u64,
}

impl SeriesNames {
    /// `names` and the initial `labels` by number, and all numbers in the order of the names.
    pub fn new(names: &[Box<str>], labels: &[Option<Text>], order: &[u16], series: &mut Store) -> Self {
        let name = |label: u16| &names[usize::from(label)];
        let of_series = order.iter().copied().filter(|label| !name(*label).starts_with("__"));
        let order: Vec<Ranked> =
            of_series.map(|label| Ranked { label, name: series.label_name(name(label)) }).collect();
        let mut bits = vec![0; names.len()];
        let mut initial = 0;
        for (rank, label) in order.iter().map(|ranked| usize::from(ranked.label)).enumerate() {
            bits[label] = 1 << rank.min(OWN_BITS);
            initial |= if labels[label].is_some() { bits[label] } else { 0 };
        }
        let ascend = order.is_sorted_by(|a, b| series.name(a.name) < series.name(b.name));
        let have_own_bits = order.len() == names.len() && order.len() <= OWN_BITS;
        SeriesNames { order, ascend, bits, have_own_bits, initial }
    }
}

#[cfg(test)]
#[path = "entry_labels_tests.rs"]
mod tests;
