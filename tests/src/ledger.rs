//! Compares a busy server's access log with a busy tracer's output, event by event, keeping only numbers in
//! memory.
//!
//! Every target ends in a unique number after a `?`, and every response names its target in a header field,
//! so that a wrong pair is detected.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::nginx::log_lines;

#[derive(Clone, Copy, Debug)]
struct Line {
    /// The number in its target.
    id: u64,
    /// Number of the request within its connection, from 1.
    number: u64,
    status: u16,
    time_ms: u64,
    seen: bool,
    /// With its request.
    paired: bool,
}

/// A client's connection.
#[derive(Debug, Default)]
struct Connection {
    lines: Vec<Line>,
    /// Index in `lines` by number.
    place: HashMap<u64, usize>,
    events: usize,
    /// A pair was flagged as assumed: those after it rest on it.
    assumed: bool,
}

/// The log, and the event of each of its lines.
#[derive(Debug, Default)]
pub struct Ledger {
    connections: HashMap<SocketAddr, Connection>,
    pub losses: Vec<Told>,
    /// Events that contradict the log, or themselves.
    pub wrong: Vec<String>,
    /// Events that say that their request was not seen.
    pub without_request: u64,
    /// Events at another position in the connection than their line.
    pub misplaced: u64,
    lines: usize,
}

/// A reported loss.
#[derive(Clone, Debug)]
pub struct Told {
    pub unit: String,
    /// The stage and reason.
    pub place: String,
    pub count: u64,
    /// Start, Unix ms.
    pub since_ms: u64,
    /// End, Unix ms.
    pub until_ms: u64,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    event: Kind<'a>,
    source: End,
    #[serde(default)]
    http: Http,
    #[serde(default)]
    url: Option<Url>,
    http_trace: Ours,
}

#[derive(Deserialize)]
struct Kind<'a> {
    kind: &'a str,
}

#[derive(Deserialize)]
struct End {
    ip: IpAddr,
    port: u16,
}

#[derive(Deserialize, Default)]
struct Http {
    response: Option<Response>,
}

#[derive(Deserialize)]
struct Response {
    status_code: Option<u16>,
    #[serde(default)]
    headers: HashMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Url {
    original: Option<String>,
}

#[derive(Deserialize)]
struct Ours {
    #[serde(default)]
    ordinal: u64,
    #[serde(default)]
    missing: Vec<String>,
    #[serde(default)]
    flags: Vec<String>,
}

/// The number at the end of a target.
fn id(target: &str) -> Option<u64> {
    target.rsplit_once('?')?.1.parse().ok()
}

impl Ledger {
    /// Reads nginx's access log.
    pub fn new(log: &[u8]) -> Result<Self> {
        let mut ledger = Ledger::default();
        for line in log_lines(log) {
            let line = line?;
            let of_client = ledger.connections.entry(line.client).or_default();
            of_client.lines.push(Line {
                id: id(&line.target).with_context(|| format!("no number in {line:?}"))?,
                number: line.number,
                status: line.status,
                time_ms: line.time_ms,
                seen: false,
                paired: false,
            });
            ledger.lines += 1;
        }
        for connection in ledger.connections.values_mut() {
            connection.lines.sort_by_key(|line| line.number);
            let ids = connection.lines.iter().map(|line| line.id);
            connection.place = ids.enumerate().map(|(place, id)| (id, place)).collect();
        }
        Ok(ledger)
    }

    /// Number of lines in the log.
    pub const fn len(&self) -> usize {
        self.lines
    }

    /// Whether the log is empty.
    pub const fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// Reads a line of the tracer's json.
    pub fn see(&mut self, json: &[u8]) {
        if let Err(why) = self.look(json) {
            let text = String::from_utf8_lossy(json);
            self.wrong.push(format!("{why:#}: {text}"));
        }
    }

