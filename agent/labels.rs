//! Label sets and label names.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// A label set in the order of its names: a target's labels, a stream's labels.
///
/// There are several of them for each file that is followed, so they are two pieces of memory, however many labels.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    /// Names and values, one behind the other.
    text: String,
    /// Where each name ends, and its value.
    ends: Vec<(u32, u32)>,
}

impl Labels {
    pub fn new() -> Self {
        Labels::default()
    }

    /// The value of a label; a missing label reads as the empty string, as everywhere in Prometheus.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).map_or("", |at| self.at(at).1)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    pub fn set(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        match self.find(name) {
            Ok(at) => {
                let (name_end, end) = self.ends[at];
                self.text.replace_range(name_end as usize..end as usize, value);
                self.move_ends(at, i64::from(name_end) - i64::from(end) + value.len() as i64);
                // The name stands where it stood.
                self.ends[at].0 = name_end;
            }
            Err(at) => {
                let start = self.start(at);
                self.text.insert_str(start, value);
                self.text.insert_str(start, name);
                self.move_ends(at, (name.len() + value.len()) as i64);
                self.ends.insert(at, (place(start + name.len()), place(start + name.len() + value.len())));
            }
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<String> {
        let at = self.find(name).ok()?;
        let (start, (name_end, end)) = (self.start(at), self.ends[at]);
        let value = self.text[name_end as usize..end as usize].to_string();
        self.text.replace_range(start..end as usize, "");
        self.ends.remove(at);
        self.move_ends(at, start as i64 - i64::from(end));
        Some(value)
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        let mut kept = Labels::new();
        self.iter().filter(|(name, value)| keep(name, value)).for_each(|(name, value)| kept.push(name, value));
        *self = kept;
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.ends.len()).map(|at| self.at(at))
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The place of a label, or the one where it belongs.
    fn find(&self, name: &str) -> Result<usize, usize> {
        // By places, since each says where the one behind it starts.
        let (mut from, mut to) = (0, self.ends.len());
        while from < to {
            let middle = from + (to - from) / 2;
            match self.at(middle).0.cmp(name) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => to = middle,
            }
        }
        Err(from)
    }

    fn at(&self, at: usize) -> (&str, &str) {
        let (name_end, end) = self.ends[at];
        (&self.text[self.start(at)..name_end as usize], &self.text[name_end as usize..end as usize])
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before].1 as usize)
    }

    /// A label that comes behind all others.
    fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let name_end = place(self.text.len());
        self.text.push_str(value);
        self.ends.push((name_end, place(self.text.len())));
    }

    /// The text before the ends from a place on has grown by so many bytes.
    fn move_ends(&mut self, at: usize, by: i64) {
        for (name_end, end) in &mut self.ends[at..] {
            *name_end = (i64::from(*name_end) + by) as u32;
            *end = (i64::from(*end) + by) as u32;
        }
    }
}

/// Labels of more than 4 GiB do not fit in any answer or file that they are read from.
fn place(at: usize) -> u32 {
    u32::try_from(at).expect("less than 4 GiB of labels")
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let sorted: BTreeMap<String, String> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut labels = Labels {
            text: String::with_capacity(sorted.iter().map(|(name, value)| name.len() + value.len()).sum()),
            ends: Vec::with_capacity(sorted.len()),
        };
        sorted.iter().for_each(|(name, value)| labels.push(name, value));
        labels
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
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
    use proptest::prelude::*;

    proptest! {
        /// Set, set again, taken away, and what is left kept or not.
        #[test]
        fn labels_are_a_map_in_the_order_of_its_names(
            steps in prop::collection::vec(("[a-d]{0,2}|ä", prop::option::of("[x-z]{0,3}|ö")), 0..24),
            kept in "[x-z]",
        ) {
            let (mut labels, mut map) = (Labels::new(), BTreeMap::new());
            for (name, value) in &steps {
                match value {
                    Some(value) => {
                        labels.set(name, value);
                        map.insert(name.clone(), value.clone());
                    }
                    None => prop_assert_eq!(labels.remove(name), map.remove(name)),
                }
                prop_assert!(labels.iter().eq(map.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
                prop_assert_eq!(&labels, &map.clone().into_iter().collect());
                prop_assert_eq!(labels.get(name), map.get(name).map_or("", String::as_str));
                prop_assert_eq!((labels.contains(name), labels.len()), (map.contains_key(name), map.len()));
            }
            let before: Labels = steps.iter().map(|(name, _)| (name.as_str(), "")).collect();
            prop_assert_eq!(before.cmp(&labels), before.iter().cmp(labels.iter()));
            labels.retain(|_, value| value.starts_with(&kept));
            map.retain(|_, value| value.starts_with(&kept));
            prop_assert_eq!(labels, map.into_iter().collect());
        }
    }

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
