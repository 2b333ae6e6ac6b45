//! Where real logs are: the excerpts in the repository, and the whole corpus where a machine has it.

use flate2::read::MultiGzDecoder;
use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A folder of tests/corpus: `demo`, `text`, `docker`, `geoip`.
pub fn excerpt(name: &str) -> PathBuf {
    repository().join("tests/corpus").join(name)
}

/// A file's bytes, unpacked when its name ends in `.gz`.
pub fn read(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_none_or(|extension| extension != "gz") {
        return bytes;
    }
    let mut plain = Vec::new();
    MultiGzDecoder::new(&bytes[..])
        .read_to_end(&mut plain)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    plain
}

/// The whole corpus: the folder that `WEIR_CORPUS` names, or `target/corpus/dev`, or what
/// `../shared/corpus/dev.tar.xz` unpacks to there. Where there is none, says that `what` is left out and gives nothing,
/// unless `WEIR_CORPUS_REQUIRED=1` is set: then that is a failure.
pub fn whole(what: &str) -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(find).as_deref();
    if found.is_none() {
        let required = env::var_os("WEIR_CORPUS_REQUIRED").is_some_and(|value| value == "1");
        assert!(!required, "WEIR_CORPUS_REQUIRED=1 and there is no corpus for: {what}");
        println!("left out: {what} (no corpus; WEIR_CORPUS names its folder)");
    }
    found
}

fn find() -> Option<PathBuf> {
    if let Some(named) = env::var_os("WEIR_CORPUS").filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        assert!(named.join("truth.json").is_file(), "WEIR_CORPUS: no truth.json in {}", named.display());
        return Some(named);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?.join("corpus");
    if !folder.join("dev/truth.json").is_file() {
        let archive = repository().parent()?.join("shared/corpus/dev.tar.xz");
        unpack(&archive, &folder)?;
    }
    Some(folder.join("dev"))
}

/// Unpacks beside the goal and moves it there whole, so that a test that is stopped leaves no half of a corpus.
fn unpack(archive: &Path, folder: &Path) -> Option<()> {
    if !archive.is_file() {
        return None;
    }
    let half = folder.with_file_name(format!("corpus.{}", std::process::id()));
    fs::create_dir_all(&half).ok()?;
    fs::create_dir_all(folder).ok()?;
    let status = Command::new("tar").arg("-xJf").arg(archive).arg("-C").arg(&half).status();
    let unpacked = status.is_ok_and(|status| status.success());
    // Another test program may have been first: then its folder stands, and this one is thrown away.
    let moved = unpacked && (fs::rename(half.join("dev"), folder.join("dev")).is_ok() || folder.join("dev").is_dir());
    let _ = fs::remove_dir_all(&half);
    assert!(moved, "cannot unpack {} (tar and xz are needed)", archive.display());
    Some(())
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
