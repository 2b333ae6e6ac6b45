//! The `server` block: what Promtail's (dskit's) server keys mean here.

use crate::diagnostic::Diagnostics;
use crate::yaml::{Fields, FromNode, Node, Spanned};
use std::str::FromStr;
use std::time::Duration;

/// Connections served at once, unless `http_listen_conn_limit` says otherwise: a few scrapers, probes and people.
pub const CONNECTIONS_MAX: usize = 64;

const HTTP_PORT: u16 = 9080;
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// What the user wrote under `server`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// No HTTP at all: no metrics, no probes, no reload over HTTP.
    pub disable: bool,
    /// A name or an address; empty is every address, of both families.
    pub http_listen_address: String,
    /// 9080 unless set. Promtail's default is 80, which its own examples replace by 9080 and which needs a privilege;
    /// a documented difference. 0 takes a free port.
    pub http_listen_port: u16,
    /// At least 1.
    pub connections_max: usize,
    /// Comes before every path; with or without slashes around it.
    pub http_path_prefix: String,
    /// The address under which people reach this server; only its path matters here, for the redirect at `/`.
    pub external_url: String,
    /// `/metrics` is there.
    pub register_instrumentation: bool,
    /// `/ready` asks the agent; else it is always "Ready".
    pub health_check_target: bool,
    /// `/reload` is there.
    pub enable_runtime_reload: bool,
    /// How long requests may go on after the server was told to end.
    pub graceful_shutdown_timeout: Duration,
    /// From the first byte of a request, or from the start of the connection, to the end of its head; more than 0.
    pub read_timeout: Duration,
    /// For working out an answer, and again for sending all of it; more than 0.
    pub write_timeout: Duration,
    /// Between the answer and the next request of a connection; more than 0.
    pub idle_timeout: Duration,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            disable: false,
            http_listen_address: String::new(),
            http_listen_port: HTTP_PORT,
            connections_max: CONNECTIONS_MAX,
            http_path_prefix: String::new(),
            external_url: String::new(),
            register_instrumentation: true,
            health_check_target: true,
            enable_runtime_reload: false,
            graceful_shutdown_timeout: SHUTDOWN_TIMEOUT,
            read_timeout: READ_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            log_level: LogLevel::Info,
            log_format: LogFormat::Logfmt,
        }
    }
}

impl ServerConfig {
    /// Reads the block. `None` when it is no map; every other mistake is reported and the default stands in.
    pub fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the server block", diagnostics)?;
        let f = &mut fields;
        let default = ServerConfig::default();
        let config = ServerConfig {
            disable: f.or("disable", default.disable, diagnostics),
            http_listen_address: f.or("http_listen_address", default.http_listen_address, diagnostics),
            http_listen_port: f.or("http_listen_port", default.http_listen_port, diagnostics),
            connections_max: connections_max(f, diagnostics),
            http_path_prefix: path_or_url("http_path_prefix", f, diagnostics),
            external_url: path_or_url("external_url", f, diagnostics),
            register_instrumentation: f.or("register_instrumentation", default.register_instrumentation, diagnostics),
            health_check_target: f.or("health_check_target", default.health_check_target, diagnostics),
            enable_runtime_reload: f.or("enable_runtime_reload", default.enable_runtime_reload, diagnostics),
            graceful_shutdown_timeout: f.or("graceful_shutdown_timeout", SHUTDOWN_TIMEOUT, diagnostics),
            read_timeout: read_timeout(f, diagnostics),
            write_timeout: limit("http_server_write_timeout", WRITE_TIMEOUT, f, diagnostics),
            idle_timeout: limit("http_server_idle_timeout", IDLE_TIMEOUT, f, diagnostics),
            log_level: f.or("log_level", default.log_level, diagnostics),
            log_format: f.or("log_format", default.log_format, diagnostics),
        };
        without_effect(f, diagnostics);
        fields.finish(diagnostics);
        Some(config)
    }
}

/// Promtail has no limit at 0; weir always has one.
fn connections_max(fields: &mut Fields, diagnostics: &mut Diagnostics) -> usize {
    match fields.or::<u64>("http_listen_conn_limit", 0, diagnostics) {
        0 => CONNECTIONS_MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    }
}

