//! Label sets and label names.

use std::collections::BTreeMap;
use std::fmt;

/// A label set in the order of its names: a target's labels, a stream's labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    pub fn new() -> Self {
        Labels::default()
    }

    /// The value of a label; a missing label reads as the empty string, as everywhere in Prometheus.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    pub fn remove(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.0.retain(|name, value| keep(name, value));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Labels(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// `{a="b", c="d"}`: Loki's and Promtail's notation, values quoted as Go's `strconv.Quote` does.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{name}=")?;
            write_quoted(f, value.as_bytes())?;
        }
        f.write_str("}")
    }
}

/// Writes bytes as Go's `strconv.Quote` would: double quotes, `\a\b\f\n\r\t\v`, `\x..` for bytes that are no UTF-8
/// and for control characters of ASCII, `\u....` and `\U........` for other characters that are not
/// [printable](is_printable).
pub fn write_quoted(out: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    out.write_char('"')?;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.write_str("\\\"")?,
                '\\' => out.write_str("\\\\")?,
                '\x07' => out.write_str("\\a")?,
                '\x08' => out.write_str("\\b")?,
                '\x0c' => out.write_str("\\f")?,
                '\n' => out.write_str("\\n")?,
                '\r' => out.write_str("\\r")?,
                '\t' => out.write_str("\\t")?,
                '\x0b' => out.write_str("\\v")?,
                c if c.is_ascii_control() => write!(out, "\\x{:02x}", c as u32)?,
                c if is_printable(c) => out.write_char(c)?,
                c if (c as u32) < 0x1_0000 => write!(out, "\\u{:04x}", c as u32)?,
                c => write!(out, "\\U{:08x}", c as u32)?,
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}")?;
        }
    }
    out.write_char('"')
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
///
/// The standard library tells the same of a character inside a text by escaping the others for debugging. It may know
/// characters of a newer Unicode than Go does; Loki reads both notations of them as the same label.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // Marks are escaped only where no character stands before them.
    let mut text = [b'a'; 5];
    let end = 1 + c.encode_utf8(&mut text[1..]).len();
    str::from_utf8(&text[..end]).is_ok_and(|text| text.escape_debug().nth(1) == Some(c))
}

/// Whether a name may stand as a label: `[a-zA-Z_][a-zA-Z0-9_]*` (Prometheus' data model, the legacy scheme that
/// Promtail's `labels` stage demands).
pub fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a name may stand as a metric: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// Makes a name fit for a label as Kubernetes discovery does: every other byte becomes `_`.
pub fn sanitize_label_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_print_as_loki_writes_them() {
        let labels: Labels = [("b", "say \"hi\"\n"), ("a", "x\u{7f}")].into_iter().collect();
        assert_eq!(labels.to_string(), r#"{a="x\x7f", b="say \"hi\"\n"}"#);
    }

    #[test]
    fn values_are_quoted_as_go_quotes_them() {
        let cases: [(&[u8], &str); 8] = [
            ("plain ä 世界 🦀".as_bytes(), "plain ä 世界 🦀"),
            (b"\x07\x08\x0c\n\r\t\x0b\\\"'`", r#"\a\b\f\n\r\t\v\\\"'`"#),
            (b"\x00\x1f\x7f", r"\x00\x1f\x7f"),
            // Controls, a soft hyphen, spaces and what directs text.
            ("\u{80}\u{a0}\u{ad}".as_bytes(), r"\u0080\u00a0\u00ad"),
            ("\u{2003}\u{2028}\u{202e}\u{3000}\u{feff}".as_bytes(), r"\u2003\u2028\u202e\u3000\ufeff"),
            // Private use, no character at all, a tag.
            ("\u{e000}\u{ffff}\u{e0041}\u{10ffff}".as_bytes(), r"\ue000\uffff\U000e0041\U0010ffff"),
            // A mark that changes the letter before it, alone and at its place, and the replacement character.
            ("\u{301}e\u{301}\u{fffd}".as_bytes(), "\u{301}e\u{301}\u{fffd}"),
            (b"a\xffb\xe2\x82", r"a\xffb\xe2\x82"),
        ];
        for (bytes, quoted) in cases {
            let mut out = String::new();
            write_quoted(&mut out, bytes).expect("a string takes anything");
            assert_eq!(out, format!("\"{quoted}\""));
        }
    }

    #[test]
    fn names_are_checked_from_the_first_byte_on() {
        for (name, ok) in [("a", true), ("_a1", true), ("1a", false), ("", false), ("a-b", false), ("ä", false)] {
            assert_eq!(is_label_name(name), ok, "{name:?}");
        }
        assert!(is_metric_name("job:x_total") && !is_label_name("job:x_total"));
    }
}
