//! Knowing the objects of one kind as they are: list them, watch what changes, list again when the server has forgotten where
//! we were.
//!
//! No I/O and no clock: whoever drives it asks what to request [`next`](Watcher::next), tells what came of it, and gives the
//! time. The rules are those of the API's documentation ("Efficient detection of changes"): a list is of one version, a
//! watch begins behind a version, bookmarks say how far it is without a change, and status 410, as an answer or as a line
//! of a watch, means that the version is too old.
//!
//! Whatever goes wrong, what is known stays known. After a failure there is a pause, longer and longer up to half a minute,
//! unlike for any two agents: a server that comes back is not met by all nodes at once.

use super::known::{Known, OBJECTS_MAX};
use super::object::{Bare, Event, EventType, Metadata, Page, Status};
use super::report::{Notice, Reason};
use crate::sink::lane::Backoff;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::time::Duration;

/// Objects of one page of a list.
const PAGE_OBJECTS: usize = 250;
/// Pages of one list; a server whose list does not end has none.
const PAGES_MAX: u32 = 1000;
/// Pauses after failures.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A watch that ended sooner was hardly one; after it there is a pause.
const WATCH_MIN: Duration = Duration::from_secs(10);
/// How long the server is to let a watch live: at least this, and less than twice as long.
const WATCH_SECONDS: u64 = 300;
/// By so much a watch may outlive that.
const WATCH_GRACE: Duration = Duration::from_secs(30);

/// A kind of object, and what is kept of one.
pub trait Object: DeserializeOwned {
    type Kept: PartialEq;
    fn metadata(&self) -> &Metadata;
    fn keep(&self) -> Self::Kept;
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until then.
    Wait(Duration),
    /// Ask for the path and give the whole body.
    List(String),
    /// Ask for the path and give each line as it comes, until this time at most.
    Watch { path: String, until: Duration },
}

pub struct Watcher<O: Object> {
    /// Such as `/api/v1/pods`, and the parameters that never change.
    path: String,
    selection: String,
    known: Known<O::Kept>,
    phase: Phase<O::Kept>,
    backoff: Backoff,
    watch_seconds: u64,
    /// Nothing is asked before.
    not_before: Duration,
    /// When the present request began.
    began: Duration,
    /// Failures since something last went well, when the first of them was, and whether that was told.
    failures: u32,
    failing_since: Duration,
    told: bool,
    /// When the server last said something that could be used.
    heard: Option<Duration>,
    restarts: BTreeMap<Reason, u64>,
    notices: Vec<Notice>,
}

enum Phase<T> {
    List {
        /// Any version will do: the server's memory answers. Where we know better, it must be the newest.
        any_version: bool,
        in_pages: bool,
        pages: u32,
        continue_token: String,
        fresh: BTreeMap<String, T>,
    },
    Watch {
        version: String,
    },
}

impl<T> Phase<T> {
    fn list(any_version: bool, in_pages: bool) -> Phase<T> {
        Phase::List { any_version, in_pages, pages: 0, continue_token: String::new(), fresh: BTreeMap::new() }
    }
}

impl<O: Object> Watcher<O> {
    /// Of the objects below a path that both selectors choose; empty ones choose all. `seed`: another one for each agent.
    pub fn new(path: impl Into<String>, label_selector: &str, field_selector: &str, seed: u64) -> Self {
        let mut selection = String::new();
        for (name, value) in [("labelSelector", label_selector), ("fieldSelector", field_selector)] {
            if !value.is_empty() {
                selection.push_str(&format!("&{name}={}", escape(value)));
            }
        }
        Watcher {
            path: path.into(),
            selection,
            known: Known::default(),
            phase: Phase::list(true, true),
            backoff: Backoff::new(PAUSE_MIN, PAUSE_MAX, seed),
            watch_seconds: WATCH_SECONDS + seed % WATCH_SECONDS,
            not_before: Duration::ZERO,
            began: Duration::ZERO,
            failures: 0,
            failing_since: Duration::ZERO,
            told: false,
            heard: None,
            restarts: BTreeMap::new(),
            notices: Vec::new(),
        }
    }

