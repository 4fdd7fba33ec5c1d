//! The one internal event, of which every output format is a pure function.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http_trace_common::record::Hook;
use http_trace_common::walk::{Encap, LayerKind};

use crate::head::{RequestHead, ResponseHead};
use crate::known::Known;
use crate::process::Process;

/// An address and a TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// IP address; IPv4-mapped IPv6 is shown as IPv4.
    pub ip: IpAddr,
    /// TCP port; 0, which no connection has (RFC 6335 §6), where a recording does not say it.
    pub port: u16,
}

impl Endpoint {
    /// Where a recording says nothing of an end: an access log has no server.
    pub const NOBODY: Endpoint = Endpoint {
        ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        port: 0,
    };

    /// The address, where one is known.
    pub fn known_ip(self) -> Option<IpAddr> {
        Some(self.ip).filter(|ip| !ip.is_unspecified())
    }

    /// The port, where it is known.
    pub fn known_port(self) -> Option<u16> {
        Some(self.port).filter(|port| *port != 0)
    }
}

/// Who a trusted proxy asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forwarded {
    /// IP address; IPv4-mapped IPv6 is shown as IPv4.
    pub ip: IpAddr,
    /// TCP port, where the proxy said it.
    pub port: Option<u16>,
}

/// Why a request (or connection attempt) has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoResponse {
    /// The connection was reset.
    Reset,
    /// The connection was closed in order.
    Closed,
    /// Nothing came within the configured time.
    Timeout,
    /// The SYN was not answered.
    Unreachable,
    /// The SYN was answered by RST.
    Refused,
    /// What answered it is no response: a status line without a status code (RFC 9112 §4).
    Unreadable,
}

impl NoResponse {
    /// All there are.
    pub const ALL: [NoResponse; 6] = [
        NoResponse::Reset,
        NoResponse::Closed,
        NoResponse::Timeout,
        NoResponse::Unreachable,
        NoResponse::Refused,
        NoResponse::Unreadable,
    ];

    /// Their names.
    pub const NAMES: [&str; 6] = [
        NoResponse::Reset.name(),
        NoResponse::Closed.name(),
        NoResponse::Timeout.name(),
        NoResponse::Unreachable.name(),
        NoResponse::Refused.name(),
        NoResponse::Unreadable.name(),
    ];

    /// Its name in records.
    pub const fn name(self) -> &'static str {
        match self {
            NoResponse::Reset => "reset",
            NoResponse::Closed => "closed",
            NoResponse::Timeout => "timeout",
            NoResponse::Unreachable => "unreachable",
            NoResponse::Refused => "refused",
            NoResponse::Unreadable => "unreadable",
        }
    }

    /// The one of a name.
    pub fn named(name: &[u8]) -> Option<Self> {
        let mut all = NoResponse::ALL.into_iter();
        all.find(|why| why.name().as_bytes() == name)
    }
}

/// What of a transaction was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Missing {
    /// The request: before the start, lost, or on another path.
    Request,
    /// Part of the head.
    Headers,
    /// Part of the body whose bytes the framing needed.
    Body,
    /// The message's end, at the time of writing.
    End,
    /// Who sent on a socket of this host.
    Process,
    /// The name of the container that it is in.
    Container,
    /// The names of the pod that it is in.
    Orchestrator,
}

impl Missing {
    /// All there are.
    pub const ALL: [Missing; 7] = [
        Missing::Request,
        Missing::Headers,
        Missing::Body,
        Missing::End,
        Missing::Process,
        Missing::Container,
        Missing::Orchestrator,
    ];

    /// Their names.
    pub const NAMES: [&str; 7] = [
        Missing::Request.name(),
        Missing::Headers.name(),
        Missing::Body.name(),
        Missing::End.name(),
        Missing::Process.name(),
        Missing::Container.name(),
        Missing::Orchestrator.name(),
    ];

