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
        let (lookups, slots): (Vec<_>, Vec<Slot>) = lookups.into_iter().unzip();
        let label = |field: &Field| Target::Label(scope.label(&format!("geoip_{}", field.name())));
        Some(GeoIp {
            targets: fields.iter().map(label).chain(slots.into_iter().map(Target::Value)).collect(),
            asked: Asked { fields, lookups },
            source: scope.slot(&self.source),
            cache: Cache::new(scope.geoip.handle(&self.db).reader(), Cache::<Answers>::ENTRIES_DEFAULT),
        })
    }
}

pub struct GeoIp {
    source: Slot,
    asked: Asked,
    /// What the answers become, in their order.
    targets: Vec<Target>,
    cache: Cache<Answers>,
}

/// What is asked of a record.
struct Asked {
    fields: &'static [Field],
    lookups: Vec<Expression>,
}

#[derive(Clone, Copy)]
enum Target {
    Label(LabelId),
    Value(Slot),
}

/// The answers of one record: where the text of each ends (as u32, [`ABSENT`] where there is none), and the texts one behind
/// another, in blocks, so that to copy them takes no call.
enum Answers {
    /// Of most records. There is no pointer to follow: most lines ask for a client whose answers are far from the processor.
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

/// Where no text ends.
const ABSENT: u32 = u32::MAX;
/// Bytes of a block of texts. Countries fit into one, cities into three.
const BLOCK: usize = 32;
/// Room for the ends of ten texts and four blocks of them.
const SHORT: usize = 10 * size_of::<u32>() + 4 * BLOCK;

impl Answers {
    fn of(answers: impl Iterator<Item = Option<String>>) -> Answers {
        let (mut bytes, mut texts) = (Vec::new(), Vec::new());
        for answer in answers {
            texts.extend_from_slice(answer.as_deref().unwrap_or_default().as_bytes());
            let end = if answer.is_some() { texts.len() as u32 } else { ABSENT };
            bytes.extend_from_slice(&end.to_le_bytes());
        }
        texts.resize(texts.len().next_multiple_of(BLOCK), 0);
        bytes.extend_from_slice(&texts);
        let mut short = [0; SHORT];
        match short.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(&bytes);
                Answers::Short { length: bytes.len() as u8, bytes: short }
            }
            None => Answers::Long(bytes.into()),
        }
    }

    /// The ends of so many texts, and the texts.
    #[inline]
    fn parts(&self, count: usize) -> (&[[u8; 4]], &[[u8; BLOCK]]) {
        let bytes = match self {
            Answers::Short { length, bytes } => &bytes[..usize::from(*length)],
            Answers::Long(bytes) => bytes,
        };
        let (ends, texts) = bytes.split_at(count * size_of::<u32>());
        (ends.as_chunks().0, texts.as_chunks().0)
    }
}

impl Run for GeoIp {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        let Some(text) = record.text(self.source) else { return Flow::Next };
        let client = Client::of_short_text(record.bytes(text))
            .or_else(|| record.address(text).map(Client::of_address));
        if let Lookup::Found(answers) = self.cache.get(client, |found| self.asked.answers(found)) {
            let (ends, blocks) = answers.parts(self.targets.len());
            let texts = record.build(|scratch| blocks.iter().for_each(|block| scratch.extend_from_slice(block)));
            let mut start = 0;
            for (target, end) in self.targets.iter().zip(ends) {
                let end = match u32::from_le_bytes(*end) {
                    ABSENT => continue,
                    end => end as usize,
                };
                let text = texts.slice(start, end);
                match *target {
                    Target::Label(label) => record.set_label(label, Some(text)),
                    Target::Value(slot) => record.set_value(slot, Value::Text(text)),
                }
                start = end;
            }
        }
        context.geoip.add(self.cache.take_counts());
        Flow::Next
    }
}

impl Asked {
    /// `None` for a record that is asked for what can't be decoded.
    fn answers(&self, found: &geoip::Record<'_>) -> Option<Answers> {
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
