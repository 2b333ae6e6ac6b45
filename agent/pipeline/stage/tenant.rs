//! `tenant`: sets Loki's tenant of the entry, as the label `__tenant_id__`.

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, LabelId, Record, Scope, Slot, Text};
use crate::yaml::{Fields, Node};

/// The label that carries the tenant; it is no label of the stream.
pub const TENANT_LABEL: &str = "__tenant_id__";

#[derive(Debug, PartialEq)]
pub enum TenantConfig {
    Label(String),
    Source(String),
    Value(String),
}

impl StageConfig for TenantConfig {
    type Stage = Tenant;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `tenant` stage", diagnostics)?;
        let span = fields.span();
        let mut given = [
            fields.optional("label", diagnostics).map(TenantConfig::Label),
            fields.optional("source", diagnostics).map(TenantConfig::Source),
            fields.optional("value", diagnostics).map(TenantConfig::Value),
        ];
        fields.finish(diagnostics);
        if given.iter().flatten().count() != 1 {
            diagnostics.error(span, "the `tenant` stage needs exactly one of `label`, `source` and `value`");
            return None;
        }
        given.iter_mut().find_map(Option::take)
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Tenant> {
        let from = match self {
            TenantConfig::Label(name) => From::Label(scope.label(name)),
            TenantConfig::Source(name) => From::Slot(scope.slot(name)),
            TenantConfig::Value(value) => From::Constant(scope.constant(value)),
        };
        Some(Tenant { from, tenant: scope.label(TENANT_LABEL) })
    }
}

enum From {
    Label(LabelId),
    Slot(Slot),
    Constant(Text),
}

pub struct Tenant {
    from: From,
    tenant: LabelId,
}

impl Run for Tenant {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        let tenant = match self.from {
            From::Label(label) => record.label(label),
            From::Slot(slot) => record.text(slot),
            From::Constant(text) => Some(text),
        };
        if let Some(tenant) = tenant.filter(|t| !t.is_empty()) {
            record.set_label(self.tenant, Some(tenant));
        }
        Flow::Next
    }
}
