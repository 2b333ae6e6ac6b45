//! Which machine this is, and since when it runs.

use std::fs;

/// A random text that the kernel draws when it boots: while it is the same, nothing that was written is lost but by a
/// fault of the disk.
pub fn boot_id() -> Option<String> {
    word_of("/proc/sys/kernel/random/boot_id")
}

/// What tells this machine from a copy of its disk, where its owner sees to that (`man machine-id`).
pub fn machine_id() -> Option<String> {
    word_of("/etc/machine-id").or_else(|| word_of("/var/lib/dbus/machine-id"))
}

/// The text of a small file, if there is any. `uninitialized` is what an image's machine says before its first boot.
fn word_of(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let word = text.trim();
    (!word.is_empty() && word != "uninitialized").then(|| word.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_one_name() {
        let id = boot_id().expect("linux says");
        assert_eq!(id.len(), 36, "{id}");
        assert_eq!(boot_id(), Some(id));
        assert_eq!(word_of("/proc/sys/kernel/no/such/file"), None);
    }
}
