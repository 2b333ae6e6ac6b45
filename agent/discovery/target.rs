//! From discovered labels to targets: relabelling, and Promtail's rules for what follows it.

use super::glob::{Expansion, Glob};
use super::tree::Tree;
use crate::labels::Labels;
use crate::relabel::{Rules, Verdict};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The label that says which files; a glob.
pub const PATH: &str = "__path__";
/// The label that says which of them not; a glob.
pub const PATH_EXCLUDE: &str = "__path_exclude__";
/// The label that says which run of a container a log is of: its path is known, whether or not a file stands there.
pub const RESTART: &str = "__meta_weir_container_restart";
/// The label by which a pod's owner says that nobody is to read its logs: the annotation `weir.dev/ignore: "true"`.
const IGNORE: &str = "__meta_kubernetes_pod_annotation_weir_dev_ignore";
/// The label that says on which machine they are.
const HOST: &str = "__host__";

/// Files that one scrape config reads under one set of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// What its entries carry: the labels after relabelling, without those that begin with `__`. `filename` is the
    /// source's to add.
    pub labels: Labels,
    /// The labels before relabelling, for people.
    pub discovered: Arc<Labels>,
    pub path: Glob,
    pub exclude: Option<Glob>,
}

/// A target's identity, which is Promtail's: its globs and its labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    path: String,
    exclude: Option<String>,
    labels: Labels,
}

/// Why a discovered target is none. The names but `ignored` are Promtail's, of `promtail_targets_failed_total{reason}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Its pod has the annotation `weir.dev/ignore: "true"`.
    Ignored,
    /// A relabel rule dropped it.
    Dropped,
    /// Its `__host__` is another machine.
    WrongHost,
    /// It has no `__path__`.
    NoPath,
    /// Another one has the same path, exclusion and labels.
    Exists,
    /// Its `__path__` or `__path_exclude__` is no glob.
    Error,
}

