//! What a database says of one address.

use std::borrow::Cow;

use maxminddb::{LookupResult, PathElement};

/// A fact about an address, by the names that Promtail's and Alloy's `geoip` stages give them after `geoip_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    CityName,
    CountryName,
    CountryCode,
    ContinentName,
    ContinentCode,
    LocationLatitude,
    LocationLongitude,
    PostalCode,
    Timezone,
    SubdivisionName,
    SubdivisionCode,
    AutonomousSystemNumber,
    AutonomousSystemOrganization,
}

impl Field {
    pub const ALL: [Field; 13] = [
        Field::CityName,
        Field::CountryName,
        Field::CountryCode,
        Field::ContinentName,
        Field::ContinentCode,
        Field::LocationLatitude,
        Field::LocationLongitude,
        Field::PostalCode,
        Field::Timezone,
        Field::SubdivisionName,
        Field::SubdivisionCode,
        Field::AutonomousSystemNumber,
        Field::AutonomousSystemOrganization,
    ];

    /// `city_name`, `country_name` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Field::CityName => "city_name",
            Field::CountryName => "country_name",
            Field::CountryCode => "country_code",
            Field::ContinentName => "continent_name",
            Field::ContinentCode => "continent_code",
            Field::LocationLatitude => "location_latitude",
            Field::LocationLongitude => "location_longitude",
            Field::PostalCode => "postal_code",
            Field::Timezone => "timezone",
            Field::SubdivisionName => "subdivision_name",
            Field::SubdivisionCode => "subdivision_code",
            Field::AutonomousSystemNumber => "autonomous_system_number",
            Field::AutonomousSystemOrganization => "autonomous_system_organization",
        }
    }

    /// Where the field stands: in MaxMind's nested records (of subdivisions the last, the most specific one, as
    /// Promtail takes it), and in the flat ones of ip-location-db. One of the two is empty where there is no such place
    /// or both are the same.
    const fn places(self) -> [&'static [PathElement<'static>]; 2] {
        use PathElement::{IndexFromEnd, Key};
        match self {
            Field::CityName => [&[Key("city"), Key("names"), Key("en")], &[Key("city")]],
            Field::CountryName => [&[Key("country"), Key("names"), Key("en")], &[Key("country_name")]],
            Field::CountryCode => [&[Key("country"), Key("iso_code")], &[Key("country_code")]],
            Field::ContinentName => [&[Key("continent"), Key("names"), Key("en")], &[Key("continent_name")]],
            Field::ContinentCode => [&[Key("continent"), Key("code")], &[Key("continent_code")]],
            Field::LocationLatitude => [&[Key("location"), Key("latitude")], &[Key("latitude")]],
            Field::LocationLongitude => [&[Key("location"), Key("longitude")], &[Key("longitude")]],
            Field::PostalCode => [&[Key("postal"), Key("code")], &[Key("postcode")]],
            Field::Timezone => [&[Key("location"), Key("time_zone")], &[Key("timezone")]],
            Field::SubdivisionName => {
                [&[Key("subdivisions"), IndexFromEnd(0), Key("names"), Key("en")], &[Key("state1")]]
            }
            Field::SubdivisionCode => [&[Key("subdivisions"), IndexFromEnd(0), Key("iso_code")], &[]],
            Field::AutonomousSystemNumber => [&[Key("autonomous_system_number")], &[]],
            Field::AutonomousSystemOrganization => [&[Key("autonomous_system_organization")], &[]],
        }
    }
}

/// The record of one address, still undecoded: each question walks it, so ask once and keep the answer.
pub struct Record<'a> {
    found: LookupResult<'a, Vec<u8>>,
}

impl<'a> Record<'a> {
    pub(super) fn new(found: LookupResult<'a, Vec<u8>>) -> Self {
        Record { found }
    }

    /// Where it stands in its database: addresses with the same record have the same.
    pub(super) fn offset(&self) -> usize {
        self.found.offset().unwrap_or_default()
    }

