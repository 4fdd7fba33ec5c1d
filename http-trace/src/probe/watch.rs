//! Tracks the state of an attachment between checks, so that each period in which it may have missed packets
//! is reported completely and once. Checks no hook itself.

/// A condition that persists is reported again after this time (ns).
const REMIND_EVERY_NS: u64 = 60_000_000_000;

/// A period in which a hook may have missed packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Reason: `shadowed` or `detached`.
    pub why: &'static str,
    /// Where, and which programs caused it.
    pub detail: String,
    /// Start of the period (kernel time, ns).
    pub since_ns: u64,
}

/// State of one attachment.
#[derive(Debug)]
pub struct Watch {
    /// When it was last seen in order (kernel time, ns).
    good_ns: u64,
    /// When a program was last moved, or an attempt made, on its behalf.
    pub moved_ns: u64,
    reported_ns: u64,
    /// Reason and detail of a reported condition that persisted.
    open: Option<(&'static str, String)>,
    /// Programs that could not be overtaken.
    pub behind: Vec<String>,
}

impl Watch {
    /// An attachment that is in order now.
    pub const fn new(now_ns: u64) -> Self {
        Watch { good_ns: now_ns, moved_ns: 0, reported_ns: 0, open: None, behind: Vec::new() }
    }

    /// Records that it is in order; returns a report if it was not at the last check.
    pub fn is_good(&mut self, now_ns: u64) -> Option<Hidden> {
        let ended = self.open.take();
        let ended = ended.and_then(|(why, detail)| {
            self.report(now_ns, why, format!("{detail}; resolved"), false)
        });
        self.good_ns = now_ns;
        self.reported_ns = 0;
        self.behind.clear();
        ended
    }

    /// Records that it is not, or was not, in order; returns a report if due.
    pub fn report(
        &mut self,
        now_ns: u64,
        why: &'static str,
        detail: String,
        goes_on: bool,
    ) -> Option<Hidden> {
        let is_due = !goes_on
            || self.reported_ns == 0
            || now_ns.saturating_sub(self.reported_ns) >= REMIND_EVERY_NS;
        if !is_due {
            return None;
        }
        let since_ns = self.good_ns.max(self.reported_ns);
        self.reported_ns = now_ns;
        self.open = goes_on.then(|| (why, detail.clone()));
        if !goes_on {
            self.is_good(now_ns);
        }
        Some(Hidden { why, detail, since_ns })
    }

    /// Ends the run; reports a condition that persists since its last report.
    pub fn end(&mut self, now_ns: u64) -> Option<Hidden> {
        let (why, detail) = self.open.take().filter(|_| self.reported_ns < now_ns)?;
        self.report(now_ns, why, detail, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start and end of reported periods, in seconds.
    #[test]
    fn every_time_in_which_packets_may_be_missing_is_reported_once() {
        const S: u64 = 1_000_000_000;
        let mut watch = Watch::new(0);
        let mut told = Vec::new();
        let mut tell = |hidden: Option<Hidden>, s: u64| {
            told.extend(hidden.map(|hidden| (hidden.since_ns / S, s)));
        };
        tell(watch.is_good(2 * S), 2);
        // Shadowed, detected at 4, reported again a minute later, over at 70.
        for s in [4, 6, 8, 64] {
            tell(watch.report(s * S, "shadowed", "x".into(), true), s);
        }
        tell(watch.is_good(70 * S), 70);
        tell(watch.is_good(72 * S), 72);
        // Shadowed again, and overtaken at once.
        tell(watch.report(74 * S, "shadowed", "x".into(), false), 74);
        tell(watch.end(75 * S), 75);
        // Shadowed again, until the end.
        tell(watch.report(76 * S, "shadowed", "x".into(), true), 76);
        tell(watch.end(80 * S), 80);
        assert_eq!(told, [(2, 4), (4, 64), (64, 70), (72, 74), (74, 76), (76, 80)]);
    }
}
