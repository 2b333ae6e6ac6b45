//! Which of the label sets that found no room come often.
//!
//! Space-Saving (Metwally, Agrawal, El Abbadi, 2005) in sets of eight: a newcomer takes the place of the one in its set
//! that came least, with that one's count as its error. So a label set came at least `count − error` times since it took
//! its place. One that makes up more than about 1/3,500 of the lines without room stays in its place whatever else
//! comes, and one that comes once never looks heavy, however many of them there are.

const WAYS: usize = 8;
const SETS: usize = 512;
/// Lines after which all counts are halved: what was heavy long ago is not.
const HALVED_AFTER: u32 = 1 << 20;

/// 64 KiB, whatever comes.
#[derive(Debug)]
pub(super) struct Sketch {
    slots: Box<[Slot]>,
    /// Lines since the counts were halved.
    lines: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Of the label set. Seeded: nobody outside can choose whose place he takes.
    hash: u64,
    count: u32,
    error: u32,
}

impl Sketch {
    pub fn new() -> Sketch {
        Sketch { slots: vec![Slot::default(); SETS * WAYS].into(), lines: 0 }
    }

    /// A label set came: how often it did at least, of late.
    pub fn came(&mut self, hash: u64) -> u32 {
        self.lines += 1;
        if self.lines == HALVED_AFTER {
            self.halve();
        }
        let set = self.set(hash);
        let slot = match set.iter().position(|slot| slot.hash == hash) {
            Some(at) => &mut set[at],
            None => {
                let at = (0..WAYS).min_by_key(|at| set[*at].count).unwrap_or(0);
                set[at] = Slot { hash, count: set[at].count, error: set[at].count };
                &mut set[at]
            }
        };
        slot.count += 1;
        slot.count - slot.error
    }

    /// A label set has a series of its own now.
    pub fn forget(&mut self, hash: u64) {
        self.set(hash).iter_mut().filter(|slot| slot.hash == hash).for_each(|slot| *slot = Slot::default());
    }

    fn set(&mut self, hash: u64) -> &mut [Slot] {
        let set = (hash >> 32) as usize % SETS;
        &mut self.slots[set * WAYS..(set + 1) * WAYS]
    }

    fn halve(&mut self) {
        self.lines = 0;
        for slot in &mut self.slots {
            (slot.count, slot.error) = (slot.count / 2, slot.error.div_ceil(2).min(slot.count / 2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foldhash::fast::RandomState;
    use std::collections::HashMap;
    use std::hash::BuildHasher;

    #[test]
    fn no_count_is_above_the_truth_and_the_heavy_are_found_among_a_million() {
        let hasher = RandomState::default();
        let (mut sketch, mut truth) = (Sketch::new(), HashMap::new());
        let mut first_at = HashMap::new();
        // Ten that come once in two thousand lines, each.
        for line in 0..1_000_000u64 {
            let who = if line % 200 == 0 { line / 200 % 10 } else { 1000 + line };
            let came = sketch.came(hasher.hash_one(who));
            let true_count = truth.entry(who).or_insert(0u32);
            *true_count += 1;
            assert!(came <= *true_count, "{who}");
            if came >= 128 {
                first_at.entry(who).or_insert(*true_count);
            }
        }
        assert_eq!(first_at.len(), 10, "all of them, and nobody else: {first_at:?}");
        assert!(first_at.values().all(|at| *at < 300), "{first_at:?}");
    }

    #[test]
    fn halving_keeps_the_bound() {
        let mut sketch = Sketch::new();
        // Nine in a set of eight.
        let hash = |n: u64| n + 1;
        let mut truth = [0u32; 9];
        for line in 0..3 * u64::from(HALVED_AFTER) {
            let who = (line % 9).min(line % 5) as usize;
            truth[who] += 1;
            assert!(sketch.came(hash(who as u64)) <= truth[who]);
        }
        assert!(sketch.came(hash(0)) > 100_000);
        sketch.forget(hash(0));
        assert_eq!(sketch.came(hash(0)), 1);
    }
}
