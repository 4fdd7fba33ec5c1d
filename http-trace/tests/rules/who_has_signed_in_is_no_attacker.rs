//! Consoles, file shares and object stores are used by people who have signed in, with targets that attackers ask for
//! without.

use crate::loads::{Load, check, exchange};

/// Method, target, fields and status of a client outside, and whether that is an attack that was answered.
const SIGNED_IN: &[(&str, &str, &[(&str, &str)], u16, bool)] = &[
    ("POST", "/rest/tinymce/1/macro/preview", &[("cookie", "JSESSIONID=1")], 200, false),
    ("POST", "/rest/tinymce/1/macro/preview", &[], 200, true),
    ("GET", "/elfinder/php/connector.minimal.php?cmd=open", &[("cookie", "sid=1")], 200, false),
    ("POST", "/mgmt/tm/util/bash", &[("authorization", "Basic YTpi")], 200, false),
    ("GET", "/dav/r1/backup.zip", &[("authorization", "Basic YTpi")], 200, false),
    ("LOCK", "/dav/fs/backup.zip", &[], 200, false),
    ("PUT", "/dav/p/.env", &[], 201, false),
    (
        "GET",
        "/proj-0/state/terraform.tfstate",
        &[("authorization", "AWS4-HMAC-SHA256 x")],
        200,
        false,
    ),
    ("GET", "/proj-0/dump.sql?X-Amz-Signature=ab", &[], 200, false),
    // At the root, and programs.
    ("GET", "/backup.zip", &[("authorization", "Basic YTpi")], 200, true),
    ("GET", "/uploads/c99.php", &[("authorization", "Basic YTpi")], 200, true),
    ("PUT", "/x.php", &[], 201, true),
    ("PUT", "/x.jsp/", &[("authorization", "Basic YTpi")], 201, true),
    ("PUT", "/dav/x.php", &[("authorization", "Basic YTpi")], 201, false),
];

#[test]
fn who_has_signed_in_does_not_break_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let events = SIGNED_IN.iter().enumerate().map(|(client, (method, target, fields, status, _))| {
        let fields = fields.iter().chain(&[("host", "h")]);
        let fields: serde_json::Map<String, serde_json::Value> =
            fields.map(|(name, value)| ((*name).to_owned(), serde_json::json!([value]))).collect();
        let event = serde_json::json!({
            "@timestamp": "2026-11-24T10:00:00Z",
            "event": {"kind": "event"},
            "source": {"ip": format!("198.51.0.{client}")},
            "url": {"original": target},
            "http": {"request": {"method": method, "headers": fields}, "response": {"status_code": status}},
        });
        format!("{event}\n")
    });
    std::fs::write(&file, events.collect::<String>()).unwrap();
    let ran = crate::command::run(&["detect", "-o", "json", file.to_str().unwrap()]);
    let alerts = crate::command::records(&ran.out);
    for (client, case) in SIGNED_IN.iter().enumerate() {
        let of = |alert: &&serde_json::Value| {
            alert["http_trace"]["alert"]["clients"][0]["value"] == format!("198.51.0.{client}")
        };
        let mut ids = alerts.iter().filter(of).map(|alert| &alert["rule"]["id"]);
        assert_eq!(ids.any(|id| id == "http-attack-answered"), case.4, "{case:?}");
    }
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// The length of a form, by its password.
fn size(n: usize) -> (&'static str, &'static str) {
    ("content-length", ["410", "412", "415", "419", "423"][n % 5])
}

/// Logins that redirect to a path that is named like a login.
const LOGINS: &[Load] = &[
    ("people who sign in to Moodle", 60, None, |n| {
        let location = format!("https://h/login/index.php?testsession={n}");
        exchange(
            "POST",
            "/login/index.php".into(),
            &[FORM, size(n)],
            303,
            &[("location", &location)],
        )
    }),
    ("people who sign in by CAS", 60, None, |n| {
        let location = format!("https://moodle.example/login/index.php?ticket=ST-{n}-Ab3dE-cas");
        exchange("POST", "/cas/login".into(), &[FORM, size(n)], 302, &[("location", &location)])
    }),
    ("passwords at Moodle", 60, Some("http-login-guessing"), |n| {
        let back = ("location", "https://h/login/index.php");
        exchange("POST", "/login/index.php".into(), &[FORM, size(n)], 303, &[back])
    }),
    ("passwords, with a ticket that comes back", 60, Some("http-login-guessing"), |n| {
        let target = "/login?ticket=ST-1-abc".to_owned();
        let back = ("location", "https://h/login?ticket=ST-1-abc");
        exchange("POST", target, &[FORM, size(n)], 302, &[back])
    }),
    ("passwords, with a place of Moodle's that comes back", 60, Some("http-login-guessing"), |n| {
        let back = ("location", "/login?next=/login/index.php?testsession=1");
        exchange("POST", "/login".into(), &[FORM, size(n)], 302, &[back])
    }),
];

#[test]
fn who_is_let_in_does_not_guess() {
    check(LOGINS);
}
