//! Takes secrets out of events before any sink sees them: values of fields, parameters and members
//! whose names say so ([`names`]), JWTs anywhere, and userinfo in URLs. Rules run before this.
//! Copies only what it changes, never panics whatever the bytes, and takes time in proportion to
//! their number.

mod jwt;
mod layers;
mod marks;
mod markup;
mod names;
mod pairs;
mod url;

use bytes::Bytes;
use http_trace_detect::alert::{Alert, Piece, Shown};
use http_trace_detect::field::Field;
use http_trace_detect::{evidence, hits};
use http_trace_model::event::HttpEvent;
use http_trace_model::head::Headers;
use http_trace_model::known::Known;

use layers::Layer;
use marks::Marks;
use names::Names;

/// Fields that are a URL or hold some, and the bytes that end one there. Elsewhere text is around.
const URL_HEADERS: &[(&str, &[u8])] = &[
    ("location", b""),
    ("content-location", b""),
    ("destination", b""),
    ("origin", b""),
    ("referer", b""),
    ("x-forwarded-uri", b""),
    ("x-original-uri", b""),
    ("x-original-url", b""),
    ("x-rewrite-url", b""),
    ("link", b">"),
    ("refresh", b"'\""),
];

/// Fields that are an authority (RFC 9110 §4.2), perhaps with userinfo that has no place there.
const AUTHORITY_HEADERS: &[&str] = &["host", "x-forwarded-host", "x-original-host"];

/// What a text is, and so where secrets in it begin and end.
#[derive(Clone, Copy, Debug)]
struct Context {
    /// Bytes that end a URL.
    ends: &'static [u8],
    /// It begins with an authority: a target of CONNECT, Host.
    authority: bool,
    /// It begins with a parameter: a query without its `?`.
    query: bool,
    /// `name: value` counts, not only `name=value`. In a path a colon is nothing of the kind.
    colons: bool,
    /// It may be a text's beginning alone.
    cut: bool,
    /// It may hold markup and parts.
    body: bool,
}

impl Context {
    const URL: Context = Context {
        ends: b"",
        authority: false,
        query: false,
        colons: false,
        cut: false,
        body: false,
    };
    const AUTHORITY: Context = Context {
        authority: true,
        ..Context::URL
    };
    const TEXT: Context = Context {
        ends: b" \t\"'<>",
        colons: true,
        ..Context::URL
    };
    const BODY: Context = Context {
        ends: b" \t\r\n\"'<>",
        query: true,
        colons: true,
        cut: true,
        body: true,
        ..Context::URL
    };

    fn of_header(name: &[u8]) -> Context {
        let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
        if let Some((_, ends)) = URL_HEADERS.iter().find(|(known, _)| is(known)) {
            return Context {
                ends,
                ..Context::URL
            };
        }
        match AUTHORITY_HEADERS.iter().any(|known| is(known)) {
            true => Context::AUTHORITY,
            false => Context::TEXT,
        }
    }

    /// Of a text of which evidence, or a rule's hits, keep so many bytes at most.
    const fn kept(self, text: &[u8]) -> Context {
        Context {
            cut: text.len() == hits::TEXT || text.len() >= evidence::TEXT,
            ..self
        }
    }
}

/// What a field's name says of its value.
#[derive(Clone, Copy, Debug)]
struct Line {
    secret: bool,
    /// If it is none as a whole.
    cx: Context,
}

/// What counts as a secret.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Of fields of a head.
    headers: Names,
    /// Of what stands in a text, wherever.
    within: Names,
    /// Of the names that have a number, by it; no other is looked up.
    lines: [Line; Known::COUNT],
}

impl Default for Secrets {
    fn default() -> Self {
        Secrets::with(Vec::new(), Vec::new())
    }
}

impl Secrets {
    /// What is known and these names.
    pub fn with(headers: Vec<String>, parameters: Vec<String>) -> Self {
        let within = Names::with(&[&headers[..], &parameters].concat());
        let headers = Names::with(&headers);
        let lines = std::array::from_fn(|number| line(&headers, Known::name(number)));
        Secrets {
            headers,
            within,
            lines,
        }
    }

