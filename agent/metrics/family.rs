//! What a metric is: its name, its kind, its help.

use crate::labels::is_metric_name;
use std::sync::Arc;
use std::time::Duration;

/// Prometheus' default buckets, in seconds: what Promtail uses when a histogram names none.
pub const DEFAULT_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    /// Upper bounds, inclusive, strictly ascending; the bucket `+Inf` is always there and not listed.
    Histogram {
        buckets: Arc<[f64]>,
    },
}

impl Kind {
    /// A histogram with these upper bounds; a closing `+Inf` may be written and is dropped.
    pub fn histogram(bounds: &[f64]) -> Kind {
        let bounds = bounds.strip_suffix(&[f64::INFINITY]).unwrap_or(bounds);
        Kind::Histogram { buckets: bounds.into() }
    }

    fn word(&self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram { .. } => "histogram",
        }
    }
}

/// One metric name and everything that is shown under it.
#[derive(Clone, Debug)]
pub struct Family {
    pub name: String,
    /// One line for `# HELP`; may be empty.
    pub help: String,
    pub kind: Kind,
    /// A series untouched for so long is forgotten; `None` keeps it for ever. Promtail's `max_idle_duration`.
    pub max_idle: Option<Duration>,
}

/// A family of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FamilyId(pub(super) u32);

/// A label name of one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelName(pub(super) u16);

/// Two definitions that cannot live under one name, or one that cannot live at all: a sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Conflict(pub String);

impl Family {
    /// Whether the definition stands by itself: the name fits Prometheus, the buckets ascend.
    pub(super) fn check(&self) -> Result<(), Conflict> {
        if !is_metric_name(&self.name) {
            return Err(Conflict(format!(
                "\"{}\" is not a metric name: it must match [a-zA-Z_:][a-zA-Z0-9_:]*",
                self.name
            )));
        }
        if let Kind::Histogram { buckets } = &self.kind
            && !(buckets.iter().all(|b| b.is_finite()) && buckets.is_sorted_by(|a, b| a < b))
        {
            return Err(Conflict(format!(
                "the buckets of {} must be finite and each greater than the one before; they are {buckets:?}",
                self.name
            )));
        }
        Ok(())
    }

    /// Whether two definitions may stand on one page. The same name asks for the same kind and buckets; a histogram
    /// also owns the names of its `_bucket`, `_sum` and `_count`.
    pub(super) fn agrees(&self, other: &Family) -> Result<(), Conflict> {
        if self.name != other.name {
            for (histogram, single) in [(self, other), (other, self)] {
                if histogram.owns_sample(&single.name) {
                    return Err(Conflict(format!(
                        "the metric {} cannot exist beside the histogram {}, which has samples of that name",
                        single.name, histogram.name
                    )));
                }
            }
            return Ok(());
        }
        match (&self.kind, &other.kind) {
            (a, b) if a == b => Ok(()),
            (Kind::Histogram { buckets: a }, Kind::Histogram { buckets: b }) => Err(Conflict(format!(
                "the histogram {} is defined twice with different buckets: {a:?} and {b:?}",
                self.name
            ))),
            (a, b) => Err(Conflict(format!("{} is defined as a {} and as a {}", self.name, a.word(), b.word()))),
        }
    }

    fn owns_sample(&self, name: &str) -> bool {
        matches!(self.kind, Kind::Histogram { .. })
            && name.strip_prefix(&self.name).is_some_and(|suffix| matches!(suffix, "_bucket" | "_sum" | "_count"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(name: &str, kind: Kind) -> Family {
        Family { name: name.into(), help: String::new(), kind, max_idle: None }
    }

    #[test]
    fn definitions_that_cannot_share_a_page_are_refused_with_a_sentence() {
        let histogram = family("x", Kind::histogram(&[1.0, 2.0]));
        for (other, sentence) in [
            (family("x", Kind::Gauge), "x is defined as a histogram and as a gauge"),
            (family("x", Kind::histogram(&[1.0])), "different buckets: [1.0, 2.0] and [1.0]"),
            (family("x_count", Kind::Counter), "the metric x_count cannot exist beside the histogram x"),
        ] {
            let conflict = histogram.agrees(&other).unwrap_err();
            assert!(conflict.0.contains(sentence), "{conflict}");
        }
        assert!(family("x_count", Kind::Counter).agrees(&histogram).is_err());
        assert_eq!(histogram.agrees(&family("x", Kind::histogram(&[1.0, 2.0, f64::INFINITY]))), Ok(()));
        assert_eq!(histogram.agrees(&family("x_counts", Kind::Counter)), Ok(()));
    }

    #[test]
    fn a_family_must_stand_by_itself() {
        for bad in [
            family("1x", Kind::Gauge),
            family("", Kind::Gauge),
            family("x", Kind::histogram(&[1.0, 1.0])),
            family("x", Kind::histogram(&[f64::NAN])),
            family("x", Kind::histogram(&[f64::INFINITY, f64::INFINITY])),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert_eq!(family("x", Kind::histogram(&[])).check(), Ok(()));
    }
}
