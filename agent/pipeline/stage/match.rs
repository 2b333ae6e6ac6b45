//! `match`: stages for the lines that a LogQL selector chooses, or an end for them.
//!
//! Lines keep their order: those that do not match simply skip the inner stages. (In Promtail they overtake.)

use super::{AnyConfig, Flow, Held, Run, Stage, StageConfig, When, compile_stages, first_due, read_stages, release_from, run};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, LabelId, ReasonId, Record, Scope};
use crate::selector::{LineFilter, Matcher, Selector};
use crate::yaml::{Fields, Node, Spanned};

#[derive(Debug)]
pub struct MatchConfig {
    pub selector: Selector,
    pub stages: Vec<AnyConfig>,
    /// `Some(reason)`: matching lines are dropped.
    pub drop_reason: Option<String>,
}

impl StageConfig for MatchConfig {
    type Stage = Match;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `match` stage", diagnostics)?;
        let span = fields.span();
        let selector = fields
            .required::<Spanned<String>>("selector", diagnostics)
            .and_then(|text| Selector::parse(&text.value, text.span, diagnostics));
        let stages_node = fields.node("stages").filter(|node| !node.is_null());
        let stages = stages_node.map_or(Vec::new(), |node| read_stages(node, diagnostics));
        let action = fields.optional::<Spanned<String>>("action", diagnostics);
        let reason = fields.or("drop_counter_reason", "match_stage".to_string(), diagnostics);
        let _name = fields.optional::<String>("pipeline_name", diagnostics);
        fields.finish(diagnostics);
        let selector = selector?;
        let drop_reason = match action.as_ref().map_or("keep", |a| a.value.as_str()) {
            "keep" if stages_node.is_none() => {
                diagnostics.error(span, "the `match` stage needs `stages`, or `action: drop`");
                return None;
            }
            "keep" => None,
            "drop" if stages_node.is_some() => {
                diagnostics.error(span, "a `match` stage with `action: drop` takes no `stages`");
                return None;
            }
            "drop" => Some(reason),
            other => {
                let at = action.as_ref().map_or(span, |a| a.span);
                diagnostics.error(at, format!("unknown action `{other}`")).help("`keep` or `drop`");
                return None;
            }
        };
        Some(MatchConfig { selector, stages, drop_reason })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Match> {
        let matchers = self.selector.matchers.iter().map(|m| (scope.label(&m.name), m.clone())).collect();
        Some(Match {
            matchers,
            filters: self.selector.filters.clone(),
            drop: self.drop_reason.as_ref().map(|reason| scope.reason(reason)),
            stages: compile_stages(&self.stages, scope)?,
        })
    }
}

pub struct Match {
    matchers: Vec<(LabelId, Matcher)>,
    filters: Vec<LineFilter>,
    drop: Option<ReasonId>,
    stages: Vec<Stage>,
}

impl Run for Match {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        if !self.chooses(record) {
            return Flow::Next;
        }
        match self.drop {
            Some(reason) => Flow::Drop(reason),
            None => run(&mut self.stages, record, context),
        }
    }

    fn due(&self, when: When) -> Option<Held> {
        first_due(&self.stages, when).map(|(_, held)| held)
    }
}

impl Match {
    pub(super) fn inner(&self) -> &[Stage] {
        &self.stages
    }

    pub(super) fn inner_mut(&mut self) -> &mut [Stage] {
        &mut self.stages
    }

    fn chooses(&self, record: &Record<'_>) -> bool {
        // A label that is not set reads as the empty text, as in LogQL.
        self.matchers.iter().all(|(label, m)| m.matches(record.label(*label).map_or(&b""[..], |t| record.bytes(t))))
            && self.filters.iter().all(|filter| filter.matches(record.line()))
    }

    /// Releases what [`due`](Run::due) named and runs it through the rest of the inner stages.
    pub(super) fn release_inner(
        &mut self,
        when: When,
        record: &mut Record<'_>,
        context: &mut Context<'_>,
    ) -> Flow {
        match first_due(&self.stages, when) {
            Some((at, _)) => release_from(&mut self.stages, at, when, record, context),
            None => Flow::Next,
        }
    }
}
