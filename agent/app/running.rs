//! A running agent: the worker thread and the rim.

use super::committer::Committer;
use super::config_file::ConfigFile;
use super::cut::Cuts;
use super::delivery::Deliveries;
use super::engine::Engine;
use super::events;
use super::pods::queries;
use super::rim::{Rim, Shared};
use super::state::{self, Keeping};
use super::worker::{Command, Commit, Report, Wake, Worker};
use crate::clock::{Clock, SystemClock};
use crate::config::{BirthHold, Config};
use crate::geoip::GeoIpSet;
use crate::metrics::Scrapers;
use crate::pipeline::Output;
use crate::server;
use crate::sink::{Printer, WhenFull};
use crate::source::raise_open_files;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior};

/// How often the end looks whether all scrapers have come for the last cut.
const FINAL_LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the end waits for the disk to take the last cut.
const FINAL_CUT_MAX: Duration = Duration::from_secs(10);
/// How often the files of databases are looked at.
const GEOIP_EVERY: Duration = Duration::from_secs(5);

pub struct Running {
    commands: mpsc::Sender<Command>,
    worker: JoinHandle<()>,
    rim: JoinHandle<()>,
    sender: JoinHandle<()>,
    deliveries: Arc<Deliveries>,
    end: watch::Sender<bool>,
    /// Whoever started the agent asks it nothing more: a signal may end it.
    may_end: watch::Sender<bool>,
    interrupted: Arc<AtomicBool>,
    address: Option<SocketAddr>,
}

impl Running {
    /// Starts the agent; with `dry_run` entries are printed, and the state directory is not written to. Without a `file`
    /// the configuration is never read again. Errors: a thread cannot be started, the address of the server cannot be taken.
    pub fn start(config: Config, file: Option<ConfigFile>, dry_run: bool) -> io::Result<Running> {
        let geoip = GeoIpSet::default();
        let (commands, received) = mpsc::channel();
        let (end, ended) = watch::channel(false);
        let (may_end, released) = watch::channel(false);
        let interrupted = Arc::new(AtomicBool::new(false));
        let (cuts, clock): (Arc<Cuts>, Arc<dyn Clock>) = (Arc::default(), Arc::new(SystemClock));
        let mut rim = Rim::new(commands.clone(), &config, file, geoip.clone(), Arc::clone(&cuts), Arc::clone(&clock));
        let deliveries = rim.deliver();
        let output: Box<dyn Output> = if dry_run {
            Box::new(Printer::new(io::stdout()))
        } else {
            deliveries.configure(&config, WhenFull::DropOldest).map_err(io::Error::other)?
        };
        let rim = Arc::new(rim);
        let (opened, open) = mpsc::channel();
        let rim_thread = {
            let (server, rim) = (config.server.clone(), Arc::clone(&rim));
            let queries = queries(&config);
            let ending = Ending {
                ended,
                released,
                interrupted: Arc::clone(&interrupted),
                final_wait: state::final_scrape_wait(&config),
                deliveries: Arc::clone(&deliveries),
                shutdown_grace: config.delivery.shutdown_grace,
            };
            thread::Builder::new().name("rim".into()).spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match runtime {
                    Ok(runtime) => runtime.block_on(async {
                        rim.pods().follow(queries);
                        attend(server, rim, opened, ending).await;
                    }),
                    Err(error) => drop(opened.send(Err(error))),
                }
            })?
        };
        let address = open.recv().unwrap_or_else(|_| Err(io::Error::other("the rim ended at once")))?;
        let worker = {
            let desk = Desk {
                commands: commands.clone(),
                received,
                cuts,
                clock,
                deliveries: Arc::clone(&deliveries),
                dry_run,
            };
            let (shared, pods) = (rim.shared(), rim.pods().lists().clone());
            let last = EndsAll(end.clone());
            thread::Builder::new().name("worker".into()).spawn(move || {
                let _last = last;
                let mut engine = Engine::with_geoip(&config, Arc::clone(&desk.clock), geoip);
                engine.set_open_max(raise_open_files());
                engine.set_output(output);
                engine.set_pods(pods);
                desk.work(engine, &config, &shared);
            })?
        };
        let sender = deliveries.start()?;
        if let Some(address) = address {
            events::listening(address);
        }
        Ok(Running { commands, worker, rim: rim_thread, sender, deliveries, end, may_end, interrupted, address })
    }

    /// Where the pages are served; `None` with `server.disable`.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Whether a signal asked the process to end.
    pub fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// The state of the worker now; `None` when it has ended.
    pub fn report(&self) -> Option<Report> {
        self.ask(Command::Report)
    }

    /// Waits until everything that is there now was read.
    pub fn drain(&self) {
        self.ask(Command::Drain);
    }

    fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).ok()?;
        answer.blocking_recv().ok()
    }

    /// Waits for SIGTERM or SIGINT, then ends the agent. Errors: a part of it ended by itself, by a panic.
    pub fn wait(self) -> io::Result<()> {
        // The rim ends by itself when a signal comes.
        let Running { commands, worker, rim, sender, deliveries, may_end, .. } = self;
        may_end.send_replace(true);
        let rim = rim.join();
        // It has asked the worker to stop already, unless it ended by a panic.
        let _ = commands.send(Command::Stop(oneshot::channel().0));
        let worker = worker.join();
        // It has been told already, too.
        deliveries.end_unless_told();
        match (rim, worker, sender.join()) {
            (Ok(()), Ok(()), Ok(())) => Ok(()),
            _ => Err(io::Error::other("a thread of the agent ended by a panic; see above")),
        }
    }

    /// Ends the agent. Errors: as for [`wait`](Self::wait).
    pub fn stop(self) -> io::Result<()> {
        self.end.send_replace(true);
        self.wait()
    }
}

