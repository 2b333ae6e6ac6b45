//! Regular expressions as Go's `regexp` reads and runs them.
//!
//! Promtail's configurations are written for Go's RE2. The `regex` crate is its near relative, and differs in a few
//! places that real configurations reach; [`go_syntax`] rewrites those. What is left is bytes that are no UTF-8: to Go
//! each of them is one character, U+FFFD, so `.` and `[^"]` match it; to `regex::bytes` in Unicode mode they match
//! nothing. A line with such bytes is therefore matched as a copy with U+FFFD in their places, and the ranges found are
//! translated back: the same result as Go's, at the price of a copy for hostile lines only.
//!
//! One difference is left: `\B` may hold inside a character of several bytes, where Go does not look.

mod expansion;
mod go_syntax;

pub use expansion::{Expansion, Piece};

use crate::words;
use regex::bytes::{CaptureLocations, Regex, RegexBuilder};
use std::cell::RefCell;

/// Bytes that one compiled pattern may take: a bound against `(.{1000}){1000}`.
const COMPILED_BYTES_MAX: usize = 10 << 20;

/// U+FFFD as UTF-8.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

thread_local! {
    /// Where a text is repaired that only has to match: a pattern is asked by many and has no room of its own.
    static SPARE: RefCell<Repair> = const { RefCell::new(Repair { active: false, text: Vec::new(), replaced: Vec::new() }) };
}

/// Where a pattern must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchoring {
    /// Anywhere in the text: stages, line filters.
    Anywhere,
    /// The whole text, `.` matching newlines too, `^(?s:…)$`: relabelling, label matchers.
    Whole,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    /// By group number; group 0, the whole match, has no name. A name may stand twice, as in Go.
    names: Vec<Option<String>>,
    /// `.*`: the usual way to say that everything matches.
    is_everything: bool,
}

/// The ranges of one match, and the room to find them in. Made once by [`Pattern::captures_buffer`], used per line.
#[derive(Clone, Debug)]
pub struct Captures {
    locations: CaptureLocations,
    repair: Repair,
}

impl Pattern {
    /// Compiles a pattern of Go's syntax. The error is a sentence without the pattern itself.
    pub fn compile(pattern: &str, anchoring: Anchoring) -> Result<Pattern, String> {
        let translated = go_syntax::translate(pattern)?;
        let text = match anchoring {
            Anchoring::Anywhere => translated.text,
            Anchoring::Whole => format!("^(?s:{})$", translated.text),
        };
        let regex = RegexBuilder::new(&text).size_limit(COMPILED_BYTES_MAX).build().map_err(|e| sentence(&e))?;
        debug_assert_eq!(regex.captures_len(), translated.names.len());
        Ok(Pattern { regex, names: translated.names, is_everything: pattern == ".*" })
    }

    /// The groups' names by group number, 0 being the whole match; unnamed groups have none. Where a name stands
    /// twice, a stage that fills a map lets the later group win, as Go's `SubexpNames` makes it.
    pub fn group_names(&self) -> &[Option<String>] {
        &self.names
    }

    /// Room for the ranges of a match of this pattern.
    pub fn captures_buffer(&self) -> Captures {
        Captures { locations: self.regex.capture_locations(), repair: Repair::default() }
    }

    /// Whether the text matches. Copies only texts that are no UTF-8.
    pub fn is_match(&self, text: &[u8]) -> bool {
        if self.is_everything {
            return true;
        }
        if is_utf8(text) {
            return self.regex.is_match(text);
        }
        SPARE.with_borrow_mut(|repair| {
            repair.load(text);
            self.regex.is_match(&repair.text)
        })
    }

    /// Finds the first match; its ranges are in `captures`, which must come from this pattern.
    pub fn captures(&self, text: &[u8], captures: &mut Captures) -> bool {
        let Captures { locations, repair } = captures;
        self.regex.captures_read(locations, repair.prepare(text)).is_some()
    }

    /// Visits all matches from left to right; they do not overlap, and an empty one right behind another is skipped
    /// (Go's `FindAll`).
    pub fn each_match(&self, text: &[u8], captures: &mut Captures, mut visit: impl FnMut(&Captures)) {
        captures.repair.prepare(text);
        let mut at = 0;
        let mut last_end = None;
        loop {
            let haystack = if captures.repair.active { &captures.repair.text } else { text };
            let (haystack_len, found) =
                (haystack.len(), self.regex.captures_read_at(&mut captures.locations, haystack, at));
            let Some((start, end)) = found.map(|m| (m.start(), m.end())) else { return };
            at = if end > start { end } else { end + character_bytes(&haystack[end..]) };
            if end > start || last_end != Some(end) {
                visit(captures);
            }
            last_end = Some(end);
            if at > haystack_len {
                return;
            }
        }
    }
}

impl Captures {
    /// The bytes of the text that a group matched, as a range; nothing if the group took no part or does not exist.
    pub fn get(&self, group: usize) -> Option<std::ops::Range<usize>> {
        let (start, end) = self.locations.get(group)?;
        Some(self.repair.original(start)..self.repair.original(end))
    }
}

/// A text whose invalid bytes are replaced.
#[derive(Clone, Debug, Default)]
struct Repair {
    /// Whether the text at hand needed it; otherwise the other fields are stale.
    active: bool,
    text: Vec<u8>,
    /// Where in `text` each replacement begins, ascending.
    replaced: Vec<usize>,
}

impl Repair {
    /// The text to search: the one given, or its repaired copy.
    fn prepare<'t>(&'t mut self, text: &'t [u8]) -> &'t [u8] {
        self.active = !is_utf8(text);
        if !self.active {
            return text;
        }
        self.load(text);
        &self.text
    }

