//! What a line costs from the file to the series and to Loki's acknowledgement, through the agent's own engine:
//! `cargo bench --bench end_to_end`.
//!
//! Each workload runs in a process of its own, so that its memory is its own; they take turns, a round each. Before every
//! round the logs grow by lines that none has seen. A round is: R1 (read and cut the new lines), the workload, R1 again.
//! The first rounds make series and are not counted. What is shown are medians; the ratios are those of a round.
//!
//! | variable | usually | |
//! |---|---|---|
//! | `WEIR_LINES` | 100000 | lines of a round |
//! | `WEIR_ROUNDS` | 7 | rounds that count |
//! | `WEIR_FILES` | 1 | logs that the lines are in |
//! | `WEIR_ONLY` | all | names of workloads, with commas |

mod support;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use support::following::Following;
use support::measure::{median, number, peak_bytes, process_time, read_and_cut, resident_bytes, thread_time};
use support::tree::Tree;
use support::workload::{self, Workload};
use support::{database, loki};

/// Rounds in which series are born and buffers grow.
const WARM_UP: usize = 2;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().position(|arg| arg == "--workload") {
        Some(at) => measure(Workload::named(&args[at + 1]), Path::new(&args[at + 2]), &args[at + 3]),
        None => direct(),
    }
}

/// One workload, a round for each line that comes in.
fn measure(workload: &Workload, folder: &Path, loki: &str) -> io::Result<()> {
    let mut following = Following::start(workload, folder, loki);
    let (mut buffer, before) = (Vec::new(), resident_bytes());
    for lines in io::stdin().lines() {
        let lines: u64 = lines?.parse().expect("a number");
        let mut reference = 0.0;
        let mut refer = |following: &Following| -> io::Result<()> {
            let began = thread_time();
            let mut found = 0;
            for (log, offset) in following.logs.iter().zip(&following.offsets) {
                found += read_and_cut(log, *offset, &mut buffer)?;
            }
            reference += (thread_time() - began).as_nanos() as f64 / 2.0;
            assert_eq!(found, lines);
            Ok(())
        };
        refer(&following)?;
        let (reading, working) = (thread_time(), process_time());
        following.read(lines);
        let reading = (thread_time() - reading).as_nanos();
        following.delivered();
        let working = (process_time() - working).as_nanos();
        refer(&following)?;
        following.step();
        println!("{reference} {reading} {working} {} {before}", peak_bytes());
    }
    following.check();
    Ok(())
}

/// A process at work on a workload.
struct Process {
    workload: &'static Workload,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    rounds: Vec<Round>,
}

/// Times in nanoseconds for all lines of the round.
struct Round {
    lines: usize,
    bytes: u64,
    reference: f64,
    /// Of the thread that reads, parses and counts.
    reading: f64,
    /// Of the whole process.
    working: f64,
    peak_bytes: f64,
    idle_bytes: f64,
}

fn direct() -> io::Result<()> {
    let only = std::env::var("WEIR_ONLY").ok();
    let wanted = |workload: &&Workload| only.as_ref().is_none_or(|only| only.split(',').any(|o| o == workload.name));
    let (lines, rounds) = (number("WEIR_LINES", 100_000), number("WEIR_ROUNDS", 7));
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("country.mmdb"), database::country())?;
    fs::write(folder.path().join("city.mmdb"), database::city())?;
    let loki = loki::serve()?;
    let (mut trees, mut processes) = (BTreeMap::new(), Vec::new());
    for workload in workload::ALL.iter().filter(wanted) {
        let name = format!("{:?}", workload.format);
        if let Entry::Vacant(entry) = trees.entry(name) {
            entry.insert(Tree::new(folder.path(), workload.format, number("WEIR_FILES", 1))?);
        }
        processes.push(Process::start(workload, folder.path(), &loki)?);
    }
    for _ in 0..rounds + WARM_UP {
        let mut bytes = BTreeMap::new();
        for (name, tree) in &mut trees {
            bytes.insert(name.clone(), tree.grow(lines)?);
        }
        for process in &mut processes {
            let bytes = bytes[&format!("{:?}", process.workload.format)];
            process.round(lines, bytes)?;
        }
    }
    println!("{lines} lines a round, medians of {rounds} rounds; CPU time in ns a line");
    println!("R1: read and cut. reader: the thread that reads, parses and counts. all: the whole process.");
    println!(
        "\n| workload | bytes/line | R1 | reader | all | reader/R1 | all/R1 | lines/s/core | MB/s/core | first round | RSS idle MiB | peak MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    processes.into_iter().try_for_each(Process::end)?;
    println!();
    for workload in workload::ALL.iter().filter(wanted) {
        println!("{}: {}", workload.name, workload.what);
    }
    Ok(())
}

impl Process {
    fn start(workload: &'static Workload, folder: &Path, loki: &str) -> io::Result<Process> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--workload")
            .arg(workload.name)
            .arg(folder)
            .arg(loki)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Ok(Process { workload, child, to, from: BufReader::new(from), rounds: Vec::new() })
    }

    fn round(&mut self, lines: usize, bytes: u64) -> io::Result<()> {
        writeln!(self.to, "{lines}")?;
        let mut answer = String::new();
        self.from.read_line(&mut answer)?;
        let numbers: Vec<f64> = answer.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [reference, reading, working, peak_bytes, idle_bytes] = numbers[..] else {
            panic!("{} ended early", self.workload.name)
        };
        self.rounds.push(Round { lines, bytes, reference, reading, working, peak_bytes, idle_bytes });
        Ok(())
    }

    /// Lets it end, and prints its row.
    fn end(mut self) -> io::Result<()> {
        drop(self.to);
        assert!(self.child.wait()?.success(), "{}", self.workload.name);
        let (first, warm) = (&self.rounds[0], &self.rounds[WARM_UP..]);
        let middle = |value: fn(&Round) -> f64| median(warm.iter().map(value));
        let all = middle(|r| r.working / r.lines as f64);
        let bytes = middle(|r| r.bytes as f64 / r.lines as f64);
        println!(
            "| {} | {bytes:.0} | {:.0} | {:.0} | {all:.0} | {:.2} | {:.2} | {:.2} M | {:.0} | {:.0} | {:.1} | {:.1} |",
            self.workload.name,
            middle(|r| r.reference / r.lines as f64),
            middle(|r| r.reading / r.lines as f64),
            middle(|r| r.reading / r.reference),
            middle(|r| r.working / r.reference),
            1e3 / all,
            bytes * 1e3 / all,
            first.working / first.lines as f64,
            first.idle_bytes / f64::from(1 << 20),
            middle(|r| r.peak_bytes) / f64::from(1 << 20),
        );
        Ok(())
    }
}
