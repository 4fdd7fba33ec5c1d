//! From an exchange to its event. Decides nothing about what a message is.

use std::net::IpAddr;

use http_trace_common::flow::{Address, Direction, FlowKey};
use http_trace_common::framer::{MethodKind, flag};
use http_trace_common::record;

use super::connection::Facts;
use super::context::Context;
use super::transaction::{Exchange, Request};
use crate::flow::Origin;
use http_trace_model::event::{
    BodyEnd, Endpoint, HttpEvent, LossUnit, Missing, NoResponse, Output, RuleIds, oddity,
};
use http_trace_model::head::ResponseHead;
use http_trace_model::known::Known;

/// How far a response was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// To its end.
    Ended(BodyEnd),
    /// It goes on, longer than an event waits for its end.
    StillOpen,
    /// Its end was not waited for.
    Open,
    /// Its end cannot be told: bytes that the framing needs are missing.
    Lost,
}

/// The event of an exchange with a final response.
pub(crate) fn response(facts: &Facts, cx: &mut Context<'_>, exchange: Exchange, how: How) {
    let Some(response) = exchange.response.filter(|_| !facts.muted) else {
        return;
    };
    // What follows was framed without knowing that HEAD was asked (RFC 9112 §6.3, item 1).
    let head_asked = exchange
        .request
        .as_ref()
        .is_some_and(|r| r.kind == MethodKind::Head);
    let end = match how {
        How::Ended(BodyEnd::Length) if head_asked && response.body_bytes == 0 => {
            Some(BodyEnd::None)
        }
        How::Ended(end) => Some(end),
        How::StillOpen | How::Open | How::Lost => None,
    };
    let complete = end.is_some_and(|end| end != BodyEnd::Cut);
    let mut missing = Vec::new();
    if exchange.request.is_none() {
        missing.push(Missing::Request);
        cx.stats.without_request += 1;
    }
    if response.head_cut {
        missing.push(Missing::Headers);
    }
    if how == How::Lost {
        missing.push(Missing::Body);
    }
    if !complete {
        missing.push(Missing::End);
        cx.stats.incomplete += 1;
    }
    cx.stats.count_response(response.head.status);
    cx.stats.informational += exchange.informational.len() as u64;
    let head_len = response.head.wire_len;
    let mut event = blank(
        facts,
        cx,
        exchange.ordinal,
        exchange.request.as_ref(),
        &response.origin,
    );
    event.id = identity(
        &wire_key(facts, cx),
        response.start,
        status_bytes(&response.head),
    );
    event.time_ns = response.head.first_byte_ns;
    event.response_start_ns = Some(response.head.first_byte_ns);
    if !response.head_cut {
        event.head_end_ns = Some(response.head_end_ns);
    }
    if complete {
        event.response_end_ns = Some(response.last_ns);
    }
    // Before the first byte of a body nobody knows that there will be none.
    let unknown =
        response.head_cut || matches!(how, How::StillOpen | How::Open) && response.body_bytes == 0;
    event.body_bytes = (!unknown).then_some(response.body_bytes);
    event.response_bytes = Some(head_len + response.framing_bytes + response.body_bytes);
    event.body_end = end;
    event.complete = complete;
    event.missing = missing;
    let mut oddities = response.oddities;
    if exchange.assumed {
        oddities.push(oddity::REQUEST_ASSUMED);
    }
    if how == How::StillOpen {
        oddities.push(oddity::STILL_OPEN);
    }
    oddities.extend(malformed(exchange.request.as_ref()));
    if length_differs(&response.head, end, response.body_bytes) {
        oddities.push(oddity::LENGTH_MISMATCH);
    }
    event.flags = flag_names(exchange.flags | response.flags, oddities);
    event.retransmissions = response.copies;
    event.interfaces = cx.interfaces.names(response.interfaces);
    event.request = exchange.request.map(|request| request.head);
    event.informational = heads(exchange.informational);
    event.body_snippet = response.snippet.decoded(&response.head.headers);
    event.response = Some(response.head);
    send(cx, event);
}

/// Whether a body that has ended is not as long as its head declared: cut off, or chunked, which
/// overrides the declaration (RFC 9112 §6.3). What has no body may declare the length of another.
fn length_differs(head: &ResponseHead, end: Option<BodyEnd>, body_bytes: u64) -> bool {
    let ends = matches!(
        end,
        Some(BodyEnd::Length | BodyEnd::Chunked | BodyEnd::Close | BodyEnd::Cut)
    );
    ends && head
        .content_length
        .is_some_and(|declared| declared != body_bytes)
}

