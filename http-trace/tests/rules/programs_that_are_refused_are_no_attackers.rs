//! Programs wait to be asked for their credentials, show pictures that are gone, and speak for others. Each such
//! load has an attack beside it that looks almost the same.

use crate::loads::{Exchange, Load, check, exchange};

const BASIC: (&str, &str) = ("authorization", "Basic YTpi");
const DIGEST: (&str, &str) = ("www-authenticate", "Digest realm=\"x\", nonce=\"y\"");
/// What a program for buckets sends, and what a store answers.
const SIGNED: &[(&str, &str)] = &[
    ("authorization", "AWS4-HMAC-SHA256 Credential=a"),
    ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
];
const STORE: &[(&str, &str)] = &[("x-amz-request-id", "1"), ("content-length", "0")];
/// A signed request between servers of social networks.
const FEDERATED: &[(&str, &str)] =
    &[("accept", "application/activity+json"), ("signature", "keyId=\"a\"")];
const IMAGE: (&str, &str) = ("referer", "http://h/page");
const CHALLENGE: (&str, &str) = ("www-authenticate", "Basic realm=\"x\"");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const BEARER: (&str, &str) = ("authorization", "Bearer a");
const EXPIRED: (&str, &str) = ("www-authenticate", "Bearer error=\"invalid_token\"");
const COUCH: &[(&str, &str)] =
    &[("server", "CouchDB/3.3.3 (Erlang OTP/24)"), ("content-type", "application/json")];
/// What the script of a page sends.
const OF_A_PAGE: &[(&str, &str)] =
    &[("cookie", "session=a"), ("referer", "http://h/page"), ("content-type", "application/json")];
const CRAWLER: (&str, &str) =
    ("user-agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)");

fn signature() -> String {
    format!("X-Amz-Signature={}", "0123456789abcdef".repeat(4))
}

