//! Promtail's flags that weir does not have: what to say of each.
//!
//! A flag that has a key in the configuration is laid over it. Of the others, one whose loss would change what is counted
//! or sent is refused, and any other is passed over with a warning: the arguments of an existing deployment go on working.

/// One flag of Promtail's, or a family of them.
pub(super) struct Foreign {
    /// The whole name; or, ending in `*`, what the names of a family begin with.
    name: &'static str,
    /// Needs no value, as Go's boolean flags.
    pub(super) switch: bool,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Copy)]
pub(super) enum Verdict {
    /// Has no effect, for this reason.
    Warn(&'static str),
    /// Would change results; this is what to do instead.
    Refuse(&'static str),
    /// The same as this key, from the top level down.
    Key(&'static [&'static str]),
}

/// What is known of a name; a whole name comes before the family that it belongs to.
pub(super) fn find(name: &str) -> Option<&'static Foreign> {
    FOREIGN.iter().find(|foreign| match foreign.name.strip_suffix('*') {
        Some(family) => name.starts_with(family),
        None => foreign.name == name,
    })
}

/// The whole names, for suggestions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FOREIGN.iter().map(|foreign| foreign.name).filter(|name| !name.ends_with('*'))
}

const fn warn(name: &'static str, why: &'static str) -> Foreign {
    Foreign { name, switch: false, verdict: Verdict::Warn(why) }
}

const fn warn_switch(name: &'static str, why: &'static str) -> Foreign {
    Foreign { name, switch: true, verdict: Verdict::Warn(why) }
}

/// Refused flags need no value to be told apart: the first one ends the reading.
const fn refuse(name: &'static str, instead: &'static str) -> Foreign {
    Foreign { name, switch: true, verdict: Verdict::Refuse(instead) }
}

const fn key(name: &'static str, path: &'static [&'static str]) -> Foreign {
    Foreign { name, switch: false, verdict: Verdict::Key(path) }
}

const fn key_switch(name: &'static str, path: &'static [&'static str]) -> Foreign {
    Foreign { name, switch: true, verdict: Verdict::Key(path) }
}

const NO_GRPC: &str = "weir opens no gRPC server";
const NO_REQUEST_LOG: &str = "weir does not log requests";
const NO_TLS: &str = "weir serves no TLS";
const NO_WAL: &str = "what waits to be sent is in the spool (`delivery`)";
const TLS_PROXY: &str = "weir would answer without TLS where TLS is expected; put a TLS proxy in front of it";

const FOREIGN: &[Foreign] = &[
    // A client without a configuration file.
    key("client.url", &["client", "url"]),
    key("client.batch-wait", &["client", "batchwait"]),
    key("client.batch-size-bytes", &["client", "batchsize"]),
    key("client.min-backoff", &["client", "backoff_config", "min_period"]),
    key("client.max-backoff", &["client", "backoff_config", "max_period"]),
    key("client.max-retries", &["client", "backoff_config", "max_retries"]),
    key("client.timeout", &["client", "timeout"]),
    key("client.tenant-id", &["client", "tenant_id"]),
    key_switch("client.drop-rate-limited-batches", &["client", "drop_rate_limited_batches"]),
    // Limits that drop or cut lines.
    key("limit.readline-rate", &["limits_config", "readline_rate"]),
    key("limit.readline-burst", &["limits_config", "readline_burst"]),
    key_switch("limit.readline-rate-enabled", &["limits_config", "readline_rate_enabled"]),
    key_switch("limit.readline-rate-drop", &["limits_config", "readline_rate_drop"]),
    key("max-streams", &["limits_config", "max_streams"]),
    key("max-line-size", &["limits_config", "max_line_size"]),
    key_switch("max-line-size-truncate", &["limits_config", "max_line_size_truncate"]),
    // The server.
    refuse("server.http-tls-*", TLS_PROXY),
    refuse("server.proxy-protocol-enabled", "requests would not be understood; turn it off in the proxy as well"),
    warn("server.tls-*", NO_TLS),
    warn_switch("server.profiling_enabled", "weir has no /debug pages"),
    warn_switch("server.register-instrumentation", "write `register_instrumentation` below `server`"),
    warn("server.graceful-shutdown-timeout", "write `graceful_shutdown_timeout` below `server`"),
    warn("server.http-read-timeout", "write `http_server_read_timeout` below `server`"),
    warn("server.http-read-header-timeout", "write `http_server_read_header_timeout` below `server`"),
    warn("server.http-write-timeout", "write `http_server_write_timeout` below `server`"),
    warn("server.http-idle-timeout", "write `http_server_idle_timeout` below `server`"),
    warn("server.http-conn-limit", "write `http_listen_conn_limit` below `server`"),
    warn("server.http-listen-network", "the listen address decides: 0.0.0.0 is IPv4 only"),
    warn_switch("server.http-log-closed-connections-without-response-enabled", NO_REQUEST_LOG),
    warn("server.log-source-ips-header", NO_REQUEST_LOG),
    warn("server.log-source-ips-regex", NO_REQUEST_LOG),
    warn("server.log-request-headers-exclude-list", NO_REQUEST_LOG),
    warn("server.log-request-exclude-headers-list", NO_REQUEST_LOG),
    warn_switch("server.log-*", NO_REQUEST_LOG),
    warn_switch("server.grpc-collect-max-streams-by-conn", NO_GRPC),
    warn_switch("server.grpc.keepalive.ping-without-stream-allowed", NO_GRPC),
    warn_switch("server.grpc.stats-tracking-enabled", NO_GRPC),
    warn_switch("server.grpc.recv-buffer-pools-enabled", NO_GRPC),
    warn("server.grpc*", NO_GRPC),
    warn_switch("server.report-grpc-codes-in-instrumentation-label-enabled", NO_GRPC),
    warn("server.trace-request-exclude-headers-list", "weir sends no traces"),
    warn_switch("server.trace-*", "weir sends no traces"),
    warn_switch("server.cluster-validation.*", "weir's server has nothing like it"),
    // Reading.
    warn("positions.sync-period", "places are kept with every cut"),
    warn_switch("positions.ignore-invalid-yaml", "a damaged file of positions never stops weir"),
    warn("file-watch.*", "weir finds its own pace"),
    // The rest.
    warn_switch("log-config-reverse-order", "print-config-stderr shows the configuration"),
    warn_switch("tracing.enabled", "weir sends no traces"),
    warn_switch("wal.enabled", NO_WAL),
    warn("wal.*", NO_WAL),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_own_entry_and_no_family_hides_one() {
        for foreign in FOREIGN {
            let name = foreign.name.replace('*', "anything");
            let found = find(&name).expect("a name of the list");
            assert_eq!(found.name, foreign.name);
        }
        assert!(find("server.http-listen-port").is_none());
    }
}
