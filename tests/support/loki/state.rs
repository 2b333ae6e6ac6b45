//! What Loki's distributor and ingester do with a push, as a plain state machine that the test gives the time.

use super::limits::{Bucket, Limits};
use super::proto::{Entry, Push, PushedStream};
use super::refusal::{self, Refusal, refusal};
use super::script::{Delivery, Play, Script};
use std::collections::{BTreeMap, BTreeSet};

pub const PATH: &str = "/loki/api/v1/push";
/// Whose everything is where there are no tenants.
pub const ONLY_TENANT: &str = "fake";

#[derive(Default)]
pub struct FakeLoki {
    pub limits: Limits,
    pub script: Script,
    /// What the header `authorization` must be, if anything.
    pub authorization: Option<String>,
    /// How far its clock is ahead of the caller's, in nanoseconds.
    pub clock_ahead: i64,
    /// Every request, in the order in which they were read.
    pub requests: Vec<Received>,
    /// Forgets the bodies of requests, for long runs.
    pub forgets_bodies: bool,
    /// By tenant and labels.
    pub streams: BTreeMap<(String, String), Stream>,
    buckets: BTreeMap<String, Bucket>,
}

/// A request as it came over the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A request with what came of it.
#[derive(Clone, Debug)]
pub struct Received {
    /// Counts up from 0.
    pub number: usize,
    /// When, in nanoseconds since 1970.
    pub at: i64,
    pub request: Request,
    /// What is in it; or why it can't be read.
    pub push: Result<Push, String>,
    /// What was answered; 0 for as long as nothing is.
    pub status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A stream of a tenant.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// What a query finds.
    pub entries: BTreeSet<Entry>,
    /// Everything that was taken or would have been, in the order in which it came: the number of its request, and
    /// whether it was new.
    pub arrivals: Vec<(usize, Entry, bool)>,
    last: Option<(i64, String)>,
    newest: Option<i64>,
    bucket: Bucket,
}

/// An entry that Loki holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    pub tenant: String,
    pub labels: String,
    pub entry: Entry,
}

