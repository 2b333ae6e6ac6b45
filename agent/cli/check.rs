//! `weir check FILE…`: everything that is wrong with configurations, at once.

use super::exit::Exit;
use super::load::load_file;
use std::path::Path;

const USAGE: &str = "\
usage: weir check [-config.expand-env] FILE...

Checks configurations and starts nothing. Each finding has its place and what to write instead.

  -config.expand-env   expand ${VAR} from the environment first

Exit codes: 0 clean, 1 warnings only, 2 errors.
";

pub fn run(args: &[String]) -> Exit {
    let mut expand_env = false;
    let mut files = Vec::new();
    for arg in args {
        match arg.trim_start_matches('-') {
            "config.expand-env" | "config.expand-env=true" if arg.starts_with('-') => expand_env = true,
            "h" | "help" if arg.starts_with('-') => {
                print!("{USAGE}");
                return Exit::Clean;
            }
            _ if arg.starts_with('-') => {
                eprint!("weir check: unknown flag `{arg}`\n\n{USAGE}");
                return Exit::Misused;
            }
            _ => files.push(arg),
        }
    }
    if files.is_empty() {
        eprint!("{USAGE}");
        return Exit::Misused;
    }
    let (mut errors, mut warnings) = (0, 0);
    for file in &files {
        match load_file(Path::new(file), expand_env) {
            Err(error) => {
                eprintln!("{file}: error: cannot be read: {error}");
                errors += 1;
            }
            Ok(loaded) => {
                print!("{}", loaded.report(file));
                errors += loaded.errors();
                warnings += loaded.findings.len() - loaded.errors();
            }
        }
    }
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    eprintln!("{}: {}, {}", count(files.len(), "file"), count(errors, "error"), count(warnings, "warning"));
    match (errors, warnings) {
        (0, 0) => Exit::Clean,
        (0, _) => Exit::Failed,
        _ => Exit::Misused,
    }
}
