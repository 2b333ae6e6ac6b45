//! Reads a text by the parts of a layout, with the tolerance and the checks of Go's `time.Parse`.

use super::civil::{self, days_in, fraction, is_leap, two_digits};
use super::element::{Element, OffsetShape, Part};
use crate::clock::UnixNanos;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time as written: a date, a time of day, and what the text said of the zone.
#[derive(Debug, Default)]
pub struct Written<'a> {
    pub year: i64,
    /// 1 to 12 after [`read`]; 0 before, if not seen.
    pub month: i64,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    /// `PM` seen: true, `AM` seen: false.
    afternoon: Option<bool>,
    utc: bool,
    offset_seconds: Option<i64>,
    zone_name: Option<&'a [u8]>,
}

/// Reads the whole of `text`, and checks that the date exists.
pub fn read<'a>(parts: &[Part], text: &'a [u8]) -> Option<Written<'a>> {
    let mut time = Written::default();
    let mut rest = text;
    for (i, part) in parts.iter().enumerate() {
        rest = skip(rest, &part.literal)?;
        let Some(element) = part.element else { break };
        rest = time.read_element(element, rest)?;
        if let Element::Second { .. } = element {
            // A fraction may follow the seconds, unless the layout's next element is one.
            let next = parts.get(i + 1).and_then(|next| next.element);
            if !matches!(next, Some(Element::FixedFraction { .. } | Element::OptionalFraction)) {
                rest = time.read_fraction(rest);
            }
        }
    }
    if !rest.is_empty() {
        return None;
    }
    time.settle().then_some(time)
}

/// `text` without the literal. A run of spaces in it stands for any number of them, none only where the text ends.
fn skip<'a>(mut text: &'a [u8], literal: &[u8]) -> Option<&'a [u8]> {
    let mut in_spaces = false;
    for byte in literal {
        if *byte != b' ' {
            text = text.strip_prefix(std::slice::from_ref(byte))?;
        } else if !in_spaces {
            let spaces = text.iter().take_while(|byte| **byte == b' ').count();
            if spaces == 0 && !text.is_empty() {
                return None;
            }
            text = &text[spaces..];
        }
        in_spaces = *byte == b' ';
    }
    Some(text)
}

