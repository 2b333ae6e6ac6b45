//! What grows with what: `cargo bench --bench scale`. Lines over files, series, a scrape, and an agent with nothing to do.
//!
//! Each figure comes from a process of its own. `WEIR_ONLY=files,series,scrape,idle` for a part; `WEIR_SECONDS` (20) is
//! how long the idle agent is watched.

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::agent::Agent;
use support::database;
use support::following::Following;
use support::lines::Format;
use support::measure::{median, number, peak_bytes, resident_bytes, thread_time};
use support::random::Random;
use support::tree::{self, Tree};
use support::workload::Workload;
use weir::metrics::{Family, Format as Page, Kind, LabelKey, LabelName, Limit, Shown, Store, encode};

const MIB: f64 = (1 << 20) as f64;
const LINES: usize = 100_000;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--measure") {
        let number = args[at + 2].parse().expect("a number");
        return match args[at + 1].as_str() {
            "series" => series(number),
            name => files(Workload::named(name), number),
        };
    }
    let only = std::env::var("WEIR_ONLY").ok();
    let wanted = |part: &str| only.as_ref().is_none_or(|only| only.split(',').any(|o| o == part));
    if wanted("files") {
        println!("| workload | files | reader ns/line | peak RSS MiB |\n|---|---|---|---|");
        for name in ["W2", "W3"] {
            [1, 10, 100].iter().try_for_each(|files| itself(name, *files))?;
        }
    }
    if wanted("series") {
        println!(
            "\n| series | birth ns | update ns | RSS B/series | with an image | page MB | page ns/series | peak RSS MiB |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        [10_000, 100_000, 1_000_000].iter().try_for_each(|series| itself("series", *series))?;
    }
    if wanted("scrape") {
        scrape(100_000)?;
    }
    if wanted("idle") {
        idle(2_000)?;
    }
    Ok(())
}

/// A row from a process of its own.
fn itself(what: &str, number: usize) -> io::Result<()> {
    let mut again = Command::new(std::env::current_exe()?);
    let status = again.args(["--measure", what, &number.to_string()]).stdin(Stdio::null()).status()?;
    assert!(status.success(), "{what} {number}");
    Ok(())
}

/// A workload over so many logs.
fn files(workload: &Workload, files: usize) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("country.mmdb"), database::country())?;
    let loki = support::loki::serve()?;
    let mut tree = Tree::new(folder.path(), workload.format, files)?;
    let mut following = Following::start(workload, folder.path(), &loki);
    let mut times = Vec::new();
    for _ in 0..7 {
        tree.grow(LINES)?;
        let began = thread_time();
        following.read(LINES as u64);
        times.push((thread_time() - began).as_nanos() as f64 / LINES as f64);
        following.delivered();
    }
    following.check();
    println!(
        "| {} | {files} | {:.0} | {:.1} |",
        workload.name,
        median(times.into_iter().skip(2)),
        peak_bytes() as f64 / MIB
    );
    Ok(())
}

/// A store with so many series of one counter, and its page.
fn series(number: usize) -> io::Result<()> {
    let mut store = Store::new();
    let family = Family { name: "c_total".into(), help: String::new(), kind: Kind::Counter, max_idle: None };
    let family = store.define(family).expect("a family");
    let names = ["client_ip", "country", "namespace"].map(|name| store.label_name(name));
    let group = store.group(&[family], Limit { series_max: number, ..Limit::default() });
    let (mut key, mut address, before) = (LabelKey::new(), String::new(), resident_bytes());
    let mut count = |store: &mut Store, at: u32| {
        use std::fmt::Write as _;
        address.clear();
        // Every address once.
        let _ = write!(address, "{}", Ipv4Addr::from(at.wrapping_mul(2_654_435_761)));
        fill(&mut key, &names, &address);
        let row = store.row(group, &mut key, 1);
        store.cells(group, row).inc(0).expect("a counter");
    };
    let began = thread_time();
    (0..number as u32).for_each(|at| count(&mut store, at));
    let births = thread_time() - began;
    let held = resident_bytes() - before;
    let (mut random, updates) = (Random::new(1), 1_000_000);
    let began = thread_time();
    (0..updates).for_each(|_| count(&mut store, random.below(number) as u32));
    let updating = thread_time() - began;
    let image = store.cut(false, Duration::from_secs(1));
    let with_image = resident_bytes() - before;
    let (mut page, mut times) = (Counted(0), Vec::new());
    for _ in 0..5 {
        page = Counted(0);
        let began = thread_time();
        encode(Page::Text004, &image, &[], &mut page, Shown::ToScraper).expect("a page");
        times.push((thread_time() - began).as_nanos() as f64 / number as f64);
    }
    println!(
        "| {number} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} | {:.0} | {:.1} |",
        births.as_nanos() as f64 / number as f64,
        updating.as_nanos() as f64 / f64::from(updates),
        held as f64 / number as f64,
        with_image as f64 / number as f64,
        page.0 as f64 / 1e6,
        median(times),
        peak_bytes() as f64 / MIB
    );
    Ok(())
}

