use super::*;
use proptest::prelude::*;
use std::env;

/// A field of bytes, as protobuf writes it.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![(number << 3) | BYTES];
    push_varint(&mut out, body.len());
    [out, body.to_vec()].concat()
}

fn timestamp(seconds: i64, nanos: u32) -> Vec<u8> {
    let mut out = vec![1 << 3];
    push_varint(&mut out, seconds.cast_unsigned() as usize);
    out.push(2 << 3);
    push_varint(&mut out, nanos as usize);
    out
}

fn entry(seconds: i64, line: &[u8], metadata: &[(&str, &str)]) -> Vec<u8> {
    let pairs = metadata
        .iter()
        .map(|(name, value)| field(3, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat()));
    let body = [field(1, &timestamp(seconds, 5)), field(2, line)].into_iter().chain(pairs).collect::<Vec<_>>();
    field(2, &body.concat())
}

fn stream(labels: &str, entries: &[Vec<u8>]) -> Vec<u8> {
    field(1, &[field(1, labels.as_bytes()), entries.concat()].concat())
}

/// Three streams of two, one and three entries.
fn sample() -> Vec<u8> {
    [
        stream("{a=\"1\"}", &[entry(1, b"one", &[]), entry(2, b"two", &[("k", "value")])]),
        stream("{a=\"2\"}", &[entry(-3, b"", &[])]),
        stream("{a=\"3\"}", &[entry(4, &[0xff; 300], &[]), entry(5, b"five", &[("", "")]), entry(6, b"six", &[])]),
    ]
    .concat()
}

fn read(bytes: &[u8]) -> Result<Message, Damaged> {
    Message::read(bytes.to_vec())
}

#[test]
fn streams_and_entries_come_back_as_they_were_written() {
    let message = read(&sample()).unwrap();
    assert_eq!((message.len(), message.is_empty()), (6, false));
    let seen: Vec<_> = (0..6).map(|number| message.entry(number).unwrap()).collect();
    assert_eq!(seen[1].labels, "{a=\"1\"}");
    assert_eq!((seen[1].timestamp, seen[1].line), ((2, 5), &b"two"[..]));
    assert_eq!(seen[1].field, entry(2, b"two", &[("k", "value")]));
    assert_eq!((seen[2].timestamp, seen[2].line), ((-3, 5), &b""[..]));
    assert_eq!((seen[3].labels, seen[3].line), ("{a=\"3\"}", &[0xff; 300][..]));
    assert_eq!(message.entry(6), None);
    assert_eq!(message.bytes_of(0..2), 3 + 3 + 1 + 5);
    assert_eq!(message.bytes_of(0..6), 12 + 300 + 4 + 3);
    assert_eq!([message.streams_of(0..6), message.streams_of(1..3), message.streams_of(3..5)], [3, 2, 1]);
}

#[test]
fn what_protobuf_leaves_out_reads_as_nothing() {
    // Go writes neither a zero nor an empty text.
    let bare = stream("{}", &[field(2, &field(1, &[])), field(2, &[])]);
    let message = read(&bare).unwrap();
    for number in 0..2 {
        let entry = message.entry(number).unwrap();
        assert_eq!((entry.timestamp, entry.line), ((0, 0), &b""[..]));
    }
    let nameless = field(1, &[entry(1, b"x", &[]), entry(2, b"y", &[])].concat());
    let message = read(&nameless).unwrap();
    assert_eq!((message.entry(1).unwrap().labels, message.entry(1).unwrap().line), ("", &b"y"[..]));
    assert_eq!(message.part(1..2), field(1, &entry(2, b"y", &[])));
    assert!(read(&[]).unwrap().is_empty());
}

#[test]
fn a_part_keeps_the_bytes_of_its_entries_and_the_order_of_its_streams() {
    let message = read(&sample()).unwrap();
    assert_eq!(message.part(0..6), sample());
    let part = [
        stream("{a=\"1\"}", &[entry(2, b"two", &[("k", "value")])]),
        stream("{a=\"2\"}", &[entry(-3, b"", &[])]),
        stream("{a=\"3\"}", &[entry(4, &[0xff; 300], &[])]),
    ];
    assert_eq!(message.part(1..4), part.concat());
    assert_eq!(message.part(2..3), part[1]);
    assert_eq!(message.part(4..4), b"");
}

#[test]
fn a_cut_lies_between_two_streams_and_near_the_middle() {
    let message = read(&sample()).unwrap();
    assert_eq!(message.stream_cut(0..6), Some(3));
    assert_eq!(message.stream_cut(0..5), Some(2));
    assert_eq!(message.stream_cut(1..6), Some(3));
    assert_eq!(message.stream_cut(0..3), Some(2));
    assert_eq!(message.stream_cut(3..6), None);
    assert_eq!(message.stream_cut(2..3), None);
}

