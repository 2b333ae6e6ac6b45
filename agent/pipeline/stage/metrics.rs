//! `metrics`: counts, sums and observes.
//!
//! With Promtail's keys a series has all labels of the entry at this point of the pipeline. Of ours: `labels` names
//! the labels of a metric and where their values come from, `max_series` bounds their number and `max_values` that of the
//! values of a label. Metrics with the same labels and bounds share their rows: one lookup for all of them.

mod labels;
mod limits;

use self::labels::Labels;
use self::limits::LimitsConfig;
use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::labels::{is_label_name, is_metric_name};
use crate::metrics::{Family, GroupId, Kind, Update};
use crate::pipeline::{Context, Record, Scope, Slot, Value};
use crate::words::is_same;
use crate::yaml::{Fields, Node, Spanned, Value as Yaml};
use std::time::Duration;

/// Promtail's default: a series that was not touched for so long is removed.
const IDLE_DEFAULT: Duration = Duration::from_secs(300);
/// Prometheus' default buckets.
const BUCKETS_DEFAULT: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug)]
pub struct MetricsConfig {
    pub metrics: Vec<MetricConfig>,
}

#[derive(Debug)]
pub struct MetricConfig {
    /// Prefix and name.
    pub name: Spanned<String>,
    pub description: String,
    pub kind: Kind,
    pub source: String,
    pub max_idle: Duration,
    pub action: Action,
    /// Only lines whose source reads exactly so.
    pub value: Option<String>,
    /// `None`: all labels of the entry. Else label → extracted name, or the label of that name.
    pub labels: Option<Vec<(Spanned<String>, Spanned<String>)>>,
    pub limits: LimitsConfig,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// Every line counts one.
    CountLine,
    /// Every line counts its bytes.
    CountBytes,
    /// A line with the source counts one.
    Inc,
    Dec,
    /// The source's number.
    Add,
    Sub,
    Set,
    Observe,
    /// A counter that Promtail accepts and never counts.
    Nothing,
}

impl StageConfig for MetricsConfig {
    type Stage = Metrics;

    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let Yaml::Map(entries) = &node.value else {
            d.error(node.span, "the `metrics` stage is a map of metrics by their names");
            return None;
        };
        let read = entries.iter().filter_map(|(name, body)| MetricConfig::read(name, body, d));
        Some(MetricsConfig { metrics: read.collect() })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Metrics> {
        let mut groups: Vec<(&MetricConfig, Vec<&MetricConfig>)> = Vec::new();
        for metric in &self.metrics {
            match groups.iter_mut().find(|(first, _)| first.shares_rows_with(metric)) {
                Some((_, members)) => members.push(metric),
                None => groups.push((metric, vec![metric])),
            }
        }
        let mut labels = Labels::default();
        let compiled: Vec<_> = groups.iter().map(|(_, members)| Group::compile(members, &mut labels, scope)).collect();
        let (mut counters, mut others): (Vec<Counters>, Vec<Group>) = Default::default();
        for group in compiled.into_iter().collect::<Option<Vec<_>>>()? {
            match (group.counted, group.labels) {
                (Some(counted), Some(labels)) => Counters::of(&mut counters, counted).groups.push((group.id, labels)),
                (_, labels) => others.push(Group { labels, ..group }),
            }
        }
        Some(Metrics { counters, groups: others, labels })
    }
}

