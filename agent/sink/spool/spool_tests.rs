//! What a spool keeps and what it gives up, without much that goes wrong.

use super::*;
use crate::disk::{RealDisk, SimDisk};
use crate::sink::Batch;
use std::time::Duration;

pub const SMALL: SpoolLimits =
    SpoolLimits { bytes_max: 256 << 10, free_percent: 10, batches_max: 1000, checked_bytes_max: 1 << 20 };

/// A batch whose message does not get smaller, known by its id.
pub fn batch(id: u64, message_bytes: usize) -> Arc<Batch> {
    let mut random = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as u8
    };
    let message = std::iter::repeat_with(byte).take(message_bytes).collect();
    let tenant = if id.is_multiple_of(3) { "" } else { "edge" };
    Arc::new(Batch::new(id, tenant.into(), id + 1, 10 * id, Duration::ZERO, message))
}

pub fn described(batch: &Batch) -> StoredBatch {
    StoredBatch { id: batch.id, tenant: batch.tenant.clone(), lines: batch.lines, bytes: batch.bytes }
}

pub fn open(disk: Box<dyn Disk>) -> (Spool, Found) {
    Spool::open(disk, SMALL).expect("the directory can be listed")
}

pub fn ids(batches: &[StoredBatch]) -> Vec<u64> {
    batches.iter().map(|batch| batch.id).collect()
}

/// Saves without anything that has to go.
pub fn save(spool: &mut Spool, batches: &[Arc<Batch>], settled: &[u64]) {
    let saved = spool.save(batches, settled, true);
    saved.result.expect("saved");
    assert_eq!((saved.evicted, saved.lost), (vec![], vec![]));
}

pub fn assert_loads(spool: &mut Spool, batch: &Batch) {
    let wanted = batch.packed().expect("in memory");
    assert!(spool.load(batch.id).expect("stored") == wanted, "batch {} is another one", batch.id);
}

#[test]
fn batches_wait_over_restarts_until_they_are_settled() {
    let disk = SimDisk::new(1);
    let (mut spool, found) = open(disk.mount());
    assert!(found.batches.is_empty() && found.notices.is_empty());
    assert!(disk.files().is_empty(), "opening changes nothing");
    let batches = [batch(4, 3000), batch(5, 1), batch(7, 70_000)];
    save(&mut spool, &batches, &[]);
    save(&mut spool, &[batch(8, 100)], &[5]);
    assert!(spool.is_settled(5) && !spool.is_settled(4) && !spool.is_settled(6));
    batches.iter().filter(|batch| batch.id != 5).for_each(|batch| assert_loads(&mut spool, batch));
    assert_eq!(spool.load(5).expect_err("settled").kind(), io::ErrorKind::NotFound);
    disk.power_loss();
    let files = disk.files();
    let (mut spool, found) = open(disk.mount());
    assert_eq!(files, disk.files(), "opening changes nothing");
    let all = [batch(4, 3000), batch(7, 70_000), batch(8, 100)];
    assert_eq!(found.batches, all.each_ref().map(|batch| described(batch)));
    assert_eq!((found.next_id, &found.notices, &found.damaged), (9, &vec![], &vec![]));
    assert!(spool.is_settled(5));
    assert_eq!((spool.oldest_id(), spool.len(), spool.contains(7)), (Some(4), 3, true));
    all.iter().for_each(|batch| assert_loads(&mut spool, batch));
    save(&mut spool, &[], &[4, 7, 8]);
    assert!(spool.is_empty());
    let (spool, found) = open(disk.mount());
    assert_eq!((found.batches.len(), found.next_id), (0, 9));
    assert!([4, 5, 7, 8].iter().all(|id| spool.is_settled(*id)));
    assert!(spool.disk_bytes() < 70_000, "segments without a wanted batch are gone");
}

#[test]
fn what_was_never_stored_is_settled_without_a_write() {
    let disk = SimDisk::new(1);
    let (mut spool, _) = open(disk.mount());
    save(&mut spool, &[], &[1, 2, 3]);
    assert_eq!(disk.operations(), 0);
    // With the first write all of it is noted.
    save(&mut spool, &[batch(4, 10)], &[]);
    save(&mut spool, &[], &[4]);
    let (spool, _) = open(disk.mount());
    assert!((1..5).all(|id| spool.is_settled(id)));
}

#[test]
fn a_save_is_one_write_and_one_sync() {
    let disk = SimDisk::new(1);
    let (mut spool, _) = open(disk.mount());
    save(&mut spool, &[batch(1, 500), batch(2, 500)], &[]);
    assert_eq!(disk.operations(), 4, "made, written, synced, and the name of it");
    save(&mut spool, &[batch(3, 500), batch(4, 500)], &[1, 2]);
    assert_eq!(disk.operations(), 6, "written, synced");
    let _ = spool.save(&[batch(5, 500)], &[], false);
    assert_eq!(disk.operations(), 7, "written");
    save(&mut spool, &[batch(5, 500)], &[]);
    assert_eq!(disk.operations(), 8, "synced");
}

