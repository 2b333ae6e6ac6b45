//! From a file on disk to a configuration, with everything that is wrong with it.

use crate::app;
use crate::config::{self, Config, LaidOver, expand};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::span::Span;
use regex::Regex;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

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
    load_text_with(text, environment, &LaidOver::default())
}

/// The same, with what flags say in place of the file.
pub fn load_text_with(text: &str, environment: Option<Environment<'_>>, laid_over: &LaidOver) -> Loaded {
    let mut diagnostics = Diagnostics::new();
    let text = match environment {
        Some(environment) => expand::expand(text, environment, &mut diagnostics),
        None => {
            warn_of_variables(text, &mut diagnostics);
            text.to_string()
        }
    };
    let config = config::read_laid_over(&text, laid_over, &mut diagnostics);
    let config = config.filter(|config| app::check(config, &mut diagnostics));
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
    let text = config::read_file(path)?;
    let environment = |name: &str| std::env::var(name).ok();
    Ok(load_text(&text, expand_env.then_some(&environment)))
}

impl Loaded {
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|d| d.severity == crate::diagnostic::Severity::Error).count()
    }

    /// All findings as a person reads them. Reports end up in the agent's log and in answers to reloads: secrets in
    /// the lines that they show are hidden.
    pub fn report(&self, file: &str) -> String {
        let text = if self.findings.is_empty() { String::new() } else { without_secrets(&self.text) };
        let mut out = String::new();
        for finding in &self.findings {
            let _ = write!(out, "{}", finding.render(file, &text));
        }
        out
    }
}

/// What stands behind a key for a secret, and who stands in a URL. By the look of a line, as the text may be no YAML.
static SECRETS: LazyLock<Regex> = LazyLock::new(|| {
    const KEYS: &str = "password|credentials|bearer_token|client_secret|license_key|hash_key";
    let value = r#""(?:[^"\\]|\\.)*"|'[^']*'|[^\s,}]+"#;
    let forms = [
        &format!(r#"\b(?:{KEYS})["']?:\s*({value})"#),
        // The maps whose values may be secrets, on one line.
        r#"\b(?:headers|endpoint_params)["']?:\s*(\{[^}]*\})"#,
        r#"://([^\s/@]+(?::\S*)?)@"#,
        r#"\bproxy_url["']?:\s*["']?([^\s/@]+)@"#,
    ];
    Regex::new(&forms.join("|")).expect("a fixed expression")
});

/// The same text with a star for each character of a secret, so that places stay what they are.
fn without_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for found in SECRETS.captures_iter(text) {
        let Some(secret) = found.iter().skip(1).flatten().next() else { continue };
        out.push_str(&text[copied..secret.start()]);
        // A line break is none of the secret's characters that need hiding, and the count of lines must stay.
        out.extend(secret.as_str().chars().map(|c| if c == '\n' { '\n' } else { '*' }));
        copied = secret.end();
    }
    out.push_str(&text[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_every_place_stays() {
        for (text, hidden) in [
            ("url: https://me:hunter2@loki/push", "url: https://**********@loki/push"),
            ("a: {password: hunter2, username: me}", "a: {password: *******, username: me}"),
            ("  \"bearer_token\": \"a\\\"b, c\"\nx: 1", "  \"bearer_token\": *********\nx: 1"),
            ("password: 'a\nb'\nx: 1", "password: **\n**\nx: 1"),
            ("password_file: /etc/x", "password_file: /etc/x"),
            ("url: http://loki/a@b", "url: http://loki/a@b"),
            ("url: http://me:hunter/2@loki/push", "url: http://***********@loki/push"),
            ("proxy_url: me:hunter2@proxy:1", "proxy_url: **********@proxy:1"),
            ("headers: {X-Key: hunter2}\nx: 1", "headers: ****************\nx: 1"),
        ] {
            assert_eq!(without_secrets(text), hidden);
        }
    }
}
