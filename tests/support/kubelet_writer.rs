//! A node whose containers log while the agent lives and dies: containerd's lines, the kubelet's rotation.

use super::agent::{Agent, arguments};
use super::process::{free_port, weir};
use super::prometheus::Scraper;
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub const POD: &str = "shop_web-1_11111111-1111-4111-8111-111111111111";

/// The metric that counts the lines of a [`Container`], by the kind that the line names.
pub const LINES: &str = "t_lines_total";
pub const JOB: &str = "pods";

const JOBS: &str = r#"
scrape_configs:
  - job_name: pods
    pod_directory_sd_configs: [{root: FOLDER/pods}]
    pipeline_stages:
      - cri: {}
      - json: {expressions: {kind: }}
      - metrics:
          lines_total: {type: Counter, prefix: t_, labels: {kind: }, config: {match_all: true, action: inc}}
"#;

/// A folder with logs, a configuration and a state directory. The agent keeps its port over restarts.
pub struct Node {
    folder: TempDir,
    state: PathBuf,
    pub port: u16,
}

impl Node {
    /// With durable counters; a newborn series is shown as 0 for so long.
    pub fn durable(birth_hold: &str) -> Node {
        let folder = TempDir::new().expect("a folder");
        let state = folder.path().join("state");
        Node::new(folder, state, birth_hold)
    }

    /// The same with its state directory elsewhere.
    pub fn durable_in(state: PathBuf, birth_hold: &str) -> Node {
        Node::new(TempDir::new().expect("a folder"), state, birth_hold)
    }

    /// The same with everything in a folder there.
    pub fn durable_on(disk: &Path, birth_hold: &str) -> Node {
        let folder = TempDir::new_in(disk).expect("a folder");
        let state = folder.path().join("state");
        Node::new(folder, state, birth_hold)
    }

    /// With counters in memory that begin with their first line, as every peer has them.
    pub fn forgetful() -> Node {
        let node = Node::durable("0");
        node.configure_with("metrics: {birth_hold: 0, final_scrape_wait: 0}\n");
        node
    }

