//! A layout cut into literal text and elements of the reference time, by the rules of Go's `time` package.

/// One way in which a layout shows a part of the reference time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// `2006`
    Year,
    /// `06`
    ShortYear,
    /// `January`
    MonthName,
    /// `Jan`
    ShortMonthName,
    /// `1`, or `01` with two digits
    Month { fixed: bool },
    /// `Monday`
    DayName,
    /// `Mon`
    ShortDayName,
    /// `2`, `02` with two digits, `_2` with a space for the first
    Day { fixed: bool, padded: bool },
    /// `002` with three digits, `__2` with spaces
    YearDay { fixed: bool },
    /// `15`
    Hour,
    /// `3`, or `03` with two digits
    Hour12 { fixed: bool },
    /// `4`, or `04` with two digits
    Minute { fixed: bool },
    /// `5`, or `05` with two digits
    Second { fixed: bool },
    /// `PM`
    UpperHalf,
    /// `pm`
    LowerHalf,
    /// `MST`
    ZoneName,
    /// `-0700` and its kin; with `z`, a `Z` stands for UTC
    Offset { z: bool, shape: OffsetShape },
    /// `.000` or `,000`: so many digits, the separator counted in
    FixedFraction { length: usize },
    /// `.999` or `,999`: any number of digits, or no fraction
    OptionalFraction,
}

/// Which parts of an offset are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetShape {
    /// `-07`
    Hours,
    /// `-0700`
    HoursMinutes,
    /// `-07:00`
    HoursColonMinutes,
    /// `-070000`
    HoursMinutesSeconds,
    /// `-07:00:00`
    HoursColonMinutesColonSeconds,
}

/// Literal text and the element behind it; only a layout's last part may have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub literal: Vec<u8>,
    pub element: Option<Element>,
}

/// Cuts a layout. The last part has no element.
pub fn parts(layout: &str) -> Vec<Part> {
    let layout = layout.as_bytes();
    let mut parts = Vec::new();
    let mut literal = Vec::new();
    let mut at = 0;
    while at < layout.len() {
        match element_at(&layout[at..]) {
            Some((element, length)) => {
                parts.push(Part { literal: std::mem::take(&mut literal), element: Some(element) });
                at += length;
            }
            None => {
                literal.push(layout[at]);
                at += 1;
            }
        }
    }
    parts.push(Part { literal, element: None });
    parts
}

/// The element that `text` begins with, and its length.
fn element_at(text: &[u8]) -> Option<(Element, usize)> {
    let fixed_text = |table: &[(&[u8], Element)]| {
        table.iter().find(|(spelling, _)| text.starts_with(spelling)).map(|(spelling, e)| (*e, spelling.len()))
    };
    match text[0] {
        b'J' => {
            // A short name that goes on in lower case is another word.
            fixed_text(&[(b"January", Element::MonthName)])
                .or_else(|| short_name(text, b"Jan", Element::ShortMonthName))
        }
        b'M' => fixed_text(&[(b"Monday", Element::DayName), (b"MST", Element::ZoneName)])
            .or_else(|| short_name(text, b"Mon", Element::ShortDayName)),
        // An underscore and the year, not a padded day and "006".
        b'_' if text.starts_with(b"_2006") => None,
        b'0'..=b'9' | b'_' => fixed_text(NUMBERS),
        b'P' => fixed_text(&[(b"PM", Element::UpperHalf)]),
        b'p' => fixed_text(&[(b"pm", Element::LowerHalf)]),
        b'-' | b'Z' => OFFSETS
            .iter()
            .find(|(digits, _)| text[1..].starts_with(digits))
            .map(|(digits, shape)| (Element::Offset { z: text[0] == b'Z', shape: *shape }, 1 + digits.len())),
        b'.' | b',' => fraction(text),
        _ => None,
    }
}

/// Longer spellings stand before those that they begin with.
const NUMBERS: &[(&[u8], Element)] = &[
    (b"002", Element::YearDay { fixed: true }),
    (b"01", Element::Month { fixed: true }),
    (b"02", Element::Day { fixed: true, padded: false }),
    (b"03", Element::Hour12 { fixed: true }),
    (b"04", Element::Minute { fixed: true }),
    (b"05", Element::Second { fixed: true }),
    (b"06", Element::ShortYear),
    (b"15", Element::Hour),
    (b"1", Element::Month { fixed: false }),
    (b"2006", Element::Year),
    (b"2", Element::Day { fixed: false, padded: false }),
    (b"3", Element::Hour12 { fixed: false }),
    (b"4", Element::Minute { fixed: false }),
    (b"5", Element::Second { fixed: false }),
    (b"__2", Element::YearDay { fixed: false }),
    (b"_2", Element::Day { fixed: false, padded: true }),
];

const OFFSETS: [(&[u8], OffsetShape); 5] = [
    (b"070000", OffsetShape::HoursMinutesSeconds),
    (b"07:00:00", OffsetShape::HoursColonMinutesColonSeconds),
    (b"0700", OffsetShape::HoursMinutes),
    (b"07:00", OffsetShape::HoursColonMinutes),
    (b"07", OffsetShape::Hours),
];

fn short_name(text: &[u8], name: &[u8], element: Element) -> Option<(Element, usize)> {
    let rest = text.strip_prefix(name)?;
    (!rest.first().is_some_and(u8::is_ascii_lowercase)).then_some((element, name.len()))
}

/// A separator and a run of one digit, 0 or 9, that no other digit follows.
fn fraction(text: &[u8]) -> Option<(Element, usize)> {
    let digit = *text.get(1).filter(|digit| matches!(digit, b'0' | b'9'))?;
    let length = 1 + text[1..].iter().take_while(|byte| **byte == digit).count();
    if text.get(length).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let element = if digit == b'0' { Element::FixedFraction { length } } else { Element::OptionalFraction };
    Some((element, length))
}
