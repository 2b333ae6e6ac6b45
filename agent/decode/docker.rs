//! Records of docker's json-file driver: `{"log":"...\n","stream":"stdout","time":"..."}`.

use std::sync::LazyLock;

use super::cri::Stream;
use super::json::block::has_quote_or_backslash;
use super::json::{self, Field, Mode, Picker};

/// One record, borrowed. A key that the driver leaves out when empty (`log`) is empty here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DockerLine<'a> {
    /// The container's bytes between the quotes, see [`super::json::unescape`] if `log_escaped`.
    pub log: &'a [u8],
    pub log_escaped: bool,
    pub stream: Stream,
    /// RFC 3339 with up to nine digits of a second.
    pub time: &'a [u8],
}

/// `None` for what is no such record: no JSON object, no `time`, or no `stream` of the two that there are (a
/// program's own JSON line may have a `time`), or another type of value. An empty `log` is left out. Other keys
/// (`attrs`) may stand there.
pub fn parse(line: &[u8]) -> Option<DockerLine<'_>> {
    static KEYS: LazyLock<Picker> =
        LazyLock::new(|| Picker::new(&["log", "stream", "time"].map(|key| vec![key.into()])));
    let mut fields = [Field::Missing; 3];
    KEYS.pick(line, Mode::Strict, &mut fields).ok()?;
    let [log, stream, time] = fields;
    let (log, log_escaped) = match log {
        Field::Text { raw, escaped } => (raw, escaped),
        Field::Missing => (&b""[..], false),
        _ => return None,
    };
    let stream = match stream {
        Field::Text { raw, .. } => stream_of(raw)?,
        _ => return None,
    };
    match time {
        Field::Text { raw: time, escaped: false } => Some(DockerLine { log, log_escaped, stream, time }),
        _ => None,
    }
}

/// As [`parse`], and appends the bytes that the container wrote. A record as the driver writes it, with its three keys in
/// their order, is read in one pass.
#[inline]
pub fn parse_unescaped<'a>(line: &'a [u8], log: &mut Vec<u8>) -> Option<DockerLine<'a>> {
    let before = log.len();
    usual(line, log).or_else(|| {
        log.truncate(before);
        let parsed = parse(line)?;
        json::unescape(parsed.log, log);
        Some(parsed)
    })
}

