//! Any life of a state directory: cuts, faults of the disk, deaths at any operation, losses of power. What is recovered
//! is what was acknowledged, or what was being written when it ended.

use super::tests::{Image, Keeper, example, image_of, marked_of, open, slot};
use super::*;
use crate::disk::{Fault, SimDisk};
use proptest::collection::vec;
use proptest::prelude::*;

/// What was kept, or was to be.
#[derive(Clone)]
struct Version {
    image: Image,
    marked: Image,
}

/// A disk, the agent that writes to it, and what it may say after the end.
struct World {
    disk: SimDisk,
    keeper: Keeper,
    /// All that was tried since the oldest that may be recovered.
    versions: Vec<Version>,
    /// The last that was acknowledged, and the last that is durable.
    acknowledged: usize,
    durable: usize,
    /// A write failed since: some part of a batch may stand there.
    failed: bool,
    /// Said since something was kept: it may be said again.
    told: Vec<Notice>,
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let keeper = Keeper::of(open(disk.mount()));
        let nothing = Version { image: Image::new(), marked: Image::new() };
        World { disk, keeper, versions: vec![nothing], acknowledged: 0, durable: 0, failed: false, told: vec![] }
    }

    fn cut(&mut self, image: Image, marked: bool, sync: bool) -> bool {
        let mark = if marked { image.clone() } else { self.keeper.marked.clone() };
        self.versions.push(Version { image: image.clone(), marked: mark });
        let kept = self.keeper.cut(image, marked, sync);
        match kept {
            Ok(durable) => {
                self.acknowledged = self.versions.len() - 1;
                self.told.clear();
                self.failed = false;
                if durable {
                    self.durable = self.acknowledged;
                }
            }
            Err(_) => self.failed = true,
        }
        self.acknowledged == self.versions.len() - 1
    }

    /// A new process, after the old one died or the machine did.
    fn restart(&mut self, power_loss: bool) {
        if power_loss {
            self.disk.power_loss();
        } else {
            self.disk.crash();
        }
        let files = self.disk.files();
        let opened = open(self.disk.mount());
        assert_eq!(files, self.disk.files(), "opening changes nothing");
        let oldest = if power_loss { self.durable } else { self.acknowledged };
        let (image, marked) = (image_of(&opened.recovered.entries), marked_of(&opened.recovered));
        let found = self.versions[oldest..].iter().position(|version| version.image == image);
        let found = oldest + found.unwrap_or_else(|| panic!("no version from {oldest} of {}", self.versions.len()));
        assert!(self.versions[found].marked == marked, "another mark with version {found}");
        for notice in &opened.notices {
            let fine = match notice {
                // Only what was acknowledged without a sync, and not even that when a process dies.
                Notice::Unsynced { .. } => power_loss && self.durable < self.acknowledged,
                Notice::Damaged { .. } => self.failed,
                _ => false,
            };
            assert!(fine || self.told.contains(notice), "{notice}");
        }
        self.told.extend(opened.notices.iter().cloned());
        self.keeper = Keeper::of(opened);
        // What a process left behind is there, and is as little durable as it was.
        self.versions.truncate(found + 1);
        self.acknowledged = found;
        if power_loss {
            self.durable = found;
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Cut {
        changes: Vec<(u8, u64, Option<usize>)>,
        marked: bool,
        sync: bool,
    },
    Fault {
        after: u64,
        fault: Fault,
    },
    /// From now on all fails, or all works again.
    Faults(Option<Fault>),
    Crash,
    PowerLoss,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::NoSpace), Just(Fault::Io), Just(Fault::ReadOnly), Just(Fault::Death)]
}

fn step() -> impl Strategy<Value = Step> {
    let change = (1u8..4, 0u64..8, proptest::option::weighted(0.8, prop_oneof![4 => 0usize..20, 1 => 0usize..2500]));
    prop_oneof![
        12 => (vec(change, 0..6), any::<bool>(), any::<bool>())
            .prop_map(|(changes, marked, sync)| Step::Cut { changes, marked, sync }),
        3 => (1u64..12, fault()).prop_map(|(after, fault)| Step::Fault { after, fault }),
        1 => proptest::option::of(fault()).prop_map(Step::Faults),
        1 => Just(Step::Crash),
        2 => Just(Step::PowerLoss),
    ]
}

fn live(seed: u64, steps: Vec<Step>) {
    let mut world = World::new(seed);
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Cut { changes, marked, sync } => {
                let mut image = world.keeper.image.clone();
                // Each image is another one, so that it is known by what it holds.
                image.insert(slot(9, 0), number.to_le_bytes().to_vec());
                for (table, index, size) in changes {
                    match size {
                        Some(size) => image.insert(slot(table, index), vec![number as u8; size]),
                        None => image.remove(&slot(table, index)),
                    };
                }
                world.cut(image, marked, sync);
            }
            Step::Fault { after, fault } => world.disk.fail_at(after, fault),
            Step::Faults(fault) => world.disk.fail(fault),
            Step::Crash => world.restart(false),
            Step::PowerLoss => world.restart(true),
        }
    }
    world.restart(false);
    world.restart(true);
    assert!(world.cut(example(1), true, true), "after all, it works");
    world.restart(true);
    assert_eq!(world.keeper.image, example(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("WEIR_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
    ))]

    #[test]
    fn any_life_keeps_what_it_acknowledged(seed in any::<u64>(), steps in vec(step(), 1..80)) {
        live(seed, steps);
    }
}

/// The process dies at each operation of a life with several snapshots, and the machine too.
#[test]
fn a_death_at_each_operation() {
    for sync in [true, false] {
        let mut operation = 1;
        loop {
            let mut died = false;
            for seed in 0..6 {
                let mut world = World::new(seed);
                world.disk.fail_at(operation, Fault::Death);
                let mut number = 0;
                while number < 40 && world.cut(example(number), number % 3 == 0, sync || number % 4 == 0) {
                    number += 1;
                }
                died |= number < 40;
                world.restart(seed > 0);
                (100..110).for_each(|number| assert!(world.cut(example(number), number % 3 == 0, sync)));
                world.restart(seed > 2);
            }
            if !died {
                break;
            }
            operation += 1;
        }
        assert!(operation > 60, "{operation} operations");
    }
}

/// The disk fails once, at each operation; everything before and after is kept.
#[test]
fn a_fault_at_each_operation() {
    for fault in [Fault::Io, Fault::NoSpace, Fault::ReadOnly] {
        for operation in 1..120 {
            let mut world = World::new(operation);
            world.disk.fail_at(operation, fault);
            for number in 0..30 {
                let mut kept = world.cut(example(number), number % 3 == 0, true);
                if !kept {
                    // The same once more, as the next cut would be.
                    kept = world.cut(example(number), number % 3 == 0, true);
                }
                assert!(kept, "{fault:?} at {operation}");
            }
            world.restart(operation % 2 == 0);
            assert_eq!(world.keeper.image, example(29));
        }
    }
}
