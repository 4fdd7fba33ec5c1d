//! Anything a client may send, in a line of each log format as its writer escapes it: the line is one event
//! with the server's client address, status and time, and with the user agent that was sent.
//!
//! The first byte selects the format; the lines after it are request line, referrer, user agent and user.
#![no_main]

use http_trace::recorded::Recorded;
use libfuzzer_sys::fuzz_target;

/// Escapes as nginx and Apache do in text logs.
fn hex(bytes: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b'"' | b'\\' | 0..=31 | 127.. => format!("\\x{byte:02X}").into_bytes(),
        byte => vec![*byte],
    };
    bytes.iter().flat_map(escape).collect()
}

/// Escapes as nginx does with `escape=json`, which leaves bytes that are not UTF-8.
fn json(bytes: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b'"' | b'\\' => vec![b'\\', *byte],
        0..=31 => format!("\\u{byte:04X}").into_bytes(),
        byte => vec![*byte],
    };
    bytes.iter().flat_map(escape).collect()
}

/// Escapes as Suricata does.
fn eve(bytes: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b'"' | b'\\' => vec![b'\\', *byte],
        0..=31 | 127.. => format!("\\\\x{byte:02x}").into_bytes(),
        byte => vec![*byte],
    };
    bytes.iter().flat_map(escape).collect()
}

/// Escapes as CloudFront does.
fn percent(bytes: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b'-' | b'.' | b'/' => vec![*byte],
        byte if byte.is_ascii_alphanumeric() => vec![*byte],
        byte => format!("%{byte:02X}").into_bytes(),
    };
    bytes.iter().flat_map(escape).collect()
}

/// A target as Envoy takes it, without blanks.
fn target(bytes: &[u8]) -> Vec<u8> {
    let is_taken = |byte: &&u8| !byte.is_ascii_whitespace() && **byte != 0;
    bytes.iter().filter(is_taken).copied().collect()
}

fuzz_target!(|data: &[u8]| {
    let Some((form, rest)) = data.split_first() else {
        return;
    };
    let mut values = rest.splitn(4, |b| *b == b'\n');
    let mut value = || {
        let value = values.next().unwrap_or_default();
        &value[..value.len().min(4096)]
    };
    let (request, referrer, agent, user) = (value(), value(), value(), value());
    if rest.iter().filter(|b| **b == b'\n').count() > 3 || user.contains(&b'\n') {
        return;
    }
    let mut line: Vec<u8> = match form / 4 % 4 {
        0 => b"".to_vec(),
        1 => b"<190>Nov 23 09:51:57 vm nginx: ".to_vec(),
        2 => b"<13>1 2026-11-23T09:52:41Z vm nginx - - [a b=\"c\"] ".to_vec(),
        _ => b"2026-11-23T09:51:57+00:00 vm nginx[3]: ".to_vec(),
    };
    let format = form % 4 + form / 16 % 2 * 4;
    match format {
        0 => {
            line.extend(b"192.0.2.7 - ");
            line.extend(match user {
                b"" => b"-".to_vec(),
                user => hex(user),
            });
            line.extend(b" [23/Nov/2026:09:51:57 +0000] \"");
            line.extend(hex(request));
            line.extend(b"\" 404 153 \"");
            line.extend(hex(referrer));
            line.extend(b"\" \"");
            line.extend(hex(agent));
            line.push(b'"');
        }
        1 | 2 => {
            let escape = if format == 1 { json } else { hex };
            line.extend(
                b"{\"msec\":1795427517.000,\"remote_addr\":\"192.0.2.7\",\"remote_user\":\"",
            );
            line.extend(escape(user));
            line.extend(b"\",\"request\":\"");
            line.extend(escape(request));
            line.extend(b"\",\"status\":404,\"http_referer\":\"");
            line.extend(escape(referrer));
            line.extend(b"\",\"http_user_agent\":\"");
            line.extend(escape(agent));
            line.extend(b"\"}");
        }
        3 => {
            line = b"{\"timestamp\":\"2026-11-23T09:51:57.000000+0000\",\"event_type\":\"http\",\"src_ip\":\"192.0.2.7\",\"dest_ip\":\"192.0.2.8\",\"http\":{\"http_method\":\"GET\",\"url\":\"".to_vec();
            line.extend(eve(request));
            line.extend(b"\",\"status\":404,\"http_user_agent\":\"");
            line.extend(eve(agent));
            line.extend(b"\"}}");
        }
        4 => {
            line.extend(
                b"{\"@timestamp\":\"2026-11-23T09:51:57Z\",\"event\":{\"kind\":\"event\",\"module\":\"nginx\"},\"source\":{\"address\":\"192.0.2.7\"},\"http\":{\"request\":{\"method\":\"GET\"},\"response\":{\"status_code\":404}},\"user\":{\"name\":\"",
            );
            line.extend(json(user));
            line.extend(b"\"},\"url.original\":\"");
            line.extend(json(request));
            line.extend(b"\",\"user_agent\":{\"original\":\"");
            line.extend(json(agent));
            line.extend(b"\"}}");
        }
        5 => {
            line.extend(b"[23/Nov/2026:09:51:57 +0000] - 404 404 - GET https h.example \"");
            line.extend(hex(request));
            line.extend(b"\" [Client 192.0.2.7] [Length 153] [Gzip -] [Sent-to web] \"");
            line.extend(hex(agent));
            line.extend(b"\" \"");
            line.extend(hex(referrer));
            line.push(b'"');
        }
        6 => {
            line.extend(b"[2026-11-23T09:51:57.000Z] \"GET /");
            line.extend(target(request));
            line.extend(b" HTTP/1.1\" 404 - via_upstream - \"-\" 0 153 5 4 \"");
            line.extend(referrer);
            line.extend(b"\" \"");
            line.extend(agent);
            line.extend(b"\" \"id\" \"h.example\" \"10.0.0.5:80\" inbound|80|| 127.0.0.6:1 10.0.0.5:80 192.0.2.7:40 - default");
        }
        _ => {
            line = b"#Fields: date time x-edge-location c-ip cs-method cs-uri-stem cs-username cs(User-Agent) sc-status\n2026-11-23\t09:51:57\tFRA\t192.0.2.7\tGET\t/".to_vec();
            line.extend(percent(request));
            line.push(b'\t');
            line.extend(percent(user));
            line.push(b'\t');
            line.extend(percent(agent));
            line.extend(b"\t404");
        }
    }
    let mut events = Recorded::new(&line[..]);
    let event = events.next().expect("a line").expect("an event");
    assert!(events.next().is_none());
    assert_eq!(event.client.ip.to_string(), "192.0.2.7");
    assert_eq!(event.response.expect("a response").status, 404);
    assert_eq!(event.time_ns, 1_795_427_517_000_000_000);
    if let Some(request) = event.request
        && !matches!(agent, b"" | b"-")
        // Suricata does not tell a client's backslashes from its own.
        && (format != 3 || !agent.contains(&b'\\'))
        // Nor Envoy a client's quotes.
        && (format != 6 || ![referrer, agent].concat().contains(&b'"'))
    {
        assert_eq!(request.headers.first("user-agent"), Some(agent));
    }
});
