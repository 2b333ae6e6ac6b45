//! Twins: entries of one stream with the same timestamp and the same text. Loki keeps one of them, whatever their
//! structured metadata, so each twin is moved to the next nanosecond at which its text has not been sent.
//!
//! What has been sent is remembered by hash, for few timestamps: lines come in the order of their times, more or less.
//! - Of a clock that counts nanoseconds only the last timestamp is remembered: such a clock does not tell the same time
//!   twice in a row by chance, let alone later on.
//! - Of a coarse clock (whole microseconds: a log that tells seconds or milliseconds) the last [`MOMENTS_MAX`] are, since
//!   lines of several threads come out of order by a tick or two. A twin that comes later than that goes as it is.
//! - Of one that is remembered no longer, twins that were moved to the present and beyond are: they would meet the entries
//!   of the present.
//!
//! Two texts of one hash make a twin that is none: it is moved by a nanosecond, and nothing is lost.
//!
//! Of a clock that counts nanoseconds the next entry nearly always has another time, and then nobody asks for the hash. So
//! that of the last text is worked out when it is needed: until then it is known where the text stands in the open batch.

use crate::clock::UnixNanos;
use crate::keep::{Reader, Writer};
use std::ops::Range;

/// Timestamps remembered of one stream.
const MOMENTS_MAX: usize = 4;
/// Texts remembered of one stream. Of a moment with more, everything that is not remembered counts as a twin.
pub const TEXTS_MAX: usize = 1024;
/// Room that is kept without need, so that a stream whose moments hold now one text and now some allocates nothing.
const TEXTS_USUAL: usize = 16;

/// What was sent lately in one stream. The same entries in the same order get the same timestamps, in every process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Twins {
    /// The one that an entry came for last is at the end.
    moments: Vec<Moment>,
    /// Where the one text of the one moment stands in the open batch, if its hash is not known yet.
    unhashed: Option<Range<usize>>,
}

/// The entries that came with one timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Moment {
    stamp: UnixNanos,
    /// The latest timestamp that was given to an entry of this moment.
    end: UnixNanos,
    /// There were more texts than are remembered.
    crowded: bool,
    texts: Vec<Sent>,
}

/// A text that was sent with every timestamp from its moment's to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    hash: u64,
    last: UnixNanos,
}

impl Twins {
    /// The timestamp to send an entry with: its own, unless it is a twin.
    #[inline]
    pub fn place(&mut self, stamp: UnixNanos, line: &[u8]) -> UnixNanos {
        let hash = hash_of(line);
        let mut given = stamp;
        // Each turn leads past the end of what one moment knows of the text, so there are few.
        while let Some(next) = self.moments.iter().find_map(|moment| moment.behind(given, hash)) {
            given = next;
        }
        self.remember(stamp, hash, given);
        given
    }

    /// Whether no entry of this timestamp can be a twin, and a moment begins of which nothing is asked for now: then its
    /// text is to be named to [`begun_with`](Self::begun_with).
    #[inline]
    pub fn begins_anew(&mut self, stamp: UnixNanos) -> bool {
        match &mut self.moments[..] {
            [past] if !is_coarse(stamp) && !past.covers(stamp) => {
                past.begin_anew(stamp);
                self.unhashed = None;
                true
            }
            _ => false,
        }
    }

    /// Where in the open batch the first text of the moment stands that [began anew](Self::begins_anew).
    #[inline]
    pub fn begun_with(&mut self, text: Range<usize>) {
        self.unhashed = Some(text);
    }

    /// Works out the hash that is not known yet. To be called before any other entry is placed, and before the batch is
    /// gone.
    #[inline]
    pub fn settle(&mut self, batch: &[u8]) {
        if let Some(text) = self.unhashed.take()
            && let (Some(moment), Some(text)) = (self.moments.last_mut(), batch.get(text))
        {
            moment.texts.push(Sent { hash: hash_of(text), last: moment.stamp });
        }
    }

    #[inline]
    fn remember(&mut self, stamp: UnixNanos, hash: u64, given: UnixNanos) {
        if let Some(at) = self.moments.iter().position(|moment| moment.stamp == stamp) {
            self.moments[at..].rotate_left(1);
        } else {
            self.begin(stamp);
        }
        let Some(moment) = self.moments.last_mut() else { return };
        moment.end = moment.end.max(given);
        match moment.texts.iter_mut().find(|sent| sent.hash == hash) {
            Some(sent) => sent.last = sent.last.max(given),
            None => self.add(Sent { hash, last: given }, stamp),
        }
    }

    /// Adds a text to the moment at the end. If there is no room a moment of the past gives way.
    fn add(&mut self, sent: Sent, stamp: UnixNanos) {
        while self.texts() >= TEXTS_MAX
            && let Some(past) = self.moments.iter().position(|moment| !moment.covers(stamp))
        {
            self.moments.remove(past);
        }
        let full = self.texts() >= TEXTS_MAX;
        match self.moments.last_mut() {
            Some(moment) if full => moment.crowded = true,
            Some(moment) => moment.texts.push(sent),
            None => {}
        }
    }

    /// Opens a moment at the end, in the memory and with the debts of those that are remembered no longer.
    fn begin(&mut self, stamp: UnixNanos) {
        let before = if is_coarse(stamp) { MOMENTS_MAX - 1 } else { 0 };
        if let [past] = &mut self.moments[..]
            && before == 0
            && !past.covers(stamp)
        {
            // As below, for the usual clock.
            return past.begin_anew(stamp);
        }
        let mut moment = Moment { stamp, end: stamp, crowded: false, texts: Vec::new() };
        while self.moments.len() > before {
            moment.inherit(self.moments.remove(0));
        }
        self.moments.push(moment);
    }

