//! Converts recorded event streams back to [`HttpEvent`]s, so that rules can be run on them.
//!
//! # Layout
//! - [`own`] reads our own json, [`zeek`] Zeek's http.log as JSON or TSV, [`suricata`] eve.json.
//! - [`combined`] and [`access_json`] read access logs, [`syslog`] removes syslog headers from their lines,
//!   [`container`] takes lines out of a container runtime's envelopes.
//! - [`proxies`] reads the text formats of Envoy and other proxies, [`w3c`] the extended log format of IIS and CloudFront.
//! - [`parts`] holds what they have in common.
//!
//! The format is detected per line. Values that a format does not contain stay absent: an access log has no
//! server, and Zeek no latency. Reads lines and decides nothing about their meaning; a line that cannot be
//! read is reported with its number, and reading continues.

mod access_json;
mod combined;
mod container;
mod own;
mod parts;
mod proxies;
mod suricata;
mod syslog;
mod w3c;
pub(crate) mod zeek;

use std::io::{self, BufRead};

use serde_json::Value;

use self::parts::Line;
use http_trace_model::event::HttpEvent;

/// Longest line in bytes; longer ones are reported and skipped.
pub const MAX_LINE: usize = 1 << 20;

/// Written by some editors and shells before a file's first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A line, or the input, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The format of the line is unknown, or it lacks what an event needs.
    #[error("line {line}: {why}")]
    Line {
        /// Line number, starting at 1.
        line: u64,
        why: String,
    },
    /// Reading failed; no events follow.
    #[error("line {line}: {error}")]
    Input {
        /// The line that was being read.
        line: u64,
        error: io::Error,
    },
}

/// The events of a stream, in order.
#[derive(Debug)]
pub struct Recorded<R> {
    input: R,
    /// Number of lines read.
    pub lines: u64,
    buffer: Vec<u8>,
    /// The beginnings of lines whose ends a container's runtime writes later, of standard output and error.
    begun: [Vec<u8>; 2],
    tsv: Option<zeek::Columns>,
    w3c: Option<w3c::Columns>,
    /// Number of events returned.
    pub events: u64,
    /// Number of other records (alerts, losses, other logs).
    pub others: u64,
    over: bool,
}

impl<R: BufRead> Recorded<R> {
    /// Reads `input` to its end.
    pub fn new(input: R) -> Self {
        Recorded {
            input,
            lines: 0,
            buffer: Vec::new(),
            begun: Default::default(),
            tsv: None,
            w3c: None,
            events: 0,
            others: 0,
            over: false,
        }
    }

    /// Reads the next line without its terminator; `false` if it was too long and is incomplete.
    fn read_line(&mut self) -> io::Result<Option<bool>> {
        self.buffer.clear();
        let mut whole = true;
        let mut any = false;
        loop {
            let chunk = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if chunk.is_empty() {
                return Ok(any.then_some(whole));
            }
            any = true;
            let end = memchr::memchr(b'\n', chunk);
            let taken = end.unwrap_or(chunk.len());
            let mut part = &chunk[..taken];
            if self.buffer.is_empty() {
                // A file that was cut while its writer went on begins with a hole.
                let zeros = part.iter().take_while(|byte| **byte == 0).count();
                part = &part[zeros..];
            }
            if self.buffer.len() + part.len() <= MAX_LINE {
                self.buffer.extend_from_slice(part);
            } else {
                whole = false;
            }
            self.input.consume(taken + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(Some(whole));
            }
        }
    }

    fn parse(&mut self) -> Result<Line, String> {
        // The last cells of a row may be empty.
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.first() {
            Some(b'{') => object(line),
            Some(b'#') => {
                match w3c::columns(line) {
                    Some(columns) => (self.tsv, self.w3c) = (None, Some(columns)),
                    None => zeek::comment(line, &mut self.tsv)?,
                }
                Ok(Line::Other)
            }
            _ if line.trim_ascii().is_empty() => Ok(Line::Other),
            // Without #close, other lines may follow the rows of Zeek's log.
            _ => match (&self.tsv, &self.w3c) {
                (Some(rows), _) => rows.event(line).or_else(|why| text(line).map_err(|_| why)),
                (_, Some(rows)) => rows.event(line).or_else(|why| text(line).map_err(|_| why)),
                (None, None) => text(line),
            },
        }
    }
}

