//! Positions of Promtail in a file system in memory: the time of a position is a tick of that system's clock.

use super::*;
use crate::source::{FileSystem, Line, LineBuffer, MemFs, gzipped};
use std::time::Duration;

const LOG: &str = "/log/x.log";

struct Taken {
    fs: MemFs,
    source: Option<FileSource>,
    buffer: LineBuffer,
}

impl Taken {
    fn new() -> Self {
        Taken { fs: MemFs::default(), source: None, buffer: LineBuffer::new(64, 48) }
    }

    fn now(&self) -> UnixNanos {
        self.fs.append("/clock", "x");
        self.fs.metadata("/clock".as_ref()).expect("there").modified
    }

    fn take_over(&mut self, offset: u64, written_at: UnixNanos) {
        let source = FileSource::from_position(Path::new(LOG), Opener::anywhere(), Start::Current, offset, written_at);
        self.source = Some(source);
    }

    /// The lines of a poll, and whether something is said to be lost.
    fn poll(&mut self) -> (String, bool) {
        let mut lines: Vec<String> = Vec::new();
        let moment = Moment { fs: &self.fs, now: Duration::ZERO };
        let mut take = |line: Line<'_>| lines.push(String::from_utf8_lossy(line.bytes).into_owned());
        let source = self.source.as_mut().expect("a source");
        let progress = source.poll(moment, &mut self.buffer, u64::MAX, &mut take);
        (lines.join(" "), progress.notices.iter().any(|notice| matches!(notice, Notice::Vanished { .. })))
    }
}

fn lines(text: &str, lost: bool) -> (String, bool) {
    (text.to_owned(), lost)
}

#[test]
fn an_offset_of_the_current_file_is_gone_on_from_and_older_files_are_done() {
    for (offset, want) in [(0, "a b c"), (2, "b c"), (3, "c"), (6, ""), (5, "")] {
        let mut taken = Taken::new();
        taken.fs.append("/log/x.log.20261121-022602", "older\n");
        taken.fs.append("/log/x.log.1", "old\n");
        taken.fs.append(LOG, "a\nb\nc\n");
        let now = taken.now();
        taken.take_over(offset, now);
        assert_eq!(taken.poll(), lines(want, false), "{offset}");
        taken.fs.append(LOG, "d\n");
        assert_eq!(taken.poll(), lines("d", false));
        taken.fs.rename(LOG, "/log/x.log.20261121-022702");
        taken.fs.append(LOG, "e\n");
        assert_eq!(taken.poll(), lines("e", false));
    }
}

#[test]
fn a_file_that_was_rotated_since_is_gone_on_with_and_younger_ones_are_read_whole() {
    for (packed, timed) in [(false, false), (false, true), (true, true)] {
        let time = |second: u32| match timed {
            true => format!("1970-01-01T00:00:00.{second:09}Z "),
            false => String::new(),
        };
        let mut taken = Taken::new();
        let mut at = taken.now() as u32;
        taken.fs.append("/log/x.log.20261121-022602", format!("{}older\n", time(at)));
        at = taken.now() as u32;
        taken.fs.append(LOG, format!("{}a\n", time(at)));
        let offset = taken.fs.content(LOG).len() as u64;
        let written_at = taken.now();
        taken.fs.append(LOG, "b\n");
        taken.fs.rename(LOG, "/log/x.log.20261121-022702");
        at = taken.now() as u32;
        taken.fs.append(LOG, format!("{}c, which is longer than the file before\n", time(at)));
        taken.fs.rename(LOG, "/log/x.log.20261121-022802");
        at = taken.now() as u32;
        taken.fs.append(LOG, format!("{}d\n", time(at)));
        if packed {
            taken.fs.compress("/log/x.log.20261121-022602");
            taken.fs.compress("/log/x.log.20261121-022702");
        }
        taken.take_over(offset, written_at);
        let (read, lost) = taken.poll();
        let words: Vec<&str> = read.split(' ').filter(|word| ["a", "b", "c,", "d", "older"].contains(word)).collect();
        assert_eq!((words, lost), (vec!["b", "c,", "d"], false), "{packed} {timed}: {read}");
        assert_eq!(taken.poll(), lines("", false));
    }
}

#[test]
fn a_current_file_that_is_shorter_was_truncated_and_perhaps_copied() {
    for copied in [false, true] {
        let mut taken = Taken::new();
        // Of days before, and large enough.
        taken.fs.append("/log/x.log.2", "yesterday's file\n");
        taken.fs.append(LOG, "a\nb\n");
        let written_at = taken.now();
        taken.fs.append(LOG, "c\n");
        if copied {
            taken.fs.create("/log/x.log.1", taken.fs.content(LOG));
        }
        taken.fs.resize(LOG, 0);
        taken.fs.append(LOG, "d\n");
        taken.take_over(4, written_at);
        let want = if copied { lines("c d", false) } else { lines("d", true) };
        assert_eq!(taken.poll(), want, "{copied}");
    }
    let line = |text: &str| format!("1970-01-01T00:00:00.000000001Z {text}\n");
    let mut taken = Taken::new();
    taken.fs.append(LOG, line("a"));
    let written_at = taken.now();
    taken.fs.append(LOG, line("b"));
    taken.fs.create("/log/x.log.1", gzipped(&taken.fs.content(LOG)));
    taken.fs.rename("/log/x.log.1", "/log/x.log.1.gz");
    taken.fs.resize(LOG, 0);
    taken.take_over(line("a").len() as u64, written_at);
    assert_eq!(taken.poll(), lines(line("b").trim_end(), false));
}

#[test]
fn what_is_gone_is_told_and_what_is_younger_is_read() {
    let mut taken = Taken::new();
    let written_at = taken.now();
    taken.fs.append("/log/x.log.20261121-022702", "a\n");
    taken.fs.append(LOG, "b\n");
    taken.take_over(4, written_at);
    assert_eq!(taken.poll(), lines("a b", true));
    // Nothing was ever there.
    let mut taken = Taken::new();
    taken.take_over(4, 1);
    assert_eq!(taken.poll(), lines("", false));
    taken.fs.append(LOG, "first\n");
    assert_eq!(taken.poll(), lines("first", false));
}

#[test]
fn a_current_file_that_cannot_be_opened_yet_is_waited_for() {
    let mut taken = Taken::new();
    taken.fs.append(LOG, "a\nb\n");
    let now = taken.now();
    taken.fs.fail_opens(LOG, Some(rustix::io::Errno::ACCESS));
    taken.take_over(2, now);
    assert_eq!(taken.poll(), lines("", false));
    assert!(taken.source.as_ref().is_some_and(FileSource::is_unreadable));
    taken.fs.fail_opens(LOG, None);
    assert_eq!(taken.poll(), lines("b", false));
}
