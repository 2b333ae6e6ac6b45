//! Whatever one byte or the end of a file becomes: the newest state, or an earlier one that is said to be one.

use super::tests::{Image, Keeper, changes, example, image_of, marked_of, open, slot};
use super::*;
use crate::disk::SimDisk;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A directory after a few batches and snapshots, and all images that were ever kept in it.
fn directory() -> (BTreeMap<String, Vec<u8>>, Vec<Image>) {
    let disk = SimDisk::new(5);
    let mut keeper = Keeper::of(open(disk.mount()));
    let mut images = vec![Image::new()];
    let mut number = 0;
    // Three generations, the last with a log of several batches, of which one needs more than one sector.
    let sectors = |keeper: &Keeper| keeper.checkpoint.log.as_ref().map_or(0, |log| log.next - log.start);
    while !disk.files().contains_key("state.3") || sectors(&keeper) < 6 {
        number += 1;
        images.push(example(number));
        keeper.cut(example(number), number % 3 == 0, true).expect("kept");
    }
    let files = disk.files();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["next", "state.2", "state.3"]);
    (files, images)
}

/// What is recovered of a directory in which one file is not what it was.
fn recovered(files: &BTreeMap<String, Vec<u8>>, name: &str, bytes: Vec<u8>) -> (SimDisk, Opened) {
    let disk = SimDisk::new(6);
    files.iter().for_each(|(name, bytes)| disk.set_file(name, Some(bytes.clone())));
    disk.set_file(name, Some(bytes));
    let opened = open(disk.mount());
    (disk, opened)
}

/// Which of the images it is. The newest one needs no notice, any other does.
fn judge(opened: &Opened, images: &[Image], what: &str) -> usize {
    let image = image_of(&opened.recovered.entries);
    let found = images.iter().position(|known| *known == image);
    let found = found.unwrap_or_else(|| panic!("{what}: no image that ever was"));
    let told = opened.notices.iter().any(Notice::is_loss);
    assert!(found + 1 == images.len() || told, "{what}: image {found} of {} and no word of it", images.len() - 1);
    assert_eq!(marked_of(&opened.recovered), images[found / 3 * 3], "{what}");
    found
}

/// What comes after must work as ever, and the notice be gone.
fn go_on(disk: &SimDisk, opened: Opened) {
    let broken = opened.notices.iter().filter(|notice| matches!(notice, Notice::Corrupt { .. })).count();
    let mut keeper = Keeper::of(opened);
    keeper.cut(example(100), true, true).expect("kept");
    keeper.cut(example(101), true, true).expect("kept");
    disk.power_loss();
    let again = open(disk.mount());
    assert_eq!((image_of(&again.recovered.entries), &again.notices), (example(101), &vec![]));
    assert_eq!(disk.files().keys().filter(|name| name.starts_with("aside.")).count(), broken.min(2));
}

#[test]
fn every_flipped_byte() {
    let (files, images) = directory();
    let mut found = BTreeMap::new();
    for (name, bytes) in &files {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                let (disk, opened) = recovered(&files, name, bytes);
                let which = judge(&opened, &images, &format!("{name} byte {at}"));
                assert!(name == "state.3" || opened.notices.is_empty(), "{name} is not needed");
                *found.entry(which).or_insert(0) += 1;
                if (at + usize::from(flip)).is_multiple_of(101) {
                    go_on(&disk, opened);
                }
            }
        }
    }
    // The newest; each batch of the log may be the last; the last of the generation before.
    assert!(found.len() >= 5, "{found:?}");
}

#[test]
fn every_prefix() {
    let (files, images) = directory();
    let mut found = BTreeMap::new();
    for (name, bytes) in &files {
        for length in 0..bytes.len() {
            let (disk, opened) = recovered(&files, name, bytes[..length].to_vec());
            *found.entry(judge(&opened, &images, &format!("{name} cut to {length}"))).or_insert(0) += 1;
            if length % 101 == 0 {
                go_on(&disk, opened);
            }
        }
    }
    assert!(found.len() >= 5, "{found:?}");
}

