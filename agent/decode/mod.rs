//! What the bytes of a line say. Pure: borrowed parts out of `&[u8]`, no I/O, no configuration, and a line that does
//! not parse is an answer, never an error.

pub mod docker;
pub mod json;
pub mod logfmt;
pub mod nginx;
pub mod number;
//! What the bytes of a log line say.
//!
//! Every decoder here is pure: a byte slice in, borrowed parts out; no I/O, no configuration, no allocation per line.
//! Log bytes come from anyone, so a decoder answers `None` (or leaves a part empty) and never panics.

pub mod cri;
pub mod modsecurity;
pub mod time_layout;
