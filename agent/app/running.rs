//! A running agent: the worker thread and the rim.

use super::engine::Engine;
use super::events;
use super::rim::Rim;
use super::worker::{self, Command, Report};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::geoip::GeoIpSet;
use crate::server;
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
    /// Starts the agent; with `dry_run` entries are printed. Errors: a thread cannot be started, the address of the
    /// server cannot be taken.
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
            let end = EndOnDrop(end.clone());
            thread::Builder::new().name("worker".into()).spawn(move || {
                let _end = end;
                let wake: worker::Wake = Box::new(move || drop(waker.send(Command::Wake)));
                let engine = Engine::with_geoip(&config, Arc::new(SystemClock), geoip);
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

    /// Waits for SIGTERM or SIGINT, then ends the agent. `false`: the worker ended before by a panic; an agent that
    /// counts nothing must not look alive.
    pub fn wait(self) -> bool {
        // The rim ends by itself when a signal comes, or when the worker has ended.
        let Running { commands, worker, rim, .. } = self;
        let _ = rim.join();
        let _ = commands.send(Command::Stop);
        worker.join().is_ok()
    }

    /// Ends the agent.
    pub fn stop(self) {
        self.end.send_replace(true);
        self.wait();
    }
}

/// Ends the rim when the worker ends, however it does.
struct EndOnDrop(watch::Sender<bool>);

impl Drop for EndOnDrop {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::diagnostic::Diagnostics;

    #[test]
    fn databases_are_there_before_the_first_line() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.log"), "192.0.2.1 x\n").expect("a log");
        let database = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/geoip/city.mmdb");
        let text = format!(
            "server: {{disable: true}}
scrape_configs:
- job_name: j
  static_configs: [{{labels: {{__path__: '{}/*.log'}}}}]
  pipeline_stages:
  - regex: {{expression: '^(?P<ip>\\S+)'}}
  - geoip: {{db: '{database}', source: ip, db_type: city}}
  - metrics: {{lines: {{type: Counter, config: {{match_all: true, action: inc}}}}}}
",
            folder.path().display()
        );
        let mut diagnostics = Diagnostics::new();
        let config = config::read(&text, &mut diagnostics);
        let config = config.unwrap_or_else(|| panic!("{:?}", diagnostics.sorted()));
        let agent = Running::start(config, None, false).expect("it starts");
        agent.drain();
        let report = agent.report().expect("it runs");
        agent.stop();
        let labels: Vec<String> = report.snapshot.samples().map(|sample| sample.labels.to_string()).collect();
        assert_eq!(labels.len(), 1);
        assert!(labels[0].contains("geoip_"), "{labels:?}");
    }
}
