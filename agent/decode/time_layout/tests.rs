use super::*;
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

fn nanos(rfc3339: &str) -> i64 {
    i64::try_from(rfc3339.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
}

fn context(zone: &str, now: &str) -> Context {
    let zone = (!zone.is_empty()).then(|| TimeZone::get(zone).unwrap());
    Context { zone, now: nanos(now) }
}

/// Reads in UTC, in the summer of 2026.
fn read(format: &str, text: &str) -> Option<i64> {
    Layout::compile(format).unwrap().parse(text.as_bytes(), &context("", "2026-07-01T00:00:00Z"))
}

fn check(format: &str, text: &str, expected: &str) {
    assert_eq!(read(format, text), Some(nanos(expected)), "{format} of {text}, expected {expected}");
}

#[test]
fn the_named_formats_are_those_of_go_and_promtail() {
    for (format, text, expected) in [
        ("ANSIC", "Mon Jan  2 15:04:05 2006", "2006-01-02T15:04:05Z"),
        ("ANSIC", "Mon Jan 22 15:04:05.25 2006", "2006-01-22T15:04:05.25Z"),
        ("UnixDate", "Thu Feb  4 21:00:57 UTC 2010", "2010-02-04T21:00:57Z"),
        ("UnixDate", "Thu Feb  4 21:00:57 PST 2010", "2010-02-04T21:00:57Z"),
        ("RubyDate", "Thu Feb 04 21:00:57 -0800 2010", "2010-02-05T05:00:57Z"),
        ("RFC822", "04 Feb 10 21:00 GMT", "2010-02-04T21:00:00Z"),
        ("RFC822Z", "04 Feb 69 21:00 +0100", "1969-02-04T20:00:00Z"),
        ("RFC850", "Thursday, 04-Feb-10 21:00:57 CET", "2010-02-04T21:00:57Z"),
        ("RFC1123", "Thu, 04 Feb 2010 21:00:57 GMT+3", "2010-02-04T21:00:57Z"),
        ("RFC1123Z", "Thu, 04 Feb 2010 21:00:57 -0800", "2010-02-05T05:00:57Z"),
        ("RFC3339", "2026-11-21T02:25:35.001526116+01:00", "2026-11-21T01:25:35.001526116Z"),
        ("RFC3339", "2026-11-21T2:25:35Z", "2026-11-21T02:25:35Z"),
        ("RFC3339Nano", "2026-11-21T02:25:35Z", "2026-11-21T02:25:35Z"),
        ("RFC3339Nano", "2026-11-21T02:25:35.5-00:30", "2026-11-21T02:55:35.5Z"),
        ("Unix", "1700000000", "2023-11-14T22:13:20Z"),
        ("Unix", "1700000000.25", "2023-11-14T22:13:20.25Z"),
        ("Unix", "1700000000.000000001", "2023-11-14T22:13:20.000000001Z"),
        ("Unix", "-1.5", "1969-12-31T23:59:59.5Z"),
        ("UnixMs", "1700000000123", "2023-11-14T22:13:20.123Z"),
        ("UnixUs", "1700000000123456", "2023-11-14T22:13:20.123456Z"),
        ("UnixNs", "-1", "1969-12-31T23:59:59.999999999Z"),
    ] {
        check(format, text, expected);
    }
}

#[test]
fn custom_layouts_show_the_reference_time() {
    for (format, text, expected) in [
        ("02/Jan/2006:15:04:05 -0700", "21/Nov/2026:02:25:48 +0100", "2026-11-21T01:25:48Z"),
        ("2006/01/02 15:04:05", "2026/11/21 02:25:48", "2026-11-21T02:25:48Z"),
        ("2006-01-02 15:04:05,000", "2026-11-21 02:25:48,123", "2026-11-21T02:25:48.123Z"),
        ("2006-01-02 15:04:05,000", "2026-11-21 02:25:48.123", "2026-11-21T02:25:48.123Z"),
        ("2006-01-02 15:04:05.999", "2026-11-21 02:25:48", "2026-11-21T02:25:48Z"),
        ("2006-01-02 15:04:05.999", "2026-11-21 02:25:48.1234567891", "2026-11-21T02:25:48.123456789Z"),
        ("2006-01-02 15:04:05", "2026-11-21 02:25:48,5", "2026-11-21T02:25:48.5Z"),
        ("2006-01-02T15:04:05Z", "2026-11-21T02:25:48.5Z", "2026-11-21T02:25:48.5Z"),
        ("20060102150405.000000000", "20261121022548.000000009", "2026-11-21T02:25:48.000000009Z"),
        ("2006-1-2 3:4:5 PM", "2026-1-9 12:7:8 AM", "2026-01-09T00:07:08Z"),
        ("2006-1-2 3:4:5 PM", "2026-10-19 12:57:08 PM", "2026-10-19T12:57:08Z"),
        ("2006-1-2 03:04pm", "2026-10-19 01:02pm", "2026-10-19T13:02:00Z"),
        ("Monday, January 2 2006", "SUNDAY, november 1 2026", "2026-11-01T00:00:00Z"),
        ("Mon Jan _2 2006", "Wed May 21 2025", "2025-05-21T00:00:00Z"),
        ("2006 002", "2024 060", "2024-02-29T00:00:00Z"),
        ("2006 002", "2025 365", "2025-12-31T00:00:00Z"),
        ("2006 __2", "2024   7", "2024-01-07T00:00:00Z"),
        ("at_2006", "at_2026", "2026-01-01T00:00:00Z"),
        ("06 Z07", "26 -03", "2026-01-01T03:00:00Z"),
        ("06 Z0700", "26 Z", "2026-01-01T00:00:00Z"),
        ("06 -07:00", "26 +05:30", "2025-12-31T18:30:00Z"),
        ("06 Z070000", "26 +000001", "2025-12-31T23:59:59Z"),
        ("06 Z07:00:00", "26 -24:60:60", "2026-01-02T01:01:00Z"),
        ("06 MST", "26 MeST", "2026-01-01T00:00:00Z"),
        ("06 MST", "26 +03", "2026-01-01T00:00:00Z"),
        ("06 MST", "26 WITA", "2026-01-01T00:00:00Z"),
        ("06   Jan", "26 Feb", "2026-02-01T00:00:00Z"),
        ("06 ", "26", "2026-01-01T00:00:00Z"),
        ("Janet 06", "Janet 26", "2026-01-01T00:00:00Z"),
        // No fraction in front of another digit: a full stop, a zero, and a month of two digits.
        ("06.001", "26.003", "2026-03-01T00:00:00Z"),
        ("2006-01-02 15:04:05.000 +0000 UTC", "2026-11-21 02:25:48.120 +0000 UTC", "2026-11-21T02:25:48.12Z"),
    ] {
        check(format, text, expected);
    }
}

#[test]
fn what_go_refuses_is_no_time() {
    for (format, text) in [
        ("RFC3339", "2026-11-21T02:25:35"),
        ("RFC3339", "2026-11-21t02:25:35z"),
        ("RFC3339", "2026-11-21T24:00:00Z"),
        ("RFC3339", "2026-11-21T02:60:00Z"),
        ("RFC3339", "2026-12-31T23:59:60Z"),
        ("RFC3339", "2026-02-29T00:00:00Z"),
        ("RFC3339", "2026-00-01T00:00:00Z"),
        ("RFC3339", "2026-13-01T00:00:00Z"),
        ("RFC3339", "2026-01-00T00:00:00Z"),
        ("RFC3339", "2026-11-21T02:25:35.Z"),
        ("RFC3339", "2026-11-21T02:25:35+25:00"),
        ("RFC3339", "2026-11-21T02:25:35+00:61"),
        ("RFC3339", "2026-11-21T02:25:35Z "),
        ("RFC3339", "1600-11-21T02:25:35Z"),
        ("RFC3339", "2300-11-21T02:25:35Z"),
        ("RFC3339", "+026-11-21T02:25:35Z"),
        ("2006-01-02 15:04:05,000", "2026-11-21 02:25:48,12"),
        ("2006-01-02 15:04:05.000", "2026-11-21 02:25:48"),
        ("2006-01-02 15:04:05.000", "2026-11-21 02:25:48.1234"),
        ("2006-01-02", "2026-1-2"),
        ("2006 3PM", "2026 13PM"),
        ("2006 3PM", "2026 1pm"),
        ("2006 002", "2025 366"),
        ("2006 002", "2025 000"),
        ("2006 002", "2025 60"),
        ("2006 01 002", "2025 01 032"),
        ("06 MST", "26 utc"),
        ("06 MST", "26 ABCDEF"),
        ("06 MST", "26 ABCD"),
        ("06 MST", "26 +24"),
        ("06 -0700", "26 Z"),
        ("06 Jan", "26Feb"),
        ("06 Mon", "26 Xon"),
        ("Unix", "1.2.3"),
        ("Unix", "1."),
        ("Unix", " 1"),
        ("Unix", ""),
        ("Unix", "9999999999999"),
        ("UnixMs", "1.5"),
        ("UnixMs", "9223372036855000"),
        ("UnixNs", "9223372036854775808"),
    ] {
        assert_eq!(read(format, text), None, "{format} of {text}");
    }
}

#[test]
fn a_location_is_for_custom_layouts_and_follows_gos_choice_in_gaps_and_overlaps() {
    let now = "2026-07-01T00:00:00Z";
    for (zone, text, expected) in [
        ("Europe/Berlin", "2026-07-01 12:00:00", "2026-07-01T10:00:00Z"),
        ("Europe/Berlin", "2026-01-01 00:30:00", "2025-12-31T23:30:00Z"),
        // The gap, 02:00 to 03:00, and the overlap, of which Go takes the second hour here.
        ("Europe/Berlin", "2026-03-29 02:30:00", "2026-03-29T01:30:00Z"),
        ("Europe/Berlin", "2026-10-25 02:30:00", "2026-10-25T01:30:00Z"),
        ("America/New_York", "2026-03-08 02:30:00", "2026-03-08T06:30:00Z"),
        ("America/New_York", "2026-11-01 01:30:00", "2026-11-01T05:30:00Z"),
        ("Europe/London", "2026-07-01 12:00:00", "2026-07-01T11:00:00Z"),
    ] {
        let layout = Layout::compile("2006-01-02 15:04:05").unwrap();
        assert_eq!(layout.parse(text.as_bytes(), &context(zone, now)), Some(nanos(expected)), "{zone} {text}");
    }
    let berlin = context("Europe/Berlin", now);
    let read = |format: &str, text: &str| Layout::compile(format).unwrap().parse(text.as_bytes(), &berlin);
    assert_eq!(read("ANSIC", "Wed Jul  1 12:00:00 2026"), Some(nanos("2026-07-01T12:00:00Z")));
    assert_eq!(read("2006-01-02 MST", "2026-07-01 CEST"), Some(nanos("2026-06-30T22:00:00Z")));
    assert_eq!(read("2006-01-02 MST", "2026-07-01 CET"), Some(nanos("2026-06-30T23:00:00Z")));
    assert_eq!(read("2006-01-02 MST", "2026-07-01 UTC"), Some(nanos("2026-07-01T00:00:00Z")));
    assert_eq!(read("2006-01-02 MST", "2026-07-01 PST"), Some(nanos("2026-07-01T00:00:00Z")));
}

#[test]
fn a_layout_without_a_year_takes_the_current_one_and_minds_new_year() {
    for (format, text, zone, now, expected) in [
        ("Jan _2 15:04:05", "Jul 15 01:02:03", "", "2019-07-14T00:00:00Z", "2019-07-15T01:02:03Z"),
        ("Jan _2 15:04:05", "Dec 31 23:59:59", "", "2027-01-01T00:00:01Z", "2026-12-31T23:59:59Z"),
        ("Jan _2 15:04:05", "Jan  1 00:00:01", "", "2026-12-31T23:59:59Z", "2027-01-01T00:00:01Z"),
        ("Jan _2 15:04:05", "Dec 31 12:00:00", "", "2026-11-21T00:00:00Z", "2026-12-31T12:00:00Z"),
        ("Jan _2 15:04:05", "Feb 29 12:00:00", "", "2026-03-02T00:00:00Z", "2026-03-01T12:00:00Z"),
        ("Jan _2 15:04:05", "Feb 29 12:00:00", "", "2028-03-02T00:00:00Z", "2028-02-29T12:00:00Z"),
        ("Jan _2 15:04:05", "Jul 15 01:02:03", "Europe/London", "2019-07-14T00:00:00Z", "2019-07-15T00:02:03Z"),
        ("15:04:05.000", "01:02:03.004", "", "2026-12-14T00:00:00Z", "2027-01-01T01:02:03.004Z"),
        ("0102 15:04:05.000000", "1121 02:25:48.000001", "", "2026-11-21T00:00:00Z", "2026-11-21T02:25:48.000001Z"),
    ] {
        let layout = Layout::compile(format).unwrap();
        assert!(layout.is_yearless());
        let got = layout.parse(text.as_bytes(), &context(zone, now));
        assert_eq!(got, Some(nanos(expected)), "{text} at {now}");
    }
    assert!(!Layout::compile("15:04:05 06").unwrap().is_yearless());
    assert_eq!(read("15:04:05.06x", "01:02:03.26x"), None, "fraction after seconds wins, then .06 is missing");
}

#[test]
fn a_layout_that_shows_no_time_is_told_apart_and_an_empty_one_refused() {
    assert!(Layout::compile("").is_err());
    assert!(Layout::compile("yyyy-MM-dd").unwrap().is_constant());
    assert!(!Layout::compile("2006").unwrap().is_constant());
    assert!(!Layout::compile("RFC3339").unwrap().is_constant());
}

/// Nanoseconds that a `Timestamp` and 64 bits hold, around now or anywhere.
fn moments() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), nanos("1969-01-01T00:00:00Z")..nanos("2068-12-31T00:00:00Z")]
}

