//! Who sent a request, of all the addresses that its access line names.
//!
//! Every proxy says only who spoke to it. So the addresses are taken from the nearest one outwards, and the first that is
//! no trusted proxy is the client: whatever stands behind it is its own word. Without a list of trusted proxies nothing
//! but the remote address is believed.

use super::networks::{self, Network, Networks, NotANetwork};
use crate::diagnostic::{Diagnostics, did_you_mean};
use crate::geoip::address;
use crate::yaml::{Fields, Spanned};
use std::net::IpAddr;

/// What a line is asked for when the remote address is a trusted proxy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    /// A header with one address.
    Header,
    /// `X-Forwarded-For`.
    ForwardedFor,
}

#[derive(Debug)]
pub struct ResolverConfig {
    /// Proxies whose word is taken; none: only the remote address counts.
    pub trusted: Vec<Network>,
    /// In their order; the remote address is always the last.
    pub sources: Vec<Source>,
}

impl ResolverConfig {
    /// Reads the keys of this among those of a stage.
    pub fn read(fields: &mut Fields<'_>, d: &mut Diagnostics) -> ResolverConfig {
        let listed = fields.key_span("trusted_proxies").is_some();
        let trusted = read_trusted(fields.list("trusted_proxies", d), d);
        let Some(span) = fields.key_span("client_sources") else {
            return ResolverConfig { trusted, sources: vec![Source::ForwardedFor] };
        };
        if !listed {
            d.error(span, "nobody's headers are believed without `trusted_proxies`")
                .help("name the proxies in front of nginx: `trusted_proxies: [private, 203.0.113.0/24]`");
        }
        ResolverConfig { trusted, sources: read_sources(fields.list("client_sources", d), d) }
    }

    pub fn compile(&self) -> Resolver {
        let known = networks::names().filter_map(networks::named).flatten();
        Resolver {
            trusted: Networks::new(self.trusted.iter().copied()),
            proxies: Networks::new(self.trusted.iter().copied().chain(known)),
            sources: self.sources.clone(),
        }
    }
}

fn read_trusted(written: Vec<Spanned<String>>, d: &mut Diagnostics) -> Vec<Network> {
    let mut trusted = Vec::new();
    for Spanned { value, span } in written {
        if let Some(list) = networks::named(&value) {
            trusted.extend(list);
            continue;
        }
        match Network::parse(&value) {
            Ok(network) => {
                if network.is_everything() {
                    d.warning(span, format!("`{value}` trusts everybody: clients choose their own addresses"))
                        .help("name only the proxies in front of nginx");
                }
                trusted.push(network);
            }
            Err(NotANetwork::Inside(network)) => {
                d.error(span, format!("`{value}` is an address inside of a network")).help(format!("write `{network}`"));
            }
            Err(NotANetwork::Text) => {
                let finding = d.error(span, format!("`{value}` is no network"));
                match did_you_mean(&value, networks::names()) {
                    Some(near) => finding.help(format!("did you mean `{near}`?")),
                    None => finding.help("such as `10.0.0.0/8`, `2001:db8::/32`, `203.0.113.9`, `private` or `cloudflare`"),
                };
            }
        }
    }
    trusted
}

fn read_sources(written: Vec<Spanned<String>>, d: &mut Diagnostics) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut ended = false;
    for Spanned { value, span } in written {
        if ended {
            d.error(span, "what stands behind `remote_address` is never asked").help("write `remote_address` last");
        }
        let source = match value.as_str() {
            "client_header" => Source::Header,
            "x_forwarded_for" => Source::ForwardedFor,
            "remote_address" => {
                ended = true;
                continue;
            }
            _ => {
                d.error(span, format!("unknown source `{value}`"))
                    .help("`client_header`, `x_forwarded_for` or `remote_address`; `fields` names their JSON keys");
                continue;
            }
        };
        if sources.contains(&source) {
            d.error(span, format!("`{value}` is asked already"));
        }
        sources.push(source);
    }
    sources
}

/// The addresses that a line names; those that stand as they were written are empty where it does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Addresses<'a> {
    /// nginx's `$realip_remote_addr`: who opened the connection, where nginx itself put another address in its place.
    pub peer: &'a [u8],
    /// nginx's `$remote_addr`.
    pub remote: Option<IpAddr>,
    /// The header with one address.
    pub header: &'a [u8],
    pub forwarded_for: &'a [u8],
}

pub struct Resolver {
    trusted: Networks,
    /// These, those with names, and so every address that hardly is a client's.
    proxies: Networks,
    sources: Vec<Source>,
}

impl Resolver {
    /// Whether anything but the remote address is looked at.
    pub fn believes(&self) -> bool {
        !self.trusted.is_empty()
    }

    /// Whether the text of the remote address is enough to know that nobody else is the client, and that it is neither a
    /// private address nor a proxy: its beginning tells this of most. What it leads to is what [`resolve`](Self::resolve)
    /// answers where there is no peer.
    #[inline]
    pub fn is_plain(&self, remote: &[u8]) -> bool {
        self.proxies.rule_out(remote)
    }

    /// The client, if it is another one than the remote address says; and whether the client is a private address or a
    /// proxy.
    #[inline]
    pub fn resolve(&self, addresses: &Addresses<'_>) -> (Option<IpAddr>, bool) {
        let remote = addresses.remote;
        let other = remote.filter(|_| !self.trusted.is_empty()).and_then(|remote| self.behind(remote, addresses));
        (other, other.or(remote).is_some_and(|ip| self.proxies.contain(ip)))
    }

    /// Who stands behind the remote address.
    fn behind(&self, remote: IpAddr, addresses: &Addresses<'_>) -> Option<IpAddr> {
        // nginx may believe more than it should: ingress-nginx takes `X-Forwarded-For` of everybody if it takes it at all.
        if let Some(peer) = address::parse_client(addresses.peer).filter(|peer| !self.trusted.contain(*peer)) {
            return Some(peer).filter(|peer| *peer != remote);
        }
        if !self.trusted.contain(remote) {
            return None;
        }
        self.sources.iter().find_map(|source| {
            let found = match source {
                Source::Header => one(addresses.header),
                Source::ForwardedFor => self.forwarded(addresses.forwarded_for),
            };
            // nginx appends the remote address to the list: then it says nothing new.
            found.filter(|found| *found != remote)
        })
    }

    /// The right-most address of `X-Forwarded-For` that is no trusted proxy; of trusted ones only, the left-most. What is
    /// no address ends the list: nobody knows who wrote what stands to its left.
    fn forwarded(&self, list: &[u8]) -> Option<IpAddr> {
        let mut found = None;
        let mut end = list.len();
        loop {
            let comma = memchr::memrchr(b',', &list[..end]);
            let Some(ip) = one(&list[comma.map_or(0, |comma| comma + 1)..end]) else { return found };
            found = Some(ip);
            match comma {
                Some(comma) if self.trusted.contain(ip) => end = comma,
                _ => return found,
            }
        }
    }
}

/// One address, maybe with a port or in brackets; a list is none.
fn one(text: &[u8]) -> Option<IpAddr> {
    address::parse_client(text).filter(|_| !text.contains(&b','))
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
