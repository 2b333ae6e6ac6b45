//! What a watcher tells of its troubles, to metrics and to people.

use std::time::Duration;

/// Why a list or a watch has to be begun again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The server ended a watch in order.
    Ended,
    /// The version is too old for it.
    Expired,
    /// It does not know who we are.
    Unauthorized,
    /// We may not see this.
    Forbidden,
    /// Another status than these.
    Refused,
    /// No answer, or one that broke off.
    Unreachable,
    /// An answer that is none of the API's.
    Invalid,
}

impl Reason {
    pub const ALL: [Reason; 7] = [
        Reason::Ended,
        Reason::Expired,
        Reason::Unauthorized,
        Reason::Forbidden,
        Reason::Refused,
        Reason::Unreachable,
        Reason::Invalid,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Ended => "ended",
            Reason::Expired => "expired",
            Reason::Unauthorized => "unauthorized",
            Reason::Forbidden => "forbidden",
            Reason::Refused => "refused",
            Reason::Unreachable => "unreachable",
            Reason::Invalid => "invalid",
        }
    }
}

/// What an operator should know: once when it begins to fail, once when it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    Failing { reason: Reason, text: String },
    Recovered { after: Duration },
}
