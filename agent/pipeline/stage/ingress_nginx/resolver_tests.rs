use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn resolver(trusted: &[&str], sources: &[Source]) -> Resolver {
    let network = |text: &&str| match networks::named(text) {
        Some(list) => list.collect(),
        None => vec![Network::parse(text).expect("a network")],
    };
    ResolverConfig { trusted: trusted.iter().flat_map(network).collect(), sources: sources.to_vec() }.compile()
}

/// The client as text, `-` where it is the remote address, with `!` behind it where it is private or a proxy.
fn client(resolver: &Resolver, peer: &str, remote: &str, header: &str, forwarded_for: &str) -> String {
    let [peer, remote, header, forwarded_for] = [peer, remote, header, forwarded_for].map(str::as_bytes);
    let is_plain = resolver.is_plain(remote);
    let remote = address::parse_client(remote);
    let (client, is_private) = resolver.resolve(&Addresses { peer, remote, header, forwarded_for });
    assert!(!is_plain || !peer.is_empty() || (client, is_private) == (None, false));
    client.map_or("-".to_owned(), |ip| ip.to_string()) + if is_private { "!" } else { "" }
}

#[test]
fn without_trusted_proxies_the_remote_address_is_the_client() {
    let nobody = resolver(&[], &[Source::Header, Source::ForwardedFor]);
    for (remote, expected) in [("203.0.113.9", "-"), ("10.0.0.1", "-!"), ("162.158.1.1", "-!"), ("unix:", "-")] {
        assert_eq!(client(&nobody, "10.0.0.2", remote, "198.51.100.1", "198.51.100.2"), expected, "{remote}");
    }
}

