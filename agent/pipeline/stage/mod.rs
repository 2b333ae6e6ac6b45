//! The stages: a closed set, one file each.
//!
//! A new stage is a file beside this one with a config (what the user wrote) and a stage (what runs), and a line in
//! the table below. `tests/golden/<name>` shows what it does.

mod transactions;

use super::Context;
use super::kept::{Keeper, Kept, Rebound};
use super::record::Record;
use super::scope::{ReasonId, Scope, Slot};
use crate::diagnostic::{Diagnostics, did_you_mean};
use crate::yaml::{Node, Value};
use std::time::Duration;

/// What became of a record in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// On to the next stage.
    Next,
    /// The user's configuration wants it to end here.
    Drop(ReasonId),
    /// The stage keeps it and will give it back, whole or joined with what follows.
    Hold,
}

/// A stage's configuration: what the user wrote.
pub trait StageConfig: Sized {
    type Stage: Run;

    /// Reads the configuration; reports every mistake.
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self>;

    /// Resolves names and compiles expressions; reports what cannot run.
    fn compile(&self, scope: &mut Scope<'_>) -> Option<Self::Stage>;
}

/// A stage at work.
pub trait Run {
    fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow;

    /// Told when the whole pipeline is compiled: which extracted values any of its stages reads. The others need not be
    /// given.
    fn narrow(&mut self, _is_read: &dyn Fn(Slot) -> bool) {}

    /// The next entry that the stage has held for long enough, if any: of which source, and how many lines.
    fn due(&self, _when: When) -> Option<Held> {
        None
    }

    /// Puts the entry that [`due`](Run::due) named into the record.
    fn release(&mut self, _when: When, _record: &mut Record<'_>) {}

    /// Until when no source is to be read, in monotonic time; `None`: the stage never makes them wait.
    fn paused_until(&self) -> Option<Duration> {
        None
    }

    /// A source was read to its end at this moment of monotonic time.
    fn caught_up(&mut self, _source: usize, _monotonic: Duration) {}

    /// A source is there no more; what was held of it has been released.
    fn ended(&mut self, _source: usize) {}

    /// Writes what the stage knows beyond the present line.
    fn keep(&self, _keeper: &mut Keeper<'_>) {}

    /// Takes back what [`keep`](Run::keep) wrote, maybe in another process; the stage is freshly compiled.
    fn restore(&mut self, _kept: Kept<'_>, _rebound: &mut Rebound<'_>) {}
}

/// The moment for which held entries are asked.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Monotonic time: entries that waited too long.
    At(Duration),
    /// The end of a source, by its binding: whatever it left.
    Ended(usize),
    /// The end of everything.
    End,
}

/// An entry that a stage gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The binding of the source that it came from.
    pub binding: usize,
    /// Lines of the file that it consists of.
    pub lines: u64,
    /// It leaves before its time, because too much waits.
    pub unfinished: bool,
}

macro_rules! stages {
    ($($name:literal => $module:ident :: $stage:ident / $config:ident,)*) => {
        $(pub mod $module;)*

        /// Every stage by its configuration.
        #[derive(Debug)]
        pub enum AnyConfig { $($stage($module::$config),)* }

        /// Every stage at work.
        // A pipeline has a handful of them, and a box would cost each line a step aside.
        // Its tag is a byte of its own, so that it is not worked out from a part of one of them.
        #[allow(clippy::large_enum_variant)]
        #[repr(u8)]
        pub enum Stage { $($stage($module::$stage),)* }

        /// The names of the stages.
        pub const NAMES: &[&str] = &[$($name),*];

        fn read(name: &str, node: &Node, diagnostics: &mut Diagnostics) -> Option<Option<AnyConfig>> {
            Some(match name {
                $($name => $module::$config::from_node(node, diagnostics).map(AnyConfig::$stage),)*
                _ => return None,
            })
        }

        impl AnyConfig {
            pub fn compile(&self, scope: &mut Scope<'_>) -> Option<Stage> {
                match self { $(AnyConfig::$stage(config) => config.compile(scope).map(Stage::$stage),)* }
            }

            pub fn name(&self) -> &'static str {
                match self { $(AnyConfig::$stage(_) => $name,)* }
            }
        }

        impl Run for Stage {
            // Into the loop of `run`: what its registers need is then saved once a line, not once a stage.
            #[inline(always)]
            fn process(&mut self, record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
                match self { $(Stage::$stage(stage) => stage.process(record, context),)* }
            }

            fn narrow(&mut self, is_read: &dyn Fn(Slot) -> bool) {
                match self { $(Stage::$stage(stage) => stage.narrow(is_read),)* }
            }

            fn due(&self, when: When) -> Option<Held> {
                match self { $(Stage::$stage(stage) => stage.due(when),)* }
            }

            fn release(&mut self, when: When, record: &mut Record<'_>) {
                match self { $(Stage::$stage(stage) => stage.release(when, record),)* }
            }

            fn paused_until(&self) -> Option<Duration> {
                match self { $(Stage::$stage(stage) => stage.paused_until(),)* }
            }

            fn caught_up(&mut self, source: usize, monotonic: Duration) {
                match self { $(Stage::$stage(stage) => stage.caught_up(source, monotonic),)* }
            }

            fn ended(&mut self, source: usize) {
                match self { $(Stage::$stage(stage) => stage.ended(source),)* }
            }

            fn keep(&self, keeper: &mut Keeper<'_>) {
                match self { $(Stage::$stage(stage) => stage.keep(keeper),)* }
            }

            fn restore(&mut self, kept: Kept<'_>, rebound: &mut Rebound<'_>) {
                match self { $(Stage::$stage(stage) => stage.restore(kept, rebound),)* }
            }
        }

        impl Stage {
            pub fn name(&self) -> &'static str {
                match self { $(Stage::$stage(_) => $name,)* }
            }
        }
    };
}

