//! `replace`: what the groups of an expression captured, everywhere in a text, becomes what a template makes of it.
//!
//! Only groups are replaced, never what stands beside them. Of two groups that overlap the one with the smaller number is
//! replaced, so the outer one of nested groups. The named groups of the first match become extracted values, also those
//! that were not replaced. All of it as in Promtail.

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pattern::{Anchoring, Captures, Pattern};
use crate::pipeline::{Context, Record, Scope, Slot, Text, Value};
use crate::template::{Buffer, Failed, Missing, Room, Template};
use crate::yaml::{Fields, Node, Spanned};
use std::ops::Range;

#[derive(Debug)]
pub struct ReplaceConfig {
    /// RE2 syntax; all its matches are looked at.
    pub expression: Spanned<String>,
    /// The extracted value to change instead of the line.
    pub source: Option<String>,
    /// The template of what a group becomes; `.Value` is what it captured.
    pub replace: Spanned<String>,
}

impl StageConfig for ReplaceConfig {
    type Stage = Replace;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `replace` stage", diagnostics)?;
        let span = fields.span();
        let expression = fields.required("expression", diagnostics);
        let source = fields.optional::<Spanned<String>>("source", diagnostics);
        let replace = fields.or("replace", Spanned { value: String::new(), span }, diagnostics);
        fields.finish(diagnostics);
        if let Some(source) = source.as_ref().filter(|s| s.value.is_empty()) {
            diagnostics.error(source.span, "`source` must not be empty").help("leave it out to change the line");
        }
        Some(ReplaceConfig { expression: expression?, source: source.map(|s| s.value), replace })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Replace> {
        let Spanned { value: text, span } = &self.replace;
        let template = Template::compile(text, *span, Missing::Empty, scope.diagnostics);
        let pattern = match Pattern::compile(&self.expression.value, Anchoring::Anywhere) {
            Ok(pattern) => pattern,
            Err(why) => {
                scope.diagnostics.error(self.expression.span, format!("not a regular expression: {why}"));
                return None;
            }
        };
        let template = template?;
        let groups = pattern.group_names();
        if groups.len() == 1 {
            scope
                .diagnostics
                .warning(self.expression.span, "the expression has no group, so nothing is replaced")
                .help("put what is to be replaced in parentheses");
        }
        let named = groups.iter().skip(1).map(|name| Some(scope.slot(name.as_ref()?))).collect();
        let fields = template.fields().iter().map(|name| (name != "Value").then(|| scope.slot(name))).collect();
        Some(Replace {
            source: self.source.as_ref().map(|source| scope.slot(source)),
            captures: pattern.captures_buffer(),
            pattern,
            work: Work {
                named,
                rendering: Rendering { room: template.room(), template, fields, values: Vec::new() },
                piece: Buffer::default(),
                result: Buffer::default(),
                done: 0,
                extracted: Vec::new(),
                extracted_bytes: Buffer::default(),
                empty_captured: false,
            },
        })
    }
}

pub struct Replace {
    source: Option<Slot>,
    pattern: Pattern,
    captures: Captures,
    work: Work,
}

impl Run for Replace {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        let Some(text) = record.text_or_line(self.source) else { return Flow::Next };
        let Replace { pattern, captures, work, .. } = self;
        work.begin(record);
        let (mut matches, mut so_far) = (0, Ok(()));
        let input = record.bytes(text);
        pattern.each_match(input, captures, |captures| {
            if so_far.is_ok() {
                so_far = work.replace(input, captures, matches == 0, record);
            }
            matches += 1;
        });
        // As in Promtail: where the template fails for one group, nothing is replaced.
        if matches == 0 || so_far.is_err() || work.finish(input, record).is_err() {
            return Flow::Next;
        }
        let result = record.push(work.result.bytes());
        match self.source {
            Some(source) => record.set_value(source, Value::Text(result)),
            None => record.set_line(result),
        }
        work.extract(record);
        Flow::Next
    }
}

