//! The objects that are known, and whether they have changed since somebody looked.

use std::collections::BTreeMap;
use std::time::Duration;

/// Objects that are known at most; a node has some hundred pods.
pub const OBJECTS_MAX: usize = 5000;
/// An object that is gone from the API counts for so much longer: what it wrote last is to be read, and its files
/// are there until the kubelet removes them.
pub const LINGER: Duration = Duration::from_secs(5 * 60);
/// Changes in a row are handed on together, so often.
const CHANGES_EVERY: Duration = Duration::from_secs(1);

pub struct Known<T> {
    objects: BTreeMap<String, Entry<T>>,
    /// There was a whole list once.
    listed: bool,
    /// There were more objects than are kept.
    truncated: bool,
    /// Something changed that nobody took yet; when something was taken last.
    changed: bool,
    taken: Option<Duration>,
}

struct Entry<T> {
    kept: T,
    /// Since when the API has it no more.
    gone: Option<Duration>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Known { objects: BTreeMap::new(), listed: false, truncated: false, changed: false, taken: None }
    }
}

impl<T: PartialEq> Known<T> {
    /// A whole list: what is not in it is gone.
    pub fn replace(&mut self, now: Duration, fresh: BTreeMap<String, T>) {
        self.truncated = false;
        // That there is nothing is news, too.
        self.changed |= !self.listed;
        self.listed = true;
        for (key, entry) in &mut self.objects {
            if !fresh.contains_key(key) {
                entry.gone.get_or_insert(now);
            }
        }
        for (key, kept) in fresh {
            self.enter(key, kept);
        }
    }

    /// An object as it is now.
    pub fn enter(&mut self, key: String, kept: T) {
        if let Some(entry) = self.objects.get_mut(&key) {
            self.changed |= entry.kept != kept;
            *entry = Entry { kept, gone: None };
            return;
        }
        if self.objects.len() >= OBJECTS_MAX {
            // Those that are gone make room, longest first.
            let gone = self.objects.iter().filter_map(|(key, entry)| Some((entry.gone?, key.clone()))).min();
            let Some((_, gone)) = gone else {
                self.truncated = true;
                return;
            };
            self.objects.remove(&gone);
        }
        self.objects.insert(key, Entry { kept, gone: None });
        self.changed = true;
    }

    /// The API has an object no more.
    pub fn leave(&mut self, now: Duration, key: &str) {
        if let Some(entry) = self.objects.get_mut(key) {
            entry.gone.get_or_insert(now);
        }
    }

    /// Whether there is something new for whoever reads the objects; it counts as read then.
    pub fn take_change(&mut self, now: Duration) -> bool {
        let before = self.objects.len();
        self.objects.retain(|_, entry| entry.gone.is_none_or(|gone| now < gone + LINGER));
        self.changed |= self.objects.len() != before;
        let due = self.changed && self.taken.is_none_or(|taken| now >= taken + CHANGES_EVERY);
        if due {
            self.changed = false;
            self.taken = Some(now);
        }
        due
    }

    /// When [`take_change`](Self::take_change) should be asked again, if nothing comes before.
    pub fn change_due(&self) -> Option<Duration> {
        let lingering = self.objects.values().filter_map(|entry| Some(entry.gone? + LINGER)).min();
        let waiting = self.changed.then(|| self.taken.map_or(Duration::ZERO, |taken| taken + CHANGES_EVERY));
        lingering.into_iter().chain(waiting).min()
    }

    /// The objects, those included that are gone since a short while.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.objects.values().map(|entry| &entry.kept)
    }

    /// How many the API has.
    pub fn living(&self) -> usize {
        self.objects.values().filter(|entry| entry.gone.is_none()).count()
    }

    /// Whether there was a whole list once.
    pub fn is_listed(&self) -> bool {
        self.listed
    }

    /// Whether there are more objects than the bound.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}
