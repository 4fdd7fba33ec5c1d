//! Pages, builds and records that are gone, and names that are words of panels, as access logs tell of them. Each such load
//! has an attack beside it that looks almost the same.

use crate::routine_lines_of_logs_are_no_attacks::{BROWSER, Load, PAGE, check, get, word};

const CRAWLER: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

const LOADS: &[Load] = &[
    (
        "dead pages named with words of panels",
        10,
        20,
        |n| {
            let pages = [
                "/console/nintendo-switch-oled",
                "/shop/telescope/dobson-8",
                "/guides/druid/feral",
                "/products/actuators-12v",
                "/jobs/administrator-leeds-2",
                "/solr/guide/7_0/a.html",
                "/badges/credentials/ccna",
                "/nwa/jobs/c",
                "/pma-news",
                "/blog/phpunit-mocks",
                "/docs/k8s/secrets.html",
                "/docs/ios/sdk",
                "/cgi/export/eprint/1/DC/a.txt",
                "/blog/how-to-install-phpmyadmin-on-debian",
            ];
            get(pages[n % pages.len()].into(), [404, 410][n % 2])
        },
        None,
    ),
    (
        "panels named with such words",
        10,
        4,
        |n| {
            let panels = ["/console/", "/druid/index.html", "/telescope/requests", "/pma/"];
            get(panels[n].into(), 404)
        },
        Some("http-probing"),
    ),
    (
        "panels of one word each",
        10,
        4,
        |n| {
            let panels = ["/solr/admin/cores", "/administrator/index.php", "/sdk", "/nwa"];
            get(panels[n].into(), 410)
        },
        Some("http-probing"),
    ),
    (
        "texts of a page that a crawler takes for links",
        20,
        12,
        |n| {
            let texts = [
                "javascript:window.print()",
                "data:text/javascript;base64,KGZ1bmM=",
                "%22+window.location.href+%22",
                "'+document.location.href+'",
                "javascript:void(0);",
                "%3C%=%20item.link%20%%3E",
                "%7B%7Bconfig.url%7D%7D",
            ];
            (
                "GET",
                format!("/p{n}/{}", texts[n % texts.len()]),
                [404, 200][n % 2],
                "-",
                "-",
                CRAWLER,
            )
        },
        None,
    ),
    (
        "scripts as links",
        20,
        6,
        |n| ("GET", format!("/p{n}/javascript:alert(document.cookie)"), 404, "-", "-", CRAWLER),
        Some("http-attack-attempts"),
    ),
    (
        "secrets in a template",
        20,
        6,
        |n| ("GET", format!("/p{n}/%7B%7Bconfig.SECRET_KEY%7D%7D"), 404, PAGE, "-", CRAWLER),
        Some("http-attack-attempts"),
    ),
    (
        "expressions in a template",
        20,
        6,
        |n| ("GET", format!("/p{n}/%7B%7Bconfig.items()%7D%7D"), 404, "-", "-", CRAWLER),
        Some("http-attack-attempts"),
    ),
    (
        "parts of a build that is gone",
        8,
        60,
        |n| {
            let part = ["-19_56F", ".8a7b6c5", "-t6FujK0"][n % 3];
            get(format!("/assets/Chart{part}{n}.js"), 404)
        },
        None,
    ),
    (
        "scripts by name",
        8,
        60,
        |n| get(format!("/assets{}.js", word(n)), 404),
        Some("http-path-scan"),
    ),
    (
        "tiles beyond a map",
        1,
        60,
        |n| {
            let folder = ["arcgis/rest/services/Sea/MapServer/tile", "cog/tiles/WebMercatorQuad"];
            let status = [404, 404, 200][n % 3];
            ("GET", format!("/{}/12/{}/1180", folder[n % 2], 1500 + n), status, PAGE, "-", BROWSER)
        },
        None,
    ),
    (
        "numbers like those of tiles",
        1,
        60,
        |n| {
            let target = format!("/api/a/12/{}/1180", 1500 + n);
            ("GET", target, [404, 404, 200][n % 3], PAGE, "-", BROWSER)
        },
        Some("http-path-scan"),
    ),
    (
        "what is not starred, previewed or queued",
        5,
        60,
        |n| {
            let target = match n % 3 {
                0 => format!("/api/v1/user/starred/org/repo{n}"),
                1 => format!("/index.php/apps/files/api/v1/thumbnail/256/256/Photos/{n}.mkv"),
                _ => format!("/jenkins/queue/item/{}/api/json", 5000 + n),
            };
            ("GET", target, [404, 200][n / 3 % 2], "-", "joe", "okhttp/4.12.0")
        },
        None,
    ),
    (
        "files that are looked for in projects, from outside",
        1,
        60,
        |n| {
            let target = format!("/api/v4/projects/o%2Fp{n}/repository/files/Jenkinsfile?ref=main");
            ("HEAD", target, 404, "-", "-", "Java/17.0.9")
        },
        Some("http-path-scan"),
    ),
    ("words that are gone", 5, 60, |n| get(word(n), 410), Some("http-path-scan")),
    (
        "words below one folder, not allowed",
        5,
        60,
        |n| get(format!("/api/v1{}", word(n)), 405),
        Some("http-path-scan"),
    ),
    (
        "pages that are gone, as a crawler returns to them",
        5,
        60,
        |n| ("GET", format!("/products/old-{n}"), 410, "-", "-", CRAWLER),
        None,
    ),
    (
        "subscriptions that are gone",
        5,
        60,
        |n| ("POST", format!("/wpush/v2/s{n}"), 410, "-", "-", "web-push/1"),
        None,
    ),
    (
        "links that a checker tries with HEAD",
        5,
        60,
        |n| ("HEAD", word(n), 405, "-", "-", "checker/1"),
        None,
    ),
    (
        "texts of plugins, led elsewhere",
        2,
        20,
        |n| get(format!("/wp-content/plugins/p{n}/readme.txt"), 301),
        Some("http-plugin-enumeration"),
    ),
    (
        "texts of plugins, some there",
        2,
        20,
        |n| get(format!("/blog/wp-content/themes/p{n}/changelog.txt"), 200),
        Some("http-plugin-enumeration"),
    ),
    (
        "plugins of a page",
        2,
        40,
        |n| {
            get(
                format!(
                    "/wp-content/plugins/p{n}/{}",
                    ["style.css", "app.js", "x/readme.txt"][n % 3]
                ),
                200,
            )
        },
        None,
    ),
    (
        "a number in a query, behind the name of a page",
        1,
        40,
        |n| get(format!("/index.php?page=item&id={}", 1000 + n), [404, 200][n % 2]),
        Some("http-id-enumeration-query"),
    ),
    (
        "old versions of different pages",
        1,
        40,
        |n| get(format!("/index.php?title=Page_{n}&oldid={}", 1000 + n), [404, 200][n % 2]),
        None,
    ),
    (
        "records that are gone",
        1,
        40,
        |n| get(format!("/invoice/{}", 1000 + n), [410, 200][n % 2]),
        Some("http-id-enumeration"),
    ),
    (
        "quotes behind numbers",
        5,
        20,
        |n| get(format!("/p{n}.php?id={n}%27"), [500, 200][n % 2]),
        Some("http-sql-injection"),
    ),
    ("lengths in feet", 5, 20, |n| get(format!("/boards?length={n}%27&width=2%22"), 200), None),
    (
        "passwords in an interface",
        2,
        60,
        |_| ("POST", "/api/users/authenticate".into(), 400, "-", "-", BROWSER),
        Some("http-brute-force"),
    ),
];

