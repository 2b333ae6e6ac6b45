//! A pipeline bound to one source: the label values that every line of it starts with.

use super::entry_labels::SeriesNames;
use super::keyed_hash::KeyedHash;
use super::origin::Origin;
use super::scope::{LabelId, Names, Slot};
use super::text::{Place, Text, Value};
use crate::labels::Labels;
use crate::metrics::Store;

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
    /// Initial extracted values, of those that a stage reads: Promtail seeds them with the labels. These have the first
    /// numbers; in the others a value of an older line may stand, which nobody looks at.
    pub(super) slots: Vec<Value>,
    pub(super) slot_count: usize,
    /// Labels and the extracted values of the same names, of those that a stage reads.
    pub(super) namesakes: Vec<(LabelId, Slot)>,
    /// What series call the labels.
    pub(super) series_names: SeriesNames,
    /// Names the source by its labels: the same in every process, and whatever number its binding has.
    pub(super) identity: u64,
    /// What is remembered by it means no other binding, neither one that had its place before.
    origin: Origin,
}

impl Binding {
    /// `slots_read`: so many, the first ones, are read by some stage.
    pub(super) fn new(
        labels: &Labels,
        label_names: &Names,
        slots: &Names,
        slots_read: usize,
        series: &mut Store,
    ) -> Self {
        let mut names: Vec<Box<str>> = label_names.iter().map(Box::from).collect();
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
        let slot_count = slots.len();
        let label_of = |name: &str| names.iter().position(|label| &**label == name);
        let namesakes = slots.iter().take(slots_read).enumerate();
        let namesakes =
            namesakes.filter_map(|(slot, name)| Some((LabelId(label_of(name)? as u16), Slot(slot as u16)))).collect();
        let slots = slots.iter().take(slots_read);
        let slots = slots.map(|name| place(name).map_or(Value::Missing, Value::Text)).collect();
        let mut order: Vec<u16> = (0..names.len() as u16).collect();
        order.sort_by(|a, b| names[*a as usize].cmp(&names[*b as usize]));
        let series_names = SeriesNames::new(&names, &initial, &order, series);
        let parts = labels.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let identity = KeyedHash::PLAIN.of(parts);
        let origin = Origin::next();
        Binding { bytes, labels: initial, names, order, slots, slot_count, namesakes, series_names, identity, origin }
    }

    /// Which source this is, for what is remembered of it over a restart.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::bench::{World, cri};
    use proptest::prelude::*;

    /// Of these some give values that no stage reads, and one gives a value long before a stage reads it.
    const STAGES: &str = r#"
- cri: {}
- docker: {}
- regex: {expression: '^a=(?P<a>[0-9]) (?P<unread>.)'}
- regex: {expression: 'b=(?P<b>[0-9])'}
- labels: {a: , copy: b, flags: }
"#;

    /// The labels of the last entry.
    fn labels(world: &World) -> Option<String> {
        world.out.0.last().and_then(|entry| Some(entry.split_once(' ')?.1.to_string()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

        #[test]
        fn nothing_of_a_line_is_there_in_the_next_one(
            lines in prop::collection::vec((0..3usize, any::<bool>(), "(a=[0-9] )?[xy] ?(b=[0-9])?"), 1..12),
        ) {
            let mut world = World::new(STAGES);
            for (source, has_prefix, text) in lines {
                let line = if has_prefix { cri("stdout", "F", &text) } else { text };
                world.line(source, line.as_bytes());
                let mut fresh = World::new(STAGES);
                fresh.line(source, line.as_bytes());
                prop_assert_eq!(labels(&world), labels(&fresh));
            }
        }
    }
}
