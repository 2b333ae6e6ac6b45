//! What a lane tells while it works.

use super::dead_letters::DeadLetter;
use std::time::Duration;

/// Where a lane reports to, for metrics and the agent's own log.
pub trait Report {
    /// One request was answered, or was not (`None`).
    fn request(&mut self, code: Option<u16>, outcome: Outcome);
    /// What a server's clock says, in seconds since 1970.
    fn server_clock(&mut self, unix_seconds: i64);
    /// An entry that Loki refuses without a reason that is known, or that is too large alone. It counts as dropped.
    fn dead_letter(&mut self, letter: DeadLetter);
    /// Batches do not get through: once for each kind until they do. `text` is what was answered, cut short.
    fn trouble(&mut self, trouble: Trouble, code: Option<u16>, text: &str);
    /// They get through again, so long after the first failure.
    fn recovered(&mut self, after: Duration);
}

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// Loki has a part of it, or nothing, and says what it will never take.
    Refused,
    /// It is sent again in smaller parts.
    Split,
    /// It is sent again as it is.
    Retried,
    /// It is sent again later, while others go on.
    Aside,
    /// It is given up, as the configuration says.
    Dropped,
}

/// Why batches do not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No answer, or not in time.
    Unreachable,
    ServerError,
    RateLimited,
    /// 429 because the tenant has too many streams: too many labels, not too many lines.
    StreamLimit,
    /// 401, 403: token, password or tenant.
    Unauthorized,
    /// 404, 405: the URL.
    WrongAddress,
    /// 260, or whatever code Loki was told: this tenant may not write at present.
    Blocked,
    /// 3xx: not followed.
    Redirected,
    /// An answer that Loki does not give: a proxy or another server speaks.
    Foreign,
    /// One entry after another is refused and none is taken: more likely a wrong server than wrong entries.
    RefusesAll,
}

impl Trouble {
    /// As the value of a label.
    pub fn name(self) -> &'static str {
        match self {
            Trouble::Unreachable => "unreachable",
            Trouble::ServerError => "server_error",
            Trouble::RateLimited => "rate_limited",
            Trouble::StreamLimit => "stream_limit",
            Trouble::Unauthorized => "unauthorized",
            Trouble::WrongAddress => "wrong_address",
            Trouble::Blocked => "blocked",
            Trouble::Redirected => "redirected",
            Trouble::Foreign => "foreign_answer",
            Trouble::RefusesAll => "refuses_all",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Tells trouble once when it begins and once when it has passed, however many attempts lie between.
#[derive(Default)]
pub struct TroubleLog {
    /// Since the last success.
    first_failure: Option<Duration>,
    failures: u32,
    /// The kinds that were told since then, by their bits.
    told: u16,
    last: Option<Trouble>,
}

/// A single failure is no trouble yet: servers restart, and limits are touched. The counters show it.
const FAILURES_UNTOLD: u32 = 1;
const TEXT_BYTES_MAX: usize = 512;

impl TroubleLog {
    /// `at_once`: waiting alone will not help.
    pub fn failed(
        &mut self,
        trouble: Trouble,
        at_once: bool,
        (code, text): (Option<u16>, &str),
        now: Duration,
        report: &mut dyn Report,
    ) {
        self.first_failure.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        self.last = Some(trouble);
        if (at_once || self.failures > FAILURES_UNTOLD) && self.told & trouble.bit() == 0 {
            self.told |= trouble.bit();
            report.trouble(trouble, code, cut(text, TEXT_BYTES_MAX));
        }
    }

    pub fn succeeded(&mut self, now: Duration, report: &mut dyn Report) {
        if self.told != 0 {
            report.recovered(now.saturating_sub(self.first_failure.unwrap_or(now)));
        }
        *self = TroubleLog::default();
    }

    /// The last kind; nothing after a success.
    pub fn now(&self) -> Option<Trouble> {
        self.last
    }
}

/// The beginning of a text, at a character boundary.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
