//! The top level of the file.

use super::delivery::DeliveryConfig;
use super::scrape::ScrapeConfig;
use super::secrets::without_secrets;
use super::state::{BirthHold, FinalScrapeWait, StateConfig};
use crate::diagnostic::Diagnostics;
use crate::pipeline::LineRate;
use crate::server::ServerConfig;
use crate::sink::ClientConfig;
use crate::yaml::{ByteSize, Fields, FromNode, Node, Spanned};
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

/// What the user wrote, checked for itself.
#[derive(Debug)]
pub struct Config {
    pub server: ServerConfig,
    pub clients: Vec<ClientConfig>,
    pub positions: PositionsConfig,
    pub state: StateConfig,
    pub scrape_configs: Vec<ScrapeConfig>,
    pub target_config: TargetConfig,
    pub limits: LimitsConfig,
    pub metrics: MetricsDefaults,
    pub delivery: DeliveryConfig,
    /// All of it as YAML, secrets hidden.
    text: String,
}

/// `positions`: where a first start takes Promtail's cursors from, and the default place of the state directory.
#[derive(Debug)]
pub struct PositionsConfig {
    pub filename: Option<String>,
    /// Default 10 s.
    pub sync_period: Duration,
    pub ignore_invalid_yaml: bool,
}

/// `target_config`.
#[derive(Debug)]
pub struct TargetConfig {
    /// How often targets are looked for (default 10 s). Directories of pods are looked at every second.
    pub sync_period: Duration,
    pub stdin: bool,
}

/// `limits_config`: what concerns the sending of entries is checked now and used with delivery.
#[derive(Debug)]
pub struct LimitsConfig {
    pub readline_rate_enabled: bool,
    /// Lines per second that may reach the end of all pipelines together, and how many at once (default 10,000 each).
    pub readline_rate: f64,
    pub readline_burst: u64,
    /// Whether lines past the rate are dropped (default), or nothing is read for a while.
    pub readline_rate_drop: bool,
    pub max_streams: Option<u64>,
    pub max_line_size: Option<u64>,
    pub max_line_size_truncate: bool,
}

/// `metrics`, of ours: defaults for every metric of the file.
#[derive(Debug)]
pub struct MetricsDefaults {
    /// Series that a metric may have before new ones go to `__other__` (default 100,000).
    pub series_max: u64,
    pub birth_hold: BirthHold,
    pub final_scrape_wait: FinalScrapeWait,
}

impl Config {
    pub(super) fn from_root(root: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(root, "the configuration", d)?;
        let server = match fields.node("server") {
            Some(node) => ServerConfig::from_node(node, d).unwrap_or_default(),
            None => ServerConfig::default(),
        };
        let clients = read_clients(&mut fields, d);
        let positions = PositionsConfig::from_optional(fields.node("positions"), d);
        let state = StateConfig::from_optional(fields.node("state"), d);
        let target_config = TargetConfig::from_optional(fields.node("target_config"), d);
        let limits = fields.optional("limits_config", d).unwrap_or_default();
        let metrics = MetricsDefaults::from_optional(fields.node("metrics"), d);
        let delivery = DeliveryConfig::from_optional(fields.node("delivery"), d);
        let span = fields.span();
        let scrape_configs: Vec<ScrapeConfig> = fields.list("scrape_configs", d);
        tolerate_the_rest(&mut fields, d);
        fields.finish(d);
        check_jobs(&scrape_configs, d);
        if scrape_configs.is_empty() && !d.has_errors() {
            d.warning(span, "no `scrape_configs`: there is nothing to read");
        }
        Some(Config {
            server,
            clients,
            positions,
            state,
            scrape_configs,
            target_config,
            limits,
            metrics,
            delivery,
            text: without_secrets(root),
        })
    }

    /// The configuration as YAML, secrets hidden.
    pub fn text_without_secrets(&self) -> &str {
        &self.text
    }

    /// Where cursors and counters are kept; `None`: they are not.
    pub fn state_directory(&self) -> Option<PathBuf> {
        self.state.directory(self.positions.filename.as_deref())
    }

    /// Clients that something would be sent to.
    pub fn active_clients(&self) -> impl Iterator<Item = &ClientConfig> {
        self.clients.iter().filter(|client| !client.url.value.is_empty())
    }
}

/// `clients`, and the single `client` of old files; without any, the agent counts and forwards nothing.
fn read_clients(fields: &mut Fields<'_>, d: &mut Diagnostics) -> Vec<ClientConfig> {
    let mut clients: Vec<ClientConfig> = fields.list("clients", d);
    let Some(node) = fields.node("client").filter(|node| !node.is_null()) else { return clients };
    let span = fields.key_span("client").unwrap_or(node.span);
    // As in Promtail: the rest of a block without an address is for a client of the command line's.
    if !clients.is_empty() && node.get("url").is_none() {
        d.warning(span, "`client` has no `url`: of all it says only its `external_labels` count, for every client")
            .help("write them in each of `clients`");
        let labels = node.get("external_labels").and_then(|labels| Vec::from_node(labels, d));
        add_labels(&mut clients, &labels.unwrap_or_default());
        return clients;
    }
    d.warning(span, "`client` is deprecated").help("write a list: `clients: [{url: …}]`");
    if let Some(client) = ClientConfig::from_node(node, d) {
        add_labels(&mut clients, &client.external_labels);
        clients.push(client);
    }
    clients
}

