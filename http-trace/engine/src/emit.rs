//! From exchanges to events: adds tuples, interfaces and flags. Must not decide what a message is.
//!
//! # Layout
//! - `tables`: names of interfaces, server ports, the limit of attempts.

mod tables;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use http_trace_common::flow::{Address, Direction, FlowKey};
use http_trace_model::event::{
    BodyEnd, Endpoint, Forwarded, HttpEvent, LossUnit, Missing, NoResponse, Output, oddity,
};
use http_trace_model::head::ResponseHead;
use http_trace_model::known::Known;

use self::tables::Attempts;
pub use self::tables::Interfaces;
use crate::config::PipelineConfig;
use crate::encaps::Encaps;
use crate::names::{Aliases, Halves, Kind, Original, Sighting, Sightings};
use crate::origin::{CapturePoint, Origin};
use crate::protocol::exchange::{Exchange, Outcome, Request};
use crate::protocol::{HeadKind, HeadSeen, Link, Sink, direction};
use crate::stats::{Losses, Stats};
use crate::table::Id;

/// State that the events of all connections share.
#[derive(Debug, Default)]
pub(crate) struct Context {
    pub interfaces: Interfaces,
    /// Tags and tunnels by the number in records.
    pub encaps: Encaps,
    /// The source that a PROXY protocol header named, by connection.
    proxied: HashMap<u64, Forwarded>,
    /// Server ports at which HTTP was seen.
    ports: HashSet<u16>,
    attempts: Attempts,
    /// Recent heads, to find copies of a connection under another name.
    sightings: Sightings,
    /// Requests that may be answered under another name.
    pub halves: Halves,
    /// Connections with several names.
    pub aliases: Aliases,
    /// Number of events so far.
    sequence: u64,
    /// Number of connections so far.
    connections: u64,
}

impl Context {
    pub fn new_connection(&mut self, stats: &mut Stats) -> u64 {
        stats.flows += 1;
        self.connections += 1;
        self.connections
    }

    /// Drops the state of a connection that is gone.
    pub fn forget(&mut self, number: u64) {
        self.aliases.forget(number);
        self.proxied.remove(&number);
    }
}

/// Writes the events of one connection.
pub(crate) struct Emitter<'a> {
    pub cx: &'a mut Context,
    pub key: FlowKey,
    /// Its slot in the table; `None` for a plaintext stream.
    pub id: Option<Id>,
    pub number: u64,
    pub now_ns: u64,
    pub config: &'a PipelineConfig,
    /// Set when the connection turns out to be a copy of another.
    pub original: Option<Original>,
    pub out: &'a mut dyn FnMut(Output),
}

