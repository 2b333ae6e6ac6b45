//! What is measured: CPU time, memory, medians.

use rustix::time::{ClockId, clock_gettime};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// CPU time of this thread, in user and system mode: other programs do not count.
pub fn thread_time() -> Duration {
    time(ClockId::ThreadCPUTime)
}

/// CPU time of all threads of this process.
pub fn process_time() -> Duration {
    time(ClockId::ProcessCPUTime)
}

fn time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The highest resident memory of this process so far.
pub fn peak_bytes() -> u64 {
    status_bytes("VmHWM:")
}

/// The resident memory of this process now.
pub fn resident_bytes() -> u64 {
    status_bytes("VmRSS:")
}

fn status_bytes(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kilobytes| kilobytes * 1024)
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// R1, what nobody can do without: reads a file from an offset to its end in pieces of 256 KiB and finds the ends of its
/// lines. Returns how many it found.
pub fn read_and_cut(path: &Path, from: u64, buffer: &mut Vec<u8>) -> io::Result<u64> {
    buffer.resize(256 << 10, 0);
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut found = 0;
    loop {
        let read = file.read(buffer)?;
        if read == 0 {
            return Ok(found);
        }
        found += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64;
    }
}

/// A number from the environment.
pub fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
