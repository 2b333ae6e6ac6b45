//! What a file is known by, and how far it was read: enough to find it again after a restart.
//!
//! Names move with every rotation, inodes are used again at once (ext4) and device numbers change with every mount. So a
//! file is what it begins with; its inode and time of birth are a hint, and all that an empty file has.

use super::filesystem::{File, Metadata};
use super::line_buffer::{LineBuffer, OVERLAP_BYTES};
use crate::clock::UnixNanos;
use crate::keep::{Reader, Writer};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A fingerprint covers no more than this.
pub const FINGERPRINT_BYTES: usize = 1024;
/// Longer names are on no file system.
const NAME_BYTES_MAX: usize = 255;

/// FNV-1a, 64 bits: stable for ever, and grown byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(pub u64);

impl Hash {
    const EMPTY: Hash = Hash(0xcbf2_9ce4_8422_2325);

    fn with(self, bytes: &[u8]) -> Hash {
        Hash(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    pub(super) fn of(bytes: &[u8]) -> Hash {
        Hash::EMPTY.with(bytes)
    }
}

/// The first bytes of a file, hashed; the more of it was seen, the longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// At most [`FINGERPRINT_BYTES`].
    pub length: u16,
    pub hash: Hash,
}

impl Fingerprint {
    pub const EMPTY: Fingerprint = Fingerprint { length: 0, hash: Hash::EMPTY };

    /// Takes in what was read at `offset`.
    pub fn grow(&mut self, offset: u64, bytes: &[u8]) {
        let room = FINGERPRINT_BYTES.saturating_sub(self.length.into());
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
        length > 0 && head.get(..length).is_some_and(|head| Hash::of(head) == self.hash)
    }
}

/// How far a file was read, in unpacked bytes, and how to tell that it is still the same there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Of the first byte that was not handed out.
    pub offset: u64,
    /// It stands in the middle of a line that was handed out cut.
    pub skipping: bool,
    /// How many bytes before `offset` the marker covers, at most [`OVERLAP_BYTES`].
    pub marker_bytes: u8,
    pub marker: Hash,
}

impl Cursor {
    pub const START: Cursor = Cursor { offset: 0, skipping: false, marker_bytes: 0, marker: Hash::EMPTY };

    pub(super) fn of(buffer: &LineBuffer) -> Cursor {
        let overlap = buffer.overlap();
        Cursor {
            offset: buffer.position(),
            skipping: buffer.skipping(),
            marker_bytes: overlap.len() as u8,
            marker: Hash::of(overlap),
        }
    }

    /// A place whose surroundings were never read.
    pub(super) fn at(offset: u64, skipping: bool) -> Cursor {
        Cursor { offset, skipping, ..Cursor::START }
    }

    /// Whether the bytes before the cursor are still the ones that were read.
    pub(super) fn stands_in(&self, file: &dyn File) -> io::Result<bool> {
        let mut space = [0; OVERLAP_BYTES];
        let overlap = &mut space[..self.marker_bytes.into()];
        let count = file.read_at(overlap, self.offset - u64::from(self.marker_bytes))?;
        Ok(count == overlap.len() && Hash::of(overlap) == self.marker)
    }
}

/// Everything needed to find a file again after a restart and to go on in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Tells files apart while they are held open, and is not stored.
    pub device: u64,
    pub inode: u64,
    /// Where the file system knows it: tells a file from the next one with the same inode.
    pub born: Option<UnixNanos>,
    pub fingerprint: Fingerprint,
    pub cursor: Cursor,
    /// The name beside the log under which it was seen last; none while it has the log's own.
    pub name: Option<Box<OsStr>>,
    /// It was renamed, and read to its end after that: if it is gone, nothing is lost as far as can be told.
    pub settled: bool,
    /// Nothing more can come.
    pub done: bool,
    /// It was read before the machine went down, and not found since: what was never on disk may be missing.
    pub mending: bool,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.device,
            inode: metadata.inode,
            born: metadata.born,
            fingerprint: Fingerprint::EMPTY,
            cursor: Cursor::START,
            name: None,
            settled: false,
            done: false,
            mending: false,
        }
    }

    /// The same file as far as numbers tell that outlive a mount.
    pub(super) fn has_birth_of(&self, metadata: &Metadata) -> bool {
        (self.inode, self.born) == (metadata.inode, metadata.born)
    }

    /// Appends it: about 30 bytes.
    pub fn write(&self, to: &mut Writer<'_>) {
        let flag = |set: bool, bit: u32| u8::from(set) << bit;
        let (born, named) = (self.born.is_some(), self.name.is_some());
        let flags = [self.done, self.settled, self.cursor.skipping, born, named, self.mending];
        to.byte(flags.into_iter().zip(0..).fold(0, |all, (set, bit)| all | flag(set, bit)));
        to.number(self.inode);
        if let Some(born) = self.born {
            to.word(born as u64);
        }
        to.number(self.fingerprint.length.into());
        to.word(self.fingerprint.hash.0);
        to.number(self.cursor.offset);
        to.byte(self.cursor.marker_bytes);
        to.word(self.cursor.marker.0);
        if let Some(name) = &self.name {
            to.bytes(name.as_bytes());
        }
    }

    /// Reads one back. `None`: nobody wrote it so; it is damaged.
    pub fn read(from: &mut Reader<'_>) -> Option<Identity> {
        let flags = from.byte().filter(|flags| *flags < 1 << 6)?;
        let has = |bit: u8| flags & (1 << bit) != 0;
        let inode = from.number()?;
        let born = if has(3) { Some(from.word()? as UnixNanos) } else { None };
        let length = u16::try_from(from.number()?).ok()?;
        let fingerprint = Fingerprint { length, hash: Hash(from.word()?) };
        let (offset, marker_bytes, marker) = (from.number()?, from.byte()?, Hash(from.word()?));
        let cursor = Cursor { offset, skipping: has(2), marker_bytes, marker };
        let name = if has(4) { Some(from.bytes()?) } else { None };
        let is_name = |name: &[u8]| (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(&b'/');
        if name.is_some_and(|name| !is_name(name)) {
            return None;
        }
        let name = name.map(|name| OsString::from_vec(name.to_vec()).into_boxed_os_str());
        let (done, settled, mending) = (has(0), has(1), has(5));
        let identity = Identity { device: 0, inode, born, fingerprint, cursor, name, settled, done, mending };
        identity.is_sound().then_some(identity)
    }

    /// Whether it can have been made by a reader.
    pub(super) fn is_sound(&self) -> bool {
        let marker = usize::from(self.cursor.marker_bytes);
        marker <= OVERLAP_BYTES
            && marker as u64 <= self.cursor.offset
            && usize::from(self.fingerprint.length) <= FINGERPRINT_BYTES
    }
}
