//! A compiled template as a tree: every name is a number, every argument has its place.

use super::format::Format;
use super::functions::Function;
use crate::pattern::Expansion;

#[derive(Debug)]
pub(super) enum Node {
    /// What stands outside of `{{ }}`.
    Text(Box<[u8]>),
    Print(Expression),
    /// `$x := …` and `$x = …`
    Set {
        variable: usize,
        to: Expression,
    },
    If(Box<Branches>),
    /// As `if`; inside, the dot is what was looked at.
    With(Box<Branches>),
}

#[derive(Debug)]
pub(super) struct Branches {
    pub condition: Expression,
    /// `{{ if $x := … }}`
    pub variable: Option<usize>,
    pub then: Vec<Node>,
    pub otherwise: Vec<Node>,
}

#[derive(Debug)]
pub(super) enum Expression {
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<[u8]>),
    /// A value by its name; nothing if it is missing.
    Field(usize),
    /// As `Field`; the empty text if it is missing.
    FieldOrEmpty(usize),
    Variable(usize),
    Dot,
    /// `._1` of what `split` gives.
    Part {
        of: Box<Expression>,
        number: usize,
    },
    Call {
        function: &'static Function,
        arguments: Vec<Expression>,
    },
    /// The first argument that is false (`and`) or true (`or`), else the last. Those behind it are not looked at.
    Decide {
        by: bool,
        arguments: Vec<Expression>,
    },
    Printf {
        format: Format,
        arguments: Vec<Expression>,
    },
    Search {
        search: Search,
        pattern: usize,
        arguments: Vec<Expression>,
    },
}

/// What a regular expression is for. It is the first argument in Go, and none of the arguments here.
#[derive(Debug)]
pub(super) enum Search {
    Match,
    Find,
    /// All matches, by a text with `$1` and the like.
    Replace(Expansion),
    /// All matches, by a text as it is.
    ReplaceLiteral,
}
