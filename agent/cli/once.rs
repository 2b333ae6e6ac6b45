//! Runs that end: `-one-shot` over what the targets hold now, `-stdin` over standard input.

use super::exit::Exit;
use crate::app::{Deliveries, Engine, Progress, list_pods};
use crate::clock::SystemClock;
use crate::config::{Config, ScrapeConfig};
use crate::discovery::SourceConfig;
use crate::labels::Labels;
use crate::metrics::{Format, Shown, encode};
use crate::pipeline::Inspect;
use crate::sink::Printer;
use rustix::termios::isatty;
use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Between two pictures of the progress bar.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// How long the Kubernetes API has to tell which pods there are.
const PODS_WAIT: Duration = Duration::from_secs(30);
/// Characters of the bar itself.
const BAR_WIDTH: usize = 30;
/// Between two looks whether clients have taken enough for reading to go on.
const WAIT_FOR_ROOM: Duration = Duration::from_millis(5);
/// How long standard input may be silent before it is looked what is due.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Bytes that are read from standard input at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Runs the configuration over what its targets hold now: plain, rotated and `.gz` generations, to their end. The
/// exposition goes to standard output, or with `dry_run` the entries; a summary goes to standard error.
pub fn one_shot(config: &Config, dry_run: bool) -> Exit {
    let pods = match list_pods(config, PODS_WAIT) {
        Ok(pods) => pods,
        Err(error) => {
            eprintln!("weir: {error}");
            return Exit::Failed;
        }
    };
    let mut engine = Engine::new(config, Arc::new(SystemClock));
    engine.set_pods(pods);
    engine.check_geoip();
    if dry_run {
        engine.set_output(Box::new(Printer::new(BufWriter::new(io::stdout()))));
    }
    let started = Instant::now();
    let mut bar = Bar::new(isatty(io::stderr()));
    engine.run_to_end(&mut |progress| bar.draw(progress));
    engine.finish();
    bar.clear();
    if !dry_run && let Err(error) = print_exposition(&mut engine) {
        eprintln!("weir: standard output: {error}");
        return Exit::Failed;
    }
    summarize(&mut engine, started.elapsed());
    Exit::Clean
}

