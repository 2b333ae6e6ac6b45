//! Where lines come from.
//!
//! A source is one log: a file by its path, with the older generations that rotation leaves beside it. It yields lines
//! and keeps its own cursor; whoever takes the lines need not know that they come from files.

mod file;
mod generation;
mod line_buffer;
mod open;
mod rotation;

pub use file::{FileSource, Progress, Start};
pub use line_buffer::{LINE_BYTES_MAX, Line, LineBuffer};
pub use open::{Opener, Refusal};
pub use rotation::base_of;
