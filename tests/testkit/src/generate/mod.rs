//! Random HTTP/1.x conversations with known truth.
//!
//! The strategies build messages by RFC 9112's grammar and turn them into a [`Scene`]. The truth follows from
//! how messages were built, never from parsing.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::scene::{End, Scene, Side, Step, Transaction};

use message::{Chunking, Content, Exchange, Field, Finish, Framing};

mod message;

/// What may occur in a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Maximum number of exchanges on the connection.
    pub exchanges: usize,
    /// Whether bodies may contain whole responses. After a loss such a body cannot be told from a message.
    pub lookalikes: bool,
    /// Whether to use bare LF, obs-fold and empty lines before a message (RFC 9112 §2.2, §5.2).
    pub leniencies: bool,
    /// Maximum body length in bytes.
    pub body: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { exchanges: 6, lookalikes: true, leniencies: true, body: 20_000 }
    }
}

fn fields() -> impl Strategy<Value = Vec<Field>> {
    let name = prop_oneof![
        select(vec![
            "Server", "date", "Content-Type", "ETag", "Vary", "Set-Cookie", "X-Request-ID",
            "cache-control", "Age", "Content-Encoding", "Connection-Info", "Content-Lengthy",
        ])
        .prop_map(Cow::Borrowed),
        "[A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~]{0,12}".prop_map(Cow::Owned),
    ];
    let value = prop_oneof![
        8 => "([!-~]([ -~]{0,40}[!-~])?)?".prop_map(String::into_bytes),
        1 => vec(0x80u8..=0xff, 1..8),
        1 => (100usize..6000).prop_map(|n| vec![b'v'; n]),
    ];
    // A random name must not be one that frames or ends the message.
    let harmless = |(name, _): &Field| {
        !["content-length", "transfer-encoding", "connection", "upgrade", "te", "expect"]
            .contains(&name.to_ascii_lowercase().as_str())
    };
    vec((name, value).prop_filter("frames the message", harmless), 0..8)
}

fn content(options: Options) -> impl Strategy<Value = Content> {
    let len = prop_oneof![
        2 => Just(0),
        6 => 1usize..300,
        2 => 300usize..options.body.max(301),
    ];
    (len, any::<u64>(), prop::bool::weighted(if options.lookalikes { 0.2 } else { 0.0 }))
        .prop_map(|(len, seed, lookalike)| Content { len, seed, lookalike })
}

fn chunking() -> impl Strategy<Value = Chunking> {
    (
        vec(prop_oneof![3 => 1usize..20, 2 => 20usize..2000, 1 => 2000usize..9000], 1..5),
        select(vec!["", "", "", ";name", ";a=b;c=\"d e\"", " ;x", ";q=\";\\\"\""]),
        any::<bool>(),
        0usize..3,
        prop_oneof![3 => Just(Vec::new()), 1 => fields()],
    )
        .prop_map(|(sizes, extension, upper_case, zeros, trailers)| Chunking {
            sizes,
            extension,
            upper_case,
            zeros,
            trailers,
        })
}

fn framing(options: Options) -> impl Strategy<Value = Framing> {
    prop_oneof![
        5 => content(options).prop_map(Framing::Length),
        4 => (content(options), chunking()).prop_map(|(c, k)| Framing::Chunked(c, k)),
        1 => content(options).prop_map(Framing::UntilClose),
    ]
}

fn exchange(options: Options) -> impl Strategy<Value = Exchange> {
    let leniency = if options.leniencies { 0.1 } else { 0.0 };
    let method = select(vec![
        "GET", "GET", "GET", "GET", "HEAD", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS",
        "PATCH", "CONNECT", "M-SEARCH", "PROPFIND",
    ]);
    let status = prop_oneof![
        6 => Just(200u16),
        6 => select(vec![101, 201, 204, 204, 206, 301, 304, 304, 400, 404, 413, 429, 500, 503]),
        1 => 200u16..=999,
    ];
    let request = (
        method,
        "/[a-z0-9._~%-]{0,20}(\\?[a-z]=[0-9]{1,6})?",
        prop::bool::weighted(0.15),
        fields(),
        prop::option::weighted(0.5, (content(options), prop::option::weighted(0.4, chunking()))),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
    );
    let response = (
        vec((select(vec![100u16, 102, 103, 199]), fields()), 0..3),
        prop::bool::weighted(0.15),
        status,
        select(vec!["OK", "Not Found", "", "Very odd: reason, 100%", "gr\u{fc}n"]),
        fields(),
        framing(options),
        prop::bool::weighted(leniency),
        prop::bool::weighted(leniency),
        prop::bool::weighted(leniency),
    );
    (request, response).prop_map(|(request, response)| {
        let (method, target, old_request, request_fields, request_body, waits, early) = request;
        let (informational, old, status, reason, fields, framing, bare_lf, fold, empty_line) =
            response;
        let carries = ["POST", "PUT", "PATCH", "PROPFIND"].contains(&method);
        let request_body = request_body
            .filter(|_| carries)
            .map(|(content, chunking)| (content, chunking.filter(|_| !old_request)));
        // Chunked in HTTP/1.0 is faulty framing (RFC 9112 §6.1), which is not generated here.
        let minor = u8::from(!old || matches!(framing, Framing::Chunked(..)));
        Exchange {
            target: if method == "CONNECT" { "db.example:443".into() } else { target },
            method,
            request_minor: u8::from(!old_request),
            request_fields,
            wait_for_continue: waits && request_body.is_some(),
            answer_early: early && request_body.is_some(),
            request_body,
            informational,
            minor,
            status,
            reason,
            fields,
            framing,
            bare_lf,
            fold,
            empty_line_before: empty_line,
        }
    })
}

