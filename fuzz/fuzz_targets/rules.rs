//! Any text as a rule file: every fault has a position in the file, and rules that load run over events and
//! load again.
#![no_main]

use std::path::PathBuf;

use http_trace_detect::parse::{Source, parse};
use http_trace_detect::rule::Origin;
use http_trace_detect::{Detector, Prepared, Settings};
use http_trace_fuzz::events::events;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let source =
        [Source { origin: Origin::File(PathBuf::from("fuzzed.yml")), text: text.to_owned() }];
    let parsed = parse(&source, &|_| false);
    // YAML 1.1 has several line terminators.
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
    for diagnostic in &parsed.diagnostics {
        assert!(
            (1..=lines + 1).contains(&diagnostic.line) && diagnostic.column >= 1,
            "{diagnostic}"
        );
        assert!(!diagnostic.message.is_empty());
    }
    if parsed.rules.rules.is_empty() {
        return;
    }
    let settings = Settings { live: false, memory: 1 << 20, ..Settings::default() };
    let mut detector = Detector::new(parsed.rules, settings);
    let events = events();
    let mut out = 0;
    for event in &events {
        detector.push(Box::new(event.clone()), &mut |_| out += 1);
    }
    assert!(out >= events.len(), "each event comes out");
    let prepared = Prepared::new(parse(&source, &|_| false).rules, Settings::default());
    let reloaded = detector.reload(prepared, &mut |_| {});
    assert_eq!((reloaded.kept, reloaded.gone), (reloaded.rules, 0));
    detector.finish(&mut |_| {});
});