const LOADS: &[Load] = &[
    ("POSTs that wait for a challenge", 60, None, |n| match n % 2 {
        0 => exchange("POST", "/onvif".into(), &[], 401, &[DIGEST]),
        _ => exchange("POST", "/onvif".into(), &[("authorization", "Digest x")], 200, &[]),
    }),
    ("POSTs to a login that is refused", 60, Some("http-brute-force"), |_| {
        exchange("POST", "/login".into(), &[], 401, &[DIGEST])
    }),
    ("POSTs whose bodies wait for a challenge", 120, None, |n| match n % 2 {
        0 => exchange("POST", "/form".into(), &[FORM], 401, &[CHALLENGE]),
        _ => exchange("POST", "/form".into(), &[FORM, BASIC], 200, &[]),
    }),
    ("a visitor who signs in", 60, None, |n| match n {
        30.. => exchange("GET", "/api/me".into(), &[("accept", "*/*")], 200, &[]),
        _ => exchange("GET", format!("/api/me?_={n}"), &[("accept", "*/*")], 401, &[]),
    }),
    ("copies to a share that may be read", 60, None, |n| {
        exchange("PUT", format!("/share/f{n}.txt"), &[BASIC], 403, &[])
    }),
    ("messages of servers whose keys are gone", 60, None, |_| {
        exchange("POST", "/users/a/inbox".into(), &[("signature", "keyId=\"x\"")], 401, &[])
    }),
    ("the same field elsewhere", 60, Some("http-brute-force"), |_| {
        exchange("POST", "/login".into(), &[("signature", "x")], 401, &[])
    }),
    ("a crawler that finds old addresses", 60, None, |n| {
        exchange("GET", format!("/products/old-{n}"), &[CRAWLER], 404, &[])
    }),
    ("styles and scripts of an old page", 60, None, |n| {
        let page = [("referer", "https://shop.example/")];
        exchange("GET", format!("/_next/static/chunks/{n}.js"), &page, 404, &[])
    }),
    ("a wrong password", 60, Some("http-brute-force"), |_| {
        exchange("POST", "/onvif".into(), &[BASIC], 401, &[DIGEST])
    }),
    ("an old API key", 60, None, |_| {
        exchange("GET", "/api".into(), &[("x-api-key", "old")], 401, &[])
    }),
    ("API keys", 60, Some("http-key-guessing"), |n| {
        exchange("GET", "/api".into(), &[("x-api-key", &format!("k{n}"))], 403, &[])
    }),
    ("an old key as a parameter", 60, None, |_| {
        exchange("GET", "/api?api_key=old".into(), &[], 401, &[])
    }),
    ("keys as a parameter", 60, Some("http-key-guessing-parameter"), |n| {
        exchange("GET", format!("/api?api_key=k{n}"), &[], 401, &[])
    }),
    ("pictures that other sites may not show", 60, None, |n| {
        exchange("GET", format!("/photos/{n}.jpg"), &[IMAGE], 403, &[])
    }),
    ("pages that are not there", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/photos/p{n}"), &[IMAGE], 403, &[])
    }),
    ("links that have expired", 60, None, |n| {
        let store = [("x-amz-request-id", "1")];
        exchange("GET", format!("/bucket/o{n}?{}", signature()), &[], 403, &store)
    }),
    ("what is refused whatever is signed", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/o{n}?{}", signature()), &[], 403, &[])
    }),
    ("programs, as pictures", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/p{n};.png"), &[IMAGE], 404, &[])
    }),
    ("passwords in bodies, refused with a challenge", 60, Some("http-brute-force-logged"), |_| {
        let json = [("content-type", "application/json")];
        exchange("POST", "/api/account".into(), &json, 401, &[CHALLENGE])
    }),
    ("tiles of a map, some of the sea", 60, None, |n| {
        exchange("GET", format!("/tiles/12/7/{n}.png"), &[], 404 - 204 * (n % 3).min(1) as u16, &[])
    }),
    ("users without pictures", 60, None, |n| {
        let status = 404 - 204 * (n % 3).min(1) as u16;
        exchange("GET", format!("/users/{n}/photo"), &[IMAGE], status, &[])
    }),
    ("numbered users", 60, Some("http-id-enumeration"), |n| {
        exchange("GET", format!("/users/{n}"), &[], 404 - 204 * (n % 3).min(1) as u16, &[])
    }),
    ("documents that are not in an index", 60, None, |n| {
        exchange("GET", format!("/sessions/_doc/s{n}"), &[], 404, &[])
    }),
    ("a gateway with many servers", 60, None, |n| {
        let passed = [("x-forwarded-for", "203.0.113.9")];
        of_server(n, exchange("GET", "/".into(), &passed, 200, &[]))
    }),
    ("one server after another", 60, Some("http-ssrf-sweep"), |n| {
        of_server(n, exchange("GET", "/".into(), &[], 200, &[]))
    }),
    ("one page after another, by name", 60, Some("http-server-sweep"), |n| {
        let host = format!("node{n}.lan");
        of_server(n, exchange("GET", "/version".into(), &[("host", &host)], 200, &[]))
    }),
    ("one page after another, by address", 60, Some("http-ssrf-sweep"), |n| {
        let host = format!("10.0.2.{n}:8080");
        of_server(n, exchange("GET", "/version".into(), &[("host", &host)], 200, &[]))
    }),
    ("one refusal after another, by name", 60, Some("http-ssrf-sweep"), |n| {
        let host = format!("node{n}.lan");
        of_server(n, exchange("GET", "/version".into(), &[("host", &host)], 401, &[]))
    }),
    ("descriptions of devices", 60, None, |n| {
        let control_point = [("user-agent", "Linux UPnP/1.0 GUPnP/1.6 DLNADOC/1.50")];
        of_server(n, exchange("GET", "/rootDesc.xml".into(), &control_point, 200, &[]))
    }),
    ("lamps, as an app shows them", 60, None, |n| {
        let app = [("user-agent", "Dart/3.4 (dart:io)")];
        of_server(n, exchange("GET", "/json/".into(), &app, 200, &[]))
    }),
    ("consoles, under the name of a device", 60, Some("http-ssrf-sweep"), |n| {
        let control_point = [("user-agent", "Linux UPnP/1.0 GUPnP/1.6 DLNADOC/1.50")];
        of_server(n, exchange("GET", "/console".into(), &control_point, 200, &[]))
    }),
    ("a server that answers 502, ten times a minute", 10, Some("http-server-down"), |_| {
        exchange("GET", "/".into(), &[], 502, &[])
    }),
    ("a picture of a media server", 60, None, |_| {
        let url = "http%3A%2F%2F127.0.0.1%3A32400%2Flibrary";
        exchange("GET", format!("/photo/:/transcode?width=9&url={url}"), &[], 200, &[])
    }),
    ("chunks of an array of zeroes", 60, None, |n| {
        exchange("GET", format!("/z.zarr/c/{}/{}", n / 10, n % 10), &[], 404, &[])
    }),
    ("chunks of words", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/z.zarr/c/{n}a/{n}"), &[], 404, &[])
    }),
    ("a bucket that is mounted as a folder", 600, None, |n| {
        let suffix = ["", "/", "_$folder$"][n % 3];
        let name = [".git/config", ".git/hooks/a", "photo.old", "a.php"][n / 3 % 4];
        exchange("HEAD", format!("/bucket/{n}/{name}{suffix}"), SIGNED, 404, STORE)
    }),
    ("the same, of what is there", 60, None, |n| {
        exchange("HEAD", format!("/bucket/{n}/.git/config"), SIGNED, 200, STORE)
    }),
    ("settings in a bucket that has a host of its own", 1, None, |_| {
        exchange("GET", "/.env".into(), SIGNED, 200, STORE)
    }),
    ("settings behind a signature that no store checks", 1, Some("http-attack-answered"), |_| {
        exchange("GET", "/.env".into(), SIGNED, 200, &[])
    }),
    ("files that are put into a bucket", 60, None, |n| {
        exchange("PUT", format!("/bucket/{n}/.git/config"), SIGNED, 200, STORE)
    }),
    ("a signature that no store checks", 60, Some("http-path-scan"), |n| {
        exchange("HEAD", format!("/bucket/o{n}"), SIGNED, 404, &[])
    }),
    ("a wrong signature", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/bucket/o{n}"), SIGNED, 403, STORE)
    }),
    ("names of objects, without a signature", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/bucket/o{n}"), &[], 404, STORE)
    }),
    ("parts of a stream that are gone", 60, None, |n| {
        exchange("GET", format!("/hls/out{n}.ts"), &[], 404, &[])
    }),
    ("sources, as parts of a stream", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/hls/{n}word.ts"), &[], 404, &[])
    }),
    ("objects of a cluster that are not there", 60, None, |n| {
        let audited = [("content-type", "application/json"), ("audit-id", "1")];
        exchange("GET", format!("/api/v1/namespaces/a/secrets/s{n}"), &[], 404, &audited)
    }),
    ("the same by a library, where fields are left out", 60, None, |n| {
        let library = [("user-agent", "Kubernetes Java Client/19.0.0")];
        let json = [("content-type", "application/json")];
        let path = format!("/apis/apps/v1/namespaces/a/deployments/d{n}");
        exchange("GET", path, &library, 404, &json)
    }),
    ("words, as of a cluster", 60, Some("http-path-scan"), |n| {
        let json = [("content-type", "application/json")];
        exchange("GET", format!("/api/v1/namespaces/a/secrets/s{n}"), &[], 404, &json)
    }),
    ("words, under the name of a library", 60, Some("http-path-scan"), |n| {
        let library = [("user-agent", "Kubernetes Java Client/19.0.0")];
        let json = [("content-type", "application/json")];
        exchange("GET", format!("/api/v1/w{n}"), &library, 404, &json)
    }),
    ("keys that a store does not have", 60, None, |n| {
        exchange("GET", format!("/v1/kv/app/k{n}"), &[], 404, &[("x-consul-index", "1")])
    }),
    ("keys of another store", 60, None, |n| {
        exchange("GET", format!("/v2/keys/app/k{n}"), &[], 404, &[("x-etcd-index", "1")])
    }),
    ("words, as keys", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/v1/kv/app/k{n}"), &[], 404, &[])
    }),
    ("accounts of a social network that are gone", 60, None, |n| {
        exchange("GET", format!("/users/u{n}/statuses/{n}"), FEDERATED, 404, &[])
    }),
    ("the same, to be told news", 60, None, |n| {
        let sent = [("content-type", "application/activity+json"), ("signature", "keyId=\"a\"")];
        exchange("POST", format!("/users/u{n}/inbox"), &sent, 404, &[])
    }),
    ("words, as of a social network", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/w{n}.php"), FEDERATED, 404, &[])
    }),
    ("accounts, by a browser", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/users/u{n}"), &[], 404, &[])
    }),
    ("what GDAL looks for beside pictures", 60, None, |n| {
        let suffix = ["tif.aux.xml", "tfw", "OVR", "msk", "_RPC.TXT"][n % 5];
        exchange("HEAD", format!("/f{n}.{suffix}"), &[], 404, &[])
    }),
    ("the same by a browser", 60, Some("http-path-scan"), |n| {
        let browser = [("user-agent", "Mozilla/5.0")];
        exchange("HEAD", format!("/f{n}.xml"), &browser, 404, &[])
    }),
    ("labels of metrics", 1, None, |n| {
        let json = [("content-type", "application/json")];
        let query = ["sum(up%7Bgroup%3D~%22bash%7C/bin/sh%22%7D)", "{path=\"/etc/passwd\"}"][n % 2];
        exchange("GET", format!("/loki/api/v1/query_range?query={query}"), &[], 200, &json)
    }),
    ("a file in place of labels", 1, Some("http-attack-answered"), |_| {
        let json = [("content-type", "application/json")];
        exchange("GET", "/api/v1/query?query=../../../etc/passwd".into(), &[], 200, &json)
    }),
    ("a program among uploads", 1, Some("http-attack-answered"), |_| {
        exchange("GET", "/wp-content/uploads/2024/05/a.php?x=id".into(), &[], 200, &[])
    }),
    ("probes of the pods of a node", 60, None, |n| {
        let kubelet = [("user-agent", "kube-probe/1.29")];
        of_server(n, exchange("GET", "/login".into(), &kubelet, 200, &[]))
    }),
    ("members of a cluster", 60, None, |n| {
        of_server(n, exchange("GET", format!("/v1/task/a.{n}/status"), &[], 200, &[]))
    }),
    ("cameras that ask for Digest", 60, None, |n| {
        of_server(n, exchange("GET", "/ISAPI/System/status".into(), &[], 401, &[DIGEST]))
    }),
    ("servers that refuse", 60, Some("http-ssrf-sweep"), |n| {
        of_server(n, exchange("GET", "/latest/meta-data/".into(), &[], 403, &[]))
    }),
    ("tokens that have expired", 60, None, |_| {
        exchange("GET", "/api".into(), &[BEARER], 401, &[EXPIRED])
    }),
    ("tokens that are refused", 60, Some("http-brute-force"), |_| {
        exchange("GET", "/api".into(), &[BEARER], 401, &[])
    }),
    ("passwords that are no tokens", 60, Some("http-brute-force"), |_| {
        exchange("GET", "/api".into(), &[BASIC], 401, &[EXPIRED])
    }),
    ("sessions that are to go on", 60, None, |_| {
        let json = [("content-type", "application/json")];
        exchange("POST", "/api/v1/auth/token/refresh".into(), &json, 401, &[])
    }),
    ("what a page looks up for its visitor", 60, None, |n| {
        let page = [("referer", "http://h/search"), ("cookie", "s=a")];
        let json = [("content-type", "application/json")];
        exchange("GET", format!("/api/suggest/w{n}"), &page, 404, &json)
    }),
    ("what no page of this site looks up", 60, Some("http-path-scan"), |n| {
        let page = [("referer", "http://elsewhere.example/")];
        let json = [("content-type", "application/json")];
        exchange("GET", format!("/api/suggest/w{n}"), &page, 404, &json)
    }),
    ("certificates that are asked after", 60, None, |n| {
        exchange("GET", format!("/MFEwTzBNMEswSTAJBgUrDgMCGgUABBT{n:040x}"), &[], 404, &[])
    }),
    ("a page that stays open after its session", 60, None, |_| {
        exchange("POST", "/api/ds/query".into(), OF_A_PAGE, 401, &[])
    }),
    ("a login of a page", 60, Some("http-brute-force"), |_| {
        exchange("POST", "/api/login".into(), OF_A_PAGE, 401, &[])
    }),
    ("tokens that are to be refreshed", 60, None, |n| {
        let length = (700 + n % 9).to_string();
        exchange("POST", "/oauth/token".into(), &[FORM, ("content-length", &length)], 400, &[])
    }),
    ("passwords for tokens", 60, Some("http-login-guessing"), |n| {
        let length = (80 + n % 9).to_string();
        let sent = [FORM, ("content-length", &*length)];
        exchange("POST", "/oauth/token".into(), &sent, 400, &[("content-length", "60")])
    }),
    ("packages that a cache looks for", 60, None, |n| {
        let cache = [("user-agent", "Nexus/3.68.1-02 (PRO; Linux)")];
        exchange("GET", format!("/repository/r/org/a{n}/1.{n}/a{n}-1.{n}.pom"), &cache, 404, &[])
    }),
    ("words, under the name of a cache", 60, Some("http-path-scan"), |n| {
        let cache = [("user-agent", "Nexus/3.68.1-02 (PRO; Linux)")];
        exchange("GET", format!("/w{n}.php"), &cache, 404, &[])
    }),
    ("files of repositories", 60, None, |n| {
        let path = format!("/api/v4/projects/{n}/repository/files/catalog-info.yaml");
        exchange("HEAD", path, &[BEARER], 404, &[])
    }),
    ("files of repositories, without an account", 60, Some("http-path-scan"), |n| {
        let path = format!("/api/v4/projects/{n}/repository/files/catalog-info.yaml");
        exchange("HEAD", path, &[], 404, &[])
    }),
    ("folders of others", 60, None, |n| {
        exchange("PROPFIND", format!("/share/u{n}/"), &[BASIC], 403, &[])
    }),
    ("pictures of a site that is a bucket", 60, None, |n| {
        exchange("GET", format!("/img-{n}.jpg"), &[], 200, STORE)
    }),
    ("names of buckets", 60, Some("http-bucket-enumeration-path"), |n| {
        exchange("GET", format!("/bucket-{n}"), &[], 404, STORE)
    }),
    ("objects that are named by their digests", 60, None, |n| {
        exchange("POST", format!("/backup/data/{n:064x}"), &[], 200, &[])
    }),
    ("a wordlist, answered alike", 60, Some("http-wordlist-answered"), |n| {
        let words =
            ["adminer", ".git/config", "backup.zip", "wp-login.php", "phpinfo", "xmlrpc.php"];
        exchange("GET", format!("/{}", words[n % 6]), &[], 200, &[("content-length", "98")])
    }),
    ("copies below a folder, looked at", 60, None, |n| {
        exchange("HEAD", format!("/backup/base/{n}.tar.zst"), &[], 200, &[])
    }),
    ("images that an account asks for", 60, None, |n| {
        exchange("HEAD", format!("/v2/local/app{n}/manifests/latest"), &[BEARER], 404, &[])
    }),
    ("images, without an account", 60, Some("http-path-scan"), |n| {
        exchange("HEAD", format!("/v2/local/app{n}/manifests/latest"), &[], 404, &[])
    }),
    ("words, with an account", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/v2/w{n}"), &[BEARER], 404, &[])
    }),
    ("databases that are copied", 60, None, |n| {
        let copier = [("user-agent", "CouchDB-Replicator/3.3.3")];
        exchange("GET", format!("/userdb-{n}/_local/a"), &copier, 404, &[("server", "CouchDB/3.3")])
    }),
    ("an old key of a program", 60, None, |_| {
        exchange("POST", "/prod/graphql".into(), &[("x-api-key", "old")], 401, &[])
    }),
    ("a balancer's check of a page", 60, None, |n| {
        let balancer = [("user-agent", "ELB-HealthChecker/2.0")];
        of_server(n, exchange("GET", "/index.php".into(), &balancer, 200, &[]))
    }),
    ("who writes at a site", 60, None, |n| {
        let page = [("cookie", "wordpress_logged_in=a"), ("referer", "http://h/wp-admin/post.php")];
        exchange("POST", format!("/wp-admin/admin-ajax.php/{}", n % 9), &page, 400, &[])
    }),
    ("words below a panel", 60, Some("http-probing"), |n| {
        exchange("POST", format!("/wp-admin/admin-ajax.php/{}", n % 9), &[], 400, &[])
    }),
    ("words that all lead to a login", 60, Some("http-paths-to-login"), |n| {
        exchange("GET", format!("/w{n}"), &[], 302, &[("location", "/login?next=/w")])
    }),
    ("short links", 60, None, |n| {
        exchange("GET", format!("/w{n}"), &[], 302, &[("location", "https://shop.example/p")])
    }),
    ("pages of somebody whose session has ended", 60, None, |n| {
        let page = [("cookie", "s=a")];
        exchange("GET", format!("/w{n}"), &page, 302, &[("location", "/login?next=/w")])
    }),
    ("hundreds of parameters", 60, Some("http-parameter-mining"), |n| {
        let names: String = (0..250).map(|at| format!("p{n}x{at}=1&")).collect();
        exchange("GET", format!("/api?{names}"), &[], 200, &[])
    }),
    ("columns of a table", 60, None, |n| {
        let columns: String = (0..250).map(|at| format!("columns%5B{at}%5D={n}&")).collect();
        exchange("GET", format!("/api?{columns}"), &[], 200, &[])
    }),
    ("checks which part a member has", 60, None, |n| {
        let path = ["/primary", "/replica"][n % 2];
        exchange("OPTIONS", path.into(), &[], 503 - 303 * (n % 2) as u16, &[])
    }),
    ("functions of a site and accounts of programs", 60, None, |n| {
        let path = ["/.netlify/functions/f", "/credentials/store/c", "/solr/c"][n % 3];
        let agent = [("user-agent", "Solr[HttpSolrClient] 1.0")];
        let status = [400, 404][usize::from(n % 3 > 0)];
        exchange("POST", format!("{path}{}", n % 9), &agent, status, &[])
    }),
    ("hidden files beside them", 60, Some("http-probing"), |n| {
        exchange("GET", format!("/.netlify/w{n}"), &[], 404, &[])
    }),
    ("git, at groups that each ask for a login first", 60, None, |n| {
        let path = format!("/group-{}/app.git/info/refs", n / 2);
        match n % 2 {
            0 => exchange("GET", path, &[], 401, &[CHALLENGE]),
            _ => exchange("GET", path, &[BASIC], 200, &[]),
        }
    }),
    ("a program that its server does not know yet", 60, None, |n| match n {
        ..14 => exchange("GET", "/_nodes".into(), &[BASIC], 401, &[CHALLENGE]),
        _ => exchange("GET", "/_nodes".into(), &[BASIC], 200, &[]),
    }),
    ("passwords until one is right", 60, Some("http-guessed-credentials"), |n| match n {
        ..14 => {
            let password = format!("Basic YTp{n}");
            exchange("GET", "/_nodes".into(), &[("authorization", &password)], 401, &[CHALLENGE])
        }
        _ => exchange("GET", "/_nodes".into(), &[BASIC], 200, &[]),
    }),
    ("a recorder whose nonce is out of date", 60, None, |n| match n % 2 {
        0 => exchange("GET", "/snapshot".into(), &[("authorization", "Digest x")], 401, &[DIGEST]),
        _ => exchange("GET", "/snapshot".into(), &[("authorization", "Digest y")], 200, &[]),
    }),
    ("passwords for Digest", 60, Some("http-brute-force-logged"), |_| {
        exchange("GET", "/snapshot".into(), &[("authorization", "Digest x")], 401, &[DIGEST])
    }),
    ("passwords at a gate", 60, Some("http-login-guessing"), |n| {
        let length = (80 + n % 9).to_string();
        let sent = [FORM, ("content-length", &*length)];
        exchange("POST", "/remote/logincheck".into(), &sent, 200, &[("content-length", "60")])
    }),
    ("people who are let in at a gate", 60, None, |n| {
        let length = (80 + n % 9).to_string();
        let sent = [FORM, ("content-length", &*length)];
        let got = [("content-length", "60"), ("set-cookie", "SVPNCOOKIE=0123456789abcdef")];
        exchange("POST", "/remote/logincheck".into(), &sent, 200, &got)
    }),
    ("codes that lead back to where they are asked for", 60, Some("http-brute-force"), |_| {
        let back = [("location", "/two-factor-challenge")];
        exchange("POST", "/two-factor-challenge".into(), &[FORM], 302, &back)
    }),
    ("codes that are right", 60, None, |_| {
        exchange("POST", "/two-factor-challenge".into(), &[FORM], 302, &[("location", "/home")])
    }),
    ("a balancer's checks of a database", 60, None, |n| {
        exchange("OPTIONS", "/".into(), &[], 503 - 303 * (n % 2) as u16, &[])
    }),
    ("codes on things", 60, None, |n| {
        let status = 404 - 204 * (n % 3).min(1) as u16;
        exchange("GET", format!("/products/40063813{n:05}"), &[], status, &[])
    }),
    ("a program in a folder without programs", 1, Some("http-attack-answered"), |_| {
        let session = [("cookie", "ASP.NET_SessionId=a")];
        exchange("POST", "/aspnet_client/system_web/e.aspx".into(), &session, 200, &[])
    }),
    ("a browser whose proxy blocks trackers", 60, None, |n| {
        exchange(
            "CONNECT",
            format!("h{n}.ads.example:443"),
            &[],
            403,
            &[("via", "1.1 p (squid/5.7)")],
        )
    }),
    ("home pages through a proxy", 60, None, |n| {
        exchange("GET", format!("http://h{n}.example/"), &[], 200, &[("via", "1.1 p (squid/5.7)")])
    }),
    ("advertisements that a filter of the network refuses", 60, None, |n| {
        let sent = [("referer", "http://news.example/a"), ("host", &*format!("ad{n}.example"))];
        exchange("GET", "/track.js?x=1".into(), &sent, 404, &[])
    }),
    ("names of hosts, with a referrer", 60, Some("http-host-enumeration"), |n| {
        let sent = [("referer", "http://news.example/a"), ("host", &*format!("dev{n}.example"))];
        exchange("GET", "/".into(), &sent, 404, &[])
    }),
    ("home pages of hosts that a server may have", 60, Some("http-host-enumeration"), |n| {
        let says_so = [("proxy-connection", "keep-alive")];
        exchange("GET", format!("http://h{n}.example/"), &says_so, 200, &[])
    }),
    ("a proxy whose servers are away", 80, None, |n| {
        exchange(
            "GET",
            format!("http://h{n}.example/feed"),
            &[],
            503,
            &[("x-cache", "MISS from p")],
        )
    }),
    ("words, refused, under the name of npm", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/w{n}"), &[("user-agent", "npm/10.5.0")], 403, &[])
    }),
    ("a suite that is not in a store", 60, None, |n| {
        let apt = [("user-agent", "Debian APT-HTTP/1.3 (2.6.1)")];
        exchange("GET", format!("/debian/dists/gone/main/binary-{n}/Packages.xz"), &apt, 403, STORE)
    }),
    ("suites, by a browser", 60, Some("http-path-scan"), |n| {
        let browser = [("user-agent", "Mozilla/5.0")];
        exchange("GET", format!("/w{n}/dists/gone/Packages.xz"), &browser, 403, &[])
    }),
    ("a package index of a name of its own", 60, None, |n| {
        let folder = if n % 2 == 0 { "root/dev/+simple" } else { "whl/cpu" };
        let pip = [("user-agent", "pip/23.2.1")];
        exchange("GET", format!("/{folder}/package-{n}/"), &pip, 404, &[])
    }),
    ("shared state of bitbake", 60, None, |n| {
        let of = format!("sstate%3Azlib%3Acore2-64%3A1.0%3Ar0%3Acore2-64%3A11%3A{n:064x}");
        let target = format!("/sstate-cache/universal/{n:02x}/{of}_populate_sysroot.tar.zst");
        exchange("HEAD", target, &[("user-agent", "Mozilla/5.0 (X11; Ubuntu)")], 404, &[])
    }),
    ("an archive under the name of a mirror", 60, Some("http-path-scan"), |n| {
        let curl = [("user-agent", "curl/8.1")];
        exchange("GET", format!("/www.example.com/backup/w{n}.zip"), &curl, 404, &[])
    }),
    ("indices, from outside", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/w{n}/_search"), &[], 404, &[])
    }),
    ("words below one folder, without an account", 60, None, |n| {
        exchange("GET", format!("/api/v1/w{n}"), &[], 401, &[])
    }),
    ("pages in place of leftovers", 60, None, |n| {
        let files = ["/CVS/Root", "/settings.py", "/keystore.jks", "/x.php_bak", "/"];
        exchange("GET", files[n.min(4)].into(), &[], 200, &[("content-type", "text/html")])
    }),
    ("leftovers", 1, Some("http-attack-answered"), |_| {
        exchange("GET", "/CVS/Root".into(), &[], 200, &[("content-type", "text/plain")])
    }),
    ("a store of passwords, by its owner", 60, None, |_| {
        exchange("GET", "/Database.kdbx".into(), &[BASIC], 200, &[])
    }),
    ("elements that a test waits for", 60, None, |n| {
        let target = format!("/session/{n:032x}/element");
        exchange("POST", target, &[], 404, &[("content-type", "application/json")])
    }),
    ("words below a session", 60, Some("http-path-scan"), |n| {
        let target = format!("/session/{:032x}/w{n}", 7);
        exchange("POST", target, &[], 404, &[("content-type", "application/json")])
    }),
    ("keys that a database lacks", 60, None, |n| {
        let target = format!("/channel_basic/asset{n}?attachments=true");
        exchange("GET", target, &[BASIC], 404, COUCH)
    }),
    ("keys, without an account", 60, Some("http-path-scan"), |n| {
        exchange("GET", format!("/channel_basic/asset{n}"), &[], 404, COUCH)
    }),
    ("what a device says that is off, as an app asks", 60, None, |n| {
        let json = [("content-type", "application/json")];
        exchange("GET", format!("/api/v1/devices/{}/status", 4000 + n), &[BEARER], 404, &json)
    }),
    ("words, with a token", 60, Some("http-path-scan"), |n| {
        let json = [("content-type", "application/json")];
        exchange("GET", format!("/api/v1/devices/4000/w{n}"), &[BEARER], 404, &json)
    }),
    ("pictures of cameras", 60, None, |n| {
        let image = [("content-type", "image/jpeg")];
        of_server(n, exchange("GET", "/snapshot.jpg".into(), &[BASIC], 200, &image))
    }),
    ("cameras that refuse", 60, Some("http-ssrf-sweep"), |n| {
        of_server(n, exchange("GET", "/snapshot.jpg".into(), &[BASIC], 401, &[CHALLENGE]))
    }),
    ("figures of one server after another", 60, Some("http-server-sweep"), |n| {
        let json = [("content-type", "application/json")];
        of_server(n, exchange("GET", "/varz".into(), &[], 200, &json))
    }),
    ("words, as a page looks them up, without a session", 60, Some("http-path-scan"), |n| {
        let page = [("referer", "http://h/search")];
        let json = [("content-type", "application/json")];
        exchange("GET", format!("/api/w{n}"), &page, 404, &json)
    }),
];

/// An exchange with the n-th server.
fn of_server(n: usize, exchange: Exchange) -> Exchange {
    let (method, target, sent, status, got, _) = exchange;
    (method, target, sent, status, got, n as u8)
}

#[test]
fn each_load_raises_its_alert_or_none() {
    check(LOADS);
}
