//! Whatever bytes the directory holds: nothing damaged is taken for good, and what is whole is taken.

use super::segment::HEADER_BYTES;
use super::tests::{SMALL, assert_loads, batch, described, ids, open, save};
use super::*;
use crate::disk::SimDisk;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SIZES: [usize; 4] = [200, 300, 40, 150];

/// Batches 0 to 3 in one segment, of which 1 is noted as settled and 2 as given up.
fn directory() -> BTreeMap<String, Vec<u8>> {
    let disk = SimDisk::new(5);
    let (mut spool, _) = open(disk.mount());
    save(&mut spool, &[batch(0, SIZES[0]), batch(1, SIZES[1])], &[]);
    save(&mut spool, &[batch(2, SIZES[2])], &[1]);
    spool.forget(&[2]).result.expect("noted");
    save(&mut spool, &[batch(3, SIZES[3])], &[]);
    let files = disk.files();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["segment.1"]);
    files
}

fn disk_of(files: &BTreeMap<String, Vec<u8>>) -> SimDisk {
    let disk = SimDisk::new(6);
    files.iter().for_each(|(name, bytes)| disk.set_file(name, Some(bytes.clone())));
    disk
}

/// Opens and loads all. Returns what is there; what is wanted and is not must have been told.
fn judge(disk: &SimDisk, what: &str) -> (Vec<u64>, Found) {
    let (mut spool, found) = open(disk.mount());
    for stored in &found.batches {
        let original = batch(stored.id, SIZES[stored.id as usize]);
        assert_eq!(*stored, described(&original), "{what}");
        assert_loads(&mut spool, &original);
    }
    for stored in &found.damaged {
        assert_eq!(*stored, described(&batch(stored.id, 0)), "{what}");
    }
    assert!(!spool.is_settled(0) && !spool.is_settled(2) && !spool.is_settled(3), "{what}");
    let there = ids(&found.batches);
    if !there.contains(&0) || !there.contains(&3) {
        let told = !found.notices.is_empty() || !found.damaged.is_empty();
        assert!(told, "{what}: {there:?} and no word of it");
    }
    (there, found)
}

/// What comes after must work as ever.
fn go_on(disk: &SimDisk, there: &[u64], what: &str) {
    let (mut spool, _) = open(disk.mount());
    save(&mut spool, &[batch(9, 500)], &[]);
    disk.power_loss();
    let (mut spool, found) = open(disk.mount());
    assert_eq!(ids(&found.batches), [there, &[9]].concat(), "{what}");
    assert_loads(&mut spool, &batch(9, 500));
}

#[test]
fn every_flipped_byte_of_a_segment() {
    let files = directory();
    let bytes = &files["segment.1"];
    let mut seen = BTreeMap::new();
    for at in (0..100).chain(HEADER_BYTES as usize..bytes.len()) {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            let disk = disk_of(&BTreeMap::from([("segment.1".to_string(), bytes)]));
            let what = format!("byte {at}");
            let (there, found) = judge(&disk, &what);
            // One record at most is lost; a note that is lost gives back the batch that it names.
            assert!(there.contains(&0) || there.contains(&3), "{what}");
            assert!(at >= HEADER_BYTES as usize || there == [0, 3], "{what}: the header is not needed");
            if found.damaged.iter().any(|stored| stored.id == 0) {
                assert_eq!((there.as_slice(), found.notices.as_slice()), ([3].as_slice(), [].as_slice()), "{what}");
            }
            if (at + usize::from(flip)).is_multiple_of(53) {
                go_on(&disk, &there, &what);
            }
            *seen.entry(there).or_insert(0) += 1;
        }
    }
    // All whole; without the first, the last; with one that was settled or given up.
    let wanted: [&[u64]; 5] = [&[0, 3], &[3], &[0], &[0, 1, 3], &[0, 2, 3]];
    assert!(wanted.iter().all(|there| seen.contains_key(*there)) && seen.len() == wanted.len(), "{seen:?}");
}

