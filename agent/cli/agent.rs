//! `weir -config.file=FILE`: the agent, and the other things that Promtail's flags ask for.

use super::exit::Exit;
use super::flags::Flags;
use super::load::load_text_with;
use super::{once, version};
use crate::app::{ConfigFile, Running, logging};
use crate::config::{Config, read_file};
use crate::discovery::hostname;
use crate::server::{LogFormat, LogLevel};
use crate::sink::clients_configured;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the configuration is looked at, unless a flag says otherwise. A ConfigMap takes a minute to reach its pods.
const AUTO_RELOAD_INTERVAL: Duration = Duration::from_secs(5);

pub fn run(args: &[OsString]) -> Exit {
    let flags = match Flags::parse(args.iter().cloned()) {
        Ok(flags) => flags,
        Err(error) => {
            eprintln!("weir: {error}\nrun `weir help` for all flags");
            return Exit::Misused;
        }
    };
    let on = |flag: Option<bool>| flag == Some(true);
    if on(flags.help) {
        print!("{}\n{}", super::COMMANDS, Flags::usage());
        return Exit::Clean;
    }
    if on(flags.version) {
        println!("{}", version());
        return Exit::Clean;
    }
    for warning in &flags.warnings {
        eprintln!("weir: {warning}");
    }
    let path = match flags.config_file.clone() {
        Some(path) => path,
        None if on(flags.stdin) => PathBuf::from("-stdin"),
        None => {
            eprintln!("weir: -config.file is missing\n\n{}\nrun `weir help` for all flags", super::COMMANDS);
            return Exit::Misused;
        }
    };
    let text = match flags.config_file {
        Some(_) => read_file(&path),
        None => Ok(stdin_alone()),
    };
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            eprintln!("weir: {}: {error}", path.display());
            return Exit::Failed;
        }
    };
    let config = match compile(&text, &path, &flags) {
        Ok(config) => config,
        Err(report) => {
            eprint!("{report}");
            return Exit::Failed;
        }
    };
    if on(flags.check_syntax) {
        println!("Valid config file! No syntax issues found");
        return Exit::Clean;
    }
    // A run that ends prints its own summary; of the log only what is wrong is of interest then.
    let ends = on(flags.stdin) || config.target_config.stdin || on(flags.one_shot);
    let quiet = ends && flags.log_level.is_none() && config.server.log_level == LogLevel::Info;
    let log_level = if quiet { LogLevel::Warn } else { config.server.log_level };
    logging::start(level(log_level), format(config.server.log_format));
    if on(flags.print_config_stderr) {
        eprint!("{}", config.text_without_secrets());
    }
    if on(flags.dry_run) {
        print!("{}", clients_configured(config.active_clients()));
    }
    if on(flags.stdin) || config.target_config.stdin {
        return once::stdin(&config, on(flags.dry_run), on(flags.inspect));
    }
    if on(flags.one_shot) {
        return once::one_shot(&config, on(flags.dry_run));
    }
    follow(config, &text, path, flags)
}

/// What `-stdin` alone runs, as in `cat my.log | weir -stdin -client.url=…`: Promtail's job for it.
fn stdin_alone() -> String {
    let host = hostname();
    format!("scrape_configs: [{{job_name: stdin, static_configs: [{{labels: {{job: stdin, hostname: {host:?}}}}}]}}]")
}

/// From the text of a configuration, with the flags laid over it. Warnings go to standard error.
fn compile(text: &str, path: &Path, flags: &Flags) -> Result<Config, String> {
    let variable = |name: &str| std::env::var(name).ok();
    let environment = (flags.config_expand_env == Some(true)).then_some(&variable as _);
    let loaded = load_text_with(text, environment, &flags.laid_over);
    let report = loaded.report(&path.display().to_string());
    let Some(mut config) = loaded.config else { return Err(report) };
    eprint!("{report}");
    let server = &mut config.server;
    let set = |flag: &Option<bool>, value: &mut bool| *value = flag.unwrap_or(*value);
    set(&flags.server_disable, &mut server.disable);
    set(&flags.server_enable_runtime_reload, &mut server.enable_runtime_reload);
    server.http_listen_port = flags.server_http_listen_port.unwrap_or(server.http_listen_port);
    server.log_level = flags.log_level.unwrap_or(server.log_level);
    server.log_format = flags.log_format.unwrap_or(server.log_format);
    if let Some(address) = &flags.server_http_listen_address {
        server.http_listen_address.clone_from(address);
    }
    if let Some(prefix) = &flags.server_http_path_prefix {
        server.http_path_prefix.clone_from(prefix);
    }
    if let Some(period) = flags.target_sync_period {
        config.target_config.sync_period = period;
    }
    if let Some(file) = &flags.positions_file {
        config.positions.filename = Some(file.display().to_string());
    }
    Ok(config)
}

/// Runs the agent until a signal ends it.
fn follow(config: Config, text: &str, path: PathBuf, flags: Flags) -> Exit {
    let dry_run = flags.dry_run == Some(true);
    let look_every = flags.config_auto_reload_interval.unwrap_or(AUTO_RELOAD_INTERVAL);
    let named = path.clone();
    let file = ConfigFile::new(path, text, Box::new(move |text| compile(text, &named, &flags)), look_every);
    match Running::start(config, Some(file), dry_run) {
        Ok(running) => match running.wait() {
            Ok(()) => Exit::Clean,
            Err(error) => failed(&error),
        },
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> Exit {
    eprintln!("weir: {error}");
    Exit::Failed
}

fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

fn format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Logfmt => "logfmt",
        LogFormat::Json => "json",
    }
}
