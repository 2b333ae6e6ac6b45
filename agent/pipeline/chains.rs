//! Lines in pieces: what a container's runtime split is held until its last piece comes.
//!
//! The pieces of stdout and stderr interleave, so they are joined by source and stream. The joined line has the
//! timestamp of its last piece. Pieces whose end never comes leave as a line when their source ends, or when there are
//! more of them than may wait.

use super::kept::{COUNT_MAX, Keeper, Kept, LINES_MAX, Rebound};
use super::stage::{Held, When};
use super::{Context, Record, Text};
use crate::clock::UnixNanos;
use crate::decode::cri::Stream;
use crate::keep::Reader;

/// Bytes of a joined line that are kept: Loki's limit for a line, and the bound for a chain that never ends.
pub const JOINED_BYTES_MAX: usize = 256 * 1024;
/// Bytes that the unfinished lines of one joining stage may have together; a stage that joins two formats has it twice.
pub const CHAINS_BYTES_MAX: usize = 8 << 20;
/// Unfinished lines that may wait in one joining stage, whatever its configuration says.
pub const CHAINS_MAX: usize = 10_000;

/// What a chain weighs beside its text.
const CHAIN_BYTES: usize = 128;
/// Buffers that are kept to be filled again, and how large one may be.
const SPARES_MAX: usize = 4;
const SPARE_BYTES_MAX: usize = JOINED_BYTES_MAX;

/// A chain is kept in slots of its own: first what changes with every piece, then its text in parts of which only the
/// last one changes.
const PLACE_SLOTS: u32 = 32;
const PART_BYTES: usize = 16 * 1024;

pub struct Chains {
    /// Those that wait for their last piece, the oldest first; few, so a search from the front is the fastest there is.
    waiting: Vec<Chain>,
    /// Buffers of chains that ended, to be filled again.
    spare: Vec<Vec<u8>>,
    /// Past so many the oldest one leaves unfinished.
    chains_max: usize,
    bytes_max: usize,
    /// What all that wait weigh; past [`CHAINS_BYTES_MAX`] the oldest one leaves unfinished.
    weight: usize,
    /// Chains that began so far.
    begun: u64,
    /// Places below `places` that no chain has.
    free: Vec<u32>,
    places: u32,
}

/// The pieces of a line so far.
struct Chain {
    source: usize,
    stream: Stream,
    bytes: Vec<u8>,
    /// Lines of the file in it, at least 1.
    lines: u64,
    timestamp: UnixNanos,
    /// Some of its pieces did not fit.
    cut: bool,
    /// When it began, among the others.
    began: u64,
    /// Where it is kept: nobody else's as long as it waits.
    place: u32,
}

impl Chain {
    fn weight(&self) -> usize {
        CHAIN_BYTES + self.bytes.len()
    }
}

impl Chains {
    /// Up to `chains_max` chains (1 to [`CHAINS_MAX`]) of at most `bytes_max` bytes each; what is longer is cut.
    pub fn new(chains_max: usize, bytes_max: usize) -> Self {
        Chains {
            waiting: Vec::new(),
            spare: Vec::new(),
            chains_max: chains_max.clamp(1, CHAINS_MAX),
            bytes_max: bytes_max.min(JOINED_BYTES_MAX),
            weight: 0,
            begun: 0,
            free: Vec::new(),
            places: 0,
        }
    }

    /// Keeps the record's line as a piece.
    #[cold]
    pub fn hold(&mut self, record: &Record<'_>, stream: Stream, context: &mut Context<'_>) {
        let source = record.source();
        let at = self.position(source, stream).unwrap_or_else(|| self.begin(source, stream));
        let chain = &mut self.waiting[at];
        self.weight -= chain.weight();
        chain.lines += record.lines();
        chain.timestamp = record.timestamp();
        let piece = record.line();
        let room = self.bytes_max.saturating_sub(chain.bytes.len());
        chain.cut |= record.is_cut() || piece.len() > room;
        chain.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        self.weight += chain.weight();
        context.overdue |= self.is_over();
    }

    /// The record's line with the pieces before it, if there are any.
    #[inline]
    pub fn join(&mut self, record: &mut Record<'_>, stream: Stream) -> Option<Text> {
        if self.waiting.is_empty() { None } else { self.join_waiting(record, stream) }
    }

    #[cold]
    fn join_waiting(&mut self, record: &mut Record<'_>, stream: Stream) -> Option<Text> {
        let chain = self.take(self.position(record.source(), stream)?);
        let whole = record.line_text();
        let last = whole.slice(0, whole.len().min(self.bytes_max.saturating_sub(chain.bytes.len())));
        let start = record.push(&chain.bytes);
        record.append(last);
        record.set_lines(chain.lines + record.lines());
        if chain.cut || last != whole {
            record.set_cut();
        }
        self.recycle(chain.bytes);
        Some(start.and_behind(last.len()))
    }

    /// The next chain that leaves unfinished.
    pub fn due(&self, when: When) -> Option<Held> {
        self.chosen(when).map(|at| Held {
            binding: self.waiting[at].source,
            lines: self.waiting[at].lines,
            unfinished: matches!(when, When::At(_)),
        })
    }

    /// Puts the chain that [`due`](Self::due) named into the record: its stream and its text.
    pub fn release(&mut self, when: When, record: &mut Record<'_>) -> Option<(Stream, Text)> {
        let chain = self.take(self.chosen(when)?);
        let text = record.push(&chain.bytes);
        record.set_lines(chain.lines);
        record.set_timestamp(chain.timestamp);
        record.set_line(text);
        if chain.cut {
            record.set_cut();
        }
        self.recycle(chain.bytes);
        Some((chain.stream, text))
    }

