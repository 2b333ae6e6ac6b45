//! ModSecurity v3 events in nginx's error log.
//!
//! ```text
//! TIME [LEVEL] PID#TID: *CONN [client IP] ModSecurity: Access denied with code NNN (phase P). MATCH RUN TAIL TRAILER
//! TIME [LEVEL] PID#TID: *CONN ModSecurity: Warning. MATCH RUN TAIL TRAILER
//! RUN     [file "F"] [line "N"] [id "N"] [rev "R"] [msg "M"] [data "D"] [severity "N"] [ver "V"] [maturity "N"] [accuracy "N"]
//! TAIL    [tag "T"]* [hostname "H"] [uri "U"] [unique_id "X"] [ref "R"][ while ACTION]
//! TRAILER , client: IP, server: NAME, request: "LINE"[, subrequest: "U"][, upstream: "URL"][, host: "H"][, referrer: "R"]
//! ```
//!
//! Most of it is the client's text, and only `rev`, `data`, `ver` and the tags have their quotes escaped: MATCH, `msg`,
//! `uri`, `unique_id` and the trailer are raw and may hold anything, a forged run included. nginx cuts a line anywhere
//! at 2047 or 4095 bytes. So the event is found by position: the prefix from the left, then the first complete RUN with
//! the head that fits the shape of MATCH (see `run`), then the TAIL and the TRAILER from there, each part ended by what
//! must follow it. No rule can settle every forgery: an argument's *name* is unlimited in MATCH, and `uri` gives 200 raw
//! characters. [`Event::candidates`] and [`Event::ambiguous`] say when a line is such a case.
//!
//! A continuation line of a multi-line nginx message is attacker's text that may imitate a whole event; a decoder that
//! sees one line at a time cannot tell.

mod prefix;
mod run;
mod tail;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth_tests;

use memchr::memmem::Finder;
use std::sync::LazyLock;

/// What the engine did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `Access denied with code N`: a disruptive rule matched and the request was stopped.
    Blocked,
    /// `Warning.`: a rule matched, and nothing was done about it.
    Detected,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Blocked => "blocked",
            Action::Detected => "detected",
        }
    }
}

/// Who wrote the line: nginx's process and thread, and its number for the client's connection. Decimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection<'a> {
    pub pid: &'a [u8],
    pub tid: &'a [u8],
    /// Empty for a line without a connection.
    pub number: &'a [u8],
}

/// The request line as the client sent it, split at its first and last space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    pub method: &'a [u8],
    pub target: &'a [u8],
    /// `HTTP/1.1`; empty for HTTP/0.9.
    pub protocol: &'a [u8],
}

/// One event. Values are raw ([`unescape_hex`] decodes `data` and tags). What is absent, or was cut off, is empty: a
/// value is never given in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    pub action: Action,
    /// The status of `Access denied with code`. A phase 4 denial says 403 here and is logged as 500 by nginx.
    pub code: Option<u16>,
    /// 1 to 5; only in denials.
    pub phase: Option<u8>,
    /// `YYYY/MM/DD HH:MM:SS` in the container's local time.
    pub time: &'a [u8],
    /// `error` for denials, `info` for warnings.
    pub level: &'a [u8],
    pub connection: Connection<'a>,
    /// MATCH: what matched where, client's text for the most part.
    pub matched: &'a [u8],
    pub file: &'a [u8],
    pub line: &'a [u8],
    /// Decimal digits.
    pub rule_id: &'a [u8],
    pub rev: &'a [u8],
    pub msg: &'a [u8],
    pub data: &'a [u8],
    /// One digit; 0 means "emergency" or "not set".
    pub severity: &'a [u8],
    pub ver: &'a [u8],
    pub maturity: &'a [u8],
    pub accuracy: &'a [u8],
    tag_run: &'a [u8],
    pub hostname: &'a [u8],
    pub uri: &'a [u8],
    pub unique_id: &'a [u8],
    /// From `[client ..]` where it stands (denials), else from the trailer. An address as nginx writes it.
    pub client: &'a [u8],
    /// nginx's `server_name`, from the trailer.
    pub server: &'a [u8],
    pub request: Request<'a>,
    pub upstream: &'a [u8],
    pub host: &'a [u8],
    pub referrer: &'a [u8],
    /// The line ends before its natural end, or is exactly as long as nginx cuts lines.
    pub truncated: bool,
    /// Complete key runs in the line. 1 is normal, 0 is a cut line, more mean that text of the client imitates one.
    pub candidates: u32,
    /// More than one reading of the line is possible: the chosen one may be the client's invention.
    pub ambiguous: bool,
}

