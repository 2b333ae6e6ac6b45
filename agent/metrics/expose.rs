//! The exposition formats: lines of text, written family by family.
//!
//! Text 0.0.4 and OpenMetrics 1.0 differ here in the name of a counter family, in the escaping of help, in how a bucket's
//! bound and a float look, and in the closing line. `_created` lines are left out: Prometheus takes them for series.

use super::format::Format;
use super::number::{Number, append_float, append_whole};
use std::io::{self, Write};

/// Bytes gathered before they are handed on.
const CHUNK_BYTES: usize = 32 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// Writes one page, in chunks. After an error of the writer nothing more is written; `finish` returns it.
pub(super) struct Page<'w> {
    out: &'w mut dyn Write,
    error: Option<io::Error>,
    format: Format,
    chunk: Vec<u8>,
    /// The family's name as its samples carry it.
    name: String,
    /// `a="b",c="d"` of the present series.
    labels: Vec<u8>,
}

impl<'w> Page<'w> {
    pub fn new(format: Format, out: &'w mut dyn Write) -> Page<'w> {
        let chunk = Vec::with_capacity(CHUNK_BYTES + 4096);
        Page { out, error: None, format, chunk, name: String::new(), labels: Vec::new() }
    }

    /// Starts a family. `stem_is_free` tells that no other family of the page is called like this one without
    /// `_total`.
    ///
    /// OpenMetrics knows a counter family by its name without `_total` and demands the suffix on the sample. A
    /// counter called otherwise (Promtail's users name theirs as they like) goes out as `unknown`, as in Go's client:
    /// renaming it would give the series another name in each of the two formats.
    pub fn family(&mut self, name: &str, help: &str, kind: Type, stem_is_free: bool) {
        let (mut title, mut word) = match kind {
            Type::Counter => (name, "counter"),
            Type::Gauge => (name, "gauge"),
            Type::Histogram => (name, "histogram"),
        };
        if self.format.is_open_metrics() && kind == Type::Counter {
            match name.strip_suffix("_total").filter(|stem| stem_is_free && !stem.is_empty()) {
                Some(stem) => title = stem,
                None => word = "unknown",
            }
        }
        name.clone_into(&mut self.name);
        if !help.is_empty() {
            self.chunk.extend_from_slice(format!("# HELP {title} ").as_bytes());
            escape(&mut self.chunk, help.as_bytes(), self.format.is_open_metrics());
            self.chunk.push(b'\n');
        }
        self.chunk.extend_from_slice(format!("# TYPE {title} {word}\n").as_bytes());
    }

    /// Starts a series.
    pub fn series<'l>(&mut self, labels: impl Iterator<Item = (&'l str, &'l [u8])>) {
        self.labels.clear();
        for (name, value) in labels {
            if !self.labels.is_empty() {
                self.labels.push(b',');
            }
            self.labels.extend_from_slice(name.as_bytes());
            self.labels.extend_from_slice(b"=\"");
            escape(&mut self.labels, value, true);
            self.labels.push(b'"');
        }
    }

    /// The sample of a counter or gauge.
    pub fn sample(&mut self, value: Number) {
        self.line("", None, value);
    }

    /// All samples of a histogram. The counts are cumulative; the one of `+Inf` is the total.
    pub fn histogram(&mut self, buckets: impl Iterator<Item = (f64, u64)>, sum: f64) {
        let mut total = 0;
        for (bound, count) in buckets {
            self.line("_bucket", Some(bound), Number::Whole(count));
            total = count;
        }
        self.line("_sum", None, Number::Float(sum));
        self.line("_count", None, Number::Whole(total));
    }

    /// Ends the page.
    pub fn finish(mut self) -> io::Result<()> {
        if self.format.is_open_metrics() {
            self.chunk.extend_from_slice(b"# EOF\n");
        }
        self.hand_on();
        match self.error {
            None => self.out.flush(),
            Some(error) => Err(error),
        }
    }

    fn line(&mut self, suffix: &str, bound: Option<f64>, value: Number) {
        let to = &mut self.chunk;
        to.extend_from_slice(self.name.as_bytes());
        to.extend_from_slice(suffix.as_bytes());
        if !self.labels.is_empty() || bound.is_some() {
            to.push(b'{');
            to.extend_from_slice(&self.labels);
            if let Some(bound) = bound {
                to.extend_from_slice(if self.labels.is_empty() { b"le=\"" } else { b",le=\"" });
                append_number(to, Number::Float(bound), self.format);
                to.push(b'"');
            }
            to.push(b'}');
        }
        to.push(b' ');
        append_number(to, value, self.format);
        to.push(b'\n');
        if self.chunk.len() >= CHUNK_BYTES {
            self.hand_on();
        }
    }

    fn hand_on(&mut self) {
        if self.error.is_none() {
            self.error = self.out.write_all(&self.chunk).err();
        }
        self.chunk.clear();
    }
}

/// OpenMetrics marks a float as one: its canonical `le` is "1.0" where text 0.0.4 has "1".
fn append_number(to: &mut Vec<u8>, number: Number, format: Format) {
    match number {
        Number::Whole(n) => append_whole(to, n),
        Number::Float(x) => {
            let start = to.len();
            append_float(to, x);
            if format.is_open_metrics() && to[start..].iter().all(|b| b.is_ascii_digit() || *b == b'-') {
                to.extend_from_slice(b".0");
            }
        }
    }
}

/// Escapes backslash and newline, and the quote where asked to.
fn escape(to: &mut Vec<u8>, mut text: &[u8], quotes: bool) {
    while let Some(at) = text.iter().position(|b| matches!(b, b'\\' | b'\n') || (quotes && *b == b'"')) {
        to.extend_from_slice(&text[..at]);
        to.push(b'\\');
        to.push(if text[at] == b'\n' { b'n' } else { text[at] });
        text = &text[at + 1..];
    }
    to.extend_from_slice(text);
}
