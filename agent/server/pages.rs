//! The pages for people: hand-written HTML without scripts or anything from elsewhere.
//!
//! Names, paths and labels come from pods and are hostile. Text enters a page only through [`Escaped`].

use crate::labels::Labels;
use std::fmt::{self, Display, Write as _};

/// Dropped targets shown for each job, as in Promtail; the page says how many more there are.
pub const DROPPED_SHOWN_MAX: usize = 100;
/// Targets shown for each job, and files for each target. A node has far fewer; a wrong glob may not.
pub const ROWS_SHOWN_MAX: usize = 1000;

/// What `/targets` shows: where lines come from and how far they are read.
#[derive(Clone, Debug, Default)]
pub struct TargetsPage {
    pub jobs: Vec<JobTargets>,
}

#[derive(Clone, Debug, Default)]
pub struct JobTargets {
    pub job: String,
    pub targets: Vec<TargetRow>,
}

#[derive(Clone, Debug, Default)]
pub struct TargetRow {
    /// "ready", or what it waits for.
    pub state: String,
    pub ready: bool,
    /// After relabelling.
    pub labels: Labels,
    /// The path or pattern that is followed; empty for sources without files.
    pub path: String,
    pub files: Vec<FileRow>,
}

#[derive(Clone, Debug, Default)]
pub struct FileRow {
    pub path: String,
    /// "reading", "waiting", "gone", …
    pub state: String,
    /// Offset of the first byte that is not read yet.
    pub read_bytes: u64,
    /// Bytes of the file from there to its end.
    pub lag_bytes: u64,
}

/// What `/service-discovery` shows: every target found, with its labels before and after relabelling.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryPage {
    pub jobs: Vec<JobDiscovery>,
}

#[derive(Clone, Debug, Default)]
pub struct JobDiscovery {
    pub job: String,
    pub active: Vec<ActiveTarget>,
    /// The first [`DROPPED_SHOWN_MAX`] suffice.
    pub dropped: Vec<DroppedTarget>,
    /// All of them, those in `dropped` included.
    pub dropped_total: usize,
}

#[derive(Clone, Debug, Default)]
pub struct ActiveTarget {
    pub discovered: Labels,
    pub labels: Labels,
}

#[derive(Clone, Debug, Default)]
pub struct DroppedTarget {
    pub discovered: Labels,
    pub reason: String,
}

pub(super) fn targets(page: &TargetsPage) -> String {
    page_of("Targets", page, |page, out| {
        for job in &page.jobs {
            let ready = job.targets.iter().filter(|target| target.ready).count();
            let counts = format_args!("{ready} of {} ready", job.targets.len());
            open_job(out, &job.job, &counts)?;
            for target in job.targets.iter().take(ROWS_SHOWN_MAX) {
                target_row(out, target)?;
            }
            more(out, job.targets.len(), ROWS_SHOWN_MAX)?;
            out.write_str("</details>\n")?;
        }
        if page.jobs.is_empty() { out.write_str("<p>No jobs.</p>\n") } else { Ok(()) }
    })
}

pub(super) fn discovery(page: &DiscoveryPage) -> String {
    page_of("Service discovery", page, |page, out| {
        for job in &page.jobs {
            let dropped = job.dropped_total.max(job.dropped.len());
            let counts = format_args!("{} active, {dropped} dropped", job.active.len());
            open_job(out, &job.job, &counts)?;
            for target in job.active.iter().take(ROWS_SHOWN_MAX) {
                out.write_str("<section><p class=ok>active</p>")?;
                labels(out, "Discovered", &target.discovered)?;
                labels(out, "Labels", &target.labels)?;
                out.write_str("</section>\n")?;
            }
            more(out, job.active.len(), ROWS_SHOWN_MAX)?;
            for target in job.dropped.iter().take(DROPPED_SHOWN_MAX) {
                write!(out, "<section><p class=bad>dropped: {}</p>", Escaped(&target.reason))?;
                labels(out, "Discovered", &target.discovered)?;
                out.write_str("</section>\n")?;
            }
            more(out, dropped, job.dropped.len().min(DROPPED_SHOWN_MAX))?;
            out.write_str("</details>\n")?;
        }
        if page.jobs.is_empty() { out.write_str("<p>No jobs.</p>\n") } else { Ok(()) }
    })
}

pub(super) fn config(yaml: &str) -> String {
    page_of("Configuration", yaml, |yaml, out| writeln!(out, "<pre>{}</pre>", Escaped(yaml)))
}

/// Links are relative, so that they hold below any prefix and behind any proxy.
fn page_of<P: ?Sized>(title: &str, page: &P, content: impl FnOnce(&P, &mut String) -> fmt::Result) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n<title>{title} - weir</title>\n\
         <style>{STYLE}</style>\n<nav><b>weir</b> <a href=targets>Targets</a> \
         <a href=service-discovery>Service discovery</a> <a href=config>Configuration</a> \
         <a href=metrics>Metrics</a></nav>\n<h1>{title}</h1>\n"
    );
    content(page, &mut out).expect("a String takes every byte");
    out.push_str("</html>\n");
    out
}

