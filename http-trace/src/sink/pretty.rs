//! Events for a person: one line each, columns aligned, coloured by class. Whatever came from the
//! network is escaped first, so that no header drives the terminal.

use std::fmt::Write as _;
use std::net::IpAddr;

use anstyle::{AnsiColor, Color, Style};

use http_trace_common::walk::Encap;

use super::choice::{self, HeaderChoice};
use super::render::{Entry, Render};
use super::time::clock_ms;
use crate::summary::counted;
use crate::text::terminal;
use http_trace_detect::alert::{Alert, State};
use http_trace_detect::rule::Level;
use http_trace_model::event::{Endpoint, HttpEvent, Loss};
use http_trace_model::head::{Headers, ResponseHead};
use http_trace_model::target::Target;

/// Columns of the URL when the width of the terminal is not known.
const URL_WIDTH: usize = 40;

/// The most that a column grows with what it has shown.
const ENDS_WIDTH: usize = 48;

/// Writes events as aligned lines.
#[derive(Debug)]
pub struct Pretty {
    headers: HeaderChoice,
    request_headers: HeaderChoice,
    verbose: u8,
    color: bool,
    url_width: usize,
    /// Widest ends of a connection so far: the columns right of it stay where they are.
    ends_width: usize,
    line: String,
    cell: String,
}

impl Pretty {
    /// In this style.
    pub fn new(style: &choice::Style) -> Self {
        // What is not the URL: time, status, method, ends, latency, size and the gaps.
        let url_width = style.width.map_or(URL_WIDTH, |w| {
            w.saturating_sub(12 + 5 + 9 + 38 + 11 + 11).clamp(20, 100)
        });
        Pretty {
            headers: style.headers.clone(),
            request_headers: style.request_headers.clone(),
            verbose: style.verbose,
            color: style.color,
            url_width,
            ends_width: 32,
            line: String::new(),
            cell: String::new(),
        }
    }

    fn style(&mut self, style: Style) {
        if self.color {
            let _ = write!(self.line, "{style}");
        }
    }

    fn plain(&mut self, style: Style) {
        if self.color {
            let _ = write!(self.line, "{style:#}");
        }
    }

    /// Appends the cell, padded to `width` columns.
    fn put_cell(&mut self, width: usize) {
        self.line.push_str(&self.cell);
        let columns = columns(&self.cell);
        for _ in columns..width {
            self.line.push(' ');
        }
        self.cell.clear();
    }

    fn put_cell_right(&mut self, width: usize) {
        for _ in columns(&self.cell)..width {
            self.line.push(' ');
        }
        self.line.push_str(&self.cell);
        self.cell.clear();
    }

    fn first_line(&mut self, event: &HttpEvent) {
        let dim = Style::new().dimmed();
        self.style(dim);
        self.line
            .push_str(std::str::from_utf8(&clock_ms(event.time_ns)).unwrap_or_default());
        self.plain(dim);
        self.line.push_str("  ");

        let style = class_style(event);
        self.style(style);
        match event.response.as_ref().or(event.informational.last()) {
            Some(head) => {
                let _ = write!(self.cell, "{}", head.status);
            }
            None => self.cell.push_str("---"),
        }
        self.put_cell(3);
        self.plain(style);
        self.line.push_str("  ");

        match &event.request {
            Some(request) => terminal(&mut self.cell, &request.method),
            None => self.cell.push('?'),
        }
        self.put_cell(7);
        self.line.push_str("  ");

        url(&mut self.cell, event);
        shorten(&mut self.cell, self.url_width);
        self.put_cell(self.url_width);
        self.line.push_str("  ");

        if let Some(forwarded) = event.forwarded {
            let _ = write!(self.cell, "{} via ", forwarded.ip);
        }
        let _ = write!(self.cell, "{}", event.client.ip);
        // An access log does not say which server it is of.
        if event.server != Endpoint::NOBODY {
            self.cell.push_str(" → ");
            end(&mut self.cell, event.server);
        }
        self.ends_width = self.ends_width.max(columns(&self.cell)).min(ENDS_WIDTH);
        self.put_cell(self.ends_width);
        self.line.push_str("  ");

        match event.ttfb_ns().or(event.duration_ns()) {
            Some(ns) => latency(&mut self.cell, ns),
            None => self.cell.push('-'),
        }
        self.put_cell_right(8);
        self.line.push_str("  ");
        match event.body_bytes {
            Some(bytes) => size(&mut self.cell, bytes),
            None => self.cell.push('-'),
        }
        self.put_cell_right(9);

        self.remarks(event);
        let end = self.line.trim_end().len();
        self.line.truncate(end);
        self.line.push('\n');
    }

