//! From a line to series and entries: stages in their order, over one record.

mod binding;
mod chains;
mod hosts;
mod record;
mod scope;
pub mod stage;
mod text;

pub use binding::Binding;
pub use chains::{Chains, JOINED_BYTES_MAX};
pub use hosts::IngressHosts;
pub use record::{Record, State};
pub use scope::{LabelId, Names, ReasonId, Scope, Slot};
pub use text::{Place, Text, Value};

use crate::clock::UnixNanos;
use crate::diagnostic::Diagnostics;
use crate::geoip::{GeoIpSet, LookupCounts};
use crate::labels::Labels;
use crate::metrics::{Seconds, Store};
use stage::{AnyConfig, Flow, Run, Stage, When};

/// What stages may touch beside their record.
pub struct Context<'c> {
    /// The store that this worker owns.
    pub series: &'c mut Store,
    /// Monotonic time, for idle series.
    pub now: Seconds,
    /// Wall-clock time, for years that a log line leaves out and for ages.
    pub wall: UnixNanos,
    /// Set by a stage that holds more than it may: it is asked to release right after this line.
    pub overdue: bool,
    /// Hosts that access lines have named, for lines that know only the host.
    pub hosts: &'c mut IngressHosts,
    /// How GeoIP lookups of this worker went.
    pub geoip: &'c mut LookupCounts,
}

/// Takes the entries that reach the end of a pipeline.
pub trait Output {
    fn entry(&mut self, record: &Record<'_>);
}

/// For jobs whose lines go nowhere.
impl Output for () {
    fn entry(&mut self, _record: &Record<'_>) {}
}

/// Looks at a record after each stage (`-inspect`).
pub trait Inspect {
    fn start(&mut self, record: &Record<'_>);
    fn after(&mut self, stage: &'static str, record: &Record<'_>);
}

/// The books of one pipeline: every line that was read is in exactly one of these, or still held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines handed to the pipeline.
    pub read: u64,
    /// Lines that went through, to the end or to a drop that the configuration wants.
    pub counted: u64,
    /// Pieces that went into a line which a later piece completed.
    pub joined: u64,
    /// Lines that a stage could not read as what the configuration says they are, by reason.
    pub refused: Vec<u64>,
    /// Of the counted and the refused ones: those that ended in a drop, by reason.
    pub dropped: Vec<u64>,
}

impl Counts {
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().sum()
    }

    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

/// A compiled pipeline with the sources bound to it.
pub struct Pipeline {
    stages: Vec<Stage>,
    stage_names: Vec<&'static str>,
    fixed: Vec<u8>,
    slots: Names,
    labels: Names,
    reasons: Names,
    bindings: Vec<Option<Binding>>,
    state: State,
    counts: Counts,
    /// Lines inside stages.
    held: u64,
}

/// One source's place in a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingId(usize);

impl BindingId {
    /// By which the source is known in what a pipeline [keeps](Pipeline::keep).
    pub fn number(self) -> u32 {
        // Each binding takes memory: there are never as many.
        self.0 as u32
    }
}

impl Pipeline {
    /// Compiles stages; `None` when something cannot run, which then has been reported. `series_max` bounds the metrics
    /// whose own configuration does not.
    pub fn compile(
        configs: &[AnyConfig],
        series: &mut Store,
        geoip: &GeoIpSet,
        series_max: u64,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let mut scope = Scope::new(series, geoip, series_max, diagnostics);
        let stages = stage::compile_stages(configs, &mut scope)?;
        let reasons = scope.reasons.len();
        Some(Pipeline {
            stages,
            stage_names: configs.iter().map(AnyConfig::name).collect(),
            fixed: scope.fixed,
            slots: scope.slots,
            labels: scope.labels,
            reasons: scope.reasons,
            bindings: Vec::new(),
            state: State::default(),
            counts: Counts { refused: vec![0; reasons], dropped: vec![0; reasons], ..Counts::default() },
            held: 0,
        })
    }

    /// Binds a source by its labels (those of the target and `filename`).
    pub fn bind(&mut self, labels: &Labels, series: &mut Store) -> BindingId {
        let binding = Binding::new(labels, &self.labels, &self.slots, series);
        let at = self.bindings.iter().position(Option::is_none).unwrap_or(self.bindings.len());
        if at == self.bindings.len() {
            self.bindings.push(None);
        }
        self.bindings[at] = Some(binding);
        BindingId(at)
    }

    /// Ends a source: what stages still hold of it goes its way, unfinished.
    pub fn unbind(&mut self, id: BindingId, context: &mut Context<'_>, output: &mut dyn Output) {
        self.release(When::Ended(id.0), context, output);
        self.bindings[id.0] = None;
    }

    /// Runs one line through the stages.
    pub fn process(&mut self, id: BindingId, line: &[u8], context: &mut Context<'_>, output: &mut dyn Output) {
        let Some(binding) = &self.bindings[id.0] else { return };
        let mut record = Record::new(&mut self.state, &self.fixed, id.0, binding, line, context.wall);
        self.counts.read += 1;
        let flow = stage::run(&mut self.stages, &mut record, context);
        self.held += 1;
        let lines = record.lines();
        settle(&mut self.counts, &mut self.held, flow, lines, &record, output);
        if context.overdue {
            context.overdue = false;
            self.release(When::At(context.wall), context, output);
        }
    }

    /// As [`process`](Self::process), showing the record to `inspector` after each stage.
    pub fn inspect(
        &mut self,
        id: BindingId,
        line: &[u8],
        context: &mut Context<'_>,
        output: &mut dyn Output,
        inspector: &mut dyn Inspect,
    ) {
        let Some(binding) = &self.bindings[id.0] else { return };
        let mut record = Record::new(&mut self.state, &self.fixed, id.0, binding, line, context.wall);
        self.counts.read += 1;
        inspector.start(&record);
        let mut flow = Flow::Next;
        for (stage, name) in self.stages.iter_mut().zip(&self.stage_names) {
            flow = stage.process(&mut record, context);
            inspector.after(name, &record);
            if flow != Flow::Next {
                break;
            }
        }
        self.held += 1;
        let lines = record.lines();
        settle(&mut self.counts, &mut self.held, flow, lines, &record, output);
    }

    /// Lets go of what stages have held for long enough.
    pub fn release(&mut self, when: When, context: &mut Context<'_>, output: &mut dyn Output) {
        while let Some((at, held)) = stage::first_due(&self.stages, when) {
            let Some(binding) = self.bindings.get(held.binding).and_then(Option::as_ref) else { return };
            let mut record = Record::new(&mut self.state, &self.fixed, held.binding, binding, b"", context.wall);
            let flow = stage::release_from(&mut self.stages, at, when, &mut record, context);
            settle(&mut self.counts, &mut self.held, flow, held.lines, &record, output);
        }
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Lines that wait inside for those that follow them: read = counted + joined + refused + held.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// The reasons by which [`Counts::refused`] and [`Counts::dropped`] are ordered.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.reasons.iter()
    }
}

/// Enters a record's end in the books. `lines` is how many lines of the file ended with it.
fn settle(counts: &mut Counts, held: &mut u64, flow: Flow, lines: u64, record: &Record<'_>, output: &mut dyn Output) {
    if flow == Flow::Hold {
        return;
    }
    *held -= lines;
    counts.joined += lines - 1;
    match record.refusal() {
        Some(reason) => counts.refused[reason.0 as usize] += 1,
        None => counts.counted += 1,
    }
    match flow {
        Flow::Drop(reason) => counts.dropped[reason.0 as usize] += 1,
        _ => output.entry(record),
    }
}
