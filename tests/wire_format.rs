//! What goes over the wire, byte for byte: a fixed input, written out by hand from Loki's push.proto, and everybody who
//! makes a `PushRequest` of it.

mod support;

use prost::Message;
use support::loki::Push;
use support::loki::proto::{EntryAdapter, LabelPairAdapter, PushRequest, StreamAdapter, Timestamp};
use weir::sink::wire::write;

/// A stream of the fixed input: its labels as they are sent, and its entries with nanoseconds since 1970.
struct Stream {
    labels: String,
    entries: Vec<Entry>,
}

type Entry = (i64, String, Vec<(&'static str, &'static str)>);

/// Everything whose form may be got wrong: lengths of one, two and three bytes, both sides of 1970 and itself, texts that
/// are empty and not ASCII, escapes in labels.
fn input() -> Vec<Stream> {
    vec![
        Stream {
            labels: r#"{app="shop", path="C:\\logs"}"#.to_string(),
            entries: vec![
                (1_795_227_962_123_456_789, "hello".to_string(), vec![("k", "v"), ("empty", "")]),
                (1_000_000_000, "größer".to_string(), vec![]),
                (0, "x".to_string(), vec![]),
                (-1, String::new(), vec![]),
            ],
        },
        Stream { labels: format!("{{a=\"{}\"}}", "b".repeat(122)), entries: vec![(7, "z".repeat(16_384), vec![])] },
    ]
}

