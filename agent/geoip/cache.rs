//! What was found out about the addresses seen lately.

use std::hash::BuildHasher;
use std::net::IpAddr;

use super::database::Database;
use super::handle::Reader;

/// Entries of a set: an address has one set, where it displaces the one not asked for the longest.
///
/// Sets instead of one list over all entries: a hit then writes nothing as a rule, where a linked list is relinked on
/// every line, and with four ways little is lost to addresses that share a set.
const WAYS: usize = 4;

/// One worker's memory of addresses, over the databases of a [`Reader`]: forgets everything when the database changes.
///
/// `T` is what the caller derives from a record (label texts, say); it is made once for an address, and a hit
/// allocates nothing.
pub struct Cache<T> {
    reader: Reader,
    /// The generation of the database that all entries come from.
    generation: u64,
    /// A power of two of sets. In a set the entry last asked for is first, and free ones are last.
    sets: Box<[[Entry<T>; WAYS]]>,
    /// Keyed at random: which addresses share a set is not for a client to choose.
    hasher: foldhash::fast::RandomState,
    counts: Counts,
}

/// Two of them fill a line of the processor's cache when `T` is a pointer: most lines ask for an address that is not in
/// the processor's nearest memory.
struct Entry<T> {
    /// As IPv6: its two halves, which need no place at a multiple of sixteen bytes.
    address: [u64; 2],
    answer: Answer<T>,
}

enum Answer<T> {
    /// The entry is free.
    None,
    /// The database has no record.
    NotFound,
    Found(T),
}

/// What is known of the address in a log field.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    Found(T),
    /// The database has nothing for this address.
    NotFound,
    /// The text is no address.
    Invalid,
    /// There is no database (yet).
    NoDatabase,
}

/// How lookups went; each is counted as a hit, a miss or invalid, unless there was no database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered from memory.
    pub hits: u64,
    /// The database was asked.
    pub misses: u64,
    /// Hits and misses whose answer was that there is no record.
    pub not_found: u64,
    /// Texts that are no address.
    pub invalid: u64,
}

impl Counts {
    pub fn add(&mut self, more: Counts) {
        self.hits += more.hits;
        self.misses += more.misses;
        self.not_found += more.not_found;
        self.invalid += more.invalid;
    }
}

impl<T> Cache<T> {
    /// Entries enough for the clients of a busy node between two visits of each. 16 Ki entries take 512 KiB where `T` is a
    /// pointer, and what it points to.
    pub const ENTRIES_DEFAULT: usize = 16_384;

    /// Room for `entries_max` addresses, rounded up to a power of two (at least 4).
    pub fn new(reader: Reader, entries_max: usize) -> Self {
        let sets = entries_max.div_ceil(WAYS).next_power_of_two();
        let sets = (0..sets).map(|_| std::array::from_fn(|_| Entry::FREE)).collect();
        let hasher = foldhash::fast::RandomState::default();
        Cache { reader, generation: 0, sets, hasher, counts: Counts::default() }
    }

    /// What is known of an address, `None` standing for a text that is none. `derive` is called when the address is not
    /// in memory: with the database and the address, it returns `None` where there is no record.
    #[inline]
    pub fn get(&mut self, ip: Option<IpAddr>, derive: impl FnOnce(&Database, IpAddr) -> Option<T>) -> Lookup<&T> {
        if self.reader.database().is_none() {
            return Lookup::NoDatabase;
        }
        if self.reader.generation() != self.generation {
            self.generation = self.reader.generation();
            self.sets.as_flattened_mut().iter_mut().for_each(|entry| *entry = Entry::FREE);
        }
        let Some(ip) = ip else {
            self.counts.invalid += 1;
            return Lookup::Invalid;
        };
        let bits = match ip {
            IpAddr::V4(v4) => 0xffff << 32 | u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let address = [(bits >> 64) as u64, bits as u64];
        let index = self.hasher.hash_one(bits) as usize & (self.sets.len() - 1);
        match self.sets[index].iter().position(|entry| entry.is_of(address)) {
            Some(0) => self.counts.hits += 1,
            Some(way) => {
                self.counts.hits += 1;
                self.sets[index][..=way].rotate_right(1);
            }
            None => {
                let Some(database) = self.reader.database() else { return Lookup::NoDatabase };
                let answer = derive(database, ip.to_canonical()).map_or(Answer::NotFound, Answer::Found);
                let entry = Entry { address, answer };
                self.counts.misses += 1;
                self.sets[index].rotate_right(1);
                self.sets[index][0] = entry;
            }
        }
        match &self.sets[index][0].answer {
            Answer::Found(value) => Lookup::Found(value),
            Answer::NotFound | Answer::None => {
                self.counts.not_found += 1;
                Lookup::NotFound
            }
        }
    }

    /// Counts since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }
}

impl<T> Entry<T> {
    const FREE: Entry<T> = Entry { address: [0; 2], answer: Answer::None };

