//! Entries on standard output, as Promtail's `-dry-run` prints them: timestamp, labels, line, separated by tabs.
//!
//! The labels are those at the end of the pipeline: with the tenant's `__tenant_id__`, without a client's external ones.
//! Structured metadata is not printed. Unlike Promtail's tab writer this one puts exactly one tab between two of them.

use crate::labels::write_quoted;
use crate::pipeline::{Origin, Output, Record};
use jiff::Timestamp;
use std::fmt::Write as _;
use std::io::Write;

/// Writes every entry as one line. A closed pipe ends the output, not the counting.
pub struct Printer<W: Write> {
    out: W,
    line: String,
}

impl<W: Write> Printer<W> {
    pub fn new(out: W) -> Self {
        Printer { out, line: String::new() }
    }

    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write + Send> Output for Printer<W> {
    fn entry(&mut self, record: &Record<'_>, _origin: Origin) {
        self.line.clear();
        write_rfc3339_nano(record.timestamp(), &mut self.line);
        self.line.push_str("\t{");
        let mut first = true;
        for (name, value) in record.labels() {
            let separator = if first { "" } else { ", " };
            first = false;
            let _ = write!(self.line, "{separator}{name}=");
            let _ = write_quoted(&mut self.line, value);
        }
        self.line.push_str("}\t");
        let _ = self.out.write_all(self.line.as_bytes());
        let _ = self.out.write_all(record.line());
        let _ = self.out.write_all(b"\n");
    }
}

/// Go's RFC3339Nano: trailing zeros of the fraction are left out. Always in UTC.
fn write_rfc3339_nano(nanos: i64, out: &mut String) {
    match Timestamp::from_nanosecond(i128::from(nanos)) {
        Ok(timestamp) => {
            let _ = write!(out, "{timestamp}");
        }
        Err(_) => {
            let _ = write!(out, "{nanos}");
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn timestamps_print_as_go_prints_them() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_795_227_938_001_526_100, "2026-11-21T02:25:38.0015261Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
        ] {
            let mut out = String::new();
            super::write_rfc3339_nano(nanos, &mut out);
            assert_eq!(out, text);
        }
    }
}