/// Decodes a line (without its newline). `None` if it isn't an event: the marker must stand at the start of nginx's
/// message, behind the optional `[client ..]`, and is not searched for anywhere else.
pub fn parse(line: &[u8]) -> Option<Event<'_>> {
    let prefix = prefix::parse(line)?;
    let run = run::find(line, prefix.match_start);
    let tail = run.tail_start.map(|start| tail::parse(&line[start..])).unwrap_or_default();
    let trailer = tail.trailer.map(tail::parse_trailer).unwrap_or_default();
    let client = if prefix.client.is_empty() { trailer.client } else { prefix.client };
    Some(Event {
        action: prefix.action,
        code: prefix.code,
        phase: prefix.phase,
        time: prefix.time,
        level: prefix.level,
        connection: prefix.connection,
        matched: run.matched.trim_ascii(),
        file: run.head.file,
        line: run.head.line,
        rule_id: run.head.id,
        rev: run.head.rev,
        msg: run.msg,
        data: run.data,
        severity: run.severity,
        ver: run.ver,
        maturity: run.maturity,
        accuracy: run.accuracy,
        tag_run: tail.tag_run,
        hostname: tail.hostname,
        uri: tail.uri,
        unique_id: tail.unique_id,
        client,
        server: trailer.server,
        request: trailer.request,
        upstream: trailer.upstream,
        host: trailer.host,
        referrer: trailer.referrer,
        truncated: !trailer.complete || LINE_BYTES_MAX.contains(&line.len()),
        candidates: run.candidates,
        ambiguous: run.candidates > 1 || tail.ambiguous,
    })
}

/// Where nginx cuts a line, newline not counted: `NGX_MAX_ERROR_STR` is 2048, and 4096 in the ingress-nginx images.
const LINE_BYTES_MAX: [usize; 2] = [2047, 4095];

impl<'a> Event<'a> {
    /// The rule file's name without folder and extension, such as `REQUEST-942-APPLICATION-ATTACK-SQLI`. Empty for a
    /// rule that stands in no file (`<<reference missing or not informed>>`) and where the file was cut off.
    pub fn rule_set(&self) -> &'a [u8] {
        if self.file.starts_with(b"<<") {
            return b"";
        }
        let name = memchr::memrchr(b'/', self.file).map_or(self.file, |slash| &self.file[slash + 1..]);
        memchr::memrchr(b'.', name).map_or(name, |dot| &name[..dot])
    }

    /// The total in the message of the core rule set's blocking rules, as in
    /// `Inbound Anomaly Score Exceeded (Total Score: 15)`.
    pub fn score(&self) -> Option<u32> {
        let msg = self.msg.strip_prefix(b"Inbound ").or_else(|| self.msg.strip_prefix(b"Outbound "))?;
        let rest = msg.strip_prefix(b"Anomaly Score Exceeded (Total Score: ")?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest[digits..].starts_with(b")").then(|| decimal(&rest[..digits]))?
    }

    /// The tags, raw, in their order; those that stand complete where the line was cut.
    pub fn tags(&self) -> Tags<'a> {
        Tags(self.tag_run)
    }
}

/// See [`Event::tags`].
#[derive(Clone, Debug)]
pub struct Tags<'a>(&'a [u8]);

impl<'a> Tags<'a> {
    /// The run of tags as it stands in the line: ` [tag "…"] [tag "…"]`.
    pub fn raw(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (tag, rest) = run::escaped_field(self.0, b" [tag \"")?;
        self.0 = rest;
        Some(tag)
    }
}

/// Appends `raw` to `out` with the engine's escapes undone: `\xHH`, `\"` and `\\`. Any other backslash stays.
pub fn unescape_hex(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(backslash) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..backslash]);
        rest = &rest[backslash..];
        let (byte, length) = match *rest {
            [_, b'x', high, low, ..] => match (hex_digit(high), hex_digit(low)) {
                (Some(high), Some(low)) => (high << 4 | low, 4),
                _ => (b'\\', 1),
            },
            [_, quoted @ (b'"' | b'\\'), ..] => (quoted, 2),
            _ => (b'\\', 1),
        };
        out.push(byte);
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// A non-empty run of decimal digits as a number; `None` also past `u32`.
fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A text that is searched for in each event: what the search needs is made ready once.
type Needle = LazyLock<Finder<'static>>;

/// `text` up to `end`, and what follows `end`.
fn split_at<'a>(text: &'a [u8], end: &Needle) -> Option<(&'a [u8], &'a [u8])> {
    let at = end.find(text)?;
    Some((&text[..at], &text[at + end.needle().len()..]))
}
