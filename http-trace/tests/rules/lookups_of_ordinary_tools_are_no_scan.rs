//! Build caches, container registries, package managers and file shares routinely request missing objects.
//! That is neither a scan nor an error spike; a scan that uses their names is.

use crate::{alerts_of_log, log_line};

/// 64 hexadecimal digits, different for each number.
fn digest(n: u64) -> String {
    let word = |k: u64| (n + k).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ k;
    (0..4).map(|k| format!("{:016x}", word(k))).collect()
}

/// Method, path and status of a tool's requests for an object; more than one if it fills a miss.
type Lookup = fn(u64) -> Vec<(&'static str, String, u16)>;

const TOOLS: &[(&str, Lookup)] = &[
    ("bazel/7.2.0", |n| {
        let path = format!("/cache/ac/{}", digest(n));
        vec![("GET", path.clone(), 404), ("PUT", path, 201)]
    }),
    // Names in base 32, in a layout below a separate folder.
    ("ccache/4.7.5", |n| {
        let digits = b"0123456789abcdefghijklmnopqrstuv";
        let name = digest(n).into_bytes().into_iter().zip(0_u64..33);
        let name: String = name
            .map(|(byte, at)| char::from(digits[(u64::from(byte) * 7 + at + n) as usize % 32]))
            .collect();
        let path = format!("/cache/{}/{}", &name[..2], &name[2..]);
        vec![("GET", path.clone(), 404), ("PUT", path, 201)]
    }),
    ("rclone/v1.60", |n| {
        vec![("MKCOL", "/share/up/".to_owned(), 405), ("PUT", format!("/share/up/{n}.txt"), 201)]
    }),
    ("Gradle/8.7", |n| {
        let path = format!("/cache/{}", &digest(n)[..32]);
        vec![("GET", path.clone(), 404), ("PUT", path, 201)]
    }),
    ("docker/26.1.0", |n| {
        vec![
            ("HEAD", format!("/v2/app/blobs/sha256:{}", digest(n)), 404),
            ("POST", "/v2/app/blobs/uploads/".to_owned(), 202),
            ("PUT", format!("/v2/app/blobs/uploads/{n}"), 201),
            ("HEAD", format!("/v2/app{n}/manifests/latest"), 404),
        ]
    }),
    // Content by its digest, in folders that its first digits name; of a third there is none.
    ("git/2.47.3", |n| {
        let name = &digest(n)[..38];
        let status = if n % 3 == 0 { 404 } else { 200 };
        vec![("GET", format!("/r.git/objects/{:02}/{name}", n % 100), status)]
    }),
    ("Diun/4.28.0 go/1.23", |n| {
        let signature = format!("/v2/lib/app{n}/manifests/sha256-{}.sig", digest(n));
        vec![("HEAD", signature, 404), ("GET", format!("/v2/lib/app{n}/tags/list"), 404)]
    }),
    ("sigstore/2.4", |n| {
        vec![("HEAD", format!("/v2/lib/app/manifests/sha256-{}.att", digest(n)), 404)]
    }),
    ("python-jenkins/1.8", |n| {
        let status = if n % 3 == 0 { 404 } else { 200 };
        vec![("GET", format!("/job/app/{n}/api/json"), status)]
    }),
    // What a site tells about itself.
    ("node", |n| {
        vec![
            ("GET", format!("/.well-known/agent-{n}.json"), 404),
            ("GET", "/llms.txt".to_owned(), 404),
            ("GET", "/AGENTS.md".to_owned(), 404),
        ]
    }),
    ("pip/24.0", |n| vec![("GET", format!("/simple/pkg{n}/"), 404)]),
    ("Apache-Maven/3.9.6", |n| {
        let path = format!("/internal/org/example/lib{n}/1.0/lib{n}-1.0.pom");
        vec![("GET", path.clone(), 404), ("GET", format!("{path}.sha1"), 404)]
    }),
    ("npm/10.5.0 node/v20.12.2 linux x64", |n| {
        vec![("GET", format!("/@scope%2fpkg{n}"), 404), ("GET", format!("/left-pad{n}"), 404)]
    }),
    ("Conan/2.9.2 (Linux 6.1; Python 3.12; x86_64)", |n| {
        let recipe = format!("/artifactory/api/conan/own/v2/conans/zlib{n}/1.3.1/_/_");
        vec![
            ("GET", format!("{recipe}/latest"), 404),
            ("GET", format!("{recipe}/revisions/{}/search", &digest(n)[..32]), 404),
        ]
    }),
    ("winget-cli WindowsPackageManager/1.9.2", |n| {
        vec![("GET", format!("/feed/packageManifests/Vendor{n}.Tool?Version=2.1"), 404)]
    }),
    ("Deno/2.2.0", |n| {
        let module = format!("/@std/tool-{n}");
        let version = format!("{module}/1.0.{n}_meta.json");
        vec![("GET", format!("{module}/meta.json"), 404), ("GET", version, 404)]
    }),
    ("VSCodium/1.99", |n| {
        let extension = format!("/api/vendor{n}/theme");
        vec![
            ("GET", format!("{extension}/latest"), 404),
            ("GET", format!("{extension}/linux-x64/latest"), 404),
        ]
    }),
    ("ansible-galaxy/2.17.6 (Linux; python:3.12.7)", |n| {
        let index = "/api/v3/plugin/ansible/content/published/collections/index";
        vec![("GET", format!("{index}/vendor{n}/tools/versions/?limit=100"), 404)]
    }),
    ("npm/10.2.4 node/v20.11.0 linux x64", |n| {
        let own = format!("/artifactory/api/npm/own/@scope%2fpkg{n}");
        vec![("GET", format!("/repository/npm-group/pkg{n}"), 404), ("GET", own, 404)]
    }),
    ("Element/1.11", |n| {
        let server = format!("/_matrix/client/v1/media/thumbnail/a.example/Kq{n}ZbY?width=32");
        vec![
            ("GET", format!("/_matrix/client/v3/profile/%40u{n}%3Aa.example"), 404),
            ("GET", server, 404),
        ]
    }),
    ("Synapse/1.118.0", |n| {
        vec![(
            "GET",
            format!("/_matrix/media/v3/download/a.example/Kq{n}ZbY?allow_remote=false"),
            404,
        )]
    }),
    ("Helm/3.16.1", |n| vec![("GET", format!("/charts/app-{n}.2.3.tgz"), 404)]),
    ("Go-http-client/1.1", |n| vec![("GET", format!("/team/lib{n}?go-get=1"), 404)]),
    ("Kodi/20.2 (Linux; Android 11) Android/11", |n| {
        vec![
            ("HEAD", format!("/movies/Film%20{n}.nfo"), 404),
            ("HEAD", format!("/movies/Film%20{n}-poster.jpg"), 404),
        ]
    }),
    ("Debian APT-HTTP/1.3 (2.6.1)", |n| {
        vec![("GET", format!("/debian/dists/stable{n}/InRelease"), 404)]
    }),
    ("cargo/1.95.0 (f2d3ce0bd 2026-03-21)", |n| {
        vec![
            ("GET", format!("/in/te/internal-{n}"), 404),
            ("GET", format!("/3/a/a{}", n % 90), 404),
        ]
    }),
    ("cri-o/1.29.1", |n| vec![("GET", format!("/v2/library/app{n}/manifests/latest"), 404)]),
    ("got (https://github.com/sindresorhus/got)", |n| {
        vec![("GET", format!("/@scope%2fpkg{n}"), 404)]
    }),
    ("NuGet Command Line/6.9 (Linux)", |n| {
        vec![("GET", format!("/v3/flatcontainer/pkg{n}/index.json"), 404)]
    }),
    ("Terraform/1.7.5", |n| vec![("GET", format!("/v1/modules/acme/m{n}/aws/versions"), 404)]),
    ("apk-tools/2.14.0", |n| {
        let path = format!("/alpine/v3.19/r{n}/x86_64/APKINDEX.tar.gz");
        vec![("GET", path, 404)]
    }),
    ("pacman/6.1.0 (Linux x86_64) libalpm/14.0.0", |n| {
        vec![("GET", format!("/r{n}/os/x86_64/r{n}.db.sig"), 404)]
    }),
    ("turbo 1.12.4", |n| {
        let path = format!("/v8/artifacts/{}", &digest(n)[..16]);
        vec![("GET", format!("{path}?teamId=x"), 404)]
    }),
    ("UnityAccelerator", |n| {
        let name = digest(n);
        let path = format!("/cache/{}/{}/a", &name[..32], &name[32..]);
        vec![("GET", path, 404)]
    }),
    ("elfutils/0.190", |n| {
        let path = format!("/buildid/{}/debuginfo", &digest(n)[..40]);
        vec![("GET", path, 404)]
    }),
    ("Microsoft-Symbol-Server/10.0", |n| {
        let path = format!("/symbols/mod{n}.pdb/{}1/mod{n}.pdb", &digest(n)[..32]);
        vec![("GET", path, 404)]
    }),
    ("flatpak/1.15.6 ostree/2023.8", |n| {
        let name = digest(n).repeat(2);
        let (from, to) = (&name[..41], &name[41..84]);
        vec![("GET", format!("/deltas/ab/{from}-{to}/superblock"), 404)]
    }),
    ("Mozilla/5.0 (X11; Linux x86_64) Firefox/125.0", |n| {
        vec![
            ("GET", format!("/tiles/12/{}/{n}.png", n % 64), 404),
            ("GET", format!("/js/chunk-{n}.3f2a9c1b.js.map"), 404),
        ]
    }),
    ("Boto3/1.34.69 md/Botocore#1.34.69", |n| {
        let path = format!("/bucket/k/{n}");
        vec![("HEAD", path.clone(), 404), ("PUT", path, 200)]
    }),
    ("aws-cli/2.15.30 Python/3.11.8", |n| vec![("HEAD", format!("/lake/t/part-{n}.parquet"), 404)]),
    ("kubectl/v1.29.0 (linux/amd64) kubernetes/3f7a50f", |n| {
        let all = "/api/v1/namespaces/default/configmaps";
        vec![("GET", format!("{all}/cm{n}"), 404), ("POST", all.to_owned(), 201)]
    }),
    ("Puppet/8.5.1 Ruby/3.2.3 (x86_64-linux)", |n| {
        let path = format!("/puppet/v3/file_metadata/modules/m{n}");
        vec![("GET", path, 404)]
    }),
    ("elasticsearch-py/8.12.0", |n| vec![("HEAD", format!("/logs-{n}"), 404)]),
    ("Go-http-client/1.1", |n| {
        vec![("GET", format!("/sumdb/sum.golang.org/lookup/corp.example/mod{n}@v1.0.{n}"), 404)]
    }),
    ("git/2.43.0", |n| {
        vec![("GET", format!("/team/app{n}.git/info/refs?service=git-upload-pack"), 404)]
    }),
    ("buildkit/v0.12", |n| vec![("HEAD", format!("/v2/cache/manifests/b{n}"), 404)]),
    ("poetry/1.8.2 CPython/3.11", |n| {
        vec![
            ("GET", format!("/pypi/pkg{n}/json"), 404),
            ("GET", format!("/f/pkg{n}-1.{n}.tar.gz"), 404),
        ]
    }),
    ("Apache-HttpClient/4.5.14 (Java/17)", |n| {
        let folder = format!("/internal/org/example/lib{n}");
        vec![
            ("GET", format!("{folder}/2.{n}/lib{n}-2.{n}.jar"), 404),
            ("GET", format!("{folder}/maven-metadata.xml"), 404),
        ]
    }),
    ("hex/2.0.6 (elixir/1.16)", |n| vec![("GET", format!("/packages/lib{n}"), 404)]),
    ("Chef Infra Client/18.4", |n| vec![("GET", format!("/organizations/a/nodes/n{n}"), 404)]),
    ("VLC/3.0.20 LibVLC/3.0.20", |n| vec![("GET", format!("/live/one/seg-1{n:02}.ts"), 404)]),
    ("consul-template/0.37.0", |n| vec![("GET", format!("/v1/kv/app/{n}"), 404)]),
    ("gvfs/1.54.0", |n| {
        let names = [".hidden", ".Trash-1000", ".xdg-volume-info", "autorun.inf"];
        let path = |name| ("PROPFIND", format!("/dav/{n}/{name}"), 404);
        names.map(path).to_vec()
    }),
    ("WebDAVFS/3.0.0", |n| {
        vec![
            ("PROPFIND", format!("/dav/share/p{n}.jpg"), 207),
            ("PROPFIND", format!("/dav/share/._p{n}.jpg"), 404),
        ]
    }),
];

fn severities(log: impl Iterator<Item = String>) -> Vec<(usize, String, u64)> {
    let alerts = alerts_of_log(&log.collect::<String>());
    let alerts = alerts.into_iter().flat_map(|(client, alerts)| {
        alerts.into_iter().map(move |(rule, severity)| (client, rule, severity))
    });
    alerts.filter(|(.., severity)| *severity > 0).collect()
}

#[test]
fn what_a_tool_looks_up_raises_nothing() {
    let lines = TOOLS.iter().enumerate().flat_map(|(client, (agent, lookup))| {
        let lookups = (0..700).flat_map(lookup).enumerate();
        lookups.map(move |(at, (method, path, status))| {
            log_line(client, at / 10, (method, &path), status, agent)
        })
    });
    let raised = severities(lines);
    assert!(raised.is_empty(), "{raised:?}");
}

#[test]
fn a_scan_under_the_name_of_a_tool_is_seen() {
    let lines = TOOLS.iter().enumerate().flat_map(|(client, (agent, _))| {
        (0..60).map(move |n| log_line(client, n, ("GET", &format!("/admin{n}.php")), 404, agent))
    });
    let raised = severities(lines);
    for (client, (agent, _)) in TOOLS.iter().enumerate() {
        let scan = (client, "http-path-scan".to_owned(), 5);
        assert!(raised.contains(&scan), "{agent}: {raised:?}");
    }
}

/// Records by UUID: errors count, but nobody guesses such a name.
#[test]
fn who_asks_for_records_that_are_gone_scans_nothing() {
    let lines = (0..60).map(|n| {
        let name = digest(n);
        let path = format!(
            "/api/orders/{}-{}-4{}-a{}-{}",
            &name[..8],
            &name[8..12],
            &name[13..16],
            &name[17..20],
            &name[20..32]
        );
        log_line(0, 0, ("GET", &path), 404, "sync/1.0")
    });
    assert_eq!(severities(lines), []);
}

/// git sends credentials only after a 401, for each request.
#[test]
fn who_is_asked_for_credentials_each_time_guesses_none() {
    let target = "/app.git/info/refs?service=git-upload-pack";
    let agents = ["git/2.43.0", "curl/8.5.0"];
    let lines = agents.iter().enumerate().flat_map(|(client, agent)| {
        let line = move |second, status| log_line(client, second, ("GET", target), status, agent);
        (0..40).flat_map(move |second| [line(second, 401), line(second, 200)])
    });
    assert_eq!(severities(lines), []);
    // Who is never let in guesses, if the log tells of no user.
    let guesses = (0..40).map(|n| log_line(1, n, ("GET", "/admin/"), 401, agents[1]));
    let logged = (1, "http-brute-force-logged".to_owned(), 5);
    assert_eq!(severities(guesses), [logged]);
}

#[test]
fn a_refusal_is_no_miss() {
    let (agent, lookup) = TOOLS[0];
    let lookups = (0..60).flat_map(lookup);
    let lines = lookups.map(|(method, path, _)| log_line(0, 0, (method, &path), 403, agent));
    let raised = severities(lines);
    assert!(raised.contains(&(0, "http-path-scan".to_owned(), 5)), "{raised:?}");
}

/// An unknown cache or share: what a client first requests and then uploads was not a guess.
#[test]
fn what_the_client_fills_itself_is_no_scan() {
    let ask = |client, n: usize, method, status| {
        let (second, path) = (n / 2, format!("/w{n}/artifact-{n}"));
        log_line(client, second, (method, &path), status, "builder/1.0")
    };
    // Twenty at once, up to the error limit; many clients; and one that fills only every second miss.
    let many = (0..300_usize).step_by(20).flat_map(|at| {
        let asked = (at..at + 20).map(move |n| ask(0, n, "GET", 404));
        asked.chain((at..at + 20).map(move |n| ask(0, n, "PUT", 201)))
    });
    let fleet = (0..40).flat_map(|n| {
        let pair = move |n| [ask(1 + n / 2, n, "GET", 404), ask(1 + n / 2, n, "PUT", 201)];
        pair(n)
    });
    let half = (0..120).flat_map(|n| {
        let filled = (n % 2 == 0).then(|| ask(50, n, "PUT", 201));
        [ask(50, n, "GET", 404)].into_iter().chain(filled)
    });
    let raised = severities(many.chain(fleet).chain(half));
    assert_eq!(raised, [(50, "http-path-scan".to_owned(), 5)]);
}

/// What looks like a lookup by a name that anybody may type is told if it goes on: a script that asks for one
/// missing record, and a wordlist under the name of a client library.
#[test]
fn a_broken_client_and_a_wordlist_in_the_layout_of_a_tool_are_seen() {
    let record = "/api/orders/550e8400-e29b-41d4-a716-446655440000".to_owned();
    let cases: [(&str, Box<dyn Fn(usize) -> String>, &str); 4] = [
        ("x", Box::new(move |_| record.clone()), "http-error-spike-external"),
        ("Apache-HttpClient/4.5.14", Box::new(|n| format!("/word{n}.zip")), "http-path-scan"),
        (
            "Apache-HttpClient/4.5.14",
            Box::new(|_| "/feed/prices.xml".to_owned()),
            "http-error-spike-external",
        ),
        ("pip/1", Box::new(|n| format!("/word{n}.tar.gz")), "http-path-scan"),
    ];
    let lines = cases.iter().enumerate().flat_map(|(client, (agent, path, _))| {
        (0..400).map(move |n| log_line(client, n / 2, ("GET", &path(n)), 404, agent))
    });
    let raised = severities(lines);
    for (client, (agent, _, rule)) in cases.iter().enumerate() {
        let is_told = raised.iter().any(|(of, name, _)| *of == client && name == rule);
        assert!(is_told, "{client} {agent} {rule}: {raised:?}");
    }
}
