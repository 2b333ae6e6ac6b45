//! From tokens to the tree: Go's grammar, with every name looked up and every argument checked.

use super::call::call;
use super::functions::{Kind, number_of_part};
use super::lex::{Lexed, Token, lex};
use super::tree::{Branches, Expression, Node};
use super::{Missing, Mistake, Template};
use crate::pattern::Pattern;
use std::ops::Range;

/// Levels of actions and parentheses.
const DEPTH_MAX: usize = 64;

pub(super) type Parsed<T> = Result<T, Mistake>;

pub(super) fn template(text: &str, missing: Missing) -> Parsed<Template> {
    let end = text.len();
    let mut parser = Parser {
        tokens: lex(text)?,
        next: 0,
        end,
        missing,
        depth: 0,
        dot: Dot::Root,
        fields: Vec::new(),
        patterns: Vec::new(),
        variables: Vec::new(),
        variables_max: 0,
    };
    let (nodes, stop) = parser.nodes()?;
    match stop {
        Stop::Text => {
            let Parser { fields, patterns, variables_max, .. } = parser;
            Ok(Template { nodes, fields, patterns, variables: variables_max })
        }
        Stop::End(at) => Err(Mistake::new(at, "`end` without an `if` or `with`")),
        Stop::Else(at) => Err(Mistake::new(at, "`else` without an `if` or `with`")),
    }
}

pub(super) struct Parser {
    tokens: Vec<Lexed>,
    /// The token that is looked at.
    next: usize,
    /// Bytes of the template.
    end: usize,
    missing: Missing,
    depth: usize,
    dot: Dot,
    fields: Vec<String>,
    pub(super) patterns: Vec<Pattern>,
    /// Those that can be seen, the innermost last.
    variables: Vec<(String, Kind)>,
    variables_max: usize,
}

/// What `.` is.
#[derive(Clone, Copy)]
enum Dot {
    /// All values.
    Root,
    /// What the `with` around looks at.
    Value(Kind),
}

/// Why a list of nodes ended.
enum Stop {
    Text,
    End(Range<usize>),
    Else(Range<usize>),
}

/// A part of an expression: what it is, what it gives, where it stands.
pub(super) struct Operand {
    pub expression: Expression,
    pub kind: Kind,
    pub at: Range<usize>,
}

/// A pipeline, and the variable that it sets.
struct Pipeline {
    variable: Option<usize>,
    value: Operand,
}

impl Parser {
    fn nodes(&mut self) -> Parsed<(Vec<Node>, Stop)> {
        let mut nodes = Vec::new();
        while let Some(lexed) = self.take() {
            if let Token::Text(text) = lexed.token {
                nodes.push(Node::Text(text.into_bytes().into()));
                continue;
            }
            let Some(Lexed { token: Token::Word(word), at, .. }) = self.peek(0).cloned() else {
                nodes.push(self.action()?);
                continue;
            };
            match word.as_str() {
                "if" | "with" => nodes.push(self.branches()?),
                "end" => {
                    self.take();
                    self.close()?;
                    return Ok((nodes, Stop::End(at)));
                }
                "else" => {
                    self.take();
                    return Ok((nodes, Stop::Else(at)));
                }
                "range" | "define" | "block" | "template" | "break" | "continue" => {
                    return Err(Mistake::new(at, format!("the action `{word}` is not supported"))
                        .help("there are `if`, `else`, `with`, `end`, variables and calls of functions"));
                }
                _ => nodes.push(self.action()?),
            }
        }
        Ok((nodes, Stop::Text))
    }

    fn action(&mut self) -> Parsed<Node> {
        let Pipeline { variable, value } = self.pipeline()?;
        self.close()?;
        Ok(match variable {
            Some(variable) => Node::Set { variable, to: value.expression },
            None => Node::Print(value.expression),
        })
    }

    /// `if` or `with`, from its word to its `end`.
    fn branches(&mut self) -> Parsed<Node> {
        let opened = self.take();
        let (with, at) = match opened {
            Some(Lexed { token: Token::Word(word), at, .. }) => (word == "with", at),
            _ => return Err(self.unexpected_end()),
        };
        self.deeper(&at)?;
        let seen = self.variables.len();
        let Pipeline { variable, value } = self.pipeline()?;
        self.close()?;
        let inside = self.variables.len();
        let outside = self.dot;
        if with {
            self.dot = Dot::Value(value.kind);
        }
        let (then, stop) = self.nodes()?;
        self.dot = outside;
        self.variables.truncate(inside);
        let otherwise = match stop {
            Stop::End(_) => Vec::new(),
            Stop::Else(_) => self.otherwise(&at)?,
            Stop::Text => return Err(missing_end(at)),
        };
        self.variables.truncate(seen);
        self.depth -= 1;
        let branches = Box::new(Branches { condition: value.expression, variable, then, otherwise });
        Ok(if with { Node::With(branches) } else { Node::If(branches) })
    }

