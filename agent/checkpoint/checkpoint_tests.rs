//! What a state directory keeps, says and refuses, one case after the other.

use super::*;
use crate::disk::{Fault, RealDisk, SimDisk};
use crate::keep::Table;
use std::collections::BTreeMap;
use std::path::Path;

pub type Image = BTreeMap<Slot, Vec<u8>>;

pub fn slot(table: u8, index: u64) -> Slot {
    Slot { table: Table(table), index }
}

pub const SMALL: Limits = Limits { log_bytes_min: 4096, state_bytes_max: 1 << 20, slots_max: 1000, asides_max: 2 };

pub fn open(disk: Box<dyn Disk>) -> Opened {
    Checkpoint::open(disk, SMALL).expect("a directory")
}

pub fn image_of(entries: &Entries) -> Image {
    entries.iter().map(|(slot, value)| (slot, value.to_vec())).collect()
}

/// The image at the last marked batch, as a recovery tells it.
pub fn marked_of(recovered: &Recovered) -> Image {
    let mut image = image_of(&recovered.entries);
    for (slot, held) in &recovered.before {
        assert_ne!(image.get(slot).map(Vec::as_slice), held.as_deref(), "{slot:?} did not change");
        match held {
            Some(held) => image.insert(*slot, held.to_vec()),
            None => image.remove(slot),
        };
    }
    image
}

/// Writes what makes `new` of `old`.
pub fn changes(old: &Image, new: &Image, keep: &mut dyn Keep) {
    old.keys().filter(|slot| !new.contains_key(slot)).for_each(|slot| keep.delete(*slot));
    let changed = new.iter().filter(|(slot, value)| old.get(slot) != Some(value));
    changed.for_each(|(slot, value)| keep.put(*slot, value));
}

/// Keeps images as the committer does: a batch where there is room, else a snapshot.
pub struct Keeper {
    pub checkpoint: Checkpoint,
    pub image: Image,
    pub marked: Image,
}

impl Keeper {
    pub fn of(opened: Opened) -> Self {
        let image = image_of(&opened.recovered.entries);
        Keeper { checkpoint: opened.checkpoint, image, marked: marked_of(&opened.recovered) }
    }

    /// True: it is durable.
    pub fn cut(&mut self, image: Image, marked: bool, sync: bool) -> Result<bool, CheckpointError> {
        let mut durable = sync;
        let mut appended = Err(CheckpointError::new(ErrorKind::Full, "wanted"));
        if !self.checkpoint.wants_snapshot() {
            appended = self.checkpoint.append(&mut |keep| changes(&self.image, &image, keep), marked, sync);
        }
        match appended {
            Err(error) if error.kind == ErrorKind::Full => {
                durable = true;
                let before = if marked { &image } else { &self.marked };
                let none = Image::new();
                let mut fill_marked = |keep: &mut dyn Keep| changes(&none, before, keep);
                self.checkpoint.snapshot(&mut fill_marked, &mut |keep| changes(before, &image, keep))?;
            }
            appended => appended?,
        }
        if marked {
            self.marked.clone_from(&image);
        }
        self.image = image;
        Ok(durable)
    }
}

/// Each image differs from all others, in slots that come, go and stay; one value needs several sectors.
pub fn example(number: u64) -> Image {
    let value = |index: u64| format!("{number}:{index}").into_bytes();
    let mut image: Image = (0..3).map(|index| (slot(4, index), value(index))).collect();
    image.insert(slot(5, number), vec![]);
    image.insert(slot(200, u64::MAX - number % 2), value(9));
    if number.is_multiple_of(5) {
        image.insert(slot(1, 0), value(0).repeat(300));
    }
    image
}

