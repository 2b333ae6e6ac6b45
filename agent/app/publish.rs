//! From reports to the agent's own metrics, and from both to an exposition.

use super::committer::CommitFacts;
use super::worker::Report;
use crate::discovery::PodLists;
use crate::discovery::kubernetes::Reason;
use crate::geoip::Facts;
use crate::metrics::{Own, raise_to};
use crate::server::Stats;
use crate::sink::{Sender, SenderMetrics};
use prometheus::proto::MetricFamily;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub struct Published {
    own: Own,
}

impl Default for Published {
    fn default() -> Self {
        let own = Own::new(env!("CARGO_PKG_VERSION"));
        // The configuration that the agent started with is the first one that was loaded.
        own.config_last_reload_successful.set(1);
        own.config_last_reload_success_timestamp_seconds.set(unix_seconds());
        Published { own }
    }
}

impl Published {
    /// A reload ended.
    pub fn reloaded(&self, success: bool) {
        self.own.config_last_reload_successful.set(i64::from(success));
        if success {
            self.own.config_last_reload_success_timestamp_seconds.set(unix_seconds());
            self.own.promtail_config_reload_success.inc();
        } else {
            self.own.promtail_config_reload_fail.inc();
        }
    }

    /// A scrape was answered.
    pub fn scraped(&self, took: Duration) {
        self.own.scrapes.inc();
        self.own.scrape_duration_seconds.observe(took.as_secs_f64());
    }

    /// Brings the agent's own metrics up to a report.
    pub fn take(&self, report: &Report, databases: &[(PathBuf, Facts)], server: &Stats) {
        self.take_books(report);
        self.take_sources(report);
        self.take_databases(report, databases);
        self.own.record_series(&report.snapshot);
        for (result, counter) in [
            ("served", &server.connections_served),
            ("refused", &server.connections_refused),
            ("displaced", &server.connections_displaced),
            ("timed_out", &server.connections_timed_out),
        ] {
            raise_to(&self.own.http_connections.with_label_values(&[result]), counter.load(Relaxed));
        }
    }

    /// Brings the metrics of the state directory up to date.
    pub fn take_state(&self, state: &CommitFacts, hold: Duration) {
        let own = &self.own;
        own.state_durable.set(i64::from(state.durable));
        raise_to(&own.state_commits, state.commits);
        raise_to(&own.state_commit_failures, state.failures);
        own.state_commit_seconds.inc_by((state.took.as_secs_f64() - own.state_commit_seconds.get()).max(0.0));
        raise_to(&own.state_written_bytes, state.written_bytes);
        raise_to(&own.state_snapshots, state.snapshots);
        own.birth_hold_seconds.set(hold.as_secs_f64());
    }

    /// In which senders count.
    pub fn sender_metrics(&self) -> SenderMetrics {
        SenderMetrics::of(&self.own)
    }

    /// Brings the metrics of the clients up to date.
    pub fn take_senders(&self, senders: &[Arc<Sender>]) {
        let own = &self.own;
        for gauges in [
            &own.client_pending_entries,
            &own.client_set_aside_entries,
            &own.client_pending_bytes,
            &own.client_memory_bytes,
            &own.client_spool_bytes,
            &own.client_failing_tenants,
            &own.client_dead_letters,
        ] {
            gauges.reset();
        }
        own.client_oldest_pending_age_seconds.reset();
        for sender in senders {
            let (client, host, facts) = (&[sender.outbox().name()], sender.host(), sender.outbox().facts());
            raise_to(&own.client_entries.with_label_values(client), facts.books.entered);
            raise_to(&own.client_acknowledged.with_label_values(client), facts.books.acknowledged);
            for (reason, lot) in &facts.books.dropped {
                raise_to(&own.client_dropped.with_label_values(&[client[0], reason]), lot.entries);
            }
            own.client_pending_entries.with_label_values(client).set(gauge(facts.pending_entries));
            own.client_set_aside_entries.with_label_values(client).set(gauge(facts.aside_entries));
            own.client_pending_bytes.with_label_values(client).set(gauge(facts.pending_bytes));
            let age = facts.oldest.map_or(0.0, |oldest| sender.now().saturating_sub(oldest).as_secs_f64());
            own.client_oldest_pending_age_seconds.with_label_values(client).set(age);
            own.client_memory_bytes.with_label_values(client).set(gauge(facts.memory_bytes));
            own.client_spool_bytes.with_label_values(client).set(gauge(facts.spool_bytes));
            raise_to(&own.client_spool_failures.with_label_values(client), facts.store_failures);
            own.client_failing_tenants.with_label_values(client).set(gauge(sender.failing() as u64));
            own.client_dead_letters.with_label_values(client).set(gauge(sender.dead_letters() as u64));
            for ((tenant, reason), lot) in &facts.dropped {
                let labels = &[host, tenant, reason];
                raise_to(&own.promtail_dropped_entries.with_label_values(labels), lot.entries);
                raise_to(&own.promtail_dropped_bytes.with_label_values(labels), lot.bytes);
            }
            for ((tenant, reason), lot) in &facts.mutated {
                let labels = &[host, tenant, reason];
                raise_to(&own.promtail_mutated_entries.with_label_values(labels), lot.entries);
                raise_to(&own.promtail_mutated_bytes.with_label_values(labels), lot.bytes);
            }
        }
    }

