//! Over a restart and over a reload: what a pipeline knows beyond the present line, exactly.
//!
//! A pipeline keeps its books and what its stages hold in slots of its job. The stages find theirs again by name: the
//! second `cri` stage takes what the second `cri` stage left, whatever stands between them now. What no stage or source
//! takes back is entered in the books as refused, so that every line stays accounted for.

use super::kept::{COUNT_MAX, Keeper, Kept, KeptStages, Known, Rebound, STAGES_MAX};
use super::stage::{self, Run, Stage};
use super::{BindingId, Counts, Pipeline};
use crate::keep::{Entries, Reader, Slot, Table, Writer};
use std::collections::BTreeMap;

/// Why held lines are refused that nobody waits for after a restart.
pub const STATE_DISCARDED: &str = "state_discarded";

/// The notation of the books below.
const VERSION: u8 = 1;
/// The pipeline's own slots.
const BOOKS: u32 = 0;
const STAGES: u32 = 1;

/// Reasons of a state that are taken over; those of a pipeline are far fewer.
const REASONS_MAX: usize = 1_024;
const REASON_BYTES_MAX: usize = 256;

/// How a pipeline came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Slots that could not be read and were left out. What they held is in `discarded_lines`, if it was lines.
    pub damaged: u64,
    /// Unfinished lines that were given up, as [`STATE_DISCARDED`] in the books: their source or their stage is gone,
    /// or they are damaged.
    pub discarded_lines: u64,
}

/// The books as they were kept.
#[derive(Default)]
struct Books {
    counts: Counts,
    held: u64,
    refused: Vec<(String, u64)>,
    dropped: Vec<(String, u64)>,
}

/// What stages found of the lines that they held; see [`Rebound`].
struct HeldLines {
    held: u64,
    discarded: u64,
    discarded_pieces: u64,
}

impl Pipeline {
    /// Where the books of a job are; it is there for each job of the run that kept the state.
    pub fn books_slot(job: u32) -> Slot {
        Slot { table: Table::HELD, index: u64::from(job) << 32 }
    }

    /// Writes slots `job << 32 ..` of [`Table::HELD`](crate::keep::Table::HELD): the books, and what stages hold by the
    /// [number](BindingId::number) of the source's binding. Jobs are written in the order of their numbers.
    pub fn keep(&self, job: u32, entries: &mut Entries) {
        let known = self.known();
        let mut own = Keeper::new(entries, job, 0, known);
        own.put(BOOKS, |writer| self.write_books(writer));
        own.put(STAGES, |writer| {
            stage::each(&self.stages, &mut |stage| writer.bytes(stage.name().as_bytes()));
        });
        let mut number = 0;
        stage::each(&self.stages, &mut |stage| {
            number += 1;
            if number <= STAGES_MAX {
                stage.keep(&mut Keeper::new(entries, job, number, known));
            }
        });
    }

    /// Takes back what [`keep`](Self::keep) wrote, into a pipeline that has processed nothing and has its sources bound.
    /// `rebind` gives the binding that took the place of the one with this number.
    pub fn restore(&mut self, job: u32, entries: &Entries, rebind: &dyn Fn(u32) -> Option<BindingId>) -> Restored {
        debug_assert!(self.counts.read == 0, "what was counted since would be lost");
        let kept = KeptStages::of(job, entries);
        let bound: Vec<bool> = self.bindings.iter().map(Option::is_some).collect();
        let rebind = |number| rebind(number).filter(|id| bound.get(id.0).copied().unwrap_or(false));
        let known = Known { slots: &self.slots, reasons: &self.reasons, bindings: &self.bindings };
        let mut rebound = Rebound::new(&rebind, known);
        restore_stages(&mut self.stages, &kept, &mut rebound);
        let own = kept.stage(0);
        let books = own.get(BOOKS).map(Books::read);
        if matches!(books, Some(None)) {
            rebound.damaged += 1;
        }
        let Rebound { damaged, held, discarded, discarded_pieces, .. } = rebound;
        let lines = HeldLines { held, discarded, discarded_pieces };
        let discarded_lines = self.enter(books.flatten().unwrap_or_default(), &lines);
        Restored { damaged, discarded_lines }
    }

    /// Goes on where the pipeline of the same job was before a reload. Sources that do not go on are
    /// [unbound](Self::unbind) from the old one before, so that what it holds of them still leaves as a line.
    pub fn adopt(&mut self, old: &Pipeline, rebind: &dyn Fn(u32) -> Option<BindingId>) -> Restored {
        let mut entries = Entries::default();
        old.keep(0, &mut entries);
        self.restore(0, &entries, rebind)
    }

    /// Goes on with books of which nothing is held; `refused` and `dropped` by their reasons.
    pub fn begin_with(&mut self, counts: Counts, refused: &[(String, u64)], dropped: &[(String, u64)]) {
        let (refused, dropped) = (self.by_reason(refused), self.by_reason(dropped));
        self.counts = Counts { refused, dropped, ..counts };
        let reasons = self.reasons.len();
        self.counts.refused.resize(reasons, 0);
        self.counts.dropped.resize(reasons, 0);
    }

