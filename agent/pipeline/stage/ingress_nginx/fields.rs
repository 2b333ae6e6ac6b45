//! The fields of an access line: their names, and the JSON keys under which they stand.

use super::super::json::rewrite;
use crate::decode::json::{self, Kind, LearningPicker, Mode, PATHS_MAX, Span};
use crate::pipeline::{Record, Slot, Text, Value};
use crate::yaml::Spanned;

/// What a line gives, and under which JSON keys, the usual ones first.
pub const NAMES: [(&str, &[&str]); N] = [
    ("time", &["time", "timestamp"]),
    ("client_ip", &["remote_address", "remote_addr", "remoteIp", "client_ip", "remote_ip"]),
    ("method", &["method", "request_method", "requestMethod"]),
    ("path", &["path", "uri", "requestUrl"]),
    ("status", &["status"]),
    ("host", &["host", "vhost"]),
    ("namespace", &["ingress_namespace", "namespace"]),
    ("ingress", &["ingress_name", "ingressName"]),
    ("service", &["service_name", "serviceName"]),
    ("service_port", &["service_port", "servicePort"]),
    ("request_bytes", &["request_length", "requestSize"]),
    ("response_bytes", &["body_bytes_sent", "bytes_sent", "responseSize"]),
    ("duration", &["request_time", "duration", "latency"]),
    ("upstream_addr", &["upstream_addr", "upstreamAddr"]),
    ("upstream_status", &["upstream_status", "upstreamStatus"]),
    ("upstream_response_time", &["upstream_response_time", "upstreamResponseTime"]),
    ("upstream_response_bytes", &["upstream_response_length"]),
    ("upstream_name", &["proxy_upstream_name", "proxyUpstreamName"]),
    ("user_agent", &["http_user_agent", "user_agent", "userAgent"]),
    ("referrer", &["http_referrer", "http_referer", "referer", "referrer"]),
    ("request_id", &["request_id", "requestID", "req_id"]),
    ("request", &["request"]),
    ("query", &["request_query", "args"]),
    ("protocol", &["request_proto", "protocol", "server_protocol"]),
    ("remote_user", &["remote_user"]),
    ("x_forwarded_for", &["x_forwarded_for", "http_x_forwarded_for"]),
    ("client_header", &["cf_connecting_ip", "http_cf_connecting_ip"]),
    ("peer", &["realip_remote_addr"]),
];
pub const N: usize = 28;
pub const TIME: usize = 0;
pub const CLIENT_IP: usize = 1;
pub const METHOD: usize = 2;
pub const PATH: usize = 3;
pub const STATUS: usize = 4;
pub const HOST: usize = 5;
pub const NAMESPACE: usize = 6;
pub const INGRESS: usize = 7;
pub const SERVICE: usize = 8;
pub const REQUEST_BYTES: usize = 10;
pub const RESPONSE_BYTES: usize = 11;
pub const DURATION: usize = 12;
pub const UPSTREAM_ADDR: usize = 13;
pub const UPSTREAM_STATUS: usize = 14;
pub const UPSTREAM_RESPONSE_TIME: usize = 15;
pub const UPSTREAM_RESPONSE_BYTES: usize = 16;
pub const UPSTREAM_NAME: usize = 17;
pub const USER_AGENT: usize = 18;
pub const REFERRER: usize = 19;
pub const REQUEST_ID: usize = 20;
pub const REQUEST: usize = 21;
pub const QUERY: usize = 22;
pub const PROTOCOL: usize = 23;
pub const REMOTE_USER: usize = 24;
pub const X_FORWARDED_FOR: usize = 25;
pub const CLIENT_HEADER: usize = 26;
pub const PEER: usize = 27;

/// Picks the fields of JSON lines into the record.
pub struct Picker {
    /// Each key with the one of [`NAMES`] that it gives; the keys of a name stand together, the usual one last.
    keys: Vec<(Vec<String>, usize)>,
    picker: LearningPicker,
    /// What becomes of each of the picked keys.
    targets: [Target; PATHS_MAX],
    /// A bit for each of these that gives a name which an access line must have.
    needed: [u64; 2],
    /// The names that are picked.
    picked: Vec<usize>,
    /// A bit for each of them.
    wanted: u32,
    spare: Vec<u8>,
}

/// Where the value of a key goes.
#[derive(Clone, Copy, Default)]
struct Target {
    slot: u16,
    /// The bit of the name.
    name: u32,
}

