//! `match`: stages for the lines that a LogQL selector chooses, or an end for them.
//!
//! Lines keep their order: those that do not match simply skip the inner stages. (In Promtail they overtake.)

use super::{AnyConfig, Flow, Held, Run, Stage, StageConfig, When, compile_stages, first_due, read_stages, release_from, run};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, LabelId, Origin, ReasonId, Record, Scope, Text, Value};
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
        let asked = |m: &Matcher| Asked { label: scope.label(&m.name), matcher: m.clone(), known: None };
        Some(Match {
            matchers: self.selector.matchers.iter().map(asked).collect(),
            filters: self.selector.filters.clone(),
            drop: self.drop_reason.as_ref().map(|reason| scope.reason(reason)),
            stages: compile_stages(&self.stages, scope)?,
        })
    }
}

pub struct Match {
    matchers: Vec<Asked>,
    filters: Vec<LineFilter>,
    drop: Option<ReasonId>,
    stages: Vec<Stage>,
}

impl Run for Match {
    #[inline]
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        if !self.chooses(record) {
            return Flow::Next;
        }
        match self.drop {
            Some(reason) => Flow::Drop(reason),
            None => {
                // The inner stages are a pipeline of their own in Promtail, and each begins with its labels as values.
                for &(label, slot) in &record.binding().namesakes {
                    let Some(text) = record.label(label) else { continue };
                    record.set_value(slot, Value::Text(text));
                }
                run(&mut self.stages, record, context)
            }
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

    #[inline]
    fn chooses(&mut self, record: &Record<'_>) -> bool {
        self.matchers.iter_mut().all(|asked| asked.holds(record))
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

/// A condition on a label, and the last answer that lasts.
struct Asked {
    label: LabelId,
    matcher: Matcher,
    /// Most labels are those of the target, or constants of the pipeline: the same places then hold the same bytes for as
    /// long as the source is bound.
    known: Option<(Origin, Option<Text>, bool)>,
}

impl Asked {
    #[inline]
    fn holds(&mut self, record: &Record<'_>) -> bool {
        let (origin, label) = (record.binding().origin(), record.label(self.label));
        match self.known {
            Some((known_origin, known, answer)) if known_origin == origin && known == label => answer,
            _ => self.ask(record, origin, label),
        }
    }

    #[cold]
    fn ask(&mut self, record: &Record<'_>, origin: Origin, label: Option<Text>) -> bool {
        // A label that is not set reads as the empty text, as in LogQL.
        let answer = self.matcher.matches(label.map_or(b"", |text| record.bytes(text)));
        if label.is_none_or(Text::lasts) {
            self.known = Some((origin, label, answer));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::bench::{World, bind, cri};
    use proptest::prelude::*;

    const STAGES: &str = r#"
- cri: {}
- json: {expressions: {app: }}
- labels: {app: }
- match: {selector: '{source=~"nested.*|b", stream="stderr"}', action: drop, drop_counter_reason: stderr}
- match: {selector: '{app="x"}', action: drop, drop_counter_reason: app}
"#;
    const SOURCES: [&str; 3] = ["a", "b", "nested-1"];

    proptest! {
        #[test]
        fn an_answer_is_remembered_for_what_it_was_given(
            lines in prop::collection::vec((0..3usize, any::<bool>(), "x|y|xx|", 0..12usize), 1..60),
        ) {
            let mut world = World::new(STAGES);
            let mut bound = [0, 1, 2];
            let mut wanted = [0, 0];
            for (source, is_stderr, app, other) in lines {
                // Now and then another source takes the place of this one.
                if other < SOURCES.len() {
                    let id = world.ids[source];
                    world.with(|pipeline, context, output| pipeline.unbind(id, context, output));
                    world.ids[source] = bind(&mut world.pipeline, &mut world.series, SOURCES[other]);
                    bound[source] = other;
                }
                let by_stream = is_stderr && bound[source] > 0;
                wanted[0] += u64::from(by_stream);
                wanted[1] += u64::from(!by_stream && app == "x");
                let stream = if is_stderr { "stderr" } else { "stdout" };
                world.line(source, cri(stream, "F", &format!(r#"{{"app":"{app}"}}"#)).as_bytes());
            }
            let reasons: Vec<&str> = world.pipeline.reasons().collect();
            let dropped = |name: &str| {
                let at = reasons.iter().position(|reason| *reason == name);
                at.map_or(0, |at| world.pipeline.counts().dropped[at])
            };
            prop_assert_eq!([dropped("stderr"), dropped("app")], wanted);
        }
    }
}
