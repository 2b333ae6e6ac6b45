//! Every `tests/config/*.bad.yaml` gets exactly the diagnostics of the `.txt` beside it; every `*.good.yaml` gets none.

use std::fs;
use std::path::{Path, PathBuf};
use weir::cli::load::load_file;

fn files(ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("tests/config")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    files
}

fn report(file: &Path) -> (usize, String) {
    let loaded = load_file(file, false).expect("the file can be read");
    let name = file.file_name().expect("a name").to_string_lossy();
    (loaded.errors(), loaded.report(&name))
}

#[test]
fn bad_configurations_get_exactly_their_diagnostics() {
    let files = files(".bad.yaml");
    assert!(files.len() >= 10, "only {} files", files.len());
    let mut different = Vec::new();
    for file in &files {
        let (errors, got) = report(file);
        assert!(errors > 0, "{} has no error", file.display());
        let expected = file.with_extension("txt");
        if std::env::var_os("WEIR_UPDATE").is_some() {
            fs::write(&expected, &got).expect("written");
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if got != wanted {
            different.push(format!("{}\n--- wanted\n{wanted}--- got\n{got}", file.display()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn good_configurations_get_no_diagnostic() {
    let mut good = files(".good.yaml");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/quickstart.yaml");
    good.push(shipped);
    for file in good {
        let loaded = load_file(&file, true).expect("the file can be read");
        assert_eq!(loaded.report("f"), "", "{}", file.display());
    }
}

/// The issue's own measure: ten mistakes, ten diagnostics, each with a place.
#[test]
fn ten_mistakes_get_ten_diagnostics_with_places() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/ten-mistakes.bad.yaml");
    let loaded = load_file(&file, false).expect("the file can be read");
    let text = fs::read_to_string(&file).expect("readable");
    let marked: Vec<u32> =
        text.lines().zip(1..).filter(|(line, _)| line.contains("# mistake")).map(|(_, number)| number).collect();
    let found: Vec<u32> = loaded.findings.iter().map(|finding| finding.span.line).collect();
    assert_eq!(marked.len(), 10);
    assert_eq!(found, marked, "{}", loaded.report("ten-mistakes.bad.yaml"));
}
