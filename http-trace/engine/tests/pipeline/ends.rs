//! How connections end, and requests that nothing answers.

use crate::talk::{Bench, MS, Side, Talk, check, get, ok};
use http_trace_common::record::{Hook, flag};
use http_trace_engine::pipeline::PipelineConfig;
use http_trace_model::event::NoResponse;

#[test]
fn unanswered_requests() {
    let asked = || Talk::open().c(&get("/1"));
    check("closed", &asked().s_ack().s_fin().c_fin().wait_ms(1_100).c_ack(), &["GET /1 -> Closed"]);
    check("reset by the server", &asked().s_rst().wait_ms(1_100).c_ack(), &["GET /1 -> Reset"]);
    check(
        "reset by the client",
        &asked().s_ack().c_rst().wait_ms(1_100).c_ack(),
        &["GET /1 -> Reset"],
    );
    check(
        "reset by the client, then silence",
        &asked().s_ack().c_rst().wait_ms(31_000).c_ack(),
        &["GET /1 -> Reset"],
    );
    check(
        "reset by the client, the capture ends",
        &asked().s_ack().c_rst(),
        &["(finish)", "GET /1 -> Reset"],
    );
    check(
        "answered by what crosses the client's reset",
        &asked().c_rst().s(&ok("a")),
        &["GET /1 -> 200 OK 1 Length"],
    );
    check(
        "one of two answered by what crosses the client's reset",
        &asked().c(&get("/2")).c_rst().s(&ok("a")).c_rst().wait_ms(1_100).c_ack(),
        &["GET /1 -> 200 OK 1 Length", "GET /2 -> Reset"],
    );
    let mut unseen = asked().c_rst().s(&ok("a"));
    unseen.client = unseen.client.wrapping_add(50_000_000);
    unseen.server = unseen.server.wrapping_add(70_000_000);
    check(
        "another connection of the tuple whose handshake was not seen",
        &unseen.c(&get("/2")).s(&ok("a")),
        &[
            "GET /1 -> 200 OK 1 Length",
            // It is accepted once nothing contradicts it.
            "(finish)",
            "GET /2 -> 200 OK 1 Length flags request_assumed,resynchronised",
        ],
    );
    check("both reset", &asked().c_rst().s_rst().wait_ms(1_100).c_ack(), &["GET /1 -> Reset"]);
    check(
        "the end of a body crosses the client's reset",
        &asked().s("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na").c_rst().s("b").s_fin(),
        &["GET /1 -> 200 OK 2 Length"],
    );
    let later = asked().s_ack().wait_ms(31_000).c_ack();
    check("timeout", &later, &["GET /1 -> Timeout"]);
    check(
        "timeout, then an answer after all",
        &later.s(&ok("a")),
        &["GET /1 -> Timeout", "GET /1 -> 200 OK 1 Length flags reported_unanswered"],
    );
    check(
        "half-closed and answered",
        &asked().c_fin().s(&ok("a")).s_fin(),
        &["GET /1 -> 200 OK 1 Length"],
    );
    let dragged = Talk::open().c("POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    check(
        "not even asked to the end",
        &dragged.s_ack().wait_ms(8_000).c_rst().s_rst().wait_ms(1_100).c_ack(),
        &["POST /1 -> Reset flags request_unfinished"],
    );
    let doubtful = "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na";
    let ended = Talk::open()
        .c(&get("/0"))
        .s(&ok("a"))
        .c(doubtful)
        .s_ack()
        .c_rst()
        .s_rst()
        .wait_ms(1_100)
        .c_ack();
    check(
        "whose end nobody can tell",
        &ended,
        &["GET /0 -> 200 OK 1 Length", "POST /1 -> Reset flags request_length_conflict"],
    );
    check("the capture ends", &asked(), &["(finish)", "GET /1 -> Unseen"]);
    check(
        "two of three",
        &Talk::open()
            .c(&get("/1"))
            .c(&get("/2"))
            .c(&get("/3"))
            .s(&ok("a"))
            .s_fin()
            .c_fin()
            .wait_ms(1_100)
            .c_ack(),
        &["GET /1 -> 200 OK 1 Length", "GET /2 -> Closed", "GET /3 -> Closed"],
    );
    let off = PipelineConfig { no_response: false, ..PipelineConfig::default() };
    assert_eq!(asked().s_rst().judged_with(off), [] as [&str; 0]);
}