    /// Its name in events and rules.
    pub const fn name(self) -> &'static str {
        match self {
            Missing::Request => "request",
            Missing::Headers => "headers",
            Missing::Body => "body",
            Missing::End => "end",
            Missing::Process => "process",
            Missing::Container => "container",
            Missing::Orchestrator => "orchestrator",
        }
    }
}

/// Names of what is odd about a transaction, beside those that the framer gives to its flags
/// ([`http_trace_common::framer::flag::NAMES`]).
pub mod oddity {
    /// A field name with a byte that is none of a token's (RFC 9110 §5.6.2).
    pub const BAD_FIELD_NAME: &str = "bad_field_name";
    /// Bytes of the body were not seen.
    pub const BODY_GAP: &str = "body_gap";
    /// A RST, FIN or SYN of the connection that fits was disproved by what followed: its receiver did not
    /// take it, whoever sent it.
    pub const DISPUTED_SEGMENT: &str = "disputed_segment";
    /// The head was longer than what is kept of one.
    pub const HEADERS_TRUNCATED: &str = "headers_truncated";
    /// The body was not as long as its head declared.
    pub const LENGTH_MISMATCH: &str = "length_mismatch";
    /// A line of the head had no colon.
    pub const LINE_WITHOUT_COLON: &str = "line_without_colon";
    /// The request's line was not as RFC 9112 §3 has it.
    pub const MALFORMED_REQUEST: &str = "malformed_request";
    /// Bytes came a second time and were others.
    pub const OVERLAP_DIFFERS: &str = "overlap_differs";
    /// The pair is the likely one and not proven.
    pub const REQUEST_ASSUMED: &str = "request_assumed";
    /// The request was not whole.
    pub const REQUEST_UNFINISHED: &str = "request_unfinished";
    /// Blanks between a field's name and its colon (RFC 9112 §5.1).
    pub const SPACE_BEFORE_COLON: &str = "space_before_colon";
    /// The response went on when it was told, longer after its head than events wait.
    pub const STILL_OPEN: &str = "still_open";

    const ALL: [&str; 12] = [
        BAD_FIELD_NAME,
        BODY_GAP,
        DISPUTED_SEGMENT,
        HEADERS_TRUNCATED,
        LENGTH_MISMATCH,
        LINE_WITHOUT_COLON,
        MALFORMED_REQUEST,
        OVERLAP_DIFFERS,
        REQUEST_ASSUMED,
        REQUEST_UNFINISHED,
        SPACE_BEFORE_COLON,
        STILL_OPEN,
    ];

    /// The name of an event's flag, if there is one of that name.
    pub fn named(name: &str) -> Option<&'static str> {
        let of_framer = http_trace_common::framer::flag::NAMES;
        let of_framer = of_framer.into_iter().map(|(_, name)| name);
        ALL.into_iter()
            .chain(of_framer)
            .find(|known| *known == name)
    }
}

/// How a response's body ended (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyEnd {
    /// There is no body: 1xx, 204, 304, or the answer to HEAD.
    None,
    /// After Content-Length bytes.
    Length,
    /// With the last chunk and its trailers.
    Chunked,
    /// With the connection's orderly close.
    Close,
    /// By a reset, or a close before the declared length.
    Cut,
    /// The connection became a tunnel (CONNECT) or another protocol (101).
    Tunnel,
}

impl BodyEnd {
    /// All there are.
    pub const ALL: [BodyEnd; 6] = [
        BodyEnd::None,
        BodyEnd::Length,
        BodyEnd::Chunked,
        BodyEnd::Close,
        BodyEnd::Cut,
        BodyEnd::Tunnel,
    ];

    /// Their names.
    pub const NAMES: [&str; 6] = [
        BodyEnd::None.name(),
        BodyEnd::Length.name(),
        BodyEnd::Chunked.name(),
        BodyEnd::Close.name(),
        BodyEnd::Cut.name(),
        BodyEnd::Tunnel.name(),
    ];

