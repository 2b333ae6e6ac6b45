//! Texts and values as ranges: what a stage extracts is never copied, it is pointed at.

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

/// A stretch of bytes in one of the places. Lines are at most 256 KiB, so 32 bits suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    pub place: Place,
    pub start: u32,
    pub end: u32,
}

impl Default for Text {
    fn default() -> Self {
        Text::EMPTY
    }
}

impl Text {
    /// A text of no bytes.
    pub const EMPTY: Text = Text { place: Place::Fixed, start: 0, end: 0 };

    pub fn new(place: Place, start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        Text { place, start: start as u32, end: end as u32 }
    }

    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether the same place holds the same bytes in every line of a source.
    pub fn lasts(self) -> bool {
        matches!(self.place, Place::Target | Place::Fixed)
    }

    /// The part `from..to` of this text.
    pub fn slice(&self, from: usize, to: usize) -> Text {
        debug_assert!(from <= to && to <= self.len());
        Text { place: self.place, start: self.start + from as u32, end: self.start + to as u32 }
    }

    /// The text of `part`, a sub-slice of `whole`, which are the bytes of `self`: how the borrowed parts that a
    /// decoder hands out become texts of the record.
    pub fn part(&self, whole: &[u8], part: &[u8]) -> Text {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_their_place() {
        let whole = b"GET /index.html";
        let line = Text::new(Place::Input, 100, 100 + whole.len());
        let part = line.part(whole, &whole[4..]);
        assert_eq!((part.start, part.end), (104, 115));
        assert_eq!(line.part(whole, &whole[3..3]), Text::EMPTY);
        assert_eq!(line.slice(0, 3).len(), 3);
    }
}
