//! Feeds records of TCP segments as streams without a transport, as a source of plaintext would push the same
//! conversations.

use std::collections::HashMap;

use http_trace_common::flow::FlowKey;
use http_trace_common::record::{Record, flag};
use http_trace_engine::pipeline::{Emit, Pipeline, PipelineConfig, StreamId};

use crate::judged::Judged;

/// A connection whose records are in order.
#[derive(Debug)]
struct Stream {
    id: StreamId,
    records: u64,
    next: [Option<u32>; 2],
    ended: [bool; 2],
}

/// Pushes records as streams. Records of a connection must be in order and without copies, which is what a
/// source of plaintext guarantees.
#[derive(Debug)]
pub struct Source {
    pipeline: Pipeline,
    streams: HashMap<FlowKey, Stream>,
    opened: u64,
    judged: Judged,
    /// Connections unsuitable as streams: bytes out of order, copies, a RST.
    pub disturbed: Vec<FlowKey>,
    /// Bytes in declared skips.
    pub skipped: u64,
}

impl Default for Source {
    fn default() -> Self {
        let pipeline = Pipeline::new(PipelineConfig { emit: Emit::End, ..Default::default() });
        Source {
            pipeline,
            streams: HashMap::new(),
            opened: 0,
            judged: Judged::default(),
            disturbed: Vec::new(),
            skipped: 0,
        }
    }
}

impl Source {
    /// Pushes what a record adds to its stream.
    pub fn push(&mut self, record: &Record<'_>) {
        let header = record.header;
        let (key, sender) = header.key();
        let (d, time_ns) = (sender.index(), header.time_ns);
        let out = &mut |output| self.judged.take(output);
        let pipeline = &mut self.pipeline;
        let stream = self.streams.entry(key).or_insert_with(|| {
            self.opened += 1;
            let id = StreamId(self.opened);
            // Half of them get their name only with the second record.
            let named = Some(key).filter(|_| self.opened.is_multiple_of(2));
            pipeline.open_stream(id, named, time_ns, out);
            Stream { id, records: 0, next: [None; 2], ended: [false; 2] }
        });
        stream.records += 1;
        if stream.records == 2 {
            pipeline.name_stream(stream.id, key);
        }
        let next = *stream.next[d].get_or_insert(header.skip_from);
        let spans = header.skip_from != header.skip_to;
        if spans && next != header.skip_from || header.has(flag::RST) {
            self.disturbed.push(key);
        }
        let before = u64::from(header.seq.wrapping_sub(header.skip_from));
        let after = header.skip_to.wrapping_sub(header.seq);
        let after = u64::from(after) - record.bytes.len() as u64;
        self.skipped += before + after;
        let id = stream.id;
        if before > 0 {
            pipeline.skip_stream(id, sender, before, time_ns, out);
        }
        if !record.bytes.is_empty() {
            pipeline.push_stream(id, sender, record.bytes, time_ns, out);
        }
        if after > 0 {
            pipeline.skip_stream(id, sender, after, time_ns, out);
        }
        stream.next[d] = Some(header.skip_to);
        stream.ended[d] |= header.has(flag::FIN);
        if stream.ended == [true; 2] {
            pipeline.close_stream(id, time_ns, out);
        }
    }

    pub fn finish(mut self) -> Judged {
        self.pipeline.finish(&mut |output| self.judged.take(output));
        self.judged.stats = self.pipeline.stats().clone();
        self.judged
    }
}
