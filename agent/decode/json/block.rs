//! Sixteen bytes at a time: where quotes and backslashes stand among them, and which of them are those of another block.
//!
//! On x86-64 vector comparisons tell it. SSE2 is part of that architecture, so nothing is chosen at run time. Elsewhere the
//! same is done in wide numbers.

pub(super) const BLOCK_BYTES: usize = 16;

/// Where the first quote or backslash stands. Most strings end within a block or two.
#[inline(always)]
pub(super) fn quote_or_backslash(text: &[u8]) -> Option<usize> {
    let (blocks, rest) = text.as_chunks();
    let mut before = 0;
    for block in blocks {
        if let Some(at) = quotes_and_backslashes(block).first() {
            return Some(before + at);
        }
        before += BLOCK_BYTES;
    }
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|at| before + at)
}

/// The bytes of a block that are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks<M>(M);

/// The quotes and backslashes of a block.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn quotes_and_backslashes(block: &[u8; BLOCK_BYTES]) -> Marks<u32> {
    vector::quotes_and_backslashes(block)
}

/// The quotes and backslashes of a block.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn quotes_and_backslashes(block: &[u8; BLOCK_BYTES]) -> Marks<u128> {
    wide::quotes_and_backslashes(block)
}

/// A bit for each byte, of the first the lowest, that is the same in both blocks. Behind the first that differs the bits mean
/// nothing.
#[inline(always)]
pub(super) fn same(one: &[u8; BLOCK_BYTES], other: &[u8; BLOCK_BYTES]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    return vector::same(one, other);
    #[cfg(not(target_arch = "x86_64"))]
    return wide::same(one, other);
}

/// A bit for each byte.
#[cfg(target_arch = "x86_64")]
mod vector {
    use super::{BLOCK_BYTES, Marks};
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};

    #[inline(always)]
    #[allow(unsafe_code)]
    pub(super) fn quotes_and_backslashes(block: &[u8; BLOCK_BYTES]) -> Marks<u32> {
        // SAFETY: the load reads the sixteen bytes that `block` is, from any address; the rest works on registers. All of it
        // is SSE2, which every x86-64 has.
        unsafe {
            let bytes = _mm_loadu_si128(block.as_ptr().cast());
            let quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
            let backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
            Marks(_mm_movemask_epi8(_mm_or_si128(quotes, backslashes)) as u32)
        }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    pub(super) fn same(one: &[u8; BLOCK_BYTES], other: &[u8; BLOCK_BYTES]) -> u32 {
        // SAFETY: as above, of two blocks.
        unsafe {
            let (one, other) = (_mm_loadu_si128(one.as_ptr().cast()), _mm_loadu_si128(other.as_ptr().cast()));
            _mm_movemask_epi8(_mm_cmpeq_epi8(one, other)) as u32
        }
    }

    impl Marks<u32> {
        /// The place of the first marked byte.
        #[inline(always)]
        pub(in super::super) fn first(self) -> Option<usize> {
            if self.0 == 0 { None } else { Some(self.0.trailing_zeros() as usize) }
        }
    }
}

/// Eight bits for each byte, of which the highest is the mark. Above the first marked byte there may be false marks.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod wide {
    use super::{BLOCK_BYTES, Marks};

    const LOW: u128 = u128::from_le_bytes([1; BLOCK_BYTES]);
    const HIGH: u128 = LOW << 7;

    #[inline(always)]
    pub(super) fn quotes_and_backslashes(block: &[u8; BLOCK_BYTES]) -> Marks<u128> {
        let bytes = u128::from_le_bytes(*block);
        // A byte is zero where it was the wanted one; only from a zero does taking 1 away set the high bit of a byte that
        // did not have it, and of those behind one it may, by the borrow.
        let zeros = |bytes: u128| bytes.wrapping_sub(LOW) & !bytes & HIGH;
        Marks(zeros(bytes ^ (LOW * b'"' as u128)) | zeros(bytes ^ (LOW * b'\\' as u128)))
    }

    #[inline(always)]
    pub(super) fn same(one: &[u8; BLOCK_BYTES], other: &[u8; BLOCK_BYTES]) -> u32 {
        let differ = u128::from_le_bytes(*one) ^ u128::from_le_bytes(*other);
        (1 << (differ.trailing_zeros() / 8)) - 1
    }

    impl Marks<u128> {
        /// The place of the first marked byte.
        #[inline(always)]
        pub(in super::super) fn first(self) -> Option<usize> {
            if self.0 == 0 { None } else { Some(self.0.trailing_zeros() as usize / 8) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn byte() -> impl Strategy<Value = u8> {
        // Neighbours of the wanted ones in one bit or by one, and what a borrow would spoil.
        let near = b"\"\\#!\xa2\xdc[]\x00\x01\x80\xff".to_vec();
        prop_oneof![proptest::sample::select(near), any::<u8>()]
    }

    proptest! {
        #[test]
        fn both_ways_find_the_first_one(block in proptest::array::uniform16(byte())) {
            let wanted = block.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            prop_assert_eq!(wide::quotes_and_backslashes(&block).first(), wanted);
            prop_assert_eq!(quotes_and_backslashes(&block).first(), wanted);
        }

        #[test]
        fn both_ways_find_how_far_blocks_are_the_same(
            one in proptest::array::uniform16(byte()),
            changes in proptest::collection::vec((0..BLOCK_BYTES, byte()), 0..3),
        ) {
            let mut other = one;
            changes.into_iter().for_each(|(at, byte)| other[at] = byte);
            let wanted = one.iter().zip(&other).take_while(|(one, other)| one == other).count() as u32;
            prop_assert_eq!(wide::same(&one, &other).trailing_ones(), wanted);
            prop_assert_eq!(same(&one, &other).trailing_ones(), wanted);
        }
    }
}
