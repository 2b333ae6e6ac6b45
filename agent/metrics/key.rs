//! A label set as bytes: what a series is looked up by.
//!
//! An entry is `name id (u16), length (u16), value`; a key is the entries with a value, followed by those without.
//! Identity is Prometheus': only the entries with a value count, so `{a=""}` and `{}` are one series. The empty ones
//! are kept with the series that they created, because Promtail exposes `a=""` where a label was set to nothing.

use super::admission::OTHER;
use super::family::LabelName;
use crate::words;
use std::io::Write as _;
use std::sync::Arc;

/// A longer label value is cut: 1 KiB is far above what a name, a path template or an address needs.
pub const LABEL_VALUE_BYTES_MAX: usize = 1024;

/// Bytes of an entry before its value.
pub(super) const HEAD: usize = 4;
/// What the mark of a cut value takes: `…` and eight hexadecimal digits.
const CUT_MARK: usize = 3 + 8;

/// The label set of one line, built again and again in the same memory.
#[derive(Clone, Debug, Default)]
pub struct LabelKey {
    /// Entries with a value: the identity.
    valued: Vec<u8>,
    /// Entries without one, in the same notation.
    empty: Vec<u8>,
    /// Room to rewrite the key in: hostile lines must not cost allocations either.
    spare: Vec<u8>,
}

impl LabelKey {
    pub fn new() -> Self {
        LabelKey::default()
    }

    pub fn clear(&mut self) {
        self.valued.clear();
        self.empty.clear();
    }

    /// Adds one label; call it in the alphabetic order of the names, each name once (see `Store::row`).
    ///
    /// The value may be any bytes: what is not UTF-8 becomes U+FFFD as in `String::from_utf8_lossy`; a text of more
    /// than [`LABEL_VALUE_BYTES_MAX`] bytes is cut to that length, closing with `…` and eight digits of a hash of
    /// the whole value, so that two long values stay two series.
    #[inline]
    pub fn push(&mut self, name: LabelName, value: &[u8]) {
        if value.is_empty() {
            return push_entry(&mut self.empty, name, b"");
        }
        push_value(&mut self.valued, name, value);
    }

    /// The bytes that make the series.
    pub(super) fn identity(&self) -> &[u8] {
        &self.valued
    }

    /// Whether a stored key is of the same series.
    #[inline]
    pub(super) fn is(&self, stored: &[u8]) -> bool {
        stored.strip_prefix(self.valued.as_slice()).is_some_and(has_no_value)
    }

    /// The key as it is kept with its series.
    pub(super) fn to_stored(&self) -> Arc<[u8]> {
        match &self.empty[..] {
            [] => self.identity().into(),
            empty => [self.identity(), empty].concat().into(),
        }
    }

    /// Replaces the values of the chosen labels; labels without a value stay so. Says whether anything changed.
    pub(super) fn replace_values(&mut self, chosen: impl Fn(LabelName) -> bool, by: &[u8]) -> bool {
        std::mem::swap(&mut self.valued, &mut self.spare);
        self.valued.clear();
        for (name, value) in entries(&self.spare) {
            push_entry(&mut self.valued, name, if chosen(name) { by } else { value });
        }
        self.valued != self.spare
    }

    /// Puts the entries into the order of their names and drops repetitions, the first one stays. Says whether
    /// anything changed; where nothing does, nothing is allocated.
    pub(super) fn sort_by_name<'n>(&mut self, name_of: impl Fn(LabelName) -> &'n str) -> bool {
        if self.is_sorted_by_name(&name_of) {
            return false;
        }
        let before = self.clone();
        let mut list: Vec<_> = entries(&before.valued).chain(entries(&before.empty)).collect();
        list.sort_by_key(|(name, _)| name_of(*name));
        list.dedup_by_key(|(name, _)| *name);
        self.clear();
        for (name, value) in list {
            push_entry(if value.is_empty() { &mut self.empty } else { &mut self.valued }, name, value);
        }
        true
    }

    /// Whether each name stands once, and those with a value and those without ascend.
    fn is_sorted_by_name<'n>(&self, name_of: impl Fn(LabelName) -> &'n str) -> bool {
        let names = |key| entries(key).map(|(name, _)| name);
        let ascend = |key| names(key).map(&name_of).is_sorted_by(|a, b| a < b);
        ascend(&self.valued)
            && ascend(&self.empty)
            && names(&self.empty).all(|name| names(&self.valued).all(|n| n != name))
    }
}