#[test]
fn the_rightmost_forwarded_address_that_is_no_proxy_is_the_client() {
    let proxies = resolver(&["10.0.0.0/8", "fd00::/8"], &[Source::ForwardedFor]);
    let long = format!("{}8.8.8.8, 203.0.113.9", "1.2.3.4, ".repeat(20_000));
    for (list, expected) in [
        ("203.0.113.9", "203.0.113.9"),
        ("8.8.8.8, 203.0.113.9", "203.0.113.9"),
        ("8.8.8.8, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
        ("8.8.8.8,203.0.113.9,10.1.1.1,fd00::1", "203.0.113.9"),
        ("8.8.8.8,\t203.0.113.9 ,10.1.1.1", "203.0.113.9"),
        ("203.0.113.9:4711, 10.1.1.1:80", "203.0.113.9"),
        ("[2001:db8::9]:4711, [fd00::1]", "2001:db8::9"),
        ("::ffff:203.0.113.9, ::ffff:10.1.1.1", "203.0.113.9"),
        // Of proxies only, the left-most: a request from within.
        ("10.3.3.3, 10.1.1.1", "10.3.3.3!"),
        ("10.0.0.1", "-!"),
        // Nobody knows who wrote what stands to the left of something else.
        ("203.0.113.9, unknown, 10.1.1.1", "10.1.1.1!"),
        ("203.0.113.9, _hidden, 10.1.1.1", "10.1.1.1!"),
        ("203.0.113.9, fe80::1%eth0, 10.1.1.1", "10.1.1.1!"),
        ("203.0.113.9,, 10.1.1.1", "10.1.1.1!"),
        (", 10.1.1.1", "10.1.1.1!"),
        ("203.0.113.9, unknown", "-!"),
        ("203.0.113.9,", "-!"),
        ("203.0.113.9 8.8.8.8", "-!"),
        ("for=203.0.113.9", "-!"),
        ("<script>1.2.3.4</script>", "-!"),
        ("999.1.1.1", "-!"),
        ("\u{0}", "-!"),
        ("", "-!"),
        ("-", "-!"),
        (",,,,", "-!"),
        (&long, "203.0.113.9"),
    ] {
        let shown = &list[list.len().saturating_sub(60)..];
        assert_eq!(client(&proxies, "", "10.0.0.1", "", list), expected, "{shown}");
        assert_eq!(client(&proxies, "", "198.51.100.1", "", list), "-", "of somebody else: {shown}");
    }
}

#[test]
fn a_header_is_believed_in_its_turn_and_only_of_a_proxy() {
    let header_first = resolver(&["cloudflare"], &[Source::Header, Source::ForwardedFor]);
    let header_last = resolver(&["cloudflare"], &[Source::ForwardedFor, Source::Header]);
    let neither = resolver(&["cloudflare"], &[]);
    for (remote, header, list, first, last) in [
        ("162.158.1.1", "203.0.113.9", "198.51.100.1", "203.0.113.9", "198.51.100.1"),
        ("2606:4700::1", "2001:db8::9", "", "2001:db8::9", "2001:db8::9"),
        ("162.158.1.1", "", "198.51.100.1", "198.51.100.1", "198.51.100.1"),
        ("162.158.1.1", "unknown", "-", "-!", "-!"),
        ("162.158.1.1", "203.0.113.9, 8.8.8.8", "", "-!", "-!"),
        ("162.158.1.1", "203.0.113.9:80", "", "203.0.113.9", "203.0.113.9"),
        ("162.158.1.1", "192.168.1.1", "", "192.168.1.1!", "192.168.1.1!"),
        // nginx's own `$proxy_add_x_forwarded_for` where no list came.
        ("162.158.1.1", "203.0.113.9", "162.158.1.1", "203.0.113.9", "203.0.113.9"),
        ("162.158.1.1", "203.0.113.9", "unknown, 162.158.1.1", "203.0.113.9", "203.0.113.9"),
        ("162.158.1.1", "162.158.1.1", "203.0.113.9, 162.158.1.1", "203.0.113.9", "203.0.113.9"),
        // Not behind Cloudflare at all.
        ("192.0.2.1", "203.0.113.9", "198.51.100.1", "-", "-"),
        ("10.0.0.1", "203.0.113.9", "198.51.100.1", "-!", "-!"),
        ("unix:", "203.0.113.9", "198.51.100.1", "-", "-"),
    ] {
        let texts = format!("{remote} {header} {list}");
        assert_eq!(client(&header_first, "", remote, header, list), first, "header first: {texts}");
        assert_eq!(client(&header_last, "", remote, header, list), last, "header last: {texts}");
        let proxy = if remote == "192.0.2.1" || remote == "unix:" { "-" } else { "-!" };
        assert_eq!(client(&neither, "", remote, header, list), proxy, "neither: {texts}");
    }
}

#[test]
fn what_nginx_took_from_a_stranger_is_not_believed() {
    let proxies = resolver(&["private"], &[Source::ForwardedFor]);
    for (peer, remote, expected) in [
        // ingress-nginx believes everybody's X-Forwarded-For by default.
        ("198.51.100.66", "8.8.8.8", "198.51.100.66"),
        ("198.51.100.66", "10.0.0.1", "198.51.100.66"),
        ("198.51.100.66", "198.51.100.66", "-"),
        ("::ffff:198.51.100.66", "198.51.100.66", "-"),
        ("10.0.0.1", "8.8.8.8", "-"),
        ("10.0.0.1", "10.0.0.2", "203.0.113.9"),
        ("unknown", "8.8.8.8", "-"),
        ("", "8.8.8.8", "-"),
    ] {
        assert_eq!(client(&proxies, peer, remote, "", "203.0.113.9"), expected, "{peer} {remote}");
    }
}

fn cases() -> u32 {
    std::env::var("WEIR_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
}

/// An item of `X-Forwarded-For`: the address, if it is one.
fn item() -> impl Strategy<Value = (String, Option<IpAddr>)> {
    let text = |ip: IpAddr, form: u8| match (ip, form) {
        (IpAddr::V4(v4), 1) => v4.to_ipv6_mapped().to_string(),
        (IpAddr::V4(_), 2) => format!("{ip}:8080"),
        (IpAddr::V6(_), 2) => format!("[{ip}]:8080"),
        (IpAddr::V6(_), 1) => format!("[{ip}]"),
        (_, 3) => format!(" {ip}\t"),
        _ => ip.to_string(),
    };
    let v4 = (prop_oneof![Just(10u8), Just(203)], 0u8..4).prop_map(|(a, d)| IpAddr::from(Ipv4Addr::new(a, 0, 0, d)));
    let v6 = prop_oneof![Just("fd00::1"), Just("2001:db8::1")].prop_map(|text| text.parse().expect("an address"));
    prop_oneof![
        8 => (prop_oneof![v4, v6], 0u8..5).prop_map(move |(ip, form)| (text(ip, form), Some(ip))),
        1 => "[a-z_%.:;=\"\\[\\] -]{0,12}".prop_map(|text| (text, None)),
        1 => Just(("010.0.0.1".to_owned(), None)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// Splits the list and walks it from the right, as one would on paper.
    #[test]
    fn a_list_is_read_as_on_paper(items in prop::collection::vec(item(), 1..8), remote in 0u8..3) {
        let trusts = |ip: &IpAddr| match ip {
            IpAddr::V4(v4) => v4.octets()[0] == 10,
            IpAddr::V6(v6) => v6.segments()[0] == 0xfd00,
        };
        let remote = IpAddr::from(Ipv4Addr::new(if remote == 0 { 203 } else { 10 }, 9, 9, 9));
        let mut expected = remote;
        for (text, address) in items.iter().rev() {
            // The colons of noise may be an address after all.
            let Some(address) = address.or_else(|| text.trim().parse().ok()) else { break };
            if !trusts(&expected) {
                break;
            }
            expected = address;
        }
        let list = items.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(",");
        let got = resolver(&["10.0.0.0/8", "fd00::/8"], &[Source::ForwardedFor]);
        let addresses = Addresses { remote: Some(remote.to_canonical()), forwarded_for: list.as_bytes(), ..Addresses::default() };
        let (client, is_private) = got.resolve(&addresses);
        prop_assert_eq!(client.unwrap_or(remote), expected, "{} behind {}", list, remote);
        prop_assert_eq!(is_private, trusts(&expected));
    }

    #[test]
    fn no_bytes_panic(fields in prop::array::uniform4(prop::collection::vec(any::<u8>(), 0..48)), remote in any::<bool>()) {
        let got = resolver(&["private", "cloudflare"], &[Source::Header, Source::ForwardedFor]);
        let [peer, header, forwarded_for, other] = &fields;
        let remote = address::parse_client(if remote { b"10.0.0.1" } else { other });
        got.resolve(&Addresses { peer, header, forwarded_for, remote });
    }
}