impl Sink for Emitter<'_> {
    fn exchange(&mut self, stats: &mut Stats, link: &Link, exchange: Exchange) {
        if link.muted {
            return;
        }
        match exchange.outcome {
            Outcome::Unanswered(why, since_ns) => {
                self.no_response(stats, link, exchange, (why, since_ns));
            }
            Outcome::Informational => self.informational(stats, link, exchange),
            outcome => self.response(stats, link, exchange, outcome),
        }
    }

    fn attempt(
        &mut self,
        stats: &mut Stats,
        losses: &mut Losses,
        link: &Link,
        time_ns: u64,
        why: NoResponse,
    ) {
        let Some(client) = link.client().filter(|_| self.config.no_response) else {
            return;
        };
        let port = self.key.sender(direction(1 - client)).1;
        let mut asked = self.config.attempt_ports.iter();
        if !asked.any(|ports| ports.contains(&port)) && !self.cx.ports.contains(&port) {
            return;
        }
        let per_second = self.config.attempts_per_second;
        if !self.cx.attempts.admit(self.now_ns, per_second) {
            let unit = LossUnit::Events;
            losses.add("connection_attempts", unit, 1, time_ns, self.now_ns);
            return;
        }
        stats.no_response += 1;
        let mut event = self.blank(link, 1, None, &Origin::at(time_ns));
        let position = link.first(client).unwrap_or(time_ns);
        event.id = identity(&self.server_name(), position, b"attempt");
        event.time_ns = time_ns;
        event.no_response = Some(why);
        event.missing.push(Missing::Request);
        self.send(event);
    }

    fn head(&mut self, link: &mut Link, head: &HeadSeen<'_>) {
        let Some(id) = self.id.filter(|_| !link.muted) else { return };
        let sighting = Sighting {
            key: self.key,
            sender: direction(head.d),
            id,
            number: self.number,
            kind: match head.kind {
                HeadKind::Request => Kind::Request,
                HeadKind::Answer | HeadKind::Orphan => Kind::Response,
            },
            seq: head.start as u32,
            ack: head.origin.ack,
            starts: [link.start(head.d), link.start(1 - head.d)],
            time_ns: head.origin.time_ns,
            point: CapturePoint::of_segment(&self.key, &head.origin),
            path: head.origin.path,
        };
        let (sightings, halves) = (&mut self.cx.sightings, &mut self.cx.halves);
        let original = match head.kind {
            HeadKind::Answer => {
                sightings.note(sighting, head.bytes, head.len);
                None
            }
            HeadKind::Request => {
                let original = sightings.meet(sighting, head.bytes, head.len);
                let is_first = link.start(head.d).is_none_or(|start| start == sighting.seq);
                if original.is_none() && is_first {
                    halves.note(&sighting);
                }
                original
            }
            HeadKind::Orphan => sightings.meet(sighting, head.bytes, head.len),
        };
        if original.is_some() {
            self.original = original;
            link.muted = true;
        }
    }

    fn source(&mut self, source: Forwarded) {
        self.cx.proxied.entry(self.number).or_insert(source);
    }

    fn served_at(&mut self, port: u16) {
        self.cx.ports.insert(port);
    }

    fn has_aliases(&self) -> bool {
        self.cx.aliases.names(self.number).is_some()
    }

    fn restart(&mut self, stats: &mut Stats) -> u64 {
        self.cx.forget(self.number);
        self.number = self.cx.new_connection(stats);
        self.number
    }
}

