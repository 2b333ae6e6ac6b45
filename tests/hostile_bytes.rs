//! Log bytes come from anyone. Whatever they are: no panic, books that balance, expositions that a strict reader takes,
//! and sums that do not depend on what labels hold. `Agent` checks all of it after every input, for the shipped
//! configurations, for the Kubernetes one with limits that are soon reached, and for one with every stage.

#[path = "fuzz/src/lib.rs"]
mod fuzz;
#[path = "support/mutate.rs"]
mod mutate;

use flate2::read::MultiGzDecoder;
use fuzz::pipeline::Agent;
use mutate::Edit;
use proptest::collection::vec;
use proptest::prelude::*;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Lines of every format, as their writers wrote them, and what is inside their prefixes.
static LINES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let docker = "docker/5481b4d50f20be3ae4a9ce6548b78a0d6ac905dc7d4489ee2811a75cade2ad27-json.log.1.gz";
    let mut lines = Vec::new();
    for name in ["demo/controller-d1.cri.gz", "demo/controller-d2.cri.gz", "text/controller.cri.gz", docker] {
        let mut text = Vec::new();
        MultiGzDecoder::new(File::open(folder.join(name)).expect("an excerpt")).read_to_end(&mut text).expect("gzip");
        // Some of each are enough, and short ones change more with an edit.
        let some = text.split(|b| *b == b'\n').filter(|line| (1..4_000).contains(&line.len())).step_by(7);
        for line in some {
            lines.push(line.to_vec());
            lines.extend(line.splitn(4, |b| *b == b' ').nth(3).map(<[u8]>::to_vec));
        }
    }
    lines
});

fn agent() -> impl Strategy<Value = Agent> {
    (0..Agent::ALL.len()).prop_map(|at| Agent::ALL[at])
}

fn real_line() -> impl Strategy<Value = Vec<u8>> {
    any::<prop::sample::Index>().prop_map(|at| LINES[at.index(LINES.len())].clone())
}

fn edit() -> impl Strategy<Value = Edit> {
    (any::<u8>(), any::<[usize; 3]>()).prop_map(|(kind, numbers)| Edit::of(kind, numbers))
}

fn changed_line() -> impl Strategy<Value = Vec<u8>> {
    (real_line(), vec(edit(), 0..8)).prop_map(|(mut line, edits)| {
        edits.iter().for_each(|edit| edit.apply(&mut line, &LINES));
        line
    })
}

/// Pieces of a line as a container's runtime writes them, and whether it is docker.
fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    (real_line(), 1usize..6, any::<bool>(), any::<bool>()).prop_map(|(line, count, docker, errors)| {
        let stream = if errors { "stderr" } else { "stdout" };
        let content: Vec<u8> = line.iter().copied().filter(|b| (b' '..0x7f).contains(b) && *b != b'"').collect();
        let size = content.len().div_ceil(count).max(1);
        let last = content.chunks(size).count().saturating_sub(1);
        let piece = |(at, part): (usize, &[u8])| {
            let part = String::from_utf8_lossy(part).replace('\\', "");
            let (flag, end) = if at == last { ("F", "\\n") } else { ("P", "") };
            let time = "2026-11-21T02:25:48.001526116Z";
            match docker {
                true => format!("{{\"log\":\"{part}{end}\",\"stream\":\"{stream}\",\"time\":\"{time}\"}}").into_bytes(),
                false => format!("{time} {stream} {flag} {part}").into_bytes(),
            }
        };
        content.chunks(size).enumerate().map(piece).collect()
    })
}

/// Quick, unless `PROPTEST_CASES` asks for more.
fn cases() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { 200 };
    ProptestConfig { cases, failure_persistence: None, ..asked }
}

