//! What the pages show, as the worker leaves it for the rim.

use super::job::Job;
use super::reader::Reader;
use crate::server::{
    ActiveTarget, DROPPED_SHOWN_MAX, DiscoveryPage, DroppedTarget, JobDiscovery, JobTargets, TargetRow, TargetsPage,
};

#[derive(Clone, Default)]
pub struct Pages {
    pub targets: TargetsPage,
    pub discovery: DiscoveryPage,
    /// Whether at least one source is read.
    pub ready: bool,
}

/// The state of all jobs.
pub fn of(jobs: &[Job], reader: &Reader) -> Pages {
    let targets = jobs.iter().enumerate().map(|(at, job)| targets_of(at, job, reader)).collect();
    let discovery = jobs.iter().map(discovery_of).collect();
    Pages {
        targets: TargetsPage { jobs: targets },
        discovery: DiscoveryPage { jobs: discovery },
        ready: !reader.is_empty(),
    }
}

fn targets_of(at: usize, job: &Job, reader: &Reader) -> JobTargets {
    let files: Vec<_> = reader.files_of(at).collect();
    let rows = job.found.targets.iter().map(|target| {
        let files: Vec<_> = files
            .iter()
            .filter(|(labels, file)| target.matches(file.path.as_ref()) && is_of(labels, &target.labels))
            .map(|(_, file)| file.clone())
            .collect();
        let ready = !files.is_empty();
        TargetRow {
            state: if ready { "ready" } else { "no file matches" }.to_string(),
            ready,
            labels: target.labels.clone(),
            path: target.path.as_str().to_string(),
            files,
        }
    });
    JobTargets { job: job.name.clone(), targets: rows.collect() }
}

/// Whether a source's labels are those of the target, but for its file name.
fn is_of(source: &crate::labels::Labels, target: &crate::labels::Labels) -> bool {
    target.iter().all(|(name, value)| name == "filename" || source.get(name) == value)
}

fn discovery_of(job: &Job) -> JobDiscovery {
    let active = job
        .found
        .targets
        .iter()
        .map(|target| ActiveTarget { discovered: target.discovered.clone(), labels: target.labels.clone() });
    let dropped = job.found.dropped.iter().take(DROPPED_SHOWN_MAX).map(|target| DroppedTarget {
        discovered: target.discovered.clone(),
        reason: target.reason.as_str().to_string(),
    });
    JobDiscovery {
        job: job.name.clone(),
        active: active.collect(),
        dropped: dropped.collect(),
        dropped_total: job.found.dropped.len(),
    }
}
