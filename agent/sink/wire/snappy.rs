//! Packs a message into one snappy block: a length, then literals (bytes as they are) and copies of bytes before them.
//!
//! The format is <https://github.com/google/snappy/blob/main/format_description.txt>; any decoder reads the block. What
//! is made of it here suits log lines, where long texts come again and the CPU's time goes into each single copy:
//!
//! - Only texts of 8 bytes and more are looked for. Shorter ones save a byte or two and take as long as long ones.
//! - A text is found up to 64 KiB back, everywhere. The usual encoders cut the message into pieces of 64 KiB that know
//!   nothing of each other, which makes the block larger by a tenth and saves nothing.
//! - The table keeps the low 16 bits of a position. They are enough to name a place in the last 64 KiB, and the small
//!   table stays in the CPU's first cache. The place may be a wrong one: the bytes there are compared anyway.
//! - Branches are left to the CPU to guess. Code without them was slower: it waits for one memory access after another.

/// What must be alike for a copy. Bytes are read and compared as one `u64`.
const KEY_BYTES: usize = 8;
const TABLE_BITS: u32 = 13;
/// After each 4 (2 to this power) places without a find, the next ones are looked at one byte further apart.
const PATIENCE_BITS: u32 = 2;
/// The same in a message's first stretch, where the table learns the texts. Small messages are worth the time.
const PATIENCE_BITS_AT_FIRST: u32 = 5;
/// A message is gone through in such stretches, each beginning with no misses: what bytes without a pattern did to the pace
/// is forgotten soon after them.
const STRETCH_BYTES: usize = 32 << 10;

/// What a copy with a distance of two bytes reaches: less than this.
const DISTANCE_END: usize = 1 << 16;
/// A copy has at most so many bytes.
const COPY_BYTES_MAX: usize = 64;
/// The shortest copy that the form of two bytes has. The last part of a long copy is at least as long.
const COPY_BYTES_MIN: usize = 4;
/// A literal up to this length has it in its tag.
const SHORT_LITERAL_BYTES_MAX: usize = 60;

/// A block may be written so far beyond its end: then a tag with a short literal needs no look at its length.
const SPARE_BYTES: usize = 64;
/// By so much the room for a block grows. It is made in pieces because it must be zeroed, and most blocks stay small.
const GROWTH_BYTES: usize = 4 << 10;

/// A tag's low two bits.
mod tag {
    pub const LITERAL: u8 = 0;
    /// Two bytes: 4 to 11 bytes from less than 2 KiB back.
    pub const NEAR_COPY: u8 = 1;
    /// Three bytes: 1 to 64 bytes from less than 64 KiB back.
    pub const COPY: u8 = 2;
}

/// Makes snappy blocks. Holds 16 KiB.
pub struct Encoder {
    /// By the hash of a text: the low 16 bits of the place where it was seen last. Zeroed for each message.
    places: Box<[u16; 1 << TABLE_BITS]>,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder::new()
    }
}

impl Encoder {
    pub fn new() -> Self {
        Encoder { places: Box::new([0; 1 << TABLE_BITS]) }
    }

    /// Puts the block of `message` into `out`, in place of what was there. The same message gives the same block, whatever
    /// was packed before. Reserves 4.2 KiB more than the message takes; an `out` that has so much is not allocated anew.
    ///
    /// The block is at most 16 bytes longer than the message. The format ends at 4 GiB: `out` stays empty for a longer
    /// message.
    pub fn pack(&mut self, message: &[u8], out: &mut Vec<u8>) {
        out.clear();
        let Ok(mut length) = u32::try_from(message.len()) else { return };
        out.reserve(room_bytes(message.len()));
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        let mut block = Block { end: out.len(), out };
        self.places.fill(0);
        let (mut start, mut packed) = (0, 0);
        while start < message.len() {
            let end = message.len().min(start + STRETCH_BYTES);
            let known = &message[..end];
            let patience_bits = if start == 0 { PATIENCE_BITS_AT_FIRST } else { PATIENCE_BITS };
            packed = self.copies(patience_bits, known, start, packed, &mut block);
            start = end;
        }
        block.long_literal(&message[packed..]);
        block.out.truncate(block.end);
    }

    /// Packs up to the last copy that ends in `message`, and says where that is. Before `packed` all is packed, before
    /// `start` nothing new is to be found.
    #[inline(never)]
    fn copies(
        &mut self,
        patience_bits: u32,
        message: &[u8],
        start: usize,
        mut packed: usize,
        block: &mut Block,
    ) -> usize {
        // The first byte has nothing before it. An empty place of the table names it, so it need not be looked at.
        let mut at = start.max(packed).max(1);
        // Behind it there is no whole key.
        let Some(last) = message.len().checked_sub(KEY_BYTES) else { return packed };
        loop {
            let mut misses = 1_usize << patience_bits;
            let distance = loop {
                if at > last {
                    return packed;
                }
                let key = word(message, at);
                let place = &mut self.places[slot(key)];
                let distance = usize::from((at as u16).wrapping_sub(*place));
                *place = at as u16;
                // A place's distance is known only up to whole 64 KiB: zero is one of these, too far for a copy.
                let from = at.wrapping_sub(distance);
                if from <= last && word(message, from) == key && distance != 0 {
                    break distance;
                }
                at += misses >> patience_bits;
                misses += 1;
            };
            let start = at - alike_before(message, packed, at, distance);
            at += KEY_BYTES;
            at += alike(&message[at..], &message[at - distance..]);
            block.literal(message, packed, start);
            block.copy(distance, at - start);
            packed = at;
        }
    }
}

/// The capacity that a block of so many bytes is made in.
fn room_bytes(message_bytes: usize) -> usize {
    message_bytes + 16 + SPARE_BYTES + GROWTH_BYTES
}

