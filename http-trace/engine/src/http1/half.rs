//! Framing state of one direction, and tests of its first bytes. Must not depend on the other direction.

use http_trace_common::framer::{Framer, Phase};
use http_trace_common::start_line::{Match, request_line, status_line};

use super::decode;
use super::hand_back::Trial;
use crate::origin::Origin;

/// The part of a message that a direction is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Message {
    #[default]
    None,
    Head,
    Request,
    Response,
    /// A head with an impossible status code, and its body: framed and counted, makes no event.
    Uncounted,
}

/// Whether a response that answers no other request came while the request's head is incomplete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answered {
    #[default]
    No,
    /// One came that may answer it.
    Perhaps,
    /// Informational ones came that belong to it, and have what was seen of the request.
    Informed,
    /// A final one came that answers it, and has the request.
    Taken,
}

/// One direction's framing.
#[derive(Debug, Default)]
pub(crate) struct Half {
    pub framer: Framer,
    /// Position of the next byte.
    pub next: u64,
    /// Up to where its peer had received it when that began its last response.
    pub received: u64,
    pub message: Message,
    /// The head's bytes from before the current chunk.
    pub head: Vec<u8>,
    pub head_len: u64,
    pub head_start: u64,
    pub head_origin: Option<Origin>,
    /// The request of the current response has been looked up.
    pub paired: bool,
    /// The request whose head passes was reported as unanswered, or is too uncertain for that.
    pub reported: bool,
    /// An event without a response was written for it.
    pub has_event: bool,
    pub answered: Answered,
    /// Bytes after a head that may begin the next one ([`Phase::Peek`]).
    pub undecided: Vec<u8>,
    pub undecided_origin: Option<Box<Origin>>,
    /// Ordinal of the request whose body passes.
    pub ordinal: u32,
    /// That request asked to be told whether its body is wanted (`Expect: 100-continue`).
    pub expects: bool,
    /// Where its body would have ended, if what followed was taken for another request instead, and may be the body.
    pub left_out: Option<u64>,
    /// Names of oddities for the current message.
    pub oddities: Vec<&'static str>,
    /// Framing was lost because of missing bytes in live traffic.
    pub lost: bool,
    /// The bytes passed over before the next one ended like a head.
    pub passed_head: bool,
    /// What the segment of the bytes right before the next one acknowledged, if they were seen.
    pub passed_ack: Option<u32>,
    /// When what brought it here was seen, Unix time in ns. Bytes that waited behind a hole are older than
    /// what the other direction has passed meanwhile.
    pub seen_ns: u64,
    /// A filter's trial at a position further ahead.
    pub trial: Option<Trial>,
}

impl Half {
    pub fn new(framer: Framer, next: u64) -> Self {
        Half { framer, next, ..Half::default() }
    }

    /// Whether nothing of a message is held.
    pub fn is_quiet(&self) -> bool {
        self.message == Message::None
            && (self.framer.at_rest()
                || matches!(self.framer.phase(), Phase::Unsure | Phase::Opaque))
    }

    pub fn held(&self) -> usize {
        self.head.capacity() + self.undecided.capacity()
    }

    /// Notes that it goes on with a segment of `origin`.
    pub fn seen(&mut self, origin: &Origin) {
        self.seen_ns = self.seen_ns.max(origin.time_ns);
    }

    pub fn odd(&mut self, name: &'static str) {
        if !self.oddities.contains(&name) {
            self.oddities.push(name);
        }
    }
}

/// Methods at which a lost direction resynchronises, and with which a malformed request line is
/// accepted: IANA's HTTP Method Registry, and those of UPnP, caches, RPC over HTTP and Configuration
/// Manager. Listed because a segment may begin in the middle of a method, and `ET` is not one.
const METHODS: &str = "\
    GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY ACL BASELINE-CONTROL BIND \
    CHECKIN CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF \
    MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH REBIND REPORT SEARCH UNBIND UNCHECKOUT \
    UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL M-SEARCH NOTIFY SUBSCRIBE \
    UNSUBSCRIBE PURGE BAN SOURCE RPC_IN_DATA RPC_OUT_DATA CCM_POST";

/// Whether a segment's bytes are, or may be, the beginning of a message: a response, a request, or
/// either if it is unknown what the direction carries. A body may contain the other kind.
pub(crate) fn begins_message(bytes: &[u8], is_response: Option<bool>) -> bool {
    if is_response != Some(false) {
        match status_line(bytes) {
            Match::Yes => return true,
            Match::NeedMore if bytes.len() >= 5 => return true,
            _ => {}
        }
    }
    if is_response == Some(true) {
        return false;
    }
    request_line(bytes) != Match::No && begins_with_method(bytes)
}

/// Whether these bytes begin with a whole request line of a known method.
pub(super) fn begins_request(bytes: &[u8]) -> bool {
    request_line(bytes) == Match::Yes && begins_with_method(bytes)
}

/// Whether bytes may begin a message. For a filter that declares a beginning here, it suffices that the
/// bytes do not contradict it.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    status_line(bytes) == Match::NeedMore || request_line(bytes) == Match::NeedMore
}

/// Whether bytes end with a blank line, or are the rest of one.
pub(super) fn ends_as_heads_do(bytes: &[u8]) -> bool {
    if bytes.iter().all(|b| matches!(b, b'\r' | b'\n')) {
        return true;
    }
    // As for the framer, LF ends the line, and CRs before it are ignored.
    let Some((b'\n', before)) = bytes.split_last() else { return false };
    before.iter().rev().find(|&&b| b != b'\r') == Some(&b'\n')
}

/// Whether bytes begin with a known method and a blank.
pub(super) fn begins_with_method(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .position(|&b| decode::is_blank(b))
        .and_then(|sp| bytes.get(..sp))
        .is_some_and(|method| METHODS.split(' ').any(|known| known.as_bytes() == method))
}

#[cfg(test)]
mod tests {
    use http_trace_common::framer::{Event, Framer, RequestQueue};

    use super::ends_as_heads_do;

    fn framer_ends(bytes: &[u8]) -> bool {
        let (mut framer, mut queue) = (Framer::new(), RequestQueue::new());
        let (mut at, mut ended) = (0, false);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let step = framer.step(&mut queue, rest);
            at += step.taken as usize;
            ended = matches!(step.event, Some(Event::HeadEnds { .. }));
        }
        ended
    }

    #[test]
    fn a_head_ends_where_the_framer_ends_it() {
        for crs in 0..6 {
            let crs = "\r".repeat(crs);
            for (line, ends) in [("Host: x\n", true), ("Host: x\r\n", true), ("Host: x", false)] {
                let rest = format!("{line}{crs}\n");
                let head = format!("GET / HTTP/1.1\r\n{rest}");
                assert_eq!(framer_ends(head.as_bytes()), ends, "{head:?}");
                assert_eq!(ends_as_heads_do(rest.as_bytes()), ends, "{rest:?}");
            }
            assert!(ends_as_heads_do(format!("{crs}\n").as_bytes()));
        }
        assert!(!ends_as_heads_do(b"Host: x\n\r"));
    }
}
