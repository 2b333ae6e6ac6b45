//! What outlives the process: numbered slots that hold bytes.
//!
//! Each part of the agent writes what it must know again after a restart into slots of its own tables, in a notation of
//! its own; the checkpoint keeps slots and knows nothing of what they mean. A cut is the difference between two images
//! of all slots.

use std::ops::Range;

/// The tables and who owns them. Numbers are on disk: never given to anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub u8);

impl Table {
    /// `app`: one slot, which run wrote the state.
    pub const RUN: Table = Table(1);
    /// `metrics`: label names by their id.
    pub const LABEL_NAMES: Table = Table(2);
    /// `metrics`: the metrics of each group.
    pub const GROUPS: Table = Table(3);
    /// `metrics`: the label set of each row.
    pub const SERIES: Table = Table(4);
    /// `metrics`: the cells of each row.
    pub const VALUES: Table = Table(5);
    /// `metrics`: since when newborn series are shown.
    pub const BIRTHS: Table = Table(6);
    /// `app`: sources, by whom they are read and where they lie.
    pub const SOURCES: Table = Table(7);
    /// `source`: the files of each source with their cursors.
    pub const CURSORS: Table = Table(8);
    /// `app`: the jobs, their books and bindings.
    pub const JOBS: Table = Table(9);
    /// `pipeline`: what the stages of each job hold.
    pub const HELD: Table = Table(10);
    /// `pipeline`: which ingress answers for a host.
    pub const HOSTS: Table = Table(11);
    /// `app`: breaks of promises, by reason.
    pub const BREAKS: Table = Table(12);
    /// `sink`: the books of each client, and which of its batches are not settled.
    pub const CLIENTS: Table = Table(13);
    /// `sink`: the last entries of each stream, to tell two equal ones apart.
    pub const STREAMS: Table = Table(14);
    /// `sink`: the batches of each client that are not settled, with their numbers of entries.
    pub const OUTBOX: Table = Table(15);
}

/// Where something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    pub table: Table,
    pub index: u64,
}

/// Takes what changed since the image before.
pub trait Keep {
    fn put(&mut self, slot: Slot, value: &[u8]);
    fn delete(&mut self, slot: Slot);
}

/// An image of slots: what they hold, ordered, in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// Ascending.
    slots: Vec<(Slot, Range<usize>)>,
    bytes: Vec<u8>,
}

impl Entries {
    /// Adds a slot that comes after all others. One that does not is a mistake of the program.
    pub fn put(&mut self, slot: Slot, write: impl FnOnce(&mut Writer<'_>)) {
        debug_assert!(self.slots.last().is_none_or(|(last, _)| *last < slot), "{slot:?} out of order");
        let start = self.bytes.len();
        write(&mut Writer(&mut self.bytes));
        self.slots.push((slot, start..self.bytes.len()));
    }

    /// Gives back what was taken for growing: an image lives as long as a cut.
    pub fn shrink(&mut self) {
        self.slots.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    pub fn get(&self, slot: Slot) -> Option<&[u8]> {
        let at = self.slots.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
        Some(&self.bytes[self.slots[at].1.clone()])
    }

    /// All slots in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &[u8])> {
        self.slots.iter().map(|(slot, range)| (*slot, &self.bytes[range.clone()]))
    }

    /// The slots of one table: index and bytes.
    pub fn table(&self, table: Table) -> impl Iterator<Item = (u64, &[u8])> {
        let start = self.slots.partition_point(|(slot, _)| slot.table < table);
        let of_table = self.slots[start..].iter().take_while(move |(slot, _)| slot.table == table);
        of_table.map(|(slot, range)| (slot.index, &self.bytes[range.clone()]))
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What makes `self` of `old`.
    pub fn changes_since(&self, old: &Entries, keep: &mut dyn Keep) {
        let (mut old, mut new) = (old.iter().peekable(), self.iter().peekable());
        loop {
            match (old.peek().copied(), new.peek().copied()) {
                (None, None) => return,
                (Some((gone, _)), next) if next.is_none_or(|(slot, _)| gone < slot) => {
                    keep.delete(gone);
                    old.next();
                }
                (before, Some((slot, value))) => {
                    let known = before.filter(|(known, _)| *known == slot);
                    if known.is_none_or(|(_, known)| known != value) {
                        keep.put(slot, value);
                    }
                    old.next_if(|_| known.is_some());
                    new.next();
                }
                // Taken by the first arm; written out because a guard does not count.
                (Some(_), None) => return,
            }
        }
    }
}

/// Builds an image of slots in any order.
impl FromIterator<(Slot, Box<[u8]>)> for Entries {
    fn from_iter<I: IntoIterator<Item = (Slot, Box<[u8]>)>>(slots: I) -> Self {
        let sorted: std::collections::BTreeMap<Slot, Box<[u8]>> = slots.into_iter().collect();
        let mut entries = Entries::default();
        for (slot, value) in sorted {
            entries.put(slot, |writer| writer.raw(&value));
        }
        entries
    }
}

/// Writes values one after another; a [`Reader`] reads them in the same order.
pub struct Writer<'b>(&'b mut Vec<u8>);

impl<'b> Writer<'b> {
    pub fn new(bytes: &'b mut Vec<u8>) -> Self {
        Writer(bytes)
    }