/// Runs standard input through the first job's pipeline, with the static labels of its first target, as Promtail
/// does: no relabelling, no `filename`. Empty lines are skipped, a trailing carriage return is removed. What reaches the
/// end is sent to the clients; reading waits for them, and so does the end.
pub fn stdin(config: &Config, dry_run: bool, inspect: bool) -> Exit {
    let Some(job) = config.scrape_configs.first() else {
        eprintln!("weir: -stdin needs a scrape config");
        return Exit::Failed;
    };
    let mut engine = Engine::new(config, Arc::new(SystemClock));
    engine.check_geoip();
    let mut delivery = None;
    if dry_run {
        // Line by line: somebody may watch.
        engine.set_output(Box::new(Printer::new(io::stdout())));
    } else if config.active_clients().next().is_some() {
        match Deliveries::of_a_run(config, &mut engine) {
            Ok(started) => delivery = Some(started),
            Err(why) => {
                eprintln!("weir: {why}");
                return Exit::Failed;
            }
        }
    }
    if inspect {
        engine.set_inspector(Box::new(Inspector::default()));
    }
    let name = job.job_name.value.clone();
    let labels = static_labels(job);
    let started = Instant::now();
    let mut rest = Vec::new();
    let input = read_ahead(io::stdin());
    loop {
        match input.recv_timeout(LOOK_EVERY) {
            Ok(Ok(chunk)) => {
                rest.extend_from_slice(&chunk);
                let whole = memchr::memrchr(b'\n', &rest).map_or(0, |at| at + 1);
                engine.feed_lines(&name, &labels, &rest[..whole]);
                rest.drain(..whole);
                while engine.makes_wait() {
                    std::thread::sleep(WAIT_FOR_ROOM);
                }
            }
            Ok(Err(error)) => {
                eprintln!("weir: standard input: {error}");
                return Exit::Failed;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        // Whoever writes may take its time: what is due leaves meanwhile.
        engine.turn();
    }
    engine.feed_lines(&name, &labels, &rest);
    engine.finish();
    engine.hand_over();
    if let Some(sent) = delivery {
        sent.wait();
    }
    if !dry_run && print_exposition(&mut engine).is_err() {
        return Exit::Failed;
    }
    summarize(&mut engine, started.elapsed());
    Exit::Clean
}

/// Reads on a thread of its own, one piece ahead. The end is the end of the channel.
fn read_ahead(mut input: impl Read + Send + 'static) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = match input.read(&mut chunk) {
                Ok(0) => return,
                Ok(read) => Ok(chunk[..read].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if sender.send(read).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// The log-derived series on standard output.
fn print_exposition(engine: &mut Engine) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    encode(Format::Text004, &engine.snapshot(), &[], &mut out, Shown::ToPerson).map_err(io::Error::other)?;
    out.flush()
}

/// The labels of the job's first static target, as they stand.
fn static_labels(job: &ScrapeConfig) -> Labels {
    let discovered = job.sources.iter().find_map(|source| match source {
        SourceConfig::Static(config) => config.discover().into_iter().next(),
        _ => None,
    });
    let mut labels = discovered.unwrap_or_default();
    // Every static target has an address; it is the one label that Promtail's raw merge leaves out.
    labels.remove("__address__");
    labels
}

fn summarize(engine: &mut Engine, elapsed: Duration) {
    let report = engine.report();
    let (mut lines, mut bytes) = (0, 0);
    for books in &report.books {
        eprintln!("{books}");
        lines += books.read;
        bytes += books.bytes;
    }
    for (reason, files) in &report.facts.files_refused {
        eprintln!("files not read ({reason}): {files}");
    }
    if report.facts.files_broken > 0 {
        eprintln!("files read in part (damaged): {}", report.facts.files_broken);
    }
    let seconds = elapsed.as_secs_f64().max(1e-6);
    eprintln!(
        "{lines} lines, {:.1} MB in {seconds:.2} s ({:.0} MB/s); {} series",
        bytes as f64 / 1e6,
        bytes as f64 / 1e6 / seconds,
        report.snapshot.samples(Shown::ToPerson).count(),
    );
}

/// `[######      ] 42 %`, on a terminal only.
struct Bar {
    terminal: bool,
    drawn: Option<Instant>,
}

impl Bar {
    fn new(terminal: bool) -> Self {
        Bar { terminal, drawn: None }
    }

    fn draw(&mut self, progress: &Progress) {
        if !self.terminal || self.drawn.is_some_and(|at| at.elapsed() < DRAW_EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        // Files may grow meanwhile, and compressed ones hold more than they weigh.
        let share = (progress.bytes_read as f64 / progress.bytes_total.max(1) as f64).min(1.0);
        let filled = (share * BAR_WIDTH as f64) as usize;
        let mut err = io::stderr().lock();
        let _ = write!(
            err,
            "\r[{}{}] {:3.0} %  {:.0} MB",
            "#".repeat(filled),
            " ".repeat(BAR_WIDTH - filled),
            share * 100.0,
            progress.bytes_read as f64 / 1e6
        );
    }

    fn clear(&self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// `-inspect`: what each stage changed, on standard error.
#[derive(Default)]
struct Inspector {
    before: State,
}

#[derive(Default, PartialEq)]
struct State {
    timestamp: i64,
    line: String,
    labels: String,
}

impl State {
    fn of(record: &crate::pipeline::Record<'_>) -> Self {
        let labels: Vec<String> =
            record.labels().map(|(name, value)| format!("{name}={:?}", String::from_utf8_lossy(value))).collect();
        State {
            timestamp: record.timestamp(),
            line: String::from_utf8_lossy(record.line()).into_owned(),
            labels: labels.join(", "),
        }
    }
}

impl Inspect for Inspector {
    fn start(&mut self, record: &crate::pipeline::Record<'_>) {
        self.before = State::of(record);
        eprintln!("[inspect: line] {:?}", self.before.line);
    }

    fn after(&mut self, stage: &'static str, record: &crate::pipeline::Record<'_>) {
        let after = State::of(record);
        if after == self.before {
            return;
        }
        eprintln!("[inspect: {stage} stage]");
        for (what, old, new) in [
            ("labels", &self.before.labels, &after.labels),
            ("line", &self.before.line, &after.line),
            ("timestamp", &self.before.timestamp.to_string(), &after.timestamp.to_string()),
        ] {
            if old != new {
                eprintln!("  {what}:\n    - {old}\n    + {new}");
            }
        }
        self.before = after;
    }
}
