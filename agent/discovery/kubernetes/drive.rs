//! The thin rim around a watcher: requests go out, answers come in, time passes.

use super::access::Access;
use super::watcher::{Object, Step, Watcher};
use crate::clock::Clock;
use crate::sink::{Getter, Reading};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Until the head of an answer is there; a server that makes a list of a large cluster takes its time.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Until all of a list is there.
const LIST_WAIT: Duration = Duration::from_secs(120);
/// Of one list or page. A pod has some 10 KB, and 1.5 MiB at most.
const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of one line of a watch.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Of the body of a refusal, which says why.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// Drives a watcher for ever. `each` sees it now and then, told whether objects changed since it saw it last, and the
/// time.
pub async fn drive<O: Object>(
    access: &Access,
    watcher: &mut Watcher<O>,
    clock: &Arc<dyn Clock>,
    mut each: impl FnMut(&mut Watcher<O>, bool, Duration),
) {
    let mut server = Server { access, getter: None };
    loop {
        match watcher.next(clock.monotonic()) {
            Step::Wait(until) => {
                let now = clock.monotonic();
                let until = watcher.known().change_due().map_or(until, |due| due.min(until));
                sleep(until.saturating_sub(now)).await;
            }
            Step::List(path) => {
                let listed = timeout(LIST_WAIT, server.list(&path)).await;
                let now = clock.monotonic();
                match listed
                    .unwrap_or_else(|_| Err(Failure::Lost(format!("its list did not end within {LIST_WAIT:?}"))))
                {
                    Ok(body) => watcher.listed(now, &body),
                    Err(failure) => failure.tell(watcher, now),
                }
            }
            Step::Watch { path, until } => {
                if let Err(failure) = server.watch(&path, until, watcher, clock, &mut each).await {
                    failure.tell(watcher, clock.monotonic());
                }
            }
        }
        if watcher.is_failing() {
            // What it was made of may be another one by now.
            server.getter = None;
        }
        look(watcher, clock.monotonic(), &mut each);
    }
}

fn look<O: Object>(watcher: &mut Watcher<O>, now: Duration, each: &mut impl FnMut(&mut Watcher<O>, bool, Duration)) {
    let changed = watcher.known().take_change(now);
    each(watcher, changed, now);
}

/// Why a request brought nothing.
enum Failure {
    Lost(String),
    Refused { status: u16, body: Vec<u8>, retry_after: Option<Duration> },
}

impl Failure {
    fn tell<O: Object>(self, watcher: &mut Watcher<O>, now: Duration) {
        match self {
            Failure::Lost(why) => watcher.lost(now, why),
            Failure::Refused { status, body, retry_after } => watcher.refused(now, status, &body, retry_after),
        }
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Failure::Lost(why)
    }
}

/// The API server, and the way to it once it is known.
struct Server<'a> {
    access: &'a Access,
    getter: Option<Getter>,
}

impl Server<'_> {
    async fn list(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        let mut reading = self.get(path).await?;
        let mut body = Vec::new();
        while let Some(chunk) = reading.chunk().await? {
            if body.len() + chunk.len() > LIST_BYTES_MAX {
                return Err(Failure::Lost(format!("its list has more than {LIST_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn watch<O: Object>(
        &mut self,
        path: &str,
        until: Duration,
        watcher: &mut Watcher<O>,
        clock: &Arc<dyn Clock>,
        each: &mut impl FnMut(&mut Watcher<O>, bool, Duration),
    ) -> Result<(), Failure> {
        let mut reading = self.get(path).await?;
        watcher.opened(clock.monotonic());
        let mut lines = Lines::default();
        loop {
            let now = clock.monotonic();
            look(watcher, now, each);
            if now >= until {
                return Err(Failure::Lost("its watch did not end in time".into()));
            }
            let due = watcher.known().change_due().map_or(until, |due| due.min(until));
            // No piece is lost when the time is up first.
            let Ok(chunk) = timeout(due.saturating_sub(now), reading.chunk()).await else { continue };
            let Some(chunk) = chunk? else {
                if lines.rest.is_empty() {
                    watcher.ended(clock.monotonic());
                    return Ok(());
                }
                return Err(Failure::Lost("its watch broke off within a line".into()));
            };
            if !lines.take(&chunk, |line| watcher.line(clock.monotonic(), line))? {
                return Ok(());
            }
        }
    }

    /// An answer of status 200.
    async fn get(&mut self, path: &str) -> Result<Reading, Failure> {
        if self.getter.is_none() {
            let access = self.access.clone();
            let resolved = tokio::task::spawn_blocking(move || access.resolve()).await;
            let endpoint = resolved.map_err(|_| "reading who we are was given up".to_string())??;
            self.getter = Some(Getter::new(&endpoint.url, &endpoint.http)?);
        }
        let Some(getter) = &self.getter else { return Err(Failure::Lost("there is no way to it".into())) };
        let mut reading = getter.get(path, ANSWER_WAIT).await?;
        if reading.status() == 200 {
            return Ok(reading);
        }
        let mut body = Vec::new();
        // Why it refuses is good to know; that it does is enough.
        while let Ok(Ok(Some(chunk))) = timeout(ANSWER_WAIT, reading.chunk()).await {
            body.extend_from_slice(&chunk[..chunk.len().min(REFUSAL_BYTES_MAX - body.len())]);
            if body.len() == REFUSAL_BYTES_MAX {
                break;
            }
        }
        Err(Failure::Refused { status: reading.status(), body, retry_after: reading.retry_after() })
    }
}

/// Cuts the pieces of a body into lines.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Gives each whole line; stops when one is the last, and says whether none was.
    fn take(&mut self, chunk: &Bytes, mut line: impl FnMut(&[u8]) -> bool) -> Result<bool, String> {
        let mut chunk = &chunk[..];
        while let Some(end) = memchr::memchr(b'\n', chunk) {
            let whole = &chunk[..end];
            chunk = &chunk[end + 1..];
            let go_on = if self.rest.is_empty() {
                line(whole)
            } else {
                self.rest.extend_from_slice(whole);
                // Large lines are rare: their room is given back.
                line(&std::mem::take(&mut self.rest))
            };
            if !go_on {
                return Ok(false);
            }
        }
        if self.rest.len() + chunk.len() > LINE_BYTES_MAX {
            return Err(format!("a line of its watch has more than {LINE_BYTES_MAX} bytes"));
        }
        self.rest.extend_from_slice(chunk);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_into_lines_and_not_kept_for_ever() {
        let mut lines = Lines::default();
        let mut seen: Vec<String> = Vec::new();
        let mut take = |lines: &mut Lines, text: &str| {
            lines.take(&Bytes::from(text.to_string()), |line| {
                seen.push(String::from_utf8_lossy(line).into_owned());
                line != b"stop"
            })
        };
        assert_eq!(take(&mut lines, "on"), Ok(true));
        assert_eq!(take(&mut lines, "e\ntwo\n\nth"), Ok(true));
        assert_eq!(take(&mut lines, "ree\nstop\nfour\n"), Ok(false));
        assert_eq!(seen, ["one", "two", "", "three", "stop"]);
        assert!(Lines::default().take(&Bytes::from(vec![b'x'; LINE_BYTES_MAX + 1]), |_| true).is_err());
    }
}
