//! Writes small MaxMind databases for tests: https://maxmind.github.io/MaxMind-DB/ version 2.0.
//!
//! As in real files, a string that was written before is pointed at, IPv4 networks of an IPv6 file stand below `::/96`,
//! and equal records are stored once.

use std::collections::HashMap;
use std::net::IpAddr;

/// What a record can hold.
#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    Double(f64),
    Float(f32),
    U16(u16),
    U32(u32),
    U64(u64),
    Map(Vec<(String, Value)>),
    Array(Vec<Value>),
}

pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// MaxMind's `{"names": {…}}`, with a German name ahead of the English one.
pub fn names(english: &str) -> Value {
    map([("de", text("anders")), ("en", text(english))])
}

/// A database in the making. Of overlapping networks the one inserted later wins.
pub struct Mmdb {
    database_type: String,
    ip_version: u16,
    record_bits: u16,
    build_epoch: u64,
    nodes: Vec<[Slot; 2]>,
    data: Vec<u8>,
    strings: HashMap<String, usize>,
    records: HashMap<String, usize>,
}

/// What one half of a node leads to.
#[derive(Clone, Copy)]
enum Slot {
    Nothing,
    Node(usize),
    Record(usize),
}

impl Mmdb {
    /// An IPv6 file with 24-bit records.
    pub fn new(database_type: &str) -> Self {
        Mmdb {
            database_type: database_type.to_owned(),
            ip_version: 6,
            record_bits: 24,
            build_epoch: 1_700_000_000,
            nodes: vec![[Slot::Nothing; 2]],
            data: Vec::new(),
            strings: HashMap::new(),
            records: HashMap::new(),
        }
    }

    /// 4 or 6. To be set before any network is inserted.
    pub fn ip_version(mut self, ip_version: u16) -> Self {
        self.ip_version = ip_version;
        self
    }

    /// 24, 28 or 32.
    pub fn record_bits(mut self, record_bits: u16) -> Self {
        self.record_bits = record_bits;
        self
    }

    pub fn build_epoch(mut self, build_epoch: u64) -> Self {
        self.build_epoch = build_epoch;
        self
    }

    /// Gives every address of `network` (`1.2.3.0/24`, `2001:db8::/32`) this record.
    pub fn insert(mut self, network: &str, record: Value) -> Self {
        let (address, bits) = network.split_once('/').expect("a network is address/bits");
        let bits: u32 = bits.parse().expect("bits are a number");
        let (address, bits) = match (address.parse().expect("an address"), self.ip_version) {
            (IpAddr::V4(v4), 4) => (u128::from(v4.to_bits()) << 96, bits),
            (IpAddr::V4(v4), _) => (u128::from(v4.to_bits()), bits + 96),
            (IpAddr::V6(v6), _) => (v6.to_bits(), bits),
        };
        assert!(bits > 0, "a file can't give everyone one record: its tree has a node at least");
        let record = self.record(&record);
        let mut node = 0;
        for depth in 0..bits - 1 {
            node = self.child(node, bit(address, depth));
        }
        self.nodes[node][bit(address, bits - 1)] = Slot::Record(record);
        self
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = Vec::new();
        for node in &self.nodes {
            let [left, right] = node.map(|slot| self.pointer(slot));
            match self.record_bits {
                24 => [left, right].iter().for_each(|p| file.extend_from_slice(&p.to_be_bytes()[1..])),
                28 => {
                    file.extend_from_slice(&left.to_be_bytes()[1..]);
                    file.push(((left >> 20) & 0xf0 | right >> 24) as u8);
                    file.extend_from_slice(&right.to_be_bytes()[1..]);
                }
                _ => [left, right].iter().for_each(|p| file.extend_from_slice(&p.to_be_bytes())),
            }
        }
        file.extend_from_slice(&[0; 16]);
        file.extend_from_slice(&self.data);
        file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
        let metadata = map([
            ("binary_format_major_version", Value::U16(2)),
            ("binary_format_minor_version", Value::U16(0)),
            ("build_epoch", Value::U64(self.build_epoch)),
            ("database_type", text(&self.database_type)),
            // Empty, as in the files of ip-location-db.
            ("description", map([])),
            ("ip_version", Value::U16(self.ip_version)),
            ("languages", Value::Array(vec![])),
            ("node_count", Value::U32(self.nodes.len() as u32)),
            ("record_size", Value::U16(self.record_bits)),
        ]);
        encode(&metadata, &mut file, None);
        file
    }

