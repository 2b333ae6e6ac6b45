//! Logs of ingress-nginx controllers as a node has them, which grow.

use super::lines::{Format, Lines};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const SEED: u64 = 20_261_121;

/// A tree as `/var/log/pods` is.
pub struct Tree {
    lines: Lines,
    logs: Vec<(PathBuf, File)>,
    buffer: Vec<u8>,
}

/// Where the pods are below a folder.
pub fn root(folder: &Path, format: Format) -> PathBuf {
    folder.join(format!("{format:?}").to_lowercase())
}

impl Tree {
    /// A tree with the empty logs of so many pods.
    pub fn new(folder: &Path, format: Format, pods: usize) -> io::Result<Tree> {
        let mut logs = Vec::new();
        for pod in 0..pods {
            let name = format!("ingress-nginx_controller-{pod:05}_585292d4-f356-4406-a41a-{pod:012}");
            let container = root(folder, format).join(name).join("controller");
            fs::create_dir_all(&container)?;
            let mut path = container.join("0.log");
            if format == Format::Docker {
                let id = format!("{pod:064x}");
                let docker = folder.join("containers").join(&id);
                fs::create_dir_all(&docker)?;
                let log = docker.join(format!("{id}-json.log"));
                symlink(&log, &path)?;
                path = log;
            }
            let file = File::options().create(true).append(true).open(&path)?;
            logs.push((path, file));
        }
        Ok(Tree { lines: Lines::new(format, SEED), logs, buffer: Vec::new() })
    }

    /// Writes the next lines, to one log after the other. Returns their bytes.
    pub fn grow(&mut self, lines: usize) -> io::Result<u64> {
        let mut bytes = 0;
        let pods = self.logs.len();
        for (at, (_, file)) in self.logs.iter_mut().enumerate() {
            let share = lines * (at + 1) / pods - lines * at / pods;
            for left in (0..share).rev() {
                self.lines.append(&mut self.buffer);
                if left == 0 || self.buffer.len() > 1 << 20 {
                    file.write_all(&self.buffer)?;
                    bytes += self.buffer.len() as u64;
                    self.buffer.clear();
                }
            }
        }
        Ok(bytes)
    }
}

/// The logs below a root, whatever they link to.
pub fn logs(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for pod in fs::read_dir(root)? {
        logs.push(fs::canonicalize(pod?.path().join("controller/0.log"))?);
    }
    logs.sort();
    Ok(logs)
}
