//! `multiline`: lines that belong together, a stack trace for one, become one entry.
//!
//! As in Promtail: the entry has the labels, the time and the extracted values of its first line; what comes before the
//! first line of all goes its way alone; what follows a block that has left (after `max_wait_time`, or because it was
//! full) makes a block of its own, with what is known of the old first line. Unlike Promtail: the first line's structured
//! metadata stays, a block does not leave while its source has more to read, and none is lost or torn by a restart.

use super::{Flow, Held, Keeper, Kept, Rebound, Run, StageConfig, When};
use crate::diagnostic::Diagnostics;
use crate::pattern::{Anchoring, Pattern};
use crate::pipeline::{Blocks, Context, Record, Scope};
use crate::yaml::{Fields, Node, Spanned};
use std::time::Duration;

#[derive(Debug)]
pub struct MultilineConfig {
    /// Matches the first line of a block.
    pub firstline: Spanned<String>,
    /// A block leaves when so long no line has followed (default 3 s).
    pub max_wait_time: Duration,
    /// A block of so many lines leaves at once (default 128); 0: there is no such bound.
    pub max_lines: u64,
}

impl StageConfig for MultilineConfig {
    type Stage = Multiline;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `multiline` stage", diagnostics)?;
        let firstline = fields.required("firstline", diagnostics);
        let max_wait_time = fields.or("max_wait_time", Duration::from_secs(3), diagnostics);
        let max_lines = fields.or("max_lines", 128, diagnostics);
        fields.finish(diagnostics);
        Some(MultilineConfig { firstline: firstline?, max_wait_time, max_lines })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Multiline> {
        match Pattern::compile(&self.firstline.value, Anchoring::Anywhere) {
            Ok(firstline) => Some(Multiline { firstline, blocks: Blocks::new(self.max_wait_time, self.max_lines) }),
            Err(why) => {
                scope.diagnostics.error(self.firstline.span, format!("not a regular expression: {why}"));
                None
            }
        }
    }
}

pub struct Multiline {
    firstline: Pattern,
    blocks: Blocks,
}

impl Run for Multiline {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        let begins = self.firstline.is_match(record.line());
        self.blocks.process(record, begins, context)
    }

    fn due(&self, when: When) -> Option<Held> {
        self.blocks.due(when)
    }

    fn release(&mut self, when: When, record: &mut Record<'_>) {
        self.blocks.release(when, record);
    }

    fn caught_up(&mut self, source: usize, monotonic: Duration) {
        self.blocks.caught_up(source, monotonic);
    }

    fn ended(&mut self, source: usize) {
        self.blocks.ended(source);
    }

    fn keep(&self, keeper: &mut Keeper<'_>) {
        self.blocks.keep(keeper);
    }

    fn restore(&mut self, kept: Kept<'_>, rebound: &mut Rebound<'_>) {
        self.blocks.restore(kept, rebound);
    }
}
