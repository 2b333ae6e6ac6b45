//! The format of a segment: a header, and records that say for themselves whether they are whole and where they belong.
//! docs/state.md draws it.

use super::ranges::Ranges;
use crate::keep::{Reader, Writer};
use flate2::Crc;

/// The format that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"weirspol";
/// A whole block of any disk: whatever takes the header leaves the first record, and the other way round.
pub const HEADER_BYTES: u64 = 4096;
/// What of the header is written; zeros follow.
const HEADER_USED_BYTES: usize = 64;
/// What stands before tenant and body of each record.
pub const HEAD_BYTES: usize = 48;
/// Records begin at multiples of this.
pub const ALIGN_BYTES: u64 = 8;
/// What disks write as a whole. No write touches one that an earlier write filled: a loss of power could take it.
pub const SECTOR_BYTES: u64 = 512;
/// Sequence numbers and ids stay below: one a nanosecond for a century.
pub const NUMBER_MAX: u64 = 1 << 62;
/// The largest record. A larger one is neither written nor read.
const RECORD_BYTES_MAX: u64 = 64 << 20;
/// The largest that a segment ever is: one record, and what stands before it.
pub const SEGMENT_BYTES_MAX: u64 = RECORD_BYTES_MAX + (1 << 20);
/// Ranges of ids in one record.
pub const NOTE_RANGES_MAX: usize = 4096;
/// What so many ranges can take: two numbers each, of ten bytes at most.
pub const NOTE_BYTES_MAX: usize = NOTE_RANGES_MAX * 20;

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Counts the segments of a directory, as the file's name does.
    pub sequence: u64,
    /// A random number of the file.
    pub life: u64,
    /// No batch below it was wanted any more when the segment was begun.
    pub settled_below: u64,
    /// No batch had this id or a higher one when the segment was begun.
    pub next_id: u64,
}

/// Why there is no header.
#[derive(Debug, PartialEq, Eq)]
pub enum NoHeader {
    Bad,
    /// It is sound, and of a version that this program does not know.
    Version(u32),
}

impl Header {
    /// Every version keeps the first sixteen bytes: magic, version, and a checksum of the first 64 with four zeros in
    /// its own place.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
        let mut writer = Writer::new(&mut bytes);
        writer.raw(MAGIC);
        writer.raw(&VERSION.to_le_bytes());
        writer.raw(&[0; 4]);
        for word in [self.sequence, self.life, self.settled_below, self.next_id] {
            writer.word(word);
        }
        bytes.resize(HEADER_BYTES as usize, 0);
        let check = header_check(&bytes);
        bytes[12..16].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    pub fn read(bytes: &[u8]) -> Result<Header, NoHeader> {
        let parse = || {
            let mut reader = Reader::new(bytes.get(..HEADER_USED_BYTES)?);
            let magic = reader.raw(MAGIC.len())? == MAGIC;
            let version = short_of(&mut reader)?;
            let sound = magic && short_of(&mut reader)? == header_check(bytes);
            let mut word = || reader.word();
            let header = Header { sequence: word()?, life: word()?, settled_below: word()?, next_id: word()? };
            sound.then_some((version, header))
        };
        match parse() {
            Some((VERSION, header)) => Ok(header),
            Some((version, _)) => Err(NoHeader::Version(version)),
            None => Err(NoHeader::Bad),
        }
    }
}

fn header_check(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(&bytes[..12]);
    crc.update(&[0; 4]);
    crc.update(&bytes[16..HEADER_USED_BYTES]);
    crc.sum()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A batch; the body is its snappy block.
    Batch = 1,
    /// Batches that came to their end; the body names their ids.
    Settled = 2,
    /// Batches that were given up; the body names their ids.
    Gone = 3,
}

/// One record, as it is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Record<'b> {
    pub kind: Kind,
    pub id: u64,
    pub lines: u64,
    pub bytes: u64,
    pub tenant: &'b str,
    pub body: &'b [u8],
}

impl<'b> Record<'b> {
    /// A record that names ids.
    pub fn note(kind: Kind, body: &'b [u8]) -> Self {
        Record { kind, id: 0, lines: 0, bytes: 0, tenant: "", body }
    }

    /// What it takes of a segment. Nothing: it cannot be written, since its tenant is longer than 64 KiB, its body than
    /// 64 MiB, or its id beyond all limits.
    pub fn stored_bytes(&self) -> Option<u64> {
        let stored = stored_bytes(self.tenant.len(), self.body.len());
        let fits = self.tenant.len() <= usize::from(u16::MAX) && stored <= RECORD_BYTES_MAX && self.id < NUMBER_MAX;
        fits.then_some(stored)
    }

