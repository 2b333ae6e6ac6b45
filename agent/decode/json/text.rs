//! Escaped strings: decoded as json-iterator does, written as Go does.

use memchr::memchr;

/// Appends the text that `raw`, the bytes between the quotes, stands for. A surrogate without its other half becomes
/// U+FFFD. What JSON doesn't know as an escape (`\x22`, `\u12`) stays as it is written; other bytes, valid UTF-8 or
/// not, are copied.
pub fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    for piece in pieces(raw) {
        out.extend_from_slice(piece.bytes());
    }
}

/// Appends a text as a JSON string, byte for byte as Go writes it: `<`, `>`, `&`, U+2028, U+2029 and the control
/// characters as escapes, each byte that is no UTF-8 as `\ufffd`.
pub fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(is_escaped) {
            let (plain, special) = rest.split_at(at);
            out.extend_from_slice(plain.as_bytes());
            let mut characters = special.chars();
            characters.next().iter().for_each(|character| write_escape(*character, out));
            rest = characters.as_str();
        }
        out.extend_from_slice(rest.as_bytes());
        // Go counts one wrong character for each byte, not one for each sequence.
        chunk.invalid().iter().for_each(|_| out.extend_from_slice(b"\\ufffd"));
    }
    out.push(b'"');
}

fn is_escaped(character: char) -> bool {
    matches!(character, '"' | '\\' | '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

fn write_escape(character: char, out: &mut Vec<u8>) {
    match character {
        '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        _ => {
            let digit = |shift: u32| b"0123456789abcdef"[(character as usize >> shift) & 0xf];
            out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
        }
    }
}

/// Whether `raw` stands for `text`.
pub(super) fn is_escaped_form(raw: &[u8], text: &[u8]) -> bool {
    let mut rest = text;
    for piece in pieces(raw) {
        match rest.strip_prefix(piece.bytes()) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

fn pieces(raw: &[u8]) -> Pieces<'_> {
    Pieces { rest: raw }
}

struct Pieces<'a> {
    rest: &'a [u8],
}

enum Piece<'a> {
    Plain(&'a [u8]),
    /// At most two characters: those of two surrogates that are no pair.
    Decoded([u8; 6], usize),
}

impl Piece<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Plain(bytes) => bytes,
            Piece::Decoded(bytes, len) => &bytes[..*len],
        }
    }

    fn decoded(first: char, second: Option<char>) -> Self {
        let mut bytes = [0; 6];
        let mut len = first.encode_utf8(&mut bytes).len();
        if let Some(second) = second {
            len += second.encode_utf8(&mut bytes[len..]).len();
        }
        Piece::Decoded(bytes, len)
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let rest = self.rest;
        let plain = match rest.first()? {
            b'\\' => 0,
            _ => memchr(b'\\', rest).unwrap_or(rest.len()),
        };
        let (piece, len) = if plain > 0 { (Piece::Plain(&rest[..plain]), plain) } else { escape(rest) };
        self.rest = &rest[len..];
        Some(piece)
    }
}

/// The escape at the head of `text`, and how many bytes it takes.
fn escape(text: &[u8]) -> (Piece<'_>, usize) {
    let plain = match text.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(byte @ (b'"' | b'\\' | b'/')) => *byte as char,
        Some(b'u') => return unicode_escape(text),
        _ => return (Piece::Plain(&text[..text.len().min(2)]), text.len().min(2)),
    };
    (Piece::decoded(plain, None), 2)
}

fn unicode_escape(text: &[u8]) -> (Piece<'_>, usize) {
    const LOST: char = char::REPLACEMENT_CHARACTER;
    let Some(unit) = code_unit(text) else { return (Piece::Plain(&text[..2]), 2) };
    if let Some(plain) = char::from_u32(u32::from(unit)) {
        return (Piece::decoded(plain, None), 6);
    }
    // json-iterator takes the escape after a surrogate along with it, pair or not.
    let Some(next) = code_unit(&text[6..]) else { return (Piece::decoded(LOST, None), 6) };
    let piece = match char::decode_utf16([unit, next]).next() {
        Some(Ok(pair)) => Piece::decoded(pair, None),
        _ => Piece::decoded(LOST, Some(char::from_u32(u32::from(next)).unwrap_or(LOST))),
    };
    (piece, 12)
}

/// The number of a `\uXXXX` at the head of `text`.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | (*digit as char).to_digit(16)? as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        unescape(raw, &mut out);
        out
    }

    #[test]
    fn escapes_become_their_characters() {
        for (raw, text) in [
            (r#"a\"b\\c\/d"#, "a\"b\\c/d"),
            (r"\b\f\n\r\t", "\u{8}\u{c}\n\r\t"),
            (r"\u0041\u00e9\u20AC\u0000", "Aé€\0"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud83d", "\u{fffd}"),
            (r"\ud83dx", "\u{fffd}x"),
            (r"\ud83d\n", "\u{fffd}\n"),
            (r"\ude00\ud83d\ude00", "\u{fffd}\u{fffd}\u{fffd}"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            (r"\ud83d\u20ac", "\u{fffd}€"),
        ] {
            assert_eq!(unescaped(raw.as_bytes()), text.as_bytes(), "{raw}");
            assert!(is_escaped_form(raw.as_bytes(), text.as_bytes()), "{raw}");
        }
    }

    #[test]
    fn what_is_no_escape_stays_as_written() {
        for raw in [&br"\x22"[..], br"\u12", br"\u12g4", br"\U0041", b"\\", b"\\\xff\xfe", b"\xc3", b"\\u+123"] {
            assert_eq!(unescaped(raw), raw);
        }
        assert_eq!(unescaped(br"\ud83d\u12"), "\u{fffd}\\u12".as_bytes());
    }

    #[test]
    fn a_key_is_compared_in_its_escaped_form() {
        assert!(is_escaped_form(br"st\u0061tus", b"status"));
        assert!(!is_escaped_form(br"st\u0061tu", b"status"));
        assert!(!is_escaped_form(br"st\u0061tuss", b"status"));
        assert!(!is_escaped_form(br"st\u0062tus", b"status"));
    }
}
