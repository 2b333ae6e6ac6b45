//! Reads a gzip file as if it were plain: by offsets in the decompressed stream, forwards.

use super::filesystem::File;
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

/// Compressed bytes are read in pieces of this size.
const INPUT_BYTES: usize = 32 << 10;
/// What is skipped on the way to an offset is decompressed into so much.
const SKIP_BYTES: usize = 8 << 10;

/// An archive ends with its checksum and its length. More zeros than that were never written: lost power left them in
/// the place of what was, and they would be unpacked to lines that there never were.
const TRAILER_BYTES: u64 = 8;
/// Only an archive of nothing ends with zeros that are whole; it is no larger than this, and nothing can be lost of it.
const EMPTY_BYTES_MAX: u64 = 64;

/// A compressed file may hold this many bytes; past it the rest is given up. A bound against bombs.
pub const UNPACKED_BYTES_MAX: u64 = 2 << 30;

/// About 80 KiB from the first read until [`rest`](Self::rest). Several members one after the other are one stream, as
/// for gzip.
pub struct GzReader {
    file: Arc<dyn File>,
    decoder: Option<Box<MultiGzDecoder<BufReader<Compressed>>>>,
    /// Offset of the byte that the decoder gives next.
    position: u64,
    /// The bytes before `position` that somebody will want again.
    kept: Vec<u8>,
}

impl GzReader {
    pub fn new(file: Box<dyn File>) -> Self {
        GzReader { file: file.into(), decoder: None, position: 0, kept: Vec::new() }
    }

    /// As [`File::read_at`], but a read may give less than fits before the end. Before what was
    /// [kept](Self::keep) it starts again from the front. A broken or truncated file gives what is readable, then an
    /// error.
    pub fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let kept_from = self.position - self.kept.len() as u64;
        if (kept_from..self.position).contains(&offset) {
            let kept = &self.kept[(offset - kept_from) as usize..];
            let count = kept.len().min(buffer.len());
            buffer[..count].copy_from_slice(&kept[..count]);
            return Ok(count);
        }
        if offset < kept_from {
            self.rest();
        }
        let mut scratch = [0; SKIP_BYTES];
        while self.position < offset {
            let wanted = usize::try_from(offset - self.position).unwrap_or(usize::MAX).min(SKIP_BYTES);
            if self.decode(&mut scratch[..wanted])? == 0 {
                return Ok(0);
            }
        }
        self.decode(buffer)
    }

    /// Makes `bytes`, the last ones read, readable again.
    pub fn keep(&mut self, bytes: &[u8]) {
        self.kept.clear();
        self.kept.extend_from_slice(bytes);
    }

    /// Compressed bytes that were read.
    pub fn read_bytes(&self) -> u64 {
        self.decoder.as_ref().map_or(0, |decoder| decoder.get_ref().get_ref().offset)
    }

    /// How much the file holds when it is unpacked, as its end says: modulo 4 GiB, and of its last member only.
    pub fn unpacked_bytes(&self, size_bytes: u64) -> Option<u64> {
        let mut end = [0; 4];
        let count = self.file.read_at(&mut end, size_bytes.checked_sub(4)?).ok()?;
        (count == end.len()).then(|| u32::from_le_bytes(end).into())
    }

    pub fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Gives back all memory but for the open file; the next read starts from the front.
    pub fn rest(&mut self) {
        (self.decoder, self.position, self.kept) = (None, 0, Vec::new());
    }

    fn decode(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= UNPACKED_BYTES_MAX {
            return Err(io::Error::other("more than 2 GiB unpacked"));
        }
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => {
                let compressed = Compressed { end: written_end(&*self.file)?, file: Arc::clone(&self.file), offset: 0 };
                none.insert(Box::new(MultiGzDecoder::new(BufReader::with_capacity(INPUT_BYTES, compressed))))
            }
        };
        let count = loop {
            match decoder.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // The decoder would call it the end from now on, and hide what is wrong with the file.
                    self.rest();
                    return Err(error);
                }
                Ok(count) => break count,
            }
        };
        if count > 0 {
            self.kept.clear();
            self.position += count as u64;
        }
        Ok(count)
    }
}

/// A gzip file with this content, for tests and the simulator.
pub fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut encoder, content).and_then(|()| encoder.finish()).expect("memory does not fail")
}

struct Compressed {
    file: Arc<dyn File>,
    offset: u64,
    end: u64,
}