impl MetricConfig {
    fn read(name: &Node, body: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(body, "a metric", d)?;
        let bare = name.text().unwrap_or_default().to_string();
        let prefix = fields.optional::<String>("prefix", d).unwrap_or_default();
        // An empty prefix is Promtail's default one.
        let prefix = if prefix.is_empty() { "promtail_custom_" } else { &prefix };
        let full = Spanned { value: format!("{prefix}{bare}"), span: name.span };
        if !is_metric_name(&full.value) {
            d.error(name.span, format!("`{}` cannot be a metric name", full.value))
                .help("letters, digits, `_` and `:`, not starting with a digit");
        }
        let kind = fields.required::<Spanned<String>>("type", d);
        let settings = fields.node("config").cloned();
        let mut metric = MetricConfig {
            source: fields.optional("source", d).unwrap_or(bare),
            description: fields.or("description", String::new(), d),
            max_idle: fields.or("max_idle_duration", IDLE_DEFAULT, d),
            labels: fields.optional("labels", d).or_else(|| {
                fields.key_span("labels").map(|_| Vec::new())
            }),
            limits: LimitsConfig::default(),
            name: full,
            kind: Kind::Counter,
            action: Action::Inc,
            value: None,
        };
        if let Some(span) = fields.key_span("max_idle_duration")
            && metric.max_idle < Duration::from_secs(1)
        {
            d.error(span, "`max_idle_duration` is at least 1s");
        }
        metric.check_labels(d);
        metric.limits = LimitsConfig::read(&mut fields, metric.labels.as_deref(), d);
        fields.finish(d);
        metric.with_settings(&kind?, settings.as_ref(), body, d)
    }

    fn check_labels(&self, d: &mut Diagnostics) {
        let labels = self.labels.as_deref().unwrap_or_default();
        for (label, _) in labels.iter().filter(|(label, _)| !is_label_name(&label.value)) {
            d.error(label.span, format!("`{}` cannot be a label name", label.value))
                .help("letters, digits and `_`, not starting with a digit");
        }
    }

    /// Reads `config`, whose keys depend on the type.
    fn with_settings(
        mut self,
        kind: &Spanned<String>,
        settings: Option<&Node>,
        body: &Node,
        d: &mut Diagnostics,
    ) -> Option<Self> {
        let null = Node { span: body.span, value: Yaml::Null };
        let mut fields = Fields::new(settings.unwrap_or(&null), "the `config` of a metric", d)?;
        let span = fields.span();
        self.value = fields.optional("value", d);
        let read = match kind.value.to_ascii_lowercase().as_str() {
            "counter" => self.counter_settings(&mut fields, d),
            "gauge" => {
                self.kind = Kind::Gauge;
                self.gauge_settings(&mut fields, d)
            }
            "histogram" => {
                self.action = Action::Observe;
                self.histogram_settings(&mut fields, d)
            }
            _ => {
                d.error(kind.span, format!("unknown metric type `{}`", kind.value)).help("`Counter`, `Gauge` or `Histogram`");
                return None;
            }
        };
        fields.finish(d);
        if let Err(message) = read {
            d.error(span, message);
            return None;
        }
        Some(self)
    }

    fn counter_settings(&mut self, fields: &mut Fields<'_>, d: &mut Diagnostics) -> Result<(), String> {
        let match_all = fields.or("match_all", false, d);
        let count_bytes = fields.or("count_entry_bytes", false, d);
        let action = fields.optional::<String>("action", d);
        self.action = match action.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("inc") => Action::Inc,
            Some("add") => Action::Add,
            Some(other) => return Err(format!("a counter has no action `{other}`: `inc` or `add`")),
            None => return Err("a counter needs `action`: `inc` or `add`".into()),
        };
        if match_all && self.value.is_some() {
            return Err("`match_all` counts every line: it cannot go with `value`".into());
        }
        if count_bytes && !(match_all && self.action == Action::Add) {
            return Err("`count_entry_bytes` needs `match_all: true` and `action: add`".into());
        }
        match (match_all, count_bytes, self.action) {
            (true, true, _) => self.action = Action::CountBytes,
            (true, false, Action::Inc) => self.action = Action::CountLine,
            // Promtail takes this and never counts, since there is no value to add.
            (true, false, _) => {
                d.warning(fields.span(), "this counter never counts: `match_all` has nothing to add")
                    .help("write `action: inc`, or add `count_entry_bytes: true`");
                self.action = Action::Nothing;
            }
            _ => {}
        }
        Ok(())
    }

    fn gauge_settings(&mut self, fields: &mut Fields<'_>, d: &mut Diagnostics) -> Result<(), String> {
        let action = fields.optional::<String>("action", d);
        self.action = match action.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("set") => Action::Set,
            Some("inc") => Action::Inc,
            Some("dec") => Action::Dec,
            Some("add") => Action::Add,
            Some("sub") => Action::Sub,
            Some(other) => {
                return Err(format!("a gauge has no action `{other}`: `set`, `inc`, `dec`, `add` or `sub`"));
            }
            None => return Err("a gauge needs `action`: `set`, `inc`, `dec`, `add` or `sub`".into()),
        };
        Ok(())
    }

    fn histogram_settings(&mut self, fields: &mut Fields<'_>, d: &mut Diagnostics) -> Result<(), String> {
        let mut buckets: Vec<f64> =
            fields.optional("buckets", d).unwrap_or_else(|| BUCKETS_DEFAULT.to_vec());
        // The last bucket is always there.
        if buckets.last() == Some(&f64::INFINITY) {
            buckets.pop();
        }
        if buckets.iter().any(|bound| !bound.is_finite()) || buckets.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("the buckets of a histogram are finite and increase".into());
        }
        if buckets.is_empty() {
            return Err("a histogram needs at least one bucket".into());
        }
        self.kind = Kind::Histogram { buckets: buckets.into() };
        Ok(())
    }

    fn shares_rows_with(&self, other: &MetricConfig) -> bool {
        let names = |metric: &MetricConfig| {
            metric.labels.as_ref().map(|labels| {
                let mut names: Vec<_> = labels.iter().map(|(l, s)| (l.value.clone(), s.value.clone())).collect();
                names.sort();
                names
            })
        };
        names(self) == names(other) && self.limits == other.limits
    }
}