/// What the worker's thread works with.
struct Desk {
    commands: mpsc::Sender<Command>,
    received: mpsc::Receiver<Command>,
    cuts: Arc<Cuts>,
    clock: Arc<dyn Clock>,
    deliveries: Arc<Deliveries>,
    /// What the last run left is read and nothing is kept.
    dry_run: bool,
}

impl Desk {
    /// Takes up the state of the last run, and then works until the end.
    fn work(self, mut engine: Engine, config: &Config, shared: &Shared) {
        let Desk { commands, received, cuts, clock, deliveries, dry_run } = self;
        // Before the first series is born.
        engine.set_hold(match config.metrics.birth_hold {
            BirthHold::Auto => Scrapers::<()>::default().hold(None, Duration::ZERO),
            BirthHold::Fixed(fixed) => fixed,
        });
        let keeping = match dry_run {
            true => Some(Keeping { committer: state::look(config, &mut engine), anew: false }),
            false => state::open(config, &mut engine, &received, &deliveries),
        };
        let Some(Keeping { committer, anew }) = keeping else { return };
        let keeps_state = committer.keeps_state();
        let (commits, to_commit) = mpsc::channel();
        // Outboxes outlive the worker. Held by them, this would keep the committer waiting for cuts for ever.
        let relieve = Arc::new(commits.clone());
        let pressed = Arc::downgrade(&relieve);
        deliveries.on_pressure(move || {
            if let Some(relieve) = pressed.upgrade() {
                let _ = relieve.send(Commit::Relieve);
            }
        });
        let answers = commands.clone();
        let committing = thread::Builder::new().name("committer".into());
        let committing = committing.spawn(move || commit_all(committer, &to_commit, &answers, &cuts, &*clock));
        match committing {
            Ok(committing) => {
                let wake: Wake = Box::new(move || drop(commands.send(Command::Wake)));
                Worker::new(engine, commits, keeps_state, anew).run(shared, wake, &received);
                drop(relieve);
                // A panic there was told already, and must end this thread too.
                committing.join().expect("the committer ends when its cuts do");
            }
            Err(error) => events::no_thread(&error.to_string()),
        }
    }
}

