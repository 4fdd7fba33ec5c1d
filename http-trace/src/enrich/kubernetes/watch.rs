//! *I/O*: lists and watches the pods of one node with the API's protocol
//! (kubernetes.io/docs/reference/using-api/api-concepts, "Efficient detection of changes"): list from the
//! server's cache, watch from the list's resource version, list again when that version has expired.
//! Blocking, on a separate thread, with the HTTP client also used for webhooks: kube-rs would add an
//! asynchronous client, its middleware and the types of the whole API for one kind of request.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use ureq::Body;
use ureq::http::Response;

use super::access::CredentialSource;
use super::pod::{List, Object};
use crate::enrich::directory::Directory;
use crate::own_client;
use crate::own_sockets::OwnSockets;
use crate::priority;

/// What is encoded in a query value.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Largest list: 1,000 pods of 64 KB.
const LARGEST_LIST: u64 = 64 << 20;
/// Largest object: etcd accepts up to 1.5 MiB.
const LARGEST_OBJECT: u64 = 4 << 20;
/// Bytes read of an error response.
const LARGEST_ERROR: u64 = 64 << 10;

#[derive(Clone, Debug)]
pub struct Watch {
    /// The API server.
    pub place: CredentialSource,
    pub node: String,
    pub labels: Vec<String>,
    /// Timeouts and pauses.
    pub times: Times,
}

/// Timeouts and pauses.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For the start of a response, and for each part of a list.
    pub answer: Duration,
    /// How long the server keeps a watch open.
    pub watch: Duration,
    /// Longest silence of a watch: the server sends a bookmark about every minute.
    pub silence: Duration,
    /// Pause before the second attempt; doubled for each further one.
    pub first_pause: Duration,
    pub longest_pause: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Times {
            answer: Duration::from_secs(10),
            watch: Duration::from_secs(290),
            silence: Duration::from_secs(90),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// Why a watch or list ended.
#[derive(Debug)]
enum End {
    /// The server, or a timeout, ended a working watch.
    Over,
    /// The resource version has expired: list again.
    Gone,
    /// An error message.
    Failed(String),
}

/// Type of a watch event.
#[derive(Deserialize)]
struct Kind {
    r#type: String,
}

/// Object of a watch event.
#[derive(Deserialize)]
struct WatchEvent<T> {
    object: T,
}

/// Contents of an error.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
    message: String,
}

impl Watch {
    /// Starts watching. A failure is reported once until it works again.
    pub fn start(
        self,
        directory: Arc<Directory>,
        own: OwnSockets,
        say: fn(&str),
    ) -> io::Result<()> {
        let mut follower = Follower {
            watch: self,
            directory,
            own,
            say,
            was_said: false,
            watch_failed: false,
            version: None,
            was_empty: false,
        };
        priority::spawn("pods", move || follower.work()).map(drop)
    }
}

struct Follower {
    watch: Watch,
    directory: Arc<Directory>,
    own: OwnSockets,
    say: fn(&str),
    /// Whether a failure has been reported.
    was_said: bool,
    /// Whether the last watch failed: then a list does not show that it works again.
    watch_failed: bool,
    version: Option<String>,
    /// Whether a node without pods has been reported.
    was_empty: bool,
}

