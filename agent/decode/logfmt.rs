//! logfmt: `level=info msg="two words" done`, by the grammar of go-logfmt 0.6, which Promtail uses.
//!
//! Promtail also gives up on lines of 64 KiB and more, where the buffer of its scanner ends; these are read here.

use memchr::memchr3;

/// The pairs of a line, in order, up to the first [`Malformed`] thing, after which nothing follows. A line feed ends a
/// record and begins another, as it does for Promtail when the text of a label has several lines.
pub fn pairs(line: &[u8]) -> Pairs<'_> {
    Pairs { line, at: 0 }
}

/// The iterator of [`pairs`].
pub struct Pairs<'a> {
    line: &'a [u8],
    at: usize,
}

/// A key, never empty, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    pub key: &'a [u8],
    /// Without its quotes, and empty if there is none; see [`unescape`] if `escaped`.
    pub value: &'a [u8],
    pub escaped: bool,
}

/// Where the grammar was broken, in bytes from the start of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub at: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<Pair<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.at += self.line[self.at..].iter().position(|byte| *byte > b' ').unwrap_or(self.line.len() - self.at);
        if self.at == self.line.len() {
            return None;
        }
        let pair = self.pair();
        if pair.is_err() {
            self.at = self.line.len();
        }
        Some(pair)
    }
}

impl<'a> Pairs<'a> {
    fn pair(&mut self) -> Result<Pair<'a>, Malformed> {
        let key = self.token();
        if key.is_empty() || self.peek() == Some(b'"') || has_wrong_character(key) {
            return Err(Malformed { at: self.at });
        }
        if self.peek() != Some(b'=') {
            return Ok(Pair { key, value: b"", escaped: false });
        }
        self.at += 1;
        if self.peek() == Some(b'"') {
            let (value, escaped) = self.quoted()?;
            return Ok(Pair { key, value, escaped });
        }
        let value = self.token();
        match self.peek() {
            Some(b'=' | b'"') => Err(Malformed { at: self.at }),
            _ => Ok(Pair { key, value, escaped: false }),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    /// Bytes up to white space (every control character counts as such), an equals sign or a quote.
    fn token(&mut self) -> &'a [u8] {
        let rest = &self.line[self.at..];
        let len = rest.iter().position(|byte| *byte <= b' ' || matches!(byte, b'=' | b'"')).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// From an opening quote past the closing one.
    fn quoted(&mut self) -> Result<(&'a [u8], bool), Malformed> {
        let start = self.at + 1;
        let (mut at, mut escaped) = (start, false);
        loop {
            let unclosed = Malformed { at: self.line.len() };
            at += memchr3(b'"', b'\\', b'\n', &self.line[at..]).ok_or(unclosed)?;
            match self.line[at] {
                b'"' => break,
                b'\n' => return Err(Malformed { at }),
                _ => {
                    // A backslash before the end of the record closes nothing.
                    escaped = true;
                    at += 1;
                    match self.line.get(at) {
                        None | Some(b'\n') => return Err(Malformed { at }),
                        Some(_) => at += 1,
                    }
                }
            }
        }
        let value = &self.line[start..at];
        self.at = at + 1;
        // go-logfmt looks into a value for wrong escapes and control characters only if there is something to decode.
        if escaped && (value.iter().any(|byte| *byte < b' ') || !escapes(value).all(|escape| escape.is_some())) {
            return Err(Malformed { at: self.at });
        }
        Ok((value, escaped))
    }
}

/// Appends the text of an escaped value. Bytes that are no UTF-8 become U+FFFD, one each, as go-logfmt makes them; in
/// a value without an escape it leaves them alone, and so does this crate.
pub fn unescape(value: &[u8], out: &mut Vec<u8>) {
    for piece in escapes(value).flatten() {
        match piece {
            Piece::Plain(bytes) => {
                for chunk in bytes.utf8_chunks() {
                    out.extend_from_slice(chunk.valid().as_bytes());
                    chunk.invalid().iter().for_each(|_| out.extend_from_slice("\u{fffd}".as_bytes()));
                }
            }
            Piece::Decoded(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

enum Piece<'a> {
    Plain(&'a [u8]),
    Decoded(char),
}

/// The value piece by piece, `None` for a wrong escape.
fn escapes(value: &[u8]) -> impl Iterator<Item = Option<Piece<'_>>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
        let (piece, len) = match rest.first()? {
            b'\\' => match escape(rest) {
                Some((character, len)) => (Some(Piece::Decoded(character)), len),
                None => (None, rest.len()),
            },
            _ => (Some(Piece::Plain(&rest[..plain])), plain),
        };
        rest = &rest[len..];
        Some(piece)
    })
}

/// The escape at the head of `text`, and how many bytes it takes.
fn escape(text: &[u8]) -> Option<(char, usize)> {
    let character = match text.get(1)? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        byte @ (b'"' | b'\\' | b'/' | b'\'') => *byte as char,
        b'u' => {
            let first = code_unit(text)?;
            // Of two surrogates that are no pair only the first is replaced; the second is looked at again.
            return Some(match (char::from_u32(first.into()), code_unit(&text[6..])) {
                (Some(plain), _) => (plain, 6),
                (None, Some(second)) => match char::decode_utf16([first, second]).next() {
                    Some(Ok(pair)) => (pair, 12),
                    _ => (char::REPLACEMENT_CHARACTER, 6),
                },
                (None, None) => (char::REPLACEMENT_CHARACTER, 6),
            });
        }
        _ => return None,
    };
    Some((character, 2))
}

/// The number of a `\uXXXX` at the head of `text`.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | (*digit as char).to_digit(16)? as u16))
}

