//! Sets of networks, and those that have names.

use crate::words;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that no public network has: RFC 1918, RFC 6598, loopback, link-local, RFC 4193.
const PRIVATE: [&str; 9] = [
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "::1/128",
    "fc00::/7", "fe80::/10",
];

/// The proxies of Cloudflare, as published at https://www.cloudflare.com/ips/ (lists ips-v4 and ips-v6), in the state
/// of 2026-10-05.
const CLOUDFLARE: [&str; 22] = [
    "103.21.244.0/22", "103.22.200.0/22", "103.31.4.0/22", "104.16.0.0/13", "104.24.0.0/14", "108.162.192.0/18",
    "131.0.72.0/22", "141.101.64.0/18", "162.158.0.0/15", "172.64.0.0/13", "173.245.48.0/20", "188.114.96.0/20",
    "190.93.240.0/20", "197.234.240.0/22", "198.41.128.0/17", "2400:cb00::/32", "2405:8100::/32", "2405:b500::/32",
    "2606:4700::/32", "2803:f800::/32", "2a06:98c0::/29", "2c0f:f248::/32",
];

/// Lists of networks by their names.
const NAMED: [(&str, &[&str]); 2] = [("private", &PRIVATE), ("cloudflare", &CLOUDFLARE)];

/// The names of the lists that weir knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|(name, _)| *name)
}

/// The networks of a list that weir knows by name.
pub fn named(name: &str) -> Option<impl Iterator<Item = Network>> {
    let (_, list) = NAMED.iter().find(|(known, _)| *known == name)?;
    Some(list.iter().filter_map(|text| Network::parse(text).ok()))
}

/// All addresses with the same leading bits. IPv4 written as IPv6 (`::ffff:10.0.0.0/104`) is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotANetwork {
    /// Neither an address nor an address, a slash and a number of bits.
    Text,
    /// An address of the network, with bits behind the prefix; this is the network itself.
    Inside(Network),
}

impl Network {
    /// `10.0.0.0/8`, `2001:db8::/32`; an address alone is a network of one.
    pub fn parse(text: &str) -> Result<Network, NotANetwork> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NotANetwork::Text)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.len() <= 3 && bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most).ok_or(NotANetwork::Text)?
            }
            Some(_) => return Err(NotANetwork::Text),
        };
        let (address, bits) = match address.to_canonical() {
            // Fewer bits than 96 reach beyond IPv4 written as IPv6.
            v4 @ IpAddr::V4(_) if address.is_ipv6() && bits >= 96 => (v4, bits - 96),
            v4 @ IpAddr::V4(_) if address.is_ipv4() => (v4, bits),
            _ => (address, bits),
        };
        let first = match address {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !behind_32(bits)).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !behind_128(bits)).into(),
        };
        let network = Network { first, bits };
        if first == address { Ok(network) } else { Err(NotANetwork::Inside(network)) }
    }

    /// Whether every address of its family is in it.
    pub fn is_everything(self) -> bool {
        self.bits == 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// The bits behind a prefix of so many.
fn behind_32(bits: u8) -> u32 {
    u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0)
}

fn behind_128(bits: u8) -> u128 {
    u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0)
}

/// A set of networks: ranges of addresses in their order, none of which touches another.
#[derive(Debug, Default)]
pub struct Networks {
    /// A bit for each first byte of an IPv4 address that is in one of them. Few are, so that most addresses need no more.
    v4_first_bytes: [u64; 4],
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Networks {
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Networks {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for Network { first, bits } in networks {
            match first {
                IpAddr::V4(first) => v4.push((first.to_bits(), first.to_bits() | behind_32(bits))),
                IpAddr::V6(first) => v6.push((first.to_bits(), first.to_bits() | behind_128(bits))),
            }
        }
        let mut v4_first_bytes = [0; 4];
        for (first, last) in &v4 {
            (first >> 24..=last >> 24).for_each(|byte| v4_first_bytes[byte as usize / 64] |= 1 << (byte % 64));
        }
        Networks {
            v4_first_bytes,
            v4: joined(v4, |last| last.checked_add(1)),
            v6: joined(v6, |last| last.checked_add(1)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether an address is in one of them; an IPv4 address that is written as IPv6 is the IPv4 address.
    #[inline]
    pub fn contain(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [byte, ..] = v4.octets().map(usize::from);
                self.v4_first_bytes[byte / 64] >> (byte % 64) & 1 == 1 && within(&self.v4, v4.to_bits())
            }
            IpAddr::V6(v6) => within(&self.v6, v6.to_bits()),
        }
    }

    /// Whether none of them can have the address that a text names: by the number in front of the first point, without
    /// reading on. "No" where that is not enough to know.
    #[inline]
    pub fn rule_out(&self, text: &[u8]) -> bool {
        let Some(head) = text.first_chunk::<4>() else { return false };
        let digits = u64::from(u32::from_le_bytes(*head) ^ 0x3030_3030);
        // The bits in front of what is no digit: of one to three digits, then, where that is a point.
        let bits = words::above_nine(digits).trailing_zeros() & !7;
        if !(8..=24).contains(&bits) || (digits >> bits) as u8 != b'.' ^ b'0' {
            return false;
        }
        let [hundreds, tens, ones, ..] = (digits << (24 - bits)).to_le_bytes().map(usize::from);
        let byte = hundreds * 100 + tens * 10 + ones;
        self.v4_first_bytes.get(byte / 64).is_some_and(|bytes| bytes >> (byte % 64) & 1 == 0)
    }
}

/// Ranges in their order, those that touch or overlap made one.
fn joined<N: Ord + Copy>(mut ranges: Vec<(N, N)>, next: impl Fn(N) -> Option<N>) -> Box<[(N, N)]> {
    ranges.sort_unstable();
    let mut joined: Vec<(N, N)> = Vec::new();
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if next(*end).is_none_or(|next| first <= next) => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined.into_boxed_slice()
}

#[inline(never)]
fn within<N: Ord + Copy>(ranges: &[(N, N)], number: N) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= number);
    behind.checked_sub(1).is_some_and(|at| number <= ranges[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geoip::address::parse_client;
    use proptest::prelude::*;

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap_or_else(|why| panic!("{text}: {why:?}"))
    }

    #[test]
    fn a_network_is_an_address_and_its_leading_bits() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("203.0.113.9", "203.0.113.9/32"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ] {
            assert_eq!(network(text).to_string(), shown);
        }
        for (text, of) in [("10.1.2.3/8", "10.0.0.0/8"), ("2001:db8::1/32", "2001:db8::/32"), ("::ffff:0:0/95", "::fffe:0:0/95")] {
            assert_eq!(Network::parse(text), Err(NotANetwork::Inside(network(of))), "{text}");
        }
        for text in ["", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0/8", "a", "10.0.0.0/8/8", "fe80::1%1/64", " ::1"] {
            assert_eq!(Network::parse(text), Err(NotANetwork::Text), "{text}");
        }
    }

