//! A batch: entries of one tenant that are pushed together, as the protobuf message that Loki takes.

use super::answer::Lot;
use super::collector::Sealed;
use bytes::Bytes;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A batch does not change any more: a push that is repeated has the same bytes.
pub struct Batch {
    /// Counts up within a client, over restarts too.
    pub id: u64,
    /// Empty: none.
    pub tenant: Arc<str>,
    /// Entries in it.
    pub lines: u64,
    /// Bytes of their lines and structured metadata.
    pub bytes: u64,
    /// When its first entry came, by the clock that never goes back; zero for one that an earlier run left.
    pub begun: Duration,
    /// Its lines, read again, would make the same entries. Others are sent only when a durable cut knows of them: after it
    /// they are not read again.
    pub repeatable: bool,
    body: Mutex<Body>,
}

/// The message, before and after it was compressed.
enum Body {
    /// A `PushRequest` ([`wire`](super::wire)).
    Plain(Vec<u8>),
    /// The same as one snappy block: what is sent and stored.
    Packed(Bytes),
    /// Only on disk.
    Away,
}

impl Batch {
    pub fn new(id: u64, tenant: Arc<str>, lines: u64, bytes: u64, begun: Duration, message: Vec<u8>) -> Self {
        Batch { id, tenant, lines, bytes, begun, repeatable: true, body: Mutex::new(Body::Plain(message)) }
    }

    /// A batch that was closed gets its number.
    pub fn of(id: u64, sealed: Sealed) -> Self {
        let Sealed { tenant, lines, bytes, begun, repeatable, message } = sealed;
        Batch { repeatable, ..Batch::new(id, tenant, lines, bytes, begun, message) }
    }

    /// Entries of a batch that was sent, to be sent once more. Sent it was, so the lines need no cut any more.
    pub fn part_of(whole: &Batch, id: u64, packed: Bytes, lot: Lot) -> Self {
        let body = Mutex::new(Body::Packed(packed));
        let tenant = Arc::clone(&whole.tenant);
        Batch { id, tenant, lines: lot.entries, bytes: lot.bytes, begun: whole.begun, repeatable: true, body }
    }

    /// One that an earlier run left on disk.
    pub fn away(id: u64, tenant: Arc<str>, lines: u64, bytes: u64) -> Self {
        Batch { id, tenant, lines, bytes, begun: Duration::ZERO, repeatable: true, body: Mutex::new(Body::Away) }
    }

    /// The message as one snappy block. Nothing if it is only on disk.
    pub fn packed(&self) -> Option<Bytes> {
        self.packed_and_buffer().map(|(packed, _)| packed)
    }

    /// The message as one snappy block, and the buffer that it was in, if it was compressed for this: whoever asks first
    /// compresses it, on his thread. Nothing if it is only on disk.
    pub fn packed_and_buffer(&self) -> Option<(Bytes, Option<Vec<u8>>)> {
        let mut body = self.body();
        match &mut *body {
            Body::Plain(message) => {
                let packed = super::wire::pack(message);
                let message = mem::take(message);
                *body = Body::Packed(packed.clone());
                Some((packed, Some(message)))
            }
            Body::Packed(packed) => Some((packed.clone(), None)),
            Body::Away => None,
        }
    }

    /// Bytes that it takes in memory.
    pub fn held_bytes(&self) -> usize {
        match &*self.body() {
            Body::Plain(message) => message.len(),
            Body::Packed(packed) => packed.len(),
            Body::Away => 0,
        }
    }

    /// It is on disk now: memory gives it up.
    pub fn forget(&self) {
        *self.body() = Body::Away;
    }

    /// Whether it is only on disk.
    pub fn is_away(&self) -> bool {
        matches!(&*self.body(), Body::Away)
    }

    /// A panic of another thread leaves nothing half-done behind this lock.
    fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