/// The id of an event whose record has none: the same for the same line of a file, whatever its name (FNV-1a).
fn identity(number: u64, line: &[u8]) -> u64 {
    let number = number.to_be_bytes();
    let bytes = number.iter().chain(line);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Parses a line of an access log, or one behind a syslog header or what a container's runtime shows before it.
fn text(line: &[u8]) -> Result<Line, String> {
    let line = line.trim_ascii_end();
    match syslog::message(line).or_else(|| container::shown(line)) {
        Some(message @ [b'{', ..]) => object(message),
        message => {
            let line = message.unwrap_or(line);
            proxies::event(line).unwrap_or_else(|| combined::event(line))
        }
    }
}

/// Parses the line of an access log that a collector (Filebeat, Fluent Bit, journald) put into a record of its own.
fn within(record: &Value) -> Option<Line> {
    // An application may write what a client sent into a record of its own.
    let of_collectors = [
        "stream", "agent", "fileset", "input", "kubernetes", "docker", "container_name",
        "__REALTIME_TIMESTAMP",
    ];
    of_collectors.iter().find_map(|name| record.get(name))?;
    let mut names = ["message", "log", "MESSAGE"].into_iter();
    names.find_map(|name| combined::event(record.get(name)?.as_str()?.trim_end().as_bytes()).ok())
}

/// Parses a line of JSON; its keys determine the format.
fn object(line: &[u8]) -> Result<Line, String> {
    let (value, repaired): (Value, bool) = match serde_json::from_slice(line) {
        Ok(value) => (value, false),
        Err(error) => match serde_json::from_slice(&access_json::repaired(line)) {
            Ok(value) => (value, true),
            // What is parsed is one line, whose number is told beside.
            Err(_) => {
                let why = error.to_string().replace(" at line 1 column ", " at column ");
                return Err(format!("not valid JSON: {why}"));
            }
        },
    };
    let line = match () {
        () if zeek::is_one(&value) => zeek::json(&value),
        () if suricata::is_one(&value) => suricata::event(&value),
        () if access_json::is_ecs(&value) => access_json::event(&value, repaired),
        () if value.pointer("/event/kind").is_some() => own::event(&value),
        () if access_json::is_message(&value) => Ok(Line::Other),
        () => within(&value).ok_or_else(|| {
            "unknown JSON record: want event.kind (http-trace), id.orig_h (Zeek), event_type \
             (Suricata), or remote_addr, status and a time (JSON access logs)"
                .to_owned()
        }),
    };
    match line {
        // The names that tell other writers' records may be those of its members.
        Ok(Line::Other) | Err(_) if access_json::is_one(&value) => {
            access_json::event(&value, repaired)
        }
        line => line,
    }
}

impl<R: BufRead> Iterator for Recorded<R> {
    type Item = Result<HttpEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            let mut whole = match self.read_line() {
                Ok(Some(whole)) => whole,
                Ok(None) if self.begun.iter().all(Vec::is_empty) => break,
                Ok(None) => {
                    self.over = true;
                    let why =
                        "the end of a container's line is missing: it may be in the next file"
                            .to_owned();
                    return Some(Err(Error::Line { line: self.lines, why }));
                }
                Err(error) => {
                    self.over = true;
                    let line = self.lines + 1;
                    return Some(Err(Error::Input { line, error }));
                }
            };
            self.lines += 1;
            if self.lines == 1 && self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.buffer.drain(..BYTE_ORDER_MARK.len());
            }
            let mut is_stderr = false;
            if whole && let Some(written) = container::written(&self.buffer) {
                is_stderr = written.is_stderr;
                let begun = &mut self.begun[usize::from(is_stderr)];
                if begun.len() <= MAX_LINE {
                    begun.extend_from_slice(&written.text);
                }
                if !written.ends {
                    continue;
                }
                self.buffer = std::mem::take(begun);
                whole = self.buffer.len() <= MAX_LINE;
            }
            let parsed = match whole {
                true => self.parse(),
                false => Err(format!("longer than {MAX_LINE} bytes")),
            };
            match parsed {
                Ok(Line::Event(mut event)) => {
                    event.sequence = self.events;
                    if event.id == 0 {
                        event.id = identity(self.lines, &self.buffer);
                    }
                    self.events += 1;
                    return Some(Ok(*event));
                }
                Ok(Line::Other) => self.others += u64::from(!self.buffer.is_empty()),
                // Servers write their errors there.
                Err(_) if is_stderr => self.others += 1,
                Err(why) => {
                    let line = self.lines;
                    return Some(Err(Error::Line { line, why }));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
