//! JMESPath expressions, as in `json: {expressions: {name: "log.level || 'none'"}}`.

use std::collections::BTreeMap;

use jmespath::ast::Ast;
use jmespath::{Rcvar, Variable};

use super::document::{Document, Node, unescaped};
use super::{Field, write_compact};
use crate::decode::number;

/// A compiled expression.
pub struct Expression {
    path: Option<Vec<String>>,
    compiled: jmespath::Expression<'static>,
}

/// What an expression finds in a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Extracted {
    Nil,
    Bool(bool),
    Number(f64),
    /// Also objects and arrays, as [`write_compact`] renders them.
    Text(String),
    /// The expression doesn't apply (a function of the wrong type, an unknown one): Promtail then leaves the name as it
    /// was. Also a document that is malformed, or nested deeper than [`Expression::NESTING_MAX`].
    Failed,
}

impl Expression {
    /// The longest expression, in bytes.
    pub const TEXT_BYTES_MAX: usize = 4096;
    /// How deep brackets may stand in each other, in the expression and in the documents it is used on: both are
    /// walked by recursion.
    pub const NESTING_MAX: usize = 128;

    /// The error says what is wrong and where, as one line.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.len() > Self::TEXT_BYTES_MAX {
            return Err(format!("longer than {} bytes", Self::TEXT_BYTES_MAX));
        }
        // Each of these opens one recursion of the parser. Counting those in quotes too does no harm.
        let openings = text.bytes().filter(|byte| b"([{!&|<>=?*".contains(byte)).count();
        if openings > Self::NESTING_MAX {
            return Err(format!("more than {} brackets and operators", Self::NESTING_MAX));
        }
        let compiled = jmespath::compile(text).map_err(|error| match &error.reason {
            jmespath::ErrorReason::Parse(reason) => format!("{reason} (at character {})", error.offset + 1),
            jmespath::ErrorReason::Runtime(reason) => format!("{reason} (at character {})", error.offset + 1),
        })?;
        let mut path = Vec::new();
        let plain = collect_path(compiled.as_ast(), &mut path);
        Ok(Self { path: plain.then_some(path), compiled })
    }

    /// The keys, when the expression is nothing but keys joined by dots: a [`super::Picker`] then does the work.
    pub fn plain_path(&self) -> Option<&[String]> {
        self.path.as_deref()
    }

    /// Searches `document`, an object as [`super::Mode::Strict`] takes it. Bytes that are no UTF-8 become U+FFFD.
    pub fn search(&self, document: &[u8]) -> Extracted {
        let Ok(document) = Document::parse::<true>(document) else { return Extracted::Failed };
        if document.depth() > Self::NESTING_MAX {
            return Extracted::Failed;
        }
        let root = match variable(&document, 0) {
            root @ Variable::Object(_) => root,
            // Go decodes null into a map as no map, which is as good as an empty one.
            Variable::Null => Variable::Object(BTreeMap::new()),
            _ => return Extracted::Failed,
        };
        match self.compiled.search(Rcvar::new(root)) {
            Ok(found) => extracted(&found),
            Err(_) => Extracted::Failed,
        }
    }
}

/// Appends the keys of `ast` and tells whether they are all there is to it.
fn collect_path(ast: &Ast, path: &mut Vec<String>) -> bool {
    // Dots lean to the left: a long path is a chain along `lhs`.
    let mut ast = ast;
    let start = path.len();
    loop {
        match ast {
            Ast::Field { name, .. } => {
                path.push(name.clone());
                path[start..].reverse();
                return true;
            }
            Ast::Subexpr { lhs, rhs, .. } => {
                let Ast::Field { name, .. } = &**rhs else { return false };
                path.push(name.clone());
                ast = lhs;
            }
            _ => return false,
        }
    }
}

fn variable(document: &Document<'_>, index: usize) -> Variable {
    match document.node(index) {
        Node::Scalar(value) => scalar(*value),
        Node::Array(members) => {
            Variable::Array(members.iter().map(|member| Rcvar::new(variable(document, *member))).collect())
        }
        Node::Object(members) => Variable::Object(
            members.iter().map(|(key, member)| (lossy(key), Rcvar::new(variable(document, *member)))).collect(),
        ),
    }
}

fn scalar(value: Field<'_>) -> Variable {
    match value {
        Field::Bool(value) => Variable::Bool(value),
        Field::Number(raw) => number::parse_f64(raw).and_then(json_number).map_or(Variable::Null, Variable::Number),
        Field::Text { raw, escaped } => Variable::String(lossy(&unescaped(raw, escaped))),
        Field::Missing | Field::Null | Field::Composite(_) => Variable::Null,
    }
}