/// 1xx heads that no final response followed: the last of them stands for the response.
pub(crate) fn informational_alone(facts: &Facts, cx: &mut Context<'_>, mut exchange: Exchange) {
    let Some((head, origin)) = exchange.informational.pop().filter(|_| !facts.muted) else {
        return;
    };
    cx.stats.informational += 1 + exchange.informational.len() as u64;
    let mut event = blank(
        facts,
        cx,
        exchange.ordinal,
        exchange.request.as_ref(),
        &origin,
    );
    event.id = identity(
        &wire_key(facts, cx),
        head.first_byte_ns,
        status_bytes(&head),
    );
    event.time_ns = head.first_byte_ns;
    event.response_start_ns = Some(head.first_byte_ns);
    event.body_end = Some(BodyEnd::None);
    event.response_bytes = Some(head.wire_len);
    event.body_bytes = Some(0);
    if exchange.request.is_none() {
        event.missing.push(Missing::Request);
        cx.stats.without_request += 1;
    }
    let oddities = malformed(exchange.request.as_ref()).into_iter().collect();
    event.flags = flag_names(exchange.flags, oddities);
    // What the client asked for is the final response.
    event.missing.push(Missing::End);
    cx.stats.incomplete += 1;
    event.interfaces = cx.interfaces.names(origin.interfaces);
    event.request = exchange.request.map(|request| request.head);
    event.informational = heads(exchange.informational);
    event.response = Some(head);
    send(cx, event);
}

/// A request that nothing answered, and since when nobody waited for that any more (Unix ns).
pub(crate) fn no_response(
    facts: &Facts,
    cx: &mut Context<'_>,
    request: Request,
    (why, since_ns): (NoResponse, u64),
) {
    if facts.muted {
        return;
    }
    if !cx.config.no_response {
        cx.stats.requests_unmatched += 1;
        return;
    }
    cx.stats.no_response += 1;
    let mut event = blank(facts, cx, request.ordinal, Some(&request), &request.origin);
    event.id = identity(&wire_key(facts, cx), request.start, &request.head.target);
    event.time_ns = request.start_ns;
    event.no_response = Some(why);
    event.given_up_ns = Some(since_ns);
    event.flags.extend(malformed(Some(&request)));
    if request.end_ns.is_none() && !request.end_lost {
        event.flags.push(oddity::REQUEST_UNFINISHED);
    }
    event.request = Some(request.head);
    send(cx, event);
}

/// The flag of a request whose line is none to the letter.
fn malformed(request: Option<&Request>) -> Option<&'static str> {
    request
        .is_some_and(|request| request.malformed)
        .then_some(oddity::MALFORMED_REQUEST)
}

/// A connection attempt that was refused or not answered, at a port that is of interest.
pub(crate) fn attempt(facts: &Facts, cx: &mut Context<'_>, time_ns: u64, why: NoResponse) {
    let client = if facts.client() == Some(1) {
        Direction::FromB
    } else {
        Direction::FromA
    };
    let port = cx.key.sender(client.opposite()).1;
    let asked = cx
        .config
        .attempt_ports
        .iter()
        .any(|ports| ports.contains(&port));
    if !cx.config.no_response || facts.client().is_none() || !(asked || cx.ports.contains(port)) {
        return;
    }
    if !cx.attempts.admit(cx.now_ns, cx.config.attempts_per_second) {
        cx.losses.add(
            "connection_attempts",
            LossUnit::Events,
            1,
            time_ns,
            cx.now_ns,
        );
        return;
    }
    cx.stats.no_response += 1;
    let origin = Origin {
        time_ns,
        socket_cookie: 0,
        cgroup_id: 0,
        interfaces: [0; 4],
        ack: 0,
        wire_len: 0,
        encap: 0,
        flags: 0,
        retransmissions: 0,
        hook: 0,
        path: 0,
        without_flow: false,
    };
    let mut event = blank(facts, cx, 1, None, &origin);
    event.id = identity(&wire_key(facts, cx), time_ns, b"attempt");
    event.time_ns = time_ns;
    event.no_response = Some(why);
    event.missing.push(Missing::Request);
    send(cx, event);
}

fn send(cx: &mut Context<'_>, event: HttpEvent) {
    (cx.out)(Output::Http(Box::new(event)));
}

