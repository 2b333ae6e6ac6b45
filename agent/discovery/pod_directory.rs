//! `pod_directory_sd_configs`: the pods of this node, from the names of the kubelet's log directories alone.
//!
//! The kubelet keeps the logs of a container in `<root>/<namespace>_<pod>_<uid>/<container>/<restart>.log`. Names are
//! all that is read, so it needs no API server, finds pods that never got an address or are gone from the API, and
//! sees a pod as soon as its directory exists. What only the API knows (labels, annotations, controllers) is missing.
//!
//! There is one target for each run of a container, not for each container: the restart number is part of the file's
//! name, a container has several such files at once, and only a target can carry the number as a label
//! (`__meta_weir_container_restart`). A rule that rewrites `__path__` to a glob over all runs, as Promtail's chart
//! does, makes these targets equal, and equal targets become one. Rotated generations (`0.log.<timestamp>`) belong to
//! their run's file and are the source's to find. They make a run a target by themselves: a kubelet that ends between
//! renaming a log and asking for the next one leaves the run without a current file, and if the container ends before
//! the kubelet is back, for good.
//!
//! Names under the root are hostile: symlinked directories are not entered, and a name that Kubernetes could not have
//! given is left out and counted.

use super::glob::Glob;
use super::target::{PATH, RESTART};
use super::tree::{Entry, Kind, Tree};
use crate::diagnostic::Diagnostics;
use crate::labels::Labels;
use crate::yaml::{Fields, FromNode, Node};
use std::io;
use std::path::{Path, PathBuf};

/// Where the kubelet writes unless told otherwise (`podLogsDir`).
const ROOT: &str = "/var/log/pods";
/// Runs of containers that one scan gives; a node has some hundreds.
const TARGETS_MAX: usize = 20_000;

/// One item of `pod_directory_sd_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodDirectoryConfig {
    /// The kubelet's `podLogsDir`.
    pub root: PathBuf,
    /// The namespaces to look at; all if there are none.
    pub namespaces: Vec<String>,
}

impl FromNode for PodDirectoryConfig {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "a pod directory", diagnostics)?;
        let before = diagnostics.errors();
        let root = directory(&mut fields, "root", ROOT, diagnostics);
        let namespaces = fields.optional::<Namespaces>("namespaces", diagnostics);
        fields.finish(diagnostics);
        let namespaces = namespaces.map_or(Vec::new(), |namespaces| namespaces.0);
        (diagnostics.errors() == before).then_some(PodDirectoryConfig { root, namespaces })
    }
}

fn directory(fields: &mut Fields<'_>, key: &'static str, default: &str, diagnostics: &mut Diagnostics) -> PathBuf {
    let path: String = fields.or(key, default.to_string(), diagnostics);
    if !path.starts_with('/') {
        let span = fields.node(key).map_or(fields.span(), |node| node.span);
        diagnostics.error(span, format!("`{path}` is no absolute path")).help(format!("write `{key}: {default}`"));
    }
    PathBuf::from(path)
}

struct Namespaces(Vec<String>);

impl FromNode for Namespaces {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "`namespaces`", diagnostics)?;
        let names = fields.or("names", Vec::new(), diagnostics);
        fields.finish(diagnostics);
        Some(Namespaces(names))
    }
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The labels of each run of a container, before relabelling.
    pub discovered: Vec<Labels>,
    /// Directories of which no target came: their names are not the kubelet's, or they are symlinks.
    pub malformed: usize,
    /// Directories that could not be read, and why.
    pub unreadable: Vec<(PathBuf, io::ErrorKind)>,
    /// Whether there were more than 20,000.
    pub truncated: bool,
}

impl PodDirectoryConfig {
    /// The runs of containers of which there is a log file now, rotated ones included, by name. The pods are this node's by definition, which goes by
    /// the name of the host.
    pub fn scan(&self, tree: &dyn Tree, hostname: &str) -> Scan {
        let mut scan = Scan::default();
        for pod in sorted(tree, &self.root, &mut scan) {
            let Some(name) = PodName::of(&pod) else {
                // Loose files beside the directories are nobody's pods.
                scan.malformed += usize::from(pod.kind != Kind::File);
                continue;
            };
            if self.namespaces.is_empty() || self.namespaces.iter().any(|allowed| allowed == name.namespace) {
                self.pod(tree, &name, &self.root.join(&pod.name), hostname, &mut scan);
            }
        }
        // A pod may go while it is looked at; a root may not.
        scan.unreadable.retain(|(path, kind)| *kind != io::ErrorKind::NotFound || *path == self.root);
        scan
    }

