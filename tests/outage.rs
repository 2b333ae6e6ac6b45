//! An hour without Loki, in virtual time, with the real engine, collector, outbox, spool, committer and lane; only the
//! file system, the disk, the clock and Loki are stood in for.
//!
//! A kubelet keeps less than a minute of what is written here, so the files are no help. `WEIR_FULL=1` writes 1 MB/s, as
//! much as a busy node; otherwise it is a twentieth, with a spool of a twentieth.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use support::loki::proto::Push;
use weir::app::{Committer, Engine, Run, take_up};
use weir::checkpoint::{Checkpoint, Limits};
use weir::clock::{Clock, ManualClock};
use weir::config::{self, Config, Fsync};
use weir::diagnostic::Diagnostics;
use weir::disk::SimDisk;
use weir::keep::Entries;
use weir::metrics::Shown;
use weir::sink::lane::{DeadLetter, Lane, Outcome, Report, Step, Trouble};
use weir::sink::{
    Answer, BUFFER_FULL, Batch, Collector, EntryLimits, Forwarder, LaneConfig, Lot, Outbox, Outboxes, Spool,
    SpoolLimits, WhenFull,
};
use weir::source::MemFs;

const CONFIG: &str = "
clients: [{url: 'http://loki:3100/loki/api/v1/push', batchsize: 262144}]
scrape_configs:
- job_name: pods
  pod_directory_sd_configs: [{root: /var/log/pods}]
  pipeline_stages:
  - cri: {}
  - metrics: {lines_total: {type: Counter, labels: {}, config: {match_all: true, action: inc}}}
";
const LOG: &str = "/var/log/pods/shop_web-0_5f0c/web/0.log";
/// 2026-11-21T00:00:00Z.
const MIDNIGHT: i64 = 1_795_219_200;
const LINE_BYTES: usize = 700;
const SECOND: Duration = Duration::from_secs(1);
/// A kubelet's size over a node's rate.
const ROTATE_SECONDS: u64 = 10;
const ROTATED_MAX: usize = 4;
const MEMORY_BYTES: usize = 8 << 20;

/// Bytes of log in a second, and what an ordinary node's spool is divided by.
fn scale() -> (usize, u64) {
    if std::env::var_os("WEIR_FULL").is_some() { (1_000_000, 1) } else { (50_000, 20) }
}

/// The log, as a kubelet keeps it. Line n says so, and its time is n microseconds after midnight: nothing else needs to be
/// remembered of what was written.
struct Log {
    fs: MemFs,
    lines: u64,
    rotated: Vec<String>,
}

impl Log {
    fn line(number: u64) -> String {
        let mut noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut line = format!("{number} GET /shop/item/{}?ref={noise:x} 200 ", number % 977);
        while line.len() < LINE_BYTES {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            line += &format!("agent=\"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\" id={noise:016x} ");
        }
        line.truncate(LINE_BYTES);
        line
    }

    fn nanos(number: u64) -> i64 {
        MIDNIGHT * 1_000_000_000 + number as i64 * 1_000
    }

    fn write(&mut self, count: usize) {
        let mut text = String::new();
        for number in self.lines..self.lines + count as u64 {
            let micros = number % 1_000_000;
            let second = number / 1_000_000;
            let line = Log::line(number);
            text += &format!("2026-11-21T00:00:{second:02}.{micros:06}000Z stdout F {line}\n");
        }
        self.lines += count as u64;
        self.fs.append(LOG, text);
    }

    fn rotate(&mut self, second: u64) {
        let name = format!("{LOG}.20261121-{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60);
        self.fs.rename(LOG, &name);
        self.fs.create(LOG, "");
        self.rotated.push(name);
        if self.rotated.len() > ROTATED_MAX {
            self.fs.unlink(self.rotated.remove(0));
        }
    }
}

/// A Loki that remembers which lines it has, and checks that each is what was written.
#[derive(Default)]
struct Loki {
    is_down: bool,
    has: Vec<bool>,
    pushes: u64,
}

impl Loki {
    fn push(&mut self, body: &[u8]) -> Answer {
        self.pushes += 1;
        if self.is_down {
            return Answer::None("connection refused".into());
        }
        let push = Push::unpack(body, 16 << 20).expect("a push");
        for stream in &push.streams {
            assert!(stream.labels_text.contains(&format!("filename=\"{LOG}\"")), "{}", stream.labels_text);
            for entry in &stream.entries {
                let number: u64 = entry.line.split(' ').next().expect("a number").parse().expect("a number");
                assert_eq!((entry.timestamp, &entry.line), (Log::nanos(number), &Log::line(number)));
                let at = number as usize;
                self.has.resize(self.has.len().max(at + 1), false);
                self.has[at] = true;
            }
        }
        Answer::Status { code: 204, retry_after: None, body: String::new(), date: None }
    }

