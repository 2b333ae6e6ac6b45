//! The record: one line on its way through a pipeline. It is reset, not rebuilt.

use super::binding::Binding;
use super::entry_labels::{EntryLabels, Marks};
use super::scope::{LabelId, ReasonId, Slot};
use super::text::{Content, Place, Text, Value};
use crate::clock::UnixNanos;
use crate::decode::number;
use crate::geoip::address;
use crate::metrics::{LabelSet, Store};
use crate::units::parse_seconds;
use std::net::IpAddr;
use std::ops::Range;

/// Room for a float64 without an exponent: 309 digits and what stands around them.
const NUMBER_BYTES: usize = 352;

/// The part of a record that is kept from line to line: after a few lines nothing of it grows any more.
#[derive(Default)]
pub struct State {
    scratch: Vec<u8>,
    slots: Vec<Value>,
    labels: Vec<Option<Text>>,
    line: Text,
    timestamp: UnixNanos,
    /// The entry would be the same if its lines were read again.
    repeatable: bool,
    refused: Option<ReasonId>,
    lines: u64,
    cut: bool,
    content: Option<Content>,
    /// Whether a line may be split once more, and where the next one begins if it is.
    pub(super) may_split: bool,
    behind: Option<usize>,
    number: Vec<u8>,
    /// Structured metadata: names and values, in the order in which they were set.
    metadata: Vec<(Text, Text)>,
    /// The text that was asked for its address last.
    address: Option<(Text, Option<IpAddr>)>,
    entry_labels: EntryLabels,
    label_marks: Marks,
}

/// One line, its labels and what was extracted from it so far.
pub struct Record<'r> {
    input: &'r [u8],
    /// By [`Place`]; that of the scratch space is empty here.
    places: [&'r [u8]; 4],
    source: usize,
    binding: &'r Binding,
    state: &'r mut State,
}

impl<'r> Record<'r> {
    /// A fresh record: the line as read, the target's labels, nothing extracted but these labels.
    // Into its one caller on the way of a line.
    #[inline(always)]
    pub(super) fn new(
        state: &'r mut State,
        fixed: &'r [u8],
        source: usize,
        binding: &'r Binding,
        input: &'r [u8],
        read_at: UnixNanos,
    ) -> Self {
        state.scratch.clear();
        // Nearly every line has as many as the one before.
        if state.slots.len() != binding.slot_count || state.labels.len() != binding.labels.len() {
            state.slots.resize(binding.slot_count, Value::Missing);
            state.labels.resize(binding.labels.len(), None);
        }
        state.slots[..binding.slots.len()].copy_from_slice(&binding.slots);
        state.labels.copy_from_slice(&binding.labels);
        state.line = Text::new(Place::Input, 0, input.len());
        state.timestamp = read_at;
        state.repeatable = false;
        state.refused = None;
        state.lines = 1;
        state.cut = false;
        state.content = None;
        state.behind = None;
        state.metadata.clear();
        state.address = None;
        state.label_marks = Marks::of_new_line(&binding.series_names);
        Record { input, places: [input, &[], fixed, &binding.bytes], source, binding, state }
    }

