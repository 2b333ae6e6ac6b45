//! Any life of a spool: saves, settled batches, evictions, faults of the disk, deaths at any operation, losses of power.
//! What is found is what was promised, and what was being written when it ended.

use super::segment::HEADER_BYTES;
use super::tests::{assert_loads, batch, described, ids};
use super::*;
use crate::disk::{Fault, SimDisk};
use crate::sink::Batch;
use proptest::collection::vec;
use proptest::prelude::*;
use std::ops::Range;

const LIMITS: SpoolLimits =
    SpoolLimits { bytes_max: 200 << 10, free_percent: 10, batches_max: 24, checked_bytes_max: 1 << 20 };

/// How sure something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sure {
    No,
    /// It was tried, and failed.
    Maybe,
    /// It outlives the process.
    Written,
    /// It outlives the machine.
    Synced,
    /// Nothing is.
    Beyond,
}
use Sure::{Beyond, Maybe, No, Synced, Written};

struct Known {
    batch: Arc<Batch>,
    stored: Sure,
    /// Settled, evicted or forgotten since it was stored.
    over: Sure,
    /// That was said once, and whether it must be known.
    is_settled: bool,
    settled: Sure,
    /// A sync failed, and the process died before it could do something about it. The next one cannot know.
    is_unsure: bool,
}

