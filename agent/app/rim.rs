//! The agent as the server sees it.

use super::at_start::AtStart;
use super::config_file::ConfigFile;
use super::cut::{Cut, Cuts};
use super::delivery::Deliveries;
use super::events;
use super::pods::{PodWatches, queries};
use super::publish::Published;
use super::worker::Command;
use crate::clock::Clock;
use crate::config::{BirthHold, Config};
use crate::discovery::PodLists;
use crate::geoip::GeoIpSet;
use crate::metrics::{EncodeError, Format, Scrapers, Shown, encode};
use crate::pipeline::Output;
use crate::server::{self, Ask, DiscoveryPage, NO_LOGS, Scrape, TargetsPage};
use crate::sink::WhenFull;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::{RwLock, oneshot};

/// Scrapers whose requests come closer together than this share a cut.
const CUT_AGE_MAX: Duration = Duration::from_secs(1);
/// For so long a scrape waits for its cut, and no longer than half of what the scraper will wait: then it gets the
/// one before.
const CUT_WAIT_MAX: Duration = Duration::from_secs(3);

pub struct Rim {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    published: Arc<Mutex<Published>>,
    cuts: Arc<Cuts>,
    clock: Arc<dyn Clock>,
    birth_hold: Mutex<BirthHold>,
    scrapers: Mutex<Scrapers<IpAddr>>,
    /// Two scrapers behind one address are told apart by their connections, as long as these last.
    connections: Mutex<Scrapers<SocketAddr>>,
    /// Held for reading from a question to the worker until its answer is sent: a page shows one moment, never series
    /// from before a reload beside the count of that reload. Inside: when the configuration was loaded last.
    loaded: RwLock<Duration>,
    /// The running configuration as text, secrets hidden.
    config: Mutex<String>,
    file: Option<Arc<ConfigFile>>,
    at_start: AtStart,
    geoip: GeoIpSet,
    stats: Arc<server::Stats>,
    pods: PodWatches,
    /// None: entries are printed, or go nowhere.
    deliveries: Option<Arc<Deliveries>>,
}

/// Why a configuration does not run.
#[derive(Debug, thiserror::Error)]
enum NotReloaded {
    /// Something is wrong with it.
    #[error("{0}")]
    Refused(String),
    #[error("the agent is starting or ending")]
    AtABadTime,
}

/// What the worker leaves for those who must not wait for it.
#[derive(Default)]
pub struct Shared {
    /// Whether at least one source is read.
    ready: AtomicBool,
}

impl Shared {
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Relaxed);
    }
}