/// Conversations of one connection, from its first byte to its end.
pub fn conversation(options: Options) -> impl Strategy<Value = Scene> {
    (
        vec(
            (exchange(options), prop_oneof![3 => Just(1usize), 1 => 2usize..5]),
            1..=options.exchanges,
        ),
        prop_oneof![
            2 => Just(Finish::ClientFirst),
            2 => Just(Finish::ServerFirst),
            1 => Just(Finish::ServerReset),
            1 => Just(Finish::TimeoutResponse),
            1 => Just(Finish::Nothing),
        ],
    )
        .prop_map(move |(exchanges, finish)| lower(exchanges, finish, options.lookalikes))
}

/// The field with the number of a response, to recognise it.
pub const NUMBER: &str = "X-Nr";

fn lower(mut exchanges: Vec<(Exchange, usize)>, finish: Finish, lookalikes: bool) -> Scene {
    for (number, (exchange, _)) in exchanges.iter_mut().enumerate() {
        let target = &exchange.target;
        exchange.target = match exchange.method {
            "CONNECT" => format!("{number}.{target}"),
            _ => format!("/{number}{target}"),
        };
        exchange.fields.push((NUMBER.into(), number.to_string().into_bytes()));
    }
    let mut steps = Vec::new();
    let mut truth = Vec::new();
    let send = |side, bytes: Vec<u8>| Step::Send(side, Cow::Owned(bytes));
    let mut rest: &[(Exchange, usize)] = &exchanges;
    let mut last_closes = false;
    while let Some((first, pipelined)) = rest.first() {
        // Nothing is pipelined behind a request that may change the protocol of the connection.
        let alone = |e: &Exchange| {
            e.method == "CONNECT" || e.status == 101 || e.wait_for_continue || e.answer_early
        };
        let mut count = (*pipelined).min(rest.len());
        if let Some(at) = rest[..count].iter().position(|(e, _)| alone(e)) {
            count = at.max(1);
        }
        let (batch, later) = rest.split_at(count);
        rest = later;
        if count == 1 && (first.wait_for_continue || first.answer_early) {
            let (head, body) = first.request();
            let (before, after, transaction) = first.response();
            let mut transaction = transaction;
            steps.push(send(Side::Client, head));
            if first.wait_for_continue {
                steps.push(Step::server(&b"HTTP/1.1 100 Continue\r\n\r\n"[..]));
                transaction.informational.insert(0, 100);
            }
            let early = first.answer_early && !first.closes();
            // An answer before the first byte of a body makes the filter expect another request instead, and ship.
            let at = if early { body.len().div_ceil(2) } else { body.len() };
            let (now, late) = body.split_at(at);
            steps.push(send(Side::Client, now.to_vec()));
            steps.push(send(Side::Server, before));
            steps.push(send(Side::Server, after));
            steps.push(send(Side::Client, late.to_vec()));
            truth.push(transaction);
        } else {
            for (exchange, _) in batch {
                let (head, body) = exchange.request();
                steps.push(send(Side::Client, head));
                steps.push(send(Side::Client, body));
            }
            for (exchange, _) in batch {
                let (before, after, transaction) = exchange.response();
                steps.push(send(Side::Server, before));
                steps.push(send(Side::Server, after));
                truth.push(transaction);
                if exchange.closes() {
                    break;
                }
            }
        }
        let Some(last) = batch.iter().map(|(e, _)| e).find(|e| e.closes()) else {
            continue;
        };
        if last.tunnels() {
            let opaque = Content { len: 300, seed: 7, lookalike: lookalikes };
            steps.push(send(Side::Client, opaque.bytes()));
            steps.push(send(Side::Server, opaque.bytes()));
        }
        last_closes = !last.tunnels();
        rest = &[];
    }
    steps.retain(|step| !matches!(step, Step::Send(_, bytes) if bytes.is_empty()));
    let tunnel = truth.last().is_some_and(|t: &Transaction| t.end == End::Tunnel);
    match finish {
        Finish::ServerReset => {
            steps.push(Step::Reset(Side::Server));
            if last_closes && let Some(last) = truth.last_mut() {
                last.end = End::Cut;
            }
        }
        Finish::ClientFirst if !last_closes => {
            steps.extend([Step::Close(Side::Client), Step::Close(Side::Server)]);
        }
        Finish::TimeoutResponse if !last_closes && !tunnel => {
            steps.push(Step::server(
                &b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    [..],
            ));
            steps.extend([Step::Close(Side::Server), Step::Close(Side::Client)]);
            truth.push(
                Transaction::new("", "", 408, "Request Timeout")
                    .unsolicited()
                    .header("Content-Length", "0")
                    .header("Connection", "close")
                    .body(0, End::Length),
            );
        }
        Finish::Nothing => {
            if last_closes && let Some(last) = truth.last_mut() {
                last.end = End::Open;
            }
        }
        _ => steps.extend([Step::Close(Side::Server), Step::Close(Side::Client)]),
    }
    Scene { name: "generated", steps, truth }
}
