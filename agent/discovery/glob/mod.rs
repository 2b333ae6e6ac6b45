//! `__path__`: globs as Promtail reads them (doublestar v4).
//!
//! `*` and `?` match within a name, `[a-z]`, `[!a]` and `[^a]` one character of it, `{a,b}` either text, slashes
//! included, `\` takes a character literally; `**` as a whole name matches any number of directories, and at the end
//! all files below. Anywhere else `**` is `*`. Names that begin with a dot are names like others.
//!
//! A glob becomes lists of segments, one for each way through its braces, and all lists are followed together: one walk
//! visits each directory once and only those directories that can hold a match.

mod pattern;
mod walk;

use pattern::Segment;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
pub use walk::Expansion;

/// Ways through the braces of one glob.
const ALTERNATIVES_MAX: usize = 1024;

#[derive(Clone, Debug)]
pub struct Glob {
    /// As written, made absolute.
    text: String,
    alternatives: Vec<Vec<Segment>>,
}

/// How far into which alternative the names so far lead: alternative, segment. The segment behind the last one means
/// that all is matched.
type Place = (u16, u16);

impl Glob {
    /// Reads a glob; a relative one begins in the working directory. The error is a sentence without the glob.
    pub fn compile(text: &str) -> Result<Glob, String> {
        if text.is_empty() {
            return Err("it is empty".into());
        }
        let mut text = text.to_string();
        if !text.starts_with('/') {
            let here = std::env::current_dir().map_err(|e| format!("it is relative, and there is no here: {e}"))?;
            text = format!("{}/{}", Glob::escape(&here.to_string_lossy()), text.trim_start_matches("./"));
        }
        let alternatives = pattern::without_braces(&text, ALTERNATIVES_MAX)?;
        let alternatives = alternatives.iter().map(|text| pattern::segments(text)).collect::<Result<_, _>>()?;
        Ok(Glob { text, alternatives })
    }

    /// The glob that matches exactly this path.
    pub fn escape(path: &str) -> String {
        let mut out = String::with_capacity(path.len());
        for c in path.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out
    }

