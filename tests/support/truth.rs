//! The truth beside a corpus or an excerpt: what nginx's own files say, counted by other programs.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

/// Counts by the value of one dimension.
pub type Counts = BTreeMap<String, u64>;

/// How many differing values a comparison names; the rest is counted.
const NAMED_MAX: usize = 20;

/// One truth.json: its runs (D1 and D2), and the sum of them.
pub struct Truth {
    whole: Value,
}

impl Truth {
    /// Reads `folder/truth.json`; panics with the path when it is not there or not JSON.
    pub fn load(folder: &Path) -> Truth {
        let path = folder.join("truth.json");
        let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let whole = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Truth { whole }
    }

    /// One run: "D1" or "D2".
    pub fn run(&self, name: &str) -> Part<'_> {
        Part { of: &self.whole["runs"][name] }
    }

    /// Both runs together.
    pub fn sum(&self) -> Part<'_> {
        Part { of: &self.whole["sum_of_runs"] }
    }
}

/// The counts of a run. A dimension is named by its path, as `access.by_status` or `modsec.denied_by_client`.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    of: &'a Value,
}

impl<'a> Part<'a> {
    /// One number, as `access.total` or `access.body_bytes_sent`.
    pub fn number(self, path: &str) -> u64 {
        self.at(path).as_u64().unwrap_or_else(|| panic!("`{path}` of truth.json is no number"))
    }

    /// A text, as `pod.namespace`.
    pub fn text(self, path: &str) -> &'a str {
        self.at(path).as_str().unwrap_or_else(|| panic!("`{path}` of truth.json is no text"))
    }

    /// Counts by one dimension, as `access.by_status`.
    pub fn counts(self, path: &str) -> Counts {
        counts_of(path, self.at(path))
    }

    /// Counts by two dimensions, as `access.status_by_ingress`: the outer one first.
    pub fn counts_by(self, path: &str) -> BTreeMap<String, Counts> {
        let outer = self.at(path).as_object().unwrap_or_else(|| panic!("`{path}` of truth.json is no object"));
        outer.iter().map(|(key, inner)| (key.clone(), counts_of(path, inner))).collect()
    }

    /// Counts by client, as weir names clients: see [`client`].
    pub fn clients(self, path: &str) -> Counts {
        rename(&self.counts(path), client)
    }

    fn at(self, path: &str) -> &'a Value {
        path.split('.').fold(self.of, |value, key| {
            value.get(key).unwrap_or_else(|| panic!("truth.json has no `{key}` (of `{path}`)"))
        })
    }
}

fn counts_of(path: &str, value: &Value) -> Counts {
    let object = value.as_object().unwrap_or_else(|| panic!("`{path}` of truth.json is no object"));
    let number = |count: &Value| count.as_u64().unwrap_or_else(|| panic!("`{path}` of truth.json holds {count}"));
    object.iter().map(|(key, count)| (key.clone(), number(count))).collect()
}

/// The same counts under other names; counts whose names become one add up.
pub fn rename(counts: &Counts, name: impl Fn(&str) -> String) -> Counts {
    let mut renamed = Counts::new();
    for (key, count) in counts {
        *renamed.entry(name(key)).or_insert(0) += count;
    }
    renamed
}

/// A client as the shipped configuration names it: an IPv4 address as it is, also when IPv6 carries it
/// (`::ffff:192.0.2.1`); another IPv6 address as its /64 network; what is no address unchanged.
pub fn client(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.to_string(),
            None => format!("{}/64", Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        },
        _ => address.to_owned(),
    }
}

/// Holds counts against the truth, value by value.
///
/// # Errors
/// The values that differ, those that are missing and those that should not be there, the largest difference first, and
/// the two totals.
pub fn compare(dimension: &str, want: &Counts, got: &Counts) -> Result<(), String> {
    let keys: BTreeSet<_> = want.keys().chain(got.keys()).collect();
    let count = |counts: &Counts, key: &str| counts.get(key).copied().unwrap_or(0);
    let mut differing: Vec<_> = keys
        .into_iter()
        .map(|key| (count(want, key), count(got, key), key))
        .filter(|(want, got, _)| want != got)
        .collect();
    if differing.is_empty() {
        return Ok(());
    }
    differing.sort_by_key(|(want, got, key)| (std::cmp::Reverse(want.abs_diff(*got)), *key));
    let (wanted, gotten): (u64, u64) = (want.values().sum(), got.values().sum());
    let mut text = format!("{dimension}: {} values differ; {wanted} in all wanted, {gotten} got\n", differing.len());
    for (want, got, key) in differing.iter().take(NAMED_MAX) {
        let sign = if got > want { '+' } else { '-' };
        let _ = writeln!(text, "  {key:?}: want {want}, got {got} ({sign}{})", want.abs_diff(*got));
    }
    if differing.len() > NAMED_MAX {
        let _ = writeln!(text, "  and {} more", differing.len() - NAMED_MAX);
    }
    Err(text)
}

/// Panics with every difference at once, so that one run of a test tells all that is wrong.
pub fn assert_all(results: impl IntoIterator<Item = Result<(), String>>) {
    let wrong: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} dimensions differ from the truth\n{}", wrong.len(), wrong.join(""));
}
