//! The fake Loki of the tests: it takes and refuses what Loki does, with Loki's words, and fails as it is told.

#[path = "fake_loki/network.rs"]
mod network;
mod support;

use prost::Message;
use support::loki::limits::{DAY, HOUR, Limits, MINUTE, SECOND};
use support::loki::proto::{EntryAdapter, LabelPairAdapter, Push, PushRequest, PushedStream, StreamAdapter, Timestamp};
use support::loki::state::{FakeLoki, Reply, Request};
use support::loki::{Entry, Play, labels};

/// 2026-11-21T02:26:02Z.
const NOW: i64 = 1_795_227_962 * SECOND;
const STREAM: &str = r#"{app="shop"}"#;

fn message(streams: &[(&str, &[(i64, &str)])]) -> PushRequest {
    let entry = |(nanos, line): &(i64, &str)| EntryAdapter {
        timestamp: Some(Timestamp { seconds: nanos.div_euclid(SECOND), nanos: nanos.rem_euclid(SECOND) as i32 }),
        line: line.to_string(),
        structured_metadata: Vec::new(),
    };
    let stream = |(labels, entries): &(&str, &[(i64, &str)])| StreamAdapter {
        labels: labels.to_string(),
        entries: entries.iter().map(entry).collect(),
        hash: 0,
    };
    PushRequest { streams: streams.iter().map(stream).collect(), format: String::new() }
}

fn pack(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).expect("small")
}

fn request(streams: &[(&str, &[(i64, &str)])]) -> Request {
    Request::push(pack(&message(streams).encode_to_vec()))
}

fn text(reply: &Reply) -> (u16, String) {
    (reply.status, String::from_utf8(reply.body.clone()).expect("text").trim_end().to_string())
}

/// Pushes to a Loki, and what it says.
fn push(loki: &mut FakeLoki, now: i64, streams: &[(&str, &[(i64, &str)])]) -> (u16, String) {
    text(&loki.serve(request(streams), now).0)
}

/// What a new Loki with these limits says.
fn says(limits: Limits, streams: &[(&str, &[(i64, &str)])]) -> (u16, String) {
    push(&mut FakeLoki::new(limits), NOW, streams)
}

fn ok() -> (u16, String) {
    (204, String::new())
}

fn lines(loki: &FakeLoki) -> Vec<String> {
    loki.held().into_iter().map(|held| held.entry.line).collect()
}

mod decoding {
    use super::*;

    /// Written out by hand from the definition: tag and type of a field, then its value.
    const FIXED: &[u8] = &[
        0x0a, 0x36, // streams, 54 bytes
        0x0a, 0x0c, // labels, 12 bytes
        b'{', b'a', b'p', b'p', b'=', b'"', b's', b'h', b'o', b'p', b'"', b'}', //
        0x12, 0x1c, // an entry, 28 bytes
        0x0a, 0x0b, // its timestamp, 11 bytes
        0x08, 0xba, 0xea, 0x83, 0xd8, 0x06, // seconds 1795224890
        0x10, 0x95, 0x9a, 0xef, 0x3a, // nanos 123456789
        0x12, 0x05, b'h', b'e', b'l', b'l', b'o', // line
        0x1a, 0x06, // structured metadata, 6 bytes
        0x0a, 0x01, b'k', 0x12, 0x01, b'v', //
        0x12, 0x08, // an entry, 8 bytes
        0x0a, 0x00, // at 1970
        0x12, 0x04, b'l', b'i', b'n', b'e',
    ];

    #[test]
    fn bytes_written_by_hand_are_read() {
        let push = Push::decode(FIXED).expect("a push");
        let entry = |timestamp, line: &str, metadata| Entry { timestamp, line: line.to_string(), metadata };
        let entries = vec![
            entry(1_795_224_890 * SECOND + 123_456_789, "hello", vec![("k".to_string(), "v".to_string())]),
            entry(0, "line", Vec::new()),
        ];
        let labels = vec![("app".to_string(), "shop".to_string())];
        let stream = PushedStream { labels_text: STREAM.to_string(), labels, entries };
        assert_eq!(push, Push { streams: vec![stream], canonical: true });
        assert_eq!(Push::unpack(&pack(FIXED), FIXED.len()), Ok(push));
        assert!(Push::unpack(&pack(FIXED), FIXED.len() - 1).is_err());
    }

