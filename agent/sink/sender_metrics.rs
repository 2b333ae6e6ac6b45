//! What senders count as they go, under Promtail's names and ours; clones count into the same metrics.

use super::answer::Lot;
use crate::metrics::Own;
use prometheus::{GaugeVec, HistogramVec, IntCounterVec};
use std::time::Duration;

#[derive(Clone)]
pub struct SenderMetrics {
    encoded_bytes: IntCounterVec,
    sent_bytes: IntCounterVec,
    sent_entries: IntCounterVec,
    request_duration_seconds: HistogramVec,
    batch_retries: IntCounterVec,
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
}

impl SenderMetrics {
    pub fn of(own: &Own) -> Self {
        SenderMetrics {
            encoded_bytes: own.promtail_encoded_bytes.clone(),
            sent_bytes: own.promtail_sent_bytes.clone(),
            sent_entries: own.promtail_sent_entries.clone(),
            request_duration_seconds: own.promtail_request_duration_seconds.clone(),
            batch_retries: own.promtail_batch_retries.clone(),
            requests: own.client_requests.clone(),
            retries: own.client_retries.clone(),
            clock_skew_seconds: own.client_clock_skew_seconds.clone(),
        }
    }

    /// A request ended.
    pub fn pushed(&self, pushed: &Pushed<'_>) {
        let code = code_text(pushed.code);
        let host = &[pushed.host];
        self.requests.with_label_values(&[pushed.client, &code]).inc();
        self.request_duration_seconds.with_label_values(&[&code, pushed.host]).observe(pushed.took.as_secs_f64());
        if pushed.code == Some(204) {
            self.encoded_bytes.with_label_values(host).inc_by(pushed.body_bytes as u64);
            self.sent_bytes.with_label_values(host).inc_by(pushed.lot.bytes);
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
