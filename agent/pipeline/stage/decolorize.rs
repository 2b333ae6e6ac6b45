//! `decolorize`: removes a terminal's escape sequences from the line.

use super::{Flow, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pattern::{Anchoring, Captures, Pattern};
use crate::pipeline::{Context, Record, Scope};
use crate::yaml::{Fields, Node};

/// What Loki and Promtail take for an escape sequence: one that ends in a letter or sign of its own, or in BEL.
const SEQUENCE: &str = concat!(
    r"[\x{1B}\x{9B}][\[\]()#;?]*",
    r"(?:(?:(?:[a-zA-Z\d]*(?:;[a-zA-Z\d]*)*)?\x07)",
    r"|(?:(?:\d{1,4}(?:;\d{0,4})*)?[\dA-PRZcf-ntqry=><~]))",
);

#[derive(Debug, PartialEq)]
pub struct DecolorizeConfig {}

impl StageConfig for DecolorizeConfig {
    type Stage = Decolorize;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        Fields::new(node, "the `decolorize` stage", diagnostics)?.finish(diagnostics);
        Some(DecolorizeConfig {})
    }

    fn compile(&self, _scope: &mut Scope<'_>) -> Option<Decolorize> {
        // The pattern is the constant above, which the tests compile.
        let sequence = Pattern::compile(SEQUENCE, Anchoring::Anywhere).expect("a good pattern");
        Some(Decolorize { captures: sequence.captures_buffer(), sequence, plain: Vec::new() })
    }
}

pub struct Decolorize {
    sequence: Pattern,
    captures: Captures,
    plain: Vec<u8>,
}

impl Run for Decolorize {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        let line = record.line();
        // ESC, or U+009B in UTF-8.
        if memchr::memchr2(0x1B, 0x9B, line).is_none() {
            return Flow::Next;
        }
        self.plain.clear();
        let (plain, mut at) = (&mut self.plain, 0);
        self.sequence.each_match(line, &mut self.captures, |captures| {
            if let Some(found) = captures.get(0) {
                plain.extend_from_slice(&line[at..found.start]);
                at = found.end;
            }
        });
        if at > 0 {
            plain.extend_from_slice(&line[at..]);
            let plain = record.push(&self.plain);
            record.set_line(plain);
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::bench::World;

    #[test]
    fn sequences_go_and_all_else_stays() {
        for (line, plain) in [
            (&b"\x1b[31mred\x1b[0m and \x1b[1;38;5;196mbold\x1b[K"[..], &b"red and bold"[..]),
            (b"\x1b]0;title\x07text", b"text"),
            (b"\xc2\x9b32mgreen", b"green"),
            // No end of its own: only what the pattern takes.
            (b"\x1b", b"\x1b"),
            (b"\x1b[\x1b[0mx", b"\x1b[x"),
            // Bytes that are no UTF-8 stay where they stand, and one of them is no U+009B.
            (b"\xff\x1b[0m\xfe\x9b1m", b"\xff\xfe\x9b1m"),
            ("猛\u{1b}[0m猛".as_bytes(), "猛猛".as_bytes()),
        ] {
            let mut world = World::new("[{decolorize: }]");
            world.line(0, line);
            assert!(world.out.0[0].ends_with(&format!(" {}", plain.escape_ascii())), "{:?}", world.out.0);
        }
    }
}
