//! Hashes and base64.

use super::Kind::Text as T;
use super::{Function, function};
use crate::template::room::{Buffer, Texts, Value};
use crate::template::run::Failed;
use sha2::{Digest, Sha256};
use sha3::Sha3_256;
use std::io::Write;

type Given = Result<Value, Failed>;

pub(super) const FUNCTIONS: &[Function] = &[
    function("Hash", &[T, T], T, hash::<Sha3_256>),
    function("Sha2Hash", &[T, T], T, hash::<Sha256>),
    function("sha256sum", &[T], T, hash::<Sha256>),
    function("b64enc", &[T], T, |texts, a| made(texts, a[0], encode)),
    function("b64dec", &[T], T, |texts, a| made(texts, a[0], decode)),
];

/// The hash of all texts behind each other, in hexadecimal digits.
fn hash<D: Digest>(texts: &mut Texts, values: &[Value]) -> Given {
    let mut digest = D::new();
    for value in values {
        digest.update(texts.get(value.text()?));
    }
    let sum = digest.finalize();
    Ok(Value::Text(texts.make(|_, out| {
        for byte in &sum[..] {
            write!(out, "{byte:02x}").expect("a buffer takes every write");
        }
    })))
}

fn made(texts: &mut Texts, text: Value, write: fn(&[u8], &mut Buffer)) -> Given {
    let text = text.text()?;
    Ok(Value::Text(texts.make(|texts, out| write(texts.get(text), out))))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(bytes: &[u8], out: &mut Buffer) {
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = |at: usize| if at <= three.len() { ALPHABET[(bits >> (18 - 6 * at)) as usize & 63] } else { b'=' };
        out.push(&[0, 1, 2, 3].map(digit));
    }
}

/// What cannot be decoded becomes the text of Go's error, as sprig gives it.
fn decode(text: &[u8], out: &mut Buffer) {
    if let Err(at) = decode_all(text, out) {
        out.clear();
        write!(out, "illegal base64 data at input byte {at}").expect("a buffer takes every write");
    }
}

/// Line ends do not count; the error is the place that Go names.
fn decode_all(text: &[u8], out: &mut Buffer) -> Result<(), usize> {
    let mut digits = text.iter().enumerate().filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'));
    loop {
        let (mut bits, mut count) = (0, 0);
        while count < 4 {
            let Some((at, byte)) = digits.next() else {
                return if count == 0 { Ok(()) } else { Err(text.len() - count) };
            };
            if let Some(digit) = ALPHABET.iter().position(|of| of == byte) {
                bits = bits << 6 | digit as u32;
                count += 1;
                continue;
            }
            if *byte != b'=' || count < 2 {
                return Err(at);
            }
            if count == 2 {
                match digits.next() {
                    None => return Err(text.len()),
                    Some((_, b'=')) => {}
                    Some((next, _)) => return Err(next - 1),
                }
            }
            out.push(&(bits << (6 * (4 - count)) << 8).to_be_bytes()[..count - 1]);
            return digits.next().map_or(Ok(()), |(garbage, _)| Err(garbage));
        }
        out.push(&(bits << 8).to_be_bytes()[..3]);
    }
}
