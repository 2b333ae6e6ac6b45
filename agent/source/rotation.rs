//! Which files beside a log are older generations of it, from their names alone.
//!
//! - the kubelet: `0.log.20261121-022602`, later `.gz`; while it compresses, `.tmp`
//! - docker and logrotate: `app.log.1`, `app.log.2.gz`: the higher the number, the older
//! - logrotate with `dateext`: `app.log-20261121`, `app.log-20261121.gz`

use std::cmp::Reverse;
use std::io;
use std::path::{Path, PathBuf};

/// A name beside a log, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The file's name.
    pub name: String,
    pub kind: Kind,
    pub compressed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// By a date; later is newer.
    Dated(String),
    /// By the kubelet's time; later is newer.
    Kubelet(String),
    /// By a number; higher is older.
    Numbered(Reverse<u64>),
}

impl Rotated {
    /// Whether the kubelet names files so: such a file always belongs to its log.
    pub fn is_kubelets(&self) -> bool {
        matches!(self.kind, Kind::Kubelet(_))
    }

    /// The name without the ending of its compressed form.
    pub fn logical(&self) -> &str {
        self.name.strip_suffix(".gz").unwrap_or(&self.name)
    }

    /// Whether the name moves on to another file with the next rotation.
    pub fn is_numbered(&self) -> bool {
        matches!(self.kind, Kind::Numbered(_))
    }
}

/// What `name` is to the log `base`; nothing if it is no generation of it.
pub fn understand(base: &str, name: &str) -> Option<Rotated> {
    let rest = name.strip_prefix(base)?;
    let (rest, compressed) = match rest.strip_suffix(".gz") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let kind = if let Some(stamp) = rest.strip_prefix('.') {
        match stamp.split_once('-') {
            Some((day, time)) if digits(day, 8) && digits(time, 6) => Kind::Kubelet(stamp.to_string()),
            None if !stamp.is_empty() && stamp.len() <= 9 && digits(stamp, stamp.len()) => {
                Kind::Numbered(Reverse(stamp.parse().ok()?))
            }
            _ => return None,
        }
    } else {
        let date = rest.strip_prefix('-')?;
        let plausible = date.len() >= 8 && date.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        if !plausible {
            return None;
        }
        Kind::Dated(date.to_string())
    };
    Some(Rotated { name: name.to_string(), kind, compressed })
}

/// The older generations of a log among the names of its directory, oldest first. Of a file and its compressed twin
/// only the plain one is taken: it is complete, the other one may be half written.
pub fn generations<'n>(base: &str, names: impl Iterator<Item = &'n str>) -> Vec<Rotated> {
    let mut found: Vec<Rotated> = names.filter_map(|name| understand(base, name)).collect();
    found.sort_by(|a, b| (&a.kind, a.compressed).cmp(&(&b.kind, b.compressed)));
    found.dedup_by(|later, first| later.kind == first.kind);
    found
}

/// The older generations beside a file, oldest first; none where there is no directory.
pub fn siblings(real: &Path) -> io::Result<Vec<Rotated>> {
    let (Some(folder), Some(base)) = (real.parent(), real.file_name()) else { return Ok(Vec::new()) };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<io::Result<Vec<String>>>()?;
    Ok(generations(&base.to_string_lossy(), names.iter().map(String::as_str)))
}

/// The compressed form of a file.
pub fn packed(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_os_string();
    path.push(".gz");
    path.into()
}

/// The log that a file is an older generation of, if its name says so.
pub fn base_of(name: &str) -> Option<&str> {
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    plain
        .match_indices(['.', '-'])
        .map(|(at, _)| &name[..at])
        .find(|base| !base.is_empty() && understand(base, name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(base: &str, names: &[&str]) -> Vec<String> {
        generations(base, names.iter().copied()).into_iter().map(|r| r.name).collect()
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
        assert_eq!(found, ["0.log.20261121-022602.gz", "0.log.20261121-022609", "0.log.20261121-022616"]);
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
}
