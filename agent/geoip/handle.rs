//! A database that may appear, be replaced and break while it is used.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::database::{Database, Kind, LoadError, Stamp};

/// One database file, shared by all who ask it. Nothing is read before the first [`GeoIp::check`]; that there is no
/// file is no error: who asks gets no answer until one appears.
pub struct GeoIp {
    path: PathBuf,
    /// Counts the databases that were put in place: readers look here, and take the lock only when it moved.
    generation: AtomicU64,
    state: Mutex<State>,
    /// Held by who looks at the file. Readers don't need it.
    looking: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The newest good database.
    database: Option<Arc<Database>>,
    /// The file that was tried last, good or bad: it is not tried again until it changes. `None` before the first.
    tried: Option<Stamp>,
    /// Why the path could not be looked at last time: a lasting trouble is reported once.
    unreachable: Option<ErrorKind>,
    loads: u64,
    failures: u64,
}

/// What [`GeoIp::check`] found to have changed: to be logged once each.
#[derive(Debug)]
pub enum Event {
    /// There is a database now, the first one or (`replaced`) a newer one.
    Loaded { kind: Kind, type_name: String, build_epoch_seconds: u64, replaced: bool },
    /// There is no file. `kept`: the database that was read before stays in use.
    Missing { kept: bool },
    /// There is a file that is no good. `kept` as above.
    Failed { reason: LoadError, kept: bool },
}

/// For metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub loaded: bool,
    /// When the database in use was built, in seconds since 1970.
    pub build_epoch_seconds: Option<u64>,
    /// Databases put in place, the first one included.
    pub loads: u64,
    /// Files that were refused or could not be read.
    pub failures: u64,
}

