//! Which run of the agent wrote a state, and what that means for the next one.

use crate::keep::{Reader, Slot, Table, Writer};
use crate::metrics::Restore;

/// The one slot of a run.
pub const SLOT: Slot = Slot { table: Table::RUN, index: 0 };

/// A run of the agent, as far as the next one must know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// What the target is called by its own labels.
    pub identity: String,
    /// The kernel's name for the time since it booted; empty where it has none.
    pub boot_id: String,
    /// Whether each cut reaches the disk before a scraper sees it.
    pub synced: bool,
}

/// How the values of an earlier run go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumption {
    pub how: Restore,
    pub rebooted: bool,
    /// The break that this is, if it is one.
    pub broken: Option<&'static str>,
}

impl Run {
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.bytes(self.identity.as_bytes());
        writer.bytes(self.boot_id.as_bytes());
        writer.byte(u8::from(self.synced));
    }

    /// `None`: damaged. Which notation it is, the checkpoint's version tells.
    pub fn read(bytes: &[u8]) -> Option<Run> {
        let mut reader = Reader::new(bytes);
        let (identity, boot_id) = (reader.text()?.to_string(), reader.text()?.to_string());
        Some(Run { identity, boot_id, synced: reader.byte()? == 1 })
    }

    /// How this run goes on with what `before` left. `clean`: it ended in order. `older`: the disk is known to hold less
    /// than was written.
    ///
    /// With the same labels the counters simply go on. With others they begin at 0 for their scrapers, which know no
    /// series of that name. Where a scraper may have seen more than the disk holds (lost power with cuts that were not
    /// synced, a damaged state) a counter would go back by a little, and Prometheus would count it again whole: so they
    /// begin at 0 as well, and the error is no more than what was lost.
    pub fn resume(&self, before: &Run, clean: bool, older: bool) -> Resumption {
        let rebooted = self.boot_id != before.boot_id || self.boot_id.is_empty();
        let lost = rebooted && !clean && !before.synced;
        let moved = self.identity != before.identity;
        let rebase = lost || moved || older;
        let how = if rebase { Restore::Rebase } else { Restore::Continue };
        Resumption { how, rebooted, broken: lost.then_some("unclean_boot") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(identity: &str, boot_id: &str, synced: bool) -> Run {
        Run { identity: identity.into(), boot_id: boot_id.into(), synced }
    }

    #[test]
    fn a_run_is_read_as_it_was_written() {
        let written = run("node-1", "b00t", true);
        let mut bytes = Vec::new();
        written.write(&mut Writer::new(&mut bytes));
        assert_eq!(Run::read(&bytes), Some(written));
        for end in 0..bytes.len() {
            assert_eq!(Run::read(&bytes[..end]), None);
        }
    }

    #[test]
    fn values_go_on_unless_a_scraper_could_be_misled() {
        let same = run("a", "1", true);
        assert_eq!(same.resume(&same, true, true).how, Restore::Rebase);
        for (before, now, clean, how, broken) in [
            (run("a", "1", true), run("a", "1", true), false, Restore::Continue, None),
            (run("a", "1", false), run("a", "1", false), false, Restore::Continue, None),
            (run("a", "1", true), run("a", "2", true), false, Restore::Continue, None),
            (run("a", "1", false), run("a", "2", false), true, Restore::Continue, None),
            (run("a", "1", false), run("a", "2", true), false, Restore::Rebase, Some("unclean_boot")),
            (run("a", "1", true), run("b", "1", true), true, Restore::Rebase, None),
            // Where the kernel does not say, lost power must be expected.
            (run("a", "", false), run("a", "", false), false, Restore::Rebase, Some("unclean_boot")),
        ] {
            let resumed = now.resume(&before, clean, false);
            assert_eq!((resumed.how, resumed.broken), (how, broken), "{before:?} {now:?}");
        }
    }
}
