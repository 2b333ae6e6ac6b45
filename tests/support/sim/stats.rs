//! A day, or many, in numbers.

use super::oracle::Loss;
use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub days: u64,
    pub lines: u64,
    pub counted: u64,
    pub cuts: u64,
    pub pages: u64,
    pub rotations: u64,
    pub eras: u64,
    pub ages: u64,
    pub events: BTreeMap<String, u64>,
    pub lost: BTreeMap<Loss, u64>,
    pub breaks: BTreeMap<String, u64>,
    /// Days on which a Prometheus' sum is that of all lines that were written.
    pub exact: u64,
    /// Values that a Prometheus could not see grow, because it was away for longer than the hold.
    pub unseen: u64,
    /// What it could not see of counters that began anew.
    pub gaps: i64,
    /// Sum over days and both Prometheis of |increase − lines|.
    pub error: u64,
}

impl Stats {
    pub fn add(&mut self, other: &Stats) {
        self.days += other.days;
        self.lines += other.lines;
        self.counted += other.counted;
        self.cuts += other.cuts;
        self.pages += other.pages;
        self.rotations += other.rotations;
        self.eras += other.eras;
        self.ages += other.ages;
        self.exact += other.exact;
        self.unseen += other.unseen;
        self.gaps += other.gaps;
        self.error += other.error;
        other.events.iter().for_each(|(name, n)| *self.events.entry(name.clone()).or_default() += n);
        other.breaks.iter().for_each(|(name, n)| *self.breaks.entry(name.clone()).or_default() += n);
        other.lost.iter().for_each(|(why, n)| *self.lost.entry(*why).or_default() += n);
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} node-days: {} lines ({} read), {} rotations, {} cuts, {} pages, {} ages and {} eras of the counters",
            self.days, self.lines, self.counted, self.rotations, self.cuts, self.pages, self.ages, self.eras
        )?;
        writeln!(f, "events: {:?}", self.events)?;
        writeln!(f, "parts lost: {:?}; breaks counted: {:?}", self.lost, self.breaks)?;
        write!(
            f,
            "of {} sums {} are exact; could not be seen: {} while away for longer than the hold, {} over new beginnings; \
             sum of all errors: {}",
            2 * self.days,
            self.exact,
            self.unseen,
            self.gaps,
            self.error
        )
    }
}
