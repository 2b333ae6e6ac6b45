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
        fields.refused(&["decompression"], "rotated `.gz` files are read as generations of their source", d);
        fields.refused(&["encoding"], "lines are read as UTF-8", d);
        fields.refused(&["entry_parser"], "it left Promtail in 2.0; write `pipeline_stages: [{cri: {}}]`", d);
        fields.finish(d);
        // A job without a name has been reported; what else is wrong with it is still to be found.
        let job_name = job_name.unwrap_or(Spanned { value: String::new(), span: node.span });
        Some(ScrapeConfig { job_name, sources, relabel_configs, pipeline_stages })
    }
}
