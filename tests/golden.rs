//! Every case of `tests/golden`, by the harness of `weir test`: a configuration, an input, what must come out.

use std::path::{Path, PathBuf};
use weir::cli::golden::{check_case, find_cases};
use weir::pipeline::stage::NAMES;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[test]
fn every_case_gives_what_is_expected() {
    let mut cases = Vec::new();
    find_cases(&root(), &mut cases);
    assert!(cases.len() >= NAMES.len(), "only {} cases", cases.len());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| check_case(case, false).err().map(|why| format!("{}:\n{why}", case.display())))
        .collect();
    assert!(failures.is_empty(), "{} of {} cases differ\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn every_stage_has_a_case() {
    for name in NAMES {
        assert!(root().join(name).is_dir(), "the stage `{name}` has no folder in tests/golden");
    }
}

#[test]
fn a_case_that_differs_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("config.yaml", "scrape_configs: [{job_name: a, static_configs: [{labels: {__path__: x}}]}]\n");
    write("input.log", "one\n");
    write("expected.entries", "two\n");
    let why = check_case(folder.path(), false).expect_err("the line is another one");
    assert!(why.contains("- two") && why.contains("+ 2026-01-01T00:00:00Z\t{filename=\"input.log\"}\tone"), "{why}");
}
