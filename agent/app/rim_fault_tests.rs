//! Scrapers that come while the disk does not answer, in twos, too early, or that take nothing; reloads at a bad time.

use super::*;
use crate::clock::ManualClock;
use crate::diagnostic::Diagnostics;
use crate::keep::Entries;
use crate::metrics::{Family, Kind, LabelKey, Limit, Store};
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
        Stage::with(None)
    }

    fn with(file: Option<ConfigFile>) -> Stage {
        let config = crate::config::read("scrape_configs: []\n", &mut Diagnostics::new()).expect("a configuration");
        let (sender, commands) = mpsc::channel();
        let (cuts, clock) = (Arc::<Cuts>::default(), Arc::new(ManualClock::at(10_000_000_000)));
        let rim = Rim::new(sender, &config, file, GeoIpSet::default(), Arc::clone(&cuts), clock.clone());
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
        let answer = runtime.block_on(async { Some(read(self.rim.scrape(ask).await.ok()?).await) });
        let (mut served, mut asked) = (None, false);
        for command in self.commands.try_iter() {
            match command {
                Command::Served { number, .. } => served = Some(number),
                Command::Cut { for_scrape } => asked = for_scrape,
                _ => panic!("another command"),
            }
        }
        assert_eq!(answer.is_some(), served.is_some());
        (served, asked)
    }
}

/// Takes all of an answer, as a connection does.
async fn read(mut scrape: Scrape) -> String {
    let mut page = Vec::new();
    while let Some(chunk) = std::future::poll_fn(|cx| scrape.chunks.poll_next(cx)).await {
        page.extend_from_slice(&chunk.expect("a whole answer"));
    }
    String::from_utf8(page).expect("a page is text")
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

/// Series whose page is many times longer than what an answer holds in memory.
const MANY: usize = 30_000;

#[test]
fn a_page_is_written_as_it_is_taken_and_the_cut_is_kept_until_then() {
    let mut stage = Stage::new();
    let family = Family { name: "c_total".into(), help: String::new(), kind: Kind::Counter, max_idle: None };
    let family = stage.series.define(family).expect("a family");
    let name = stage.series.label_name("client");
    let group = stage.series.group(&[family], Limit { series_max: MANY, ..Limit::default() });
    for client in 0..MANY {
        let mut key = LabelKey::new();
        key.push(name, format!("{client:040}").as_bytes());
        let row = stage.series.row(group, &mut key, 1);
        stage.series.cells(group, row).inc(0).expect("a counter");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    for taken in [true, false] {
        stage.publish(false);
        let cut = Arc::downgrade(&stage.cuts.newest(false).expect("a cut"));
        let scrape = runtime.block_on(stage.rim.scrape(Ask::default())).expect("an answer");
        // Nobody else shows the cut any more; whoever writes the page does not come to its end yet.
        stage.publish(false);
        (0..1000).for_each(|_| std::thread::yield_now());
        assert!(cut.upgrade().is_some(), "the page was written before it was taken");
        if taken {
            let page = runtime.block_on(read(scrape));
            assert_eq!(page.lines().filter(|line| line.starts_with("c_total{")).count(), MANY);
        } else {
            drop(scrape);
        }
        // It ends where nobody takes the page, too; else this would wait for ever.
        while cut.upgrade().is_some() {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_configuration_that_came_at_a_bad_time_is_taken_up_later() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("weir.yaml");
    std::fs::write(&path, "scrape_configs: []\n").expect("written");
    let compile = |text: &str| crate::config::read(text, &mut Diagnostics::new()).ok_or_else(|| "bad".to_string());
    let every = Duration::from_secs(5);
    let file = ConfigFile::new(path.clone(), "scrape_configs: []\n", Box::new(compile), every);
    let Stage { rim, commands, .. } = Stage::with(Some(file));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let rim = Arc::new(rim);
    std::fs::write(&path, "scrape_configs: []\nserver: {log_level: warn}\n").expect("written");
    let mut reconfigured = 0u32;
    for look in 1..=6 {
        runtime.block_on(async {
            let looking = tokio::spawn({
                let rim = Arc::clone(&rim);
                async move { rim.look_at_config().await }
            });
            while !looking.is_finished() {
                tokio::task::yield_now().await;
                match commands.try_recv() {
                    // Up to the fourth look the worker does not take it: its answer is dropped.
                    Ok(Command::Reconfigure(_, _, reply)) if look >= 4 => {
                        reconfigured += 1;
                        reply.send(()).expect("the rim waits");
                    }
                    _ => {}
                }
            }
        });
        let own = lock(&rim.published).gather();
        let told =
            |name: &str| own.iter().find(|f| f.name() == name).map(|f| f.get_metric()[0].get_counter().get_value());
        let (done, failed) = ("promtail_config_reload_success_total", "promtail_config_reload_fail_total");
        assert_eq!((told(done), told(failed)), (Some(f64::from(reconfigured)), Some(0.0)), "look {look}");
        assert_eq!(reconfigured, u32::from(look >= 4), "look {look}");
    }
}
