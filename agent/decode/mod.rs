//! What the bytes of a line say. Pure: borrowed parts out of `&[u8]`, no I/O, no configuration, and a line that does
//! not parse is an answer, never an error.

pub mod docker;
pub mod json;
pub mod logfmt;
pub mod nginx;
pub mod number;
