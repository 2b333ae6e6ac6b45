//! Reading maps key by key: every key asked for is known, every other one is a mistake.

use super::{Node, Value};
use crate::diagnostic::{Diagnostics, did_you_mean};
use crate::span::Span;
use crate::units::{parse_bytes, parse_duration};
use std::time::Duration;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

/// What can be read from one node. Whoever returns `None` has reported why.
pub trait FromNode: Sized {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self>;
}

/// The keys of one map.
pub struct Fields<'n> {
    entries: &'n [(Node, Node)],
    span: Span,
    what: &'static str,
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// `what` names the map in messages: "a scrape config", "the `json` stage". Null counts as an empty map.
    pub fn new(node: &'n Node, what: &'static str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let entries: &[(Node, Node)] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => {
                diagnostics.error(node.span, format!("{what} must be a map, not {}", node.kind()));
                return None;
            }
        };
        Some(Fields { entries, span: node.span, what, known: Vec::new() })
    }

    /// The place of the map itself.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The node below a key, which thereby is known.
    pub fn node(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        self.entries.iter().find(|(k, _)| k.text() == Some(key)).map(|(_, v)| v)
    }

    /// The place of a key that is there.
    pub fn key_span(&self, key: &str) -> Option<Span> {
        self.entries.iter().find(|(k, _)| k.text() == Some(key)).map(|(k, _)| k.span)
    }

    /// A value that may be missing; null counts as missing.
    pub fn optional<T: FromNode>(&mut self, key: &'static str, diagnostics: &mut Diagnostics) -> Option<T> {
        self.node(key).filter(|node| !node.is_null()).and_then(|node| T::from_node(node, diagnostics))
    }

    /// A value with a default.
    pub fn or<T: FromNode>(&mut self, key: &'static str, default: T, diagnostics: &mut Diagnostics) -> T {
        self.optional(key, diagnostics).unwrap_or(default)
    }

    /// A value that must be there.
    pub fn required<T: FromNode>(&mut self, key: &'static str, diagnostics: &mut Diagnostics) -> Option<T> {
        match self.node(key) {
            Some(node) if !node.is_null() => T::from_node(node, diagnostics),
            found => {
                let span = found.map_or(self.span, |node| node.span);
                diagnostics.error(span, format!("{} needs `{key}`", self.what));
                None
            }
        }
    }

    /// A list that may be missing. An item that cannot be read is reported and left out, so that what is wrong with the
    /// others is reported too; a configuration with an error never runs.
    pub fn list<T: FromNode>(&mut self, key: &'static str, diagnostics: &mut Diagnostics) -> Vec<T> {
        match self.node(key) {
            Some(Node { value: Value::List(items), .. }) => {
                items.iter().filter_map(|item| T::from_node(item, diagnostics)).collect()
            }
            Some(node) if !node.is_null() => {
                wrong::<Vec<T>>(node, "a list", diagnostics);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Keys of Promtail's that change nothing here: named in a warning with the reason.
    pub fn ignored(&mut self, keys: &[&'static str], why: &str, diagnostics: &mut Diagnostics) {
        for key in keys {
            if self.node(key).is_some() {
                let span = self.key_span(key).unwrap_or(self.span);
                diagnostics.warning(span, format!("`{key}` has no effect here: {why}"));
            }
        }
    }

    /// Keys of Promtail's that would change results and that weir does not have.
    pub fn refused(&mut self, keys: &[&'static str], why: &str, diagnostics: &mut Diagnostics) {
        for key in keys {
            if self.node(key).is_some() {
                let span = self.key_span(key).unwrap_or(self.span);
                diagnostics.error(span, format!("`{key}` is not supported: {why}"));
            }
        }
    }

    /// Reports every key that nobody asked for. Call it last.
    pub fn finish(self, diagnostics: &mut Diagnostics) {
        for (key, _) in self.entries {
            let name = key.text().unwrap_or_default();
            if self.known.contains(&name) {
                continue;
            }
            let finding = diagnostics.error(key.span, format!("unknown key `{name}` in {}", self.what));
            match did_you_mean(name, self.known.iter().copied()) {
                Some(near) => finding.help(format!("did you mean `{near}`?")),
                None if self.known.is_empty() => finding.help("it takes no keys"),
                None => finding.help(format!("known keys: {}", self.known.join(", "))),
            };
        }
    }
}

fn wrong<T>(node: &Node, expected: &str, diagnostics: &mut Diagnostics) -> Option<T> {
    let found = match node.text() {
        Some(text) => format!("`{text}`"),
        None => node.kind().to_string(),
    };
    diagnostics.error(node.span, format!("expected {expected}, found {found}"));
    None
}

impl FromNode for String {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) => Some(scalar.text.clone()),
            _ => wrong(node, "a text", diagnostics),
        }
    }
}

impl FromNode for bool {
    /// YAML 1.1's words, as Promtail's reader takes them.
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.text() {
            Some("true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON") => Some(true),
            Some("false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF") => Some(false),
            _ => wrong(node, "true or false", diagnostics),
        }
    }
}

