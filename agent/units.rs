//! Durations, sizes and numbers as people write them.

use std::fmt::Write as _;
use std::time::Duration;

/// Go's and Prometheus' durations: `300ms`, `1.5h`, `1h30m`, `1d`, `2w`, `1y`; `0` alone needs no unit.
/// Negative durations, and those past 292 years, are refused.
pub fn parse_duration(text: &str) -> Option<Duration> {
    seconds(text, unit_seconds).filter(|s| *s >= 0.0).and_then(|s| Duration::try_from_secs_f64(s).ok())
}

/// Go's durations alone, signed and in seconds: what Promtail's metrics stage makes of `"0.5s"`. A day is none there.
pub fn parse_seconds(text: &str) -> Option<f64> {
    seconds(text, |unit| unit_seconds(unit).filter(|_| !matches!(unit, "d" | "w" | "y")))
}

fn seconds(text: &str, unit_seconds: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Some(0.0);
    }
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number * unit_seconds(&rest[..end])?;
        rest = &rest[end..];
    }
    (seconds <= 292.0 * 365.25 * 86_400.0).then_some(sign * seconds)
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        "w" => 7.0 * 86_400.0,
        "y" => 365.0 * 86_400.0,
        _ => return None,
    })
}

/// A duration as Go writes it: `1h0m0s`, `1.5s`, `500ms`, `0s`.
pub fn write_duration(duration: Duration, out: &mut String) {
    let nanos = duration.as_nanos();
    let unit = |count: u128, nanos: u128, name: &str, out: &mut String| {
        let digits = nanos.ilog10() as usize;
        let fraction = format!("{:0digits$}", count % nanos);
        let fraction = if nanos == 1 { "" } else { fraction.trim_end_matches('0') };
        let point = if fraction.is_empty() { "" } else { "." };
        // Writing into memory does not fail.
        let _ = write!(out, "{}{point}{fraction}{name}", count / nanos);
    };
    match nanos {
        0 => out.push_str("0s"),
        1..1_000 => unit(nanos, 1, "ns", out),
        1_000..1_000_000 => unit(nanos, 1_000, "µs", out),
        1_000_000..1_000_000_000 => unit(nanos, 1_000_000, "ms", out),
        _ => {
            let minutes = duration.as_secs() / 60;
            if minutes >= 60 {
                let _ = write!(out, "{}h", minutes / 60);
            }
            if minutes > 0 {
                let _ = write!(out, "{}m", minutes % 60);
            }
            unit(nanos % 60_000_000_000, 1_000_000_000, "s", out);
        }
    }
}

/// Sizes in bytes: `512`, `8kb`, `256KB`, `1MiB`. The units are powers of 1024, as in Loki's configuration.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift);
    }
    let size = number.parse::<f64>().ok()? * (1u64 << shift) as f64;
    (size < u64::MAX as f64).then_some(size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [("500ms", 500), ("1h30m", 5_400_000), ("1.5s", 1_500), ("1d", 86_400_000), ("0", 0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "m", "1x", "-1s", "1s2", "999999999y"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!((parse_seconds("-0.5s"), parse_seconds("1h1s")), (Some(-0.5), Some(3_601.0)));
        assert_eq!((parse_seconds("1d"), parse_seconds("1w1h")), (None, None), "as Go's `time.ParseDuration`");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("512", 512), ("8kb", 8192), ("256KB", 262_144), ("1.5M", 1_572_864)] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        assert_eq!(parse_bytes("8 parsecs"), None);
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (500_000_000, "500ms"),
            (3_300_000_000, "3.3s"),
            (300_000_000_000, "5m0s"),
            (245_005_000_000, "4m5.005s"),
            (3_600_000_000_000, "1h0m0s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (480_000_000_000_001, "133h20m0.000000001s"),
        ] {
            let mut out = String::new();
            write_duration(Duration::from_nanos(nanos), &mut out);
            assert_eq!(out, text);
            assert_eq!(parse_duration(text).map(|read| read.as_millis()), Some(u128::from(nanos) / 1_000_000));
        }
    }
}
