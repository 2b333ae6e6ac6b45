//! `labeldrop`: removes labels by their exact names.

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, LabelId, Record, Scope};
use crate::yaml::{FromNode, Node};

#[derive(Debug, PartialEq)]
pub struct LabelDropConfig {
    pub names: Vec<String>,
}

impl StageConfig for LabelDropConfig {
    type Stage = LabelDrop;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        Vec::from_node(node, diagnostics).map(|names| LabelDropConfig { names })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<LabelDrop> {
        Some(LabelDrop { labels: self.names.iter().map(|name| scope.label(name)).collect() })
    }
}

pub struct LabelDrop {
    labels: Vec<LabelId>,
}

impl Run for LabelDrop {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        for &label in &self.labels {
            record.set_label(label, None);
        }
        Flow::Next
    }
}