stages! {
    "container" => container::Container / ContainerConfig,
    "cri" => cri::Cri / CriConfig,
    "decolorize" => decolorize::Decolorize / DecolorizeConfig,
    "docker" => docker::Docker / DockerConfig,
    "drop" => drop::Drop / DropConfig,
    "geoip" => geoip::GeoIp / GeoIpConfig,
    "ingress_nginx" => ingress_nginx::IngressNginx / IngressNginxConfig,
    "json" => json::Json / JsonConfig,
    "labelallow" => labelallow::LabelAllow / LabelAllowConfig,
    "labeldrop" => labeldrop::LabelDrop / LabelDropConfig,
    "labels" => labels::Labels / LabelsConfig,
    "limit" => limit::Limit / LimitConfig,
    "logfmt" => logfmt::Logfmt / LogfmtConfig,
    "match" => r#match::Match / MatchConfig,
    "metrics" => metrics::Metrics / MetricsConfig,
    "modsecurity" => modsecurity::ModSecurity / ModSecurityConfig,
    "multiline" => multiline::Multiline / MultilineConfig,
    "output" => output::Output / OutputConfig,
    "pack" => pack::Pack / PackConfig,
    "redact" => redact::Redact / RedactConfig,
    "regex" => regex::Regex / RegexConfig,
    "replace" => replace::Replace / ReplaceConfig,
    "sampling" => sampling::Sampling / SamplingConfig,
    "static_labels" => static_labels::StaticLabels / StaticLabelsConfig,
    "structured_metadata" => structured_metadata::StructuredMetadata / StructuredMetadataConfig,
    "template" => template::Template / TemplateConfig,
    "tenant" => tenant::Tenant / TenantConfig,
    "timestamp" => timestamp::Timestamp / TimestampConfig,
}

