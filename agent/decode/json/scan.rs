//! Walking over JSON text: tokens and whole values, checked as they are passed. No recursion, no allocation.

use super::block::quote_or_backslash;
use super::{Field, Malformed};
use crate::decode::number;

/// How many objects and arrays may stand open: json-iterator's limit of 10,000, and the outermost object, which it
/// doesn't count.
const DEPTH_MAX: usize = 10_001;

/// A place in a line. `STRICT` in the methods is [`super::Mode::Strict`]. What runs for every key is inlined into one
/// loop that keeps the place in registers; for that the rest takes a copy and answers with what is left of the line.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    /// No control character in the line, or they are allowed: a string is what its escapes make it.
    clean: bool,
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
        // A pass of vector code here is cheaper than a closer look at each string.
        Self { rest: line, clean: !(STRICT && has_control(line)) }
    }

    /// Of a part of a line that has no control character but white space at its end, or where they are allowed.
    #[inline(always)]
    pub(super) fn clean(rest: &'a [u8]) -> Self {
        Self { rest, clean: true }
    }

    #[inline(always)]
    pub(super) fn local(&self) -> Self {
        Self { rest: self.rest, clean: self.clean }
    }

    #[inline(always)]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Goes on where a copy has ended.
    #[inline(always)]
    pub(super) fn go(&mut self, rest: &'a [u8]) {
        self.rest = rest;
    }

    /// What has been passed since `start` was the rest.
    #[inline(always)]
    pub(super) fn since(&self, start: &'a [u8]) -> &'a [u8] {
        &start[..start.len() - self.rest.len()]
    }

    /// The next byte that is no white space, or 0 at the end (where a NUL stands no token may either).
    #[inline(always)]
    pub(super) fn peek(&mut self) -> u8 {
        match self.rest {
            [byte, ..] if *byte > b' ' => *byte,
            // One space behind a colon or a comma.
            [b' ', byte, ..] if *byte > b' ' => {
                self.rest = &self.rest[1..];
                *byte
            }
            _ => {
                self.rest = skip_space(self.rest);
                self.rest.first().copied().unwrap_or(0)
            }
        }
    }

    /// Passes the byte that [`peek`](Self::peek) has shown.
    #[inline(always)]
    pub(super) fn pass(&mut self) {
        if let [_, rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// Nothing may follow the value, but what json-iterator overlooks.
    pub(super) fn finish<const STRICT: bool>(&mut self) -> Result<(), Malformed> {
        if self.peek() == 0 && (STRICT || self.rest.is_empty()) { Ok(()) } else { Err(Malformed) }
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
        // No white space stands before most colons.
        if let [b':', rest @ ..] = self.rest {
            self.rest = rest;
        } else if self.peek() == b':' {
            self.pass();
        } else {
            return Err(Malformed);
        }
        Ok(key)
    }

    pub(super) fn literal(&mut self, text: &[u8]) -> Result<(), Malformed> {
        self.rest = self.rest.strip_prefix(text).ok_or(Malformed)?;
        Ok(())
    }

    /// Any value; `depth` objects stand open around it.
    #[inline(always)]
    pub(super) fn value<const STRICT: bool>(&mut self, depth: usize) -> Result<Field<'a>, Malformed> {
        match self.peek() {
            b'"' => {
                let Quoted { raw, escaped, .. } = self.string::<STRICT>()?;
                Ok(Field::Text { raw, escaped })
            }
            b'{' | b'[' => {
                let start = self.rest;
                self.rest = self.walk::<STRICT>(depth, &mut Unseen)?;
                Ok(Field::Composite(self.since(start)))
            }
            first => {
                let (value, rest) = self.bare::<STRICT>(first)?;
                self.rest = rest;
                Ok(value)
            }
        }
    }

    /// From an opening quote past the closing one.
    #[inline(always)]
    fn string<const STRICT: bool>(&mut self) -> Result<Quoted<'a>, Malformed> {
        self.pass();
        let text = self.rest;
        let (raw, escaped) = self.quoted::<STRICT>()?;
        Ok(Quoted { raw, escaped, head: head(text, raw.len()) })
    }

    /// From behind an opening quote past the closing one: what stands between them, and whether it has an escape.
    #[inline(always)]
    fn quoted<const STRICT: bool>(&mut self) -> Result<(&'a [u8], bool), Malformed> {
        let text = self.rest;
        let first = quote_or_backslash(text).ok_or(Malformed)?;
        let (raw, end) = text.split_at_checked(first).ok_or(Malformed)?;
        if let [b'"', rest @ ..] = end
            && self.clean
        {
            self.rest = rest;
            return Ok((raw, false));
        }
        let (len, escaped) = string_len::<STRICT>(text, first)?;
        self.rest = text.get(len + 1..).ok_or(Malformed)?;
        Ok((&text[..len], escaped))
    }

    /// The value without quotes or brackets that begins here, with `first`, and what follows it.
    #[inline]
    fn bare<const STRICT: bool>(self, first: u8) -> Result<(Field<'a>, &'a [u8]), Malformed> {
        if !STRICT {
            let (raw, rest) = up_to_delimiter(self.rest)?;
            let value = match raw {
                b"null" => Field::Null,
                b"true" => Field::Bool(true),
                b"false" => Field::Bool(false),
                raw => Field::Number(raw),
            };
            return Ok((value, rest));
        }
        let (text, value): (&[u8], _) = match first {
            b'-' | b'0'..=b'9' => {
                let (raw, rest) = self.rest.split_at(number_len(self.rest)?);
                return Ok((Field::Number(raw), rest));
            }
            b't' => (b"true", Field::Bool(true)),
            b'f' => (b"false", Field::Bool(false)),
            b'n' => (b"null", Field::Null),
            _ => return Err(Malformed),
        };
        Ok((value, self.rest.strip_prefix(text).ok_or(Malformed)?))
    }

    /// Tells `visitor` of the parts of the value that begins here, and answers with what follows it. `depth` as in
    /// [`value`](Self::value).
    #[inline(never)]
    pub(super) fn walk<const STRICT: bool>(
        mut self,
        depth: usize,
        visitor: &mut impl Visitor<'a>,
    ) -> Result<&'a [u8], Malformed> {
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
                _ => visitor.scalar(self.value::<STRICT>(depth)?),
            }
            // Here one has ended, or an empty bracket is about to close.
            loop {
                let Some(bracket) = open.innermost() else { return Ok(self.rest) };
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

#[inline(never)]
fn skip_space(text: &[u8]) -> &[u8] {
    let len = text.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).unwrap_or(text.len());
    &text[len..]
}

