//! Replacement texts: Go's `Regexp.Expand`.

use super::{Captures, Pattern};
use std::ops::Range;

/// A text with references to groups, resolved when it is compiled.
///
/// `$1` and `${1}` are groups by number, `$name` and `${name}` by name, `$$` is a dollar. Without braces the name is
/// as long as it can be: `$1x` is the group named `1x`. A reference to no group is empty; a `$` that begins no
/// reference stays.
#[derive(Clone, Debug)]
pub struct Expansion(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(String),
    /// The first of these groups that took part in the match.
    Groups(Vec<usize>),
}

/// A piece of an expanded text.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece<'e> {
    Literal(&'e str),
    /// Bytes of the text that was searched.
    Group(Range<usize>),
}

impl Expansion {
    pub fn compile(text: &str, pattern: &Pattern) -> Expansion {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, reference)) = rest.split_once('$') {
            push_literal(&mut parts, literal);
            rest = if let Some(behind) = reference.strip_prefix('$') {
                push_literal(&mut parts, "$");
                behind
            } else if let Some((name, behind)) = reference_name(reference) {
                parts.push(Part::Groups(groups(name, pattern.group_names())));
                behind
            } else {
                push_literal(&mut parts, "$");
                reference
            };
        }
        push_literal(&mut parts, rest);
        Expansion(parts)
    }

    /// The pieces with which a match is replaced, in their order.
    pub fn pieces<'e>(&'e self, captures: &'e Captures) -> impl Iterator<Item = Piece<'e>> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(Piece::Literal(text)),
            Part::Groups(groups) => groups.iter().find_map(|group| captures.get(*group)).map(Piece::Group),
        })
    }

    /// The whole text of a match in `text`.
    pub fn expand(&self, text: &str, captures: &Captures) -> String {
        let piece = |piece| match piece {
            Piece::Literal(literal) => literal,
            Piece::Group(range) => text.get(range).unwrap_or_default(),
        };
        self.pieces(captures).map(piece).collect()
    }
}

fn push_literal(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Literal(last)) => last.push_str(text),
        _ if text.is_empty() => {}
        _ => parts.push(Part::Literal(text.to_string())),
    }
}

/// The name behind a dollar and what follows it.
fn reference_name(text: &str) -> Option<(&str, &str)> {
    let (text, braced) = text.strip_prefix('{').map_or((text, false), |inner| (inner, true));
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, behind) = text.split_at(end);
    match (name, braced) {
        ("", _) => None,
        (name, true) => behind.strip_prefix('}').map(|behind| (name, behind)),
        (name, false) => Some((name, behind)),
    }
}

fn groups(name: &str, names: &[Option<String>]) -> Vec<usize> {
    let number = name.parse::<usize>().ok().filter(|_| name.bytes().all(|b| b.is_ascii_digit()));
    match number {
        Some(number) if name == "0" || !name.starts_with('0') => vec![number],
        _ => (0..names.len()).filter(|i| names[*i].as_deref() == Some(name)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Anchoring;

    #[test]
    fn references_are_read_as_go_reads_them() {
        for (template, expected) in [
            ("$1", "a"),
            ("${1}x$2", "axb"),
            ("$1x", ""),
            ("$1_", ""),
            ("$1-$2", "a-b"),
            ("$n", "b"),
            ("${n}n", "bn"),
            ("$01", ""),
            ("$0", "ab"),
            ("$9", ""),
            ("$3", ""),
            ("$$1", "$1"),
            ("$$$1", "$a"),
            ("$", "$"),
            ("${1", "${1"),
            ("${}", "${}"),
            ("$-", "$-"),
            ("é$é", "é"),
            ("$two", "ab"),
            ("$1x1", ""),
        ] {
            let pattern = Pattern::compile("(a)(?P<n>b)(c)?|(?P<two>x)(?P<two>y)", Anchoring::Whole).unwrap();
            let mut captures = pattern.captures_buffer();
            let value = if template == "$two" { "xy" } else { "ab" };
            assert!(pattern.captures(value.as_bytes(), &mut captures));
            let expanded = Expansion::compile(template, &pattern).expand(value, &captures);
            assert_eq!(expanded, if template == "$two" { "x" } else { expected }, "{template}");
        }
    }
}
