//! Against a Loki that refuses, loses, chokes and lies at random: everything that it can take arrives, everything else is
//! counted by its reason, and the batch always has an end.

use super::refusal::*;
use super::rig_tests::*;
use super::*;
use crate::sink::wire::Message;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::env;

pub fn cases(few: u32) -> u32 {
    env::var("WEIR_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(few)
}

/// What is the matter with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    Old,
    Long,
    /// Refused without a reason that is known, and everything with it.
    Poison,
    /// Larger than a request may be.
    Large,
}

/// What is the matter with the way to Loki, at one request.
#[derive(Clone, Copy, Debug)]
enum Weather {
    Fine,
    /// The push doesn't arrive.
    Lost,
    /// It does, and the answer doesn't.
    AnswerLost,
    Code(u16),
}

#[derive(Clone, Debug)]
struct Stream {
    labels: String,
    /// Loki takes nothing of it.
    refused: bool,
    lines: Vec<Flaw>,
}

/// Stores as Loki does, and never says more than Loki does.
struct Loki {
    streams: Vec<Stream>,
    /// Bytes of lines in one request.
    request_bytes_max: u64,
    /// Its answer breaks off after so many messages, with one that nobody knows.
    messages_max: usize,
    stored: BTreeSet<String>,
}

const LARGE: usize = 3000;

impl Loki {
    fn push(&mut self, message: &Message) -> Answer {
        if message.bytes_of(0..message.len()) > self.request_bytes_max {
            return status(413, "request body too large");
        }
        let entries: Vec<_> = (0..message.len()).map(|number| message.entry(number).unwrap()).collect();
        let lines = lines_of(message);
        let flaw = |line: &str| self.streams[stream_of(line)].lines[number_of(line)];
        if lines.iter().any(|line| flaw(line) == Flaw::Poison) {
            return status(400, "proto: wrong wireType = 7");
        }
        let (mut messages, mut refused, mut good) = (Vec::new(), BTreeSet::new(), Vec::new());
        for (entry, line) in entries.iter().zip(&lines) {
            let labels = entry.labels;
            if self.streams[stream_of(line)].refused {
                refused.insert(format!(
                    "stream '{labels}' has label value too long: 'x; 9 errors like: timestamp too old'"
                ));
                continue;
            }
            match flaw(line) {
                Flaw::Old => messages.push(format!("entry for stream '{labels}' has timestamp too old: T")),
                Flaw::Long => messages.push(format!("Max entry size '1' bytes exceeded for stream '{labels}'")),
                _ => good.push(line.clone()),
            }
        }
        self.stored.extend(good);
        let mut grouped: Vec<_> = refused.into_iter().map(|message| format!("1 errors like: {message}")).collect();
        while let Some(first) = messages.first().cloned() {
            let count = messages.len();
            messages.retain(|message| *message != first);
            grouped.push(format!("{} errors like: {first}", count - messages.len()));
        }
        if grouped.is_empty() {
            return accepted();
        }
        if grouped.len() > self.messages_max {
            grouped.truncate(self.messages_max);
            grouped.push("…".to_owned());
        }
        status(400, &grouped.join("; "))
    }

    fn count(&self, wanted: impl Fn(&Stream, Flaw) -> bool) -> u64 {
        let own = |stream: &Stream| stream.lines.iter().filter(|flaw| wanted(stream, **flaw)).count() as u64;
        self.streams.iter().map(own).sum()
    }
}

/// `<stream>-<number>-…`
fn line(stream: usize, number: usize, flaw: Flaw) -> String {
    format!("{stream}-{number}-{}", "x".repeat(if flaw == Flaw::Large { LARGE } else { 10 }))
}

fn stream_of(line: &str) -> usize {
    line.split('-').next().unwrap().parse().unwrap()
}

fn number_of(line: &str) -> usize {
    line.split('-').nth(1).unwrap().parse().unwrap()
}

fn flaws() -> impl Strategy<Value = Flaw> {
    prop_oneof![20 => Just(Flaw::None), 2 => Just(Flaw::Old), 1 => Just(Flaw::Long), 1 => Just(Flaw::Poison), 1 => Just(Flaw::Large)]
}

