//! Records of docker's json-file driver: `{"log":"...\n","stream":"stdout","time":"..."}`.

use std::sync::LazyLock;

use super::json::{Field, Mode, Picker};

/// One record, borrowed. A key that the driver leaves out when empty (`log`) is empty here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DockerLine<'a> {
    /// The container's bytes between the quotes, see [`super::json::unescape`] if `log_escaped`.
    pub log: &'a [u8],
    pub log_escaped: bool,
    /// `stdout` or `stderr`.
    pub stream: &'a [u8],
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
        Field::Text { raw: raw @ (b"stdout" | b"stderr"), .. } => raw,
        _ => return None,
    };
    match time {
        Field::Text { raw: time, escaped: false } => Some(DockerLine { log, log_escaped, stream, time }),
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

    #[test]
    fn a_record_gives_its_parts() {
        let line =
            br#"{"log":"a \u003cb\u003e\n","stream":"stderr","attrs":{"x":"}"},"time":"2026-11-21T02:25:48.1Z"}"#;
        let expected = DockerLine {
            log: br"a \u003cb\u003e\n",
            log_escaped: true,
            stream: b"stderr",
            time: b"2026-11-21T02:25:48.1Z",
        };
        assert_eq!(parse(line), Some(expected));
    }

    #[test]
    fn what_the_driver_leaves_out_is_empty() {
        let expected = DockerLine { log: b"", log_escaped: false, stream: b"stdout", time: b"t" };
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
