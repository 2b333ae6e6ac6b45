//! The client that an address stands for, as labels name it: the address, its network, or a hash of it.
//!
//! It is another extracted value than the address itself, which the `geoip` stage still needs.

use crate::diagnostic::Diagnostics;
use crate::geoip::address;
use crate::pipeline::stage::redact::{AddressesConfig, Disguise};
use crate::pipeline::{Record, Scope, Slot, Text, Value};
use crate::template::Buffer;
use crate::yaml::{Fields, Spanned};
use std::net::IpAddr;

#[derive(Debug)]
pub struct ClientConfig {
    /// Bits of an IPv4 address that make one client (default 32).
    pub ipv4_prefix_bits: u8,
    /// Bits of an IPv6 address that make one client (default 64).
    pub ipv6_prefix_bits: u8,
    /// What keeps labels from telling who it was; nothing where that is not asked for.
    pub anonymize: Option<AddressesConfig>,
}

impl ClientConfig {
    /// Reads the keys of this among those of a stage.
    pub fn read(fields: &mut Fields<'_>, d: &mut Diagnostics) -> ClientConfig {
        ClientConfig {
            ipv4_prefix_bits: prefix_bits(fields, "ipv4_prefix", 32, 32, d),
            ipv6_prefix_bits: prefix_bits(fields, "ipv6_prefix", 64, 128, d),
            anonymize: fields.optional("anonymize", d),
        }
    }

    pub fn compile(&self, scope: &mut Scope<'_>) -> Option<Client> {
        let (mut ipv4_prefix_bits, mut ipv6_prefix_bits) = (self.ipv4_prefix_bits, self.ipv6_prefix_bits);
        let mut hash = None;
        match &self.anonymize {
            None => {}
            // A client is a network already; it becomes the larger one.
            Some(AddressesConfig::Truncate { ipv4_bits, ipv6_bits }) => {
                ipv4_prefix_bits = ipv4_prefix_bits.min(*ipv4_bits);
                ipv6_prefix_bits = ipv6_prefix_bits.min(*ipv6_bits);
            }
            Some(hashed @ AddressesConfig::Hash(_)) => {
                hash = Some((hashed.compile(scope.diagnostics)?, Buffer::default()));
            }
        }
        Some(Client { ipv4_prefix_bits, ipv6_prefix_bits, hash, slot: Some(scope.given_slot("client")) })
    }
}

fn prefix_bits(fields: &mut Fields<'_>, key: &'static str, default: u8, most: u8, d: &mut Diagnostics) -> u8 {
    let Some(bits) = fields.optional::<Spanned<u64>>(key, d) else { return default };
    match u8::try_from(bits.value) {
        Ok(value) if value <= most => value,
        _ => {
            d.error(bits.span, format!("`{key}` is a number of bits from 0 to {most}"));
            default
        }
    }
}

pub struct Client {
    ipv4_prefix_bits: u8,
    ipv6_prefix_bits: u8,
    /// The hash, and room for its text.
    hash: Option<(Disguise, Buffer)>,
    /// `None` where nobody reads it.
    slot: Option<Slot>,
}

impl Client {
    /// As `Run::narrow`.
    pub fn narrow(&mut self, is_read: &dyn Fn(Slot) -> bool) {
        self.slot = self.slot.filter(|slot| is_read(*slot));
    }

    /// Extracts `client` from the text of an address. What is no address stands for itself, and is nobody where hashes
    /// are asked for.
    #[inline(always)]
    pub fn extract(&mut self, record: &mut Record<'_>, address: Text) {
        let Some(slot) = self.slot else { return };
        // An IPv4 address in its usual form is its own name.
        match self.ipv4_prefix_bits == 32 && self.hash.is_none() && !has_colon(record.bytes(address)) {
            true => record.set_value(slot, Value::Text(address)),
            false => self.extract_parsed(record, slot, address),
        }
    }

    #[inline(never)]
    fn extract_parsed(&mut self, record: &mut Record<'_>, slot: Slot, address: Text) {
        match record.address(address) {
            Some(ip) => self.extract_address(record, slot, ip),
            None if self.hash.is_some() => self.extract_nobody(record),
            None => record.set_value(slot, Value::Text(address)),
        }
    }

    /// As [`extract`](Self::extract), of an address.
    fn extract_address(&mut self, record: &mut Record<'_>, slot: Slot, ip: IpAddr) {
        let text = match &mut self.hash {
            None => {
                record.build(|out| address::prefix_text(ip, self.ipv4_prefix_bits, self.ipv6_prefix_bits, out))
            }
            // All addresses of one client have one hash.
            Some((hash, out)) => {
                out.clear();
                hash.write(address::network(ip, self.ipv4_prefix_bits, self.ipv6_prefix_bits), out);
                record.push(out.bytes())
            }
        };
        record.set_value(slot, Value::Text(text));
    }

    /// Says that nobody knows the client: nil, so that no label of the target stands in for it.
    pub fn extract_nobody(&self, record: &mut Record<'_>) {
        if let Some(slot) = self.slot {
            record.set_value(slot, Value::Nil);
        }
    }
}

/// Whether a colon is among these bytes, which are few.
#[inline]
fn has_colon(text: &[u8]) -> bool {
    const LOW: u64 = u64::from_le_bytes([1; 8]);
    // A byte is zero where it was a colon; the lowest of these borrows into its highest bit.
    let is_in = |eight: &[u8; 8]| {
        let word = u64::from_le_bytes(*eight) ^ (LOW * u64::from(b':'));
        word.wrapping_sub(LOW) & !word & (LOW << 7) != 0
    };
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) if text.len() <= 16 => is_in(first) || is_in(last),
        _ => text.contains(&b':'),
    }
}

#[cfg(test)]
mod tests {
    use super::has_colon;

    #[test]
    fn a_colon_is_seen_wherever_it_stands() {
        for len in 0..40 {
            let mut text = vec![b';'; len];
            assert!(!has_colon(&text), "{len}");
            for at in 0..len {
                // Its neighbours, and bytes that a borrow would spoil.
                for (byte, colon) in [(b':', true), (b'9', false), (b';', false), (b':' | 0x80, false)] {
                    text[at] = byte;
                    assert_eq!(has_colon(&text), colon, "{}", text.escape_ascii());
                }
                text[at] = b'9';
            }
        }
    }
}
