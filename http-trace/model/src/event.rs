//! The internal event. Every output format is a pure function of it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http_trace_common::record::Hook;
use http_trace_common::walk::{Encap, LayerKind};

use crate::fields;
use crate::head::{RequestHead, ResponseHead};
use crate::known::Known;
use crate::process::Process;

/// An address and a TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// IP address; IPv4-mapped IPv6 is shown as IPv4.
    pub ip: IpAddr,
    /// TCP port; 0 (never used by a connection, RFC 6335 §6) where a recording lacks it.
    pub port: u16,
}

impl Endpoint {
    /// An end that a recording does not name, such as the server of an access log.
    pub const NOBODY: Endpoint = Endpoint { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0 };

    pub fn known_ip(self) -> Option<IpAddr> {
        Some(self.ip).filter(|ip| !ip.is_unspecified())
    }

    pub fn known_port(self) -> Option<u16> {
        Some(self.port).filter(|port| *port != 0)
    }
}

/// The client that a trusted proxy names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forwarded {
    /// IP address; IPv4-mapped IPv6 is shown as IPv4.
    pub ip: IpAddr,
    /// TCP port, if the proxy gave it.
    pub port: Option<u16>,
}

crate::named_enum! {
    /// Why a request (or connection attempt) has no response.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum NoResponse {
        Reset = "reset",
        /// The connection was closed with FIN.
        Closed = "closed",
        /// No response within the configured time.
        Timeout = "timeout",
        /// The SYN was not answered.
        Unreachable = "unreachable",
        /// The SYN was answered by RST.
        Refused = "refused",
        /// The answer is not a response: a status line without a valid status code (RFC 9112 §4).
        Unreadable = "unreadable",
        /// Whether it was answered is not known: the capture ends before, or has nothing of the server.
        Unseen = "unseen",
    }
}

crate::named_enum! {
    /// Part of a transaction that was not seen.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Missing {
        /// The request: sent before tracing began, lost, or on another path.
        Request = "request",
        /// The version of HTTP/1.x: the status line, record or log has another one or none.
        Version = "version",
        /// Header fields of the request: beyond the limit of a head, or in an event from a record or log that does not
        /// hold all of them.
        RequestHeaders = "request_headers",
        /// Part of the response's head, also beyond the limit of one; in an event from a record or log, header fields that
        /// it does not hold.
        Headers = "headers",
        /// Part of the body that framing needed.
        Body = "body",
        /// The end of the message, when the event was written.
        End = "end",
        /// The process that sent, on a socket of this host.
        Process = "process",
        /// The name of its container.
        Container = "container",
        /// The names of its pod.
        Orchestrator = "orchestrator",
    }
}

/// Names of oddities of a transaction, in addition to the names of the framer's flags
/// ([`http_trace_common::framer::flag::NAMES`]).
pub mod oddity {
    use http_trace_common::framer::flag;