#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    // All places that are asked for were compared with the last whole key, or lie before one that was.
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("eight bytes"))
}

/// Multiplied by an odd number without a pattern, the upper bits depend on all bytes.
#[inline]
fn slot(key: u64) -> usize {
    (key.wrapping_mul(0x9E37_79B1_85EB_CA87) >> (u64::BITS - TABLE_BITS)) as usize
}

/// How many bytes before `at` are as those `distance` before them, of the at most eight that are not packed yet. They were
/// stepped over, or their place was taken by another text.
#[inline]
fn alike_before(message: &[u8], packed: usize, at: usize, distance: usize) -> usize {
    if at == packed || at < size_of::<u64>() + distance {
        return 0;
    }
    let before = at - size_of::<u64>();
    let differing = word(message, before) ^ word(message, before - distance);
    (differing.leading_zeros() as usize / 8).min(at - packed)
}

/// How many bytes `later` has in common with `earlier`, which is longer.
#[inline]
fn alike(later: &[u8], earlier: &[u8]) -> usize {
    let mut count = 0;
    let (words, rest) = later.as_chunks();
    for (one, other) in words.iter().zip(earlier.as_chunks().0) {
        let differing = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if differing != 0 {
            return count + differing.trailing_zeros() as usize / 8;
        }
        count += size_of::<u64>();
    }
    count + rest.iter().zip(&earlier[count..]).take_while(|(one, other)| one == other).count()
}

/// A block in the making.
struct Block<'o> {
    /// The block up to `end`; behind it room to write into.
    out: &'o mut Vec<u8>,
    end: usize,
}

impl Block<'_> {
    /// Adds a part of the message as it is, if it isn't empty.
    #[inline]
    fn literal(&mut self, message: &[u8], from: usize, to: usize) {
        let count = to - from;
        let rest = &message[from..];
        // More is copied than is counted: an amount that is known beforehand takes no loop.
        if count <= 16
            && let Some(bytes) = rest.first_chunk::<16>()
        {
            self.short_literal(bytes, count);
        } else if count <= SHORT_LITERAL_BYTES_MAX
            && let Some(bytes) = rest.first_chunk::<SHORT_LITERAL_BYTES_MAX>()
        {
            self.short_literal(bytes, count);
        } else {
            self.long_literal(&rest[..count]);
        }
    }

    /// Adds the first `count` of the bytes. Without bytes the tag is written too, and not counted.
    #[inline]
    fn short_literal<const N: usize>(&mut self, bytes: &[u8; N], count: usize) {
        let room = self.room();
        room[0] = (count as u8).wrapping_sub(1) << 2 | tag::LITERAL;
        room[1..=N].copy_from_slice(bytes);
        self.end += count + usize::from(count > 0);
    }

    /// Adds a literal of any length, if it isn't empty.
    #[inline(never)]
    fn long_literal(&mut self, bytes: &[u8]) {
        let Some(coded) = bytes.len().checked_sub(1) else { return };
        // The length in the tag, or that of the length behind it.
        let (upper, width) = match coded {
            ..SHORT_LITERAL_BYTES_MAX => (coded as u8, 0),
            SHORT_LITERAL_BYTES_MAX..0x100 => (60, 1),
            0x100..0x1_0000 => (61, 2),
            _ => (63, 4),
        };
        let room = self.room();
        room[0] = upper << 2 | tag::LITERAL;
        room[1..5].copy_from_slice(&(coded as u32).to_le_bytes());
        self.end += 1 + width;
        let end = self.end + bytes.len();
        match self.out.get_mut(self.end..end) {
            Some(room) => room.copy_from_slice(bytes),
            None => {
                self.out.truncate(self.end);
                self.out.extend_from_slice(bytes);
            }
        }
        self.end = end;
    }

    /// Adds a copy of `count` bytes from `distance` bytes back.
    #[inline]
    fn copy(&mut self, distance: usize, mut count: usize) {
        debug_assert!((1..DISTANCE_END).contains(&distance) && count >= COPY_BYTES_MIN);
        while count >= COPY_BYTES_MAX + COPY_BYTES_MIN {
            self.one_copy(distance, COPY_BYTES_MAX);
            count -= COPY_BYTES_MAX;
        }
        if count > COPY_BYTES_MAX {
            self.one_copy(distance, COPY_BYTES_MAX - COPY_BYTES_MIN);
            count -= COPY_BYTES_MAX - COPY_BYTES_MIN;
        }
        self.one_copy(distance, count);
    }

    #[inline]
    fn one_copy(&mut self, distance: usize, count: usize) {
        let is_near = count < 12 && distance < 1 << 11;
        // Both forms are made, and one is taken: which it will be can't be guessed.
        let (bytes, back) = (count as u32, distance as u32);
        let near = bytes.wrapping_sub(4) << 2 | back >> 8 << 5 | (back & 0xFF) << 8 | u32::from(tag::NEAR_COPY);
        let far = (bytes - 1) << 2 | back << 8 | u32::from(tag::COPY);
        let copy = if is_near { near } else { far };
        self.room()[..4].copy_from_slice(&copy.to_le_bytes());
        self.end += 3 - usize::from(is_near);
    }

    /// The bytes behind the block.
    #[inline]
    fn room(&mut self) -> &mut [u8; SPARE_BYTES] {
        if self.out.len() < self.end + SPARE_BYTES {
            self.grow();
        }
        // There is room: it was made above.
        self.out[self.end..].first_chunk_mut().expect("room behind the block")
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        self.out.resize(self.end + SPARE_BYTES + GROWTH_BYTES, 0);
    }
}

#[cfg(test)]
#[path = "snappy_tests.rs"]
mod tests;