    /// The path that was escaped.
    pub fn unescape(glob: &str) -> String {
        let mut out = String::with_capacity(glob.len());
        let mut chars = glob.chars();
        while let Some(c) = chars.next() {
            out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
        }
        out
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The directory that all that can match lies below: the names in front of the first one that has a choice.
    pub fn base(&self) -> PathBuf {
        let choice = self.text.find(['*', '?', '[', '{', '\\']).unwrap_or(self.text.len());
        let end = self.text[..choice].rfind('/').unwrap_or_default();
        PathBuf::from(if end == 0 { "/" } else { &self.text[..end] })
    }

    /// Whether an absolute path matches. The glob's own text matches too: Promtail takes an existing file of that very
    /// name without globbing.
    pub fn matches(&self, path: &Path) -> bool {
        if path == Path::new(&self.text) {
            return true;
        }
        let mut places = self.start();
        for name in path.iter().skip(1) {
            places = self.step(&places, name.as_bytes());
        }
        path.is_absolute() && self.accepts(&places)
    }

    /// The files that match, sorted. See [`Expansion`] for what stands in the way.
    pub fn expand(&self, tree: &dyn super::Tree) -> Expansion {
        walk::expand(self, tree)
    }

    fn literal(&self) -> PathBuf {
        PathBuf::from(&self.text)
    }

    fn start(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for alternative in 0..self.alternatives.len() {
            self.arrive(&mut places, (alternative as u16, 0));
        }
        places
    }

    /// Where a name leads.
    fn step(&self, places: &[Place], name: &[u8]) -> Vec<Place> {
        let mut next = Vec::new();
        for &(alternative, at) in places {
            let segments = &self.alternatives[alternative as usize];
            match segments.get(at as usize) {
                None => {}
                Some(Segment::DoubleStar) => {
                    self.arrive(&mut next, (alternative, at));
                    if at as usize + 1 == segments.len() {
                        self.arrive(&mut next, (alternative, at + 1));
                    }
                }
                Some(segment) if segment.matches(name) => self.arrive(&mut next, (alternative, at + 1)),
                Some(_) => {}
            }
        }
        next
    }

    /// Adds a place and those that it holds already: `**` also matches no directory, but not nothing at the end.
    fn arrive(&self, places: &mut Vec<Place>, (alternative, mut at): Place) {
        let segments = &self.alternatives[alternative as usize];
        loop {
            if !places.contains(&(alternative, at)) {
                places.push((alternative, at));
            }
            let star = segments.get(at as usize) == Some(&Segment::DoubleStar);
            if !star || at as usize + 1 == segments.len() {
                return;
            }
            at += 1;
        }
    }

    fn accepts(&self, places: &[Place]) -> bool {
        places.iter().any(|(alternative, at)| *at as usize == self.alternatives[*alternative as usize].len())
    }

    /// The names that can match next, where they are known: no directory need be listed for them.
    fn literal_names(&self, places: &[Place]) -> Option<Vec<&[u8]>> {
        let mut names: Vec<&[u8]> = Vec::new();
        for (alternative, at) in places {
            match self.alternatives[*alternative as usize].get(*at as usize) {
                Some(Segment::Literal(name)) if !names.contains(&name.as_slice()) => names.push(name),
                Some(Segment::Literal(_)) | None => {}
                Some(_) => return None,
            }
        }
        Some(names)
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_what_all_matches_share() {
        for (glob, base) in [
            ("/var/log/pods/*u1/c/*.log", "/var/log/pods"),
            ("/var/log/a.log", "/var/log"),
            ("/var/{log,lib}/a", "/var"),
            ("/*.log", "/"),
            (r"/p\[1\]/a", "/"),
        ] {
            assert_eq!(Glob::compile(glob).expect("a glob").base(), Path::new(base), "{glob}");
        }
    }

    #[test]
    fn globs_match_as_doublestar_does() {
        for (glob, yes, no) in [
            ("/var/log/*.log", "/var/log/a.log", "/var/log/b/a.log"),
            ("/var/log/*.log", "/var/log/.log", "/var/log/a.log.1"),
            ("/var/log/**/*.log", "/var/log/a.log", "/var/a.log"),
            ("/var/log/**/*.log", "/var/log/a/b/c.log", "/var/log/a/b/c"),
            ("/var/log/**", "/var/log/a/b", "/var/log"),
            ("/var/log/**.log", "/var/log/a.log", "/var/log/b/a.log"),
            ("/a/**/b/**/c", "/a/b/c", "/a/c"),
            ("/a/**/b/**/c", "/a/x/b/y/b/c", "/a/b/y"),
            ("/**/x", "/x", "/y"),
            ("/a/?.log", "/a/é.log", "/a/ab.log"),
            ("/a/[a-c1].log", "/a/b.log", "/a/d.log"),
            ("/a/[!a-c].log", "/a/d.log", "/a/b.log"),
            ("/a/[^a-c].log", "/a/-.log", "/a/b.log"),
            (r"/a/[\]\-]", "/a/-", "/a/x"),
            (r"/a/\*.log", "/a/*.log", "/a/b.log"),
            ("/a/{b,c}.log", "/a/c.log", "/a/bc.log"),
            ("/a/{b/*,c/**/d}.log", "/a/c/x/d.log", "/a/b/x/d.log"),
            ("/a/{b,{c,d}e}", "/a/de", "/a/d"),
            ("/a/b{,.1}", "/a/b", "/a/b.2"),
            ("/a//./b/../*", "/a/x", "/a/b/x"),
            ("/a/*b*c*", "/a/xbxcx", "/a/xcxbx"),
            ("/a/x[1].log", "/a/x[1].log", "/a/x2.log"),
        ] {
            let compiled = Glob::compile(glob).unwrap_or_else(|e| panic!("{glob}: {e}"));
            assert!(compiled.matches(Path::new(yes)), "{glob} must match {yes}");
            assert!(!compiled.matches(Path::new(no)), "{glob} must not match {no}");
        }
    }

    #[test]
    fn a_malformed_glob_is_refused() {
        for (glob, reason) in [
            ("", "empty"),
            ("/a/[b", "`[`"),
            ("/a/[]b]", "`[`"),
            ("/a/[^]", "`[`"),
            ("/a/{b,c", "`{`"),
            ("/a/b\\", "backslash"),
            ("/{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", "more than 1024"),
        ] {
            let error = Glob::compile(glob).unwrap_err();
            assert!(error.contains(reason), "{glob}: {error}");
        }
    }

    #[test]
    fn an_escaped_path_matches_itself_alone() {
        let path = r"/a/{b,c}[1-2]*?\d";
        let glob = Glob::compile(&Glob::escape(path)).unwrap();
        assert!(glob.matches(Path::new(path)) && !glob.matches(Path::new(r"/a/b1*?\d")));
    }

    #[test]
    fn a_relative_glob_begins_in_the_working_directory() {
        let glob = Glob::compile("logs/*.log").unwrap();
        let here = std::env::current_dir().unwrap();
        assert!(glob.matches(&here.join("logs/a.log")) && !glob.matches(Path::new("/logs/a.log")));
    }

    #[test]
    fn hostile_names_cost_no_more_than_their_length() {
        let glob = Glob::compile("/*a*a*a*a*a*a*a*a*a*b").unwrap();
        assert!(!glob.matches(Path::new(&format!("/{}", "a".repeat(20_000)))));
    }
}
