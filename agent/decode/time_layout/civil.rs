//! The proleptic Gregorian calendar, and RFC 3339 by fixed positions.

use crate::clock::UnixNanos;
use crate::words;

pub const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

pub fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month, 1 to 12.
pub fn days_in(month: i64, year: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date; `day` may lie outside its month. Counted in years that begin in March, so that a
/// leap day is the last of its year.
pub fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days_before_year = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days_before_year + day_of_year - EPOCH_DAYS
}

/// From the 1st of March of year 0 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// The year and month in UTC of a moment in seconds since 1970.
pub fn year_and_month(unix_seconds: i64) -> (i64, i64) {
    let days = unix_seconds.div_euclid(SECONDS_PER_DAY);
    let mut year = 1970 + days.div_euclid(365);
    while days_since_epoch(year, 1, 1) > days {
        year -= 1;
    }
    while days_since_epoch(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days_since_epoch(year, *month, 1) <= days).unwrap_or(1);
    (year, month)
}

/// Seconds since 1970 of a date and a time of day, read as UTC.
pub fn unix_seconds(date: (i64, i64, i64), hour: i64, minute: i64, second: i64) -> i64 {
    days_since_epoch(date.0, date.1, date.2) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second
}

/// Nanoseconds since 1970 if they fit into 64 bits.
pub fn unix_nanos(unix_seconds: i64, nanos: i64) -> Option<UnixNanos> {
    // Not in one step: the seconds alone of the first moments that fit don't.
    i64::try_from(i128::from(unix_seconds) * i128::from(NANOS_PER_SECOND) + i128::from(nanos)).ok()
}

/// `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±hh:mm)` as nanoseconds since 1970: container runtimes' timestamps.
///
/// Accepts what Go's RFC3339Nano accepts, but for an hour of one digit. Digits past the ninth of a fraction are cut off;
/// `None` for anything else, and for a time outside the years 1677 to 2262.
pub fn parse_rfc3339_nanos(text: &[u8]) -> Option<UnixNanos> {
    let (head, rest) = text.split_first_chunk::<19>()?;
    if (head[4], head[7], head[10], head[13], head[16]) != (b'-', b'-', b'T', b':', b':') {
        return None;
    }
    let year = two_digits(head[0], head[1])? * 100 + two_digits(head[2], head[3])?;
    let month = two_digits(head[5], head[6])?;
    let day = two_digits(head[8], head[9])?;
    let hour = two_digits(head[11], head[12])?;
    let minute = two_digits(head[14], head[15])?;
    let second = two_digits(head[17], head[18])?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in(month, year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, rest) = fraction(rest);
    let offset = match *rest {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two_digits(h1, h2)?, two_digits(m1, m2)?);
            // Go lets offsets of 24 hours and 60 minutes pass, because people write them.
            if hours > 24 || minutes > 60 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    unix_nanos(unix_seconds((year, month, day), hour, minute, second) - offset, nanos)
}

/// A fraction of a second at the start of `text`, 0 if there is none, in nanoseconds; and what follows it.
pub fn fraction(text: &[u8]) -> (i64, &[u8]) {
    let [b'.' | b',', digits @ ..] = text else { return (0, text) };
    // As many as a clock of nanoseconds writes nearly always.
    if let Some((nine, rest)) = digits.split_first_chunk::<9>()
        && let Some(number) = nine_digits(nine)
        && !rest.first().is_some_and(u8::is_ascii_digit)
    {
        return (number, rest);
    }
    // Zeros at the end are left out by most.
    if let Some(word) = words::word(digits.get(..8).unwrap_or(digits)) {
        let number = word ^ 0x3030_3030_3030_3030;
        let length = words::above_nine(number).trailing_zeros() / 8;
        if (1..8).contains(&length) || length == 8 && !digits.get(8).is_some_and(u8::is_ascii_digit) {
            // Those that are missing read as zeros.
            let number = number & (u64::MAX >> (64 - 8 * length));
            return (words::eight_digits(number) as i64 * 10, &digits[length as usize..]);
        }
    }
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let counted = &digits[..length.min(9)];
    let number = counted.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    let nanos = number * 10_i64.pow(9 - counted.len() as u32);
    if length == 0 { (0, text) } else { (nanos, &digits[length..]) }
}

/// The number that nine digits are: eight of them at once.
#[inline]
pub fn nine_digits(digits: &[u8; 9]) -> Option<i64> {
    let (eight, [last]) = digits.split_first_chunk::<8>()? else { return None };
    let (eight, last) = (u64::from_le_bytes(*eight) ^ 0x3030_3030_3030_3030, last.wrapping_sub(b'0'));
    (words::above_nine(eight) == 0 && last <= 9).then(|| words::eight_digits(eight) as i64 * 10 + i64::from(last))
}

pub fn two_digits(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens) * 10 + i64::from(ones))
}
