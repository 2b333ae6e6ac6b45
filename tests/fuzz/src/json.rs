//! The JSON picker against serde_json.

use serde_json::Value;
use std::sync::LazyLock;
use weir::decode::json::{Expression, Extracted, Field, Mode, Picker, unescape, write_compact};

const PATHS: [&[&str]; 8] =
    [&["status"], &["path"], &["remote_address"], &["request_time"], &["a"], &["a", "b"], &["a", "b", "c"], &["log"]];
static PICKER: LazyLock<Picker> =
    LazyLock::new(|| Picker::new(&PATHS.map(|path| path.iter().map(|key| (*key).to_owned()).collect())));

/// Brackets that serde_json goes down into.
const NESTING_MAX: usize = 100;

pub fn json(line: &[u8]) {
    let mut fields = [Field::Missing; PATHS.len()];
    let picked = PICKER.pick(line, Mode::Strict, &mut fields);
    let parsed = serde_json::from_slice::<Value>(line);
    match (&picked, &parsed) {
        (Ok(()), Ok(Value::Object(object))) => {
            for (path, field) in PATHS.iter().zip(&fields) {
                same(path, at(object, path), field);
            }
        }
        (Err(_), Ok(Value::Object(_))) => panic!("serde_json takes it"),
        (Ok(()), Ok(other)) => assert!(other.is_null(), "no object"),
        (Ok(()), Err(error)) => assert!(is_iterators_own(line), "serde_json refuses it: {error}"),
        _ => {}
    }

    // Whatever is taken strictly is taken leniently, with the same fields.
    let mut lenient = [Field::Missing; PATHS.len()];
    if PICKER.pick(line, Mode::Lenient, &mut lenient).is_ok() && picked.is_ok() && parsed.is_ok() {
        assert_eq!(lenient, fields);
    }
    let mut text = Vec::new();
    for field in lenient {
        match field {
            Field::Composite(raw) => write_compact(raw, &mut text),
            Field::Text { raw, .. } => unescape(raw, &mut text),
            _ => {}
        }
    }
    if let Ok(expression) = Expression::compile("a.b || status") {
        assert!(!matches!(expression.search(line), Extracted::Text(text) if text.len() > 8 * line.len()));
    }
}

/// What json-iterator takes and JSON does not have: `agent/decode/json/mod.rs` lists it.
fn is_iterators_own(line: &[u8]) -> bool {
    let has = |what: &[u8]| memchr::memmem::find(line, what).is_some();
    std::str::from_utf8(line).is_err()
        || line.iter().any(|b| *b < b' ')
        || has(b"null")
        || has(b"\\ud")
        || has(b"\\uD")
        || line.iter().filter(|b| matches!(b, b'{' | b'[')).count() > NESTING_MAX
}

fn at<'v>(object: &'v serde_json::Map<String, Value>, path: &[&str]) -> Option<&'v Value> {
    let (first, rest) = path.split_first()?;
    let value = object.get(*first)?;
    match (rest, value) {
        ([], value) => Some(value),
        (rest, Value::Object(inner)) => at(inner, rest),
        _ => None,
    }
}

fn same(path: &[&str], want: Option<&Value>, got: &Field<'_>) {
    let fits = match (want, got) {
        (None, Field::Missing) | (Some(Value::Null), Field::Null) => true,
        (Some(Value::Bool(want)), Field::Bool(got)) => want == got,
        (Some(Value::Number(want)), Field::Number(raw)) => {
            let got: f64 = std::str::from_utf8(raw).ok().and_then(|raw| raw.parse().ok()).expect("a number");
            // serde_json's own reading may be off by the last bit.
            want.as_f64().is_some_and(|want| (want - got).abs() <= want.abs() * 2.0 * f64::EPSILON)
        }
        (Some(Value::String(want)), Field::Text { raw, escaped }) => {
            let mut text = Vec::new();
            unescape(raw, &mut text);
            text == want.as_bytes() && (*escaped || text == *raw)
        }
        (Some(want @ (Value::Object(_) | Value::Array(_))), Field::Composite(raw)) => {
            let again: Value = serde_json::from_slice(raw).expect("a part of JSON is JSON");
            again == *want
        }
        _ => false,
    };
    assert!(fits, "{path:?}: serde_json has {want:?}, the picker {got:?}");
}