/// Whether a byte below 0x20 is among `text`. Inlined, so that it is compiled for the processor that the caller is.
#[inline(always)]
pub(super) fn has_control(text: &[u8]) -> bool {
    let below = |bytes: &[u8]| bytes.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < b' ';
    let (blocks, _) = text.as_chunks::<32>();
    let Some(last) = text.last_chunk::<32>() else { return below(text) };
    // The least byte of each column: one vector operation a block. The last block overlaps the one before.
    let least = blocks.iter().fold(*last, |mut least, block| {
        least.iter_mut().zip(block).for_each(|(least, byte)| *least = (*least).min(*byte));
        least
    });
    below(&least)
}

/// How long the string at the head of `text` is, and whether it has an escape. The `first` quote or backslash is known.
#[inline(never)]
pub(super) fn string_len<const STRICT: bool>(text: &[u8], first: usize) -> Result<(usize, bool), Malformed> {
    let next = |from: usize| quote_or_backslash(text.get(from..)?).map(|found| from + found);
    // json-iterator looks for control characters up to the first escape only.
    if STRICT && has_control(&text[..first]) {
        return Err(Malformed);
    }
    let mut at = first;
    while text[at] == b'\\' {
        let escape = &text[at + 1..];
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

/// How long the number at the head of `text` is.
#[inline]
fn number_len(text: &[u8]) -> Result<usize, Malformed> {
    let byte = |at: usize| text.get(at).copied();
    // One digit or more.
    let digits = |start: usize| {
        let mut at = start;
        while text.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if at > start { Ok(at) } else { Err(Malformed) }
    };
    let whole = usize::from(byte(0) == Some(b'-'));
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
    if may_be_too_large && number::parse_f64(&text[..at]).is_none() {
        return Err(Malformed);
    }
    Ok(at)
}

/// What a format string has put where a value should be, and the next comma or closing bracket with what follows.
#[inline]
fn up_to_delimiter(text: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let len = text.iter().position(|byte| matches!(byte, b',' | b'}' | b']' | b'"' | b'{' | b'['));
    let (raw, rest) = text.split_at(len.ok_or(Malformed)?);
    match rest {
        // The beginning of something else: a comma is missing, or the line is torn.
        [b'"' | b'{' | b'[', ..] => Err(Malformed),
        _ => Ok((raw.trim_ascii_end(), rest)),
    }
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
