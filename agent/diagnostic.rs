//! What is wrong with a configuration, where, and what to write instead.

use crate::span::Span;
use std::fmt::{self, Write as _};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration runs, but not quite as its author may think.
    Warning,
    /// The configuration does not run.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One finding: a sentence, its place, and a line that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub span: Span,
    pub message: String,
    pub help: Option<String>,
}

/// All findings of one file. Collecting never stops at the first: an operator fixes a file in one go.
#[derive(Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    pub fn new() -> Self {
        Diagnostics::default()
    }

    pub fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, span, message.into())
    }

    pub fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, span, message.into())
    }

    fn push(&mut self, severity: Severity, span: Span, message: String) -> &mut Diagnostic {
        self.list.push(Diagnostic { severity, span, message, help: None });
        self.list.last_mut().expect("just pushed")
    }

    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn errors(&self) -> usize {
        self.list.iter().filter(|d| d.severity == Severity::Error).count()
    }

    pub fn warnings(&self) -> usize {
        self.list.len() - self.errors()
    }

    /// In the order of their places, so that the report reads like the file.
    pub fn sorted(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|d| d.span);
        self.list
    }

    pub fn extend(&mut self, other: Diagnostics) {
        self.list.extend(other.list);
    }
}

impl Diagnostic {
    /// Adds the line that says what to write instead.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// The finding as a person reads it: the place, the line of the file, a pointer below it, the help.
    ///
    /// ```text
    /// promtail.yaml:12:7: error: unknown key `pipline_stages` in a scrape config
    ///    12 |     pipline_stages:
    ///       |     ^^^^^^^^^^^^^^ help: did you mean `pipeline_stages`?
    /// ```
    pub fn render(&self, file: &str, text: &str) -> String {
        let mut out = String::new();
        let Span { line, column, width } = self.span;
        if line == 0 {
            let _ = writeln!(out, "{file}: {}: {}", self.severity, self.message);
            if let Some(help) = &self.help {
                let _ = writeln!(out, "       = help: {help}");
            }
            return out;
        }
        let _ = writeln!(out, "{file}:{line}:{column}: {}: {}", self.severity, self.message);
        let source = text.lines().nth(line as usize - 1).unwrap_or("");
        let _ = writeln!(out, "{line:>5} | {}", source.trim_end());
        let indent: String =
            source.chars().take(column as usize - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let room = source.chars().count().saturating_sub(column as usize - 1).max(1);
        let pointer = "^".repeat((width as usize).clamp(1, room));
        let help = self.help.as_ref().map(|h| format!(" help: {h}")).unwrap_or_default();
        let _ = writeln!(out, "      | {indent}{pointer}{help}");
        out
    }
}

/// The known name nearest to a mistyped one, when it is near enough to be meant.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .filter(|(distance, k)| *distance <= (k.len().max(name.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_points_at_its_place() {
        let mut all = Diagnostics::new();
        all.error(Span::new(2, 3, 4), "no such thing").help("write `name`");
        let text = "a: 1\n  nmae: x\n";
        assert_eq!(
            all.sorted()[0].render("f.yaml", text),
            "f.yaml:2:3: error: no such thing\n    2 |   nmae: x\n      |   ^^^^ help: write `name`\n"
        );
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        assert_eq!(did_you_mean("pipline_stages", ["pipeline_stages", "job_name"]), Some("pipeline_stages"));
        assert_eq!(did_you_mean("kafka", ["journal", "syslog"]), None);
    }
}
