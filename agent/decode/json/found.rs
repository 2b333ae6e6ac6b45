//! What was picked out of a line: where it stands there.

use super::Field;
use super::picker::Slots;

/// Paths that one [`LearningPicker`](super::LearningPicker) can have.
pub const PATHS_MAX: usize = 64;

/// What the paths lead to in one line, by their numbers. It is kept from line to line, and so holds places and no bytes.
pub struct Found {
    /// A bit for each path that leads somewhere.
    paths: u64,
    /// A bit for each path that led to something else than a plain text or a number, if only to a first value of a key that
    /// stands there twice.
    odd: u64,
    spans: Box<[Span; PATHS_MAX]>,
}

/// A value of the line, from where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

/// See [`Field`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    /// A text with an escape.
    Escaped,
    Null,
    True,
    False,
    Composite,
}

impl Found {
    pub(super) fn new() -> Self {
        Self { paths: 0, odd: 0, spans: Box::new([Span { kind: Kind::Text, start: 0, end: 0 }; PATHS_MAX]) }
    }

    /// A bit for each path that leads to a value, of the first the lowest.
    pub fn paths(&self) -> u64 {
        self.paths
    }

    /// Whether all values are texts without escapes, and numbers.
    pub fn is_plain(&self) -> bool {
        self.odd == 0
    }

    /// What a path leads to, if it leads anywhere.
    #[inline(always)]
    pub fn get(&self, path: usize) -> Option<Span> {
        if self.paths >> (path % PATHS_MAX) & 1 == 1 { Some(self.span(path)) } else { None }
    }

    /// As [`get`](Self::get), of a path that is known to lead somewhere.
    #[inline(always)]
    pub fn span(&self, path: usize) -> Span {
        self.spans[path % PATHS_MAX]
    }

    /// As [`get`](Self::get), with the bytes of the `line` in which it was found.
    pub fn field<'a>(&self, path: usize, line: &'a [u8]) -> Field<'a> {
        let Some(Span { kind, start, end }) = self.get(path) else { return Field::Missing };
        let raw = line.get(start..end).unwrap_or_default();
        match kind {
            Kind::Null => Field::Null,
            Kind::True => Field::Bool(true),
            Kind::False => Field::Bool(false),
            Kind::Number => Field::Number(raw),
            Kind::Text => Field::Text { raw, escaped: false },
            Kind::Escaped => Field::Text { raw, escaped: true },
            Kind::Composite => Field::Composite(raw),
        }
    }

    /// Forgets the line before.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        (self.paths, self.odd) = (0, 0);
    }

    /// Puts in a plain text or number, if the path is one.
    #[inline(always)]
    pub(super) fn put_plain(&mut self, path: u8, kind: Kind, start: usize, end: usize) {
        if usize::from(path) < PATHS_MAX {
            self.spans[usize::from(path)] = Span { kind, start, end };
            self.paths |= 1 << path;
        }
    }

    /// Puts in anything.
    pub(super) fn put(&mut self, path: usize, kind: Kind, start: usize, end: usize) {
        let path = path % PATHS_MAX;
        self.spans[path] = Span { kind, start, end };
        self.paths |= 1 << path;
        if !matches!(kind, Kind::Text | Kind::Number) {
            self.odd |= 1 << path;
        }
    }

    /// To put in what is borrowed from a line.
    pub(super) fn of<'f, 'a>(&'f mut self, line: &'a [u8]) -> OfLine<'f, 'a> {
        OfLine { found: self, line }
    }
}

pub(super) struct OfLine<'f, 'a> {
    found: &'f mut Found,
    line: &'a [u8],
}

impl<'a> Slots<'a> for OfLine<'_, 'a> {
    fn put(&mut self, path: usize, value: Field<'a>) {
        let (kind, raw): (_, &[u8]) = match value {
            Field::Missing => {
                self.found.paths &= !(1 << (path % PATHS_MAX));
                return;
            }
            Field::Null => (Kind::Null, b""),
            Field::Bool(true) => (Kind::True, b""),
            Field::Bool(false) => (Kind::False, b""),
            Field::Number(raw) => (Kind::Number, raw),
            Field::Text { raw, escaped: false } => (Kind::Text, raw),
            Field::Text { raw, escaped: true } => (Kind::Escaped, raw),
            Field::Composite(raw) => (Kind::Composite, raw),
        };
        let start = if raw.is_empty() { 0 } else { raw.as_ptr() as usize - self.line.as_ptr() as usize };
        self.found.put(path, kind, start, start + raw.len());
    }
}
