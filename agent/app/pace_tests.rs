//! Rates that make sources wait, over real files, time by a clock that the test moves.

use super::super::engine::Engine;
use crate::clock::{Clock, ManualClock};
use crate::config::{self, Config};
use crate::diagnostic::Diagnostics;
use crate::ledger::JobBooks;
use crate::pipeline::{Origin, Output, Record};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// Lines by the file that they are from.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl Output for Lines {
    fn entry(&mut self, record: &Record<'_>, _origin: Origin) {
        let file = record.labels().find(|(name, _)| *name == "filename").map(|(_, value)| value).unwrap_or_default();
        let name = String::from_utf8_lossy(file).rsplit('/').next().unwrap_or_default().to_string();
        let line = String::from_utf8_lossy(record.line()).into_owned();
        self.0.lock().expect("no panic").entry(name).or_default().push(line);
    }
}

struct Machine {
    folder: TempDir,
    clock: Arc<ManualClock>,
    engine: Engine,
    lines: Lines,
}

const LINES: usize = 1_000;
const LINE_BYTES: usize = 100;

impl Machine {
    /// Files `a.log` to `c.log` for a job with these stages, `d.log` for another one without any.
    fn new(top: &str, stages: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::at(1_000_000_000_000));
        let mut engine = Engine::new(&config(&folder, top, stages), clock.clone());
        let lines = Lines::default();
        engine.set_output(Box::new(lines.clone()));
        let machine = Machine { folder, clock, engine, lines };
        for name in ["a.log", "b.log", "c.log", "d.log"] {
            machine.append(name, &(0..LINES).map(|n| format!("{n:0$}\n", LINE_BYTES - 1)).collect::<String>());
        }
        machine
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = File::options().create(true).append(true).open(self.folder.path().join(name)).expect("a log");
        file.write_all(text.as_bytes()).expect("written");
    }

    /// Turns until there is nothing to do at once; then the time passes for which the engine wants to wait. How long.
    fn step(&mut self) -> Duration {
        for turns in 0.. {
            assert!(turns < 1_000, "it never rests");
            if !self.engine.turn().more {
                break;
            }
        }
        let pause = self.engine.pause().min(Duration::from_millis(500)).max(Duration::from_millis(1));
        self.clock.advance(pause);
        pause
    }

    fn read(&self) -> BTreeMap<String, usize> {
        self.lines.0.lock().expect("no panic").iter().map(|(name, lines)| (name.clone(), lines.len())).collect()
    }

    fn assert_whole(&self) {
        let wanted: Vec<String> = (0..LINES).map(|n| format!("{n:0$}", LINE_BYTES - 1)).collect();
        for (name, lines) in self.lines.0.lock().expect("no panic").iter() {
            assert!(*lines == wanted, "{name}: {} lines", lines.len());
        }
        assert_eq!(self.lines.0.lock().expect("no panic").len(), 4);
        assert!(self.engine.books().iter().all(JobBooks::balanced));
    }
}

fn config(folder: &TempDir, top: &str, stages: &str) -> Config {
    let folder = folder.path().display();
    let text = format!(
        "{top}
scrape_configs:
- job_name: slow
  static_configs: [{{labels: {{__path__: '{folder}/[a-c].log'}}}}]
  pipeline_stages: [{stages}]
- job_name: free
  static_configs: [{{labels: {{__path__: '{folder}/d.log'}}}}]
"
    );
    let mut diagnostics = Diagnostics::new();
    config::read(&text, &mut diagnostics).unwrap_or_else(|| panic!("{:?}", diagnostics.sorted()))
}

/// Lines that one piece may hold.
const PIECE_LINES: usize = super::PIECE_BYTES / LINE_BYTES + 1;