#[test]
fn what_was_kept_is_there_again() {
    let disk = SimDisk::new(1);
    let opened = open(disk.mount());
    assert!(opened.recovered.entries.is_empty() && opened.recovered.batches == 0 && opened.notices.is_empty());
    assert!(opened.checkpoint.needs_snapshot() && !opened.recovered.clean);
    let mut keeper = Keeper::of(opened);
    for number in 0..60 {
        keeper.cut(example(number), number % 3 == 0, true).expect("kept");
        disk.crash();
        let found = open(disk.mount());
        assert_eq!(image_of(&found.recovered.entries), example(number));
        assert_eq!(marked_of(&found.recovered), keeper.marked, "{number}");
        assert!(found.notices.is_empty() && found.recovered.synced && !found.recovered.clean);
        // The process that goes on must be a new one; most of the time it is not.
        keeper = Keeper::of(found);
        if number % 7 != 0 {
            keeper.cut(example(number), true, true).expect("kept");
            for more in 0..number % 7 {
                keeper.cut(example(100 + more), true, false).expect("kept");
            }
            keeper.cut(example(number), number % 3 == 0, true).expect("kept");
        }
    }
    let names: Vec<String> = disk.files().into_keys().collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names[0], "next");
}

#[test]
fn before_the_first_mark_all_slots_held_nothing() {
    let disk = SimDisk::new(1);
    let mut keeper = Keeper::of(open(disk.mount()));
    keeper.cut(example(0), false, true).expect("kept");
    keeper.cut(example(1), false, true).expect("kept");
    disk.crash();
    let recovered = open(disk.mount()).recovered;
    assert_eq!(marked_of(&recovered), Image::new());
    assert_eq!(image_of(&recovered.entries), example(1));
}

#[test]
fn a_run_that_ended_says_so_once() {
    let disk = SimDisk::new(1);
    let mut keeper = Keeper::of(open(disk.mount()));
    keeper.cut(example(0), false, true).expect("kept");
    let directory = keeper.checkpoint.directory;
    keeper.checkpoint.close().expect("closed");
    disk.power_loss();
    let opened = open(disk.mount());
    assert!(opened.recovered.clean && opened.recovered.directory == directory && directory != 0);
    let mut keeper = Keeper::of(opened);
    keeper.cut(example(1), false, true).expect("kept");
    disk.crash();
    assert!(!open(disk.mount()).recovered.clean);
    assert_eq!(open(disk.mount()).checkpoint.close().err().map(|error| error.kind), Some(ErrorKind::Full));
}

#[test]
fn a_log_that_is_full_wants_a_snapshot_and_a_batch_may_be_too_large_for_it() {
    let disk = SimDisk::new(1);
    let mut keeper = Keeper::of(open(disk.mount()));
    keeper.cut(example(1), false, true).expect("kept");
    assert!(!keeper.checkpoint.wants_snapshot());
    let mut appended = 0;
    while !keeper.checkpoint.wants_snapshot() {
        keeper.checkpoint.append(&mut |keep| keep.put(slot(1, appended), b"x"), false, false).expect("room");
        appended += 1;
    }
    assert_eq!(appended, 8, "sectors of 512 bytes in 4096");
    // There is a little room left for what comes before the snapshot.
    keeper.checkpoint.append(&mut |keep| keep.put(slot(1, 0), b"y"), false, false).expect("room");
    let large = keeper.checkpoint.append(&mut |keep| keep.put(slot(1, 1), &[7; 100_000]), false, true);
    assert_eq!(large.map_err(|error| error.kind), Err(ErrorKind::Full));
    assert!(keeper.checkpoint.needs_snapshot());
    disk.crash();
    let recovered = open(disk.mount());
    assert!(recovered.notices.is_empty(), "{:?}", recovered.notices);
    assert_eq!(recovered.recovered.entries.get(slot(1, 0)), Some(&b"y"[..]));
    assert_eq!(recovered.recovered.entries.get(slot(1, 1)), Some(&b"x"[..]));
}

