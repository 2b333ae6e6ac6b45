//! What scrapers add up is what happened, whatever happens to the store and to them.

use super::kept_tests::Slots;
use super::*;
use crate::keep::{Slot, Table};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// Every scraper comes at least once in it.
const HOLD: u64 = 10;
const STEP_MAX: u64 = 3;

type Page = BTreeMap<String, u64>;

/// Prometheus, of one target.
#[derive(Default)]
struct Scraper {
    last: Page,
    added: BTreeMap<String, u64>,
    came: u64,
}

impl Scraper {
    fn sees(&mut self, page: &Page, now: u64) {
        self.came = now;
        for (series, value) in page {
            // A series seen for the first time adds nothing; one that went down began anew.
            let add = match self.last.insert(series.clone(), *value) {
                None => 0,
                Some(last) if *value >= last => value - last,
                Some(_) => *value,
            };
            *self.added.entry(series.split('{').next().unwrap().to_string()).or_default() += add;
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Count {
        job: usize,
        label: u8,
        by: u8,
    },
    /// So many that it proves heavy.
    Burst {
        job: usize,
        label: u8,
    },
    Wait(u64),
    Scrape {
        who: usize,
        fails: bool,
    },
    /// A scraper gets what was published last.
    Again {
        who: usize,
    },
    Cut,
    Reload(usize),
    Crash {
        down: u64,
        boot: bool,
        config: usize,
    },
    /// After a last page for both; some counts and a cut may follow it.
    Rebase {
        counts: u8,
        reload: bool,
        config: usize,
        new_target: bool,
    },
    StandStill(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..2usize, 0..6u8, 1..4u8).prop_map(|(job, label, by)| Step::Count { job, label, by }),
        1 => (0..2usize, 0..6u8).prop_map(|(job, label)| Step::Burst { job, label }),
        8 => (1..=STEP_MAX).prop_map(Step::Wait),
        4 => (0..2usize, any::<bool>()).prop_map(|(who, fails)| Step::Scrape { who, fails }),
        2 => (0..2usize).prop_map(|who| Step::Again { who }),
        3 => Just(Step::Cut),
        1 => (0..CONFIGS).prop_map(Step::Reload),
        1 => (0..60u64, any::<bool>(), 0..CONFIGS).prop_map(|(down, boot, config)| Step::Crash { down, boot, config }),
        1 => (0..4u8, any::<bool>(), 0..CONFIGS, any::<bool>())
            .prop_map(|(counts, reload, config, new_target)| Step::Rebase { counts, reload, config, new_target }),
        1 => (0..60u64).prop_map(Step::StandStill),
    ]
}

const CONFIGS: usize = 3;

/// Two jobs that count the same metrics; the configurations differ in order, names and caps.
fn compile(config: usize) -> (Store, [GroupId; 2], LabelName) {
    let mut store = Store::new();
    store.set_hold(Duration::from_secs(HOLD));
    for n in 0..config {
        store.label_name(&format!("unused{n}"));
    }
    let mut define = |name: &str, kind, idle: u64| {
        let max_idle = Some(Duration::from_secs(idle));
        store.define(Family { name: name.into(), help: String::new(), kind, max_idle }).unwrap()
    };
    let (c, h) = (define("c", Kind::Counter, 5), define("h", Kind::histogram(&[1.0]), 12));
    let limit = || Limit { series_max: [100, 100, 2][config], ..Limit::default() };
    let groups = match config {
        0 => [store.group(&[c, h], limit()), store.group(&[c, h], limit())],
        _ => {
            let second = store.group(&[h, c], limit());
            [store.group(&[h, c], limit()), second]
        }
    };
    let name = store.label_name("l");
    (store, groups, name)
}

struct World {
    config: usize,
    store: Store,
    groups: [GroupId; 2],
    name: LabelName,
    now: u64,
    counted: BTreeMap<&'static str, u64>,
    /// Since the last cut: lines that are read again after a crash.
    uncut: Vec<(usize, u8, u8)>,
    image: Option<Snapshot>,
    kept: Slots,
    /// What was kept when a scraper was last sent a cut.
    marked: Slots,
    /// What the last scraper saw.
    page: Page,
    scrapers: [Scraper; 2],
}

impl World {
    fn new() -> World {
        let (store, groups, name) = compile(0);
        World {
            config: 0,
            store,
            groups,
            name,
            now: 1000,
            counted: BTreeMap::new(),
            uncut: Vec::new(),
            image: None,
            kept: Slots::default(),
            marked: Slots::default(),
            page: Page::new(),
            scrapers: [Scraper { came: 1000, ..Scraper::default() }, Scraper { came: 1000, ..Scraper::default() }],
        }
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.now)
    }

    fn count(&mut self, job: usize, label: u8, by: u8) {
        self.uncut.push((job, label, by));
        let at = |family: usize| if self.config == 0 { family } else { 1 - family };
        let mut key = LabelKey::new();
        key.push(self.name, &[b'a' + label]);
        let row = self.store.row(self.groups[job], &mut key, self.now as Seconds);
        let mut cells = self.store.cells(self.groups[job], row);
        cells.add(at(0), f64::from(by)).unwrap();
        if by == 2 {
            cells.observe(at(1), f64::from(label)).unwrap();
        }
    }

