//! The segments of a connection through the judge, with all bytes and with those that the filter ships. The
//! first byte says whether segments are lost, copied or late.
//!
//! If all were seen once and in order, and everything is HTTP/1.x: the same events. (The filter does not
//! follow what it does not recognise as HTTP, and resynchronises at a start line that begins a segment, even
//! where the judge of all bytes is in a body that only the close ends.) In any case: no skip that the judge
//! disagrees with (except of tunnels), no response whose status line was not sent, and every resulting record
//! is a line of JSON, or of text for a terminal, without control characters.
#![no_main]

use std::io::Cursor;

use http_trace::capture::{Frames, Replay, ReplayOptions};
use http_trace::redact::Secrets;
use http_trace::sink::Style;
use http_trace::sink::json::Json;
use http_trace::sink::pretty::Pretty;
use http_trace::sink::{Entry, Render};
use http_trace_common::config::FilterConfig;
use http_trace_common::filter::Context;
use http_trace_common::framer::{Event, Framer, RequestQueue};
use http_trace_common::record::Hook;
use http_trace_common::walk;
use http_trace_engine::host_filter::HostFilter;
use http_trace_engine::pipeline::{Emit, Pipeline, PipelineConfig};
use http_trace_fuzz::conversation::{Conversation, capture, conversation};
use http_trace_fuzz::essence::essence;
use http_trace_model::event::{HttpEvent, Missing, Output};
use libfuzzer_sys::fuzz_target;

struct Judged {
    events: Vec<HttpEvent>,
    disagrees: u64,
    /// Whether every byte was framed and every response paired.
    clean: bool,
}

fn judge(feed: impl FnOnce(&mut Pipeline, &mut dyn FnMut(Output))) -> Judged {
    let mut pipeline =
        Pipeline::new(PipelineConfig { emit: Emit::End, ..PipelineConfig::default() });
    let mut events = Vec::new();
    let mut out = |output| {
        if let Output::Http(event) = output {
            events.push(*event);
        }
    };
    feed(&mut pipeline, &mut out);
    pipeline.finish(&mut out);
    let stats = pipeline.stats();
    let doubtful = |event: &HttpEvent| {
        let odd = ["resynchronised", "length_conflict", "length_invalid"];
        event.missing.iter().any(|what| *what != Missing::End)
            || event.flags.iter().any(|flag| odd.contains(flag))
    };
    let clean = stats.became_unsure == 0
        && stats.unreadable.is_empty()
        && stats.bad_status == 0
        && !events.iter().any(doubtful);
    Judged { disagrees: stats.filter_disagrees, clean, events }
}

fn all(seen: &Conversation) -> Judged {
    judge(|pipeline, out| {
        let file = Cursor::new(capture(&seen.frames));
        let frames = Frames::from_reader("fuzz", Box::new(file));
        let mut replay = Replay::new(frames, ReplayOptions::default());
        while let Some(record) = replay.next_record() {
            pipeline.push(&record, &mut |output| out(output));
        }
        assert!(replay.frames.problems().is_empty());
    })
}

fn filtered(seen: &Conversation, hand_back: bool) -> Judged {
    judge(|pipeline, out| {
        let mut filter = HostFilter::new(FilterConfig::DEFAULT);
        for one in &seen.frames {
            let Ok(segment) = walk::ethernet(one.frame.as_slice(), 0) else {
                continue;
            };
            let context = Context {
                time_ns: one.time_ns,
                interface: 1,
                wire_len: one.frame.len() as u32,
                egress: false,
                hook: Hook::Capture,
            };
            filter.push(&one.frame, &segment, &context, &mut |record| {
                pipeline.push(&record, &mut |output| out(output));
            });
            for (key, handed) in pipeline.take_hand_backs() {
                if hand_back {
                    filter.hand_back(key, handed);
                }
            }
        }
    })
}

/// Whether both directions frame from their first byte to their last, and the client sends the requests. (The
/// SYN, which the filter does not ship, shows who connected: a server that sends requests is excluded.)
fn is_http(seen: &Conversation) -> bool {
    let mut queue = RequestQueue::new();
    seen.streams.iter().enumerate().all(|(from, stream)| {
        // The filter takes it for HTTP/2, whatever the rest of the line says.
        if stream.starts_with(b"PRI * HT") {
            return false;
        }
        // The filter skips two empty lines before the first message, the framer any number.
        let before = stream.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
        let before = before.count();
        if before > 4 {
            return false;
        }
        // Nor does it accept a status code with more than three digits.
        let after_code = stream.get(before + 12);
        if from == 1 && !matches!(after_code, None | Some(b' ' | b'\r' | b'\n')) {
            return false;
        }
        let mut framer = Framer::new();
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let step = framer.step(&mut queue, rest);
            rest = &rest[step.taken as usize..];
            if let Some(Event::NotHttp { .. } | Event::Lost) = step.event {
                return false;
            }
            if framer.is_response().is_some_and(|is| is != (from == 1)) {
                return false;
            }
        }
        true
    })
}

/// Whether a connection may become a tunnel. With late segments, the filter, which takes them as they come,
/// may see a tunnel begin where the judge, which orders each after what it acknowledges, sees a response to a
/// request that was not sent yet.
fn may_tunnel(seen: &Conversation) -> bool {
    let says = |what: &[u8]| {
        let has = |stream: &Vec<u8>| stream.windows(what.len()).any(|window| window == what);
        seen.streams.iter().any(has)
    };
    says(b"CONNECT ") || says(b" 101")
}

/// Each response was sent: its status line is in the bytes of the server or the client, since only their
/// content tells them apart.
fn is_of_the_wire(event: &HttpEvent, seen: &Conversation) {
    for head in event.informational.iter().chain(&event.response) {
        let line = match &head.version {
            Some(version) => format!("{} {}", version.escape_ascii(), head.status),
            None => format!("HTTP/1.{} {}", head.minor_version, head.status),
        };
        let sent = seen
            .streams
            .iter()
            .any(|stream| stream.windows(line.len()).any(|window| window == line.as_bytes()));
        assert!(sent, "{line} was not on the wire");
    }
}

fn is_written(mut event: HttpEvent) {
    Secrets::default().redact(&mut event);
    let entry = Entry { event: &event, user: None };
    let mut out = Vec::new();
    Json::new(&Style::default()).event(&entry, &mut out);
    let text = std::str::from_utf8(&out).expect("UTF-8");
    assert_eq!(text.find('\n'), Some(text.len() - 1));
    assert!(!text.trim_end().chars().any(char::is_control));
    out.clear();
    Pretty::new(&Style { verbose: 2, ..Style::default() }).event(&entry, &mut out);
    let text = std::str::from_utf8(&out).expect("UTF-8");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
}

fuzz_target!(|data: &[u8]| {
    let [options, data @ ..] = data else {
        return;
    };
    let seen = conversation(data, options & 1 != 0);
    let (all, filtered) = (all(&seen), filtered(&seen, options & 2 != 0));
    if seen.undisturbed && all.clean && is_http(&seen) {
        let [all, filtered] = [&all, &filtered].map(|judged| {
            let events = judged.events.iter().map(essence);
            events.collect::<Vec<_>>()
        });
        assert_eq!(all, filtered);
    }
    if seen.undisturbed || !may_tunnel(&seen) {
        assert_eq!(filtered.disagrees, 0);
    }
    for event in all.events.into_iter().chain(filtered.events) {
        is_of_the_wire(&event, &seen);
        is_written(event);
    }
});
