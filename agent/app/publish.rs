//! SCAFFOLD
use super::worker::Report;
use crate::geoip::Facts;
use crate::metrics::{Format, Snapshot, encode};
use crate::server::Chunks;
use std::path::PathBuf;
use std::time::Duration;
#[derive(Default)]
pub struct Published;
impl Published {
    pub fn reloaded(&mut self, _ok: bool) {}
    pub fn take(&mut self, _report: &Report, _facts: &[(PathBuf, Facts)]) {}
    pub fn encode(&self, snapshot: Snapshot, format: Format) -> Chunks {
        let mut out = Vec::new();
        let _ = encode(format, &snapshot, &[], &mut out);
        Box::new(std::iter::once(out.into()))
    }
    pub fn scraped(&mut self, _took: Duration) {}
}