    #[inline]
    fn is_of(&self, address: [u64; 2]) -> bool {
        self.address == address && !matches!(self.answer, Answer::None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::address::parse_client;
    use super::super::handle::GeoIp;
    use super::super::mmdb::{Mmdb, map, text};
    use super::super::record::Field;
    use super::*;

    struct Fixture {
        _folder: tempfile::TempDir,
        geoip: Arc<GeoIp>,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let geoip = GeoIp::new(folder.path().join("country.mmdb"));
            Fixture { _folder: folder, geoip }
        }

        /// Gives 10.0.0.0/8 and 2001:db8::/32 to a country.
        fn load(&self, code: &str) {
            let record = || map([("country_code", text(code))]);
            let file = Mmdb::new("country").insert("10.0.0.0/8", record()).insert("2001:db8::/32", record());
            std::fs::write(self.geoip.path(), file.bytes()).expect("write");
            self.geoip.check().expect("an event");
        }

        fn cache(&self, entries_max: usize) -> Cache<String> {
            Cache::new(self.geoip.reader(), entries_max)
        }
    }

    fn country(database: &Database, ip: IpAddr) -> Option<String> {
        database.lookup(ip)?.text(Field::CountryCode).map(|code| code.into_owned())
    }

    fn never(_: &Database, ip: IpAddr) -> Option<String> {
        panic!("{ip} should be in memory")
    }

    fn found(code: &str) -> Lookup<String> {
        Lookup::Found(code.to_owned())
    }

    fn ask(cache: &mut Cache<String>, text: &str) -> Lookup<String> {
        match cache.get(parse_client(text.as_bytes()), country) {
            Lookup::Found(code) => Lookup::Found(code.clone()),
            Lookup::NotFound => Lookup::NotFound,
            Lookup::Invalid => Lookup::Invalid,
            Lookup::NoDatabase => Lookup::NoDatabase,
        }
    }

    #[test]
    fn an_address_is_looked_up_once_in_whatever_form_it_is_written() {
        let fixture = Fixture::new();
        fixture.load("DE");
        let mut cache = fixture.cache(64);
        assert_eq!(ask(&mut cache, "10.0.0.1"), found("DE"));
        for same in ["10.0.0.1", "10.0.0.1:80", " 10.0.0.1", "10.0.0.1:81, 10.0.0.2"] {
            assert_eq!(cache.get(parse_client(same.as_bytes()), never), Lookup::Found(&"DE".to_owned()));
        }
        assert_eq!(ask(&mut cache, "2001:db8::1"), found("DE"));
        assert_eq!(ask(&mut cache, "192.0.2.1"), Lookup::NotFound);
        assert_eq!(cache.get(parse_client(b"192.0.2.1"), never), Lookup::NotFound);
        for text in ["-", "", " ", "::1::", &"1".repeat(46), &"1.".repeat(99_999)] {
            assert_eq!(ask(&mut cache, text), Lookup::Invalid);
        }
        assert_eq!(cache.take_counts(), Counts { hits: 5, misses: 3, not_found: 2, invalid: 6 });
        assert_eq!(cache.take_counts(), Counts::default());
    }

    #[test]
    fn a_new_database_makes_everything_forgotten() {
        let fixture = Fixture::new();
        let mut cache = fixture.cache(64);
        assert_eq!(ask(&mut cache, "10.0.0.1"), Lookup::NoDatabase);
        assert_eq!(cache.take_counts(), Counts::default());
        for code in ["DE", "FR"] {
            fixture.load(code);
            assert_eq!(ask(&mut cache, "10.0.0.1"), found(code));
            assert_eq!(ask(&mut cache, "2001:db8::1"), found(code));
        }
    }

    #[test]
    fn of_a_full_set_the_one_not_asked_for_longest_goes() {
        let fixture = Fixture::new();
        fixture.load("DE");
        let mut cache = fixture.cache(WAYS);
        assert_eq!(cache.sets.len(), 1);
        for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.1", "10.0.0.5"] {
            ask(&mut cache, address);
        }
        assert_eq!(cache.take_counts(), Counts { hits: 1, misses: 5, ..Counts::default() });
        for address in ["10.0.0.1", "10.0.0.5", "10.0.0.3", "10.0.0.4"] {
            cache.get(parse_client(address.as_bytes()), never);
        }
        ask(&mut cache, "10.0.0.2");
        assert_eq!(cache.take_counts(), Counts { hits: 4, misses: 1, ..Counts::default() });
    }

    #[test]
    fn memory_stays_what_it_was_however_many_addresses_come() {
        let fixture = Fixture::new();
        fixture.load("DE");
        let mut cache = fixture.cache(100);
        for number in 0..5_000u32 {
            let text = std::net::Ipv4Addr::from_bits(0x0a00_0000 | number).to_string();
            assert_eq!(ask(&mut cache, &text), found("DE"));
        }
        assert_eq!(cache.sets.as_flattened().len(), 128);
        assert_eq!(cache.take_counts().misses, 5_000);
    }
}
