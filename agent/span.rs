//! Places in a configuration file.

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
}