#[test]
fn the_oldest_make_room_and_are_named() {
    let disk = SimDisk::new(1);
    let (mut spool, _) = open(disk.mount());
    let mut evicted = Vec::new();
    for id in 0..100u64 {
        // Every tenth has come to its end before.
        let settled: Vec<u64> = id.checked_sub(2).filter(|id| id.is_multiple_of(10)).into_iter().collect();
        let saved = spool.save(&[batch(id, 10_000)], &settled, true);
        saved.result.expect("saved");
        assert!(saved.lost.is_empty());
        evicted.extend(saved.evicted);
        assert!(spool.disk_bytes() <= SMALL.bytes_max);
        assert_eq!(spool.disk_bytes(), disk.files().values().map(|bytes| bytes.len() as u64).sum::<u64>());
    }
    let expected = |id: &u64| !id.is_multiple_of(10);
    let first = spool.oldest_id().expect("some are left");
    assert_eq!(ids(&evicted), (0..first).filter(expected).collect::<Vec<_>>());
    assert!(evicted.iter().all(|stored| *stored == described(&batch(stored.id, 1))));
    assert!(evicted.iter().all(|stored| !spool.is_settled(stored.id)), "evicted is not settled");
    assert!(spool.len() > 15, "{} fit", spool.len());
    disk.power_loss();
    let (_, found) = open(disk.mount());
    assert_eq!(found.batches, spool.batches());
}

#[test]
fn what_never_fits_is_evicted_itself() {
    let disk = SimDisk::new(1);
    let (mut spool, _) = open(disk.mount());
    save(&mut spool, &[batch(1, 1000)], &[]);
    let saved = spool.save(&[batch(2, 300_000), batch(3, 1000)], &[], true);
    assert_eq!(ids(&saved.evicted), [2]);
    assert!(saved.result.is_ok() && spool.contains(1) && spool.contains(3));
    // Larger than a segment is not too large.
    save(&mut spool, &[batch(4, 150_000)], &[]);
    assert_loads(&mut spool, &batch(4, 150_000));

    let disk = SimDisk::new(1);
    let (mut spool, _) = Spool::open(disk.mount(), SpoolLimits { bytes_max: 0, ..SMALL }).expect("opened");
    let saved = spool.save(&[batch(1, 0)], &[], true);
    assert_eq!((ids(&saved.evicted), saved.result.is_ok(), disk.operations()), (vec![1], true, 0));
}

#[test]
fn no_more_batches_than_may_be() {
    let disk = SimDisk::new(1);
    let limits = SpoolLimits { batches_max: 50, bytes_max: 16 << 20, ..SMALL };
    let (mut spool, _) = Spool::open(disk.mount(), limits).expect("opened");
    let mut gone = 0;
    for id in 0..200 {
        let saved = spool.save(&[batch(id, 30_000)], &[], false);
        saved.result.expect("saved");
        gone += saved.evicted.len();
        assert!(spool.len() <= 50);
    }
    assert_eq!(spool.len() + gone, 200);
    let limits = SpoolLimits { batches_max: 5, ..limits };
    let (mut spool, found) = Spool::open(disk.mount(), limits).expect("opened");
    // Twice as many are read, and the next save makes them as few as they may be.
    assert_eq!(spool.len(), 10);
    let left = gone as u64 + 10..200;
    let (lines, bytes) = (left.clone().map(|id| id + 1).sum(), left.map(|id| 10 * id).sum());
    assert_eq!(found.notices, [Notice::Surplus { batches: 190 - gone as u64, lines, bytes }]);
    let saved = spool.save(&[batch(200, 10)], &[], true);
    assert!(saved.result.is_ok() && spool.len() <= 5 && spool.len() + saved.evicted.len() == 11);
}

#[test]
fn a_share_of_the_file_system_stays_free() {
    let disk = SimDisk::new(1);
    let capacity = 300 << 10;
    disk.set_capacity_bytes(Some(capacity));
    let (mut spool, _) = Spool::open(disk.mount(), SpoolLimits { bytes_max: 1 << 20, ..SMALL }).expect("opened");
    let mut evicted = 0;
    for id in 0..50 {
        let saved = spool.save(&[batch(id, 10_000)], &[], true);
        saved.result.expect("saved");
        evicted += saved.evicted.len();
        // But for the header of a segment.
        assert!(spool.disk_bytes() <= capacity / 10 * 9 + 8192, "{}", spool.disk_bytes());
    }
    assert!(evicted > 20);
    // Where others need the room, giving up all that waits would not help.
    let before = spool.batches();
    disk.set_capacity_bytes(Some(4 << 20));
    disk.set_file("others", Some(vec![0; (4 << 20) - spool.disk_bytes() as usize]));
    let saved = spool.save(&[batch(50, 10_000)], &[], true);
    assert_eq!(saved.result.expect_err("no room").kind(), io::ErrorKind::StorageFull);
    assert_eq!((saved.evicted, spool.batches()), (vec![], before));
}

