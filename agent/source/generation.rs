//! One file of a source: what it is known by, how far it was read, and reading on from there.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use super::Line;
use super::filesystem::{File, FileSystem, Metadata, OpenError};
use super::gz::GzReader;
use super::line_buffer::{LineBuffer, OVERLAP_BYTES};
use crate::clock::UnixNanos;

/// A fingerprint covers no more than this.
pub const FINGERPRINT_BYTES: usize = 1024;

/// FNV-1a, 64 bits: stable for ever, and grown byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub u64);

impl Hash {
    const EMPTY: Hash = Hash(0xcbf2_9ce4_8422_2325);

    fn with(self, bytes: &[u8]) -> Hash {
        Hash(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
    }
}

/// The first bytes of a file, hashed; the more of it was seen, the longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// At most [`FINGERPRINT_BYTES`].
    pub length: u16,
    pub hash: Hash,
}

impl Fingerprint {
    pub const EMPTY: Fingerprint = Fingerprint { length: 0, hash: Hash::EMPTY };

    /// Takes in what was read at `offset`.
    pub fn grow(&mut self, offset: u64, bytes: &[u8]) {
        let room = FINGERPRINT_BYTES - self.length as usize;
        let known = u64::from(self.length).checked_sub(offset).and_then(|n| usize::try_from(n).ok());
        if let Some(new) = known.and_then(|known| bytes.get(known..)).filter(|_| room > 0) {
            let new = &new[..new.len().min(room)];
            self.hash = self.hash.with(new);
            self.length += new.len() as u16;
        }
    }

    /// Whether a file that begins with `head` can be this one. An empty fingerprint tells nothing, so: no.
    pub fn matches(&self, head: &[u8]) -> bool {
        let length = self.length as usize;
        length > 0 && head.get(..length).is_some_and(|head| Hash::EMPTY.with(head) == self.hash)
    }
}

/// How far a file was read, in decompressed bytes, and how to tell that it is still the same there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Of the first byte that was not handed out.
    pub offset: u64,
    /// It stands in the middle of a line that was handed out cut.
    pub skipping: bool,
    /// The bytes before `offset`, at most `line_buffer::OVERLAP_BYTES` of them.
    pub marker_bytes: u8,
    pub marker: Hash,
}

impl Cursor {
    pub const START: Cursor = Cursor { offset: 0, skipping: false, marker_bytes: 0, marker: Hash::EMPTY };

    fn of(buffer: &LineBuffer) -> Cursor {
        let overlap = buffer.overlap();
        Cursor {
            offset: buffer.position(),
            skipping: buffer.skipping(),
            marker_bytes: overlap.len() as u8,
            marker: Hash::EMPTY.with(overlap),
        }
    }

    /// Whether the bytes before the cursor are still the ones that were read.
    fn stands_in(&self, file: &dyn File) -> io::Result<bool> {
        let mut space = [0; OVERLAP_BYTES];
        let overlap = &mut space[..self.marker_bytes.into()];
        let count = file.read_at(overlap, self.offset - u64::from(self.marker_bytes))?;
        Ok(count == overlap.len() && Hash::EMPTY.with(overlap) == self.marker)
    }
}

/// Everything needed to find a file again after a restart and to go on in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Device and inode: certain while the file is held open, a hint afterwards.
    pub device: u64,
    pub inode: u64,
    /// Where the file system knows it: tells a file from the next one with the same inode.
    pub born: Option<UnixNanos>,
    pub fingerprint: Fingerprint,
    pub cursor: Cursor,
    /// Nothing more can come.
    pub done: bool,
}

impl Identity {
    /// Whether it can have been made by a reader: one that was stored may be damaged.
    pub(super) fn is_sound(&self) -> bool {
        let marker = usize::from(self.cursor.marker_bytes);
        marker <= OVERLAP_BYTES
            && marker as u64 <= self.cursor.offset
            && usize::from(self.fingerprint.length) <= FINGERPRINT_BYTES
    }
}

/// Where a generation stands in its life. It only moves down, but for a rename back (`Rotated` to `Current`) and for
/// a closed file that is seen to hold more (`Parked` to `Rotated`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Open, at the source's own path.
    Current,
    /// Open, and renamed: its writer may not have noticed yet.
    Rotated,
    /// Open, and without a name, or compressed: what is there now is all.
    Ending,
    /// Closed and read to its end; opened again if it grew.
    Parked,
    /// Closed for good.
    Done,
}