    fn position(&self, source: usize, stream: Stream) -> Option<usize> {
        self.waiting.iter().position(|chain| chain.source == source && chain.stream == stream)
    }

    fn chosen(&self, when: When) -> Option<usize> {
        match when {
            When::At(_) => self.is_over().then_some(0),
            When::Ended(source) => self.waiting.iter().position(|chain| chain.source == source),
            When::End => (!self.waiting.is_empty()).then_some(0),
        }
    }

    fn is_over(&self) -> bool {
        self.waiting.len() > self.chains_max || self.weight > CHAINS_BYTES_MAX
    }

    fn begin(&mut self, source: usize, stream: Stream) -> usize {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        let place = self.free.pop().unwrap_or_else(|| {
            self.places += 1;
            self.places - 1
        });
        self.add(Chain { source, stream, bytes, lines: 0, timestamp: 0, cut: false, began: self.begun, place });
        self.begun += 1;
        self.waiting.len() - 1
    }

    fn add(&mut self, chain: Chain) {
        self.weight += chain.weight();
        self.waiting.push(chain);
    }

    fn take(&mut self, at: usize) -> Chain {
        let chain = self.waiting.remove(at);
        self.weight -= chain.weight();
        self.free.push(chain.place);
        chain
    }

    fn recycle(&mut self, bytes: Vec<u8>) {
        if self.spare.len() < SPARES_MAX && bytes.capacity() <= SPARE_BYTES_MAX {
            self.spare.push(bytes);
        }
    }
}

/// Over a restart.
impl Chains {
    pub fn keep(&self, keeper: &mut Keeper<'_>) {
        let mut by_place: Vec<&Chain> = self.waiting.iter().collect();
        by_place.sort_unstable_by_key(|chain| chain.place);
        for chain in by_place {
            let first = chain.place * PLACE_SLOTS;
            keeper.put(first, |writer| {
                writer.number(chain.source as u64);
                writer.byte(chain.stream as u8);
                writer.number(chain.lines);
                writer.word(chain.timestamp as u64);
                writer.byte(u8::from(chain.cut));
                writer.number(chain.began);
                writer.number(chain.bytes.len() as u64);
            });
            for (number, part) in (first + 1..).zip(chain.bytes.chunks(PART_BYTES)) {
                keeper.put(number, |writer| writer.raw(part));
            }
        }
    }

    /// Takes back what [`keep`](Self::keep) wrote, into chains that are empty. A chain whose source is gone, or whose
    /// text is not whole, is given up.
    pub fn restore(&mut self, kept: Kept<'_>, rebound: &mut Rebound<'_>) {
        let mut begun: Vec<(Chain, Option<usize>)> = Vec::new();
        for (number, reader) in kept.iter().filter(|(number, _)| number % PLACE_SLOTS == 0) {
            match Chain::read(reader, number / PLACE_SLOTS) {
                Some((mut chain, length)) if (chain.place as usize) <= CHAINS_MAX => {
                    let whole = chain.read_text(kept, length);
                    rebound.damaged += u64::from(!whole);
                    let source = rebound.source(chain.source as u64).filter(|_| whole);
                    begun.push((chain, source));
                }
                _ => rebound.damaged += 1,
            }
        }
        begun.sort_by_key(|(chain, _)| chain.began);
        for (mut chain, source) in begun {
            match source.filter(|source| self.position(*source, chain.stream).is_none()) {
                Some(source) => {
                    chain.source = source;
                    chain.cut |= chain.bytes.len() > self.bytes_max;
                    chain.bytes.truncate(self.bytes_max);
                    rebound.held += chain.lines;
                    self.begun = self.begun.max(chain.began + 1);
                    self.places = self.places.max(chain.place + 1);
                    self.add(chain);
                }
                None => {
                    rebound.discarded += 1;
                    rebound.discarded_pieces += chain.lines;
                }
            }
        }
        let mut taken = vec![false; self.places as usize];
        self.waiting.iter().for_each(|chain| taken[chain.place as usize] = true);
        self.free = (0..self.places).rev().filter(|place| !taken[*place as usize]).collect();
    }
}

impl Chain {
    /// What was kept of a chain beside its text, and how long that is.
    fn read(mut reader: Reader<'_>, place: u32) -> Option<(Chain, usize)> {
        let chain = Chain {
            source: usize::try_from(reader.number()?).ok()?,
            stream: match reader.byte()? {
                0 => Stream::Stdout,
                1 => Stream::Stderr,
                _ => return None,
            },
            bytes: Vec::new(),
            lines: reader.number().filter(|lines| (1..=LINES_MAX).contains(lines))?,
            timestamp: reader.word()? as UnixNanos,
            cut: reader.byte()? == 1,
            began: reader.number().filter(|began| *began <= COUNT_MAX)?,
            place,
        };
        let length = usize::try_from(reader.number()?).ok().filter(|length| *length <= JOINED_BYTES_MAX)?;
        reader.is_empty().then_some((chain, length))
    }

    /// Whether all of the text is there.
    fn read_text(&mut self, kept: Kept<'_>, length: usize) -> bool {
        let first = self.place * PLACE_SLOTS + 1;
        for (number, start) in (first..).zip((0..length).step_by(PART_BYTES)) {
            let part = kept.get(number).and_then(|mut part| part.raw(PART_BYTES.min(length - start)));
            let Some(part) = part else { return false };
            self.bytes.extend_from_slice(part);
        }
        true
    }
}

#[cfg(test)]
#[path = "chains_tests.rs"]
mod tests;
