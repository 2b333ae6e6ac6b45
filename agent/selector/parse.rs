//! The grammar of selectors, by hand: `{` matcher { `,` matcher } `}` { filter }.

use super::{LineFilter, MatchOp, Matcher, Selector};
use crate::pattern::{Anchoring, Pattern};
use memchr::memmem::Finder;

const EXAMPLE: &str = r#"write it like `{app="web", level!="debug"} |= "error"`"#;

pub(super) struct Mistake {
    /// Byte of the text.
    pub at: usize,
    pub message: String,
    pub help: String,
}

type Parsed<T> = Result<T, Mistake>;

fn mistake<T>(at: usize, message: impl Into<String>, help: impl Into<String>) -> Parsed<T> {
    Err(Mistake { at, message: message.into(), help: help.into() })
}

pub(super) fn selector(text: &str) -> Parsed<Selector> {
    let mut cursor = Cursor { text, at: 0 };
    let matchers = cursor.matchers()?;
    let mut filters = Vec::new();
    while !cursor.at_end() {
        filters.push(cursor.filter()?);
    }
    Ok(Selector { matchers, filters })
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Past white space and comments, which run from `#` to the end of the line.
    fn skip_space(&mut self) {
        loop {
            self.at = self.text.len() - self.rest().trim_start().len();
            match self.rest().starts_with('#') {
                true => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                false => return,
            }
        }
    }

    fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest().is_empty()
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// What stands here, for messages.
    fn found(&self) -> String {
        match self.rest().split_whitespace().next() {
            Some(word) => format!("`{}`", word.chars().take(20).collect::<String>()),
            None => "its end".into(),
        }
    }

    fn matchers(&mut self) -> Parsed<Vec<Matcher>> {
        if !self.eat("{") {
            return mistake(self.at, format!("it begins with `{{`, not {}", self.found()), EXAMPLE);
        }
        let mut matchers = Vec::new();
        loop {
            matchers.push(self.matcher()?);
            if self.eat("}") {
                return Ok(matchers);
            }
            if !self.eat(",") {
                return mistake(self.at, format!("expected `,` or `}}`, found {}", self.found()), EXAMPLE);
            }
        }
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        self.skip_space();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = self.rest().find(|c| !word(c)).unwrap_or(self.rest().len());
        let name = &self.rest()[..end];
        if !crate::labels::is_label_name(name) {
            return mistake(self.at, format!("expected a label's name, found {}", self.found()), EXAMPLE);
        }
        self.at += end;
        let Some(operator) = ["=~", "!~", "!=", "="].into_iter().find(|operator| self.eat(operator)) else {
            let help = "operators on labels are `=`, `!=`, `=~` and `!~`";
            return mistake(self.at, format!("expected an operator behind `{name}`, found {}", self.found()), help);
        };
        let (at, value) = self.string()?;
        let op = match operator {
            "=" => MatchOp::Equal(value),
            "!=" => MatchOp::NotEqual(value),
            "=~" => MatchOp::Regex(pattern(at, value, Anchoring::Whole)?),
            _ => MatchOp::NotRegex(pattern(at, value, Anchoring::Whole)?),
        };
        Ok(Matcher { name: name.to_string(), op })
    }

    fn filter(&mut self) -> Parsed<LineFilter> {
        let start = self.at;
        let Some(operator) = ["|=", "!=", "|~", "!~"].into_iter().find(|operator| self.eat(operator)) else {
            let (message, help) = match self.rest().starts_with('|') {
                true => ("of LogQL's pipeline, `match` has the line filters only", "parse and filter in stages"),
                false => ("expected a line filter", "line filters are `|=`, `!=`, `|~` and `!~`"),
            };
            return mistake(start, format!("{message}, found {}", self.found()), help);
        };
        let (at, value) = self.string()?;
        self.skip_space();
        if self.rest().split_whitespace().next() == Some("or") {
            return mistake(self.at, "`or` between line filters", "write one regular expression: `|~ \"a|b\"`");
        }
        Ok(match operator {
            "|=" => LineFilter::Contains(Finder::new(&value).into_owned()),
            "!=" => LineFilter::Excludes(Finder::new(&value).into_owned()),
            "|~" => LineFilter::Regex(pattern(at, value, Anchoring::Anywhere)?),
            _ => LineFilter::NotRegex(pattern(at, value, Anchoring::Anywhere)?),
        })
    }

    /// A quoted text and the place of its first character.
    fn string(&mut self) -> Parsed<(usize, Vec<u8>)> {
        self.skip_space();
        let start = self.at + 1;
        match self.rest().chars().next() {
            Some('`') => match self.text[start..].split_once('`') {
                Some((raw, _)) => {
                    self.at = start + raw.len() + 1;
                    // Go drops carriage returns from raw strings.
                    Ok((start, raw.bytes().filter(|b| *b != b'\r').collect()))
                }
                None => mistake(self.at, "the text in back quotes has no end", "close it with a back quote"),
            },
            Some('"') => self.interpreted(start),
            _ => {
                let message = format!("expected a text in quotes, found {}", self.found());
                mistake(self.at, message, "write it in double quotes or in back quotes")
            }
        }
    }

    /// Go's interpreted string literal, behind its opening quote.
    fn interpreted(&mut self, start: usize) -> Parsed<(usize, Vec<u8>)> {
        let mut out = Vec::new();
        let mut rest = &self.text[start..];
        loop {
            let at = self.text.len() - rest.len();
            let Some(c) = rest.chars().next().filter(|c| *c != '\n') else {
                return mistake(start - 1, "the text in double quotes has no end", "close it with a double quote");
            };
            rest = &rest[c.len_utf8()..];
            match c {
                '"' => {
                    self.at = self.text.len() - rest.len();
                    return Ok((start, out));
                }
                '\\' => match escape(rest, &mut out) {
                    Some(behind) => rest = behind,
                    None => {
                        let escape: String = rest.chars().take(1).collect();
                        let help = format!("write `\\\\{escape}`, or put the text in back quotes");
                        return mistake(at, format!("`\\{escape}` is no escape in double quotes"), help);
                    }
                },
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
}

/// One escape of Go's, behind its backslash; gives what follows it.
fn escape<'t>(rest: &'t str, out: &mut Vec<u8>) -> Option<&'t str> {
    let number = |skip: usize, digits: usize, radix| {
        let text = rest.get(skip..skip + digits)?;
        text.bytes().all(|b| (b as char).is_digit(radix)).then(|| u32::from_str_radix(text, radix).ok()).flatten()
    };
    let first = rest.bytes().next()?;
    let digits = match first {
        b'x' => 2,
        b'u' => 4,
        b'U' => 8,
        b'0'..=b'7' => {
            out.push(u8::try_from(number(0, 3, 8)?).ok()?);
            return rest.get(3..);
        }
        _ => {
            let byte = match first {
                b'a' => 0x07,
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 0x0b,
                b'\\' | b'"' => first,
                _ => return None,
            };
            out.push(byte);
            return rest.get(1..);
        }
    };
    let value = number(1, digits, 16)?;
    match first {
        b'x' => out.push(value as u8),
        _ => out.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes()),
    }
    rest.get(1 + digits..)
}

