//! The plan of a day: what is configured, and what happens when. It follows from a seed, and it is all that chance
//! decides: each event carries its own seed, so that a plan without one of them is otherwise the same day. That is
//! what makes a failing day small enough to read.

use super::random::Random;
use std::fmt;

/// Milliseconds of a day.
pub const DAY_MS: u64 = 24 * 3_600_000;

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub shape: Shape,
    /// In the order of their times.
    pub events: Vec<Event>,
}

/// What a day is like as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Of each Prometheus.
    pub scrape_ms: [u64; 2],
    /// `None`: the agent finds out by itself.
    pub hold_s: Option<u64>,
    /// The agent keeps nothing and holds nothing: what every other one does.
    pub plain: bool,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub at_ms: u64,
    pub what: What,
    /// For what the event itself leaves to chance.
    pub salt: u64,
}

/// Numbers of pods and containers are taken modulo those that there are; times are in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    StartPod,
    DeletePod(u64),
    /// A container ends and runs again.
    Restart(u64),
    Write {
        container: u64,
        lines: u64,
    },
    /// The kubelet rotates one log whatever its size.
    Rotate(u64),
    /// It ends after so many more steps.
    KubeletDies(usize),
    ReopenFails,
    /// The wall clock is set.
    ClockStep(i64),
    /// Local time is.
    LocalTime(i64),
    /// The disk of the logs is full for so long.
    LogsFull(u64),
    /// The agent's process is gone for so long.
    Kill(u64),
    /// It is told to end, and its last cut is scraped.
    Stop(u64),
    /// Another pod takes its place, under other labels, in good order or not.
    Rollout {
        down: u64,
        killed: bool,
    },
    Reboot {
        down: u64,
        power: bool,
    },
    StateFull(u64),
    StateFails(u64),
    StateSlow(u64),
    StateRemoved,
    StateDamaged,
    Reload,
    /// So many scrapes of one Prometheus never arrive.
    ScrapesLost(usize, u64),
    /// So many are answered, and the answer is lost.
    AnswersLost(usize, u64),
    PrometheusDown(usize, u64),
    /// It has another address from now on.
    PrometheusMoves(usize),
}

