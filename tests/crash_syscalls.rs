//! The agent dies at a system call on its state directory, or the call fails or hangs: nothing is lost or counted twice.
//!
//! A few calls in every run; all of them with `WEIR_FULL=1`.

mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::agent::{Agent, Page};
use support::http::get;
use support::kubelet_writer::{Container, Node, assert_counted, assert_exact};
use support::process::{eventually, real_parts};
use support::prometheus::Scraper;
use support::strace::{self, Call, Calls};

const HOLD: &str = "200ms";
/// Scrapes of one scenario, and the time between them: cuts younger than a second are shared.
const ROUNDS: u64 = 4;
const SCRAPE_EVERY: Duration = Duration::from_millis(1050);
/// Scenarios at a time: they are scrapes and waiting.
const AT_ONCE: usize = 6;

/// A node, what its container wrote, and what a scraper added up of it.
struct Story {
    node: Node,
    container: Container,
    scraper: Scraper,
}

impl Story {
    fn new() -> Story {
        let node = Node::durable(HOLD);
        let container = node.container();
        let scraper = node.scraper();
        Story { node, container, scraper }
    }

    fn log(&self) -> PathBuf {
        self.node.path("strace")
    }

    /// Lines, births, scrapes and a rotation, until it is over or the agent ends.
    fn live(&mut self, agent: &mut Agent) {
        for round in 0..ROUNDS {
            self.container.lines(10, "usual");
            self.container.lines(1, &format!("born-{round}-{}", self.container.lines));
            if round % 4 == 2 {
                self.container.rotate();
            }
            // The time of a scraper's life, not a wait for anything.
            sleep(if round > 0 { SCRAPE_EVERY } else { Duration::ZERO });
            // A person's look makes a cut too, one that need not be safe.
            let looked = get(agent.address, "/metrics");
            if let Err(why) = looked.and_then(|_| self.scraper.scrape().map(drop))
                && !why.starts_with("status 503")
            {
                // The other end of the connection died.
                agent.process.wait();
                return;
            }
        }
    }

    fn assert_exact(&mut self, agent: &Agent) {
        assert_exact(agent, &mut self.container, &mut self.scraper);
    }
}

/// The calls on the state directory of two lives without a fault, the second over what the first left.
fn calls_of_a_life() -> Calls {
    let mut story = Story::new();
    let watch = strace::watch(&story.log());
    for _ in 0..2 {
        let mut agent = story.node.start_by(&watch);
        story.live(&mut agent);
        end(agent);
    }
    let calls = strace::calls_below(&story.log(), story.node.state());
    println!("calls of a life: {:?}", calls.counts);
    assert!(calls.counts.values().sum::<usize>() > 10, "it writes its state: {calls:?}");
    calls
}

/// Kills the agent that strace runs; strace ends with it.
fn end(mut agent: Agent) {
    agent.process.kill_children();
    agent.process.wait();
}

/// All calls, or the first and the last ones of each kind: in between the log gets its room.
fn chosen(calls: &Calls) -> Vec<Call> {
    let each = calls.each();
    let is_chosen = |call: &Call| full() || call.n <= 2 || call.n + 5 > calls.counts[&call.name];
    each.into_iter().filter(is_chosen).collect()
}

fn full() -> bool {
    std::env::var_os("WEIR_FULL").is_some()
}

fn for_each(calls: &[Call], scenario: impl Fn(&Call) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                    scenario(call);
                }
            });
        }
    });
}

#[test]
fn killed_at_any_call_it_goes_on_exactly() {
    if !real_parts("kills at each system call on the state directory") {
        return;
    }
    let calls = calls_of_a_life();
    let chosen = chosen(&calls);
    println!("{} of {} calls", chosen.len(), calls.each().len());
    for_each(&chosen, |call| {
        let mut story = Story::new();
        let inject = strace::inject(&calls, story.node.state(), call, "signal=KILL", "");
        // The second life begins with what the first one left, half written perhaps.
        let mut died = 0;
        for _ in 0..2 {
            match Agent::unless_it_ends(story.node.command_by(&inject)) {
                Err(_) => died += 1,
                Ok(mut agent) => {
                    story.live(&mut agent);
                    died += u32::from(agent.process.has_ended());
                    end(agent);
                }
            }
        }
        println!("killed at {call:?}: died {died} times of 2");
        let agent = story.node.start();
        story.assert_exact(&agent);
    });
}

