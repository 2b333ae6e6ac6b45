//! A line of the default format as nearly all are: no field but the request's id holds a quote or a backslash, and there was
//! one attempt at an upstream or none. Each part ends at the next quote or space, which is found by windows of 32 bytes.

use super::{TextAccess, present, split_request};
use crate::decode::json::block::{Look, Looks, Task, WINDOW_BYTES, Windows};

/// `None` where the general way has to decide; else its answer.
pub(super) fn parse(line: &[u8]) -> Option<TextAccess<'_>> {
    Looks::best().run(Usual(line))
}

struct Usual<'a>(&'a [u8]);

impl<'a> Task for Usual<'a> {
    type Answer = Option<TextAccess<'a>>;

    #[inline(always)]
    fn run(self, look: impl Look) -> Self::Answer {
        let Usual(line) = self;
        let parts = Parts { line, windows: Windows::over(line, look)? };

        let remote_end = parts.space(0).filter(|end| *end > 0 && line[*end..].starts_with(b" - "))?;
        let request = parts.quote(remote_end + 3)?;
        let time = (request + 2).checked_sub(TIME_SHAPE.len())?;
        let remote_user = line.get(remote_end + 3..time)?;
        if !is_time(line[time..].first_chunk()?) {
            return None;
        }
        let request_end = parts.quote(request + 1)?;
        let referer = parts.quote(request_end + 1)?;
        let [b' ', status @ .., b' '] = line.get(request_end + 1..request_end + 6)? else { return None };
        let (body_bytes_sent, end) = parts.number(request_end + 5)?;
        if !status.iter().all(u8::is_ascii_digit) || end + 1 != referer {
            return None;
        }
        let referer_end = parts.quote(referer + 1).filter(|end| line[*end..].starts_with(b"\" \""))?;
        let agent_end = parts.quote(referer_end + 3)?;

        if line.get(agent_end + 1) != Some(&b' ') {
            return None;
        }
        let (request_length, end) = parts.number(agent_end + 1)?;
        let (request_time, end) = parts.number(end)?;
        let (proxy_upstream_name, end) = parts.name(end)?;
        let (proxy_alternative_upstream_name, end) = parts.name(end)?;
        let (upstream_addr, end) = parts.attempt(end)?;
        if line[end..].starts_with(b" : ") {
            return None;
        }
        let (upstream_response_length, end) = parts.attempt(end)?;
        let (upstream_response_time, end) = parts.attempt(end)?;
        let (upstream_status, end) = parts.attempt(end)?;
        if parts.windows.quote_or_backslash(agent_end + 1).is_some_and(|mark| mark < end) {
            return None;
        }

        let request = &line[request + 1..request_end];
        let (method, path, protocol) = match request_length {
            b"0" => Default::default(),
            _ => split_request(request).unwrap_or_default(),
        };
        Some(TextAccess {
            remote_addr: present(&line[..remote_end]),
            remote_user: present(remote_user),
            time_local: &line[time + 2..time + 28],
            request: present(request),
            method,
            path,
            protocol,
            status,
            body_bytes_sent: present(body_bytes_sent),
            http_referer: present(&line[referer + 1..referer_end]),
            http_user_agent: present(&line[referer_end + 3..agent_end]),
            request_length: present(request_length),
            request_time: present(request_time),
            proxy_upstream_name: present(proxy_upstream_name),
            proxy_alternative_upstream_name: present(proxy_alternative_upstream_name),
            upstream_addr: present(upstream_addr),
            upstream_response_length: present(upstream_response_length),
            upstream_response_time: present(upstream_response_time),
            upstream_status: present(upstream_status),
            req_id: present(&line[end + 1..]),
        })
    }
}

struct Parts<'a, L> {
    line: &'a [u8],
    windows: Windows<'a, L>,
}

impl<'a, L: Look> Parts<'a, L> {
    /// The next space at or behind a place.
    #[inline(always)]
    fn space(&self, at: usize) -> Option<usize> {
        self.windows.byte(at, b' ')
    }

    /// The next quote at or behind a place, with no backslash before.
    #[inline(always)]
    fn quote(&self, at: usize) -> Option<usize> {
        self.windows.quote_or_backslash(at).filter(|at| self.line[*at] == b'"')
    }

    /// What stands between a space and the next one, and where that is.
    #[inline(always)]
    fn word(&self, before: usize) -> Option<(&'a [u8], usize)> {
        let end = self.space(before + 1)?;
        Some((&self.line[before + 1..end], end))
    }

    /// As [`word`](Self::word), digits with points, or `-`.
    #[inline(always)]
    fn number(&self, before: usize) -> Option<(&'a [u8], usize)> {
        let start = before + 1;
        let [points, dashes] = [b'.', b'-'].map(|byte| [byte; WINDOW_BYTES]);
        let bytes =
            self.windows.digits(start)? | self.windows.same(start, &points)? | self.windows.same(start, &dashes)?;
        let end = start + bytes.trailing_ones() as usize;
        (end > start && self.line.get(end) == Some(&b' ')).then(|| (&self.line[start..end], end))
    }

    /// As [`word`](Self::word), in brackets.
    #[inline(always)]
    fn name(&self, before: usize) -> Option<(&'a [u8], usize)> {
        let (word, end) = self.word(before)?;
        let name = word.strip_prefix(b"[")?.strip_suffix(b"]")?;
        (self.windows.byte(before + 1, b']') == Some(end - 1)).then_some((name, end))
    }

    /// As [`word`](Self::word), an item that no other follows.
    #[inline(always)]
    fn attempt(&self, before: usize) -> Option<(&'a [u8], usize)> {
        self.word(before).filter(|(word, _)| word.last().is_some_and(|last| *last != b','))
    }
}

/// How the time stands in a line, with a byte of the request behind it, which may be any.
const TIME_SHAPE: &[u8; 32] = b" [00/aaa/0000:00:00:00 +0000] \"?";

/// How far a byte may be above that of the shape.
const ABOVE_SHAPE: [u8; 32] = {
    let (mut above, mut at) = ([0; 32], 0);
    while at < 32 {
        above[at] = match TIME_SHAPE[at] {
            b'0' => 9,
            b'+' => b'-' - b'+',
            b'a' | b'?' => u8::MAX,
            _ => 0,
        };
        at += 1;
    }
    above
};

/// Whether this is of the shape: all bytes at once.
#[inline(always)]
fn is_time(text: &[u8; 32]) -> bool {
    let mut beyond = *text;
    beyond.iter_mut().zip(TIME_SHAPE).for_each(|(byte, shape)| *byte = byte.wrapping_sub(*shape));
    beyond.iter_mut().zip(ABOVE_SHAPE).for_each(|(byte, above)| *byte = byte.saturating_sub(above));
    // A comma stands between the signs.
    beyond == [0; 32] && text[5..8].iter().all(u8::is_ascii_alphabetic) && text[23] != b','
}

#[cfg(test)]
#[path = "usual_tests.rs"]
mod tests;
