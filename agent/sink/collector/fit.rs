//! Texts as protobuf wants them: UTF-8. Log lines are any bytes.

use crate::sink::wire::write;
use crate::words;

/// The text as it is, which then is UTF-8, or in `spare` with U+FFFD for each byte that is no UTF-8, as Go reads such bytes. Adds to
/// `replaced` how many bytes those were.
#[inline]
pub(super) fn fit<'t>(bytes: &'t [u8], spare: &'t mut String, replaced: &mut usize) -> &'t [u8] {
    if words::is_ascii(bytes) || str::from_utf8(bytes).is_ok() {
        bytes
    } else {
        replace(bytes, spare, replaced).as_bytes()
    }
}

#[cold]
fn replace<'t>(bytes: &[u8], spare: &'t mut String, replaced: &mut usize) -> &'t str {
    spare.clear();
    for chunk in bytes.utf8_chunks() {
        spare.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|_| spare.push('\u{fffd}'));
        *replaced += chunk.invalid().len();
    }
    spare
}

/// Appends a pair of structured metadata to what is sent. The bytes of name and value.
pub(super) fn write_pair(
    name: &[u8],
    value: &[u8],
    out: &mut Vec<u8>,
    spare: &mut String,
    replaced: &mut usize,
) -> usize {
    let value = fit(value, spare, replaced);
    // Names come from the configuration, which is UTF-8: nothing is allocated.
    let name = String::from_utf8_lossy(name);
    write::metadata_pair(out, name.as_bytes(), value);
    name.len() + value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_that_is_no_utf8_is_replaced() {
        // The middle ones begin characters of three and four bytes and break off, where Rust alone would write one.
        let cases: [(&[u8], &str, usize); 5] = [
            (b"plain \xc3\xa4", "plain \u{e4}", 0),
            (b"a\xffb", "a\u{fffd}b", 1),
            (b"\xe2\x82x", "\u{fffd}\u{fffd}x", 2),
            (b"\xf0\x9f\x98", "\u{fffd}\u{fffd}\u{fffd}", 3),
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}", 3),
        ];
        let mut spare = "left over".to_string();
        for (bytes, text, bad) in cases {
            let mut replaced = 0;
            assert_eq!((fit(bytes, &mut spare, &mut replaced), replaced), (text.as_bytes(), bad));
        }
    }
}