/// Each line is a key (number of the field, type) with a length, or a value.
fn expected() -> Vec<u8> {
    let mut bytes: Vec<u8> = vec![];
    // PushRequest.streams: 31 + 39 + 16 + 7 + 21 bytes.
    bytes.extend([0x0a, 114]);
    bytes.extend([0x0a, 29]); // StreamAdapter.labels
    bytes.extend(br#"{app="shop", path="C:\\logs"}"#);

    bytes.extend([0x12, 37]); // StreamAdapter.entries: 13 + 7 + 8 + 9 bytes
    bytes.extend([0x0a, 11]); // EntryAdapter.timestamp
    bytes.extend([0x08, 0xba, 0x82, 0x84, 0xd8, 0x06]); // seconds 1795227962
    bytes.extend([0x10, 0x95, 0x9a, 0xef, 0x3a]); // nanos 123456789
    bytes.extend([0x12, 5]); // EntryAdapter.line
    bytes.extend(b"hello");
    bytes.extend([0x1a, 6, 0x0a, 1, b'k', 0x12, 1, b'v']); // structuredMetadata: name, value
    bytes.extend([0x1a, 7, 0x0a, 5]); // an empty value is not written
    bytes.extend(b"empty");

    bytes.extend([0x12, 14]);
    bytes.extend([0x0a, 2, 0x08, 1]); // one second, no nanos
    bytes.extend([0x12, 8]);
    bytes.extend("größer".bytes());

    bytes.extend([0x12, 5]);
    bytes.extend([0x0a, 0]); // 1970 itself: there, and empty
    bytes.extend([0x12, 1, b'x']);

    bytes.extend([0x12, 19]);
    bytes.extend([0x0a, 17]);
    bytes.extend([0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]); // second -1
    bytes.extend([0x10, 0xff, 0x93, 0xeb, 0xdc, 0x03]); // nanos 999999999

    // PushRequest.streams, 16,527 bytes.
    bytes.extend([0x0a, 0x8f, 0x81, 0x01]);
    bytes.extend([0x0a, 0x80, 0x01]); // 128 bytes
    bytes.extend(b"{a=\"");
    bytes.extend([b'b'; 122]);
    bytes.extend(b"\"}");
    bytes.extend([0x12, 0x88, 0x80, 0x01]); // 16,392 bytes
    bytes.extend([0x0a, 2, 0x10, 7]); // no seconds, 7 nanos
    bytes.extend([0x12, 0x80, 0x80, 0x01]); // 16,384 bytes
    bytes.extend([b'z'; 16_384]);
    bytes
}

fn by_prost(input: &[Stream]) -> Vec<u8> {
    let pair = |(name, value): &(&str, &str)| LabelPairAdapter { name: name.to_string(), value: value.to_string() };
    let entry = |(nanos, line, metadata): &Entry| EntryAdapter {
        timestamp: Some(Timestamp {
            seconds: nanos.div_euclid(1_000_000_000),
            nanos: nanos.rem_euclid(1_000_000_000) as i32,
        }),
        line: line.clone(),
        structured_metadata: metadata.iter().map(pair).collect(),
    };
    let stream = |stream: &Stream| StreamAdapter {
        labels: stream.labels.clone(),
        entries: stream.entries.iter().map(entry).collect(),
        hash: 0,
    };
    PushRequest { streams: input.iter().map(stream).collect(), format: String::new() }.encode_to_vec()
}

#[track_caller]
fn assert_same(made: &[u8], expected: &[u8]) {
    let different = made.iter().zip(expected).position(|(made, expected)| made != expected);
    let at = different.unwrap_or(made.len().min(expected.len()));
    let around = |bytes: &[u8]| bytes[at.saturating_sub(8).min(bytes.len())..bytes.len().min(at + 16)].to_vec();
    assert!(
        made == expected,
        "{} bytes, expected {}; different at {at}: {:02x?}, expected {:02x?}",
        made.len(),
        expected.len(),
        around(made),
        around(expected)
    );
}

#[test]
fn what_protobuf_s_own_code_makes_is_what_stands_here() {
    assert_same(&by_prost(&input()), &expected());
}

/// The agent's own writer of it, of which the agent's collector makes its batches.
fn by_weir(input: &[Stream]) -> Vec<u8> {
    let mut message = Vec::new();
    for stream in input {
        let mut entries = Vec::new();
        for (nanos, line, metadata) in &stream.entries {
            let mut pairs = Vec::new();
            metadata
                .iter()
                .for_each(|(name, value)| write::metadata_pair(&mut pairs, name.as_bytes(), value.as_bytes()));
            write::entry(&mut entries, *nanos, line.as_bytes(), &pairs);
        }
        write::stream_head(&mut message, &stream.labels, entries.len());
        message.extend(entries);
    }
    message
}

#[test]
fn what_the_agent_makes_is_what_stands_here() {
    assert_same(&by_weir(&input()), &expected());
}

/// The decoder of the fake Loki gets out of it what went in.
#[test]
fn what_stands_here_is_read_as_the_input() {
    let push = Push::decode(&expected()).expect("a push");
    assert!(push.canonical);
    for (read, written) in push.streams.iter().zip(input()) {
        assert_eq!(read.labels_text, written.labels);
        let of = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let entries: Vec<_> =
            written.entries.iter().map(|(t, line, m)| (*t, line.clone(), m.iter().map(of).collect())).collect();
        let read: Vec<_> = read.entries.iter().map(|e| (e.timestamp, e.line.clone(), e.metadata.clone())).collect();
        assert_eq!(read, entries);
    }
    assert_eq!(push.streams.len(), input().len());
}

/// One block without frames, as snappy's description of its format has it.
#[test]
fn the_message_travels_as_one_snappy_block() {
    let message = expected();
    let packed = weir::sink::wire::pack(&message);
    assert!(packed.len() < message.len() / 10, "{} bytes", packed.len());
    // The length of what is packed, 7 bits in each byte.
    assert_eq!(packed[..3], [(message.len() & 0x7f) as u8 | 0x80, (message.len() >> 7) as u8 | 0x80, 1]);
    assert_eq!(Push::unpack(&packed, message.len()), Push::decode(&message));
    // What has nothing to repeat is one literal: its length less one, times four.
    assert_eq!(weir::sink::wire::pack(b"hello")[..], *b"\x05\x10hello");
}
