//! Scrapers that come while the disk does not answer, in twos, or too early.

use super::*;
use crate::clock::ManualClock;
use crate::diagnostic::Diagnostics;
use crate::keep::Entries;
use crate::metrics::Store;
use crate::server::Agent;

/// A rim whose worker is the test.
struct Stage {
    rim: Rim,
    cuts: Arc<Cuts>,
    clock: Arc<ManualClock>,
    commands: mpsc::Receiver<Command>,
    series: Store,
}

impl Stage {
    fn new() -> Stage {
        let config = crate::config::read("scrape_configs: []\n", &mut Diagnostics::new()).expect("a configuration");
        let (sender, commands) = mpsc::channel();
        let (cuts, clock) = (Arc::<Cuts>::default(), Arc::new(ManualClock::at(10_000_000_000)));
        let rim = Rim::new(sender, &config, None, GeoIpSet::default(), Arc::clone(&cuts), clock.clone());
        Stage { rim, cuts, clock, commands, series: Store::new() }
    }

    /// The worker makes a cut, and it becomes durable.
    fn publish(&mut self, for_scrape: bool) -> u64 {
        let made = self.clock.monotonic();
        let snapshot = self.series.cut(for_scrape, made);
        let number = snapshot.number();
        let report = super::super::worker::Report { snapshot, books: Vec::new(), facts: Default::default() };
        self.cuts.publish(Arc::new(Cut { number, for_scrape, made, report, kept: Entries::default() }));
        number
    }

    /// A scraper that waits for no more than 20 ms; which cut it got, and whether a new one was asked for.
    fn scrape(&self, peer: &str) -> (Option<u64>, bool) {
        let peer = peer.parse().ok();
        let ask = Ask { accept: None, timeout: Some(Duration::from_millis(20)), peer };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let answer = runtime.block_on(self.rim.scrape(ask));
        let (mut served, mut asked) = (None, false);
        for command in self.commands.try_iter() {
            match command {
                Command::Served { number, .. } => served = Some(number),
                Command::Cut { for_scrape } => asked = for_scrape,
                _ => panic!("another command"),
            }
        }
        assert_eq!(answer.is_ok(), served.is_some());
        (served, asked)
    }
}

const ONE: &str = "192.0.2.1:1000";
const OTHER: &str = "192.0.2.2:1000";

#[test]
fn a_scrape_gets_the_cut_before_while_the_disk_does_not_answer() {
    let mut stage = Stage::new();
    assert_eq!(stage.scrape(ONE), (None, true), "there is none yet");
    let first = stage.publish(true);
    for _ in 0..3 {
        stage.clock.advance(Duration::from_secs(15));
        assert_eq!(stage.scrape(ONE), (Some(first), true));
    }
    let second = stage.publish(true);
    assert_eq!(stage.scrape(ONE), (Some(second), false));
}

/// Both get what both may know, in the same order.
#[test]
fn two_scrapers_see_one_sequence_of_cuts() {
    let mut stage = Stage::new();
    let first = stage.publish(true);
    assert_eq!(stage.scrape(ONE), (Some(first), false));
    stage.clock.advance(Duration::from_millis(500));
    assert_eq!(stage.scrape(OTHER), (Some(first), false), "a cut of the same second is shared");
    // What was made for a person is for no scraper.
    stage.clock.advance(Duration::from_secs(15));
    stage.publish(false);
    assert_eq!(stage.scrape(OTHER), (Some(first), true));
    let third = stage.publish(true);
    for peer in [ONE, OTHER, ONE] {
        assert_eq!(stage.scrape(peer), (Some(third), false));
    }
}
