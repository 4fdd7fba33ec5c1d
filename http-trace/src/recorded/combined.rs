//! Access logs in combined or common format, as written by Apache and nginx:
//! `[VHOST[:PORT]] [X-FORWARDED-FOR] ADDRESS IDENT USER [TIME] "REQUEST" STATUS BYTES "REFERER" "USER-AGENT"
//! ["X-FORWARDED-FOR"]`, where the last is that of nginx's example of a `log_format`, and the first is logged before or
//! instead of the address behind a load balancer, also in quotes or parentheses. Numbers before the referrer, such as
//! times, are passed over.

use std::net::IpAddr;

use jiff::fmt::strtime;

use super::parts::{
    Client, Line, address, answered, is_forwarded, line_of, logged_status, number, of_client,
    request, seconds, socket, time, utf8,
};
use http_trace_model::field::draft::basic;
use http_trace_model::value::hex;

/// Maximum length of the time in brackets.
const LONGEST_TIME: usize = 40;

pub(super) fn event(line: &[u8]) -> Result<Line, String> {
    let wrong = |what: &str| {
        format!(
            "{what}; want a line of http-trace's json, Zeek's http.log, Suricata's eve.json or an \
             access log"
        )
    };
    let Origin { vhost, forwarded: before, client, port, rest } = origin(line)
        .or_else(|| with_port(line))
        .or_else(|| named(line))
        .ok_or_else(|| wrong("missing client address at the start"))?;
    let (ident, rest) = split(rest);
    // lighttpd's default has the host there.
    let vhost = vhost.or_else(|| Some(ident).filter(|ident| is_host(ident)));
    let (user, time_ns, rest) = before_time(rest)
        .ok_or_else(|| wrong("missing or invalid time, such as [10/Oct/2000:13:55:36 -0700]"))?;
    let user = past_own_address(user, &client);
    let (first, rest) = quoted(rest).ok_or_else(|| wrong("missing \"request\""))?;
    let mut words = rest.trim_ascii_start().splitn(3, |b| *b == b' ');
    let (code, bytes) = (words.next().and_then(number), words.next().and_then(number));
    let code = code
        .and_then(|code| logged_status(code, bytes))
        .ok_or_else(|| wrong("missing status from 100 to 999, or 000 for none"))?;
    let rest = words.next().unwrap_or_default();
    let (referer, rest) = match past_numbers(rest) {
        // A referrer that is not known may stand without quotes.
        behind if behind.len() < rest.len() && !has_two(behind) => (Vec::new(), behind),
        behind => quoted(behind).unwrap_or_default(),
    };
    let (agent, rest) = quoted(rest).unwrap_or_default();
    let forwarded = quoted(rest).map(|(value, _)| value);
    let forwarded = before.or(forwarded.filter(|value| is_forwarded(value)));

    let mut event = of_client(client, time_ns);
    event.client.port = port;
    let given = |value: Vec<u8>| Some(value).filter(|v| !v.is_empty() && v != b"-");
    let (referer, agent) = (given(referer), given(agent));
    // The log never contains the password; a user name shows that credentials were sent.
    let authorization = (user != b"-" && !user.is_empty()).then(|| basic(&unescaped(user)));
    let request_line = request_line(&first);
    let version = request_line.map_or("", |(.., version)| version);
    if let Some((method, target, version)) = request_line {
        let fields = [
            ("host", vhost.map(|vhost| vhost.strip_suffix(b":80").unwrap_or(vhost))),
            ("referer", referer.as_deref()),
            ("user-agent", agent.as_deref()),
            ("authorization", authorization.as_deref()),
            ("x-forwarded-for", forwarded.as_deref()),
        ];
        event.request = Some(request(method, target, version, &fields));
    }
    answered(&mut event, code, version, &[]);
    event.body_bytes = bytes.filter(|_| code.is_some());
    Ok(line_of(event))
}

/// Splits off the first word, and the space after it.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b' ', text).unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    (word, after.strip_prefix(b" ").unwrap_or(after))
}

/// What follows the numbers at the start of a text; `-` stands for one that is not known.
fn past_numbers(mut text: &[u8]) -> &[u8] {
    while let Some(b'0'..=b'9' | b'-') = text.first() {
        text = split(text).1;
    }
    text
}

fn has_two(text: &[u8]) -> bool {
    quoted(text).is_some_and(|(_, rest)| quoted(rest).is_some())
}

