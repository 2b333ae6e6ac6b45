//! The engine over real files: turns, looks of discovery and reloads by hand, time by a clock that the test moves.

use super::*;
use crate::clock::ManualClock;
use crate::config;
use crate::pipeline::{Origin, Record};
use std::fs::{self, File};
use std::io::Write;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use tempfile::TempDir;

struct Machine {
    folder: TempDir,
    clock: Arc<ManualClock>,
    engine: Engine,
}

/// A job that counts every line of `glob`, by file.
fn job(folder: &TempDir, glob: &str) -> Config {
    job_with(folder, glob, "", "")
}

fn job_with(folder: &TempDir, glob: &str, stages: &str, labels: &str) -> Config {
    let folder = folder.path().display();
    let text = format!(
        "scrape_configs:
- job_name: j
  static_configs: [{{labels: {{{labels}__path__: '{folder}/{glob}'}}}}]
  pipeline_stages:
  {stages}
  - metrics: {{lines: {{type: Counter, labels: {{}}, config: {{match_all: true, action: inc}}}}}}
"
    );
    let mut diagnostics = Diagnostics::new();
    let config = config::read(&text, &mut diagnostics);
    config.unwrap_or_else(|| panic!("{:?}", diagnostics.sorted()))
}

impl Machine {
    fn new(config: impl Fn(&TempDir) -> Config) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::at(1_000_000_000_000));
        let engine = Engine::new(&config(&folder), clock.clone());
        Machine { folder, clock, engine }
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = File::options().create(true).append(true).open(self.folder.path().join(name)).expect("a log");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.folder.path().join(from), self.folder.path().join(to)).expect("renamed");
    }

    /// Some seconds, in which discovery looks and every source is read.
    fn pass(&mut self) {
        self.clock.advance(Duration::from_secs(3));
        self.engine.refresh();
        while self.engine.turn().more {}
    }

    /// The sum of all series, and the books' lines.
    fn counted(&mut self) -> (f64, u64) {
        let snapshot = self.engine.snapshot();
        let sum = snapshot.samples(crate::metrics::Shown::ToPerson).map(|sample| sample.value.as_f64()).sum();
        let books = self.engine.books();
        assert!(books.iter().all(JobBooks::balanced), "{books:?}");
        (sum, books.iter().map(|b| b.read).sum())
    }
}

#[test]
fn a_reload_keeps_every_value_as_it_is() {
    let mut machine = Machine::new(|folder| job(folder, "*.log"));
    machine.append("a.log", "1\n2\n3\n");
    machine.pass();
    assert_eq!(machine.counted(), (3.0, 3));
    for _ in 0..2 {
        machine.engine.reconfigure(&job(&machine.folder, "*.log"));
        machine.pass();
        assert_eq!(machine.counted(), (3.0, 3));
    }
    machine.append("a.log", "4\n");
    machine.pass();
    assert_eq!(machine.counted(), (4.0, 4));
}

#[test]
fn a_reload_between_a_rename_and_the_new_file_loses_nothing() {
    let mut machine = Machine::new(|folder| job(folder, "*.log"));
    machine.append("a.log", "1\n");
    machine.pass();
    machine.append("a.log", "2\n");
    machine.rename("a.log", "a.log.20261121-022602");
    machine.engine.reconfigure(&job(&machine.folder, "*.log"));
    while machine.engine.turn().more {}
    machine.append("a.log", "3\n");
    machine.pass();
    assert_eq!(machine.counted(), (3.0, 3));
}

#[test]
fn a_reload_loses_nothing_of_a_file_that_was_just_deleted() {
    let mut machine = Machine::new(|folder| job(folder, "*.log"));
    machine.append("a.log", "1\n");
    machine.pass();
    machine.append("a.log", "2\n");
    fs::remove_file(machine.folder.path().join("a.log")).expect("removed");
    machine.engine.reconfigure(&job(&machine.folder, "*.log"));
    machine.pass();
    assert_eq!(machine.counted(), (2.0, 2));
}

/// As Promtail, which stops a tailer and keeps its position.
#[test]
fn a_file_that_is_not_wanted_for_a_while_goes_on_where_it_was() {
    let mut machine = Machine::new(|folder| job(folder, "*.log"));
    machine.append("a.log", "1\n2\n");
    machine.pass();
    machine.engine.reconfigure(&job(&machine.folder, "*.txt"));
    for _ in 0..6 {
        machine.pass();
    }
    machine.append("a.log", "3\n");
    machine.engine.reconfigure(&job(&machine.folder, "*.log"));
    machine.pass();
    assert_eq!(machine.counted().0, 3.0);
}

#[test]
fn rotated_files_that_the_glob_matches_are_no_logs_of_their_own() {
    for stamp in [".20261121-022602", ".1", "-20261121"] {
        let mut machine = Machine::new(|folder| job(folder, "*"));
        machine.append("my-app.log", "1\n");
        machine.pass();
        // The look falls between the rename and the new file.
        machine.rename("my-app.log", &format!("my-app.log{stamp}"));
        machine.pass();
        machine.append("my-app.log", "2\n");
        machine.pass();
        assert_eq!(machine.counted(), (2.0, 2), "{stamp}");
        // Nor when the log itself is gone.
        fs::remove_file(machine.folder.path().join("my-app.log")).expect("removed");
        for _ in 0..6 {
            machine.pass();
        }
        assert_eq!(machine.counted(), (2.0, 2), "{stamp}");
    }
}

