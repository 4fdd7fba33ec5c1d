//! Connections whose framing was lost: the judge hands framing back, or confirms a trial.

use super::*;

#[test]
fn an_unsure_connection_skips_bodies_again_once_the_judge_hands_it_back() {
    use http_trace_engine::pipeline::{Pipeline, PipelineConfig};
    use http_trace_model::event::Output;
    let mut pipeline = Pipeline::new(PipelineConfig::default());
    let mut events = 0;
    let mut wire = Wire::new(FilterConfig::DEFAULT);
    // Far from the SYN that was seen: another connection.
    wire.seq = [50_000_000, 60_000_000];
    let mut shipped = Vec::new();
    for _ in 0..4 {
        let before = wire.filter.counter(Counter::RecordBytes);
        let response = ok(1 << 20);
        let mut to_send = vec![(true, get("/"))];
        to_send.extend(response.chunks(1448).map(|c| (false, c.to_vec())));
        for (from_client, bytes) in to_send {
            wire.judged(from_client, &bytes, &mut pipeline, &mut |output| {
                if let Output::Http(event) = output {
                    assert!(event.complete && event.body_bytes == Some(1 << 20));
                    assert!(event.request.is_some(), "{:?}", event.missing);
                    events += 1;
                }
            });
        }
        shipped.push(wire.filter.counter(Counter::RecordBytes) - before);
    }
    assert_eq!(events, 4);
    // The first response is confirmed by the second request.
    assert!(shipped[1..].iter().all(|n| *n < 3000), "{shipped:?}");
    assert!(wire.filter.counter(Counter::HandedBack) <= 1);
}

#[test]
fn a_body_that_was_refused_before_it_began_ships_until_the_judge_has_met_it() {
    use http_trace_engine::pipeline::Pipeline;
    use http_trace_model::event::Output;
    let post = format!("POST /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {MIB}\r\n\r\n");
    let refused = b"HTTP/1.1 401 U\r\nContent-Length: 0\r\n\r\n";
    // The body is left out, or comes nevertheless.
    for comes in [false, true] {
        let mut pipeline = Pipeline::new(Default::default());
        let mut wire = Wire::new(FilterConfig::DEFAULT);
        let mut told = Vec::new();
        let mut out = |output| {
            if let Output::Http(event) = output {
                let target = event.request.map(|request| request.target.to_vec());
                told.push((event.response.map(|r| r.status), target, event.body_bytes));
            }
        };
        wire.judged(true, post.as_bytes(), &mut pipeline, &mut out);
        wire.judged(false, refused, &mut pipeline, &mut out);
        if comes {
            for body in vec![b'x'; MIB].chunks(1448) {
                wire.judged(true, body, &mut pipeline, &mut out);
            }
        }
        for _ in 0..3 {
            wire.judged(true, &get("/2"), &mut pipeline, &mut out);
            for response in ok(MIB).chunks(1448) {
                wire.judged(false, response, &mut pipeline, &mut out);
            }
        }
        let next = (Some(200), Some(b"/2".to_vec()), Some(MIB as u64));
        let mut expected = vec![(Some(401), Some(b"/1".to_vec()), Some(0))];
        expected.extend([next.clone(), next.clone(), next]);
        assert_eq!(told, expected, "comes: {comes}");
        let shipped = wire.filter.counter(Counter::RecordBytes);
        assert!(shipped < 8 * 1448, "{shipped}, comes: {comes}");
        assert_eq!(pipeline.stats().filter_disagrees, 0);
    }
}

/// Bodies at full speed: a hand-back reaches the filter a number of segments later.
struct Late {
    wire: Wire,
    pipeline: http_trace_engine::pipeline::Pipeline,
    /// Hand-backs on their way to the filter, with the segment at which they arrive.
    returns: Vec<(u64, FlowKey, HandBack)>,
    late: u64,
    segments: u64,
    /// Number of next records of a trial to lose.
    unheard: u32,
    /// The judge falsely confirms every trial.
    lie: bool,
    complete: usize,
}

const MIB: usize = 1 << 20;

impl Late {
    /// A connection whose beginning was not seen.
    fn new(config: FilterConfig, late: u64) -> Self {
        let mut wire = Wire::new(config);
        wire.seq = [50_000_000, 60_000_000];
        Late {
            wire,
            pipeline: http_trace_engine::pipeline::Pipeline::new(Default::default()),
            returns: Vec::new(),
            late,
            segments: 0,
            unheard: 0,
            lie: false,
            complete: 0,
        }
    }

