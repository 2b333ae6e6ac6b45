//! Which files beside a log are older generations of it, from their names alone.
//!
//! - the kubelet: `0.log.20261121-022602`, later `.gz`; while it compresses, `.tmp`
//! - docker and logrotate: `app.log.1`, `app.log.2.gz`: the higher the number, the older
//! - logrotate with `dateext`: `app.log-20261121`, `app.log-20261121.gz`

use std::cmp::Reverse;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// A name beside a log, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The file's name.
    pub name: OsString,
    pub kind: Kind,
    pub compressed: bool,
    /// Both the plain file and its compressed form are there (the plain one is meant): it will not grow any more.
    pub twin: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// By a date; later is newer.
    Dated(Box<[u8]>),
    /// By the kubelet's time; later is newer.
    Kubelet(Box<[u8]>),
    /// By a number; higher is older.
    Numbered(Reverse<u64>),
}

impl Rotated {
    /// Whether the kubelet names files so: such a file always belongs to its log.
    pub fn is_kubelets(&self) -> bool {
        matches!(self.kind, Kind::Kubelet(_))
    }
}

/// A rotated name without `.gz`, if it stays with the file: a number moves on to another one with the next rotation.
pub fn lasting(name: &OsStr) -> Option<&OsStr> {
    let name = without_gz(name.as_bytes()).0;
    let end = name.rsplit(|byte| *byte == b'.').next()?;
    (!is_number(end)).then(|| OsStr::from_bytes(name))
}

/// What `name` is to the log `base`; nothing if it is no generation of it.
fn understand(base: &OsStr, name: &OsStr) -> Option<Rotated> {
    let (rest, compressed) = without_gz(name.as_bytes().strip_prefix(base.as_bytes())?);
    let digits = |text: &[u8], count: usize| text.len() == count && text.iter().all(u8::is_ascii_digit);
    let kind = if let Some(stamp) = rest.strip_prefix(b".") {
        match memchr::memchr(b'-', stamp).map(|at| (&stamp[..at], &stamp[at + 1..])) {
            Some((day, time)) if digits(day, 8) && digits(time, 6) => Kind::Kubelet(stamp.into()),
            None if is_number(stamp) => {
                Kind::Numbered(Reverse(stamp.iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0'))))
            }
            _ => return None,
        }
    } else {
        let date = rest.strip_prefix(b"-")?;
        let plausible = date.len() >= 8 && date.iter().all(|b| b.is_ascii_digit() || *b == b'-');
        if !plausible {
            return None;
        }
        Kind::Dated(date.into())
    };
    Some(Rotated { name: name.to_owned(), kind, compressed, twin: false })
}

/// The older generations of a log among the names of its directory, oldest first. Of a file and its compressed twin
/// only the plain one is taken: it is complete, the other one may be half written.
pub fn generations<'n>(base: &OsStr, names: impl IntoIterator<Item = &'n OsStr>) -> Vec<Rotated> {
    let mut found: Vec<Rotated> = names.into_iter().filter_map(|name| understand(base, name)).collect();
    found.sort_by(|a, b| (&a.kind, a.compressed).cmp(&(&b.kind, b.compressed)));
    found.dedup_by(|later, first| {
        let twins = later.kind == first.kind;
        first.twin |= twins;
        twins
    });
    found
}

/// The log that a file is an older generation of, if its name says so.
pub fn base_of(name: &str) -> Option<&str> {
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    plain
        .match_indices(['.', '-'])
        .map(|(at, _)| &name[..at])
        .find(|base| !base.is_empty() && understand(base.as_ref(), name.as_ref()).is_some())
}

/// Nine digits at most: more are a time or an identifier.
fn is_number(text: &[u8]) -> bool {
    (1..=9).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

fn without_gz(name: &[u8]) -> (&[u8], bool) {
    name.strip_suffix(b".gz").map_or((name, false), |plain| (plain, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(base: &str, names: &[&str]) -> Vec<String> {
        let found = generations(base.as_ref(), names.iter().map(OsStr::new)).into_iter();
        found.map(|r| format!("{}{}", r.name.display(), if r.twin { "+" } else { "" })).collect()
    }

    #[test]
    fn the_kubelets_files_come_oldest_first() {
        let found = names(
            "0.log",
            &[
                "0.log",
                "0.log.20261121-022616",
                "0.log.20261121-022602.gz",
                "0.log.20261121-022609",
                "0.log.20261121-022609.gz",
                "0.log.20261121-022616.tmp",
                "1.log",
                "1.log.20261121-022602",
                "10.log.20261121-022602",
            ],
        );
        assert_eq!(found, ["0.log.20261121-022602.gz", "0.log.20261121-022609+", "0.log.20261121-022616"]);
    }

    #[test]
    fn numbers_count_backwards_and_dates_forwards() {
        assert_eq!(
            names("x.log", &["x.log.1", "x.log.2.gz", "x.log.10.gz", "x.log.old"]),
            ["x.log.10.gz", "x.log.2.gz", "x.log.1"]
        );
        assert_eq!(
            names("x.log", &["x.log-20261121", "x.log-20261120.gz", "x.log-a", "x.log-"]),
            ["x.log-20261120.gz", "x.log-20261121"]
        );
    }

    #[test]
    fn a_rotated_name_tells_its_log() {
        for (name, base) in [
            ("0.log.20261121-022602.gz", Some("0.log")),
            ("x.log.1", Some("x.log")),
            ("x.log-20261121.gz", Some("x.log")),
            ("my-app.log-20261121", Some("my-app.log")),
            ("my-app.log-2026-11-21", Some("my-app.log")),
            ("my-app.log.20261121-022602", Some("my-app.log")),
            ("1.2.3", Some("1.2")),
            ("my-app.log", None),
            ("0.log", None),
            ("access.log", None),
            ("v1.2", Some("v1")),
            (".1", None),
        ] {
            assert_eq!(base_of(name), base, "{name}");
        }
    }

    #[test]
    fn only_names_that_stay_with_their_file_are_lasting() {
        for (name, stays) in [
            ("0.log.20261121-022602.gz", Some("0.log.20261121-022602")),
            ("0.log.20261121-022602", Some("0.log.20261121-022602")),
            ("x.log-20261121.gz", Some("x.log-20261121")),
            ("x.log.1.gz", None),
            ("x.log.12", None),
        ] {
            assert_eq!(lasting(name.as_ref()), stays.map(OsStr::new), "{name}");
        }
    }
}
