//! Messages of a generated conversation: their construction, encoding and truth.

use std::borrow::Cow;

use crate::scene::{End, Transaction};

pub(super) type Field = (Cow<'static, str>, Vec<u8>);

/// Bytes computed from a length and a seed, so that shrinking stays fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) len: usize,
    pub(super) seed: u64,
    pub(super) lookalike: bool,
}

impl Content {
    pub(super) fn bytes(self) -> Vec<u8> {
        const MESSAGE: &[u8] =
            b"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        if self.lookalike {
            return MESSAGE.iter().copied().cycle().skip(4).take(self.len).collect();
        }
        let mut state = self.seed | 1;
        (0..self.len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 24) as u8
            })
            .collect()
    }
}

/// The chunked coding of a body (RFC 9112 §7.1).
#[derive(Clone, Debug)]
pub(super) struct Chunking {
    pub(super) sizes: Vec<usize>,
    pub(super) extension: &'static str,
    pub(super) upper_case: bool,
    pub(super) zeros: usize,
    pub(super) trailers: Vec<Field>,
}

impl Chunking {
    pub(super) fn encode(&self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = body;
        let mut sizes = self.sizes.iter().copied().cycle();
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
            rest = later;
            let size = if self.upper_case {
                format!("{:X}", chunk.len())
            } else {
                format!("{:x}", chunk.len())
            };
            out.extend_from_slice("0".repeat(self.zeros).as_bytes());
            out.extend_from_slice(size.as_bytes());
            out.extend_from_slice(self.extension.as_bytes());
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n");
        for (name, value) in &self.trailers {
            field_line(&mut out, name, value, b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

#[derive(Clone, Debug)]
pub(super) enum Framing {
    Length(Content),
    Chunked(Content, Chunking),
    UntilClose(Content),
}

#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) request_minor: u8,
    pub(super) request_fields: Vec<Field>,
    pub(super) request_body: Option<(Content, Option<Chunking>)>,
    pub(super) wait_for_continue: bool,
    pub(super) answer_early: bool,
    pub(super) informational: Vec<(u16, Vec<Field>)>,
    pub(super) minor: u8,
    pub(super) status: u16,
    pub(super) reason: &'static str,
    pub(super) fields: Vec<Field>,
    pub(super) framing: Framing,
    pub(super) bare_lf: bool,
    pub(super) fold: bool,
    pub(super) empty_line_before: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Finish {
    ClientFirst,
    ServerFirst,
    ServerReset,
    TimeoutResponse,
    Nothing,
}

pub(super) fn field_line(out: &mut Vec<u8>, name: &str, value: &[u8], eol: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(eol);
}

impl Exchange {
    pub(super) fn eol(&self) -> &'static [u8] {
        if self.bare_lf { b"\n" } else { b"\r\n" }
    }

    /// Head and body of the request.
    pub(super) fn request(&self) -> (Vec<u8>, Vec<u8>) {
        let mut head = Vec::new();
        if self.empty_line_before {
            head.extend_from_slice(b"\r\n");
        }
        let line = format!("{} {} HTTP/1.{}\r\n", self.method, self.target, self.request_minor);
        head.extend_from_slice(line.as_bytes());
        field_line(&mut head, "Host", b"shop.example", b"\r\n");
        for (name, value) in &self.request_fields {
            field_line(&mut head, name, value, b"\r\n");
        }
        if self.wait_for_continue {
            field_line(&mut head, "Expect", b"100-continue", b"\r\n");
        }
        let body = match &self.request_body {
            None => Vec::new(),
            Some((content, None)) => {
                let length = content.len.to_string();
                field_line(&mut head, "Content-Length", length.as_bytes(), b"\r\n");
                content.bytes()
            }
            Some((content, Some(chunking))) => {
                field_line(&mut head, "Transfer-Encoding", b"chunked", b"\r\n");
                chunking.encode(&content.bytes())
            }
        };
        head.extend_from_slice(b"\r\n");
        (head, body)
    }

    pub(super) fn tunnels(&self) -> bool {
        self.status == 101 || (self.method == "CONNECT" && (200..300).contains(&self.status))
    }

    pub(super) fn bodiless(&self) -> bool {
        self.method == "HEAD" || self.status == 204 || self.status == 304 || self.tunnels()
    }

    pub(super) fn closes(&self) -> bool {
        self.tunnels() || (!self.bodiless() && matches!(self.framing, Framing::UntilClose(_)))
    }

    /// The 1xx heads, the final head with its body, and the truth about both.
    pub(super) fn response(&self) -> (Vec<u8>, Vec<u8>, Transaction) {
        let mut before = Vec::new();
        for (status, fields) in &self.informational {
            before.extend_from_slice(format!("HTTP/1.1 {status} Wait\r\n").as_bytes());
            for (name, value) in fields {
                field_line(&mut before, name, value, b"\r\n");
            }
            before.extend_from_slice(b"\r\n");
        }
        let mut truth = Transaction::new(self.method, &self.target, self.status, self.reason)
            .after(&self.informational.iter().map(|(status, _)| *status).collect::<Vec<_>>())
            .minor(self.minor);
        let mut fields = self.fields.clone();
        let mut body = Vec::new();
        let (bytes, end) = match &self.framing {
            _ if self.status == 204 => (0, End::None),
            Framing::Length(content) => {
                fields.push(("Content-Length".into(), content.len.to_string().into_bytes()));
                body = content.bytes();
                (content.len, End::Length)
            }
            Framing::Chunked(content, chunking) => {
                fields.push(("Transfer-Encoding".into(), b"chunked".to_vec()));
                body = chunking.encode(&content.bytes());
                (content.len, End::Chunked)
            }
            Framing::UntilClose(content) => {
                body = content.bytes();
                (content.len, End::Close)
            }
        };
        truth = if self.tunnels() {
            truth.body(0, End::Tunnel)
        } else if self.bodiless() {
            truth.body(0, End::None)
        } else {
            truth.body(bytes as u64, end)
        };
        let mut out = Vec::new();
        out.extend_from_slice(format!("HTTP/1.{} {} ", self.minor, self.status).as_bytes());
        out.extend_from_slice(self.reason.as_bytes());
        out.extend_from_slice(self.eol());
        for (name, value) in &fields {
            field_line(&mut out, name, value, self.eol());
            truth = truth.header(name.as_bytes(), value.clone());
        }
        if self.fold {
            out.extend_from_slice(b"X-Folded: one\r\n \t two\r\n");
            truth = truth.header("X-Folded", "one two").flag("obs_fold");
        }
        if self.bare_lf {
            truth = truth.flag("bare_lf");
        }
        out.extend_from_slice(self.eol());
        if !self.bodiless() {
            out.extend_from_slice(&body);
        }
        (before, out, truth)
    }
}
