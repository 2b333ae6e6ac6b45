//! RFC 3339 for lines that come in the order of time: most share their second with the line before.

use super::civil::{NANOS_PER_SECOND, fraction, nine_digits, parse_rfc3339_nanos};
use crate::clock::UnixNanos;

const HEAD: usize = "2006-01-02T15:04:05".len();

/// Bytes of a time with nanoseconds, `2006-01-02T15:04:05.999999999Z`.
pub const NANOS_TEXT: usize = HEAD + ".999999999Z".len();

/// The latest second that was read, in UTC. It changes only how long it takes to read a time.
#[derive(Clone, Debug)]
pub struct LatestSecond {
    head: [u8; HEAD],
    unix_seconds: i64,
}

impl Default for LatestSecond {
    fn default() -> Self {
        LatestSecond { head: *b"1970-01-01T00:00:00", unix_seconds: 0 }
    }
}

impl LatestSecond {
    /// As [`parse_rfc3339_nanos`].
    #[inline]
    pub fn parse(&mut self, text: &[u8]) -> Option<UnixNanos> {
        self.parse_again(text).or_else(|| self.parse_anew(text))
    }

    /// As [`parse`](Self::parse), of a time in UTC within the latest second. `None` for any other.
    #[inline]
    pub fn parse_again(&self, text: &[u8]) -> Option<UnixNanos> {
        let (head, rest) = text.split_first_chunk::<HEAD>()?;
        if *head != self.head {
            return None;
        }
        match fraction(rest) {
            (nanos, b"Z") => Some(self.moment(nanos)),
            _ => None,
        }
    }

    /// As [`parse_again`](Self::parse_again), of a time with nine digits of a fraction.
    #[inline]
    pub fn parse_nanos(&self, text: &[u8; NANOS_TEXT]) -> Option<UnixNanos> {
        let (head, [b'.', nine @ .., b'Z']) = text.split_first_chunk::<HEAD>()? else { return None };
        if *head != self.head {
            return None;
        }
        Some(self.moment(nine_digits(nine.first_chunk()?)?))
    }

    #[inline]
    fn moment(&self, nanos: i64) -> UnixNanos {
        // It fitted with another fraction, and the first and the last second that fit are not kept.
        self.unix_seconds * NANOS_PER_SECOND + nanos
    }

    #[cold]
    fn parse_anew(&mut self, text: &[u8]) -> Option<UnixNanos> {
        let head = text.first_chunk()?;
        let nanos = parse_rfc3339_nanos(text)?;
        let second = nanos.div_euclid(NANOS_PER_SECOND);
        let fits = |second: i64| second.checked_mul(NANOS_PER_SECOND).is_some();
        if text.ends_with(b"Z") && fits(second - 1) && fits(second + 1) {
            *self = LatestSecond { head: *head, unix_seconds: second };
        }
        Some(nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time() -> impl Strategy<Value = String> {
        let head = prop_oneof![
            "2026-11-21T02:25:3[0-3]",
            "(1677-09-21T00:12:4[2-5]|2262-04-11T23:47:1[5-7])",
            "2026-1[0-3]-.{2}T02:25:3."
        ];
        (
            head,
            prop_oneof![r"\.[0-9]{0,11}", r"\.[0-9]{9}", "", ",[0-9]{3}", r"\.[0-9]{3}x"],
            prop_oneof![4 => Just("Z"), 1 => Just("+01:00"), 1 => Just("")],
        )
            .prop_map(|(head, fraction, zone)| head + &fraction + zone)
    }

    proptest! {
        #[test]
        fn a_time_is_read_alike_whatever_came_before(times in proptest::collection::vec(time(), 1..40)) {
            let mut latest = LatestSecond::default();
            for time in times {
                let wanted = parse_rfc3339_nanos(time.as_bytes());
                let again = latest.parse_again(time.as_bytes());
                prop_assert!(again.is_none() || again == wanted, "{}", time);
                if let Some(nanos) = time.as_bytes().as_array() {
                    prop_assert!(latest.parse_nanos(nanos).is_none_or(|nanos| Some(nanos) == wanted), "{}", time);
                }
                prop_assert_eq!(latest.parse(time.as_bytes()), wanted, "{}", time);
                // The first and the last second that fit are not remembered.
                if wanted.is_some() && time.ends_with('Z') && time.starts_with("2026") {
                    prop_assert_eq!(latest.parse_again(time.as_bytes()), wanted, "{}", time);
                }
            }
        }
    }
}
