//! A picker with a memory gives the answers of one without, whatever it has seen before.

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::super::Field;
use super::super::tests::value;
use super::*;

/// Answers of pickers with a memory, one for each way to look, are those of one without.
struct Twins {
    general: Picker,
    learning: Vec<LearningPicker>,
    mode: Mode,
}

impl Twins {
    fn new(paths: &[&str], mode: Mode) -> Self {
        let split = |path: &&str| path.split('.').map(String::from).collect();
        let paths: Vec<Vec<String>> = paths.iter().map(split).collect();
        let learning = |looks| LearningPicker { looks, ..LearningPicker::new(&paths, mode) };
        Self { general: Picker::new(&paths), learning: Looks::all().into_iter().map(learning).collect(), mode }
    }

    fn assert_agree(&mut self, line: &[u8]) {
        let mut expected = vec![Field::Missing; self.general.len()];
        let read = self.general.pick(line, self.mode, &mut expected);
        for picker in &mut self.learning {
            let found =
                picker.pick(line).map(|found| (0..expected.len()).map(|path| found.field(path, line)).collect());
            assert_eq!(found, read.map(|()| expected.clone()), "{:?}: {}", picker.looks, line.escape_ascii());
        }
    }
}

/// Keys that are read by different steps: wanted once, twice, with more below, by nobody; longer than what is compared
/// at once, and than what is learned.
const LEARNED_PATHS: [&str; 9] =
    ["a", "b", "a.b", "status", "method", "status", "o.p", "proxyAlternativeUpstreamName", "empty"];

fn learned_key() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(&["status", "method", "b", "time", "path"][..]).prop_map(String::from),
        2 => prop::sample::select(&["a", "o", "proxyAlternativeUpstreamName", r"st\u0061tus", "é", ""][..]).prop_map(String::from),
        1 => Just("k".repeat(80)),
    ]
    .prop_map(|key| format!("\"{key}\""))
}

