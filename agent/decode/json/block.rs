//! Many bytes at a time: where quotes and backslashes stand among them, and which are those of another text.
//!
//! There are blocks of sixteen bytes, for texts of any length, and windows of 32, through which a learned picker looks at
//! a line. On x86-64 vector comparisons tell it. SSE2 is part of that architecture; AVX2 is chosen at run time, for windows.
//! Elsewhere the same is done in wide numbers.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as x86;

pub(super) const BLOCK_BYTES: usize = 16;

/// Where the first quote or backslash stands. Most strings end within a block or two.
#[inline(always)]
pub(super) fn quote_or_backslash(text: &[u8]) -> Option<usize> {
    let (blocks, rest) = text.as_chunks();
    let mut before = 0;
    for block in blocks {
        if let Some(at) = first_quote_or_backslash(block) {
            return Some(before + at);
        }
        before += BLOCK_BYTES;
    }
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|at| before + at)
}

/// As [`quote_or_backslash`], of a short text that most likely has none: the last block overlaps the one before.
#[inline]
pub(in crate::decode) fn has_quote_or_backslash(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk() else { return quote_or_backslash(text).is_some() };
    let (blocks, _) = text.as_chunks();
    blocks.iter().chain([last]).any(|block| first_quote_or_backslash(block).is_some())
}

/// Where in a block the first quote or backslash stands.
#[inline(always)]
pub(super) fn first_quote_or_backslash(block: &[u8; BLOCK_BYTES]) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    let bits = vectors::quotes_and_backslashes(block);
    #[cfg(not(target_arch = "x86_64"))]
    let bits = words::quotes_and_backslashes(block);
    if bits == 0 { None } else { Some(bits.trailing_zeros() as usize) }
}

pub(in crate::decode) const WINDOW_BYTES: usize = 32;
pub(in crate::decode) type Window = [u8; WINDOW_BYTES];

/// What can be told of all bytes of a window at once. Each answer has a bit for each byte, of the first the lowest.
pub(in crate::decode) trait Look: Copy {
    fn same(self, one: &Window, other: &Window) -> u32;
    fn quotes_and_backslashes(self, window: &Window) -> u32;
    fn digits(self, window: &Window) -> u32;
}

/// A text of one window or more, to be looked at from any place.
pub(in crate::decode) struct Windows<'a, L> {
    text: &'a [u8],
    /// Where the last window begins, which is `WINDOW_BYTES` before the end of the text.
    last: usize,
    look: L,
}

impl<'a, L: Look> Windows<'a, L> {
    /// `None` if the text is too short.
    pub(in crate::decode) fn over(text: &'a [u8], look: L) -> Option<Self> {
        Some(Self { text, last: text.len().checked_sub(WINDOW_BYTES)?, look })
    }

    pub(super) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The window that begins at a place. No place wraps around, since a slice is no longer than `isize::MAX` bytes.
    #[inline(always)]
    #[allow(unsafe_code)]
    fn at(&self, at: usize) -> Option<&'a Window> {
        if at > self.last {
            return None;
        }
        // SAFETY: `last` never changes, and 32 bytes of the text stand behind it, so they do behind what is not greater.
        Some(unsafe { &*self.text.as_ptr().add(at).cast() })
    }

    /// Which bytes from `at` on are those of `other`, if a whole window begins there.
    #[inline(always)]
    pub(in crate::decode) fn same(&self, at: usize, other: &Window) -> Option<u32> {
        Some(self.look.same(self.at(at)?, other))
    }

    /// Which bytes from `at` on are digits, if a whole window begins there.
    #[inline(always)]
    pub(in crate::decode) fn digits(&self, at: usize) -> Option<u32> {
        Some(self.look.digits(self.at(at)?))
    }

    /// The place of the first quote or backslash at or behind `at`.
    #[inline(always)]
    pub(in crate::decode) fn quote_or_backslash(&self, at: usize) -> Option<usize> {
        self.first(at, QuoteOrBackslash)
    }

    /// The place of the first such byte at or behind `at`.
    #[inline(always)]
    pub(in crate::decode) fn byte(&self, at: usize, byte: u8) -> Option<usize> {
        self.first(at, Byte(byte))
    }

    #[inline(always)]
    fn first(&self, mut at: usize, wanted: impl Wanted) -> Option<usize> {
        while let Some(window) = self.at(at) {
            let found = wanted.bits(self.look, window);
            if found != 0 {
                return Some(at + found.trailing_zeros() as usize);
            }
            at += WINDOW_BYTES;
        }
        // The last window, without what stands in it before the place.
        let passed = at - self.last;
        if passed >= WINDOW_BYTES {
            return None;
        }
        let found = wanted.bits(self.look, self.at(self.last)?) >> passed;
        if found == 0 { None } else { Some(at + found.trailing_zeros() as usize) }
    }
}

