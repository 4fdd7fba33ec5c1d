//! Any bytes as one direction of a connection: cutting them anywhere gives the same spans and events, each
//! step makes progress, and bodies have the length that the framer announced. The first byte selects the
//! requests, the second the cuts.
#![no_main]

use http_trace_common::framer::{Event, Framer, MethodKind, RequestQueue, Span};
use libfuzzer_sys::fuzz_target;

/// Whether these bytes may precede bytes that are not a start line.
fn leads(line: &String) -> bool {
    let leads = ["Head ", "HeadBegins ", "Ignored "];
    leads.iter().any(|lead| line.starts_with(lead))
}

/// The events of a stream, and the spans between them.
fn run(kinds: u8, pieces: &[&[u8]]) -> Vec<String> {
    let mut queue = RequestQueue::new();
    match kinds & 3 {
        0 => queue.set_unknown(),
        1 => (0..20).for_each(|_| queue.push(MethodKind::Other)),
        2 => (0..20).for_each(|n| {
            queue.push(if kinds >> 2 & 1 == n & 1 { MethodKind::Head } else { MethodKind::Other });
        }),
        _ => queue.push(MethodKind::Connect),
    }
    let mut framer = Framer::new();
    let mut out = Vec::new();
    let mut open: Option<(Span, u64)> = None;
    let mut take = |span: Span, n: u64, out: &mut Vec<String>| match &mut open {
        Some((last, sum)) if *last == span => *sum += n,
        _ => {
            if let Some((last, sum)) = open.replace((span, n)) {
                out.push(format!("{last:?} {sum}"));
            }
        }
    };
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            // As in the filter: certain body is skipped, not read.
            let skippable = framer.skippable();
            let (taken, span, event) = if skippable > 0 && kinds & 8 != 0 {
                let n = skippable.min(rest.len() as u64);
                let span = match framer.phase() {
                    http_trace_common::framer::Phase::Opaque => Span::Ignored,
                    _ => Span::Body,
                };
                (n as usize, span, framer.skip(n))
            } else {
                let step = framer.step(&mut queue, rest);
                (step.taken as usize, step.span, step.event)
            };
            assert!(taken <= rest.len());
            assert!(taken > 0 || event.is_some(), "no progress");
            if taken > 0 {
                take(span, taken as u64, &mut out);
            }
            rest = &rest[taken..];
            if let Some(event) = event {
                // Bytes that are not a start line have no span: where that is decided depends on the cuts.
                if matches!(event, Event::NotHttp { .. }) {
                    while out.last().is_some_and(leads) {
                        out.pop();
                    }
                    out.push("NotHttp".into());
                    return out;
                }
                take(Span::Ignored, 0, &mut out);
                let flags = match event {
                    Event::HeadEnds { .. } => framer.flags(),
                    _ => 0,
                };
                out.push(format!("{event:?} {flags:x}"));
            }
        }
    }
    take(Span::Ignored, 0, &mut out);
    out.retain(|line| line != "Ignored 0");
    out.push(format!("{:?}", framer.phase()));
    out
}

fuzz_target!(|data: &[u8]| {
    let [kinds, cuts, stream @ ..] = data else {
        return;
    };
    let whole = run(*kinds, &[stream]);
    let stepped_over = run(*kinds ^ 8, &[stream]);
    assert_eq!(whole, stepped_over, "stepping over bodies");
    let pieces: Vec<&[u8]> = match cuts {
        0 => stream.chunks(1).collect(),
        n if n & 1 == 0 => stream.chunks(usize::from(*n)).collect(),
        n => {
            let at = usize::from(*n) * stream.len() / 256;
            let (before, after) = stream.split_at(at);
            vec![before, after]
        }
    };
    assert_eq!(whole, run(*kinds, &pieces), "cut as {cuts}");
});
