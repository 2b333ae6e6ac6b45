//! `geoip`: what a database says of an address becomes labels.
//!
//! Promtail writes labels and no extracted values, so does weir. `db_type: country` and `custom_lookups` are Alloy's;
//! the results of custom lookups are extracted values.

use super::{Flow, Run, StageConfig};
use crate::decode::json::{Expression, Extracted};
use crate::diagnostic::Diagnostics;
use crate::geoip::{self, Cache, Client, Field, Lookup};
use crate::pipeline::{Context, LabelId, Record, Scope, Slot, Value};
use crate::yaml::{Fields, Node, Spanned};

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
        let label = |field: &Field| (*field, scope.label(&format!("geoip_{}", field.name())));
        Some(GeoIp {
            asked: Asked { fields: fields.iter().map(label).collect(), lookups },
            source: scope.slot(&self.source),
            cache: Cache::new(scope.geoip.handle(&self.db).reader(), Cache::<Answers>::ENTRIES_DEFAULT),
        })
    }
}

pub struct GeoIp {
    source: Slot,
    asked: Asked,
    cache: Cache<Answers>,
}

/// Countries fit into one, cities into three.
const BLOCK: usize = 32;

/// What is asked of a record, and what becomes of the answers.
struct Asked {
    fields: Vec<(Field, LabelId)>,
    lookups: Vec<(Expression, Slot)>,
}

/// The answers of one record: their texts one behind another, and where each of them ends. What has no answer is left out.
struct Answers {
    /// In blocks of a fixed size, zeros at the end: to copy a block takes no call.
    texts: Box<[[u8; BLOCK]]>,
    ends: Box<[(Target, u32)]>,
}

#[derive(Clone, Copy)]
enum Target {
    Label(LabelId),
    Value(Slot),
}

impl Answers {
    fn of(answers: impl Iterator<Item = (Target, String)>) -> Answers {
        let mut texts = Vec::new();
        let push = |(target, text): (Target, String)| {
            texts.extend_from_slice(text.as_bytes());
            (target, texts.len() as u32)
        };
        let ends = answers.map(push).collect();
        texts.resize(texts.len().next_multiple_of(BLOCK), 0);
        Answers { texts: texts.as_chunks().0.into(), ends }
    }
}

impl Run for GeoIp {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        let Some(text) = record.text(self.source) else { return Flow::Next };
        let client = Client::of_short_text(record.bytes(text))
            .or_else(|| record.address(text).map(Client::of_address));
        if let Lookup::Found(answers) = self.cache.get(client, |found| self.asked.answers(found)) {
            let texts = record.build(|scratch| answers.texts.iter().for_each(|block| scratch.extend_from_slice(block)));
            let mut start = 0;
            for &(target, end) in &answers.ends {
                let text = texts.slice(start, end as usize);
                match target {
                    Target::Label(label) => record.set_label(label, Some(text)),
                    Target::Value(slot) => record.set_value(slot, Value::Text(text)),
                }
                start = end as usize;
            }
        }
        context.geoip.add(self.cache.take_counts());
        Flow::Next
    }
}

impl Asked {
    /// `None` for a record that is asked for what can't be decoded.
    fn answers(&self, found: &geoip::Record<'_>) -> Option<Answers> {
        let labels = self.fields.iter().filter_map(|(field, label)| {
            let text = found.text(*field)?;
            Some((Target::Label(*label), text.into_owned()))
        });
        if self.lookups.is_empty() {
            return Some(Answers::of(labels));
        }
        let document = found.json()?.to_string();
        let results = self.lookups.iter().filter_map(|(lookup, slot)| {
            let result = match lookup.search(document.as_bytes()) {
                Extracted::Nil | Extracted::Failed => return None,
                Extracted::Bool(yes) => yes.to_string(),
                Extracted::Number(number) => number.to_string(),
                Extracted::Text(text) => text,
            };
            Some((Target::Value(*slot), result))
        });
        Some(Answers::of(labels.chain(results)))
    }
}
