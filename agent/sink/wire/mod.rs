//! The message that Loki takes: `PushRequest` of its push.proto, as protobuf in one snappy block.

mod read;
pub mod write;

pub use read::{Damaged, Entry, Message};

use bytes::Bytes;
use snap::raw::{Encoder, max_compress_len};
use std::cell::RefCell;

/// A thread keeps no more room than this from one batch to the next.
const ROOM_BYTES_MAX: usize = 2 << 20;

thread_local! {
    /// The compressor's table, and room for the worst case, which is larger than the message.
    static PACKER: RefCell<(Encoder, Vec<u8>)> = RefCell::new((Encoder::new(), Vec::new()));
}

/// One snappy block (the format without frames), in no more memory than it takes.
pub fn pack(message: &[u8]) -> Bytes {
    PACKER.with_borrow_mut(|(encoder, room)| {
        let most = max_compress_len(message.len());
        if room.len() < most {
            room.resize(most, 0);
        }
        // Fails only for more than 4 GiB.
        let bytes = encoder.compress(message, room).unwrap_or_default();
        let packed = Bytes::copy_from_slice(&room[..bytes]);
        if most > ROOM_BYTES_MAX {
            *room = Vec::new();
        }
        packed
    })
}