/// A panic of another thread leaves nothing half-done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rim {
    pub fn new(
        commands: mpsc::Sender<Command>,
        config: &Config,
        file: Option<ConfigFile>,
        geoip: GeoIpSet,
        cuts: Arc<Cuts>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let worker = commands.clone();
        // A worker that has ended needs no news.
        let wake = move || drop(worker.send(Command::Wake));
        Rim {
            pods: PodWatches::new(PodLists::default(), Arc::clone(&clock), wake),
            commands,
            shared: Arc::default(),
            published: Arc::default(),
            cuts,
            clock,
            birth_hold: Mutex::new(config.metrics.birth_hold),
            scrapers: Mutex::default(),
            connections: Mutex::default(),
            loaded: RwLock::default(),
            config: Mutex::new(config.text_without_secrets().to_string()),
            file: file.map(Arc::new),
            at_start: AtStart::of(config),
            geoip,
            stats: Arc::default(),
            deliveries: None,
        }
    }

    /// Delivers as the configuration says, from now on and after each reload.
    pub fn deliver(&mut self) -> Arc<Deliveries> {
        let metrics = lock(&self.published).sender_metrics();
        let deliveries = Arc::new(Deliveries::new(metrics, Arc::clone(&self.clock)));
        self.deliveries = Some(Arc::clone(&deliveries));
        deliveries
    }

    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub fn stats(&self) -> Arc<server::Stats> {
        Arc::clone(&self.stats)
    }

    /// What the API tells of pods.
    pub fn pods(&self) -> &PodWatches {
        &self.pods
    }

    /// Looks at the files of databases, off the rim's thread.
    pub async fn check_geoip(&self) {
        let geoip = self.geoip.clone();
        let events = tokio::task::spawn_blocking(move || geoip.check()).await.unwrap_or_default();
        for (path, event) in &events {
            events::geoip(path, event);
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).ok()?;
        answer.await.ok()
    }

    /// How often the configuration's file wants to be looked at, if it does.
    pub fn config_look_every(&self) -> Option<Duration> {
        self.file.as_ref()?.look_every()
    }

    /// Goes over to what the configuration's file holds, if that is something else than before.
    pub async fn look_at_config(&self) {
        let Some(file) = self.file.clone() else { return };
        let look = Arc::clone(&file);
        let Ok(Some(read)) = tokio::task::spawn_blocking(move || look.look()).await else { return };
        match self.apply(read).await {
            Err(NotReloaded::AtABadTime) => file.find_again(),
            outcome => self.tell(&outcome),
        }
    }

    /// Reads the configuration again and goes over to it.
    pub async fn reload_now(&self) -> Result<(), String> {
        let read = match self.file.clone() {
            Some(file) => match tokio::task::spawn_blocking(move || file.read()).await {
                Ok(read) => read,
                Err(_) => Err("it could not be read".to_string()),
            },
            None => Err("there is no configuration file to read again".to_string()),
        };
        let outcome = self.apply(read).await;
        self.tell(&outcome);
        outcome.map_err(|why| why.to_string())
    }

    /// Goes over to this configuration.
    async fn apply(&self, read: Result<Config, String>) -> Result<(), NotReloaded> {
        let config = read.map_err(NotReloaded::Refused)?;
        let mut loaded = self.loaded.write().await;
        let output = self.output(&config).map_err(NotReloaded::Refused)?;
        self.pods.follow(queries(&config));
        let (text, birth_hold) = (config.text_without_secrets().to_string(), config.metrics.birth_hold);
        let not_followed = self.at_start.differences(&config);
        let done = self.ask(|reply| Command::Reconfigure(Box::new(config), output, reply)).await;
        done.ok_or(NotReloaded::AtABadTime)?;
        *lock(&self.config) = text;
        *lock(&self.birth_hold) = birth_hold;
        *loaded = self.clock.monotonic();
        not_followed.for_each(events::read_at_start_only);
        Ok(())
    }

    /// To the log and to the metrics.
    fn tell(&self, outcome: &Result<(), NotReloaded>) {
        match outcome {
            Ok(()) => events::reloaded(),
            Err(why) => events::reload_failed(&why.to_string()),
        }
        lock(&self.published).reloaded(outcome.is_ok());
    }

    /// Where entries go with this configuration, if not to where they went before.
    fn output(&self, config: &Config) -> Result<Option<Box<dyn Output>>, String> {
        match &self.deliveries {
            Some(deliveries) => deliveries.configure(config, WhenFull::DropOldest).map(Some),
            None => Ok(None),
        }
    }

    /// The newest cut made at `since` or later; after `patience` the one before.
    async fn cut(&self, since: Duration, scraper: bool, patience: Duration) -> Option<Arc<Cut>> {
        let fresh = || {
            let cut = self.cuts.newest(scraper);
            cut.filter(|cut| cut.made >= since || self.cuts.has_ended())
        };
        let mut published = self.cuts.subscribe();
        if let Some(cut) = fresh() {
            return Some(cut);
        }
        self.commands.send(Command::Cut { for_scrape: scraper }).ok()?;
        let waiting = async {
            while published.changed().await.is_ok() {
                if let Some(cut) = fresh() {
                    return Some(cut);
                }
            }
            None
        };
        match tokio::time::timeout(patience, waiting).await {
            Ok(cut) => cut,
            Err(_) => self.cuts.newest(scraper),
        }
    }

    /// The exposition of a cut: log-derived series and the agent's own metrics. It is written as the connection takes it,
    /// and the cut is kept until then.
    async fn expose(&self, cut: Arc<Cut>, shown: Shown, format: Format, started: Instant) -> Result<Scrape, String> {
        let (published, facts) = (Arc::clone(&self.published), self.geoip.facts());
        let (stats, state, hold) = (Arc::clone(&self.stats), self.cuts.state(), self.hold());
        let (pods, now) = (self.pods.lists().clone(), self.clock.monotonic());
        let senders = self.deliveries.as_ref().map(|deliveries| deliveries.senders()).unwrap_or_default();
        let (mut writer, mut chunks) = server::chunks();
        let writing = tokio::task::spawn_blocking(move || {
            let own = {
                let published = lock(&published);
                published.take(&cut.report, &facts, &stats);
                published.take_state(&state, hold);
                published.take_senders(&senders);
                published.take_pods(&pods, now);
                published.gather()
            };
            encode(format, &cut.report.snapshot, &own, &mut writer, shown)?;
            // Before its end, so that whoever has read this page finds it counted on the next one.
            lock(&published).scraped(started.elapsed());
            Ok::<_, EncodeError>(writer.end()?)
        });
        if chunks.begin().await {
            return Ok(Scrape { content_type: format.content_type(), chunks });
        }
        match writing.await {
            Ok(Err(error)) => {
                events::not_encoded(&error.to_string());
                Err(error.to_string())
            }
            _ => Err("the exposition could not be made".to_string()),
        }
    }

    /// A scraper gets this cut now: births in it begin to count, and gaps between scrapes are learned.
    fn serve(&self, cut: &Cut, peer: Option<SocketAddr>) {
        let at = self.clock.monotonic();
        if let Some(peer) = peer {
            lock(&self.scrapers).came(peer.ip(), at);
            lock(&self.connections).came(peer, at);
        }
        // A worker that has ended needs no news.
        let _ = self.commands.send(Command::Served { number: cut.number, at, hold: self.hold() });
    }

    /// How long a newborn series is shown as 0.
    fn hold(&self) -> Duration {
        match *lock(&self.birth_hold) {
            BirthHold::Auto => {
                let gap = lock(&self.connections).longest_gap();
                lock(&self.scrapers).hold(gap, self.clock.monotonic())
            }
            BirthHold::Fixed(fixed) => fixed,
        }
    }

    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Whether every scraper of the last minutes has come again since a moment.
    pub fn all_scraped_since(&self, moment: Duration) -> bool {
        lock(&self.scrapers).seen_since(moment)
    }

    /// Has the worker make the last cut; it is published, or could not be, when this returns.
    pub async fn end(&self) {
        self.ask(Command::Stop).await;
    }
}

