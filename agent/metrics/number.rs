//! Numbers as Go's Prometheus client prints them, so that nothing changes for who compares two pages or selects `le`.

use std::io::Write;

/// A sample's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Counts: printed to the last digit, also past 2^53 where a float would round.
    Whole(u64),
    Float(f64),
}

impl Number {
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Whole(n) => n as f64,
            Number::Float(x) => x,
        }
    }
}

pub(super) fn append_whole(to: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    to.extend_from_slice(&digits[at..]);
}

/// As `strconv.FormatFloat(x, 'g', -1, 64)`: the shortest digits that read back as the same float, with an exponent
/// of at least two digits below 1e-4 and from 1e+06 on.
pub(super) fn append_float(to: &mut Vec<u8>, x: f64) {
    if !x.is_finite() {
        let word: &[u8] = if x.is_nan() {
            b"NaN"
        } else if x > 0.0 {
            b"+Inf"
        } else {
            b"-Inf"
        };
        return to.extend_from_slice(word);
    }
    let start = to.len();
    write!(to, "{x:e}").expect("a Vec takes every write");
    let e = to[start..].iter().position(|b| *b == b'e').map_or(to.len(), |at| start + at);
    let exponent: i32 = std::str::from_utf8(&to[e + 1..]).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    if (-4..EXPONENT_FROM).contains(&exponent) {
        to.truncate(start);
        write!(to, "{x}").expect("a Vec takes every write");
    } else {
        to.truncate(e);
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(to, "e{sign}{:02}", exponent.unsigned_abs()).expect("a Vec takes every write");
    }
}

const EXPONENT_FROM: i32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_go_prints_them() {
        for (x, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (2.5, "2.5"),
            (100_000.0, "100000"),
            (123_456.789, "123456.789"),
            (1e6, "1e+06"),
            (41_276_408.0, "4.1276408e+07"),
            (1e21, "1e+21"),
            (1e100, "1e+100"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-1.5e-7, "-1.5e-07"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            let mut out = b"x ".to_vec();
            append_float(&mut out, x);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x {text}"));
        }
    }

    #[test]
    fn counts_print_to_the_last_digit() {
        for n in [0, 9, 10, (1 << 53) + 1, u64::MAX] {
            let mut out = Vec::new();
            append_whole(&mut out, n);
            assert_eq!(String::from_utf8(out).unwrap(), n.to_string());
        }
    }
}
