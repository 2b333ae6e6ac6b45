//! Finding which wanted key, if any, a key of the line is.

use super::scan::{Quoted, head};
use super::text;

/// Wanted keys by number. Looking one up costs a multiplication and, nearly always, one comparison of words: a key's
/// first eight bytes and its length choose a bucket, and most buckets are empty.
pub(super) struct Keys {
    entries: Vec<Entry>,
    /// The first entry of each bucket, or [`NONE`].
    buckets: Box<[u16]>,
    shift: u32,
}

struct Entry {
    key: Box<[u8]>,
    head: u64,
    /// The next entry of the same bucket, or [`NONE`].
    next: u16,
}

const NONE: u16 = u16::MAX;

impl Keys {
    /// The keys must differ; only the first 65,534 are ever found.
    pub(super) fn new(keys: impl ExactSizeIterator<Item = Box<[u8]>>) -> Self {
        let bits = (keys.len() * 4).clamp(16, 1 << 16).next_power_of_two().trailing_zeros();
        let (mut buckets, shift) = (vec![NONE; 1 << bits].into_boxed_slice(), 64 - bits);
        let mut entries = Vec::with_capacity(keys.len());
        for (index, key) in keys.take(NONE.into()).enumerate() {
            let head = head(&key, key.len());
            let bucket = &mut buckets[bucket(head, key.len(), shift)];
            entries.push(Entry { key, head, next: *bucket });
            *bucket = index as u16;
        }
        Self { entries, buckets, shift }
    }

    /// The number of the wanted key that `key` is.
    #[inline(always)]
    pub(super) fn find(&self, key: Quoted<'_>) -> Option<usize> {
        if key.escaped {
            return self.find_escaped(key.raw);
        }
        let Quoted { raw, head, .. } = key;
        let mut index = self.buckets[bucket(head, raw.len(), self.shift)];
        while index != NONE {
            let entry = &self.entries[usize::from(index)];
            if entry.head == head && entry.key.len() == raw.len() && same_end(&entry.key, raw) {
                return Some(index.into());
            }
            index = entry.next;
        }
        None
    }

    #[cold]
    fn find_escaped(&self, raw: &[u8]) -> Option<usize> {
        self.entries.iter().position(|entry| text::is_escaped_form(raw, &entry.key))
    }
}

/// Whether two keys of one length and with the same first eight bytes are the same. Few are longer than sixteen bytes,
/// and for those their last eight are all that is left to look at.
#[inline(always)]
fn same_end(key: &[u8], raw: &[u8]) -> bool {
    match (key.last_chunk::<8>(), raw.last_chunk::<8>()) {
        (Some(end), Some(other)) => end == other && (raw.len() <= 16 || key == raw),
        _ => true,
    }
}

#[inline(always)]
fn bucket(head: u64, len: usize, shift: u32) -> usize {
    ((head ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(raw: &[u8]) -> Quoted<'_> {
        Quoted { raw, escaped: false, head: head(raw, raw.len()) }
    }

    #[test]
    fn every_key_finds_itself_and_no_neighbour() {
        // All lengths, and pairs that share their first eight bytes, their length, or all but one byte.
        let mut wanted: Vec<Vec<u8>> = (0..40).map(|len| vec![b'k'; len]).collect();
        wanted.extend((1..40).flat_map(|len| {
            (0..len).map(move |at| {
                let mut key = vec![b'k'; len];
                key[at] = b'x';
                key
            })
        }));
        let (kept, others): (Vec<_>, Vec<_>) = wanted.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
        let keys = Keys::new(kept.iter().map(|(_, key)| key.clone().into_boxed_slice()));
        for (number, (_, key)) in kept.iter().enumerate() {
            assert_eq!(keys.find(plain(key)), Some(number), "{}", key.escape_ascii());
        }
        for (_, key) in &others {
            assert_eq!(keys.find(plain(key)), None, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn without_keys_nothing_is_found() {
        assert_eq!(Keys::new(std::iter::empty()).find(plain(b"a")), None);
    }
}
