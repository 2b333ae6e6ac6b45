//! File systems of a test's own: a small one in memory, and one on a loop device that can lose its power.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A mounted file system; unmounted when dropped.
pub struct Mount {
    folder: TempDir,
    source: Vec<String>,
}

impl Mount {
    /// A file system in memory of so many KiB; `None`, and a line that says so, where the machine does not allow it.
    pub fn tmpfs(kib: u64, what: &str) -> Option<Mount> {
        let options = format!("size={kib}k");
        Mount::new(TempDir::new().expect("a folder"), &["-t", "tmpfs", "-o", &options, "weir-test"], what)
    }

    /// An ext4 of 64 MiB on a loop device.
    pub fn ext4(what: &str) -> Option<Mount> {
        let folder = TempDir::new().expect("a folder");
        let image = folder.path().join("image");
        File::create(&image).and_then(|image| image.set_len(64 << 20)).expect("an image");
        let image = image.to_str().expect("ASCII");
        if let Err(why) = run(Command::new("mkfs.ext4").args(["-q", "-F", image])) {
            println!("left out: {what} (no ext4: {why})");
            return None;
        }
        Mount::new(folder, &["-t", "ext4", "-o", "loop", image], what)
    }

    fn new(folder: TempDir, source: &[&str], what: &str) -> Option<Mount> {
        std::fs::create_dir(folder.path().join("at")).expect("a folder");
        let mount = Mount { folder, source: source.iter().map(|word| word.to_string()).collect() };
        match mount.mount() {
            Ok(()) => Some(mount),
            Err(why) => {
                println!("left out: {what} (cannot mount: {why})");
                None
            }
        }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("at")
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(&self.source).arg(self.path()))
    }

    pub fn remount(&self, options: &str) -> Result<(), String> {
        run(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.path()))
    }

    /// What the device holds at this moment is all that is left, as after a power cut; mounted again.
    ///
    /// Every program that has files of it open must have ended.
    pub fn after_lost_power(&self) {
        run(Command::new("umount").arg(self.path())).expect("unmounted");
        self.mount().expect("mounted");
    }

    /// Nothing reaches the device from now on, not even the journal.
    pub fn lose_power(&self) -> Result<(), String> {
        const SHUTDOWN: &str = r#"
            sysopen(my $root, $ARGV[0], 0) or die "$!";
            my $no_log_flush = pack("L", 2);
            ioctl($root, 0x8004587D, $no_log_flush) or die "$!";
        "#;
        run(Command::new("perl").args(["-e", SHUTDOWN]).arg(self.path()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A test that failed may have left a file open that is closed a moment later.
        if run(Command::new("umount").arg(self.path())).is_err() {
            let _ = run(Command::new("umount").arg("-l").arg(self.path()));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_string()) }
}

/// The free bytes of a file system, as far as a file can take them: fills it to the last one.
pub fn fill(folder: &Path) -> PathBuf {
    use std::io::Write;
    let path = folder.join("filler");
    let mut file = File::create(&path).expect("created");
    for size in [4096, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
    path
}