impl<'a> Written<'a> {
    /// Takes one element off the start of `text`.
    fn read_element(&mut self, element: Element, text: &'a [u8]) -> Option<&'a [u8]> {
        let in_range = |read: (i64, &'a [u8]), least: i64, most: i64| (least..=most).contains(&read.0).then_some(read);
        let rest;
        match element {
            Element::Year => {
                let (digits, after) = text.split_first_chunk::<4>()?;
                self.year = two_digits(digits[0], digits[1])? * 100 + two_digits(digits[2], digits[3])?;
                rest = after;
            }
            Element::ShortYear => {
                let (digits, after) = text.split_first_chunk::<2>()?;
                let year = signed_two(*digits)?;
                self.year = if year >= 69 { 1900 + year } else { 2000 + year };
                rest = after;
            }
            Element::MonthName => (self.month, rest) = name(text, &MONTHS, usize::MAX)?,
            Element::ShortMonthName => (self.month, rest) = name(text, &MONTHS, 3)?,
            Element::Month { fixed } => (self.month, rest) = in_range(number(text, fixed)?, 1, 12)?,
            Element::DayName => (_, rest) = name(text, &DAYS, usize::MAX)?,
            Element::ShortDayName => (_, rest) = name(text, &DAYS, 3)?,
            Element::Day { fixed, padded } => {
                let unpadded = if padded { text.strip_prefix(b" ").unwrap_or(text) } else { text };
                let (day, after) = number(unpadded, fixed)?;
                self.day = Some(day);
                rest = after;
            }
            Element::YearDay { fixed } => {
                let (day, after) = year_day(text, fixed)?;
                self.year_day = Some(day);
                rest = after;
            }
            Element::Hour => (self.hour, rest) = in_range(number(text, false)?, 0, 23)?,
            Element::Hour12 { fixed } => (self.hour, rest) = in_range(number(text, fixed)?, 0, 12)?,
            Element::Minute { fixed } => (self.minute, rest) = in_range(number(text, fixed)?, 0, 59)?,
            Element::Second { fixed } => (self.second, rest) = in_range(number(text, fixed)?, 0, 59)?,
            Element::UpperHalf => rest = self.read_half(text, b"AM", b"PM")?,
            Element::LowerHalf => rest = self.read_half(text, b"am", b"pm")?,
            Element::ZoneName => rest = self.read_zone_name(text)?,
            Element::Offset { z, shape } => match text.strip_prefix(b"Z").filter(|_| z) {
                Some(after) => {
                    self.utc = true;
                    rest = after;
                }
                None => {
                    let (seconds, after) = offset(text, shape)?;
                    self.offset_seconds = Some(seconds);
                    rest = after;
                }
            },
            Element::FixedFraction { length } => (self.nanos, rest) = fixed_fraction(text, length)?,
            Element::OptionalFraction => rest = self.read_fraction(text),
        }
        Some(rest)
    }

    fn read_fraction(&mut self, text: &'a [u8]) -> &'a [u8] {
        let (nanos, rest) = fraction(text);
        if rest.len() < text.len() {
            self.nanos = nanos;
        }
        rest
    }

    fn read_half(&mut self, text: &'a [u8], morning: &[u8], afternoon: &[u8]) -> Option<&'a [u8]> {
        let (half, rest) = text.split_at_checked(2)?;
        if half == afternoon {
            self.afternoon = Some(true);
        } else if half == morning {
            self.afternoon = self.afternoon.or(Some(false));
        } else {
            return None;
        }
        Some(rest)
    }

    fn read_zone_name(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        if let Some(rest) = text.strip_prefix(b"UTC") {
            self.utc = true;
            return Some(rest);
        }
        let (name, rest) = text.split_at_checked(zone_name_length(text)?)?;
        self.zone_name = Some(name);
        Some(rest)
    }

    /// Brings hour and date into one form; false if the date doesn't exist.
    fn settle(&mut self) -> bool {
        match self.afternoon {
            Some(true) if self.hour < 12 => self.hour += 12,
            Some(false) if self.hour == 12 => self.hour = 0,
            _ => {}
        }
        if let Some(day) = self.year_day {
            let most = if is_leap(self.year) { 366 } else { 365 };
            if !(1..=most).contains(&day) {
                return false;
            }
            let mut month = 1;
            let mut rest = day;
            while rest > days_in(month, self.year) {
                rest -= days_in(month, self.year);
                month += 1;
            }
            if (self.month != 0 && self.month != month) || self.day.is_some_and(|seen| seen != rest) {
                return false;
            }
            (self.month, self.day) = (month, Some(rest));
        }
        self.month = self.month.max(1);
        let day = *self.day.get_or_insert(1);
        (1..=days_in(self.month, self.year)).contains(&day)
    }

    /// The moment, in `zone` (UTC if none) where the text names no zone of its own.
    pub fn unix_nanos(&self, zone: Option<&TimeZone>) -> Option<UnixNanos> {
        let date = (self.year, self.month, self.day.unwrap_or(1));
        let local = civil::unix_seconds(date, self.hour, self.minute, self.second);
        let offset = match (self.offset_seconds, self.zone_name) {
            _ if self.utc => 0,
            (Some(offset), _) => offset,
            // An abbreviation that the zone doesn't know counts as UTC, even one such as GMT+3.
            (None, Some(name)) => zone.and_then(|zone| offset_of_name(zone, name, local)).unwrap_or(0),
            (None, None) => zone.map_or(0, |zone| offset_of_local(zone, local)),
        };
        civil::unix_nanos(local - offset, self.nanos)
    }
}

const MONTHS: [&[u8]; 12] = [
    b"January",
    b"February",
    b"March",
    b"April",
    b"May",
    b"June",
    b"July",
    b"August",
    b"September",
    b"October",
    b"November",
    b"December",
];
const DAYS: [&[u8]; 7] = [b"Sunday", b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday"];

/// A name of the table, or the first `length` letters of it, in any case; counted from 1.
fn name<'a>(text: &'a [u8], table: &[&[u8]], length: usize) -> Option<(i64, &'a [u8])> {
    table.iter().zip(1..).find_map(|(name, index)| {
        let (word, rest) = text.split_at_checked(name.len().min(length))?;
        word.eq_ignore_ascii_case(&name[..word.len()]).then_some((index, rest))
    })
}

/// One or two digits; two if `fixed`.
fn number(text: &[u8], fixed: bool) -> Option<(i64, &[u8])> {
    match *text {
        [tens, ones, ref rest @ ..] if tens.is_ascii_digit() && ones.is_ascii_digit() => {
            two_digits(tens, ones).map(|value| (value, rest))
        }
        [digit, ref rest @ ..] if digit.is_ascii_digit() && !fixed => Some((i64::from(digit - b'0'), rest)),
        _ => None,
    }
}

/// One to three digits, three if `fixed`; else up to two spaces may come first.
fn year_day(text: &[u8], fixed: bool) -> Option<(i64, &[u8])> {
    let spaces = if fixed { 0 } else { text.iter().take(2).take_while(|byte| **byte == b' ').count() };
    let digits = &text[spaces..];
    let length = digits.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 || fixed && length != 3 {
        return None;
    }
    let value = digits[..length].iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some((value, &digits[length..]))
}

/// Two characters by Go's `atoi`, which lets one of them be a sign.
fn signed_two(text: [u8; 2]) -> Option<i64> {
    match text {
        [b'+', digit] => two_digits(b'0', digit),
        [b'-', digit] => two_digits(b'0', digit).map(|value| -value),
        [tens, ones] => two_digits(tens, ones),
    }
}

/// A separator and digits, `length` bytes in all; either separator does. A sign may come first, as Go's `atoi` has it.
fn fixed_fraction(text: &[u8], length: usize) -> Option<(i64, &[u8])> {
    let (written, rest) = text.split_at_checked(length)?;
    let [b'.' | b',', digits @ ..] = written else { return None };
    let digits = &digits[..digits.len().min(9)];
    let unsigned = match digits {
        [b'+' | b'-', unsigned @ ..] => unsigned,
        _ => digits,
    };
    let mut value = 0;
    for digit in unsigned {
        value = value * 10 + two_digits(b'0', *digit)?;
    }
    if digits.first() == Some(&b'-') && value != 0 {
        return None;
    }
    let scale = u32::try_from(9 - digits.len()).ok()?;
    Some((value * 10i64.pow(scale), rest))
}

fn offset(text: &[u8], shape: OffsetShape) -> Option<(i64, &[u8])> {
    let (written, rest) = text.split_at_checked(match shape {
        OffsetShape::Hours => 3,
        OffsetShape::HoursMinutes => 5,
        OffsetShape::HoursColonMinutes => 6,
        OffsetShape::HoursMinutesSeconds => 7,
        OffsetShape::HoursColonMinutesColonSeconds => 9,
    })?;
    let (sign, [h1, h2, m1, m2, s1, s2]) = match *written {
        [sign, h1, h2] => (sign, [h1, h2, b'0', b'0', b'0', b'0']),
        [sign, h1, h2, m1, m2] | [sign, h1, h2, b':', m1, m2] => (sign, [h1, h2, m1, m2, b'0', b'0']),
        [sign, h1, h2, m1, m2, s1, s2] | [sign, h1, h2, b':', m1, m2, b':', s1, s2] => (sign, [h1, h2, m1, m2, s1, s2]),
        _ => return None,
    };
    let (hours, minutes, seconds) = (two_digits(h1, h2)?, two_digits(m1, m2)?, two_digits(s1, s2)?);
    // More than and not at least: some people do write offsets of 24 hours or 60 minutes.
    if hours > 24 || minutes > 60 || seconds > 60 {
        return None;
    }
    let offset = hours * 3600 + minutes * 60 + seconds;
    match sign {
        b'+' => Some((offset, rest)),
        b'-' => Some((-offset, rest)),
        _ => None,
    }
}

/// How much of `text` is a zone's abbreviation: 3 capitals, 4 or 5 that end in T, a few names that break the rule, or a
/// signed number of hours.
fn zone_name_length(text: &[u8]) -> Option<usize> {
    if text.len() < 3 {
        return None;
    }
    if text.starts_with(b"ChST") || text.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(rest) = text.strip_prefix(b"GMT") {
        return Some(3 + signed_hours_length(rest).unwrap_or(0));
    }
    if matches!(text[0], b'+' | b'-') {
        return signed_hours_length(text);
    }
    let capitals = text.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count();
    let known = match capitals {
        3 => true,
        4 => text[3] == b'T' || text.starts_with(b"WITA"),
        5 => text[4] == b'T',
        _ => false,
    };
    known.then_some(capitals)
}

/// The length of a sign and a number of at most 23.
fn signed_hours_length(text: &[u8]) -> Option<usize> {
    let [b'+' | b'-', rest @ ..] = text else { return None };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = rest[..length].iter().fold(0u32, |value, digit| (value * 10 + u32::from(digit - b'0')).min(1000));
    (length > 0 && value <= 23).then_some(1 + length)
}

/// Seconds east of UTC at a moment.
fn offset_at(zone: &TimeZone, unix_seconds: i64) -> i64 {
    let moment = Timestamp::from_second(unix_seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    i64::from(zone.to_offset(moment).seconds())
}

/// The offset of a local time, given as if it were UTC. In a gap or an overlap it is the one that Go's `time.Date`
/// picks: that of the zone at the local time moved by the offset first found.
fn offset_of_local(zone: &TimeZone, local: i64) -> i64 {
    match offset_at(zone, local) {
        0 => 0,
        offset => offset_at(zone, local - offset),
    }
}

/// The offset that an abbreviation stands for in a zone, near a local time: the one in effect then if it is called
/// so, else that of the last or next time when one was.
fn offset_of_name(zone: &TimeZone, name: &[u8], local: i64) -> Option<i64> {
    let moment = Timestamp::from_second(local).ok()?;
    let named = |moment: Timestamp| {
        let info = zone.to_offset_info(moment);
        (info.abbreviation().as_bytes() == name).then(|| i64::from(info.offset().seconds()))
    };
    let earlier = zone.preceding(moment).take(TRANSITIONS_SEEN).map(|transition| transition.timestamp());
    let later = zone.following(moment).take(TRANSITIONS_SEEN).map(|transition| transition.timestamp());
    // What a transition begins is in effect from its moment on.
    std::iter::once(moment).chain(earlier).chain(later).find_map(named)
}

/// Two years of summer and winter time, either way.
const TRANSITIONS_SEEN: usize = 4;
