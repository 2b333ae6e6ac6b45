//! `modsecurity`, of ours: ModSecurity v3's lines in nginx's error log become extracted values, one set per rule line.
//!
//! A denied request writes one line for the denial and one for each rule that matched, so rules are counted by line
//! and requests by transaction: `blocked_transaction` is extracted only from the first denial of a transaction.

use super::ingress_nginx::{Client, ClientConfig, Other, read_other};
use super::transactions::Transactions;
use super::{Flow, Keeper, Kept, Rebound, Run, StageConfig};
use crate::decode::modsecurity::{self, Action, Event};
use crate::diagnostic::Diagnostics;
use crate::pipeline::{Context, ReasonId, Record, Scope, Slot, Text, Value};
use crate::yaml::{Fields, Node};

/// Extracted texts, in the order of [`texts_of`].
const NAMES: [&str; N] = [
    "rule_id", "rule_set", "rule_file", "rule_line", "msg", "data", "severity", "ver", "phase", "code", "client_ip",
    "host", "server", "uri", "unique_id", "method", "request", "referrer", "hostname", "matched", "tags", "level",
    "score",
];
const N: usize = 23;
const CLIENT_IP: usize = 10;
const SERVER: usize = 12;

#[derive(Debug)]
pub struct ModSecurityConfig {
    pub client: ClientConfig,
    /// What becomes of a line that is none of ModSecurity's.
    pub other: Other,
}

impl StageConfig for ModSecurityConfig {
    type Stage = ModSecurity;

    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `modsecurity` stage", d)?;
        let config = ModSecurityConfig {
            client: ClientConfig::read(&mut fields, d),
            other: read_other(&mut fields, d),
        };
        fields.finish(d);
        Some(config)
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<ModSecurity> {
        Some(ModSecurity {
            slots: NAMES.map(|name| scope.given_slot(name)),
            client: self.client.compile(scope)?,
            action: scope.given_slot("action"),
            blocked: scope.constant("blocked"),
            detected: scope.constant("detected"),
            namespace: scope.given_slot("namespace"),
            ingress: scope.given_slot("ingress"),
            candidates: scope.given_slot("candidates"),
            blocked_transaction: scope.given_slot("blocked_transaction"),
            one: scope.constant("1"),
            refused: (self.other == Other::Refuse).then(|| scope.reason("not_modsecurity")),
            seen: Transactions::default(),
        })
    }
}

pub struct ModSecurity {
    slots: [Slot; N],
    client: Client,
    action: Slot,
    blocked: Text,
    detected: Text,
    namespace: Slot,
    ingress: Slot,
    candidates: Slot,
    blocked_transaction: Slot,
    one: Text,
    refused: Option<ReasonId>,
    seen: Transactions,
}

impl Run for ModSecurity {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        let mut line = record.line_text();
        // Docker's records end with the newline that the program wrote.
        while let [.., b'\n' | b'\r'] = record.bytes(line) {
            line = line.slice(0, line.len() - 1);
        }
        let whole = record.bytes(line);
        let Some(event) = modsecurity::parse(whole) else {
            if let Some(reason) = self.refused {
                record.refuse(reason);
            }
            return Flow::Next;
        };
        let texts = texts_of(&event).map(|part| line.part(whole, part));
        let numbers = [event.phase.map(u64::from), event.code.map(u64::from), event.score().map(u64::from)];
        let first_denial = event.action == Action::Blocked && self.seen.is_new(record.binding().identity(), &event);
        let action = if event.action == Action::Blocked { self.blocked } else { self.detected };
        let candidates = u64::from(event.candidates);
        for (slot, text) in self.slots.iter().zip(texts) {
            record.set_value(*slot, Value::Text(text));
        }
        for (name, number) in ["phase", "code", "score"].iter().zip(numbers) {
            let at = NAMES.iter().position(|n| n == name).expect("a name of the table");
            let value = number.map_or(Value::Nil, |number| Value::Text(decimal(record, number)));
            record.set_value(self.slots[at], value);
        }
        record.set_value(self.action, Value::Text(action));
        let candidates = decimal(record, candidates);
        record.set_value(self.candidates, Value::Text(candidates));
        self.client.extract(record, texts[CLIENT_IP]);
        let (namespace, ingress) = context.hosts.find(record.bytes(texts[SERVER]));
        let (namespace, ingress) = (record.push(namespace), record.push(ingress));
        record.set_value(self.namespace, Value::Text(namespace));
        record.set_value(self.ingress, Value::Text(ingress));
        if first_denial {
            record.set_value(self.blocked_transaction, Value::Text(self.one));
        }
        Flow::Next
    }

    fn keep(&self, keeper: &mut Keeper<'_>) {
        self.seen.keep(keeper);
    }

    fn restore(&mut self, kept: Kept<'_>, rebound: &mut Rebound<'_>) {
        self.seen.restore(kept, rebound);
    }
}

fn decimal(record: &mut Record<'_>, number: u64) -> Text {
    record.build(|scratch| {
        // Writing to a vector cannot fail.
        let _ = std::io::Write::write_fmt(scratch, format_args!("{number}"));
    })
}

fn texts_of<'a>(event: &Event<'a>) -> [&'a [u8]; N] {
    [
        event.rule_id,
        event.rule_set(),
        event.file,
        event.line,
        event.msg,
        event.data,
        event.severity,
        event.ver,
        b"",
        b"",
        event.client,
        event.host,
        event.server,
        event.uri,
        event.unique_id,
        event.request.method,
        event.request.target,
        event.referrer,
        event.hostname,
        event.matched,
        event.tags().raw(),
        event.level,
        b"",
    ]
}
