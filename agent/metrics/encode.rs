//! One page of everything that a scrape shows.

use super::cell;
use super::expose::{Page, Type};
use super::family::Kind;
use super::format::Format;
use super::number::Number;
use super::snapshot::{FamilyView, Shown, Snapshot, View};
use prometheus::proto::{Metric, MetricFamily, MetricType};
use std::collections::BTreeMap;
use std::io::{self, Write};

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A configuration gives a metric the name of one of the agent's own.
    #[error("the metric {0} of the configuration has the name of one of weir's own")]
    Duplicate(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

enum Source<'a> {
    Logs(FamilyView<'a>),
    Own(&'a MetricFamily, Type),
}

/// Writes the log-derived families and the agent's own (as `prometheus::Registry::gather` gives them), together in the
/// order of their names, in chunks of some ten kilobytes.
///
/// Nothing is written when a family stands in both. Summaries are left out: weir has none.
pub fn encode(
    format: Format,
    logs: &Snapshot,
    own: &[MetricFamily],
    out: &mut impl Write,
    shown: Shown,
) -> Result<(), EncodeError> {
    let view = View::of(logs);
    let mut families: BTreeMap<&str, Source<'_>> =
        view.families().map(|family| (family.family.name.as_str(), Source::Logs(family))).collect();
    for family in own {
        let Some(kind) = own_type(family) else { continue };
        if families.insert(family.name(), Source::Own(family, kind)).is_some() {
            return Err(EncodeError::Duplicate(family.name().to_string()));
        }
    }
    let mut page = Page::new(format, out);
    for (name, source) in &families {
        let stem_is_free = name.strip_suffix("_total").is_none_or(|stem| !families.contains_key(stem));
        match source {
            Source::Logs(family) => write_logs(&mut page, family, stem_is_free, shown),
            Source::Own(family, kind) => write_own(&mut page, family, *kind, stem_is_free),
        }
    }
    Ok(page.finish()?)
}

fn write_logs(page: &mut Page<'_>, view: &FamilyView<'_>, stem_is_free: bool, shown: Shown) {
    let family = view.family;
    let kind = match family.kind {
        Kind::Counter => Type::Counter,
        Kind::Gauge => Type::Gauge,
        Kind::Histogram { .. } => Type::Histogram,
    };
    page.family(&family.name, &family.help, kind, stem_is_free);
    view.for_each_series(shown, |labels, cell| {
        page.series(labels.iter().copied());
        match &family.kind {
            Kind::Histogram { buckets } => {
                let (sum, counts) = cell::histogram(cell);
                page.histogram(buckets.iter().copied().chain([f64::INFINITY]).zip(counts), sum);
            }
            kind => page.sample(cell::number(kind, cell)),
        }
    });
}

fn own_type(family: &MetricFamily) -> Option<Type> {
    match family.get_field_type() {
        MetricType::COUNTER => Some(Type::Counter),
        MetricType::GAUGE => Some(Type::Gauge),
        MetricType::HISTOGRAM => Some(Type::Histogram),
        _ => None,
    }
}

fn write_own(page: &mut Page<'_>, family: &MetricFamily, kind: Type, stem_is_free: bool) {
    page.family(family.name(), family.help(), kind, stem_is_free);
    for metric in family.get_metric() {
        page.series(metric.get_label().iter().map(|label| (label.name(), label.value().as_bytes())));
        match kind {
            Type::Counter => page.sample(counted(metric.get_counter().get_value())),
            Type::Gauge => page.sample(Number::Float(metric.get_gauge().get_value())),
            Type::Histogram => write_own_histogram(page, metric),
        }
    }
}

/// The crate keeps whole counters as integers and hands them out as floats.
fn counted(value: f64) -> Number {
    if value.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&value) {
        Number::Whole(value as u64)
    } else {
        Number::Float(value)
    }
}

/// The crate lists the bucket `+Inf` or leaves it to the encoder; the page always has it.
fn write_own_histogram(page: &mut Page<'_>, metric: &Metric) {
    let histogram = metric.get_histogram();
    let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
    let buckets = finite.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    page.histogram(buckets.chain([(f64::INFINITY, histogram.get_sample_count())]), histogram.get_sample_sum());
}
