//! What messages say of classes, losses and what was not readable.

use super::*;
use http_trace_model::event::LossUnit;
use http_trace_samples as testing;

fn not_readable(protocol: &'static str, port: u16, connections: u64) -> NotReadable {
    NotReadable { protocol, port, connections }
}

#[test]
fn the_end_names_classes_and_losses() {
    let mut written = WrittenCounts::default();
    written.saw(&testing::event());
    let mut event = testing::event();
    event.informational.push(testing::response("HTTP/1.1 100 Continue\r\n\r\n"));
    written.saw(&event);
    assert!(!written.is_lossy());
    written.left_out_by_filters = 1_204;
    let own = &written.lines("", "")[0];
    assert!(own.ends_with("1,204 left out by filters of an output"), "{own}");
    assert_eq!(
        written.lines("--status 6xx", ""),
        [
            "2 responses (4xx 2), 1 informational head; 0 events written, 1,204 left out by --status 6xx"
        ]
    );
    for count in [4, 5] {
        written.reloads("--status 6xx", "--sample 1%");
        written.left_out_by_filters = count;
    }
    assert!(written.lines("--status 7xx", "")[0].ends_with(
        "0 events written, 5 left out by --status 7xx, 1,208 left out by --status 6xx before a reload"
    ));
    written.left_out_earlier.clear();
    written.left_out_by_filters = 0;
    written.lost(&Loss {
        count: 3_000,
        unit: LossUnit::Records,
        place: "ring_full",
        since_ns: 0,
        until_ns: 1,
        detail: None,
    });
    assert!(written.is_lossy());
    assert_eq!(
        written.lines("", ""),
        ["2 responses (4xx 2), 1 informational head; 0 events written", ADVICE[0].1]
    );
}

#[test]
fn bans_that_were_refused_are_told_with_the_reasons() {
    let mut written = WrittenCounts::default();
    let reasons = ["ban-most is reached", "it is in ban-allow"].into_iter().collect();
    written.banned(true, &Counts { banned: 1, refused: 3, reasons, ..Counts::default() });
    let expected = "1 client would have been banned (dry run); 3 bans refused (ban-most is reached; \
                    it is in ban-allow)";
    assert_eq!(written.bans.as_deref(), Some(expected));
}

#[test]
fn the_last_line_says_what_was_lost_and_what_was_not_readable() {
    let mut written = WrittenCounts::default();
    let tls = [not_readable("TLS", 443, 12)];
    let whole = Coverage::default();
    let of_tls = Coverage { unreadable: &tls, ..whole };
    for (seen, expected) in [
        (whole, "nothing was lost; everything was readable"),
        (of_tls, "nothing was lost; not readable: 12 TLS on :443"),
        (
            Coverage { gaps: 2, gap_bytes: 3_000, ..of_tls },
            "nothing was lost; 3,000 bytes of connections were not seen (2 gaps); not readable: 12 TLS on \
             :443",
        ),
        (
            Coverage { is_cut: true, ..whole },
            "nothing was lost; not all of the input was read; the rest was readable",
        ),
        (Coverage { is_empty: true, ..whole }, "nothing was lost; there was nothing to read"),
        (
            Coverage { has_lines: true, is_empty: true, ..whole },
            "nothing was lost; none of it gave an event",
        ),
        (Coverage { has_lines: true, ..whole }, "nothing was lost; everything was readable"),
        (
            Coverage { gaps: 1, gap_bytes: 9, truncated: [1, 9], ..whole },
            "nothing was lost; 9 bytes of connections were not seen (1 gap); the rest was readable",
        ),
        (
            Coverage { gaps: 1, gap_bytes: 9, truncated: [2, 3_000], ..whole },
            "nothing was lost; 3,000 bytes of connections were not seen (1 gap, 2 truncated segments); the \
             rest was readable",
        ),
        (
            Coverage { truncated: [2, 3_000], is_empty: true, ..whole },
            "nothing was lost; 3,000 bytes of connections were not seen (2 truncated segments); none of it \
             gave an event",
        ),
        (
            Coverage { is_cut: true, is_empty: true, ..whole },
            "nothing was lost; not all of the input was read; none of it gave an event",
        ),
    ] {
        assert_eq!(written.verdict(&seen), expected);
    }
    let loss = |count, place, until_ns| Loss {
        count,
        unit: LossUnit::Records,
        place,
        since_ns: 0,
        until_ns,
        detail: None,
    };
    written.lost(&loss(1, NOT_RUNNING, 64_500_000_000));
    assert_eq!(
        written.verdict(&whole),
        "nothing was lost; nothing was traced in the 1m 5s before this run; everything was readable"
    );
    written.not_running_ns = 0;
    written.lost(&loss(3_000, "ring_full", 1));
    written.failed("/dev/full", "no space", Records { events: 2, alerts: 1 });
    written.failed("report", "no space", Records::NONE);
    assert_eq!(
        written.failed,
        [
            "cannot write to /dev/full: no space; up to 2 events and 1 alert not written there",
            "cannot write to report: no space"
        ]
    );
    assert_eq!(
        written.verdict(&whole),
        "lost: 3,000 records (ring_full), what could not be written or delivered; everything was readable"
    );
}

