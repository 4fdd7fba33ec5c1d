//! Conversations of which part was not seen: nothing false is reported, and what is missing is reported as
//! such.

use super::*;

fn switch(n: usize) -> Step {
    Step::server(format!("HTTP/1.1 101 OK\r\n{NUMBER}: {n}\r\n\r\n").into_bytes())
}

fn switched(n: usize) -> Transaction {
    Transaction::new("GET", &format!("/{n}/"), 101, "OK")
        .header(NUMBER, n.to_string())
        .body(0, End::Tunnel)
}

/// Two requests, and their responses if both were seen.
fn two_at_once() -> Found {
    Found::new(
        closed(vec![get(0), get(1), ok(0, b""), ok(1, b"")]),
        vec![answered("GET", 0, 0), answered("GET", 1, 0)],
    )
}

#[test]
fn r012_neither_the_syn_nor_the_first_of_two_requests_was_seen() {
    two_at_once().seen(&[1, 2, 4]).check(is_honest);
}

#[test]
fn r013_a_late_first_request_and_a_response_whose_beginning_is_lost() {
    Found::new(
        vec![get(0), ok(0, &[b'x'; 2231]), get(1), ok(1, b""), get(2), ok(2, b"")],
        vec![answered("GET", 0, 2231), answered("GET", 1, 0), answered("GET", 2, 0)],
    )
    .cuts(&[40, 18, 578, 1645])
    .seen(&[1, 2, 5, 6, 7, 8, 3, 9])
    .check(is_honest);
}

#[test]
fn r014_a_copy_of_the_beginning_after_a_late_syn_ack_and_a_hole() {
    Found::new(
        closed(vec![get(0), ok(0, b""), ok(1, b"")]),
        vec![answered("GET", 0, 0), answered("GET", 1, 0)],
    )
    .cuts(&[40, 47, 20])
    .seen(&[2, 3, 4, 1, 6, 4])
    .check(is_honest);
}

#[test]
fn r015_no_payload_was_seen_at_all() {
    Found::new(vec![get(0), ok(0, b""), Step::Reset(Side::Server)], vec![answered("GET", 0, 0)])
        .acked()
        .seen(&[2, 0, 4])
        .check(is_honest);
}

/// Only the position after a request was seen, none of its bytes.
#[test]
fn r016_of_a_request_no_more_was_seen_than_the_place_after_it() {
    Found::new(vec![get(0), ok(0, b"")], vec![answered("GET", 0, 0)])
        .acked()
        .seen(&[4, 0, 6])
        .check(is_honest);
}