#[test]
fn every_prefix_of_a_segment() {
    let files = directory();
    let bytes = &files["segment.1"];
    let mut seen = BTreeMap::new();
    for length in (0..100).chain(HEADER_BYTES as usize - 2..bytes.len()) {
        let disk = disk_of(&BTreeMap::from([("segment.1".to_string(), bytes[..length].to_vec())]));
        let (mut spool, found) = open(disk.mount());
        let there = ids(&found.batches);
        there.iter().for_each(|id| assert_loads(&mut spool, &batch(*id, SIZES[*id as usize])));
        assert!(!found.notices.iter().any(Notice::is_loss) && found.damaged.is_empty(), "{length}: {found:?}");
        if length % 53 == 0 {
            go_on(&disk, &there, &format!("cut to {length}"));
        }
        *seen.entry(there).or_insert(0) += 1;
    }
    let all: Vec<&[u64]> = seen.keys().map(Vec::as_slice).collect();
    // Each record of the segment once more.
    assert_eq!(all, [[].as_slice(), &[0], &[0, 1], &[0, 1, 2], &[0, 2], &[0, 3]]);
}

#[test]
fn a_bad_sector_of_a_segment_takes_no_more_with_it_than_it_must() {
    let disk = SimDisk::new(5);
    let (mut spool, _) = open(disk.mount());
    let batches: Vec<_> = (0..20).map(|id| batch(id, 500)).collect();
    save(&mut spool, &batches, &[]);
    let bytes = disk.files()["segment.1"].clone();
    for sector in 0..bytes.len() / 512 {
        let disk = SimDisk::new(6);
        disk.set_file("segment.1", Some(bytes.clone()));
        disk.set_unreadable("segment.1", sector);
        let (spool, found) = open(disk.mount());
        assert!(spool.len() + 3 > batches.len(), "sector {sector}: {} are left", spool.len());
        let is_needed = sector >= HEADER_BYTES as usize / 512;
        assert!(!is_needed || !found.notices.is_empty() || !found.damaged.is_empty(), "sector {sector}");
    }
}

/// Zeros, and what is behind another file's blocks, are the end.
#[test]
fn what_another_life_left_is_not_taken() {
    let files = directory();
    let bytes = &files["segment.1"];
    let other = {
        let disk = SimDisk::new(77);
        let (mut spool, _) = open(disk.mount());
        save(&mut spool, &[batch(4, 300), batch(5, 900)], &[]);
        save(&mut spool, &[batch(6, 40), batch(7, 4000)], &[]);
        disk.files()["segment.1"].clone()
    };
    let mut recycled = bytes.clone();
    recycled.extend_from_slice(&other[bytes.len().min(other.len())..]);
    let disk = disk_of(&BTreeMap::from([("segment.1".to_string(), recycled)]));
    let (there, found) = judge(&disk, "recycled");
    assert_eq!((there, found.notices), (vec![0, 3], vec![Notice::Torn { file: "segment.1".into() }]));
    let mut longer = bytes.clone();
    longer.resize(bytes.len() + 10_000, 0);
    let disk = disk_of(&BTreeMap::from([("segment.1".to_string(), longer)]));
    let (there, found) = judge(&disk, "zeros");
    assert_eq!((there, found.notices), (vec![0, 3], vec![]));
    go_on(&disk, &[0, 3], "zeros");
}