    /// Sends a segment that the filter sees.
    fn segment(&mut self, from_client: bool, bytes: &[u8]) {
        let filter = &mut self.wire.filter;
        self.returns.retain(|(due, key, handed)| {
            if *due <= self.segments {
                filter.hand_back(*key, *handed);
            }
            *due > self.segments
        });
        self.segments += 1;
        let (segment, context) = self.wire.make(from_client, tcp_flag::ACK, 0, bytes);
        let (pipeline, complete, unheard) =
            (&mut self.pipeline, &mut self.complete, &mut self.unheard);
        self.wire.filter.push(bytes, &segment, &context, &mut |record| {
            if record.header.has(flag::TRIAL) && *unheard > 0 {
                *unheard -= 1;
                return;
            }
            pipeline.push(&record, &mut |output| {
                if let http_trace_model::event::Output::Http(event) = output {
                    *complete += usize::from(event.complete && event.request.is_some());
                }
            });
        });
        for (key, mut returned) in self.pipeline.take_hand_backs() {
            if self.lie {
                returned.what |= handed::RIGHT | handed::RIGHT << 1;
            }
            self.returns.push((self.segments + self.late, key, returned));
        }
        self.pass(from_client, bytes);
    }

    /// Passes a segment that is not seen.
    fn pass(&mut self, from_client: bool, bytes: &[u8]) {
        let seq = &mut self.wire.seq[usize::from(!from_client)];
        *seq = seq.wrapping_add(bytes.len() as u32);
    }

    /// Sends a message each way; returns how many bytes of them ship.
    fn exchange(&mut self, response: &[u8]) -> u64 {
        let before = self.counted(Counter::RecordBytes);
        self.segment(true, &get("/"));
        for segment in response.chunks(1448) {
            self.segment(false, segment);
        }
        self.counted(Counter::RecordBytes) - before
    }

    fn counted(&self, counter: Counter) -> u64 {
        self.wire.filter.counter(counter)
    }

    fn exchanges(&mut self, count: usize, response: &[u8]) -> Vec<u64> {
        (0..count).map(|_| self.exchange(response)).collect()
    }
}

