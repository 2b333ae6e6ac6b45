//! What the benches share. Each of them uses a part of it.

#![allow(dead_code)]

pub mod agent;
pub mod database;
pub mod following;
pub mod lines;
pub mod loki;
pub mod measure;
pub mod random;
pub mod tree;
pub mod workload;

#[path = "../../tests/support/mmdb.rs"]
mod mmdb;
