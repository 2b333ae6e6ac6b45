//! From a pod to the labels of its targets, as Prometheus' role `pod` gives them: one target for each port of a container,
//! one for a container without any.
//!
//! Prometheus leaves out pods without an address and ephemeral containers, since nobody can scrape them. Both write logs,
//! so both are here; where there is no address, there is no `__address__`.

use super::object::{Bare, Container, ContainerStatus, Metadata, Pod};
use super::watcher::Object;
use crate::labels::{Labels, sanitize_label_name};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a value of an annotation may have to become a label: whole manifests stand in some.
pub const ANNOTATION_BYTES_MAX: usize = 4096;
/// Targets of one pod.
const TARGETS_MAX: usize = 1000;

/// An ephemeral container; Prometheus has no name for it.
const EPHEMERAL: &str = "__meta_weir_container_ephemeral";

/// The label sets of a pod's targets, before relabelling: containers, init containers, ephemeral ones.
pub fn targets(pod: &Pod) -> Vec<Arc<Labels>> {
    let common = of_pod(pod);
    let (spec, status) = (&pod.spec, &pod.status);
    let mut targets = Vec::new();
    for (containers, statuses, kind) in [
        (&spec.containers, &status.container_statuses, Kind::App),
        (&spec.init_containers, &status.init_container_statuses, Kind::Init),
        (&spec.ephemeral_containers, &status.ephemeral_container_statuses, Kind::Ephemeral),
    ] {
        for container in containers {
            of_container(container, statuses, kind, &pod.status.pod_ip, &common, &mut targets);
            if targets.len() >= TARGETS_MAX {
                targets.truncate(TARGETS_MAX);
                return targets;
            }
        }
    }
    targets
}

/// The labels of a node, for `attach_metadata`.
pub fn of_node(node: &Bare) -> Labels {
    let mut labels = Labels::new();
    set(&mut labels, "__meta_kubernetes_node_name", &node.metadata.name);
    of_metadata(&mut labels, "node", &node.metadata);
    labels
}

/// Of a pod its targets are kept and nothing else.
impl Object for Pod {
    type Kept = Vec<Arc<Labels>>;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn keep(&self) -> Self::Kept {
        targets(self)
    }
}

/// A node.
impl Object for Bare {
    type Kept = Labels;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn keep(&self) -> Self::Kept {
        of_node(self)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    App,
    Init,
    Ephemeral,
}

fn of_pod(pod: &Pod) -> Labels {
    let (metadata, status) = (&pod.metadata, &pod.status);
    let mut labels = Labels::new();
    let ready = status.conditions.iter().find(|condition| condition.name == "Ready");
    let ready = ready.map_or("unknown".to_string(), |condition| condition.status.to_lowercase());
    for (name, value) in [
        ("__meta_kubernetes_namespace", &metadata.namespace),
        ("__meta_kubernetes_pod_name", &metadata.name),
        ("__meta_kubernetes_pod_uid", &metadata.uid),
        ("__meta_kubernetes_pod_ip", &status.pod_ip),
        ("__meta_kubernetes_pod_host_ip", &status.host_ip),
        ("__meta_kubernetes_pod_node_name", &pod.spec.node_name),
        ("__meta_kubernetes_pod_phase", &status.phase),
        ("__meta_kubernetes_pod_ready", &ready),
    ] {
        set(&mut labels, name, value);
    }
    if let Some(owner) = metadata.owner_references.iter().find(|owner| owner.controller == Some(true)) {
        set(&mut labels, "__meta_kubernetes_pod_controller_kind", &owner.kind);
        set(&mut labels, "__meta_kubernetes_pod_controller_name", &owner.name);
    }
    of_metadata(&mut labels, "pod", metadata);
    labels
}

/// Labels and annotations with their names made fit. Of two that become one name, the later one in the order of names
/// stays; in Prometheus it is one by chance.
fn of_metadata(labels: &mut Labels, role: &str, metadata: &Metadata) {
    let mut all = |kind: &str, values: &BTreeMap<String, String>, bytes_max: usize| {
        for (name, value) in values {
            let name = sanitize_label_name(name);
            if value.len() <= bytes_max {
                set(labels, format!("__meta_kubernetes_{role}_{kind}_{name}"), value);
            }
            labels.set(format!("__meta_kubernetes_{role}_{kind}present_{name}"), "true");
        }
    };
    all("label", &metadata.labels, usize::MAX);
    all("annotation", &metadata.annotations, ANNOTATION_BYTES_MAX);
}

fn of_container(
    container: &Container,
    statuses: &[ContainerStatus],
    kind: Kind,
    address: &str,
    common: &Labels,
    targets: &mut Vec<Arc<Labels>>,
) {
    let mut labels = common.clone();
    let id = statuses.iter().find(|status| status.name == container.name).map_or("", |status| &status.container_id);
    set(&mut labels, "__meta_kubernetes_pod_container_name", &container.name);
    set(&mut labels, "__meta_kubernetes_pod_container_id", id);
    set(&mut labels, "__meta_kubernetes_pod_container_image", &container.image);
    labels.set("__meta_kubernetes_pod_container_init", (kind == Kind::Init).to_string());
    if kind == Kind::Ephemeral {
        labels.set(EPHEMERAL, "true");
    }
    if container.ports.is_empty() {
        set(&mut labels, "__address__", address);
        targets.push(Arc::new(labels));
        return;
    }
    for port in container.ports.iter().take(TARGETS_MAX) {
        let mut labels = labels.clone();
        let number = port.container_port.to_string();
        if !address.is_empty() {
            let host = if address.contains(':') { format!("[{address}]") } else { address.to_string() };
            labels.set("__address__", format!("{host}:{number}"));
        }
        set(&mut labels, "__meta_kubernetes_pod_container_port_name", &port.name);
        set(&mut labels, "__meta_kubernetes_pod_container_port_number", &number);
        set(&mut labels, "__meta_kubernetes_pod_container_port_protocol", &port.protocol);
        targets.push(Arc::new(labels));
    }
}

/// An empty label is none, for Prometheus' rules as well.
fn set(labels: &mut Labels, name: impl AsRef<str>, value: &str) {
    if !value.is_empty() {
        labels.set(name, value);
    }
}

#[cfg(test)]
#[path = "meta_tests.rs"]
mod tests;
