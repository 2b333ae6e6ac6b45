//! The shipped configurations, run in this process over a tree of logs.

use super::exposition::{Family, Sample, parse_open_metrics, parse_text};
use super::truth::Counts;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use weir::app::Engine;
use weir::cli::load::load_text;
use weir::clock::ManualClock;
use weir::config::Config;
use weir::ledger::JobBooks;
use weir::metrics::{FamilyStats, Format, Own, Shown, Snapshot, encode};

pub const KUBERNETES: &str = include_str!("../../config/kubernetes.yaml");
pub const HOME_K8S: &str = include_str!("../../config/promtail-home-k8s.yaml");
pub const QUICKSTART: &str = include_str!("../../config/quickstart.yaml");

/// A configuration with its variables expanded from `variables`; panics with all that is wrong with it.
pub fn config(text: &str, variables: &[(&str, &str)]) -> Config {
    let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    let loaded = load_text(text, Some(&variable));
    assert_eq!(loaded.errors(), 0, "{}", loaded.report("config"));
    loaded.config.expect("a configuration without errors")
}

/// A configuration over a kubelet's tree, with a database.
pub fn over(text: &str, root: &Path, database: &Path) -> Config {
    let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    config(text, &[("WEIR_LOG_ROOT", &path(root)), ("WEIR_GEOIP_DB", &path(database))])
}

/// An engine whose clock stands still.
pub fn engine(config: &Config) -> Engine {
    let engine = Engine::new(config, Arc::new(ManualClock::at(1_795_228_200_000_000_000)));
    engine.check_geoip();
    engine
}

/// Everything that the targets of a configuration hold, read once to the end.
pub fn one_shot(config: &Config) -> Outcome {
    let mut engine = engine(config);
    engine.run_to_end(&mut |_| {});
    engine.finish();
    Outcome::of(&mut engine)
}

/// What a run left behind.
pub struct Outcome {
    pub families: Vec<Family>,
    pub books: Vec<JobBooks>,
    pub stats: Vec<FamilyStats>,
    /// Lines of the page with the agent's own metrics that know the log-derived ones.
    pub exposed: usize,
}

impl Outcome {
    /// Reads both expositions strictly; panics when one is not valid, or when the books do not balance.
    pub fn of(engine: &mut Engine) -> Outcome {
        let snapshot = engine.snapshot();
        let books = engine.books();
        for books in &books {
            assert!(books.balanced(), "{books}");
        }
        let families = parse(&snapshot);
        Outcome { families, books, stats: snapshot.stats(), exposed: exposed(&snapshot) }
    }

    pub fn family(&self, name: &str) -> &Family {
        self.families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("no metric {name}"))
    }

    /// The samples of this name; none where the metric has no series yet.
    pub fn samples<'o>(&'o self, name: &'o str) -> impl Iterator<Item = &'o Sample> {
        self.families.iter().flat_map(|family| &family.samples).filter(move |sample| sample.name == name)
    }

    /// The sum over all series.
    pub fn sum(&self, name: &str) -> f64 {
        self.samples(name).map(|sample| sample.value).sum()
    }

    /// Sums by the value of a label.
    pub fn by(&self, name: &str, label: &str) -> Counts {
        self.by_where(name, label, |_| true)
    }

    /// Sums by the value of a label over some of the series.
    pub fn by_where(&self, name: &str, label: &str, wanted: impl Fn(&Sample) -> bool) -> Counts {
        let mut counts = Counts::new();
        for sample in self.samples(name).filter(|sample| wanted(sample)) {
            *counts.entry(label_of(sample, label).to_owned()).or_insert(0) += whole(sample.value);
        }
        counts
    }

    /// How many updates of a metric were counted under `__other__`.
    pub fn limited(&self, name: &str) -> u64 {
        self.stats.iter().filter(|stats| stats.name == name).map(|stats| stats.limited).sum()
    }

    pub fn job(&self, name: &str) -> &JobBooks {
        self.books.iter().find(|books| books.job == name).unwrap_or_else(|| panic!("no job {name}"))
    }
}

pub fn label_of<'s>(sample: &'s Sample, label: &str) -> &'s str {
    sample.labels.iter().find(|(name, _)| name == label).map_or("", |(_, value)| value)
}

/// A count; panics where it is none.
pub fn whole(value: f64) -> u64 {
    assert!(value >= 0.0 && value.fract() == 0.0 && value < 9e15, "{value} is no count");
    value as u64
}

/// The text exposition, after both were read strictly and found to say the same.
pub fn parse(snapshot: &Snapshot) -> Vec<Family> {
    let text = page(Format::Text004, snapshot, None);
    let open = page(Format::OpenMetrics100, snapshot, None);
    let families = parse_text(&text).unwrap_or_else(|error| panic!("text: {error}"));
    let same = parse_open_metrics(&open).unwrap_or_else(|error| panic!("OpenMetrics: {error}"));
    assert_eq!(values(&families), values(&same), "the two formats differ");
    families
}

/// Labels without those that are empty, and the value: what both formats must agree on but for names and `le`.
fn values(families: &[Family]) -> BTreeMap<String, f64> {
    let samples = families.iter().flat_map(|family| &family.samples);
    let labels = |sample: &Sample| {
        let plain = |(name, value): &(String, String)| match name.as_str() {
            "le" => format!("le={:?}", value.trim_end_matches(".0")),
            _ => format!("{name}={value:?}"),
        };
        sample.labels.iter().map(plain).collect::<Vec<_>>().join(",")
    };
    samples
        .map(|sample| (format!("{} {}", sample.name.trim_end_matches("_total"), labels(sample)), sample.value))
        .collect()
}

fn page(format: Format, snapshot: &Snapshot, own: Option<&Own>) -> Vec<u8> {
    let mut out = Vec::new();
    let own = own.map(Own::gather).unwrap_or_default();
    encode(format, snapshot, &own, &mut out, Shown::ToPerson).expect("a page");
    out
}

fn exposed(snapshot: &Snapshot) -> usize {
    let own = Own::new("0");
    own.record_series(snapshot);
    let page = page(Format::Text004, snapshot, Some(&own));
    parse_text(&page).expect("a page with the agent's own metrics");
    page.split(|b| *b == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').count()
}
