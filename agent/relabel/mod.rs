//! Relabelling: Prometheus' rules that rename, choose and drop targets by their labels.
//!
//! Exactly Prometheus' semantics (`relabel_config` of its configuration reference), with the label names of its
//! legacy scheme, since Loki knows no other.

mod config;

pub use config::{Action, RelabelConfig};

use crate::diagnostic::Diagnostics;
use crate::labels::{Labels, is_label_name};
use crate::pattern::{Expansion, Pattern};
use md5::{Digest, Md5};

/// What the rules decide of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    Drop,
}

/// The rules of one scrape config, in their order.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    source_labels: Vec<String>,
    separator: String,
    operation: Operation,
}

#[derive(Clone, Debug)]
enum Operation {
    Replace { pattern: Pattern, target: Expansion, replacement: Expansion },
    Keep(Pattern),
    Drop(Pattern),
    KeepEqual { target: String },
    DropEqual { target: String },
    HashMod { target: String, modulus: u64 },
    LabelMap { pattern: Pattern, replacement: Expansion },
    LabelDrop(Pattern),
    LabelKeep(Pattern),
    Lowercase { target: String },
    Uppercase { target: String },
}

impl Rules {
    /// Compiles all rules; nothing if one of them cannot run. Every mistake is reported.
    pub fn compile(configs: &[RelabelConfig], diagnostics: &mut Diagnostics) -> Option<Rules> {
        let compiled: Vec<_> = configs.iter().map(|config| config.compile(diagnostics)).collect();
        compiled.into_iter().collect::<Option<_>>().map(Rules)
    }

    /// Rewrites a label set. An empty value is a missing label, before and after. On [`Verdict::Drop`] the labels are
    /// as the last rule saw them.
    pub fn apply(&self, labels: &mut Labels) -> Verdict {
        labels.retain(|_, value| !value.is_empty());
        match self.0.iter().all(|rule| rule.apply(labels) == Verdict::Keep) {
            true => Verdict::Keep,
            false => Verdict::Drop,
        }
    }
}

impl Rule {
    fn apply(&self, labels: &mut Labels) -> Verdict {
        let values: Vec<&str> = self.source_labels.iter().map(|name| labels.get(name)).collect();
        let value = values.join(&self.separator);
        let keep_if = |keep| if keep { Verdict::Keep } else { Verdict::Drop };
        match &self.operation {
            Operation::Replace { pattern, target, replacement } => {
                replace(labels, &value, pattern, target, replacement)
            }
            Operation::Keep(pattern) => return keep_if(pattern.is_match(value.as_bytes())),
            Operation::Drop(pattern) => return keep_if(!pattern.is_match(value.as_bytes())),
            Operation::KeepEqual { target } => return keep_if(labels.get(target) == value),
            Operation::DropEqual { target } => return keep_if(labels.get(target) != value),
            Operation::HashMod { target, modulus } => {
                labels.set(target.as_str(), (hash(&value) % modulus).to_string());
            }
            Operation::LabelMap { pattern, replacement } => label_map(labels, pattern, replacement),
            Operation::LabelDrop(pattern) => labels.retain(|name, _| !pattern.is_match(name.as_bytes())),
            Operation::LabelKeep(pattern) => labels.retain(|name, _| pattern.is_match(name.as_bytes())),
            Operation::Lowercase { target } => put(labels, target, value.chars().map(lower).collect()),
            Operation::Uppercase { target } => put(labels, target, value.chars().map(upper).collect()),
        }
        Verdict::Keep
    }
}

fn replace(labels: &mut Labels, value: &str, pattern: &Pattern, target: &Expansion, replacement: &Expansion) {
    let mut captures = pattern.captures_buffer();
    if !pattern.captures(value.as_bytes(), &mut captures) {
        return;
    }
    let name = target.expand(value, &captures);
    if is_label_name(&name) {
        put(labels, &name, replacement.expand(value, &captures));
    }
}

/// Copies the labels whose names match to the names that the replacement makes of them. All names are those from
/// before: a copy is not matched again.
fn label_map(labels: &mut Labels, pattern: &Pattern, replacement: &Expansion) {
    let mut captures = pattern.captures_buffer();
    let mut copies = Vec::new();
    for (name, value) in labels.iter() {
        if pattern.captures(name.as_bytes(), &mut captures) {
            copies.push((replacement.expand(name, &captures), value.to_string()));
        }
    }
    for (name, value) in copies.into_iter().filter(|(name, _)| is_label_name(name)) {
        put(labels, &name, value);
    }
}

/// Sets a label; an empty value removes it.
fn put(labels: &mut Labels, name: &str, value: String) {
    if value.is_empty() {
        labels.remove(name);
    } else {
        labels.set(name, value);
    }
}

