//! Sends frames to a collector in batches, retries after temporary failures, and counts rejected records. Must not
//! know transports.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::wire;
use super::{FRAME_HEAD, origin};
use crate::own_sockets::OwnSockets;
use crate::protobuf;
use crate::sink::choice::Signal;
use crate::sink::deliver::{is_url, without_password};
use crate::sink::writer::WhenFull;
use crate::sync::lock;

/// Maximum bytes and records per request; collectors accept 4 MiB by default.
const MOST_BYTES: usize = 1 << 20;
const MOST_RECORDS: usize = 1024;

/// First pause after a temporary failure; doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Time after which a replay gives up on a collector that accepts nothing: on one that never did, whose address may be
/// wrong, sooner.
const GIVE_UP: Duration = Duration::from_secs(60);
const NEVER_ANSWERED: Duration = Duration::from_secs(10);
/// The same after a signal, and for a live run after its end.
const LAST: Duration = Duration::from_secs(2);

/// How often a pause looks for the end of the run.
const LOOK: Duration = Duration::from_millis(50);

/// Where a collector listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    url: String,
    /// Whether requests are compressed.
    pub gzip: bool,
}

impl FromStr for Collector {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = text.trim_end_matches('/');
        // gRPC sets the path; credentials belong in header fields.
        let is_place =
            |grpc: &str| is_url(text, &[grpc]) && !url[grpc.len()..].contains(['/', '?', '#', '@']);
        let is_good = is_url(text, &["http://", "https://"])
            || ["grpc://", "grpcs://"].into_iter().any(is_place);
        match is_good {
            true => Ok(Collector { url: url.to_owned(), gzip: false }),
            false => {
                Err("otlp:http://HOST:4318 or otlp:grpc://HOST:4317 (https://, grpcs:// with TLS)")
            }
        }
    }
}

impl fmt::Display for Collector {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.url))
    }
}

impl Collector {
    /// Creates its transport. `own` excludes its connections from tracing.
    ///
    /// # Errors
    /// A transport that this build does not have; malformed header fields.
    pub fn transport(&self, own: &OwnSockets) -> io::Result<Box<dyn Transport>> {
        #[cfg(feature = "live")]
        let headers = std::env::var(super::request::HEADERS).unwrap_or_default();
        let _ = own;
        match self.url.split_once("://") {
            #[cfg(feature = "live")]
            Some((scheme @ ("grpc" | "grpcs"), place)) => {
                let server = super::grpc::server(place, scheme == "grpcs");
                let grpc = super::grpc::Grpc::new(server, self.gzip, &headers, own.clone())?;
                Ok(Box::new(grpc))
            }
            #[cfg(feature = "live")]
            Some(("http" | "https", _)) => {
                let (own, patience) = (own.clone(), super::request::PATIENCE);
                let http = super::http::Http::new(&self.url, self.gzip, &headers, own, patience)?;
                Ok(Box::new(http))
            }
            _ => Err(io::Error::other(
                "this build has no client for it: that needs a build with the feature 'live'",
            )),
        }
    }
}

/// Why a collector did not accept a request.
#[derive(Debug)]
pub struct Failure {
    pub why: String,
    /// Delay before a retry, if one makes sense; zero: the exporter chooses it.
    pub again: Option<Duration>,
}

/// `partial_success` of a response.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Partial {
    /// Rejected records; zero if all were accepted.
    pub refused: u64,
    /// The collector's message.
    pub why: String,
}

impl Partial {
    /// Truncates a long message.
    pub fn new(refused: u64, why: &[u8]) -> Self {
        let why = match why {
            [] => "no reason given".into(),
            why => String::from_utf8_lossy(&why[..why.len().min(200)]),
        };
        Partial {
            // A negative number is invalid.
            refused: if refused <= i64::MAX as u64 { refused } else { 0 },
            why: why.into_owned(),
        }
    }

    /// Parses an `ExportLogsServiceResponse`, or that of another signal, which has the same field numbers. `None` if
    /// it is malformed.
    pub fn of(answer: &[u8]) -> Option<Self> {
        if !protobuf::is_message(answer) {
            return None;
        }
        let Some(partial) = protobuf::bytes(answer, 1) else { return Some(Partial::default()) };
        let why = protobuf::bytes(partial, 2).unwrap_or_default();
        Some(Partial::new(protobuf::number(partial, 1), why))
    }
}

/// Sends requests to a collector.
pub trait Transport: Send {
    /// Sends a request; returns what the collector rejected.
    ///
    /// # Errors
    /// If the collector did not accept it, or its response is not OTLP.
    fn export(&mut self, signal: Signal, request: &[u8]) -> Result<Partial, Failure>;
}

/// What an exporter and the owner of its queue tell each other.
#[derive(Clone, Debug, Default)]
pub struct State(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    refused: AtomicU64,
    why: Mutex<String>,
    ends: AtomicBool,
    stop: OnceLock<Arc<AtomicBool>>,
}

impl State {
    fn refuse(&self, records: u64, why: &str) {
        why.clone_into(&mut lock(&self.0.why));
        self.0.refused.fetch_add(records, Ordering::Relaxed);
    }

    /// Number of records so far that the destination refused.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Its message about the last of them.
    pub fn why(&self) -> String {
        lock(&self.0.why).clone()
    }

