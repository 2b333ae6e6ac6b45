//! Numbers as Go reads and prints them. Promtail holds every number as a float64, so its labels, comparisons and
//! metrics see what `strconv` makes of the text: `1e6` becomes the label `1000000`, and `"0x1p-2"` counts as 0.25.

use crate::words;
use std::io::Write;

/// `strconv.FormatFloat(value, 'f', -1, 64)`: the shortest digits that read back as `value`, never an exponent.
pub fn write_f64(value: f64, out: &mut Vec<u8>) {
    // Below 2^53 every whole number has exactly its integer's digits.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if value.abs() < WHOLE && value.fract() == 0.0 && (value != 0.0 || value.is_sign_positive()) {
        write!(out, "{}", value as i64).expect("writing into memory cannot fail");
    } else {
        let start = out.len();
        write!(out, "{value}").expect("writing into memory cannot fail");
        prefer_even(value, start, out);
    }
}

/// Of two shortest texts at the same distance from `value` Rust has written the greater one at `start`; Go takes the
/// one whose last digit is even. There are such only among texts of sixteen digits and more with a point.
fn prefer_even(value: f64, start: usize, out: &mut Vec<u8>) {
    let len = out.len() - start;
    let Some(point) = out[start..].iter().position(|byte| *byte == b'.').filter(|_| len > 16) else { return };
    let decimals = len - point;
    // With a tie the exact value has one digit more than the lower text, a 5. As many binary places are then enough.
    let fraction = (value * f64::powi(2.0, decimals.min(1_000) as i32)).fract();
    if out[start + len - 1].is_multiple_of(2) || fraction != 0.0 {
        return;
    }
    write!(out, "{value:.decimals$}").expect("writing into memory cannot fail");
    let (text, exact) = out[start..].split_at_mut(len);
    if exact.len() == len + 1 && exact[..len - 1] == text[..len - 1] && exact[len - 1..] == [text[len - 1] - 1, b'5'] {
        text[len - 1] -= 1;
    }
    out.truncate(start + len);
}

/// `strconv.ParseFloat(text, 64)`: decimal and hexadecimal floats, `inf`, `infinity` and `nan` in any case. `None`
/// where Go reports an error, out of range included. An underscore may stand between two digits: `1_000`.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    parse_eight(text).or_else(|| parse_longer(text))
}

/// As [`parse_f64`], of what stands behind the first `start` bytes of a text: with eight bytes at hand, most of them in
/// front of the number, it is read in one piece. `start` is not behind the end.
#[inline]
pub fn parse_f64_from(text: &[u8], start: usize) -> Option<f64> {
    let length = text.len() - start;
    if let Some(eight) = text.last_chunk()
        && (1..=8).contains(&length)
        && let Some(number) = parse_last(u64::from_le_bytes(*eight), length)
    {
        return Some(number);
    }
    parse_f64(&text[start..])
}

#[cold]
fn parse_longer(text: &[u8]) -> Option<f64> {
    parse_short_decimal(text).or_else(|| parse_any(text))
}

/// Whether `raw`, the text of a JSON number, is already what [`write_f64`] makes of its value. May say no where the
/// answer is yes; never the other way round.
pub fn is_canonical_number(raw: &[u8]) -> bool {
    let digits = raw.strip_prefix(b"-").unwrap_or(raw);
    // Up to 15 significant digits survive the way through a float64 unchanged.
    if digits.is_empty() || digits.len() > 16 {
        return false;
    }
    let whole = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let leading_zero = digits[0] == b'0';
    if whole == 0 || (leading_zero && whole > 1) {
        return false;
    }
    match digits[whole..].split_first() {
        // "-0" too prints as it reads.
        None => whole <= 15,
        Some((b'.', decimals)) => {
            decimals.iter().all(u8::is_ascii_digit) && decimals.last().is_some_and(|last| *last != b'0')
        }
        Some(_) => false,
    }
}

