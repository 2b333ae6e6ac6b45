//! Client addresses as access logs write them.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest text of an address, in bytes: six groups of IPv6 and a dotted quad.
const TEXT_BYTES_MAX: usize = 45;

/// The client address that a log field names: plain IPv4 or IPv6, `ip:port`, `[v6]`, `[v6]:port`, or the first of a
/// comma-separated list of these. Blanks around it don't matter; an IPv4-mapped IPv6 address is the IPv4 address.
///
/// What is an address is Go's `net.ParseIP`, as in Promtail (so no `01.2.3.4` and no `fe80::1%eth0`); ports and lists
/// are ours, Promtail logs an error for each. `None` for `-`, nothing, `unix:` and anything else.
#[inline]
pub fn parse_client(text: &[u8]) -> Option<IpAddr> {
    match parse_ipv4(text) {
        // Nearly every line: an IPv4 address and nothing else.
        Some(v4) => Some(v4.into()),
        None => parse_any(text),
    }
}

/// Any form but a plain IPv4 address.
fn parse_any(text: &[u8]) -> Option<IpAddr> {
    let plain = without_port(text.split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii())?;
    if !(2..=TEXT_BYTES_MAX).contains(&plain.len()) {
        return None;
    }
    let ip: IpAddr = std::str::from_utf8(plain).ok()?.parse().ok()?;
    Some(ip.to_canonical())
}

/// Four decimal numbers of at most 255 without leading zeros, with points between, and nothing else.
#[inline]
fn parse_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let (first, rest) = octet(text)?;
    let (second, rest) = octet(rest.strip_prefix(b".")?)?;
    let (third, rest) = octet(rest.strip_prefix(b".")?)?;
    let (fourth, rest) = octet(rest.strip_prefix(b".")?)?;
    rest.is_empty().then(|| Ipv4Addr::new(first, second, third, fourth))
}

/// The number at the head of a text, and what stands behind its third digit at the latest.
#[inline(always)]
fn octet(text: &[u8]) -> Option<(u8, &[u8])> {
    let value = |digit: u8| u32::from(digit.wrapping_sub(b'0'));
    match text {
        [a, b, c, rest @ ..] if value(*a) <= 9 && value(*b) <= 9 && value(*c) <= 9 => {
            let number = value(*a) * 100 + value(*b) * 10 + value(*c);
            ((100..=255).contains(&number)).then_some((number as u8, rest))
        }
        [a, b, rest @ ..] if value(*a) <= 9 && value(*b) <= 9 => {
            let number = value(*a) * 10 + value(*b);
            (number >= 10).then_some((number as u8, rest))
        }
        [a, rest @ ..] if value(*a) <= 9 => Some((value(*a) as u8, rest)),
        _ => None,
    }
}

/// The first address of the network of `v4_bits` or `v6_bits` leading bits that `ip` is in. An IPv4-mapped address is its
/// IPv4 address.
pub fn network(ip: IpAddr, v4_bits: u8, v6_bits: u8) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(v4_bits.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(v6_bits.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// Appends the [`network`] that `ip` is in, as `network/bits`; with all bits (32, 128 or more) the address alone. IPv6 is
/// written as RFC 5952 says.
pub fn prefix_text(ip: IpAddr, v4_bits: u8, v6_bits: u8, out: &mut Vec<u8>) {
    let (bits, bits_max) = match network(ip, v4_bits, v6_bits) {
        IpAddr::V4(v4) => {
            let [first, rest @ ..] = v4.octets();
            push_decimal(first, out);
            for octet in rest {
                out.push(b'.');
                push_decimal(octet, out);
            }
            (v4_bits, 32)
        }
        IpAddr::V6(v6) => {
            write!(out, "{v6}").expect("a Vec takes every write");
            (v6_bits, 128)
        }
    };
    if bits < bits_max {
        out.push(b'/');
        push_decimal(bits, out);
    }
}

/// Whether no address of the public internet: private, shared (RFC 6598), link-local, loopback or unspecified. No
/// database knows where such an address lives.
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && b & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared || a == 0
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback() || v6.is_unspecified(),
    }
}

/// What stands before the port, or in the brackets. A bare IPv6 address never has a port: `::1:80` is an address.
fn without_port(text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = text.strip_prefix(b"[") {
        let close = memchr::memchr(b']', rest)?;
        let (inside, after) = (&rest[..close], &rest[close + 1..]);
        let port_ok = after.is_empty() || after.strip_prefix(b":").is_some_and(is_port);
        return (port_ok && inside.contains(&b':')).then_some(inside);
    }
    let Some(colon) = memchr::memchr(b':', text) else { return Some(text) };
    let after = &text[colon + 1..];
    if memchr::memchr(b':', after).is_some() {
        return Some(text);
    }
    is_port(after).then_some(&text[..colon])
}