/// Values as they are in logs, whole and torn, and such as only one of the modes takes.
fn learned_value() -> impl Strategy<Value = Vec<u8>> {
    let bare = [
        "0",
        "200",
        "0.001",
        "007",
        "1.",
        "00",
        "0.",
        "1.2.3",
        "-",
        "-1",
        "-0.5e3",
        "1e400",
        "",
        " 5 ",
        "null",
        "true",
        "false",
        "nul",
        "x",
        "5x",
        "5 6",
        "5\t",
        "5]",
        "0.123456789012345678",
    ];
    let texts: [&[u8]; 10] = [
        b"\"\"",
        b"\"GET\"",
        b"\"a string of more than sixteen bytes and then some\"",
        b"\"\\\"\"",
        b"\"x\\\\\"",
        b"\"\\x22\"",
        b"\"\t\"",
        b"\"\xff\xc3\"",
        b"\"",
        b"\"}, \\\"status\\\": 1\"",
    ];
    let composites = [r#"{"b": 1, "p": [2]}"#, r#"[{"status": 1}, "}"]"#, "{}", "[", r#"{"b"}"#, r#"{null: 1}"#];
    prop_oneof![
        4 => value().prop_map(String::into_bytes),
        4 => prop::sample::select(bare.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => "[1-9][0-9]{295,312}".prop_map(String::into_bytes),
        1 => "[0-9]{0,40}\\.?[0-9]{0,40}".prop_map(String::into_bytes),
        3 => long_text(),
        4 => prop::sample::select(texts.to_vec()).prop_map(<[u8]>::to_vec),
        2 => prop::sample::select(composites.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
    ]
}

/// Strings that end anywhere in a window or beyond it, with escapes that are some, and some that are none.
fn long_text() -> impl Strategy<Value = Vec<u8>> {
    let pieces: [&[u8]; 9] = [br#"\""#, br"\\", br"\u00e9", br"\ud83d\ude00", br"\n", br"\x", br"\u12", b"\t", b"\xff"];
    let piece = prop_oneof![
        4 => "[a-z:,{} ]{0,40}".prop_map(String::into_bytes),
        1 => prop::sample::select(pieces.to_vec()).prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| [b"\"", &*pieces.concat(), b"\""].concat())
}

/// What a program writes between its keys and values.
fn style() -> impl Strategy<Value = [&'static str; 4]> {
    let styles = [
        ["{", ", ", ": ", "}"],
        ["{", ",", ":", "}"],
        [" {\t", " , ", " :\r\n", " }\n"],
        ["{", ",", ": ", "} x"],
        ["{", ", ", ": ", "}\0"],
    ];
    prop::sample::select(styles.to_vec())
}

/// Lines of one program: the same keys in most of them, other values in each, now and then a key less, one more, or
/// another order; and damage.
fn program() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let keys = prop::collection::vec(learned_key(), 0..12);
    let line = (
        prop::collection::vec(learned_value(), 13),
        prop_oneof![5 => Just(0), 1 => 1..4_u8],
        any::<prop::sample::Index>(),
        learned_key(),
        prop_oneof![8 => Just(None), 1 => (any::<prop::sample::Index>(), prop::option::of(any::<u8>())).prop_map(Some)],
    );
    (keys, style(), prop::collection::vec(line, 1..12)).prop_map(|(keys, [open, comma, colon, close], lines)| {
        let write =
            |(values, change, at, extra, damage): (Vec<Vec<u8>>, u8, prop::sample::Index, String, Option<_>)| {
                let mut keys = keys.clone();
                let place = at.index(keys.len() + 1);
                match change {
                    1 if place < keys.len() => _ = keys.remove(place),
                    2 => keys.insert(place, extra),
                    3 => keys.rotate_left(place),
                    _ => {}
                }
                let members: Vec<Vec<u8>> = keys
                    .iter()
                    .zip(&values)
                    .map(|(key, value)| [key.as_bytes(), colon.as_bytes(), value].concat())
                    .collect();
                let mut line = [open.as_bytes(), &members.join(comma.as_bytes()), close.as_bytes()].concat();
                match damage {
                    Some((at, None)) => line.truncate(prop::sample::Index::index(&at, line.len())),
                    Some((at, Some(byte))) => {
                        let at = prop::sample::Index::index(&at, line.len());
                        line[at] = byte;
                    }
                    None => {}
                }
                line
            };
        lines.into_iter().map(write).collect()
    })
}

proptest! {
    #![proptest_config(Config::with_cases(cases()))]

    #[test]
    fn what_was_learned_never_changes_an_answer(
        programs in prop::collection::vec(program(), 1..4), turns in prop::collection::vec(0..4_usize, 0..40),
    ) {
        for mode in [Mode::Strict, Mode::Lenient] {
            let mut twins = Twins::new(&LEARNED_PATHS, mode);
            let mut lines: Vec<_> = programs.iter().map(|lines| lines.iter()).collect();
            // Programs take turns, then each writes what it has left.
            let count = lines.len();
            for turn in &turns {
                lines[turn % count].next().into_iter().for_each(|line| twins.assert_agree(line));
            }
            lines.into_iter().flatten().for_each(|line| twins.assert_agree(line));
        }
    }

    #[test]
    fn no_bytes_upset_what_was_learned(
        lines in prop::collection::vec(prop::collection::vec(prop::sample::select(&b"\"\"\"\\{{}[],,::0-. \xff\x01aabun"[..]), 0..30), 1..30),
    ) {
        for mode in [Mode::Strict, Mode::Lenient] {
            let mut twins = Twins::new(&LEARNED_PATHS, mode);
            for line in &lines {
                twins.assert_agree(br#"{"a":1,"b":"x","n":null}"#);
                twins.assert_agree(line);
            }
        }
    }
}

/// `WEIR_CASES` for more.
fn cases() -> u32 {
    std::env::var("WEIR_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

#[test]
fn more_keys_than_are_remembered_are_all_found() {
    for mode in [Mode::Strict, Mode::Lenient] {
        let mut twins = Twins::new(&["k7", "k90", "k199"], mode);
        for line in 0..300_usize {
            let keys = (0..200).map(|n| format!("\"k{}\": \"{line}\"", (n * 7 + line / 100 * n) % 200));
            twins.assert_agree(format!("{{{}}}", keys.collect::<Vec<_>>().join(", ")).as_bytes());
        }
    }
}

/// What comes behind such a key is not learned; above all it is no beginning of a line.
#[test]
fn behind_a_key_that_is_too_long_no_line_begins() {
    for mode in [Mode::Strict, Mode::Lenient] {
        let mut twins = Twins::new(&["a"], mode);
        let key = "k".repeat(80);
        for line in [
            r#"{"a": "1"}"#.to_string(),
            format!(r#"{{"{key}": "x"{{"a": "1"}}"#),
            format!(r#"{{"{key}": "x", "a": "1"}}"#),
        ] {
            twins.assert_agree(line.as_bytes());
        }
    }
}

#[test]
fn every_cut_of_a_known_line_is_judged_as_without_a_memory() {
    let line = br#"{"time": "2026-11-21T02:25:48+00:00", "status": 200, "method": "GET", "a": {"b": 1}, "path": "/x\\", "b": 1.5}"#;
    for mode in [Mode::Strict, Mode::Lenient] {
        let mut twins = Twins::new(&LEARNED_PATHS, mode);
        for cut in 0..=line.len() {
            twins.assert_agree(line);
            twins.assert_agree(&line[..cut]);
        }
    }
}

/// Wherever windows begin and end in a line, and whatever stands at their borders.
#[test]
fn one_wrong_byte_anywhere_is_judged_as_without_a_memory() {
    for mode in [Mode::Strict, Mode::Lenient] {
        let mut twins = Twins::new(&LEARNED_PATHS, mode);
        for len in (0..80).step_by(9) {
            let text = "x".repeat(len);
            let line =
                format!(r#"{{"time": "{text}", "status": 200, "method": "{text}", "b": 0.25, "path": "{text}"}}"#);
            for at in 0..line.len() {
                twins.assert_agree(line.as_bytes());
                for wrong in *b"\"\\\t\0\xff,}x0" {
                    let mut damaged = line.clone().into_bytes();
                    damaged[at] = wrong;
                    twins.assert_agree(&damaged);
                }
            }
        }
    }
}

/// The step behind which a text is learned may be gone by then, with this one in its place.
#[test]
fn nothing_is_learned_behind_a_step_that_is_forgotten() {
    for mode in [Mode::Strict, Mode::Lenient] {
        for others in 50..70 {
            let mut twins = Twins::new(&["a", "c"], mode);
            let known = br#"{"a": "a text of more bytes than a window has"}"#;
            twins.assert_agree(known);
            // With so many other steps the next one finds no room, for one of these numbers.
            for number in 0..others {
                twins.assert_agree(format!(r#"{{"key-{number}": 1234567890123456789012345678901234}}"#).as_bytes());
                // What is known gives patience to learn.
                twins.assert_agree(known);
                twins.assert_agree(known);
            }
            twins.assert_agree(
                br#"{"a": "some text", "c": 7", "c": 8", "c": 9, "d": 1234567890123456789012345678901234}"#,
            );
        }
    }
}
