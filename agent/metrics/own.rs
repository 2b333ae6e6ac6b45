//! The agent's own metrics, all of them, each with its name, labels and meaning in one place.
//!
//! The documentation of a field is the metric's help text. Units are in the names; a counter without one counts what
//! it is named after. A metric with labels shows nothing until a label set is touched: who owns a job creates its
//! series at 0 with `with_label_values(..)`.
//!
//! What happens per line is counted in a worker's ledger, a plain struct; the worker brings the totals here from time
//! to time with [`raise_to`].

use super::process::Process;
use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};

/// How a metric is declared: for the reference documentation and its test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    pub name: &'static str,
    pub help: &'static str,
    pub labels: &'static [&'static str],
}

/// Brings a counter to a total kept elsewhere. A smaller total (a ledger that began anew) leaves it as it is.
/// One thread at a time may raise a counter.
pub fn raise_to(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

macro_rules! own_metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $kind:ident = $name:literal [$($label:literal),*];)+) => {
        /// The agent's own metrics and the registry that gathers them.
        #[derive(Debug)]
        pub struct Own {
            registry: Registry,
            $($(#[doc = $help])+ pub $field: $kind,)+
        }

        impl Own {
            /// Every metric declared here; those of the process (`process_*`) are in their own file.
            pub const DECLARED: &'static [Declared] =
                &[$(Declared { name: $name, help: concat!($($help),+).trim_ascii(), labels: &[$($label),*] },)+];

            /// Registers everything. `version` goes into the build information, which is always 1.
            pub fn new(version: &str) -> Own {
                let registry = Registry::new();
                let own = Own {
                    $($field: <$kind as Declare>::declare(
                        &registry,
                        Opts::new($name, concat!($($help),+).trim_ascii()),
                        &[$($label),*],
                    ),)+
                    registry,
                };
                own.registry.register(Box::new(Process::new())).expect(UNIQUE);
                own.build_info.with_label_values(&[version]).set(1);
                own.promtail_build_info.with_label_values(&[version]).set(1);
                own
            }
        }
    };
}

own_metrics! {
    // Lines. For each job: read = counted + joined + refused + held; what was dropped is among the counted or refused.
    /// Version of the agent; always 1.
    build_info: IntGaugeVec = "weir_build_info" ["version"];
    /// Lines read from sources.
    lines_read: IntCounterVec = "weir_lines_read_total" ["job"];
    /// Lines that went through a pipeline as what they should be, to its end or to a drop that is wanted.
    lines_counted: IntCounterVec = "weir_lines_counted_total" ["job"];
    /// Pieces of lines that became part of the line which a later piece completed.
    lines_joined: IntCounterVec = "weir_lines_joined_total" ["job"];
    /// Lines that wait for the pieces that complete them.
    lines_held: IntGaugeVec = "weir_lines_held" ["job"];
    /// Lines that could not be read as what the configuration says they are, by reason.
    lines_refused: IntCounterVec = "weir_lines_refused_total" ["job", "reason"];
    /// Lines that a stage dropped on purpose, by reason.
    lines_dropped: IntCounterVec = "weir_lines_dropped_total" ["job", "reason"];
    /// Lines longer than the limit, cut to it.
    lines_cut: IntCounterVec = "weir_lines_cut_total" ["job"];
    /// Bytes read from sources, line ends included.
    read_bytes: IntCounterVec = "weir_read_bytes_total" ["job"];

    // Sources and targets.
    /// Sources being read.
    sources_active: IntGaugeVec = "weir_sources_active" ["job"];
    /// Targets found and kept by relabelling.
    targets_active: IntGauge = "weir_targets_active" [];
    /// Targets that were found and left out, by reason; one that stays left out counts once.
    targets_dropped: IntCounterVec = "weir_targets_dropped_total" ["reason"];
    /// Files that must not be read (links out of the log root, pipes, devices, hard links) or cannot be, by reason.
    files_refused: IntCounterVec = "weir_files_refused_total" ["reason"];
    /// Files that should be read and cannot be opened or read at present.
    files_unreadable: IntGauge = "weir_files_unreadable" [];
    /// Pod directories with names that are not the kubelet's, or that are links.
    pod_directories_malformed: IntGauge = "weir_pod_directories_malformed" [];
    /// Directories of targets that cannot be read at present.
    directories_unreadable: IntGauge = "weir_directories_unreadable" [];
    /// Whether there are more targets or files than their bounds allow (1) or not (0).
    discovery_truncated: IntGauge = "weir_discovery_truncated" [];
    /// Pods of this node that the Kubernetes API has, where `kubernetes_sd_configs` asks it.
    kubernetes_pods: IntGauge = "weir_discovery_kubernetes_pods" [];
    /// Time since the Kubernetes API last said something that could be used; more than ten minutes mean that it does not
    /// answer, and that what was known before is read on.
    kubernetes_age_seconds: Gauge = "weir_discovery_kubernetes_last_sync_age_seconds" [];
    /// Lists and watches of the Kubernetes API that were begun again, by reason; `ended` is how a watch should end.
    kubernetes_restarts: IntCounterVec = "weir_discovery_kubernetes_restarts_total" ["reason"];
    /// Files that were truncated or rewritten while they were read, and were begun again.
    files_restarted: IntCounter = "weir_files_restarted_total" [];
    /// Files whose rest could not be read: damaged, or an error of the disk.
    files_broken: IntCounter = "weir_files_broken_total" [];
    /// Sources whose files are closed because too many are open; they are opened again when they grow.
    files_asleep: IntGauge = "weir_files_asleep" [];
    /// Files that may be open at once.
    files_open_max: IntGauge = "weir_files_open_max" [];
    /// NUL bytes in front of lines, which a power loss leaves; they belong to no line.
    nul_bytes: IntCounter = "weir_nul_bytes_total" [];
    /// Bytes not yet read, over all sources.
    source_lag_bytes: IntGauge = "weir_source_lag_bytes" [];
    /// Bytes not yet read of the source that is furthest behind.
    source_lag_bytes_max: IntGauge = "weir_source_lag_bytes_max" [];
    /// Age of the oldest line that is written and not yet read.
    source_lag_seconds_max: Gauge = "weir_source_lag_seconds_max" [];

    // Log-derived series.
    /// Living series of a log-derived metric.
    metric_series: IntGaugeVec = "weir_metric_series" ["metric"];
    /// Updates counted under the label value __other__ because the metric holds its maximum of series.
    series_limited: IntCounterVec = "weir_series_limited_total" ["metric"];
    /// Label sets that came often past the maximum of series and got a series of their own.
    series_promoted: IntCounterVec = "weir_series_promoted_total" ["metric"];
    /// Updates counted under the label value __other__ because the label holds its maximum of values.
    label_values_limited: IntCounterVec = "weir_label_values_limited_total" ["metric", "label"];
    /// Updates refused (a counter lowered, not a finite number), by reason.
    metric_updates_refused: IntCounterVec = "weir_metric_updates_refused_total" ["metric", "reason"];

    // The promise of exactness, and the state directory that keeps it.
    /// What broke exactness since the state began, by reason (docs/promises.md); each break may have cost lines.
    breaks: IntCounterVec = "weir_breaks_total" ["reason"];
    /// Whether what scrapers see would survive a crash (1) or not (0: no state directory, or its disk fails).
    state_durable: IntGauge = "weir_state_durable" [];
    /// Cuts that were written to the state directory.
    state_commits: IntCounter = "weir_state_commits_total" [];
    /// Cuts that could not be written to the state directory.
    state_commit_failures: IntCounter = "weir_state_commit_failures_total" [];
    /// Time spent writing and syncing cuts.
    state_commit_seconds: Counter = "weir_state_commit_seconds_total" [];
    /// Bytes written to the state directory.
    state_written_bytes: IntCounter = "weir_state_written_bytes_total" [];
    /// Whole images of the state that were written, each the beginning of a new log.
    state_snapshots: IntCounter = "weir_state_snapshots_total" [];
    /// How long a newborn series is shown as 0.
    birth_hold_seconds: Gauge = "weir_birth_hold_seconds" [];

    // Delivery. For each client: entries = acknowledged + dropped + pending.
    /// Entries for a client, since its state began.
    client_entries: IntCounterVec = "weir_client_entries_total" ["client"];
    /// Entries that the client's server has acknowledged.
    client_acknowledged: IntCounterVec = "weir_client_acknowledged_entries_total" ["client"];
    /// Entries that the client's server will never have, by reason.
    client_dropped: IntCounterVec = "weir_client_dropped_entries_total" ["client", "reason"];
    /// Entries that wait for a client: its lag in lines.
    client_pending_entries: IntGaugeVec = "weir_client_pending_entries" ["client"];
    /// Entries among these of streams that the client's server has no room for: they are tried again, and hold nothing up.
    client_set_aside_entries: IntGaugeVec = "weir_client_set_aside_entries" ["client"];
    /// Bytes of the lines that wait for a client: its lag in bytes.
    client_pending_bytes: IntGaugeVec = "weir_client_pending_bytes" ["client"];
    /// Age of the oldest entry that waits for a client: its lag in seconds.
    client_oldest_pending_age_seconds: GaugeVec = "weir_client_oldest_pending_age_seconds" ["client"];
    /// Batches of a client that are in memory, in bytes.
    client_memory_bytes: IntGaugeVec = "weir_client_memory_bytes" ["client"];
    /// Files of a client's spool, in bytes.
    client_spool_bytes: IntGaugeVec = "weir_client_spool_bytes" ["client"];
    /// Times that a client's spool could not be written.
    client_spool_failures: IntCounterVec = "weir_client_spool_failures_total" ["client"];
    /// Requests to a client, by the code of the answer; -1: none came.
    client_requests: IntCounterVec = "weir_client_requests_total" ["client", "code"];
    /// Repeated requests to a client, by the code of the answer before; -1: none came.
    client_retries: IntCounterVec = "weir_client_retries_total" ["client", "code"];
    /// Tenants of a client whose pushes fail at present.
    client_failing_tenants: IntGaugeVec = "weir_client_failing_tenants" ["client"];
    /// Entries that a client's server refused for good and that are kept to be looked at.
    client_dead_letters: IntGaugeVec = "weir_client_dead_letters" ["client"];
    /// How far the clock of a client's server is ahead of this machine's, by the last answer.
    client_clock_skew_seconds: GaugeVec = "weir_client_clock_skew_seconds" ["client"];

    // GeoIP.
    /// Whether the database is loaded (1) or not (0).
    geoip_database_loaded: IntGaugeVec = "weir_geoip_database_loaded" ["file"];
    /// When the database was built, in seconds since 1970.
    geoip_database_build_timestamp_seconds: GaugeVec = "weir_geoip_database_build_timestamp_seconds" ["file"];
    /// Address lookups, by result.
    geoip_lookups: IntCounterVec = "weir_geoip_lookups_total" ["result"];
    /// Attempts to load a changed database file, by result.
    geoip_reloads: IntCounterVec = "weir_geoip_reloads_total" ["file", "result"];

    // Configuration and scrapes.
    /// Whether the last attempt to load the configuration succeeded (1) or not (0).
    config_last_reload_successful: IntGauge = "weir_config_last_reload_successful" [];
    /// When the configuration was last loaded with success, in seconds since 1970.
    config_last_reload_success_timestamp_seconds: Gauge = "weir_config_last_reload_success_timestamp_seconds" [];
    /// Scrapes answered.
    scrapes: IntCounter = "weir_scrapes_total" [];
    /// Time to gather and write one scrape.
    scrape_duration_seconds: Histogram = "weir_scrape_duration_seconds" [];

    // The HTTP server.
    /// Connections, by what became of them.
    http_connections: IntCounterVec = "weir_http_connections_total" ["result"];

    // Promtail's names, for dashboards and alerts made for it.
    /// Promtail's name for weir_build_info.
    promtail_build_info: IntGaugeVec = "promtail_build_info" ["version"];
    /// Files being read; Promtail's name, a gauge despite it.
    promtail_files_active: IntGauge = "promtail_files_active_total" [];
    /// Targets being read; Promtail's name, a gauge despite it.
    promtail_targets_active: IntGauge = "promtail_targets_active_total" [];
    /// Targets not read, by reason (dropped, wrong_host, no_path, exists, error); Promtail's name.
    promtail_targets_failed: IntCounterVec = "promtail_targets_failed_total" ["reason"];
    /// Configuration loads that succeeded; Promtail's name.
    promtail_config_reload_success: IntCounter = "promtail_config_reload_success_total" [];
    /// Configuration loads that failed; Promtail's name.
    promtail_config_reload_fail: IntCounter = "promtail_config_reload_fail_total" [];
    /// Bytes of the requests that were answered with success, compressed; Promtail's name.
    promtail_encoded_bytes: IntCounterVec = "promtail_encoded_bytes_total" ["host"];
    /// Bytes of the same requests: Promtail counts no others; Promtail's name.
    promtail_sent_bytes: IntCounterVec = "promtail_sent_bytes_total" ["host"];
    /// Entries that were sent with success; Promtail's name.
    promtail_sent_entries: IntCounterVec = "promtail_sent_entries_total" ["host"];
    /// Bytes of the lines that were dropped, by reason; Promtail's name.
    promtail_dropped_bytes: IntCounterVec = "promtail_dropped_bytes_total" ["host", "tenant", "reason"];
    /// Entries that were dropped, by reason; Promtail's name.
    promtail_dropped_entries: IntCounterVec = "promtail_dropped_entries_total" ["host", "tenant", "reason"];
    /// Bytes that were cut from lines, by reason; Promtail's name.
    promtail_mutated_bytes: IntCounterVec = "promtail_mutated_bytes_total" ["host", "tenant", "reason"];
    /// Lines that were changed to be sent, by reason; Promtail's name.
    promtail_mutated_entries: IntCounterVec = "promtail_mutated_entries_total" ["host", "tenant", "reason"];
    /// Duration of requests, by the code of the answer; -1: none came; Promtail's name.
    promtail_request_duration_seconds: HistogramVec = "promtail_request_duration_seconds" ["status_code", "host"];
    /// Requests that were repeated; Promtail's name.
    promtail_batch_retries: IntCounterVec = "promtail_batch_retries_total" ["host", "tenant"];
    /// Lines that a stage dropped, by its drop_counter_reason; Promtail's name.
    promtail_dropped_lines: IntCounterVec = "logentry_dropped_lines_total" ["reason"];
    /// Lines that a limit stage dropped, by the label and its value, while the value is remembered; Promtail's name.
    promtail_dropped_lines_by_label: IntCounterVec =
        "logentry_dropped_lines_by_label_total" ["label_name", "label_value"];
}

impl Own {
    /// All families that have a series, by name: what [`super::encode`] takes.
    pub fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }

    /// Brings the books of the log-derived series up to date; call it before [`Own::gather`]. Series of metrics that
    /// a reload took away are removed.
    pub fn record_series(&self, snapshot: &super::Snapshot) {
        self.metric_series.reset();
        for stats in snapshot.stats() {
            let name = stats.name.as_str();
            self.metric_series.with_label_values(&[name]).set(i64::try_from(stats.series).unwrap_or(i64::MAX));
            raise_to(&self.series_limited.with_label_values(&[name]), stats.limited);
            raise_to(&self.series_promoted.with_label_values(&[name]), stats.promoted);
            for (label, total) in &stats.capped {
                raise_to(&self.label_values_limited.with_label_values(&[name, label.as_str()]), *total);
            }
            for (why, total) in super::Refused::ALL.into_iter().zip(stats.refused) {
                if total > 0 {
                    raise_to(&self.metric_updates_refused.with_label_values(&[name, why.reason()]), total);
                }
            }
        }
    }
}

