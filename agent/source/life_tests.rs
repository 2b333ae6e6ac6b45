//! The life of a log in a file system in memory, restarts included.

use super::*;
use crate::keep::{Reader, Writer};
use crate::source::{Cursor, MemFs, Notice, gzipped};
use rustix::io::Errno;

pub(super) const LOG: &str = "/pods/a/0.log";
pub(super) const OLD: &str = "/pods/a/0.log.20261121-100000";
pub(super) const OLDER: &str = "/pods/a/0.log.20261121-090000";

/// A source and everything that it handed out.
pub(super) struct Tail {
    pub fs: MemFs,
    pub source: FileSource,
    pub buffer: LineBuffer,
    pub now: Duration,
    /// Lines, since the last look at them.
    pub got: Vec<String>,
}

impl Tail {
    pub fn new(path: &str, start: Start) -> Tail {
        let source = FileSource::new(Path::new(path), Opener::anywhere(), start);
        let buffer = LineBuffer::new(64, 40);
        Tail { fs: MemFs::default(), source, buffer, now: Duration::from_secs(10), got: Vec::new() }
    }

    pub fn kubelet() -> Tail {
        Tail::new(LOG, Start::Current)
    }

    pub fn poll_bytes(&mut self, budget_bytes: u64) -> Progress {
        self.now += Duration::from_secs(2);
        let (got, moment) = (&mut self.got, Moment { fs: &self.fs, now: self.now });
        let mut take = |line: Line<'_>| got.push(String::from_utf8_lossy(line.bytes).into_owned());
        self.source.poll(moment, &mut self.buffer, budget_bytes, &mut take)
    }

    pub fn poll(&mut self) -> Progress {
        self.poll_bytes(u64::MAX)
    }

    pub fn finish(&mut self) -> Progress {
        let (got, moment) = (&mut self.got, Moment { fs: &self.fs, now: self.now });
        let mut take = |line: Line<'_>| got.push(String::from_utf8_lossy(line.bytes).into_owned());
        self.source.finish(moment, &mut self.buffer, &mut take)
    }

    /// As after kill -9 right after a cut.
    pub fn restart(&mut self) {
        self.resume(Resume::default());
    }

    /// Everything goes through the bytes that are stored.
    pub fn resume(&mut self, resume: Resume) {
        let mut stored = Vec::new();
        self.source.identities().for_each(|identity| identity.write(&mut Writer::new(&mut stored)));
        let mut reader = Reader::new(&stored);
        let known: Vec<Identity> = std::iter::from_fn(|| Identity::read(&mut reader)).collect();
        assert!(reader.is_empty() && known.len() == self.source.generations.len());
        let real = self.source.real().cloned();
        let (path, start) = (Arc::clone(self.source.path()), self.source.start());
        self.source = FileSource::resume(path, self.source.opener().clone(), start, real, known, resume);
    }

    /// Polls, and compares what came with `want` (words).
    #[track_caller]
    pub fn gives(&mut self, want: &str) -> Progress {
        self.got.clear();
        let progress = self.poll();
        assert_eq!(self.got.join(" "), want, "{:?}", progress.notices);
        progress
    }

    pub fn rotate(&self, to: &str) {
        self.fs.rename(self.source.path(), to);
        self.fs.create(self.source.path(), "");
    }
}

#[test]
fn appended_lines_come_once_and_an_unfinished_one_is_held() {
    let mut tail = Tail::kubelet();
    tail.gives("");
    tail.fs.append(LOG, "a\nb\nc");
    let progress = tail.gives("a b");
    assert_eq!((progress.bytes, progress.lines, tail.source.lag_bytes()), (4, 2, 1));
    tail.gives("");
    tail.fs.append(LOG, "c\nd\n");
    tail.gives("cc d");
    tail.fs.append(LOG, "end");
    tail.gives("");
    tail.got.clear();
    tail.finish();
    assert_eq!(tail.got, ["end"]);
    tail.gives("");
}

#[test]
fn an_idle_file_costs_one_call() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\nunfinished");
    tail.gives("a");
    let calls = tail.fs.calls();
    tail.gives("");
    assert_eq!(tail.fs.calls() - calls, 1);
}