    fn pod(&self, tree: &dyn Tree, pod: &PodName<'_>, directory: &Path, hostname: &str, scan: &mut Scan) {
        for container in sorted(tree, directory, scan) {
            let name = container.name.to_str().filter(|name| container.kind == Kind::Directory && is_name(name, false));
            let Some(name) = name else {
                scan.malformed += usize::from(container.kind != Kind::File);
                continue;
            };
            let directory = directory.join(name);
            let files = sorted(tree, &directory, scan);
            // In their order all files of a run lie side by side.
            let mut runs: Vec<&str> = files.iter().filter_map(|file| file.name.to_str().and_then(run_of)).collect();
            runs.dedup();
            for restart in runs {
                if scan.discovered.len() == TARGETS_MAX {
                    scan.truncated = true;
                    return;
                }
                let path = directory.join(format!("{restart}.log"));
                scan.discovered.push(
                    [
                        (PATH, Glob::escape(&path.to_string_lossy()).as_str()),
                        ("__meta_kubernetes_namespace", pod.namespace),
                        ("__meta_kubernetes_pod_name", pod.pod),
                        ("__meta_kubernetes_pod_uid", pod.uid),
                        ("__meta_kubernetes_pod_container_name", name),
                        ("__meta_kubernetes_pod_node_name", hostname),
                        (RESTART, restart),
                    ]
                    .into_iter()
                    .collect(),
                );
            }
        }
    }
}

/// The names of a directory in their order; none, and the reason noted, if it cannot be read.
fn sorted(tree: &dyn Tree, directory: &Path, scan: &mut Scan) -> Vec<Entry> {
    match tree.entries(directory) {
        Ok(mut entries) => {
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            entries
        }
        Err(error) => {
            scan.unreadable.push((directory.to_path_buf(), error.kind()));
            Vec::new()
        }
    }
}

struct PodName<'e> {
    namespace: &'e str,
    pod: &'e str,
    uid: &'e str,
}

impl<'e> PodName<'e> {
    fn of(entry: &'e Entry) -> Option<PodName<'e>> {
        let mut parts = entry.name.to_str()?.split('_');
        let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = entry.kind == Kind::Directory && parts.next().is_none();
        (whole && is_name(namespace, false) && is_name(pod, true) && is_name(uid, false)).then_some(PodName {
            namespace,
            pod,
            uid,
        })
    }
}

/// Kubernetes' names of namespaces and containers (a DNS label) and of pods (a DNS subdomain, with dots). A uid has
/// the characters of a label: it is a UUID, or the hash of a static pod's manifest.
fn is_name(name: &str, dots: bool) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || (dots && b == b'.');
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let length = if dots { 253 } else { 63 };
    name.len() <= length && name.bytes().all(inside) && edge(name.bytes().next()) && edge(name.bytes().last())
}

