//! What senders count as they go, under Promtail's names and ours; clones count into the same metrics.

use super::answer::Lot;
use crate::metrics::Own;
use prometheus::{GaugeVec, HistogramVec, IntCounterVec};
use std::time::Duration;

/// Promtail's reasons. It shows all of them from a tenant's first entry on, so that alerts see the first loss.
const PROMTAIL_REASONS: [&str; 4] = ["ingester_error", "rate_limited", "stream_limited", "line_too_long"];

#[derive(Clone)]
pub struct SenderMetrics {
    encoded_bytes: IntCounterVec,
    sent_bytes: IntCounterVec,
    sent_entries: IntCounterVec,
    request_duration_seconds: HistogramVec,
    batch_retries: IntCounterVec,
    /// By host, tenant and reason: entries and bytes that were dropped, and that were changed.
    lost: [IntCounterVec; 4],
    requests: IntCounterVec,
    retries: IntCounterVec,
    clock_skew_seconds: GaugeVec,
}

/// A request, for its metrics.
pub struct Pushed<'p> {
    pub client: &'p str,
    pub host: &'p str,
    /// Of the answer; none came.
    pub code: Option<u16>,
    pub took: Duration,
    /// Compressed bytes.
    pub body_bytes: usize,
    pub lot: Lot,
    /// Loki has all of it.
    pub accepted: bool,
}

impl SenderMetrics {
    pub fn of(own: &Own) -> Self {
        SenderMetrics {
            encoded_bytes: own.promtail_encoded_bytes.clone(),
            sent_bytes: own.promtail_sent_bytes.clone(),
            sent_entries: own.promtail_sent_entries.clone(),
            request_duration_seconds: own.promtail_request_duration_seconds.clone(),
            batch_retries: own.promtail_batch_retries.clone(),
            lost: [
                own.promtail_dropped_entries.clone(),
                own.promtail_dropped_bytes.clone(),
                own.promtail_mutated_entries.clone(),
                own.promtail_mutated_bytes.clone(),
            ],
            requests: own.client_requests.clone(),
            retries: own.client_retries.clone(),
            clock_skew_seconds: own.client_clock_skew_seconds.clone(),
        }
    }

    /// A client begins: what will be counted of it is there, as 0, before it happens.
    pub fn client_began(&self, host: &str) {
        for counter in [&self.encoded_bytes, &self.sent_bytes, &self.sent_entries] {
            counter.with_label_values(&[host]);
        }
    }

    /// The first entry of a tenant came.
    pub fn tenant_began(&self, host: &str, tenant: &str) {
        self.batch_retries.with_label_values(&[host, tenant]);
        for reason in PROMTAIL_REASONS {
            self.lost.iter().for_each(|counter| drop(counter.with_label_values(&[host, tenant, reason])));
        }
    }

    /// A request ended.
    pub fn pushed(&self, pushed: &Pushed<'_>) {
        let code = code_text(pushed.code);
        let host = &[pushed.host];
        self.requests.with_label_values(&[pushed.client, &code]).inc();
        self.request_duration_seconds.with_label_values(&[&code, pushed.host]).observe(pushed.took.as_secs_f64());
        if pushed.accepted {
            self.encoded_bytes.with_label_values(host).inc_by(pushed.body_bytes as u64);
            self.sent_bytes.with_label_values(host).inc_by(pushed.body_bytes as u64);
            self.sent_entries.with_label_values(host).inc_by(pushed.lot.entries);
        }
    }

    /// A server's clock is so far ahead.
    pub fn server_clock(&self, client: &str, skew_seconds: f64) {
        self.clock_skew_seconds.with_label_values(&[client]).set(skew_seconds);
    }

    /// A request will be repeated, for what came of the one before.
    pub fn retried(&self, client: &str, host: &str, tenant: &str, code: Option<u16>) {
        self.batch_retries.with_label_values(&[host, tenant]).inc();
        self.retries.with_label_values(&[client, &code_text(code)]).inc();
    }
}

/// Promtail's word for no answer is -1.
fn code_text(code: Option<u16>) -> String {
    code.map_or_else(|| "-1".to_string(), |code| code.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_lost_is_shown_before_it_is() {
        let own = Own::new("");
        let metrics = SenderMetrics::of(&own);
        let series = |name: &str| {
            let families = own.gather();
            families.iter().find(|family| family.name() == name).map_or(0, |family| family.get_metric().len())
        };
        assert_eq!(series("promtail_sent_entries_total"), 0);
        metrics.client_began("loki:3100");
        metrics.tenant_began("loki:3100", "shop");
        for (name, expected) in [
            ("promtail_encoded_bytes_total", 1),
            ("promtail_sent_bytes_total", 1),
            ("promtail_sent_entries_total", 1),
            ("promtail_batch_retries_total", 1),
            ("promtail_dropped_entries_total", 4),
            ("promtail_dropped_bytes_total", 4),
            ("promtail_mutated_entries_total", 4),
            ("promtail_mutated_bytes_total", 4),
        ] {
            assert_eq!(series(name), expected, "{name}");
        }
    }
}