#[test]
fn what_is_larger_than_the_limits_is_not_written() {
    let disk = SimDisk::new(1);
    let mut keeper = Keeper::of(open(disk.mount()));
    keeper.cut(example(1), false, true).expect("kept");
    let mut snapshot = |fill: &mut dyn FnMut(&mut dyn Keep)| {
        let kept = keeper.checkpoint.snapshot(fill, &mut |_| {});
        assert!(!keeper.checkpoint.needs_snapshot(), "the log is as it was");
        kept.map_err(|error| error.kind)
    };
    let many = snapshot(&mut |keep| (0..1001).for_each(|index| keep.put(slot(1, index), b"")));
    assert_eq!(many, Err(ErrorKind::Limit));
    let large = snapshot(&mut |keep| keep.put(slot(1, 0), &vec![7; 1 << 20]));
    assert_eq!(large, Err(ErrorKind::Limit));
    keeper.cut(example(2), false, true).expect("the log goes on");
    disk.power_loss();
    assert_eq!(image_of(&open(disk.mount()).recovered.entries), example(2));
}

#[test]
fn each_error_has_its_kind_and_the_last_state_stays() {
    let cases = [
        (Fault::NoSpace, ErrorKind::NoSpace),
        (Fault::Io, ErrorKind::Io),
        (Fault::ReadOnly, ErrorKind::ReadOnly),
        (Fault::Death, ErrorKind::Io),
    ];
    for (fault, kind) in cases {
        let disk = SimDisk::new(3);
        let mut keeper = Keeper::of(open(disk.mount()));
        keeper.cut(example(0), false, true).expect("kept");
        disk.fail(Some(fault));
        let error = keeper.cut(example(1), false, true).expect_err("it fails");
        assert_eq!(error.kind, kind);
        assert!(keeper.checkpoint.needs_snapshot());
        let error = keeper.cut(example(2), false, true).expect_err("it fails still");
        assert_eq!(error.kind, kind, "{error}");
        if fault != Fault::Death {
            disk.fail(None);
            keeper.cut(example(3), false, true).expect("it works again");
        }
        disk.power_loss();
        let found = image_of(&open(disk.mount()).recovered.entries);
        let wanted = if fault == Fault::Death { example(0) } else { example(3) };
        assert!(found == wanted || (fault == Fault::Death && found == example(1)), "{fault:?}");
    }
}

#[test]
fn nothing_is_added_behind_a_snapshot_that_may_be_the_newest() {
    // A new file, two batches, room, header, sync, its name, the sync of names.
    for (operation, still_trusted) in (1..=8).zip([true, true, true, true, true, true, false, false]) {
        let disk = SimDisk::new(1);
        let mut keeper = Keeper::of(open(disk.mount()));
        keeper.cut(example(0), true, true).expect("kept");
        disk.fail_at(operation, Fault::Io);
        let failed = keeper.checkpoint.snapshot(&mut |keep| changes(&Image::new(), &example(1), keep), &mut |_| {});
        assert_eq!(failed.map_err(|error| error.kind), Err(ErrorKind::Io), "operation {operation}");
        assert_eq!(!keeper.checkpoint.needs_snapshot(), still_trusted, "operation {operation}");
    }
}

#[test]
fn a_full_disk_is_noticed_by_snapshots_only() {
    let disk = SimDisk::new(1);
    let mut keeper = Keeper::of(open(disk.mount()));
    keeper.cut(example(0), false, true).expect("kept");
    let used = disk.files().values().map(Vec::len).sum::<usize>() as u64;
    disk.set_capacity_bytes(Some(used + 100));
    while !keeper.checkpoint.wants_snapshot() {
        keeper.checkpoint.append(&mut |keep| keep.put(slot(1, 0), b"x"), false, true).expect("room in the log");
    }
    assert_eq!(keeper.cut(example(2), false, true).map_err(|error| error.kind), Err(ErrorKind::NoSpace));
    assert_eq!(disk.files().values().map(Vec::len).sum::<usize>() as u64, used, "nothing half is left");
    keeper.checkpoint.append(&mut |keep| keep.put(slot(1, 0), b"y"), false, true).expect("still room in the log");
    disk.set_capacity_bytes(None);
    keeper.cut(example(2), false, true).expect("room");
    assert!(open(disk.mount()).notices.is_empty());
}

