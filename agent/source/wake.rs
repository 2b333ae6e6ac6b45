//! When to look again: after a while at the latest, and sooner on a hint.
//!
//! Polling is the truth and a hint only makes it early, so hints may be late, doubled, lost or wrong. The real ones
//! come from one inotify instance that watches directories for names that come and go, and for writers that close.
//! Appending is not watched: each line would be an event, and busy files are polled often anyway.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, ReadFlags, WatchFlags};

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Nothing came.
    Timeout,
    /// Paths were hinted, or a [`Waker`] was used.
    Hint,
    /// Events were lost: anything may have happened.
    Anything,
}

/// What a worker sleeps on.
pub trait Wakes: Send {
    /// Waits no longer than `timeout`. Paths where something happened are added to `hints`.
    fn wait(&mut self, timeout: Duration, hints: &mut Vec<PathBuf>) -> Woken;
    /// Wants hints for what happens in this directory, not below it. Watching again is free.
    fn watch(&mut self, directory: &Path);
    fn unwatch(&mut self, directory: &Path);
}

/// Ends a wait from another thread: a scrape, a reload, the end.
#[derive(Clone, Default)]
pub struct Waker(Arc<(Mutex<bool>, Condvar)>);

impl Waker {
    pub fn wake(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_one();
    }

    /// True: somebody woke it, since the last wait or now.
    fn sleep(&self, timeout: Duration) -> bool {
        let woken = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut woken, _) =
            self.0.1.wait_timeout_while(woken, timeout, |woken| !*woken).unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut woken)
    }
}

/// Never sleeps: a test or a simulator decides what is hinted, and moves its own clock.
#[derive(Default)]
pub struct ManualWakes {
    pub hints: Vec<PathBuf>,
    pub watched: std::collections::BTreeSet<PathBuf>,
    /// What was asked for, one after the other.
    pub timeouts: Vec<Duration>,
}

impl Wakes for ManualWakes {
    fn wait(&mut self, timeout: Duration, hints: &mut Vec<PathBuf>) -> Woken {
        self.timeouts.push(timeout);
        hints.append(&mut self.hints);
        if hints.is_empty() { Woken::Timeout } else { Woken::Hint }
    }

    fn watch(&mut self, directory: &Path) {
        self.watched.insert(directory.to_owned());
    }

    fn unwatch(&mut self, directory: &Path) {
        self.watched.remove(directory);
    }
}

/// So long a hint may take: the kernel collects events meanwhile, at no cost to us.
const TICK: Duration = Duration::from_millis(250);
/// More events than this at once are not looked at one by one.
const HINTS_MAX: usize = 1024;
const EVENTS_BYTES: usize = 16 << 10;

type OnDegraded = Box<dyn FnOnce(&str) + Send>;

pub struct InotifyWakes {
    /// `None`: the machine gave none, and there is only the timeout.
    inotify: Option<OwnedFd>,
    directories: HashMap<i32, PathBuf>,
    watches: HashMap<PathBuf, i32>,
    waker: Waker,
    on_degraded: Option<OnDegraded>,
    events: Box<[MaybeUninit<u8>]>,
}

impl InotifyWakes {
    /// Never fails: where inotify cannot be had, or its watches run out, `on_degraded` is told why, once, and what is
    /// not watched is found by polling.
    pub fn new(waker: Waker, on_degraded: impl FnOnce(&str) + Send + 'static) -> Self {
        let mut wakes = InotifyWakes {
            inotify: None,
            directories: HashMap::new(),
            watches: HashMap::new(),
            waker,
            on_degraded: Some(Box::new(on_degraded)),
            events: vec![MaybeUninit::uninit(); EVENTS_BYTES].into_boxed_slice(),
        };
        match inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC) {
            Ok(fd) => wakes.inotify = Some(fd),
            Err(error) => wakes.degraded(&format!("inotify is not to be had ({error}): polling only")),
        }
        wakes
    }

    fn degraded(&mut self, why: &str) {
        if let Some(tell) = self.on_degraded.take() {
            tell(why);
        }
    }

    fn drain(&mut self, hints: &mut Vec<PathBuf>) -> Woken {
        let Some(fd) = &self.inotify else { return Woken::Timeout };
        let mut reader = inotify::Reader::new(fd, &mut self.events);
        let mut woken = Woken::Timeout;
        // An error means that nothing is left.
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) || hints.len() >= HINTS_MAX {
                woken = Woken::Anything;
                continue;
            }
            if event.events().contains(ReadFlags::IGNORED) {
                // The directory is gone, and the kernel has removed the watch.
                if let Some(directory) = self.directories.remove(&event.wd()) {
                    self.watches.remove(&directory);
                }
                continue;
            }
            let Some(directory) = self.directories.get(&event.wd()) else { continue };
            let hint = match event.file_name() {
                Some(name) => directory.join(OsStr::from_bytes(name.to_bytes())),
                None => directory.clone(),
            };
            if hints.last() != Some(&hint) {
                hints.push(hint);
            }
            if woken == Woken::Timeout {
                woken = Woken::Hint;
            }
        }
        woken
    }
}

