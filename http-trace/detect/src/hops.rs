//! A request that crosses several traced connections, like that to a proxy and that to the application behind
//! it, is several events of one client. Finds those of inner connections, which end first, so that each
//! counter counts the request once. Must not decide what is counted.

use std::collections::VecDeque;
use std::net::IpAddr;

use http_trace_model::event::{Endpoint, HttpEvent};

use super::counters::Key;
use super::hashes::Hashes;

/// Maximum number of events that wait for that of an outer connection, which usually comes within milliseconds.
const MOST: usize = 256;

/// Events of inner connections, the newest last.
#[derive(Debug, Default)]
pub struct Hops {
    hashes: Hashes,
    inner: VecDeque<(Hop, Vec<Key>)>,
}

/// What the events of one request have in common, and how they are nested.
#[derive(Debug)]
struct Hop {
    client: IpAddr,
    server: Endpoint,
    status: u16,
    /// Hash of what was asked for. A proxy may change the folders of a path, but hardly its last part.
    asked: u64,
    begun_ns: u64,
    answered_ns: u64,
}

impl Hops {
    /// Takes the event of the connection to which a proxy forwarded the request of this event: what it was
    /// counted for. Empty if there is none.
    pub fn take_inner(&mut self, event: &HttpEvent) -> Vec<Key> {
        if self.inner.is_empty() {
            return Vec::new();
        }
        let outer = self.hop(event);
        let at =
            outer.and_then(|outer| self.inner.iter().rposition(|(of, _)| of.is_within(&outer)));
        at.and_then(|at| self.inner.remove(at)).map_or(Vec::new(), |(_, counted)| counted)
    }

    /// Remembers what an event was counted for that a trusted proxy may have forwarded.
    pub fn remember(&mut self, event: &HttpEvent, counted: Vec<Key>) {
        if counted.is_empty() {
            return;
        }
        if let Some(hop) = self.hop(event) {
            if self.inner.len() >= MOST {
                self.inner.pop_front();
            }
            self.inner.push_back((hop, counted));
        }
    }

    fn hop(&self, event: &HttpEvent) -> Option<Hop> {
        let request = event.request.as_ref()?;
        let hash = |text: &[u8]| self.hashes.text(text, |word| word);
        Some(Hop {
            client: event.client_ip(),
            server: event.server,
            status: event.response.as_ref()?.status,
            asked: self.hashes.mix(hash(&request.method), hash(last_part(&request.target))),
            begun_ns: event.request_start_ns?,
            answered_ns: event.response_start_ns?,
        })
    }
}

impl Hop {
    /// Whether this is the same request on its way from the server of `outer` to another.
    fn is_within(&self, outer: &Hop) -> bool {
        self.begun_ns >= outer.begun_ns
            && self.answered_ns <= outer.answered_ns
            && self.client == outer.client
            && (self.asked, self.status) == (outer.asked, outer.status)
            && self.server != outer.server
    }
}

/// The last segment of a target's path, and its query.
fn last_part(target: &[u8]) -> &[u8] {
    let path = target.iter().position(|b| *b == b'?').unwrap_or(target.len());
    let slash = target[..path].iter().rposition(|b| *b == b'/');
    &target[slash.map_or(0, |slash| slash + 1)..]
}
