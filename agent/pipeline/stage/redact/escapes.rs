//! Characters as logs write them: percent-encoded once or more often, as an escape of JSON, or as nginx's `\x22`.

/// One character of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// What it stands for; the first byte of what is not ASCII.
    pub byte: u8,
    /// Bytes of the text that it takes, at least 1.
    pub len: usize,
    /// How often it is percent-encoded.
    pub level: u32,
}

/// The character at `at`, which must lie within the text. Several backslashes, as in JSON within JSON, are of the
/// character behind them if that is an escape; alone they are one backslash.
pub(super) fn unit(text: &[u8], at: usize) -> Unit {
    let plain = Unit { byte: text[at], len: 1, level: 0 };
    match text[at] {
        b'%' => percent(text, at).unwrap_or(plain),
        b'\\' => {
            let run = backslashes(text, at);
            let behind = &text[at + run..];
            let (byte, len) = match behind.first() {
                Some(b'u') => match hex(behind.get(1..5)) {
                    Some(code) => (u8::try_from(code).unwrap_or(0xff), 5),
                    None => (b'\\', 0),
                },
                Some(b'x') => match hex(behind.get(1..3)) {
                    Some(code) => (code as u8, 3),
                    None => (b'\\', 0),
                },
                Some(b'n') => (b'\n', 1),
                Some(b'r') => (b'\r', 1),
                Some(b't') => (b'\t', 1),
                Some(b'b' | b'f') if run % 2 == 1 => (b' ', 1),
                Some(b'/') => (b'/', 1),
                Some(b'"') => (b'"', 1),
                _ => (b'\\', 0),
            };
            Unit { byte, len: run + len, level: 0 }
        }
        _ => plain,
    }
}

/// `%3D`, or `%253D` if it is encoded twice, and so on.
fn percent(text: &[u8], at: usize) -> Option<Unit> {
    let mut digits = at + 1;
    let mut level = 1;
    while text[digits..].starts_with(b"25") && hex(text.get(digits + 2..digits + 4)).is_some() {
        digits += 2;
        level += 1;
    }
    let code = hex(text.get(digits..digits + 2))?;
    Some(Unit { byte: code as u8, len: digits + 2 - at, level })
}

/// How many backslashes stand here.
pub(super) fn backslashes(text: &[u8], at: usize) -> usize {
    text[at..].iter().take_while(|byte| **byte == b'\\').count()
}

fn hex(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |sum, digit| Some(sum << 4 | (*digit as char).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_read_however_they_are_written() {
        for (text, byte, len, level) in [
            ("=", b'=', 1, 0),
            ("%3D", b'=', 3, 1),
            ("%3d0", b'=', 3, 1),
            ("%253D", b'=', 5, 2),
            ("%25253D", b'=', 7, 3),
            ("%25", b'%', 3, 1),
            ("%25zz", b'%', 3, 1),
            ("%2", b'%', 1, 0),
            ("%zz", b'%', 1, 0),
            (r"\u0026", b'&', 6, 0),
            (r"\\u0026", b'&', 7, 0),
            (r"\u20ac", 0xff, 6, 0),
            (r"\u12", b'\\', 1, 0),
            (r"\x22", b'"', 4, 0),
            (r"\n", b'\n', 2, 0),
            ("\\\\\\\"", b'"', 4, 0),
            (r"\\q", b'\\', 2, 0),
            (r"\", b'\\', 1, 0),
        ] {
            assert_eq!(unit(text.as_bytes(), 0), Unit { byte, len, level }, "{text}");
        }
    }
}
