//! What the pages show, as the worker leaves it for the rim.

use super::job::Job;
use super::reader::Reader;
use crate::labels::Labels;
use crate::server::{
    ActiveTarget, DROPPED_SHOWN_MAX, DiscoveryPage, DroppedTarget, FileRow, JobDiscovery, JobTargets, TargetRow,
    TargetsPage,
};
use std::collections::BTreeMap;

#[derive(Clone, Default)]
pub struct Pages {
    pub targets: TargetsPage,
    pub discovery: DiscoveryPage,
}

/// The state of all jobs.
pub fn of(jobs: &[Job], reader: &Reader) -> Pages {
    let targets = jobs.iter().enumerate().map(|(at, job)| targets_of(at, job, reader)).collect();
    let discovery = jobs.iter().map(discovery_of).collect();
    Pages { targets: TargetsPage { jobs: targets }, discovery: DiscoveryPage { jobs: discovery } }
}

fn targets_of(at: usize, job: &Job, reader: &Reader) -> JobTargets {
    // A source has its target's labels and the name of its file. There may be thousands of both.
    let mut files: BTreeMap<Labels, Vec<FileRow>> = BTreeMap::new();
    for (labels, file) in reader.files_of(at) {
        files.entry(without_filename(labels)).or_default().push(file);
    }
    let rows = job.found.targets.iter().map(|target| {
        let of_labels = files.get(&without_filename(&target.labels)).map_or(&[][..], Vec::as_slice);
        let files: Vec<_> = of_labels.iter().filter(|file| target.matches(file.path.as_ref())).cloned().collect();
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

fn without_filename(labels: &Labels) -> Labels {
    let mut labels = labels.clone();
    labels.remove("filename");
    labels
}

fn discovery_of(job: &Job) -> JobDiscovery {
    let active = job
        .found
        .targets
        .iter()
        .map(|target| ActiveTarget { discovered: Labels::clone(&target.discovered), labels: target.labels.clone() });
    let dropped = job.found.dropped.iter().take(DROPPED_SHOWN_MAX).map(|target| DroppedTarget {
        discovered: Labels::clone(&target.discovered),
        reason: target.reason.as_str().to_string(),
    });
    JobDiscovery {
        job: job.name.clone(),
        active: active.collect(),
        dropped: dropped.collect(),
        dropped_total: job.found.dropped.len(),
    }
}
