//! The smallest piece of a generation: a sector of 512 bytes that says for itself whether it is whole and whose it is.
//!
//! A write that was not finished leaves sectors behind that are whole: new ones, zeros, or what a former life of the
//! file left there. Damage leaves sectors that are not. That is how the two are told apart.

use crate::keep::{Reader, Writer};
use flate2::Crc;

/// What disks write as a whole.
pub const SECTOR_BYTES: usize = 512;
/// check 4, flags 2, length 2, life 8, batch 8.
const HEAD_BYTES: usize = 24;
/// What one sector holds of a batch.
pub const PAYLOAD_BYTES: usize = SECTOR_BYTES - HEAD_BYTES;

/// The format that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;
/// Numbers of batches and generations stay below: one a nanosecond for a century.
pub const NUMBER_MAX: u64 = 1 << 62;
const MAGIC: &[u8; 8] = b"weirkeep";

/// The last sector of its batch: with it the batch is whole.
pub const LAST: u16 = 1;
/// The batch was made for a scrape.
pub const MARKED: u16 = 1 << 1;
/// The batch was made durable before anyone heard of it.
pub const SYNCED: u16 = 1 << 2;
/// All batches before this one were durable when it was written.
pub const SETTLED: u16 = 1 << 3;
/// In the last sector of a file: the batch that is named there is the last, the agent ended cleanly.
pub const CLOSED: u16 = 1 << 4;
/// In the last sector of a file: there is a newer generation.
pub const FOLLOWED: u16 = 1 << 5;

/// What stands at the head of each sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub flags: u16,
    /// Bytes of the payload.
    pub length: usize,
    /// A random number that the file was given when it became this generation.
    pub life: u64,
    /// The number of the batch.
    pub batch: u64,
}

/// What a sector is found to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Sector<'b> {
    /// Whole, with its payload. Of this life or another.
    Whole(Head, &'b [u8]),
    /// Never written.
    Zero,
    /// Neither.
    Bad,
}

/// Finishes a sector whose payload stands in its place, followed by zeros. `index` counts the sectors of the file.
pub fn seal(sector: &mut [u8], index: u64, head: Head) {
    sector[4..6].copy_from_slice(&head.flags.to_le_bytes());
    sector[6..8].copy_from_slice(&(head.length as u16).to_le_bytes());
    sector[8..16].copy_from_slice(&head.life.to_le_bytes());
    sector[16..24].copy_from_slice(&head.batch.to_le_bytes());
    let check = check(sector, index);
    sector[..4].copy_from_slice(&check.to_le_bytes());
}

/// A sector without payload: what stands at the end of a file.
pub fn foot(index: u64, flags: u16, life: u64, batch: u64) -> [u8; SECTOR_BYTES] {
    let mut sector = [0; SECTOR_BYTES];
    seal(&mut sector, index, Head { flags, length: 0, life, batch });
    sector
}

/// Room for a sector's head at the end of `bytes`.
pub fn begin(bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&[0; HEAD_BYTES]);
}

pub fn look(sector: &[u8], index: u64) -> Sector<'_> {
    let parse = || {
        let mut reader = Reader::new(sector);
        let found = u32::from_le_bytes(reader.raw(4)?.try_into().ok()?);
        let flags = u16::from_le_bytes(reader.raw(2)?.try_into().ok()?);
        let length = usize::from(u16::from_le_bytes(reader.raw(2)?.try_into().ok()?));
        let head = Head { flags, length, life: reader.word()?, batch: reader.word()? };
        Some((found, head, reader.rest().get(..length)?))
    };
    if sector.iter().all(|byte| *byte == 0) {
        return Sector::Zero;
    }
    match parse() {
        Some((found, head, payload)) if found == check(sector, index) => Sector::Whole(head, payload),
        _ => Sector::Bad,
    }
}

/// The place counts too: a sector that the disk wrote elsewhere is not taken for the one that belongs there.
fn check(sector: &[u8], index: u64) -> u32 {
    let mut crc = Crc::new();
    crc.update(&index.to_le_bytes());
    crc.update(&sector[4..]);
    crc.sum()
}

