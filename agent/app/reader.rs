//! The sources of the engine: which file feeds which jobs, and when to look at it again.

use super::engine::Turning;
use super::events;
use super::job::Job;
use super::worker::Facts;
use crate::labels::Labels;
use crate::pipeline::BindingId;
use crate::server::FileRow;
use crate::source::{FileSource, FileSystem, LineBuffer, Notice, Opener, Progress, Start, break_reason};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A source that just had lines is looked at again after this …
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// … and an idle one, after doubling, at the latest after this.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Looks of discovery in a row after which a file that is still there is no longer wanted.
const MISSES_MAX: u32 = 3;
/// Bytes that one source may have read in a turn before the next one has its own: fairness among busy files.
const SOURCE_BYTES: u64 = 4 << 20;

/// What a source is wanted for: jobs with the labels of the source there, and how its file may be opened.
#[derive(Default)]
pub struct Wanted {
    pub feeds: Vec<(usize, Labels)>,
    pub opener: Opener,
}

#[derive(Default)]
pub struct Reader {
    sources: BTreeMap<PathBuf, Followed>,
    buffer: LineBuffer,
    /// One-shot: every generation, and last lines without a newline.
    everything: bool,
    bytes_read: u64,
    /// Sources have their turns in rounds: none has a second one before each that is due had its first.
    round: u64,
    /// What was refused since the start, by reason.
    refused: BTreeMap<&'static str, u64>,
    tally: Tally,
}

/// What sources told since the start.
#[derive(Default)]
struct Tally {
    restarted: u64,
    nul_bytes: u64,
    /// What may have cost lines, by reason.
    breaks: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn take(&mut self, progress: Progress) {
        self.nul_bytes += progress.nul_bytes;
        for notice in progress.notices {
            self.restarted += u64::from(matches!(notice, Notice::Rewritten { .. }));
            if let Some(reason) = break_reason(&notice) {
                *self.breaks.entry(reason).or_default() += 1;
            }
            events::source_notice(&notice);
        }
    }
}

struct Followed {
    source: FileSource,
    /// None while nobody wants the lines; the source keeps its place.
    feeds: Vec<Feed>,
    /// How often in a row discovery did not find it.
    missed: u32,
    /// The round of its last turn.
    round: u64,
    /// When to look next, and after which pause.
    due: Duration,
    pause: Duration,
    /// Since when there is something that was not read.
    behind_since: Option<Duration>,
    /// The refusal that was told last.
    told: Option<&'static str>,
}

struct Feed {
    job: usize,
    labels: Labels,
    binding: BindingId,
}

impl Reader {
    /// Takes up what discovery found, and leaves what it no longer finds.
    pub fn reconcile(&mut self, wanted: BTreeMap<PathBuf, Wanted>, turning: &mut Turning<'_>) {
        let fs = turning.files;
        self.sources.retain(|path, followed| {
            followed.missed = if wanted.contains_key(path) { 0 } else { followed.missed + 1 };
            // It comes back when a directory could not be read, or a rule changes again; then it goes on where it was.
            if followed.missed == MISSES_MAX + 1 && fs.metadata(path).is_ok() {
                events::source_left(path);
                followed.unbind(turning);
            }
            followed.missed <= MISSES_MAX
                || !followed.feeds.is_empty()
                || fs.metadata(path).is_ok()
                || followed.source.has_rotated(fs)
        });
        let start = if self.everything { Start::Everything } else { Start::Current };
        for (path, Wanted { feeds, opener }) in wanted {
            let followed = self.sources.entry(path.clone()).or_insert_with(|| Followed {
                source: FileSource::new(path, opener.clone(), start),
                feeds: Vec::new(),
                missed: 0,
                round: 0,
                due: Duration::ZERO,
                pause: PAUSE_MIN,
                behind_since: None,
                told: None,
            });
            followed.feeds.retain(|feed| {
                let stays = feeds.iter().any(|(job, labels)| (*job, labels) == (feed.job, &feed.labels));
                if !stays {
                    turning.unbind(feed.job, feed.binding);
                }
                stays
            });
            let fresh = followed.feeds.is_empty();
            for (job, labels) in feeds {
                if !followed.feeds.iter().any(|feed| (feed.job, &feed.labels) == (job, &labels)) {
                    let binding = turning.bind(job, &labels);
                    followed.feeds.push(Feed { job, labels, binding });
                }
            }
            if fresh {
                let names: Vec<&str> = followed.feeds.iter().map(|f| turning.jobs[f.job].name.as_str()).collect();
                events::source_added(followed.source.path(), &names.join(","));
            }
        }
    }

