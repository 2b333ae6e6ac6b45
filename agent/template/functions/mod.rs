//! The functions that a template may call: Promtail's own, and those of sprig that make a value of values and nothing
//! else. What depends on the moment, the machine or chance is refused: a line that is read again must give the same.

mod choice;
mod encoding;
mod list;
mod number;
mod text;

pub(super) use list::{number_of_part, part};
pub(super) use text::borders;

use super::room::{List, Text, Texts, Value};
use super::run::Failed;

/// What an expression gives, as far as it is known before a line is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whatever it turns out to be.
    Any,
    Nothing,
    Text,
    Int,
    Float,
    Bool,
    List,
    /// What `split` gives.
    Parts,
    /// A list or what `split` gives.
    Many,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Any => "anything",
            Kind::Nothing => "nothing",
            Kind::Text => "a text",
            Kind::Int => "a whole number",
            Kind::Float => "a number with a point",
            Kind::Bool => "true or false",
            Kind::List | Kind::Many => "a list",
            Kind::Parts => "the parts of a text",
        }
    }

    /// Whether an argument of this kind may be what is wanted.
    pub fn may_be(self, wanted: Kind) -> bool {
        self == wanted
            || self == Kind::Any
            || wanted == Kind::Any
            || (wanted == Kind::Many && matches!(self, Kind::List | Kind::Parts))
    }
}

pub(super) type Call = fn(&mut Texts, &[Value]) -> Result<Value, Failed>;

#[derive(Debug)]
pub(super) struct Function {
    pub name: &'static str,
    pub takes: &'static [Kind],
    /// What may follow, any number of them.
    pub more: Option<Kind>,
    pub gives: Kind,
    pub call: Call,
}

/// The function of a name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    tables().into_iter().flatten().find(|function| function.name == name)
}

/// All names, for what is reported of an unknown one.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    tables().into_iter().flatten().map(|function| function.name)
}

fn tables() -> [&'static [Function]; 5] {
    [text::FUNCTIONS, choice::FUNCTIONS, number::FUNCTIONS, list::FUNCTIONS, encoding::FUNCTIONS]
}

const fn function(name: &'static str, takes: &'static [Kind], gives: Kind, call: Call) -> Function {
    Function { name, takes, more: None, gives, call }
}

const fn variadic(name: &'static str, takes: &'static [Kind], more: Kind, gives: Kind, call: Call) -> Function {
    Function { name, takes, more: Some(more), gives, call }
}

impl Value {
    fn text(self) -> Result<Text, Failed> {
        if let Value::Text(text) = self { Ok(text) } else { Err(Failed) }
    }

    fn int(self) -> Result<i64, Failed> {
        if let Value::Int(int) = self { Ok(int) } else { Err(Failed) }
    }

    fn bool(self) -> Result<bool, Failed> {
        if let Value::Bool(yes) = self { Ok(yes) } else { Err(Failed) }
    }

    fn list(self) -> Result<List, Failed> {
        if let Value::List(list) | Value::Parts(list) = self { Ok(list) } else { Err(Failed) }
    }
}

impl Texts {
    /// As Go's templates and sprig's `empty` see it: nothing, false, zero, and what has no length.
    pub fn is_true(&self, value: Value) -> bool {
        match value {
            Value::Nothing => false,
            Value::Bool(yes) => yes,
            Value::Int(int) => int != 0,
            Value::Float(float) => float != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(list) | Value::Parts(list) => list.len() > 0,
        }
    }
}
