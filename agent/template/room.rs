//! Where a template works: texts that are made on the way, and what is printed. All of it is used again, line for line.

use std::io;
use std::ops::Range;

/// Bytes of one text, printed or made on the way: four times what Loki takes for a line. What is longer is cut: a line
/// of a client may make `repeat` or `Replace` grow without end, and nothing may take the memory.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Bytes of all texts that one action makes on its way.
const TEXTS_BYTES_MAX: usize = 8 << 20;
/// Parts into which a text is split.
const ITEMS_MAX: usize = 1 << 16;
/// What a buffer keeps for the next line: few lines need more.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// A text that grows to [`TEXT_BYTES_MAX`] at most, and says when that was not enough.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    cut: bool,
}

impl Buffer {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.cut = false;
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let room = TEXT_BYTES_MAX - self.bytes.len();
        if self.cut || bytes.len() <= room {
            self.bytes.extend_from_slice(if self.cut { b"" } else { bytes });
            return;
        }
        self.cut = true;
        self.bytes.extend_from_slice(&bytes[..border(bytes, room)]);
    }

    pub fn push_char(&mut self, c: char) {
        self.push(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether something did not fit.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Puts so many of a byte in at `at`.
    pub(super) fn fill(&mut self, at: usize, count: usize, byte: u8) {
        for _ in 0..count {
            self.push(&[byte]);
        }
        let count = count.min(self.bytes.len() - at);
        self.bytes[at..].rotate_right(count);
    }

    /// Says that something did not fit; nothing comes behind it.
    pub fn set_cut(&mut self) {
        self.cut = true;
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The last border of a character at or before `at`.
fn border(bytes: &[u8], at: usize) -> usize {
    (at.saturating_sub(3)..=at).rev().find(|at| bytes[*at] & 0xc0 != 0x80).unwrap_or(at)
}

/// What an expression gives. Its text stands in the [`Texts`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A missing key, or `nil`.
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text),
    List(List),
    /// What `split` gives: a map of `_0`, `_1` and so on.
    Parts(List),
}

/// A stretch of the texts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Text {
    start: u32,
    end: u32,
}

impl Text {
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub fn slice(self, range: Range<usize>) -> Text {
        debug_assert!(range.start <= range.end && range.end <= self.len());
        Text { start: self.start + range.start as u32, end: self.start + range.end as u32 }
    }
}

/// A stretch of the items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct List {
    start: u32,
    end: u32,
}

impl List {
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// The texts that were made since the action began.
#[derive(Debug, Default)]
pub struct Texts {
    made: Vec<u8>,
    items: Vec<Text>,
    spare: Buffer,
    cut: bool,
}

/// How much there was, to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    made: usize,
    items: usize,
}

impl Texts {
    pub fn clear(&mut self) {
        self.release(Mark { made: 0, items: 0 });
        self.made.shrink_to(KEPT_BYTES_MAX);
        self.items.shrink_to(KEPT_BYTES_MAX / size_of::<Text>());
        self.cut = false;
    }

    pub fn mark(&self) -> Mark {
        Mark { made: self.made.len(), items: self.items.len() }
    }

    /// Forgets what was made since then.
    pub fn release(&mut self, mark: Mark) {
        self.made.truncate(mark.made);
        self.items.truncate(mark.items);
    }

    /// Whether a text did not fit.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    pub fn get(&self, text: Text) -> &[u8] {
        &self.made[text.start as usize..text.end as usize]
    }

    pub fn items(&self, list: List) -> &[Text] {
        &self.items[list.start as usize..list.end as usize]
    }

    /// Takes a text in.
    pub fn copy(&mut self, bytes: &[u8]) -> Text {
        let room = TEXTS_BYTES_MAX - self.made.len();
        let fits = if bytes.len() <= room { bytes.len() } else { border(bytes, room) };
        self.cut |= fits < bytes.len();
        let start = self.made.len() as u32;
        self.made.extend_from_slice(&bytes[..fits]);
        Text { start, end: self.made.len() as u32 }
    }

    /// Makes a text of those that are there.
    pub fn make(&mut self, write: impl FnOnce(&Texts, &mut Buffer)) -> Text {
        let mut spare = std::mem::take(&mut self.spare);
        spare.clear();
        write(self, &mut spare);
        self.cut |= spare.is_cut();
        let text = self.copy(spare.bytes());
        self.spare = spare;
        text
    }

    /// A list of parts of one text, cut by another. Past [`ITEMS_MAX`] they are left out.
    pub fn list(
        &mut self,
        text: Text,
        separator: Text,
        cut: impl FnOnce(&[u8], &[u8], &mut dyn FnMut(Range<usize>)),
    ) -> List {
        let Texts { made, items, cut: full, .. } = self;
        let start = items.len();
        let bytes = |text: Text| &made[text.start as usize..text.end as usize];
        cut(bytes(text), bytes(separator), &mut |range| {
            if items.len() < ITEMS_MAX {
                items.push(text.slice(range));
            } else {
                *full = true;
            }
        });
        List { start: start as u32, end: items.len() as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_at_its_limit_between_two_characters() {
        let mut buffer = Buffer::default();
        buffer.push(&vec![b'a'; TEXT_BYTES_MAX - 1]);
        assert!(!buffer.is_cut());
        buffer.push("é".as_bytes());
        assert_eq!((buffer.len(), buffer.is_cut()), (TEXT_BYTES_MAX - 1, true));
        buffer.push(b"b");
        assert_eq!(buffer.len(), TEXT_BYTES_MAX - 1, "nothing comes behind a hole");
        buffer.clear();
        buffer.push(&[0xbf; TEXT_BYTES_MAX + 1]);
        assert_eq!(buffer.len(), TEXT_BYTES_MAX, "bytes that are no text have no borders");
    }

    #[test]
    fn all_texts_together_have_a_limit() {
        let mut texts = Texts::default();
        for _ in 0..TEXTS_BYTES_MAX / TEXT_BYTES_MAX {
            texts.copy(&vec![b'a'; TEXT_BYTES_MAX]);
        }
        assert!(!texts.is_cut());
        assert_eq!((texts.copy(b"b").len(), texts.is_cut()), (0, true));
        texts.clear();
        assert_eq!((texts.copy(b"b").len(), texts.is_cut()), (1, false));
        assert!(texts.made.capacity() <= KEPT_BYTES_MAX);
    }
}
