//! `geoip`: what a database says of an address becomes labels.
//!
//! Promtail writes labels and no extracted values, so does weir. `db_type: country` and `custom_lookups` are Alloy's;
//! the results of custom lookups are extracted values.

use super::{Flow, Run, StageConfig};
use crate::decode::json::{Expression, Extracted};
use crate::diagnostic::Diagnostics;
use crate::geoip::{Cache, Database, Field, Lookup};
use crate::pipeline::{Context, LabelId, Record, Scope, Slot, Value};
use crate::yaml::{Fields, Node, Spanned};
use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

/// As Promtail's `city`: no country code.
const CITY: &[Field] = &[
    Field::CityName,
    Field::CountryName,
    Field::ContinentName,
    Field::ContinentCode,
    Field::LocationLatitude,
    Field::LocationLongitude,
    Field::PostalCode,
    Field::Timezone,
    Field::SubdivisionName,
    Field::SubdivisionCode,
];
const ASN: &[Field] = &[Field::AutonomousSystemNumber, Field::AutonomousSystemOrganization];
/// As Alloy's `country`.
const COUNTRY: &[Field] = &[Field::CountryName, Field::CountryCode, Field::ContinentName, Field::ContinentCode];

#[derive(Debug)]
pub struct GeoIpConfig {
    pub db: String,
    /// The extracted value that holds the address.
    pub source: String,
    pub db_type: DbType,
    /// Extracted name → JMESPath on the record.
    pub custom_lookups: Vec<(Spanned<String>, Spanned<String>)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DbType {
    City,
    Asn,
    Country,
    /// Custom lookups only.
    None,
}

impl StageConfig for GeoIpConfig {
    type Stage = GeoIp;

    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "the `geoip` stage", d)?;
        let (db, source) = (fields.required("db", d), fields.required("source", d));
        let db_type = fields.optional::<Spanned<String>>("db_type", d);
        let custom_lookups: Vec<_> = fields.optional("custom_lookups", d).unwrap_or_default();
        let span = fields.span();
        fields.finish(d);
        let db_type = match db_type.as_ref().map(|t| t.value.as_str()) {
            Some("city") => DbType::City,
            Some("asn") => DbType::Asn,
            Some("country") => DbType::Country,
            None | Some("") if !custom_lookups.is_empty() => DbType::None,
            None | Some("") => {
                d.error(span, "the `geoip` stage needs `db_type`").help("`city`, `asn` or `country`");
                return None;
            }
            Some(other) => {
                let at = db_type.as_ref().map_or(span, |t| t.span);
                d.error(at, format!("unknown db_type `{other}`")).help("`city`, `asn` or `country`");
                return None;
            }
        };
        Some(GeoIpConfig { db: db?, source: source?, db_type, custom_lookups })
    }

    fn compile(&self, scope: &mut Scope<'_>) -> Option<GeoIp> {
        let fields = match self.db_type {
            DbType::City => CITY,
            DbType::Asn => ASN,
            DbType::Country => COUNTRY,
            DbType::None => &[],
        };
        let mut lookups = Vec::new();
        for (name, expression) in &self.custom_lookups {
            match Expression::compile(&expression.value) {
                Ok(compiled) => lookups.push((compiled, scope.slot(&name.value))),
                Err(why) => {
                    let message = format!("`{}` is no JMESPath expression: {why}", expression.value);
                    scope.diagnostics.error(expression.span, message);
                    return None;
                }
            }
        }
        let (lookups, lookup_slots) = lookups.into_iter().unzip();
        Some(GeoIp {
            source: scope.slot(&self.source),
            labels: fields.iter().map(|field| scope.label(&format!("geoip_{}", field.name()))).collect(),
            asked: Asked { fields, lookups },
            lookup_slots,
            cache: Cache::new(scope.geoip.handle(&self.db).reader(), Cache::<Arc<Answers>>::ENTRIES_DEFAULT),
            shared: Shared::default(),
        })
    }
}

pub struct GeoIp {
    source: Slot,
    labels: Vec<LabelId>,
    asked: Asked,
    lookup_slots: Vec<Slot>,
    cache: Cache<Arc<Answers>>,
    shared: Shared,
}

/// What is asked of a record.
struct Asked {
    fields: &'static [Field],
    lookups: Vec<Expression>,
}

/// The answers for one address: their texts one behind another, and from where to where each of them stands, by its number
/// among the labels and then the lookups. What has no answer is left out.
#[derive(PartialEq, Hash)]
struct Answers {
    texts: Box<[u8]>,
    parts: Box<[(u32, u32, u32)]>,
}

impl Answers {
    fn of(answers: impl Iterator<Item = Option<String>>) -> Answers {
        let (mut texts, mut parts) = (Vec::new(), Vec::new());
        for (number, answer) in answers.enumerate() {
            if let Some(text) = answer {
                let start = texts.len() as u32;
                texts.extend_from_slice(text.as_bytes());
                parts.push((number as u32, start, texts.len() as u32));
            }
        }
        Answers { texts: texts.into(), parts: parts.into() }
    }
}

/// Addresses by the thousand have the same few answers: countries. These stand in memory once, near the processor; where each
/// address has its own (cities, coordinates), the last ones of them are here for nothing.
struct Shared {
    recent: Vec<Option<Arc<Answers>>>,
    hasher: RandomState,
}

const SHARED: usize = 512;

impl Default for Shared {
    fn default() -> Self {
        Shared { recent: vec![None; SHARED], hasher: RandomState::default() }
    }
}

impl Shared {
    fn one_of(&mut self, answers: Answers) -> Arc<Answers> {
        let place = self.hasher.hash_one(&answers) as usize % SHARED;
        match &mut self.recent[place] {
            Some(known) if **known == answers => Arc::clone(known),
            other => Arc::clone(other.insert(Arc::new(answers))),
        }
    }
}

impl Run for GeoIp {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        let Some(text) = record.text(self.source) else { return Flow::Next };
        let (asked, shared, ip) = (&self.asked, &mut self.shared, record.address(text));
        let derive = |db: &Database, ip| asked.answer(db, ip).map(|answers| shared.one_of(answers));
        if let Lookup::Found(answers) = self.cache.get(ip, derive) {
            let texts = record.push(&answers.texts);
            for &(number, from, to) in &answers.parts {
                let text = texts.slice(from as usize, to as usize);
                match self.labels.get(number as usize) {
                    Some(label) => record.set_label(*label, Some(text)),
                    None => record.set_value(self.lookup_slots[number as usize - self.labels.len()], Value::Text(text)),
                }
            }
        }
        context.geoip.add(self.cache.take_counts());
        Flow::Next
    }
}

impl Asked {
    fn answer(&self, database: &Database, ip: IpAddr) -> Option<Answers> {
        let found = database.lookup(ip)?;
        let labels = self.fields.iter().map(|field| found.text(*field).map(|text| text.into_owned()));
        if self.lookups.is_empty() {
            return Some(Answers::of(labels));
        }
        let document = found.json()?.to_string();
        let results = self.lookups.iter().map(|lookup| match lookup.search(document.as_bytes()) {
            Extracted::Nil | Extracted::Failed => None,
            Extracted::Bool(yes) => Some(yes.to_string()),
            Extracted::Number(number) => Some(number.to_string()),
            Extracted::Text(text) => Some(text),
        });
        Some(Answers::of(labels.chain(results)))
    }
}