    /// Its name in records.
    pub const fn name(self) -> &'static str {
        match self {
            BodyEnd::None => "none",
            BodyEnd::Length => "length",
            BodyEnd::Chunked => "chunked",
            BodyEnd::Close => "close",
            BodyEnd::Cut => "cut",
            BodyEnd::Tunnel => "tunnel",
        }
    }
}

/// One response with its request, or a request that was never answered.
///
/// All times are Unix ns. `None` means "not seen", never zero.
#[derive(Clone, Debug)]
pub struct HttpEvent {
    /// Position in this run's stream, from 0, without gaps.
    pub sequence: u64,
    /// Stable for the same wire bytes: from the tuple, the sequence number of the head's first
    /// byte, and its time rounded to the connection.
    pub id: u64,
    /// Who asked, as the connection's peers nearest the server.
    pub client: Endpoint,
    /// Who answered.
    pub server: Endpoint,
    /// The client's end as seen nearest to the client, where a translation made it another.
    pub nat_client: Option<Endpoint>,
    /// The server's end as seen nearest to the client, where a translation made it another.
    pub nat_server: Option<Endpoint>,
    /// The real client, when `client` is a trusted proxy that names it.
    pub forwarded: Option<Forwarded>,
    /// First byte of the response (of the request when there is no response).
    pub time_ns: u64,
    /// First byte of the request.
    pub request_start_ns: Option<u64>,
    /// Last byte of the request.
    pub request_end_ns: Option<u64>,
    /// First byte of the final response head.
    pub response_start_ns: Option<u64>,
    /// Last byte of the final response head.
    pub head_end_ns: Option<u64>,
    /// Last byte of the response.
    pub response_end_ns: Option<u64>,
    /// The request, unless it is missing.
    pub request: Option<RequestHead>,
    /// Body bytes of the request on the wire, chunk framing not counted.
    pub request_body_bytes: Option<u64>,
    /// The final response head.
    pub response: Option<ResponseHead>,
    /// 1xx heads before it, in order.
    pub informational: Vec<ResponseHead>,
    /// Body bytes of the response so far, chunk framing not counted.
    pub body_bytes: Option<u64>,
    /// All bytes of the final response so far: head, framing and body.
    pub response_bytes: Option<u64>,
    /// How the body ended, when it has.
    pub body_end: Option<BodyEnd>,
    /// The first bytes of the body, decoded, where they were asked for.
    pub body_snippet: Option<Bytes>,
    /// Set instead of `response` when there is none.
    pub no_response: Option<NoResponse>,
    /// When nobody waited for a response any more: the connection's end, or the time-out; Unix ns.
    pub given_up_ns: Option<u64>,
    /// Number of the connection in this run, from 1: the same for all its transactions.
    pub connection: u64,
    /// Position of the transaction within its connection, from 1.
    pub ordinal: u32,
    /// Whether the message's end was seen before the event was written.
    pub complete: bool,
    /// What was not seen, sorted.
    pub missing: Vec<Missing>,
    /// Leniencies and oddities by name (`bare_lf`, `obs_fold`, `length_conflict`, …), sorted.
    pub flags: Vec<&'static str>,
    /// Copies of this response's segments.
    pub retransmissions: u32,
    /// Where the response's head was taken.
    pub hook: Hook,
    /// Whether the response left this host (`Some(true)`) or came in; unknown in a capture.
    pub egress: Option<bool>,
    /// Interfaces the response was seen on, by name, in order of appearance.
    pub interfaces: Vec<Arc<str>>,
    /// Length on the wire of the frame that held the response's first byte.
    pub packet_len: u32,
    /// The tags and tunnels that frame was wrapped in; live only the tunnel that `--decap` found.
    /// `None` for none.
    pub encap: Option<Arc<Encap>>,
    /// Cookies of the sockets on this host, where the hook knew them: the client's and the server's.
    pub sockets: [Option<u64>; 2],
    /// cgroup id of the server's end, or else of the client's, when the hook knew it.
    pub cgroup_id: Option<u64>,
    /// Who sent the request, where it is a process of this host that is known.
    pub client_process: Option<Arc<Process>>,
    /// Who answered, in the same way.
    pub server_process: Option<Arc<Process>>,
    /// Ids of the rules that this response counted for; filled in by detection.
    pub rules: RuleIds,
}

