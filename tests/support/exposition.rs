//! A strict reader of Prometheus' text format 0.0.4 and of OpenMetrics 1.0 text, for tests.
//!
//! Written from the two specifications and not from the encoder. It takes only what weir should write: no timestamps,
//! no exemplars, no spaces where none are needed, a type for every family, families in one piece.
#![allow(dead_code)]

use std::collections::{BTreeMap, HashSet};

#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    pub name: String,
    /// `counter`, `gauge`, `histogram`; in OpenMetrics also `unknown`.
    pub kind: String,
    pub help: Option<String>,
    pub samples: Vec<Sample>,
}

pub type Labels = Vec<(String, String)>;

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    /// In the order of the page, unescaped.
    pub labels: Labels,
    pub value: f64,
    /// The value as written.
    pub text: String,
}

pub fn parse_text(page: &[u8]) -> Result<Vec<Family>, String> {
    Reader::new(false).read(page)
}

pub fn parse_open_metrics(page: &[u8]) -> Result<Vec<Family>, String> {
    Reader::new(true).read(page)
}

struct Reader {
    open_metrics: bool,
    families: Vec<Family>,
    names: HashSet<String>,
    /// Sample names with their labels, but those without a value.
    seen: HashSet<(String, BTreeMap<String, String>)>,
    /// A HELP line that waits for its TYPE.
    help: Option<(String, String)>,
    ended: bool,
}

impl Reader {
    fn new(open_metrics: bool) -> Reader {
        let (families, names, seen) = (Vec::new(), HashSet::new(), HashSet::new());
        Reader { open_metrics, families, names, seen, help: None, ended: false }
    }

    fn read(mut self, page: &[u8]) -> Result<Vec<Family>, String> {
        let page = std::str::from_utf8(page).map_err(|e| format!("not UTF-8: {e}"))?;
        if !page.is_empty() && !page.ends_with('\n') {
            return Err("the last line does not end".into());
        }
        for (number, line) in page.split_terminator('\n').enumerate() {
            self.line(line).map_err(|why| format!("line {}: {why}: {line:?}", number + 1))?;
        }
        if self.open_metrics && !self.ended {
            return Err("no # EOF".into());
        }
        if self.help.is_some() {
            return Err("HELP without TYPE at the end".into());
        }
        self.close_family()?;
        Ok(self.families)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if self.ended {
            return Err("after # EOF".into());
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').ok_or("HELP without a text")?;
            if self.help.is_some() {
                return Err("HELP after HELP".into());
            }
            self.close_family()?;
            self.help = Some((name.into(), unescape(text, self.open_metrics)?));
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("TYPE without a type")?;
            return self.open_family(name, kind);
        }
        if line == "# EOF" && self.open_metrics {
            self.ended = true;
            return Ok(());
        }
        if line.starts_with('#') || line.is_empty() {
            return Err("neither HELP, TYPE nor a sample".into());
        }
        self.sample(line)
    }

    fn open_family(&mut self, name: &str, kind: &str) -> Result<(), String> {
        let help = match self.help.take() {
            Some((of, text)) if of == name => Some(text),
            Some((of, _)) => return Err(format!("HELP of {of} before TYPE of {name}")),
            None => {
                self.close_family()?;
                None
            }
        };
        if !is_name(name, true) {
            return Err("bad metric name".into());
        }
        let known = matches!(kind, "counter" | "gauge" | "histogram") || (kind == "unknown" && self.open_metrics);
        if !known {
            return Err("bad type".into());
        }
        if self.open_metrics && kind == "counter" && name.ends_with("_total") {
            return Err("a counter family that ends in _total".into());
        }
        if !self.names.insert(name.into()) {
            return Err("a family in two pieces".into());
        }
        self.families.push(Family { name: name.into(), kind: kind.into(), help, samples: Vec::new() });
        Ok(())
    }

