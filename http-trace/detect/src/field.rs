//! The fields that rules may name, and the value of each in an event. Names, types and most values come
//! from the field table ([`http_trace_model::field`]); here are the values that detection computes or
//! compares in a way of its own. Borrows from the event; performs no I/O and decides nothing.

use super::derived;
use super::lines::{Name, Noted};
use super::uri::Uri;
use http_trace_model::event::HttpEvent;
pub use http_trace_model::field::Value;
use http_trace_model::field::{self, About, RuleField, rule_fields};
use http_trace_model::fields::mime_type;
use http_trace_model::known::Known;
use http_trace_model::target::Target;

/// A field of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Field {
    /// Who asked: behind a trusted proxy the real client, otherwise the peer.
    ClientIp,
    /// The peer's address, whoever it speaks for.
    PeerIp,
    /// The peer's port.
    ClientPort,
    /// Who answered.
    ServerIp,
    /// Its port.
    ServerPort,
    /// Request method.
    Method,
    /// Path without query.
    Path,
    /// Query; also, since many public rules put a path there, path and query together.
    Query,
    /// The request target as sent.
    Target,
    /// The whole URL, and the target as sent.
    Uri,
    /// Host without port.
    Host,
    /// What follows the last dot of the path's last segment.
    Extension,
    /// `1.1`, and `HTTP/1.1` as W3C logs write it.
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
    /// Names of leniencies and oddities.
    Flags,
    /// Interfaces that the response was seen on.
    Interfaces,
    /// Any other field of the table, whose value is that of its entry.
    Plain(RuleField),
    /// A header of the request, by its name in lower case.
    RequestHeader(Box<str>),
    /// A header of the response, by its name in lower case.
    ResponseHeader(Box<str>),
    /// The last path segment that is a number or a UUID.
    PathId,
    /// The path with such segments replaced by `{id}`.
    PathTemplate,
    /// The first path segment.
    FirstSegment,
    /// Whether the referrer is a page of the same host.
    SameSite,
    /// What some cookie that is set lacks: `httponly`, `samesite`, `secure`.
    CookieLacks,
    /// The client that the peer says it forwards for.
    ForwardedClient,
    /// Number of the cgroup that asked, where that is on this host.
    ClientCgroup,
    /// Number of the cgroup that answered, where that is on this host.
    ServerCgroup,
    /// The first bytes of the body, where they were asked for (`--body-snippet`).
    BodyContent,
    /// The media type that these look like.
    SniffedType,
}

/// Fields that detection computes, or treats in a way of their own, by their names in the table.
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
    ("http_trace.first_segment", Field::FirstSegment),
    ("http_trace.same_site", Field::SameSite),
    ("http_trace.cookie_lacks", Field::CookieLacks),
    ("http_trace.forwarded_client", Field::ForwardedClient),
    ("http_trace.client_cgroup", Field::ClientCgroup),
    ("http_trace.server_cgroup", Field::ServerCgroup),
    ("http.response.body.content", Field::BodyContent),
    ("http_trace.sniffed_type", Field::SniffedType),
];

/// Names that look more like another field than like the one that is meant.
const MEANT: &[(&str, &str)] = &[("cs-port", "s-port"), ("sc-port", "s-port")];

/// Prefixes after which any header may be named.
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
        Field::named(&name).ok_or("the name of no field")
    }
}

impl Field {
    /// The field of a name; names compare without case.
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

    /// The known name that is nearest to a wrong one, if one is near.
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

    /// The name that the field has in our documentation.
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

    /// What the table says of it; of single headers it says nothing.
    fn about(&self) -> Option<&'static About> {
        if let Field::Plain(field) = self {
            return Some(field.about());
        }
        let (name, _) = SPECIAL.iter().find(|(_, field)| field == self)?;
        let field = rule_fields().find(|field| field.about().name == *name)?;
        Some(field.about())
    }

    /// Whether logs write `-` or nothing for it when the request had none.
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

    /// Whether values compare as numbers: always, or where they are some.
    pub fn may_be_number(&self) -> bool {
        self.is_number() || matches!(self, Field::RequestHeader(_) | Field::ResponseHeader(_))
    }

    /// Whether the field is a number.
    pub fn is_number(&self) -> bool {
        self.about().is_some_and(|about| about.kind.is_number())
    }

    /// Whether the field follows from what is asked of whom alone: from a request's method, its target
    /// and its `Host`, unless it is CONNECT, and from the server ([`super::targets`]).
    pub const fn is_of_target(&self) -> bool {
        matches!(
            self,
            Field::Method
                | Field::ServerIp
                | Field::ServerPort
                | Field::Path
                | Field::Query
                | Field::Target
                | Field::Uri
                | Field::Host
                | Field::Extension
                | Field::PathId
                | Field::PathTemplate
                | Field::FirstSegment
        )
    }

    /// Whether the field is an address, which groups and compares as a network.
    pub fn is_address(&self) -> bool {
        self.about().is_some_and(|about| about.kind.is_ip())
    }
}

