//! Writes events for a person: one line each, aligned, coloured by status class. Escapes all text from the network, so
//! that it cannot control the terminal. Must not perform I/O.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use anstyle::{AnsiColor, Style};

use http_trace_common::walk::{Encap, Layer};

use super::choice::{self, HeaderChoice};
use super::render::{Entry, Render};
use super::time::rfc3339;
use crate::messages::counted;
use crate::text::Escaped;
use http_trace_detect::alert::{Alert, Ban, Outcome, State};
use http_trace_detect::rule::Level;
use http_trace_model::columns::{columns, cut, cut_middle, padded, wrapped};
use http_trace_model::event::{Endpoint, HttpEvent, Loss, NoResponse};
use http_trace_model::head::{Headers, ResponseHead};
use http_trace_model::shown::{latency, size, span};
use http_trace_model::target::Target;

/// Minimum and initial width of the URL column, which grows with the URLs shown.
const LEAST_URL: usize = 20;
const URL_WIDTH: usize = 40;

/// Maximum widths of the columns of addresses and of processes, which grow with their contents.
const ENDS_WIDTH: usize = 48;
const PROCESS_WIDTH: usize = 24;

/// Width of the method column, and maximum of one method; longer methods take space from their URL.
const METHOD_WIDTH: usize = 7;
const LONGEST_METHOD: usize = 16;

/// Terminals narrower than this get lines without milliseconds, server, size and process.
const NARROW: usize = 110;

/// Width of the other columns, with gaps: time, status, latency, and size on a wide line.
const REST: usize = 12 + 2 + 3 + 2 + 2 + 2 + 2 + 8 + 2 + 9;
const NARROW_REST: usize = 8 + 2 + 3 + 2 + 2 + 2 + 2 + 8;

/// Width of addresses on a narrow line.
const CLIENT_WIDTH: usize = 15;

/// Indentation of continuation lines of an alert.
const INDENT: usize = 14;

/// Writes events as aligned lines.
#[derive(Debug)]
pub struct Pretty {
    headers: HeaderChoice,
    request_headers: HeaderChoice,
    verbose: u8,
    color: bool,
    zone: Option<jiff::tz::TimeZone>,
    /// Width of the terminal, if the output is one.
    width: Option<usize>,
    /// Widest URL so far.
    url_width: usize,
    /// Widest pair of addresses so far, so that the columns to the right stay aligned.
    ends_width: usize,
    /// Widest process so far; on a terminal, URLs become shorter for it.
    process_width: usize,
    line: String,
}

impl Pretty {
    pub fn new(style: &choice::Style) -> Self {
        Pretty {
            headers: style.headers.clone(),
            request_headers: style.request_headers.clone(),
            verbose: style.verbose,
            color: style.color,
            zone: style.zone.clone(),
            width: style.width,
            url_width: URL_WIDTH,
            ends_width: 32,
            process_width: 0,
            line: String::new(),
        }
    }

    /// The style, or none without colours.
    const fn style(&self, style: Style) -> Style {
        if self.color { style } else { Style::new() }
    }

    fn dim(&self) -> Style {
        self.style(Style::new().dimmed())
    }

    /// `12:00:01.234`
    pub fn clock(&self, ns: u64) -> String {
        let at = jiff::Timestamp::from_nanosecond(ns.into()).ok();
        let offset = self.zone.as_ref().zip(at).map(|(zone, at)| zone.to_offset(at).seconds());
        let local = ns.saturating_add_signed(i64::from(offset.unwrap_or(0)) * 1_000_000_000);
        String::from_utf8_lossy(&rfc3339(local)[11..23]).into_owned()
    }

    /// Appends to the line.
    fn put(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.line.write_fmt(text);
    }

    /// Ends the line, without trailing blanks.
    fn end_line(&mut self) {
        self.line.truncate(self.line.trim_end().len());
        self.line.push('\n');
    }