#[test]
fn a_renamed_file_is_read_to_its_end_first_and_its_late_lines_come_too() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\n");
    tail.gives("a");
    tail.fs.append(LOG, "b\n");
    tail.rotate(OLD);
    tail.fs.append(LOG, "d\n");
    tail.fs.append(OLD, "c\n");
    tail.gives("b c d");
    tail.fs.append(OLD, "late");
    tail.fs.append(LOG, "e\n");
    tail.gives("e");
    tail.fs.append(OLD, "r\n");
    tail.gives("later");
    tail.fs.append(OLD, "last\ntorn");
    tail.fs.compress(OLD);
    tail.gives("last torn");
    assert_eq!(tail.fs.open_unlinked(), 0, "the old handle is closed");
    tail.rotate("/pods/a/0.log.20261121-110000");
    tail.fs.append(LOG, "f\n");
    tail.gives("f");
}

#[test]
fn a_twin_ends_the_old_file_even_if_kubelet_died_before_unlinking_it() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\n");
    tail.gives("a");
    tail.rotate(OLD);
    tail.gives("");
    tail.fs.append(OLD, "b\n");
    tail.fs.create(format!("{OLD}.gz"), gzipped(b"a\nb\n"));
    tail.fs.create("/pods/a/0.log.20261121-095959.gz.tmp", "x");
    tail.rotate("/pods/a/0.log.20261121-110000");
    tail.fs.append(LOG, "c\n");
    tail.gives("b c");
    tail.fs.unlink(OLD);
    tail.rotate("/pods/a/0.log.20261121-120000");
    tail.gives("");
}

#[test]
fn files_between_two_polls_are_found_in_their_order() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a1\n");
    tail.gives("a1");
    tail.fs.append(LOG, "a2\n");
    tail.rotate(OLDER);
    tail.fs.append(LOG, "b1\n");
    tail.fs.compress(OLDER);
    tail.rotate(OLD);
    tail.fs.append(LOG, "c1\n");
    tail.gives("a2 b1 c1");
    tail.gives("");
    // The path is empty for a moment, and the file in between has the same first line.
    tail.fs.append(LOG, "c2\n");
    tail.rotate("/pods/a/0.log.20261121-110000");
    tail.fs.append(LOG, "c1\nd2\n");
    tail.fs.rename(LOG, "/pods/a/0.log.20261121-120000");
    tail.gives("c2 c1 d2");
    assert!(!tail.source.is_gone());
}

#[test]
fn truncation_and_rewriting_in_place_start_over() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "first\nsecond\n");
    tail.gives("first second");
    tail.fs.resize(LOG, 0);
    let progress = tail.gives("");
    assert!(matches!(progress.notices[..], [Notice::Rewritten { offset: 13, .. }]), "{:?}", progress.notices);
    tail.fs.append(LOG, "third\n");
    assert!(tail.gives("third").notices.is_empty());
    // Grown beyond the cursor between two polls.
    tail.fs.resize(LOG, 0);
    tail.fs.append(LOG, "fourth\nfifth\n");
    tail.gives("fourth fifth");
    // To the very same size.
    tail.fs.resize(LOG, 0);
    tail.fs.append(LOG, "FOURTH\nFIFTH\n");
    tail.gives("FOURTH FIFTH");
}

#[test]
fn copytruncate_loses_nothing_that_the_copy_holds() {
    let mut tail = Tail::new("/log/access.log", Start::Current);
    tail.fs.append("/log/access.log", "a\nb\n");
    tail.gives("a b");
    tail.fs.append("/log/access.log", "c\n");
    tail.fs.create("/log/access.log.1", tail.fs.content("/log/access.log"));
    tail.fs.resize("/log/access.log", 0);
    tail.fs.append("/log/access.log", "dd\nee\nff\n");
    tail.gives("c dd ee ff");
    tail.gives("");
}

#[test]
fn a_deleted_file_is_read_to_its_end_and_then_the_source_is_finished() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\n");
    tail.gives("a");
    let long = "b".repeat(30);
    tail.fs.append(LOG, format!("{long}\n{long}\n{long}\n{long}\nd"));
    tail.fs.unlink(LOG);
    let progress = tail.poll_bytes(1);
    assert!(progress.more && !tail.source.is_gone() && tail.source.lag_bytes() > 60);
    tail.gives(&format!("{long} {long} d"));
    assert!(tail.source.is_gone());
    assert_eq!(tail.fs.open_unlinked(), 0);
}