fn fill(key: &mut LabelKey, names: &[LabelName; 3], address: &str) {
    key.clear();
    for (name, value) in names.iter().zip([address, "DE", "shop"]) {
        key.push(*name, value.as_bytes());
    }
}

/// Takes a page and keeps only its length.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const SCRAPED: &str = "
state: {directory: STATE}
scrape_configs:
- job_name: clients
  static_configs: [{labels: {__path__: LOG}}]
  pipeline_stages:
  - regex: {expression: '^(?P<client_ip>\\S+)'}
  - metrics:
      requests_total: {type: Counter, max_series: 100000, labels: {client_ip: }, source: client_ip, config: {action: inc}}
";

/// Scrapes of a running agent, a second apart: each sees a cut of its own.
fn scrape(number: usize) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("clients.log");
    let addresses = (0..number as u32).map(|at| format!("{}\n", Ipv4Addr::from(at.wrapping_mul(2_654_435_761))));
    fs::write(&log, addresses.collect::<String>())?;
    let text = SCRAPED.replace("LOG", &log.display().to_string());
    let agent =
        Agent::start(folder.path(), &text.replace("STATE", &folder.path().join("state").display().to_string()))?;
    // Until all is read, and newborn series are shown to nobody as 0 any more.
    sleep(Duration::from_secs(5));
    println!(
        "\n| scrape of {number} series | bytes | CPU ms, whole agent | RSS before MiB | peak after MiB |\n|---|---|---|---|---|"
    );
    for gzip in [false, true] {
        let before = agent.resident_bytes()?;
        let (mut times, mut bytes) = (Vec::new(), 0);
        for _ in 0..5 {
            // What the agent does in a second anyway is taken off.
            let began = agent.cpu_time()?;
            sleep(Duration::from_secs(1));
            let idle = agent.cpu_time()? - began;
            let began = agent.cpu_time()?;
            bytes = get(agent.port, gzip)?.len();
            sleep(Duration::from_secs(1));
            times.push((agent.cpu_time()? - began).as_secs_f64() * 1e3 - idle.as_secs_f64() * 1e3);
        }
        assert!(gzip || bytes > number * 40, "{bytes} bytes");
        let name = if gzip { "gzip" } else { "plain" };
        let (before, peak) = (before as f64 / MIB, agent.peak_bytes()? as f64 / MIB);
        println!("| {name} | {bytes} | {:.0} | {before:.1} | {peak:.1} |", median(times));
    }
    Ok(())
}

fn get(port: u16, gzip: bool) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let accept = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n{accept}Connection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// An agent with the shipped configuration and so many logs that nobody writes to.
fn idle(files: usize) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("country.mmdb"), database::country())?;
    Tree::new(folder.path(), Format::Json, files)?.grow(files * 20)?;
    let root = tree::root(folder.path(), Format::Json).display().to_string();
    let text = include_str!("../config/kubernetes.yaml")
        .replace("${WEIR_LOG_ROOT:-/var/log/pods}", &root)
        .replace(
            "${WEIR_GEOIP_DB:-/etc/maxmind/GeoLite2-Country.mmdb}",
            &folder.path().join("country.mmdb").display().to_string(),
        )
        .replace("${WEIR_STATE:-/var/lib/weir}", &folder.path().join("state").display().to_string())
        .replace("${NODE_NAME:-}", "")
        .replace("${LOKI_URL:-}", "")
        .replace("${WEIR_INGRESS_NAMESPACES:-ingress-nginx}", "ingress-nginx")
        .replace("${WEIR_TRUSTED_PROXIES:-}", "")
        .replace("${WEIR_CLIENT_SOURCES:-x_forwarded_for}", "x_forwarded_for")
        .replace("${WEIR_ANONYMIZE:-}", "");
    assert!(!text.contains("${"), "a variable that has no value here");
    let agent = Agent::start(folder.path(), &text)?;
    sleep(Duration::from_secs(15));
    let (start, seconds) = (agent.cpu_time()?, number("WEIR_SECONDS", 20));
    let began = Instant::now();
    sleep(Duration::from_secs(seconds as u64));
    let used = (agent.cpu_time()? - start).as_secs_f64() * 1e3 / began.elapsed().as_secs_f64();
    println!("\n| idle, {files} files | CPU ms/s | start CPU s | RSS MiB |\n|---|---|---|---|");
    println!(
        "| kubernetes.yaml | {used:.2} | {:.2} | {:.1} |",
        start.as_secs_f64(),
        agent.resident_bytes()? as f64 / MIB
    );
    Ok(())
}
