//! The framer on whole and cut streams.

mod bodies_end_where_rfc_9112_says;
mod cutting_a_stream_changes_nothing;
mod start_lines_are_strict;
mod unknown_requests_are_decided_by_what_follows;

use http_trace_common::framer::{Event, Framer, HeadFacts, MethodKind, RequestQueue, Span, flag};

/// Runs `pieces` through one framer; spans are merged, so that only what bytes *are* is compared.
fn run(framer: &mut Framer, queue: &mut RequestQueue, pieces: &[&[u8]]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut open: Option<(Span, usize)> = None;
    let close = |open: &mut Option<(Span, usize)>, out: &mut Vec<String>| {
        if let Some((span, n)) = open.take() {
            out.push(format!("{span:?} {n}"));
        }
    };
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let step = framer.step(queue, rest);
            assert!(step.taken as usize <= rest.len());
            assert!(step.taken > 0 || step.event.is_some(), "no progress in {:?}", framer.phase());
            rest = &rest[step.taken as usize..];
            if step.taken > 0 {
                match &mut open {
                    Some((span, n)) if *span == step.span => *n += step.taken as usize,
                    _ => {
                        close(&mut open, &mut out);
                        open = Some((step.span, step.taken as usize));
                    }
                }
            }
            if let Some(event) = step.event {
                close(&mut open, &mut out);
                out.push(match event {
                    Event::HeadBegins { back } => format!("begin-{back}"),
                    Event::HeadEnds { head, body } => {
                        let head = match head {
                            HeadFacts::Request { method } => format!("{method:?}"),
                            HeadFacts::Response { status, answers } => match answers {
                                Some(kind) => format!("{status} to {kind:?}"),
                                None => format!("{status}"),
                            },
                        };
                        let names: Vec<_> = flag::named(framer.flags(), &flag::NAMES).collect();
                        format!("head {head} {body:?} [{}]", names.join(","))
                    }
                    Event::BodyBegins { back } => format!("body-{back}"),
                    Event::MessageEnds => "end".into(),
                    Event::NotHttp { after_messages } => format!("not-http {after_messages}"),
                    Event::Lost => "lost".into(),
                    Event::Preface => "preface".into(),
                });
            }
        }
    }
    close(&mut open, &mut out);
    out.push(format!("{:?}", framer.phase()));
    out
}

fn requests(kinds: &[MethodKind]) -> RequestQueue {
    let mut queue = RequestQueue::new();
    kinds.iter().for_each(|&k| queue.push(k));
    queue
}

#[track_caller]
fn response(kinds: &[MethodKind], stream: &[u8], expected: &[&str]) {
    let got = run(&mut Framer::new(), &mut requests(kinds), &[stream]);
    assert_eq!(got, expected, "{}", stream.escape_ascii());
}

const OTHER: MethodKind = MethodKind::Other;

fn summarise(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().filter(|l| !l.starts_with("Ignored") && !l.starts_with("Head ")).collect()
}
