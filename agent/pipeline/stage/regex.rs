//! `regex`: named groups of an expression become extracted values.

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pattern::{Anchoring, Captures, Pattern};
use crate::pipeline::{Context, Record, Scope, Slot, Text, Value};
use crate::yaml::{Fields, Node, Spanned};

#[derive(Debug)]
pub struct RegexConfig {
    /// RE2 syntax; searched for, not anchored. Without a named group it extracts nothing.
    pub expression: Spanned<String>,
    /// The extracted value to read instead of the line.
    pub source: Option<String>,
}

impl StageConfig for RegexConfig {
    type Stage = Regex;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `regex` stage", diagnostics)?;
        let expression = fields.required("expression", diagnostics);
        let source = fields.optional::<Spanned<String>>("source", diagnostics);
        fields.finish(diagnostics);
        if let Some(source) = source.as_ref().filter(|s| s.value.is_empty()) {
            diagnostics.error(source.span, "`source` must not be empty").help("leave it out to read the line");
        }
        Some(RegexConfig { expression: expression?, source: source.map(|s| s.value) })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Regex> {
        let compiled = match Pattern::compile(&self.expression.value, Anchoring::Anywhere) {
            Ok(compiled) => compiled,
            Err(why) => {
                scope.diagnostics.error(self.expression.span, format!("not a regular expression: {why}"));
                return None;
            }
        };
        let named = compiled.group_names().iter().enumerate().filter_map(|(at, name)| Some((at, name.as_ref()?)));
        let groups: Vec<(usize, Slot)> = named.map(|(at, name)| (at, scope.slot(name))).collect();
        if groups.is_empty() {
            scope
                .diagnostics
                .warning(self.expression.span, "the expression names no group, so it extracts nothing")
                .help("name what you want: `(?P<name>…)`");
        }
        let captures = compiled.captures_buffer();
        let source = self.source.as_ref().map(|source| scope.slot(source));
        Some(Regex { pattern: compiled, captures, groups, source })
    }
}

pub struct Regex {
    pattern: Pattern,
    captures: Captures,
    groups: Vec<(usize, Slot)>,
    source: Option<Slot>,
}

impl Run for Regex {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        let Some(text) = record.text_or_line(self.source) else { return Flow::Next };
        if !self.pattern.captures(record.bytes(text), &mut self.captures) {
            return Flow::Next;
        }
        for &(group, slot) in &self.groups {
            // A group that took no part gives the empty text, as in Promtail.
            let found = self.captures.get(group).map_or(Text::EMPTY, |found| text.slice(found.start, found.end));
            record.set_value(slot, Value::Text(found));
        }
        Flow::Next
    }
}
