//! The labels of an entry made ready for series (`metrics::LabelValue`): once a line, however many `metrics` stages count
//! by them, and again only where a stage between has changed one.

use super::scope::LabelId;
use super::text::Text;
use crate::metrics::{LabelName, LabelSet, LabelValue, Store};

#[derive(Default)]
pub(super) struct EntryLabels {
    /// By the labels' numbers: of which text of the line at hand the value was made ready.
    texts: Vec<Option<Text>>,
    values: Vec<LabelValue>,
    /// The labels that are set, in the order of their names.
    which: Vec<u16>,
}

impl EntryLabels {
    /// Another line: its texts stand elsewhere.
    #[inline]
    pub fn next_line(&mut self) {
        self.texts.clear();
    }

    /// `labels`: as the record has them. `named`: those that series may have, in the order of their names.
    pub fn make_ready<'b>(
        &mut self,
        labels: &[Option<Text>],
        named: &[(LabelId, LabelName)],
        bytes: impl Fn(Text) -> &'b [u8],
        series: &Store,
    ) -> LabelSet<'_> {
        self.texts.resize(labels.len(), None);
        self.values.resize_with(labels.len().max(self.values.len()), LabelValue::default);
        self.which.clear();
        for &(label, name) in named {
            let at = usize::from(label.0);
            let Some(text) = labels[at] else { continue };
            if self.texts[at] != Some(text) {
                self.texts[at] = Some(text);
                series.set_value(&mut self.values[at], name, Some(bytes(text)));
            }
            self.which.push(label.0);
        }
        LabelSet::new(&self.values, &self.which)
    }
}