fn blank(
    facts: &Facts,
    cx: &mut Context<'_>,
    ordinal: u32,
    request: Option<&Request>,
    origin: &Origin,
) -> HttpEvent {
    let client = match facts.client() {
        Some(1) => Direction::FromB,
        _ => Direction::FromA,
    };
    let sequence = *cx.sequence;
    *cx.sequence += 1;
    let ends = |(key, flipped): (FlowKey, bool)| {
        let client = if flipped { client.opposite() } else { client };
        [client, client.opposite()].map(|end| endpoint(key.sender(end)))
    };
    let names = cx.aliases.names(facts.number);
    let [of_client, of_server] = ends(names.map_or((cx.key, false), |names| names.server));
    let [nat_client, nat_server] = names.map_or([None; 2], |names| {
        let [client, server] = ends(names.client);
        [
            (client != of_client).then_some(client),
            (server != of_server).then_some(server),
        ]
    });
    let known = |n: u64| (n != 0).then_some(n);
    HttpEvent {
        sequence,
        id: 0,
        client: of_client,
        server: of_server,
        nat_client,
        nat_server,
        forwarded: cx.proxied.get(&facts.number).copied(),
        time_ns: 0,
        request_start_ns: request.map(|request| request.start_ns),
        request_end_ns: request.and_then(|request| request.end_ns),
        response_start_ns: None,
        head_end_ns: None,
        response_end_ns: None,
        request: None,
        request_body_bytes: request.map(|request| request.body_bytes),
        response: None,
        informational: Vec::new(),
        body_bytes: None,
        response_bytes: None,
        body_end: None,
        body_snippet: None,
        no_response: None,
        given_up_ns: None,
        connection: facts.number,
        ordinal,
        complete: false,
        missing: Vec::new(),
        flags: Vec::new(),
        retransmissions: 0,
        hook: origin.hook(),
        egress: (origin.hook() != record::Hook::Capture)
            .then_some(origin.flags & record::flag::EGRESS != 0),
        interfaces: Vec::new(),
        packet_len: origin.wire_len,
        encap: cx.encaps.get(origin.encap).cloned(),
        socket_cookie: known(origin.socket_cookie),
        // What comes from elsewhere has passed no socket yet; what answers it, or asked, has.
        cgroup_id: known(origin.cgroup_id)
            .or_else(|| known(request.map_or(0, |request| request.origin.cgroup_id))),
        rules: RuleIds::default(),
    }
}

/// The name of the connection nearest to the server.
fn wire_key(facts: &Facts, cx: &Context<'_>) -> FlowKey {
    cx.aliases
        .names(facts.number)
        .map_or(cx.key, |names| names.server.0)
}

fn endpoint((address, port): (Address, u16)) -> Endpoint {
    Endpoint {
        ip: IpAddr::from(address).to_canonical(),
        port,
    }
}

fn heads(informational: Vec<(ResponseHead, Origin)>) -> Vec<ResponseHead> {
    informational.into_iter().map(|(head, _)| head).collect()
}

/// The names of the framer's flags, and `oddities`, sorted, each once.
fn flag_names(flags: u32, oddities: Vec<&'static str>) -> Vec<&'static str> {
    let mut names = oddities;
    names.extend(
        flag::NAMES
            .iter()
            .filter(|(bit, _)| flags & bit != 0)
            .map(|(_, name)| *name),
    );
    names.sort_unstable();
    names.dedup();
    names
}

/// A value that is likely to differ between two responses at the same place of two connections
/// that share a tuple: mostly the Date field's.
fn status_bytes(head: &ResponseHead) -> &[u8] {
    head.headers
        .first_known(Known::DATE)
        .unwrap_or(&head.reason)
}

/// The same for the same wire bytes, whoever saw them and when: from the tuple, the sequence
/// number of the head's first byte and a part of the head.
fn identity(key: &FlowKey, place: u64, part: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |h: u64, n: u64| (h ^ n).wrapping_mul(K).rotate_left(29).wrapping_mul(K);
    let mut h = mix(0, place & 0xffff_ffff);
    for address in [key.a, key.b] {
        for chunk in address.chunks_exact(8) {
            h = mix(h, chunk.iter().fold(0, |n, &b| n << 8 | u64::from(b)));
        }
    }
    h = mix(h, u64::from(key.a_port) << 16 | u64::from(key.b_port));
    for chunk in part.chunks(8) {
        h = mix(
            h,
            chunk
                .iter()
                .fold(chunk.len() as u64, |n, &b| n << 8 | u64::from(b)),
        );
    }
    h ^ h >> 32
}