/// A sector that a disk lost as a whole looks like one that was never written, but not before others that were.
#[test]
fn every_sector_that_is_zero_again() {
    let (files, images) = directory();
    let bytes = &files["state.3"];
    let mut unnoticed = Vec::new();
    for at in 0..bytes.len() / SECTOR_BYTES {
        let mut bytes = bytes.clone();
        bytes[at * SECTOR_BYTES..(at + 1) * SECTOR_BYTES].fill(0);
        let (disk, opened) = recovered(&files, "state.3", bytes);
        let newest = image_of(&opened.recovered.entries) == images[images.len() - 1];
        if opened.notices.is_empty() && !newest {
            unnoticed.push(at);
        } else {
            judge(&opened, &images, &format!("sector {at}"));
        }
        // All of these batches were synced before the next: nothing but damage takes them.
        let unsynced = |notice: &Notice| matches!(notice, Notice::Unsynced { .. });
        assert!(!opened.notices.iter().any(unsynced), "sector {at}: {:?}", opened.notices);
        go_on(&disk, opened);
    }
    // The very last batch: this is what docs/state.md says cannot be told.
    let batch = |at: usize| match sector::look(&bytes[at * SECTOR_BYTES..][..SECTOR_BYTES], at as u64) {
        sector::Sector::Whole(head, _) => head.batch,
        _ => 0,
    };
    let newest = (1..bytes.len() / SECTOR_BYTES).map(batch).max().expect("sectors");
    assert!(!unnoticed.is_empty() && unnoticed.iter().all(|at| batch(*at) == newest), "{unnoticed:?}");
}

/// The log's sectors, the last batch's last.
fn newest_sectors(bytes: &[u8]) -> Vec<(usize, sector::Head)> {
    let whole = |(at, sector)| match sector::look(sector, at as u64) {
        sector::Sector::Whole(head, _) if head.batch > 0 => Some((at, head)),
        _ => None,
    };
    let sectors: Vec<_> = bytes.chunks(SECTOR_BYTES).enumerate().skip(1).filter_map(whole).collect();
    let newest = sectors.iter().map(|(_, head)| head.batch).max();
    sectors.into_iter().filter(|(_, head)| Some(head.batch) == newest).collect()
}

#[test]
fn a_sector_that_cannot_be_read_takes_no_more_with_it_than_it_must() {
    let (files, images) = directory();
    let mut found = std::collections::BTreeSet::new();
    for sector in 0..files["state.3"].len() / SECTOR_BYTES {
        let (disk, _) = recovered(&files, "state.3", files["state.3"].clone());
        disk.set_unreadable("state.3", sector);
        let opened = open(disk.mount());
        found.insert(judge(&opened, &images, &format!("sector {sector}")));
        go_on(&disk, opened);
    }
    // As with a damaged sector: any batch of the log may be the last.
    assert!(found.len() >= 5, "{found:?}");
}

#[test]
fn what_a_former_life_left_is_neither_taken_nor_damage() {
    let (files, images) = directory();
    let mut bytes = files["state.3"].clone();
    for (at, head) in newest_sectors(&bytes) {
        let head = sector::Head { life: head.life + 1, ..head };
        sector::seal(&mut bytes[at * SECTOR_BYTES..(at + 1) * SECTOR_BYTES], at as u64, head);
    }
    let (_, opened) = recovered(&files, "state.3", bytes);
    assert_eq!(image_of(&opened.recovered.entries), images[images.len() - 2]);
    assert_eq!(opened.notices, []);
}

#[test]
fn a_bad_sector_within_an_unfinished_batch_is_damage() {
    let (files, _) = directory();
    let mut bytes = files["state.3"].clone();
    let newest = newest_sectors(&bytes);
    assert!(newest.len() > 2, "a batch of several sectors");
    bytes[newest[0].0 * SECTOR_BYTES..(newest[0].0 + 1) * SECTOR_BYTES].fill(0);
    assert_eq!(recovered(&files, "state.3", bytes.clone()).1.notices, []);
    bytes[newest[1].0 * SECTOR_BYTES + 100] ^= 1;
    let notices = recovered(&files, "state.3", bytes).1.notices;
    assert_eq!(notices, [Notice::Damaged { file: "state.3".into(), batches: 1 }]);
}

#[test]
fn nothing_readable_is_an_empty_state_with_a_notice() {
    let (files, _) = directory();
    for mutilate in [
        |bytes: &mut Vec<u8>| bytes.clear(),
        |bytes: &mut Vec<u8>| bytes.fill(0),
        |bytes: &mut Vec<u8>| bytes.fill(0xff),
    ] {
        let disk = SimDisk::new(6);
        for (name, bytes) in &files {
            let mut bytes = bytes.clone();
            mutilate(&mut bytes);
            disk.set_file(name, Some(bytes));
        }
        let opened = open(disk.mount());
        assert!(opened.recovered.entries.is_empty());
        assert_eq!(opened.notices.len(), 2, "{:?}", opened.notices);
        go_on(&disk, opened);
    }
}

