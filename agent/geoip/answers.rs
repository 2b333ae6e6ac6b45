//! What was made of a database's records: once of each, however many addresses have it.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Answers by numbers, as long as somebody holds them. Of a number there are as many holders as calls that gave it.
pub(super) struct Answers<T> {
    /// By their numbers.
    known: Vec<Known<T>>,
    /// Numbers that nobody holds.
    free: Vec<u32>,
    /// The numbers that somebody holds, by the hash of the record's offset.
    numbers: HashTable<u32>,
}

/// Begins where a line of the processor's cache does.
#[repr(align(64))]
struct Known<T> {
    /// Where the record stands in the database: no other one stands there.
    offset: usize,
    /// Nobody holds the answer where it is 0.
    holders: u32,
    answer: T,
}

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Answers { known: Vec::new(), free: Vec::new(), numbers: HashTable::new() }
    }
}

impl<T> Answers<T> {
    /// The answer of a number that somebody holds.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&T> {
        self.known.get(number as usize).map(|known| &known.answer)
    }

    /// The number of the answer to the record that stands at `offset`, which `make` makes if nobody holds one; `None` if it
    /// makes none. The caller holds it from now on.
    pub fn hold(&mut self, offset: usize, make: impl FnOnce() -> Option<T>) -> Option<u32> {
        let Answers { known, free, numbers } = self;
        let is_same = |number: &u32| known[*number as usize].offset == offset;
        let vacant = match numbers.entry(hash_of(offset), is_same, |number| hash_of(known[*number as usize].offset)) {
            Entry::Occupied(number) => {
                let number = *number.get();
                known[number as usize].holders += 1;
                return Some(number);
            }
            Entry::Vacant(vacant) => vacant,
        };
        let new = Known { offset, holders: 1, answer: make()? };
        // There are no more answers than entries of a cache, so that their numbers are short.
        let number = free.pop().unwrap_or(known.len() as u32);
        vacant.insert(number);
        match known.get_mut(number as usize) {
            Some(place) => *place = new,
            None => known.push(new),
        }
        Some(number)
    }

    /// One who held this number does so no more.
    pub fn let_go(&mut self, number: u32) {
        let Some(left) = self.known.get_mut(number as usize) else { return };
        left.holders -= 1;
        if left.holders == 0 {
            if let Ok(found) = self.numbers.find_entry(hash_of(left.offset), |known| *known == number) {
                found.remove();
            }
            self.free.push(number);
        }
    }

    pub fn clear(&mut self) {
        self.known.clear();
        self.free.clear();
        self.numbers.clear();
    }

    /// How many answers are held.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        assert_eq!(self.known.len(), self.numbers.len() + self.free.len());
        self.numbers.len()
    }
}

/// Records stand where the database's maker put them, which no client chooses. Both ends of the product's bits are used.
fn hash_of(offset: usize) -> u64 {
    let mixed = (offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn what_somebody_holds_is_there_and_nothing_else(
            steps in prop::collection::vec((0..6usize, any::<bool>(), 0..8usize), 0..60),
        ) {
            let (mut answers, mut held) = (Answers::default(), BTreeMap::<usize, Vec<u32>>::new());
            for (offset, holds, which) in steps {
                let of_offset = held.entry(offset).or_default();
                if holds {
                    let mut made = false;
                    let number = answers.hold(offset, || { made = true; Some(offset) });
                    prop_assert_eq!(made, of_offset.is_empty());
                    of_offset.push(number.expect("an answer"));
                } else if !of_offset.is_empty() {
                    answers.let_go(of_offset.remove(which % of_offset.len()));
                }
                for (offset, numbers) in &held {
                    prop_assert!(numbers.iter().all(|number| answers.get(*number) == Some(offset)));
                }
                let wanted = held.values().filter(|numbers| !numbers.is_empty()).count();
                prop_assert_eq!(answers.held(), wanted);
                prop_assert!(answers.known.len() <= 6);
            }
            prop_assert_eq!(answers.hold(99, || None), None);
            answers.held();
        }
    }
}
