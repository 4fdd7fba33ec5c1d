//! Recorded event streams, each back into [`HttpEvent`]s, so that rules can be tried on what there is.
//!
//! # Layout
//! - [`own`] reads our own json, [`zeek`] Zeek's http.log as JSON or TSV, [`suricata`] eve.json.
//! - [`combined`] and [`access_json`] read access logs, [`syslog`] what syslog puts before their lines.
//! - [`parts`] is what they have in common.
//!
//! A line says itself what it is. What a format does not hold stays absent: an access log has no
//! server and Zeek no latency. Reads lines and decides nothing about what they mean; a line that
//! cannot be read is told with its number and the rest goes on.

mod access_json;
mod combined;
mod own;
mod parts;
mod suricata;
mod syslog;
mod zeek;

use std::io::{self, BufRead};

use serde_json::Value;

use self::parts::Line;
use http_trace_model::event::HttpEvent;

/// The longest line that is kept, in bytes; a longer one is told and skipped.
pub const MAX_LINE: usize = 1 << 20;

/// What some editors and shells put before a file's first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A line that could not be read, or the input itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The line is nothing that is known, or lacks what an event needs.
    #[error("line {line}: {why}")]
    Line {
        /// From 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// Reading failed; nothing follows.
    #[error("line {line}: {error}")]
    Input {
        /// The last line that was read.
        line: u64,
        /// As the system told it.
        error: io::Error,
    },
}

/// Events of a stream, in its order.
#[derive(Debug)]
pub struct Recorded<R> {
    input: R,
    line: u64,
    buffer: Vec<u8>,
    tsv: Option<zeek::Columns>,
    events: u64,
    others: u64,
    over: bool,
}

impl<R: BufRead> Recorded<R> {
    /// Reads from `input` until its end.
    pub fn new(input: R) -> Self {
        Recorded {
            input,
            line: 0,
            buffer: Vec::new(),
            tsv: None,
            events: 0,
            others: 0,
            over: false,
        }
    }

    /// Lines that were read.
    pub const fn lines(&self) -> u64 {
        self.line
    }

    /// Events that came out.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Records that were no responses (alerts, losses, records of other logs).
    pub fn others(&self) -> u64 {
        self.others
    }

    /// The next line without its end; whether it was kept whole.
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
            if self.buffer.len() + taken <= MAX_LINE {
                self.buffer.extend_from_slice(&chunk[..taken]);
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
        let line = self.buffer.trim_ascii_end();
        match line.first() {
            None => Ok(Line::Other),
            Some(b'{') => object(line),
            Some(b'#') => {
                zeek::comment(line, &mut self.tsv)?;
                Ok(Line::Other)
            }
            Some(_) => match &self.tsv {
                Some(columns) => columns.event(line),
                None => match syslog::message(line) {
                    Some(message @ [b'{', ..]) => object(message),
                    message => combined::event(message.unwrap_or(line)),
                },
            },
        }
    }
}

/// A line of JSON, which says itself whose it is.
fn object(line: &[u8]) -> Result<Line, String> {
    let (value, repaired): (Value, bool) = match serde_json::from_slice(line) {
        Ok(value) => (value, false),
        Err(error) => match serde_json::from_slice(&access_json::repaired(line)) {
            Ok(value) => (value, true),
            Err(_) => return Err(error.to_string()),
        },
    };
    match () {
        () if zeek::is_one(&value) => zeek::json(&value),
        () if suricata::is_one(&value) => suricata::event(&value),
        () if value.pointer("/event/kind").is_some() => own::event(&value),
        () if access_json::is_one(&value) => access_json::event(&value, repaired),
        () => Err(
            "none of event.kind (our own json), id.orig_h (Zeek), event_type (Suricata), or \
             remote_addr, status and a time (access logs as JSON) in it"
                .to_owned(),
        ),
    }
}

impl<R: BufRead> Iterator for Recorded<R> {
    type Item = Result<HttpEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            let whole = match self.read_line() {
                Ok(Some(whole)) => whole,
                Ok(None) => break,
                Err(error) => {
                    self.over = true;
                    let line = self.line;
                    return Some(Err(Error::Input { line, error }));
                }
            };
            self.line += 1;
            if self.line == 1 && self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.buffer.drain(..BYTE_ORDER_MARK.len());
            }
            let parsed = match whole {
                true => self.parse(),
                false => Err(format!("longer than {MAX_LINE} bytes")),
            };
            match parsed {
                Ok(Line::Event(mut event)) => {
                    event.sequence = self.events;
                    self.events += 1;
                    return Some(Ok(*event));
                }
                Ok(Line::Other) => self.others += u64::from(!self.buffer.is_empty()),
                Err(why) => {
                    let line = self.line;
                    return Some(Err(Error::Line { line, why }));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
