//! What the tests of the whole program share. Each test crate uses a part of it, so the rest looks unused there.
#![allow(dead_code)]

pub mod agent;
pub mod corpus;
pub mod exposition;
pub mod http;
pub mod kube_api;
pub mod kubelet;
pub mod kubelet_writer;
pub mod loki;
pub mod loop_device;
pub mod mmdb;
pub mod process;
pub mod prometheus;
pub mod shipped;
pub mod strace;
pub mod truth;
