//! A node: pods whose containers write through a runtime as containerd does, and a kubelet that rotates their logs in
//! its exact order of steps (reliability.md §1.1), so that anything may happen between two of them.

use super::clock::SimClock;
use super::fs::{FileRef, PartId, SimFs};
use super::oracle::Oracle;
use super::random::Random;
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir::clock::Clock;

pub const ROOT: &str = "/var/log/pods";
/// As the kubelet: the current file, and so many rotated ones.
const FILES_MAX: usize = 5;
/// Bytes of a log that the kubelet finds too many; a small machine's.
const LOG_BYTES_MAX: usize = 2_500;
/// Bytes of the longest part of a line.
const PART_BYTES: usize = 64;
const CONTAINERS: [&str; 3] = ["app", "web", "job"];
const KEYS: [&str; 6] = ["get", "put", "post", "list", "watch", "head"];

pub struct Machine {
    pub fs: SimFs,
    pub clock: Arc<SimClock>,
    pub oracle: Oracle,
    pub containers: Vec<Container>,
    pub kubelet: Kubelet,
    /// The runtime cannot write: the disk is full.
    pub full: bool,
    pods: u64,
    keys: u64,
}

pub struct Container {
    pub pod: PathBuf,
    directory: PathBuf,
    name: &'static str,
    restart: u64,
    /// The file that the runtime has open.
    file: Option<FileRef>,
    log: usize,
    /// Runs before this one whose files are there.
    dead: Vec<(u64, usize)>,
    /// Per stream: parts still to come of an unfinished line.
    unfinished: [u64; 2],
    /// The file before the last reopening, and how many lines its writer still has; not once a stream began a long
    /// line in the new file: then their order would be anybody's guess.
    late: Option<(FileRef, u64)>,
}

#[derive(Default)]
pub struct Kubelet {
    steps: VecDeque<Step>,
    /// It runs again at this time.
    pub down_until_ms: u64,
    /// It ends before this step, counted from now.
    pub ends_before: Option<usize>,
    /// The runtime refuses to reopen the next log.
    pub reopen_fails: bool,
    /// Local time, which its names are made of, against UTC.
    pub local_seconds: i64,
    pub rotations: u64,
}

/// One step of a rotation.
enum Step {
    Remove(PathBuf),
    /// Begins to compress: half of a `.tmp`.
    Begin(PathBuf),
    /// The `.tmp` is whole.
    Pack(PathBuf),
    /// `.tmp` becomes `.gz`.
    Name(PathBuf),
    Rename(PathBuf, usize),
    Reopen(PathBuf, PathBuf, usize),
}

impl Machine {
    pub fn new(clock: Arc<SimClock>) -> Machine {
        let fs = SimFs::new(clock.clone());
        fs.make_directory(Path::new(ROOT));
        Machine {
            fs,
            clock,
            oracle: Oracle::default(),
            containers: Vec::new(),
            kubelet: Kubelet::default(),
            full: false,
            pods: 0,
            keys: 0,
        }
    }

    /// A pod of one or two containers.
    pub fn start_pod(&mut self, random: &mut Random) {
        self.pods += 1;
        let pod = Path::new(ROOT).join(format!("ns_pod-{0}_uid-{0}", self.pods));
        let first = random.below(3) as usize;
        for at in 0..random.between(1, 2) as usize {
            let name = CONTAINERS[(first + at) % 3];
            let directory = pod.join(name);
            self.fs.make_directory(&directory);
            let log = self.oracle.log(name);
            let file = self.fs.create(&directory.join("0.log"));
            let (pod, dead, unfinished) = (pod.clone(), Vec::new(), [0, 0]);
            self.containers.push(Container {
                pod,
                directory,
                name,
                restart: 0,
                file: Some(file),
                log,
                dead,
                unfinished,
                late: None,
            });
        }
    }

    /// A pod goes, with its directory.
    pub fn delete_pod(&mut self, at: usize) {
        let pod = self.containers[at].pod.clone();
        self.fs.remove_directory(&pod);
        for container in self.containers.extract_if(.., |container| container.pod == pod) {
            let logs = container.dead.iter().map(|(_, log)| *log).chain([container.log]);
            logs.for_each(|log| self.oracle.logs[log].gone = true);
        }
    }

    /// A container ends and runs again: what it had not finished stays unfinished, for ever. All logs but the last of
    /// those before go.
    pub fn restart(&mut self, at: usize) {
        let container = &mut self.containers[at];
        container.dead.push((container.restart, container.log));
        container.restart += 1;
        container.unfinished = [0, 0];
        container.late = None;
        container.log = self.oracle.log(container.name);
        container.file = Some(self.fs.create(&container.directory.join(format!("{}.log", container.restart))));
        while container.dead.len() > 1 {
            let (restart, log) = container.dead.remove(0);
            let log_name = format!("{restart}.log");
            for name in self.fs.list(&container.directory) {
                if name.strip_prefix(&log_name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                    self.fs.unlink(&container.directory.join(name));
                }
            }
            self.oracle.logs[log].gone = true;
        }
    }