/// `3` of `3.log`, and of its rotated files; nothing for others.
fn run_of(file: &str) -> Option<&str> {
    let (number, rest) = file.split_once(".log")?;
    let stamp = rest.strip_suffix(".gz").unwrap_or(rest);
    let is_stamp = |stamp: &str| {
        let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
        stamp.split_once('-').is_some_and(|(day, time)| digits(day, 8) && digits(time, 6))
    };
    if !rest.is_empty() && !stamp.strip_prefix('.').is_some_and(is_stamp) {
        return None;
    }
    let plain = (1..=10).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    (plain && (number == "0" || !number.starts_with('0'))).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::super::tree::PaperTree;
    use super::*;
    use crate::yaml::parse;
    use proptest::prelude::*;

    fn config(namespaces: &[&str]) -> PodDirectoryConfig {
        PodDirectoryConfig { root: "/pods".into(), namespaces: namespaces.iter().map(|n| n.to_string()).collect() }
    }

    #[test]
    fn each_run_of_a_container_is_a_target() {
        let tree = PaperTree::of(&[
            "/pods/ns_web-1.x_5f0c/app/0.log",
            "/pods/ns_web-1.x_5f0c/app/12.log",
            "/pods/ns_web-1.x_5f0c/app/12.log.20260101-000000.gz",
            "/pods/ns_web-1.x_5f0c/app/x.log",
            "/pods/ns_web-1.x_5f0c/app/7.log.1",
            "/pods/ns_web-1.x_5f0c/app/8.log.20260101-000000.tmp",
            "/pods/other_b_2/c/1.log",
        ]);
        let scan = config(&["ns"]).scan(&tree, "node-a");
        assert_eq!((scan.malformed, scan.discovered.len()), (0, 2));
        assert_eq!(
            scan.discovered[1].to_string(),
            r#"{__meta_kubernetes_namespace="ns", __meta_kubernetes_pod_container_name="app", "#.to_string()
                + r#"__meta_kubernetes_pod_name="web-1.x", __meta_kubernetes_pod_node_name="node-a", "#
                + r#"__meta_kubernetes_pod_uid="5f0c", __meta_weir_container_restart="12", "#
                + r#"__path__="/pods/ns_web-1.x_5f0c/app/12.log"}"#
        );
        assert_eq!(config(&[]).scan(&tree, "").discovered.len(), 3);
    }

    #[test]
    fn a_run_without_a_current_file_is_a_target_by_its_rotated_ones() {
        let tree = PaperTree::of(&[
            "/pods/ns_a_1/app/1.log.20260101-000000.gz",
            "/pods/ns_a_1/app/1.log.20260102-000000",
            "/pods/ns_a_1/app/10.log",
            "/pods/ns_a_1/app/2.log",
            "/pods/ns_a_1/app/2.log.20260102-000000",
        ]);
        let scan = config(&[]).scan(&tree, "");
        let paths: Vec<&str> = scan.discovered.iter().map(|labels| labels.get(PATH)).collect();
        assert_eq!(paths, ["/pods/ns_a_1/app/1.log", "/pods/ns_a_1/app/10.log", "/pods/ns_a_1/app/2.log"]);
    }

    #[test]
    fn names_that_kubernetes_does_not_give_are_counted_and_left_out() {
        let tree = PaperTree::of(&[
            "/pods/a_b_1/c/0.log",
            "/pods/a_b/c/0.log",
            "/pods/a_b_1_2/c/0.log",
            "/pods/__/c/0.log",
            "/pods/A_b_1/c/0.log",
            "/pods/a_b*_1/c/0.log",
            "/pods/a_.b_1/c/0.log",
            "/pods/a_b_1/{c}/0.log",
            "/pods/a_b_1/c/00.log",
            "/pods/a_b_1/c/-1.log",
            "/pods/loose.log",
        ]);
        let scan = config(&[]).scan(&tree, "");
        assert_eq!((scan.discovered.len(), scan.malformed), (1, 7));
    }

    #[test]
    fn symlinked_directories_are_not_entered() {
        let mut tree = PaperTree::of(&["/pods/a_b_1/c/0.log", "/etc/c/0.log"]);
        tree.symlinks.insert("/pods/a_evil_2".into(), "/etc".into());
        tree.symlinks.insert("/pods/a_b_1/d".into(), "/etc/c".into());
        let scan = config(&[]).scan(&tree, "");
        assert_eq!((scan.discovered.len(), scan.malformed), (1, 2));
    }

    #[test]
    fn a_root_with_the_characters_of_a_glob_is_taken_literally() {
        let tree = PaperTree::of(&["/p[1]/a_b_1/c/0.log"]);
        let root = PodDirectoryConfig { root: "/p[1]".into(), namespaces: Vec::new() };
        let scan = root.scan(&tree, "");
        let glob = Glob::compile(scan.discovered[0].get(PATH)).unwrap();
        assert_eq!(glob.expand(&tree).files, [PathBuf::from("/p[1]/a_b_1/c/0.log")]);
    }

    #[test]
    fn a_root_that_cannot_be_read_is_reported() {
        let mut tree = PaperTree::of(&["/pods/a_b_1/c/0.log"]);
        tree.forbidden.insert("/pods".into());
        assert_eq!(config(&[]).scan(&tree, "").unreadable, [("/pods".into(), io::ErrorKind::PermissionDenied)]);
        let missing = PodDirectoryConfig { root: "/none".into(), namespaces: Vec::new() };
        assert_eq!(missing.scan(&tree, "").unreadable, [("/none".into(), io::ErrorKind::NotFound)]);
    }

    #[test]
    fn the_root_has_a_default_and_must_be_absolute() {
        let read = |text: &str| {
            let mut diagnostics = Diagnostics::new();
            let node = parse(text, &mut diagnostics).unwrap();
            PodDirectoryConfig::from_node(&node, &mut diagnostics).map(|c| c.root.display().to_string())
        };
        assert_eq!(read("namespaces: {names: [a]}\n").as_deref(), Some("/var/log/pods"));
        assert_eq!(read("root: pods\n"), None);
        assert_eq!(read("namespaces: {name: [a]}\n"), None);
    }

    proptest! {
        #[test]
        fn any_name_is_a_pod_or_counted(name in "[a-zA-Z0-9_.*é-]{1,20}") {
            let file = format!("/pods/{name}/c/0.log");
            let scan = config(&[]).scan(&PaperTree::of(&[&file]), "");
            prop_assert_eq!(scan.discovered.len() + scan.malformed, 1);
        }
    }
}