/// The last eight bytes of the MD5 sum, big-endian: which share of a sharded fleet takes a target.
fn hash(value: &str) -> u64 {
    Md5::digest(value.as_bytes())[8..].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Go maps one character to one: `İ` to `i`.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Go maps one character to one: `ß`, which Rust makes `SS`, stays.
fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{FromNode, parse};

    /// `a=b c=d`, and `-` for a dropped target.
    fn relabel(before: &str, rules: &str) -> String {
        let mut diagnostics = Diagnostics::new();
        let node = parse(rules, &mut diagnostics).unwrap();
        let configs = Vec::from_node(&node, &mut diagnostics).unwrap();
        let rules = Rules::compile(&configs, &mut diagnostics).unwrap_or_else(|| panic!("{diagnostics:?}"));
        let mut labels: Labels = before.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
        match rules.apply(&mut labels) {
            Verdict::Drop => "-".into(),
            Verdict::Keep => labels.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" "),
        }
    }

    #[test]
    fn replace_works_as_in_prometheus() {
        for (before, rule, after) in [
            (
                "a=foo b=bar",
                "{source_labels: [a], target_label: d, regex: f(.*), replacement: 'ch${1}-ch${1}'}",
                "a=foo b=bar d=choo-choo",
            ),
            ("a=foo b=bar", "{source_labels: [a, b], target_label: c}", "a=foo b=bar c=foo;bar"),
            ("a=foo b=bar", "{source_labels: [a, x, b], separator: '/', target_label: c}", "a=foo b=bar c=foo//bar"),
            ("a=foo", "{source_labels: [a], regex: oo, target_label: c, replacement: x}", "a=foo"),
            ("a=foo c=1", "{source_labels: [a], regex: foo, target_label: c, replacement: ''}", "a=foo"),
            ("a=foo c=1", "{source_labels: [x], target_label: c}", "a=foo"),
            ("a=foo", "{target_label: c, replacement: static}", "a=foo c=static"),
            ("a=foo c=1", "{regex: , source_labels: [a], target_label: c, replacement: x}", "a=foo c=1"),
            ("a=foo", "{regex: , source_labels: [x], target_label: c, replacement: x}", "a=foo c=x"),
            (
                "a=env-prod",
                "{source_labels: [a], regex: (.*)-(.*), target_label: 'is_$1', replacement: $2}",
                "a=env-prod is_env=prod",
            ),
            ("a=1x-prod", "{source_labels: [a], regex: (.*)-(.*), target_label: '${1}', replacement: $2}", "a=1x-prod"),
            ("a=foo", "{source_labels: [a], target_label: c, replacement: $1x}", "a=foo"),
            ("a=foo", "{source_labels: [a], target_label: c, replacement: '$$1'}", "a=foo c=$1"),
            ("a=foo", "{source_labels: [a], regex: '(?P<x>.).*', target_label: c, replacement: '$x'}", "a=foo c=f"),
        ] {
            assert_eq!(relabel(before, &format!("- {rule}\n")), after, "{rule}");
        }
    }

    #[test]
    fn the_other_actions_work_as_in_prometheus() {
        for (before, rule, after) in [
            ("a=foo", "{source_labels: [a], action: keep, regex: o}", "-"),
            ("a=foo", "{source_labels: [a], action: KEEP, regex: foo|x}", "a=foo"),
            ("a=foo", "{source_labels: [a], action: drop, regex: f.*}", "-"),
            ("a=foo", "{source_labels: [x], action: drop, regex: ''}", "-"),
            ("a=foo", "{source_labels: [a], action: drop, regex: o}", "a=foo"),
            ("a=1 b=1", "{source_labels: [a], action: keepequal, target_label: b}", "a=1 b=1"),
            ("a=1 b=2", "{source_labels: [a], action: KeepEqual, target_label: b}", "-"),
            ("a=1 b=1", "{source_labels: [a], action: dropequal, target_label: b}", "-"),
            ("a=1", "{source_labels: [x], action: dropequal, target_label: y}", "-"),
            ("a=foo b=bar", "{action: labeldrop, regex: a.*}", "b=bar"),
            ("a=foo b=bar", "{action: labelkeep, regex: a}", "a=foo"),
            ("a=FoO", "{source_labels: [a], action: lowercase, target_label: b}", "a=FoO b=foo"),
            ("a=straße", "{source_labels: [a], action: uppercase, target_label: a}", "a=STRAßE"),
            ("a=1 b=2", "{source_labels: [x], action: uppercase, target_label: b}", "a=1"),
            ("m_a=1 m_b=2 a=0", "{action: labelmap, regex: m_(.+)}", "a=1 b=2 m_a=1 m_b=2"),
            ("m_a=1", "{action: labelmap, regex: m_(.+), replacement: 'm_${1}_x'}", "m_a=1 m_a_x=1"),
            ("m_1=1", "{action: labelmap, regex: m_(.+)}", "m_1=1"),
        ] {
            assert_eq!(relabel(before, &format!("- {rule}\n")), after, "{rule}");
        }
    }

    #[test]
    fn hashmod_takes_the_last_eight_bytes_of_md5() {
        // printf foo | md5sum: acbd18db4cc2f85cedef654fccc4a4d8
        assert_eq!(hash("foo"), 0xedef_654f_ccc4_a4d8);
        let rule = "- {source_labels: [c], action: hashmod, target_label: d, modulus: 1000}\n";
        assert_eq!(relabel("c=foo", rule), format!("c=foo d={}", 0xedef_654f_ccc4_a4d8_u64 % 1000));
    }

    #[test]
    fn rules_see_what_the_ones_before_them_did() {
        let rules = r"
- {action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}
- {source_labels: [app, __meta_name], regex: '^;*([^;]+)(;.*)?$', target_label: app}
- {source_labels: [__meta_uid, __meta_container], separator: /, target_label: __path__, replacement: /var/log/pods/*$1/*.log}
- {source_labels: [app], action: drop, regex: ''}
- {action: labeldrop, regex: __meta_.+}
";
        let before = "__meta_name=web-1 __meta_uid=u __meta_container=c __meta_kubernetes_pod_label_tier=front";
        assert_eq!(relabel(before, rules), "__path__=/var/log/pods/*u/c/*.log app=web-1 tier=front");
        assert_eq!(relabel("x=1", rules), "-");
    }
}
