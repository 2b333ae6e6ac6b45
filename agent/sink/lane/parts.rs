//! A batch on its way, in one piece or in parts that are sent one after another.

use super::crowded::Way;
use crate::sink::wire::{self, Entry, Message};
use crate::sink::{Aside, Lot, Settled};
use bytes::Bytes;
use std::ops::Range;

/// A batch and what is left to send of it. Its parts cover the entries that have not found their end, in order.
pub struct Parts {
    packed: Bytes,
    lines: u64,
    /// Unpacked when it has to be split: which nothing asks for on a good day.
    message: Unpacked,
    /// The next one at the end.
    parts: Vec<Part>,
    settled: Settled,
    aside: SetAside,
}

/// Entries that are to be tried later.
#[derive(Default)]
struct SetAside {
    /// A message of them.
    message: Vec<u8>,
    lot: Lot,
}

/// Entries that are pushed together.
pub struct Part {
    entries: Range<usize>,
    pub lot: Lot,
    /// What is sent: the same bytes at every attempt.
    body: Option<Bytes>,
    /// Attempts that failed, those of the larger part it was cut from included.
    pub failures: u64,
    /// Refusals for coming too fast, in a row.
    pub refusals: u32,
    /// Loki has said that it stored everything but what it refused.
    pub stored: bool,
}

enum Unpacked {
    NotYet,
    /// It can't be split: damaged, or not of the lines that it should have.
    Never,
    Message(Message),
}

impl Parts {
    pub fn new(packed: Bytes, lot: Lot) -> Self {
        let whole = Part {
            // No message has more entries than memory has bytes.
            entries: 0..usize::try_from(lot.entries).unwrap_or(usize::MAX),
            lot,
            body: Some(packed.clone()),
            failures: 0,
            refusals: 0,
            stored: false,
        };
        let (message, parts) = (Unpacked::NotYet, vec![whole]);
        Parts { packed, lines: lot.entries, message, parts, settled: Settled::default(), aside: SetAside::default() }
    }

    /// What became of the batch, once there is no next part.
    pub fn settled(self) -> Settled {
        let aside = match self.aside.lot {
            Lot { entries: 0, .. } => None,
            // The same bytes and the same number in the spool, however often it is tried.
            Lot { entries, .. } if entries == self.lines => Some(Aside::Whole),
            lot => Some(Aside::Part { packed: wire::pack(&self.aside.message), lot }),
        };
        Settled { aside, ..self.settled }
    }

    pub fn next(&self) -> Option<&Part> {
        self.parts.last()
    }

    pub fn next_mut(&mut self) -> Option<&mut Part> {
        self.parts.last_mut()
    }

    /// What is to be pushed, as one snappy block.
    pub fn body(&mut self) -> Bytes {
        let Some(part) = self.parts.last_mut() else { return Bytes::new() };
        let body = part.body.get_or_insert_with(|| match &self.message {
            Unpacked::Message(message) => wire::pack(&message.part(part.entries.clone())),
            Unpacked::NotYet | Unpacked::Never => self.packed.clone(),
        });
        body.clone()
    }

    /// Cuts the next part into two halves; false: it can't be cut.
    pub fn halve(&mut self) -> bool {
        self.cut(|_, entries| middle(&entries))
    }

    /// Cuts the next part between two streams, or in half where it has only one.
    pub fn halve_by_streams(&mut self) -> bool {
        self.cut(|message, entries| message.stream_cut(entries.clone()).unwrap_or_else(|| middle(&entries)))
    }

    /// How many streams the next part has; nothing if it can't be read.
    pub fn streams(&mut self) -> Option<u64> {
        self.unpack();
        match &self.message {
            Unpacked::Message(message) => Some(message.streams_of(self.parts.last()?.entries.clone())),
            Unpacked::NotYet | Unpacked::Never => None,
        }
    }

    /// Sorts the streams of a batch that nothing was pushed of: what goes together, what goes by itself, what is set aside.
    pub fn arrange(&mut self, way_of: impl Fn(&str) -> Way) {
        self.unpack();
        let Unpacked::Message(message) = &self.message else { return };
        let streams = message.streams().filter(|(_, entries)| !entries.is_empty());
        let streams: Vec<_> = streams.map(|(labels, entries)| (way_of(labels), entries)).collect();
        let of = |way: Way| streams.iter().filter(move |stream| stream.0 == way).map(|stream| stream.1.clone());
        if streams.len() <= 1 && of(Way::Aside).next().is_none() || of(Way::Together).count() == streams.len() {
            return;
        }
        let rest = of(Way::Together).chain(of(Way::Alone)).flat_map(|entries| message.part(entries)).collect();
        // It is read as it was written.
        let (Ok(rest), Some(whole)) = (Message::read(rest), self.parts.pop()) else { return };
        for entries in of(Way::Aside) {
            self.aside.message.extend(message.part(entries.clone()));
            self.aside.lot += lot_of(message, entries);
        }
        let alone: Vec<_> = rest.streams().map(|(_, entries)| entries).skip(of(Way::Together).count()).collect();
        let together = 0..alone.first().map_or(rest.len(), |first| first.start);
        let parts = std::iter::once(together).chain(alone).filter(|entries| !entries.is_empty());
        let part = |entries: Range<usize>| Part { lot: lot_of(&rest, entries.clone()), entries, body: None, ..whole };
        self.parts = parts.map(part).collect();
        self.parts.reverse();
        self.message = Unpacked::Message(rest);
    }

