//! Who scrapes, and how often: for how long a newborn series is held, and when a last page was seen by all.

use std::time::Duration;

/// Scrapers that are told apart; past it the one that came least recently is forgotten.
const PEERS_MAX: usize = 64;
/// A longer gap is an outage or another scraper's address, and nothing to wait for.
const GAP_MAX: Duration = Duration::from_secs(600);
const HOLD_MAX: Duration = Duration::from_secs(150);
/// However often somebody comes: a scrape may be lost now and then.
const HOLD_MIN: Duration = Duration::from_secs(20);
/// While there may be a scraper of which nothing is known: Prometheus' own default is to come once a minute.
const HOLD_UNKNOWN: Duration = Duration::from_secs(65);
/// Who scrapes at all has come twice within this time.
const KNOWN_AFTER: Duration = Duration::from_secs(600);
/// A scraper that has not come for so long is not waited for.
const WAITED_FOR: Duration = Duration::from_secs(300);

/// The scrapers by their addresses, or whatever tells them apart. Times are of one clock that never goes back.
#[derive(Clone, Debug)]
pub struct Scrapers<P> {
    peers: Vec<Peer<P>>,
    /// When the first of all came, since nobody did for long.
    first: Option<Duration>,
    /// Between two scrapes of one peer.
    longest_gap: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Peer<P> {
    name: P,
    last: Duration,
    /// It came more than once, so that its gap is known.
    came_again: bool,
}

impl<P> Default for Scrapers<P> {
    fn default() -> Self {
        Scrapers { peers: Vec::new(), first: None, longest_gap: None }
    }
}

impl<P: PartialEq> Scrapers<P> {
    /// A scraper came.
    pub fn came(&mut self, name: P, at: Duration) {
        // A time in which nobody came says nothing of who is there.
        let last = self.peers.iter().map(|peer| peer.last).max();
        if last.is_none_or(|last| at.saturating_sub(last) > HOLD_MAX) {
            self.first = Some(at);
        }
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.name == name) {
            let gap = at.saturating_sub(peer.last);
            if gap <= GAP_MAX {
                self.longest_gap = self.longest_gap.max(Some(gap));
                peer.came_again = true;
            }
            peer.last = at.max(peer.last);
            return;
        }
        if self.peers.len() == PEERS_MAX
            && let Some(oldest) = (0..PEERS_MAX).min_by_key(|at| self.peers[*at].last)
        {
            self.peers.swap_remove(oldest);
        }
        self.peers.push(Peer { name, last: at, came_again: false });
    }

    /// What `birth_hold: auto` means: one and a half times the longest gap between two scrapes of one scraper, from 20 to
    /// 150 seconds; not less than 65 seconds in the first ten minutes, also after nobody came for 150 seconds, and while one is there that has come only once.
    /// `gap`: the longest one that is known otherwise.
    pub fn hold(&self, gap: Option<Duration>, now: Duration) -> Duration {
        let lately = |peer: &Peer<P>| now.saturating_sub(peer.last) < KNOWN_AFTER;
        let all_known = self.first.is_some_and(|first| now.saturating_sub(first) >= KNOWN_AFTER)
            && self.peers.iter().all(|peer| peer.came_again || !lately(peer));
        let least = if all_known { HOLD_MIN } else { HOLD_UNKNOWN };
        (self.longest_gap.max(gap).unwrap_or_default() * 3 / 2).clamp(least, HOLD_MAX)
    }

    /// The longest time between two scrapes of one of them.
    pub fn longest_gap(&self) -> Option<Duration> {
        self.longest_gap
    }

    /// Whether each scraper that came within the five minutes before `time` has come again since.
    pub fn seen_since(&self, time: Duration) -> bool {
        let waited_for = time.saturating_sub(WAITED_FOR)..time;
        !self.peers.iter().any(|peer| waited_for.contains(&peer.last))
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
    fn the_hold_follows_the_longest_gap_once_all_are_known() {
        let mut scrapers = Scrapers::default();
        assert_eq!(scrapers.hold(None, SECOND), 65 * SECOND);
        // Two come a second after one another, each four times a minute.
        for at in (0..600).step_by(15) {
            assert_eq!(scrapers.hold(None, at * SECOND), 65 * SECOND, "at {at}");
            scrapers.came(peer(1), at * SECOND);
            scrapers.came(peer(2), at * SECOND + SECOND);
        }
        let hold = |scrapers: &Scrapers<IpAddr>, at: u32| scrapers.hold(None, at * SECOND);
        assert_eq!(hold(&scrapers, 602), 45 * SECOND / 2);
        assert_eq!(scrapers.hold(Some(40 * SECOND), 602 * SECOND), 60 * SECOND, "known by its connection");
        // A third one comes, and again a minute later.
        scrapers.came(peer(3), 610 * SECOND);
        assert_eq!(hold(&scrapers, 611), 65 * SECOND);
        scrapers.came(peer(3), 670 * SECOND);
        assert_eq!(hold(&scrapers, 671), 90 * SECOND);
        scrapers.came(peer(1), 1211 * SECOND);
        assert_eq!(hold(&scrapers, 1211), 90 * SECOND, "more than ten minutes are no interval");
        scrapers.came(peer(1), 1411 * SECOND);
        assert_eq!(hold(&scrapers, 1411), 150 * SECOND);
        // A clock that goes back is none.
        scrapers.came(peer(1), SECOND);
        scrapers.came(peer(1), 1420 * SECOND);
        assert_eq!(hold(&scrapers, 1420), 150 * SECOND);
    }

    #[test]
    fn who_came_once_and_never_again_does_not_count_for_long() {
        let mut scrapers = Scrapers::default();
        for at in (0..2000).step_by(10) {
            scrapers.came(peer(1), at * SECOND);
            if at == 1000 {
                scrapers.came(peer(2), at * SECOND);
            }
            let known = (600..1000).contains(&at) || at >= 1600;
            assert_eq!(scrapers.hold(None, at * SECOND), if known { 20 } else { 65 } * SECOND, "at {at}");
        }
    }

    /// Two come once and are away for ten minutes; then the one that comes more often is back first.
    #[test]
    fn after_a_time_in_which_nobody_came_nobody_is_known() {
        let mut scrapers = Scrapers::default();
        for (who, at) in [(1, 0), (2, 1), (2, 610), (2, 640)] {
            scrapers.came(peer(who), at * SECOND);
        }
        assert_eq!(scrapers.hold(None, 641 * SECOND), 65 * SECOND);
        for at in (670..=1210).step_by(30) {
            scrapers.came(peer(2), at * SECOND);
        }
        assert_eq!(scrapers.hold(None, 1210 * SECOND), 45 * SECOND);
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
        assert!(scrapers.peers.iter().all(|peer| peer.last >= 900 * SECOND));
    }
}
