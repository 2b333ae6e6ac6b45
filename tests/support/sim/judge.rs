//! The judge: what must hold after every step of a day, and at its end (reliability.md §8.2).
//!
//! An **age** of the counters is the time in which they only grow for scrapers: it ends where they begin at 0 again,
//! with other target labels or after a loss. An **era** is the time in which the agent remembers what it read: it ends
//! only where its state was lost, and then what can still be read is read again.

use super::agent::{Beginning, Page};
use super::node::Machine;
use super::oracle::{Loss, SeriesId};
use super::plan::Sync;
use super::prometheus::Prometheus;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use weir::app::{Cut, Verdict};
use weir::metrics::Shown;

/// An agent that runs has read what stands in a file within this time.
const READ_WITHIN_MS: u64 = 8_000;
/// Cuts that are remembered whole.
const CUTS_KEPT: usize = 64;

pub struct Judge {
    plain: bool,
    /// The target labels.
    pub identity: u32,
    /// Counts the beginnings of the counters.
    pub age: u64,
    /// What was taken off the values in the present era.
    bases: HashMap<SeriesId, u64>,
    /// The look that each cut shows.
    looks: HashMap<u64, u64>,
    recent: VecDeque<Arc<Cut>>,
    /// The latest cut that somebody was told of.
    published: Option<u64>,
    /// The state directory may not hold what was published.
    harmed: bool,
    /// When each series was first sent to a scraper in this age, and what was shown of it last.
    first_sent_ms: HashMap<SeriesId, u64>,
    shown: HashMap<SeriesId, u64>,
    /// Per Prometheus and series: what it could not see of ages that ended, and what ages of ended eras were to it.
    gaps: [HashMap<SeriesId, i64>; 2],
    settled: [HashMap<SeriesId, u64>; 2],
    /// Something happened of which a break must tell.
    must_break: Vec<String>,
    pub stats: Stats,
}

/// A day, or many, in numbers.
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

impl Judge {
    pub fn new(plain: bool) -> Judge {
        Judge {
            plain,
            identity: 0,
            age: 0,
            bases: HashMap::new(),
            looks: HashMap::new(),
            recent: VecDeque::new(),
            published: None,
            harmed: false,
            first_sent_ms: HashMap::new(),
            shown: HashMap::new(),
            gaps: Default::default(),
            settled: Default::default(),
            must_break: Vec::new(),
            stats: Stats { days: 1, eras: 1, ages: 1, ..Stats::default() },
        }
    }

    /// The agent looked at its files: what it can read it has read.
    pub fn looked(&mut self, machine: &mut Machine, started_ms: u64) -> Result<(), String> {
        machine.oracle.looked(&machine.fs);
        let now = machine.clock.elapsed_ms();
        if now < started_ms + READ_WITHIN_MS {
            return Ok(());
        }
        let since = now - READ_WITHIN_MS;
        match machine.oracle.unread_before(since, &machine.fs, &machine.without_current_since(since)) {
            Some(part) => {
                let (what, files) = (machine.oracle.describe(part), machine.oracle.files_of(part, &machine.fs));
                Err(format!("part {part} of a line stands in a file and was not read: {what}\n{files}"))
            }
            None => Ok(()),
        }
    }

    /// A cut was made.
    pub fn made(&mut self, cut: &Arc<Cut>, machine: &Machine) -> Result<(), String> {
        self.stats.cuts += 1;
        self.looks.insert(cut.number, machine.oracle.looks);
        self.recent.push_back(Arc::clone(cut));
        if self.recent.len() > CUTS_KEPT {
            self.recent.pop_front();
        }
        match cut.report.books.iter().find(|books| !books.balanced()) {
            Some(books) => Err(format!("the books do not balance: {books}")),
            None => Ok(()),
        }
    }

    pub fn committed(&mut self, cut: &Arc<Cut>, verdict: &Verdict) {
        if verdict.publish {
            self.published = Some(cut.number);
            // Shown without being durable: a crash may cost it, and it was said so.
            self.harmed |= verdict.broken.is_some();
        }
    }

    pub fn state_was_harmed(&mut self) {
        self.harmed = true;
    }

    pub fn power_lost(&mut self, sync: Sync) {
        self.harmed |= sync != Sync::EveryCut;
    }

    pub fn process_lost(&mut self) {}

    pub fn reloaded(&mut self, _machine: &mut Machine) {}

