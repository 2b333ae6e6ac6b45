use super::engine::Turning;
use super::reader::Reader;
use crate::keep::Entries;
use crate::pipeline::BindingId;
#[derive(Default)]
pub struct Rebound {
    pub damaged: u64,
}
impl Rebound {
    pub fn binding(&self, _job: usize, _old: u32) -> Option<BindingId> {
        None
    }
}
impl Reader {
    pub fn keep(&self, _entries: &mut Entries) {}
    pub fn restore(&mut self, _entries: &Entries, _rebooted: bool, _turning: &mut Turning<'_>) -> Rebound {
        Rebound::default()
    }
    pub fn take_breaks(&mut self) -> std::collections::BTreeMap<&'static str, u64> {
        Default::default()
    }
    pub fn take_positions(&mut self, _positions: crate::checkpoint::positions::Positions) {}
}
