//! The sources of the engine: which file feeds which jobs, and when to look at it again.

use super::engine::Turning;
use super::events;
use super::job::Job;
use super::worker::Facts;
use crate::labels::Labels;
use crate::pipeline::BindingId;
use crate::server::FileRow;
use crate::source::{FileSource, LineBuffer, Opener, Progress, Start};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A source that just had lines is looked at again after this …
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// … and an idle one, after doubling, at the latest after this.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Looks of discovery in a row after which a file that is still there is no longer wanted.
const MISSES_MAX: u32 = 3;

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
    /// What was refused since the start, by reason.
    refused: BTreeMap<&'static str, u64>,
    restarted: u64,
    broken: u64,
}

struct Followed {
    source: FileSource,
    feeds: Vec<Feed>,
    /// How often in a row discovery did not find it.
    missed: u32,
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
        for (path, followed) in &mut self.sources {
            followed.missed = if wanted.contains_key(path) { 0 } else { followed.missed + 1 };
        }
        let start = if self.everything { Start::Everything } else { Start::Current };
        for (path, Wanted { feeds, opener }) in wanted {
            let followed = self.sources.entry(path.clone()).or_insert_with(|| Followed {
                source: FileSource::new(path, opener, start),
                feeds: Vec::new(),
                missed: 0,
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

    /// Looks at every source that is due and reads up to `budget` bytes of each. Whether there is more to read.
    pub fn poll(&mut self, budget: u64, turning: &mut Turning<'_>) -> bool {
        let now = turning.clock.monotonic();
        let mut more = false;
        let mut over = Vec::new();
        for (path, followed) in &mut self.sources {
            if followed.due > now {
                continue;
            }
            let Followed { source, feeds, .. } = followed;
            let progress = read(feeds, turning, |take| source.poll(&mut self.buffer, budget, take));
            self.bytes_read += progress.bytes;
            self.restarted += progress.restarted;
            self.broken += progress.broken;
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
            if followed.is_over(&progress) {
                over.push(path.clone());
            }
        }
        for path in over {
            self.leave(&path, turning);
        }
        more
    }

    /// Ends a source: its last line, and what pipelines hold of it.
    fn leave(&mut self, path: &Path, turning: &mut Turning<'_>) {
        let Some(mut followed) = self.sources.remove(path) else { return };
        events::source_left(path);
        let Followed { source, feeds, .. } = &mut followed;
        let progress = read(feeds, turning, |take| source.finish(&mut self.buffer, take));
        self.bytes_read += progress.bytes;
        for feed in followed.feeds {
            turning.unbind(feed.job, feed.binding);
        }
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

    /// Unbinds all sources from their jobs; they keep their places.
    pub fn unbind_all(&mut self, turning: &mut Turning<'_>) {
        for followed in self.sources.values_mut() {
            for feed in followed.feeds.drain(..) {
                turning.unbind(feed.job, feed.binding);
            }
        }
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

    /// The files that feed a job, for its page.
    pub fn files_of(&self, job: usize) -> impl Iterator<Item = (&Labels, FileRow)> {
        self.sources.values().flat_map(move |followed| {
            followed.feeds.iter().filter(move |feed| feed.job == job).map(|feed| (&feed.labels, followed.row()))
        })
    }

    pub fn facts(&self, jobs: &[Job], now: Duration) -> Facts {
        let mut facts = Facts { files_restarted: self.restarted, files_broken: self.broken, ..Facts::default() };
        for (at, job) in jobs.iter().enumerate() {
            let feeds = |followed: &&Followed| followed.feeds.iter().any(|feed| feed.job == at);
            facts.sources.push((job.name.clone(), self.sources.values().filter(feeds).count() as u64));
        }
        facts.files = self.sources.len() as u64;
        facts.files_refused = self.refused.iter().map(|(reason, n)| (reason.to_string(), *n)).collect();
        for followed in self.sources.values() {
            facts.files_unreadable += u64::from(followed.told.is_some());
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
    /// Decides when to look again.
    fn rest(&mut self, now: Duration, progress: &Progress) {
        self.pause = if progress.bytes > 0 { PAUSE_MIN } else { (self.pause * 2).min(PAUSE_MAX) };
        self.due = if progress.more { now } else { now + self.pause };
        self.behind_since = progress.more.then(|| self.behind_since.unwrap_or(now));
    }

    /// Whether nobody wants the source any more and all of it is read. While a file is rotated its name is missing for
    /// a moment, so one miss means nothing as long as there is something to read.
    fn is_over(&self, progress: &Progress) -> bool {
        let at_end = !progress.more && progress.bytes == 0;
        self.missed > 0
            && at_end
            && (self.source.is_gone() || (self.missed > MISSES_MAX && self.source.path().exists()))
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
