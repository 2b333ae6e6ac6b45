//! A Prometheus, as far as counting goes: consecutive samples of a series, and what `increase()` makes of them without
//! its extrapolation. A counter that went back began anew: all that it shows then is counted. The first sample of a
//! series counts nothing.

use super::oracle::SeriesId;
use std::collections::HashMap;

#[derive(Default)]
pub struct Prometheus {
    /// By target labels and series: the last sample, for as long as its database lives.
    last: HashMap<(u32, SeriesId), u64>,
    /// What it has added up, over all target labels.
    increase: HashMap<SeriesId, u64>,
    /// What it cannot know of: values that were there when a series was first seen.
    pub missed: HashMap<SeriesId, u64>,
    /// Beginnings of counters that were seen with a value already: series and value.
    pub late: Vec<(SeriesId, u64)>,
    /// By age, whose counters are others than those of another age: the last sample.
    ages: HashMap<(u64, SeriesId), u64>,
    pub scrapes: u64,
}

impl Prometheus {
    /// A scrape that came through. `identity` are the labels that it gives the target; `age` numbers the beginnings of
    /// the agent's counters, which it does not see: only what it misses is reckoned by that.
    pub fn scrape(&mut self, identity: u32, age: u64, page: &HashMap<SeriesId, u64>) {
        self.scrapes += 1;
        for (series, value) in page {
            let before = self.last.insert((identity, *series), *value);
            let counted = match before {
                None => 0,
                Some(before) if *value >= before => value - before,
                Some(_) => *value,
            };
            *self.increase.entry(*series).or_default() += counted;
            if self.ages.insert((age, *series), *value).is_some() {
                continue;
            }
            if counted < *value {
                *self.missed.entry(*series).or_default() += value - counted;
                self.late.push((*series, *value));
            }
        }
    }

    pub fn increase(&self, series: SeriesId) -> u64 {
        self.increase.get(&series).copied().unwrap_or(0)
    }

    /// The last sample of a series in this age; 0 if there is none.
    pub fn last_in(&self, age: u64, series: SeriesId) -> u64 {
        self.ages.get(&(age, series)).copied().unwrap_or(0)
    }

    /// The series that it knows.
    pub fn series(&self) -> impl Iterator<Item = SeriesId> {
        self.increase.keys().copied()
    }
}
