//! From Go's RE2 syntax to that of the `regex` crate, in one pass over the pattern.
//!
//! What is rewritten (https://pkg.go.dev/regexp/syntax against https://docs.rs/regex/#syntax):
//!
//! - a `{` that begins no repetition is a literal in Go (`\s+{`, `{.*}`, `{,3}`, `{2, 3}`);
//! - a group's name may stand twice and may begin with a digit: groups lose their names here, which are kept beside;
//! - `\d`, `\s`, `\w`, `\b` are ASCII in Go;
//! - in a class, `[`, `&&`, `--` and `~~` are literals: classes are written anew with every literal escaped;
//! - `\<`, `\-`, `\_` are literals, `\Q…\E` quotes, `\123` is octal, `\p{^L}` negates.

/// What Go calls Perl classes: their members, as they stand in a class.
const DIGITS: &str = "0-9";
const SPACES: &str = r"\x09\x0a\x0c\x0d\x20";
const WORDS: &str = "0-9A-Za-z_";

/// Names that may stand as `[:name:]`.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

pub(super) struct Translated {
    pub text: String,
    /// By group number, 0 being the whole match.
    pub names: Vec<Option<String>>,
}

pub(super) fn translate(pattern: &str) -> Result<Translated, String> {
    let mut reader = Reader { rest: pattern, out: String::with_capacity(pattern.len() + 16), names: vec![None] };
    while let Some(c) = reader.next() {
        match c {
            '\\' => reader.escape()?,
            '[' => reader.class()?,
            '(' => reader.group()?,
            '{' => match repetition_bytes(reader.rest) {
                Some(bytes) => {
                    let (repetition, rest) = reader.rest.split_at(bytes);
                    reader.rest = rest;
                    reader.out.push('{');
                    reader.out.push_str(repetition);
                }
                None => reader.out.push_str(r"\{"),
            },
            '}' => reader.out.push_str(r"\}"),
            c => reader.out.push(c),
        }
    }
    Ok(Translated { text: reader.out, names: reader.names })
}

struct Reader<'p> {
    rest: &'p str,
    out: String,
    names: Vec<Option<String>>,
}