pub(super) enum Reader {
    Closed,
    Plain(Box<dyn File>),
    Gz(Box<GzReader>),
}

pub struct Generation {
    /// Counts up within the source; rewriting a file in place makes a new generation of it.
    pub(super) id: u32,
    pub(super) phase: Phase,
    pub(super) reader: Reader,
    pub(super) identity: Identity,
    /// The rotated name, without `.gz`, if it is one that stays with the file.
    pub(super) lasting_name: Option<Box<OsStr>>,
    /// Size and time of change when it was last read to its end.
    pub(super) read_to: Option<(u64, i64)>,
}

/// How a read ended.
#[derive(Debug)]
pub(super) enum End {
    /// For now.
    OfFile,
    OfBudget,
    /// The bytes before the cursor are not the ones that were read: truncated, or written anew in place.
    Rewritten,
    Failed(io::Error),
}

impl Generation {
    /// Opens what stands at `path`; a name that ends in `.gz` is decompressed.
    pub(super) fn open(fs: &dyn FileSystem, path: &Path) -> Result<Generation, OpenError> {
        let file = fs.open(path)?;
        let metadata = file.metadata()?;
        let compressed = path.as_os_str().as_encoded_bytes().ends_with(b".gz");
        let reader = if compressed { Reader::Gz(Box::new(GzReader::new(file))) } else { Reader::Plain(file) };
        Ok(Generation {
            reader,
            ..Generation::closed(Identity {
                device: metadata.device,
                inode: metadata.inode,
                born: metadata.born,
                fingerprint: Fingerprint::EMPTY,
                cursor: Cursor::START,
                done: false,
            })
        })
    }

