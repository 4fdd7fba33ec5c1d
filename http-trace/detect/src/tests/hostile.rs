//! Tests of malicious and broken rule files: they are rejected with a reason and never cause a panic, and
//! what loads is bounded in memory and work.

use proptest::prelude::*;

use super::{BEGIN, response, run};
use crate::parse::{self, Parsed, Source};
use crate::rule::Origin;
use crate::{Detector, Settings, builtin};

fn parsed(text: &str) -> Parsed {
    let source = Source { origin: Origin::File("r.yml".into()), text: text.to_owned() };
    parse::parse(&[source], &|_| false)
}

/// Parses a file, and runs a few events through the rules that load.
fn survive(text: &str) -> Parsed {
    let mut all = parsed(text);
    // All line breaks of YAML (1.1, §4.2), including a lone CR.
    let breaks = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
    let lines = text.split(breaks).count();
    for diagnostic in &all.diagnostics {
        let place = (diagnostic.line, diagnostic.column);
        assert!(
            place.0 >= 1 && place.0 <= lines + 1 && place.1 >= 1,
            "{diagnostic} of {lines} lines"
        );
        assert!(!diagnostic.message.is_empty());
    }
    let mut detector = Detector::new(std::mem::take(&mut all.rules), Settings::default());
    let events = [200, 404, 503].map(|status| response("10.0.0.1", status, "/a?b=c", BEGIN));
    run(&mut detector, events);
    all
}

fn detection(item: &str) -> String {
    format!(
        "title: t\nname: t\nlogsource: {{ category: webserver }}\ndetection:\n  s:\n    {item}\n  \
         condition: s\n"
    )
}

#[test]
fn a_line_may_end_with_a_lone_cr() {
    survive("'\r\r0");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,400}") {
        survive(&text);
    }

    #[test]
    fn any_text_in_place_of_a_value_is_read_or_refused(text in "\\PC{0,60}", at in 0_usize..7) {
        let quoted = text.replace('\'', "''");
        let item = [
            format!("cs-uri-stem: '{quoted}'"),
            format!("cs-uri-stem|re: '{quoted}'"),
            format!("c-ip|cidr: '{quoted}'"),
            format!("sc-status|gte: '{quoted}'"),
            format!("'{quoted}': x"),
            format!("cs-host|windash|base64offset|contains: '{quoted}'"),
            format!("cs-host: {text}"),
        ];
        survive(&detection(&item[at]));
    }

    #[test]
    fn rules_that_are_damaged_are_read_or_refused(
        file in 0..builtin::FILES.len(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[ -~\\n]{0,6}"), 1..5),
    ) {
        let mut text = builtin::FILES[file].1.to_owned();
        for (at, len, new) in cuts {
            let at = at.index(text.len() + 1);
            let end = (at + len).min(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(end) {
                text.replace_range(at..end, &new);
            }
        }
        survive(&text);
    }
}

#[test]
fn an_expression_is_refused_or_takes_time_in_proportion_to_the_text() {
    let long = format!("/{}!", "x".repeat(60_000));
    for (expression, loads) in [
        ("(x+x+)+y", true),
        ("^(x|x)*$", true),
        ("(x*)*(x*)*(x*)*y", true),
        ("(.*)(.*)(.*)(.*)[0-9]", true),
        ("((x{100}){100}){100}", false),
        ("x{1000000}", false),
        ("(?:x{0,1000}){0,1000}", false),
        ("(?=x)", false),
        ("(x)\\1", false),
        ("[", false),
        (&"(".repeat(5000), false),
        (&format!("{}x{}", "(".repeat(5000), ")".repeat(5000)), false),
    ] {
        let mut all = parsed(&detection(&format!("cs-uri-stem|re: '{expression}'")));
        let short = &expression[..expression.len().min(40)];
        assert_eq!(all.rules.rules.len(), usize::from(loads), "{short}");
        assert_eq!(all.diagnostics.is_empty(), loads, "{short}");
        // With backtracking this would not terminate.
        let mut detector = Detector::new(std::mem::take(&mut all.rules), Settings::default());
        run(&mut detector, [response("10.0.0.1", 200, &long, BEGIN)]);
    }
}

#[test]
fn what_is_nested_without_end_is_refused() {
    let condition = |text: &str| {
        detection("sc-status: 404").replace("condition: s", &format!("condition: {text}"))
    };
    let deep = 100_000;
    let aliases: String = (1..30)
        .map(|n| format!("a{n}: &a{n} [*a{m}, *a{m}, *a{m}, *a{m}, *a{m}, *a{m}]\n", m = n - 1))
        .collect();
    for (what, text) in [
        ("parentheses", condition(&format!("{}s{}", "(".repeat(deep), ")".repeat(deep)))),
        ("not", condition(&format!("{}s", "not ".repeat(deep)))),
        ("lists", detection(&format!("sc-status: {}1{}", "[".repeat(deep), "]".repeat(deep)))),
        (
            "mappings",
            detection(&format!("sc-status: {}1{}", "{a: ".repeat(deep), "}".repeat(deep))),
        ),
        ("open lists", "[".repeat(deep)),
        ("dashes", "- ".repeat(deep)),
        ("aliases", format!("a0: &a0 [x, x]\n{aliases}{}", detection("sc-status: *a29"))),
    ] {
        let all = survive(&text);
        assert!(!all.diagnostics.is_empty(), "{what}");
    }
}

#[test]
fn many_values_and_many_rules_load() {
    let values: Vec<String> = (0..20_000).map(|n| format!("'/path/{n}'")).collect();
    let all = survive(&detection(&format!("cs-uri-stem|contains: [{}]", values.join(", "))));
    assert!(all.diagnostics.is_empty(), "{:?}", all.diagnostics);
    let many: Vec<String> = (0..2000)
        .map(|n| {
            detection(&format!("cs-uri-stem: /{n}")).replace("name: t", &format!("name: t{n}"))
        })
        .collect();
    let all = parsed(&many.join("---\n"));
    assert_eq!((all.rules.rules.len(), all.diagnostics.len()), (2000, 0));
}
