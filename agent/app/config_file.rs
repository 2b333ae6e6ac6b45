//! The file that the configuration comes from: read again when somebody asks for it, and when it says something else.
//!
//! It is looked at again and again, and only what it holds counts. So it makes no difference whether it is written in place,
//! or another one is renamed over it, or Kubernetes swaps a link above it. Something new counts when two looks in a row find
//! it: a file that is being written may be a valid configuration with half of the jobs.

use crate::config::{Config, read_file};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// From the text to a configuration; the error says why it cannot run.
pub type Compile = Box<dyn Fn(&str) -> Result<Config, String> + Send + Sync>;

/// Where a running configuration came from.
pub struct ConfigFile {
    path: PathBuf,
    compile: Compile,
    /// `None`: it is read again only when somebody asks.
    look_every: Option<Duration>,
    looks: Mutex<Looks>,
}

impl ConfigFile {
    /// `text` was read from there, and runs. `look_every`: not at all, if it is zero or the file is a pipe, which gives its
    /// text once.
    pub fn new(path: PathBuf, text: &str, compile: Compile, look_every: Duration) -> Self {
        let watched = !look_every.is_zero() && path.is_file();
        let look_every = watched.then_some(look_every);
        ConfigFile { path, compile, look_every, looks: Mutex::new(Looks::after(text)) }
    }

    /// How often somebody must [`look`](Self::look).
    pub fn look_every(&self) -> Option<Duration> {
        self.look_every
    }

    /// Reads it, whatever was read before.
    pub fn read(&self) -> Result<Config, String> {
        let text = read_file(&self.path);
        self.looks().tried = Some(Content::of(&text));
        self.compile(text)
    }

    /// Reads it if it has come to hold something else than what was read last. An error is told once: what it holds then
    /// is not read again.
    pub fn look(&self) -> Option<Result<Config, String>> {
        let text = match self.path.metadata() {
            Ok(file) if !file.is_file() => Err(io::Error::new(ErrorKind::InvalidInput, "no regular file any more")),
            Ok(_) => read_file(&self.path),
            Err(error) => Err(error),
        };
        let is_new = self.looks().find(Content::of(&text));
        is_new.then(|| self.compile(text))
    }

    /// What was read last came at a bad time: the next look finds it anew.
    pub fn find_again(&self) {
        self.looks().tried = None;
    }

    fn compile(&self, text: io::Result<String>) -> Result<Config, String> {
        match text {
            Ok(text) => (self.compile)(&text),
            Err(error) => Err(format!("weir: {}: {error}", self.path.display())),
        }
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a file holds, as far as it takes to tell whether that is something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Text(u64),
    Unreadable(ErrorKind),
}

impl Content {
    fn text(text: &str) -> Content {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Content::Text(hasher.finish())
    }

    fn of(text: &io::Result<String>) -> Content {
        match text {
            Ok(text) => Content::text(text),
            Err(error) => Content::Unreadable(error.kind()),
        }
    }
}

/// What was found at earlier looks.
struct Looks {
    last: Option<Content>,
    /// What was read last to be run, whatever came of it.
    tried: Option<Content>,
}

impl Looks {
    fn after(text: &str) -> Looks {
        let content = Some(Content::text(text));
        Looks { last: content, tried: content }
    }

    /// A look found this: whether it is to be tried now.
    fn find(&mut self, content: Content) -> bool {
        let stays = self.last.replace(content) == Some(content);
        stays && self.tried.replace(content) != Some(content)
    }
}

#[cfg(test)]
#[path = "config_file_tests.rs"]
mod tests;
