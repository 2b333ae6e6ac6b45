//! YAML as a tree that knows where everything stands.
//!
//! The configuration is read from this tree and not by serde, because a deserializer stops at the first mistake and
//! weir reports all of them at once (docs/adr/0002). Scalars stay text until someone says what they must be, so the
//! booleans of YAML 1.1 that Promtail's reader knows (`y`, `on`, …) are booleans only where a boolean is expected.

mod fields;

pub use fields::{ByteSize, Fields, FromNode, Spanned, Words};

use crate::diagnostic::Diagnostics;
use crate::span::Span;
use saphyr_parser::{Event, Parser, ScalarStyle, Span as Mark};
use std::collections::HashMap;

/// Nodes that one file may hold, aliases expanded: a bound against `*a` bombs.
const NODES_MAX: usize = 200_000;
/// Levels that one file may nest.
const DEPTH_MAX: usize = 64;

#[derive(Clone, Debug)]
pub struct Node {
    pub span: Span,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing after the colon, `~` or `null`.
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the file; keys are unique.
    Map(Vec<(Node, Node)>),
}

#[derive(Clone, Debug)]
pub struct Scalar {
    pub text: String,
    /// Written without quotes: only then may it read as a number or a boolean.
    pub plain: bool,
}

impl Node {
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The text of a scalar as written; nothing for lists, maps and null.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The value below a key of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.text() == Some(key)).map(|(_, v)| v),
            _ => None,
        }
    }

    /// What kind of thing this is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a scalar",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Reads one YAML document. A syntax error is reported and gives nothing; an empty file gives null.
pub fn parse(text: &str, diagnostics: &mut Diagnostics) -> Option<Node> {
    let parser = Parser::new_from_str(text);
    let mut builder = Builder { text, parser, anchors: HashMap::new(), nodes: 0, diagnostics };
    let root = builder.document()?;
    (!builder.diagnostics.has_errors()).then_some(root)
}

struct Builder<'i, 'd> {
    text: &'i str,
    parser: Parser<'i, saphyr_parser::StrInput<'i>>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    diagnostics: &'d mut Diagnostics,
}

impl<'i> Builder<'i, '_> {
    fn next(&mut self) -> Option<(Event<'i>, Mark)> {
        match self.parser.next_event()? {
            Ok(event) => Some(event),
            Err(error) => {
                let at = error.marker();
                let span = Span::new(at.line() as u32, at.col() as u32 + 1, 1);
                self.diagnostics.error(span, format!("not valid YAML: {}", error.info()));
                None
            }
        }
    }

    /// The parser's end of a quoted scalar lies behind the spaces and the comment that follow it.
    fn quoted_place(&self, mark: Mark) -> Span {
        let span = place(mark);
        let line = self.text.lines().nth(mark.start.line() - 1).unwrap_or_default();
        let mut rest = line.chars().skip(mark.start.col());
        let Some(quote) = rest.next() else { return span };
        let mut escaped = false;
        let inside = rest.position(|c| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && quote == '"' && !escaped;
            ends
        });
        inside.map_or(span, |inside| Span::new(span.line, span.column, inside as u32 + 2))
    }

    fn document(&mut self) -> Option<Node> {
        let mut root = Node { span: Span::FILE, value: Value::Null };
        let mut documents = 0;
        loop {
            let (event, mark) = self.next()?;
            match event {
                Event::StreamEnd => return Some(root),
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        // Promtail stops here, too, and does not look at what follows.
                        self.diagnostics
                            .warning(place(mark), "a second YAML document: only the first is read, by Promtail too")
                            .help("one file holds one configuration: remove the `---`, or what follows it");
                        return Some(root);
                    }
                }
                event => root = self.node(event, mark, 0)?,
            }
        }
    }

    fn node(&mut self, event: Event<'i>, mark: Mark, depth: usize) -> Option<Node> {
        let span = match &event {
            Event::Scalar(_, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted, ..) => self.quoted_place(mark),
            _ => place(mark),
        };
        self.nodes += 1;
        if self.nodes > NODES_MAX || depth > DEPTH_MAX {
            self.diagnostics.error(span, format!("more than {NODES_MAX} values or {DEPTH_MAX} levels"));
            return None;
        }
        let before = self.nodes;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null { Value::Null } else { Value::Scalar(Scalar { text: text.into_owned(), plain }) };
                (anchor, value)
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, mark) => items.push(self.node(event, mark, depth + 1)?),
                    }
                }
                (anchor, Value::List(items))
            }
            Event::MappingStart(anchor, _) => (anchor, self.map(depth)?),
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
                    // The parser knows every anchor that stands before, so this one is not at its end yet.
                    self.diagnostics.error(span, "an alias inside the value that it names");
                    return None;
                };
                self.nodes += size;
                return Some(Node { span, value: node.value });
            }
            other => {
                self.diagnostics.error(span, format!("not valid YAML: unexpected {other:?}"));
                return None;
            }
        };
        let node = Node { span, value };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before + 1));
        }
        Some(node)
    }

    fn map(&mut self, depth: usize) -> Option<Value> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let mut merged: Vec<(Node, Node)> = Vec::new();
        loop {
            let (event, mark) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.node(event, mark, depth + 1)?;
            let (event, mark) = self.next()?;
            let value = self.node(event, mark, depth + 1)?;
            // A null key is a word to its author: `~: x` makes no sense, but `null: x` may.
            let key = match key.value {
                Value::Null => Node { value: Value::Scalar(Scalar { text: "null".into(), plain: true }), ..key },
                _ => key,
            };
            match key.text() {
                Some("<<") => match value.value {
                    Value::Map(more) => merged.extend(more),
                    Value::List(maps) => merged.extend(maps.into_iter().flat_map(|m| match m.value {
                        Value::Map(more) => more,
                        _ => Vec::new(),
                    })),
                    _ => {
                        self.diagnostics.error(value.span, "`<<` merges a map or a list of maps");
                    }
                },
                Some(name) if entries.iter().any(|(k, _)| k.text() == Some(name)) => {
                    self.diagnostics.error(key.span, format!("the key `{name}` stands twice in one map"));
                }
                Some(_) => entries.push((key, value)),
                None => {
                    self.diagnostics.error(key.span, "a map's key must be a word");
                }
            }
        }
        for (key, value) in merged {
            if !entries.iter().any(|(k, _)| k.text() == key.text()) {
                entries.push((key, value));
            }
        }
        Some(Value::Map(entries))
    }
}

