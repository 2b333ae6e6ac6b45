//! What it costs to forward a line: the real agent brings CRI lines of 700 bytes from files to a sink that answers 204 to
//! every push. Beside it, in the same run and from the same file: reading and cutting lines, which nobody can do without.
//!
//! `cargo bench --bench forward`; `WEIR_LINES=n` for another number of lines than a million. Prints CPU time (user and
//! system) per line of the whole agent process, and its highest resident memory.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const LINE_BYTES: usize = 700;
const STREAMS: u64 = 20;

fn main() -> io::Result<()> {
    let lines: u64 = std::env::var("WEIR_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir()?;
    let logs = folder.path().join("pods");
    let bytes = write_logs(&logs, lines)?;
    let sink = Arc::new(Sink::default());
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/loki/api/v1/push", listener.local_addr()?);
    let server = Arc::clone(&sink);
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| server.serve(stream)));
    println!("{lines} lines of {LINE_BYTES} bytes in {STREAMS} files, {:.0} MB", bytes as f64 / 1e6);
    let reference = reference(&logs)?;
    println!("reference: read and cut    {:.3} µs a line", micros(reference, lines));
    let config = folder.path().join("weir.yaml");
    fs::write(&config, configuration(&logs, &folder.path().join("state"), &url))?;
    let agent = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg(format!("-config.file={}", config.display()))
        .args(["-server.http-listen-port=0", "-log.level=warn"])
        .stdin(Stdio::null())
        .spawn()?;
    let id = agent.id();
    let _stop = Stop(agent);
    let began = Instant::now();
    while sink.entries.load(Relaxed) < lines {
        assert!(began.elapsed() < Duration::from_secs(600), "{} of {lines}", sink.entries.load(Relaxed));
        thread::sleep(Duration::from_millis(5));
    }
    let took = began.elapsed();
    let (cpu, peak) = (cpu_time(id)?, peak_bytes(id)?);
    println!(
        "forwarded, whole agent     {:.3} µs a line, {:.1} times the reference",
        micros(cpu, lines),
        cpu.as_secs_f64() / reference.as_secs_f64()
    );
    println!(
        "                           {:.2} s, {:.0} lines/s, {} pushes, {:.0} MB sent, peak RSS {:.1} MiB",
        took.as_secs_f64(),
        lines as f64 / took.as_secs_f64(),
        sink.pushes.load(Relaxed),
        sink.bytes.load(Relaxed) as f64 / 1e6,
        peak as f64 / f64::from(1 << 20)
    );
    Ok(())
}

fn micros(time: Duration, lines: u64) -> f64 {
    time.as_secs_f64() * 1e6 / lines as f64
}

fn configuration(logs: &Path, state: &Path, url: &str) -> String {
    format!(
        "state: {{directory: {}}}\nclients: [{{url: '{url}'}}]\nscrape_configs:\n- job_name: pods\n  \
         pod_directory_sd_configs: [{{root: {}}}]\n  pipeline_stages: [{{cri: {{}}}}]\n",
        state.display(),
        logs.display()
    )
}

/// Access lines of an ingress, no two alike. Returns their bytes.
fn write_logs(logs: &Path, lines: u64) -> io::Result<u64> {
    let mut bytes = 0;
    for stream in 0..STREAMS {
        let folder = logs.join(format!("shop_web-{stream}_0f9d4c1e-7a55-4d0e-9d5e-{stream:012}/web"));
        fs::create_dir_all(&folder)?;
        let mut file = BufWriter::new(File::create(folder.join("0.log"))?);
        for number in (stream..lines).step_by(STREAMS as usize) {
            let line = line(number);
            file.write_all(line.as_bytes())?;
            bytes += line.len() as u64;
        }
        file.flush()?;
    }
    Ok(bytes)
}

fn line(number: u64) -> String {
    let mut noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise
    };
    let (micros, address, id) = (number % 1_000_000, next(), next());
    let [a, b, c, d] = (address as u32).to_be_bytes();
    let mut line = format!(
        "2026-11-21T02:{:02}:{:02}.{micros:06}123Z stdout F {{\"time\": \"2026-11-21T02:26:02+00:00\", \
         \"remote_address\": \"{a}.{b}.{c}.{d}\", \"request\": \"GET /shop/item/{}?page={} HTTP/1.1\", \"status\": {}, \
         \"request_id\": \"{id:016x}{address:016x}\", \"request_time\": 0.{:03}, \"body_bytes_sent\": {}, \"host\": \
         \"shop.example.org\", \"http_user_agent\": \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/120.0.0.0 Safari/537.36\", \"upstream_addr\": \"10.0.{}.{}:8080\", \"ingress_name\": \"shop\", \
         \"namespace\": \"shop\", \"service_name\": \"web\", \"http_referrer\": \"https://shop.example.org/list/{}\", \"pad\": \"",
        number / 1_000_000 / 60 % 60,
        number / 1_000_000 % 60,
        next() % 10_000,
        next() % 50,
        [200, 200, 200, 304, 404][(next() % 5) as usize],
        next() % 1_000,
        next() % 100_000,
        next() % 8,
        next() % 250,
        next() % 5_000
    );
    while line.len() < LINE_BYTES - 3 {
        line.push(char::from(b'a' + (line.len() % 23) as u8));
    }
    line + "\"}\n"
}

/// CPU time of this thread for reading all files in large pieces and finding the ends of their lines.
fn reference(logs: &Path) -> io::Result<Duration> {
    let (mut buffer, mut times) = (vec![0; 256 << 10], Vec::new());
    for _ in 0..3 {
        let began = thread_time();
        let mut found = 0;
        for pod in fs::read_dir(logs)? {
            let mut file = File::open(pod?.path().join("web/0.log"))?;
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                found += memchr::memchr_iter(b'\n', &buffer[..read]).count();
            }
        }
        assert!(found > 0);
        times.push(thread_time() - began);
    }
    times.sort();
    Ok(times[1])
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// User and system time of a process, in hundredths of a second.
fn cpu_time(id: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

fn peak_bytes(id: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024)
}

/// Ends the agent, whatever happens.
struct Stop(std::process::Child);

impl Drop for Stop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Answers 204 to every push, and counts the entries in it.
#[derive(Default)]
struct Sink {
    entries: AtomicU64,
    pushes: AtomicU64,
    bytes: AtomicU64,
}

impl Sink {
    fn serve(self: &Arc<Self>, stream: TcpStream) {
        let sink = Arc::clone(self);
        thread::spawn(move || {
            let _ = sink.answer(stream);
        });
    }

    fn answer(&self, stream: TcpStream) -> io::Result<()> {
        let mut requests = BufReader::with_capacity(1 << 20, stream.try_clone()?);
        let (mut answers, mut body) = (stream, Vec::new());
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if requests.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap_or(0);
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            body.resize(length, 0);
            requests.read_exact(&mut body)?;
            answers.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
            self.pushes.fetch_add(1, Relaxed);
            self.bytes.fetch_add(length as u64, Relaxed);
            self.entries.fetch_add(entries(&body), Relaxed);
        }
    }
}

/// Entries of a push, by the agent's own reader.
fn entries(body: &[u8]) -> u64 {
    weir::sink::wire::Message::unpack(body).map_or(0, |message| message.len() as u64)
}
