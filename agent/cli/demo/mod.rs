//! `weir demo`: the whole job on one machine, in a minute.
//!
//! Real lines of ingress-nginx and ModSecurity are played into a temporary tree like the kubelet's, rotated now and
//! then, and read by the agent with the shipped Kubernetes configuration. Nothing outside the temporary folder is
//! touched; the pages are served on loopback.

mod player;
mod summary;

use super::exit::Exit;
use super::load::load_text;
use crate::app::Running;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::units::parse_duration;
use player::Player;
use rustix::termios::isatty;
use std::io;
use std::time::{Duration, Instant};
use summary::Summary;

/// The configuration that the chart installs.
const CONFIG: &str = include_str!("../../../config/kubernetes.yaml");
/// Countries of the addresses in the played lines (tests/corpus/demo/README.md has source and licence).
const COUNTRIES: &[u8] = include_bytes!("../../../tests/corpus/demo/country.mmdb");

const STEP: Duration = Duration::from_millis(50);
const SHOW_EVERY: Duration = Duration::from_secs(1);
const ROTATE_EVERY: Duration = Duration::from_secs(4);

const USAGE: &str = "\
usage: weir demo [--for DURATION] [--rate LINES] [--listen HOST:PORT]

Plays real ingress-nginx and ModSecurity logs into a temporary folder, runs the agent on it and shows what it counts.

  --for DURATION      end after this time with a summary, e.g. 10s (default: until Ctrl-C)
  --rate LINES        lines per second (default 400)
  --listen HOST:PORT  where the pages are served (default 127.0.0.1:9080, or a free port if that is taken)
";

struct Options {
    run_for: Option<Duration>,
    lines_per_second: u64,
    listen: Option<String>,
}

fn parse(args: &[String]) -> Result<Option<Options>, String> {
    let mut options = Options { run_for: None, lines_per_second: 400, listen: None };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (name, given) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (arg.as_str(), None),
        };
        let mut value = || given.clone().or_else(|| args.next().cloned()).ok_or(format!("`{name}` needs a value"));
        match name.trim_start_matches('-') {
            "for" => {
                let text = value()?;
                options.run_for = Some(parse_duration(&text).ok_or(format!("`{text}` is no duration, such as 10s"))?);
            }
            "rate" => {
                let text = value()?;
                let rate = text.parse().ok().filter(|rate| (1..=100_000).contains(rate));
                options.lines_per_second = rate.ok_or(format!("`{text}` is no rate from 1 to 100000"))?;
            }
            "listen" => options.listen = Some(value()?),
            "h" | "help" => return Ok(None),
            _ => return Err(format!("unknown flag `{arg}`")),
        }
    }
    Ok(Some(options))
}

pub fn run(args: &[String]) -> Exit {
    let options = match parse(args) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return Exit::Clean;
        }
        Err(why) => {
            eprint!("weir demo: {why}\n\n{USAGE}");
            return Exit::Misused;
        }
    };
    match play(&options) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("weir demo: {error}");
            Exit::Failed
        }
    }
}

/// Sets where the server listens: `HOST:PORT`, or a port of the loopback.
fn listen(config: &mut Config, address: &str) {
    let (host, port) = address.rsplit_once(':').unwrap_or(("127.0.0.1", address));
    config.server.http_listen_address = host.to_string();
    config.server.http_listen_port = port.parse().unwrap_or(0);
}

fn play(options: &Options) -> io::Result<Exit> {
    let folder = tempfile::Builder::new().prefix("weir-demo-").tempdir()?;
    let pods = folder.path().join("pods");
    let mut player = Player::new(&pods)?;
    let countries = folder.path().join("country.mmdb");
    std::fs::write(&countries, COUNTRIES)?;

    let environment = |name: &str| match name {
        "WEIR_LOG_ROOT" => Some(pods.display().to_string()),
        "WEIR_GEOIP_DB" => Some(countries.display().to_string()),
        "WEIR_STATE" => Some(folder.path().join("state").display().to_string()),
        "LOKI_URL" => Some(String::new()),
        _ => None,
    };
    let loaded = load_text(CONFIG, Some(&environment));
    let Some(mut config) = loaded.config else {
        return Err(io::Error::other(loaded.report("config/kubernetes.yaml")));
    };
    // A stranger's machine: loopback only.
    listen(&mut config, options.listen.as_deref().unwrap_or("127.0.0.1:9080"));
    let agent = match Running::start(config, None, false) {
        Err(_) if options.listen.is_none() => {
            let mut config = load_text(CONFIG, Some(&environment)).config.expect("it was read a moment ago");
            listen(&mut config, "127.0.0.1:0");
            Running::start(config, None, false)?
        }
        started => started?,
    };
    let address = agent.address().map_or("nowhere".to_string(), |address| address.to_string());
    println!("playing real ingress-nginx logs into {}", pods.display());
    println!("metrics: http://{address}/metrics   pages: http://{address}/targets");

    let mut summary = Summary::new(isatty(io::stdout()));
    let started = Instant::now();
    let (mut shown, mut rotated) = (started, started);
    while !agent.interrupted() && options.run_for.is_none_or(|time| started.elapsed() < time) {
        let lines = (started.elapsed().as_secs_f64() * options.lines_per_second as f64) as u64;
        player.write(lines.saturating_sub(player.written()) as usize, SystemClock.now())?;
        if rotated.elapsed() >= ROTATE_EVERY {
            rotated = Instant::now();
            player.rotate(SystemClock.now())?;
        }
        if shown.elapsed() >= SHOW_EVERY {
            shown = Instant::now();
            if let Some(report) = agent.report() {
                summary.show(&report, &player)?;
            }
        }
        std::thread::sleep(STEP);
    }
    agent.drain();
    let Some(report) = agent.report() else { return Err(io::Error::other("the agent ended by itself")) };
    summary.finish(&report, &player)?;
    agent.stop()?;
    let read: u64 = report.books.iter().filter(|b| b.job == "ingress-nginx").map(|b| b.read).sum();
    Ok(if read == player.written() { Exit::Clean } else { Exit::Failed })
}
