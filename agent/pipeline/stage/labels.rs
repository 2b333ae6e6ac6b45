//! `labels`: extracted values become labels.

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::labels::is_label_name;
use crate::pipeline::{Context, LabelId, Record, Scope, Slot, Value};
use crate::words;
use crate::yaml::{FromNode, Node, Spanned};

#[derive(Debug)]
pub struct LabelsConfig {
    /// Label name → extracted name; the empty text means the same name.
    pub labels: Vec<(Spanned<String>, Spanned<String>)>,
}

impl StageConfig for LabelsConfig {
    type Stage = Labels;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let labels = read_labels(node, "labels", diagnostics)?;
        Some(LabelsConfig { labels })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Labels> {
        let pairs = self.labels.iter().map(|(name, source)| {
            let source = if source.value.is_empty() { &name.value } else { &source.value };
            (scope.slot(source), scope.label(&name.value))
        });
        Some(Labels { pairs: pairs.collect() })
    }
}

/// Reads what the `labels` stage and its sisters take: names of labels, each with the extracted name.
pub(super) fn read_labels(
    node: &Node,
    stage: &str,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<(Spanned<String>, Spanned<String>)>> {
    let labels = Vec::<(Spanned<String>, Spanned<String>)>::from_node(node, diagnostics)?;
    if labels.is_empty() {
        diagnostics.error(node.span, format!("the `{stage}` stage needs at least one label"));
    }
    for (name, _) in labels.iter().filter(|(name, _)| !is_label_name(&name.value)) {
        diagnostics
            .error(name.span, format!("`{}` cannot be a label name", name.value))
            .help("letters, digits and `_`, not starting with a digit");
    }
    Some(labels)
}

pub struct Labels {
    pairs: Vec<(Slot, LabelId)>,
}

impl Run for Labels {
    #[inline]
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        for &(slot, label) in &self.pairs {
            match record.value(slot) {
                Value::Text(text) if is_short_ascii(record.bytes(text)) => record.set_label(label, Some(text)),
                _ => set(record, label, slot),
            }
        }
        Flow::Next
    }
}

/// Whether it is as most values are.
#[inline]
fn is_short_ascii(text: &[u8]) -> bool {
    text.len() <= words::ENDS_BYTES_MAX && words::is_ascii(text)
}

/// What is missing or null leaves the label as it is; so does a text that is no UTF-8 (Promtail skips it, since Loki would
/// refuse the stream).
#[inline(never)]
fn set(record: &mut Record<'_>, label: LabelId, slot: Slot) {
    let Some(text) = record.text(slot) else { return };
    let bytes = record.bytes(text);
    if words::is_ascii(bytes) || str::from_utf8(bytes).is_ok() {
        record.set_label(label, Some(text));
    }
}
