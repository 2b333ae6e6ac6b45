//! Lines that belong together: they are held until the next block begins, until nothing follows for a while, or until
//! there are enough of them.
//!
//! Each stream, a source with certain labels, has a block of its own. What is known of a block's first line stays when
//! the block has left: lines that come behind it without a first line of their own make another block, with the labels
//! and the time of the old first line, as in Promtail. Unlike there, streams are forgotten: with their source, or when
//! there are too many of them.

mod kept;
mod remembered;

use super::stage::{Flow, Held, When};
use super::{Context, ReasonId, Record, Text};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use remembered::Remembered;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// Bytes of a block that are kept: Loki's limit for a line.
pub const BLOCK_BYTES_MAX: usize = 256 * 1024;
/// Bytes that the open blocks of one stage may have together, and those that are remembered of streams without one.
pub const BLOCKS_BYTES_MAX: usize = 8 << 20;
/// Streams that one stage knows.
pub const STREAMS_MAX: usize = 10_000;

/// What a stream weighs beside its bytes.
const STREAM_BYTES: usize = 256;
/// Room of closed blocks that is kept to be filled again.
const SPARE_BYTES_MAX: usize = 1 << 20;

pub struct Blocks {
    max_wait: Duration,
    /// A block of so many entries leaves at once; 0: of any number.
    max_lines: u64,
    /// By the place in which each is kept, and places that no stream has.
    streams: Vec<Option<Stream>>,
    free: Vec<usize>,
    /// Their places by the hash of source and labels.
    places: HashTable<u32>,
    hasher: RandomState,
    /// The stream of the line before.
    last: usize,
    /// Streams with an open block, the oldest block first.
    open: Vec<usize>,
    /// What streams with an open block weigh, and those without.
    open_bytes: usize,
    idle_bytes: usize,
    /// Blocks and lines so far: who is older?
    begun: u64,
    lines: u64,
    /// Where the next first line is taken while the block before it still leaves.
    next: Remembered,
    spare: Vec<Vec<u8>>,
    spare_bytes: usize,
}

struct Stream {
    source: usize,
    hash: u64,
    /// The line that its newest block of all began with.
    first: Remembered,
    /// The block: its text, how many entries it has (0: there is none), and of how many lines of the file.
    text: Vec<u8>,
    entries: u64,
    lines: u64,
    /// Not all of it fitted.
    cut: bool,
    /// Why the block's own first line was refused, if it was.
    refusal: Option<ReasonId>,
    /// When it began, among the others.
    began: u64,
    /// Since when its source has nothing more to read; nothing while more may follow at once.
    waits_since: Option<Duration>,
    /// When its last line came, among all lines.
    used: u64,
    /// Whether it is counted as open, and with how many bytes.
    counted: (bool, usize),
}

/// A line as it comes to a block.
struct Piece {
    line: Text,
    lines: u64,
    cut: bool,
    refusal: Option<ReasonId>,
}

impl Stream {
    fn new(source: usize, hash: u64, first: Remembered) -> Self {
        Stream {
            source,
            hash,
            first,
            text: Vec::new(),
            entries: 0,
            lines: 0,
            cut: false,
            refusal: None,
            began: 0,
            waits_since: None,
            used: 0,
            counted: (false, 0),
        }
    }

    fn is_of(&self, record: &Record<'_>) -> bool {
        self.source == record.source() && self.first.has_labels_of(record)
    }

    fn weight(&self) -> usize {
        STREAM_BYTES + self.first.weight() + self.text.len()
    }
}

impl Blocks {
    pub fn new(max_wait: Duration, max_lines: u64) -> Self {
        Blocks {
            max_wait,
            max_lines,
            streams: Vec::new(),
            free: Vec::new(),
            places: HashTable::new(),
            hasher: RandomState::default(),
            last: 0,
            open: Vec::new(),
            open_bytes: 0,
            idle_bytes: 0,
            begun: 0,
            lines: 0,
            next: Remembered::default(),
            spare: Vec::new(),
            spare_bytes: 0,
        }
    }

