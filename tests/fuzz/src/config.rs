//! Configurations.

use weir::cli::load::load_text;

/// Any text is a configuration or has findings, each of which can be shown; never a panic.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let variable = |name: &str| match name.len() % 3 {
        0 => None,
        1 => Some(String::new()),
        _ => Some(name.to_lowercase()),
    };
    for environment in [None, Some(&variable as &dyn Fn(&str) -> Option<String>)] {
        let loaded = load_text(&text, environment);
        assert!(loaded.config.is_some() || loaded.errors() > 0, "neither a configuration nor an error");
        assert_eq!(loaded.findings.is_empty(), loaded.report("f").is_empty());
    }
}
