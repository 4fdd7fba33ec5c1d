//! The fields that rules may name. Names and types come from the field table
//! ([`http_trace_model::field`]); this module adds the fields that detection computes or compares specially.
//! Knows nothing of events: [`super::view`] reads the values.

use http_trace_model::field::{About, RuleField, rule_fields};

macro_rules! fields {
    ($($name:literal $variant:ident $basis:ident$(($line:literal))?,)+) => {
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub enum Field {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
            /// Any other field of the table, with the value from its entry.
            Plain(RuleField),
            /// A header of the request, by lower-case name.
            RequestHeader(Box<str>),
            /// A header of the response, by lower-case name.
            ResponseHeader(Box<str>),
        }

        /// Fields that detection computes or treats specially, by their names in the table.
        const SPECIAL: &[(&str, Field)] = &[$(($name, Field::$variant),)+];

        impl Field {
            pub const fn basis(&self) -> Basis<'_> {
                match self {
                    $(Field::$variant => Basis::$basis$(($line))?,)+
                    Field::Plain(_) => Basis::Event,
                    Field::RequestHeader(name) => Basis::RequestLine(name),
                    Field::ResponseHeader(name) => Basis::ResponseLine(name),
                }
            }
        }
    };
}

/// What the values of a field depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis<'a> {
    /// The request's method, target and `Host`.
    Target,
    /// The same as a whole URL, which few rules test.
    Url,
    /// The lines of one name.
    RequestLine(&'a str),
    ResponseLine(&'a str),
    /// More or other than these.
    Event,
}

// By their names in the table, which has their meaning, and what they depend on.
fields! {
    "client.ip" ClientIp Event,
    "source.ip" PeerIp Event,
    "source.port" ClientPort Event,
    "server.ip" ServerIp Event,
    "server.port" ServerPort Event,
    "http.request.method" Method Target,
    "url.path" Path Target,
    "url.query" Query Target,
    "url.original" Target Target,
    "url.full" Uri Url,
    "url.domain" Host Target,
    "url.extension" Extension Target,
    "http.version" Version Event,
    "user_agent.original" UserAgent RequestLine("user-agent"),
    "http.request.referrer" Referrer RequestLine("referer"),
    "http.request.cookie" Cookie RequestLine("cookie"),
    "user.name" UserName RequestLine("authorization"),
    "http.response.status_code" Status Event,
    "http_trace.status_class" StatusClass Event,
    "http.response.status_phrase" Reason Event,
    "http.response.mime_type" MimeType ResponseLine("content-type"),
    "http_trace.no_response" NoResponse Event,
    "http_trace.flags" Flags Event,
    "http_trace.interfaces" Interfaces Event,
    "http_trace.path_id" PathId Target,
    "http_trace.path_template" PathTemplate Target,
    "http_trace.endpoint_known" EndpointKnown Event,
    "http_trace.first_segment" FirstSegment Target,
    "http_trace.decoded_target" DecodedTarget Target,
    "http_trace.only_parameter" OnlyParameter Target,
    "http_trace.first_parameter" FirstParameter Target,
    "http_trace.parameters_after" ParametersAfter Target,
    "http_trace.last_parameter" LastParameter Target,
    "http_trace.parameters_before" ParametersBefore Target,
    "http_trace.parameter_origin" ParameterOrigin Target,
    "http_trace.host_archive" HostArchive Target,
    "http_trace.label_archive" LabelArchive Target,
    "http_trace.client_kind" ClientKind Event,
    "http_trace.same_site" SameSite Event,
    "http_trace.cookie_lacks" CookieLacks ResponseLine("set-cookie"),
    "http_trace.forwarded_client" ForwardedClient Event,
    "http_trace.client_cgroup" ClientCgroup Event,
    "http_trace.server_cgroup" ServerCgroup Event,
    "http.response.body.content" BodyContent Event,
    "http_trace.sniffed_type" SniffedType Event,
}

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
                about.and_then(|a| a.rules.first()).map_or("", |name| name).to_owned()
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

    pub fn is_number(&self) -> bool {
        self.about().is_some_and(|about| about.kind.is_number())
    }

    /// Whether the field is an address, which is grouped and compared by network.
    pub fn is_address(&self) -> bool {
        self.about().is_some_and(|about| about.kind.is_ip())
    }
}
