//! Faults of the node around the agent, one test each: docs/faults.md has the list.

use super::{Cut, Engine, Run, take_up};
use crate::checkpoint::{Checkpoint, Limits, Opened};
use crate::clock::{Clock, UnixNanos};
use crate::config::{self, Config};
use crate::diagnostic::Diagnostics;
use crate::disk::SimDisk;
use crate::geoip::GeoIpSet;
use crate::metrics::Shown;
use crate::source::MemFs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const POD: &str = "/pods/shop_web-1_11111111-1111-4111-8111-111111111111";
const HOLD: Duration = Duration::from_secs(10);
const DAY: UnixNanos = 86_400_000_000_000;

/// Two clocks that have nothing to do with one another.
#[derive(Default)]
struct Clocks(Mutex<(UnixNanos, Duration)>);

impl Clocks {
    fn set_wall(&self, now: UnixNanos) {
        self.0.lock().expect("a clock").0 = now;
    }

    fn advance(&self, by: Duration) {
        self.0.lock().expect("a clock").1 += by;
    }
}

impl Clock for Clocks {
    fn now(&self) -> UnixNanos {
        self.0.lock().expect("a clock").0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().expect("a clock").1
    }
}

struct Node {
    fs: MemFs,
    clocks: Arc<Clocks>,
    engine: Engine,
}

/// Counts the lines of all pods by `labels`, after `stages`.
fn pods(stages: &str, labels: &str) -> Config {
    let text = format!(
        "scrape_configs:
- job_name: pods
  pod_directory_sd_configs: [{{root: /pods}}]
  pipeline_stages:
  {stages}
  - metrics:
      lines: {{type: Counter, labels: {{{labels}}}, max_idle_duration: 1m, config: {{match_all: true, action: inc}}}}
"
    );
    let mut diagnostics = Diagnostics::new();
    config::read(&text, &mut diagnostics).unwrap_or_else(|| panic!("{:?}", diagnostics.sorted()))
}

impl Node {
    fn new(config: &Config) -> Node {
        let (fs, clocks) = (MemFs::default(), Arc::<Clocks>::default());
        clocks.advance(Duration::from_secs(1000));
        let (files, tree) = (Arc::new(fs.clone()), Arc::new(fs.clone()));
        let mut engine = Engine::over(files, tree, config, clocks.clone(), GeoIpSet::default());
        engine.set_hold(HOLD);
        Node { fs, clocks, engine }
    }

    /// A second as the worker lives it: discovery when it is due, and whatever sources are.
    fn second(&mut self) {
        self.clocks.advance(Duration::from_secs(1));
        self.engine.refresh_if_due();
        while self.engine.turn().more {}
    }

    fn lines(&self) -> u64 {
        self.engine.books().iter().map(|books| books.read).sum()
    }

    /// What a scraper gets that comes now.
    fn scraped(&mut self) -> (Cut, Vec<(String, f64)>) {
        let cut = self.engine.cut(true);
        self.engine.served(cut.number, self.clocks.monotonic(), HOLD);
        let samples = cut.report.snapshot.samples(Shown::ToScraper);
        let samples = samples.map(|sample| (format!("{}{}", sample.name, sample.labels), sample.value.as_f64()));
        let samples = samples.collect();
        (cut, samples)
    }

    fn breaks(&self) -> Vec<(String, u64)> {
        self.engine.facts().breaks
    }
}

fn cri(flag: &str, text: &str) -> String {
    format!("2026-11-21T02:25:35.001526116Z stdout {flag} {text}\n")
}

