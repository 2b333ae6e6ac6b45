//! Where addresses stand in a text, and what stands in their place: their network, or a hash that only who has the key
//! can tell.

use crate::template::Buffer;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::str::FromStr;

/// The longest text of an address: six groups of IPv6 and a dotted quad.
const ADDRESS_BYTES_MAX: usize = 45;
/// Bytes of the hash that are written: enough that two addresses of a network of 2^32 hardly ever share one.
const HASH_BYTES: usize = 8;
/// A block of SHA-256, by which HMAC fills its key up.
const BLOCK_BYTES: usize = 64;

/// What stands in the place of an address.
pub enum Disguise {
    /// The network of so many leading bits, as an address: `203.0.113.0`.
    Truncate { ipv4_bits: u8, ipv6_bits: u8 },
    /// HMAC-SHA-256 with a key, its first bytes in hexadecimal digits.
    Hash(Box<KeyedSha256>),
}

impl Disguise {
    /// Writes what stands for an address; an IPv4 address that is written as IPv6 is the IPv4 address.
    pub fn write(&self, address: IpAddr, out: &mut Buffer) {
        let written = match (self, address.to_canonical()) {
            (Disguise::Truncate { ipv4_bits, .. }, IpAddr::V4(v4)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*ipv4_bits)).unwrap_or(0);
                write!(out, "{}", Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            (Disguise::Truncate { ipv6_bits, .. }, IpAddr::V6(v6)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*ipv6_bits)).unwrap_or(0);
                write!(out, "{}", Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            (Disguise::Hash(key), IpAddr::V4(v4)) => write_hash(&key.of(&v4.octets()), out),
            (Disguise::Hash(key), IpAddr::V6(v6)) => write_hash(&key.of(&v6.octets()), out),
        };
        written.expect("a buffer takes every write");
    }
}

fn write_hash(hash: &[u8], out: &mut Buffer) -> std::io::Result<()> {
    hash[..HASH_BYTES].iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// HMAC-SHA-256 (RFC 2104): the two hashes that its key begins, to go on from.
pub struct KeyedSha256 {
    inner: Sha256,
    outer: Sha256,
}

impl KeyedSha256 {
    pub fn new(key: &[u8]) -> KeyedSha256 {
        let mut block = [0; BLOCK_BYTES];
        match block.get_mut(..key.len()) {
            Some(front) => front.copy_from_slice(key),
            None => block[..32].copy_from_slice(&Sha256::digest(key)),
        }
        let begun = |with: u8| Sha256::new_with_prefix(block.map(|byte| byte ^ with));
        KeyedSha256 { inner: begun(0x36), outer: begun(0x5c) }
    }

    pub fn of(&self, message: &[u8]) -> [u8; 32] {
        let inner = self.inner.clone().chain_update(message).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

/// Visits the addresses in a part of a text, from left to right.
///
/// An address stands alone: no letter or digit touches it. A version such as `Chrome/125.0.0.0` is none, nor is what has
/// no digit (`dead::beef` may be a name in a program).
pub(super) fn find(text: &[u8], part: Range<usize>, visit: &mut dyn FnMut(Range<usize>, IpAddr)) {
    let mut at = part.start;
    while at < part.end {
        let byte = text[at];
        if !is_address_byte(byte) {
            // Behind an escape a new word begins: `%201.2.3.4`, `\n1.2.3.4`.
            at += if byte == b'%' || byte == b'\\' { super::escapes::unit(text, at).len } else { 1 };
            // A word that no address begins with.
            if is_word(byte) {
                at += text[at.min(part.end)..part.end].iter().take_while(|byte| is_word(**byte)).count();
            }
            continue;
        }
        let len = text[at..part.end].iter().take_while(|byte| is_address_byte(**byte)).count();
        let end = at + len;
        if !text.get(end).is_some_and(|next| is_word(*next)) {
            in_run(text, at..end, visit);
        } else {
            // The last word of the run goes on; what stands before it may be an address.
            let words = text[at..end].iter().rposition(|byte| b".:".contains(byte)).unwrap_or(0);
            in_run(text, at..at + words, visit);
            at = end + text[end..part.end].iter().take_while(|byte| is_word(**byte)).count();
            continue;
        }
        at = end;
    }
}

/// Looks at digits, dots and colons that stand together.
fn in_run(text: &[u8], run: Range<usize>, visit: &mut dyn FnMut(Range<usize>, IpAddr)) {
    let bytes = &text[run.clone()];
    // A sentence may end behind it, a name with a colon stand before it.
    let front = usize::from(bytes.starts_with(b":") && !bytes.starts_with(b"::"));
    let back = match bytes {
        [.., b'.'] => 1,
        [.., before, b':'] if *before != b':' => 1,
        _ => 0,
    };
    let trimmed = run.start + front..(run.end - back).max(run.start + front);
    if let Some(v6) = ipv6(&text[trimmed.clone()]) {
        return visit(trimmed, v6.into());
    }
    let mut start = run.start;
    for part in bytes.split(|byte| *byte == b':') {
        let end = start + part.len();
        let dots = part.iter().rev().take_while(|byte| **byte == b'.').count();
        let found = ipv4(&text[start..end - dots]);
        if let Some(v4) = found.filter(|v4| !is_version(&text[..start], *v4)) {
            visit(start..end - dots, v4.into());
        }
        start = end + 1;
    }
}

fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    (7..=15).contains(&text.len()).then(|| parsed(text)).flatten()
}

fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    let may_be = (2..=ADDRESS_BYTES_MAX).contains(&text.len())
        && text.iter().filter(|byte| **byte == b':').count() >= 2
        && text.iter().any(u8::is_ascii_digit);
    may_be.then(|| parsed(text)).flatten()
}

fn parsed<A: FromStr>(text: &[u8]) -> Option<A> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether `before` names a product of which this is the version: browsers write only the first number, and no client
/// has such an address.
fn is_version(before: &[u8], address: Ipv4Addr) -> bool {
    let product = before.strip_suffix(b"/").and_then(|before| before.last()).is_some_and(u8::is_ascii_alphabetic);
    product && address.octets()[2..] == [0, 0]
}

fn is_address_byte(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b'.' || byte == b':'
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}
