//! Access logs in the combined or the common format, as Apache and nginx write them:
//! `ADDRESS IDENT USER [TIME] "REQUEST" STATUS BYTES "REFERER" "USER-AGENT"`.

use base64::Engine as _;

use super::{Line, NOBODY, address, request, response, status};
use crate::event::{Endpoint, HttpEvent};

pub(super) fn event(line: &[u8]) -> Result<Line, String> {
    let wrong =
        |what: &str| format!("{what}; want a line of json, Zeek's http.log or an access log");
    let mut rest = line;
    let mut word = || {
        let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after.strip_prefix(b" ").unwrap_or(after);
        word
    };
    let (host, _, user) = (word(), word(), word());
    // Some logs put the virtual host in front.
    let host = std::str::from_utf8(host).map_err(|_| wrong("no address"))?;
    let Some(ip) = address(host) else {
        return Err(wrong("no client address at its beginning"));
    };
    let (time, rest) = bracketed(rest).ok_or_else(|| wrong("no [time]"))?;
    let time_ns =
        time_ns(time).ok_or_else(|| wrong("no time such as 10/Oct/2000:13:55:36 -0700"))?;
    let (first, rest) = quoted(rest).ok_or_else(|| wrong("no \"request\""))?;
    let mut words = rest.trim_ascii_start().splitn(3, |b| *b == b' ');
    let number = |text: Option<&[u8]>| {
        std::str::from_utf8(text.unwrap_or_default())
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let code = number(words.next())
        .and_then(status)
        .ok_or_else(|| wrong("no status"))?;
    let bytes = number(words.next());
    let rest = words.next().unwrap_or_default();
    let (referer, rest) = quoted(rest).unwrap_or_default();
    let (agent, _) = quoted(rest).unwrap_or_default();

    let client = Endpoint { ip, port: 0 };
    let mut event = HttpEvent::new(time_ns, client, NOBODY);
    let given = |value: Vec<u8>| Some(value).filter(|v| !v.is_empty() && v != b"-");
    let (referer, agent) = (given(referer), given(agent));
    // The password was never in the log; the name is there because credentials were.
    let authorization = (user != b"-" && !user.is_empty()).then(|| {
        let pair = [user, b":"].concat();
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        format!("Basic {encoded}").into_bytes()
    });
    let mut version = "1.1";
    let last = first.iter().rposition(|b| *b == b' ');
    let (line, named) = first.split_at(last.unwrap_or(first.len()));
    if let Ok(named) = std::str::from_utf8(named.trim_ascii())
        && named.starts_with("HTTP/")
        && let Some(sp) = line.iter().position(|b| *b == b' ')
    {
        version = named;
        let (method, target) = (&line[..sp], &line[sp + 1..]);
        let fields = [
            ("referer", referer.as_deref()),
            ("user-agent", agent.as_deref()),
            ("authorization", authorization.as_deref()),
        ];
        event.request = Some(request(method, target, version, &fields));
    }
    event.response = Some(response(code, b"", version, &[]));
    event.response_start_ns = Some(time_ns);
    event.body_bytes = bytes;
    Ok(Line::Event(Box::new(event)))
}

/// `[…] rest`.
fn bracketed(text: &[u8]) -> Option<(&str, &[u8])> {
    let text = text.strip_prefix(b"[")?;
    let end = text.iter().position(|b| *b == b']')?;
    Some((
        std::str::from_utf8(&text[..end]).ok()?,
        text[end + 1..].trim_ascii_start(),
    ))
}

/// `"…" rest`, with `\"`, `\\` and `\xHH` undone, as both servers write them.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = text.strip_prefix(b"\"")?;
    let mut out = Vec::new();
    loop {
        let (&byte, after) = text.split_first()?;
        text = after;
        match byte {
            b'"' => return Some((out, text.trim_ascii_start())),
            b'\\' => {
                let (&next, after) = text.split_first()?;
                text = after;
                let hex = (next == b'x')
                    .then(|| std::str::from_utf8(text.get(..2)?).ok())
                    .flatten()
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                match (hex, next) {
                    (Some(byte), _) => {
                        out.push(byte);
                        text = &text[2..];
                    }
                    (None, b'n') => out.push(b'\n'),
                    (None, b't') => out.push(b'\t'),
                    (None, b'r') => out.push(b'\r'),
                    (None, other) => out.push(other),
                }
            }
            _ => out.push(byte),
        }
    }
}

fn time_ns(text: &str) -> Option<u64> {
    let at = jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", text).ok()?;
    u64::try_from(at.to_timestamp().ok()?.as_nanosecond()).ok()
}
