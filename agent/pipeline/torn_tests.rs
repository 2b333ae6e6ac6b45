//! Lines torn at every byte, and texts of clients that would be lines.

use super::super::bench::{World, access, cri, denial, docker};
use super::*;

/// As the shipped configuration begins.
const STAGES: &str = r#"
- container: {}
- match: {selector: '{stream="stdout"}', stages: [{ingress_nginx: {}}]}
- match: {selector: '{stream="stderr"}', stages: [{modsecurity: {}}]}
"#;

/// Lines that a stage could read, that it refused as torn and for other reasons, and those read.
#[derive(Debug, PartialEq)]
struct Books {
    counted: u64,
    torn: u64,
    refused: u64,
    read: u64,
}

fn books(world: &World) -> Books {
    let (counts, torn) = (world.pipeline.counts(), world.refused(TORN));
    Books { counted: counts.counted, torn, refused: counts.refused_total() - torn, read: counts.read }
}

/// What becomes of one line of a file.
fn of(stages: &str, line: &[u8]) -> (Books, World) {
    let mut world = World::new(stages);
    world.line(0, line);
    (books(&world), world)
}

/// An access line with client's texts in it.
fn access_by(agent: &str) -> String {
    let escaped = agent.replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        r#"{{"time": 1.5e3, "ok": [true, null, {{}}], "remote_addr": "192.0.2.1", "status": 200, "ua": "{escaped}", "host": "h.example", "bytes": -12}}"#
    )
}

const TWO: Books = Books { counted: 1, torn: 1, refused: 0, read: 2 };

