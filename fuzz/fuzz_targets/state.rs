//! Any bytes as a state file: it is refused, or it loads, saves and loads again. The input is a payload,
//! which gets a header, or a whole file.
#![no_main]

use http_trace_detect::detector::{Detector, Settings};
use http_trace_detect::parse::{Source, parse};
use http_trace_detect::rule::{Origin, RuleSet};
use http_trace_detect::snapshot::header;
use http_trace_detect::snapshot::hits;
use http_trace_fuzz::events::events;
use libfuzzer_sys::fuzz_target;

/// A few rules, with each way to count.
const RULES: &str = include_str!("../state.yml");

fn rules() -> RuleSet {
    let source = Source { origin: Origin::BuiltIn("fuzzed.yml"), text: RULES.to_owned() };
    let parsed = parse(&[source], &|_| false);
    assert_eq!(parsed.rules.rules.len(), 3, "{:?}", parsed.diagnostics);
    parsed.rules
}

fn fresh() -> Detector {
    let settings = Settings { live: true, memory: 1 << 20, ..Settings::default() };
    Detector::new(rules(), settings)
}

fuzz_target!(|data: &[u8]| {
    let sealed = [&header([data].into_iter())[..], data].concat();
    let mut detector = fresh();
    let of_payload = detector.restore(&sealed, u64::MAX);
    if of_payload.is_ok() {
        assert!(hits(&sealed).is_ok());
    } else if detector.restore(data, u64::MAX).is_err() {
        return;
    }
    for event in events() {
        detector.push(Box::new(event), &mut |_| {});
    }
    let (content, left_out) = detector.save().into_file(usize::MAX);
    assert!(!left_out.is_any());
    let mut after = fresh();
    let restored = after.restore(&content.to_vec(), u64::MAX).expect("what was kept");
    assert_eq!((restored.changed, restored.no_room), (0, 0));
    assert_eq!(after.stats().keys, detector.stats().keys);
});
