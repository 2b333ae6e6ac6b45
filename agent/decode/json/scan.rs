//! Walking over JSON text: tokens and whole values, checked as they are passed. No recursion, no allocation.

use memchr::memchr2;

use super::{Field, Malformed};
use crate::decode::number;

/// How many objects and arrays may stand open: json-iterator's limit of 10,000, and the outermost object, which it
/// doesn't count.
const DEPTH_MAX: usize = 10_001;

/// A place in a line. `STRICT` in the methods is [`super::Mode::Strict`].
pub(super) struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
    /// The line has bytes below 0x20 somewhere, so that strings must be looked at for them.
    control: bool,
}

/// A string's bytes between its quotes.
#[derive(Clone, Copy)]
pub(super) struct Quoted<'a> {
    pub(super) raw: &'a [u8],
    pub(super) escaped: bool,
}

/// What a walk over a value reports, in the order of the text.
pub(super) trait Visitor<'a> {
    fn open(&mut self, bracket: u8);
    fn key(&mut self, key: Quoted<'a>);
    fn scalar(&mut self, value: Field<'a>);
    fn close(&mut self);
}

/// For values that nobody wants the inside of.
struct Unseen;

impl<'a> Visitor<'a> for Unseen {
    fn open(&mut self, _: u8) {}
    fn key(&mut self, _: Quoted<'a>) {}
    fn scalar(&mut self, _: Field<'a>) {}
    fn close(&mut self) {}
}

impl<'a> Cursor<'a> {
    pub(super) fn new<const STRICT: bool>(line: &'a [u8]) -> Self {
        // One pass of vector code here is cheaper than a look at each string.
        let control = STRICT && line.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < b' ';
        Self { line, at: 0, control }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.line[start..self.at]
    }

    /// The next byte that is no white space, or 0 at the end (where a NUL stands no token may either).
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        while let Some(&byte) = self.line.get(self.at) {
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    /// Passes the byte that [`peek`](Self::peek) has shown.
    #[inline]
    pub(super) fn pass(&mut self) {
        self.at += 1;
    }

    /// Nothing may follow the value, but what json-iterator overlooks.
    pub(super) fn finish<const STRICT: bool>(&mut self) -> Result<(), Malformed> {
        if self.peek() == 0 && (STRICT || self.at == self.line.len()) { Ok(()) } else { Err(Malformed) }
    }

    /// A key and its colon. json-iterator lets a bare `null` stand for a key that isn't the `first` of a nested object.
    #[inline]
    pub(super) fn key<const STRICT: bool>(&mut self, first: bool) -> Result<Quoted<'a>, Malformed> {
        let key = match self.peek() {
            b'"' => self.string::<STRICT>()?,
            b'n' if !first => {
                self.literal(b"null")?;
                Quoted { raw: b"", escaped: false }
            }
            _ => return Err(Malformed),
        };
        if self.peek() != b':' {
            return Err(Malformed);
        }
        self.pass();
        Ok(key)
    }

    pub(super) fn literal(&mut self, text: &[u8]) -> Result<(), Malformed> {
        if !self.line[self.at..].starts_with(text) {
            return Err(Malformed);
        }
        self.at += text.len();
        Ok(())
    }

    /// Any value; `depth` objects stand open around it.
    #[inline]
    pub(super) fn value<const STRICT: bool>(&mut self, depth: usize) -> Result<Field<'a>, Malformed> {
        match self.peek() {
            b'{' | b'[' => {
                let start = self.at;
                self.walk::<STRICT>(depth, &mut Unseen)?;
                Ok(Field::Composite(self.since(start)))
            }
            other => self.scalar::<STRICT>(other),
        }
    }

    #[inline]
    fn scalar<const STRICT: bool>(&mut self, first: u8) -> Result<Field<'a>, Malformed> {
        if first == b'"' {
            let Quoted { raw, escaped } = self.string::<STRICT>()?;
            return Ok(Field::Text { raw, escaped });
        }
        if !STRICT {
            return self.bare();
        }
        match first {
            b'-' | b'0'..=b'9' => self.number().map(Field::Number),
            b't' => self.literal(b"true").map(|()| Field::Bool(true)),
            b'f' => self.literal(b"false").map(|()| Field::Bool(false)),
            b'n' => self.literal(b"null").map(|()| Field::Null),
            _ => Err(Malformed),
        }
    }

    /// From an opening quote past the closing one.
    #[inline]
    fn string<const STRICT: bool>(&mut self) -> Result<Quoted<'a>, Malformed> {
        let start = self.at + 1;
        let stop = quote_or_backslash(self.line, start).ok_or(Malformed)?;
        if self.control && self.line[start..stop].iter().any(|byte| *byte < b' ') {
            return Err(Malformed);
        }
        let escaped = self.line[stop] == b'\\';
        let end = if escaped { self.escaped_end::<STRICT>(stop)? } else { stop };
        self.at = end + 1;
        Ok(Quoted { raw: &self.line[start..end], escaped })
    }

    /// The closing quote of a string whose first backslash stands at `at`.
    #[cold]
    fn escaped_end<const STRICT: bool>(&self, mut at: usize) -> Result<usize, Malformed> {
        loop {
            let escape = &self.line[at + 1..];
            at += match escape.first().ok_or(Malformed)? {
                b'u' if STRICT && !escape.get(1..5).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => {
                    return Err(Malformed);
                }
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' | b'u' => 2,
                _ if STRICT => return Err(Malformed),
                _ => 2,
            };
            at = quote_or_backslash(self.line, at).ok_or(Malformed)?;
            if self.line[at] == b'"' {
                return Ok(at);
            }
        }
    }

    fn number(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        if self.line[self.at] == b'-' {
            self.at += 1;
        }
        let leading_zero = self.line.get(self.at) == Some(&b'0');
        let whole = self.digits()?;
        if leading_zero && whole > 1 {
            return Err(Malformed);
        }
        if self.line.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        let exponent = matches!(self.line.get(self.at), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            if matches!(self.line.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let raw = self.since(start);
        // The largest float64 has 309 digits before the point.
        if (exponent || whole > 308) && number::parse_f64(raw).is_none() {
            return Err(Malformed);
        }
        Ok(raw)
    }

    /// Passes digits, at least one, and counts them.
    fn digits(&mut self) -> Result<usize, Malformed> {
        let start = self.at;
        while self.line.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at > start { Ok(self.at - start) } else { Err(Malformed) }
    }

    /// What a format string has put where a value should be, up to the next comma or closing bracket.
    fn bare(&mut self) -> Result<Field<'a>, Malformed> {
        let start = self.at;
        let mut end = start;
        loop {
            match *self.line.get(self.at).ok_or(Malformed)? {
                b',' | b'}' | b']' => break,
                // The beginning of something else: a comma is missing, or the line is torn.
                b'"' | b'{' | b'[' => return Err(Malformed),
                byte => {
                    self.at += 1;
                    if byte > b' ' {
                        end = self.at;
                    }
                }
            }
        }
        Ok(match &self.line[start..end] {
            b"null" => Field::Null,
            b"true" => Field::Bool(true),
            b"false" => Field::Bool(false),
            raw => Field::Number(raw),
        })
    }

    /// Passes a value and tells `visitor` of its parts. `depth` as in [`value`](Self::value).
    pub(super) fn walk<const STRICT: bool>(
        &mut self,
        depth: usize,
        visitor: &mut impl Visitor<'a>,
    ) -> Result<(), Malformed> {
        let mut open = Nesting::new(depth);
        loop {
            // Here a value begins.
            match self.peek() {
                bracket @ (b'{' | b'[') => {
                    self.pass();
                    open.push(bracket)?;
                    visitor.open(bracket);
                    if self.peek() != closing(bracket) {
                        if bracket == b'{' {
                            visitor.key(self.key::<STRICT>(depth + open.len > 1)?);
                        }
                        continue;
                    }
                }
                first => {
                    let value = self.scalar::<STRICT>(first)?;
                    visitor.scalar(value);
                }
            }
            // Here one has ended, or an empty bracket is about to close.
            loop {
                let Some(bracket) = open.innermost() else { return Ok(()) };
                match self.peek() {
                    b',' => {
                        self.pass();
                        if bracket == b'{' {
                            visitor.key(self.key::<STRICT>(false)?);
                        }
                        break;
                    }
                    byte if byte == closing(bracket) => {
                        self.pass();
                        open.pop();
                        visitor.close();
                    }
                    _ => return Err(Malformed),
                }
            }
        }
    }
}

fn closing(bracket: u8) -> u8 {
    if bracket == b'{' { b'}' } else { b']' }
}

/// The brackets that stand open: a bit each, set for an object.
struct Nesting {
    objects: [u64; DEPTH_MAX.div_ceil(64)],
    len: usize,
    len_max: usize,
}

impl Nesting {
    fn new(depth: usize) -> Self {
        Self { objects: [0; DEPTH_MAX.div_ceil(64)], len: 0, len_max: DEPTH_MAX.saturating_sub(depth) }
    }

    fn push(&mut self, bracket: u8) -> Result<(), Malformed> {
        if self.len == self.len_max {
            return Err(Malformed);
        }
        let (word, bit) = (self.len / 64, 1 << (self.len % 64));
        self.objects[word] = if bracket == b'{' { self.objects[word] | bit } else { self.objects[word] & !bit };
        self.len += 1;
        Ok(())
    }

    fn pop(&mut self) {
        self.len -= 1;
    }

    fn innermost(&self) -> Option<u8> {
        let last = self.len.checked_sub(1)?;
        Some(if self.objects[last / 64] >> (last % 64) & 1 == 1 { b'{' } else { b'[' })
    }
}

/// Where the first quote or backslash stands from `at` on. Most strings are short, so eight bytes are looked at in one
/// word before memchr, made for long ones, is worth its call.
#[inline]
fn quote_or_backslash(line: &[u8], mut at: usize) -> Option<usize> {
    const QUOTES: u64 = 0x2222_2222_2222_2222;
    const BACKSLASHES: u64 = 0x5c5c_5c5c_5c5c_5c5c;
    for _ in 0..4 {
        let Some(chunk) = line.get(at..).and_then(|rest| rest.first_chunk()) else { break };
        let word = u64::from_le_bytes(*chunk);
        let found = zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr2(b'"', b'\\', line.get(at..)?).map(|found| at + found)
}

/// The high bit of every byte that is zero. A borrow can mark bytes above a zero byte too; the lowest mark is true.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(0x0101_0101_0101_0101) & !word & 0x8080_8080_8080_8080
}