fn streams() -> impl Strategy<Value = Vec<Stream>> {
    let one = (prop::bool::weighted(0.2), prop::collection::vec(flaws(), 1..30), any::<bool>());
    prop::collection::vec(one, 1..6).prop_map(|streams| {
        let named = streams.into_iter().enumerate().map(|(number, (refused, lines, hostile))| {
            let value = if hostile { r#"a\"; 99 errors like: timestamp too new"# } else { "plain" };
            Stream { labels: format!("{{n=\"{number}\", v=\"{value}\"}}"), refused, lines }
        });
        named.collect()
    })
}

fn weather() -> impl Strategy<Value = Weather> {
    let codes = prop::sample::select(vec![429, 500, 503, 401, 404, 260, 200, 302, 408]);
    prop_oneof![6 => Just(Weather::Fine), 1 => Just(Weather::Lost), 1 => Just(Weather::AnswerLost), 1 => codes.prop_map(Weather::Code)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(150)))]

    #[test]
    fn whatever_loki_does_each_line_arrives_or_is_counted(
        streams in streams(),
        weather in prop::collection::vec(weather(), 0..60),
        request_bytes_max in prop_oneof![Just(1000_u64), 100..LARGE as u64],
        messages_max in 1..6_usize,
    ) {
        let mut rig = Rig::new(config());
        let taken: Vec<_> = streams.iter().enumerate().map(|(of, stream)| {
            let lines = stream.lines.iter().enumerate().map(|(number, flaw)| line(of, number, *flaw));
            (stream.labels.as_str(), lines.collect::<Vec<_>>())
        }).collect();
        let lines = rig.take(&taken);
        let mut loki = Loki { streams: streams.clone(), request_bytes_max, messages_max, stored: BTreeSet::new() };
        let mut weather = weather.into_iter();
        let settled = rig.run(3000, |message| match weather.next().unwrap_or(Weather::Fine) {
            Weather::Fine => loki.push(message),
            Weather::Lost => nobody(),
            Weather::AnswerLost => {
                loki.push(message);
                nobody()
            }
            Weather::Code(code) => status(code, ""),
        });
        let settled = settled.expect("an end");
        prop_assert_eq!(settled.entries(), lines);
        prop_assert_eq!(settled.acknowledged, loki.count(|stream, flaw| !stream.refused && flaw == Flaw::None));
        prop_assert_eq!(settled.acknowledged, loki.stored.len() as u64);
        let mut expected = vec![
            (LABEL_LIMITS, loki.count(|stream, flaw| stream.refused && ![Flaw::Poison, Flaw::Large].contains(&flaw))),
            (LINE_TOO_LONG, loki.count(|stream, flaw| !stream.refused && flaw == Flaw::Long)),
            (REJECTED, loki.count(|_, flaw| flaw == Flaw::Poison)),
            (TOO_LARGE, loki.count(|_, flaw| flaw == Flaw::Large)),
            (TOO_OLD, loki.count(|stream, flaw| !stream.refused && flaw == Flaw::Old)),
        ];
        expected.retain(|(_, count)| *count > 0);
        prop_assert_eq!(dropped(&settled), expected);
        let flaw_of = |letter: &DeadLetter| {
            let line = String::from_utf8_lossy(&letter.line).into_owned();
            streams[stream_of(&line)].lines[number_of(&line)]
        };
        prop_assert!(rig.seen.letters.iter().all(|letter| [Flaw::Poison, Flaw::Large].contains(&flaw_of(letter))));
        prop_assert_eq!(rig.seen.requests.len(), rig.pushes.len());
    }

    #[test]
    fn the_search_takes_a_logarithm_of_requests_an_entry(
        count in 1..3000_usize,
        places in prop::collection::btree_set(0..3000_usize, 0..8),
    ) {
        let bad: BTreeSet<_> = places.into_iter().map(|place| format!("{:08}", place % count)).collect();
        let mut rig = Rig::new(config());
        let lines = rig.take_lines(count, 8);
        let settled = rig.run(10_000, |message| {
            let poisoned = lines_of(message).iter().any(|line| bad.contains(line));
            if poisoned { status(400, "unknown") } else { accepted() }
        }).expect("an end");
        prop_assert_eq!((settled.acknowledged, settled.entries()), (lines - bad.len() as u64, lines));
        let depth = count.next_power_of_two().ilog2() as usize;
        prop_assert!(rig.pushes.len() <= 1 + 2 * bad.len() * depth, "{} requests for {} of {count}", rig.pushes.len(), bad.len());
        let found: BTreeSet<_> = rig.seen.letters.iter().map(|letter| String::from_utf8_lossy(&letter.line).into_owned()).collect();
        prop_assert_eq!(found, bad);
    }
}
