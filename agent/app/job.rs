//! A job: discovery, a pipeline and what is bound to it.

use super::reader::Wanted;
use crate::config::{Config, ScrapeConfig};
use crate::diagnostic::Diagnostics;
use crate::discovery::{Discovery, Found, PodLists, SourceConfig, Tree, node_name};
use crate::geoip::GeoIpSet;
use crate::keep::Entries;
use crate::ledger::JobBooks;
use crate::metrics::Store;
use crate::pipeline::{BindingId, Counts, Pipeline, Restored};
use crate::relabel::Rules;
use crate::sink::Transport;
use crate::source::Opener;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Where the kubelet writes, and where the links of other directories lead.
const KUBELET_ROOT: &str = "/var/log/pods";

/// One scrape config at work.
pub struct Job {
    pub name: String,
    pub discovery: Discovery,
    pub pipeline: Pipeline,
    /// Bytes read for the job.
    pub bytes: u64,
    /// Lines that were cut to the limit.
    pub cut: u64,
    /// What discovery found last.
    pub found: Arc<Found>,
    /// Targets that were left out since the start, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Directories below which its files must really lie; empty: they may lie anywhere.
    pub roots: Vec<PathBuf>,
    /// Those of them that the configuration names, where the others come with the pods.
    fixed_roots: Option<Vec<PathBuf>>,
}

impl Job {
    /// Compiles a job; `None` when something cannot run, which then has been reported.
    pub fn compile(
        config: &ScrapeConfig,
        series: &mut Store,
        geoip: &GeoIpSet,
        series_max: u64,
        diagnostics: &mut Diagnostics,
    ) -> Option<Job> {
        // Both are compiled before either is given up, so that each mistake is reported.
        let rules = Rules::compile(&config.relabel_configs, diagnostics);
        let pipeline = Pipeline::compile(&config.pipeline_stages, series, geoip, series_max, diagnostics);
        let name = config.job_name.value.clone();
        let discovery = Discovery::new(config.sources.clone(), rules?, node_name());
        let roots = roots(&config.sources);
        let by_api = config.sources.iter().any(|source| matches!(source, SourceConfig::Kubernetes(_)));
        Some(Job {
            name,
            discovery,
            pipeline: pipeline?,
            bytes: 0,
            cut: 0,
            found: Arc::default(),
            dropped: BTreeMap::new(),
            fixed_roots: by_api.then(|| roots.clone()),
            roots,
        })
    }
}

impl Job {
    /// The job's books since the agent started.
    pub fn books(&self) -> JobBooks {
        JobBooks::of(&self.name, &self.pipeline, self.bytes, self.cut)
    }

    /// Looks for targets again.
    pub fn refresh(&mut self, tree: &dyn Tree, pods: &PodLists) {
        let found = self.discovery.refresh(tree, pods);
        if Arc::ptr_eq(&found, &self.found) {
            return;
        }
        for dropped in found.dropped.iter().filter(|target| !self.found.dropped.contains(target)) {
            *self.dropped.entry(dropped.reason.as_str()).or_default() += 1;
        }
        if let Some(fixed) = &self.fixed_roots {
            // Tenants write below the directories that globs begin with: no link leads out of them.
            let bases = found.targets.iter().map(|target| target.path.base());
            let all: BTreeSet<PathBuf> = fixed.iter().cloned().chain([KUBELET_ROOT.into()]).chain(bases).collect();
            self.roots = all.into_iter().collect();
        }
        self.found = found;
    }

    /// Enters what the job wants to read.
    pub fn want(&self, at: usize, tree: &dyn Tree, wanted: &mut BTreeMap<PathBuf, Wanted>) {
        let opener = if self.roots.is_empty() { Opener::anywhere() } else { Opener::below(self.roots.clone()) };
        for target in &self.found.targets {
            for path in target.files(tree).files {
                let mut labels = target.labels.clone();
                labels.set("filename", path.to_string_lossy());
                let wanted = wanted.entry(path).or_default();
                // The strictest of the jobs that want a file decides how it is opened.
                if !opener.is_anywhere() {
                    wanted.opener = opener.clone();
                }
                wanted.feeds.push((at, labels));
            }
        }
    }

    /// Goes on where the job of the same name was in another run, as number `number`.
    pub fn go_on(
        &mut self,
        number: u32,
        books: JobBooks,
        entries: &Entries,
        rebind: &dyn Fn(u32) -> Option<BindingId>,
    ) -> Restored {
        if entries.get(Pipeline::books_slot(number)).is_none() {
            // The configuration of that run did not have it.
            self.begin_with(books);
            return Restored::default();
        }
        let restored = self.pipeline.restore(number, entries, rebind);
        self.take_reading(books.bytes, books.cut);
        restored
    }

    /// Goes on where the job that this one replaces was.
    pub fn go_over(&mut self, old: &Job, rebind: &dyn Fn(u32) -> Option<BindingId>) {
        self.pipeline.adopt(&old.pipeline, rebind);
        self.take_reading(old.bytes, old.cut + old.pipeline.counts().cut);
        self.dropped.clone_from(&old.dropped);
    }

    /// A job of this name was there once.
    pub fn begin_with(&mut self, books: JobBooks) {
        let JobBooks { read, counted, joined, unfinished, cut, bytes, refused, dropped, .. } = books.without_held();
        let counts = Counts { read, counted, joined, unfinished, ..Counts::default() };
        self.pipeline.begin_with(counts, &refused, &dropped);
        self.take_reading(bytes, cut);
    }

    /// `cut`: with the joined lines that the pipeline cut.
    fn take_reading(&mut self, bytes: u64, cut: u64) {
        self.bytes = bytes;
        self.cut = cut.saturating_sub(self.pipeline.counts().cut);
    }
}

/// Where the files of pod directories may really lie: below the directory.
fn roots(sources: &[SourceConfig]) -> Vec<PathBuf> {
    let pods = sources.iter().filter_map(|source| match source {
        SourceConfig::PodDirectory(config) => Some(config.root.clone()),
        _ => None,
    });
    pods.collect()
}

/// Compiles all jobs of a configuration into a store of their own.
pub fn compile_all(
    config: &Config,
    series: &mut Store,
    geoip: &GeoIpSet,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Job>> {
    let jobs: Vec<_> = config
        .scrape_configs
        .iter()
        .map(|job| Job::compile(job, series, geoip, config.metrics.series_max, diagnostics))
        .collect();
    jobs.into_iter().collect()
}

/// Whether a configuration can run: everything is compiled and thrown away.
pub fn check(config: &Config, diagnostics: &mut Diagnostics) -> bool {
    compile_all(config, &mut Store::new(), &GeoIpSet::default(), diagnostics);
    if diagnostics.has_errors() {
        return false;
    }
    for client in config.active_clients() {
        if let Err(why) = Transport::new(client) {
            diagnostics.error(client.url.span, why);
        }
    }
    !diagnostics.has_errors()
}
