//! The judge: what must hold after every step of a day, and at its end (reliability.md §8.2).
//!
//! An **age** of the counters is the time in which they only grow for scrapers: it ends where they begin at 0 again,
//! with other target labels or after a loss. An **era** is the time in which the agent remembers what it read: it ends
//! only where its state was lost, and then what can still be read is read again.

use super::agent::Page;
use super::node::Machine;
use super::oracle::{Loss, SeriesId};
use super::prometheus::Prometheus;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use weir::app::{Cut, Verdict};
use weir::keep::{Entries, Table};
use weir::metrics::Shown;

/// An agent that runs has read what stands in a file within this time.
const READ_WITHIN_MS: u64 = 8_000;
/// Cuts that are remembered whole.
const CUTS_KEPT: usize = 64;

pub struct Judge {
    plain: bool,
    /// The target labels.
    pub identity: u32,
    /// What the present values mean; it is remembered with each cut, for a crash may go back to one.
    account: Rc<Account>,
    ages: u64,
    recent: VecDeque<Made>,
    /// The latest cut that somebody was told of, and the latest one that a scraper was.
    published: Option<u64>,
    published_for_scrape: Option<u64>,
    /// The state directory may not hold what was published.
    harmed: bool,
    /// What scrapers were sent, by age.
    sent: HashMap<u64, Sent>,
    /// The state directory was emptied, and nothing has reached the disk for certain since: an agent that ends now leaves
    /// nothing that could tell of it.
    emptied: bool,
    /// Something happened of which a break must tell.
    must_break: Vec<Untold>,
    /// Breaks that a scraper was told of, the highest number of each reason.
    told: BTreeMap<String, u64>,
    /// Something happened that an agent may take for a break.
    may_break: bool,
    pub stats: Stats,
}

/// A cut that was made.
struct Made {
    cut: Arc<Cut>,
    /// The look that it shows.
    look: u64,
    account: Rc<Account>,
}

/// What a break must tell of.
struct Untold {
    why: String,
    /// Cuts that were made before.
    cuts: u64,
}

/// What the values of the counters mean.
#[derive(Clone, Default)]
struct Account {
    age: u64,
    /// What was taken off them in the present era.
    bases: HashMap<SeriesId, u64>,
    /// Per Prometheus and series: what it could not see of ages that ended, and what eras that ended were to it.
    gaps: [HashMap<SeriesId, i64>; 2],
    settled: [HashMap<SeriesId, u64>; 2],
}

