//! `ingress_nginx`, of ours: an access line of ingress-nginx becomes one set of extracted values, whatever its format.
//!
//! JSON lines are read by the names that the usual `log-format-upstream` settings give their fields, or by the names
//! that the configuration gives; other lines are tried as the controller's default text format, then as nginx's
//! combined one. Numbers are taken leniently: nginx writes a status of 009 when an upstream sends no status line, and
//! such a line counts like any other. Fields that no stage of the pipeline reads are not extracted.
//!
//! Of all addresses that a line names the client's is found (`origin`, `resolver`), and the name that labels give it
//! (`client`).

mod client;
mod fields;
mod networks;
mod origin;
mod resolver;

pub(super) use client::{Client, ClientConfig};

use super::{Flow, Run, StageConfig};
use crate::decode::nginx::{self, TextAccess};
use crate::decode::number;
use crate::diagnostic::{Diagnostics, did_you_mean};
use crate::pipeline::{Context, ReasonId, Record, Scope, Slot, Text, Value};
use crate::yaml::{Fields, Node, Spanned};
use fields::{
    CLIENT_HEADER, CLIENT_IP, DURATION, HOST, INGRESS, METHOD, N, NAMES, NAMESPACE, PATH, PEER, PROTOCOL, Picker, QUERY,
    REFERRER, REMOTE_USER, REQUEST, REQUEST_BYTES, REQUEST_ID, RESPONSE_BYTES, SERVICE, STATUS, TIME, UPSTREAM_ADDR,
    UPSTREAM_NAME, UPSTREAM_RESPONSE_BYTES, UPSTREAM_RESPONSE_TIME, UPSTREAM_STATUS, USER_AGENT, X_FORWARDED_FOR,
};
use resolver::{Resolver, ResolverConfig};

/// The methods that nginx itself knows; any other token is a client's invention and reads [`OTHER`].
const METHODS: [&str; 16] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "OPTIONS", "PROPFIND", "PROPPATCH", "LOCK",
    "UNLOCK", "PATCH", "TRACE", "CONNECT",
];

/// The classes of statuses; the first is that of a status that is none.
const CLASSES: [&str; 6] = ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The fields that this stage itself looks at, in every line.
const OWN: [usize; 6] = [CLIENT_IP, METHOD, STATUS, HOST, NAMESPACE, INGRESS];

/// Stands for whatever is outside a bounded set.
const OTHER: &str = "__other__";

#[derive(Debug)]
pub struct IngressNginxConfig {
    pub format: Format,
    /// Extracted name → JSON key, in place of the usual ones.
    pub fields: Vec<(Spanned<String>, Spanned<String>)>,
    pub resolver: ResolverConfig,
    pub client: ClientConfig,
    /// What becomes of a line that is no access line.
    pub other: Other,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    Auto,
    Json,
    Text,
}

/// What becomes of a line of another kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Other {
    /// It goes on and is entered in the books as refused.
    Refuse,
    /// It goes on; another stage will read it.
    Pass,
}