    /// Announces the end of a live run: a retry is due at once, and none after [`LAST`].
    pub fn end(&self) {
        self.0.ends.store(true, Ordering::Relaxed);
    }

    /// The same for a replay, once this flag is set. It waits longer for its collector otherwise.
    pub fn end_with(&self, stop: &Arc<AtomicBool>) {
        let _ = self.0.stop.set(Arc::clone(stop));
    }

    fn ends(&self, is_live: bool) -> bool {
        let flag = if is_live { Some(&self.0.ends) } else { self.0.stop.get().map(|stop| &**stop) };
        flag.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// The destination of a writer.
pub struct Exporter {
    transport: Box<dyn Transport>,
    resource: Vec<u8>,
    scope: Vec<u8>,
    /// How long a failed request is retried.
    waits: Option<Duration>,
    state: State,
    /// When this exporter noticed the end of the run.
    ended: Option<Instant>,
    /// Signals of the current batch that were sent.
    done: [bool; Signal::ALL.len()],
    pause: Duration,
    /// Time of the next retry, and the last error.
    failed: Option<(Instant, String)>,
}

impl Exporter {
    /// A replay waits for its collector; a live run gets an error and retries later.
    pub fn new(
        transport: Box<dyn Transport>,
        hostname: &str,
        when_full: WhenFull,
        state: State,
    ) -> Self {
        let (resource, scope) = origin(hostname);
        Exporter {
            transport,
            resource,
            scope,
            waits: (when_full == WhenFull::Wait).then_some(NEVER_ANSWERED),
            state,
            ended: None,
            done: [false; Signal::ALL.len()],
            pause: PAUSE,
            failed: None,
        }
    }

    /// Sends the records of a signal.
    ///
    /// # Errors
    /// A temporary failure.
    fn send(&mut self, signal: Signal, records: &Records) -> io::Result<()> {
        let request = self.request(&records.bytes);
        let give_up = self.waits.map(|waits| Instant::now() + waits);
        loop {
            self.look_for_end();
            if let Some((due, why)) = &self.failed {
                let left = due.saturating_duration_since(Instant::now());
                match self.ended.map(|ended| ended + LAST).or(give_up) {
                    _ if left.is_zero() => {}
                    Some(give_up) if *due < give_up => {
                        std::thread::sleep(left.min(LOOK));
                        continue;
                    }
                    _ => return Err(io::Error::other(why.clone())),
                }
            }
            match self.transport.export(signal, &request) {
                Ok(Partial { refused, why }) => {
                    if refused > 0 {
                        // A collector may report more than it was sent.
                        self.state.refuse(refused.min(records.count), &why);
                    }
                    break;
                }
                Err(Failure { why, again: None }) => {
                    self.state.refuse(records.count, &why);
                    break;
                }
                Err(Failure { why, again: Some(pause) }) => {
                    let pause = pause.clamp(self.pause, LONGEST_PAUSE);
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                    self.failed = Some((Instant::now() + pause, why));
                }
            }
        }
        (self.failed, self.pause) = (None, PAUSE);
        self.waits = self.waits.map(|_| GIVE_UP);
        Ok(())
    }

    /// Makes the next attempt due when the run ends.
    fn look_for_end(&mut self) {
        if self.ended.is_none() && self.state.ends(self.waits.is_none()) {
            let now = Instant::now();
            (self.ended, self.pause) = (Some(now), PAUSE);
            if let Some((due, _)) = &mut self.failed {
                *due = now;
            }
        }
    }

    /// An `ExportLogsServiceRequest`, or that of another signal, which has the same field numbers.
    fn request(&self, records: &[u8]) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(records.len() + self.resource.len() + self.scope.len() + 32);
        wire::message(&mut out, 1, |out| {
            out.extend_from_slice(&self.resource);
            wire::message(out, 2, |out| {
                out.extend_from_slice(&self.scope);
                out.extend_from_slice(records);
            });
        });
        out
    }
}

#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    count: u64,
}

/// The records of the next request by signal, and how many bytes of frames they take.
fn batch(frames: &[u8]) -> ([Records; Signal::ALL.len()], usize) {
    let mut all: [Records; Signal::ALL.len()] = Default::default();
    let (mut rest, mut taken, mut count) = (frames, 0, 0);
    while let Some((head, after)) = rest.split_first_chunk::<FRAME_HEAD>()
        && count < MOST_RECORDS
    {
        let [signal, length @ ..] = *head;
        let length = u32::from_le_bytes(length) as usize;
        let (Some(record), Some(of_signal)) =
            (after.get(..length), all.get_mut(usize::from(signal)))
        else {
            break;
        };
        if taken > 0 && taken + length > MOST_BYTES {
            break;
        }
        of_signal.bytes.extend_from_slice(record);
        of_signal.count += 1;
        count += 1;
        taken += FRAME_HEAD + length;
        rest = &after[length..];
    }
    (all, taken)
}

impl Write for Exporter {
    /// Accepts whole frames.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (all, taken) = batch(bytes);
        if taken == 0 {
            // Cannot happen: the queue contains whole frames.
            return Ok(bytes.len());
        }
        for signal in Signal::ALL {
            let records = &all[signal as usize];
            if records.count > 0 && !self.done[signal as usize] {
                self.send(signal, records)?;
                self.done[signal as usize] = true;
            }
        }
        self.done = [false; Signal::ALL.len()];
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
