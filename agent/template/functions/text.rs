//! Functions over texts: Go's `strings`, and sprig's with their arguments the other way round, so that a pipeline gives
//! them the text last.

use super::Kind::{Any, Bool, Int, Text as T};
use super::{Function, function, variadic};
use crate::template::format::{push_quoted, push_value};
use crate::template::room::{Buffer, Text, Texts, Value};
use crate::template::run::Failed;
use memchr::memmem;
use std::ops::Range;

type Given = Result<Value, Failed>;

pub(super) const FUNCTIONS: &[Function] = &[
    function("ToLower", &[T], T, |texts, a| lower(texts, a[0])),
    function("ToUpper", &[T], T, |texts, a| upper(texts, a[0])),
    function("Replace", &[T, T, T, Int], T, |texts, a| replace(texts, a[0], a[1], a[2], a[3].int()?)),
    function("Trim", &[T, T], T, |texts, a| trim(texts, a[0], a[1], true, true)),
    function("TrimLeft", &[T, T], T, |texts, a| trim(texts, a[0], a[1], true, false)),
    function("TrimRight", &[T, T], T, |texts, a| trim(texts, a[0], a[1], false, true)),
    function("TrimPrefix", &[T, T], T, |texts, a| trim_prefix(texts, a[0], a[1])),
    function("TrimSuffix", &[T, T], T, |texts, a| trim_suffix(texts, a[0], a[1])),
    function("TrimSpace", &[T], T, |texts, a| trim_space(texts, a[0])),
    function("lower", &[T], T, |texts, a| lower(texts, a[0])),
    function("upper", &[T], T, |texts, a| upper(texts, a[0])),
    function("title", &[T], T, |texts, a| title(texts, a[0])),
    function("trim", &[T], T, |texts, a| trim_space(texts, a[0])),
    function("trimAll", &[T, T], T, |texts, a| trim(texts, a[1], a[0], true, true)),
    function("trimall", &[T, T], T, |texts, a| trim(texts, a[1], a[0], true, true)),
    function("trimPrefix", &[T, T], T, |texts, a| trim_prefix(texts, a[1], a[0])),
    function("trimSuffix", &[T, T], T, |texts, a| trim_suffix(texts, a[1], a[0])),
    function("nospace", &[T], T, |texts, a| nospace(texts, a[0])),
    function("replace", &[T, T, T], T, |texts, a| replace(texts, a[2], a[0], a[1], -1)),
    function("contains", &[T, T], Bool, |texts, a| {
        Ok(Value::Bool(memmem::find(texts.get(a[1].text()?), texts.get(a[0].text()?)).is_some()))
    }),
    function("hasPrefix", &[T, T], Bool, |texts, a| {
        Ok(Value::Bool(texts.get(a[1].text()?).starts_with(texts.get(a[0].text()?))))
    }),
    function("hasSuffix", &[T, T], Bool, |texts, a| {
        Ok(Value::Bool(texts.get(a[1].text()?).ends_with(texts.get(a[0].text()?))))
    }),
    function("substr", &[Int, Int, T], T, |_, a| substr(a[0].int()?, a[1].int()?, a[2].text()?)),
    function("trunc", &[Int, T], T, |_, a| Ok(trunc(a[0].int()?, a[1].text()?))),
    function("repeat", &[Int, T], T, |texts, a| repeat(texts, a[0].int()?, a[1].text()?)),
    function("toString", &[Any], T, |texts, a| Ok(Value::Text(texts.make(|texts, out| push_value(texts, a[0], out))))),
    variadic("quote", &[], Any, T, |texts, a| {
        joined(texts, a, |texts, value, out| match value {
            Value::Text(text) => push_quoted(texts.get(text), out),
            value => {
                out.push(b"\"");
                push_value(texts, value, out);
                out.push(b"\"");
            }
        })
    }),
    variadic("squote", &[], Any, T, |texts, a| {
        joined(texts, a, |texts, value, out| {
            out.push(b"'");
            push_value(texts, value, out);
            out.push(b"'");
        })
    }),
    variadic("cat", &[], Any, T, |texts, a| joined(texts, a, push_value)),
    variadic("print", &[], Any, T, |texts, a| Ok(Value::Text(texts.make(|texts, out| print(texts, a, out))))),
    variadic("println", &[], Any, T, |texts, a| {
        let line = |texts: &Texts, out: &mut Buffer| {
            for (i, value) in a.iter().enumerate() {
                out.push(if i > 0 { b" " } else { b"" });
                push_value(texts, *value, out);
            }
            out.push(b"\n");
        };
        Ok(Value::Text(texts.make(line)))
    }),
];

