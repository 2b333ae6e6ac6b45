//! `static_labels`: labels with values that the configuration gives.

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::labels::is_label_name;
use crate::pipeline::{Context, LabelId, Record, Scope, Text};
use crate::yaml::{FromNode, Node, Spanned};

#[derive(Debug)]
pub struct StaticLabelsConfig {
    pub labels: Vec<(Spanned<String>, Spanned<String>)>,
}

impl StageConfig for StaticLabelsConfig {
    type Stage = StaticLabels;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let labels = Vec::<(Spanned<String>, Spanned<String>)>::from_node(node, diagnostics)?;
        for (name, _) in labels.iter().filter(|(name, _)| !is_label_name(&name.value)) {
            diagnostics
                .error(name.span, format!("`{}` cannot be a label name", name.value))
                .help("letters, digits and `_`, not starting with a digit");
        }
        Some(StaticLabelsConfig { labels })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<StaticLabels> {
        // Promtail skips empty values.
        let set = self.labels.iter().filter(|(_, value)| !value.value.is_empty());
        let pairs = set.map(|(name, value)| (scope.label(&name.value), scope.constant(&value.value)));
        Some(StaticLabels { pairs: pairs.collect() })
    }
}

pub struct StaticLabels {
    pairs: Vec<(LabelId, Text)>,
}

impl Run for StaticLabels {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        for &(label, value) in &self.pairs {
            record.set_label(label, Some(value));
        }
        Flow::Next
    }
}
