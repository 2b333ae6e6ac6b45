//! What is read the short way is read as the general way does, whatever the line holds.

use super::super::parse_any_upstreaminfo;
use super::*;
use proptest::prelude::*;

const LINE: &[u8] =
    b"203.0.113.9 - - [21/Nov/2026:02:25:48 +0000] \"GET /a?b=c HTTP/1.1\" 200 5 \"-\" \"Mozilla/5.0 (X11) x\" \
    475 0.112 [shop-web-80] [] 10.0.0.1:80 5 0.112 200 8ffa356bd5fe35a1fa578cb6a07b1e97";

fn mostly(usual: &'static str, odd: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![12 => usual, 1 => odd]
}

/// A line of which most are as nearly all are.
fn line() -> impl Strategy<Value = String> {
    let number = || mostly("[0-9]{1,4}|0\\.[0-9]{3}|-|0", r#"|1,2|1, 2|[0-9.-]{1,40}|a| |""#);
    let name = || mostly("|[a-z-]{1,20}", r#"\]|a\]b|\] \[| |""#);
    let list = || mostly("-|[0-9.:]{1,17}", r#"1, 2|1 : 2|1,|,|:| : |||"|1\\|[0-9]{40}"#);
    let front = (
        mostly("[0-9]{1,3}\\.[0-9.]{3,9}", r#"|a"b| |::1"#),
        mostly("-|[a-z]{1,9}", r#"a b|a - b|\[21/Nov/2026:02:25:48 \+0000\] "|a"|[a-z]{40}"#),
        mostly(
            r"21/Nov/2026:02:25:48 [-+][0-9]{4}",
            r"21/Nov/2026:02:25:48 ,0000|2a/Nov/2026:02:25:48 \+0000|21/N0v/2026:02:25:48 \+0000|[ -z]{26}",
        ),
        mostly(
            "(GET|POST) /[a-z?=&]{0,50} HTTP/1\\.1",
            r#"|-|GET  /a  HTTP/1.1|GET /a|get /a HTTP/1.1|GET /"a" HTTP/1.1|a" 200 5 "|\\x22"#,
        ),
        mostly("[0-9]{3}", "|2|20a|2000|1.3"),
        number(),
    );
    let back = (
        mostly("-|https://[a-z./]{1,40}", r#"|a"b|a" "b|\\x22"#),
        mostly("-|[A-Z][a-z0-9./ ();]{0,80}", r#"|a"b|a" 475 0\.112 \[a\] \[\] - - - - |\\x22"#),
        (number(), number(), name(), name()),
        (list(), list(), list(), list()),
        mostly("[0-9a-f]{32}", r#"|a "b| : 2|-|[a-z ]{0,60}"#),
    );
    (front, back).prop_map(|((addr, user, time, request, status, bytes), (referer, agent, numbers, lists, id))| {
        let ((length, duration, name, other), (to, sizes, times, statuses)) = (numbers, lists);
        format!(
            "{addr} - {user} [{time}] \"{request}\" {status} {bytes} \"{referer}\" \"{agent}\" {length} {duration} [{name}] \
             [{other}] {to} {sizes} {times} {statuses} {id}"
        )
    })
}

/// As [`is_time`], byte for byte.
fn has_shape_of_time(text: &[u8; 32]) -> bool {
    text[..31].iter().zip(TIME_SHAPE).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'a' => byte.is_ascii_alphabetic(),
        b'+' => matches!(byte, b'+' | b'-'),
        other => byte == other,
    })
}

#[test]
fn a_usual_line_takes_the_short_way() {
    assert!(parse(LINE).is_some());
    assert_eq!(parse(LINE), parse_any_upstreaminfo(LINE));
    for line in [&b""[..], &LINE[..31], &LINE[..100]] {
        assert_eq!(parse(line), None);
    }
}

#[test]
fn a_time_is_seen_as_byte_for_byte() {
    let start = LINE.iter().position(|byte| *byte == b'[').unwrap() - 1;
    let time: [u8; 32] = *LINE[start..].first_chunk().unwrap();
    for (at, byte) in (0..32).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
        let mut text = time;
        text[at] = byte;
        assert_eq!(is_time(&text), has_shape_of_time(&text), "{}", text.escape_ascii());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_short_way_gives_what_the_general_one_does(
        line in line(),
        damage in prop::option::weighted(0.3, (any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(&b" \"[],:-\\"[..])])),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut line = line.into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(line.len());
            line[at] = byte;
        }
        if let Some(cut) = cut {
            line.truncate(cut.index(line.len()));
        }
        let found = parse(&line);
        prop_assert!(found.is_none() || found == parse_any_upstreaminfo(&line), "{}", line.escape_ascii());
        for looks in Looks::all() {
            prop_assert_eq!(looks.run(Usual(&line)), found, "{:?}: {}", looks, line.escape_ascii());
        }
    }
}
