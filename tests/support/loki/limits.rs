//! What Loki limits, with its defaults of 3.6, and the bucket that its rates are kept with.

use super::proto::{Entry, PushedStream};
use super::refusal;

/// Every limit is one tenant's; `None` is no limit.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `auth_enabled`: a push names its tenant.
    pub multi_tenant: bool,
    /// Bytes of lines and metadata in a second, over all streams: `ingestion_rate_mb`.
    pub rate: Option<f64>,
    /// The most in one push: `ingestion_burst_size_mb`.
    pub burst: f64,
    /// The same for each stream: `per_stream_rate_limit`.
    pub stream_rate: Option<f64>,
    pub stream_burst: f64,
    /// `max_global_streams_per_user`.
    pub streams_max: Option<usize>,
    pub line_bytes_max: Option<usize>,
    /// `max_line_size_truncate`: longer lines are cut at a byte instead of refused.
    pub truncates_lines: bool,
    pub label_names_max: usize,
    pub label_name_bytes_max: usize,
    pub label_value_bytes_max: usize,
    pub allows_metadata: bool,
    pub metadata_bytes_max: usize,
    pub metadata_entries_max: usize,
    /// `reject_old_samples_max_age`, in nanoseconds.
    pub age_max: Option<i64>,
    /// `creation_grace_period`, in nanoseconds.
    pub future_max: Option<i64>,
    /// How far an entry may stand behind the newest of its stream, in nanoseconds: half of `max_chunk_age`.
    pub window: Option<i64>,
    /// `required_labels`.
    pub required_labels: Vec<String>,
    /// `block_ingestion_until`, in nanoseconds since 1970, with the status that is answered.
    pub blocked_until: Option<(i64, u16)>,
    /// Of a body as it is sent, and unpacked: `max_recv_msg_size`.
    pub body_bytes_max: usize,
    pub unpacked_bytes_max: usize,
    /// `max_returned_stream_errors`: how many entries a refusal lists.
    pub listed_max: usize,
    /// Some messages begin with a capital letter; whoever reads them should not depend on it.
    pub capitals: bool,
    /// Loki's ingester answers with what became of the *last* stream of a push; what it refused of streams before, the
    /// answer does not tell, and may be 204. Off, the answer tells of the last stream that was refused.
    pub tells_of_last_stream_only: bool,
    /// Refuses protobuf that is right and not written as everybody writes it; Loki takes it.
    pub canonical_only: bool,
}

pub const SECOND: i64 = 1_000_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            multi_tenant: false,
            rate: Some(4.0 * 1024.0 * 1024.0),
            burst: 6.0 * 1024.0 * 1024.0,
            stream_rate: Some(3.0 * 1024.0 * 1024.0),
            stream_burst: 15.0 * 1024.0 * 1024.0,
            streams_max: Some(5000),
            line_bytes_max: Some(256 * 1024),
            truncates_lines: false,
            label_names_max: 15,
            label_name_bytes_max: 1024,
            label_value_bytes_max: 2048,
            allows_metadata: true,
            metadata_bytes_max: 64 * 1024,
            metadata_entries_max: 128,
            age_max: Some(7 * DAY),
            future_max: Some(10 * MINUTE),
            window: Some(HOUR),
            required_labels: Vec::new(),
            blocked_until: None,
            body_bytes_max: 100 * 1024 * 1024,
            unpacked_bytes_max: 100 * 1024 * 1024,
            listed_max: 10,
            capitals: true,
            tells_of_last_stream_only: false,
            canonical_only: true,
        }
    }
}

impl Limits {
    /// Refuses nothing that is a push at all.
    pub fn none() -> Limits {
        Limits {
            rate: None,
            stream_rate: None,
            streams_max: None,
            line_bytes_max: None,
            label_names_max: usize::MAX,
            label_name_bytes_max: usize::MAX,
            label_value_bytes_max: usize::MAX,
            metadata_bytes_max: usize::MAX,
            metadata_entries_max: usize::MAX,
            age_max: None,
            future_max: None,
            window: None,
            ..Limits::default()
        }
    }
}

impl Limits {
    /// The distributor's look at the labels of a stream.
    pub fn check_labels(&self, stream: &PushedStream, tenant: &str) -> Result<(), String> {
        let (labels, text) = (&stream.labels, &stream.labels_text);
        if labels.is_empty() {
            return Err(refusal::no_labels());
        }
        let has = |wanted: &str| labels.iter().any(|(name, _)| name == wanted);
        let missing = self.required_labels.iter().map(String::as_str).filter(|name| !has(name));
        let missing: Vec<_> = missing.collect();
        if !missing.is_empty() {
            return Err(refusal::missing_labels(&missing, tenant, text));
        }
        // Loki adds this one itself where it is not there.
        let names = labels.len() - usize::from(has("service_name"));
        if names > self.label_names_max {
            return Err(refusal::too_many_names(text, names, self.label_names_max));
        }
        let mut before = None;
        for (name, value) in labels {
            if name.len() > self.label_name_bytes_max {
                return Err(refusal::name_too_long(text, name));
            }
            if value.len() > self.label_value_bytes_max {
                return Err(refusal::value_too_long(text, value));
            }
            if before == Some(name) {
                return Err(refusal::duplicate_name(text, name));
            }
            before = Some(name);
        }
        Ok(())
    }

    /// The distributor's look at an entry; it may cut its line.
    pub fn check_entry(&self, stream: &str, entry: &mut Entry, now: i64) -> Result<(), String> {
        if let Some(oldest) = self.age_max.map(|age| now - age).filter(|oldest| entry.timestamp < *oldest) {
            return Err(refusal::too_old(stream, entry.timestamp, oldest));
        }
        if self.future_max.is_some_and(|future| entry.timestamp > now + future) {
            return Err(refusal::too_new(stream, entry.timestamp));
        }
        if let Some(max) = self.line_bytes_max.filter(|max| entry.line.len() > *max) {
            if !self.truncates_lines {
                return Err(refusal::line_too_long(stream, entry.line.len(), max));
            }
            // Loki cuts within a character; what is left of one would be no text here.
            entry.line.truncate(entry.line.floor_char_boundary(max));
        }
        let (bytes, entries) = (entry.metadata_bytes(), entry.metadata.len());
        if entries > 0 && !self.allows_metadata {
            return Err(refusal::metadata_disallowed(stream));
        }
        if bytes > self.metadata_bytes_max {
            return Err(refusal::metadata_too_large(stream, bytes, self.metadata_bytes_max));
        }
        if entries > self.metadata_entries_max {
            return Err(refusal::metadata_too_many(stream, entries, self.metadata_entries_max));
        }
        Ok(())
    }
}

/// Fills by a rate up to its burst, and begins full.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    /// What is in it, and since when; nothing before the first use.
    level: Option<(f64, i64)>,
}

impl Bucket {
    /// Takes all of it or nothing. More than the burst is never there.
    pub fn take(&mut self, amount: usize, rate: Option<f64>, burst: f64, now: i64) -> bool {
        let Some(rate) = rate else { return true };
        let (level, since) = self.level.unwrap_or((burst, now));
        let passed = now.saturating_sub(since).max(0) as f64 / SECOND as f64;
        let filled = (level + passed * rate).min(burst);
        let enough = amount as f64 <= filled;
        self.level = Some((if enough { filled - amount as f64 } else { filled }, now.max(since)));
        enough
    }
}
