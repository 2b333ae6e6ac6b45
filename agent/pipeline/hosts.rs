//! Which ingress answers for a host, as the access lines tell it: error-log lines know only the server's name.
//!
//! nginx fills an access line's ingress from its own configuration, so only a host that an ingress serves is ever
//! learned; a client cannot invent one past an ingress with a wildcard host, hence the bound.

use crate::keep::{Entries, Reader, Slot, Table};
use crate::words::{ends, is_same};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

/// Hosts that are remembered.
const HOSTS_MAX: usize = 1_024;
/// Bytes of a name; DNS and Kubernetes allow 253. What is longer is no name, and is not remembered.
const NAME_BYTES_MAX: usize = 253;

#[derive(Default)]
pub struct IngressHosts {
    /// In the order in which they were learned: a host keeps its place.
    hosts: Vec<Host>,
    /// Their places by the hash of their names.
    table: HashTable<usize>,
    hasher: RandomState,
    recent: Recent,
}

/// Places of hosts by a cheap mixture of their names' and their ingresses' ends: where a host is looked for first.
struct Recent([u16; HOSTS_MAX]);

struct Host {
    name: Box<[u8]>,
    namespace: Box<[u8]>,
    /// Empty when several ingresses share the host.
    ingress: Box<[u8]>,
}

impl IngressHosts {
    /// Remembers what an access line says. Allocates for a new host only.
    pub fn learn(&mut self, host: &[u8], namespace: &[u8], ingress: &[u8]) {
        if host.is_empty() || ingress.is_empty() {
            return;
        }
        match self.position_again(host, ingress) {
            Some(at) => {
                let known = &mut self.hosts[at];
                if !is_same(&known.ingress, ingress) && !known.ingress.is_empty() {
                    known.ingress = Box::default();
                }
                if !is_same(&known.namespace, namespace) && !known.namespace.is_empty() {
                    known.namespace = Box::default();
                }
            }
            None => {
                self.add(host, namespace, ingress);
            }
        }
    }

    /// Whether there was room for a host that is not known.
    fn add(&mut self, name: &[u8], namespace: &[u8], ingress: &[u8]) -> bool {
        if self.hosts.len() == HOSTS_MAX || [name, namespace, ingress].iter().any(|name| name.len() > NAME_BYTES_MAX) {
            return false;
        }
        self.hosts.push(Host { name: name.into(), namespace: namespace.into(), ingress: ingress.into() });
        let IngressHosts { hosts, table, hasher, .. } = self;
        table.insert_unique(hash_of(hasher, name), hosts.len() - 1, |at| hash_of(hasher, &hosts[*at].name));
        true
    }

    fn position(&self, host: &[u8]) -> Option<usize> {
        self.table.find(hash_of(&self.hasher, host), |at| &*self.hosts[*at].name == host).copied()
    }

    /// As [`position`](Self::position), where the host was a moment ago.
    fn position_again(&mut self, host: &[u8], ingress: &[u8]) -> Option<usize> {
        let recent = self.recent.place_of(host, ingress);
        let at = usize::from(*recent);
        if self.hosts.get(at).is_some_and(|known| is_same(&known.name, host)) {
            return Some(at);
        }
        let at = self.position(host)?;
        *self.recent.place_of(host, ingress) = at as u16;
        Some(at)
    }

    /// The namespace and the ingress of a host; empty where nothing is known, or more than one answers.
    pub fn find(&self, host: &[u8]) -> (&[u8], &[u8]) {
        let known = self.position(host).map(|at| &self.hosts[at]);
        known.map_or((b"", b""), |known| (&*known.namespace, &*known.ingress))
    }

    /// Writes each host into a slot of its own.
    pub fn keep(&self, entries: &mut Entries) {
        for (index, host) in (0..).zip(&self.hosts) {
            entries.put(Slot { table: Table::HOSTS, index }, |writer| {
                [&host.name, &host.namespace, &host.ingress].iter().for_each(|part| writer.bytes(part));
            });
        }
    }

