//! Lines in pieces: what a container's runtime split is held until its last piece comes.
//!
//! The pieces of stdout and stderr interleave, so they are joined by source and stream. The joined line has the
//! timestamp of its last piece. Pieces whose end never comes leave as a line when their source ends.

use super::stage::{Held, When};
use super::{Context, Record, Text};
use crate::clock::UnixNanos;
use crate::decode::cri::Stream;

/// Bytes of a joined line that are kept: Loki's limit for a line, and the bound for a chain that never ends.
pub const JOINED_BYTES_MAX: usize = 256 * 1024;

pub struct Chains {
    /// Those that wait for their last piece, the oldest first; few, so a search from the front is the fastest there is.
    waiting: Vec<Chain>,
    /// Buffers of chains that ended, to be filled again.
    spare: Vec<Vec<u8>>,
    /// Past so many the oldest one leaves unfinished.
    chains_max: usize,
    bytes_max: usize,
}

/// The pieces of a line so far.
struct Chain {
    source: usize,
    stream: Stream,
    bytes: Vec<u8>,
    /// Lines of the file in it, at least 1.
    lines: u64,
    timestamp: UnixNanos,
}

impl Chains {
    /// Up to `chains_max` chains (at least 1) of at most `bytes_max` bytes each; what is longer is cut.
    pub fn new(chains_max: usize, bytes_max: usize) -> Self {
        Chains { waiting: Vec::new(), spare: Vec::new(), chains_max: chains_max.max(1), bytes_max }
    }

    /// Keeps the record's line as a piece.
    #[cold]
    pub fn hold(&mut self, record: &Record<'_>, stream: Stream, context: &mut Context<'_>) {
        let source = record.source();
        let at = self.position(source, stream).unwrap_or_else(|| {
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.clear();
            self.waiting.push(Chain { source, stream, bytes, lines: 0, timestamp: 0 });
            self.waiting.len() - 1
        });
        let chain = &mut self.waiting[at];
        chain.lines += record.lines();
        chain.timestamp = record.timestamp();
        let piece = record.line();
        let room = self.bytes_max.saturating_sub(chain.bytes.len());
        chain.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        context.overdue |= self.waiting.len() > self.chains_max;
    }

    /// The record's line with the pieces before it, if there are any.
    #[inline]
    pub fn join(&mut self, record: &mut Record<'_>, stream: Stream) -> Option<Text> {
        if self.waiting.is_empty() { None } else { self.join_waiting(record, stream) }
    }

    #[cold]
    fn join_waiting(&mut self, record: &mut Record<'_>, stream: Stream) -> Option<Text> {
        let chain = self.waiting.remove(self.position(record.source(), stream)?);
        let last = record.line_text();
        let last = last.slice(0, last.len().min(self.bytes_max.saturating_sub(chain.bytes.len())));
        let start = record.push(&chain.bytes);
        record.append(last);
        record.set_lines(chain.lines + record.lines());
        self.spare.push(chain.bytes);
        Some(Text { end: start.end + last.len() as u32, ..start })
    }

    /// The next chain that leaves unfinished.
    pub fn due(&self, when: When) -> Option<Held> {
        self.chosen(when).map(|at| Held { binding: self.waiting[at].source, lines: self.waiting[at].lines })
    }

    /// Puts the chain that [`due`](Self::due) named into the record: its stream and its text.
    pub fn release(&mut self, when: When, record: &mut Record<'_>) -> Option<(Stream, Text)> {
        let chain = self.waiting.remove(self.chosen(when)?);
        let text = record.push(&chain.bytes);
        record.set_lines(chain.lines);
        record.set_timestamp(chain.timestamp);
        record.set_line(text);
        self.spare.push(chain.bytes);
        Some((chain.stream, text))
    }

    fn position(&self, source: usize, stream: Stream) -> Option<usize> {
        self.waiting.iter().position(|chain| chain.source == source && chain.stream == stream)
    }

    fn chosen(&self, when: When) -> Option<usize> {
        match when {
            When::At(_) => (self.waiting.len() > self.chains_max).then_some(0),
            When::Ended(source) => self.waiting.iter().position(|chain| chain.source == source),
            When::End => (!self.waiting.is_empty()).then_some(0),
        }
    }
}

#[cfg(test)]
#[path = "chains_tests.rs"]
mod tests;
