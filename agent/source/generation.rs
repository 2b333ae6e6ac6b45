//! One file of a source: reading on in it from where its cursor stands.

use super::backoff::Backoff;
use super::filesystem::{File, FileSystem, Metadata};
use super::gz::GzReader;
use super::identity::{Cursor, FINGERPRINT_BYTES, Fingerprint, Hash, Identity};
use super::line_buffer::{Line, LineBuffer};
use super::open::{Opener, Refusal};
use super::rotation;
use crate::clock::UnixNanos;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// Where a generation stands in its life. It only moves down, but for a rename back (`Rotated` to `Current`) and for
/// a parked file that is seen to hold more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// At the source's own path.
    Current,
    /// Renamed: its writer may not have noticed yet.
    Rotated,
    /// Without a name, or compressed: what is there now is all.
    Ending,
    /// Closed, and not looked at but when names change.
    Parked,
    /// Read to its end for good.
    Done,
}

pub(super) enum Reader {
    /// Of a followed generation: to be opened when it is its turn, or when it changes.
    Closed,
    Plain(Box<dyn File>),
    Gz(Box<GzReader>),
}

pub(super) struct Generation {
    /// Counts up within the source; rewriting a file in place makes a new generation of it.
    pub id: u32,
    pub phase: Phase,
    pub reader: Reader,
    pub identity: Identity,
    /// Size and time of change when it was last read to its end.
    pub read_to: Option<(u64, UnixNanos)>,
    /// Size when it was last looked at.
    pub size_bytes: u64,
    /// Failing to read it.
    pub trouble: Backoff,
    /// It was truncated or rewritten in place: only a copy can hold what was not read.
    pub truncated: bool,
}

/// How a read ended.
#[derive(Debug)]
pub(super) enum End {
    /// For now.
    OfFile,
    OfBudget,
    /// The bytes before the cursor are not the ones that were read: truncated, or written anew in place.
    Rewritten,
    /// The same, and a power loss explains it.
    Shortened,
    Failed(io::Error),
}

/// What a read gave.
pub(super) struct Given {
    pub end: End,
    pub lines: u64,
    pub cut: u64,
    pub nul_bytes: u64,
    /// Other bytes stood before the cursor than were read, which a power loss explains.
    pub mended: bool,
}

impl Generation {
    /// Opens what stands at a real path; a name that ends in `.gz` is unpacked.
    pub fn open(fs: &dyn FileSystem, opener: &Opener, real: &Path) -> Result<(Generation, Metadata), Refusal> {
        let (file, metadata) = opener.open(fs, real)?;
        let compressed = real.as_os_str().as_encoded_bytes().ends_with(b".gz");
        let reader = if compressed { Reader::Gz(Box::new(GzReader::new(file))) } else { Reader::Plain(file) };
        let closed = Generation::closed(Identity::of(&metadata));
        Ok((Generation { reader, size_bytes: metadata.size_bytes, ..closed }, metadata))
    }

    /// One that is known and not open.
    pub fn closed(identity: Identity) -> Generation {
        Generation {
            id: 0,
            phase: if identity.done { Phase::Done } else { Phase::Parked },
            reader: Reader::Closed,
            identity,
            read_to: None,
            size_bytes: 0,
            trouble: Backoff::default(),
            truncated: false,
        }
    }

    /// It is looked at with each poll.
    pub fn is_followed(&self) -> bool {
        matches!(self.phase, Phase::Current | Phase::Rotated | Phase::Ending)
    }

    pub fn is_held(&self) -> bool {
        !matches!(self.reader, Reader::Closed)
    }

    /// Its content can tell it.
    pub fn was_seen(&self) -> bool {
        self.identity.fingerprint != Fingerprint::EMPTY
    }

    pub fn is_gz(&self) -> bool {
        matches!(self.reader, Reader::Gz(_))
    }