    pub fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    /// 1 to 10 bytes, seven bits in each, the lowest first.
    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Eight bytes, the lowest first: hashes, floats, device numbers.
    pub fn word(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A length and so many bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.raw(value);
    }

    /// Bytes whose end is known otherwise.
    pub fn raw(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }
}

/// Reads what a [`Writer`] wrote. `None`: it was not; the bytes may be damaged, or of another version.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Reader(bytes)
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.raw(1).map(|bytes| bytes[0])
    }

    pub fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub fn word(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.raw(8)?.try_into().ok()?))
    }

    pub fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.raw(length)
    }

    pub fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub fn raw(&mut self, length: usize) -> Option<&'b [u8]> {
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }

    /// What was not read.
    pub fn rest(&self) -> &'b [u8] {
        self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    impl Keep for BTreeMap<Slot, Vec<u8>> {
        fn put(&mut self, slot: Slot, value: &[u8]) {
            self.insert(slot, value.to_vec());
        }

        fn delete(&mut self, slot: Slot) {
            assert!(self.remove(&slot).is_some(), "{slot:?} was not there");
        }
    }

    fn entries(slots: &[(u8, u64, &str)]) -> Entries {
        let slot = |(table, index, value): &(u8, u64, &str)| {
            (Slot { table: Table(*table), index: *index }, Box::from(value.as_bytes()))
        };
        slots.iter().map(slot).collect()
    }

    #[test]
    fn changes_make_the_new_image_of_the_old_one() {
        let images = [
            entries(&[]),
            entries(&[(1, 0, "a"), (2, 0, "b"), (2, 7, "c"), (9, 1, "d")]),
            entries(&[(1, 0, "a"), (2, 1, "new"), (2, 7, "changed"), (3, 0, "")]),
            entries(&[(2, 7, "changed"), (9, 1, "d"), (9, 2, "e")]),
        ];
        for (old, new) in images.iter().flat_map(|old| images.iter().map(move |new| (old, new))) {
            let mut kept: BTreeMap<Slot, Vec<u8>> = old.iter().map(|(slot, value)| (slot, value.to_vec())).collect();
            new.changes_since(old, &mut kept);
            let wanted: BTreeMap<Slot, Vec<u8>> = new.iter().map(|(slot, value)| (slot, value.to_vec())).collect();
            assert_eq!(kept, wanted);
        }
        let table: Vec<u64> = images[1].table(Table(2)).map(|(index, _)| index).collect();
        assert_eq!(table, [0, 7]);
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else_is() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        for number in [0, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            writer.number(number);
        }
        writer.word(7);
        writer.bytes(b"text");
        let read = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            let numbers: Option<Vec<u64>> = (0..6).map(|_| reader.number()).collect();
            Some((numbers?, reader.word()?, reader.text()?.to_string(), reader.is_empty()))
        };
        let numbers = vec![0, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        assert_eq!(read(&bytes), Some((numbers, 7, "text".to_string(), true)));
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), None, "{end}");
        }
        // More than 64 bits, and a number that never ends.
        assert_eq!(Reader::new(&[0xff; 9]).number(), None);
        assert_eq!(Reader::new(&[[0xff; 9].as_slice(), &[0x02]].concat()).number(), None);
        assert_eq!(Reader::new(&[0x80; 20]).number(), None);
    }
}
