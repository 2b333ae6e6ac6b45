//! Blocks over a restart.
//!
//! A stream is kept in slots of its own: what changes with every line, what is known of the first one, and the text in
//! parts of which only the last one changes.

use super::remembered::Remembered;
use super::{BLOCK_BYTES_MAX, Blocks, STREAMS_MAX, Stream};
use crate::keep::{Reader, Writer};
use crate::pipeline::kept::{COUNT_MAX, Keeper, Kept, Known, LINES_MAX, Rebound};

const PLACE_SLOTS: u32 = 32;
const FIRST_SLOT: u32 = 1;
const TEXT_SLOT: u32 = 2;
const PART_BYTES: usize = 16 * 1024;

impl Blocks {
    pub fn keep(&self, keeper: &mut Keeper<'_>) {
        let known = keeper.known;
        for (place, stream) in (0..).zip(&self.streams) {
            let Some(stream) = stream else { continue };
            let first = place * PLACE_SLOTS;
            keeper.put(first, |writer| stream.write(known, writer));
            keeper.put(first + FIRST_SLOT, |writer| stream.first.write(stream.source, known, writer));
            for (number, part) in (first + TEXT_SLOT..).zip(stream.text.chunks(PART_BYTES)) {
                keeper.put(number, |writer| writer.raw(part));
            }
        }
    }

    /// Takes back what [`keep`](Self::keep) wrote. A block whose source is gone, or which is not whole, is given up.
    pub fn restore(&mut self, kept: Kept<'_>, rebound: &mut Rebound<'_>) {
        let mut open: Vec<(u64, usize)> = Vec::new();
        for (number, reader) in kept.iter().filter(|(number, _)| number % PLACE_SLOTS == 0) {
            let place = (number / PLACE_SLOTS) as usize;
            let read = Stream::read(reader, rebound).filter(|_| place <= STREAMS_MAX);
            let Some((mut stream, length)) = read else {
                rebound.damaged += 1;
                continue;
            };
            let whole = stream.read_text(kept, number, length);
            let source = rebound.source(stream.source as u64);
            let known = rebound.known;
            let first = kept.get(number + FIRST_SLOT);
            let first = source.map(|source| first.and_then(|first| Remembered::read(first, source, known)));
            rebound.damaged += u64::from(!whole || matches!(first, Some(None)));
            let (Some(source), Some(Some(first)), true) = (source, first, whole) else {
                rebound.discarded += u64::from(stream.entries > 0);
                rebound.discarded_pieces += stream.lines;
                continue;
            };
            (stream.source, stream.first, stream.used) = (source, first, stream.began);
            stream.hash = self.hash(source, stream.first.labels());
            rebound.held += stream.lines;
            self.begun = self.begun.max(stream.began + 1);
            if stream.entries > 0 {
                open.push((stream.began, place));
            }
            self.streams.resize_with(self.streams.len().max(place + 1), || None);
            self.add(place, stream);
        }
        self.free = (0..self.streams.len()).rev().filter(|place| self.streams[*place].is_none()).collect();
        self.lines = self.begun;
        open.sort_unstable();
        self.open = open.into_iter().map(|(_, place)| place).collect();
    }
}

impl Stream {
    fn write(&self, known: Known<'_>, writer: &mut Writer<'_>) {
        writer.number(self.source as u64);
        writer.number(self.entries);
        writer.number(self.lines);
        writer.byte(u8::from(self.cut));
        writer.bytes(self.refusal.and_then(|reason| known.reason_name(reason)).unwrap_or_default().as_bytes());
        writer.number(self.began);
        writer.number(self.text.len() as u64);
    }

    /// What was kept of a stream beside first line and text, and how long the text is.
    fn read(mut reader: Reader<'_>, rebound: &Rebound<'_>) -> Option<(Stream, usize)> {
        let mut stream = Stream::new(usize::try_from(reader.number()?).ok()?, 0, Remembered::default());
        stream.entries = reader.number()?;
        stream.lines = reader.number().filter(|lines| *lines <= LINES_MAX)?;
        stream.cut = reader.byte()? == 1;
        stream.refusal = rebound.known.reason(reader.text()?);
        stream.began = reader.number().filter(|began| *began <= COUNT_MAX)?;
        let length = usize::try_from(reader.number()?).ok().filter(|length| *length <= BLOCK_BYTES_MAX)?;
        // Each entry is one line of the file or more.
        let consistent = stream.entries <= stream.lines && (stream.entries > 0 || (stream.lines, length) == (0, 0));
        (reader.is_empty() && consistent).then_some((stream, length))
    }

    /// Whether all of the text is there.
    fn read_text(&mut self, kept: Kept<'_>, first: u32, length: usize) -> bool {
        for (number, start) in (first + TEXT_SLOT..).zip((0..length).step_by(PART_BYTES)) {
            let part = kept.get(number).and_then(|mut part| part.raw(PART_BYTES.min(length - start)));
            let Some(part) = part else { return false };
            self.text.extend_from_slice(part);
        }
        true
    }
}
