//! What a detector counts, into bytes and back. What does not fit the rules of now is left out:
//! correlations are known by their fingerprints, rules' hits by their ids.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::super::hashes::Hashes;
use super::super::hits::Hits;
use super::super::saving::{STEP_BYTES, Saving, Worth};
use super::super::state::{self, BadState};
use super::{Core, Counter, Detector, Due, Key, SUSPECTS, count, newest_ns, over_at};

/// Slots that a step looks at, used or not.
const STEP_SLOTS: usize = 4096;

/// How much later than now a counter may have counted: its bucket ends after the event, and clocks
/// are set right by little.
const CLOCKS_DIFFER_NS: u64 = 60_000_000_000;

/// What is in the file. Whoever changes it, or anything in it, raises [`state::VERSION`].
#[derive(Deserialize)]
struct Saved {
    hits: Hits,
    middle: Middle,
    /// Place of the fingerprint, hash of the group's values, and what is counted; the ones worth
    /// most first.
    counters: Vec<(u16, u64, Counter)>,
}

/// What is no list of many.
#[derive(Serialize, Deserialize)]
struct Middle {
    key: [u64; 2],
    probe: u64,
    now_ns: u64,
    lossy_until_ns: u64,
    suspects: Vec<(IpAddr, u64)>,
    fingerprints: Vec<u64>,
}

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Keys that go on.
    pub keys: usize,
    /// Of them, those with an open alert.
    pub open: usize,
    /// Keys whose correlation is gone or changed.
    pub changed: usize,
    /// Keys that there is no room for.
    pub no_room: usize,
    /// Keys that counted later than it is now.
    pub future: usize,
}

/// The hits of a state, and how late it was, event time, Unix ns.
#[derive(Debug)]
pub struct Seen {
    /// What was hit.
    pub hits: Hits,
    /// The time of the last event or tick.
    pub now_ns: u64,
}

/// Only the hits of a state.
///
/// # Errors
/// What is no state, or damaged.
pub fn hits(bytes: &[u8]) -> Result<Seen, BadState> {
    let payload = state::open(bytes)?;
    let taken: Result<((Hits, Middle), _), _> = postcard::take_from_bytes(payload);
    let ((hits, middle), _) = taken.map_err(damaged)?;
    Ok(Seen {
        hits,
        now_ns: middle.now_ns,
    })
}

fn damaged(error: postcard::Error) -> BadState {
    BadState::Damaged(error.to_string())
}

impl Detector {
    /// How often something changed that is saved.
    pub const fn changes(&self) -> u64 {
        self.core.changes
    }

    /// Encodes a bit of what is to survive a restart; returns whether that was the last of it.
    /// Each counter is whole and as it is now; between two steps the others may change.
    pub fn save_some(&self, saving: &mut Saving) -> bool {
        let core = &self.core;
        if saving.fingerprints != core.fingerprints {
            // The first step, or other rules since: places are others then.
            *saving = Saving::new(core.fingerprints.clone(), core.changes);
        }
        let mut bytes = 0;
        while let Some(of) = core.hits.all().get(saving.next_rule) {
            saving.next_rule += 1;
            bytes += saving.add_hits(of);
            if bytes >= STEP_BYTES {
                return false;
            }
        }
        saving.begin_chunk();
        let last = core.table.slots().min(saving.next_slot + STEP_SLOTS);
        while saving.next_slot < last {
            let slot = core.table.at(saving.next_slot);
            saving.next_slot += 1;
            let Some((key, counter)) = slot else {
                continue;
            };
            let worth = self.worth(key, counter);
            if saving.add(worth, &(key.correlation, key.hash, counter)) >= STEP_BYTES {
                break;
            }
        }
        let done = saving.next_slot >= core.table.slots();
        if done {
            saving.set_middle(&Middle {
                key: core.entities.hashes().key(),
                probe: core.entities.hashes().probe(),
                now_ns: self.clock.now_ns(),
                lossy_until_ns: core.lossy_until_ns,
                suspects: core.suspects.clone(),
                fingerprints: core.fingerprints.clone(),
            });
        }
        done
    }

    /// All of it at once.
    pub fn save(&self) -> Saving {
        let mut saving = Saving::default();
        while !self.save_some(&mut saving) {}
        saving
    }

    fn worth(&self, key: Key, counter: &Counter) -> Worth {
        let more = counter.more.as_deref();
        let correlation = self.core.correlations.get(usize::from(key.correlation));
        let now_ns = self.clock.now_ns();
        Worth {
            open: more.is_some_and(|more| more.active.is_some()),
            halfway: more.is_some_and(|more| more.evidence.is_some()),
            last_ns: correlation.map_or(0, |c| newest_ns(c, counter, now_ns)),
            count: counter.window.total(),
        }
    }

