//! Disks that fail, files that must not be read, too many of them, and what is lost by whom.

use super::life_tests::{LOG, OLD, Tail};
use super::*;
use crate::source::{Notice, break_reason};
use rustix::io::Errno;

fn reasons(progress: &Progress) -> Vec<&'static str> {
    progress.notices.iter().filter_map(break_reason).collect()
}

/// Polls each quarter of a second for so long; the breaks.
fn pass(tail: &mut Tail, time: Duration) -> Vec<&'static str> {
    let end = tail.now + time;
    let mut breaks = Vec::new();
    while tail.now < end {
        // A poll takes two seconds of this clock.
        tail.now -= Duration::from_millis(1750);
        breaks.extend(reasons(&tail.poll()));
    }
    breaks
}

#[test]
fn a_bad_disk_is_tried_more_and_more_rarely_and_given_up_in_the_end() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\n");
    tail.poll();
    tail.fs.append(LOG, "b\nc");
    tail.fs.fail_reads(LOG, Some(Errno::IO));
    let before = tail.fs.reads();
    assert_eq!(pass(&mut tail, Duration::from_secs(100)), [""; 0]);
    // At 0, 0.25, 0.75, 1.75, … 63.75 seconds.
    assert_eq!(tail.fs.reads() - before, 9);
    assert!(tail.source.is_unreadable());
    assert_eq!(pass(&mut tail, Duration::from_secs(60)), ["unreadable"]);
    assert!(!tail.source.is_unreadable());
    tail.fs.fail_reads(LOG, None);
    // The rest of the line that was given up in its middle is none.
    tail.fs.append(LOG, "c\nd\n");
    tail.got.clear();
    assert_eq!(pass(&mut tail, Duration::from_secs(2)), [""; 0]);
    assert_eq!(tail.got, ["d"]);
}

#[test]
fn a_bad_disk_that_recovers_costs_nothing() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\n");
    tail.poll();
    for _ in 0..5 {
        tail.fs.append(LOG, "b\n");
        tail.fs.fail_reads(LOG, Some(Errno::IO));
        assert_eq!(pass(&mut tail, Duration::from_secs(90)), [""; 0]);
        tail.fs.fail_reads(LOG, None);
        assert_eq!(pass(&mut tail, Duration::from_secs(90)), [""; 0]);
    }
    assert_eq!(tail.got.len(), 6);
}

#[test]
fn a_file_that_may_not_be_read_is_tried_rarely_and_read_once_it_may() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\n");
    tail.fs.append(OLD, "older\n");
    tail.fs.fail_opens(LOG, Some(Errno::ACCESS));
    tail.fs.fail_opens(OLD, Some(Errno::ACCESS));
    let before = tail.fs.opens();
    assert_eq!(pass(&mut tail, Duration::from_secs(600)), [""; 0]);
    let tries = tail.fs.opens() - before;
    assert!((20..60).contains(&tries), "{tries}");
    assert_eq!(tail.source.refusal().map(Refusal::reason), Some("permission_denied"));
    assert!(tail.source.is_unreadable());
    tail.fs.fail_opens(LOG, None);
    tail.fs.fail_opens(OLD, None);
    pass(&mut tail, Duration::from_secs(61));
    tail.got.sort();
    assert_eq!(tail.got, ["a", "older"]);
    assert!(!tail.source.is_unreadable());
}

#[test]
fn only_what_was_seen_and_not_read_is_lost_by_a_truncation() {
    // All was read.
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\nb\n");
    tail.poll();
    tail.fs.resize(LOG, 0);
    tail.fs.append(LOG, "c\n");
    let progress = tail.gives("c");
    assert!(matches!(progress.notices[..], [Notice::Rewritten { .. }]), "{:?}", progress.notices);
    // A part of it was.
    let lines = "a line of some length\n".repeat(20);
    for copied in [false, true] {
        let mut tail = Tail::new("/log/x.log", Start::Current);
        tail.fs.append("/log/x.log", &lines);
        assert!(tail.poll_bytes(1).more);
        if copied {
            tail.fs.create("/log/x.log.1", &lines);
        }
        tail.fs.resize("/log/x.log", 0);
        tail.fs.append("/log/x.log", "c\n");
        assert_eq!(reasons(&tail.poll()), if copied { vec![] } else { vec!["truncated"] });
        assert_eq!(tail.got.len() > 20, copied);
        assert_eq!(tail.got.last().map(String::as_str), Some("c"));
        assert!(tail.gives("").notices.is_empty());
    }
}

#[test]
fn a_sleeping_source_costs_one_call_and_wakes_when_something_happens() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\nunfinished");
    tail.gives("a");
    tail.source.sleep();
    assert!(tail.source.is_asleep() && tail.fs.open_files() == 0);
    let calls = tail.fs.calls();
    tail.gives("");
    assert_eq!(tail.fs.calls() - calls, 1);
    tail.fs.append(LOG, "\nb\n");
    tail.gives("unfinished b");
    assert!(!tail.source.is_asleep());
    // Rotated, late lines, compressed: each time it slept.
    tail.source.sleep();
    tail.fs.append(LOG, "c\n");
    tail.rotate(OLD);
    tail.fs.append(LOG, "d\n");
    tail.gives("c d");
    tail.source.sleep();
    assert_eq!(tail.fs.open_files(), 0);
    tail.fs.append(OLD, "late\n");
    tail.gives("late");
    tail.source.sleep();
    tail.fs.append(OLD, "last");
    tail.fs.compress(OLD);
    assert!(tail.gives("last").notices.is_empty());
    // Truncated.
    tail.source.sleep();
    tail.fs.resize(LOG, 0);
    tail.fs.append(LOG, "e\n");
    tail.gives("e");
    // Gone: what it may have said since the last look is unknown.
    tail.source.sleep();
    tail.fs.unlink(LOG);
    tail.fs.unlink(format!("{OLD}.gz"));
    assert_eq!(reasons(&tail.gives("")), ["vanished"]);
    assert!(tail.source.is_gone());
}

#[test]
fn a_source_without_a_descriptor_waits_in_order() {
    let mut tail = Tail::kubelet();
    tail.fs.append(OLD, "a\n");
    tail.fs.append(LOG, "b\n");
    tail.fs.set_open_max(0);
    let progress = tail.gives("");
    assert!(progress.starved && progress.notices.len() <= 1, "{:?}", progress.notices);
    tail.fs.set_open_max(100);
    tail.gives("a b");
}

#[test]
fn every_reason_of_a_break_has_its_name() {
    let path = PathBuf::from("/x");
    let error = || io::Error::from(io::ErrorKind::Other);
    let (offset, end) = (1, 2);
    for (notice, reason) in [
        (Notice::NotOpened { path: path.clone(), refusal: Refusal::NotAFile }, None),
        (Notice::NotRead { path: path.clone(), error: error() }, None),
        (Notice::Rewritten { path: path.clone(), offset }, None),
        (Notice::Truncated { path: path.clone(), offset }, Some("truncated")),
        (Notice::BrokenArchive { path: path.clone(), offset, error: error() }, Some("broken_archive")),
        (Notice::Unreadable { path: path.clone(), offset, end }, Some("unreadable")),
        (Notice::Vanished { path: path.clone(), offset }, Some("vanished")),
        (Notice::Shortened { path: path.clone(), offset, end }, None),
        (Notice::PowerLoss { path, offset }, Some("power_loss")),
    ] {
        assert_eq!(break_reason(&notice), reason, "{notice:?}");
    }
}