    /// Replaces every secret in the event's heads.
    pub fn redact(&self, event: &mut HttpEvent) {
        if let Some(request) = &mut event.request {
            let cx = match *request.method == *b"CONNECT" {
                true => Context::AUTHORITY,
                false => Context::URL,
            };
            replace(&mut request.target, |target| self.clean(target, &cx));
            if let Some(version) = &mut request.version {
                replace(version, |version| self.clean(version, &cx));
            }
            self.headers(&mut request.headers);
        }
        for response in event.response.iter_mut().chain(&mut event.informational) {
            replace(&mut response.reason, |text| {
                self.clean(text, &Context::TEXT)
            });
            self.headers(&mut response.headers);
        }
        if let Some(content) = &mut event.body_snippet {
            replace(content, |text| self.clean(text, &Context::BODY));
        }
    }

    /// Replaces every secret in what an alert shows.
    pub fn redact_alert(&self, alert: &mut Alert) {
        let clean = |text: &mut Vec<u8>, cx: Context| {
            if let Some(clean) = self.clean(text, &cx.kept(text)) {
                *text = clean;
            }
        };
        for sample in &mut alert.samples {
            let cx = match sample.method == b"CONNECT" {
                true => Context::AUTHORITY,
                false => Context::URL,
            };
            clean(&mut sample.target, cx);
        }
        let paths = alert.paths.iter_mut().map(|(text, _)| (text, Context::URL));
        let hosts = alert.hosts.iter_mut();
        let hosts = hosts.map(|(text, _)| (text, Context::AUTHORITY));
        let agents = alert.user_agents.iter_mut();
        let agents = agents.map(|(text, _)| (text, Context::TEXT));
        for (text, cx) in paths.chain(hosts).chain(agents) {
            clean(text, cx);
        }
        let of_entities = alert.entities.iter_mut().map(|e| &mut e.shown);
        let of_summary = alert.summary.iter_mut().filter_map(|piece| match piece {
            Piece::Value(shown) => Some(shown),
            Piece::Text(_) => None,
        });
        of_entities
            .chain(of_summary)
            .for_each(|shown| self.shown(shown));
    }

    /// Removes the secrets of a value that is shown.
    pub fn shown(&self, shown: &mut Shown) {
        let value = &shown.value;
        let of = |cx: Context| self.clean(value, &cx.kept(value));
        let clean = match &shown.field {
            Field::Query => of(Context {
                query: true,
                ..Context::URL
            }),
            Field::Path | Field::PathTemplate | Field::Target | Field::Uri => of(Context::URL),
            Field::Host => of(Context::AUTHORITY),
            Field::Cookie => self.value(b"cookie", value),
            Field::Referrer => of(Context::URL),
            Field::BodyContent => of(Context::BODY),
            Field::RequestHeader(name) | Field::ResponseHeader(name) => {
                match self.headers.mean_secret(name.as_bytes()) {
                    true => self.value(name.as_bytes(), value),
                    false => of(Context::of_header(name.as_bytes())),
                }
            }
            _ => of(Context::TEXT),
        };
        if let Some(clean) = clean {
            shown.value = clean;
        }
    }

    fn headers(&self, headers: &mut Headers) {
        headers.change(|header| {
            let line = match header.known {
                Known::NONE => line(&self.headers, header.name),
                known => self.lines[known.number()],
            };
            self.value_of(header.name, line, header.value)
        });
    }

    /// The value without its secrets, if it has any.
    fn value(&self, name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        self.value_of(name, line(&self.headers, name), value)
    }

    /// [`Secrets::value`] once it is known what the name says.
    fn value_of(&self, name: &[u8], line: Line, value: &[u8]) -> Option<Vec<u8>> {
        if value.is_empty() {
            return None;
        }
        if line.secret {
            let cookie = name.eq_ignore_ascii_case(b"cookie");
            let set_cookie = name.eq_ignore_ascii_case(b"set-cookie");
            let mut out = Vec::with_capacity(value.len() + 32);
            if cookie || set_cookie {
                cookies(value, cookie, &mut out);
                // What is left of it are names and attributes.
                let mut cuts = Vec::new();
                jwt::secrets(&out, false, &mut cuts);
                return apply(&out, cuts).or(Some(out));
            }
            put_redacted(&mut out, value.len());
            return Some(out);
        }
        self.clean(value, &line.cx)
    }