impl StageConfig for IngressNginxConfig {
    type Stage = IngressNginx;

    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `ingress_nginx` stage", d)?;
        let format = match fields.optional::<Spanned<String>>("format", d) {
            None => Format::Auto,
            Some(text) => match text.value.as_str() {
                "auto" => Format::Auto,
                "json" => Format::Json,
                "text" => Format::Text,
                other => {
                    d.error(text.span, format!("unknown format `{other}`")).help("`auto`, `json` or `text`");
                    Format::Auto
                }
            },
        };
        let config = IngressNginxConfig {
            format,
            fields: fields.optional("fields", d).unwrap_or_default(),
            resolver: ResolverConfig::read(&mut fields, d),
            client: ClientConfig::read(&mut fields, d),
            other: read_other(&mut fields, d),
        };
        fields.finish(d);
        for (name, key) in &config.fields {
            if !NAMES.iter().any(|(known, _)| *known == name.value) {
                let finding = d.error(name.span, format!("`{}` is no field of an access line", name.value));
                match did_you_mean(&name.value, NAMES.iter().map(|(known, _)| *known)) {
                    Some(near) => finding.help(format!("did you mean `{near}`?")),
                    None => finding.help("the fields are listed in docs/stages.md"),
                };
            }
            if key.value.is_empty() {
                d.error(key.span, format!("`{}` needs the JSON key that holds it", name.value));
            }
        }
        Some(config)
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<IngressNginx> {
        let slots = NAMES.map(|(name, _)| scope.given_slot(name));
        let mut picker = Picker::new(&self.fields);
        picker.narrow(&slots, |_| true);
        let mut target_picker = Box::new(Picker::new(&self.fields));
        target_picker.narrow(&slots, |at| origin::LOOKED_AT.contains(&at));
        Some(IngressNginx {
            format: self.format,
            picker,
            target_picker,
            slots,
            resolver: self.resolver.compile(),
            client: self.client.compile(scope)?,
            remote_address: Some(scope.given_slot("remote_address")),
            private_client: scope.given_slot("private_client"),
            one: scope.constant("1"),
            status_class: Some(scope.given_slot("status_class")),
            classes: CLASSES.map(|class| Value::Text(scope.constant(class))),
            upstream_duration: Some(scope.given_slot("upstream_duration")),
            other_method: Value::Text(scope.constant(OTHER)),
            refused: (self.other == Other::Refuse).then(|| scope.reason("not_access_line")),
        })
    }
}

/// `other: refuse | pass`.
pub(super) fn read_other(fields: &mut Fields<'_>, d: &mut Diagnostics) -> Other {
    match fields.optional::<Spanned<String>>("other", d) {
        None => Other::Refuse,
        Some(text) => match text.value.as_str() {
            "refuse" => Other::Refuse,
            "pass" => Other::Pass,
            other => {
                d.error(text.span, format!("unknown value `{other}`")).help("`refuse` or `pass`");
                Other::Refuse
            }
        },
    }
}

pub struct IngressNginx {
    format: Format,
    picker: Picker,
    /// Of what tells whether a request went anywhere; few lines are asked.
    target_picker: Box<Picker>,
    slots: [Slot; N],
    resolver: Resolver,
    client: Client,
    /// This and others are `None` where nobody reads the value.
    remote_address: Option<Slot>,
    private_client: Slot,
    one: Text,
    status_class: Option<Slot>,
    classes: [Value; CLASSES.len()],
    upstream_duration: Option<Slot>,
    other_method: Value,
    refused: Option<ReasonId>,
}

impl Run for IngressNginx {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        let line = record.line_text();
        let whole = record.bytes(line);
        let json = whole.first() == Some(&b'{');
        // Docker's records end with the newline that the program wrote.
        let len = whole.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
        let line = line.slice(0, len);
        let as_json = self.format == Format::Json || self.format == Format::Auto && json;
        let read = if as_json {
            self.picker.pick(record, line, &self.slots)
        } else {
            read_text(&self.picker, &self.slots, record, line)
        };
        if !read {
            if let Some(reason) = self.refused {
                record.refuse(reason);
            }
            return Flow::Next;
        }
        self.find_client(record, line, as_json);
        self.derive(record, context);
        Flow::Next
    }

    fn narrow(&mut self, is_read: &dyn Fn(Slot) -> bool) {
        for slot in [&mut self.remote_address, &mut self.status_class, &mut self.upstream_duration] {
            *slot = slot.filter(|slot| is_read(*slot));
        }
        self.client.narrow(is_read);
        let sums = self.upstream_duration.is_some();
        let believes = self.resolver.believes();
        self.picker.narrow(&self.slots, |at| {
            is_read(self.slots[at])
                || match at {
                    UPSTREAM_RESPONSE_TIME => sums,
                    X_FORWARDED_FOR | CLIENT_HEADER | PEER => believes,
                    _ => OWN.contains(&at),
                }
        });
    }
}

// Out of line, so that the registers that it needs are not saved for lines in JSON.
#[inline(never)]
fn read_text(picker: &Picker, slots: &[Slot; N], record: &mut Record<'_>, line: Text) -> bool {
    let (whole, values) = record.bytes_and_values(line);
    let Some(access) = nginx::parse_upstreaminfo(whole).or_else(|| nginx::parse_combined(whole)) else {
        return false;
    };
    for &at in picker.picked() {
        // What the format does not say is nil, as in JSON.
        let part = part_of(&access, at);
        let value = if part.is_empty() { Value::Nil } else { Value::Text(line.part(whole, part)) };
        values[usize::from(slots[at].0)] = value;
    }
    true
}