    fn held(&self) -> u64 {
        self.has.iter().filter(|has| **has).count() as u64
    }
}

struct Silent;

impl Report for Silent {
    fn request(&mut self, _: Option<u16>, _: Outcome) {}
    fn server_clock(&mut self, _: i64) {}
    fn dead_letter(&mut self, letter: DeadLetter) {
        panic!("{letter:?}");
    }
    fn trouble(&mut self, _: Trouble, _: Option<u16>, _: &str) {}
    fn recovered(&mut self, _: Duration) {}
}

/// One run of the agent, without threads.
struct Agent {
    clock: Arc<ManualClock>,
    engine: Engine,
    committer: Committer,
    outbox: Arc<Outbox>,
    pressed: Arc<AtomicBool>,
    lane: Lane,
    flight: Option<Arc<Batch>>,
}

impl Agent {
    fn start(
        config: &Config,
        log: &Log,
        clock: &Arc<ManualClock>,
        state: &SimDisk,
        spool: &SimDisk,
        limits: SpoolLimits,
    ) -> Agent {
        let client = config.active_clients().next().expect("a client");
        let outbox = Arc::new(Outbox::new("loki", MEMORY_BYTES, limits.bytes_max, WhenFull::DropOldest));
        let pressed = Arc::new(AtomicBool::new(false));
        let press = Arc::clone(&pressed);
        outbox.on_pressure(Box::new(move || press.store(true, Relaxed)));
        let fs = Arc::new(log.fs.clone());
        let mut engine = Engine::over(fs.clone(), fs, config, clock.clone(), Default::default());
        engine.set_hold(Duration::ZERO);
        let collector = Collector::new(client, &EntryLimits::default());
        engine.set_output(Box::new(Forwarder::new([(collector, Arc::clone(&outbox))], clock.monotonic())));
        engine.set_run(Run { identity: "node".into(), boot_id: "1".into(), synced: true });
        let opened = Checkpoint::open(state.mount(), Limits::default()).expect("a state directory");
        let shown = take_up(&opened, &mut engine);
        let (stored, found) = Spool::open(spool.mount(), limits).expect("a spool");
        let entries: &Entries = &opened.recovered.entries;
        assert_eq!(outbox.restore(entries), 0);
        assert_eq!(outbox.attach(stored, &found), 0);
        let outboxes = Outboxes::default();
        outboxes.set(vec![Arc::clone(&outbox)]);
        let committer = Committer::on(opened.checkpoint, Fsync::EveryCut, shown).deliver(outboxes);
        let lane = Lane::new(LaneConfig::of(client, false), 1);
        Agent { clock: clock.clone(), engine, committer, outbox, pressed, lane, flight: None }
    }

    fn read(&mut self) {
        self.engine.refresh_if_due();
        self.engine.hint();
        while self.engine.turn().more {
            self.relieve();
        }
        self.relieve();
    }

    fn relieve(&mut self) {
        if self.pressed.swap(false, Relaxed) {
            self.committer.relieve();
        }
    }

    fn cut(&mut self) {
        let cut = Arc::new(self.engine.cut(true));
        let verdict = self.committer.commit(&cut, self.clock.monotonic(), false);
        assert!(verdict.publish && verdict.spool_trouble.is_none(), "{verdict:?}");
    }