    /// The text without its secrets, if it has any.
    fn clean(&self, text: &[u8], cx: &Context) -> Option<Vec<u8>> {
        let marks = Marks::of(text);
        if !marks.tell() {
            return None;
        }
        let mut cuts = Vec::new();
        self.find(text, marks, cx, &mut cuts);
        let encoded = marks.any(Marks::PERCENT.or(Marks::NUL));
        let mut layer: Option<Layer> = None;
        for _ in 0..if encoded { layers::MOST } else { 0 } {
            let outer = layer.as_ref().map_or(text, |layer| &layer.text);
            let Some(inner) = Layer::of(outer, layer.as_ref()) else {
                break;
            };
            let mut found = Vec::new();
            self.find(&inner.text, Marks::of(&inner.text), cx, &mut found);
            let sent = |(from, to)| (inner.sent(from), inner.sent(to));
            cuts.extend(found.into_iter().map(sent));
            layer = Some(inner);
        }
        apply(text, cuts)
    }

    /// Where secrets are in a text that has these marks, as it is.
    fn find(&self, text: &[u8], marks: Marks, cx: &Context, cuts: &mut Vec<(usize, usize)>) {
        let is_secret = |name: &[u8]| self.within.mean_secret(name);
        if marks.any(Marks::J) {
            jwt::secrets(text, cx.cut, cuts);
        }
        if cx.cut || marks.any(Marks::AT) {
            url::userinfos(text, cx, cuts);
        }
        if marks.any(Marks::EQUALS) {
            url::parameter_values(text, cx, &is_secret, cuts);
        }
        if marks.any(Marks::EQUALS) || (cx.colons && marks.any(Marks::COLON)) {
            pairs::secrets(text, cx, &is_secret, cuts);
        }
        if cx.body {
            markup::secrets(text, &is_secret, cuts);
        }
    }
}

/// What a field's name says, of which these are secret.
fn line(secret: &Names, name: &[u8]) -> Line {
    Line {
        secret: secret.mean_secret(name),
        cx: Context::of_header(name),
    }
}

fn replace(bytes: &mut Bytes, clean: impl FnOnce(&[u8]) -> Option<Vec<u8>>) {
    if let Some(clean) = clean(bytes) {
        *bytes = Bytes::from(clean);
    }
}

/// The text with each range (in any order) replaced; ranges that overlap become one.
fn apply(text: &[u8], mut cuts: Vec<(usize, usize)>) -> Option<Vec<u8>> {
    if cuts.is_empty() {
        return None;
    }
    cuts.sort_unstable();
    cuts.dedup_by(|next, kept| {
        let overlap = next.0 < kept.1;
        if overlap {
            kept.1 = kept.1.max(next.1);
        }
        overlap
    });
    let mut out = Vec::with_capacity(text.len() + cuts.len() * 24);
    let mut done = 0;
    for (from, to) in cuts {
        out.extend_from_slice(&text[done..from]);
        put_redacted(&mut out, to - from);
        done = to;
    }
    out.extend_from_slice(&text[done..]);
    Some(out)
}

fn put_redacted(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice("‹redacted:".as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
    out.extend_from_slice(" bytes›".as_bytes());
}

/// `a=1; b=2` with its values replaced; with `all` false (Set-Cookie) the first only, since the
/// others are attributes, but what a comma before it says is another cookie: that is how fields of
/// the same name are put into one. A pair without `=` is a value without a name (RFC 6265bis §5.7).
fn cookies(text: &[u8], all: bool, out: &mut Vec<u8>) {
    for (nth, pair) in text.split(|b| *b == b';').enumerate() {
        if nth > 0 {
            out.push(b';');
        }
        let mut pair = pair;
        if nth > 0 && !all {
            // Dates have commas too, and no '='.
            let comma = memchr::memchr(b',', pair).map(|at| at + 1);
            let cookie = comma.filter(|at| memchr::memchr(b'=', &pair[*at..]).is_some());
            let attribute;
            (attribute, pair) = pair.split_at(cookie.unwrap_or(pair.len()));
            out.extend_from_slice(attribute);
        }
        let blanks = pair.len() - pair.trim_ascii_start().len();
        let name = memchr::memchr(b'=', pair).map_or(blanks, |at| at + 1);
        out.extend_from_slice(&pair[..name]);
        if pair.len() > name {
            put_redacted(out, pair.len() - name);
        }
    }
}

#[cfg(test)]
mod tests;
