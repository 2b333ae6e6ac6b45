//! config

pub mod expand;
