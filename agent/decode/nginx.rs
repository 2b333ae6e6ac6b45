//! nginx' text access logs: ingress-nginx' default format `upstreaminfo`, and `combined`.
//!
//! Fields stand between spaces, quotes and brackets without being told from them: with nginx' default escaping no
//! field holds a raw quote, but nearly all may hold spaces, and with `escape=none` quotes as well. So each part is
//! found by the shape of what surrounds it. A client that may write raw quotes can still forge its own line.

mod usual;

use memchr::memchr;

/// One request. Every field is as it stands in the line, nginx' `\xHH` escapes included; `-` is empty. Fields that the
/// format hasn't got are empty too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextAccess<'a> {
    /// The peer's address instead of the client's when the request broke off before its headers were complete.
    pub remote_addr: &'a [u8],
    /// Chosen by the client.
    pub remote_user: &'a [u8],
    /// `21/Nov/2026:02:25:48 +0000`, the end of the request.
    pub time_local: &'a [u8],
    /// The request line as it came, or what came in its place.
    pub request: &'a [u8],
    /// With `path` and `protocol` cut from `request`: all three are empty where that is no request line, or where
    /// nginx refused it unread (`request_length` is then 0). Other than `$request_method` it keeps what the client
    /// sent when an internal redirect made a GET of it.
    pub method: &'a [u8],
    /// With its query, undecoded.
    pub path: &'a [u8],
    /// Empty for HTTP/0.9.
    pub protocol: &'a [u8],
    /// Three digits; `009` is a real one.
    pub status: &'a [u8],
    pub body_bytes_sent: &'a [u8],
    pub http_referer: &'a [u8],
    pub http_user_agent: &'a [u8],
    pub request_length: &'a [u8],
    /// Seconds, with milliseconds.
    pub request_time: &'a [u8],
    pub proxy_upstream_name: &'a [u8],
    pub proxy_alternative_upstream_name: &'a [u8],
    /// This and the next three are lists of the same length: `, ` between attempts, ` : ` at internal redirects.
    pub upstream_addr: &'a [u8],
    pub upstream_response_length: &'a [u8],
    pub upstream_response_time: &'a [u8],
    pub upstream_status: &'a [u8],
    /// The client's own, when it sends one: any text.
    pub req_id: &'a [u8],
}

/// A line of ingress-nginx' default format. `None` for any other line, such as the controller's own.
pub fn parse_upstreaminfo(line: &[u8]) -> Option<TextAccess<'_>> {
    match usual::parse(line) {
        None => parse_any_upstreaminfo(line),
        usual => usual,
    }
}

#[cold]
fn parse_any_upstreaminfo(line: &[u8]) -> Option<TextAccess<'_>> {
    let (mut access, rest) = parse_front(line)?;
    let (referer, rest) = cut(rest, b"\" \"")?;
    let end = memchr::memchr_iter(b'"', rest).find(|end| parse_back(&rest[end + 1..], &mut access).is_some())?;
    access.http_referer = present(referer);
    access.http_user_agent = present(&rest[..end]);
    if access.request_length == b"0" {
        (access.method, access.path, access.protocol) = Default::default();
    }
    Some(access)
}

/// A line of nginx' predefined format. There a request that nginx refused unread cannot be told from another.
pub fn parse_combined(line: &[u8]) -> Option<TextAccess<'_>> {
    let (mut access, rest) = parse_front(line)?;
    let (referer, rest) = cut(rest, b"\" \"")?;
    access.http_referer = present(referer);
    access.http_user_agent = present(rest.strip_suffix(b"\"")?);
    Some(access)
}

/// `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "`, and what follows.
fn parse_front(line: &[u8]) -> Option<(TextAccess<'_>, &[u8])> {
    let (remote_addr, rest) = line.split_at(memchr(b' ', line)?);
    let rest = rest.strip_prefix(b" - ")?;
    let (remote_user, time_local, rest) = find_time(rest)?;
    let request_end = find_request_end(rest)?;
    let request = &rest[..request_end];
    let (status, body_bytes_sent, rest) = status_and_bytes(&rest[request_end..])?;
    if remote_addr.is_empty() {
        return None;
    }
    let (method, path, protocol) = split_request(request).unwrap_or_default();
    let access = TextAccess {
        remote_addr: present(remote_addr),
        remote_user: present(remote_user),
        time_local,
        request: present(request),
        method,
        path,
        protocol,
        status,
        body_bytes_sent: present(body_bytes_sent),
        ..TextAccess::default()
    };
    Some((access, rest))
}