/// Ids of rules, in the order in which they counted. Cheap to copy: events that counted for the
/// same rules share one list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleIds(Option<Arc<[Arc<str>]>>);

impl From<Vec<Arc<str>>> for RuleIds {
    fn from(ids: Vec<Arc<str>>) -> Self {
        RuleIds((!ids.is_empty()).then(|| ids.into()))
    }
}

impl std::ops::Deref for RuleIds {
    type Target = [Arc<str>];

    fn deref(&self) -> &[Arc<str>] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl HttpEvent {
    /// An event of which nothing is known but when and between whom.
    pub const fn new(time_ns: u64, client: Endpoint, server: Endpoint) -> Self {
        HttpEvent {
            sequence: 0,
            id: 0,
            client,
            server,
            nat_client: None,
            nat_server: None,
            forwarded: None,
            time_ns,
            request_start_ns: None,
            request_end_ns: None,
            response_start_ns: None,
            head_end_ns: None,
            response_end_ns: None,
            request: None,
            request_body_bytes: None,
            response: None,
            informational: Vec::new(),
            body_bytes: None,
            response_bytes: None,
            body_end: None,
            body_snippet: None,
            no_response: None,
            given_up_ns: None,
            connection: 0,
            ordinal: 1,
            complete: true,
            missing: Vec::new(),
            flags: Vec::new(),
            retransmissions: 0,
            hook: Hook::Capture,
            egress: None,
            interfaces: Vec::new(),
            packet_len: 0,
            encap: None,
            sockets: [None; 2],
            cgroup_id: None,
            client_process: None,
            server_process: None,
            rules: RuleIds(None),
        }
    }

    /// Bytes of the whole request; `None` where they are not known: while its body goes on, with
    /// chunks, whose framing the count of the body does not have, and where only a log is left.
    pub fn request_bytes(&self) -> Option<u64> {
        let request = self.request.as_ref().filter(|r| r.wire_len > 0)?;
        let body = self.request_body_bytes?;
        let chunked = request.headers.has(Known::TRANSFER_ENCODING);
        (!chunked).then(|| request.wire_len.saturating_add(body))
    }

    /// Address of the real client: the peer's, unless it is a trusted proxy that names another.
    pub fn client_ip(&self) -> IpAddr {
        self.forwarded.map_or(self.client.ip, |f| f.ip)
    }

    /// From the request's last byte to the first byte of the final head, in ns.
    pub fn ttfb_ns(&self) -> Option<u64> {
        self.response_start_ns?.checked_sub(self.request_end_ns?)
    }

    /// From the request's last byte to the response's last, in ns.
    pub fn ttlb_ns(&self) -> Option<u64> {
        self.response_end_ns?.checked_sub(self.request_end_ns?)
    }

    /// When it was over: the response's last byte, its head's end when that was not seen, or when
    /// nobody waited for a response any more; Unix ns.
    pub fn end_ns(&self) -> Option<u64> {
        self.response_end_ns
            .or(self.head_end_ns)
            .or(self.given_up_ns)
    }

    /// From the request's first byte to the end, in ns.
    pub fn duration_ns(&self) -> Option<u64> {
        self.end_ns()?.checked_sub(self.request_start_ns?)
    }

    /// The VLAN ids of the frame, outermost first.
    pub fn vlans(&self) -> impl Iterator<Item = u32> {
        let layers = self.encap.iter().flat_map(|encap| encap.layers());
        layers
            .filter(|layer| layer.kind == LayerKind::Vlan)
            .map(|layer| layer.id)
    }

    /// The tags and tunnels of the frame, unless they are VLANs and link layers alone.
    pub fn tunnel(&self) -> Option<&Encap> {
        let link = |kind| matches!(kind, LayerKind::Vlan | LayerKind::Llc | LayerKind::Nflog);
        let encap = self.encap.as_deref()?;
        let tunnels = encap.layers().iter().any(|layer| !link(layer.kind));
        tunnels.then_some(encap)
    }

    /// The addresses of the IP headers around the connection's own, outermost first: on the
    /// client's side, and on the server's.
    pub fn outer_ips(&self) -> impl Iterator<Item = [IpAddr; 2]> {
        // The frame is the response's, or that of the request which has none.
        let from_client = self.response.is_none() && self.informational.is_empty();
        let outers = self.encap.iter().flat_map(|encap| encap.outers());
        outers.map(move |outer| {
            let [src, dst] = [outer.src, outer.dst].map(|ip| IpAddr::from(ip).to_canonical());
            if from_client { [src, dst] } else { [dst, src] }
        })
    }

    /// `1xx` to `5xx` or `other`, of the final status or, while there is none, of the last 1xx
    /// head.
    pub fn status_class(&self) -> Option<&'static str> {
        let head = self.response.as_ref().or(self.informational.last())?;
        Some(status_class(head.status))
    }
}

