//! The command line: `weir -config.file=…` as Promtail, and `check`, `test`, `demo` beside it.

mod agent;
mod check;
#[cfg(feature = "demo")]
mod demo;
mod exit;
pub mod flags;
pub mod golden;
mod heap;
pub mod load;
mod once;
mod promtail_flags;

pub use exit::Exit;

use std::ffi::OsString;
use std::process::ExitCode;

const COMMANDS: &str = "\
commands:
  weir -config.file=FILE    run the agent (flags below)
  weir check FILE...        all that is wrong with configurations, with places
  weir test DIR...          golden tests of a configuration
  weir demo [--for 10s]     the whole job on real logs, here and now
";

/// The program.
pub fn main() -> ExitCode {
    heap::share();
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    run(&args).into()
}

/// Runs a command line, the program's name left out.
pub fn run(args: &[OsString]) -> Exit {
    // What a command is given are words and paths that were typed; an odd byte in one reads as U+FFFD.
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    match words.first().map(String::as_str) {
        Some("check") => check::run(&words[1..]),
        Some("test") => golden::run(&words[1..]),
        #[cfg(feature = "demo")]
        Some("demo") => demo::run(&words[1..]),
        #[cfg(not(feature = "demo"))]
        Some("demo") => {
            eprintln!("weir: this build has no demo (cargo feature `demo`)");
            Exit::Misused
        }
        Some("help") => {
            print!("{COMMANDS}\n{}", flags::Flags::usage());
            Exit::Clean
        }
        Some("version") => {
            println!("{}", version());
            Exit::Clean
        }
        Some(word) if !word.starts_with('-') => {
            eprint!("weir: unknown command `{word}`\n\n{COMMANDS}");
            Exit::Misused
        }
        _ => agent::run(args),
    }
}

/// One line: name and version.
pub fn version() -> String {
    format!("weir, version {}", env!("CARGO_PKG_VERSION"))
}
