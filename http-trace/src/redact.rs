//! Takes secrets out of events and alerts before any sink sees them: values that a name says are secret,
//! and what has the shape of one. Rules run before this. Copies only what it changes, never panics
//! whatever the bytes, and takes time in proportion to their number.
//!
//! # Layout
//! - `names`: the table of names. `shapes`: the table of shapes.
//! - `context`: what a text is. `marks`: which kinds of bytes it has. `layers`: it, decoded.
//! - `command_line`: how a process was started.
//! - `url`, `pairs`, `markup`, `personal`: where values of names stand in URLs, texts and bodies.

mod command_line;
mod context;
mod layers;
mod marks;
mod markup;
mod names;
mod pairs;
mod personal;
mod shapes;
mod url;

use bytes::Bytes;
use http_trace_detect::alert::{Alert, Piece, Shown};
use http_trace_detect::field::Field;
use http_trace_model::event::HttpEvent;
use http_trace_model::head::Headers;
use http_trace_model::known::Known;

use context::Context;
use layers::Layer;
use marks::Marks;
use names::{Names, Of};

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
    /// Whether mail addresses count.
    personal: bool,
    /// Of the names that have a number, by it; no other is looked up.
    lines: [Line; Known::COUNT],
}

impl Default for Secrets {
    fn default() -> Self {
        Secrets::with(&[], &[], false)
    }
}

impl Secrets {
    /// What is known and these names; personal data if asked for.
    pub fn with(headers: &[String], parameters: &[String], personal: bool) -> Self {
        let within = Names::with(Of::Texts, personal, &[headers, parameters].concat());
        let headers = Names::with(Of::Fields, personal, headers);
        let lines = std::array::from_fn(|number| line(&headers, Known::name(number)));
        Secrets {
            headers,
            within,
            personal,
            lines,
        }
    }

    /// The user of Basic authentication as it is shown: a key in its place is a secret.
    pub fn user(&self, user: Vec<u8>) -> Vec<u8> {
        match shapes::is_key(&user) {
            true => redacted(user.len()),
            false => self.clean(&user, &Context::TEXT).unwrap_or(user),
        }
    }

