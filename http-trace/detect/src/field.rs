//! The fields that rules may name. Names and types come from the field table
//! ([`http_trace_model::field`]); this module adds the fields that detection computes or compares specially.
//! Knows nothing of events: [`super::view`] reads the values.

use http_trace_model::field::{About, RuleField, rule_fields};

/// A field of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Field {
    /// The client: the original one behind a trusted proxy, otherwise the peer.
    ClientIp,
    /// The peer's address, even if it is a proxy.
    PeerIp,
    /// The peer's port.
    ClientPort,
    /// The server's address.
    ServerIp,
    /// The server's port.
    ServerPort,
    /// Request method.
    Method,
    /// Path without query.
    Path,
    /// Query; also path and query together, because many public rules expect a path here.
    Query,
    /// The request target as sent.
    Target,
    /// The request target, decoded.
    DecodedTarget,
    /// The whole URL; also the target as sent.
    Uri,
    /// Host without port.
    Host,
    /// Text after the last dot of the path's last segment.
    Extension,
    /// `1.1`; also `HTTP/1.1`, as W3C logs write it.
    Version,
    /// User-Agent.
    UserAgent,
    /// Referer.
    Referrer,
    /// Cookie.
    Cookie,
    /// User of Basic authentication.
    UserName,
    /// Status code.
    Status,
    /// `1xx` … `5xx`.
    StatusClass,
    /// Reason phrase.
    Reason,
    /// Media type of the response without parameters.
    MimeType,
    /// Why there is no response.
    NoResponse,
    /// Names of oddities.
    Flags,
    /// Interfaces that the response was seen on.
    Interfaces,
    /// Any other field of the table, with the value from its entry.
    Plain(RuleField),
    /// A header of the request, by lower-case name.
    RequestHeader(Box<str>),
    /// A header of the response, by lower-case name.
    ResponseHeader(Box<str>),
    /// The last path segment that is a number or a UUID.
    PathId,
    /// The path with placeholders for numbers, UUIDs and the like.
    PathTemplate,
    /// Whether the endpoint is in the list of known endpoints.
    EndpointKnown,
    /// The first path segment.
    FirstSegment,
    /// The name of the query's only parameter.
    OnlyParameter,
    /// The host that an archive is named after.
    HostArchive,
    /// User agent and the names of header fields.
    ClientKind,
    /// Whether the referrer is a page of the same host.
    SameSite,
    /// Attributes missing from some cookie of the response: `httponly`, `samesite`, `secure`.
    CookieLacks,
    /// The client that an untrusted peer claims to forward for.
    ForwardedClient,
    /// Cgroup id of the client, if it is on this host.
    ClientCgroup,
    /// Cgroup id of the server, if it is on this host.
    ServerCgroup,
    /// The first bytes of the body, if requested (`--body-snippet`).
    BodyContent,
    /// The media type that the first bytes of the body look like.
    SniffedType,
}

/// Fields that detection computes or treats specially, by their names in the table.
const SPECIAL: &[(&str, Field)] = &[
    ("client.ip", Field::ClientIp),
    ("source.ip", Field::PeerIp),
    ("source.port", Field::ClientPort),
    ("server.ip", Field::ServerIp),
    ("server.port", Field::ServerPort),
    ("http.request.method", Field::Method),
    ("url.path", Field::Path),
    ("url.query", Field::Query),
    ("url.original", Field::Target),
    ("url.full", Field::Uri),
    ("url.domain", Field::Host),
    ("url.extension", Field::Extension),
    ("http.version", Field::Version),
    ("user_agent.original", Field::UserAgent),
    ("http.request.referrer", Field::Referrer),
    ("http.request.cookie", Field::Cookie),
    ("user.name", Field::UserName),
    ("http.response.status_code", Field::Status),
    ("http_trace.status_class", Field::StatusClass),
    ("http.response.status_phrase", Field::Reason),
    ("http.response.mime_type", Field::MimeType),
    ("http_trace.no_response", Field::NoResponse),
    ("http_trace.flags", Field::Flags),
    ("http_trace.interfaces", Field::Interfaces),
    ("http_trace.path_id", Field::PathId),
    ("http_trace.path_template", Field::PathTemplate),
    ("http_trace.endpoint_known", Field::EndpointKnown),
    ("http_trace.first_segment", Field::FirstSegment),
    ("http_trace.decoded_target", Field::DecodedTarget),
    ("http_trace.only_parameter", Field::OnlyParameter),
    ("http_trace.host_archive", Field::HostArchive),
    ("http_trace.client_kind", Field::ClientKind),
    ("http_trace.same_site", Field::SameSite),
    ("http_trace.cookie_lacks", Field::CookieLacks),
    ("http_trace.forwarded_client", Field::ForwardedClient),
    ("http_trace.client_cgroup", Field::ClientCgroup),
    ("http_trace.server_cgroup", Field::ServerCgroup),
    ("http.response.body.content", Field::BodyContent),
    ("http_trace.sniffed_type", Field::SniffedType),
];

