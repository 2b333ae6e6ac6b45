//! What was found out about the clients seen lately.

use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};

use super::address::parse_client;
use super::answers::Answers;
use super::database::Database;
use super::handle::Reader;
use super::record::Record;
use crate::words;

/// Entries of a set: a client has one set, where it displaces the one not asked for the longest.
///
/// Sets instead of one list over all entries: a hit then writes nothing as a rule, where a linked list is relinked on
/// every line. Three of them are what a line of the processor's cache has room for: most lines of a log ask for a client that is
/// not in the processor's nearest memory.
const WAYS: usize = 3;

/// One worker's memory of clients, over the databases of a [`Reader`]: forgets everything when the database changes.
///
/// `T` is what the caller derives from a record (label texts, say); it is made once for all clients that have the record, and
/// a hit allocates nothing.
pub struct Cache<T> {
    reader: Reader,
    /// The generation of the database that all entries come from.
    generation: u64,
    /// A power of two of them.
    sets: Box<[Set]>,
    /// Each is held by the entries that have its number.
    answers: Answers<T>,
    /// Keyed at random: which clients share a set is not for one of them to choose.
    hasher: foldhash::fast::RandomState,
}

/// Its entries, the one last asked for first, and free ones last.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Set {
    clients: [[u64; 2]; WAYS],
    /// Numbers of answers.
    answers: [u32; WAYS],
    /// Of the clients; [`FREE`] where there is none.
    lengths: [u8; WAYS],
}

/// The length of no client.
const FREE: u8 = 0;
/// The number of no answer: the database has no record.
const NOT_FOUND: u32 = u32::MAX;

/// Whom a log field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The [ends](words::ends) of a text, which are all of it; else the address as IPv6.
    ends: [u64; 2],
    /// Of the text, up to 16 bytes; or [`Client::ADDRESS`].
    length: u8,
}

/// What is known of the client in a log field.
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

impl Client {
    const ADDRESS: u8 = words::ENDS_BYTES_MAX as u8 + 1;

    /// A client by a text that is short enough to be remembered as it is written, as every IPv4 address is: so it need not be
    /// parsed to be known again.
    #[inline]
    pub fn of_short_text(text: &[u8]) -> Option<Client> {
        (1..=words::ENDS_BYTES_MAX)
            .contains(&text.len())
            .then(|| Client { ends: words::ends(text), length: text.len() as u8 })
    }

    pub fn of_address(ip: IpAddr) -> Client {
        let bits = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        Client { ends: [(bits >> 64) as u64, bits as u64], length: Client::ADDRESS }
    }

    fn address(self) -> Option<IpAddr> {
        let [high, low] = self.ends.map(u128::from);
        match self.length {
            Client::ADDRESS => Some(Ipv6Addr::from_bits(high << 64 | low).to_canonical()),
            length => parse_client(words::text_of_ends(self.ends, length.into()).get(..length.into())?),
        }
    }
}

impl<T> Cache<T> {
    /// Entries enough for the clients of a busy node between two visits of each. They take 512 KiB, and their answers.
    pub const ENTRIES_DEFAULT: usize = 24_576;

    /// Room for `entries_max` clients, rounded up to three times a power of two.
    pub fn new(reader: Reader, entries_max: usize) -> Self {
        let sets = vec![Set::FREE; entries_max.div_ceil(WAYS).next_power_of_two()].into();
        let hasher = foldhash::fast::RandomState::default();
        Cache { reader, generation: 0, sets, answers: Answers::default(), hasher }
    }

