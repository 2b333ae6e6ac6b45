//! The URL of a server: who is asked, for what, and as whom.

use super::secret::Secret;
use hyper::http::uri::{Authority, PathAndQuery};
use std::net::Ipv6Addr;

/// An `http://` or `https://` URL, taken apart. Its dump shows no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    pub https: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    /// As written, or that of the scheme.
    pub port: u16,
    /// `host` or `host:port` as written.
    pub authority: String,
    /// Path and query, `/` at least.
    pub path: String,
    /// Who stands before the `@`, decoded; the password is empty where none is written.
    pub user: Option<(String, Secret)>,
}

impl HttpUrl {
    /// The error says what is wrong, and repeats nothing of the URL: it may hold a password.
    pub fn parse(text: &str) -> Result<HttpUrl, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("it begins with neither `http://` nor `https://`")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err("it begins with neither `http://` nor `https://`"),
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // The last `@`: people forget to escape the one in their password.
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(read_user(user)?), authority),
            None => (None, authority),
        };
        let written = authority.parse::<Authority>().map_err(|_| "its host is none that HTTP knows")?;
        let host = match written.host().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) if address.parse::<Ipv6Addr>().is_ok() => address.to_string(),
            None if written.host().is_empty() => return Err("it names no host"),
            None if !written.host().contains(['[', ']']) => written.host().to_string(),
            _ => return Err("brackets stand around IPv6 addresses only"),
        };
        let port = match authority[written.host().len()..].strip_prefix(':') {
            None => {
                if https {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().map_err(|_| "its port is no number up to 65535")?,
        };
        let path = rest.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        path.parse::<PathAndQuery>().map_err(|_| "its path holds a character that must be escaped")?;
        Ok(HttpUrl { https, host, port, authority: authority.to_string(), path, user })
    }

    /// `host:port`, the port always there, an IPv6 address in brackets.
    pub fn host_and_port(&self) -> String {
        let (host, port) = (&self.host, self.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

fn read_user(written: &str) -> Result<(String, Secret), &'static str> {
    let (name, password) = written.split_once(':').unwrap_or((written, ""));
    let decoded = |text| percent_decode(text).ok_or("its user or password holds a `%` that begins no escape");
    Ok((decoded(name)?, Secret::new(decoded(password)?)))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> HttpUrl {
        HttpUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_url_is_taken_apart() {
        let url = parsed("https://loki.example/loki/api/v1/push?x=1#y");
        assert_eq!((url.https, url.host.as_str(), url.port), (true, "loki.example", 443));
        assert_eq!((url.authority.as_str(), url.path.as_str()), ("loki.example", "/loki/api/v1/push?x=1"));
        let url = parsed("HTTP://[::1]:3100");
        assert_eq!((url.https, url.host.as_str(), url.port, url.path.as_str()), (false, "::1", 3100, "/"));
        assert_eq!((url.authority.as_str(), url.host_and_port().as_str()), ("[::1]:3100", "[::1]:3100"));
        assert_eq!(parsed("http://a?b").path, "/?b");
    }

    #[test]
    fn the_user_is_decoded_and_hidden() {
        let url = parsed("https://me:hunt%65r%2F2@x@loki:3100/push");
        assert_eq!(url.user, Some(("me".to_string(), Secret::new("hunter/2@x"))));
        assert_eq!(url.authority, "loki:3100");
        let dump = format!("{url:?}");
        assert!(!dump.contains("hunter"), "{dump}");
        assert_eq!(parsed("http://me@loki").user, Some(("me".to_string(), Secret::default())));
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let bad = [
            "",
            "loki:3100",
            "ftp://loki",
            "http://",
            "http:///push",
            "http://:3100",
            "http://loki:99999",
            "http://loki:",
            "http://lo ki/",
            "http://loki/a b",
            "http://a%zz@loki",
            "http://a%f@loki",
            "http://%ff@loki",
            "http://[::1/",
            "http://a[]",
            "http://[loki]",
            "http://[]",
        ];
        for text in bad {
            assert!(HttpUrl::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_or_refused(text in "(https?://)?[-a-z0-9@:/%\\[\\]?#. é]{0,30}") {
            if let Ok(url) = HttpUrl::parse(&text) {
                prop_assert!(!url.host.is_empty() && url.path.starts_with('/') && !url.authority.contains('@'));
                prop_assert!(url.host_and_port().parse::<Authority>().is_ok(), "{:?}", url);
            }
        }
    }
}
