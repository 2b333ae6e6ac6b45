//! From a file on disk to a configuration, with everything that is wrong with it.

use crate::app;
use crate::config::{self, Config, expand};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::span::Span;
use std::fmt::Write as _;
use std::path::Path;

/// Answers for the variables of `${…}`.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// A configuration file after reading it.
pub struct Loaded {
    /// Absent when there are errors.
    pub config: Option<Config>,
    /// In the order of their places.
    pub findings: Vec<Diagnostic>,
    /// The text, the environment expanded: what the places refer to.
    pub text: String,
}

/// Reads and compiles a configuration. `environment` answers for variables; `None` leaves `${…}` as it stands.
pub fn load_text(text: &str, environment: Option<Environment<'_>>) -> Loaded {
    let mut diagnostics = Diagnostics::new();
    let text = match environment {
        Some(environment) => expand::expand(text, environment, &mut diagnostics),
        None => {
            warn_of_variables(text, &mut diagnostics);
            text.to_string()
        }
    };
    let config = config::read(&text, &mut diagnostics).filter(|config| app::check(config, &mut diagnostics));
    Loaded { config, findings: diagnostics.sorted(), text }
}

/// Says that variables stay as they stand. `${1}` and `${name}` of a relabelling are no variables.
fn warn_of_variables(text: &str, diagnostics: &mut Diagnostics) {
    for (line, number) in text.lines().zip(1..) {
        let code = line.split(" #").next().unwrap_or_default();
        let Some(at) = code.find("${") else { continue };
        let name = code[at + 2..].chars().take_while(|c| c.is_ascii_uppercase() || *c == '_');
        let length = name.count();
        if length > 1 && !code.trim_start().starts_with('#') {
            let column = code[..at].chars().count() as u32 + 1;
            diagnostics
                .warning(Span::new(number, column, length as u32 + 2), "`${…}` stays as it stands")
                .help("run with -config.expand-env to expand variables");
            return;
        }
    }
}

/// As [`load_text`], from a file.
pub fn load_file(path: &Path, expand_env: bool) -> std::io::Result<Loaded> {
    let text = std::fs::read_to_string(path)?;
    let environment = |name: &str| std::env::var(name).ok();
    Ok(load_text(&text, expand_env.then_some(&environment)))
}

impl Loaded {
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|d| d.severity == crate::diagnostic::Severity::Error).count()
    }

    /// All findings as a person reads them.
    pub fn report(&self, file: &str) -> String {
        let mut out = String::new();
        for finding in &self.findings {
            let _ = write!(out, "{}", finding.render(file, &self.text));
        }
        out
    }
}
