//! Places in a configuration file.

use std::ops::Range;

/// A stretch of a text file, as an editor counts it: lines and columns start at 1, columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Line of the first character, from 1. 0 means "the file as a whole".
    pub line: u32,
    /// Column of the first character, from 1.
    pub column: u32,
    /// Characters on that line that the span covers, at least 1.
    pub width: u32,
}

impl Span {
    /// The file as a whole: for what is missing from it.
    pub const FILE: Span = Span { line: 0, column: 0, width: 0 };

    pub fn new(line: u32, column: u32, width: u32) -> Self {
        Span { line, column, width: width.max(1) }
    }

    /// The place of some bytes of a text that stands at `self`. A quoted text counts from behind its quote; one with
    /// escapes, or of several lines, stands differently in the file than it reads, so its whole place is given.
    pub fn inside(self, text: &str, at: Range<usize>) -> Span {
        let quotes = match (self.width as usize).checked_sub(text.chars().count()) {
            Some(0) => 0,
            Some(2) => 1,
            _ => return self,
        };
        if self.line == 0 || text.contains('\n') {
            return self;
        }
        let characters = |range: Range<usize>| text[range].chars().count() as u32;
        Span::new(self.line, self.column + quotes + characters(0..at.start), characters(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_stands_differently_in_the_file_is_marked_whole() {
        let span = Span::new(4, 5, 9);
        assert_eq!(span.inside("{app=\n}", 2..3), span);
        assert_eq!(span.inside("{app}", 2..3), span);
        assert_eq!(Span::new(4, 5, 8).inside("{éé=\"a\"}", 5..6), Span::new(4, 8, 1));
        assert_eq!(span.inside("{é=\"a\"}", 4..5), Span::new(4, 9, 1));
        assert_eq!(span.inside("{app=\"a\"}", 1..4), Span::new(4, 6, 3));
        assert_eq!(span.inside("{app=\"a\"}", 9..9), Span::new(4, 14, 1));
    }
}
