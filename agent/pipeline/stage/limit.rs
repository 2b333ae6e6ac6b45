//! `limit`: so many lines per second, for all lines together or for each value of a label.
//!
//! With `drop` a line past the rate ends here, as in Promtail. Without it Promtail's stage waits, and with it all that the
//! job reads; here the line goes on, and the job's files are not read until the rate allows more lines: none is lost,
//! order stays, and other jobs do not wait.

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Bucket, Context, LabelId, ReasonId, Record, Scope};
use crate::yaml::{Fields, Node, Spanned};
use foldhash::fast::RandomState;
use lru::LruCache;
use std::time::Duration;

/// Promtail's name for it; there is no key for another one.
const REASON: &str = "ratelimit_drop_stage";
/// Promtail lets nobody remember fewer values of a label.
const DISTINCT_LABELS_MIN: u64 = 10_000;
/// Bytes that the remembered values may have together.
const VALUES_BYTES_MAX: usize = 8 << 20;

#[derive(Debug, PartialEq)]
pub struct LimitConfig {
    /// Lines per second.
    pub rate: f64,
    /// Lines that may come at once.
    pub burst: u64,
    pub drop: bool,
    /// Each value of this label has the rate for itself; lines without the label have none.
    pub by_label_name: Option<String>,
    /// Values of the label that are remembered; the one without lines for longest is forgotten.
    pub max_distinct_labels: u64,
}

impl StageConfig for LimitConfig {
    type Stage = Limit;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `limit` stage", diagnostics)?;
        let span = fields.span();
        let rate = fields.required::<Spanned<f64>>("rate", diagnostics);
        let burst = fields.required::<Spanned<u64>>("burst", diagnostics);
        let drop = fields.or("drop", false, diagnostics);
        let by_label_name = fields.optional("by_label_name", diagnostics).filter(|name: &String| !name.is_empty());
        let distinct = fields.or("max_distinct_labels", DISTINCT_LABELS_MIN, diagnostics);
        fields.finish(diagnostics);
        let (rate, burst) = (rate?, burst?);
        if !(rate.value > 0.0 && rate.value.is_finite()) {
            diagnostics.error(rate.span, "`rate` must be above 0");
            return None;
        }
        if burst.value == 0 {
            diagnostics.error(burst.span, "`burst` must be at least 1");
            return None;
        }
        if by_label_name.is_some() && !drop {
            diagnostics.error(span, "`by_label_name` of the `limit` stage needs `drop: true`");
            return None;
        }
        Some(LimitConfig {
            rate: rate.value,
            burst: burst.value,
            drop,
            by_label_name,
            max_distinct_labels: distinct.max(DISTINCT_LABELS_MIN),
        })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Limit> {
        let bucket = Bucket::new(self.rate, self.burst);
        let reason = scope.reason(REASON);
        let by = match &self.by_label_name {
            Some(name) => By::Label(Values {
                label: scope.label(name),
                name: name.clone(),
                full: bucket,
                known: LruCache::unbounded_with_hasher(RandomState::default()),
                known_max: usize::try_from(self.max_distinct_labels).unwrap_or(usize::MAX),
                bytes: 0,
            }),
            None if self.drop => By::Dropping(bucket),
            None => By::Waiting { bucket, until: Duration::ZERO },
        };
        Some(Limit { by, reason })
    }
}

pub struct Limit {
    by: By,
    reason: ReasonId,
}

enum By {
    /// Lines that are too many are dropped.
    Dropping(Bucket),
    /// Lines go on, and none is read until then.
    Waiting { bucket: Bucket, until: Duration },
    /// Lines that are too many for a value of a label are dropped.
    Label(Values),
}

struct Values {
    label: LabelId,
    name: String,
    full: Bucket,
    known: LruCache<Box<[u8]>, ValueRate, RandomState>,
    known_max: usize,
    /// Of the known values.
    bytes: usize,
}

struct ValueRate {
    bucket: Bucket,
    dropped: u64,
}

impl Run for Limit {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        let passes = match &mut self.by {
            By::Dropping(bucket) => bucket.take(context.monotonic),
            By::Waiting { bucket, until } => {
                *until = bucket.owe(context.monotonic);
                true
            }
            By::Label(values) => match record.label(values.label) {
                Some(value) => values.take(record.bytes(value), context.monotonic),
                None => true,
            },
        };
        if passes { Flow::Next } else { Flow::Drop(self.reason) }
    }

    fn paused_until(&self) -> Option<Duration> {
        match self.by {
            By::Waiting { until, .. } => Some(until),
            _ => None,
        }
    }
}