/// What becomes of one text.
struct Work {
    /// Of each group from 1 on, the value that it is extracted as.
    named: Vec<Option<Slot>>,
    rendering: Rendering,
    /// What one group becomes.
    piece: Buffer,
    result: Buffer,
    /// Bytes of the text that are replaced or copied.
    done: usize,
    /// Where in `extracted_bytes` the new values are; nothing for a group that took no part.
    extracted: Vec<(Slot, Option<Range<usize>>)>,
    extracted_bytes: Buffer,
    /// Whether some group captured the empty text.
    empty_captured: bool,
}

impl Work {
    fn begin(&mut self, record: &mut Record<'_>) {
        self.rendering.look(record);
        self.result.clear();
        self.done = 0;
        self.extracted.clear();
        self.extracted_bytes.clear();
        self.empty_captured = false;
    }

    /// Replaces the groups of one match.
    fn replace(
        &mut self,
        input: &[u8],
        captures: &Captures,
        is_first: bool,
        record: &Record<'_>,
    ) -> Result<(), Failed> {
        for (group, slot) in (1..).zip(&self.named) {
            let found = captures.get(group);
            if let Some(found) = found.clone() {
                self.rendering.render(&input[found.clone()], record, &mut self.piece)?;
                self.empty_captured |= found.is_empty();
                // What overlaps a group that was replaced is part of that one.
                if self.done <= found.start {
                    self.result.push(&input[self.done..found.start]);
                    self.result.push(self.piece.bytes());
                    if self.piece.is_cut() {
                        self.result.set_cut();
                    }
                    self.done = found.end;
                }
            }
            if let Some(slot) = slot.filter(|_| is_first) {
                self.extracted.push((slot, found.map(|_| append(&mut self.extracted_bytes, &self.piece))));
            }
        }
        Ok(())
    }

    /// The rest of the text. Promtail looks new values up by what was captured, so a group that took no part in the
    /// first match becomes what the empty text becomes, if any group captured that.
    fn finish(&mut self, input: &[u8], record: &Record<'_>) -> Result<(), Failed> {
        self.result.push(&input[self.done..]);
        if self.empty_captured && self.extracted.iter().any(|(_, range)| range.is_none()) {
            self.rendering.render(b"", record, &mut self.piece)?;
            let empty = append(&mut self.extracted_bytes, &self.piece);
            for (_, range) in &mut self.extracted {
                range.get_or_insert_with(|| empty.clone());
            }
        }
        Ok(())
    }

    fn extract(&self, record: &mut Record<'_>) {
        let bytes = record.push(self.extracted_bytes.bytes());
        for (slot, range) in &self.extracted {
            if let Some(range) = range {
                record.set_value(*slot, Value::Text(bytes.slice(range.start, range.end)));
            }
        }
        if self.result.is_cut() || self.extracted_bytes.is_cut() {
            record.set_cut();
        }
    }
}

fn append(to: &mut Buffer, piece: &Buffer) -> Range<usize> {
    let start = to.len();
    to.push(piece.bytes());
    start..to.len()
}

/// The template and what it needs.
struct Rendering {
    template: Template,
    room: Room,
    /// What the template asks for; nothing for the captured text.
    fields: Vec<Option<Slot>>,
    values: Vec<Option<Text>>,
}

impl Rendering {
    /// Looks the values up, which are the same for all groups of a record.
    fn look(&mut self, record: &mut Record<'_>) {
        self.values.clear();
        self.values.extend(self.fields.iter().map(|slot| slot.and_then(|slot| record.text(slot))));
    }

    /// What a captured text becomes.
    fn render(&mut self, captured: &[u8], record: &Record<'_>, out: &mut Buffer) -> Result<(), Failed> {
        out.clear();
        let value = |field: usize| match self.fields[field] {
            None => Some(captured),
            Some(_) => self.values[field].map(|text| record.bytes(text)),
        };
        self.template.render(&value, &mut self.room, out)
    }
}