/// What is looked for in a window. A closure would not be compiled for the chosen processor.
trait Wanted: Copy {
    fn bits(self, look: impl Look, window: &Window) -> u32;
}

#[derive(Clone, Copy)]
struct QuoteOrBackslash;

impl Wanted for QuoteOrBackslash {
    #[inline(always)]
    fn bits(self, look: impl Look, window: &Window) -> u32 {
        look.quotes_and_backslashes(window)
    }
}

#[derive(Clone, Copy)]
struct Byte(u8);

impl Wanted for Byte {
    #[inline(always)]
    fn bits(self, look: impl Look, window: &Window) -> u32 {
        look.same(window, &[self.0; WINDOW_BYTES])
    }
}

/// The ways to look that this processor has.
#[derive(Clone, Copy, Debug)]
pub(in crate::decode) enum Looks {
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Sse2,
    #[cfg(any(test, not(target_arch = "x86_64")))]
    Words,
}

/// What is done by one of the ways to look.
pub(in crate::decode) trait Task {
    type Answer;

    /// To be inlined, with all that it does for every window: only then is it compiled for the chosen processor.
    fn run(self, look: impl Look) -> Self::Answer;
}

impl Looks {
    /// The cheapest one.
    pub(in crate::decode) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        return Avx2::new().map_or(Looks::Sse2, Looks::Avx2);
        #[cfg(not(target_arch = "x86_64"))]
        return Looks::Words;
    }

    /// All of them.
    #[cfg(test)]
    pub(in crate::decode) fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        return [Looks::Words, Looks::Sse2].into_iter().chain(Avx2::new().map(Looks::Avx2)).collect();
        #[cfg(not(target_arch = "x86_64"))]
        return vec![Looks::Words];
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    pub(in crate::decode) fn run<T: Task>(self, task: T) -> T::Answer {
        match self {
            // SAFETY: there is no `Avx2` on a processor that does not have what the function is compiled for.
            #[cfg(target_arch = "x86_64")]
            Looks::Avx2(avx2) => unsafe { avx2.run(task) },
            #[cfg(target_arch = "x86_64")]
            Looks::Sse2 => task.run(Sse2),
            #[cfg(any(test, not(target_arch = "x86_64")))]
            Looks::Words => task.run(Words),
        }
    }
}

/// The proof that this processor has AVX2 and BMI1.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(in crate::decode) struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1")).then_some(Self(()))
    }

    #[target_feature(enable = "avx2,bmi1")]
    fn run<T: Task>(self, task: T) -> T::Answer {
        task.run(self)
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
impl Look for Avx2 {
    #[inline(always)]
    fn same(self, one: &Window, other: &Window) -> u32 {
        // SAFETY: the loads read the 32 bytes that a window is, from any address; the rest works on registers. `self` says
        // that the processor has AVX2.
        unsafe {
            let (one, other) =
                (x86::_mm256_loadu_si256(one.as_ptr().cast()), x86::_mm256_loadu_si256(other.as_ptr().cast()));
            x86::_mm256_movemask_epi8(x86::_mm256_cmpeq_epi8(one, other)) as u32
        }
    }

    #[inline(always)]
    fn quotes_and_backslashes(self, window: &Window) -> u32 {
        // SAFETY: as above.
        unsafe {
            let bytes = x86::_mm256_loadu_si256(window.as_ptr().cast());
            let quotes = x86::_mm256_cmpeq_epi8(bytes, x86::_mm256_set1_epi8(b'"' as i8));
            let backslashes = x86::_mm256_cmpeq_epi8(bytes, x86::_mm256_set1_epi8(b'\\' as i8));
            x86::_mm256_movemask_epi8(x86::_mm256_or_si256(quotes, backslashes)) as u32
        }
    }

    #[inline(always)]
    fn digits(self, window: &Window) -> u32 {
        // SAFETY: as above.
        unsafe {
            let bytes = x86::_mm256_loadu_si256(window.as_ptr().cast());
            let values = x86::_mm256_sub_epi8(bytes, x86::_mm256_set1_epi8(b'0' as i8));
            let digits = x86::_mm256_min_epu8(values, x86::_mm256_set1_epi8(9));
            x86::_mm256_movemask_epi8(x86::_mm256_cmpeq_epi8(values, digits)) as u32
        }
    }
}

/// Every x86-64 has this.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Sse2;

#[cfg(target_arch = "x86_64")]
impl Look for Sse2 {
    #[inline(always)]
    fn same(self, one: &Window, other: &Window) -> u32 {
        let ([first, second], [first_other, second_other]) = (halves(one), halves(other));
        vectors::same(first, first_other) | vectors::same(second, second_other) << BLOCK_BYTES
    }

    #[inline(always)]
    fn quotes_and_backslashes(self, window: &Window) -> u32 {
        let [first, second] = halves(window);
        vectors::quotes_and_backslashes(first) | vectors::quotes_and_backslashes(second) << BLOCK_BYTES
    }

    #[inline(always)]
    fn digits(self, window: &Window) -> u32 {
        let [first, second] = halves(window);
        vectors::digits(first) | vectors::digits(second) << BLOCK_BYTES
    }
}

#[inline(always)]
fn halves(window: &Window) -> [&[u8; BLOCK_BYTES]; 2] {
    let (halves, _) = window.as_chunks();
    [&halves[0], &halves[1]]
}

/// Blocks by SSE2.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod vectors {
    use super::BLOCK_BYTES;
    use super::x86::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8, _mm_sub_epi8,
    };

    #[inline(always)]
    pub(super) fn same(one: &[u8; BLOCK_BYTES], other: &[u8; BLOCK_BYTES]) -> u32 {
        // SAFETY: the loads read the sixteen bytes that a block is, from any address; the rest works on registers. All of
        // it is SSE2, which every x86-64 has.
        unsafe {
            let (one, other) = (_mm_loadu_si128(one.as_ptr().cast()), _mm_loadu_si128(other.as_ptr().cast()));
            _mm_movemask_epi8(_mm_cmpeq_epi8(one, other)) as u32
        }
    }

    #[inline(always)]
    pub(super) fn quotes_and_backslashes(block: &[u8; BLOCK_BYTES]) -> u32 {
        // SAFETY: as above.
        unsafe {
            let bytes = _mm_loadu_si128(block.as_ptr().cast());
            let quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
            let backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
            _mm_movemask_epi8(_mm_or_si128(quotes, backslashes)) as u32
        }
    }

    #[inline(always)]
    pub(super) fn digits(block: &[u8; BLOCK_BYTES]) -> u32 {
        // SAFETY: as above.
        unsafe {
            let bytes = _mm_loadu_si128(block.as_ptr().cast());
            let values = _mm_sub_epi8(bytes, _mm_set1_epi8(b'0' as i8));
            let digits = _mm_min_epu8(values, _mm_set1_epi8(9));
            _mm_movemask_epi8(_mm_cmpeq_epi8(values, digits)) as u32
        }
    }
}