#[test]
fn a_directory_that_was_removed_is_made_again() {
    let disk = SimDisk::new(1);
    let mut keeper = Keeper::of(open(disk.mount()));
    for number in 0..3 {
        keeper.cut(example(number), true, true).expect("kept");
    }
    disk.remove_directory();
    let gone = keeper.checkpoint.append(&mut |keep| keep.put(slot(1, 0), b"x"), false, true);
    assert_eq!(gone.map_err(|error| error.kind), Err(ErrorKind::Removed));
    let notices = keeper.checkpoint.snapshot(&mut |keep| changes(&Image::new(), &example(3), keep), &mut |_| {});
    assert_eq!(notices.expect("made again"), [Notice::Cleared]);
    disk.power_loss();
    let found = open(disk.mount());
    assert_eq!((image_of(&found.recovered.entries), found.notices), (example(3), vec![]));
}

#[test]
fn a_newer_programs_state_is_set_aside_and_only_so_many() {
    let disk = SimDisk::new(1);
    let mut keeper = Keeper::of(open(disk.mount()));
    keeper.cut(example(1), true, true).expect("kept");
    for round in 0..4u64 {
        disk.crash();
        let newest = format!("state.{}", round * 2 + 1);
        let theirs = format!("state.{}", round * 2 + 2);
        let mut bytes = disk.files()[&newest].clone();
        bytes[8] = 9;
        let mut crc = flate2::Crc::new();
        [&bytes[..12], &[0; 4], &bytes[16..512]].iter().for_each(|part| crc.update(part));
        bytes[12..16].copy_from_slice(&crc.sum().to_le_bytes());
        disk.set_file(&theirs, Some(bytes.clone()));
        let version = vec![Notice::Version { file: theirs.clone(), version: 9 }];
        // Said again until there is something better.
        assert_eq!(open(disk.mount()).notices, version);
        let opened = open(disk.mount());
        assert_eq!((image_of(&opened.recovered.entries), &opened.notices), (example(round + 1), &version));
        assert_eq!(disk.files().get(&theirs), Some(&bytes), "opening changes nothing");
        keeper = Keeper::of(opened);
        keeper.cut(example(round + 2), true, true).expect("kept");
        assert_eq!(disk.files().get(&format!("aside.{}.{theirs}", round + 1)), Some(&bytes));
        assert_eq!(disk.files().keys().filter(|name| name.starts_with("aside.")).count(), (round as usize + 1).min(2));
    }
    assert!(open(disk.mount()).notices.is_empty());
}

#[test]
fn a_generation_that_vanished_is_missed() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let mut keeper = Keeper::of(open(disk.mount()));
        keeper.cut(example(1), true, true).expect("kept");
        disk.crash();
        Keeper::of(open(disk.mount())).cut(example(2), true, true).expect("kept");
        // The whole directory was deleted, and half of that was lost with the power.
        disk.power_loss();
        disk.set_file("state.2", None);
        assert_eq!(open(disk.mount()).notices, [Notice::Missing { file: "state.1".into() }], "seed {seed}");
    }
}

#[test]
fn a_backup_with_hard_links_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let (state, backup) = (folder.path().join("state"), folder.path().join("backup"));
    let mut keeper = Keeper::of(open(Box::new(RealDisk::open(&state).expect("a disk"))));
    keeper.cut(example(0), true, true).expect("kept");
    std::fs::hard_link(state.join("state.1"), &backup).expect("a link");
    let mut bytes = Vec::new();
    for number in 1..40 {
        // It is the newest, then the one before, and then only somebody's backup.
        if !state.join("state.1").exists() && bytes.is_empty() {
            bytes = std::fs::read(&backup).expect("a backup");
        }
        keeper.cut(example(number), true, true).expect("kept");
    }
    assert!(!bytes.is_empty() && bytes == std::fs::read(&backup).expect("a backup"));
}

