//! `drop`: ends lines that meet every one of the given conditions.

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pattern::{Anchoring, Pattern};
use crate::pipeline::{Context, ReasonId, Record, Scope, Slot, Text};
use crate::yaml::{ByteSize, Fields, Node, Spanned, Words};
use std::time::Duration;

#[derive(Debug)]
pub struct DropConfig {
    /// Extracted names; the line when empty.
    pub source: Vec<String>,
    /// Between the values of several sources.
    pub separator: String,
    pub value: Option<String>,
    pub expression: Option<Spanned<String>>,
    /// Entries whose timestamp is older than this.
    pub older_than: Option<Duration>,
    /// Lines of more bytes than this.
    pub longer_than_bytes: Option<u64>,
    pub reason: String,
}

impl StageConfig for DropConfig {
    type Stage = Drop;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `drop` stage", diagnostics)?;
        let span = fields.span();
        let config = DropConfig {
            source: fields.optional::<Words>("source", diagnostics).unwrap_or_default().0,
            separator: fields.or("separator", ";".to_string(), diagnostics),
            value: fields.optional("value", diagnostics),
            expression: fields.optional("expression", diagnostics),
            older_than: fields.optional("older_than", diagnostics),
            longer_than_bytes: fields.optional::<ByteSize>("longer_than", diagnostics).map(|size| size.0),
            reason: fields.or("drop_counter_reason", "drop_stage".to_string(), diagnostics),
        };
        fields.finish(diagnostics);
        let conditions = config.value.is_some()
            || config.expression.is_some()
            || config.older_than.is_some()
            || config.longer_than_bytes.is_some()
            || !config.source.is_empty();
        let mistake = if !conditions {
            "the `drop` stage needs one of `source`, `expression`, `older_than` and `longer_than`"
        } else if config.value.is_some() && config.expression.is_some() {
            "the `drop` stage takes `value` or `expression`, not both"
        } else if config.value.is_some() && config.source.is_empty() {
            "`value` of the `drop` stage needs `source`"
        } else {
            return Some(config);
        };
        diagnostics.error(span, mistake);
        None
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Drop> {
        let expression = match &self.expression {
            None => None,
            Some(text) => match Pattern::compile(&text.value, Anchoring::Anywhere) {
                Ok(pattern) => Some(pattern),
                Err(why) => {
                    scope.diagnostics.error(text.span, format!("not a regular expression: {why}"));
                    return None;
                }
            },
        };
        Some(Drop {
            source: self.source.iter().map(|name| scope.slot(name)).collect(),
            separator: self.separator.clone().into_bytes(),
            value: self.value.clone().map(String::into_bytes),
            expression,
            older_than_nanos: self.older_than.map(|age| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX)),
            longer_than_bytes: self.longer_than_bytes,
            reason: scope.reason(&self.reason),
        })
    }
}

pub struct Drop {
    source: Vec<Slot>,
    separator: Vec<u8>,
    value: Option<Vec<u8>>,
    expression: Option<Pattern>,
    older_than_nanos: Option<i64>,
    longer_than_bytes: Option<u64>,
    reason: ReasonId,
}

impl Run for Drop {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        if self.wants(record, context) { Flow::Drop(self.reason) } else { Flow::Next }
    }
}

impl Drop {
    fn wants(&self, record: &mut Record<'_>, context: &Context<'_>) -> bool {
        if self.longer_than_bytes.is_some_and(|limit| record.line().len() as u64 <= limit) {
            return false;
        }
        if self.older_than_nanos.is_some_and(|age| record.timestamp() >= context.wall.saturating_sub(age)) {
            return false;
        }
        if self.source.is_empty() {
            return self.expression.as_ref().is_none_or(|pattern| pattern.is_match(record.line()));
        }
        match (&self.value, &self.expression) {
            // All names are in the map, with or without a value.
            (None, None) => self.source.iter().all(|slot| record.value(*slot).is_present()),
            (Some(value), _) => self.joined(record).is_some_and(|text| record.bytes(text) == &value[..]),
            (None, Some(pattern)) => self.joined(record).is_some_and(|text| pattern.is_match(record.bytes(text))),
        }
    }

    /// The values of the sources with separators between. Names that are not in the map are left out; one that is there
    /// without a value, such as a key that an object of JSON does not have, keeps the line: nothing.
    fn joined(&self, record: &mut Record<'_>) -> Option<Text> {
        let mut whole: Option<Text> = None;
        for &slot in &self.source {
            if !record.value(slot).is_present() {
                continue;
            }
            let text = record.text(slot)?;
            if self.source.len() == 1 {
                return Some(text);
            }
            // Parts are appended in one run; what `text` may have pushed for itself lies before it.
            whole = Some(match whole {
                None => {
                    let start = record.push(b"");
                    record.append(text);
                    start.and_behind(text.len())
                }
                Some(so_far) => {
                    let start = record.push(b"");
                    record.append(so_far);
                    record.push(&self.separator);
                    record.append(text);
                    start.and_behind(so_far.len() + self.separator.len() + text.len())
                }
            });
        }
        Some(whole.unwrap_or(Text::EMPTY))
    }
}
