//! From a line to series and entries: stages in their order, over one record.

#[cfg(test)]
mod bench;
mod binding;
mod blocks;
mod chains;
mod entry_labels;
mod hosts;
mod kept;
mod keyed_hash;
mod origin;
mod rate;
mod record;
mod restart;
mod scope;
pub mod stage;
mod text;
pub mod torn;

pub use binding::Binding;
pub use blocks::{BLOCK_BYTES_MAX, BLOCKS_BYTES_MAX, Blocks, STREAMS_MAX};
pub use chains::{CHAINS_BYTES_MAX, CHAINS_MAX, Chains, JOINED_BYTES_MAX};
pub use hosts::IngressHosts;
pub use kept::{Keeper, Kept, Rebound};
pub use keyed_hash::KeyedHash;
pub use origin::Origin;
pub use rate::{Bucket, LINE_RATE_DROP, LineRate};
pub use record::{Record, State};
pub use restart::{Restored, STATE_DISCARDED};
pub use scope::{LabelId, Names, ReasonId, Scope, Slot};
pub use text::{Content, Place, Text, Value};

use crate::clock::UnixNanos;
use crate::diagnostic::Diagnostics;
use crate::geoip::{GeoIpSet, LookupCounts};
use crate::keep::Entries;
use crate::labels::Labels;
use crate::metrics::{Seconds, Store};
use stage::{AnyConfig, Flow, Run, Stage, When};
use std::time::Duration;

/// What stages may touch beside their record.
pub struct Context<'c> {
    /// The store that this worker owns.
    pub series: &'c mut Store,
    /// Monotonic time, for idle series.
    pub now: Seconds,
    /// The same, finer: for rates and for how long something waits.
    pub monotonic: Duration,
    /// Wall-clock time, for years that a log line leaves out and for ages.
    pub wall: UnixNanos,
    /// Set by a stage that holds more than it may: it is asked to release right after this line.
    pub overdue: bool,
    /// Hosts that access lines have named, for lines that know only the host.
    pub hosts: &'c mut IngressHosts,
    /// How GeoIP lookups of this worker went.
    pub geoip: &'c mut LookupCounts,
    /// How many lines may reach the end of all pipelines.
    pub rate: &'c mut LineRate,
}

/// Takes the entries that reach the end of a pipeline.
pub trait Output: Send {
    /// An entry, and the source that it is from: its labels, where they are not parts of the line, stand in the same places
    /// with the same bytes in every record of this origin.
    fn entry(&mut self, record: &Record<'_>, origin: Origin);

    /// Time goes on, by the clock that never goes back; called between turns.
    fn tick(&mut self, _now: Duration) {}

    /// When the next tick is due at the latest, by the same clock.
    fn due(&self) -> Option<Duration> {
        None
    }

    /// Whether it can take no more before somebody else has done something: then nothing is read for a while.
    fn is_full(&self) -> bool {
        false
    }

    /// Whether entries wait for a cut that knows of them.
    fn wants_cut(&self) -> bool {
        false
    }

    /// Whether so much waits already that old logs should wait, too.
    fn is_backed_up(&self) -> bool {
        false
    }

    /// Enters what a restart must know of the entries that were taken. Called between two turns, for a cut.
    fn keep(&mut self, _entries: &mut Entries) {}

    /// Takes back what [`keep`](Output::keep) wrote in another run. How many slots could not be read.
    fn restore(&mut self, _entries: &Entries) -> u64 {
        0
    }
}

/// For jobs whose lines go nowhere.
impl Output for () {
    fn entry(&mut self, _record: &Record<'_>, _origin: Origin) {}
}

/// Looks at a record after each stage (`-inspect`).
pub trait Inspect {
    fn start(&mut self, record: &Record<'_>);
    fn after(&mut self, stage: &'static str, record: &Record<'_>);
}

/// The books of one pipeline: every line that was read is in exactly one of these, or still held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines handed to the pipeline, and one more for each that was found behind a torn one.
    pub read: u64,
    /// Lines that went through, to the end or to a drop that the configuration wants.
    pub counted: u64,
    /// Pieces that went into a line which a later piece completed.
    pub joined: u64,
    /// Of the counted and the refused ones: joined lines that were too long, of which only the beginning was looked at.
    pub cut: u64,
    /// Of the counted and the refused ones: lines that left before their last piece came, because too many waited.
    pub unfinished: u64,
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
    fixed: Vec<u8>,
    slots: Names,
    /// So many of them, the first ones, are read by some stage.
    slots_read: usize,
    labels: Names,
    reasons: Names,
    bindings: Vec<Option<Binding>>,
    state: State,
    /// Why a torn line is refused, in pipelines that know what a torn line is.
    torn: Option<ReasonId>,
    /// Why an entry is dropped that is too many for all pipelines together.
    rate_drop: ReasonId,
    /// Whether a stage may make sources wait.
    paces: bool,
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
        // They get the first numbers: the others need not be taken away from each line.
        names_read(configs, geoip).iter().for_each(|name| _ = scope.slot(name));
        let mut stages = stage::compile_stages(configs, &mut scope)?;
        stage::each_mut(&mut stages, &mut |stage| stage.narrow(&|slot| scope.is_read(slot)));
        let rate_drop = LineRate::reason(&mut scope);
        let (slots_read, reasons) = (scope.slots_read(), scope.reasons.len());
        let torn = scope.reasons.position(torn::TORN).map(ReasonId);
        Some(Pipeline {
            paces: latest_pause(&stages).is_some(),
            stages,
            fixed: scope.fixed,
            slots_read,
            slots: scope.slots,
            labels: scope.labels,
            reasons: scope.reasons,
            bindings: Vec::new(),
            state: State::default(),
            torn,
            rate_drop,
            counts: Counts { refused: vec![0; reasons], dropped: vec![0; reasons], ..Counts::default() },
            held: 0,
        })
    }

