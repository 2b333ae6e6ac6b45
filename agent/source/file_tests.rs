//! The life of a log on a real file system: what happens between two looks, and what must come of it.

use super::*;
use crate::source::{Notice, RealFs, gzipped};
use std::fs::{self, File};
use std::io::Write;
use tempfile::TempDir;

const NOW: Moment<'static> = Moment { fs: &RealFs, now: Duration::ZERO };

struct Log {
    folder: TempDir,
    source: FileSource,
    buffer: LineBuffer,
    seen: Vec<String>,
}

impl Log {
    fn new(start: Start) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let source = FileSource::new(folder.path().join("0.log"), Opener::below([folder.path().to_path_buf()]), start);
        Log { folder, source, buffer: LineBuffer::new(64, 48), seen: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = File::options().create(true).append(true).open(self.path(name)).expect("a log");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    fn compress(&self, name: &str) {
        let packed = gzipped(&fs::read(self.path(name)).expect("read"));
        fs::write(self.path(&format!("{name}.gz")), packed).expect("packed");
        fs::remove_file(self.path(name)).expect("removed");
    }

    fn poll(&mut self) -> Progress {
        self.poll_bytes(u64::MAX)
    }

    fn poll_bytes(&mut self, budget: u64) -> Progress {
        let seen = &mut self.seen;
        let mut take = |line: Line<'_>| seen.push(String::from_utf8_lossy(line.bytes).into_owned());
        self.source.poll(NOW, &mut self.buffer, budget, &mut take)
    }

    fn finish(&mut self) {
        let seen = &mut self.seen;
        let mut take = |line: Line<'_>| seen.push(String::from_utf8_lossy(line.bytes).into_owned());
        self.source.finish(NOW, &mut self.buffer, &mut take);
    }

    /// The lines since the last call.
    fn lines(&mut self) -> Vec<String> {
        self.poll();
        std::mem::take(&mut self.seen)
    }
}

#[test]
fn a_line_comes_when_its_newline_does() {
    let mut log = Log::new(Start::Current);
    assert_eq!(log.lines(), [""; 0]);
    log.append("0.log", "one\ntw");
    assert_eq!(log.lines(), ["one"]);
    assert_eq!(log.lines(), [""; 0]);
    log.append("0.log", "o\n");
    assert_eq!(log.lines(), ["two"]);
    log.append("0.log", "no newline");
    log.finish();
    assert_eq!(log.lines(), ["no newline"]);
}

#[test]
fn a_rotated_file_is_read_to_its_end_before_the_new_one_and_may_still_grow() {
    let mut log = Log::new(Start::Current);
    log.append("0.log", "a1\n");
    log.lines();
    log.append("0.log", "a2\n");
    log.rename("0.log", "0.log.20261121-022602");
    log.append("0.log", "b1\n");
    assert_eq!(log.lines(), ["a2", "b1"]);
    log.append("0.log.20261121-022602", "a3 late\n");
    log.append("0.log", "b2\n");
    assert_eq!(log.lines(), ["a3 late", "b2"]);
    log.append("0.log.20261121-022602", "a4 without newline");
    log.compress("0.log.20261121-022602");
    assert_eq!(log.lines(), ["a4 without newline"]);
    assert_eq!(log.source.open_files(), 1);
}

/// grafana/loki#14462: Promtail skips the file in the middle.
#[test]
fn two_rotations_between_two_looks_lose_nothing() {
    for compressed in [false, true] {
        let mut log = Log::new(Start::Current);
        log.append("0.log", "a1\n");
        log.lines();
        log.append("0.log", "a2\n");
        log.rename("0.log", "0.log.20261121-022602");
        log.append("0.log", "b1\nb2\n");
        if compressed {
            log.compress("0.log.20261121-022602");
        }
        log.rename("0.log", "0.log.20261121-022612");
        log.append("0.log", "c1\n");
        assert_eq!(log.lines(), ["a2", "b1", "b2", "c1"], "compressed: {compressed}");
        log.rename("0.log", "0.log.20261121-022622");
        log.append("0.log", "d1\n");
        assert_eq!(log.lines(), ["d1"]);
    }
}

#[test]
fn a_start_takes_the_kubelets_generations_and_others_only_when_asked() {
    for (start, expected) in [(Start::Current, vec!["a", "b", "c"]), (Start::Everything, vec!["x", "a", "b", "c"])] {
        let mut log = Log::new(start);
        log.append("0.log.1", "x\n");
        log.append("0.log.20261121-022602", "a\n");
        log.compress("0.log.20261121-022602");
        log.append("0.log.20261121-022612", "b\n");
        log.append("0.log.20261121-022622.tmp", "half\n");
        log.append("0.log", "c\n");
        let mut lines = log.lines();
        // Numbered and timed names do not mix in practice; only what is taken matters here.
        lines.sort_by_key(|line| expected.iter().position(|e| e == line));
        assert_eq!(lines, expected);
    }
}

#[test]
fn a_file_renamed_away_and_back_is_the_same() {
    let mut log = Log::new(Start::Current);
    log.append("0.log", "a\n");
    log.lines();
    log.rename("0.log", "0.log.20261121-022602");
    assert_eq!(log.lines(), [""; 0]);
    log.append("0.log.20261121-022602", "b\n");
    log.rename("0.log.20261121-022602", "0.log");
    assert_eq!(log.lines(), ["b"]);
    log.append("0.log", "c\n");
    assert_eq!(log.lines(), ["c"]);
}

#[test]
fn a_truncated_file_is_read_again_even_if_it_grew_past_the_cursor() {
    let mut log = Log::new(Start::Current);
    log.append("0.log", "first line\nsecond line\n");
    log.lines();
    fs::write(log.path("0.log"), "new\n").expect("truncated");
    assert_eq!(log.lines(), ["new"]);
    fs::write(log.path("0.log"), "regrown well past where the cursor was\nand on\n").expect("truncated");
    assert!(matches!(log.poll().notices[..], [Notice::Rewritten { offset: 4, .. }]));
    assert_eq!(log.lines(), ["regrown well past where the cursor was", "and on"]);
}

#[test]
fn a_deleted_file_is_read_to_its_end_and_gone_then() {
    let mut log = Log::new(Start::Current);
    log.append("0.log", "a\n");
    log.lines();
    log.append("0.log", "b\nc");
    fs::remove_file(log.path("0.log")).expect("removed");
    assert_eq!(log.lines(), ["b", "c"]);
    assert!(log.source.is_gone());
    log.append("0.log", "again\n");
    assert_eq!(log.lines(), ["again"]);
    assert!(!log.source.is_gone());
}

#[test]
fn a_budget_ends_a_look_and_the_next_one_goes_on() {
    let mut log = Log::new(Start::Current);
    log.append("0.log", &"a line of some length\n".repeat(20));
    for _ in 0..40 {
        if !log.poll_bytes(30).more {
            break;
        }
    }
    assert_eq!(log.seen.len(), 20);
    assert_eq!(log.source.lag_bytes(), 0);
}

#[test]
fn a_damaged_compressed_file_gives_what_can_be_read() {
    let mut log = Log::new(Start::Current);
    log.append("0.log.20261121-022602", &"a line\n".repeat(2000));
    log.compress("0.log.20261121-022602");
    let packed = fs::read(log.path("0.log.20261121-022602.gz")).expect("read");
    fs::write(log.path("0.log.20261121-022602.gz"), &packed[..packed.len() - 9]).expect("cut");
    log.append("0.log", "after it\n");
    let progress = log.poll();
    assert!(matches!(progress.notices[..], [Notice::BrokenArchive { .. }]), "{:?}", progress.notices);
    // What the damage tore off is no line.
    assert!(log.seen.iter().rev().skip(1).all(|line| line == "a line"), "{:?}", log.seen);
    assert_eq!(log.seen.last().map(String::as_str), Some("after it"));
}

#[test]
fn a_planted_link_is_refused_and_named() {
    let mut log = Log::new(Start::Current);
    let outside = tempfile::NamedTempFile::new().expect("a file elsewhere");
    std::os::unix::fs::symlink(outside.path(), log.path("0.log")).expect("a link");
    assert_eq!(log.lines(), [""; 0]);
    assert_eq!(log.source.refusal().map(Refusal::reason), Some("outside_root"));
}

#[test]
fn a_line_as_long_as_the_limit_or_longer_stops_nothing() {
    for length in [30, 40, 47, 48, 49, 80, 81, 500] {
        let mut log = Log::new(Start::Current);
        log.append("0.log", "a first line, so that there is something before the long one\n");
        log.lines();
        let long = "x".repeat(length);
        log.append("0.log", &format!("{long}\nnext\n"));
        assert_eq!(log.lines(), [&long[..length.min(48)], "next"], "{length}");
    }
}

#[test]
fn a_file_that_was_read_and_compressed_while_there_was_no_new_one_is_not_read_again() {
    let mut log = Log::new(Start::Current);
    log.append("0.log", "a\n");
    log.lines();
    log.rename("0.log", "0.log.20261121-022602");
    log.lines();
    log.compress("0.log.20261121-022602");
    log.lines();
    log.append("0.log", "b\n");
    assert_eq!(log.lines(), ["b"]);
}

#[test]
fn files_that_came_and_went_are_read_though_the_one_before_them_was_deleted() {
    let mut log = Log::new(Start::Current);
    log.append("0.log", "a\n");
    log.lines();
    fs::remove_file(log.path("0.log")).expect("removed");
    log.append("0.log", "b\n");
    log.rename("0.log", "0.log.20261121-022602");
    log.append("0.log", "c\n");
    assert_eq!(log.lines(), ["b", "c"]);
}

/// The kubelet's names have seconds: a second rotation within one replaces the first file.
#[test]
fn a_rotated_name_may_be_taken_twice() {
    let mut log = Log::new(Start::Current);
    log.append("0.log", "a\n");
    log.lines();
    log.rename("0.log", "0.log.20261121-022602");
    log.append("0.log", "b1\n");
    log.lines();
    log.append("0.log", "b2\n");
    log.rename("0.log", "0.log.20261121-022602");
    log.append("0.log", "c\n");
    log.rename("0.log", "0.log.20261121-022603");
    log.append("0.log", "d\n");
    assert_eq!(log.lines(), ["b2", "c", "d"]);
}

#[test]
fn a_clock_that_was_set_back_between_two_rotations_loses_nothing() {
    let mut log = Log::new(Start::Current);
    log.append("0.log", "a\n");
    log.lines();
    log.rename("0.log", "0.log.20261121-022602");
    log.append("0.log", "b\n");
    log.rename("0.log", "0.log.20261121-012602");
    log.append("0.log", "c\n");
    log.compress("0.log.20261121-022602");
    assert_eq!(log.lines(), ["b", "c"]);
}

/// docker: `.1` becomes `.2`, and perhaps `.2.gz`.
#[test]
fn two_rotations_by_number_between_two_looks_lose_nothing() {
    for compressed in [false, true] {
        let mut log = Log::new(Start::Current);
        log.append("0.log.1", "older\n");
        log.append("0.log", "a1\n");
        log.lines();
        log.append("0.log", "a2\n");
        log.rename("0.log.1", "0.log.2");
        log.rename("0.log", "0.log.1");
        log.append("0.log", "b\n");
        log.rename("0.log.2", "0.log.3");
        log.rename("0.log.1", "0.log.2");
        if compressed {
            log.compress("0.log.2");
        }
        log.rename("0.log", "0.log.1");
        log.append("0.log", "c\n");
        assert_eq!(log.lines(), ["a2", "b", "c"], "compressed: {compressed}");
    }
}

#[test]
fn a_generation_that_is_compressed_before_its_turn_is_read_in_that_form() {
    let mut log = Log::new(Start::Current);
    log.append("0.log.20261121-022602", &"a line that fills the budget\n".repeat(10));
    log.append("0.log.20261121-022612", "b\n");
    log.append("0.log", "c\n");
    assert!(log.poll_bytes(1).more);
    log.compress("0.log.20261121-022612");
    assert_eq!(log.lines()[10..], ["b", "c"]);
}

/// The first ones are held open, so nobody can take them away; the rest wait closed.
#[test]
fn a_generation_that_goes_before_its_turn_is_counted() {
    let mut log = Log::new(Start::Current);
    log.append("0.log.20261121-022602", &"a line that fills the budget\n".repeat(10));
    for second in 10..30 {
        log.append(&format!("0.log.20261121-0226{second}"), "b\n");
    }
    log.append("0.log", "c\n");
    assert!(log.poll_bytes(1).more);
    for second in [10, 28, 29] {
        fs::remove_file(log.path(&format!("0.log.20261121-0226{second}"))).expect("removed");
    }
    let progress = log.poll();
    assert!(
        matches!(&progress.notices[..], [Notice::Vanished { path, offset: 0 }, Notice::Vanished { .. }]
            if path.ends_with("0.log.20261121-022628")),
        "{:?}",
        progress.notices
    );
    let lines = log.lines();
    assert_eq!((lines.len(), lines.last().map(String::as_str)), (10 + 18 + 1, Some("c")));
}

/// As when the machine has no file descriptor left: what cannot be opened now waits.
#[test]
fn a_file_that_could_not_be_opened_is_read_later_under_whatever_name() {
    let mut log = Log::new(Start::Current);
    log.append("0.log", "a\n");
    log.lines();
    log.rename("0.log", "0.log.20261121-022602");
    fs::create_dir(log.path("0.log")).expect("in the way");
    assert_eq!(log.lines(), [""; 0]);
    assert_eq!(log.source.refusal().map(Refusal::reason), Some("not_a_file"));
    fs::remove_dir(log.path("0.log")).expect("removed");
    log.append("0.log", "b\n");
    log.rename("0.log", "0.log.20261121-022612");
    log.append("0.log", "c\n");
    assert_eq!(log.lines(), ["b", "c"]);
}

#[test]
fn names_that_are_gone_are_forgotten() {
    let mut log = Log::new(Start::Current);
    for second in 10..60 {
        log.append("0.log", "a\n");
        log.lines();
        log.rename("0.log", &format!("0.log.20261121-0226{second}"));
        let _ = fs::remove_file(log.path(&format!("0.log.20261121-0226{}", second - 2)));
    }
    log.append("0.log", "a\n");
    log.lines();
    assert!(log.source.generations.len() <= 4, "{} generations", log.source.generations.len());
}

/// `current.log` of a program that begins a file each day.
#[test]
fn a_link_that_leads_to_another_file_brings_no_old_ones_with_it() {
    let mut log = Log::new(Start::Current);
    log.append("a.log", "a1\n");
    log.append("b.log.20261121-022602", "old\n");
    std::os::unix::fs::symlink(log.path("a.log"), log.path("0.log")).expect("a link");
    assert_eq!(log.lines(), ["a1"]);
    log.append("a.log", "a2\n");
    log.append("b.log", "b\n");
    fs::remove_file(log.path("0.log")).expect("removed");
    std::os::unix::fs::symlink(log.path("b.log"), log.path("0.log")).expect("a link");
    assert_eq!(log.lines(), ["a2", "b"]);
    log.rename("b.log", "b.log.20261121-022612");
    log.append("b.log", "c\n");
    assert_eq!(log.lines(), ["c"]);
}

#[test]
fn a_file_that_was_rewritten_to_its_size_is_read_again() {
    let mut log = Log::new(Start::Current);
    log.append("0.log", "one\n");
    log.lines();
    fs::write(log.path("0.log"), "two\n").expect("rewritten");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    File::options().append(true).open(log.path("0.log")).and_then(|file| file.set_modified(later)).expect("touched");
    assert_eq!(log.lines(), ["two"]);
}

/// logrotate's `copytruncate` with `dateext`.
#[test]
fn a_copy_of_what_was_truncated_is_not_read() {
    let mut log = Log::new(Start::Current);
    log.append("0.log", "a\n");
    log.lines();
    fs::copy(log.path("0.log"), log.path("0.log-20261121")).expect("copied");
    fs::write(log.path("0.log"), "").expect("truncated");
    log.lines();
    log.append("0.log", "b\n");
    assert_eq!(log.lines(), ["b"]);
    fs::remove_file(log.path("0.log")).expect("removed");
    log.append("0.log", "c\n");
    assert_eq!(log.lines(), ["c"]);
}
