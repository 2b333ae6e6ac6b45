//! What the user wrote under `relabel_configs`, and Prometheus' checks of it.

use super::{Operation, Rule};
use crate::diagnostic::{Diagnostics, did_you_mean};
use crate::labels::is_label_name;
use crate::pattern::{Anchoring, Expansion, Pattern};
use crate::span::Span;
use crate::yaml::{Fields, FromNode, Node, Spanned};

const SEPARATOR: &str = ";";
const REPLACEMENT: &str = "$1";
const REGEX: &str = "(.*)";

/// What a rule does; the names are Prometheus', in any case of letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    #[default]
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    const ALL: [(&'static str, Action); 11] = [
        ("replace", Action::Replace),
        ("keep", Action::Keep),
        ("drop", Action::Drop),
        ("keepequal", Action::KeepEqual),
        ("dropequal", Action::DropEqual),
        ("hashmod", Action::HashMod),
        ("labelmap", Action::LabelMap),
        ("labeldrop", Action::LabelDrop),
        ("labelkeep", Action::LabelKeep),
        ("lowercase", Action::Lowercase),
        ("uppercase", Action::Uppercase),
    ];

    pub fn name(self) -> &'static str {
        Action::ALL.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

impl FromNode for Action {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = String::from_node(node, diagnostics)?.to_lowercase();
        let found = Action::ALL.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names = Action::ALL.map(|(name, _)| name);
            let help = match did_you_mean(&text, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("actions: {}", names.join(", ")),
            };
            diagnostics.error(node.span, format!("unknown relabel action `{text}`")).help(help);
        }
        found.map(|(_, action)| *action)
    }
}

/// One item of `relabel_configs`. A key that is not there has Prometheus' default.
#[derive(Clone, Debug)]
pub struct RelabelConfig {
    /// Where the item stands.
    pub span: Span,
    pub action: Action,
    /// Nothing when the key is missing, which `labeldrop` and `labelkeep` tell from an empty list.
    pub source_labels: Option<Vec<Spanned<String>>>,
    pub separator: String,
    pub target_label: Spanned<String>,
    pub regex: Option<Spanned<String>>,
    /// For `hashmod`: 1 or more.
    pub modulus: u64,
    pub replacement: Spanned<String>,
}

/// A text in which null is the empty text, as Promtail's reader makes it: `regex:` with nothing behind it matches the
/// empty text and nothing else.
fn nullable(fields: &mut Fields<'_>, key: &'static str, diagnostics: &mut Diagnostics) -> Option<Spanned<String>> {
    let node = fields.node(key)?;
    if node.is_null() {
        return Some(Spanned { value: String::new(), span: node.span });
    }
    Spanned::from_node(node, diagnostics)
}

impl FromNode for RelabelConfig {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "a relabel rule", diagnostics)?;
        let span = fields.span();
        let default = |text: &str| Spanned { value: text.to_string(), span };
        let before = diagnostics.errors();
        let action = fields.or("action", Action::Replace, diagnostics);
        let source_labels = fields.optional("source_labels", diagnostics);
        let separator = nullable(&mut fields, "separator", diagnostics);
        let target_label = nullable(&mut fields, "target_label", diagnostics);
        let regex = nullable(&mut fields, "regex", diagnostics);
        let modulus = fields.or("modulus", 0, diagnostics);
        let replacement = nullable(&mut fields, "replacement", diagnostics);
        fields.finish(diagnostics);
        (diagnostics.errors() == before).then(|| RelabelConfig {
            span,
            action,
            source_labels,
            separator: separator.map_or(SEPARATOR.to_string(), |text| text.value),
            target_label: target_label.unwrap_or(default("")),
            regex,
            modulus,
            replacement: replacement.unwrap_or(default(REPLACEMENT)),
        })
    }
}