    /// Sends what can be sent at this moment.
    fn send(&mut self, loki: &mut Loki) {
        let now = self.clock.monotonic();
        loop {
            match self.lane.next(now) {
                Step::Idle => {
                    let Some(batch) = self.outbox.take("") else { return };
                    let packed = self.outbox.packed(&batch).expect("it can be read");
                    let lot = Lot { entries: batch.lines, bytes: batch.bytes };
                    let ended = self.lane.take(packed, lot, now);
                    assert_eq!(ended, None, "this Loki has room");
                    self.flight = Some(batch);
                }
                Step::Wait(_) => return,
                Step::Push(push) => {
                    let answer = loki.push(&push.body);
                    if let Some(settled) = self.lane.answered(answer, now, &mut Silent) {
                        let batch = self.flight.take().expect("one is under way");
                        self.outbox.settle(batch.id, &settled);
                    }
                }
            }
        }
    }

    fn counted(&mut self) -> u64 {
        let snapshot = self.engine.snapshot();
        snapshot.samples(Shown::ToPerson).map(|sample| sample.value.as_f64() as u64).sum()
    }
}

struct Hour {
    log: Log,
    loki: Loki,
    agent: Agent,
    /// What the lag was at its highest.
    dropped: u64,
}

/// Ten seconds with Loki, an hour without, in the middle of which the agent is killed if wanted, and then Loki again.
fn hour(spool_bytes: u64, kill: bool) -> Hour {
    let (rate, _) = scale();
    let mut diagnostics = Diagnostics::new();
    let config = config::read(CONFIG, &mut diagnostics);
    let config = config.unwrap_or_else(|| panic!("{:?}", diagnostics.sorted()));
    let clock = Arc::new(ManualClock::at(MIDNIGHT * 1_000_000_000));
    let (state, spool) = (SimDisk::new(1), SimDisk::new(2));
    let limits = SpoolLimits { bytes_max: spool_bytes, ..SpoolLimits::default() };
    let mut log = Log { fs: MemFs::default(), lines: 0, rotated: Vec::new() };
    log.fs.create(LOG, "");
    let mut loki = Loki::default();
    let mut agent = Agent::start(&config, &log, &clock, &state, &spool, limits);
    for second in 0..3_620 {
        clock.advance(SECOND);
        loki.is_down = (10..3_610).contains(&second);
        if second > 0 && second % ROTATE_SECONDS == 0 {
            log.rotate(second);
        }
        log.write(rate / LINE_BYTES);
        agent.read();
        if second % 15 == 0 {
            agent.cut();
            assert_eq!(agent.counted(), log.lines, "after {second} s: counting waits for nobody");
        }
        agent.send(&mut loki);
        if kill && second == 1_807 {
            state.crash();
            spool.crash();
            drop(agent);
            agent = Agent::start(&config, &log, &clock, &state, &spool, limits);
        }
    }
    // As long as Loki is asked to be left alone, at most.
    for _ in 0..600 {
        clock.advance(SECOND);
        agent.read();
        agent.send(&mut loki);
    }
    assert!(agent.outbox.is_empty(), "{:?}", agent.outbox.facts());
    assert_eq!(agent.counted(), log.lines);
    let facts = agent.outbox.facts();
    let dropped = facts.books.dropped_entries();
    assert_eq!(facts.books.entered, log.lines);
    assert_eq!(facts.books.acknowledged + dropped, log.lines);
    Hour { log, loki, agent, dropped }
}

#[test]
fn an_hour_without_loki_delays_and_drops_nothing_within_the_budget() {
    let (_, divisor) = scale();
    let hour = hour((2 << 30) / divisor, true);
    assert_eq!((hour.loki.held(), hour.dropped), (hour.log.lines, 0));
    assert!(hour.log.lines > 200_000);
}

#[test]
fn past_the_budget_the_oldest_go_and_each_is_counted() {
    let (_, divisor) = scale();
    let hour = hour((256 << 20) / divisor, false);
    assert!(hour.dropped > hour.log.lines / 10, "{} of {}", hour.dropped, hour.log.lines);
    assert_eq!(hour.loki.held(), hour.log.lines - hour.dropped);
    assert_eq!(hour.agent.outbox.facts().books.dropped[BUFFER_FULL].entries, hour.dropped);
    // The newest of the hour are there.
    assert!(hour.loki.has[hour.loki.has.len() * 19 / 20..].iter().all(|has| *has));
}