impl Request {
    /// A push as a client makes it.
    pub fn push(body: Vec<u8>) -> Request {
        let headers = vec![("content-type".to_string(), "application/x-protobuf".to_string())];
        Request { method: "POST".to_string(), path: PATH.to_string(), headers, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Reply {
    fn text(status: u16, body: &str) -> Reply {
        let body = if body.is_empty() { String::new() } else { format!("{body}\n") };
        let plain = ("content-type".to_string(), "text/plain; charset=utf-8".to_string());
        let headers = if body.is_empty() { Vec::new() } else { vec![plain] };
        Reply { status, headers, body: body.into_bytes() }
    }
}

impl FakeLoki {
    pub fn new(limits: Limits) -> FakeLoki {
        FakeLoki { limits, ..FakeLoki::default() }
    }

    /// Answers a request as the script says, or as Loki does. `now` is in nanoseconds since 1970.
    pub fn serve(&mut self, request: Request, now: i64) -> (Reply, Delivery) {
        let now = now + self.clock_ahead;
        let number = self.requests.len();
        let push = Push::unpack(&request.body, self.limits.unpacked_bytes_max);
        let mut received = Received { number, at: now, request, push, status: 0 };
        let (reply, delivery) = match self.outside(&received.request) {
            Some(reply) => (reply, Delivery::default()),
            None => match self.script.take(&received) {
                None => (self.answer(&received, now), Delivery::default()),
                Some(Play { reply, stores, delivery }) => {
                    let own = stores.then(|| self.answer(&received, now));
                    (reply.or(own).unwrap_or(Reply::text(500, "")), delivery)
                }
            },
        };
        received.status = reply.status;
        if self.forgets_bodies {
            received.request.body = Vec::new();
            received.push = Err("forgotten".to_string());
        }
        self.requests.push(received);
        (reply, delivery)
    }

    /// What is not a push at all, or from nobody.
    fn outside(&self, request: &Request) -> Option<Reply> {
        if request.path != PATH {
            return Some(Reply::text(404, "404 page not found"));
        }
        if request.method != "POST" {
            return Some(Reply::text(405, ""));
        }
        let given = request.header("authorization");
        let wanted = self.authorization.as_deref();
        (wanted.is_some() && given != wanted).then(|| Reply::text(401, "no credentials provided"))
    }

    fn answer(&mut self, received: &Received, now: i64) -> Reply {
        let Received { number, request, push, .. } = received;
        match self.take(*number, request, push, now) {
            Ok(()) => Reply::text(204, ""),
            Err(Refusal { status, body }) => Reply::text(status, &body),
        }
    }

    /// The whole way of a push: its form, the distributor, the ingester.
    fn take(&mut self, number: usize, request: &Request, push: &Result<Push, String>, now: i64) -> Result<(), Refusal> {
        let tenant = match request.header("x-scope-orgid") {
            _ if !self.limits.multi_tenant => ONLY_TENANT,
            Some(tenant) if !tenant.is_empty() => tenant,
            _ => return Err(refusal(401, "no org id")),
        };
        let bytes_max = self.limits.body_bytes_max;
        if request.body.len() > bytes_max {
            return Err(refusal(413, refusal::body_too_large(request.body.len(), bytes_max)));
        }
        let kind = request.header("content-type").unwrap_or_default();
        if kind != "application/x-protobuf" {
            return Err(refusal(400, format!("a push of the type {kind:?}")));
        }
        let encoding = request.header("content-encoding");
        if encoding.is_some_and(|encoding| encoding != "snappy") {
            return Err(refusal(400, format!("Content-Encoding {:?} not supported", encoding.unwrap_or_default())));
        }
        let push = push.as_ref().map_err(|why| refusal(400, why.clone()))?;
        if self.limits.canonical_only && !push.canonical {
            return Err(refusal(400, "proto: not as every writer writes it"));
        }
        if push.streams.is_empty() {
            return Err(refusal(422, refusal::no_streams()));
        }
        let tenant = tenant.to_string();
        let (streams, messages) = self.validate(push, &tenant, now)?;
        let invalid = match messages.is_empty() {
            true => Ok(()),
            false => Err(refusal(400, self.capital(refusal::grouped(&messages)))),
        };
        if streams.is_empty() {
            return invalid;
        }
        let (bytes, lines) = (streams.iter().map(PushedStream::bytes).sum(), streams.iter().map(|s| s.entries.len()));
        let (rate, burst) = (self.limits.rate, self.limits.burst);
        if !self.buckets.entry(tenant.clone()).or_default().take(bytes, rate, burst, now) {
            let why = refusal::rate(&tenant, rate.unwrap_or_default(), lines.sum(), bytes);
            return Err(refusal(429, self.capital(why)));
        }
        // What the ingester says hides what the distributor said.
        self.ingest(number, &tenant, streams, now).and(invalid)
    }

    /// The distributor: gives back what is valid, and why the rest is not.
    fn validate(&self, push: &Push, tenant: &str, now: i64) -> Result<(Vec<PushedStream>, Vec<String>), Refusal> {
        let (mut valid, mut messages) = (Vec::new(), Vec::new());
        if let Some((until, status)) = self.limits.blocked_until.filter(|(until, _)| now < *until) {
            // With 200 it is dropped as if all were well.
            let done = refusal(status, refusal::blocked(tenant, until, status));
            return if status == 200 { Ok((valid, messages)) } else { Err(done) };
        }
        for stream in push.streams.iter().filter(|stream| !stream.entries.is_empty()) {
            if let Err(why) = self.limits.check_labels(stream, tenant) {
                messages.push(why);
                continue;
            }
            let (key, mut kept) = (stream.key(), stream.clone());
            kept.entries.clear();
            for entry in &stream.entries {
                let mut entry = entry.clone();
                match self.limits.check_entry(&key, &mut entry, now) {
                    Ok(()) => kept.entries.push(entry),
                    Err(why) => messages.push(why),
                }
            }
            if !kept.entries.is_empty() {
                valid.push(kept);
            }
        }
        Ok((valid, messages))
    }

    /// The ingester: stream by stream. What it refuses of one keeps nothing of the others out.
    fn ingest(&mut self, number: usize, tenant: &str, streams: Vec<PushedStream>, now: i64) -> Result<(), Refusal> {
        let mut told = Ok(());
        for pushed in streams {
            let key = (tenant.to_string(), pushed.key());
            let full = |max| self.streams.keys().filter(|(owner, _)| owner == tenant).count() >= max;
            let known = self.streams.contains_key(&key);
            let outcome = if !known && self.limits.streams_max.is_some_and(full) {
                Err(refusal(429, self.capital(refusal::too_many_streams(&key.1, tenant))))
            } else {
                self.streams.entry(key.clone()).or_default().push(number, &key, pushed.entries, &self.limits, now)
            };
            if outcome.is_err() || self.limits.tells_of_last_stream_only {
                told = outcome;
            }
        }
        told
    }

    fn capital(&self, message: String) -> String {
        if self.limits.capitals {
            return message;
        }
        ["Ingestion rate", "Maximum active", "Max entry"]
            .iter()
            .fold(message, |message, begins| message.replace(begins, &begins.to_lowercase()))
    }

    /// Everything that it holds.
    pub fn held(&self) -> BTreeSet<Held> {
        let of = |((tenant, labels), stream): (&(String, String), &Stream)| {
            let held = |entry: &Entry| Held { tenant: tenant.clone(), labels: labels.clone(), entry: entry.clone() };
            stream.entries.iter().map(held).collect::<Vec<_>>()
        };
        self.streams.iter().flat_map(of).collect()
    }

    /// How many entries it holds.
    pub fn count(&self) -> usize {
        self.streams.values().map(|stream| stream.entries.len()).sum()
    }

    /// Requests that were answered so.
    pub fn answered(&self, status: u16) -> usize {
        self.requests.iter().filter(|received| received.status == status).count()
    }

    /// What happened so far, for somebody who waits in vain.
    pub fn summary(&self) -> String {
        let mut answers: BTreeMap<u16, usize> = BTreeMap::new();
        self.requests.iter().for_each(|received| *answers.entry(received.status).or_default() += 1);
        let last = self.requests.last().and_then(|received| received.push.as_ref().err());
        let (streams, entries) = (self.streams.len(), self.count());
        format!(
            "{} requests, answered {answers:?}; {entries} entries in {streams} streams; {last:?}",
            self.requests.len()
        )
    }

    /// Entries that came again after they were stored.
    pub fn repeated(&self) -> usize {
        self.streams.values().flat_map(|stream| &stream.arrivals).filter(|(.., new)| !new).count()
    }

    /// New entries that came after newer ones of their stream.
    pub fn reordered(&self) -> Vec<(String, Entry)> {
        let mut found = Vec::new();
        for ((_, labels), stream) in &self.streams {
            let mut newest = i64::MIN;
            for (_, entry, _) in stream.arrivals.iter().filter(|(.., new)| *new) {
                if entry.timestamp < newest {
                    found.push((labels.clone(), entry.clone()));
                }
                newest = newest.max(entry.timestamp);
            }
        }
        found
    }
}

impl Stream {
    /// Takes entries of one push; the names are the tenant's and the stream's.
    fn push(
        &mut self,
        number: usize,
        (tenant, labels): &(String, String),
        entries: Vec<Entry>,
        limits: &Limits,
        now: i64,
    ) -> Result<(), Refusal> {
        let count = entries.len();
        let (mut kept, mut ignored) = (Vec::new(), Vec::new());
        let (mut last, mut newest) = (self.last.clone(), self.newest);
        for entry in entries {
            // Equal to the one before: ignored, whatever its metadata.
            if last.as_ref().is_some_and(|(timestamp, line)| (*timestamp, line) == (entry.timestamp, &entry.line)) {
                self.arrivals.push((number, entry, false));
                continue;
            }
            let oldest = newest.zip(limits.window).map(|(newest, window)| newest - window);
            if let Some(oldest) = oldest.filter(|oldest| entry.timestamp < *oldest) {
                ignored.push((entry.timestamp, refusal::too_far_behind(entry.timestamp, oldest)));
                continue;
            }
            last = Some((entry.timestamp, entry.line.clone()));
            newest = newest.max(Some(entry.timestamp));
            kept.push(entry);
        }
        let bytes = kept.iter().map(Entry::bytes).sum();
        if !self.bucket.take(bytes, limits.stream_rate, limits.stream_burst, now) {
            let rate = limits.stream_rate.unwrap_or_default();
            let why = |entry: &Entry| (entry.timestamp, refusal::stream_rate(rate, labels, entry.bytes()));
            let ignored: Vec<_> = kept.iter().map(why).collect();
            return Err(refusal(429, refusal::ignored(&ignored, limits.listed_max, count, tenant, labels)));
        }
        (self.last, self.newest) = (last, newest);
        for entry in kept {
            let new = self.entries.insert(entry.clone());
            self.arrivals.push((number, entry, new));
        }
        match ignored.is_empty() {
            true => Ok(()),
            false => Err(refusal(400, refusal::ignored(&ignored, limits.listed_max, count, tenant, labels))),
        }
    }
}
