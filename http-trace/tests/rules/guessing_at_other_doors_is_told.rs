//! Passwords, cards and codes are guessed at gateways, in queries, from many addresses and slowly, and so are targets of
//! attacks looked for. Who works with the same doors raises nothing above informational.

use crate::routine_lines_of_logs_are_no_attacks::{BROWSER, Line, Load, PAGE, check, get, word};
use crate::{alerts_of_log, log_line};

const GATES: &[&str] = &[
    "/remote/logincheck",
    "/owa/auth.owa",
    "/+webvpn+/index.html",
    "/RDWeb/Pages/en-US/login.aspx",
    "/administrator/index.php",
    "/dana-na/auth/url_default/login.cgi",
    "/login_up.php",
];

fn post(target: &str, status: u16, referrer: &'static str) -> Line {
    ("POST", target.into(), status, referrer, "-", BROWSER)
}

const LOADS: &[Load] = &[
    (
        "an office that signs in to its mail in the morning",
        3,
        100,
        |_| post("/owa/auth.owa", 302, "https://mail.example/owa/auth/logon.aspx"),
        None,
    ),
    (
        "a client of a gateway that reconnects each minute",
        60,
        100,
        |_| post("/remote/logincheck", 200, "-"),
        None,
    ),
    (
        "passwords for phpMyAdmin, in queries",
        2,
        40,
        |n| {
            let target = format!("/pma/index.php?pma_username=root&pma_password=p{n}&server=1");
            ("GET", target, 200, "-", "-", BROWSER)
        },
        Some("http-login-guessing-query"),
    ),
    (
        "an application that signs in with one password",
        2,
        40,
        |_| {
            let target = "/webapi/auth.cgi?api=SYNO.API.Auth&account=a&passwd=b&format=cookie";
            ("GET", target.into(), 200, "-", "-", "DS file")
        },
        None,
    ),
    ("cards, one after another", 6, 30, |_| post("/checkout/payment", 402, "-"), {
        Some("http-card-testing")
    }),
    (
        "a shop whose customers mistype",
        6,
        60,
        |n| post("/checkout/payment", [200, 200, 200, 402][n % 4], "-"),
        None,
    ),
    ("mailboxes filled with codes", 2, 90, |_| post("/api/send-otp", 200, "-"), {
        Some("http-reset-flood")
    }),
    ("who has forgotten a password", 60, 30, |_| post("/forgot-password", 200, "-"), None),
    (
        "people behind one address, of whom one in eight mistypes",
        2,
        400,
        |n| post("/api/auth/login", if n % 8 == 0 { 401 } else { 200 }, PAGE),
        None,
    ),
    (
        "passwords, of which none is right",
        2,
        40,
        |_| post("/api/auth/login", 401, PAGE),
        Some("http-brute-force"),
    ),
    (
        "measurements sent with an old key",
        1,
        400,
        |_| ("POST", "/loki/api/v1/push".into(), 401, "-", "-", "promtail/2.9.4"),
        None,
    ),
    (
        "passwords at the same door",
        1,
        400,
        |_| ("POST", "/loki/api/v1/push".into(), 401, "-", "-", "curl/8.5.0"),
        Some("http-brute-force-logged"),
    ),
    (
        "a page that stays open",
        1,
        400,
        |_| ("GET", "/api/catalog/items".into(), 401, PAGE, "-", BROWSER),
        None,
    ),
    ("a WebSocket that is opened again", 1, 400, |_| get("/app/ws".into(), 401), None),
    (
        "links whose tokens have expired, opened by a mail gateway",
        5,
        60,
        |n| get(format!("/c/6EfkaQsj4DQHZ6GWoOgpSM0GoqdTnUnl{n}"), 404),
        None,
    ),
    (
        "words of the same length",
        5,
        60,
        |n| get(format!("/c/averylongwordwithoutanycapitalletter{n}"), 404),
        Some("http-path-scan"),
    ),
    (
        "values without a name",
        5,
        60,
        |n| get(format!("/p?MzFiY2EwMjA5NGViNzgxMjZhNTE3YjIwNmE4OGM3M2Nm{n}=="), 200),
        None,
    ),
    (
        "names of parameters",
        5,
        60,
        |n| get(format!("/p?{}=1", &word(n)[1..]), 200),
        Some("http-parameter-fuzzing"),
    ),
    (
        "texts that are to be spoken",
        5,
        60,
        |n| get(format!("/tts?ssml=%3Cspeak%3E%3Cp%3E{n}%3C/p%3E%3C/speak%3E"), 200),
        None,
    ),
    (
        "sessions of SockJS",
        5,
        60,
        |n| {
            let letters = n * 7919 % 99_999;
            get(format!("/ws/{:03}/abc{letters:05}/websocket", n * 7 % 1000), 400)
        },
        None,
    ),
    ("domains that nobody has", 5, 60, |n| get(format!("/rdap/domain/name{n}.example"), 404), None),
    (
        "a wordlist below the same folder",
        5,
        60,
        |n| get(format!("/rdap/domain{}", word(n)), 404),
        Some("http-path-scan"),
    ),
    (
        "programs of Koha, for a record that is gone",
        10,
        5,
        |n| {
            let program = ["detail", "MARCdetail", "ISBDdetail", "showmarc", "export"][n];
            get(format!("/cgi-bin/koha/opac-{program}.pl?biblionumber=7"), 404)
        },
        None,
    ),
];

