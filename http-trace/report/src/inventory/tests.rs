use std::sync::Arc;

use super::*;
use http_trace_model::endpoint::KnownEndpoints;
use http_trace_samples as testing;

fn event(line: &str, headers: &str, status: u16) -> HttpEvent {
    testing::event_of(
        testing::request(&format!("{line} HTTP/1.1\r\nHost: Shop.example\r\n{headers}\r\n")),
        testing::response(&format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n")),
    )
}

fn endpoints(report: &Report) -> Vec<(String, u64)> {
    let rows = report.endpoints.iter();
    rows.map(|row| (format!("{} {} {}", row.method, row.service, row.template), row.hits)).collect()
}

#[test]
fn endpoints_are_templates_that_answer() {
    let mut inventory = Inventory::new(Options::default());
    for (line, status) in [
        ("GET /cart/1", 200),
        ("GET /cart/2?x=1", 200),
        ("GET /cart/3", 404),
        ("POST /cart/3", 500),
        ("GET /.env", 404),
        ("GET /admin", 403),
        ("GET /login", 401),
    ] {
        inventory.event(&event(line, "", status));
    }
    let report = inventory.report();
    let expected = [
        ("GET shop.example /cart/{id}", 3),
        ("POST shop.example /cart/{id}", 1),
        ("GET shop.example /login", 1),
    ];
    let expected: Vec<_> = expected.map(|(name, hits)| (name.to_owned(), hits)).into();
    assert_eq!(endpoints(&report), expected);
    assert_eq!(report.services.len(), 1);
    assert_eq!((report.events, report.services[0].hits), (7, 7));
    let row = &report.endpoints[0];
    assert_eq!(row.statuses, [("200".to_owned(), 2), ("404".to_owned(), 1)].into());
    assert!(row.has_answered() && !report.endpoints[2].has_answered());
    assert_eq!(report.endpoints[1].failed, 1);
}

#[test]
fn sizes_are_the_total_and_the_mean_of_known_bodies() {
    let mut inventory = Inventory::new(Options::default());
    for size in [Some(100), Some(301), None] {
        let mut event = event("GET /a", "", 200);
        event.body_bytes = size;
        inventory.event(&event);
    }
    let report = inventory.report();
    for row in report.endpoints.iter().chain(&report.services) {
        assert_eq!((row.hits, row.body_bytes, row.mean_body_bytes), (3, Some(401), Some(200)));
    }
    assert!(crate::tables::markdown(&report).contains("| mean size |"));
}

#[test]
fn who_invents_hosts_and_paths_makes_neither_services_nor_endpoints() {
    let mut inventory = Inventory::new(Options::default());
    for n in 0..100_000_u32 {
        let request = format!("GET /{n}x HTTP/1.1\r\nHost: h{n}\r\n\r\n");
        let status = if n % 2 == 0 { 404 } else { 200 };
        let response = testing::response(&format!("HTTP/1.1 {status} x\r\n\r\n"));
        inventory.event(&testing::event_of(testing::request(&request), response));
    }
    let report = inventory.report();
    assert_eq!(report.services.len(), SERVICES);
    assert_eq!(report.events, 100_000);
    let told: u64 = report.services.iter().map(|row| row.hits).sum();
    assert_eq!(told + report.left_out.services, 100_000);

    let mut inventory = Inventory::new(Options::default());
    for n in 0..5000_u32 {
        inventory.event(&event(&format!("GET /p{n}x"), "", 200));
    }
    let report = inventory.report();
    assert_eq!(report.endpoints.len(), ENDPOINTS + 1);
    assert_eq!(report.endpoints[0].template, OTHER);
    assert_eq!(report.endpoints[0].hits, report.left_out.endpoints);
}

/// Whatever paths clients made up before.
#[test]
fn endpoints_that_the_user_names_are_told_apart_beyond_the_bound() {
    let mut options = Options::default();
    options.endpoints.templates = Templates::new(&["/people/{name}".to_owned()]);
    let mut inventory = Inventory::new(options);
    for n in 0..2 * ENDPOINTS {
        inventory.event(&event(&format!("GET /p{n}x"), "", 200));
    }
    for n in 0..2 * OWN_ENDPOINTS {
        inventory.event(&event(&format!("GET /people/{n}x"), "", 200));
        inventory.event(&event(&format!("M{n} /people/a"), "", 200));
    }
    let report = inventory.report();
    assert_eq!(report.endpoints.len(), ENDPOINTS + OWN_ENDPOINTS + 1);
    let people = |row: &&Row| (&*row.method, &*row.template) == ("GET", "/people/{name}");
    let people = report.endpoints.iter().find(people).map(|row| row.hits);
    assert_eq!(people, Some(2 * OWN_ENDPOINTS as u64));
}

/// As it is read again from where it was kept: in any order, the common one first.
#[test]
fn the_common_endpoint_takes_no_room_from_others() {
    let mut counted = Inventory::new(Options::default());
    counted.event(&event("GET /a", "", 200));
    let tally = &counted.services["shop.example"].all;
    let mut inventory = Inventory::new(Options::default());
    let mut join = |method: &str, template: &str| {
        let endpoint = (method.to_owned(), template.to_owned());
        inventory.join_tally("shop.example".to_owned(), Some(endpoint), tally);
    };
    join("*", OTHER);
    for n in 0..ENDPOINTS {
        join("GET", &format!("/p{n}"));
    }
    let report = inventory.report();
    assert_eq!(report.endpoints.len(), ENDPOINTS + 1);
    assert_eq!(report.left_out.endpoints, 0);
    assert!(report.endpoints.iter().all(|row| row.hits == 1));
}

#[test]
fn links_that_lead_nowhere_are_told_with_where_they_are() {
    let mut inventory = Inventory::new(Options::default());
    let referrer = "Referer: http://shop.example/old\r\n";
    for _ in 0..3 {
        inventory.event(&event("GET /gone", referrer, 404));
    }
    inventory.event(&event("GET /gone", "", 404));
    let report = inventory.report();
    assert_eq!(report.broken_links.len(), 1);
    let row = &report.broken_links[0];
    let link = &row.link;
    assert_eq!((&link.path[..], row.count), ("/gone", 3));
    assert_eq!(link.referrer, "http://shop.example/old");
}

#[test]
fn what_is_known_is_told_from_what_is_not_and_what_did_not_come_for_long() {
    let shown = Options::default().shown;
    let known = KnownEndpoints::parse("GET shop.example /cart/{id}", shown).expect("a list");
    let mut inventory = Inventory::new(Options {
        endpoints: Endpoints { known: Some(Arc::new(known)), ..Endpoints::default() },
        unseen_ns: Some(1_000_000_000),
        ..Options::default()
    });
    let mut late = event("GET /new", "", 200);
    late.time_ns += 2_000_000_000;
    inventory.event(&event("GET /cart/1", "", 200));
    inventory.event(&late);
    let report = inventory.report();
    let told = |row: &Row| (row.template.clone(), row.known, row.unseen);
    let mut rows: Vec<_> = report.endpoints.iter().map(told).collect();
    rows.sort();
    let expected =
        [("/cart/{id}".to_owned(), Some(true), true), ("/new".to_owned(), Some(false), false)];
    assert_eq!(rows, expected);
}
