//! nginx's prefix and ModSecurity's verdict: everything in front of the first byte of client's text.

use super::{Action, Connection, decimal};

/// The part of an event that no client can forge.
pub struct Prefix<'a> {
    pub time: &'a [u8],
    pub level: &'a [u8],
    pub connection: Connection<'a>,
    /// From `[client ..]`; empty in warnings.
    pub client: &'a [u8],
    pub action: Action,
    pub code: Option<u16>,
    pub phase: Option<u8>,
    /// Where MATCH begins in the line.
    pub match_start: usize,
}

/// `YYYY/MM/DD HH:MM:SS [LEVEL] PID#TID: *CONN [client IP] ModSecurity: Warning. `, connection and client optional.
pub fn parse(line: &[u8]) -> Option<Prefix<'_>> {
    let (time, rest) = line.split_at_checked(TIME_SHAPE.len())?;
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    if !time.iter().zip(TIME_SHAPE).all(fits) {
        return None;
    }
    let rest = rest.strip_prefix(b" [")?;
    let (level, rest) = run_of(rest, |byte| byte.is_ascii_lowercase())?;
    let (pid, rest) = digits(rest.strip_prefix(b"] ")?)?;
    let (tid, rest) = digits(rest.strip_prefix(b"#")?)?;
    let rest = rest.strip_prefix(b": ")?;
    let (number, rest) = match rest.strip_prefix(b"*") {
        Some(rest) => digits(rest).and_then(|(number, rest)| Some((number, rest.strip_prefix(b" ")?)))?,
        None => (&[][..], rest),
    };
    let (client, rest) = match rest.strip_prefix(b"[client ") {
        Some(rest) => run_of(rest, is_address).and_then(|(client, rest)| Some((client, rest.strip_prefix(b"] ")?)))?,
        None => (&[][..], rest),
    };
    let (verdict, rest) = parse_verdict(rest.strip_prefix(b"ModSecurity: ")?)?;
    let connection = Connection { pid, tid, number };
    let (action, code, phase) = verdict;
    Some(Prefix { time, level, connection, client, action, code, phase, match_start: line.len() - rest.len() })
}

const TIME_SHAPE: &[u8; 19] = b"0000/00/00 00:00:00";

type Verdict = (Action, Option<u16>, Option<u8>);

fn parse_verdict(text: &[u8]) -> Option<(Verdict, &[u8])> {
    if let Some(rest) = text.strip_prefix(b"Warning.") {
        return Some(((Action::Detected, None, None), rest.strip_prefix(b" ").unwrap_or(rest)));
    }
    let rest = text.strip_prefix(b"Access denied with code ")?;
    // Cut inside the verdict, the line is a denial all the same.
    let mut verdict = (Action::Blocked, None, None);
    let Some((code, rest)) = digits(rest) else { return Some((verdict, rest)) };
    let Some(rest) = rest.strip_prefix(b" (phase ") else { return Some((verdict, &rest[rest.len()..])) };
    verdict.1 = decimal(code).and_then(|code| u16::try_from(code).ok());
    let Some((phase, rest)) = digits(rest) else { return Some((verdict, rest)) };
    let Some(rest) = rest.strip_prefix(b").") else { return Some((verdict, &rest[rest.len()..])) };
    verdict.2 = decimal(phase).and_then(|phase| u8::try_from(phase).ok());
    Some((verdict, rest.strip_prefix(b" ").unwrap_or(rest)))
}

fn digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    run_of(text, |byte| byte.is_ascii_digit())
}

/// Bytes of an address as nginx prints one: IPv4, bare IPv6, or `unix:` and its path.
fn is_address(byte: &u8) -> bool {
    byte.is_ascii_graphic() && *byte != b']'
}

/// The longest run of accepted bytes, at least one, and the rest.
fn run_of(text: &[u8], accept: impl Fn(&u8) -> bool) -> Option<(&[u8], &[u8])> {
    let length = text.iter().take_while(|byte| accept(byte)).count();
    (length > 0).then(|| text.split_at(length))
}
