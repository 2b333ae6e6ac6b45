//! What the bytes of a log line say.
//!
//! Every decoder here is pure: a byte slice in, borrowed parts out; no I/O, no configuration, no allocation per line.
//! Log bytes come from anyone, so a decoder answers `None` (or leaves a part empty) and never panics.

pub mod cri;
pub mod modsecurity;
pub mod time_layout;
