use std::sync::Arc;

use super::*;
use http_trace_model::process::{Container, Pod, Workload};
use http_trace_samples as testing;

#[test]
fn either_end_is_chosen_by_its_process_or_container() {
    let mut event = testing::event();
    let process = |pid, name: &str, id: &str| {
        let container = (!id.is_empty()).then(|| Container {
            id: id.into(),
            name: Some("web".into()),
            ..Container::default()
        });
        let pod = (pid == 8).then(|| Pod {
            uid: "u1".into(),
            name: Some("web-7f".into()),
            namespace: Some("shop".into()),
            ..Pod::default()
        });
        Some(Arc::new(Process {
            pid,
            name: Some(name.into()),
            workload: Workload { container, pod, ..Workload::default() },
            ..Process::default()
        }))
    };
    event.client_process = process(7, "curl", "");
    event.server_process = process(8, "nginx", "3f5a77");
    let choice = |text: &str| {
        let (not, text) = http_trace_model::value::negated(text);
        Choice(vec![(not, Pattern::parse(text, false).expect("a pattern"))])
    };
    for (process, container, expected) in [
        ("*", "*", true),
        ("curl", "*", true),
        ("ng*", "3f5a*", true),
        ("8", "3f5a77", true),
        ("ngin", "*", false),
        ("*", "3f5a", false),
        ("!curl", "*", false),
        ("!python*", "!4*", true),
        ("*", "web", true),
        ("*", "!web", false),
    ] {
        let selection = Selection {
            process: choice(process),
            container: choice(container),
            ..Selection::default()
        };
        assert_eq!(selection.admits(&event), expected, "{process} {container}");
    }
    for (pod, namespace, expected) in [
        ("web-*", "shop", true),
        ("u1", "*", true),
        ("web", "*", false),
        ("*", "default", false),
        ("*", "!shop", false),
    ] {
        let selection =
            Selection { pod: choice(pod), namespace: choice(namespace), ..Selection::default() };
        assert_eq!(selection.admits(&event), expected, "{pod} {namespace}");
    }
    let anybody = Selection { process: choice("*"), ..Selection::default() };
    assert!(!anybody.admits(&testing::event()), "nobody is known");
}

#[test]
fn status_lists() {
    for (text, expected) in [
        ("404", Some((404, 404))),
        ("5xx", Some((500, 599))),
        ("9XX", Some((900, 999))),
        ("400-499", Some((400, 499))),
        ("099", None),
        ("0xx", None),
        ("1000", None),
        ("6x", None),
        ("xx", None),
        ("499-400", None),
        ("+12", None),
        ("", None),
    ] {
        let got = Statuses::parse(text).ok().map(|s| (s.first, s.last));
        assert_eq!(got, expected, "{text:?}");
    }
}

/// Builds a selection from command-line options.
fn selection(options: &[&str]) -> Selection {
    let words = ["http-trace", "-r", "x"].into_iter().chain(options.iter().copied());
    crate::config::testing::config(words).selection()
}

#[test]
fn any_value_of_an_option_all_options_and_exclusions_win() {
    // GET http://shop.example/cart/7?x=1, curl/8.5.0 → 404, text/html, after 1 ms
    let event = testing::event();
    for (options, expected) in [
        (&[][..], true),
        (&["--status", "404"], true),
        (&["--status", "200,4xx"], true),
        (&["--status", "5xx"], false),
        (&["--status", "!404"], false),
        (&["--status", "4xx,!404"], false),
        (&["--status", "!5xx"], true),
        (&["--status", "1xx"], false),
        (&["--method", "get"], true),
        (&["--method", "POST,PUT"], false),
        (&["--method", "!GET"], false),
        (&["--host", "*.EXAMPLE"], true),
        (&["--host", "{a,shop}.example"], true),
        (&["--host", "shop.example:80"], false),
        (&["--host", "!shop.*"], false),
        (&["--path", "/cart/*"], true),
        (&["--path", "/cart/?"], true),
        (&["--path", "/cart"], false),
        (&["--path", "*x=1*"], false),
        (&["--path", "!/healthz"], true),
        (&["--path", "/*", "--path", "!/cart/*"], false),
        (&["--user-agent", "curl*"], true),
        (&["--user-agent", "!kube-probe*"], true),
        (&["--user-agent", "!CURL*"], false),
        (&["--header", "content-type=text/*"], true),
        (&["--header", "Accept=*"], true),
        (&["--header", "content-type=image/*"], false),
        (&["--header", "!content-type=*"], false),
        (&["--min-latency", "1ms"], true),
        (&["--min-latency", "1.1ms"], false),
        (&["--min-latency", "!1ms"], false),
        (&["--status", "404", "--method", "POST"], false),
        (&["--status", "404", "--path", "/cart/*", "--host", "shop.example"], true),
    ] {
        assert_eq!(selection(options).admits(&event), expected, "{options:?}");
    }
}