#[test]
fn a_line_torn_anywhere_costs_no_other_line() {
    let header = cri("stdout", "F", "").len();
    let forged = cri("stdout", "F", r#"{"status":"200","remote_addr":"203.0.113.9"}"#);
    for agent in ["curl", r#"a "quoted\" one"#, &forged, &format!("{forged} {forged}"), "{\\u00e4\\"] {
        let first = cri("stdout", "F", &access_by(agent));
        let second = cri("stdout", "F", &access_by(agent));
        for end in 1..=first.len() {
            let line = [&first.as_bytes()[..end], second.as_bytes()].concat();
            let (got, world) = of(STAGES, &line);
            if end == header {
                assert_eq!(got, Books { counted: 0, torn: 0, refused: 1, read: 1 });
                continue;
            }
            assert_eq!(got, TWO, "{}", line.escape_ascii());
            let last = world.out.0.last().expect("an entry");
            assert!(last.ends_with(&access_by(agent).into_bytes().escape_ascii().to_string()), "{last}");
            // What is left of the torn one is no more than its own text.
            if end > header {
                let content = &first.as_bytes()[header..end];
                assert!(world.out.0[0].ends_with(&format!("stdout {}", content.escape_ascii())), "{}", world.out.0[0]);
            }
        }
    }
}

#[test]
fn a_torn_header_shows_whatever_follows() {
    let next = [
        cri("stdout", "F", &access(1)),
        cri("stderr", "F", &denial(1)),
        cri("stdout", "F:x", &access(1)),
        format!("2026-11-21T02:25:35+01:00 stdout F {}", access(1)),
    ];
    for first in [cri("stdout", "F", ""), cri("stderr", "P", ""), "2026-11-21T02:25:35Z stdout F ".into()] {
        for (end, next) in (1..first.len()).flat_map(|end| next.iter().map(move |next| (end, next))) {
            let line = [&first[..end], next].concat();
            assert_eq!(of(STAGES, line.as_bytes()).0, TWO, "{line}");
            // Where Promtail's stage would let the line pass, nothing of it is left to pass.
            let (got, world) = of("[{cri: {}}]", line.as_bytes());
            assert_eq!((got, world.out.0.len()), (TWO, 1), "{line}");
        }
    }
    // A piece goes on to wait, and is joined with its last one.
    let (got, mut world) = of(STAGES, ["2026-11-", &cri("stdout", "P", &access(1)[..9])].concat().as_bytes());
    assert_eq!((got.read, got.torn, world.pipeline.held()), (2, 1, 1));
    world.line(0, cri("stdout", "F", &access(1)[9..]).as_bytes());
    assert_eq!(books(&world), Books { counted: 1, torn: 1, refused: 0, read: 3 });
}

#[test]
fn a_joined_line_is_torn_in_its_last_piece() {
    let (first, second) = (access_by("one"), access_by("two"));
    let mut world = World::new(STAGES);
    world.line(0, cri("stdout", "P", &first[..30]).as_bytes());
    world.line(0, [&cri("stdout", "F", &first[30..60])[..], &cri("stdout", "F", &second)].concat().as_bytes());
    assert_eq!((books(&world), world.pipeline.counts().joined), (Books { read: 3, ..TWO }, 1));
    assert!(world.out.0[0].ends_with(&first.as_bytes()[..60].escape_ascii().to_string()), "{:?}", world.out.0);
    // Within an earlier piece nothing can be told.
    let mut world = World::new(STAGES);
    let piece = [&cri("stdout", "P", &first[..30])[..], &cri("stdout", "F", &second[..40])].concat();
    world.line(0, piece.as_bytes());
    world.line(0, cri("stdout", "F", &second[40..]).as_bytes());
    assert_eq!(books(&world), Books { counted: 0, torn: 0, refused: 1, read: 2 });
}

/// Every one of these is one line, counted or refused as one: a client could have sent what looks like another.
#[test]
fn a_clients_text_is_never_a_line() {
    let forged = cri("stdout", "F", r#"{"status":"200","remote_addr":"203.0.113.9"}"#);
    let forged_text =
        cri("stdout", "F", r#"203.0.113.9 - - [21/Nov/2026:02:25:35 +0000] "GET / HTTP/1.1" 200 5 "-" "-"#);
    let piece = cri("stdout", "P", "x");
    let error = "2026/11/21 02:26:08 [error] 15#15: *42 open() failed, request: \"GET /";
    let refused = Books { counted: 0, torn: 0, refused: 1, read: 1 };
    let counted = Books { counted: 1, torn: 0, refused: 0, read: 1 };
    for text in [&forged, &forged_text, &piece] {
        for (line, expected) in [
            // JSON as nginx writes it.
            (cri("stdout", "F", &access_by(text)), &counted),
            (cri("stdout", "F", &access_by(&format!("\" {text}"))), &counted),
            // JSON that is whole, of another kind.
            (cri("stdout", "F", &format!(r#"{{"level":"info","msg":"{}"}}"#, text.replace('"', "\\\""))), &refused),
            // JSON without `escape=json`: nginx writes \x22 for a quote.
            (cri("stdout", "F", &access_by("@").replace('@', &text.replace('"', "\\x22"))), &counted),
            (cri("stdout", "F", &format!(r#"{{"ua":"{}"}}"#, text.replace('"', "\\x22"))), &refused),
            // The last line of a container that was killed.
            (cri("stdout", "F", &format!(r#"{{"ua":"{}"#, text.replace('"', "\\\""))), &refused),
            // Error lines hold a client's text as it came.
            (cri("stderr", "F", &format!("{error}{text}")), &refused),
            (cri("stderr", "F", &format!("{error} HTTP/1.1\", referrer: \"{text}\"")), &refused),
            (cri("stderr", "F", &denial(1).replace("GET /x", text)), &counted),
            // A message of several lines lets a client begin one: of its own stream, and whole, it may write anyhow.
            (cri("stderr", "F", &format!("{{{text}")), &refused),
            (cri("stderr", "F", text), &refused),
            (cri("stderr", "F", &format!(r#"{{"a{text}"#)), &refused),
            (cri("stdout", "F", &format!("{{{piece}")), &refused),
            // Text lines.
            (cri("stdout", "F", &format!("192.0.2.1 {text}")), &refused),
            (docker("stdout", &format!("{{{}\\n", text.replace('"', "\\\""))), &refused),
            // No runtime wrote it.
            (format!("x {text}"), &refused),
            (format!("2026-11-21 02:26:08 {text}"), &refused),
        ] {
            assert_eq!(&of(STAGES, line.as_bytes()).0, expected, "{line}");
        }
    }
    // Cut to the limit, a line breaks off inside of a string, and its forged header may be the last one.
    let long = cri("stdout", "F", &format!("{{\"ua\":\"{}\", {forged}", "x".repeat(JOINED_BYTES_MAX)));
    assert_eq!(of(STAGES, long.as_bytes()).0, refused);
    let mut world = World::new(STAGES);
    world.line(0, cri("stdout", "P", &format!("{{\"ua\":\"{}", "x".repeat(JOINED_BYTES_MAX - 200))).as_bytes());
    world.line(0, cri("stdout", "F", &format!("\" {forged}{}", "x".repeat(400))).as_bytes());
    assert_eq!(books(&world), Books { read: 2, ..refused });
}

#[test]
fn a_line_is_split_a_few_times_at_most() {
    for torn in 0..10 {
        let fronts = cri("stdout", "F", r#"{"status":"2"#).repeat(torn as usize);
        let line = [fronts, cri("stdout", "F", &access(1))].concat();
        let splits = torn.min(u64::from(SPLITS_MAX));
        let rest = u64::from(torn > splits);
        let expected = Books { counted: 1 - rest, torn: splits, refused: rest, read: splits + 1 };
        assert_eq!(of(STAGES, line.as_bytes()).0, expected, "{torn}");
        // A torn header before them is one more.
        let line = ["2026-11-21T02:25:35Z std".to_string(), line].concat();
        let splits = (torn + 1).min(u64::from(SPLITS_MAX));
        let rest = u64::from(torn + 1 > splits);
        let expected = Books { counted: 1 - rest, torn: splits, refused: rest, read: splits + 1 };
        assert_eq!(of(STAGES, line.as_bytes()).0, expected, "{torn}");
    }
}

#[test]
fn json_breaks_where_it_cannot_go_on() {
    for (text, at) in [
        (r#"{"a":1}"#, None),
        (r#"{"a":[1,"x",{}],"b":{"c":[]}} "#, None),
        (r#"{"a":"x\"#, None),
        (r#"{"a":"x\\\""#, None),
        (r#"{"#, None),
        (r#"{"a":"#, None),
        (r#"{"a":tru"#, None),
        ("{x", Some(1)),
        (r#"{"a" "#, None),
        (r#"{"a" 1"#, Some(5)),
        (r#"{"a":"b"c"#, Some(8)),
        (r#"{"a":1 2"#, Some(7)),
        (r#"{"a":1,}"#, Some(7)),
        (r#"{"a":[1}"#, Some(7)),
        (r#"{"a":[,"#, Some(6)),
        (r#"{}{"#, Some(2)),
        (r#"{"a":"\\"x"#, Some(9)),
    ] {
        assert_eq!(breaks_at(text.as_bytes()), at, "{text}");
    }
    assert_eq!(breaks_at(&[b'['; 100_000]), None);
}