/// A time limit; Go's "0 is no limit" would let a silent client hold a connection for ever.
fn limit(key: &'static str, default: Duration, fields: &mut Fields, diagnostics: &mut Diagnostics) -> Duration {
    match fields.optional::<Spanned<Duration>>(key, diagnostics) {
        Some(zero) if zero.value.is_zero() => {
            diagnostics.warning(zero.span, format!("`{key}` must have a limit: {}s is used", default.as_secs()));
            default
        }
        Some(limit) => limit.value,
        None => default,
    }
}

/// The head's own limit wins over that of the whole request, as bodies are never read.
fn read_timeout(fields: &mut Fields, diagnostics: &mut Diagnostics) -> Duration {
    let whole = limit("http_server_read_timeout", READ_TIMEOUT, fields, diagnostics);
    let head: Duration = fields.or("http_server_read_header_timeout", Duration::ZERO, diagnostics);
    if head.is_zero() { whole } else { head.min(whole) }
}

/// A text that ends up in a `Location` header.
fn path_or_url(key: &'static str, fields: &mut Fields, diagnostics: &mut Diagnostics) -> String {
    let Some(text) = fields.optional::<Spanned<String>>(key, diagnostics) else { return String::new() };
    if !text.value.bytes().all(|b| b.is_ascii_graphic()) {
        diagnostics
            .error(text.span, format!("`{key}` may hold only visible ASCII characters"))
            .help("write other characters as `%` and two hex digits");
        return String::new();
    }
    text.value
}

/// Keys that Promtail knows and that change nothing here, or that cannot be had.
fn without_effect(fields: &mut Fields, diagnostics: &mut Diagnostics) {
    if fields.optional::<u16>("grpc_listen_port", diagnostics).is_some_and(|port| port != 0) {
        let span = fields.key_span("grpc_listen_port").unwrap_or(fields.span());
        diagnostics.warning(span, "`grpc_listen_port` has no effect here: weir opens no gRPC server");
    }
    if fields.or("profiling_enabled", false, diagnostics) {
        let span = fields.key_span("profiling_enabled").unwrap_or(fields.span());
        diagnostics.warning(span, "`profiling_enabled` has no effect here: weir has no /debug pages");
    }
    if fields.or("proxy_protocol_enabled", false, diagnostics) {
        let span = fields.key_span("proxy_protocol_enabled").unwrap_or(fields.span());
        diagnostics.error(span, "`proxy_protocol_enabled` is not supported: requests would not be understood");
    }
    if fields.node("http_tls_config").is_some_and(|node| !node.is_null()) {
        let span = fields.key_span("http_tls_config").unwrap_or(fields.span());
        diagnostics
            .error(span, "`http_tls_config` is not supported: weir would answer without TLS where TLS is expected")
            .help("put a TLS proxy in front, and let weir listen on 127.0.0.1");
    }
    fields.ignored(GRPC_KEYS, "weir opens no gRPC server", diagnostics);
    fields.ignored(LOG_KEYS, "weir does not log requests", diagnostics);
    fields.ignored(&["tls_cipher_suites", "tls_min_version"], "weir serves no TLS", diagnostics);
    fields.ignored(
        &["http_listen_network"],
        "`http_listen_address` decides: `0.0.0.0` is IPv4 only, empty is every address",
        diagnostics,
    );
    fields.ignored(OTHER_KEYS, "weir's server has nothing like it", diagnostics);
}

const GRPC_KEYS: &[&str] = &[
    "grpc_listen_address",
    "grpc_listen_network",
    "grpc_listen_conn_limit",
    "grpc_collect_max_streams_by_conn",
    "grpc_tls_config",
    "grpc_server_max_recv_msg_size",
    "grpc_server_max_send_msg_size",
    "grpc_server_max_concurrent_streams",
    "grpc_server_max_connection_idle",
    "grpc_server_max_connection_age",
    "grpc_server_max_connection_age_grace",
    "grpc_server_keepalive_time",
    "grpc_server_keepalive_timeout",
    "grpc_server_min_time_between_pings",
    "grpc_server_ping_without_stream_allowed",
    "grpc_server_num_workers",
    "grpc_server_stats_tracking_enabled",
    "grpc_server_recv_buffer_pools_enabled",
    "grpc_server_read_buffer_size",
    "grpc_server_write_buffer_size",
    "report_grpc_codes_in_instrumentation_label_enabled",
];

const LOG_KEYS: &[&str] = &[
    "log_source_ips_enabled",
    "log_source_ips_full",
    "log_source_ips_header",
    "log_source_ips_regex",
    "log_request_headers",
    "log_request_at_info_level_enabled",
    "log_request_exclude_headers_list",
    "http_log_closed_connections_without_response_enabled",
];

