//! The engine: jobs, sources and series, turned by whoever owns it. No thread, no network; time comes from a clock.

use super::events;
use super::job::{Job, compile_all};
use super::look::refresh_period;
use super::pages::Pages;
use super::reader::Reader;
use super::resume::Breaks;
use super::run::Run;
use super::watch::Watch;
use super::worker::{Facts, Report, Wake};
use crate::clock::Clock;
use crate::config::Config;
use crate::diagnostic::Diagnostics;
use crate::discovery::{HostTree, PodLists, Seen, Tree};
use crate::geoip::{GeoIpSet, LookupCounts};
use crate::keep::Entries;
use crate::labels::Labels;
use crate::ledger::JobBooks;
use crate::metrics::{Seconds, Snapshot, Store};
use crate::pipeline::stage::When;
use crate::pipeline::{BindingId, Context, IngressHosts, Inspect, LineRate, Output};
use crate::source::{FileSystem, Moment, RealFs};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that a turn may read: scrapes and signals are answered between turns.
const TURN_BYTES: u64 = 32 << 20;
/// How often it looks whether the output takes something again; who makes room wakes it, too.
const FULL_LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct Engine {
    pub(super) jobs: Vec<Job>,
    pub(super) series: Store,
    pub(super) hosts: IngressHosts,
    lookups: LookupCounts,
    pub(super) rate: LineRate,
    pub(super) geoip: GeoIpSet,
    pub(super) reader: Reader,
    pub(super) watch: Option<Watch>,
    /// Sources that were fed by hand: job, labels, binding.
    pub(super) fed: Vec<(usize, Labels, BindingId)>,
    pub(super) output: Box<dyn Output>,
    inspector: Option<Box<dyn Inspect>>,
    pub(super) clock: Arc<dyn Clock>,
    files: Arc<dyn FileSystem>,
    pub(super) tree: Arc<dyn Tree + Send + Sync>,
    /// What the API says of pods, written by whoever watches it.
    pub(super) pods: PodLists,
    pub(super) refresh_every: Duration,
    pub(super) refreshed: Option<Duration>,
    /// When targets were looked for although no directory had changed.
    pub(super) refreshed_whole: Option<Duration>,
    /// What the last look for targets saw, and for how long none follows it.
    pub(super) seen: Seen,
    pub(super) rest: Duration,
    pub(super) run: Run,
    pub(super) breaks: Breaks,
    /// The books of jobs that the configuration no longer has.
    pub(super) gone: Vec<JobBooks>,
}

/// How far a run to the end is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub bytes_read: u64,
    /// Bytes of the files when they were found.
    pub bytes_total: u64,
}

/// What a turn did.
pub struct Turn {
    /// Whether there was more than the turn had time for.
    pub more: bool,
}

