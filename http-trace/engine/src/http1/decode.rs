//! Decodes a head's bytes into fields.
//!
//! Refuses nothing after a start line: folded lines, lines without a colon, control characters and HTTP/1.2
//! are decoded as far as possible, so that no framed head is lost. A head may also be cut short by a gap;
//! then its complete lines are decoded.

use bytes::Bytes;
use http_trace_common::framer::flag;
use http_trace_common::start_line::{is_separator, is_token};
use memchr::memchr;

use http_trace_model::head::{Headers, RequestHead, ResponseHead};
use http_trace_model::known::Known;

/// Decodes a response head; `None` unless it begins with a status line that has a code. The second value
/// holds bits of [`flag`].
pub fn response(bytes: &[u8], wire_len: u64, first_byte_ns: u64) -> Option<(ResponseHead, u32)> {
    let (line, rest) = first_line(bytes);
    let end = match line.get(8) {
        Some(b' ') => 8,
        _ => line.iter().position(|&b| is_blank(b))?,
    };
    let (sent, after) = line.split_at(end);
    let (minor_version, version) = match sent {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9'] => (minor - b'0', None),
        [b'H', b'T', b'T', b'P', b'/', ..] => (1, Some(Bytes::copy_from_slice(sent))),
        _ => return None,
    };
    let after = after.trim_ascii_start();
    let status = after.get(..3).filter(|code| code.iter().all(u8::is_ascii_digit))?;
    let status = status.iter().fold(0, |n, &d| n * 10 + u16::from(d - b'0'));
    let reason = word(trim(after.get(3..).unwrap_or_default()));
    let (headers, flags) = fields(bytes, rest);
    let content_length = content_length(&headers);
    Some((
        ResponseHead {
            minor_version,
            version,
            status,
            reason,
            headers,
            content_length,
            wire_len,
            first_byte_ns,
        },
        flags,
    ))
}

/// Decodes a request head; `None` unless it begins with a method, a blank and the rest of a line, or as much of
/// it as the limit of heads leaves. The target of a malformed line is everything between the method and something
/// like a version, or up to the end of the line.
pub fn request(bytes: &[u8], wire_len: u64) -> Option<(RequestHead, u32)> {
    let (line, rest) = first_line(bytes);
    let line = line.trim_ascii_end();
    let sp = line.iter().position(|&b| is_blank(b))?;
    let method = word(line.get(..sp)?);
    let is_cut = || !has_start_line(bytes);
    let minor_version = match line {
        [.., b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] => *minor,
        _ => b'0' + u8::from(is_cut()),
    };
    let mut malformed = 0;
    let mut version = None;
    let target = match line {
        [between @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', _]
            if between.len() > sp && line[sp] == b' ' =>
        {
            trim(between.get(sp..).unwrap_or_default())
        }
        _ if is_cut() && wire_len <= bytes.len() as u64 => return None,
        _ if is_cut() => trim_words(line.get(sp..).unwrap_or_default()),
        _ => {
            malformed = flag::MALFORMED_REQUEST;
            let (target, other) = without_version(trim_words(line.get(sp..).unwrap_or_default()));
            version = other.map(Bytes::copy_from_slice);
            target
        }
    };
    if target.is_empty() {
        malformed = flag::MALFORMED_REQUEST;
    }
    let target = Bytes::copy_from_slice(target);
    let (headers, flags) = fields(bytes, rest);
    let minor_version = minor_version.wrapping_sub(b'0');
    Some((
        RequestHead { method, target, minor_version, version, headers, wire_len },
        flags | malformed,
    ))
}

/// Decodes a head whose first line is not an HTTP/1.x request line but was answered: a word, then
/// perhaps a target, then perhaps a version of any protocol.
pub fn other_request(bytes: &[u8]) -> RequestHead {
    let (line, rest) = first_line(bytes);
    let line = line.trim_ascii_end();
    let end = line.iter().position(|&b| b == b' ').unwrap_or(line.len());
    let (method, after) = line.split_at(end);
    let (target, version) = without_version(trim_words(after));
    RequestHead {
        method: word(method),
        target: Bytes::copy_from_slice(target),
        minor_version: 0,
        version: version.map(Bytes::copy_from_slice),
        headers: fields(bytes, rest).0,
        wire_len: bytes.len() as u64,
    }
}

/// A method or a reason phrase; the usual ones take no memory.
fn word(bytes: &[u8]) -> Bytes {
    const USUAL: [&[u8]; 8] = [
        b"OK", b"GET", b"POST", b"HEAD", b"Found", b"Not Found", b"Not Modified",
        b"Moved Permanently",
    ];
    match USUAL.into_iter().find(|usual| *usual == bytes) {
        Some(usual) => Bytes::from_static(usual),
        None => Bytes::copy_from_slice(bytes),
    }
}

/// Limit on the length of a version, in bytes.
const LONGEST_VERSION: usize = 32;

/// Splits what follows a method into the target and a last word that was meant as a version other than HTTP/1.x
/// (`HTTP/1.`, `HTTP/2`, `RTSP/1.0`). A word `HTTP/` without a number may be anything, such as a secret of the query
/// before it, and belongs to the target.
fn without_version(rest: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(blank) = rest.iter().rposition(|&b| is_blank(b)) else { return (rest, None) };
    let (target, word) = rest.split_at(blank);
    let (target, word) = (trim_words(target), trim_words(word));
    if let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9'] = word {
        return (target, None);
    }
    let http = word.split_first_chunk::<5>().is_some_and(|(name, number)| {
        let of_number = |b: &u8| b.is_ascii_digit() || *b == b'.';
        name.eq_ignore_ascii_case(b"HTTP/") && number.iter().all(of_number)
    });
    let short = word.len() <= LONGEST_VERSION;
    if short && (http || is_version(word)) { (target, Some(word)) } else { (rest, None) }
}