    /// Adds the record to bytes that stand in a segment; it begins at `offset` there.
    pub fn write(&self, buffer: &mut Vec<u8>, owner: Owner, offset: u64) {
        let start = buffer.len();
        let mut writer = Writer::new(buffer);
        writer.word(owner.life);
        writer.raw(&[0; 4]);
        writer.raw(&check_of(self.body).to_le_bytes());
        writer.raw(&[self.kind as u8, 0]);
        writer.raw(&(self.tenant.len() as u16).to_le_bytes());
        writer.raw(&(self.body.len() as u32).to_le_bytes());
        for word in [self.id, self.lines, self.bytes] {
            writer.word(word);
        }
        writer.raw(self.tenant.as_bytes());
        let check = head_check(&buffer[start..], owner, offset);
        buffer[start + 8..start + 12].copy_from_slice(&check.to_le_bytes());
        buffer.extend_from_slice(self.body);
        buffer.resize(start + stored_bytes(self.tenant.len(), self.body.len()) as usize, 0);
    }
}

/// The segment that a record belongs to. What another file left in the same place of the disk has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub life: u64,
    pub sequence: u64,
}

/// What a whole head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'b> {
    pub kind: Kind,
    pub id: u64,
    pub lines: u64,
    pub bytes: u64,
    pub tenant: &'b str,
    pub body_bytes: usize,
    pub body_check: u32,
}

