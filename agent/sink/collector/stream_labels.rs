//! The labels of a stream: as a key to find it by, and as Loki reads them.

use crate::keep::{Reader, Writer};
use crate::labels::write_quoted;
use crate::pipeline::stage::tenant::TENANT_LABEL;
use crate::sink::ClientConfig;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Writes the labels of an entry, in the order of their names, as the key of its stream.
#[inline]
pub(super) fn write_key<'l>(labels: impl Iterator<Item = (&'l str, &'l [u8])>, key: &mut Vec<u8>) {
    key.clear();
    let mut writer = Writer::new(key);
    for (name, value) in labels {
        writer.bytes(name.as_bytes());
        writer.bytes(value);
    }
}

/// What a client adds to the labels of its entries.
pub(super) struct ClientLabels {
    external: BTreeMap<String, String>,
    tenant: String,
}

impl ClientLabels {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let pair = |(name, value): &(crate::yaml::Spanned<String>, crate::yaml::Spanned<String>)| {
            (name.value.clone(), value.value.clone())
        };
        ClientLabels { external: config.external_labels.iter().map(pair).collect(), tenant: config.tenant_id.clone() }
    }

    /// The tenant and the labels of the stream with this key, `{a="b", c="d"}`. As in Promtail an entry's own labels win
    /// over the client's, also as to the tenant, which is no label of the stream. Nothing for a key that is none.
    pub(super) fn of(&self, key: &[u8]) -> Option<(String, Box<str>)> {
        let external = self.external.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let mut labels: BTreeMap<&str, &[u8]> = external.collect();
        let mut reader = Reader::new(key);
        while !reader.is_empty() {
            labels.insert(reader.text()?, reader.bytes()?);
        }
        let tenant = labels.remove(TENANT_LABEL);
        let tenant = tenant.map_or_else(|| self.tenant.clone(), |tenant| String::from_utf8_lossy(tenant).into_owned());
        let mut text = String::from("{");
        for (name, value) in labels {
            let separator = if text.len() > 1 { ", " } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(text, "{separator}{name}=");
            let _ = write_quoted(&mut text, value);
        }
        text.push('}');
        Some((tenant, text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::client;
    use super::*;

    fn of(external: &str, labels: &[(&str, &str)]) -> (String, String) {
        let client = ClientLabels::new(&client(external));
        let mut key = vec![b'?'];
        write_key(labels.iter().map(|(name, value)| (*name, value.as_bytes())), &mut key);
        let (tenant, labels) = client.of(&key).expect("a key");
        (tenant, labels.into())
    }

    #[test]
    fn labels_are_merged_and_the_tenant_is_taken_out() {
        let wanted = |tenant: &str, labels: &str| (tenant.to_string(), labels.to_string());
        assert_eq!(of("", &[]), wanted("", "{}"));
        assert_eq!(of("tenant_id: t", &[("a", "1"), ("opt", "")]), wanted("t", r#"{a="1", opt=""}"#));
        let external = "tenant_id: t\nexternal_labels: {b: theirs, z: \"\"}";
        assert_eq!(of(external, &[("a", "1"), ("c", "2")]), wanted("t", r#"{a="1", b="theirs", c="2", z=""}"#));
        assert_eq!(of(external, &[("b", "own")]), wanted("t", r#"{b="own", z=""}"#));
        assert_eq!(
            of(external, &[("__tenant_id__", "u"), ("__x__", "1")]),
            wanted("u", r#"{__x__="1", b="theirs", z=""}"#)
        );
        assert_eq!(of("tenant_id: t", &[("__tenant_id__", "")]), wanted("", "{}"));
        assert_eq!(of("external_labels: {__tenant_id__: v}", &[("a", "\n")]), wanted("v", r#"{a="\n"}"#));
    }

    #[test]
    fn different_labels_have_different_keys() {
        let key = |labels: &[(&str, &str)]| {
            let mut key = Vec::new();
            write_key(labels.iter().map(|(name, value)| (*name, value.as_bytes())), &mut key);
            key
        };
        assert_ne!(key(&[("a", "bc")]), key(&[("ab", "c")]));
        assert_ne!(key(&[("a", "")]), key(&[]));
        assert_ne!(key(&[("a", "1"), ("b", "2")]), key(&[("a", "1\u{1}b\u{1}2")]));
    }

    #[test]
    fn bytes_that_are_no_key_make_no_labels() {
        let client = ClientLabels::new(&client(""));
        for damaged in [&b"\x05a"[..], b"\x01a", b"\x01\xff\x01b", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert_eq!(client.of(damaged), None, "{damaged:?}");
        }
    }
}
