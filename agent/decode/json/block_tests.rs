//! All ways to look see what a loop over the bytes sees.

use super::*;
use proptest::prelude::*;

fn byte() -> impl Strategy<Value = u8> {
    // Neighbours of the wanted ones in one bit or by one, and what a carry would spoil.
    let near = b"\"\\#!\xa2\xdc[]/0159:\xb0\xb9\x00\x01\x7f\x80\xff".to_vec();
    prop_oneof![4 => prop::sample::select(near), 1 => any::<u8>(), 4 => Just(b'a')]
}

/// A bit for each byte that is one of the wanted ones.
fn bits(text: &[u8], is_wanted: impl Fn(usize, u8) -> bool) -> u32 {
    text.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(is_wanted(at, *byte)) << at)
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\')
}

/// What a way to look says of two windows.
struct OfTwo<'a>(&'a Window, &'a Window);

impl Task for OfTwo<'_> {
    type Answer = [u32; 3];

    #[inline(always)]
    fn run(self, look: impl Look) -> [u32; 3] {
        [look.same(self.0, self.1), look.quotes_and_backslashes(self.0), look.digits(self.0)]
    }
}

/// Where it finds the first mark from each place of a text on.
struct Marks<'a>(&'a [u8]);

impl Task for Marks<'_> {
    type Answer = Option<Vec<Option<usize>>>;

    #[inline(always)]
    fn run(self, look: impl Look) -> Self::Answer {
        let windows = Windows::over(self.0, look)?;
        Some((0..=self.0.len()).map(|at| windows.quote_or_backslash(at)).collect())
    }
}

/// Which bytes it finds the same as those at the beginning, from each place of a text on, and which of them are digits.
struct Sames<'a>(&'a [u8]);

impl Task for Sames<'_> {
    type Answer = Vec<Option<(u32, u32)>>;

    #[inline(always)]
    fn run(self, look: impl Look) -> Self::Answer {
        let windows = Windows::over(self.0, look).expect("a window");
        let first = self.0.first_chunk().expect("a window");
        (0..self.0.len() + 40).map(|at| windows.same(at, first).zip(windows.digits(at))).collect()
    }
}

proptest! {
    #[test]
    fn the_first_mark_of_a_block_is_found(block in prop::array::uniform16(byte())) {
        prop_assert_eq!(first_quote_or_backslash(&block), block.iter().position(|byte| is_mark(*byte)));
        prop_assert_eq!(words::quotes_and_backslashes(&block), bits(&block, |_, byte| is_mark(byte)));
    }

    #[test]
    fn all_ways_say_the_same_of_a_window(
        one in prop::array::uniform32(byte()), changes in prop::collection::vec((0..WINDOW_BYTES, byte()), 0..4),
    ) {
        let mut other = one;
        changes.into_iter().for_each(|(at, byte)| other[at] = byte);
        let wanted = [
            bits(&one, |at, byte| byte == other[at]), bits(&one, |_, byte| is_mark(byte)), bits(&one, |_, byte| byte.is_ascii_digit()),
        ];
        for looks in Looks::all() {
            prop_assert_eq!(looks.run(OfTwo(&one, &other)), wanted, "{:?}", looks);
        }
    }

    #[test]
    fn marks_are_found_from_every_place_of_a_text(
        len in 0..140_usize, marks in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"\"\\"[..])), 0..4),
    ) {
        let mut text = vec![b'a'; len];
        if len > 0 {
            marks.into_iter().for_each(|(at, mark)| text[at.index(len)] = mark);
        }
        let first = |at: usize| text[at..].iter().position(|byte| is_mark(*byte)).map(|behind| at + behind);
        let wanted = (len >= WINDOW_BYTES).then(|| (0..=len).map(first).collect());
        for looks in Looks::all() {
            prop_assert_eq!(looks.run(Marks(&text)), wanted.clone(), "{:?}", looks);
        }
    }

    #[test]
    fn no_window_reaches_beyond_its_text(text in prop::collection::vec(byte(), 32..100)) {
        let wanted: Vec<_> = (0..text.len() + 40)
            .map(|at| {
                let window = text.get(at..at + WINDOW_BYTES)?;
                Some((bits(window, |at, byte| byte == text[at]), bits(window, |_, byte| byte.is_ascii_digit())))
            })
            .collect();
        for looks in Looks::all() {
            prop_assert_eq!(looks.run(Sames(&text)), wanted.clone(), "{:?}", looks);
        }
    }
}
