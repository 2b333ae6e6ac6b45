//! A compiled template over the values of one line.

use super::functions::part;
use super::room::{Buffer, Text, Texts, Value};
use super::tree::{Branches, Expression, Node, Search};
use crate::pattern::{Captures, Pattern, Piece};

/// The template came to something that ends Go's engine with an error: its result is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

/// What a template needs to be rendered, made once and used for every line.
#[derive(Debug)]
pub struct Room {
    texts: Texts,
    /// Arguments of the calls that are under way.
    stack: Vec<Value>,
    variables: Vec<Value>,
    /// By the number of the pattern.
    captures: Vec<Captures>,
}

impl Room {
    pub(super) fn new(captures: Vec<Captures>, variables: usize) -> Room {
        Room { texts: Texts::default(), stack: Vec::new(), variables: vec![Value::Nothing; variables], captures }
    }
}

pub(super) fn run<'d>(
    nodes: &[Node],
    patterns: &[Pattern],
    field: &dyn Fn(usize) -> Option<&'d [u8]>,
    room: &mut Room,
    out: &mut Buffer,
) -> Result<(), Failed> {
    room.texts.clear();
    room.stack.clear();
    let done = Run { patterns, field, room, dot: Value::Nothing }.nodes(nodes, out);
    if room.texts.is_cut() {
        out.set_cut();
    }
    done
}

struct Run<'r, 'd> {
    patterns: &'r [Pattern],
    field: &'r dyn Fn(usize) -> Option<&'d [u8]>,
    room: &'r mut Room,
    dot: Value,
}

impl Run<'_, '_> {
    fn nodes(&mut self, nodes: &[Node], out: &mut Buffer) -> Result<(), Failed> {
        nodes.iter().try_for_each(|node| self.node(node, out))
    }

    fn node(&mut self, node: &Node, out: &mut Buffer) -> Result<(), Failed> {
        match node {
            Node::Text(text) => out.push(text),
            // The usual action, without a detour.
            Node::Print(Expression::Field(field)) => out.push((self.field)(*field).unwrap_or(b"<no value>")),
            Node::Print(expression) => {
                let mark = self.room.texts.mark();
                match self.value(expression)? {
                    Value::Nothing => out.push(b"<no value>"),
                    value => super::format::push_value(&self.room.texts, value, out),
                }
                self.room.texts.release(mark);
            }
            Node::Set { variable, to } => self.room.variables[*variable] = self.value(to)?,
            Node::If(branches) => {
                let chosen = self.choose(branches)?.0;
                self.nodes(chosen, out)?;
            }
            Node::With(branches) => {
                let (chosen, value) = self.choose(branches)?;
                let outside = value.map(|value| std::mem::replace(&mut self.dot, value));
                self.nodes(chosen, out)?;
                self.dot = outside.unwrap_or(self.dot);
            }
        }
        Ok(())
    }

    /// The branch to take, and what was looked at if that was true.
    fn choose<'b>(&mut self, branches: &'b Branches) -> Result<(&'b [Node], Option<Value>), Failed> {
        let value = self.value(&branches.condition)?;
        if let Some(variable) = branches.variable {
            self.room.variables[variable] = value;
        }
        Ok(match self.room.texts.is_true(value) {
            true => (&branches.then, Some(value)),
            false => (&branches.otherwise, None),
        })
    }

    fn value(&mut self, expression: &Expression) -> Result<Value, Failed> {
        Ok(match expression {
            Expression::Nothing => Value::Nothing,
            Expression::Bool(yes) => Value::Bool(*yes),
            Expression::Int(int) => Value::Int(*int),
            Expression::Float(float) => Value::Float(*float),
            Expression::Text(text) => Value::Text(self.room.texts.copy(text)),
            Expression::Field(field) => match (self.field)(*field) {
                Some(bytes) => Value::Text(self.room.texts.copy(bytes)),
                None => Value::Nothing,
            },
            Expression::FieldOrEmpty(field) => {
                Value::Text(self.room.texts.copy((self.field)(*field).unwrap_or_default()))
            }
            Expression::Variable(variable) => self.room.variables[*variable],
            Expression::Dot => self.dot,
            Expression::Part { of, number } => {
                let of = self.value(of)?;
                part(&self.room.texts, of, *number)?
            }
            Expression::Call { function, arguments } => {
                self.with_arguments(arguments, |room, base| (function.call)(&mut room.texts, &room.stack[base..]))?
            }
            Expression::Decide { by, arguments } => self.decide(*by, arguments)?,
            Expression::Printf { format, arguments } => self.with_arguments(arguments, |room, base| {
                let Room { texts, stack, .. } = room;
                Ok(Value::Text(texts.make(|texts, out| format.write(texts, &stack[base..], out))))
            })?,
            Expression::Search { search, pattern, arguments } => {
                let compiled = &self.patterns[*pattern];
                self.with_arguments(arguments, |room, base| {
                    let text = |at: usize| match room.stack[base + at] {
                        Value::Text(text) => Ok(text),
                        _ => Err(Failed),
                    };
                    let (subject, new) = (text(0)?, if arguments.len() > 1 { Some(text(1)?) } else { None });
                    Ok(find(search, compiled, &mut room.captures[*pattern], &mut room.texts, subject, new))
                })?
            }
        })
    }

    /// Puts the arguments on the stack for a call.
    fn with_arguments(
        &mut self,
        arguments: &[Expression],
        call: impl FnOnce(&mut Room, usize) -> Result<Value, Failed>,
    ) -> Result<Value, Failed> {
        let base = self.room.stack.len();
        for argument in arguments {
            let value = self.value(argument)?;
            self.room.stack.push(value);
        }
        let result = call(self.room, base);
        self.room.stack.truncate(base);
        result
    }

    fn decide(&mut self, by: bool, arguments: &[Expression]) -> Result<Value, Failed> {
        let mut last = Value::Nothing;
        for argument in arguments {
            last = self.value(argument)?;
            if self.room.texts.is_true(last) == by {
                break;
            }
        }
        Ok(last)
    }
}

fn find(
    search: &Search,
    pattern: &Pattern,
    captures: &mut Captures,
    texts: &mut Texts,
    subject: Text,
    new: Option<Text>,
) -> Value {
    match search {
        Search::Match => Value::Bool(pattern.is_match(texts.get(subject))),
        Search::Find => {
            let found = pattern.captures(texts.get(subject), captures).then(|| captures.get(0)).flatten();
            Value::Text(subject.slice(found.unwrap_or(0..0)))
        }
        Search::Replace(_) | Search::ReplaceLiteral => Value::Text(texts.make(|texts, out| {
            let bytes = texts.get(subject);
            let mut at = 0;
            pattern.each_match(bytes, captures, |captures| {
                let Some(found) = captures.get(0) else { return };
                out.push(&bytes[at..found.start]);
                at = found.end;
                match search {
                    Search::Replace(expansion) => expansion.pieces(captures).for_each(|piece| match piece {
                        Piece::Literal(literal) => out.push(literal.as_bytes()),
                        Piece::Group(range) => out.push(&bytes[range]),
                    }),
                    _ => out.push(new.map_or(&b""[..], |new| texts.get(new))),
                }
            });
            out.push(&bytes[at..]);
        })),
    }
}
