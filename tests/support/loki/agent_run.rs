//! The real agent between containers that log and a fake Loki: what was written, what Loki holds, and what is the matter
//! between the two.

use super::super::agent::{Agent, Page, arguments};
use super::super::process::{PATIENCE, free_port, weir};
use super::labels;
use super::server::LokiServer;
use super::state::{FakeLoki, Held, ONLY_TENANT};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The metric that counts the lines of a [`Writer`].
pub const LINES: &str = "t_lines_total";

const JOB: &str = "
scrape_configs:
  - job_name: pods
    pod_directory_sd_configs: [{root: FOLDER/pods}]
    pipeline_stages:
      - cri: {}
STAGES      - metrics:
          lines_total: {type: Counter, prefix: t_, config: {match_all: true, action: inc}}
";

/// A folder with logs, a configuration and a state directory, in front of a Loki. The agent keeps its port over restarts.
pub struct Run {
    folder: TempDir,
    pub server: LokiServer,
    pub clients: Vec<Client>,
    /// What stands under `delivery`, if anything.
    pub delivery: String,
    /// Stages after `cri`, one in each item.
    pub stages: Vec<String>,
    port: u16,
}

/// One of `clients`, as YAML.
pub struct Client {
    pub url: String,
    /// When it sends and waits; short, because tests are.
    pub timing: String,
    pub more: String,
}

impl Client {
    pub fn new(url: String) -> Client {
        let timing = "batchwait: 50ms, timeout: 1s, backoff_config: {min_period: 50ms, max_period: 300ms}".to_string();
        Client { url, timing, more: String::new() }
    }
}

impl Run {
    /// One client that pushes to this Loki.
    pub fn new(loki: FakeLoki) -> Run {
        let server = LokiServer::start(loki);
        let clients = vec![Client::new(server.url())];
        let folder = TempDir::new().expect("a folder");
        fs::create_dir(folder.path().join("pods")).expect("a folder");
        let delivery = "shutdown_grace: 2s".to_string();
        Run { folder, server, clients, delivery, stages: Vec::new(), port: free_port() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A container of a pod of this name.
    pub fn writer(&self, pod: &str) -> Writer {
        Writer::new(&self.path("pods"), pod)
    }

    /// Writes the configuration and starts the agent with it.
    pub fn start(&self) -> Agent {
        Agent::of(self.command())
    }

    /// The agent of this run, not started yet.
    pub fn command(&self) -> Command {
        let config = self.path("weir.yaml");
        fs::write(&config, self.config()).expect("written");
        let mut command = weir(&[]);
        command.args(arguments(&config, self.port));
        command
    }

    fn config(&self) -> String {
        let mut config =
            "state: {directory: FOLDER/state}\nmetrics: {birth_hold: 0, final_scrape_wait: 0}\n".to_string();
        if !self.delivery.is_empty() {
            let _ = writeln!(config, "delivery: {{{}}}", self.delivery);
        }
        config.push_str("clients:\n");
        for Client { url, timing, more } in &self.clients {
            let _ = writeln!(config, "  - {{url: '{url}', {timing}, {more}}}");
        }
        let stages: String = self.stages.iter().map(|stage| format!("      - {stage}\n")).collect();
        config.push_str(&JOB.replace("STAGES", &stages));
        config.replace("FOLDER", self.folder.path().to_str().expect("ASCII"))
    }

    /// Waits until the agent has counted all that was written: counting waits for no Loki.
    #[track_caller]
    pub fn assert_counted(&self, agent: &Agent, writers: &[&Writer]) -> Page {
        let lines: usize = writers.iter().map(|writer| writer.written.len()).sum();
        let page = agent.until(&format!("{lines} lines counted"), |page| page.get(LINES, &[]) >= lines as f64);
        assert_eq!(page.get(LINES, &[]), lines as f64, "{}", page.text);
        page
    }

    /// Waits until Loki holds what was written, and nothing else, each entry once and in the order of its stream.
    #[track_caller]
    pub fn assert_delivered(&self, agent: &Agent, writers: &[&Writer]) {
        let expected = expected(writers.iter().flat_map(|writer| &writer.written));
        self.assert_held(agent, &expected);
        self.assert_counted(agent, writers);
    }

    /// Waits until Loki holds exactly this.
    #[track_caller]
    pub fn assert_held(&self, agent: &Agent, expected: &BTreeSet<Held>) {
        let all = |loki: &mut FakeLoki| loki.count() >= expected.len() && loki.held().is_superset(expected);
        let came = self.server.wait(PATIENCE, all);
        let (verdict, summary, reordered) =
            self.server.with(|loki| (Verdict::of(expected, &loki.held()), loki.summary(), loki.reordered()));
        if !came || !verdict.is_right() {
            let page = agent.scrape().text;
            let own: Vec<_> = page.lines().filter(|line| line.starts_with("weir_client_")).collect();
            panic!("{verdict}\n{summary}\n{}\n{}", own.join("\n"), agent.log());
        }
        assert!(reordered.is_empty(), "{} out of order, first {:?}", reordered.len(), reordered[0]);
    }
}

/// A line that a container wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub tenant: String,
    /// As Loki shows them.
    pub labels: String,
    /// Nanoseconds since 1970.
    pub timestamp: i64,
    pub line: String,
}

/// What Loki must hold of these: a line that is there twice at the same time has its twin a nanosecond later.
pub fn expected<'w>(written: impl IntoIterator<Item = &'w Written>) -> BTreeSet<Held> {
    let mut expected = BTreeSet::new();
    for Written { tenant, labels, timestamp, line } in written {
        let (tenant, labels, metadata) = (tenant.clone(), labels.clone(), Vec::new());
        let entry = super::Entry { timestamp: *timestamp, line: line.clone(), metadata };
        let mut held = Held { tenant, labels, entry };
        while !expected.insert(held.clone()) {
            held.entry.timestamp += 1;
        }
    }
    expected
}

