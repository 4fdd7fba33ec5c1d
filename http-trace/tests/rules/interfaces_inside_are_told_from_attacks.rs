//! Interfaces of containers take paths and commands, and searches take names of files. Each such load has an attack
//! beside it that looks almost the same. Internal addresses in a parameter are an attack if there are many.

use crate::alerts_of_events;
use serde_json::json;

const INSIDE: &str = "10.1.1.1";
const OUTSIDE: &str = "198.51.100.7";
const SERVER: &str = "10.0.0.2";

/// What is done, by whom, each target, and what must be raised above informational.
type Load = (&'static str, &'static str, fn(usize) -> String, Option<&'static str>);

fn copied(path: &str) -> String {
    format!("/v1.43/containers/0a1b2c/archive?path={path}")
}

fn executed(query: &str) -> String {
    format!("/api/v1/namespaces/a/pods/web-0/exec?{query}")
}

const LOADS: &[Load] = &[
    ("files of a container", INSIDE, |n| copied(["/etc/hosts", "%2Fetc%2Fpasswd"][n % 2]), None),
    ("the same, from outside", OUTSIDE, |_| copied("/etc/hosts"), Some("http-attack-answered")),
    ("what climbs", INSIDE, |_| copied("/a/../../etc/hosts"), Some("http-attack-answered")),
    (
        "another archive",
        INSIDE,
        |_| "/archive?path=/etc/hosts".into(),
        Some("http-attack-answered"),
    ),
    (
        "commands in a pod",
        INSIDE,
        |n| {
            let command = ["%2Fbin%2Fsh&stdin=true", "sh&command=-c&command=cat+/etc/hosts%3B+id"];
            executed(&format!("command={}&stdout=true", command[n % 2]))
        },
        None,
    ),
    ("from outside", OUTSIDE, |_| executed("command=/bin/sh"), Some("http-attack-answered")),
    ("not its parameter", INSIDE, |_| executed("x=/bin/sh"), Some("http-attack-answered")),
    (
        "one search for a file",
        OUTSIDE,
        |n| ["/search?q=%2Fetc%2Fpasswd&lang=en", "/search?q=tea"][n.min(1)].into(),
        None,
    ),
    ("no search", OUTSIDE, |_| "/page.php?q=/etc/passwd".into(), Some("http-attack-answered")),
    ("not its text", OUTSIDE, |_| "/search?file=/etc/passwd".into(), Some("http-attack-answered")),
    (
        "a search for what climbs",
        OUTSIDE,
        |_| "/search?q=../../etc/passwd".into(),
        Some("http-attack-answered"),
    ),
    (
        "the server itself",
        INSIDE,
        |_| "/camera?url=http://127.0.0.1:1984/".into(),
        Some("http-attack-answered"),
    ),
    (
        "a metadata service",
        INSIDE,
        |_| "/fetch?url=http://169.254.169.254/latest/".into(),
        Some("http-attack-answered"),
    ),
    (
        "one port after another",
        INSIDE,
        |n| format!("/fetch?url=http://127.0.0.1:{n}/"),
        Some("http-attack-answered"),
    ),
    (
        "one host after another",
        INSIDE,
        |n| format!("/fetch?url=http://192.168.1.{n}/"),
        Some("http-ssrf-targets"),
    ),
    (
        "tables that somebody sorts",
        OUTSIDE,
        |n| {
            let query = format!("SELECT+%2A+FROM+%60users%60+ORDER+BY+%60users%60.%60c{n}%60+ASC");
            format!(
                "/pma/index.php?route=/sql&db=a&table=users&sql_query={query}&sql_signature=0a1b&ajax_request=true"
            )
        },
        None,
    ),
    (
        "rows that somebody looks for",
        OUTSIDE,
        |n| {
            let query = format!(
                "SELECT%20%2A%0AFROM%20%60users%60%0AWHERE%20%60c{n}%60%20%3D%20%275%27%0ALIMIT%2050"
            );
            format!("/adminer.php?server=db&username=a&db=shop&sql={query}")
        },
        None,
    ),
    (
        "a query in what is no whole value",
        OUTSIDE,
        |n| format!("/item.php?sort=up&id=1%20and%20{n}=(select%20count(*)%20from%20users)&x=1"),
        Some("http-sql-injection"),
    ),
    (
        "one beside a whole value",
        OUTSIDE,
        |n| format!("/item.php?query=select+a+from+b&id=1'+order+by+{n}--+-"),
        Some("http-sql-injection"),
    ),
    (
        "services of the house, as a start page checks them",
        INSIDE,
        |n| format!("/status-check?&url=http%3A%2F%2F192.168.1.10%3A80{n:02}%2F"),
        None,
    ),
    (
        "the same, from outside",
        OUTSIDE,
        |n| format!("/status-check?&url=http%3A%2F%2F192.168.1.10%3A80{n:02}%2F"),
        Some("http-attack-answered"),
    ),
    ("probes of an exporter", INSIDE, |n| format!("/probe?target=http://10.2.2.{n}/"), None),
];

#[test]
fn each_load_raises_its_alert_or_none() {
    for (what, client, target, expected) in LOADS {
        // An attack is told by its first request, or by twenty.
        let events = (0..20).map(|n| {
            json!({
                "@timestamp": format!("2026-11-24T10:00:{n:02}Z"),
                "event": {"kind": "event"},
                "http_trace": {"missing": []},
                "source": {"ip": client},
                "destination": {"ip": SERVER, "port": 80},
                "url": {"original": target(n)},
                "http": {"request": {"method": "GET"}, "response": {"status_code": 200}},
            })
        });
        let raised = alerts_of_events(&events.collect::<Vec<_>>());
        match expected {
            Some(rule) => assert!(raised.iter().any(|id| id == rule), "{what}: {raised:?}"),
            None => assert!(raised.is_empty(), "{what}: {raised:?}"),
        }
    }
}
