//! Escaped strings: decoded as json-iterator does, written as Go does.

use super::block::{BLOCK_BYTES, Look, Looks, Task, WINDOW_BYTES, first_quote_or_backslash};
use super::scan::has_control;
use memchr::memchr;

/// Appends the text that `raw`, the bytes between the quotes, stands for. A surrogate without its other half becomes
/// U+FFFD. What JSON doesn't know as an escape (`\x22`, `\u12`) stays as it is written; other bytes, valid UTF-8 or
/// not, are copied.
pub fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    for piece in pieces(raw) {
        out.extend_from_slice(piece.bytes());
    }
}

/// Reads a string of which `text` begins behind the opening quote: appends what it stands for, and answers with how many
/// bytes it takes up to its closing quote. In one pass, for strings with an escape every few bytes, as those that hold JSON.
///
/// `None` where the general way has to decide: a control character anywhere in `text`, an escape that is none, an end that is
/// missing or near the end of `text`. Something may have been appended then.
pub(in crate::decode) fn unescape_string(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    Looks::best().run(UnescapeString { text, out })
}

struct UnescapeString<'a, 'o> {
    text: &'a [u8],
    out: &'o mut Vec<u8>,
}

impl Task for UnescapeString<'_, '_> {
    type Answer = Option<usize>;

    #[inline(always)]
    fn run(self, look: impl Look) -> Option<usize> {
        let UnescapeString { text, out } = self;
        if has_control(text) {
            return None;
        }
        let (start, whole) = (out.len(), text.len());
        // No escape is shorter than what it stands for, and whole windows are written.
        out.resize(start + whole + 2 * WINDOW_BYTES, 0);
        let (mut rest, mut room) = (text, &mut out[start..]);
        loop {
            while let (Some(front), Some(place)) = (rest.first_chunk(), room.first_chunk_mut()) {
                let (read, written) = unescape_quotes(front, place, look);
                if read == 0 {
                    break;
                }
                (rest, room) = (&rest[read..], &mut room[written..]);
            }
            let block = rest.first_chunk::<BLOCK_BYTES>()?;
            *room.first_chunk_mut::<BLOCK_BYTES>()? = *block;
            let found = first_quote_or_backslash(block);
            let plain = found.unwrap_or(BLOCK_BYTES);
            (rest, room) = (rest.get(plain..)?, room.get_mut(plain..)?);
            if found.is_none() {
                continue;
            }
            let [mark, next, behind @ ..] = rest else { return None };
            if *mark == b'"' {
                let unused = room.len();
                out.truncate(out.len() - unused);
                return Some(whole - rest.len());
            }
            let escaped = PLAIN_ESCAPES[usize::from(*next)];
            if escaped != 0 {
                let (first, after) = room.split_first_mut()?;
                *first = escaped;
                (rest, room) = (behind, after);
            } else if *next == b'u' && code_unit(rest).is_some() {
                let (piece, len) = unicode_escape(rest);
                let (place, after) = room.split_at_mut_checked(piece.bytes().len())?;
                place.copy_from_slice(piece.bytes());
                (rest, room) = (rest.get(len..)?, after);
            } else {
                return None;
            }
        }
    }
}

/// Copies the first window of `text` without the backslashes in front of quotes, up to the first quote or backslash of another
/// kind. Answers with how many bytes it has read, and how many of those that it has written count.
#[inline(always)]
fn unescape_quotes(
    text: &[u8; 2 * WINDOW_BYTES],
    place: &mut [u8; 2 * WINDOW_BYTES],
    look: impl Look,
) -> (usize, usize) {
    let (windows, _) = text.as_chunks();
    let (backslashes, quotes) =
        (look.same(&windows[0], &[b'\\'; WINDOW_BYTES]), look.same(&windows[0], &[b'"'; WINDOW_BYTES]));
    // A second backslash is none that escapes, but up to the first escape of anything but a quote there is none.
    let escaped = backslashes << 1;
    let others = (escaped & !quotes) >> 1 | quotes & !escaped | backslashes & 1 << (WINDOW_BYTES - 1);
    let mut left_out = backslashes & (others & others.wrapping_neg()).wrapping_sub(1);
    let (mut from, mut gone) = (0, 0);
    loop {
        // Each copy writes over what the one before wrote too much.
        let to = (from - gone) % WINDOW_BYTES;
        place[to..to + WINDOW_BYTES].copy_from_slice(&text[from..from + WINDOW_BYTES]);
        if left_out == 0 {
            break;
        }
        from = left_out.trailing_zeros() as usize % WINDOW_BYTES + 1;
        gone += 1;
        left_out &= left_out - 1;
    }
    let read = others.trailing_zeros() as usize;
    (read, read - gone)
}

