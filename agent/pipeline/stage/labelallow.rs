//! `labelallow`: removes every label but the named ones.

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, Record, Scope};
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
        let mut allowed = Vec::new();
        for name in &self.names {
            let at = usize::from(scope.label(name).0);
            allowed.resize(allowed.len().max(at + 1), false);
            allowed[at] = true;
        }
        Some(LabelAllow { allowed })
    }
}

pub struct LabelAllow {
    /// By the numbers of the labels; those behind the last are not allowed.
    allowed: Vec<bool>,
}

impl Run for LabelAllow {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        record.retain_labels(&self.allowed);
        Flow::Next
    }
}
