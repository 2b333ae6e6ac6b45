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

/// The answers of one record: the number of each among the [`Target`]s and where its text ends, and the texts one behind
/// another in blocks, so that to copy them takes no call. What has no answer is left out.
enum Answers {
    /// Of most records. There is no pointer to follow: most lines ask for a client whose answers are far from the processor.
    Short { ends: [(u8, u8); ANSWERS], count: u8, blocks: u8, texts: [Block; BLOCKS] },
    Long { ends: Box<[(usize, usize)]>, texts: Box<[Block]> },
}

/// Countries fit into one, cities into three.
type Block = [u8; 32];
/// Answers in short.
const ANSWERS: usize = 10;
const BLOCKS: usize = 4;

impl Answers {
    fn of(answers: impl Iterator<Item = Option<String>>) -> Answers {
        let (mut ends, mut texts) = (Vec::new(), Vec::new());
        for (number, answer) in answers.enumerate() {
            if let Some(text) = answer {
                texts.extend_from_slice(text.as_bytes());
                ends.push((number, texts.len()));
            }
        }
        texts.resize(texts.len().next_multiple_of(size_of::<Block>()), 0);
        let blocks = texts.as_chunks().0;
        Answers::short(&ends, blocks).unwrap_or_else(|| Answers::Long { ends: ends.into(), texts: blocks.into() })
    }

    fn short(ends: &[(usize, usize)], blocks: &[Block]) -> Option<Answers> {
        let (mut short_ends, mut texts) = ([(0, 0); ANSWERS], [[0; _]; BLOCKS]);
        texts.get_mut(..blocks.len())?.copy_from_slice(blocks);
        for (short, (number, end)) in short_ends.get_mut(..ends.len())?.iter_mut().zip(ends) {
            *short = (u8::try_from(*number).ok()?, u8::try_from(*end).ok()?);
        }
        Some(Answers::Short { ends: short_ends, count: ends.len() as u8, blocks: blocks.len() as u8, texts })
    }

    #[inline]
    fn give(&self, targets: &[Target], record: &mut Record<'_>) {
        match self {
            Answers::Short { ends, count, blocks, texts } => {
                let ends = ends.iter().take(usize::from(*count)).map(|(number, end)| ((*number).into(), (*end).into()));
                give(ends, texts.iter().take(usize::from(*blocks)), targets, record);
            }
            Answers::Long { ends, texts } => give(ends.iter().copied(), texts.iter(), targets, record),
        }
    }
}

#[inline(always)]
fn give<'a>(
    ends: impl Iterator<Item = (usize, usize)>,
    blocks: impl Iterator<Item = &'a Block>,
    targets: &[Target],
    record: &mut Record<'_>,
) {
    let texts = record.build(|scratch| blocks.for_each(|block| scratch.extend_from_slice(block)));
    let mut start = 0;
    for (number, end) in ends {
        let text = texts.slice(start, end);
        match targets[number] {
            Target::Label(label) => record.set_label(label, Some(text)),
            Target::Value(slot) => record.set_value(slot, Value::Text(text)),
        }
        start = end;
    }
}

impl Run for GeoIp {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
        let Some(text) = record.text(self.source) else { return Flow::Next };
        let client = Client::of_short_text(record.bytes(text))
            .or_else(|| record.address(text).map(Client::of_address));
        let asked = &self.asked;
        if let Lookup::Found(answers) = self.cache.get(client, context.geoip, |found| asked.answers(found)) {
            answers.give(&self.targets, record);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(answers: &Answers) -> (Vec<(usize, usize)>, Vec<u8>) {
        match answers {
            Answers::Short { ends, count, blocks, texts } => (
                ends[..usize::from(*count)].iter().map(|(number, end)| ((*number).into(), (*end).into())).collect(),
                texts[..usize::from(*blocks)].as_flattened().to_vec(),
            ),
            Answers::Long { ends, texts } => (ends.to_vec(), texts.as_flattened().to_vec()),
        }
    }

    proptest! {
        /// Few and many, short and long, with some missing and some empty.
        #[test]
        fn every_answer_is_found_again(
            written in prop::collection::vec(prop::option::of(prop_oneof![".{0,12}", "[a-z]{0,70}", "x{250,260}"]), 0..14),
            before in prop::sample::select(vec![0usize, 3, 250]),
        ) {
            let all = || std::iter::repeat_n(None, before).chain(written.iter().cloned());
            let answers = Answers::of(all());
            let (ends, texts) = parts(&answers);
            let starts = std::iter::once(0).chain(ends.iter().map(|(_, end)| *end));
            let found: Vec<_> = starts.zip(&ends).map(|(start, (number, end))| (*number, texts[start..*end].to_vec())).collect();
            let wanted: Vec<_> = all().enumerate().filter_map(|(at, text)| Some((at, text?.into_bytes()))).collect();
            let is_short = wanted.len() <= ANSWERS && texts.len() <= BLOCKS * size_of::<Block>()
                && wanted.last().is_none_or(|(number, _)| *number < 256);
            prop_assert_eq!(matches!(answers, Answers::Short { .. }), is_short);
            prop_assert_eq!(found, wanted);
        }
    }
}