/// The part of a stored key that makes the series.
pub(super) fn identity(stored: &[u8]) -> &[u8] {
    let valued = entries(stored).take_while(|(_, value)| !value.is_empty());
    &stored[..valued.map(|(_, value)| HEAD + value.len()).sum()]
}

/// Whether what is left of a stored key are labels without a value, or none.
#[inline]
pub(super) fn has_no_value(rest: &[u8]) -> bool {
    rest.is_empty() || length(rest) == 0
}

/// The labels of a stored key: those with a value in the order of their names, then those without.
pub(super) fn entries(key: &[u8]) -> impl Iterator<Item = (LabelName, &[u8])> {
    raw_entries(key).map(|entry| (LabelName(u16::from_le_bytes([entry[0], entry[1]])), &entry[HEAD..]))
}

/// The same as they stand there.
pub(super) fn raw_entries(mut key: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let entry;
        (entry, key) = key.split_at_checked(HEAD + length(key.first_chunk::<HEAD>()?))?;
        Some(entry)
    })
}

/// Whether a value is one of its own.
pub(super) fn is_own(value: &[u8]) -> bool {
    !value.is_empty() && value != OTHER.as_bytes()
}

/// The entry of a label whose own value found no room.
pub(super) fn other_entry(LabelName(name): LabelName) -> [u8; HEAD + OTHER.len()] {
    let mut entry = [0; HEAD + OTHER.len()];
    entry[..2].copy_from_slice(&name.to_le_bytes());
    entry[2] = OTHER.len() as u8;
    entry[HEAD..].copy_from_slice(OTHER.as_bytes());
    entry
}

/// Appends the entry of a value, which may be any bytes; nothing for one without bytes.
#[inline]
pub(super) fn push_value(to: &mut Vec<u8>, name: LabelName, value: &[u8]) {
    if value.len() <= LABEL_VALUE_BYTES_MAX && words::is_ascii(value) {
        if !value.is_empty() {
            push_entry(to, name, value);
        }
    } else {
        push_foreign(to, name, value);
    }
}

#[cold]
fn push_foreign(to: &mut Vec<u8>, name: LabelName, value: &[u8]) {
    push_entry(to, name, b"");
    let start = to.len();
    for chunk in value.utf8_chunks() {
        // One byte past the limit is enough to know that it is crossed.
        let room = (LABEL_VALUE_BYTES_MAX + 1).saturating_sub(to.len() - start);
        to.extend_from_slice(&chunk.valid().as_bytes()[..chunk.valid().len().min(room)]);
        if !chunk.invalid().is_empty() {
            to.extend_from_slice("\u{fffd}".as_bytes());
        }
        if to.len() - start > LABEL_VALUE_BYTES_MAX {
            cut(to, start, stable_hash(value));
            break;
        }
    }
    let length = (to.len() - start) as u16; // At most LABEL_VALUE_BYTES_MAX.
    to[start - 2..start].copy_from_slice(&length.to_le_bytes());
}

fn length(entry: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([entry[2], entry[3]]))
}

#[inline]
fn push_entry(to: &mut Vec<u8>, LabelName(name): LabelName, value: &[u8]) {
    let [a, b] = name.to_le_bytes();
    let [c, d] = (value.len() as u16).to_le_bytes(); // At most LABEL_VALUE_BYTES_MAX.
    to.extend_from_slice(&[a, b, c, d]);
    to.extend_from_slice(value);
}