fn is_port(text: &[u8]) -> bool {
    (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

fn push_decimal(number: u8, out: &mut Vec<u8>) {
    if number >= 100 {
        out.push(b'0' + number / 100);
    }
    if number >= 10 {
        out.push(b'0' + number / 10 % 10);
    }
    out.push(b'0' + number % 10);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Option<String> {
        parse_client(text.as_bytes()).map(|ip| ip.to_string())
    }

    #[test]
    fn a_client_is_an_address_with_or_without_port_and_the_first_of_a_list() {
        for (text, expected) in [
            ("203.0.113.9", "203.0.113.9"),
            ("0.0.0.0", "0.0.0.0"),
            ("9.10.99.100", "9.10.99.100"),
            ("255.255.255.255", "255.255.255.255"),
            ("203.0.113.9:54321", "203.0.113.9"),
            (" 203.0.113.9 ", "203.0.113.9"),
            ("203.0.113.9, 10.0.0.1", "203.0.113.9"),
            ("203.0.113.9:80,10.0.0.1", "203.0.113.9"),
            ("203.0.113.9,", "203.0.113.9"),
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("::1:80", "::1:80"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1, 10.0.0.1", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("::ffff:cb00:7109", "203.0.113.9"),
            ("[::ffff:203.0.113.9]:1", "203.0.113.9"),
            ("1:2:3:4:5:6:255.255.255.255", "1:2:3:4:5:6:ffff:ffff"),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "",
            "-",
            ",",
            ", 1.2.3.4",
            "-, 1.2.3.4",
            "unix:",
            "unknown",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.",
            ".1.2.3",
            "1..2.3",
            "256.1.1.1",
            "01.2.3.4",
            "1.2.3.00",
            "1.2.3.4:",
            "1.2.3.4:x",
            "1.2.3.4:123456",
            "1.2.3.4 5",
            "0x1.2.3.4",
            "1.2.3.-4",
            "+1.2.3.4",
            "fe80::1%eth0",
            "[1.2.3.4]",
            "[::1",
            "[::1]80",
            "[::1]:",
            "::1::",
            "1234",
            "4294967295",
            "12345::",
            ":",
            "[]",
            "1.2.3.4\0",
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
        assert_eq!(parse_client(&[b','; 300_000]), None);
        assert_eq!(parse_client(&[b':'; 300_000]), None);
        assert_eq!(parse_client(b"\xff.2.3.4"), None);
    }

    #[test]
    fn a_prefix_is_the_network_in_canonical_text() {
        for (ip, v4_bits, v6_bits, expected) in [
            ("203.0.113.9", 32, 64, "203.0.113.9"),
            ("203.0.113.9", 24, 64, "203.0.113.0/24"),
            ("203.0.113.9", 25, 64, "203.0.113.0/25"),
            ("203.0.113.9", 0, 64, "0.0.0.0/0"),
            ("203.0.113.9", 200, 64, "203.0.113.9"),
            ("2001:db8:1:2:3:4:5:6", 24, 64, "2001:db8:1:2::/64"),
            ("2001:db8:1:2:3:4:5:6", 24, 56, "2001:db8:1::/56"),
            ("2001:db8:1:2:3:4:5:6", 24, 128, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8::1", 24, 0, "::/0"),
            ("2001:0:0:1:0:0:0:1", 24, 128, "2001:0:0:1::1"),
            ("2001:db8:0:1:1:1:1:1", 24, 128, "2001:db8:0:1:1:1:1:1"),
            ("::ffff:203.0.113.9", 24, 64, "203.0.113.0/24"),
        ] {
            let mut out = b"x".to_vec();
            prefix_text(ip.parse().expect(ip), v4_bits, v6_bits, &mut out);
            assert_eq!(out, format!("x{expected}").as_bytes(), "{ip}");
        }
    }

    #[test]
    fn private_is_what_the_internet_does_not_route() {
        for (ip, expected) in [
            ("10.1.2.3", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("192.168.255.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("127.8.8.8", true),
            ("169.254.1.1", true),
            ("0.0.0.0", true),
            ("8.8.8.8", false),
            ("::1", true),
            ("::", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("2001:db8::1", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:8.8.8.8", false),
        ] {
            assert_eq!(is_private(ip.parse().expect(ip)), expected, "{ip}");
        }
    }

    proptest! {
        #[test]
        fn plain_text_parses_as_the_standard_library_does(text in "[0-9a-f.:]{0,20}") {
            let standard = text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
            match standard {
                Some(_) => prop_assert_eq!(parse_client(text.as_bytes()), standard),
                // The only texts we take beyond the standard ones have a port.
                None => prop_assert!(parse_client(text.as_bytes()).is_none() || text.contains(':')),
            }
        }

        #[test]
        fn ipv4_parses_as_the_standard_library_does(
            text in "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}|[0-9.]{0,16}|[0-9]{0,12}\\.[0-9./: ]{5,8}",
        ) {
            prop_assert_eq!(parse_ipv4(text.as_bytes()), text.parse().ok());
        }

        #[test]
        fn every_address_survives_text_and_back(bits in any::<u128>(), v4 in any::<bool>()) {
            let ip = if v4 { IpAddr::V4(Ipv4Addr::from_bits(bits as u32)) } else { IpAddr::V6(Ipv6Addr::from_bits(bits)) };
            let mut out = Vec::new();
            prefix_text(ip, 32, 128, &mut out);
            prop_assert_eq!(parse_client(&out), Some(ip.to_canonical()));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            parse_client(&bytes);
        }
    }
}