impl GeoIp {
    pub fn new(path: impl Into<PathBuf>) -> Arc<GeoIp> {
        Arc::new(GeoIp {
            path: path.into(),
            generation: AtomicU64::new(0),
            state: Mutex::default(),
            looking: Mutex::default(),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether the file changed since the last look, and reads it if so. To be called before the first line and
    /// every few seconds from then on, not on an async thread: one `stat` as a rule, a read of the file when it changed.
    ///
    /// The path is resolved anew each time, so that a rename over it, Kubernetes' swap of `..data` and an overwrite in
    /// place are all seen. A bad file is tried again when it changes. A look waits for one that another thread has begun: who
    /// comes back from it finds the database that was there.
    pub fn check(&self) -> Option<Event> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = match std::fs::metadata(&self.path) {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) => return self.unreachable(error),
        };
        {
            let mut state = self.state();
            state.unreachable = None;
            if state.tried == Some(stamp) {
                return None;
            }
            state.tried = Some(stamp);
        }
        // Read without the lock, so that a reader who needs it is not held up.
        let loaded = Database::load(&self.path);
        let mut state = self.state();
        match loaded {
            Ok(database) => {
                let event = Event::Loaded {
                    kind: database.kind(),
                    type_name: database.type_name().to_owned(),
                    build_epoch_seconds: database.build_epoch_seconds(),
                    replaced: state.database.is_some(),
                };
                state.database = Some(Arc::new(database));
                state.loads += 1;
                self.generation.fetch_add(1, Ordering::Release);
                Some(event)
            }
            Err(reason) => {
                state.failures += 1;
                Some(Event::Failed { reason, kept: state.database.is_some() })
            }
        }
    }

    pub fn facts(&self) -> Facts {
        let state = self.state();
        let build_epoch_seconds = state.database.as_ref().map(|database| database.build_epoch_seconds());
        let loaded = state.database.is_some();
        Facts { loaded, build_epoch_seconds, loads: state.loads, failures: state.failures }
    }

    /// A view for one thread.
    pub fn reader(self: &Arc<Self>) -> Reader {
        Reader { geoip: Arc::clone(self), generation: 0, database: None }
    }

    /// The file can't even be looked at: said once until that changes.
    fn unreachable(&self, error: std::io::Error) -> Option<Event> {
        let mut state = self.state();
        let kept = state.database.is_some();
        // The file that comes back is looked at whatever its stamp.
        state.tried = None;
        if state.unreachable.replace(error.kind()) == Some(error.kind()) {
            return None;
        }
        if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
            return Some(Event::Missing { kept });
        }
        state.failures += 1;
        Some(Event::Failed { reason: LoadError::Io(error), kept })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of the state is whole, so one that a panic elsewhere interrupted is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The view of one thread: asks for the current database without a lock while it stays the same.
pub struct Reader {
    geoip: Arc<GeoIp>,
    generation: u64,
    database: Option<Arc<Database>>,
}

impl Reader {
    /// The database to ask now, if there is one.
    #[inline]
    pub fn database(&mut self) -> Option<&Database> {
        if self.geoip.generation.load(Ordering::Acquire) != self.generation {
            self.refresh();
        }
        self.database.as_deref()
    }

    /// Which database [`Reader::database`] gave last: 0 is none; what was derived from another generation is stale.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    #[cold]
    fn refresh(&mut self) {
        let state = self.geoip.state();
        // Under the lock the two belong together: a generation is counted with its database in place.
        self.generation = self.geoip.generation.load(Ordering::Acquire);
        self.database = state.database.clone();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::mmdb::{Mmdb, map, text};
    use super::super::record::Field;
    use super::*;

    fn file(code: &str) -> Vec<u8> {
        Mmdb::new("GeoLite2-Country").insert("0.0.0.0/0", map([("country_code", text(code))])).bytes()
    }

    /// What a new thread and an old one answer; they must agree.
    fn answer(geoip: &Arc<GeoIp>, old: &mut Reader) -> Option<String> {
        let ask = |reader: &mut Reader| {
            let record = reader.database()?.lookup("192.0.2.1".parse().expect("address"))?;
            record.text(Field::CountryCode).map(|code| code.into_owned())
        };
        let answer = ask(old);
        assert_eq!(answer, ask(&mut geoip.reader()));
        answer
    }

    /// Puts a file in place as geoipupdate does.
    fn rename_over(path: &Path, bytes: &[u8]) {
        let new = path.with_extension("new");
        fs::write(&new, bytes).expect("write");
        fs::rename(new, path).expect("rename");
    }

    #[test]
    fn a_missing_file_is_said_once_and_picked_up_when_it_appears() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("later/country.mmdb");
        let geoip = GeoIp::new(&path);
        let mut reader = geoip.reader();
        assert!(matches!(geoip.check(), Some(Event::Missing { kept: false })));
        assert!(geoip.check().is_none());
        assert_eq!(answer(&geoip, &mut reader), None);
        assert_eq!(geoip.facts(), Facts::default());

        fs::create_dir(path.parent().expect("a parent")).expect("mkdir");
        fs::write(&path, file("DE")).expect("write");
        assert!(matches!(geoip.check(), Some(Event::Loaded { kind: Kind::Country, replaced: false, .. })));
        assert_eq!(answer(&geoip, &mut reader).as_deref(), Some("DE"));
        assert!(geoip.check().is_none());
        let facts = Facts { loaded: true, build_epoch_seconds: Some(1_700_000_000), loads: 1, failures: 0 };
        assert_eq!(geoip.facts(), facts);
    }

    #[test]
    fn whoever_looks_comes_back_with_the_database_that_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("country.mmdb");
        fs::write(&path, file("DE")).expect("write");
        for _ in 0..200 {
            let (geoip, together) = (GeoIp::new(&path), std::sync::Barrier::new(2));
            let look = || {
                together.wait();
                geoip.check();
                geoip.facts().loaded
            };
            let loaded = std::thread::scope(|threads| {
                let other = threads.spawn(look);
                (look(), other.join().expect("the other thread"))
            });
            assert_eq!(loaded, (true, true));
        }
    }

    #[test]
    fn a_replaced_file_is_read_and_a_bad_or_missing_one_keeps_the_old() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("country.mmdb");
        fs::write(&path, file("DE")).expect("write");
        let geoip = GeoIp::new(&path);
        let mut reader = geoip.reader();
        geoip.check();

        rename_over(&path, &file("FR"));
        assert!(matches!(geoip.check(), Some(Event::Loaded { replaced: true, .. })));
        assert_eq!(answer(&geoip, &mut reader).as_deref(), Some("FR"));
        let generation = reader.generation();

        let whole = file("IT");
        rename_over(&path, &whole[..whole.len() / 2]);
        assert!(matches!(geoip.check(), Some(Event::Failed { reason: LoadError::Invalid(_), kept: true })));
        assert!(geoip.check().is_none(), "a bad file is tried once");
        assert_eq!(answer(&geoip, &mut reader).as_deref(), Some("FR"));

        fs::remove_file(&path).expect("remove");
        assert!(matches!(geoip.check(), Some(Event::Missing { kept: true })));
        assert_eq!(answer(&geoip, &mut reader).as_deref(), Some("FR"));
        assert_eq!(reader.generation(), generation, "what stays in use stays cached");

        fs::write(&path, &whole).expect("write");
        assert!(matches!(geoip.check(), Some(Event::Loaded { replaced: true, .. })));
        assert_eq!(answer(&geoip, &mut reader).as_deref(), Some("IT"));
        assert_eq!((geoip.facts().loads, geoip.facts().failures), (3, 1));
    }

