//! Tests of rule files: allow lists, diagnostics, and rules that yield to others.

use http_trace_model::event::NoResponse;

use super::*;

#[test]
fn a_rule_that_is_yielded_to_must_be_there() {
    let text = "title: a\nname: one\nlogsource: {category: webserver}\ndetection: {s: {sc-status: 404}, condition: s}\n\
                yields-to: [http-path-scam]\n";
    let source =
        |text: &str| Source { origin: Origin::File("r.yml".into()), text: text.to_owned() };
    let said = |text: &str, disabled: &dyn Fn(&str) -> bool| -> Vec<String> {
        let mut sources = builtin::sources();
        sources.push(source(text));
        let parsed = parse::parse(&sources, disabled);
        assert!(parsed.rules.find("one").is_some());
        parsed.diagnostics.iter().map(ToString::to_string).collect()
    };
    let expected = "r.yml:5:13: warning: 'http-path-scam' is not a loaded rule; did you mean \
                    'http-path-scan'?";
    assert_eq!(said(text, &|_| false), [expected]);
    let right = text.replace("scam", "scan");
    assert_eq!(said(&right, &|_| false), [""; 0]);
    // Nor do filters complain of a rule that was disabled.
    assert_eq!(said(&right, &|id| id == "http-path-scan"), [""; 0]);
    // Yielding to a built-in rule is allowed even if no built-in rule is loaded.
    let alone = parse::parse(&[source(&right)], &|_| false);
    assert!(alone.diagnostics.is_empty(), "{:#?}", alone.diagnostics);
    let wrong = text.replace("[http-path-scam]", "3");
    let parsed = parse::parse(&[source(&wrong)], &|_| false);
    let said: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["r.yml:5:1: error: want rule ids"]);
}

/// Each input of a correlation has one bit in a word.
#[test]
fn a_correlation_of_more_rules_than_there_are_bits_is_refused() {
    for (inputs, expected) in [(64, vec![]), (65, vec!["at most 64 rules"])] {
        let one = |n| {
            format!(
                "title: r{n}\nname: r{n}\nlogsource: {{category: webserver}}\n\
                 detection: {{s: {{sc-status: 404, cs-uri-stem: /{n}}}, condition: s}}\n---\n"
            )
        };
        let names: Vec<String> = (0..inputs).map(|n| format!("r{n}")).collect();
        let text = format!(
            "{}title: all\nname: all\ncorrelation:\n  type: temporal\n  rules: [{}]\n  group-by: [c-ip]\n  timespan: 1m\n",
            (0..inputs).map(one).collect::<String>(),
            names.join(", ")
        );
        let origin = Origin::File("r.yml".into());
        let parsed = parse::parse(&[Source { origin, text }], &|_| false);
        let said: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), expected.len(), "{said:?}");
        assert!(said.iter().zip(expected).all(|(said, part)| said.contains(part)));
        assert_eq!(parsed.rules.find("all").is_some(), inputs == 64);
        let mut detector = Detector::new(parsed.rules, Settings::default());
        let each =
            (0..inputs).map(|n| response("198.51.100.7", 404, &format!("/{n}"), BEGIN + n * S / 4));
        let (alerts, _) = run(&mut detector, each);
        let of_all = alerts.iter().filter(|alert| &*alert.rule.id == "all");
        assert_eq!(of_all.count(), usize::from(inputs == 64));
    }
}

#[test]
fn an_allow_list_is_a_filter() {
    let filter = "title: allowed\nlogsource: {category: webserver}\nfilter:\n  rules: [http-error-spike-internal]\n  selection:\n    c-ip: 10.1.2.3\n  condition: not selection\n";
    let mut sources = builtin::sources();
    sources.push(Source { origin: Origin::File("filter.yml".into()), text: filter.to_owned() });
    let parsed = parse::parse(&sources, &|_| false);
    assert!(parsed.diagnostics.is_empty(), "{:#?}", parsed.diagnostics);
    let mut detector = Detector::new(parsed.rules, Settings::default());
    for (client, expected) in [("10.1.2.3", 0), ("10.1.2.4", 1)] {
        let errors = (0..400).map(|i| response(client, 500, "/", BEGIN + i * S / 10));
        assert_eq!(spikes(&run(&mut detector, errors).0).len(), expected);
    }
}