    /// Looks at sources that are due and reads up to about `budget` bytes of all. Whether there is more to read.
    pub fn poll(&mut self, budget: u64, turning: &mut Turning<'_>) -> bool {
        let moment = turning.moment();
        let now = moment.now;
        let end = self.bytes_read + budget;
        let mut more = false;
        let mut over = Vec::new();
        for (path, followed) in &mut self.sources {
            if followed.due > now || followed.feeds.is_empty() {
                continue;
            }
            if followed.round > self.round {
                more = true;
                continue;
            }
            if self.bytes_read >= end {
                // The round goes on in the next turn.
                more = true;
                break;
            }
            followed.round = self.round + 1;
            let share = SOURCE_BYTES.min(end - self.bytes_read);
            let Followed { source, feeds, .. } = followed;
            let progress = read(feeds, turning, |take| source.poll(moment, &mut self.buffer, share, take));
            self.bytes_read += progress.bytes;
            more |= progress.more;
            followed.rest(now, &progress);
            let refusal = followed.source.refusal();
            let reason = refusal.map(|refusal| refusal.reason());
            if reason != followed.told {
                if let Some(refusal) = refusal {
                    *self.refused.entry(refusal.reason()).or_default() += 1;
                    events::file_refused(path, &refusal.to_string());
                }
                followed.told = reason;
            }
            if followed.is_over(&progress, moment.fs) {
                over.push(path.clone());
            }
            self.tally.take(progress);
        }
        if self.bytes_read < end {
            self.round += 1;
        }
        for path in over {
            self.leave(&path, turning);
        }
        more
    }

    /// Looks which files there are, without reading.
    pub fn look(&mut self, turning: &Turning<'_>) {
        for followed in self.sources.values_mut() {
            let mut progress = Progress::default();
            followed.source.look(turning.moment(), &mut progress);
            self.tally.take(progress);
        }
    }

    /// Ends a source: its last line, and what pipelines hold of it.
    fn leave(&mut self, path: &Path, turning: &mut Turning<'_>) {
        let Some(mut followed) = self.sources.remove(path) else { return };
        let moment = turning.moment();
        events::source_left(path);
        let Followed { source, feeds, .. } = &mut followed;
        let progress = read(feeds, turning, |take| source.finish(moment, &mut self.buffer, take));
        self.bytes_read += progress.bytes;
        self.tally.take(progress);
        followed.unbind(turning);
    }

    /// How long to wait for the next look.
    pub fn pause(&self, now: Duration) -> Duration {
        let next = self.sources.values().map(|followed| followed.due.saturating_sub(now)).min();
        next.unwrap_or(PAUSE_MAX).min(PAUSE_MAX)
    }

    /// Every source is due now.
    pub fn hint(&mut self) {
        for followed in self.sources.values_mut() {
            followed.due = Duration::ZERO;
        }
    }

    /// From now on sources begin with their oldest generation.
    pub fn take_everything(&mut self) {
        self.everything = true;
    }

    /// Ends all sources.
    pub fn finish(&mut self, turning: &mut Turning<'_>) {
        let paths: Vec<PathBuf> = self.sources.keys().cloned().collect();
        for path in paths {
            self.leave(&path, turning);
        }
    }

