//! How connections begin: SYN, Fast Open, PROXY protocol and TLS.

use super::*;

#[test]
fn a_late_first_segment_does_not_hide_where_the_stream_begins() {
    let mut wire = Wire::new(FilterConfig::DEFAULT);
    wire.send(true, &get("/"));
    let response = ok(9000);
    wire.segment(false, tcp_flag::ACK, 2000, &response[2000..4000]);
    wire.segment(false, tcp_flag::ACK, 0, &response[..2000]);
    let begins: Vec<_> = wire
        .records
        .iter()
        .filter(|r| !r.0)
        .map(|r| (r.1, r.4 & flag::STREAM_BEGINS != 0, r.5.len()))
        .collect();
    assert_eq!(begins, [(8, true, 0), (2008, false, 2000), (8, false, 2000)]);
}

#[test]
fn a_fin_before_its_data_begins_no_stream() {
    let mut wire = Wire::new(FilterConfig::DEFAULT);
    wire.send(true, &get("/"));
    let response = ok(0);
    wire.segment(false, tcp_flag::FIN | tcp_flag::ACK, response.len() as i32, b"");
    wire.send(false, &response);
    let begins: Vec<_> = wire
        .records
        .iter()
        .filter(|r| !r.0)
        .map(|r| r.4 & (flag::STREAM_BEGINS | flag::FIN))
        .collect();
    assert_eq!(begins, [flag::FIN, flag::STREAM_BEGINS]);
}

#[test]
fn only_a_syn_that_nobody_answers_or_that_is_refused_is_told() {
    let fresh = || {
        let mut wire = Wire::new(FilterConfig::DEFAULT);
        wire.seq = [77, 88];
        wire
    };
    let flags = |wire: &Wire| -> Vec<u16> {
        wire.records.iter().map(|r| r.4 & (flag::SYN | flag::RST | flag::ACK)).collect()
    };
    let mut repeated = fresh();
    repeated.segment(true, tcp_flag::SYN, 0, b"");
    repeated.segment(true, tcp_flag::SYN, 0, b"");
    assert_eq!(flags(&repeated), [0_u16; 0], "a copy at another hook");
    repeated.time_ns += 1_000_000_000;
    repeated.segment(true, tcp_flag::SYN, 0, b"");
    repeated.segment(true, tcp_flag::SYN, 0, b"");
    repeated.segment(false, tcp_flag::SYN | tcp_flag::ACK, 0, b"");
    repeated.segment(false, tcp_flag::SYN | tcp_flag::ACK, 0, b"");
    assert_eq!(flags(&repeated), [flag::SYN, flag::SYN | flag::ACK]);
    let mut refused = fresh();
    refused.segment(true, tcp_flag::SYN, 0, b"");
    refused.seq[0] += 1;
    refused.segment(false, tcp_flag::RST | tcp_flag::ACK, 0, b"");
    refused.segment(false, tcp_flag::RST | tcp_flag::ACK, 0, b"");
    assert_eq!(flags(&refused), [flag::SYN, flag::RST | flag::ACK]);
    assert_eq!(refused.records[0].1, 78);
}

#[test]
fn a_connection_that_begins_with_a_proxy_protocol_header_is_followed() {
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x02\x12\x34\0\x50";
    for preface in [&b"PROXY TCP4 203.0.113.9 10.0.0.2 4660 80\r\n"[..], V2] {
        for together in [true, false] {
            let mut wire = Wire::new(FilterConfig::DEFAULT);
            let request = get("/");
            if together {
                let both = [preface, &request].concat();
                wire.send(true, &both);
            } else {
                wire.send(true, preface);
                wire.send(true, &request);
            }
            wire.send(false, &ok(100_000));
            let shipped: Vec<u8> = wire.records.iter().flat_map(|r| r.5.clone()).collect();
            assert!(shipped.starts_with(&[preface, &request].concat()));
            assert_eq!(wire.filter.counter(Counter::BecameUnsure), 0);
            assert_eq!(wire.filter.counter(Counter::BodySkipped), 100_000);
        }
    }
}

#[test]
fn a_client_hello_to_a_server_without_tls_is_no_loss() {
    use http_trace_engine::pipeline::Pipeline;
    use http_trace_model::event::Output;
    let mut hello = vec![0x16, 3, 1, 0, 200, 1];
    hello.resize(205, 7);
    let refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let mut pipeline = Pipeline::new(Default::default());
    let mut wire = Wire::new(FilterConfig::DEFAULT);
    let mut statuses = Vec::new();
    let mut take = |output: Output| match output {
        Output::Http(event) => statuses.push(event.response.map(|r| r.status)),
        Output::Loss(loss) => panic!("{loss:?}"),
    };
    wire.judged(true, &hello, &mut pipeline, &mut take);
    wire.judged(false, refusal, &mut pipeline, &mut take);
    for from_client in [false, true] {
        let (segment, context) = wire.make(from_client, tcp_flag::FIN | tcp_flag::ACK, 0, b"");
        wire.filter.push(&[], &segment, &context, &mut |record| {
            pipeline.push(&record, &mut take);
        });
    }
    pipeline.tick(1 << 41, &mut take);
    pipeline.finish(&mut take);
    assert_eq!(statuses, [Some(400)]);
    let stats = pipeline.stats();
    assert_eq!((stats.holes, stats.unframed_bytes), (0, 0));
}

/// Where a mirror shows the first response before its request, only that pair is lost.
#[test]
fn a_first_response_that_is_seen_before_its_request_costs_no_other_pair() {
    use http_trace_engine::pipeline::{Pipeline, PipelineConfig};
    use http_trace_model::event::Output;
    let mut pipeline = Pipeline::new(PipelineConfig::default());
    let mut wire = Wire::new(FilterConfig::DEFAULT);
    let mut pairs = vec![];
    let mut out = |output| {
        if let Output::Http(event) = output {
            pairs.push((event.request.map(|r| r.target.to_vec()), event.response.is_some()));
        }
    };
    let (first, begin) = (get("/0"), wire.seq);
    wire.seq[0] = begin[0].wrapping_add(first.len() as u32);
    wire.judged(false, &ok(3), &mut pipeline, &mut out);
    let after = std::mem::replace(&mut wire.seq, begin);
    wire.judged(true, &first, &mut pipeline, &mut out);
    wire.seq = after;
    for n in 1..9 {
        wire.judged(true, &get(&format!("/{n}")), &mut pipeline, &mut out);
        wire.judged(false, &ok(3), &mut pipeline, &mut out);
    }
    pipeline.finish(&mut out);
    let expected = (1..9).map(|n| (Some(format!("/{n}").into_bytes()), true));
    assert_eq!(pairs.first(), Some(&(None, true)));
    assert!(pairs[1..].iter().cloned().eq(expected), "{pairs:?}");
}
