//! `logfmt`: values of `key=value` pairs become extracted values.
//!
//! As in Promtail, the pairs before a syntax error are kept, and a bare key has the empty text. Unlike Promtail, two
//! names may take the same key (there, only one of them survives).

use super::json::rewrite;
use super::{Flow, Run, StageConfig};
use crate::decode::logfmt;
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, Record, Scope, Slot, Text, Value};
use crate::yaml::{Fields, Node, Spanned};

#[derive(Debug)]
pub struct LogfmtConfig {
    /// Extracted name → key; the empty text means the same name.
    pub mapping: Vec<(Spanned<String>, Spanned<String>)>,
    pub source: Option<String>,
}

impl StageConfig for LogfmtConfig {
    type Stage = Logfmt;

    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `logfmt` stage", d)?;
        let mapping = fields.required("mapping", d);
        let source = fields.optional("source", d);
        fields.finish(d);
        Some(LogfmtConfig { mapping: mapping?, source })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Logfmt> {
        let wanted = self.mapping.iter().map(|(name, key)| {
            let key = if key.value.is_empty() { &name.value } else { &key.value };
            (key.clone().into_bytes(), scope.slot(&name.value))
        });
        Some(Logfmt {
            wanted: wanted.collect(),
            source: self.source.as_ref().map(|source| scope.slot(source)),
            found: Vec::new(),
            spare: Vec::new(),
        })
    }
}

pub struct Logfmt {
    wanted: Vec<(Vec<u8>, Slot)>,
    source: Option<Slot>,
    /// What this line gave: which name, the raw value, whether it holds escapes.
    found: Vec<(Slot, Text, bool)>,
    spare: Vec<u8>,
}

impl Run for Logfmt {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        let Some(text) = record.text_or_line(self.source) else { return Flow::Next };
        self.found.clear();
        let whole = record.bytes(text);
        for pair in logfmt::pairs(whole) {
            let Ok(pair) = pair else { break };
            for (key, slot) in &self.wanted {
                if key == pair.key {
                    self.found.push((*slot, text.part(whole, pair.value), pair.escaped));
                }
            }
        }
        for &(slot, raw, escaped) in &self.found {
            let value = if escaped { rewrite(record, &mut self.spare, raw, logfmt::unescape) } else { raw };
            record.set_value(slot, Value::Text(value));
        }
        Flow::Next
    }
}