    /// Brings the metrics of the Kubernetes API up to date; there are none without such a discovery.
    pub fn take_pods(&self, pods: &PodLists, now: Duration) {
        let own = &self.own;
        let facts = pods.facts();
        let Some(oldest) = facts.iter().map(|facts| facts.heard).min() else { return };
        // Queries overlap: none finds more than there are.
        own.kubernetes_pods.set(gauge(facts.iter().map(|facts| facts.pods).max().unwrap_or_default()));
        own.kubernetes_age_seconds.set(now.saturating_sub(oldest).as_secs_f64());
        let restarts = pods.restarts();
        for reason in Reason::ALL {
            let total = restarts.get(&reason).copied().unwrap_or_default();
            raise_to(&own.kubernetes_restarts.with_label_values(&[reason.as_str()]), total);
        }
    }

    fn take_books(&self, report: &Report) {
        let own = &self.own;
        for books in &report.books {
            let job = books.job.as_str();
            raise_to(&own.lines_read.with_label_values(&[job]), books.read);
            raise_to(&own.lines_counted.with_label_values(&[job]), books.counted);
            raise_to(&own.lines_joined.with_label_values(&[job]), books.joined);
            raise_to(&own.lines_cut.with_label_values(&[job]), books.cut);
            raise_to(&own.read_bytes.with_label_values(&[job]), books.bytes);
            own.lines_held.with_label_values(&[job]).set(gauge(books.held));
            for (reason, lines) in &books.refused {
                raise_to(&own.lines_refused.with_label_values(&[job, reason]), *lines);
            }
            for (reason, lines) in &books.dropped {
                raise_to(&own.lines_dropped.with_label_values(&[job, reason]), *lines);
            }
        }
        // Promtail's counter knows no job.
        let mut by_reason: Vec<(&str, u64)> = Vec::new();
        for (reason, lines) in report.books.iter().flat_map(|books| &books.dropped) {
            match by_reason.iter_mut().find(|(known, _)| known == reason) {
                Some((_, sum)) => *sum += lines,
                None => by_reason.push((reason, *lines)),
            }
        }
        for (reason, lines) in by_reason {
            raise_to(&own.promtail_dropped_lines.with_label_values(&[reason]), lines);
        }
        // Values that are forgotten are shown no more.
        own.promtail_dropped_lines_by_label.reset();
        for ((name, value), lines) in &report.facts.dropped_by_label {
            own.promtail_dropped_lines_by_label.with_label_values(&[name, value]).inc_by(*lines);
        }
    }

    fn take_sources(&self, report: &Report) {
        let (own, facts) = (&self.own, &report.facts);
        own.sources_active.reset();
        for (job, sources) in &facts.sources {
            own.sources_active.with_label_values(&[job]).set(gauge(*sources));
        }
        own.promtail_files_active.set(gauge(facts.files));
        own.targets_active.set(gauge(facts.targets));
        own.promtail_targets_active.set(gauge(facts.targets));
        for (reason, targets) in &facts.targets_dropped {
            raise_to(&own.targets_dropped.with_label_values(&[reason]), *targets);
            raise_to(&own.promtail_targets_failed.with_label_values(&[reason]), *targets);
        }
        for (reason, files) in &facts.files_refused {
            raise_to(&own.files_refused.with_label_values(&[reason]), *files);
        }
        own.pod_directories_malformed.set(gauge(facts.pod_directories_malformed));
        own.directories_unreadable.set(gauge(facts.directories_unreadable));
        own.discovery_truncated.set(i64::from(facts.discovery_truncated));
        own.files_unreadable.set(gauge(facts.files_unreadable));
        raise_to(&own.files_restarted, facts.files_restarted);
        raise_to(&own.files_broken, facts.files_broken);
        own.files_asleep.set(gauge(facts.files_asleep));
        own.files_open_max.set(gauge(facts.files_open_max));
        raise_to(&own.nul_bytes, facts.nul_bytes);
        own.source_lag_bytes.set(gauge(facts.lag_bytes));
        own.source_lag_bytes_max.set(gauge(facts.lag_bytes_max));
        own.source_lag_seconds_max.set(facts.lag_seconds_max);
        for (reason, times) in &facts.breaks {
            raise_to(&own.breaks.with_label_values(&[reason]), *times);
        }
    }

    fn take_databases(&self, report: &Report, databases: &[(PathBuf, Facts)]) {
        let own = &self.own;
        for (path, facts) in databases {
            let file = path.display().to_string();
            own.geoip_database_loaded.with_label_values(&[&file]).set(i64::from(facts.loaded));
            if let Some(built) = facts.build_epoch_seconds {
                own.geoip_database_build_timestamp_seconds.with_label_values(&[&file]).set(built as f64);
            }
            raise_to(&own.geoip_reloads.with_label_values(&[&file, "success"]), facts.loads);
            raise_to(&own.geoip_reloads.with_label_values(&[&file, "failure"]), facts.failures);
        }
        let lookups = report.facts.geoip;
        let found = (lookups.hits + lookups.misses).saturating_sub(lookups.not_found);
        for (result, total) in [("found", found), ("not_found", lookups.not_found), ("invalid", lookups.invalid)] {
            raise_to(&own.geoip_lookups.with_label_values(&[result]), total);
        }
    }

    /// The agent's own metrics as they are now.
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.own.gather()
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
