//! The kubelet's container log lines: `TIME STREAM FLAGS CONTENT`.
//!
//! A line is accepted exactly when Promtail's `cri` stage accepts it, which is decided by its expression
//! `^(?s)(?P<time>\S+?) (?P<stream>stdout|stderr) (?P<flags>\S+?) (?P<content>.*)$`. The split is positional, by the
//! first three spaces: what stands in the content never matters, however much it looks like another line.

use memchr::memchr;

pub use super::time_layout::parse_rfc3339_nanos;
use super::time_layout::{LatestSecond, NANOS_TEXT};
use crate::clock::UnixNanos;

/// Which stream of the container wrote the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// The four parts of a line, none of them changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CriLine<'a> {
    /// Any bytes without white space, at least one; by convention RFC 3339 ([`parse_rfc3339_nanos`]).
    pub time: &'a [u8],
    pub stream: Stream,
    /// Any bytes without white space, at least one: `P`, `F`, or tags separated by `:`.
    pub flags: &'a [u8],
    /// The rest of the line; may be empty, may begin with spaces.
    pub content: &'a [u8],
}

impl CriLine<'_> {
    /// Whether the content goes on in a later line, by Promtail's rule: the flags are `P` and nothing else.
    pub fn is_partial(&self) -> bool {
        self.flags == b"P"
    }

    /// The same by the kubelet's rule: the first of the tags separated by `:` is `P`. No runtime writes a second tag
    /// today, so both rules agree on every line seen; where they differ this one is the format's own.
    pub fn is_partial_by_first_tag(&self) -> bool {
        matches!(self.flags, [b'P'] | [b'P', b':', ..])
    }
}

/// Splits a line (without its newline). `None` if it is no CRI line, such as `TIME stdout F` with nothing behind the
/// flags, not even a space.
pub fn parse(line: &[u8]) -> Option<CriLine<'_>> {
    let (time, rest) = word(line)?;
    let (stream, rest) = match rest {
        [b's', b't', b'd', b'o', b'u', b't', b' ', rest @ ..] => (Stream::Stdout, rest),
        [b's', b't', b'd', b'e', b'r', b'r', b' ', rest @ ..] => (Stream::Stderr, rest),
        _ => return None,
    };
    let (flags, content) = word(rest)?;
    Some(CriLine { time, stream, flags, content })
}

/// As [`parse`], and the time: of a whole line as runtimes write it, in the second of the line before. Then everything
/// stands at its place behind the time, which is in UTC and has nine digits, or fewer where zeros are left out. `None` for
/// any other line.
#[inline(always)]
pub fn parse_usual<'a>(line: &'a [u8], latest: &LatestSecond) -> Option<(CriLine<'a>, UnixNanos)> {
    let (time, behind) = line.split_first_chunk::<NANOS_TEXT>()?;
    match latest.parse_nanos(time) {
        Some(timestamp) => Some((usual(time, behind)?, timestamp)),
        None => parse_shorter(line, latest),
    }
}

/// Of a line whose time has fewer digits: mostly eight.
#[inline(never)]
fn parse_shorter<'a>(line: &'a [u8], latest: &LatestSecond) -> Option<(CriLine<'a>, UnixNanos)> {
    let end = 1 + line.get(..NANOS_TEXT)?.iter().rposition(|byte| *byte == b'Z')?;
    let (time, behind) = line.split_at(end);
    Some((usual(time, behind)?, latest.parse_again(time)?))
}

/// The line of this time, if what stands behind it is whole.
#[inline]
fn usual<'a>(time: &'a [u8], behind: &'a [u8]) -> Option<CriLine<'a>> {
    // In two parts, each of which is one comparison.
    let (stream, behind) = behind.split_first_chunk::<8>()?;
    let (flags, content) = behind.split_first_chunk::<2>()?;
    let stream = match () {
        () if stream == b" stdout " => Stream::Stdout,
        () if stream == b" stderr " => Stream::Stderr,
        () => return None,
    };
    (flags == b"F ").then_some(CriLine { time, stream, flags: &flags[..1], content })
}

/// `\S+?` and the space behind it. RE2's `\s` is tab, newline, form feed, carriage return and space.
#[inline]
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = space_or_control(text)?;
    if end > 0 && text[end] == b' ' {
        return Some((&text[..end], &text[end + 1..]));
    }
    // The word may hold control characters, if they are none of the white ones.
    let end = memchr(b' ', text)?;
    let word = &text[..end];
    if word.is_empty() || word.iter().any(|byte| matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r')) {
        return None;
    }
    Some((word, &text[end + 1..]))
}