    #[test]
    fn a_file_overwritten_or_truncated_in_place_never_hurts_the_one_in_use() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("country.mmdb");
        fs::write(&path, file("DE")).expect("write");
        let geoip = GeoIp::new(&path);
        let mut reader = geoip.reader();
        geoip.check();
        fs::File::create(&path).expect("truncate");
        assert_eq!(answer(&geoip, &mut reader).as_deref(), Some("DE"));
        assert!(matches!(geoip.check(), Some(Event::Failed { kept: true, .. })));
        assert_eq!(answer(&geoip, &mut reader).as_deref(), Some("DE"));
        fs::write(&path, [file("FR"), vec![0; 7]].concat()).expect("write");
        assert!(matches!(geoip.check(), Some(Event::Loaded { .. })));
        assert_eq!(answer(&geoip, &mut reader).as_deref(), Some("FR"));
    }

    #[test]
    fn the_swap_of_kubernetes_data_link_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let volume = folder.path();
        for (version, code) in [("..2024_01", "DE"), ("..2024_02", "FR")] {
            fs::create_dir(volume.join(version)).expect("mkdir");
            fs::write(volume.join(version).join("country.mmdb"), file(code)).expect("write");
        }
        symlink("..2024_01", volume.join("..data")).expect("link");
        symlink("..data/country.mmdb", volume.join("country.mmdb")).expect("link");
        let geoip = GeoIp::new(volume.join("country.mmdb"));
        let mut reader = geoip.reader();
        geoip.check();
        assert_eq!(answer(&geoip, &mut reader).as_deref(), Some("DE"));

        symlink("..2024_02", volume.join("..data_tmp")).expect("link");
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).expect("swap");
        assert!(matches!(geoip.check(), Some(Event::Loaded { replaced: true, .. })));
        assert_eq!(answer(&geoip, &mut reader).as_deref(), Some("FR"));
    }

    #[test]
    fn a_loop_of_links_is_a_failure_said_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("country.mmdb");
        symlink("country.mmdb", &path).expect("link");
        let geoip = GeoIp::new(&path);
        assert!(matches!(geoip.check(), Some(Event::Failed { reason: LoadError::Io(_), kept: false })));
        assert!(geoip.check().is_none());
        assert_eq!(geoip.facts().failures, 1);
    }
}
