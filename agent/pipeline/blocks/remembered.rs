//! What is remembered of a record in memory of its own: all but its line.

use crate::clock::UnixNanos;
use crate::decode::number;
use crate::keep::{Reader, Writer};
use crate::pipeline::kept::Known;
use crate::pipeline::text::{Place, Text, Value};
use crate::pipeline::{Record, Slot};

/// Room that may stand empty after a large record.
const SPARE_BYTES: usize = 4 << 10;

#[derive(Default)]
pub struct Remembered {
    /// What the texts below point into, as [`Place::Scratch`].
    bytes: Vec<u8>,
    /// By the numbers of the source's labels.
    labels: Vec<Option<Text>>,
    /// By the numbers of the pipeline's extracted names.
    slots: Vec<Value>,
    metadata: Vec<(Text, Text)>,
    timestamp: UnixNanos,
}

impl Remembered {
    /// Forgets what was and takes what the record has now.
    pub fn take(&mut self, record: &Record<'_>) {
        self.bytes.clear();
        self.labels.clear();
        self.slots.clear();
        self.metadata.clear();
        for id in record.label_ids() {
            let label = record.label(id).map(|text| self.own(record.bytes(text)));
            self.labels.push(label);
        }
        for value in record.slots() {
            let value = match value {
                Value::Text(text) => Value::Text(self.own(record.bytes(text))),
                Value::Number(text) => Value::Number(self.own(record.bytes(text))),
                other => other,
            };
            self.slots.push(value);
        }
        for (name, value) in record.metadata() {
            let pair = (self.own(name), self.own(value));
            self.metadata.push(pair);
        }
        self.timestamp = record.timestamp();
        if self.bytes.capacity() > 2 * self.bytes.len() + SPARE_BYTES {
            self.bytes.shrink_to_fit();
        }
    }

    /// Lets the record, one of the same source, have all of it.
    pub fn give(&self, record: &mut Record<'_>) {
        let base = record.push(&self.bytes);
        let moved = |text: Text| base.slice(text.range().start, text.range().end);
        for (id, label) in record.label_ids().zip(&self.labels) {
            record.set_label(id, label.map(moved));
        }
        for (number, value) in (0..).zip(&self.slots) {
            let value = match *value {
                Value::Text(text) => Value::Text(moved(text)),
                Value::Number(text) => Value::Number(moved(text)),
                other => other,
            };
            record.set_value(Slot(number), value);
        }
        for (name, value) in &self.metadata {
            record.add_metadata(moved(*name), moved(*value));
        }
        record.set_timestamp(self.timestamp);
    }

    /// Whether the record, one of the same source, has the same labels.
    pub fn has_labels_of(&self, record: &Record<'_>) -> bool {
        record.label_ids().zip(&self.labels).all(|(id, mine)| match (record.label(id), mine) {
            (Some(label), Some(mine)) => record.bytes(label) == self.text(*mine),
            (None, None) => true,
            _ => false,
        })
    }

    /// The values of the labels by their numbers.
    pub fn labels(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.labels.iter().map(|label| label.map(|text| self.text(text)))
    }

    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        self.bytes.capacity()
            + self.labels.capacity() * size_of::<Option<Text>>()
            + self.slots.capacity() * size_of::<Value>()
            + self.metadata.capacity() * size_of::<(Text, Text)>()
    }

    fn own(&mut self, bytes: &[u8]) -> Text {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Text::new(Place::Scratch, start, self.bytes.len())
    }

    fn text(&self, text: Text) -> &[u8] {
        &self.bytes[text.range()]
    }
}

/// What kind of value stands behind a name.
const NIL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const NUMBER: u8 = 3;
const TEXT: u8 = 4;

/// Over a restart: labels and extracted values by their names.
impl Remembered {
    pub fn write(&self, source: usize, known: Known<'_>, writer: &mut Writer<'_>) {
        writer.word(self.timestamp as u64);
        let named =
            || known.label_names(source).iter().zip(self.labels()).filter_map(|(name, value)| Some((name, value?)));
        writer.number(named().count() as u64);
        for (name, value) in named() {
            writer.bytes(name.as_bytes());
            writer.bytes(value);
        }
        let present = || (0..).map(Slot).zip(&self.slots).filter(|(_, value)| value.is_present());
        writer.number(present().count() as u64);
        for (slot, value) in present() {
            writer.bytes(known.slot_name(slot).unwrap_or_default().as_bytes());
            match value {
                Value::Missing | Value::Nil => writer.byte(NIL),
                Value::Bool(yes) => writer.byte(if *yes { TRUE } else { FALSE }),
                Value::Number(text) => {
                    writer.byte(NUMBER);
                    writer.bytes(self.text(*text));
                }
                Value::Float(number) => {
                    writer.byte(NUMBER);
                    let mut text = Vec::new();
                    number::write_f64(*number, &mut text);
                    writer.bytes(&text);
                }
                Value::Text(text) => {
                    writer.byte(TEXT);
                    writer.bytes(self.text(*text));
                }
            }
        }
        writer.number(self.metadata.len() as u64);
        for (name, value) in &self.metadata {
            writer.bytes(self.text(*name));
            writer.bytes(self.text(*value));
        }
    }

    /// What [`write`](Self::write) wrote, for a source that has this number now. Names that the pipeline does not know
    /// any more are left out. `None`: damaged.
    pub fn read(mut reader: Reader<'_>, source: usize, known: Known<'_>) -> Option<Self> {
        let mut remembered = Remembered {
            labels: vec![None; known.label_names(source).len()],
            slots: vec![Value::Missing; known.slots()],
            timestamp: reader.word()? as UnixNanos,
            ..Remembered::default()
        };
        for _ in 0..reader.number()? {
            let (name, value) = (reader.text()?, remembered.own(reader.bytes()?));
            if let Some(label) = known.label(source, name) {
                remembered.labels[usize::from(label.0)] = Some(value);
            }
        }
        for _ in 0..reader.number()? {
            let slot = known.slot(reader.text()?);
            let value = match reader.byte()? {
                NIL => Value::Nil,
                FALSE => Value::Bool(false),
                TRUE => Value::Bool(true),
                NUMBER => Value::Number(remembered.own(reader.bytes()?)),
                TEXT => Value::Text(remembered.own(reader.bytes()?)),
                _ => return None,
            };
            if let Some(slot) = slot {
                remembered.slots[usize::from(slot.0)] = value;
            }
        }
        for _ in 0..reader.number()? {
            let pair = (remembered.own(reader.bytes()?), remembered.own(reader.bytes()?));
            remembered.metadata.push(pair);
        }
        reader.is_empty().then_some(remembered)
    }
}