    /// Goes on from what was saved. To be called before the first event.
    ///
    /// # Errors
    /// What is no state of this version, or damaged; nothing of it is used then.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<Restored, BadState> {
        self.restore_at(bytes, u64::MAX)
    }

    /// [`Detector::restore`] at a known time (Unix ns). What counted later, before a clock was set
    /// back, is left out: it would take nothing in until that time comes again.
    ///
    /// # Errors
    /// As [`Detector::restore`].
    pub fn restore_at(&mut self, bytes: &[u8], now_ns: u64) -> Result<Restored, BadState> {
        self.core.restore(state::open(bytes)?, now_ns)
    }
}

impl Core {
    fn restore(&mut self, payload: &[u8], now_ns: u64) -> Result<Restored, BadState> {
        let saved: Saved = postcard::from_bytes(payload).map_err(damaged)?;
        let Saved {
            hits,
            middle,
            counters,
        } = saved;
        let hashes = Hashes::with_key(middle.key);
        if hashes.probe() != middle.probe {
            let why = "its keys were hashed otherwise than this version does";
            return Err(BadState::Damaged(why.to_owned()));
        }
        self.entities.hash_as(hashes);
        self.begun.on_any();
        self.lossy_until_ns = middle.lossy_until_ns;
        self.suspects = middle.suspects;
        self.suspects.truncate(SUSPECTS);
        self.hits = hits;
        self.bind_hits();
        let latest_ns = now_ns.saturating_add(CLOCKS_DIFFER_NS);
        let places: HashMap<u64, u16> = self.fingerprints.iter().copied().zip(0..).collect();
        let mut restored = Restored::default();
        for (place, hash, counter) in counters {
            let fingerprint = middle.fingerprints.get(usize::from(place));
            let number = fingerprint.and_then(|fingerprint| places.get(fingerprint));
            match number {
                Some(&correlation) => {
                    let times = [middle.now_ns, latest_ns];
                    self.put_back(Key { correlation, hash }, counter, times, &mut restored);
                }
                None => restored.changed += 1,
            }
        }
        Ok(restored)
    }

