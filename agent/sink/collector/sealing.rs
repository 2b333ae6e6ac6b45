//! From an open batch to a sealed one, in memory that is used again and again.

use super::limits::Counts;
use super::open_batch::OpenBatch;
use super::streams::Streams;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// Messages and open batches whose memory waits to be used again.
const SPARES_MAX: usize = 4;

/// A message takes a spare of up to four times its bytes, or of up to this; it may wait for long, so a small one does not
/// hold the memory of a large one.
const SPARE_BYTES_LEAST: usize = 64 << 10;

/// Entries of one tenant, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Empty: none.
    pub tenant: Arc<str>,
    pub lines: u64,
    /// Of lines and structured metadata.
    pub bytes: u64,
    /// When its first entry came.
    pub begun: Duration,
    /// Each entry in it would come again as it is, if its lines were read again.
    pub repeatable: bool,
    /// A `PushRequest` ([`wire`](crate::sink::wire)).
    pub message: Vec<u8>,
}

/// A tenant with streams that are known, with its open batch.
pub(super) struct Tenant {
    pub(super) name: Arc<str>,
    /// How many of the known streams are his.
    pub(super) streams: u32,
    pub(super) open: Option<OpenBatch>,
    pub(super) counts: Counts,
}

impl Tenant {
    pub(super) fn new(name: String) -> Self {
        Tenant { name: name.into(), streams: 0, open: None, counts: Counts::default() }
    }

    /// Whether nothing speaks of it any more.
    pub(super) fn is_gone(&self) -> bool {
        self.streams == 0 && self.open.is_none() && self.counts.is_empty()
    }
}

/// Sealed batches that nobody has taken yet, and memory to fill.
pub(super) struct Sealing {
    pub(super) sealed: Vec<Sealed>,
    messages: Vec<Vec<u8>>,
    opens: Vec<OpenBatch>,
    /// More memory than this is given back.
    spare_bytes_max: usize,
    /// What all open batches hold.
    pub(super) open_bytes: usize,
}

impl Sealing {
    pub(super) fn new(spare_bytes_max: usize) -> Self {
        Sealing { sealed: Vec::new(), messages: Vec::new(), opens: Vec::new(), spare_bytes_max, open_bytes: 0 }
    }

    /// An empty batch.
    pub(super) fn open(&mut self, now: Duration) -> OpenBatch {
        let mut open = self.opens.pop().unwrap_or_default();
        open.begun = now;
        open.repeatable = true;
        open
    }

    /// Seals the tenant's open batch, if it has one.
    pub(super) fn seal(&mut self, tenant: &mut Tenant, streams: &mut Streams) {
        let Some(mut open) = tenant.open.take() else { return };
        let mut message = self.message(open.encoded_len());
        for number in &open.streams {
            if let Some(stream) = streams.get_mut(*number) {
                stream.twins.settle(open.encoded());
                open.write_stream(mem::take(&mut stream.chain), &stream.labels, &mut message);
            }
        }
        self.open_bytes = self.open_bytes.saturating_sub(open.encoded_len());
        let (lines, bytes, begun, repeatable) = (open.lines, open.bytes, open.begun, open.repeatable);
        self.sealed.push(Sealed { tenant: tenant.name.clone(), lines, bytes, begun, repeatable, message });
        open.clear();
        if self.opens.len() < SPARES_MAX && open.held_bytes() <= self.spare_bytes_max {
            self.opens.push(open);
        }
    }

    /// Memory for a message of so many bytes.
    fn message(&mut self, bytes: usize) -> Vec<u8> {
        let suits = |spare: &Vec<u8>| spare.capacity() <= (4 * bytes).max(SPARE_BYTES_LEAST);
        let spare = self.messages.iter().position(suits).map(|at| self.messages.swap_remove(at));
        let mut message = spare.unwrap_or_default();
        // Batches of one size differ by a few bytes: the largest yet must not ask for memory again each time.
        message.reserve_exact(if message.capacity() < bytes { bytes + bytes / 8 } else { 0 });
        message
    }

    /// Takes back the memory of a message.
    pub(super) fn recycle(&mut self, mut message: Vec<u8>) {
        message.clear();
        if self.messages.len() < SPARES_MAX && message.capacity() <= self.spare_bytes_max {
            self.messages.push(message);
        }
    }

    #[cfg(test)]
    pub(super) fn spare_bytes(&self) -> usize {
        let opens = self.opens.iter().map(OpenBatch::held_bytes);
        opens.chain(self.messages.iter().map(Vec::capacity)).sum()
    }
}
