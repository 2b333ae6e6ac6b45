//! Texts and values as ranges: what a stage extracts is never copied, it is pointed at.

use crate::decode::cri::Stream;
use std::num::NonZeroU64;
use std::ops::Range;

/// Where the bytes of a text stand. A record knows the places by this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the line as it was read.
    Input,
    /// In the record's scratch space, which lasts for one record.
    Scratch,
    /// Among the constants of the pipeline.
    Fixed,
    /// Among the labels of the target.
    Target,
}

/// A stretch of bytes in one of the places, in one word: it is copied and compared at once, and so is an `Option` of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text(NonZeroU64);

// From the lowest bit: where it ends (32 bits), the place (2 bits), a bit that is always set, and where it begins (29 bits).
// Lines are at most 256 KiB, and no place has more than a few of them.
const PLACE_BIT: u32 = 32;
const START_BIT: u32 = 35;
/// The bit that is always set.
const SET: NonZeroU64 = NonZeroU64::MIN.saturating_add((1 << 34) - 1);

impl Default for Text {
    fn default() -> Self {
        Text::EMPTY
    }
}

impl Text {
    /// A text of no bytes.
    pub const EMPTY: Text = Text(SET.saturating_add((Place::Fixed as u64) << PLACE_BIT));

    #[inline]
    pub fn new(place: Place, start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end < 1 << (64 - START_BIT));
        Text(SET | (place as u64) << PLACE_BIT | (start as u64) << START_BIT | u64::from(end as u32))
    }

    #[inline]
    pub fn place(self) -> Place {
        match self.0.get() >> PLACE_BIT & 3 {
            0 => Place::Input,
            1 => Place::Scratch,
            2 => Place::Fixed,
            _ => Place::Target,
        }
    }

    /// Whether it is a part of the line as it was read, as nearly all are.
    #[inline]
    pub fn is_input(self) -> bool {
        self.0.get() & 3 << PLACE_BIT == 0
    }

    /// From where to where it stands in its place.
    #[inline]
    pub fn range(self) -> Range<usize> {
        (self.0.get() >> START_BIT) as usize..self.0.get() as u32 as usize
    }

    #[inline]
    pub fn len(self) -> usize {
        self.range().len()
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.range().is_empty()
    }

    /// Whether the same place holds the same bytes in every line of a source.
    pub fn lasts(self) -> bool {
        matches!(self.place(), Place::Target | Place::Fixed)
    }

    /// The part `from..to` of this text.
    #[inline]
    pub fn slice(self, from: usize, to: usize) -> Text {
        debug_assert!(from <= to && to <= self.len());
        let whole = self.0.get();
        let begin = whole >> PLACE_BIT << PLACE_BIT | whole >> START_BIT;
        Text(SET | (begin + ((from as u64) << START_BIT) + to as u64))
    }

    /// This text and so many bytes behind it.
    pub fn and_behind(self, count: usize) -> Text {
        let Range { start, end } = self.range();
        Text::new(self.place(), start, end + count)
    }

    /// The text of `part`, a sub-slice of `whole`, which are the bytes of `self`: how the borrowed parts that a
    /// decoder hands out become texts of the record.
    pub fn part(self, whole: &[u8], part: &[u8]) -> Text {
        if part.is_empty() {
            return Text::EMPTY;
        }
        let from = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        debug_assert!(from + part.len() <= whole.len(), "the part does not lie within the whole");
        self.slice(from, from + part.len())
    }
}

/// An extracted value: what Promtail keeps in its `extracted` map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// The name is not in the map.
    Missing,
    /// The name is there without a value: JSON's null, or a path that leads nowhere.
    Nil,
    Bool(bool),
    /// A JSON number as it was written; as text it reads as Go prints its float64.
    Number(Text),
    /// A number that a stage has worked out; as text it reads as Go prints it.
    Float(f64),
    Text(Text),
}

impl Value {
    /// Whether the name is in the map, with or without a value.
    pub fn is_present(&self) -> bool {
        !matches!(self, Value::Missing)
    }
}

/// What a container runtime's line holds behind its prefix, joined with the pieces before it.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    pub text: Text,
    /// Bytes at its end that this very line holds, up to the end of the line.
    pub own: usize,
    pub stream: Stream,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_their_place() {
        let whole = b"GET /index.html";
        let line = Text::new(Place::Input, 100, 100 + whole.len());
        let part = line.part(whole, &whole[4..]);
        assert_eq!((part.place(), part.range()), (Place::Input, 104..115));
        assert_eq!(line.part(whole, &whole[3..3]), Text::EMPTY);
        assert_eq!(line.slice(0, 3).len(), 3);
    }
}
