//! Bytes in, whole lines out.
//!
//! One buffer serves all files of a worker: what is left of an unfinished line is not kept here but read again from
//! its offset, so an idle file costs no buffer.

use memchr::memchr;

/// Bytes of a line that are handed out; the rest of a longer one is skipped. Loki's own limit.
pub const LINE_BYTES_MAX: usize = 256 * 1024;
/// Bytes that a reader may put in front of the line: what it reads again to compare.
pub const HEADROOM_BYTES: usize = 32;
/// Bytes that are asked of a file at once.
const READ_BYTES: usize = 256 * 1024;

/// A line without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'b> {
    pub bytes: &'b [u8],
    /// The line was longer than the limit; this is its beginning.
    pub cut: bool,
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consumed {
    /// Bytes that belong to lines that were handed out or skipped: the cursor moves by so many.
    pub bytes: usize,
    pub lines: u64,
    pub cut: u64,
    /// The next bytes are the rest of a line that was cut: to be skipped up to its newline.
    pub skipping: bool,
}

pub struct LineBuffer {
    bytes: Vec<u8>,
    line_bytes_max: usize,
}

impl Default for LineBuffer {
    fn default() -> Self {
        LineBuffer::new(READ_BYTES, LINE_BYTES_MAX)
    }
}

impl LineBuffer {
    /// A buffer that reads `read_bytes` at once and hands out at most `line_bytes_max` of a line.
    pub fn new(read_bytes: usize, line_bytes_max: usize) -> Self {
        // A line of the limit and its newline must fit behind the headroom, else a full buffer could hold no whole line
        // and no long one, and the file would not be read any further.
        LineBuffer { bytes: vec![0; read_bytes.max(HEADROOM_BYTES + line_bytes_max + 1)], line_bytes_max }
    }

    /// Room for the next read.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Cuts the first `filled` bytes into lines. `skipping` says that they begin inside a line that was cut before.
    /// With `last`, a line without a newline is handed out too.
    pub fn cut(&self, filled: usize, skipping: bool, last: bool, mut take: impl FnMut(Line<'_>)) -> Consumed {
        let mut rest = &self.bytes[..filled];
        let mut consumed = Consumed { skipping, ..Consumed::default() };
        if skipping {
            match memchr(b'\n', rest) {
                None => return Consumed { bytes: filled, ..consumed },
                Some(at) => {
                    consumed.bytes = at + 1;
                    consumed.skipping = false;
                    rest = &rest[at + 1..];
                }
            }
        }
        while let Some(at) = memchr(b'\n', rest) {
            self.hand_out(&rest[..at], &mut consumed, &mut take);
            consumed.bytes += at + 1;
            rest = &rest[at + 1..];
        }
        if rest.len() > self.line_bytes_max || (last && !rest.is_empty()) {
            consumed.skipping = rest.len() > self.line_bytes_max && !last;
            self.hand_out(rest, &mut consumed, &mut take);
            consumed.bytes += rest.len();
        }
        consumed
    }

    fn hand_out(&self, line: &[u8], consumed: &mut Consumed, take: &mut impl FnMut(Line<'_>)) {
        let cut = line.len() > self.line_bytes_max;
        take(Line { bytes: &line[..line.len().min(self.line_bytes_max)], cut });
        consumed.lines += 1;
        consumed.cut += u64::from(cut);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads `content` through a buffer, as a file source does: again from where the last line ended.
    fn lines(content: &[u8], read_bytes: usize, line_bytes_max: usize) -> Vec<(Vec<u8>, bool)> {
        let mut buffer = LineBuffer::new(read_bytes, line_bytes_max);
        let (mut at, mut skipping, mut found) = (0, false, Vec::new());
        loop {
            let room = buffer.room();
            let filled = room.len().min(content.len() - at);
            room[..filled].copy_from_slice(&content[at..at + filled]);
            let last = at + filled == content.len();
            let consumed = buffer.cut(filled, skipping, last, |line| found.push((line.bytes.to_vec(), line.cut)));
            at += consumed.bytes;
            skipping = consumed.skipping;
            if at == content.len() {
                return found;
            }
            assert!(consumed.bytes > 0, "no progress at {at} of {}", content.len());
        }
    }

    /// The rule itself: split at newlines, each line cut to the limit, nothing behind a final newline.
    fn rule(content: &[u8], line_bytes_max: usize) -> Vec<(Vec<u8>, bool)> {
        let mut split: Vec<&[u8]> = content.split(|b| *b == b'\n').collect();
        if split.last().is_some_and(|last| last.is_empty()) {
            split.pop();
        }
        split.iter().map(|l| (l[..l.len().min(line_bytes_max)].to_vec(), l.len() > line_bytes_max)).collect()
    }

    #[test]
    fn an_unfinished_line_stays() {
        let mut buffer = LineBuffer::new(64, 16);
        buffer.room()[..9].copy_from_slice(b"one\ntwo\nt");
        let mut seen = Vec::new();
        let consumed = buffer.cut(9, false, false, |line| seen.push(line.bytes.to_vec()));
        assert_eq!(seen, [b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(consumed, Consumed { bytes: 8, lines: 2, cut: 0, skipping: false });
    }

    #[test]
    fn a_line_longer_than_the_buffer_is_cut_and_counted_once() {
        let content = [&[b'x'; 1000][..], b"\nnext\n"].concat();
        assert_eq!(lines(&content, 8, 16), [(vec![b'x'; 16], true), (b"next".to_vec(), false)]);
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_content(
            content in proptest::collection::vec(prop_oneof![4 => Just(b'a'), 1 => Just(b'\n'), 1 => any::<u8>()], 0..400),
            read_bytes in 1usize..50,
            line_bytes_max in 1usize..40,
        ) {
            prop_assert_eq!(lines(&content, read_bytes, line_bytes_max), rule(&content, line_bytes_max));
        }
    }
}
