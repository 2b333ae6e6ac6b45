//! Selectors: the part of LogQL that Promtail's `match` stage uses.
//!
//! `{app="web", level!~"debug|trace"} |= "error" !~ "time.*out"`: matchers on labels, all of which must hold, then
//! filters on the line, all of which must hold. A missing label reads as the empty text; a label's regular expression
//! must match the whole value, a line's may match anywhere. What else LogQL has (parsers, label filters, formatters)
//! is refused with its place: stages do that here.

mod parse;

use crate::diagnostic::Diagnostics;
use crate::pattern::Pattern;
use crate::span::Span;
use crate::words;
use memchr::memmem::Finder;

#[derive(Clone, Debug)]
pub struct Selector {
    /// At least one.
    pub matchers: Vec<Matcher>,
    pub filters: Vec<LineFilter>,
}

/// A condition on one label.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub name: String,
    pub op: MatchOp,
}

#[derive(Clone, Debug)]
pub enum MatchOp {
    /// `=`
    Equal(Vec<u8>),
    /// `!=`
    NotEqual(Vec<u8>),
    /// `=~`, the whole value
    Regex(Pattern),
    /// `!~`, the whole value
    NotRegex(Pattern),
}

/// A condition on the line.
#[derive(Clone, Debug)]
pub enum LineFilter {
    /// `|=`
    Contains(Finder<'static>),
    /// `!=`
    Excludes(Finder<'static>),
    /// `|~`, anywhere
    Regex(Pattern),
    /// `!~`, anywhere
    NotRegex(Pattern),
}

impl Selector {
    /// Reads a selector that stands at `span` of the configuration; mistakes are reported at their column where the
    /// text stands in the file as it is read.
    pub fn parse(text: &str, span: Span, diagnostics: &mut Diagnostics) -> Option<Selector> {
        match parse::selector(text) {
            Ok(selector) => Some(selector),
            Err(mistake) => {
                diagnostics
                    .error(span.inside(text, mistake.at..mistake.at), format!("not a selector: {}", mistake.message))
                    .help(mistake.help);
                None
            }
        }
    }

    /// Whether an entry is selected; `label` gives a label's value, the empty text if there is none. A stage that
    /// knows its labels by index asks [`Matcher::matches`] and [`LineFilter::matches`] itself.
    pub fn matches<'v>(&self, label: impl Fn(&str) -> &'v [u8], line: &[u8]) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(label(&matcher.name))) && self.matches_line(line)
    }

    /// Whether all line filters hold.
    pub fn matches_line(&self, line: &[u8]) -> bool {
        self.filters.iter().all(|filter| filter.matches(line))
    }
}

impl Matcher {
    /// Whether the label's value, empty if there is none, fulfils the condition.
    pub fn matches(&self, value: &[u8]) -> bool {
        match &self.op {
            MatchOp::Equal(expected) => words::is_same(value, expected),
            MatchOp::NotEqual(other) => !words::is_same(value, other),
            MatchOp::Regex(pattern) => pattern.is_match(value),
            MatchOp::NotRegex(pattern) => !pattern.is_match(value),
        }
    }
}

impl LineFilter {
    pub fn matches(&self, line: &[u8]) -> bool {
        match self {
            LineFilter::Contains(needle) => needle.find(line).is_some(),
            LineFilter::Excludes(needle) => needle.find(line).is_none(),
            LineFilter::Regex(pattern) => pattern.is_match(line),
            LineFilter::NotRegex(pattern) => !pattern.is_match(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, app: &'static str, line: &[u8]) -> bool {
        let mut diagnostics = Diagnostics::new();
        let selector = Selector::parse(selector, Span::FILE, &mut diagnostics);
        let selector = selector.unwrap_or_else(|| panic!("{:?}", diagnostics.sorted()));
        selector.matches(|name| if name == "app" { app.as_bytes() } else { b"" }, line)
    }

    #[test]
    fn label_matchers_are_anchored_and_a_missing_label_is_empty() {
        for (selector, yes, no) in [
            (r#"{app="web"}"#, "web", "webs"),
            (r#"{app!="web"}"#, "webs", "web"),
            (r#"{app=~"w.b|x"}"#, "web", "webs"),
            (r#"{app!~"w.*"}"#, "x", "web"),
            (r#"{app="web",env=""}"#, "web", ""),
            (r#"{app=~".+",env!="prod"}"#, "web", ""),
            ("{app=~`\\w+`}", "web", "we-b"),
            (r#"{app="w\u0065b"}"#, "web", "w\\u0065b"),
            ("{ app = \"web\" } # all of it", "web", "x"),
        ] {
            assert!(matches(selector, yes, b""), "{selector} must match {yes:?}");
            assert!(!matches(selector, no, b""), "{selector} must not match {no:?}");
        }
        assert!(!matches(r#"{env=~".+"}"#, "x", b"") && matches(r#"{env!~".+"}"#, "x", b""));
    }

    #[test]
    fn line_filters_look_anywhere_and_all_must_hold() {
        for (filters, yes, no) in [
            (r#"|= "err""#, "an error", "Error"),
            (r#"!= "err""#, "Error", "an error"),
            (r#"|~ "(?i)ERR\\w""#, "an error", "an err"),
            (r#"!~ "^an""#, "man", "an error"),
            (r#"|= "a" != "b" |~ "c$" !~ "d""#, "ac", "abc"),
            ("|~ `\\d{3}`", "x404", "x40"),
            (r#"|= """#, "", "-"),
        ] {
            assert!(matches(&format!(r#"{{app="a"}} {filters}"#), "a", yes.as_bytes()), "{filters} must match {yes:?}");
            if no != "-" {
                assert!(!matches(&format!(r#"{{app="a"}}{filters}"#), "a", no.as_bytes()), "{filters}, {no:?}");
            }
        }
        assert!(matches(r#"{app="a"} |= "\xff" |~ "^.b$""#, "a", b"\xffb"));
    }
}