    /// A page is sent to a scraper.
    pub fn page(&mut self, cut: &Cut, page: &Page, hold: Duration, machine: &Machine) -> Result<(), String> {
        self.stats.pages += 1;
        let now = machine.clock.elapsed_ms();
        let name = |series: &SeriesId| machine.oracle.name(*series);
        if self.plain {
            return Ok(());
        }
        for (series, value) in page {
            let before = self.shown.insert(*series, *value).unwrap_or(0);
            if *value < before {
                return Err(format!("{} went back from {before} to {value} in cut {}", name(series), cut.number));
            }
            let base = self.bases.get(series).copied().unwrap_or(0);
            let written = machine.oracle.written(*series);
            if value + base > written {
                return Err(format!("{} shows {value} after {base}, and {written} lines were written", name(series)));
            }
            let first = *self.first_sent_ms.entry(*series).or_insert(now);
            let held_until = first + hold.as_millis() as u64;
            if before == 0 && *value > 0 && now < held_until {
                return Err(format!("{} is shown as {value} too early: {now} ms, held until {held_until}", name(series)));
            }
        }
        match self.shown.keys().find(|series| !page.contains_key(series)) {
            Some(series) => Err(format!("{} was shown and is gone", name(series))),
            None => Ok(()),
        }
    }

    /// A page arrived. What was hidden until everybody had seen the 0 may come late only to who missed a scrape.
    pub fn scraped(&mut self, prometheus: &mut Prometheus, missed_ms: u64, machine: &Machine) -> Result<(), String> {
        for (series, value) in std::mem::take(&mut prometheus.late) {
            let first_ms = self.first_sent_ms.get(&series).copied().unwrap_or(0);
            if missed_ms < first_ms && !self.plain {
                let name = machine.oracle.name(series);
                return Err(format!("{name} was held too briefly: a Prometheus that missed no scrape sees {value} first"));
            }
        }
        Ok(())
    }

    /// A run of the agent began, with these values.
    pub fn started(
        &mut self,
        beginning: &Beginning,
        now: Page,
        identity: u32,
        machine: &mut Machine,
        prometheis: &mut [&mut Prometheus],
    ) -> Result<(), String> {
        let moved = std::mem::replace(&mut self.identity, identity) != identity;
        if !beginning.resumed {
            if self.published.is_some() && !self.plain {
                if !self.harmed {
                    return Err("a state that was published is not found again".to_string());
                }
                self.must_break.push("the state was lost".to_string());
            }
            self.new_era(prometheis);
            machine.oracle.back_to(0, &machine.fs);
        } else {
            if self.published.is_some_and(|published| beginning.number < published) && !self.harmed {
                let published = self.published.unwrap_or_default();
                return Err(format!("cut {published} was published, and {} is found again", beginning.number));
            }
            let Some(look) = self.looks.get(&beginning.number) else {
                return Err(format!("cut {} was never made", beginning.number));
            };
            machine.oracle.back_to(*look, &machine.fs);
            self.resumed(beginning.number, &now, moved, machine, prometheis)?;
        }
        self.published = None;
        self.harmed = false;
        self.find_lost(machine);
        Ok(())
    }

    /// The counters go on from a cut: as they were, or from what scrapers saw of them last.
    fn resumed(
        &mut self,
        number: u64,
        now: &Page,
        moved: bool,
        machine: &mut Machine,
        prometheis: &mut [&mut Prometheus],
    ) -> Result<(), String> {
        let Some(cut) = self.recent.iter().rev().find(|cut| cut.number == number) else {
            return Err(format!("cut {number} is too old to be found again"));
        };
        let before = super::agent::values(&cut.report.snapshot, Shown::ToPerson, &mut machine.oracle);
        let off: HashMap<SeriesId, u64> = before
            .iter()
            .map(|(series, before)| (*series, before.saturating_sub(now.get(series).copied().unwrap_or(0))))
            .collect();
        if now.iter().any(|(series, now)| before.get(series).is_none_or(|before| before < now)) {
            return Err(format!("cut {number} came back with larger values"));
        }
        if !moved && off.values().all(|off| *off == 0) {
            return Ok(());
        }
        let marked: Vec<Arc<Cut>> =
            self.recent.iter().rev().filter(|cut| cut.for_scrape && cut.number <= number).cloned().collect();
        let is_base = |cut: &Arc<Cut>, machine: &mut Machine| {
            let shown = super::agent::values(&cut.report.snapshot, Shown::ToScraper, &mut machine.oracle);
            off.iter().all(|(series, off)| shown.get(series).copied().unwrap_or(0) == *off)
        };
        if !(off.values().all(|off| *off == 0) || marked.iter().take(3).any(|cut| is_base(cut, machine))) {
            return Err(format!("what was taken off the values of cut {number} is not what was shown last"));
        }
        self.end_age(&off, prometheis);
        for (series, off) in off {
            *self.bases.entry(series).or_default() += off;
        }
        Ok(())
    }