const OTHER_KEYS: &[&str] = &[
    "cluster_validation",
    "trace_request_headers",
    "trace_request_exclude_headers_list",
    "create_new_traces",
    "enable_open_metrics_text_created_samples",
];

/// The least severe message that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl FromStr for LogLevel {
    type Err = &'static str;

    /// The error says what was expected.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "debug" => Ok(LogLevel::Debug),
            "info" => Ok(LogLevel::Info),
            "warn" => Ok(LogLevel::Warn),
            "error" => Ok(LogLevel::Error),
            _ => Err("`debug`, `info`, `warn` or `error`"),
        }
    }
}

/// How a logged message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Logfmt,
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    /// The error says what was expected.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "logfmt" => Ok(LogFormat::Logfmt),
            "json" => Ok(LogFormat::Json),
            _ => Err("`logfmt` or `json`"),
        }
    }
}

impl FromNode for LogLevel {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        word(node, diagnostics)
    }
}

impl FromNode for LogFormat {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        word(node, diagnostics)
    }
}

fn word<T: FromStr<Err = &'static str>>(node: &Node, diagnostics: &mut Diagnostics) -> Option<T> {
    let text = String::from_node(node, diagnostics)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(expected) => {
            diagnostics.error(node.span, format!("expected {expected}, found `{text}`"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (ServerConfig, String) {
        let mut diagnostics = Diagnostics::new();
        let node = crate::yaml::parse(text, &mut diagnostics).expect("valid YAML");
        let config = ServerConfig::from_node(&node, &mut diagnostics).expect("a map");
        let found = diagnostics.sorted();
        (config, found.iter().map(|d| format!("{}:{}: {}\n", d.span.line, d.severity, d.message)).collect())
    }

    #[test]
    fn what_is_not_written_has_promtails_defaults_but_for_the_port() {
        let (config, found) = read("{}");
        assert_eq!((config.http_listen_port, config.http_listen_address.as_str()), (9080, ""));
        assert_eq!((config.read_timeout, config.idle_timeout), (Duration::from_secs(30), Duration::from_secs(120)));
        assert!(config.register_instrumentation && config.health_check_target && !config.enable_runtime_reload);
        assert_eq!(found, "");
    }

    #[test]
    fn a_usual_promtail_block_is_silent() {
        let (config, found) = read(
            "http_listen_port: 3101\ngrpc_listen_port: 0\nlog_level: warn\nlog_format: json\nenable_runtime_reload: y\n\
             http_server_read_header_timeout: 5s\nhttp_listen_conn_limit: 8\nhttp_tls_config:\nprofiling_enabled: no",
        );
        assert_eq!(found, "");
        assert_eq!((config.http_listen_port, config.log_level), (3101, LogLevel::Warn));
        assert_eq!((config.log_format, config.connections_max), (LogFormat::Json, 8));
        assert_eq!(config.read_timeout, Duration::from_secs(5));
        assert!(config.enable_runtime_reload);
    }

    #[test]
    fn each_key_without_effect_warns_and_each_key_that_matters_refuses() {
        for (text, expected) in [
            ("grpc_listen_port: 9095", "warning: `grpc_listen_port` has no effect"),
            ("profiling_enabled: true", "warning: `profiling_enabled` has no effect"),
            ("log_source_ips_enabled: true", "warning: `log_source_ips_enabled` has no effect"),
            ("http_listen_network: tcp4", "warning: `http_listen_network` has no effect"),
            ("http_server_write_timeout: 0", "warning: `http_server_write_timeout` must have a limit: 30s is used"),
            ("http_tls_config: {cert_file: a}", "error: `http_tls_config` is not supported"),
            ("proxy_protocol_enabled: true", "error: `proxy_protocol_enabled` is not supported"),
            ("http_path_prefix: \"/ä\"", "error: `http_path_prefix` may hold only visible ASCII"),
            ("log_level: loud", "error: expected `debug`, `info`, `warn` or `error`, found `loud`"),
            ("http_listen_prot: 80", "error: unknown key `http_listen_prot` in the server block"),
        ] {
            let (config, found) = read(text);
            assert!(found.starts_with(&format!("1:{expected}")) && found.lines().count() == 1, "{text}: {found}");
            assert_eq!(config, ServerConfig::default(), "{text}");
        }
    }
}
