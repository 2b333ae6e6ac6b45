//! The judge: what must hold after every step of a day, and at its end (reliability.md §8.2).
//!
//! An **age** of the counters is the time in which they only grow for scrapers: it ends where they begin at 0 again,
//! with other target labels or after a loss. An **era** is the time in which the agent remembers what it read: it ends
//! only where its state was lost, and then what can still be read is read again.

use super::agent::Page;
use super::breaks::Breaks;
use super::node::Machine;
use super::oracle::{Loss, SeriesId};
use super::prometheus::Prometheus;
use super::restarts::Account;
use super::stats::Stats;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use weir::app::{Cut, Verdict};

/// An agent that runs has read what stands in a file within this time.
const READ_WITHIN_MS: u64 = 8_000;
/// Cuts that are remembered whole.
const CUTS_KEPT: usize = 256;

pub struct Judge {
    pub(super) plain: bool,
    /// The target labels.
    pub identity: u32,
    /// What the present values mean; it is remembered with each cut, for a crash may go back to one.
    pub(super) account: Rc<Account>,
    pub(super) ages: u64,
    pub(super) recent: VecDeque<Made>,
    /// The latest cut on the disk that somebody was told of, and the latest one that a scraper was.
    pub(super) published: Option<u64>,
    pub(super) published_for_scrape: Option<u64>,
    /// The latest cut of this run that scrapers are shown though no disk holds it.
    pub(super) volatile: Option<u64>,
    /// The state directory may not hold what was published.
    pub(super) harmed: bool,
    /// What scrapers were sent, by age.
    pub(super) sent: HashMap<u64, Sent>,
    /// The state directory was emptied, and nothing has reached the disk for certain since: an agent that ends now leaves
    /// nothing that could tell of it.
    pub(super) emptied: bool,
    pub(super) breaks: Breaks,
    pub stats: Stats,
}

/// A cut that was made.
pub(super) struct Made {
    pub(super) cut: Arc<Cut>,
    /// The look that it shows.
    pub(super) look: u64,
    pub(super) account: Rc<Account>,
}

/// When each series was first sent to a scraper, and what was sent last.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) first_ms: HashMap<SeriesId, u64>,
    /// With the shortest hold that was in force at a request since: that is when it may be shown.
    pub(super) held_until_ms: HashMap<SeriesId, u64>,
    pub(super) last: HashMap<SeriesId, u64>,
    /// The last cut of these that no disk held.
    pub(super) volatile: Option<u64>,
    /// They began in an earlier age, and go on from less than was shown.
    pub(super) taken_back: HashSet<SeriesId>,
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
            volatile: None,
            harmed: false,
            sent: HashMap::new(),
            emptied: false,
            breaks: Breaks::default(),
            stats: Stats { days: 1, eras: 1, ..Stats::default() },
        }
    }

    /// The agent looked at its files: what it can read it has read.
    pub fn looked(&mut self, machine: &mut Machine, started_ms: u64) -> Result<(), String> {
        machine.oracle.looked(&machine.fs);
        machine.fs.forget_closed(machine.oracle.looks);
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

    /// `durable`: the disk holds what is shown.
    pub fn committed(&mut self, cut: &Arc<Cut>, verdict: &Verdict, durable: bool) {
        if verdict.broken.is_some() {
            self.breaks.may();
        }
        if !verdict.publish {
            return;
        }
        if durable {
            self.published = Some(cut.number);
        }
        match (durable, cut.for_scrape) {
            (true, true) => (self.published_for_scrape, self.emptied) = (Some(cut.number), false),
            (false, true) => self.volatile = Some(cut.number),
            (_, false) => {}
        }
    }

    pub fn state_was_harmed(&mut self) {
        self.harmed = true;
        self.breaks.may();
    }

    pub fn state_was_emptied(&mut self) {
        self.state_was_harmed();
        self.emptied = true;
    }

    /// What was not synced may be gone: only what a scraper may see is synced.
    pub fn power_lost(&mut self) {
        self.published = self.published_for_scrape;
        self.breaks.may();
    }

    /// A page is sent to a scraper.
    pub fn page(&mut self, cut: &Cut, page: &Page, hold: Duration, machine: &Machine) -> Result<(), String> {
        self.stats.pages += 1;
        let now = machine.clock.elapsed_ms();
        let name = |series: &SeriesId| machine.oracle.name(*series);
        if self.plain {
            return Ok(());
        }
        let told = cut.report.facts.breaks.iter().any(|(reason, _)| reason == "volatile");
        if self.volatile == Some(cut.number) && !told {
            return Err(format!("cut {} is on no disk, and does not say so", cut.number));
        }
        let sent = self.sent.entry(self.account.age).or_default();
        if self.volatile == Some(cut.number) {
            sent.volatile = self.volatile;
        }
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
        self.breaks.tell(&cut.report.facts.breaks);
        for (series, value) in std::mem::take(&mut prometheus.late) {
            let sent = self.sent.get(&self.account.age);
            if sent.is_some_and(|sent| sent.taken_back.contains(&series)) {
                continue;
            }
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
                self.breaks.must(&format!("lost: {}", machine.oracle.describe(part)), self.stats.cuts);
            }
        }
    }

    /// The end of the day, after a while in which all was well.
    pub fn finish(
        &mut self,
        values: &Page,
        breaks: &[(String, u64)],
        machine: &mut Machine,
        prometheis: &[&Prometheus],
    ) -> Result<(), String> {
        let expected = machine.oracle.expected();
        self.stats.lines = machine.oracle.lines();
        self.stats.counted = expected.values().sum();
        self.stats.rotations = machine.kubelet.rotations;
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
        self.breaks.tell(breaks);
        let (lost, vanished) = (!self.stats.lost.is_empty(), machine.fs.vanished() > 0);
        self.stats.breaks = std::mem::take(&mut self.breaks).check(lost, vanished)?;
        Ok(())
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
}
