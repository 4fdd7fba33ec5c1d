//! What browsers, apps and gateways write into an access log all day raises nothing above informational. Each such load
//! has an attack beside it that looks almost the same.

use crate::alerts_of_log;

pub const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64) Firefox/126.0";
pub const PAGE: &str = "https://app.example/";
const NETWORK: &str = "Amazon CloudFront";
const NAMES: &[&str] = &[
    "ada", "amy", "ann", "ben", "bob", "cem", "cid", "dan", "deb", "eva", "fay", "flo", "gil",
    "guy", "hal", "hans", "ian", "ida", "ivy", "jan", "joe", "kai", "kim", "lea", "leo", "liz",
    "lou", "max", "mia", "moe", "nan", "ned", "ola", "pam", "pia", "ray", "rex", "ron", "roy",
    "sam", "sue", "ted", "tom", "uma", "val", "vic", "wes", "zoe",
];

/// Method, target, status, referrer, user and user agent.
pub type Line = (&'static str, String, u16, &'static str, &'static str, &'static str);

/// What it is, seconds between two lines, how many, each line, and the rule above informational that must say so, if any.
pub type Load = (&'static str, usize, usize, fn(usize) -> Line, Option<&'static str>);

pub fn get(target: String, status: u16) -> Line {
    ("GET", target, status, "-", "-", BROWSER)
}

/// Twenty bytes, each percent-encoded, as some clients of trackers write them.
fn encoded(n: usize) -> String {
    (0..20).map(|at| format!("%{:02X}", (n * 7919 + at * 1031 + n * at * 37) % 251)).collect()
}

/// A UUID of a version.
fn uuid(n: usize, version: char) -> String {
    format!("{:08x}-9f3b-{version}c5d-a1b2-0123456789ab", n * 7919)
}

/// A login to WordPress, which redirects who gives the right password.
fn wordpress(is_right: bool) -> Line {
    let status = if is_right { 302 } else { 200 };
    ("POST", "/wp-login.php".into(), status, "-", "-", BROWSER)
}

/// Words of a wordlist, each its own first folder.
pub fn word(n: usize) -> String {
    format!("/w{}x{n}", n * 7 % 26)
}