/// An event with what takes work to find.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The event.
    pub event: &'a HttpEvent,
    /// Its target, taken apart.
    pub target: Target<'a>,
    /// Where the field lines are that matter.
    pub noted: &'a Noted,
    /// The last path segment that is a number or a UUID.
    pub path_id: Option<&'a [u8]>,
    uri: &'a Uri,
}

impl<'a> View<'a> {
    /// Takes the target apart; `uri` is where the whole URL is kept when it is asked for.
    pub fn new(event: &'a HttpEvent, noted: &'a Noted, uri: &'a Uri) -> Self {
        let target: Target<'_> = event.request.as_ref().map(Target::of).unwrap_or_default();
        let path_id = target.path.and_then(derived::path_id);
        View::of_parts(event, noted, uri, target, path_id)
    }

    /// With the target as it was taken apart, and the identifier that was found in it.
    pub const fn of_parts(
        event: &'a HttpEvent,
        noted: &'a Noted,
        uri: &'a Uri,
        target: Target<'a>,
        path_id: Option<&'a [u8]>,
    ) -> Self {
        View {
            event,
            target,
            noted,
            path_id,
            uri,
        }
    }

    /// The whole URL; empty without a request.
    pub fn uri(&self) -> &'a [u8] {
        self.uri.of(self.event, &self.target)
    }

    /// The target from its path on.
    pub fn path_and_query(&self) -> Option<&'a [u8]> {
        let path = self.target.path?;
        let target: &[u8] = &self.event.request.as_ref()?.target;
        let len = path.len() + self.target.query.map_or(0, |q| q.len() + 1);
        // An absolute target without a path has the path "/" that nobody sent.
        Some(
            target
                .len()
                .checked_sub(len)
                .map_or(path, |at| &target[at..]),
        )
    }

    /// The value of the first line of a name.
    pub fn line(&self, name: Name) -> Option<&'a [u8]> {
        self.noted.first(name, self.event)
    }

    /// Hands every value of a field to `test` until one passes; whether one did.
    pub fn any(&self, field: &Field, test: &mut dyn FnMut(Value<'a>) -> bool) -> bool {
        let event = self.event;
        match field {
            Field::RequestHeader(name) => match &event.request {
                Some(request) => request.headers.all(name).any(|v| test(Value::Text(v))),
                None => false,
            },
            Field::ResponseHeader(name) => match &event.response {
                Some(response) => response.headers.all(name).any(|v| test(Value::Text(v))),
                None => false,
            },
            Field::Flags => event
                .flags
                .iter()
                .any(|flag| test(Value::Text(flag.as_bytes()))),
            Field::Interfaces => event
                .interfaces
                .iter()
                .any(|name| test(Value::Text(name.as_bytes()))),
            Field::CookieLacks => self
                .noted
                .all(Name::SET_COOKIE, event)
                .flat_map(derived::cookie_lacks)
                .any(|lack| test(Value::Text(lack))),
            Field::Query => {
                self.target.query.is_some_and(|q| test(Value::Text(q)))
                    || self.path_and_query().is_some_and(|p| test(Value::Text(p)))
            }
            Field::Version => {
                self.first(field).is_some_and(&mut *test)
                    || self
                        .version_line()
                        .is_some_and(|line| test(Value::Text(line)))
            }
            Field::Uri => {
                (!self.uri().is_empty() && test(Value::Text(self.uri())))
                    || self.first(&Field::Target).is_some_and(test)
            }
            Field::Plain(field) => field.of(&self.plain()).is_some_and(|value| value.any(test)),
            field => self.first(field).is_some_and(test),
        }
    }

    /// What the table's getters take.
    const fn plain(&self) -> field::View<'a, HttpEvent> {
        field::View {
            target: self.target,
            ..field::View::new(self.event)
        }
    }

    /// The value of a field; of those with several, the first.
    pub fn first(&self, field: &Field) -> Option<Value<'a>> {
        let event = self.event;
        let request = event.request.as_ref();
        let response = event.response.as_ref();
        let text = |bytes: Option<&'a [u8]>| bytes.map(Value::Text);
        let number = |n: Option<u64>| n.map(Value::Number);
        match field {
            Field::ClientIp => Some(Value::Ip(event.client_ip())),
            Field::PeerIp => Some(Value::Ip(event.client.ip)),
            Field::ClientPort => number(event.client.known_port().map(u64::from)),
            Field::ServerIp => event.server.known_ip().map(Value::Ip),
            Field::ServerPort => number(event.server.known_port().map(u64::from)),
            Field::Method => text(request.map(|r| &r.method[..])),
            Field::Path => text(self.target.path),
            Field::Query => text(self.target.query),
            Field::Target => text(request.map(|r| &r.target[..])),
            Field::Uri => Some(Value::Text(self.uri())).filter(|_| request.is_some()),
            Field::Host => text(self.target.host),
            Field::Extension => text(derived::extension(self.target.path?)),
            Field::Version => {
                let minor = request
                    .map(|r| r.minor_version)
                    .or(response.map(|r| r.minor_version))?;
                Some(Value::Text(if minor == 0 { b"1.0" } else { b"1.1" }))
            }
            Field::UserAgent => text(self.line(Name::USER_AGENT)),
            Field::Referrer => text(self.line(Name::REFERRER)),
            Field::Cookie => text(self.line(Name::COOKIE)),
            Field::UserName => http_trace_model::event::basic_user(event).map(Value::Made),
            Field::Status => number(response.map(|r| r.status.into())),
            Field::StatusClass => text(event.status_class().map(str::as_bytes)),
            Field::Reason => text(response.map(|r| &r.reason[..])),
            Field::MimeType => text(self.line(Name::CONTENT_TYPE).and_then(mime_type)),
            Field::NoResponse => text(event.no_response.map(|why| why.name().as_bytes())),
            Field::Flags => text(event.flags.first().map(|f| f.as_bytes())),
            Field::Interfaces => text(event.interfaces.first().map(|f| f.as_bytes())),
            Field::Plain(field) => field.of(&self.plain()),
            Field::RequestHeader(name) => text(request?.headers.first(name)),
            Field::ResponseHeader(name) => text(response?.headers.first(name)),
            Field::PathId => text(self.path_id),
            Field::PathTemplate => Some(Value::Made(derived::path_template(self.target.path?))),
            Field::FirstSegment => text(derived::first_segment(self.target.path?)),
            Field::CookieLacks => text(
                self.noted
                    .all(Name::SET_COOKIE, event)
                    .flat_map(derived::cookie_lacks)
                    .next(),
            ),
            Field::SameSite => Some(Value::Bool(derived::same_site(
                self.line(Name::REFERRER)?,
                self.target.host?,
            ))),
            // Of a trusted proxy it is the client itself.
            Field::ForwardedClient if event.forwarded.is_some() => None,
            Field::ForwardedClient => derived::forwarded_client(&request?.headers).map(Value::Ip),
            Field::ClientCgroup => number(cgroup(event, false)),
            Field::ServerCgroup => number(cgroup(event, true)),
            Field::BodyContent => text(event.body_snippet.as_deref()),
            Field::SniffedType => text(derived::sniffed_type(event.body_snippet.as_deref()?)),
        }
    }

    /// Every text of the event that a keyword may be in.
    pub fn any_text(&self, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.any_line(test)
            || test(self.host_and_target())
            || self.version_line().is_some_and(&mut *test)
            || self.status_text(test)
            || self.client_text(test)
    }

    /// What a keyword may be in that is in the heads as it is: method, reason and header values, and
    /// the user's name.
    pub fn any_line(&self, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        if let Some(request) = &self.event.request {
            if test(&request.method) {
                return true;
            }
            for header in request.headers.iter() {
                if test(header.value) {
                    return true;
                }
                if header.known == Known::AUTHORIZATION
                    && http_trace_model::event::basic_user(self.event)
                        .is_some_and(|user| test(&user))
                {
                    return true;
                }
            }
        }
        self.event.response.as_ref().is_some_and(|response| {
            test(&response.reason) || response.headers.iter().any(|h| test(h.value))
        })
    }

    /// The target as sent, after the host where it has none itself: as logs of proxies write it, but
    /// without a scheme that nobody sent.
    pub fn host_and_target(&self) -> &'a [u8] {
        const SCHEME: &[u8] = b"http://";
        let target = self.event.request.as_ref().map(|r| &r.target[..]);
        match target {
            Some([b'/', ..]) => self.uri().strip_prefix(SCHEME).unwrap_or(self.uri()),
            target => target.unwrap_or_default(),
        }
    }

    /// The version as it is in the request's line.
    pub fn version_line(&self) -> Option<&'static [u8]> {
        match self.first(&Field::Version)? {
            Value::Text(b"1.0") => Some(b"HTTP/1.0"),
            _ => Some(b"HTTP/1.1"),
        }
    }

    /// Asks of the status as it is written.
    pub fn status_text(&self, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let status = self.first(&Field::Status);
        status.is_some_and(|status| status.with_text(test))
    }

    /// Asks of the client's address as it is written.
    pub fn client_text(&self, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        Value::Ip(self.event.client_ip()).with_text(test)
    }
}