    #[test]
    fn every_network_with_a_name_is_one() {
        for (name, list) in NAMED {
            assert_eq!(named(name).expect("a name").count(), list.len(), "{name}");
        }
        let cloudflare = Networks::new(named("cloudflare").expect("a name"));
        for (address, inside) in [
            ("104.23.255.255", true),
            ("104.27.255.255", true),
            ("104.28.0.0", false),
            ("172.71.1.1", true),
            ("172.72.0.0", false),
            ("162.158.90.1", true),
            ("::ffff:162.159.0.1", true),
            ("2606:4700:10::1", true),
            ("2606:4701::", false),
            ("2a06:98c7:ffff::", true),
            ("2a06:98c8::", false),
        ] {
            assert_eq!(cloudflare.contain(address.parse().expect(address)), inside, "{address}");
        }
    }

    fn cases() -> u32 {
        std::env::var("WEIR_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
    }

    /// Few distinct bytes, so that networks meet.
    fn address() -> impl Strategy<Value = IpAddr> {
        let byte = prop_oneof![Just(0u8), Just(1), Just(127), Just(128), Just(255)];
        prop_oneof![
            prop::array::uniform4(byte.clone()).prop_map(IpAddr::from),
            prop::array::uniform4(byte.clone()).prop_map(|v4| Ipv4Addr::from(v4).to_ipv6_mapped().into()),
            prop::array::uniform16(byte).prop_map(IpAddr::from),
        ]
    }

    /// Bit by bit, over the addresses' own bytes.
    fn has_prefix(address: IpAddr, network: Network) -> bool {
        let bytes = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let (a, n) = (bytes(address), bytes(network.first));
        let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
        a.len() == n.len() && (0..usize::from(network.bits)).all(|at| bit(&a, at) == bit(&n, at))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

        #[test]
        fn a_set_contains_what_one_of_its_networks_does(
            written in prop::collection::vec((address(), 0u8..=128), 0..12),
            asked in prop::collection::vec(address(), 1..24),
        ) {
            let networks: Vec<Network> = written
                .iter()
                .map(|(address, bits)| format!("{address}/{}", if address.is_ipv4() { bits / 4 } else { *bits }))
                .map(|text| match Network::parse(&text) {
                    Ok(network) | Err(NotANetwork::Inside(network)) => network,
                    Err(NotANetwork::Text) => panic!("{text}"),
                })
                .collect();
            let set = Networks::new(networks.iter().copied());
            prop_assert_eq!(set.is_empty(), networks.is_empty());
            let edges = networks.iter().map(|network| network.first);
            for address in asked.into_iter().chain(edges) {
                let naive = networks.iter().any(|network| has_prefix(address, *network));
                prop_assert_eq!(set.contain(address), naive, "{} in {:?}", address, networks);
            }
        }

        /// Whatever forms of addresses there are, and what looks like one.
        #[test]
        fn what_is_ruled_out_is_not_contained(
            written in prop::collection::vec(address(), 0..6),
            text in "[ \\[]?(::ffff:)?[0-9]{1,4}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}([:, ][0-9]{0,3})?|[0-9a-f.: ,\\[\\]]{0,16}",
        ) {
            let texts: Vec<String> = written.iter().map(IpAddr::to_string).chain([text]).collect();
            let set = Networks::new(written.into_iter().map(|first| match first.to_canonical() {
                IpAddr::V4(v4) => Network { first: IpAddr::from([v4.octets()[0], 0, 0, 0]), bits: 8 },
                v6 => Network { first: v6, bits: 128 },
            }));
            for text in texts {
                let ip = parse_client(text.as_bytes());
                prop_assert!(!set.rule_out(text.as_bytes()) || !ip.is_some_and(|ip| set.contain(ip)), "{text:?}");
                // And of an address as nginx writes it, it is always known.
                if let Ok(v4) = text.parse::<Ipv4Addr>() {
                    prop_assert_eq!(set.rule_out(text.as_bytes()), !set.contain(v4.into()));
                }
            }
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f.:/%\\[\\] -]{0,24}|\\PC{0,8}") {
            let _ = Network::parse(&text);
        }
    }
}
