//! The decoders of lines.

use std::sync::LazyLock;
use weir::decode::{cri, docker, json, logfmt, modsecurity, nginx, time_layout};
use weir::pattern::{Anchoring, Pattern};

/// Promtail's own expression for CRI lines.
static CRI: LazyLock<Pattern> = LazyLock::new(|| {
    let expression = r"^(?s)(?P<time>\S+?) (?P<stream>stdout|stderr) (?P<flags>\S+?) (?P<content>.*)$";
    Pattern::compile(expression, Anchoring::Anywhere).expect("an expression")
});

/// The split is Promtail's, and nothing gets lost.
pub fn cri(line: &[u8]) {
    let mut captures = CRI.captures_buffer();
    let parsed = cri::parse(line);
    assert_eq!(parsed.is_some(), CRI.captures(line, &mut captures), "Promtail's expression and the decoder");
    let Some(found) = parsed else { return };
    let parts = [found.time, found.stream.as_str().as_bytes(), found.flags, found.content];
    assert_eq!(parts.join(&b' '), line);
    for (group, part) in (1..).zip(parts) {
        assert_eq!(captures.get(group).map(|range| &line[range]), Some(part));
    }
}

/// A record that ends its line holds one that ends.
pub fn docker(line: &[u8]) {
    let (parsed, mut text) = (docker::parse(line), Vec::new());
    assert_eq!(docker::parse_unescaped(line, &mut text), parsed);
    let Some(record) = parsed else { return };
    let mut unescaped = Vec::new();
    json::unescape(record.log, &mut unescaped);
    assert_eq!(text, unescaped);
    assert!(text.len() <= record.log.len() || record.log_escaped);
    if record.ends_line() {
        assert_eq!(text.last(), Some(&b'\n'));
    }
    for part in [record.log, record.time] {
        assert_part(line, part);
    }
    if let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(line) {
        let text = String::from_utf8(text).expect("valid JSON has valid text");
        assert_eq!(object.get("log").and_then(|log| log.as_str()).unwrap_or_default(), text);
    }
}

/// Written again, a line is what it was: no part is lost and none is taken twice.
pub fn nginx(line: &[u8]) {
    let or = |part: &[u8], absent: &str| if part.is_empty() { absent.as_bytes().to_vec() } else { part.to_vec() };
    for (full, access) in [(true, nginx::parse_upstreaminfo(line)), (false, nginx::parse_combined(line))] {
        let Some(access) = access else { continue };
        assert!(access.status.len() == 3 && access.status.iter().all(u8::is_ascii_digit));
        // What is nothing may be written in two ways; nginx writes `-`, and `[]`.
        let twofold = [&b"\"\""[..], b"[-]", b"  ", b"- [] ["];
        if line.ends_with(b" ") || twofold.iter().any(|two| memchr::memmem::find(line, two).is_some()) {
            continue;
        }
        let mut again = or(access.remote_addr, "-");
        let mut put = |before: &str, part: Vec<u8>| {
            again.extend_from_slice(before.as_bytes());
            again.extend_from_slice(&part);
        };
        put(" - ", or(access.remote_user, "-"));
        put(" [", access.time_local.to_vec());
        put("] \"", or(access.request, "-"));
        put("\" ", access.status.to_vec());
        put(" ", or(access.body_bytes_sent, "-"));
        put(" \"", or(access.http_referer, "-"));
        put("\" \"", or(access.http_user_agent, "-"));
        put("\"", Vec::new());
        if full {
            put(" ", or(access.request_length, "-"));
            put(" ", or(access.request_time, "-"));
            put(" [", access.proxy_upstream_name.to_vec());
            put("] [", access.proxy_alternative_upstream_name.to_vec());
            put("] ", or(access.upstream_addr, "-"));
            put(" ", or(access.upstream_response_length, "-"));
            put(" ", or(access.upstream_response_time, "-"));
            put(" ", or(access.upstream_status, "-"));
            put(" ", or(access.req_id, "-"));
        }
        assert_eq!(again.escape_ascii().to_string(), line.escape_ascii().to_string());
    }
}

/// Parts are parts of the line, and numbers are digits.
pub fn modsecurity(line: &[u8]) {
    let Some(event) = modsecurity::parse(line) else { return };
    let request = [event.request.method, event.request.target, event.request.protocol];
    let texts = [event.msg, event.data, event.hostname, event.uri, event.unique_id, event.client, event.server];
    for part in request.into_iter().chain(texts).chain([event.upstream, event.host, event.referrer, event.matched]) {
        assert_part(line, part);
    }
    for digits in [event.rule_id, event.severity, event.connection.pid, event.connection.tid, event.connection.number] {
        assert!(digits.iter().all(u8::is_ascii_digit), "{}", digits.escape_ascii());
    }
    assert!(event.severity.len() <= 1);
    assert!(event.candidates > 0 || event.rule_set().is_empty() || event.truncated);
    let mut decoded = Vec::new();
    for tag in event.tags() {
        assert_part(line, tag);
        modsecurity::unescape_hex(tag, &mut decoded);
    }
    assert!(decoded.len() <= line.len());
    let _ = event.score();
}

/// Pairs come in the order of the line, have a key, and end.
pub fn logfmt(line: &[u8]) {
    let (mut last, mut text) = (line.as_ptr(), Vec::new());
    let mut pairs = logfmt::pairs(line);
    while let Some(pair) = pairs.next() {
        let Ok(pair) = pair else {
            assert!(pairs.next().is_none(), "something behind what is malformed");
            break;
        };
        assert!(!pair.key.is_empty() && pair.key.as_ptr() >= last);
        assert_part(line, pair.key);
        assert_part(line, pair.value);
        last = pair.key.as_ptr();
        text.clear();
        if pair.escaped {
            logfmt::unescape(pair.value, &mut text);
        }
    }
}

/// A layout in the first line and a text behind it. RFC 3339 is read as others read it.
pub fn time_layout(data: &[u8]) {
    let (layout, text) = match memchr::memchr(b'\n', data) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (&b"RFC3339"[..], data),
    };
    let Ok(layout) = std::str::from_utf8(layout) else { return };
    let Ok(compiled) = time_layout::Layout::compile(layout) else { return };
    let context = time_layout::Context { zone: None, now: 1_795_228_200_000_000_000 };
    let read = compiled.parse(text, &context);
    let _ = (compiled.is_constant(), compiled.is_yearless());
    if layout != "RFC3339" {
        return;
    }
    // The other reader takes more (other separators, leap seconds); what both take is the same moment.
    let other = std::str::from_utf8(text).ok().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    if let (Some(read), Some(other)) = (read, other)
        && memchr::memmem::find(text, b":60").is_none()
        && text.len() < 36
    {
        assert_eq!(i128::from(read), other.as_nanosecond(), "{}", text.escape_ascii());
    }
}

/// The part lies inside the line, or is empty.
fn assert_part(line: &[u8], part: &[u8]) {
    let (whole, inner) = (line.as_ptr_range(), part.as_ptr_range());
    assert!(part.is_empty() || (whole.start <= inner.start && inner.end <= whole.end), "a part of another text");
}
