//! `docker`: the records of docker's json-file driver.
//!
//! Promtail's stage is json(output: log, stream, timestamp: time), a label `stream`, the timestamp and the output;
//! the line keeps its trailing newline there. Docker splits lines longer than 16 KiB and ends only the last piece
//! with a newline; unlike Promtail, weir joins the pieces (docs/compatibility.md).

use super::cri::PARTIAL_LINES_MAX;
use super::{Flow, Held, Keeper, Kept, Rebound, Run, StageConfig, When};
use crate::decode::cri::Stream;
use crate::decode::docker;
use crate::decode::time_layout::LatestSecond;
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Chains, Context, JOINED_BYTES_MAX, LabelId, Record, Scope, Slot, Text, Value};
use crate::yaml::{Fields, Node};

#[derive(Debug, PartialEq)]
pub struct DockerConfig {}

impl StageConfig for DockerConfig {
    type Stage = Docker;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `docker` stage", diagnostics)?;
        fields.ignored(&["container_labels", "use_incoming_timestamp"], "Promtail ignores it too", diagnostics);
        fields.finish(diagnostics);
        Some(DockerConfig {})
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Docker> {
        Some(Docker {
            output: scope.given_slot("output"),
            stream: scope.given_slot("stream"),
            timestamp: scope.given_slot("timestamp"),
            stream_label: scope.label("stream"),
            stdout: scope.constant("stdout"),
            stderr: scope.constant("stderr"),
            gives_values: true,
            chains: Chains::new(PARTIAL_LINES_MAX as usize, JOINED_BYTES_MAX),
            latest: LatestSecond::default(),
            copy: Vec::new(),
        })
    }
}

pub struct Docker {
    output: Slot,
    stream: Slot,
    timestamp: Slot,
    stream_label: LabelId,
    stdout: Text,
    stderr: Text,
    /// Whether a stage reads stream or time as an extracted value.
    gives_values: bool,
    chains: Chains,
    latest: LatestSecond,
    /// Of a line that another stage has rewritten.
    copy: Vec<u8>,
}

impl Run for Docker {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        // As with any line that its json stage cannot read, Promtail lets it pass.
        self.read(record, context).unwrap_or(Flow::Next)
    }

    fn narrow(&mut self, is_read: &dyn Fn(Slot) -> bool) {
        self.gives_values = [self.stream, self.timestamp].into_iter().any(is_read);
    }

    fn due(&self, when: When) -> Option<Held> {
        self.chains.due(when)
    }

    fn release(&mut self, when: When, record: &mut Record<'_>) {
        let Some((stream, output)) = self.chains.release(when, record) else { return };
        let name = self.name_of(stream);
        record.set_value(self.output, Value::Text(output));
        record.set_value(self.stream, Value::Text(name));
        record.set_label(self.stream_label, Some(name));
    }

    fn keep(&self, keeper: &mut Keeper<'_>) {
        self.chains.keep(keeper);
    }

    fn restore(&mut self, kept: Kept<'_>, rebound: &mut Rebound<'_>) {
        self.chains.restore(kept, rebound);
    }
}

impl Docker {
    /// Reads a record; nothing where the line is none.
    pub(super) fn read(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Option<Flow> {
        let line = record.line_text();
        let whole = if record.is_whole() {
            record.input()
        } else {
            self.copy.clear();
            self.copy.extend_from_slice(record.bytes(line));
            &self.copy
        };
        let mut parsed = None;
        let output = record.build(|scratch| parsed = docker::parse_unescaped(whole, scratch));
        let parsed = parsed?;
        let (stream, partial) = (parsed.stream, !parsed.ends_line());
        let timestamp = self.latest.parse(parsed.time);
        record.set_line(output);
        if self.gives_values {
            record.set_value(self.stream, Value::Text(self.name_of(stream)));
            record.set_value(self.timestamp, Value::Text(line.part(whole, parsed.time)));
        }
        record.set_label(self.stream_label, Some(self.name_of(stream)));
        if let Some(timestamp) = timestamp {
            record.set_timestamp(timestamp);
        }
        if partial {
            self.chains.hold(record, stream, context);
            return Some(Flow::Hold);
        }
        let joined = self.chains.join(record, stream);
        let output = joined.unwrap_or(output);
        record.set_value(self.output, Value::Text(output));
        record.set_line(output);
        Some(Flow::Next)
    }

    fn name_of(&self, stream: Stream) -> Text {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::bench::{World, docker};

    #[test]
    fn a_record_within_a_line_is_read_as_one_that_is_the_line() {
        let record = docker("stderr", r#"a \"b\"\n"#);
        let mut whole = World::new("[{docker: {}}]");
        let mut within =
            World::new("[{regex: {expression: '^> (?P<rest>.*)$'}}, {output: {source: rest}}, {docker: {}}]");
        whole.line(0, record.as_bytes());
        within.line(0, format!("> {record}").as_bytes());
        within.line(0, b"> no record");
        assert_eq!(within.out.0[0], whole.out.0[0]);
        assert!(whole.out.0[0].ends_with(r#"stream=stderr a \"b\"\n"#), "{}", whole.out.0[0]);
        assert!(within.out.0[1].ends_with(" no record"), "{}", within.out.0[1]);
    }
}
