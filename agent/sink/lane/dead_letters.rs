//! The entries that Loki refuses one by one, for whoever wants to know why: a bounded ring, newest kept.

use super::report::cut;
use std::collections::VecDeque;
use std::mem;

/// What one letter keeps at most of its line and of the texts beside it.
const LINE_BYTES_MAX: usize = 16 * 1024;
const TEXT_BYTES_MAX: usize = 4 * 1024;

/// One entry that was refused alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Of its stream, in Loki's notation, cut at 4 KiB.
    pub labels: String,
    /// Seconds since 1970, and the nanoseconds after them.
    pub timestamp: (i64, u32),
    /// Its first 16 KiB.
    pub line: Vec<u8>,
    /// Before it was cut.
    pub line_bytes: usize,
    /// As its drop is counted.
    pub reason: &'static str,
    /// 400, 413, …
    pub code: u16,
    /// What the server said, cut at 4 KiB.
    pub answer: String,
}

impl DeadLetter {
    pub fn new(
        labels: &str,
        timestamp: (i64, u32),
        line: &[u8],
        reason: &'static str,
        code: u16,
        answer: &str,
    ) -> Self {
        DeadLetter {
            labels: cut(labels, TEXT_BYTES_MAX).to_owned(),
            timestamp,
            line: line[..line.len().min(LINE_BYTES_MAX)].to_vec(),
            line_bytes: line.len(),
            reason,
            code,
            answer: cut(answer, TEXT_BYTES_MAX).to_owned(),
        }
    }
}

/// A letter, when it was refused and whose it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub unix_seconds: i64,
    pub tenant: String,
    pub letter: DeadLetter,
}

/// The newest letters within a number of bytes.
pub struct DeadLetters {
    bytes_max: usize,
    bytes: usize,
    letters: VecDeque<Kept>,
}

impl Default for DeadLetters {
    /// A mebibyte.
    fn default() -> Self {
        DeadLetters::new(1 << 20)
    }
}

impl DeadLetters {
    pub fn new(bytes_max: usize) -> Self {
        DeadLetters { bytes_max, bytes: 0, letters: VecDeque::new() }
    }

    pub fn put(&mut self, unix_seconds: i64, tenant: &str, letter: DeadLetter) {
        let kept = Kept { unix_seconds, tenant: cut(tenant, TEXT_BYTES_MAX).to_owned(), letter };
        self.bytes += held(&kept);
        self.letters.push_back(kept);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.letters.pop_front() else { return };
            self.bytes -= held(&oldest);
        }
    }

    /// The oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.letters.iter()
    }
}

fn held(kept: &Kept) -> usize {
    let letter = &kept.letter;
    mem::size_of::<Kept>() + kept.tenant.len() + letter.labels.len() + letter.line.len() + letter.answer.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(line: &[u8]) -> DeadLetter {
        DeadLetter::new("{a=\"b\"}", (1, 2), line, "rejected", 400, "no")
    }

    #[test]
    fn the_newest_stay_within_the_bytes() {
        let mut letters = DeadLetters::new(10_000);
        for number in 0..1000 {
            letters.put(number, "t", letter(&[b'x'; 1000]));
            assert!(letters.iter().map(held).sum::<usize>() <= 10_000);
        }
        let times: Vec<_> = letters.iter().map(|kept| kept.unix_seconds).collect();
        assert_eq!(times, (1000 - times.len() as i64..1000).collect::<Vec<_>>());
        assert!(times.len() >= 7, "{}", times.len());
    }

    #[test]
    fn one_that_is_larger_than_the_ring_leaves_it_empty() {
        let mut letters = DeadLetters::new(1000);
        letters.put(1, "t", letter(&[b'x'; 2000]));
        assert_eq!((letters.iter().count(), letters.bytes), (0, 0));
    }

    #[test]
    fn long_lines_and_answers_are_cut_and_say_so() {
        let long = "é".repeat(100_000);
        let letter = DeadLetter::new(&long, (0, 0), long.as_bytes(), "rejected", 400, &format!("x{long}"));
        assert_eq!((letter.line.len(), letter.line_bytes), (LINE_BYTES_MAX, 200_000));
        assert_eq!((letter.labels.len(), letter.answer.len()), (4096, 4095));
    }
}
