//! What a detector counts, into bytes and back. What does not fit the rules of now is left out:
//! correlations are known by their fingerprints, rules' hits by their ids.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::super::hits::Hits;
use super::super::state::{self, BadState};
use super::{Core, Counter, Detector, Hashes, Key, SUSPECTS, count, over_at};

/// What is in the file. Whoever changes it, or anything in it, raises [`state::VERSION`].
#[derive(Serialize, Deserialize)]
struct Saved<H, C> {
    hits: H,
    key: [u64; 2],
    probe: u64,
    now_ns: u64,
    lossy_until_ns: u64,
    suspects: Vec<(IpAddr, u64)>,
    fingerprints: Vec<u64>,
    /// Place of the fingerprint, hash of the group's values.
    counters: Vec<(u16, u64, C)>,
}

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Keys that go on.
    pub keys: usize,
    /// Of them, those with an open alert.
    pub open: usize,
    /// Keys whose correlation is gone or changed, or that there is no room for.
    pub dropped: usize,
}

/// Only the hits of a state.
///
/// # Errors
/// What is no state, or damaged.
pub fn hits(bytes: &[u8]) -> Result<Hits, BadState> {
    let payload = state::open(bytes)?;
    let taken: Result<(Hits, _), _> = postcard::take_from_bytes(payload);
    taken.map(|(hits, _)| hits).map_err(damaged)
}

fn damaged(error: postcard::Error) -> BadState {
    BadState::Damaged(error.to_string())
}

impl Detector {
    /// Everything that is to survive a restart.
    pub fn save(&self) -> Vec<u8> {
        let core = &self.core;
        let counters = core.table.iter();
        let saved = Saved {
            hits: &core.hits,
            key: core.hashes.key(),
            probe: core.hashes.probe(),
            now_ns: self.clock.now_ns(),
            lossy_until_ns: core.lossy_until_ns,
            suspects: core.suspects.clone(),
            fingerprints: core.fingerprints.clone(),
            counters: counters.map(|(k, c)| (k.correlation, k.hash, c)).collect(),
        };
        // Into memory, of types that all have a form: it does not fail.
        state::seal(&postcard::to_allocvec(&saved).unwrap_or_default())
    }

    /// Goes on from what was saved. To be called before the first event.
    ///
    /// # Errors
    /// What is no state of this version, or damaged; nothing of it is used then.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<Restored, BadState> {
        self.core.restore(state::open(bytes)?)
    }
}

impl Core {
    fn restore(&mut self, payload: &[u8]) -> Result<Restored, BadState> {
        let saved: Saved<Hits, Counter> = postcard::from_bytes(payload).map_err(damaged)?;
        let hashes = Hashes::with_key(saved.key);
        if hashes.probe() != saved.probe {
            let why = "its keys were hashed otherwise than this version does";
            return Err(BadState::Damaged(why.to_owned()));
        }
        self.hashes = hashes;
        self.lossy_until_ns = saved.lossy_until_ns;
        self.suspects = saved.suspects;
        self.suspects.truncate(SUSPECTS);
        self.hits = saved.hits;
        self.bind_hits();
        let places: HashMap<u64, u16> = self.fingerprints.iter().copied().zip(0..).collect();
        let mut restored = Restored::default();
        for (place, hash, counter) in saved.counters {
            let fingerprint = saved.fingerprints.get(usize::from(place));
            let number = fingerprint.and_then(|fingerprint| places.get(fingerprint));
            let key = number.map(|&correlation| Key { correlation, hash });
            let open = counter.active().is_some();
            if key.is_some_and(|key| self.put_back(key, counter, saved.now_ns)) {
                restored.keys += 1;
                restored.open += usize::from(open);
            } else {
                restored.dropped += 1;
            }
        }
        Ok(restored)
    }

    fn put_back(&mut self, key: Key, counter: Counter, saved_ns: u64) -> bool {
        let Some(correlation) = self.correlations.get(usize::from(key.correlation)) else {
            return false;
        };
        if !counter.is_like(&count::make(correlation, saved_ns)) {
            return false;
        }
        let over_ns = over_at(correlation, &counter, saved_ns);
        let open = counter.active().is_some();
        let restored = self.table.restore(key, counter);
        if restored && open {
            self.due.push(Reverse((over_ns, key)));
        }
        restored
    }

