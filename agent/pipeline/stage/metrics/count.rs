//! What the `metrics` stage does with a line: the row of each group of metrics, and the updates of its cells.

use super::memo::{LabelSet, Numbers, Rows};
use super::super::{Flow, Run};
use super::{Action, MetricConfig};
use crate::metrics::{Family, GroupId, LabelKey, LabelName, Row};
use crate::pipeline::{Binding, Context, LabelId, Place, Record, Scope, Slot, Text, Value};

pub struct Metrics {
    groups: Vec<Group>,
    sources: Sources,
}

/// Metrics with the same labels.
struct Group {
    id: GroupId,
    labels: Labels,
    updates: Vec<Update>,
    rows: Rows,
}

enum Labels {
    /// All labels of the entry.
    All,
    /// In the order of their names; their sources are at the same places of the other list.
    Named(Vec<LabelName>, Vec<u16>),
}

/// What one metric does with a line.
struct Update {
    source: Slot,
    value: Option<Vec<u8>>,
    action: Action,
}

impl Metrics {
    /// `groups`: metrics that share their rows. `None` where a metric contradicts another one, which is reported.
    pub fn compile(groups: &[Vec<&MetricConfig>], scope: &mut Scope<'_>) -> Option<Metrics> {
        let mut sources = Sources::default();
        let compiled: Vec<_> = groups.iter().map(|members| Group::compile(members, &mut sources, scope)).collect();
        Some(Metrics { groups: compiled.into_iter().collect::<Option<_>>()?, sources })
    }
}

impl Run for Metrics {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        context.series.tell(context.now);
        self.sources.read(record);
        for group in &mut self.groups {
            let Group { id, labels, updates, rows } = group;
            // The row is looked up for the first metric that this line touches.
            let mut updates = updates.iter().enumerate();
            let first = updates.find_map(|(at, update)| Some((at, update.change(record)?)));
            let Some((at, change)) = first else { continue };
            let row = self.sources.row(labels, rows, *id, record, context);
            let mut cells = context.series.cells(*id, row);
            // What a cell refuses (a negative number for a counter), the store counts.
            let mut apply = |at, change| {
                let _ = match change {
                    Change::Inc => cells.inc(at),
                    Change::Dec => cells.dec(at),
                    Change::Add(by) => cells.add(at, by),
                    Change::Sub(by) => cells.sub(at, by),
                    Change::Set(to) => cells.set(at, to),
                    Change::Observe(value) => cells.observe(at, value),
                };
            };
            apply(at, change);
            for (at, update) in updates {
                if let Some(change) = update.change(record) {
                    apply(at, change);
                }
            }
        }
        Flow::Next
    }
}

/// Where the values of labels come from, and their numbers in the line at hand: each value is read once, however many
/// groups have it.
#[derive(Default)]
struct Sources {
    /// What the metrics name.
    named: Vec<Source>,
    /// The numbers of their values in this line.
    numbers: Vec<u64>,
    /// All labels of the entry, by their ids, where a group has all.
    labels: Vec<Numbers>,
    /// Their numbers in this line, and which others there are; empty as long as nobody asked.
    all: Vec<u64>,
    /// The places in it: 0, 1, 2 and so on.
    all_places: Vec<u16>,
    key: LabelKey,
}

struct Source {
    slot: Slot,
    label: LabelId,
    numbers: Numbers,
}

/// The number of a value that is not there.
const ABSENT: u64 = 0;
/// A value without a number.
const NONE: u64 = u64::MAX;
/// Marks values that are named by their place, which holds the same bytes for the target or for ever.
const OF_TARGET: u64 = 1 << 63;
const FIXED: u64 = 1 << 62;

impl Sources {
    /// The place of a source.
    fn add(&mut self, slot: Slot, label: LabelId) -> u16 {
        let known = self.named.iter().position(|known| (known.slot, known.label) == (slot, label));
        let place = known.unwrap_or_else(|| {
            self.named.push(Source { slot, label, numbers: Numbers::default() });
            self.numbers.push(ABSENT);
            self.named.len() - 1
        });
        place as u16 // As many as there are slots.
    }

    /// Reads the values of a new line.
    #[inline]
    fn read(&mut self, record: &mut Record<'_>) {
        self.all.clear();
        for (number, source) in self.numbers.iter_mut().zip(&mut self.named) {
            let text = source.text(record);
            *number = number_of(&mut source.numbers, record, text);
        }
    }

    /// As [`read`](Self::read), for all labels of the entry.
    fn read_all(&mut self, record: &Record<'_>) {
        let binding = record.binding();
        let labels = binding.named_labels();
        if self.labels.len() != labels.len() {
            self.labels.resize_with(labels.len(), Numbers::default);
            self.all_places = (0..=labels.len() as u16).collect();
        }
        self.all.push(others(binding, record).unwrap_or(NONE));
        self.all.extend(labels.zip(&mut self.labels).map(|(id, known)| number_of(known, record, record.label(id))));
    }