impl Engine {
    /// An engine of a configuration that [`check`](super::check) has passed.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        Engine::with_geoip(config, clock, GeoIpSet::default())
    }

    pub fn with_geoip(config: &Config, clock: Arc<dyn Clock>, geoip: GeoIpSet) -> Self {
        Engine::over(Arc::new(RealFs), Arc::new(HostTree), config, clock, geoip)
    }

    /// An engine over any file system; `tree` is the same one as discovery sees it.
    pub fn over(
        files: Arc<dyn FileSystem>,
        tree: Arc<dyn Tree + Send + Sync>,
        config: &Config,
        clock: Arc<dyn Clock>,
        geoip: GeoIpSet,
    ) -> Self {
        let mut series = Store::new();
        let jobs = compile(config, &mut series, &geoip);
        Engine {
            jobs,
            series,
            hosts: IngressHosts::default(),
            lookups: LookupCounts::default(),
            rate: config.limits.line_rate(),
            geoip,
            reader: Reader::default(),
            watch: None,
            fed: Vec::new(),
            output: Box::new(()),
            inspector: None,
            clock,
            files,
            tree,
            pods: PodLists::default(),
            refresh_every: refresh_period(config),
            refreshed: None,
            refreshed_whole: None,
            seen: Seen::default(),
            rest: Duration::ZERO,
            run: Run::default(),
            breaks: Breaks::default(),
            gone: Vec::new(),
        }
    }

    /// The clock that never goes back.
    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// What the next run will know of this one.
    pub fn set_run(&mut self, run: Run) {
        self.run = run;
    }

    /// Where pods stand that the API knows; without it none do.
    pub fn set_pods(&mut self, pods: PodLists) {
        self.pods = pods;
    }

    /// Where entries go that reach the end of a pipeline; nowhere by default.
    pub fn set_output(&mut self, output: Box<dyn Output>) {
        self.output = output;
    }

    /// From now on entries go there instead; what it has to know of those that came before, it learns.
    pub fn replace_output(&mut self, mut output: Box<dyn Output>) {
        let mut kept = Entries::default();
        self.output.keep(&mut kept);
        output.restore(&kept);
        self.output = output;
    }

    /// Lets the output do what is due, and says whether nothing should be read for now.
    pub fn makes_wait(&mut self) -> bool {
        self.output.tick(self.clock.monotonic());
        self.output.is_full()
    }

    /// Whether entries wait for a cut that knows of them.
    pub fn wants_cut(&self) -> bool {
        self.output.wants_cut()
    }

    /// What the output still collects goes on its way.
    pub fn hand_over(&mut self) {
        self.output.keep(&mut Entries::default());
    }

    /// How many files may be open at once; see [`raise_open_files`](crate::source::raise_open_files).
    pub fn set_open_max(&mut self, open_max: usize) {
        self.reader.set_open_max(open_max);
    }

    /// Shows records after each stage; for lines that are fed by hand.
    pub fn set_inspector(&mut self, inspector: Box<dyn Inspect>) {
        self.inspector = Some(inspector);
    }

    /// Has `wake` called when a directory of pods changes, as far as the system tells.
    pub fn watch(&mut self, wake: Wake) {
        self.watch = Some(Watch::new(wake));
    }

    /// Looks at the databases now, on this thread.
    pub fn check_geoip(&self) {
        for (path, event) in self.geoip.check() {
            events::geoip(&path, &event);
        }
    }

    /// Reads what is there, up to a budget; sources take turns.
    pub fn turn(&mut self) -> Turn {
        self.output.tick(self.clock.monotonic());
        let (reader, mut context) = self.parts();
        let more = !context.output.is_full() && reader.poll(TURN_BYTES, &mut context);
        context.release(When::At(context.clock.monotonic()));
        Turn { more }
    }

    /// How long to wait for the next turn, if nobody wakes the engine.
    pub fn pause(&self) -> Duration {
        let now = self.clock.monotonic();
        let refresh =
            self.refreshed.map_or(Duration::ZERO, |at| (at + self.refresh_every.max(self.rest)).saturating_sub(now));
        let sealing = self.output.due().map_or(Duration::MAX, |at| at.saturating_sub(now));
        let reading = if self.output.is_full() { FULL_LOOK_EVERY } else { self.reader.pause(now) };
        reading.min(refresh).min(sealing)
    }

    /// Reads what was written until now, of every source, up to one turn's budget.
    pub fn read_everything_due_or_not(&mut self) {
        self.reader.hint();
        self.turn();
    }

    /// Reads what the targets hold now, rotated and compressed generations included, to the end.
    pub fn run_to_end(&mut self, progress: &mut dyn FnMut(&Progress)) {
        self.reader.take_everything();
        self.refresh();
        let (reader, turning) = self.parts();
        reader.look(&turning);
        let total = self.reader.lag_bytes();
        loop {
            self.reader.hint();
            let more = self.turn().more;
            progress(&Progress { bytes_read: self.reader.bytes_read(), bytes_total: total });
            if !more {
                break;
            }
        }
    }

    /// Ends every source: last lines without a newline, and what stages still hold.
    pub fn finish(&mut self) {
        let (reader, mut context) = self.parts();
        reader.finish(&mut context);
        context.release(When::End);
    }

    /// The reader, and what it needs to hand out lines.
    pub(super) fn parts(&mut self) -> (&mut Reader, Turning<'_>) {
        let turning = Turning {
            jobs: &mut self.jobs,
            series: &mut self.series,
            hosts: &mut self.hosts,
            lookups: &mut self.lookups,
            rate: &mut self.rate,
            output: &mut *self.output,
            clock: &*self.clock,
            files: &*self.files,
        };
        (&mut self.reader, turning)
    }

    /// Feeds text to a job as the lines of a source with the labels of the job's first target and this `filename`.
    pub fn feed_job(&mut self, job: &str, filename: &str, text: &[u8]) {
        let Some(at) = self.jobs.iter().position(|j| j.name == job) else { return };
        self.jobs[at].refresh(&*self.tree, &self.pods);
        let found = &self.jobs[at].found;
        let mut labels = found.targets.first().map(|target| target.labels.clone()).unwrap_or_default();
        labels.set("filename", filename);
        self.feed(at, &labels, text, false);
    }

    /// Feeds text to a job as Promtail's `-stdin` does: with exactly these labels, empty lines skipped, carriage
    /// returns removed.
    pub fn feed_lines(&mut self, job: &str, labels: &Labels, text: &[u8]) {
        if let Some(at) = self.jobs.iter().position(|j| j.name == job) {
            self.feed(at, labels, text, true);
        }
    }

    fn feed(&mut self, at: usize, labels: &Labels, text: &[u8], trim: bool) {
        let known = self.fed.iter().find(|(job, known, _)| *job == at && known == labels);
        let id = match known {
            Some((_, _, id)) => *id,
            None => {
                let id = self.jobs[at].pipeline.bind(labels, &mut self.series);
                self.fed.push((at, labels.clone(), id));
                id
            }
        };
        let mut lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
        if lines.last().is_some_and(|last| last.is_empty()) {
            lines.pop();
        }
        let (wall, monotonic, now) = (self.clock.now(), self.clock.monotonic(), seconds(&*self.clock));
        for line in lines {
            let line = if trim { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
            if trim && line.is_empty() {
                continue;
            }
            let job = &mut self.jobs[at];
            job.bytes += line.len() as u64 + 1;
            let mut context = Context {
                series: &mut self.series,
                now,
                monotonic,
                wall,
                overdue: false,
                hosts: &mut self.hosts,
                geoip: &mut self.lookups,
                rate: &mut self.rate,
            };
            match &mut self.inspector {
                Some(inspector) => {
                    job.pipeline.inspect(id, line, &mut context, &mut *self.output, &mut **inspector);
                }
                None => job.pipeline.process(id, line, &mut context, &mut *self.output),
            }
        }
    }

    /// All series as they are now.
    pub fn snapshot(&mut self) -> Snapshot {
        self.series.cut(false, self.clock.monotonic())
    }

    /// The state of everything now.
    pub fn report(&mut self) -> Report {
        Report { books: self.books(), facts: self.facts(), snapshot: self.snapshot() }
    }

    /// The books of every job.
    pub fn books(&self) -> Vec<JobBooks> {
        self.jobs.iter().map(Job::books).collect()
    }

    pub(super) fn facts(&self) -> Facts {
        let mut facts = self.reader.facts(&self.jobs, self.clock.monotonic());
        facts.targets = self.jobs.iter().map(|job| job.found.targets.len() as u64).sum();
        let mut dropped: BTreeMap<&str, u64> = BTreeMap::new();
        for job in &self.jobs {
            for (reason, targets) in &job.dropped {
                *dropped.entry(reason).or_default() += targets;
            }
            facts.pod_directories_malformed += job.found.malformed as u64;
            facts.directories_unreadable += job.found.unreadable.len() as u64;
            facts.discovery_truncated |= job.found.truncated;
        }
        facts.targets_dropped = dropped.into_iter().map(|(reason, n)| (reason.to_string(), n)).collect();
        facts.geoip = self.lookups;
        facts.dropped_by_label = dropped_by_label(&self.jobs);
        facts.breaks = self.breaks.iter().map(|(reason, times)| (reason.to_string(), times)).collect();
        facts
    }

    /// Whether at least one source is read.
    pub fn follows_any(&self) -> bool {
        !self.reader.is_empty()
    }

    /// What the pages show.
    pub fn pages(&self) -> Pages {
        super::pages::of(&self.jobs, &self.reader)
    }
}

