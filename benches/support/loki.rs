//! A Loki that takes everything: answers 204 to every push, on loopback.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Serves as long as the process lives. Returns where.
pub fn serve() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/loki/api/v1/push", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    Ok(url)
}

fn answer(stream: TcpStream) -> io::Result<()> {
    let mut requests = BufReader::with_capacity(1 << 20, stream.try_clone()?);
    let (mut answers, mut body, mut line) = (stream, Vec::new(), String::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        body.resize(length, 0);
        requests.read_exact(&mut body)?;
        answers.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
}