    /// Some lines of a container.
    pub fn write(&mut self, at: usize, lines: u64, random: &mut Random) {
        for _ in 0..lines {
            let stream = usize::from(random.percent(30));
            if self.containers[at].unfinished[stream] > 0 {
                // It may stay unfinished for longer.
                if random.percent(80) {
                    self.go_on(at, stream, random);
                }
                continue;
            }
            let key = self.key(random);
            let parts = if random.percent(15) { random.between(2, 4) } else { 1 };
            let container = &mut self.containers[at];
            if parts > 1 {
                container.late = None;
            }
            let series = self.oracle.series(container.name, &key);
            let pad = "x".repeat(random.below(PART_BYTES as u64 - 20) as usize);
            container.unfinished[stream] = parts - 1;
            self.part(at, stream, parts == 1, Some(series), &format!("k={key} {pad}"));
        }
    }

    /// The next part of an unfinished line.
    fn go_on(&mut self, at: usize, stream: usize, random: &mut Random) {
        let container = &mut self.containers[at];
        container.unfinished[stream] -= 1;
        let last = container.unfinished[stream] == 0;
        let pad = "y".repeat(random.between(1, PART_BYTES as u64) as usize);
        self.part(at, stream, last, None, &pad);
    }

    /// One line of the runtime's.
    fn part(&mut self, at: usize, stream: usize, last: bool, series: Option<u32>, content: &str) {
        if self.full {
            // The runtime complains and goes on; nobody will ever know the line. What it had begun has no end.
            self.containers[at].unfinished[stream] = 0;
            return;
        }
        let container = &mut self.containers[at];
        let time = jiff::Timestamp::from_nanosecond(i128::from(self.clock.now())).expect("our time");
        let (name, flag) = (["stdout", "stderr"][stream], if last { "F" } else { "P" });
        let text = format!("{time:.9} {name} {flag} {content}\n");
        let file = match &mut container.late {
            Some((file, lines)) if *lines > 0 && last && series.is_some() => {
                *lines -= 1;
                Some(file.clone())
            }
            _ => container.file.clone(),
        };
        let Some(file) = file else { return };
        let part = self.oracle.add(container.log, stream, last, series, self.clock.elapsed_ms());
        self.fs.append(&file, text.as_bytes(), Some(part));
    }

    /// Mostly one of a few, often one that comes once or twice in all time.
    fn key(&mut self, random: &mut Random) -> String {
        if random.percent(60) {
            return random.pick(&KEYS).to_string();
        }
        if random.percent(60) {
            self.keys += 1;
        }
        format!("rare{}", self.keys)
    }

    /// All files with what is known of them, for people.
    pub fn listing(&self) -> String {
        let line = |file: FileRef| {
            let node = file.node();
            let size = node.bytes.len();
            format!(
                "  {:?} {size} bytes, {} parts, read to {}, open {}, known {:?}\n",
                self.fs.names_of(&file),
                node.parts.len(),
                node.read_to,
                node.opened,
                node.known
            )
        };
        self.fs.files().into_iter().map(line).collect()
    }

    /// The kubelet looks at the logs: what is to be done is left to [`step`](Self::step).
    pub fn monitor(&mut self) {
        if self.clock.elapsed_ms() < self.kubelet.down_until_ms {
            return;
        }
        for at in 0..self.containers.len() {
            self.rotate(at, LOG_BYTES_MAX);
        }
    }

