//! The labels of a `metrics` stage: from the record to what the store is asked with.

use crate::metrics::{LabelName, LabelSet, LabelValue, Numbers, Store};
use crate::pipeline::{LabelId, Record, Slot, Text, Value};

/// The labels of all groups: made ready once a line, for the first group that wants some.
#[derive(Default)]
pub struct Labels {
    sources: Vec<Source>,
    values: Vec<LabelValue>,
    numbers: Numbers,
    /// They are those of the line at hand.
    is_ready: bool,
}

/// Where the value of a label comes from.
struct Source {
    name: LabelName,
    slot: Slot,
    /// What no stage extracted may be a label of the target, or of the geoip stage.
    label: LabelId,
}

impl Labels {
    /// The number of a label, whose value comes from an extracted value or else from a label of the entry.
    pub fn source(&mut self, name: LabelName, slot: Slot, label: LabelId) -> u16 {
        let known = self.sources.iter().position(|known| (known.name, known.slot) == (name, slot));
        let at = known.unwrap_or(self.sources.len());
        if known.is_none() {
            self.sources.push(Source { name, slot, label });
            self.values.push(LabelValue::default());
        }
        // There are fewer names than that in a pipeline.
        at as u16
    }

    /// Another line: nothing is ready yet.
    #[inline]
    pub fn next_line(&mut self) {
        self.is_ready = false;
    }

    /// The labels of a group for the line at hand; `None`: all labels of the entry.
    #[inline(always)]
    pub fn of<'l>(&'l mut self, which: Option<&'l [u16]>, record: &'l mut Record<'_>, series: &Store) -> LabelSet<'l> {
        let Some(which) = which else { return record.series_labels(series) };
        self.make_ready(record, series);
        self.some(which)
    }

    /// Some of them, which are ready.
    #[inline(always)]
    pub fn some<'l>(&'l mut self, which: &'l [u16]) -> LabelSet<'l> {
        LabelSet::in_order(&self.values, which, &mut self.numbers)
    }

    /// Makes them ready, if they are not.
    #[inline]
    pub fn make_ready(&mut self, record: &mut Record<'_>, series: &Store) {
        if !self.is_ready {
            self.is_ready = true;
            self.set_all(record, series);
        }
    }

    #[inline(never)]
    fn set_all(&mut self, record: &mut Record<'_>, series: &Store) {
        for (source, label) in self.sources.iter().zip(&mut self.values) {
            let value = match record.text_bytes(source.slot) {
                Some(value) => Some(value),
                None => source.text(record).map(|text| record.bytes(text)),
            };
            series.set_value(label, source.name, value);
        }
    }
}

impl Source {
    /// The value where it is no extracted text.
    #[inline(never)]
    fn text(&self, record: &mut Record<'_>) -> Option<Text> {
        match record.value(self.slot) {
            Value::Missing => record.label(self.label),
            value => record.value_text(value),
        }
    }
}