#[test]
fn a_sample_is_of_its_size_and_the_same_each_time() {
    let selection = selection(&["--sample", "2xx=10%,404=0%,4xx=100%"]);
    let mut event = testing::event();
    assert!(!selection.samples(&event), "404 comes first");
    for (status, expected) in [(403, 10_000..=10_000), (204, 900..=1_100), (500, 10_000..=10_000)] {
        event.response.as_mut().expect("a response").status = status;
        let count = (1..=10_000_u64).filter(|n| {
            event.id = *n;
            let first = selection.samples(&event);
            assert_eq!(selection.samples(&event), first);
            first
        });
        let count = count.count();
        assert!(expected.contains(&count), "{status}: {count}");
    }
    event.response = None;
    assert!(selection.samples(&event));
    for wrong in ["2xx", "2xx=1", "2xx=101%", "2xx=-1%", "xx=1%", "2xx=NaN%"] {
        assert!(Sample::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_may_be_meant_is_said_of_patterns_without_wildcard() {
    for (options, expected) in [
        (&["--path", "/api"][..], Some("did you mean '/api*'?")),
        (&["--path", "api"], Some("did you mean '*api*'?")),
        (&["--path", "/a?x=1"], Some("without the query")),
        (&["--host", "example"], Some("did you mean '*example*'?")),
        (&["--user-agent", "curl"], Some("did you mean 'curl*'?")),
        (&["--header", "accept=text"], Some("did you mean 'text*'?")),
        (&["--path", "!/api"], None),
        (&["--path", "/api/*", "--host", "{a,b}.c"], None),
        (&["--status", "404"], None),
    ] {
        let hints = selection(options).hints("--", ": ");
        assert_eq!(hints.len(), usize::from(expected.is_some()), "{hints:?}");
        assert!(hints.iter().all(|h| h.contains(expected.unwrap_or_default())));
    }
}

#[test]
fn informational_heads_select_and_never_hide_their_final_response() {
    let mut event = testing::event();
    event.informational.push(testing::response("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"));
    for (options, expected) in [
        (["--status", "1xx"], true),
        (["--status", "103"], true),
        (["--status", "100"], false),
        (["--status", "!1xx"], true),
        (["--header", "link=*"], true),
    ] {
        assert_eq!(selection(&options).admits(&event), expected, "{options:?}");
    }
    event.response = None;
    assert!(selection(&["--status", "1xx"]).admits(&event));
    assert!(!selection(&["--status", "!1xx"]).admits(&event));
}

#[test]
fn what_is_not_known_matches_nothing() {
    let mut event = testing::event();
    event.request = None;
    event.request_end_ns = None;
    for (options, expected) in [
        (["--method", "GET"], false),
        (["--method", "!GET"], true),
        (["--path", "*"], false),
        (["--path", "!*"], true),
        (["--host", "*"], false),
        (["--min-latency", "1ns"], false),
    ] {
        assert_eq!(selection(&options).admits(&event), expected, "{options:?}");
    }
}

/// A run that only counts events names processes only if a filter uses them.
#[test]
fn each_choice_of_processes_is_one() {
    let choice = || Choice(vec![(false, Pattern::parse("x", false).expect("a pattern"))]);
    let none = Selection::default();
    assert!(!none.chooses_processes());
    for choose in [
        |s: &mut Selection, p| s.process = p,
        |s: &mut Selection, p| s.container = p,
        |s: &mut Selection, p| s.pod = p,
        |s: &mut Selection, p| s.namespace = p,
    ] {
        let mut selection = Selection::default();
        choose(&mut selection, choice());
        assert!(selection.chooses_processes());
    }
}
