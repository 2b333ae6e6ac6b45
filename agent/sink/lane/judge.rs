//! What an answer means.

use super::refusal::{Refusal, without_quoted};
use super::report::Trouble;
use crate::sink::Answer;

/// What is to be done about the part that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Loki has all of it.
    Accepted,
    /// Loki names what it does not take; what is said of the rest stands in the refusal.
    Refused(Refusal),
    /// Nothing of it can ever be stored: why.
    Hopeless(&'static str),
    /// Refused for something in it, and nobody says what.
    Unexplained,
    /// Too big for one request.
    TooLarge,
    /// Nothing wrong with it but the moment.
    Later(Trouble),
    /// No line can be the cause: kept until somebody has put it right.
    Stuck(Trouble),
}

/// A tenant that Loki can have no streams of, as it may come out of a log's text.
pub const INVALID_TENANT: &str = "invalid_tenant";

impl Verdict {
    /// Loki says 204. With `accept_200` any 2xx is as good, as for Promtail; but 260 is Loki's for a blocked tenant, and a
    /// page comes from somebody else.
    pub fn of(answer: &Answer, accept_200: bool) -> Self {
        let Answer::Status { code, body, .. } = answer else { return Verdict::Later(Trouble::Unreachable) };
        match code {
            260 => Verdict::Stuck(Trouble::Blocked),
            204 => Verdict::Accepted,
            200..=299 if accept_200 && !is_page(body) => Verdict::Accepted,
            0..=299 | 408 => Verdict::Stuck(Trouble::Foreign),
            300..=399 => Verdict::Stuck(Trouble::Redirected),
            429 => Verdict::Later(rate_trouble(body)),
            // What Loki says when it gave up because of a deadline of its own.
            499 | 500.. => Verdict::Later(Trouble::ServerError),
            // Loki lets its operator choose the code for a blocked tenant.
            _ if body.to_ascii_lowercase().contains("ingestion blocked for user") => Verdict::Stuck(Trouble::Blocked),
            401 | 402 | 403 | 407 => Verdict::Stuck(Trouble::Unauthorized),
            404 | 405 => Verdict::Stuck(Trouble::WrongAddress),
            413 => Verdict::TooLarge,
            400 => of_bad_request(body),
            _ => Verdict::Unexplained,
        }
    }
}

fn of_bad_request(body: &str) -> Verdict {
    let (text, _) = without_quoted(body);
    let says = |words: &str| text.contains(words);
    // Go's and nginx' word for a URL that should begin with https.
    if text.trim().is_empty() || is_page(body) || says("http request to an https server") {
        return Verdict::Stuck(Trouble::Foreign);
    }
    if says("no org id") {
        return Verdict::Stuck(Trouble::Unauthorized);
    }
    if text.starts_with("tenant id") && (says("too long") || says("unsupported character") || says("is unsafe")) {
        return Verdict::Hopeless(INVALID_TENANT);
    }
    // Entries that only came too fast are among the refused.
    if says("rate limit exceeded") {
        return Verdict::Later(Trouble::RateLimited);
    }
    Refusal::read(body).map_or(Verdict::Unexplained, Verdict::Refused)
}

fn rate_trouble(body: &str) -> Trouble {
    let body = body.to_ascii_lowercase();
    if body.contains("maximum active stream limit") { Trouble::StreamLimit } else { Trouble::RateLimited }
}

/// A page for humans: Loki writes none.
fn is_page(body: &str) -> bool {
    body.trim_start().starts_with('<')
}
