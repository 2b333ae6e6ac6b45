//! What the bytes of a line say. Pure: borrowed parts out of `&[u8]`, no I/O, no configuration, no allocation per line.
//! Log bytes come from anyone: a line that does not parse is an answer, never an error and never a panic.

pub mod cri;
pub mod docker;
pub mod json;
pub mod logfmt;
pub mod modsecurity;
pub mod nginx;
pub mod number;
pub mod time_layout;
