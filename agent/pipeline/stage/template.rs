//! `template`: an extracted value becomes what a template makes of it and of the others.

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, Record, Scope, Slot, Text, Value};
use crate::template::{Buffer, Missing, Room, Template as Compiled};
use crate::yaml::{Fields, Node, Spanned};

#[derive(Debug)]
pub struct TemplateConfig {
    /// The extracted value to set; the template's `.Value` is what it was.
    pub source: String,
    pub template: Spanned<String>,
}

impl StageConfig for TemplateConfig {
    type Stage = Template;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `template` stage", diagnostics)?;
        let span = fields.span();
        let source = fields.required::<Spanned<String>>("source", diagnostics);
        // Promtail takes a missing template for an empty one, which removes the value.
        let empty = Spanned { value: String::new(), span };
        let template = fields.or("template", empty, diagnostics);
        fields.finish(diagnostics);
        let source = source?;
        if source.value.is_empty() {
            diagnostics.error(source.span, "`source` must not be empty");
        }
        Some(TemplateConfig { source: source.value, template })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Template> {
        let Spanned { value: text, span } = &self.template;
        let template = Compiled::compile(text, *span, Missing::Nothing, scope.diagnostics)?;
        let target = scope.slot(&self.source);
        let fields = template.fields().iter().map(|name| match name.as_str() {
            "Entry" => Field::Line,
            "Value" => Field::Value(scope.slot("Value")),
            name => Field::Slot(scope.slot(name)),
        });
        let fields: Vec<_> = fields.collect();
        let values = Vec::with_capacity(fields.len());
        Some(Template { target, room: template.room(), template, fields, values, rendered: Buffer::default() })
    }
}

/// What a name of the template stands for.
enum Field {
    Line,
    /// What the target was; where it was missing, an extracted value that is called `Value`.
    Value(Slot),
    Slot(Slot),
}

pub struct Template {
    target: Slot,
    template: Compiled,
    fields: Vec<Field>,
    room: Room,
    values: Vec<Option<Text>>,
    rendered: Buffer,
}

impl Run for Template {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        self.values.clear();
        self.values.extend(self.fields.iter().map(|field| match field {
            Field::Line => Some(record.line_text()),
            Field::Value(named) => record.text(self.target).or_else(|| record.text(*named)),
            Field::Slot(slot) => record.text(*slot),
        }));
        self.rendered.clear();
        let values = |field: usize| self.values[field].map(|text| record.bytes(text));
        if self.template.render(&values, &mut self.room, &mut self.rendered).is_err() {
            // As in Promtail, such as for `ToLower` of a value that is missing.
            return Flow::Next;
        }
        if self.rendered.is_cut() {
            record.set_cut();
        }
        let value = match self.rendered.bytes() {
            b"" => Value::Missing,
            bytes => Value::Text(record.push(bytes)),
        };
        record.set_value(self.target, value);
        Flow::Next
    }
}
