//! `labelallow`: removes every label but the named ones.

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, LabelId, Record, Scope};
use crate::yaml::{FromNode, Node};

#[derive(Debug, PartialEq)]
pub struct LabelAllowConfig {
    pub names: Vec<String>,
}

impl StageConfig for LabelAllowConfig {
    type Stage = LabelAllow;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        Vec::from_node(node, diagnostics).map(|names| LabelAllowConfig { names })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<LabelAllow> {
        Some(LabelAllow { allowed: self.names.iter().map(|name| scope.label(name)).collect() })
    }
}

pub struct LabelAllow {
    allowed: Vec<LabelId>,
}

impl Run for LabelAllow {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        record.retain_labels(&self.allowed);
        Flow::Next
    }
}
