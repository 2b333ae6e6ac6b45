//! Cuts a stream of bytes into lines, in place.
//!
//! One buffer serves all files of a worker: between two files only its contents are forgotten. A fill moves nothing
//! but the unfinished line at its end (and the few bytes before it that mark the cursor's place). A line is handed out
//! where it stands; one that is longer than the limit is handed out once, cut, and its rest is skipped without
//! taking memory. NUL bytes in front of a line belong to none: a power loss leaves them where something was written.

use memchr::memchr;
use std::io;

/// Bytes of a line that are handed out; the rest of a longer one is skipped. Loki's own limit.
pub const LINE_BYTES_MAX: usize = 256 << 10;

/// So many bytes before the cursor tell whether a file is still the one that was read (see `identity`).
pub const OVERLAP_BYTES: usize = 32;

/// A line without its newline. It borrows the buffer it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'b> {
    /// At most the limit; a carriage return stays.
    pub bytes: &'b [u8],
    /// Of the first byte, in the file as it is when unpacked.
    pub offset: u64,
    /// The line was longer than the limit; this is its beginning.
    pub cut: bool,
}

pub struct LineBuffer {
    bytes: Box<[u8]>,
    /// First byte that was not handed out.
    start: usize,
    /// There is no newline in `start..scanned`.
    scanned: usize,
    end: usize,
    /// Offset of `bytes[0]` in the stream.
    base: u64,
    line_bytes_max: usize,
    /// Everything up to the next newline belongs to a line that was handed out cut.
    skipping: bool,
    /// NULs in front of lines since `begin`.
    nul_bytes: u64,
    /// Bytes that are read at once.
    fill_max: usize,
}

impl Default for LineBuffer {
    fn default() -> Self {
        // One fill reads at least 256 KiB when no long line stands in its way.
        LineBuffer::new(LINE_BYTES_MAX + (4 << 10), LINE_BYTES_MAX)
    }
}

impl LineBuffer {
    /// `capacity` grows to what one line of the limit needs.
    pub fn new(capacity: usize, line_bytes_max: usize) -> Self {
        let capacity = capacity.max(line_bytes_max + 1 + OVERLAP_BYTES);
        let bytes = vec![0; capacity].into_boxed_slice();
        LineBuffer {
            bytes,
            start: 0,
            scanned: 0,
            end: 0,
            base: 0,
            line_bytes_max,
            skipping: false,
            nul_bytes: 0,
            fill_max: usize::MAX,
        }
    }

    /// At most so many bytes are read at once, at least 1; by default as many as there is room for.
    pub fn set_fill_max(&mut self, bytes: usize) {
        self.fill_max = bytes.max(1);
    }

    /// Forgets everything, and expects the byte at `offset` next; with `skipping`, in the middle of a cut line.
    pub fn begin(&mut self, offset: u64, skipping: bool) {
        (self.start, self.scanned, self.end) = (0, 0, 0);
        (self.base, self.skipping, self.nul_bytes) = (offset, skipping, 0);
    }

    /// Reads once into the free space, which is never empty after `next_line` gave `None`. `read` gets the space and
    /// the offset of its first byte; 0 means the end for now.
    pub fn fill(&mut self, read: impl FnOnce(&mut [u8], u64) -> io::Result<usize>) -> io::Result<&[u8]> {
        let from = self.start.saturating_sub(OVERLAP_BYTES);
        if from > 0 {
            self.bytes.copy_within(from..self.end, 0);
            (self.start, self.scanned, self.end) = (self.start - from, self.scanned - from, self.end - from);
            self.base += from as u64;
        }
        let at = self.end;
        let room = self.bytes.len().min(at.saturating_add(self.fill_max));
        let count = read(&mut self.bytes[at..room], self.base + at as u64)?;
        self.end += count;
        Ok(&self.bytes[at..self.end])
    }

