//! `json`: fields of a JSON object become extracted values.
//!
//! Paths of plain names are picked in one pass that borrows; any other JMESPath goes the slow way over the parsed
//! document. Promtail's rules: the input must be an object; a path that leads nowhere gives a value of nil, which
//! hides an older one of that name.

use super::{Flow, Run, StageConfig};
use crate::decode::json::{self, Expression, Extracted, Kind, LearningPicker, Mode, PATHS_MAX, Span};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, ReasonId, Record, Scope, Slot, Text, Value};
use crate::yaml::{Fields, Node, Spanned};

#[derive(Debug)]
pub struct JsonConfig {
    /// Extracted name → JMESPath; the empty text means the field of that name.
    pub expressions: Vec<(Spanned<String>, Spanned<String>)>,
    /// The extracted value to read instead of the line.
    pub source: Option<String>,
    /// Whether a line that is no JSON object is dropped.
    pub drop_malformed: bool,
}

impl StageConfig for JsonConfig {
    type Stage = Json;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `json` stage", diagnostics)?;
        let expressions = fields.required("expressions", diagnostics);
        let source = fields.optional("source", diagnostics);
        let drop_malformed = fields.or("drop_malformed", false, diagnostics);
        fields.finish(diagnostics);
        Some(JsonConfig { expressions: expressions?, source, drop_malformed })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Json> {
        let mut plain: Vec<(Vec<String>, Slot)> = Vec::new();
        let mut general = Vec::new();
        let mut whole = true;
        for (name, expression) in &self.expressions {
            let slot = scope.slot(&name.value);
            if expression.value.is_empty() {
                plain.push((vec![name.value.clone()], slot));
                continue;
            }
            match Expression::compile(&expression.value) {
                Ok(compiled) => match compiled.plain_path() {
                    Some(path) => plain.push((path.to_vec(), slot)),
                    None => general.push((compiled, slot)),
                },
                Err(why) => {
                    let message = format!("`{}` is no JMESPath expression: {why}", expression.value);
                    scope.diagnostics.error(expression.span, message).help("a name with other characters needs quotes: `'\"my-key\"'`");
                    whole = false;
                }
            }
        }
        // A stage with more fields than one picker can have makes several passes.
        let mut pickers: Vec<_> = plain.chunks(PATHS_MAX).map(picker).collect();
        if pickers.is_empty() {
            // Whether the line is an object has to be known all the same.
            pickers.push(picker(&[]));
        }
        whole.then_some(Json {
            pickers,
            general,
            source: self.source.as_ref().map(|source| scope.slot(source)),
            malformed: scope.reason("malformed_json"),
            drop: self.drop_malformed.then(|| scope.reason("malformed_json")),
            spare: Vec::new(),
        })
    }
}

fn picker(fields: &[(Vec<String>, Slot)]) -> (LearningPicker, Vec<Slot>) {
    let paths: Vec<Vec<String>> = fields.iter().map(|(path, _)| path.clone()).collect();
    (LearningPicker::new(&paths, Mode::Strict), fields.iter().map(|(_, slot)| *slot).collect())
}

pub struct Json {
    /// At least one.
    pickers: Vec<(LearningPicker, Vec<Slot>)>,
    general: Vec<(Expression, Slot)>,
    source: Option<Slot>,
    malformed: ReasonId,
    drop: Option<ReasonId>,
    spare: Vec<u8>,
}

impl Run for Json {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        let Some(text) = record.text_or_line(self.source) else { return Flow::Next };
        if self.pick(record, text).is_none() {
            return match self.drop {
                // The line is not what the configuration says it is: refused, and dropped as it wants.
                Some(reason) => {
                    record.refuse(self.malformed);
                    Flow::Drop(reason)
                }
                None => Flow::Next,
            };
        }
        self.search(record, text);
        Flow::Next
    }
}

impl Json {
    /// Picks the plain fields; `None` when the text is no JSON object.
    fn pick(&mut self, record: &mut Record<'_>, text: Text) -> Option<()> {
        for (picker, slots) in &mut self.pickers {
            let found = picker.pick(record.bytes(text)).ok()?;
            for (path, &slot) in slots.iter().enumerate() {
                let value = match found.get(path) {
                    None => Value::Nil,
                    Some(Span { kind: Kind::Text, start, end }) => Value::Text(text.slice(start, end)),
                    Some(Span { kind: Kind::Number, start, end }) => Value::Number(text.slice(start, end)),
                    Some(span) => value_of(record, &mut self.spare, text, span),
                };
                record.set_value(slot, value);
            }
        }
        Some(())
    }

    fn search(&mut self, record: &mut Record<'_>, text: Text) {
        for (expression, slot) in &self.general {
            let value = match expression.search(record.bytes(text)) {
                // Promtail leaves the name as it was.
                Extracted::Failed => continue,
                Extracted::Nil => Value::Nil,
                Extracted::Bool(yes) => Value::Bool(yes),
                Extracted::Number(number) => {
                    Value::Text(record.build(|scratch| crate::decode::number::write_f64(number, scratch)))
                }
                Extracted::Text(found) => Value::Text(record.push(found.as_bytes())),
            };
            record.set_value(*slot, value);
        }
    }
}

/// What stands in a part of a text.
#[inline(never)]
fn value_of(record: &mut Record<'_>, spare: &mut Vec<u8>, text: Text, Span { kind, start, end }: Span) -> Value {
    let raw = text.slice(start, end);
    match kind {
        Kind::Text => Value::Text(raw),
        Kind::Number => Value::Number(raw),
        Kind::Null => Value::Nil,
        Kind::True => Value::Bool(true),
        Kind::False => Value::Bool(false),
        Kind::Escaped => Value::Text(rewrite(record, spare, raw, json::unescape)),
        Kind::Composite => Value::Text(rewrite(record, spare, raw, json::write_compact)),
    }
}

/// Writes a text anew into the record's scratch space, where the text itself may stand.
pub(super) fn rewrite(
    record: &mut Record<'_>,
    spare: &mut Vec<u8>,
    raw: Text,
    write: impl FnOnce(&[u8], &mut Vec<u8>),
) -> Text {
    spare.clear();
    write(record.bytes(raw), spare);
    record.push(spare)
}
