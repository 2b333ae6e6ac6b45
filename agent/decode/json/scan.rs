//! Walking over JSON text: tokens and whole values, checked as they are passed. No recursion, no allocation.

use memchr::{memchr, memchr2};

use super::{Field, Malformed};
use crate::decode::number;

/// How many objects and arrays may stand open: json-iterator's limit of 10,000, and the outermost object, which it
/// doesn't count.
const DEPTH_MAX: usize = 10_001;

/// A place in a line. `STRICT` in the methods is [`super::Mode::Strict`]. What runs for every key is inlined into one
/// loop that keeps the place in a register; for that the rest takes a copy and answers with a place.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
    /// No backslash in the line and, if `STRICT`, no control character: a string ends at the next quote.
    plain: bool,
}

/// A string's bytes between its quotes.
#[derive(Clone, Copy)]
pub(super) struct Quoted<'a> {
    pub(super) raw: &'a [u8],
    pub(super) escaped: bool,
    /// See [`head`].
    pub(super) head: u64,
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
        // Two passes of vector code here are cheaper than a closer look at each string.
        let control = STRICT && line.iter().fold(false, |seen, byte| seen | (*byte < b' '));
        Self { line, at: 0, plain: !control && memchr(b'\\', line).is_none() }
    }

    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline(always)]
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.line[start..self.at]
    }

    /// The next byte that is no white space, or 0 at the end (where a NUL stands no token may either).
    #[inline(always)]
    pub(super) fn peek(&mut self) -> u8 {
        while let Some(&byte) = self.line.get(self.at) {
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    /// Goes on at `at`, where a copy has ended.
    #[inline(always)]
    pub(super) fn go(&mut self, at: usize) {
        self.at = at;
    }

    /// Passes the byte that [`peek`](Self::peek) has shown.
    #[inline(always)]
    pub(super) fn pass(&mut self) {
        self.at += 1;
    }

    /// Nothing may follow the value, but what json-iterator overlooks.
    pub(super) fn finish<const STRICT: bool>(&mut self) -> Result<(), Malformed> {
        if self.peek() == 0 && (STRICT || self.at == self.line.len()) { Ok(()) } else { Err(Malformed) }
    }

    /// A key and its colon. json-iterator lets a bare `null` stand for a key that isn't the `first` of a nested object.
    #[inline(always)]
    pub(super) fn key<const STRICT: bool>(&mut self, first: bool) -> Result<Quoted<'a>, Malformed> {
        let key = match self.peek() {
            b'"' => self.string::<STRICT>()?,
            b'n' if !first => {
                self.literal(b"null")?;
                Quoted { raw: b"", escaped: false, head: 0 }
            }
            _ => return Err(Malformed),
        };
        if self.peek() != b':' {
            return Err(Malformed);
        }
        self.pass();
        Ok(key)
    }

    #[inline(always)]
    pub(super) fn literal(&mut self, text: &[u8]) -> Result<(), Malformed> {
        if !self.line[self.at..].starts_with(text) {
            return Err(Malformed);
        }
        self.at += text.len();
        Ok(())
    }

    /// Any value; `depth` objects stand open around it.
    #[inline(always)]
    pub(super) fn value<const STRICT: bool>(&mut self, depth: usize) -> Result<Field<'a>, Malformed> {
        match self.peek() {
            b'{' | b'[' => {
                let start = self.at;
                self.at = self.walk::<STRICT>(depth, &mut Unseen)?;
                Ok(Field::Composite(self.since(start)))
            }
            other => self.scalar::<STRICT>(other),
        }
    }

    #[inline(always)]
    fn scalar<const STRICT: bool>(&mut self, first: u8) -> Result<Field<'a>, Malformed> {
        if first == b'"' {
            let Quoted { raw, escaped, .. } = self.string::<STRICT>()?;
            return Ok(Field::Text { raw, escaped });
        }
        let start = self.at;
        if !STRICT {
            return self.bare().map(|(raw, end)| {
                self.at = end;
                match raw {
                    b"null" => Field::Null,
                    b"true" => Field::Bool(true),
                    b"false" => Field::Bool(false),
                    raw => Field::Number(raw),
                }
            });
        }
        match first {
            b'-' | b'0'..=b'9' => {
                self.at = self.number_end()?;
                Ok(Field::Number(self.since(start)))
            }
            b't' => self.literal(b"true").map(|()| Field::Bool(true)),
            b'f' => self.literal(b"false").map(|()| Field::Bool(false)),
            b'n' => self.literal(b"null").map(|()| Field::Null),
            _ => Err(Malformed),
        }
    }

    /// From an opening quote past the closing one.
    #[inline(always)]
    fn string<const STRICT: bool>(&mut self) -> Result<Quoted<'a>, Malformed> {
        let start = self.at + 1;
        let (end, escaped) = if self.plain {
            (quote(self.line, start).ok_or(Malformed)?, false)
        } else {
            string_end::<STRICT>(self.line, start)?
        };
        self.at = end + 1;
        Ok(Quoted { raw: &self.line[start..end], escaped, head: head(&self.line[start..], end - start) })
    }

    /// The end of the number that begins here.
    #[inline]
    fn number_end(self) -> Result<usize, Malformed> {
        let byte = |at: usize| self.line.get(at).copied();
        // One digit or more.
        let digits = |start: usize| {
            let mut at = start;
            while self.line.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            if at > start { Ok(at) } else { Err(Malformed) }
        };
        let whole = self.at + usize::from(byte(self.at) == Some(b'-'));
        let mut at = digits(whole)?;
        if byte(whole) == Some(b'0') && at > whole + 1 {
            return Err(Malformed);
        }
        // The largest float64 has 309 digits before the point.
        let mut may_be_too_large = at - whole > 308;
        if byte(at) == Some(b'.') {
            at = digits(at + 1)?;
        }
        if let Some(b'e' | b'E') = byte(at) {
            at = digits(at + 1 + usize::from(matches!(byte(at + 1), Some(b'+' | b'-'))))?;
            may_be_too_large = true;
        }
        if may_be_too_large && number::parse_f64(&self.line[self.at..at]).is_none() {
            return Err(Malformed);
        }
        Ok(at)
    }

    /// What a format string has put where a value should be, and where it ends: at the next comma or closing bracket.
    #[inline]
    fn bare(self) -> Result<(&'a [u8], usize), Malformed> {
        let rest = &self.line[self.at..];
        let len =
            rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']' | b'"' | b'{' | b'[')).ok_or(Malformed)?;
        match rest[len] {
            // The beginning of something else: a comma is missing, or the line is torn.
            b'"' | b'{' | b'[' => Err(Malformed),
            _ => Ok((rest[..len].trim_ascii_end(), self.at + len)),
        }
    }

    /// Tells `visitor` of the parts of the value that begins here, and answers where it ends. `depth` as in
    /// [`value`](Self::value).
    #[inline(never)]
    pub(super) fn walk<const STRICT: bool>(
        mut self,
        depth: usize,
        visitor: &mut impl Visitor<'a>,
    ) -> Result<usize, Malformed> {
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
                let Some(bracket) = open.innermost() else { return Ok(self.at) };
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

/// The closing quote of a string that begins at `start`, and whether it has an escape.
#[inline(never)]
fn string_end<const STRICT: bool>(line: &[u8], start: usize) -> Result<(usize, bool), Malformed> {
    let next = |from: usize| memchr2(b'"', b'\\', line.get(from..)?).map(|found| from + found);
    let first = next(start).ok_or(Malformed)?;
    // json-iterator looks for control characters up to the first escape only.
    if STRICT && line[start..first].iter().any(|byte| *byte < b' ') {
        return Err(Malformed);
    }
    let mut at = first;
    while line[at] == b'\\' {
        let escape = &line[at + 1..];
        match escape.first().ok_or(Malformed)? {
            b'u' if STRICT && !escape.get(1..5).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => {
                return Err(Malformed);
            }
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' | b'u' => {}
            _ if STRICT => return Err(Malformed),
            _ => {}
        }
        at = next(at + 2).ok_or(Malformed)?;
    }
    Ok((at, at > first))
}

/// The first quote from `at` on. Most strings are short, so eight bytes are looked at in one word before memchr, made
/// for long ones, is worth its call.
#[inline(always)]
fn quote(line: &[u8], mut at: usize) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    for _ in 0..4 {
        let Some(chunk) = line.get(at..).and_then(|rest| rest.first_chunk()) else { break };
        // Quotes become zero bytes, and the high bit of each zero byte is found by a borrow. One can go too far, into
        // the byte above, so that only the lowest bit is sure.
        let word = u64::from_le_bytes(*chunk) ^ (LOW * b'"' as u64);
        let found = word.wrapping_sub(LOW) & !word & HIGH;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr(b'"', line.get(at..)?).map(|found| at + found)
}

/// The first eight bytes of `text`, or its `len` bytes and zeros, as a word. More bytes may follow in `text`.
#[inline(always)]
pub(super) fn head(text: &[u8], len: usize) -> u64 {
    let word = match text.first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => text.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    if len < 8 { word & ((1 << (8 * len)) - 1) } else { word }
}