    /// Hits are counted for the correlations of now.
    pub(super) fn bind_hits(&mut self) {
        let rules = &self.rules;
        self.hits.bind(&self.correlations, |number| {
            rules.get(number).map(|rule| rule.id.to_string())
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::alert::State;
    use super::super::super::builtin;
    use super::super::super::parse::parse;
    use super::super::Settings;
    use super::*;
    use crate::detect::tests::{response, run};

    const S: u64 = 1_000_000_000;
    const BEGIN: u64 = 1_795_156_800 * S;

    fn fresh() -> Detector {
        let rules = parse(&builtin::sources(), &|_| false).rules;
        Detector::new(rules, Settings::default())
    }

    fn restarted(before: &Detector) -> Detector {
        let mut after = fresh();
        let restored = after.restore(&before.save()).expect("a state");
        assert_eq!(restored.dropped, 0);
        assert_eq!(after.stats().keys, before.stats().keys);
        after
    }

    #[test]
    fn the_350th_error_after_a_restart_raises_one_alert() {
        for (client, rule) in [
            ("10.1.2.3", "http-error-spike-internal"),
            ("203.0.113.9", "http-error-spike-external"),
            ("2001:db8::7", "http-error-spike-external"),
        ] {
            let mut detector = fresh();
            let errors = |from: u64, n: u64| {
                (from..from + n).map(|i| response(client, 500, "/", BEGIN + i * S / 2))
            };
            let opened = |detector: &mut Detector, from, n| {
                let (alerts, _) = run(detector, errors(from, n));
                let of_rule = alerts.iter().filter(|a| &*a.rule.id == rule);
                of_rule.map(|a| (a.state, a.count)).collect::<Vec<_>>()
            };
            assert_eq!(opened(&mut detector, 0, 349), [], "{client}");
            let mut detector = restarted(&detector);
            let expected = [(State::Opened, 350)];
            assert_eq!(opened(&mut detector, 349, 1), expected, "{client}");
            // Open before the restart: it does not open again, and it ends.
            let mut detector = restarted(&detector);
            assert_eq!(opened(&mut detector, 350, 10), [], "{client}");
            let mut ended = Vec::new();
            detector.tick(BEGIN + 7200 * S, &mut |detected| {
                if let super::super::Detected::Alert(alert) = detected
                    && &*alert.rule.id == rule
                {
                    ended.push((alert.state, alert.count));
                }
            });
            assert_eq!(ended, [(State::Ended, 360)], "{client}");
        }
    }

    #[test]
    fn distinct_values_are_the_same_after_a_restart() {
        let mut detector = fresh();
        let scan = |from: u64, n: u64| {
            (from..from + n).map(|i| response("10.1.2.3", 404, &format!("/{i}"), BEGIN + i * S))
        };
        let opens = |alerts: &[super::super::Alert]| {
            let mut of_rule = alerts.iter().filter(|a| &*a.rule.id == "http-path-scan");
            of_rule.any(|a| a.state == State::Opened)
        };
        assert!(!opens(&run(&mut detector, scan(0, 29)).0));
        let mut detector = restarted(&detector);
        assert!(!opens(&run(&mut detector, scan(0, 29)).0), "seen before");
        assert!(opens(&run(&mut detector, scan(29, 1)).0));
    }

    #[test]
    fn hits_survive_and_are_kept_by_day() {
        let mut detector = fresh();
        const DAY: u64 = 86_400;
        let errors = |day: u64, n: u64| {
            (0..n).map(move |i| response("10.1.2.3", 500, "/", BEGIN + day * DAY * S + i * S / 2))
        };
        run(&mut detector, errors(0, 350));
        let mut detector = restarted(&detector);
        run(&mut detector, errors(1, 7));
        let hits = hits(&detector.save()).expect("a state");
        let rules = hits.rules();
        let rule = rules.iter().find(|r| r.id == "http-error-spike-internal");
        let rule = rule.expect("was hit");
        let day = (BEGIN / S / DAY) as u32;
        assert_eq!(rule.tally.days, [(day, 350), (day + 1, 7)]);
        assert_eq!((rule.tally.count, rule.tally.alerts), (357, 1));
        assert_eq!(rule.entities.len(), 1);
        assert_eq!(rule.entities[0].values, [b"10.1.2.3".to_vec()]);
        assert_eq!(rule.entities[0].tally, rule.tally);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut detector = fresh_small();
            let _ = detector.restore(&bytes);
            let _ = detector.core.restore(&bytes);
            let _ = detector.restore(&state::seal(&bytes));
        }

        #[test]
        fn no_damage_panics(at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let mut detector = fresh_small();
            run(&mut detector, (0..4).map(|i| response("10.1.2.3", 404, "/", BEGIN + i)));
            let mut bytes = detector.save().split_off(40);
            let at = at.index(bytes.len());
            bytes[at] = to;
            let mut detector = fresh_small();
            if detector.core.restore(&bytes).is_ok() {
                run(&mut detector, (0..9).map(|i| response("10.1.2.3", 404, "/", BEGIN + i)));
            }
        }
    }

    fn fresh_small() -> Detector {
        crate::detect::tests::of(
            "title: a\nname: one\nlogsource: {category: webserver}\n\
             detection: {s: {sc-status: 404}, condition: s}\n---\n\
             title: b\nname: b\ncorrelation:\n  type: value_count\n  rules: [one]\n  \
             group-by: [c-ip]\n  timespan: 5m\n  condition: {gte: 4, field: cs-uri-stem}\n",
        )
    }
}
