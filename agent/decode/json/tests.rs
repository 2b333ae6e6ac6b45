//! What the picker takes and refuses, and that it agrees with serde_json wherever that reads the same language.

use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::Value;

use super::*;

fn picker(paths: &[&str]) -> Picker {
    let split = |path: &&str| path.split('.').map(String::from).collect();
    Picker::new(&paths.iter().map(split).collect::<Vec<_>>())
}

fn pick<'a>(paths: &[&str], line: &'a [u8], mode: Mode) -> Result<Vec<Field<'a>>, Malformed> {
    let mut out = vec![Field::Missing; paths.len()];
    picker(paths).pick(line, mode, &mut out).map(|()| out)
}

fn plain(raw: &str) -> Field<'_> {
    Field::Text { raw: raw.as_bytes(), escaped: false }
}

#[test]
fn every_kind_of_value_is_picked() {
    let line = br#" { "n" : -1.5e3 , "s":"x","e":"\u0041","t":true,"f":false,"z":null,"a":[1,{"n":2}],"o":{"n":3}} "#;
    let found = pick(&["n", "s", "e", "t", "f", "z", "a", "o", "none", "n"], line, Mode::Strict).unwrap();
    assert_eq!(
        found,
        [
            Field::Number(b"-1.5e3"),
            plain("x"),
            Field::Text { raw: br"\u0041", escaped: true },
            Field::Bool(true),
            Field::Bool(false),
            Field::Null,
            Field::Composite(br#"[1,{"n":2}]"#),
            Field::Composite(br#"{"n":3}"#),
            Field::Missing,
            Field::Number(b"-1.5e3"),
        ]
    );
}

#[test]
fn paths_descend_into_objects_only() {
    let line = br#"{"a":{"b":{"c":"deep"},"d":1},"a.b":2,"x":[{"y":1}],"s":"{\"y\":1}"}"#;
    let found = pick(&["a.b.c", "a.b", "a", "a.d", "a.none", "x.y", "s.y", "d"], line, Mode::Strict).unwrap();
    assert_eq!(
        found[..4],
        [
            plain("deep"),
            Field::Composite(br#"{"c":"deep"}"#),
            Field::Composite(br#"{"b":{"c":"deep"},"d":1}"#),
            Field::Number(b"1"),
        ]
    );
    assert_eq!(found[4..], [Field::Missing; 4]);
}

#[test]
fn of_two_equal_keys_the_last_one_counts_with_all_below_it() {
    let line = br#"{"a":{"b":1,"c":2},"k":1,"a":{"c":3},"\u006b":2,"d":{"e":1},"d":null}"#;
    let found = pick(&["a.b", "a.c", "k", "d.e", "d"], line, Mode::Strict).unwrap();
    assert_eq!(found, [Field::Missing, Field::Number(b"3"), Field::Number(b"2"), Field::Missing, Field::Null]);
}

#[test]
fn promtails_json_stage_takes_these() {
    for (line, found) in [
        (&b"null"[..], Field::Missing),
        (b"{}", Field::Missing),
        (b"\t{\r\n}\n", Field::Missing),
        (b"{\"A\":1}", Field::Missing),
        (b"{null:1,\"a\":2}", Field::Number(b"2")),
        (b"{\"b\":{\"c\":1,null:1},\"a\":2}", Field::Number(b"2")),
        (b"{\"a\":1}\0 what follows a NUL", Field::Number(b"1")),
        (b"{\"a\":\"\xff\"}", Field::Text { raw: b"\xff", escaped: false }),
        (b"{\"\xff\":1,\"a\":0e1}", Field::Number(b"0e1")),
        (b"{\"a\":\"\\n\x01\"}", Field::Text { raw: b"\\n\x01", escaped: true }),
        (b"{\"a\":\"\\ud800\"}", Field::Text { raw: b"\\ud800", escaped: true }),
        (b"{\"b\":1e-999,\"a\":-0}", Field::Number(b"-0")),
    ] {
        assert_eq!(pick(&["a"], line, Mode::Strict), Ok(vec![found]), "{}", line.escape_ascii());
    }
}

#[test]
fn promtails_json_stage_refuses_these() {
    for line in [
        &b""[..],
        b" ",
        b"[1]",
        b"\"a\"",
        b"1",
        b"nul",
        b"nullx",
        b"{",
        b"{\"a\"",
        b"{\"a\":",
        b"{\"a\":1",
        b"{\"a\":1}x",
        b"{\"a\":1}}",
        b"{\"a\":1,}",
        b"{,}",
        b"{\"a\" 1}",
        b"{\"a\":}",
        b"{a:1}",
        b"{\"a\":1 \"b\":2}",
        b"{\"b\":[1,]}",
        b"{\"b\":[,1]}",
        b"{\"b\":[1}",
        b"{\"b\":{\"c\":1]}",
        b"{\"b\":{null:1}}",
        b"{\"a\":009}",
        b"{\"a\":-}",
        b"{\"a\":+1}",
        b"{\"a\":-+1}",
        b"{\"a\":.5}",
        b"{\"a\":1.}",
        b"{\"a\":1.e1}",
        b"{\"a\":1e}",
        b"{\"a\":1e400}",
        b"{\"a\":0x1}",
        b"{\"a\":1_0}",
        b"{\"a\":NaN}",
        b"{\"a\":- 1}",
        b"{\"a\":tru}",
        b"{\"a\":truex}",
        b"{\"a\":'x'}",
        b"{\"a\":\"x}",
        b"{\"a\":\"\x01\"}",
        b"{\"a\x01\":1}",
        b"{\"a\":\"\\x22\"}",
        b"{\"a\":\"\\u12g4\"}",
        b"{\"a\":\"\\u12",
        b"{\"a\":\"\\",
        b"{\"a\":\"\\\"}",
        b"{\"a\":1}\x01",
        b"\xef\xbb\xbf{\"a\":1}",
        b"{\"b\":009,\"a\":1}",
        b"{\"b\":{\"c\":[1e999]},\"a\":1}",
        b"{\"a\":1\0}",
    ] {
        assert_eq!(pick(&["a"], line, Mode::Strict), Err(Malformed), "{}", line.escape_ascii());
    }
    let digits = |count: usize| format!("{{\"a\":{}}}", "9".repeat(count));
    assert!(pick(&["a"], digits(308).as_bytes(), Mode::Strict).is_ok());
    assert!(pick(&["a"], digits(309).as_bytes(), Mode::Strict).is_err());
}

#[test]
fn a_format_strings_values_are_taken_as_they_stand() {
    for (line, found) in [
        (&b"{\"a\": 009}"[..], Field::Number(b"009")),
        (b"{\"a\": , \"b\": 1}", Field::Number(b"")),
        (b"{\"a\":}", Field::Number(b"")),
        (b"{\"a\": - }", Field::Number(b"-")),
        (b"{\"a\": 0.001 : 0.2}", Field::Number(b"0.001 : 0.2")),
        (b"{\"b\":[009, -],\"a\":{\"c\":}}", Field::Composite(b"{\"c\":}")),
        (b"{\"a\": null }", Field::Null),
        (b"{\"a\": true,\"b\":-}", Field::Bool(true)),
        (b"{\"a\":\"x\x01\"}", Field::Text { raw: b"x\x01", escaped: false }),
        (br#"{"a":"\x22\u12"}"#, Field::Text { raw: br"\x22\u12", escaped: true }),
    ] {
        assert_eq!(pick(&["a"], line, Mode::Lenient), Ok(vec![found]), "{}", line.escape_ascii());
    }
    for line in [
        &b"null"[..],
        b"{\"a\":5 \"b\":6}",
        b"{\"a\":5{}}",
        b"{\"a\":5",
        b"{\"a\":\"5\"6}",
        b"{\"a\":1}\0",
        b"{\"a\":1]",
        b"{} {}",
    ] {
        assert_eq!(pick(&["a"], line, Mode::Lenient), Err(Malformed), "{}", line.escape_ascii());
    }
}

#[test]
fn nesting_is_bounded_as_in_json_iterator() {
    let nested =
        |depth: usize, open: &str, close: &str| format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth));
    for (open, close, per) in [("[", "]", 1), ("{\"a\":", "}", 1), ("{\"a\":[", "]}", 2)] {
        for paths in [&["x"][..], &["a"], &["a.a.x"]] {
            let read = |depth| pick(paths, nested(depth, open, close).as_bytes(), Mode::Strict).is_ok();
            assert!(read(10_000 / per) && !read(10_000 / per + 1), "{open} {paths:?}");
        }
    }
}

/// What `path` leads to, by the document.
fn assert_agrees(found: Field<'_>, expected: Option<&Value>) {
    let parsed = |raw: &[u8]| serde_json::from_slice::<Value>(raw).unwrap();
    match (found, expected) {
        (Field::Missing, None) | (Field::Null, Some(Value::Null)) => {}
        (Field::Bool(found), Some(Value::Bool(expected))) => assert_eq!(found, *expected),
        (Field::Number(raw), Some(expected @ Value::Number(_))) => assert_eq!(parsed(raw), *expected),
        (Field::Text { raw, escaped }, Some(Value::String(expected))) => {
            let mut text = Vec::new();
            unescape(raw, &mut text);
            assert_eq!(text, expected.as_bytes());
            assert_eq!(escaped, raw.contains(&b'\\'));
        }
        (Field::Composite(raw), Some(expected @ (Value::Array(_) | Value::Object(_)))) => {
            assert_eq!(parsed(raw), *expected);
        }
        other => panic!("{other:?}"),
    }
}

const PATHS: [&str; 8] = ["a", "b", "a.b", "a.a.b", "b.abcdefgh", "abcdefgh", "abcdefghi", ""];

fn assert_agrees_with_serde(line: &[u8]) {
    let picker = picker(&PATHS);
    let (mut strict, mut lenient) = ([Field::Missing; PATHS.len()], [Field::Missing; PATHS.len()]);
    let read = picker.pick(line, Mode::Strict, &mut strict);
    let _ = picker.pick(line, Mode::Lenient, &mut lenient);
    let Ok(document @ Value::Object(_)) = serde_json::from_slice(line) else { return };
    assert_eq!(read, Ok(()));
    assert_eq!(strict, lenient);
    for (path, found) in PATHS.iter().zip(strict) {
        assert_agrees(found, path.split('.').try_fold(&document, |value, key| value.as_object()?.get(key)));
    }
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(&[r"a", r"b", r"\u0061", r"abcdefgh", r"abcdefg\u0068", r"abcdefghi", r"", r"é", r"zz"][..])
        .prop_map(|key| format!("\"{key}\""))
}

pub(super) fn value() -> impl Strategy<Value = String> {
    let text =
        r#"([a-z ,:{}é]|\\["\\/bfnrt]|\\u00[0-7][0-9a-fA-F]|\\ud83d\\ude00){0,40}"#.prop_map(|s| format!("\"{s}\""));
    let number = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?";
    let scalar = prop_oneof![text, number, "true|false|null"];
    scalar.prop_recursive(5, 40, 6, |inner| {
        let object = prop::collection::vec((key(), space(), inner.clone()), 0..6);
        let array = prop::collection::vec((inner, space()), 0..6);
        prop_oneof![
            (object, space()).prop_map(|(members, s)| format!(
                "{{{s}{}{s}}}",
                join(members.iter().map(|(k, s, v)| format!("{s}{k}{s}:{s}{v}")))
            )),
            (array, space())
                .prop_map(|(members, s)| format!("[{s}{}]", join(members.iter().map(|(v, s)| format!("{v}{s}"))))),
        ]
    })
}

fn join(members: impl Iterator<Item = String>) -> String {
    members.collect::<Vec<_>>().join(",")
}

fn object() -> impl Strategy<Value = String> {
    prop::collection::vec((key(), value(), space()), 0..8)
        .prop_map(|members| format!("{{{}}}", join(members.iter().map(|(k, v, s)| format!("{s}{k}:{v}{s}")))))
}

proptest! {
    #![proptest_config(Config::with_cases(1_000))]

    #[test]
    fn an_object_is_read_as_serde_json_reads_it(line in object()) {
        prop_assert!(serde_json::from_str::<Value>(&line).is_ok(), "{}", line);
        assert_agrees_with_serde(line.as_bytes());
    }

    #[test]
    fn a_cut_object_is_malformed(line in object(), cut in any::<prop::sample::Index>()) {
        let line = &line.as_bytes()[..cut.index(line.len())];
        prop_assert_eq!(pick(&PATHS, line, Mode::Strict), Err(Malformed));
        prop_assert_eq!(pick(&PATHS, line, Mode::Lenient), Err(Malformed));
    }

    #[test]
    fn a_damaged_object_is_refused_or_read_as_serde_json_reads_it(
        line in object(), at in any::<prop::sample::Index>(), byte in prop::sample::select(&b"\"\\{}[],:0-. \xff\x01a"[..]),
    ) {
        let mut line = line.into_bytes();
        let at = at.index(line.len());
        line[at] = byte;
        assert_agrees_with_serde(&line);
    }

    #[test]
    fn any_bytes_may_be_read(line in prop::collection::vec(prop::sample::select(&b"\"\\{}[],:0-. \xff\x01aun"[..]), 0..60)) {
        assert_agrees_with_serde(&line);
    }
}
