//! Texts in parts, and the length of things.

use super::Kind::{Any, Int, List as L, Many, Parts, Text as T};
use super::text::borders;
use super::{Function, function};
use crate::template::format::push_value;
use crate::template::room::{List, Text, Texts, Value};
use crate::template::run::Failed;
use memchr::memmem;

pub(super) const FUNCTIONS: &[Function] = &[
    function("len", &[Any], Int, |_, a| match a[0] {
        Value::Text(text) => Ok(Value::Int(text.len() as i64)),
        value => Ok(Value::Int(value.list()?.len() as i64)),
    }),
    function("index", &[Any, Any], Any, |texts, a| index(texts, a[0], a[1])),
    function("split", &[T, T], Parts, |texts, a| Ok(Value::Parts(split(texts, a[0], a[1], usize::MAX)?))),
    function("splitn", &[T, Int, T], Parts, |texts, a| {
        let most = a[1].int()?;
        Ok(Value::Parts(split(texts, a[0], a[2], usize::try_from(most).unwrap_or(usize::MAX))?))
    }),
    function("splitList", &[T, T], L, |texts, a| Ok(Value::List(split(texts, a[0], a[1], usize::MAX)?))),
    function("join", &[T, Any], T, |texts, a| join(texts, a[0].text()?, a[1])),
    function("first", &[Many], Any, |texts, a| Ok(one(texts.items(ordered(a[0])?).first()))),
    function("last", &[Many], Any, |texts, a| Ok(one(texts.items(ordered(a[0])?).last()))),
];

/// The part with this number; past the end there is none.
pub(in crate::template) fn part(texts: &Texts, value: Value, number: usize) -> Result<Value, Failed> {
    match value {
        Value::Parts(list) => Ok(one(texts.items(list).get(number))),
        _ => Err(Failed),
    }
}

fn one(text: Option<&Text>) -> Value {
    text.map_or(Value::Nothing, |text| Value::Text(*text))
}

/// A list, which has an order; the parts of `split` have names only.
fn ordered(value: Value) -> Result<List, Failed> {
    if let Value::List(list) = value { Ok(list) } else { Err(Failed) }
}

fn index(texts: &mut Texts, of: Value, key: Value) -> Result<Value, Failed> {
    let at = |len: usize| usize::try_from(key.int()?).ok().filter(|at| *at < len).ok_or(Failed);
    match of {
        Value::Text(text) => Ok(Value::Int(i64::from(texts.get(text)[at(text.len())?]))),
        Value::List(list) => Ok(Value::Text(texts.items(list)[at(list.len())?])),
        Value::Parts(list) => {
            let number = number_of_part(texts.get(key.text()?));
            let found = number.and_then(|number| texts.items(list).get(number).copied());
            // What is not in Go's map of texts is an empty one.
            Ok(Value::Text(found.unwrap_or_else(|| texts.copy(b""))))
        }
        _ => Err(Failed),
    }
}

/// `_0`, `_1` and so on.
pub(in crate::template) fn number_of_part(name: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(name.strip_prefix(b"_")?).ok()?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain)
}

/// Go's `strings.SplitN`: without a separator into characters; into none where `most` is 0.
fn split(texts: &mut Texts, separator: Value, text: Value, most: usize) -> Result<List, Failed> {
    let (separator, text) = (separator.text()?, text.text()?);
    Ok(texts.list(text, separator, |bytes, separator, take| {
        if most == 0 || (separator.is_empty() && bytes.is_empty()) {
            return;
        }
        let mut at = 0;
        let mut cut = |end: usize, next: usize| {
            take(at..end);
            at = next;
        };
        if separator.is_empty() {
            let inside = borders(bytes).skip(1).take_while(|border| *border < bytes.len());
            inside.take(most - 1).for_each(|border| cut(border, border));
        } else {
            let found = memmem::find_iter(bytes, separator).take(most - 1);
            found.for_each(|start| cut(start, start + separator.len()));
        }
        take(at..bytes.len());
    }))
}

fn join(texts: &mut Texts, separator: Text, value: Value) -> Result<Value, Failed> {
    match value {
        // A map's parts have no order in Go.
        Value::Parts(_) => Err(Failed),
        Value::List(list) => Ok(Value::Text(texts.make(|texts, out| {
            for (i, item) in texts.items(list).iter().enumerate() {
                out.push(if i > 0 { texts.get(separator) } else { b"" });
                out.push(texts.get(*item));
            }
        }))),
        Value::Nothing => Ok(Value::Text(texts.copy(b""))),
        value => Ok(Value::Text(texts.make(|texts, out| push_value(texts, value, out)))),
    }
}