impl Limit {
    /// The lines that were dropped by a label: its name, the value and how many.
    pub fn dropped_by_label(&self) -> impl Iterator<Item = (&str, &[u8], u64)> {
        let values = match &self.by {
            By::Label(values) => Some(values),
            _ => None,
        };
        let named = values.into_iter().flat_map(|values| {
            values.known.iter().map(move |(value, rate)| (values.name.as_str(), &**value, rate.dropped))
        });
        named.filter(|(_, _, dropped)| *dropped > 0)
    }
}

impl Values {
    fn take(&mut self, value: &[u8], now: Duration) -> bool {
        if let Some(rate) = self.known.get_mut(value) {
            let there = rate.bucket.take(now);
            rate.dropped += u64::from(!there);
            return there;
        }
        let mut rate = ValueRate { bucket: self.full, dropped: 0 };
        let there = rate.bucket.take(now);
        self.bytes += value.len();
        self.known.put(value.into(), rate);
        while self.known.len() > self.known_max || self.bytes > VALUES_BYTES_MAX {
            let Some((forgotten, _)) = self.known.pop_lru() else { break };
            self.bytes -= forgotten.len();
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::bench::World;

    const RULES: &str = "[{regex: {expression: '^(?P<k>\\S+)'}}, {labels: {k: }}, \
                          {limit: {rate: 1, burst: 2, drop: true, by_label_name: k}}]";

    fn dropped(world: &World) -> Vec<(String, String, u64)> {
        let mut all = Vec::new();
        world.pipeline.dropped_by_label(&mut |name, value, lines| {
            all.push((name.to_string(), String::from_utf8_lossy(value).into_owned(), lines));
        });
        all.sort();
        all
    }

    #[test]
    fn each_value_of_the_label_has_the_rate_for_itself() {
        let mut world = World::new(RULES);
        for line in ["a", "a", "a", "b", "a", " no label", " no label", " no label", "b", "b"] {
            world.line(0, line.as_bytes());
        }
        let of = |label: &str| world.out.0.iter().filter(|entry| entry.contains(label)).count();
        assert_eq!((of("k=a"), of("k=b"), world.out.0.len()), (2, 2, 7));
        assert_eq!(dropped(&world), [("k".into(), "a".into(), 2), ("k".into(), "b".into(), 1)]);
        assert_eq!(world.pipeline.counts().dropped_total(), 3);
        // A second later there is one line more.
        world.now += 1_000;
        world.line(0, b"a");
        world.line(0, b"a");
        assert_eq!(dropped(&world)[0].2, 3);
    }

    #[test]
    fn values_are_forgotten_past_their_bounds() {
        let mut world = World::new(&RULES.replace("burst: 2", "burst: 1"));
        for value in 0..DISTINCT_LABELS_MIN + 2 {
            (0..2).for_each(|_| world.line(0, format!("v{value}").as_bytes()));
        }
        assert_eq!(dropped(&world).len() as u64, DISTINCT_LABELS_MIN);
        let long = "x".repeat(200_000);
        for value in 0..45 {
            (0..2).for_each(|_| world.line(0, format!("{value}{long}").as_bytes()));
        }
        let bytes: usize = dropped(&world).iter().map(|(_, value, _)| value.len()).sum();
        assert!((VALUES_BYTES_MAX - 400_000..=VALUES_BYTES_MAX).contains(&bytes), "{bytes}");
    }

    #[test]
    fn without_dropping_every_line_passes_and_reading_waits() {
        let mut world = World::new("[{match: {selector: '{source=\"a\"}', stages: [{limit: {rate: 10, burst: 3}}]}}]");
        assert_eq!(world.pipeline.paused_until(), Some(Duration::ZERO));
        (0..3).for_each(|_| world.line(0, b"x"));
        let now = Duration::from_millis(world.now as u64);
        assert!(world.pipeline.paused_until() <= Some(now));
        (0..20).for_each(|_| world.line(0, b"x"));
        let until = world.pipeline.paused_until().expect("it may wait");
        assert!((1_900..=2_030).contains(&until.as_millis()), "{until:?}");
        assert_eq!(world.out.0.len(), 23);
        assert_eq!(World::new(RULES).pipeline.paused_until(), None);
    }
}
