//! The first bytes of a response's body: kept as they come, decoded when the event is made. Must not
//! decode beyond a limit, whatever the bytes say.

use std::io::Read;

use bytes::Bytes;
use http_trace_common::config::{MAX_SNIPPET, Snippet};

use http_trace_model::head::Headers;

/// Limit of bytes between two codings of one body.
const BETWEEN: u64 = 16 * MAX_SNIPPET as u64;

/// Limit of codings that are decoded.
const MAX_CODINGS: usize = 4;

/// The first contiguous bytes of a body, without chunk framing.
#[derive(Debug, Default)]
pub(crate) struct BodyStart {
    bytes: Vec<u8>,
    /// Limit of bytes to keep.
    room: usize,
    closed: bool,
}

impl BodyStart {
    /// For a response with this status.
    pub fn of_status(wanted: &Snippet, status: u16) -> Self {
        BodyStart { bytes: Vec::new(), room: wanted.of(u32::from(status)) as usize, closed: false }
    }

    /// Appends the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.closed {
            let room = self.room.saturating_sub(self.bytes.len());
            let taken = bytes.get(..room).unwrap_or(bytes);
            self.bytes.extend_from_slice(taken);
        }
    }

    /// Bytes are missing: keeps no more.
    pub const fn close(&mut self) {
        self.closed = true;
    }

    /// Memory in use, in bytes.
    pub fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// The bytes with the head's codings removed (RFC 9112 §7, RFC 9110 §8.4.1), at most as many as were
    /// asked for. `None` if there are none, or a coding is unknown.
    pub fn decoded(self, headers: &Headers) -> Option<Bytes> {
        if self.bytes.is_empty() {
            return None;
        }
        let mut codings: Vec<Vec<u8>> = Vec::new();
        for name in ["content-encoding", "transfer-encoding"] {
            for value in headers.all(name) {
                let words = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
                codings.extend(words.map(<[u8]>::to_ascii_lowercase));
            }
        }
        codings.retain(|coding| !matches!(&coding[..], b"" | b"identity" | b"chunked"));
        if codings.len() > MAX_CODINGS {
            return None;
        }
        let mut bytes = self.bytes;
        // The coding that was applied last is removed first.
        for coding in codings.iter().rev() {
            bytes = undo(coding, &bytes)?;
        }
        bytes.truncate(self.room);
        whole_characters(&mut bytes);
        (!bytes.is_empty()).then(|| Bytes::from(bytes))
    }
}

/// Removes one coding, as far as the bytes suffice. Not inlined: its decoders' large frame would be touched for
/// responses without a body, too.
#[inline(never)]
fn undo(coding: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    // The bytes are truncated by design: everything before the error is used.
    let _ = match coding {
        b"gzip" | b"x-gzip" => {
            flate2::read::MultiGzDecoder::new(bytes).take(BETWEEN).read_to_end(&mut out)
        }
        // Some senders omit the zlib header that RFC 9110 §8.4.1.2 requires.
        b"deflate" if has_zlib_header(bytes) => {
            flate2::read::ZlibDecoder::new(bytes).take(BETWEEN).read_to_end(&mut out)
        }
        b"deflate" => flate2::read::DeflateDecoder::new(bytes).take(BETWEEN).read_to_end(&mut out),
        _ => return None,
    };
    Some(out)
}

/// Whether bytes begin with a zlib header (RFC 1950 §2.2).
fn has_zlib_header(bytes: &[u8]) -> bool {
    match bytes {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
        }
        _ => false,
    }
}

/// Removes an incomplete UTF-8 character at the end.
fn whole_characters(bytes: &mut Vec<u8>) {
    if let Err(error) = std::str::from_utf8(bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn decoded(room: usize, body: &[u8], lines: &[(&str, &str)]) -> Option<Vec<u8>> {
        let headers: Headers = lines.iter().copied().collect();
        let mut start = BodyStart { room, ..BodyStart::default() };
        body.chunks(7).for_each(|piece| start.push(piece));
        let bytes = start.decoded(&headers)?;
        Some(bytes.to_vec())
    }

    #[test]
    fn codings_come_off_in_their_order() {
        let text = b"{\"error\":\"no such order\"}";
        let encoding = |value| [("Content-Encoding", value)];
        let table: &[(&str, Vec<u8>, &[(&str, &str)], Option<&[u8]>)] = &[
            ("plain", text.to_vec(), &[], Some(text)),
            ("none", Vec::new(), &[], None),
            ("identity", text.to_vec(), &encoding("identity"), Some(text)),
            ("gzip", gzip(text), &encoding("GZIP"), Some(text)),
            ("x-gzip", gzip(text), &encoding("x-gzip"), Some(text)),
            ("deflate", zlib(text), &encoding("deflate"), Some(text)),
            ("deflate, raw", deflate(text), &encoding("deflate"), Some(text)),
            ("twice", gzip(&zlib(text)), &encoding("deflate, gzip"), Some(text)),
            ("on the way", gzip(text), &[("Transfer-Encoding", "gzip, chunked")], Some(text)),
            ("not known", text.to_vec(), &encoding("br"), None),
            ("not what it says", text.to_vec(), &encoding("gzip"), None),
            ("too many", gzip(text), &encoding("gzip,gzip,gzip,gzip,gzip"), None),
        ];
        for (name, body, lines, expected) in table {
            let got = decoded(4096, body, lines);
            assert_eq!(got.as_deref(), *expected, "{name}");
        }
    }

    #[test]
    fn what_is_kept_and_what_it_decodes_to_are_bounded() {
        let bomb = gzip(&vec![b'x'; 50 << 20]);
        let got = decoded(4096, &bomb, &[("Content-Encoding", "gzip")]);
        assert_eq!(got.map(|bytes| bytes.len()), Some(4096));
        assert_eq!(decoded(5, b"123456789", &[]).as_deref(), Some(&b"12345"[..]));
        // No partial character.
        let got = decoded(6, "gr\u{fc}\u{df}e".as_bytes(), &[]);
        assert_eq!(got.as_deref(), Some("gr\u{fc}\u{df}".as_bytes()));
        assert_eq!(decoded(5, "gr\u{fc}\u{df}e".as_bytes(), &[]).map(|b| b.len()), Some(4));
        // Bytes that are not UTF-8 are kept.
        assert_eq!(decoded(4, b"\xff\xfe\x00a", &[]).map(|b| b.len()), Some(4));
    }
}
