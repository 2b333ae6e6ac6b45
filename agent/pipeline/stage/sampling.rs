//! `sampling`: lets a share of the lines through.
//!
//! Which ones is decided by the source and the number of the line in it, not by chance: a line that is read again after
//! a restart has its old number, and fares as it did before. (In Promtail each run throws its own dice.)

use super::{Flow, Keeper, Kept, Rebound, Run, StageConfig};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, ReasonId, Record, Scope};
use crate::yaml::{Fields, Node, Spanned};

/// Sources whose numbers are kept over a restart: as many as there are slots for.
const KEPT_MAX: usize = 1 << 19;

#[derive(Debug, PartialEq)]
pub struct SamplingConfig {
    /// The share of the lines that go on, 0 to 1.
    pub rate: f64,
    pub reason: String,
}

impl StageConfig for SamplingConfig {
    type Stage = Sampling;

    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `sampling` stage", diagnostics)?;
        let rate = fields.required::<Spanned<f64>>("rate", diagnostics);
        let reason = fields.optional("drop_counter_reason", diagnostics).filter(|reason: &String| !reason.is_empty());
        fields.finish(diagnostics);
        let rate = rate?;
        if !(0.0..=1.0).contains(&rate.value) {
            diagnostics.error(rate.span, format!("`rate` must be between 0 and 1, not {}", rate.value));
            return None;
        }
        Some(SamplingConfig { rate: rate.value, reason: reason.unwrap_or_else(|| "sampling_stage".to_string()) })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<Sampling> {
        Some(Sampling { rate: self.rate, reason: scope.reason(&self.reason), seen: Vec::new() })
    }
}

pub struct Sampling {
    rate: f64,
    reason: ReasonId,
    /// Lines that came here, by the number of their source.
    seen: Vec<u64>,
}

impl Run for Sampling {
    fn process(&mut self, record: &mut Record<'_>, _context: &mut Context<'_>) -> Flow {
        let source = record.source();
        if self.seen.len() <= source {
            self.seen.resize(source + 1, 0);
        }
        let seen = &mut self.seen[source];
        // A damaged state may say anything.
        *seen = seen.wrapping_add(1);
        if share(record.binding().identity(), *seen) < self.rate { Flow::Next } else { Flow::Drop(self.reason) }
    }

    fn ended(&mut self, source: usize) {
        if let Some(seen) = self.seen.get_mut(source) {
            *seen = 0;
        }
    }

    fn keep(&self, keeper: &mut Keeper<'_>) {
        let kept = (0..).zip(&self.seen).take(KEPT_MAX).filter(|(_, seen)| **seen > 0);
        kept.for_each(|(source, seen)| keeper.put(source, |writer| writer.number(*seen)));
    }

    fn restore(&mut self, kept: Kept<'_>, rebound: &mut Rebound<'_>) {
        for (source, mut reader) in kept.iter() {
            match (reader.number().filter(|_| reader.is_empty()), rebound.source(source.into())) {
                (Some(seen), Some(source)) => {
                    self.seen.resize(self.seen.len().max(source + 1), 0);
                    self.seen[source] = seen;
                }
                (None, _) => rebound.damaged += 1,
                (_, None) => {}
            }
        }
    }
}

/// A number from 0 to below 1 that looks like chance and is not: SplitMix64's mixing of the two.
fn share(source: u64, line: u64) -> f64 {
    let mut mixed = source.wrapping_add(line.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    // As many bits as a float64 has.
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use crate::pipeline::bench::World;
    use proptest::prelude::*;

    fn world(rate: f64) -> World {
        World::new(&format!("[{{sampling: {{rate: {rate}}}}}]"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(
            std::env::var("WEIR_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24)
        ))]

        /// Whatever the lines are: here they are all the same.
        #[test]
        fn the_share_of_each_source_is_right(rate in 0.0..=1.0f64) {
            const LINES: usize = 4_000;
            let mut world = world(rate);
            for source in 0..2 {
                let before = world.out.0.len();
                (0..LINES).for_each(|_| world.line(source, b"again"));
                let passed = (world.out.0.len() - before) as f64;
                // Six standard deviations of as many throws of a die.
                let margin = 6.0 * (LINES as f64 * rate * (1.0 - rate)).sqrt() + 1.0;
                prop_assert!((passed - LINES as f64 * rate).abs() <= margin, "{passed} of {LINES} at {rate}");
            }
        }

        #[test]
        fn a_line_that_is_read_again_after_a_restart_fares_as_before(
            rate in 0.1..0.9f64, before in 0usize..50, order in 0u64..8,
        ) {
            let stages = format!("[{{sampling: {{rate: {rate}}}}}]");
            let mut world = world(rate);
            (0..before).for_each(|line| world.line(line % 4, b"before"));
            let mut restarted = World::new(&stages);
            (0..before).for_each(|line| restarted.line(line % 4, b"before"));
            restarted.restart(&stages, order);
            for line in 0..100 {
                world.line(line % 4, format!("{line}").as_bytes());
                restarted.line(line % 4, format!("{line}").as_bytes());
            }
            prop_assert_eq!(&world.out.0, &restarted.out.0);
        }
    }

    #[test]
    fn none_and_all_are_exact() {
        for (rate, passed) in [(0.0, 0), (1.0, 1_000)] {
            let mut world = world(rate);
            (0..1_000).for_each(|_| world.line(0, b"x"));
            assert_eq!(world.out.0.len(), passed);
        }
    }

    #[test]
    fn sources_do_not_lose_the_same_lines() {
        let mut world = world(0.5);
        for source in 0..2 {
            (0..64).for_each(|line| world.line(source, format!("{line}").as_bytes()));
        }
        let lines = |source: &str| -> Vec<String> {
            let of = world.out.0.iter().filter(|entry| entry.contains(source));
            of.map(|entry| entry.rsplit(' ').next().unwrap_or_default().to_string()).collect()
        };
        assert_ne!(lines("source=a"), lines("source=b"));
    }
}
