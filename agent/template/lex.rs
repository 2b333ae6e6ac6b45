//! A template's text as tokens, by the rules of Go's `text/template`.

use super::Mistake;
use std::ops::Range;
use std::str::Chars;

/// Go's white space between words, and what trim markers take away.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// What stands outside of `{{ }}`, trimmed.
    Text(String),
    Open,
    Close,
    /// A function, a keyword, `true`, `false` or `nil`.
    Word(String),
    /// `.name`
    Field(String),
    /// `$name`, or `$` alone.
    Variable(String),
    Dot,
    Quoted(Vec<u8>),
    Int(i64),
    Float(f64),
    /// `:=`
    Declare,
    /// `=`
    Assign,
    Pipe,
    LeftParen,
    RightParen,
}

#[derive(Clone, Debug)]
pub(super) struct Lexed {
    pub token: Token,
    /// Bytes of the template.
    pub at: Range<usize>,
    /// White space stands before it.
    pub spaced: bool,
}

pub(super) fn lex(text: &str) -> Result<Vec<Lexed>, Mistake> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    lexer.template()?;
    Ok(lexer.tokens)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Lexed>,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn push(&mut self, token: Token, bytes: usize, spaced: bool) {
        self.tokens.push(Lexed { token, at: self.at..self.at + bytes, spaced });
        self.at += bytes;
    }

    fn template(&mut self) -> Result<(), Mistake> {
        let mut trim_next = false;
        loop {
            let open = self.rest().find("{{");
            let mut outside = &self.rest()[..open.unwrap_or(self.rest().len())];
            if trim_next {
                outside = outside.trim_start_matches(SPACES);
            }
            let Some(open) = open else {
                self.text(outside);
                return Ok(());
            };
            let start = self.at + open;
            let inside = &self.text[start + 2..];
            let trims = inside.starts_with('-') && inside[1..].starts_with(SPACES);
            self.text(if trims { outside.trim_end_matches(SPACES) } else { outside });
            self.at = start;
            let after = start + if trims { 4 } else { 2 };
            trim_next = match self.text[after..].strip_prefix("/*") {
                Some(comment) => self.comment(after + 2, comment)?,
                None => {
                    self.push(Token::Open, after - start, false);
                    self.action(start)?
                }
            };
        }
    }

    fn text(&mut self, outside: &str) {
        if !outside.is_empty() {
            self.push(Token::Text(outside.to_string()), 0, false);
        }
    }

    /// A comment and the end of its action: whether that trims what follows.
    fn comment(&mut self, start: usize, comment: &str) -> Result<bool, Mistake> {
        let Some(end) = comment.find("*/") else {
            return Err(Mistake::new(self.at..start, "a comment has no end").help("write `*/}}` behind it"));
        };
        self.at = start + end + 2;
        match close(self.rest()) {
            Some((bytes, trims)) => {
                self.at += bytes;
                Ok(trims)
            }
            None => {
                Err(Mistake::new(self.at..self.at, "a comment must end its action").help("write `*/}}` or `*/ -}}`"))
            }
        }
    }

    /// The tokens up to the end of an action that began at `start`: whether it trims what follows.
    fn action(&mut self, start: usize) -> Result<bool, Mistake> {
        let mut spaced = false;
        loop {
            if let Some((bytes, trims)) = close(self.rest()) {
                self.push(Token::Close, bytes, spaced);
                return Ok(trims);
            }
            let Some(first) = self.rest().chars().next() else {
                return Err(Mistake::new(start..start + 2, "an action has no end").help("write `}}` behind it"));
            };
            if SPACES.contains(&first) {
                self.at += 1;
                spaced = true;
                continue;
            }
            self.token(first, std::mem::take(&mut spaced))?;
        }
    }

    fn token(&mut self, first: char, spaced: bool) -> Result<(), Mistake> {
        let rest = self.rest();
        let digit = |at: usize| rest.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
        match first {
            '|' => self.push(Token::Pipe, 1, spaced),
            '(' => self.push(Token::LeftParen, 1, spaced),
            ')' => self.push(Token::RightParen, 1, spaced),
            ':' if rest.starts_with(":=") => self.push(Token::Declare, 2, spaced),
            '=' => self.push(Token::Assign, 1, spaced),
            '"' | '`' | '\'' => return self.quoted(first, spaced),
            '0'..='9' => return self.number(spaced),
            '.' | '+' | '-' if digit(1) || (first != '.' && rest[1..].starts_with('.') && digit(2)) => {
                return self.number(spaced);
            }
            '.' | '$' => {
                let name: String = rest[1..].chars().take_while(|c| is_word(*c)).collect();
                let bytes = 1 + name.len();
                let token = match (first, name.is_empty()) {
                    ('$', _) => Token::Variable(name),
                    (_, true) => Token::Dot,
                    (_, false) => Token::Field(name),
                };
                self.push(token, bytes, spaced);
            }
            c if is_word(c) => {
                let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
                let bytes = name.len();
                self.push(Token::Word(name), bytes, spaced);
            }
            c => {
                return Err(Mistake::new(self.at..self.at + c.len_utf8(), format!("`{c}` has no meaning here")));
            }
        }
        Ok(())
    }

    fn number(&mut self, spaced: bool) -> Result<(), Mistake> {
        let rest = self.rest();
        let signed = usize::from(rest.starts_with(['+', '-']));
        let mut bytes = signed;
        for c in rest[signed..].chars() {
            let exponent = rest[..bytes].ends_with(['e', 'E', 'p', 'P']) && matches!(c, '+' | '-');
            if !(is_word(c) || c == '.' || exponent) {
                break;
            }
            bytes += c.len_utf8();
        }
        let text = &rest[..bytes];
        let token = match int(text) {
            Some(int) => Some(Token::Int(int)),
            None => crate::decode::number::parse_f64(text.as_bytes()).filter(|f| f.is_finite()).map(Token::Float),
        };
        match token {
            Some(token) => self.push(token, bytes, spaced),
            None => return Err(Mistake::new(self.at..self.at + bytes, format!("`{text}` is no number"))),
        }
        Ok(())
    }

    /// A text in quotes, or a character, which is a number to Go.
    fn quoted(&mut self, quote: char, spaced: bool) -> Result<(), Mistake> {
        let inside = &self.rest()[1..];
        let mut escaped = false;
        let end = inside.find(|c: char| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && quote != '`' && !escaped;
            ends || (c == '\n' && quote != '`')
        });
        let Some(end) = end.filter(|end| inside[*end..].starts_with(quote)) else {
            return Err(Mistake::new(self.at..self.at + 1, "a text in quotes has no end"));
        };
        let (raw, bytes) = (&inside[..end], end + 2);
        let whole = self.at..self.at + bytes;
        let text = match quote {
            '`' => Some(raw.replace('\r', "").into_bytes()),
            _ => unescape(raw, quote),
        };
        let Some(text) = text else {
            return Err(Mistake::new(whole, "an escape that is unknown to Go")
                .help(r"in a text between backquotes a `\` is only a `\`"));
        };
        let token = match quote {
            '\'' => {
                let mut chars = std::str::from_utf8(&text).unwrap_or_default().chars();
                match (chars.next(), chars.next()) {
                    (Some(one), None) => Token::Int(i64::from(u32::from(one))),
                    _ => return Err(Mistake::new(whole, "`'` quotes one character").help("a text stands in `\"`")),
                }
            }
            _ => Token::Quoted(text),
        };
        self.push(token, bytes, spaced);
        Ok(())
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The end of an action, if one stands here: its bytes, and whether it trims what follows.
fn close(rest: &str) -> Option<(usize, bool)> {
    if rest.starts_with("}}") {
        return Some((2, false));
    }
    (rest.starts_with(SPACES) && rest[1..].starts_with("-}}")).then_some((4, true))
}