/// By what digits are to be divided of which so many stand behind the point. As up to 15 digits are, these are exact as
/// float64, so that the one division rounds once, hence correctly.
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Nearly every number of a log: up to eight bytes, digits and perhaps a point, all of them at once.
#[inline(always)]
fn parse_eight(text: &[u8]) -> Option<f64> {
    let before = (1..=8).contains(&text.len()).then(|| 8 * (8 - text.len()))?;
    parse_last(words::word(text)? << before, text.len())
}

/// As [`parse_eight`], of the last bytes of a word, one to eight of them.
#[inline(always)]
fn parse_last(word: u64, length: usize) -> Option<f64> {
    // The last byte of the text is the highest, and there are zeros before the first.
    let digits = (word ^ 0x3030_3030_3030_3030) & u64::MAX << (8 * (8 - length));
    let others = words::above_nine(digits);
    if others == 0 {
        return Some(words::eight_digits(digits) as f64);
    }
    let at = others.trailing_zeros() & !7;
    let is_point = (digits >> at) as u8 == b'.' ^ b'0';
    if !is_point || others & (others - 1) != 0 || length == 1 {
        return None;
    }
    // What stands before the point moves up to its place.
    let front = digits & ((1 << at) - 1);
    let digits = (digits >> at >> 8 << 8 << at) | front << 8;
    Some(words::eight_digits(digits) as f64 / POWERS[7 - at as usize / 8])
}

/// Up to 15 digits, perhaps with a sign and a point.
fn parse_short_decimal(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    if digits.len() > 16 {
        return None;
    }
    // `behind` is 1 behind the point, so that each digit there adds a decimal without a branch.
    let (mut mantissa, mut decimals, mut behind) = (0u64, 0, 0);
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa * 10 + u64::from(digit);
            decimals += behind;
        } else if *byte == b'.' && behind == 0 {
            behind = 1;
        } else {
            return None;
        }
    }
    let count = digits.len() - behind;
    if count == 0 || count > 15 {
        return None;
    }
    let value = mantissa as f64 / POWERS[decimals];
    Some(if negative { -value } else { value })
}

fn parse_any(text: &[u8]) -> Option<f64> {
    if text.contains(&b'_') {
        if !separates_digits(text) {
            return None;
        }
        let digits: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'_').collect();
        return parse_any(&digits);
    }
    let text = str::from_utf8(text).ok()?;
    let (sign, magnitude) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    match magnitude.as_bytes() {
        [b'0', b'x' | b'X', hexadecimal @ ..] => parse_hexadecimal(hexadecimal).map(|value| sign * value),
        [b'0'..=b'9' | b'.', ..] => magnitude.parse().ok().filter(|v: &f64| v.is_finite()).map(|value| sign * value),
        // Go takes a sign before an infinity, not before a NaN.
        b if b.eq_ignore_ascii_case(b"inf") || b.eq_ignore_ascii_case(b"infinity") => Some(sign * f64::INFINITY),
        _ if text.eq_ignore_ascii_case("nan") => Some(f64::NAN),
        _ => None,
    }
}

/// Whether each underscore stands between two digits; the first of them may be the `x` of a hexadecimal number.
fn separates_digits(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let hexadecimal = matches!(unsigned, [b'0', b'x' | b'X', ..]);
    let is_digit = |byte: u8| if hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let precedes = |at: usize| is_digit(unsigned[at]) || (hexadecimal && at == 1);
    (0..unsigned.len())
        .filter(|at| unsigned[*at] == b'_')
        .all(|at| at > 0 && precedes(at - 1) && unsigned.get(at + 1).is_some_and(|next| is_digit(*next)))
}