impl DropReason {
    pub const ALL: [DropReason; 6] = [
        DropReason::Ignored,
        DropReason::Dropped,
        DropReason::WrongHost,
        DropReason::NoPath,
        DropReason::Exists,
        DropReason::Error,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::Ignored => "ignored",
            DropReason::Dropped => "dropped",
            DropReason::WrongHost => "wrong_host",
            DropReason::NoPath => "no_path",
            DropReason::Exists => "exists",
            DropReason::Error => "error",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct DroppedTarget {
    /// The labels before relabelling.
    pub discovered: Arc<Labels>,
    pub reason: DropReason,
}

impl Target {
    /// What the discovered labels become under the rules on the machine of that name. Whether the target exists
    /// already is not known here.
    pub fn from_labels(discovered: &Arc<Labels>, rules: &Rules, hostname: &str) -> Result<Target, DropReason> {
        if discovered.get(IGNORE) == "true" {
            return Err(DropReason::Ignored);
        }
        let mut labels = Labels::clone(discovered);
        if rules.apply(&mut labels) == Verdict::Drop || labels.is_empty() {
            return Err(DropReason::Dropped);
        }
        if labels.contains(HOST) && labels.get(HOST) != hostname {
            return Err(DropReason::WrongHost);
        }
        if !labels.contains(PATH) {
            return Err(DropReason::NoPath);
        }
        let glob = |text: &str| Glob::compile(text).map_err(|_| DropReason::Error);
        let path = glob(labels.get(PATH))?;
        let exclude = Some(labels.get(PATH_EXCLUDE)).filter(|text| !text.is_empty()).map(glob).transpose()?;
        labels.retain(|name, _| !name.starts_with("__"));
        Ok(Target { labels, discovered: Arc::clone(discovered), path, exclude })
    }

    /// What makes this target itself: by it the same target is known again in the next look.
    pub fn key(&self) -> TargetKey {
        let exclude = self.exclude.as_ref().map(|glob| glob.as_str().to_string());
        TargetKey { path: self.path.as_str().to_string(), exclude, labels: self.labels.clone() }
    }

    /// The files that are there now; and the log of a run of a container, of which there may be rotated files only.
    pub fn files(&self, tree: &dyn Tree) -> Expansion {
        let mut found = self.path.expand(tree);
        found.files.retain(|file| !self.exclude.as_ref().is_some_and(|exclude| exclude.matches(file)));
        if self.discovered.contains(RESTART) {
            let log = PathBuf::from(Glob::unescape(self.discovered.get(PATH)));
            if !found.files.contains(&log) && self.matches(&log) {
                found.files.push(log);
                found.files.sort();
            }
        }
        found
    }

    /// Whether a file, new perhaps, is one of this target's.
    pub fn matches(&self, file: &Path) -> bool {
        self.path.matches(file) && !self.exclude.as_ref().is_some_and(|exclude| exclude.matches(file))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::PaperTree;
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::yaml::{FromNode, parse};

    fn rules(text: &str) -> Rules {
        let mut diagnostics = Diagnostics::new();
        let node = parse(text, &mut diagnostics).unwrap();
        let configs = Vec::from_node(&node, &mut diagnostics).unwrap();
        Rules::compile(&configs, &mut diagnostics).unwrap()
    }

    fn labels(text: &str) -> Labels {
        text.split_whitespace().filter_map(|pair| pair.split_once('=')).collect()
    }

    #[test]
    fn promtails_rules_decide_in_its_order() {
        let rules = rules("- {source_labels: [drop], regex: yes, action: drop}\n");
        for (discovered, expected) in [
            ("drop=yes __path__=/a __meta_kubernetes_pod_annotation_weir_dev_ignore=true", Err(DropReason::Ignored)),
            ("__path__=/a __meta_kubernetes_pod_annotation_weir_dev_ignore=no", Ok("{}")),
            ("drop=yes __path__=/a", Err(DropReason::Dropped)),
            ("", Err(DropReason::Dropped)),
            ("__host__=other", Err(DropReason::WrongHost)),
            ("__host__=here", Err(DropReason::NoPath)),
            ("__path__= a=1", Err(DropReason::NoPath)),
            ("__path__=/a[", Err(DropReason::Error)),
            ("__path__=/a __path_exclude__=/{", Err(DropReason::Error)),
            ("__path__=/a __host__=here job=x empty= __tenant_id__=t", Ok("{job=\"x\"}")),
        ] {
            let target = Target::from_labels(&labels(discovered).into(), &rules, "here");
            assert_eq!(target.map(|target| target.labels.to_string()), expected.map(str::to_string), "{discovered}");
        }
    }

    #[test]
    fn the_log_of_a_run_is_wanted_without_a_file_unless_the_rules_say_otherwise() {
        let log = "/p[1]/ns_a_1/app/1.log";
        let tree = PaperTree::of(&["/p[1]/ns_a_1/app/1.log.20260101-000000", "/p[1]/ns_a_1/app/2.log"]);
        for (rules_text, wanted) in [
            ("[]\n", &[log][..]),
            ("- {target_label: __path__, replacement: '/p\\[1\\]/*/app/*.log'}\n", &[log, "/p[1]/ns_a_1/app/2.log"]),
            ("- {target_label: __path__, replacement: '/elsewhere/*.log'}\n", &[]),
            ("- {target_label: __path_exclude__, replacement: '/**/1.log'}\n", &[]),
        ] {
            let mut discovered: Labels = [(PATH, Glob::escape(log).as_str()), (RESTART, "1")].into_iter().collect();
            let target = Target::from_labels(&discovered.clone().into(), &rules(rules_text), "").unwrap();
            let wanted: Vec<PathBuf> = wanted.iter().map(PathBuf::from).collect();
            assert_eq!(target.files(&tree).files, wanted, "{rules_text}");
            discovered.retain(|name, _| name != RESTART);
            let target = Target::from_labels(&discovered.into(), &rules(rules_text), "").unwrap();
            assert!(!target.files(&tree).files.contains(&PathBuf::from(log)), "any other target: {rules_text}");
        }
    }

    #[test]
    fn excluded_files_are_left_out() {
        let discovered = labels("__path__=/l/*.log __path_exclude__=/l/{a,b}*.log").into();
        let target = Target::from_labels(&discovered, &Rules::default(), "").unwrap();
        let tree = PaperTree::of(&["/l/a1.log", "/l/c.log", "/l/b.log"]);
        assert_eq!(target.files(&tree).files, [std::path::PathBuf::from("/l/c.log")]);
        assert!(target.matches("/l/d.log".as_ref()) && !target.matches("/l/b2.log".as_ref()));
    }
}
