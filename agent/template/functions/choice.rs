//! Comparisons, and functions that choose between values.

use super::Kind::{Any, Bool};
use super::{Function, function, variadic};
use crate::template::room::{Texts, Value};
use crate::template::run::Failed;
use std::cmp::Ordering;

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("eq", &[Any, Any], Any, Bool, |texts, a| equal(texts, a).map(Value::Bool)),
    function("ne", &[Any, Any], Bool, |texts, a| Ok(Value::Bool(!equal(texts, a)?))),
    function("lt", &[Any, Any], Bool, |texts, a| Ok(Value::Bool(less(texts, a)?))),
    function("le", &[Any, Any], Bool, |texts, a| Ok(Value::Bool(less(texts, a)? || equal(texts, a)?))),
    function("gt", &[Any, Any], Bool, |texts, a| Ok(Value::Bool(!less(texts, a)? && !equal(texts, a)?))),
    function("ge", &[Any, Any], Bool, |texts, a| Ok(Value::Bool(!less(texts, a)?))),
    function("not", &[Any], Bool, |texts, a| Ok(Value::Bool(!texts.is_true(a[0])))),
    function("empty", &[Any], Bool, |texts, a| Ok(Value::Bool(!texts.is_true(a[0])))),
    variadic("all", &[], Any, Bool, |texts, a| Ok(Value::Bool(a.iter().all(|value| texts.is_true(*value))))),
    variadic("any", &[], Any, Bool, |texts, a| Ok(Value::Bool(a.iter().any(|value| texts.is_true(*value))))),
    // The given value comes last; sprig looks at the first of several.
    variadic("default", &[Any], Any, Any, |texts, a| {
        Ok(a.get(1).copied().filter(|given| texts.is_true(*given)).unwrap_or(a[0]))
    }),
    variadic("coalesce", &[], Any, Any, |texts, a| {
        Ok(a.iter().copied().find(|value| texts.is_true(*value)).unwrap_or(Value::Nothing))
    }),
    function("ternary", &[Any, Any, Bool], Any, |_, a| Ok(if a[2].bool()? { a[0] } else { a[1] })),
];

/// Whether the first is one of the others. Nothing equals only nothing; values of two kinds cannot be compared.
fn equal(texts: &Texts, values: &[Value]) -> Result<bool, Failed> {
    for other in &values[1..] {
        let same = match (values[0], *other) {
            (Value::Nothing, Value::Nothing) => true,
            (Value::Nothing, _) | (_, Value::Nothing) => false,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => texts.get(a) == texts.get(b),
            _ => return Err(Failed),
        };
        if same {
            return Ok(true);
        }
    }
    Ok(false)
}

fn less(texts: &Texts, values: &[Value]) -> Result<bool, Failed> {
    let order = match (values[0], values[1]) {
        (Value::Int(a), Value::Int(b)) => a.cmp(&b),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (Value::Text(a), Value::Text(b)) => texts.get(a).cmp(texts.get(b)),
        _ => return Err(Failed),
    };
    Ok(order == Ordering::Less)
}
