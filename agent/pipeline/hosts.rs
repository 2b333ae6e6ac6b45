//! Which ingress answers for a host, as the access lines tell it: error-log lines know only the server's name.
//!
//! nginx fills an access line's ingress from its own configuration, so only a host that an ingress serves is ever
//! learned; a client cannot invent one past an ingress with a wildcard host, hence the bound.

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Hosts that are remembered.
const HOSTS_MAX: usize = 1_024;

#[derive(Default)]
pub struct IngressHosts {
    table: HashTable<Host>,
    hasher: RandomState,
}

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
        let hash = self.hasher.hash_one(host);
        if let Some(known) = self.table.find_mut(hash, |known| &*known.name == host) {
            if &*known.ingress != ingress && !known.ingress.is_empty() {
                known.ingress = Box::default();
            }
            if &*known.namespace != namespace && !known.namespace.is_empty() {
                known.namespace = Box::default();
            }
            return;
        }
        if self.table.len() < HOSTS_MAX {
            let new = Host { name: host.into(), namespace: namespace.into(), ingress: ingress.into() };
            let hasher = &self.hasher;
            self.table.insert_unique(hash, new, |known| hasher.hash_one(&*known.name));
        }
    }

    /// The namespace and the ingress of a host; empty where nothing is known, or more than one answers.
    pub fn find(&self, host: &[u8]) -> (&[u8], &[u8]) {
        let hash = self.hasher.hash_one(host);
        self.table
            .find(hash, |known| &*known.name == host)
            .map_or((b"", b""), |known| (&*known.namespace, &*known.ingress))
    }
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
        assert_eq!(hosts.table.len(), HOSTS_MAX);
    }
}
