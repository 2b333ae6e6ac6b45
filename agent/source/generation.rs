//! One file of a log, and how far it was read.

use super::line_buffer::{HEADROOM_BYTES, Line, LineBuffer};
use super::open::{FileId, Opened, Opener, Refusal};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes before the cursor that are remembered and compared: a file that was rewritten in place shows by them.
const MARKER_BYTES: usize = HEADROOM_BYTES;
/// Bytes from the beginning of a file by which it is known again when it was compressed. A container's lines begin
/// with their time, so no two files begin alike.
const HEAD_BYTES: usize = 1024;
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
    /// The file turned out to be damaged, too large, or on a bad disk: its rest could not be read. Told once.
    pub broken: bool,
}

pub enum Generation {
    /// Not opened yet: it is its turn when all older ones are read.
    Waiting(PathBuf),
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
    /// The last bytes before the offset.
    marker: Vec<u8>,
    /// When the file was written last, as of the last look: one that was rewritten to just its size before shows by it.
    modified: Option<SystemTime>,
    /// The last read failed.
    failed: bool,
}

/// A compressed file: complete, and read once from its beginning.
pub struct Packed {
    decoder: MultiGzDecoder<File>,
    /// What was unpacked and not handed out: the beginning of a line.
    rest: Vec<u8>,
    unpacked_bytes: u64,
    skipping: bool,
    done: bool,
}

impl Generation {
    pub fn open(opener: &Opener, path: &Path) -> Result<Self, Refusal> {
        let Opened { file, id, .. } = opener.open(path)?;
        Ok(if path.extension().is_some_and(|ending| ending == "gz") {
            let decoder = MultiGzDecoder::new(file);
            Generation::Packed(Packed { decoder, rest: Vec::new(), unpacked_bytes: 0, skipping: false, done: false })
        } else {
            Generation::Plain(Plain {
                id,
                file,
                offset: 0,
                skipping: false,
                marker: Vec::new(),
                modified: None,
                failed: false,
            })
        })
    }

    /// Whether it is this file, and may still grow.
    pub fn is(&self, id: FileId) -> bool {
        matches!(self, Generation::Plain(plain) if plain.id == id)
    }

    /// Reads whole lines, up to about `budget` bytes. With `last`, a line without a newline is handed out too.
    pub fn read(&mut self, buffer: &mut LineBuffer, budget: u64, last: bool, take: impl FnMut(Line<'_>)) -> Turn {
        match self {
            Generation::Waiting(_) => Turn::default(),
            Generation::Plain(plain) => plain.read(buffer, budget, last, take),
            Generation::Packed(packed) => packed.read(buffer, budget, take),
        }
    }

    /// Whether it is a compressed file that begins with `head`; if that is empty, whether the file is.
    pub fn was(self, head: &[u8]) -> bool {
        let Generation::Packed(packed) = self else { return false };
        let mut start = Vec::new();
        let read = packed.decoder.take(head.len().max(1) as u64).read_to_end(&mut start);
        read.is_ok() && start == head
    }

    /// Bytes from the cursor to the end, as far as that can be told.
    pub fn lag_bytes(&self) -> u64 {
        match self {
            Generation::Waiting(path) => path.metadata().map_or(0, |metadata| metadata.len()),
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

    /// The beginning of the file as it is now.
    pub fn head(&self) -> Vec<u8> {
        let mut head = vec![0; HEAD_BYTES];
        let filled = self.file.read_at(&mut head, 0).unwrap_or(0);
        head.truncate(filled);
        head
    }

    fn read(&mut self, buffer: &mut LineBuffer, budget: u64, last: bool, take: impl FnMut(Line<'_>)) -> Turn {
        let mut turn = Turn::default();
        let failed = self.read_into(&mut turn, buffer, budget, last, take).is_err();
        turn.broken = failed && !self.failed;
        self.failed = failed;
        turn
    }

    fn read_into(
        &mut self,
        turn: &mut Turn,
        buffer: &mut LineBuffer,
        budget: u64,
        last: bool,
        mut take: impl FnMut(Line<'_>),
    ) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        let modified = metadata.modified().ok();
        if metadata.len() < self.offset {
            self.restart(turn);
        } else if metadata.len() == self.offset && modified == self.modified {
            return Ok(());
        }
        self.modified = modified;
        while turn.bytes < budget {
            let before = self.marker.len();
            let room = buffer.room();
            // The marker is read again with what follows it, which costs no system call of its own.
            let filled = self.file.read_at(room, self.offset - before as u64)?;
            if filled < before || room[..before] != self.marker[..] {
                self.restart(turn);
                continue;
            }
            if filled == before {
                return Ok(());
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
                return Ok(());
            }
        }
        turn.more = true;
        Ok(())
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
    fn read(&mut self, buffer: &mut LineBuffer, budget: u64, mut take: impl FnMut(Line<'_>)) -> Turn {
        let mut turn = Turn::default();
        while !self.done {
            if turn.bytes >= budget {
                turn.more = true;
                return turn;
            }
            let room = buffer.room();
            let before = self.rest.len();
            room[..before].copy_from_slice(&self.rest);
            let (filled, end) = self.fill(&mut room[before..]);
            self.unpacked_bytes += filled as u64;
            let too_large = self.unpacked_bytes > UNPACKED_BYTES_MAX;
            turn.broken = too_large || matches!(end, Some(Err(_)));
            self.done = too_large || end.is_some();
            // What damage tore off is no line.
            let last = self.done && !turn.broken;
            let consumed = buffer.cut(before + filled, self.skipping, last, &mut take);
            turn.lines += consumed.lines;
            turn.cut += consumed.cut;
            turn.bytes += consumed.bytes as u64;
            self.skipping = consumed.skipping;
            self.rest.clear();
            self.rest.extend_from_slice(&buffer.room()[consumed.bytes..before + filled]);
        }
        turn
    }

    /// Fills the room as far as the file goes: how many bytes, and how the file ended if it did. Damage ends it.
    fn fill(&mut self, room: &mut [u8]) -> (usize, Option<io::Result<()>>) {
        let mut filled = 0;
        while filled < room.len() {
            match self.decoder.read(&mut room[filled..]) {
                Ok(0) => return (filled, Some(Ok(()))),
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (filled, Some(Err(error))),
            }
        }
        (filled, None)
    }
}
