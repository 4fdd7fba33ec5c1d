//! Node's http server, for behaviour that only it has, and the requests that trigger it.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::client::Raw;
use crate::need::program;
use crate::netns::{Namespace, Running};
use crate::seen::Seen;

/// Starts the server on `address` and waits until it listens.
pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Running> {
    let mut command = Command::new(program("node").context("node is not installed")?);
    command.args(["-e", include_str!("node_server.js"), "-"]);
    command.args([address.ip().to_string(), address.port().to_string()]);
    let mut running = namespace.spawn(command.stdout(Stdio::piped()))?;
    running.first_line()?;
    Ok(running)
}

/// One request of a visit, and what must be reported for its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    pub method: &'static str,
    pub target: &'static str,
    /// Further field lines, each with its CRLF.
    pub fields: &'static str,
    /// Bytes after the head.
    pub body: &'static str,
    /// 1xx codes before the final status.
    pub informational: &'static [u16],
    /// Final status.
    pub status: u16,
}

const fn get(target: &'static str, informational: &'static [u16], status: u16) -> Visit {
    Visit { method: "GET", target, fields: "", body: "", informational, status }
}

/// The visits, one list per connection; the last request of each ends the connection.
pub const VISITS: &[&[Visit]] = &[
    &[
        get("/hints", &[103], 200),
        get("/processing", &[102, 103], 503),
        get("/trailers", &[], 200),
        get("/cookies", &[], 418),
        Visit {
            method: "PATCH",
            target: "/resource",
            fields: "Content-Length: 3\r\nExpect: 100-continue\r\n",
            body: "new",
            informational: &[100],
            status: 200,
        },
        Visit { method: "HEAD", fields: "Connection: close\r\n", ..get("/head", &[], 200) },
    ],
    &[get("/abort", &[], 200)],
    &[Visit {
        fields: "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        ..get("/socket", &[], 101)
    }],
    &[Visit {
        method: "CONNECT",
        body: "GET / HTTP/1.1\r\n\r\n",
        ..get("db.example:5432", &[], 200)
    }],
];

/// Makes every visit and returns the client's address of each connection.
pub fn visit(client: &Namespace, server: SocketAddr) -> Result<Vec<SocketAddr>> {
    let mut clients = Vec::new();
    for visits in VISITS {
        let mut raw = Raw::connect(client, server)?;
        clients.push(raw.address()?);
        for visit in *visits {
            let Visit { method, target, fields, body, .. } = visit;
            let head = format!("{method} {target} HTTP/1.1\r\nHost: node.example\r\n{fields}\r\n");
            raw.send(head.as_bytes())?;
            if visit.status != 101 && !body.is_empty() {
                std::thread::sleep(std::time::Duration::from_millis(50));
                raw.send(body.as_bytes())?;
            }
            // The tracer reports which response it was; here it must only arrive.
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        // The server may end with a reset on purpose.
        let _ = raw.drain();
    }
    Ok(clients)
}

/// Fails unless the header values that only Node sends are those of `node_server.js`.
///
/// # Panics
/// Otherwise.
pub fn check_fields(seen: &[Seen]) {
    let of = |target: &str| {
        let asked = |s: &&Seen| s.request.as_ref().is_some_and(|(_, t)| t == target);
        seen.iter().find(asked).expect("its response")
    };
    let links = |target: &str| -> Vec<Value> {
        let heads = of(target).json["http_trace"]["informational"].as_array();
        let heads = heads.into_iter().flatten();
        heads.map(|head| head["headers"]["link"].clone()).collect()
    };
    let both = "</a.css>; rel=preload; as=style, </b.js>; rel=preload";
    assert_eq!(links("/hints"), [json!([both])]);
    let of_103 = json!(["</c.css>; rel=preload"]);
    assert_eq!(links("/processing"), [Value::Null, of_103]);
    let trailed = &of("/trailers").headers;
    assert_eq!(trailed["trailer"], ["Server-Timing, X-Digest"]);
    // Trailers are framing: their fields are not in the head (RFC 9110 section 6.5).
    assert!(!trailed.contains_key("server-timing") && !trailed.contains_key("x-digest"));
    assert_eq!(of("/cookies").headers["set-cookie"], ["a=1", "b=2; Path=/"]);
}
