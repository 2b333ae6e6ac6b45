//! The value of one series of one metric: a few 64-bit words inside its row.
//!
//! ```text
//! counter    stamp  whole   fraction (f64, in [0, 1))
//! gauge      stamp  value (f64)
//! histogram  stamp  sum (f64)   one count per bucket, not cumulative, +Inf last
//! ```
//!
//! The stamp says when the cell was last touched and whether it is still held back from scrapers; 0 says that it was
//! never touched, so that it holds no series.

use super::family::Kind;
use super::number::Number;

/// Why an update was refused. The series keeps its value: a log line must not be able to spoil it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A counter never goes down.
    Negative,
    /// NaN or an infinity, which a sum would never get rid of.
    NotFinite,
    /// The counter would pass 2^64.
    TooLarge,
    /// The metric is of another kind: a mistake of the program, not of the line.
    WrongKind,
}

impl Refused {
    pub const ALL: [Refused; 4] = [Refused::Negative, Refused::NotFinite, Refused::TooLarge, Refused::WrongKind];

    /// The value of the label `reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Refused::Negative => "negative",
            Refused::NotFinite => "not_finite",
            Refused::TooLarge => "too_large",
            Refused::WrongKind => "wrong_kind",
        }
    }
}

/// One update of one cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// Counter and gauge: one more. The common case of the hot path.
    Inc,
    /// Counter and gauge.
    Add(f64),
    /// Gauge.
    Sub(f64),
    /// Gauge; any value, as in Prometheus.
    Set(f64),
    /// Histogram.
    Observe(f64),
}

/// When a cell was last touched, and whether scrapers see 0 in place of its value.
///
/// ```text
/// bits 63 … 32  second (never 0)   bit 31  held   bits 30 … 0  batch of births that it waits in, 0 for none yet
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(pub u64);

impl Stamp {
    pub const NEVER: Stamp = Stamp(0);
    const HELD: u64 = 1 << 31;
    const BATCH: u64 = Stamp::HELD - 1;

    /// Touched now, its value is for all to see.
    pub fn shown(now: u32) -> Stamp {
        Stamp(u64::from(now.max(1)) << 32)
    }

    /// Touched now, held, and in this batch.
    pub fn held(now: u32, batch: u32) -> Stamp {
        Stamp(Stamp::shown(now).0 | Stamp::HELD | (u64::from(batch) & Stamp::BATCH))
    }

    /// The same, touched now.
    #[inline]
    pub fn touched(self, now: u32) -> Stamp {
        Stamp(Stamp::shown(now).0 | u64::from(self.0 as u32))
    }