/// The single client's labels are every client's, but for those that say another value themselves.
fn add_labels(clients: &mut [ClientConfig], labels: &[(Spanned<String>, Spanned<String>)]) {
    for client in clients {
        let own: HashSet<&str> = client.external_labels.iter().map(|(name, _)| name.value.as_str()).collect();
        let more: Vec<_> = labels.iter().filter(|(name, _)| !own.contains(name.value.as_str())).cloned().collect();
        client.external_labels.extend(more);
    }
}

/// Blocks of Promtail's that have nothing to do with what is counted or sent.
fn tolerate_the_rest(fields: &mut Fields<'_>, d: &mut Diagnostics) {
    fields.ignored(&["global"], "weir polls files at its own pace (docs/operations.md)", d);
    fields.ignored(&["options"], "Promtail has no options here either", d);
    if let Some(tracing) = fields.node("tracing")
        && tracing.get("enabled").is_some_and(|node| bool::from_node(node, d) == Some(true))
    {
        d.warning(tracing.span, "`tracing` has no effect here: weir sends no traces");
    }
    if let Some(wal) = fields.node("wal")
        && wal.get("enabled").is_some_and(|node| bool::from_node(node, d) == Some(true))
    {
        d.warning(wal.span, "`wal` has no effect here: lines are read from the log files alone");
    }
}

fn check_jobs(jobs: &[ScrapeConfig], d: &mut Diagnostics) {
    let mut seen = HashSet::new();
    for job in jobs {
        if !job.job_name.value.is_empty() && !seen.insert(&job.job_name.value) {
            d.error(job.job_name.span, format!("the job name `{}` is taken already", job.job_name.value))
                .help("every scrape config has a name of its own");
        }
    }
}

impl PositionsConfig {
    fn from_optional(node: Option<&Node>, d: &mut Diagnostics) -> Self {
        let mut config =
            PositionsConfig { filename: None, sync_period: Duration::from_secs(10), ignore_invalid_yaml: false };
        if let Some(mut fields) = node.and_then(|node| Fields::new(node, "`positions`", d)) {
            config.filename = fields.optional("filename", d);
            config.sync_period = fields.or("sync_period", config.sync_period, d);
            config.ignore_invalid_yaml = fields.or("ignore_invalid_yaml", false, d);
            fields.finish(d);
        }
        config
    }
}

impl TargetConfig {
    fn from_optional(node: Option<&Node>, d: &mut Diagnostics) -> Self {
        let mut config = TargetConfig { sync_period: Duration::from_secs(10), stdin: false };
        if let Some(mut fields) = node.and_then(|node| Fields::new(node, "`target_config`", d)) {
            config.sync_period = fields.or("sync_period", config.sync_period, d).max(Duration::from_millis(100));
            config.stdin = fields.or("stdin", false, d);
            fields.finish(d);
        }
        config
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig {
            readline_rate_enabled: false,
            readline_rate: 10_000.0,
            readline_burst: 10_000,
            readline_rate_drop: true,
            max_streams: None,
            max_line_size: None,
            max_line_size_truncate: false,
        }
    }
}

impl LimitsConfig {
    /// The rate of all lines.
    pub fn line_rate(&self) -> LineRate {
        match self.readline_rate_enabled {
            true => LineRate::new(self.readline_rate, self.readline_burst, self.readline_rate_drop),
            false => LineRate::default(),
        }
    }
}

impl FromNode for LimitsConfig {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "`limits_config`", d)?;
        let default = LimitsConfig::default();
        let rate = fields.optional::<Spanned<f64>>("readline_rate", d);
        let burst = fields.optional::<Spanned<u64>>("readline_burst", d);
        if let Some(rate) = rate.as_ref().filter(|rate| !(rate.value > 0.0 && rate.value.is_finite())) {
            d.error(rate.span, "`readline_rate` must be above 0");
        }
        if let Some(burst) = burst.as_ref().filter(|burst| burst.value == 0) {
            d.error(burst.span, "`readline_burst` must be at least 1");
        }
        let config = LimitsConfig {
            readline_rate_enabled: fields.or("readline_rate_enabled", false, d),
            readline_rate: rate.map_or(default.readline_rate, |rate| rate.value),
            readline_burst: burst.map_or(default.readline_burst, |burst| burst.value),
            readline_rate_drop: fields.or("readline_rate_drop", true, d),
            max_streams: fields.optional("max_streams", d),
            max_line_size: fields.optional::<ByteSize>("max_line_size", d).map(|size| size.0),
            max_line_size_truncate: fields.or("max_line_size_truncate", false, d),
        };
        fields.finish(d);
        Some(config)
    }
}

impl MetricsDefaults {
    fn from_optional(node: Option<&Node>, d: &mut Diagnostics) -> Self {
        let mut config = MetricsDefaults {
            series_max: 100_000,
            birth_hold: BirthHold::default(),
            final_scrape_wait: FinalScrapeWait::default(),
        };
        if let Some(mut fields) = node.and_then(|node| Fields::new(node, "`metrics`", d)) {
            config.series_max = fields.or("max_series", config.series_max, d).max(1);
            config.birth_hold = fields.or("birth_hold", config.birth_hold, d);
            config.final_scrape_wait = fields.or("final_scrape_wait", config.final_scrape_wait, d);
            fields.finish(d);
        }
        config
    }
}