    fn texts(&self) -> usize {
        self.moments.iter().map(|moment| moment.texts.len()).sum()
    }

    /// Writes what [`read`](Self::read) reads.
    pub fn write(&self, writer: &mut Writer<'_>) {
        debug_assert!(self.unhashed.is_none(), "every batch is sealed before");
        writer.number(self.moments.len() as u64);
        for moment in &self.moments {
            writer.word(moment.stamp as u64);
            writer.number(distance(moment.stamp, moment.end));
            writer.number((moment.texts.len() as u64) << 1 | u64::from(moment.crowded));
            for sent in &moment.texts {
                writer.word(sent.hash);
                writer.number(distance(moment.stamp, sent.last));
            }
        }
    }

    /// `None`: it was not written like this.
    pub fn read(reader: &mut Reader<'_>) -> Option<Twins> {
        let moments = reader.number()?;
        let moments = (0..moments).map(|_| Moment::read(reader));
        let moments: Vec<Moment> = moments.take(MOMENTS_MAX + 1).collect::<Option<_>>()?;
        let twins = Twins { moments, unhashed: None };
        (twins.moments.len() <= MOMENTS_MAX && twins.texts() <= TEXTS_MAX).then_some(twins)
    }
}

impl Moment {
    fn covers(&self, stamp: UnixNanos) -> bool {
        (self.stamp..=self.end).contains(&stamp)
    }

    /// If a text may have been sent with this timestamp: the next one with which this moment did not send it.
    #[inline]
    fn behind(&self, stamp: UnixNanos, hash: u64) -> Option<UnixNanos> {
        if !self.covers(stamp) {
            return None;
        }
        match self.texts.iter().find(|sent| sent.hash == hash) {
            Some(sent) if sent.last >= stamp => sent.last.checked_add(1),
            None if self.crowded => self.end.checked_add(1),
            _ => None,
        }
    }

    /// It is another moment from now on, of which nothing is known.
    fn begin_anew(&mut self, stamp: UnixNanos) {
        let room = self.room();
        (self.stamp, self.end, self.crowded) = (stamp, stamp, false);
        self.texts.clear();
        self.texts.shrink_to(room);
    }

    /// Room for as many texts again; not for ever for a crowd that came once.
    fn room(&self) -> usize {
        2 * self.texts.len().max(TEXTS_USUAL)
    }

    /// Takes over what an earlier moment knows of the timestamps from this one's on.
    fn inherit(&mut self, mut old: Moment) {
        let room = old.room();
        if old.covers(self.stamp) {
            old.texts.retain(|sent| sent.last >= self.stamp);
            self.end = self.end.max(old.end);
            self.crowded |= old.crowded;
        } else {
            old.texts.clear();
        }
        if self.texts.is_empty() {
            old.texts.shrink_to(room);
            self.texts = old.texts;
            return;
        }
        for sent in old.texts {
            match self.texts.iter_mut().find(|known| known.hash == sent.hash) {
                Some(known) => known.last = known.last.max(sent.last),
                None => self.texts.push(sent),
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Moment> {
        let stamp = reader.word()? as UnixNanos;
        let end = stamp.checked_add_unsigned(reader.number()?)?;
        let count = reader.number()?;
        let crowded = count & 1 == 1;
        let count = usize::try_from(count >> 1).ok().filter(|count| *count <= TEXTS_MAX)?;
        let sent = |_| {
            let hash = reader.word()?;
            let last = stamp.checked_add_unsigned(reader.number()?).filter(|last| *last <= end)?;
            Some(Sent { hash, last })
        };
        let texts = (0..count).map(sent).collect::<Option<_>>()?;
        Some(Moment { stamp, end, crowded, texts })
    }
}

/// From one timestamp to a later one.
fn distance(from: UnixNanos, to: UnixNanos) -> u64 {
    to.wrapping_sub(from) as u64
}

/// Whether a timestamp looks as if its clock did not count nanoseconds.
fn is_coarse(stamp: UnixNanos) -> bool {
    stamp % 1_000 == 0
}

/// A hash that is kept on disk: it must never change. Good enough to tell texts apart, no protection against somebody who
/// wants two to be equal; he gains a nanosecond.
#[inline]
fn hash_of(text: &[u8]) -> u64 {
    // Four lanes of 16 bytes: no multiplication has to wait for that of another.
    let mut lanes = SEEDS;
    lanes[0] ^= text.len() as u64;
    let (steps, rest) = text.as_chunks::<64>();
    for step in steps {
        mix(&mut lanes, step);
    }
    if !rest.is_empty() {
        let mut step = [0; 64];
        step[..rest.len()].copy_from_slice(rest);
        mix(&mut lanes, &step);
    }
    let [a, b, c, d] = lanes;
    fold(fold(a ^ SEEDS[2], b ^ SEEDS[3]) ^ SEEDS[0], fold(c ^ SEEDS[2], d ^ SEEDS[3]) ^ SEEDS[1])
}

/// Any odd numbers without a pattern: these are digits of π.
const SEEDS: [u64; 4] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1, 0x082e_fa98_ec4e_6c89];

#[inline]
fn mix(lanes: &mut [u64; 4], step: &[u8; 64]) {
    let (words, _) = step.as_chunks::<8>();
    for (at, lane) in lanes.iter_mut().enumerate() {
        let word = |word: usize| u64::from_le_bytes(words[2 * at + word]);
        *lane = fold(word(0) ^ *lane, word(1) ^ SEEDS[3 - at]);
    }
}

/// The product's two halves, one on the other.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
#[path = "twins_tests.rs"]
mod tests;
