//! What stands in the way of finding a file again: names, numbers and contents that lie, and a power loss.

use super::life_tests::{LOG, OLD, OLDER, Tail};
use super::*;
use crate::source::{Notice, gzipped};

const REBOOTED: Resume = Resume { rebooted: true };

/// A log of which this was read before the agent stopped.
fn stopped(content: &str) -> Tail {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, content);
    tail.poll();
    tail.restart();
    tail
}

#[test]
fn a_volume_that_was_mounted_anew_holds_the_same_files() {
    let mut tail = stopped("a\nb\n");
    tail.rotate(OLD);
    tail.fs.append(LOG, "c\n");
    tail.fs.remount();
    assert!(tail.gives("c").notices.is_empty());
    // While it is open, too: the old one is as good as gone, and what stands there is known by its content.
    tail.fs.remount();
    tail.fs.append(LOG, "d\n");
    tail.gives("d");
}

#[test]
fn an_inode_that_is_used_again_is_another_file_even_if_it_begins_alike() {
    let mut tail = stopped("same\n");
    let inode = tail.fs.metadata(LOG.as_ref()).expect("there").inode;
    tail.fs.unlink(LOG);
    tail.fs.append(LOG, "same\nb\n");
    assert_eq!(tail.fs.metadata(LOG.as_ref()).expect("there").inode, inode);
    assert!(matches!(tail.gives("same b").notices[..], [Notice::Vanished { offset: 5, .. }]));
}

#[test]
fn without_times_of_birth_content_alone_decides() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\n");
    tail.fs.set_times(LOG, None, 1);
    tail.gives("a");
    tail.restart();
    tail.fs.append(LOG, "b\n");
    assert!(tail.gives("b").notices.is_empty());
    tail.restart();
    tail.fs.unlink(LOG);
    tail.fs.append(LOG, "other\nb\n");
    tail.fs.set_times(LOG, None, 2);
    tail.gives("other b");
}

#[test]
fn an_empty_file_is_known_by_its_birth() {
    let mut tail = stopped("");
    tail.fs.append(LOG, "late\n");
    tail.rotate(OLD);
    tail.fs.append(LOG, "x\n");
    assert!(tail.gives("late x").notices.is_empty());
    tail.restart();
    assert!(tail.gives("").notices.is_empty());
}

/// It may have been written to. Without a birth it may be any file that is there.
#[test]
fn an_empty_file_that_is_gone_is_told() {
    for has_birth in [true, false] {
        let mut tail = Tail::kubelet();
        tail.fs.append(LOG, "");
        if !has_birth {
            tail.fs.set_times(LOG, None, 1);
        }
        tail.poll();
        tail.restart();
        tail.fs.unlink(LOG);
        tail.fs.append(LOG, "b\n");
        let told = tail.gives("b").notices;
        assert_eq!(matches!(told[..], [Notice::Vanished { offset: 0, .. }]), has_birth, "{told:?}");
    }
}

/// Nothing tells which one it is by then. But who deletes logs begins with the oldest.
#[test]
fn an_empty_file_that_was_compressed_unseen_is_no_loss_while_an_older_one_is_there() {
    for (older_is_there, compressed) in [(true, true), (false, true), (true, false)] {
        let mut tail = stopped("a\n");
        tail.rotate(OLDER);
        tail.gives("");
        tail.restart();
        tail.fs.append(LOG, "b\n");
        tail.rotate(OLD);
        tail.fs.append(LOG, "c\n");
        match compressed {
            true => tail.fs.compress(OLD),
            false => tail.fs.unlink(OLD),
        }
        if !older_is_there {
            tail.fs.unlink(OLDER);
        }
        let told = tail.gives(if compressed { "b c" } else { "c" }).notices;
        let is_told = matches!(told[..], [Notice::Vanished { offset: 0, .. }]);
        assert_eq!((is_told, told.is_empty()), (!(older_is_there && compressed), older_is_there && compressed));
    }
}

#[test]
fn files_that_begin_alike_are_told_apart_by_their_birth() {
    let mut tail = stopped("banner\na1\n");
    tail.fs.append(LOG, "a2\n");
    tail.rotate(OLD);
    tail.fs.append(LOG, "banner\na1\nb\n");
    assert!(tail.gives("a2 banner a1 b").notices.is_empty());
    // Compressed, the first one has another birth.
    tail.restart();
    tail.fs.compress(OLD);
    assert!(tail.gives("").notices.is_empty());
}