fn pattern(at: usize, text: Vec<u8>, anchoring: Anchoring) -> Parsed<Pattern> {
    let compiled = String::from_utf8(text)
        .map_err(|_| "it is no UTF-8".to_string())
        .and_then(|text| Pattern::compile(&text, anchoring));
    compiled
        .or_else(|reason| mistake(at, format!("not a regular expression: {reason}"), "write one of Go's (RE2) syntax"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::span::Span;
    use proptest::prelude::*;

    /// The report on a selector that stands in single quotes from column 3 on.
    fn report(selector: &str) -> String {
        let text = format!("- '{selector}'\n");
        let mut diagnostics = Diagnostics::new();
        let span = Span::new(1, 3, selector.chars().count() as u32 + 2);
        assert!(Selector::parse(selector, span, &mut diagnostics).is_none(), "{selector} must be refused");
        diagnostics.sorted()[0].render("f", &text)
    }

    #[test]
    fn mistakes_are_reported_at_their_column() {
        for (selector, expected) in [
            (r#"app="web""#, "f:1:4: error: not a selector: it begins with `{`"),
            ("{}", "f:1:5: error: not a selector: expected a label's name, found `}`"),
            (r#"{app="web",}"#, "f:1:15: error: not a selector: expected a label's name"),
            (r#"{app:"web"}"#, "f:1:8: error: not a selector: expected an operator behind `app`"),
            (r#"{app=web}"#, "f:1:9: error: not a selector: expected a text in quotes, found `web}`"),
            (r#"{app="web"#, "the text in double quotes has no end"),
            (r#"{app=`web"#, "the text in back quotes has no end"),
            (r#"{app="é" env="x"}"#, "f:1:13: error: not a selector: expected `,` or `}`"),
            (r#"{app=~"\d+"}"#, r"f:1:11: error: not a selector: `\d` is no escape in double quotes"),
            (r#"{app=~"\d+"}"#, r"help: write `\\d`, or put the text in back quotes"),
            (r#"{app=~"(a"}"#, "f:1:11: error: not a selector: not a regular expression: unclosed group"),
            (r#"{app="a"} | json"#, "f:1:14: error: not a selector: of LogQL's pipeline"),
            (r#"{app="a"} |= "x" or "y""#, "f:1:21: error: not a selector: `or` between line filters"),
            (r#"{app="a"} x"#, "expected a line filter, found `x`"),
            (r#"{app="a"} |="#, "expected a text in quotes, found its end"),
        ] {
            assert!(report(selector).contains(expected), "{selector}: {}", report(selector));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in r#"[{}a=~!|"`\\,#xu0é \n]{0,24}"#) {
            Selector::parse(&text, Span::new(1, 1, text.chars().count() as u32), &mut Diagnostics::new());
        }
    }
}