/// ` $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr
/// $upstream_response_length $upstream_response_time $upstream_status $req_id`, put into `access`. No part but the last
/// may hold a quote, so that a try from each quote of a line passes over it once.
fn parse_back<'a>(text: &'a [u8], access: &mut TextAccess<'a>) -> Option<()> {
    let (request_length, rest) = number(text.strip_prefix(b" ")?)?;
    let (request_time, rest) = number(rest)?;
    let (upstream_name, rest) = bracketed(rest)?;
    let (alternative_name, rest) = bracketed(rest)?;
    let (upstream_addr, attempts, rest) = list(rest, None)?;
    let (upstream_response_length, _, rest) = list(rest, Some(attempts))?;
    let (upstream_response_time, _, rest) = list(rest, Some(attempts))?;
    let (upstream_status, _, req_id) = list(rest, Some(attempts))?;
    access.request_length = present(request_length);
    access.request_time = present(request_time);
    access.proxy_upstream_name = present(upstream_name);
    access.proxy_alternative_upstream_name = present(alternative_name);
    access.upstream_addr = present(upstream_addr);
    access.upstream_response_length = present(upstream_response_length);
    access.upstream_response_time = present(upstream_response_time);
    access.upstream_status = present(upstream_status);
    access.req_id = present(req_id);
    Some(())
}

/// What stands before ` [$time_local] "`, the time, and what follows. Nothing but its shape tells the time from a
/// user's name.
fn find_time(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    const SHAPE: &[u8] = b" [00/Aaa/0000:00:00:00 +0000] \"";
    let mut at = 0;
    loop {
        // The space before the bracket is part of the shape.
        at += memchr(b'[', &text[at..])?;
        if let Some(found) = at.checked_sub(1).and_then(|start| text[start..].get(..SHAPE.len())) {
            let fits = found.iter().zip(SHAPE).all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                b'A' | b'a' => byte.is_ascii_alphabetic(),
                b'+' => matches!(byte, b'+' | b'-'),
                other => byte == other,
            });
            if fits {
                return Some((&text[..at - 1], &found[2..28], &text[at - 1 + SHAPE.len()..]));
            }
        }
        at += 1;
    }
}

/// The first quote with a status and a number of bytes behind it.
fn find_request_end(text: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'"', text).find(|end| status_and_bytes(&text[*end..]).is_some())
}

/// `" $status $body_bytes_sent "`, and what follows.
fn status_and_bytes(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (status, rest) = number(text.strip_prefix(b"\" ")?)?;
    let (bytes, rest) = number(rest)?;
    let rest = rest.strip_prefix(b"\"")?;
    (status.len() == 3 && status.iter().all(u8::is_ascii_digit)).then_some((status, bytes, rest))
}

/// Method, path and protocol, if this is a request line: nginx' methods are capitals, `-` and `_`.
fn split_request(request: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (method, rest) = cut(request, b" ")?;
    if method.is_empty() || !method.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'-' | b'_')) {
        return None;
    }
    // nginx allows more spaces than one on either side of the path.
    let rest = rest.trim_ascii_start();
    let Some(last) = memchr::memrchr(b' ', rest) else { return Some((method, rest, b"")) };
    let (path, protocol) = (rest[..last].trim_ascii_end(), &rest[last + 1..]);
    protocol.starts_with(b"HTTP/").then_some((method, path, protocol))
}

/// Digits with points, or `-`, up to a space.
fn number(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-')).count();
    let rest = text[len..].strip_prefix(b" ")?;
    (len > 0).then_some((&text[..len], rest))
}

/// A name without spaces, or nothing, in brackets and followed by a space.
fn bracketed(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"[")?;
    let len = text.iter().position(|byte| matches!(byte, b']' | b' ' | b'"'))?;
    Some((&text[..len], text[len..].strip_prefix(b"] ")?))
}

/// A list of words with `, ` or ` : ` between them and a space behind, and how many there are. Where the number is
/// known it ends the list: behind the last one a text begins that may itself look like a separator.
fn list(text: &[u8], expected: Option<usize>) -> Option<(&[u8], usize, &[u8])> {
    let (mut at, mut count) = (0, 0);
    loop {
        let len = text[at..].iter().position(|byte| matches!(byte, b' ' | b'"'))?;
        let end = at + len;
        if len == 0 || text[end] == b'"' {
            return None;
        }
        count += 1;
        let comma = text[end - 1] == b',';
        let redirect = text[end..].starts_with(b" : ");
        if expected == Some(count) || (expected.is_none() && !comma && !redirect) {
            return (!comma).then_some((&text[..end], count, &text[end + 1..]));
        }
        if !comma && !redirect {
            return None;
        }
        at = end + if comma { 1 } else { 3 };
    }
}

/// What stands before the first `at`, which is short, and what behind it. To prepare a search for it would cost more than
/// the search.
fn cut<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = memchr::memchr_iter(*at.first()?, text).find(|found| text[*found..].starts_with(at))?;
    Some((&text[..found], &text[found + at.len()..]))
}

