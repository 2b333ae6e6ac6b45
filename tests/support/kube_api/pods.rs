//! Pods as the API tells of them.

use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A running pod of `node-a`.
pub fn pod(namespace: &str, name: &str, uid: &str, labels: &Value, containers: &[&str]) -> Value {
    let described: Vec<Value> = containers
        .iter()
        .map(|name| json!({"name": name, "image": format!("{name}:1"), "env": [{"name": "X"}]}))
        .collect();
    let statuses: Vec<Value> = containers
        .iter()
        .map(|name| json!({"name": name, "containerID": format!("containerd://{name}"), "restartCount": 0}))
        .collect();
    json!({
        "metadata": {"namespace": namespace, "name": name, "uid": uid, "labels": labels,
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {"f:phase": {}}}}]},
        "spec": {"nodeName": "node-a", "containers": described},
        "status": {"phase": "Running", "podIP": "10.42.0.7", "hostIP": "192.168.1.2",
            "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": statuses},
    })
}

/// The pods whose log directories these are.
pub fn pods_of_tree(pods: &Path, labels: &Value) -> Vec<Value> {
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in UTF-8")).collect()
    };
    let known = names(pods).into_iter().filter_map(|folder| {
        let [namespace, name, uid] = folder.split('_').collect::<Vec<_>>()[..] else { return None };
        let containers = names(&pods.join(&folder));
        let containers: Vec<&str> = containers.iter().map(String::as_str).collect();
        Some(pod(namespace, name, uid, labels, &containers))
    });
    known.collect()
}