const STYLE: &str = "
:root{color-scheme:light dark;--line:#8886;--soft:#8882;--ok:#1a7f37;--bad:#c62828}
@media(prefers-color-scheme:dark){:root{--ok:#57d978;--bad:#ff8a80}}
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:0 auto;padding:.75rem;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1rem}
h1{font-size:1.4rem;margin:.75rem 0}
summary{font-weight:600;padding:.5rem 0;cursor:pointer}
section{border:1px solid var(--line);border-radius:.5rem;padding:.5rem .75rem;margin:.5rem 0}
p{margin:.25rem 0}
code,pre{font:.85rem/1.5 ui-monospace,monospace}
pre{white-space:pre-wrap}
p code{display:inline-block;background:var(--soft);border-radius:.25rem;padding:0 .3rem;margin:0 .25rem .25rem 0}
.ok{color:var(--ok)}.bad{color:var(--bad)}
.files{overflow-x:auto}
table{border-collapse:collapse;font-size:.85rem;width:100%}
th,td{text-align:left;padding:.2rem .75rem .2rem 0;border-top:1px solid var(--line);vertical-align:top}
td+td{white-space:nowrap}
";

fn open_job(out: &mut String, job: &str, counts: &dyn Display) -> fmt::Result {
    writeln!(out, "<details open><summary>{} ({counts})</summary>", Escaped(job))
}

fn target_row(out: &mut String, target: &TargetRow) -> fmt::Result {
    let class = if target.ready { "ok" } else { "bad" };
    write!(out, "<section><p class={class}>{}</p>", Escaped(&target.state))?;
    if !target.path.is_empty() {
        write!(out, "<p><code>{}</code></p>", Escaped(&target.path))?;
    }
    labels(out, "Labels", &target.labels)?;
    if !target.files.is_empty() {
        out.write_str("<div class=files><table><tr><th>File<th>State<th>Read<th>Behind\n")?;
        for file in target.files.iter().take(ROWS_SHOWN_MAX) {
            let (path, state) = (Escaped(&file.path), Escaped(&file.state));
            let (read, lag) = (Size(file.read_bytes), Size(file.lag_bytes));
            writeln!(out, "<tr><td><code>{path}</code><td>{state}<td>{read}<td>{lag}")?;
        }
        out.write_str("</table></div>")?;
    }
    more(out, target.files.len(), ROWS_SHOWN_MAX)?;
    out.write_str("</section>\n")
}

fn labels(out: &mut String, title: &str, labels: &Labels) -> fmt::Result {
    write!(out, "<p>{title}: ")?;
    for (name, value) in labels.iter() {
        write!(out, "<code>{}=\"{}\"</code>", Escaped(name), Escaped(value))?;
    }
    out.write_str(if labels.is_empty() { "none</p>" } else { "</p>" })
}

fn more(out: &mut String, total: usize, shown: usize) -> fmt::Result {
    match total.checked_sub(shown) {
        None | Some(0) => Ok(()),
        Some(hidden) => writeln!(out, "<p>and {hidden} more, not shown</p>"),
    }
}

/// A size to the byte, and from 1 KiB on also as a person takes it in.
struct Size(u64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        let (mut size, mut unit) = (bytes as f64, None);
        for next in ["KiB", "MiB", "GiB", "TiB"] {
            if size >= 1024.0 {
                (size, unit) = (size / 1024.0, Some(next));
            }
        }
        match unit {
            Some(unit) => write!(f, "{bytes} ({size:.1} {unit})"),
            None => write!(f, "{bytes}"),
        }
    }
}

/// Text that stands for itself in HTML, between tags or in a quoted attribute. Control characters, and those that
/// turn the direction of writing (which would let a label pose as another), show as their code.
struct Escaped<'t>(&'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(c)?,
                '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => escape(f, c)?,
                c if c.is_control() => escape(f, c)?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

fn escape(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    write!(f, "\\u{{{:x}}}", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "</pre><script>alert('\"&\")</script>\u{202e}\u{0}";

    fn hostile_labels() -> Labels {
        [("app", HOSTILE)].into_iter().collect()
    }

    #[test]
    fn hostile_text_stays_text_on_every_page() {
        let text = || HOSTILE.to_string();
        let files = vec![FileRow { path: text(), state: text(), ..FileRow::default() }];
        let row = TargetRow { state: text(), ready: true, labels: hostile_labels(), path: text(), files };
        let targets = targets(&TargetsPage { jobs: vec![JobTargets { job: text(), targets: vec![row] }] });
        let active = vec![ActiveTarget { discovered: hostile_labels(), labels: hostile_labels() }];
        let dropped = vec![DroppedTarget { discovered: hostile_labels(), reason: text() }];
        let job = JobDiscovery { job: text(), active, dropped, dropped_total: 1 };
        let discovery = discovery(&DiscoveryPage { jobs: vec![job] });
        for (page, times) in [(targets, 6), (discovery, 5), (config(HOSTILE), 1)] {
            assert!(!page.contains("<script") && !page.contains('\u{202e}') && !page.contains('\0'), "{page}");
            let shown = "&lt;/pre&gt;&lt;script&gt;alert(&#39;&quot;&amp;&quot;)&lt;/script&gt;\\u{202e}\\u{0}";
            assert_eq!(page.matches(shown).count(), times, "{page}");
        }
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let dropped = vec![DroppedTarget { reason: "no path".into(), ..DroppedTarget::default() }; 150];
        let job = JobDiscovery { job: "pods".into(), dropped, dropped_total: 300, ..JobDiscovery::default() };
        let page = discovery(&DiscoveryPage { jobs: vec![job] });
        assert_eq!(page.matches("dropped: no path").count(), DROPPED_SHOWN_MAX);
        assert!(page.contains("0 active, 300 dropped") && page.contains("and 200 more, not shown"), "{page}");
    }

    #[test]
    fn sizes_are_exact_and_readable() {
        for (bytes, text) in [(0, "0"), (1023, "1023"), (1536, "1536 (1.5 KiB)"), (5 << 40, "5497558138880 (5.0 TiB)")]
        {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
