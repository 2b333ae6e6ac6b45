//! The sources of the engine: which file feeds which jobs, and when to look at it again.

use super::engine::Turning;
use super::events;
use super::followed::{Feed, Followed, PAUSE_MAX, Slots, read};
use super::job::Job;
use super::pace::{Leave, Pace};
use super::worker::Facts;
use crate::clock::UnixNanos;
use crate::labels::Labels;
use crate::server::FileRow;
use crate::source::{FileSource, LineBuffer, Notice, Opener, Progress, Start, break_reason};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Looks of discovery in a row after which a file that is still there is no longer wanted.
const MISSES_MAX: u32 = 3;
/// Bytes that one source may have read in a turn before the next one has its own: fairness among busy files.
const SOURCE_BYTES: u64 = 4 << 20;

/// A log with more unread than this was written before the agent came: a kubelet keeps less. It waits while what it
/// would add could not be delivered soon (docs/adr/0011).
const BACKLOG_BYTES: u64 = 64 << 20;

/// Files that may be open at once, where nobody says.
const OPEN_FILES_MAX: usize = 8192;
/// Fewer make no sense, whatever the system says.
const OPEN_FILES_MIN: usize = 16;

/// What a source is wanted for: jobs with the labels of the source there, and how its file may be opened.
#[derive(Default)]
pub struct Wanted {
    pub feeds: Vec<(usize, Labels)>,
    pub opener: Opener,
    /// Somebody names older generations as well: they are read too, if the log was never read before.
    pub older_too: bool,
}

pub struct Reader {
    pub(super) sources: BTreeMap<PathBuf, Followed>,
    slots: Slots,
    /// Names of the jobs, as feeds number them.
    pub(super) job_names: Vec<String>,
    buffer: LineBuffer,
    /// One-shot: every generation, and last lines without a newline.
    everything: bool,
    bytes_read: u64,
    /// Sources have their turns in rounds: none has a second one before each that is due had its first.
    round: u64,
    /// How many files are open, and may be. It is crowded when none of them can be closed.
    open: usize,
    open_max: usize,
    crowded: bool,
    pace: Pace,
    tally: Tally,
    /// What may have cost lines, by reason.
    pub breaks: BTreeMap<&'static str, u64>,
    positions: Positions,
}

/// Where Promtail was, for files that are found for the first time.
#[derive(Default)]
struct Positions {
    files: HashMap<PathBuf, u64>,
    written_at: UnixNanos,
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            sources: BTreeMap::new(),
            slots: Slots::default(),
            job_names: Vec::new(),
            buffer: LineBuffer::default(),
            everything: false,
            bytes_read: 0,
            round: 0,
            open: 0,
            open_max: OPEN_FILES_MAX,
            crowded: false,
            pace: Pace::default(),
            tally: Tally::default(),
            breaks: BTreeMap::new(),
            positions: Positions::default(),
        }
    }
}

/// What sources told since the start.
#[derive(Default)]
struct Tally {
    /// What was refused, by reason.
    refused: BTreeMap<&'static str, u64>,
    restarted: u64,
    broken: u64,
    nul_bytes: u64,
}

impl Tally {
    fn take(&mut self, progress: Progress, breaks: &mut BTreeMap<&'static str, u64>) {
        self.nul_bytes += progress.nul_bytes;
        for notice in progress.notices {
            match &notice {
                Notice::Rewritten { .. } => self.restarted += 1,
                Notice::NotOpened { refusal, .. } => *self.refused.entry(refusal.reason()).or_default() += 1,
                _ => {}
            }
            if let Some(reason) = break_reason(&notice) {
                self.broken += 1;
                *breaks.entry(reason).or_default() += 1;
            }
            events::source_notice(&notice);
        }
    }
}

