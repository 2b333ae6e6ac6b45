//! Holds the source to the rules that ARCHITECTURE.md states: which module may import which, and how big a file grows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules in the order of a line's way. A module imports only from groups above its own; the modules of one group
/// do not see each other, but for the foundations, which may.
const GROUPS: [&[&str]; 12] = [
    &["clock", "diagnostic", "disk", "keep", "labels", "pattern", "span", "units", "words", "yaml"],
    &["decode", "geoip", "metrics"],
    &["relabel", "selector", "template"],
    &["pipeline"],
    &["checkpoint", "ledger", "sink"],
    &["discovery", "source"],
    &["server"],
    &["config"],
    &["app"],
    &["cli"],
    &["main"],
    &["lib"],
];
const FOUNDATIONS: usize = 0;

/// A file should hold one idea in about 400 lines; past this it holds two.
const FILE_LINES_MAX: usize = 450;
/// Names that say nothing of what is inside, and so take in anything.
const EMPTY_NAMES: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "manager", "misc", "shared"];
/// Files that may hold `unsafe`, each with its reason beside it here.
const UNSAFE_ALLOWED: [&str; 2] = [
    // One call to glibc's allocator, which no safe crate offers.
    "agent/cli/heap.rs",
    // Vector comparisons of 16 and 32 bytes that are borrowed as an array, the latter by AVX2 where the processor has it; and
    // one look at 32 bytes of a line without a second check of its bounds. Tests compare them with a way that is safe.
    "agent/decode/json/block.rs",
];

#[test]
fn a_module_imports_only_from_groups_before_its_own() {
    let mut wrong = Vec::new();
    for file in sources() {
        for (line, imported) in imports(&file.code) {
            if let Some(reason) = refusal(&file.module, &imported) {
                wrong.push(format!("{}:{line}: `{}` imports `crate::{imported}`: {reason}", file.name, file.module));
            }
        }
    }
    report("imports against the order of the modules", &wrong);
}

#[test]
fn every_module_has_its_place_in_the_order() {
    let table = fs::read_to_string(root().join("agent/lib.rs")).expect("agent/lib.rs is there");
    let mut wrong = Vec::new();
    for declared in declared_modules(&without_text(&table)) {
        if group_of(&declared).is_none() {
            wrong.push(format!(
                "agent/lib.rs declares `{declared}`: give it a place in GROUPS in tests/architecture.rs"
            ));
        }
    }
    for file in sources() {
        if group_of(&file.module).is_none() {
            wrong.push(format!("{}: no group holds the module `{}`", file.name, file.module));
        }
    }
    report("modules without a place", &wrong);
}

#[test]
fn no_source_file_outgrows_one_idea() {
    let long = sources().into_iter().filter(|file| file.lines > FILE_LINES_MAX);
    let wrong: Vec<_> = long.map(|file| format!("{}: {} lines of {FILE_LINES_MAX}", file.name, file.lines)).collect();
    report("files that are too long", &wrong);
}

#[test]
fn no_source_file_has_an_empty_name() {
    let parts = |name: &str| name.trim_end_matches(".rs").split('/').map(str::to_owned).collect::<Vec<_>>();
    let empty = |name: &str| parts(name).iter().any(|part| EMPTY_NAMES.contains(&part.as_str()));
    let wrong: Vec<_> = sources().into_iter().map(|file| file.name).filter(|name| empty(name)).collect();
    report("files named for nothing that is in them", &wrong);
}

#[test]
fn unsafe_stands_only_where_it_is_allowed() {
    let mut wrong = Vec::new();
    for file in sources().iter().filter(|file| !UNSAFE_ALLOWED.contains(&file.name.as_str())) {
        wrong.extend(places_of(&file.code, &["unsafe"]).map(|line| format!("{}:{line}", file.name)));
    }
    report("unsafe code", &wrong);
}

#[test]
fn production_code_neither_unwraps_nor_is_left_unfinished() {
    let mut wrong = Vec::new();
    for file in sources() {
        // Files that are tests as a whole are declared so by their modules.
        if file.name.ends_with("tests.rs") || file.name.ends_with("/properties.rs") {
            continue;
        }
        let production = file.code.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in production.lines().enumerate() {
            if [".unwrap()", "todo!(", "unimplemented!(", "dbg!("].iter().any(|bad| line.contains(bad)) {
                wrong.push(format!("{}:{}: {}", file.name, number + 1, line.trim()));
            }
        }
    }
    report("panics or loose ends above the tests of a file", &wrong);
}

#[test]
fn the_reader_of_imports_sees_every_form_and_no_text() {
    let code = r##"
        use crate::decode::cri; // crate::app
        use crate::{config::Config, app, pipeline::{Stage, crate_like::X}};
        /// [`crate::cli`] /* crate::cli */
        /* crate::cli /* nested crate::cli */ crate::cli */
        let text = ("crate::cli", r#"crate::cli " crate::cli"#, b"\" crate::cli", '"', '\'', 'x', "crate::cli");
        fn f<'a>(x: &'a crate::labels::Labels) -> crate :: span::Span { mycrate::cli() }
        pub(in crate::server) struct S;
    "##;
    let found: Vec<_> = imports(&without_text(code)).into_iter().map(|(line, name)| format!("{line} {name}")).collect();
    assert_eq!(found, ["2 decode", "3 config", "3 app", "3 pipeline", "7 labels", "7 span", "8 server"]);
}