impl Wakes for InotifyWakes {
    fn wait(&mut self, timeout: Duration, hints: &mut Vec<PathBuf>) -> Woken {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let called = self.waker.sleep(left.min(TICK));
            match self.drain(hints) {
                Woken::Timeout if called => return Woken::Hint,
                Woken::Timeout if left > TICK => {}
                woken => return woken,
            }
        }
    }

    fn watch(&mut self, directory: &Path) {
        let Some(fd) = &self.inotify else { return };
        if self.watches.contains_key(directory) {
            return;
        }
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
        let flags = names | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE_SELF | WatchFlags::ONLYDIR;
        match inotify::add_watch(fd, directory, flags) {
            Ok(watch) => {
                // Two paths to one directory share a watch, and the later one is hinted.
                self.directories.insert(watch, directory.to_owned());
                self.watches.insert(directory.to_owned(), watch);
            }
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {}
            Err(error) => self.degraded(&format!("cannot watch {} ({error}): polling it", directory.display())),
        }
    }

    fn unwatch(&mut self, directory: &Path) {
        let Some(watch) = self.watches.remove(directory) else { return };
        if let Some(fd) = self.inotify.as_ref().filter(|_| self.directories.remove(&watch).is_some()) {
            // It fails when the directory went first, which is as good.
            let _ = inotify::remove_watch(fd, watch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn names_that_come_and_go_are_hinted() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut wakes = InotifyWakes::new(Waker::default(), |why| panic!("{why}"));
        wakes.watch(dir.path());
        wakes.watch(dir.path());
        let mut hints = Vec::new();
        assert_eq!(wakes.wait(Duration::ZERO, &mut hints), Woken::Timeout);
        std::fs::write(dir.path().join("0.log"), "x").expect("written");
        std::fs::rename(dir.path().join("0.log"), dir.path().join("0.log.1")).expect("renamed");
        assert_eq!(wakes.wait(Duration::ZERO, &mut hints), Woken::Hint);
        assert_eq!(hints, ["0.log", "0.log.1"].map(|name| dir.path().join(name)));
        hints.clear();
        std::fs::remove_file(dir.path().join("0.log.1")).expect("removed");
        std::fs::remove_dir(dir.path()).expect("removed");
        assert_eq!(wakes.wait(Duration::ZERO, &mut hints), Woken::Hint);
        assert!(wakes.watches.is_empty() && wakes.directories.is_empty(), "a removed directory is forgotten");
        std::fs::create_dir(dir.path()).expect("created");
        wakes.watch(dir.path());
        wakes.unwatch(dir.path());
        std::fs::write(dir.path().join("0.log"), "x").expect("written");
        assert_eq!(wakes.wait(Duration::ZERO, &mut Vec::new()), Woken::Timeout);
    }

    #[test]
    fn a_waker_ends_a_long_wait() {
        let waker = Waker::default();
        let mut wakes = InotifyWakes::new(waker.clone(), |why| panic!("{why}"));
        let other = std::thread::spawn(move || waker.wake());
        assert_eq!(wakes.wait(Duration::from_secs(3600), &mut Vec::new()), Woken::Hint);
        other.join().expect("it only wakes");
    }

    #[test]
    fn without_inotify_there_is_the_timeout_and_one_word_about_it() {
        static TOLD: AtomicUsize = AtomicUsize::new(0);
        let mut wakes = InotifyWakes::new(Waker::default(), |_| {
            TOLD.fetch_add(1, Ordering::Relaxed);
        });
        wakes.degraded("no instance left");
        wakes.degraded("and again");
        wakes.inotify = None;
        wakes.watch(Path::new("/tmp"));
        assert_eq!(wakes.wait(Duration::from_millis(1), &mut Vec::new()), Woken::Timeout);
        assert_eq!(TOLD.load(Ordering::Relaxed), 1);
    }
}
