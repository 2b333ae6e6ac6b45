//! JSON as Promtail reads it, without building a document: a [`Picker`] finds the wanted fields of an object in one
//! pass and borrows them; an [`Expression`] is the slow way for what is more than a path.
//!
//! Promtail decodes with json-iterator, whose grammar is JSON's but for these points, kept here because they decide
//! which lines count as malformed: control characters are refused in a string up to its first escape only; invalid
//! UTF-8 is let through; a number past the range of a float64 is an error; a key may be a bare `null` (it reads as the
//! empty key) except as the first of a nested object; `null` alone is an object without fields; a NUL byte ends the
//! input. The one difference left: `-+1`, which json-iterator takes for a number, is malformed here.

pub(super) mod block;
mod document;
mod expression;
mod found;
mod keys;
mod learned;
mod order;
mod picker;
mod scan;
#[cfg(test)]
mod tests;
mod text;

pub use document::write_compact;
pub use expression::{Expression, Extracted};
pub use found::{Found, Kind, PATHS_MAX, Span};
pub use learned::LearningPicker;
pub use picker::Picker;
pub(super) use text::unescape_string;
pub use text::{quote, unescape};

/// What a path leads to, as written in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// There is no such key.
    Missing,
    /// The key is there, with `null`.
    Null,
    Bool(bool),
    /// The digits. In [`Mode::Lenient`] any bare text that is no other JSON value, even an empty one.
    Number(&'a [u8]),
    /// `raw` stands between the quotes; it is the text itself unless `escaped`, then see [`unescape`]. Any bytes.
    Text {
        raw: &'a [u8],
        escaped: bool,
    },
    /// An object or an array with its brackets; see [`write_compact`].
    Composite(&'a [u8]),
}

/// How much of a departure from JSON is forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Promtail's json stage: takes and refuses what it does.
    Strict,
    /// Access logs written by a format string. Bare values that are no JSON (`009`, `-`, nothing) are numbers as they
    /// stand; strings may hold control characters and escapes that JSON doesn't know (`\x22`).
    Lenient,
}

/// The line is not one object of the wanted grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;