/// What a line has before the name of the user.
struct Origin<'a> {
    vhost: Option<&'a [u8]>,
    /// X-Forwarded-For without its last address if no other follows: the load balancer wrote that one.
    forwarded: Option<Vec<u8>>,
    client: Client<'a>,
    /// 0 where it is not known.
    port: u16,
    rest: &'a [u8],
}

fn origin(line: &[u8]) -> Option<Origin<'_>> {
    if let Some((value, rest)) = enclosed(line) {
        let (mut list, _, rest) = addresses(rest);
        let forwarded = Some(value).filter(|value| is_forwarded(value));
        return Some(Origin {
            vhost: None,
            forwarded,
            client: Client::Ip(list.pop()?),
            port: 0,
            rest,
        });
    }
    let (first, after) = split(line);
    let (mut vhost, (mut list, is_joined, rest)) = match addresses(line) {
        (list, ..) if list.is_empty() => (Some(first), addresses(after)),
        found => (None, found),
    };
    let ip = list.pop()?;
    // A name may be an address, too; load balancers have private ones.
    let is_name = |of: &IpAddr| !is_joined && (!is_private(ip) || is_private(*of));
    let is_vhost = vhost.is_none() && list.len() == 1 && list.iter().all(is_name);
    if is_vhost {
        vhost = Some(first);
        list.clear();
    }
    let forwarded = list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Some(Origin {
        vhost: vhost.filter(|vhost| *vhost != b"-"),
        forwarded: (!list.is_empty()).then_some(forwarded.into_bytes()),
        client: Client::Ip(ip),
        port: 0,
        rest,
    })
}

/// A line that begins with `ADDRESS:PORT`.
fn with_port(line: &[u8]) -> Option<Origin<'_>> {
    let (first, rest) = split(line);
    let (ip, port) = socket(utf8(first)?)?;
    Some(Origin { vhost: None, forwarded: None, client: Client::Ip(ip), port, rest })
}

/// Whether a word is the name of a host in a domain, with or without a port.
fn is_host(word: &[u8]) -> bool {
    let (name, port) = word.split_at(memchr::memchr(b':', word).unwrap_or(word.len()));
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let is_port = port.iter().skip(1).all(u8::is_ascii_digit);
    let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    let is_domain = last.len() >= 2 && last.iter().all(u8::is_ascii_alphabetic);
    name.contains(&b'.') && is_domain && name.iter().all(is_name) && is_port
}

/// Splits off X-Forwarded-For in quotes or parentheses.
fn enclosed(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(text) = line.strip_prefix(b"(") else { return quoted(line) };
    let (value, rest) = text.split_at(memchr::memchr(b')', text)?);
    Some((value.to_vec(), rest[1..].trim_ascii_start()))
}

/// A line with a name in place of the address: `[VHOST] NAME IDENT USER [TIME]`, where nearly no client has an IDENT.
fn named(line: &[u8]) -> Option<Origin<'_>> {
    let (first, after) = split(line);
    let (second, behind) = split(after);
    let is_second = second != b"-" && behind.starts_with(b"- ");
    let (vhost, name, rest) =
        if is_second { (Some(first), second, behind) } else { (None, first, after) };
    before_time(split(rest).1)?;
    Some(Origin { vhost, forwarded: None, client: Client::named(name)?, port: 0, rest })
}

/// The addresses at the start of a text, whether commas join them, and what follows.
fn addresses(mut text: &[u8]) -> (Vec<IpAddr>, bool, &[u8]) {
    let (mut list, mut is_joined) = (Vec::new(), false);
    loop {
        let (word, after) = split(text);
        let bare = word.strip_suffix(b",").unwrap_or(word);
        is_joined |= bare.len() < word.len();
        match utf8(bare).and_then(address) {
            Some(ip) => list.push(ip),
            // The name of a proxy's client that is not known (RFC 7239 §6.2, §6.3).
            None if bare.len() < word.len() => {}
            None => return (list, is_joined, text),
        }
        text = after;
    }
}

/// Whether an address is of a private network (RFC 1918, RFC 4193) or of this host.
const fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback(),
    }
}