impl Follower {
    fn work(&mut self) {
        let times = self.watch.times;
        let mut pause = times.first_pause;
        loop {
            let begun = Instant::now();
            let end = match self.version.clone() {
                None => match self.list() {
                    Ok(()) => continue,
                    // No version was asked for.
                    Err(End::Gone) => End::Failed("410 Gone for a list".to_owned()),
                    Err(end) => end,
                },
                Some(version) => {
                    let end = self.follow(&version);
                    if begun.elapsed() > times.first_pause {
                        pause = times.first_pause;
                    }
                    end
                }
            };
            match end {
                End::Gone => self.version = None,
                End::Over => {}
                End::Failed(why) => {
                    if !std::mem::replace(&mut self.was_said, true) {
                        (self.say)(&format!("pods are not named: {why}; retrying"));
                    }
                }
            }
            // Spread retries, so that the nodes of a cluster do not all return at once.
            thread::sleep(pause.mul_f64(jitter()));
            pause = (pause * 2).min(times.longest_pause);
        }
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.was_said) {
            (self.say)("pods are named again");
        }
    }

    fn get(&self, query: &str, silence: Duration) -> Result<Response<Body>, End> {
        let access = self.watch.place.read().map_err(End::Failed)?;
        let times = &self.watch.times;
        let config = own_client::config()
            .tls_config(access.tls)
            .timeout_connect(Some(times.answer))
            .timeout_recv_response(Some(times.answer))
            .timeout_per_read(Some(silence))
            .build();
        let node = utf8_percent_encode(&self.watch.node, QUERY_VALUE);
        let url =
            format!("{}/api/v1/pods?fieldSelector=spec.nodeName%3D{node}&{query}", access.server);
        let mut request = own_client::agent(config, self.own.clone())
            .get(&url)
            .header("accept", "application/json");
        if let Some(token) = access.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let fail = |why: &str| End::Failed(format!("{}: {why}", access.server));
        let mut answer = request.call().map_err(|error| fail(&error.to_string()))?;
        let code = answer.status().as_u16();
        if code == 200 {
            return Ok(answer);
        }
        let body = answer.body_mut().with_config().limit(LARGEST_ERROR);
        let status: Status = serde_json::from_reader(body.reader()).unwrap_or_default();
        Err(match code {
            410 => End::Gone,
            _ => fail(&format!("{} {}", answer.status(), status.message)),
        })
    }

    /// Lists all pods, from the server's cache.
    fn list(&mut self) -> Result<(), End> {
        let answer = self.get("resourceVersion=0", self.watch.times.answer)?;
        let body = answer.into_body().into_with_config().limit(LARGEST_LIST);
        let list: List = serde_json::from_reader(BufReader::new(body.reader()))
            .map_err(|error| End::Failed(format!("invalid pod list: {error}")))?;
        let version = list.metadata.resource_version;
        if version.is_empty() {
            return Err(End::Failed("pod list without a resourceVersion".to_owned()));
        }
        let items = list.items.unwrap_or_default();
        let (node, labels) = (&self.watch.node, &self.watch.labels);
        let of_node = items.iter().filter_map(|pod| pod.members(node, labels));
        let pods: Vec<_> = of_node.collect();
        if pods.is_empty() && !std::mem::replace(&mut self.was_empty, true) {
            (self.say)(&format!(
                "no pod is known on the node `{node}`; if the cluster calls this node otherwise, set node-name"
            ));
        }
        self.directory.set_pods(pods);
        self.version = Some(version);
        if !self.watch_failed {
            self.works();
        }
        Ok(())
    }

    fn follow(&mut self, version: &str) -> End {
        let times = self.watch.times;
        let query = format!(
            "watch=true&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}",
            times.watch.as_secs(),
            utf8_percent_encode(version, QUERY_VALUE)
        );
        let answer = match self.get(&query, times.silence) {
            Ok(answer) => answer,
            Err(end) => return end,
        };
        let body = answer.into_body().into_with_config().limit(u64::MAX);
        let mut lines = BufReader::new(body.reader());
        loop {
            let mut line = Vec::new();
            let read = lines.by_ref().take(LARGEST_OBJECT).read_until(b'\n', &mut line);
            match read {
                Ok(0) => {
                    self.watch_failed = false;
                    self.works();
                    return End::Over;
                }
                Ok(read) if read as u64 == LARGEST_OBJECT => {
                    self.version = None;
                    return End::Failed("pod change too long".to_owned());
                }
                Ok(_) => {}
                // Disconnected, or silent for too long: reconnecting shows whether the server is up.
                Err(_) => return End::Over,
            }
            let changed = self.change(&line);
            self.watch_failed = matches!(changed, Err(End::Failed(_)));
            if let Err(end) = changed {
                // Resuming would receive the same event again.
                self.version = None;
                return end;
            }
            self.works();
        }
    }

    fn change(&mut self, line: &[u8]) -> Result<(), End> {
        let bad = |error| End::Failed(format!("invalid pod change: {error}"));
        let Kind { r#type: kind } = serde_json::from_slice(line).map_err(bad)?;
        if kind == "ERROR" {
            let status = serde_json::from_slice::<WatchEvent<Status>>(line);
            let status = status.map(|of| of.object).unwrap_or_default();
            return Err(match status.code {
                410 => End::Gone,
                _ => End::Failed(format!("{} {}", status.code, status.message)),
            });
        }
        let WatchEvent { object: pod } =
            serde_json::from_slice::<WatchEvent<Object>>(line).map_err(bad)?;
        match &*kind {
            "ADDED" | "MODIFIED" => match pod.members(&self.watch.node, &self.watch.labels) {
                Some(members) => self.directory.set_pod(members),
                None => self.directory.remove_pod(pod.key()),
            },
            "DELETED" => self.directory.remove_pod(pod.key()),
            // Bookmarks, and event types that may be added.
            _ => {}
        }
        if !pod.metadata.resource_version.is_empty() {
            self.version = Some(pod.metadata.resource_version);
        }
        Ok(())
    }
}

