//! Environment variables in a configuration, as Promtail's `-config.expand-env` puts them in.
//!
//! Promtail runs the file's text through drone/envsubst v1.0.3 before it reads any YAML, comments included; so does
//! this, with that library's rules (https://pkg.go.dev/github.com/drone/envsubst, and what its parser makes of them):
//!
//! - Only `${…}` is an expression. `$VAR` and `$1` stay as they are; `$${1}` is `${1}` and `$$` is `$`.
//! - Everywhere `\\` becomes `\` and `\/` becomes `/` (grafana/loki#3635): a regular expression needs its backslashes
//!   doubled under this flag.
//! - `${VAR}`, `${#VAR}` (bytes), `${VAR^}`, `^^`, `,`, `,,`, `${VAR:offset}`, `${VAR:offset:length}` (bytes),
//!   `${VAR#glob}`, `##`, `%`, `%%`, `${VAR/text/new}`, `//`, `/#`, `/%`.
//! - `${VAR:-default}`, `:=` and `=` give the default if the variable is unset or empty; `:?` and `:+` do the same
//!   there, whatever a shell does. `${VAR-default}` is an error. A default may hold expressions.
//! - `${VAR:default}` is an offset that is no number, which leaves the value: the default is never used.
//!
//! An unset variable is the empty text, with a warning. Where Promtail would panic (an offset behind the end together
//! with a length, a negative length) the result is empty.

mod operators;

use crate::diagnostic::Diagnostics;
use crate::span::Span;

/// Malformed expressions that are reported; the text behind them is not looked at.
const MISTAKES_MAX: usize = 100;
/// Expressions inside expressions, at most.
const DEPTH_MAX: usize = 32;

/// The text with all expressions put in. A malformed expression is reported and left out. Places are those of `text`;
/// what comes later counts lines and columns of the result.
pub fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>, diagnostics: &mut Diagnostics) -> String {
    let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut expander = Expander { text, at: 0, line_starts, variable, diagnostics };
    let mut out = String::with_capacity(text.len());
    let mut mistakes = 0;
    while let Some(c) = expander.peek().filter(|_| mistakes < MISTAKES_MAX) {
        let start = expander.at;
        if let Some(escaped) = expander.escape() {
            out.push(escaped);
        } else if expander.eat("${") {
            match expander.expression(0) {
                Ok(value) => out.push_str(&value),
                Err((message, help)) => {
                    mistakes += 1;
                    let span = expander.span(start, expander.at);
                    expander.diagnostics.error(span, message).help(help);
                }
            }
        } else {
            out.push(c);
            expander.at += c.len_utf8();
        }
    }
    out
}

struct Expander<'t> {
    text: &'t str,
    at: usize,
    /// Where each line of the text begins.
    line_starts: Vec<usize>,
    variable: &'t dyn Fn(&str) -> Option<String>,
    diagnostics: &'t mut Diagnostics,
}

/// Why an expression is none, and what to write instead.
type Mistake = (String, String);

fn mistake<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Mistake> {
    Err((message.into(), help.into()))
}

fn unclosed<T>() -> Result<T, Mistake> {
    mistake("`${` begins an expression that has no end", "close it with `}`, or write `$${` for a literal `${`")
}

