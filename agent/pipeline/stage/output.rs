//! `output`: an extracted value becomes the line.

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, Record, Scope, Slot};
use crate::yaml::{Fields, Node};

#[derive(Debug, PartialEq)]
pub struct OutputConfig {
    pub source: String,
}

impl StageConfig for OutputConfig {
    type Stage = Output;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `output` stage", diagnostics)?;
        let source = fields.required("source", diagnostics);
        // Documented nowhere in Promtail, and ignored by it; one configuration in two hundred has it.
        fields.ignored(&["remove_keys"], "Promtail ignores it too", diagnostics);
        fields.finish(diagnostics);
        Some(OutputConfig { source: source? })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Output> {
        Some(Output { source: scope.slot(&self.source) })
    }
}

pub struct Output {
    source: Slot,
}

impl Run for Output {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        if let Some(text) = record.text(self.source) {
            record.set_line(text);
        }
        Flow::Next
    }
}
