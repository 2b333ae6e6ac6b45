//! One run of the agent: the real engine over the simulated file system, and the real committer over a simulated disk,
//! wired as `app`'s worker and rim wire them, with time and threads taken out.

use super::clock::SimClock;
use super::fs::SimFs;
use super::oracle::{Oracle, SeriesId};
use super::plan::Shape;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use weir::app::{Committer, Cut, Engine, Run, Verdict, take_up};
use weir::checkpoint::{Checkpoint, Limits};
use weir::clock::Clock;
use weir::config::{self, Config, Fsync};
use weir::diagnostic::Diagnostics;
use weir::disk::SimDisk;
use weir::keep::Entries;
use weir::metrics::{Scrapers, Shown, Snapshot};

/// What a page shows: the values of the one counter.
pub type Page = HashMap<SeriesId, u64>;

const CONFIG: &str = "
scrape_configs:
- job_name: pods
  pod_directory_sd_configs: [{root: /var/log/pods}]
  relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_container_name], target_label: container}
  pipeline_stages:
  - cri: {}
  - regex: {expression: 'k=(?P<k>\\w+) '}
  - metrics:
      lines_total:
        type: Counter
        max_idle_duration: 2400h
        labels: {container: '', k: ''}
        config: {match_all: true, action: inc}
";

pub fn config() -> Config {
    let mut diagnostics = Diagnostics::new();
    let config = config::read(CONFIG, &mut diagnostics);
    config.unwrap_or_else(|| panic!("{:?}", diagnostics.sorted()))
}

/// A state that an agent found.
pub struct Found {
    pub entries: Entries,
    /// Its counters go on where they were; otherwise they begin at 0 for scrapers.
    pub goes_on: bool,
}

pub struct Agent {
    pub engine: Engine,
    committer: Committer,
    /// By address, and by connection.
    scrapers: Scrapers<IpAddr>,
    connections: Scrapers<SocketAddr>,
    clock: Arc<SimClock>,
    hold: Option<Duration>,
    pub started_ms: u64,
}

impl Agent {
    /// Starts an agent. Beside it: the state that it goes on from, if it found one.
    pub fn start(
        config: &Config,
        shape: &Shape,
        fs: &SimFs,
        disk: &SimDisk,
        clock: &Arc<SimClock>,
        run: Run,
    ) -> (Agent, Option<Found>) {
        let mut engine =
            Engine::over(Arc::new(fs.clone()), Arc::new(fs.clone()), config, clock.clone(), Default::default());
        let fsync = Fsync::EveryCut;
        let mut found = None;
        let fixed = if shape.plain { Some(Duration::ZERO) } else { shape.hold_s.map(Duration::from_secs) };
        engine.set_hold(fixed.unwrap_or_else(|| Scrapers::<IpAddr>::default().hold(None, Duration::ZERO)));
        let committer = if shape.plain {
            Committer::without_state()
        } else {
            let on = disk.clone();
            let reopen = move || {
                let opened = Checkpoint::open(on.mount(), Limits::default()).map_err(|error| error.to_string())?;
                Ok(opened.checkpoint)
            };
            engine.set_run(run);
            match Checkpoint::open(disk.mount(), limits()) {
                Ok(opened) => {
                    if std::env::var_os("WEIR_SIM_TRACE").is_some() {
                        println!("{} found {:?}", clock.elapsed_ms(), opened.notices);
                    }
                    let taken = take_up(&opened, &mut engine);
                    let (entries, goes_on) = (opened.recovered.entries, taken.is_some());
                    found = Some(Found { entries, goes_on }).filter(|found| !found.entries.is_empty());
                    Committer::on(opened.checkpoint, fsync, taken)
                }
                Err(error) => Committer::waiting(Box::new(reopen), fsync, error.to_string()),
            }
        };
        let agent = Agent {
            engine,
            committer,
            scrapers: Scrapers::default(),
            connections: Scrapers::default(),
            clock: clock.clone(),
            hold: fixed,
            started_ms: clock.elapsed_ms(),
        };
        (agent, found)
    }

    /// Looks for logs when it is time, and reads what is due, to the end.
    pub fn look(&mut self) {
        self.engine.refresh_if_due();
        while self.engine.turn().more {}
    }

    pub fn cut(&mut self, for_scrape: bool) -> Arc<Cut> {
        if for_scrape {
            self.engine.read_everything_due_or_not();
            while self.engine.turn().more {}
        }
        Arc::new(self.engine.cut(for_scrape))
    }

    pub fn commit(&mut self, cut: &Arc<Cut>, end: bool) -> Verdict {
        let verdict = self.committer.commit(cut, self.clock.monotonic(), end);
        if let Some(reason) = verdict.broken {
            self.engine.broke(reason);
        }
        for notice in &verdict.notices {
            self.engine.broke(notice.reason());
        }
        verdict
    }

    /// Whether the disk holds what is shown.
    pub fn is_durable(&self) -> bool {
        self.committer.facts().durable
    }

    /// A scraper is sent a cut.
    pub fn served(&mut self, number: u64, peer: SocketAddr) {
        let at = self.clock.monotonic();
        self.scrapers.came(peer.ip(), at);
        self.connections.came(peer, at);
        self.engine.served(number, at, self.hold());
    }

    pub fn hold(&self) -> Duration {
        let gap = self.connections.longest_gap();
        self.hold.unwrap_or_else(|| self.scrapers.hold(gap, self.clock.monotonic()))
    }

    /// Whether each scraper of the last minutes has come again since a moment.
    pub fn all_scraped_since(&self, moment: Duration) -> bool {
        self.scrapers.seen_since(moment)
    }
}

/// Small, so that a day sees the state directory's whole life.
fn limits() -> Limits {
    Limits { log_bytes_min: 16 << 10, ..Limits::default() }
}

/// The values of a cut, as a person or a scraper is shown them.
pub fn values(snapshot: &Snapshot, shown: Shown, oracle: &mut Oracle) -> Page {
    let value = |sample: weir::metrics::Sample| {
        let series = oracle.series(sample.labels.get("container"), sample.labels.get("k"));
        (series, sample.value.as_f64() as u64)
    };
    snapshot.samples(shown).map(value).collect()
}
