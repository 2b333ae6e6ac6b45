//! The oracle: every part of every line that was ever written, and what must have become of it.
//!
//! The runtime writes long lines in parts. Of each part the oracle knows in which stream of which log it stands, and
//! whether the agent has read it: as the files tell it, which note how far they were read. What the agent must have
//! counted follows from that alone, by joining the parts that were read as a runtime's reader would.

use super::fs::{FileRef, PartId, SimFs};
use std::collections::{BTreeMap, HashMap};

/// A series of the one counter that the simulated agents keep: its container and the key of the line.
pub type SeriesId = u32;

pub struct Part {
    /// The log (one run of a container) and the stream in it.
    pub log: usize,
    pub stream: usize,
    /// The last part of its line.
    pub last: bool,
    /// The series of the line, if this part names it.
    pub series: Option<SeriesId>,
    pub written_ms: u64,
    /// In which look the agent's present state came to hold it.
    pub read: Option<u64>,
    /// Since which look that state knows a file in which it stands.
    pub known: Option<u64>,
    /// Lost power took it from a file.
    pub powerless: bool,
    /// Why it cannot be read any more, though it never was.
    pub lost: Option<Loss>,
}

/// Why nobody will ever read a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// It went with a file that the agent did not know.
    Unseen,
    /// It went with a file that the agent knew: a break.
    Known,
    /// Lost power took it before anybody knew of it.
    Power,
}

#[derive(Default)]
pub struct Oracle {
    pub parts: Vec<Part>,
    names: Vec<(String, String)>,
    ids: HashMap<(String, String), SeriesId>,
    /// Per series: lines that were begun.
    written: Vec<u64>,
    /// Per log: how its lines without a key are counted, and whether the log has ended.
    pub logs: Vec<Log>,
    /// The agent's looks so far.
    pub looks: u64,
    /// What was read and known when a state was lost, and after which look: lost power may bring the state back.
    lost_states: Vec<(u64, Vec<Knowledge>)>,
}

/// Of a part: when it was read, and when it was known.
type Knowledge = (Option<u64>, Option<u64>);

pub struct Log {
    pub container: String,
    /// No file of it is left.
    pub gone: bool,
}

impl Oracle {
    /// A new log of a container.
    pub fn log(&mut self, container: &str) -> usize {
        self.logs.push(Log { container: container.to_string(), gone: false });
        self.logs.len() - 1
    }

    pub fn series(&mut self, container: &str, key: &str) -> SeriesId {
        let name = (container.to_string(), key.to_string());
        if let Some(id) = self.ids.get(&name) {
            return *id;
        }
        let id = self.names.len() as SeriesId;
        self.names.push(name.clone());
        self.written.push(0);
        self.ids.insert(name, id);
        id
    }

    pub fn name(&self, id: SeriesId) -> String {
        let (container, key) = &self.names[id as usize];
        format!("{{container={container:?}, k={key:?}}}")
    }

    pub fn add(&mut self, log: usize, stream: usize, last: bool, series: Option<SeriesId>, now_ms: u64) -> PartId {
        self.parts.push(Part {
            log,
            stream,
            last,
            series,
            written_ms: now_ms,
            read: None,
            known: None,
            powerless: false,
            lost: None,
        });
        series.into_iter().for_each(|series| self.written[series as usize] += 1);
        self.parts.len() - 1
    }

    /// After a look of the agent: what it has read is its own.
    pub fn looked(&mut self, fs: &SimFs) {
        self.looks += 1;
        for file in fs.files() {
            let mut node = file.node();
            if node.opened > 0 || node.read_to > 0 {
                node.known.get_or_insert(self.looks);
            }
            if let Some(known) = node.known {
                // From the back: what is before the first one known was known before.
                let unknown = node.parts.iter().rev().take_while(|(_, part)| self.parts[*part].known.is_none());
                unknown.map(|(_, part)| *part).collect::<Vec<_>>().into_iter().for_each(|part| {
                    self.parts[part].known = Some(known);
                });
            }
            if node.packed && node.read_to < node.readable {
                continue;
            }
            let read = match node.packed {
                true => node.parts.len(),
                false => node.parts.partition_point(|(end, _)| *end <= node.read_to),
            };
            // From the back: what is before the first one known was known before.
            for (_, part) in node.parts[..read].iter().rev() {
                let part = &mut self.parts[*part];
                if part.read.is_some() && !node.packed {
                    break;
                }
                part.read.get_or_insert(self.looks);
            }
        }
    }