impl IngressNginx {
    /// What follows from the fields: bounded forms for labels, and the ingress of the host.
    fn derive(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) {
        if record.text_bytes(self.slots[METHOD]).is_some_and(is_invented) {
            record.set_value(self.slots[METHOD], self.other_method);
        }
        if let Some(status_class) = self.status_class
            && let Some(status) = record.text_bytes(self.slots[STATUS])
        {
            let class = match status.first() {
                Some(digit @ b'1'..=b'5') => usize::from(digit - b'0'),
                _ => 0,
            };
            record.set_value(status_class, self.classes[class]);
        }
        if let Some(upstream_duration) = self.upstream_duration
            && let Value::Text(times) = record.value(self.slots[UPSTREAM_RESPONSE_TIME])
            // Nearly always there was one attempt.
            && let Some(seconds) = record.plain_number(times).or_else(|| list_sum(record.bytes(times)))
        {
            record.set_value(upstream_duration, Value::Float(seconds));
        }
        let [host, namespace, ingress] = [HOST, NAMESPACE, INGRESS].map(|at| record.text_bytes(self.slots[at]));
        if let (Some(host), Some(ingress)) = (host, ingress) {
            context.hosts.learn(host, namespace.unwrap_or_default(), ingress);
        }
    }
}

/// Whether a method is none of those that nginx knows. A request that was refused before its method was read has none.
#[inline]
fn is_invented(method: &[u8]) -> bool {
    !method.is_empty() && !METHODS.iter().any(|known| known.as_bytes() == method)
}

/// The part of a text line by its number among [`NAMES`]; nothing where the format does not say it.
#[inline]
fn part_of<'a>(access: &TextAccess<'a>, at: usize) -> &'a [u8] {
    match at {
        TIME => access.time_local,
        CLIENT_IP => access.remote_addr,
        METHOD => access.method,
        PATH => path_of(access.path),
        STATUS => access.status,
        // The service by the name that the controller made of it.
        SERVICE | UPSTREAM_NAME => access.proxy_upstream_name,
        REQUEST_BYTES => access.request_length,
        RESPONSE_BYTES => access.body_bytes_sent,
        DURATION => access.request_time,
        UPSTREAM_ADDR => access.upstream_addr,
        UPSTREAM_STATUS => access.upstream_status,
        UPSTREAM_RESPONSE_TIME => access.upstream_response_time,
        UPSTREAM_RESPONSE_BYTES => access.upstream_response_length,
        USER_AGENT => access.http_user_agent,
        REFERRER => access.http_referer,
        REQUEST_ID => access.req_id,
        REQUEST => access.request,
        QUERY => query_of(access.path),
        PROTOCOL => access.protocol,
        REMOTE_USER => access.remote_user,
        _ => b"",
    }
}

/// The target of a request line up to its query.
fn path_of(target: &[u8]) -> &[u8] {
    &target[..memchr::memchr(b'?', target).unwrap_or(target.len())]
}

/// The query of a request line's target, without the question mark.
fn query_of(target: &[u8]) -> &[u8] {
    memchr::memchr(b'?', target).map_or(b"", |at| &target[at + 1..])
}

/// The sum of nginx's lists, `0.003, 0.010 : 0.001`: attempts are separated by commas, internal redirects by colons,
/// and `-` stands for an attempt without a number.
#[cold]
fn list_sum(list: &[u8]) -> Option<f64> {
    let mut sum = None;
    for item in list.split(|b| matches!(b, b',' | b':' | b' ')) {
        if let Some(seconds) = number::parse_f64(item) {
            sum = Some(sum.unwrap_or(0.0) + seconds);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::list_sum;

    #[test]
    fn lists_of_upstream_times_are_summed() {
        for (list, sum) in [
            (&b"0.005"[..], Some(0.005)),
            (b"0.250, 0.500", Some(0.75)),
            (b"0.250, - : 0.125", Some(0.375)),
            (b"-", None),
            (b"", None),
        ] {
            assert_eq!(list_sum(list), sum, "{list:?}");
        }
    }
}