#[test]
fn a_count_of_distinct_values_may_ask_for_all_of_them_but_no_more() {
    let all = NoResponse::ALL.len();
    for (least, is_possible) in [(all, true), (all + 1, false)] {
        let text = format!(
            "title: a\nname: a\nlogsource:\n  category: webserver\ndetection:\n  sel:\n    http_trace.no_response|exists: true\n  condition: sel\n---\ntitle: b\nname: b\ncorrelation:\n  type: value_count\n  rules: a\n  group-by: c-ip\n  timespan: 1m\n  condition:\n    gte: {least}\n    field: http_trace.no_response\n"
        );
        let origin = Origin::File("x.yml".into());
        let parsed = parse::parse(&[Source { origin, text }], &|_| false);
        let said: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(said.is_empty(), is_possible, "{least}: {said:#?}");
        assert_eq!(parsed.rules.find("b").is_some(), is_possible, "{least}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_place() {
    let rule = |fields: &str| {
        format!(
            "title: a\nname: a\nlogsource:\n  category: webserver\ndetection:\n  sel:\n{fields}  condition: sel\n"
        )
    };
    let count = |condition: &str| {
        format!(
            "{}---\ntitle: b\nname: b\ncorrelation:\n  type: value_count\n  rules: a\n  group-by: c-ip\n  timespan: 1m\n  condition:\n{condition}",
            rule("    sc-status: 404\n")
        )
    };
    for (text, expected) in [
        (rule("    cs-uri-stm: x\n"), "x.yml:7:5: error: unknown field 'cs-uri-stm'; did you mean 'cs-uri-stem'?"),
        (rule("    cs-uri|re: 'a{1000}{1000}'\n"), "x.yml:7:17: error: the expression 'a{1000}{1000}' compiles to more than"),
        (rule("    cs-uri|re: '('\n"), "x.yml:7:17: error: the expression '(' is invalid: unclosed group"),
        (rule("    c-ip|cidr: 10.0.0.0/99\n"), "x.yml:7:16: error: '10.0.0.0/99' is not a network"),
        (rule("    cs-uri|contain: x\n"), "x.yml:7:12: error: unknown modifier 'contain'; did you \
                                           mean 'contains'?"),
        (rule("    cs-uri: x\n").replace("webserver", "process_creation"), "x.yml:3:1: error: category process_creation does not apply to HTTP responses"),
        (rule("    cs-uri: x\n").replace("condition: sel", "condition: self"), "x.yml:8:3: error: the condition uses 'self'"),
        (rule("    cs-uri: x\n").replace("title: a", "title: [a"), "x.yml:"),
        (count("    gte: 30\n    lt: 20\n    field: c-ip\n"), "x.yml:17:3: error: it can never be true for any count"),
        (count("    gte: 30\n    field: c-ip\n"), "x.yml:17:3: error: it can never be true: the counted field is also in group-by"),
        (count("    gte: 1000\n    field: sc-status\n"), "it can never be true: the fields have at \
                                                          most 900 values"),
        (count("    gte: 30\n    field: cs-uri\n").replace("rules: a", "rules: http-a"), "x.yml:14:10: error: 'http-a' is not a loaded rule"),
        (rule("    cs-uri: x\n") + "---\ntitle: [b\nname: c\n", "x.yml:10:8: error: YAML parse error: did not find expected ',' or ']' at line 11 column 5, while parsing a flow sequence"),
        (rule("    sc-status: [404, 9999]\n"), "x.yml:7:22: warning: status 9999 is out of range: \
                                                want 100 to 999"),
        (rule("    sc-status:\n      - '404'\n      - '99'\n"), "x.yml:9:10: warning: status 99 is out of range:"),
        (rule("    sc-status|gte: 1000\n"), "x.yml:7:20: warning: status from 1000 is out of range:"),
        (rule("    sc-status: abc\n"), "x.yml:7:5: error: 'abc' is not a number, but 'sc-status' \
                                        is numeric"),
        (
            "title: f\nlogsource: {category: webserver}\nfilter:\n  rules: any\n  sel:\n    c-ip: 10.0.0.1\n  condition: sel\n".to_owned(),
            "x.yml:7:3: warning: a filter is ANDed",
        ),
    ] {
        let source = Source {
            origin: Origin::File("x.yml".into()),
            text: text.clone(),
        };
        let parsed = parse::parse(&[source], &|_| false);
        let said: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|s| s.contains(expected)), "{text}\n{said:#?}");
    }
}

#[test]
fn statuses_that_there_are_get_no_warning() {
    for asked in [
        "sc-status: [100, 404, 599, 999]",
        "sc-status: '404'",
        "sc-status: '4*'",
        "sc-status|startswith: '40'",
        "sc-status|gte: 400",
        "sc-status|gt: 99",
        "sc-status|lt: 1000",
        "sc-status: null",
        "cs-bytes: 9999",
    ] {
        let source = Source {
            origin: Origin::File("x.yml".into()),
            text: format!(
                "title: a\nname: a\nlogsource: {{category: webserver}}\ndetection:\n  sel:\n    \
                 {asked}\n  condition: sel\nlevel: low\n"
            ),
        };
        let said = parse::parse(&[source], &|_| false).diagnostics;
        assert!(said.is_empty(), "{asked}: {said:#?}");
    }
}

#[test]
fn a_bad_rule_does_not_keep_the_good_ones_out() {
    let text = "title: good\nname: good\nlogsource: {category: webserver}\ndetection:\n  sel: {sc-status: 404}\n  condition: sel\n---\ntitle: bad\ndetection: 7\n---\n{{{\n";
    let source = Source { origin: Origin::File("x.yml".into()), text: text.to_owned() };
    let parsed = parse::parse(&[source], &|_| false);
    assert_eq!(parsed.rules.rules.len(), 1);
    assert_eq!(parsed.diagnostics.len(), 2, "{:#?}", parsed.diagnostics);
}

#[test]
fn a_rule_without_correlation_raises_one_alert_a_client() {
    let mut detector = of(
        "title: t\nlogsource: {category: proxy}\ndetection:\n  sel:\n    c-uri|contains: 'example/x?'\n  condition: sel\nlevel: high\n",
    );
    let (alerts, rules) = run(
        &mut detector,
        ["/x?1", "/y?1", "/x?2"].map(|path| response("10.1.2.3", 200, path, BEGIN)),
    );
    assert_eq!(rules, [vec!["t"], vec![], vec!["t"]]);
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].severity.score(), 7);
    assert_eq!(alerts[0].message(), b"t: 10.1.2.3");
}
