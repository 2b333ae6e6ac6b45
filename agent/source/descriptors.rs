//! How many files may be open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are left to everything but log files: connections, the state, databases, directories.
const RESERVED: u64 = 64;
/// No node has more files that are written at the same time.
const OPEN_FILES_MAX: u64 = 8192;
/// However few there are, the files of one source have to be open together.
const OPEN_FILES_MIN: u64 = 16;

/// Raises the process' limit of open files to the highest that it may set itself, and gives how many of them sources
/// may use.
pub fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // What cannot be raised stays as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    open_files_of(limit)
}

fn open_files_of(limit: u64) -> usize {
    limit.saturating_sub(RESERVED).clamp(OPEN_FILES_MIN, OPEN_FILES_MAX) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_left_to_others() {
        for (limit, files) in [(0, 16), (64, 16), (256, 192), (1024, 960), (u64::MAX, 8192)] {
            assert_eq!(open_files_of(limit), files, "{limit}");
        }
        assert!(raise_open_files() >= 16);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
