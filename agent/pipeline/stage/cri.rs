//! `cri`: the container runtime's prefix, and the joining of lines that the runtime split.
//!
//! A line longer than the runtime's buffer (16 KiB in containerd) comes as pieces flagged `P`, the last one `F`. As in
//! Promtail the joined line has the timestamp of its last piece; unlike Promtail, pieces whose end never comes are not
//! lost: they leave as a line when their source ends.

use super::{Flow, Held, Keeper, Kept, Rebound, Run, StageConfig, When};
use crate::decode::cri::{self, Stream};
use crate::decode::time_layout::LatestSecond;
use crate::diagnostic::Diagnostics;
use crate::pipeline::{
    Chains, Content, Context, JOINED_BYTES_MAX, LabelId, ReasonId, Record, Scope, Slot, Text, Value, torn,
};
use crate::yaml::{Fields, Node};

/// Promtail's default: lines of so many streams may be unfinished at once.
pub const PARTIAL_LINES_MAX: u64 = 100;

#[derive(Debug, PartialEq)]
pub struct CriConfig {
    /// Streams that may wait for the end of a line at once; past it the one that waits longest leaves unfinished (in
    /// Promtail all of them do).
    pub max_partial_lines: u64,
    /// Bytes of a joined line, 0 for [`JOINED_BYTES_MAX`].
    pub max_partial_line_size: u64,
    /// Whether a longer line is cut; it always is at [`JOINED_BYTES_MAX`].
    pub max_partial_line_size_truncate: bool,
}

impl Default for CriConfig {
    fn default() -> Self {
        CriConfig { max_partial_lines: PARTIAL_LINES_MAX, max_partial_line_size: 0, max_partial_line_size_truncate: false }
    }
}

impl StageConfig for CriConfig {
    type Stage = Cri;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `cri` stage", diagnostics)?;
        let default = CriConfig::default();
        let config = CriConfig {
            max_partial_lines: fields.or("max_partial_lines", default.max_partial_lines, diagnostics),
            max_partial_line_size: fields.or("max_partial_line_size", 0, diagnostics),
            max_partial_line_size_truncate: fields.or("max_partial_line_size_truncate", false, diagnostics),
        };
        fields.finish(diagnostics);
        Some(config)
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Cri> {
        let wanted = usize::try_from(self.max_partial_line_size).unwrap_or(JOINED_BYTES_MAX);
        let cut = self.max_partial_line_size_truncate && wanted > 0;
        Some(Cri {
            time: scope.given_slot("time"),
            stream: scope.given_slot("stream"),
            flags: scope.given_slot("flags"),
            content: scope.given_slot("content"),
            stream_label: scope.label("stream"),
            names: [Stream::Stdout, Stream::Stderr].map(|stream| scope.constant(stream.as_str())),
            partial_flag: scope.constant("P"),
            gives_values: true,
            torn: scope.reason(torn::TORN),
            latest: LatestSecond::default(),
            chains: Chains::new(
                usize::try_from(self.max_partial_lines).unwrap_or(usize::MAX),
                if cut { wanted.min(JOINED_BYTES_MAX) } else { JOINED_BYTES_MAX },
            ),
        })
    }
}

pub struct Cri {
    time: Slot,
    stream: Slot,
    flags: Slot,
    content: Slot,
    stream_label: LabelId,
    /// By [`Stream`].
    names: [Text; 2],
    partial_flag: Text,
    /// Whether a stage reads any of the extracted values.
    gives_values: bool,
    torn: ReasonId,
    latest: LatestSecond,
    chains: Chains,
}

impl Run for Cri {
    #[inline]
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        // Promtail lets a line without the prefix pass as it is.
        self.read_usual(record).or_else(|| self.read_any(record, context)).unwrap_or(Flow::Next)
    }

    fn narrow(&mut self, is_read: &dyn Fn(Slot) -> bool) {
        self.gives_values = [self.time, self.stream, self.flags, self.content].into_iter().any(is_read);
    }

    fn due(&self, when: When) -> Option<Held> {
        self.chains.due(when)
    }

    fn release(&mut self, when: When, record: &mut Record<'_>) {
        let Some((stream, content)) = self.chains.release(when, record) else { return };
        let name = self.name_of(stream);
        record.set_value(self.stream, Value::Text(name));
        record.set_value(self.flags, Value::Text(self.partial_flag));
        record.set_value(self.content, Value::Text(content));
        record.set_label(self.stream_label, Some(name));
    }

    fn keep(&self, keeper: &mut Keeper<'_>) {
        self.chains.keep(keeper);
    }

    fn restore(&mut self, kept: Kept<'_>, rebound: &mut Rebound<'_>) {
        self.chains.restore(kept, rebound);
    }
}