/// `strconv.ParseInt(text, 0, 64)`: a sign, a base (`0x`, `0o`, `0b`, or octal behind a `0`), and underscores.
pub(super) fn int(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (base, digits) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    let prefixed = digits.len() < unsigned.len();
    // An underscore stands between two digits, or behind the base.
    let underscores = !digits.contains('_')
        || (!digits.ends_with('_') && !digits.contains("__") && (prefixed || !digits.starts_with('_')));
    if !underscores || digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    digits.bytes().filter(|b| *b != b'_').try_fold(0i64, |sum, digit| {
        let digit = i64::from((digit as char).to_digit(base)?);
        sum.checked_mul(i64::from(base))?.checked_add(sign * digit)
    })
}

/// The text between quotes, with Go's escapes.
fn unescape(raw: &str, quote: char) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next()? {
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                '\\' => '\\',
                'u' => char::from_u32(code(&mut chars, 4, 16)?)?,
                'U' => char::from_u32(code(&mut chars, 8, 16)?)?,
                'x' => {
                    out.push(code(&mut chars, 2, 16)? as u8);
                    continue;
                }
                first @ '0'..='7' => {
                    let octal = first.to_digit(8)? * 64 + code(&mut chars, 2, 8)?;
                    out.push(u8::try_from(octal).ok()?);
                    continue;
                }
                other if other == quote => quote,
                _ => return None,
            },
            plain => plain,
        };
        out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(out)
}