    /// The node below; one that stood in the way as a record is split.
    fn child(&mut self, node: usize, side: usize) -> usize {
        let below = match self.nodes[node][side] {
            Slot::Node(child) => return child,
            whole => whole,
        };
        self.nodes.push([below; 2]);
        self.nodes[node][side] = Slot::Node(self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn record(&mut self, record: &Value) -> usize {
        let key = format!("{record:?}");
        if let Some(&offset) = self.records.get(&key) {
            return offset;
        }
        let offset = self.data.len();
        encode(record, &mut self.data, Some(&mut self.strings));
        self.records.insert(key, offset);
        offset
    }

    fn pointer(&self, slot: Slot) -> u32 {
        let pointer = match slot {
            Slot::Nothing => self.nodes.len(),
            Slot::Node(node) => node,
            Slot::Record(offset) => self.nodes.len() + 16 + offset,
        };
        assert!(pointer < 1 << self.record_bits.min(31), "too big for the record size");
        pointer as u32
    }
}

fn bit(address: u128, depth: u32) -> usize {
    (address >> (127 - depth) & 1) as usize
}

/// Appends a value; `strings` has the places of strings in `out` that may be pointed at.
fn encode(value: &Value, out: &mut Vec<u8>, mut strings: Option<&mut HashMap<String, usize>>) {
    match value {
        Value::Text(text) => encode_text(text, out, strings),
        Value::Double(number) => {
            header(3, 8, out);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Float(number) => {
            header(15, 4, out);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::U16(number) => encode_unsigned(5, u64::from(*number), out),
        Value::U32(number) => encode_unsigned(6, u64::from(*number), out),
        Value::U64(number) => encode_unsigned(9, *number, out),
        Value::Map(entries) => {
            header(7, entries.len(), out);
            for (key, value) in entries {
                encode_text(key, out, strings.as_deref_mut());
                encode(value, out, strings.as_deref_mut());
            }
        }
        Value::Array(values) => {
            header(11, values.len(), out);
            values.iter().for_each(|value| encode(value, out, strings.as_deref_mut()));
        }
    }
}

fn encode_text(text: &str, out: &mut Vec<u8>, strings: Option<&mut HashMap<String, usize>>) {
    if let Some(strings) = strings
        && text.len() > 3
    {
        if let Some(&offset) = strings.get(text) {
            assert!(offset < 2048 + (1 << 19), "a longer pointer is not needed in tests");
            return match offset {
                0..2048 => out.extend_from_slice(&[0x20 | (offset >> 8) as u8, offset as u8]),
                _ => {
                    let rest = offset - 2048;
                    out.extend_from_slice(&[0x28 | (rest >> 16) as u8, (rest >> 8) as u8, rest as u8]);
                }
            };
        }
        strings.insert(text.to_owned(), out.len());
    }
    header(2, text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

/// Big-endian without leading zeros.
fn encode_unsigned(kind: u8, number: u64, out: &mut Vec<u8>) {
    let zeros = number.leading_zeros() as usize / 8;
    header(kind, 8 - zeros, out);
    out.extend_from_slice(&number.to_be_bytes()[zeros..]);
}

fn header(kind: u8, size: usize, out: &mut Vec<u8>) {
    let (size_bits, longer) = match size {
        0..29 => (size as u8, None),
        29..285 => (29, Some((size - 29) as u8)),
        _ => panic!("a size over 284 is not needed in tests"),
    };
    if kind <= 7 {
        out.push(kind << 5 | size_bits);
    } else {
        out.extend_from_slice(&[size_bits, kind - 7]);
    }
    out.extend(longer);
}
