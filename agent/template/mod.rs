//! Go's `text/template`, as much of it as Promtail's `template` and `replace` stages are used with.
//!
//! A template is compiled once, when the configuration is read: names of values and functions, the numbers and kinds of
//! arguments and regular expressions are checked there, so that what Promtail finds out with every line is a finding at the
//! start. What depends on the line alone stays: an action that Go's engine ends with an error, such as `ToLower` of a
//! missing value, ends the [rendering](Template::render).
//!
//! There are `if` and `with`, variables, pipelines, comments and trim markers, and the functions of [`functions`]. There is
//! nothing that repeats (`range`), so a rendering takes no longer than its template and its texts are long.

mod call;
mod format;
mod functions;
mod lex;
mod parse;
mod room;
mod run;
#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
mod tree;

pub use room::{Buffer, TEXT_BYTES_MAX};
pub use run::{Failed, Room};

use crate::diagnostic::Diagnostics;
use crate::pattern::Pattern;
use crate::span::Span;
use std::ops::Range;
use tree::Node;

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    nodes: Vec<Node>,
    /// The names of the values that it asks for, each once.
    fields: Vec<String>,
    patterns: Vec<Pattern>,
    variables: usize,
}

/// What `index . "name"` gives where the value is missing. `.name` prints `<no value>` then, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No value: in the `template` stage.
    Nothing,
    /// The empty text: in the `replace` stage, whose values Promtail hands over in a map of texts.
    Empty,
}

/// What is wrong with a template.
#[derive(Debug)]
struct Mistake {
    /// Bytes of the template.
    at: Range<usize>,
    message: String,
    help: Option<String>,
}

impl Mistake {
    fn new(at: Range<usize>, message: impl Into<String>) -> Mistake {
        Mistake { at, message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Mistake {
        self.help = Some(help.into());
        self
    }
}

impl Template {
    /// Compiles a template that stands at `span` of the configuration. The first mistake is reported, at its place.
    pub fn compile(text: &str, span: Span, missing: Missing, diagnostics: &mut Diagnostics) -> Option<Template> {
        let mistake = match parse::template(text, missing) {
            Ok(template) => return Some(template),
            Err(mistake) => mistake,
        };
        let place = span.inside(text, mistake.at.clone());
        let within = match place == span && text.contains('\n') {
            true => {
                let before = &text[..mistake.at.start];
                let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
                format!(" (line {}, column {column} of the template)", before.matches('\n').count() + 1)
            }
            false => String::new(),
        };
        let finding = diagnostics.error(place, format!("not a template: {}{within}", mistake.message));
        if let Some(help) = mistake.help {
            finding.help(help);
        }
        None
    }

    /// The names of the values that it asks for. [`render`](Self::render) asks for them by their place here.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// A place for it to work in.
    pub fn room(&self) -> Room {
        Room::new(self.patterns.iter().map(Pattern::captures_buffer).collect(), self.variables)
    }

    /// Appends what the template makes of these values. `room` must be of this template. After a failure the end of
    /// `out` is worth nothing. Past [`TEXT_BYTES_MAX`] the rest is left out, and `out` [says so](Buffer::is_cut).
    pub fn render<'d>(
        &self,
        field: &dyn Fn(usize) -> Option<&'d [u8]>,
        room: &mut Room,
        out: &mut Buffer,
    ) -> Result<(), Failed> {
        run::run(&self.nodes, &self.patterns, field, room, out)
    }
}