/// Go knows floats only and prints 1.0 as `1`; serde_json prints a float as `1.0` and an integer as `1`.
fn json_number(value: f64) -> Option<serde_json::Number> {
    let negative_zero = value == 0.0 && value.is_sign_negative();
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 && !negative_zero {
        Some((value as i64).into())
    } else {
        serde_json::Number::from_f64(value)
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn extracted(found: &Variable) -> Extracted {
    match found {
        Variable::Null => Extracted::Nil,
        Variable::Bool(value) => Extracted::Bool(*value),
        Variable::Number(value) => value.as_f64().map_or(Extracted::Failed, Extracted::Number),
        Variable::String(text) => Extracted::Text(text.clone()),
        Variable::Array(_) | Variable::Object(_) => match serde_json::to_vec(found) {
            Ok(raw) => {
                let mut text = Vec::with_capacity(raw.len());
                write_compact(&raw, &mut text);
                Extracted::Text(lossy(&text))
            }
            Err(_) => Extracted::Failed,
        },
        Variable::Expref(_) => Extracted::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Option<Vec<String>> {
        Expression::compile(text).unwrap().plain_path().map(<[String]>::to_vec)
    }

    #[test]
    fn keys_joined_by_dots_are_a_plain_path() {
        for (text, keys) in [
            ("status", &["status"][..]),
            ("a.b.c", &["a", "b", "c"]),
            ("\"a.b\"", &["a.b"]),
            ("a.\"b-c\".d", &["a", "b-c", "d"]),
            (" a . b ", &["a", "b"]),
            ("\"\\u00e9\\\"\"", &["é\""]),
            ("(a.b).c", &["a", "b", "c"]),
        ] {
            assert_eq!(
                path(text).as_deref(),
                Some(&keys.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
        for text in ["a || b", "a[0]", "@", "length(a)", "'a'", "`1`", "a.*", "a.[b]", "!a", "a.length(b)", "[a]"] {
            assert_eq!(path(text), None, "{text}");
        }
    }

    #[test]
    fn wrong_expressions_are_refused_with_a_reason() {
        for text in ["", "a.", "a-b", "a b", "[", "a.'b'", "9a"] {
            let error = Expression::compile(text).err().unwrap_or_else(|| panic!("{text:?} compiles"));
            assert!(!error.contains('\n') && error.contains("at character"), "{error}");
        }
        assert!(Expression::compile(&"!".repeat(1000)).is_err());
        assert!(Expression::compile(&"a".repeat(5000)).is_err());
    }

    #[test]
    fn a_search_answers_as_promtails_stage() {
        let document = br#"{"a":{"b":1.0,"c":[1,2.5,"<x>"]},"e":"","n":null,"t":true,"big":1e21,"dup":1,"dup":2}"#;
        for (text, answer) in [
            ("a.b", Extracted::Number(1.0)),
            ("a.c", Extracted::Text("[1,2.5,\"\\u003cx\\u003e\"]".into())),
            ("a", Extracted::Text("{\"b\":1,\"c\":[1,2.5,\"\\u003cx\\u003e\"]}".into())),
            ("e || t", Extracted::Bool(true)),
            ("n", Extracted::Nil),
            ("nothing.there", Extracted::Nil),
            ("t.x", Extracted::Nil),
            ("length(a.c)", Extracted::Number(3.0)),
            ("to_string(a.b)", Extracted::Text("1".into())),
            ("a.b == `1`", Extracted::Bool(true)),
            ("dup", Extracted::Number(2.0)),
            ("[a.b, big]", Extracted::Text("[1,1e+21]".into())),
            ("length(n)", Extracted::Failed),
            ("no_such_function(a)", Extracted::Failed),
        ] {
            assert_eq!(Expression::compile(text).unwrap().search(document), answer, "{text}");
        }
    }

    #[test]
    fn a_search_never_walks_deeper_than_it_may() {
        let deep = |n: usize| format!("{{\"a\":{}1{}}}", "[".repeat(n), "]".repeat(n));
        let expression = Expression::compile("a || b").unwrap();
        assert!(matches!(expression.search(deep(Expression::NESTING_MAX - 1).as_bytes()), Extracted::Text(_)));
        assert_eq!(expression.search(deep(Expression::NESTING_MAX).as_bytes()), Extracted::Failed);
        assert_eq!(expression.search(deep(9_999).as_bytes()), Extracted::Failed);
        assert_eq!(expression.search(b"[1"), Extracted::Failed);
    }
}
