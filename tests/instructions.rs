//! Instructions a line by callgrind: as many as benches/instructions.toml says, give or take three in a hundred.
//!
//! Time is noisy where others run, instructions are not: what slows a line down is seen here, in the change that did
//! it. The release build of benches/instructions.rs reads the same log a few times in one run and more often in another;
//! the difference is what a line costs once series exist and buffers have grown. `WEIR_UPDATE=1` writes the figures anew.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::process::real_parts;

const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.toml");
/// Lines of the log, and how often the two runs read it.
const LINES: u64 = 4_000;
const PASSES: [u64; 2] = [2, 4];
const TOLERANCE: f64 = 0.03;

/// What is counted: a workload of benches/support/workload.rs, and whether its batches are compressed.
const COUNTED: [(&str, &str, bool); 9] = [
    ("W1", "W1", false),
    ("W2", "W2", false),
    ("W2-text", "W2-text", false),
    ("W2-docker", "W2-docker", false),
    ("W2p", "W2p", false),
    ("W3-reader", "W3", false),
    ("W3-all", "W3", true),
    ("W4-reader", "W4", false),
    ("W4-all", "W4", true),
];

#[test]
fn a_line_takes_as_many_instructions_as_is_written_down() {
    let update = std::env::var_os("WEIR_UPDATE").is_some();
    if !update && !real_parts("instructions a line; needs valgrind") {
        return;
    }
    let driver = driver();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let written = Command::new(&driver).arg("write").arg(folder.path()).arg(LINES.to_string()).status();
    assert!(written.expect("the driver").success());
    let counted: BTreeMap<&str, f64> = COUNTED
        .iter()
        .map(|(name, workload, packs)| {
            let [few, many] = PASSES.map(|passes| instructions(&driver, workload, folder.path(), passes, *packs));
            (*name, (many - few) as f64 / ((PASSES[1] - PASSES[0]) * LINES) as f64)
        })
        .collect();
    counted.iter().for_each(|(name, count)| println!("{name}: {count:.0} instructions a line"));
    let text = fs::read_to_string(FIGURES).expect("the figures");
    if update {
        let comment = text.lines().filter(|line| line.starts_with('#'));
        let mut updated: String = comment.map(|line| format!("{line}\n")).collect();
        counted.iter().for_each(|(name, count)| writeln!(updated, "{name} = {count:.0}").expect("memory"));
        fs::write(FIGURES, updated).expect("the figures, written");
        return;
    }
    let figures = figures(&text);
    assert_eq!(counted.keys().collect::<Vec<_>>(), figures.keys().collect::<Vec<_>>(), "names in {FIGURES}");
    let off: Vec<String> = counted
        .iter()
        .filter(|(name, count)| (**count / figures[**name] - 1.0).abs() > TOLERANCE)
        .map(|(name, count)| format!("{name}: {count:.0}, and {:.0} is written down", figures[name]))
        .collect();
    assert!(off.is_empty(), "{}\nIf that is meant: WEIR_UPDATE=1 cargo test --test instructions", off.join("\n"));
}

/// The release build of the driver.
fn driver() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["bench", "--locked", "--no-run", "--bench", "instructions", "--message-format=json"]);
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let messages = String::from_utf8(built.stdout).expect("JSON");
    let executable = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from).filter(|_| message["target"]["name"] == "instructions")
    });
    executable.collect::<Vec<_>>().pop().expect("an executable")
}

/// All instructions of a run of the driver.
fn instructions(driver: &Path, workload: &str, folder: &Path, passes: u64, packs: bool) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(driver);
    valgrind.args([workload.as_ref(), folder.as_os_str(), passes.to_string().as_ref()]);
    if packs {
        valgrind.env("WEIR_PACK", "1");
    }
    let run = valgrind.output().expect("valgrind");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{workload}: {said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    collected.expect("a sum").1.trim().parse().expect("a number")
}

fn figures(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, figure) = line.split_once(" = ").unwrap_or_else(|| panic!("{line}: no figure"));
            (name, figure.parse().unwrap_or_else(|_| panic!("{line}: no number")))
        })
        .collect()
}