impl Reader {
    /// Takes up what discovery found, and leaves what it no longer finds.
    pub fn reconcile(&mut self, wanted: BTreeMap<PathBuf, Wanted>, turning: &mut Turning<'_>) {
        self.know_jobs(turning.jobs);
        self.leave_unwanted(&wanted, turning);
        let start = if self.everything { Start::Everything } else { Start::Current };
        for (path, Wanted { feeds, opener, older_too }) in wanted {
            if !self.sources.contains_key(&path) {
                let source = match self.positions.files.remove(&path) {
                    Some(offset) => FileSource::from_position(
                        path.clone(),
                        opener.clone(),
                        start,
                        offset,
                        self.positions.written_at,
                    ),
                    None if older_too => FileSource::new(path.clone(), opener.clone(), Start::Everything),
                    None => FileSource::new(path.clone(), opener.clone(), start),
                };
                self.follow(source, Vec::new());
            }
            let Some(followed) = self.sources.get_mut(&path) else { continue };
            followed.source.set_opener(opener);
            followed.feeds.retain(|feed| {
                let undecided = turning.jobs[feed.job].found.partial && !feeds.iter().any(|(job, _)| *job == feed.job);
                let stays = undecided || feeds.iter().any(|(job, labels)| (*job, labels) == (feed.job, &feed.labels));
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
                let names: Vec<&str> = followed.feeds.iter().map(|f| self.job_names[f.job].as_str()).collect();
                events::source_added(followed.source.path(), &names.join(","));
            }
        }
    }

    /// Files that are found from now on begin where Promtail was in them at `written_at`.
    pub fn take_positions(&mut self, files: Vec<(PathBuf, u64)>, written_at: UnixNanos) {
        self.positions = Positions { files: files.into_iter().collect(), written_at };
    }

    fn leave_unwanted(&mut self, wanted: &BTreeMap<PathBuf, Wanted>, turning: &mut Turning<'_>) {
        let fs = turning.files;
        let (slots, open) = (&mut self.slots, &mut self.open);
        self.sources.retain(|path, followed| {
            // Whoever does not know all targets yet cannot say that a file is none of theirs.
            let undecided = || followed.feeds.iter().any(|feed| turning.jobs[feed.job].found.partial);
            let wanted = wanted.contains_key(path) || (undecided() && fs.metadata(path).is_ok());
            followed.missed = if wanted { 0 } else { followed.missed + 1 };
            // It comes back when a directory could not be read, or a rule changes again; then it goes on where it was.
            if followed.missed == MISSES_MAX + 1 && fs.metadata(path).is_ok() {
                events::source_left(path);
                followed.unbind(turning);
            }
            let stays = followed.missed <= MISSES_MAX
                || !followed.feeds.is_empty()
                || fs.metadata(path).is_ok()
                || followed.source.has_rotated(fs);
            if !stays {
                slots.free(followed.slot);
                *open -= followed.source.open_files();
            }
            stays
        });
    }

    /// Follows a source; it is due now.
    pub(super) fn follow(&mut self, source: FileSource, feeds: Vec<Feed>) {
        let followed = Followed::new(source, self.slots.take(), feeds);
        self.sources.insert(followed.source.path().to_path_buf(), followed);
    }

    pub(super) fn know_jobs(&mut self, jobs: &[Job]) {
        if !self.job_names.iter().eq(jobs.iter().map(|job| &job.name)) {
            self.job_names = jobs.iter().map(|job| job.name.clone()).collect();
        }
    }

    /// Looks at sources that are due and reads up to about `budget` bytes of all. Whether there is more to read.
    pub fn poll(&mut self, budget: u64, turning: &mut Turning<'_>) -> bool {
        let (moment, backed_up) = (turning.moment(), turning.output.is_backed_up());
        let end = self.bytes_read + budget;
        let (mut more, mut whole_round, mut starved) = (false, true, false);
        let mut over = Vec::new();
        for (path, followed) in &mut self.sources {
            if followed.due > moment.now || followed.feeds.is_empty() {
                continue;
            }
            if backed_up && followed.source.lag_bytes() > BACKLOG_BYTES {
                followed.due = moment.now + PAUSE_MAX;
                continue;
            }
            if followed.round > self.round {
                more = true;
                continue;
            }
            let crowded = self.open > self.open_max && !self.crowded;
            if self.bytes_read >= end || crowded || turning.output.is_full() {
                // The round goes on in the next turn.
                (more, whole_round) = (true, false);
                break;
            }
            // A run to the end waits for nobody.
            let leave = if self.everything { Leave::Free } else { self.pace.ask(followed, turning, moment.now) };
            let (share, fill) = match leave {
                Leave::Free => (SOURCE_BYTES.min(end - self.bytes_read), usize::MAX),
                Leave::Piece => (followed.piece_bytes as u64, followed.piece_bytes),
                Leave::None => continue,
            };
            self.buffer.set_fill_max(fill);
            followed.round = self.round + 1;
            let Followed { source, feeds, .. } = followed;
            self.open -= source.open_files();
            let progress = read(feeds, turning, |take| source.poll(moment, &mut self.buffer, share, take));
            self.open += source.open_files();
            self.bytes_read += progress.bytes;
            starved |= progress.starved;
            more |= progress.more;
            followed.rest(moment.now, &progress);
            if let Some(reason) = followed.newly_refused() {
                *self.tally.refused.entry(reason).or_default() += 1;
            }
            if followed.is_over(&progress, moment.fs) {
                over.push(path.clone());
            }
            self.tally.take(progress, &mut self.breaks);
        }
        self.buffer.set_fill_max(usize::MAX);
        self.round += u64::from(whole_round);
        more |= self.pace.finish();
        for path in over {
            self.leave(&path, turning);
        }
        if self.send_to_sleep(starved) && starved {
            // There is room now.
            self.sources.values_mut().filter(|followed| followed.starved).for_each(|f| f.due = moment.now);
            more = true;
        }
        more
    }

    /// Where too many files are open, closes those that are read, of the sources that had no lines for longest, until
    /// an eighth of all may be opened again. Whether any was closed.
    fn send_to_sleep(&mut self, starved: bool) -> bool {
        if starved {
            // The system allows fewer than it said, and others need some, too.
            self.open_max = self.open_max.min((self.open - self.open / 8).max(OPEN_FILES_MIN));
        }
        if !starved && self.open <= self.open_max {
            self.crowded = false;
            return false;
        }
        let before = self.open;
        let mut awake: Vec<&mut Followed> = self.sources.values_mut().filter(|f| f.source.open_files() > 0).collect();
        awake.sort_by_key(|followed| followed.active);
        for followed in awake {
            if self.open <= self.open_max - self.open_max / 8 {
                break;
            }
            self.open -= followed.source.open_files();
            followed.source.sleep();
            self.open += followed.source.open_files();
        }
        self.crowded = self.open == before;
        !self.crowded
    }

    /// Looks which files there are, without reading.
    pub fn look(&mut self, turning: &Turning<'_>) {
        for followed in self.sources.values_mut() {
            let mut progress = Progress::default();
            self.open -= followed.source.open_files();
            followed.source.look(turning.moment(), &mut progress);
            self.open += followed.source.open_files();
            self.tally.take(progress, &mut self.breaks);
        }
    }

    /// How many files may be open at once; sources that are behind may pass it.
    pub fn set_open_max(&mut self, open_max: usize) {
        self.open_max = open_max;
    }

    /// Ends a source: its last line, and what pipelines hold of it.
    fn leave(&mut self, path: &Path, turning: &mut Turning<'_>) {
        let Some(mut followed) = self.sources.remove(path) else { return };
        let moment = turning.moment();
        events::source_left(path);
        self.slots.free(followed.slot);
        let Followed { source, feeds, .. } = &mut followed;
        self.open -= source.open_files();
        let progress = read(feeds, turning, |take| source.finish(moment, &mut self.buffer, take));
        self.bytes_read += progress.bytes;
        self.tally.take(progress, &mut self.breaks);
        followed.unbind(turning);
    }

    /// How long to wait for the next look.
    pub fn pause(&self, now: Duration) -> Duration {
        let next = self.sources.values().map(|source| source.due.max(source.waits_until).saturating_sub(now)).min();
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

    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Bytes that are there and were not read, of all sources.
    pub fn lag_bytes(&self) -> u64 {
        self.sources.values().map(|followed| followed.source.lag_bytes()).sum()
    }

    /// Whether discovery did not find a source in its last look.
    pub fn misses_any(&self) -> bool {
        self.sources.values().any(|followed| followed.missed > 0)
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
            files_broken: self.tally.broken,
            nul_bytes: self.tally.nul_bytes,
            files_open_max: self.open_max as u64,
            ..Facts::default()
        };
        for (at, job) in jobs.iter().enumerate() {
            let feeds = |followed: &&Followed| followed.feeds.iter().any(|feed| feed.job == at);
            facts.sources.push((job.name.clone(), self.sources.values().filter(feeds).count() as u64));
        }
        facts.files = self.sources.len() as u64;
        facts.files_refused = self.tally.refused.iter().map(|(reason, n)| (reason.to_string(), *n)).collect();
        for followed in self.sources.values() {
            facts.files_unreadable += u64::from(followed.source.is_unreadable());
            facts.files_asleep += u64::from(followed.source.is_asleep());
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