    pub fn binding(&self) -> &'r Binding {
        self.binding
    }

    /// Which of the pipeline's sources the line is from: a key for what a stage keeps per source.
    pub fn source(&self) -> usize {
        self.source
    }

    /// Lines of the file that went into this record: more than one when pieces were joined.
    pub fn lines(&self) -> u64 {
        self.state.lines
    }

    /// Says how many lines of the file went into this record.
    pub fn set_lines(&mut self, lines: u64) {
        self.state.lines = lines;
    }

    /// Whether the line is only the beginning of one that was too long when it was joined.
    pub fn is_cut(&self) -> bool {
        self.state.cut
    }

    pub fn set_cut(&mut self) {
        self.state.cut = true;
    }

    pub fn bytes(&self, text: Text) -> &[u8] {
        bytes_of(text, &self.places, &self.state.scratch)
    }

    /// The bytes of a text, and the extracted values by their slots: for a stage that fills many of them from one text.
    pub fn bytes_and_values(&mut self, text: Text) -> (&[u8], &mut [Value]) {
        let State { scratch, slots, .. } = &mut *self.state;
        (bytes_of(text, &self.places, scratch), slots)
    }

    /// All labels of the entry that series may have, made ready for them.
    pub fn series_labels(&mut self, series: &Store) -> LabelSet<'_> {
        let State { scratch, labels, entry_labels, label_marks, .. } = &mut *self.state;
        let (places, binding) = (&self.places, self.binding);
        let bytes = |text| bytes_of(text, places, scratch);
        entry_labels.make_ready(labels, label_marks, &binding.series_names, bytes, series)
    }

    /// The line as it stands now: a stage may have taken a part of it.
    pub fn line(&self) -> &[u8] {
        self.bytes(self.line_text())
    }

    pub fn line_text(&self) -> Text {
        self.state.line
    }

    pub fn set_line(&mut self, text: Text) {
        self.state.line = text;
    }

    pub fn timestamp(&self) -> UnixNanos {
        self.state.timestamp
    }

    /// Sets the entry's time to one that its lines say.
    pub fn set_timestamp(&mut self, timestamp: UnixNanos) {
        self.state.timestamp = timestamp;
        self.state.repeatable = true;
    }

    /// Sets the entry's time to the present one.
    pub fn set_timestamp_now(&mut self, now: UnixNanos) {
        self.state.timestamp = now;
        self.state.repeatable = false;
    }

    /// Whether the same entry would come of the same lines, read again at another time.
    pub fn is_repeatable(&self) -> bool {
        self.state.repeatable
    }

    /// Says that time has made the entry what it is.
    pub fn set_unrepeatable(&mut self) {
        self.state.repeatable = false;
    }

    pub fn value(&self, slot: Slot) -> Value {
        self.state.slots[slot.0 as usize]
    }

    /// The bytes of an extracted text; `None` where the value is missing or no text.
    #[inline]
    pub fn text_bytes(&self, slot: Slot) -> Option<&[u8]> {
        match self.value(slot) {
            Value::Text(text) if text.is_input() => Some(&self.input[text.range()]),
            Value::Text(text) => Some(self.bytes_elsewhere(text)),
            _ => None,
        }
    }

    #[inline(never)]
    fn bytes_elsewhere(&self, text: Text) -> &[u8] {
        self.bytes(text)
    }

    pub fn set_value(&mut self, slot: Slot, value: Value) {
        self.state.slots[slot.0 as usize] = value;
    }

    pub fn label(&self, id: LabelId) -> Option<Text> {
        self.state.labels[id.0 as usize]
    }

    #[inline]
    pub fn set_label(&mut self, id: LabelId, value: Option<Text>) {
        let known = &mut self.state.labels[id.0 as usize];
        let (marks, names) = (&mut self.state.label_marks, &self.binding.series_names);
        match value {
            Some(_) => marks.label_was_set(id, names),
            None if known.is_none() => return,
            None => marks.label_was_taken(id, names),
        }
        *known = value;
    }

    /// All labels by their ids: those of the pipeline, then those that only the target has.
    pub fn label_texts(&self) -> &[Option<Text>] {
        &self.state.labels
    }

    /// Takes away all labels but those that are allowed.
    pub fn retain_labels(&mut self, allowed: &[LabelId]) {
        self.state.label_marks.retain(&mut self.state.labels, allowed, &self.binding.series_names);
    }

    /// All label ids of this record: those of the pipeline, then those that only the target has.
    pub fn label_ids(&self) -> impl Iterator<Item = LabelId> + use<> {
        (0..self.state.labels.len() as u16).map(LabelId)
    }

    /// The labels that are set, in the order of their names.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.binding.order.iter().filter_map(|&id| {
            let text = self.state.labels[id as usize]?;
            Some((&*self.binding.names[id as usize], self.bytes(text)))
        })
    }

    /// The structured metadata of the entry: names and values, in the order in which they were set. It goes to Loki beside
    /// the line, and is no label of the stream.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.state.metadata.iter().map(|(name, value)| (self.bytes(*name), self.bytes(*value)))
    }

    /// Adds structured metadata.
    pub fn add_metadata(&mut self, name: Text, value: Text) {
        self.state.metadata.push((name, value));
    }

    /// Marks the line as one that could not be read as what the pipeline wants of it. The first reason stays.
    pub fn refuse(&mut self, reason: ReasonId) {
        self.state.refused.get_or_insert(reason);
    }

    /// Says that the line is the torn beginning of one, and where in the input the next one begins. Only a line that
    /// [may be split](Self::may_split) is.
    pub fn tear(&mut self, reason: ReasonId, behind: usize) {
        self.state.refused = Some(reason);
        self.state.behind = Some(behind);
    }

    /// Whether the line may be split: not too often.
    pub fn may_split(&self) -> bool {
        self.state.may_split
    }

    /// Where the line begins that stands behind a torn one.
    pub fn behind(&self) -> Option<usize> {
        self.state.behind
    }

    /// The line as the container's program wrote it, if a runtime's prefix was found at the start of the input.
    pub fn content(&self) -> Option<Content> {
        self.state.content
    }

    pub fn set_content(&mut self, content: Content) {
        self.state.content = Some(content);
    }

    /// The line as it was read.
    pub fn input(&self) -> &'r [u8] {
        self.input
    }

    /// Whether no stage has taken a part of the line yet.
    pub fn is_whole(&self) -> bool {
        self.state.line == Text::new(Place::Input, 0, self.input.len())
    }

    pub fn refusal(&self) -> Option<ReasonId> {
        self.state.refused
    }

    /// The record goes on as an entry that was held, of the same stream: nothing but the labels is left of the line at
    /// hand.
    pub fn leave_line(&mut self) {
        self.state.refused = None;
        self.state.cut = false;
        self.state.content = None;
        self.state.metadata.clear();
    }

    /// The slots that a stage reads, by their numbers.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = Value> + '_ {
        self.state.slots[..self.binding.slots.len()].iter().copied()
    }

    /// Appends bytes to the scratch space.
    pub fn push(&mut self, bytes: &[u8]) -> Text {
        self.build(|scratch| scratch.extend_from_slice(bytes))
    }

    /// Lets `write` append to the scratch space; what it appended is the text.
    pub fn build(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Text {
        let start = self.state.scratch.len();
        write(&mut self.state.scratch);
        Text::new(Place::Scratch, start, self.state.scratch.len())
    }

    /// Appends a text of the record itself to the scratch space, directly behind what was appended last.
    pub fn append(&mut self, text: Text) {
        match text.place() {
            Place::Scratch => self.state.scratch.extend_from_within(text.range()),
            place => self.state.scratch.extend_from_slice(&self.places[place as usize][text.range()]),
        }
    }

    /// A value as text, the way Promtail's `getString` reads it: numbers as Go prints a float64 without an exponent,
    /// booleans as words; nothing for what is missing or null.
    #[inline]
    pub fn text(&mut self, slot: Slot) -> Option<Text> {
        match &self.state.slots[usize::from(slot.0)] {
            Value::Text(text) => Some(*text),
            value => self.text_of_other(*value),
        }
    }

    /// What a stage with an optional `source` reads: that value as text, or the line. Nothing where the value is missing.
    pub fn text_or_line(&mut self, source: Option<Slot>) -> Option<Text> {
        match source {
            None => Some(self.line_text()),
            Some(slot) => self.text(slot),
        }
    }

    /// As [`text`](Self::text), for a value at hand.
    #[inline]
    pub fn value_text(&mut self, value: Value) -> Option<Text> {
        match value {
            Value::Text(text) => Some(text),
            value => self.text_of_other(value),
        }
    }

    fn text_of_other(&mut self, value: Value) -> Option<Text> {
        match value {
            Value::Missing | Value::Nil => None,
            Value::Bool(true) => Some(self.push(b"true")),
            Value::Bool(false) => Some(self.push(b"false")),
            Value::Text(text) => Some(text),
            Value::Number(raw) if number::is_canonical_number(self.bytes(raw)) => Some(raw),
            Value::Number(raw) => Some(self.canonical(raw)),
            Value::Float(number) => Some(self.push_number(number)),
        }
    }

    /// Out of line: most numbers are written as they read.
    #[cold]
    fn canonical(&mut self, raw: Text) -> Text {
        match number::parse_f64(self.bytes(raw)) {
            Some(number) => self.push_number(number),
            // A number that is none (009 of a lenient parser) stays as it was written.
            None => raw,
        }
    }

    /// Appends a number to the scratch space, as Go prints it.
    fn push_number(&mut self, number: f64) -> Text {
        let mut spare = std::mem::take(&mut self.state.number);
        spare.clear();
        spare.reserve(NUMBER_BYTES);
        number::write_f64(number, &mut spare);
        let text = self.push(&spare);
        self.state.number = spare;
        text
    }

    /// The client address that a text names (see [`address::parse_client`]). Asked again for the same text it knows.
    #[inline]
    pub fn address(&mut self, text: Text) -> Option<IpAddr> {
        match self.state.address {
            Some((known, ip)) if known == text => ip,
            _ => self.read_address(text),
        }
    }

    #[inline(never)]
    fn read_address(&mut self, text: Text) -> Option<IpAddr> {
        let ip = address::parse_client(self.bytes(text));
        self.state.address = Some((text, ip));
        ip
    }

    /// Appends an address to the scratch space.
    pub fn push_address(&mut self, ip: IpAddr) -> Text {
        let text = self.build(|out| address::prefix_text(ip, 32, 128, out));
        self.state.address = Some((text, Some(ip.to_canonical())));
        text
    }

    /// A value as a number, the way Promtail's `getFloat` reads it: booleans are 1 and 0; a text is a number or a Go
    /// duration, which gives seconds.
    #[inline]
    pub fn number(&self, slot: Slot) -> Option<f64> {
        match self.value(slot) {
            Value::Missing | Value::Nil => None,
            Value::Bool(yes) => Some(f64::from(u8::from(yes))),
            Value::Float(number) => Some(number),
            Value::Number(raw) => self.plain_number(raw),
            Value::Text(text) => self.plain_number(text).or_else(|| duration_seconds(self.bytes(text))),
        }
    }

    /// The number that a text is, with no unit.
    pub fn plain_number(&self, text: Text) -> Option<f64> {
        let Range { start, end } = text.range();
        match text.is_input() {
            true => number::parse_f64_from(&self.input[..end], start),
            false => number::parse_f64(self.bytes(text)),
        }
    }
}

#[cold]
fn duration_seconds(text: &[u8]) -> Option<f64> {
    str::from_utf8(text).ok().and_then(parse_seconds)
}

#[inline]
fn bytes_of<'b>(text: Text, places: &[&'b [u8]; 4], scratch: &'b [u8]) -> &'b [u8] {
    if text.is_input() {
        return &places[Place::Input as usize][text.range()];
    }
    let place = if text.place() == Place::Scratch { scratch } else { places[text.place() as usize] };
    &place[text.range()]
}
