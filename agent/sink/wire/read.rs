//! Reads a `PushRequest` back into streams and entries, and writes a new one of some of its entries.
//!
//! Only what weir itself writes is understood: the labels of a stream before its entries, no field twice, none that is
//! not known. So the entries of a stream lie side by side, and a part of a message is copied, not encoded again: its
//! entries have the very bytes that they had in the whole.

use std::ops::Range;

/// What a snappy block can grow to when it is unpacked: its densest element makes 64 bytes of 3. A damaged length is
/// known by it before any memory is taken.
const GROWTH_MAX: usize = 22;

const VARINT: u8 = 0;
const BYTES: u8 = 2;

/// A message, with the places of its streams and entries.
#[derive(Debug)]
pub struct Message {
    bytes: Vec<u8>,
    streams: Vec<StreamPlace>,
    entries: Vec<EntryPlace>,
}

/// These bytes are no message of weir's: why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damaged(&'static str);

/// One entry, as Loki will see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The labels of its stream, in Loki's notation.
    pub labels: &'a str,
    /// Seconds since 1970, and the nanoseconds after them.
    pub timestamp: (i64, u32),
    /// Not always UTF-8.
    pub line: &'a [u8],
    /// All of it as it stands in the message.
    pub field: &'a [u8],
}

/// Places count in 32 bits: no snappy block holds more than 4 GiB.
#[derive(Debug)]
struct StreamPlace {
    /// The labels with what stands before them.
    field: Range<u32>,
    labels: Range<u32>,
    /// Which of the message's entries are its own.
    entries: Range<usize>,
}

#[derive(Debug, Default)]
struct EntryPlace {
    stream: usize,
    field: Range<u32>,
    line: Range<u32>,
    /// Of its line and its structured metadata.
    bytes: u64,
    timestamp: (i64, u32),
}

impl Message {
    /// A message in one snappy block.
    pub fn unpack(packed: &[u8]) -> Result<Self, Damaged> {
        let len = snap::raw::decompress_len(packed).map_err(|_| Damaged("no snappy block"))?;
        if len > packed.len().saturating_mul(GROWTH_MAX) {
            return Err(Damaged("more bytes promised than the block can hold"));
        }
        let bytes = snap::raw::Decoder::new().decompress_vec(packed).map_err(|_| Damaged("no snappy block"))?;
        Message::read(bytes)
    }

    pub fn read(bytes: Vec<u8>) -> Result<Self, Damaged> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(Damaged("more than 4 GiB"));
        }
        let mut message = Message { bytes: Vec::new(), streams: Vec::new(), entries: Vec::new() };
        let mut fields = Fields { bytes: &bytes, at: 0, end: bytes.len() };
        while let Some(field) = fields.next()? {
            match (field.number, field.body) {
                (1, Body::Bytes(body)) => message.read_stream(&bytes, body)?,
                _ => return Err(Damaged("a field that no push request of weir has")),
            }
        }
        message.bytes = bytes;
        Ok(message)
    }

    /// Entries in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Nothing for a number past the last.
    pub fn entry(&self, number: usize) -> Option<Entry<'_>> {
        let entry = self.entries.get(number)?;
        Some(Entry {
            labels: self.labels(self.streams.get(entry.stream)?),
            timestamp: entry.timestamp,
            line: self.slice(&entry.line),
            field: self.slice(&entry.field),
        })
    }

    /// Bytes of lines and structured metadata in these entries.
    pub fn bytes_of(&self, entries: Range<usize>) -> u64 {
        self.entries.get(entries).unwrap_or_default().iter().map(|entry| entry.bytes).sum()
    }

    /// How many streams these entries are of.
    pub fn streams_of(&self, entries: Range<usize>) -> u64 {
        let own = |stream: &&StreamPlace| stream.entries.start < entries.end && entries.start < stream.entries.end;
        self.streams.iter().filter(own).count() as u64
    }

    /// Where to cut these entries so that both sides hold whole streams, as evenly as it goes. Nothing for one stream.
    pub fn stream_cut(&self, entries: Range<usize>) -> Option<usize> {
        let middle = entries.start + entries.len() / 2;
        let inside = self.streams.iter().map(|stream| stream.entries.start);
        inside.filter(|start| entries.start < *start && *start < entries.end).min_by_key(|start| start.abs_diff(middle))
    }

    /// The streams, one after another: their labels, and which entries are theirs.
    pub fn streams(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.streams.iter().map(|stream| (self.labels(stream), stream.entries.clone()))
    }

    /// A message of these entries alone; the streams keep their order.
    pub fn part(&self, entries: Range<usize>) -> Vec<u8> {
        let mut out = Vec::new();
        for stream in &self.streams {
            let own = stream.entries.start.max(entries.start)..stream.entries.end.min(entries.end);
            let (Some(first), Some(last)) = (self.entries.get(own.start), self.entries.get(own.end.wrapping_sub(1)))
            else {
                continue;
            };
            if own.is_empty() {
                continue;
            }
            let (labels, body) = (self.slice(&stream.field), self.slice(&(first.field.start..last.field.end)));
            out.push((1 << 3) | BYTES);
            push_varint(&mut out, labels.len() + body.len());
            out.extend_from_slice(labels);
            out.extend_from_slice(body);
        }
        out
    }

    fn labels(&self, stream: &StreamPlace) -> &str {
        // Looked at when it was read.
        std::str::from_utf8(self.slice(&stream.labels)).unwrap_or_default()
    }

    fn slice(&self, range: &Range<u32>) -> &[u8] {
        self.bytes.get(wide(range)).unwrap_or_default()
    }

    fn read_stream(&mut self, bytes: &[u8], body: Range<usize>) -> Result<(), Damaged> {
        let mut fields = Fields { bytes, at: body.start, end: body.end };
        let first = self.entries.len();
        // No labels at all are not written.
        let (mut whole, mut labels) = (body.start..body.start, body.start..body.start);
        let mut begins = true;
        while let Some(field) = fields.next()? {
            match (field.number, field.body) {
                (1, Body::Bytes(text)) if begins => (whole, labels) = (field.whole, text),
                (2, Body::Bytes(entry)) => {
                    let entry = read_entry(bytes, entry)?;
                    self.entries.push(EntryPlace { stream: self.streams.len(), field: narrow(field.whole), ..entry });
                }
                _ => return Err(Damaged("a field that no stream of weir has there")),
            }
            begins = false;
        }
        if std::str::from_utf8(&bytes[labels.clone()]).is_err() {
            return Err(Damaged("labels that are no text"));
        }
        let entries = first..self.entries.len();
        self.streams.push(StreamPlace { field: narrow(whole), labels: narrow(labels), entries });
        Ok(())
    }
}

