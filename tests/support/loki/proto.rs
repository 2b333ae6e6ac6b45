//! Loki's push.proto, written out by hand from what Loki publishes, and a strict reader of it.

use super::labels;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    pub streams: Vec<StreamAdapter>,
    /// Only Loki itself sets it.
    #[prost(string, tag = "2")]
    pub format: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct StreamAdapter {
    #[prost(string, tag = "1")]
    pub labels: String,
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<EntryAdapter>,
    /// Only Loki itself sets it.
    #[prost(uint64, tag = "3")]
    pub hash: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct EntryAdapter {
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub line: String,
    #[prost(message, repeated, tag = "3")]
    pub structured_metadata: Vec<LabelPairAdapter>,
}

#[derive(Clone, PartialEq, Message)]
pub struct LabelPairAdapter {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, PartialEq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// A push, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    pub streams: Vec<PushedStream>,
    /// Whether the bytes are those that every protobuf writer makes: known fields in their order, none twice, none that
    /// says nothing.
    pub canonical: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PushedStream {
    /// As it was sent.
    pub labels_text: String,
    /// As they stand there; those without a value are none.
    pub labels: Vec<(String, String)>,
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Nanoseconds since 1970.
    pub timestamp: i64,
    pub line: String,
    pub metadata: Vec<(String, String)>,
}

impl Push {
    /// Reads what is in the body of a push: one snappy block with a `PushRequest` of at most so many bytes.
    pub fn unpack(body: &[u8], bytes_max: usize) -> Result<Push, String> {
        let bytes = snap::raw::decompress_len(body).map_err(|error| format!("snappy: {error}"))?;
        if bytes > bytes_max {
            return Err(format!("{bytes} bytes unpacked; limit {bytes_max}"));
        }
        let message = snap::raw::Decoder::new().decompress_vec(body).map_err(|error| format!("snappy: {error}"))?;
        Push::decode(&message)
    }

    /// Reads a `PushRequest`. Text must be UTF-8, and labels, timestamps and names what Loki takes.
    pub fn decode(message: &[u8]) -> Result<Push, String> {
        let request = PushRequest::decode(message).map_err(|error| format!("proto: {error}"))?;
        let canonical = request.encode_to_vec() == message;
        let streams = request.streams.into_iter().map(stream).collect::<Result<_, _>>()?;
        Ok(Push { streams, canonical })
    }

    pub fn entries(&self) -> usize {
        self.streams.iter().map(|stream| stream.entries.len()).sum()
    }

    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.streams.iter().flat_map(|stream| &stream.entries).map(|entry| entry.line.as_str())
    }
}

impl PushedStream {
    /// What names the stream in Loki.
    pub fn key(&self) -> String {
        labels::write(&self.labels)
    }

    pub fn bytes(&self) -> usize {
        self.entries.iter().map(Entry::bytes).sum()
    }
}

impl Entry {
    /// What Loki's limits count.
    pub fn bytes(&self) -> usize {
        self.line.len() + self.metadata_bytes()
    }

    pub fn metadata_bytes(&self) -> usize {
        self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

fn stream(stream: StreamAdapter) -> Result<PushedStream, String> {
    let mut labels =
        labels::parse(&stream.labels).map_err(|why| format!("couldn't parse labels: {why} in '{}'", stream.labels))?;
    labels.retain(|(_, value)| !value.is_empty());
    if stream.hash != 0 {
        return Err("a client sets no hash".to_string());
    }
    let entries = stream.entries.into_iter().map(entry).collect::<Result<_, _>>()?;
    Ok(PushedStream { labels_text: stream.labels, labels, entries })
}

fn entry(entry: EntryAdapter) -> Result<Entry, String> {
    let Timestamp { seconds, nanos } = entry.timestamp.ok_or("an entry without its timestamp")?;
    if !(0..1_000_000_000).contains(&nanos) {
        return Err(format!("timestamp: seconds:{seconds} nanos:{nanos}: nanos not in range [0, 1e9)"));
    }
    let timestamp = seconds.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(i64::from(nanos)));
    let timestamp = timestamp.ok_or_else(|| format!("a timestamp of {seconds} seconds"))?;
    let metadata = entry.structured_metadata.into_iter().map(|pair| (pair.name, pair.value));
    let metadata: Vec<_> = metadata.collect();
    match metadata.iter().find(|(name, _)| name.is_empty()) {
        Some(_) => Err("structured metadata without a name".to_string()),
        None => Ok(Entry { timestamp, line: entry.line, metadata }),
    }
}
