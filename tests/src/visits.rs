//! Requests of curl and raw clients to nginx, for every kind of response that it gives by itself.

use std::net::SocketAddr;

use anyhow::Result;

use crate::client::{Raw, Transfer, curl};
use crate::netns::Namespace;

/// curl command lines, one connection each; `@` stands for the server's `http://host`.
const CURLS: &[&str] = &[
    "@/ @/small.txt @/empty.txt @/none @/301 @/204 @/403 @/500 @/502 @/503",
    "--head @/small.txt --head @/none --head @/text.txt",
    "-H If-None-Match:* @/small.txt @/index.html",
    "--compressed @/text.txt",
    "@/page.shtml @/small.txt",
    "--range 0-9 @/small.txt",
    "--range 100- @/small.txt",
    "--http1.0 @/small.txt",
    "--http1.0 @/page.shtml",
    "--header Connection:close @/small.txt",
    "--request PUT --data-binary 0123456789 --header Expect:100-continue @/dav/new @/dav/new",
    "--request DELETE @/dav/new @/dav/new",
    "--request PATCH --data-binary x @/small.txt",
    "--request PROPFIND @/small.txt",
    "--header Transfer-Encoding:chunked --request PUT --data-binary abc @/dav/chunked",
    "--data-binary 01234567890123456789012345678901234567890123456789012345678901234567890123456789\
     01234567890123456789012345678901234567890123456789 @/limited",
    "--header Expect:100-continue --data-binary \
     0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123\
     45678901234567890123456789 @/limited",
    "@/444",
    "@/proxy/small.txt @/proxy/none @/proxy/text.txt",
    "@/a%20b/..%2f?q=%22'<> @//double//slash @/x;y=z,w",
];

/// Makes every visit to nginx at `host` (an address in URL form) and returns what curl saw.
pub fn curls(client: &Namespace, host: &str) -> Result<Vec<Transfer>> {
    let mut seen = Vec::new();
    for line in CURLS {
        let line = line.replace('@', &format!("http://{host}"));
        seen.extend(curl(client, &line.split_whitespace().collect::<Vec<_>>())?);
    }
    Ok(seen)
}

/// What only raw sockets do: pipelining, and requests that nginx refuses. Returns the number of responses.
pub fn raws(client: &Namespace, server: SocketAddr) -> Result<usize> {
    let pipelined =
        b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\nHEAD /text.txt HTTP/1.1\r\nHost: a\r\n\r\n\
        GET /none HTTP/1.1\r\nHost: a\r\n\r\nGET /204 HTTP/1.1\r\nHost: a\r\n\r\n\
        GET /small.txt?last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let all: [&[u8]; 6] = [
        pipelined,
        b"GET /no-host HTTP/1.1\r\n\r\n",
        b"GET /small.txt HTTP/1.1\nHost: bare\nConnection: close\n\n",
        b"\r\n\r\nGET /small.txt HTTP/1.0\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET /two hosts HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ];
    let mut responses = 0;
    for bytes in all {
        let mut raw = Raw::connect(client, server)?;
        raw.send(bytes)?;
        responses += raw.drain()?;
    }
    Ok(responses)
}
