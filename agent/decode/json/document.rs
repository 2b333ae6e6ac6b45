//! A whole value in memory, for what cannot be borrowed from the line. This is the slow path; it allocates.

use std::borrow::Cow;
use std::io::Write;

use super::scan::{Cursor, Quoted, Visitor};
use super::{Field, Malformed, text};
use crate::decode::number;

/// Appends an object or array as Promtail renders it into a string: compact, `<`, `>`, `&`, U+2028 and U+2029 as
/// `\u` escapes, numbers as float64, bytes that are no UTF-8 as `\ufffd`. Keys are sorted by their bytes, where
/// Promtail takes the random order of a Go map (so that a label made of it differs between two runs).
///
/// What is no value at all is appended as it stands.
pub fn write_compact(raw: &[u8], out: &mut Vec<u8>) {
    match Document::parse::<false>(raw) {
        Ok(document) => document.write(out),
        Err(Malformed) => out.extend_from_slice(raw),
    }
}

/// A value as a table of its parts. Flat, so that neither writing nor dropping it recurses on hostile nesting.
pub(super) struct Document<'a> {
    nodes: Vec<Node<'a>>,
    depth: usize,
}

pub(super) enum Node<'a> {
    /// Never [`Field::Composite`] or [`Field::Missing`].
    Scalar(Field<'a>),
    Array(Vec<usize>),
    /// Sorted, each key once.
    Object(Vec<(Cow<'a, [u8]>, usize)>),
}

impl<'a> Document<'a> {
    pub(super) fn parse<const STRICT: bool>(raw: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new::<STRICT>(raw);
        let mut builder = Builder::default();
        let rest = cursor.walk::<STRICT>(0, &mut builder)?;
        cursor.go(rest);
        cursor.finish::<STRICT>()?;
        Ok(Self { nodes: builder.nodes, depth: builder.depth })
    }

    /// How many brackets stand open at the deepest place.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The whole value is number 0.
    pub(super) fn node(&self, index: usize) -> &Node<'a> {
        &self.nodes[index]
    }

    fn write(&self, out: &mut Vec<u8>) {
        // The brackets that stand open, with the number of members written.
        let mut open: Vec<(usize, usize)> = Vec::new();
        let mut next = Some(0);
        loop {
            if let Some(index) = next {
                match &self.nodes[index] {
                    Node::Scalar(value) => write_scalar(*value, out),
                    Node::Array(_) | Node::Object(_) => open.push((index, 0)),
                }
            }
            let Some((index, written)) = open.last_mut() else { return };
            let (brackets, member) = match &self.nodes[*index] {
                Node::Scalar(_) => unreachable!("only arrays and objects are opened"),
                Node::Array(members) => (b"[]", members.get(*written).map(|member| (None, *member))),
                Node::Object(members) => (b"{}", members.get(*written).map(|(key, member)| (Some(key), *member))),
            };
            next = member.map(|(_, member)| member);
            match member {
                Some(_) if *written > 0 => out.push(b','),
                None if *written > 0 => out.push(brackets[1]),
                Some(_) => out.push(brackets[0]),
                None => out.extend_from_slice(brackets),
            }
            *written += 1;
            if let Some((Some(key), _)) = member {
                text::quote(key, out);
                out.push(b':');
            }
            if member.is_none() {
                open.pop();
            }
        }
    }
}

#[derive(Default)]
struct Builder<'a> {
    nodes: Vec<Node<'a>>,
    open: Vec<usize>,
    key: Cow<'a, [u8]>,
    depth: usize,
}

impl<'a> Builder<'a> {
    fn add(&mut self, node: Node<'a>) -> usize {
        let added = self.nodes.len();
        self.nodes.push(node);
        match self.open.last().map(|parent| &mut self.nodes[*parent]) {
            Some(Node::Array(members)) => members.push(added),
            Some(Node::Object(members)) => members.push((std::mem::take(&mut self.key), added)),
            Some(Node::Scalar(_)) | None => {}
        }
        added
    }
}