/// Sources wait, series are born and forgotten, pieces are held: nothing of that asks for the wall clock.
#[test]
fn a_wall_clock_that_jumps_changes_nothing() {
    let life = |wall: &dyn Fn(i64) -> UnixNanos| {
        let mut node = Node::new(&pods("- cri: {}", "filename: "));
        let mut seen = Vec::new();
        for second in 0..200 {
            node.clocks.set_wall(wall(second));
            match second {
                0..20 => node.fs.append(format!("{POD}/app/0.log"), cri(if second % 3 == 0 { "P" } else { "F" }, "x")),
                20 => node.fs.rename(format!("{POD}/app/0.log"), format!("{POD}/app/0.log.20261121-100000")),
                21 => node.fs.append(format!("{POD}/app/0.log"), cri("F", "x")),
                // A piece is held all the time.
                100 => node.fs.append(format!("{POD}/other/0.log"), cri("P", "x")),
                190 => node.fs.append(format!("{POD}/other/0.log"), cri("F", "x")),
                _ => {}
            }
            node.second();
            let (cut, samples) = node.scraped();
            let kept: Vec<_> = cut.kept.iter().map(|(slot, bytes)| (slot, bytes.to_vec())).collect();
            seen.push((node.engine.pause(), kept, samples));
        }
        assert_eq!((node.lines(), node.breaks()), (23, vec![]));
        seen
    };
    let steady = life(&|second| 20_000 * DAY + second * 1_000_000_000);
    let jumping = life(&|second| (20_000 + [0, 1, -1, 0, -20_000][second as usize % 5]) * DAY);
    assert!(steady == jumping, "a day more or less was seen");
    let count = |at: usize| steady[at].2.len();
    assert_eq!((count(50), count(150), count(199)), (1, 0, 1), "the idle series was forgotten, another one born");
}

#[test]
fn a_root_that_is_not_mounted_yet_is_told_and_its_pods_are_found_later() {
    let mut node = Node::new(&pods("", ""));
    let state = |node: &Node| {
        let facts = node.engine.facts();
        (node.engine.follows_any(), facts.sources[0].1, facts.directories_unreadable)
    };
    for _ in 0..5 {
        node.second();
        assert_eq!(state(&node), (false, 0, 1));
    }
    node.fs.append(format!("{POD}/app/0.log"), "1\n2\n");
    node.second();
    assert_eq!((state(&node), node.lines()), ((true, 1, 0), 2));
    // Pods log elsewhere from now on.
    node.fs.remove_all("/pods");
    for _ in 0..5 {
        node.second();
    }
    assert_eq!(state(&node), (false, 0, 1));
}

/// No notification comes where the kernel has none left, on network file systems, and when its queue overflows.
#[test]
fn what_no_notification_told_of_is_found_within_two_seconds() {
    let mut node = Node::new(&pods("", ""));
    node.fs.append(format!("{POD}/0/0.log"), "x\n");
    node.second();
    for pod in 1..20 {
        let log = format!("{POD}/{pod}/0.log");
        node.fs.append(&log, "x\n");
        node.second();
        node.fs.append(&log, "y\n");
        node.fs.rename(&log, format!("{log}.20261121-100000"));
        node.fs.append(&log, "z\n");
        (0..2).for_each(|_| node.second());
        assert_eq!(node.lines(), 1 + 3 * pod);
    }
}

/// A new log for each run, and the one before last is deleted.
#[test]
fn of_a_container_that_starts_again_and_again_every_run_is_read() {
    let mut node = Node::new(&pods("", ""));
    let log = |run: u64| format!("{POD}/app/{run}.log");
    for run in 0..60 {
        node.fs.append(log(run), "starting\n");
        node.second();
        // It ends within the second; what it says at last has never been looked at when its log goes.
        node.fs.append(log(run), "crashed\n");
        if run > 0 {
            node.fs.append(log(run - 1), "last words\n");
            node.fs.unlink(log(run - 1));
        }
    }
    (0..3).for_each(|_| node.second());
    assert_eq!((node.lines(), node.breaks()), (60 * 3 - 1, vec![]));
    assert_eq!((node.engine.facts().files, node.fs.open_files()), (1, 1), "what is gone is forgotten");
}

/// A log that came and went between two looks was never there: nobody can know of it.
#[test]
fn a_log_that_lived_between_two_looks_leaves_no_trace() {
    let mut node = Node::new(&pods("", ""));
    node.fs.append(format!("{POD}/app/0.log"), "x\n");
    node.second();
    node.fs.append(format!("{POD}/short/0.log"), "y\n");
    node.fs.unlink(format!("{POD}/short/0.log"));
    node.second();
    assert_eq!((node.lines(), node.breaks()), (1, vec![]));
}