    fn known(&self) -> Known<'_> {
        Known { slots: &self.slots, reasons: &self.reasons, bindings: &self.bindings }
    }

    /// Goes on with these books, in which every line that is not held again is settled. Gives the lines given up.
    fn enter(&mut self, books: Books, rebound: &HeldLines) -> u64 {
        let Books { mut counts, held, refused, dropped } = books;
        // Pieces that the books hold and no stage knows of: damage, or a stage that is gone. Each is a line then.
        let known = rebound.held + rebound.discarded_pieces;
        let missing = held.saturating_sub(known);
        // Pieces that the books know nothing of, because they are damaged, were read all the same.
        counts.read += known.saturating_sub(held);
        counts.joined += rebound.discarded_pieces - rebound.discarded;
        let discarded = rebound.discarded + missing;
        self.counts = counts;
        self.held = rebound.held;
        self.counts.refused = self.by_reason(&refused);
        self.counts.dropped = self.by_reason(&dropped);
        if discarded > 0 {
            let reason = usize::from(self.reasons.id(STATE_DISCARDED));
            self.counts.refused.resize(self.counts.refused.len().max(reason + 1), 0);
            self.counts.refused[reason] += discarded;
        }
        let reasons = self.reasons.len();
        self.counts.refused.resize(reasons, 0);
        self.counts.dropped.resize(reasons, 0);
        discarded
    }

    /// Counts in the order of the pipeline's reasons; those that it has not yet are added to them.
    fn by_reason(&mut self, named: &[(String, u64)]) -> Vec<u64> {
        let mut counts = vec![0; self.reasons.len()];
        for (reason, lines) in named {
            let at = usize::from(self.reasons.id(reason));
            counts.resize(counts.len().max(at + 1), 0);
            counts[at] += lines;
        }
        counts
    }

    fn write_books(&self, writer: &mut Writer<'_>) {
        let Counts { read, counted, joined, cut, unfinished, refused, dropped } = &self.counts;
        writer.byte(VERSION);
        [*read, *counted, *joined, *cut, *unfinished, self.held].into_iter().for_each(|count| writer.number(count));
        for counts in [refused, dropped] {
            let named = || self.reasons.iter().zip(counts).filter(|(_, lines)| **lines > 0);
            writer.number(named().count() as u64);
            for (reason, lines) in named() {
                writer.bytes(reason.as_bytes());
                writer.number(*lines);
            }
        }
    }
}

/// Each stage takes what the one of its name and number left.
fn restore_stages(stages: &mut [Stage], kept: &KeptStages<'_>, rebound: &mut Rebound<'_>) {
    let names = kept.stage(0).get(STAGES).and_then(read_names);
    rebound.damaged += u64::from(names.is_none() && !kept.is_empty());
    let names = names.unwrap_or_default();
    // Each stage's number by its name and how often that stood before.
    let mut numbers: BTreeMap<(&str, u32), usize> = BTreeMap::new();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        let nth = seen.entry(name).or_default();
        numbers.insert((name, *nth), at + 1);
        *nth += 1;
    }
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    stage::each_mut(stages, &mut |stage: &mut Stage| {
        let nth = seen.entry(stage.name()).or_default();
        if let Some(number) = numbers.get(&(stage.name(), *nth)) {
            let kept: Kept<'_> = kept.stage(*number);
            stage.restore(kept, rebound);
        }
        *nth += 1;
    });
}

impl Books {
    /// `None`: damaged, of another notation, or not balanced.
    fn read(mut reader: Reader<'_>) -> Option<Books> {
        if reader.byte()? != VERSION {
            return None;
        }
        let mut count = || reader.number().filter(|count| *count <= COUNT_MAX);
        let counts = Counts {
            read: count()?,
            counted: count()?,
            joined: count()?,
            cut: count()?,
            unfinished: count()?,
            ..Counts::default()
        };
        let held = count()?;
        let (refused, dropped) = (read_named(&mut reader)?, read_named(&mut reader)?);
        let refused_total = refused.iter().try_fold(0u64, |sum, (_, lines)| sum.checked_add(*lines))?;
        let settled = counts.counted.checked_add(counts.joined)?.checked_add(held)?.checked_add(refused_total)?;
        (reader.is_empty() && counts.read == settled).then_some(Books { counts, held, refused, dropped })
    }
}

/// Numbers of lines by reason, each reason once.
fn read_named(reader: &mut Reader<'_>) -> Option<Vec<(String, u64)>> {
    let length = reader.number().filter(|length| *length <= REASONS_MAX as u64)?;
    let mut named: Vec<(String, u64)> = Vec::new();
    for _ in 0..length {
        let reason = reader.text().filter(|reason| reason.len() <= REASON_BYTES_MAX)?;
        let lines = reader.number().filter(|lines| *lines <= COUNT_MAX)?;
        if named.iter().any(|(known, _)| known == reason) {
            return None;
        }
        named.push((reason.to_string(), lines));
    }
    Some(named)
}

fn read_names(mut reader: Reader<'_>) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    while !reader.is_empty() {
        names.push(reader.text().filter(|_| names.len() < STAGES_MAX)?);
    }
    Some(names)
}

#[cfg(test)]
#[path = "restart_tests.rs"]
mod tests;