    /// What [`keep`](Self::keep) wrote, and how many slots could not be read.
    pub fn restore(entries: &Entries) -> (Self, u64) {
        let (mut hosts, mut damaged) = (IngressHosts::default(), 0);
        for (_, bytes) in entries.table(Table::HOSTS) {
            let read = read_host(Reader::new(bytes)).filter(|[name, ..]| hosts.position(name).is_none());
            let added = read.is_some_and(|[name, namespace, ingress]| hosts.add(name, namespace, ingress));
            damaged += u64::from(!added);
        }
        (hosts, damaged)
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self([0; HOSTS_MAX])
    }
}

impl Recent {
    /// Names of one place take turns in it. Hosts of one domain differ in the middle, and then mostly in their ingresses.
    fn place_of(&mut self, host: &[u8], ingress: &[u8]) -> &mut u16 {
        let ([a, b], [c, d]) = (ends(host), ends(ingress));
        let all = a ^ b.rotate_left(16) ^ c.rotate_left(32) ^ d.rotate_left(48) ^ host.len() as u64;
        &mut self.0[(all.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize % HOSTS_MAX]
    }
}

fn hash_of(hasher: &RandomState, name: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(name);
    state.finish()
}

fn read_host(mut reader: Reader<'_>) -> Option<[&[u8]; 3]> {
    let host = [reader.bytes()?, reader.bytes()?, reader.bytes()?];
    (reader.is_empty() && !host[0].is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_two_ingresses_names_none() {
        let mut hosts = IngressHosts::default();
        hosts.learn(b"a.example", b"shop", b"web");
        hosts.learn(b"a.example", b"shop", b"web");
        assert_eq!(hosts.find(b"a.example"), (&b"shop"[..], &b"web"[..]));
        hosts.learn(b"a.example", b"shop", b"api");
        assert_eq!(hosts.find(b"a.example"), (&b"shop"[..], &b""[..]));
        hosts.learn(b"_", b"", b"");
        assert_eq!(hosts.find(b"_"), (&b""[..], &b""[..]));
    }

    #[test]
    fn the_number_of_hosts_is_bounded() {
        let mut hosts = IngressHosts::default();
        for i in 0..2 * HOSTS_MAX {
            hosts.learn(format!("{i}.example").as_bytes(), b"n", b"wildcard");
        }
        assert_eq!((hosts.table.len(), hosts.hosts.len()), (HOSTS_MAX, HOSTS_MAX));
        let mut hosts = IngressHosts::default();
        hosts.learn(&[b'a'; NAME_BYTES_MAX + 1], b"n", b"wildcard");
        assert!(hosts.hosts.is_empty());
    }

    #[test]
    fn hosts_are_known_after_a_restart() {
        let mut hosts = IngressHosts::default();
        for (host, ingress) in [("a", "web"), ("b", "web"), ("a", "api"), ("c", "api")] {
            hosts.learn(host.as_bytes(), b"shop", ingress.as_bytes());
        }
        let image = |hosts: &IngressHosts| {
            let mut entries = Entries::default();
            hosts.keep(&mut entries);
            entries
        };
        let kept = image(&hosts);
        let (restored, damaged) = IngressHosts::restore(&kept);
        assert_eq!((damaged, image(&restored)), (0, kept));
        for host in [&b"a"[..], b"b", b"c", b"d"] {
            assert_eq!(restored.find(host), hosts.find(host));
        }
        assert_eq!(restored.find(b"a"), (&b"shop"[..], &b""[..]));
    }

    #[test]
    fn damaged_hosts_are_left_out() {
        let slot = |index, bytes: &[u8]| (Slot { table: Table::HOSTS, index }, Box::from(bytes));
        let huge = [&b"\xff\xff\x03"[..], &[b'a'; 65_535], b"\x00\x01x"].concat();
        let entries = Entries::from_iter([
            slot(0, b"\x01a\x01n\x01i"),
            slot(1, b"\x01a\x01n\x01j"),
            slot(2, b"\x01b\x01n\x09i"),
            slot(3, b"\x01c\x01n\x01ix"),
            slot(4, b"\x00\x01n\x01i"),
            slot(5, b""),
            slot(6, &huge),
            slot(1 << 60, b"\x01d\x01n\x01i"),
        ]);
        let (hosts, damaged) = IngressHosts::restore(&entries);
        assert_eq!((hosts.hosts.len(), damaged), (2, 6));
        assert_eq!(hosts.find(b"a"), (&b"n"[..], &b"i"[..]));
    }
}
