//! An engine in memory that stops and starts: what it keeps of its sources, and what of that comes back.

use super::*;
use crate::app::Engine;
use crate::clock::ManualClock;
use crate::config::{self, Config};
use crate::diagnostic::Diagnostics;
use crate::geoip::GeoIpSet;
use crate::source::MemFs;
use proptest::prelude::*;
use std::time::Duration;

const POD: &str = "/pods/shop_web-1_11111111-1111-4111-8111-111111111111";

/// Counts lines by pod and file, in jobs of these names.
fn pods(jobs: &[&str]) -> Config {
    let job = |name: &&str| {
        format!(
            "- job_name: {name}
  pod_directory_sd_configs: [{{root: /pods}}]
  relabel_configs: [{{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}]
  pipeline_stages:
  - metrics: {{lines_{name}: {{type: Counter, labels: {{pod: }}, config: {{match_all: true, action: inc}}}}}}
"
        )
    };
    let text = format!("scrape_configs:\n{}", jobs.iter().map(job).collect::<String>());
    let mut diagnostics = Diagnostics::new();
    config::read(&text, &mut diagnostics).unwrap_or_else(|| panic!("{:?}", diagnostics.sorted()))
}

struct Node {
    fs: MemFs,
    clock: Arc<ManualClock>,
    engine: Engine,
    /// Lines that former runs counted.
    counted: u64,
}

impl Node {
    fn new(config: &Config) -> Node {
        let (fs, clock) = (MemFs::default(), Arc::new(ManualClock::at(1_000_000_000_000)));
        let engine = engine(&fs, &clock, config);
        Node { fs, clock, engine, counted: 0 }
    }

    fn log(&self) -> String {
        format!("{POD}/app/0.log")
    }

    fn pass(&mut self) {
        self.clock.advance(Duration::from_secs(3));
        self.engine.refresh();
        self.turns();
    }

    fn turns(&mut self) {
        while self.engine.turn().more {}
    }

    fn kept(&self) -> Entries {
        let mut entries = Entries::default();
        self.engine.reader.keep(&mut entries);
        entries
    }

    /// Stops, and goes on with what was kept.
    fn restart(&mut self, config: &Config, entries: &Entries) -> Rebound {
        self.counted = self.lines();
        self.engine = engine(&self.fs, &self.clock, config);
        let (reader, mut turning) = self.engine.parts();
        reader.restore(entries, false, &mut turning)
    }

    /// Lines that all runs counted, all jobs together.
    fn lines(&self) -> u64 {
        self.counted + self.engine.books().iter().map(|books| books.read).sum::<u64>()
    }

    fn breaks(&self) -> Vec<(&'static str, u64)> {
        self.engine.reader.breaks.iter().map(|(reason, times)| (*reason, *times)).collect()
    }
}

fn engine(fs: &MemFs, clock: &Arc<ManualClock>, config: &Config) -> Engine {
    Engine::over(Arc::new(fs.clone()), Arc::new(fs.clone()), config, clock.clone(), GeoIpSet::default())
}

#[test]
fn sources_go_on_before_discovery_has_looked() {
    let config = pods(&["a", "b"]);
    let mut node = Node::new(&config);
    node.fs.append(node.log(), "1\n2\n");
    node.fs.append(format!("{POD}/other/0.log"), "1\n");
    node.pass();
    assert_eq!(node.lines(), 6);
    let kept = node.kept();
    assert_eq!((kept.table(Table::SOURCES).count(), kept.table(Table::CURSORS).count()), (2, 2));
    node.fs.append(node.log(), "3\n");
    let rebound = node.restart(&config, &kept);
    assert_eq!(rebound.damaged, 0);
    node.turns();
    assert_eq!(node.lines(), 8);
    assert_eq!(node.kept().table(Table::SOURCES).count(), 2);
    // Discovery finds them again, and nothing changes.
    node.pass();
    assert_eq!(node.lines(), 8);
    let samples: Vec<String> = node
        .engine
        .snapshot()
        .samples(crate::metrics::Shown::ToPerson)
        .map(|sample| format!("{:?}", sample.labels))
        .collect();
    assert!(!samples.is_empty() && samples.iter().all(|labels| labels.contains("web-1")), "{samples:?}");
    // Nothing that is kept depends on whether they came back or were found.
    let mut found = Node::new(&config);
    found.fs = node.fs.clone();
    found.engine = engine(&node.fs, &node.clock, &config);
    found.pass();
    let known = |entries: &Entries| -> Vec<(u64, Vec<u8>)> {
        entries.table(Table::SOURCES).map(|(index, bytes)| (index, bytes.to_vec())).collect()
    };
    assert_eq!(known(&found.kept()), known(&node.kept()));
}

#[test]
fn what_is_left_of_a_pod_that_is_gone_is_read_and_the_rest_is_told() {
    let config = pods(&["a"]);
    for (left, lines, breaks) in [(true, 3, vec![]), (false, 2, vec![("vanished", 1)])] {
        let mut node = Node::new(&config);
        node.fs.append(node.log(), "1\n2\n");
        node.pass();
        let kept = node.kept();
        node.fs.append(node.log(), "3\n");
        match left {
            // No current file, and a name that discovery knows nothing of.
            true => {
                node.fs.rename(node.log(), format!("{POD}/app/0.log.20261121-022602"));
                node.fs.compress(format!("{POD}/app/0.log.20261121-022602"));
            }
            false => node.fs.remove_all(POD),
        }
        node.restart(&config, &kept);
        node.pass();
        assert_eq!((node.lines(), node.breaks()), (lines, breaks));
        for _ in 0..5 {
            node.pass();
        }
        assert_eq!(node.engine.reader.is_empty(), !left);
        assert_eq!(node.kept().is_empty(), !left);
    }
}

#[test]
fn bindings_are_found_by_their_old_numbers_and_jobs_by_their_names() {
    let config = pods(&["a", "b"]);
    let mut node = Node::new(&config);
    for pod in 0..3 {
        node.fs.append(format!("{POD}/{pod}/0.log"), "x\n");
    }
    node.pass();
    let old: Vec<(String, u32)> = bindings(&node, 1);
    let kept = node.kept();
    // The jobs change places, and one is new.
    let changed = pods(&["b", "c", "a"]);
    let rebound = node.restart(&changed, &kept);
    let new = bindings(&node, 0);
    assert_eq!(new.len(), 3);
    for (path, number) in &old {
        let now = rebound.binding(0, *number).map(BindingId::number);
        assert!(now.is_some() && new.contains(&(path.clone(), now.unwrap_or_default())), "{path}");
    }
    assert_eq!(rebound.binding(1, 0), None);
    assert_eq!(rebound.binding(0, 99), None);
    node.pass();
    // Only the new job reads what was there, and only from now on.
    assert_eq!(node.lines(), 6);
    // A job that is gone takes its feeds with it, and no line is read for nobody.
    let mut node = Node::new(&config);
    node.fs.append(node.log(), "x\n");
    node.pass();
    let kept = node.kept();
    node.fs.append(node.log(), "y\n");
    let rebound = node.restart(&pods(&["c"]), &kept);
    assert_eq!((rebound.damaged, rebound.bindings.len()), (0, 0));
    node.turns();
    assert_eq!(node.lines(), 2);
    node.pass();
    assert_eq!(node.lines(), 3);
}

/// Path and binding of each feed of a job.
fn bindings(node: &Node, job: usize) -> Vec<(String, u32)> {
    let of = |(path, followed): (&PathBuf, &Followed)| {
        let feed = followed.feeds.iter().find(|feed| feed.job == job)?;
        Some((path.display().to_string(), feed.binding.number()))
    };
    node.engine.reader.sources.iter().filter_map(of).collect()
}

#[test]
fn slots_are_stable_and_used_again() {
    let config = pods(&["a"]);
    let mut node = Node::new(&config);
    for pod in 0..4 {
        node.fs.append(format!("{POD}/{pod}/0.log"), "x\n");
        node.pass();
    }
    let before = node.kept();
    node.fs.append(format!("{POD}/2/0.log"), "y\n");
    node.pass();
    let after = node.kept();
    let changed: Vec<u64> =
        after.iter().filter(|(slot, bytes)| before.get(*slot) != Some(bytes)).map(|(slot, _)| slot.index).collect();
    assert_eq!(changed, [2]);
    node.fs.remove_all(format!("{POD}/1"));
    for _ in 0..3 {
        node.pass();
    }
    let indexes = |node: &Node| -> Vec<u64> { node.kept().table(Table::SOURCES).map(|(index, _)| index).collect() };
    assert_eq!(indexes(&node), [0, 2, 3]);
    node.fs.append(format!("{POD}/9/0.log"), "x\n");
    node.pass();
    assert_eq!(indexes(&node), [0, 1, 2, 3]);
}

/// Every byte flipped, every length: what can be read is used, the rest is counted and read from the front.
#[test]
fn damaged_slots_are_counted_and_never_trusted() {
    let config = pods(&["a"]);
    let mut node = Node::new(&config);
    node.fs.append(node.log(), "1\n2\n");
    node.pass();
    node.fs.rename(node.log(), format!("{POD}/app/0.log.20261121-022602"));
    node.fs.append(node.log(), "3\n");
    node.pass();
    let whole = node.kept();
    let mut tried = 0;
    for (slot, bytes) in whole.iter() {
        for at in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << (at % 8);
            for damaged in [bytes[..at].to_vec(), flipped] {
                let entries = whole.iter().map(|(s, b)| (s, if s == slot { damaged.clone().into() } else { b.into() }));
                let entries: Entries = entries.collect();
                let mut again = Node { fs: node.fs.clone(), clock: node.clock.clone(), ..Node::new(&config) };
                let rebound = again.restart(&config, &entries);
                again.pass();
                assert!(again.lines() <= 3, "{slot:?} {at}: {} lines", again.lines());
                let short = damaged.len() < bytes.len();
                assert!(!short || rebound.damaged > 0, "{slot:?} cut at {at}");
                tried += 1;
            }
        }
    }
    assert!(tried > 200);
    // Whole tables may be missing, too.
    for table in [Table::SOURCES, Table::CURSORS] {
        let rest = whole.iter().filter(|(slot, _)| slot.table != table).map(|(slot, bytes)| (slot, bytes.into()));
        let mut again = Node { fs: node.fs.clone(), clock: node.clock.clone(), ..Node::new(&config) };
        assert_eq!(again.restart(&config, &rest.collect()).damaged, 1);
        again.pass();
        assert_eq!(again.lines(), 3);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(
        place in proptest::collection::vec(any::<u8>(), 0..80),
        cursors in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let config = pods(&["a"]);
        let mut node = Node::new(&config);
        let slot = |table| Slot { table, index: u64::MAX };
        let version = |bytes: Vec<u8>| [vec![VERSION], bytes].concat().into_boxed_slice();
        let slots = [(slot(Table::SOURCES), version(place)), (slot(Table::CURSORS), version(cursors))];
        let entries: Entries = slots.into_iter().collect();
        node.restart(&config, &entries);
        node.pass();
        node.kept();
    }
}

#[test]
fn more_files_than_may_be_open_lose_nothing() {
    let config = pods(&["a"]);
    let mut node = Node::new(&config);
    let logs: Vec<String> = (0..2000).map(|pod| format!("{POD}/{pod}/0.log")).collect();
    node.fs.set_open_max(256);
    node.engine.set_open_max(192);
    let mut written = 0;
    for round in 0..6 {
        for (at, log) in logs.iter().enumerate() {
            // A few are busy, most are not; some are rotated while they sleep.
            if at % 10 == 0 || (at + round) % 7 == 0 {
                node.fs.append(log, "x\ny\n");
                written += 2;
            }
            if (at + round) % 11 == 0 {
                let rotated = format!("{log}.20261121-0226{round:02}");
                node.fs.append(log, "z\n");
                node.fs.rename(log, &rotated);
                node.fs.append(log, "");
                written += 1;
                if at % 2 == 0 {
                    node.fs.compress(&rotated);
                }
            }
        }
        node.pass();
        assert!(node.fs.open_files() <= 256, "{} open", node.fs.open_files());
    }
    for _ in 0..8 {
        node.pass();
    }
    assert_eq!((node.lines(), node.breaks()), (written, vec![]));
    let facts = node.engine.report().facts;
    assert!(facts.files_asleep > 1500 && facts.files_open_max == 192, "{facts:?}");
    // Where the system has fewer than it said, it is found out.
    node.fs.set_open_max(100);
    node.engine.set_open_max(1000);
    for _ in 0..4 {
        logs.iter().for_each(|log| node.fs.append(log, "w\n"));
        written += 2000;
        node.pass();
    }
    for _ in 0..8 {
        node.pass();
    }
    assert_eq!((node.lines(), node.breaks()), (written, vec![]));
}

#[test]
fn an_idle_file_costs_one_call_a_poll() {
    let config = pods(&["a"]);
    let mut node = Node::new(&config);
    (0..2000).for_each(|pod| node.fs.append(format!("{POD}/{pod}/0.log"), "x\n"));
    node.pass();
    node.clock.advance(Duration::from_secs(3));
    let before = node.fs.calls();
    node.turns();
    assert_eq!(node.fs.calls() - before, 2000);
}
