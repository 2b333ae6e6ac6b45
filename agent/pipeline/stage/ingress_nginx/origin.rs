//! Whom the request of an access line came from: the client's address, or nobody's.
//!
//! nginx learns the client's address from a proxy when it has read all headers, be it with the PROXY protocol. A request
//! that it refuses before is logged with the proxy's address, and so belongs to no client.

use super::resolver::Addresses;
use super::{CLIENT_HEADER, CLIENT_IP, INGRESS, METHOD, NAMESPACE, PEER, REQUEST_BYTES, SERVICE, STATUS};
use super::{IngressNginx, UPSTREAM_ADDR, UPSTREAM_NAME, X_FORWARDED_FOR, read_text};
use crate::pipeline::{Record, Text, Value};

/// What nginx answers by itself while it reads headers (ngx_http_request.c): 405 to TRACE, 421 to a wrong host on a
/// connection with a client's certificate, 501 to an unknown transfer encoding. 494 to 497 are nginx's own codes, which
/// are usually logged as 400.
const STATUSES_BEFORE_HEADERS: [&[u8]; 13] = [
    b"400", b"405", b"408", b"411", b"414", b"421", b"431", b"494", b"495", b"496", b"497", b"501", b"505",
];
/// Where a request went; nowhere if it was refused before its headers were read.
const TARGETS: [usize; 5] = [NAMESPACE, INGRESS, SERVICE, UPSTREAM_ADDR, UPSTREAM_NAME];
/// What is looked at to know where a request went, and what every access line has.
pub(super) const LOOKED_AT: [usize; 8] =
    [STATUS, CLIENT_IP, REQUEST_BYTES, NAMESPACE, INGRESS, SERVICE, UPSTREAM_ADDR, UPSTREAM_NAME];

impl IngressNginx {
    /// Finds the client. What was extracted as its address is the remote one up to here.
    pub(super) fn find_client(&mut self, record: &mut Record<'_>, line: Text, is_json: bool) {
        let remote = record.value(self.slots[CLIENT_IP]);
        if let Some(remote_address) = self.remote_address {
            record.set_value(remote_address, remote);
        }
        let Value::Text(remote) = remote else { return self.client.extract_nobody(record) };
        if self.is_without_method(record, is_json) {
            return self.forget_client(record);
        }
        let believes = self.resolver.believes();
        let has_peer = believes && !self.field(record, PEER).is_empty();
        if !has_peer && self.resolver.is_plain(record.bytes(remote)) {
            return self.client.extract(record, remote);
        }
        let mut addresses = Addresses { remote: record.address(remote), ..Addresses::default() };
        if believes {
            addresses.peer = self.field(record, PEER);
            addresses.header = self.field(record, CLIENT_HEADER);
            addresses.forwarded_for = self.field(record, X_FORWARDED_FOR);
        }
        let (other, is_private) = self.resolver.resolve(&addresses);
        if is_private {
            // A client without a proxy in front is not private, and a refused one of its own stays its own.
            if self.went_nowhere(record, line, is_json) {
                return self.forget_client(record);
            }
            record.set_value(self.private_client, Value::Text(self.one));
        }
        let Some(other) = other else { return self.client.extract(record, remote) };
        let address = record.push_address(other);
        record.set_value(self.slots[CLIENT_IP], Value::Text(address));
        self.client.extract(record, address);
    }

    fn forget_client(&self, record: &mut Record<'_>) {
        record.set_value(self.slots[CLIENT_IP], Value::Nil);
        self.client.extract_nobody(record);
    }

    /// Whether nginx refused the request line itself.
    fn is_without_method(&self, record: &Record<'_>, is_json: bool) -> bool {
        match record.value(self.slots[METHOD]) {
            Value::Text(method) => method.is_empty(),
            // The text formats say it, other than a format in JSON that has no such key.
            _ => !is_json,
        }
    }

    /// Whether nginx refused the request at one of its headers: by the status, and because the request got no further.
    #[inline(never)]
    fn went_nowhere(&mut self, record: &mut Record<'_>, line: Text, is_json: bool) -> bool {
        if !STATUSES_BEFORE_HEADERS.contains(&self.field(record, STATUS)) {
            return false;
        }
        // Up to here nobody may have needed them.
        match is_json {
            true => self.target_picker.pick_again(record, line, &self.slots),
            false => read_text(&self.target_picker, &self.slots, record, line),
        };
        let tells = match is_json {
            true => TARGETS.iter().any(|at| matches!(record.value(self.slots[*at]), Value::Text(_))),
            // The combined format does not tell; it has no length either.
            false => !self.field(record, REQUEST_BYTES).is_empty(),
        };
        tells && TARGETS.iter().all(|at| self.field(record, *at).is_empty())
    }

    /// A field of the line; empty where it has none.
    fn field<'r>(&self, record: &'r Record<'_>, at: usize) -> &'r [u8] {
        record.text_bytes(self.slots[at]).unwrap_or_default()
    }
}