impl<'a> Visitor<'a> for Builder<'a> {
    fn open(&mut self, bracket: u8) {
        let added = self.add(if bracket == b'{' { Node::Object(Vec::new()) } else { Node::Array(Vec::new()) });
        self.open.push(added);
        self.depth = self.depth.max(self.open.len());
    }

    fn key(&mut self, key: Quoted<'a>) {
        self.key = unescaped(key.raw, key.escaped);
    }

    fn scalar(&mut self, value: Field<'a>) {
        self.add(Node::Scalar(value));
    }

    fn close(&mut self) {
        if let Some(Node::Object(members)) = self.open.pop().map(|closed| &mut self.nodes[closed]) {
            // The sort keeps equal keys in order; of those the last is to stay, and dedup keeps the first.
            members.reverse();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            members.dedup_by(|(a, _), (b, _)| a == b);
        }
    }
}

pub(super) fn unescaped(raw: &[u8], escaped: bool) -> Cow<'_, [u8]> {
    if !escaped {
        return Cow::Borrowed(raw);
    }
    let mut text = Vec::with_capacity(raw.len());
    text::unescape(raw, &mut text);
    Cow::Owned(text)
}

fn write_scalar(value: Field<'_>, out: &mut Vec<u8>) {
    match value {
        Field::Missing | Field::Null => out.extend_from_slice(b"null"),
        Field::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Field::Number(raw) => match number::parse_f64(raw).filter(|value| value.is_finite()) {
            Some(value) => write_number(value, out),
            None => out.extend_from_slice(raw),
        },
        Field::Text { raw, escaped } => text::quote(&unescaped(raw, escaped), out),
        Field::Composite(raw) => out.extend_from_slice(raw),
    }
}

/// As json-iterator 1.1.12: an exponent of at least two digits below 1e-6 and from 1e21 on.
fn write_number(value: f64, out: &mut Vec<u8>) {
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return number::write_f64(value, out);
    }
    let mut text = Vec::new();
    number::write_f64(size, &mut text);
    let whole = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    text.retain(|byte| *byte != b'.');
    let first = text.iter().position(|byte| *byte != b'0').unwrap_or(0);
    let last = text.iter().rposition(|byte| *byte != b'0').unwrap_or(0);
    let digits = &text[first..=last];
    if value < 0.0 {
        out.push(b'-');
    }
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    let exponent = whole as isize - first as isize - 1;
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "e{sign}{:02}", exponent.abs()).expect("writing into memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(raw: &str) -> String {
        let mut out = Vec::new();
        write_compact(raw.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn composites_are_rendered_as_go_does() {
        for (raw, text) in [
            ("[]", "[]"),
            ("{ }", "{}"),
            ("[ 1 , [ ] , {\"a\" : [ null , true,false ] } ]", "[1,[],{\"a\":[null,true,false]}]"),
            (r#"{"b":1,"a":{"d":[2],"c":3},"b":4}"#, r#"{"a":{"c":3,"d":[2]},"b":4}"#),
            (r#"["<a href='x'>&\u003c\/\u2028é"]"#, r#"["\u003ca href='x'\u003e\u0026\u003c/\u2028é"]"#),
            (r#"["\"\\\u0001\b\n\r\t"]"#, r#"["\"\\\u0001\u0008\n\r\t"]"#),
            (r#"{"\u0061":"\ud83d\ude00"}"#, r#"{"a":"😀"}"#),
            (
                "[1.0,1e21,1e20,0.000001,0.00000015,-1.5e300]",
                "[1,1e+21,100000000000000000000,0.000001,1.5e-07,-1.5e+300]",
            ),
            ("[-0,12345678901234567890]", "[-0,12345678901234567000]"),
            ("[009, -, ]", "[9,-,]"),
            ("[1,", "[1,"),
        ] {
            assert_eq!(compact(raw), text, "{raw}");
        }
    }

    #[test]
    fn each_wrong_byte_is_one_replacement() {
        let mut out = Vec::new();
        write_compact(b"[\"a\xe2\x82z\xff\"]", &mut out);
        assert_eq!(out, br#"["a\ufffd\ufffdz\ufffd"]"#);
    }

    #[test]
    fn deep_nesting_costs_neither_stack_nor_quadratic_time() {
        let deep = format!("{}1{}", "{\"b\":1,\"a\":[".repeat(5_000), "]}".repeat(5_000));
        let text = compact(&deep);
        assert!(text.starts_with("{\"a\":[{\"a\":[") && text.ends_with("],\"b\":1}],\"b\":1}"));
        assert_eq!(text.len(), deep.len());
    }
}