fn ok_chunked(body: usize) -> Vec<u8> {
    let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..body / 8192 {
        out.extend_from_slice(b"2000\r\n");
        out.resize(out.len() + 8192, b'c');
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

#[test]
fn bodies_are_skipped_from_where_a_trial_is_confirmed_however_late_that_is() {
    for response in [ok(MIB), ok_chunked(MIB)] {
        // A body has 725 segments.
        for late in [0, 1, 100, 700, 1500, 3000] {
            let mut busy = Late::new(FilterConfig::DEFAULT, late);
            let shipped: u64 = busy.exchanges(8, &response).iter().sum();
            // The first response is confirmed by the second request.
            assert!(shipped < (late + 728) * 1448 + 8 * 4000, "{late}: {shipped}");
            assert!(busy.counted(Counter::TrialRight) > 0 || late < 800);
            assert_eq!(busy.counted(Counter::TrialWrong), 0);
            assert_eq!(busy.pipeline.stats().filter_disagrees, 0);
            assert!(busy.complete >= 7, "{}", busy.complete);
        }
    }
}

#[test]
fn a_head_that_was_not_all_seen_costs_no_more_than_the_judge_takes() {
    let response = ok(MIB);
    let mut busy = Late::new(FilterConfig::DEFAULT, 1000);
    busy.exchanges(4, &response);
    busy.segment(true, &get("/"));
    busy.segment(false, &response[..20]);
    busy.pass(false, &response[20..400]);
    for segment in response[400..].chunks(1448) {
        busy.segment(false, segment);
    }
    // The judge is sure again at the second head, once it no longer waits for the missing bytes, and the
    // filter a thousand segments later.
    let shipped = busy.exchanges(4, &response);
    assert!(shipped[..3].iter().sum::<u64>() < 1800 * 1448, "{shipped:?}");
    assert!(shipped[3..].iter().all(|n| *n < 1000), "{shipped:?}");
    assert_eq!(busy.pipeline.stats().filter_disagrees, 0);
}

/// A body imitates a response at the beginning of a segment while the filter has lost the direction and
/// the judge has not. Returns how much is shipped of each later message.
fn imitated(lie: bool) -> (Late, Vec<u64>) {
    let endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
    let mut imitating = ok(1448 * 700);
    let from = 1448 * 300;
    imitating[from..from + endless.len()].copy_from_slice(endless);
    let mut busy = Late::new(FilterConfig::DEFAULT, 1000);
    busy.exchanges(4, &ok(MIB));
    busy.lie = lie;
    busy.segment(true, &get("/"));
    let (head, rest) = imitating.split_at(1448);
    busy.pass(false, head);
    for (n, segment) in rest.chunks(1448).enumerate() {
        busy.segment(false, segment);
        if n == 100 {
            // Here the head arrives, late.
            let next = busy.wire.seq[1];
            busy.wire.seq[1] = next.wrapping_sub(1448 * 102);
            busy.segment(false, head);
            busy.wire.seq[1] = next;
        }
    }
    let shipped = busy.exchanges(5, &ok(MIB));
    (busy, shipped)
}

#[test]
fn a_trial_that_began_with_an_imitation_is_found_wrong() {
    let (busy, shipped) = imitated(false);
    assert!(busy.counted(Counter::TrialWrong) > 0);
    assert!(shipped[4] < 1000, "{shipped:?}");
    assert_eq!(busy.complete, 10);
    assert_eq!(busy.pipeline.stats().filter_disagrees, 0);
    // If the trial were falsely confirmed, it would show.
    let (busy, _) = imitated(true);
    assert!(busy.complete < 10);
}

#[test]
fn a_trial_is_confirmed_by_any_head_that_it_framed() {
    // The record of the trial's beginning is lost, and the one after it.
    let mut busy = Late::new(FilterConfig::DEFAULT, 800);
    busy.unheard = 2;
    let shipped = busy.exchanges(6, &ok(MIB));
    assert!(shipped[4..].iter().all(|n| *n < 1000), "{shipped:?}");
    assert!(busy.counted(Counter::TrialRight) > 0);
}

#[test]
fn a_spent_budget_does_not_keep_a_trial_from_being_confirmed() {
    for mut response in [ok(MIB), ok_chunked(MIB)] {
        // Of bytes that cannot be part of a method.
        for byte in response.iter_mut().skip(60) {
            if matches!(byte, b'b' | b'c') {
                *byte = 0x80;
            }
        }
        let config = FilterConfig { unsure_flow_bytes: 0, ..FilterConfig::DEFAULT };
        let mut busy = Late::new(config, 900);
        busy.wire.filter.set_faults(Faults { spend_budget_every: 1, ..Default::default() });
        let shipped = busy.exchanges(8, &response);
        let dropped = busy.counted(Counter::UnsureDroppedBytes);
        assert!(dropped > MIB as u64, "{dropped}");
        assert!(shipped.iter().all(|n| *n < 4500), "{shipped:?}");
        assert!(busy.counted(Counter::TrialRight) > 0);
        assert!(busy.counted(Counter::BodySkipped) > 3 * MIB as u64);
        assert!(busy.complete >= 3, "{}", busy.complete);
        assert_eq!(busy.pipeline.stats().filter_disagrees, 0);
    }
}

#[test]
fn text_is_no_start_line_for_a_trial() {
    // A long line of words without an end, from the beginning of a segment on.
    let mut response = ok(MIB);
    let from = response.len() - MIB;
    for (i, byte) in response[from..].iter_mut().enumerate() {
        *byte = if i % 5 == 4 { b' ' } else { b'w' };
    }
    let mut busy = Late::new(FilterConfig::DEFAULT, 1000);
    busy.exchanges(4, &response);
    busy.segment(true, &get("/"));
    busy.pass(false, &response[..1448]);
    for segment in response[1448..].chunks(1448) {
        busy.segment(false, segment);
    }
    let shipped = busy.exchanges(4, &response);
    assert!(shipped[..3].iter().sum::<u64>() < 1800 * 1448, "{shipped:?}");
    assert!(shipped[3..].iter().all(|n| *n < 1000), "{shipped:?}");
    assert_eq!(busy.counted(Counter::TrialWrong), 0);
}