    macro_rules! oddities {
        ($($(#[$meaning:meta])+ $name:ident = $text:literal;)+) => {
            $($(#[$meaning])+ pub const $name: &str = $text;)+

            const ALL: &[&str] = &[$($name),+];
        };
    }

    oddities! {
        /// Part of the body was not seen.
        BODY_GAP = "body_gap";
        /// A RST, FIN or SYN that fits the connection was disproved by what followed: its receiver did not
        /// accept it, whoever sent it.
        DISPUTED_SEGMENT = "disputed_segment";
        /// The head exceeded the limit of what is kept of one.
        HEADERS_TRUNCATED = "headers_truncated";
        /// The body's length differs from the declared one.
        LENGTH_MISMATCH = "length_mismatch";
        /// The request line does not follow RFC 9112 §3.
        MALFORMED_REQUEST = "malformed_request";
        /// The version of the status line is not HTTP/1.x.
        OTHER_VERSION = "other_version";
        /// A copy of bytes already seen had different content.
        OVERLAP_DIFFERS = "overlap_differs";
        /// Request and response probably belong together, but this is not proven.
        REQUEST_ASSUMED = "request_assumed";
        /// An event without a response was written for this request before.
        REPORTED_UNANSWERED = "reported_unanswered";
        /// It may have been among records that were lost since the request.
        RESPONSE_MAY_BE_LOST = "response_may_be_lost";
        /// The request was incomplete when its response ended, or the wait for one.
        REQUEST_UNFINISHED = "request_unfinished";
        /// The response was still in progress when the event was written, after the longest wait.
        STILL_OPEN = "still_open";
    }

    /// Oddities of request heads that servers interpret differently, as those of responses. Bits of
    /// [`http_trace_common::framer::flag`].
    pub const OF_REQUESTS: [(u32, &str); 8] = [
        (flag::BARE_LF, "request_bare_lf"),
        (flag::OBS_FOLD, "request_obs_fold"),
        (flag::LENGTH_CONFLICT, "request_length_conflict"),
        (flag::LENGTH_INVALID, "request_length_invalid"),
        (flag::CODING_AND_LENGTH, "request_coding_and_length"),
        (flag::SPACE_BEFORE_COLON, "request_space_before_colon"),
        (flag::LENGTH_REPEATED, "request_length_repeated"),
        (flag::CODING_NOT_CHUNKED, "request_coding_not_chunked"),
    ];

    /// Looks up an event flag by name.
    pub fn named(name: &str) -> Option<&'static str> {
        let of_framer = flag::NAMES.into_iter().chain(OF_REQUESTS);
        let of_framer = of_framer.map(|(_, name)| name);
        ALL.iter().copied().chain(of_framer).find(|known| *known == name)
    }
}

crate::named_enum! {
    /// How a response's body ended (RFC 9112 §6.3).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum BodyEnd {
        /// No body: 1xx, 204, 304, or the response to HEAD.
        None = "none",
        /// After Content-Length bytes.
        Length = "length",
        /// With the last chunk and its trailers.
        Chunked = "chunked",
        /// With the connection's close by FIN.
        Close = "close",
        /// By a reset, or a close before the declared length.
        Cut = "cut",
        /// The connection became a tunnel (CONNECT) or another protocol (101).
        Tunnel = "tunnel",
    }
}

/// One response with its request, or a request that was never answered.
///
/// All times are Unix ns. `None` means "not seen", never zero.
#[derive(Clone, Debug)]
pub struct HttpEvent {
    /// Position in this run's stream, from 0, without gaps.
    pub sequence: u64,
    /// Stable for the same bytes on the wire: derived from the tuple, the sequence number of the head's
    /// first byte, and identifying bytes of the head.
    pub id: u64,
    /// The client's end of the connection, on the tuple nearest the server.
    pub client: Endpoint,
    /// The server's end, on the same tuple.
    pub server: Endpoint,
    /// The client's end on the tuple nearest the client, if address translation changed it.
    pub nat_client: Option<Endpoint>,
    /// The server's end on the tuple nearest the client, if address translation changed it.
    pub nat_server: Option<Endpoint>,
    /// The original client, if `client` is a trusted proxy that names it.
    pub forwarded: Option<Forwarded>,
    /// What a log has in place of the client's address: the name of a host, or `unix:`. `client` is
    /// [`Endpoint::NOBODY`] then.
    pub client_name: Option<Box<[u8]>>,
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
    /// Request body bytes on the wire, excluding chunk framing.
    pub request_body_bytes: Option<u64>,
    /// The final response head.
    pub response: Option<ResponseHead>,
    /// 1xx heads before the final one, in order.
    pub informational: Vec<ResponseHead>,
    /// Response body bytes so far, excluding chunk framing; `None` in a body that goes on and that a filter skips.
    pub body_bytes: Option<u64>,
    /// All bytes of the final response so far: head, framing and body; `None` in one that goes on and that a filter skips.
    pub response_bytes: Option<u64>,
    /// How the body ended, once it has.
    pub body_end: Option<BodyEnd>,
    /// First bytes of the decoded body, if requested.
    pub body_snippet: Option<Bytes>,
    /// Why there is no response; set instead of `response`.
    pub no_response: Option<NoResponse>,
    /// When the wait for a response ended: at the connection's end or the timeout; Unix ns.
    pub given_up_ns: Option<u64>,
    /// Number of the connection in this run, from 1, shared by all its transactions.
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
    /// The hook that captured the response's head.
    pub hook: Hook,
    /// Whether the response left this host (`Some(true)`) or came in; unknown in a capture.
    pub egress: Option<bool>,
    /// Interfaces the response was seen on, by name, in order of appearance.
    pub interfaces: Names,
    /// Length on the wire of the frame with the response's first byte.
    pub packet_len: u32,
    /// VLAN tags and tunnels around that frame; in a live run only the tunnel that `--decap` matched.
    /// `None` if there are none.
    pub encap: Option<Arc<Encap>>,
    /// Cookies of the client's and the server's socket on this host, if the hook knows them.
    pub sockets: [Option<u64>; 2],
    /// cgroup id of the server's end, otherwise of the client's, if the hook knows it.
    pub cgroup_id: Option<u64>,
    /// The process that sent the request, if it runs on this host and is known.
    pub client_process: Option<Arc<Process>>,
    /// The process that sent the response, likewise.
    pub server_process: Option<Arc<Process>>,
    /// Ids of the rules that counted this response, in that order; filled in by detection.
    pub rules: Names,
    /// User of Basic authentication, where a recording names it without the credentials.
    pub user: Option<Box<[u8]>>,
}

/// A list of names that events can share: cheap to clone, and allocates nothing if empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Option<Arc<[Arc<str>]>>);

impl FromIterator<Arc<str>> for Names {
    fn from_iter<T: IntoIterator<Item = Arc<str>>>(names: T) -> Self {
        Names(Some(names.into_iter().collect()).filter(|names: &Arc<[_]>| !names.is_empty()))
    }
}

impl std::ops::Deref for Names {
    type Target = [Arc<str>];

    fn deref(&self) -> &[Arc<str>] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl Default for HttpEvent {
    fn default() -> Self {
        HttpEvent::new(0, Endpoint::NOBODY, Endpoint::NOBODY)
    }
}

impl HttpEvent {
    /// [`HttpEvent::body_bytes`], but `None` if the response went on when the event was made: for formats whose
    /// readers take a length for that of the whole body.
    pub fn whole_body_bytes(&self) -> Option<u64> {
        let is_over = !self.flags.contains(&oddity::STILL_OPEN);
        is_over.then(|| self.body_bytes.unwrap_or(0))
    }

    /// An event with nothing but its time and its two ends.
    pub const fn new(time_ns: u64, client: Endpoint, server: Endpoint) -> Self {
        HttpEvent {
            sequence: 0,
            id: 0,
            client,
            server,
            nat_client: None,
            nat_server: None,
            forwarded: None,
            client_name: None,
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
            interfaces: Names(None),
            packet_len: 0,
            encap: None,
            sockets: [None; 2],
            cgroup_id: None,
            client_process: None,
            server_process: None,
            rules: Names(None),
            user: None,
        }
    }

    /// Bytes of the whole request. `None` if unknown: while its body is in progress, for chunked bodies
    /// (the body count excludes chunk framing), and for events from a log.
    pub fn request_bytes(&self) -> Option<u64> {
        let request = self.request.as_ref().filter(|r| r.wire_len > 0)?;
        let body = self.request_body_bytes?;
        let chunked = request.headers.has(Known::TRANSFER_ENCODING);
        (!chunked).then(|| request.wire_len.saturating_add(body))
    }

    /// Address of the client: the peer's, unless it is a trusted proxy that names another.
    pub fn client_ip(&self) -> IpAddr {
        self.forwarded.map_or(self.client.ip, |f| f.ip)
    }

    /// [`HttpEvent::client_ip`], unless a log names the client otherwise.
    pub fn known_client(&self) -> Option<IpAddr> {
        self.client_name.is_none().then(|| self.client_ip())
    }

    /// Time from the request's last byte to the first byte of the final head, in ns.
    pub fn ttfb_ns(&self) -> Option<u64> {
        self.response_start_ns?.checked_sub(self.request_end_ns?)
    }

    /// Time from the request's last byte to the response's last, in ns.
    pub fn ttlb_ns(&self) -> Option<u64> {
        self.response_end_ns?.checked_sub(self.request_end_ns?)
    }

    /// When the transaction ended, Unix ns: the response's last byte, its head's end if that was not seen,
    /// or the end of the wait for a response.
    pub fn end_ns(&self) -> Option<u64> {
        self.response_end_ns.or(self.head_end_ns).or(self.given_up_ns)
    }

    /// Time from the request's first byte to the end, in ns.
    pub fn duration_ns(&self) -> Option<u64> {
        self.end_ns()?.checked_sub(self.request_start_ns?)
    }

    /// The frame's VLAN ids, outermost first.
    pub fn vlans(&self) -> impl Iterator<Item = u32> {
        let layers = self.encap.iter().flat_map(|encap| encap.layers());
        layers.filter(|layer| layer.kind == LayerKind::Vlan).map(|layer| layer.id)
    }

    /// The frame's tags and tunnels, unless they are only VLANs and link layers.
    pub fn tunnel(&self) -> Option<&Encap> {
        let link = |kind| matches!(kind, LayerKind::Vlan | LayerKind::Llc | LayerKind::Nflog);
        let encap = self.encap.as_deref()?;
        let tunnels = encap.layers().iter().any(|layer| !link(layer.kind));
        tunnels.then_some(encap)
    }

    /// Addresses `[client side, server side]` of the IP headers around the connection's own, outermost first.
    pub fn outer_ips(&self) -> impl Iterator<Item = [IpAddr; 2]> {
        // The frame is the response's, or the request's if there is no response.
        let from_client = self.response.is_none() && self.informational.is_empty();
        let outers = self.encap.iter().flat_map(|encap| encap.outers());
        outers.map(move |outer| {
            let [src, dst] = [outer.src, outer.dst].map(|ip| IpAddr::from(ip).to_canonical());
            if from_client { [src, dst] } else { [dst, src] }
        })
    }

    /// The digit after `HTTP/1.` of the status line, or of the request line if there is no response; `None` if the
    /// record does not hold it.
    pub fn minor_version(&self) -> Option<u8> {
        let head = self.response.as_ref().or(self.informational.last());
        let request = self.request.as_ref().map(|request| request.minor_version);
        let minor = head.map(|head| head.minor_version).or(request);
        minor.filter(|_| !self.missing.contains(&Missing::Version))
    }

    /// `1xx` to `5xx` or `other`: class of the final status, or of the last 1xx head if there is none yet.
    pub fn status_class(&self) -> Option<&'static str> {
        let head = self.response.as_ref().or(self.informational.last())?;
        Some(status_class(head.status))
    }
}

/// Class of a status code: `1xx` to `5xx` or `other` (RFC 9110 §15).
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

/// A loss, reported in the stream so that missing data never goes unnoticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// How much.
    pub count: u64,
    pub unit: LossUnit,
    /// Stage and reason, e.g. `ring_full`, `reassembly`, `unsure_dropped`.
    pub place: &'static str,
    /// Start of the interval in which it happened, Unix ns.
    pub since_ns: u64,
    /// End of that interval, Unix ns.
    pub until_ns: u64,
    /// Interface and program responsible, if known.
    pub detail: Option<Arc<str>>,
}

/// [`Loss::place`] of what crossed between an earlier run and this one, before this one traced.
pub const NOT_RUNNING: &str = "not_running";

crate::named_enum! {
    /// What a [`Loss`] counts.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum LossUnit {
        /// Records that did not reach the host, or that an output's destination rejected.
        Records = "records",
        Alerts = "alerts",
        /// Payload bytes.
        Bytes = "bytes",
        Events = "events",
        /// Connections that were not followed.
        Flows = "flows",
        /// IP packets that were not reassembled, or whose headers were not followed to the end.
        Packets = "packets",
        /// Occasions on which a hook may have missed packets.
        Hooks = "hooks",
    }
}

#[derive(Clone, Debug)]
pub enum Output {
    /// One per response, or per request without one.
    Http(Box<HttpEvent>),
    /// Records, bytes, events or flows were lost.
    Loss(Loss),
}

/// [`fields::basic_user`] of the request, or the user that a recording names.
pub fn basic_user(event: &HttpEvent) -> Option<Vec<u8>> {
    let user = fields::basic_user(&event.request.as_ref()?.headers);
    user.or_else(|| event.user.as_deref().map(<[u8]>::to_vec))
}