#[test]
fn cut_messages() {
    let half = || Talk::open().c(&get("/1")).s("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    let cut = ["GET /1 -> 200 OK 3 Cut missing [End] flags length_mismatch"];
    check("RST", &half().s_rst().wait_ms(1_100).c_ack(), &cut);
    let both = half().c_ack().c_rst().s_rst();
    check("RST of the client", &both.wait_ms(1_100).c_ack(), &cut);
    check("FIN", &half().s_fin().c_fin().wait_ms(1_100).c_ack(), &cut);
    check("the capture ends", &half(), &["(finish)", "GET /1 -> 200 OK 3 missing [End]"]);
    let head = Talk::open().c(&get("/1")).s("HTTP/1.1 200 OK\r\nA: b\r\nCut");
    check(
        "FIN in a head",
        &head.clone().s_fin().c_fin().wait_ms(1_100).c_ack(),
        &["GET /1 -> 200 OK missing [Headers, Body, End]"],
    );
    check(
        "the capture ends in a head",
        &head,
        &["(finish)", "GET /1 -> 200 OK missing [Headers, Body, End]"],
    );
    let line = Talk::open().c(&get("/1")).s("HTTP/1.1 200 O");
    check(
        "FIN in a status line",
        &line.s_fin().c_fin().wait_ms(1_100).c_ack(),
        &["GET /1 -> Closed"],
    );
    let open = Talk::open().c(&get("/1")).s("HTTP/1.1 200 OK\r\n\r\nabc");
    check(
        "RST instead of the close that ends the body",
        &open.s_rst().wait_ms(1_100).c_ack(),
        &["GET /1 -> 200 OK 3 Cut missing [End]"],
    );
}

/// As in `suri__bug-3286-02` and `-03` of the public captures.
#[test]
fn a_forged_refusal_does_not_hide_the_connection() {
    let mut talk = Talk::new();
    talk.client += 1;
    let mut syn = talk.seg(Side::Client, b"").flag(flag::SYN);
    syn.ack = None;
    talk = talk.push(syn);
    for forged in [flag::RST, flag::FIN] {
        let mut seg = talk.seg(Side::Server, b"").flag(forged);
        seg.seq = 0;
        talk = talk.push(seg);
    }
    talk.server += 1;
    let answer = talk.seg(Side::Server, b"").flag(flag::SYN);
    check(
        "a RST and a FIN between SYN and SYN-ACK",
        &talk.push(answer).c(&get("/1")).s(&ok("a")),
        &["GET /1 -> 200 OK 1 Length"],
    );
}

/// A SYN, and the RST that refuses it if there is an `answer`.
fn attempt(port: u16, answer: bool, now_ns: u64) -> Talk {
    let mut talk = Talk::new();
    (talk.client_port, talk.now_ns) = (port, now_ns);
    talk.client += 1;
    let mut syn = talk.seg(Side::Client, b"").flag(flag::SYN);
    syn.ack = None;
    talk = talk.push(syn);
    if answer {
        let mut rst = talk.seg(Side::Server, b"").flag(flag::RST);
        rst.seq = 0;
        talk = talk.push(rst);
    }
    talk
}

#[test]
fn failed_attempts_are_told_where_http_is_spoken() {
    let http = Talk::open().c(&get("/1")).s(&ok("a")).c_fin().s_fin();
    let attempt = |port: u16, server_port: u16, answer: bool, now_ns: u64| {
        let mut talk = attempt(port, answer, now_ns);
        if !answer {
            let again = talk.segs[0].clone();
            talk = talk.wait_ms(1_000).push(again);
        }
        for seg in &mut talk.segs {
            seg.server_port = server_port;
        }
        talk
    };
    let mut bench = Bench::new(PipelineConfig::default());
    bench.push_all(&attempt(1, 80, true, http.now_ns).segs);
    assert_eq!(bench.lines, [] as [&str; 0], "no HTTP was seen yet");
    bench.push_all(&http.segs);
    bench.push_all(&attempt(2, 80, true, http.now_ns).segs);
    bench.push_all(&attempt(3, 81, true, http.now_ns).segs);
    bench.push_all(&attempt(4, 80, false, http.now_ns).segs);
    bench.tick(http.now_ns + 40_000_000_000);
    let expected = [
        "GET /1 -> 200 OK 1 Length",
        "? -> Refused missing [Request]",
        "? -> Unreachable missing [Request]",
    ];
    assert_eq!(bench.lines, expected);
    let client = bench.events.iter().map(|event| event.client.port).collect::<Vec<_>>();
    assert_eq!(client, [40_000, 2, 4]);
}

/// However many SYNs are refused or unanswered, the number of their events per second is limited; the
/// number of the others is reported.
#[test]
fn a_flood_of_failed_attempts_is_bounded_and_told() {
    const FLOOD: u16 = 5_000;
    const BOUND: usize = 30;
    for answer in [true, false] {
        let config = PipelineConfig {
            attempt_ports: vec![80..=80],
            attempts_per_second: BOUND as u32,
            ..PipelineConfig::default()
        };
        let mut bench = Bench::new(config);
        let timeout_ns = 31_000_000_000;
        let mut now_ns = Talk::new().now_ns;
        for round in 0..2 {
            for port in 0..FLOOD {
                // All within half a second, and those without an answer again a second later.
                let talk = attempt(1024 + port, answer, now_ns);
                now_ns += 100_000;
                if round == 0 || !answer {
                    bench.push_all(&talk.segs);
                }
            }
            now_ns += 500_000_000;
        }
        bench.tick(now_ns + timeout_ns);
        bench.finish();
        let why = if answer { "Refused" } else { "Unreachable" };
        let event = format!("? -> {why} missing [Request]");
        let events = bench.lines.iter().filter(|line| **line == event).count();
        // The half second may span two.
        assert!((BOUND..=2 * BOUND).contains(&events), "{why}: {events}");
        let told: usize = bench
            .lines
            .iter()
            .filter_map(|line| {
                let count = line.strip_prefix("lost ")?;
                let count = count.strip_suffix(" Events connection_attempts")?;
                count.parse::<usize>().ok()
            })
            .sum();
        assert_eq!(events + told, usize::from(FLOOD), "{why}");
    }
}

/// However long the pauses of a capture are, and however many follow one another, each connection has
/// the times of its own records.
#[test]
fn a_capture_with_long_pauses_keeps_requests_and_responses_together() {
    for pause_s in [50, 70, 200, 900, 3600, 86_400] {
        let mut bench = Bench::new(PipelineConfig::default());
        let mut talk = Talk::new();
        let mut expected = Vec::new();
        for n in 0..50 {
            talk = Talk {
                now_ns: talk.now_ns + pause_s * 1000 * MS,
                ..Talk::with_isn(n * 1000, n * 5000)
            };
            talk.client_port = 30_000 + n as u16;
            talk = talk.handshake().c(&get(&format!("/{n}")));
            let answer = ok("abc");
            let (some, rest) = answer.split_at(answer.len() - 1);
            talk = talk.s(some).s(rest).early(1);
            bench.push_all(&talk.segs);
            expected.push(format!("GET /{n} -> 200 OK 3 Length"));
        }
        let mut told = bench.finish();
        told.retain(|line| line != "(finish)");
        assert_eq!(told, expected, "{pause_s}");
        assert_eq!(bench.pipeline.stats().flows, 50, "{pause_s}");
    }
}

/// One record with a timestamp a day ahead ends nothing: not its own connection, and no other.
#[test]
fn one_time_that_is_far_ahead_ends_nothing() {
    let answer = ok("abc");
    let (some, rest) = answer.split_at(answer.len() - 1);
    for at in 0..7 {
        let mut other = Talk::open().c(&get("/other"));
        other.segs.iter_mut().for_each(|seg| seg.client_port = 50_000);
        other.client_port = 50_000;
        let mut talk = Talk::open().wait_ms(10).c(&get("/1")).s(some).s(rest);
        talk = talk.c(&get("/2")).s(&ok("b"));
        talk.segs[at].time_ns += 86_400_000 * MS;
        let mut bench = Bench::new(PipelineConfig::default());
        bench.push_all(&other.segs);
        bench.push_all(&talk.segs);
        for n in 0..40 {
            let more = Talk { client_port: 51_000 + n, now_ns: talk.now_ns, ..Talk::open() };
            bench.push_all(&more.segs);
        }
        other.now_ns = talk.now_ns;
        let sent = other.segs.len();
        other = other.s(&ok("late"));
        bench.push_all(&other.segs[sent..]);
        let expected = [
            "GET /1 -> 200 OK 3 Length",
            "GET /2 -> 200 OK 1 Length",
            "GET /other -> 200 OK 4 Length",
        ];
        let mut told = bench.finish();
        told.retain(|line| line != "(finish)");
        assert_eq!(told, expected, "{at}");
    }
}

/// Browsers and pools open connections ahead of need: one that was answered is not unreachable, and is
/// not forgotten before its first request.
#[test]
fn a_connection_that_waits_for_its_first_request_is_kept() {
    for (wait_s, others) in [(20, 0), (31, 0), (31, 40), (300, 40), (800, 40)] {
        let mut first = Talk::open();
        let mut bench = Bench::new(PipelineConfig::default());
        bench.push_all(&first.segs);
        let mut other = Talk::open().c(&get("/other")).s(&ok("b"));
        other.segs.iter_mut().for_each(|seg| seg.client_port = 50_000);
        bench.push_all(&other.segs);
        other.client_port = 50_000;
        let mut expected = vec!["GET /other -> 200 OK 1 Length".to_owned()];
        for n in 0..others {
            other = other.wait_ms(wait_s * 1000 / others);
            let sent = other.segs.len();
            other = other.c(&get(&format!("/{n}"))).s(&ok("b"));
            bench.push_all(&other.segs[sent..]);
            expected.push(format!("GET /{n} -> 200 OK 1 Length"));
        }
        let sent = first.segs.len();
        first = first.wait_ms(wait_s * 1000).c(&get("/1")).s(&ok("abc"));
        bench.push_all(&first.segs[sent..]);
        expected.push("GET /1 -> 200 OK 3 Length".into());
        let mut told = bench.finish();
        told.retain(|line| line != "(finish)");
        assert_eq!(told, expected, "{wait_s} {others}");
    }
}

/// A handshake that its client does not complete is not unanswered, nor is a SYN that nobody repeats: its answer may
/// have passed elsewhere. A copy at another hook is no repetition.
#[test]
fn only_a_repeated_syn_without_an_answer_is_told_as_unreachable() {
    let config = PipelineConfig { attempt_ports: vec![80..=80], ..PipelineConfig::default() };
    for (seen, again_ms) in
        [(1, None), (2, None), (3, None), (1, Some(1)), (1, Some(1000)), (2, Some(1000))]
    {
        let mut talk = Talk::open();
        talk.segs.truncate(seen);
        if let Some(again_ms) = again_ms {
            let syn = talk.segs[0].clone();
            talk = talk.wait_ms(again_ms).push(syn);
        }
        let mut bench = Bench::new(config.clone());
        bench.push_all(&talk.segs);
        bench.tick(talk.now_ns + 1_000_000 * MS);
        let is_unreachable = seen == 1 && again_ms == Some(1000);
        let expected: &[&str] =
            if is_unreachable { &["? -> Unreachable missing [Request]"] } else { &[] };
        let mut told = bench.finish();
        told.retain(|line| line != "(finish)");
        assert_eq!(told, expected, "{seen} {again_ms:?}");
    }
}

/// What the server retransmits after the close, as late as retransmissions come, is reported once.
#[test]
fn a_copy_that_comes_half_a_minute_after_the_close_makes_nothing() {
    for wait_s in [5, 11, 31, 55] {
        let answer = ok("abc");
        let talk = Talk::open().c(&get("/1")).s(&answer);
        let again = talk.segs.last().expect("a response").clone();
        let talk = talk.s_fin().c_fin().s_ack().wait_ms(wait_s * 1000).push(again);
        check("late", &talk, &["GET /1 -> 200 OK 3 Length"]);
    }
}

/// In a capture, the next packet may come long after the timeout.
#[test]
fn a_timeout_ends_when_it_is_due() {
    for sent in [&*get("/1"), "GET /1 HTTP/1.1\r\nHost: h\r\n"] {
        let talk = Talk::open().c(&get("/0")).s(&ok("a")).c(sent).s_ack();
        let mut bench = Bench::new(PipelineConfig::default());
        bench.push_all(&talk.wait_ms(50_000).c_ack().segs);
        let event = bench.events.last().expect("the timeout");
        assert_eq!(event.no_response, Some(NoResponse::Timeout), "{sent}");
        assert_eq!(event.duration_ns(), Some(30_000_000_000), "{sent}");
    }
}

/// Two packets that agree on a jump in time are believed when nothing follows, one alone is not.
#[test]
fn the_last_packets_after_a_pause_end_what_was_due() {
    for (acks, timeouts) in [(1, 0), (2, 1), (5, 1)] {
        let talk = Talk::open().c(&get("/0")).s(&ok("a")).c(&get("/1"));
        let talk = (0..acks).fold(talk.wait_ms(120_000), |talk, _| talk.wait_ms(1).c_ack());
        let mut bench = Bench::new(PipelineConfig::default());
        bench.push_all(&talk.segs);
        bench.finish();
        let ends = bench.events.iter().map(|event| event.no_response);
        let timed_out = ends.filter(|&end| end == Some(NoResponse::Timeout)).count();
        assert_eq!(timed_out, timeouts, "{acks}");
    }
}

/// What a client acknowledges was sent, whether or not it was seen: on another interface, for example.
#[test]
fn a_request_whose_answer_passed_elsewhere_is_not_called_unanswered() {
    let later = |talk: Talk| talk.wait_ms(40_000).c_ack();
    let answered = Talk::open().c(&get("/1")).s(&ok("a")).lost().c_ack();
    for (name, talk) in [
        ("later", later(answered.clone())),
        ("reset", answered.clone().c_rst()),
        ("closed", answered.c_fin()),
    ] {
        let mut bench = Bench::new(PipelineConfig::default());
        bench.push_all(&talk.segs);
        bench.finish();
        let ends: Vec<_> = bench.events.iter().map(|event| event.no_response).collect();
        assert_eq!(ends, [Some(NoResponse::Unseen)], "{name}");
    }
}

/// If records were lost since it was asked, the answer may have been among them, unless the server's stream was seen up
/// to its end: a timeout says so, and what ended the connection is not known to be why there is no answer.
#[test]
fn records_that_were_lost_since_may_have_held_the_answer() {
    type Ends = fn(Talk) -> Talk;
    let ends: [(&str, Ends, bool); 3] = [
        ("later", |talk| talk.wait_ms(40_000).c_ack(), true),
        ("reset", Talk::c_rst, false),
        ("closed", |talk| talk.c_fin().s_fin().c_ack().wait_ms(5_000).c_ack(), true),
    ];
    for (name, end, is_told) in ends {
        for lost in [0, 3] {
            let mut asked = Talk::open().c(&get("/1"));
            asked.segs.iter_mut().for_each(|seg| seg.hook = Hook::Tc);
            let mut other = Talk::with_isn(5, 5);
            (other.client_port, other.now_ns) = (9, asked.now_ns + MS);
            let other = other.handshake();
            let ended = end(asked.clone().wait_ms(10));
            let rest = ended.segs.get(asked.segs.len()..).unwrap_or_default();
            let mut bench = Bench::new(PipelineConfig::default());
            let all = asked.segs.iter().chain(&other.segs).chain(rest);
            for (seg, attempt) in all.zip(0..) {
                let mut seg = seg.clone();
                seg.hook = Hook::Tc;
                seg.attempt = attempt + if attempt < asked.segs.len() as u32 { 0 } else { lost };
                bench.push(&seg);
            }
            let lines = bench.finish();
            let told = lines.iter().find(|line| line.starts_with("GET /1 -> "));
            assert_eq!(told.is_some(), lost == 0 || is_told, "{name} {lost}: {lines:?}");
            let flagged = told.is_some_and(|line| line.ends_with("flags response_may_be_lost"));
            assert_eq!(flagged, lost > 0 && name == "later", "{name} {lost}: {lines:?}");
        }
    }
}

/// The summary counts connections whose end was not seen.
#[test]
fn a_server_that_closes_ends_its_connection() {
    let one = || Talk::open().c(&get("/1")).s(&ok("a")).c_ack().wait_ms(5_000);
    for (name, talk, unended) in [
        ("open", one(), 1),
        ("the server closes, its client does not", one().s_fin().c_ack(), 0),
        ("both close", one().s_fin().c_ack().wait_ms(20_000).c_fin(), 0),
        ("the server goes on after all", one().s_fin().c_ack().c(&get("/2")).s(&ok("b")), 1),
        ("the client closes, and waits", one().c(&get("/2")).c_fin().s_ack(), 1),
        ("a reset", one().s_rst(), 0),
    ] {
        let mut bench = Bench::new(PipelineConfig::default());
        bench.push_all(&talk.segs);
        bench.finish();
        assert_eq!(bench.pipeline.stats().unended, unended, "{name}");
    }
}

/// As long as TCP itself waits, so that its peer may still go on.
#[test]
fn an_exchange_survives_a_pause_of_an_hour() {
    let asked = || Talk::open().c(&get("/1")).s_ack();
    for (begun, rest, expected) in [
        (
            asked(),
            ok("a"),
            &["GET /1 -> Timeout", "GET /1 -> 200 OK 1 Length flags reported_unanswered"][..],
        ),
        (
            asked().s("HTTP/1.1 200 OK\r\nContent-Le"),
            "ngth: 1\r\n\r\na".into(),
            &["GET /1 -> Timeout", "GET /1 -> 200 OK 1 Length flags reported_unanswered"],
        ),
        (
            asked().s("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"),
            "b".into(),
            &["GET /1 -> 200 OK 1 missing [End] flags still_open"],
        ),
    ] {
        let mut bench = Bench::new(PipelineConfig::default());
        bench.push_all(&begun.segs);
        let later = begun.clone().wait_ms(3_600_000);
        bench.tick(later.now_ns);
        let later = later.s(&rest).c(&get("/2")).s(&ok("b"));
        bench.push_all(&later.segs[begun.segs.len()..]);
        assert_eq!(bench.finish(), [expected, &["GET /2 -> 200 OK 1 Length"]].concat());
    }
}

/// Nobody knows how long a body is whose length is invalid.
#[test]
fn a_body_of_an_invalid_length_has_no_size() {
    for length in ["99999999999999999999", "-5", "x", "3\r\nContent-Length: 4"] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nabc");
        let talk = Talk::open().c(&get("/")).s(&answer).s_fin().c_fin();
        let mut bench = Bench::new(PipelineConfig::default());
        bench.push_all(&talk.segs);
        bench.finish();
        let [event] = &bench.events[..] else { panic!("{length}: {:?}", bench.events) };
        assert_eq!((event.body_bytes, event.response_bytes), (None, None), "{length}");
    }
}

/// Two agents see the same packets at other moments: what is not answered, or with 1xx alone, has one id all the same.
#[test]
fn ids_do_not_depend_on_the_time() {
    let ids = |now_ns: u64| {
        let config = PipelineConfig { attempt_ports: vec![80..=80], ..PipelineConfig::default() };
        let mut bench = Bench::new(config);
        bench.push_all(&attempt(1, true, now_ns).segs);
        let mut talk = Talk::open();
        for seg in &mut talk.segs {
            seg.time_ns = now_ns;
        }
        talk.now_ns = now_ns;
        let talk = talk.c(&get("/1")).s("HTTP/1.1 103 Early Hints\r\n\r\n").s_fin().c_fin();
        bench.push_all(&talk.segs);
        bench.finish();
        let ids: Vec<u64> = bench.events.iter().map(|event| event.id).collect();
        assert_eq!(ids.len(), 2, "{:?}", bench.lines);
        ids
    };
    let now_ns = Talk::open().now_ns;
    assert_eq!(ids(now_ns), ids(now_ns + 12_345_678));
}
