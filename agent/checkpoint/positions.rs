//! Promtail's positions file: where it stopped reading, taken over on the first start.
//!
//! ```yaml
//! positions:
//!   /var/log/pods/…/0.log: "52837"
//!   cursor-journal: "…"
//! ```

use crate::clock::UnixNanos;
use crate::diagnostic::Diagnostics;
use crate::yaml::{self, Node, Value};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of a positions file; one of ten thousand files has two million.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Keys of what is no file: the journal, and targets that keep a text or a time instead of an offset.
const NO_FILES: [&str; 2] = ["cursor-", "journal-"];

/// What a positions file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// Files and the byte up to which they were read, in the order of the file.
    pub files: Vec<(PathBuf, u64)>,
    /// When it was written.
    pub modified: UnixNanos,
    /// Keys of what is no file.
    pub others: Vec<String>,
    /// What of it could not be taken over, for people; nothing: all of it was.
    pub notice: Option<String>,
}

/// Reads a positions file. Nothing: there is none. Whatever else is wrong with it is a notice.
pub fn read(path: &Path) -> Option<Positions> {
    let mut positions = Positions::default();
    match text_of(path, &mut positions.modified) {
        Ok(text) => positions.parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => positions.notice = Some(error.to_string()),
    }
    Some(positions)
}

fn text_of(path: &Path, modified: &mut UnixNanos) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    *modified = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

impl Positions {
    fn parse(&mut self, text: &[u8]) {
        let Ok(text) = std::str::from_utf8(text) else {
            self.notice = Some("it is no text".into());
            return;
        };
        // What a power loss leaves of a file that was just written.
        if text.contains('\0') {
            self.notice = Some("it holds NUL bytes".into());
            return;
        }
        let mut diagnostics = Diagnostics::new();
        let Some(root) = yaml::parse(text, &mut diagnostics) else {
            let first = diagnostics.sorted().into_iter().next();
            let place =
                |finding: crate::diagnostic::Diagnostic| format!("line {}: {}", finding.span.line, finding.message);
            self.notice = Some(first.map_or("it is not valid YAML".into(), place));
            return;
        };
        match root.get("positions").map(|positions| &positions.value) {
            Some(Value::Map(entries)) => self.take(entries),
            // Promtail writes `positions: {}` or nothing before it read a line.
            Some(Value::Null) => {}
            None if root.is_null() => {}
            _ => self.notice = Some("it has no map `positions`".into()),
        }
    }

    fn take(&mut self, entries: &[(Node, Node)]) {
        let mut refused = 0;
        for (key, value) in entries {
            let Some(key) = key.text() else { continue };
            if NO_FILES.iter().any(|prefix| key.starts_with(prefix)) {
                self.others.push(key.to_string());
                continue;
            }
            match value.text().and_then(|text| text.parse().ok()) {
                Some(offset) if !key.is_empty() => self.files.push((PathBuf::from(key), offset)),
                _ => refused += 1,
            }
        }
        if refused > 0 {
            self.notice = Some(format!("{refused} of its {} entries name no file with an offset", entries.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn of(text: impl AsRef<[u8]>) -> Positions {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("positions.yaml");
        fs::write(&path, text).expect("written");
        read(&path).expect("it is there")
    }

    #[test]
    fn files_are_told_from_other_cursors() {
        let text = "positions:\n  /var/log/a b.log: \"12\"\n  '/x: y': '0'\n  cursor-journal: 's=1;i=2'\n  \
                    journal-node: \"5\"\n  logs/relative.log: 7\n";
        let positions = of(text);
        let files = [("/var/log/a b.log", 12), ("/x: y", 0), ("logs/relative.log", 7)];
        assert_eq!(positions.files, files.map(|(path, offset)| (PathBuf::from(path), offset)));
        assert_eq!(positions.others, ["cursor-journal", "journal-node"]);
        assert_eq!(positions.notice, None);
        assert!(positions.modified > 1_700_000_000_000_000_000, "{}", positions.modified);
    }

    #[test]
    fn whatever_it_holds_is_at_most_a_notice() {
        for empty in ["", "positions: {}\n", "positions:\n", "---\n"] {
            assert_eq!((of(empty).files.len(), of(empty).notice), (0, None), "{empty:?}");
        }
        let cases: [(&[u8], &str); 7] = [
            (&[0; 4096], "it holds NUL bytes"),
            (b"\xff\xfe", "it is no text"),
            (b"positions: [1]\n", "it has no map `positions`"),
            (b"other: 1\n", "it has no map `positions`"),
            (b"positions:\n  /a: \"1\"\n  /a: \"2\"\n", "line 3: the key `/a` stands twice in one map"),
            (
                b"positions:\n  /a: \"-1\"\n  /b: x\n  /c: [1]\n  /d: 4\n",
                "3 of its 4 entries name no file with an offset",
            ),
            (b"positions:\n  /a: \"1", "line"),
        ];
        for (text, notice) in cases {
            let found = of(text);
            assert!(found.notice.as_deref().is_some_and(|found| found.starts_with(notice)), "{found:?}");
        }
        assert_eq!(of(b"positions:\n  /a: \"-1\"\n  /d: 4\n").files, [(PathBuf::from("/d"), 4)]);
        let huge = format!("# {}\n", "x".repeat(FILE_BYTES_MAX as usize));
        assert_eq!(of(huge).notice.as_deref(), Some("it has more than 16777216 bytes"));
        assert_eq!(read(Path::new("/no/such/file")), None);
        assert!(read(Path::new("/")).is_some_and(|positions| positions.notice.is_some()));
    }
}
