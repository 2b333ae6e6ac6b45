//! One MaxMind database (`.mmdb`), in memory.

use std::fs::{File, Metadata};
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use hashbrown::HashSet;
use maxminddb::{LookupResult, PathElement, WithinOptions};
use thiserror::Error;

use super::record::Record;

/// The largest file that is read, in bytes: the biggest of the free ones (DB-IP city) has 140 MB.
pub const FILE_BYTES_MAX: u64 = 512 << 20;

/// How many records are looked at to tell what a database is about when its name does not.
const KIND_RECORDS: usize = 64;

/// What a database is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    City,
    Country,
    Asn,
    /// Neither: only lookups that a user wrote can say anything.
    Other,
}

/// Why a file is not a database that can be used.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error("cannot read it: {0}")]
    Io(#[from] std::io::Error),
    #[error("it is not a regular file")]
    NotAFile,
    #[error("it has {0} bytes, more than the {FILE_BYTES_MAX} that are read")]
    TooBig(u64),
    #[error("it was written to while it was read")]
    Changing,
    #[error("it is not a whole MaxMind database: {0}")]
    Invalid(String),
}

/// A database read into memory and checked. Not mapped: a mapped file that is truncated in place kills its reader with
/// SIGBUS, and one that is overwritten changes under its hands.
pub struct Database {
    reader: maxminddb::Reader<Vec<u8>>,
    kind: Kind,
}

impl Database {
    /// Reads and checks a file. Measured: 30 ms for a country database of 8 MB, 250 ms for a city one of 63 MB; so not
    /// on an async thread.
    pub fn load(path: &Path) -> Result<Database, LoadError> {
        Database::from_bytes(read_whole(path)?)
    }

    /// Checks that `bytes` are a whole database, and that each network's record can be walked.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Result<Database, LoadError> {
        let reader = maxminddb::Reader::from_source(bytes).map_err(invalid)?;
        verify(&reader)?;
        let kind = kind_of_name(&reader.metadata().database_type).unwrap_or_else(|| kind_of_records(&reader));
        Ok(Database { reader, kind })
    }

    /// What the database is about: by its type name, else by the records that it has.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name for itself, such as `GeoLite2-City` or `country ipv4`.
    pub fn type_name(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// When it was built, in seconds since 1970.
    pub fn build_epoch_seconds(&self) -> u64 {
        self.reader.metadata().build_epoch
    }

    /// The record of an address. `None` when it has none, and for IPv6 in a database that has only IPv4.
    pub fn lookup(&self, ip: IpAddr) -> Option<Record<'_>> {
        let found = self.reader.lookup(ip.to_canonical()).ok()?;
        found.has_data().then(|| Record::new(found))
    }

    /// The whole record of an address: the slow path of lookups that a user wrote.
    pub fn lookup_json(&self, ip: IpAddr) -> Option<serde_json::Value> {
        self.lookup(ip)?.json()
    }
}

/// The file's bytes as they were at one moment, as far as one can tell.
fn read_whole(path: &Path) -> Result<Vec<u8>, LoadError> {
    // Asked before it is opened: to open a FIFO would wait for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(LoadError::NotAFile);
    }
    let mut file = File::open(path)?;
    let before = file.metadata()?;
    if before.len() > FILE_BYTES_MAX {
        return Err(LoadError::TooBig(before.len()));
    }
    // One more than there should be: so that the end is seen without growing the buffer.
    let mut bytes = Vec::with_capacity(before.len() as usize + 1);
    file.by_ref().take(before.len() + 1).read_to_end(&mut bytes)?;
    let after = file.metadata()?;
    if Stamp::of(&before) != Stamp::of(&after) || bytes.len() as u64 != before.len() {
        return Err(LoadError::Changing);
    }
    Ok(bytes)
}