/// What follows `0x`: hexadecimal digits with at most one point, then `p` and a decimal exponent of two.
fn parse_hexadecimal(text: &[u8]) -> Option<f64> {
    let split = text.iter().position(|b| b.eq_ignore_ascii_case(&b'p'))?;
    let (digits, exponent) = (&text[..split], &text[split + 1..]);
    let (negative, exponent_digits) = match exponent.first()? {
        b'-' => (true, &exponent[1..]),
        b'+' => (false, &exponent[1..]),
        _ => (false, exponent),
    };
    if exponent_digits.is_empty() {
        return None;
    }
    let mut power = 0i64;
    for byte in exponent_digits {
        // Past this bound the result is 0 or out of range whatever the digits are.
        power = (power * 10 + i64::from((*byte as char).to_digit(10)?)).min(1 << 40);
    }
    power = if negative { -power } else { power };

    let (mut mantissa, mut sticky, mut seen, mut point) = (0u64, false, false, false);
    for byte in digits {
        if *byte == b'.' && !point {
            point = true;
            continue;
        }
        let digit = u64::from((*byte as char).to_digit(16)?);
        seen = true;
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | digit;
            power -= if point { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            power += if point { 0 } else { 4 };
        }
    }
    Some(scale(mantissa, sticky, power)).filter(|value| seen && value.is_finite())
}