/// `1xx` to `5xx` or `other` (RFC 9110 §15).
pub const fn status_class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "other",
    }
}

/// Something was lost; part of the stream so that silence never hides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// How much.
    pub count: u64,
    /// Of what.
    pub unit: LossUnit,
    /// The stage and the reason, e.g. `ring_full`, `reassembly`, `unsure_dropped`.
    pub place: &'static str,
    /// Start of the interval in which it happened, Unix ns.
    pub since_ns: u64,
    /// End of it.
    pub until_ns: u64,
    /// Where exactly and because of whom, where that is known: an interface and a program.
    pub detail: Option<Arc<str>>,
}

/// What a [`Loss`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LossUnit {
    /// Records that did not reach the host.
    Records,
    /// Payload bytes.
    Bytes,
    /// Events that were not written.
    Events,
    /// Connections not followed.
    Flows,
    /// IP packets that came in fragments and were not put together.
    Packets,
    /// Times that a hook may have missed packets.
    Hooks,
}

impl LossUnit {
    /// All there are.
    pub const ALL: [LossUnit; 6] = [
        LossUnit::Records,
        LossUnit::Bytes,
        LossUnit::Events,
        LossUnit::Flows,
        LossUnit::Packets,
        LossUnit::Hooks,
    ];

    /// Their names.
    pub const NAMES: [&str; 6] = [
        LossUnit::Records.name(),
        LossUnit::Bytes.name(),
        LossUnit::Events.name(),
        LossUnit::Flows.name(),
        LossUnit::Packets.name(),
        LossUnit::Hooks.name(),
    ];

    /// Its name in records.
    pub const fn name(self) -> &'static str {
        match self {
            LossUnit::Records => "records",
            LossUnit::Bytes => "bytes",
            LossUnit::Events => "events",
            LossUnit::Flows => "flows",
            LossUnit::Packets => "packets",
            LossUnit::Hooks => "hooks",
        }
    }
}

/// What the pipeline yields.
#[derive(Clone, Debug)]
pub enum Output {
    /// One per response, or per request without one.
    Http(Box<HttpEvent>),
    /// Records, bytes, events or flows were lost.
    Loss(Loss),
}

/// The user of `Authorization: Basic` (RFC 7617 §2); the password is never looked at.
pub fn basic_user(event: &HttpEvent) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let value = event
        .request
        .as_ref()?
        .headers
        .first_known(Known::AUTHORIZATION)?;
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(rest.trim_ascii())
        .ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    (colon > 0).then(|| decoded[..colon].to_vec())
}