impl RelabelConfig {
    /// The rule that runs; nothing, and the reasons reported, where Prometheus would refuse it.
    pub(super) fn compile(&self, diagnostics: &mut Diagnostics) -> Option<Rule> {
        self.warn_of_impossible_sources(diagnostics);
        self.check(diagnostics)?;
        let pattern = self.pattern(diagnostics)?;
        let target = self.target_label.value.clone();
        let template = |text: &str| Expansion::compile(text, &pattern);
        let operation = match self.action {
            Action::Replace => Operation::Replace {
                target: template(&target),
                replacement: template(&self.replacement.value),
                pattern,
            },
            Action::Keep => Operation::Keep(pattern),
            Action::Drop => Operation::Drop(pattern),
            Action::KeepEqual => Operation::KeepEqual { target },
            Action::DropEqual => Operation::DropEqual { target },
            Action::HashMod => Operation::HashMod { target, modulus: self.modulus },
            Action::LabelMap => Operation::LabelMap { replacement: template(&self.replacement.value), pattern },
            Action::LabelDrop => Operation::LabelDrop(pattern),
            Action::LabelKeep => Operation::LabelKeep(pattern),
            Action::Lowercase => Operation::Lowercase { target },
            Action::Uppercase => Operation::Uppercase { target },
        };
        let source_labels = self.source_labels.iter().flatten().map(|label| label.value.clone()).collect();
        Some(Rule { source_labels, separator: self.separator.clone(), operation })
    }

    fn pattern(&self, diagnostics: &mut Diagnostics) -> Option<Pattern> {
        let (text, span) = match &self.regex {
            Some(regex) => (regex.value.as_str(), regex.span),
            None => (REGEX, self.span),
        };
        Pattern::compile(text, Anchoring::Whole)
            .inspect_err(|reason| {
                diagnostics
                    .error(span, format!("not a regular expression: {reason}"))
                    .help("write one of Go's (RE2) syntax; it must match the whole value");
            })
            .ok()
    }

    fn warn_of_impossible_sources(&self, diagnostics: &mut Diagnostics) {
        for label in self.source_labels.iter().flatten().filter(|label| !is_label_name(&label.value)) {
            diagnostics
                .warning(label.span, format!("no label can be named `{}`: it always reads as empty", label.value))
                .help(format!("discovery writes `{}`", crate::labels::sanitize_label_name(&label.value)));
        }
    }