/// The first sector of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub generation: u64,
    /// A random number that all generations of a state directory share.
    pub directory: u64,
    pub life: u64,
    /// Sectors of the file, this one and the foot included.
    pub sectors: u64,
    /// The number of the first batch.
    pub batch: u64,
}

/// Why a first sector is none.
#[derive(Debug, PartialEq, Eq)]
pub enum NoHeader {
    Bad,
    /// It is sound, and of a version that this program does not know.
    Version(u32),
}

impl Header {
    /// Every version keeps the first sixteen bytes: magic, version, and a checksum of the sector with four zeros in
    /// its own place.
    pub fn bytes(&self) -> [u8; SECTOR_BYTES] {
        let mut bytes = Vec::with_capacity(SECTOR_BYTES);
        let mut writer = Writer::new(&mut bytes);
        writer.raw(MAGIC);
        writer.raw(&VERSION.to_le_bytes());
        writer.raw(&[0; 4]);
        for word in [self.generation, self.directory, self.life, self.sectors, self.batch] {
            writer.word(word);
        }
        let mut sector = [0; SECTOR_BYTES];
        sector[..bytes.len()].copy_from_slice(&bytes);
        let check = header_check(&sector);
        sector[12..16].copy_from_slice(&check.to_le_bytes());
        sector
    }

    pub fn read(sector: &[u8]) -> Result<Header, NoHeader> {
        let parse = || {
            let mut reader = Reader::new(sector);
            let magic = reader.raw(MAGIC.len())? == MAGIC;
            let version = u32::from_le_bytes(reader.raw(4)?.try_into().ok()?);
            let found = u32::from_le_bytes(reader.raw(4)?.try_into().ok()?);
            let sound = magic && sector.len() == SECTOR_BYTES && found == header_check(sector);
            let mut word = || reader.word();
            let header =
                Header { generation: word()?, directory: word()?, life: word()?, sectors: word()?, batch: word()? };
            sound.then_some((version, header))
        };
        match parse() {
            Some((VERSION, header)) => Ok(header),
            Some((version, _)) => Err(NoHeader::Version(version)),
            None => Err(NoHeader::Bad),
        }
    }
}

fn header_check(sector: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(&sector[..12]);
    crc.update(&[0; 4]);
    crc.update(&sector[16..]);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_is_whole_in_its_place_and_no_byte_may_differ() {
        let mut sector = Vec::new();
        begin(&mut sector);
        sector.extend_from_slice(b"payload");
        sector.resize(SECTOR_BYTES, 0);
        let head = Head { flags: LAST | MARKED, length: 7, life: 9, batch: 3 };
        seal(&mut sector, 5, head);
        assert_eq!(look(&sector, 5), Sector::Whole(head, b"payload"));
        assert_eq!(look(&sector, 6), Sector::Bad);
        assert_eq!(look(&[0; SECTOR_BYTES], 5), Sector::Zero);
        for at in 0..SECTOR_BYTES {
            for flip in [1, 0x80, 0xff] {
                sector[at] ^= flip;
                assert_eq!(look(&sector, 5), Sector::Bad, "{at}");
                sector[at] ^= flip;
            }
        }
    }

    #[test]
    fn a_header_is_read_or_refused_with_its_version() {
        let header = Header { generation: 1, directory: 2, life: 3, sectors: 4, batch: 5 };
        let mut sector = header.bytes();
        assert_eq!(Header::read(&sector), Ok(header));
        assert_eq!(Header::read(&sector[..100]), Err(NoHeader::Bad));
        for at in 0..SECTOR_BYTES {
            sector[at] ^= 0x40;
            assert_eq!(Header::read(&sector), Err(NoHeader::Bad), "{at}");
            sector[at] ^= 0x40;
        }
        sector[8] = 7;
        let check = header_check(&sector);
        sector[12..16].copy_from_slice(&check.to_le_bytes());
        assert_eq!(Header::read(&sector), Err(NoHeader::Version(7)));
    }
}