#[test]
fn files_of_no_use_are_set_aside_and_told() {
    let good = directory()["segment.1"].clone();
    let mut newer = good.clone();
    newer[8] = 2;
    let check = {
        let mut crc = flate2::Crc::new();
        [&newer[..12], &[0; 4], &newer[16..64]].into_iter().for_each(|part| crc.update(part));
        crc.sum()
    };
    newer[12..16].copy_from_slice(&check.to_le_bytes());
    let mut damaged = good.clone();
    damaged[..6000].fill(0xaa);
    let disk = SimDisk::new(1);
    for (name, bytes) in [
        ("segment.1", &good),
        // A copy that someone made: its notes are not older than the batches of others.
        ("segment.2", &good),
        ("segment.3", &newer),
        ("segment.4", &damaged),
        ("segment.5", &vec![]),
        ("segment.6", &vec![0; 5000]),
        ("segment.7", &vec![0xaa; 5000]),
        ("segment.07", &vec![1]),
        ("segment.18446744073709551615", &good),
        ("segment.", &good),
        ("notes.txt", &vec![2]),
    ] {
        disk.set_file(name, Some(bytes.clone()));
    }
    let (mut spool, found) = open(disk.mount());
    let corrupt = |file: &str, why: &str| Notice::Corrupt { file: file.into(), why: why.into() };
    let notices = [
        corrupt("segment.2", "it is another segment than its name says"),
        Notice::Version { file: "segment.3".into(), version: 2 },
        corrupt("segment.4", "it has no header"),
        Notice::Torn { file: "segment.7".into() },
    ];
    assert_eq!((ids(&found.batches), found.notices.as_slice()), (vec![0, 3], notices.as_slice()));
    save(&mut spool, &[batch(9, 100)], &[]);
    let files = disk.files();
    let asides = ["aside.1.segment.2", "aside.2.segment.3", "aside.3.segment.4", "aside.4.segment.7"];
    let others = ["notes.txt", "segment.", "segment.07", "segment.1", "segment.18446744073709551615", "segment.8"];
    assert_eq!(files.keys().collect::<Vec<_>>(), [asides.as_slice(), &others].concat());
    let (spool, found) = open(disk.mount());
    assert_eq!((ids(&found.batches), found.notices), (vec![0, 3, 9], vec![]));
    let counted = files
        .iter()
        .filter(|(name, _)| name.starts_with("aside") || ["segment.1", "segment.8"].contains(&name.as_str()));
    assert_eq!(spool.disk_bytes(), counted.map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
}

/// They go before anything that is wanted does.
#[test]
fn what_was_set_aside_makes_room_first() {
    let disk = SimDisk::new(1);
    disk.set_file("aside.3.segment.9", Some(vec![0; 200_000]));
    let (mut spool, _) = open(disk.mount());
    (0..10).for_each(|id| save(&mut spool, &[batch(id, 10_000)], &[]));
    assert!(!disk.files().contains_key("aside.3.segment.9"));
}

#[test]
fn damage_after_the_opening_is_an_error_of_the_load() {
    let disk = SimDisk::new(1);
    let (mut spool, _) = open(disk.mount());
    save(&mut spool, &[batch(1, 3000), batch(2, 3000)], &[]);
    let mut bytes = disk.files()["segment.1"].clone();
    bytes[6000] ^= 1;
    disk.set_file("segment.1", Some(bytes.clone()));
    // As if it had been too much to look at.
    let unchecked = SpoolLimits { checked_bytes_max: 0, ..SMALL };
    let (mut spool, found) = Spool::open(disk.mount(), unchecked).expect("opened");
    assert_eq!(ids(&found.batches), [1, 2]);
    assert_eq!(spool.load(1).expect_err("damaged").kind(), io::ErrorKind::InvalidData);
    assert_loads(&mut spool, &batch(2, 3000));
    disk.set_file("segment.1", Some(bytes[..7000].to_vec()));
    let (mut spool, _) = open(disk.mount());
    disk.set_file("segment.1", None);
    assert!(spool.load(1).is_err() && spool.load(2).is_err());
    // Once it was said that it is lost, nobody hears of it again.
    disk.set_file("segment.1", Some(bytes));
    let (mut spool, found) = open(disk.mount());
    assert_eq!((ids(&found.damaged), ids(&found.batches)), (vec![1], vec![2]));
    spool.forget(&[1]).result.expect("noted");
    let (spool, found) = open(disk.mount());
    assert_eq!((found.damaged, ids(&found.batches), spool.is_settled(1)), (vec![], vec![2], false));
}

/// Any bytes, some of them in the place of good ones.
fn hostile_file() -> impl Strategy<Value = Vec<u8>> {
    let patches = vec((0usize..10_000, vec(any::<u8>(), 1..40)), 0..12);
    let good = directory()["segment.1"].clone();
    (patches, 0usize..10_000, any::<bool>()).prop_map(move |(patches, length, keeps)| {
        let mut bytes = if keeps { good.clone() } else { vec![0; length] };
        for (at, patch) in patches {
            let at = at % bytes.len().max(1);
            let end = (at + patch.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&patch[..end - at]);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("WEIR_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100)
    ))]

    #[test]
    fn any_bytes_under_any_name(
        files in vec((prop_oneof![(0u64..4).prop_map(|n| format!("segment.{n}")), "[a-z.0-9]{1,20}"], hostile_file()), 0..4)
    ) {
        let disk = SimDisk::new(3);
        files.iter().for_each(|(name, bytes)| disk.set_file(name, Some(bytes.clone())));
        let (mut spool, found) = open(disk.mount());
        for stored in found.batches.clone() {
            let original = batch(stored.id, SIZES[stored.id as usize]);
            prop_assert_eq!(&stored, &described(&original));
            assert_loads(&mut spool, &original);
        }
        save(&mut spool, &[batch(9, 500)], &[]);
        disk.power_loss();
        let (_, again) = open(disk.mount());
        prop_assert_eq!(again.batches.len(), found.batches.len() + 1);
    }
}
