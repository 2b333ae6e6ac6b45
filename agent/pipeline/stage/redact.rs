//! `redact`: takes secrets and addresses out of the line, of labels and of extracted values, before they leave the node.
//!
//! The same text always becomes the same text, in every process: a line that is read or sent again stays the line that
//! it was, and Loki knows it again. What was taken out already stays as it is.

mod addresses;
mod escapes;
mod names;
mod secrets;
#[cfg(test)]
#[path = "redact/redact_tests.rs"]
mod tests;

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, LabelId, Record, Scope, Slot, Text, Value};
use crate::span::Span;
use crate::template::Buffer;
use crate::yaml::{Fields, FromNode, Node, Spanned};
use addresses::KeyedSha256;
use names::{NAME_BYTES_MAX, Names};
use secrets::Secrets;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::ops::Range;

pub(super) use addresses::Disguise;

/// Parameters that hold secrets where nothing is said.
const QUERY: &[&str] = &[
    "token", "access_token", "id_token", "refresh_token", "password", "passwd", "pwd", "secret", "client_secret", "key",
    "api_key", "apikey", "sig", "signature", "x_amz_signature", "x_amz_security_token", "x_goog_signature", "code",
    "session", "sessionid", "jsessionid", "auth", "jwt",
];
/// Headers that hold secrets where nothing is said.
const HEADERS: &[&str] = &["authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key"];
const REPLACEMENT: &str = "<redacted>";
const REPLACEMENT_BYTES_MAX: usize = 64;
/// As web analytics truncate them: the last number of IPv4, the last 80 bits of IPv6.
const IPV4_BITS: u64 = 24;
const IPV6_BITS: u64 = 48;
/// There are few IPv4 addresses: with a short key all of them are tried out.
const KEY_BYTES_MIN: usize = 16;
const KEY_BYTES_MAX: usize = 4096;
/// Places in one line for which there is room from line to line.
const EDITS_KEPT: usize = 1024;

#[derive(Debug)]
pub struct RedactConfig {
    /// Parameters of queries and forms, and cookies, whose values are taken out.
    pub query: Vec<String>,
    /// Headers whose values are taken out.
    pub headers: Vec<String>,
    /// What stands in the place of a secret.
    pub replacement: String,
    pub addresses: Option<AddressesConfig>,
    /// Labels that are treated as the line is.
    pub labels: Vec<String>,
    /// Extracted values that are treated as the line is.
    pub values: Vec<String>,
}

/// What stands in the place of addresses.
#[derive(Debug)]
pub enum AddressesConfig {
    /// Their networks, of so many bits.
    Truncate { ipv4_bits: u8, ipv6_bits: u8 },
    Hash(Key),
}

/// The key of the hash: written out, or in a file.
pub enum Key {
    Text(Spanned<String>),
    File(Spanned<String>),
}

/// Never the key itself.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Key::Text(_)) { "Text(…)" } else { "File(…)" })
    }
}

impl StageConfig for RedactConfig {
    type Stage = Redact;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `redact` stage", diagnostics)?;
        let span = fields.span();
        let config = RedactConfig {
            query: names(fields.optional("query", diagnostics), QUERY, diagnostics),
            headers: names(fields.optional("headers", diagnostics), HEADERS, diagnostics),
            replacement: replacement(fields.optional("replacement", diagnostics), diagnostics),
            addresses: fields.optional("addresses", diagnostics),
            labels: fields.optional("labels", diagnostics).unwrap_or_default(),
            values: fields.optional("values", diagnostics).unwrap_or_default(),
        };
        let has_addresses = fields.key_span("addresses").is_some();
        fields.finish(diagnostics);
        if config.query.is_empty() && config.headers.is_empty() && !has_addresses {
            diagnostics
                .error(span, "the `redact` stage takes nothing out")
                .help("leave `query` or `headers` out for their usual names, or say what becomes of `addresses`");
        }
        Some(config)
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Redact> {
        let disguise = match &self.addresses {
            None => None,
            Some(addresses) => Some(addresses.compile(scope.diagnostics)?),
        };
        Some(Redact {
            labels: self.labels.iter().map(|name| scope.label(name)).collect(),
            values: self.values.iter().map(|name| scope.slot(name)).collect(),
            work: Work {
                secrets: Secrets { query: Names::new(&self.query), headers: Names::new(&self.headers) },
                replacement: self.replacement.clone().into_bytes(),
                disguise,
                edits: Vec::new(),
                out: Buffer::default(),
            },
        })
    }
}