#[test]
fn r017_half_of_the_first_request_and_the_1xx_that_answered_it_are_lost() {
    Found::new(
        closed(vec![
            get(0),
            wait(),
            ok(0, b""),
            Step::client(b"\r\nGET /1/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
            get(2),
            wait(),
            ok(1, b""),
            wait(),
            ok(2, &[b'x'; 15000]),
            get(3),
            wait(),
            ok(3, b""),
            get(4),
            wait(),
            ok(4, b""),
        ]),
        (0..5).map(|n| answered("GET", n, if n == 2 { 15000 } else { 0 }).after(&[100])).collect(),
    )
    .cuts(&[21, 7838])
    .acked()
    .seen(&[0, 1, 2, 4, 5, 7])
    .check(is_honest);
}

#[test]
fn r018_two_requests_were_not_seen_and_the_first_was_answered_before_the_third() {
    Found::new(
        vec![
            get(0),
            ok(0, b""),
            get(1),
            Step::client(b"HEAD /2/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
            ok(1, &[b'x'; 500]),
            ok(2, b""),
        ],
        vec![answered("GET", 0, 0), answered("GET", 1, 500), answered("HEAD", 2, 0)],
    )
    .acked()
    .seen(&[0, 1, 2, 4, 5, 6, 8, 9])
    .check(is_honest);
}

#[test]
fn r019_a_syn_is_seen_after_its_connection_and_then_a_copy_of_the_response() {
    Found::new(vec![get(0), ok(0, b""), Step::Reset(Side::Server)], vec![answered("GET", 0, 0)])
        .cuts(&[40, 26])
        .seen(&[3, 4, 5, 6, 0, 4])
        .check(is_honest);
}

#[test]
fn r020_a_request_cut_in_its_method_after_an_answer_to_one_that_was_not_seen() {
    Found::new(
        closed(vec![
            get(0),
            wait(),
            ok(0, b""),
            get(1),
            Step::client(b"HEAD /2/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
            wait(),
            ok(1, b""),
            ok(2, b""),
        ]),
        vec![
            answered("GET", 0, 0).after(&[100]),
            answered("GET", 1, 0).after(&[100]),
            answered("HEAD", 2, 0),
        ],
    )
    .cuts(&[40, 21, 47, 1, 39, 41, 10, 11, 47, 47])
    .acked()
    .seen(&[2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 15])
    .check(is_honest);
}

#[test]
fn r021_a_first_request_is_copied_after_a_tunnel_s_close_and_so_is_the_answer() {
    Found::new(
        closed(vec![
            get(0),
            switch(0),
            Step::client(vec![0xc3; 300]),
            Step::server(vec![0xc3; 300]),
        ]),
        vec![switched(0)],
    )
    .cuts(&[300])
    .seen(&[1, 2, 4, 6, 7, 8, 3, 4])
    .check(is_honest);
}

#[test]
fn r022_the_second_request_and_the_first_answer_again_after_both_fins() {
    Found::new(
        closed(vec![get(0), ok(0, b""), get(1), ok(1, b"")]),
        vec![answered("GET", 0, 0), answered("GET", 1, 0)],
    )
    .cuts(&[40])
    .acked()
    .seen(&[1, 2, 4, 5, 6, 7, 11, 12, 13, 14, 8, 5])
    .check(is_honest);
}

/// Part of a head is lost whose response opens a tunnel.
#[test]
fn r023_part_of_a_head_is_lost_whose_answer_makes_a_tunnel() {
    Found::new(
        closed(vec![
            get(0),
            ok(0, b""),
            Step::client(
                [b"GET /1/ HTTP/1.1\r\nServer: ".as_slice(), &[b'v'; 5000], b"\r\n\r\n"].concat(),
            ),
            switch(1),
            Step::server(vec![0xc3; 300]),
        ]),
        vec![answered("GET", 0, 0), switched(1)],
    )
    .cuts(&[40, 47, 566, 1500, 1500, 4000])
    .seen(&[0, 1, 2, 3, 4, 5, 6, 9, 7])
    .check(is_honest);
}

#[test]
fn r024_the_request_is_seen_after_the_rst_and_then_the_response_again() {
    Found::new(vec![get(0), ok(0, b""), Step::Reset(Side::Server)], vec![answered("GET", 0, 0)])
        .cuts(&[47])
        .seen(&[0, 1, 2, 4, 5, 3, 4])
        .check(is_honest);
}

#[test]
fn r025_the_end_of_a_body_and_the_request_of_a_tunnel_are_lost() {
    Found::new(
        closed(vec![
            get(0),
            ok(0, &[b'x'; 3500]),
            get(1),
            switch(1),
            Step::client(vec![0xc3; 300]),
            Step::server(vec![0xc3; 300]),
        ]),
        vec![answered("GET", 0, 3500), switched(1)],
    )
    .cuts(&[1000])
    .seen(&[0, 1, 2, 3, 4, 5, 6, 9])
    .check(is_honest);
}

#[test]
fn r026_the_first_request_was_not_seen_and_its_answer_is_late() {
    Found::new(
        vec![
            get(0),
            wait(),
            ok(0, b""),
            Step::client(b"CONNECT db.example:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
            Step::server(b"HTTP/1.1 301 OK\r\nX-Nr: 1\r\nContent-Length: 0\r\n\r\n".to_vec()),
            get(2),
            wait(),
            ok(2, b""),
            Step::Reset(Side::Server),
        ],
        vec![
            answered("GET", 0, 0).after(&[100]),
            Transaction::new("CONNECT", "db.example:443", 301, "OK")
                .header(NUMBER, "1")
                .header("Content-Length", "0")
                .body(0, End::Length),
            answered("GET", 2, 0).after(&[100]),
        ],
    )
    .seen(&[0, 1, 2, 4, 6, 7, 8, 5])
    .check(is_honest);
}

/// A response that had not received the request whose turn it seemed to be.
#[test]
fn r027_an_answer_that_had_not_received_what_seemed_to_be_its_turn() {
    Found::new(
        closed(vec![
            get(0),
            ok(0, b""),
            get(1),
            get(2),
            ok(1, &[b'x'; 3000]),
            ok(2, b""),
            Step::client(b"CONNECT db.example:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
            Step::server(b"HTTP/1.1 200 OK\r\nX-Nr: 3\r\n\r\n".to_vec()),
        ]),
        vec![
            answered("GET", 0, 0),
            answered("GET", 1, 3000),
            answered("GET", 2, 0),
            Transaction::new("CONNECT", "db.example:443", 200, "OK")
                .header(NUMBER, "3")
                .body(0, End::Tunnel),
        ],
    )
    .seen(&[0, 1, 2, 6])
    .check(is_honest);
}

#[test]
fn r028_no_handshake_and_requests_cut_in_their_lines() {
    Found::new(
        closed(vec![get(0), get(1), get(2), wait(), ok(0, b""), ok(1, b""), ok(2, b"")]),
        vec![answered("GET", 0, 0).after(&[100]), answered("GET", 1, 0), answered("GET", 2, 0)],
    )
    .cuts(&[14, 26, 14, 26, 40, 1448, 1448])
    .seen(&[3, 4, 5, 6, 7])
    .check(is_honest);
}

#[test]
fn r029_no_handshake_a_first_request_cut_after_a_byte_and_part_of_a_1xx_lost() {
    Found::new(
        closed(vec![
            get(0),
            get(1),
            long_wait(783),
            ok(0, b""),
            wait(),
            ok(1, b""),
            get(2),
            wait(),
            ok(2, b""),
        ]),
        vec![
            answered("GET", 0, 0).after(&[100]),
            answered("GET", 1, 0).after(&[100]),
            answered("GET", 2, 0).after(&[100]),
        ],
    )
    .cuts(&[1, 45, 223, 781])
    .seen(&[2, 3, 4, 5, 6])
    .check(is_honest);
}

#[test]
fn r030_no_handshake_the_second_of_three_requests_at_once_begins_with_a_blank_line() {
    Found::new(
        vec![
            get(0),
            Step::client(b"\r\nGET /1/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
            get(2),
            long_wait(131),
            ok(0, b""),
            ok(1, b""),
            ok(2, b""),
            Step::Close(Side::Client),
            Step::Close(Side::Server),
        ],
        vec![answered("GET", 0, 0).after(&[100]), answered("GET", 1, 0), answered("GET", 2, 0)],
    )
    .cuts(&[19, 24, 40, 28])
    .seen(&[3, 4, 5, 6, 7, 8, 9])
    .check(is_honest);
}

#[test]
fn r031_no_handshake_s_answer_a_tunnel_s_request_cut_after_a_byte() {
    Found::new(
        closed(vec![
            Step::client(b"HEAD /0/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
            ok(0, b""),
            Step::client(b"CONNECT 1.db.example:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
            ok(1, b""),
            Step::client(vec![0xc3; 300]),
            Step::server(vec![0xc3; 300]),
        ]),
        vec![
            Transaction::new("HEAD", "/0/", 200, "OK")
                .header(NUMBER, "0")
                .header("Content-Length", "0")
                .body(0, End::None),
            Transaction::new("CONNECT", "1.db.example:443", 200, "OK")
                .header(NUMBER, "1")
                .header("Content-Length", "0")
                .body(0, End::Tunnel),
        ],
    )
    .isn([2_857_746_428, 0])
    .cuts(&[1, 99])
    .seen(&[0, 2])
    .check(is_honest);
}

#[test]
fn r032_the_syn_was_not_seen_with_which_the_first_of_two_requests_came() {
    two_at_once().fast_open().cuts(&[40]).seen(&[1, 2]).check(is_honest);
}

#[test]
fn r033_no_syn_ack_was_seen_and_the_first_of_two_requests_came_with_the_syn() {
    two_at_once().fast_open().cuts(&[40]).seen(&[0, 2]).check(is_honest);
}

#[test]
fn r034_no_handshake_the_first_request_was_not_seen_and_part_of_a_1xx_is_lost() {
    Found::new(
        closed(vec![get(0), get(1), long_wait(808), ok(0, b""), ok(1, b"")]),
        vec![answered("GET", 0, 0).after(&[100]), answered("GET", 1, 0)],
    )
    .cuts(&[19, 789, 40])
    .seen(&[5, 6, 8])
    .check(is_honest);
}

/// A whole exchange is seen in reverse order after its RST.
#[test]
fn r035_a_whole_exchange_is_seen_the_wrong_way_round_after_its_rst() {
    Found::new(vec![get(0), ok(0, b""), Step::Reset(Side::Server)], vec![answered("GET", 0, 0)])
        .cuts(&[4097])
        .acked()
        .seen(&[0, 1, 2, 4, 5, 6, 7, 3, 5])
        .check(is_honest);
}

#[test]
fn r036_the_tail_of_a_request_is_seen_after_the_rst_and_then_the_response_again() {
    Found::new(vec![get(0), ok(0, b""), Step::Reset(Side::Server)], vec![answered("GET", 0, 0)])
        .cuts(&[1, 48])
        .seen(&[5, 6, 4, 5])
        .check(is_honest);
}

#[test]
fn r037_the_beginning_is_seen_after_what_it_begins_and_its_first_response_too() {
    Found::new(
        closed(vec![get(0), ok(0, b""), get(1), ok(1, b"")]),
        vec![answered("GET", 0, 0), answered("GET", 1, 0)],
    )
    .seen(&[2, 6, 1, 4])
    .check(is_honest);
}

#[test]
fn r038_the_second_request_then_the_syn_ack_and_the_first() {
    Found::new(
        closed(vec![get(0), get(1), wait(), ok(0, b""), ok(1, b""), get(2), ok(2, b"")]),
        vec![answered("GET", 0, 0).after(&[100]), answered("GET", 1, 0), answered("GET", 2, 0)],
    )
    .cuts(&[3007, 948, 2, 2, 36, 22])
    .seen(&[2, 4, 1, 3])
    .check(is_honest);
}

#[test]
fn r039_a_tunnel_s_request_is_seen_after_its_fin() {
    Found::new(
        closed(vec![
            get(0),
            switch(0),
            Step::client(vec![0xc3; 300]),
            Step::server(vec![0xc3; 300]),
        ]),
        vec![switched(0)],
    )
    .cuts(&[300])
    .seen(&[1, 2, 4, 5, 7, 3, 8])
    .check(is_honest);
}

#[test]
fn r040_the_handshake_comes_after_the_response_that_it_precedes_and_a_copy_of_that() {
    Found::new(
        vec![get(0), ok(0, b""), Step::Close(Side::Client), Step::Close(Side::Server)],
        vec![answered("GET", 0, 0)],
    )
    .cuts(&[40, 47])
    .seen(&[2, 4, 1, 0, 3, 6, 4, 7])
    .check(is_honest);
}

/// A server's FIN is the first thing that a filter reports of its stream.
#[test]
fn r041_a_server_s_fin_is_the_first_that_a_filter_tells_of_its_stream() {
    Found::new(
        vec![
            Step::client(pipelined(3)),
            Step::server([0, 1, 2].map(head).concat()),
            get(3),
            ok(3, b""),
            Step::Close(Side::Client),
            Step::Close(Side::Server),
        ],
        (0..4).map(|n| answered("GET", n, 0)).collect(),
    )
    .cuts(&[120, 1, 140, 40])
    .acked()
    .seen(&[0, 2, 4, 5, 6, 7, 8, 3, 9, 11, 12, 13, 10, 14])
    .check(is_honest);
}