    fn look(&mut self, json: &[u8]) -> Result<()> {
        let value = || serde_json::from_slice::<serde_json::Value>(json);
        let event: Event<'_> = match serde_json::from_slice(json) {
            Ok(event) => event,
            Err(error) => {
                let value = value()?;
                // Alerts belong to no response.
                if value["event"]["kind"] == "alert" {
                    return Ok(());
                }
                anyhow::ensure!(value["event"]["kind"] == "pipeline_error", "{error}");
                self.losses.push(told(&value)?);
                return Ok(());
            }
        };
        if event.event.kind == "pipeline_error" {
            self.losses.push(told(&value()?)?);
            return Ok(());
        }
        let client = SocketAddr::new(event.source.ip, event.source.port);
        let connection = self.connections.get_mut(&client);
        let connection = connection.context("nobody asked from there")?;
        let asked = event.url.and_then(|url| url.original);
        let asked = asked.map(|target| id(&target).context("a target that nobody asked for"));
        let asked = asked.transpose()?;
        let Some(response) = event.http.response.filter(|r| r.status_code.is_some()) else {
            let asked = asked.context("neither request nor response")?;
            anyhow::ensure!(connection.place.contains_key(&asked), "nobody asked that");
            return Ok(());
        };
        let named = response.headers.get("x-target").and_then(|all| all.first());
        let lacks = |what: &str| event.http_trace.missing.iter().any(|m| m == what);
        let named = match named.and_then(|target| id(target)).or(asked) {
            Some(named) if response.headers.contains_key("x-target") || lacks("headers") => named,
            // Only the status line of the head was seen, and the event says so.
            None if lacks("headers") => return Ok(()),
            _ => anyhow::bail!("no x-target, and nothing said of it"),
        };
        connection.assumed |= event.http_trace.flags.iter().any(|flag| flag == "request_assumed");
        match asked {
            Some(asked) => {
                anyhow::ensure!(asked == named || connection.assumed, "a wrong pair");
            }
            None => {
                self.without_request += 1;
                anyhow::ensure!(lacks("request"), "no request, and nothing said of it");
            }
        }
        let place = connection.place.get(&named);
        let place = *place.context("the server did not answer that there")?;
        let line = connection.lines.get_mut(place).context("a line")?;
        anyhow::ensure!(!line.seen, "told twice");
        line.seen = true;
        line.paired = asked.is_some();
        anyhow::ensure!(response.status_code == Some(line.status), "another status");
        if place != connection.events || event.http_trace.ordinal != line.number {
            self.misplaced += 1;
        }
        connection.events += 1;
        Ok(())
    }

    /// Log times of the responses without an event, Unix ms, sorted.
    pub fn missing(&self) -> Vec<u64> {
        let lines = self.connections.values().flat_map(|c| &c.lines);
        let mut missing: Vec<u64> = lines.filter(|l| !l.seen).map(|l| l.time_ms).collect();
        missing.sort_unstable();
        missing
    }

    /// Counts, among the last `count` lines of each connection, those without an event that has its request.
    /// Excludes lines within a loss and a second after it: a starved tracer loses until the end.
    pub fn unpaired_of_last(&self, count: usize) -> usize {
        let lost_until = self.losses.iter().map(|told| told.until_ms + 1000).max();
        let after = |line: &&Line| lost_until.is_none_or(|until| line.time_ms > until);
        let last = |c: &Connection| {
            let from = c.lines.len().saturating_sub(count);
            let last = c.lines.iter().skip(from).filter(after);
            last.filter(|line| !line.paired).count()
        };
        self.connections.values().map(last).sum()
    }

    /// Times of missing responses outside all reported losses. The server's clock is coarse, so each loss is
    /// extended by `slack_ms` at both ends.
    pub fn uncovered(&self, slack_ms: u64) -> Vec<u64> {
        let covered = |time: &u64| {
            self.losses
                .iter()
                .any(|told| told.since_ms <= time + slack_ms && *time <= told.until_ms + slack_ms)
        };
        let missing = self.missing();
        missing.into_iter().filter(|time| !covered(time)).collect()
    }

    /// Fails with the first contradictions, if there are any.
    ///
    /// # Panics
    /// If there are any.
    pub fn check(&self) {
        let shown: Vec<_> = self.wrong.iter().take(10).map(String::as_str).collect();
        assert!(
            self.wrong.is_empty(),
            "{} events contradict the log:\n{}",
            self.wrong.len(),
            shown.join("\n")
        );
    }

    /// Fails unless there is one event for each line, in order, each with its request.
    ///
    /// # Panics
    /// Otherwise.
    pub fn check_all(&self) {
        self.check();
        let missing = self.missing().len();
        let (misplaced, without) = (self.misplaced, self.without_request);
        assert_eq!(
            (missing, misplaced, without),
            (0, 0, 0),
            "missing, out of order, without their request, of {}; losses {:?}",
            self.lines,
            self.losses
        );
    }
}

fn told(json: &serde_json::Value) -> Result<Told> {
    let lost = &json["http_trace"]["lost"];
    let text = |name: &str| lost[name].as_str().map(str::to_owned);
    let told = || -> Option<Told> {
        Some(Told {
            unit: text("unit")?,
            place: text("where")?,
            count: lost["count"].as_u64()?,
            since_ms: unix_ms(lost["since"].as_str()?)?,
            until_ms: unix_ms(lost["until"].as_str()?)?,
        })
    };
    told().with_context(|| format!("a loss that says too little: {json}"))
}

/// Unix milliseconds of an RFC 3339 time.
fn unix_ms(time: &str) -> Option<u64> {
    let time: jiff::Timestamp = time.parse().ok()?;
    time.as_millisecond().try_into().ok()
}