impl server::Agent for Rim {
    async fn scrape(&self, ask: Ask<'_>) -> Result<Scrape, String> {
        let started = Instant::now();
        let format = Format::negotiate(ask.accept.unwrap_or_default());
        let scraper = ask.timeout.is_some();
        let patience = ask.timeout.map_or(CUT_WAIT_MAX, |timeout| (timeout / 2).min(CUT_WAIT_MAX));
        let loaded = self.loaded.read().await;
        let asked = self.clock.monotonic();
        let since = if scraper { asked.saturating_sub(CUT_AGE_MAX) } else { asked };
        let Some(cut) = self.cut(since.max(*loaded), scraper, patience).await else {
            return Err("there is no cut yet: the agent is starting, or its disk does not answer".to_string());
        };
        if scraper {
            self.serve(&cut, ask.peer);
        }
        let shown = if scraper { Shown::ToScraper } else { Shown::ToPerson };
        self.expose(cut, shown, format, started).await
    }

    fn ready(&self) -> Result<(), String> {
        if self.shared.ready.load(Relaxed) { Ok(()) } else { Err(NO_LOGS.to_string()) }
    }

    async fn targets(&self) -> TargetsPage {
        self.ask(Command::Pages).await.unwrap_or_default().targets
    }

    async fn service_discovery(&self) -> DiscoveryPage {
        self.ask(Command::Pages).await.unwrap_or_default().discovery
    }

    fn config(&self) -> String {
        lock(&self.config).clone()
    }

    async fn reload(&self) -> Result<(), String> {
        self.reload_now().await
    }
}

#[cfg(test)]
#[path = "rim_fault_tests.rs"]
mod fault_tests;
