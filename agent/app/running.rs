//! A running agent: the worker thread and the rim.

use super::engine::Engine;
use super::events;
use super::rim::Rim;
use super::worker::{self, Command, Report};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::geoip::GeoIpSet;
use crate::server;
use crate::source::raise_open_files;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

/// Reads the configuration again; the error says why the old one stays.
pub type Reload = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// How often the files of databases are looked at.
const GEOIP_EVERY: Duration = Duration::from_secs(5);

pub struct Running {
    commands: mpsc::Sender<Command>,
    worker: JoinHandle<()>,
    rim: JoinHandle<()>,
    end: watch::Sender<bool>,
    interrupted: Arc<AtomicBool>,
    address: Option<SocketAddr>,
}

impl Running {
    /// Starts the agent; with `dry_run` entries are printed. Errors: a thread cannot be started, the address of the server cannot be taken.
    pub fn start(config: Config, reload: Option<Reload>, dry_run: bool) -> io::Result<Running> {
        let geoip = GeoIpSet::default();
        let (commands, received) = mpsc::channel();
        let (end, ended) = watch::channel(false);
        let interrupted = Arc::new(AtomicBool::new(false));
        let rim = Arc::new(Rim::new(commands.clone(), &config, reload, geoip.clone()));
        let (opened, open) = mpsc::channel();
        let rim_thread = {
            let (server, rim, interrupted) = (config.server.clone(), Arc::clone(&rim), Arc::clone(&interrupted));
            thread::Builder::new().name("rim".into()).spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match runtime {
                    Ok(runtime) => runtime.block_on(attend(server, rim, interrupted, opened, ended)),
                    Err(error) => drop(opened.send(Err(error))),
                }
            })?
        };
        let address = open.recv().unwrap_or_else(|_| Err(io::Error::other("the rim ended at once")))?;
        let worker = {
            let waker = commands.clone();
            let shared = rim.shared();
            let last = EndsAll(end.clone());
            thread::Builder::new().name("worker".into()).spawn(move || {
                let wake: worker::Wake = Box::new(move || drop(waker.send(Command::Wake)));
                let _last = last;
                let mut engine = Engine::with_geoip(&config, Arc::new(SystemClock), geoip);
                engine.set_open_max(raise_open_files());
                worker::run(engine, dry_run, &shared, wake, &received);
            })?
        };
        if let Some(address) = address {
            events::listening(address);
        }
        Ok(Running { commands, worker, rim: rim_thread, end, interrupted, address })
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
        let Running { commands, worker, rim, .. } = self;
        let rim = rim.join();
        let _ = commands.send(Command::Stop);
        match (rim, worker.join()) {
            (Ok(()), Ok(())) => Ok(()),
            _ => Err(io::Error::other("a thread of the agent ended by a panic; see above")),
        }
    }

    /// Ends the agent. Errors: as for [`wait`](Self::wait).
    pub fn stop(self) -> io::Result<()> {
        self.end.send_replace(true);
        self.wait()
    }
}

/// Ends the rim when the worker ends, however that came: an agent that reads nothing must not look alive.
struct EndsAll(watch::Sender<bool>);

impl Drop for EndsAll {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// The rim's one task: the server, signals, the files of databases.
async fn attend(
    config: server::ServerConfig,
    rim: Arc<Rim>,
    interrupted: Arc<AtomicBool>,
    opened: mpsc::Sender<io::Result<Option<SocketAddr>>>,
    mut ended: watch::Receiver<bool>,
) {
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
    let mut geoip = tokio::time::interval(GEOIP_EVERY);
    geoip.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ended.wait_for(|end| *end) => break,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                // Whatever comes of it is in the log and in the metrics.
                let _ = rim.reload_now().await;
            }
            _ = geoip.tick() => rim.check_geoip().await,
        }
    }
    interrupted.store(true, Ordering::Relaxed);
    if let Some(server) = server {
        server.shutdown().await;
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
