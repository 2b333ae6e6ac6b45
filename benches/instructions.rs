//! The same lines through a workload again and again, for callgrind to count: `instructions WORKLOAD FOLDER PASSES`, and
//! `instructions write FOLDER LINES` for the logs. tests/instructions.rs runs it; one thread, no network.

mod support;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::database;
use support::lines::Format;
use support::tree::{self, Tree};
use support::workload::Workload;
use weir::app::Engine;
use weir::clock::{Clock, ManualClock};
use weir::config::Config;
use weir::pipeline::{Origin, Output, Record};
use weir::sink::{Collector, EntryLimits, wire};

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [what, folder, number] = &args[..] else {
        println!("this is run by tests/instructions.rs");
        return Ok(());
    };
    let (folder, number) = (Path::new(folder), number.parse().expect("a number"));
    match what.as_str() {
        "write" => write(folder, number),
        name => pass(Workload::named(name), folder, number),
    }
}

fn write(folder: &Path, lines: usize) -> io::Result<()> {
    fs::write(folder.join("country.mmdb"), database::country())?;
    fs::write(folder.join("city.mmdb"), database::city())?;
    for format in [Format::Json, Format::Text, Format::Docker] {
        Tree::new(folder, format, 1)?.grow(lines)?;
    }
    Ok(())
}

/// What the log holds, so many times: the first time as it is, then appended.
fn pass(workload: &Workload, folder: &Path, passes: usize) -> io::Result<()> {
    let config = workload.config(folder, "http://127.0.0.1:1/loki/api/v1/push");
    let log = tree::logs(&tree::root(folder, workload.format))?.remove(0);
    let mut lines = Vec::new();
    File::open(&log)?.read_to_end(&mut lines)?;
    let mut log = File::options().write(true).open(&log)?;
    log.set_len(0)?;
    let clock = Arc::new(ManualClock::at(1_795_228_200_000_000_000));
    let mut engine = Engine::new(&config, clock.clone());
    engine.check_geoip();
    if workload.forwards {
        engine.set_output(Box::new(Collecting::new(&config, clock.monotonic())));
    }
    engine.refresh();
    let count = memchr::memchr_iter(b'\n', &lines).count() as u64 * config.scrape_configs.len() as u64;
    let read = |engine: &Engine| engine.books().iter().map(|books| books.read).sum::<u64>();
    for pass in 1..=passes as u64 {
        log.write_all(&lines)?;
        // A turn has an end, however much there is to read.
        while read(&engine) < count * pass {
            let before = read(&engine);
            engine.read_everything_due_or_not();
            engine.hand_over();
            assert!(read(&engine) > before, "a line is missing");
        }
        assert_eq!(read(&engine), count * pass);
    }
    log.set_len(lines.len() as u64)
}

/// Entries on their way into batches, which are then forgotten.
struct Collecting {
    collector: Collector,
    now: Duration,
    /// Whether batches are compressed, which the agent does on another thread: `WEIR_PACK=1`.
    packs: bool,
}

impl Collecting {
    fn new(config: &Config, now: Duration) -> Self {
        let client = config.active_clients().next().expect("a client");
        let packs = std::env::var_os("WEIR_PACK").is_some();
        Collecting { collector: Collector::new(client, &EntryLimits::default()), now, packs }
    }
}

impl Output for Collecting {
    fn entry(&mut self, record: &Record<'_>, origin: Origin) {
        self.collector.entry(record, origin, self.now);
        if self.collector.has_sealed() {
            let sealed: Vec<_> = self.collector.sealed().collect();
            for sealed in sealed {
                assert!(!self.packs || !wire::pack(&sealed.message).is_empty());
                self.collector.recycle(sealed.message);
            }
        }
    }
}