    /// What stands behind `else`, to the `end`.
    fn otherwise(&mut self, opened: &Range<usize>) -> Parsed<Vec<Node>> {
        if let Some(Lexed { token: Token::Word(word), .. }) = self.peek(0)
            && (word == "if" || word == "with")
        {
            return Ok(vec![self.branches()?]);
        }
        self.close()?;
        match self.nodes()? {
            (nodes, Stop::End(_)) => Ok(nodes),
            (_, Stop::Else(at)) => Err(Mistake::new(at, "a second `else`")),
            (_, Stop::Text) => Err(missing_end(opened.clone())),
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        let mut set = None;
        if let Some(Lexed { token: Token::Variable(name), at, .. }) = self.peek(0)
            && let Some(Lexed { token: sign @ (Token::Declare | Token::Assign), .. }) = self.peek(1)
        {
            set = Some((name.clone(), at.clone(), *sign == Token::Declare));
            self.next += 2;
        }
        let mut value = self.command(None)?;
        while self.peek(0).is_some_and(|next| next.token == Token::Pipe) {
            self.next += 1;
            value = self.command(Some(value))?;
        }
        let variable = match set {
            None => None,
            Some((name, at, _)) if name.is_empty() => return Err(Mistake::new(at, "`$` alone cannot be set")),
            Some((name, _, true)) => {
                self.variables.push((name, value.kind));
                self.variables_max = self.variables_max.max(self.variables.len());
                Some(self.variables.len() - 1)
            }
            Some((name, at, false)) => {
                let variable = self.variable(&name, &at)?;
                if self.variables[variable].1 != value.kind {
                    self.variables[variable].1 = Kind::Any;
                }
                Some(variable)
            }
        };
        Ok(Pipeline { variable, value })
    }

    /// One command of a pipeline; `piped` is what the one before it gave.
    fn command(&mut self, piped: Option<Operand>) -> Parsed<Operand> {
        let first = self.peek(0).cloned().ok_or_else(|| self.unexpected_end())?;
        if let Token::Word(name) = &first.token
            && !matches!(name.as_str(), "true" | "false" | "nil")
        {
            self.take();
            return self.call(name, first.at, piped);
        }
        if let Some(piped) = piped {
            let at = piped.at.start..first.at.end;
            return Err(Mistake::new(at, "what stands behind `|` must be a function"));
        }
        let operand = self.operand()?;
        match self.peek(0) {
            Some(next) if !ends_command(&next.token) => {
                let message = "only a function takes arguments";
                Err(Mistake::new(next.at.clone(), message).help("put the function first: `{{ ToLower .name }}`"))
            }
            _ => Ok(operand),
        }
    }

    /// A function with its arguments up to the end of the command.
    fn call(&mut self, name: &str, at: Range<usize>, piped: Option<Operand>) -> Parsed<Operand> {
        if name == "index"
            && let Some(field) = self.index_of_root(&at)
        {
            return match self.peek(0).filter(|next| !ends_command(&next.token)) {
                Some(next) => Err(Mistake::new(next.at.clone(), "a value has no keys")),
                None if piped.is_some() => Err(Mistake::new(at, "a value has no keys")),
                None => Ok(field),
            };
        }
        let mut arguments = Vec::new();
        while self.peek(0).is_some_and(|next| !ends_command(&next.token)) {
            arguments.push(self.operand()?);
        }
        arguments.extend(piped);
        call(self, name, at, arguments)
    }

    /// `index . "name"` and `index $ "name"`, by which names are asked for that are no words: the value. Nothing if it
    /// is another `index`.
    fn index_of_root(&mut self, at: &Range<usize>) -> Option<Operand> {
        let root = match self.peek(0).map(|next| &next.token) {
            Some(Token::Dot) => matches!(self.dot, Dot::Root),
            Some(Token::Variable(name)) => name.is_empty(),
            _ => false,
        };
        let Some(Lexed { token: Token::Quoted(key), at: key_at, .. }) = self.peek(1).filter(|_| root).cloned() else {
            return None;
        };
        self.next += 2;
        let field = self.field(&String::from_utf8_lossy(&key));
        let expression = match self.missing {
            Missing::Nothing => Expression::Field(field),
            Missing::Empty => Expression::FieldOrEmpty(field),
        };
        Some(Operand { expression, kind: Kind::Text, at: at.start..key_at.end })
    }

    fn operand(&mut self) -> Parsed<Operand> {
        let Some(Lexed { token, at, .. }) = self.take() else { return Err(self.unexpected_end()) };
        let (mut expression, mut kind) = match token {
            Token::Quoted(text) => (Expression::Text(text.into()), Kind::Text),
            Token::Int(int) => (Expression::Int(int), Kind::Int),
            Token::Float(float) => (Expression::Float(float), Kind::Float),
            Token::Word(word) => match word.as_str() {
                "true" | "false" => (Expression::Bool(word == "true"), Kind::Bool),
                "nil" => (Expression::Nothing, Kind::Nothing),
                // Go calls a function that is an argument, without arguments of its own.
                _ => {
                    let called = call(self, &word, at.clone(), Vec::new())?;
                    (called.expression, called.kind)
                }
            },
            Token::Field(name) => match self.dot {
                Dot::Root => (Expression::Field(self.field(&name)), Kind::Text),
                Dot::Value(kind) => key(Expression::Dot, kind, &name, &at)?,
            },
            Token::Dot => match self.dot {
                Dot::Value(kind) => (Expression::Dot, kind),
                Dot::Root => return Err(root(at)),
            },
            Token::Variable(name) if name.is_empty() => match self.next_key() {
                Some((name, _)) => (Expression::Field(self.field(&name)), Kind::Text),
                None => return Err(root(at)),
            },
            Token::Variable(name) => {
                let variable = self.variable(&name, &at)?;
                (Expression::Variable(variable), self.variables[variable].1)
            }
            Token::LeftParen => {
                self.deeper(&at)?;
                let Pipeline { variable, value } = self.pipeline()?;
                self.depth -= 1;
                if variable.is_some() {
                    return Err(Mistake::new(at, "a variable is not set between parentheses"));
                }
                match self.take() {
                    Some(Lexed { token: Token::RightParen, .. }) => (value.expression, value.kind),
                    _ => return Err(Mistake::new(at, "a parenthesis is not closed")),
                }
            }
            Token::Close => return Err(Mistake::new(at, "an action without a value")),
            _ => return Err(Mistake::new(at, "a value is missing before this")),
        };
        let mut end = at.end;
        while let Some((name, key_at)) = self.next_key() {
            end = key_at.end;
            (expression, kind) = key(expression, kind, &name, &key_at)?;
        }
        Ok(Operand { expression, kind, at: at.start..end })
    }

    /// A key that stands right behind a value.
    fn next_key(&mut self) -> Option<(String, Range<usize>)> {
        match self.peek(0).cloned() {
            Some(Lexed { token: Token::Field(name), at, spaced: false }) => {
                self.next += 1;
                Some((name, at))
            }
            _ => None,
        }
    }

    fn peek(&self, ahead: usize) -> Option<&Lexed> {
        self.tokens.get(self.next + ahead)
    }

    fn take(&mut self) -> Option<Lexed> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    fn field(&mut self, name: &str) -> usize {
        self.fields.iter().position(|field| field == name).unwrap_or_else(|| {
            self.fields.push(name.to_string());
            self.fields.len() - 1
        })
    }

    fn variable(&self, name: &str, at: &Range<usize>) -> Parsed<usize> {
        let found = self.variables.iter().rposition(|(variable, _)| variable == name);
        found.ok_or_else(|| Mistake::new(at.clone(), format!("there is no variable `${name}`")))
    }

    fn close(&mut self) -> Parsed<()> {
        match self.take() {
            Some(Lexed { token: Token::Close, .. }) => Ok(()),
            Some(Lexed { at, .. }) => Err(Mistake::new(at, "the action should end here")),
            None => Err(self.unexpected_end()),
        }
    }

    fn deeper(&mut self, at: &Range<usize>) -> Parsed<()> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => Err(Mistake::new(at.clone(), format!("more than {DEPTH_MAX} levels"))),
            false => Ok(()),
        }
    }

    fn unexpected_end(&self) -> Mistake {
        Mistake::new(self.end..self.end, "the template ends within an action")
    }
}

fn missing_end(at: Range<usize>) -> Mistake {
    Mistake::new(at, "an `end` is missing for this").help("write `{{ end }}`")
}

fn root(at: Range<usize>) -> Mistake {
    Mistake::new(at, "this is the map of all values").help("name one of them: `.name`, or `index . \"a name\"`")
}

/// Whether this token ends a command.
fn ends_command(token: &Token) -> bool {
    matches!(token, Token::Close | Token::Pipe | Token::RightParen | Token::Declare | Token::Assign)
}

/// A key of a value: only the parts of `split` have any.
fn key(of: Expression, kind: Kind, name: &str, at: &Range<usize>) -> Parsed<(Expression, Kind)> {
    match number_of_part(name.as_bytes()) {
        Some(number) if kind.may_be(Kind::Parts) => Ok((Expression::Part { of: Box::new(of), number }, Kind::Text)),
        _ => {
            Err(Mistake::new(at.clone(), format!("`.{name}` is a key of {}, which has none of that name", kind.name()))
                .help(format!("the value of that name is `$.{name}` wherever it stands; `split` gives `._0`, `._1` …")))
        }
    }
}
