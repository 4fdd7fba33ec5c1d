//! Detection allocates nothing for an event that matches nothing, and stays within its memory bound.
//! `cargo xtask bench detect` measures its time.

use std::net::IpAddr;

use http_trace_detect::alert::{Alert, State};
use http_trace_detect::rule::Origin;
use http_trace_detect::{Detected, Detector, Settings, builtin, parse};
use http_trace_model::event::HttpEvent;
use http_trace_tests::visitors::{Visitors, ip_of};

fn detector(memory: usize) -> Detector {
    let parsed = parse::parse(&builtin::sources(), &|_| false);
    let settings = Settings { memory, ..Settings::default() };
    Detector::new(parsed.rules, settings)
}

fn with_status(visitors: &mut Visitors, status: u16) -> HttpEvent {
    let mut event = visitors.event(false);
    if let Some(response) = &mut event.response {
        response.status = status;
    }
    event
}

#[test]
fn an_event_that_matches_nothing_allocates_nothing() {
    let mut detector = detector(64 << 20);
    let mut visitors = Visitors::new(11);
    // Statuses that no rule counts against a client. The warm-up covers one-time allocations: numbering the
    // responses of a server after its first, and regular expressions on first use (that for redirects of
    // logins by the first POST that is redirected).
    let mut push = |number: u32, status| {
        let mut event = Box::new(with_status(&mut visitors, status));
        event.client.ip = ip_of(number);
        event.time_ns += u64::from(number) * 1_000_000;
        let mut back = None;
        let counted = allocation_counter::measure(|| {
            detector.push(event, &mut |detected| {
                if let Detected::Event(event) = detected {
                    back = Some(event);
                }
            });
        });
        let event = back.expect("an event comes out at once");
        let target = event.request.as_ref().map(|r| r.target.clone());
        (counted.count_total, event.rules.clone(), target)
    };
    for number in 0..1000 {
        push(number, [302, 304, 307][number as usize % 3]);
    }
    // A redirect may lead to a login, which takes a counter: their table doubles now and then.
    let mut growths = 0;
    for status in [302, 304, 307] {
        for number in 1000..2000 {
            let (allocations, rules, target) = push(number, status);
            if rules.is_empty() {
                // An encoded target is decoded into a buffer that is reused, and grows with the longest.
                let encoded = target.iter().flatten().any(|b| b"%+".contains(b));
                // It counts under the template of its path. One with placeholders is made for it, and may be longer
                // than the path.
                let numbered = target.iter().flatten().any(u8::is_ascii_digit);
                let template = if status != 304 && numbered { 2 } else { 0 };
                let most = u64::from(encoded) + template;
                let growth = u64::from(status != 304 && allocations == most + 1);
                growths += growth;
                assert!(
                    allocations <= most + growth && growths <= 2,
                    "{status}, event {number}: {target:?}: {allocations}"
                );
            } else {
                // A version in Server: a finding about the site, not the client.
                assert!(rules.iter().all(|id| id.starts_with("http-posture-")), "{rules:?}");
            }
        }
    }
}