impl<'t> Expander<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// `$$`, `\\` or `\/`: the second character.
    fn escape(&mut self) -> Option<char> {
        let escaped = ["$$", "\\\\", "\\/"].into_iter().find(|pair| self.rest().starts_with(pair))?;
        self.at += escaped.len();
        escaped.chars().nth(1)
    }

    /// As much as a condition lets through, up to the next expression.
    fn take(&mut self, accept: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        let end = rest[..end].find("${").unwrap_or(end);
        self.at += end;
        &rest[..end]
    }

    fn close(&mut self) -> Result<(), Mistake> {
        if self.eat("}") { Ok(()) } else { unclosed() }
    }

    /// Behind `${`, up to and with its `}`.
    fn expression(&mut self, depth: usize) -> Result<String, Mistake> {
        if depth > DEPTH_MAX {
            return mistake(format!("more than {DEPTH_MAX} expressions inside one another"), "use fewer");
        }
        let start = self.at;
        let length = self.eat("#");
        let name = self.take(|c| c.is_alphanumeric() || c == '_');
        if name.is_empty() {
            let help = "write `$${` for a literal `${`";
            return mistake("`${` is not followed by a variable's name", help);
        }
        if length {
            self.close()?;
            return Ok(self.value(name, start).len().to_string());
        }
        match self.peek() {
            Some('}') => {
                self.at += 1;
                Ok(self.value(name, start))
            }
            Some('=') => self.default(name, "=", depth),
            Some(':') => match [":-", ":=", ":?", ":+"].into_iter().find(|op| self.rest().starts_with(op)) {
                Some(operator) => self.default(name, operator, depth),
                None => self.substring(name, start, depth),
            },
            Some('^' | ',') => self.casing(name, start),
            Some('#' | '%') => self.strip(name, start, depth),
            Some('/') => self.replace(name, start, depth),
            Some('-' | '?' | '+') => {
                let help = format!("write `${{{name}:-default}}`");
                mistake(format!("`${{{name}{}…}}` is no expression that Promtail knows", &self.rest()[..1]), help)
            }
            None => unclosed(),
            Some(other) => {
                let help = "write `$${` for a literal `${`";
                mistake(format!("`{other}` cannot follow the name `{name}` in an expression"), help)
            }
        }
    }

    /// The value of a variable; an unset one is empty, with a warning where it is not only talked about.
    fn value(&mut self, name: &str, start: usize) -> String {
        (self.variable)(name).unwrap_or_else(|| {
            if self.text[..start].rsplit('\n').next().is_some_and(|line| line.trim_start().starts_with('#')) {
                return String::new();
            }
            let span = self.span(start - 2, self.at);
            let number = name.bytes().all(|b| b.is_ascii_digit());
            let finding = self.diagnostics.warning(span, format!("`{name}` is not set in the environment: empty here"));
            finding.help(match number {
                true => format!("write `$${{{name}}}` for the group of a regular expression"),
                false => format!("set it, or write `${{{name}:-default}}`"),
            });
            String::new()
        })
    }

    fn default(&mut self, name: &str, operator: &str, depth: usize) -> Result<String, Mistake> {
        if matches!(operator, ":?" | ":+") {
            let span = self.span(self.at, self.at + operator.len());
            self.diagnostics
                .warning(span, format!("`{operator}` gives a default here, as in Promtail, unlike in a shell"))
                .help(format!("write `${{{name}:-…}}`"));
        }
        self.at += operator.len();
        let mut default = String::new();
        while !self.eat("}") {
            if self.eat("${") {
                default.push_str(&self.expression(depth + 1)?);
                continue;
            }
            match self.take(|c| c != '}') {
                "" => return unclosed(),
                text => default.push_str(text),
            }
        }
        Ok((self.variable)(name).filter(|value| !value.is_empty()).unwrap_or(default))
    }

    /// One argument: a text or an expression, not both.
    fn argument(&mut self, accept: impl Fn(char) -> bool, depth: usize) -> Result<String, Mistake> {
        if self.eat("${") {
            return self.expression(depth + 1);
        }
        match self.take(accept) {
            "" if self.rest().is_empty() => unclosed(),
            "" => mistake("an expression lacks its argument", "write `$${` for a literal `${`"),
            text => Ok(text.to_string()),
        }
    }

    fn substring(&mut self, name: &str, start: usize, depth: usize) -> Result<String, Mistake> {
        self.at += 1;
        let offset = self.argument(|c| c != ':' && c != '}', depth)?;
        let length = match self.take(|c| c == ':') {
            "" => None,
            _ => Some(self.argument(|c| c != '}', depth)?),
        };
        self.close()?;
        let span = self.span(start - 2, self.at);
        let value = self.value(name, start);
        let (Ok(offset), Ok(length)) = (offset.parse::<i64>(), length.map(|l| l.parse::<i64>()).transpose()) else {
            self.diagnostics
                .warning(span, format!("`{offset}` is no offset: this is the value of `{name}` alone"))
                .help(format!("for a default write `${{{name}:-{offset}}}`"));
            return Ok(value);
        };
        Ok(operators::substring(&value, offset, length))
    }

    fn casing(&mut self, name: &str, start: usize) -> Result<String, Mistake> {
        let operator = self.take(|c| c == '^' || c == ',');
        self.close()?;
        let value = self.value(name, start);
        operators::casing(&value, operator)
            .ok_or_else(|| (format!("`{operator}` is no operator"), "write `^`, `^^`, `,` or `,,`".into()))
    }

    /// `#` and `%` take the shortest match away, `##` and `%%` the longest.
    fn strip(&mut self, name: &str, start: usize, depth: usize) -> Result<String, Mistake> {
        let prefix = self.rest().starts_with('#');
        self.at += 1;
        let longest = self.eat(if prefix { "#" } else { "%" });
        let glob = self.argument(|c| c != '}', depth)?;
        self.close()?;
        Ok(operators::strip(&self.value(name, start), &glob, prefix, longest))
    }

    fn replace(&mut self, name: &str, start: usize, depth: usize) -> Result<String, Mistake> {
        let operator = ["//", "/#", "/%", "/"].into_iter().find(|op| self.rest().starts_with(op)).unwrap_or("/");
        self.at += operator.len();
        let old = self.escaped_argument('/', depth)?;
        if self.take(|c| c == '/').is_empty() {
            return mistake("a replacement lacks its second `/`", format!("write `${{{name}/old/new}}`"));
        }
        let new = if self.rest().starts_with('}') { None } else { Some(self.escaped_argument('}', depth)?) };
        self.close()?;
        Ok(operators::replace(&self.value(name, start), operator, &old, new.as_deref()))
    }

    /// An argument of a replacement, in which `\/`, `\\` and `$$` are escapes.
    fn escaped_argument(&mut self, end: char, depth: usize) -> Result<String, Mistake> {
        if self.eat("${") {
            return self.expression(depth + 1);
        }
        let mut out = String::new();
        while let Some(c) = self.peek() {
            if let Some(escaped) = self.escape() {
                out.push(escaped);
            } else if c == end || self.rest().starts_with("${") {
                break;
            } else {
                out.push(c);
                self.at += c.len_utf8();
            }
        }
        match out.as_str() {
            "" => mistake("an expression lacks its argument", "write `${VAR/old/new}`"),
            _ => Ok(out),
        }
    }

    /// The place of some bytes of the text; of several lines, the first.
    fn span(&self, start: usize, end: usize) -> Span {
        let line = self.line_starts.partition_point(|line_start| *line_start <= start);
        let column = self.text[self.line_starts[line - 1]..start].chars().count() + 1;
        let width = self.text[start..end.max(start)].lines().next().unwrap_or_default().chars().count();
        Span::new(line as u32, column as u32, width as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn environment(name: &str) -> Option<String> {
        Some(match name {
            "VAR" => "AbcDEF".into(),
            "PATH_NAME" => "/srv/app.tar.gz".into(),
            "EMPTY" => String::new(),
            "É" => "é".into(),
            _ => return None,
        })
    }

    fn run(text: &str) -> (String, String) {
        let mut diagnostics = Diagnostics::new();
        let out = expand(text, &environment, &mut diagnostics);
        (out, diagnostics.sorted().iter().map(|d| d.render("f", text)).collect())
    }

    #[test]
    fn expressions_give_what_envsubst_gives() {
        for (text, expected) in [
            ("a ${VAR} $VAR $1 $ c", "a AbcDEF $VAR $1 $ c"),
            ("$${1} $$1 $$${VAR} $$$$", "${1} $1 $AbcDEF $$"),
            (r"\\d \d a\/b \\\\", r"\d \d a/b \\"),
            ("${VAR:-x}${UNSET:-x}${EMPTY:-x}", "AbcDEFxx"),
            ("${UNSET=x}${UNSET:=x}${EMPTY=x}${UNSET:-}", "xxx"),
            ("${UNSET:-a${VAR^^}b$$}", "aABCDEFb$$"),
            ("${UNSET:-${OTHER:-${VAR}}}", "AbcDEF"),
            ("${UNSET:-http://x:1/y}", "http://x:1/y"),
            ("${#VAR}${#É}", "62"),
            ("${VAR^}${VAR^^}${VAR,}${VAR,,}", "AbcDEFABCDEFabcDEFabcdef"),
            ("${VAR:2}|${VAR:1:3}|${VAR:9}|${VAR:9:2}|${VAR:4:9}|${VAR:0:-2}", "cDEF|bcD|||EF|"),
            ("${PATH_NAME#*/}|${PATH_NAME##*/}", "srv/app.tar.gz|app.tar.gz"),
            ("${PATH_NAME%.*}|${PATH_NAME%%.*}", "/srv/app.tar|/srv/app"),
            ("${PATH_NAME#x}|${PATH_NAME##?[r-t]}|${PATH_NAME%[}", "/srv/app.tar.gz|rv/app.tar.gz|/srv/app.tar.gz"),
            ("${PATH_NAME/a/b}|${PATH_NAME//a/b}", "/srv/bpp.tar.gz|/srv/bpp.tbr.gz"),
            (r"${PATH_NAME/\/srv\//-}|${PATH_NAME/.tar/}", "-app.tar.gz|/srv/app.gz"),
            ("${VAR/#Ab/x}|${VAR/#b/x}|${VAR/%EF/x}|${VAR/%E/x}|${VAR/#A/}", "xcDEF|AbcDEF|AbcDx|AbcDEF|AbcDEF"),
            ("${VAR/${VAR}/x}", "x"),
        ] {
            assert_eq!(run(text), (expected.to_string(), String::new()), "{text}");
        }
    }

    #[test]
    fn a_line_that_is_a_comment_is_not_warned_of() {
        assert_eq!(run("a: b\n  # url: ${UNSET}/${VAR}\n"), ("a: b\n  # url: /AbcDEF\n".into(), String::new()));
        assert!(run("a: ${UNSET} # ${VAR}").1.contains("`UNSET` is not set"));
    }

    #[test]
    fn what_may_surprise_is_warned_of() {
        for (text, out, warning) in [
            ("x: é${UNSET}", "x: é", "f:1:5: warning: `UNSET` is not set in the environment"),
            ("a\nb: ${1}", "a\nb: ", "f:2:4: warning: `1` is not set"),
            ("a\nb: ${1}", "a\nb: ", "help: write `$${1}` for the group"),
            ("${VAR:x}", "AbcDEF", "f:1:1: warning: `x` is no offset"),
            ("${UNSET:80a}", "", "for a default write `${UNSET:-80a}`"),
            ("${UNSET:?x}", "x", "warning: `:?` gives a default here"),
        ] {
            let (expanded, report) = run(text);
            assert_eq!(expanded, out, "{text}");
            assert!(report.contains(warning) && !report.contains("error"), "{text}: {report}");
        }
    }

    #[test]
    fn a_malformed_expression_is_an_error_at_its_place() {
        for (text, error) in [
            ("a: ${VAR-x}", "f:1:4: error: `${VAR-…}` is no expression"),
            ("a: ${VAR-x}", "help: write `${VAR:-default}`"),
            ("a\n ${VAR", "f:2:2: error: `${` begins an expression that has no end"),
            ("${}", "f:1:1: error: `${` is not followed by a variable's name"),
            ("${ VAR }", "is not followed by a variable's name"),
            ("${VAR:-x", "has no end"),
            ("${VAR.x}", "`.` cannot follow the name `VAR`"),
            ("${VAR#}", "lacks its argument"),
            ("${VAR^^^}", "`^^^` is no operator"),
            ("${VAR/a}", "lacks its second `/`"),
        ] {
            let (_, report) = run(text);
            assert!(report.contains(error), "{text}: {report}");
        }
        let deep = "${U:-".repeat(100_000);
        assert!(run(&deep).1.contains("inside one another"));
    }

    proptest! {
        #[test]
        fn text_without_dollars_and_backslashes_stays(text in r"[^$\\]{0,40}") {
            prop_assert_eq!(run(&text), (text, String::new()));
        }

        #[test]
        fn any_text_is_expanded_or_refused(text in r"[${}VARé:#%/^,=*\[\]\\\-x1\n]{0,40}") {
            run(&text);
        }
    }
}
