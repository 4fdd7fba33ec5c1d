//! Bugs that random conversations found, as segments in the order in which they were seen. Each case was once
//! reported wrongly, paired wrongly or lost silently.
//!
//! # Layout
//! - [`whole`]: nothing was lost, so the events are the truth.
//! - [`holed`]: part was not seen: nothing false is reported, and what is missing is said.

mod holed;
mod whole;

use http_trace_engine::host_filter::Faults;
use http_trace_tests::generate::NUMBER;
use http_trace_tests::judged::{Judged, filtered, is_honest, is_truth, plain};
use http_trace_tests::scene::{End, Scene, Side, Step, Transaction};
use http_trace_tests::tcp::{Layout, Path, Segment, frames, segments};

fn get(n: usize) -> Step {
    Step::client(format!("GET /{n}/ HTTP/1.1\r\nHost: shop.example\r\n\r\n").into_bytes())
}

fn ok(n: usize, body: &[u8]) -> Step {
    let head =
        format!("HTTP/1.1 200 OK\r\n{NUMBER}: {n}\r\nContent-Length: {}\r\n\r\n", body.len());
    Step::server([head.as_bytes(), body].concat())
}

fn wait() -> Step {
    Step::server(b"HTTP/1.1 100 Wait\r\n\r\n".to_vec())
}

/// A 1xx head of this length.
fn long_wait(len: usize) -> Step {
    let filler = "v".repeat(len - 31);
    Step::server(format!("HTTP/1.1 100 Wait\r\nServer: {filler}\r\n\r\n").into_bytes())
}

fn answered(method: &str, n: usize, body: usize) -> Transaction {
    Transaction::new(method, &format!("/{n}/"), 200, "OK")
        .header(NUMBER, n.to_string())
        .header("Content-Length", body.to_string())
        .body(body as u64, End::Length)
}

fn pipelined(count: usize) -> Vec<u8> {
    let get = |n| format!("GET /{n}/ HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    (0..count).map(get).collect::<String>().into_bytes()
}

fn head(n: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{NUMBER}: {n}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

/// The steps, then both sides close, the server first.
fn closed(mut steps: Vec<Step>) -> Vec<Step> {
    steps.extend([Step::Close(Side::Server), Step::Close(Side::Client)]);
    steps
}

struct Found {
    scene: Scene,
    /// Initial sequence numbers of client and server.
    isn: [u32; 2],
    cuts: &'static [usize],
    /// Numbers of the segments in the order in which they are seen, before all that follow.
    seen: &'static [usize],
    /// Whether the receiver acknowledges each run with an empty segment.
    acks: bool,
    /// Whether the first data comes with the SYN.
    fast_open: bool,
}

impl Found {
    /// Segments of 1,448 bytes, each seen once and in order, without empty ones.
    fn new(steps: Vec<Step>, truth: Vec<Transaction>) -> Self {
        Found {
            scene: Scene { name: "regression", steps, truth },
            isn: [0, 0],
            cuts: &[1448],
            seen: &[],
            acks: false,
            fast_open: false,
        }
    }

    fn isn(self, isn: [u32; 2]) -> Self {
        Found { isn, ..self }
    }

    fn cuts(self, cuts: &'static [usize]) -> Self {
        Found { cuts, ..self }
    }

    fn seen(self, seen: &'static [usize]) -> Self {
        Found { seen, ..self }
    }

    fn acked(self) -> Self {
        Found { acks: true, ..self }
    }

    fn fast_open(self) -> Self {
        Found { fast_open: true, ..self }
    }

    /// Compares the events of all bytes, and of what the filter ships, with the scene's truth.
    fn check(self, holds: impl Fn(&Judged, &[Transaction]) -> Result<(), String>) {
        let truth = &self.scene.truth;
        let layout = Layout {
            cuts: self.cuts.to_vec(),
            isn: self.isn,
            acks: self.acks,
            fast_open: self.fast_open,
            ..Layout::default()
        };
        let sent = segments(&self.scene, &layout);
        let rest = self.seen.iter().max().map_or(0, |n| n + 1)..sent.len();
        let seen = self.seen.iter().copied().chain(rest);
        let mut seen: Vec<Segment> = seen.map(|n| sent[n].clone()).collect();
        for (n, segment) in seen.iter_mut().enumerate() {
            segment.time_ns = layout.start_ns + n as u64 * layout.step_ns;
        }
        let frames = frames(&Path::v4(40_000), &seen);
        let runs = [plain(&frames), filtered(&frames, Faults::default()).0];
        for (judged, how) in runs.iter().zip(["all bytes", "filtered"]) {
            assert_eq!(holds(judged, truth), Ok(()), "{how}");
            assert_eq!(judged.stats.filter_disagrees, 0, "{how}");
        }
    }
}
