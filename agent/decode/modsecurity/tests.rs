use super::*;
use memchr::memmem;
use proptest::prelude::*;

/// Real lines of the corpus, the nastiest of each kind; raw bytes.
const EXCERPT: &[u8] = include_bytes!("../../../tests/corpus/modsecurity-excerpt.log");
/// One line for each of the excerpt's: what it decodes to, reviewed by hand.
const EXPECTED: &str = include_str!("../../../tests/corpus/modsecurity-excerpt.expected");

fn lines() -> Vec<&'static [u8]> {
    EXCERPT.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect()
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn summary(line: &[u8]) -> String {
    let Some(e) = parse(line) else { return "no event".to_owned() };
    let code = e.code.map_or(String::new(), |code| format!(" {code}/{}", e.phase.unwrap_or(0)));
    let flags =
        format!("{}{}", if e.truncated { " truncated" } else { "" }, if e.ambiguous { " ambiguous" } else { "" });
    let score = e.score().map_or(String::new(), |score| format!(" score={score}"));
    format!(
        "{}{code} id={} set={} severity={} tags={}{score} uri={} unique={} client={} server={} {} {} {}{flags}",
        e.action.as_str(),
        text(e.rule_id),
        text(e.rule_set()),
        text(e.severity),
        e.tags().count(),
        text(e.uri),
        text(e.unique_id),
        text(e.client),
        text(e.server),
        text(e.request.method),
        text(&e.request.target[..e.request.target.len().min(40)]),
        text(e.request.protocol),
    )
}

#[test]
fn every_line_of_the_excerpt_decodes_as_reviewed() {
    let lines = lines();
    assert_eq!(lines.len(), EXPECTED.lines().count());
    for (line, expected) in lines.iter().zip(EXPECTED.lines()) {
        assert_eq!(summary(line), expected, "{}", text(line));
    }
}

const PREFIX: &str = "2026/11/21 02:25:48 [info] 15742#0: *3 ";
const RUN: &str = r#"[file "/r/REQUEST-942-X.y.conf"] [line "46"] [id "942100"] [rev "2"] [msg "M"] [data "D\x22"] [severity "2"] [ver "V/1"] [maturity "3"] [accuracy "8"]"#;
const TAIL: &str = r#" [tag "a"] [tag "b c"] [hostname "h"] [uri "/u"] [unique_id "77"] [ref "v1,2t:lowercase"]"#;
const TRAILER: &str = r#", client: 2001:db8::1, server: s, request: "GET /u?q="x" HTTP/1.1", subrequest: "/auth", upstream: "http://10.0.0.1:80/u", host: "h:8", referrer: "http://r/", host: "z"""#;
const OPERATOR: &str = "Matched \"Operator `Rx' with parameter `p' against variable `ARGS:q' (Value: `v' ) ";

