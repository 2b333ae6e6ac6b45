//! Going over to another configuration: series, sources, books and what stages hold go on where they are the same.

use super::engine::{Engine, Turning, compile};
use super::job::Job;
use super::look::refresh_period;
use super::reader::Reader;
use crate::config::Config;
use crate::metrics::Store;
use crate::pipeline::BindingId;
use std::collections::BTreeMap;

/// The new binding of each source, by the new number of the job and the number of the old binding.
type Rebound = BTreeMap<(usize, u32), BindingId>;

impl Engine {
    /// Goes over to another configuration, which [`check`](super::check) has passed. Series that are defined as before
    /// keep their values, sources their places, and lines in pieces wait on for their end.
    pub fn reconfigure(&mut self, config: &Config) {
        let mut series = Store::new();
        let mut jobs = compile(config, &mut series, &self.geoip);
        self.check_geoip();
        let (reader, mut turning) = self.parts();
        // Of jobs that end, pieces leave as lines by the stages that hold them.
        reader.leave_jobs(&|name| jobs.iter().any(|job| job.name == name), &mut turning);
        series.adopt(&self.series);
        let rebound = self.reader.rebind(&self.jobs, &mut jobs, &mut series);
        for (at, job) in jobs.iter_mut().enumerate() {
            if let Some(old) = self.jobs.iter().find(|old| old.name == job.name) {
                job.go_over(old, &|number| rebound.get(&(at, number)).copied());
            } else if let Some(books) = self.gone.iter().position(|books| books.job == job.name) {
                job.begin_with(self.gone.remove(books));
            }
        }
        let ended = self.jobs.iter().filter(|old| !jobs.iter().any(|job| job.name == old.name));
        self.gone.extend(ended.map(|job| job.books().without_held()));
        self.fed.clear();
        self.jobs = jobs;
        self.series = series;
        self.refresh_every = refresh_period(config);
        self.rate = config.limits.line_rate();
        self.refresh();
    }
}

impl Reader {
    /// Ends the sources for jobs that do not go on; they keep their places.
    fn leave_jobs(&mut self, goes_on: &dyn Fn(&str) -> bool, turning: &mut Turning<'_>) {
        for followed in self.sources.values_mut() {
            followed.feeds.retain(|feed| {
                let stays = goes_on(&turning.jobs[feed.job].name);
                if !stays {
                    turning.unbind(feed.job, feed.binding);
                }
                stays
            });
        }
    }

    /// Binds every source to the new jobs, as it was to the old ones of the same names.
    fn rebind(&mut self, old: &[Job], jobs: &mut [Job], series: &mut Store) -> Rebound {
        let mut rebound = Rebound::new();
        for feed in self.sources.values_mut().flat_map(|followed| &mut followed.feeds) {
            // All others were left.
            let Some(at) = jobs.iter().position(|job| job.name == old[feed.job].name) else { continue };
            let binding = jobs[at].pipeline.bind(&feed.labels, series);
            rebound.insert((at, feed.binding.number()), binding);
            (feed.job, feed.binding) = (at, binding);
        }
        rebound
    }
}
