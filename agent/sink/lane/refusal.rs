//! Reads the body of a 400: what Loki refused of a push whose rest it has stored.
//!
//! Two places of Loki speak. The distributor lists one message for each entry or each stream that it did not let pass,
//! equal ones as `3 errors like: …`, joined by `; `. The ingester lists some entries of one stream and says
//! `total ignored: 3 out of 10 for stream: …`. Everything between double quotes is label values, so written by whoever
//! wrote the log, and says nothing; two messages hold such text without quotes, and what they say is not counted.

use crate::sink::answer::BODY_BYTES_MAX;

/// Reasons under which refused entries are counted.
pub const TOO_OLD: &str = "too_old";
pub const TOO_NEW: &str = "too_new";
pub const TOO_FAR_BEHIND: &str = "too_far_behind";
pub const OUT_OF_ORDER: &str = "out_of_order";
pub const LINE_TOO_LONG: &str = "line_too_long";
pub const STRUCTURED_METADATA: &str = "structured_metadata";
pub const LABEL_LIMITS: &str = "label_limits";
pub const INVALID_LABELS: &str = "invalid_labels";
pub const MISSING_LABELS: &str = "missing_labels";

/// What each message is about, by words that stand in it whatever version wrote it.
const PHRASES: [(&str, &str, About); 17] = [
    ("label names; limit", LABEL_LIMITS, About::Stream),
    ("label name too long", LABEL_LIMITS, About::StreamAsWritten),
    ("label value too long", LABEL_LIMITS, About::StreamAsWritten),
    ("duplicate label name", INVALID_LABELS, About::StreamAsWritten),
    ("couldn't parse labels", INVALID_LABELS, About::Request),
    ("error parsing labels", INVALID_LABELS, About::StreamAsWritten),
    ("missing required labels", MISSING_LABELS, About::Stream),
    ("at least one label pair", MISSING_LABELS, About::Stream),
    ("timestamp too old", TOO_OLD, About::Entry),
    ("timestamp too new", TOO_NEW, About::Entry),
    ("max entry size", LINE_TOO_LONG, About::Entry),
    ("includes structured metadata", STRUCTURED_METADATA, About::Entry),
    ("structured metadata too", STRUCTURED_METADATA, About::Entry),
    ("too many structured metadata", STRUCTURED_METADATA, About::Entry),
    ("too far behind", TOO_FAR_BEHIND, About::Listed),
    ("out of order", OUT_OF_ORDER, About::Listed),
    ("total ignored:", TOO_FAR_BEHIND, About::Listed),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// One entry.
    Entry,
    /// All entries of one stream.
    Stream,
    /// The same, and the message goes on with text out of the log: what follows may be a lie.
    StreamAsWritten,
    /// One stream; and the push was read no further, so nothing is stored.
    Request,
    /// Some entries of a stream, with their sum at the end.
    Listed,
}

/// What Loki refused of a push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// How many entries, by reason; what was said of whole streams is not in it.
    pub counts: Vec<(&'static str, u64)>,
    /// How many whole streams.
    pub streams: u64,
    /// The first thing that the body says.
    pub first: &'static str,
    /// That first thing is about a whole stream.
    pub of_stream: bool,
    /// `counts` and `streams` are all there is.
    pub certain: bool,
    /// Everything else in the push is stored: nothing in the body says otherwise.
    pub rest_stored: bool,
}

impl Refusal {
    /// Nothing where the body names no reason that is known.
    pub fn read(body: &str) -> Option<Self> {
        let (text, balanced) = without_quoted(body);
        let mut refusal = Refusal {
            certain: balanced && body.len() + char::MAX.len_utf8() <= BODY_BYTES_MAX,
            rest_stored: true,
            ..Refusal::default()
        };
        // A listed entry waits for the sum of its stream.
        let mut listed = None;
        for message in messages(&text) {
            let Some((reason, about)) = about(message) else {
                refusal.certain = false;
                continue;
            };
            if refusal.first.is_empty() {
                (refusal.first, refusal.of_stream) = (reason, !matches!(about, About::Entry | About::Listed));
            }
            match about {
                About::Entry => refusal.add(reason, times(message)),
                About::Stream => {
                    refusal.streams = refusal.streams.saturating_add(times(message));
                    // Which streams is not said, so one reason can't be told from another.
                    refusal.certain &= reason == refusal.first;
                }
                About::StreamAsWritten => refusal.certain = false,
                About::Request => (refusal.certain, refusal.rest_stored) = (false, false),
                About::Listed => {
                    refusal.rest_stored = false;
                    match number_after(message, "total ignored: ") {
                        Some(count) => refusal.add(listed.take().unwrap_or(reason), count),
                        None => listed = Some(reason),
                    }
                }
            }
        }
        refusal.certain &= listed.is_none();
        (!refusal.first.is_empty()).then_some(refusal)
    }

    /// Entries that were refused, as far as the body says.
    pub fn sum(&self) -> u64 {
        self.counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    fn add(&mut self, reason: &'static str, count: u64) {
        match self.counts.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => self.counts.push((reason, count)),
        }
    }
}

/// In small letters; what stands between double quotes is left out, as Go writes it. False: the last quote stays open.
pub fn without_quoted(body: &str) -> (String, bool) {
    let (mut text, mut quoted, mut escaped) = (String::with_capacity(body.len()), false, false);
    for c in body.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            _ => text.push(c.to_ascii_lowercase()),
        }
    }
    (text, !quoted)
}

/// The messages of a body, one after another.
fn messages(text: &str) -> impl Iterator<Item = &str> {
    // `has 16 label names; limit 15` is one message.
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let mut from = 0;
            let end = loop {
                let Some(found) = rest[from..].find([';', '\n']) else { break rest.len() };
                if !rest[..from + found].ends_with("label names") {
                    break from + found;
                }
                from += found + 1;
            };
            let message = rest[..end].trim();
            rest = rest.get(end + 1..).unwrap_or_default();
            if !message.is_empty() {
                return Some(message);
            }
        }
    })
}

fn about(message: &str) -> Option<(&'static str, About)> {
    let found = PHRASES.iter().find(|(words, _, _)| message.contains(words))?;
    Some((found.1, found.2))
}

/// `3 errors like: …` is three.
fn times(message: &str) -> u64 {
    // An older Loki begins its list with `3 errors: `.
    let message = match message.split_once(" errors: ") {
        Some((count, rest)) if count.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => message,
    };
    match message.split_once(" errors like: ") {
        Some((count, _)) => count.parse().unwrap_or(1),
        None => 1,
    }
}

fn number_after(message: &str, words: &str) -> Option<u64> {
    let after = &message[message.find(words)? + words.len()..];
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    after[..digits].parse().ok()
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
pub mod tests;