impl Picker {
    /// `given`: name and JSON key, in place of the usual ones.
    pub fn new(given: &[(Spanned<String>, Spanned<String>)]) -> Picker {
        let mut keys: Vec<(Vec<String>, usize)> = Vec::new();
        for (at, (name, usual)) in NAMES.iter().enumerate() {
            let given: Vec<&str> = given.iter().filter(|(n, _)| n.value == *name).map(|(_, key)| key.value.as_str()).collect();
            let of_name = if given.is_empty() { usual.to_vec() } else { given };
            keys.extend(of_name.into_iter().map(|key| (key.split('.').map(str::to_string).collect(), at)));
        }
        keys.truncate(PATHS_MAX);
        keys.reverse();
        Picker {
            keys,
            picker: LearningPicker::new(&[], Mode::Lenient),
            targets: [Target::default(); PATHS_MAX],
            needed: [0; 2],
            picked: Vec::new(),
            wanted: 0,
            spare: Vec::new(),
        }
    }

    /// Picks these names from now on, into their slots.
    pub fn narrow(&mut self, slots: &[Slot; N], is_wanted: impl Fn(usize) -> bool) {
        let wanted = self.keys.iter().filter(|(_, at)| is_wanted(*at));
        let (paths, names): (Vec<_>, Vec<_>) = wanted.cloned().unzip();
        self.picker = LearningPicker::new(&paths, Mode::Lenient);
        let keys_of = |name| (0..).zip(&names).map(|(key, at)| u64::from(*at == name) << key).sum();
        self.needed = [STATUS, CLIENT_IP].map(keys_of);
        for (target, at) in self.targets.iter_mut().zip(&names) {
            *target = Target { slot: slots[*at].0, name: 1 << at };
        }
        self.picked = (0..N).filter(|at| is_wanted(*at)).collect();
        self.wanted = self.picked.iter().map(|at| 1 << at).sum();
    }

    /// As [`pick`](Self::pick), out of the way of the other lines.
    #[cold]
    pub fn pick_again(&mut self, record: &mut Record<'_>, line: Text, slots: &[Slot; N]) -> bool {
        self.pick(record, line, slots)
    }

    /// Whether the line is an access line: an object with a status and a client. Then the record has what it gives.
    #[inline(always)]
    pub fn pick(&mut self, record: &mut Record<'_>, line: Text, slots: &[Slot; N]) -> bool {
        let (whole, values) = record.bytes_and_values(line);
        let Ok(found) = self.picker.pick(whole) else { return false };
        if !self.needed.iter().all(|keys| bits(found.paths() & keys).any(|key| is_text(found.span(key).kind))) {
            return false;
        }
        let mut given = 0;
        // The usual key of a name comes last, and has the last word.
        for key in bits(found.paths()) {
            let (Target { slot, name }, Span { kind, start, end }) = (self.targets[key], found.span(key));
            if is_text(kind) {
                values[usize::from(slot)] = Value::Text(line.slice(start, end));
                given |= name;
            }
        }
        // What the line leaves out is nil and not missing: a label of the pod must not stand in for it.
        for at in bits((self.wanted & !given).into()) {
            values[usize::from(slots[at].0)] = Value::Nil;
        }
        if !found.is_plain() {
            self.unescape(record, line);
        }
        true
    }

    /// Rewrites the texts with escapes among those that were just picked.
    #[cold]
    fn unescape(&mut self, record: &mut Record<'_>, line: Text) {
        // Of a name with several keys the last one has given the text, which no other does from then on.
        let mut done = 0;
        let mut keys = self.picker.found().paths();
        while keys != 0 {
            let key = 63 - keys.leading_zeros() as usize;
            keys ^= 1 << key;
            let (Target { slot, name }, Span { kind, start, end }) = (self.targets[key], self.picker.found().span(key));
            if is_text(kind) && done & name == 0 {
                done |= name;
                if kind == Kind::Escaped {
                    let text = rewrite(record, &mut self.spare, line.slice(start, end), json::unescape);
                    record.set_value(Slot(slot), Value::Text(text));
                }
            }
        }
    }

    /// The names that are picked.
    pub fn picked(&self) -> &[usize] {
        &self.picked
    }
}

/// Whether this is a text or a number, which is a text here.
#[inline(always)]
fn is_text(kind: Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Number | Kind::Escaped)
}

/// The places of the bits that are set.
#[inline(always)]
fn bits(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if bits == 0 {
            return None;
        }
        let at = bits.trailing_zeros() as usize;
        bits &= bits - 1;
        Some(at)
    })
}
