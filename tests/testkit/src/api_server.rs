//! A Kubernetes API server, as far as listing and watching pods goes: versions, bookmarks, changes, and every
//! fault of them. Speaks HTTP/1.1 on a loopback port.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How requests are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Correctly.
    Works,
    /// Correctly, after this time.
    Slow(Duration),
    /// With this status and no content.
    Status(u16),
    /// With bytes that are not JSON.
    Garbage,
    /// Lists correctly, watches with bytes that are not JSON.
    ListsAlone,
    /// Not at all.
    Hangs,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    version: u64,
    /// JSON by UID.
    pods: BTreeMap<String, String>,
    /// Changes by version.
    changes: BTreeMap<u64, String>,
    /// Watches from before this version are answered with 410 Gone.
    oldest: u64,
    /// Watches of an earlier generation end.
    generation: u64,
    /// Request lines, with the value of Authorization.
    asked: Vec<(String, Option<String>)>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The server. Clones share their state.
#[derive(Clone, Debug)]
pub struct ApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// JSON of a pod: `name` in the namespace `shop`, with containers as name and id.
pub fn pod(uid: &str, name: &str, node: &str, containers: &[(&str, &str)]) -> String {
    let statuses: Vec<String> = containers
        .iter()
        .map(|(name, id)| {
            format!(r#"{{"name":"{name}","image":"registry/{name}:1","containerID":"containerd://{id}"}}"#)
        })
        .collect();
    let owner = name.rsplit_once('-').map_or(name, |(owner, _)| owner);
    format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"shop","uid":"{uid}",
        "resourceVersion":"VERSION","labels":{{"app":"web","pod-template-hash":"5d"}},"ownerReferences":[
        {{"kind":"ReplicaSet","name":"{owner}","controller":true}}]}},"spec":{{"nodeName":"{node}"}},
        "status":{{"phase":"Running","containerStatuses":[{}]}}}}"#,
        statuses.join(",")
    )
    .replace('\n', "")
}

impl ApiServer {
    /// Starts a server; its threads end with the process.
    pub fn start() -> io::Result<Self> {
        Self::listen(TcpListener::bind("127.0.0.1:0")?)
    }