#[test]
fn a_million_spoofed_clients_stay_within_the_bound_and_hide_no_scanner() {
    const SPOOFED: u32 = 1_000_000;
    const BOUND: usize = 16 << 20;
    /// Memory that does not grow with clients: rules, automata, the sketch, the empty parts of the index, and
    /// a chunk of slots.
    const FIXED: usize = 24 << 20;
    let scanner: IpAddr = "203.0.113.9".parse().expect("an address");
    let mut alerts: Vec<Alert> = Vec::new();
    let mut most_bytes = 0;
    let mut turnover = None;
    let counted = allocation_counter::measure(|| {
        let mut detector = detector(BOUND);
        let mut visitors = Visitors::new(13);
        let template: Vec<HttpEvent> = (0..256).map(|_| visitors.event(true)).collect();
        let is_browser = |event: &&HttpEvent| {
            let request = event.request.as_ref();
            let agent = request.and_then(|request| request.headers.first("user-agent"));
            agent.is_some_and(|agent| agent.ends_with(b"Firefox/145.0"))
        };
        let browser = template.iter().find(is_browser).expect("a browser").clone();
        let mut push = |event: HttpEvent| {
            detector.push(Box::new(event), &mut |detected| {
                if let Detected::Alert(alert) = detected {
                    alerts.push(*alert);
                }
            });
            most_bytes = most_bytes.max(detector.stats().bytes);
        };
        for number in 0..SPOOFED {
            // 10,000 per second, each from its own address.
            let time_ns = Visitors::TIME_NS + u64::from(number) * 100_000;
            let mut event = template[number as usize % template.len()].clone();
            event.client.ip = ip_of(number);
            event.time_ns = time_ns;
            push(event);
            // The scanner begins long after the table is full: ten paths per second.
            if number > SPOOFED / 2 && number.is_multiple_of(1000) {
                let mut event = browser.clone();
                event.client.ip = scanner;
                event.time_ns = time_ns;
                if let Some(request) = &mut event.request {
                    request.target = format!("/backup/{number}.zip").into();
                }
                if let Some(response) = &mut event.response {
                    response.status = 404;
                }
                push(event);
            }
        }
        turnover = Some(detector.stats().turnover);
    });
    let found: Vec<&Alert> =
        alerts.iter().filter(|alert| &*alert.rule.id == "http-path-scan").collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].state == State::Opened && found[0].clients[0].0 == scanner);
    assert!(found[0].under_counted, "it was not admitted at once");
    assert!(most_bytes <= BOUND, "{most_bytes}");
    let peak = counted.bytes_max as usize;
    assert!(peak <= BOUND + BOUND / 4 + FIXED, "{peak}");
    let turnover = turnover.expect("counted");
    assert!(turnover.refused > 0, "{turnover:?}");
}

/// Memory for the lines of a header name grows with the tests of that name, not with all rules.
#[test]
fn many_rules_over_many_names_take_no_more_than_their_share() {
    const NAMES: usize = 1_000;
    const RULES: usize = 10_000;
    const BOUND: u64 = 64 << 20;
    let name = |number: usize| format!("x-name-{}", number % NAMES);
    let text: Vec<String> = (0..RULES)
        .map(|n| {
            let name = name(n);
            format!(
                "title: r{n}\nname: r{n}\nlogsource: {{category: webserver}}\ndetection: \
                 {{s: {{request.header.{name}|contains: value-{n}-}}, condition: s}}\nlevel: low\n"
            )
        })
        .collect();
    let source =
        parse::Source { origin: Origin::File("many.yml".into()), text: text.join("---\n") };
    let parsed = parse::parse(&[source], &|_| false);
    assert_eq!(parsed.rules.rules.len(), RULES, "{:?}", parsed.diagnostics);
    let mut visitors = Visitors::new(17);
    let template = visitors.event(false);
    let events: Vec<Box<HttpEvent>> = (0..40_usize)
        .map(|n| {
            let mut event = Box::new(template.clone());
            if let Some(request) = &mut event.request {
                request.headers = (0..NAMES)
                    .map(|at| {
                        // A new text each time; the last event matches one rule.
                        let value = match (at, n) {
                            (7, 39) => format!("a value-{}-", 3 * NAMES + at),
                            _ => format!("nothing {n}"),
                        };
                        (name(at), value)
                    })
                    .collect();
            }
            event
        })
        .collect();
    let mut counted_for = Vec::new();
    let counted = allocation_counter::measure(|| {
        let mut detector = Detector::new(parsed.rules, Settings::default());
        for event in events {
            detector.push(event, &mut |detected| {
                if let Detected::Event(event) = detected {
                    counted_for.push(event.rules.len());
                }
            });
        }
    });
    assert_eq!((counted_for.iter().sum::<usize>(), counted_for[39]), (1, 1));
    assert!(counted.bytes_max <= BOUND, "{}", counted.bytes_max);
}