/// A key may hold anything but what is no UTF-8, or U+FFFD, which tells of such.
fn has_wrong_character(key: &[u8]) -> bool {
    !key.is_ascii() && str::from_utf8(key).map_or(true, |key| key.contains(char::REPLACEMENT_CHARACTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each pair as `key=text` or `Err`.
    fn read(line: &[u8]) -> Vec<String> {
        let read = pairs(line).map(|pair| match pair {
            Ok(Pair { key, value, escaped }) => {
                let mut text = Vec::new();
                if escaped {
                    unescape(value, &mut text);
                } else {
                    text.extend_from_slice(value);
                }
                format!("{}={}", key.escape_ascii(), text.escape_ascii())
            }
            Err(Malformed { at }) => format!("error at {at}"),
        });
        read.collect()
    }

    #[test]
    fn pairs_are_read_in_order() {
        for (line, expected) in [
            (&b""[..], &[][..]),
            (b" \t \0 ", &[]),
            (b"level=info msg=\"two words\" done", &["level=info", "msg=two words", "done="]),
            (b"a= b=\"\" c=1", &["a=", "b=", "c=1"]),
            (b"a=\"x\"b=2", &["a=x", "b=2"]),
            (b"a=1\x01b=2", &["a=1", "b=2"]),
            (b"a=1\r\nb=2\r\n", &["a=1", "b=2"]),
            (b"it's='x'", &["it\\'s=\\'x\\'"]),
            ("ключ=1".as_bytes(), &[r"\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87=1"]),
            (b"a=\xff b=\"\xff\"", &[r"a=\xff", r"b=\xff"]),
            (b"a=\"tab\there\"", &[r"a=tab\there"]),
        ] {
            assert_eq!(read(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn escapes_in_quotes_are_decoded() {
        for (line, text) in [
            (&br#"a="\"\\\/\'\b\f\n\r\t""#[..], "\"\\/'\u{8}\u{c}\n\r\t"),
            (br#"a="\u0041\ud83d\ude00""#, "A😀"),
            (br#"a="\ud83d\ud83d\ude00\ude00x""#, "\u{fffd}😀\u{fffd}x"),
            (b"a=\"\\n\xff\xfe\"", "\n\u{fffd}\u{fffd}"),
        ] {
            let expected = format!("a={}", text.as_bytes().escape_ascii());
            assert_eq!(read(line), [expected], "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_stands_before_a_wrong_thing_is_kept() {
        for (line, expected) in [
            (&b"a=1 =2 b=3"[..], &["a=1", "error at 4"][..]),
            (b"a=1 b=x=y c=3", &["a=1", "error at 7"]),
            (b"a=1 b=x\"y\"", &["a=1", "error at 7"]),
            (b"a=1 b\"c", &["a=1", "error at 5"]),
            (b"a=1 \"b\"=2", &["a=1", "error at 4"]),
            (b"a=1 b=\"open c=3", &["a=1", "error at 15"]),
            (b"a=1 b=\"open\nc=3\"", &["a=1", "error at 11"]),
            (b"a=1 b=\"\\", &["a=1", "error at 8"]),
            (b"a=1 b=\"\\x\" c=3", &["a=1", "error at 10"]),
            (b"a=1 b=\"\\u12\" c=3", &["a=1", "error at 12"]),
            (b"a=1 b=\"\\n\x01\"", &["a=1", "error at 11"]),
            (b"a=1 \xff=2", &["a=1", "error at 5"]),
            ("a=1 \u{fffd}=2".as_bytes(), &["a=1", "error at 7"]),
        ] {
            assert_eq!(read(line), expected, "{}", line.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_line_ends_after_at_most_one_error(line in "[a\"= \\\\u0d\\n\u{e9}\u{fffd}]{0,40}") {
            let read: Vec<_> = pairs(line.as_bytes()).collect();
            prop_assert!(read.len() <= line.len());
            prop_assert!(read.iter().rev().skip(1).all(Result::is_ok));
            prop_assert!(read.iter().flatten().all(|pair| !pair.key.is_empty()));
        }
    }
}