#[test]
fn what_weir_does_not_write_is_refused() {
    let entry = entry(1, b"x", &[]);
    let stamped = |stamp: &[u8]| stream("{}", &[field(2, &field(1, stamp))]);
    for (wrong, bytes) in [
        ("a field of a later version", field(2, b"loki")),
        ("labels twice", field(1, &[field(1, b"{}"), field(1, b"{}")].concat())),
        ("labels after an entry", field(1, &[entry.clone(), field(1, b"{}")].concat())),
        ("labels that are no text", field(1, &field(1, &[0xff]))),
        ("a hash", field(1, &[field(1, b"{}"), vec![3 << 3, 1]].concat())),
        ("a line twice", stream("{}", &[field(2, &[field(2, b"x"), field(2, b"x")].concat())])),
        ("a line before its time", stream("{}", &[field(2, &[field(2, b"x"), field(1, &[])].concat())])),
        ("what the parser of Loki adds", stream("{}", &[field(2, &field(4, b""))])),
        ("a number for a line", stream("{}", &[field(2, &[2 << 3, 1])])),
        ("nanoseconds of more than a second", stamped(&timestamp(1, 1_000_000_000))),
        ("nanoseconds before seconds", stamped(&[2 << 3, 1, 1 << 3, 1])),
        ("a number of more than 64 bits", stamped(&[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2])),
        ("a number without an end", stamped(&[8, 255])),
        ("a group", vec![(1 << 3) | 3]),
        ("a length beyond the end", vec![(1 << 3) | BYTES, 200, 1, 0]),
        ("a length beyond everything", vec![(1 << 3) | BYTES, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
    ] {
        assert!(read(&bytes).is_err(), "{wrong}");
    }
}

#[test]
fn a_block_that_promises_too_much_takes_no_memory() {
    // The length alone: 4 GiB less a byte.
    let err = Message::unpack(&[255, 255, 255, 255, 15]).unwrap_err();
    assert_eq!(err, Damaged("more bytes promised than the block can hold"));
    assert!(Message::unpack(&[]).is_err() && Message::unpack(b"nonsense").is_err());
}

#[test]
fn the_densest_block_is_still_read() {
    let message = stream("{}", &[entry(1, &vec![b'x'; 3 << 20], &[])]);
    let packed = super::super::pack(&message);
    assert!(packed.len() * 20 < message.len(), "{} of {}", packed.len(), message.len());
    assert_eq!(Message::unpack(&packed).unwrap().len(), 1);
}

#[test]
fn every_beginning_is_refused_or_holds_whole_streams() {
    let whole = sample();
    let ends = [0, stream_end(&whole, 1), stream_end(&whole, 2), whole.len()];
    for end in 0..=whole.len() {
        assert_eq!(read(&whole[..end]).is_ok(), ends.contains(&end), "{end}");
    }
    let packed = super::super::pack(&whole);
    for end in 0..packed.len() {
        assert!(Message::unpack(&packed[..end]).is_err(), "{end}");
    }
}

fn stream_end(whole: &[u8], streams: usize) -> usize {
    read(whole).unwrap().streams[..streams]
        .last()
        .map_or(0, |stream| read(whole).unwrap().entries[stream.entries.end - 1].field.end as usize)
}

#[test]
fn every_flipped_bit_is_refused_or_gives_a_message_of_its_own_bytes() {
    let whole = sample();
    for at in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        use_all(&flipped);
        let mut packed = super::super::pack(&whole).to_vec();
        if let Some(byte) = packed.get_mut(at / 8) {
            *byte ^= 1 << (at % 8);
            let _ = Message::unpack(&packed);
        }
    }
}

/// Whatever is read can be asked for everything, and its halves together are its whole.
fn use_all(bytes: &[u8]) {
    let Ok(message) = read(bytes) else { return };
    let count = message.len();
    let fields: Vec<_> = (0..count).map(|number| message.entry(number).unwrap().field.to_vec()).collect();
    let _ = (message.bytes_of(0..count + 1), message.stream_cut(0..count), message.part(0..count + 9));
    for middle in [0, count / 2, count] {
        let halves = [message.part(0..middle), message.part(middle..count)];
        let halves = halves.map(|half| read(&half).expect("a part of a message is one"));
        let joined = halves.iter().flat_map(|half| (0..half.len()).map(|number| half.entry(number).unwrap().field));
        assert!(joined.eq(&fields));
        assert_eq!(halves.iter().map(|half| half.bytes_of(0..half.len())).sum::<u64>(), message.bytes_of(0..count));
    }
}

fn cases() -> u32 {
    env::var("WEIR_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(prop_oneof![Just(10), Just(18), 0..30_u8, any::<u8>()], 0..200)) {
        use_all(&bytes);
        let _ = Message::unpack(&bytes);
    }

    #[test]
    fn any_message_is_read_and_cut_anywhere(
        streams in prop::collection::vec(prop::collection::vec((any::<i32>(), prop::collection::vec(any::<u8>(), 0..200)), 0..6), 0..6),
        from in 0..40_usize,
        len in 0..40_usize,
    ) {
        let written = streams.iter().enumerate().map(|(number, lines)| {
            let entries: Vec<_> = lines.iter().map(|(at, line)| entry(i64::from(*at), line, &[("k", "v")])).collect();
            stream(&format!("{{n=\"{number}\"}}"), &entries)
        });
        let written = written.collect::<Vec<_>>().concat();
        use_all(&written);
        let message = read(&written).unwrap();
        let part = read(&message.part(from..from + len)).unwrap();
        let seen = |message: &Message, number| {
            message.entry(number).map(|entry| (entry.labels.to_owned(), entry.field.to_vec()))
        };
        let expected = (from..(from + len).min(message.len())).map(|number| seen(&message, number));
        prop_assert!(expected.eq((0..part.len()).map(|number| seen(&part, number))));
    }
}