impl Emitter<'_> {
    /// Writes an exchange with a final response.
    fn response(&mut self, stats: &mut Stats, link: &Link, exchange: Exchange, outcome: Outcome) {
        let Some(response) = exchange.response else { return };
        let end = match outcome {
            Outcome::Ended(end) => Some(end),
            _ => None,
        };
        let complete = end.is_some_and(|end| end != BodyEnd::Cut);
        let mut missing = Vec::new();
        if exchange.request.is_none() {
            missing.push(Missing::Request);
            stats.without_request += 1;
        }
        if exchange.oddities.contains(&oddity::OTHER_VERSION) {
            missing.push(Missing::Version);
        }
        missing.extend(request_headers(exchange.request.as_deref()));
        if response.head_cut || exchange.oddities.contains(&oddity::HEADERS_TRUNCATED) {
            missing.push(Missing::Headers);
        }
        if outcome == Outcome::Lost {
            missing.push(Missing::Body);
        }
        if !complete {
            missing.push(Missing::End);
            stats.incomplete += 1;
        } else if response.end_unseen {
            missing.push(Missing::End);
        }
        stats.count_response(response.head.status);
        stats.informational += exchange.informational.len() as u64;
        let head_len = response.head.wire_len;
        let request = exchange.request.as_deref();
        let mut event = self.blank(link, exchange.ordinal, request, &response.origin);
        let part = identifying_bytes(&response.head);
        event.id = identity(&self.server_name(), response.start, part);
        event.time_ns = response.head.first_byte_ns;
        event.response_start_ns = Some(response.head.first_byte_ns);
        if !response.head_cut {
            event.head_end_ns = Some(response.head_end_ns);
        }
        if complete && !response.end_unseen {
            event.response_end_ns = Some(response.last_ns);
        }
        let continues = matches!(outcome, Outcome::StillOpen | Outcome::Open);
        // A filter says what it has skipped at the end, not on the way.
        let is_skipped = continues && response.origin.framed_by_filter();
        // Before the first byte of a body, it is unknown whether there will be one, and how long it is where its length
        // is invalid.
        let is_lost = outcome == Outcome::Lost && response.body_bytes == 0;
        let unknown = response.head_cut || is_skipped || continues && response.body_bytes == 0;
        event.body_bytes = (!unknown && !is_lost).then_some(response.body_bytes);
        let bytes = head_len + response.framing_bytes + response.body_bytes;
        event.response_bytes = (!is_skipped && !is_lost).then_some(bytes);
        if is_skipped && event.request_end_ns.is_none() {
            event.request_body_bytes = None;
        }
        event.body_end = end;
        event.complete = complete;
        event.missing = missing;
        let mut oddities = exchange.oddities;
        if outcome == Outcome::StillOpen {
            oddities.push(oddity::STILL_OPEN);
        }
        if length_differs(&response.head, end, response.body_bytes) {
            oddities.push(oddity::LENGTH_MISMATCH);
        }
        event.flags = sorted(oddities);
        event.retransmissions = response.copies;
        event.interfaces = self.cx.interfaces.names(response.interfaces);
        event.request = exchange.request.map(|request| request.head);
        event.informational = heads(exchange.informational);
        event.body_snippet = response.snippet.decoded(&response.head.headers);
        event.response = Some(response.head);
        self.send(event);
    }

    /// Writes 1xx heads without a final response: the last of them stands for the response.
    fn informational(&mut self, stats: &mut Stats, link: &Link, mut exchange: Exchange) {
        let Some((head, origin)) = exchange.informational.pop() else { return };
        stats.informational += 1 + exchange.informational.len() as u64;
        let request = exchange.request.as_deref();
        let mut event = self.blank(link, exchange.ordinal, request, &origin);
        let part = identifying_bytes(&head);
        let position = request.map_or(head.first_byte_ns, |request| request.start);
        event.id = identity(&self.server_name(), position, part);
        event.time_ns = head.first_byte_ns;
        event.response_start_ns = Some(head.first_byte_ns);
        event.body_end = Some(BodyEnd::None);
        event.response_bytes = Some(head.wire_len);
        event.body_bytes = Some(0);
        if exchange.request.is_none() {
            event.missing.push(Missing::Request);
            stats.without_request += 1;
        }
        event.missing.extend(request_headers(request));
        event.flags = sorted(exchange.oddities);
        // The final response, which the client asked for, is missing.
        event.missing.push(Missing::End);
        stats.incomplete += 1;
        event.interfaces = self.cx.interfaces.names(origin.interfaces);
        event.request = exchange.request.map(|request| request.head);
        event.informational = heads(exchange.informational);
        event.response = Some(head);
        self.send(event);
    }

    /// Writes a request that nothing answered.
    fn no_response(
        &mut self,
        stats: &mut Stats,
        link: &Link,
        exchange: Exchange,
        (why, since_ns): (NoResponse, u64),
    ) {
        let Some(request) = exchange.request else { return };
        if !self.config.no_response {
            stats.requests_unmatched += 1;
            return;
        }
        stats.no_response += 1;
        let mut event = self.blank(link, exchange.ordinal, Some(&request), &request.origin);
        event.id = identity(&self.server_name(), request.start, &request.head.target);
        event.time_ns = request.start_ns;
        event.sockets = sockets(None, Some(&request.origin));
        event.no_response = Some(why);
        // A filter says what it has skipped at the end, not on the way.
        let is_skipped = why == NoResponse::Unseen && request.origin.framed_by_filter();
        if is_skipped && request.end_ns.is_none() {
            event.request_body_bytes = None;
        }
        // The server may have closed before the request came.
        event.given_up_ns = Some(since_ns.max(request.end_ns.unwrap_or(request.start_ns)));
        event.missing.extend(request_headers(Some(&request)));
        event.flags = sorted(exchange.oddities);
        event.request = Some(request.head);
        self.send(event);
    }

    fn send(&mut self, event: Box<HttpEvent>) {
        (self.out)(Output::Http(event));
    }

    /// The tuple nearest to the server.
    fn server_name(&self) -> FlowKey {
        let names = self.cx.aliases.names(self.number);
        names.map_or(self.key, |names| names.server.0)
    }

    fn blank(
        &mut self,
        link: &Link,
        ordinal: u32,
        request: Option<&Request>,
        origin: &Origin,
    ) -> Box<HttpEvent> {
        let client = direction(link.client_or_first());
        let sequence = self.cx.sequence;
        self.cx.sequence += 1;
        let ends = |(key, flipped): (FlowKey, bool)| {
            let client = if flipped { client.opposite() } else { client };
            [client, client.opposite()].map(|end: Direction| endpoint(key.sender(end)))
        };
        let names = self.cx.aliases.names(self.number);
        let [of_client, of_server] = ends(names.map_or((self.key, false), |names| names.server));
        let [nat_client, nat_server] = names.map_or([None; 2], |names| {
            let [client, server] = ends(names.client);
            [(client != of_client).then_some(client), (server != of_server).then_some(server)]
        });
        let known = |n: u64| (n != 0).then_some(n);
        Box::new(HttpEvent {
            sequence,
            nat_client,
            nat_server,
            forwarded: self.cx.proxied.get(&self.number).copied(),
            request_start_ns: request.map(|request| request.start_ns),
            request_end_ns: request.and_then(|request| request.end_ns),
            request_body_bytes: request.filter(|r| !r.body_lost).map(|r| r.body_bytes),
            connection: self.number,
            ordinal,
            complete: false,
            hook: origin.hook,
            egress: origin.is_live().then_some(origin.is_egress()),
            packet_len: origin.wire_len,
            encap: self.cx.encaps.get(origin.encap).cloned(),
            sockets: sockets(Some(origin), request.map(|request| &request.origin)),
            // Bytes from another host have not passed a socket yet; those of the other direction have.
            cgroup_id: known(origin.cgroup_id)
                .or_else(|| known(request.map_or(0, |request| request.origin.cgroup_id))),
            ..HttpEvent::new(0, of_client, of_server)
        })
    }
}