#[test]
fn a_job_waits_for_its_rate_and_no_other_does() {
    let mut machine = Machine::new("", "{limit: {rate: 500, burst: 50}}");
    machine.engine.refresh();
    let (mut passed, mut steps) = (Duration::ZERO, 0);
    while machine.read().values().sum::<usize>() < 4 * LINES {
        let pause = machine.step();
        let read = machine.read();
        assert_eq!(read["d.log"], LINES, "the other job does not wait");
        let slow: Vec<usize> = ["a.log", "b.log", "c.log"].map(|name| read.get(name).copied().unwrap_or(0)).into();
        let most = 50.0 + passed.as_secs_f64() * 500.0 + PIECE_LINES as f64;
        assert!(slow.iter().sum::<usize>() as f64 <= most, "{slow:?} after {passed:?}");
        // A first turn may come to nothing: no turn is lost by that.
        let (least, most) = (slow.iter().min().expect("three"), slow.iter().max().expect("three"));
        assert!(most - least <= PIECE_LINES, "each in its turn: {slow:?}");
        passed += pause;
        steps += 1;
    }
    let wanted = (3 * LINES - 50) as f64 / 500.0;
    assert!((passed.as_secs_f64() - wanted).abs() < 0.5, "{passed:?} for {wanted} s, in {steps} steps");
    assert!(steps < 400, "the engine sleeps while it waits: {steps}");
    machine.assert_whole();
}

#[test]
fn a_rate_of_all_lines_lets_every_source_wait() {
    let top = "limits_config: {readline_rate_enabled: true, readline_rate: 1000, readline_burst: 100, \
               readline_rate_drop: false}";
    let mut machine = Machine::new(top, "");
    machine.engine.refresh();
    let mut passed = Duration::ZERO;
    while machine.read().values().sum::<usize>() < 4 * LINES {
        let pause = machine.step();
        let read: usize = machine.read().values().sum();
        assert!(read as f64 <= 100.0 + passed.as_secs_f64() * 1_000.0 + PIECE_LINES as f64, "{read} after {passed:?}");
        passed += pause;
    }
    assert!((3.4..4.5).contains(&passed.as_secs_f64()), "{passed:?}");
    machine.assert_whole();
}

#[test]
fn a_rate_of_all_lines_drops_what_is_too_much_and_counts_it() {
    let top = "limits_config: {readline_rate_enabled: true, readline_rate: 1, readline_burst: 150}";
    let counting = "{metrics: {lines: {type: Counter, config: {match_all: true, action: inc}}}}";
    let mut machine = Machine::new(top, counting);
    machine.engine.refresh();
    machine.step();
    assert_eq!(machine.read().values().sum::<usize>(), 150);
    let books = machine.engine.books();
    assert_eq!(books.iter().map(|books| books.counted).sum::<u64>(), 4 * LINES as u64);
    let dropped: u64 = books
        .iter()
        .flat_map(|books| &books.dropped)
        .map(|(reason, lines)| {
            assert_eq!(reason, crate::pipeline::LINE_RATE_DROP);
            lines
        })
        .sum();
    assert_eq!(dropped, 4 * LINES as u64 - 150);
    let snapshot = machine.engine.snapshot();
    let counted: f64 = snapshot.samples(crate::metrics::Shown::ToPerson).map(|sample| sample.value.as_f64()).sum();
    assert_eq!(counted, 3.0 * LINES as f64, "they count all the same");
}

#[test]
fn a_line_longer_than_a_piece_is_read() {
    let mut machine = Machine::new("", "{limit: {rate: 100000, burst: 100000}}");
    machine.append("a.log", &format!("{}\nend\n", "x".repeat(100_000)));
    machine.engine.refresh();
    (0..20).for_each(|_| _ = machine.step());
    let lines = machine.lines.0.lock().expect("no panic");
    let lengths: Vec<usize> = lines["a.log"][LINES..].iter().map(String::len).collect();
    assert_eq!(lengths, [100_000, 3]);
}

#[test]
fn a_run_to_the_end_waits_for_no_rate() {
    let mut machine = Machine::new("", "{limit: {rate: 1, burst: 1}}");
    let before = machine.clock.monotonic();
    machine.engine.run_to_end(&mut |_| {});
    machine.engine.finish();
    assert_eq!(machine.clock.monotonic(), before);
    machine.assert_whole();
}
