//! What the API says of pods and nodes, as far as labels are made of it; everything else is passed over unread.
//!
//! Nothing is required: what an API server, a proxy or a test leaves out is empty, and `null` is too.

use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// A page of a list.
#[derive(Debug, Deserialize)]
#[serde(bound = "O: Deserialize<'de>")]
pub struct Page<O> {
    #[serde(default, deserialize_with = "or_empty")]
    pub metadata: ListMetadata,
    /// A list must have it, or it is none.
    #[serde(deserialize_with = "or_empty")]
    pub items: Vec<O>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListMetadata {
    #[serde(deserialize_with = "or_empty")]
    pub resource_version: String,
    /// There is another page.
    #[serde(rename = "continue", deserialize_with = "or_empty")]
    pub continue_token: String,
}

/// What a line of a watch is about; the rest depends on it.
#[derive(Debug, Deserialize)]
pub struct EventType {
    #[serde(rename = "type")]
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub struct Event<O> {
    pub object: O,
}

/// Why the API server refuses; a line of a watch may be one, with the type `ERROR`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    pub code: u16,
    #[serde(deserialize_with = "or_empty")]
    pub reason: String,
    #[serde(deserialize_with = "or_empty")]
    pub message: String,
}

/// The metadata that every object has.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    #[serde(deserialize_with = "or_empty")]
    pub name: String,
    #[serde(deserialize_with = "or_empty")]
    pub namespace: String,
    #[serde(deserialize_with = "or_empty")]
    pub uid: String,
    #[serde(deserialize_with = "or_empty")]
    pub resource_version: String,
    #[serde(deserialize_with = "or_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_empty")]
    pub owner_references: Vec<Owner>,
}

/// An object of which only the metadata matters: a bookmark, a node.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Bare {
    #[serde(deserialize_with = "or_empty")]
    pub metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Owner {
    #[serde(deserialize_with = "or_empty")]
    pub kind: String,
    #[serde(deserialize_with = "or_empty")]
    pub name: String,
    pub controller: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    #[serde(deserialize_with = "or_empty")]
    pub metadata: Metadata,
    #[serde(deserialize_with = "or_empty")]
    pub spec: PodSpec,
    #[serde(deserialize_with = "or_empty")]
    pub status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    #[serde(deserialize_with = "or_empty")]
    pub node_name: String,
    #[serde(deserialize_with = "or_empty")]
    pub containers: Vec<Container>,
    #[serde(deserialize_with = "or_empty")]
    pub init_containers: Vec<Container>,
    #[serde(deserialize_with = "or_empty")]
    pub ephemeral_containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Container {
    #[serde(deserialize_with = "or_empty")]
    pub name: String,
    #[serde(deserialize_with = "or_empty")]
    pub image: String,
    #[serde(deserialize_with = "or_empty")]
    pub ports: Vec<Port>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Port {
    #[serde(deserialize_with = "or_empty")]
    pub name: String,
    pub container_port: u32,
    #[serde(deserialize_with = "or_empty")]
    pub protocol: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    #[serde(deserialize_with = "or_empty")]
    pub phase: String,
    #[serde(rename = "hostIP", deserialize_with = "or_empty")]
    pub host_ip: String,
    #[serde(rename = "podIP", deserialize_with = "or_empty")]
    pub pod_ip: String,
    #[serde(deserialize_with = "or_empty")]
    pub conditions: Vec<Condition>,
    #[serde(deserialize_with = "or_empty")]
    pub container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "or_empty")]
    pub init_container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "or_empty")]
    pub ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Condition {
    #[serde(rename = "type", deserialize_with = "or_empty")]
    pub name: String,
    #[serde(deserialize_with = "or_empty")]
    pub status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    #[serde(deserialize_with = "or_empty")]
    pub name: String,
    #[serde(rename = "containerID", deserialize_with = "or_empty")]
    pub container_id: String,
}

fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}