    /// Binds a source by its labels (those of the target and `filename`).
    pub fn bind(&mut self, labels: &Labels, series: &mut Store) -> BindingId {
        let binding = Binding::new(labels, &self.labels, &self.slots, self.slots_read, series);
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
        stage::each_mut(&mut self.stages, &mut |stage| stage.ended(id.0));
        self.bindings[id.0] = None;
    }

    /// Runs one line through the stages.
    pub fn process(&mut self, id: BindingId, line: &[u8], context: &mut Context<'_>, output: &mut dyn Output) {
        self.lines(id, line, context, output, stage::run);
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
        self.lines(id, line, context, output, |stages, record, context| {
            inspector.start(record);
            for stage in stages {
                let flow = stage.process(record, context);
                inspector.after(stage.name(), record);
                if flow != Flow::Next {
                    return flow;
                }
            }
            Flow::Next
        });
    }

    /// Processes a line, and those that stand behind it if it is torn.
    #[inline]
    fn lines(
        &mut self,
        id: BindingId,
        line: &[u8],
        context: &mut Context<'_>,
        output: &mut dyn Output,
        mut run: impl FnMut(&mut [Stage], &mut Record<'_>, &mut Context<'_>) -> Flow,
    ) {
        self.state.may_split = true;
        if let Some(behind) = self.line(id, line, context, output, &mut run) {
            self.lines_behind(behind, id, line, context, output, run);
        }
    }

    /// Processes what stands in a torn line from `behind` on.
    #[cold]
    fn lines_behind(
        &mut self,
        mut behind: usize,
        id: BindingId,
        line: &[u8],
        context: &mut Context<'_>,
        output: &mut dyn Output,
        mut run: impl FnMut(&mut [Stage], &mut Record<'_>, &mut Context<'_>) -> Flow,
    ) {
        let mut rest = line;
        for splits in 1..=torn::SPLITS_MAX {
            rest = &rest[behind..];
            self.state.may_split = splits < torn::SPLITS_MAX;
            match self.line(id, rest, context, output, &mut run) {
                Some(next) => behind = next,
                None => return,
            }
        }
    }

    /// Processes one line; where the next one begins in it, if it is torn.
    // A part of the loop over lines.
    #[inline(always)]
    fn line(
        &mut self,
        id: BindingId,
        line: &[u8],
        context: &mut Context<'_>,
        output: &mut dyn Output,
        run: &mut impl FnMut(&mut [Stage], &mut Record<'_>, &mut Context<'_>) -> Flow,
    ) -> Option<usize> {
        let binding = self.bindings[id.0].as_ref()?;
        let mut record = Record::new(&mut self.state, &self.fixed, id.0, binding, line, context.wall);
        self.counts.read += 1;
        let flow = run(&mut self.stages, &mut record, context);
        if record.refusal().is_some() && flow != Flow::Hold {
            tear(&mut record, self.torn);
        }
        let behind = record.behind();
        self.held += 1;
        let lines = record.lines();
        let flow = limited(flow, self.rate_drop, context);
        settle(&mut self.counts, &mut self.held, flow, lines, &record, output);
        if context.overdue {
            context.overdue = false;
            self.release(When::At(context.monotonic), context, output);
        }
        behind
    }

