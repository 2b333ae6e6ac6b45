//! Who scrapes, and how often: for how long a newborn series is held, and when a last page was seen by all.

use std::time::Duration;

/// Scrapers that are told apart; past it the one that came least recently is forgotten.
const PEERS_MAX: usize = 64;
/// A longer gap is an outage or another scraper's address, and nothing to wait for.
const GAP_MAX: Duration = Duration::from_secs(600);
const HOLD_MIN: Duration = Duration::from_secs(20);
const HOLD_MAX: Duration = Duration::from_secs(150);
/// Until somebody came twice: Prometheus' own default interval is a minute.
const HOLD_DEFAULT: Duration = Duration::from_secs(65);
/// A scraper that has not come for so long is not waited for.
const WAITED_FOR: Duration = Duration::from_secs(300);

/// What `birth_hold: auto` means: one and a half times the longest gap between two scrapes of one scraper, from 20 to 150
/// seconds; 65 seconds until one is known.
pub fn hold(longest_gap: Option<Duration>) -> Duration {
    longest_gap.map_or(HOLD_DEFAULT, |gap| (gap * 3 / 2).clamp(HOLD_MIN, HOLD_MAX))
}

/// The scrapers by their addresses, or whatever tells them apart. Times are of one clock that never goes back.
#[derive(Clone, Debug)]
pub struct Scrapers<P> {
    /// When each came last.
    peers: Vec<(P, Duration)>,
    /// Between two scrapes of one peer.
    longest_gap: Option<Duration>,
}

impl<P> Default for Scrapers<P> {
    fn default() -> Self {
        Scrapers { peers: Vec::new(), longest_gap: None }
    }
}

impl<P: PartialEq> Scrapers<P> {
    /// A scraper came.
    pub fn came(&mut self, peer: P, at: Duration) {
        if let Some((_, last)) = self.peers.iter_mut().find(|(known, _)| *known == peer) {
            let gap = at.saturating_sub(*last);
            if gap <= GAP_MAX {
                self.longest_gap = self.longest_gap.max(Some(gap));
            }
            *last = at.max(*last);
            return;
        }
        if self.peers.len() == PEERS_MAX
            && let Some(oldest) = (0..PEERS_MAX).min_by_key(|at| self.peers[*at].1)
        {
            self.peers.swap_remove(oldest);
        }
        self.peers.push((peer, at));
    }

    /// The longest time between two scrapes of one of them.
    pub fn longest_gap(&self) -> Option<Duration> {
        self.longest_gap
    }

    /// Whether each scraper that came within the five minutes before `time` has come again since.
    pub fn seen_since(&self, time: Duration) -> bool {
        let waited_for = time.saturating_sub(WAITED_FOR)..time;
        !self.peers.iter().any(|(_, last)| waited_for.contains(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    const SECOND: Duration = Duration::from_secs(1);

    fn peer(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(n).into()
    }

    #[test]
    fn the_hold_follows_the_longest_gap_of_one_peer() {
        let mut scrapers = Scrapers::default();
        assert_eq!(hold(scrapers.longest_gap()), 65 * SECOND);
        // The two come a second after one another, each once a minute.
        for (who, at, held) in [(1, 100, 65), (2, 101, 65), (1, 110, 20), (2, 131, 45), (1, 140, 45), (2, 141, 45)] {
            scrapers.came(peer(who), at * SECOND);
            assert_eq!(hold(scrapers.longest_gap()), held * SECOND, "at {at}");
        }
        scrapers.came(peer(1), 741 * SECOND);
        assert_eq!(hold(scrapers.longest_gap()), 45 * SECOND, "ten minutes and a second are no interval");
        scrapers.came(peer(1), 1341 * SECOND);
        assert_eq!(hold(scrapers.longest_gap()), 150 * SECOND);
        // A clock that goes back is none.
        scrapers.came(peer(1), SECOND);
        scrapers.came(peer(1), 1350 * SECOND);
        assert_eq!(hold(scrapers.longest_gap()), 150 * SECOND);
    }

    #[test]
    fn a_last_page_waits_for_those_that_came_of_late() {
        let mut scrapers = Scrapers::default();
        assert!(scrapers.seen_since(SECOND), "nobody to wait for");
        scrapers.came(peer(1), 100 * SECOND);
        scrapers.came(peer(2), 500 * SECOND);
        scrapers.came(peer(3), 600 * SECOND);
        let end = 700 * SECOND;
        for (who, all) in [(3, false), (3, false), (2, true)] {
            scrapers.came(peer(who), end + who * SECOND);
            assert_eq!(scrapers.seen_since(end), all, "{who}");
        }
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let mut scrapers = Scrapers::default();
        for n in 0..1000 {
            scrapers.came(peer(n), n * SECOND);
        }
        assert_eq!(scrapers.peers.len(), PEERS_MAX);
        assert!(scrapers.peers.iter().all(|(_, last)| *last >= 900 * SECOND));
    }
}
