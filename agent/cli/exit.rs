//! Exit codes.

use std::process::ExitCode;

/// What the process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, and nothing to say against it.
    Clean,
    /// `weir check`: warnings only. `weir test`: a case failed. The agent: it could not start or go on, a bad
    /// configuration included (Promtail's code for that).
    Failed,
    /// `weir check`: errors. Any command: it was called wrongly, or a file that it was given can't be read.
    Misused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Clean => 0,
            Exit::Failed => 1,
            Exit::Misused => 2,
        })
    }
}
