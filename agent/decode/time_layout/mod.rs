//! Times written by Go's reference layouts, as Promtail's `timestamp` stage reads them.
//!
//! A format is one of the names that Promtail knows, or a layout that shows how Go's reference time
//! (`Mon Jan 2 15:04:05 MST 2006`) would be written. What is accepted, ranges and oddities included, is what Go's
//! `time.ParseInLocation` accepts. Differences, all in results that no log wants:
//! - a time that doesn't fit into 64 bits of nanoseconds (years 1677 to 2262) is no time;
//! - a year-less layout with a zone abbreviation and a location is read in the current year's zone, where Promtail
//!   shifts by the local mean time of year 0;
//! - the machine's local zone, which Go looks at for abbreviations where no location is set, is taken to be UTC.

mod civil;
mod element;
mod latest;
mod reader;
#[cfg(test)]
mod tests;

pub use civil::parse_rfc3339_nanos;
pub use latest::{LatestSecond, NANOS_TEXT};

use crate::clock::UnixNanos;
use civil::{NANOS_PER_SECOND, year_and_month};
use element::Part;
use jiff::tz::TimeZone;

/// A compiled format.
#[derive(Clone, Debug)]
pub struct Layout(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// Seconds, as an integer or with a decimal fraction.
    UnixSeconds,
    /// An integer in units of so many nanoseconds.
    UnixUnits(i64),
    /// RFC 3339, by the fast reader; what that refuses, the general one decides.
    Rfc3339(Vec<Part>),
    /// A named layout. Promtail doesn't apply the location to these.
    Named(Vec<Part>),
    Custom(Vec<Part>),
    /// A custom layout without a year.
    Yearless(Vec<Part>),
}

/// What a time is read against.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The stage's `location`; UTC if none. Used by custom layouts alone, as in Promtail.
    pub zone: Option<TimeZone>,
    /// Wall-clock time, for layouts without a year.
    pub now: UnixNanos,
}

const NAMED: [(&str, &str); 10] = [
    ("ANSIC", "Mon Jan _2 15:04:05 2006"),
    ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
    ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("RFC3339", "2006-01-02T15:04:05Z07:00"),
    ("RFC3339Nano", "2006-01-02T15:04:05.999999999Z07:00"),
];

impl Layout {
    /// Compiles a format. The one error is an empty format; any other text is a layout, if perhaps one that shows no
    /// part of the time ([`Layout::is_constant`]).
    pub fn compile(format: &str) -> Result<Layout, String> {
        let kind = match format {
            "" => return Err("a time format is required".to_owned()),
            "Unix" => Kind::UnixSeconds,
            "UnixMs" => Kind::UnixUnits(1_000_000),
            "UnixUs" => Kind::UnixUnits(1_000),
            "UnixNs" => Kind::UnixUnits(1),
            _ => match NAMED.iter().find(|(name, _)| *name == format) {
                Some((name, layout)) if name.starts_with("RFC3339") => Kind::Rfc3339(element::parts(layout)),
                Some((_, layout)) => Kind::Named(element::parts(layout)),
                // Promtail's own test, by text: "06" anywhere passes for a year.
                None if format.contains("06") => Kind::Custom(element::parts(format)),
                None => Kind::Yearless(element::parts(format)),
            },
        };
        Ok(Layout(kind))
    }

    /// Whether the layout shows no part of the reference time (`yyyy-MM-dd`), so that only a text equal to it would
    /// parse: a mistake worth a warning.
    pub fn is_constant(&self) -> bool {
        match &self.0 {
            Kind::Custom(parts) | Kind::Yearless(parts) => parts.iter().all(|part| part.element.is_none()),
            _ => false,
        }
    }

    /// Whether the layout has no year, so that [`Context::now`] decides it.
    pub fn is_yearless(&self) -> bool {
        matches!(self.0, Kind::Yearless(_))
    }

    /// Reads a time. `None` if the text doesn't follow the layout, or the time doesn't fit into 64 bits.
    pub fn parse(&self, text: &[u8], context: &Context) -> Option<UnixNanos> {
        match &self.0 {
            Kind::UnixSeconds => parse_unix_seconds(text),
            Kind::UnixUnits(unit_nanos) => parse_integer(text)?.checked_mul(*unit_nanos),
            Kind::Rfc3339(parts) => parse_rfc3339_nanos(text).or_else(|| reader::read(parts, text)?.unix_nanos(None)),
            Kind::Named(parts) => reader::read(parts, text)?.unix_nanos(None),
            Kind::Custom(parts) => reader::read(parts, text)?.unix_nanos(context.zone.as_ref()),
            Kind::Yearless(parts) => {
                let mut time = reader::read(parts, text)?;
                // The layout may hold a year that is not spelled "06", such as none: Go leaves it 0.
                (time.year == 0).then_some(())?;
                let (year, month) = year_and_month(context.now.div_euclid(NANOS_PER_SECOND));
                let correction = match (time.month, month) {
                    (12, 1) => -1,
                    (1, 12) => 1,
                    _ => 0,
                };
                // Year 0 is a leap year; the 29th of February becomes the 1st of March in others.
                time.year = year + correction;
                time.unix_nanos(context.zone.as_ref())
            }
        }
    }
}

/// `sec` or `sec.frac`. The fraction is scaled in floating point, as Promtail does it.
fn parse_unix_seconds(text: &[u8]) -> Option<UnixNanos> {
    let (seconds, nanos) = match memchr::memchr(b'.', text) {
        None => (parse_integer(text)?, 0),
        Some(dot) => {
            let fraction = &text[dot + 1..];
            let scale = 10f64.powi(9 - i32::try_from(fraction.len()).ok()?);
            (parse_integer(&text[..dot])?, (parse_integer(fraction)? as f64 * scale) as i64)
        }
    };
    seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos)
}

/// Go's `strconv.ParseInt(text, 10, 64)`: an optional sign and digits.
fn parse_integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