fn names(given: Option<Vec<Spanned<String>>>, usual: &[&str], diagnostics: &mut Diagnostics) -> Vec<String> {
    let Some(given) = given else { return usual.iter().map(|name| name.to_string()).collect() };
    for name in &given {
        let fits = (1..=NAME_BYTES_MAX).contains(&name.value.len())
            && name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if !fits {
            diagnostics
                .error(name.span, format!("`{}` is no name of a parameter or header", name.value))
                .help(format!("letters, digits, `_` and `-`, at most {NAME_BYTES_MAX}; `password` is also `user[password]`"));
        }
    }
    given.into_iter().map(|name| name.value).collect()
}

/// What stands for a secret must end no text and begin no parameter, wherever it stands.
fn replacement(given: Option<Spanned<String>>, diagnostics: &mut Diagnostics) -> String {
    let Some(given) = given else { return REPLACEMENT.to_string() };
    let ends = |c: char| c.is_whitespace() || c.is_control() || "\"'`\\&#%;,=?".contains(c);
    if given.value.is_empty() || given.value.len() > REPLACEMENT_BYTES_MAX || given.value.contains(ends) {
        diagnostics
            .error(given.span, "`replacement` cannot stand in a line")
            .help("1 to 64 bytes without spaces, quotes and ``\\ & # % ; , = ?``, such as `<redacted>`");
    }
    given.value
}

impl FromNode for AddressesConfig {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the disguise of addresses", diagnostics)?;
        let span = fields.span();
        let mode = fields.optional::<Spanned<String>>("mode", diagnostics);
        let ipv4_bits = fields.optional::<Spanned<u64>>("ipv4_bits", diagnostics);
        let ipv6_bits = fields.optional::<Spanned<u64>>("ipv6_bits", diagnostics);
        let key = fields.optional("hash_key", diagnostics).map(Key::Text);
        let key_file = fields.optional("hash_key_file", diagnostics).map(Key::File);
        fields.finish(diagnostics);
        match mode.as_ref().map_or("truncate", |mode| mode.value.as_str()) {
            "truncate" => {
                if key.is_some() || key_file.is_some() {
                    diagnostics.error(span, "addresses that are truncated need no key").help("or write `mode: hash`");
                }
                Some(AddressesConfig::Truncate {
                    ipv4_bits: bits(ipv4_bits, IPV4_BITS, 32, diagnostics),
                    ipv6_bits: bits(ipv6_bits, IPV6_BITS, 128, diagnostics),
                })
            }
            "hash" => {
                if let Some(bits) = ipv4_bits.or(ipv6_bits) {
                    diagnostics.error(bits.span, "addresses that are hashed are not truncated").help("leave it out");
                }
                match (key, key_file) {
                    (Some(key), None) | (None, Some(key)) => Some(AddressesConfig::Hash(key)),
                    _ => {
                        diagnostics
                            .error(span, "a hash of addresses needs either `hash_key` or `hash_key_file`")
                            .help(format!("{KEY_BYTES_MIN} bytes or more that nobody can guess, the same on all nodes"));
                        None
                    }
                }
            }
            other => {
                let at = mode.as_ref().map_or(span, |mode| mode.span);
                diagnostics.error(at, format!("unknown mode `{other}`")).help("`truncate` or `hash`");
                None
            }
        }
    }
}

impl AddressesConfig {
    /// Reads the key of a hash; reports where it cannot be had.
    pub(super) fn compile(&self, diagnostics: &mut Diagnostics) -> Option<Disguise> {
        Some(match self {
            AddressesConfig::Truncate { ipv4_bits, ipv6_bits } => {
                Disguise::Truncate { ipv4_bits: *ipv4_bits, ipv6_bits: *ipv6_bits }
            }
            AddressesConfig::Hash(key) => Disguise::Hash(Box::new(KeyedSha256::new(&key.bytes(diagnostics)?))),
        })
    }
}