    pub fn gz(&self) -> Option<&GzReader> {
        match &self.reader {
            Reader::Gz(gz) => Some(gz),
            Reader::Plain(_) | Reader::Closed => None,
        }
    }

    /// Its rotated name without `.gz`, if it is one that stays with the file.
    pub fn lasting_name(&self) -> Option<&OsStr> {
        self.identity.name.as_deref().and_then(rotation::lasting)
    }

    /// Whether a file that stands somewhere is this one: for certain while it is held open.
    pub fn is_file(&self, metadata: &Metadata) -> bool {
        let same = (self.identity.device, self.identity.inode) == (metadata.device, metadata.inode);
        same && (self.is_held() || self.identity.born == metadata.born)
    }

    /// Whether it is this one but for the volume's number: that was mounted anew.
    pub fn was_born_with(&self, metadata: &Metadata) -> bool {
        self.identity.born.is_some() && self.identity.has_birth_of(metadata)
    }

    /// Whether that is so clear that the file need not be opened to see it.
    pub fn is_surely(&self, metadata: &Metadata) -> bool {
        let unchanged = match self.phase {
            Phase::Parked => self.read_to == Some(state(metadata)),
            Phase::Current | Phase::Rotated | Phase::Ending | Phase::Done => true,
        };
        self.is_file(metadata) && (self.is_held() || (metadata.born.is_some() && unchanged))
    }

    pub fn close(&mut self, phase: Phase) {
        self.phase = phase;
        self.identity.done = phase == Phase::Done;
        self.reader = Reader::Closed;
    }

    /// Closes it if it is read to its end and can be found again by its name. It stays followed.
    pub fn sleep(&mut self) {
        let named = self.phase == Phase::Current || (self.phase == Phase::Rotated && self.identity.name.is_some());
        if named && self.read_to.is_some() {
            self.reader = Reader::Closed;
        }
    }

    /// `opened` is the file of this generation: goes on in it.
    pub fn reopen(&mut self, opened: Generation, phase: Phase) {
        self.phase = phase;
        self.identity.done = false;
        self.reader = opened.reader;
        self.is_now(&opened.identity);
    }

    /// The file has these numbers now.
    pub fn is_now(&mut self, other: &Identity) {
        (self.identity.device, self.identity.inode) = (other.device, other.inode);
        self.identity.born = other.born;
    }

    /// Where the file is held open.
    pub fn metadata(&self) -> io::Result<Metadata> {
        match &self.reader {
            Reader::Closed => Err(io::ErrorKind::NotFound.into()),
            Reader::Plain(file) => file.metadata(),
            Reader::Gz(gz) => gz.file().metadata(),
        }
    }

    /// Reads unpacked bytes where the file is held open.
    pub fn read_at(&mut self, space: &mut [u8], offset: u64) -> io::Result<usize> {
        read_at(&mut self.reader, space, offset)
    }

