//! State must survive a restart, and no file may make a detector panic.

use proptest::prelude::*;

use super::*;
use crate::alert::{Alert, State};
use crate::builtin;
use crate::hits::Hits;
use crate::parse::parse;
use crate::snapshot::{HEADER, header, hits};
use crate::tests::{response, run};
use crate::{Detected, Prepared, Settings};

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
    let restored = after.restore(&saved(before), u64::MAX).expect("a state");
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
        // An alert shows the same as in a run without a restart.
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
            if let Detected::Alert(alert) = detected
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
    let opens = |alerts: &[Alert]| {
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
    for (now_ns, goes_on) in
        [(BEGIN + 180 * S, true), (BEGIN + 150 * S, true), (BEGIN - 3600 * S, false)]
    {
        let mut after = fresh();
        let restored = after.restore(&bytes, now_ns).expect("a state");
        assert_eq!(restored.future == 0, goes_on, "{restored:?}");
        assert_eq!(restored.keys > 0, goes_on, "{restored:?}");
        // The detector counts at once, and does not raise the alert early.
        let (alerts, _) = run(&mut after, (0..350).map(|i| error(now_ns + i * S / 2)));
        let spike =
            |a: &&Alert| &*a.rule.id == "http-error-spike-internal" && a.state == State::Opened;
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
    let rule = seen.hits.all().iter().find(|r| r.id == "http-error-spike-internal");
    let rule = rule.expect("was hit");
    let day = (BEGIN / S / DAY) as u32;
    let days: Vec<_> = rule.tally.days.clone().into_iter().collect();
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
    run(&mut detector, (0..3000).map(|n| response(&from(n), 404, "/", BEGIN + n)));
    run(&mut detector, (0..349).map(|i| response("10.200.0.1", 500, "/", BEGIN + i * S / 2)));
    let (mut snapshot, mut steps) = (Snapshot::default(), 0);
    while !detector.save_some(&mut snapshot) {
        steps += 1;
        // New keys during the save; an existing key must be saved consistently.
        let n = 10_000 + steps;
        run(&mut detector, [response(&from(n), 404, "/", BEGIN + 180 * S)]);
    }
    assert!(steps > 5, "{steps}");
    let (content, left_out) = snapshot.into_file(usize::MAX);
    assert!(!left_out.is_any());
    let mut after = fresh();
    let restored = after.restore(&content.to_vec(), u64::MAX).expect("a state");
    assert!(restored.keys >= 3000 && restored.keys <= detector.stats().keys);
    let (alerts, _) = run(&mut after, [response("10.200.0.1", 500, "/", BEGIN + 181 * S)]);
    let opened = alerts.iter().filter(|a| &*a.rule.id == "http-error-spike-internal");
    assert_eq!(opened.map(|a| a.count).collect::<Vec<_>>(), [350]);
}

#[test]
fn other_rules_between_steps_begin_it_anew() {
    let mut detector = fresh();
    run(
        &mut detector,
        (0..9000).map(|n| response(&format!("10.0.{}.{}", n >> 8, n & 255), 404, "/", BEGIN + n)),
    );
    let mut snapshot = Snapshot::default();
    for _ in 0..3 {
        assert!(!detector.save_some(&mut snapshot));
    }
    let spared = |id: &str| id == "http-path-scan";
    let rules = parse(&builtin::sources(), &spared).rules;
    detector.reload(Prepared::new(rules, Settings::default()), &mut |_| {});
    while !detector.save_some(&mut snapshot) {}
    let bytes = snapshot.into_file(usize::MAX).0.to_vec();
    let mut after = Detector::new(parse(&builtin::sources(), &spared).rules, Settings::default());
    let restored = after.restore(&bytes, u64::MAX).expect("a state");
    assert_eq!((restored.keys, restored.changed), (detector.stats().keys, 0));
}

#[test]
fn within_a_limit_what_is_worth_most_is_kept() {
    let mut detector = fresh();
    // An old open alert and one that is nearly open; then many clients, one after the other.
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
    assert!(bytes.len() <= most && bytes.len() > most / 2, "{} of {most}", bytes.len());
    assert!(left_out.left_out > left_out.counters && left_out.counters > 100, "{left_out:?}");
    let mut after = fresh();
    let restored = after.restore(&bytes, u64::MAX).expect("a state");
    // The server's alert is open too.
    let expected = (left_out.counters, detector.stats().opened as usize);
    assert_eq!((restored.keys, restored.open), expected);
    let mut error = |client: &str| {
        let (alerts, _) = run(&mut after, [response(client, 500, "/", BEGIN + 255 * S)]);
        let mut of_rule = alerts.iter().filter(|a| &*a.rule.id == "http-error-spike-internal");
        of_rule.any(|a| a.state == State::Opened)
    };
    assert!(!error("10.1.2.3"), "open still");
    assert!(error("10.1.2.4"), "the 350th");
    let count = |hits: &Hits| hits.all().iter().map(|of| of.tally.count).max();
    assert_eq!(count(&hits(&bytes).expect("hits").hits), count(&detector.core.hits));
}

#[test]
fn hits_fit_into_half_of_the_limit() {
    let mut detector = fresh();
    for day in 0..40 {
        run(
            &mut detector,
            (0..120).map(|n| {
                response(&format!("10.0.0.{n}"), 500, "/", BEGIN + (day * 86_400 + n) * S)
            }),
        );
    }
    let all = saved(&detector).len();
    for most in [all / 2, all / 8, 4000, 300] {
        let (content, left_out) = detector.save().into_file(most);
        let bytes = content.to_vec();
        // With everything dropped, about seven bytes per rule.
        assert!(bytes.len() <= most.max(2000), "{} of {most}", bytes.len());
        assert!(left_out.hits.is_some(), "{left_out:?}");
        assert!(fresh().restore(&bytes, u64::MAX).is_ok());
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut detector = fresh_small();
        let _ = detector.restore(&bytes, u64::MAX);
        let _ = detector.core.restore(&bytes, u64::MAX);
        let _ = detector.restore(&[&header([&bytes[..]].into_iter())[..], &bytes].concat(), u64::MAX);
    }

    #[test]
    fn no_damage_panics(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut detector = fresh_small();
        run(&mut detector, (0..4).map(|i| response("10.1.2.3", 404, "/", BEGIN + i)));
        let mut bytes = saved(&detector).split_off(HEADER);
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
