//! What Loki says when it refuses: one function for each of its messages.

use jiff::Timestamp;
use std::collections::BTreeMap;

/// Why a whole push or a part of it was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub body: String,
}

pub fn refusal(status: u16, body: impl Into<String>) -> Refusal {
    Refusal { status, body: body.into() }
}

pub fn too_old(stream: &str, timestamp: i64, oldest: i64) -> String {
    let (entry, oldest) = (seconds(timestamp), seconds(oldest));
    format!("entry for stream '{stream}' has timestamp too old: {entry}, oldest acceptable timestamp is: {oldest}")
}

pub fn too_new(stream: &str, timestamp: i64) -> String {
    format!("entry for stream '{stream}' has timestamp too new: {}", seconds(timestamp))
}

pub fn line_too_long(stream: &str, bytes: usize, bytes_max: usize) -> String {
    format!(
        "Max entry size '{bytes_max}' bytes exceeded for stream '{stream}' while adding an entry with length '{bytes}' bytes"
    )
}

pub fn too_many_names(stream: &str, names: usize, names_max: usize) -> String {
    format!("entry for stream '{stream}' has {names} label names; limit {names_max}")
}

pub fn name_too_long(stream: &str, name: &str) -> String {
    format!("stream '{stream}' has label name too long: '{name}'")
}

pub fn value_too_long(stream: &str, value: &str) -> String {
    format!("stream '{stream}' has label value too long: '{value}'")
}

pub fn duplicate_name(stream: &str, name: &str) -> String {
    format!("stream '{stream}' has duplicate label name: '{name}'")
}

pub fn no_labels() -> String {
    "error at least one label pair is required per stream".to_string()
}

pub fn missing_labels(missing: &[&str], tenant: &str, stream: &str) -> String {
    format!("missing required labels {} for user {tenant} for stream {stream}", missing.join(","))
}

pub fn metadata_disallowed(stream: &str) -> String {
    format!(
        "stream '{stream}' includes structured metadata, but this feature is disallowed. Please see \
         `limits_config.allow_structured_metadata` or contact your Loki administrator to enable it."
    )
}

pub fn metadata_too_large(stream: &str, bytes: usize, bytes_max: usize) -> String {
    format!(
        "stream '{stream}' has structured metadata too large: '{bytes}' bytes, limit: '{bytes_max}' bytes. Please see \
         `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it."
    )
}

pub fn metadata_too_many(stream: &str, entries: usize, entries_max: usize) -> String {
    format!(
        "stream '{stream}' has too many structured metadata labels: '{entries}', limit: '{entries_max}'. Please see \
         `limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase it."
    )
}

pub fn too_far_behind(timestamp: i64, oldest: i64) -> String {
    let (entry, oldest) = (seconds(timestamp), seconds(oldest));
    format!("entry too far behind, entry timestamp is: {entry}, oldest acceptable timestamp is: {oldest}")
}

pub fn stream_rate(rate: f64, stream: &str, bytes: usize) -> String {
    format!(
        "Per stream rate limit exceeded (limit: {}/sec) while attempting to ingest for stream '{stream}' totaling {}, \
         consider splitting a stream via additional labels or contact your Loki administrator to see if the limit can \
         be increased",
        size(rate as u64),
        size(bytes as u64)
    )
}

/// What the ingester says of a stream: entries with their reasons, so many at most, and how many there were.
pub fn ignored(ignored: &[(i64, String)], listed_max: usize, entries: usize, tenant: &str, stream: &str) -> String {
    let listed = ignored.iter().take(if listed_max == 0 { usize::MAX } else { listed_max });
    let listed: String = listed
        .map(|(timestamp, why)| format!("entry with timestamp {} ignored, reason: '{why}',\n", go_time(*timestamp)))
        .collect();
    let count = ignored.len();
    format!("{listed}user '{tenant}', total ignored: {count} out of {entries} for stream: {stream}")
}

pub fn rate(tenant: &str, rate: f64, lines: usize, bytes: usize) -> String {
    format!(
        "Ingestion rate limit exceeded for user {tenant} (limit: {} bytes/sec) while attempting to ingest '{lines}' \
         lines totaling '{bytes}' bytes, reduce log volume or contact your Loki administrator to see if the limit can \
         be increased",
        rate as u64
    )
}

pub fn too_many_streams(stream: &str, tenant: &str) -> String {
    format!(
        "Maximum active stream limit exceeded when trying to create stream {stream}, reduce the number of active \
         streams (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be \
         increased, user: '{tenant}'"
    )
}

pub fn blocked(tenant: &str, until: i64, status: u16) -> String {
    format!("ingestion blocked for user {tenant} until '{}' with status code '{status}'", seconds(until))
}

pub fn body_too_large(bytes: usize, bytes_max: usize) -> String {
    format!("request body too large: {bytes} bytes, limit: {bytes_max} bytes")
}

pub fn no_streams() -> String {
    "error at least one valid stream is required for ingestion".to_string()
}

/// Several messages as one: the same ones once, with how many there were.
pub fn grouped(messages: &[String]) -> String {
    let mut counted = BTreeMap::new();
    for message in messages {
        *counted.entry(message).or_insert(0) += 1;
    }
    let alone = messages.len() == 1;
    let parts = counted.into_iter().map(|(message, count)| match alone {
        true => message.clone(),
        false => format!("{count} errors like: {message}"),
    });
    parts.collect::<Vec<_>>().join("; ")
}

/// Go's RFC 3339: whole seconds.
fn seconds(nanos: i64) -> String {
    // Rounded down, as a format does that leaves the rest out.
    Timestamp::from_second(nanos.div_euclid(1_000_000_000)).map_or(nanos.to_string(), |time| time.to_string())
}

/// A time as Go prints it where nobody says how.
fn go_time(nanos: i64) -> String {
    match Timestamp::from_nanosecond(i128::from(nanos)) {
        Ok(time) => time.to_string().replace('T', " ").replace('Z', " +0000 UTC"),
        Err(_) => nanos.to_string(),
    }
}

/// Bytes in the largest unit that divides them.
fn size(bytes: u64) -> String {
    let units = [(30, "GB"), (20, "MB"), (10, "KB")];
    let unit = units.into_iter().find(|(bits, _)| bytes > 0 && bytes.is_multiple_of(1 << bits));
    unit.map_or(format!("{bytes}B"), |(bits, unit)| format!("{}{unit}", bytes >> bits))
}
