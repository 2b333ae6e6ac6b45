//! A country and a city database in MaxMind's schema, large enough that a lookup walks a real tree.

use super::mmdb::{Mmdb, Value, map, names, text};
use super::random::Random;

const COUNTRIES: usize = 240;

/// All IPv4 networks of 16 bits but one in eight, which is four of 18 bits; IPv6 networks of 28 bits.
pub fn country() -> Vec<u8> {
    database("GeoLite2-Country", |random| {
        let country = random.below(COUNTRIES);
        let code: String = [country / 26, country % 26].map(|at| char::from(b'A' + at as u8)).iter().collect();
        map([("country", map([("iso_code", text(&code)), ("names", names(&format!("Country {country}")))]))])
    })
}

/// The same with a place for each network, one of 20,000.
pub fn city() -> Vec<u8> {
    database("GeoLite2-City", |random| {
        let place = random.below(20_000);
        let (latitude, longitude) = ((place % 1_700) as f64 / 10.0 - 85.0, (place % 3_599) as f64 / 10.0 - 179.0);
        map([
            ("city", map([("names", names(&format!("City {place}")))])),
            ("location", map([("latitude", Value::Double(latitude)), ("longitude", Value::Double(longitude))])),
        ])
    })
}

fn database(kind: &str, mut record: impl FnMut(&mut Random) -> Value) -> Vec<u8> {
    let mut random = Random::new(7);
    let mut mmdb = Mmdb::new(kind);
    for high in 1..224 {
        for low in 0..256 {
            if random.below(8) > 0 {
                mmdb = mmdb.insert(&format!("{high}.{low}.0.0/16"), record(&mut random));
                continue;
            }
            for part in [0, 64, 128, 192] {
                mmdb = mmdb.insert(&format!("{high}.{low}.{part}.0/18"), record(&mut random));
            }
        }
    }
    for network in 0..0x1000 {
        mmdb = mmdb.insert(&format!("2001:{network:x}0::/28"), record(&mut random));
    }
    mmdb.bytes()
}