    /// The row of a group in this line: the one remembered for its values, or what the store says.
    #[inline]
    fn row(
        &mut self,
        labels: &Labels,
        rows: &mut Rows,
        id: GroupId,
        record: &mut Record<'_>,
        context: &mut Context<'_>,
    ) -> Row {
        let epoch = context.series.epoch(id);
        let (numbers, places) = match labels {
            Labels::Named(_, places) => (&self.numbers, places),
            Labels::All => {
                if self.all.is_empty() {
                    self.read_all(record);
                }
                (&self.all, &self.all_places)
            }
        };
        let set = LabelSet { target: record.binding().serial(), numbers, places };
        if let Some(row) = rows.get(set, epoch) {
            return row;
        }
        let is_known = !set.values().any(|number| number == NONE);
        labels.fill(&mut self.key, &self.named, record);
        let row = context.series.row(id, &mut self.key, context.now);
        if is_known {
            rows.put(set, row, epoch);
        }
        row
    }
}

impl Source {
    /// What no stage extracted may be a label of the target, or of the geoip stage.
    fn text(&self, record: &mut Record<'_>) -> Option<Text> {
        match record.value(self.slot) {
            Value::Missing => record.label(self.label),
            value => record.value_text(value),
        }
    }
}

#[inline]
fn number_of(numbers: &mut Numbers, record: &Record<'_>, text: Option<Text>) -> u64 {
    let Some(text) = text else { return ABSENT };
    let place = || u64::from(text.start) << 31 | u64::from(text.end);
    match text.place {
        Place::Input | Place::Scratch => numbers.of(record.bytes(text)).unwrap_or(NONE),
        // Ranges of less than 2 GiB.
        Place::Target => OF_TARGET | place(),
        Place::Fixed => FIXED | place(),
    }
}

/// Which of the labels that only the target has are there, a bit for each; `None` where these are not all that can be
/// said of them.
fn others(binding: &Binding, record: &Record<'_>) -> Option<u64> {
    let labels = binding.other_labels();
    if labels.len() > 64 {
        return None;
    }
    let mut there = 0;
    for (bit, label) in labels.enumerate() {
        match record.label(label) {
            None => {}
            of_target if of_target == binding.label(label) => there |= 1 << bit,
            Some(_) => return None,
        }
    }
    Some(there)
}

impl Group {
    fn compile(members: &[&MetricConfig], sources: &mut Sources, scope: &mut Scope<'_>) -> Option<Self> {
        let first = members.first()?;
        let mut families = Vec::new();
        for metric in members {
            let family = Family {
                name: metric.name.value.clone(),
                help: metric.description.clone(),
                kind: metric.kind.clone(),
                max_idle: Some(metric.max_idle),
            };
            match scope.series.define(family) {
                Ok(id) => families.push(id),
                Err(conflict) => {
                    scope
                        .diagnostics
                        .error(metric.name.span, conflict.to_string())
                        .help("two metrics of one name must have the same type and buckets");
                    return None;
                }
            }
        }
        let limit = first.limits.compile(scope);
        let id = scope.series.group(&families, limit);
        let labels = match &first.labels {
            None => Labels::All,
            Some(labels) => {
                let mut sorted: Vec<_> = labels.iter().collect();
                sorted.sort_by(|a, b| a.0.value.cmp(&b.0.value));
                let named = sorted.into_iter().map(|(label, source)| {
                    let source = if source.value.is_empty() { &label.value } else { &source.value };
                    let place = sources.add(scope.slot(source), scope.label(source));
                    (scope.series.label_name(&label.value), place)
                });
                let (names, places) = named.unzip();
                Labels::Named(names, places)
            }
        };
        let updates = members.iter().map(|metric| Update {
            source: scope.slot(&metric.source),
            value: metric.value.clone().map(String::into_bytes),
            action: metric.action,
        });
        Some(Group { id, labels, updates: updates.collect(), rows: Rows::default() })
    }
}

impl Labels {
    /// Fills the key with the labels of this line.
    fn fill(&self, key: &mut LabelKey, sources: &[Source], record: &mut Record<'_>) {
        key.clear();
        match self {
            Labels::All => {
                for (label, name) in record.binding().series_labels() {
                    if let Some(text) = record.label(label) {
                        key.push(name, record.bytes(text));
                    }
                }
            }
            Labels::Named(names, places) => {
                for (&name, &place) in names.iter().zip(places) {
                    if let Some(text) = sources[usize::from(place)].text(record) {
                        key.push(name, record.bytes(text));
                    }
                }
            }
        }
    }
}

/// A number and what is done with it.
#[derive(Clone, Copy)]
enum Change {
    Inc,
    Dec,
    Add(f64),
    Sub(f64),
    Set(f64),
    Observe(f64),
}

impl Update {
    /// What a line does to the metric; nothing when it does not concern it.
    fn change(&self, record: &mut Record<'_>) -> Option<Change> {
        match self.action {
            Action::CountLine => return Some(Change::Inc),
            Action::CountBytes => return Some(Change::Add(record.line().len() as f64)),
            _ => {}
        }
        if !record.value(self.source).is_present() {
            return None;
        }
        if let Some(wanted) = &self.value {
            let text: Option<Text> = record.text(self.source);
            if text.is_none_or(|text| record.bytes(text) != &wanted[..]) {
                return None;
            }
        }
        // As in Promtail, `inc` needs no value: a field that is there without one counts.
        match self.action {
            Action::Inc => Some(Change::Inc),
            Action::Dec => Some(Change::Dec),
            Action::Add => record.number(self.source).map(Change::Add),
            Action::Sub => record.number(self.source).map(Change::Sub),
            Action::Set => record.number(self.source).map(Change::Set),
            Action::Observe => record.number(self.source).map(Change::Observe),
            Action::CountLine | Action::CountBytes | Action::Nothing => None,
        }
    }
}