    /// Replaces every secret in the event's heads.
    pub fn redact(&self, event: &mut HttpEvent) {
        if let Some(request) = &mut event.request {
            let cx = Context::of_target(&request.method);
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

    /// Replaces the secrets of what names the server alone: of the other fields nothing may be shown.
    pub fn redact_authority(&self, event: &mut HttpEvent) {
        let Some(request) = &mut event.request else {
            return;
        };
        // The form that nearly all requests have names no server (RFC 9112 §3.2.1).
        if !request.target.starts_with(b"/") {
            let cx = Context::of_target(&request.method);
            replace(&mut request.target, |target| self.clean(target, &cx));
        }
        self.some_headers(&mut request.headers, &[Known::HOST]);
    }

    /// Replaces secrets in what endpoints are told by: the target, the host, and the page that led there. The rest is
    /// left as it is: of an event that is written nowhere.
    pub fn redact_endpoint(&self, event: &mut HttpEvent) {
        if let Some(request) = &mut event.request {
            let cx = Context::of_target(&request.method);
            replace(&mut request.target, |target| self.clean(target, &cx));
            self.some_headers(&mut request.headers, &[Known::HOST, Known::REFERER]);
        }
    }

    fn some_headers(&self, headers: &mut Headers, names: &[Known]) {
        headers.change(|header| {
            let line = self.lines[header.known.number()];
            names
                .contains(&header.known)
                .then(|| self.value_of(header.name, line, header.value, shapes::any(header.value)))
                .flatten()
        });
    }

    /// Replaces every secret in what an alert shows.
    pub fn redact_alert(&self, alert: &mut Alert) {
        let clean = |text: &mut Vec<u8>, cx: Context| {
            if let Some(clean) = self.clean(text, &cx.kept(text)) {
                *text = clean;
            }
        };
        for sample in &mut alert.samples {
            clean(&mut sample.target, Context::of_target(&sample.method));
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
            Field::Query => of(Context::QUERY),
            Field::Path | Field::PathTemplate | Field::Target | Field::Uri | Field::Referrer => {
                of(Context::URL)
            }
            Field::Host => of(Context::AUTHORITY),
            Field::Cookie => self.value(b"cookie", value),
            Field::UserName => Some(self.user(value.clone())),
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
        let has_shapes = headers.texts().into_iter().any(shapes::any);
        headers.change(|header| {
            let line = match header.known {
                Known::NONE => line(&self.headers, header.name),
                known => self.lines[known.number()],
            };
            self.value_of(header.name, line, header.value, has_shapes)
        });
    }

    /// The value without its secrets, if it has any.
    fn value(&self, name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        self.value_of(name, line(&self.headers, name), value, true)
    }

    /// [`Secrets::value`] once it is known what the name says, and whether there may be shapes.
    fn value_of(&self, name: &[u8], line: Line, value: &[u8], has_shapes: bool) -> Option<Vec<u8>> {
        if value.is_empty() {
            return None;
        }
        if line.secret {
            let cookie = name.eq_ignore_ascii_case(b"cookie");
            let set_cookie = name.eq_ignore_ascii_case(b"set-cookie");
            if cookie || set_cookie {
                let mut out = Vec::with_capacity(value.len() + 32);
                cookies(value, cookie, &mut out);
                // What is left of it are names and attributes.
                let mut cuts = Vec::new();
                if has_shapes {
                    shapes::secrets(&out, &Context::TEXT, &mut cuts);
                }
                return apply(&out, cuts).or(Some(out));
            }
            return Some(redacted(value.len()));
        }
        self.clean_if(value, &line.cx, has_shapes)
    }

    /// The text without its secrets, if it has any.
    fn clean(&self, text: &[u8], cx: &Context) -> Option<Vec<u8>> {
        self.clean_if(text, cx, shapes::any(text))
    }

    fn clean_if(&self, text: &[u8], cx: &Context, has_shapes: bool) -> Option<Vec<u8>> {
        let marks = Marks::of(text);
        if marks.is_empty() && !has_shapes && !cx.protocols && !cx.is_url() {
            return None;
        }
        let mut cuts = Vec::new();
        self.find(text, marks, cx, has_shapes, &mut cuts);
        let mut layer: Option<Layer> = None;
        let layers = if marks.any(Marks::ESCAPE) {
            layers::MOST
        } else {
            0
        };
        for nth in 0..=layers {
            let outer = layer.as_ref().map_or(text, |layer| &layer.text);
            let Some(inner) =
                Layer::of(outer, layer.as_ref(), nth == layers).filter(|_| layers > 0)
            else {
                break;
            };
            let mut found = Vec::new();
            let (text, has_shapes) = (&inner.text[..], shapes::any(&inner.text));
            self.find(text, Marks::of(text), cx, has_shapes, &mut found);
            let sent = |(from, to)| (inner.sent(from), inner.sent(to));
            cuts.extend(found.into_iter().map(sent));
            layer = Some(inner);
        }
        apply(text, cuts)
    }

    /// Where secrets are in a text that has these marks, as it is.
    fn find(
        &self,
        text: &[u8],
        marks: Marks,
        cx: &Context,
        has_shapes: bool,
        cuts: &mut Vec<(usize, usize)>,
    ) {
        let is_secret = |name: &[u8]| self.within.mean_secret(name);
        if has_shapes {
            shapes::secrets(text, cx, cuts);
        }
        if cx.colons && marks.any(Marks::BLANK) {
            shapes::credentials(text, cuts);
        }
        if cx.protocols {
            pairs::protocols(text, &is_secret, cuts);
        }
        if cx.cut || marks.any(Marks::AT) {
            url::userinfos(text, cx, cuts);
        }
        if self.personal && marks.any(Marks::AT) {
            personal::addresses(text, cuts);
        }
        if cx.is_url() {
            url::segments(text, &is_secret, cuts);
        }
        if marks.any(Marks::EQUALS) {
            url::parameter_values(text, cx, &is_secret, cuts);
        }
        if marks.any(Marks::EQUALS) || marks.any(Marks::COLON) {
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

fn redacted(len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    put_redacted(&mut out, len);
    out
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
#[cfg(test)]
mod variants;