/// Sectors that are sound and say what no program wrote.
#[test]
fn sound_sectors_with_nonsense_are_refused() {
    let payloads: [&[u8]; 5] = [
        // A step before any table, a length that is not there, a number without end, a value past everything.
        &[1, 2, 3],
        &[0, 1, 1, 200, 1],
        &[0xff; 40],
        &[0, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[0, 1],
    ];
    let (files, images) = directory();
    let mut bytes = files["state.3"].clone();
    let header = Header::read(&bytes[..SECTOR_BYTES]).expect("a header");
    let batch = |index: usize| match sector::look(&bytes[index * SECTOR_BYTES..][..SECTOR_BYTES], index as u64) {
        sector::Sector::Whole(head, _) if head.life == header.life => head.batch,
        _ => 0,
    };
    let is_first = |index: &usize| batch(*index) > 0 && (*index == 1 || batch(*index) != batch(*index - 1));
    let starts: Vec<usize> = (1..bytes.len() / SECTOR_BYTES - 1).filter(is_first).collect();
    for start in starts {
        let whole = bytes.clone();
        for payload in payloads {
            let sector = &mut bytes[start * SECTOR_BYTES..(start + 1) * SECTOR_BYTES];
            let sector::Sector::Whole(head, _) =
                sector::look(&whole[start * SECTOR_BYTES..][..SECTOR_BYTES], start as u64)
            else {
                panic!("whole before")
            };
            sector[24..].fill(0);
            sector[24..24 + payload.len()].copy_from_slice(payload);
            let head = sector::Head { length: payload.len(), flags: head.flags | sector::LAST, ..head };
            sector::seal(sector, start as u64, head);
            let (disk, opened) = recovered(&files, "state.3", bytes.clone());
            let found = judge(&opened, &images, &format!("sector {start}, {payload:?}"));
            assert_ne!(found, images.len() - 1, "sector {start}, {payload:?}");
            go_on(&disk, opened);
        }
        bytes = whole;
    }
}

#[test]
fn sizes_that_a_header_claims_are_not_believed() {
    let (files, images) = directory();
    let header = Header::read(&files["state.3"][..SECTOR_BYTES]).expect("a header");
    let claims = [0, 1, 3, header.sectors - 1, header.sectors + 1, 1 << 40, u64::MAX / 512, u64::MAX];
    for (sectors, batch) in claims.into_iter().flat_map(|sectors| [(sectors, header.batch), (sectors, u64::MAX - 1)]) {
        let mut bytes = files["state.3"].clone();
        bytes[..SECTOR_BYTES].copy_from_slice(&Header { sectors, batch, ..header }.bytes());
        let (_, opened) = recovered(&files, "state.3", bytes);
        judge(&opened, &images, &format!("{sectors} sectors from batch {batch}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Batches in any order of slots, of any tables and sizes, are read as they were written.
    #[test]
    fn any_batch_round_trips(
        written in proptest::collection::vec((any::<u8>(), prop_oneof![0u64..5, any::<u64>()],
            proptest::option::of(0usize..700)), 0..60)
    ) {
        let disk = SimDisk::new(1);
        let mut checkpoint = open(disk.mount()).checkpoint;
        let mut image = Image::new();
        let mut fill = |keep: &mut dyn Keep| {
            for (at, (table, index, size)) in written.iter().enumerate() {
                match size {
                    Some(size) => {
                        keep.put(slot(*table, *index), &vec![at as u8; *size]);
                        image.insert(slot(*table, *index), vec![at as u8; *size]);
                    }
                    None => {
                        keep.delete(slot(*table, *index));
                        image.remove(&slot(*table, *index));
                    }
                }
            }
        };
        checkpoint.snapshot(&mut |keep| changes(&Image::new(), &example(1), keep), &mut |keep| {
            changes(&example(1), &Image::new(), keep);
            fill(keep);
        }).expect("kept");
        let opened = open(disk.mount());
        prop_assert!(opened.notices.is_empty());
        prop_assert_eq!(image_of(&opened.recovered.entries), image);
        prop_assert_eq!(marked_of(&opened.recovered), example(1));
    }
}