/// A layout, and how jiff writes the same; the step in nanoseconds that it shows, and whether it shows the whole year.
const SPELLINGS: [(&str, &str, i64, bool); 7] = [
    ("2006-01-02T15:04:05.000000000", "%Y-%m-%dT%H:%M:%S.%9f", 1, true),
    ("RFC3339Nano", "%Y-%m-%dT%H:%M:%S.%9f%:z", 1, true),
    ("02/Jan/2006:15:04:05 -0700", "%d/%b/%Y:%H:%M:%S %z", NANOS_PER_SECOND, true),
    ("Monday, January _2 2006 03:04:05.000 PM", "%A, %B %e %Y %I:%M:%S.%3f %p", 1_000_000, true),
    ("2006 002 15:04:05,999999", "%Y %j %H:%M:%S,%6f", 1_000, true),
    ("RFC850", "%A, %d-%b-%y %H:%M:%S UTC", NANOS_PER_SECOND, false),
    ("2006-1-2 3:4:5pm Z07", "%Y-%-m-%-d %-I:%-M:%-S%P Z", NANOS_PER_SECOND, true),
];

proptest! {
    #[test]
    fn what_is_written_is_read_back(moment in moments(), which in 0..SPELLINGS.len()) {
        let (layout, spelling, step, whole_year) = SPELLINGS[which];
        let floor = moment.div_euclid(step).checked_mul(step);
        prop_assume!(floor.is_some());
        let near = (nanos("1969-01-01T00:00:00Z")..nanos("2068-12-31T00:00:00Z")).contains(&moment);
        prop_assume!(whole_year || near);
        let floor = floor.unwrap();
        let written = Timestamp::from_nanosecond(i128::from(floor)).unwrap().strftime(spelling).to_string();
        prop_assert_eq!(read(layout, &written), Some(floor), "{}", written);
    }

    #[test]
    fn local_times_outside_of_transitions_are_those_of_the_zone(moment in nanos("1995-01-01T00:00:00Z")..nanos("2040-01-01T00:00:00Z")) {
        for name in ["Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"] {
            let zone = TimeZone::get(name).unwrap();
            let local: DateTime = zone.to_datetime(Timestamp::from_nanosecond(i128::from(moment)).unwrap());
            let day = SignedDuration::from_hours(26);
            let steady = zone.to_ambiguous_zoned(local - day).offset() == zone.to_ambiguous_zoned(local + day).offset();
            if steady {
                let context = Context { zone: Some(zone), now: 0 };
                let layout = Layout::compile("2006-01-02T15:04:05").unwrap();
                prop_assert_eq!(layout.parse(local.to_string().as_bytes(), &context), Some(moment), "{} {}", name, local);
            }
        }
    }

    #[test]
    fn the_fast_reader_agrees_with_the_general_one(text in "(19|20|00)[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]([.,][0-9]{0,12})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])?") {
        let general = element::parts("2006-01-02T15:04:05.999999999Z07:00");
        let general = reader::read(&general, text.as_bytes()).and_then(|time| time.unix_nanos(None));
        prop_assert_eq!(parse_rfc3339_nanos(text.as_bytes()), general);
    }

    #[test]
    fn any_layout_and_any_text_are_survived(
        layout in "(2006|06|01|1|Jan|January|02|2|_2|__2|002|Mon|15|03|04|05|PM|pm|MST|Z0700|-07:00|\\.000|,999|[ :/a-z0-9]){1,8}",
        text in "([0-9]{1,4}|Jan|Mon|AM|GMT\\+3|CEST|Z|[-+][0-9]{2}|\\.[0-9]{1,12}|[ :/]|\\PC){0,10}",
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let layout = Layout::compile(&layout).unwrap();
        let context = context("Europe/Berlin", "2026-07-01T00:00:00Z");
        layout.parse(text.as_bytes(), &context);
        layout.parse(&bytes, &context);
        parse_rfc3339_nanos(&bytes);
    }
}

proptest! {
    #[test]
    fn a_fraction_is_read_as_digit_by_digit(text in "[.,]?[0-9]{0,12}(Z|[0-9x/:]{0,3}|é)") {
        let after = text.strip_prefix(['.', ',']).unwrap_or_default();
        let length = after.bytes().take_while(u8::is_ascii_digit).count();
        let wanted: i64 = format!("{:0<9.9}", &after[..length]).parse().unwrap();
        let (nanos, rest) = super::civil::fraction(text.as_bytes());
        let expected = if length == 0 { (0, text.as_bytes()) } else { (wanted, &after.as_bytes()[length..]) };
        prop_assert_eq!((nanos, rest), expected, "{}", text);
    }
}