/// The committer's thread: each cut to the disk, and then to be shown.
fn commit_all(
    mut committer: Committer,
    commits: &mpsc::Receiver<Commit>,
    answers: &mpsc::Sender<Command>,
    cuts: &Cuts,
    clock: &dyn Clock,
) {
    for commit in commits {
        let Commit::Cut { cut, end } = commit else {
            committer.relieve();
            let _ = answers.send(Command::Wake);
            continue;
        };
        let started = clock.monotonic();
        let verdict = committer.commit(&cut, started, end);
        committer.took(clock.monotonic() - started);
        cuts.note(committer.facts().clone());
        if verdict.publish {
            cuts.publish(cut);
        }
        if end {
            cuts.end();
        }
        let _ = answers.send(Command::Committed(verdict));
    }
}

/// Ends the rim when the worker ends, however that came: an agent that reads nothing must not look alive.
struct EndsAll(watch::Sender<bool>);

impl Drop for EndsAll {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// How the agent comes to its end.
struct Ending {
    /// It is to end, or the worker has.
    ended: watch::Receiver<bool>,
    released: watch::Receiver<bool>,
    interrupted: Arc<AtomicBool>,
    final_wait: Duration,
    deliveries: Arc<Deliveries>,
    shutdown_grace: Duration,
}

/// The rim's one task: the server, signals, the files of databases and of the configuration.
async fn attend(
    config: server::ServerConfig,
    rim: Arc<Rim>,
    opened: mpsc::Sender<io::Result<Option<SocketAddr>>>,
    ending: Ending,
) {
    let Ending { mut ended, mut released, interrupted, final_wait, deliveries, shutdown_grace } = ending;
    let server = match open(&config, &rim).await {
        Ok(server) => server,
        Err(error) => return drop(opened.send(Err(error))),
    };
    let _ = opened.send(Ok(server.as_ref().map(server::Server::address)));
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        events::no_signals();
        return;
    };
    let mut geoip = Some(ticks(GEOIP_EVERY));
    let mut config_file = rim.config_look_every().map(ticks);
    loop {
        tokio::select! {
            _ = ended.wait_for(|end| *end) => break,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                // Whatever comes of it is in the log and in the metrics.
                let _ = rim.reload_now().await;
            }
            () = next_of(&mut geoip) => rim.check_geoip().await,
            () = next_of(&mut config_file) => rim.look_at_config().await,
        }
    }
    interrupted.store(true, Ordering::Relaxed);
    // Gone without a word: then there is nobody to wait for.
    let _ = released.wait_for(|released| *released).await;
    let stopped = rim.monotonic();
    let _ = tokio::time::timeout(FINAL_CUT_MAX, rim.end()).await;
    deliveries.end(shutdown_grace.saturating_sub(rim.monotonic() - stopped));
    // Series whose target gets other labels with the next run are counted to the end only if all see the last cut.
    let all_came = async {
        while !rim.all_scraped_since(stopped) {
            tokio::time::sleep(FINAL_LOOK_EVERY).await;
        }
    };
    let final_wait = if server.is_some() { final_wait } else { Duration::ZERO };
    let last_words = async { tokio::join!(tokio::time::timeout(final_wait, all_came), deliveries.ended()) };
    tokio::select! {
        _ = last_words => {}
        _ = terminate.recv() => deliveries.end(Duration::ZERO),
        _ = interrupt.recv() => deliveries.end(Duration::ZERO),
    }
    if let Some(server) = server {
        server.shutdown().await;
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Waits for the next tick; for ever, where there are none.
async fn next_of(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}

async fn open(config: &server::ServerConfig, rim: &Arc<Rim>) -> io::Result<Option<server::Server>> {
    if config.disable {
        return Ok(None);
    }
    let listener = server::bind(config).await.map_err(|error| {
        let address = format!("{}:{}", config.http_listen_address, config.http_listen_port);
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })?;
    server::serve(listener, config, Arc::clone(rim), rim.stats()).map(Some)
}
