//! *I/O*: names containers of pods over the CRI socket of their runtime, if no file names them. Access to the
//! socket gives control over the runtime, so it is used last, only for containers of pods, and only to query
//! their status. Runs on a separate thread: a socket that hangs costs only these fields.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use http_trace_model::process::{Container, Pod};

use super::choice::NamesFrom;
use super::directory::{Directory, Named};
use crate::grpc;
use crate::priority;
use crate::privileges::{self, CapabilitySet};
use crate::protobuf::{self, Read};

/// Usual socket paths: containerd, CRI-O, k3s, cri-dockerd.
const USUAL: [&str; 4] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/cri-dockerd.sock",
];
/// From `k8s.io/cri-api` (pkg/apis/runtime/v1/api.proto).
const STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
/// Timeout of a call.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long a socket that failed is not used.
const REST: Duration = Duration::from_secs(30);
/// How long the caller waits while the socket responds.
const PATIENCE: Duration = Duration::from_millis(5);
/// Minimum time between two queries about the same container.
const AGAIN: Duration = Duration::from_secs(30);
/// Maximum number of queued queries, and of containers remembered as queried.
const WAITING: usize = 64;
const MOST: usize = 4096;

/// A client of the CRI socket.
#[derive(Debug)]
pub struct Cri {
    questions: SyncSender<Box<str>>,
    /// Whether the last query has been answered.
    answers: Arc<AtomicBool>,
    asked: HashMap<Box<str>, Instant>,
    directory: Arc<Directory>,
}

impl Cri {
    /// Starts querying this socket and adding the results to the directory. The first failure is reported,
    /// later ones are not.
    pub fn start(
        socket: NamesFrom,
        directory: Arc<Directory>,
        say: fn(&str),
    ) -> io::Result<Option<Self>> {
        if socket == NamesFrom::Off {
            return Ok(None);
        }
        let (questions, asked) = sync_channel(WAITING);
        let answers = Arc::new(AtomicBool::new(true));
        let worker = Worker { socket, directory: directory.clone(), answers: answers.clone(), say };
        priority::spawn("cri", move || worker.work(&asked))?;
        Ok(Some(Cri { questions, answers, asked: HashMap::new(), directory }))
    }

    /// Queries a container and waits briefly; the answer appears in the directory.
    pub fn ask(&mut self, id: &str) {
        let now = Instant::now();
        let was_asked = self.asked.get(id);
        if was_asked.is_some_and(|at| now.duration_since(*at) < AGAIN) {
            return;
        }
        if self.questions.try_send(id.into()).is_err() {
            return;
        }
        if self.asked.len() >= MOST {
            self.asked.clear();
        }
        self.asked.insert(id.into(), now);
        // Wait again only after this query has been answered.
        if self.answers.swap(false, Ordering::Relaxed) {
            self.directory.wait_for(id, PATIENCE);
        }
    }
}

struct Worker {
    socket: NamesFrom,
    directory: Arc<Directory>,
    answers: Arc<AtomicBool>,
    say: fn(&str),
}

impl Worker {
    fn work(&self, asked: &Receiver<Box<str>>) {
        // Needed only by the thread that reads files; giving it up here is a precaution.
        let _ = privileges::give_up(CapabilitySet::DAC_READ_SEARCH);
        let mut rests_until = None;
        let mut was_said = false;
        let mut failed = |socket: &Path, error: io::Error| {
            if !std::mem::replace(&mut was_said, true) {
                let socket = socket.display();
                (self.say)(&format!(
                    "containers of pods cannot be named from the CRI socket {socket}: {error}; \
                     retrying every {} s (--cri-socket)",
                    REST.as_secs()
                ));
            }
        };
        // Before the first pod speaks, which may be in days.
        if let NamesFrom::At(socket) = &self.socket
            && let Err(error) = UnixStream::connect(socket)
        {
            failed(socket, error);
        }
        for id in asked {
            if rests_until.is_some_and(|until| Instant::now() < until) {
                continue;
            }
            let Some(socket) = socket(&self.socket) else {
                rests_until = Some(Instant::now() + REST);
                continue;
            };
            match ask(&socket, &id, Instant::now() + DEADLINE) {
                Ok(named) => {
                    self.answers.store(true, Ordering::Relaxed);
                    if let Some(named) = named {
                        self.directory.add_container(named);
                    }
                }
                Err(error) => {
                    rests_until = Some(Instant::now() + REST);
                    failed(&socket, error);
                }
            }
        }
    }
}