/// Cookies of the client's and the server's socket, as far as known from their packets.
fn sockets(response: Option<&Origin>, request: Option<&Origin>) -> [Option<u64>; 2] {
    let [answers, is_answered] = response.map_or([None; 2], Origin::sockets);
    let [asks, is_asked] = request.map_or([None; 2], Origin::sockets);
    [asks.or(is_answered), answers.or(is_asked)]
}

/// Whether a body that has ended differs from the length that its head declared: it was cut off, or
/// chunked, which overrides the declaration (RFC 9112 §6.3). A message without a body may declare the
/// length of another.
fn length_differs(head: &ResponseHead, end: Option<BodyEnd>, body_bytes: u64) -> bool {
    let ends =
        matches!(end, Some(BodyEnd::Length | BodyEnd::Chunked | BodyEnd::Close | BodyEnd::Cut));
    ends && head.content_length.is_some_and(|declared| declared != body_bytes)
}

fn endpoint((address, port): (Address, u16)) -> Endpoint {
    Endpoint { ip: IpAddr::from(address).to_canonical(), port }
}

fn heads(informational: Vec<(ResponseHead, Origin)>) -> Vec<ResponseHead> {
    informational.into_iter().map(|(head, _)| head).collect()
}

/// The names sorted, without duplicates.
fn sorted(mut names: Vec<&'static str>) -> Vec<&'static str> {
    names.sort_unstable();
    names.dedup();
    names
}

/// A value that probably differs between two responses at the same position of two connections on one
/// tuple: usually that of the Date field.
fn identifying_bytes(head: &ResponseHead) -> &[u8] {
    head.headers.first_known(Known::DATE).unwrap_or(&head.reason)
}

/// What is missing of a request whose head exceeded the limit: above all the fields at its end, which proxies add.
fn request_headers(request: Option<&Request>) -> Option<Missing> {
    request.filter(|request| request.head_cut).map(|_| Missing::RequestHeaders)
}

/// An identity that is equal for equal wire bytes, wherever and whenever they were seen: from the tuple,
/// the sequence number of the head's first byte and a part of the head.
fn identity(key: &FlowKey, position: u64, part: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |h: u64, n: u64| (h ^ n).wrapping_mul(K).rotate_left(29).wrapping_mul(K);
    let words = |h: u64, words: &[[u8; 8]]| {
        let words = words.iter().map(|word| u64::from_be_bytes(*word));
        words.fold(h, mix)
    };
    let mut h = mix(0, position & 0xffff_ffff);
    for address in [key.a, key.b] {
        h = words(h, address.as_chunks().0);
    }
    h = mix(h, u64::from(key.a_port) << 16 | u64::from(key.b_port));
    let (whole, rest) = part.as_chunks();
    h = words(h, whole);
    if !rest.is_empty() {
        let len = rest.len() as u64;
        let rest = rest.iter();
        h = mix(h, rest.fold(len, |n, &b| n << 8 | u64::from(b)));
    }
    h ^ h >> 32
}