    /// Takes a line, of which `begins` says whether it is the first of a block. The record then is one that is complete,
    /// or its line is held.
    pub fn process(&mut self, record: &mut Record<'_>, begins: bool, context: &mut Context<'_>) -> Flow {
        let Some(at) = self.find(record).or_else(|| begins.then(|| self.enter(record))) else { return Flow::Next };
        self.last = at;
        self.lines += 1;
        let piece =
            Piece { line: record.line_text(), lines: record.lines(), cut: record.is_cut(), refusal: record.refusal() };
        let mut flow = Flow::Hold;
        if begins {
            self.next.take(record);
            if self.stream(at).is_some_and(|stream| stream.entries > 0) {
                self.give(at, record);
                flow = Flow::Next;
            }
        }
        let Some(stream) = self.streams[at].as_mut() else { return flow };
        stream.used = self.lines;
        if begins {
            std::mem::swap(&mut stream.first, &mut self.next);
        }
        if stream.entries == 0 {
            stream.began = self.begun;
            self.begun += 1;
            if let Some(room) = self.spare.pop() {
                self.spare_bytes -= room.capacity();
                stream.text = room;
            }
        }
        stream.append(record, &piece);
        let full = self.max_lines > 0 && stream.entries >= self.max_lines;
        self.weigh(at);
        if full && flow == Flow::Hold {
            self.give(at, record);
            flow = Flow::Next;
        }
        self.forget_the_oldest();
        context.overdue |= self.is_over();
        flow
    }

    /// A source was read to its end: from now on its blocks wait.
    pub fn caught_up(&mut self, source: usize, monotonic: Duration) {
        for at in &self.open {
            let stream = self.streams[*at].as_mut().filter(|stream| stream.source == source);
            if let Some(stream) = stream {
                stream.waits_since.get_or_insert(monotonic);
            }
        }
    }

    /// Forgets a source, whose blocks have left.
    pub fn ended(&mut self, source: usize) {
        for at in 0..self.streams.len() {
            if self.stream(at).is_some_and(|stream| stream.source == source && stream.entries == 0) {
                self.forget(at);
            }
        }
    }

    /// The next block that leaves.
    pub fn due(&self, when: When) -> Option<Held> {
        let stream = self.stream(self.chosen(when)?)?;
        let unfinished = matches!(when, When::At(_)) && self.is_over();
        Some(Held { binding: stream.source, lines: stream.lines, unfinished })
    }

    /// Puts the block that [`due`](Self::due) named into the record.
    pub fn release(&mut self, when: When, record: &mut Record<'_>) {
        if let Some(at) = self.chosen(when) {
            self.give(at, record);
            self.forget_the_oldest();
        }
    }

    fn chosen(&self, when: When) -> Option<usize> {
        let first = |wanted: &dyn Fn(&Stream) -> bool| {
            self.open.iter().copied().find(|at| self.stream(*at).is_some_and(wanted))
        };
        match when {
            When::At(_) if self.is_over() => self.open.first().copied(),
            When::At(now) => {
                first(&|stream| stream.waits_since.is_some_and(|since| now.saturating_sub(since) >= self.max_wait))
            }
            When::Ended(source) => first(&|stream| stream.source == source),
            When::End => self.open.first().copied(),
        }
    }

    fn is_over(&self) -> bool {
        self.open.len() > STREAMS_MAX || self.open_bytes > BLOCKS_BYTES_MAX
    }

    fn stream(&self, at: usize) -> Option<&Stream> {
        self.streams.get(at)?.as_ref()
    }

    fn find(&self, record: &Record<'_>) -> Option<usize> {
        let is_it = |at: usize| self.stream(at).is_some_and(|stream| stream.is_of(record));
        if is_it(self.last) {
            return Some(self.last);
        }
        if self.places.is_empty() {
            return None;
        }
        let labels = record.label_ids().map(|id| record.label(id).map(|text| record.bytes(text)));
        let hash = self.hash(record.source(), labels);
        self.places.find(hash, |at| is_it(*at as usize)).map(|at| *at as usize)
    }