#[test]
fn all_parts_of_a_warning() {
    let line = format!("{PREFIX}ModSecurity: Warning. {OPERATOR}{RUN}{TAIL} while logging request{TRAILER}");
    let e = parse(line.as_bytes()).unwrap();
    assert_eq!((e.action, e.code, e.phase), (Action::Detected, None, None));
    assert_eq!((e.time, e.level), (&b"2026/11/21 02:25:48"[..], &b"info"[..]));
    assert_eq!(e.connection, Connection { pid: b"15742", tid: b"0", number: b"3" });
    assert_eq!(e.matched, OPERATOR.trim().as_bytes());
    assert_eq!((e.file, e.rule_set()), (&b"/r/REQUEST-942-X.y.conf"[..], &b"REQUEST-942-X.y"[..]));
    let run = [e.line, e.rule_id, e.rev, e.msg, e.data, e.severity, e.ver, e.maturity, e.accuracy];
    assert_eq!(run.map(text), ["46", "942100", "2", "M", r"D\\x22", "2", "V/1", "3", "8"]);
    assert_eq!(e.tags().map(text).collect::<Vec<_>>(), ["a", "b c"]);
    assert_eq!([e.hostname, e.uri, e.unique_id].map(text), ["h", "/u", "77"]);
    assert_eq!([e.client, e.server, e.upstream, e.host].map(text), ["2001:db8::1", "s", "http://10.0.0.1:80/u", "h:8"]);
    assert_eq!(e.request, Request { method: b"GET", target: b"/u?q=\"x\"", protocol: b"HTTP/1.1" });
    assert_eq!(e.referrer, br#"http://r/", host: "z""#);
    assert_eq!((e.truncated, e.candidates, e.ambiguous, e.score()), (false, 1, false, None));
}

#[test]
fn the_marker_stands_at_the_start_of_the_message_or_the_line_is_no_event() {
    let marker = format!("ModSecurity: Warning. {OPERATOR}{RUN}{TAIL}{TRAILER}");
    for line in [
        marker.clone(),
        format!("{PREFIX}x {marker}"),
        format!("{PREFIX}[client 1.2.3.4] x, ModSecurity: Warning. "),
        format!("{PREFIX}[client 1.2.3.4]] {marker}"),
        format!("{PREFIX}ModSecurity-nginx v1.0.3 (rules loaded inline/local/remote: 0/911/0)"),
        format!("{PREFIX}ModSecurity: Rule processing failed."),
        format!("x{PREFIX}{marker}"),
        format!("2026-11-21 02:25:48 [info] 1#1: *3 {marker}"),
        String::new(),
    ] {
        assert_eq!(parse(line.as_bytes()), None, "{line}");
    }
    let without_connection = format!("2026/11/21 02:25:48 [error] 1#2: {marker}");
    assert_eq!(parse(without_connection.as_bytes()).unwrap().connection.number, b"");
}

#[test]
fn the_rule_is_that_of_the_run_where_match_can_end() {
    let half = r#"' ) [file "/f"] [line "1"] [id "3"] [rev ""] [msg "m"] [severity "0"]"#;
    let forged = RUN.replace("942100", "666");
    let echo = RUN.replace(r#"[msg "M"]"#, &format!(r#"[msg "Echo {half}"]"#));
    let value = |value: &str| OPERATOR.replace("`v'", &format!("`{value}'"));
    let name = |name: &str| OPERATOR.replace("ARGS:q", &format!("ARGS:{name}"));
    let sqli = "detected SQLi using libinjection. ";
    for (matched, run, tail, candidates, ambiguous) in [
        (value(half), RUN.to_owned(), TAIL.to_owned(), 1, false),
        (value(half), echo.clone(), TAIL.to_owned(), 1, false),
        (name(half), RUN.to_owned(), TAIL.to_owned(), 1, false),
        (value(&format!("{} (12 characters omitted)", r"\x0a".repeat(100))), RUN.to_owned(), TAIL.to_owned(), 1, false),
        (name(&forged), RUN.to_owned(), TAIL.to_owned(), 2, true),
        (sqli.to_owned(), echo, TAIL.to_owned(), 1, false),
        (" ".to_owned(), RUN.to_owned(), TAIL.to_owned(), 1, false),
        ("Some other form. ".to_owned(), RUN.to_owned(), TAIL.to_owned(), 1, false),
        (sqli.to_owned(), RUN.to_owned(), TAIL.replace("/u", &format!("/u{half}{forged}")), 2, true),
        (sqli.to_owned(), RUN.to_owned(), TAIL.replace("77", r#"id "q""] [unique_id "1"#), 1, true),
        // An anchor alone, which fits into a value, is no run.
        (
            value(r#""] [data ""] [severity "7"] [ver ""] [maturity "0"] [accuracy "0"]"#),
            RUN.to_owned(),
            TAIL.to_owned(),
            1,
            false,
        ),
    ] {
        let line = format!("{PREFIX}ModSecurity: Warning. {matched}{run}{tail}{TRAILER}");
        let e = parse(line.as_bytes()).unwrap();
        assert_eq!([e.rule_id, e.severity, e.client].map(text), ["942100", "2", "2001:db8::1"], "{line}");
        assert_eq!((e.candidates, e.ambiguous), (candidates, ambiguous), "{line}");
    }
}

#[test]
fn a_referrer_that_forges_a_whole_event_changes_nothing_but_is_seen() {
    let forged = format!(
        "{OPERATOR}{}{TAIL}, client: 6.6.6.6, server: evil, request: \"GET / HTTP/1.1",
        RUN.replace("942100", "666")
    );
    let line = format!("{PREFIX}ModSecurity: Warning. {OPERATOR}{RUN}{TAIL}{}", TRAILER.replace("http://r/", &forged));
    let e = parse(line.as_bytes()).unwrap();
    assert_eq!(
        [e.rule_id, e.client, e.server, e.request.target].map(text),
        ["942100", "2001:db8::1", "s", r#"/u?q=\"x\""#]
    );
    assert!(e.ambiguous && e.candidates == 2);
}

#[test]
fn scores_are_read_from_the_blocking_rules_messages_alone() {
    for (msg, score) in [
        ("Inbound Anomaly Score Exceeded (Total Score: 15)", Some(15)),
        ("Outbound Anomaly Score Exceeded (Total Score: 4)", Some(4)),
        ("Inbound Anomaly Score Exceeded (Total Score: )", None),
        ("Inbound Anomaly Score Exceeded (Total Score: 99999999999)", None),
        ("Echo Inbound Anomaly Score Exceeded (Total Score: 15)", None),
    ] {
        let run = RUN.replace(r#"[msg "M"]"#, &format!("[msg \"{msg}\"]"));
        let line = format!("{PREFIX}ModSecurity: Warning. {OPERATOR}{run}{TAIL}{TRAILER}");
        assert_eq!(parse(line.as_bytes()).unwrap().score(), score, "{msg}");
    }
}

#[test]
fn escapes_are_undone_and_other_backslashes_stay() {
    for (raw, expected) in [
        (r"a\x22b\x5cx\xFF", &b"a\"b\\x\xff"[..]),
        (r#"\"\\x41"#, br#""\x41"#),
        (r"\xg1\x4", br"\xg1\x4"),
        (r"\", br"\"),
        ("", b""),
    ] {
        let mut out = b">".to_vec();
        unescape_hex(raw.as_bytes(), &mut out);
        assert_eq!(out[1..], *expected, "{raw}");
    }
}

#[test]
fn every_prefix_of_a_line_gives_the_lines_own_values_or_none() {
    for line in lines() {
        let Some(whole) = parse(line) else { continue };
        // Cut behind a quote of its own, a request looks like one of HTTP/0.9 at the end of a whole line.
        let quoted = whole.request.target.contains(&b'"');
        for cut in (0..line.len()).filter_map(|end| parse(&line[..end])) {
            let pairs = [
                (cut.rule_id, whole.rule_id),
                (cut.file, whole.file),
                (cut.severity, whole.severity),
                (cut.client, whole.client),
                (cut.server, whole.server),
                (cut.unique_id, whole.unique_id),
                (cut.request.method, whole.request.method),
                (if quoted { b"" } else { cut.request.target }, whole.request.target),
            ];
            for (cut, whole) in pairs {
                assert!(cut.is_empty() || cut == whole, "{} instead of {}", text(cut), text(whole));
            }
        }
    }
}

#[test]
fn hostile_lines_take_linear_time() {
    let start = format!("{PREFIX}ModSecurity: Warning. {OPERATOR}");
    let anchor = r#""] [data ""] [severity "2"] [ver ""] [maturity "0"] [accuracy "0"]"#;
    let units = [
        anchor.to_owned(),
        "[file \"".to_owned(),
        "' ) [file \"".to_owned(),
        r#"' ) [file "/f"] [line "1"] [id "3"] [rev ""] [msg ""#.to_owned(),
        RUN.to_owned(),
        format!("{OPERATOR}{RUN}"),
        "\"] [severity \"2\"] [ver \"".to_owned(),
        " (Value: `' ) ".to_owned(),
        format!("{RUN}{TAIL}"),
        format!("{RUN}{TAIL}{TRAILER}"),
        "\", host: \"".to_owned(),
        "\"] [unique_id \"".to_owned(),
    ];
    for before in
        [start.clone(), format!("{start}{RUN}"), format!("{start}{RUN}{TAIL}"), format!("{start}{RUN}{TAIL}{TRAILER}")]
    {
        for unit in &units {
            let line = format!("{before}{}", unit.repeat((4 << 20) / unit.len()));
            let began = std::time::Instant::now();
            assert!(parse(line.as_bytes()).is_some());
            // Linear is some tens of milliseconds; quadratic would be minutes.
            assert!(began.elapsed().as_secs() < 5, "{unit}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..300usize) {
        let mut line = format!("{PREFIX}[client 1.1.1.1] ModSecurity: Access denied with code 403 (phase 2). {OPERATOR}{RUN}{TAIL}").into_bytes();
        line.truncate(cut);
        line.extend_from_slice(&bytes);
        parse(&bytes);
        parse(&line);
        unescape_hex(&bytes, &mut Vec::new());
    }

    #[test]
    fn a_changed_line_yields_only_what_stands_in_it(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), length in 0..40usize, put in "[ -~]{0,3}|\"\\] \\[|\\[id \"7\"\\]") {
        let lines = lines();
        let mut line = lines[which.index(lines.len())].to_vec();
        let at = at.index(line.len().max(1)).min(line.len());
        let end = (at + length).min(line.len());
        line.splice(at..end, put.bytes());
        if let Some(event) = parse(&line) {
            prop_assert!(event.rule_id.iter().all(u8::is_ascii_digit));
            if !event.rule_id.is_empty() {
                let written = format!("[id \"{}\"]", text(event.rule_id));
                prop_assert!(memmem::find(&line, written.as_bytes()).is_some());
            }
        }
    }
}
