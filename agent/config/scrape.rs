//! `scrape_configs`: where a job's lines come from and what is done with them.

use crate::diagnostic::Diagnostics;
use crate::discovery::SourceConfig;
use crate::pipeline::stage::{AnyConfig, read_stages};
use crate::relabel::RelabelConfig;
use crate::yaml::{Fields, FromNode, Node, Spanned};

/// One job.
#[derive(Debug)]
pub struct ScrapeConfig {
    pub job_name: Spanned<String>,
    pub sources: Vec<SourceConfig>,
    pub relabel_configs: Vec<RelabelConfig>,
    pub pipeline_stages: Vec<AnyConfig>,
}

impl FromNode for ScrapeConfig {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "a scrape config", d)?;
        let job_name = fields.required("job_name", d);
        let sources = SourceConfig::read(&mut fields, d);
        let relabel_configs = fields.list("relabel_configs", d);
        let pipeline_stages = fields.node("pipeline_stages").map_or(Vec::new(), |node| read_stages(node, d));
        if fields
            .node("decompression")
            .and_then(|node| node.get("enabled"))
            .is_some_and(|on| bool::from_node(on, d) == Some(true))
        {
            fields.refused(&["decompression"], "rotated `.gz` files are read as generations of their source", d);
        }
        if !fields.node("encoding").is_none_or(is_utf8) {
            fields.refused(&["encoding"], "lines are read as UTF-8", d);
        }
        fields.refused(&["entry_parser"], "it left Promtail in 2.0; write `pipeline_stages: [{cri: {}}]`", d);
        fields.finish(d);
        // A job without a name has been reported; what else is wrong with it is still to be found.
        let job_name = job_name.unwrap_or(Spanned { value: String::new(), span: node.span });
        Some(ScrapeConfig { job_name, sources, relabel_configs, pipeline_stages })
    }
}

/// The encoding that lines are read in anyway, by the names that Promtail knows; nothing is that, too.
fn is_utf8(encoding: &Node) -> bool {
    let names = ["", "utf-8", "utf8"];
    encoding.is_null() || encoding.text().is_some_and(|text| names.contains(&text.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_it_is_here_or_turned_off_is_no_mistake() {
        for (line, supported) in [
            ("encoding: UTF-8", true),
            ("encoding: ''", true),
            ("encoding: utf-16", false),
            ("decompression: {}", true),
            ("decompression: {enabled: false, format: gz}", true),
            ("decompression: {enabled: true, format: gz}", false),
            ("journal:", true),
            ("docker_sd_configs: []", true),
            ("journal: {}", false),
            ("docker_sd_configs: [{host: x}]", false),
        ] {
            let text = format!("job_name: a\nstatic_configs: [{{labels: {{__path__: /a}}}}]\n{line}\n");
            let mut d = Diagnostics::new();
            let node = crate::yaml::parse(&text, &mut d).expect("a tree");
            let job = ScrapeConfig::from_node(&node, &mut d).expect("a job");
            let said: String = d.sorted().iter().map(|finding| finding.render("f", &text)).collect();
            assert_eq!((job.sources.len(), said.is_empty()), (1, supported), "{line}: {said}");
            assert_eq!(said.contains("f:3:1: error: `"), !supported, "{line}: {said}");
        }
    }
}