/// A life on a real directory, which must leave the same as the simulated one.
#[test]
fn a_real_directory_keeps_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a/b/state");
    let disk = || RealDisk::open(&path);
    let mut keeper = Keeper::of(open(Box::new(disk().expect("made"))));
    assert_eq!(disk().err().map(|error| error.kind()), Some(std::io::ErrorKind::WouldBlock), "another agent counts");
    for number in 0..80 {
        keeper.cut(example(number), number % 4 == 0, number % 2 == 0).expect("kept");
    }
    drop(keeper);
    std::fs::create_dir(path.join("state.99")).expect("no file");
    let opened = open(Box::new(disk().expect("free again")));
    assert_eq!(image_of(&opened.recovered.entries), example(79));
    assert_eq!(marked_of(&opened.recovered), example(76));
    assert!(
        matches!(&opened.notices[..], [Notice::Corrupt { file, .. }] if file == "state.99"),
        "{:?}",
        opened.notices
    );
    let mut keeper = Keeper::of(opened);
    keeper.cut(example(80), true, true).expect("kept");
    // Emptied, and removed as a whole.
    for remove in [
        |path: &Path| std::fs::remove_dir_all(path),
        |path: &Path| {
            std::fs::read_dir(path)?.try_for_each(|entry| match entry?.path() {
                folder if folder.is_dir() => std::fs::remove_dir(folder),
                file => std::fs::remove_file(file),
            })
        },
    ] {
        remove(&path).expect("removed");
        let gone = keeper.cut(example(81), true, true).expect_err("gone");
        assert_eq!(gone.kind, ErrorKind::Removed, "{gone}");
        keeper.cut(example(82), true, true).expect("made again");
    }
    keeper.checkpoint.close().expect("closed");
    let opened = open(Box::new(disk().expect("free")));
    assert_eq!((image_of(&opened.recovered.entries), opened.recovered.clean), (example(82), true));
    // Someone else made a directory there and counts in it.
    let mut keeper = Keeper::of(opened);
    std::fs::rename(&path, path.with_extension("away")).expect("renamed");
    let _other = disk().expect("another directory");
    assert_eq!(keeper.cut(example(83), true, true).map_err(|error| error.kind), Err(ErrorKind::Locked));
}

/// On a real file system that is full; where one may be mounted.
#[test]
fn a_full_file_system_is_outlived() {
    let folder = tempfile::tempdir().expect("a folder");
    let mount = |args: &[&str]| std::process::Command::new(args[0]).args(&args[1..]).arg(folder.path()).output();
    let mounted = mount(&["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs"]);
    if !mounted.is_ok_and(|output| output.status.success()) {
        return;
    }
    let path = folder.path().join("state");
    let lived = std::panic::catch_unwind(|| {
        let mut keeper = Keeper::of(open(Box::new(RealDisk::open(&path).expect("made"))));
        assert!(keeper.checkpoint.is_volatile());
        keeper.cut(example(0), true, true).expect("kept");
        let ballast = path.with_file_name("ballast");
        let full = std::fs::write(&ballast, vec![1; 1 << 20]).map_err(|error| error.kind());
        assert_eq!(full, Err(std::io::ErrorKind::StorageFull));
        let mut number = 1;
        while !keeper.checkpoint.wants_snapshot() {
            keeper.cut(example(number), true, true).expect("there is room in the log");
            number += 1;
        }
        assert!(number > 3);
        let full = keeper.cut(example(100), true, true).map_err(|error| error.kind);
        assert_eq!(full, Err(ErrorKind::NoSpace));
        std::fs::remove_file(&ballast).expect("removed");
        keeper.cut(example(101), true, true).expect("room again");
        drop(keeper);
        let opened = open(Box::new(RealDisk::open(&path).expect("there")));
        assert_eq!((image_of(&opened.recovered.entries), opened.notices), (example(101), vec![]));
    });
    mount(&["umount"]).expect("unmounted");
    lived.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn memory_file_systems_are_told() {
    let shm = Path::new("/dev/shm");
    let Ok(folder) = tempfile::tempdir_in(shm) else { return };
    let mounts = std::fs::read_to_string("/proc/mounts").expect("linux says");
    if mounts.lines().any(|line| line.contains(" /dev/shm tmpfs ")) {
        assert!(RealDisk::open(folder.path()).expect("a disk").is_volatile());
    }
    let disk = SimDisk::new(1);
    assert!(!open(disk.mount()).checkpoint.is_volatile());
    disk.set_volatile(true);
    assert!(open(disk.mount()).checkpoint.is_volatile());
}