    /// Unbinds all sources from their jobs; they keep their places. Logs that are gone are read to their end before:
    /// no new job can ask for them.
    pub fn unbind_all(&mut self, turning: &mut Turning<'_>) {
        let fs = turning.files;
        let gone =
            |(path, followed): &(&PathBuf, &Followed)| fs.metadata(path).is_err() && !followed.source.has_rotated(fs);
        let gone: Vec<PathBuf> = self.sources.iter().filter(gone).map(|(path, _)| path.clone()).collect();
        for path in gone {
            self.leave(&path, turning);
        }
        self.sources.values_mut().for_each(|followed| followed.unbind(turning));
    }

    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Bytes that are there and were not read, of all sources.
    pub fn lag_bytes(&self) -> u64 {
        self.sources.values().map(|followed| followed.source.lag_bytes()).sum()
    }

    /// Whether no source is followed.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether a file is the current one of a source.
    pub fn follows(&self, path: &Path) -> bool {
        self.sources.contains_key(path)
    }

    /// The files that feed a job, for its page.
    pub fn files_of(&self, job: usize) -> impl Iterator<Item = (&Labels, FileRow)> {
        self.sources.values().flat_map(move |followed| {
            followed.feeds.iter().filter(move |feed| feed.job == job).map(|feed| (&feed.labels, followed.row()))
        })
    }

    pub fn facts(&self, jobs: &[Job], now: Duration) -> Facts {
        let mut facts = Facts {
            files_restarted: self.tally.restarted,
            files_broken: self.tally.breaks.values().sum(),
            ..Facts::default()
        };
        for (at, job) in jobs.iter().enumerate() {
            let feeds = |followed: &&Followed| followed.feeds.iter().any(|feed| feed.job == at);
            facts.sources.push((job.name.clone(), self.sources.values().filter(feeds).count() as u64));
        }
        facts.files = self.sources.len() as u64;
        facts.files_refused = self.refused.iter().map(|(reason, n)| (reason.to_string(), *n)).collect();
        for followed in self.sources.values() {
            facts.files_unreadable += u64::from(followed.source.is_unreadable());
            let lag = followed.source.lag_bytes();
            facts.lag_bytes += lag;
            facts.lag_bytes_max = facts.lag_bytes_max.max(lag);
            if let Some(since) = followed.behind_since {
                facts.lag_seconds_max = facts.lag_seconds_max.max(now.saturating_sub(since).as_secs_f64());
            }
        }
        facts
    }
}

impl Followed {
    /// Ends the source for its jobs, with what their pipelines hold of it.
    fn unbind(&mut self, turning: &mut Turning<'_>) {
        self.feeds.drain(..).for_each(|feed| turning.unbind(feed.job, feed.binding));
    }

    /// Decides when to look again.
    fn rest(&mut self, now: Duration, progress: &Progress) {
        self.pause = if progress.bytes > 0 { PAUSE_MIN } else { (self.pause * 2).min(PAUSE_MAX) };
        self.due = if progress.more { now } else { now + self.pause };
        self.behind_since = progress.more.then(|| self.behind_since.unwrap_or(now));
    }

    /// Whether discovery has not found the log, nothing is left of it and all of it is read.
    fn is_over(&self, progress: &Progress, fs: &dyn FileSystem) -> bool {
        self.missed > 0 && progress.bytes == 0 && self.source.is_gone() && !self.source.has_rotated(fs)
    }

    fn row(&self) -> FileRow {
        let state = match self.source.refusal() {
            Some(refusal) => refusal.to_string(),
            None if self.source.is_gone() => "gone".to_string(),
            None => "reading".to_string(),
        };
        FileRow {
            path: self.source.path().display().to_string(),
            state,
            read_bytes: self.source.offset(),
            lag_bytes: self.source.lag_bytes(),
        }
    }
}

/// Runs `poll`, each line of it through the pipelines of all feeds: one read serves every job.
fn read(
    feeds: &[Feed],
    turning: &mut Turning<'_>,
    poll: impl FnOnce(&mut dyn FnMut(crate::source::Line<'_>)) -> Progress,
) -> Progress {
    let (jobs, mut context, output) = turning.split();
    let progress = poll(&mut |line| {
        for feed in feeds {
            jobs[feed.job].pipeline.process(feed.binding, line.bytes, &mut context, output);
        }
    });
    for feed in feeds {
        jobs[feed.job].bytes += progress.bytes;
        jobs[feed.job].cut += progress.cut;
    }
    progress
}