/// Eight bytes as a number, for processors of which nothing else is known.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[derive(Clone, Copy)]
struct Words;

#[cfg(any(test, not(target_arch = "x86_64")))]
impl Look for Words {
    #[inline(always)]
    fn same(self, one: &Window, other: &Window) -> u32 {
        words::same(one, other)
    }

    #[inline(always)]
    fn quotes_and_backslashes(self, window: &Window) -> u32 {
        words::quotes_and_backslashes(window)
    }

    #[inline(always)]
    fn digits(self, window: &Window) -> u32 {
        words::digits(window)
    }
}

/// Texts of whole words, at most four. The highest bit of each byte of a word is its mark.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod words {
    const LOW: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = LOW << 7;

    #[inline(always)]
    pub(super) fn same(one: &[u8], other: &[u8]) -> u32 {
        let pairs = one.as_chunks().0.iter().zip(other.as_chunks().0);
        pairs.rev().fold(0, |bits, (one, other)| {
            bits << 8 | bits_of(zeros(u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other)))
        })
    }

    #[inline(always)]
    pub(super) fn quotes_and_backslashes(text: &[u8]) -> u32 {
        marked(text, |word| zeros(word ^ (LOW * b'"' as u64)) | zeros(word ^ (LOW * b'\\' as u64)))
    }

    #[inline(always)]
    pub(super) fn digits(text: &[u8]) -> u32 {
        marked(text, |word| at_least(word, b'0') & !at_least(word, b'9' + 1) & !word & HIGH)
    }

    #[inline(always)]
    fn marked(text: &[u8], mark: impl Fn(u64) -> u64) -> u32 {
        let words = text.as_chunks().0.iter();
        words.rev().fold(0, |bits, word| bits << 8 | bits_of(mark(u64::from_le_bytes(*word))))
    }

    /// Marks the bytes that are zero: neither their lower seven bits carry into the highest, nor is that set.
    #[inline(always)]
    fn zeros(word: u64) -> u64 {
        !(((word & !HIGH) + !HIGH) | word) & HIGH
    }

    /// Marks the bytes of which the lower seven bits are at least this number, by carrying into the highest.
    #[inline(always)]
    fn at_least(word: u64, least: u8) -> u64 {
        ((word & !HIGH) + LOW * u64::from(0x80 - least)) & HIGH
    }

    /// The marks side by side: each is shifted into the uppermost byte, to a place of its own.
    #[inline(always)]
    fn bits_of(marks: u64) -> u32 {
        ((marks >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