#[test]
fn before_the_end_the_older_files_are_looked_for_once_more() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\n");
    tail.gives("a");
    tail.fs.rename(LOG, OLDER);
    tail.gives("");
    // Comes and goes between two polls.
    tail.fs.append(LOG, "b\n");
    tail.fs.rename(LOG, OLD);
    tail.fs.unlink(OLDER);
    assert!(tail.gives("").more);
    tail.gives("b");
    assert!(!tail.source.is_gone());
    tail.fs.unlink(OLD);
    tail.gives("");
    assert!(tail.source.is_gone());
}

#[test]
fn an_inode_used_again_is_another_file() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "same\n");
    let inode = tail.fs.metadata(LOG.as_ref()).expect("there").inode;
    tail.gives("same");
    tail.fs.unlink(LOG);
    tail.gives("");
    tail.fs.append(LOG, "same\nb\n");
    assert_eq!(tail.fs.metadata(LOG.as_ref()).expect("there").inode, inode);
    tail.gives("same b");
    // Across a restart, too, where only the first bytes can tell.
    tail.restart();
    tail.fs.unlink(LOG);
    tail.fs.append(LOG, "other\nb\nc\n");
    assert_eq!(tail.fs.metadata(LOG.as_ref()).expect("there").inode, inode);
    tail.gives("other b c");
}

#[test]
fn a_file_that_is_renamed_back_goes_on() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\n");
    tail.gives("a");
    tail.fs.rename(LOG, OLD);
    tail.fs.append(OLD, "b\n");
    tail.gives("b");
    assert!(!tail.source.is_gone());
    tail.fs.rename(OLD, LOG);
    tail.fs.append(LOG, "c\n");
    tail.gives("c");
    tail.rotate(OLD);
    tail.fs.append(LOG, "d\n");
    tail.gives("d");
}

#[test]
fn older_files_at_the_start_belong_to_it_by_their_names() {
    for (start, want) in [(Start::Everything, "one two three"), (Start::Current, "three")] {
        let mut tail = Tail::new("/d/x-json.log", start);
        tail.fs.create("/d/x-json.log.2.gz", gzipped(b"one\n"));
        tail.fs.append("/d/x-json.log.1", "two\n");
        tail.fs.append("/d/x-json.log", "three\n");
        tail.gives(want);
        // What is rotated while we watch is read in any case, and only that, whatever it is called later.
        tail.fs.append("/d/x-json.log", "four\n");
        tail.fs.rename("/d/x-json.log.2.gz", "/d/x-json.log.4.gz");
        tail.fs.compress("/d/x-json.log.1");
        tail.fs.rename("/d/x-json.log.1.gz", "/d/x-json.log.3.gz");
        tail.rotate("/d/x-json.log.2");
        tail.fs.append("/d/x-json.log", "five\n");
        tail.rotate("/d/x-json.log.1");
        tail.fs.append("/d/x-json.log", "six\n");
        tail.gives("four five six");
        tail.gives("");
    }
    let mut tail = Tail::kubelet();
    tail.fs.create(format!("{OLDER}.gz"), gzipped(b"a\n"));
    tail.fs.append(OLD, "b\n");
    tail.fs.append(LOG, "c\n");
    tail.gives("a b c");
}

#[test]
fn siblings_of_a_linked_log_stand_where_the_link_leads() {
    let mut tail = Tail::new(LOG, Start::Everything);
    tail.fs.link(LOG, "/docker/x-json.log");
    tail.fs.append("/docker/x-json.log.1", "a\n");
    tail.fs.append("/docker/x-json.log", "b\n");
    tail.gives("a b");
}

#[test]
fn after_a_restart_it_goes_on_at_the_byte() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a1\na2\n");
    tail.gives("a1 a2");
    tail.restart();
    tail.fs.append(LOG, "a3\n");
    tail.rotate(OLDER);
    tail.fs.append(LOG, "b1\nb2\nb3\nb4 is longer than all of a\n");
    tail.fs.compress(OLDER);
    tail.rotate(OLD);
    tail.fs.append(LOG, "c1\n");
    tail.gives("a3 b1 b2 b3 b4 is longer than all of a c1");
    tail.restart();
    assert!(tail.gives("").notices.is_empty());
    tail.restart();
    tail.fs.append(LOG, "c2\n");
    tail.fs.unlink(format!("{OLDER}.gz"));
    tail.gives("c2");
}