const UNIQUE: &str = "the table above names each metric once, with valid names";

/// How each type of the crate is made from a line of the table.
trait Declare: Sized {
    fn declare(registry: &Registry, opts: Opts, labels: &[&str]) -> Self;
}

macro_rules! declare {
    ($($kind:ident: $make:expr;)+) => {$(
        impl Declare for $kind {
            fn declare(registry: &Registry, opts: Opts, labels: &[&str]) -> Self {
                let make: fn(Opts, &[&str]) -> prometheus::Result<$kind> = $make;
                let metric = make(opts, labels).expect(UNIQUE);
                registry.register(Box::new(metric.clone())).expect(UNIQUE);
                metric
            }
        }
    )+};
}

declare! {
    IntCounter: |opts, _| IntCounter::with_opts(opts);
    Counter: |opts, _| Counter::with_opts(opts);
    IntGauge: |opts, _| IntGauge::with_opts(opts);
    Gauge: |opts, _| Gauge::with_opts(opts);
    IntCounterVec: |opts, labels| IntCounterVec::new(opts, labels);
    IntGaugeVec: |opts, labels| IntGaugeVec::new(opts, labels);
    GaugeVec: |opts, labels| GaugeVec::new(opts, labels);
    HistogramVec: |opts, labels| HistogramVec::new(opts.into(), labels);
    // From an empty agent to 100,000 series over a slow link.
    Histogram: |opts, _| Histogram::with_opts(
        HistogramOpts { common_opts: opts, buckets: vec![0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0] });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Format, Shown, Snapshot, encode, strict};
    use std::collections::BTreeSet;

    #[test]
    fn every_metric_is_registered_named_by_the_rules_and_documented() {
        let own = Own::new("1.2.3");
        let names: BTreeSet<&str> = Own::DECLARED.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), Own::DECLARED.len());
        for Declared { name, help, labels } in Own::DECLARED {
            assert!(["weir_", "promtail_", "logentry_"].iter().any(|prefix| name.starts_with(prefix)), "{name}");
            assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
            assert!(labels.iter().all(|label| crate::labels::is_label_name(label)), "{name}");
        }
        let gathered: BTreeSet<String> = own.gather().iter().map(|family| family.name().to_string()).collect();
        for Declared { name, labels, .. } in Own::DECLARED {
            assert!(gathered.contains(*name) || !labels.is_empty(), "{name} has no labels and is not shown");
        }
        assert!(gathered.contains("process_resident_memory_bytes"));
    }

    #[test]
    fn the_page_of_an_idle_agent_is_strictly_valid_in_every_format() {
        let own = Own::new("1.2.3");
        own.lines_refused.with_label_values(&["pods", "not \"cri\"\n"]).inc();
        own.scrape_duration_seconds.observe(0.3);
        for format in [Format::Text004, Format::OpenMetrics100] {
            let mut page = Vec::new();
            encode(format, &Snapshot::default(), &own.gather(), &mut page, Shown::ToPerson).unwrap();
            let families = match format {
                Format::Text004 => strict::parse_text(&page),
                _ => strict::parse_open_metrics(&page),
            };
            let families = families.unwrap_or_else(|why| panic!("{why}\n{}", String::from_utf8_lossy(&page)));
            let info = families.iter().find(|family| family.name == "weir_build_info").unwrap();
            assert_eq!(info.samples[0].labels, [("version".to_string(), "1.2.3".to_string())]);
            // Gauges whose names end in _total keep name and type.
            let active = families.iter().find(|family| family.name == "promtail_files_active_total").unwrap();
            assert_eq!(active.kind, "gauge");
        }
    }

    #[test]
    fn a_ledger_that_begins_anew_never_lowers_a_counter() {
        let own = Own::new("1");
        for (total, shown) in [(5, 5), (5, 5), (3, 5), (9, 9)] {
            raise_to(&own.scrapes, total);
            assert_eq!(own.scrapes.get(), shown);
        }
    }
}
