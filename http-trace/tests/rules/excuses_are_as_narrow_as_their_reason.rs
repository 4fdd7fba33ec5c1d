//! Each excuse of the built-in rules holds for what it is made for, and not for an attack that dresses so.

use serde_json::json;

use crate::routine_lines_of_logs_are_no_attacks::{BROWSER, Load, PAGE, check, get, word};
use crate::{alerts_of_events, alerts_of_log, log_line};

/// Of names with a digit, only those that a build makes are parts of one.
const LOADS: &[Load] = &[
    (
        "suggestions while somebody types a search",
        1,
        17,
        |n| {
            let typed = "sleep(5) in python"[..n + 1].replace(' ', "%20");
            let target = format!("/w/api.php?action=opensearch&search={typed}&namespace=0");
            ("GET", target, 200, PAGE, "-", BROWSER)
        },
        None,
    ),
    (
        "an attack where suggestions are asked for",
        1,
        17,
        |n| {
            let target = format!("/w/api.php?action=opensearch&search=a'%20union%20select%20{n}--");
            ("GET", target, 200, PAGE, "-", BROWSER)
        },
        Some("http-attack-attempts"),
    ),
    (
        "libraries by their versions",
        5,
        60,
        |n| get(format!("{}/js/jquery-{}.12.4.min.js", word(n), n % 9), 404),
        Some("http-path-scan"),
    ),
    (
        "programs by numbers",
        5,
        60,
        |n| get(format!("{}/js/app-config{}.js", word(n), n % 9), 404),
        Some("http-path-scan"),
    ),
    (
        "a newspaper that shuts some countries out",
        5,
        60,
        |n| get(format!("/politics{}", word(n)), 451),
        None,
    ),
    (
        "versions that are marks of deletion",
        5,
        60,
        |n| get(format!("/bucket{}?versionId=3HL4kq{n}", word(n)), 405),
        None,
    ),
    (
        "a form that has expired, behind one address",
        5,
        40,
        |n| {
            let target = format!("/realms/x/login-actions/authenticate?execution=a{n}");
            ("POST", target, [400, 302][n % 2], PAGE, "-", BROWSER)
        },
        None,
    ),
    (
        "a game whose players are told to wait",
        1,
        60,
        |_| ("POST", "/v2/client/authenticate".into(), 429, "-", "-", "game/1.0"),
        None,
    ),
    (
        "texts of plugins, under the site's address as WPScan sends it",
        2,
        20,
        |n| {
            let target = format!("/wp-content/plugins/p{n}/readme.txt");
            ("GET", target, [200, 301][n % 2], "http://shop.example/", "-", BROWSER)
        },
        Some("http-plugin-enumeration"),
    ),
    (
        "a copy of a site, uploaded",
        2,
        40,
        |n| {
            let target = format!("/wp-content/plugins/p{n}/readme.txt");
            ("PUT", target, 201, "-", "bob", "rclone/v1.68.1")
        },
        None,
    ),
    (
        "a copy of a site, below a folder of files",
        2,
        40,
        |n| {
            let target = format!("/remote.php/dav/files/bob/wp-content/plugins/p{n}/readme.txt");
            ("GET", target, 200, "-", "bob", "Mozilla/5.0 (Linux) mirall/3.14")
        },
        None,
    ),
    (
        "results of tests, sent to TestLink",
        3,
        36,
        |_| ("POST", "/testlink/lib/api/xmlrpc/v1/xmlrpc.php".into(), 200, "-", "-", "tests/1.0"),
        None,
    ),
    (
        "records of a program that one path asks for, by who works with it",
        2,
        60,
        |n| {
            let page = ["ticket", "invoice", "customer"][n % 3];
            let target = format!("/index.php?page={page}&id={}", 1000 + n * 7);
            let from = "https://crm.example/index.php?page=list";
            ("GET", target, if n % 11 == 0 { 404 } else { 200 }, from, "-", BROWSER)
        },
        None,
    ),
    (
        "admin pages by the names that they have had",
        10,
        4,
        |n| {
            let pages = [
                "/administrator.php", "/administrator/login.php", "/druid/basic.json",
                "/actuator;/env",
            ];
            get(pages[n].into(), 404)
        },
        Some("http-probing"),
    ),
    (
        "panels by their versions",
        10,
        4,
        |n| get(format!("/phpmyadmin-4-{n}-0-1/"), 404),
        Some("http-probing"),
    ),
    (
        "leftovers of panels and secrets",
        10,
        4,
        |n| {
            let left = ["/pma-old/", "/telescope/logs", "/secrets.tar.gz", "/credentials/aws"];
            get(left[n].into(), 404)
        },
        Some("http-probing"),
    ),
];

#[test]
fn each_load_raises_its_alert_or_none() {
    check(LOADS);
}

