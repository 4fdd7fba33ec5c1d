//! Which bytes that hint at secrets a text contains, found in one pass: most values contain none, and most
//! others rule out some kinds of secrets. Knows nothing about secrets themselves.

/// A set of kinds of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    pub(super) const EQUALS: Marks = Marks(1);
    pub(super) const COLON: Marks = Marks(1 << 1);
    /// Follows an authentication scheme.
    pub(super) const BLANK: Marks = Marks(1 << 2);
    pub(super) const AT: Marks = Marks(1 << 3);
    /// In a text that needs decoding.
    pub(super) const ESCAPE: Marks = Marks(1 << 4);
    pub(super) const LESS: Marks = Marks(1 << 5);

    pub(super) fn of(text: &[u8]) -> Marks {
        Marks(text.iter().fold(0, |all, b| all | OF_BYTE[usize::from(*b)]))
    }

    /// Whether any mark of `of` is present.
    pub(super) const fn any(self, of: Marks) -> bool {
        self.0 & of.0 != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

const OF_BYTE: [u8; 256] = {
    let mut of_byte = [0; 256];
    of_byte[b'=' as usize] = Marks::EQUALS.0;
    of_byte[b':' as usize] = Marks::COLON.0;
    of_byte[b' ' as usize] = Marks::BLANK.0;
    of_byte[b'@' as usize] = Marks::AT.0;
    of_byte[b'%' as usize] = Marks::ESCAPE.0;
    of_byte[b'\\' as usize] = Marks::ESCAPE.0;
    of_byte[0] = Marks::ESCAPE.0;
    of_byte[b'<' as usize] = Marks::LESS.0;
    of_byte
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_its_mark_wherever_it_stands() {
        for (byte, mark) in [
            (b'=', Marks::EQUALS),
            (b':', Marks::COLON),
            (b' ', Marks::BLANK),
            (b'@', Marks::AT),
            (b'%', Marks::ESCAPE),
            (b'\\', Marks::ESCAPE),
            (b'<', Marks::LESS),
            (0, Marks::ESCAPE),
        ] {
            for at in 0..40 {
                let mut text = [b'a'; 40];
                text[at] = byte;
                assert_eq!(Marks::of(&text), mark, "{byte} at {at}");
            }
        }
        for byte in (0..=u8::MAX).filter(|b| !b"=: @%\\<\0".contains(b)) {
            assert!(Marks::of(&[byte]).is_empty(), "{byte}");
        }
    }
}
