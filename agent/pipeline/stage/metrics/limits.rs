//! The keys of a metric that bound its series: `max_series`, `overflow_labels` and `max_values`.

use crate::diagnostic::{Diagnostics, did_you_mean};
use crate::metrics::{CAPPED_LABELS_MAX, Limit};
use crate::pipeline::Scope;
use crate::yaml::{Fields, FromNode, Node, Spanned, Value as Yaml};

#[derive(Debug, Default, PartialEq)]
pub struct LimitsConfig {
    /// `None`: the configuration's default.
    series_max: Option<u64>,
    overflow_labels: Vec<String>,
    /// Label → its distinct values.
    values_max: Vec<(String, u64)>,
}

impl LimitsConfig {
    /// `labels`: those of the metric, where it names them.
    pub fn read(fields: &mut Fields<'_>, labels: Option<&[(Spanned<String>, Spanned<String>)]>, d: &mut Diagnostics) -> Self {
        let overflow: Vec<Spanned<String>> = fields.or("overflow_labels", Vec::new(), d);
        let ValuesMax(values) = fields.or("max_values", ValuesMax::default(), d);
        for label in overflow.iter().chain(values.iter().map(|(label, _)| label)) {
            check_label(label, labels, d);
        }
        if let Some(span) = fields.key_span("max_values").filter(|_| values.len() > CAPPED_LABELS_MAX) {
            d.error(span, format!("`max_values` is for up to {CAPPED_LABELS_MAX} labels of a metric"));
        }
        LimitsConfig {
            series_max: fields.optional("max_series", d),
            overflow_labels: overflow.into_iter().map(|label| label.value).collect(),
            values_max: values.into_iter().map(|(label, max)| (label.value, max)).collect(),
        }
    }

    pub fn compile(&self, scope: &mut Scope<'_>) -> Limit {
        let count = |count: u64| usize::try_from(count.max(1)).unwrap_or(usize::MAX);
        let values_max = self.values_max.iter().map(|(label, max)| (scope.series.label_name(label), count(*max)));
        Limit {
            values_max: values_max.collect(),
            overflow: self.overflow_labels.iter().map(|label| scope.series.label_name(label)).collect(),
            series_max: count(self.series_max.unwrap_or(scope.series_max)),
        }
    }
}

fn check_label(
    label: &Spanned<String>,
    labels: Option<&[(Spanned<String>, Spanned<String>)]>,
    d: &mut Diagnostics,
) {
    let Some(labels) = labels.filter(|labels| !labels.iter().any(|(known, _)| known.value == label.value)) else { return };
    let finding = d.error(label.span, format!("`{}` is no label of this metric", label.value));
    if let Some(near) = did_you_mean(&label.value, labels.iter().map(|(known, _)| known.value.as_str())) {
        finding.help(format!("did you mean `{near}`?"));
    }
}

#[derive(Debug, Default)]
struct ValuesMax(Vec<(Spanned<String>, u64)>);

impl FromNode for ValuesMax {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let Yaml::Map(entries) = &node.value else {
            d.error(node.span, "`max_values` is a map of labels to the number of their values");
            return None;
        };
        let mut read = Vec::new();
        for (label, max) in entries {
            let Some(count) = u64::from_node(max, d) else { continue };
            if count == 0 {
                d.error(max.span, "a label has at least 1 value");
            }
            read.push((Spanned { value: label.text().unwrap_or_default().to_string(), span: label.span }, count));
        }
        Some(ValuesMax(read))
    }
}
