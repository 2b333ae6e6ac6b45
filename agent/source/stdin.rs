//! Standard input, or any other stream that can be read once.

use std::io::{self, Read};

use super::Line;
use super::line_buffer::LineBuffer;

/// Lines as Promtail's `-stdin` makes them: all carriage returns at the end go, empty lines are skipped, and the end
/// of the stream ends the last line.
pub struct StdinSource<R> {
    reader: R,
    buffer: LineBuffer,
}

impl<R: Read> StdinSource<R> {
    pub fn new(reader: R) -> Self {
        StdinSource { reader, buffer: LineBuffer::default() }
    }

    /// Reads once, waiting for input, and hands out what became whole. False: the stream has ended.
    pub fn read(&mut self, sink: &mut dyn FnMut(Line<'_>)) -> io::Result<bool> {
        let reader = &mut self.reader;
        let more = loop {
            match self.buffer.fill(|space, _| reader.read(space)) {
                Ok(read) => break !read.is_empty(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let mut give = |bytes: &[u8], offset, cut, complete| {
            let end = bytes.iter().rposition(|b| *b != b'\r').map_or(0, |last| last + 1);
            if end > 0 {
                sink(Line { bytes: &bytes[..end], offset, generation: 0, cut, complete });
            }
        };
        while let Some(line) = self.buffer.next_line() {
            give(line.bytes, line.offset, line.cut, true);
        }
        if let Some(line) = (!more).then(|| self.buffer.take_tail()).flatten() {
            give(line.bytes, line.offset, line.cut, false);
        }
        Ok(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, with interruptions.
    struct Slow<'b>(&'b [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count = self.0.len().min(1);
            self.0.read(&mut space[..count])
        }
    }

    #[test]
    fn lines_are_trimmed_as_promtail_does() {
        let mut got = Vec::new();
        let mut source = StdinSource::new(Slow(b"a\r\n\n\r\n  b \r\r\nc\rd\nlast", false));
        while source
            .read(&mut |line| got.push((String::from_utf8_lossy(line.bytes).into_owned(), line.offset, line.complete)))
            .expect("no errors here")
        {}
        let want = [("a", 0, true), ("  b ", 6, true), ("c\rd", 13, true), ("last", 17, false)];
        assert_eq!(got, want.map(|(text, offset, complete)| (text.to_owned(), offset, complete)));
    }
}