impl<'p> Reader<'p> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Consumes a prefix if it is there.
    fn skip(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// What stands before `end`, which is consumed too.
    fn until(&mut self, end: &str) -> Option<&'p str> {
        let (before, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(before)
    }

    /// Behind an opening parenthesis.
    fn group(&mut self) -> Result<(), String> {
        if !self.skip("?") {
            self.names.push(None);
            self.out.push('(');
            return Ok(());
        }
        if ["=", "!", "<=", "<!"].iter().any(|look| self.rest.starts_with(look)) {
            return Err("it has look-around, which neither Go's regular expressions nor these know".into());
        }
        if self.skip("P<") || self.skip("<") {
            let name = self.until(">").unwrap_or_default();
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(format!("`{name}` cannot name a group: letters, digits and `_` can"));
            }
            self.names.push(Some(name.to_string()));
            self.out.push('(');
            return Ok(());
        }
        let end = self.rest.find([':', ')']).ok_or("a group is not closed")?;
        let flags = &self.rest[..end];
        if let Some(other) = flags.chars().find(|c| !"imsU-".contains(*c)) {
            return Err(format!("`(?{other}` is no group that Go knows: flags are `i`, `m`, `s` and `U`"));
        }
        let opens = &self.rest[end..=end];
        self.rest = &self.rest[end + 1..];
        match (flags, opens) {
            ("", ")") => self.out.push_str("(?:)"),
            _ => self.out.extend(["(?", flags, opens]),
        }
        Ok(())
    }

    /// Behind a backslash outside a class.
    fn escape(&mut self) -> Result<(), String> {
        let c = self.next().ok_or("it ends with a backslash")?;
        match c {
            'Q' => {
                let quoted = match self.until(r"\E") {
                    Some(quoted) => quoted,
                    None => std::mem::take(&mut self.rest),
                };
                self.out.push_str(&regex::escape(quoted));
            }
            'b' => self.out.push_str(r"(?-u:\b)"),
            'B' => self.out.push_str(r"(?-u:\B)"),
            'A' | 'z' => self.out.extend(['\\', c]),
            'p' | 'P' => self.property(c == 'P')?,
            c => match perl_class(c) {
                Some((members, false)) => self.out.extend(["[", members, "]"]),
                Some((members, true)) => self.out.extend(["[^", members, "]"]),
                None => {
                    let literal = self.escaped_character(c)?;
                    self.literal(literal);
                }
            },
        }
        Ok(())
    }

    /// Behind `\p` or `\P`.
    fn property(&mut self, mut negated: bool) -> Result<(), String> {
        let name = if self.skip("{") {
            self.until("}").ok_or(r"`\p{` is not closed")?
        } else {
            let bytes = self.peek().ok_or(r"it ends in `\p`")?.len_utf8();
            let (name, rest) = self.rest.split_at(bytes);
            self.rest = rest;
            name
        };
        let name = match name.strip_prefix('^') {
            Some(name) => {
                negated = !negated;
                name
            }
            None => name,
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!(r"`\p{{{name}}}` is no class of characters"));
        }
        self.out.extend([if negated { r"\P{" } else { r"\p{" }, name, "}"]);
        Ok(())
    }

    /// The character that an escape stands for, its first character read.
    fn escaped_character(&mut self, c: char) -> Result<char, String> {
        Ok(match c {
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => {
                let digits = if self.skip("{") {
                    self.until("}")
                } else {
                    self.rest.get(..2).inspect(|_| self.rest = &self.rest[2..])
                };
                digits
                    .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
                    .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                    .and_then(char::from_u32)
                    .ok_or(r"`\x` needs two hexadecimal digits, or more in braces")?
            }
            '0' => self.octal('0'),
            '1'..='7' if self.peek().is_some_and(|next| next.is_digit(8)) => self.octal(c),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
            '1'..='9' => {
                return Err(format!(r"`\{c}` is a back-reference, which Go's regular expressions do not know"));
            }
            c => return Err(format!(r"`\{c}` is no escape that Go knows")),
        })
    }

    fn octal(&mut self, first: char) -> char {
        let mut value = first as u32 - '0' as u32;
        for _ in 0..2 {
            match self.peek().and_then(|c| c.to_digit(8)) {
                Some(digit) => {
                    value = value * 8 + digit;
                    self.next();
                }
                None => break,
            }
        }
        char::from_u32(value).expect("three octal digits are below U+0200")
    }

    fn literal(&mut self, c: char) {
        if c.is_ascii_alphanumeric() || !c.is_ascii() {
            self.out.push(c);
        } else {
            self.out.push_str(&format!(r"\x{:02x}", c as u32));
        }
    }

    /// Behind an opening bracket.
    fn class(&mut self) -> Result<(), String> {
        let unclosed = "a character class is not closed";
        self.out.push('[');
        if self.skip("^") {
            self.out.push('^');
        }
        let mut first = true;
        while first || self.peek() != Some(']') {
            first = false;
            if self.rest.starts_with("[:")
                && let Some((name, rest)) = self.rest[2..].split_once(":]")
            {
                if !POSIX.contains(&name.trim_start_matches('^')) {
                    return Err(format!("`[:{name}:]` is no class of characters"));
                }
                self.out.extend(["[:", name, ":]"]);
                self.rest = rest;
                continue;
            }
            let mut low = self.next().ok_or(unclosed)?;
            if low == '\\' {
                let c = self.next().ok_or(unclosed)?;
                if matches!(c, 'p' | 'P') {
                    self.property(c == 'P')?;
                    continue;
                }
                match perl_class(c) {
                    Some((members, negated)) => {
                        self.out.extend(if negated { ["[^", members, "]"] } else { ["", members, ""] });
                        continue;
                    }
                    None => low = self.escaped_character(c)?,
                }
            }
            self.literal(low);
            self.range(low).map_err(|e| if e.is_empty() { unclosed.to_string() } else { e })?;
        }
        self.next();
        self.out.push(']');
        Ok(())
    }

    /// The `-z` behind a class's member, if it is there. A missing end is the empty error.
    fn range(&mut self, low: char) -> Result<(), String> {
        let mut ahead = self.rest.chars();
        if ahead.next() != Some('-') || matches!(ahead.next(), None | Some(']')) {
            return Ok(());
        }
        self.next();
        let mut high = self.next().ok_or("")?;
        if high == '\\' {
            let c = self.next().ok_or("")?;
            high = self.escaped_character(c)?;
        }
        if high < low {
            return Err(format!("the range `{low}-{high}` of a character class runs backwards"));
        }
        self.out.push('-');
        self.literal(high);
        Ok(())
    }
}

/// The members of `\d` and its like, and whether the class is their opposite.
fn perl_class(c: char) -> Option<(&'static str, bool)> {
    let members = match c.to_ascii_lowercase() {
        'd' => DIGITS,
        's' => SPACES,
        'w' => WORDS,
        _ => return None,
    };
    Some((members, c.is_ascii_uppercase()))
}