    /// Rotates a log if it has so many bytes.
    pub fn rotate(&mut self, at: usize, bytes: usize) {
        let container = &self.containers[at];
        let current = container.directory.join(format!("{}.log", container.restart));
        let Some(file) = self.fs.get(&current) else {
            // Somebody died between two steps: the runtime is asked for a file.
            self.kubelet.steps.push_back(Step::Reopen(current.clone(), current, at));
            return;
        };
        if file.node().bytes.len() < bytes.max(1) {
            return;
        }
        // It comes by every ten seconds: no two files of a log have the same second in their names.
        let to = self.rotated(&current);
        if self.fs.get(&to).is_some() || self.fs.get(&with(&to, ".gz")).is_some() {
            return;
        }
        let prefix = format!("{}.log.", container.restart);
        let names: BTreeSet<String> =
            self.fs.list(&container.directory).into_iter().filter(|name| name.starts_with(&prefix)).collect();
        let steps = &mut self.kubelet.steps;
        let path = |name: &String| container.directory.join(name);
        let is_dead = |name: &&String| {
            name.ends_with(".tmp") || (!name.ends_with(".gz") && names.contains(&format!("{name}.gz")))
        };
        steps.extend(names.iter().filter(is_dead).map(|name| Step::Remove(path(name))));
        let mut rest: Vec<&String> = names.iter().filter(|name| !is_dead(name)).collect();
        let keep = FILES_MAX - 2;
        let oldest = rest.len().saturating_sub(keep);
        steps.extend(rest.drain(..oldest).map(|name| Step::Remove(path(name))));
        for name in rest.into_iter().filter(|name| !name.ends_with(".gz")) {
            let path = path(name);
            steps.extend([
                Step::Begin(path.clone()),
                Step::Pack(path.clone()),
                Step::Name(path.clone()),
                Step::Remove(path),
            ]);
        }
        steps.push_back(Step::Rename(current, at));
    }

    /// Does the next step of a rotation; whether there was one.
    pub fn step(&mut self, random: &mut Random) -> bool {
        let Some(step) = self.kubelet.steps.pop_front() else { return false };
        if let Some(left) = &mut self.kubelet.ends_before {
            if *left == 0 {
                self.kubelet.ends_before = None;
                self.kubelet.steps.clear();
                self.kubelet.down_until_ms = self.clock.elapsed_ms() + 20_000;
                return false;
            }
            *left -= 1;
        }
        match step {
            Step::Remove(path) => self.fs.unlink(&path),
            Step::Begin(path) => self.pack(&path, false),
            Step::Pack(path) => self.pack(&path, true),
            Step::Name(path) => self.fs.rename(&with(&path, ".tmp"), &with(&path, ".gz")),
            Step::Rename(path, at) => {
                let to = self.rotated(&path);
                self.fs.rename(&path, &to);
                self.kubelet.steps.push_front(Step::Reopen(path, to, at));
            }
            Step::Reopen(path, to, at) => self.reopen(&path, &to, at, random),
        }
        true
    }

    /// The name that a log gets if it is rotated now.
    fn rotated(&self, path: &Path) -> PathBuf {
        let seconds = self.clock.now() / 1_000_000_000 + self.kubelet.local_seconds;
        let time = jiff::Timestamp::from_second(seconds).expect("our time");
        with(path, &time.strftime(".%Y%m%d-%H%M%S").to_string())
    }

    fn pack(&self, path: &Path, whole: bool) {
        if let Some(file) = self.fs.get(path) {
            self.fs.compress(&file, &with(path, ".tmp"), whole);
        }
    }

    fn reopen(&mut self, path: &Path, rotated: &Path, at: usize, random: &mut Random) {
        if std::mem::take(&mut self.kubelet.reopen_fails) {
            return self.fs.rename(rotated, path);
        }
        self.kubelet.rotations += 1;
        let Some(container) = self.containers.get_mut(at).filter(|container| path.starts_with(&container.directory))
        else {
            return;
        };
        let before = container.file.replace(self.fs.open_or_create(path));
        let quiet = container.unfinished == [0, 0];
        container.late = before.filter(|_| quiet && random.percent(40)).map(|file| (file, random.between(1, 3)));
    }

    /// The machine goes down, and up again: each container runs anew. `power`: what was not synced may be lost.
    pub fn reboot(&mut self, power: bool, random: &mut Random) {
        self.kubelet.steps.clear();
        for container in &mut self.containers {
            container.file = None;
            container.late = None;
        }
        if power {
            for file in self.fs.files() {
                let lost = self.lose_tail(&file, random);
                lost.into_iter().for_each(|part| self.oracle.parts[part].powerless = true);
            }
        }
        self.fs.sync();
        self.clock.reboot();
        (0..self.containers.len()).for_each(|at| self.restart(at));
    }

    /// What was not synced of a file is gone from a line on, or zeros. The parts of lines that are gone.
    fn lose_tail(&self, file: &FileRef, random: &mut Random) -> Vec<PartId> {
        let (synced, length) = {
            let node = file.node();
            (node.synced, node.bytes.len())
        };
        if synced >= length || random.percent(30) {
            return Vec::new();
        }
        let at = synced + random.below((length - synced) as u64) as usize;
        let node = file.node();
        let line = node.bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (packed, parts) = (node.packed, node.parts.clone());
        drop(node);
        self.fs.cut(file, if packed { at } else { line }, random.percent(40));
        let left = file.node().parts.len();
        parts[left..].iter().map(|(_, part)| *part).collect()
    }
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_os_string();
    path.push(suffix);
    path.into()
}