pub struct Metrics {
    counters: Vec<Counters>,
    groups: Vec<Group>,
    labels: Labels,
}

/// Groups of one counter each, with labels of their own, for the same lines: most groups are such.
struct Counters {
    counted: Counted,
    /// Each with its labels (see [`Group::labels`]).
    groups: Vec<(GroupId, Vec<u16>)>,
}

/// Metrics with the same labels.
struct Group {
    id: GroupId,
    /// `None`: all labels of the entry. Else which of [`Labels::sources`], in the order of the names.
    labels: Option<Vec<u16>>,
    metrics: Vec<Metric>,
    /// There is one metric, a counter of these lines.
    counted: Option<Counted>,
}

#[derive(Clone, Copy, PartialEq)]
enum Counted {
    All,
    /// Lines that have this value, whatever it reads.
    With(Slot),
}

/// What one metric does with a line.
struct Metric {
    source: Slot,
    value: Option<Vec<u8>>,
    action: Action,
}

impl Group {
    fn compile(members: &[&MetricConfig], known: &mut Labels, scope: &mut Scope<'_>) -> Option<Self> {
        let first = members.first()?;
        let mut families = Vec::new();
        for metric in members {
            let family = Family {
                name: metric.name.value.clone(),
                help: metric.description.clone(),
                kind: metric.kind.clone(),
                max_idle: Some(metric.max_idle),
            };
            match scope.series.define(family) {
                Ok(id) => families.push(id),
                Err(conflict) => {
                    scope
                        .diagnostics
                        .error(metric.name.span, conflict.to_string())
                        .help("two metrics of one name must have the same type and buckets");
                    return None;
                }
            }
        }
        let limit = first.limits.compile(scope);
        let id = scope.series.group(&families, limit);
        let labels = first.labels.as_ref().map(|labels| {
            let mut sorted: Vec<_> = labels.iter().collect();
            sorted.sort_by(|a, b| a.0.value.cmp(&b.0.value));
            sorted
                .into_iter()
                .map(|(label, source)| {
                    let source = if source.value.is_empty() { &label.value } else { &source.value };
                    known.source(scope.series.label_name(&label.value), scope.slot(source), scope.label(source))
                })
                .collect()
        });
        let metrics = members.iter().map(|metric| Metric {
            source: scope.slot(&metric.source),
            value: metric.value.clone().map(String::into_bytes),
            action: metric.action,
        });
        let metrics: Vec<_> = metrics.collect();
        let counted = match (&metrics[..], &first.kind) {
            ([Metric { action: Action::CountLine, .. }], Kind::Counter) => Some(Counted::All),
            ([Metric { action: Action::Inc, value: None, source }], Kind::Counter) => Some(Counted::With(*source)),
            _ => None,
        };
        Some(Group { id, labels, metrics, counted })
    }
}

