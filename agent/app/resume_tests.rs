//! A whole agent in memory that stops and starts: what it counts in all its runs, however its state was damaged.

use crate::app::{Committer, Engine, Run, take_up};
use crate::checkpoint::{Checkpoint, Limits};
use crate::clock::ManualClock;
use crate::config::{self, Config, Fsync};
use crate::diagnostic::Diagnostics;
use crate::disk::SimDisk;
use crate::geoip::GeoIpSet;
use crate::metrics::Shown;
use crate::source::MemFs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const POD: &str = "/pods/shop_web-1_11111111-1111-4111-8111-111111111111";
const CONFIG: &str = "
scrape_configs:
- job_name: pods
  pod_directory_sd_configs: [{root: /pods}]
  pipeline_stages:
  - cri: {}
  - regex: {expression: '^(?P<kind>\\w+)'}
  - metrics:
      lines_total: {type: Counter, labels: {kind: }, config: {match_all: true, action: inc}}
";

fn config() -> Config {
    let mut diagnostics = Diagnostics::new();
    config::read(CONFIG, &mut diagnostics).unwrap_or_else(|| panic!("{:?}", diagnostics.sorted()))
}

struct Agent {
    engine: Engine,
    committer: Committer,
    /// Numbers of notices at the start.
    notices: usize,
    clock: Arc<ManualClock>,
}

impl Agent {
    fn start(config: &Config, fs: &MemFs, disk: &SimDisk, clock: &Arc<ManualClock>, run: &Run) -> Agent {
        let mut engine =
            Engine::over(Arc::new(fs.clone()), Arc::new(fs.clone()), config, clock.clone(), GeoIpSet::default());
        engine.set_hold(Duration::from_secs(30));
        engine.set_run(run.clone());
        let limits = Limits { log_bytes_min: 2048, ..Limits::default() };
        let opened = Checkpoint::open(disk.mount(), limits).expect("a directory that answers");
        let shown = take_up(&opened, &mut engine);
        let notices = opened.notices.len();
        let committer = Committer::on(opened.checkpoint, Fsync::EveryCut, shown);
        Agent { engine, committer, notices, clock: clock.clone() }
    }

    /// Looks, reads, and makes a cut.
    fn pass(&mut self, for_scrape: bool) {
        self.clock.advance(Duration::from_secs(3));
        self.engine.refresh();
        while self.engine.turn().more {}
        let cut = Arc::new(self.engine.cut(for_scrape));
        let now = self.engine.monotonic();
        assert!(self.committer.commit(&cut, now, false).publish);
        if for_scrape {
            self.engine.served(cut.number, now, Duration::from_secs(30));
        }
    }

    /// Lines by their kind.
    fn counted(&mut self) -> BTreeMap<String, f64> {
        let snapshot = self.engine.snapshot();
        snapshot
            .samples(Shown::ToPerson)
            .map(|sample| (sample.labels.get("kind").to_string(), sample.value.as_f64()))
            .collect()
    }

    fn breaks(&mut self) -> usize {
        self.engine.cut(false).report.facts.breaks.len()
    }
}

fn write(fs: &MemFs, file: &str, kind: &str, lines: u32) {
    let text: String =
        (0..lines).map(|n| format!("2026-11-21T02:26:00.{n:09}Z stdout F {kind} line {n} of {file}\n")).collect();
    fs.append(format!("{POD}/app/{file}"), text);
}

/// The state that an agent leaves behind after some cuts, and what is true then.
fn a_life(config: &Config, fs: &MemFs, disk: &SimDisk, clock: &Arc<ManualClock>, run: &Run) -> BTreeMap<String, f64> {
    let mut agent = Agent::start(config, fs, disk, clock, run);
    for round in 0..12 {
        write(fs, "0.log", ["get", "post", "put"][round % 3], 5);
        // A piece that is never completed, and one that is.
        fs.append(format!("{POD}/app/0.log"), "2026-11-21T02:26:01.0Z stderr P begun \n");
        agent.pass(round % 2 == 0);
        fs.append(format!("{POD}/app/0.log"), "2026-11-21T02:26:01.1Z stderr F ended\n");
    }
    agent.pass(true);
    agent.counted()
}

#[test]
fn a_restart_counts_nothing_twice_and_leaves_nothing_out() {
    let (config, fs, disk) = (config(), MemFs::default(), SimDisk::new(1));
    let clock = Arc::new(ManualClock::at(1_000_000_000_000));
    let run = Run { identity: "node".into(), boot_id: "boot".into(), synced: true };
    let mut truth = a_life(&config, &fs, &disk, &clock, &run);
    assert_eq!(
        truth,
        [("begun", 12.0), ("get", 20.0), ("post", 20.0), ("put", 20.0)].map(|(k, n)| (k.into(), n)).into()
    );
    for round in 0..20 {
        disk.crash();
        write(&fs, "0.log", "late", 3);
        *truth.entry("late".into()).or_default() += 3.0;
        if round % 4 == 3 {
            fs.rename(format!("{POD}/app/0.log"), format!("{POD}/app/0.log.20261121-0226{round:02}"));
            write(&fs, "0.log", "late", 1);
            *truth.get_mut("late").expect("it is there") += 1.0;
        }
        let mut agent = Agent::start(&config, &fs, &disk, &clock, &run);
        agent.pass(round % 3 == 0);
        assert_eq!(agent.counted(), truth, "restart {round}");
        assert_eq!((agent.notices, agent.breaks()), (0, 0));
        assert!(agent.engine.books().iter().all(|books| books.balanced()));
    }
}

/// Must hold for each prefix and each flipped byte of the directory: no crash, and no wrong count without a break.
/// `WEIR_CASES=1` takes every byte; else some are left out.
#[test]
fn a_damaged_state_is_never_trusted_without_a_break() {
    let step = std::env::var("WEIR_CASES").map_or(23, |_| 1);
    let (config, fs, disk) = (config(), MemFs::default(), SimDisk::new(2));
    let clock = Arc::new(ManualClock::at(1_000_000_000_000));
    let run = Run { identity: "node".into(), boot_id: "boot".into(), synced: true };
    let truth = a_life(&config, &fs, &disk, &clock, &run);
    disk.crash();
    let (mut damages, mut told) = (0, 0);
    for (name, bytes) in disk.files() {
        let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let flipped = (0..bytes.len()).filter(|at| *at < used + 1024 || at % 509 == 0).step_by(step);
        let cut = (0..used + 512).step_by(3 * step);
        let damaged = flipped.map(|at| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            bytes
        });
        for damaged in damaged.chain(cut.map(|end| bytes[..end.min(bytes.len())].to_vec())) {
            let other = SimDisk::new(3);
            for (name, bytes) in disk.files() {
                other.set_file(&name, Some(bytes));
            }
            other.set_file(&name, Some(damaged));
            let mut agent = Agent::start(&config, &fs, &other, &clock, &run);
            agent.pass(true);
            damages += 1;
            let breaks = agent.breaks();
            told += usize::from(breaks > 0);
            let exact = agent.counted() == truth;
            assert!(exact || breaks > 0, "{name}: {:?} and no break", agent.counted());
            assert!(agent.engine.books().iter().all(|books| books.balanced()));
        }
    }
    assert!(damages > 100 && told > 10, "{damages} damages, {told} of them told");
}
