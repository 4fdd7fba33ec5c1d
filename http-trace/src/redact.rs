//! Removes secrets from events and alerts before any sink sees them: values with a name that denotes a
//! secret, and text with the shape of one. Rules run before this. Copies only what it changes, never panics,
//! and takes time linear in the input.
//!
//! # Layout
//! - `names`: the table of names. `shapes`: the table of shapes.
//! - `recent`: values that were found to have no secrets, and what names say.
//! - `context`: the kind of a text. `marks`: which kinds of bytes it contains. `layers`: its decoded forms.
//! - `command_line`: command lines of processes.
//! - `url`, `pairs`, `markup`, `personal`: find values in URLs, texts and bodies.

mod command_line;
mod context;
mod layers;
mod marks;
mod markup;
mod names;
mod pairs;
mod personal;
mod recent;
mod shapes;
mod url;

use bytes::Bytes;
use http_trace_detect::alert::{Alert, Piece, Shown};
use http_trace_detect::field::Field;
use http_trace_model::event::HttpEvent;
use http_trace_model::head::{Headers, RequestHead};
use http_trace_model::known::Known;

use context::Context;
use layers::Layer;
use marks::Marks;
use names::{Names, NamesOf};
use recent::Recent;

/// What a field's name says about its value.
#[derive(Clone, Copy, Debug)]
struct Line {
    secret: bool,
    /// Whether the value may be an identifier that looks like a token.
    identifier: bool,
    /// Whether an output writes the field of a request.
    written: bool,
    /// Context of the value if it is not a secret as a whole.
    cx: Context,
}

/// Which names and values are secrets.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// For header fields.
    headers: Names,
    /// For names within any text.
    within: Names,
    /// Whether mail addresses are redacted.
    personal: bool,
    /// Request fields that outputs write, in lower case; `None`: all.
    written: Option<Vec<String>>,
    /// For known names, by their number.
    lines: [Line; Known::COUNT],
    /// For other names.
    others: Recent<Line>,
    /// Header values without secrets, and that do not look like tokens.
    clean: Recent<()>,
}

impl Default for Secrets {
    fn default() -> Self {
        Secrets::with(&[], &[], false, None)
    }
}

impl Secrets {
    /// The built-in names and these; with `personal`, personal data too. Values of request fields that are not
    /// among `written` are dropped, which costs less than to search them.
    pub fn with(
        headers: &[String],
        parameters: &[String],
        personal: bool,
        written: Option<Vec<String>>,
    ) -> Self {
        let within = Names::with(NamesOf::Texts, personal, &[headers, parameters].concat());
        let headers = Names::with(NamesOf::Fields, personal, headers);
        let line = |number| line(&headers, written.as_deref(), Known::name(number));
        let lines = std::array::from_fn(line);
        Secrets {
            headers,
            within,
            personal,
            written,
            lines,
            others: Recent::new(recent::NAMES),
            clean: Recent::new(recent::VALUES),
        }
    }

    /// The user of Basic authentication for display: a key in place of a name is a secret.
    pub fn user(&self, user: Vec<u8>) -> Vec<u8> {
        match shapes::is_key(&user) {
            true => redacted(&user),
            false => self.clean(&user, &Context::TEXT).unwrap_or(user),
        }
    }

    /// Replaces every secret in the event.
    pub fn redact(&mut self, event: &mut HttpEvent) {
        if let Some(request) = &mut event.request {
            self.target(request);
            if let Some(version) = &mut request.version {
                let cx = Context::of_target(&request.method);
                replace(version, |version| self.clean(version, &cx));
            }
            self.headers(&mut request.headers, true);
        }
        for response in event.response.iter_mut().chain(&mut event.informational) {
            replace(&mut response.reason, |text| self.clean(text, &Context::TEXT));
            self.headers(&mut response.headers, false);
        }
        if let Some(content) = &mut event.body_snippet {
            replace(content, |text| self.clean(text, &Context::BODY));
        }
    }

    /// Replaces secrets only where the server is named; no other field may be displayed.
    pub fn redact_authority(&self, event: &mut HttpEvent) {
        let Some(request) = &mut event.request else {
            return;
        };
        // The form of almost all requests, which names no server (RFC 9112 §3.2.1).
        if !request.target.starts_with(b"/") {
            self.target(request);
        }
        self.some_headers(&mut request.headers, &[Known::HOST]);
    }

    /// Replaces secrets only in what identifies endpoints: target, host and referring page. Used for events
    /// that are not written.
    pub fn redact_endpoint(&self, event: &mut HttpEvent) {
        if let Some(request) = &mut event.request {
            self.target(request);
            self.some_headers(&mut request.headers, &[Known::HOST, Known::REFERER]);
        }
    }

    fn target(&self, request: &mut RequestHead) {
        let cx = Context::of_target(&request.method);
        replace(&mut request.target, |target| self.clean(target, &cx));
    }