/// What was written beside what is held.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Written, and nowhere.
    pub missing: Vec<Held>,
    /// Held, and never written.
    pub extra: Vec<Held>,
    /// Held once more with another timestamp than it was written with.
    pub doubled: Vec<Held>,
}

impl Verdict {
    pub fn of(expected: &BTreeSet<Held>, held: &BTreeSet<Held>) -> Verdict {
        let text = |held: &Held| (held.tenant.clone(), held.labels.clone(), held.entry.line.clone());
        let written: BTreeSet<_> = expected.iter().map(text).collect();
        let missing = expected.difference(held).cloned().collect();
        let unknown = held.difference(expected).cloned();
        let (doubled, extra) = unknown.partition(|held| written.contains(&text(held)));
        Verdict { missing, extra, doubled }
    }

    pub fn is_right(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.doubled.is_empty()
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (what, found) in [("missing", &self.missing), ("extra", &self.extra), ("doubled", &self.doubled)] {
            if let (Some(first), Some(last)) = (found.first(), found.last()) {
                writeln!(f, "{} {what}:\n  {first:?}\n  … {last:?}", found.len())?;
            }
        }
        Ok(())
    }
}

/// A container that logs as containerd writes it: whole lines and lines in two pieces, of both streams, some of them
/// twice at the same time. It knows what Loki is to hold of each.
pub struct Writer {
    path: PathBuf,
    log: File,
    /// Whom its lines belong to; [`ONLY_TENANT`] unless a test says otherwise.
    pub tenant: String,
    /// Labels of every entry beside the file's name and the stream.
    pub labels: Vec<(String, String)>,
    pub written: Vec<Written>,
    /// Follows what was said at the end of each line.
    pub padding: usize,
    /// Of the last line.
    time: i64,
    rotations: u32,
}