/// The first byte that is a space or below: eight bytes at a time.
#[inline]
fn space_or_control(text: &[u8]) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (words, rest) = text.as_chunks();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The high bit of each byte from which 0x21 cannot be taken. A borrow may spoil the bytes above the first such one.
        let below = word.wrapping_sub(LOW * 0x21) & !word & HIGH;
        if below != 0 {
            return Some(8 * at + below.trailing_zeros() as usize / 8);
        }
    }
    let before = text.len() - rest.len();
    rest.iter().position(|byte| *byte <= b' ').map(|at| before + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(line: &str) -> Option<(&str, &str, &str, &str)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        parse(line.as_bytes()).map(|l| (text(l.time), l.stream.as_str(), text(l.flags), text(l.content)))
    }

    #[test]
    fn the_split_is_positional() {
        let t = "2026-11-21T02:25:35.001526116Z";
        let line = |rest: &str| format!("{t} {rest}");
        assert_eq!(parts(&line("stdout F hello")), Some((t, "stdout", "F", "hello")));
        assert_eq!(parts(&line("stderr P   two spaces")), Some((t, "stderr", "P", "  two spaces")));
        assert_eq!(parts(&line("stdout F ")), Some((t, "stdout", "F", "")));
        assert_eq!(parts(&line("stdout F a stdout F b")), Some((t, "stdout", "F", "a stdout F b")));
        assert_eq!(parts(&line("stdout F:x a\nb")), Some((t, "stdout", "F:x", "a\nb")));
        assert_eq!(parts("\x0b stdout F x"), Some(("\x0b", "stdout", "F", "x")), "RE2's \\s has no vertical tab");
    }

    #[test]
    fn what_the_expression_refuses_is_no_line() {
        for line in [
            "",
            " ",
            "t stdout F",
            "t stdout  x",
            "t stdout F\tx",
            " stdout F x",
            "t  stdout F x",
            "t stdin F x",
            "t Stdout F x",
            "t\r stdout F x",
            "a b stdout F x",
            "t stdout\tF x",
        ] {
            assert_eq!(parts(line), None, "{line:?}");
        }
    }

    #[test]
    fn partial_by_promtail_is_p_alone_and_by_the_kubelet_the_first_tag() {
        for (flags, promtail, kubelet) in
            [("P", true, true), ("F", false, false), ("P:x", false, true), ("PF", false, false), ("F:P", false, false)]
        {
            let line = format!("t stdout {flags} x");
            let line = parse(line.as_bytes()).unwrap();
            assert_eq!((line.is_partial(), line.is_partial_by_first_tag()), (promtail, kubelet), "{flags}");
        }
    }

    proptest! {
        #[test]
        fn equal_to_promtails_expression(line in "[ a\t\n\u{0b}\u{0c}\r]{0,3}( (stdout|stderr|stdoutx))?[ PF:\t]{0,4}(?s:.{0,6})") {
            let pattern = r"(?-u)^(?s)(?P<time>[^\t\n\f\r ]+?) (?P<stream>stdout|stderr) (?P<flags>[^\t\n\f\r ]+?) (?P<content>.*)$";
            let expression = regex::bytes::Regex::new(pattern).unwrap();
            let bytes = line.as_bytes();
            let expected = expression.captures(bytes).map(|c| {
                (c["time"].to_vec(), c["stream"].to_vec(), c["flags"].to_vec(), c["content"].to_vec())
            });
            let got = parse(bytes).map(|l| {
                (l.time.to_vec(), l.stream.as_str().as_bytes().to_vec(), l.flags.to_vec(), l.content.to_vec())
            });
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn a_usual_line_is_read_as_any_other(
            lines in proptest::collection::vec(
                r"2026-11-21T02:25:3[01](\.[0-9]{9}|\.[0-9]{0,10})(Z|z| |Zx) (stdout|stderr|stdouT) ([FP]|F:x|) .{0,3}", 1..8,
            ),
            damage in any::<(proptest::sample::Index, u8)>(),
        ) {
            let mut latest = LatestSecond::default();
            for line in lines {
                let mut line = line.into_bytes();
                let before = parse_usual(&line, &latest);
                let parsed = parse(&line);
                let time = parsed.and_then(|parsed| latest.parse(parsed.time));
                prop_assert!(before.is_none() || before == parsed.zip(time));
                let is_usual = |parsed: &CriLine<'_>| parsed.time.len() <= NANOS_TEXT && parsed.flags == b"F";
                let is_usual = |parsed: &CriLine<'_>| is_usual(parsed) && line.len() >= NANOS_TEXT;
                prop_assert_eq!(parse_usual(&line, &latest), parsed.filter(is_usual).zip(time));
                let at = damage.0.index(line.len());
                line[at] = damage.1;
                let damaged = parse_usual(&line, &latest);
                prop_assert!(damaged.is_none() || damaged == parse(&line).zip(parse(&line).and_then(|l| parse_rfc3339_nanos(l.time))));
            }
        }

        #[test]
        fn any_bytes_are_survived(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(parts) = parse(&line) {
                prop_assert!(line.ends_with(parts.content) && line.starts_with(parts.time));
            }
        }
    }
}