fn place(mark: Mark) -> Span {
    let width = if mark.start.line() == mark.end.line() { mark.end.col().saturating_sub(mark.start.col()) } else { 1 };
    Span::new(mark.start.line() as u32, mark.start.col() as u32 + 1, width as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        let mut diagnostics = Diagnostics::new();
        let node = parse(text, &mut diagnostics);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        node.expect("a document")
    }

    fn complaint(text: &str) -> String {
        let mut diagnostics = Diagnostics::new();
        parse(text, &mut diagnostics);
        diagnostics.sorted().iter().map(|d| d.render("f", text)).collect()
    }

    #[test]
    fn places_are_those_of_the_file() {
        let root = tree("a: 1\nb:\n  - x\n  - 'y z'\n");
        let list = root.get("b").unwrap();
        let Value::List(items) = &list.value else { panic!("{list:?}") };
        assert_eq!(items[1].span, Span::new(4, 5, 5));
        assert_eq!(items[1].text(), Some("y z"));
        let root = tree("a: \"x \\\" y\" # a comment\n");
        assert_eq!(root.get("a").map(|a| a.span), Some(Span::new(1, 4, 8)));
    }

    #[test]
    fn anchors_and_merge_keys_work_as_in_yaml_1_1() {
        let root = tree("x: &d {a: 1, b: 2}\ny:\n  <<: *d\n  b: 3\n");
        let y = root.get("y").unwrap();
        assert_eq!((y.get("a").unwrap().text(), y.get("b").unwrap().text()), (Some("1"), Some("3")));
    }

    /// Promtail reads as far as the second `---`, whatever comes then.
    #[test]
    fn of_several_documents_the_first_is_read_with_a_warning() {
        let text = "---\na: 1\n---\na: [\n";
        assert!(complaint(text).starts_with("f:3:1: warning: a second YAML document: only the first is read"));
        let root = parse(text, &mut Diagnostics::new()).expect("the first one");
        assert_eq!(root.get("a").and_then(Node::text), Some("1"));
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
        for i in 0..8 {
            let (from, to) = ((b'a' + i) as char, (b'b' + i) as char);
            text += &format!("{to}: &{to} [*{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}]\n");
        }
        assert!(complaint(&text).contains("more than 200000 values"));
    }

    #[test]
    fn an_alias_inside_its_own_value_is_refused() {
        assert!(complaint("a: &x [b, *x]\n").starts_with("f:1:11: error: an alias inside the value that it names"));
    }

    #[test]
    fn syntax_errors_and_repeated_keys_have_a_place() {
        assert!(complaint("a: [1, 2\n").starts_with("f:"));
        assert!(complaint("a: 1\na: 2\n").starts_with("f:2:1: error: the key `a` stands twice"));
    }
}