fn code(chars: &mut Chars<'_>, digits: u32, base: u32) -> Option<u32> {
    (0..digits).try_fold(0u32, |sum, _| sum.checked_mul(base)?.checked_add(chars.next()?.to_digit(base)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        lex(text).unwrap_or_else(|mistake| panic!("{text}: {}", mistake.message)).into_iter().map(|t| t.token).collect()
    }

    #[test]
    fn trim_markers_and_comments_take_white_space_away() {
        for (template, outside) in [
            ("a {{1}} b", "a | b"),
            ("a {{- 1 -}} b", "a|b"),
            ("a {{-1}} b", "a | b"),
            ("a\n {{- /* c }} */ -}} \t b", "a|b"),
            ("a {{/* c */}} b", "a | b"),
            ("{{1 -}}  ", ""),
            ("} }} {", "} }} {"),
        ] {
            let text = |token| if let Token::Text(text) = token { Some(text) } else { None };
            let found: Vec<_> = tokens(template).into_iter().filter_map(text).collect();
            assert_eq!(found.join("|"), outside, "{template}");
        }
    }

    #[test]
    fn texts_in_quotes_have_the_escapes_of_go() {
        let text = "{{`a\\n` \"\\n\\x41\\101\\u00e9\\\"\" \"\\xff\"}}";
        let expected = [&b"a\\n"[..], "\nAAé\"".as_bytes(), b"\xff"];
        assert_eq!(tokens(text)[1..4], expected.map(|text| Token::Quoted(text.to_vec())));
        for bad in [r#""\q""#, r#""\'""#, r#""\u12""#, r#""\400""#, "\"a", "\"a\n\"", "`a", "'ab'", "''"] {
            assert!(lex(&format!("{{{{{bad}}}}}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_those_of_go() {
        for (text, number) in [
            ("12", Some(12)),
            ("-1", Some(-1)),
            ("+7", Some(7)),
            ("0x1F", Some(31)),
            ("017", Some(15)),
            ("0o17", Some(15)),
            ("0b11", Some(3)),
            ("1_000", Some(1000)),
            ("0_7", Some(7)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("08", None),
            ("0x", None),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("", None),
            ("-", None),
            ("--1", None),
            ("0x-1", None),
            ("1.0", None),
        ] {
            assert_eq!(int(text), number, "{text}");
        }
        assert_eq!(
            tokens("{{1.5 -.5 1e3 0x1p-2 'a' '\\n'}}")[1..7],
            [
                Token::Float(1.5),
                Token::Float(-0.5),
                Token::Float(1000.0),
                Token::Float(0.25),
                Token::Int(97),
                Token::Int(10)
            ]
        );
    }
}