    /// Makes a cut, keeps the difference, and publishes it.
    fn cut(&mut self, for_scrape: bool) {
        let image = self.store.cut(for_scrape, self.time());
        image.changes_since(self.image.as_ref(), &mut self.kept);
        let mut whole = Slots::of(&image);
        let number = Slot { table: Table::BIRTHS, index: 0 };
        whole.0.remove(&number);
        let mut kept = self.kept.clone();
        kept.0.remove(&number);
        assert_eq!(kept, whole, "differences make the whole");
        self.uncut.clear();
        self.image = Some(image);
        if for_scrape {
            self.marked = self.kept.clone();
        }
    }

    /// A scraper is sent what was published last; whether it arrives or not.
    fn serve(&mut self, who: usize, fails: bool) {
        let Some(image) = &self.image else { return };
        self.store.served(image.number(), Duration::from_secs(self.now));
        self.marked = self.kept.clone();
        let samples = image.samples(Shown::ToScraper);
        let page: Page = samples
            .filter(|sample| !sample.name.ends_with("_sum"))
            .map(|sample| (format!("{}{}", sample.name, sample.labels), sample.value.as_f64() as u64))
            .collect();
        for (series, value) in &page {
            // To 0, when it was forgotten in between and is held.
            let is_fine = self.page.get(series).is_none_or(|last| last <= value || *value == 0);
            assert!(is_fine, "{series} went down to {value}");
        }
        if !fails {
            self.scrapers[who].sees(&page, self.now);
        }
        self.page = page;
    }

    fn scrape(&mut self, who: usize, fails: bool) {
        self.cut(true);
        self.serve(who, fails);
    }

    /// Each scraper comes in time.
    fn wait(&mut self, seconds: u64) {
        self.now += seconds;
        for who in 0..2 {
            if self.now + STEP_MAX >= self.scrapers[who].came + HOLD {
                self.scrape(who, false);
            }
        }
    }

    fn reload(&mut self, config: usize) {
        let old = std::mem::take(&mut self.store);
        (self.store, self.groups, self.name) = compile(config);
        self.config = config;
        self.store.adopt(&old);
    }

    fn restart(&mut self, config: usize, how: Restore) {
        let (before, kept) = (self.kept.before(&self.marked), std::mem::take(&mut self.kept));
        (self.store, self.groups, self.name) = compile(config);
        self.config = config;
        let restored = self.store.restore(&kept.entries(), &before, how, self.time());
        assert_eq!((restored.damaged, restored.dropped, restored.changed), (0, 0, 0));
        self.image = None;
        let again = std::mem::take(&mut self.uncut);
        again.into_iter().for_each(|(job, label, by)| self.count(job, label, by));
        self.cut(false);
        let now = self.now;
        self.scrapers.iter_mut().for_each(|scraper| scraper.came = now);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Count { job, label, by } => {
                self.count(job, label, by);
                *self.counted.entry("c").or_default() += u64::from(by);
                *self.counted.entry("h_count").or_default() += u64::from(by == 2);
            }
            Step::Burst { job, label } => {
                (0..130).for_each(|_| self.step(Step::Count { job, label, by: 1 }));
            }
            Step::Wait(seconds) => self.wait(seconds),
            Step::Scrape { who, fails } => self.scrape(who, fails),
            Step::Again { who } => self.serve(who, false),
            Step::Cut => self.cut(false),
            Step::Reload(config) => self.reload(config),
            Step::Crash { down, boot, config } => {
                self.now = if boot { 3 } else { self.now + down };
                self.restart(config, Restore::Continue);
            }
            Step::Rebase { counts, reload, config, new_target } => {
                self.scrape(0, false);
                self.serve(1, false);
                for n in 0..counts {
                    self.step(Step::Count { job: 0, label: n, by: 2 });
                    if reload {
                        self.reload((self.config + 1) % CONFIGS);
                    }
                    if n % 2 == 0 {
                        self.cut(false);
                    }
                }
                self.now += 40;
                self.restart(config, Restore::Rebase);
                self.page.clear();
                if new_target {
                    self.scrapers.iter_mut().for_each(|scraper| scraper.last.clear());
                }
            }
            Step::StandStill(seconds) => {
                self.now += seconds;
                self.store.stood_still();
                let now = self.now;
                self.scrapers.iter_mut().for_each(|scraper| scraper.came = now);
            }
        }
    }
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("WEIR_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { max_shrink_iters: 100_000, ..ProptestConfig::with_cases(cases.unwrap_or(150)) }
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn every_scraper_that_comes_once_per_hold_adds_up_what_was_counted(
        steps in proptest::collection::vec(steps(), 1..120),
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        for _ in 0..3 * HOLD {
            world.wait(1);
        }
        for scraper in &world.scrapers {
            for (family, counted) in &world.counted {
                prop_assert_eq!(scraper.added.get(*family).copied().unwrap_or(0), *counted, "{}", family);
            }
        }
    }
}