const LOADS: &[Load] = &[
    (
        "pictures that a client does not resolve",
        20,
        6,
        |n| get(format!("/missions/apollo/../images/p{n}.gif"), 404),
        None,
    ),
    ("pictures above the root", 20, 12, |n| get(format!("/../images/p{n}.gif"), 400), None),
    (
        "climbs out of the root",
        20,
        6,
        |n| get(format!("/a{n}/../../../../etc/passwd"), 404),
        Some("http-attack-attempts"),
    ),
    (
        "encoded climbs",
        20,
        6,
        |n| get(format!("/a{n}/%2e%2e/private/x.txt"), 403),
        Some("http-attack-attempts"),
    ),
    (
        "climbs to a program",
        20,
        6,
        |n| get(format!("/a{n}/../x.php"), 404),
        Some("http-attack-attempts"),
    ),
    ("hidden files", 20, 6, |n| get(format!("/.hidden{n}"), 404), Some("http-probing")),
    (
        "folders of an account that are gone",
        1,
        60,
        |n| ("PROPFIND", format!("/remote.php/dav/files/joe/d{n}/"), 404, "-", "-", "mirall/3.11"),
        None,
    ),
    (
        "dates of a calendar that are gone",
        1,
        60,
        |n| ("GET", format!("/dav/calendars/joe/home/{n}-abc.ics"), 404, "-", "joe", "DAVx5/4.3"),
        None,
    ),
    (
        "a wordlist by PROPFIND",
        1,
        60,
        |n| ("PROPFIND", word(n), 404, "-", "joe", "DAVx5/4.3"),
        Some("http-path-scan"),
    ),
    (
        "a wordlist with a name",
        1,
        60,
        |n| ("GET", word(n), 404, "-", "joe", BROWSER),
        Some("http-path-scan"),
    ),
    (
        "previews of links",
        5,
        40,
        |n| ("GET", format!("/old-{n}"), 404, "-", "-", "facebookexternalhit/1.1"),
        None,
    ),
    (
        "a page whose own address has words of SQL",
        2,
        6,
        |_| {
            let referrer = "https://db.example/index.php?route=/structure&db=information_schema";
            ("POST", "/index.php?route=/navigation".to_owned(), 200, referrer, "-", BROWSER)
        },
        None,
    ),
    ("records of backups", 5, 12, |n| get(format!("/api/v1/backups/{}", 100 + n), 200), None),
    (
        "packages that a mirror has no more",
        1,
        60,
        |n| ("GET", format!("/fedora/Packages/j/j{n}-1.2.rpm"), 404, "-", "-", "libdnf (Fedora)"),
        None,
    ),
    (
        "sources that a mirror does not have",
        1,
        60,
        |n| ("GET", format!("/premirror/w{n}-6.2.tar.xz"), 404, "-", "-", "Wget/1.21.4"),
        None,
    ),
    (
        "archives that a program looks for",
        1,
        60,
        |n| ("GET", format!("/{}.zip", &word(n)[1..]), 404, "-", "-", "Wget/1.21.4"),
        Some("http-path-scan"),
    ),
    (
        "devices of a server's people",
        4,
        40,
        |n| {
            let target = format!("/_matrix/federation/v1/user/devices/%40u{n}%3Aa.example");
            ("GET", target, 404, "-", "-", "Synapse/1.118.0")
        },
        None,
    ),
    (
        "a crawler that is no bot",
        5,
        60,
        |n| ("GET", format!("/old-{n}"), 404, "-", "-", "GoogleOther"),
        None,
    ),
    (
        "a crawler after a site's relaunch",
        1,
        600,
        |n| {
            let target = match n % 2 {
                0 => format!("/guide/chapter-{n}/"),
                _ => format!("/how-to-mend-part-{n}.html"),
            };
            ("GET", target, 404, "-", "-", "Mozilla/5.0 (compatible; Googlebot/2.1)")
        },
        None,
    ),
    (
        "a wordlist with the address of a site as its referrer",
        1,
        70,
        |n| ("GET", word(n), 503, "https://www.google.example/", "-", BROWSER),
        Some("http-scan-failed"),
    ),
    (
        "a wordlist under a crawler's name",
        1,
        600,
        |n| {
            let letter = |of: usize| char::from(b'a' + (of % 26) as u8);
            let target = format!("/{}{}{}", letter(n), letter(n / 26), letter(n * 7));
            ("GET", target, 404, "-", "-", "Mozilla/5.0 (compatible; Googlebot/2.1)")
        },
        Some("http-wordlist-fuzzing"),
    ),
    (
        "a login that says what is wrong",
        1,
        60,
        |_| ("POST", "/api/v1/auth/signin".to_owned(), 422, "-", "-", "python-requests/2.31"),
        Some("http-brute-force"),
    ),
    (
        "a refused refresh of a token",
        1,
        60,
        |_| ("POST", "/oauth/token".to_owned(), 400, "-", "-", "python-requests/2.31"),
        None,
    ),
    (
        "feeds",
        5,
        60,
        |n| ("GET", format!("/feeds/u{n}.xml"), 404, "-", "-", "Feedbin feed-id:1 - 3 subscribers"),
        None,
    ),
    (
        "pictures of people",
        2,
        60,
        |n| ("GET", format!("/avatars/u{n}.png"), 404, "-", "-", "okhttp/4.12.0"),
        None,
    ),
    (
        "old posts",
        5,
        40,
        |n| {
            (
                "GET",
                format!("/2009/0{}/post-{n}/", 1 + n % 9),
                404,
                "https://search.example/",
                "-",
                BROWSER,
            )
        },
        None,
    ),
    (
        "a wordlist with a referrer",
        5,
        40,
        |n| ("GET", word(n), 404, "https://search.example/", "-", BROWSER),
        Some("http-path-scan"),
    ),
    (
        "announces",
        1,
        60,
        |n| {
            let target = format!(
                "/announce?info_hash={}&peer_id=-BC0171-{n:012}&port=6881&event=started",
                encoded(n)
            );
            ("GET", target, 200, "-", "-", "BitComet/2.01")
        },
        None,
    ),
    (
        "an attack beside an announce",
        1,
        1,
        |_| {
            get(
                format!(
                    "/announce?info_hash={}&f=%2e%2e%2f%2e%2e%2f%65%74%63%2fpasswd",
                    encoded(1)
                ),
                200,
            )
        },
        Some("http-attack-answered"),
    ),
    (
        "articles named like files",
        90,
        5,
        |n| {
            get(
                [
                    "/wiki/.htaccess", "/wiki/.env", "/tags/.DS_Store", "/docs/reference/.npmrc",
                    "/wiki/.htpasswd",
                ][n]
                    .to_owned(),
                200,
            )
        },
        None,
    ),
    (
        "settings below documents",
        1,
        1,
        |_| get("/docs/.env".into(), 200),
        Some("http-attack-answered"),
    ),
    (
        "a repository below a wiki",
        1,
        1,
        |_| get("/wiki/.git/config".into(), 200),
        Some("http-attack-answered"),
    ),
    (
        "pages that counters and advertising are told",
        90,
        5,
        |n| {
            let pages = [
                "/pagead/ads?client=a&url=http%3A%2F%2F192.168.1.1%2Findex.html",
                "/ad/serve?zone=1&url=http%3A%2F%2F10.1.2.3%2Fintranet%2F",
                "/pageview?url=http%3A%2F%2Flocalhost%3A3000%2F&title=dev",
                "/api/stats?src=http%3A%2F%2F192.168.0.10%3A8080%2F",
                "/embed/comments?url=http%3A%2F%2Flocalhost%3A4000%2Fpost%2F",
            ];
            get(pages[n].to_owned(), 200)
        },
        None,
    ),
    (
        "metadata by a counter",
        1,
        1,
        |_| get("/pageview?url=http://169.254.169.254/latest/".into(), 200),
        Some("http-attack-answered"),
    ),
    (
        "a page whose session has expired",
        2,
        120,
        |_| ("GET", "/api/notifications".into(), 401, PAGE, "-", BROWSER),
        None,
    ),
    (
        "guessing at a console",
        2,
        120,
        |_| ("GET", "/manager/html".into(), 401, PAGE, "-", BROWSER),
        Some("http-brute-force"),
    ),
    (
        "guessing at an interface",
        2,
        120,
        |n| ("GET", format!("/api/me?key={n}"), 401, PAGE, "-", BROWSER),
        Some("http-brute-force-logged"),
    ),
    (
        "passwords at a gateway",
        1,
        60,
        |_| ("POST", "/global-protect/login.esp".into(), 512, "-", "-", BROWSER),
        Some("http-brute-force"),
    ),
    (
        "people behind one address, one in four mistypes a password",
        1,
        200,
        |n| wordpress(n % 4 > 0),
        None,
    ),
    (
        "passwords of WordPress, one in eight right",
        1,
        200,
        |n| wordpress(n % 8 == 7),
        Some("http-guessed-credentials-wordpress"),
    ),
    (
        "dead pictures that a network fetches for its visitors",
        2,
        90,
        |n| ("GET", format!("/img/2019/photo_{n}.webp"), 404, "-", "-", NETWORK),
        None,
    ),
    (
        "folders under the name of such a network",
        2,
        90,
        |n| ("GET", word(n), 404, "-", "-", NETWORK),
        Some("http-path-scan"),
    ),
    (
        "hidden folders and programs under its name",
        2,
        90,
        |n| {
            let target = [format!("/.w{n}/a.js"), format!("/w{n}.php/a.css")][n % 2].clone();
            ("GET", target, 404, "-", "-", NETWORK)
        },
        Some("http-path-scan"),
    ),
    (
        "previews of a gallery by random names",
        1,
        120,
        |n| get(format!("/api/photos/{}/preview", uuid(n, '4')), [404, 200, 200, 200][n % 4]),
        None,
    ),
    (
        "random names of records",
        1,
        120,
        |n| get(format!("/api/notes/{}", uuid(n, '4')), [404, 200, 200, 200][n % 4]),
        None,
    ),
    (
        "names of a time",
        1,
        120,
        |n| get(format!("/api/notes/{}", uuid(n, '1')), [404, 200, 200, 200][n % 4]),
        Some("http-id-enumeration"),
    ),
    (
        "codes after a password",
        0,
        140,
        |_| ("POST", "/account/confirm_totp".into(), 200, "-", "-", BROWSER),
        Some("http-code-guessing"),
    ),
    (
        "a page that waits for a confirmation",
        2,
        300,
        |_| ("POST", "/mfa/check".into(), 200, PAGE, "-", BROWSER),
        None,
    ),
    (
        "pictures of a page by number and size",
        2,
        90,
        |n| {
            let status = [404, 200, 200][n % 3];
            ("GET", format!("/image/6{n:04}/productModel/200x200"), status, PAGE, "-", BROWSER)
        },
        None,
    ),
    (
        "records by number, with the page of the program as referrer",
        2,
        90,
        |n| ("GET", format!("/image/6{n:04}"), [404, 200, 200][n % 3], PAGE, "-", BROWSER),
        Some("http-id-enumeration"),
    ),
    (
        "one password for many names, one a minute",
        60,
        50,
        |n| ("GET", "/owa/".into(), 401, "-", NAMES[n % NAMES.len()], BROWSER),
        Some("http-password-spraying"),
    ),
    (
        "people behind one address, some of whom mistype",
        30,
        110,
        |n| {
            let status = [401, 200, 200, 200][(n + n / 18) % 4];
            ("GET", "/owa/".into(), status, "-", NAMES[n % 18], BROWSER)
        },
        None,
    ),
    (
        "one name with an old password",
        60,
        50,
        |_| ("GET", "/feed".into(), 401, "-", NAMES[0], BROWSER),
        None,
    ),
    (
        "one link that has expired",
        1,
        40,
        |_| get("/reset-password?token=74bf20f800000001".into(), 410),
        None,
    ),
    (
        "codes of goods that a shop does not have",
        1,
        40,
        |n| get(format!("/api/stock?code=74bf20{n:04}"), 404),
        None,
    ),
    (
        "parameters that are made up to bypass a cache",
        0,
        120,
        |n| get(format!("/?a{n}x=b{n}&c{n}y=d"), 200),
        Some("http-parameter-flood"),
    ),
    (
        "visitors of a campaign",
        0,
        120,
        |n| get(format!("/?utm_source=s{n}&gclid=x{n}y"), 200),
        None,
    ),
];

