//! Streams of late: which one the labels of an entry led to, so that they need not be written out and hashed again.
//!
//! Nearly all labels of an entry are those of its source, or constants of its pipeline: the same places then hold the same
//! bytes for as long as the source is bound, and so lead to the same stream. Entries with a label that is a part of their
//! line are not remembered.

use crate::pipeline::{Origin, Record, Text};

/// Sources that are told apart, more or less: each has a row by its number.
const ROWS: usize = 128;
/// Streams of a row: most sources have two, of stdout and stderr.
const ROW_STREAMS: usize = 2;
/// Entries with more labels are not remembered.
const LABELS_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Recent {
    /// The oldest of a row first; grows to [`ROWS`].
    rows: Vec<[Option<Known>; ROW_STREAMS]>,
}

struct Known {
    origin: Origin,
    /// By id.
    labels: Vec<Option<Text>>,
    stream: u32,
}

impl Known {
    #[inline]
    fn is(&self, origin: Origin, record: &Record<'_>) -> bool {
        // A source has always as many labels.
        self.origin == origin && record.label_texts() == self.labels
    }
}

impl Recent {
    /// The number of the stream that the labels of the record belong to, if that is remembered.
    #[inline]
    pub(super) fn find(&self, origin: Origin, record: &Record<'_>) -> Option<u32> {
        let row = self.rows.get(origin.number() as usize % ROWS)?;
        let known = row.iter().flatten().find(|known| known.is(origin, record))?;
        Some(known.stream)
    }

    /// Remembers that they belong to this stream.
    #[cold]
    pub(super) fn remember(&mut self, origin: Origin, record: &Record<'_>, stream: u32) {
        let texts = record.label_texts();
        if texts.len() > LABELS_MAX || !texts.iter().flatten().all(|text| text.lasts()) {
            return;
        }
        self.rows.resize_with(ROWS, Default::default);
        let row = &mut self.rows[origin.number() as usize % ROWS];
        // The oldest one gives way, and its memory is used again.
        let place = row.iter().position(Option::is_none).unwrap_or_else(|| {
            row.rotate_left(1);
            ROW_STREAMS - 1
        });
        let mut labels = row[place].take().map(|known| known.labels).unwrap_or_default();
        labels.clear();
        labels.extend_from_slice(texts);
        row[place] = Some(Known { origin, labels, stream });
    }

    /// A stream is known no more; its number may become that of another.
    pub(super) fn forget(&mut self, stream: u32) {
        for known in self.rows.iter_mut().flatten() {
            if known.as_ref().is_some_and(|known| known.stream == stream) {
                *known = None;
            }
        }
    }
}

#[cfg(test)]
#[path = "recent_tests.rs"]
mod tests;