    fn first_line(&mut self, event: &HttpEvent) {
        let (dim, class) = (self.dim(), self.style(class_style(event)));
        let time = self.clock(event.time_ns);
        let (status, method) = status_and_method(event);
        let mut ends = String::new();
        if let Some(forwarded) = event.forwarded {
            let _ = write!(ends, "{} via ", forwarded.ip);
        }
        let _ = match &event.client_name {
            Some(name) => write!(ends, "{}", Escaped(name)),
            None => write!(ends, "{}", event.client.ip),
        };
        // Events of an access log have no server.
        if event.server != Endpoint::NOBODY {
            let _ = write!(ends, " → {}", End(event.server));
        }
        self.ends_width = self.ends_width.max(columns(&ends)).min(ENDS_WIDTH);
        let mut process = process(event);
        self.process_width = self.process_width.max(columns(&process)).min(PROCESS_WIDTH);
        let latency = latency_of(event);
        let size = event.body_bytes.map_or_else(|| "-".to_owned(), size);
        // Some sizes are wider than their column.
        let rest = REST + columns(&size).saturating_sub(9) + columns(&latency).saturating_sub(8);
        let url = url(event);
        self.url_width = self.url_width.max(columns(&url));
        let mut url_width = URL_WIDTH;
        if let Some(width) = self.width {
            let taken = rest + METHOD_WIDTH + self.ends_width.max(columns(&ends));
            let room = width.saturating_sub(taken);
            if width < NARROW || room < LEAST_URL {
                return self.narrow_line(event, width);
            }
            // Processes take space from the URL down to its minimum.
            let left = room.saturating_sub(self.process_width.max(columns(&process)));
            if left < LEAST_URL {
                process.clear();
                url_width = self.url_width.min(room);
            } else {
                url_width = self.url_width.min(left);
            }
        }
        let url_width = beside(&method, url_width);
        let url = padded(cut(&url, url_width), url_width);
        let ends = padded(ends, self.ends_width);
        self.put(format_args!(
            "{dim}{time}{dim:#}  {class}{status:3}{class:#}  {method}  {url}  {ends}  {latency:>8}  {size:>9}"
        ));
        let used = rest + columns(&method) + columns(&url) + columns(&ends);
        let used = used + columns(&process);
        if !process.is_empty() {
            self.put(format_args!("{dim}{process}{dim:#}"));
        }
        self.remarks(event, used);
        self.end_line();
    }

    /// The first line, truncated to the terminal.
    fn narrow_line(&mut self, event: &HttpEvent, width: usize) {
        let (dim, class) = (self.dim(), self.style(class_style(event)));
        let time = self.clock(event.time_ns);
        let time = time.get(..8).unwrap_or(&time);
        let (status, method) = status_and_method(event);
        let room = width.saturating_sub(NARROW_REST + METHOD_WIDTH);
        let name = event.client_name.as_ref().map(|name| Escaped(name).to_string());
        let client = name.unwrap_or_else(|| event.client_ip().to_string());
        // Where both do not fit, the URL alone.
        let client = match room.checked_sub(LEAST_URL / 2 + CLIENT_WIDTH) {
            None => String::new(),
            Some(_) => {
                let most = room.saturating_sub(LEAST_URL).max(CLIENT_WIDTH);
                format!("{}  ", padded(cut_middle(&client, most), CLIENT_WIDTH))
            }
        };
        let url_width = (room + 2).saturating_sub(columns(&client)).max(LEAST_URL / 2);
        let url_width = beside(&method, url_width);
        let url = padded(cut(&url(event), url_width), url_width);
        let latency = latency_of(event);
        self.put(format_args!(
            "{dim}{time}{dim:#}  {class}{status:3}{class:#}  {method}  {url}  {client}{latency:>8}"
        ));
        let used = NARROW_REST - 2 + columns(&method) + columns(&url) + columns(&client);
        self.remarks(event, used);
        self.end_line();
    }