    fn end_age(&mut self, off: &HashMap<SeriesId, u64>, prometheis: &mut [&mut Prometheus]) {
        for (gaps, prometheus) in self.gaps.iter_mut().zip(prometheis) {
            for (series, off) in off {
                let gap = *off as i64 - prometheus.last_in(self.age, *series) as i64;
                *gaps.entry(*series).or_default() += gap;
                self.stats.gaps += gap;
                if gap < 0 {
                    self.must_break.push("counters began anew from less than was shown".to_string());
                }
            }
        }
        self.next_age();
    }

    fn new_era(&mut self, prometheis: &mut [&mut Prometheus]) {
        if self.published.is_none() && self.age == 0 {
            return;
        }
        for (settled, prometheus) in self.settled.iter_mut().zip(prometheis) {
            for series in prometheus.series().collect::<Vec<_>>() {
                let base = self.bases.get(&series).copied().unwrap_or(0);
                *settled.entry(series).or_default() += base + prometheus.last_in(self.age, series);
            }
            // Bases of series that it never saw are gaps already.
            for (series, base) in self.bases.iter().filter(|(series, _)| !prometheus.knows(**series)) {
                *settled.entry(*series).or_default() += base;
            }
        }
        self.bases.clear();
        self.stats.eras += 1;
        self.next_age();
    }

    fn next_age(&mut self) {
        self.age += 1;
        self.stats.ages += 1;
        self.first_sent_ms.clear();
        self.shown.clear();
    }

    /// Looks what cannot be read any more by anybody.
    pub fn find_lost(&mut self, machine: &mut Machine) {
        for part in machine.oracle.find_lost(&machine.fs) {
            let why = machine.oracle.parts[part].lost.unwrap_or(Loss::Unseen);
            *self.stats.lost.entry(why).or_default() += 1;
            if why == Loss::Known {
                self.must_break.push(format!("lost: {}", machine.oracle.describe(part)));
            }
        }
    }

    /// The end of the day, after a while in which all was well.
    pub fn finish(
        &mut self,
        values: &Page,
        breaks: BTreeMap<String, u64>,
        machine: &mut Machine,
        prometheis: &[&Prometheus],
    ) -> Result<(), String> {
        let expected = machine.oracle.expected();
        self.stats.lines = machine.oracle.lines();
        self.stats.counted = expected.values().sum();
        self.stats.rotations = machine.kubelet.rotations;
        self.stats.breaks = breaks;
        for prometheus in prometheis {
            let sum: u64 = prometheus.series().map(|series| prometheus.increase(series)).sum();
            self.stats.error += sum.abs_diff(self.stats.lines);
            self.stats.exact += u64::from(sum == self.stats.lines);
            self.stats.unseen += prometheus.missed.values().sum::<u64>();
        }
        let all: Vec<SeriesId> = (0..machine.oracle.series_count()).collect();
        let off = |series: &SeriesId| {
            let has = values.get(series).copied().unwrap_or(0) + self.bases.get(series).copied().unwrap_or(0);
            let must = expected.get(series).copied().unwrap_or(0);
            (has != must).then(|| format!("{} counted {has} lines, and {must} were read", machine.oracle.name(*series)))
        };
        let off: Vec<String> = all.iter().filter_map(off).collect();
        if !off.is_empty() {
            return Err(off.join("; "));
        }
        if self.plain {
            return Ok(());
        }
        for (at, prometheus) in prometheis.iter().enumerate() {
            for series in &all {
                self.check_sum(at, prometheus, *series, values).map_err(|why| {
                    format!("Prometheus {at}, {}: {why}", machine.oracle.name(*series))
                })?;
            }
        }
        self.check_breaks()
    }

    fn check_sum(&self, at: usize, prometheus: &Prometheus, series: SeriesId, values: &Page) -> Result<(), String> {
        let of = |map: &HashMap<SeriesId, u64>| map.get(&series).copied().unwrap_or(0) as i64;
        let (increase, unseen) = (prometheus.increase(series) as i64, of(&prometheus.missed));
        let gap = self.gaps[at].get(&series).copied().unwrap_or(0);
        let (settled, base, now) = (of(&self.settled[at]), of(&self.bases), of(values));
        if increase + unseen + gap == settled + base + now {
            return Ok(());
        }
        Err(format!(
            "added up {increase}, could not see {unseen} and {gap}; the counters showed {settled} + {base} + {now}"
        ))
    }

    fn check_breaks(&self) -> Result<(), String> {
        match (self.must_break.first(), self.stats.breaks.is_empty()) {
            (Some(why), true) => Err(format!("no break was counted: {why}")),
            (None, false) if self.stats.lost.is_empty() && self.stats.eras == 1 => {
                Err(format!("nothing was lost, and breaks were counted: {:?}", self.stats.breaks))
            }
            _ => Ok(()),
        }
    }
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
