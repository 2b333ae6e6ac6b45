//! The labels of a `metrics` stage: from the record to what the store is asked with.

use crate::metrics::{LabelName, LabelSet, LabelValue, Store};
use crate::pipeline::{LabelId, Record, Slot, Value};

/// The labels of all groups: a label that several of them have is made ready once a line.
#[derive(Default)]
pub struct Labels {
    sources: Vec<Source>,
    values: Vec<LabelValue>,
    /// The line at hand.
    line: u64,
}

/// Where the value of a label comes from.
struct Source {
    name: LabelName,
    slot: Slot,
    /// What no stage extracted may be a label of the target, or of the geoip stage.
    label: LabelId,
    /// The line for which the value was made ready.
    line: u64,
}

impl Labels {
    /// The number of a label, whose value comes from an extracted value or else from a label of the entry.
    pub fn source(&mut self, name: LabelName, slot: Slot, label: LabelId) -> u16 {
        let known = self.sources.iter().position(|known| (known.name, known.slot) == (name, slot));
        let at = known.unwrap_or(self.sources.len());
        if known.is_none() {
            self.sources.push(Source { name, slot, label, line: 0 });
            self.values.push(LabelValue::default());
        }
        // There are fewer names than that in a pipeline.
        at as u16
    }

    /// The line that comes next.
    #[inline]
    pub fn next_line(&mut self) {
        self.line += 1;
    }

    /// The labels of a group for the line at hand; `None`: all labels of the entry.
    #[inline]
    pub fn of<'l>(&'l mut self, which: Option<&'l [u16]>, record: &'l mut Record<'_>, series: &Store) -> LabelSet<'l> {
        let Some(which) = which else { return record.series_labels(series) };
        for at in which {
            let at = usize::from(*at);
            let source = &mut self.sources[at];
            if source.line != self.line {
                source.line = self.line;
                let text = match record.value(source.slot) {
                    Value::Missing => record.label(source.label),
                    Value::Text(text) => Some(text),
                    value => record.value_text(value),
                };
                series.set_value(&mut self.values[at], source.name, text.map(|text| record.bytes(text)));
            }
        }
        LabelSet::in_order(&self.values, which)
    }
}