/// `None`, perhaps with something appended, for any record that is not as the driver writes it.
#[inline]
fn usual<'a>(line: &'a [u8], log: &mut Vec<u8>) -> Option<DockerLine<'a>> {
    let text = line.strip_prefix(br#"{"log":""#)?;
    let before = log.len();
    let (raw, rest) = text.split_at(json::unescape_string(text, log)?);
    let rest = rest.strip_prefix(br#"","stream":""#)?;
    let (stream, rest) = rest.split_at_checked("stdout".len())?;
    let stream = stream_of(stream)?;
    let time = rest.strip_prefix(br#"","time":""#)?.strip_suffix(br#""}"#)?;
    let log_escaped = raw.len() > log.len() - before;
    (!has_quote_or_backslash(time)).then_some(DockerLine { log: raw, log_escaped, stream, time })
}

fn stream_of(name: &[u8]) -> Option<Stream> {
    match name {
        b"stdout" => Some(Stream::Stdout),
        b"stderr" => Some(Stream::Stderr),
        _ => None,
    }
}

impl DockerLine<'_> {
    /// Whether the text ends its line. If not the record is a part (docker cuts at 16 KiB) and the next one of the
    /// same stream goes on; or it is the last, unfinished one.
    pub fn ends_line(&self) -> bool {
        // The n is an escape's only after an odd number of backslashes: `\\n` is a backslash and an n.
        let Some(before) = self.log.strip_suffix(b"n") else { return false };
        self.log_escaped && before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option::weighted;
    use proptest::prelude::*;
    use proptest::sample::Index;

    const KEYS: [&str; 3] = ["log", "stream", "time"];

    fn mostly(usual: &'static str, odd: &'static str) -> impl Strategy<Value = String> {
        prop_oneof![8 => usual, 1 => odd]
    }

    #[test]
    fn a_record_gives_its_parts() {
        let line =
            br#"{"log":"a \u003cb\u003e\n","stream":"stderr","attrs":{"x":"}"},"time":"2026-11-21T02:25:48.1Z"}"#;
        let expected = DockerLine {
            log: br"a \u003cb\u003e\n",
            log_escaped: true,
            stream: Stream::Stderr,
            time: b"2026-11-21T02:25:48.1Z",
        };
        assert_eq!(parse(line), Some(expected));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_record_is_read_in_one_pass_as_in_two(
            pieces in vec(prop_oneof![
                4 => "[a-z\\{\\}:, ]{0,30}", 4 => r#"([a-z:]{0,12}\\"){1,4}"#, 4 => r#"\\["\\/bfnrt]"#, 1 => r"\\u[0-9a-f]{4}", 1 => r"(\\ud[89a-f][0-9a-f]{2}){1,2}",
                1 => r#"\\[a-z"]"#, 1 => "é|\u{7f}|[\t\r\u{0}]", 1 => r#""|","stream":"stderr"|","time":"t"|"\}"#,
            ], 0..12),
            order in prop_oneof![6 => Just(KEYS), 1 => Just(KEYS).prop_shuffle()],
            stream in mostly("stdout|stderr", "stdin|std.ut|\\\\u0073tdout|"),
            time in mostly(r"2026-11-21T02:25:48\.1Z", r#"a\\tb|a"b|a\\|\t|"#),
            space in mostly("", "[ \t]"),
            more in mostly("", r#","attrs":\{"x":"\}"\}|,"log":"b"|,"time":null|,|x| "#),
            damage in weighted(0.2, (any::<Index>(), any::<u8>())),
            cut in weighted(0.1, any::<Index>()),
        ) {
            let members = order.map(|key| {
                let value = match key { "log" => pieces.concat(), "stream" => stream.clone(), _ => time.clone() };
                format!("\"{key}\":{space}\"{value}\"")
            });
            let mut line = format!("{{{}{more}}}", members.join(",")).into_bytes();
            if let Some((at, byte)) = damage {
                let at = at.index(line.len());
                line[at] = byte;
            }
            if let Some(cut) = cut {
                line.truncate(cut.index(line.len()));
            }
            let wanted = parse(&line);
            let mut text = b"before".to_vec();
            prop_assert_eq!(parse_unescaped(&line, &mut text), wanted, "{}", line.escape_ascii());
            if let Some(wanted) = wanted {
                let mut unescaped = b"before".to_vec();
                json::unescape(wanted.log, &mut unescaped);
                prop_assert_eq!(text, unescaped, "{}", line.escape_ascii());
            }
        }
    }

    #[test]
    fn a_record_of_the_driver_takes_the_short_way() {
        let line = br#"{"log":"{\"a\":\"b\"}\n","stream":"stderr","time":"2026-11-21T02:25:48.1Z"}"#;
        let mut log = Vec::new();
        assert_eq!(usual(line, &mut log), parse(line));
        assert_eq!(log, b"{\"a\":\"b\"}\n");
    }

    #[test]
    fn what_the_driver_leaves_out_is_empty() {
        let expected = DockerLine { log: b"", log_escaped: false, stream: Stream::Stdout, time: b"t" };
        assert_eq!(parse(br#"{"stream":"stdout","time":"t"}"#), Some(expected));
    }

    #[test]
    fn other_lines_are_no_records() {
        for line in [
            &b""[..],
            b"plain",
            br#"{"log":"a\n","stream":"stdout"}"#,
            br#"{"log":1,"stream":"stdout","time":"t"}"#,
            br#"{"log":"a\n","time":"t"}"#,
            br#"{"log":"a\n","stream":"stdin","time":"t"}"#,
            br#"{"time":"t","status":200}"#,
            br#"{"log":"a\n","stream":null,"time":"t"}"#,
            br#"{"log":"a\n","stream":"stdout","time":"t""#,
            br#"["log"]"#,
        ] {
            assert_eq!(parse(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_record_without_a_newline_is_a_part() {
        for (log, ends) in [
            (r"a\n", true),
            (r"\n", true),
            (r"a\\\n", true),
            (r"a\\n", false),
            ("n", false),
            ("", false),
            (r"\n ", false),
        ] {
            let line = format!(r#"{{"log":"{log}","stream":"stdout","time":"t"}}"#);
            assert_eq!(parse(line.as_bytes()).unwrap().ends_line(), ends, "{log}");
        }
    }
}