    fn load(&mut self, text: &[u8]) {
        self.text.clear();
        self.replaced.clear();
        for chunk in text.utf8_chunks() {
            self.text.extend_from_slice(chunk.valid().as_bytes());
            for _ in chunk.invalid() {
                self.replaced.push(self.text.len());
                self.text.extend_from_slice(REPLACEMENT);
            }
        }
    }

    fn original(&self, offset: usize) -> usize {
        if !self.active {
            return offset;
        }
        let before = self.replaced.partition_point(|at| *at < offset);
        offset - before * (REPLACEMENT.len() - 1)
    }
}

/// Bytes of the first character, at least 1 so that a search moves on.
fn character_bytes(text: &[u8]) -> usize {
    match text.first() {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        Some(0xc0..) => 2,
        _ => 1,
    }
}

/// ASCII, as most texts are, is seen sooner.
fn is_utf8(text: &[u8]) -> bool {
    words::is_ascii(text) || str::from_utf8(text).is_ok()
}

/// What is wrong, without the drawing of the rewritten pattern, which its author would not recognise.
fn sentence(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!("it needs more than {limit} bytes when compiled"),
        error => {
            let text = error.to_string();
            let last = text.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
            last.unwrap_or(text.trim()).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn groups(pattern: &str, text: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
        let pattern = Pattern::compile(pattern, Anchoring::Anywhere).unwrap();
        let mut captures = pattern.captures_buffer();
        pattern.captures(text, &mut captures).then(|| {
            (0..pattern.group_names().len()).map(|i| captures.get(i).map(|range| text[range].to_vec())).collect()
        })
    }

    fn some(text: &[u8]) -> Option<Vec<u8>> {
        Some(text.to_vec())
    }

    #[test]
    fn an_invalid_byte_is_one_character_as_in_go() {
        let line = b"GET /\xff\xc3\xa9\xe2\x82 \"x\"";
        assert_eq!(groups(r"^(\S+) (\S+) ", line).unwrap()[2], some(b"/\xff\xc3\xa9\xe2\x82"));
        assert_eq!(
            groups("^GET /(.)(.)(..) ", line).unwrap()[1..],
            [some(b"\xff"), some("é".as_bytes()), some(b"\xe2\x82")]
        );
        assert!(groups("^.....$", b"\xff\xff\xff\xff\xff").is_some());
        assert!(groups("^..$", "é".as_bytes()).is_none(), "a valid character is never split");
        assert!(groups("^(.*)(.)$", "aé".as_bytes()).unwrap()[2] == some("é".as_bytes()));
    }

    #[test]
    fn everything_matches_what_matches_everything() {
        for anchoring in [Anchoring::Anywhere, Anchoring::Whole] {
            let [short, plain] = [".*", "(.*)"].map(|text| Pattern::compile(text, anchoring).unwrap());
            assert!(short.is_everything && !plain.is_everything);
            for text in [&b""[..], b"\n", b"a\nb", b"\xff\n\0"] {
                assert!(short.is_match(text) && plain.is_match(text));
            }
        }
    }

    #[test]
    fn a_whole_pattern_is_anchored_and_spans_lines() {
        let whole = |pattern| Pattern::compile(pattern, Anchoring::Whole).unwrap();
        assert!(whole("a|ab").is_match(b"ab"));
        assert!(!whole("a").is_match(b"ab") && !whole("b").is_match(b"ab"));
        assert!(whole("a.b").is_match(b"a\nb") && !whole("a(?-s:.)b").is_match(b"a\nb"));
        assert!(!whole("(?m)a$").is_match(b"a\n"));
    }

    #[test]
    fn all_matches_are_visited_as_go_finds_them() {
        for (pattern, text, expected) in [
            ("a*", "baac", vec![(0, 0), (1, 3), (4, 4)]),
            ("", "é", vec![(0, 0), (2, 2)]),
            (r"\d+", "1 22 x 3", vec![(0, 1), (2, 4), (7, 8)]),
        ] {
            let compiled = Pattern::compile(pattern, Anchoring::Anywhere).unwrap();
            let mut found = Vec::new();
            compiled.each_match(text.as_bytes(), &mut compiled.captures_buffer(), |captures| {
                let whole = captures.get(0).unwrap();
                found.push((whole.start, whole.end));
            });
            assert_eq!(found, expected, "{pattern:?} in {text:?}");
        }
    }

    #[test]
    fn a_pattern_that_would_eat_the_memory_is_refused() {
        let error = Pattern::compile("((.{1000}){1000}){1000}", Anchoring::Anywhere).unwrap_err();
        assert!(error.contains("bytes when compiled"), "{error}");
    }

    proptest! {
        #[test]
        fn ranges_point_into_the_text_whatever_its_bytes(text in prop::collection::vec(any::<u8>(), 0..64)) {
            let pattern = Pattern::compile(r"(?P<a>[^x]*)(x)?(?P<a>.*)", Anchoring::Whole).unwrap();
            let mut captures = pattern.captures_buffer();
            prop_assert!(pattern.is_match(&text));
            prop_assert!(pattern.captures(&text, &mut captures));
            prop_assert_eq!(captures.get(0).unwrap(), 0..text.len());
            let parts: Vec<u8> = (1..4).filter_map(|i| captures.get(i)).flat_map(|range| text[range].to_vec()).collect();
            prop_assert_eq!(parts, text);
        }

        #[test]
        fn any_text_compiles_or_is_refused(pattern in r#"[\[\]\-\^\\(){}|*+?.,:dDwWsSbBpPQExa0-9<>é&~]{0,24}"#) {
            if let Ok(compiled) = Pattern::compile(&pattern, Anchoring::Whole) {
                compiled.is_match(b"a-\xff1[");
            }
        }
    }
}