/// Promtail's stages that weir does not have yet. Leaving one out would change what is counted or sent.
const NOT_YET: &[&str] = &["eventlogmessage"];

/// Reads a list of stages; every item is a map of one key.
///
/// One that cannot be read is reported and left out, so that what is wrong with the others is reported too.
pub fn read_stages(node: &Node, diagnostics: &mut Diagnostics) -> Vec<AnyConfig> {
    match &node.value {
        Value::Null => Vec::new(),
        Value::List(items) => items.iter().filter_map(|item| read_stage(item, diagnostics)).collect(),
        _ => {
            diagnostics.error(node.span, format!("a pipeline is a list of stages, not {}", node.kind()));
            Vec::new()
        }
    }
}

fn read_stage(node: &Node, diagnostics: &mut Diagnostics) -> Option<AnyConfig> {
    let one_key = match &node.value {
        Value::Map(entries) if entries.len() == 1 => &entries[0],
        _ => {
            diagnostics
                .error(node.span, "a stage is a map of one key, the name of the stage")
                .help("write `- json: {…}`, each stage with a dash of its own");
            return None;
        }
    };
    let name = match one_key.0.text().unwrap_or_default() {
        // Promtail's older name.
        "non_indexed_labels" => "structured_metadata",
        name => name,
    };
    if let Some(read) = read(name, &one_key.1, diagnostics) {
        return read;
    }
    let span = one_key.0.span;
    if NOT_YET.contains(&name) {
        diagnostics
            .error(span, format!("the stage `{name}` is not built in yet"))
            .help("leave the job out, or remove the stage if its result does not matter");
        return None;
    }
    let finding = diagnostics.error(span, format!("unknown stage `{name}`"));
    match did_you_mean(name, NAMES.iter().chain(NOT_YET).copied()) {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding.help(format!("known stages: {}", NAMES.join(", "))),
    };
    None
}

/// Compiles a list of stages; all of them are tried, so that each mistake is reported.
pub fn compile_stages(configs: &[AnyConfig], scope: &mut Scope<'_>) -> Option<Vec<Stage>> {
    let compiled: Vec<_> = configs.iter().map(|config| config.compile(scope)).collect();
    compiled.into_iter().collect()
}

/// Runs a record through stages.
#[inline(never)]
pub fn run(stages: &mut [Stage], record: &mut Record<'_>, context: &mut Context<'_>) -> Flow {
    for stage in stages {
        match stage.process(record, context) {
            Flow::Next => {}
            end => return end,
        }
    }
    Flow::Next
}

/// The first of these stages that has something due.
pub fn first_due(stages: &[Stage], when: When) -> Option<(usize, Held)> {
    stages.iter().enumerate().find_map(|(i, stage)| Some((i, stage.due(when)?)))
}

/// Takes the entry that [`first_due`] found at stage `at`, and runs it through the stages behind.
pub fn release_from(
    stages: &mut [Stage],
    at: usize,
    when: When,
    record: &mut Record<'_>,
    context: &mut Context<'_>,
) -> Flow {
    let flow = match &mut stages[at] {
        Stage::Match(inner) => inner.release_inner(when, record, context),
        stage => {
            stage.release(when, record);
            Flow::Next
        }
    };
    match flow {
        Flow::Next => run(&mut stages[at + 1..], record, context),
        end => end,
    }
}

/// Visits stages in their order, those inside of others right behind these.
pub fn each<'s>(stages: &'s [Stage], visit: &mut dyn FnMut(&'s Stage)) {
    for stage in stages {
        visit(stage);
        if let Stage::Match(outer) = stage {
            each(outer.inner(), visit);
        }
    }
}

/// As [`each`], to change them.
pub fn each_mut(stages: &mut [Stage], visit: &mut dyn FnMut(&mut Stage)) {
    for stage in stages {
        visit(stage);
        if let Stage::Match(outer) = stage {
            each_mut(outer.inner_mut(), visit);
        }
    }
}
