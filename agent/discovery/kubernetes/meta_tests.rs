use super::*;

fn pod(text: &str) -> Pod {
    serde_json::from_str(text).expect("a pod")
}

const WHOLE: &str = r#"{
  "metadata": {"name": "web-0", "namespace": "shop", "uid": "5f0c", "resourceVersion": "7",
    "labels": {"app.kubernetes.io/name": "web", "empty": ""},
    "annotations": {"weir.dev/parser": "nginx", "n": "1"},
    "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
    "ownerReferences": [{"kind": "Other", "name": "x"}, {"kind": "ReplicaSet", "name": "web-5d", "controller": true}]},
  "spec": {"nodeName": "node-a", "containers": [
      {"name": "app", "image": "web:1", "ports": [
        {"name": "http", "containerPort": 80, "protocol": "TCP"}, {"containerPort": 9100, "protocol": "UDP"}]},
      {"name": "side", "image": "side:1", "env": [{"name": "X", "value": "y"}]}],
    "initContainers": [{"name": "prepare", "image": "prepare:1"}],
    "ephemeralContainers": [{"name": "debugger-x", "image": "busybox", "targetContainerName": "app"}]},
  "status": {"phase": "Running", "podIP": "10.0.0.7", "hostIP": "192.168.1.2",
    "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "False"}],
    "containerStatuses": [{"name": "side", "containerID": "containerd://b"}, {"name": "app", "containerID": "containerd://a"}],
    "initContainerStatuses": [{"name": "prepare", "containerID": "containerd://i"}],
    "ephemeralContainerStatuses": [{"name": "debugger-x", "containerID": "containerd://e"}]}
}"#;

/// The labels of a target beside those that all targets of `WHOLE` have.
fn own(labels: &Labels, common: &Labels) -> String {
    let mut own = labels.clone();
    own.retain(|name, _| !common.contains(name));
    own.to_string().replace("__meta_kubernetes_pod_container_", "")
}

#[test]
fn every_meta_label_of_a_pod_is_there() {
    let all = targets(&pod(WHOLE));
    let common: Labels = [
        ("__meta_kubernetes_namespace", "shop"),
        ("__meta_kubernetes_pod_annotation_n", "1"),
        ("__meta_kubernetes_pod_annotation_weir_dev_parser", "nginx"),
        ("__meta_kubernetes_pod_annotationpresent_n", "true"),
        ("__meta_kubernetes_pod_annotationpresent_weir_dev_parser", "true"),
        ("__meta_kubernetes_pod_controller_kind", "ReplicaSet"),
        ("__meta_kubernetes_pod_controller_name", "web-5d"),
        ("__meta_kubernetes_pod_host_ip", "192.168.1.2"),
        ("__meta_kubernetes_pod_ip", "10.0.0.7"),
        ("__meta_kubernetes_pod_label_app_kubernetes_io_name", "web"),
        ("__meta_kubernetes_pod_labelpresent_app_kubernetes_io_name", "true"),
        ("__meta_kubernetes_pod_labelpresent_empty", "true"),
        ("__meta_kubernetes_pod_name", "web-0"),
        ("__meta_kubernetes_pod_node_name", "node-a"),
        ("__meta_kubernetes_pod_phase", "Running"),
        ("__meta_kubernetes_pod_ready", "false"),
        ("__meta_kubernetes_pod_uid", "5f0c"),
    ]
    .into_iter()
    .collect();
    for labels in &all {
        let shared: Labels = labels.iter().filter(|(name, _)| common.contains(name)).collect();
        assert_eq!(shared, common);
    }
    let own: Vec<String> = all.iter().map(|labels| own(labels, &common)).collect();
    assert_eq!(
        own,
        [
            r#"{__address__="10.0.0.7:80", id="containerd://a", image="web:1", init="false", name="app", port_name="http", port_number="80", port_protocol="TCP"}"#,
            r#"{__address__="10.0.0.7:9100", id="containerd://a", image="web:1", init="false", name="app", port_number="9100", port_protocol="UDP"}"#,
            r#"{__address__="10.0.0.7", id="containerd://b", image="side:1", init="false", name="side"}"#,
            r#"{__address__="10.0.0.7", id="containerd://i", image="prepare:1", init="true", name="prepare"}"#,
            r#"{__address__="10.0.0.7", id="containerd://e", image="busybox", init="false", name="debugger-x", __meta_weir_container_ephemeral="true"}"#,
        ]
    );
}

#[test]
fn a_pod_that_has_no_address_yet_has_targets() {
    let all = targets(&pod(
        r#"{"metadata": {"name": "p", "labels": null}, "status": {"phase": "Pending", "conditions": null},
            "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}]}], "initContainers": null}}"#,
    ));
    assert_eq!(all.len(), 1);
    assert!(!all[0].contains("__address__") && !all[0].contains("__meta_kubernetes_pod_ip"));
    assert_eq!(all[0].get("__meta_kubernetes_pod_ready"), "unknown");
    assert_eq!(all[0].get("__meta_kubernetes_pod_container_port_number"), "80");
}

#[test]
fn an_address_of_ipv6_stands_in_brackets_before_a_port() {
    let all = targets(&pod(
        r#"{"status": {"podIP": "fd00::7"}, "spec": {"containers": [{"ports": [{"containerPort": 80}]}, {"name": "c"}]}}"#,
    ));
    assert_eq!(all[0].get("__address__"), "[fd00::7]:80");
    assert_eq!(all[1].get("__address__"), "fd00::7");
}

#[test]
fn a_manifest_in_an_annotation_is_known_by_its_presence_only() {
    let long = "x".repeat(ANNOTATION_BYTES_MAX + 1);
    let all = targets(&pod(&format!(
        r#"{{"metadata": {{"annotations": {{"a/b": "{long}"}}}}, "spec": {{"containers": [{{}}]}}}}"#
    )));
    assert!(!all[0].contains("__meta_kubernetes_pod_annotation_a_b"));
    assert_eq!(all[0].get("__meta_kubernetes_pod_annotationpresent_a_b"), "true");
}

#[test]
fn a_pod_has_a_bounded_number_of_targets() {
    let ports = vec![r#"{"containerPort": 1}"#; 5000].join(",");
    let containers = vec![format!(r#"{{"ports": [{ports}]}}"#); 3].join(",");
    let all = targets(&pod(&format!(r#"{{"spec": {{"containers": [{containers}]}}}}"#)));
    assert_eq!(all.len(), 1000);
}

#[test]
fn a_node_gives_its_name_labels_and_annotations() {
    let node: Bare = serde_json::from_str(
        r#"{"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "a"}, "annotations": {"x": "y"}}}"#,
    )
    .expect("a node");
    assert_eq!(
        of_node(&node).to_string().replace("__meta_kubernetes_node_", ""),
        r#"{annotation_x="y", annotationpresent_x="true", label_topology_kubernetes_io_zone="a", labelpresent_topology_kubernetes_io_zone="true", name="n1"}"#
    );
}