/// Whether a word is a version in the format of HTTP and protocols modelled on it: letters, `/`, digit,
/// `.`, digit.
pub fn is_version(word: &[u8]) -> bool {
    match word {
        [name @ .., b'/', major, b'.', minor] => {
            !name.is_empty()
                && name.iter().all(u8::is_ascii_alphabetic)
                && major.is_ascii_digit()
                && minor.is_ascii_digit()
        }
        _ => false,
    }
}

/// Whether a truncated head contains its whole start line.
pub fn has_start_line(bytes: &[u8]) -> bool {
    memchr(b'\n', bytes).is_some()
}

/// The start line without its line terminator, and the bytes after it.
fn first_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr(b'\n', bytes).unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    (without_cr(line), rest.get(1..).unwrap_or_default())
}

/// A line without the CRs before its LF: text mode turns one CR into two.
fn without_cr(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b'\r'] = line {
        line = rest;
    }
    line
}

/// Field lines up to the blank line or the end of the bytes, whatever their content.
fn fields(bytes: &[u8], mut rest: &[u8]) -> (Headers, u32) {
    // Most lines are longer than this.
    const SHORT: usize = 24;
    let mut headers = Headers::of(bytes, (rest.len() / SHORT + 1).min(32));
    let mut flags = 0;
    // The last field's folded lines, joined when the next field begins.
    let mut folds: Vec<&[u8]> = Vec::new();
    while let Some(end) = memchr(b'\n', rest) {
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let line = without_cr(line);
        if line.is_empty() {
            break;
        }
        if matches!(line.first(), Some(b' ' | b'\t')) && !headers.is_empty() {
            folds.push(trim(line));
            continue;
        }
        if !folds.is_empty() {
            join(&mut headers, &mut folds);
        }
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            flags |= flag::LINE_WITHOUT_COLON;
            continue;
        };
        let (name, value) = line.split_at(colon);
        let name = trim(name);
        if name.len() != colon {
            flags |= flag::SPACE_BEFORE_COLON;
        }
        let known = headers.push_part(bytes, name, trim(value.get(1..).unwrap_or_default()));
        if known == Known::NONE && (name.is_empty() || !name.iter().all(|&b| is_token(b))) {
            flags |= flag::BAD_FIELD_NAME;
        }
    }
    if !folds.is_empty() {
        join(&mut headers, &mut folds);
    }
    (headers, flags)
}

/// Appends folded lines to the last field, each after one space (RFC 9112 §5.2).
fn join(headers: &mut Headers, folds: &mut Vec<&[u8]>) {
    let last = headers.len().checked_sub(1).and_then(|at| headers.get(at));
    if let Some(mut value) = last.map(|last| last.value.to_vec()) {
        for fold in folds.iter().filter(|fold| !fold.is_empty()) {
            if !value.is_empty() {
                value.push(b' ');
            }
            value.extend_from_slice(fold);
        }
        headers.set_last(&value);
    }
    folds.clear();
}