/// The root of all cgroups: everything is in it where nothing sorts processes into cgroups.
const ROOT_CGROUP: u64 = 1;

/// The cgroup of this host that the response went to, or came from.
fn cgroup(event: &HttpEvent, came_from: bool) -> Option<u64> {
    let of_end = |id: &u64| *id != ROOT_CGROUP && event.egress == Some(came_from);
    event.cgroup_id.filter(of_end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_trace_model::testing;

    #[test]
    fn every_name_leads_to_its_value() {
        let mut event = testing::event();
        event.request = Some(testing::request(
            "POST /a/7.php?x=1 HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: curl\r\n\
             Referer: http://shop.example/\r\nCookie: a=b\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n\
             Authorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n",
        ));
        let uri = Uri::default();
        let noted = Noted::of(&event);
        let view = View::new(&event, &noted, &uri);
        for (name, expected) in [
            ("c-ip", "10.1.2.3"),
            ("Source.IP", "10.1.2.3"),
            ("id.resp_h", "10.9.9.9"),
            ("s-port", "80"),
            ("cs-method", "POST"),
            ("cs-uri-stem", "/a/7.php"),
            ("cs-uri-query", "x=1"),
            ("url.original", "/a/7.php?x=1"),
            ("c-uri", "http://shop.example:8080/a/7.php?x=1"),
            ("cs-host", "shop.example"),
            ("c-uri-extension", "php"),
            ("cs-version", "1.1"),
            ("c-useragent", "curl"),
            ("cs-username", "alice"),
            ("sc-status", "404"),
            ("http_trace.status_class", "4xx"),
            ("http.response.mime_type", "text/html"),
            (
                "sc-bytes",
                &event.response_bytes.expect("a length").to_string(),
            ),
            ("time-taken", "1"),
            ("ttfb_ms", "1"),
            ("response.header.Server", "nginx"),
            ("request.header.cookie", "a=b"),
            ("http_trace.same_site", "true"),
            ("http_trace.forwarded_client", "1.2.3.4"),
        ] {
            let field = Field::named(name).expect(name);
            let value = view.first(&field).expect(name);
            let got = value.with_text(|t| String::from_utf8_lossy(t).into_owned());
            assert_eq!(got, expected, "{name}");
        }
        assert_eq!(Field::named("cs-nothing"), None);
        assert_eq!(Field::suggestion("cs-user-agnt"), Some("cs-user-agent"));
        assert_eq!(Field::suggestion("entirely_different_name"), None);
        for name in ["cs-port", "cs_port", "CS_Port"] {
            assert_eq!(Field::suggestion(name), Some("s-port"));
        }
    }

    #[test]
    fn a_path_in_the_query_field_is_found() {
        let event = testing::event();
        let (noted, uri) = (Noted::of(&event), Uri::default());
        let view = View::new(&event, &noted, &uri);
        let mut seen = Vec::new();
        view.any(&Field::Query, &mut |value| {
            seen.push(value.with_text(<[u8]>::to_vec));
            false
        });
        assert_eq!(seen, [b"x=1".to_vec(), b"/cart/7?x=1".to_vec()]);
    }
}