impl Writer {
    fn new(pods: &Path, pod: &str) -> Writer {
        let folder = pods.join(format!("shop_{pod}_{}", uid(pod))).join("app");
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("0.log");
        Writer {
            log: open(&path),
            path,
            tenant: ONLY_TENANT.to_string(),
            labels: Vec::new(),
            written: Vec::new(),
            padding: 40,
            time: 0,
            rotations: 0,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes so many lines, the next ones with the time of now.
    pub fn lines(&mut self, count: usize) {
        self.lines_since(count, Timestamp::now().as_nanosecond() as i64);
    }

    /// Writes so many lines, a microsecond apart, from this time on.
    pub fn lines_since(&mut self, count: usize, start: i64) {
        self.time = start.max(self.time + 1000);
        let mut text = String::new();
        for _ in 0..count {
            self.time += 1000;
            let number = self.written.len();
            let line = format!("line {number} {}", "x".repeat(self.padding));
            self.put(&mut text, number, &line);
            if number % 50 == 49 {
                self.put(&mut text, number, &line);
            }
        }
        self.write(&text);
    }

    /// Writes a line with this text and time.
    pub fn line_at(&mut self, timestamp: i64, line: &str) {
        self.time = timestamp;
        let (mut text, number) = (String::new(), 1);
        self.put(&mut text, number, line);
        self.write(&text);
    }

    fn put(&mut self, text: &mut String, number: usize, line: &str) {
        let stream = if number.is_multiple_of(4) { "stderr" } else { "stdout" };
        let time = Timestamp::from_nanosecond(self.time.into()).expect("a time of now");
        // The whole has the time of its last piece.
        let mut rest = line;
        if number % 7 == 3 {
            let (first, second) = line.split_at(line.len() / 2);
            let _ = writeln!(text, "{time:.9} {stream} P {first}");
            rest = second;
        }
        let _ = writeln!(text, "{time:.9} {stream} F {rest}");
        let mut labels = self.labels.clone();
        labels.push(("filename".to_string(), self.path.display().to_string()));
        labels.push(("stream".to_string(), stream.to_string()));
        labels.sort();
        self.written.push(Written {
            tenant: self.tenant.clone(),
            labels: labels::write(&labels),
            timestamp: self.time,
            line: line.to_string(),
        });
    }

    fn write(&mut self, text: &str) {
        // Two writes that end anywhere, as a full pipe makes them.
        let (first, second) = text.as_bytes().split_at(text.len() * 3 / 7);
        self.log.write_all(first).expect("written");
        self.log.write_all(second).expect("written");
    }

    /// Rotates the log as the kubelet does.
    pub fn rotate(&mut self) {
        let second = self.rotations;
        let time = format!("{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60);
        fs::rename(&self.path, self.path.with_file_name(format!("0.log.20261121-{time}"))).expect("renamed");
        self.rotations += 1;
        self.log = open(&self.path);
    }

    /// Deletes all rotated logs.
    pub fn delete_rotated(&mut self) {
        let folder = self.path.parent().expect("a folder");
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path != self.path {
                fs::remove_file(path).expect("removed");
            }
        }
    }

    /// Lines by their text, for tests that look for some.
    pub fn times_by_line(&self) -> BTreeMap<&str, i64> {
        self.written.iter().map(|written| (written.line.as_str(), written.timestamp)).collect()
    }
}

fn open(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("a log")
}

/// A pod's identity, made of its name.
fn uid(pod: &str) -> String {
    let hash = pod.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    format!("{:08x}-1111-4111-8111-111111111111", hash as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(timestamp: i64, line: &str) -> Written {
        let (tenant, labels) = ("t".to_string(), "{a=\"b\"}".to_string());
        Written { tenant, labels, timestamp, line: line.to_string() }
    }

    #[test]
    fn the_judge_tells_what_is_missing_extra_and_doubled() {
        let all = [written(1, "a"), written(1, "a"), written(2, "b"), written(3, "c")];
        let expected = expected(&all);
        let times: Vec<_> = expected.iter().map(|held| held.entry.timestamp).collect();
        assert_eq!(times, [1, 2, 2, 3]);
        assert!(Verdict::of(&expected, &expected).is_right());
        let held =
            super::expected(&[written(1, "a"), written(2, "a"), written(2, "b"), written(4, "b"), written(9, "d")]);
        let verdict = Verdict::of(&expected, &held);
        let lines = |found: &[Held]| found.iter().map(|held| held.entry.line.clone()).collect::<Vec<_>>();
        assert_eq!([lines(&verdict.missing), lines(&verdict.doubled), lines(&verdict.extra)], [["c"], ["b"], ["d"]]);
    }
}
