//! An event as rules see it: typed values by field. Expensive values (the parsed target, the whole URL, the
//! path's identifier) are computed on first use. Borrows from the event; performs no I/O and decides nothing.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};

use super::decoded;
use super::derived::{self, End};
use super::field::Field;
use http_trace_model::endpoint::Endpoints;
use http_trace_model::event::HttpEvent;
use http_trace_model::field as table;
pub use http_trace_model::field::Value;
use http_trace_model::fields::mime_type;
use http_trace_model::known::Known;
use http_trace_model::target::Target;

/// State shared by views: how endpoints are named, and texts made from the current event.
#[derive(Debug, Default)]
pub struct ViewContext {
    /// Path templates and known endpoints.
    pub endpoints: Endpoints,
    uri: LazyText,
    decoded_target: LazyText,
}

/// A text made from the current event on first use; its buffer is reused for the next one.
#[derive(Debug, Default)]
struct LazyText {
    text: OnceCell<Vec<u8>>,
    spare: RefCell<Vec<u8>>,
}

impl LazyText {
    fn get(&self, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.text.get_or_init(|| {
            let mut out = self.spare.take();
            out.clear();
            write(&mut out);
            out
        })
    }

    fn clear(&mut self) {
        if let Some(buffer) = self.text.take() {
            *self.spare.get_mut() = buffer;
        }
    }
}

impl ViewContext {
    /// With these templates and known endpoints.
    pub fn of(endpoints: Endpoints) -> Self {
        ViewContext { endpoints, ..ViewContext::default() }
    }

    /// Discards the values of the last event, keeping the buffers.
    pub fn clear(&mut self) {
        self.uri.clear();
        self.decoded_target.clear();
    }
}

/// An event with lazily computed values.
#[derive(Debug)]
pub struct View<'a> {
    pub event: &'a HttpEvent,
    target: OnceCell<Target<'a>>,
    path_id: OnceCell<Option<&'a [u8]>>,
    decoded_target: OnceCell<&'a [u8]>,
    context: &'a ViewContext,
}

impl<'a> View<'a> {
    /// A view of an event; `context` must have been cleared, and holds the texts made from it.
    pub const fn new(event: &'a HttpEvent, context: &'a ViewContext) -> Self {
        View {
            event,
            target: OnceCell::new(),
            path_id: OnceCell::new(),
            decoded_target: OnceCell::new(),
            context,
        }
    }

