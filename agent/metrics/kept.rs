//! What is kept of the series over a restart: the difference between two images, in slots.
//!
//! ```text
//! LABEL_NAMES  id                 name
//! GROUPS       group              for each metric: name, kind (0 counter, 1 gauge, 2 histogram and its bounds)
//! SERIES       group << 32 | row  the key: name id (u16), length (u16), value; and so on
//! VALUES       group << 32 | row  for each metric: 0 no series, 1 shown, 2 held; and the words of its cell
//! BIRTHS       0                  the number of the latest cut that changed anything
//! ```
//!
//! Numbers are as a [`Writer`] writes them. Floats are written as numbers with their bytes reversed, so that a whole one is
//! short. Times are not kept: after a restart what is idle is so from then on, and what is held waits its whole time
//! again, for nobody can tell which scraper came while the agent was away.

use super::cell::{self, Stamp};
use super::family::{Family, Kind};
use super::keys::CHUNK;
use super::snapshot::{Image, Part, Snapshot};
use crate::keep::{Keep, Reader, Slot, Table, Writer};
use std::ops::Range;
use std::sync::Arc;

/// Where the number of the latest cut is kept.
pub(super) const CUT: Slot = Slot { table: Table::BIRTHS, index: 0 };

impl Snapshot {
    /// Writes what makes this image of `old`, tables and slots ascending; all of it where there is no old one. An image
    /// of a store that took over another's series may follow one of that.
    ///
    /// For the image of one store, not of several merged.
    pub fn changes_since(&self, old: Option<&Snapshot>, keep: &mut dyn Keep) {
        let Some(new) = self.images.first() else { return };
        let old = old.and_then(|old| old.images.first());
        let mut changes = Changes { keep, bytes: Vec::new(), any: old.is_none() };
        changes.names(&new.names, old.map_or(&[], |old| &old.names));
        let groups = new.parts.len().max(old.map_or(0, |old| old.parts.len()));
        let pairs: Vec<Pair<'_>> = (0..groups).map(|group| Pair::of(group, new, old)).collect();
        pairs.iter().for_each(|pair| changes.group(pair));
        pairs.iter().for_each(|pair| changes.keys(pair));
        pairs.iter().for_each(|pair| changes.values(pair));
        if changes.any {
            changes.put(CUT, |writer| writer.number(new.cut.into()));
        }
    }
}

/// One group in two images.
struct Pair<'i> {
    group: u64,
    new: Option<&'i Part>,
    old: Option<&'i Part>,
    /// What GROUPS says of it; empty where it is not.
    new_about: Vec<u8>,
    old_about: Vec<u8>,
}

impl<'i> Pair<'i> {
    fn of(group: usize, new: &'i Image, old: Option<&'i Image>) -> Pair<'i> {
        let part = |image: Option<&'i Image>| image.and_then(|image| image.parts.get(group));
        let about = |image: Option<&'i Image>| {
            let mut bytes = Vec::new();
            if let (Some(image), Some(part)) = (image, part(image)) {
                part.columns.iter().for_each(|column| {
                    write_family(&mut Writer::new(&mut bytes), &image.families[column.family.0 as usize]);
                });
            }
            bytes
        };
        Pair {
            group: group as u64,
            new: part(Some(new)),
            old: part(old),
            new_about: about(Some(new)),
            old_about: about(old),
        }
    }

    fn slot(&self, table: Table, row: usize) -> Slot {
        Slot { table, index: self.group << 32 | row as u64 }
    }

    /// Whether nothing at all happened to some rows.
    fn is_untouched(&self, rows: Range<usize>) -> bool {
        let words = |part: &'i Part| {
            let end = part.words.len().min(rows.end * part.stride);
            &part.words[end.min(rows.start * part.stride)..end]
        };
        let (Some(new), Some(old)) = (self.new, self.old) else { return false };
        self.new_about == self.old_about && words(new) == words(old)
    }

    /// Whether the values of a row are to be written again.
    fn differs(&self, new: &Part, row: usize) -> bool {
        let Some(old) = self.old.filter(|_| self.new_about == self.old_about) else { return true };
        let (a, b) = (row_of(new, row), row_of(old, row));
        a.len() != b.len() || (a != b && !new.columns.iter().all(|column| is_same(column.cell(a), column.cell(b))))
    }
}

/// The words of a row; of one that is not there, none.
fn row_of(part: &Part, row: usize) -> &[u64] {
    part.words.get(row * part.stride..(row + 1) * part.stride).unwrap_or_default()
}

fn lives(part: Option<&Part>, row: usize) -> bool {
    part.is_some_and(|part| {
        let words = row_of(part, row);
        !words.is_empty() && part.columns.iter().any(|column| words[column.at] != 0)
    })
}

/// Whether two cells of a metric say the same, but for when they were touched.
fn is_same(a: &[u64], b: &[u64]) -> bool {
    let state = |cell| (cell::stamp(cell) == Stamp::NEVER, cell::stamp(cell).batch().is_some());
    state(a) == state(b) && a[1..] == b[1..]
}

fn write_family(writer: &mut Writer<'_>, family: &Family) {
    writer.bytes(family.name.as_bytes());
    match &family.kind {
        Kind::Counter => writer.byte(0),
        Kind::Gauge => writer.byte(1),
        Kind::Histogram { buckets } => {
            writer.byte(2);
            writer.number(buckets.len() as u64);
            buckets.iter().for_each(|bound| writer.word(bound.to_bits()));
        }
    }
}

