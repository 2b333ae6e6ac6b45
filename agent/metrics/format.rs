//! Which exposition format a scraper gets.

/// A format of the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format.
    Text004,
    OpenMetrics100,
    /// The same bytes for scrapers of 2018 to 2020 (Prometheus 2.5 to 2.22), which ask for the draft by its version.
    OpenMetrics001,
}

impl Format {
    /// The most wanted format that an `Accept` header names, by its q-values; of equals the first. Text where the
    /// header is empty or names nothing that weir has: a page that a person can read beats a 406.
    pub fn negotiate(accept: &str) -> Format {
        let mut best = (Format::Text004, 0.0);
        for range in accept.split(',') {
            if let Some((format, quality)) = parse_range(range)
                && quality > best.1
            {
                best = (format, quality);
            }
        }
        best.0
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics100 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::OpenMetrics001 => "application/openmetrics-text; version=0.0.1; charset=utf-8",
        }
    }

    pub(super) fn is_open_metrics(self) -> bool {
        self != Format::Text004
    }
}

fn parse_range(range: &str) -> Option<(Format, f64)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let (mut version, mut quality) = (None, 1.0);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match name.trim().to_ascii_lowercase().as_str() {
            "version" => version = Some(value.trim().trim_matches('"')),
            // A weight that is no number is not a wish.
            "q" => quality = value.trim().parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
            _ => {}
        }
    }
    let format = match (media.as_str(), version) {
        ("application/openmetrics-text", None | Some("1.0.0")) => Format::OpenMetrics100,
        ("application/openmetrics-text", Some("0.0.1")) => Format::OpenMetrics001,
        ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Format::Text004,
        _ => return None,
    };
    Some((format, quality))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_decides_by_quality() {
        use Format::*;
        for (accept, format) in [
            ("", Text004),
            ("*/*", Text004),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Text004),
            ("image/png", Text004),
            ("text/plain", Text004),
            // Prometheus 3.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics100,
            ),
            // Prometheus 3 with native histograms.
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
                 application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3",
                OpenMetrics100,
            ),
            // Prometheus 2.5 to 2.22.
            ("application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OpenMetrics001),
            ("text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8", Text004),
            ("text/plain;q=0.5, Application/OpenMetrics-Text; Version=\"1.0.0\" ; Q=0.8", OpenMetrics100),
            ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", Text004),
            ("application/openmetrics-text;q=0", Text004),
            ("application/openmetrics-text;q=x", Text004),
            (";;;,=,;q=,", Text004),
        ] {
            assert_eq!(Format::negotiate(accept), format, "{accept}");
        }
    }
}
