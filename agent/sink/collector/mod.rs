//! The collector turns the entries of one client into batches.
//!
//! It runs where the lines are read, so a line of a known stream costs one hash of its labels and allocates nothing: its
//! bytes are appended to the open batch of its tenant, and put stream by stream when that is sealed. A batch is sealed
//! before the entry that would make it larger than `batchsize`, and when it is as old as `batchwait`, as in Promtail.

mod fit;
mod kept;
mod limits;
mod open_batch;
mod recent;
mod sealing;
mod stream_labels;
mod streams;
mod twins;

pub use limits::{EntryLimits, Reason, Tallied, Tally};
pub use sealing::Sealed;
pub use streams::STREAMS_MAX;

use super::ClientConfig;
use super::wire::write;
use crate::clock::UnixNanos;
use crate::pipeline::{Origin, Record};
use fit::{fit, write_pair};
use limits::Counts;
use recent::Recent;
use sealing::{Sealing, Tenant};
use std::mem;
use std::time::Duration;
use std::vec;
use stream_labels::{ClientLabels, write_key};
use streams::{Stream, Streams};
use twins::Twins;

/// Tenants with streams that are known. Entries of one more are dropped, and counted.
pub const TENANTS_MAX: usize = 1_000;
/// A stream is forgotten when no entry came for so long.
pub const STREAM_IDLE: Duration = Duration::from_secs(600);
/// How often that is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// What the open batches of all tenants may hold together; then all are sealed.
const OPEN_BYTES_MAX: usize = 64 << 20;
/// A message may take so many times `batchsize`, or it is sealed early: `batchsize` counts neither timestamps nor labels,
/// and does not bound a batch of empty lines.
const MESSAGE_FACTOR: usize = 4;
const MESSAGE_BYTES_MIN: usize = 256 << 10;
/// More than this of lines is in no batch, whatever `batchsize` says: places in it are counted in 32 bits. Loki takes no
/// message of more than 100 MB by default.
const BATCH_BYTES_MAX: u64 = 256 << 20;
/// Stands for the tenants beyond [`TENANTS_MAX`] in what is counted.
const OTHER_TENANTS: &str = "__other__";

/// Batches the entries of one client.
pub struct Collector {
    batch_wait: Duration,
    batch_bytes_max: u64,
    message_bytes_max: usize,
    limits: EntryLimits,
    labels: ClientLabels,
    streams: Streams,
    recent: Recent,
    /// A place is used again when its tenant is gone.
    tenants: Vec<Tenant>,
    sealing: Sealing,
    /// Entries of tenants that could not be taken in.
    others: Counts,
    swept: Duration,
    /// Memory for the entry at hand: the key of its stream, its metadata as it is sent, and texts that were no UTF-8.
    key: Vec<u8>,
    metadata: Vec<u8>,
    text: String,
    /// The entry at hand would come again as it is.
    repeatable: bool,
}

/// The entry at hand, in the form in which it is sent.
struct Entry<'e> {
    stamp: UnixNanos,
    /// UTF-8.
    line: &'e [u8],
    /// Encoded.
    metadata: &'e [u8],
    /// Of the names and values of the metadata.
    metadata_bytes: usize,
    /// Bytes that were no UTF-8.
    replaced: usize,
    now: Duration,
}

impl Collector {
    pub fn new(config: &ClientConfig, limits: &EntryLimits) -> Self {
        let batch_bytes_max = config.batch_bytes_max.min(BATCH_BYTES_MAX);
        let message_bytes_max = (MESSAGE_FACTOR * batch_bytes_max as usize).max(MESSAGE_BYTES_MIN);
        Collector {
            batch_wait: config.batch_wait,
            batch_bytes_max,
            message_bytes_max,
            limits: *limits,
            labels: ClientLabels::new(config),
            streams: Streams::default(),
            recent: Recent::default(),
            tenants: Vec::new(),
            sealing: Sealing::new(2 * message_bytes_max),
            others: Counts::default(),
            swept: Duration::ZERO,
            key: Vec::new(),
            metadata: Vec::new(),
            text: String::new(),
            repeatable: true,
        }
    }

