//! A pipeline bound to one source: the label values that every line of it starts with.

use super::keyed_hash::KeyedHash;
use super::scope::{LabelId, Names};
use super::text::{Place, Text, Value};
use crate::labels::Labels;
use crate::metrics::{LabelName, Store};

/// What every record of one source starts from, in the order of the pipeline's ids.
pub struct Binding {
    /// The bytes of the target's label values.
    pub(super) bytes: Vec<u8>,
    /// Initial labels: first those that the pipeline names, then those that only the target has.
    pub(super) labels: Vec<Option<Text>>,
    /// Names of the labels by id.
    pub(super) names: Vec<Box<str>>,
    /// Label ids in the order of their names.
    pub(super) order: Vec<u16>,
    /// Initial extracted values: Promtail seeds them with the labels.
    pub(super) slots: Vec<Value>,
    /// The metric store's name of each label by id; `None` for names that never reach a series (`__…`).
    pub(super) series_names: Vec<Option<LabelName>>,
    /// Names the source by its labels: the same in every process, and whatever number its binding has.
    pub(super) identity: u64,
    /// A number of its own in the pipeline, never given again.
    pub(super) serial: u64,
    /// How many of the labels the pipeline names; the others only the target has.
    pub(super) named: usize,
}

impl Binding {
    pub(super) fn new(serial: u64, labels: &Labels, label_names: &Names, slots: &Names, series: &mut Store) -> Self {
        let mut names: Vec<Box<str>> = label_names.iter().map(Box::from).collect();
        let named = names.len();
        for (name, _) in labels.iter() {
            if label_names.position(name).is_none() {
                names.push(name.into());
            }
        }
        let mut bytes = Vec::new();
        let mut place = |name: &str| {
            labels.contains(name).then(|| {
                let start = bytes.len();
                bytes.extend_from_slice(labels.get(name).as_bytes());
                Text::new(Place::Target, start, bytes.len())
            })
        };
        let initial: Vec<Option<Text>> = names.iter().map(|name| place(name)).collect();
        let slots = slots.iter().map(|name| place(name).map_or(Value::Missing, Value::Text)).collect();
        let mut order: Vec<u16> = (0..names.len() as u16).collect();
        order.sort_by(|a, b| names[*a as usize].cmp(&names[*b as usize]));
        let series_names =
            names.iter().map(|name| (!name.starts_with("__")).then(|| series.label_name(name))).collect();
        let parts = labels.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let identity = KeyedHash::PLAIN.of(parts);
        Binding { bytes, labels: initial, names, order, slots, series_names, identity, serial, named }
    }

    /// Which source this is, for what is remembered of it over a restart.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// Another number for each binding of a pipeline: what is remembered of one is never taken for another's.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The labels that the pipeline names, which its stages may set to anything.
    pub fn named_labels(&self) -> impl ExactSizeIterator<Item = LabelId> + use<> {
        (0..self.named as u16).map(LabelId)
    }

    /// The labels that only the target has. A stage may take one away, and never sets one to another value.
    pub fn other_labels(&self) -> impl ExactSizeIterator<Item = LabelId> + use<> {
        (self.named as u16..self.names.len() as u16).map(LabelId)
    }

    /// What every record begins with.
    pub fn label(&self, id: LabelId) -> Option<Text> {
        self.labels[usize::from(id.0)]
    }

    /// Label ids in the order of their names, each with the metric store's name for it.
    pub fn series_labels(&self) -> impl Iterator<Item = (LabelId, LabelName)> + '_ {
        self.order.iter().filter_map(|&id| Some((LabelId(id), self.series_names[id as usize]?)))
    }
}