/// Cuts the text behind `start` (UTF-8 up to perhaps its last character) to the limit, mark included.
fn cut(text: &mut Vec<u8>, start: usize, hash: u32) {
    let mut end = start + LABEL_VALUE_BYTES_MAX - CUT_MARK;
    // Never between the bytes of a character: continuation bytes are 10xxxxxx.
    while text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    text.truncate(end);
    let _ = write!(text, "…{hash:08x}"); // A vector takes everything.
}

/// The same for the same bytes in every process and version: it becomes part of a label value. Eight bytes a step
/// (a hostile value may have 256 KiB), multiply and fold.
fn stable_hash(bytes: &[u8]) -> u32 {
    let mut hash = bytes.len() as u64 ^ 0x9e37_79b9_7f4a_7c15;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    hash as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LabelName = LabelName(0);
    const B: LabelName = LabelName(1);

    fn pushed(value: &[u8]) -> String {
        let mut key = LabelKey::new();
        key.push(A, value);
        let (_, stored) = entries(&key.to_stored()).next().map(|(n, v)| (n, v.to_vec())).unwrap();
        String::from_utf8(stored).unwrap()
    }

    #[test]
    fn a_value_becomes_text_of_at_most_the_limit() {
        assert_eq!(pushed(b"a\xffb\xf0\x9f"), "a\u{fffd}b\u{fffd}");
        assert_eq!(pushed("ä\0\n".as_bytes()), "ä\0\n");
        let full = "x".repeat(LABEL_VALUE_BYTES_MAX);
        assert_eq!(pushed(full.as_bytes()), full);
        for long in [full + "x", "ä".repeat(513), "\u{1f600}".repeat(400)] {
            let value = pushed(long.as_bytes());
            let (kept, hash) = value.split_once('…').unwrap();
            assert!(long.starts_with(kept) && hash.len() == 8 && value.len() <= LABEL_VALUE_BYTES_MAX, "{value}");
            assert!(value.len() > LABEL_VALUE_BYTES_MAX - 4);
        }
        assert!(pushed(&[0xff; 400]).contains('…'), "lossy text may be longer than its bytes");
    }

    #[test]
    fn two_long_values_stay_two_and_one_stays_one() {
        let (mut one, mut two) = (vec![b'x'; 5000], vec![b'x'; 5000]);
        two[4999] = b'y';
        assert_ne!(pushed(&one), pushed(&two));
        assert_eq!(pushed(&one), pushed(&one.clone()));
        // Part of an exposed value: must not change between versions.
        one.truncate(1025);
        assert!(pushed(&one).ends_with("…b58ac740"), "{}", pushed(&one));
    }

    #[test]
    fn an_empty_value_equals_an_absent_label_and_is_kept() {
        let (mut with, mut without) = (LabelKey::new(), LabelKey::new());
        with.push(A, b"");
        with.push(B, b"1");
        without.push(B, b"1");
        assert_eq!(with.identity(), without.identity());
        assert!(with.is(&without.to_stored()) && without.is(&with.to_stored()));
        assert_eq!(entries(&with.to_stored()).count(), 2);
        let mut more = without.clone();
        more.push(LabelName(2), b"2");
        assert!(!without.is(&more.to_stored()) && !more.is(&without.to_stored()));
    }

    #[test]
    fn order_and_repetition_are_put_right() {
        let mut key = LabelKey::new();
        for (name, value) in [(B, "2"), (A, "1"), (B, "3")] {
            key.push(name, value.as_bytes());
        }
        let name_of = |name: LabelName| ["a", "b"][usize::from(name.0)];
        assert!(key.sort_by_name(name_of));
        assert!(!key.sort_by_name(name_of));
        let stored = key.to_stored();
        assert_eq!(entries(&stored).collect::<Vec<_>>(), [(A, b"1".as_slice()), (B, b"2")]);
        // A name that stands with a value and without one is there once, too.
        key.push(A, b"");
        assert!(key.sort_by_name(name_of));
        assert_eq!(key.to_stored(), stored);
    }
}