    fn some_headers(&self, headers: &mut Headers, names: &[Known]) {
        headers.change(|header| {
            let line = self.lines[header.known.number()];
            names
                .contains(&header.known)
                .then(|| self.value_of(header.name, line, header.value))
                .flatten()
        });
    }

    /// Replaces every secret that an alert shows.
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
        of_entities.chain(of_summary).for_each(|shown| self.shown(shown));
    }

    /// Replaces the secrets of a displayed value.
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
                let name = name.as_bytes();
                match self.headers.mean_secret(name) {
                    true => self.value(name, value),
                    false
                        if Known::of(name) == Known::NONE
                            && shapes::is_opaque(value)
                            && !names::is_identifier(name) =>
                    {
                        Some(redacted(value))
                    }
                    false => of(Context::of_header(name)),
                }
            }
            _ => of(Context::TEXT),
        };
        if let Some(clean) = clean {
            shown.value = clean;
        }
    }

    fn headers(&mut self, headers: &mut Headers, of_request: bool) {
        let mut clean = std::mem::replace(&mut self.clean, Recent::new(recent::VALUES));
        let mut others = std::mem::replace(&mut self.others, Recent::new(recent::NAMES));
        headers.change(|header| {
            let is_known = header.known != Known::NONE;
            let line = match is_known {
                true => self.lines[header.known.number()],
                false => others.get(header.name).unwrap_or_else(|| {
                    let line = line(&self.headers, self.written.as_deref(), header.name);
                    others.add(header.name, line);
                    line
                }),
            };
            if of_request && !line.written {
                return Some(Vec::new());
            }
            let may_be_clean = !line.secret && line.cx.is_text();
            if may_be_clean && clean.get(header.value).is_some() {
                return None;
            }
            let is_opaque = !is_known && !line.secret && shapes::is_opaque(header.value);
            if is_opaque && !line.identifier {
                return Some(redacted(header.value));
            }
            let changed = self.value_of(header.name, line, header.value);
            if may_be_clean && !is_opaque && changed.is_none() {
                clean.add(header.value, ());
            }
            changed
        });
        (self.clean, self.others) = (clean, others);
    }

    /// The value without its secrets, or `None` if it has none.
    fn value(&self, name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        self.value_of(name, line(&self.headers, None, name), value)
    }

    /// [`Secrets::value`] with what the name says.
    fn value_of(&self, name: &[u8], line: Line, value: &[u8]) -> Option<Vec<u8>> {
        if value.is_empty() {
            return None;
        }
        if !line.secret {
            return self.clean(value, &line.cx);
        }
        let cookie = name.eq_ignore_ascii_case(b"cookie");
        if !cookie && !name.eq_ignore_ascii_case(b"set-cookie") {
            let scheme = scheme(name, value);
            let mut out = value[..scheme].to_vec();
            put_redacted(&mut out, &value[scheme..]);
            return Some(out);
        }
        let mut out = Vec::with_capacity(value.len() + 32);
        cookies(value, cookie, &mut out);
        // Only names and attributes remain.
        let mut cuts = Vec::new();
        if Marks::of(&out).any(Marks::SHAPE) {
            shapes::secrets(&out, &Context::TEXT, &mut cuts);
        }
        apply(&out, cuts).or(Some(out))
    }

    /// The text without its secrets, or `None` if it has none.
    fn clean(&self, text: &[u8], cx: &Context) -> Option<Vec<u8>> {
        let marks = Marks::of(text);
        if marks.is_empty() && !cx.protocols && !cx.is_url() {
            return None;
        }
        let mut cuts = Vec::new();
        self.find(text, marks, cx, &mut cuts);
        let mut layer: Option<Layer> = None;
        for nth in 0..=layers::MOST {
            let outer = layer.as_ref().map_or(text, |layer| &layer.text);
            let Some(inner) = Layer::of(outer, layer.as_ref(), nth == layers::MOST) else {
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

    /// Finds secrets in a text with these marks, without decoding it.
    fn find(&self, text: &[u8], marks: Marks, cx: &Context, cuts: &mut Vec<(usize, usize)>) {
        let is_secret = |name: &[u8]| self.within.mean_secret(name);
        if marks.any(Marks::SHAPE) {
            shapes::secrets(text, cx, cuts);
        }
        if (cx.colons || cx.authority) && marks.any(Marks::BLANK) {
            shapes::credentials(text, cuts);
        }
        if cx.protocols {
            pairs::protocols(text, &is_secret, cuts);
        }
        if cx.cut || marks.any(Marks::AT) {
            url::userinfos(text, cx, cuts);
            url::data_sources(text, cx, cuts);
        }
        if self.personal && marks.any(Marks::AT) {
            personal::addresses(text, cuts);
        }
        if cx.is_url() {
            url::segments(text, &is_secret, cuts);
        }
        if marks.any(Marks::EQUALS) {
            url::parameter_values(text, cx, &is_secret, cuts);
            if cx.is_url() {
                shapes::parameter_credentials(text, cuts);
            }
        }
        if marks.any(Marks::EQUALS) || marks.any(Marks::COLON) {
            pairs::secrets(text, cx, &is_secret, cuts);
        }
        // A parameter may be a document.
        if cx.body || cx.is_url() && memchr::memchr(b'<', text).is_some() {
            markup::secrets(text, &is_secret, cuts);
        }
    }
}

/// Length of the authentication scheme and the space after it (RFC 9110 §11.4), which rules need of recorded events.
fn scheme(name: &[u8], value: &[u8]) -> usize {
    const SCHEMES: [&[u8]; 10] = [
        b"basic", b"bearer", b"digest", b"negotiate", b"ntlm", b"dpop", b"token", b"hawk",
        b"aws4-hmac-sha256", b"goog4-rsa-sha256",
    ];
    let fields: [&[u8]; 2] = [b"authorization", b"proxy-authorization"];
    if !fields.iter().any(|field| field.eq_ignore_ascii_case(name)) {
        return 0;
    }
    let end = memchr::memchr(b' ', value).filter(|end| end + 1 < value.len()).unwrap_or(0);
    match SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(&value[..end])) {
        true => end + 1,
        false => 0,
    }
}

/// What a field's name says, given the names that denote secrets and those of request fields that are written.
fn line(secret: &Names, written: Option<&[String]>, name: &[u8]) -> Line {
    let is_it = |written: &String| written.as_bytes().eq_ignore_ascii_case(name);
    Line {
        secret: secret.mean_secret(name),
        written: written.is_none_or(|all| all.iter().any(is_it)),
        identifier: names::is_identifier(name),
        cx: Context::of_header(name),
    }
}

fn replace(bytes: &mut Bytes, clean: impl FnOnce(&[u8]) -> Option<Vec<u8>>) {
    if let Some(clean) = clean(bytes) {
        *bytes = Bytes::from(clean);
    }
}

/// Replaces each range of the text (in any order) except within marks; overlapping ranges are merged.
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
    let marks = marks(text);
    let is_in_mark = |&(from, to): &(usize, usize)| {
        let after = marks.partition_point(|mark| mark.0 <= from);
        after.checked_sub(1).is_some_and(|at| to <= marks[at].1)
    };
    cuts.retain(|cut| !is_in_mark(cut));
    if cuts.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() + cuts.len() * 24);
    let mut done = 0;
    for (from, to) in cuts {
        out.extend_from_slice(&text[done..from]);
        put_redacted(&mut out, &text[from..to]);
        done = to;
    }
    out.extend_from_slice(&text[done..]);
    Some(out)
}