/// Where a compressed file ends, but for zeros in the place of its end.
fn written_end(file: &dyn File) -> io::Result<u64> {
    let size = file.metadata()?.size_bytes;
    let mut piece = [0; SKIP_BYTES];
    let mut end = size;
    while end > 0 {
        // Mostly the last few bytes tell.
        let length = if end == size { 2 * TRAILER_BYTES } else { SKIP_BYTES as u64 }.min(end);
        let piece = &mut piece[..length as usize];
        let count = file.read_at(piece, end - length)?;
        // Shorter by now: it is being written, and ends where it will end.
        if count < piece.len() {
            return Ok(u64::MAX);
        }
        match piece.iter().rposition(|byte| *byte != 0) {
            Some(at) => {
                end = end - length + at as u64 + 1;
                break;
            }
            None => end -= length,
        }
    }
    let whole = size - end <= TRAILER_BYTES || size <= EMPTY_BYTES_MAX;
    // What is appended later is read, too.
    Ok(if whole { u64::MAX } else { end })
}

impl Read for Compressed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.end.saturating_sub(self.offset).min(buffer.len() as u64);
        let buffer = &mut buffer[..rest as usize];
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::filesystem::{FileSystem, Links};
    use crate::source::mem_fs::MemFs;

    fn reader(bytes: &[u8]) -> GzReader {
        let fs = MemFs::default();
        fs.append("/x.gz", bytes);
        GzReader::new(fs.open("/x.gz".as_ref(), Links::Follow).expect("it is there"))
    }

    /// Everything from `offset` on, and how it ended.
    fn all(reader: &mut GzReader, offset: u64) -> (Vec<u8>, io::Result<()>) {
        let mut out = Vec::new();
        let mut space = [0; 777];
        loop {
            match reader.read_at(&mut space, offset + out.len() as u64) {
                Ok(0) => return (out, Ok(())),
                Ok(count) => out.extend_from_slice(&space[..count]),
                Err(error) => return (out, Err(error)),
            }
        }
    }

    fn content() -> Vec<u8> {
        (0..200_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect()
    }

    #[test]
    fn any_offset_is_reached_forwards_and_backwards() {
        let content = content();
        let mut reader = reader(&gzipped(&content));
        for offset in [0, 5, 700_000, 3, 799_999, 800_000, 900_000] {
            let (bytes, end) = all(&mut reader, offset);
            assert!(end.is_ok());
            assert_eq!(bytes, content.get(offset as usize..).unwrap_or_default(), "from {offset}");
        }
    }

    #[test]
    fn kept_bytes_are_read_again_without_starting_over() {
        let mut reader = reader(&gzipped(b"0123456789"));
        let mut space = [0; 6];
        assert_eq!(reader.read_at(&mut space, 0).expect("readable"), 6);
        reader.keep(b"345");
        assert_eq!(reader.read_at(&mut space, 4).expect("kept"), 2);
        assert_eq!(&space[..2], b"45");
        assert_eq!(all(&mut reader, 3).0, b"3456789");
    }

    #[test]
    fn members_are_one_stream() {
        let two = [gzipped(b"one\n"), gzipped(b"two\n")].concat();
        assert_eq!(all(&mut reader(&two), 0).0, b"one\ntwo\n");
    }

    /// A file of which lost power left the length only.
    #[test]
    fn zeros_in_the_place_of_its_end_are_unpacked_to_nothing() {
        let content: Vec<u8> = (0..300u32).flat_map(|n| format!("line {n} {}\n", n * n).into_bytes()).collect();
        let whole = gzipped(&content);
        assert!(all(&mut reader(&whole), 0).1.is_ok());
        for from in (20..whole.len()).chain([0, 1]) {
            let mut damaged = whole.clone();
            damaged[from..].fill(0);
            if damaged == whole {
                continue;
            }
            let (bytes, end) = all(&mut reader(&damaged), 0);
            assert!(end.is_err() || from <= 1, "from {from}");
            assert!(content.starts_with(&bytes), "from {from}: {}", String::from_utf8_lossy(&bytes));
        }
        let empty = gzipped(b"");
        assert!(empty.ends_with(&[0; 9]) && all(&mut reader(&empty), 0).1.is_ok());
    }

    #[test]
    fn a_broken_file_gives_what_is_readable_and_then_an_error() {
        let content = content();
        let whole = gzipped(&content);
        let (bytes, end) = all(&mut reader(&whole[..whole.len() / 2]), 0);
        assert!(end.is_err());
        assert!(bytes.len() > content.len() / 3, "only {} bytes", bytes.len());
        assert!(content.starts_with(&bytes));
        let mut flipped = whole.clone();
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        let (bytes, end) = all(&mut reader(&flipped), 0);
        assert!(end.is_err() && bytes == content, "a wrong checksum is told after the content");
        assert!(all(&mut reader(b"not gzip at all"), 0).1.is_err());
        assert!(all(&mut reader(b""), 0).0.is_empty());
    }
}