    /// The request's parsed target.
    pub fn target(&self) -> &Target<'a> {
        self.target.get_or_init(|| {
            let request = self.event.request.as_ref();
            request.map(Target::of).unwrap_or_default()
        })
    }

    /// The last path segment that is a number or a UUID.
    pub fn path_id(&self) -> Option<&'a [u8]> {
        *self.path_id.get_or_init(|| self.target().path.and_then(derived::path_id))
    }

    /// The whole URL; empty without a request.
    pub fn uri(&self) -> &'a [u8] {
        self.context.uri.get(|out| self.write_uri(out))
    }

    /// The target as sent; empty without a request.
    pub fn raw_target(&self) -> &'a [u8] {
        self.event.request.as_ref().map_or(&[], |r| &r.target)
    }

    /// The decoded target; the target itself if nothing in it is encoded; empty without a request.
    pub fn decoded_target(&self) -> &'a [u8] {
        self.decoded_target.get_or_init(|| {
            let target = self.raw_target();
            match decoded::is_plain(target) {
                true => target,
                false => (self.context.decoded_target).get(|out| decoded::decode(target, out)),
            }
        })
    }

    fn write_uri(&self, out: &mut Vec<u8>) {
        let Some(request) = &self.event.request else { return };
        if request.target.starts_with(b"/") {
            let target = self.target();
            out.extend_from_slice(b"http://");
            out.extend_from_slice(target.host.unwrap_or_default());
            if let Some(port) = target.port.filter(|port| *port != 80) {
                out.push(b':');
                out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
            }
        }
        out.extend_from_slice(&request.target);
    }

    /// The part of the target from its path on.
    pub fn path_and_query(&self) -> Option<&'a [u8]> {
        let path = self.target().path?;
        let target: &[u8] = &self.event.request.as_ref()?.target;
        let len = path.len() + self.target().query.map_or(0, |q| q.len() + 1);
        // An absolute target without a path has the path "/", which was not sent.
        Some(target.len().checked_sub(len).map_or(path, |at| &target[at..]))
    }

    /// The first value of a request header.
    pub fn request_line(&self, name: Known) -> Option<&'a [u8]> {
        self.event.request.as_ref()?.headers.first_known(name)
    }

    /// The first value of a response header.
    pub fn response_line(&self, name: Known) -> Option<&'a [u8]> {
        self.event.response.as_ref()?.headers.first_known(name)
    }

    /// The attributes missing from each cookie that the response sets.
    fn cookie_lacks(&self) -> impl Iterator<Item = &'static [u8]> {
        let response = self.event.response.as_ref();
        let cookies = response.map(|response| response.headers.all_known(Known::SET_COOKIE));
        cookies.into_iter().flatten().flat_map(derived::cookie_lacks)
    }

    /// Passes the values of a field to `test` until one passes; returns whether one did.
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
            Field::Flags => event.flags.iter().any(|flag| test(Value::Text(flag.as_bytes()))),
            Field::Interfaces => {
                event.interfaces.iter().any(|name| test(Value::Text(name.as_bytes())))
            }
            Field::CookieLacks => self.cookie_lacks().any(|lack| test(Value::Text(lack))),
            Field::Query => {
                self.target().query.is_some_and(|q| test(Value::Text(q)))
                    || self.path_and_query().is_some_and(|p| test(Value::Text(p)))
            }
            Field::Version => {
                self.first(field).is_some_and(&mut *test)
                    || self.version_line().is_some_and(|line| test(Value::Text(line)))
            }
            Field::Uri => {
                (!self.uri().is_empty() && test(Value::Text(self.uri())))
                    || self.first(&Field::Target).is_some_and(test)
            }
            Field::Plain(field) => field.of(&self.plain()).is_some_and(|value| value.any(test)),
            field => self.first(field).is_some_and(test),
        }
    }

    /// The view that getters of the field table read from.
    fn plain(&self) -> table::View<'a, HttpEvent> {
        table::View { target: *self.target(), ..table::View::new(self.event) }
    }

    /// The value of a field; the first one if there are several.
    pub fn first(&self, field: &Field) -> Option<Value<'a>> {
        let event = self.event;
        let request = event.request.as_ref();
        let response = event.response.as_ref();
        let text = |bytes: Option<&'a [u8]>| bytes.map(Value::Text);
        let number = |n: Option<u64>| n.map(Value::Number);
        match field {
            Field::ClientIp | Field::PeerIp if event.client_name.is_some() => {
                text(event.client_name.as_deref())
            }
            Field::ClientIp => Some(Value::Ip(event.client_ip())),
            Field::PeerIp => Some(Value::Ip(event.client.ip)),
            Field::ClientPort => number(event.client.known_port().map(u64::from)),
            Field::ServerIp => event.server.known_ip().map(Value::Ip),
            Field::ServerPort => number(event.server.known_port().map(u64::from)),
            Field::Method => text(request.map(|r| &r.method[..])),
            Field::Path => text(self.target().path),
            Field::Query => text(self.target().query),
            Field::Target => text(request.map(|r| &r.target[..])),
            Field::DecodedTarget => text(request.map(|_| self.decoded_target())),
            Field::Uri => Some(Value::Text(self.uri())).filter(|_| request.is_some()),
            Field::Host => text(self.target().host),
            Field::Extension => text(derived::extension(self.target().path?)),
            Field::Version => {
                let of_either = event.minor_version()?;
                let minor = request.map_or(of_either, |head| head.minor_version);
                Some(Value::Text(if minor == 0 { b"1.0" } else { b"1.1" }))
            }
            Field::UserAgent => text(self.request_line(Known::USER_AGENT)),
            Field::Referrer => text(self.request_line(Known::REFERER)),
            Field::Cookie => text(self.request_line(Known::COOKIE)),
            Field::UserName => http_trace_model::event::basic_user(event).map(Value::Made),
            Field::Status => number(response.map(|r| r.status.into())),
            Field::StatusClass => text(event.status_class().map(str::as_bytes)),
            Field::Reason => text(response.map(|r| &r.reason[..])),
            Field::MimeType => text(self.response_line(Known::CONTENT_TYPE).and_then(mime_type)),
            Field::NoResponse => text(event.no_response.map(|why| why.name().as_bytes())),
            Field::Flags => text(event.flags.first().map(|f| f.as_bytes())),
            Field::Interfaces => text(event.interfaces.first().map(|f| f.as_bytes())),
            Field::Plain(field) => field.of(&self.plain()),
            Field::RequestHeader(name) => text(request?.headers.first(name)),
            Field::ResponseHeader(name) => text(response?.headers.first(name)),
            Field::PathId => text(self.path_id()),
            Field::PathTemplate => {
                Some(match self.context.endpoints.templates.of(self.target().path?) {
                    Cow::Borrowed(path) => Value::Text(path),
                    Cow::Owned(template) => Value::Made(template),
                })
            }
            Field::EndpointKnown => {
                let known = self.context.endpoints.knows(event, self.target());
                known.map(Value::Bool)
            }
            Field::FirstSegment => text(derived::first_segment(self.target().path?)),
            Field::OnlyParameter => text(derived::only_parameter(self.target().query?)),
            Field::FirstParameter => {
                text(derived::parameter_among(self.target().query?, End::First))
            }
            Field::LastParameter => text(derived::parameter_among(self.target().query?, End::Last)),
            Field::ParametersAfter => {
                let names = derived::parameters_beside(self.target().query?, End::First);
                Some(Value::Made(names?))
            }
            Field::ParametersBefore => {
                let names = derived::parameters_beside(self.target().query?, End::Last);
                Some(Value::Made(names?))
            }
            Field::ParameterOrigin => text(derived::parameter_origin(self.decoded_target())),
            Field::LabelArchive => {
                let target = self.target();
                text(derived::label_archive(target.path?, target.host?))
            }
            Field::HostArchive => {
                let target = self.target();
                text(derived::host_archive(target.path?, target.host?))
            }
            Field::ClientKind => Some(Value::Made(derived::client_kind(&request?.headers))),
            Field::CookieLacks => text(self.cookie_lacks().next()),
            Field::SameSite => Some(Value::Bool(derived::same_site(
                self.request_line(Known::REFERER)?,
                self.target().host?,
            ))),
            // For a trusted proxy this is the client itself.
            Field::ForwardedClient if event.forwarded.is_some() => None,
            Field::ForwardedClient => derived::forwarded_client(&request?.headers).map(Value::Ip),
            Field::ClientCgroup => number(cgroup(event, false)),
            Field::ServerCgroup => number(cgroup(event, true)),
            Field::BodyContent => text(event.body_snippet.as_deref()),
            Field::SniffedType => text(derived::sniffed_type(event.body_snippet.as_deref()?)),
        }
    }

    /// Passes every text of the event that keywords are searched in to `test` until one passes: the heads'
    /// method, reason and values, the user name, host and target (as proxies log it), the version, the
    /// status, and the client's address.
    pub fn any_text(&self, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let event = self.event;
        let in_request = event.request.as_ref().is_some_and(|request| {
            test(&request.method) || request.headers.iter().any(|line| test(line.value))
        });
        in_request
            || event.response.as_ref().is_some_and(|response| {
                test(&response.reason) || response.headers.iter().any(|line| test(line.value))
            })
            || http_trace_model::event::basic_user(event).is_some_and(|user| test(&user))
            || test(self.host_and_target())
            || self.version_line().is_some_and(&mut *test)
            || [Field::Status, Field::ClientIp]
                .iter()
                .any(|field| self.first(field).is_some_and(|value| value.with_text(&mut *test)))
    }

    /// The target as sent, preceded by the host if it has none; without a scheme that was not sent.
    fn host_and_target(&self) -> &'a [u8] {
        const SCHEME: &[u8] = b"http://";
        match self.raw_target() {
            [b'/', ..] => self.uri().strip_prefix(SCHEME).unwrap_or(self.uri()),
            target => target,
        }
    }

    /// The version as written in the request line.
    fn version_line(&self) -> Option<&'static [u8]> {
        match self.first(&Field::Version)? {
            Value::Text(b"1.0") => Some(b"HTTP/1.0"),
            _ => Some(b"HTTP/1.1"),
        }
    }
}

