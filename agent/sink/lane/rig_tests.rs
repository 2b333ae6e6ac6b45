//! A lane, a clock and whoever answers, for the tests beside this.

use super::*;
use crate::sink::wire::{self, Message};

/// Everything that a lane told.
#[derive(Default)]
pub struct Seen {
    pub requests: Vec<(Option<u16>, Outcome)>,
    pub letters: Vec<DeadLetter>,
    pub troubles: Vec<(Trouble, Option<u16>, String)>,
    pub recovered: Vec<Duration>,
    pub clocks: Vec<i64>,
}

impl Report for Seen {
    fn request(&mut self, code: Option<u16>, outcome: Outcome) {
        self.requests.push((code, outcome));
    }

    fn server_clock(&mut self, unix_seconds: i64) {
        self.clocks.push(unix_seconds);
    }

    fn dead_letter(&mut self, letter: DeadLetter) {
        self.letters.push(letter);
    }

    fn trouble(&mut self, trouble: Trouble, code: Option<u16>, text: &str) {
        self.troubles.push((trouble, code, text.to_owned()));
    }

    fn recovered(&mut self, after: Duration) {
        self.recovered.push(after);
    }
}

pub struct Rig {
    pub lane: Lane,
    pub seen: Seen,
    pub now: Duration,
    /// When each push was made, and its bytes.
    pub pushes: Vec<(Duration, Bytes)>,
}

pub fn config() -> LaneConfig {
    LaneConfig {
        min_period: Duration::from_millis(500),
        max_period: Duration::from_secs(300),
        max_retries: None,
        drop_rate_limited: false,
        accept_200: false,
    }
}

impl Rig {
    pub fn new(config: LaneConfig) -> Self {
        Rig { lane: Lane::new(config, 7), seen: Seen::default(), now: Duration::from_secs(1000), pushes: Vec::new() }
    }

    pub fn take(&mut self, streams: &[(&str, Vec<String>)]) -> u64 {
        let (message, lines, bytes) = message(streams);
        assert_eq!(self.take_packed(wire::pack(&message), Lot { entries: lines, bytes }), None);
        lines
    }

    pub fn take_packed(&mut self, packed: Bytes, lot: Lot) -> Option<Settled> {
        self.lane.take(packed, lot, self.now)
    }

    /// One stream of so many lines, each of so many bytes and none like another.
    pub fn take_lines(&mut self, lines: usize, bytes: usize) -> u64 {
        let line = |number| format!("{number:0bytes$}");
        self.take(&[("{a=\"b\"}", (0..lines).map(line).collect())])
    }

    /// Goes on, in time that costs none, until the batch is settled or so many requests were made.
    pub fn run(&mut self, requests_max: usize, mut loki: impl FnMut(&Message) -> Answer) -> Option<Settled> {
        for _ in 0..requests_max {
            self.now = match self.lane.next(self.now) {
                Step::Wait(until) => {
                    assert!(until > self.now);
                    until
                }
                Step::Push(_) => self.now,
                Step::Idle => panic!("nothing to do"),
            };
            let Step::Push(push) = self.lane.next(self.now) else { panic!("what was waited for is not there") };
            assert_eq!(self.lane.next(self.now), Step::Push(push.clone()), "asked again it is the same");
            let message = Message::unpack(&push.body).expect("a message");
            assert_eq!(message.len() as u64, push.lot.entries);
            if let (Some((_, Outcome::Retried)), Some((_, body))) = (self.seen.requests.last(), self.pushes.last()) {
                assert_eq!(push.body, body, "a repeat has the same bytes");
            }
            self.pushes.push((self.now, push.body));
            let answer = loki(&message);
            self.now += Duration::from_millis(1);
            if let Some(settled) = self.lane.answered(answer, self.now, &mut self.seen) {
                assert!(self.lane.is_idle());
                return Some(settled);
            }
        }
        None
    }

    /// The pauses between the pushes.
    pub fn pauses(&self) -> Vec<Duration> {
        self.pushes.windows(2).map(|two| two[1].0 - two[0].0).collect()
    }
}

pub fn status(code: u16, body: &str) -> Answer {
    Answer::Status { code, retry_after: None, body: body.to_owned(), date: None }
}

pub fn accepted() -> Answer {
    status(204, "")
}

pub fn nobody() -> Answer {
    Answer::None("connection refused".to_owned())
}

/// The lines of a message.
pub fn lines_of(message: &Message) -> Vec<String> {
    let line = |number| String::from_utf8_lossy(message.entry(number).unwrap().line).into_owned();
    (0..message.len()).map(line).collect()
}

/// What was dropped, and why.
pub fn dropped(settled: &Settled) -> Vec<(&'static str, u64)> {
    let mut dropped: Vec<_> = settled.dropped.iter().map(|(reason, lot)| (*reason, lot.entries)).collect();
    dropped.sort_unstable();
    dropped
}

/// A message, its lines and their bytes.
pub fn message(streams: &[(&str, Vec<String>)]) -> (Vec<u8>, u64, u64) {
    let (mut out, mut count, mut bytes) = (Vec::new(), 0, 0);
    for (labels, lines) in streams {
        let mut body = field(1, labels.as_bytes());
        for line in lines {
            count += 1;
            bytes += line.len() as u64;
            let stamp = field(1, &[8, count as u8 & 0x7f]);
            body.extend(field(2, &[stamp, field(2, line.as_bytes())].concat()));
        }
        out.extend(field(1, &body));
    }
    (out, count, bytes)
}

fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let (mut out, mut len) = (vec![(number << 3) | 2], body.len());
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    [out, body.to_vec()].concat()
}
