//! Small files that others replace: secrets and certificates.

use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// A password or token is no longer than this.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// The text of a file of one secret, without the white space around it. Read again each time: a secret that is mounted
/// into a pod changes by a link that is swapped, which neither size nor time tells for sure.
pub(super) async fn read_secret(path: &str) -> Result<String, String> {
    let owned = path.to_string();
    let bytes = tokio::task::spawn_blocking(move || read(&owned, SECRET_BYTES_MAX))
        .await
        .map_err(|_| format!("{path}: reading it was given up"))??;
    let text = String::from_utf8(bytes).map_err(|_| format!("{path}: it holds bytes that are no text"))?;
    Ok(text.trim().to_string())
}

/// All bytes of a plain file. The path stands in the error.
pub(super) fn read(path: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("{path}: {error}");
    // A pipe without a writer would be waited for.
    let nonblocking = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(told)?;
    if !file.metadata().map_err(told)?.is_file() {
        return Err(format!("{path}: it is no plain file"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("{path}: it is longer than {bytes_max} bytes"));
    }
    Ok(bytes)
}
