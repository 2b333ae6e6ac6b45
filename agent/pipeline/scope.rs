//! Names become numbers when a pipeline is compiled, so that no line ever hashes the name of a key.

use super::text::{Place, Text};
use crate::diagnostic::Diagnostics;
use crate::geoip::GeoIpSet;
use crate::metrics::Store;

/// An extracted name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub u16);

/// A label name that the pipeline or the target knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LabelId(pub u16);

/// Why a line was dropped or refused: an index into the pipeline's reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReasonId(pub u16);

/// Names in the order in which they were first asked for.
#[derive(Clone, Debug, Default)]
pub struct Names(Vec<Box<str>>);

/// Distinct names that one pipeline may use of a kind.
const NAMES_MAX: usize = u16::MAX as usize;

impl Names {
    pub(super) fn id(&mut self, name: &str) -> u16 {
        if let Some(at) = self.position(name) {
            return at;
        }
        assert!(self.0.len() < NAMES_MAX, "a configuration of {NAMES_MAX} names is refused when it is read");
        self.0.push(name.into());
        (self.0.len() - 1) as u16
    }

    pub fn position(&self, name: &str) -> Option<u16> {
        self.0.iter().position(|n| &**n == name).map(|i| i as u16)
    }

    pub fn get(&self, id: u16) -> Option<&str> {
        self.0.get(usize::from(id)).map(|name| &**name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|n| &**n)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a stage is compiled into: the pipeline's names and constants, and the stores that its stages write to.
pub struct Scope<'s> {
    pub slots: Names,
    /// Which of them a stage reads.
    read: Vec<bool>,
    pub labels: Names,
    pub reasons: Names,
    pub fixed: Vec<u8>,
    pub series: &'s mut Store,
    pub geoip: &'s GeoIpSet,
    /// Series of a metric whose own configuration does not say.
    pub series_max: u64,
    pub diagnostics: &'s mut Diagnostics,
}

impl<'s> Scope<'s> {
    pub fn new(series: &'s mut Store, geoip: &'s GeoIpSet, series_max: u64, diagnostics: &'s mut Diagnostics) -> Self {
        Scope {
            slots: Names::default(),
            read: Vec::new(),
            labels: Names::default(),
            reasons: Names::default(),
            fixed: Vec::new(),
            series,
            geoip,
            series_max,
            diagnostics,
        }
    }

    /// An extracted value that a stage reads, or gives in any case.
    pub fn slot(&mut self, name: &str) -> Slot {
        let slot = self.given_slot(name);
        let at = usize::from(slot.0);
        self.read.resize(self.read.len().max(at + 1), false);
        self.read[at] = true;
        slot
    }

    /// An extracted value that a stage gives, and may leave out where no stage reads it (`Run::narrow`). Where none does, the
    /// value of an older line may still be there: a stage that looks at what it gives itself gives it first.
    pub fn given_slot(&mut self, name: &str) -> Slot {
        Slot(self.slots.id(name))
    }

    /// Whether a stage compiled so far reads an extracted value.
    pub fn is_read(&self, slot: Slot) -> bool {
        self.read.get(usize::from(slot.0)) == Some(&true)
    }

    /// So many extracted values have a number that is not above that of one that is read.
    pub fn slots_read(&self) -> usize {
        self.read.len()
    }

    /// The names of the extracted values that the stages compiled so far read.
    pub fn names_read(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().zip(&self.read).filter(|(_, is_read)| **is_read).map(|(name, _)| name)
    }

    pub fn label(&mut self, name: &str) -> LabelId {
        LabelId(self.labels.id(name))
    }

    pub fn reason(&mut self, name: &str) -> ReasonId {
        ReasonId(self.reasons.id(name))
    }

    /// A constant of the pipeline.
    pub fn constant(&mut self, text: &str) -> Text {
        let start = self.fixed.len();
        self.fixed.extend_from_slice(text.as_bytes());
        Text::new(Place::Fixed, start, self.fixed.len())
    }
}