    /// `12:00:01.234  !!! HIGH  summary`, and a line with the counts.
    fn alert_lines(&mut self, alert: &Alert) {
        let level = alert.severity.level();
        let color = match level {
            Level::Informational => AnsiColor::Cyan,
            Level::Low => AnsiColor::Yellow,
            Level::Medium => AnsiColor::Magenta,
            Level::High | Level::Critical => AnsiColor::Red,
        };
        let of_level = Style::new().bold().invert().fg_color(Some(color.into()));
        let (of_level, bold) = (self.style(of_level), self.style(Style::new().bold()));
        let state = match alert.state {
            State::Opened => "  ",
            State::Updated => "  still: ",
            State::Ended => "  ended: ",
        };
        let (time, level) = (self.clock(alert.time_ns), level.name().to_uppercase());
        let (message, dim) = (alert.message(), self.dim());
        let used = columns(&time) + 2 + "!!! ".len() + level.len() + state.len();
        let message = self.wrapped(&Escaped(&message).to_string(), used);
        let details = self.wrapped(&details(alert), INDENT);
        self.put(format_args!(
            "{time}  {of_level}!!! {level}{of_level:#}{state}{bold}{message}{bold:#}\n\
             {dim}{:INDENT$}{details}{dim:#}\n",
            ""
        ));
    }

    /// Wraps text between words on a terminal; `used` columns of the first line are taken.
    fn wrapped(&self, text: &str, used: usize) -> String {
        match self.width {
            Some(width) => wrapped(text, width, used, INDENT),
            None => text.to_owned(),
        }
    }

    /// Notes: 1xx heads, no response, an end that was not seen. On a line of their own if they do not fit.
    fn remarks(&mut self, event: &HttpEvent, used: usize) {
        let mut remarks = String::new();
        if event.response.is_some() {
            for head in &event.informational {
                let _ = write!(remarks, "  +{}", head.status);
            }
        }
        if let Some(why) = event.no_response {
            let _ = write!(remarks, "  no response: {}", why.name());
        }
        if event.flags.contains(&"request_unfinished") {
            remarks.push_str("  request unfinished");
        } else if !event.complete && event.no_response.is_none() {
            remarks.push_str("  unfinished");
        }
        if let Some(encap) = event.tunnel() {
            let _ = write!(remarks, "  in{}", layers(encap));
        }
        if !remarks.is_empty() {
            let dim = self.dim();
            if self.width.is_some_and(|width| used + columns(&remarks) > width) {
                self.end_line();
            }
            self.put(format_args!("{dim}{remarks}{dim:#}"));
        }
    }

    fn header_lines(&mut self, mark: char, headers: &Headers, choice: &HeaderChoice) {
        let dim = self.dim();
        for header in headers.iter().filter(|h| choice.admits(h.name)) {
            let (name, value) = (Escaped(header.name), Escaped(header.value));
            self.put(format_args!("    {mark} {dim}{name}:{dim:#} {value}\n"));
        }
    }

    fn head_lines(&mut self, head: &ResponseHead) {
        let reason = Escaped(&head.reason);
        self.put(format_args!("    < HTTP/1.{} {} {reason}", head.minor_version, head.status));
        self.end_line();
        let choice = self.headers.clone();
        self.header_lines('<', &head.headers, &choice);
    }

