//! The server's half of HTTP/1.1 over one connection, byte by byte as a test wants it.

use super::state::{Reply, Request};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};

const HEAD_BYTES_MAX: u64 = 64 * 1024;

/// Reads one request; nothing when the client has closed between two.
pub fn read_request(from: &mut BufReader<impl Read>, mut to: impl Write) -> io::Result<Option<Request>> {
    let Some(first) = line(from)? else { return Ok(None) };
    let mut parts = first.split(' ');
    let (method, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if parts.next() != Some("HTTP/1.1") || parts.next().is_some() {
        return Err(wrong(format!("no request: {first:?}")));
    }
    let mut request = Request { method: method.into(), path: path.into(), headers: Vec::new(), body: Vec::new() };
    loop {
        let header = line(from)?.ok_or_else(|| wrong("the end within a head"))?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or_else(|| wrong(format!("no header: {header:?}")))?;
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
    }
    let hosts = request.headers.iter().filter(|(name, _)| name == "host").count();
    if hosts != 1 {
        return Err(wrong(format!("{hosts} hosts")));
    }
    if request.header("expect") == Some("100-continue") {
        to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    request.body = match (request.header("content-length"), request.header("transfer-encoding")) {
        (Some(length), None) => {
            let length = length.parse().map_err(|_| wrong(format!("a length of {length:?}")))?;
            let mut body = vec![0; length];
            from.read_exact(&mut body)?;
            body
        }
        (None, Some("chunked")) => chunks(from)?,
        (None, None) => Vec::new(),
        both => return Err(wrong(format!("a body by {both:?}"))),
    };
    Ok(Some(request))
}

/// The bytes of an answer. The connection goes on after it.
pub fn answer(reply: &Reply, date: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, reason(reply.status));
    for (name, value) in &reply.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("date")) {
        let _ = write!(head, "date: {date}\r\n");
    }
    if reply.status != 204 {
        let _ = write!(head, "content-length: {}\r\n", reply.body.len());
    }
    head.push_str("\r\n");
    let body = if reply.status == 204 { &[][..] } else { &reply.body };
    [head.as_bytes(), body].concat()
}

fn chunks(from: &mut BufReader<impl Read>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(from)?.unwrap_or_default();
        let size = usize::from_str_radix(&size, 16).map_err(|_| wrong(format!("a chunk of {size:?}")))?;
        let start = body.len();
        body.resize(start + size, 0);
        from.read_exact(&mut body[start..])?;
        if line(from)?.as_deref() != Some("") {
            return Err(wrong("a chunk without its end"));
        }
        if size == 0 {
            return Ok(body);
        }
    }
}

/// A line without its end; nothing at the end of all.
fn line(from: &mut BufReader<impl Read>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    from.by_ref().take(HEAD_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let text = line.strip_suffix(b"\r\n").ok_or_else(|| wrong("a line without its end"))?;
    String::from_utf8(text.to_vec()).map(Some).map_err(|_| wrong("a head that is no text"))
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        413 => "Request Entity Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