/// `mantissa * 2^power`, rounded once to the nearest even; `sticky` tells of non-zero bits below the mantissa.
fn scale(mantissa: u64, sticky: bool, power: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let bits = 64 - i64::from(mantissa.leading_zeros());
    // The lowest bit that a float64 of this size can hold: 53 bits, fewer among the subnormals.
    let lowest = (bits + power - 53).max(-1074);
    let drop = lowest - power;
    let (kept, power) = if drop <= 0 {
        (mantissa, power)
    } else if drop > 64 {
        (0, lowest)
    } else {
        let wide = u128::from(mantissa);
        let (kept, rest, half) = (wide >> drop, wide & ((1u128 << drop) - 1), 1u128 << (drop - 1));
        let up = rest > half || (rest == half && (sticky || kept & 1 == 1));
        (kept as u64 + u64::from(up), lowest)
    };
    if power > 1024 {
        return if kept == 0 { 0.0 } else { f64::INFINITY };
    }
    // `kept` has at most 53 bits and the result's lowest bit is representable, so that each product is exact.
    let mut value = kept as f64;
    let mut left = power;
    while left > 0 {
        let step = left.min(1000);
        value *= f64::powi(2.0, step as i32);
        left -= step;
    }
    while left < 0 {
        let step = (-left).min(1000);
        value *= f64::powi(0.5, step as i32);
        left += step;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: f64) -> String {
        let mut out = Vec::new();
        write_f64(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_number_is_written_without_an_exponent() {
        for (value, text) in [
            (1e6, "1000000"),
            (1.50, "1.5"),
            (1e-9, "0.000000001"),
            (12345678901234567890.0, "12345678901234567000"),
            (9007199254740993.0, "9007199254740992"),
            (-9007199254740991.0, "-9007199254740991"),
            (0.0, "0"),
            (-0.0, "-0"),
            (1e23, "100000000000000000000000"),
            (0.1 + 0.2, "0.30000000000000004"),
            // Halfway between two shortest texts.
            (1844674407370955.0 + 0.25, "1844674407370955.2"),
            (-999999999999999.0 - 0.25, "-999999999999999.2"),
            (999999999999999.0 + 0.75, "999999999999999.8"),
            (2251799813685249.5, "2251799813685249.5"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(written(value), text);
        }
        assert_eq!(written(f64::MIN_POSITIVE).len(), 326);
    }

    #[test]
    fn texts_are_read_as_strconv_reads_them() {
        for (text, value) in [
            ("200", 200.0),
            ("009", 9.0),
            ("-0.25", -0.25),
            ("+.5", 0.5),
            ("5.", 5.0),
            ("1e6", 1e6),
            ("1E-3", 1e-3),
            ("123456789012345678", 123456789012345678.0),
            ("0.1234567890123456789", 0.123_456_789_012_345_68),
            ("0x1p-2", 0.25),
            ("-0X1.8P1", -3.0),
            ("0x.8p0", 0.5),
            // Halfway between two doubles: to the even one, unless a bit further down says otherwise.
            ("0x20000000000001p0", 9007199254740992.0),
            ("0x20000000000003p0", 9007199254740996.0),
            ("0x200000000000010000000001p0", 9007199254740994.0 * 1099511627776.0),
            ("0x1p-1074", 5e-324),
            ("0x0.8p-1074", 0.0),
            ("0x0.80001p-1074", 5e-324),
            ("0x1p-99999999999999999999", 0.0),
            ("1_000", 1000.0),
            ("-1_0.2_5e1_0", -1.025e11),
            ("0_1", 1.0),
            ("0x_1_fp1_0", 31744.0),
            ("Inf", f64::INFINITY),
            ("-iNFinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        assert!(parse_f64(b"-0").unwrap().is_sign_negative());
        assert!(parse_f64(b"nAn").unwrap().is_nan());
    }

    #[test]
    fn what_strconv_refuses_is_no_number() {
        for text in [
            "", "-", "+", ".", "-.", "e5", "1e", "1e+", " 1", "1 ", "1,5", "--1", "+-1", "+nan", "-NaN", "infin",
            "1e400", "0x1p1024", "0x", "0x1", "0xp1", "0x1p", "0x1.p", "0x1..p1", "0b1", "1f", "\u{661}", "_1", "1_",
            "1__0", "1_.5", "1._5", "1_e5", "-_1", "0_x1p0", "0x1_p0", "1_a", "1_inf", "_", "in_f",
        ] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_f64(b"1\xff"), None);
    }

    #[test]
    fn canonical_means_printed_as_written() {
        for text in ["0", "-0", "200", "-7", "0.014", "123456789012345", "-1.5", "0.00000000000001"] {
            assert!(is_canonical_number(text.as_bytes()), "{text}");
        }
        for text in
            ["", "-", "009", "-00", "1.50", "0.000", "1e3", "1.", ".5", "+1", "1234567890123456", "0x1", "1.2.3"]
        {
            assert!(!is_canonical_number(text.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_called_canonical_reads_and_prints_back(text in "-?[0-9]{1,9}(\\.[0-9]{1,8})?") {
            let value = parse_f64(text.as_bytes()).unwrap();
            prop_assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits());
            if is_canonical_number(text.as_bytes()) {
                prop_assert_eq!(written(value), text);
            }
        }

        #[test]
        fn every_float_survives_being_written_and_read(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(parse_f64(written(value).as_bytes()).map(f64::to_bits), Some(bits));
        }

        #[test]
        fn eight_bytes_at_once_are_read_as_one_by_one(text in "[0-9]{0,8}\\.?[0-9]{0,8}|[0-9.]{0,9}|[-+0-9.eE,:xé]{0,9}") {
            let (fast, slow) = (parse_eight(text.as_bytes()), parse_short_decimal(text.as_bytes()));
            prop_assert!(fast.is_none() || fast.map(f64::to_bits) == slow.map(f64::to_bits), "{text:?}");
            // And none that it may leave is left.
            let is_short = (1..=8).contains(&text.len()) && !text.starts_with('-');
            prop_assert_eq!(fast.is_some(), is_short && slow.is_some(), "{:?}", text);
        }

        #[test]
        fn a_number_in_a_line_is_read_as_alone(
            line in "[-+0-9.eE,:x]{0,20}|[0-9]{4,12}\\.?[0-9]{0,6}|[ :][0-9]{5,9}[.x]?[0-9]{0,4}",
            start in 0..20usize,
        ) {
            let start = start.min(line.len());
            let (within, alone) = (parse_f64_from(line.as_bytes(), start), parse_f64(&line.as_bytes()[start..]));
            prop_assert_eq!(within.map(f64::to_bits), alone.map(f64::to_bits), "{:?}", &line[start..]);
        }

        #[test]
        fn any_bytes_may_be_asked(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (parse_f64(&text), is_canonical_number(&text));
            prop_assert!(parse_eight(&text).is_none() || parse_eight(&text) == parse_short_decimal(&text));
        }
    }
}