    fn detail_line(&mut self, event: &HttpEvent) {
        let dim = self.dim();
        let (connection, ordinal, hook) = (event.connection, event.ordinal, event.hook.name());
        self.put(format_args!("{dim}    # {connection}.{ordinal} by {hook}"));
        for name in event.interfaces.iter() {
            self.put(format_args!(" {}", Escaped(name.as_bytes())));
        }
        for (end_of, nat) in [("client", event.nat_client), ("server", event.nat_server)] {
            if let Some(nat) = nat {
                self.put(format_args!(", {end_of} was {}", End(nat)));
            }
        }
        if let Some(encap) = &event.encap {
            self.put(format_args!(", in{}", layers(encap)));
            for [client, server] in event.outer_ips() {
                self.put(format_args!(" ({client} → {server})"));
            }
        }
        let missing: Vec<&str> = event.missing.iter().map(|what| what.name()).collect();
        for (title, words) in [("missing", &missing), ("flags", &event.flags)] {
            if !words.is_empty() {
                self.put(format_args!(", {title} {}", words.join(" ")));
            }
        }
        if event.retransmissions > 0 {
            self.put(format_args!(", {} retransmissions", event.retransmissions));
        }
        self.put(format_args!("{dim:#}\n"));
    }
}

impl Render for Pretty {
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let event = entry.event;
        self.first_line(event);
        if self.verbose > 0 {
            if let Some(request) = &event.request {
                let choice = self.request_headers.clone();
                self.header_lines('>', &request.headers, &choice);
            }
            for head in event.informational.iter().chain(&event.response) {
                self.head_lines(head);
            }
        }
        if let Some(content) = &event.body_snippet {
            for line in content.split(|b| *b == b'\n') {
                let line = Escaped(line.strip_suffix(b"\r").unwrap_or(line));
                self.put(format_args!("    | {line}\n"));
            }
        }
        if self.verbose > 1 {
            self.detail_line(event);
        }
        out.extend_from_slice(self.line.as_bytes());
        self.line.clear();
    }

    fn alert(&mut self, alert: &Alert, out: &mut Vec<u8>) {
        if alert.rule.quiet {
            return;
        }
        self.alert_lines(alert);
        out.extend_from_slice(self.line.as_bytes());
        self.line.clear();
    }

    fn loss(&mut self, loss: &Loss, out: &mut Vec<u8>) {
        let style = Style::new().bold().fg_color(Some(AnsiColor::Black.into()));
        let style = self.style(style.bg_color(Some(AnsiColor::Yellow.into())));
        let (until, since) = (self.clock(loss.until_ns), self.clock(loss.since_ns));
        let (count, unit, place) = (loss.count, loss.unit.name(), loss.place);
        let mut what = format!("!!! LOST {count} {unit} ({place}) since {since}");
        if let Some(detail) = &loss.detail {
            let _ = write!(what, ": {}", Escaped(detail.as_bytes()));
        }
        let what = self.wrapped(&what, columns(&until) + 2);
        self.put(format_args!("{until}  {style}{what}{style:#}\n"));
        out.extend_from_slice(self.line.as_bytes());
        self.line.clear();
    }
}

/// Status code or its placeholder, and the method as sent, padded to their columns.
fn status_and_method(event: &HttpEvent) -> (String, String) {
    let head = event.response.as_ref().or(event.informational.last());
    let status = head.map_or_else(|| "---".to_owned(), |head| head.status.to_string());
    let method = match &event.request {
        Some(request) => cut(&Escaped(&request.method).to_string(), LONGEST_METHOD),
        None => "?".to_owned(),
    };
    (status, padded(method, METHOD_WIDTH))
}

/// Width that a long method leaves for its URL, so that the columns to the right stay aligned.
fn beside(method: &str, url_width: usize) -> usize {
    url_width.saturating_sub(columns(method).saturating_sub(METHOD_WIDTH))
}