#[test]
fn one_request_that_is_answered_is_told_or_excused() {
    for (request, is_told) in [
        (("GET", "/index.php?username[$ne]=a"), true),
        (("GET", "/?username[$regex]=^adm"), true),
        (("GET", "/users?email[$regex]=^a"), false),
        (("GET", "/zabbix.php?file=/etc/passwd"), true),
        (("GET", "/www/delivery/lg.php?loc=x&dest=http://127.0.0.1:6379/"), true),
        (("GET", "/www/delivery/lg.php?loc=http%3A%2F%2F127.0.0.1%3A3000%2F&cb=1"), false),
        (("GET", "/truststore.jks"), false),
        (("GET", "/server-keystore.jks"), true),
        (("GET", "/cvs/repository"), false),
        (("GET", "/project/CVS/Root"), true),
    ] {
        let log = log_line(1, 0, request, 200, BROWSER).replace(" 200 50 ", " 200 5000 ");
        let alerts = alerts_of_log(&log).remove(&1).unwrap_or_default();
        let told = alerts.iter().any(|(rule, _)| rule == "http-attack-answered");
        assert_eq!(told, is_told, "{request:?}: {alerts:?}");
    }
    // The builder asks for each element that its page shows.
    let line = log_line(1, 0, ("POST", "/wp-json/bricks/v1/render_element"), 200, BROWSER);
    let of_builder = line.replace("\"-\" \"M", "\"https://shop.example/?bricks=run\" \"M");
    let alerts = alerts_of_log(&line).remove(&1).unwrap_or_default();
    assert!(alerts.iter().any(|(rule, _)| rule == "http-attack-answered"), "{alerts:?}");
    assert_eq!(alerts_of_log(&of_builder).len(), 0);
}

/// Events of one client, three a second: method, target, status, what the client sent, what it got, and the server.
fn told(
    count: usize,
    of: &dyn Fn(usize) -> (String, u16, serde_json::Value, serde_json::Value, usize),
) -> Vec<String> {
    let events = (0..count).map(|n| {
        let (target, status, sent, got, server) = of(n);
        json!({
            "@timestamp": format!("2026-11-24T10:{:02}:{:02}Z", n / 180, n / 3 % 60),
            "event": {"kind": "event"},
            "http_trace": {"missing": []},
            "source": {"ip": "10.9.9.9"},
            "destination": {"ip": format!("10.0.0.{server}"), "port": 80},
            "url": {"original": target},
            "http": {
                "request": {"method": "GET", "headers": sent},
                "response": {"status_code": status, "headers": got},
            },
        })
    });
    alerts_of_events(&events.collect::<Vec<_>>())
}

#[test]
fn a_login_for_everything_hides_no_wordlist_and_accuses_no_program() {
    let none = json!({});
    let refused = |sent: serde_json::Value, target: &dyn Fn(usize) -> String| {
        told(240, &|n| (target(n), 401, sent.clone(), json!({}), 2))
    };
    let words = |n| format!("/api/v1{}", word(n));
    assert_eq!(refused(none.clone(), &words), ["http-paths-to-login-folder"]);
    for sent in [json!({"private-token": ["x"]}), json!({"apikey": ["x"]})] {
        assert_eq!(refused(sent, &words), [""; 0]);
    }
    assert_eq!(refused(none, &|n| format!("/api{}?private_token=x", word(n))), [""; 0]);
    let pip = json!({"user-agent": ["pip/24.2"]});
    assert_eq!(refused(pip.clone(), &|n| format!("/simple/package{}/", &word(n)[1..])), [""; 0]);
    assert_eq!(refused(pip, &words), ["http-paths-to-login-folder"]);
    let crawler =
        json!({"user-agent": ["Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)"]});
    assert_eq!(refused(crawler, &words), [""; 0]);
    // Refused without an account, then answered with it, whatever the answer.
    let with_account = |n: usize| {
        let target = format!("/maven{}", word(n / 2));
        match n % 2 {
            0 => (target, 401, json!({}), json!({}), 2),
            _ => (target, 304, json!({"authorization": ["Digest a"]}), json!({}), 2),
        }
    };
    assert_eq!(told(600, &with_account), [""; 0]);
}

#[test]
fn a_made_up_account_and_a_number_hide_no_wordlist() {
    let sent = json!({"authorization": ["Basic eDp4"]});
    let got = json!({"content-type": ["application/json"]});
    let told = |target: &dyn Fn(usize) -> String| {
        told(120, &|n| (target(n), 404, sent.clone(), got.clone(), 2))
    };
    assert_eq!(told(&|n| format!("/api{}/10", word(n))), ["http-path-scan-numbered"]);
    assert_eq!(told(&|n| format!("/{}/10/status", &word(n)[1..])), ["http-path-scan-numbered"]);
    let kinds = ["devices", "users", "rooms"];
    assert_eq!(told(&|n| format!("/api/{}/{}", kinds[n % 3], 4000 + n)), [""; 0]);
}

#[test]
fn one_password_tried_on_all_cameras_is_told() {
    let told = |agent: &str| {
        let sent = json!({"authorization": ["Basic YTpi"], "user-agent": [agent]});
        let got = json!({"content-type": ["image/jpeg"]});
        told(40, &|n| ("/snapshot.jpg".into(), 200, sent.clone(), got.clone(), n + 1))
    };
    assert_eq!(told("python-requests/2.31"), ["http-server-sweep"]);
    assert_eq!(told("Recorder/4.1"), [""; 0]);
}

#[test]
fn a_log_that_begins_as_an_archive_might_is_read() {
    let filler = "a".repeat(257 - "198.51.0.1 - - [22/Nov/2026:10:00:00 +0000] \"GET /".len());
    let first = log_line(1, 0, ("GET", &format!("/{filler}ustar")), 404, BROWSER);
    assert_eq!(&first[257..262], "ustar");
    let shells =
        (0..15).map(|n| log_line(1, 5 * n, ("GET", &format!("/wp-{n}.php")), 404, BROWSER));
    let log: String = std::iter::once(first).chain(shells).collect();
    assert!(alerts_of_log(&log).contains_key(&1));
}