/// A random factor from 0.5 to 1.5.
fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    0.5 + (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};
    use std::sync::Mutex;

    use http_trace_model::process::{Pod, Workload};
    use http_trace_testkit::api_server::{ApiServer, Mode, pod};

    use super::*;

    type Said = Mutex<Vec<String>>;

    /// Watches the pods of `n1` with this kubeconfig and short timeouts.
    fn start(kubeconfig: &str, say: fn(&str)) -> (Arc<Directory>, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        fs::write(&path, kubeconfig).expect("written");
        let directory = Arc::new(Directory::default());
        let watch = Watch {
            place: CredentialSource::File(path),
            node: "n1".to_owned(),
            labels: vec!["app".to_owned()],
            times: Times {
                answer: Duration::from_secs(3),
                watch: Duration::from_secs(2),
                silence: Duration::from_secs(6),
                first_pause: Duration::from_millis(20),
                longest_pause: Duration::from_millis(100),
            },
        };
        let started = watch.start(directory.clone(), OwnSockets::default(), say);
        started.expect("a thread");
        (directory, folder)
    }

    fn name(directory: &Directory, uid: &str) -> Option<String> {
        let mut workload = Workload {
            pod: Some(Pod { uid: uid.into(), ..Pod::default() }),
            ..Workload::default()
        };
        directory.complete(&mut workload);
        workload.pod?.name.map(String::from)
    }

    /// Waits until the pod has this name, or none.
    fn becomes(directory: &Directory, uid: &str, expected: Option<&str>) {
        let until = Instant::now() + Duration::from_secs(20);
        while name(directory, uid).as_deref() != expected {
            assert!(Instant::now() < until, "{uid} is {:?}", name(directory, uid));
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn put(server: &ApiServer, uid: &str, name: &str) {
        server.put(uid, &pod(uid, name, "n1", &[("app", uid)]));
    }

    #[test]
    fn pods_are_followed_whatever_becomes_of_connections_and_versions() {
        static SAID: Said = Mutex::new(Vec::new());
        let server = ApiServer::start().expect("a server");
        put(&server, "u1", "web-5d-a");
        server.put("u9", &pod("u9", "of-another-node", "n2", &[]));
        let (directory, _folder) = start(&server.kubeconfig(), |line| {
            SAID.lock().expect("not poisoned").push(line.to_owned());
        });
        becomes(&directory, "u1", Some("web-5d-a"));
        put(&server, "u2", "web-5d-b");
        becomes(&directory, "u2", Some("web-5d-b"));
        put(&server, "u2", "web-5d-c");
        becomes(&directory, "u2", Some("web-5d-c"));
        server.remove("u2");
        becomes(&directory, "u2", None);
        let lists = |server: &ApiServer| {
            let asked = server.asked();
            asked.iter().filter(|(line, _)| !line.contains("watch=true")).count()
        };
        for round in 0..6 {
            server.disconnect();
            let uid = format!("d{round}");
            put(&server, &uid, "web-5d-d");
            becomes(&directory, &uid, Some("web-5d-d"));
        }
        assert_eq!(lists(&server), 1, "a watch is taken up where it ended");
        for round in 0..6 {
            let uid = format!("g{round}");
            server.put(&uid, &pod(&uid, "web-5d-g", "n1", &[]));
            server.forget();
            becomes(&directory, &uid, Some("web-5d-g"));
        }
        assert!(lists(&server) > 1, "a version that is gone is listed again");
        assert_eq!(name(&directory, "u1").as_deref(), Some("web-5d-a"));
        assert_eq!(name(&directory, "u9"), None);
        for (line, token) in server.asked() {
            let wanted = "GET /api/v1/pods?fieldSelector=spec.nodeName%3Dn1&";
            assert!(line.starts_with(wanted), "{line}");
            assert_eq!(token.as_deref(), Some("Bearer sesame"));
        }
        assert_eq!(*SAID.lock().expect("not poisoned"), [""; 0]);
    }

    /// As with a node name that the cluster does not have.
    #[test]
    fn a_node_without_pods_is_said_once() {
        static SAID: Said = Mutex::new(Vec::new());
        let server = ApiServer::start().expect("a server");
        server.put("u9", &pod("u9", "of-another-node", "n2", &[]));
        let (directory, _folder) = start(&server.kubeconfig(), |line| {
            SAID.lock().expect("not poisoned").push(line.to_owned());
        });
        let until = Instant::now() + Duration::from_secs(20);
        while SAID.lock().expect("not poisoned").is_empty() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        put(&server, "u1", "web-5d-a");
        becomes(&directory, "u1", Some("web-5d-a"));
        server.remove("u1");
        server.forget();
        becomes(&directory, "u1", None);
        let said = SAID.lock().expect("not poisoned").join("\n");
        assert_eq!(said.matches("no pod is known on the node `n1`").count(), 1, "{said}");
    }

    #[test]
    fn whatever_the_server_does_is_said_once_and_names_stay() {
        static SAID: Said = Mutex::new(Vec::new());
        let said = || std::mem::take(&mut *SAID.lock().expect("not poisoned"));
        // Allow for a busy machine.
        let wait_for = |lines: usize| {
            let until = Instant::now() + Duration::from_secs(30);
            while SAID.lock().expect("not poisoned").len() < lines && Instant::now() < until {
                thread::sleep(Duration::from_millis(10));
            }
        };
        let server = ApiServer::start().expect("a server");
        put(&server, "u1", "web-5d-a");
        let (directory, _folder) = start(&server.kubeconfig(), |line| {
            SAID.lock().expect("not poisoned").push(line.to_owned());
        });
        becomes(&directory, "u1", Some("web-5d-a"));
        for (round, (mode, why)) in [
            (Mode::Status(403), "403 Forbidden no pods for you"),
            (Mode::Status(500), "500 Internal Server Error no pods for you"),
            (Mode::Garbage, "invalid pod change: expected value"),
            (Mode::Hangs, "timeout"),
        ]
        .into_iter()
        .enumerate()
        {
            server.set_mode(mode);
            server.disconnect();
            wait_for(1);
            assert_eq!(name(&directory, "u1").as_deref(), Some("web-5d-a"));
            server.set_mode(Mode::Works);
            let uid = format!("a{round}");
            put(&server, &uid, "web-5d-x");
            becomes(&directory, &uid, Some("web-5d-x"));
            wait_for(2);
            let said = said();
            assert!(said.first().is_some_and(|line| line.contains(why)), "{why}: {said:?}");
            assert_eq!(said.get(1..), Some(&["pods are named again".to_owned()][..]));
        }
        server.set_mode(Mode::Slow(Duration::from_millis(200)));
        server.disconnect();
        put(&server, "slow", "web-5d-s");
        becomes(&directory, "slow", Some("web-5d-s"));
        assert_eq!(said(), [""; 0]);
        server.say("{\"type\":\"MODIFIED\",\"object\":7}");
        server.say("{\"type\":\"UNHEARD\",\"object\":{}}");
        put(&server, "after", "web-5d-z");
        becomes(&directory, "after", Some("web-5d-z"));
    }

    #[test]
    fn a_watch_that_never_works_is_one_outage() {
        static SAID: Said = Mutex::new(Vec::new());
        let server = ApiServer::start().expect("a server");
        let (directory, _folder) = start(&server.kubeconfig(), |line| {
            SAID.lock().expect("not poisoned").push(line.to_owned());
        });
        let said = |last: &str| {
            let until = Instant::now() + Duration::from_secs(20);
            let is_last = |line: &String| line.contains(last);
            while !SAID.lock().expect("not poisoned").last().is_some_and(is_last) {
                assert!(Instant::now() < until, "no {last}: {SAID:?}");
                thread::sleep(Duration::from_millis(10));
            }
            std::mem::take(&mut *SAID.lock().expect("not poisoned"))
        };
        server.set_mode(Mode::ListsAlone);
        server.disconnect();
        for round in 0..4 {
            // Names still come from lists.
            let uid = format!("n{round}");
            put(&server, &uid, "web-5d-n");
            becomes(&directory, &uid, Some("web-5d-n"));
        }
        assert_eq!(said("invalid pod change").len(), 1);
        server.set_mode(Mode::Works);
        assert_eq!(said("pods are named again").len(), 1);
        server.set_mode(Mode::Status(410));
        server.disconnect();
        assert_eq!(said("410 Gone").len(), 1);
    }

    #[test]
    fn a_server_that_shows_another_certificate_is_not_believed() {
        static SAID: Said = Mutex::new(Vec::new());
        let folder = tempfile::tempdir().expect("a folder");
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(&folder)
            .stderr(Stdio::null())
            .status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!(
                "SKIPPED (needs openssl): a_server_that_shows_another_certificate_is_not_believed"
            );
            return;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = port.local_addr().expect("an address");
        drop(port);
        let mut server = Command::new("openssl")
            .args(["s_server", "-quiet", "-www", "-cert", "cert.pem", "-key", "key.pem"])
            .args(["-accept", &address.to_string()])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        while std::net::TcpStream::connect(address).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        let kubeconfig = ApiServer::start().expect("a server").kubeconfig();
        let (before, after) = kubeconfig.split_once("http://").expect("a server");
        let after = after.split_once('\'').expect("its end").1;
        let kubeconfig = format!("{before}https://{address}'{after}");
        let directory = start(&kubeconfig, |line| {
            SAID.lock().expect("not poisoned").push(line.to_owned());
        });
        thread::sleep(Duration::from_secs(2));
        let said = SAID.lock().expect("not poisoned").clone();
        let _ = server.kill();
        let _ = server.wait();
        drop(directory);
        let [line] = &said[..] else { panic!("{said:?}") };
        assert!(line.contains("certificate") && line.contains(&address.to_string()), "{line}");
    }
}