/// The second line of an alert: counts.
fn details(alert: &Alert) -> String {
    let mut out = format!("{}: ", Escaped(alert.rule.id.as_bytes()));
    out.push_str(&match alert.stands_for {
        Some(more) => format!("stands for {}", counted(more, "alert")),
        None => counted(alert.count, "event"),
    });
    if let Some(distinct) = alert.distinct {
        let _ = write!(out, ", {distinct} distinct");
    }
    // Counts of single values begin at half the threshold, so only the record has them.
    let status = |(status, _): &(u16, u64)| match status {
        0 => "no response".to_owned(),
        status => status.to_string(),
    };
    let statuses: Vec<String> = alert.statuses.iter().map(status).collect();
    if !statuses.is_empty() {
        let _ = write!(out, " ({})", statuses.join(", "));
    }
    for (at, (path, _)) in alert.paths.iter().take(3).enumerate() {
        let before = if at == 0 { ", paths" } else { "" };
        let _ = write!(out, "{before} {}", cut(&Escaped(path).to_string(), 32));
    }
    if alert.under_counted {
        out.push_str(", at least: some were lost");
    }
    if alert.proxy_suspected {
        out.push_str(", the client looks like a proxy");
    }
    if let Some(ban) = &alert.ban {
        let _ = write!(out, "; {}", banned(ban));
    }
    out
}

/// The decision about a ban as text.
fn banned(ban: &Ban) -> String {
    let client = ban.client;
    let time = ban.seconds.map(|seconds| format!(" for {}", span(seconds)));
    let time = time.unwrap_or_default();
    match ban.outcome {
        Outcome::Banning => format!("{client} is being banned{time}"),
        Outcome::InForce => format!("{client} is banned already"),
        Outcome::DryRun => format!("{client} would be banned{time}"),
        Outcome::Refused => format!("{client} is not banned: {}", ban.reason.unwrap_or("refused")),
    }
}

/// `  nginx[812]`: the server's process, if known.
fn process(event: &HttpEvent) -> String {
    let process = event.server_process.as_ref();
    let named = process.and_then(|process| Some((process.name.as_ref()?, process.pid)));
    named.map_or_else(String::new, |(name, pid)| format!("  {}[{pid}]", Escaped(name.as_bytes())))
}

fn latency_of(event: &HttpEvent) -> String {
    let of_event = event.ttfb_ns().or(event.duration_ns());
    // Of a response that the capture lacks, nobody knows when it came.
    let known = of_event.filter(|_| event.no_response != Some(NoResponse::Unseen));
    known.map_or_else(|| "-".to_owned(), latency)
}

fn class_style(event: &HttpEvent) -> Style {
    let (color, style) = match event.status_class() {
        Some("1xx") => (AnsiColor::Blue, Style::new()),
        Some("2xx") => (AnsiColor::Green, Style::new()),
        Some("3xx") => (AnsiColor::Cyan, Style::new()),
        Some("4xx") => (AnsiColor::Yellow, Style::new()),
        Some("5xx") => (AnsiColor::Red, Style::new().bold()),
        _ => (AnsiColor::Magenta, Style::new()),
    };
    style.fg_color(Some(color.into()))
}

/// `shop.example/cart/7`: the host as sent, with its port unless it is the default, and the rest
/// of the target.
fn url(event: &HttpEvent) -> String {
    let Some(request) = &event.request else {
        return "(request not seen)".to_owned();
    };
    let target = Target::of(request);
    let rest = Escaped(&request.target);
    let is_whole = !request.target.starts_with(b"/") && &*request.target != b"*";
    let (Some(host), false) = (target.host, target.path.is_none() || is_whole) else {
        return rest.to_string();
    };
    let host = Escaped(host);
    match target.port.filter(|p| *p != 80) {
        Some(port) => format!("{host}:{port}{rest}"),
        None => format!("{host}{rest}"),
    }
}

/// ` vlan 7 vxlan 42`: outermost first.
fn layers(encap: &Encap) -> String {
    let layer = |layer: &Layer| match layer.number() {
        Some(id) => format!(" {} {id}", layer.kind.name()),
        None => format!(" {}", layer.kind.name()),
    };
    encap.layers().iter().map(layer).collect()
}

/// An address with its port, if known.
struct End(Endpoint);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.known_port() {
            None => write!(f, "{}", self.0.ip),
            Some(port) => write!(f, "{}", SocketAddr::new(self.0.ip, port)),
        }
    }
}

#[cfg(test)]
mod tests;
