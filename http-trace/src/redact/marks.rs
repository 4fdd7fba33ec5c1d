//! Which bytes that tell of a secret a text has, found in one look at it: most values have none, and
//! of those that have some most cannot hold every kind. Knows nothing of what secrets look like.

/// A set of kinds of byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    pub(super) const EQUALS: Marks = Marks(1);
    pub(super) const COLON: Marks = Marks(1 << 1);
    /// `J`, the third letter of a JWT.
    pub(super) const J: Marks = Marks(1 << 2);
    pub(super) const AT: Marks = Marks(1 << 3);
    pub(super) const PERCENT: Marks = Marks(1 << 4);
    pub(super) const LESS: Marks = Marks(1 << 5);
    /// Tells of nothing by itself, but is left out where a text is decoded.
    pub(super) const NUL: Marks = Marks(1 << 6);

    /// Those of a text.
    pub(super) fn of(text: &[u8]) -> Marks {
        Marks(text.iter().fold(0, |all, b| all | OF_BYTE[usize::from(*b)]))
    }

    /// Whether any of `of` is among them.
    pub(super) const fn any(self, of: Marks) -> bool {
        self.0 & of.0 != 0
    }

    /// Whether one is among them that is in whatever can be told to be a secret.
    pub(super) const fn tell(self) -> bool {
        self.0 & !Marks::NUL.0 != 0
    }

    /// These and those.
    pub(super) const fn or(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }
}

const OF_BYTE: [u8; 256] = {
    let mut of_byte = [0; 256];
    of_byte[b'=' as usize] = Marks::EQUALS.0;
    of_byte[b':' as usize] = Marks::COLON.0;
    of_byte[b'J' as usize] = Marks::J.0;
    of_byte[b'@' as usize] = Marks::AT.0;
    of_byte[b'%' as usize] = Marks::PERCENT.0;
    of_byte[b'<' as usize] = Marks::LESS.0;
    of_byte[0] = Marks::NUL.0;
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
            (b'J', Marks::J),
            (b'@', Marks::AT),
            (b'%', Marks::PERCENT),
            (b'<', Marks::LESS),
            (0, Marks::NUL),
        ] {
            for at in 0..40 {
                let mut text = [b'a'; 40];
                text[at] = byte;
                assert_eq!(Marks::of(&text), mark, "{byte} at {at}");
            }
        }
        for byte in (0..=u8::MAX).filter(|b| !b"=:J@%<\0".contains(b)) {
            assert!(!Marks::of(&[byte]).tell(), "{byte}");
        }
        assert!(!Marks::of(b"\0").tell());
    }
}
