//! A text as it is once an encoding of its bytes is undone, with the way back: what is a secret in a URL
//! within a URL is found in the decoded text and taken out of the text that was sent.

/// How often encoding is undone layer by layer: a URL in a URL in a URL. What is encoded more often is
/// then decoded to its end at once.
pub(super) const MOST: usize = 3;

/// A text with less encoding.
pub(super) struct Layer {
    pub(super) text: Vec<u8>,
    /// For each byte, and the end, where it began in the text that was sent.
    origin: Vec<usize>,
}

impl Layer {
    /// The text without percent-encoding, without JSON's `\u00xx`, and without NUL, which is how UTF-16
    /// writes ASCII; `None` when there is none of them. `below` is the layer that the text is of;
    /// `wholly` undoes what is encoded however often, in the same time.
    pub(super) fn of(text: &[u8], below: Option<&Layer>, wholly: bool) -> Option<Layer> {
        memchr::memchr3(b'%', b'\\', 0, text)?;
        let sent = |at: usize| below.map_or(at, |layer| layer.sent(at));
        let mut out: Vec<u8> = Vec::with_capacity(text.len());
        let mut origin = Vec::with_capacity(text.len() + 1);
        // What was decoded in this pass begins no escape.
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

    /// Where what is at this place began in the text that was sent.
    pub(super) fn sent(&self, at: usize) -> usize {
        let last = self.origin.last().copied().unwrap_or(0);
        self.origin.get(at).copied().unwrap_or(last)
    }
}

/// The length of the escape that a text ends with, and its byte.
fn escape(text: &[u8]) -> Option<(usize, u8)> {
    let (len, high, low) = match text {
        [.., b'%', high, low] => (3, high, low),
        [.., b'\\', b'u', b'0', b'0', high, low] => (6, high, low),
        _ => return None,
    };
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let byte = digit(high)? << 4 | digit(low)?;
    // JSON's escapes of what is not ASCII are no bytes.
    Some((len, u8::try_from(byte).ok()?)).filter(|(len, byte)| *len == 3 || byte.is_ascii())
}