#[test]
fn a_fingerprint_grows_with_its_file() {
    let mut tail = stopped("a\n");
    let line = "x".repeat(30);
    let mut known = 0;
    for _ in 0..60 {
        tail.fs.append(LOG, format!("{line}\n"));
        assert!(tail.gives(&line).notices.is_empty());
        tail.restart();
        let length = tail.source.identities().next().expect("one file").fingerprint.length;
        assert!(length > known || length as usize == FINGERPRINT_BYTES);
        known = length;
    }
    tail.fs.append(LOG, "rest\n");
    tail.fs.compress(LOG);
    tail.fs.rename(format!("{LOG}.gz"), format!("{OLD}.gz"));
    assert!(tail.gives("rest").notices.is_empty());
}

#[test]
fn a_file_that_was_renamed_away_and_back_while_nobody_looked_goes_on() {
    let mut tail = stopped("a\n");
    tail.rotate(OLD);
    tail.gives("");
    tail.fs.unlink(LOG);
    tail.fs.append(OLD, "b\n");
    tail.restart();
    tail.fs.rename(OLD, LOG);
    tail.fs.append(LOG, "c\n");
    // The file that was made in its place was seen, and may have been written to.
    assert!(matches!(tail.gives("b c").notices[..], [Notice::Vanished { offset: 0, .. }]));
    tail.rotate(OLDER);
    tail.fs.append(LOG, "d\n");
    assert!(tail.gives("d").notices.is_empty());
}

/// Two rotations within a second: the second file takes the first one's name.
#[test]
fn a_file_that_was_overwritten_is_told() {
    for (stop, want) in [(false, "a2 b c"), (true, "b c")] {
        let mut tail = Tail::kubelet();
        tail.fs.append(LOG, "a1\n");
        tail.gives("a1");
        if stop {
            tail.restart();
        }
        tail.fs.append(LOG, "a2\n");
        tail.rotate(OLD);
        tail.fs.append(LOG, "b\n");
        tail.rotate(OLD);
        tail.fs.append(LOG, "c\n");
        let told = tail.gives(want).notices;
        assert_eq!(matches!(told[..], [Notice::Vanished { offset: 3, .. }]), stop, "{told:?}");
    }
}

#[test]
fn what_was_rotated_and_read_may_go_while_nobody_looks() {
    let mut tail = Tail::kubelet();
    tail.fs.append(LOG, "a\n");
    tail.gives("a");
    tail.rotate(OLD);
    tail.fs.append(LOG, "b\n");
    tail.gives("b");
    tail.restart();
    tail.fs.unlink(OLD);
    tail.fs.append(LOG, "c\n");
    assert!(tail.gives("c").notices.is_empty());
}

#[test]
fn new_files_come_in_the_order_of_their_lines_though_the_clock_was_set_back() {
    let line = |second: u32, text: &str| format!("2026-11-21T02:26:{second:02}.5Z stdout F {text}\n");
    let mut tail = stopped(&line(1, "a"));
    for (second, name) in [(2, "0.log.20261121-032602"), (3, "0.log.20261121-022603"), (4, "0.log.20261121-022604.gz")]
    {
        let path = format!("/pods/a/{name}");
        let content = line(second, "x");
        match name.ends_with(".gz") {
            true => tail.fs.create(path, gzipped(content.as_bytes())),
            false => tail.fs.create(path, content),
        }
    }
    tail.got.clear();
    tail.poll();
    let seconds: Vec<&str> = tail.got.iter().map(|line| &line[17..19]).collect();
    assert_eq!(seconds, ["02", "03", "04"]);
}

/// The kubelet compresses a file in steps and may die after each; its next rotation cleans up.
#[test]
fn compressing_may_end_after_any_step() {
    let (gz, tmp) = (format!("{OLD}.gz"), format!("{OLD}.tmp"));
    for steps in 0..6 {
        for read_before in [false, true] {
            for stop in [false, true] {
                let mut tail = Tail::kubelet();
                tail.fs.append(LOG, "a1\n");
                tail.poll();
                tail.fs.append(LOG, "a2\n");
                tail.rotate(OLD);
                if read_before {
                    tail.poll();
                }
                let packed = gzipped(b"a1\na2\n");
                let fs = tail.fs.clone();
                let compress: [&dyn Fn(); 5] = [
                    &|| fs.create(&tmp, ""),
                    &|| fs.append(&tmp, &packed[..packed.len() / 2]),
                    &|| fs.append(&tmp, &packed[packed.len() / 2..]),
                    &|| fs.rename(&tmp, &gz),
                    &|| fs.unlink(OLD),
                ];
                compress[..steps].iter().for_each(|step| step());
                if stop {
                    tail.restart();
                }
                tail.fs.append(LOG, "b\n");
                tail.poll();
                // What the next rotation removes: everything half done, and what has its compressed form.
                match steps {
                    0 => {}
                    1..=3 => tail.fs.unlink(&tmp),
                    4 => tail.fs.unlink(OLD),
                    _ => {}
                }
                if steps < 4 {
                    tail.fs.compress(OLD);
                }
                tail.rotate("/pods/a/0.log.20261121-110000");
                tail.fs.append(LOG, "c\n");
                let told = tail.poll().notices;
                assert_eq!(tail.got.join(" "), "a1 a2 b c", "{steps} steps, {read_before}, {stop}");
                assert!(told.is_empty(), "{told:?}");
            }
        }
    }
}

