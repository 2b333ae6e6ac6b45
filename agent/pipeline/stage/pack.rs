//! `pack`: the line and extracted values become one JSON object, which Loki's `unpack` takes apart again.

use super::{Flow, Run, StageConfig};
use crate::decode::json;
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, LabelId, Record, Scope, Slot};
use crate::yaml::{Fields, Node};

/// The key of the line, last in the object.
const ENTRY: &[u8] = b"\"_entry\":";

#[derive(Debug, PartialEq)]
pub struct PackConfig {
    /// Extracted names, among them the labels that the target has.
    pub labels: Vec<String>,
    /// Whether the entry gets the time at which it is packed (as in Promtail, the default).
    pub ingest_timestamp: bool,
}

impl StageConfig for PackConfig {
    type Stage = Pack;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `pack` stage", diagnostics)?;
        let config = PackConfig {
            labels: fields.list("labels", diagnostics),
            ingest_timestamp: fields.or("ingest_timestamp", true, diagnostics),
        };
        fields.finish(diagnostics);
        Some(config)
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Pack> {
        let mut names = self.labels.clone();
        names.sort();
        names.dedup();
        let members = names.iter().map(|name| {
            let mut key = Vec::new();
            json::quote(name.as_bytes(), &mut key);
            key.push(b':');
            Member { key, slot: scope.slot(name), label: scope.label(name) }
        });
        Some(Pack { members: members.collect(), ingest_timestamp: self.ingest_timestamp, object: Vec::new() })
    }
}

struct Member {
    /// In quotes, with its colon.
    key: Vec<u8>,
    slot: Slot,
    /// The label of that name, which is removed once it is packed.
    label: LabelId,
}

pub struct Pack {
    /// By name.
    members: Vec<Member>,
    ingest_timestamp: bool,
    object: Vec<u8>,
}

impl Run for Pack {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        let object = &mut self.object;
        object.clear();
        object.push(b'{');
        for member in &self.members {
            let Some(value) = record.text(member.slot) else { continue };
            object.extend_from_slice(&member.key);
            json::quote(record.bytes(value), object);
            object.push(b',');
            record.set_label(member.label, None);
        }
        object.extend_from_slice(ENTRY);
        json::quote(record.line(), object);
        object.push(b'}');
        let packed = record.push(object);
        record.set_line(packed);
        if self.ingest_timestamp {
            record.set_timestamp_now(context.wall);
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::bench::World;

    #[test]
    fn found_values_are_packed_sorted_and_leave_the_labels() {
        let stages = "[{json: {expressions: {z: , a: , none: }}}, \
                       {labels: {z: , later: a}}, {pack: {labels: [z, source, a, none, later, a]}}]";
        let mut world = World::new(stages);
        world.line(0, r#"{"z": "<&>\u2028", "a": 1.0, "none": null}"#.as_bytes());
        // `later` is a label and was never extracted, so it stays one. Time is that of the packing.
        let line = r#"{"a":"1","source":"a","z":"\u003c\u0026\u003e\u2028","_entry":"{\"z\": \"\u003c\u0026\u003e\\u2028\", \"a\": 1.0, \"none\": null}"}"#;
        assert_eq!(world.out.0, [format!("1 filename=0.log,later=1 {}", line.as_bytes().escape_ascii())]);
    }

    #[test]
    fn without_labels_the_line_alone_is_packed() {
        let mut world = World::new("[{regex: {expression: '(?P<t>.+)'}}, {timestamp: {source: t, format: Unix}}, \
                                     {pack: {ingest_timestamp: false}}]");
        world.line(0, b"7");
        world.line(0, b"\xff\x08");
        assert_eq!(world.out.0[0], "7000000000 filename=0.log,source=a {\\\"_entry\\\":\\\"7\\\"}");
        assert!(world.out.0[1].ends_with(r#"{\"_entry\":\"\\ufffd\\u0008\"}"#), "{}", world.out.0[1]);
    }
}