#[test]
fn the_order_refuses_what_it_should() {
    let allowed = [("pipeline", "decode"), ("yaml", "diagnostic"), ("diagnostic", "yaml"), ("decode", "decode")];
    let refused = [("decode", "pipeline"), ("decode", "metrics"), ("relabel", "selector"), ("span", "decode")];
    for (from, to) in allowed {
        assert_eq!(refusal(from, to), None, "{from} may import {to}");
    }
    for (from, to) in refused {
        assert!(refusal(from, to).is_some(), "{from} may not import {to}");
    }
}

/// One file of agent/.
struct Source {
    /// The path from the root of the repository.
    name: String,
    /// The top-level module that the file belongs to: `decode` for agent/decode/cri.rs.
    module: String,
    lines: usize,
    /// The text with comments and string literals blanked; its lines stand where they stood.
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    find_rust(&root().join("agent"), &mut paths);
    assert!(paths.len() > 10, "agent/ holds the sources");
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let inside = path.strip_prefix(root().join("agent")).expect("found below it").to_string_lossy().into_owned();
        let module = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        Source { name: format!("agent/{inside}"), module, lines: text.lines().count(), code: without_text(&text) }
    };
    paths.into_iter().map(read).collect()
}

fn find_rust(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            find_rust(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn group_of(module: &str) -> Option<usize> {
    GROUPS.iter().position(|group| group.contains(&module))
}

/// Why `module` may not import `imported`; nothing when it may, or when another test says that one has no place.
fn refusal(module: &str, imported: &str) -> Option<String> {
    let (own, other) = (group_of(module)?, group_of(imported)?);
    if module == imported || other < own || (own == FOUNDATIONS && other == FOUNDATIONS) {
        return None;
    }
    let why = if other == own { "they stand in one group" } else { "it stands further on" };
    Some(format!("{why} (see GROUPS in tests/architecture.rs)"))
}

/// The modules that `agent/lib.rs` declares.
fn declared_modules(code: &str) -> Vec<String> {
    let name =
        |line: &str| Some(line.trim().trim_start_matches("pub ").strip_prefix("mod ")?.split(';').next()?.to_owned());
    code.lines().filter_map(name).collect()
}

/// The first name after each `crate::`, and each first name in `crate::{…}`, with its line.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for place in words(code, "crate") {
        let line = 1 + code[..place].matches('\n').count();
        let Some(path) = code[place + "crate".len()..].trim_start().strip_prefix("::") else { continue };
        let path = path.trim_start();
        let names = match path.strip_prefix('{') {
            Some(group) => heads_of(group),
            None => vec![path],
        };
        found.extend(
            names.into_iter().map(|name| (line, identifier(name).to_owned())).filter(|(_, name)| !name.is_empty()),
        );
    }
    // `crate::Type` at the root is no module; nothing is declared there.
    found.retain(|(_, name)| name.starts_with(|first: char| first.is_ascii_lowercase()));
    found
}

/// The parts of a `{…}` list at its own depth; `group` begins after the brace.
fn heads_of(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut heads) = (1, 0, Vec::new());
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 1 => {
                heads.push(group[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            heads.push(group[start..at].trim());
            break;
        }
    }
    heads
}

fn identifier(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// Where `word` stands as a word of its own.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let bytes = code.as_bytes();
        !part_of_word(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && !part_of_word(bytes.get(at + word.len()))
    })
}

fn places_of<'a>(code: &'a str, bad: &'a [&'a str]) -> impl Iterator<Item = usize> + 'a {
    bad.iter().flat_map(|word| words(code, word)).map(|at| 1 + code[..at].matches('\n').count())
}

/// Rust source with comments and the insides of literals turned to blanks, newlines kept.
fn without_text(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            'r' if !code.ends_with(|c: char| c.is_alphanumeric() && c != 'b' || c == '_') => {
                raw_string(rest).unwrap_or(0)
            }
            '"' => quoted(rest, '"'),
            '\'' => character(rest).unwrap_or(0),
            _ => 0,
        };
        let (text, after) = rest.split_at(length.max(first.len_utf8()));
        if length > 0 {
            code.extend(text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            code.push(first);
        }
        rest = after;
    }
    code
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let step = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth += step.0;
        at += step.1;
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    let body = text[1 + hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(2 + hashes + body.find(&close)? + close.len())
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal; nothing for a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.chars().skip(1);
    let inside = chars.next()?;
    (inside == '\\' || chars.next() == Some('\'')).then(|| quoted(text, '\''))
}

fn report(what: &str, wrong: &[String]) {
    let mut counted = BTreeMap::new();
    for line in wrong {
        *counted.entry(line).or_insert(0) += 1;
    }
    let lines: Vec<_> = counted.keys().map(|line| format!("  {line}")).collect();
    assert!(wrong.is_empty(), "{what}:\n{}", lines.join("\n"));
}