fn bits(given: Option<Spanned<u64>>, usual: u64, most: u64, diagnostics: &mut Diagnostics) -> u8 {
    let bits = given.as_ref().map_or(usual, |bits| bits.value);
    if let Some(given) = given.filter(|bits| bits.value > most) {
        diagnostics.error(given.span, format!("a number of bits from 0 to {most}"));
    }
    u8::try_from(bits).unwrap_or(u8::MAX)
}

impl Key {
    fn bytes(&self, diagnostics: &mut Diagnostics) -> Option<Vec<u8>> {
        let (span, read) = match self {
            Key::Text(key) => (key.span, Ok(key.value.clone().into_bytes())),
            Key::File(path) => (path.span, read_key(&path.value)),
        };
        match read {
            Ok(key) if (KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) => Some(key),
            Ok(key) => refuse_key(span, key.len(), diagnostics),
            Err(error) => {
                diagnostics.error(span, format!("the key cannot be read: {error}"));
                None
            }
        }
    }
}

fn refuse_key(span: Span, bytes: usize, diagnostics: &mut Diagnostics) -> Option<Vec<u8>> {
    diagnostics
        .error(span, format!("a key of {bytes} bytes, and it needs {KEY_BYTES_MIN} to {KEY_BYTES_MAX}"))
        .help("there are few IPv4 addresses: `openssl rand -hex 32` gives a key that cannot be guessed");
    None
}

/// A key without the line end that editors put behind it.
fn read_key(path: &str) -> io::Result<Vec<u8>> {
    let mut key = Vec::new();
    File::open(path)?.take(KEY_BYTES_MAX as u64 + 2).read_to_end(&mut key)?;
    key.truncate(key.trim_ascii_end().len());
    Ok(key)
}

pub struct Redact {
    labels: Vec<LabelId>,
    values: Vec<Slot>,
    work: Work,
}

impl Run for Redact {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        let line = record.line_text();
        if let Some(text) = self.work.redacted(line, record) {
            record.set_line(text);
        }
        for &label in &self.labels {
            let redacted = record.label(label).and_then(|text| self.work.redacted(text, record));
            if redacted.is_some() {
                record.set_label(label, redacted);
            }
        }
        for &slot in &self.values {
            let redacted = record.text(slot).and_then(|text| self.work.redacted(text, record));
            if let Some(text) = redacted {
                record.set_value(slot, Value::Text(text));
            }
        }
        Flow::Next
    }
}

/// What becomes of one text.
struct Work {
    secrets: Secrets,
    replacement: Vec<u8>,
    disguise: Option<Disguise>,
    /// What is taken out of the text at hand; nothing for a secret.
    edits: Vec<(Range<usize>, Option<IpAddr>)>,
    out: Buffer,
}

impl Work {
    /// The text without what it should not hold; nothing if it holds none of that.
    fn redacted(&mut self, text: Text, record: &mut Record<'_>) -> Option<Text> {
        if !self.redact(record.bytes(text)) {
            return None;
        }
        if self.out.is_cut() {
            record.set_cut();
        }
        Some(record.push(self.out.bytes()))
    }

    /// Puts the new text into `out`, if it is another one.
    fn redact(&mut self, text: &[u8]) -> bool {
        let Work { secrets, replacement, disguise, edits, out } = self;
        edits.clear();
        edits.shrink_to(EDITS_KEPT);
        secrets.find(text, &mut |place| edits.push((place, None)));
        if disguise.is_some() {
            let mut at = 0;
            // What stands between the secrets, and behind the last one.
            for number in 0..=edits.len() {
                let (end, next) = match edits.get(number) {
                    Some((secret, None)) => (secret.start, secret.end),
                    _ => (text.len(), text.len()),
                };
                addresses::find(text, at..end, &mut |place, address| edits.push((place, Some(address))));
                at = next;
            }
            edits.sort_unstable_by_key(|(place, _)| place.start);
        }
        if edits.is_empty() {
            return false;
        }
        out.clear();
        let mut at = 0;
        for (place, address) in edits {
            out.push(&text[at..place.start]);
            match (address, &disguise) {
                (Some(address), Some(disguise)) => disguise.write(*address, out),
                _ => out.push(replacement),
            }
            at = place.end;
        }
        out.push(&text[at..]);
        out.bytes() != text
    }
}
