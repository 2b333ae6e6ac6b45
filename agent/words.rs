//! Short texts as machine words: a few steps where a loop over bytes takes one for each, and a call of the C library
//! some twenty.

/// A text of up to eight bytes, the first one lowest, zeros behind the last. `None` for a longer one.
#[inline]
pub fn word(text: &[u8]) -> Option<u64> {
    let n = text.len();
    match n {
        // Two loads, which overlap in the middle.
        4..=8 => Some(half(text, 0) | half(text, n - 4) << (8 * (n - 4))),
        1..=3 => {
            let byte = |at: usize| u64::from(text[at]) << (8 * at);
            Some(byte(0) | byte(n / 2) | byte(n - 1))
        }
        0 => Some(0),
        _ => None,
    }
}

/// Texts of up to so many bytes are known by their [`ends`].
pub const ENDS_BYTES_MAX: usize = 16;

/// The first and the last eight bytes of a text, each the first one lowest; of less than eight bytes the [`word`] and 0. With
/// its length they are all there is to know of a text of up to sixteen bytes.
#[inline]
pub fn ends(text: &[u8]) -> [u64; 2] {
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => [first, last].map(|part| u64::from_le_bytes(*part)),
        _ => [word(text).unwrap_or_default(), 0],
    }
}

/// The text of up to sixteen bytes that has these [`ends`] and this length.
pub fn text_of_ends(ends: [u64; 2], length: usize) -> [u8; 16] {
    let [first, last] = ends.map(u128::from);
    let behind = length.saturating_sub(8);
    (first | last << (8 * behind)).to_le_bytes()
}

#[inline]
fn half(text: &[u8], at: usize) -> u64 {
    text[at..].first_chunk().map_or(0, |half| u64::from(u32::from_le_bytes(*half)))
}

/// Whether two texts are the same, without a call for those of up to 32 bytes: their ends, which meet or overlap, are all.
#[inline]
pub fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        0 => true,
        1 => has_ends_of::<1>(a, b),
        2..=4 => has_ends_of::<2>(a, b),
        5..=8 => has_ends_of::<4>(a, b),
        9..=16 => has_ends_of::<8>(a, b),
        17..=32 => has_ends_of::<16>(a, b),
        _ => a == b,
    }
}

/// Whether the first `N` bytes of two texts are the same, and the last.
#[inline(always)]
fn has_ends_of<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    a.first_chunk::<N>() == b.first_chunk() && a.last_chunk::<N>() == b.last_chunk()
}

/// Whether all bytes are ASCII, as those of most lines and labels are: a third of what looking for UTF-8 takes.
#[inline(always)]
pub fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    match bytes.len() {
        ..=ENDS_BYTES_MAX => {
            let [first, last] = ends(bytes);
            (first | last) & HIGH == 0
        }
        _ => is_long_ascii(bytes),
    }
}

/// The last block overlaps the one before, so that nothing is left over.
#[inline(never)]
fn is_long_ascii(bytes: &[u8]) -> bool {
    const HIGH: u128 = 0x8080_8080_8080_8080_8080_8080_8080_8080;
    if let Some(last) = bytes.last_chunk::<32>() {
        let (blocks, _) = bytes.as_chunks::<32>();
        let any = blocks.iter().fold(*last, |mut any, block| {
            any.iter_mut().zip(block).for_each(|(any, byte)| *any |= *byte);
            any
        });
        return any.iter().fold(0, |any, byte| any | byte) < 0x80;
    }
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => (u128::from_le_bytes(*first) | u128::from_le_bytes(*last)) & HIGH == 0,
        _ => bytes.is_ascii(),
    }
}

/// The number that eight digits are, each a byte of 0 to 9, the first one lowest: all at once, as pairs, fours and eight.
#[inline]
pub fn eight_digits(digits: u64) -> u64 {
    let pairs = (digits.wrapping_mul(10 << 8 | 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000 << 32 | 1) >> 32
}

/// Which bytes are above 9, by their high bits: of texts from which `'0'` was taken by XOR, what is no digit.
#[inline]
pub fn above_nine(bytes: u64) -> u64 {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const TO_HIGH: u64 = 0x7676_7676_7676_7676;
    (((bytes & !HIGH) + TO_HIGH) | bytes) & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_byte_beyond_ascii_is_seen_wherever_it_stands() {
        for length in 0..100 {
            assert!(is_ascii(&vec![0x7f; length]));
            for at in 0..length {
                let mut bytes = vec![0x7f; length];
                bytes[at] = 0x80;
                assert!(!is_ascii(&bytes), "{at} of {length}");
            }
        }
    }

    #[test]
    fn a_text_that_differs_in_one_byte_is_another() {
        for length in 0..40usize {
            let text: Vec<u8> = (0..length as u8).collect();
            assert!(is_same(&text, &text.clone()) && !is_same(&text, &[&text[..], b"\0"].concat()));
            for at in 0..length {
                let mut other = text.clone();
                other[at] ^= 0x80;
                assert!(!is_same(&text, &other), "{at} of {length}");
            }
        }
    }

    #[test]
    fn each_byte_is_a_digit_or_above_nine() {
        for byte in 0..=255u8 {
            for at in 0..8 {
                let wanted = if byte > 9 { 0x80 << (8 * at) } else { 0 };
                assert_eq!(above_nine(u64::from(byte) << (8 * at) | 9 << (8 * (at ^ 1))), wanted, "{byte} at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_word_holds_the_text_and_zeros(text in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut bytes = [0; 20];
            bytes[..text.len()].copy_from_slice(&text);
            let wanted = u128::from_le_bytes(bytes[..16].try_into().unwrap());
            prop_assert_eq!(word(&text), (text.len() <= 8).then_some(wanted as u64));
            if text.len() <= 16 {
                prop_assert_eq!(&text_of_ends(ends(&text), text.len())[..text.len()], &text);
            }
        }

        #[test]
        fn eight_digits_are_their_number(number in 0..100_000_000u64) {
            let text = format!("{number:08}");
            let digits = word(text.as_bytes()).unwrap() ^ 0x3030_3030_3030_3030;
            prop_assert_eq!((eight_digits(digits), above_nine(digits)), (number, 0));
        }
    }
}