/// What stands in the place of a secret.
const MARK: [&[u8]; 2] = ["‹redacted:".as_bytes(), " bytes›".as_bytes()];

/// Most digits in a mark: a client may send one, but not a number that is a secret itself.
const MOST_DIGITS: usize = 8;

/// The length of the mark that a text begins with.
fn mark(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(MARK[0])?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_one = (1..=MOST_DIGITS).contains(&digits) && rest[digits..].starts_with(MARK[1]);
    is_one.then_some(MARK[0].len() + digits + MARK[1].len())
}

/// The ranges of marks, in order: events that were recorded hold them.
fn marks(text: &[u8]) -> Vec<(usize, usize)> {
    let begins = memchr::memmem::find_iter(text, MARK[0]);
    begins.filter_map(|at| Some((at, at + mark(&text[at..])?))).collect()
}

fn redacted(secret: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_redacted(&mut out, secret);
    out
}

/// Appends a mark with the length of the secret, which may be a mark already.
fn put_redacted(out: &mut Vec<u8>, secret: &[u8]) {
    if mark(secret) == Some(secret.len()) {
        out.extend_from_slice(secret);
        return;
    }
    out.extend_from_slice(MARK[0]);
    out.extend_from_slice(itoa::Buffer::new().format(secret.len()).as_bytes());
    out.extend_from_slice(MARK[1]);
}

/// Replaces the values of `a=1; b=2`. With `all` false (Set-Cookie) only the first, since the others are
/// attributes, except after a comma, which joins several fields of the same name. A pair without `=` is a
/// value without a name (RFC 6265bis §5.7).
fn cookies(text: &[u8], all: bool, out: &mut Vec<u8>) {
    for (nth, pair) in text.split(|b| *b == b';').enumerate() {
        if nth > 0 {
            out.push(b';');
        }
        let mut pair = pair;
        if nth > 0 && !all {
            // Dates contain commas too, but no '='.
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
            put_redacted(out, &pair[name..]);
        }
    }
}

#[cfg(test)]
mod tests;