/// Bytes of `2}`, `2,}` or `2,5}` behind a brace; nothing where Go sees a literal brace.
fn repetition_bytes(rest: &str) -> Option<usize> {
    let (inside, _) = rest.split_once('}')?;
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        plain && (text == "0" || !text.starts_with('0'))
    };
    let repeats = match inside.split_once(',') {
        Some((low, high)) => number(low) && (high.is_empty() || number(high)),
        None => number(inside),
    };
    repeats.then_some(inside.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::super::{Anchoring, Pattern};
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        match Pattern::compile(pattern, Anchoring::Whole) {
            Ok(compiled) => compiled.is_match(text.as_bytes()),
            Err(error) => panic!("{pattern}: {error}"),
        }
    }

    #[test]
    fn what_go_accepts_matches_what_go_matches() {
        for (pattern, yes, no) in [
            (r"x\s+{", "x  {", "x"),
            (r"{.*}", "{a}", "a"),
            ("a{,3}", "a{,3}", "aa"),
            ("a{2, 3}", "a{2, 3}", "aa"),
            ("a{2,3}", "aaa", "a{2,3}"),
            ("a{02}", "a{02}", "aa"),
            ("{}", "{}", ""),
            (r"\x{e9}{2}", "éé", "é"),
            (r"\d+", "12", "१२"),
            (r"\s", "\t", "\u{a0}"),
            (r"\s", "\n", "\x0b"),
            (r"\w+", "a_1", "é"),
            (r"\W", "é", "a"),
            (r".\b.", "éa", "ab"),
            (r"[[]", "[", "a"),
            (r"[a[b]", "[", "c"),
            (r"[]a]+", "]a", "b"),
            (r"[^]a]", "b", "]"),
            (r"[a&&b]+", "a&b", "c"),
            (r"[+--]+", "+,-", "a"),
            (r"[--/]+", "-./", "a"),
            (r"[\w.-]+", "a.-", "é"),
            (r"[^\W]", "a", "."),
            (r"[\[\]{}]+", "[]{}", "a"),
            (r"[a~~b#]+", "a~#b", "c"),
            (r"[[:alpha:]_]+", "a_", "1"),
            (r"[\pL\d]+", "é1", "-"),
            (r"\p{^Lu}", "a", "A"),
            (r"\<a\>", "<a>", "a"),
            (r"\Qa.b*\E+", "a.b**", "axb"),
            (r"\101\x42", "AB", "ab"),
            (r#"\"\/\-\_"#, r#""/-_"#, "x"),
            (r"\0\x7F\377", "\0\x7f\u{ff}", "0"),
            (r"(?P<n>a)|(?P<n>b)", "b", "c"),
            (r"(?i)É", "é", "e"),
            (r"(?U)(a+)(a*)", "aaa", "b"),
        ] {
            assert!(matches(pattern, yes), "{pattern} must match {yes:?}");
            assert!(!matches(pattern, no), "{pattern} must not match {no:?}");
        }
    }

    #[test]
    fn groups_keep_their_names_and_numbers() {
        let names = translate(r"(a)(?P<x>b)(?:c)(?i)(?P<1x>d)(?<x>\(e)[(]\Q(\E").unwrap().names;
        let names: Vec<_> = names.iter().map(|name| name.as_deref().unwrap_or("")).collect();
        assert_eq!(names, ["", "", "x", "1x", "x"]);
    }

    #[test]
    fn what_go_refuses_is_refused_with_a_reason() {
        for (pattern, reason) in [
            ("(?=a)", "look-around"),
            ("(?<!a)b", "look-around"),
            (r"(a)\1", "back-reference"),
            ("(?x)a", "no group that go knows"),
            ("[a--]", "runs backwards"),
            ("(?P<a-b>c)", "cannot name a group"),
            ("[a", "class is not closed"),
            ("[z-a]", "runs backwards"),
            (r"\y", "no escape"),
            (r"\u00e9", "no escape"),
            (r"a\", "ends with a backslash"),
            ("(a", "unclosed group"),
            ("a)", "unopened group"),
            ("*", "missing expression"),
            ("[[:wrd:]]", "no class of characters"),
            (r"\p{Nope}", "property"),
        ] {
            match Pattern::compile(pattern, Anchoring::Anywhere) {
                Err(error) => {
                    assert!(error.to_lowercase().contains(reason) && !error.contains('\n'), "{pattern}: {error}")
                }
                Ok(_) => panic!("{pattern} must be refused"),
            }
        }
    }
}