fn line(client: usize, ms: usize, (method, target, status, referrer, user, agent): Line) -> String {
    let (minute, second) = (ms / 60_000 % 60, ms / 1000 % 60);
    format!(
        "198.51.{}.{} - {user} [22/Nov/2026:10:{minute:02}:{second:02} +0000] \"{method} {target} HTTP/1.1\" {status} 50 \
         \"{referrer}\" \"{agent}\"\n",
        client / 250,
        client % 250
    )
}

/// Panics unless each load raises its rule, or nothing above informational.
pub fn check(loads: &[Load]) {
    for (what, seconds, count, of, expected) in loads {
        let log: String = (0..*count).map(|n| line(1, n * seconds * 1000, of(n))).collect();
        let alerts = alerts_of_log(&log).into_values().flatten();
        let rules: Vec<String> =
            alerts.filter(|(_, severity)| *severity > 0).map(|(rule, _)| rule).collect();
        match expected {
            Some(rule) => assert!(rules.iter().any(|name| name == rule), "{what}: {rules:?}"),
            None => assert_eq!(rules, [""; 0], "{what}"),
        }
    }
}

#[test]
fn each_load_raises_its_alert_or_none() {
    check(LOADS);
}

/// Who scans is told from a server that fails: a firewall may answer a scan with 503, and a scan may overload a server.
#[test]
fn a_scan_that_is_answered_with_errors_is_no_failing_server() {
    let told = |of: &dyn Fn(usize) -> Line, clients: usize| {
        let lines = (0..108).map(|n| line(n % clients, n * 100, of(n)));
        let alerts = alerts_of_log(&lines.collect::<String>()).into_values().flatten();
        alerts.filter(|(_, severity)| *severity > 0).map(|(rule, _)| rule).collect::<Vec<_>>()
    };
    for status in [500, 503] {
        assert_eq!(told(&|n| get(word(n), status), 1), ["http-scan-failed"]);
        // Visitors; a program; a balancer in front of people.
        assert_eq!(told(&|n| get(word(n), status), 20), ["http-server-failing"]);
        assert_eq!(
            told(&|n| get(format!("/api/v1/items/{n}"), status), 1),
            ["http-server-failing"]
        );
        let people = ["Mozilla/5.0 (a)", "Mozilla/5.0 (b)", "Mozilla/5.0 (c)", "Mozilla/5.0 (d)"];
        let visitor = |n: usize| ("GET", word(n), status, "-", "-", people[n % 4]);
        assert_eq!(told(&visitor, 1), ["http-server-failing"]);
    }
    // What breaks a program's query breaks it for nobody else.
    let quote = |n: usize| get(format!("/item?id={n}%27%20OR%20%271%27%3D%27{n}"), 500);
    let rules = told(&quote, 1);
    assert!(rules.iter().any(|rule| rule == "http-sql-injection"), "{rules:?}");
    assert!(rules.iter().all(|rule| rule != "http-server-failing"), "{rules:?}");
}
