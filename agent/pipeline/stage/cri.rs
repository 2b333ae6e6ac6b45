//! `cri`: the container runtime's prefix, and the joining of lines that the runtime split.
//!
//! A line longer than the runtime's buffer (16 KiB in containerd) comes as pieces flagged `P`, the last one `F`. The
//! pieces of stdout and stderr interleave, so they are joined by source and stream. As in Promtail the joined line
//! has the timestamp of its last piece; unlike Promtail, pieces whose end never comes are not lost: they leave as a
//! line when their source ends.

use super::{Flow, Held, Run, StageConfig, When};
use crate::clock::UnixNanos;
use crate::decode::cri::{self, Stream};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, LabelId, Record, Scope, Slot, Text, Value};
use crate::yaml::{Fields, Node};

/// Bytes of a joined line that are kept: Loki's limit for a line, and the bound for a chain that never ends.
pub const JOINED_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, PartialEq)]
pub struct CriConfig {
    /// Streams that may wait for the end of a line at once; past it all of them leave unfinished.
    pub max_partial_lines: u64,
    /// Bytes of a joined line, 0 for [`JOINED_BYTES_MAX`].
    pub max_partial_line_size: u64,
    /// Whether a longer line is cut; it always is at [`JOINED_BYTES_MAX`].
    pub max_partial_line_size_truncate: bool,
}

impl Default for CriConfig {
    fn default() -> Self {
        CriConfig { max_partial_lines: 100, max_partial_line_size: 0, max_partial_line_size_truncate: false }
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
            time: scope.slot("time"),
            stream: scope.slot("stream"),
            flags: scope.slot("flags"),
            content: scope.slot("content"),
            stream_label: scope.label("stream"),
            stdout: scope.constant("stdout"),
            stderr: scope.constant("stderr"),
            partial_flag: scope.constant("P"),
            streams_max: self.max_partial_lines.max(1) as usize,
            bytes_max: if cut { wanted.min(JOINED_BYTES_MAX) } else { JOINED_BYTES_MAX },
            waiting: Vec::new(),
            spare: Vec::new(),
            overflow: false,
        })
    }
}

pub struct Cri {
    time: Slot,
    stream: Slot,
    flags: Slot,
    content: Slot,
    stream_label: LabelId,
    stdout: Text,
    stderr: Text,
    partial_flag: Text,
    streams_max: usize,
    bytes_max: usize,
    /// Chains that wait for their last piece; few, so a search from the front is the fastest there is.
    waiting: Vec<Chain>,
    /// Buffers of chains that ended, to be filled again.
    spare: Vec<Vec<u8>>,
    /// Too many chains wait: all of them leave.
    overflow: bool,
}

/// The pieces of a line so far.
struct Chain {
    source: usize,
    stream: Stream,
    bytes: Vec<u8>,
    /// Pieces in it, at least 1.
    lines: u64,
    /// The time of the last piece.
    timestamp: UnixNanos,
}

impl Run for Cri {
    #[inline]
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        // Promtail lets a line without the prefix pass as it is.
        self.read(record, context).unwrap_or(Flow::Next)
    }

    fn due(&self, when: When) -> Option<Held> {
        self.chosen(when).map(|at| Held { binding: self.waiting[at].source, lines: self.waiting[at].lines })
    }

    fn release(&mut self, when: When, record: &mut Record<'_>) {
        let Some(at) = self.chosen(when) else { return };
        let chain = self.waiting.swap_remove(at);
        self.overflow &= !self.waiting.is_empty();
        let name = self.name_of(chain.stream);
        let content = record.push(&chain.bytes);
        record.set_lines(chain.lines);
        record.set_timestamp(chain.timestamp);
        record.set_value(self.stream, Value::Text(name));
        record.set_value(self.flags, Value::Text(self.partial_flag));
        record.set_value(self.content, Value::Text(content));
        record.set_label(self.stream_label, Some(name));
        record.set_line(content);
        self.spare.push(chain.bytes);
    }

    fn held_lines(&self) -> u64 {
        self.waiting.iter().map(|chain| chain.lines).sum()
    }
}

impl Cri {
    /// Reads the prefix; nothing where there is none.
    #[inline]
    pub(super) fn read(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Option<Flow> {
        let line = record.line_text();
        let whole = record.bytes(line);
        let parsed = cri::parse(whole)?;
        let timestamp = cri::parse_rfc3339_nanos(parsed.time);
        let (time, flags) = (line.part(whole, parsed.time), line.part(whole, parsed.flags));
        // An empty content has a place too: the end of the line.
        let content = line.slice(whole.len() - parsed.content.len(), whole.len());
        let (stream, partial) = (parsed.stream, parsed.is_partial());
        let name = self.name_of(stream);
        record.set_value(self.time, Value::Text(time));
        record.set_value(self.stream, Value::Text(name));
        record.set_value(self.flags, Value::Text(flags));
        record.set_value(self.content, Value::Text(content));
        record.set_label(self.stream_label, Some(name));
        if let Some(timestamp) = timestamp {
            record.set_timestamp(timestamp);
        }
        record.set_line(content);
        if partial {
            self.hold(record, stream, context);
            return Some(Flow::Hold);
        }
        if !self.waiting.is_empty() {
            self.join(record, stream);
        }
        Some(Flow::Next)
    }

    fn name_of(&self, stream: Stream) -> Text {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }

    fn position(&self, source: usize, stream: Stream) -> Option<usize> {
        self.waiting.iter().position(|chain| chain.source == source && chain.stream == stream)
    }

    fn chosen(&self, when: When) -> Option<usize> {
        match when {
            When::At(_) => (self.overflow && !self.waiting.is_empty()).then_some(0),
            When::Ended(source) => self.waiting.iter().position(|chain| chain.source == source),
            When::End => (!self.waiting.is_empty()).then_some(0),
        }
    }

    #[cold]
    fn hold(&mut self, record: &mut Record<'_>, stream: Stream, context: &mut Context<'_>) {
        let at = self.position(record.source(), stream).unwrap_or_else(|| {
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.clear();
            self.waiting.push(Chain { source: record.source(), stream, bytes, lines: 0, timestamp: 0 });
            self.waiting.len() - 1
        });
        let chain = &mut self.waiting[at];
        chain.lines += 1;
        chain.timestamp = record.timestamp();
        let room = self.bytes_max.saturating_sub(chain.bytes.len());
        let piece = record.line();
        chain.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        if self.waiting.len() > self.streams_max {
            self.overflow = true;
            context.overdue = true;
        }
    }

    #[cold]
    fn join(&mut self, record: &mut Record<'_>, stream: Stream) {
        let Some(at) = self.position(record.source(), stream) else { return };
        let chain = self.waiting.swap_remove(at);
        let last = record.line_text();
        let room = self.bytes_max.saturating_sub(chain.bytes.len());
        let start = record.push(&chain.bytes);
        record.append(last.slice(0, last.len().min(room)));
        let joined = Text { end: start.end + last.len().min(room) as u32, ..start };
        record.set_lines(chain.lines + 1);
        record.set_value(self.content, Value::Text(joined));
        record.set_line(joined);
        self.spare.push(chain.bytes);
    }
}