    /// Says that a source was read to its end just now: what its lines wait for is not written yet.
    pub fn caught_up(&mut self, id: BindingId, monotonic: Duration) {
        stage::each_mut(&mut self.stages, &mut |stage| stage.caught_up(id.0, monotonic));
    }

    /// Lets go of what stages have held for long enough.
    pub fn release(&mut self, when: When, context: &mut Context<'_>, output: &mut dyn Output) {
        while let Some((at, held)) = stage::first_due(&self.stages, when) {
            let Some(binding) = self.bindings.get(held.binding).and_then(Option::as_ref) else { return };
            let mut record = Record::new(&mut self.state, &self.fixed, held.binding, binding, b"", context.wall);
            let flow = stage::release_from(&mut self.stages, at, when, &mut record, context);
            if matches!(when, When::At(_)) {
                record.set_unrepeatable();
            }
            self.counts.unfinished += u64::from(held.unfinished && flow != Flow::Hold);
            // A stage behind may have let another entry go in its place.
            let lines = record.lines();
            let flow = limited(flow, self.rate_drop, context);
            settle(&mut self.counts, &mut self.held, flow, lines, &record, output);
        }
    }

    /// Until when the pipeline's sources are not to be read, in monotonic time; `None`: it never makes them wait.
    pub fn paused_until(&self) -> Option<Duration> {
        if self.paces { latest_pause(&self.stages) } else { None }
    }

    /// Visits the lines that `limit` stages dropped by a label: its name, the value and how many.
    pub fn dropped_by_label(&self, visit: &mut dyn FnMut(&str, &[u8], u64)) {
        stage::each(&self.stages, &mut |stage| {
            if let Stage::Limit(limit) = stage {
                limit.dropped_by_label().for_each(|(name, value, lines)| visit(name, value, lines));
            }
        });
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

/// The names of the extracted values that stages read: they are compiled for nothing else. What cannot run is reported when
/// they are compiled again.
fn names_read(configs: &[AnyConfig], geoip: &GeoIpSet) -> Vec<String> {
    let (mut series, mut diagnostics) = (Store::new(), Diagnostics::new());
    let mut scope = Scope::new(&mut series, geoip, 1, &mut diagnostics);
    let _ = stage::compile_stages(configs, &mut scope);
    scope.names_read().map(str::to_string).collect()
}

fn latest_pause(stages: &[Stage]) -> Option<Duration> {
    let mut latest = None;
    stage::each(stages, &mut |stage| latest = latest.max(stage.paused_until()));
    latest
}

/// Looks whether a refused line is torn, and then leaves only its beginning in the record.
#[cold]
fn tear(record: &mut Record<'_>, reason: Option<ReasonId>) {
    if record.may_split()
        && let (Some(reason), Some(content), None) = (reason, record.content(), record.behind())
        && let Some((behind, front)) = torn::behind_torn_content(record, content)
    {
        record.tear(reason, behind);
        if record.line_text() == content.text {
            record.set_line(front);
        }
    }
}

/// What becomes of a record that reached the end when lines of all pipelines are limited.
#[inline]
fn limited(flow: Flow, reason: ReasonId, context: &mut Context<'_>) -> Flow {
    if flow == Flow::Next && !context.rate.lets_pass(context.monotonic) { Flow::Drop(reason) } else { flow }
}

/// Enters a record's end in the books. `lines` is how many lines of the file ended with it.
#[inline]
fn settle(counts: &mut Counts, held: &mut u64, flow: Flow, lines: u64, record: &Record<'_>, output: &mut dyn Output) {
    if flow == Flow::Hold {
        return;
    }
    *held -= lines;
    counts.joined += lines - 1;
    counts.cut += u64::from(record.is_cut());
    match record.refusal() {
        Some(reason) => counts.refused[reason.0 as usize] += 1,
        None => counts.counted += 1,
    }
    match flow {
        Flow::Drop(reason) => counts.dropped[reason.0 as usize] += 1,
        _ => output.entry(record, record.binding().origin()),
    }
}