/// Strips optional whitespace (OWS, RFC 9110 §5.6.3) at both ends.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Strips what separates the words of a start line at both ends.
fn trim_words(bytes: &[u8]) -> &[u8] {
    let from = bytes.iter().position(|&b| !is_blank(b)).unwrap_or(bytes.len());
    let to = bytes.iter().rposition(|&b| !is_blank(b)).map_or(from, |last| last + 1);
    bytes.get(from..to).unwrap_or_default()
}

/// Whether a byte may separate the words of a start line (RFC 9112 §3).
pub const fn is_blank(byte: u8) -> bool {
    byte == b' ' || is_separator(byte)
}

/// The number that all Content-Length values agree on (RFC 9110 §8.6); `None` if they do not.
fn content_length(headers: &Headers) -> Option<u64> {
    let mut length = None;
    for value in headers.all_known(Known::CONTENT_LENGTH) {
        for element in value.split(|&b| b == b',') {
            let element = trim(element);
            if element.is_empty() || !element.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let number: u64 = std::str::from_utf8(element).ok()?.parse().ok()?;
            if length.is_some_and(|other| other != number) {
                return None;
            }
            length = Some(number);
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &str) -> String {
        let bytes = Bytes::copy_from_slice(bytes.as_bytes());
        let (head, flags) = response(&bytes, bytes.len() as u64, 0).expect("a status line");
        let mut out =
            format!("1.{} {} [{}]", head.minor_version, head.status, head.reason.escape_ascii());
        for field in head.headers.iter() {
            out += &format!(" {}=[{}]", field.name.escape_ascii(), field.value.escape_ascii());
        }
        if let Some(length) = head.content_length {
            out += &format!(" length={length}");
        }
        for (bit, name) in [
            (flag::LINE_WITHOUT_COLON, " line_without_colon"),
            (flag::SPACE_BEFORE_COLON, " space_before_colon"),
            (flag::BAD_FIELD_NAME, " bad_field_name"),
        ] {
            if flags & bit != 0 {
                out += name;
            }
        }
        out
    }

    #[test]
    fn responses() {
        let many: String = (0..200).map(|i| format!("h{i}: {i}\r\n")).collect();
        assert_eq!(shown(&format!("HTTP/1.1 200 OK\r\n{many}\r\n")).matches("=[").count(), 200);
        for (bytes, expected) in [
            (
                "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-LENGTH:  12 \r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n",
                "1.1 200 [OK] Server=[x] content-LENGTH=[12] Set-Cookie=[a] set-cookie=[b] length=12",
            ),
            ("HTTP/1.0 404\r\n\r\n", "1.0 404 []"),
            ("HTTP/1.1 404 \r\n\r\n", "1.1 404 []"),
            (
                "HTTP/1.1 200 \u{e9}t\u{e9}\r\nA: \u{e9}\r\n\r\n",
                r"1.1 200 [\xc3\xa9t\xc3\xa9] A=[\xc3\xa9]",
            ),
            ("HTTP/1.2 200 OK\r\nA: b\r\n\r\n", "1.2 200 [OK] A=[b]"),
            ("HTTP/1.1 999 Odd\nA: b\nB:c\n\n", "1.1 999 [Odd] A=[b] B=[c]"),
            (
                "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\td\r\nE: f\r\n\r\n",
                "1.1 200 [OK] A=[b c d] E=[f]",
            ),
            ("HTTP/1.1 200 OK\r\nA:\r\n c\r\n\r\n", "1.1 200 [OK] A=[c]"),
            (
                "HTTP/1.1 200 OK\r\r\nA: b\r\r\nContent-Length: 5\r\r\n\r\r\n",
                "1.1 200 [OK] A=[b] Content-Length=[5] length=5",
            ),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "1.1 200 [OK] A=[b] space_before_colon"),
            (
                "HTTP/1.1 200 OK\r\nnonsense\r\nA: b\r\n\r\n",
                "1.1 200 [OK] A=[b] line_without_colon",
            ),
            ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", "1.1 200 [OK] =[b] bad_field_name"),
            ("HTTP/1.1 200 OK\r\nA: \u{0}\u{1}\r\n\r\n", r"1.1 200 [OK] A=[\x00\x01]"),
            ("HTTP/1.1 200 OK\r\nA: b\r\nCut: off\r\nLas", "1.1 200 [OK] A=[b] Cut=[off]"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
                "1.1 200 [OK] Content-Length=[5] Content-Length=[5] length=5",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
                "1.1 200 [OK] Content-Length=[5, 6]",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", "1.1 200 [OK] Content-Length=[+5]"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
                "1.1 200 [OK] Content-Length=[99999999999999999999]",
            ),
        ] {
            assert_eq!(shown(bytes), expected);
        }
    }

    #[test]
    fn requests() {
        for (bytes, expected) in [
            ("GET /a HTTP/1.1\r\nHost: x\r\n\r\n", Some(("GET", "/a", 1, 1))),
            ("GET /a b  c HTTP/1.0\r\n\r\n", Some(("GET", "/a b  c", 0, 0))),
            ("GET HTTP/1.1\r\n\r\n", Some(("GET", "HTTP/1.1", 1, 0))),
            ("GET  HTTP/1.1\r\n\r\n", Some(("GET", "", 1, 0))),
            ("GET  / HTTP/1.1 \r\nA: b\r\n c\r\n\r\n", Some(("GET", "/", 1, 1))),
            ("GET / HTTP/1.1 HTTP/1.0\n\n", Some(("GET", "/ HTTP/1.1", 0, 0))),
            ("GET /\nA: b\n\n", Some(("GET", "/", 0, 1))),
            ("GET / HTTP/1.\nA: b\n\n", Some(("GET", "/", 0, 1))),
            ("GET / http/1.1\nA: b\n\n", Some(("GET", "/", 0, 1))),
            ("GET /a b HTTP/2\nA: b\n\n", Some(("GET", "/a b", 0, 1))),
            ("GET /HTTP/1.1\nA: b\n\n", Some(("GET", "/HTTP/1.1", 1, 1))),
            // A method alone is not a request.
            ("GET \nA: b\n\n", None),
            ("GET\nA: b\n\n", None),
            ("GET /cut", None),
        ] {
            let bytes = Bytes::copy_from_slice(bytes.as_bytes());
            let head = request(&bytes, 0).map(|(head, _)| head);
            let got = head.as_ref().map(|head| {
                (
                    std::str::from_utf8(&head.method).expect("ASCII"),
                    std::str::from_utf8(&head.target).expect("ASCII"),
                    head.minor_version,
                    head.headers.len(),
                )
            });
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn lines_that_are_no_request_of_http_1() {
        for (bytes, expected) in [
            ("GET /\r\n\r\n", ("GET", "/", None, 0)),
            ("GET /a b\n\n", ("GET", "/a b", None, 0)),
            ("GET / HTTP/2.0\r\n\r\n", ("GET", "/", Some("HTTP/2.0"), 0)),
            ("OPTIONS / RTSP/1.0\r\n\r\n", ("OPTIONS", "/", Some("RTSP/1.0"), 0)),
            (
                "OPTIONS sip:nm SIP/2.0\r\nVia: a\r\nTo: b\r\n\r\n",
                ("OPTIONS", "sip:nm", Some("SIP/2.0"), 2),
            ),
            ("OPTIONS RTSP/1.0\r\n", ("OPTIONS", "RTSP/1.0", None, 0)),
            ("GET /a RTSP/1\r\n", ("GET", "/a RTSP/1", None, 0)),
            ("GET /a HTTP/\r\n", ("GET", "/a", Some("HTTP/"), 0)),
            ("GET /a HTTP/1.1?access_token=S\r\n", ("GET", "/a HTTP/1.1?access_token=S", None, 0)),
            (
                "GET /a HTTP/1.00000000000000000000000000\r\n",
                ("GET", "/a HTTP/1.00000000000000000000000000", None, 0),
            ),
            ("HELP\r\n", ("HELP", "", None, 0)),
        ] {
            let head = other_request(&Bytes::copy_from_slice(bytes.as_bytes()));
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ASCII");
            let version = head.version.as_deref().map(text);
            assert_eq!(
                (
                    &*text(&head.method),
                    &*text(&head.target),
                    version.as_deref(),
                    head.headers.len()
                ),
                expected
            );
        }
    }
}
