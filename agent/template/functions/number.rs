//! Numbers. A text becomes one as Promtail's `cast` reads it: what is none is 0.

use super::Kind::{Any, Float, Int, Text as T};
use super::{Function, function, variadic};
use crate::decode::number::parse_f64;
use crate::template::lex;
use crate::template::room::{Texts, Value};
use crate::template::run::Failed;
use std::num::IntErrorKind;

pub(super) const FUNCTIONS: &[Function] = &[
    function("int", &[Any], Int, |texts, a| Ok(Value::Int(int(texts, a[0])))),
    function("int64", &[Any], Int, |texts, a| Ok(Value::Int(int(texts, a[0])))),
    function("float64", &[Any], Float, |texts, a| Ok(Value::Float(float(texts, a[0])))),
    function("atoi", &[T], Int, |texts, a| Ok(Value::Int(atoi(texts.get(a[0].text()?))))),
    variadic("add", &[], Any, Int, |texts, a| Ok(Value::Int(fold(texts, 0, a, i64::wrapping_add)))),
    function("add1", &[Any], Int, |texts, a| Ok(Value::Int(int(texts, a[0]).wrapping_add(1)))),
    function("sub", &[Any, Any], Int, |texts, a| Ok(Value::Int(int(texts, a[0]).wrapping_sub(int(texts, a[1]))))),
    variadic("mul", &[Any], Any, Int, |texts, a| Ok(Value::Int(fold(texts, 1, a, i64::wrapping_mul)))),
    function("div", &[Any, Any], Int, |texts, a| divided(texts, a, i64::wrapping_div)),
    function("mod", &[Any, Any], Int, |texts, a| divided(texts, a, i64::wrapping_rem)),
    variadic("max", &[Any], Any, Int, |texts, a| Ok(Value::Int(fold(texts, i64::MIN, a, i64::max)))),
    variadic("biggest", &[Any], Any, Int, |texts, a| Ok(Value::Int(fold(texts, i64::MIN, a, i64::max)))),
    variadic("min", &[Any], Any, Int, |texts, a| Ok(Value::Int(fold(texts, i64::MAX, a, i64::min)))),
    function("floor", &[Any], Float, |texts, a| Ok(Value::Float(float(texts, a[0]).floor()))),
    function("ceil", &[Any], Float, |texts, a| Ok(Value::Float(float(texts, a[0]).ceil()))),
    function("round", &[Any, Int], Float, |texts, a| Ok(Value::Float(round(float(texts, a[0]), a[1].int()?)))),
];

fn fold(texts: &Texts, first: i64, values: &[Value], two: fn(i64, i64) -> i64) -> i64 {
    values.iter().fold(first, |sum, value| two(sum, int(texts, *value)))
}

/// Go ends the template where something is divided by zero.
fn divided(texts: &Texts, values: &[Value], divide: fn(i64, i64) -> i64) -> Result<Value, Failed> {
    match int(texts, values[1]) {
        0 => Err(Failed),
        by => Ok(Value::Int(divide(int(texts, values[0]), by))),
    }
}

fn int(texts: &Texts, value: Value) -> i64 {
    match value {
        Value::Int(int) => int,
        Value::Float(float) => float as i64,
        Value::Bool(yes) => i64::from(yes),
        Value::Text(text) => std::str::from_utf8(texts.get(text)).ok().and_then(whole).unwrap_or(0),
        Value::Nothing | Value::List(_) | Value::Parts(_) => 0,
    }
}

/// A whole number in Go's notation, behind whose point are zeros at most.
fn whole(text: &str) -> Option<i64> {
    let front = text.trim_end_matches('0');
    let zeros = text.len() - front.len();
    lex::int(front.strip_suffix('.').filter(|_| zeros > 0).unwrap_or(text))
}

fn float(texts: &Texts, value: Value) -> f64 {
    match value {
        Value::Float(float) => float,
        Value::Int(int) => int as f64,
        Value::Bool(yes) => f64::from(u8::from(yes)),
        Value::Text(text) => parse_f64(texts.get(text)).unwrap_or(0.0),
        Value::Nothing | Value::List(_) | Value::Parts(_) => 0.0,
    }
}

/// `strconv.Atoi`, with its error thrown away: 0 for what is no number, and the nearest one for what is too big.
fn atoi(text: &[u8]) -> i64 {
    match std::str::from_utf8(text).unwrap_or_default().parse::<i64>() {
        Ok(number) => number,
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => i64::MAX,
        Err(error) if *error.kind() == IntErrorKind::NegOverflow => i64::MIN,
        Err(_) => 0,
    }
}

/// sprig's: the half goes up; below zero everything goes down.
fn round(value: f64, places: i64) -> f64 {
    let power = 10f64.powf(places as f64);
    let moved = value * power;
    let rounded = if moved.fract() >= 0.5 { moved.ceil() } else { moved.floor() };
    rounded / power
}