    /// Starts a server on this listener.
    pub fn listen(listener: TcpListener) -> io::Result<Self> {
        let state = State {
            mode: Mode::Works,
            version: 100,
            pods: BTreeMap::new(),
            changes: BTreeMap::new(),
            oldest: 0,
            generation: 0,
            asked: Vec::new(),
        };
        let server = ApiServer {
            address: listener.local_addr()?,
            shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }),
        };
        let of_thread = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = of_thread.clone();
                // A client that has gone is no error of the server.
                thread::spawn(move || server.answer(stream).unwrap_or_default());
            }
        });
        Ok(server)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The text of a kubeconfig file for it.
    pub fn kubeconfig(&self) -> String {
        format!(
            "current-context: test\ncontexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
             clusters: [{{name: test, cluster: {{server: 'http://{}'}}}}]\n\
             users: [{{name: test, user: {{token: sesame}}}}]\n",
            self.address
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.shared.changed.notify_all();
    }

    /// Sets how requests are answered from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.change(|state| state.mode = mode);
    }

    /// Adds or changes a pod: JSON as from [`pod`].
    pub fn put(&self, uid: &str, json: &str) {
        self.change(|state| {
            let kind = match state.pods.contains_key(uid) {
                true => "MODIFIED",
                false => "ADDED",
            };
            state.record(kind, json);
            state.pods.insert(uid.to_owned(), json.to_owned());
        });
    }

    /// Deletes the pod.
    pub fn remove(&self, uid: &str) {
        self.change(|state| {
            if let Some(json) = state.pods.remove(uid) {
                state.record("DELETED", &json);
            }
        });
    }

    /// Sends this line to watches, unchanged.
    pub fn say(&self, line: &str) {
        self.change(|state| {
            state.version += 1;
            let version = state.version;
            state.changes.insert(version, line.to_owned());
        });
    }

    /// Ends all watches.
    pub fn disconnect(&self) {
        self.change(|state| state.generation += 1);
    }

    /// Forgets all earlier versions (410 Gone) and ends watches.
    pub fn forget(&self) {
        self.change(|state| {
            state.version += 1;
            state.oldest = state.version;
            state.changes.clear();
            state.generation += 1;
        });
    }

    /// Request lines so far, with the value of Authorization.
    pub fn asked(&self) -> Vec<(String, Option<String>)> {
        self.state().asked.clone()
    }

    fn answer(&self, stream: TcpStream) -> io::Result<()> {
        let mut input = BufReader::new(stream.try_clone()?);
        let (mut first, mut line, mut token) = (String::new(), String::new(), None);
        input.read_line(&mut first)?;
        while input.read_line(&mut line)? > 0 && !line.trim().is_empty() {
            let value = line.to_ascii_lowercase();
            if value.starts_with("authorization:") {
                token = line.split_once(": ").map(|(_, value)| value.trim().to_owned());
            }
            line.clear();
        }
        let mode = {
            let mut state = self.state();
            state.asked.push((first.trim().to_owned(), token));
            state.mode
        };
        let body = |status: u16, text: &str| {
            let mut out = &stream;
            write!(
                out,
                "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{text}",
                text.len()
            )
        };
        match mode {
            Mode::Works | Mode::ListsAlone => {}
            Mode::Slow(time) => thread::sleep(time),
            Mode::Status(status) => {
                let text =
                    format!(r#"{{"kind":"Status","code":{status},"message":"no pods for you"}}"#);
                return body(status, &text);
            }
            Mode::Garbage => return body(200, "<html>\u{0}{{{ no list of pods"),
            Mode::Hangs => {
                thread::sleep(Duration::from_secs(60));
                return Ok(());
            }
        }
        let parameter = |name: &str| {
            let query = first.split_ascii_whitespace().nth(1)?.split_once('?')?.1;
            let mut all = query.split('&');
            all.find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        if parameter("watch").is_none() {
            let list = self.state().list();
            return body(200, &list);
        }
        if mode == Mode::ListsAlone {
            return body(200, "no change of a pod");
        }
        let from = parameter("resourceVersion").and_then(|version| version.parse().ok());
        let from: u64 = from.unwrap_or(0);
        let time = parameter("timeoutSeconds").and_then(|time| time.parse().ok());
        // An API server reports 410 in either of two ways.
        if from < self.state().oldest && self.state().version.is_multiple_of(2) {
            return body(410, r#"{"kind":"Status","code":410,"message":"too old"}"#);
        }
        self.watch(&stream, from, Duration::from_secs(time.unwrap_or(60)))
    }

    fn watch(&self, mut stream: &TcpStream, mut from: u64, time: Duration) -> io::Result<()> {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )?;
        let until = Instant::now() + time;
        let generation = self.state().generation;
        loop {
            let lines: Vec<String> = {
                let mut state = self.state();
                loop {
                    let left = until.saturating_duration_since(Instant::now());
                    let is_over = state.generation != generation || left.is_zero();
                    if is_over || state.oldest > from || state.changes.keys().any(|at| *at > from) {
                        break;
                    }
                    let waited = self.shared.changed.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                if state.oldest > from && state.generation == generation {
                    let gone = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#;
                    from = u64::MAX;
                    vec![gone.to_owned()]
                } else {
                    let lines = state.changes.range(from.saturating_add(1)..);
                    let lines = lines.map(|(_, line)| line.clone()).collect();
                    from = state.version;
                    lines
                }
            };
            if lines.is_empty() {
                return stream.write_all(b"0\r\n\r\n");
            }
            for line in lines {
                write!(stream, "{:x}\r\n{line}\n\r\n", line.len() + 1)?;
            }
        }
    }
}

impl State {
    fn record(&mut self, kind: &str, json: &str) {
        self.version += 1;
        let object = json.replace("VERSION", &self.version.to_string());
        let line = format!(r#"{{"type":"{kind}","object":{object}}}"#);
        self.changes.insert(self.version, line);
    }

    fn list(&self) -> String {
        let version = self.version.to_string();
        let pods = self.pods.values().map(|json| json.replace("VERSION", &version));
        format!(
            r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"{version}"}},"items":[{}]}}"#,
            pods.collect::<Vec<_>>().join(",")
        )
    }
}
