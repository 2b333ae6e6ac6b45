//! Discovery by the Kubernetes API: `kubernetes_sd_configs`, role `pod`.
//!
//! A [`Watcher`] knows the pods of the node as they are; on the rim, [`watch`] gives it the answers of the API server;
//! what is known stands in [`PodLists`], from which discovery takes it at its next look. So reading never waits for the
//! API, and an API that is gone changes nothing of what is known (docs/adr/0014).

mod access;
mod config;
mod drive;
mod known;
mod kubeconfig;
mod lists;
mod meta;
mod object;
mod query;
mod report;
mod watcher;

pub use config::{KubernetesConfig, PodQuery};
pub use known::LINGER;
pub use lists::{PodFacts, PodList, PodLists};
pub use object::Pod;
pub use query::{PodEvent, Surroundings, watch};
pub use report::{Notice, Reason};
pub use watcher::{Object, Step, Watcher};
