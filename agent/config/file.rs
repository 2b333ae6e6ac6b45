//! The file that a configuration stands in.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a configuration: a thousand times a large one. What is longer was given by mistake.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// Its text. Errors: it cannot be read, it is no UTF-8, it is longer than [`FILE_BYTES_MAX`].
pub fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let what = format!("longer than {FILE_BYTES_MAX} bytes: no configuration");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(text)
}
