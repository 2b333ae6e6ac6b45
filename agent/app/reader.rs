//! SCAFFOLD: replaced by the source module.
use super::engine::Turning;
use super::job::Job;
use super::worker::{Facts, Wake};
use crate::labels::Labels;
use crate::pipeline::BindingId;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Default)]
pub struct Reader {
    sources: BTreeMap<PathBuf, Vec<(usize, BindingId)>>,
    todo: Vec<PathBuf>,
    bytes: u64,
}

impl Reader {
    pub fn watch(&mut self, _wake: Wake) {}
    pub fn reconcile(&mut self, wanted: BTreeMap<PathBuf, Vec<(usize, Labels)>>, turning: &mut Turning<'_>) {
        for (path, feeds) in wanted {
            if self.sources.contains_key(&path) {
                continue;
            }
            let ids = feeds.iter().map(|(job, labels)| (*job, turning.bind(*job, labels))).collect();
            self.todo.push(path.clone());
            self.sources.insert(path, ids);
        }
    }
    pub fn poll(&mut self, _budget: usize, turning: &mut Turning<'_>) -> bool {
        for path in std::mem::take(&mut self.todo) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let mut files: Vec<PathBuf> = std::fs::read_dir(path.parent().unwrap())
                .unwrap()
                .flatten()
                .map(|e| e.path())
                .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with(&format!("{name}.")))
                .collect();
            files.sort();
            files.push(path.clone());
            for file in files {
                let mut bytes = Vec::new();
                let mut f = std::fs::File::open(&file).unwrap();
                if file.extension().is_some_and(|e| e == "gz") {
                    flate2::read::MultiGzDecoder::new(f).read_to_end(&mut bytes).unwrap();
                } else {
                    f.read_to_end(&mut bytes).unwrap();
                }
                self.bytes += bytes.len() as u64;
                let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
                if lines.last().is_some_and(|l| l.is_empty()) {
                    lines.pop();
                }
                for line in lines {
                    let (jobs, mut context, output) = turning.split();
                    for (job, id) in &self.sources[&path] {
                        jobs[*job].bytes += line.len() as u64 + 1;
                        jobs[*job].pipeline.process(*id, line, &mut context, output);
                    }
                }
            }
        }
        false
    }
    pub fn pause(&self) -> Duration {
        Duration::from_millis(250)
    }
    pub fn hint(&mut self) {}
    pub fn from_the_beginning(&mut self) {}
    pub fn lag_bytes(&self) -> u64 {
        0
    }
    pub fn bytes_read(&self) -> u64 {
        self.bytes
    }
    pub fn finish(&mut self, turning: &mut Turning<'_>) {
        self.unbind_all(turning);
    }
    pub fn unbind_all(&mut self, turning: &mut Turning<'_>) {
        for (_, feeds) in std::mem::take(&mut self.sources) {
            for (job, id) in feeds {
                turning.unbind(job, id);
            }
        }
    }
    pub fn facts(&self, _jobs: &[Job]) -> Facts {
        Facts::default()
    }
}
