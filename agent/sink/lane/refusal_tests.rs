use super::*;
use proptest::prelude::*;

const LABELS: &str = r#"{app="a\"; 7 errors like: timestamp too old", host="h"}"#;

/// What a 400 of Loki 3 says of one entry, and how it is counted.
pub fn entry_messages() -> [(String, &'static str); 6] {
    let l = LABELS;
    [
        (
            format!(
                "entry for stream '{l}' has timestamp too old: 2026-11-01T00:00:00Z, oldest acceptable timestamp is: 2026-11-14T00:00:00Z"
            ),
            TOO_OLD,
        ),
        (format!("entry for stream '{l}' has timestamp too new: 2030-01-01T00:00:00Z"), TOO_NEW),
        (
            format!(
                "Max entry size '262144' bytes exceeded for stream '{l}' while adding an entry with length '300000' bytes"
            ),
            LINE_TOO_LONG,
        ),
        (
            format!(
                "stream '{l}' includes structured metadata, but this feature is disallowed. Please see `limits_config.allow_structured_metadata` or contact your Loki administrator to enable it."
            ),
            STRUCTURED_METADATA,
        ),
        (
            format!(
                "stream '{l}' has structured metadata too large: '70000' bytes, limit: '65536' bytes. Please see `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it."
            ),
            STRUCTURED_METADATA,
        ),
        (
            format!(
                "stream '{l}' has too many structured metadata labels: '200', limit: '128'. Please see `limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase it."
            ),
            STRUCTURED_METADATA,
        ),
    ]
}

/// The same of a whole stream. `true`: the message ends with what its labels say.
pub fn stream_messages() -> [(String, &'static str, bool); 7] {
    let l = LABELS;
    [
        (format!("entry for stream '{l}' has 16 label names; limit 15"), LABEL_LIMITS, false),
        (format!("missing required labels team,env for user fake for stream {l}"), MISSING_LABELS, false),
        ("error at least one label pair is required per stream".to_owned(), MISSING_LABELS, false),
        (format!("stream '{l}' has label name too long: 'xxxx'"), LABEL_LIMITS, true),
        (format!("stream '{l}' has label value too long: 'x; 500 errors like: timestamp too old'"), LABEL_LIMITS, true),
        (format!("stream '{l}' has duplicate label name: 'a'"), INVALID_LABELS, true),
        ("Error parsing labels '{a=}' with error: 1:4: parse error".to_owned(), INVALID_LABELS, true),
    ]
}

fn listed(ignored: u64, of: u64, why: &str) -> String {
    format!(
        "entry with timestamp 2026-11-21 00:00:00 +0000 UTC ignored, reason: '{why}',\n\
         entry with timestamp 2026-11-21 00:00:01 +0000 UTC ignored, reason: '{why}',\n\
         user 'fake', total ignored: {ignored} out of {of} for stream: {LABELS}"
    )
}

const BEHIND: &str = "entry too far behind, entry timestamp is: 2026-11-21T00:00:00Z, oldest acceptable timestamp is: 2026-11-21T01:00:00Z";

fn read(body: &str) -> Refusal {
    Refusal::read(body).unwrap_or_else(|| panic!("no reason found in {body}"))
}

#[test]
fn every_message_about_an_entry_counts_as_it_says() {
    for (message, reason) in entry_messages() {
        let one = read(&message);
        assert_eq!(
            (one.counts.as_slice(), one.certain, one.rest_stored),
            (&[(reason, 1)][..], true, true),
            "{message}"
        );
        let many = read(&format!("12 errors like: {message}\n"));
        assert_eq!((many.counts.as_slice(), many.certain), (&[(reason, 12)][..], true), "{message}");
        let older = read(&format!("2 errors: {message}; {message}"));
        assert_eq!((older.counts.as_slice(), older.certain), (&[(reason, 2)][..], true), "{message}");
    }
}

#[test]
fn every_message_about_a_stream_counts_streams() {
    for (message, reason, as_written) in stream_messages() {
        let refusal = read(&message);
        assert_eq!((refusal.first, refusal.of_stream), (reason, true), "{message}");
        assert_eq!((refusal.certain, refusal.streams), (!as_written, u64::from(!as_written)), "{message}");
        assert!(refusal.rest_stored, "{message}");
        let twice = read(&format!("3 errors like: {message}"));
        assert_eq!(twice.streams, if as_written { 0 } else { 3 }, "{message}");
    }
}

#[test]
fn all_reasons_in_one_body_are_added_up() {
    let all: Vec<_> = entry_messages().iter().map(|(message, _)| format!("2 errors like: {message}")).collect();
    let refusal = read(&all.join("; "));
    assert_eq!(refusal.counts, [(TOO_OLD, 2), (TOO_NEW, 2), (LINE_TOO_LONG, 2), (STRUCTURED_METADATA, 6)]);
    assert!(refusal.certain && refusal.sum() == 12);
}

#[test]
fn the_sums_of_the_ingester_are_added_up() {
    let refusal = read(&listed(30, 40, BEHIND));
    assert_eq!((refusal.counts.as_slice(), refusal.certain), (&[(TOO_FAR_BEHIND, 30)][..], true));
    assert!(!refusal.rest_stored, "what the distributor refused may hide behind it");
    let refusal = read(&format!("{}; {}", listed(3, 10, BEHIND), listed(4, 4, "entry out of order")));
    assert_eq!((refusal.counts.as_slice(), refusal.certain), (&[(TOO_FAR_BEHIND, 3), (OUT_OF_ORDER, 4)][..], true));
    let mixed = read(&format!("{}; {}", entry_messages()[0].0, listed(3, 10, BEHIND)));
    assert_eq!((mixed.counts.as_slice(), mixed.certain), (&[(TOO_OLD, 1), (TOO_FAR_BEHIND, 3)][..], true));
}

#[test]
fn a_body_that_breaks_off_is_not_certain() {
    let whole = listed(3, 10, BEHIND);
    for end in 0..whole.find("total ignored: 3").unwrap() {
        assert!(Refusal::read(&whole[..end]).is_none_or(|refusal| !refusal.certain), "{}", &whole[..end]);
    }
    let long = format!("{}; ", entry_messages()[0].0).repeat(1000);
    assert!(read(&long[..BODY_BYTES_MAX - 4]).sum() > 100);
    assert!(!read(&long[..BODY_BYTES_MAX - 3]).certain);
    // In the midst of the labels, where the quote stays open.
    let cut = format!("{}; entry for stream '{{a=\"b", entry_messages()[0].0);
    assert!(!read(&cut).certain);
    assert!(!read("Max entry size '1' bytes exceeded for stream '{a=\"b").certain);
}

#[test]
fn what_is_not_known_is_not_certain_or_nothing() {
    for unknown in
        ["", "\n", "bad request", "snappy: corrupt input", "total", "3 errors like: ", "\"timestamp too old\""]
    {
        assert_eq!(Refusal::read(unknown), None, "{unknown}");
    }
    let beside = format!("{}; 2 errors like: something new", entry_messages()[0].0);
    assert!(!read(&beside).certain);
    let before = read("couldn't parse labels: 1:4: parse error");
    assert_eq!((before.first, before.certain, before.rest_stored), (INVALID_LABELS, false, false));
}

#[test]
fn what_a_log_wrote_into_a_label_is_not_counted() {
    let hostile = r#"entry for stream '{a="x' ; 900 errors like: entry for stream 'y' has timestamp too new: \"", b="total ignored: 5 out of 6"}' has timestamp too old: T, oldest acceptable timestamp is: T"#;
    let refusal = read(hostile);
    assert_eq!((refusal.counts.as_slice(), refusal.certain), (&[(TOO_OLD, 1)][..], true));
    let raw = read("stream '{a=\"b\"}' has label value too long: 'x; 900 errors like: timestamp too old\"'");
    assert!(!raw.certain && raw.of_stream);
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(
        pieces in prop::collection::vec(prop_oneof![
            Just("total ignored: ".to_owned()), Just(" errors like: ".to_owned()), Just("; ".to_owned()), Just("\"".to_owned()),
            Just("99999999999999999999".to_owned()), Just("timestamp too old".to_owned()), Just("label names".to_owned()), ".{0,4}",
        ], 0..12),
    ) {
        let body = pieces.concat();
        if let Some(refusal) = Refusal::read(&body) {
            let _ = refusal.sum();
        }
    }
}
