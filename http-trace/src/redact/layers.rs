//! A text as it is once percent-encoding is undone, with the way back: what is a secret in a URL
//! within a URL is found in the decoded text and taken out of the text that was sent.

/// How often encoding is undone: a URL in a URL in a URL. Each takes a pass over the text.
pub(super) const MOST: usize = 3;

/// A text with one layer of encoding less.
pub(super) struct Layer {
    pub(super) text: Vec<u8>,
    /// For each byte, and the end, where it began in the text that was sent.
    origin: Vec<usize>,
}

impl Layer {
    /// The text without percent-encoding and without NUL, which is how UTF-16 writes ASCII; `None`
    /// when there is neither. `below` is the layer that the text is of.
    pub(super) fn of(text: &[u8], below: Option<&Layer>) -> Option<Layer> {
        memchr::memchr2(b'%', 0, text)?;
        let sent = |at: usize| below.map_or(at, |layer| layer.sent(at));
        let mut out = Vec::with_capacity(text.len());
        let mut origin = Vec::with_capacity(text.len() + 1);
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let (decoded, len) = match (byte, text.get(at + 1..at + 3)) {
                (0, _) => (None, 1),
                (b'%', Some(&[high, low])) => match (hex(high), hex(low)) {
                    (Some(h), Some(l)) => (Some(h << 4 | l), 3),
                    _ => (Some(b'%'), 1),
                },
                _ => (Some(*byte), 1),
            };
            if let Some(byte) = decoded {
                out.push(byte);
                origin.push(sent(at));
            }
            at += len;
        }
        if out.len() == text.len() {
            return None;
        }
        origin.push(sent(text.len()));
        Some(Layer { text: out, origin })
    }

    /// Where what is at this place began in the text that was sent.
    pub(super) fn sent(&self, at: usize) -> usize {
        let last = self.origin.last().copied().unwrap_or(0);
        self.origin.get(at).copied().unwrap_or(last)
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}