    fn new(folder: TempDir, state: PathBuf, birth_hold: &str) -> Node {
        let node = Node { folder, state, port: free_port() };
        fs::create_dir(node.pods()).expect("a folder");
        let state = node.state.display();
        node.configure_with(&format!(
            "state: {{directory: {state}}}\nmetrics: {{birth_hold: {birth_hold}, final_scrape_wait: 0}}\n"
        ));
        node
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn state(&self) -> &Path {
        &self.state
    }

    pub fn pods(&self) -> PathBuf {
        self.path("pods")
    }

    pub fn container(&self) -> Container {
        Container::new(&self.pods(), POD, 0)
    }

    /// Writes the configuration; `FOLDER` is this folder.
    pub fn configure(&self, config: &str) {
        let folder = self.folder.path().to_str().expect("ASCII");
        fs::write(self.config(), config.replace("FOLDER", folder)).expect("written");
    }

    /// Puts these keys before the jobs of a [`Container`].
    pub fn configure_with(&self, keys: &str) {
        self.configure(&format!("{keys}{JOBS}"));
    }

    /// A scraper of what a [`Container`] writes.
    pub fn scraper(&self) -> Scraper {
        Scraper::new(([127, 0, 0, 1], self.port).into(), LINES, "kind")
    }

    fn config(&self) -> PathBuf {
        self.path("weir.yaml")
    }

    /// The agent of this node, not started yet.
    pub fn command(&self) -> Command {
        let mut command = weir(&[]);
        command.args(arguments(&self.config(), self.port));
        command
    }

    pub fn start(&self) -> Agent {
        Agent::of(self.command())
    }

    /// Starts it by a program that ends up running the agent, such as `prlimit`.
    pub fn start_by<S: AsRef<OsStr>>(&self, wrapper: &[S]) -> Agent {
        Agent::of(self.command_by(wrapper))
    }

    /// The agent as the last arguments of another program.
    pub fn command_by<S: AsRef<OsStr>>(&self, wrapper: &[S]) -> Command {
        let command = self.command();
        let mut wrapped = Command::new(&wrapper[0]);
        wrapped.args(&wrapper[1..]).arg(command.get_program()).args(command.get_args());
        wrapped
    }
}

const STDOUT: usize = 0;
const STDERR: usize = 1;
const STREAMS: [&str; 2] = ["stdout", "stderr"];
/// Rotated files that stay when one more is about to come: `containerLogMaxFiles` of 5, less that one and the live one.
const ROTATED_MAX: usize = 3;
/// Lines of standard output that the old writer still has in its pipe when the log is opened anew.
const LATE_LINES: u32 = 3;

/// Waits until the agent has counted all lines of a container and a scraper has added them up; nothing was counted
/// twice, no counter went back, no promise was broken.
#[track_caller]
pub fn assert_exact(agent: &Agent, container: &mut Container, scraper: &mut Scraper) {
    container.finish();
    assert_counted(agent, container);
    scraper.until(container.lines as f64);
    let page = agent.scrape();
    assert_eq!(page.get("weir_breaks_total", &[]), 0.0, "{}", page.text);
}

/// Waits until the agent has counted all lines of a container, each once and as what it is.
#[track_caller]
pub fn assert_counted(agent: &Agent, container: &mut Container) {
    container.finish();
    let lines = container.lines as f64;
    let page = agent.until(&format!("{lines} lines counted"), |page| page.get(LINES, &[]) >= lines);
    page.assert_balanced();
    for (kind, lines) in &container.truth {
        assert_eq!(page.get(LINES, &[("kind", kind)]), *lines as f64, "{kind}\n{}", page.text);
    }
    assert_eq!(page.get(LINES, &[]), lines, "{}", page.text);
}

/// A container that writes lines of all shapes: whole, in pieces, of both streams, pieces of one between lines of the
/// other, and begun in one file and ended in the next.
pub struct Container {
    /// `0.log`, or another number after a restart.
    path: PathBuf,
    pub log: File,
    /// Bytes of whole writes that wait for [`Container::flush`].
    pending: Vec<u8>,
    /// The log before the last rotation, and how many lines it still gets.
    old: Option<(File, u32)>,
    /// The rest of a line whose first piece is written, for each stream.
    unfinished: [Option<String>; 2],
    rotations: u32,
    pub lines: u64,
    /// Lines by their kind.
    pub truth: BTreeMap<String, u64>,
}

impl Container {
    pub fn new(pods: &Path, pod: &str, restart: u32) -> Container {
        let folder = pods.join(pod).join("app");
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(format!("{restart}.log"));
        let (log, truth, unfinished) = (open(&path), BTreeMap::new(), [None, None]);
        Container { path, log, pending: Vec::new(), old: None, unfinished, rotations: 0, lines: 0, truth }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one line, perhaps the end of it with the next one of its stream.
    pub fn line(&mut self, kind: &str) {
        self.lines += 1;
        *self.truth.entry(kind.to_string()).or_default() += 1;
        let stream = if self.lines.is_multiple_of(4) { STDERR } else { STDOUT };
        let content = format!(r#"{{"kind":"{kind}","n":{}}}"#, self.lines);
        let (first, rest) = content.split_at(content.len() / 2);
        self.finish_line(stream);
        match self.lines % 10 {
            3 | 8 => {
                self.put(stream, 'P', first);
                self.unfinished[stream] = Some(rest.to_string());
            }
            6 => {
                self.put(stream, 'P', first);
                self.put(stream, 'F', rest);
            }
            _ => self.put(stream, 'F', &content),
        }
        if stream == STDOUT {
            self.old = self.old.take().map(|(old, late)| (old, late - 1)).filter(|(_, late)| *late > 0);
        }
    }

    pub fn lines(&mut self, count: u64, kind: &str) {
        (0..count).for_each(|_| self.line(kind));
        self.flush();
    }

    /// Ends every line that is begun; from now on the file says what the truth says.
    pub fn finish(&mut self) {
        self.old = None;
        self.finish_line(STDOUT);
        self.finish_line(STDERR);
        self.flush();
    }

    fn finish_line(&mut self, stream: usize) {
        if let Some(rest) = self.unfinished[stream].take() {
            self.put(stream, 'F', &rest);
        }
    }

    fn put(&mut self, stream: usize, tag: char, content: &str) {
        let line = format!("{:.9} {} {tag} {content}\n", Timestamp::now(), STREAMS[stream]);
        match &mut self.old {
            // New lines of the other stream stand in the new file by then.
            Some((old, _)) if stream == STDOUT => old.write_all(line.as_bytes()).expect("written"),
            _ => self.pending.extend_from_slice(line.as_bytes()),
        }
    }

    /// Writes what waits, in two writes that do not end at a line, as a full pipe does.
    pub fn flush(&mut self) {
        let middle = self.pending.len() * 3 / 7;
        self.log.write_all(&self.pending[..middle]).expect("written");
        self.log.write_all(&self.pending[middle..]).expect("written");
        self.pending.clear();
    }

    /// The kubelet's rotation, step by step in its order.
    pub fn rotate(&mut self) {
        self.flush();
        let is_gz = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "gz");
        let twin = |path: &Path| path.with_file_name(format!("{}.gz", name(path)));
        for path in self.rotated() {
            if name(&path).ends_with(".tmp") || (!is_gz(&path) && twin(&path).exists()) {
                fs::remove_file(path).expect("removed");
            }
        }
        let mut rotated = self.rotated();
        for oldest in rotated.drain(..rotated.len().saturating_sub(ROTATED_MAX)) {
            fs::remove_file(oldest).expect("removed");
        }
        for plain in rotated.iter().filter(|path| !is_gz(path)) {
            let half = plain.with_file_name(format!("{}.tmp", name(plain)));
            let mut gz = GzEncoder::new(File::create(&half).expect("created"), Compression::default());
            gz.write_all(&fs::read(plain).expect("read")).and_then(|()| gz.finish().map(drop)).expect("written");
            fs::rename(half, twin(plain)).expect("renamed");
            fs::remove_file(plain).expect("removed");
        }
        let second = self.rotations;
        let time = format!("{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60);
        let rotated = self.path.with_file_name(format!("{}.20261121-{time}", name(&self.path)));
        fs::rename(&self.path, rotated).expect("renamed");
        self.rotations += 1;
        let old = std::mem::replace(&mut self.log, open(&self.path));
        self.old = Some((old, LATE_LINES));
    }

    /// A rotation between two lines of a writer that had nothing in its pipe.
    pub fn rotate_cleanly(&mut self) {
        self.finish();
        self.rotate();
        self.old = None;
    }

    /// Rotated files in the order of their names.
    pub fn rotated(&self) -> Vec<PathBuf> {
        let folder = self.path.parent().expect("a folder");
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let ours = format!("{}.", name(&self.path));
        let mut rotated: Vec<_> = entries.filter(|path| name(path).starts_with(&ours)).collect();
        rotated.sort();
        rotated
    }
}

fn open(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("a log")
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("ASCII")
}