    /// The agent's state is that of an earlier look: what it read and learned after that is new to it.
    pub fn back_to(&mut self, look: u64, fs: &SimFs) {
        if look == 0 {
            self.lost_states.push((self.looks, self.parts.iter().map(|part| (part.read, part.known)).collect()));
        }
        while let Some((_, before)) = self.lost_states.pop_if(|(lost, _)| (1..=*lost).contains(&look)) {
            let none = std::iter::repeat((None, None));
            for (part, (read, known)) in self.parts.iter_mut().zip(before.into_iter().chain(none)) {
                (part.read, part.known) = (read, known);
            }
        }
        fs.back_to(look);
        for part in &mut self.parts {
            part.read = part.read.filter(|read| *read <= look);
            part.known = part.known.filter(|known| *known <= look);
        }
        for file in fs.files() {
            let mut node = file.node();
            node.known = node.known.filter(|known| *known <= look);
            let read = |(_, part): &&(u64, PartId)| self.parts[*part].read.is_some();
            node.read_to =
                if node.packed { 0 } else { node.parts.iter().take_while(read).last().map_or(0, |(end, _)| *end) };
        }
    }

    /// Which parts stand in a file that can be read.
    fn there(&self, fs: &SimFs) -> Vec<bool> {
        let mut there = vec![false; self.parts.len()];
        for file in fs.files() {
            let node = file.node();
            if node.links > 0 || node.opened > 0 {
                node.parts.iter().for_each(|(_, part)| there[*part] = true);
            }
        }
        there
    }

    /// Notes what is in no file any more and was never read. Gives the parts that were not noted before.
    pub fn find_lost(&mut self, fs: &SimFs) -> Vec<PartId> {
        let there = self.there(fs);
        let mut lost = Vec::new();
        for (id, part) in self.parts.iter_mut().enumerate() {
            if part.read.is_none() && part.lost.is_none() && !there[id] {
                part.lost = Some(match part.known {
                    _ if part.powerless => Loss::Power,
                    Some(_) => Loss::Known,
                    None => Loss::Unseen,
                });
                lost.push(id);
            }
        }
        lost
    }

    /// A part that was written before this time, stands in a file, and was not read.
    pub fn unread_before(&self, ms: u64, fs: &SimFs) -> Option<PartId> {
        let old = |part: &Part| part.read.is_none() && part.lost.is_none() && part.written_ms < ms;
        if !self.parts.iter().any(old) {
            return None;
        }
        let there = self.there(fs);
        (0..self.parts.len()).find(|id| there[*id] && old(&self.parts[*id]))
    }

    pub fn describe(&self, part: PartId) -> String {
        let Part { log, stream, last, series, written_ms, known, .. } = &self.parts[part];
        let series = series.map(|series| self.name(series));
        format!("log {log}, stream {stream}, last {last}, {series:?}, written at {written_ms} ms, known {known:?}")
    }

    /// The files in which a part stands, for people.
    pub fn files_of(&self, part: PartId, fs: &SimFs) -> String {
        let holds = |file: &FileRef| file.node().parts.iter().any(|(_, stands)| *stands == part);
        let describe = |file: FileRef| {
            let node = file.node();
            let at = node.parts.iter().find(|(_, stands)| *stands == part).map_or(0, |(end, _)| *end);
            format!(
                "{:?}: part ends at {at} of {}, packed {}, read to {}, open {}, known {:?}\n",
                fs.names_of(&file),
                node.bytes.len(),
                node.packed,
                node.read_to,
                node.opened,
                node.known
            )
        };
        fs.files().into_iter().filter(holds).map(describe).collect()
    }

    pub fn series_count(&self) -> SeriesId {
        self.names.len() as SeriesId
    }

    /// Lines of a series that were begun.
    pub fn written(&self, series: SeriesId) -> u64 {
        // Of what has no key nobody knows beforehand how much there will be.
        if self.names[series as usize].1.is_empty() { u64::MAX } else { self.written[series as usize] }
    }

    /// What the agent must have counted by now.
    pub fn expected(&mut self) -> BTreeMap<SeriesId, u64> {
        let containers: Vec<String> = self.logs.iter().map(|log| log.container.clone()).collect();
        let nameless: Vec<SeriesId> = containers.iter().map(|container| self.series(container, "")).collect();
        let mut expected = BTreeMap::new();
        let mut waiting: HashMap<(usize, usize), Option<SeriesId>> = HashMap::new();
        for part in self.parts.iter().filter(|part| part.read.is_some()) {
            let at = (part.log, part.stream);
            if !part.last {
                let first = waiting.entry(at).or_default();
                *first = first.or(part.series);
                continue;
            }
            let series = waiting.remove(&at).flatten().or(part.series).unwrap_or(nameless[part.log]);
            *expected.entry(series).or_default() += 1;
        }
        // What waits for its end when its log is gone leaves as a line.
        for ((log, _), first) in waiting {
            if self.logs[log].gone {
                *expected.entry(first.unwrap_or(nameless[log])).or_default() += 1;
            }
        }
        expected
    }

    /// Lines that were written to their end.
    pub fn lines(&self) -> u64 {
        self.parts.iter().filter(|part| part.last).count() as u64
    }
}