    /// Cuts the next part into its streams; false: it has one only, or can't be read.
    pub fn cut_into_streams(&mut self) -> bool {
        self.unpack();
        let Unpacked::Message(message) = &self.message else { return false };
        let Some(next) = self.parts.last().map(|part| part.entries.clone()) else { return false };
        let own = |entries: Range<usize>| entries.start.max(next.start)..entries.end.min(next.end);
        let streams = message.streams().map(|(_, entries)| own(entries)).filter(|entries| !entries.is_empty());
        let streams: Vec<_> = streams.collect();
        if streams.len() <= 1 {
            return false;
        }
        let Some(whole) = self.parts.pop() else { return false };
        let part = |entries: Range<usize>| Part { lot: lot_of(message, entries.clone()), entries, body: None, ..whole };
        self.parts.extend(streams.into_iter().rev().map(part));
        true
    }

    /// Sets the next part aside.
    pub fn set_next_aside(&mut self) {
        let Some(part) = self.parts.pop() else { return };
        // One that can't be read was never cut: it is the whole.
        if let Unpacked::Message(message) = &self.message {
            self.aside.message.extend(message.part(part.entries));
        }
        self.aside.lot += part.lot;
    }

    /// The labels of the next part's streams; none if it can't be read.
    pub fn labels(&mut self) -> impl Iterator<Item = &str> {
        self.unpack();
        let message = if let Unpacked::Message(message) = &self.message { Some(message) } else { None };
        let next = self.parts.last().map(|part| &part.entries);
        message.zip(next).into_iter().flat_map(|(message, next)| {
            let own = |entries: &Range<usize>| entries.start < next.end && next.start < entries.end;
            message.streams().filter(move |(_, entries)| own(entries)).map(|(labels, _)| labels)
        })
    }

    /// Nobody will ever have what was set aside.
    pub fn drop_aside(&mut self, reason: &'static str) {
        self.settled.drop_lot(reason, std::mem::take(&mut self.aside).lot);
    }

    /// The first entry of the next part; nothing if it can't be read.
    pub fn entry(&mut self) -> Option<Entry<'_>> {
        self.unpack();
        match &self.message {
            Unpacked::Message(message) => message.entry(self.parts.last()?.entries.start),
            Unpacked::NotYet | Unpacked::Never => None,
        }
    }

    /// Loki has the next part, but for what it refused by these reasons. Never more than the part holds.
    pub fn acknowledge(&mut self, refused: &[(&'static str, u64)]) {
        let Some(part) = self.parts.pop() else { return };
        let mut left = part.lot;
        for (reason, count) in refused {
            let entries = (*count).min(left.entries);
            // Which ones is not known: they count with the bytes of an average one.
            let bytes = share(left.bytes, entries, left.entries);
            left = Lot { entries: left.entries - entries, bytes: left.bytes - bytes };
            self.settled.drop_lot(reason, Lot { entries, bytes });
        }
        self.settled.acknowledged += left.entries;
    }

    /// Nobody will ever have the next part.
    pub fn drop_next(&mut self, reason: &'static str) {
        if let Some(part) = self.parts.pop() {
            self.settled.drop_lot(reason, part.lot);
        }
    }

    /// `place`: where the later part begins.
    fn cut(&mut self, place: impl FnOnce(&Message, Range<usize>) -> usize) -> bool {
        self.unpack();
        let Unpacked::Message(message) = &self.message else { return false };
        let Some(whole) = self.parts.pop_if(|part| part.entries.len() > 1) else { return false };
        let middle = place(message, whole.entries.clone());
        let (earlier, later) = (whole.entries.start..middle, middle..whole.entries.end);
        // The sum of the parts is the whole, whatever the whole was said to be.
        let bytes = message.bytes_of(later.clone()).min(whole.lot.bytes);
        let part = |entries: Range<usize>, bytes| {
            let lot = Lot { entries: entries.len() as u64, bytes };
            Part { entries, lot, body: None, failures: whole.failures, refusals: 0, stored: whole.stored }
        };
        self.parts.push(part(later, bytes));
        self.parts.push(part(earlier, whole.lot.bytes - bytes));
        true
    }

    fn unpack(&mut self) {
        if let Unpacked::NotYet = self.message {
            self.message = match Message::unpack(&self.packed) {
                Ok(message) if message.len() as u64 == self.lines => Unpacked::Message(message),
                Ok(_) | Err(_) => Unpacked::Never,
            };
        }
    }
}

/// What these entries are in numbers.
fn lot_of(message: &Message, entries: Range<usize>) -> Lot {
    Lot { entries: entries.len() as u64, bytes: message.bytes_of(entries) }
}

fn middle(entries: &Range<usize>) -> usize {
    entries.start + entries.len() / 2
}

/// `part` of `whole` of these bytes, rounded down; all of them for all.
fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(part) / u128::from(whole.max(1));
    // No part is more than its whole.
    u64::try_from(share).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_refused_than_there_is() {
        let mut parts = Parts::new(Bytes::new(), Lot { entries: 10, bytes: 1000 });
        parts.acknowledge(&[("some", 3), ("many", 100), ("none", 1)]);
        let lot = |entries| Lot { entries, bytes: entries * 100 };
        let dropped = vec![("some", lot(3)), ("many", lot(7))];
        assert!(parts.next().is_none());
        assert_eq!(parts.settled(), Settled { dropped, ..Settled::default() });
    }
}