impl FromNode for u64 {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.text().and_then(|text| text.replace('_', "").parse().ok()) {
            Some(number) => Some(number),
            None => wrong(node, "a whole number, 0 or more", diagnostics),
        }
    }
}

impl FromNode for u16 {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.text().and_then(|text| text.parse().ok()) {
            Some(number) => Some(number),
            None => wrong(node, "a whole number from 0 to 65535", diagnostics),
        }
    }
}

impl FromNode for f64 {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let parsed = match node.text() {
            Some(".inf" | "+.inf" | ".Inf" | "+Inf") => Some(f64::INFINITY),
            Some("-.inf" | "-.Inf" | "-Inf") => Some(f64::NEG_INFINITY),
            text => text.and_then(|text| text.replace('_', "").parse().ok()),
        };
        match parsed {
            Some(number) => Some(number),
            None => wrong(node, "a number", diagnostics),
        }
    }
}

impl FromNode for Duration {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.text().and_then(parse_duration) {
            Some(duration) => Some(duration),
            None => wrong(node, "a duration such as `500ms`, `5m` or `1h30m`", diagnostics),
        }
    }
}

/// A size in bytes: `8kb`, `256KB` (units of 1024).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromNode for ByteSize {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.text().and_then(parse_bytes) {
            Some(bytes) => Some(ByteSize(bytes)),
            None => wrong(node, "a size such as `512`, `8kb` or `1MB`", diagnostics),
        }
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.value {
            // All items are read before any is given up, so that each mistake is reported.
            Value::List(items) => {
                let read: Vec<_> = items.iter().map(|item| T::from_node(item, diagnostics)).collect();
                read.into_iter().collect()
            }
            Value::Null => Some(Vec::new()),
            _ => wrong(node, "a list", diagnostics),
        }
    }
}

/// A word, or a list of words (Promtail's `source` of the drop stage).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words(pub Vec<String>);

impl FromNode for Words {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) => Some(Words(vec![scalar.text.clone()])),
            _ => Vec::from_node(node, diagnostics).map(Words),
        }
    }
}

impl<T: FromNode> FromNode for Spanned<T> {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        T::from_node(node, diagnostics).map(|value| Spanned { value, span: node.span })
    }
}

/// A map of names to texts in the order of the file; a null value is the empty text, by which Promtail's stages
/// mean "the same name".
impl FromNode for Vec<(Spanned<String>, Spanned<String>)> {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            return wrong(node, "a map of names", diagnostics);
        };
        let mut pairs = Vec::new();
        let mut whole = true;
        for (key, value) in entries {
            let name = Spanned { value: key.text().unwrap_or_default().to_string(), span: key.span };
            let text = match &value.value {
                Value::Null => Some(Spanned { value: String::new(), span: value.span }),
                _ => Spanned::<String>::from_node(value, diagnostics),
            };
            match text {
                Some(text) => pairs.push((name, text)),
                None => whole = false,
            }
        }
        whole.then_some(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn every_mistake_of_a_map_is_reported() {
        let text = "prot: 1\nport: many\non: y\n";
        let mut diagnostics = Diagnostics::new();
        let root = parse(text, &mut diagnostics).unwrap();
        let mut fields = Fields::new(&root, "the server block", &mut diagnostics).unwrap();
        assert_eq!(fields.optional::<u16>("port", &mut diagnostics), None);
        assert!(fields.or("on", false, &mut diagnostics));
        assert_eq!(fields.required::<String>("url", &mut diagnostics), None);
        fields.finish(&mut diagnostics);
        let report: String = diagnostics.sorted().iter().map(|d| d.render("f", text)).collect();
        assert!(report.contains("f:2:7: error: expected a whole number from 0 to 65535, found `many`"), "{report}");
        assert!(report.contains("unknown key `prot` in the server block"), "{report}");
        assert!(report.contains("did you mean `port`?"), "{report}");
        assert!(report.contains("the server block needs `url`"), "{report}");
    }
}