    fn close_family(&self) -> Result<(), String> {
        match self.families.last() {
            Some(family) if family.samples.is_empty() => Err(format!("the family {} has no sample", family.name)),
            Some(family) if family.kind == "histogram" => check_histogram(family, self.open_metrics),
            _ => Ok(()),
        }
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        if self.help.is_some() {
            return Err("a sample between HELP and TYPE".into());
        }
        let family = self.families.last_mut().ok_or("a sample before any TYPE")?;
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            (labels, rest) = parse_labels(inner)?;
        }
        let text = rest.strip_prefix(' ').ok_or("no space before the value")?;
        let value = parse_float(text)?;
        let suffix = name.strip_prefix(family.name.as_str()).ok_or("a sample of another family")?;
        let fits = match (family.kind.as_str(), suffix) {
            ("counter", "_total") => self.open_metrics,
            ("counter", "") => !self.open_metrics,
            ("gauge" | "unknown", "") | ("histogram", "_bucket" | "_sum" | "_count") => true,
            _ => false,
        };
        if !fits {
            return Err(format!("a {} has no such sample", family.kind));
        }
        if family.kind == "counter" && !(0.0..f64::INFINITY).contains(&value) {
            return Err("a counter below 0 or not finite".into());
        }
        let mut identity = BTreeMap::new();
        for (label, value) in &labels {
            if !is_name(label, false) || identity.insert(label.clone(), value.clone()).is_some() {
                return Err(format!("bad or repeated label {label}"));
            }
        }
        identity.retain(|_, value| !value.is_empty());
        if !self.seen.insert((name.into(), identity)) {
            return Err("a series twice".into());
        }
        family.samples.push(Sample { name: name.into(), labels, value, text: text.into() });
        Ok(())
    }
}

/// Labels up to the closing brace, and what follows it.
fn parse_labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = Vec::new();
    loop {
        let (name, value) = rest.split_once("=\"").ok_or("a label without =\"")?;
        let mut escaped = false;
        let end = value
            .find(|c| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            })
            .ok_or("a label value without its closing quote")?;
        labels.push((name.into(), unescape(&value[..end], true)?));
        match value[end + 1..].split_at_checked(1) {
            Some((",", next)) => rest = next,
            Some(("}", next)) => return Ok((labels, next)),
            _ => return Err("neither , nor } after a label".into()),
        }
    }
}

/// Backslash, newline and (where asked) the quote are escaped, nothing else is, and none of them stands bare.
fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quotes => '"',
                other => return Err(format!("bad escape \\{other:?}")),
            },
            '"' if quotes => return Err("a bare quote".into()),
            c => c,
        });
    }
    Ok(out)
}

fn is_name(name: &str, colons: bool) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(fits)
}

/// Go's spelling: no `inf`, `nan` or `infinity` of Rust's.
fn parse_float(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        _ if text.bytes().all(|b| b.is_ascii_digit() || b"+-.e".contains(&b)) => {
            text.parse().map_err(|e| format!("bad number {text}: {e}"))
        }
        _ => Err(format!("bad number {text}")),
    }
}