    pub fn second(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The batch of a held cell.
    pub fn batch(self) -> Option<u32> {
        (self.0 & Stamp::HELD != 0).then_some((self.0 & Stamp::BATCH) as u32)
    }

    /// Held, and not yet part of a batch.
    pub fn is_newborn(self) -> bool {
        self.batch() == Some(0)
    }
}

pub(super) fn stamp(cell: &[u64]) -> Stamp {
    Stamp(cell[0])
}

/// Whether the cell holds a series.
#[inline]
pub(super) fn is_begun(cell: &[u64]) -> bool {
    cell.first().is_some_and(|stamp| *stamp != Stamp::NEVER.0)
}

/// The series of a cell was touched.
#[inline]
pub(super) fn touch(cell: &mut [u64], now: u32) {
    if let Some(stamp) = cell.first_mut() {
        *stamp = Stamp(*stamp).touched(now).0;
    }
}

/// Words that a cell of this kind takes.
pub(super) fn width(kind: &Kind) -> usize {
    match kind {
        Kind::Counter => 3,
        Kind::Gauge => 2,
        Kind::Histogram { buckets } => 2 + buckets.len() + 1,
    }
}

/// Changes the value; the stamp is the caller's.
#[inline(always)]
pub(super) fn update(kind: &Kind, cell: &mut [u64], update: Update) -> Result<(), Refused> {
    match (kind, update) {
        (Kind::Counter, Update::Inc) => add_whole(cell, 1),
        (Kind::Counter, Update::Add(by)) => add(cell, by),
        (Kind::Gauge, Update::Inc) => shift(cell, 1.0),
        (Kind::Gauge, Update::Add(by)) => shift(cell, by),
        (Kind::Gauge, Update::Sub(by)) => shift(cell, -by),
        (Kind::Gauge, Update::Set(to)) => {
            cell[1] = to.to_bits();
            Ok(())
        }
        (Kind::Histogram { buckets }, Update::Observe(value)) => observe(buckets, cell, value),
        _ => Err(Refused::WrongKind),
    }
}

/// From here on a float64 has no room for a fraction: a smaller number that is added to it becomes a whole one.
const WHOLE: f64 = (1u64 << 52) as f64;

fn add_whole(cell: &mut [u64], by: u64) -> Result<(), Refused> {
    cell[1] = cell[1].checked_add(by).ok_or(Refused::TooLarge)?;
    Ok(())
}

fn add(cell: &mut [u64], by: f64) -> Result<(), Refused> {
    // Bytes and the like are whole numbers: no need to take them apart.
    if (0.0..WHOLE).contains(&by) && (by + WHOLE) - WHOLE == by {
        return add_whole(cell, (by + WHOLE).to_bits() - WHOLE.to_bits());
    }
    if !by.is_finite() {
        return Err(Refused::NotFinite);
    }
    if by < 0.0 {
        return Err(Refused::Negative);
    }
    let (mut whole, mut fraction) = (by.trunc(), f64::from_bits(cell[2]) + by.fract());
    if fraction >= 1.0 {
        whole += 1.0;
        fraction -= 1.0;
    }
    // u64::MAX as f64 is 2^64.
    if whole >= u64::MAX as f64 {
        return Err(Refused::TooLarge);
    }
    add_whole(cell, whole as u64)?;
    cell[2] = fraction.to_bits();
    Ok(())
}

fn shift(cell: &mut [u64], by: f64) -> Result<(), Refused> {
    if !by.is_finite() {
        return Err(Refused::NotFinite);
    }
    cell[1] = (f64::from_bits(cell[1]) + by).to_bits();
    Ok(())
}

fn observe(buckets: &[f64], cell: &mut [u64], value: f64) -> Result<(), Refused> {
    if !value.is_finite() {
        return Err(Refused::NotFinite);
    }
    cell[1] = (f64::from_bits(cell[1]) + value).to_bits();
    cell[2 + buckets.partition_point(|bound| *bound < value)] += 1;
    Ok(())
}

/// Adds what another cell of the same kind holds: the sum for counters and histograms, the later value for gauges. The
/// stamp is the caller's.
pub(super) fn merge(kind: &Kind, into: &mut [u64], from: &[u64]) {
    match kind {
        Kind::Counter => {
            let fraction = f64::from_bits(into[2]) + f64::from_bits(from[2]);
            // 2^64 lines are out of reach; should sums of bytes get there, the series stays at the top.
            into[1] = into[1].saturating_add(from[1]).saturating_add(fraction as u64);
            into[2] = fraction.fract().to_bits();
        }
        Kind::Gauge if stamp(from) >= stamp(into) => into[1] = from[1],
        Kind::Gauge => {}
        Kind::Histogram { .. } => {
            into[1] = (f64::from_bits(into[1]) + f64::from_bits(from[1])).to_bits();
            into[2..].iter_mut().zip(&from[2..]).for_each(|(a, b)| *a = a.saturating_add(*b));
        }
    }
}

/// Whether the words of a cell can have come about by updates.
pub(super) fn is_sound(kind: &Kind, cell: &[u64]) -> bool {
    *kind != Kind::Counter || (0.0..1.0).contains(&f64::from_bits(cell[2]))
}

/// What a counter or histogram grew by since it had another value; nothing where that is greater.
pub(super) fn growth(kind: &Kind, now: &[u64], then: &[u64]) -> Option<Vec<u64>> {
    let mut grown = now.to_vec();
    match kind {
        Kind::Counter => {
            let fraction = f64::from_bits(now[2]) - f64::from_bits(then[2]);
            let borrow = u64::from(fraction < 0.0);
            grown[1] = now[1].checked_sub(then[1])?.checked_sub(borrow)?;
            // A difference near 0 may round up to 1.
            grown[2] = (fraction + borrow as f64).min(BELOW_ONE).to_bits();
        }
        Kind::Gauge => {}
        Kind::Histogram { .. } => {
            let sum = f64::from_bits(now[1]) - f64::from_bits(then[1]);
            // Huge observations make a sum infinite; from there it has no growth.
            grown[1] = (if sum.is_finite() { sum } else { 0.0 }).to_bits();
            for ((grown, now), then) in grown[2..].iter_mut().zip(&now[2..]).zip(&then[2..]) {
                *grown = now.checked_sub(*then)?;
            }
        }
    }
    Some(grown)
}

const BELOW_ONE: f64 = 1.0 - f64::EPSILON / 2.0;

/// What a counter or a gauge shows.
pub(super) fn number(kind: &Kind, cell: &[u64]) -> Number {
    match kind {
        Kind::Counter => {
            let (whole, fraction) = (cell[1], f64::from_bits(cell[2]));
            // Past 2^53 a float would round the whole part; there is no room for a fraction.
            if fraction == 0.0 || whole >= 1 << 53 {
                Number::Whole(whole)
            } else {
                Number::Float(whole as f64 + fraction)
            }
        }
        Kind::Gauge | Kind::Histogram { .. } => Number::Float(f64::from_bits(cell[1])),
    }
}

/// A histogram's sum and its cumulative counts, `+Inf` last.
pub(super) fn histogram(cell: &[u64]) -> (f64, impl Iterator<Item = u64>) {
    let cumulative = cell[2..].iter().scan(0u64, |sum, count| {
        *sum = sum.saturating_add(*count);
        Some(*sum)
    });
    (f64::from_bits(cell[1]), cumulative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_keep_whole_numbers_exactly_and_fractions_beside_them() {
        let mut cell = [1, (1 << 53) - 1, 0];
        for _ in 0..3 {
            update(&Kind::Counter, &mut cell, Update::Inc).unwrap();
        }
        assert_eq!(number(&Kind::Counter, &cell), Number::Whole((1 << 53) + 2));
        let mut cell = [1, 0, 0];
        for _ in 0..3 {
            update(&Kind::Counter, &mut cell, Update::Add(1.5)).unwrap();
        }
        assert_eq!(number(&Kind::Counter, &cell), Number::Float(4.5));
        update(&Kind::Counter, &mut cell, Update::Add(0.5)).unwrap();
        assert_eq!(number(&Kind::Counter, &cell), Number::Whole(5));
    }

    #[test]
    fn a_refused_update_leaves_the_value_as_it_was() {
        let buckets = Kind::histogram(&[1.0]);
        let full = u64::MAX;
        for (kind, start, bad, why) in [
            (Kind::Counter, 7, Update::Add(-1.0), Refused::Negative),
            (Kind::Counter, 7, Update::Add(f64::NAN), Refused::NotFinite),
            (Kind::Counter, 7, Update::Add(f64::INFINITY), Refused::NotFinite),
            (Kind::Counter, 7, Update::Add(f64::NEG_INFINITY), Refused::NotFinite),
            (Kind::Counter, 7, Update::Add(1e300), Refused::TooLarge),
            (Kind::Counter, full, Update::Add(1.5), Refused::TooLarge),
            (Kind::Counter, full, Update::Inc, Refused::TooLarge),
            (Kind::Counter, 7, Update::Set(1.0), Refused::WrongKind),
            (Kind::Gauge, 7, Update::Add(f64::NAN), Refused::NotFinite),
            (Kind::Gauge, 7, Update::Observe(1.0), Refused::WrongKind),
            (buckets.clone(), 7, Update::Observe(f64::NAN), Refused::NotFinite),
            (buckets, 7, Update::Inc, Refused::WrongKind),
        ] {
            let mut cell = [9, start, 0, 0];
            let cell = &mut cell[..width(&kind)];
            let before = cell.to_vec();
            assert_eq!(update(&kind, cell, bad), Err(why), "{kind:?} {bad:?}");
            assert_eq!(cell, before, "{kind:?} {bad:?}");
        }
    }

    #[test]
    fn a_bound_is_inclusive_and_infinity_takes_the_rest() {
        let kind = Kind::histogram(&[0.1, 1.0]);
        let mut cell = [0; 5];
        for value in [0.1, 0.100001, 1.0, 5.0, -3.0] {
            update(&kind, &mut cell, Update::Observe(value)).unwrap();
        }
        let (sum, counts) = histogram(&cell);
        assert_eq!(counts.collect::<Vec<_>>(), [2, 4, 5]);
        assert!((sum - 3.200001).abs() < 1e-9);
    }
}