fn read_entry(bytes: &[u8], body: Range<usize>) -> Result<EntryPlace, Damaged> {
    let mut entry = EntryPlace::default();
    let mut fields = Fields { bytes, at: body.start, end: body.end };
    let mut last = 0;
    while let Some(field) = fields.next()? {
        let Body::Bytes(body) = field.body else { return Err(Damaged("a field that no entry has")) };
        if field.number < last || (field.number == last && field.number != 3) {
            return Err(Damaged("fields of an entry twice or out of order"));
        }
        last = field.number;
        match field.number {
            1 => entry.timestamp = read_timestamp(bytes, body)?,
            2 => {
                entry.bytes += body.len() as u64;
                entry.line = narrow(body);
            }
            3 => entry.bytes += read_pair(bytes, body)?,
            _ => return Err(Damaged("a field that no entry of weir has")),
        }
    }
    Ok(entry)
}

/// A zero is not written.
fn read_timestamp(bytes: &[u8], body: Range<usize>) -> Result<(i64, u32), Damaged> {
    let mut fields = Fields { bytes, at: body.start, end: body.end };
    let (mut timestamp, mut last) = ((0, 0), 0);
    while let Some(field) = fields.next()? {
        let Body::Number(number) = field.body else { return Err(Damaged("a field that no timestamp has")) };
        if field.number <= last {
            return Err(Damaged("fields of a timestamp twice or out of order"));
        }
        last = field.number;
        match field.number {
            1 => timestamp.0 = number.cast_signed(),
            2 => match u32::try_from(number) {
                Ok(nanos) if nanos < 1_000_000_000 => timestamp.1 = nanos,
                _ => return Err(Damaged("nanoseconds beyond a second")),
            },
            _ => return Err(Damaged("a field that no timestamp has")),
        }
    }
    Ok(timestamp)
}

/// Bytes of the name and the value.
fn read_pair(bytes: &[u8], body: Range<usize>) -> Result<u64, Damaged> {
    let mut fields = Fields { bytes, at: body.start, end: body.end };
    let (mut len, mut last) = (0, 0);
    while let Some(field) = fields.next()? {
        let (1 | 2, Body::Bytes(text)) = (field.number, field.body) else {
            return Err(Damaged("a field that no pair has"));
        };
        if field.number <= last {
            return Err(Damaged("fields of a pair twice or out of order"));
        }
        last = field.number;
        len += text.len() as u64;
    }
    Ok(len)
}

/// The fields of one protobuf message, one after another.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Within `bytes`.
    end: usize,
}

struct Field {
    number: u64,
    body: Body,
    /// With its tag and its length.
    whole: Range<usize>,
}

enum Body {
    Number(u64),
    Bytes(Range<usize>),
}

impl Fields<'_> {
    fn next(&mut self) -> Result<Option<Field>, Damaged> {
        if self.at >= self.end {
            return Ok(None);
        }
        let start = self.at;
        let tag = self.varint()?;
        let body = match (tag & 7) as u8 {
            VARINT => Body::Number(self.varint()?),
            BYTES => {
                let len = self.varint()?;
                let left = self.end - self.at;
                let len = usize::try_from(len).ok().filter(|len| *len <= left);
                let from = self.at;
                self.at += len.ok_or(Damaged("a field longer than what holds it"))?;
                Body::Bytes(from..self.at)
            }
            _ => return Err(Damaged("a kind of field that weir never writes")),
        };
        Ok(Some(Field { number: tag >> 3, body, whole: start..self.at }))
    }

    fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            if self.at >= self.end {
                return Err(Damaged("a number that breaks off"));
            }
            let byte = self.bytes[self.at];
            self.at += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged("a number of more than 64 bits"))
    }
}

fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Only for places inside a message, which is shorter than 4 GiB.
fn narrow(range: Range<usize>) -> Range<u32> {
    range.start as u32..range.end as u32
}

fn wide(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