/// The socket, if there is one.
pub fn socket(choice: &NamesFrom) -> Option<PathBuf> {
    match choice {
        NamesFrom::At(path) => Some(path.clone()),
        NamesFrom::Usual => USUAL.iter().map(PathBuf::from).find(|path| path.exists()),
        NamesFrom::Off => None,
    }
}

/// Queries a container; `None` if the runtime does not know it.
pub fn ask(socket: &Path, id: &str, deadline: Instant) -> io::Result<Option<Named>> {
    let mut message = vec![0x0a, id.len().min(127) as u8];
    message.extend_from_slice(&id.as_bytes()[..id.len().min(127)]);
    let answer = grpc::call(socket, STATUS, &message, deadline)?;
    let is_ok = answer.code == grpc::code::OK;
    Ok(status(&answer.message, id).filter(|_| is_ok))
}

/// Parses a `ContainerStatusResponse`; `None` if it is about another container.
fn status(answer: &[u8], id: &str) -> Option<Named> {
    let status = member(answer, 1)?;
    if text(status, 1).as_deref() != Some(id) {
        return None;
    }
    let labels: HashMap<Box<str>, Box<str>> =
        members(status, 12).filter_map(|entry| Some((text(entry, 1)?, text(entry, 2)?))).collect();
    let label = |name: &str| labels.get(name).cloned();
    // Labels set by the kubelet.
    let pod = label("io.kubernetes.pod.uid").map(|uid| Pod {
        uid,
        name: label("io.kubernetes.pod.name"),
        namespace: label("io.kubernetes.pod.namespace"),
        ..Pod::default()
    });
    let metadata = member(status, 2)?;
    Some(Named {
        container: Container {
            id: id.into(),
            runtime: None,
            name: text(metadata, 1),
            image: member(status, 8).and_then(|image| text(image, 1)),
        },
        pod,
    })
}

/// The last protobuf field with this number.
fn member(message: &[u8], number: u64) -> Option<&[u8]> {
    members(message, number).last()
}

fn text(message: &[u8], number: u64) -> Option<Box<str>> {
    let text = std::str::from_utf8(member(message, number)?).ok()?;
    (!text.is_empty()).then(|| text.into())
}

