//! Discovery: which files a scrape config reads, and under which labels.
//!
//! Sources give label sets; the relabel rules and Promtail's own rules make targets of them, or drop them with a
//! reason; a target's globs give files. Nothing here opens a file or remembers one: it is asked again and again by
//! whoever reads, and answers from the file system as it is.

pub mod glob;
pub mod kubernetes;
pub mod pod_directory;
pub mod source_config;
pub mod static_config;
pub mod still;
pub mod target;
pub mod tree;

pub use glob::{Expansion, Glob};
pub use kubernetes::PodLists;
pub use source_config::SourceConfig;
pub use still::{Seen, StillTree};
pub use target::{DropReason, DroppedTarget, Target, TargetKey};
pub use tree::{Entry, HostTree, Kind, Tree};

use crate::labels::Labels;
use crate::relabel::Rules;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The targets of one scrape config.
#[derive(Debug)]
pub struct Discovery {
    sources: Vec<SourceConfig>,
    rules: Rules,
    hostname: String,
    /// What the sources gave last, and what became of it: the rules run again only when that changes.
    last: Option<(Vec<Arc<Labels>>, Arc<Found>)>,
}

/// What one look found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// In the order of discovery.
    pub targets: Vec<Target>,
    pub dropped: Vec<DroppedTarget>,
    /// Pod directories with names that are not the kubelet's.
    pub malformed: usize,
    /// Directories that could not be read, and why.
    pub unreadable: Vec<(PathBuf, io::ErrorKind)>,
    /// Whether a source gave more targets than its bound.
    pub truncated: bool,
    /// Whether a source does not know its targets yet: what is read of earlier ones may still be wanted.
    pub partial: bool,
}

impl Discovery {
    /// `hostname` is what `__host__` is compared with; see [`hostname`].
    pub fn new(sources: Vec<SourceConfig>, rules: Rules, hostname: impl Into<String>) -> Self {
        Discovery { sources, rules, hostname: hostname.into(), last: None }
    }

    /// Looks again. As long as nothing changes, the same `Arc` is returned. The only inputs beside the configuration are
    /// the tree and what is known of pods.
    pub fn refresh(&mut self, tree: &dyn Tree, pods: &PodLists) -> Arc<Found> {
        let mut found = Found::default();
        let discovered = self.discover(tree, pods, &mut found);
        if let Some((before, last)) = &self.last
            && *before == discovered
            && (last.malformed, last.truncated, last.partial) == (found.malformed, found.truncated, found.partial)
            && last.unreadable == found.unreadable
        {
            return last.clone();
        }
        self.decide(&discovered, &mut found);
        let found = Arc::new(found);
        self.last = Some((discovered, found.clone()));
        found
    }

    /// Whether the targets may change by themselves: static ones never do.
    pub fn is_dynamic(&self) -> bool {
        self.sources.iter().any(|source| !matches!(source, SourceConfig::Static(_)))
    }

    fn discover(&self, tree: &dyn Tree, pods: &PodLists, found: &mut Found) -> Vec<Arc<Labels>> {
        let mut discovered = Vec::new();
        for source in &self.sources {
            match source {
                SourceConfig::Static(config) => discovered.extend(config.discover().into_iter().map(Arc::new)),
                SourceConfig::PodDirectory(config) => {
                    let scan = config.scan(tree, &self.hostname);
                    discovered.extend(scan.discovered.into_iter().map(Arc::new));
                    found.malformed += scan.malformed;
                    found.unreadable.extend(scan.unreadable);
                    found.truncated |= scan.truncated;
                }
                SourceConfig::Kubernetes(config) => match pods.get(&config.query) {
                    Some(list) => {
                        discovered.extend(list.targets.iter().cloned());
                        found.truncated |= list.truncated;
                        found.partial |= !list.complete;
                    }
                    None => found.partial = true,
                },
            }
        }
        discovered
    }

    fn decide(&self, discovered: &[Arc<Labels>], found: &mut Found) {
        let mut seen = HashSet::new();
        for labels in discovered {
            let decided = Target::from_labels(labels, &self.rules, &self.hostname)
                .and_then(|target| if seen.insert(target.key()) { Ok(target) } else { Err(DropReason::Exists) });
            match decided {
                Ok(target) => found.targets.push(target),
                Err(reason) => found.dropped.push(DroppedTarget { discovered: Arc::clone(labels), reason }),
            }
        }
    }
}

