//! `timestamp`: an extracted value becomes the time of the entry.

use super::{Flow, Keeper, Kept, Rebound, Run, StageConfig};
use crate::clock::UnixNanos;
use crate::decode::time_layout::{self, Layout};
use crate::diagnostic::Diagnostics;
use crate::keep::Reader;
use crate::pipeline::{Context, KeyedHash, Record, Scope, Slot};
use crate::yaml::{Fields, Node, Spanned};
use jiff::tz::TimeZone;
use lru::LruCache;
use std::num::NonZeroUsize;

/// Streams whose last good time is remembered, as in Promtail.
const STREAMS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

#[derive(Debug)]
pub struct TimestampConfig {
    pub source: String,
    pub format: Spanned<String>,
    pub fallback_formats: Vec<Spanned<String>>,
    /// IANA name, for layouts without a zone.
    pub location: Option<Spanned<String>>,
    pub action_on_failure: ActionOnFailure,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ActionOnFailure {
    /// The stream's last good time and a nanosecond.
    Fudge,
    /// The time at which the line was read.
    Skip,
}

impl StageConfig for TimestampConfig {
    type Stage = Timestamp;

    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `timestamp` stage", d)?;
        let (source, format) = (fields.required("source", d), fields.required("format", d));
        let fallback_formats = fields.or("fallback_formats", Vec::new(), d);
        let location = fields.optional("location", d);
        let action = fields.optional::<Spanned<String>>("action_on_failure", d);
        fields.finish(d);
        let action_on_failure = match action.as_ref().map_or("fudge", |a| a.value.as_str()) {
            "fudge" => ActionOnFailure::Fudge,
            "skip" => ActionOnFailure::Skip,
            other => {
                let span = action.as_ref().map_or(node.span, |a| a.span);
                d.error(span, format!("unknown action_on_failure `{other}`")).help("`fudge` or `skip`");
                return None;
            }
        };
        Some(TimestampConfig { source: source?, format: format?, fallback_formats, location, action_on_failure })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Timestamp> {
        let mut layouts = Vec::new();
        for format in std::iter::once(&self.format).chain(&self.fallback_formats) {
            match Layout::compile(&format.value) {
                Ok(layout) => layouts.push(layout),
                Err(why) => {
                    scope.diagnostics.error(format.span, why);
                }
            }
        }
        let zone = match &self.location {
            None => None,
            Some(name) => match zone(&name.value) {
                Some(zone) => Some(zone),
                None => {
                    scope
                        .diagnostics
                        .error(name.span, format!("`{}` is no time zone", name.value))
                        .help("an IANA name such as `Europe/London`, `UTC`, or `Local` for this machine's zone");
                    return None;
                }
            },
        };
        (layouts.len() == 1 + self.fallback_formats.len()).then(|| Timestamp {
            source: scope.slot(&self.source),
            layouts,
            clock: time_layout::Context { zone, now: 0 },
            fudge: (self.action_on_failure == ActionOnFailure::Fudge).then(Fudge::default),
        })
    }
}

/// By its name, as Go's `LoadLocation` knows it: nothing is UTC, and `Local` is the zone of this machine.
fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "" => Some(TimeZone::UTC),
        "Local" => Some(TimeZone::system()),
        name => TimeZone::get(name).ok(),
    }
}

pub struct Timestamp {
    source: Slot,
    layouts: Vec<Layout>,
    /// The zone of layouts without one, and the time of this line.
    clock: time_layout::Context,
    fudge: Option<Fudge>,
}

impl Run for Timestamp {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        let parsed = record.text(self.source).and_then(|text| {
            self.clock.now = context.wall;
            self.layouts.iter().find_map(|layout| layout.parse(record.bytes(text), &self.clock))
        });
        if let Some(fudge) = &mut self.fudge {
            if let Some(timestamp) = fudge.apply(record, parsed) {
                record.set_timestamp(timestamp);
            }
        } else if let Some(timestamp) = parsed {
            record.set_timestamp(timestamp);
        }
        Flow::Next
    }

    fn keep(&self, keeper: &mut Keeper<'_>) {
        if let Some(fudge) = &self.fudge {
            fudge.keep(keeper);
        }
    }

    fn restore(&mut self, kept: Kept<'_>, rebound: &mut Rebound<'_>) {
        if let (Some(fudge), Some(reader)) = (&mut self.fudge, kept.get(0)) {
            rebound.damaged += u64::from(fudge.restore(reader).is_none());
        }
    }
}

/// The last good time of each stream, that is, of each label set at this point of the pipeline.
struct Fudge {
    last: LruCache<u64, UnixNanos>,
    hash: KeyedHash,
}

impl Default for Fudge {
    fn default() -> Self {
        Fudge { last: LruCache::new(STREAMS_MAX), hash: KeyedHash::random() }
    }
}

impl Fudge {
    /// The time for this record: the parsed one, or the stream's last one and a nanosecond; nothing for a stream that
    /// never had a good one.
    fn apply(&mut self, record: &Record<'_>, parsed: Option<UnixNanos>) -> Option<UnixNanos> {
        let stream = self.hash.of(record.labels().flat_map(|(name, value)| [name.as_bytes(), value]));
        match parsed {
            Some(time) => {
                match self.last.get_mut(&stream) {
                    Some(last) => *last = time,
                    None => {
                        self.last.put(stream, time);
                    }
                }
                Some(time)
            }
            None => {
                let last = self.last.get_mut(&stream)?;
                *last = last.saturating_add(1);
                Some(*last)
            }
        }
    }
    /// The stream that was used last comes last: which one is forgotten next is kept too.
    fn keep(&self, keeper: &mut Keeper<'_>) {
        keeper.put(0, |writer| {
            self.hash.write(writer);
            for (stream, last) in self.last.iter().rev() {
                writer.word(*stream);
                writer.word(*last as u64);
            }
        });
    }

    /// `None`: damaged; what could be read counts.
    fn restore(&mut self, mut reader: Reader<'_>) -> Option<()> {
        self.hash = KeyedHash::read(&mut reader)?;
        while !reader.is_empty() {
            let (stream, last) = (reader.word()?, reader.word()? as UnixNanos);
            self.last.put(stream, last);
        }
        Some(())
    }
}
