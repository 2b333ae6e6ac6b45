//! `weir test DIR`: golden tests of a configuration. The same harness runs weir's own.
//!
//! A case is a folder:
//!
//! ```text
//! config.yaml        the configuration (or `config.path`: where it is, relative to the folder)
//! env                KEY=VALUE lines for ${…}; WEIR_TEST_DIR is the folder itself
//! input.log          lines for every job, as a source with the labels of the job's first target
//! input.JOB.log      lines for one job
//! input/             or a tree of files, which the configuration's own targets find
//! expected.prom      the exposition of the log-derived series afterwards
//! expected.entries   the entries that reach the end, as -dry-run prints them
//! ```
//!
//! Either expectation may be left out. The clock stands at 2026-01-01T00:00:00Z; the folder's path is left out of
//! what is compared.

use super::exit::Exit;
use super::load::{Environment, Loaded, load_text};
use crate::app::Engine;
use crate::clock::ManualClock;
use crate::metrics::{Format, Shown, encode};
use crate::sink::Printer;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use std::sync::{Arc, Mutex, PoisonError};

/// The time at which every case runs: 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600_000_000_000;

const USAGE: &str = "\
usage: weir test [-update] DIR...

Runs golden tests: each folder below DIR that holds a `config.yaml` (or `config.path`) is a case with `input.log`,
`input.JOB.log` or a tree `input/`, and with `expected.prom`, `expected.entries` or both.

  -update   write what came out as what is expected

Exit codes: 0 all as expected, 1 a case differs, 2 called wrongly or nothing found.
";

pub fn run(args: &[String]) -> Exit {
    let mut update = false;
    let mut folders = Vec::new();
    for arg in args {
        match arg.as_str() {
            "-update" | "--update" => update = true,
            "-h" | "-help" | "--help" => {
                print!("{USAGE}");
                return Exit::Clean;
            }
            _ if arg.starts_with('-') => {
                eprint!("weir test: unknown flag `{arg}`\n\n{USAGE}");
                return Exit::Misused;
            }
            _ => folders.push(PathBuf::from(arg)),
        }
    }
    let mut cases = Vec::new();
    for folder in &folders {
        find_cases(folder, &mut cases);
    }
    if cases.is_empty() {
        eprint!("weir test: no case found\n\n{USAGE}");
        return Exit::Misused;
    }
    let mut failed = 0;
    for case in &cases {
        match check_case(case, update) {
            Ok(()) => println!("ok      {}", case.display()),
            Err(why) => {
                failed += 1;
                println!("FAILED  {}\n{}", case.display(), indent(&why));
            }
        }
    }
    println!("{} passed, {failed} failed", cases.len() - failed);
    if failed == 0 { Exit::Clean } else { Exit::Failed }
}

fn indent(text: &str) -> String {
    text.lines().fold(String::new(), |mut out, line| {
        let _ = writeln!(out, "        {line}");
        out
    })
}

/// The cases at and below a folder, in the order of their names.
pub fn find_cases(folder: &Path, cases: &mut Vec<PathBuf>) {
    if folder.join("config.yaml").is_file() || folder.join("config.path").is_file() {
        cases.push(folder.to_path_buf());
        return;
    }
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut below: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    below.sort();
    for folder in below {
        find_cases(&folder, cases);
    }
}

/// What a case gives.
struct Outcome {
    exposition: String,
    entries: String,
}

/// Runs a case and compares, or writes what came out.
pub fn check_case(case: &Path, update: bool) -> Result<(), String> {
    let outcome = run_case(case).map_err(|error| error.to_string())?;
    let mut compared = 0;
    // A new case gets both expectations; an old one keeps those that it has.
    let fresh = !case.join("expected.prom").exists() && !case.join("expected.entries").exists();
    let mut differences = String::new();
    for (name, got) in [("expected.prom", &outcome.exposition), ("expected.entries", &outcome.entries)] {
        let path = case.join(name);
        if update {
            if path.exists() || (fresh && !got.is_empty()) {
                fs::write(&path, got).map_err(|error| format!("{}: {error}", path.display()))?;
            }
            compared += 1;
            continue;
        }
        let Ok(wanted) = fs::read(&path) else { continue };
        compared += 1;
        let wanted = String::from_utf8_lossy(&wanted).into_owned();
        if wanted != *got {
            let _ = write!(differences, "{name}:\n{}", difference(&wanted, got));
        }
    }
    match (compared, differences.is_empty()) {
        (0, _) => {
            Err("the case expects nothing: add `expected.prom` or `expected.entries` (-update writes them)".into())
        }
        (_, true) => Ok(()),
        (_, false) => Err(differences),
    }
}

/// Lines of the one that the other does not have, in their order.
fn difference(wanted: &str, got: &str) -> String {
    let mut out = String::new();
    for line in wanted.lines().filter(|line| !got.lines().any(|l| l == *line)) {
        let _ = writeln!(out, "- {line}");
    }
    for line in got.lines().filter(|line| !wanted.lines().any(|l| l == *line)) {
        let _ = writeln!(out, "+ {line}");
    }
    if out.is_empty() {
        out.push_str("the same lines in another order or number\n");
    }
    out
}

/// Standard output of a case, shared between the engine and the harness.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run_case(case: &Path) -> io::Result<Outcome> {
    let folder = case.canonicalize()?;
    let (file, loaded) = load_case(&folder)?;
    let Some(config) = &loaded.config else {
        return Err(io::Error::other(loaded.report(&file.display().to_string())));
    };
    let entries = Shared::default();
    let mut engine = Engine::new(config, Arc::new(ManualClock::at(NOW)));
    engine.check_geoip();
    engine.set_output(Box::new(Printer::new(entries.clone())));
    if folder.join("input").is_dir() {
        engine.run_to_end(&mut |_| {});
    }
    for job in &config.scrape_configs {
        let name = &job.job_name.value;
        for input in ["input.log".to_string(), format!("input.{name}.log")] {
            if let Ok(text) = fs::read(folder.join(&input)) {
                engine.feed_job(name, &input, &text);
            }
        }
    }
    engine.finish();
    let mut exposition = Vec::new();
    encode(Format::Text004, &engine.snapshot(), &[], &mut exposition, Shown::ToPerson).map_err(io::Error::other)?;
    let prefix = format!("{}/", folder.display());
    let tidy = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&prefix, "");
    let entries = entries.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Outcome { exposition: tidy(&exposition), entries: tidy(&entries) })
}

fn load_case(folder: &Path) -> io::Result<(PathBuf, Loaded)> {
    let file = match fs::read_to_string(folder.join("config.path")) {
        Ok(path) => folder.join(path.trim()),
        Err(_) => folder.join("config.yaml"),
    };
    let own = folder.display().to_string();
    let mut variables: HashMap<String, String> = HashMap::new();
    variables.insert("WEIR_TEST_DIR".into(), own.clone());
    for line in fs::read_to_string(folder.join("env")).unwrap_or_default().lines() {
        if let Some((name, value)) = line.split_once('=') {
            variables.insert(name.trim().into(), value.trim().replace("$WEIR_TEST_DIR", &own));
        }
    }
    let text = fs::read_to_string(&file)?;
    let environment = |name: &str| variables.get(name).cloned();
    // A case without variables has no need of expansion, and its `$1` stays what it is.
    let expand = folder.join("env").exists();
    Ok((file, load_text(&text, expand.then_some(&environment as Environment<'_>))))
}
