//! One file of a log, and how far it was read.

use super::line_buffer::{Line, LineBuffer, MARKER_BYTES};
use super::open::{FileId, Opened, Opener, Refusal};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// A compressed file may hold this many bytes; past it the rest is given up. A bound against bombs.
const UNPACKED_BYTES_MAX: u64 = 2 << 30;

/// What a look at a file gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    pub bytes: u64,
    pub lines: u64,
    pub cut: u64,
    /// The budget ended before the file did.
    pub more: bool,
    /// The file was truncated or rewritten, and was begun again.
    pub restarted: bool,
}

pub enum Generation {
    Plain(Plain),
    Packed(Packed),
}

/// A file that may still grow.
pub struct Plain {
    pub id: FileId,
    file: File,
    /// Where the first line begins that was not handed out.
    offset: u64,
    /// The offset lies inside a line that was cut.
    skipping: bool,
    /// The last bytes before the offset: a file that was rewritten in place shows by them.
    marker: Vec<u8>,
}

/// A compressed file: complete, and read once from its beginning.
pub struct Packed {
    decoder: MultiGzDecoder<File>,
    /// What was unpacked and not handed out: the beginning of a line.
    rest: Vec<u8>,
    unpacked_bytes: u64,
    skipping: bool,
    done: bool,
    /// The file is damaged, or too large: its rest could not be read.
    pub broken: bool,
}

impl Generation {
    pub fn open(opener: &Opener, path: &Path) -> Result<Self, Refusal> {
        let Opened { file, id, .. } = opener.open(path)?;
        Ok(if path.extension().is_some_and(|ending| ending == "gz") {
            let decoder = MultiGzDecoder::new(file);
            let (rest, unpacked_bytes) = (Vec::new(), 0);
            Generation::Packed(Packed { decoder, rest, unpacked_bytes, skipping: false, done: false, broken: false })
        } else {
            Generation::Plain(Plain { id, file, offset: 0, skipping: false, marker: Vec::new() })
        })
    }

    /// Reads whole lines, up to about `budget` bytes. With `last`, a line without a newline is handed out too.
    pub fn read(
        &mut self,
        buffer: &mut LineBuffer,
        budget: u64,
        last: bool,
        take: impl FnMut(Line<'_>),
    ) -> io::Result<Turn> {
        match self {
            Generation::Plain(plain) => plain.read(buffer, budget, last, take),
            Generation::Packed(packed) => packed.read(buffer, budget, take),
        }
    }

    /// Bytes from the cursor to the end, as far as that can be told.
    pub fn lag_bytes(&self) -> u64 {
        match self {
            Generation::Plain(plain) => plain.size().saturating_sub(plain.offset),
            Generation::Packed(packed) if packed.done => 0,
            Generation::Packed(packed) => packed.decoder.get_ref().metadata().map_or(0, |m| m.len()),
        }
    }
}

impl Plain {
    fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the file has no name any more: nobody else will open it to write.
    pub fn is_unlinked(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    fn read(
        &mut self,
        buffer: &mut LineBuffer,
        budget: u64,
        last: bool,
        mut take: impl FnMut(Line<'_>),
    ) -> io::Result<Turn> {
        let mut turn = Turn::default();
        let size = self.size();
        if size < self.offset {
            self.restart(&mut turn);
        } else if size == self.offset {
            return Ok(turn);
        }
        while turn.bytes < budget {
            let before = self.marker.len();
            let room = buffer.room();
            // The marker is read again with what follows it, which costs no system call of its own.
            let filled = self.file.read_at(room, self.offset - before as u64)?;
            if filled < before || room[..before] != self.marker[..] {
                self.restart(&mut turn);
                continue;
            }
            if filled == before {
                return Ok(turn);
            }
            let full = filled == room.len();
            room.copy_within(before..filled, 0);
            let fresh = filled - before;
            let consumed = buffer.cut(fresh, self.skipping, last && !full, &mut take);
            turn.lines += consumed.lines;
            turn.cut += consumed.cut;
            turn.bytes += consumed.bytes as u64;
            self.advance(&buffer.room()[..consumed.bytes]);
            self.skipping = consumed.skipping;
            if consumed.bytes == 0 || (!full && consumed.bytes == fresh) {
                return Ok(turn);
            }
        }
        turn.more = true;
        Ok(turn)
    }

    fn advance(&mut self, consumed: &[u8]) {
        self.offset += consumed.len() as u64;
        let keep = MARKER_BYTES.saturating_sub(consumed.len()).min(self.marker.len());
        self.marker.drain(..self.marker.len() - keep);
        self.marker.extend_from_slice(&consumed[consumed.len().saturating_sub(MARKER_BYTES)..]);
    }

    fn restart(&mut self, turn: &mut Turn) {
        self.offset = 0;
        self.skipping = false;
        self.marker.clear();
        turn.restarted = true;
    }
}

impl Packed {
    fn read(&mut self, buffer: &mut LineBuffer, budget: u64, mut take: impl FnMut(Line<'_>)) -> io::Result<Turn> {
        let mut turn = Turn::default();
        while !self.done {
            if turn.bytes >= budget {
                turn.more = true;
                return Ok(turn);
            }
            let room = buffer.room();
            let before = self.rest.len();
            room[..before].copy_from_slice(&self.rest);
            let (filled, ended) = self.fill(&mut room[before..]);
            self.done = ended;
            self.unpacked_bytes += filled as u64;
            if self.unpacked_bytes > UNPACKED_BYTES_MAX {
                (self.done, self.broken) = (true, true);
            }
            // What damage tore off is no line.
            let last = self.done && !self.broken;
            let consumed = buffer.cut(before + filled, self.skipping, last, &mut take);
            turn.lines += consumed.lines;
            turn.cut += consumed.cut;
            turn.bytes += consumed.bytes as u64;
            self.skipping = consumed.skipping;
            self.rest.clear();
            self.rest.extend_from_slice(&buffer.room()[consumed.bytes..before + filled]);
        }
        Ok(turn)
    }

    /// Fills the room as far as the file goes: how many bytes, and whether that was all. Damage ends the file.
    fn fill(&mut self, room: &mut [u8]) -> (usize, bool) {
        let mut filled = 0;
        while filled < room.len() {
            match self.decoder.read(&mut room[filled..]) {
                Ok(0) => return (filled, true),
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.broken = true;
                    return (filled, true);
                }
            }
        }
        (filled, false)
    }
}
