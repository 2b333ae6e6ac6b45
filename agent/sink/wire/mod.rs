//! The message that Loki takes: `PushRequest` of its push.proto, as protobuf in one snappy block.

mod read;
mod snappy;
pub mod write;

pub use read::{Damaged, Entry, Message};

use bytes::Bytes;
use snappy::Encoder;
use std::cell::RefCell;

/// One snappy block (the format without frames).
pub fn pack(message: &[u8]) -> Bytes {
    thread_local!(static PACKER: RefCell<Packer> = RefCell::new(Packer::new()));
    PACKER.with_borrow_mut(|packer| packer.pack(message))
}

/// More room than this is given back after a message that needed it: a usual batch takes 1.2 MiB.
const ROOM_BYTES_MAX: usize = 2 << 20;

/// What compressing takes beside its result: a table, and room for the largest one that there may be, which is not made anew
/// for each message.
struct Packer {
    encoder: Encoder,
    room: Vec<u8>,
}

impl Packer {
    fn new() -> Self {
        Packer { encoder: Encoder::new(), room: Vec::new() }
    }

    fn pack(&mut self, message: &[u8]) -> Bytes {
        self.encoder.pack(message, &mut self.room);
        let packed = Bytes::copy_from_slice(&self.room);
        if self.room.capacity() > ROOM_BYTES_MAX {
            self.room = Vec::new();
        }
        packed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_packed_alike_whatever_was_packed_before() {
        let text = |byte: u8, length: usize| (0..length).map(|at| byte ^ (at / 7 % 5) as u8).collect::<Vec<u8>>();
        let mut packer = Packer::new();
        for message in [text(1, 100_000), vec![], text(2, 70), text(3, 3 << 20), text(4, 5_000)] {
            assert_eq!(packer.pack(&message), Packer::new().pack(&message));
            assert!(packer.room.capacity() <= ROOM_BYTES_MAX);
        }
    }
}