    /// One that is known and not open.
    pub(super) fn closed(identity: Identity) -> Generation {
        let phase = if identity.done { Phase::Done } else { Phase::Parked };
        Generation { id: 0, phase, reader: Reader::Closed, identity, lasting_name: None, read_to: None }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Current | Phase::Rotated | Phase::Ending)
    }

    /// Its content can tell it.
    pub(super) fn was_seen(&self) -> bool {
        self.identity.fingerprint != Fingerprint::EMPTY
    }

    pub(super) fn is_gz(&self) -> bool {
        matches!(self.reader, Reader::Gz(_))
    }

    pub(super) fn is_file(&self, metadata: &Metadata) -> bool {
        metadata.same_file(self.identity.device, self.identity.inode)
    }

    pub(super) fn close(&mut self, phase: Phase) {
        self.phase = phase;
        self.identity.done = phase == Phase::Done;
        self.reader = Reader::Closed;
    }

    /// `opened` is the file of this generation: goes on in it.
    pub(super) fn reopen(&mut self, opened: Generation, phase: Phase) {
        self.phase = phase;
        self.reader = opened.reader;
        self.identity.device = opened.identity.device;
        self.identity.inode = opened.identity.inode;
        self.identity.born = opened.identity.born;
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        match &self.reader {
            Reader::Closed => Err(io::ErrorKind::NotFound.into()),
            Reader::Plain(file) => file.metadata(),
            Reader::Gz(gz) => gz.file().metadata(),
        }
    }

    /// The first bytes, up to [`FINGERPRINT_BYTES`].
    pub(super) fn head<'s>(&mut self, space: &'s mut [u8; FINGERPRINT_BYTES]) -> io::Result<&'s [u8]> {
        let mut filled = 0;
        loop {
            match read_at(&mut self.reader, &mut space[filled..], filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        if let Reader::Gz(gz) = &mut self.reader {
            gz.keep(&space[..filled]);
        }
        Ok(&space[..filled])
    }

    /// Takes in what an open plain file begins with by now: its compressed copy begins with all of that.
    pub(super) fn grow_fingerprint(&mut self) {
        let fingerprint = self.identity.fingerprint;
        if usize::from(fingerprint.length) == FINGERPRINT_BYTES || !matches!(self.reader, Reader::Plain(_)) {
            return;
        }
        let mut space = [0; FINGERPRINT_BYTES];
        if let Ok(head) = self.head(&mut space)
            && (fingerprint == Fingerprint::EMPTY || fingerprint.matches(head))
        {
            self.identity.fingerprint.grow(0, head);
        }
    }

    /// Whether the open plain file is another one before the cursor than it was.
    pub(super) fn is_rewritten(&self) -> bool {
        match &self.reader {
            Reader::Plain(file) => matches!(self.identity.cursor.stands_in(&**file), Ok(false)),
            Reader::Gz(_) | Reader::Closed => false,
        }
    }

    /// Whether the file of `candidate`, which begins with `head`, is this one.
    pub(super) fn is_content_of(&self, candidate: &Generation, head: &[u8]) -> bool {
        if !self.was_seen() {
            // Nothing of it was read: if this is a mistake, nothing is lost.
            let same =
                candidate.identity.inode == self.identity.inode && candidate.identity.device == self.identity.device;
            return same && self.phase != Phase::Done;
        }
        let stands = match &candidate.reader {
            Reader::Plain(file) => self.identity.cursor.stands_in(&**file).unwrap_or(false),
            // To look there it would have to be decompressed up to the cursor. Reading on does so anyway, and then
            // compares.
            Reader::Gz(_) | Reader::Closed => true,
        };
        stands && self.identity.fingerprint.matches(head)
    }

    /// Bytes that are there to be read; of a compressed file, compressed ones.
    pub(super) fn lag_bytes(&self, size_bytes: u64) -> u64 {
        match &self.reader {
            Reader::Closed => 0,
            Reader::Plain(_) => size_bytes.saturating_sub(self.identity.cursor.offset),
            Reader::Gz(gz) => gz.left_bytes(),
        }
    }

    /// Reads on from the cursor and hands out whole lines until the file or the budget ends; with `last` also what
    /// stands after the last newline of the file. The budget may be passed by one buffer. Counts the lines.
    pub(super) fn read(
        &mut self,
        buffer: &mut LineBuffer,
        budget_bytes: &mut u64,
        last: bool,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> (End, u64) {
        let mut lines = 0;
        let mut overlap = usize::from(self.identity.cursor.marker_bytes);
        let from = self.identity.cursor.offset - overlap as u64;
        buffer.begin(from, self.identity.cursor.skipping);
        if self.identity.cursor.offset == 0 {
            self.identity.fingerprint = Fingerprint::EMPTY;
        }
        let fingerprint = self.identity.fingerprint;
        let mut eof = false;
        let end = loop {
            if eof {
                break if overlap > 0 { End::Rewritten } else { End::OfFile };
            }
            if *budget_bytes == 0 {
                break End::OfBudget;
            }
            match self.fill(buffer, &mut eof) {
                Ok(count) => *budget_bytes = budget_bytes.saturating_sub(count),
                Err(error) => break End::Failed(error),
            }
            if overlap > 0 {
                let Some(bytes) = buffer.take(overlap) else { continue };
                if Hash::EMPTY.with(bytes) != self.identity.cursor.marker {
                    break End::Rewritten;
                }
                overlap = 0;
            }
            while let Some(line) = buffer.next_line() {
                lines += 1;
                sink(Line {
                    bytes: line.bytes,
                    offset: line.offset,
                    generation: self.id,
                    cut: line.cut,
                    complete: true,
                });
            }
        };
        if overlap > 0 {
            // Perhaps it grew by bytes of another file.
            self.identity.fingerprint = fingerprint;
            return (end, 0);
        }
        // A broken gzip file gives no more than it gave.
        let ended = matches!(end, End::OfFile) || (matches!(end, End::Failed(_)) && self.is_gz());
        if let Some(line) = (last && ended).then(|| buffer.take_tail()).flatten() {
            lines += 1;
            sink(Line { bytes: line.bytes, offset: line.offset, generation: self.id, cut: line.cut, complete: false });
        }
        self.identity.cursor = Cursor::of(buffer);
        if let Reader::Gz(gz) = &mut self.reader {
            gz.keep(buffer.rest());
        }
        (end, lines)
    }

    /// One read. A plain file that gives less than asked for has ended: that spares the read that would say so.
    fn fill(&mut self, buffer: &mut LineBuffer, eof: &mut bool) -> io::Result<u64> {
        let (reader, fingerprint) = (&mut self.reader, &mut self.identity.fingerprint);
        let mut at = 0;
        let read = buffer.fill(|space, offset| {
            at = offset;
            let count = read_at(reader, space, offset)?;
            *eof = count == 0 || (matches!(reader, Reader::Plain(_)) && count < space.len());
            Ok(count)
        })?;
        fingerprint.grow(at, read);
        Ok(read.len() as u64)
    }
}

fn read_at(reader: &mut Reader, space: &mut [u8], offset: u64) -> io::Result<usize> {
    match reader {
        Reader::Closed => Ok(0),
        Reader::Plain(file) => file.read_at(space, offset),
        Reader::Gz(gz) => gz.read_at(space, offset),
    }
}
