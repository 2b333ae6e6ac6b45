//! A set of numbers that mostly follow each other.

use std::collections::BTreeMap;

/// Numbers below `u64::MAX` as ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// The end, exclusive, by the start.
    ends: BTreeMap<u64, u64>,
}

impl Ranges {
    pub fn contains(&self, number: u64) -> bool {
        self.ends.range(..=number).next_back().is_some_and(|(_, end)| number < *end)
    }

    /// Ascending: start and end, which is exclusive.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ends.iter().map(|(start, end)| (*start, *end))
    }

    pub fn insert(&mut self, number: u64) {
        self.insert_range(number, number.saturating_add(1));
    }

    pub fn insert_range(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        // All that it overlaps or touches becomes one with it.
        while let Some((other, other_end)) = self.ends.range(..=end).next_back().map(|(start, end)| (*start, *end)) {
            if other_end < start {
                break;
            }
            self.ends.remove(&other);
            (start, end) = (start.min(other), end.max(other_end));
        }
        self.ends.insert(start, end);
    }

    pub fn extend(&mut self, other: &Ranges) {
        other.iter().for_each(|(start, end)| self.insert_range(start, end));
    }

    pub fn remove(&mut self, number: u64) {
        let Some((start, end)) = self.ends.range(..=number).next_back().map(|(start, end)| (*start, *end)) else {
            return;
        };
        if number < end {
            self.ends.remove(&start);
            for (start, end) in [(start, number), (number + 1, end)] {
                if start < end {
                    self.ends.insert(start, end);
                }
            }
        }
    }

    /// Forgets the lowest until there are no more than so many ranges.
    pub fn keep_highest(&mut self, ranges_max: usize) {
        while self.ends.len() > ranges_max {
            self.ends.pop_first();
        }
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut ranges = Ranges::default();
        numbers.into_iter().for_each(|number| ranges.insert(number));
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn a_set_of_ranges_is_a_set(steps in vec((any::<bool>(), 0u64..40, 0u64..6), 0..60)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (inserts, start, length) in steps {
                if inserts {
                    ranges.insert_range(start, start + length);
                    set.extend(start..start + length);
                } else {
                    ranges.remove(start);
                    set.remove(&start);
                }
                prop_assert_eq!(ranges.iter().flat_map(|(start, end)| start..end).collect::<BTreeSet<_>>(), set.clone());
                prop_assert!((0..50).all(|number| ranges.contains(number) == set.contains(&number)));
                let bounds: Vec<_> = ranges.iter().collect();
                prop_assert!(bounds.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?} touch", bounds);
            }
            ranges.keep_highest(1);
            prop_assert_eq!(ranges.iter().next().map(|(_, end)| end - 1), set.last().copied());
        }
    }
}