    /// What is known of a client, `None` standing for a text that names none. `derive` is called with the client's record when
    /// its answer is not in memory; `None` stands for a record that says nothing.
    #[inline]
    pub fn get(
        &mut self,
        client: Option<Client>,
        counts: &mut Counts,
        derive: impl FnOnce(&Record<'_>) -> Option<T>,
    ) -> Lookup<&T> {
        if self.reader.database().is_none() {
            return Lookup::NoDatabase;
        }
        if self.reader.generation() != self.generation {
            self.forget();
        }
        let Some(client) = client else {
            counts.invalid += 1;
            return Lookup::Invalid;
        };
        let [first, last] = client.ends.map(u128::from);
        let index = self.hasher.hash_one(first << 64 | last) as usize & (self.sets.len() - 1);
        let answer = match self.sets[index].find(client) {
            Some(answer) => {
                counts.hits += 1;
                answer
            }
            None => match self.ask(index, client, counts, derive) {
                Some(answer) => answer,
                None => return Lookup::Invalid,
            },
        };
        match self.answers.get(answer) {
            Some(answer) => Lookup::Found(answer),
            None => {
                counts.not_found += 1;
                Lookup::NotFound
            }
        }
    }

    /// Asks the database, and remembers the number of the answer. `None` for what is no address.
    #[cold]
    fn ask(
        &mut self,
        index: usize,
        client: Client,
        counts: &mut Counts,
        derive: impl FnOnce(&Record<'_>) -> Option<T>,
    ) -> Option<u32> {
        let Some(ip) = client.address() else {
            counts.invalid += 1;
            return None;
        };
        counts.misses += 1;
        let record = self.reader.database().and_then(|database: &Database| database.lookup(ip));
        let answer = record.and_then(|record| self.answers.hold(record.offset(), || derive(&record)));
        let answer = answer.unwrap_or(NOT_FOUND);
        let displaced = self.sets[index].insert(client, answer);
        self.answers.let_go(displaced);
        Some(answer)
    }

    #[cold]
    fn forget(&mut self) {
        self.generation = self.reader.generation();
        self.sets.fill(Set::FREE);
        self.answers.clear();
    }
}

impl Set {
    const FREE: Set = Set { clients: [[0; 2]; WAYS], answers: [NOT_FOUND; WAYS], lengths: [FREE; WAYS] };

    /// The number of a client's answer. The client is the first one from now on.
    #[inline]
    fn find(&mut self, client: Client) -> Option<u32> {
        let is_in = |way: &usize| self.clients[*way] == client.ends && self.lengths[*way] == client.length;
        let way = (0..WAYS).find(is_in)?;
        if way > 0 {
            self.clients[..=way].rotate_right(1);
            self.answers[..=way].rotate_right(1);
            self.lengths[..=way].rotate_right(1);
        }
        Some(self.answers[0])
    }

    /// Puts a client first; the number that the last one had.
    fn insert(&mut self, client: Client, answer: u32) -> u32 {
        self.clients.rotate_right(1);
        self.answers.rotate_right(1);
        self.lengths.rotate_right(1);
        (self.clients[0], self.lengths[0]) = (client.ends, client.length);
        std::mem::replace(&mut self.answers[0], answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::handle::GeoIp;
    use super::super::mmdb::{Mmdb, map, text};
    use super::super::record::Field;
    use super::*;
    use proptest::prelude::*;

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

        fn cache(&self, entries_max: usize) -> Counting {
            Counting { cache: Cache::new(self.geoip.reader(), entries_max), counts: Counts::default() }
        }
    }

    struct Counting {
        cache: Cache<String>,
        counts: Counts,
    }

    impl Counting {
        fn get(&mut self, text: &str, derive: fn(&Record<'_>) -> Option<String>) -> Lookup<String> {
            match self.cache.get(client(text), &mut self.counts, derive) {
                Lookup::Found(code) => Lookup::Found(code.clone()),
                Lookup::NotFound => Lookup::NotFound,
                Lookup::Invalid => Lookup::Invalid,
                Lookup::NoDatabase => Lookup::NoDatabase,
            }
        }

        fn take_counts(&mut self) -> Counts {
            std::mem::take(&mut self.counts)
        }
    }

    fn country(record: &Record<'_>) -> Option<String> {
        record.text(Field::CountryCode).map(|code| code.into_owned())
    }

    fn never(record: &Record<'_>) -> Option<String> {
        panic!("{:?} should be in memory", record.json())
    }

    fn client(text: &str) -> Option<Client> {
        Client::of_short_text(text.as_bytes()).or_else(|| parse_client(text.as_bytes()).map(Client::of_address))
    }

    fn found(code: &str) -> Lookup<String> {
        Lookup::Found(code.to_owned())
    }

    fn ask(cache: &mut Counting, text: &str) -> Lookup<String> {
        cache.get(text, country)
    }

    #[test]
    fn a_client_is_looked_up_once_and_its_record_read_once() {
        let fixture = Fixture::new();
        fixture.load("DE");
        let mut cache = fixture.cache(64);
        assert_eq!(ask(&mut cache, "10.0.0.1"), found("DE"));
        // All of one record.
        let forms = [
            "10.0.0.1",
            "10.0.0.1:80",
            " 10.0.0.1",
            "10.0.0.1:81, 10.0.0.2",
            "10.0.0.1, 1:2::33",
            "10.9.9.9",
            "::ffff:10.0.0.2",
        ];
        for form in forms.iter().chain(&forms) {
            assert_eq!(cache.get(form, never), found("DE"), "{form}");
        }
        // Both longer than 16 bytes: the address is remembered.
        assert_eq!(cache.take_counts(), Counts { hits: 9, misses: 6, ..Counts::default() });
        assert_eq!(ask(&mut cache, "2001:db8::1"), found("DE"));
        // An address whose bytes are the text of another one.
        let [first, last] = words::ends(b"10.0.0.1").map(u128::from);
        assert_eq!(ask(&mut cache, &Ipv6Addr::from_bits(first << 64 | last).to_string()), Lookup::NotFound);
        assert_eq!(ask(&mut cache, "192.0.2.1"), Lookup::NotFound);
        assert_eq!(cache.get("192.0.2.1", never), Lookup::NotFound);
        for text in ["-", "", " ", "::1::", "1.2.3.4\0", "\0", &"1".repeat(46), &"1.".repeat(99_999)] {
            assert_eq!(ask(&mut cache, text), Lookup::Invalid);
        }
        assert_eq!(cache.take_counts(), Counts { hits: 1, misses: 3, not_found: 3, invalid: 8 });
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
        assert_eq!(cache.cache.sets.len(), 1);
        for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1", "10.0.0.4"] {
            ask(&mut cache, address);
        }
        assert_eq!(cache.take_counts(), Counts { hits: 1, misses: 4, ..Counts::default() });
        for address in ["10.0.0.3", "10.0.0.1", "10.0.0.4"] {
            ask(&mut cache, address);
        }
        ask(&mut cache, "10.0.0.2");
        assert_eq!(cache.take_counts(), Counts { hits: 3, misses: 1, ..Counts::default() });
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
        assert_eq!(cache.cache.sets.len(), 64);
        assert_eq!(cache.take_counts().misses, 5_000);
        assert_eq!(cache.cache.answers.held(), 1);
    }

    #[test]
    fn a_set_is_a_line_of_the_processors_cache() {
        assert_eq!(size_of::<Set>(), 64);
    }

    /// Few clients in few sets, so that entries come and go; what a record says is asked of the database each time, too.
    #[test]
    fn the_memory_says_what_the_database_says() {
        let fixture = Fixture::new();
        let mut file = Mmdb::new("country");
        for network in 0..40 {
            file = file
                .insert(&format!("10.0.{network}.0/24"), map([("country_code", text(&format!("C{}", network % 30)))]));
            file =
                file.insert(&format!("2001:db8:{network}::/48"), map([("country_code", text(&format!("D{network}")))]));
        }
        std::fs::write(fixture.geoip.path(), file.bytes()).expect("write");
        fixture.geoip.check().expect("an event");
        proptest!(|(asked in prop::collection::vec((0..45u8, 1..3u8, 0..6u8), 1..200))| {
            let (mut cache, mut reader) = (fixture.cache(24), fixture.geoip.reader());
            for (network, host, form) in asked {
                let text = match form {
                    0 => format!("2001:db8:{network}::{host}"),
                    1 => format!("2001:db8:{network}:{host}:{host}::{host}"),
                    2 => format!("10.0.{network}.{host}:80"),
                    3 => format!("10.0.{network}.0{host}"),
                    _ => format!("10.0.{network}.{host}"),
                };
                let told = match parse_client(text.as_bytes()) {
                    None => Lookup::Invalid,
                    Some(ip) => match reader.database().expect("loaded").lookup(ip) {
                        None => Lookup::NotFound,
                        Some(record) => Lookup::Found(country(&record).expect("a code")),
                    },
                };
                prop_assert_eq!(ask(&mut cache, &text), told, "{}", text);
                let in_use = cache.cache.sets.iter().flat_map(|set| set.answers).filter(|answer| *answer != NOT_FOUND);
                let in_use: std::collections::BTreeSet<u32> = in_use.collect();
                prop_assert_eq!(cache.cache.answers.held(), in_use.len());
            }
        });
    }
}
