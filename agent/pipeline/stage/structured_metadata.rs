//! `structured_metadata`: extracted values and labels go to Loki beside the line, as no labels of the stream.

use super::labels::read_labels;
use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, LabelId, Record, Scope, Slot, Text};
use crate::yaml::{Node, Spanned};

#[derive(Debug)]
pub struct StructuredMetadataConfig {
    /// Name → extracted name, or else the label of that name; the empty text means the same name.
    pub pairs: Vec<(Spanned<String>, Spanned<String>)>,
}

impl StageConfig for StructuredMetadataConfig {
    type Stage = StructuredMetadata;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let pairs = read_labels(node, "structured_metadata", diagnostics)?;
        Some(StructuredMetadataConfig { pairs })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<StructuredMetadata> {
        let pairs = self.pairs.iter().map(|(name, source)| {
            let source = if source.value.is_empty() { &name.value } else { &source.value };
            Pair { name: scope.constant(&name.value), slot: scope.slot(source), label: scope.label(source) }
        });
        Some(StructuredMetadata { pairs: pairs.collect() })
    }
}

struct Pair {
    name: Text,
    slot: Slot,
    /// The label of the source's name.
    label: LabelId,
}

pub struct StructuredMetadata {
    pairs: Vec<Pair>,
}

impl Run for StructuredMetadata {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        for pair in &self.pairs {
            if let Some(value) = pair.extracted(record).or_else(|| record.label(pair.label)) {
                record.add_metadata(pair.name, value);
            }
        }
        // A label that goes beside the line is none of the stream any more, unless it has another value by now. After
        // all pairs: two may have the same source.
        for pair in &self.pairs {
            let Some(label) = record.label(pair.label) else { continue };
            let value = pair.extracted(record).unwrap_or(label);
            if record.bytes(value) == record.bytes(label) {
                record.set_label(pair.label, None);
            }
        }
        Flow::Next
    }
}

impl Pair {
    /// The extracted value, if it is a text that Loki takes.
    fn extracted(&self, record: &mut Record<'_>) -> Option<Text> {
        record.text(self.slot).filter(|text| std::str::from_utf8(record.bytes(*text)).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::bench::World;

    /// What stands beside the line, and which labels are left, for a line through a `json` stage and these.
    fn beside(stages: &str, line: &str) -> (String, String) {
        let mut world = World::new(&format!("[{{json: {{expressions: {{a: , n: }}}}}}, {stages}]"));
        world.line(0, line.as_bytes());
        let labels = world.out.0[0].split(' ').nth(1).unwrap_or_default().replace("filename=0.log", "");
        (world.out.1[0].clone(), labels.trim_matches(',').to_string())
    }

    #[test]
    fn values_come_from_what_was_extracted_and_else_from_labels() {
        let cases = [
            // Extracted; a number is a text as Go writes it.
            ("{structured_metadata: {a: , n: }}", r#"{"a":"x","n":1.50}"#, "a=x n=1.5", "source=a"),
            // The old name of the stage.
            ("{non_indexed_labels: {b: a}}", r#"{"a":"x"}"#, "b=x", "source=a"),
            // Neither what is null nor what is missing.
            ("{structured_metadata: {a: , n: }}", r#"{"n":null}"#, "", "source=a"),
            // A label of that name leaves the labels, however often it is taken.
            ("{static_labels: {k: v}}, {structured_metadata: {m: k}}", "{}", "m=v", "source=a"),
            ("{static_labels: {k: v}}, {structured_metadata: {m: k, o: k}}", "{}", "m=v o=v", "source=a"),
            ("{static_labels: {a: v}}, {structured_metadata: {a: }}", r#"{"a":null}"#, "a=v", "source=a"),
            // A target's label was extracted, too; it stays where it has another value by now.
            ("{structured_metadata: {source: }}", "{}", "source=a", ""),
            ("{static_labels: {source: z}}, {structured_metadata: {source: }}", "{}", "source=a", "source=z"),
            // The label of the new name is another one.
            ("{static_labels: {m: v}}, {structured_metadata: {m: a}}", r#"{"a":"x"}"#, "m=x", "m=v,source=a"),
            // Twice, as Promtail sends it.
            ("{structured_metadata: {a: }}, {structured_metadata: {a: }}", r#"{"a":"x"}"#, "a=x a=x", "source=a"),
        ];
        for (stages, line, metadata, labels) in cases {
            assert_eq!(beside(stages, line), (metadata.to_string(), labels.to_string()), "{stages} {line}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_left_out() {
        let mut world = World::new("[{regex: {expression: '(?P<a>.+)'}}, {structured_metadata: {a: }}]");
        world.line(0, b"\xff\xfe");
        world.line(0, b"ok");
        assert_eq!(world.out.1, ["", "a=ok"]);
    }
}