/// The root cgroup: holds everything on hosts that do not sort processes into cgroups.
const ROOT_CGROUP: u64 = 1;

/// The cgroup on this host that sent the response (`came_from`) or received it.
fn cgroup(event: &HttpEvent, came_from: bool) -> Option<u64> {
    let of_end = |id: &u64| *id != ROOT_CGROUP && event.egress == Some(came_from);
    event.cgroup_id.filter(of_end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_trace_samples as testing;

    #[test]
    fn every_name_leads_to_its_value() {
        let mut event = testing::event();
        event.request = Some(testing::request(
            "POST /a/7.php?x=1 HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: curl\r\n\
             Referer: http://shop.example/\r\nCookie: a=b\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n\
             Authorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n",
        ));
        let uri = ViewContext::default();
        let view = View::new(&event, &uri);
        for (name, expected) in [
            ("c-ip", "10.1.2.3"),
            ("Source.IP", "10.1.2.3"),
            ("id.resp_h", "10.9.9.9"),
            ("s-port", "80"),
            ("cs-method", "POST"),
            ("cs-uri-stem", "/a/7.php"),
            ("cs-uri-query", "x=1"),
            ("url.original", "/a/7.php?x=1"),
            ("http_trace.decoded_target", "/a/7.php?x=1"),
            ("c-uri", "http://shop.example:8080/a/7.php?x=1"),
            ("cs-host", "shop.example"),
            ("c-uri-extension", "php"),
            ("cs-version", "1.1"),
            ("c-useragent", "curl"),
            ("cs-username", "alice"),
            ("sc-status", "404"),
            ("http_trace.status_class", "4xx"),
            ("http.response.mime_type", "text/html"),
            ("sc-bytes", &event.response_bytes.expect("a length").to_string()),
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
        let uri = ViewContext::default();
        let view = View::new(&event, &uri);
        let mut seen = Vec::new();
        view.any(&Field::Query, &mut |value| {
            seen.push(value.with_text(<[u8]>::to_vec));
            false
        });
        assert_eq!(seen, [b"x=1".to_vec(), b"/cart/7?x=1".to_vec()]);
    }
}