/// Which file it is and which state of it: a rename, a swapped symbolic link and an overwrite all change it. The change
/// time tells a rewrite whose writer put the old modification time back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Stamp {
        use std::os::unix::fs::MetadataExt;
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Walks the tree, and the top level of each distinct record. `Reader::verify` does a little more, but refuses the files
/// of ip-location-db for having no description.
fn verify(reader: &maxminddb::Reader<Vec<u8>>) -> Result<(), LoadError> {
    let options = WithinOptions::default().include_networks_without_data().include_aliased_networks();
    // A tree of n nodes has n + 1 leaves; the IPv4 part may be reached by a few aliases besides. A broken tree can have
    // more paths than anyone can walk.
    let mut leaves_left = 8 * u64::from(reader.metadata().node_count) + 8;
    let mut walked = HashSet::with_hasher(foldhash::fast::FixedState::default());
    for network in reader.networks(options).map_err(invalid)? {
        let network = network.map_err(invalid)?;
        leaves_left = leaves_left.checked_sub(1).ok_or_else(|| LoadError::Invalid("its tree has cycles".to_owned()))?;
        if network.offset().is_some_and(|offset| walked.insert(offset)) {
            // To look for a key that is not there is to pass all that are, and fails for what is no map.
            network.decode_path::<&str>(&[PathElement::Key("\0")]).map_err(invalid)?;
        }
    }
    if walked.is_empty() { Err(LoadError::Invalid("it has no record".to_owned())) } else { Ok(()) }
}

/// By the name, as vendors write it: `GeoLite2-City`, `DBIP-Country-Lite`, `city ipv4`, `GeoIP2-Enterprise`, `asn`.
fn kind_of_name(type_name: &str) -> Option<Kind> {
    let type_name = type_name.to_ascii_lowercase();
    let kinds = [(Kind::City, ["city", "enterprise"]), (Kind::Country, ["country"; 2]), (Kind::Asn, ["asn", "isp"])];
    let says = |words: &[&str]| words.iter().any(|word| type_name.contains(word));
    kinds.into_iter().find(|(_, words)| says(words)).map(|(kind, _)| kind)
}

fn kind_of_records(reader: &maxminddb::Reader<Vec<u8>>) -> Kind {
    let has = |found: &LookupResult<'_, Vec<u8>>, key| {
        matches!(found.decode_path::<serde_json::Value>(&[PathElement::Key(key)]), Ok(Some(_)))
    };
    let Ok(networks) = reader.networks(WithinOptions::default()) else { return Kind::Other };
    let mut kind = Kind::Other;
    for found in networks.flatten().take(KIND_RECORDS) {
        if ["city", "location", "postal", "latitude"].iter().any(|key| has(&found, key)) {
            return Kind::City;
        }
        if ["country", "country_code", "continent"].iter().any(|key| has(&found, key)) {
            kind = Kind::Country;
        } else if kind == Kind::Other && has(&found, "autonomous_system_number") {
            kind = Kind::Asn;
        }
    }
    kind
}