    /// What to request now. Each request is followed by exactly one of [`listed`](Self::listed), [`ended`](Self::ended),
    /// [`refused`](Self::refused) and [`lost`](Self::lost), or by a [`line`](Self::line) that ends it.
    pub fn next(&mut self, now: Duration) -> Step {
        if now < self.not_before {
            return Step::Wait(self.not_before);
        }
        self.began = now;
        match &self.phase {
            Phase::List { any_version, in_pages, continue_token, .. } => {
                let mut path = format!("{}?", self.path);
                if *in_pages {
                    path.push_str(&format!("limit={PAGE_OBJECTS}"));
                }
                // A page's token says the version, too.
                if !continue_token.is_empty() {
                    path.push_str(&format!("&continue={}", escape(continue_token)));
                } else if *any_version {
                    path.push_str("&resourceVersion=0");
                }
                path.push_str(&self.selection);
                Step::List(path.replace("?&", "?"))
            }
            Phase::Watch { version } => Step::Watch {
                path: format!(
                    "{}?watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}{}",
                    self.path,
                    escape(version),
                    self.watch_seconds,
                    self.selection
                ),
                until: now + Duration::from_secs(self.watch_seconds) + WATCH_GRACE,
            },
        }
    }

    /// The body of a list, status 200.
    pub fn listed(&mut self, now: Duration, body: &[u8]) {
        let page: Page<O> = match serde_json::from_slice(body) {
            Ok(page) => page,
            Err(error) => return self.fail(now, Reason::Invalid, format!("its list cannot be read: {error}"), None),
        };
        let Phase::List { in_pages, pages, continue_token, fresh, .. } = &mut self.phase else { return };
        for object in page.items.iter().take(OBJECTS_MAX + 1 - fresh.len()) {
            fresh.insert(key(object.metadata()), object.keep());
        }
        *pages += 1;
        if !page.metadata.continue_token.is_empty() && *in_pages && fresh.len() <= OBJECTS_MAX {
            *continue_token = page.metadata.continue_token;
            if *pages == PAGES_MAX {
                self.fail(now, Reason::Invalid, "its list does not end".to_string(), None);
            }
            return;
        }
        let fresh = std::mem::take(fresh);
        self.phase = Phase::Watch { version: page.metadata.resource_version };
        self.known.replace(now, fresh);
        self.went_well(now);
    }

    /// A watch was opened, status 200.
    pub fn opened(&mut self, now: Duration) {
        self.went_well(now);
    }

    /// A line of a watch. Whether to read on; otherwise the request is over.
    pub fn line(&mut self, now: Duration, line: &[u8]) -> bool {
        if line.trim_ascii().is_empty() {
            return true;
        }
        let taken = self.take_line(now, line);
        if let Err(error) = &taken {
            self.fail(now, Reason::Invalid, format!("a line of its watch cannot be read: {error}"), None);
        }
        taken.unwrap_or(false)
    }

    fn take_line(&mut self, now: Duration, line: &[u8]) -> serde_json::Result<bool> {
        let kind: EventType = serde_json::from_slice(line)?;
        let version = match kind.name.as_str() {
            "ADDED" | "MODIFIED" => {
                let object = serde_json::from_slice::<Event<O>>(line)?.object;
                self.known.enter(key(object.metadata()), object.keep());
                object.metadata().resource_version.clone()
            }
            "DELETED" => {
                let object = serde_json::from_slice::<Event<Bare>>(line)?.object;
                self.known.leave(now, &key(&object.metadata));
                object.metadata.resource_version
            }
            "BOOKMARK" => serde_json::from_slice::<Event<Bare>>(line)?.object.metadata.resource_version,
            "ERROR" => {
                let status: Status = serde_json::from_slice::<Event<Status>>(line)?.object;
                self.refuse(now, &status, None);
                return Ok(false);
            }
            // What a later server may send.
            _ => String::new(),
        };
        if let Phase::Watch { version: last } = &mut self.phase
            && !version.is_empty()
        {
            *last = version;
        }
        self.heard = Some(now);
        Ok(true)
    }

