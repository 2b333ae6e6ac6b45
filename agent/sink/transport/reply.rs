//! What a server answers: the head, and the beginning of the body.

use super::sentence;
use crate::sink::answer::Answer;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use jiff::civil::DateTime;
use jiff::tz::Offset;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Of a body no more is kept than this: the first lines name the reasons.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a body may take.
const BODY_WAIT_MAX: Duration = Duration::from_secs(5);
/// What a server may ask for in earnest; more is a mistake, or malice.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    /// Reads the body, up to its limits. The rest is ignored.
    ///
    /// # Errors
    ///
    /// The body broke off, or took too long: what it would have said on is not known, and so is not what the status means.
    pub async fn read(response: Response<Incoming>, deadline: Instant) -> Result<Reply, String> {
        let (head, mut incoming) = response.into_parts();
        let until = deadline.min(Instant::now() + BODY_WAIT_MAX);
        let mut reply = Reply { status: head.status.as_u16(), headers: head.headers, body: Vec::new() };
        loop {
            let frame = timeout_at(until, incoming.frame()).await;
            let frame = frame.map_err(|_| format!("the answer (status {}) did not end in time", reply.status))?;
            let Some(frame) = frame else { break };
            let frame = frame
                .map_err(|error| format!("the answer (status {}) broke off: {}", reply.status, sentence(&error)))?;
            let data = frame.into_data().unwrap_or_default();
            let room = BODY_BYTES_MAX - reply.body.len();
            reply.body.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                break;
            }
        }
        Ok(reply)
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    pub fn into_answer(self) -> Answer {
        let date = self.text(&DATE).and_then(parse_date);
        let retry_after = self.text(&RETRY_AFTER).and_then(|text| parse_retry_after(text, date));
        Answer::Status { code: self.status, retry_after, body: String::from_utf8_lossy(&self.body).into_owned(), date }
    }

    fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }
}

/// Seconds, or a date, which counts from the server's own `Date`: its clock and ours may differ.
fn parse_retry_after(text: &str, date: Option<i64>) -> Option<Duration> {
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        Duration::from_secs(parse_date(text)?.saturating_sub(date?).max(0).unsigned_abs())
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The three forms of RFC 9110, 5.6.7, in seconds since 1970.
fn parse_date(text: &str) -> Option<i64> {
    const FORMS: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let date = FORMS.iter().find_map(|form| DateTime::strptime(form, text).ok())?;
    Some(Offset::UTC.to_timestamp(date).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_have_three_forms() {
        let forms = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
        for text in forms {
            assert_eq!(parse_date(text), Some(784_111_777), "{text}");
        }
        for text in
            ["", "soon", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 +0100", "Sun, 32 Nov 1994 08:49:37 GMT"]
        {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn waiting_is_asked_for_in_seconds_or_by_a_date() {
        let (date, later) = (Some(784_111_777), "Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(parse_retry_after("120", None), Some(Duration::from_secs(120)));
        assert_eq!(parse_retry_after("0", None), Some(Duration::ZERO));
        assert_eq!(parse_retry_after(later, date), Some(Duration::from_secs(30)));
        assert_eq!(parse_retry_after(later, date.map(|date| date + 60)), Some(Duration::ZERO), "it is past");
        assert_eq!(parse_retry_after(later, None), None, "whose clock?");
        assert_eq!(parse_retry_after("99999999999999999999999", None), Some(RETRY_AFTER_MAX));
        for text in ["", "-1", "1.5", "soon", "+3"] {
            assert_eq!(parse_retry_after(text, date), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_server_says_is_no_panic(text in "\\PC{0,40}", number in "[-+0-9]{0,30}", day in 0u32..40, year in 0u32..99999) {
            let date = format!("Sun, {day:02} Nov {year} 08:49:37 GMT");
            for text in [&text, &number, &date] {
                for date in [None, Some(i64::MIN), Some(i64::MAX), parse_date(text)] {
                    let wait = parse_retry_after(text, date);
                    prop_assert!(wait.is_none_or(|wait| wait <= RETRY_AFTER_MAX));
                }
            }
        }
    }
}
