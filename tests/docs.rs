//! What the documents say that can be compared with the program: names, flags, links, configurations.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use weir::cli::flags::Flags;
use weir::cli::load::load_text;
use weir::diagnostic::Diagnostics;
use weir::metrics::Own;
use weir::pipeline::stage::NAMES;
use weir::yaml::{self, Node, Value};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder whose names end so; what is built or hidden is left out.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

/// The texts between backticks.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

fn row(name: &str, labels: &[&str], help: &str) -> String {
    let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{name}` | {} | {} |", labels.join(", "), help.replace('|', "\\|"))
}

/// `process_*` have no constant to read; the page of an idle agent shows them.
fn process_rows() -> Vec<String> {
    let families = Own::new("0").gather();
    let process = families.iter().filter(|family| family.name().starts_with("process_"));
    process.map(|family| row(family.name(), &[], family.help())).collect()
}

/// With `WEIR_UPDATE` set the table is written anew.
#[test]
fn the_reference_of_metrics_lists_exactly_the_agents_own() {
    const MARKS: [&str; 2] = ["<!-- generated: WEIR_UPDATE=1 cargo test --test docs -->\n", "<!-- end -->"];
    let declared = Own::DECLARED.iter().map(|metric| row(metric.name, metric.labels, metric.help));
    let mut rows: Vec<String> = declared.chain(process_rows()).collect();
    rows.sort();
    let mut table = "| metric | labels | |\n|---|---|---|\n".to_string();
    rows.iter().for_each(|row| writeln!(table, "{row}").expect("a String takes all"));

    let page = read("docs/metrics.md");
    let (before, rest) = page.split_once(MARKS[0]).expect("the first mark");
    let (shown, after) = rest.split_once(MARKS[1]).expect("the second mark");
    if std::env::var_os("WEIR_UPDATE").is_some() {
        let page = [before, MARKS[0], &table, MARKS[1], after].concat();
        fs::write(root().join("docs/metrics.md"), page).expect("written");
        return;
    }
    assert_eq!(shown, table, "run `WEIR_UPDATE=1 cargo test --test docs` to write the table anew");
}

#[test]
fn every_stage_is_documented() {
    let pages = read("docs/stages.md") + &read("docs/compatibility.md");
    let named = quoted(&pages);
    let missing: Vec<_> = NAMES.iter().filter(|name| !named.contains(**name)).collect();
    assert!(missing.is_empty(), "neither in docs/stages.md nor in docs/compatibility.md: {missing:?}");
}

#[test]
fn every_flag_is_documented() {
    let usage = Flags::usage();
    let flags = usage.lines().filter_map(|line| line.strip_prefix("  -")?.split(' ').next());
    let page = read("docs/configuration.md");
    let named = quoted(&page);
    let missing: Vec<_> = flags.filter(|flag| !named.contains(format!("-{flag}").as_str())).collect();
    assert!(missing.is_empty(), "not in docs/configuration.md: {missing:?}");
}

/// The rows of README's table for the metrics of a configuration, wherever `metrics` stages stand.
fn metric_rows(node: &Node, rows: &mut BTreeSet<String>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| metric_rows(item, rows)),
        Value::Map(entries) => {
            for (key, value) in entries {
                match &value.value {
                    Value::Map(metrics) if key.text() == Some("metrics") => {
                        rows.extend(metrics.iter().map(|(name, body)| metric_row(name, body)));
                    }
                    _ => metric_rows(value, rows),
                }
            }
        }
        _ => {}
    }
}

fn metric_row(name: &Node, body: &Node) -> String {
    let text = |key| body.get(key).and_then(Node::text).unwrap_or_default();
    let name = format!("{}{}", text("prefix"), name.text().unwrap_or_default());
    let labels: Vec<String> = match body.get("labels").map(|node| &node.value) {
        Some(Value::Map(labels)) => {
            labels.iter().filter_map(|(label, _)| Some(format!("`{}`", label.text()?))).collect()
        }
        _ => Vec::new(),
    };
    let kind = if text("type") == "Counter" { String::new() } else { format!(" ({})", text("type").to_lowercase()) };
    format!("| `{name}`{kind} | {} |", labels.join(", "))
}

#[test]
fn the_readme_lists_the_metrics_of_the_kubernetes_configuration() {
    let text = weir::config::expand::expand(&read("config/kubernetes.yaml"), &|_| None, &mut Diagnostics::new());
    let tree = yaml::parse(&text, &mut Diagnostics::new()).expect("YAML");
    let mut wanted = BTreeSet::new();
    metric_rows(&tree, &mut wanted);
    assert!(wanted.len() > 10, "{wanted:?}");
    let readme = read("README.md");
    let shown = readme.lines().filter(|line| line.starts_with("| `weir_")).map(str::to_string);
    assert_eq!(shown.collect::<BTreeSet<_>>(), wanted);
}