#[test]
fn a_call_that_fails_once_is_got_over() {
    if !real_parts("system calls on the state directory that fail once") {
        return;
    }
    let calls = calls_of_a_life();
    for_each(&chosen(&calls), |call| {
        let error = if call.n % 2 == 0 { "error=EIO" } else { "error=ENOSPC" };
        println!("{error} at {call:?}");
        let mut story = Story::new();
        let inject = strace::inject(&calls, story.node.state(), call, error, "");
        let mut agent = story.node.start_by(&inject);
        story.live(&mut agent);
        assert!(!agent.process.has_ended(), "{error} at {call:?}\n{}", agent.log());
        let counts_on = |agent: &Agent, story: &mut Story| {
            assert_counted(agent, &mut story.container);
            story.scraper.until(story.container.lines as f64);
            let page = agent.scrape();
            // A state that could not be opened is not known to be empty.
            let breaks = if call.name == "openat" { &["state_unavailable"][..] } else { &[] };
            let broken: Vec<_> = page.series("weir_breaks_total", &[]).map(|(labels, _)| labels[0].1.clone()).collect();
            assert!(broken.iter().all(|reason| breaks.contains(&reason.as_str())), "{error} at {call:?}: {broken:?}");
            assert_eq!(page.get("weir_state_durable", &[]), 1.0, "{}", page.text);
        };
        counts_on(&agent, &mut story);
        end(agent);
        story.container.lines(10, "usual");
        counts_on(&story.node.start(), &mut story);
    });
}

/// Scrapers see what is safe, so nothing is lost; after a minute they see what there is (`WEIR_FULL=1` waits for that).
#[test]
fn a_disk_that_fails_for_good_is_told_and_stops_no_counting() {
    if !real_parts("system calls on the state directory that fail for good") {
        return;
    }
    let calls = calls_of_a_life();
    let kinds = calls.counts.iter().filter(|(name, _)| name.contains("write") || name.contains("sync"));
    let kinds = kinds.map(|(name, count)| Call { name: name.clone(), n: count - count / 10 });
    // Where the first one fails nothing was ever safe, and it is told after a minute.
    let kinds: Vec<Call> = kinds.filter(|call| full() || call.n > 1).collect();
    for_each(&kinds, |call| {
        println!("{call:?} and all that follow");
        let mut story = Story::new();
        let inject = strace::inject(&calls, story.node.state(), call, "error=EIO", "+");
        let mut agent = story.node.start_by(&inject);
        story.live(&mut agent);
        assert!(!agent.process.has_ended(), "{call:?}\n{}", agent.log());
        let is_durable = eventually("told", || {
            let answer = get(agent.address, "/metrics")?;
            if answer.status != 200 {
                return Err(answer.text());
            }
            let page = Page::of_text(&answer.body);
            if page.get("weir_state_commit_failures_total", &[]) > 0.0 {
                return Ok(page.get("weir_state_durable", &[]) > 0.0);
            }
            // A scraper's cuts are synced, a person's are not, and it may take more of them than the story has.
            story.container.lines(1, "usual");
            story.scraper.scrape().and(Err(page.text))
        });
        if full() {
            sleep(Duration::from_secs(60));
            agent.until("not durable", |page| page.get("weir_state_durable", &[]) == 0.0);
            assert_counted(&agent, &mut story.container);
            story.scraper.until(story.container.lines as f64);
        }
        end(agent);
        let agent = story.node.start();
        if full() || !is_durable {
            // A counter that went back with the state is a break, and told.
            assert_counted(&agent, &mut story.container);
        } else {
            assert_exact(&agent, &mut story.container, &mut story.scraper);
        }
    });
}

#[test]
fn a_scrape_does_not_wait_for_a_disk_that_hangs() {
    if !real_parts("a disk that hangs") {
        return;
    }
    let calls = calls_of_a_life();
    let name = ["fdatasync", "fsync"].into_iter().find(|name| calls.counts.contains_key(*name)).expect("it syncs");
    // In the middle of its life: then there is a cut before.
    let call = Call { name: name.to_string(), n: calls.counts[name] / 2 };
    let mut story = Story::new();
    let inject = strace::inject(&calls, story.node.state(), &call, "delay_exit=2000000", "+");
    let mut agent = story.node.start_by(&inject);
    let mut slowest = Duration::ZERO;
    story.scraper.timeout = 1;
    for _ in 0..6 {
        story.container.lines(10, "usual");
        sleep(SCRAPE_EVERY / 2);
        let asked = Instant::now();
        let scraped = story.scraper.scrape();
        assert!(scraped.is_ok(), "{scraped:?}\n{}", agent.log());
        slowest = slowest.max(asked.elapsed());
    }
    println!("the slowest scrape took {slowest:?} while a sync takes 2 s");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(!agent.process.has_ended());
    story.container.finish();
    // One that has the time waits for the disk.
    story.scraper.timeout = 10;
    story.scraper.until(story.container.lines as f64);
    end(agent);
    let agent = story.node.start();
    assert_exact(&agent, &mut story.container, &mut story.scraper);
}