    /// The first bytes, up to [`FINGERPRINT_BYTES`]; of a damaged compressed file those that are readable. That it is
    /// damaged is told when it is read.
    pub fn head<'s>(&mut self, space: &'s mut [u8; FINGERPRINT_BYTES]) -> io::Result<&'s [u8]> {
        let mut filled = 0;
        while filled < space.len() {
            match self.read_at(&mut space[filled..], filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if self.is_gz() && error.raw_os_error().is_none() => break,
                Err(error) => return Err(error),
            }
        }
        if let Reader::Gz(gz) = &mut self.reader {
            gz.rest();
        }
        Ok(&space[..filled])
    }

    /// Takes in what an open plain file begins with by now: its compressed copy begins with all of that.
    pub fn grow_fingerprint(&mut self) {
        let whole = usize::from(self.identity.fingerprint.length) == FINGERPRINT_BYTES;
        let readable = matches!(self.reader, Reader::Plain(_)) && !self.trouble.is_failing();
        if (whole && self.identity.cursor.offset > 0) || !readable {
            return;
        }
        let mut space = [0; FINGERPRINT_BYTES];
        let Ok(head) = self.head(&mut space) else { return };
        // Before the first line is read nothing would show that the file was written anew.
        if self.identity.cursor.offset == 0 {
            self.identity.fingerprint = Fingerprint::EMPTY;
        }
        if !self.was_seen() || self.identity.fingerprint.matches(head) {
            self.identity.fingerprint.grow(0, head);
        }
    }

    /// Whether the open plain file is another one before the cursor than it was.
    pub fn is_rewritten(&self) -> bool {
        match &self.reader {
            _ if self.identity.mending || self.trouble.is_failing() => false,
            Reader::Plain(file) => matches!(self.identity.cursor.stands_in(&**file), Ok(false)),
            Reader::Gz(_) | Reader::Closed => false,
        }
    }

    /// Whether the file of `candidate`, which begins with `head`, is this one.
    pub fn is_content_of(&self, candidate: &Generation, metadata: &Metadata, head: &[u8]) -> bool {
        let same_birth = self.identity.has_birth_of(metadata);
        let reused = self.identity.inode == metadata.inode && !same_birth;
        if reused && self.identity.born.is_some() && metadata.born.is_some() {
            return false;
        }
        if !self.was_seen() {
            // Nothing of it was read: if this is a mistake, nothing is lost.
            return same_birth && (self.phase != Phase::Done || self.identity.born.is_some());
        }
        if self.identity.mending {
            // What it is known by may be gone in part, or be NULs now.
            let same_name = self.lasting_name().is_some() && self.lasting_name() == candidate.lasting_name();
            let same = same_birth || (same_name && candidate.is_gz());
            return self.identity.fingerprint.matches(head) || (same && self.may_be_damaged_to(head));
        }
        let stands = match &candidate.reader {
            Reader::Plain(file) => self.identity.cursor.stands_in(&**file).unwrap_or(false),
            // Whether it holds more than was ever read. Not where it is the very file that was read: a damaged one says
            // anything.
            Reader::Gz(gz) if self.phase == Phase::Done && self.identity.cursor.offset > 0 && !same_birth => {
                gz.unpacked_bytes(metadata.size_bytes).is_none_or(|bytes| bytes <= self.identity.cursor.offset)
            }
            // To look there it would have to be unpacked up to the cursor. Reading on does so anyway, and then compares.
            Reader::Gz(_) | Reader::Closed => true,
        };
        stands && self.identity.fingerprint.matches(head)
    }

    /// Whether a power loss may have left `head` of what this file began with.
    pub fn may_be_damaged_to(&self, head: &[u8]) -> bool {
        let length = usize::from(self.identity.fingerprint.length);
        self.identity.mending && head.get(..length).is_none_or(|head| head.contains(&0))
    }

    /// The file was found again, and begins with `head`: where a power loss changed that, it is known by it from now on.
    pub fn find_damage(&mut self, head: &[u8]) {
        if self.identity.mending && self.was_seen() && !self.identity.fingerprint.matches(head) {
            self.identity.fingerprint = Fingerprint::EMPTY;
            self.identity.fingerprint.grow(0, head);
        }
    }

    /// Bytes that are there to be read, as of the last look; of a compressed file, compressed ones.
    pub fn lag_bytes(&self) -> u64 {
        match &self.reader {
            _ if !self.is_followed() || self.identity.done => 0,
            Reader::Gz(_) if self.read_to.is_some() => 0,
            Reader::Gz(gz) => self.size_bytes.saturating_sub(gz.read_bytes()),
            Reader::Closed | Reader::Plain(_) => self.size_bytes.saturating_sub(self.identity.cursor.offset),
        }
    }

    /// Reads on from the cursor and hands out whole lines until the file or the budget ends; with `last` also what
    /// stands after the last newline of the file. The budget may be passed by one buffer.
    pub fn read(
        &mut self,
        buffer: &mut LineBuffer,
        budget_bytes: &mut u64,
        last: bool,
        take: &mut dyn FnMut(Line<'_>),
    ) -> Given {
        let (mut lines, mut cut, mut mended) = (0, 0, false);
        let mut give = |line: Line<'_>| {
            lines += 1;
            cut += u64::from(line.cut);
            take(line);
        };
        let mut overlap = usize::from(self.identity.cursor.marker_bytes);
        buffer.begin(self.identity.cursor.offset - overlap as u64, self.identity.cursor.skipping);
        if self.identity.cursor.offset == 0 {
            self.identity.fingerprint = Fingerprint::EMPTY;
        }
        let fingerprint = self.identity.fingerprint;
        let mut eof = false;
        let end = loop {
            if eof {
                break match overlap {
                    0 => End::OfFile,
                    _ if self.identity.mending => End::Shortened,
                    _ => End::Rewritten,
                };
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
                let (found, before) = (Hash::of(bytes), bytes[overlap - 1]);
                if found != self.identity.cursor.marker {
                    if !self.identity.mending {
                        break End::Rewritten;
                    }
                    mended = true;
                    // In the middle of a line, unless one has just ended or was never written.
                    buffer.skip(before != b'\n' && before != 0);
                }
                overlap = 0;
            }
            while let Some(line) = buffer.next_line() {
                give(line);
            }
        };
        if overlap > 0 {
            // Perhaps it grew by bytes of another file.
            self.identity.fingerprint = fingerprint;
            return Given { end, lines, cut, nul_bytes: 0, mended };
        }
        // What damage tore off is no line. A compressed file does not grow.
        let ended = matches!(end, End::OfFile) && (last || self.is_gz());
        if let Some(line) = ended.then(|| buffer.take_tail()).flatten() {
            give(line);
        }
        self.identity.cursor = Cursor::of(buffer);
        self.mend(mended);
        if let Reader::Gz(gz) = &mut self.reader {
            gz.keep(buffer.rest());
        }
        Given { end, lines, cut, nul_bytes: buffer.nul_bytes(), mended }
    }

    /// It is clear now what a power loss left. Where that is other than what was read, the file is known by it.
    pub fn mend(&mut self, damaged: bool) {
        self.identity.mending = false;
        // A compressed file was looked at when it was found.
        if damaged && !self.is_gz() {
            self.identity.fingerprint = Fingerprint::EMPTY;
            self.grow_fingerprint();
        }
    }

    /// A file that is read to its end for good was found again after a power loss: what is left of it is its end.
    pub fn find_end(&mut self, found: &Generation, size_bytes: u64) {
        if self.identity.mending
            && let Reader::Plain(file) = &found.reader
            && !self.identity.cursor.stands_in(&**file).unwrap_or(false)
        {
            self.identity.cursor = Cursor::at(size_bytes, false);
        }
        self.identity.mending = false;
    }

    /// Places the cursor at the end of an open file, whatever stands before it.
    pub fn go_to(&mut self, end: u64) {
        let mut before = [b'\n'];
        if let (Some(at), Reader::Plain(file)) = (end.checked_sub(1), &self.reader) {
            // Unreadable, as like as not: then what follows is taken for the rest of a line.
            before = [0];
            let _ = file.read_at(&mut before, at);
        }
        self.identity.cursor = Cursor::at(end, before != [b'\n']);
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

/// What changes when a file does.
pub(super) fn state(metadata: &Metadata) -> (u64, UnixNanos) {
    (metadata.size_bytes, metadata.modified)
}

fn read_at(reader: &mut Reader, space: &mut [u8], offset: u64) -> io::Result<usize> {
    match reader {
        Reader::Closed => Ok(0),
        Reader::Plain(file) => file.read_at(space, offset),
        Reader::Gz(gz) => gz.read_at(space, offset),
    }
}
