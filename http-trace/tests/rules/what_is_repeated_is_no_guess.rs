//! A page whose session has expired and a program with an old key send the same again; who guesses sends something else
//! each time. So do those who try forms of one path, address or field.

use crate::loads::{Load, check, exchange};

const CHALLENGE: (&str, &str) = ("www-authenticate", "Basic realm=\"x\"");

/// Words of a wordlist, each its own first folder; some are known.
fn word(n: usize) -> String {
    match n {
        0..=3 => ["/.env", "/phpinfo.php", "/wp-login.php", "/backup.zip"][n].to_owned(),
        _ => format!("/w{n}"),
    }
}

const LOADS: &[Load] = &[
    ("a page whose token has expired, until somebody signs in", 60, None, |n| {
        let page = [("referer", "http://h/app"), ("content-type", "application/json")];
        exchange("POST", "/graphql".into(), &page, 401 - 201 * (n / 70) as u16, &[])
    }),
    ("a page that tells that it is open, without a session", 60, None, |_| {
        let page = [("referer", "http://h/app"), ("content-type", "text/plain"), ("cookie", "s=1")];
        exchange("POST", "/heartbeat".into(), &page, 401, &[])
    }),
    ("a program with an old key, until it gets another", 60, None, |n| {
        let (key, status) = if n < 12 { ("Token old", 401) } else { ("Token new", 200) };
        exchange("GET", "/items".into(), &[("authorization", key)], status, &[])
    }),
    ("tokens until one is right", 60, Some("http-guessed-credentials"), |n| {
        let (key, status) =
            if n < 12 { (format!("Token t{n}"), 401) } else { ("Token t".into(), 200) };
        exchange("GET", "/items".into(), &[("authorization", &key)], status, &[])
    }),
    ("one session that has expired", 60, None, |_| {
        exchange("GET", "/account".into(), &[("cookie", "sid=1")], 401, &[])
    }),
    ("a client that speaks NTLM where only Basic is known", 60, None, |_| {
        let first = [("authorization", "NTLM TlRMTVNTUAABAAAA")];
        exchange("GET", "/share".into(), &first, 401, &[CHALLENGE])
    }),
    ("a monitor of pages behind a login", 60, None, |n| {
        let monitor = [("user-agent", "Blackbox Exporter/0.25.0")];
        exchange("GET", format!("/w{n}"), &monitor, 302, &[("location", "/login?next=/w")])
    }),
    ("forms of a path that is refused", 60, Some("http-bypass-probing"), |n| {
        let form = ["/admin..;/", "/.;/admin", "/%2e/admin", "/admin;%2f", "/admin%09", "/;/admin"];
        exchange("GET", form[n % 6].into(), &[], 403, &[])
    }),
    ("names of branches and pages, encoded", 60, None, |n| {
        let name = ["/job/a/job/f%252Fb", "/wiki/Who%3F", "/wiki/C%23", "/bucket/x%2F", "/a;v=1/b"];
        exchange("GET", format!("{}/{}", name[n % 5], n % 4), &[], 404, &[])
    }),
    ("the same first bytes by the hundred", 60, Some("http-attack-attempts"), |_| {
        let range = format!("bytes=0-{}", ",5-9".repeat(100));
        exchange("HEAD", "/a.bin".into(), &[("range", &range)], 206, &[])
    }),
    ("parts of a file that an update needs", 60, None, |_| {
        let parts: Vec<_> =
            (1..200).map(|at| format!("{}-{}", at * 9000, at * 9000 + 500)).collect();
        exchange(
            "GET",
            "/a.zck".into(),
            &[("range", &format!("bytes={}", parts.join(",")))],
            206,
            &[],
        )
    }),
    ("markup for whoever writes links", 60, Some("http-attack-attempts"), |n| {
        let host = format!("a\"><script>alert({n})</script>");
        exchange("GET", "/".into(), &[("x-forwarded-host", &host)], 200, &[])
    }),
    ("a page moved to a program", 1, Some("http-attack-answered"), |_| {
        let to = [("destination", "http://h/x.php"), ("host", "h")];
        exchange("MOVE", "/x.html".into(), &to, 201, &[])
    }),
    ("words that all lead home", 60, Some("http-paths-moved"), |n| {
        exchange("GET", word(n), &[], 302, &[("location", "http://h/")])
    }),
    ("words that all lead to HTTPS", 60, Some("http-paths-moved"), |n| {
        exchange("GET", word(n), &[], 301, &[("location", "https://h/x")])
    }),
    ("links of a site, which lead to HTTPS", 60, None, |n| {
        exchange("GET", word(n), &[("referer", "http://h/")], 301, &[("location", "https://h/x")])
    }),
    ("packages of a registry that has moved", 60, None, |n| {
        exchange("GET", format!("/package-{n}"), &[], 301, &[("location", "https://r/x")])
    }),
    ("channels that a page may not listen to", 60, None, |_| {
        exchange("POST", "/broadcasting/auth".into(), &[("cookie", "s=a")], 403, &[])
    }),
    ("a program moved over another", 1, Some("http-attack-answered"), |_| {
        let to = [("destination", "http://h/x.php"), ("host", "h")];
        exchange("MOVE", "/x.txt".into(), &to, 204, &[])
    }),
];

#[test]
fn each_load_raises_its_alert_or_none() {
    check(LOADS);
}