    /// The checks that Prometheus makes, each under its own wording.
    fn check(&self, diagnostics: &mut Diagnostics) -> Option<()> {
        use Action::*;
        let (action, name) = (self.action, self.action.name());
        let target = &self.target_label;
        let mut refuse = |span, message: String, help: &str| {
            diagnostics.error(span, message).help(help);
            None
        };
        if action == HashMod && self.modulus == 0 {
            let message = "relabel configuration for hashmod requires non-zero modulus".into();
            return refuse(self.span, message, "write `modulus: 8`, or how many parts there are");
        }
        let writes = matches!(action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
        if writes && target.value.is_empty() {
            let message = format!("relabel configuration for {name} action requires 'target_label' value");
            return refuse(self.span, message, "add `target_label:` with a label's name");
        }
        let templated = action == Replace && target.value.contains('$');
        if writes && !(if templated { is_name_template(&target.value) } else { is_label_name(&target.value) }) {
            let message = format!("`{}` is invalid 'target_label' for {name} action", target.value);
            return refuse(target.span, message, "a label's name has letters, digits and `_`, and no digit in front");
        }
        let replacement = &self.replacement;
        if matches!(action, Lowercase | Uppercase | KeepEqual | DropEqual) && replacement.value != REPLACEMENT {
            let message = format!("'replacement' can not be set for {name} action");
            return refuse(replacement.span, message, "remove `replacement`");
        }
        if action == LabelMap && !is_name_template(&replacement.value) {
            let message = format!("`{}` is invalid 'replacement' for {name} action", replacement.value);
            return refuse(replacement.span, message, "write the new name, such as `$1` or `pod_$1`");
        }
        let plain = self.modulus == 0 && self.separator == SEPARATOR && replacement.value == REPLACEMENT;
        if matches!(action, DropEqual | KeepEqual) && !(plain && self.regex.is_none()) {
            let message =
                format!("{name} action requires only 'source_labels' and `target_label`, and no other fields");
            return refuse(self.span, message, "remove the other keys");
        }
        let sourceless = self.source_labels.is_none() && target.value.is_empty();
        if matches!(action, LabelDrop | LabelKeep) && !(plain && sourceless) {
            let message = format!("{name} action requires only 'regex', and no other fields");
            return refuse(self.span, message, "remove the other keys: it looks at the names of all labels");
        }
        Some(())
    }
}

/// Whether a text with `$1` or `${name}` in it may become a label's name (Prometheus' `relabelTarget`).
fn is_name_template(text: &str) -> bool {
    Pattern::compile(r"(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+", Anchoring::Whole)
        .is_ok_and(|name| name.is_match(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::Rules;
    use super::*;
    use crate::yaml::parse;

    fn report(text: &str) -> String {
        let mut diagnostics = Diagnostics::new();
        let node = parse(text, &mut diagnostics).unwrap();
        if let Some(configs) = Vec::<RelabelConfig>::from_node(&node, &mut diagnostics) {
            Rules::compile(&configs, &mut diagnostics);
        }
        diagnostics.sorted().iter().map(|d| d.render("f", text)).collect()
    }

    #[test]
    fn what_prometheus_refuses_is_refused_at_its_place() {
        for (rule, expected) in [
            ("action: relpace", "f:1:11: error: unknown relabel action `relpace`"),
            ("source_labels: [a]", "f:1:3: error: relabel configuration for replace action requires 'target_label'"),
            ("{action: hashmod, target_label: a}", "requires non-zero modulus"),
            ("{action: hashmod, modulus: 2}", "for hashmod action requires 'target_label' value"),
            ("{target_label: a-b}", "f:1:18: error: `a-b` is invalid 'target_label' for replace action"),
            ("{target_label: 'a-${1}'}", "is invalid 'target_label' for replace action"),
            ("{target_label: '${'}", "is invalid 'target_label' for replace action"),
            ("{action: uppercase, target_label: '$1'}", "is invalid 'target_label' for uppercase action"),
            ("{action: lowercase, target_label: a, replacement: b}", "'replacement' can not be set for lowercase"),
            ("{action: labelmap, replacement: '-$1'}", "`-$1` is invalid 'replacement' for labelmap action"),
            ("{action: keepequal, target_label: a, regex: b}", "keepequal action requires only 'source_labels'"),
            ("{action: dropequal, target_label: a, modulus: 1}", "dropequal action requires only 'source_labels'"),
            ("{action: labeldrop, regex: b, source_labels: [a]}", "labeldrop action requires only 'regex'"),
            ("{action: labelkeep, regex: b, target_label: a}", "labelkeep action requires only 'regex'"),
            ("{target_label: a, regex: '(?=x)'}", "f:1:28: error: not a regular expression: it has look-around"),
            ("{target_label: a, source_label: b}", "did you mean `source_labels`?"),
            ("{target_label: a, source_labels: [b.c]}", "warning: no label can be named `b.c`"),
        ] {
            let text = format!("- {rule}\n");
            assert!(report(&text).contains(expected), "{rule}: {}", report(&text));
        }
    }

    #[test]
    fn what_prometheus_accepts_is_accepted() {
        for rule in [
            "{action: RePlace, target_label: 'label${1}'}",
            "{target_label: '${1}label_$name'}",
            "{action: KEEP}",
            "{regex: , replacement: static, target_label: abc}",
            "{action: labelmap, regex: __meta_(.+), replacement: '${1}'}",
            "{action: hashmod, source_labels: [a], target_label: b, modulus: 3}",
        ] {
            assert_eq!(report(&format!("- {rule}\n")), "", "{rule}");
        }
    }
}
