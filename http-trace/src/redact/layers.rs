//! Decodes a text and maps positions back, so that a secret in a URL within a URL can be found in the decoded
//! text and removed from the original.

use http_trace_model::value::hex;

/// Number of encodings that are undone one by one: a URL in a URL in a URL. Anything encoded more often is
/// decoded completely in the next step.
pub(super) const MOST: usize = 3;

/// A decoded text.
pub(super) struct Layer {
    pub(super) text: Vec<u8>,
    /// Position in the original text of each byte, and of the end.
    origin: Vec<usize>,
}

impl Layer {
    /// Undoes percent-encoding, JSON's `\u00xx`, and NUL bytes (ASCII in UTF-16); `None` if there is nothing
    /// to undo. `below` is the layer of `text`; `wholly` undoes any number of encodings, in the same time.
    pub(super) fn of(text: &[u8], below: Option<&Layer>, wholly: bool) -> Option<Layer> {
        // A backslash alone is common in JSON.
        let begins = |at: usize| text[at] != b'\\' || text.get(at + 1) == Some(&b'u');
        memchr::memchr3_iter(b'%', b'\\', 0, text).find(|at| begins(*at))?;
        let sent = |at: usize| below.map_or(at, |layer| layer.sent(at));
        let mut out: Vec<u8> = Vec::with_capacity(text.len());
        let mut origin = Vec::with_capacity(text.len() + 1);
        // Decoded bytes do not begin an escape in the same pass.
        let mut solid = 0;
        for (at, byte) in text.iter().enumerate() {
            out.push(*byte);
            origin.push(sent(at));
            while let Some((len, byte)) = escape(&out[solid..]) {
                out.truncate(out.len() - len);
                out.push(byte);
                origin.truncate(out.len());
                if !wholly {
                    solid = out.len();
                }
            }
            if out.last() == Some(&0) {
                out.pop();
                origin.pop();
                solid = solid.min(out.len());
            }
        }
        if out.len() == text.len() {
            return None;
        }
        origin.push(sent(text.len()));
        Some(Layer { text: out, origin })
    }

    /// Position of a byte in the original text.
    pub(super) fn sent(&self, at: usize) -> usize {
        let last = self.origin.last().copied().unwrap_or(0);
        self.origin.get(at).copied().unwrap_or(last)
    }
}

/// Length and value of the escape at the end of a text.
fn escape(text: &[u8]) -> Option<(usize, u8)> {
    let len = match text {
        [.., b'%', _, _] => 3,
        [.., b'\\', b'u', b'0', b'0', _, _] => 6,
        _ => return None,
    };
    let byte = hex(&text[text.len() - 2..])?;
    // JSON escapes of characters other than ASCII do not denote bytes.
    Some((len, byte)).filter(|(len, byte)| *len == 3 || byte.is_ascii())
}