#[test]
fn a_full_disk_takes_the_oldest() {
    let disk = SimDisk::new(1);
    disk.set_capacity_bytes(Some(200 << 10));
    let limits = SpoolLimits { bytes_max: 1 << 20, free_percent: 0, ..SMALL };
    let (mut spool, _) = Spool::open(disk.mount(), limits).expect("opened");
    let mut evicted = Vec::new();
    for id in 0..50 {
        let saved = spool.save(&[batch(id, 10_000)], &[], true);
        saved.result.expect("saved");
        evicted.extend(ids(&saved.evicted));
    }
    assert_eq!(evicted, (0..spool.oldest_id().expect("some are left")).collect::<Vec<_>>());
    assert!(spool.len() > 8, "{} fit", spool.len());
    // Nothing that could go helps: all is as it was, but for what went before that was known.
    disk.set_capacity_bytes(Some(0));
    let before = spool.batches();
    let saved = spool.save(&[batch(50, 10_000)], &[], true);
    assert!(chain::is_full(&saved.result.expect_err("no room")));
    let left = [saved.evicted, spool.batches()].concat();
    assert_eq!(left, before);
    assert!(!spool.is_empty(), "not all of it was given for nothing");
    disk.crash();
    let (mut spool, found) = Spool::open(disk.mount(), limits).expect("opened");
    assert!(found.batches.iter().all(|batch| before.contains(batch)));
    disk.set_capacity_bytes(None);
    save(&mut spool, &[batch(50, 10_000)], &[]);
}

#[test]
fn a_directory_that_someone_took_away_is_made_again() {
    let disk = SimDisk::new(1);
    let (mut spool, _) = open(disk.mount());
    save(&mut spool, &[batch(1, 1000), batch(2, 60_000), batch(3, 1000)], &[]);
    disk.remove_directory();
    assert!(spool.load(1).is_err());
    let saved = spool.save(&[batch(2, 60_000), batch(4, 1000)], &[], true);
    saved.result.expect("saved");
    // The file of the third is still open, and of no use; the second is in memory.
    assert_eq!((ids(&saved.lost), ids(&spool.batches())), (vec![1, 3], vec![2, 4]));
    disk.power_loss();
    assert_eq!(ids(&open(disk.mount()).1.batches), [2, 4]);
}

#[test]
fn batches_from_after_the_cut_are_forgotten() {
    let disk = SimDisk::new(1);
    let (mut spool, _) = open(disk.mount());
    save(&mut spool, &[batch(1, 100), batch(2, 100), batch(3, 100)], &[]);
    let (mut spool, found) = open(disk.mount());
    assert_eq!(ids(&found.batches), [1, 2, 3]);
    spool.forget(&[2, 3]).result.expect("noted");
    let (spool, found) = open(disk.mount());
    assert_eq!((ids(&found.batches), found.next_id, spool.is_settled(3)), (vec![1], 4, false));
}

#[test]
fn a_batch_that_is_only_said_to_be_on_disk_is_lost() {
    let (mut spool, _) = open(SimDisk::new(1).mount());
    let saved = spool.save(&[Arc::new(Batch::away(1, "edge".into(), 5, 50)), batch(2, 5)], &[], true);
    assert_eq!((saved.lost.len(), saved.lost[0].lines, saved.result.is_ok(), spool.len()), (1, 5, true, 1));
}

#[test]
fn on_a_real_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("spool");
    let mount = || Box::new(RealDisk::open(&path).expect("locked"));
    let (mut spool, _) = open(mount());
    let mut evicted = 0;
    for id in 0..60 {
        let saved = spool.save(&[batch(id, 10_000)], &[], id % 8 == 0);
        saved.result.expect("saved");
        evicted += saved.evicted.len();
    }
    let settled = spool.oldest_id().expect("some are left");
    save(&mut spool, &[], &[settled]);
    let left = spool.batches();
    assert!(evicted > 20 && left.len() + evicted == 59);
    let (free, total) = spool.chain.disk().free_bytes().expect("asked").expect("known");
    assert!(0 < free && free < total);
    drop(spool);
    let (mut spool, found) = open(mount());
    assert_eq!((&found.batches, found.notices.len()), (&left, 0));
    left.iter().for_each(|stored| assert_loads(&mut spool, &batch(stored.id, 10_000)));
    let files = std::fs::read_dir(&path).expect("listed").map(|file| file.expect("named").metadata().expect("there"));
    assert_eq!(files.map(|file| file.len()).sum::<u64>(), spool.disk_bytes());
    save(&mut spool, &[], &ids(&left));
    assert!(spool.disk_bytes() < 10_000);
}
