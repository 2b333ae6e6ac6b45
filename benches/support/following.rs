//! The agent's engine following the logs of a workload, and lines on their way to Loki.

use super::tree;
use super::workload::Workload;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use weir::app::{Deliveries, Engine};
use weir::clock::SystemClock;
use weir::config::Config;
use weir::metrics::Own;
use weir::sink::{SenderMetrics, WhenFull};

pub struct Following {
    pub engine: Engine,
    pub logs: Vec<PathBuf>,
    /// Where the next lines begin, of each log.
    pub offsets: Vec<u64>,
    jobs: u64,
    delivery: Option<Arc<Deliveries>>,
}

impl Following {
    /// Follows what is below a folder. `loki`: a client that lines are sent to, if the workload forwards any.
    pub fn start(workload: &Workload, folder: &Path, loki: &str) -> Following {
        let config = workload.config(folder, loki);
        let mut engine = Engine::new(&config, Arc::new(SystemClock));
        engine.check_geoip();
        let delivery = workload.forwards.then(|| deliver(&config, &mut engine));
        engine.refresh();
        let logs = tree::logs(&tree::root(folder, workload.format)).expect("logs");
        let offsets = vec![0; logs.len()];
        Following { jobs: config.scrape_configs.len() as u64, engine, logs, offsets, delivery }
    }

    /// Reads so many more lines, each in every job. They were written before.
    pub fn read(&mut self, lines: u64) {
        let target = self.lines() + lines * self.jobs;
        loop {
            self.engine.read_everything_due_or_not();
            if self.lines() >= target {
                break;
            }
            // What waits for the sender takes no time of this thread.
            if self.engine.makes_wait() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        assert_eq!(self.lines(), target, "more lines than were written");
        self.engine.hand_over();
    }

    /// Waits until all that was read is acknowledged.
    pub fn delivered(&self) {
        let Some(delivery) = &self.delivery else { return };
        let outboxes = delivery.outboxes().all();
        while outboxes.iter().any(|outbox| !outbox.is_empty()) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Marks what is there now as read.
    pub fn step(&mut self) {
        for (log, offset) in self.logs.iter().zip(&mut self.offsets) {
            *offset = log.metadata().expect("a log").len();
        }
    }

    /// Checks the books: each line in one column, and each that was to be sent acknowledged.
    pub fn check(&self) {
        for books in self.engine.books() {
            assert!(books.balanced(), "{books}");
        }
        let Some(delivery) = &self.delivery else { return };
        for outbox in delivery.outboxes().all() {
            let facts = outbox.facts();
            assert_eq!(facts.books.acknowledged, facts.books.entered, "{facts:?}");
            assert_eq!(facts.books.entered, self.lines() / self.jobs, "{facts:?}");
        }
    }

    fn lines(&self) -> u64 {
        self.engine.books().iter().map(|books| books.read).sum()
    }
}

/// As the agent delivers: a thread sends, and another one makes room in memory, as the committer does.
fn deliver(config: &Config, engine: &mut Engine) -> Arc<Deliveries> {
    let metrics = SenderMetrics::of(&Own::new("0"));
    let delivery = Arc::new(Deliveries::new(metrics, Arc::new(SystemClock)));
    let (press, pressed) = mpsc::channel::<()>();
    let outboxes = delivery.outboxes().clone();
    delivery.on_pressure(move || _ = press.send(()));
    thread::spawn(move || pressed.iter().for_each(|()| outboxes.relieve()));
    engine.set_output(delivery.configure(config, WhenFull::Wait).expect("a client"));
    delivery.start().expect("a thread");
    delivery
}