    /// Takes one entry, and where it is from. `now` is the time of the turn by the clock that never goes back.
    pub fn entry(&mut self, record: &Record<'_>, origin: Origin, now: Duration) {
        self.repeatable = record.is_repeatable();
        let known = self.recent.find(origin, record).or_else(|| {
            let number = self.stream_of(record.labels(), now)?;
            self.recent.remember(origin, record, number);
            Some(number)
        });
        self.add(known, record.timestamp(), record.line(), record.metadata(), now);
    }

    /// The number of the stream with these labels. Nothing if its tenant is one too many.
    fn stream_of<'e>(&mut self, labels: impl Iterator<Item = (&'e str, &'e [u8])>, now: Duration) -> Option<u32> {
        write_key(labels, &mut self.key);
        self.streams.find(&self.key).or_else(|| self.new_stream(now))
    }

    #[inline]
    fn add<'e>(
        &mut self,
        stream: Option<u32>,
        stamp: UnixNanos,
        line: &[u8],
        metadata: impl Iterator<Item = (&'e [u8], &'e [u8])>,
        now: Duration,
    ) {
        let Some(number) = stream else {
            return self.others.drop(Reason::TenantLimited, line.len());
        };
        let (mut text, mut encoded) = (mem::take(&mut self.text), mem::take(&mut self.metadata));
        encoded.clear();
        let (mut metadata_bytes, mut replaced) = (0, 0);
        for (name, value) in metadata {
            metadata_bytes += write_pair(name, value, &mut encoded, &mut text, &mut replaced);
        }
        let line = fit(line, &mut text, &mut replaced);
        self.put(number, Entry { stamp, line, metadata: &encoded, metadata_bytes, replaced, now });
        (self.text, self.metadata) = (text, encoded);
        if self.sealing.open_bytes > OPEN_BYTES_MAX {
            self.seal();
        }
    }

    /// Puts an entry into the open batch of its stream's tenant, if the limits let it.
    #[inline]
    fn put(&mut self, number: u32, entry: Entry<'_>) {
        let Some(stream) = self.streams.get_mut(number) else { return };
        stream.used = entry.now;
        let tenant = &mut self.tenants[stream.tenant as usize];
        let line = self.limits.cut(entry.line);
        if line.len() < entry.line.len() && !self.limits.truncate {
            return tenant.counts.drop(Reason::LineTooLong, entry.line.len());
        }
        let bytes = (line.len() + entry.metadata_bytes) as u64;
        let encoded = line.len() + entry.metadata.len() + write::ENTRY_FRAME_BYTES_MAX;
        if let Some(open) = &tenant.open
            && (open.bytes + bytes > self.batch_bytes_max || open.encoded_len() + encoded > self.message_bytes_max)
        {
            self.sealing.seal(tenant, &mut self.streams);
        }
        let Some(stream) = self.streams.get_mut(number) else { return };
        let open = tenant.open.get_or_insert_with(|| self.sealing.open(entry.now));
        open.repeatable &= self.repeatable;
        let before = open.encoded_len();
        if stream.chain.is_empty() {
            if self.limits.refuse_stream(open.streams.len()) {
                return tenant.counts.drop(Reason::StreamLimited, entry.line.len());
            }
            open.join(number, &stream.labels);
        }
        if stream.twins.begins_anew(entry.stamp) {
            let text = open.append(&mut stream.chain, entry.stamp, line, entry.metadata);
            stream.twins.begun_with(text);
        } else {
            stream.twins.settle(open.encoded());
            let stamp = stream.twins.place(entry.stamp, line);
            open.append(&mut stream.chain, stamp, line, entry.metadata);
        }
        open.bytes += bytes;
        self.sealing.open_bytes += open.encoded_len() - before;
        if line.len() < entry.line.len() {
            tenant.counts.mutate(Reason::LineTooLong, entry.line.len() - line.len());
        }
        if entry.replaced > 0 {
            tenant.counts.mutate(Reason::InvalidUtf8, entry.replaced);
        }
    }

    /// Seals what is old enough, and forgets streams that have been still for long.
    pub fn tick(&mut self, now: Duration) {
        for tenant in &mut self.tenants {
            if tenant.open.as_ref().is_some_and(|open| open.begun.saturating_add(self.batch_wait) <= now) {
                self.sealing.seal(tenant, &mut self.streams);
            }
        }
        if now >= self.swept + SWEEP_EVERY {
            self.swept = now;
            self.sweep(now);
        }
    }

    /// When the next batch is old enough.
    pub fn due(&self) -> Option<Duration> {
        let begun = self.tenants.iter().filter_map(|tenant| Some(tenant.open.as_ref()?.begun));
        begun.min().map(|begun| begun.saturating_add(self.batch_wait))
    }

    /// Seals everything: for a cut, or the end.
    pub fn seal(&mut self) {
        for tenant in &mut self.tenants {
            self.sealing.seal(tenant, &mut self.streams);
        }
    }

    /// Whether batches were sealed since they were taken last.
    pub fn has_sealed(&self) -> bool {
        !self.sealing.sealed.is_empty()
    }

    /// The batches that were sealed since the last call.
    pub fn sealed(&mut self) -> vec::Drain<'_, Sealed> {
        self.sealing.sealed.drain(..)
    }

    /// Takes back the memory of a message that is not needed any more, to fill it again.
    pub fn recycle(&mut self, message: Vec<u8>) {
        self.sealing.recycle(message);
    }

    /// What was dropped and changed since the last call.
    pub fn tally(&mut self) -> Tally {
        let mut tally = Tally::default();
        for tenant in &mut self.tenants {
            tenant.counts.take(&tenant.name, &mut tally);
        }
        if !self.others.is_empty() {
            self.others.take(&OTHER_TENANTS.into(), &mut tally);
        }
        tally
    }

    /// Makes the stream of the key at hand known. Nothing if its tenant is one too many.
    #[cold]
    fn new_stream(&mut self, now: Duration) -> Option<u32> {
        // A key that was just written can be read.
        let (tenant, labels) = self.labels.of(&self.key)?;
        let tenant = self.tenant(tenant)?;
        self.tenants[tenant as usize].streams += 1;
        if self.streams.len() >= STREAMS_MAX {
            let closed = self.streams.next_closed().or_else(|| {
                self.seal();
                self.streams.next_closed()
            });
            closed.into_iter().for_each(|number| self.forget(number));
        }
        Some(self.streams.insert(Stream {
            key: self.key.as_slice().into(),
            labels,
            tenant,
            chain: Default::default(),
            twins: Twins::default(),
            used: now,
        }))
    }

    /// The place of a tenant, in that of one that is gone if it is new.
    fn tenant(&mut self, name: String) -> Option<u32> {
        let known = self.tenants.iter().position(|tenant| *tenant.name == *name);
        let place = known.or_else(|| {
            let place = self.tenants.iter().position(Tenant::is_gone).unwrap_or(self.tenants.len());
            if place == TENANTS_MAX {
                return None;
            }
            match self.tenants.get_mut(place) {
                Some(gone) => *gone = Tenant::new(name),
                None => self.tenants.push(Tenant::new(name)),
            }
            Some(place)
        });
        place.map(|place| place as u32)
    }

    fn forget(&mut self, number: u32) {
        self.recent.forget(number);
        if let Some(stream) = self.streams.remove(number) {
            self.tenants[stream.tenant as usize].streams -= 1;
        }
    }

    /// Forgets the streams that have been still for long.
    fn sweep(&mut self, now: Duration) {
        let mut still = Vec::new();
        for (number, stream) in self.streams.iter_mut() {
            // One of an earlier run is as good as one that has just been used.
            stream.used = stream.used.min(now);
            if stream.chain.is_empty() && now - stream.used >= STREAM_IDLE {
                still.push(number);
            }
        }
        still.into_iter().for_each(|number| self.forget(number));
    }
}

#[cfg(test)]
#[path = "loki_tests.rs"]
mod loki;

#[cfg(test)]
#[path = "random_tests.rs"]
mod random_tests;

#[cfg(test)]
#[path = "collector_tests.rs"]
mod tests;