    /// `12:00:01.234  !!! HIGH  summary`, and a line of what was counted.
    fn alert_lines(&mut self, alert: &Alert) {
        let time = clock_ms(alert.time_ns);
        self.line
            .push_str(std::str::from_utf8(&time).unwrap_or_default());
        self.line.push_str("  ");
        let level = alert.severity.level();
        let color = match level {
            Level::Informational => AnsiColor::Cyan,
            Level::Low => AnsiColor::Yellow,
            Level::Medium => AnsiColor::Magenta,
            Level::High | Level::Critical => AnsiColor::Red,
        };
        let style = Style::new()
            .bold()
            .invert()
            .fg_color(Some(Color::Ansi(color)));
        self.style(style);
        let _ = write!(self.line, "!!! {}", level.name().to_uppercase());
        self.plain(style);
        self.line.push_str(match alert.state {
            State::Opened => "  ",
            State::Updated => "  still: ",
            State::Ended => "  ended: ",
        });
        let bold = Style::new().bold();
        self.style(bold);
        terminal(&mut self.line, &alert.message());
        self.plain(bold);
        self.line.push('\n');
        let dim = Style::new().dimmed();
        self.style(dim);
        self.line.push_str("              ");
        terminal(&mut self.line, alert.rule.id.as_bytes());
        self.line.push_str(": ");
        self.line.push_str(&counted(alert.count, "event"));
        if let Some(distinct) = alert.distinct {
            let _ = write!(self.line, ", {distinct} distinct");
        }
        // How often each came is known from half the threshold on only: that is for the record.
        for (at, (status, _)) in alert.statuses.iter().enumerate() {
            self.line.push_str(if at == 0 { " (" } else { ", " });
            let _ = match status {
                0 => write!(self.line, "no response"),
                status => write!(self.line, "{status}"),
            };
        }
        if !alert.statuses.is_empty() {
            self.line.push(')');
        }
        for (at, (path, _)) in alert.paths.iter().take(3).enumerate() {
            self.line.push_str(if at == 0 { ", paths " } else { " " });
            terminal(&mut self.cell, path);
            shorten(&mut self.cell, 32);
            self.line.push_str(&self.cell);
            self.cell.clear();
        }
        if alert.under_counted {
            self.line.push_str(", at least: some were lost");
        }
        if alert.proxy_suspected {
            self.line.push_str(", the client looks like a proxy");
        }
        self.plain(dim);
        self.line.push('\n');
    }

    /// What is not as usual: 1xx heads, no response, an end that was not seen.
    fn remarks(&mut self, event: &HttpEvent) {
        let style = Style::new().dimmed();
        let mut remarks = String::new();
        if event.response.is_some() {
            for head in &event.informational {
                let _ = write!(remarks, "  +{}", head.status);
            }
        }
        if let Some(why) = event.no_response {
            remarks.push_str("  no response: ");
            remarks.push_str(why.name());
        }
        if event.flags.contains(&"request_unfinished") {
            remarks.push_str("  request unfinished");
        } else if !event.complete && event.no_response.is_none() {
            remarks.push_str("  unfinished");
        }
        if let Some(encap) = event.tunnel() {
            remarks.push_str("  in");
            layers(&mut remarks, encap);
        }
        if !remarks.is_empty() {
            self.style(style);
            self.line.push_str(&remarks);
            self.plain(style);
        }
    }

    fn header_lines(&mut self, mark: char, headers: &Headers, choice: &HeaderChoice) {
        let style = Style::new().dimmed();
        for header in headers.iter().filter(|h| choice.admits(h.name)) {
            self.line.push_str("    ");
            self.line.push(mark);
            self.line.push(' ');
            self.style(style);
            terminal(&mut self.line, header.name);
            self.line.push(':');
            self.plain(style);
            self.line.push(' ');
            terminal(&mut self.line, header.value);
            self.line.push('\n');
        }
    }

    fn head_lines(&mut self, head: &ResponseHead) {
        let _ = write!(
            self.line,
            "    < HTTP/1.{} {} ",
            head.minor_version, head.status
        );
        terminal(&mut self.line, &head.reason);
        let end = self.line.trim_end().len();
        self.line.truncate(end);
        self.line.push('\n');
        let choice = self.headers.clone();
        self.header_lines('<', &head.headers, &choice);
    }