/// The characters of a text; each byte that belongs to none is U+FFFD, as in Go.
fn chars(bytes: &[u8]) -> impl Iterator<Item = char> {
    bytes
        .utf8_chunks()
        .flat_map(|chunk| chunk.valid().chars().chain(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER)))
}

fn mapped(texts: &mut Texts, text: Value, mut map: impl FnMut(char) -> Option<char>) -> Given {
    let text = text.text()?;
    Ok(Value::Text(texts.make(|texts, out| {
        for c in chars(texts.get(text)).filter_map(&mut map) {
            out.push_char(c);
        }
    })))
}

fn lower(texts: &mut Texts, text: Value) -> Given {
    mapped(texts, text, |c| Some(lower_char(c)))
}

fn upper(texts: &mut Texts, text: Value) -> Given {
    mapped(texts, text, |c| Some(upper_char(c)))
}

/// Go maps one character to one: `İ` to `i`.
fn lower_char(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Go maps one character to one: `ß`, which Rust makes `SS`, stays.
fn upper_char(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Upper case where a word begins.
fn title(texts: &mut Texts, text: Value) -> Given {
    let mut inside = false;
    mapped(texts, text, |c| {
        let first = !std::mem::replace(&mut inside, is_word(c));
        Some(if first { upper_char(c) } else { c })
    })
}

/// Go's `strings.Title` ends words at white space and at ASCII's punctuation.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || !(c.is_ascii() || c.is_whitespace())
}

/// sprig reads bytes as characters here, and breaks those of several bytes; ours stay whole.
fn nospace(texts: &mut Texts, text: Value) -> Given {
    mapped(texts, text, |c| (!c.is_whitespace()).then_some(c))
}

fn trim_space(texts: &mut Texts, text: Value) -> Given {
    let text = text.text()?;
    Ok(Value::Text(trim_where(texts, text, true, true, char::is_whitespace)))
}

fn trim(texts: &mut Texts, text: Value, set: Value, left: bool, right: bool) -> Given {
    let (text, set) = (text.text()?, set.text()?);
    Ok(Value::Text(trim_where(texts, text, left, right, |c| chars(texts.get(set)).any(|of_set| of_set == c))))
}

fn trim_where(texts: &Texts, text: Text, left: bool, right: bool, goes: impl Fn(char) -> bool) -> Text {
    let bytes = texts.get(text);
    let (mut start, mut end) = (0, bytes.len());
    while left && start < end {
        let (c, len) = first_char(&bytes[start..end]);
        if !goes(c) {
            break;
        }
        start += len;
    }
    while right && start < end {
        let (c, len) = last_char(&bytes[start..end]);
        if !goes(c) {
            break;
        }
        end -= len;
    }
    text.slice(start..end)
}

fn first_char(bytes: &[u8]) -> (char, usize) {
    let head = &bytes[..bytes.len().min(4)];
    let chunk = head.utf8_chunks().next();
    chunk.and_then(|chunk| chunk.valid().chars().next()).map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8()))
}

fn last_char(bytes: &[u8]) -> (char, usize) {
    for len in 1..=bytes.len().min(4) {
        let tail = &bytes[bytes.len() - len..];
        if tail[0] & 0xc0 != 0x80 {
            let text = std::str::from_utf8(tail).ok();
            return text.and_then(|text| text.chars().next()).map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, len));
        }
    }
    (char::REPLACEMENT_CHARACTER, 1)
}

