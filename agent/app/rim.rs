//! The agent as the server sees it.

use super::events;
use super::pages::Pages;
use super::publish::Published;
use super::running::Reload;
use super::worker::{Command, Report};
use crate::config::Config;
use crate::geoip::GeoIpSet;
use crate::metrics::Format;
use crate::server::{self, DiscoveryPage, NO_LOGS, Scrape, TargetsPage};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

pub struct Rim {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    published: Arc<Mutex<Published>>,
    /// Held from a question to the worker until its answer is published: a page shows one moment, never series from
    /// before a reload beside the count of that reload.
    moment: tokio::sync::Mutex<()>,
    /// The running configuration as text, secrets hidden.
    config: Mutex<String>,
    reload: Option<Reload>,
    geoip: GeoIpSet,
    stats: Arc<server::Stats>,
}

/// What the worker leaves for the pages, so that they never wait for it.
#[derive(Default)]
pub struct Shared {
    pages: Mutex<Arc<Pages>>,
}

impl Shared {
    pub fn leave(&self, pages: Pages) {
        *lock(&self.pages) = Arc::new(pages);
    }

    fn pages(&self) -> Arc<Pages> {
        Arc::clone(&lock(&self.pages))
    }
}

/// A panic of another thread leaves nothing half-done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rim {
    pub fn new(commands: mpsc::Sender<Command>, config: &Config, reload: Option<Reload>, geoip: GeoIpSet) -> Self {
        Rim {
            commands,
            shared: Arc::default(),
            published: Arc::default(),
            moment: tokio::sync::Mutex::default(),
            config: Mutex::new(config.text_without_secrets().to_string()),
            reload,
            geoip,
            stats: Arc::default(),
        }
    }

    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub fn stats(&self) -> Arc<server::Stats> {
        Arc::clone(&self.stats)
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

    /// Reads the configuration again and goes over to it.
    pub async fn reload_now(&self) -> Result<(), String> {
        let read = match &self.reload {
            Some(reload) => reload(),
            None => Err("there is no configuration file to read again".to_string()),
        };
        let _moment = self.moment.lock().await;
        let outcome = match read {
            Ok(config) => {
                let text = config.text_without_secrets().to_string();
                match self.ask(|reply| Command::Reconfigure(Box::new(config), reply)).await {
                    Some(()) => {
                        *lock(&self.config) = text;
                        Ok(())
                    }
                    None => Err("the agent is ending".to_string()),
                }
            }
            Err(why) => Err(why),
        };
        match &outcome {
            Ok(()) => events::reloaded(),
            Err(why) => events::reload_failed(why),
        }
        lock(&self.published).reloaded(outcome.is_ok());
        outcome
    }

    /// The exposition of a report: log-derived series and the agent's own metrics.
    async fn expose(&self, report: Report, format: Format, started: Instant) -> Scrape {
        let (published, facts) = (Arc::clone(&self.published), self.geoip.facts());
        let stats = Arc::clone(&self.stats);
        let encoded = tokio::task::spawn_blocking(move || {
            let published = lock(&published);
            published.take(&report, &facts, &stats);
            let chunks = published.encode(&report.snapshot, format);
            published.scraped(started.elapsed());
            chunks
        });
        match encoded.await {
            Ok(Ok(chunks)) => Scrape { content_type: format.content_type(), chunks },
            Ok(Err(error)) => {
                events::not_encoded(&error.to_string());
                Scrape::whole("text/plain", format!("{error}\n"))
            }
            Err(_) => Scrape::whole("text/plain", "the exposition could not be made\n"),
        }
    }
}

impl server::Agent for Rim {
    async fn scrape(&self, accept: Option<&str>, _timeout: Option<Duration>) -> Scrape {
        let started = Instant::now();
        let format = Format::negotiate(accept.unwrap_or_default());
        let _moment = self.moment.lock().await;
        match self.ask(Command::Report).await {
            Some(report) => self.expose(report, format, started).await,
            None => Scrape::whole("text/plain", "the agent is ending\n"),
        }
    }

    fn ready(&self) -> Result<(), String> {
        if self.shared.pages().ready { Ok(()) } else { Err(NO_LOGS.to_string()) }
    }

    fn targets(&self) -> TargetsPage {
        self.shared.pages().targets.clone()
    }

    fn service_discovery(&self) -> DiscoveryPage {
        self.shared.pages().discovery.clone()
    }

    fn config(&self) -> String {
        lock(&self.config).clone()
    }

    async fn reload(&self) -> Result<(), String> {
        self.reload_now().await
    }
}