    fn hash<'l>(&self, source: usize, labels: impl Iterator<Item = Option<&'l [u8]>>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_usize(source);
        for label in labels {
            // No label is as long as this.
            hasher.write_u64(label.map_or(u64::MAX, |label| label.len() as u64));
            hasher.write(label.unwrap_or_default());
        }
        hasher.finish()
    }

    /// Makes the record's stream known.
    fn enter(&mut self, record: &Record<'_>) -> usize {
        let mut first = Remembered::default();
        first.take(record);
        let hash = self.hash(record.source(), first.labels());
        let at = self.free.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.streams.len() - 1
        });
        self.add(at, Stream::new(record.source(), hash, first));
        at
    }

    fn add(&mut self, at: usize, stream: Stream) {
        let hash = stream.hash;
        self.streams[at] = Some(stream);
        let streams = &self.streams;
        self.places.insert_unique(hash, at as u32, |at| streams[*at as usize].as_ref().map_or(0, |stream| stream.hash));
        self.weigh(at);
    }

    fn forget(&mut self, at: usize) {
        let Some(stream) = self.streams[at].take() else { return };
        if let Ok(place) = self.places.find_entry(stream.hash, |place| *place as usize == at) {
            place.remove();
        }
        self.idle_bytes -= stream.counted.1;
        self.free.push(at);
    }

    /// While too much is remembered of streams without a block, forgets the one that has had no line for longest.
    fn forget_the_oldest(&mut self) {
        while self.idle_bytes > BLOCKS_BYTES_MAX || self.places.len() > STREAMS_MAX {
            let idle = (0..).zip(&self.streams).filter_map(|(at, stream)| Some((at, stream.as_ref()?)));
            let oldest = idle.filter(|(_, stream)| stream.entries == 0).min_by_key(|(_, stream)| stream.used);
            let Some(at) = oldest.map(|(at, _)| at) else { return };
            self.forget(at);
        }
    }

    /// Lets the record be a stream's block, which thereby is over.
    fn give(&mut self, at: usize, record: &mut Record<'_>) {
        let Some(stream) = self.streams[at].as_mut() else { return };
        record.leave_line();
        stream.first.give(record);
        let text = record.push(&stream.text);
        record.set_line(text);
        record.set_lines(stream.lines);
        if stream.cut {
            record.set_cut();
        }
        if let Some(reason) = stream.refusal {
            record.refuse(reason);
        }
        let mut room = std::mem::take(&mut stream.text);
        (stream.entries, stream.lines, stream.cut, stream.refusal) = (0, 0, false, None);
        stream.waits_since = None;
        if self.spare_bytes + room.capacity() <= SPARE_BYTES_MAX {
            room.clear();
            self.spare_bytes += room.capacity();
            self.spare.push(room);
        }
        self.weigh(at);
    }

    /// Brings the sums up to a stream that changed.
    fn weigh(&mut self, at: usize) {
        let Some(stream) = self.streams[at].as_mut() else { return };
        let now = (stream.entries > 0, stream.weight());
        let before = std::mem::replace(&mut stream.counted, now);
        for ((open, bytes), sign) in [(before, -1), (now, 1)] {
            let sum = if open { &mut self.open_bytes } else { &mut self.idle_bytes };
            *sum = sum.wrapping_add_signed(bytes as isize * sign);
        }
        match (before.0, now.0) {
            (false, true) => self.open.push(at),
            (true, false) => self.open.retain(|open| *open != at),
            _ => {}
        }
    }
}

impl Stream {
    fn append(&mut self, record: &Record<'_>, piece: &Piece) {
        if self.entries == 0 {
            self.refusal = piece.refusal;
        }
        // As in Promtail: nothing stands between a block that is empty so far and its next line.
        if !self.text.is_empty() && self.text.len() < BLOCK_BYTES_MAX {
            self.text.push(b'\n');
        }
        let line = record.bytes(piece.line);
        let room = BLOCK_BYTES_MAX - self.text.len();
        self.cut |= piece.cut || line.len() > room;
        self.text.extend_from_slice(&line[..line.len().min(room)]);
        self.entries += 1;
        self.lines += piece.lines;
        self.waits_since = None;
    }
}

#[cfg(test)]
mod tests;