#[test]
fn each_load_raises_its_alert_or_none() {
    check(LOADS);
}

#[test]
fn what_is_slow_adds_up() {
    let targets = [
        "/.env",
        "/.git/config",
        "/.aws/credentials",
        "/wp-config.php.bak",
        "/id_rsa",
        "/vendor/phpunit/src/Util/PHP/eval-stdin.php",
        "/.svn/entries",
        "/.htpasswd",
        "/dump.sql",
        "/phpinfo.php",
    ];
    let rules = |seconds: usize,
                 count: usize,
                 of: &dyn Fn(usize) -> (&'static str, &'static str, u16)| {
        let lines = (0..count).map(|n| {
            let (method, target, status) = of(n);
            let at = n * seconds;
            let hour = format!("Nov/2026:{:02}:", at / 3600);
            log_line(1, at % 3600, (method, target), status, BROWSER).replace("Nov/2026:10:", &hour)
        });
        let alerts = alerts_of_log(&lines.collect::<String>()).into_values().flatten();
        let above = alerts.filter(|(_, severity)| *severity > 0);
        above.map(|(rule, _)| rule).collect::<Vec<_>>()
    };
    assert_eq!(rules(1800, 10, &|n| ("GET", targets[n], 404)), ["http-attacks-slow"]);
    assert_eq!(rules(1800, 10, &|n| ("GET", targets[n % 3], 404)), [""; 0]);
    assert_eq!(rules(60, 200, &|_| ("POST", "/xmlrpc.php", 200)), ["http-brute-force-slow"]);
}

#[test]
fn passwords_are_guessed_at_each_gate() {
    for gate in GATES {
        for (referrer, is_told) in [("-", true), ("https://gate.example/page", false)] {
            let line = log_line(1, 0, ("POST", gate), 200, BROWSER);
            let line = line.replace("\"-\" \"M", &format!("\"{referrer}\" \"M"));
            let log: String =
                (0..50).map(|n| line.replace("10:00:00", &format!("10:00:{n:02}"))).collect();
            let alerts = alerts_of_log(&log).remove(&1).unwrap_or_default();
            let told = alerts.iter().any(|(rule, _)| rule == "http-login-guessing-gate");
            assert_eq!(told, is_told, "{gate}: {alerts:?}");
        }
    }
}

/// Logs of IIS have no lengths unless they are asked for.
#[test]
fn passwords_are_guessed_at_a_gate_whose_log_has_no_lengths() {
    for (target, referrer, is_told) in [
        ("/owa/auth.owa", "-", true),
        ("/RDWeb/Pages/en-US/login.aspx", "-", true),
        ("/owa/auth.owa", "https://mail.example/owa/auth/logon.aspx", false),
        ("/owa/service.svc", "-", false),
    ] {
        let head = "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken\n";
        let lines = (0..60).map(|second| {
            format!(
                "2026-11-22 10:00:{second:02} 10.0.0.2 POST {target} - 443 - 198.51.0.1 Mozilla/5.0 {referrer} 302 0 0 31\n"
            )
        });
        let log: String = std::iter::once(head.to_owned()).chain(lines).collect();
        let alerts = alerts_of_log(&log).remove(&1).unwrap_or_default();
        let told = alerts.iter().any(|(rule, _)| rule == "http-login-guessing-gate-unmeasured");
        assert_eq!(told, is_told, "{target} {referrer}: {alerts:?}");
    }
}

#[test]
fn many_addresses_that_are_refused_are_one_attack() {
    // Each guesses once, under a user agent of its own; a site's authors come in.
    for (path, refused) in
        [("/wp-login.php", 200), ("/users/sign_in", 422), ("/global-protect/login.esp", 512)]
    {
        for (wrong, is_told) in [(400, true), (100, false)] {
            let lines = (0..400).map(|n| {
                let status = if n * 7 % 400 < wrong { refused } else { 302 };
                let agent = format!("Mozilla/5.0 Chrome/{}", 100 + n % 35);
                log_line(n, n, ("POST", path), status, &agent)
            });
            let log: String = lines.collect();
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("access.log");
            std::fs::write(&file, log).unwrap();
            let ran = crate::command::run(&["detect", "-o", "json", file.to_str().unwrap()]);
            assert_eq!(ran.out.contains("http-spread-logins"), is_told, "{path}: {}", ran.out);
        }
    }
}