fn hold(agent: Agent, texts: &[Vec<u8>]) {
    let mut engine = agent.start();
    for text in texts {
        agent.feed(&mut engine, text);
    }
    // What stages still hold comes out, and is in the books too.
    engine.finish();
    agent.check(&mut engine);
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_bytes_are_lines(agent in agent(), texts in vec(vec(any::<u8>(), 0..400), 1..4)) {
        hold(agent, &texts);
    }

    #[test]
    fn any_bytes_are_contents_of_lines(agent in agent(), texts in vec(vec(any::<u8>(), 0..400), 1..4), out in any::<bool>()) {
        let stream = if out { "stdout" } else { "stderr" };
        let line = |text: &Vec<u8>| [format!("2026-11-21T02:25:48Z {stream} F ").as_bytes(), text].concat();
        hold(agent, &texts.iter().map(line).collect::<Vec<_>>());
    }

    #[test]
    fn real_lines_may_be_changed_in_any_way(agent in agent(), lines in vec(changed_line(), 1..12)) {
        hold(agent, &[lines.join(&b'\n'), lines.concat()]);
    }

    #[test]
    fn real_lines_may_end_anywhere(agent in agent(), line in real_line(), ends in vec(any::<prop::sample::Index>(), 1..30)) {
        let cut = |end: &prop::sample::Index| line[..end.index(line.len() + 1)].to_vec();
        hold(agent, &[ends.iter().map(cut).collect::<Vec<_>>().join(&b'\n')]);
    }

    #[test]
    fn pieces_may_come_in_any_order(
        agent in agent(),
        pieces in vec(pieces(), 1..6).prop_map(|lines| lines.concat()).prop_shuffle(),
        edits in vec(edit(), 0..2),
    ) {
        let mut text = pieces.join(&b'\n');
        edits.iter().for_each(|edit| edit.apply(&mut text, &LINES));
        hold(agent, &[text.clone(), text]);
    }

    /// Any bytes as the values of labels: of a client's own words in valid JSON.
    #[test]
    fn any_text_may_be_a_label(agent in agent(), words in vec(any::<String>(), 5)) {
        let [method, host, service, ingress, path] = &words[..] else { unreachable!("there are five") };
        let access = serde_json::json!({
            "remote_address": host, "status": 200, "method": method, "host": host, "service_name": service,
            "ingress_name": ingress, "ingress_namespace": service, "path": path, "request_time": 0.5,
        });
        hold(agent, &[format!("2026-11-21T02:25:48Z stdout F {access}\n{access}").into_bytes()]);
    }
}

#[test]
fn long_lines_cost_time_in_proportion() {
    const LENGTH: usize = 256 * 1024;
    let warning = "2026/11/21 02:25:48 [info] 1#1: *1 ModSecurity: Warning. Matched \"";
    let access = r#"192.0.2.1 - - [21/Nov/2026:02:25:48 +0000] ""#;
    let run = r#"[file "/f.conf"] [line "1"] [id "1"] [rev ""] [msg "#;
    let part = r#"" 200 1 "" "#;
    for (front, filling) in [
        ("", "\\"),
        ("", "\""),
        ("", "["),
        ("", "\u{fffd}"),
        ("", " "),
        ("", "a=\"\\"),
        ("", "\u{1b}[0;"),
        ("\u{1b}]0;", "a;"),
        ("", "a="),
        ("{\"a\":", "["),
        ("{", "\"a\":{"),
        ("{\"status\":200,\"remote_address\":\"", "\\u00e9"),
        ("{\"status\":200,\"remote_address\":\"::1\"", ",\"path\":1"),
        (access, "\" 200 1 \""),
        (access, part),
        (access, "\" \""),
        (access, "] \""),
        ("192.0.2.1 - ", " ["),
        (warning, run),
        (warning, "[id \"1\"] "),
        (warning, "\"] [severity \"2\"] [ver \"\"] [maturity \"0\"] [accuracy \"0\"]"),
        (warning, "[tag \"x\"] "),
        (warning, ", client: 1.2.3.4, server: "),
        (warning, "[unique_id \"x\"] [ref \"\"]"),
    ] {
        let content = front.to_owned() + &filling.repeat(LENGTH / filling.len());
        for agent in Agent::ALL {
            let mut engine = agent.start();
            let started = Instant::now();
            for prefix in ["", "2026-11-21T02:25:48Z stdout F ", "2026-11-21T02:25:48Z stderr F "] {
                agent.feed(&mut engine, format!("{prefix}{content}").as_bytes());
            }
            // Twice three lines, for some jobs: quadratic work would take minutes.
            let elapsed = started.elapsed();
            assert!(elapsed < Duration::from_secs(5), "{agent:?}: {elapsed:?} for {front}{filling}{filling}…");
        }
    }
}
