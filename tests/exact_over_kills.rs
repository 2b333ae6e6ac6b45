//! Prometheus' own sums equal the lines that were written, while the agent is killed again and again and logs rotate.
//!
//! `WEIR_FULL=1` runs the full size: 200,000 lines over three minutes.

mod support;

use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::kubelet_writer::{Container, LINES, Node};
use support::process::real_parts;
use support::prometheus::Prometheus;

const RARE: u64 = 300;
const ROTATE_EVERY: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(10);

/// How much is written, and for how long.
struct Size {
    lines: u64,
    seconds: u64,
}

fn size() -> Size {
    match std::env::var_os("WEIR_FULL") {
        Some(_) => Size { lines: 200_000, seconds: 180 },
        None => Size { lines: 20_000, seconds: 20 },
    }
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Which line is of which kind: 300 rare kinds of one to three lines at any moments, the rest of five usual ones.
fn kinds(lines: u64) -> Vec<String> {
    let mut numbers = Numbers(3);
    let mut kinds: Vec<_> = (0..lines).map(|line| format!("usual-{}", line % 5)).collect();
    for rare in 0..RARE {
        for _ in 0..=rare % 3 {
            let mut at = numbers.below(lines) as usize;
            while kinds[at].starts_with("rare") {
                at = (at + 1) % kinds.len();
            }
            kinds[at] = format!("rare-{rare}");
        }
    }
    kinds
}

/// Writes it all at an even pace and rotates every second.
fn write(mut container: Container, size: &Size) -> Container {
    let (kinds, started) = (kinds(size.lines), Instant::now());
    let mut next_rotation = ROTATE_EVERY;
    let mut kinds = kinds.iter();
    while kinds.len() > 0 {
        let elapsed = started.elapsed();
        let due = (elapsed.as_millis() as u64 * size.lines / (size.seconds * 1000)).min(size.lines);
        kinds.by_ref().take((due - container.lines) as usize).for_each(|kind| container.line(kind));
        container.flush();
        if elapsed >= next_rotation {
            container.rotate();
            next_rotation += ROTATE_EVERY;
        }
        // The pace of the load, not a wait for anything.
        sleep(TICK);
    }
    container.finish();
    container
}

/// What came out of a run.
#[derive(Debug)]
struct Outcome {
    lines: u64,
    series: usize,
    kills: u32,
    resets: u32,
    /// The raw samples added up by Prometheus' rule.
    raw: f64,
    /// PromQL's `sum(increase())`.
    increase: f64,
    /// Lines that a series did not gain, and those that it gained too much, over all series.
    lost: f64,
    invented: f64,
    breaks: f64,
}

fn run(node: &Node) -> Outcome {
    let (size, container) = (size(), node.container());
    let mut agent = node.start();
    let prometheus = Prometheus::start(&[("weir", agent.address)]);
    let writer = thread::spawn(move || write(container, &size));
    let mut numbers = Numbers(1);
    let mut life = move || Instant::now() + Duration::from_millis(1500 + numbers.below(3000));
    let (mut kills, mut ends) = (0, life());
    while !writer.is_finished() {
        sleep(TICK);
        if Instant::now() >= ends {
            agent.kill();
            agent = node.start();
            (kills, ends) = (kills + 1, life());
        }
    }
    let mut container = writer.join().expect("the writer does not panic");
    // Lines are counted in their order, and series are shown in the order of their births.
    container.lines(1, "last");
    container.finish();
    prometheus.until(&format!("{LINES}{{kind=\"last\"}}"), 1.0);

    let raw = prometheus.increases(LINES, "kind");
    let errors: Vec<f64> = container.truth.iter().map(|(kind, lines)| raw.of(kind) - *lines as f64).collect();
    // Asked for the moment of the last scrape, `increase()` extrapolates nothing at the end; and nothing at the start,
    // where a series begins at 0.
    let last = prometheus.query(&format!("max(timestamp({LINES}))")).expect("a scrape");
    let increase = prometheus.query(&format!("sum(increase({LINES}[1h] @ {last:.3}))")).expect("a sum");
    let outcome = Outcome {
        lines: container.lines,
        series: raw.len(),
        kills,
        resets: raw.resets(),
        raw: raw.total(),
        increase,
        lost: errors.iter().map(|error| (-error).max(0.0)).sum(),
        invented: errors.iter().map(|error| error.max(0.0)).sum(),
        breaks: agent.scrape().get("weir_breaks_total", &[]),
    };
    println!("{outcome:?}");
    outcome
}

#[test]
fn increases_equal_the_lines_over_kills_and_rotations() {
    if !real_parts("Prometheus over kills and rotations") {
        return;
    }
    // One and a half times Prometheus' interval, and what a restart of the agent takes.
    let outcome = run(&Node::durable("3s"));
    let lines = outcome.lines as f64;
    assert_eq!((outcome.lost, outcome.invented), (0.0, 0.0), "{outcome:?}");
    assert_eq!((outcome.raw, outcome.increase), (lines, lines), "{outcome:?}");
    assert_eq!((outcome.resets, outcome.breaks), (0, 0.0), "{outcome:?}");
    assert!(outcome.kills >= 3 && outcome.series as u64 == RARE + 6, "{outcome:?}");
}

/// The same with counters as every peer has them, so that the test above is known to see a loss.
#[test]
fn a_plain_counter_in_memory_loses_lines_in_the_same_run() {
    if !real_parts("Prometheus over kills and rotations, with a plain counter") {
        return;
    }
    let outcome = run(&Node::forgetful());
    assert!(outcome.lost > 0.0 && outcome.resets > 0, "{outcome:?}");
}
