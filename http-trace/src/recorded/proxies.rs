//! Access logs of proxies and load balancers in text formats of their own: Envoy's default and Istio's, Nginx Proxy
//! Manager's, and that of AWS's Application Load Balancer. Decides only from a line's first words whose it is.

use std::borrow::Cow;
use std::net::IpAddr;

use memchr::memmem;

use super::combined::{clf_time, quoted, request_line};
use super::parts::{
    Client, Line, address, answered, is_forwarded, line_of, logged_status, number, of_client,
    request, socket, time, utf8,
};

/// Schemes that begin a line of an Application Load Balancer.
const SCHEMES: &[&[u8]] = &[b"http", b"https", b"h2", b"ws", b"wss", b"grpcs"];

/// What the formats have in common.
#[derive(Default)]
struct Said<'a> {
    client: Option<(IpAddr, u16)>,
    time_ns: u64,
    /// Method, target and version.
    request: Option<(&'a [u8], Cow<'a, [u8]>, &'a str)>,
    status: u64,
    body_bytes: Option<u64>,
    response_bytes: Option<u64>,
    host: Option<Vec<u8>>,
    referrer: Option<Vec<u8>>,
    agent: Option<Vec<u8>>,
    forwarded: Option<Vec<u8>>,
}

/// Parses a line of these formats; `None` if it is of none.
pub(super) fn event(line: &[u8]) -> Option<Result<Line, String>> {
    let (whose, said) = match line.strip_prefix(b"[") {
        Some(rest) => {
            let (when, rest) = rest.split_at(memchr::memchr(b']', rest)?);
            let (when, rest) = (utf8(when)?, rest[1..].trim_ascii_start());
            match time(when) {
                Some(time_ns) if rest.starts_with(b"\"") => ("Envoy's log", envoy(time_ns, rest)),
                Some(_) => return None,
                None => {
                    memmem::find(rest, b" [Client ")?;
                    ("Nginx Proxy Manager's log", manager(clf_time(when)?, rest))
                }
            }
        }
        None => {
            let (scheme, rest) = line.split_at(memchr::memchr(b' ', line)?);
            let (when, rest) = word(rest);
            let time_ns = SCHEMES.contains(&scheme).then(|| time(utf8(when)?)).flatten()?;
            ("a load balancer's log", balancer(time_ns, rest))
        }
    };
    Some(said.and_then(Said::line).map_err(|what| format!("missing {what} in a line of {whose}")))
}

impl Said<'_> {
    fn line(self) -> Result<Line, &'static str> {
        let (ip, port) = self.client.ok_or("client address")?;
        let code = logged_status(self.status, self.body_bytes).ok_or("status from 100 to 999")?;
        let mut event = of_client(Client::Ip(ip), self.time_ns);
        event.client.port = port;
        let version = self.request.as_ref().map_or("", |(.., version)| version);
        if let Some((method, target, version)) = &self.request {
            let fields = [
                ("host", &self.host),
                ("referer", &self.referrer),
                ("user-agent", &self.agent),
                ("x-forwarded-for", &self.forwarded),
            ];
            let is_given = |text: &&[u8]| !matches!(*text, b"" | b"-");
            let fields = fields.map(|(name, value)| (name, value.as_deref().filter(is_given)));
            event.request = Some(request(method, target, version, &fields));
        }
        answered(&mut event, code, version, &[]);
        if code.is_some() {
            (event.body_bytes, event.response_bytes) = (self.body_bytes, self.response_bytes);
        }
        Ok(line_of(event))
    }
}

/// Parses `"REQUEST" STATUS FLAGS [DETAILS FAILURE …] RECEIVED SENT TIME TIME "X-FORWARDED-FOR" "USER-AGENT" "ID"
/// "HOST" "UPSTREAM"`, and the addresses that Istio adds. Nothing is escaped: quotes that a client sends must not move
/// the address.
fn envoy(time_ns: u64, rest: &[u8]) -> Result<Said<'_>, &'static str> {
    let rest = rest.strip_prefix(b"\"").ok_or("request")?;
    // No server accepts a blank in a target: the first version ends the request.
    let mut ends = memmem::find_iter(rest, b"\" ");
    let is_end = |end: &usize| {
        let last = rest[..*end].rsplit(|byte| *byte == b' ').next().unwrap_or_default();
        last == b"-" || last.starts_with(b"HTTP/") && last.len() <= 8
    };
    let end = ends.find(is_end).ok_or("request")?;
    let (status, after) = word(&rest[end + 1..]);
    let mut said = Said { time_ns, status: number(status).ok_or("status")?, ..Said::default() };
    said.request = request_of(&rest[..end]);
    // Flags, and in Istio details and a reason in quotes, up to the first of four numbers.
    let mut numbers = word(after).1;
    loop {
        let (next, after) = word(numbers);
        if next.is_empty() || number(next).is_some() {
            break;
        }
        numbers = after;
    }
    let (_received, numbers) = word(numbers);
    let (sent, numbers) = word(numbers);
    said.body_bytes = number(sent);
    let (_duration, numbers) = word(numbers);
    let (_upstream, quotes) = word(numbers);
    let parts: Vec<&[u8]> = quotes.split(|byte| *byte == b'"').collect();
    // Otherwise which quotes are the client's is not known.
    let is_whole = parts.len() == 11;
    let [_, forwarded, _, agent, _, _id, _, host, ..] = parts[..] else { return Err("host") };
    // CLUSTER UPSTREAM-LOCAL LOCAL CLIENT SERVER-NAME ROUTE
    let istio = parts.last().and_then(|tail| tail.trim_ascii().split(|b| *b == b' ').nth(3));
    said.client = istio.and_then(end_point);
    if is_whole {
        (said.agent, said.host) = (Some(agent.to_vec()), Some(host.to_vec()));
    }
    if said.client.is_some() {
        said.forwarded = Some(forwarded.to_vec()).filter(|list| is_whole && is_forwarded(list));
    } else if is_whole {
        // Without the peer, the last address is what Envoy added.
        let comma = memchr::memrchr(b',', forwarded);
        let last = &forwarded[comma.map_or(0, |at| at + 1)..];
        said.client = end_point(last.trim_ascii());
        let before = comma.map(|at| forwarded[..at].to_vec());
        said.forwarded = before.filter(|list| is_forwarded(list));
    }
    Ok(said)
}