#[test]
fn a_file_that_lost_its_tail_to_a_power_loss_is_read_on_from_its_end() {
    // A compressed file has another birth: only what it begins with can tell.
    let long = "so many bytes that it is known\n".repeat(40);
    for (head, length, compress) in [("", 7, false), ("", 6, false), ("", 1, false), ("", 0, false), (&long, 7, true)] {
        let mut tail = stopped(&format!("{head}one\ntwo\nthree\n"));
        let length = head.len() + length;
        tail.fs.resize(LOG, length);
        if compress {
            tail.fs.rename(LOG, OLD);
            tail.fs.compress(OLD);
        }
        tail.resume(REBOOTED);
        let told = tail.gives("").notices;
        let before = head.len() as u64 + 14;
        assert!(matches!(told[..], [Notice::Shortened { offset, .. }] if offset == before), "{length}: {told:?}");
        if !compress {
            assert_eq!(tail.source.offset(), length as u64);
            // Whoever writes now begins a line.
            tail.fs.append(LOG, "new\n");
            assert!(tail.gives("new").notices.is_empty());
        }
        tail.restart();
        assert!(tail.gives("").notices.is_empty());
        // Without a power loss it was truncated, and is begun again.
        let mut tail = stopped("one\ntwo\nthree\n");
        tail.fs.resize(LOG, 4);
        tail.gives("one");
    }
}

#[test]
fn after_a_power_loss_other_bytes_before_the_cursor_are_no_new_file() {
    // More than a fingerprint, and none: what is gone in a small file are bytes that it is known by.
    for head in ["so many bytes that it is known\n".repeat(40), String::new()] {
        for (before, after, want) in [
            // The end of what was read, and what followed it, was never written.
            ("one\n\0\0\0\0", "\0\0\0four\nfive\n", "four five"),
            ("one\n\0\0\0\n", "four\n", "four"),
            // In the middle of a line.
            ("one\nxx\0x", "xx\nfour\n", "four"),
        ] {
            let mut tail = stopped(&format!("{head}one\ntwo\n"));
            let inode = tail.fs.metadata(LOG.as_ref()).expect("there").inode;
            tail.fs.resize(LOG, 0);
            tail.fs.append(LOG, format!("{head}{before}{after}"));
            tail.resume(REBOOTED);
            let progress = tail.gives(want);
            let offset = head.len() as u64 + 8;
            let told = &progress.notices[..];
            assert!(matches!(told, [Notice::PowerLoss { offset: at, .. }] if *at == offset), "{told:?}");
            assert_eq!(progress.nul_bytes, if after.starts_with('\0') { 3 } else { 0 });
            tail.restart();
            tail.fs.append(LOG, "more\n");
            assert!(tail.gives("more").notices.is_empty());
            assert_eq!(tail.source.identities().next().map(|known| known.inode), Some(inode));
        }
    }
    // Another beginning is another file, power loss or not.
    let mut tail = stopped("one\ntwo\n");
    tail.fs.create(LOG, "eins\nzwei\ndrei\n");
    tail.resume(REBOOTED);
    assert!(matches!(tail.gives("eins zwei drei").notices[..], [Notice::Vanished { .. }]));
}

#[test]
fn nuls_are_no_line_until_something_follows_them() {
    let mut tail = stopped("one\n");
    tail.fs.resize(LOG, 9000);
    tail.resume(REBOOTED);
    let progress = tail.gives("");
    assert_eq!((progress.lines, progress.nul_bytes), (0, 8996));
    tail.fs.append(LOG, "two\n");
    assert_eq!(tail.gives("two").nul_bytes, 0);
    tail.fs.resize(LOG, 9010);
    tail.got.clear();
    tail.finish();
    assert!(tail.got.is_empty(), "{:?}", tail.got);
}

/// A last line without its newline is handed out when nothing more can come, and by no restart again.
#[test]
fn the_end_of_a_log_comes_once() {
    let mut tail = stopped("a\nend");
    tail.rotate(OLD);
    tail.fs.compress(OLD);
    tail.fs.append(LOG, "b\nlast");
    assert!(tail.gives("end b").notices.is_empty());
    tail.restart();
    tail.gives("");
    tail.got.clear();
    tail.finish();
    assert_eq!(tail.got, ["last"]);
    tail.restart();
    tail.gives("");
    tail.fs.append(LOG, " words\nc\n");
    tail.gives(" words c");
}