/// Each label set has its buckets in ascending order, cumulative, closed by `+Inf`, then `_sum` and `_count`.
fn check_histogram(family: &Family, open_metrics: bool) -> Result<(), String> {
    let mut samples = family.samples.iter().peekable();
    let fail = |why: &str| Err(format!("histogram {}: {why}", family.name));
    while samples.peek().is_some() {
        let (mut last, mut labels, mut bound) = (0.0, None, f64::NEG_INFINITY);
        while let Some(sample) = samples.next_if(|sample| sample.name.ends_with("_bucket")) {
            let (le, others): (Vec<_>, Vec<_>) = sample.labels.iter().partition(|(name, _)| name == "le");
            let [(_, le)] = le.as_slice() else { return fail("a bucket without le") };
            if labels.get_or_insert_with(|| others.clone()) != &others {
                return fail("buckets of two series mixed, or no +Inf");
            }
            let marked = le.contains(['.', 'e', 'I']);
            if (open_metrics && !marked) || (!open_metrics && le.ends_with(".0")) {
                return fail("le is not canonical");
            }
            let upper = parse_float(le)?;
            if upper.is_nan() || upper <= bound || sample.value < last {
                return fail("buckets do not ascend");
            }
            (bound, last) = (upper, sample.value);
        }
        if bound != f64::INFINITY {
            return fail("no bucket +Inf");
        }
        let labels = labels.unwrap_or_default();
        for suffix in ["_sum", "_count"] {
            let Some(sample) = samples.next().filter(|sample| sample.name == format!("{}{suffix}", family.name)) else {
                return fail("no _sum or no _count");
            };
            if !sample.labels.iter().eq(labels.iter().copied()) || (suffix == "_count" && sample.value != last) {
                return fail("_sum or _count do not fit the buckets");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTOGRAM: &str =
        "# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 1.5\nh_count 2\n";

    #[test]
    fn what_is_right_is_read() {
        let page =
            format!("# HELP a He said \"\\\\\"\n# TYPE a counter\na 1\na{{b=\"x\\n\\\"\",c=\"\"}} 2e+06\n{HISTOGRAM}");
        let families = parse_text(page.as_bytes()).unwrap();
        assert_eq!(families[0].help.as_deref(), Some("He said \"\\\""));
        assert_eq!(families[0].samples[1].labels[0].1, "x\n\"");
        assert_eq!(families[0].samples[1].value, 2e6);
        assert_eq!(families[1].samples.len(), 4);
        parse_open_metrics(
            format!("# TYPE a counter\na_total 1\n# TYPE b unknown\nb 1\n{HISTOGRAM}# EOF\n").as_bytes(),
        )
        .unwrap();
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let gauge = "# TYPE a gauge\n";
        for (rest, why) in [
            ("a 1", "does not end"),
            ("a 1\na 2\n", "a series twice"),
            ("a{b=\"\"} 1\na 2\n", "a series twice"),
            ("a{b=\"1\",b=\"2\"} 1\n", "repeated label"),
            ("a{b=\"1\",} 1\n", "without =\""),
            ("a{b=\"\\t\"} 1\n", "bad escape"),
            ("a{b=\"1} 1\n", "closing quote"),
            ("a{1=\"1\"} 1\n", "bad or repeated label"),
            ("a{} 1\n", "without =\""),
            ("a 1 1700000000\n", "bad number"),
            ("a inf\n", "bad number"),
            ("a  1\n", "bad number"),
            ("b 1\n", "another family"),
            ("a_total 1\n", "no such sample"),
            ("\na 1\n", "neither"),
            ("", "has no sample"),
            ("a 1\n# TYPE b gauge\nb 1\n# TYPE a gauge\na{x=\"1\"} 1\n", "in two pieces"),
            ("a 1\n# HELP b x\n", "HELP without TYPE"),
            ("a 1\n# HELP b x\n# TYPE c gauge\nc 1\n", "HELP of b"),
            ("a 1\n# TYPE b summary\nb 1\n", "bad type"),
            ("a 1\n# TYPE b counter\nb -1\n", "below 0"),
            ("a 1\n# EOF\n", "neither"),
            ("a 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n", "no bucket +Inf"),
            ("a 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n", "ascend"),
            (
                "a 1\n# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
                "canonical",
            ),
            ("a 1\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 2\n", "do not fit"),
            ("a 1\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 1\n", "no _sum"),
        ] {
            let error = parse_text(format!("{gauge}{rest}").as_bytes()).expect_err(rest);
            assert!(error.contains(why), "{rest:?}: {error}");
        }
        assert!(parse_text(b"# TYPE a gauge\na{b=\"\xff\"} 1\n").unwrap_err().contains("UTF-8"));
        for (page, why) in [
            ("# TYPE a gauge\na 1\n", "no # EOF"),
            ("# TYPE a gauge\na 1\n# EOF\n# EOF\n", "after # EOF"),
            ("# TYPE a_total counter\na_total 1\n# EOF\n", "ends in _total"),
            ("# TYPE a counter\na 1\n# EOF\n", "no such sample"),
            ("# HELP a \"\n# TYPE a gauge\na 1\n# EOF\n", "bare quote"),
            (
                "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n# EOF\n",
                "canonical",
            ),
        ] {
            let error = parse_open_metrics(page.as_bytes()).expect_err(page);
            assert!(error.contains(why), "{page:?}: {error}");
        }
    }
}
