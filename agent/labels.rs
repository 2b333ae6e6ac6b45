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
/// and for control characters, `\u....` for other unprintable characters.
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
                c if (c as u32) < 0x20 || c == '\x7f' => write!(out, "\\x{:02x}", c as u32)?,
                c if c.is_control()
                    || matches!(c, '\u{a0}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{feff}') =>
                {
                    write!(out, "\\u{:04x}", c as u32)?
                }
                c => out.write_char(c)?,
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}")?;
        }
    }
    out.write_char('"')
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
    fn names_are_checked_from_the_first_byte_on() {
        for (name, ok) in [("a", true), ("_a1", true), ("1a", false), ("", false), ("a-b", false), ("ä", false)] {
            assert_eq!(is_label_name(name), ok, "{name:?}");
        }
        assert!(is_metric_name("job:x_total") && !is_label_name("job:x_total"));
    }
}