impl Cri {
    /// Reads a line as nearly all of them are; nothing where it is another, which may have a prefix all the same.
    #[inline(always)]
    pub(super) fn read_usual(&mut self, record: &mut Record<'_>) -> Option<Flow> {
        if !record.is_whole() {
            return None;
        }
        let (line, input) = (record.line_text(), record.input());
        let (parsed, timestamp) = cri::parse_usual(input, &self.latest)?;
        let parts = self.gives_values.then(|| (line.part(input, parsed.time), line.part(input, parsed.flags)));
        // An empty content has a place too: the end of the line.
        let content = line.slice(input.len() - parsed.content.len(), input.len());
        record.set_timestamp(timestamp);
        Some(self.take_whole(record, parsed.stream, parts, content))
    }

    /// Reads a line in whatever form the prefix is; nothing where it has none.
    #[inline(never)]
    pub(super) fn read_any(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Option<Flow> {
        let line = record.line_text();
        let whole = record.bytes(line);
        let parsed = cri::parse(whole);
        let timestamp = parsed.and_then(|parsed| self.latest.parse(parsed.time));
        let as_written = timestamp.is_some() && parsed.is_some_and(|parsed| torn::are_flags(parsed.flags));
        if !as_written && let Some(behind) = behind_torn_header(record) {
            // Nothing in it is the program's: it ends here.
            record.tear(self.torn, behind);
            return Some(Flow::Drop(self.torn));
        }
        let parsed = parsed?;
        let parts = self.gives_values.then(|| (line.part(whole, parsed.time), line.part(whole, parsed.flags)));
        let content = line.slice(whole.len() - parsed.content.len(), whole.len());
        let (stream, partial) = (parsed.stream, parsed.is_partial());
        if let Some(timestamp) = timestamp {
            record.set_timestamp(timestamp);
        }
        if partial {
            self.give(record, stream, parts, content);
            record.set_line(content);
            self.chains.hold(record, stream, context);
            return Some(Flow::Hold);
        }
        Some(self.take_whole(record, stream, parts, content))
    }

    /// Leaves the content of a line, or of its last piece, in the record. `parts` are the texts of its time and flags.
    #[inline(always)]
    fn take_whole(&mut self, record: &mut Record<'_>, stream: Stream, parts: Option<(Text, Text)>, content: Text) -> Flow {
        self.give(record, stream, parts, content);
        let is_whole = record.is_whole();
        record.set_line(content);
        let joined = self.chains.join(record, stream);
        if let Some(joined) = joined {
            record.set_value(self.content, Value::Text(joined));
            record.set_line(joined);
        }
        if is_whole {
            record.set_content(Content { text: joined.unwrap_or(content), own: content.len(), stream });
        }
        Flow::Next
    }

    #[inline(always)]
    fn give(&self, record: &mut Record<'_>, stream: Stream, parts: Option<(Text, Text)>, content: Text) {
        let name = self.name_of(stream);
        record.set_label(self.stream_label, Some(name));
        if let Some((time, flags)) = parts {
            record.set_value(self.time, Value::Text(time));
            record.set_value(self.stream, Value::Text(name));
            record.set_value(self.flags, Value::Text(flags));
            record.set_value(self.content, Value::Text(content));
        }
    }

    fn name_of(&self, stream: Stream) -> Text {
        self.names[stream as usize]
    }
}

/// Where the next line begins, if this one is the beginning of a header and then another line.
#[cold]
fn behind_torn_header(record: &Record<'_>) -> Option<usize> {
    torn::behind_torn_header(record.line()).filter(|_| record.is_whole() && record.may_split())
}
