//! The batch of one tenant that still grows: entries in the order in which they came, and for each stream where its own
//! stand. Sealing puts them stream by stream.

use crate::clock::UnixNanos;
use crate::sink::wire::write;
use std::ops::Range;
use std::time::Duration;

/// Kept apart from the stream itself: where its entries stand in the open batch of its tenant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chain {
    /// The first and the last of the stream's pieces.
    ends: Option<(u32, u32)>,
    bytes: u32,
}

impl Chain {
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_none()
    }
}

/// Entries of one stream that stand behind one another.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u32,
    end: u32,
    /// The stream's next piece, if this is not its last.
    next: u32,
}

/// Its memory is used again for the next batch.
#[derive(Debug, Default)]
pub(super) struct OpenBatch {
    /// When its first entry came.
    pub(super) begun: Duration,
    /// Each entry in it would come again as it is, if its lines were read again.
    pub(super) repeatable: bool,
    pub(super) lines: u64,
    /// Of lines and structured metadata.
    pub(super) bytes: u64,
    /// The streams that have entries in it, in the order of their first ones.
    pub(super) streams: Vec<u32>,
    encoded: Vec<u8>,
    pieces: Vec<Piece>,
    /// What the heads of the streams will take, at most.
    heads: usize,
}

impl OpenBatch {
    /// Bytes that it takes in the message, at most.
    pub(super) fn encoded_len(&self) -> usize {
        self.encoded.len() + self.heads
    }

    /// Notes that a stream has entries in it now.
    pub(super) fn join(&mut self, stream: u32, labels: &str) {
        self.streams.push(stream);
        self.heads += labels.len() + write::STREAM_FRAME_BYTES_MAX;
    }

    /// The bytes of the entries.
    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Appends an entry of the stream that the chain belongs to. Where its line stands among the bytes.
    #[inline]
    pub(super) fn append(&mut self, chain: &mut Chain, stamp: UnixNanos, line: &[u8], metadata: &[u8]) -> Range<usize> {
        let start = self.encoded.len() as u32;
        write::entry(&mut self.encoded, stamp, line, metadata);
        let end = self.encoded.len() as u32;
        self.chain(chain, start, end);
        let line_end = self.encoded.len() - metadata.len();
        line_end - line.len()..line_end
    }

    /// Notes that an entry of the stream stands there.
    #[inline]
    fn chain(&mut self, chain: &mut Chain, start: u32, end: u32) {
        chain.bytes += end - start;
        self.lines += 1;
        let new = self.pieces.len() as u32;
        match &mut chain.ends {
            Some((_, last)) => {
                let piece = &mut self.pieces[*last as usize];
                if piece.end == start {
                    piece.end = end;
                    return;
                }
                piece.next = new;
                *last = new;
            }
            None => chain.ends = Some((new, new)),
        }
        self.pieces.push(Piece { start, end, next: u32::MAX });
    }

    /// Appends a stream to the message.
    pub(super) fn write_stream(&self, chain: Chain, labels: &str, message: &mut Vec<u8>) {
        let Some((first, last)) = chain.ends else { return };
        write::stream_head(message, labels, chain.bytes as usize);
        let mut at = first;
        loop {
            let piece = self.pieces[at as usize];
            message.extend_from_slice(&self.encoded[piece.start as usize..piece.end as usize]);
            if at == last {
                return;
            }
            at = piece.next;
        }
    }

    pub(super) fn clear(&mut self) {
        let OpenBatch { begun: _, repeatable: _, lines, bytes, streams, encoded, pieces, heads } = self;
        (*lines, *bytes, *heads) = (0, 0, 0);
        streams.clear();
        encoded.clear();
        pieces.clear();
    }

    /// Bytes of memory that it holds, used or not.
    pub(super) fn held_bytes(&self) -> usize {
        self.encoded.capacity()
            + self.pieces.capacity() * size_of::<Piece>()
            + self.streams.capacity() * size_of::<u32>()
    }
}
