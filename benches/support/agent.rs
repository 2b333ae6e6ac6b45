//! The agent as a process of its own.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub struct Agent {
    child: Child,
    pub port: u16,
}

impl Agent {
    /// Starts one with this configuration, which is written to the folder.
    pub fn start(folder: &Path, configuration: &str) -> io::Result<Agent> {
        let path = folder.join("weir.yaml");
        fs::write(&path, configuration)?;
        // Nobody else takes the port of a moment ago on a machine that runs benches.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .arg(format!("-config.file={}", path.display()))
            .args(["-server.http-listen-address=127.0.0.1", "-log.level=warn"])
            .arg(format!("-server.http-listen-port={port}"))
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Agent { child, port })
    }

    /// CPU time of its threads, in nanoseconds.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanos += text.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }

    pub fn resident_bytes(&self) -> io::Result<u64> {
        self.status("VmRSS:")
    }

    pub fn peak_bytes(&self) -> io::Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0 kB");
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
