//! The labels of an entry made ready for series (`metrics::LabelValue`): once a line, however many `metrics` stages count
//! by them, and again only where a stage between has changed one.

use super::scope::LabelId;
use super::text::Text;
use crate::metrics::{LabelName, LabelSet, LabelValue, Numbers, Store};

/// The last bit stands for all further labels.
const SHARED: u64 = 1 << 63;

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
    pub fn label_was_set(&mut self, label: LabelId, is_some: bool, names: &SeriesNames) {
        let bit = names.bits[usize::from(label.0)];
        self.changed |= bit;
        self.present = self.present & !(bit & !SHARED) | if is_some { bit } else { 0 };
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
}

/// The labels that are set, by rank.
#[derive(Default)]
struct Present {
    bits: u64,
    ranks: Vec<u16>,
}

impl EntryLabels {
    /// `labels`: as the record has them. `marks`: of these; what has changed is made ready and marked so no more.
    pub fn make_ready<'b>(
        &mut self,
        labels: &[Option<Text>],
        marks: &mut Marks,
        names: &SeriesNames,
        bytes: impl Fn(Text) -> &'b [u8],
        series: &Store,
    ) -> LabelSet<'_> {
        let Marks { present, changed } = *marks;
        if changed != 0 {
            marks.changed = 0;
            if self.values.len() < names.order.len() {
                self.values.resize_with(names.order.len(), LabelValue::default);
            }
            for_each(changed & present, names.order.len(), |rank| {
                if let Some(text) = labels[usize::from(names.order[rank])] {
                    series.set_value(&mut self.values[rank], names.names[rank], Some(bytes(text)));
                }
            });
        }
        let at = match self.lists.iter().position(|list| list.bits == present && present & SHARED == 0) {
            Some(known) => known,
            None => self.list(present, labels, names),
        };
        let ranks = &self.lists[at].ranks;
        match names.ascend {
            true => LabelSet::in_order(&self.values, ranks, &mut self.numbers),
            false => LabelSet::new(&self.values, ranks, &mut self.numbers),
        }
    }

    /// Makes the list of the labels that are set; the last one gives way where there are too many.
    #[inline(never)]
    fn list(&mut self, present: u64, labels: &[Option<Text>], names: &SeriesNames) -> usize {
        if self.lists.len() < LISTS_MAX {
            self.lists.push(Present::default());
        }
        let at = self.lists.len() - 1;
        let Present { bits, ranks } = &mut self.lists[at];
        *bits = present;
        ranks.clear();
        for_each(present, names.order.len(), |rank| {
            if labels[usize::from(names.order[rank])].is_some() {
                ranks.push(rank as u16);
            }
        });
        at
    }
}

/// Calls for the rank of each bit, of so many ranks.
#[inline]
fn for_each(bits: u64, ranks: usize, mut call: impl FnMut(usize)) {
    let mut own = bits & !SHARED;
    while own != 0 {
        call(own.trailing_zeros() as usize);
        own &= own - 1;
    }
    if bits & SHARED != 0 {
        (63..ranks).for_each(call);
    }
}

/// The names that series have for the labels of a binding.
pub(super) struct SeriesNames {
    /// The labels that series may have (not `__…`), in the order of their names: the place here is the rank.
    order: Vec<u16>,
    /// By rank.
    names: Vec<LabelName>,
    /// Each stands once, and in their order: names of the entry that Prometheus would not take are changed for it.
    ascend: bool,
    /// By the labels' numbers: the bit of the rank, or none.
    bits: Vec<u64>,
    /// The labels that are set from the start.
    initial: u64,
}

impl SeriesNames {
    /// `names` and the initial `labels` by number, and all numbers in the order of the names.
    pub fn new(names: &[Box<str>], labels: &[Option<Text>], order: &[u16], series: &mut Store) -> Self {
        let name = |label: &u16| &names[usize::from(*label)];
        let order: Vec<u16> = order.iter().copied().filter(|label| !name(label).starts_with("__")).collect();
        let mut bits = vec![0; names.len()];
        let mut initial = 0;
        for (rank, label) in order.iter().map(|label| usize::from(*label)).enumerate() {
            bits[label] = 1 << rank.min(63);
            initial |= if labels[label].is_some() { bits[label] } else { 0 };
        }
        let names: Vec<LabelName> = order.iter().map(|label| series.label_name(name(label))).collect();
        let ascend = names.is_sorted_by(|a, b| series.name(*a) < series.name(*b));
        SeriesNames { order, names, ascend, bits, initial }
    }
}

#[cfg(test)]
#[path = "entry_labels_tests.rs"]
mod tests;