/// When each series was first sent to a scraper, and what was sent last.
#[derive(Default)]
struct Sent {
    first_ms: HashMap<SeriesId, u64>,
    /// With the shortest hold that was in force at a request since: that is when it may be shown.
    held_until_ms: HashMap<SeriesId, u64>,
    last: HashMap<SeriesId, u64>,
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
            account: Rc::default(),
            ages: 0,
            recent: VecDeque::new(),
            published: None,
            published_for_scrape: None,
            harmed: false,
            sent: HashMap::new(),
            emptied: false,
            must_break: Vec::new(),
            told: BTreeMap::new(),
            may_break: false,
            stats: Stats { days: 1, eras: 1, ..Stats::default() },
        }
    }

    /// The agent looked at its files: what it can read it has read.
    pub fn looked(&mut self, machine: &mut Machine, started_ms: u64) -> Result<(), String> {
        machine.oracle.looked(&machine.fs);
        machine.fs.forget_closed();
        let now = machine.clock.elapsed_ms();
        if now < started_ms + READ_WITHIN_MS {
            return Ok(());
        }
        let since = now - READ_WITHIN_MS;
        match machine.oracle.unread_before(since, &machine.fs) {
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
        let (cut, account) = (Arc::clone(cut), Rc::clone(&self.account));
        let broken = cut.report.books.iter().find(|books| !books.balanced()).map(|books| books.to_string());
        self.recent.push_back(Made { cut, look: machine.oracle.looks, account });
        if self.recent.len() > CUTS_KEPT {
            self.recent.pop_front();
        }
        match broken {
            Some(books) => Err(format!("the books do not balance: {books}")),
            None => Ok(()),
        }
    }

    pub fn committed(&mut self, cut: &Arc<Cut>, verdict: &Verdict) {
        if verdict.publish {
            self.published = Some(cut.number);
            if cut.for_scrape {
                self.published_for_scrape = Some(cut.number);
                self.emptied &= verdict.broken.is_some();
            }
            // Shown without being durable: a crash may cost it, and it was said so.
            self.harmed |= verdict.broken.is_some();
            self.may_break |= verdict.broken.is_some();
        }
    }

    pub fn state_was_harmed(&mut self) {
        self.harmed = true;
        self.may_break = true;
    }

    pub fn state_was_emptied(&mut self) {
        self.state_was_harmed();
        self.emptied = true;
    }

    /// What was not synced may be gone: only what a scraper may see is synced.
    pub fn power_lost(&mut self) {
        self.published = self.published_for_scrape;
        self.may_break = true;
    }

    /// A page is sent to a scraper.
    pub fn page(&mut self, cut: &Cut, page: &Page, hold: Duration, machine: &Machine) -> Result<(), String> {
        self.stats.pages += 1;
        let now = machine.clock.elapsed_ms();
        let name = |series: &SeriesId| machine.oracle.name(*series);
        if self.plain {
            return Ok(());
        }
        let sent = self.sent.entry(self.account.age).or_default();
        for (series, value) in page {
            let before = sent.last.insert(*series, *value).unwrap_or(0);
            if *value < before {
                return Err(format!("{} went back from {before} to {value} in cut {}", name(series), cut.number));
            }
            let base = self.account.bases.get(series).copied().unwrap_or(0);
            let written = machine.oracle.written(*series);
            if value + base > written {
                return Err(format!("{} shows {value} after {base}, and {written} lines were written", name(series)));
            }
            let first = *sent.first_ms.entry(*series).or_insert(now);
            let with_this_hold = first + hold.as_millis() as u64;
            let held_until = sent.held_until_ms.entry(*series).or_insert(with_this_hold);
            if before == 0 && *value > 0 && now < *held_until {
                let held_until = *held_until;
                return Err(format!(
                    "{} is shown as {value} too early: {now} ms, held until {held_until}",
                    name(series)
                ));
            }
            *held_until = with_this_hold.min(*held_until);
        }
        match sent.last.keys().find(|series| !page.contains_key(series)) {
            Some(series) => Err(format!("{} was shown and is gone", name(series))),
            None => Ok(()),
        }
    }

    /// A page arrived. What was hidden until everybody had seen the 0 may come late only to who missed a scrape.
    pub fn scraped(
        &mut self,
        cut: &Cut,
        prometheus: &mut Prometheus,
        missed_ms: u64,
        machine: &Machine,
    ) -> Result<(), String> {
        for (reason, times) in &cut.report.facts.breaks {
            let told = self.told.entry(reason.clone()).or_default();
            *told = (*told).max(*times);
        }
        for (series, value) in std::mem::take(&mut prometheus.late) {
            let sent = self.sent.get(&self.account.age);
            let first_ms = sent.and_then(|sent| sent.first_ms.get(&series)).copied().unwrap_or(0);
            if missed_ms < first_ms && !self.plain {
                let name = machine.oracle.name(series);
                return Err(format!(
                    "{name} was held too briefly: a Prometheus that missed no scrape sees {value} first"
                ));
            }
        }
        Ok(())
    }

    /// A run of the agent began, with these values.
    pub fn started(
        &mut self,
        found: Option<&Entries>,
        now: &Page,
        identity: u32,
        machine: &mut Machine,
        prometheis: &mut [&mut Prometheus],
    ) -> Result<(), String> {
        let moved = std::mem::replace(&mut self.identity, identity) != identity;
        let Some(found) = found else {
            if self.published.is_some() && !self.plain {
                if !self.harmed {
                    return Err("a state that was published is not found again".to_string());
                }
                if self.emptied {
                    self.forget_untold()?;
                } else {
                    self.must_break("the state was lost");
                }
            }
            self.new_era(prometheis);
            machine.oracle.back_to(0, &machine.fs);
            return self.begun(machine);
        };
        // Of equal ones the newest: what lies between them changed nothing.
        let Some(at) = self.recent.iter().rposition(|made| is_image(found, &made.cut.kept)) else {
            return Err("the state that is found again is that of no cut".to_string());
        };
        let made = &self.recent[at];
        let (cut, look) = (Arc::clone(&made.cut), made.look);
        let account = Rc::clone(&made.account);
        self.go_back_to(account, prometheis);
        if self.published.is_some_and(|published| cut.number < published) && !self.harmed {
            let published = self.published.unwrap_or_default();
            return Err(format!("cut {published} was published, and {} is found again", cut.number));
        }
        machine.oracle.back_to(look, &machine.fs);
        self.resumed(at, now, moved, machine, prometheis)?;
        self.begun(machine)
    }

    fn begun(&mut self, machine: &mut Machine) -> Result<(), String> {
        (self.published, self.published_for_scrape) = (None, None);
        self.harmed = false;
        self.find_lost(machine);
        Ok(())
    }

    /// The counters go on from a cut: as they were, or from what scrapers saw of them last.
    fn resumed(
        &mut self,
        at: usize,
        now: &Page,
        moved: bool,
        machine: &mut Machine,
        prometheis: &mut [&mut Prometheus],
    ) -> Result<(), String> {
        let cut = Arc::clone(&self.recent[at].cut);
        let number = cut.number;
        let before = super::agent::values(&cut.report.snapshot, Shown::ToPerson, &mut machine.oracle);
        let off: HashMap<SeriesId, u64> = before
            .iter()
            .map(|(series, before)| (*series, before.saturating_sub(now.get(series).copied().unwrap_or(0))))
            .collect();
        if now.iter().any(|(series, now)| before.get(series).is_none_or(|before| before < now)) {
            return Err(format!("cut {number} came back with larger values"));
        }
        let marked: Vec<Arc<Cut>> =
            self.recent.range(..=at).rev().map(|made| Arc::clone(&made.cut)).filter(|cut| cut.for_scrape).collect();
        // Nor did it keep an age that a former run began and died in.
        let older =
            self.published_for_scrape.is_some_and(|published| number < published) || self.account.age < self.ages;
        // What begins anew is without what scrapers saw.
        let goes_on = marked.first().is_some_and(|cut| {
            let shown = super::agent::values(&cut.report.snapshot, Shown::ToScraper, &mut machine.oracle);
            shown.values().any(|shown| *shown > 0)
        });
        if !moved && off.values().all(|off| *off == 0) && (!older || goes_on) {
            return Ok(());
        }
        let is_base = |cut: &Arc<Cut>, machine: &mut Machine| {
            let shown = super::agent::values(&cut.report.snapshot, Shown::ToScraper, &mut machine.oracle);
            off.iter().all(|(series, off)| shown.get(series).copied().unwrap_or(0) == *off)
        };
        if !(off.values().all(|off| *off == 0) || marked.iter().any(|cut| is_base(cut, machine))) {
            let newest = marked.first().map(|cut| {
                (cut.number, super::agent::values(&cut.report.snapshot, Shown::ToScraper, &mut machine.oracle))
            });
            let (last, shown) = newest.unwrap_or_default();
            let of = |page: &Page, series: &SeriesId| page.get(series).copied().unwrap_or(0);
            let differ = off.iter().filter(|(series, off)| of(&shown, series) != **off);
            let differ: Vec<String> = differ
                .map(|(series, off)| {
                    let (had, shown) = (of(&before, series), of(&shown, series));
                    format!("{}: of {had} {off} were taken off, {shown} were shown", machine.oracle.name(*series))
                })
                .collect();
            let differ = differ.join("; ");
            return Err(format!(
                "what was taken off the values of cut {number} is not what cut {last} showed: {differ}"
            ));
        }
        self.end_age(off, prometheis);
        Ok(())
    }

    /// The values mean what they meant at an earlier cut. Ages that began since were seen all the same.
    fn go_back_to(&mut self, account: Rc<Account>, prometheis: &mut [&mut Prometheus]) {
        let mut account = (*account).clone();
        for age in account.age + 1..=self.ages {
            for (settled, prometheus) in account.settled.iter_mut().zip(prometheis.iter()) {
                for series in prometheus.series() {
                    *settled.entry(series).or_default() += prometheus.last_in(age, series);
                }
            }
        }
        self.account = Rc::new(account);
    }

    /// The counters begin at 0 for scrapers, `off` being taken off them.
    fn end_age(&mut self, off: HashMap<SeriesId, u64>, prometheis: &mut [&mut Prometheus]) {
        let (mut account, mut untold) = ((*self.account).clone(), false);
        for (gaps, prometheus) in account.gaps.iter_mut().zip(prometheis) {
            // What was shown since a cut that is older than that is shown anew.
            let all: BTreeSet<SeriesId> = off.keys().copied().chain(prometheus.series()).collect();
            for series in all {
                let off = off.get(&series).copied().unwrap_or(0);
                let gap = off as i64 - prometheus.last_in(account.age, series) as i64;
                *gaps.entry(series).or_default() += gap;
                if gap < 0 {
                    untold = true;
                }
            }
        }
        if untold {
            self.must_break("counters began anew from less than was shown");
        }
        for (series, off) in off {
            *account.bases.entry(series).or_default() += off;
        }
        self.next_age(account);
    }

    /// The agent remembers nothing.
    fn new_era(&mut self, prometheis: &mut [&mut Prometheus]) {
        let mut account = (*self.account).clone();
        for (settled, prometheus) in account.settled.iter_mut().zip(prometheis) {
            for series in prometheus.series().collect::<Vec<_>>() {
                *settled.entry(series).or_default() += prometheus.last_in(account.age, series);
            }
            account.bases.iter().for_each(|(series, base)| *settled.entry(*series).or_default() += base);
        }
        account.bases.clear();
        self.stats.eras += u64::from(self.ages > 0);
        self.next_age(account);
    }

    fn next_age(&mut self, account: Account) {
        self.ages += 1;
        self.stats.ages = self.ages;
        self.account = Rc::new(Account { age: self.ages, ..account });
    }

    fn must_break(&mut self, why: &str) {
        self.must_break.push(Untold { why: why.to_string(), cuts: self.stats.cuts });
    }

    /// The state is gone without a trace, and with it the breaks that were counted in it. Those that a cut could have
    /// had must be in the last one, or have been told.
    fn forget_untold(&mut self) -> Result<(), String> {
        let untold = std::mem::take(&mut self.must_break);
        let counted = self.recent.back().is_some_and(|made| !made.cut.report.facts.breaks.is_empty());
        match untold.iter().find(|untold| untold.cuts + 1 < self.stats.cuts) {
            Some(Untold { why, .. }) if !counted && self.told.is_empty() => Err(format!("no break was counted: {why}")),
            _ => Ok(()),
        }
    }

    /// By which the Prometheis' samples are told apart.
    pub fn age(&self) -> u64 {
        self.account.age
    }

    /// Looks what cannot be read any more by anybody.
    pub fn find_lost(&mut self, machine: &mut Machine) {
        for part in machine.oracle.find_lost(&machine.fs) {
            let why = machine.oracle.parts[part].lost.unwrap_or(Loss::Unseen);
            *self.stats.lost.entry(why).or_default() += 1;
            if why == Loss::Known {
                self.must_break(&format!("lost: {}", machine.oracle.describe(part)));
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
        self.stats.breaks = std::mem::take(&mut self.told);
        for (reason, times) in breaks {
            let told = self.stats.breaks.entry(reason).or_default();
            *told = (*told).max(times);
        }
        for (at, prometheus) in prometheis.iter().enumerate() {
            let sum: u64 = prometheus.series().map(|series| prometheus.increase(series)).sum();
            self.stats.error += sum.abs_diff(self.stats.lines);
            self.stats.exact += u64::from(sum == self.stats.lines);
            self.stats.gaps += self.account.gaps[at].values().sum::<i64>();
            self.stats.unseen += prometheus.missed.values().sum::<u64>();
        }
        let all: Vec<SeriesId> = (0..machine.oracle.series_count()).collect();
        let off = |series: &SeriesId| {
            let has = values.get(series).copied().unwrap_or(0) + self.account.bases.get(series).copied().unwrap_or(0);
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
                self.check_sum(at, prometheus, *series, values)
                    .map_err(|why| format!("Prometheus {at}, {}: {why}", machine.oracle.name(*series)))?;
            }
        }
        self.check_breaks(machine.fs.vanished())
    }

    fn check_sum(&self, at: usize, prometheus: &Prometheus, series: SeriesId, values: &Page) -> Result<(), String> {
        let of = |map: &HashMap<SeriesId, u64>| map.get(&series).copied().unwrap_or(0) as i64;
        let (increase, unseen) = (prometheus.increase(series) as i64, of(&prometheus.missed));
        let gap = self.account.gaps[at].get(&series).copied().unwrap_or(0);
        let (settled, base, now) = (of(&self.account.settled[at]), of(&self.account.bases), of(values));
        if increase + unseen + gap == settled + base + now {
            return Ok(());
        }
        Err(format!(
            "added up {increase}, could not see {unseen} and {gap}; the counters showed {settled} + {base} + {now}"
        ))
    }

    /// What broke is told, and nothing else.
    fn check_breaks(&self, vanished: u64) -> Result<(), String> {
        if self.stats.breaks.is_empty() {
            return match self.must_break.first() {
                Some(Untold { why, .. }) => Err(format!("no break was counted: {why}")),
                None => Ok(()),
            };
        }
        let may_break = |reason: &str| match reason {
            // It cannot be known whether there was more in a file.
            "vanished" => vanished > 0,
            "volatile" => self.may_break,
            _ => self.may_break || !self.stats.lost.is_empty(),
        };
        match self.stats.breaks.keys().find(|reason| !may_break(reason)) {
            Some(reason) => Err(format!("nothing was lost, and a break was counted: {reason}")),
            None => Ok(()),
        }
    }
}

/// Whether a state is that of a cut, as far as it is not series.
fn is_image(found: &Entries, kept: &Entries) -> bool {
    const SERIES: [Table; 5] = [Table::LABEL_NAMES, Table::GROUPS, Table::SERIES, Table::VALUES, Table::BIRTHS];
    let rest = |entries: &Entries| entries.iter().filter(|(slot, _)| !SERIES.contains(&slot.table)).count();
    rest(found) == rest(kept) && kept.iter().all(|(slot, value)| found.get(slot) == Some(value))
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
