//! A plain HTTP/1.1 client over one connection for each request, so that a test says every byte that it sends.

use flate2::read::GzDecoder;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// For a server that says nothing more.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Without the transfer's chunks, and unpacked.
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// `GET` or another method, with headers as `Name: value`.
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Result<Answer, String> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    parse(&exchange(address, head.as_bytes())?)
}

pub fn get(address: SocketAddr, path: &str) -> Result<Answer, String> {
    request(address, "GET", path, &[])
}

/// Sends these bytes and takes all that comes back until the server closes.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut stream = TcpStream::connect(address).map_err(|e| format!("{address}: {e}"))?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(|e| e.to_string())?;
    stream.set_write_timeout(Some(TIMEOUT)).map_err(|e| e.to_string())?;
    stream.write_all(bytes).map_err(|e| format!("sending: {e}"))?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // A server that refuses a request half read closes hard; what it said before counts.
        Err(error) if answer.is_empty() => Err(format!("receiving: {error}")),
        _ => Ok(answer),
    }
}

/// Reads an answer that the end of the connection ends.
pub fn parse(bytes: &[u8]) -> Result<Answer, String> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or("no end of the head")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| format!("no status in {head:?}"))?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_string()))
        .collect();
    let mut answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunk(&answer.body)?;
    }
    if answer.header("content-encoding") == Some("gzip") {
        let mut body = Vec::new();
        GzDecoder::new(answer.body.as_slice()).read_to_end(&mut body).map_err(|e| format!("gzip: {e}"))?;
        answer.body = body;
    }
    Ok(answer)
}

fn unchunk(mut bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|w| w == b"\r\n").ok_or("a chunk without its size")?;
        let size = std::str::from_utf8(&bytes[..line]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.ok_or("a chunk's size is no number")?;
        if size == 0 {
            return Ok(body);
        }
        let chunk = bytes.get(line + 2..line + 2 + size).ok_or("a chunk that was cut off")?;
        body.extend_from_slice(chunk);
        bytes = bytes.get(line + 2 + size + 2..).ok_or("a chunk without its end")?;
    }
}