#[test]
fn whole_configurations_in_the_documents_load() {
    let mut found = 0;
    for page in ["README.md", "docs/configuration.md", "docs/operations.md", "docs/compatibility.md"] {
        let text = read(page);
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        for block in blocks.filter(|block| block.contains("scrape_configs:")) {
            found += 1;
            let loaded = load_text(block, Some(&|_: &str| None));
            assert_eq!(loaded.errors(), 0, "{page}:\n{}", loaded.report("block"));
        }
    }
    assert!(found > 0, "no configuration found: does the fence begin with ```yaml?");
}

/// A heading as GitHub names it in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut pages = Vec::new();
    files(root(), ".md", &mut pages);
    let mut broken = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let to = if path.is_empty() { page.clone() } else { page.with_file_name("").join(path) };
            let there = heading.is_empty()
                || fs::read_to_string(&to)
                    .is_ok_and(|text| text.lines().any(|line| line.starts_with('#') && anchor(line) == heading));
            if !to.exists() || !there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(pages.len() > 8 && broken.is_empty(), "{broken:#?}");
}

/// All source files in one text, to look for the names of tests in.
fn code() -> String {
    let mut sources = Vec::new();
    for folder in ["agent", "tests"] {
        files(&root().join(folder), ".rs", &mut sources);
    }
    sources.iter().map(|path| fs::read_to_string(path).expect("a source file")).collect()
}

fn is_test(code: &str, name: &str) -> bool {
    code.contains(&format!("fn {name}("))
}

/// A promise names the tests that stand behind it; a renamed test would leave it standing alone.
#[test]
fn every_test_that_the_documents_name_exists() {
    let code = code();
    let mut checked = 0;
    for page in ["README.md", "docs/promises.md", "docs/operations.md"] {
        // Names of tests are sentences: longer than any name of a metric.
        for name in quoted(&read(page)).into_iter().filter(|name| is_test_name(name)) {
            checked += 1;
            assert!(is_test(&code, name), "{page}: there is no test `{name}`");
        }
    }
    assert!(checked > 20, "only {checked}");
}

/// A row begins with its number. Its last cell names tests, some of which have short names; a row without a test says
/// why in the cell before.
#[test]
fn every_fault_has_a_test_or_a_reason() {
    const FAULTS: usize = 84;
    const COVERED_MIN: usize = 67;
    const REASONS: [&str; 2] = ["Delivery", "Not promised: "];
    let (page, code) = (read("docs/faults.md"), code());
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        Some((cells[0].parse::<usize>().ok()?, cells))
    });
    let (mut numbers, mut covered) = (Vec::new(), 0);
    for (number, cells) in rows {
        numbers.push(number);
        let [_, fault, done, shown] = cells[..] else { panic!("row {number} has {} cells", cells.len()) };
        assert!(!fault.is_empty() && !done.is_empty(), "row {number} says nothing");
        let tests: Vec<&str> = quoted(shown).into_iter().filter(|name| is_name_of_code(name)).collect();
        match tests.is_empty() {
            true => {
                assert!(shown == "–" && REASONS.iter().any(|reason| done.starts_with(reason)), "row {number}: why?")
            }
            false => covered += 1,
        }
        let missing: Vec<_> = tests.into_iter().filter(|name| !is_test(&code, name)).collect();
        assert!(missing.is_empty(), "row {number}: there is no test {missing:?}");
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=FAULTS).collect::<Vec<_>>(), "each fault stands there once");
    assert!(covered >= COVERED_MIN, "only {covered} of {FAULTS} rows have tests");
    // What stands outside of the table.
    for name in quoted(&page).into_iter().filter(|name| is_test_name(name)) {
        assert!(is_test(&code, name), "there is no test `{name}`");
    }
}

/// Words joined by underscores, and no metric: in the last cell of a fault, the name of a test.
fn is_name_of_code(name: &str) -> bool {
    let words = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    words && name.contains('_') && !OTHER_NAMES.contains(&name) && !name.starts_with("weir_")
}

/// Names in the table that are no tests: keys of the configuration.
const OTHER_NAMES: [&str; 2] = ["older_than", "kubernetes_sd_configs"];

fn is_test_name(name: &str) -> bool {
    let words = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let metric = ["_", "weir_", "promtail_", "process_", "geoip_"].iter().any(|prefix| name.starts_with(prefix));
    words && !metric && name.matches('_').count() >= 4
}
