//! What lost power leaves of files that were read: never is a line counted again, at no later restart either.

use super::life_tests::{LOG, OLD, Tail};
use super::*;
use crate::source::{Notice, gzipped};

const REBOOTED: Resume = Resume { rebooted: true };

/// Lines that no compression makes short.
fn lines(count: u32) -> String {
    let word = |n: u32| n.wrapping_mul(2_654_435_761) ^ n.wrapping_mul(40_503).rotate_left(16);
    (0..count).map(|n| format!("{:08x}{:08x}\n", word(n), word(n + 7_919))).collect()
}

/// Nothing comes now, and nothing at the next restart.
fn all_was_read(tail: &mut Tail) {
    for _ in 0..2 {
        tail.gives("");
        tail.restart();
    }
    assert!(tail.gives("").notices.is_empty());
}

/// A log of which all was read, rotated and then, if `compress`, packed under its rotated name.
fn rotated(count: u32, compress: bool) -> Tail {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, lines(count));
    tail.poll();
    tail.rotate(OLD);
    tail.fs.append(LOG, "");
    tail.poll();
    if compress {
        tail.fs.compress(OLD);
        tail.poll();
    }
    tail.restart();
    tail
}

#[test]
fn a_rotated_file_with_nuls_to_its_old_end_stays_known() {
    for count in [10, 200] {
        for from in [0, 1, 17 * 4, 17 * 9] {
            let mut tail = rotated(count, false);
            tail.fs.nul_tail(OLD, from);
            tail.resume(REBOOTED);
            all_was_read(&mut tail);
        }
    }
}

#[test]
fn a_rotated_file_that_is_shorter_stays_known() {
    for count in [10, 200] {
        for length in [0, 1, 17 * 4, 17 * 9] {
            let mut tail = rotated(count, false);
            tail.fs.resize(OLD, length);
            tail.resume(REBOOTED);
            all_was_read(&mut tail);
        }
    }
}

/// That it was read before it was compressed shows in its name, or, if it was read packed, in its birth.
#[test]
fn a_compressed_file_that_is_cut_short_stays_known() {
    for packed_before in [false, true] {
        for length in [0, 1, 12, 60, 100, 140, 250, 300] {
            let mut tail = rotated(40, packed_before);
            let gz = format!("{OLD}.gz");
            if !packed_before {
                tail.fs.compress(OLD);
            }
            assert!(tail.fs.content(&gz).len() > 300);
            tail.fs.resize(&gz, length);
            tail.resume(REBOOTED);
            // It is known which one this is.
            let told = tail.gives("").notices;
            assert!(!told.iter().any(|notice| matches!(notice, Notice::PowerLoss { .. })), "{told:?}");
            all_was_read(&mut tail);
        }
    }
}

/// Zeros do not become NULs when they are unpacked.
#[test]
fn a_compressed_file_with_nuls_to_its_end_stays_known() {
    let line = |n: usize| format!("2026-11-21T02:26:{n:02}Z stdout F k={} {}\n", n * n, "x".repeat(n * 17 % 40));
    for from in (20..160).step_by(5) {
        let mut tail = Tail::kubelet();
        tail.fs.append(LOG, (0..14).map(line).collect::<String>());
        tail.poll();
        tail.rotate(OLD);
        tail.poll();
        tail.restart();
        tail.fs.compress(OLD);
        tail.fs.nul_tail(format!("{OLD}.gz"), from);
        tail.resume(REBOOTED);
        all_was_read(&mut tail);
    }
}

/// Under its present name nobody has seen it.
#[test]
fn a_compressed_file_that_is_cut_short_may_be_any_that_is_missing() {
    for length in [0, 1, 12, 60, 100, 140] {
        let mut tail = Tail::kubelet();
        tail.fs.append(LOG, lines(20));
        tail.poll();
        tail.restart();
        tail.rotate(OLD);
        tail.fs.compress(OLD);
        tail.fs.resize(format!("{OLD}.gz"), length);
        tail.fs.append(LOG, "new\n");
        tail.resume(REBOOTED);
        let told = tail.gives("new").notices;
        assert!(matches!(told[..], [Notice::PowerLoss { .. }, ..]), "{told:?}");
        all_was_read(&mut tail);
    }
}

/// What the agent read and saw rotated has gone since: what is damaged now is another file, and was never read.
#[test]
fn a_compressed_file_that_is_cut_short_is_none_that_had_another_rotated_name() {
    let mut tail = rotated(40, false);
    let (newer, gz) = ("/pods/a/0.log.20261121-110000", "/pods/a/0.log.20261121-110000.gz");
    let unread = lines(80).split_off(17 * 40);
    tail.fs.append(LOG, &unread);
    tail.rotate(newer);
    tail.fs.compress(newer);
    // So short that it cannot be compared with what was read.
    tail.fs.resize(gz, 200);
    tail.fs.unlink(OLD);
    tail.resume(REBOOTED);
    tail.got.clear();
    let told = tail.poll().notices;
    assert!(!tail.got.is_empty() && unread.starts_with(&tail.got.join("\n")), "{:?}", tail.got);
    assert!(told.iter().any(|notice| matches!(notice, Notice::BrokenArchive { .. })), "{told:?}");
    all_was_read(&mut tail);
}

/// The agent dies again before it has looked at a file: it is as damaged at the restart after that.
#[test]
fn that_power_was_lost_is_known_until_the_file_is_found() {
    let mut tail = rotated(10, false);
    tail.fs.resize(OLD, 17 * 4);
    tail.resume(REBOOTED);
    tail.restart();
    assert!(matches!(tail.gives("").notices[..], [Notice::Shortened { .. }]));
    all_was_read(&mut tail);
}

/// A compressed file that is damaged for another reason is told once.
#[test]
fn a_damaged_compressed_file_is_read_once() {
    let mut tail = rotated(1, false);
    let packed = gzipped(lines(200).as_bytes());
    tail.fs.create("/pods/a/0.log.20261121-110000.gz", &packed[..packed.len() / 2]);
    assert!(matches!(tail.poll().notices[..], [Notice::BrokenArchive { .. }]));
    tail.restart();
    all_was_read(&mut tail);
}
