//! A hash with a key that is the same in every process, for what is remembered as a hash and kept over a restart.
//!
//! SipHash-2-4, which the standard library promises by this name only: its other hashers may change with a release. The
//! key is random where clients choose what is hashed, and kept beside the hashes.

// Deprecated because few need this very function; here it must be this one.
#[allow(deprecated)]
use std::hash::SipHasher;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::keep::{Reader, Writer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedHash {
    key: [u64; 2],
}

impl KeyedHash {
    /// For what no client chooses.
    pub const PLAIN: KeyedHash = KeyedHash { key: [0x7765_6972, 0x6b65_7074] };

    /// With a key that nobody knows.
    pub fn random() -> Self {
        KeyedHash { key: [(); 2].map(|()| RandomState::new().build_hasher().finish()) }
    }

    /// The hash of these parts in their order, each told from the next.
    pub fn of<'p>(&self, parts: impl IntoIterator<Item = &'p [u8]>) -> u64 {
        #[allow(deprecated)]
        let mut hasher = SipHasher::new_with_keys(self.key[0], self.key[1]);
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        hasher.finish()
    }

    pub fn write(&self, writer: &mut Writer<'_>) {
        self.key.iter().for_each(|word| writer.word(*word));
    }

    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(KeyedHash { key: [reader.word()?, reader.word()?] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SipHash's paper, appendix A: the key 00 … 0f and the message 00 … 0e.
    #[test]
    fn the_hash_is_siphash_2_4() {
        #[allow(deprecated)]
        let mut hasher = SipHasher::new_with_keys(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        hasher.write(&(0..15).collect::<Vec<u8>>());
        assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn hashes_are_those_of_every_process() {
        let of = |parts: &[&[u8]]| KeyedHash::PLAIN.of(parts.iter().copied());
        assert_eq!(of(&[b"a", b"bc"]), 0xfd9a_92f6_7387_d2a6);
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        let (one, other) = (KeyedHash::random(), KeyedHash::random());
        assert_ne!(one.of([&b"a"[..]]), other.of([&b"a"[..]]));
        let mut bytes = Vec::new();
        one.write(&mut Writer::new(&mut bytes));
        assert_eq!(KeyedHash::read(&mut Reader::new(&bytes)), Some(one));
    }
}