/// What lines need on their way, while the reader hands them out.
pub struct Turning<'e> {
    pub jobs: &'e mut [Job],
    pub series: &'e mut Store,
    pub hosts: &'e mut IngressHosts,
    pub lookups: &'e mut LookupCounts,
    pub rate: &'e mut LineRate,
    pub output: &'e mut dyn Output,
    pub clock: &'e dyn Clock,
    pub files: &'e dyn FileSystem,
}

impl<'e> Turning<'e> {
    /// The files as they are now.
    pub fn moment(&self) -> Moment<'e> {
        Moment { fs: self.files, now: self.clock.monotonic() }
    }

    /// The pipelines, and all else that a line touches.
    pub fn split(&mut self) -> (&mut [Job], Context<'_>, &mut dyn Output) {
        let context = Context {
            series: self.series,
            now: seconds(self.clock),
            monotonic: self.clock.monotonic(),
            wall: self.clock.now(),
            overdue: false,
            hosts: self.hosts,
            geoip: self.lookups,
            rate: self.rate,
        };
        (self.jobs, context, self.output)
    }

    /// Binds a source to a job.
    pub fn bind(&mut self, job: usize, labels: &Labels) -> BindingId {
        self.jobs[job].pipeline.bind(labels, self.series)
    }

    /// Ends a source for a job.
    pub fn unbind(&mut self, job: usize, id: BindingId) {
        let (jobs, mut context, output) = self.split();
        jobs[job].pipeline.unbind(id, &mut context, output);
    }

    /// Lets go of what stages have held for long enough.
    pub fn release(&mut self, when: When) {
        let (jobs, mut context, output) = self.split();
        for job in jobs {
            job.pipeline.release(when, &mut context, output);
        }
    }
}

/// Lines that were dropped by a label's value, over all jobs.
fn dropped_by_label(jobs: &[Job]) -> BTreeMap<(String, String), u64> {
    let mut dropped = BTreeMap::new();
    for job in jobs {
        job.pipeline.dropped_by_label(&mut |name, value, lines| {
            *dropped.entry((name.to_string(), String::from_utf8_lossy(value).into_owned())).or_default() += lines;
        });
    }
    dropped
}

pub(super) fn compile(config: &Config, series: &mut Store, geoip: &GeoIpSet) -> Vec<Job> {
    let mut diagnostics = Diagnostics::new();
    let jobs = compile_all(config, series, geoip, &mut diagnostics);
    debug_assert!(!diagnostics.has_errors(), "the configuration was checked before");
    jobs.unwrap_or_default()
}

/// Monotonic seconds, for idle series.
pub(super) fn seconds(clock: &dyn Clock) -> Seconds {
    Seconds::try_from(clock.monotonic().as_secs()).unwrap_or(Seconds::MAX)
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