/// Parses `[CACHE UPSTREAM-STATUS] STATUS - METHOD SCHEME HOST "TARGET" [Client ADDRESS] [Length BYTES] …
/// "USER-AGENT" "REFERER"`.
fn manager(time_ns: u64, rest: &[u8]) -> Result<Said<'_>, &'static str> {
    let quote = memchr::memchr(b'"', rest).ok_or("request")?;
    let words: Vec<&[u8]> = rest[..quote].trim_ascii_end().split(|byte| *byte == b' ').collect();
    let [.., status, b"-", method, _scheme, host] = words[..] else { return Err("request") };
    let (target, mut rest) = quoted(&rest[quote..]).ok_or("request")?;
    let mut said = Said { time_ns, status: number(status).ok_or("status")?, ..Said::default() };
    said.request = Some((method, target.into(), "")).filter(|_| method != b"-");
    said.host = Some(host.to_vec());
    while let Some(inner) = rest.strip_prefix(b"[") {
        let end = memchr::memchr(b']', inner).ok_or("client address")?;
        let (name, value) = word(&inner[..end]);
        match name {
            b"Client" => said.client = end_point(value),
            b"Length" => said.body_bytes = number(value.trim_ascii()),
            _ => {}
        }
        rest = inner[end + 1..].trim_ascii_start();
    }
    let (agent, rest) = quoted(rest).unwrap_or_default();
    let referrer = quoted(rest).map(|(referrer, _)| referrer);
    (said.agent, said.referrer) = (Some(agent), referrer);
    Ok(said)
}

/// Parses `NAME CLIENT:PORT TARGET:PORT TIME TIME TIME STATUS TARGET-STATUS RECEIVED SENT "REQUEST" "USER-AGENT" …`.
/// The target is always a whole URL.
fn balancer(time_ns: u64, rest: &[u8]) -> Result<Said<'_>, &'static str> {
    let quote = memchr::memchr(b'"', rest).ok_or("request")?;
    let words: Vec<&[u8]> = rest[..quote].trim_ascii().split(|byte| *byte == b' ').collect();
    let [_, client, _, _, _, _, status, _, _, sent] = words[..] else { return Err("columns") };
    let line = &rest[quote + 1..];
    let end = memchr::memchr(b'"', line).ok_or("request")?;
    let status = if status == b"-" { 0 } else { number(status).ok_or("status")? };
    let mut said = Said { client: end_point(client), time_ns, status, ..Said::default() };
    said.response_bytes = number(sent);
    said.request = request_of(&line[..end]);
    if let Some((_, whole, _)) = &mut said.request
        && let Cow::Borrowed(target) = *whole
        && let Some(at) = memmem::find(target, b"://")
    {
        let authority = &target[at + 3..];
        let path = memchr::memchr(b'/', authority).unwrap_or(authority.len());
        let host = &authority[..path];
        let port: &[u8] = if target.starts_with(b"http:") { b":80" } else { b":443" };
        said.host = Some(host.strip_suffix(port).unwrap_or(host).to_vec());
        *whole = if path < authority.len() { &authority[path..] } else { &b"/"[..] }.into();
    }
    said.agent = quoted(line[end + 1..].trim_ascii_start()).map(|(agent, _)| agent);
    Ok(said)
}

/// A request line; `-` stands for the parts of one that was none.
fn request_of(line: &[u8]) -> Option<(&[u8], Cow<'_, [u8]>, &str)> {
    let (method, target, version) = request_line(line).filter(|(method, ..)| *method != b"-")?;
    Some((method, target.into(), version))
}

/// Splits off the first word.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    text.split_at(memchr::memchr(b' ', text).unwrap_or(text.len()))
}

/// An address, with or without a port.
fn end_point(word: &[u8]) -> Option<(IpAddr, u16)> {
    let word = utf8(word)?.trim_ascii();
    socket(word).or_else(|| Some((address(word)?, 0)))
}
