//! What stages keep over a restart, in slots that each stage numbers for itself.
//!
//! The caller compares whole slots from cut to cut: what changes with every line stands apart from what is large.

use super::BindingId;
use super::binding::Binding;
use super::scope::{LabelId, Names, ReasonId, Slot as ValueSlot};
use crate::keep::{Entries, Reader, Slot, Table, Writer};

/// A slot's number within its stage has so many bits …
const NUMBER_BITS: u32 = 20;
/// … the stage's number within its pipeline so many, 0 being the pipeline itself, and the job's the rest.
const STAGE_BITS: u32 = 12;

/// Stages of one pipeline whose state is kept; no configuration has as many.
pub(super) const STAGES_MAX: usize = (1 << STAGE_BITS) - 1;

/// What a state may say: more is damage. Sums stay far from the end of 64 bits.
pub(super) const COUNT_MAX: u64 = 1 << 60;
/// Lines of a file in one unfinished line.
pub(super) const LINES_MAX: u64 = 1 << 32;

/// What a pipeline's numbers stand for. They are others in the next run, so what is kept of them is names.
#[derive(Clone, Copy)]
pub struct Known<'k> {
    pub(super) slots: &'k Names,
    pub(super) reasons: &'k Names,
    pub(super) bindings: &'k [Option<Binding>],
}

impl<'k> Known<'k> {
    pub fn slot_name(&self, slot: ValueSlot) -> Option<&'k str> {
        self.slots.get(slot.0)
    }

    pub fn slot(&self, name: &str) -> Option<ValueSlot> {
        self.slots.position(name).map(ValueSlot)
    }

    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    pub fn reason_name(&self, reason: ReasonId) -> Option<&'k str> {
        self.reasons.get(reason.0)
    }

    pub fn reason(&self, name: &str) -> Option<ReasonId> {
        self.reasons.position(name).map(ReasonId)
    }

    /// The names of the labels that records of a source may have, by their numbers.
    pub fn label_names(&self, source: usize) -> &'k [Box<str>] {
        let binding = self.bindings.get(source).and_then(Option::as_ref);
        binding.map_or(&[], |binding| &binding.names)
    }

    pub fn label(&self, source: usize, name: &str) -> Option<LabelId> {
        self.label_names(source).iter().position(|known| **known == *name).map(|at| LabelId(at as u16))
    }
}

/// Takes the slots of one stage, in the order of their numbers.
pub struct Keeper<'e> {
    entries: &'e mut Entries,
    first: u64,
    pub known: Known<'e>,
}

impl<'e> Keeper<'e> {
    /// The slots of a stage; 0 is the pipeline itself.
    pub(super) fn new(entries: &'e mut Entries, job: u32, stage: usize, known: Known<'e>) -> Self {
        Keeper { entries, first: u64::from(job) << 32 | (stage as u64) << NUMBER_BITS, known }
    }

    /// Adds a slot; its number is above those before and below half a million.
    pub fn put(&mut self, number: u32, write: impl FnOnce(&mut Writer<'_>)) {
        debug_assert!(number < 1 << NUMBER_BITS);
        self.entries.put(Slot { table: Table::HELD, index: self.first + u64::from(number) }, write);
    }

    /// The upper half of a stage's numbers, for one that consists of two.
    pub fn upper_half(&mut self) -> Keeper<'_> {
        Keeper { first: self.first + u64::from(HALF), entries: self.entries, known: self.known }
    }
}

const HALF: u32 = 1 << (NUMBER_BITS - 1);

/// The slots that one stage kept, in the order of their numbers.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'k> {
    slots: &'k [(u32, &'k [u8])],
    first: u32,
}

impl<'k> Kept<'k> {
    pub fn get(&self, number: u32) -> Option<Reader<'k>> {
        let at = self.slots.binary_search_by_key(&number, |(kept, _)| kept - self.first).ok()?;
        Some(Reader::new(self.slots[at].1))
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, Reader<'k>)> + use<'k> {
        let first = self.first;
        self.slots.iter().map(move |(number, bytes)| (number - first, Reader::new(bytes)))
    }

    /// What stands below [`Keeper::upper_half`], and what is in it.
    pub fn halves(&self) -> (Kept<'k>, Kept<'k>) {
        let (lower, upper) = self.slots.split_at(self.slots.partition_point(|(number, _)| number - self.first < HALF));
        (Kept { slots: lower, first: self.first }, Kept { slots: upper, first: self.first + HALF })
    }
}

/// The slots of one stage, by their numbers.
type Numbered<'k> = Vec<(u32, &'k [u8])>;

/// All slots of one job, by stage.
pub(super) struct KeptStages<'k> {
    /// Ascending.
    stages: Vec<(usize, Numbered<'k>)>,
}

impl<'k> KeptStages<'k> {
    pub fn of(job: u32, entries: &'k Entries) -> Self {
        let mut stages: Vec<(usize, Numbered<'_>)> = Vec::new();
        for (index, bytes) in entries.table(Table::HELD).filter(|(index, _)| index >> 32 == u64::from(job)) {
            let (stage, number) = (index as u32 >> NUMBER_BITS, index as u32 & ((1 << NUMBER_BITS) - 1));
            match stages.last_mut().filter(|(last, _)| *last == stage as usize) {
                Some((_, slots)) => slots.push((number, bytes)),
                None => stages.push((stage as usize, vec![(number, bytes)])),
            }
        }
        KeptStages { stages }
    }

    pub fn stage(&self, stage: usize) -> Kept<'_> {
        let at = self.stages.binary_search_by_key(&stage, |(stage, _)| *stage);
        Kept { slots: at.map_or(&[], |at| &self.stages[at].1), first: 0 }
    }

    /// Whether nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }
}

/// What stages come back to: the sources by their new bindings; and what became of what was kept.
pub struct Rebound<'r> {
    rebind: &'r dyn Fn(u32) -> Option<BindingId>,
    pub known: Known<'r>,
    /// Slots that could not be read.
    pub damaged: u64,
    /// Lines of files that are held again.
    pub held: u64,
    /// Unfinished lines that nobody waits for any more, and how many lines of files they consist of.
    pub discarded: u64,
    pub discarded_pieces: u64,
}

impl<'r> Rebound<'r> {
    pub(super) fn new(rebind: &'r dyn Fn(u32) -> Option<BindingId>, known: Known<'r>) -> Self {
        Rebound { rebind, known, damaged: 0, held: 0, discarded: 0, discarded_pieces: 0 }
    }

    /// The binding of the source that had this one.
    pub fn source(&self, binding: u64) -> Option<usize> {
        (self.rebind)(u32::try_from(binding).ok()?).map(|id| id.0)
    }
}