    fn detail_line(&mut self, event: &HttpEvent) {
        let style = Style::new().dimmed();
        self.style(style);
        let _ = write!(
            self.line,
            "    # {}.{} by {}",
            event.connection,
            event.ordinal,
            event.hook.name()
        );
        for name in &event.interfaces {
            self.line.push(' ');
            terminal(&mut self.line, name.as_bytes());
        }
        for (end_of, nat) in [("client", event.nat_client), ("server", event.nat_server)] {
            if let Some(nat) = nat {
                let _ = write!(self.line, ", {end_of} was ");
                end(&mut self.line, nat);
            }
        }
        if let Some(encap) = &event.encap {
            self.line.push_str(", in");
            layers(&mut self.line, encap);
            for [client, server] in event.outer_ips() {
                let _ = write!(self.line, " ({client} → {server})");
            }
        }
        if !event.missing.is_empty() {
            self.line.push_str(", missing");
            for what in &event.missing {
                self.line.push(' ');
                self.line.push_str(what.name());
            }
        }
        if !event.flags.is_empty() {
            self.line.push_str(", flags");
            for flag in &event.flags {
                self.line.push(' ');
                self.line.push_str(flag);
            }
        }
        if event.retransmissions > 0 {
            let _ = write!(self.line, ", {} retransmissions", event.retransmissions);
        }
        self.plain(style);
        self.line.push('\n');
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
                self.line.push_str("    | ");
                terminal(&mut self.line, line.strip_suffix(b"\r").unwrap_or(line));
                self.line.push('\n');
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
        let style = Style::new()
            .bold()
            .fg_color(Some(Color::Ansi(AnsiColor::Black)));
        let style = style.bg_color(Some(Color::Ansi(AnsiColor::Yellow)));
        let time = |ns| clock_ms(ns).map(char::from).iter().collect::<String>();
        let _ = write!(self.line, "{}  ", time(loss.until_ns));
        self.style(style);
        let _ = write!(
            self.line,
            "!!! LOST {} {} ({}) since {}",
            loss.count,
            loss.unit.name(),
            loss.place,
            time(loss.since_ns)
        );
        if let Some(detail) = &loss.detail {
            self.line.push_str(": ");
            terminal(&mut self.line, detail.as_bytes());
        }
        self.plain(style);
        self.line.push('\n');
        out.extend_from_slice(self.line.as_bytes());
        self.line.clear();
    }
}

fn class_style(event: &HttpEvent) -> Style {
    let color = match event.status_class() {
        Some("1xx") => AnsiColor::Blue,
        Some("2xx") => AnsiColor::Green,
        Some("3xx") => AnsiColor::Cyan,
        Some("4xx") => AnsiColor::Yellow,
        Some("5xx") => {
            return Style::new()
                .bold()
                .fg_color(Some(Color::Ansi(AnsiColor::Red)));
        }
        _ => AnsiColor::Magenta,
    };
    Style::new().fg_color(Some(Color::Ansi(color)))
}

/// `shop.example/cart/7`: the host as sent, with its port unless it is the default, and the rest
/// of the target.
fn url(cell: &mut String, event: &HttpEvent) {
    let Some(request) = &event.request else {
        cell.push_str("(request not seen)");
        return;
    };
    let target = Target::of(request);
    if target.path.is_none() || !request.target.starts_with(b"/") && &*request.target != b"*" {
        terminal(cell, &request.target);
        return;
    }
    if let Some(host) = target.host {
        terminal(cell, host);
        if let Some(port) = target.port.filter(|p| *p != 80) {
            let _ = write!(cell, ":{port}");
        }
    }
    terminal(cell, &request.target);
}

/// ` vlan 7 vxlan 42`: outermost first.
fn layers(text: &mut String, encap: &Encap) {
    for layer in encap.layers() {
        let _ = write!(text, " {}", layer.kind.name());
        if let Some(id) = layer.number() {
            let _ = write!(text, " {id}");
        }
    }
}

fn end(cell: &mut String, end: Endpoint) {
    let _ = match (end.ip, end.known_port()) {
        (ip, None) => write!(cell, "{ip}"),
        (IpAddr::V4(ip), Some(port)) => write!(cell, "{ip}:{port}"),
        (IpAddr::V6(ip), Some(port)) => write!(cell, "[{ip}]:{port}"),
    };
}

/// Three figures and a unit.
fn latency(cell: &mut String, ns: u64) {
    let (value, unit) = match ns {
        0..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let _ = if value < 10.0 {
        write!(cell, "{value:.1} {unit}")
    } else {
        write!(cell, "{value:.0} {unit}")
    };
}

fn size(cell: &mut String, bytes: u64) {
    let (value, unit) = match bytes {
        0..10_000 => {
            let _ = write!(cell, "{bytes} B");
            return;
        }
        10_000..10_485_760 => (bytes as f64 / 1024.0, "KiB"),
        10_485_760..10_737_418_240 => (bytes as f64 / 1_048_576.0, "MiB"),
        _ => (bytes as f64 / 1_073_741_824.0, "GiB"),
    };
    let _ = write!(cell, "{value:.1} {unit}");
}

/// Columns that a text takes; wide characters count as one here, which at worst misaligns a line.
fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Cuts to `width` columns, with an ellipsis in place of what is cut.
fn shorten(text: &mut String, width: usize) {
    if columns(text) > width {
        let keep = text
            .char_indices()
            .nth(width.saturating_sub(1))
            .map_or(text.len(), |(at, _)| at);
        text.truncate(keep);
        text.push('…');
    }
}

#[cfg(test)]
mod tests;
