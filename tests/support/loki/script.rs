//! What a Loki does instead of answering as it should, or after it has stored what it got.

use super::state::{Received, Reply};
use std::collections::VecDeque;
use std::time::Duration;

/// One answer out of the ordinary.
#[derive(Clone, Debug)]
pub struct Play {
    /// Nothing: what Loki itself says.
    pub reply: Option<Reply>,
    /// Whether the push is taken as it always is before that.
    pub stores: bool,
    pub delivery: Delivery,
}

/// How an answer goes over the wire.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// It is thought about for so long.
    pub late: Duration,
    pub manner: Manner,
}

#[derive(Clone, Debug, Default)]
pub enum Manner {
    #[default]
    Whole,
    /// Nothing ever comes; the connection stays.
    Never,
    /// The connection is closed after so many bytes of the answer.
    Cut(usize),
    /// The same, by a reset.
    Reset(usize),
    /// So many bytes at a time, with a pause after each.
    Drip { bytes: usize, pause: Duration },
}

impl Play {
    /// This answer, with nothing stored.
    pub fn says(status: u16, body: &str) -> Play {
        let reply = Reply { status, headers: Vec::new(), body: body.as_bytes().to_vec() };
        Play { reply: Some(reply), stores: false, delivery: Delivery::default() }
    }

    /// What Loki does by itself; to be varied.
    pub fn as_usual() -> Play {
        Play { reply: None, stores: true, delivery: Delivery::default() }
    }

    /// Stored, and the connection is closed before a byte of the answer.
    pub fn lost() -> Play {
        Play::as_usual().cut(0)
    }

    /// Read and forgotten, and the connection is closed.
    pub fn dropped() -> Play {
        Play { stores: false, ..Play::lost() }
    }

    /// Read and forgotten, and nothing is ever answered.
    pub fn ignored() -> Play {
        Play { stores: false, ..Play::as_usual().manner(Manner::Never) }
    }

    /// A page of a proxy in between that knows no Loki.
    pub fn html() -> Play {
        Play::says(200, "<html><body>Welcome</body></html>").header("content-type", "text/html")
    }

    pub fn redirect(status: u16, location: &str) -> Play {
        Play::says(status, "").header("location", location)
    }

    pub fn header(mut self, name: &str, value: &str) -> Play {
        if let Some(reply) = &mut self.reply {
            reply.headers.push((name.to_string(), value.to_string()));
        }
        self
    }

    /// The push is stored all the same.
    pub fn after_storing(self) -> Play {
        Play { stores: true, ..self }
    }

    pub fn late(mut self, late: Duration) -> Play {
        self.delivery.late = late;
        self
    }

    /// The connection ends after so many bytes of the answer.
    pub fn cut(self, bytes: usize) -> Play {
        self.manner(Manner::Cut(bytes))
    }

    pub fn reset(self, bytes: usize) -> Play {
        self.manner(Manner::Reset(bytes))
    }

    pub fn dripping(self, bytes: usize, pause: Duration) -> Play {
        self.manner(Manner::Drip { bytes, pause })
    }

    pub fn manner(mut self, manner: Manner) -> Play {
        self.delivery.manner = manner;
        self
    }
}

type Rule = Box<dyn FnMut(&Received) -> Option<Play> + Send>;

/// What is to be played when.
#[derive(Default)]
pub struct Script {
    next: VecDeque<Play>,
    rules: Vec<Rule>,
}

impl Script {
    /// The next so many pushes get this.
    pub fn next(&mut self, count: usize, play: Play) {
        self.next.extend(std::iter::repeat_n(play, count));
    }

    /// Every push for which the rule says something gets that, once [`next`](Script::next) has run out.
    pub fn when(&mut self, rule: impl FnMut(&Received) -> Option<Play> + Send + 'static) {
        self.rules.push(Box::new(rule));
    }

    pub fn clear(&mut self) {
        *self = Script::default();
    }

    pub fn is_over(&self) -> bool {
        self.next.is_empty()
    }

    pub(super) fn take(&mut self, push: &Received) -> Option<Play> {
        self.next.pop_front().or_else(|| self.rules.iter_mut().find_map(|rule| rule(push)))
    }
}