fn invalid(error: maxminddb::MaxMindDbError) -> LoadError {
    LoadError::Invalid(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::mmdb::{Mmdb, Value, map, names, text};
    use super::super::record::Field;
    use super::*;

    fn country(code: &str) -> Value {
        map([("country", map([("iso_code", text(code)), ("names", names(code))]))])
    }

    fn code(database: &Database, ip: &str) -> Option<String> {
        let record = database.lookup(ip.parse().expect("address"))?;
        Some(record.text(Field::CountryCode)?.into_owned())
    }

    fn small(record_bits: u16) -> Mmdb {
        Mmdb::new("GeoLite2-Country")
            .record_bits(record_bits)
            .insert("203.0.0.0/8", country("JP"))
            .insert("203.0.113.0/24", country("DE"))
            .insert("2001:db8::/32", country("FR"))
    }

    #[test]
    fn an_address_finds_its_narrowest_network_for_each_record_size() {
        for record_bits in [24, 28, 32] {
            let database = Database::from_bytes(small(record_bits).bytes()).expect("loads");
            for (ip, expected) in [
                ("203.0.113.9", Some("DE")),
                ("::ffff:203.0.113.9", Some("DE")),
                ("203.0.112.255", Some("JP")),
                ("204.0.0.1", None),
                ("2001:db8:ffff::1", Some("FR")),
                ("2001:db9::1", None),
            ] {
                assert_eq!(code(&database, ip).as_deref(), expected, "{ip} with {record_bits} bits");
            }
        }
    }

    #[test]
    fn an_ipv4_only_database_has_no_ipv6() {
        let file =
            Mmdb::new("country ipv4").ip_version(4).insert("203.0.113.0/24", map([("country_code", text("DE"))]));
        let database = Database::from_bytes(file.bytes()).expect("loads");
        assert_eq!(code(&database, "203.0.113.9").as_deref(), Some("DE"));
        assert_eq!(code(&database, "::ffff:203.0.113.9").as_deref(), Some("DE"));
        assert_eq!(code(&database, "2001:db8::1"), None);
    }

    #[test]
    fn the_kind_is_in_the_name_else_in_the_records() {
        let flat_city = || map([("city", text("x")), ("country_code", text("DE")), ("latitude", Value::Double(1.0))]);
        let asn = || map([("autonomous_system_number", Value::U32(1))]);
        for (name, record, expected) in [
            ("GeoLite2-City", country("DE"), Kind::City),
            ("DBIP-Country-Lite", country("DE"), Kind::Country),
            ("country ipvAll", map([("country_code", text("DE"))]), Kind::Country),
            ("city ipv4", flat_city(), Kind::City),
            ("GeoLite2-ASN", asn(), Kind::Asn),
            ("GeoIP2-ISP", asn(), Kind::Asn),
            ("mine", flat_city(), Kind::City),
            ("mine", country("DE"), Kind::Country),
            ("mine", asn(), Kind::Asn),
            ("mine", map([("is_tor", Value::U16(1))]), Kind::Other),
        ] {
            let bytes = Mmdb::new(name).build_epoch(17).insert("10.0.0.0/8", record.clone()).bytes();
            let database = Database::from_bytes(bytes).expect("loads");
            assert_eq!(database.kind(), expected, "{name} {record:?}");
            assert_eq!((database.type_name(), database.build_epoch_seconds()), (name, 17));
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = small(24).bytes();
        for length in 0..whole.len() {
            assert!(Database::from_bytes(whole[..length].to_vec()).is_err(), "the first {length} of {}", whole.len());
        }
    }

    #[test]
    fn flipped_bits_are_refused_or_answered_and_never_panic() {
        for record_bits in [24, 28, 32] {
            let whole = small(record_bits).bytes();
            let mut refused = 0;
            for place in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[place / 8] ^= 1 << (place % 8);
                let Ok(database) = Database::from_bytes(bytes) else {
                    refused += 1;
                    continue;
                };
                for ip in ["203.0.113.9", "203.0.0.1", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::", "ffff::"] {
                    let ip = ip.parse().expect("address");
                    if let Some(record) = database.lookup(ip) {
                        Field::ALL.iter().for_each(|field| drop(record.text(*field)));
                    }
                    database.lookup_json(ip);
                }
            }
            assert!(refused > whole.len(), "only {refused} of {} refused", whole.len() * 8);
        }
    }

    #[test]
    fn what_is_no_database_is_refused_with_the_reason() {
        let empty = Mmdb::new("GeoLite2-City").bytes();
        let no_map = Mmdb::new("GeoLite2-City").insert("10.0.0.0/8", text("DE")).bytes();
        for (bytes, reason) in [(empty, "no record"), (no_map, "map"), (b"<html>404</html>".to_vec(), "MaxMind")] {
            let error = Database::from_bytes(bytes).err().expect("refused").to_string();
            assert!(error.contains(reason), "{error}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(Database::load(folder.path()), Err(LoadError::NotAFile)));
        assert!(matches!(Database::load(&folder.path().join("x")), Err(LoadError::Io(_))));
        let big = folder.path().join("big.mmdb");
        File::create(&big).expect("a file").set_len(FILE_BYTES_MAX + 1).expect("sparse");
        assert!(matches!(Database::load(&big), Err(LoadError::TooBig(_))));
    }
}
