//! Torn lines: on a full disk a container runtime writes the beginning of a line and no newline, and then the next line.
//!
//! One line of the file is then two. The second begins with a header of the runtime in the middle of the line, and so
//! may any text that a client sent: whoever could have his text taken for a line of the log could invent requests. So a
//! header counts only where a client's text cannot stand:
//!
//! - within the header of the torn line, of which nothing but its beginning is there;
//! - where the content is a JSON object, just before the place at which it stops being one. In JSON that is written
//!   properly (nginx' `escape=json`) a client's text is whole inside of a string, and that string is whole too; only
//!   what the runtime tore breaks it. The last header before the break is the runtime's: what a client put into the
//!   torn line stands before it, what one put into the next line stands behind. And it must be that of a whole line of
//!   the same stream: where a program lets clients begin lines, they gain nothing that they did not have.
//!
//! A line that a stage could read is never touched, nor is one that was cut to the limit. Text lines have no place that
//! is safe, so a torn one is one line with the one behind it; so is a line torn right behind its header.

use super::text::Content;
use super::{JOINED_BYTES_MAX, Record, Text};
use crate::decode::cri::{Stream, parse_rfc3339_nanos};
use memchr::{memchr2, memmem};

/// How often a line of the file is split.
pub const SPLITS_MAX: u32 = 4;
/// Why the torn beginning is refused.
pub const TORN: &str = "torn";

/// RFC 3339 with seconds, and with nine digits more and a zone.
const TIME_BYTES_MIN: usize = 20;
const TIME_BYTES_MAX: usize = 35;
/// Bytes of a header up to its flags.
const HEADER_BYTES_MAX: usize = TIME_BYTES_MAX + " stdout P".len();
/// Brackets in one another that are followed.
const DEPTH_MAX: usize = 64;

/// Where a line begins that follows the torn beginning of a header; `line` itself does not begin with a whole one.
#[cold]
pub fn behind_torn_header(line: &[u8]) -> Option<usize> {
    // What has no stream at all is a line of another kind.
    memmem::find(&line[..line.len().min(2 * HEADER_BYTES_MAX)], b" std")?;
    (1..line.len().min(HEADER_BYTES_MAX)).find(|at| is_header(&line[*at..]) && begins_header(&line[..*at]))
}

/// Where a line begins that follows the torn beginning of a JSON object, in a refused record with this content: its
/// place in the input, and the content before it.
#[cold]
pub fn behind_torn_content(record: &Record<'_>, content: Content) -> Option<(usize, Text)> {
    let (input, whole) = (record.input(), record.bytes(content.text));
    if record.is_cut() || input.len() >= JOINED_BYTES_MAX || whole.first() != Some(&b'{') {
        return None;
    }
    let own = whole.len() - content.own;
    let at = last_header(whole, content.stream, own, breaks_at(whole)?)?;
    // The content ends as the input does.
    Some((input.len() - (whole.len() - at), content.text.slice(0, at)))
}

/// Whether the flags of a header are such as runtimes write: `P` or `F`, and what may follow a colon.
pub fn are_flags(flags: &[u8]) -> bool {
    matches!(flags, [b'P' | b'F'] | [b'P' | b'F', b':', ..])
}

/// Whether a whole header stands here: a time, a stream, flags and a space.
fn is_header(text: &[u8]) -> bool {
    let end = text.iter().take(TIME_BYTES_MAX + 1).position(|byte| *byte == b' ');
    end.is_some_and(|end| {
        let flags = [Stream::Stdout, Stream::Stderr].iter().find_map(|stream| flags_of(&text[end..], *stream));
        parse_rfc3339_nanos(&text[..end]).is_some() && matches!(flags, Some([b'P' | b'F', b' ' | b':', ..]))
    })
}

/// What follows the stream in what follows the time of a header.
fn flags_of(text: &[u8], stream: Stream) -> Option<&[u8]> {
    text.strip_prefix(b" ")?.strip_prefix(stream.as_str().as_bytes())?.strip_prefix(b" ")
}

/// Whether this is the beginning of a header, up to its flags.
fn begins_header(text: &[u8]) -> bool {
    let (time, rest) = text.split_at(text.iter().position(|byte| *byte == b' ').unwrap_or(text.len()));
    let of_time = |byte: &u8| byte.is_ascii_digit() || b"-:TZ.+".contains(byte);
    if rest.is_empty() {
        return time.len() <= TIME_BYTES_MAX && time.iter().all(of_time);
    }
    let ends = [b" stdout P", b" stdout F", b" stderr P", b" stderr F"];
    parse_rfc3339_nanos(time).is_some() && ends.iter().any(|end| end.starts_with(rest))
}

/// The last header of a whole line of this stream that begins from `from` to `until`, both included.
fn last_header(text: &[u8], stream: Stream, from: usize, until: usize) -> Option<usize> {
    let end = text.len().min(until + HEADER_BYTES_MAX);
    memmem::rfind_iter(text.get(from..end)?, b" std").map(|at| from + at).find_map(|time_end| {
        let first = time_end.saturating_sub(TIME_BYTES_MAX).max(from);
        let last = time_end.checked_sub(TIME_BYTES_MIN)?.min(until);
        let whole = |at: &usize| parse_rfc3339_nanos(&text[*at..time_end]).is_some();
        let flags = flags_of(&text[time_end..], stream);
        (first..=last).find(whole).filter(|_| matches!(flags, Some([b'F', b' ' | b':', ..])))
    })
}

/// What may come next in a JSON text.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    Value,
    /// A value, or the end of the array.
    First,
    Key,
    /// A key, or the end of the object.
    FirstKey,
    Colon,
    /// A comma, or the end of what is open.
    Comma,
}

/// Where a text stops being the beginning of a JSON value; `None` where it is one to its end. Words, numbers and escapes
/// are not looked into.
fn breaks_at(text: &[u8]) -> Option<usize> {
    // What closes the brackets that are open, the innermost last.
    let (mut closings, mut depth) = ([0u8; DEPTH_MAX], 0);
    let mut wanted = Wanted::Value;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let is_value = matches!(wanted, Wanted::Value | Wanted::First);
        let closes = matches!(wanted, Wanted::First | Wanted::FirstKey | Wanted::Comma);
        let closing = closings[..depth].last().copied();
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b'"' if is_value || matches!(wanted, Wanted::Key | Wanted::FirstKey) => {
                at = string_end(text, at + 1)?;
                wanted = if is_value { Wanted::Comma } else { Wanted::Colon };
            }
            b'{' | b'[' if is_value => {
                *closings.get_mut(depth)? = if byte == b'{' { b'}' } else { b']' };
                wanted = if byte == b'{' { Wanted::FirstKey } else { Wanted::First };
                (depth, at) = (depth + 1, at + 1);
            }
            b'}' | b']' if closes && closing == Some(byte) => {
                wanted = Wanted::Comma;
                (depth, at) = (depth - 1, at + 1);
            }
            b',' if wanted == Wanted::Comma && depth > 0 => {
                wanted = if closing == Some(b'}') { Wanted::Key } else { Wanted::Value };
                at += 1;
            }
            b':' if wanted == Wanted::Colon => {
                wanted = Wanted::Value;
                at += 1;
            }
            _ if is_value && is_word(byte) => {
                at += text[at..].iter().take_while(|byte| is_word(**byte)).count();
                wanted = Wanted::Comma;
            }
            _ => return Some(at),
        }
    }
    None
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}

/// What follows a string that begins before `at`; `None` where it does not end.
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
#[path = "torn_tests.rs"]
mod tests;
