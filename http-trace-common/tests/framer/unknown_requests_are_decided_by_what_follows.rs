//! Where the open requests are unknown, the thirteen bytes after a head decide.

use http_trace_common::framer::{Framer, MethodKind, RequestQueue};

use crate::run;

#[test]
fn unknown_requests_are_decided_by_the_next_thirteen_bytes() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n";
    let mut with_status_line = head.to_vec();
    with_status_line.extend_from_slice(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        run(&mut Framer::new(), &mut RequestQueue::unknown(), &[&with_status_line]),
        [
            "begin-0",
            "Head 39",
            "head 200 Length(20) []",
            "Undecided 12",
            "begin-12",
            "Head 26",
            "head 404 Length(0) [resynchronised]",
            "Idle"
        ],
    );
    let mut with_body = head.to_vec();
    with_body.extend_from_slice(b"HTTP/1.1 is twenty b");
    assert_eq!(
        run(&mut Framer::new(), &mut RequestQueue::unknown(), &[&with_body]),
        [
            "begin-0", "Head 39", "head 200 Length(20) []", "Undecided 9", "body-9", "Body 11",
            "end", "Idle"
        ],
    );
    let mut short_body = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nH".to_vec();
    short_body.extend_from_slice(b"HTTP/1.1 204 No\r\n\r\n");
    assert_eq!(
        run(&mut Framer::new(), &mut RequestQueue::unknown(), &[&short_body]),
        [
            "begin-0", "Head 38", "head 200 Length(1) []", "Undecided 1", "body-1", "end",
            "begin-0", "Head 19", "head 204 None []", "Idle"
        ],
    );
}

#[test]
fn the_queue_forgets_nothing_up_to_its_capacity() {
    let mut queue = RequestQueue::new();
    let kinds = [MethodKind::Head, MethodKind::Other, MethodKind::Connect];
    (0..RequestQueue::CAPACITY).for_each(|i| queue.push(kinds[i as usize % 3]));
    for i in 0..RequestQueue::CAPACITY {
        assert_eq!(queue.pop(), Some(kinds[i as usize % 3]));
    }
    assert_eq!((queue.pop(), queue.is_unknown()), (None, false));
    (0..=RequestQueue::CAPACITY).for_each(|_| queue.push(MethodKind::Head));
    assert!(queue.is_unknown());
    assert_eq!(queue.pop(), None);
}
