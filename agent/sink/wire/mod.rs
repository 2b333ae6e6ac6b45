//! The message that Loki takes: `PushRequest` of its push.proto, as protobuf in one snappy block.

mod read;
pub mod write;

pub use read::{Damaged, Entry, Message};

use bytes::Bytes;

/// One snappy block (the format without frames).
pub fn pack(message: &[u8]) -> Bytes {
    // Fails only for more than 4 GiB.
    snap::raw::Encoder::new().compress_vec(message).unwrap_or_default().into()
}