    /// The next whole line, or the front of one that is too long.
    #[inline]
    pub fn next_line(&mut self) -> Option<Line<'_>> {
        loop {
            if !self.skipping && self.bytes[self.start..self.end].first() == Some(&0) {
                self.pass_nuls();
            }
            let begin = self.start;
            let Some(length) = memchr(b'\n', &self.bytes[self.scanned..self.end]) else {
                self.scanned = self.end;
                if self.skipping {
                    self.start = self.end;
                } else if self.end - begin > self.line_bytes_max {
                    self.start = self.end;
                    self.skipping = true;
                    return Some(self.line(begin, self.end));
                }
                return None;
            };
            let newline = self.scanned + length;
            (self.start, self.scanned) = (newline + 1, newline + 1);
            if !std::mem::take(&mut self.skipping) {
                return Some(self.line(begin, newline));
            }
        }
    }

    #[cold]
    fn pass_nuls(&mut self) {
        let nuls = self.bytes[self.start..self.end].iter().take_while(|byte| **byte == 0).count();
        self.start += nuls;
        self.nul_bytes += nuls as u64;
        self.scanned = self.scanned.max(self.start);
    }

    /// What stands after the last newline, as a line of its own: the stream has ended.
    pub fn take_tail(&mut self) -> Option<Line<'_>> {
        let begin = self.start;
        self.start = self.end;
        (begin < self.end && !self.skipping).then(|| self.line(begin, self.end))
    }

    /// Takes `count` bytes that belong to no line; `None` when fewer are there.
    pub fn take(&mut self, count: usize) -> Option<&[u8]> {
        let begin = self.start;
        (self.end - begin >= count).then(|| {
            self.start += count;
            self.scanned = self.start;
            &self.bytes[begin..begin + count]
        })
    }

    /// What follows is, or is not, the rest of a line that is not wanted.
    pub fn skip(&mut self, skipping: bool) {
        self.skipping = skipping;
    }

    /// NUL bytes that stood in front of lines, since [`begin`](Self::begin).
    pub fn nul_bytes(&self) -> u64 {
        self.nul_bytes
    }

    /// Offset of the first byte that was not handed out.
    pub fn position(&self) -> u64 {
        self.base + self.start as u64
    }

    pub fn skipping(&self) -> bool {
        self.skipping
    }

    /// The up to [`OVERLAP_BYTES`] before `position`.
    pub fn overlap(&self) -> &[u8] {
        &self.bytes[self.start.saturating_sub(OVERLAP_BYTES)..self.start]
    }

    /// `overlap` and all that follows it: what a reader that cannot go back has to keep for the next time.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.start.saturating_sub(OVERLAP_BYTES)..self.end]
    }

    fn line(&self, begin: usize, end: usize) -> Line<'_> {
        let shown = end.min(begin + self.line_bytes_max);
        Line { bytes: &self.bytes[begin..shown], offset: self.base + begin as u64, cut: shown < end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (Vec<u8>, u64, bool);

    fn owned(line: Line<'_>) -> Owned {
        (line.bytes.to_vec(), line.offset, line.cut)
    }

    /// Feeds `content` in pieces of at most the given sizes, one after the other.
    fn lines(buffer: &mut LineBuffer, content: &[u8], pieces: &[usize]) -> Vec<Owned> {
        let mut out = Vec::new();
        let mut pieces = pieces.iter().copied().cycle();
        loop {
            while let Some(line) = buffer.next_line() {
                out.push(owned(line));
            }
            let piece = pieces.next().unwrap_or(1);
            let read = buffer.fill(|space, offset| {
                assert!(!space.is_empty(), "a fill must have room");
                let rest = &content[offset as usize..];
                let count = piece.min(rest.len()).min(space.len());
                space[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            });
            if read.expect("no errors here").is_empty() {
                return out;
            }
        }
    }

    /// The rule, said the slow way.
    fn expected(content: &[u8], limit: usize) -> (Vec<Owned>, Option<Owned>) {
        let mut offset = 0;
        let mut all: Vec<Owned> = content
            .split(|b| *b == b'\n')
            .map(|line| {
                let nuls = line.iter().take_while(|b| **b == 0).count();
                let at = offset + nuls as u64;
                offset += line.len() as u64 + 1;
                let line = &line[nuls..];
                (line[..line.len().min(limit)].to_vec(), at, line.len() > limit)
            })
            .collect();
        let tail = all.pop().filter(|(bytes, _, _)| !bytes.is_empty());
        match tail {
            Some(tail) if tail.2 => {
                all.push(tail);
                (all, None)
            }
            tail => (all, tail),
        }
    }

    #[test]
    fn whole_lines_only_with_their_offsets() {
        let mut buffer = LineBuffer::new(1, 4);
        let got = lines(&mut buffer, b"ab\n\ncd\nef", &[1]);
        assert_eq!(got, [(b"ab".to_vec(), 0, false), (vec![], 3, false), (b"cd".to_vec(), 4, false)]);
        assert_eq!(buffer.position(), 7);
        assert_eq!(buffer.overlap(), b"ab\n\ncd\n");
        assert_eq!(buffer.take_tail().map(owned), Some((b"ef".to_vec(), 7, false)));
        assert_eq!(buffer.take_tail(), None);
    }

    #[test]
    fn a_line_of_the_limit_is_whole_and_one_byte_more_is_cut() {
        for pieces in [1, 3, 100] {
            let mut buffer = LineBuffer::new(1, 4);
            let got = lines(&mut buffer, b"1234\n12345\n123456789\nz\n", &[pieces]);
            let want = [("1234", 0, false), ("1234", 5, true), ("1234", 11, true), ("z", 21, false)];
            assert_eq!(got, want.map(|(text, at, cut)| (text.as_bytes().to_vec(), at, cut)), "pieces of {pieces}");
        }
    }

    #[test]
    fn a_line_longer_than_the_buffer_is_cut_and_counted_once() {
        let mut buffer = LineBuffer::new(1, 4);
        assert_eq!(lines(&mut buffer, b"123456", &[100]), [(b"1234".to_vec(), 0, true)]);
        assert!(buffer.skipping());
        assert_eq!(buffer.take_tail(), None, "the line was counted already");
        let position = buffer.position();
        buffer.begin(position, true);
        assert_eq!(lines(&mut buffer, b"1234567890\nab\n", &[2]), [(b"ab".to_vec(), 11, false)]);
    }

    #[test]
    fn endless_line_takes_no_memory() {
        let mut buffer = LineBuffer::new(64, 16);
        let capacity = buffer.bytes.len();
        let content = [vec![b'x'; 100_000], b"\nend\n".to_vec()].concat();
        let got = lines(&mut buffer, &content, &[7, 64]);
        assert_eq!(got.len(), 2);
        assert_eq!(got[1], (b"end".to_vec(), 100_001, false));
        assert_eq!(buffer.bytes.len(), capacity);
    }

    /// What a power loss leaves of a tail that was never written.
    #[test]
    fn nuls_in_front_of_a_line_belong_to_none() {
        for pieces in [1, 3, 100] {
            let mut buffer = LineBuffer::new(1, 4);
            let got = lines(&mut buffer, b"a\n\0\0b\0\n\0\n\0\0\0\0\0\0\0\0", &[pieces]);
            let want = [("a", 0), ("b\0", 4), ("", 8)].map(|(text, at)| (text.as_bytes().to_vec(), at, false));
            assert_eq!(got, want, "pieces of {pieces}");
            assert_eq!((buffer.position(), buffer.nul_bytes()), (17, 11));
            assert_eq!(buffer.take_tail(), None, "NULs without a newline are no line");
        }
    }

    #[test]
    fn bytes_of_no_line_are_taken_first() {
        let mut buffer = LineBuffer::new(1, 8);
        buffer.begin(2, false);
        buffer
            .fill(|space, offset| {
                assert_eq!(offset, 2);
                space[..6].copy_from_slice(b"\nxab\nc");
                Ok(6)
            })
            .expect("no errors here");
        assert_eq!(buffer.take(2), Some(&b"\nx"[..]));
        assert_eq!(buffer.take(9), None);
        assert_eq!(buffer.next_line().map(owned), Some((b"ab".to_vec(), 4, false)));
        assert_eq!(buffer.rest(), b"\nxab\nc");
    }

    #[test]
    fn an_error_loses_nothing() {
        let mut buffer = LineBuffer::new(1, 8);
        assert_eq!(lines(&mut buffer, b"ab\ncd", &[5]).len(), 1);
        assert!(buffer.fill(|_, _| Err(io::ErrorKind::Other.into())).is_err());
        assert_eq!(lines(&mut buffer, b"ab\ncde\n", &[1]), [(b"cde".to_vec(), 3, false)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_chunking_gives_the_lines_of_the_content(
            content in prop::collection::vec(prop::sample::select(&b"\n\na\0\xff\r"[..]), 0..400),
            pieces in prop::collection::vec(1usize..50, 1..8),
            limit in 1usize..12,
            capacity in 1usize..80,
        ) {
            let mut buffer = LineBuffer::new(capacity, limit);
            let (whole, tail) = expected(&content, limit);
            prop_assert_eq!(lines(&mut buffer, &content, &pieces), whole);
            let before = buffer.position() as usize;
            prop_assert_eq!(buffer.overlap(), &content[before.saturating_sub(OVERLAP_BYTES)..before]);
            prop_assert_eq!(buffer.take_tail().map(owned), tail);
        }
    }
}