#[test]
fn requests_that_a_capture_leaves_open_are_not_called_unanswered() {
    let mut written = WrittenCounts::default();
    let mut event = testing::event();
    event.response = None;
    for why in [NoResponse::Unseen, NoResponse::Timeout, NoResponse::Unseen] {
        event.no_response = Some(why);
        written.saw(&event);
    }
    assert_eq!(
        written.lines("", "")[0],
        "0 responses, 1 unanswered request, 2 requests without a response in the capture; 0 events written"
    );
    assert!(!written.is_empty());
}

#[test]
fn an_output_with_filters_says_what_they_left_out() {
    let of = |took, left_out| ByOutput {
        name: "json:a".to_owned(),
        filters: "status=5xx".to_owned(),
        left_out,
        took,
        hints: vec!["a hint".to_owned()],
    };
    let mut written = WrittenCounts {
        taken_by_none: 4,
        by_output: vec![of(1, 5), of(0, 6), of(3, 0)],
        ..WrittenCounts::default()
    };
    written.saw(&testing::event());
    assert_eq!(
        written.lines("", ""),
        [
            "1 response (4xx 1); 0 events written, 4 left out by what outputs take",
            "json:a: 5 events left out by status=5xx",
            "json:a: 6 events left out by status=5xx",
            "a hint",
        ]
    );
}

#[test]
fn what_is_seen_instead_of_readable_traffic() {
    let tls = [not_readable("TLS", 443, 12)];
    for (items, packets, expected) in [
        (
            &tls[..],
            [3_000, 0],
            "nothing readable in 5 s: 12 TLS on :443; 3,000 packets on eth0; is the \
             unencrypted traffic on another interface or port?",
        ),
        (
            &[],
            [20, 7],
            "nothing readable in 5 s: 20 packets on eth0, 7 of them left out by --port; is the \
             unencrypted traffic on another interface or port?",
        ),
        (
            &[],
            [0, 0],
            "no packets on eth0 in 5 s: does the traffic use another interface? (`ip -s link` \
             counts packets per interface, -i chooses one)",
        ),
    ] {
        assert_eq!(nothing_readable(5, items, packets, "on eth0"), expected);
    }
}

#[test]
fn large_numbers_are_grouped() {
    for (count, expected) in
        [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")]
    {
        assert_eq!(grouped(count), expected);
    }
}

#[test]
fn unreadable_connections_by_protocol_and_port() {
    for (items, expected) in [
        (&[][..], None),
        (&[not_readable("TLS", 443, 1)], Some("not readable: 1 TLS on :443")),
        (
            &[
                not_readable("HTTP/2", 8443, 14),
                not_readable("TLS", 8000, 1),
                not_readable("TLS", 443, 390),
                not_readable("TLS", 1, 2),
                not_readable("TLS", 2, 5),
            ],
            Some("not readable: 398 TLS on :443 :2 :1 …, 14 HTTP/2 on :8443"),
        ),
    ] {
        assert_eq!(unreadable(items).as_deref(), expected);
    }
}
