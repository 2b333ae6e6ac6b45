//! A batch: changes of slots, written into sectors as they come and read back from them.
//!
//! ```text
//! change := key size value          size := 0: the slot is deleted; else 1 + bytes of the value
//! key    := 0 table index           the table as a byte, the index as a number
//!         | step                    the same table, so many after the index before (never 0)
//! ```

use super::notice::{CheckpointError, ErrorKind};
use super::sector::{self, Head, LAST, PAYLOAD_BYTES, SECTOR_BYTES};
use crate::disk::DiskFile;
use crate::keep::{Keep, Reader, Slot, Table, Writer};

/// Sectors that are written at once: what a batch of any size needs of memory.
const PIECE_SECTORS: usize = 128;

/// Where a batch goes and what is said of it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its first sector.
    pub start: u64,
    /// The sector past the last one that it may use.
    pub end: u64,
    pub life: u64,
    pub batch: u64,
    /// [`sector::MARKED`] and its like, for each sector.
    pub flags: u16,
}

/// Takes changes and writes sectors.
pub struct BatchWriter<'f> {
    file: &'f mut dyn DiskFile,
    place: Place,
    /// Sectors that are not written yet; the last one is not full or not sealed.
    piece: Vec<u8>,
    /// Where the piece belongs.
    at: u64,
    /// Payload in the last sector of the piece.
    used: usize,
    last: Option<Slot>,
    /// Scratch: what stands before a value.
    head: Vec<u8>,
    slots: u64,
    error: Option<CheckpointError>,
}

/// A batch that was written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// The sector after it.
    pub end: u64,
    /// Changes in it.
    pub slots: u64,
}

impl<'f> BatchWriter<'f> {
    pub fn new(file: &'f mut dyn DiskFile, place: Place) -> Self {
        let mut piece = Vec::new();
        sector::begin(&mut piece);
        BatchWriter {
            file,
            place,
            piece,
            at: place.start,
            used: 0,
            last: None,
            head: Vec::new(),
            slots: 0,
            error: None,
        }
    }

    /// Writes what is left. Nothing of the batch counts without this.
    pub fn finish(mut self) -> Result<Written, CheckpointError> {
        self.seal(LAST);
        self.write();
        match self.error {
            None => Ok(Written { end: self.at, slots: self.slots }),
            Some(error) => Err(error),
        }
    }

    fn change(&mut self, slot: Slot, value: Option<&[u8]>) {
        if self.error.is_some() {
            return;
        }
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        let mut writer = Writer::new(&mut head);
        let step = self.last.filter(|last| last.table == slot.table).map(|last| slot.index.wrapping_sub(last.index));
        match step {
            Some(step) if step != 0 => writer.number(step),
            _ => {
                writer.byte(0);
                writer.byte(slot.table.0);
                writer.number(slot.index);
            }
        }
        writer.number(value.map_or(0, |value| value.len() as u64 + 1));
        self.push(&head);
        self.push(value.unwrap_or_default());
        self.head = head;
        self.last = Some(slot);
        self.slots += 1;
    }

    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.used == PAYLOAD_BYTES {
                self.seal(0);
                if self.piece.len() >= PIECE_SECTORS * SECTOR_BYTES {
                    self.write();
                }
                sector::begin(&mut self.piece);
            }
            let (now, later) = bytes.split_at(bytes.len().min(PAYLOAD_BYTES - self.used));
            self.piece.extend_from_slice(now);
            self.used += now.len();
            bytes = later;
        }
    }

    /// Finishes the last sector of the piece.
    fn seal(&mut self, flags: u16) {
        let start = self.piece.len() / SECTOR_BYTES * SECTOR_BYTES;
        // A full sector ends where the next one would begin.
        let start = if self.used == PAYLOAD_BYTES { start - SECTOR_BYTES } else { start };
        self.piece.resize(start + SECTOR_BYTES, 0);
        let index = self.at + (start / SECTOR_BYTES) as u64;
        let head =
            Head { flags: self.place.flags | flags, length: self.used, life: self.place.life, batch: self.place.batch };
        sector::seal(&mut self.piece[start..], index, head);
        self.used = 0;
    }

    fn write(&mut self) {
        let sectors = (self.piece.len() / SECTOR_BYTES) as u64;
        if self.error.is_none() {
            let written = if self.at + sectors > self.place.end {
                Err(CheckpointError::new(ErrorKind::Full, "the batch does not fit"))
            } else {
                let written = self.file.write_at(self.at * SECTOR_BYTES as u64, &self.piece);
                written.map_err(|error| CheckpointError::io("a batch could not be written", error))
            };
            self.error = written.err();
        }
        self.at += sectors;
        self.piece.clear();
    }
}

impl Keep for BatchWriter<'_> {
    fn put(&mut self, slot: Slot, value: &[u8]) {
        self.change(slot, Some(value));
    }

    fn delete(&mut self, slot: Slot) {
        self.change(slot, None);
    }
}

/// Reads changes from the payloads of a batch's sectors, one after another. No length that they claim is believed
/// before so many bytes are there.
#[derive(Debug, Default)]
pub struct BatchReader {
    /// What was not understood yet.
    rest: Vec<u8>,
    last: Option<Slot>,
}

/// Not what a [`BatchWriter`] writes.
#[derive(Debug)]
pub struct Nonsense;

impl BatchReader {
    /// Hands out each change that is whole with these bytes: the slot and its value, nothing when it is deleted.
    pub fn feed(&mut self, payload: &[u8], take: &mut dyn FnMut(Slot, Option<&[u8]>)) -> Result<(), Nonsense> {
        self.rest.extend_from_slice(payload);
        let mut reader = Reader::new(&self.rest);
        loop {
            let mut ahead = reader;
            let Some(slot) = slot(&mut ahead, self.last)? else { break };
            let Some(size) = ahead.number() else { break };
            let value = match size.checked_sub(1) {
                None => None,
                Some(bytes) => match ahead.raw(usize::try_from(bytes).map_err(|_| Nonsense)?) {
                    None => break,
                    value => value,
                },
            };
            take(slot, value);
            self.last = Some(slot);
            reader = ahead;
        }
        let done = self.rest.len() - reader.rest().len();
        self.rest.drain(..done);
        Ok(())
    }

    /// Whether the batch may end here.
    pub fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Nothing: there are not enough bytes yet.
fn slot(reader: &mut Reader<'_>, last: Option<Slot>) -> Result<Option<Slot>, Nonsense> {
    Ok(match reader.number() {
        None => None,
        Some(0) => {
            let table = reader.byte();
            table.zip(reader.number()).map(|(table, index)| Slot { table: Table(table), index })
        }
        Some(step) => {
            let Slot { table, index } = last.ok_or(Nonsense)?;
            Some(Slot { table, index: index.wrapping_add(step) })
        }
    })
}
