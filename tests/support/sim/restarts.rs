//! What the values of the counters mean after a restart of the agent, given what it found again.

use super::agent::{Found, Page, values};
use super::judge::{Judge, Sent};
use super::node::Machine;
use super::oracle::SeriesId;
use super::prometheus::Prometheus;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use weir::app::Cut;
use weir::keep::{Entries, Table};
use weir::metrics::Shown;

/// What the values of the counters mean.
#[derive(Clone, Default)]
pub(super) struct Account {
    pub(super) age: u64,
    /// What was taken off them in the present era.
    pub(super) bases: HashMap<SeriesId, u64>,
    /// Per Prometheus and series: what it could not see of ages that ended, and what eras that ended were to it.
    pub(super) gaps: [HashMap<SeriesId, i64>; 2],
    pub(super) settled: [HashMap<SeriesId, u64>; 2],
}

impl Judge {
    /// A run of the agent began, with these values.
    pub fn started(
        &mut self,
        found: Option<&Found>,
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
                    let counted = self.recent.back().map_or(&[][..], |made| &made.cut.report.facts.breaks);
                    self.breaks.forget(self.stats.cuts, counted)?;
                } else {
                    self.breaks.must("the state was lost", self.stats.cuts);
                }
            }
            self.new_era(prometheis);
            machine.oracle.back_to(0, &machine.fs);
            return self.begun(machine);
        };
        // Of equal ones the newest: what lies between them changed nothing.
        let Some(at) = self.recent.iter().rposition(|made| is_image(&found.entries, &made.cut.kept)) else {
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
        self.resumed(at, now, found.goes_on, moved, machine, prometheis)?;
        self.begun(machine)
    }

    fn begun(&mut self, machine: &mut Machine) -> Result<(), String> {
        (self.published, self.published_for_scrape, self.volatile) = (None, None, None);
        self.harmed = false;
        self.find_lost(machine);
        Ok(())
    }

    /// The counters go on from a cut: as they were, or from what scrapers saw of them last.
    fn resumed(
        &mut self,
        at: usize,
        now: &Page,
        goes_on: bool,
        moved: bool,
        machine: &mut Machine,
        prometheis: &mut [&mut Prometheus],
    ) -> Result<(), String> {
        let cut = Arc::clone(&self.recent[at].cut);
        let number = cut.number;
        let before = values(&cut.report.snapshot, Shown::ToPerson, &mut machine.oracle);
        let off: HashMap<SeriesId, u64> = before
            .iter()
            .map(|(series, before)| (*series, before.saturating_sub(now.get(series).copied().unwrap_or(0))))
            .collect();
        if now.iter().any(|(series, now)| before.get(series).is_none_or(|before| before < now)) {
            return Err(format!("cut {number} came back with larger values"));
        }
        let marked: Vec<Arc<Cut>> =
            self.recent.range(..=at).rev().map(|made| Arc::clone(&made.cut)).filter(|cut| cut.for_scrape).collect();
        if goes_on {
            // Whether that is right the next page shows: then nothing has gone back.
            if moved {
                return Err("counters went on under other labels".to_string());
            }
            if let Some((series, off)) = off.iter().find(|(_, off)| **off > 0) {
                return Err(format!("{} went on with {off} less", machine.oracle.name(*series)));
            }
            let volatile = self.sent.get(&self.account.age).and_then(|sent| sent.volatile);
            if volatile.is_some_and(|shown| number < shown) {
                self.take_back(before.into_keys().collect(), prometheis);
            }
            return Ok(());
        }
        let is_base = |cut: &Arc<Cut>, machine: &mut Machine| {
            let shown = values(&cut.report.snapshot, Shown::ToScraper, &mut machine.oracle);
            off.iter().all(|(series, off)| shown.get(series).copied().unwrap_or(0) == *off)
        };
        if !(off.values().all(|off| *off == 0) || marked.iter().any(|cut| is_base(cut, machine))) {
            let newest = marked
                .first()
                .map(|cut| (cut.number, values(&cut.report.snapshot, Shown::ToScraper, &mut machine.oracle)));
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

    /// Scrapers were shown what no disk held, and these series go on from less: that ends an age, too, but not their holds.
    fn take_back(&mut self, series: HashSet<SeriesId>, prometheis: &mut [&mut Prometheus]) {
        let age = self.account.age;
        self.end_age(HashMap::new(), prometheis);
        let Some(before) = self.sent.get(&age) else { return };
        let of = |map: &HashMap<SeriesId, u64>| {
            series.iter().filter_map(|series| Some((*series, *map.get(series)?))).collect::<HashMap<_, _>>()
        };
        let (first_ms, held_until_ms) = (of(&before.first_ms), of(&before.held_until_ms));
        let sent = Sent { first_ms, held_until_ms, taken_back: series, ..Sent::default() };
        self.sent.insert(self.account.age, sent);
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
            self.breaks.must("counters began anew from less than was shown", self.stats.cuts);
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
}

/// Whether a state is that of a cut, as far as it is not series.
fn is_image(found: &Entries, kept: &Entries) -> bool {
    const SERIES: [Table; 5] = [Table::LABEL_NAMES, Table::GROUPS, Table::SERIES, Table::VALUES, Table::BIRTHS];
    let rest = |entries: &Entries| entries.iter().filter(|(slot, _)| !SERIES.contains(&slot.table)).count();
    rest(found) == rest(kept) && kept.iter().all(|(slot, value)| found.get(slot) == Some(value))
}