/// Wrong names and the fields they stand for, where the nearest name by spelling would be another.
const MEANT: &[(&str, &str)] = &[("cs-port", "s-port"), ("sc-port", "s-port")];

/// Prefixes that any header name may follow.
const HEADERS: &[(&str, fn(Box<str>) -> Field)] = &[
    ("response.header.", Field::ResponseHeader),
    ("http.response.headers.", Field::ResponseHeader),
    ("http.response.header.", Field::ResponseHeader),
    ("request.header.", Field::RequestHeader),
    ("http.request.headers.", Field::RequestHeader),
    ("http.request.header.", Field::RequestHeader),
];

impl From<Field> for String {
    fn from(field: Field) -> String {
        field.name()
    }
}

impl TryFrom<String> for Field {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Field, Self::Error> {
        Field::named(&name).ok_or("a known field name")
    }
}

impl Field {
    /// Looks up a field by name, case-insensitively.
    pub fn named(name: &str) -> Option<Field> {
        let name = name.to_ascii_lowercase();
        if let Some(field) = RuleField::named(&name) {
            let special = SPECIAL.iter().find(|(n, _)| *n == field.about().name);
            return Some(special.map_or(Field::Plain(field), |(_, special)| special.clone()));
        }
        HEADERS.iter().find_map(|(prefix, make)| {
            let header = name.strip_prefix(prefix).filter(|h| !h.is_empty())?;
            Some(make(header.into()))
        })
    }

    /// The known name nearest to a wrong one, if one is near.
    pub fn suggestion(name: &str) -> Option<&'static str> {
        let name = name.to_ascii_lowercase();
        let dashed = name.replace('_', "-");
        if let Some((_, meant)) = MEANT.iter().find(|(wrong, _)| *wrong == dashed) {
            return Some(meant);
        }
        let known = rule_fields().flat_map(|field| field.about().rules);
        known
            .map(|known| (strsim::damerau_levenshtein(&name, known), *known))
            .min()
            .filter(|(distance, known)| *distance <= 1 + known.len().min(name.len()) / 4)
            .map(|(_, known)| known)
    }

    /// The field's name in our documentation.
    pub fn name(&self) -> String {
        match self {
            Field::RequestHeader(name) => format!("request.header.{name}"),
            Field::ResponseHeader(name) => format!("response.header.{name}"),
            field => {
                let about = field.about();
                about
                    .and_then(|a| a.rules.first())
                    .map_or("", |name| name)
                    .to_owned()
            }
        }
    }

    /// Its description in the table; `None` for single headers.
    fn about(&self) -> Option<&'static About> {
        if let Field::Plain(field) = self {
            return Some(field.about());
        }
        let (name, _) = SPECIAL.iter().find(|(_, field)| field == self)?;
        let field = rule_fields().find(|field| field.about().name == *name)?;
        Some(field.about())
    }

    /// Whether logs write `-` or nothing if the request had no value.
    pub const fn is_dash_in_logs(&self) -> bool {
        matches!(
            self,
            Field::UserAgent
                | Field::Referrer
                | Field::Cookie
                | Field::UserName
                | Field::Host
                | Field::Query
        )
    }

    /// Whether values may be compared as numbers: always, or if they parse as numbers.
    pub fn may_be_number(&self) -> bool {
        self.is_number() || matches!(self, Field::RequestHeader(_) | Field::ResponseHeader(_))
    }

    /// Whether the field is a number.
    pub fn is_number(&self) -> bool {
        self.about().is_some_and(|about| about.kind.is_number())
    }

    /// Whether the field is an address, which is grouped and compared by network.
    pub fn is_address(&self) -> bool {
        self.about().is_some_and(|about| about.kind.is_ip())
    }
}
