//! Appends what a `PushRequest` is made of. Lengths stand before what they measure, so they are computed first and
//! nothing is moved afterwards.
//!
//! As in every proto3 message, a field that holds its default (an empty text, a zero) is left out. All texts are UTF-8.

use crate::clock::UnixNanos;

/// Keys of the fields: number and wire type. Texts and messages have a length before them, numbers are varints.
mod field {
    /// `PushRequest.streams`
    pub const STREAM: u8 = length_delimited(1);
    /// `StreamAdapter.labels`, `.entries`
    pub const LABELS: u8 = length_delimited(1);
    pub const ENTRY: u8 = length_delimited(2);
    /// `EntryAdapter.timestamp`, `.line`, `.structuredMetadata`
    pub const TIMESTAMP: u8 = length_delimited(1);
    pub const LINE: u8 = length_delimited(2);
    pub const METADATA: u8 = length_delimited(3);
    /// `Timestamp.seconds`, `.nanos`
    pub const SECONDS: u8 = 1 << 3;
    pub const NANOS: u8 = 2 << 3;
    /// `LabelPairAdapter.name`, `.value`
    pub const NAME: u8 = length_delimited(1);
    pub const VALUE: u8 = length_delimited(2);

    const fn length_delimited(number: u8) -> u8 {
        number << 3 | 2
    }
}

/// The most that an entry takes beside its line and its encoded metadata: keys, lengths, and a timestamp.
pub const ENTRY_FRAME_BYTES_MAX: usize = 48;
/// The most that a stream takes beside its labels and its entries.
pub const STREAM_FRAME_BYTES_MAX: usize = 24;

/// Appends the head of a stream: `entries` bytes of what [`entry`] wrote are to follow.
pub fn stream_head(out: &mut Vec<u8>, labels: &str, entries: usize) {
    out.push(field::STREAM);
    varint(out, (text_len(labels.as_bytes()) + entries) as u64);
    text(out, field::LABELS, labels.as_bytes());
}

/// Appends an entry of a stream. Its line must be UTF-8. `metadata` is what [`metadata_pair`] wrote for it.
#[inline]
pub fn entry(out: &mut Vec<u8>, timestamp: UnixNanos, line: &[u8], metadata: &[u8]) {
    // Nanoseconds count forward from the second before, also for times before 1970.
    let seconds = timestamp.div_euclid(1_000_000_000) as u64;
    let nanos = timestamp.rem_euclid(1_000_000_000) as u64;
    let timestamp_len = number_len(seconds) + number_len(nanos);
    let mut frame = Frame { bytes: [0; ENTRY_FRAME_BYTES_MAX], len: 0 };
    frame.push(field::ENTRY);
    frame.varint((message_len(timestamp_len) + text_len(line) + metadata.len()) as u64);
    frame.push(field::TIMESTAMP);
    frame.varint(timestamp_len as u64);
    for (field, value) in [(field::SECONDS, seconds), (field::NANOS, nanos)] {
        if value != 0 {
            frame.push(field);
            frame.varint(value);
        }
    }
    if !line.is_empty() {
        frame.push(field::LINE);
        frame.varint(line.len() as u64);
    }
    out.reserve(frame.len + line.len() + metadata.len());
    out.extend_from_slice(frame.bytes.get(..frame.len).unwrap_or_default());
    out.extend_from_slice(line);
    if !metadata.is_empty() {
        out.extend_from_slice(metadata);
    }
}

/// What stands before a line. Put together here, its bytes need no look at the room in a vector each.
struct Frame {
    bytes: [u8; ENTRY_FRAME_BYTES_MAX],
    len: usize,
}

impl Frame {
    #[inline]
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    #[inline]
    fn varint(&mut self, value: u64) {
        each_of_varint(value, |byte| self.push(byte));
    }
}

/// Appends one name and value of structured metadata, both in UTF-8.
pub fn metadata_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(field::METADATA);
    varint(out, (text_len(name) + text_len(value)) as u64);
    text(out, field::NAME, name);
    text(out, field::VALUE, value);
}

fn text(out: &mut Vec<u8>, field: u8, text: &[u8]) {
    if !text.is_empty() {
        out.push(field);
        varint(out, text.len() as u64);
        out.extend_from_slice(text);
    }
}

fn varint(out: &mut Vec<u8>, value: u64) {
    each_of_varint(value, |byte| out.push(byte));
}

#[inline]
fn each_of_varint(mut value: u64, mut push: impl FnMut(u8)) {
    while value >= 0x80 {
        push(value as u8 | 0x80);
        value >>= 7;
    }
    push(value as u8);
}

/// Bytes of a text field, none for an empty text.
fn text_len(text: &[u8]) -> usize {
    if text.is_empty() { 0 } else { message_len(text.len()) }
}

/// Bytes of a field that holds a message of this length.
fn message_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

/// Bytes of a number field, none for zero.
fn number_len(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value) }
}

/// Seven bits in each byte, and one byte for zero.
fn varint_len(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_length_that_was_computed() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value), "{value}");
            }
        }
    }

    #[test]
    fn an_entry_before_1970_counts_its_nanoseconds_forward() {
        let mut out = Vec::new();
        entry(&mut out, -1, b"x", b"");
        let mut wanted = vec![0x12, 22, 0x0a, 17, 0x08];
        wanted.extend([0xff; 9]);
        wanted.extend([0x01, 0x10, 0xff, 0x93, 0xeb, 0xdc, 0x03, 0x12, 1, b'x']);
        assert_eq!(out, wanted);
    }

    #[test]
    fn an_entry_of_nothing_keeps_its_timestamp() {
        let mut out = Vec::new();
        entry(&mut out, 0, b"", b"");
        assert_eq!(out, [0x12, 2, 0x0a, 0]);
    }

    #[test]
    fn frames_are_bounded() {
        let mut out = Vec::new();
        entry(&mut out, i64::MIN + 1, b"", b"");
        // The lengths before the line, of the entry and of the line itself, may take ten bytes and a key each.
        assert!(out.len() + 2 * 11 <= ENTRY_FRAME_BYTES_MAX, "{}", out.len());
        out.clear();
        stream_head(&mut out, "{}", usize::MAX >> 1);
        assert!(out.len() - 2 + 9 <= STREAM_FRAME_BYTES_MAX, "{}", out.len());
    }
}