/// A disk, the agent that writes to it, and what it may say after the end.
struct World {
    disk: SimDisk,
    spool: Spool,
    /// By id.
    known: Vec<Known>,
    /// Some sectors may be lost between others.
    unsynced_lost: bool,
    /// It was full for a while: room may have been made of what held notes of settled batches.
    was_full: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let (spool, _) = Spool::open(disk.mount(), LIMITS).expect("opened");
        World { disk, spool, known: Vec::new(), unsynced_lost: false, was_full: false }
    }

    fn live(&self) -> Vec<u64> {
        let is_live = |known: &Known| known.stored >= Written && known.over == No;
        (0..self.known.len()).filter(|id| is_live(&self.known[*id])).map(|id| id as u64).collect()
    }

    fn save(&mut self, new: &[usize], again: &[usize], settled: &[usize], sync: bool) -> bool {
        let ended: Vec<usize> = settled.iter().filter_map(|pick| self.pick(*pick)).collect();
        let mut given: Vec<usize> = again.iter().filter_map(|pick| self.pick(*pick)).collect();
        given.retain(|id| !self.known[*id].is_settled && !ended.contains(id));
        given.sort_unstable();
        given.dedup();
        for size in new {
            let id = self.known.len();
            given.push(id);
            self.known.push(Known {
                batch: batch(id as u64, *size),
                stored: No,
                over: No,
                is_settled: false,
                settled: No,
                is_unsure: false,
            });
        }
        let batches: Vec<_> = given.iter().map(|id| self.known[*id].batch.clone()).collect();
        let (live, disk_bytes) = (self.live(), self.spool.disk_bytes());
        // Of others nobody needs to know that they are settled.
        let may_come_back = |id: &usize| {
            let (spool, id) = (&self.spool, *id as u64);
            spool.contains(id) || spool.doubtful.contains(&id) || spool.damaged.contains(&id)
        };
        let noted: Vec<usize> = ended.iter().copied().filter(may_come_back).collect();
        let saved = self.spool.save(&batches, &ended.iter().map(|id| *id as u64).collect::<Vec<_>>(), sync);
        assert_eq!(saved.lost, []);
        let is_kept = saved.result.is_ok();
        self.account(&given, &saved.evicted, &ended, is_kept);
        for id in noted {
            let settled = if is_kept { Written } else { Maybe };
            self.known[id].settled = self.known[id].settled.max(settled);
        }
        if is_kept {
            self.settle_down(sync);
        }
        assert_eq!(ids(&self.spool.batches()), self.live(), "of {live:?}, given {given:?}, {:?}", saved.result);
        // But for a segment that was begun for notes, and for files that a loss of power brought back.
        let most = LIMITS.bytes_max.max(disk_bytes) + HEADER_BYTES * if is_kept { 1 } else { 2 } + 1024;
        assert!(self.spool.disk_bytes() <= most, "{} bytes", self.spool.disk_bytes());
        assert!(!is_kept || given.is_empty() || self.spool.len() <= LIMITS.batches_max.max(live.len()));
        is_kept
    }

    fn account(&mut self, given: &[usize], evicted: &[StoredBatch], ended: &[usize], is_kept: bool) {
        for id in ended {
            let known = &mut self.known[*id];
            known.over = known.over.max(if is_kept { Written } else { Maybe });
            known.is_settled = true;
        }
        for id in given {
            let known = &mut self.known[*id];
            match is_kept {
                _ if known.stored >= Written && known.over == No => {}
                true => (known.stored, known.over) = (Written, No),
                false => (known.stored, known.over) = (Maybe, No),
            }
        }
        for stored in evicted {
            let known = &mut self.known[stored.id as usize];
            assert_eq!(*stored, described(&known.batch));
            assert!(!ended.contains(&(stored.id as usize)));
            assert!(known.stored != No && (known.over == No || given.contains(&(stored.id as usize))), "{stored:?}");
            known.over = if is_kept { Written } else { Maybe };
        }
        let once: BTreeSet<u64> = evicted.iter().map(|stored| stored.id).collect();
        assert_eq!(once.len(), evicted.len(), "evicted twice");
    }

    /// After a save that succeeded all that was tried before is written, and durable if that was asked for.
    fn settle_down(&mut self, sync: bool) {
        let better = |sure: Sure| if sync && sure == Written { Synced } else { sure };
        for known in &mut self.known {
            // A note that failed is made with the next write.
            let over = if known.over == Maybe { Written } else { known.over };
            known.settled = if known.settled == Maybe { Written } else { known.settled };
            (known.stored, known.over) = (better(known.stored), better(over));
            known.settled = better(known.settled);
        }
    }

    fn forget(&mut self, picks: &[usize]) {
        let gone: Vec<usize> = picks.iter().filter_map(|pick| self.pick(*pick)).collect();
        let saved = self.spool.forget(&gone.iter().map(|id| *id as u64).collect::<Vec<_>>());
        let is_kept = saved.result.is_ok();
        for id in &gone {
            let known = &mut self.known[*id];
            known.over = known.over.max(if is_kept { Written } else { Maybe });
        }
        self.account(&[], &saved.evicted, &[], is_kept);
        if is_kept {
            self.settle_down(false);
        }
        assert_eq!(ids(&self.spool.batches()), self.live());
    }

    /// One of the newest.
    fn pick(&self, pick: usize) -> Option<usize> {
        self.known.len().checked_sub(1 + pick)
    }

    /// A new process, after the old one died or the machine did.
    fn restart(&mut self, power_loss: bool) {
        if power_loss {
            self.disk.power_loss();
        } else {
            self.disk.crash();
        }
        let failed = self.spool.chain.segments.iter().any(|segment| segment.failed);
        let files = self.disk.files();
        let (spool, found) = Spool::open(self.disk.mount(), LIMITS).expect("opened");
        assert_eq!(files, self.disk.files(), "opening changes nothing");
        self.spool = spool;
        let need = if power_loss { Synced } else { Written };
        self.unsynced_lost |= power_loss;
        for (id, known) in self.known.iter_mut().enumerate() {
            let id = id as u64;
            let is_found = self.spool.contains(id);
            known.is_unsure |= failed && (known.stored < Synced || [Maybe, Written].contains(&known.over));
            if failed && power_loss {
                known.settled = No;
            }
            let need = if power_loss && known.is_unsure { Beyond } else { need };
            assert!(is_found || known.stored < need || known.over != No, "{id} is gone: {:?}", known.stored);
            assert!(!is_found || (known.stored != No && known.over < need), "{id} is back: {:?}", known.over);
            assert!(is_found || self.was_full || known.settled < need || self.spool.is_settled(id), "{id} was settled");
            assert!(known.is_settled || !self.spool.is_settled(id), "{id} was not settled");
            assert!(!is_found || found.next_id > id);
            let need = if power_loss { Synced } else { Written };
            if is_found {
                known.stored = known.stored.max(need);
                (known.over, known.settled) = (No, No);
            } else {
                known.over = if power_loss { Synced } else { Written };
                known.settled = if self.spool.is_settled(id) { known.over } else { No };
            }
        }
        assert_eq!(found.batches, self.spool.batches());
        for stored in &found.batches {
            assert_eq!(*stored, described(&self.known[stored.id as usize].batch));
        }
        let is_damage = |notice: &&Notice| notice.is_loss();
        let damage: Vec<_> = found.notices.iter().filter(is_damage).collect();
        assert!(self.unsynced_lost || damage.is_empty(), "{damage:?}");
        self.load_all();
    }

    fn load_all(&mut self) {
        for id in self.live() {
            assert_loads(&mut self.spool, &self.known[id as usize].batch);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Save {
        new: Vec<usize>,
        again: Vec<usize>,
        settled: Vec<usize>,
        sync: bool,
    },
    Forget(Vec<usize>),
    Fault {
        after: u64,
        fault: Fault,
    },
    /// From now on all fails, or all works again.
    Faults(Option<Fault>),
    Capacity(Option<u64>),
    Crash,
    PowerLoss,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![2 => Just(Fault::NoSpace), 3 => Just(Fault::Io), 1 => Just(Fault::ReadOnly), 2 => Just(Fault::Death)]
}

fn picks(most: usize) -> impl Strategy<Value = Vec<usize>> {
    vec(0usize..30, 0..most)
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![6 => 0usize..600, 6 => 5_000usize..30_000, 1 => 50_000usize..120_000, 1 => Just(250_000)];
    prop_oneof![
        12 => (vec(size, 0..4), picks(3), picks(4), any::<bool>())
            .prop_map(|(new, again, settled, sync)| Step::Save { new, again, settled, sync }),
        1 => picks(3).prop_map(Step::Forget),
        3 => (1u64..12, fault()).prop_map(|(after, fault)| Step::Fault { after, fault }),
        1 => proptest::option::of(fault()).prop_map(Step::Faults),
        1 => proptest::option::of(100_000u64..300_000).prop_map(Step::Capacity),
        1 => Just(Step::Crash),
        2 => Just(Step::PowerLoss),
    ]
}

fn live(seed: u64, steps: Vec<Step>) {
    let mut world = World::new(seed);
    for step in steps {
        let is_full = |fault: &Fault| *fault == Fault::NoSpace;
        world.was_full |= match &step {
            Step::Fault { fault, .. } => is_full(fault),
            Step::Faults(fault) => fault.as_ref().is_some_and(is_full),
            step => matches!(step, Step::Capacity(Some(_))),
        };
        match step {
            Step::Save { new, again, settled, sync } => drop(world.save(&new, &again, &settled, sync)),
            Step::Forget(picks) => world.forget(&picks),
            Step::Fault { after, fault } => world.disk.fail_at(after, fault),
            Step::Faults(fault) => world.disk.fail(fault),
            Step::Capacity(bytes) => world.disk.set_capacity_bytes(bytes),
            Step::Crash => world.restart(false),
            Step::PowerLoss => world.restart(true),
        }
    }
    world.restart(false);
    world.restart(true);
    world.disk.set_capacity_bytes(None);
    assert!(world.save(&[1000, 20_000], &[], &[3], true), "after all, it works");
    let live = world.live();
    world.restart(true);
    assert_eq!(world.live(), live);
}

fn cases() -> u32 {
    std::env::var("WEIR_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn any_life_of_a_spool_keeps_what_it_promised(seed in any::<u64>(), steps in vec(step(), 1..60)) {
        live(seed, steps);
    }
}

/// Each save brings one batch and settles one; now and then the budget is passed.
fn ordinary(world: &mut World, turns: Range<usize>, sync: bool) -> bool {
    turns.into_iter().all(|turn| {
        let settled = if turn.is_multiple_of(4) { vec![] } else { vec![2 + turn % 5] };
        world.save(&[[300, 9_000, 40_000][turn % 3]], &[0], &settled, sync || turn.is_multiple_of(5))
    })
}

/// The process dies at each operation of a life with several segments, and the machine too.
#[test]
fn a_death_at_each_operation_of_a_spool() {
    for sync in [true, false] {
        let mut operation = 1;
        loop {
            let mut died = false;
            for seed in 0..3 {
                let mut world = World::new(seed);
                world.disk.fail_at(operation, Fault::Death);
                died |= !ordinary(&mut world, 0..18, sync);
                world.restart(seed > 0);
                assert!(ordinary(&mut world, 0..6, sync));
                world.restart(seed == 1);
            }
            if !died {
                break;
            }
            operation += 1;
        }
        assert!(operation > 30, "{operation} operations");
    }
}

/// The disk fails once, at each operation: a save does what it can about it.
#[test]
fn a_fault_at_each_operation_of_a_spool() {
    for fault in [Fault::Io, Fault::NoSpace, Fault::ReadOnly] {
        for operation in 1..70 {
            let mut world = World::new(operation);
            world.disk.fail_at(operation, fault);
            for turn in 0..24 {
                if !ordinary(&mut world, turn..turn + 1, true) {
                    // The same once more, as the next cut would be.
                    assert!(world.save(&[], &[0], &[], true), "{fault:?} at {operation}");
                }
            }
            world.restart(operation.is_multiple_of(2));
        }
    }
}

/// A disk that says for a while that nothing is durable: what it was given is not given up, nor written without end.
#[test]
fn syncs_that_fail_for_a_while() {
    let mut world = World::new(9);
    assert!(world.save(&[9_000, 9_000], &[], &[], true));
    assert!(world.save(&[9_000], &[], &[], false));
    let before = world.spool.disk_bytes();
    let mut failed = 0;
    for _ in 0..20 {
        (2..14).for_each(|operation| world.disk.fail_at(operation, Fault::Io));
        failed += usize::from(!world.save(&[5_000], &[], &[], true));
        assert!(world.spool.disk_bytes() < before + 150_000, "{}", world.spool.disk_bytes());
    }
    assert!(failed > 10, "{failed} saves failed");
    while !world.save(&[], &[0, 1, 2, 3], &[], true) {}
    world.restart(true);
    assert!(world.live().starts_with(&[0, 1, 2]), "{:?}", world.live());
}

/// A save fails with its sync and is not tried again. Nobody may find that batch: its file can be synced by then, and is
/// not durable all the same.
#[test]
fn what_a_sync_that_failed_left_is_not_found_once_its_file_was_given_up() {
    for seed in 0..8 {
        let mut world = World::new(seed);
        assert!(world.save(&[0], &[], &[], true));
        // It is written; its sync fails, and so does each file that is to take it instead.
        (2..6).for_each(|operation| world.disk.fail_at(operation, Fault::Io));
        assert!(!world.save(&[0], &[], &[], true));
        assert!(world.save(&[0], &[], &[], false));
        world.restart(false);
        assert_eq!(world.live(), [0, 2]);
        assert!(world.save(&[], &[], &[], true));
        world.restart(true);
        assert_eq!(world.live(), [0, 2]);
    }
}

/// The note that a batch was given up stands alone in a segment whose sync fails, and the process dies at any operation
/// of what is done about that.
#[test]
fn what_was_given_up_stays_so_when_the_file_of_its_note_goes() {
    for operation in 1..9 {
        let mut world = World::new(operation);
        // All that fits into one segment, but for the note.
        for new in [&[0, 0][..], &[59_335], &[348, 51]] {
            assert!(world.save(new, &[], &[], false));
        }
        world.forget(&[0]);
        assert_eq!(world.spool.chain.segments.len(), 2);
        world.disk.fail(Some(Fault::NoSpace));
        assert!(!world.save(&[0], &[], &[], false));
        world.disk.fail(None);
        world.disk.fail_at(operation, Fault::Death);
        world.save(&[], &[], &[], false);
        world.restart(false);
        assert_eq!(world.live()[..4], [0, 1, 2, 3]);
    }
}
