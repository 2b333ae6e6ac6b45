//! Faults at a chosen system call, by strace's injection.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What changes a directory or makes it durable.
pub const WRITING: [&str; 13] = [
    "openat",
    "mkdir",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "fdatasync",
    "fsync",
    "rename",
    "renameat",
    "renameat2",
    "ftruncate",
    "fallocate",
];

/// The n-th call of one kind; each thread counts its own, from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub name: String,
    pub n: usize,
}

/// What a run did to a directory.
#[derive(Debug, Default)]
pub struct Calls {
    /// How often each call was made by the thread that made most of them.
    pub counts: BTreeMap<String, usize>,
    /// Files and directories that they concerned, without the directory's own path.
    paths: Vec<String>,
}

impl Calls {
    /// Every call of the run, the first of each name, then the second, and so on.
    pub fn each(&self) -> Vec<Call> {
        let longest = self.counts.values().copied().max().unwrap_or(0);
        let ranks = (1..=longest)
            .flat_map(|n| self.counts.iter().filter(move |(_, count)| n <= **count).map(move |(name, _)| (name, n)));
        ranks.map(|(name, n)| Call { name: name.clone(), n }).collect()
    }
}

/// The arguments that let strace write what a command does with files, after what is in the log already.
pub fn watch(log: &Path) -> Vec<String> {
    let calls = WRITING.join(",");
    strings(&[
        "strace",
        "-f",
        "-qq",
        "-yy",
        "-s",
        "0",
        "-o",
        utf8(log),
        "-e",
        &format!("trace={calls}"),
        "-e",
        "signal=none",
    ])
}

/// Reads what [`watch`] wrote.
pub fn calls_below(log: &Path, directory: &Path) -> Calls {
    let directory = utf8(directory);
    let mut by_thread: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut calls = Calls::default();
    for line in fs::read_to_string(log).expect("strace wrote").lines() {
        // `1234  fdatasync(7</state/log.1>) = 0`; a call that ends later says `<unfinished ...>` first.
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let (Some((name, _)), Some(at)) = (call.trim_start().split_once('('), call.find(directory)) else { continue };
        // To be found it need not change anything: opened to be read.
        if call.contains("resumed>") || (name == "openat" && !call.contains("O_CREAT")) {
            continue;
        }
        let path = call[at + directory.len()..].split(['>', '"', ',']).next().unwrap_or_default().to_string();
        *by_thread.entry((thread.to_string(), name.to_string())).or_default() += 1;
        if !calls.paths.contains(&path) {
            calls.paths.push(path);
        }
    }
    for ((_, name), count) in by_thread {
        let most = calls.counts.entry(name).or_default();
        *most = count.max(*most);
    }
    calls
}

/// The arguments that let a command meet this fault (`signal=KILL`, `error=EIO`, `delay_exit=2000000`) at such a call on
/// a file of this directory; `after` is empty, or `+` for all calls that follow too.
pub fn inject(calls: &Calls, directory: &Path, call: &Call, fault: &str, after: &str) -> Vec<String> {
    let (name, n, directory) = (&call.name, call.n, utf8(directory));
    let mut arguments = strings(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={name}")]);
    for path in &calls.paths {
        arguments.extend(strings(&["-P", &format!("{directory}{path}")]));
    }
    arguments.extend(strings(&["-e", &format!("inject={name}:{fault}:when={n}{after}")]));
    arguments
}

fn strings(strings: &[&str]) -> Vec<String> {
    strings.iter().map(|text| text.to_string()).collect()
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("ASCII")
}