impl What {
    /// Its name, without its numbers.
    pub fn name(&self) -> String {
        let text = format!("{self:?}");
        let end = text.find(['(', ' ']).unwrap_or(text.len());
        match self {
            What::Reboot { power: true, .. } => "PowerLoss".to_string(),
            _ => text[..end].to_string(),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.3} s  {:?}  (salt {:#x})", self.at_ms as f64 / 1000.0, self.what, self.salt)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:?}", self.seed, self.shape)?;
        self.events.iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}

/// Which faults a day may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// None at all.
    Calm,
    /// Those of the agent, its disk and its scrapers, of which none may cost a line.
    Harmless,
    All,
}

impl Plan {
    /// The day of an agent that keeps nothing.
    pub fn plain(seed: u64) -> Plan {
        let mut plan = Plan::of(seed, Faults::Harmless);
        plan.shape.plain = true;
        plan.events.retain(|event| !matches!(event.what, What::ClockStep(..0)));
        plan
    }

    pub fn of(seed: u64, faults: Faults) -> Plan {
        let mut random = Random::new(seed);
        let scrape = |random: &mut Random| *random.pick(&[15_000, 30_000, 30_000, 60_000]);
        let shape = Shape {
            scrape_ms: [scrape(&mut random), scrape(&mut random)],
            hold_s: random.percent(40).then_some(150),
            plain: false,
        };
        let mut plan = Plan { seed, shape, events: Vec::new() };
        plan.add(1_000, What::StartPod, &mut random);
        plan.add(2_000, What::StartPod, &mut random);
        for _ in 0..random.between(3, 5) {
            let start = random.between(60_000, DAY_MS - 3_600_000);
            let minutes = random.between(3, 9);
            plan.session(start, start + minutes * 60_000, faults, &mut random);
        }
        plan.events.sort_by_key(|event| event.at_ms);
        // Where the clock was set back, neither names nor times say which of two files is the older one. An agent that
        // saw them knows; one that lost its memory cannot.
        let forgets = random.percent(50);
        plan.events.retain(|event| match event.what {
            What::ClockStep(seconds) => seconds > 0 || !forgets,
            What::StateRemoved | What::StateDamaged => forgets,
            _ => true,
        });
        plan
    }

    /// A while in which something is going on.
    fn session(&mut self, start: u64, end: u64, faults: Faults, random: &mut Random) {
        let mut now = start;
        // Few kinds at a time meet each other more often.
        let kinds: Vec<u64> = (0..3).map(|_| random.below(100)).collect();
        let rate = *random.pick(&[10, 20, 40]);
        while now < end {
            now += random.between(100, 8_000);
            let what = match random.below(100) {
                roll if roll < rate && faults != Faults::Calm => fault(*random.pick(&kinds), faults, random),
                roll if roll > 96 => What::StartPod,
                roll if roll > 90 => What::Rotate(random.below(8)),
                _ => What::Write { container: random.below(8), lines: random.between(1, 8) },
            };
            self.add(now, what, random);
        }
    }

    fn add(&mut self, at_ms: u64, what: What, random: &mut Random) {
        self.events.push(Event { at_ms, what, salt: random.next() });
    }
}

/// A fault of a kind, which is a number below 100.
fn fault(kind: u64, faults: Faults, random: &mut Random) -> What {
    let which = random.below(8);
    let prometheus = random.below(2) as usize;
    let down = *random.pick(&[0, 1, 3, 10, 30, 90]);
    // After a minute values are shown that no disk holds, and a crash takes them back.
    let state_fails = if faults == Faults::Harmless { down.min(30) } else { down } + 1;
    let what = match kind {
        0..14 => What::Kill(down),
        14..20 => What::Stop(down),
        20..28 => What::Rollout { down, killed: random.percent(40) },
        28..33 => What::Reboot { down, power: false },
        33..40 => What::Reboot { down, power: true },
        40..44 => What::StateFull(state_fails),
        44..48 => What::StateFails(state_fails),
        48..52 => What::StateSlow(down + 1),
        52..54 => What::StateRemoved,
        54..56 => What::StateDamaged,
        56..60 => What::Reload,
        60..64 => What::ScrapesLost(prometheus, random.between(1, 4)),
        64..68 => What::AnswersLost(prometheus, random.between(1, 4)),
        68..71 => What::PrometheusDown(prometheus, *random.pick(&[20, 100, 400])),
        71..73 => What::PrometheusMoves(prometheus),
        73..78 => What::KubeletDies(random.below(8) as usize),
        78..82 => What::ReopenFails,
        82..85 => What::ClockStep(*random.pick(&[-86_400, -7, -1, 1, 5, 86_400])),
        85..87 => What::LocalTime(*random.pick(&[-3_600, 3_600])),
        87..90 => What::LogsFull(down + 1),
        90..95 => What::Restart(which),
        _ => What::DeletePod(which),
    };
    let harmful = matches!(
        what,
        What::Reboot { power: true, .. }
            | What::StateRemoved
            | What::StateDamaged
            | What::LogsFull(_)
            | What::DeletePod(_)
            | What::Restart(_)
    );
    if faults == Faults::Harmless && harmful { What::Kill(random.below(3)) } else { what }
}

/// Leaves events out for as long as the rest still fails: what remains is a day in which each of them matters.
pub fn shrunk(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut small = plan.clone();
    let mut piece = small.events.len().div_ceil(2);
    while piece > 0 {
        let (mut at, before) = (0, small.events.len());
        while at < small.events.len() {
            let mut events = small.events.clone();
            events.drain(at..(at + piece).min(events.len()));
            let candidate = Plan { events, ..small.clone() };
            if fails(&candidate) {
                small = candidate;
            } else {
                at += piece;
            }
        }
        let same = small.events.len() == before;
        piece = if piece > 1 || same { piece / 2 } else { 1 };
    }
    small
}
