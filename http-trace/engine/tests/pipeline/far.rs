//! Segments far from the position of their direction.

use crate::talk::{Side, Talk, check, get, ok};
use crate::tcp::TWO;
use http_trace_common::record::Hook;

/// Distances: beyond any window, further, and behind in modular arithmetic.
const FAR: [u32; 4] = [20 << 20, 100 << 20, 1 << 30, 3 << 30];

#[test]
fn a_segment_from_far_off_that_nothing_confirms_is_nothing() {
    let forged = ok("forged");
    let body = "y".repeat(3000);
    let answer = ok(&body);
    let until_close = "HTTP/1.1 200 OK\r\n\r\nabc";
    for far in FAR {
        for hook in [Hook::Capture, Hook::Tc] {
            let forge = |talk: Talk| {
                let mut seg = talk.seg(Side::Server, forged.as_bytes());
                seg.seq = seg.seq.wrapping_add(far);
                seg.hook = hook;
                talk.push(seg)
            };
            let name = |what: &str| format!("{what}, {far} {hook:?}");
            let first = || Talk::open().c(&get("/1")).s(&ok("hello"));
            let rest = |talk: Talk| talk.c(&get("/2")).s(&ok("ab"));
            check(&name("between messages"), &rest(forge(first())), &TWO);
            let late = forge(first()).wait_ms(20_000);
            check(&name("and long before the next"), &rest(late), &TWO);
            check(&name("at the end"), &forge(rest(first())), &TWO);
            check(&name("twice"), &rest(forge(forge(first()))), &TWO);
            let asked = forge(first().c(&get("/2"))).s(&ok("ab"));
            check(&name("before an answer"), &asked, &TWO);
            let begun = Talk::open().c(&get("/1")).s(&answer[..1000]);
            let big = ["GET /1 -> 200 OK 3000 Length", TWO[1]];
            check(&name("in a body"), &rest(forge(begun).s(&answer[1000..])), &big);
            let begun = Talk::open().c(&get("/1")).s(&answer[..20]);
            check(&name("in a head"), &rest(forge(begun).s(&answer[20..])), &big);
            let open = Talk::open().c(&get("/1")).s(until_close);
            check(
                &name("before the close"),
                &forge(open).s("de").s_fin().c_fin(),
                &["GET /1 -> 200 OK 5 Close"],
            );
        }
    }
}

#[test]
fn the_first_segment_from_far_off_is_nothing_when_others_say_so() {
    let forged = ok("forged");
    let told = |talk: Talk| -> Vec<String> {
        let lines = talk.judged().into_iter();
        lines.filter(|line| line.contains(" -> ")).collect()
    };
    for far in FAR {
        for hook in [Hook::Capture, Hook::Tc] {
            let forge = |talk: Talk, from: Side, bytes: &str| {
                let mut seg = talk.seg(from, bytes.as_bytes());
                seg.seq = seg.seq.wrapping_add(far);
                seg.hook = hook;
                talk.push(seg)
            };
            let name = |what: &str| format!("{what}, {far} {hook:?}");
            // The handshake was not seen: the client's acknowledgement shows the server's position.
            let asked = || Talk::new().c(&get("/1"));
            let rest = |talk: Talk| talk.s(&ok("hello")).c(&get("/2")).s(&ok("ab"));
            let expected = told(rest(asked()));
            assert_eq!(expected.len(), 2);
            let got = told(rest(forge(asked(), Side::Server, &forged)));
            assert_eq!(got, expected, "{}", name("before the answer"));
            let twice = forge(forge(asked(), Side::Server, &forged), Side::Server, &forged);
            assert_eq!(told(rest(twice)), expected, "{}", name("twice"));
            // Nothing contradicts it, and nothing confirms it.
            let alone = told(forge(asked(), Side::Server, &forged));
            assert!(alone.is_empty(), "{}: {alone:#?}", name("alone"));
            // After the close, by either side.
            for closed in [
                Talk::open().c(&get("/1")).s(&ok("hello")).s_fin().c_fin(),
                Talk::open().c(&get("/1")).s(&ok("hello")).s_rst(),
            ] {
                let got = forge(closed.clone(), Side::Server, &forged);
                check(&name("after the end"), &got, &TWO[..1]);
                let got = forge(closed.clone(), Side::Client, &get("/forged"));
                check(&name("a request after the end"), &got, &TWO[..1]);
                // The next connection, whose handshake was not seen, continues.
                let mut next = closed;
                next.client = next.client.wrapping_add(far);
                next.server = next.server.wrapping_add(far);
                let got = told(next.clone().c(&get("/2")).s(&ok("ab")));
                assert_eq!(got.len(), 2, "{}: {got:#?}", name("the next"));
                assert!(got[1].starts_with("GET /2 -> 200 OK 2 Length"), "{got:#?}");
                let got = told(next.s(&ok("ab")).s_fin());
                assert_eq!(got.len(), 2, "{}: {got:#?}", name("one side of the next"));
            }
        }
    }
}

#[test]
fn a_stream_that_really_is_far_on_is_followed() {
    // All of a body but its ends was lost; its last segment is acknowledged.
    let length = 100 << 20;
    let mut talk = Talk::open()
        .c(&get("/1"))
        .s(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
    talk.server += length - 10;
    let talk = talk.s("0123456789").c_ack().wait_ms(200);
    check(
        "in a body",
        &talk.c(&get("/2")).s(&ok("ab")),
        &["GET /1 -> 200 OK 104857600 Length flags body_gap", "GET /2 -> 200 OK 2 Length"],
    );
    for far in FAR {
        // Whole exchanges were lost. What follows shows the connection's position.
        let mut talk = Talk::open().c(&get("/1")).s(&ok("hello"));
        talk.client += 5000;
        talk.server = talk.server.wrapping_add(far);
        let talk = talk
            .c(&get("/8"))
            .s(&ok("abc"))
            .c(&get("/9"))
            .s(&ok("ab"))
            .wait_ms(20_000)
            .c(&get("/10"))
            .s(&ok(""));
        let got = talk.judged();
        assert_eq!(got.first().map(String::as_str), Some(TWO[0]), "{far}");
        for (target, answer) in [("/8", "3 Length"), ("/9", "2 Length"), ("/10", "0 Length")] {
            let event = got.iter().find(|line| line.contains(answer));
            let event = event.unwrap_or_else(|| panic!("{far} {answer}: {got:#?}"));
            let own = event.starts_with(&format!("GET {target} "));
            assert!(own || event.contains("Request"), "{far}: {got:#?}");
        }
    }
    // The next connection on the same ports, whose handshake was not seen.
    for far in FAR {
        let mut talk = Talk::open().c(&get("/1")).s(&ok("hello"));
        talk.client = talk.client.wrapping_add(far);
        talk.server = talk.server.wrapping_add(far);
        let got = talk.c(&get("/2")).s(&ok("ab")).c(&get("/3")).s(&ok("abc")).judged();
        assert!(got.iter().any(|line| line.contains("200 OK 2 Length")), "{far}: {got:#?}");
        assert!(got.iter().any(|line| line.contains("200 OK 3 Length")), "{far}: {got:#?}");
    }
}