fn present(field: &[u8]) -> &[u8] {
    if field == b"-" { b"" } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lines of the corpus, the nastiest of each kind, then lines that are none; beside it what nginx itself said the
    /// fields of each line were, `-` for an empty one.
    const LINES: &[u8] = include_bytes!("../../tests/corpus/nginx-text-excerpt.log");
    const FIELDS: &[u8] = include_bytes!("../../tests/corpus/nginx-text-excerpt.tsv");

    fn lines(text: &[u8]) -> Vec<&[u8]> {
        text.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect()
    }

    fn rows() -> Vec<(&'static [u8], Vec<&'static [u8]>)> {
        let rows = lines(FIELDS).into_iter().map(|row| row.split(|byte| *byte == b'\t').map(present).collect());
        lines(LINES).into_iter().zip(rows).collect()
    }

    /// nginx' own method, and whether the request line can tell it: an internal redirect makes a GET of it.
    fn assert_method(access: &TextAccess<'_>, method: &[u8]) {
        if !access.upstream_addr.windows(3).any(|three| three == b" : ") {
            assert_eq!(access.method, method, "{}", access.request.escape_ascii());
        }
    }

    #[test]
    fn every_field_is_what_nginx_says() {
        let rows = rows();
        assert_eq!(rows.len(), 111);
        for (line, fields) in rows {
            let access = parse_upstreaminfo(line).unwrap_or_else(|| panic!("refused: {}", line.escape_ascii()));
            let found = [
                access.remote_addr,
                access.remote_user,
                access.request,
                access.status,
                access.body_bytes_sent,
                access.http_referer,
                access.http_user_agent,
                access.request_length,
                access.request_time,
                access.proxy_upstream_name,
                access.proxy_alternative_upstream_name,
                access.upstream_addr,
                access.upstream_response_length,
                access.upstream_response_time,
                access.upstream_status,
                access.req_id,
            ];
            let text = |field: &&[u8]| field.escape_ascii().to_string();
            assert_eq!(found.iter().map(text).collect::<Vec<_>>(), fields[..16].iter().map(text).collect::<Vec<_>>());
            assert_method(&access, fields[16]);
            if !access.method.is_empty() {
                assert_eq!((access.path, access.protocol), (fields[17], fields[18]));
            }
            assert_eq!(access.time_local.len(), 26);
        }
    }

    #[test]
    fn combined_is_the_front_of_the_default_format() {
        for (line, fields) in rows() {
            let agent_end = memchr::memrchr(b'"', line).unwrap();
            let access = parse_combined(&line[..=agent_end]).unwrap();
            assert_eq!((access.remote_addr, access.status), (fields[0], fields[3]));
            assert_eq!((access.http_referer, access.http_user_agent), (fields[5], fields[6]));
            assert_eq!(access.req_id, b"");
            assert!(parse_combined(line).is_none() && parse_upstreaminfo(&line[..=agent_end]).is_none());
        }
    }

    #[test]
    fn other_lines_are_refused() {
        let others = &lines(LINES)[rows().len()..];
        assert_eq!(others.len(), 19);
        for line in others {
            assert_eq!(parse_upstreaminfo(line), None, "{}", line.escape_ascii());
            assert_eq!(parse_combined(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn raw_quotes_of_an_unescaped_format_are_found_a_place() {
        let line = b"::1 - a [b] \"c\" d [21/Nov/2026:02:25:48 -0330] \"GET /\"x\" y\" HTTP/1.1\" 200 5 \"r\"r\" \"u \"1 2\" u\" \
            12 0.001 [ns-svc-80] [] [::1]:80, [::2]:80 : unix:/s -, 1 : 2 0.1, - : 0.2 502, - : 200 : id \"9 0.1 [\", 4";
        let access = parse_upstreaminfo(line).unwrap();
        assert_eq!(access.remote_user, b"a [b] \"c\" d");
        assert_eq!(access.request, b"GET /\"x\" y\" HTTP/1.1");
        assert_eq!((access.method, access.path, access.protocol), (&b"GET"[..], &b"/\"x\" y\""[..], &b"HTTP/1.1"[..]));
        assert_eq!((access.http_referer, access.http_user_agent), (&b"r\"r"[..], &b"u \"1 2\" u"[..]));
        assert_eq!(access.upstream_addr, b"[::1]:80, [::2]:80 : unix:/s");
        assert_eq!((access.upstream_response_length, access.upstream_status), (&b"-, 1 : 2"[..], &b"502, - : 200"[..]));
        assert_eq!(access.req_id, b": id \"9 0.1 [\", 4");
    }

    proptest! {
        #[test]
        fn a_damaged_line_never_panics(row in 0..111usize, from in 0..400usize, len in 0..30usize, put in ".{0,5}") {
            let (line, _) = rows()[row];
            let (from, mut line) = (from.min(line.len()), line.to_vec());
            let until = (from + len).min(line.len());
            line.splice(from..until, put.bytes());
            let _ = (parse_upstreaminfo(&line), parse_combined(&line));
        }
    }
}