impl<'b> Head<'b> {
    /// `bytes` begin where the record does, and hold the tenant too.
    pub fn read(bytes: &'b [u8], owner: Owner, offset: u64) -> Option<Head<'b>> {
        let mut reader = Reader::new(bytes);
        if reader.word()? != owner.life {
            return None;
        }
        let found = short_of(&mut reader)?;
        let body_check = short_of(&mut reader)?;
        let kind = match reader.raw(2)? {
            [1, 0] => Kind::Batch,
            [2, 0] => Kind::Settled,
            [3, 0] => Kind::Gone,
            _ => return None,
        };
        let tenant_bytes = usize::from(u16::from_le_bytes(reader.raw(2)?.try_into().ok()?));
        let body_bytes = short_of(&mut reader)? as usize;
        let (id, lines, size) = (reader.word()?, reader.word()?, reader.word()?);
        let tenant = std::str::from_utf8(reader.raw(tenant_bytes)?).ok()?;
        let fits = id < NUMBER_MAX && stored_bytes(tenant_bytes, body_bytes) <= RECORD_BYTES_MAX;
        let sound = fits && found == head_check(&bytes[..HEAD_BYTES + tenant_bytes], owner, offset);
        sound.then_some(Head { kind, id, lines, bytes: size, tenant, body_bytes, body_check })
    }

    /// Where the body begins, from the beginning of the record.
    pub fn body_start(&self) -> u64 {
        (HEAD_BYTES + self.tenant.len()) as u64
    }

    pub fn stored_bytes(&self) -> u64 {
        stored_bytes(self.tenant.len(), self.body_bytes)
    }
}

/// What the first bytes of a record say of the tenant's length, before anyone knows whether they are true.
pub fn tenant_bytes_of(head: &[u8]) -> usize {
    head.get(18..20).map_or(0, |bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
}

/// The same of the life.
pub fn life_of(head: &[u8]) -> Option<u64> {
    Reader::new(head).word()
}

pub fn check_of(body: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(body);
    crc.sum()
}

/// The place counts too: what the disk wrote elsewhere is not taken for what belongs there.
fn head_check(head: &[u8], owner: Owner, offset: u64) -> u32 {
    let mut crc = Crc::new();
    crc.update(&owner.sequence.to_le_bytes());
    crc.update(&offset.to_le_bytes());
    crc.update(&head[..8]);
    crc.update(&head[12..]);
    crc.sum()
}

fn stored_bytes(tenant_bytes: usize, body_bytes: usize) -> u64 {
    (HEAD_BYTES as u64 + tenant_bytes as u64 + body_bytes as u64).next_multiple_of(ALIGN_BYTES)
}

fn short_of(reader: &mut Reader<'_>) -> Option<u32> {
    Some(u32::from_le_bytes(reader.raw(4)?.try_into().ok()?))
}

/// The bodies of the records that name these ids, as many as are needed.
pub fn notes_of(ids: &Ranges) -> Vec<Vec<u8>> {
    let ranges: Vec<_> = ids.iter().collect();
    let body = |ranges: &[(u64, u64)]| {
        let mut body = Vec::new();
        let mut writer = Writer::new(&mut body);
        let mut last = 0;
        for (start, end) in ranges {
            writer.number(start - last);
            writer.number(end - start);
            last = *end;
        }
        body
    };
    ranges.chunks(NOTE_RANGES_MAX).map(body).collect()
}

/// The ranges that a body names. Nothing: it makes no sense.
pub fn ranges_of(body: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut reader = Reader::new(body);
    let (mut ranges, mut last) = (Vec::new(), 0u64);
    while !reader.is_empty() {
        let start = last.checked_add(reader.number()?)?;
        last = start.checked_add(reader.number()?)?;
        if last > NUMBER_MAX || ranges.len() == NOTE_RANGES_MAX {
            return None;
        }
        ranges.push((start, last));
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner { life: 0x0123_4567_89ab_cdef, sequence: 7 };

    #[test]
    fn a_head_is_whole_in_its_place_and_no_byte_may_differ() {
        let record = Record { kind: Kind::Batch, id: 3, lines: 10, bytes: 700, tenant: "edge", body: b"a block" };
        let mut bytes = vec![1, 2, 3];
        record.write(&mut bytes, OWNER, 4096);
        let mut bytes = bytes.split_off(3);
        assert_eq!(Some(bytes.len() as u64), record.stored_bytes());
        assert_eq!(bytes.len() % ALIGN_BYTES as usize, 0);
        let head = Head::read(&bytes, OWNER, 4096).expect("whole");
        assert_eq!((head.kind, head.id, head.lines, head.bytes, head.tenant), (Kind::Batch, 3, 10, 700, "edge"));
        assert_eq!((head.body_bytes, head.body_check), (7, check_of(b"a block")));
        assert_eq!((head.body_start(), head.stored_bytes()), (52, bytes.len() as u64));
        assert_eq!(Head::read(&bytes, OWNER, 4104), None, "another place");
        assert_eq!(Head::read(&bytes, Owner { life: 1, ..OWNER }, 4096), None, "another life");
        assert_eq!(Head::read(&bytes, Owner { sequence: 8, ..OWNER }, 4096), None, "another file");
        for at in 0..HEAD_BYTES + 4 {
            for flip in [1, 0x80, 0xff] {
                bytes[at] ^= flip;
                assert_eq!(Head::read(&bytes, OWNER, 4096), None, "byte {at}");
                bytes[at] ^= flip;
            }
            assert_eq!(Head::read(&bytes[..at], OWNER, 4096), None, "{at} bytes");
        }
    }

    #[test]
    fn a_header_is_read_or_refused_with_its_version() {
        let header = Header { sequence: 1, life: 2, settled_below: 3, next_id: 4 };
        let mut bytes = header.bytes();
        assert_eq!(Header::read(&bytes), Ok(header));
        for end in 0..HEADER_USED_BYTES {
            assert_eq!(Header::read(&bytes[..end]), Err(NoHeader::Bad));
            bytes[end] ^= 0x40;
            assert_eq!(Header::read(&bytes), Err(NoHeader::Bad), "byte {end}");
            bytes[end] ^= 0x40;
        }
        bytes[8] = 9;
        let check = header_check(&bytes);
        bytes[12..16].copy_from_slice(&check.to_le_bytes());
        assert_eq!(Header::read(&bytes), Err(NoHeader::Version(9)));
    }

    #[test]
    fn ids_are_named_in_ranges() {
        let ids: Ranges = (5..10).chain([20, 22, NUMBER_MAX - 1]).collect();
        let notes = notes_of(&ids);
        assert_eq!(notes.len(), 1);
        assert_eq!(ranges_of(&notes[0]), Some(vec![(5, 10), (20, 21), (22, 23), (NUMBER_MAX - 1, NUMBER_MAX)]));
        assert_eq!(ranges_of(&notes[0][..1]), None, "a start without a length");
        assert_eq!(ranges_of(&[0xff; 30]), None);
        let many: Ranges = (0..NOTE_RANGES_MAX as u64 + 1).map(|number| number * (1 << 40)).collect();
        let notes = notes_of(&many);
        assert!(notes.len() == 2 && notes.iter().all(|note| note.len() <= NOTE_BYTES_MAX));
        assert_eq!(
            notes.iter().filter_map(|note| ranges_of(note)).flatten().collect::<Vec<_>>(),
            many.iter().collect::<Vec<_>>()
        );
        assert_eq!(ranges_of(&notes.concat()), None, "more than one record holds");
    }
}