/// Splits `METHOD TARGET HTTP/1.1`, or `METHOD TARGET` with an empty version, as servers answer it, too (HTTP/0.9). Targets
/// may contain spaces.
pub(super) fn request_line(line: &[u8]) -> Option<(&[u8], &[u8], &str)> {
    let last = line.iter().rposition(|b| *b == b' ')?;
    let version = utf8(&line[last + 1..]);
    if let Some(version) = version.filter(|version| version.starts_with("HTTP/"))
        && line[..last].contains(&b' ')
    {
        let (method, target) = split(&line[..last]);
        return Some((method, target, version));
    }
    let (method, target) = split(line);
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
    let is_one = is_method && target.starts_with(b"/");
    is_one.then_some((method, target, ""))
}

/// Parses `USER [TIME] rest`. The client chooses the user name, which may contain spaces and brackets: its
/// end is found by the time and the quote after it, which servers escape in names.
fn before_time(text: &[u8]) -> Option<(&[u8], u64, &[u8])> {
    let mut unquoted = None;
    for open in memchr::memchr_iter(b'[', text) {
        let inside = &text[open + 1..text.len().min(open + 1 + LONGEST_TIME)];
        if !inside.first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        let Some(len) = memchr::memchr(b']', inside) else {
            continue;
        };
        let time = utf8(&inside[..len]).and_then(any_time);
        let Some(time) = time else {
            continue;
        };
        let rest = text[open + 1 + len + 1..].trim_ascii_start();
        let found = (text[..open].trim_ascii_end(), time, rest);
        if rest.first() == Some(&b'"') {
            return Some(found);
        }
        unquoted.get_or_insert(found);
    }
    unquoted
}

/// Strips `[ADDRESS] - `, which older versions of Kubernetes' ingress-nginx write before the user. A user of that name
/// gains nothing: it must have the address of the client.
fn past_own_address<'a>(text: &'a [u8], client: &Client<'_>) -> &'a [u8] {
    let after = || {
        let inside = text.strip_prefix(b"[")?;
        let (inside, after) = inside.split_at(memchr::memchr(b']', inside)?);
        let ip = utf8(inside).and_then(address)?;
        after.strip_prefix(b"] - ").filter(|_| matches!(client, Client::Ip(own) if *own == ip))
    };
    after().unwrap_or(text)
}

/// Undoes the server's escaping of a name.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = escaped(after).filter(|_| byte == b'\\').unwrap_or((byte, after));
        out.push(byte);
        rest = after;
    }
    out
}

/// Parses `"…" rest`, undoing `\"`, `\\` and `\xHH`, as written by both servers, and the letters of Apache.
pub(super) fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = text.strip_prefix(b"\"")?;
    let mut out = Vec::new();
    loop {
        let (&byte, after) = text.split_first()?;
        text = after;
        match byte {
            b'"' => return Some((out, text.trim_ascii_start())),
            b'\\' => {
                let (byte, after) = escaped(text).unwrap_or((byte, text));
                out.push(byte);
                text = after;
            }
            _ => out.push(byte),
        }
    }
}

/// The byte encoded after a backslash, and the rest; `None` if a writer without escaping left the backslash there.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (&next, after) = text.split_first()?;
    let byte = after.get(..2).and_then(hex).filter(|_| next == b'x');
    Some(match (byte, next) {
        (Some(byte), _) => (byte, &after[2..]),
        (None, b'n') => (b'\n', after),
        (None, b't') => (b'\t', after),
        (None, b'r') => (b'\r', after),
        (None, b'v') => (0x0b, after),
        (None, b'b') => (0x08, after),
        (None, b'"' | b'\\') => (next, after),
        (None, _) => return None,
    })
}

/// Parses a time as a format may have it in brackets: that of the common format, of ISO 8601, or seconds with decimals.
fn any_time(text: &str) -> Option<u64> {
    let decimal = || seconds(text).filter(|_| text.contains('.'));
    clf_time(text).or_else(|| time(text)).or_else(decimal)
}

/// Parses `10/Oct/2000:13:55:36 -0700`, with or without decimals. Python's servers and HAProxy leave out the zone; it
/// is taken for UTC.
pub(super) fn clf_time(text: &str) -> Option<u64> {
    let at = match strtime::parse("%d/%b/%Y:%H:%M:%S%.f %z", text) {
        Ok(at) => at.to_timestamp().ok()?,
        Err(_) => {
            let mut local = ["%d/%b/%Y:%H:%M:%S%.f", "%d/%b/%Y %H:%M:%S%.f"].into_iter();
            let at = local.find_map(|format| strtime::parse(format, text).ok()?.to_datetime().ok());
            at?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()
        }
    };
    u64::try_from(at.as_nanosecond()).ok()
}
