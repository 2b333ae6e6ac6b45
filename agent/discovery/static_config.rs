//! `static_configs`: targets that the configuration names itself.

use super::glob::Glob;
use super::target::{PATH, PATH_EXCLUDE};
use crate::diagnostic::Diagnostics;
use crate::labels::{Labels, is_label_name};
use crate::yaml::{Fields, FromNode, Node, Spanned};

/// One item of `static_configs`.
#[derive(Clone, Debug)]
pub struct StaticConfig {
    /// Addresses, one target each; `localhost` if there are none. Files do not care for them, relabel rules may.
    pub targets: Vec<String>,
    /// Labels of each target, `__path__` among them.
    pub labels: Labels,
}

impl FromNode for StaticConfig {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "a static config", diagnostics)?;
        let before = diagnostics.errors();
        let targets = fields.or("targets", Vec::new(), diagnostics);
        let pairs: Vec<(Spanned<String>, Spanned<String>)> = fields.or("labels", Vec::new(), diagnostics);
        fields.finish(diagnostics);
        for (name, value) in &pairs {
            if !is_label_name(&name.value) {
                diagnostics
                    .error(name.span, format!("`{}` is not a valid label name", name.value))
                    .help("a label's name has letters, digits and `_`, and no digit in front");
            }
            if matches!(name.value.as_str(), PATH | PATH_EXCLUDE)
                && !value.value.is_empty()
                && let Err(reason) = Glob::compile(&value.value)
            {
                diagnostics
                    .error(value.span, format!("not a glob: {reason}"))
                    .help(r"write a path with `*`, `**`, `?`, `[a-z]`, `{a,b}`; `\` takes a character literally");
            }
        }
        let labels = pairs.into_iter().map(|(name, value)| (name.value, value.value)).collect();
        (diagnostics.errors() == before).then_some(StaticConfig { targets, labels })
    }
}

impl StaticConfig {
    /// The targets' labels before relabelling.
    pub fn discover(&self) -> Vec<Labels> {
        let localhost = ["localhost".to_string()];
        let targets = if self.targets.is_empty() { &localhost[..] } else { &self.targets };
        let target = |address: &String| {
            let mut labels = self.labels.clone();
            labels.set("__address__", address.as_str());
            labels
        };
        targets.iter().map(target).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn read(text: &str) -> (Option<StaticConfig>, String) {
        let mut diagnostics = Diagnostics::new();
        let node = parse(text, &mut diagnostics).unwrap();
        let config = StaticConfig::from_node(&node, &mut diagnostics);
        (config, diagnostics.sorted().iter().map(|d| d.render("f", text)).collect())
    }

    #[test]
    fn without_targets_there_is_localhost() {
        let discover = |text| read(text).0.unwrap().discover().iter().map(Labels::to_string).collect::<Vec<_>>();
        assert_eq!(discover("labels: {job: a, n: 1}\n"), [r#"{__address__="localhost", job="a", n="1"}"#]);
        assert_eq!(discover("targets: [x, y]\n"), [r#"{__address__="x"}"#, r#"{__address__="y"}"#]);
    }

    #[test]
    fn mistakes_are_reported_at_their_place() {
        for (text, expected) in [
            ("labels: {a-b: x}\n", "f:1:10: error: `a-b` is not a valid label name"),
            ("labels:\n  __path__: '/var/{a'\n", "f:2:13: error: not a glob: a `{` is not closed"),
            ("job: a\n", "unknown key `job` in a static config"),
        ] {
            let (config, report) = read(text);
            assert!(config.is_none() && report.contains(expected), "{text}: {report}");
        }
    }
}
