//! Names of rotated logs: which files beside a log are older generations of it, and in which order. Pure.

use std::cmp::Reverse;
use std::ffi::{OsStr, OsString};

/// An older file of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    pub name: OsString,
    pub shape: Shape,
    pub compressed: bool,
    /// Both the plain file and its `.gz` exist (the plain one is meant): it will not grow any more.
    pub twin: bool,
}

impl Sibling {
    /// The name without `.gz`, where it stays with the file: not for [`Shape::Number`], which moves up.
    pub fn lasting_name(&self) -> Option<&OsStr> {
        let name = self.name.as_encoded_bytes();
        (self.shape != Shape::Number).then(|| os_str(name.strip_suffix(b".gz").unwrap_or(name)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// `access.log-20261121`, `-2026112114`, `-20261121-1763730000`: logrotate's `dateext`.
    Date,
    /// `access.log.2`: logrotate, docker. The higher, the older.
    Number,
    /// `0.log.20261121-022602`: kubelet, in its local time.
    Kubelet,
}

/// The older generations of the log called `current`, oldest first. Of a plain file and its `.gz` twin only the plain
/// one is listed (the other may be half written); `.tmp` and unknown endings never are.
pub fn older_generations<'n>(current: &OsStr, names: impl IntoIterator<Item = &'n OsStr>) -> Vec<Sibling> {
    let mut found: Vec<(Key<'n>, bool, &'n OsStr)> = names
        .into_iter()
        .filter_map(|name| {
            let (key, compressed) = parse(current, name)?;
            Some((key, compressed, name))
        })
        .collect();
    // The plain one of a pair comes first, and swallows the other.
    found.sort_unstable();
    let mut siblings: Vec<Sibling> = Vec::with_capacity(found.len());
    let mut last: Option<Key<'n>> = None;
    for (key, compressed, name) in found {
        match siblings.last_mut() {
            Some(plain) if last == Some(key) => plain.twin = true,
            _ => siblings.push(Sibling { name: name.to_owned(), shape: key.0, compressed, twin: false }),
        }
        last = Some(key);
    }
    siblings
}

/// The log that `name` is an older generation of, by its name alone.
pub fn current_name(name: &OsStr) -> Option<&OsStr> {
    let bytes = without_gz(name.as_encoded_bytes()).0;
    let at = bytes.iter().rposition(|b| !(b.is_ascii_digit() || *b == b'-'))?;
    // `x.log.1`, `x.log.<date>-<time>`: a dot before; `x.log-<date>`: the first dash after the name.
    let cut = if bytes[at] == b'.' { at } else { at + 1 };
    let current = os_str(&bytes[..cut]);
    (cut > 0 && shape(bytes.get(cut..)?).is_some()).then_some(current)
}

/// Sorts oldest first: by shape, then by its number turned around, or by its date.
type Key<'n> = (Shape, Reverse<u32>, &'n [u8]);

fn parse<'n>(current: &OsStr, name: &'n OsStr) -> Option<(Key<'n>, bool)> {
    let suffix = name.as_encoded_bytes().strip_prefix(current.as_encoded_bytes())?;
    let (suffix, compressed) = without_gz(suffix);
    Some((shape(suffix)?, compressed))
}

fn shape(suffix: &[u8]) -> Option<Key<'_>> {
    let digits = |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    let (mark, rest) = suffix.split_first()?;
    let dash = memchr::memchr(b'-', rest);
    match (mark, dash) {
        (b'.', Some(8)) if rest.len() == 15 && digits(&rest[..8]) && digits(&rest[9..]) => {
            Some((Shape::Kubelet, Reverse(0), rest))
        }
        (b'.', None) if digits(rest) && rest[0] != b'0' && rest.len() <= 4 => {
            let number = rest.iter().fold(0, |n, digit| n * 10 + u32::from(digit - b'0'));
            Some((Shape::Number, Reverse(number), b""))
        }
        (b'-', None) if digits(rest) && (8..=14).contains(&rest.len()) => Some((Shape::Date, Reverse(0), rest)),
        (b'-', Some(8)) if digits(&rest[..8]) && digits(&rest[9..]) && rest.len() <= 20 => {
            Some((Shape::Date, Reverse(0), rest))
        }
        _ => None,
    }
}

fn without_gz(name: &[u8]) -> (&[u8], bool) {
    name.strip_suffix(b".gz").map_or((name, false), |plain| (plain, true))
}

/// Names are cut at ASCII characters only, which keeps them valid.
fn os_str(bytes: &[u8]) -> &OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(current: &str, names: &[&str]) -> Vec<String> {
        older_generations(current.as_ref(), names.iter().map(OsStr::new))
            .into_iter()
            .map(|s| format!("{}{}", s.name.display(), if s.twin { "+" } else { "" }))
            .collect()
    }

    #[test]
    fn older_generations_come_oldest_first() {
        let cases: [(&str, &[&str], &[&str]); 6] = [
            (
                "0.log",
                &["0.log.20261121-022616", "0.log", "0.log.20261121-022602.gz", "1.log", "0.log.20261120-235959.gz"],
                &["0.log.20261120-235959.gz", "0.log.20261121-022602.gz", "0.log.20261121-022616"],
            ),
            // kubelet died while compressing: the plain file is meant.
            ("0.log", &["0.log.20261121-022602.gz", "0.log.20261121-022602"], &["0.log.20261121-022602+"]),
            ("0.log", &["0.log.20261121-022602.tmp", "0.log.20261121-022602.gz.tmp", "0.log.2026-0226"], &[]),
            (
                "x-json.log",
                &["x-json.log.1", "x-json.log.10.gz", "x-json.log.2.gz"],
                &["x-json.log.10.gz", "x-json.log.2.gz", "x-json.log.1"],
            ),
            (
                "access.log",
                &[
                    "access.log-20261121.gz",
                    "access.log-20261120-1763730000",
                    "access.log-2026112014",
                    "access.log-old",
                ],
                &["access.log-20261120-1763730000", "access.log-2026112014", "access.log-20261121.gz"],
            ),
            ("a", &["a.0", "a.01", "a.1x", "a.1.bz2", "a.", "a-", "ab.1", "a.99999", "a.-1", ""], &[]),
        ];
        for (current, names, want) in cases {
            assert_eq!(listed(current, names), want, "{current}");
            let reversed: Vec<&str> = names.iter().rev().copied().collect();
            assert_eq!(listed(current, &reversed), want, "{current}, listed the other way round");
        }
    }

    #[test]
    fn a_rotated_name_tells_its_log() {
        for (name, current) in [
            ("0.log.20261121-022602.gz", Some("0.log")),
            ("access.log.1", Some("access.log")),
            ("access.log-20261121", Some("access.log")),
            ("access.log-20261120-1763730000.gz", Some("access.log")),
            ("access.log", None),
            ("app-2.log", None),
            (".1", None),
            ("20261121", None),
            ("", None),
            ("2026.1", Some("2026")),
        ] {
            assert_eq!(current_name(name.as_ref()), current.map(OsStr::new), "{name}");
        }
    }

    #[test]
    fn only_names_that_stay_are_lasting() {
        let names = ["a.20261121-022602.gz", "a.1.gz"];
        let siblings = older_generations("a".as_ref(), names.iter().map(OsStr::new));
        assert_eq!(siblings[0].lasting_name(), None);
        assert_eq!(siblings[1].lasting_name(), Some("a.20261121-022602".as_ref()));
    }
}
