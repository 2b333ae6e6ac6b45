//! The other side of a push, written with another library: what Loki makes of a message.

use super::Sealed;
use crate::clock::UnixNanos;
use prost::Message;

/// Loki's push.proto.
#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<StreamAdapter>,
    #[prost(string, tag = "2")]
    format: String,
}

#[derive(Clone, PartialEq, Message)]
struct StreamAdapter {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<EntryAdapter>,
    #[prost(uint64, tag = "3")]
    hash: u64,
}

#[derive(Clone, PartialEq, Message)]
struct EntryAdapter {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<LabelPairAdapter>,
}

#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPairAdapter {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// An entry as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub stamp: UnixNanos,
    pub line: String,
    pub metadata: Vec<(String, String)>,
}

impl Sent {
    pub fn bytes(&self) -> u64 {
        let pairs = self.metadata.iter().map(|(name, value)| name.len() + value.len());
        (self.line.len() + pairs.sum::<usize>()) as u64
    }
}

/// A batch, read again.
#[derive(Debug, PartialEq)]
pub struct Read {
    pub tenant: String,
    pub streams: Vec<(String, Vec<Sent>)>,
}

/// Reads a batch as a stranger would, and checks what it says of itself.
pub fn read(sealed: &Sealed) -> Read {
    let request = PushRequest::decode(sealed.message.as_slice()).expect("a PushRequest");
    assert_eq!(request.encode_to_vec(), sealed.message, "as others write it");
    assert!(request.format.is_empty() && !request.streams.is_empty());
    let stream = |stream: StreamAdapter| {
        assert!(stream.hash == 0 && !stream.entries.is_empty());
        (stream.labels, stream.entries.into_iter().map(sent).collect())
    };
    let streams: Vec<(String, Vec<Sent>)> = request.streams.into_iter().map(stream).collect();
    let entries = || streams.iter().flat_map(|(_, entries)| entries);
    assert_eq!(sealed.lines as usize, entries().count());
    assert_eq!(sealed.bytes, entries().map(Sent::bytes).sum::<u64>());
    Read { tenant: sealed.tenant.to_string(), streams }
}

fn sent(entry: EntryAdapter) -> Sent {
    let timestamp = entry.timestamp.expect("every entry has one");
    assert!((0..1_000_000_000).contains(&timestamp.nanos));
    let stamp = i128::from(timestamp.seconds) * 1_000_000_000 + i128::from(timestamp.nanos);
    let pair = |pair: LabelPairAdapter| (pair.name, pair.value);
    let metadata = entry.metadata.into_iter().map(pair).collect();
    Sent { stamp: stamp.try_into().expect("64 bits"), line: entry.line, metadata }
}
