//! The command line as users meet it: what is printed where, and what the program ends with.

mod support;

use flate2::{Compression, write::GzEncoder};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use support::agent::Page;
use support::process::{Finished, finish, run, weir};
use tempfile::TempDir;

const LINES: &str = r#"
server: {http_listen_port: 0}
scrape_configs:
  - job_name: first
    static_configs: [{labels: {app: web, __path__: FOLDER/*.log*}}]
    pipeline_stages:
      - json: {expressions: {level: , text: }}
      - labels: {level: }
      - output: {source: text}
      - drop: {source: level, value: debug}
      - labeldrop: [filename]
      - metrics: {lines: {type: Counter, config: {match_all: true, action: inc}}}
  - job_name: second
    static_configs: [{labels: {app: none, __path__: FOLDER/missing/*.log}}]
"#;

/// A folder with this configuration, in which `FOLDER` is its path.
fn folder_with(config: &str) -> (TempDir, String) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("weir.yaml");
    fs::write(&path, config.replace("FOLDER", text(folder.path()))).expect("written");
    let path = text(&path).to_string();
    (folder, path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

fn write(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("written");
}

fn packed(content: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content.as_bytes()).expect("packed");
    encoder.finish().expect("packed")
}

#[test]
fn without_a_configuration_it_says_how_it_is_used() {
    for args in [&[][..], &["-dry-run"], &["--log.level=warn"]] {
        let end = run(args);
        end.assert_code(2);
        assert!(end.stderr.contains("-config.file is missing"), "{}", end.stderr);
        assert!(end.stderr.contains("weir check FILE...") && end.stderr.contains("weir help"), "{}", end.stderr);
        assert_eq!(end.stdout, "");
    }
}

#[test]
fn what_it_cannot_understand_it_refuses_with_2() {
    for (args, why) in [
        (&["-nope"][..], "unknown flag -nope"),
        (&["-config.fil=x"], "did you mean -config.file?"),
        (&["-config.file"], "-config.file needs a value"),
        (&["-log.level=loud", "-config.file=x"], "-log.level"),
        (&["-config.file=x", "stray"], "unexpected argument `stray`"),
        (&["-dry-run", "false"], "-dry-run=false"),
        (&["-server.http-tls-cert-path=x"], "put a TLS proxy in front"),
        (&["chekc"], "unknown command `chekc`"),
        (&["check"], "usage: weir check"),
        (&["check", "-nope", "x"], "unknown flag `-nope`"),
        (&["test"], "no case found"),
        (&["test", "-nope"], "unknown flag `-nope`"),
        (&["demo", "--nope"], "unknown flag `--nope`"),
        (&["demo", "--for"], "`--for` needs a value"),
        (&["demo", "--for", "soon"], "`soon` is no duration"),
        (&["demo", "--rate=0"], "`0` is no rate"),
    ] {
        let end = run(args);
        end.assert_code(2);
        assert!(end.stderr.contains(why), "{args:?}: {}", end.stderr);
        assert_eq!(end.stdout, "", "{args:?}");
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    let version = format!("weir, version {}\n", env!("CARGO_PKG_VERSION"));
    for args in ["-version", "--version", "-version=true", "version"] {
        let end = run(&[args]);
        assert_eq!((end.code, end.stdout.as_str(), end.stderr.as_str()), (Some(0), version.as_str(), ""), "{args}");
    }
    for (args, what) in [
        (&["-help"][..], "-config.file"),
        (&["--h"], "-config.file"),
        (&["help"], "weir demo"),
        (&["check", "--help"], "usage: weir check"),
        (&["test", "-h"], "usage: weir test"),
        (&["demo", "--help"], "usage: weir demo"),
    ] {
        let end = run(args);
        end.assert_code(0);
        assert!(end.stdout.contains(what), "{args:?}: {}", end.stdout);
        assert_eq!(end.stderr, "", "{args:?}");
    }
}

#[test]
fn check_syntax_says_what_promtail_says() {
    let (_folder, good) = folder_with(LINES);
    for args in [
        &["-check-syntax", "-config.file", &good][..],
        &["--check-syntax=true", &format!("--config.file={good}")],
        &[&format!("-config.file={good}"), "-check-syntax=1"],
        &["--config.file", &good, "--check-syntax", "--"],
    ] {
        let end = run(args);
        end.assert_code(0);
        assert_eq!(end.stdout, "Valid config file! No syntax issues found\n", "{args:?}");
        assert_eq!(end.stderr, "", "{args:?}");
    }

    let (_folder, bad) = folder_with(&LINES.replace("labeldrop", "labledrop").replace("job_name: second", "job: x"));
    let end = run(&["-check-syntax", "-config.file", &bad]);
    end.assert_code(1);
    assert_eq!(end.stdout, "");
    assert!(end.stderr.contains(&format!("{bad}:11:9: error: unknown stage `labledrop`")), "{}", end.stderr);
    assert!(end.stderr.contains("did you mean `labeldrop`?"), "{}", end.stderr);
    assert!(end.stderr.contains("`job`"), "every mistake is told: {}", end.stderr);

    let end = run(&["-check-syntax", "-config.file=/nowhere/weir.yaml"]);
    end.assert_code(1);
    assert!(end.stderr.contains("/nowhere/weir.yaml: No such file"), "{}", end.stderr);
}

#[test]
fn check_ends_with_the_worst_of_all_files_and_prints_findings_on_standard_output() {
    let (folder, good) = folder_with(LINES);
    write(
        &folder,
        "warned.yaml",
        "scrape_configs: [{job_name: a, static_configs: [{labels: {__path__: '${NAME}'}}]}]\n",
    );
    write(&folder, "bad.yaml", "scrape_configs: [{job_name: a}]\nserver: {http_listen_prt: 1}\n");
    let path = |name: &str| text(&folder.path().join(name)).to_string();
    let (warned, bad, missing) = (path("warned.yaml"), path("bad.yaml"), path("missing.yaml"));
    for (files, code, summary) in [
        (&[&good][..], 0, "1 file: 0 errors, 0 warnings\n"),
        (&[&warned], 1, "1 file: 0 errors, 1 warning\n"),
        (&[&good, &warned], 1, "2 files: 0 errors, 1 warning\n"),
        (&[&warned, &bad, &good], 2, "3 files: 2 errors, 1 warning\n"),
        (&[&bad], 2, "1 file: 2 errors, 0 warnings\n"),
    ] {
        let mut args = vec!["check"];
        args.extend(files.iter().map(|file| file.as_str()));
        let end = run(&args);
        end.assert_code(code);
        assert_eq!(end.stderr, summary, "{files:?}");
        assert_eq!(end.stdout.is_empty(), code == 0, "{files:?}: {}", end.stdout);
    }
    let end = run(&["check", &bad]);
    assert!(end.stdout.contains(&format!("{bad}:1:")), "{}", end.stdout);
    assert!(end.stdout.contains(&format!("{bad}:2:10: error: unknown key `http_listen_prt`")), "{}", end.stdout);

    let end = run(&["check", &missing, &good]);
    end.assert_code(2);
    assert!(end.stderr.contains(&format!("{missing}: error: cannot be read")), "{}", end.stderr);

    for flag in ["-config.expand-env", "--config.expand-env=true"] {
        let mut command = weir(&["check", flag, &warned]);
        command.env("NAME", "/var/log/*.log");
        finish(command, b"").assert_code(0);
    }
}

#[test]
fn the_environment_is_expanded_only_where_it_is_asked_for() {
    let config = LINES.replace("app: web", "app: \"${APP:-none}\", node: \"${NODE}\"");
    let (_folder, path) = folder_with(&config);
    let dry_run = |flags: &[&str]| {
        let mut command = weir(&["-config.file", &path, "-stdin", "-dry-run"]);
        command.args(flags).env("NODE", "n1");
        finish(command, b"x\n").stdout
    };
    let expanded = dry_run(&["-config.expand-env"]);
    assert!(expanded.contains(r#"app="none""#) && expanded.contains(r#"node="n1""#), "{expanded}");
    let plain = dry_run(&["-config.expand-env=false"]);
    assert!(plain.contains(r#"app="${APP:-none}""#) && plain.contains(r#"node="${NODE}""#), "{plain}");
}

/// `RFC3339Nano \t {labels} \t line`, split; the time is checked for its form and left out.
#[track_caller]
fn entries(stdout: &str) -> Vec<(String, String)> {
    let entry = |line: &str| {
        let parts: Vec<&str> = line.splitn(3, '\t').collect();
        let [time, labels, line] = parts.as_slice() else { panic!("no entry: {line:?}") };
        let (date, rest) = time.split_at(19);
        assert!(jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", format!("{date}+0000")).is_ok(), "{time}");
        let fraction = rest.strip_suffix('Z').expect("UTC").trim_start_matches('.');
        assert!(fraction.len() <= 9 && fraction.bytes().all(|b| b.is_ascii_digit()), "{time}");
        assert!(!fraction.ends_with('0'), "{time}: Go leaves trailing zeros out");
        (labels.to_string(), line.to_string())
    };
    let entries = stdout.strip_prefix("Clients configured:\n").expect("the clients come first: here there are none");
    entries.lines().map(entry).collect()
}

const INPUT: &str =
    "{\"level\":\"info\",\"text\":\"one\"}\r\n\n\r\n{\"level\":\"debug\",\"text\":\"two\"}\nno json\tat all";

fn stdin(flags: &[&str], path: &str) -> Finished {
    let mut command = weir(&["-config.file", path, "-stdin"]);
    command.args(flags);
    finish(command, INPUT.as_bytes())
}

#[test]
fn standard_input_goes_through_the_first_job_with_its_static_labels() {
    let (folder, path) = folder_with(LINES);
    let end = stdin(&["-dry-run"], &path);
    end.assert_code(0);
    // As Promtail: static labels as they stand, no filename, empty lines skipped, a carriage return removed.
    let labels = format!(r#"__path__="{}/*.log*", app="web""#, text(folder.path()));
    let expected = [(format!("{{{labels}, level=\"info\"}}"), "one"), (format!("{{{labels}}}"), "no json\tat all")];
    let expected: Vec<_> = expected.into_iter().map(|(labels, line)| (labels, line.to_string())).collect();
    assert_eq!(entries(&end.stdout), expected);
    assert!(end.stderr.contains("first: 3 lines = 3 counted"), "{}", end.stderr);

    let end = stdin(&[], &path);
    end.assert_code(0);
    let page = Page::of_text(end.stdout.as_bytes());
    assert_eq!(page.get("promtail_custom_lines", &[("app", "web")]), 2.0, "{}", page.text);
    assert_eq!(page.get("promtail_custom_lines", &[("level", "info")]), 1.0, "{}", page.text);
}

#[test]
fn standard_input_without_a_file_is_promtails_job_for_it() {
    let mut command =
        weir(&["-stdin", "-dry-run", "-client.url=http://127.0.0.1:9/push", "-client.external-labels=a=b"]);
    command.env("HOSTNAME", "h1");
    let end = finish(command, b"one\n");
    end.assert_code(0);
    assert!(end.stdout.contains("url: http://127.0.0.1:9/push\n"), "{}", end.stdout);
    assert!(end.stdout.contains("external_labels: |\n  a: b\n"), "{}", end.stdout);
    assert!(end.stdout.contains("\t{hostname=\"h1\", job=\"stdin\"}\tone\n"), "{}", end.stdout);
}

/// `journalctl -f | weir -stdin …` has no end.
#[test]
fn a_line_on_standard_input_does_not_wait_for_the_next_one() {
    let mut command = weir(&["-stdin", "-dry-run"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("weir starts");
    let mut input = child.stdin.take().expect("a pipe");
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    for text in ["one", "two"] {
        writeln!(input, "{text}").expect("written");
        while !lines.recv_timeout(Duration::from_secs(30)).expect("the line, before the input ends").ends_with(text) {}
    }
    drop(input);
    assert!(child.wait().expect("an end").success());
}

#[test]
fn inspect_shows_on_standard_error_what_each_stage_changes() {
    let (_folder, path) = folder_with(LINES);
    let end = stdin(&["-dry-run", "-inspect"], &path);
    end.assert_code(0);
    let shown = &end.stderr;
    let stages: Vec<&str> = shown.lines().filter(|line| line.starts_with("[inspect: ")).collect();
    assert!(stages[0].starts_with("[inspect: line] ") && stages[0].contains("one"), "{shown}");
    assert_eq!(stages[1..3], ["[inspect: labels stage]", "[inspect: output stage]"], "{shown}");
    assert!(shown.contains("    + __path__=") && shown.contains("level=\"info\""), "{shown}");
    assert!(shown.contains("    - {\"level\":\"info\",\"text\":\"one\"}\n    + one\n"), "{shown}");
    assert!(!end.stdout.contains("inspect"), "{}", end.stdout);
    assert!(!stdin(&["-dry-run"], &path).stderr.contains("inspect"));
}

#[test]
fn the_printed_configuration_hides_secrets_and_so_does_what_is_said_about_it() {
    let clients = "clients:\n  - url: https://me:hunter2@loki.example/push\n    \
                   basic_auth: {username: me, password: hunter2}\n    headers: {X-Key: hunter2}\n";
    let (_folder, path) = folder_with(&format!("{clients}{LINES}"));
    let end = stdin(&["-dry-run", "-print-config-stderr"], &path);
    end.assert_code(0);
    assert!(end.stderr.contains("password: \"<secret>\"") && end.stderr.contains("job_name: first"), "{}", end.stderr);
    assert!(!end.stderr.contains("hunter2") && !end.stdout.contains("hunter2"), "{}", end.stderr);
    // A mistake beside a secret is shown without it, at the same place.
    let (_folder, path) = folder_with(&format!("{}{LINES}", clients.replace("{username: me, ", "{usrname: me, ")));
    let end = run(&["check", &path]);
    end.assert_code(2);
    assert!(end.stdout.contains("basic_auth: {usrname: me, password: *******}"), "{}", end.stdout);
    assert!(!end.stdout.contains("hunter2"), "{}", end.stdout);
}

/// Plain, rotated and compressed generations, two lines each, oldest first.
fn lay_out_generations(folder: &TempDir) {
    write(
        folder,
        "app.log.2.gz",
        packed("{\"level\":\"info\",\"text\":\"1\"}\n{\"level\":\"debug\",\"text\":\"2\"}\n"),
    );
    write(folder, "app.log.1", "{\"level\":\"info\",\"text\":\"3\"}\n{\"level\":\"warn\",\"text\":\"4\"}\n");
    write(folder, "app.log", "{\"level\":\"info\",\"text\":\"5\"}\n{\"level\":\"warn\",\"text\":\"6\"}");
}

#[test]
fn one_shot_counts_every_generation_once_and_prints_the_exposition() {
    let (folder, path) = folder_with(LINES);
    lay_out_generations(&folder);
    let end = run(&["-config.file", &path, "-one-shot"]);
    end.assert_code(0);
    let page = Page::of_text(end.stdout.as_bytes());
    let expected = "# TYPE promtail_custom_lines counter\npromtail_custom_lines{app=\"web\",level=\"info\"} 3\n\
                    promtail_custom_lines{app=\"web\",level=\"warn\"} 2\n";
    assert_eq!(page.text, expected, "the log-derived series and nothing else");
    assert!(end.stderr.contains("first: 6 lines = 6 counted\n"), "{}", end.stderr);
    assert!(end.stderr.contains("second: 0 lines = 0 counted\n"), "{}", end.stderr);
    assert!(end.stderr.contains("6 lines, 0.0 MB in ") && end.stderr.contains("; 2 series\n"), "{}", end.stderr);
    assert!(!end.stderr.contains('\r'), "a progress bar is for terminals: {:?}", end.stderr);
}

#[test]
fn one_shot_with_dry_run_prints_the_entries_in_their_order() {
    let (folder, path) = folder_with(LINES);
    lay_out_generations(&folder);
    let end = run(&["-config.file", &path, "-one-shot", "-dry-run"]);
    end.assert_code(0);
    let entries = entries(&end.stdout);
    let lines: Vec<&str> = entries.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(lines, ["1", "3", "4", "5", "6"]);
    assert_eq!(entries[0].0, r#"{app="web", level="info"}"#);
}

#[test]
fn one_shot_goes_on_past_what_it_cannot_read() {
    let (folder, path) = folder_with(LINES);
    lay_out_generations(&folder);
    fs::create_dir(folder.path().join("folder.log")).expect("a folder");
    std::os::unix::fs::symlink("/nowhere/at/all", folder.path().join("dangling.log")).expect("a link");
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("endless.log")).expect("a link");
    write(&folder, "broken.log", "{\"level\":\"info\",\"text\":\"7\"}\n");
    write(&folder, "broken.log.1.gz", &packed("{\"level\":\"info\"}\n")[..12]);
    write(&folder, "hostile.log", b"\xff\xfe\0{\"level\":\"\xff\n\"\\\n{\"level\":\"a\\nb\\\"c\\\\\"}\n".as_slice());
    let end = run(&["-config.file", &path, "-one-shot"]);
    end.assert_code(0);
    let page = Page::of_text(end.stdout.as_bytes());
    assert_eq!(page.get("promtail_custom_lines", &[("level", "info")]), 4.0, "{}", page.text);
    assert_eq!(page.get("promtail_custom_lines", &[("level", "a\nb\"c\\")]), 1.0, "{}", page.text);
    assert_eq!(page.get("promtail_custom_lines", &[]), 9.0, "{}", page.text);
    assert!(end.stderr.contains("files not read ("), "{}", end.stderr);
    assert!(end.stderr.contains("files read in part (damaged): 1\n"), "{}", end.stderr);
}

#[test]
fn one_shot_without_any_target_is_no_failure() {
    let (_folder, path) = folder_with(LINES);
    let end = run(&["-config.file", &path, "-one-shot"]);
    end.assert_code(0);
    assert_eq!(end.stdout, "");
    assert!(end.stderr.contains("0 lines, "), "{}", end.stderr);
}

#[test]
fn golden_tests_pass_fail_with_the_difference_and_can_be_written() {
    let (folder, _) = folder_with("");
    fs::remove_file(folder.path().join("weir.yaml")).expect("removed");
    let cases = text(folder.path());
    for args in [&["test", cases][..], &["test", "/nowhere"]] {
        let end = run(args);
        end.assert_code(2);
        assert!(end.stderr.contains("no case found"), "{}", end.stderr);
    }

    write(&folder, "case/config.yaml", LINES.replace("FOLDER", "/nowhere"));
    write(&folder, "case/input.first.log", "{\"level\":\"info\",\"text\":\"one\"}\n");
    let end = run(&["test", cases]);
    end.assert_code(1);
    assert!(end.stdout.contains("the case expects nothing"), "{}", end.stdout);
    assert!(end.stdout.ends_with("0 passed, 1 failed\n"), "{}", end.stdout);

    run(&["test", "-update", cases]).assert_code(0);
    let expected = fs::read_to_string(folder.path().join("case/expected.entries")).expect("written");
    assert_eq!(expected, "2026-01-01T00:00:00Z\t{app=\"web\", level=\"info\"}\tone\n");
    let end = run(&["test", cases]);
    end.assert_code(0);
    assert!(end.stdout.starts_with("ok      ") && end.stdout.ends_with("1 passed, 0 failed\n"), "{}", end.stdout);

    write(
        &folder,
        "case/expected.prom",
        "# TYPE promtail_custom_lines counter\npromtail_custom_lines{app=\"web\"} 2\n",
    );
    write(&folder, "other/config.yaml", "nonsense: 1\n");
    let end = run(&["test", cases]);
    end.assert_code(1);
    for part in [
        "FAILED  ",
        "        expected.prom:\n",
        "        - promtail_custom_lines{app=\"web\"} 2\n",
        "        + promtail_custom_lines{app=\"web\",level=\"info\"} 1\n",
        "unknown key `nonsense`",
        "0 passed, 2 failed\n",
    ] {
        assert!(end.stdout.contains(part), "{part:?} in {}", end.stdout);
    }
    assert!(!end.stdout.contains("expected.entries:"), "only what differs is told: {}", end.stdout);
}