fn trim_prefix(texts: &mut Texts, text: Value, prefix: Value) -> Given {
    let (text, prefix) = (text.text()?, prefix.text()?);
    let found = texts.get(text).starts_with(texts.get(prefix));
    Ok(Value::Text(if found { text.slice(prefix.len()..text.len()) } else { text }))
}

fn trim_suffix(texts: &mut Texts, text: Value, suffix: Value) -> Given {
    let (text, suffix) = (text.text()?, suffix.text()?);
    let found = texts.get(text).ends_with(texts.get(suffix));
    Ok(Value::Text(if found { text.slice(0..text.len() - suffix.len()) } else { text }))
}

/// Go's `strings.Replace`: `times` below 0 is all of them; an empty text stands before each character and at the end.
fn replace(texts: &mut Texts, text: Value, old: Value, new: Value, times: i64) -> Given {
    let (text, old, new) = (text.text()?, old.text()?, new.text()?);
    Ok(Value::Text(texts.make(|texts, out| {
        let (bytes, old, new) = (texts.get(text), texts.get(old), texts.get(new));
        let times = usize::try_from(times).unwrap_or(usize::MAX);
        let mut at = 0;
        let mut put = |found: Range<usize>| {
            out.push(&bytes[at..found.start]);
            out.push(new);
            at = found.end;
        };
        match old.is_empty() {
            false => memmem::find_iter(bytes, old).take(times).for_each(|start| put(start..start + old.len())),
            true => borders(bytes).take(times).for_each(|start| put(start..start)),
        }
        out.push(&bytes[at..]);
    })))
}

/// Where characters begin, and the end.
pub(in crate::template) fn borders(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let at = next?;
        next = (at < bytes.len()).then(|| at + first_char(&bytes[at..]).1);
        Some(at)
    })
}

/// sprig's: a negative start is the beginning, a negative or too big end is the end.
fn substr(start: i64, end: i64, text: Text) -> Given {
    let len = text.len() as i64;
    let range = match (start, end) {
        (..0, end) => 0..end,
        (start, end) if end < 0 || end > len => start..len,
        (start, end) => start..end,
    };
    // Out of range, Go ends the template.
    let fits = 0 <= range.start && range.start <= range.end && range.end <= len;
    if fits { Ok(Value::Text(text.slice(range.start as usize..range.end as usize))) } else { Err(Failed) }
}

/// So many bytes from the front, or with a negative number from the end.
fn trunc(bytes: i64, text: Text) -> Value {
    let len = text.len();
    let count = usize::try_from(bytes.unsigned_abs()).unwrap_or(usize::MAX);
    Value::Text(match bytes < 0 {
        _ if count >= len => text,
        true => text.slice(len - count..len),
        false => text.slice(0..count),
    })
}

fn repeat(texts: &mut Texts, times: i64, text: Text) -> Given {
    let times = usize::try_from(times).map_err(|_| Failed)?;
    Ok(Value::Text(texts.make(|texts, out| {
        let bytes = texts.get(text);
        for _ in 0..if bytes.is_empty() { 0 } else { times } {
            out.push(bytes);
            if out.is_cut() {
                return;
            }
        }
    })))
}

/// What is there, with spaces between.
fn joined(texts: &mut Texts, values: &[Value], push: impl Fn(&Texts, Value, &mut Buffer)) -> Given {
    Ok(Value::Text(texts.make(|texts, out| {
        for (i, value) in values.iter().filter(|value| **value != Value::Nothing).enumerate() {
            out.push(if i > 0 { b" " } else { b"" });
            push(texts, *value, out);
        }
    })))
}

/// `fmt.Sprint`: spaces between two values of which none is a text.
fn print(texts: &Texts, values: &[Value], out: &mut Buffer) {
    let is_text = |value: &Value| matches!(value, Value::Text(_));
    for (i, value) in values.iter().enumerate() {
        if i > 0 && !is_text(value) && !is_text(&values[i - 1]) {
            out.push(b" ");
        }
        push_value(texts, *value, out);
    }
}