/// What a character behind a backslash stands for; 0 where it alone makes no escape.
const PLAIN_ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let escapes = *b"\"\"\\\\//b\x08f\x0cn\nr\rt\t";
    let (pairs, _) = escapes.as_chunks::<2>();
    let mut at = 0;
    while at < pairs.len() {
        table[pairs[at][0] as usize] = pairs[at][1];
        at += 1;
    }
    table
};

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
    match text.get(1) {
        Some(b'u') => unicode_escape(text),
        Some(next) if PLAIN_ESCAPES[usize::from(*next)] != 0 => {
            (Piece::decoded(PLAIN_ESCAPES[usize::from(*next)].into(), None), 2)
        }
        _ => (Piece::Plain(&text[..text.len().min(2)]), text.len().min(2)),
    }
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
    use proptest::collection::vec;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn a_string_is_read_in_one_pass_as_in_two(
            pieces in vec(prop_oneof![
                4 => r#"[a-z]{0,40}"#, 4 => r#"([a-z]{0,12}\\"){1,4}"#, 3 => r#"\\["\\/bfnrt]"#, 1 => r"\\u[0-9a-fA-F]{4}", 1 => r"(\\ud[89a-f][0-9a-f]{2}){1,3}",
                1 => r"\\[a-z0-9]", 1 => "é|€|\u{7f}|\t",
            ], 0..30),
            behind in "\"[ ,:}a-z\"\\\\]{0,40}",
            invalid in any::<bool>(),
        ) {
            let mut text = pieces.concat().into_bytes();
            if invalid {
                text.extend_from_slice(b"\xff\xc3");
            }
            text.extend_from_slice(behind.as_bytes());
            let mut out = b"before".to_vec();
            let found = unescape_string(&text, &mut out);
            for looks in Looks::all() {
                let mut other = b"before".to_vec();
                prop_assert_eq!(looks.run(UnescapeString { text: &text, out: &mut other }), found, "{:?}", looks);
                prop_assert!(found.is_none() || other == out, "{:?}", looks);
            }
            if let Some(len) = found {
                prop_assert_eq!(text[len], b'"');
                let mut wanted = b"before".to_vec();
                unescape(&text[..len], &mut wanted);
                prop_assert_eq!(out, wanted);
                // The general way ends the string there, too, and finds no fault with it.
                prop_assert!(!has_control(&text) && is_strict(&[b"[\"", &text[..=len], b"]"].concat()));
            } else {
                // A string that ends well before the text does is declined only for an escape or a character that is none.
                let end = string_end(&text);
                let is_near = |end: usize| end + BLOCK_BYTES > text.len();
                let is_whole = |end: usize| is_strict(&[b"[\"", &text[..=end], b"]"].concat());
                prop_assert!(has_control(&text) || end.is_none_or(|end| is_near(end) || !is_whole(end)));
            }
        }
    }

    fn string_end(text: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            match text.get(at)? {
                b'"' => return Some(at),
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
    }

    /// Whether an array of one string is read in the strict mode.
    fn is_strict(array: &[u8]) -> bool {
        let line = [b"{\"a\":", array, b"}"].concat();
        let picker = crate::decode::json::Picker::new(&[]);
        picker.pick(&line, crate::decode::json::Mode::Strict, &mut []).is_ok()
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
