//! What follows the key run: the tags, the request as ModSecurity saw it, and nginx's own trailer.

use super::{Needle, Request, run, split_at};
use memchr::memmem::{Finder, FinderRev};
use std::sync::LazyLock;

static URI_OPENING: Needle = LazyLock::new(|| Finder::new(b"\"] [uri \""));
static UNIQUE_ID_OPENING: Needle = LazyLock::new(|| Finder::new(b"\"] [unique_id \""));
static REF_OPENING: Needle = LazyLock::new(|| Finder::new(b"\"] [ref \""));
static FIELD_END: Needle = LazyLock::new(|| Finder::new(b"\"]"));
static CLIENT_OPENING: Needle = LazyLock::new(|| Finder::new(b", client: "));
static SERVER_OPENING: Needle = LazyLock::new(|| Finder::new(b", server: "));
static REQUEST_OPENING: Needle = LazyLock::new(|| Finder::new(b", request: \""));
static QUOTED_END: Needle = LazyLock::new(|| Finder::new(b"\", "));
static PROTOCOL_OPENING: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new(b" HTTP/"));

/// ` [tag "T"]* [hostname "H"] [uri "U"] [unique_id "X"] [ref "R"]`, empty where the line was cut.
#[derive(Default)]
pub struct Tail<'a> {
    /// The complete tags, as they stand.
    pub tag_run: &'a [u8],
    pub hostname: &'a [u8],
    pub uri: &'a [u8],
    pub unique_id: &'a [u8],
    /// What follows `[ref ".."]`.
    pub trailer: Option<&'a [u8]>,
    /// The end of `uri` has more than one reading.
    pub ambiguous: bool,
}

/// nginx's `, client: IP, server: NAME, request: "LINE", …`, empty where the line was cut.
#[derive(Default)]
pub struct Trailer<'a> {
    pub client: &'a [u8],
    pub server: &'a [u8],
    pub request: Request<'a>,
    pub upstream: &'a [u8],
    pub host: &'a [u8],
    pub referrer: &'a [u8],
    /// The line goes to its natural end.
    pub complete: bool,
}

/// `text` begins behind the key run.
pub fn parse(text: &[u8]) -> Tail<'_> {
    let mut rest = text;
    while let Some((_, after)) = run::escaped_field(rest, b" [tag \"") {
        rest = after;
    }
    let mut tail = Tail { tag_run: &text[..text.len() - rest.len()], ..Tail::default() };
    let Some(rest) = rest.strip_prefix(b" [hostname \"") else { return tail };
    let Some((hostname, rest)) = split_at(rest, &URI_OPENING) else { return tail };
    tail.hostname = hostname;
    let Some((uri, rest)) = split_at(rest, &UNIQUE_ID_OPENING) else { return tail };
    tail.uri = uri;
    tail.ambiguous = UNIQUE_ID_OPENING.find(rest).is_some();
    let Some((unique_id, rest)) = split_at(rest, &REF_OPENING) else { return tail };
    tail.unique_id = unique_id;
    // `ref` is the engine's own text: offsets and names of transformations, never a quote.
    tail.trailer = split_at(rest, &FIELD_END).map(|(_, rest)| rest);
    tail
}

/// `text` begins behind `[ref ".."]`: ` while ACTION` may come first.
pub fn parse_trailer(text: &[u8]) -> Trailer<'_> {
    let mut trailer = Trailer::default();
    let Some((_action, rest)) = split_at(text, &CLIENT_OPENING) else { return trailer };
    let Some((client, rest)) = split_at(rest, &SERVER_OPENING) else { return trailer };
    trailer.client = client;
    let Some((server, mut rest)) = split_at(rest, &REQUEST_OPENING) else { return trailer };
    trailer.server = server;
    let mut key = Key::Request;
    loop {
        let (value, next, closed) = quoted_value(rest, key);
        match key {
            Key::Request => trailer.request = split_request(value, closed),
            _ if !closed => {}
            Key::Subrequest => {}
            Key::Upstream => trailer.upstream = value,
            Key::Host => trailer.host = value,
            Key::Referrer => trailer.referrer = value,
        }
        let Some((next_key, after)) = next else {
            trailer.complete = closed;
            return trailer;
        };
        key = next_key;
        rest = after;
    }
}

/// The quoted parts of the trailer in their order; each may be missing but the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Key {
    Request,
    Subrequest,
    Upstream,
    Host,
    Referrer,
}

const KEYS: [(Key, &[u8]); 4] = [
    (Key::Subrequest, b"subrequest: \""),
    (Key::Upstream, b"upstream: \""),
    (Key::Host, b"host: \""),
    (Key::Referrer, b"referrer: \""),
];

type Next<'a> = Option<(Key, &'a [u8])>;

/// The value that ends where a later key begins, or with the line's last quote; what follows; and whether it ended.
fn quoted_value(text: &[u8], key: Key) -> (&[u8], Next<'_>, bool) {
    for at in QUOTED_END.find_iter(text) {
        let after = &text[at + 3..];
        for (next, opening) in KEYS {
            if next > key
                && let Some(rest) = after.strip_prefix(opening)
            {
                return (&text[..at], Some((next, rest)), true);
            }
        }
    }
    match text.strip_suffix(b"\"") {
        Some(value) => (value, None, true),
        None => (text, None, false),
    }
}

/// Splits a request line; of one that was cut only the parts that a space ends are known.
fn split_request(line: &[u8], complete: bool) -> Request<'_> {
    let Some(space) = memchr::memchr(b' ', line) else {
        return Request { method: if complete { line } else { b"" }, ..Request::default() };
    };
    let (method, rest) = (&line[..space], &line[space + 1..]);
    let (target, protocol) = match PROTOCOL_OPENING.rfind(rest) {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None => (rest, &[][..]),
    };
    match (complete, protocol.is_empty()) {
        (true, _) => Request { method, target, protocol },
        (false, false) => Request { method, target, protocol: b"" },
        (false, true) => Request { method, ..Request::default() },
    }
}