#[test]
fn each_load_raises_its_alert_or_none() {
    check(LOADS);
}

/// SOAP and JSON-RPC send errors with 500 whoever is at fault (SOAP 1.1 section 6.2). One that sends nothing else is down.
#[test]
fn faults_of_calls_are_no_failing_server() {
    let told = |path: &str, sent: (&str, &str), media_type: &str, status: u16, every: usize| {
        let events = (0..300).map(|n| {
            serde_json::json!({
                "@timestamp": format!("2026-11-24T10:{:02}:{:02}Z", n / 120, n / 2 % 60),
                "event": {"kind": "event"},
                "http_trace": {"missing": []},
                "source": {"ip": format!("10.1.1.{}", n % 9)},
                "destination": {"ip": "10.0.0.2", "port": 8080},
                "url": {"original": path},
                "http": {
                    "request": {"method": "POST", "headers": {sent.0: [sent.1]}},
                    "response": {
                        "status_code": if n % every == 0 { status } else { 200 },
                        "headers": {"content-type": [media_type]},
                    },
                },
            })
        });
        crate::alerts_of_events(&events.collect::<Vec<_>>())
    };
    let soap = ("soapaction", "\"getOrder\"");
    assert_eq!(told("/ws/orders", soap, "text/xml; charset=utf-8", 500, 2), [""; 0]);
    assert_eq!(told("/ws/orders", soap, "text/html", 500, 2), ["http-server-failing"]);
    assert_eq!(told("/ws/orders", soap, "text/xml", 503, 2), ["http-server-failing"]);
    assert_eq!(told("/ws/orders", soap, "text/xml", 500, 1), ["http-server-down"]);
    let call = ("authorization", "Basic YTpi");
    assert_eq!(told("/", call, "application/json", 500, 2), [""; 0]);
    assert_eq!(told("/api", call, "application/json", 500, 2), ["http-server-failing"]);
}

/// Builds look for one file in every project; a log does not tell that they have an account.
#[test]
fn builds_inside_look_for_their_file() {
    let told = |file: &str| {
        let log = (0..60).map(|n| {
            format!(
                "10.0.0.20 - - [22/Nov/2026:10:00:{n:02} +0000] \"HEAD \
                 /api/v4/projects/o%2Fp{n}/repository/files/{file}?ref=main HTTP/1.1\" 404 0 \"-\" \"Java/17\"\n"
            )
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        std::fs::write(&path, log.collect::<String>()).unwrap();
        let ran = crate::command::run(&["detect", "-o", "json", path.to_str().unwrap()]);
        ran.out.contains("http-path-scan")
    };
    assert!(!told("Jenkinsfile"));
    assert!(told("secrets.yml"));
}
