//! Breaks: what a break must tell of, what it may, and what was told. A break counts occasions, not lines: a file that is
//! gone is one, whatever was in it. So what is compared is whether one was counted where lines or counters were lost, and
//! none where nothing was; how many lines that were, the oracle knows.

use std::collections::BTreeMap;

#[derive(Default)]
pub struct Breaks {
    must: Vec<Untold>,
    /// Something happened that an agent may take for a break.
    may: bool,
    /// What a scraper was told of, the highest number of each reason.
    told: BTreeMap<String, u64>,
}

struct Untold {
    why: String,
    /// Cuts that were made before.
    cuts: u64,
}

impl Breaks {
    /// Something happened of which a break must tell; `cuts` were made until now.
    pub fn must(&mut self, why: &str, cuts: u64) {
        self.must.push(Untold { why: why.to_string(), cuts });
    }

    /// Something happened of which one may tell.
    pub fn may(&mut self) {
        self.may = true;
    }

    /// A scraper gets a page with these.
    pub fn tell<'b>(&mut self, breaks: impl IntoIterator<Item = &'b (String, u64)>) {
        for (reason, times) in breaks {
            let told = self.told.entry(reason.clone()).or_default();
            *told = (*told).max(*times);
        }
    }

    /// The state is gone without a trace, and with it the breaks that were counted in it. Those that one of `cuts` could
    /// have had must be in the last one, whose breaks are `counted`, or have been told.
    pub fn forget(&mut self, cuts: u64, counted: &[(String, u64)]) -> Result<(), String> {
        let must = std::mem::take(&mut self.must);
        match must.iter().find(|untold| untold.cuts + 1 < cuts) {
            Some(Untold { why, .. }) if counted.is_empty() && self.told.is_empty() => {
                Err(format!("no break was counted: {why}"))
            }
            _ => Ok(()),
        }
    }

    /// All that were told. `lost`: parts of lines were; `vanished`: files went behind the agent's back.
    pub fn check(self, lost: bool, vanished: bool) -> Result<BTreeMap<String, u64>, String> {
        if self.told.is_empty() {
            return match self.must.first() {
                Some(Untold { why, .. }) => Err(format!("no break was counted: {why}")),
                None => Ok(self.told),
            };
        }
        let may_be = |reason: &str| match reason {
            // It cannot be known whether there was more in a file.
            "vanished" => vanished,
            "volatile" => self.may,
            _ => self.may || lost,
        };
        match self.told.keys().find(|reason| !may_be(reason)) {
            Some(reason) => Err(format!("nothing was lost, and a break was counted: {reason}")),
            None => Ok(self.told),
        }
    }
}
