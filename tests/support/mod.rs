//! What the tests of the whole program share. Each test crate uses a part of it, so the rest looks unused there.
#![allow(dead_code)]

pub mod corpus;
pub mod exposition;
pub mod kubelet;
pub mod mmdb;
pub mod shipped;
pub mod truth;