/// All texts and messages with this number.
fn members(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    protobuf::fields(message).filter_map(move |(of, read)| match read {
        Read::Bytes(bytes) if of == number => Some(bytes),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    const ID: &str = "aa1a2b23c4053da9e33cb329e1accd234aed71c649a8eea94d23c1683f1493b7";

    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let length = u8::try_from(value.len()).expect("short");
        let mut out = vec![number << 3 | 2];
        match length {
            128.. => out.extend([length & 0x7f | 0x80, length >> 7]),
            _ => out.push(length),
        }
        out.extend_from_slice(value);
        out
    }

    /// An answer of containerd, shortened.
    fn answer(id: &str) -> Vec<u8> {
        let label = |name: &str, value: &str| {
            field(12, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
        };
        let status = [
            field(1, id.as_bytes()),
            field(2, &field(1, b"app")),
            vec![0x18, 1, 0x20, 0x80, 0x80, 1],
            field(8, &field(1, b"web:1")),
            label("io.kubernetes.pod.uid", "u1"),
        ];
        let mut out = vec![0x0a];
        let status = status.concat();
        out.extend([status.len() as u8 & 0x7f | 0x80, (status.len() >> 7) as u8]);
        out.extend(status);
        out
    }

    /// Queries a server that sends these bytes and waits, or closes.
    fn said(bytes: Vec<u8>, waits: bool) -> io::Result<Option<Named>> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("cri.sock");
        let listener = UnixListener::bind(&socket)?;
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            stream.write_all(&bytes)?;
            let mut rest = [0; 4096];
            while waits && stream.read(&mut rest)? > 0 {}
            io::Result::Ok(())
        });
        let result = ask(&socket, ID, Instant::now() + Duration::from_millis(300));
        let _ = server.join();
        result
    }

    /// Queries a runtime that answers with this message and status.
    fn answered(message: &[u8], status: &'static str) -> io::Result<Option<Named>> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("cri.sock");
        let listener = UnixListener::bind(&socket)?;
        listener.set_nonblocking(true)?;
        let length = u32::try_from(message.len()).expect("short").to_be_bytes();
        let body = [&[0][..], &length, message].concat();
        let server = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                let (stream, _) = listener.accept().await?;
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    assert_eq!(request.uri().path(), STATUS);
                    let response = http::Response::new(());
                    let mut stream = respond.send_response(response, false).expect("open");
                    stream.send_data(body.clone().into(), false).expect("open");
                    let status = http::HeaderValue::from_static(status);
                    let name = http::HeaderName::from_static("grpc-status");
                    let _ = stream.send_trailers([(name, status)].into_iter().collect());
                }
                io::Result::Ok(())
            })
        });
        let result = ask(&socket, ID, Instant::now() + Duration::from_secs(5));
        let _ = server.join();
        result
    }

    #[test]
    fn a_container_is_named() {
        let named = answered(&answer(ID), "0").expect("an answer").expect("it is known");
        assert_eq!(named.container.name.as_deref(), Some("app"));
        assert_eq!(named.container.image.as_deref(), Some("web:1"));
        assert_eq!(named.pod.map(|pod| pod.uid).as_deref(), Some("u1"));
    }

    #[test]
    fn what_answers_badly_names_nothing() {
        for (bytes, waits) in [(Vec::new(), false), (Vec::new(), true), (vec![0xff; 64], false)] {
            let begun = Instant::now();
            assert!(said(bytes.clone(), waits).is_err(), "{bytes:?}");
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
        for (message, status) in [
            // NOT_FOUND
            (answer(ID), "5"),
            (answer(&ID.replace('a', "b")), "0"),
            (vec![0xff; 30], "0"),
            (Vec::new(), "0"),
        ] {
            assert_eq!(answered(&message, status).expect("an answer"), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_answer(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), at in 0_usize..200) {
            status(&bytes, ID);
            let mut nearly = answer(ID);
            let at = at % nearly.len();
            nearly.splice(at..at, bytes.into_iter().take(3));
            if let Some(named) = status(&nearly, ID) {
                proptest::prop_assert_eq!(&*named.container.id, ID);
            }
        }
    }

    #[test]
    fn a_given_socket_that_is_not_there_is_said_at_once() {
        static SAID: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
        fn say(line: &str) {
            SAID.lock().expect("not poisoned").push(line.to_owned());
        }
        let cri = Cri::start(NamesFrom::At("/no/such.sock".into()), Arc::default(), say);
        let until = Instant::now() + Duration::from_secs(10);
        while SAID.lock().expect("not poisoned").is_empty() && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        let said = SAID.lock().expect("not poisoned");
        assert!(said[0].contains("/no/such.sock: No such file"), "{said:?}");
        drop(cri);
    }

    #[test]
    fn a_socket_that_hangs_holds_nobody_up_and_is_said_once() {
        static SAID: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
        fn say(line: &str) {
            SAID.lock().expect("not poisoned").push(line.to_owned());
        }
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("cri.sock");
        let _listener = UnixListener::bind(&socket).expect("bound");
        let directory = Arc::new(Directory::default());
        let cri = Cri::start(NamesFrom::At(socket), directory, say);
        let mut cri = cri.expect("a thread").expect("one to ask");
        let begun = Instant::now();
        for n in 0..300 {
            cri.ask(&format!("{n}"));
        }
        let waited = begun.elapsed();
        assert!(waited < Duration::from_millis(500), "{waited:?}");
        thread::sleep(DEADLINE + Duration::from_millis(500));
        let said = SAID.lock().expect("not poisoned");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("timed out") && said[0].contains("cri.sock"), "{said:?}");
    }
}