/// The name and kind of the next metric of a group.
pub(super) fn read_family<'b>(reader: &mut Reader<'b>) -> Option<(&'b str, Kind)> {
    let name = reader.text()?;
    let kind = match reader.byte()? {
        0 => Kind::Counter,
        1 => Kind::Gauge,
        2 => {
            let bounds: Option<Vec<f64>> = (0..reader.number()?).map(|_| reader.word().map(f64::from_bits)).collect();
            Kind::Histogram { buckets: bounds?.into() }
        }
        _ => return None,
    };
    Some((name, kind))
}

fn write_row(writer: &mut Writer<'_>, part: &Part, row: usize) {
    let words = row_of(part, row);
    for column in &part.columns {
        write_cell(writer, &column.kind, column.cell(words));
    }
}

const NONE: u8 = 0;
const SHOWN: u8 = 1;
const HELD: u8 = 2;

fn write_cell(writer: &mut Writer<'_>, kind: &Kind, cell: &[u64]) {
    if cell::stamp(cell) == Stamp::NEVER {
        return writer.byte(NONE);
    }
    writer.byte(if cell::stamp(cell).batch().is_some() { HELD } else { SHOWN });
    for (at, word) in cell.iter().enumerate().skip(1) {
        writer.number(if is_float(kind, at) { word.swap_bytes() } else { *word });
    }
}

/// The words of a metric's cell, its stamp in the second `now`; all 0 where there is no series. `None`: it is damaged.
pub(super) fn read_cell(reader: &mut Reader<'_>, kind: &Kind, now: u32, cell: &mut Vec<u64>) -> Option<()> {
    cell.clear();
    cell.resize(cell::width(kind), 0);
    cell[0] = match reader.byte()? {
        NONE => return Some(()),
        SHOWN => Stamp::shown(now).0,
        HELD if *kind != Kind::Gauge => Stamp::held(now, 0).0,
        _ => return None,
    };
    for (at, word) in cell.iter_mut().enumerate().skip(1) {
        let number = reader.number()?;
        *word = if is_float(kind, at) { number.swap_bytes() } else { number };
    }
    cell::is_sound(kind, cell).then_some(())
}

/// Whether a word of a cell is a float.
fn is_float(kind: &Kind, at: usize) -> bool {
    match kind {
        Kind::Counter => at == 2,
        Kind::Gauge | Kind::Histogram { .. } => at == 1,
    }
}

struct Changes<'k> {
    keep: &'k mut dyn Keep,
    /// The value of the present slot.
    bytes: Vec<u8>,
    any: bool,
}

impl Changes<'_> {
    fn put(&mut self, slot: Slot, write: impl FnOnce(&mut Writer<'_>)) {
        self.any = true;
        self.bytes.clear();
        write(&mut Writer::new(&mut self.bytes));
        self.keep.put(slot, &self.bytes);
    }

    fn delete(&mut self, slot: Slot) {
        self.any = true;
        self.keep.delete(slot);
    }

    fn names(&mut self, new: &[Arc<str>], old: &[Arc<str>]) {
        for id in 0..new.len().max(old.len()) {
            let slot = Slot { table: Table::LABEL_NAMES, index: id as u64 };
            match (new.get(id), old.get(id)) {
                (Some(new), old) if old != Some(new) => self.put(slot, |writer| writer.raw(new.as_bytes())),
                (None, Some(_)) => self.delete(slot),
                _ => {}
            }
        }
    }

    fn group(&mut self, pair: &Pair<'_>) {
        let slot = Slot { table: Table::GROUPS, index: pair.group };
        if pair.new.is_none() {
            return self.delete(slot);
        }
        if pair.old.is_none() || pair.new_about != pair.old_about {
            self.put(slot, |writer| writer.raw(&pair.new_about));
        }
    }

    /// The keys, by chunks: one that both images share is equal.
    fn keys(&mut self, pair: &Pair<'_>) {
        let chunks = |part: Option<&'_ Part>| part.map_or(0, |part| part.keys.chunks().len());
        for chunk in 0..chunks(pair.new).max(chunks(pair.old)) {
            let new = pair.new.and_then(|part| part.keys.chunks().get(chunk));
            let old = pair.old.and_then(|part| part.keys.chunks().get(chunk));
            if let (Some(new), Some(old)) = (new, old)
                && Arc::ptr_eq(new, old)
            {
                continue;
            }
            for row in 0..CHUNK {
                let slot = pair.slot(Table::SERIES, chunk * CHUNK + row);
                match (new.and_then(|chunk| chunk[row].as_ref()), old.and_then(|chunk| chunk[row].as_ref())) {
                    (Some(new), old) if old != Some(new) => self.put(slot, |writer| writer.raw(new)),
                    (None, Some(_)) => self.delete(slot),
                    _ => {}
                }
            }
        }
    }

    fn values(&mut self, pair: &Pair<'_>) {
        let rows = |part: Option<&Part>| part.map_or(0, |part| part.words.len() / part.stride);
        let rows = rows(pair.new).max(rows(pair.old));
        for start in (0..rows).step_by(CHUNK) {
            if pair.is_untouched(start..start + CHUNK) {
                continue;
            }
            for row in start..rows.min(start + CHUNK) {
                let slot = pair.slot(Table::VALUES, row);
                let new = pair.new.filter(|new| lives(Some(new), row));
                if let Some(new) = new.filter(|new| pair.differs(new, row)) {
                    self.put(slot, |writer| write_row(writer, new, row));
                } else if new.is_none() && lives(pair.old, row) {
                    self.delete(slot);
                }
            }
        }
    }
}