    /// A watch ended in order.
    pub fn ended(&mut self, now: Duration) {
        self.heard = Some(now);
        *self.restarts.entry(Reason::Ended).or_default() += 1;
        if now < self.began + WATCH_MIN {
            self.not_before = now + self.backoff.pause(None);
        } else {
            self.backoff.reset();
        }
    }

    /// An answer with another status than 200, with the beginning of its body.
    pub fn refused(&mut self, now: Duration, code: u16, body: &[u8], retry_after: Option<Duration>) {
        let mut status: Status = serde_json::from_slice(body).unwrap_or_default();
        // The one that counts is that of HTTP: a proxy writes what it likes.
        status.code = code;
        self.refuse(now, &status, retry_after);
    }

    fn refuse(&mut self, now: Duration, status: &Status, retry_after: Option<Duration>) {
        let reason = match status.code {
            410 => Reason::Expired,
            401 => Reason::Unauthorized,
            403 => Reason::Forbidden,
            _ => Reason::Refused,
        };
        if reason != Reason::Expired {
            let said: String = status.message.chars().take(300).collect();
            return self.fail(now, reason, format!("status {}: {said}", status.code), retry_after);
        }
        *self.restarts.entry(reason).or_default() += 1;
        self.heard = Some(now);
        // A list whose pages took too long is asked for whole.
        let of_pages = matches!(&self.phase, Phase::List { pages: 1.., .. });
        self.phase = Phase::list(false, !of_pages);
        self.pause(now, retry_after);
    }

    /// No answer, or one that broke off, was too long or too slow.
    pub fn lost(&mut self, now: Duration, why: String) {
        self.fail(now, Reason::Unreachable, why, None);
    }

    fn fail(&mut self, now: Duration, reason: Reason, text: String, retry_after: Option<Duration>) {
        *self.restarts.entry(reason).or_default() += 1;
        if self.failures == 0 {
            self.failing_since = now;
        }
        self.failures = self.failures.saturating_add(1);
        // A connection that breaks off and is there again at once is no news.
        if !self.told && (self.failures > 1 || !self.known.is_listed()) {
            self.told = true;
            self.notices.push(Notice::Failing { reason, text });
        }
        if let Phase::List { any_version, in_pages, .. } = self.phase {
            self.phase = Phase::list(any_version, in_pages);
        }
        self.pause(now, retry_after);
    }

    fn pause(&mut self, now: Duration, retry_after: Option<Duration>) {
        if now >= self.began + WATCH_MIN && matches!(self.phase, Phase::Watch { .. }) && self.failures <= 1 {
            self.backoff.reset();
        }
        self.not_before = now + self.backoff.pause(retry_after);
    }

    fn went_well(&mut self, now: Duration) {
        self.heard = Some(now);
        self.failures = 0;
        if self.told {
            self.told = false;
            self.notices.push(Notice::Recovered { after: now.saturating_sub(self.failing_since) });
        }
    }

    /// What is known.
    pub fn known(&mut self) -> &mut Known<O::Kept> {
        &mut self.known
    }

    /// Whether the last requests failed, and an operator was told.
    pub fn is_failing(&self) -> bool {
        self.told
    }

    /// When the server last said something that could be used.
    pub fn heard(&self) -> Option<Duration> {
        self.heard
    }

    /// How often something had to be begun again, since this was asked last.
    pub fn take_restarts(&mut self) -> BTreeMap<Reason, u64> {
        std::mem::take(&mut self.restarts)
    }

    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }
}

/// A uid names an object for all times; a name comes again.
fn key(metadata: &Metadata) -> String {
    if metadata.uid.is_empty() { format!("{}/{}", metadata.namespace, metadata.name) } else { metadata.uid.clone() }
}

/// Percent-encoding of a parameter's value (RFC 3986).
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
#[path = "watcher_tests.rs"]
mod tests;