    #[test]
    fn what_is_cut_or_flipped_never_panics_and_is_never_the_same() {
        let right = Push::decode(FIXED).expect("a push");
        for length in 1..FIXED.len() {
            assert_ne!(Push::decode(&FIXED[..length]), Ok(right.clone()), "{length} bytes");
        }
        for bit in 0..FIXED.len() * 8 {
            let mut flipped = FIXED.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Push::decode(&flipped), Ok(right.clone()), "bit {bit}");
        }
    }

    #[test]
    fn what_is_no_proper_push_is_refused() {
        let of = |change: fn(&mut StreamAdapter)| {
            let mut message = message(&[(STREAM, &[(NOW, "x")])]);
            change(&mut message.streams[0]);
            Push::decode(&message.encode_to_vec())
        };
        assert!(of(|_| ()).is_ok());
        type Change = fn(&mut StreamAdapter);
        let wrong: [(Change, &str); 7] = [
            (|stream| stream.entries[0].timestamp = None, "without its timestamp"),
            (|stream| stream.entries[0].timestamp = Some(Timestamp { seconds: 1, nanos: -1 }), "nanos not in range"),
            (|stream| stream.entries[0].timestamp = Some(Timestamp { seconds: 1, nanos: 1_000_000_000 }), "nanos not"),
            (|stream| stream.entries[0].timestamp = Some(Timestamp { seconds: i64::MAX, nanos: 0 }), "seconds"),
            (|stream| stream.hash = 7, "hash"),
            (|stream| stream.labels = "{".to_string(), "couldn't parse labels"),
            (
                |stream| stream.entries[0].structured_metadata.push(LabelPairAdapter::default()),
                "metadata without a name",
            ),
        ];
        for (change, why) in wrong {
            let refused = of(change).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
        // A line that is no UTF-8; a field that nobody knows; one that says nothing.
        let mut bytes = FIXED.to_vec();
        *bytes.last_mut().expect("bytes") = 0xff;
        assert!(Push::decode(&bytes).expect_err("no text").contains("UTF-8"));
        for more in [&[0x32, 0x01, b'x'][..], &[0x12, 0x00]] {
            let push = Push::decode(&[FIXED, more].concat()).expect("a push");
            assert!(!push.canonical, "{more:?}");
        }
        assert!(Push::unpack(b"no snappy", 100).is_err());
        assert!(Push::unpack(b"", 100).is_err());
    }

    #[test]
    fn labels_are_read_as_go_reads_them() {
        let read = |text: &str| labels::parse(text);
        let pairs = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Vec<_>>())
        };
        assert_eq!(read("{}"), pairs(&[]));
        assert_eq!(read(r#"{_a1="", b="ü {}=,\"\\"}"#), pairs(&[("_a1", ""), ("b", "ü {}=,\"\\")]));
        assert_eq!(
            read(r#"{a="\a\b\f\n\r\t\v\x41\102\u00e9\U0001f600\xc3\xa9"}"#),
            pairs(&[("a", "\u{7}\u{8}\u{c}\n\r\t\u{b}AB\u{e9}\u{1f600}\u{e9}")])
        );
        assert_eq!(read(r#"{a="1", a="2"}"#), pairs(&[("a", "1"), ("a", "2")]));
        let wrong = [
            "",
            "{",
            "a=\"b\"",
            r#"{a="b""#,
            r#"{a="b",}"#,
            r#"{a="b",b="c"}"#,
            r#"{a="b" }"#,
            r#"{a ="b"}"#,
            r#"{b="1", a="2"}"#,
            r#"{1a="b"}"#,
            r#"{a-b="c"}"#,
            r#"{ä="c"}"#,
            r#"{="c"}"#,
            r#"{a=b}"#,
            "{a='b'}",
            "{a=\"\n\"}",
            r#"{a="\'"}"#,
            r#"{a="\q"}"#,
            r#"{a="\x4"}"#,
            r#"{a="\x+4"}"#,
            r#"{a="\400"}"#,
            r#"{a="\12"}"#,
            r#"{a="\ud800"}"#,
            r#"{a="\U00110000"}"#,
            r#"{a="\xff"}"#,
            r#"{a="\"}"#,
            r#"{a="b"}x"#,
        ];
        for text in wrong {
            assert!(read(text).is_err(), "{text}");
        }
    }
}

mod refusing {
    use super::*;

    #[test]
    fn what_is_fine_is_stored_and_acknowledged() {
        let mut loki = FakeLoki::new(Limits::default());
        let reply = loki.serve(request(&[(STREAM, &[(NOW, "a"), (NOW + 1, "b")])]), NOW).0;
        assert_eq!(reply, Reply { status: 204, headers: Vec::new(), body: Vec::new() });
        assert_eq!(lines(&loki), ["a", "b"]);
        let held = loki.held().into_iter().next().expect("an entry");
        assert_eq!((held.tenant.as_str(), held.labels.as_str(), held.entry.timestamp), ("fake", STREAM, NOW));
    }

    /// What is wrong with one entry keeps the other from nothing.
    #[test]
    fn an_entry_is_refused_in_loki_s_words_and_the_rest_is_stored() {
        let limits = || Limits { line_bytes_max: Some(10), ..Limits::default() };
        let told = [
            (
                NOW - 7 * DAY - 1,
                "old",
                "entry for stream '{app=\"shop\"}' has timestamp too old: 2026-11-14T02:26:01Z, oldest acceptable \
                 timestamp is: 2026-11-14T02:26:02Z",
            ),
            (
                NOW + 10 * MINUTE + 1,
                "new",
                "entry for stream '{app=\"shop\"}' has timestamp too new: 2026-11-21T02:36:02Z",
            ),
            (
                NOW,
                "eleven bytes",
                "Max entry size '10' bytes exceeded for stream '{app=\"shop\"}' while adding an entry with length '12' \
                 bytes",
            ),
        ];
        for (timestamp, line, why) in told {
            let mut loki = FakeLoki::new(limits());
            let answer = push(&mut loki, NOW, &[(STREAM, &[(timestamp, line), (NOW, "fine")])]);
            assert_eq!(answer, (400, why.to_string()));
            assert_eq!(lines(&loki), ["fine"]);
        }
        let on_the_edge = [(NOW - 7 * DAY, "a"), (NOW, "ten bytes!"), (NOW + 10 * MINUTE, "b")];
        assert_eq!(says(Limits { window: None, ..limits() }, &[(STREAM, &on_the_edge)]), ok());
    }

    #[test]
    fn several_messages_are_counted() {
        let limits = Limits { line_bytes_max: Some(1), ..Limits::default() };
        let (code, body) = says(limits, &[(STREAM, &[(NOW, "xx"), (NOW, "yy"), (NOW, "zzz"), (NOW, "f")])]);
        let why = |bytes| {
            format!(
                "Max entry size '1' bytes exceeded for stream '{STREAM}' while adding an entry with length '{bytes}' bytes"
            )
        };
        assert_eq!((code, body), (400, format!("2 errors like: {}; 1 errors like: {}", why(2), why(3))));
    }

    #[test]
    fn a_line_may_be_cut_instead() {
        let limits = Limits { line_bytes_max: Some(3), truncates_lines: true, ..Limits::default() };
        let mut loki = FakeLoki::new(limits);
        assert_eq!(push(&mut loki, NOW, &[(STREAM, &[(NOW, "abü")])]), ok());
        assert_eq!(lines(&loki), ["ab"]);
    }

    #[test]
    fn labels_are_refused_in_loki_s_words_and_other_streams_are_stored() {
        let limits = || Limits {
            label_names_max: 2,
            label_name_bytes_max: 5,
            label_value_bytes_max: 5,
            required_labels: vec!["n".to_string()],
            ..Limits::default()
        };
        let told = [
            ("{}", "error at least one label pair is required per stream"),
            (r#"{n=""}"#, "error at least one label pair is required per stream"),
            (r#"{a="1"}"#, r#"missing required labels n for user fake for stream {a="1"}"#),
            (r#"{a="1", b="2", n="3"}"#, r#"entry for stream '{a="1", b="2", n="3"}' has 3 label names; limit 2"#),
            (r#"{n="3", sixsix="1"}"#, r#"stream '{n="3", sixsix="1"}' has label name too long: 'sixsix'"#),
            (r#"{n="sixsix"}"#, r#"stream '{n="sixsix"}' has label value too long: 'sixsix'"#),
            (r#"{n="1", n="2"}"#, r#"stream '{n="1", n="2"}' has duplicate label name: 'n'"#),
        ];
        for (stream, why) in told {
            let mut loki = FakeLoki::new(limits());
            let answer = push(&mut loki, NOW, &[(stream, &[(NOW, "bad")]), (r#"{n="1"}"#, &[(NOW, "fine")])]);
            assert_eq!(answer, (400, why.to_string()));
            assert_eq!(lines(&loki), ["fine"]);
        }
        // One that Loki adds itself does not count.
        let limits = Limits { label_name_bytes_max: 100, ..limits() };
        assert_eq!(says(limits, &[(r#"{n="1", o="2", service_name="x"}"#, &[(NOW, "fine")])]), ok());
    }

    #[test]
    fn structured_metadata_is_refused_in_loki_s_words() {
        let of = |limits: Limits, pairs: &[(&str, &str)]| {
            let mut message = message(&[(STREAM, &[(NOW, "x")])]);
            let pair =
                |(name, value): &(&str, &str)| LabelPairAdapter { name: name.to_string(), value: value.to_string() };
            message.streams[0].entries[0].structured_metadata = pairs.iter().map(pair).collect();
            text(&FakeLoki::new(limits).serve(Request::push(pack(&message.encode_to_vec())), NOW).0)
        };
        let limits = |allows_metadata| Limits {
            allows_metadata,
            metadata_bytes_max: 4,
            metadata_entries_max: 2,
            ..Limits::default()
        };
        assert_eq!(of(limits(true), &[("a", "1"), ("b", "2")]), ok());
        let told = [
            (
                of(limits(false), &[("a", "1")]),
                "stream '{app=\"shop\"}' includes structured metadata, but this feature is disallowed. Please see \
                 `limits_config.allow_structured_metadata` or contact your Loki administrator to enable it.",
            ),
            (
                of(limits(true), &[("a", "1234")]),
                "stream '{app=\"shop\"}' has structured metadata too large: '5' bytes, limit: '4' bytes. Please see \
                 `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it.",
            ),
            (
                of(limits(true), &[("a", ""), ("b", ""), ("c", "")]),
                "stream '{app=\"shop\"}' has too many structured metadata labels: '3', limit: '2'. Please see \
                 `limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase \
                 it.",
            ),
        ];
        for (answer, why) in told {
            assert_eq!(answer, (400, why.to_string()));
        }
    }

    #[test]
    fn what_is_no_push_gets_its_status() {
        let mut loki = FakeLoki::new(Limits { body_bytes_max: 100, ..Limits::default() });
        let fine = request(&[(STREAM, &[(NOW, "x")])]);
        let mut status = |change: fn(&mut Request)| {
            let mut request = fine.clone();
            change(&mut request);
            text(&loki.serve(request, NOW).0)
        };
        assert_eq!(status(|_| ()), ok());
        assert_eq!(status(|request| request.path = "/other".to_string()), (404, "404 page not found".to_string()));
        assert_eq!(status(|request| request.method = "GET".to_string()).0, 405);
        assert_eq!(
            status(|request| request.body = vec![0; 101]),
            (413, "request body too large: 101 bytes, limit: 100 bytes".to_string())
        );
        assert_eq!(status(|request| request.headers.clear()).0, 400);
        assert_eq!(status(|request| request.body = b"junk".to_vec()).0, 400);
        let no_streams = "error at least one valid stream is required for ingestion".to_string();
        assert_eq!(status(|request| request.body = pack(&[])), (422, no_streams));
        let unknown = (400, "proto: not as every writer writes it".to_string());
        assert_eq!(status(|request| request.body = pack(&[0x12, 0x00])), unknown);
        loki.authorization = Some("Basic dTpw".to_string());
        assert_eq!(text(&loki.serve(fine.clone(), NOW).0).0, 401);
        let mut known = fine;
        known.headers.push(("authorization".to_string(), "Basic dTpw".to_string()));
        assert_eq!(text(&loki.serve(known, NOW).0), ok());
        assert_eq!((loki.answered(204), loki.answered(400), loki.requests.len()), (2, 3, 10));
    }

    #[test]
    fn tenants_are_asked_for_and_kept_apart() {
        let mut loki = FakeLoki::new(Limits { multi_tenant: true, ..Limits::default() });
        let of = |tenant: Option<&str>| {
            let mut request = request(&[(STREAM, &[(NOW, "x")])]);
            let header = |tenant: &str| ("x-scope-orgid".to_string(), tenant.to_string());
            request.headers.extend(tenant.map(header));
            request
        };
        for nobody in [None, Some("")] {
            assert_eq!(text(&loki.serve(of(nobody), NOW).0), (401, "no org id".to_string()));
        }
        for tenant in ["a", "b", "a"] {
            assert_eq!(text(&loki.serve(of(Some(tenant)), NOW).0), ok());
        }
        let tenants: Vec<_> = loki.held().into_iter().map(|held| held.tenant).collect();
        assert_eq!(tenants, ["a", "b"]);
    }

    #[test]
    fn ingestion_that_is_blocked_answers_as_it_is_told_to() {
        for (status, seen) in [(260, 260), (403, 403), (200, 204)] {
            let mut loki = FakeLoki::new(Limits { blocked_until: Some((NOW + SECOND, status)), ..Limits::default() });
            let (code, body) = push(&mut loki, NOW, &[(STREAM, &[(NOW, "x")])]);
            assert_eq!(code, seen);
            let why =
                format!("ingestion blocked for user fake until '2026-11-21T02:26:03Z' with status code '{status}'");
            assert_eq!(body, if status == 200 { String::new() } else { why });
            assert_eq!(loki.count(), 0);
            assert_eq!(push(&mut loki, NOW + SECOND, &[(STREAM, &[(NOW, "x")])]), ok());
            assert_eq!(loki.count(), 1);
        }
    }
}

mod keeping {
    use super::*;

    #[test]
    fn what_stands_too_far_behind_the_newest_of_its_stream_is_refused() {
        let mut loki = FakeLoki::new(Limits { listed_max: 1, ..Limits::default() });
        assert_eq!(push(&mut loki, NOW, &[(STREAM, &[(NOW, "newest")])]), ok());
        let other = r#"{app="other"}"#;
        let behind = NOW - HOUR - SECOND / 2;
        let entries = [(behind, "late"), (NOW - HOUR, "edge"), (behind - SECOND, "later")];
        let (status, body) = push(&mut loki, NOW, &[(STREAM, &entries), (other, &[(behind, "not late here")])]);
        let why = "entry with timestamp 2026-11-21 01:26:01.5 +0000 UTC ignored, reason: 'entry too far behind, entry \
                   timestamp is: 2026-11-21T01:26:01Z, oldest acceptable timestamp is: 2026-11-21T01:26:02Z',\nuser \
                   'fake', total ignored: 2 out of 3 for stream: {app=\"shop\"}";
        assert_eq!((status, body.as_str()), (400, why));
        assert_eq!(lines(&loki), ["not late here", "edge", "newest"]);
        assert_eq!(loki.reordered().len(), 1);
        // The window moves within a push too.
        let moving = [(NOW + 2, "newer"), (NOW - HOUR, "edge, once more")];
        assert_eq!(push(&mut loki, NOW, &[(STREAM, &moving)]).0, 400);
        assert_eq!(push(&mut FakeLoki::new(Limits::none()), NOW, &[(STREAM, &entries)]), ok());
    }

    #[test]
    fn what_comes_again_is_kept_once() {
        let mut loki = FakeLoki::new(Limits::default());
        let entries = [(NOW, "a"), (NOW + 1, "b"), (NOW + 1, "b"), (NOW + 1, "c")];
        for _ in 0..2 {
            assert_eq!(push(&mut loki, NOW, &[(STREAM, &entries)]), ok());
        }
        assert_eq!(lines(&loki), ["a", "b", "c"]);
        assert_eq!(loki.repeated(), 5);
        assert_eq!(loki.reordered(), []);
        let arrived =
            |stream: &support::loki::state::Stream| stream.arrivals.iter().map(|(n, ..)| *n).collect::<Vec<_>>();
        let arrived: Vec<_> = loki.streams.values().map(arrived).collect();
        assert_eq!(arrived, [[0, 0, 0, 0, 1, 1, 1, 1]]);
    }

    /// The ingester looks at the time and the line of the last entry alone; of older ones it looks at all.
    #[test]
    fn the_last_entry_with_other_metadata_is_ignored() {
        let mut loki = FakeLoki::new(Limits::default());
        let with = |nanos, line, value: &str| {
            let mut message = message(&[(STREAM, &[(nanos, line)])]);
            let pair = LabelPairAdapter { name: "k".to_string(), value: value.to_string() };
            message.streams[0].entries[0].structured_metadata.push(pair);
            Request::push(pack(&message.encode_to_vec()))
        };
        for (nanos, line, value, count) in
            [(NOW, "a", "1", 1), (NOW, "a", "2", 1), (NOW, "b", "1", 2), (NOW, "a", "2", 3), (NOW, "b", "1", 3)]
        {
            assert_eq!(text(&loki.serve(with(nanos, line, value), NOW).0), ok());
            assert_eq!(loki.count(), count);
        }
    }

    /// A bucket of 100 bytes that fills by 10 in a second.
    #[test]
    fn a_tenant_s_rate_drops_the_whole_push() {
        let limits = Limits { rate: Some(10.0), burst: 100.0, ..Limits::default() };
        let mut loki = FakeLoki::new(limits);
        let (sixty, line) = ("x".repeat(60), "y".repeat(41));
        let first = [(NOW, sixty.as_str())];
        let second = [(NOW + 1, line.as_str())];
        assert_eq!(push(&mut loki, NOW, &[(STREAM, &first)]), ok());
        let why = "Ingestion rate limit exceeded for user fake (limit: 10 bytes/sec) while attempting to ingest '1' lines \
                   totaling '41' bytes, reduce log volume or contact your Loki administrator to see if the limit can be \
                   increased";
        assert_eq!(push(&mut loki, NOW, &[(STREAM, &second)]), (429, why.to_string()));
        assert_eq!(push(&mut loki, NOW + SECOND / 20, &[(STREAM, &second)]).0, 429);
        assert_eq!(push(&mut loki, NOW + SECOND / 10, &[(STREAM, &second)]), ok());
        assert_eq!(loki.count(), 2);
        // More than the burst never fits.
        let two = [(NOW + 2, sixty.as_str()), (NOW + 3, line.as_str())];
        assert_eq!(push(&mut loki, NOW + HOUR, &[(STREAM, &two)]).0, 429);
        loki.limits.capitals = false;
        assert!(push(&mut loki, NOW + HOUR, &[(STREAM, &two)]).1.starts_with("ingestion rate limit exceeded"));
        assert_eq!(loki.count(), 2);
    }

    #[test]
    fn a_stream_s_rate_drops_that_stream_whole() {
        let limits = Limits { stream_rate: Some(2.0 * 1024.0), stream_burst: 5.0, ..Limits::default() };
        let mut loki = FakeLoki::new(limits);
        let other = r#"{app="other"}"#;
        let (status, body) =
            push(&mut loki, NOW, &[(STREAM, &[(NOW, "1234"), (NOW + 1, "56")]), (other, &[(NOW, "12345")])]);
        let why = |line: usize| {
            format!(
                "'Per stream rate limit exceeded (limit: 2KB/sec) while attempting to ingest for stream '{STREAM}' \
                 totaling {line}B, consider splitting a stream via additional labels or contact your Loki administrator \
                 to see if the limit can be increased'"
            )
        };
        let all = format!(
            "entry with timestamp 2026-11-21 02:26:02 +0000 UTC ignored, reason: {},\nentry with timestamp 2026-11-21 \
             02:26:02.000000001 +0000 UTC ignored, reason: {},\nuser 'fake', total ignored: 2 out of 2 for stream: \
             {STREAM}",
            why(4),
            why(2)
        );
        assert_eq!((status, body), (429, all));
        assert_eq!(lines(&loki), ["12345"]);
        assert_eq!(push(&mut loki, NOW, &[(STREAM, &[(NOW, "1234")])]), ok());
        assert_eq!(push(&mut loki, NOW, &[(STREAM, &[(NOW + 1, "56")])]).0, 429);
        assert_eq!(push(&mut loki, NOW + SECOND, &[(STREAM, &[(NOW + 1, "56")])]), ok());
    }

    /// What the real ingester does: its answer is the last stream's.
    #[test]
    fn an_answer_may_tell_of_the_last_stream_only() {
        let limits = |tells_of_last_stream_only| Limits {
            stream_rate: Some(1.0),
            stream_burst: 5.0,
            tells_of_last_stream_only,
            ..Limits::default()
        };
        let streams: [(&str, &[(i64, &str)]); 2] =
            [(r#"{a="1"}"#, &[(NOW, "too long")]), (r#"{a="2"}"#, &[(NOW, "f")])];
        assert_eq!(says(limits(false), &streams).0, 429);
        assert_eq!(says(limits(true), &streams).0, 204);
    }

    #[test]
    fn more_streams_than_allowed_are_refused_and_known_ones_go_on() {
        let mut loki = FakeLoki::new(Limits { streams_max: Some(1), ..Limits::default() });
        assert_eq!(push(&mut loki, NOW, &[(STREAM, &[(NOW, "a")])]), ok());
        let other = r#"{app="other"}"#;
        let why = format!(
            "Maximum active stream limit exceeded when trying to create stream {other}, reduce the number of active \
             streams (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can \
             be increased, user: 'fake'"
        );
        assert_eq!(push(&mut loki, NOW, &[(other, &[(NOW, "b")]), (STREAM, &[(NOW, "c")])]), (429, why));
        assert_eq!(lines(&loki), ["a", "c"]);
    }

    #[test]
    fn a_script_goes_before_what_loki_would_say() {
        let mut loki = FakeLoki::new(Limits::default());
        loki.script.next(1, Play::says(503, "not now").header("retry-after", "7"));
        loki.script.next(1, Play::says(500, "who knows").after_storing());
        loki.script.when(|received| {
            let push = received.push.as_ref().ok()?;
            push.lines().any(|line| line.contains('X')).then(|| Play::says(400, "no X"))
        });
        let mut answer = |line: &str| push(&mut loki, NOW, &[(STREAM, &[(NOW, line)])]);
        assert_eq!(answer("lost, with an X"), (503, "not now".to_string()));
        assert_eq!(answer("kept"), (500, "who knows".to_string()));
        assert_eq!(answer("an X"), (400, "no X".to_string()));
        assert_eq!(answer("fine"), ok());
        assert!(loki.script.is_over());
        assert_eq!(lines(&loki), ["fine", "kept"]);
    }
}

mod writing {
    use super::support::agent::Agent;
    use super::support::loki::agent_run::{Run, Written};
    use super::support::process::eventually;
    use super::*;

    /// What a writer says that it wrote is what the agent prints that it would send.
    #[test]
    fn the_truth_of_a_writer_is_what_the_agent_reads() {
        let mut run = Run::new(FakeLoki::default());
        run.delivery = String::new();
        let (mut first, mut second) = (run.writer("first"), run.writer("second"));
        for _ in 0..3 {
            first.lines(120);
            first.rotate();
        }
        second.lines(60);
        second.line_at(NOW, "with a \"quote\"");
        let mut command = run.command();
        command.arg("-dry-run");
        let agent = Agent::of(command);
        let written: Vec<_> = first.written.iter().chain(&second.written).collect();
        // The clients come first, up to an empty line.
        let printed = eventually("all lines", || {
            let text = agent.process.stdout();
            let entries = text.split_once("\n\n").map_or("", |(_, entries)| entries);
            let all = entries.ends_with('\n') && entries.lines().count() >= written.len();
            if all { Ok(entries.to_string()) } else { Err(text) }
        });
        let mut printed: Vec<_> = printed.lines().map(str::to_string).collect();
        let print = |Written { timestamp, labels, line, .. }: &Written| {
            let time = jiff::Timestamp::from_nanosecond(i128::from(*timestamp)).expect("a time");
            format!("{time}\t{labels}\t{line}")
        };
        let mut wanted: Vec<_> = written.into_iter().map(print).collect();
        printed.sort();
        wanted.sort();
        assert_eq!(printed, wanted);
        assert_eq!(run.assert_counted(&agent, &[&first, &second]).get("weir_breaks_total", &[]), 0.0);
    }
}