    fn put_back(
        &mut self,
        key: Key,
        mut counter: Counter,
        [saved_ns, latest_ns]: [u64; 2],
        restored: &mut Restored,
    ) {
        let correlation = self.correlations.get(usize::from(key.correlation));
        let like = |c| counter.is_like(&count::make(c, saved_ns), count::distinct_up_to(c));
        let Some(correlation) = correlation.filter(|c| like(*c)) else {
            restored.changed += 1;
            return;
        };
        if self.table.get_mut(key).is_some() {
            // It went and came again while it was saved, and the one worth more is there.
            return;
        }
        if newest_ns(correlation, &counter, saved_ns) > latest_ns {
            restored.future += 1;
            return;
        }
        // Nobody saw what came between the two runs.
        counter.incomplete |= self.settings.live;
        let evidence = counter.more.as_mut().and_then(|m| m.evidence.as_mut());
        if let Some(evidence) = evidence {
            evidence.rehash(self.entities.hashes());
        }
        let over_ns = over_at(correlation, &counter, saved_ns);
        let open = counter.active().map(|active| active.id);
        let told = counter.active().is_some_and(|active| !active.is_silent());
        if !self.table.restore(key, counter) {
            restored.no_room += 1;
            return;
        }
        restored.keys += 1;
        if let Some(id) = open {
            restored.open += usize::from(told);
            self.due.push(Reverse(Due::new(over_ns, id, key)));
        }
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
    use super::super::Prepared;
    use proptest::prelude::*;

    use super::super::super::alert::State;
    use super::super::super::builtin;
    use super::super::super::parse::parse;
    use super::super::Settings;
    use super::*;
    use crate::tests::{response, run};

    const S: u64 = 1_000_000_000;
    const BEGIN: u64 = 1_795_156_800 * S;

    fn fresh() -> Detector {
        let rules = parse(&builtin::sources(), &|_| false).rules;
        Detector::new(rules, Settings::default())
    }

    fn saved(detector: &Detector) -> Vec<u8> {
        let (content, left_out) = detector.save().into_file(usize::MAX);
        assert!(!left_out.is_any());
        content.to_vec()
    }

    fn restarted(before: &Detector) -> Detector {
        let mut after = fresh();
        let restored = after.restore(&saved(before)).expect("a state");
        assert_eq!((restored.changed, restored.no_room), (0, 0));
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
            let paths = |detector: &mut Detector| {
                let (alerts, _) = run(detector, errors(349, 1));
                let of_rule = alerts.into_iter().find(|a| &*a.rule.id == rule);
                of_rule.map(|alert| (alert.paths, alert.servers, alert.samples))
            };
            assert_eq!(opened(&mut detector, 0, 349), [], "{client}");
            // What an alert shows is that of a run without a restart.
            let (mut after, mut unbroken) = (restarted(&detector), fresh());
            assert_eq!(opened(&mut unbroken, 0, 349), [], "{client}");
            let shown = paths(&mut after).expect("an alert");
            assert_eq!(shown.0.len(), 1, "{client}");
            assert_eq!(Some(shown), paths(&mut unbroken), "{client}");
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
    fn what_counted_later_than_it_is_now_is_left_out() {
        let error = |at_ns| response("10.1.2.3", 500, "/", at_ns);
        let mut before = fresh();
        run(&mut before, (0..349).map(|i| error(BEGIN + i * S / 2)));
        let bytes = saved(&before);
        for (now_ns, goes_on) in [
            (BEGIN + 180 * S, true),
            (BEGIN + 150 * S, true),
            (BEGIN - 3600 * S, false),
        ] {
            let mut after = fresh();
            let restored = after.restore_at(&bytes, now_ns).expect("a state");
            assert_eq!(restored.future == 0, goes_on, "{restored:?}");
            assert_eq!(restored.keys > 0, goes_on, "{restored:?}");
            // Neither deaf nor early.
            let (alerts, _) = run(&mut after, (0..350).map(|i| error(now_ns + i * S / 2)));
            let spike = |a: &&crate::alert::Alert| {
                &*a.rule.id == "http-error-spike-internal" && a.state == State::Opened
            };
            let counts: Vec<u64> = alerts.iter().filter(spike).map(|a| a.count).collect();
            assert_eq!(counts, [350], "{now_ns}");
        }
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
        let seen = hits(&saved(&detector)).expect("a state");
        assert_eq!(seen.now_ns, BEGIN + DAY * S + 3 * S);
        let rule = seen
            .hits
            .all()
            .iter()
            .find(|r| r.id == "http-error-spike-internal");
        let rule = rule.expect("was hit");
        let day = (BEGIN / S / DAY) as u32;
        let days: Vec<_> = rule.tally.days.iter().copied().collect();
        assert_eq!(days, [(day, 350), (day + 1, 7)]);
        assert_eq!((rule.tally.count, rule.tally.alerts), (357, 1));
        assert_eq!(rule.entities.len(), 1);
        assert_eq!(rule.entities[0].values, [b"10.1.2.3".to_vec()]);
        assert_eq!(rule.entities[0].tally, rule.tally);
    }

    #[test]
    fn what_changes_between_steps_is_whole() {
        let mut detector = fresh();
        let from = |n: u64| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
        run(
            &mut detector,
            (0..3000).map(|n| response(&from(n), 404, "/", BEGIN + n)),
        );
        run(
            &mut detector,
            (0..349).map(|i| response("10.200.0.1", 500, "/", BEGIN + i * S / 2)),
        );
        let (mut saving, mut steps) = (Saving::default(), 0);
        while !detector.save_some(&mut saving) {
            steps += 1;
            // New keys, and one that goes on.
            let n = 10_000 + steps;
            run(
                &mut detector,
                [response(&from(n), 404, "/", BEGIN + 180 * S)],
            );
        }
        assert!(steps > 5, "{steps}");
        let (content, left_out) = saving.into_file(usize::MAX);
        assert!(!left_out.is_any());
        let mut after = fresh();
        let restored = after.restore(&content.to_vec()).expect("a state");
        assert!(restored.keys >= 3000 && restored.keys <= detector.stats().keys);
        let (alerts, _) = run(
            &mut after,
            [response("10.200.0.1", 500, "/", BEGIN + 181 * S)],
        );
        let opened = alerts
            .iter()
            .filter(|a| &*a.rule.id == "http-error-spike-internal");
        assert_eq!(opened.map(|a| a.count).collect::<Vec<_>>(), [350]);
    }

    #[test]
    fn other_rules_between_steps_begin_it_anew() {
        let mut detector = fresh();
        run(
            &mut detector,
            (0..9000)
                .map(|n| response(&format!("10.0.{}.{}", n >> 8, n & 255), 404, "/", BEGIN + n)),
        );
        let mut saving = Saving::default();
        for _ in 0..3 {
            assert!(!detector.save_some(&mut saving));
        }
        let spared = |id: &str| id == "http-path-scan";
        let rules = parse(&builtin::sources(), &spared).rules;
        detector.reload(Prepared::new(rules, Settings::default()), &mut |_| {});
        while !detector.save_some(&mut saving) {}
        let bytes = saving.into_file(usize::MAX).0.to_vec();
        let mut after = Detector::new(
            parse(&builtin::sources(), &spared).rules,
            Settings::default(),
        );
        let restored = after.restore(&bytes).expect("a state");
        assert_eq!(
            (restored.keys, restored.changed),
            (detector.stats().keys, 0)
        );
    }

    #[test]
    fn within_a_limit_what_is_worth_most_is_kept() {
        let mut detector = fresh();
        // An open alert and one nearly so, of long ago; then many clients, one after the other.
        let many = |client: &'static str, n: u64| {
            (0..n).map(move |i| response(client, 500, "/", BEGIN + i * S / 2))
        };
        run(&mut detector, many("10.1.2.3", 350));
        run(&mut detector, many("10.1.2.4", 349));
        let from = |n: u64| format!("10.2.{}.{}", n >> 8, n & 255);
        run(
            &mut detector,
            (0..5000).map(|n| response(&from(n), 500, "/", BEGIN + 200 * S + n * S / 100)),
        );
        let all = saved(&detector).len();
        let most = all / 4;
        let (content, left_out) = detector.save().into_file(most);
        let bytes = content.to_vec();
        assert!(
            bytes.len() <= most && bytes.len() > most / 2,
            "{} of {most}",
            bytes.len()
        );
        assert!(
            left_out.left_out > left_out.counters && left_out.counters > 100,
            "{left_out:?}"
        );
        let mut after = fresh();
        let restored = after.restore(&bytes).expect("a state");
        // That of the server is open too.
        let expected = (left_out.counters, detector.stats().opened as usize);
        assert_eq!((restored.keys, restored.open), expected);
        let mut error = |client: &str| {
            let (alerts, _) = run(&mut after, [response(client, 500, "/", BEGIN + 255 * S)]);
            let mut of_rule = alerts
                .iter()
                .filter(|a| &*a.rule.id == "http-error-spike-internal");
            of_rule.any(|a| a.state == State::Opened)
        };
        assert!(!error("10.1.2.3"), "open still");
        assert!(error("10.1.2.4"), "the 350th");
        let count = |hits: &Hits| hits.all().iter().map(|of| of.tally.count).max();
        assert_eq!(
            count(&hits(&bytes).expect("hits").hits),
            count(&detector.core.hits)
        );
    }

    #[test]
    fn hits_fit_into_half_of_the_limit() {
        let mut detector = fresh();
        for day in 0..40 {
            run(
                &mut detector,
                (0..120).map(|n| {
                    response(
                        &format!("10.0.0.{n}"),
                        500,
                        "/",
                        BEGIN + (day * 86_400 + n) * S,
                    )
                }),
            );
        }
        let all = saved(&detector).len();
        for most in [all / 2, all / 8, 4000, 300] {
            let (content, left_out) = detector.save().into_file(most);
            let bytes = content.to_vec();
            assert!(bytes.len() <= most.max(900), "{} of {most}", bytes.len());
            assert!(left_out.hits.is_some(), "{left_out:?}");
            assert!(fresh().restore(&bytes).is_ok());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut detector = fresh_small();
            let _ = detector.restore(&bytes);
            let _ = detector.core.restore(&bytes, u64::MAX);
            let _ = detector.restore(&state::seal(&bytes));
        }

        #[test]
        fn no_damage_panics(at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let mut detector = fresh_small();
            run(&mut detector, (0..4).map(|i| response("10.1.2.3", 404, "/", BEGIN + i)));
            let mut bytes = saved(&detector).split_off(state::HEADER);
            let at = at.index(bytes.len());
            bytes[at] = to;
            let mut detector = fresh_small();
            if detector.core.restore(&bytes, u64::MAX).is_ok() {
                run(&mut detector, (0..9).map(|i| response("10.1.2.3", 404, "/", BEGIN + i)));
            }
        }
    }

    fn fresh_small() -> Detector {
        crate::tests::of(
            "title: a\nname: one\nlogsource: {category: webserver}\n\
             detection: {s: {sc-status: 404}, condition: s}\n---\n\
             title: b\nname: b\ncorrelation:\n  type: value_count\n  rules: [one]\n  \
             group-by: [c-ip]\n  timespan: 5m\n  condition: {gte: 4, field: cs-uri-stem}\n",
        )
    }
}