/// Promtail reads each of them as a log of its own.
#[test]
fn older_files_that_the_glob_names_are_read_at_first_sight_and_once() {
    for (glob, expected) in [("app*", 6u64), ("app.log*", 3), ("app.log", 1), ("app.log{,.1}", 3)] {
        let mut machine = Machine::new(|folder| job(folder, glob));
        for (name, text) in
            [("app.log.2", "1\n"), ("app.log.1", "2\n"), ("app.log", "3\n"), ("app.2", "4\n"), ("app", "5\n6\n")]
        {
            machine.append(name, text);
        }
        for _ in 0..3 {
            machine.pass();
        }
        assert_eq!(machine.counted(), (expected as f64, expected), "{glob}");
    }
    let mut machine = Machine::new(|folder| job(folder, "*"));
    machine.append("app.log.1", "1\n");
    machine.pass();
    machine.append("app.log", "2\n");
    machine.pass();
    machine.pass();
    assert_eq!(machine.counted(), (2.0, 2), "it was a log of its own until then");
}

#[test]
fn a_change_of_labels_reads_no_line_twice() {
    let mut machine = Machine::new(|folder| job_with(folder, "*.log", "", "env: a, "));
    machine.append("a.log", "1\n");
    machine.pass();
    machine.engine.reconfigure(&job_with(&machine.folder, "*.log", "", "env: b, "));
    machine.append("a.log", "2\n");
    machine.pass();
    assert_eq!(machine.counted(), (2.0, 2));
}

#[test]
fn a_turn_has_a_bound_however_many_files_are_behind_and_none_of_them_starves() {
    let mut machine = Machine::new(|folder| job(folder, "*.log"));
    let (files, lines) = (40, "a line of twenty-four B\n".repeat(60_000));
    for file in 0..files {
        machine.append(&format!("{file:02}.log"), &lines);
    }
    machine.engine.refresh();
    let mut turns = 0;
    loop {
        let before = machine.engine.reader.bytes_read();
        let more = machine.engine.turn().more;
        turns += 1;
        let bytes = machine.engine.reader.bytes_read() - before;
        assert!(bytes <= TURN_BYTES + (1 << 20), "{bytes} bytes in one turn");
        if !more {
            break;
        }
    }
    assert!(turns > 1);
    assert_eq!(machine.counted(), (40.0 * 60_000.0, 40 * 60_000));
}

/// Takes so many entries before somebody makes room.
struct Room(Arc<AtomicI64>);

impl Output for Room {
    fn entry(&mut self, _record: &Record<'_>, _origin: Origin) {
        self.0.fetch_sub(1, Relaxed);
    }

    fn is_full(&self) -> bool {
        self.0.load(Relaxed) <= 0
    }
}

#[test]
fn reading_stops_within_a_turn_when_the_output_is_full_and_goes_on_where_it_stopped() {
    let mut machine = Machine::new(|folder| job(folder, "*.log"));
    (0..10).for_each(|file| machine.append(&format!("{file}.log"), &"line\n".repeat(1_000)));
    let room = Arc::new(AtomicI64::new(1_500));
    machine.engine.set_output(Box::new(Room(Arc::clone(&room))));
    machine.engine.refresh();
    assert!(machine.engine.turn().more);
    assert_eq!(machine.counted().1, 2_000, "a source has its turn whole");
    assert!(!machine.engine.turn().more);
    assert_eq!(machine.counted().1, 2_000);
    room.store(i64::MAX, Relaxed);
    while machine.engine.turn().more {}
    assert_eq!(machine.counted(), (10_000.0, 10_000));
}

#[test]
fn a_run_to_the_end_knows_how_much_there_is() {
    let mut machine = Machine::new(|folder| job(folder, "*.log"));
    machine.append("a.log.1", &"old\n".repeat(100));
    machine.append("a.log", "1\nno newline");
    let mut last = Progress::default();
    machine.engine.run_to_end(&mut |progress| last = *progress);
    machine.engine.finish();
    assert_eq!((last.bytes_total, machine.counted().1), (412, 102));
}

#[test]
fn looking_at_everything_reads_files_that_are_not_due() {
    let mut machine = Machine::new(|folder| job(folder, "*.log"));
    machine.append("a.log", "1\n");
    machine.engine.refresh();
    machine.engine.turn();
    machine.append("a.log", "2\n");
    machine.engine.look_at_everything();
    while machine.engine.turn().more {}
    assert_eq!(machine.counted(), (2.0, 2));
}

#[test]
fn the_pause_ends_when_discovery_is_due() {
    let mut machine = Machine::new(|folder| job(folder, "*.log"));
    machine.engine.refresh_every = Duration::from_secs(1);
    assert!(machine.engine.refresh_if_due());
    machine.engine.turn();
    machine.clock.advance(Duration::from_millis(400));
    assert_eq!(machine.engine.pause(), Duration::from_millis(600));
}

#[test]
fn pieces_of_a_line_are_joined_over_a_rotation_and_leave_with_their_file() {
    let mut machine = Machine::new(|folder| job_with(folder, "*.log", "- cri: {}", ""));
    let piece = |flag: &str| format!("2026-11-21T02:25:35.001526116Z stdout {flag} x\n");
    machine.append("0.log", &piece("P"));
    machine.pass();
    machine.rename("0.log", "0.log.20261121-022602");
    machine.append("0.log", &piece("F"));
    machine.append("0.log", &piece("P"));
    machine.pass();
    assert_eq!(machine.counted(), (1.0, 3));
    for name in ["0.log", "0.log.20261121-022602"] {
        fs::remove_file(machine.folder.path().join(name)).expect("removed");
    }
    machine.pass();
    machine.pass();
    assert_eq!(machine.counted(), (2.0, 3));
    assert_eq!(machine.engine.facts().files, 0);
}