    /// The field as the text of a label, numbers as Go prints them. `None` when it is absent, empty or of an odd type.
    pub fn text(&self, field: Field) -> Option<Cow<'a, str>> {
        match field {
            Field::LocationLatitude => self.location().map(|(latitude, _)| Cow::Owned(go_float(latitude))),
            Field::LocationLongitude => self.location().map(|(_, longitude)| Cow::Owned(go_float(longitude))),
            Field::AutonomousSystemNumber => {
                self.autonomous_system_number().map(|number| Cow::Owned(number.to_string()))
            }
            _ => self.find(field, |path| self.string(path)).map(Cow::Borrowed),
        }
    }

    /// Latitude and longitude in degrees. Promtail sets both or none; 0, 0 is how a writer without nulls says "none".
    pub fn location(&self) -> Option<(f64, f64)> {
        let latitude = self.find(Field::LocationLatitude, |path| self.number(path))?;
        let longitude = self.find(Field::LocationLongitude, |path| self.number(path))?;
        ((latitude, longitude) != (0.0, 0.0)).then_some((latitude, longitude))
    }

    /// The AS number; 0 is none, as in Promtail.
    pub fn autonomous_system_number(&self) -> Option<u64> {
        let number = self.find(Field::AutonomousSystemNumber, |path| self.unsigned(path));
        number.filter(|&number| number != 0)
    }

    /// The whole record, for lookups that a user wrote. Slow; `None` if a part of it can't be decoded.
    pub fn json(&self) -> Option<serde_json::Value> {
        self.found.decode().ok().flatten()
    }

    /// The answer from the first place that has one. Records of one file differ in what they hold, and files of one
    /// `database_type` in their shape, so each record is asked for both shapes.
    fn find<T>(&self, field: Field, read: impl Fn(&'static [PathElement<'static>]) -> Option<T>) -> Option<T> {
        field.places().into_iter().filter(|path| !path.is_empty()).find_map(read)
    }

    // A value of another type than asked, or a place that leads through one, is as good as none: hence `ok`.

    fn string(&self, path: &[PathElement<'static>]) -> Option<&'a str> {
        self.found.decode_path::<&'a str>(path).ok().flatten().filter(|text| !text.is_empty())
    }

    /// A double; or a float, by its own shortest digits; or the text of a number. What is not finite is none.
    fn number(&self, path: &[PathElement<'static>]) -> Option<f64> {
        let number = match self.found.decode_path::<f64>(path) {
            Ok(double) => double,
            Err(_) => match self.found.decode_path::<f32>(path) {
                Ok(float) => float.and_then(|float| float.to_string().parse().ok()),
                Err(_) => self.string(path).and_then(|text| text.parse().ok()),
            },
        };
        number.filter(|number| number.is_finite())
    }

    /// An unsigned number of any width, or the text of one.
    fn unsigned(&self, path: &[PathElement<'static>]) -> Option<u64> {
        match self.found.decode_path::<serde_json::Value>(path).ok().flatten()? {
            serde_json::Value::Number(number) => number.as_u64(),
            serde_json::Value::String(digits) => digits.parse().ok(),
            _ => None,
        }
    }
}

/// A number as Go's `fmt.Sprint` writes a float64, and so as Promtail writes a label: the shortest digits that name it,
/// with an exponent of at least two digits below 1e-4 and from 1e6 on (strconv's `%g`).
fn go_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    match scientific.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?))) {
        Some((digits, exponent)) if !(-4..6).contains(&exponent) => format!("{digits}e{exponent:+03}"),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Database;
    use super::super::mmdb::{Mmdb, Value, map, names, text};
    use super::*;

    /// What a database that gives everyone this record says of an address: the fields that are there, by name.
    fn facts(record: Value) -> Vec<(&'static str, String)> {
        let database = Database::from_bytes(Mmdb::new("test").insert("0.0.0.0/0", record).bytes()).expect("loads");
        let record = database.lookup("192.0.2.1".parse().expect("address")).expect("every address has a record");
        let fact = |field: Field| Some((field.name(), record.text(field)?.into_owned()));
        Field::ALL.into_iter().filter_map(fact).collect()
    }

    fn check(record: Value, expected: &[(&str, &str)]) {
        let found = facts(record);
        let found: Vec<_> = found.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_nested_city_record_has_every_field_and_the_last_subdivision() {
        let city = map([
            ("city", map([("geoname_id", Value::U32(2950159)), ("names", names("Berlin"))])),
            ("continent", map([("code", text("EU")), ("names", names("Europe"))])),
            ("country", map([("iso_code", text("DE")), ("names", names("Germany"))])),
            (
                "location",
                map([
                    ("accuracy_radius", Value::U16(200)),
                    ("latitude", Value::Double(52.5)),
                    ("longitude", Value::Double(-13.40000001)),
                    ("time_zone", text("Europe/Berlin")),
                ]),
            ),
            ("postal", map([("code", text("10115"))])),
            ("registered_country", map([("iso_code", text("US")), ("names", names("United States"))])),
            (
                "subdivisions",
                Value::Array(vec![
                    map([("iso_code", text("ENG")), ("names", names("England"))]),
                    map([("iso_code", text("BE")), ("names", names("Land Berlin"))]),
                ]),
            ),
        ]);
        check(
            city,
            &[
                ("city_name", "Berlin"),
                ("country_name", "Germany"),
                ("country_code", "DE"),
                ("continent_name", "Europe"),
                ("continent_code", "EU"),
                ("location_latitude", "52.5"),
                ("location_longitude", "-13.40000001"),
                ("postal_code", "10115"),
                ("timezone", "Europe/Berlin"),
                ("subdivision_name", "Land Berlin"),
                ("subdivision_code", "BE"),
            ],
        );
    }

    #[test]
    fn flat_records_answer_the_same_questions() {
        check(map([("country_code", text("US"))]), &[("country_code", "US")]);
        let city = |latitude, longitude| {
            map([
                ("city", text("Zürich")),
                ("country_code", text("CH")),
                ("latitude", latitude),
                ("longitude", longitude),
                ("postcode", text("8001")),
                ("state1", text("Zurich")),
                ("state2", text("")),
                ("timezone", text("Europe/Zurich")),
            ])
        };
        let expected = [
            ("city_name", "Zürich"),
            ("country_code", "CH"),
            ("location_latitude", "47.3769"),
            ("location_longitude", "8.5417"),
            ("postal_code", "8001"),
            ("timezone", "Europe/Zurich"),
            ("subdivision_name", "Zurich"),
        ];
        check(city(Value::Double(47.3769), Value::Double(8.5417)), &expected);
        check(city(Value::Float(47.3769), Value::Float(8.5417)), &expected);
        check(city(text("47.3769"), text("8.5417")), &expected);
    }

    #[test]
    fn as_numbers_of_any_width_or_text_and_zero_is_none() {
        let organization = || ("autonomous_system_organization", text("Example AG"));
        for number in [Value::U16(3320), Value::U32(3320), Value::U64(3320), text("3320")] {
            check(
                map([("autonomous_system_number", number), organization()]),
                &[("autonomous_system_number", "3320"), ("autonomous_system_organization", "Example AG")],
            );
        }
        check(
            map([("autonomous_system_number", Value::U32(0)), organization()]),
            &[("autonomous_system_organization", "Example AG")],
        );
    }

    #[test]
    fn what_is_missing_empty_half_or_odd_is_none() {
        let location =
            |latitude, longitude| map([("location", map([("latitude", latitude), ("longitude", longitude)]))]);
        for record in [
            map([]),
            map([("city", map([])), ("country", map([("iso_code", text("")), ("names", map([("de", text("x"))]))]))]),
            map([("subdivisions", Value::Array(vec![])), ("city", text(""))]),
            map([("country", text("US")), ("location", Value::U16(1)), ("postal", Value::Array(vec![text("1")]))]),
            map([("location", map([("latitude", Value::Double(1.0))]))]),
            map([("autonomous_system_number", text("AS3320")), ("country_code", Value::U16(1))]),
            location(Value::Double(0.0), Value::Double(0.0)),
            location(Value::Double(f64::NAN), Value::Double(1.0)),
            location(Value::Double(1.0), text("east")),
        ] {
            check(record, &[]);
        }
        check(
            location(Value::Double(0.0), Value::Double(6.6)),
            &[("location_latitude", "0"), ("location_longitude", "6.6")],
        );
    }

    #[test]
    fn numbers_read_as_go_prints_them() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.1278, "-0.1278"),
            (37.751, "37.751"),
            (-180.0, "-180"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-0.000012345, "-1.2345e-05"),
            (999_999.5, "999999.5"),
            (1e6, "1e+06"),
            (1.25e21, "1.25e+21"),
            (1e-300, "1e-300"),
        ] {
            assert_eq!(go_float(number), expected);
        }
    }

    #[test]
    fn the_json_of_a_record_is_all_of_it() {
        let record = map([("country", map([("iso_code", text("DE"))])), ("list", Value::Array(vec![Value::U16(7)]))]);
        let database = Database::from_bytes(Mmdb::new("test").insert("::/1", record).bytes()).expect("loads");
        let json = database.lookup_json("2001:db8::1".parse().expect("address"));
        assert_eq!(json, Some(serde_json::json!({"country": {"iso_code": "DE"}, "list": [7]})));
    }
}