impl Run for Metrics {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        self.labels.next_line();
        context.series.set_now(context.now);
        for counters in &self.counters {
            if counters.counted.counts(record) {
                self.labels.make_ready(record, context.series);
                for (group, labels) in &counters.groups {
                    context.series.count(*group, self.labels.some(labels));
                }
            }
        }
        self.groups.iter().for_each(|group| group.count(&mut self.labels, record, context));
        Flow::Next
    }
}

impl Counters {
    fn of(all: &mut Vec<Counters>, counted: Counted) -> &mut Counters {
        let known = all.iter().position(|known| known.counted == counted);
        if known.is_none() {
            all.push(Counters { counted, groups: Vec::new() });
        }
        let at = known.unwrap_or(all.len() - 1);
        &mut all[at]
    }
}

impl Counted {
    /// Whether the line is one of them.
    #[inline]
    fn counts(self, record: &Record<'_>) -> bool {
        match self {
            Counted::All => true,
            Counted::With(source) => record.value(source).is_present(),
        }
    }
}

impl Group {
    fn count(&self, labels: &mut Labels, record: &mut Record<'_>, context: &mut Context<'_>) {
        match self.counted {
            None => self.update(labels, record, context),
            Some(counted) if counted.counts(record) => context.series.count(self.id, record.series_labels(context.series)),
            Some(_) => {}
        }
    }

    #[inline(never)]
    fn update(&self, labels: &mut Labels, record: &mut Record<'_>, context: &mut Context<'_>) {
        // The row is looked up for the first metric that this line touches.
        let mut metrics = self.metrics.iter().enumerate();
        let first = metrics.find_map(|(at, metric)| Some((at, metric.change(record)?)));
        let Some((mut at, mut change)) = first else { return };
        let labels = labels.of(self.labels.as_deref(), record, context.series);
        let mut cells = context.series.cells_of(self.id, labels);
        loop {
            // What a cell refuses (a negative number for a counter), the store counts.
            let _ = cells.update(at, change);
            let next = metrics.find_map(|(at, metric)| Some((at, metric.change(record)?)));
            let Some(next) = next else { return };
            (at, change) = next;
        }
    }
}

impl Metric {
    /// What a line does to the metric; nothing when it does not concern it.
    #[inline(always)]
    fn change(&self, record: &mut Record<'_>) -> Option<Update> {
        match self.action {
            Action::CountLine => return Some(Update::Inc),
            Action::CountBytes => return Some(Update::Add(record.line().len() as f64)),
            _ => {}
        }
        let value = record.value(self.source);
        if !value.is_present() || self.value.as_ref().is_some_and(|wanted| !reads(record, value, wanted)) {
            return None;
        }
        // As in Promtail, `inc` needs no value: a field that is there without one counts.
        match self.action {
            Action::Inc => Some(Update::Inc),
            Action::Dec => Some(Update::Sub(1.0)),
            Action::Add => record.number(self.source).map(Update::Add),
            Action::Sub => record.number(self.source).map(Update::Sub),
            Action::Set => record.number(self.source).map(Update::Set),
            Action::Observe => record.number(self.source).map(Update::Observe),
            Action::CountLine | Action::CountBytes | Action::Nothing => None,
        }
    }
}

/// Whether a value reads exactly so.
#[inline]
fn reads(record: &mut Record<'_>, value: Value, wanted: &[u8]) -> bool {
    match value {
        Value::Text(text) => is_same(record.bytes(text), wanted),
        // Such as a status: it reads as it is written.
        Value::Number(raw) if is_plain(record.bytes(raw)) => is_same(record.bytes(raw), wanted),
        value => record.value_text(value).is_some_and(|text| record.bytes(text) == wanted),
    }
}

/// Whether a number is a whole one of three digits at most, as it is printed.
#[inline]
fn is_plain(number: &[u8]) -> bool {
    matches!(number, [b'1'..=b'9'] | [b'1'..=b'9', b'0'..=b'9'] | [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'])
}