/// The name of the node that this is: `$NODE_NAME`, where somebody set it, and else the [`hostname`].
pub fn node_name() -> String {
    std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(hostname)
}

/// This machine's name as Promtail knows it: `$HOSTNAME` if it is set (the chart sets it to the node's name), else the
/// system's.
pub fn hostname() -> String {
    let variable = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    variable.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::pod_directory::PodDirectoryConfig;
    use super::tree::PaperTree;
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::yaml::{FromNode, parse};

    fn rules(text: &str) -> Rules {
        let mut diagnostics = Diagnostics::new();
        let node = parse(text, &mut diagnostics).unwrap();
        let configs = Vec::from_node(&node, &mut diagnostics).unwrap();
        Rules::compile(&configs, &mut diagnostics).unwrap()
    }

    fn pods(rules: Rules) -> Discovery {
        let pods = PodDirectoryConfig { root: "/var/log/pods".into(), namespaces: Vec::new() };
        Discovery::new(vec![SourceConfig::PodDirectory(pods)], rules, "node-a")
    }

    /// The rules of Promtail's chart, as far as directory names can feed them.
    const CHART: &str = r"
- {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
- {source_labels: [__meta_kubernetes_pod_container_name], target_label: container}
- {source_labels: [__meta_kubernetes_pod_node_name], target_label: __host__}
- source_labels: [__meta_kubernetes_pod_uid, __meta_kubernetes_pod_container_name]
  separator: /
  target_label: __path__
  replacement: /var/log/pods/*$1/*.log
";

    #[test]
    fn the_charts_rules_make_one_target_of_a_containers_runs() {
        let tree = PaperTree::of(&["/var/log/pods/ns_p_u1/c/0.log", "/var/log/pods/ns_p_u1/c/1.log"]);
        let found = pods(rules(CHART)).refresh(&tree, &PodLists::default());
        assert_eq!(found.targets.len(), 1);
        assert_eq!(found.dropped[0].reason, DropReason::Exists);
        assert_eq!(found.targets[0].labels.to_string(), r#"{container="c", pod="p"}"#);
        assert_eq!(found.targets[0].files(&tree).files.len(), 2);
    }

    #[test]
    fn a_restart_can_become_a_label() {
        let tree = PaperTree::of(&["/var/log/pods/ns_p_u1/c/0.log", "/var/log/pods/ns_p_u1/c/1.log"]);
        let found = pods(rules("- {source_labels: [__meta_weir_container_restart], target_label: run}\n"))
            .refresh(&tree, &PodLists::default());
        let seen: Vec<_> = found.targets.iter().map(|t| (t.labels.to_string(), t.files(&tree).files.len())).collect();
        assert_eq!(seen, [(r#"{run="0"}"#.to_string(), 1), (r#"{run="1"}"#.to_string(), 1)]);
    }

    #[test]
    fn nothing_is_decided_again_until_something_changes() {
        let mut tree = PaperTree::of(&["/var/log/pods/ns_p_u1/c/0.log"]);
        let mut discovery = pods(Rules::default());
        let first = discovery.refresh(&tree, &PodLists::default());
        assert!(Arc::ptr_eq(&first, &discovery.refresh(&tree, &PodLists::default())));
        tree.files.insert("/var/log/pods/ns_p_u1/c/1.log".into());
        assert_eq!(discovery.refresh(&tree, &PodLists::default()).targets.len(), 2);
        tree.files.insert("/var/log/pods/bad/c/1.log".into());
        assert_eq!(discovery.refresh(&tree, &PodLists::default()).malformed, 1);
    }

    #[test]
    fn a_target_of_another_host_is_dropped() {
        let text = "static_configs:\n- labels: {__path__: /a, __host__: node-b}\n- labels: {__path__: /a}\n";
        let mut diagnostics = Diagnostics::new();
        let node = parse(text, &mut diagnostics).unwrap();
        let mut fields = crate::yaml::Fields::new(&node, "a scrape config", &mut diagnostics).unwrap();
        let sources = SourceConfig::read(&mut fields, &mut diagnostics);
        let mut discovery = Discovery::new(sources, Rules::default(), "node-a");
        assert!(!discovery.is_dynamic());
        let found = discovery.refresh(&PaperTree::default(), &PodLists::default());
        assert_eq!((found.targets.len(), found.dropped[0].reason), (1, DropReason::WrongHost));
    }
}