#[test]
fn a_number_beyond_all_numbers_is_refused_and_harms_no_sum() {
    let mut node = Node::new(&pods(
        "- json: {expressions: {v: }}
  - metrics: {sum: {type: Counter, source: v, config: {action: add}}, h: {type: Histogram, source: v, config: {buckets: [1]}}}",
        "",
    ));
    for value in ["1", "1e309", "-1e309", "1e-400", "2", "\"NaN\"", "\"Inf\""] {
        node.fs.append(format!("{POD}/app/0.log"), format!("{{\"v\":{value}}}\n"));
    }
    node.second();
    let snapshot = node.engine.snapshot();
    let samples: Vec<(String, f64)> = snapshot
        .samples(Shown::ToPerson)
        .map(|sample| (sample.name, sample.value.as_f64()))
        .filter(|(name, _)| !name.contains("bucket"))
        .collect();
    let value = |part: &str| samples.iter().find(|(name, _)| name.ends_with(part)).map(|(_, value)| *value);
    assert_eq!((value("_sum"), value("custom_lines")), (Some(3.0), Some(7.0)), "{samples:?}");
    assert!(samples.iter().all(|(_, value)| value.is_finite()), "{samples:?}");
    let refused: u64 = snapshot.stats().iter().flat_map(|family| family.refused).sum();
    assert_eq!(refused, 4, "what is said to be no number, by two metrics each; one that is too large is none at all");
}

/// A provider gives each customer 2^64 addresses.
#[test]
fn a_client_with_a_new_ipv6_address_for_each_request_is_one_series() {
    let mut node = Node::new(&pods("- ingress_nginx: {other: pass}", "client: "));
    let request = |address: &str| {
        format!(
            "{address} - - [21/Nov/2026:02:26:02 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\" 1 0.001 [a-b-80] [] - - - - x\n"
        )
    };
    for host in 0..3000u32 {
        let address = format!("2001:db8:1:2:{:x}:{:x}:1:{host:x}", host % 97, host * 7);
        node.fs.append(format!("{POD}/app/0.log"), request(&address));
    }
    node.fs.append(format!("{POD}/app/0.log"), request("2001:db8:1:3::1"));
    node.second();
    let snapshot = node.engine.snapshot();
    let samples = snapshot.samples(Shown::ToPerson).filter(|sample| sample.name.ends_with("lines"));
    let mut samples: Vec<(String, f64)> =
        samples.map(|sample| (sample.labels.to_string(), sample.value.as_f64())).collect();
    samples.sort_by(|one, other| one.0.cmp(&other.0));
    let shown: Vec<(&str, f64)> = samples.iter().map(|(labels, value)| (labels.as_str(), *value)).collect();
    assert_eq!(shown, [(r#"{client="2001:db8:1:2::/64"}"#, 3000.0), (r#"{client="2001:db8:1:3::/64"}"#, 1.0)]);
}

fn open(disk: &SimDisk) -> Opened {
    Checkpoint::open(disk.mount(), Limits::default()).expect("a directory that answers")
}

/// A disk was copied: the state tells of another machine's files and of counters that other scrapers saw.
#[test]
fn the_state_of_another_machine_counts_nothing_twice() {
    let config = pods("", "");
    let run = |identity: &str| Run { identity: identity.into(), boot_id: identity.into(), synced: true };
    let log = format!("{POD}/app/0.log");
    let mut first = Node::new(&config);
    first.engine.set_run(run("one"));
    first.fs.append(&log, "a\n".repeat(100));
    let mut shown = Vec::new();
    for _ in 0..20 {
        first.second();
        shown = first.scraped().1;
    }
    assert_eq!(shown, [("promtail_custom_lines{}".to_string(), 100.0)]);
    let disk = SimDisk::new(1);
    let cut = first.engine.cut(true);
    let series = &cut.report.snapshot;
    let begun = open(&disk).checkpoint.snapshot(
        &mut |keep| {
            cut.kept.iter().for_each(|(slot, value)| keep.put(slot, value));
            series.changes_since(None, keep);
        },
        &mut |_| {},
    );
    begun.expect("kept");
    disk.crash();

    let mut second = Node::new(&config);
    second.engine.set_run(run("two"));
    // No two files of two machines were born in the same nanosecond.
    second.fs.set_time(5_000);
    second.fs.append(&log, "another machine's\n".repeat(7));
    take_up(&open(&disk), &mut second.engine);
    second.second();
    let mut last = -1.0;
    for _ in 0..20 {
        let shown = second.scraped().1;
        let [(_, value)] = &shown[..] else { panic!("{shown:?}") };
        assert!(*value >= last && (last >= 0.0 || *value == 0.0), "{value} after {last}");
        last = *value;
        second.second();
    }
    assert_eq!(last, 7.0, "its own lines, and none of what the other one showed");
    assert_eq!(second.breaks(), [("vanished".to_string(), 1)], "the other one's file is not here");
}
