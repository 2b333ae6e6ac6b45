//! The flags of the program, in the language of Go's `flag` package.
//!
//! Promtail is a Go program, and the arguments of existing deployments must work unchanged: long names behind one dash
//! or two, `-name value` or `-name=value`, a switch that takes a value only behind `=`. That is not the language of
//! clap or of any other parser for POSIX conventions, where `-config.file` is eleven short options; so this is read by
//! hand, from one table that also gives the usage text.
//!
//! Two differences, both where Go would silently run something else than what was asked: an argument that is no flag is
//! an error (Go stops reading there, so that all flags behind it are lost), and so is a value behind a switch.

use super::promtail_flags::{self, Foreign, Verdict};
use crate::config::LaidOver;
use crate::diagnostic::did_you_mean;
use crate::labels::is_label_name;
use crate::server::{LogFormat, LogLevel};
use crate::units::parse_duration;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// What the user asked for. `None` leaves the configuration file, or the default, to decide.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flags {
    /// One path. (Promtail takes several with commas between them and uses the first that exists.)
    pub config_file: Option<PathBuf>,
    pub config_expand_env: Option<bool>,
    /// Zero: never.
    pub config_auto_reload_interval: Option<Duration>,
    pub check_syntax: Option<bool>,
    pub dry_run: Option<bool>,
    pub stdin: Option<bool>,
    pub inspect: Option<bool>,
    pub one_shot: Option<bool>,
    pub print_config_stderr: Option<bool>,
    pub version: Option<bool>,
    pub help: Option<bool>,
    pub log_level: Option<LogLevel>,
    pub log_format: Option<LogFormat>,
    pub server_http_listen_address: Option<String>,
    pub server_http_listen_port: Option<u16>,
    pub server_http_path_prefix: Option<String>,
    pub server_disable: Option<bool>,
    pub server_enable_runtime_reload: Option<bool>,
    pub positions_file: Option<PathBuf>,
    pub target_sync_period: Option<Duration>,
    /// What is said in place of keys of the file.
    pub laid_over: LaidOver,
    /// For people: what was written and has no effect.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    #[error("unknown flag -{flag}{}", near.map(|near| format!(": did you mean -{near}?")).unwrap_or_default())]
    Unknown { flag: String, near: Option<&'static str> },
    #[error("-{flag} needs a value: {expected}")]
    MissingValue { flag: String, expected: &'static str },
    #[error("-{flag}: expected {expected}, found `{value}`")]
    BadValue { flag: String, value: String, expected: &'static str },
    #[error("-{flag} is not supported: {instead}")]
    Refused { flag: String, instead: &'static str },
    #[error("unexpected argument `{argument}`{}", switch.as_ref().map(switch_help).unwrap_or_default())]
    Unexpected {
        argument: String,
        /// The switch right before it, for which it may have been meant as a value.
        switch: Option<String>,
    },
    #[error("`{argument}` is not UTF-8")]
    NotUtf8 { argument: String },
}

fn switch_help(switch: &String) -> String {
    format!(": the value of -{switch} comes after `=`, as in -{switch}=false")
}

impl Flags {
    /// Reads the arguments, the program's own name not among them. Errors: the first thing that makes no sense; what
    /// is merely without effect is in `warnings`.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Flags, FlagError> {
        let mut flags = Flags::default();
        let mut arguments = arguments.into_iter();
        let mut switch = None;
        while let Some(argument) = next_text(&mut arguments)? {
            let Some((name, value)) = split(&argument) else {
                // `--` ends the flags, and nothing but flags is understood.
                return match (argument.as_str(), next_text(&mut arguments)?) {
                    ("--", None) => Ok(flags),
                    ("--", Some(argument)) => Err(FlagError::Unexpected { argument, switch: None }),
                    _ => Err(FlagError::Unexpected { argument, switch }),
                };
            };
            switch = None;
            let known = Known::find(name)?;
            let value = match (value, known.takes()) {
                (Some(value), _) => value.to_string(),
                (None, Takes::Switch) => {
                    switch = Some(name.to_string());
                    "true".to_string()
                }
                (None, Takes::Value(expected)) => next_text(&mut arguments)?
                    .ok_or_else(|| FlagError::MissingValue { flag: name.to_string(), expected })?,
            };
            known.set(&mut flags, name, &value)?;
        }
        Ok(flags)
    }

    /// All flags with their defaults, as `-help` prints them.
    pub fn usage() -> String {
        let mut usage = "Usage: weir -config.file=<path> [flags]\n\n".to_string();
        for flag in FLAGS.iter().filter(|flag| !flag.help.is_empty()) {
            let value = match flag.takes {
                Takes::Switch => "",
                Takes::Value(expected) => expected,
            };
            let default = if flag.default.is_empty() { "" } else { &format!(" (default {})", flag.default) };
            let _ = writeln!(usage, "  -{} {value}\n        {}{default}", flag.name, flag.help);
        }
        usage
    }
}

fn next_text(arguments: &mut impl Iterator<Item = OsString>) -> Result<Option<String>, FlagError> {
    let text = arguments.next().map(OsString::into_string).transpose();
    text.map_err(|argument| FlagError::NotUtf8 { argument: argument.to_string_lossy().into_owned() })
}

/// The name and the value behind `=` of an argument that is a flag: one dash or two, then a name.
fn split(argument: &str) -> Option<(&str, Option<&str>)> {
    let body = argument.strip_prefix("--").or(argument.strip_prefix('-'))?;
    if body.is_empty() || body.starts_with(['-', '=']) {
        return None;
    }
    Some(match body.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    })
}

enum Known {
    Own(&'static Flag),
    Foreign(&'static Foreign),
}

impl Known {
    fn find(name: &str) -> Result<Known, FlagError> {
        if let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) {
            return Ok(Known::Own(flag));
        }
        if let Some(foreign) = promtail_flags::find(name) {
            return Ok(Known::Foreign(foreign));
        }
        let names = FLAGS.iter().map(|flag| flag.name).chain(promtail_flags::names());
        Err(FlagError::Unknown { flag: name.to_string(), near: did_you_mean(name, names) })
    }

    fn takes(&self) -> Takes {
        match self {
            Known::Own(flag) => flag.takes,
            Known::Foreign(foreign) if foreign.switch => Takes::Switch,
            Known::Foreign(_) => Takes::Value("a value"),
        }
    }

    fn set(&self, flags: &mut Flags, name: &str, value: &str) -> Result<(), FlagError> {
        match self {
            Known::Own(flag) => (flag.set)(flags, value).map_err(|expected| FlagError::BadValue {
                flag: name.to_string(),
                value: value.to_string(),
                expected,
            }),
            Known::Foreign(foreign) => match foreign.verdict {
                Verdict::Key(path) => {
                    flags.laid_over.set(path, value);
                    Ok(())
                }
                Verdict::Refuse(instead) => Err(FlagError::Refused { flag: name.to_string(), instead }),
                Verdict::Warn(why) => {
                    flags.warnings.push(format!("-{name} has no effect: {why}"));
                    Ok(())
                }
            },
        }
    }
}

#[derive(Clone, Copy)]
enum Takes {
    /// On by being there; a value only behind `=`.
    Switch,
    /// Needs a value, of which this is the kind.
    Value(&'static str),
}

/// Puts a value in its place, or says what was expected.
type Set = fn(&mut Flags, &str) -> Result<(), &'static str>;

struct Flag {
    name: &'static str,
    takes: Takes,
    default: &'static str,
    /// Empty for another name of a flag that the usage text has already.
    help: &'static str,
    set: Set,
}

const fn switch(name: &'static str, help: &'static str, set: Set) -> Flag {
    Flag { name, takes: Takes::Switch, default: "", help, set }
}

const fn value(name: &'static str, kind: &'static str, default: &'static str, help: &'static str, set: Set) -> Flag {
    Flag { name, takes: Takes::Value(kind), default, help, set }
}

/// So often a file may be read for nothing.
const AUTO_RELOAD_INTERVAL_MIN: Duration = Duration::from_millis(100);

const PREFIX: Set = |f, v| put(&mut f.server_http_path_prefix, Ok(v.to_string()));
const HELP: Set = |f, v| put(&mut f.help, boolean(v));

const FLAGS: &[Flag] = &[
    value("config.file", "<path>", "", "The configuration to run.", |f, v| put(&mut f.config_file, Ok(v.into()))),
    switch("config.expand-env", "Replace ${VAR} and ${VAR:-default} in the configuration.", |f, v| {
        put(&mut f.config_expand_env, boolean(v))
    }),
    value(
        "config.auto-reload-interval",
        "<duration>",
        "5s",
        "How often to look whether the configuration changed, and to reload it then; 0 is never.",
        |f, v| put(&mut f.config_auto_reload_interval, auto_reload_interval(v)),
    ),
    switch("check-syntax", "Check the configuration and end.", |f, v| put(&mut f.check_syntax, boolean(v))),
    switch(
        "print-config-stderr",
        "Print the configuration as it was read, secrets hidden, to standard error.",
        |f, v| put(&mut f.print_config_stderr, boolean(v)),
    ),
    switch(
        "dry-run",
        "Print the clients and the entries that would be sent, send nothing, remember nothing.",
        |f, v| put(&mut f.dry_run, boolean(v)),
    ),
    switch("stdin", "Read standard input through the first scrape config.", |f, v| put(&mut f.stdin, boolean(v))),
    switch("inspect", "With -stdin: show on standard error what each stage changes.", |f, v| {
        put(&mut f.inspect, boolean(v))
    }),
    switch("one-shot", "Read every file to its end, older generations too, print the metrics and end.", |f, v| {
        put(&mut f.one_shot, boolean(v))
    }),
    value("log.level", "<level>", "info", "The least severe message logged: debug, info, warn, error.", |f, v| {
        put(&mut f.log_level, v.parse())
    }),
    value("log.format", "<format>", "logfmt", "How messages are written: logfmt, json.", |f, v| {
        put(&mut f.log_format, v.parse())
    }),
    value("server.http-listen-address", "<address>", "", "Where to serve HTTP; empty is every address.", |f, v| {
        put(&mut f.server_http_listen_address, Ok(v.to_string()))
    }),
    value("server.http-listen-port", "<port>", "9080", "The port of the HTTP server.", |f, v| {
        put(&mut f.server_http_listen_port, v.parse().map_err(|_| "a whole number from 0 to 65535"))
    }),
    value("server.http-path-prefix", "<path>", "", "Comes before every path of the HTTP server.", PREFIX),
    // Promtail's name of the same.
    value("server.path-prefix", "<path>", "", "", PREFIX),
    switch("server.disable", "Serve no HTTP at all.", |f, v| put(&mut f.server_disable, boolean(v))),
    switch("server.enable-runtime-reload", "Reload the configuration on a request to /-/reload or /reload.", |f, v| {
        put(&mut f.server_enable_runtime_reload, boolean(v))
    }),
    value("server.grpc-listen-port", "<port>", "", "", |f, v| {
        if v != "0" {
            f.warnings.push("-server.grpc-listen-port has no effect: weir opens no gRPC server".into());
        }
        Ok(())
    }),
    value(
        "positions.file",
        "<path>",
        "",
        "Where Promtail kept its places in the files: a first start takes them from there.",
        |f, v| put(&mut f.positions_file, Ok(v.into())),
    ),
    value(
        "target.sync-period",
        "<duration>",
        "10s",
        "How often to look for new files; for those of pods at least every second.",
        |f, v| put(&mut f.target_sync_period, parse_duration(v).ok_or("a duration such as `10s`")),
    ),
    value(
        "client.external-labels",
        "<name=value,...>",
        "",
        "Labels that every client sends; `external_labels` of the file win.",
        external_labels,
    ),
    switch("version", "Print the version and end.", |f, v| put(&mut f.version, boolean(v))),
    switch("help", "Print this text and end.", HELP),
    switch("h", "", HELP),
];

fn put<T>(place: &mut Option<T>, value: Result<T, &'static str>) -> Result<(), &'static str> {
    *place = Some(value?);
    Ok(())
}

/// Names the flag as Prometheus does, which polls its configuration, too.
fn auto_reload_interval(text: &str) -> Result<Duration, &'static str> {
    let allowed = parse_duration(text).filter(|interval| interval.is_zero() || *interval >= AUTO_RELOAD_INTERVAL_MIN);
    allowed.ok_or("a duration such as `30s`, at least `100ms`; or `0`")
}

/// The words of Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("true or false"),
    }
}

fn external_labels(flags: &mut Flags, text: &str) -> Result<(), &'static str> {
    for pair in text.split(',') {
        match pair.split_once('=') {
            Some((name, value)) if is_label_name(name.trim()) => flags.laid_over.external_label(name.trim(), value),
            _ => return Err("name=value, with commas between them"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, FlagError> {
        Flags::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn one_dash_or_two_and_a_value_behind_a_space_or_an_equals_sign_are_the_same() {
        for line in ["-config.file=/a=b", "--config.file=/a=b", "-config.file /a=b", "--config.file /a=b"] {
            assert_eq!(parse(line).unwrap().config_file, Some("/a=b".into()), "{line}");
        }
        assert_eq!(parse("-config.file -dry-run").unwrap().config_file, Some("-dry-run".into()), "as in Go");
        assert_eq!(parse("-positions.file=").unwrap().positions_file, Some("".into()));
        assert_eq!(parse("").unwrap(), Flags::default());
    }

    #[test]
    fn a_switch_needs_no_value_and_takes_gos_words() {
        for (line, on) in [("-dry-run", true), ("--dry-run=t", true), ("-dry-run=0", false), ("-dry-run=False", false)]
        {
            assert_eq!(parse(line).unwrap().dry_run, Some(on), "{line}");
        }
        let flags = parse("-stdin -h --version -config.expand-env=true --").unwrap();
        assert_eq!((flags.stdin, flags.help, flags.version), (Some(true), Some(true), Some(true)));
        assert_eq!((flags.config_expand_env, flags.dry_run), (Some(true), None));
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let line = "-log.level=warn -log.format json -server.http-listen-port 0 -target.sync-period=1m30s \
                    -server.path-prefix=/p -client.external-labels=a=1,b=x=y -client.external-labels a=2";
        let flags = parse(line).unwrap();
        assert_eq!((flags.log_level, flags.log_format), (Some(LogLevel::Warn), Some(LogFormat::Json)));
        assert_eq!(flags.server_http_listen_port, Some(0));
        assert_eq!(flags.target_sync_period, Some(Duration::from_secs(90)));
        assert_eq!(flags.server_http_path_prefix.as_deref(), Some("/p"));
        let mut expected = LaidOver::default();
        [("a", "1"), ("b", "x=y"), ("a", "2")].iter().for_each(|(name, value)| expected.external_label(name, value));
        assert_eq!(flags.laid_over, expected);
        assert!(flags.warnings.is_empty());
    }

    #[test]
    fn each_mistake_says_what_to_write() {
        for (line, message) in [
            ("-config.flie=x", "unknown flag -config.flie: did you mean -config.file?"),
            ("-clinet.url=x", "unknown flag -clinet.url: did you mean -client.url?"),
            ("--kafka", "unknown flag -kafka"),
            ("-config.file", "-config.file needs a value: <path>"),
            ("-dry-run=maybe", "-dry-run: expected true or false, found `maybe`"),
            (
                "-dry-run false",
                "unexpected argument `false`: the value of -dry-run comes after `=`, as in -dry-run=false",
            ),
            ("-log.level=loud", "-log.level: expected `debug`, `info`, `warn` or `error`, found `loud`"),
            (
                "-server.http-listen-port=70000",
                "-server.http-listen-port: expected a whole number from 0 to 65535, found `70000`",
            ),
            ("-target.sync-period=10", "-target.sync-period: expected a duration such as `10s`, found `10`"),
            (
                "-client.external-labels=a",
                "-client.external-labels: expected name=value, with commas between them, found `a`",
            ),
            ("promtail.yaml", "unexpected argument `promtail.yaml`"),
            ("-version -- x", "unexpected argument `x`"),
            ("-- --", "unexpected argument `--`"),
            ("-", "unexpected argument `-`"),
            ("- x", "unexpected argument `-`"),
            ("---config.file=x", "unexpected argument `---config.file=x`"),
            ("-=x", "unexpected argument `-=x`"),
            (
                "-server.http-tls-cert-path=x",
                "-server.http-tls-cert-path is not supported: weir would answer without TLS where TLS is expected; put a \
                 TLS proxy in front of it",
            ),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), message, "{line}");
        }
        use std::os::unix::ffi::OsStringExt;
        let error = Flags::parse([OsString::from_vec(b"-config.file=\xff".to_vec())]).unwrap_err();
        assert_eq!(error.to_string(), "`-config.file=\u{fffd}` is not UTF-8");
    }

    #[test]
    fn flags_that_change_no_result_are_passed_over_with_a_warning_and_their_value() {
        let line = "-server.grpc-listen-port=0 -server.grpc-max-recv-msg-size-bytes 4096 -wal.enabled \
                    -positions.sync-period 10s -server.log-source-ips-enabled -dry-run";
        let flags = parse(line).unwrap();
        assert_eq!(flags.dry_run, Some(true));
        assert_eq!(
            flags.warnings,
            [
                "-server.grpc-max-recv-msg-size-bytes has no effect: weir opens no gRPC server",
                "-wal.enabled has no effect: what waits to be sent is in the spool (`delivery`)",
                "-positions.sync-period has no effect: places are kept with every cut",
                "-server.log-source-ips-enabled has no effect: weir does not log requests",
            ]
        );
        assert_eq!(parse("-server.grpc-listen-port=9095").unwrap().warnings.len(), 1);
    }

    #[test]
    fn the_usage_names_every_flag_once() {
        let usage = Flags::usage();
        for flag in FLAGS.iter().filter(|flag| !flag.help.is_empty()) {
            assert_eq!(usage.matches(&format!("  -{} ", flag.name)).count(), 1, "{}", flag.name);
        }
        assert!(usage.contains("(default 9080)"), "{usage}");
    }
}