#[test]
fn a_damaged_cursor_is_left_out() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\n");
    tail.gives("a");
    let identity = tail.source.identities().next().expect("one file").clone();
    let damaged = Identity { cursor: Cursor { marker_bytes: 200, ..identity.cursor }, ..identity };
    let resume = Resume::default();
    tail.source = FileSource::resume(Path::new(LOG), Opener::anywhere(), Start::Current, None, [damaged], resume);
    tail.gives("a");
}

#[test]
fn a_file_lost_while_stopped_is_told() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\n");
    tail.gives("a");
    tail.restart();
    tail.rotate(OLD);
    tail.fs.unlink(OLD);
    tail.fs.append(LOG, "b\n");
    assert!(matches!(tail.gives("b").notices[..], [Notice::Vanished { .. }]));
}

#[test]
fn a_cut_line_is_counted_once_over_polls_and_restarts() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "x".repeat(41));
    tail.gives(&"x".repeat(40));
    tail.fs.append(LOG, "x".repeat(1000));
    tail.gives("");
    tail.restart();
    tail.fs.append(LOG, "x\nnext\n");
    tail.gives("next");
}

#[test]
fn the_budget_is_kept_and_the_rest_is_told() {
    let mut tail = Tail::kubelet();
    tail.fs.create(format!("{OLDER}.gz"), gzipped(&b"line of a gz\n".repeat(20)));
    tail.fs.append(LOG, "line\n".repeat(100));
    let mut polls = 0;
    loop {
        let progress = tail.poll_bytes(50);
        polls += 1;
        assert!(progress.bytes <= 50 + tail.buffer_bytes());
        assert_eq!(progress.more, tail.source.lag_bytes() > 0);
        if !progress.more {
            break;
        }
    }
    assert!(polls > 5, "{polls} polls");
    assert_eq!(tail.got.len(), 120);
}

#[test]
fn troubles_are_told_once_and_tried_again() {
    let mut tail = Tail::kubelet();
    tail.source.opener = Opener::below(["/pods".into()]);
    tail.fs.append(LOG, "a\n");
    tail.fs.set_links(LOG, 2);
    tail.gives("");
    assert_eq!(tail.source.refusal().map(Refusal::reason), Some("hard_link"));
    tail.fs.set_links(LOG, 1);
    tail.gives("a");
    assert!(tail.source.refusal().is_none());
    tail.fs.append(LOG, "b\n");
    tail.fs.fail_reads(LOG, Some(Errno::IO));
    assert!(matches!(tail.gives("").notices[..], [Notice::NotRead { .. }]));
    assert!(tail.gives("").notices.is_empty() && tail.source.is_unreadable());
    tail.fs.fail_reads(LOG, None);
    tail.gives("b");
    assert!(!tail.source.is_unreadable());
}

#[test]
fn a_broken_gz_gives_what_is_readable() {
    let mut tail = Tail::kubelet();
    let content: String = (0..2000).map(|n: u32| format!("{}\n", n.wrapping_mul(2_654_435_761))).collect();
    let gz = gzipped(content.as_bytes());
    tail.fs.create(format!("{OLD}.gz"), &gz[..gz.len() / 2]);
    tail.fs.create(format!("{OLDER}.gz"), "this is no gzip");
    tail.fs.append(LOG, "after\n");
    let progress = tail.poll();
    assert!(
        matches!(progress.notices[..], [Notice::BrokenArchive { .. }, Notice::BrokenArchive { .. }]),
        "{:?}",
        progress.notices
    );
    assert!(tail.got.len() > 500, "only {} lines", tail.got.len());
    assert_eq!(tail.got.last(), Some(&"after".to_owned()));
    assert!(tail.gives("").notices.is_empty());
}

impl Tail {
    fn buffer_bytes(&self) -> u64 {
        // The smallest capacity that the limit of 40 allows is below 128.
        128
    }
}
